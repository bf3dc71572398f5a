"""Lists of prospects: prepared, mended and launched over HTTP, before a real scheduler on a real MongoDB."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api import checking, launching
from api.application import application
from api.bootstrap import Wanted, bootstrap
from api.checking import Checker
from api.launching import Launcher
from api.migrations import SCHEMA as API_SCHEMA
from api.routing import Api
from api.settings import ApiSettings
from api.testing import Served, Zone
from api.wiring import assemble
from chassis import documents as names
from chassis import faults
from chassis.desk import Desk
from chassis.errors import Reject, Retry
from chassis.health import Health, listening
from chassis.inquiries import DryRunAsked
from chassis.migrations import build
from chassis.secrets import Secrets
from chassis.settings import HttpSettings
from chassis.store import Document
from chassis.testing import fresh_database
from scheduler.migrations import SCHEMA as SCHEDULER_SCHEMA
from scheduler.testing import Bench, Captured, bench_over, received, settings_for
from scheduler.wiring import open_desk
from segue_contracts.topics import ENROLLMENT_COMMANDS

pytestmark = pytest.mark.stack

MAILBOX: Document = {
    "address": "ana@ourco.example",
    "zone": "Europe/Berlin",
    "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"},
}
STAGES: list[Document] = [
    {"id": "hello", "channel": "email", "subject": "A job, {{first_name}}", "text": "Hi {{first_name}}"},
    {"id": "nudge", "channel": "email", "after": "3 days", "text": "Did you see this?"},
]


@dataclass
class World(Served):
    """An api and a scheduler over one database; commands pass between them when a test carries them."""

    bench: Bench = field(kw_only=True)
    kafka: Captured = field(kw_only=True)

    async def sequence(self, **changes: Any) -> str:
        if not (await self.call("GET", "/v1/mailboxes"))["items"]:
            await self.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        body = {"name": "Berlin", "stages": STAGES} | changes
        return str((await self.call("POST", "/v1/sequences", body, status=201))["id"])

    async def listed(self, people: Sequence[Any], sequence: str | None = None, **options: Any) -> str:
        """The path of a new list."""
        path = f"/v1/sequences/{sequence or await self.sequence()}/lists"
        made = await self.call("POST", path, {"prospects": people, **options}, status=201)
        return f"/v1/lists/{made['id']}"

    async def check(self) -> None:
        """Let the sweep check what is unchecked."""
        checker = Checker(self.clock, self.api.store, self.api.scheduler)
        for _ in range(20):
            await checker.sweep()

    async def carried(self) -> int:
        """Let the courier publish, and the scheduler take what it published; how many commands."""
        await self.api.courier.deliver()
        messages = self.kafka.of(ENROLLMENT_COMMANDS)
        self.kafka.messages.clear()
        await self.bench.parts.commands.handle([received(each) for each in messages])
        return len(messages)

    async def launched(self, *launchers: Launcher) -> None:
        """Let sweeps carry launches to their end."""
        own = launchers or (Launcher(self.clock, self.api.store, self.api.courier),)
        for turn in range(12):
            await own[turn % len(own)].sweep()
            await self.carried()
            self.clock.advance(seconds=1)

    async def rows(self, path: str, **query: str) -> list[Document]:
        """The rows of the first page."""
        return list((await self.call("GET", f"{path}/rows", params=query))["items"])


def person(who: str, **more: Any) -> Document:
    return {"external_id": who, "email": f"{who}@there.example", "first_name": who.title()} | more


def codes(row: Document) -> list[str]:
    return [each["code"] for each in row["problems"]]


@pytest.fixture
async def world(mongodb_uri: str) -> AsyncIterator[World]:
    settings = settings_for(mongodb_uri)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(fresh_database(settings))
        bench = bench_over(database, settings)
        bench.clock.set(datetime.now(UTC).replace(microsecond=0))  # documents expire by MongoDB's own clock
        await build(database, SCHEDULER_SCHEMA)
        await build(database, API_SCHEMA)
        desk = Desk(Secrets(settings))
        open_desk(desk, bench.parts.inquiries)
        port = await stack.enter_async_context(listening(HttpSettings(), Health(), desk.app))
        api_settings = ApiSettings(
            kafka_bootstrap_servers="unused:9092",
            mongodb_uri=mongodb_uri,
            mongodb_database=settings.mongodb_database,
            secret_keys=settings.secret_keys,
            scheduler_url=f"http://127.0.0.1:{port}",
            public_url="http://127.0.0.1:8080",
            sign_in="dev",
        )
        kafka, zone = Captured(), Zone()
        api = assemble(api_settings, bench.clock, database, kafka, zone)
        stack.push_async_callback(api.scheduler.close)
        made = await bootstrap(
            Wanted("Our Co", "ana@ourco.example", "Ana", False), api.store.people, bench.clock
        )
        client = await stack.enter_async_context(TestClient(TestServer(application(api))))
        yield World(api, database, bench.clock, zone, client, made, bench=bench, kafka=kafka)


# ---- preparing ----------------------------------------------------------------------------------------


async def test_a_list_is_checked_mended_and_launched_for_those_without_a_problem(world: World) -> None:
    sequence = await world.sequence()
    await world.call("POST", "/v1/suppressions", {"address": "gone@there.example"}, status=201)
    people = [
        person("priya"),
        person("gone"),
        person("anon", first_name=None),
        person("bad", email="no address"),
        person("priya"),
        person("p-2", email="PRIYA@there.example"),
    ]
    path = await world.listed(people, sequence)
    await world.check()
    it = await world.call("GET", path)
    assert (it["state"], it["rows"], it["launches"], it["unsure"]) == ("draft", 6, 2, False)
    assert {each["code"]: each["rows"] for each in it["codes"]} == {
        "same_address": 3,
        "suppressed": 1,
        "token_missing": 1,
        "twice": 1,
        "unreadable": 1,
    }
    rows = await world.rows(path)
    assert [(row["row"], row["status"], codes(row)[:1]) for row in rows] == [
        (2, "problem", ["suppressed"]),
        (3, "problem", ["token_missing"]),
        (4, "problem", ["unreadable"]),
        (5, "problem", ["twice"]),
        (1, "ready", []),
        (6, "ready", []),
    ]
    assert rows[2]["problems"][0]["pointer"] == "/email"
    priya = rows[4]["rehearsal"]
    assert [each["text"] for each in priya["stages"]] == ["Hi Priya", "Did you see this?"]
    assert priya["stages"][1]["reasons"]

    mended = await world.call("PATCH", f"{path}/rows/3", {"first_name": "Anon"})
    assert (mended["status"], mended["problems"]) == ("ready", [])
    assert mended["rehearsal"]["stages"][0]["text"] == "Hi Anon"
    await world.call("PATCH", f"{path}/rows/4", {"email": "bad@there.example"})
    await world.call("POST", f"{path}/exclude", {"rows": [6]})
    await world.check()
    it = await world.call("GET", path)
    assert (it["launches"], it["counts"]["excluded"]) == (3, 1)
    assert it["first_at"] is not None

    for _ in range(2):  # the second one changes nothing
        it = await world.call("POST", f"{path}/launch", {}, status=202)
        assert it["state"] == "launching"
    await world.launched()
    it = await world.call("POST", f"{path}/launch", {}, status=202)
    assert (it["state"], it["counts"]["enrolled"], it["counts"]["problem"]) == ("launched", 3, 2)
    people = (await world.call("GET", f"/v1/sequences/{sequence}/enrollments"))["items"]
    assert sorted(each["external_id"] for each in people) == ["anon", "bad", "priya"]
    await world.call("PATCH", f"{path}/rows/1", {"first_name": "P"}, status=409)
    await world.call("DELETE", path, status=409)
    assert ("list.launched", path.rpartition("/")[2]) in await world.audited()


async def test_a_mended_row_frees_the_one_that_it_was_mistaken_for(world: World) -> None:
    path = await world.listed([person("a"), person("a", email="b@there.example")])
    await world.check()
    first, second = sorted(await world.rows(path), key=lambda row: row["row"])
    assert (codes(first), codes(second)) == ([], ["twice"])
    await world.call("POST", f"{path}/exclude", {"rows": [1]})
    await world.check()
    [second] = await world.rows(path, status="ready")
    assert second["row"] == 2
    await world.call("POST", f"{path}/include", {"rows": [1]})
    await world.check()
    [first] = await world.rows(path, problem="twice")
    assert first["row"] == 1  # who was found ready first goes on


async def test_rows_with_a_problem_are_left_out_together_and_taken_in_again(world: World) -> None:
    people = [person("a"), *(person(f"p{n}", first_name=None) for n in range(3)), {"external_id": "x@y"}]
    path = await world.listed(people)
    await world.check()
    assert await world.call("POST", f"{path}/exclude", {"problem": "token_missing"}) == {"rows": 3}
    assert await world.call("POST", f"{path}/exclude", {"problem": "unreadable"}) == {"rows": 1}
    assert (await world.call("GET", path))["codes"] == []
    assert await world.call("POST", f"{path}/include", {"problem": "token_missing"}) == {"rows": 3}
    assert await world.call("POST", f"{path}/include", {"rows": [5]}) == {"rows": 1}
    await world.check()
    it = await world.call("GET", path)
    assert (it["counts"]["problem"], it["counts"]["unchecked"], it["launches"]) == (4, 0, 1)
    for wrong in ({}, {"rows": [1], "problem": "x"}, {"rows": [0]}):
        await world.call("POST", f"{path}/exclude", wrong, status=422)


async def test_who_comes_without_an_id_gets_one_that_stays_the_same(world: World) -> None:
    sequence = await world.sequence()
    ids = []
    for email in ("priya@there.example", "Priya@there.example"):
        path = await world.listed([{"email": email, "first_name": "Priya"}], sequence)
        [row] = await world.rows(path, rehearse="false")
        ids.append(row["prospect"]["external_id"])
    assert ids[0] == ids[1]
    assert "@" not in ids[0]


async def test_a_newer_version_of_the_sequence_is_checked_anew(world: World) -> None:
    sequence = await world.sequence()
    path = await world.listed([person("a", title=None), person("b", title="Engineer")], sequence)
    await world.check()
    assert (await world.call("GET", path))["launches"] == 2
    stage = {**STAGES[0], "text": "Hi {{title}}"}
    await world.call("PUT", f"/v1/sequences/{sequence}", {"name": "Berlin", "stages": [stage]})
    it = await world.call("GET", path)
    assert (it["checked_version"], it["latest_version"]) == (1, 2)
    it = await world.call("POST", f"{path}/check")
    assert it["counts"]["unchecked"] == 2
    await world.check()
    it = await world.call("GET", path)
    assert (it["checked_version"], it["launches"], it["counts"]["problem"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("external_id,external_id\n1,2\n", 422),
        ("external_id,email\n", 422),
        ('external_id,email\n1,"a\n', 400),
    ],
)
async def test_what_is_no_list_is_refused_and_nothing_of_it_is_kept(
    world: World, text: str, status: int
) -> None:
    await world.csv(f"/v1/sequences/{await world.sequence()}/lists", text, status=status)
    for name in (names.PROSPECT_LISTS, names.PROSPECT_LIST_ROWS):
        assert await world.database.collection(name).find({}) == []


async def test_a_row_of_a_file_is_numbered_by_its_line_and_a_huge_one_is_not_kept(world: World) -> None:
    text = f"external_id,email,note\n1,a@there.example,\n2,b@there.example,{'x' * 70_000}\n3,,,,,\n"
    made = await world.csv(f"/v1/sequences/{await world.sequence()}/lists", text, status=201)
    rows = await world.rows(f"/v1/lists/{made['id']}")
    assert [(row["row"], row["status"]) for row in rows] == [(3, "problem"), (4, "problem"), (2, "unchecked")]
    assert "larger than" in rows[0]["problems"][0]["detail"]


async def test_a_row_of_any_shape_is_kept_and_can_be_mended(world: World) -> None:
    strange = [{"$where": 1, "a.b": [], "email": {"x": 1}, "external_id": 7}, "text", None, {"tokens": 3}]
    path = await world.listed(strange)
    for number in range(1, 5):
        row = await world.call("GET", f"{path}/rows/{number}")
        assert row["status"] == "problem"
    patch = {"$where": None, "a.b": None, "email": "a@there.example", "external_id": "a", "first_name": "A"}
    assert (await world.call("PATCH", f"{path}/rows/1", patch))["status"] == "ready"
    again = await world.call("PATCH", f"{path}/rows/1", {"$x": {"$y": 1}, "tokens": {"likes": "tea"}})
    assert again["prospect"]["$x"] == {"$y": 1}
    await world.call("PATCH", f"{path}/rows/1", ["no"], status=422)
    await world.call("PATCH", f"{path}/rows/5", {}, status=404)
    await world.call("PATCH", f"{path}/rows/x", {}, status=404)


async def test_a_draft_is_thrown_away_with_its_rows(world: World) -> None:
    sequence = await world.sequence()
    path = await world.listed([person("a")], sequence)
    [brief] = (await world.call("GET", f"/v1/sequences/{sequence}/lists"))["items"]
    assert (brief["state"], brief["rows"]) == ("draft", 1)
    await world.call("DELETE", path, status=204)
    await world.call("GET", path, status=404)
    assert await world.database.collection(names.PROSPECT_LIST_ROWS).find({}) == []


# ---- without a scheduler ------------------------------------------------------------------------------


class Silent:
    """A scheduler that says nothing, or always too much."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def ask(self, question: Any, asked: DryRunAsked) -> Any:
        if isinstance(self._error, Retry) or len(asked.commands) >= 1:
            raise self._error


