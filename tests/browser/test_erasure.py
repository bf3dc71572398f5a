"""The pages of a person who can be erased, on a desk and on a phone, in both colour schemes."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from segue_contracts import ids

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]
PHONE = {"width": 390, "height": 844}


async def somebody(desk: Any) -> str:
    """Priya, who has been through a sequence; the path of her page."""
    served = desk.served
    await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    sequence = await served.call("POST", "/v1/sequences", {"name": "Berlin", "stages": STAGES}, status=201)
    person, enrollment, now = ids.person_id(served.workspace, "priya"), uuid4(), served.clock.now()
    owned = {"workspace_id": served.workspace, "external_id": "priya"}
    facts = {"external_id": "priya", "first_name": "Priya", "last_name": "Raman", "email": "p@there.example"}
    at = {"addresses": ["p@there.example"], "phones": []}
    people = served.database.collection(names.PEOPLE)
    await people.insert_one({"_id": person, **owned, "prospect": facts, **at})
    await people.insert_one({"_id": uuid4(), **owned, "external_id": "cand-9", "prospect": facts, **at})
    history = [{"seq": 1, "type": "enrolled", "at": now}, {"seq": 2, "type": "finished", "at": now}]
    await served.database.collection(names.ENROLLMENTS).insert_one(
        {
            **{"_id": enrollment, **owned, "sequence_id": UUID(sequence["id"]), "sequence_version": 1},
            **{"person_id": person, "owner_id": UUID(served.made["user_id"]), "mailbox_id": uuid4()},
            **{"state": "finished", "ended": True, "created_at": now, "ended_at": now, "history": history},
        }
    )
    return f"/enrollments/{enrollment}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_is_kept_of_a_person_can_be_read_and_erased_by_anybody(desk: Any, scheme: str) -> None:
    path = await somebody(desk)
    for viewport in (PHONE, {"width": 1280, "height": 900}):
        page = await desk.page(color_scheme=scheme, viewport=viewport)
        for each in (path, f"{path}/erase"):
            await page.goto(desk.url(each))
            assert await desk.serious(page) == [], each
            assert await page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], each
    await page.get_by_label("Type “Priya Raman” to erase them").fill("Priya Raman")
    await page.get_by_role("button", name="Erase Priya Raman").click()
    await page.get_by_text("The person is being erased.").wait_for()
