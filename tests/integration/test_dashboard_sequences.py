"""The list of sequences, a sequence's page and its sharing, as a browser without JavaScript sees them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.dashboard.sequence import LivePages
from api.testing import Browser, Served, serving_pages
from chassis import documents as names
from scheduler.store import INDEXES as SCHEDULER_INDEXES
from segue_contracts import ids
from sender.store import INDEXES as DELIVERY_INDEXES

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        for name, indexes in (*SCHEDULER_INDEXES.items(), (names.DELIVERIES, DELIVERY_INDEXES)):
            await served.database.collection(name).ensure_indexes(indexes)
        await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        yield served


async def a_sequence(served: Served, name: str = "Berlin", **more: Any) -> str:
    body = {"name": name, "stages": STAGES, **more}
    return str((await served.call("POST", "/v1/sequences", body, status=201))["id"])


async def enroll(served: Served, sequence: str, external_id: str, **more: Any) -> UUID:
    sequence_id, now = UUID(sequence), served.clock.now()
    document = {
        "_id": ids.enrollment_id(served.workspace, sequence_id, external_id),
        "workspace_id": served.workspace,
        "state": "scheduled",
        "ended": False,
        "stage_id": "hello",
        "stage_index": 0,
        "channel": "email",
        "attempt": 0,
        "planned_at": now + timedelta(hours=1),
        "zone": "Europe/Berlin",
        "reasons": [{"rule": "window", "detail": "opens at 9"}],
        "sequence_id": sequence_id,
        "sequence_version": 1,
        "person_id": ids.person_id(served.workspace, external_id),
        "external_id": external_id,
        "owner_id": UUID(served.made["user_id"]),
        "mailbox_id": uuid4(),
        "history": [],
        "created_at": now,
        **more,
    }
    await served.database.collection(names.ENROLLMENTS).insert_one(document)
    return UUID(str(document["_id"]))


async def a_user(served: Served, name: str, role: str = "member") -> UUID:
    body = {"email": f"{name}@ourco.example", "name": name.title(), "role": role}
    return UUID((await served.call("POST", "/v1/users", body, status=201))["id"])


async def commands(served: Served) -> list[tuple[str, str]]:
    found = await served.database.collection(names.COMMANDS).find({"workspace_id": served.workspace})
    return sorted((each["type"], each["target"]) for each in found)


async def undone(browser: Browser, html: str, path: str) -> str:
    """Send the form that takes back what was just done."""
    form = html.partition('role="status"')[2].partition("</form>")[0]
    assert f'action="{path}"' in form
    inputs = form.split('name="')[1:]
    fields = {each.partition('"')[0]: each.partition('value="')[2].partition('"')[0] for each in inputs}
    return await browser.post(path, fields)


# ---- the list -----------------------------------------------------------------------------------------


async def test_the_list_has_yours_and_shared_ones_apart_with_their_numbers(served: Served) -> None:
    sequence = await a_sequence(served, "Backend", tags=["eu"])
    await enroll(served, sequence, "p1")
    bob = await a_user(served, "bob")
    await a_sequence(served, "Open to all", access="shared")
    async with served.browser() as browser:
        assert "being counted" in await browser.get("/sequences")
        await served.api.counting.sweep()
        html = await browser.get("/sequences")
        assert "being counted" not in html
        assert ">Backend<" in html
        assert "Archive Backend" in html
        assert "Numbers as of" in html
        assert "?of=all" in html
        assert ">Backend<" in await browser.get("/sequences?q=back&tag=eu")
        assert "No sequence here matches" in await browser.get("/sequences?q=xyz")
        assert "Nobody shares a sequence with you yet" in await browser.get("/sequences?of=others")
    async with served.browser(bob) as browser:
        assert "write the first one" in await browser.get("/sequences")
        html = await browser.get("/sequences?of=others")
        assert ">Open to all<" in html
        assert ">Backend<" not in html
        assert "?of=all" not in html
        assert "Archive Open" not in html


async def test_the_list_is_ordered_by_name_by_age_and_by_the_last_change(served: Served) -> None:
    made = {}
    for name in ("Munich", "Berlin", "Zurich"):
        made[name] = await a_sequence(served, name)
        served.clock.advance(minutes=1)
    await served.call(
        "PUT", f"/v1/sequences/{made['Berlin']}", {"name": "Berlin", "stages": STAGES, "tags": ["x"]}
    )

    async def shown(sort: str) -> list[str]:
        html = await browser.get(f"/sequences?{sort}")
        return sorted(made, key=lambda name: html.index(f">{name}</a>"))

    async with served.browser() as browser:
        assert await shown("") == ["Zurich", "Berlin", "Munich"]
        assert await shown("sort=name") == ["Berlin", "Munich", "Zurich"]
        assert await shown("sort=changed") == ["Berlin", "Zurich", "Munich"]
        assert await shown("sort=luck") == ["Zurich", "Berlin", "Munich"]
    first = await served.call("GET", "/v1/sequences?sort=name&limit=2")
    second = await served.call("GET", f"/v1/sequences?sort=name&cursor={first['next_cursor']}")
    names_of = [each["name"] for each in first["items"] + second["items"]]
    assert names_of == ["Berlin", "Munich", "Zurich"]


async def test_a_copy_is_made_from_the_list_and_is_ones_own(served: Served) -> None:
    sequence = await a_sequence(served)
    async with served.browser() as browser:
        html = await browser.post(f"/sequences/{sequence}/copy")
        assert "Copy of Berlin" in html
        assert browser.url != f"/sequences/{sequence}"
        assert "nothing was done" in await browser.post(
            f"/sequences/{sequence}/copy", signed=False, status=403
        )


async def test_archiving_is_asked_first_and_says_what_becomes_of_people(served: Served) -> None:
    sequence = await a_sequence(served)
    async with served.browser() as browser:
        assert "can't be undone" in await browser.get(f"/sequences/{sequence}/archive")
        html = await browser.post(f"/sequences/{sequence}/archive", {"people": "hold"})
        assert browser.url == "/sequences"
        assert ">Berlin<" not in html
        assert ">Berlin<" in await browser.get("/sequences?archived=true")
        assert "it takes no more people" in await browser.get(f"/sequences/{sequence}")
    assert await commands(served) == [("hold", sequence)]


async def test_archiving_says_what_it_does_not_understand(served: Served) -> None:
    path = f"/sequences/{await a_sequence(served)}/archive"
    async with served.browser() as browser:
        assert 'role="alert"' in await browser.post(path, {"people": "eat"}, status=422)


# ---- one sequence -------------------------------------------------------------------------------------


async def test_the_page_tells_where_people_are_and_why(served: Served) -> None:
    sequence = await a_sequence(served)
    await enroll(served, sequence, "p1")
    await enroll(
        served,
        sequence,
        "p2",
        state="stopped",
        ended=True,
        stop={"reason": "replied", "reason_code": "", "at": served.clock.now(), "cause_id": uuid4()},
    )
    async with served.browser() as browser:
        assert "People are being counted" in await browser.get(f"/sequences/{sequence}")
        await served.api.counting.sweep()
        html = await browser.get(f"/sequences/{sequence}")
        assert 'aria-label="People by state: 1 planned, 1 answered"' in html
        assert "opens at 9" in html
        assert ">p2</a>" in html
        assert "1 answered (50 %)" in html
        only = await browser.get(f"/sequences/{sequence}?state=answered")
        assert ">p2</a>" in only
        assert ">p1</a>" not in only
        assert ">p1</a>" in await browser.get(f"/sequences/{sequence}?person=p1")
        assert "Nobody with exactly this" in await browser.get(f"/sequences/{sequence}?person=nobody")


async def test_a_long_table_goes_on_page_by_page(served: Served) -> None:
    sequence = await a_sequence(served)
    for n in range(51):
        at = served.clock.now() + timedelta(minutes=n)
        await enroll(served, sequence, f"p{n}", planned_at=at)
    async with served.browser() as browser:
        html = await browser.get(f"/sequences/{sequence}")
        assert ">p50</a>" not in html
        more = html.partition('class="pages"><a href="')[2].partition('"')[0].replace("&amp;", "&")
        html = await browser.get(more)
        assert ">p50</a>" in html
        assert ">p49</a>" not in html


async def test_those_ticked_are_paused_and_resumed_again_by_undo(served: Served) -> None:
    sequence = await a_sequence(served)
    one = await enroll(served, sequence, "p1")
    await enroll(served, sequence, "p2")
    path = f"/sequences/{sequence}/people"
    async with served.browser() as browser:
        html = await browser.post(path, {"do": "pause", "id": str(one)})
        assert "Paused: 1 person" in html
        assert "Resumed: 1 person" in await undone(browser, html, path)
    assert await commands(served) == [("hold", str(one)), ("lift", str(one))]


@pytest.mark.parametrize(("do", "said"), [("stop", "Stopped"), ("mark_replied", "Marked as answered")])
async def test_those_ticked_are_stopped_and_nobody_else(served: Served, do: str, said: str) -> None:
    sequence = await a_sequence(served)
    chosen = [await enroll(served, sequence, each) for each in ("p1", "p2")]
    await enroll(served, sequence, "p3")
    async with served.browser() as browser:
        page = await browser.get(f"/sequences/{sequence}")
        assert f'name="do" value="{do}"' in page
        form = {"do": do, "ids": " ".join(map(str, chosen))}
        assert f"{said}: 2 people" in await browser.post(f"/sequences/{sequence}/people", form)
    assert sorted(target for _, target in await commands(served)) == sorted(map(str, chosen))


async def test_all_in_a_state_are_stopped_at_once(served: Served) -> None:
    sequence = await a_sequence(served)
    await enroll(served, sequence, "p1")
    await enroll(served, sequence, "p2")
    async with served.browser() as browser:
        html = await browser.post(
            f"/sequences/{sequence}/people?state=scheduled", {"do": "stop", "all": "scheduled"}
        )
        assert "Stopped: 2 people" in html
        assert browser.url == f"/sequences/{sequence}?state=scheduled"
    assert [kind for kind, _ in await commands(served)] == ["stop", "stop"]


async def test_a_mistaken_form_is_told_on_the_page_and_does_nothing(served: Served) -> None:
    sequence = await a_sequence(served)
    path = f"/sequences/{sequence}"
    async with served.browser() as browser:
        assert 'role="alert"' in await browser.post(f"{path}/people", {"do": "pause"}, status=422)
        html = await browser.post(f"{path}/pause", {"until": "2001-01-01T09:00", "reason": "why"}, status=422)
        assert "is past" in html
        assert 'value="2001-01-01T09:00"' in html
        assert "nothing was done" in await browser.post(f"{path}/pause", signed=False, status=403)
    assert await commands(served) == []


async def test_a_sequence_is_paused_and_resumed(served: Served) -> None:
    path = f"/sequences/{await a_sequence(served)}"
    async with served.browser() as browser:
        html = await browser.post(f"{path}/pause")
        assert "Nothing of this sequence goes out" in html
        assert "It goes on." in await undone(browser, html, f"{path}/resume")
    assert [kind for kind, _ in await commands(served)] == ["hold", "lift"]


async def test_what_holds_a_sequence_stands_on_top(served: Served) -> None:
    sequence = await a_sequence(served)
    hold = {
        "_id": f"ownership:{sequence}",
        "workspace_id": served.workspace,
        "scope": "ownership",
        "scope_id": UUID(sequence),
        "by": "api",
        "reason": "owner_left",
        "until": None,
        "created_at": served.clock.now(),
    }
    await served.database.collection(names.HOLDS).insert_one(hold)
    async with served.browser() as browser:
        html = await browser.get(f"/sequences/{sequence}")
        assert "Its owner has left" in html
        assert f'<a href="/sequences/{sequence}/sharing">Give it to somebody</a>' in html


async def test_whoever_only_reads_is_offered_nothing_else_and_can_do_nothing_else(served: Served) -> None:
    sequence = await a_sequence(served)
    one = await enroll(served, sequence, "p1")
    bob = await a_user(served, "bob")
    async with served.browser(bob) as browser:
        for path in ("", "/sharing", "/archive"):
            await browser.get(f"/sequences/{sequence}{path}", status=404)
        await browser.post(f"/sequences/{sequence}/people", {"do": "stop", "id": str(one)}, status=404)
        await served.call("PUT", f"/v1/sequences/{sequence}/grants/{bob}", {"right": "read"})
        html = await browser.get(f"/sequences/{sequence}")
        assert 'type="checkbox"' not in html
        assert "Pause" not in html
        assert "Copy it as your own" in html
        await browser.post(f"/sequences/{sequence}/people", {"do": "stop", "id": str(one)}, status=403)
        await browser.post(f"/sequences/{sequence}/pause", status=403)
        await browser.post(
            f"/sequences/{sequence}/sharing/give", {"user": str(bob), "right": "edit"}, status=403
        )
    assert await commands(served) == []


async def test_what_live_pages_show_is_made_once_for_all_of_them() -> None:
    room, made = LivePages(asyncio.Event()), []

    async def make() -> str:
        made.append(1)
        await asyncio.sleep(0)
        return "content"

    shown = await asyncio.gather(*(room.shared("look", 60.0, make) for _ in range(50)))
    assert (set(shown), len(made)) == ({"content"}, 1)
    await room.shared("another look", 60.0, make)
    await room.shared("look", 0.0, make)
    assert len(made) == 3


# ---- sharing ------------------------------------------------------------------------------------------


async def test_a_right_is_given_and_taken_back_and_given_again_by_undo(served: Served) -> None:
    sequence, bob = await a_sequence(served), await a_user(served, "bob")
    path = f"/sequences/{sequence}/sharing"
    async with served.browser() as browser:
        html = await browser.post(f"{path}/give", {"user": str(bob), "right": "use"})
        assert "Take back the right of Bob" in html
        html = await browser.post(f"{path}/take-back", {"user": str(bob)})
        assert "Take back the right of Bob" not in html
        assert "Take back the right of Bob" in await undone(browser, html, f"{path}/give")
        assert 'role="alert"' in await browser.post(
            f"{path}/give", {"user": str(bob), "right": "all"}, status=422
        )
        assert "no such user" in await browser.post(
            f"{path}/give", {"user": "nobody", "right": "read"}, status=404
        )


async def test_access_is_changed_without_changing_what_is_sent(served: Served) -> None:
    sequence = await a_sequence(served)
    path = f"/sequences/{sequence}/sharing"
    async with served.browser() as browser:
        html = await browser.post(f"{path}/access", {"access": "shared"})
        assert 'value="shared" checked' in html
        assert 'value="personal" checked' in await undone(browser, html, f"{path}/access")
        assert 'role="alert"' in await browser.post(f"{path}/access", {"access": "secret"}, status=422)
    whole = await served.call("GET", f"/v1/sequences/{sequence}")
    assert (whole["latest_version"], whole["latest"]["document"]["stages"][0]["text"]) == (3, "Hello")


async def test_a_sequence_is_given_away_by_whoever_owns_it(served: Served) -> None:
    sequence, bob = await a_sequence(served), await a_user(served, "bob")
    cleo = await a_user(served, "cleo")
    await served.call("PUT", f"/v1/sequences/{sequence}/grants/{cleo}", {"right": "edit"})
    path = f"/sequences/{sequence}/sharing"
    async with served.browser(cleo) as browser:
        assert "Give it away" not in await browser.get(path)
        await browser.post(f"{path}/transfer", {"to": str(cleo)}, status=403)
    async with served.browser() as browser:
        html = await browser.post(f"{path}/transfer", {"to": str(bob)}, status=422)
        assert 'role="alert"' in html  # Ana has not agreed that Bob sends from her mailbox
        other = await a_sequence(served, "Bonn", mailbox="ana@ourco.example")
        assert 'role="alert"' in await browser.post(
            f"/sequences/{other}/sharing/transfer", {"to": "nobody"}, status=422
        )