def with_scheduler(world: World, scheduler: Any) -> Api:
    return replace(world.api, scheduler=scheduler)


async def test_a_list_waits_for_the_scheduler_and_can_be_changed_meanwhile(world: World) -> None:
    path = await world.listed([person("a"), person("b")])
    silent = with_scheduler(world, Silent(Retry("away")))
    async with TestClient(TestServer(application(silent))) as client:
        alone = replace(world, client=client, api=silent)
        await alone.check()
        assert (await alone.call("GET", path))["unsure"]
        page = await alone.call("GET", f"{path}/rows")
        assert "scheduler" in page["unrehearsed"]
        assert [row["rehearsal"] for row in page["items"]] == [None, None]
        await alone.call("POST", f"{path}/exclude", {"rows": [1]})
        mended = await alone.call("PATCH", f"{path}/rows/2", {"first_name": "Bea"})
        assert mended["status"] == "unchecked"
    world.clock.advance(seconds=checking.SILENT_SECONDS)
    await world.check()
    it = await world.call("GET", path)
    assert (it["unsure"], it["counts"]["ready"], it["counts"]["excluded"]) == (False, 1, 1)


async def test_one_of_whom_there_is_too_much_to_say_keeps_nobody_else_waiting(world: World) -> None:
    path = await world.listed([person("a"), person("b")])
    wordy = replace(world, api=with_scheduler(world, Silent(Reject("too_much"))))
    await wordy.check()
    assert [codes(row) for row in await world.rows(path)] == [["too_much"], ["too_much"]]


