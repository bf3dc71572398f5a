"""What only a browser can show of tasks: undo, keys, copying, and a page that follows what happens."""

import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from chassis.store import Document
from segue_contracts import ids
from stack.client import eventually

pytestmark = pytest.mark.stack


@pytest.fixture
def a_task(desk: Any) -> Callable[[str], Awaitable[str]]:
    """An e-mail to write by hand, each due after those before it; the selector of its card."""
    minutes = itertools.count(-10)

    async def make(name: str) -> str:
        served, enrollment_id, person_id = desk.served, uuid4(), uuid4()
        now = served.clock.now()
        due_at = now + timedelta(minutes=next(minutes))
        told = {"text": f"Dear {name}", "subject": "Hello", "due_at": due_at, "opened_at": now}
        delivery: Document = {
            "_id": ids.dispatch_id(enrollment_id, "write"),
            "workspace_id": served.workspace,
            "enrollment_id": enrollment_id,
            "stage_id": "write",
            "state": "task_open",
            "channel": "manual_email",
            "person_id": person_id,
            "task": {"assignee_id": UUID(served.made["user_id"]), **told},
        }
        await served.database.collection(names.DELIVERIES).insert_one(delivery)
        person = {"external_id": name, "first_name": name}
        await served.database.collection(names.PEOPLE).insert_one(
            {"_id": person_id, "workspace_id": served.workspace, "prospect": person}
        )
        return f"#t-{enrollment_id}-write"

    return make


async def commands(desk: Any) -> int:
    return int(await desk.served.database.collection(names.COMMANDS).count({}, limit=10))


async def test_what_is_done_can_be_undone_for_ten_seconds_and_is_sent_then(desk: Any, a_task: Any) -> None:
    pat, kim = await a_task("Pat"), await a_task("Kim")
    page = await desk.page()
    await page.clock.install()
    await page.goto(desk.url("/tasks"))
    await page.keyboard.press("e")
    await page.wait_for_selector(pat, state="hidden")
    assert await page.evaluate("document.activeElement.closest('[data-card]').id") == kim[1:]
    await page.keyboard.press("u")
    await page.wait_for_selector(pat, state="visible")
    await page.clock.fast_forward(11_000)
    assert await commands(desk) == 0
    await page.keyboard.press("e")
    async with page.expect_response("**/done") as sent:
        await page.clock.fast_forward(11_000)
    assert (await sent.value).status == 204
    assert await commands(desk) == 1
    assert await page.is_hidden(pat)  # though the sender has not done it yet


async def test_who_leaves_the_page_sends_what_still_waits(desk: Any, a_task: Any) -> None:
    pat, kim = await a_task("Pat"), await a_task("Kim")
    page = await desk.page()
    await page.goto(desk.url("/tasks"))
    await page.keyboard.press("s")
    await page.wait_for_selector(pat, state="hidden")
    await page.goto(desk.url("/tasks"))
    await eventually(lambda: commands(desk), until=lambda number: number == 1)
    await page.click(f"{kim} button[data-key=s]")
    await page.wait_for_selector(kim, state="hidden")
    await page.click("nav.rail >> text=Sequences")
    await eventually(lambda: commands(desk), until=lambda number: number == 2)


async def test_what_could_not_be_done_is_said_and_the_task_is_back(desk: Any, a_task: Any) -> None:
    pat = await a_task("Pat")
    page = await desk.page()
    await page.clock.install()
    await page.goto(desk.url("/tasks"))
    await page.keyboard.press("e")
    deliveries = desk.served.database.collection(names.DELIVERIES)
    await deliveries.update_one({"workspace_id": desk.served.workspace}, {"$set": {"state": "done"}})
    await page.clock.fast_forward(11_000)
    await page.get_by_text("It was not done: This task is not open any more").wait_for()
    assert await page.is_visible(pat)
    assert [each for each in desk.complaints if "409" not in each] == []
    desk.complaints.clear()


async def test_a_task_that_is_taken_back_vanishes_and_what_is_typed_beside_it_stays(
    desk: Any, a_task: Any
) -> None:
    pat, kim = await a_task("Pat"), await a_task("Kim")
    page = await desk.page()
    await page.goto(desk.url("/tasks"))
    note = f"{kim} input[name=note]"
    await page.fill(note, "half a sen")
    await page.click(f"{kim} summary >> nth=0")
    await page.focus(note)
    gone = {"state": "released", "reason": "not_current", "settled_at": desk.served.clock.now()}
    deliveries = desk.served.database.collection(names.DELIVERIES)
    first = pat.removeprefix("#t-").removesuffix("-write") + ":write"
    await deliveries.update_one({"_id": first, "workspace_id": desk.served.workspace}, {"$set": gone})
    await page.evaluate("window.dispatchEvent(new Event('focus'))")
    await page.get_by_text("the sequence went on without it").wait_for()
    assert await page.locator(pat).count() == 0
    await page.keyboard.type("tence")
    assert await page.input_value(note) == "half a sentence"
    assert await page.locator(f"{kim} details[open]").count() == 1


async def test_one_key_copies_the_text_of_the_task_in_which_one_is(desk: Any, a_task: Any) -> None:
    await a_task("Pat")
    await a_task("Kim")
    page = await desk.page(permissions=["clipboard-read", "clipboard-write"])
    await page.goto(desk.url("/tasks"))
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("y")
    await page.get_by_text("Copied").wait_for()
    assert await page.evaluate("navigator.clipboard.readText()") == "Dear Kim"
    await page.keyboard.press("?")
    await page.get_by_text("copy the text, done").wait_for()


async def test_a_full_queue_keeps_nobody_out_and_fits_a_phone(desk: Any, a_task: Any) -> None:
    await a_task("Pat")
    await a_task("Kim")
    page = await desk.page()
    await page.goto(desk.url("/tasks"))
    await page.keyboard.press("z")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert await desk.serious(page) == [], scheme
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
