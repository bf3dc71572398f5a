"""The sequence editor, its preview and the versions page, as a browser without JavaScript uses them."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Browser, Served, serving_pages
from chassis import documents as names
from chassis.inquiries import Migrated, Migration, MigrationAsked, Place
from segue_contracts import ids

pytestmark = pytest.mark.stack

MAILBOX = {
    "address": "ana@ourco.example",
    "display_name": "Ana",
    "signature": "Ana, Our Co",
    "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"},
}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]
DOCUMENT = {
    "name": "Berlin",
    "tags": ["backend"],
    "timing": {"windows": {"mon-fri": ["09:00-12:00"]}},
    "stages": [
        {"id": "hello", "channel": "email", "subject": "Hi", "text": "\nHello {{first_name|there}}\n"},
        {"id": "ring", "channel": "call", "after": "2 days", "when": {"all": [{"has": "phone"}]}},
    ],
}


class Form(HTMLParser):
    """The fields of the editor's form with what they hold, as a browser would send them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._inside = False
        self._name = ""
        self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside = self._inside or given.get("id") == "editor"
        if not self._inside:
            return
        name = given.get("name", "")
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[name] = given.get("value", "")
        elif tag == "textarea":
            self._name, self.fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in self.fields or "selected" in given):
            self.fields[self._select] = given["value"]

    def handle_data(self, data: str) -> None:
        if self._name:
            self.fields[self._name] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":  # a browser drops the first line end, and sends the others as CRLF
            text = self.fields[self._name].removeprefix("\n")
            self.fields[self._name], self._name = text.replace("\n", "\r\n"), ""
        elif tag == "form":
            self._inside = False


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        yield served


async def a_sequence(served: Served, **changes: Any) -> str:
    return str((await served.call("POST", "/v1/sequences", {**DOCUMENT, **changes}, status=201))["id"])


async def latest(served: Served, sequence: str) -> Any:
    return (await served.call("GET", f"/v1/sequences/{sequence}"))["latest"]


async def press(browser: Browser, path: str, html: str, do: str, *, status: int = 200, **typed: str) -> str:
    """Press a button of the form on a page, with some fields typed into (`stages_0_text`)."""
    there = {name.replace("_", "."): name for name in typed}
    fields = Form(html).fields
    changed = {name: typed[key] for name in fields if (key := there.get(name.replace("_", ".")))}
    assert len(changed) == len(typed), set(typed)
    return await browser.post(path, {**fields, **changed, "do": do}, status=status)


async def enrolled(served: Served, sequence: str, version: int = 1) -> UUID:
    """Somebody who is in a sequence, as its scheduler would have stored it."""
    at, sequence_id, person = datetime(2026, 11, 23, 9, tzinfo=UTC), UUID(sequence), uuid4()
    mailbox = (await served.call("GET", "/v1/mailboxes"))["items"][0]["id"]
    enrollment = {
        "_id": ids.enrollment_id(served.workspace, sequence_id, "p1"),
        "workspace_id": served.workspace,
        "state": "scheduled",
        "ended": False,
        "stage_id": "hello",
        "stage_index": 0,
        "channel": "email",
        "attempt": 0,
        "planned_at": at,
        "due_at": at,
        "zone": "Europe/Berlin",
        "reasons": [],
        "sequence_id": sequence_id,
        "sequence_version": version,
        "person_id": person,
        "external_id": "p1",
        "generation": 1,
        "owner_id": UUID(served.made["user_id"]),
        "mailbox_id": UUID(mailbox),
        "is_test": False,
        "history": [],
        "created_at": at,
    }
    prospect = {"external_id": "p1", "first_name": "Priya", "last_name": "<b>Nair</b>", "tokens": {}}
    await served.database.collection(names.ENROLLMENTS).insert_one(enrollment)
    await served.database.collection(names.PEOPLE).insert_one(
        {"_id": person, "workspace_id": served.workspace, "prospect": prospect}
    )
    return ids.enrollment_id(served.workspace, sequence_id, "p1")


# ---- writing ------------------------------------------------------------------------------------------