# ---- launching ----------------------------------------------------------------------------------------


async def test_a_launch_survives_the_process_that_carries_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "PAGE", 2)
    sequence = await world.sequence()
    path = await world.listed([person(f"p{n}") for n in range(5)], sequence)
    await world.call("POST", f"{path}/launch", {}, status=202)
    point = faults.point

    async def dies(name: str) -> None:
        await point(name)
        if name == "api.list_page_noted":
            raise Retry("killed between the note of a page and its commands")

    monkeypatch.setattr(faults, "point", dies)
    with pytest.raises(Retry):
        await Launcher(world.clock, world.api.store, world.api.courier).sweep()
    monkeypatch.setattr(faults, "point", point)
    it = await world.call("GET", path)
    assert (it["counts"]["accepted"], it["launches"]) == (2, 3)
    assert await world.carried() == 0
    two = [Launcher(world.clock, world.api.store, world.api.courier) for _ in range(2)]
    for _ in range(12):
        for each in two:
            await each.sweep()
        await world.api.courier.sweep()
        await world.carried()
        world.clock.advance(seconds=4)
    it = await world.call("GET", path)
    assert (it["state"], it["counts"]["enrolled"]) == ("launched", 5)
    commands = await world.database.collection(names.COMMANDS).find({"type": "enroll"})
    assert len(commands) == 5
    assert (await world.call("GET", f"/v1/sequences/{sequence}/stats"))["enrolled"] == 5


