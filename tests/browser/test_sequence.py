"""A sequence's page while it updates by itself, and the keys that lead to it, in a real Chromium."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis import documents as names
from segue_contracts import ids

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]


async def enroll(desk: Any, sequence: UUID, external_id: str) -> UUID:
    now, workspace = desk.served.clock.now(), desk.served.workspace
    document = {
        "_id": ids.enrollment_id(workspace, sequence, external_id),
        "workspace_id": workspace,
        "state": "scheduled",
        "ended": False,
        "stage_id": "hello",
        "channel": "email",
        "planned_at": now + timedelta(hours=1),
        "sequence_id": sequence,
        "sequence_version": 1,
        "person_id": ids.person_id(workspace, external_id),
        "external_id": external_id,
        "owner_id": UUID(desk.served.made["user_id"]),
        "mailbox_id": workspace,
        "created_at": now,
    }
    await desk.served.database.collection(names.ENROLLMENTS).insert_one(document)
    return UUID(str(document["_id"]))


async def test_what_is_ticked_stays_so_while_another_row_changes_and_glows(desk: Any) -> None:
    await desk.served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    made = await desk.served.call("POST", "/v1/sequences", {"name": "Berlin", "stages": STAGES}, status=201)
    sequence = UUID(made["id"])
    one, other = await enroll(desk, sequence, "one"), await enroll(desk, sequence, "other")
    page = await desk.page()
    await page.goto(desk.url(f"/sequences/{sequence}"))
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.type") == "search"
    await page.check(f"#e-{one} input")
    changed = {"$set": {"state": "awaiting_task"}}
    enrollments = desk.served.database.collection(names.ENROLLMENTS)
    await enrollments.update_one({"_id": other, "workspace_id": desk.served.workspace}, changed)
    await page.wait_for_selector(f"#e-{other} .pill.waiting")
    assert await page.is_checked(f"#e-{one} input")
    assert not await page.is_checked(f"#e-{other} input")


async def test_keys_lead_through_the_pages(desk: Any) -> None:
    await desk.served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    made = await desk.served.call("POST", "/v1/sequences", {"name": "Berlin", "stages": STAGES}, status=201)
    page = await desk.page()
    await page.keyboard.press("g")
    await page.keyboard.press("s")
    await page.wait_for_selector("table.rows")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/sequences/{made['id']}")