async def test_a_sequence_of_two_stages_is_written_in_the_form_alone(served: Served) -> None:
    async with served.browser() as browser:
        html = await browser.get("/sequences/new")
        html = await press(
            browser,
            "/sequences/new",
            html,
            "add:email",
            name="Berlin",
            tags="backend, remote",
            tokens="role: Engineer\r\nteam: Search\r\n  and Ads",
            timing_windows="mon-fri 09:00-12:00, 13:00-17:30",
            stages_0_subject="Hi {{first_name|there}}",
            stages_0_text="Hello,\r\nyou",
        )
        html = await press(
            browser,
            "/sequences/new",
            html,
            "save",
            stages_1_text="Did you see this?",
            stages_1_at="09:00-11:00",
            stages_1_weekdays="tue-thu",
        )
        assert "Saved. Enroll the first person" in html
        sequence = browser.url.removesuffix("?saved=new").rpartition("/")[2]
    assert (await latest(served, sequence))["document"] == {
        "name": "Berlin",
        "tags": ["backend", "remote"],
        "tokens": {"role": "Engineer", "team": "Search\nand Ads"},
        "timing": {"windows": {"mon-fri": ["09:00-12:00", "13:00-17:30"]}},
        "stages": [
            {
                "id": "email-1",
                "channel": "email",
                "after": "0 minutes",
                "subject": "Hi {{first_name|there}}",
                "text": "Hello,\nyou",
            },
            {
                "id": "email-2",
                "channel": "email",
                "after": "3 business days",
                "at": "09:00-11:00",
                "weekdays": "tue-thu",
                "text": "Did you see this?",
            },
        ],
    }


async def test_saving_what_nobody_touched_makes_no_version(served: Served) -> None:
    sequence = await a_sequence(served)
    async with served.browser() as browser:
        path = f"/sequences/{sequence}/edit"
        html = await press(browser, path, await browser.get(path), "save")
        assert "Nothing has changed" in html
    found = await latest(served, sequence)
    assert (found["version"], found["document"]) == (1, DOCUMENT)


async def test_stages_are_moved_removed_and_taken_back_with_all_that_was_typed(served: Served) -> None:
    sequence = await a_sequence(served)
    path = f"/sequences/{sequence}/edit"
    async with served.browser() as browser:
        html = await press(browser, path, await browser.get(path), "up:1", stages_0_subject="Typed & kept")
        assert html.index("you call them") < html.index("send an e-mail")
        html = await press(browser, path, html, "remove:1")
        assert "Removed: hello" in html
        html = await press(browser, path, html, "undo:1")
        assert "Removed" not in html
        html = await press(browser, path, html, "copy:0")
        html = await press(browser, path, html, "remove:0")
        assert "Saved as version 2" in await press(browser, path, html, "save")
    stages = (await latest(served, sequence))["document"]["stages"]
    assert [stage["id"] for stage in stages] == ["call-1", "hello"]
    assert stages[0] == {**DOCUMENT["stages"][1], "id": "call-1"}  # type: ignore[index]
    assert stages[1] == {**DOCUMENT["stages"][0], "subject": "Typed & kept"}  # type: ignore[index]


async def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_is_kept(served: Served) -> None:
    async with served.browser() as browser:
        html = await press(
            browser,
            "/sequences/new",
            await browser.get("/sequences/new"),
            "save",
            status=422,
            name="<i>Berlin</i>",
            stages_0_after="soon",
            timing_windows="mon",
        )
        assert 'id="wrong-stages.0.after-1">must be a whole number and a unit' in html
        assert 'id="wrong-timing.windows-1"' in html
        assert 'value="soon"' in html
        assert "&lt;i&gt;Berlin" in html
        assert "<i>Berlin" not in html
    assert (await served.call("GET", "/v1/sequences"))["items"] == []


async def test_of_two_who_save_the_later_one_sees_both(served: Served) -> None:
    sequence = await a_sequence(served)
    path = f"/sequences/{sequence}/edit"
    async with served.browser() as browser:
        mine = await browser.get(path)
        await served.call("PUT", f"/v1/sequences/{sequence}", {**DOCUMENT, "name": "Theirs"})
        html = await press(browser, path, mine, "save", status=412, tags="mine")
        assert "Somebody saved version 2 while you wrote" in html
        assert "<ins>Theirs</ins>" in html
        assert 'value="mine"' in html
        assert (await latest(served, sequence))["version"] == 2
        assert "Saved as version 3" in await press(browser, path, html, "save")
    assert (await latest(served, sequence))["document"] == {**DOCUMENT, "tags": ["mine"]}


@pytest.mark.parametrize("do", ["", "up:x", "move:1", "add:pigeon", "remove:9999", "preview:77", "undo:-1"])
async def test_a_button_that_there_is_not_only_shows_the_form_again(served: Served, do: str) -> None:
    async with served.browser() as browser:
        html = await browser.get("/sequences/new")
        assert "Stages" in await press(browser, "/sequences/new", html, do, name="Kept")