async def test_who_is_refused_at_the_launch_is_named_with_the_reason(world: World) -> None:
    path = await world.listed([person("a"), person("gone")])
    await world.check()
    await world.call("POST", "/v1/suppressions", {"address": "gone@there.example"}, status=201)
    await world.call("POST", f"{path}/launch", {}, status=202)
    await world.launched()
    it = await world.call("GET", path)
    assert (it["state"], it["counts"]["enrolled"], it["counts"]["refused"]) == ("launched", 1, 1)
    assert it["codes"] == [{"code": "suppressed", "rows": 1}]
    refused, enrolled = await world.rows(path)
    assert (refused["status"], codes(refused)) == ("refused", ["suppressed"])
    await world.call("GET", f"/v1/enrollments/{enrolled['enrollment_id']}")


async def test_a_launch_is_refused_with_the_codes_that_are_shown_before_it(world: World) -> None:
    texts = [*STAGES, {"id": "text", "channel": "sms", "text": "Hi", "when": {"has": "phone"}}]
    sequence = await world.sequence()
    path = await world.listed([person("a")], sequence)
    [mailbox] = (await world.call("GET", "/v1/mailboxes"))["items"]
    collection = world.database.collection
    found = {"_id": f"{sequence}:1"}
    await collection(names.SEQUENCE_VERSIONS).update_one(found, {"$set": {"document.stages": texts}})
    await collection(names.HOLDS).insert_one(
        {
            "_id": f"mailbox:{mailbox['id']}",
            "workspace_id": world.workspace,
            "scope": "mailbox",
            "scope_id": UUID(mailbox["id"]),
            "reason": "bounce_rate",
            "by": "segue",
            "created_at": world.clock.now(),
        }
    )
    await world.call("POST", f"/v1/sequences/{sequence}/pause", {}, status=202)
    await world.carried()
    await world.call("POST", f"{path}/exclude", {"rows": [1]})
    it = await world.call("GET", path)
    assert {each["code"]: each["page"] for each in it["problems"]} == {
        "nobody": f"/lists/{it['id']}",
        "mailbox_paused": f"/mailboxes/{mailbox['id']}",
        "number_missing": "/settings",
    }
    assert "postal address" in it["warnings"][1]
    assert "The sequence is paused" in it["warnings"][0]
    problem = await world.call("POST", f"{path}/launch", {}, status=409)
    assert problem["type"] == "urn:segue:problem:not-ready"
    assert [each["pointer"] for each in problem["errors"]] == [
        f"/problems/{each['code']}" for each in it["problems"]
    ]
    await world.call("POST", f"/v1/sequences/{sequence}/archive")
    await collection(names.MAILBOXES).delete_one({"_id": UUID(mailbox["id"])})
    shown = {each["code"] for each in (await world.call("GET", path))["problems"]}
    assert {"archived", "mailbox_missing"} <= shown


