"""Sending limits in the due loop: what has no room now gets the first free time, and room at it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis import documents as names
from chassis.caps import DAY, HOUR
from scheduler.slots import SKEW_SECONDS, VALID_SECONDS
from scheduler.testing import MAILBOX, TWO_MAILS, WORKSPACE, Bench, open_bench
from segue_contracts.commands import Hold, HoldScope, Lift
from segue_contracts.events import EnrollmentStop, Outcome, StopReason
from segue_contracts.message import Scope
from segue_contracts.topics import STAGE_DUE

pytestmark = pytest.mark.stack

PEOPLE = [f"p{n}" for n in range(7)]
AN_HOUR_ON = timedelta(seconds=HOUR + VALID_SECONDS + SKEW_SECONDS)


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as bench:
        yield bench


async def limit(bench: Bench, **limits: int) -> None:
    await bench.database.collection(names.MAILBOXES).update_one(
        {"_id": MAILBOX}, {"$set": {"limits": limits}}
    )


async def slots(bench: Bench) -> list[dict[str, Any]]:
    return await bench.database.collection(names.SLOTS).find({}, sort=[("at", 1)])


async def planned(bench: Bench, ids: list[UUID]) -> list[timedelta]:
    """When each is planned, counted from the clock's beginning."""
    return sorted([(await bench.read(each))["planned_at"] - bench.clock.origin for each in ids])


async def test_what_is_over_the_limit_waits_for_the_first_free_time(bench: Bench) -> None:
    await limit(bench, per_hour=3)
    people = await bench.enrolled(*PEOPLE)
    await bench.parts.due.tick()
    assert len(bench.due()) == 3
    now = timedelta(0)
    assert await planned(bench, people) == [now] * 3 + [AN_HOUR_ON] * 3 + [2 * AN_HOUR_ON]
    (waiting,) = [
        e for e in [await bench.read(p) for p in people] if e["planned_at"] > bench.clock.now() + AN_HOUR_ON
    ]
    assert "cap" in [reason["rule"] for reason in waiting["reasons"]]
    assert waiting["state"] == "scheduled"


async def test_a_slot_is_kept_until_its_time_and_nobody_is_planned_twice(bench: Bench) -> None:
    await limit(bench, per_hour=3)
    people = await bench.enrolled(*PEOPLE)
    await bench.parts.due.tick()
    before = {p: (await bench.read(p))["rev"] for p in people}
    bench.clock.advance(AN_HOUR_ON.total_seconds())
    await bench.parts.due.tick()
    assert len(set(bench.due())) == 6
    again = [p for p in people if (await bench.read(p))["rev"] > before[p] + 1]
    assert again == []
    assert len(await slots(bench)) == 7


async def test_a_mailbox_without_limits_has_no_slots(bench: Bench) -> None:
    await bench.enrolled(*PEOPLE)
    await bench.parts.due.tick()
    assert len(bench.due()) == 7
    assert await slots(bench) == []


async def test_new_people_a_day_are_counted_for_the_first_stage_only(mongodb_uri: str) -> None:
    async with open_bench(mongodb_uri, {**TWO_MAILS, "limits": {"new_people_per_day": 2}}) as bench:
        people = await bench.enrolled("a", "b", "c")
        await bench.parts.due.tick()
        first, second = bench.due()
        await bench.outcome(Outcome.SENT, first)
        await bench.outcome(Outcome.SENT, second)
        bench.clock.advance(days=1, minutes=10)
        await bench.parts.due.tick()
        bench.clock.advance(days=2)
        await bench.parts.due.tick()
        assert set(bench.due()) == set(people)
        assert {m.stage_id for m in bench.kafka.of(STAGE_DUE)} == {"hello", "nudge"}
        assert len(await slots(bench)) == 3


async def test_one_person_gets_at_most_so_many_a_day_over_all_sequences(bench: Bench) -> None:
    limits = {"limits": {"per_person_per_day": 1}}
    await bench.database.collection(names.WORKSPACES).insert_one(
        {"_id": WORKSPACE, "name": "Our Co", "in_doubt_policy": "wait", **limits}
    )
    first, again = bench.enroll("priya"), bench.enroll("priya")
    again = again.model_copy(update={"generation": 2})
    await bench.command(first, again, bench.enroll("tom"))
    await bench.parts.due.tick()
    assert len(bench.due()) == 2
    later = [(await bench.read(c.enrollment_id))["planned_at"] for c in (first, again)]
    assert abs(later[0] - later[1]) >= timedelta(seconds=DAY)


async def test_a_stop_gives_its_room_to_the_next(bench: Bench) -> None:
    await limit(bench, per_day=1)
    people = await bench.enrolled("a", "b")
    await bench.parts.due.tick()
    (gone,) = bench.due()
    (waits,) = [p for p in people if p != gone]
    await bench.stop(
        bench.message(
            EnrollmentStop, event_type=StopReason.REQUESTED, scope=Scope.ENROLLMENT, enrollment_id=gone
        )
    )
    assert [slot["enrollment_id"] for slot in await slots(bench)] == [waits]
    (new,) = await bench.enrolled("c")
    await bench.parts.due.tick()
    assert (await bench.read(new))["state"] in ("dispatched", "scheduled")


async def test_a_held_enrollment_gives_its_room_back_and_gets_new_room_afterwards(bench: Bench) -> None:
    await limit(bench, per_hour=1)
    first, second = await bench.enrolled("a", "b")
    await bench.parts.due.tick()
    (waits,) = {first, second} - set(bench.due())
    hold = {"scope": HoldScope.ENROLLMENT, "scope_id": waits, "issued_by": "ana"}
    await bench.command(bench.message(Hold, **hold))
    bench.clock.advance(AN_HOUR_ON.total_seconds())
    await bench.parts.due.tick()
    assert waits not in {slot["enrollment_id"] for slot in await slots(bench)}
    bench.clock.advance(2)
    await bench.command(bench.message(Lift, **hold))
    await bench.parts.due.tick()
    assert waits in bench.due()
    assert waits in {slot["enrollment_id"] for slot in await slots(bench)}


async def test_a_dispatch_without_a_slot_comes_back_and_gets_one(bench: Bench) -> None:
    (person,) = await bench.enrolled("a")
    await bench.parts.due.tick()
    await limit(bench, per_hour=1)
    bench.clock.advance(10)
    await bench.outcome(Outcome.WITHDRAWN, person, reason="no_slot")
    await bench.parts.due.tick()
    assert (await bench.read(person))["attempt"] == 2
    assert [slot["_id"] for slot in await slots(bench)] == [f"{person}:hello:2"]


async def test_a_single_time_may_be_up_to_an_hour_late_and_then_moves_to_another_day(
    mongodb_uri: str,
) -> None:
    stage = {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi", "at": "14:00"}
    document = {"name": "At two", "timing": {"zone": "UTC"}, "stages": [stage]}
    async with open_bench(mongodb_uri, document) as bench:
        await limit(bench, gap_seconds=1500)
        people = await bench.enrolled("a", "b", "c", "d", "e")
        bench.clock.advance(hours=2)
        await bench.parts.due.tick()
        hours = [when.total_seconds() / HOUR for when in await planned(bench, people)]
        assert hours[0] == 2
        assert 2 < hours[1] <= 3
        assert [hour for hour in hours if not 2 <= hour % 24 <= 3] == []
        assert hours[-1] > 24
