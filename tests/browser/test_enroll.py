"""Review and launch in a real Chromium: what is there on a phone, and what updates by itself."""

from typing import Any
from uuid import UUID

import pytest

from api.launching import Launcher
from chassis import documents as names

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]
PHONE = {"width": 390, "height": 844}


async def test_people_are_pasted_looked_at_on_a_phone_and_launched_under_a_bar(desk: Any) -> None:
    served = desk.served
    await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    body = {"name": "Berlin", "stages": STAGES}
    sequence = (await served.call("POST", "/v1/sequences", body, status=201))["id"]
    page = await desk.page(viewport=PHONE)
    await page.goto(desk.url(f"/sequences/{sequence}/enroll"))
    await page.get_by_label("Paste people").fill("a@x.example\nb@x.example\nnobody\n")
    await page.get_by_role("button", name="Look at everybody").click()
    await page.wait_for_url("**/lists/*")
    here = page.url
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert await desk.serious(page) == []

    await page.get_by_role("button", name="Leave out").last.click()
    await page.get_by_text("Left out: 1 person.").wait_for()
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("Taken in again: 1 person.").wait_for()
    await page.get_by_role("link", name="nobody").click()
    await page.wait_for_url("**/rows/4")
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert await desk.serious(page) == []

    await page.goto(here)
    await page.get_by_role("button", name="Launch for 2 people").click()
    await page.get_by_label("Enrolling").wait_for()
    launcher = Launcher(served.clock, served.api.store, served.api.courier)
    await launcher.sweep()
    commands = await served.database.collection(names.COMMANDS).find({"type": "enroll"})
    await served.database.collection(names.ENROLLMENTS).insert_new(
        [{"_id": UUID(each["target"]), "workspace_id": served.workspace} for each in commands]
    )
    for _ in range(2):
        served.clock.advance(seconds=1)
        await launcher.sweep()
    await page.get_by_role("link", name="See them in the sequence").wait_for()  # without a reload