async def test_a_test_goes_to_whoever_asks_for_it_and_touches_nobody_on_the_list(world: World) -> None:
    path = await world.listed([person("priya", phone="+49 30 123456", company_key="their-co"), {"email": 1}])
    sent = await world.call("POST", f"{path}/test", {"row": 1}, status=202)
    assert sent["address"] == "ana@ourco.example"
    await world.carried()
    whole = await world.call("GET", f"/v1/enrollments/{sent['enrollment_id']}")
    assert whole["is_test"]
    assert (whole["prospect"]["email"], whole["prospect"]["first_name"]) == ("ana@ourco.example", "Priya")
    assert not whole["prospect"].get("phone")
    assert not whole["prospect"].get("company_key")
    await world.call("POST", f"{path}/test", {"row": 2}, status=422)
    await world.call("POST", f"{path}/test", {"row": 9}, status=404)


async def test_thousands_of_rows_are_checked_and_launched_without_being_carried_by_a_page(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"p{n},p{n}@there.example,P{n}" for n in range(5_000)]
    text = "\n".join(["external_id,email,first_name", *lines])
    made = await world.csv(f"/v1/sequences/{await world.sequence()}/lists", text, status=201)
    assert made["counts"]["unchecked"] == 5_000
    path = f"/v1/lists/{made['id']}"
    first = await world.call("GET", f"{path}/rows?rehearse=false")
    again = await world.call("GET", f"{path}/rows?rehearse=false&cursor={first['next_cursor']}")
    assert [row["row"] for row in (first["items"][0], again["items"][0])] == [2, 52]
    await world.call("POST", f"{path}/launch", {}, status=202)
    launcher = Launcher(world.clock, world.api.store, world.api.courier)
    await launcher.sweep()
    it = await world.call("GET", path)
    assert (it["counts"]["accepted"], it["launches"]) == (500, 4_500)


