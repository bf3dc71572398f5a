"""Stops that other services ask for: every scope, either way in, and against everything they may race."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from chassis import documents as names
from scheduler.model import Document
from scheduler.testing import WORKSPACE, Bench, open_bench
from segue_contracts import ids
from segue_contracts.commands import Stop
from segue_contracts.events import EnrollmentStop, Outcome, StopReason
from segue_contracts.message import Message, Scope
from segue_contracts.topics import DELIVERY_COMMANDS, ENROLLMENT_EVENTS

pytestmark = pytest.mark.stack

CALL_FIRST: Document = {
    "name": "Engineers",
    "stages": [
        {"id": "ring", "channel": "task", "text": "Ask {{first_name}}"},
        {"id": "nudge", "channel": "email", "after": "3 days", "subject": "A job", "text": "Hi"},
    ],
}


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as opened:
        yield opened


@pytest.fixture
async def calls(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, CALL_FIRST) as opened:
        yield opened


async def ask(bench: Bench, way: str, scope: Scope, target: UUID | str, code: str) -> None:
    """Another service's word, on `enrollment.stops` or as a command."""
    field = {Scope.ENROLLMENT: "enrollment_id", Scope.PERSON: "person_id", Scope.COMPANY: "company_key"}
    values: dict[str, Any] = {"scope": scope, field[scope]: target, "reason_code": code}
    if way == "command":
        await bench.command(bench.message(Stop, **values))
    else:
        await bench.stop(bench.message(EnrollmentStop, event_type=StopReason.REQUESTED, **values))


async def ended(bench: Bench, enrollments: Sequence[UUID]) -> list[bool]:
    return [(await bench.read(each))["ended"] for each in enrollments]


def person(who: str) -> UUID:
    return ids.person_id(WORKSPACE, who)


@pytest.mark.parametrize("way", ["command", "topic"])
@pytest.mark.parametrize(
    ("scope", "code", "expected"),
    [
        (Scope.ENROLLMENT, "hired", [True, False, False, False]),
        (Scope.PERSON, "meeting_booked", [True, True, False, False]),
        (Scope.COMPANY, "hired", [True, True, True, False]),
    ],
)
async def test_a_services_own_reason_reaches_exactly_its_scope(
    bench: Bench, way: str, scope: Scope, code: str, expected: list[bool]
) -> None:
    """Priya twice, her colleague, and somebody elsewhere."""
    again = bench.enroll("priya").model_copy(update={"generation": 2})
    colleague, stranger = bench.enroll("wei"), bench.enroll("sam", email="sam@elsewhere.example")
    first = bench.enroll("priya")
    everybody = [first, again, colleague, stranger]
    await bench.command(*everybody)
    targets: dict[Scope, UUID | str] = {
        Scope.ENROLLMENT: first.enrollment_id,
        Scope.PERSON: person("priya"),
        Scope.COMPANY: "there.example",
    }
    await ask(bench, way, scope, targets[scope], code)
    assert await ended(bench, [each.enrollment_id for each in everybody]) == expected
    told = [e for e in bench.kafka.of(ENROLLMENT_EVENTS) if e.event_type == "stopped"]
    assert {(e.reason, e.reason_code) for e in told} == {("requested", code)}
    assert len(told) == expected.count(True)


async def test_a_companys_stop_never_reaches_those_who_only_share_a_free_mail_provider(bench: Bench) -> None:
    people = [bench.enroll(who, email=f"{who}@gmail.com") for who in ("priya", "wei")]
    await bench.command(*people)
    await ask(bench, "topic", Scope.COMPANY, "gmail.com", "hired")
    assert await ended(bench, [each.enrollment_id for each in people]) == [False, False]


