"""Review and launch as a browser without JavaScript sees it, while the scheduler can't be asked."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from api.dashboard.enroll import csv_of_addresses
from api.launching import Launcher
from api.list_store import Lists
from api.testing import Browser, Served, csrf_of, serving_pages
from chassis import documents as names
from chassis.store import Document

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]
PEOPLE = "Priya Shah <priya@there.example>\nLee, Tom <tom@there.example>\nnobody at all\n"


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri, scheduler_url="http://127.0.0.1:1") as served:
        yield served


async def a_sequence(served: Served) -> str:
    await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    body = {"name": "Berlin <1>", "stages": STAGES}
    return str((await served.call("POST", "/v1/sequences", body, status=201))["id"])


async def pasted(served: Served, browser: Browser, text: str = PEOPLE, **more: Any) -> str:
    """The path of the list that was made of what was pasted."""
    await browser.post(f"/sequences/{await a_sequence(served)}/enroll", {"people": text, **more})
    assert browser.url.startswith("/lists/")
    return browser.url


async def test_pasted_addresses_become_rows_and_what_is_none_can_be_mended(served: Served) -> None:
    async with served.browser() as browser:
        here = await pasted(served, browser)
        html = await browser.get(here)
        for shown in ("Priya Shah", "Tom Lee", "nobody at all", "Berlin &lt;1&gt;", "can&#39;t be read 1"):
            assert shown in html
        assert html.index("nobody at all") < html.index("Priya Shah")
        assert "Launch for 2 people" in html
        row = {"/email": "new@there.example", "/first_name": "New", "back": here}
        html = await browser.post(f"{here}/rows/4", row)
        assert "Changed: New." in html
        assert "Launch for 3 people" in html


async def test_while_the_scheduler_is_silent_the_page_says_so_and_the_list_can_be_changed(
    served: Served,
) -> None:
    async with served.browser() as browser:
        here = await pasted(served, browser)
        html = await browser.get(here)
        assert "Messages and times can't be shown now" in html
        assert "not checked yet" in html
        html = await browser.post(f"{here}/exclude", {"row": "2", "back": here})
        assert "Left out: 1 person." in html
        assert f'action="{here}/include"' in html  # undo
        assert "Launch for 1 person<" in html
        html = await browser.post(f"{here}/include", {"row": "2"})
        assert "Launch for 2 people" in html
        assert "Checking" in await browser.get(f"{here}/progress")


async def test_a_file_is_taken_and_a_bad_one_is_refused_with_what_was_typed(served: Served) -> None:
    sequence = await a_sequence(served)
    async with served.browser() as browser:

        async def sent(content: bytes, people: str = "") -> str:
            form = aiohttp.FormData({"csrf": csrf_of(await browser.get("/")), "people": people})
            form.add_field("file", content, filename="people.csv", content_type="text/csv")
            async with browser.session.post(f"/sequences/{sequence}/enroll", data=form) as response:
                browser.url = response.url.path_qs
                return await response.text()

        assert "tom@x.example" in await sent(b"Email,First name\ntom@x.example,Tom\n")
        for content, people, said in (
            (b"email,email\na,b\n", "", "two columns mean email"),
            (b"\xff\xfe", "", "not UTF-8"),
            (b"email\n", "", "no rows"),
            (b"email\na@x.example\n", "kept@x.example", "not both"),
        ):
            html = await sent(content, people)
            assert said in html
            assert people in html
            assert "Choose people.csv again" in html
        html = await browser.post(f"/sequences/{sequence}/enroll", {"people": " "}, status=422)
        assert "both are empty" in html
        wrong = {"people": "a@x.example", "start_at": "soon"}
        html = await browser.post(f"/sequences/{sequence}/enroll", wrong, status=422)
        assert 'value="soon"' in html
        assert "a@x.example</textarea>" in html
        assert await served.database.collection(names.PROSPECT_LISTS).count({}, limit=9) == 1
        assert "not launched" in await browser.get(f"/sequences/{sequence}/enroll")


async def test_a_launch_shows_how_far_it_is_and_then_leads_to_the_sequence(served: Served) -> None:
    async with served.browser() as browser:
        here = await pasted(served, browser)
        html = await browser.post(f"{here}/launch")
        assert "Enrolling" in html
        assert '<progress id="bar" max="2" value="0"' in html
        await browser.post(f"{here}/exclude", {"row": "2"}, status=409)
        await browser.post(f"{here}/throw-away", status=409)
        launcher = Launcher(served.clock, served.api.store, served.api.courier)
        await launcher.sweep()
        rows = await served.database.collection(names.PROSPECT_LIST_ROWS).find({"status": "accepted"})
        assert len(rows) == 2
        commands = await served.database.collection(names.COMMANDS).find({"type": "enroll"})
        await served.database.collection(names.ENROLLMENTS).insert_new(
            [{"_id": UUID(each["target"]), "workspace_id": served.workspace} for each in commands]
        )
        for _ in range(2):
            served.clock.advance(seconds=1)
            await launcher.sweep()
        html = await browser.get(here)
        assert "2 people are enrolled, 1 with a problem left behind" in html
        assert "See them in the sequence" in html
        assert "hx-trigger" not in await browser.get(f"{here}/progress")


async def test_what_keeps_a_list_from_being_launched_is_shown_with_the_page_that_mends_it(
    served: Served,
) -> None:
    async with served.browser() as browser:
        here = await pasted(served, browser)
        await served.database.collection(names.MAILBOXES).delete_many({})
        html = await browser.get(here)
        assert "not connected any more" in html
        assert 'href="/mailboxes"' in html
        assert "Launch for" not in html
        assert "not connected any more" in await browser.post(f"{here}/launch", status=409)


async def test_a_row_has_a_page_of_its_own_with_every_field(served: Served) -> None:
    async with served.browser() as browser:
        here = await pasted(served, browser, "email,first_name,likes\na@x.example,<Al>,tea\n")
        html = await browser.get(f"{here}/rows/2")
        assert "&lt;Al&gt;" in html
        assert 'name="/tokens/likes" value="tea"' in html
        html = await browser.post(f"{here}/rows/2", {"/email": "none", "back": f"{here}/rows/2"})
        assert 'value="none"' in html
        assert 'class="note problem"' in html
        await browser.get(f"{here}/rows/9", status=404)
        await browser.post(f"{here}/rows/9", {"/email": "a@x.example"}, status=404)


async def test_what_was_typed_is_kept_when_somebody_else_was_faster(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Lists, row: Document, fields: Document) -> None:
        return None

    async with served.browser() as browser:
        here = await pasted(served, browser)
        monkeypatch.setattr(Lists, "change_row", nothing)
        html = await browser.post(f"{here}/rows/2", {"/first_name": "Typed"}, status=409)
        assert "Somebody else changed this row" in html
        assert 'value="Typed"' in html


async def test_a_test_is_sent_and_a_draft_is_checked_again_or_thrown_away(served: Served) -> None:
    async with served.browser() as browser:
        here = await pasted(served, browser)
        assert "on its way to ana@ourco.example" in await browser.post(f"{here}/test", {"row": "2"})
        await browser.post(f"{here}/test", {"row": "x"}, status=422)
        assert "checked again" in await browser.post(f"{here}/check")
        assert "thrown away" in await browser.post(f"{here}/throw-away")
        assert browser.url.endswith("/enroll")
        await browser.get(here, status=404)


async def test_nobody_else_sees_a_list_and_a_form_needs_its_token(served: Served) -> None:
    async with served.browser() as browser:
        here = await pasted(served, browser)
        enroll = f"/sequences/{(await served.call('GET', '/v1/sequences'))['items'][0]['id']}/enroll"
        for path in (enroll, *(f"{here}/{name}" for name in ("launch", "exclude", "throw-away", "test"))):
            await browser.post(path, {"people": "a@x.example", "row": "2"}, signed=False, status=403)
        await browser.post(f"{here}/rows/2", {"/email": "x"}, signed=False, status=403)
    limited = {"email": "lim@ourco.example", "name": "Lim", "role": "limited"}
    member = {"email": "mem@ourco.example", "name": "Mem"}
    users = [(await served.call("POST", "/v1/users", new, status=201))["id"] for new in (limited, member)]
    await served.other_workspace()
    [eve] = await served.database.collection(names.USERS).find({"email": "eve@other.example"})
    for who in (*map(UUID, users), eve["_id"]):
        async with served.browser(who) as browser:
            for path in (enroll, here, f"{here}/progress", f"{here}/rows/2"):
                await browser.get(path, status=404)
    assert (await served.call("GET", f"/v1{here}"))["state"] == "draft"


def test_lines_are_read_as_people_write_them() -> None:
    text = 'a@x.example,\n\n"Lee, Tom" <tom@x.example>\nAna Maria Sol <ana@x.example>;\n'
    assert csv_of_addresses(text).splitlines()[1:] == [
        "a@x.example,,",
        "tom@x.example,Tom,Lee",
        "ana@x.example,Ana,Maria Sol",
    ]