async def test_a_form_that_is_too_long_or_holds_a_nul_is_refused_and_not_lost(served: Served) -> None:
    async with served.browser() as browser:
        html = await browser.get("/sequences/new")
        long = "word " * 110_000
        html = await press(
            browser, "/sequences/new", html, "save", status=413, stages_0_text=long, name="Kept"
        )
        assert 'value="Kept"' in html
        html = await browser.get("/sequences/new")
        await press(browser, "/sequences/new", html, "save", status=422, name="a\x00b")


async def test_editing_needs_the_right_to_it(served: Served) -> None:
    sequence = await a_sequence(served, access="shared")
    path = f"/sequences/{sequence}/edit"
    people = {}
    for role in ("member", "limited"):
        new = {"email": f"{role}@ourco.example", "name": role, "role": role}
        people[role] = UUID((await served.call("POST", "/v1/users", new, status=201))["id"])
    await served.other_workspace()
    [eve] = await served.database.collection(names.USERS).find({"email": "eve@other.example"})
    async with served.browser() as ana, served.browser(people["member"]) as colleague:
        html = await ana.get(path)
        assert "ask its owner" in await colleague.get(path, status=403)
        refused = await press(colleague, path, html, "save", status=403, tags="mine")
        assert "the right to edit it" in refused
        fields = {**Form(html).fields, "do": "save", "csrf": ""}
        assert "nothing was done" in await ana.post(path, fields, signed=False, status=403)
    async with served.browser(people["limited"]) as reader:
        assert "lets you read" in await reader.get("/sequences/new", status=403)
    async with served.browser(eve["_id"]) as stranger:
        for page in ("edit", "versions", "apply"):
            assert "no such sequence" in await stranger.get(f"/sequences/{sequence}/{page}", status=404)
        await stranger.post(f"/sequences/{sequence}/apply", {"to": "1"}, status=404)
        await stranger.post(path, {"base": "1", "do": "save"}, status=404)


# ---- preview ------------------------------------------------------------------------------------------


async def test_the_preview_shows_a_stage_for_an_example_and_names_what_is_missing(served: Served) -> None:
    async with served.browser() as browser:
        html = await press(
            browser,
            "/sequences/new",
            await browser.get("/sequences/new"),
            "preview:0",
            stages_0_subject="Hi {{first_name}}",
            stages_0_text="At {{company}} & {{salary}}: {{first_name|uper}}\r\n{{signature}}",
        )
        assert "<b>Hi Priya</b>" in html
        assert '<u class="missing">{{salary}}</u>' in html
        assert "At Initech &amp; " in html
        assert "Ana, Our Co" in html
        assert "No value and no fallback: salary" in html
        fields = Form(html).fields | {"stages.0.text": "Hello <b>{{", "preview.values": "x"}
        part = await browser.post("/sequences/preview", fields)
        assert "<html" not in part
        assert "is never closed" in part
        unsigned = {**fields, "csrf": ""}
        await browser.post("/sequences/preview", unsigned, signed=False, status=403)


async def test_the_preview_shows_a_stage_for_somebody_enrolled(served: Served) -> None:
    sequence = await a_sequence(served)
    enrollment = await enrolled(served, sequence)
    path = f"/sequences/{sequence}/edit"
    async with served.browser() as browser:
        html = await browser.get(path)
        assert "&lt;b&gt;Nair" in html
        fields = Form(html).fields | {"preview.person": str(enrollment), "do": "add:email"}
        html = await browser.post(path, fields)
        assert "Hello Priya" in html
        fields = Form(html).fields | {"stages.2.text": "Did you?", "do": "preview:2"}
        html = await browser.post(path, fields)
        assert "<b>Re: Hi</b>" in html
        assert "Did you?" in html
        fields["preview.person"] = str(uuid4())
        assert "There is no such enrollment" in await browser.post("/sequences/preview", fields)


async def test_a_preview_over_the_api_is_rendered_as_it_would_be_sent(served: Served) -> None:
    sequence = await a_sequence(served)
    body = {
        "subject": "Hi {{first_name}}",
        "html": "<p>{{last_name}} {{role}} {{my_name}}</p>",
        "tokens": {"role": "Engineer"},
        "enrollment_id": str(await enrolled(served, sequence)),
    }
    found = await served.call("POST", "/v1/preview", body)
    assert (found["subject"], found["missing"]) == ("Hi Priya", [])
    assert found["html"] == "<p>&lt;b&gt;Nair&lt;/b&gt; Engineer Ana</p>"
    assert found["text"].strip() == "<b>Nair</b> Engineer Ana"
    foreign = await served.other_workspace()
    await served.call("POST", "/v1/preview", body, key=foreign, status=404)
    await served.call("POST", "/v1/preview", {"text": "Hi", "mailbox": "nobody@ourco.example"})
    await served.call("POST", "/v1/preview", {"txt": "Hi"}, status=422)