@pytest.mark.parametrize("scope", [Scope.PERSON, Scope.COMPANY])
async def test_a_stop_that_comes_before_its_enroll_still_wins_and_a_later_enroll_goes_on(
    bench: Bench, scope: Scope
) -> None:
    enroll = bench.enroll("priya")
    bench.clock.advance(60)
    target = person("priya") if scope is Scope.PERSON else "there.example"
    await ask(bench, "topic", scope, target, "hired")
    await bench.command(enroll)
    result = await bench.database.collection(names.COMMAND_RESULTS).find_one({"_id": enroll.event_id})
    assert result is not None
    assert result["reasons"][0]["code"] == "stopped"
    bench.clock.advance(60)
    later = bench.enroll("priya")
    await bench.command(later)
    assert not (await bench.read(later.enrollment_id))["ended"]


@pytest.mark.parametrize("scope", [Scope.PERSON, Scope.COMPANY])
async def test_a_stop_between_an_enrolls_checks_and_its_insert_is_seen_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, scope: Scope
) -> None:
    insert = bench.parts.store.insert
    target = person("priya") if scope is Scope.PERSON else "there.example"

    async def stopped_just_before(enrollments: Sequence[Document]) -> set[UUID]:
        monkeypatch.undo()
        await ask(bench, "topic", scope, target, "hired")
        return await insert(enrollments)

    monkeypatch.setattr(bench.parts.store, "insert", stopped_just_before)
    enroll = bench.enroll("priya")
    await bench.command(enroll)
    e = await bench.read(enroll.enrollment_id)
    assert (e["state"], e["stop"]["reason_code"]) == ("stopped", "hired")


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_stop_of_any_scope_takes_open_tasks_back(calls: Bench, scope: Scope) -> None:
    (enrollment,) = await calls.enrolled("priya")
    await calls.parts.due.tick()
    await calls.outcome(Outcome.TASK_OPENED, enrollment, stage_id="ring")
    targets: dict[Scope, UUID | str] = {
        Scope.ENROLLMENT: enrollment,
        Scope.PERSON: person("priya"),
        Scope.COMPANY: "there.example",
    }
    await ask(calls, "topic", scope, targets[scope], "hired")
    (recall,) = calls.kafka.of(DELIVERY_COMMANDS)
    assert (recall.event_type, recall.dispatch_id) == ("recall", f"{enrollment}:ring")
    assert (await calls.read(enrollment))["owes_recall"] == f"{enrollment}:ring"


async def test_who_answered_on_the_phone_has_replied_in_all_their_sequences(calls: Bench) -> None:
    ring, other = calls.enroll("priya"), calls.enroll("priya").model_copy(update={"generation": 2})
    await calls.command(ring, other)
    await calls.parts.due.tick()
    await calls.outcome(Outcome.TASK_OPENED, ring.enrollment_id, stage_id="ring")
    await calls.outcome(Outcome.TASK_DONE, ring.enrollment_id, stage_id="ring", responded=True)
    for each in (ring, other):
        e = await calls.read(each.enrollment_id)
        assert (e["state"], e["stop"]["reason"]) == ("stopped", "replied")


async def test_a_batch_of_stops_is_carried_out_once_each_whatever_is_in_it_twice(bench: Bench) -> None:
    people = ["priya", "wei", "sam", "ada"]
    enrollments = await bench.enrolled(*people)
    stops: list[Message] = []
    for who, enrollment in zip(people, enrollments, strict=True):
        both = {"event_type": StopReason.REPLIED}
        narrow = bench.message(EnrollmentStop, scope=Scope.ENROLLMENT, enrollment_id=enrollment, **both)
        stops += [narrow, bench.message(EnrollmentStop, scope=Scope.PERSON, person_id=person(who), **both)]
    await bench.stop(*stops[2:], *stops)
    await bench.stop(*stops)
    assert await ended(bench, enrollments) == [True] * 4
    assert bench.kafka.kinds().count("stopped") == 4
    stored = await bench.database.collection(names.STOPS).find({})
    assert [stop["applied"] for stop in stored] == [True] * 4
    assert {stop["key"] for stop in stored} == {person(who) for who in people}
