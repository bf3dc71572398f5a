"""The scheduler on a real MongoDB with a captured publisher: what the end-to-end tests cannot time."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from chassis import documents as names
from chassis.errors import Retry
from scheduler import model
from scheduler.outbox import UNTOLD_SECONDS
from scheduler.store import ALL_SHARDS, Write
from scheduler.story import number
from scheduler.testing import SEQUENCE, TWO_MAILS, Bench, open_bench
from segue_contracts.commands import Edit, Hold, HoldScope, Lift, Migrate, Stop
from segue_contracts.events import EnrollmentStop, Outcome, StopReason
from segue_contracts.message import Scope
from segue_contracts.topics import DELIVERY_COMMANDS, STAGE_DUE

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as opened:
        yield opened


async def test_an_enroll_twice_makes_one_enrollment_and_one_story(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(enroll, enroll)
    await bench.command(enroll)
    assert bench.kafka.kinds() == ["enrolled", "stage_scheduled"]
    e = await bench.read(enroll.enrollment_id)
    assert (e["seq"], await bench.owed()) == (2, [])


async def test_a_dispatch_is_written_before_it_is_published(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(enroll)
    bench.kafka.broken = True
    with pytest.raises(Retry):
        await bench.parts.due.tick()
    e = await bench.read(enroll.enrollment_id)
    assert (e["state"], e["attempt"]) == ("dispatched", 1)
    bench.kafka.broken = False
    assert await bench.parts.due.tick() == 0
    bench.clock.advance(121)
    assert await bench.parts.due.tick() == 1
    (due,) = bench.kafka.of(STAGE_DUE)
    assert due.attempt == 1


async def test_a_stop_before_its_enroll_leaves_a_tombstone_and_the_enroll_is_told(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(bench.message(Stop, enrollment_id=enroll.enrollment_id))
    await bench.command(enroll)
    assert (await bench.read(enroll.enrollment_id))["state"] == "stopped"
    result = await bench.database.collection(names.COMMAND_RESULTS).find_one({"_id": enroll.event_id})
    assert result is not None
    assert result["reasons"][0]["code"] == "stopped"
    assert await bench.parts.due.tick() == 0


async def test_a_stop_in_flight_owes_a_recall_until_it_is_confirmed(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(enroll)
    await bench.parts.due.tick()
    await bench.command(bench.message(Stop, enrollment_id=enroll.enrollment_id))
    bench.clock.advance(121)
    await bench.parts.due.tick()
    assert bench.kafka.kinds(DELIVERY_COMMANDS) == ["recall", "recall"]
    await bench.outcome(Outcome.RECALLED, enroll.enrollment_id)
    bench.clock.advance(days=1)
    assert await bench.parts.due.tick() == 0


async def test_a_persons_stop_ends_what_was_asked_for_before_it_and_nothing_later(bench: Bench) -> None:
    before = bench.enroll()
    await bench.command(before)
    bench.clock.advance(60)
    e = await bench.read(before.enrollment_id)
    stop = bench.message(
        EnrollmentStop,
        event_type=StopReason.REPLIED,
        scope=Scope.PERSON,
        person_id=e["person_id"],
    )
    await bench.stop(stop, stop)
    assert (await bench.read(before.enrollment_id))["stop"]["cause_id"] == stop.event_id
    bench.clock.advance(60)
    later = bench.enroll().model_copy(update={"generation": 2})
    await bench.command(later)
    assert (await bench.read(later.enrollment_id))["state"] == "scheduled"


async def test_a_held_enrollment_leaves_the_due_index_and_comes_back_when_lifted(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(bench.message(Hold, scope=HoldScope.SEQUENCE, scope_id=SEQUENCE), enroll)
    await bench.parts.due.tick()
    parked = await bench.read(enroll.enrollment_id)
    assert ("due_at" in parked, parked["parked_by"]) == (False, f"sequence:{SEQUENCE}")
    bench.clock.advance(60)
    await bench.command(bench.message(Lift, scope=HoldScope.SEQUENCE, scope_id=SEQUENCE))
    back = await bench.read(enroll.enrollment_id)
    assert ("parked_by" in back, back["due_at"] >= bench.clock.now()) == (False, True)


async def test_the_next_stage_counts_from_the_outcome_and_an_old_outcome_changes_nothing(
    bench: Bench,
) -> None:
    enroll = bench.enroll()
    await bench.command(enroll)
    await bench.parts.due.tick()
    sent_at = bench.clock.advance(30)
    await bench.outcome(Outcome.SENT, enroll.enrollment_id)
    first = await bench.read(enroll.enrollment_id)
    assert (first["stage_id"], first["base"]) == ("nudge", sent_at)
    assert (first["due_at"] - sent_at).days == 3
    await bench.outcome(Outcome.SENT, enroll.enrollment_id)
    await bench.outcome(Outcome.DEFERRED, enroll.enrollment_id)
    assert (await bench.read(enroll.enrollment_id))["rev"] == first["rev"]


async def test_events_that_the_broker_did_not_take_are_told_by_the_sweep(bench: Bench) -> None:
    enroll = bench.enroll()
    bench.kafka.broken = True
    with pytest.raises(Retry):
        await bench.command(enroll)
    bench.kafka.broken = False
    bench.clock.advance(11)
    await bench.parts.outbox.sweep()
    assert bench.kafka.kinds() == ["enrolled", "stage_scheduled"]
    assert await bench.owed() == []


async def test_what_a_frozen_writer_writes_late_is_told_though_it_dies_then(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    bench.clock.advance(1)
    e, store, recorded_at = await bench.read(enrollment), bench.parts.store, bench.clock.real_now()
    write = Write(e, model.failed(e, bench.clock.now(), "gone"))
    token, owing = uuid4(), [{"_id": enrollment, "rev": e["rev"]}]
    await store.owe(token, owing, recorded_at, recorded_at + timedelta(seconds=UNTOLD_SECONDS))
    bench.clock.advance(UNTOLD_SECONDS + 1)
    await bench.parts.outbox.sweep()
    assert [owed["_id"] for owed in await bench.owed()] == [token]

    await store.write([write], [number(e, write.change, recorded_at)], token, recorded_at)
    bench.clock.advance(2 * UNTOLD_SECONDS)
    await bench.parts.outbox.sweep()
    assert bench.kafka.kinds() == ["enrolled", "stage_scheduled", "failed"]
    assert await bench.owed() == []


async def test_a_write_whose_guard_is_lost_is_not_waited_for(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    before = (await bench.read(enrollment))["rev"]
    bench.clock.advance(1)
    await bench.parts.due.tick()
    now = bench.clock.real_now()
    await bench.parts.store.owe(uuid4(), [{"_id": enrollment, "rev": before}], now, now)
    await bench.parts.outbox.sweep()
    assert (await bench.owed(), bench.kafka.kinds()) == ([], ["enrolled", "stage_scheduled"])


async def test_one_write_for_many_gives_each_its_own_and_leaves_out_who_is_not_as_read(bench: Bench) -> None:
    ids = await bench.enrolled("a", "b", "c")
    read = [await bench.read(each) for each in ids]
    await bench.spoil(ids[1], rev=read[1]["rev"] + 1)
    at = bench.clock.now()
    changes = [model.failed(e, at, f"reason of {n}", "$x.y") for n, e in enumerate(read)]
    writes = [Write(e, change) for e, change in zip(read, changes, strict=True)]
    assert await bench.parts.outbox.commit(writes) == {ids[0], ids[2]}
    after = [await bench.read(each) for each in ids]
    assert [e.get("failure") for e in after] == ["reason of 0", None, "reason of 2"]
    assert [(e["rev"], e["seq"], "due_at" in e) for e in after] == [
        (2, 3, False),
        (2, 2, True),
        (2, 3, False),
    ]
    assert after[2]["history"][:2] == read[2]["history"]
    assert after[2]["history"][2]["reason_code"] == "$x.y"


async def test_an_outcome_is_applied_to_what_is_true_now_not_to_what_was_dispatched(bench: Bench) -> None:
    moved, stopped = await bench.enrolled("a", "b")
    await bench.parts.due.tick()
    await bench.command(bench.message(Edit, enrollment_id=moved, stages={"nudge": {"text": "New"}}))
    await bench.command(bench.message(Stop, enrollment_id=stopped))
    for enrollment in (moved, stopped):
        await bench.outcome(Outcome.SENT, enrollment)
    e = await bench.read(moved)
    assert (e["stage_id"], e["edits"], "pending" in e) == ("nudge", {"nudge": {"text": "New"}}, False)
    assert (await bench.read(stopped))["state"] == "stopped"


async def test_a_missing_token_is_refused_and_nothing_is_left_behind(bench: Bench) -> None:
    enroll = bench.enroll(first_name=None)
    await bench.command(enroll)
    assert bench.kafka.kinds() == ["refused"]
    assert await bench.database.collection(names.ENROLLMENTS).find({}) == []


async def test_a_sequence_that_refuses_the_busy_takes_a_person_once(bench: Bench) -> None:
    await bench.add_version(2, {**TWO_MAILS, "limits": {"already_in_a_sequence": "refuse"}})
    strict = {"sequence_version": 2}
    one, same, other = (
        bench.enroll(who).model_copy(update={**strict, "generation": n})
        for who, n in (("priya", 1), ("priya", 2), ("wei", 1))
    )
    await bench.command(one, same, other)
    later = bench.enroll().model_copy(update={**strict, "generation": 3})
    await bench.command(later)
    found = await bench.database.collection(names.ENROLLMENTS).find({})
    assert {e["_id"] for e in found} == {one.enrollment_id, other.enrollment_id}
    results = await bench.database.collection(names.COMMAND_RESULTS).find({})
    assert [r["reasons"][0]["code"] for r in results] == ["already_in_a_sequence"] * 2


async def test_a_stage_that_a_migration_leaves_and_comes_back_to_counts_its_attempts_on(
    bench: Bench,
) -> None:
    first = {"id": "first", "channel": "email", "subject": "Before", "text": "Hello"}
    await bench.add_version(2, {**TWO_MAILS, "stages": [first, *TWO_MAILS["stages"]]})
    (enrollment,) = await bench.enrolled("priya")
    await bench.parts.due.tick()
    await bench.command(bench.message(Migrate, enrollment_id=enrollment, to_version=2))
    await bench.outcome(Outcome.DEFERRED, enrollment, until=bench.clock.now())
    bench.clock.advance(1)
    await bench.parts.due.tick()
    await bench.outcome(Outcome.SENT, enrollment, stage_id="first")
    bench.clock.advance(days=1)
    await bench.parts.due.tick()
    tries = [(m.stage_id, m.attempt) for m in bench.kafka.of(STAGE_DUE)]
    assert tries == [("hello", 1), ("first", 1), ("hello", 2)]


async def test_the_due_query_walks_the_due_index(bench: Bench) -> None:
    collection = bench.database.collection(names.ENROLLMENTS)
    query = {"shard": {"$in": list(ALL_SHARDS[:60])}, "due_at": {"$lte": bench.clock.now()}}
    plan = str(await collection.explain(query, sort=[("due_at", 1)]))
    assert "SORT_MERGE" in plan
    assert "'indexName': 'due'" in plan
    assert "COLLSCAN" not in plan
