"""Schedules, forecasts, dry runs, migrations and archiving over HTTP: the api before a real scheduler."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api import crowd
from api.application import application
from api.bootstrap import Wanted, bootstrap
from api.crowd import Crowd
from api.migrations import SCHEMA as API_SCHEMA
from api.routes import rehearsal
from api.routing import Api
from api.settings import ApiSettings
from api.wiring import assemble
from chassis import documents as names
from chassis import faults
from chassis.desk import Asks, Desk
from chassis.errors import Retry
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
from segue_contracts.commands import Enroll
from segue_contracts.topics import ENROLLMENT_COMMANDS

pytestmark = pytest.mark.stack

SEQUENCE: Document = {
    "name": "Backend engineers",
    "stages": [
        {"id": "hello", "channel": "email", "subject": "A job, {{first_name}}", "text": "Hi {{first_name}}"},
        {"id": "nudge", "channel": "email", "after": "3 days", "text": "Did you see this?"},
    ],
}
MAILBOX: Document = {
    "address": "ana@ourco.example",
    "zone": "Europe/Berlin",
    "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"},
}


@dataclass
class World:
    """An api and a scheduler over one database; commands pass between them when a test carries them."""

    api: Api
    bench: Bench
    client: TestClient[Any, Any]
    made: dict[str, str]
    kafka: Captured = field(default_factory=Captured)

    @property
    def workspace(self) -> UUID:
        return UUID(self.made["workspace_id"])

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {more.pop('key', self.made['api_key'])}"}
        more["headers"] = headers | more.pop("headers", {})
        response = await self.client.request(method, path, json=body, **more)
        assert response.status == status, await response.text()
        return await response.json()

    async def sequence(self, **changes: Any) -> str:
        if not (await self.call("GET", "/v1/mailboxes"))["items"]:
            await self.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        made = await self.call("POST", "/v1/sequences", SEQUENCE | changes, status=201)
        return str(made["id"])

    async def carried(self) -> int:
        """Let the courier publish and sweep, and the scheduler take what it published; how many commands."""
        await self.api.courier.deliver()
        await self.api.courier.sweep()
        messages = self.kafka.of(ENROLLMENT_COMMANDS)
        self.kafka.messages.clear()
        await self.bench.parts.commands.handle([received(each) for each in messages])
        return len(messages)

    async def enrolled(self, sequence: str, *people: str) -> list[str]:
        prospects = [prospect(who) for who in people]
        path = f"/v1/sequences/{sequence}/enrollments"
        answer = await self.call("POST", path, {"prospects": prospects}, status=202)
        await self.carried()
        return [each["enrollment_id"] for each in answer["accepted"]]

    async def read(self, enrollment: str) -> Document:
        return await self.bench.read(UUID(enrollment))

    def crowd(self) -> Crowd:
        return Crowd(self.api.clock, self.api.store, self.api.reads, self.api.courier)


def prospect(who: str, **more: Any) -> Document:
    return {"external_id": who, "email": f"{who}@there.example", "first_name": who.title()} | more


@pytest.fixture
async def world(mongodb_uri: str) -> AsyncIterator[World]:
    settings = settings_for(mongodb_uri)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(fresh_database(settings))
        bench = bench_over(database, settings)
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
        )
        kafka = Captured()
        api = assemble(api_settings, bench.clock, database, kafka)
        stack.push_async_callback(api.scheduler.close)
        made = await bootstrap(
            Wanted("Our Co", "ana@ourco.example", "Ana", False), api.store.people, bench.clock
        )
        client = await stack.enter_async_context(TestClient(TestServer(application(api))))
        yield World(api, bench, client, made, kafka)


async def everything(world: World) -> dict[str, list[Document]]:
    """All that a request could have written, but for the idempotency keys."""
    written = (
        *(names.ENROLLMENTS, names.PEOPLE, names.COMPANIES, names.COMMANDS, names.BULK_COMMANDS),
        *(names.COMMAND_RESULTS, names.SEQUENCES, names.HOLDS, names.STOPS),
    )
    return {name: await world.bench.database.collection(name).find({}) for name in written}


# ---- schedule and forecast ----------------------------------------------------------------------------


async def test_a_schedule_has_every_remaining_stage_with_its_reasons(world: World) -> None:
    (enrollment,) = await world.enrolled(await world.sequence(), "priya")
    told = await world.call("GET", f"/v1/enrollments/{enrollment}/schedule")
    whole = await world.call("GET", f"/v1/enrollments/{enrollment}")
    hello, nudge = told["stages"]
    assert (hello["planned_at"], hello["reasons"]) == (
        whole["next"]["planned_at"],
        whole["next"]["reasons"],
    )
    assert (hello["current"], nudge["current"], nudge["stage_id"]) == (True, False, "nudge")
    assert {each["rule"] for each in nudge["reasons"]} >= {"zone", "after"}


async def test_a_forecast_has_what_is_planned_and_what_was_sent_today(world: World) -> None:
    await world.enrolled(await world.sequence(), "ann", "ben", "cleo")
    (mailbox,) = (await world.call("GET", "/v1/mailboxes"))["items"]
    now = world.bench.clock.now()
    for number, sent_at in enumerate((now, now - timedelta(hours=2), now - timedelta(days=1))):
        await world.bench.database.collection(names.DELIVERIES).insert_one(
            {
                "_id": f"{uuid4()}:{number}",
                "workspace_id": world.workspace,
                "mailbox_id": UUID(mailbox["id"]),
                "state": "sent",
                "sent_at": sent_at,
            }
        )
    told = await world.call("GET", f"/v1/mailboxes/{mailbox['id']}/forecast?days=3")
    assert (told["zone"], [each["date"] for each in told["days"]]) == (
        "Europe/Berlin",
        ["2026-03-02", "2026-03-03", "2026-03-04"],
    )
    assert [(each["messages"], each["sent"]) for each in told["days"]] == [(3, 2), (0, 0), (0, 0)]
    await world.call("GET", f"/v1/mailboxes/{mailbox['id']}/forecast?days=93", status=422)


async def test_what_another_workspace_has_is_a_404_for_every_question(world: World) -> None:
    sequence = await world.sequence()
    (enrollment,) = await world.enrolled(sequence, "priya")
    (mailbox,) = (await world.call("GET", "/v1/mailboxes"))["items"]
    wanted = Wanted("Other", "eve@other.example", "Eve", False)
    other = await bootstrap(wanted, world.api.store.people, world.bench.clock)
    eve: dict[str, Any] = {"key": other["api_key"], "status": 404}
    await world.call("GET", f"/v1/enrollments/{enrollment}/schedule", **eve)
    await world.call("GET", f"/v1/mailboxes/{mailbox['id']}/forecast", **eve)
    await world.call("POST", f"/v1/sequences/{sequence}/dry-run", {"prospect": prospect("x")}, **eve)
    await world.call("POST", f"/v1/sequences/{sequence}/migrate", {"to_version": 1, "all": True}, **eve)
    await world.call("GET", f"/v1/enrollments/{uuid4()}/schedule", status=404)


async def test_while_no_scheduler_answers_questions_are_503_and_commands_are_taken(world: World) -> None:
    sequence = await world.sequence()
    (enrollment,) = await world.enrolled(sequence, "priya")
    nobody = Asks("http://127.0.0.1:1", world.api.secrets, seconds=5)
    lonely = replace(world.api, scheduler=nobody)
    async with TestClient(TestServer(application(lonely))) as client:
        alone = replace(world, client=client)
        told = await alone.call("GET", f"/v1/enrollments/{enrollment}/schedule", status=503)
        assert told["type"] == "urn:segue:problem:unavailable"
        assert "scheduler" in told["detail"]
        body = {"prospect": prospect("x")}
        await alone.call("POST", f"/v1/sequences/{sequence}/dry-run", body, status=503)
        await alone.call("POST", f"/v1/sequences/{sequence}/enrollments", body, status=202)
    await nobody.close()


# ---- dry run ------------------------------------------------------------------------------------------


async def test_a_dry_run_shows_messages_problems_duplicates_and_collisions_and_stores_nothing(
    world: World,
) -> None:
    elsewhere, sequence = await world.sequence(name="Elsewhere"), await world.sequence()
    (there,) = await world.enrolled(elsewhere, "priya")
    since = world.bench.clock.now()
    await world.enrolled(sequence, "noor")
    await world.call("POST", "/v1/suppressions", {"address": "gone@there.example"}, status=201)
    world.bench.clock.advance(days=1)
    before = await everything(world)
    body = {
        "prospects": [
            prospect("priya"),
            prospect("noor"),
            prospect("gone"),
            prospect("anon", first_name=None),
            prospect("priya"),
            prospect("p-2", email="PRIYA@there.example"),
            {"external_id": "x@y"},
        ]
    }
    told = await world.call("POST", f"/v1/sequences/{sequence}/dry-run", body)
    assert await everything(world) == before
    assert world.kafka.of(ENROLLMENT_COMMANDS) == []
    assert [each["row"] for each in told["refused"]] == [5, 7]
    priya, noor, gone, anon, double = told["prospects"]
    assert told["would_enroll"] == 2
    assert [(each["row"], [p["code"] for p in each["problems"]]) for each in told["prospects"]] == [
        (1, []),
        (2, ["already_enrolled"]),
        (3, ["suppressed"]),
        (4, ["token_missing", "token_missing"]),
        (6, []),
    ]
    assert (noor["already_enrolled"], gone["suppressed"], anon["suppressed"]) == (True, True, False)
    assert [(each["subject"], each["text"]) for each in priya["stages"]] == [
        ("A job, Priya", "Hi Priya"),
        ("Re: A job, Priya", "Did you see this?"),
    ]
    for each in (priya, double):
        (collision,) = each["collisions"]
        assert (collision["enrollment_id"], collision["sequence_name"], collision["owner_name"]) == (
            there,
            "Elsewhere",
            "Ana",
        )
        assert datetime.fromisoformat(collision["since"]) == since
    assert [(s["external_id"], s["row"]) for s in priya["same_address"]] == [("p-2", 6)]
    assert [(s["external_id"], s["row"]) for s in double["same_address"]] == [("priya", 1)]


async def test_a_dry_run_takes_a_csv_a_version_and_a_start(world: World) -> None:
    sequence = await world.sequence()
    await world.call("PUT", f"/v1/sequences/{sequence}", {**SEQUENCE, "stages": SEQUENCE["stages"][:1]})
    start = world.bench.clock.now() + timedelta(days=2)
    headers = {"Authorization": f"Bearer {world.made['api_key']}", "Content-Type": "text/csv"}
    response = await world.client.post(
        f"/v1/sequences/{sequence}/dry-run",
        params={"sequence_version": "1", "start_at": start.isoformat()},
        data=b"external_id;first_name;email\np1;Priya;priya@there.example\n",
        headers=headers,
    )
    assert response.status == 200
    (row,) = (await response.json())["prospects"]
    assert (row["row"], row["sequence_version"], len(row["stages"])) == (2, 1, 2)
    assert datetime.fromisoformat(row["stages"][0]["planned_at"]) == start


async def test_a_dry_run_warns_of_mails_without_a_postal_address(world: World) -> None:
    async def warnings(sequence: str) -> list[str]:
        told = await world.call("POST", f"/v1/sequences/{sequence}/dry-run", {"prospect": prospect("x")})
        return list(told["warnings"])

    mails = await world.sequence()
    calls = await world.sequence(stages=[{"id": "ring", "channel": "call", "text": "Ask"}])
    (warning,) = await warnings(mails)
    assert "PUT /v1/workspace/footer" in warning
    assert await warnings(calls) == []
    await world.call("PUT", "/v1/workspace/footer", {"postal_address": "1 Main Street, Berlin"})
    assert await warnings(mails) == []
    stage = {"id": "hello", "channel": "email", "subject": "s", "text": "t", "reply_to": "jobs@else.example"}
    (warning,) = await warnings(await world.sequence(stages=[stage]))
    assert warning.startswith("Answers to the stage hello go to an address that is no mailbox connected here")


async def test_a_dry_run_asks_in_portions_and_has_bounds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = await world.sequence()
    path = f"/v1/sequences/{sequence}/dry-run"
    some = {"prospects": [prospect(f"p{n}") for n in range(120)]}
    told = await world.call("POST", path, some)
    assert [each["row"] for each in told["prospects"]] == list(range(1, 121))
    many = {"prospects": [prospect(f"p{n}") for n in range(501)]}
    await world.call("POST", path, many, status=422)
    monkeypatch.setattr(rehearsal, "MAX_ANSWER_CHARS", 1000)
    problem = await world.call("POST", path, some, status=422)
    assert problem["type"] == "urn:segue:problem:too-much"


async def test_a_dry_run_of_an_archived_sequence_is_refused_as_the_enroll_would_be(world: World) -> None:
    sequence = await world.sequence()
    await world.call("POST", f"/v1/sequences/{sequence}/archive")
    body = {"prospect": prospect("priya")}
    for path in ("dry-run", "enrollments"):
        problem = await world.call("POST", f"/v1/sequences/{sequence}/{path}", body, status=409)
        assert problem["type"] == "urn:segue:problem:archived"


# ---- migrate ------------------------------------------------------------------------------------------


async def second_version(world: World, sequence: str) -> None:
    stages = [SEQUENCE["stages"][0], {**SEQUENCE["stages"][1], "after": "5 days"}]
    await world.call("PUT", f"/v1/sequences/{sequence}", {**SEQUENCE, "stages": stages})


async def test_named_people_are_migrated_by_a_command_each_and_strangers_are_named(world: World) -> None:
    sequence, other = await world.sequence(), await world.sequence(name="Other")
    one, two, three = await world.enrolled(sequence, "one", "two", "three")
    (stranger,) = await world.enrolled(other, "stranger")
    await second_version(world, sequence)
    path, body = f"/v1/sequences/{sequence}/migrate", {"to_version": 2}
    answer = await world.call("POST", path, {**body, "enrollment_ids": [one, stranger, two, one]}, status=202)
    assert [each["enrollment_id"] for each in answer["accepted"]] == [one, two]
    assert answer["unknown"] == [stranger]
    await world.carried()
    versions = [(await world.read(each))["sequence_version"] for each in (one, two, three)]
    assert versions == [2, 2, 1]
    await world.call("POST", path, {**body, "enrollment_ids": [stranger]}, status=422)


async def test_a_dry_run_of_a_migration_shows_everybody_page_by_page_and_changes_nothing(
    world: World,
) -> None:
    sequence = await world.sequence()
    await world.enrolled(sequence, *(f"p{n}" for n in range(5)))
    await second_version(world, sequence)
    before = await everything(world)
    path = f"/v1/sequences/{sequence}/migrate"
    body = {"to_version": 2, "all": True, "dry_run": True}
    first = await world.call("POST", f"{path}?limit=3", body)
    second = await world.call("POST", f"{path}?limit=3&cursor={first['next_cursor']}", body)
    people = first["people"] + second["people"]
    assert (sorted(each["external_id"] for each in people), second["next_cursor"]) == (
        [f"p{n}" for n in range(5)],
        None,
    )
    assert {(each["applies"], each["from_version"], each["after"]["stage_id"]) for each in people} == {
        ("now", 1, "hello")
    }
    assert await everything(world) == before


async def test_everybody_is_migrated_in_pages_however_often_the_sweep_dies_on_the_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "PAGE", 2)
    sequence = await world.sequence()
    people = await world.enrolled(sequence, *(f"p{n}" for n in range(7)))
    await second_version(world, sequence)
    path, body = f"/v1/sequences/{sequence}/migrate", {"to_version": 2, "all": True}
    headers = {"Idempotency-Key": "k"}
    answer = await world.call("POST", path, body, status=202, headers=headers)
    assert await world.call("POST", path, body, status=202, headers=headers) == answer
    command = f"/v1/commands/{answer['command']['command_id']}"
    assert (await world.call("GET", command))["state"] == "accepted"
    sweeping, point = world.crowd(), faults.point
    passed = 0

    async def dies(name: str) -> None:
        nonlocal passed
        await point(name)
        passed += name == "api.crowd_page_noted"
        if name == "api.crowd_page_noted" and passed % 2:
            raise Retry("killed between the note of a page and its commands")

    monkeypatch.setattr(faults, "point", dies)
    for _ in range(30):
        with contextlib.suppress(Retry):
            await sweeping.sweep()
        assert await world.carried() <= 2
        world.bench.clock.advance(seconds=1)
    status = await world.call("GET", command)
    assert (status["state"], status["type"], status["people"], status["refused"]) == (
        "done",
        "migrate",
        7,
        0,
    )
    commands = await world.bench.database.collection(names.COMMANDS).find({"type": "migrate"})
    assert sorted(each["target"] for each in commands) == sorted(people)
    assert {(await world.read(each))["sequence_version"] for each in people} == {2}
    left = await world.call("POST", path, {**body, "dry_run": True})
    assert left["people"] == []


async def test_two_processes_that_carry_the_same_command_reach_everybody_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "PAGE", 2)
    sequence = await world.sequence()
    people = await world.enrolled(sequence, *(f"p{n}" for n in range(5)))
    never = {"weekdays": "sat", "windows": {"mon-fri": ["09:00-17:00"]}}  # so the scheduler refuses everybody
    stages = [{**SEQUENCE["stages"][0], **never}]
    await world.call("PUT", f"/v1/sequences/{sequence}", {**SEQUENCE, "stages": stages})
    path, body = f"/v1/sequences/{sequence}/migrate", {"to_version": 2, "all": True}
    answer = await world.call("POST", path, body, status=202)
    processes = [world.crowd() for _ in range(3)]
    for _ in range(10):
        await asyncio.gather(*(each.sweep() for each in processes))
        await world.carried()
        world.bench.clock.advance(seconds=1)
    status = await world.call("GET", f"/v1/commands/{answer['command']['command_id']}")
    assert (status["state"], status["people"], status["refused"]) == ("done", 5, 5)
    commands = await world.bench.database.collection(names.COMMANDS).find({"type": "migrate"})
    assert sorted(each["target"] for each in commands) == sorted(people)
    left = await world.call("POST", path, {**body, "dry_run": True})
    assert [[r["code"] for r in each["refused"]] for each in left["people"]] == [["window_never_opens"]] * 5


@pytest.mark.parametrize(
    "body",
    [
        {"to_version": 2, "all": True},
        {"to_version": 1},
        {"to_version": 1, "all": True, "enrollment_ids": [str(UUID(int=1))]},
        {"to_version": 1, "enrollment_ids": []},
        {"to_version": 0, "all": True},
        {"all": True},
    ],
)
async def test_a_migration_that_makes_no_sense_is_refused(world: World, body: Document) -> None:
    sequence = await world.sequence()
    await world.call("POST", f"/v1/sequences/{sequence}/migrate", body, status=422)


# ---- archive ------------------------------------------------------------------------------------------


async def test_archiving_lets_people_finish_unless_it_is_told_otherwise(world: World) -> None:
    sequence = await world.sequence()
    (enrollment,) = await world.enrolled(sequence, "priya")
    answer = await world.call("POST", f"/v1/sequences/{sequence}/archive")
    assert (answer["archived"], answer["people"]) == (True, None)
    assert await world.carried() == 0
    assert (await world.read(enrollment))["state"] == "scheduled"


async def test_archiving_holds_people_by_the_hold_of_the_sequence(world: World) -> None:
    sequence = await world.sequence()
    (enrollment,) = await world.enrolled(sequence, "priya")
    answer = await world.call("POST", f"/v1/sequences/{sequence}/archive", {"people": "hold"})
    assert answer["archived"]
    await world.carried()
    await world.bench.parts.due.tick()
    assert (await world.read(enrollment))["parked_by"] == f"sequence:{sequence}"
    status = await world.call("GET", f"/v1/commands/{answer['people']['command_id']}")
    assert (status["type"], status["state"]) == ("hold", "done")


async def test_archiving_stops_everybody_also_who_comes_in_behind_the_page(world: World) -> None:
    sequence = await world.sequence()
    people = await world.enrolled(sequence, "ann", "ben")
    late = world.bench.message(
        Enroll, workspace_id=world.workspace, sequence_id=UUID(sequence), prospect=world.bench.prospect()
    )
    reviewed = await world.bench.parts.inquiries.dry_run(DryRunAsked(commands=[late]))
    assert reviewed.people[0].would_enroll
    answer = await world.call("POST", f"/v1/sequences/{sequence}/archive", {"people": "stop"})
    sweeping, command = world.crowd(), f"/v1/commands/{answer['people']['command_id']}"
    await sweeping.sweep()
    # An enroll that was checked before the sequence was archived, and inserted after the page was read.
    straggler = {**(await world.read(people[0])), "_id": late.enrollment_id}
    await world.bench.database.collection(names.ENROLLMENTS).insert_one(straggler)
    for _ in range(20):
        await world.carried()
        world.bench.clock.advance(seconds=1)
        await sweeping.sweep()
    assert (await world.call("GET", command))["state"] == "done"
    for each in (*people, str(late.enrollment_id)):
        e = await world.read(each)
        assert (e["state"], e["stop"]["reason"], e["stop"]["reason_code"]) == (
            "stopped",
            "requested",
            "archived",
        )


async def test_who_is_left_in_an_archived_sequence_can_still_be_stopped(world: World) -> None:
    sequence = await world.sequence()
    (enrollment,) = await world.enrolled(sequence, "priya")
    await world.call("POST", f"/v1/sequences/{sequence}/archive")
    await world.call("POST", f"/v1/sequences/{sequence}/archive", {"people": "stop"})
    await world.crowd().sweep()
    await world.carried()
    assert (await world.read(enrollment))["state"] == "stopped"
    await world.call("POST", f"/v1/sequences/{sequence}/archive", {"people": "eat"}, status=422)