# ---- whose list it is ---------------------------------------------------------------------------------


ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "", None),
    ("GET", "/rows", None),
    ("GET", "/rows/1", None),
    ("PATCH", "/rows/1", {"first_name": "X"}),
    ("POST", "/exclude", {"rows": [1]}),
    ("POST", "/include", {"rows": [1]}),
    ("POST", "/check", {}),
    ("POST", "/launch", {}),
    ("POST", "/test", {"row": 1}),
    ("DELETE", "", None),
)


async def test_a_list_is_for_those_who_may_enroll_and_for_nobody_else(world: World) -> None:
    sequence = await world.sequence()
    path = await world.listed([person("a")], sequence)
    outside = await world.other_workspace()
    keys = {outside: 404}
    for who, role, right, status in (
        ("stranger", "member", None, 404),
        ("reader", "member", "read", 403),
        ("limited", "limited", "use", 403),
    ):
        new = {"email": f"{who}@ourco.example", "name": who, "role": role}
        user = (await world.call("POST", "/v1/users", new, status=201))["id"]
        if right:
            await world.call("PUT", f"/v1/sequences/{sequence}/grants/{user}", {"right": right})
        made = {"name": who, "scopes": ["admin"], "user_id": user}
        keys[(await world.call("POST", "/v1/api-keys", made, status=201))["key"]] = status
    for method, below, body in ROUTES:
        for key, status in keys.items():
            await world.call(method, path + below, body, status=status, key=key)
    assert (await world.call("GET", path))["counts"]["unchecked"] == 1


# ---- the pages ----------------------------------------------------------------------------------------


async def test_the_page_shows_messages_times_and_reasons_and_says_the_consequence(world: World) -> None:
    sequence = await world.sequence(timing={"windows": {"mon-fri": ["09:00-17:00"]}})
    path = await world.listed([person("priya", zone="Asia/Kolkata"), person("x", first_name=None)], sequence)
    await world.check()
    here = path.removeprefix("/v1")
    async with world.browser() as browser:
        html = await browser.get(here)
        assert html.index("{{first_name}} has no value") < html.index("Hi Priya")
        for shown in ("A job, Priya", "for them", "Did you see this?", "Launch for 1 person, first message"):
            assert (shown in html) == (shown != "Did you see this?"), shown
        assert "Did you see this?" in await browser.get(f"{here}/rows/1")
        assert 'name="/first_name" value=""' in html
        html = await browser.post(f"{here}/rows/2", {"/first_name": "Xu", "back": here})
        assert "Changed: Xu." in html
        assert "Launch for 2 people" in html
        await browser.post(f"{here}/launch")
        await world.launched()
        html = await browser.get(here)
        assert "2 people are enrolled" in html
        assert "/enrollments/" in html