async def test_a_preview_hides_people_of_sequences_that_one_may_not_see(served: Served) -> None:
    enrollment = await enrolled(served, await a_sequence(served))
    new = {"email": "ben@ourco.example", "name": "Ben", "role": "member"}
    ben = (await served.call("POST", "/v1/users", new, status=201))["id"]
    key = {"name": "ben", "scopes": ["write"], "user_id": ben}
    own = (await served.call("POST", "/v1/api-keys", key, status=201))["key"]
    body = {"text": "Hi {{first_name}}", "enrollment_id": str(enrollment)}
    await served.call("POST", "/v1/preview", body, key=own, status=404)


# ---- versions -----------------------------------------------------------------------------------------


async def test_versions_are_listed_and_compared(served: Served) -> None:
    sequence = await a_sequence(served)
    for name in ("Berlin 2", "Berlin 3"):
        await served.call("PUT", f"/v1/sequences/{sequence}", {**DOCUMENT, "name": name})
    page = await served.call("GET", f"/v1/sequences/{sequence}/versions?limit=2")
    assert [(each["version"], each["created_by_name"]) for each in page["items"]] == [(3, "Ana"), (2, "Ana")]
    cursor = page["next_cursor"]
    page = await served.call("GET", f"/v1/sequences/{sequence}/versions?limit=2&cursor={cursor}")
    assert ([each["version"] for each in page["items"]], page["next_cursor"]) == ([1], None)
    async with served.browser() as browser:
        html = await browser.get(f"/sequences/{sequence}/versions")
        assert "What changed from version 2 to 3" in html
        assert "<del>Berlin 2</del>" in html
        html = await browser.get(f"/sequences/{sequence}/versions?from=1&to=3")
        assert "<del>Berlin</del>" in html
        await browser.get(f"/sequences/{sequence}/versions?from=9", status=404)
        await browser.get(f"/sequences/{sequence}/versions?to=x", status=404)


class Scheduler:
    """Answers a migration's dry run as the scheduler would."""

    async def ask(self, question: Any, asked: MigrationAsked) -> Migration:
        return Migration(
            people=[
                Migrated(
                    enrollment_id=each,
                    external_id="p1",
                    state="scheduled",
                    from_version=1,
                    to_version=asked.to_version,
                    applies="now",
                    before=Place(stage_id="hello", stage_index=0),
                    after=Place(
                        stage_id="ring", stage_index=1, planned_at=datetime(2027, 1, 4, 9, tzinfo=UTC)
                    ),
                )
                for each in asked.enrollment_ids
            ]
        )


async def test_a_new_version_is_offered_to_the_people_in_flight(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = await a_sequence(served)
    await enrolled(served, sequence)
    path = f"/sequences/{sequence}/edit"
    async with served.browser() as browser:
        monkeypatch.setattr(type(served.api.scheduler), "ask", Scheduler.ask)
        html = await press(browser, path, await browser.get(path), "save", tags="new")
        assert browser.url == f"/sequences/{sequence}/apply?saved={sequence}"
        assert "1 person is in" in html
        assert "Mon 04 Jan 09:00" in html
        html = await browser.post(f"/sequences/{sequence}/apply", {"to": "2"})
        assert "Everybody in it goes on with version 2" in html
        assert "latest version is 2" in await browser.post(
            f"/sequences/{sequence}/apply", {"to": "7"}, status=422
        )
    assert await served.database.collection(names.BULK_COMMANDS).count({}, limit=9) == 1


async def test_the_page_says_so_while_nobody_can_tell_what_a_version_changes(served: Served) -> None:
    sequence = await a_sequence(served)
    async with served.browser() as browser:
        assert "Nobody is in" in await browser.get(f"/sequences/{sequence}/apply")
        await served.call("PUT", f"/v1/sequences/{sequence}", {**DOCUMENT, "name": "New"})
        await enrolled(served, sequence)
        html = await browser.get(f"/sequences/{sequence}/apply")
        assert "be reached at the moment" in html
        assert "Apply to everybody in it" in html
