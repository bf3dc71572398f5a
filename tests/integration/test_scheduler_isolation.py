"""One enrollment that can't be carried on: the others go on; it is put aside, never lost and never hot."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from chassis import documents as names
from chassis.errors import Retry
from scheduler.testing import SEQUENCE, TWO_MAILS, Bench, open_bench
from segue_contracts.commands import Hold, HoldScope, Lift, Stop
from segue_contracts.events import EnrollmentStop, Outcome, StopReason
from segue_contracts.message import Scope

pytestmark = pytest.mark.stack

OF_A_LATER_RELEASE = {**TWO_MAILS, "stages": [{**TWO_MAILS["stages"][0], "moon_phase": "full"}]}
SKIPS_WHAT_IS_LATE = {**TWO_MAILS, "timing": {"catch_up": "skip"}}


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, TWO_MAILS, OF_A_LATER_RELEASE, SKIPS_WHAT_IS_LATE) as opened:
        yield opened


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "nonsense"},
        {"state": "finished"},  # and still due: it would be due for ever
        {"attempt": None},
        {"attempt": "many"},
        {"planned_at": None},
        {"person_id": None},
        {"stage_index": 7},
        {"sequence_version": 2},
    ],
    ids=str,
)
async def test_whoever_can_t_be_carried_on_is_put_aside_and_the_rest_of_the_batch_goes_on(
    bench: Bench, wrong: dict[str, Any]
) -> None:
    first, bad, last = await bench.enrolled("a", "b", "c")
    await bench.spoil(bad, **wrong)
    assert await bench.parts.due.tick() == 3
    assert sorted(bench.due()) == sorted([first, last])
    aside = await bench.read(bad)
    assert (aside["broken"]["work"], aside["broken"]["tries"]) == ("due", 1)
    assert aside["broken"]["error"]
    assert aside["due_at"] > bench.clock.now()
    assert await bench.parts.due.tick() == 0


async def test_the_tries_move_apart_up_to_an_hour_and_never_end(bench: Bench) -> None:
    (bad,) = await bench.enrolled("a")
    await bench.spoil(bad, attempt=None)
    pauses = []
    for _ in range(10):
        assert await bench.parts.due.tick() == 1
        pauses.append(((await bench.read(bad))["due_at"] - bench.clock.now()).total_seconds())
        bench.clock.advance(pauses[-1])
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    mark = (await bench.read(bad))["broken"]
    assert (mark["tries"], mark["again_at"] - mark["since"] > timedelta(hours=2)) == (10, True)


async def test_what_is_mended_goes_on_and_loses_its_mark(bench: Bench) -> None:
    (mended,) = await bench.enrolled("a")
    await bench.spoil(mended, attempt=None)
    await bench.parts.due.tick()
    await bench.spoil(mended, attempt=0)
    bench.clock.advance(30)
    await bench.parts.due.tick()
    e = await bench.read(mended)
    assert (e["state"], e["attempt"], "broken" in e) == ("dispatched", 1, False)
    assert bench.due() == [mended]


async def test_whoever_was_put_aside_is_as_late_as_it_was_due(bench: Bench) -> None:
    (late,) = await bench.enrolled("a")
    await bench.spoil(late, stage_index=7, sequence_version=3)
    await bench.parts.due.tick()
    bench.clock.advance(30)
    await bench.parts.due.tick()
    await bench.spoil(late, stage_index=0)
    bench.clock.advance(16 * 60)
    await bench.parts.due.tick()
    e = await bench.read(late)
    assert (e["completed"], e["stage_id"]) == (["hello"], "nudge")
    assert "stage_skipped" in bench.kafka.kinds()


async def test_a_wish_of_a_person_reaches_what_is_put_aside(bench: Bench) -> None:
    (bad,) = await bench.enrolled("a")
    await bench.spoil(bad, planned_at=None)
    await bench.parts.due.tick()
    await bench.command(bench.message(Stop, enrollment_id=bad))
    e = await bench.read(bad)
    assert (e["state"], "broken" in e, "due_at" in e) == ("stopped", False, False)


async def test_an_outage_puts_nobody_aside(bench: Bench) -> None:
    both = await bench.enrolled("a", "b")
    bench.kafka.broken = True
    with pytest.raises(Retry):
        await bench.parts.due.tick()
    assert ["broken" in await bench.read(each) for each in both] == [False, False]


async def test_an_event_that_can_t_be_told_holds_up_no_other(bench: Bench) -> None:
    bench.kafka.broken = True
    commands = [bench.enroll(who) for who in ("a", "b", "c")]
    for command in commands:
        with pytest.raises(Retry):
            await bench.command(command)
    bad = commands[1].enrollment_id
    owner = (await bench.read(bad))["owner_id"]
    await bench.spoil(bad, owner_id=None)
    bench.kafka.broken = False
    bench.clock.advance(11)
    await bench.parts.outbox.sweep()
    assert bench.kafka.kinds() == ["enrolled", "stage_scheduled"] * 2
    aside = await bench.read(bad)
    assert (aside["broken"]["work"], [o["owing"][0]["_id"] for o in await bench.owed()]) == ("outbox", [bad])
    assert aside["due_at"] == aside["planned_at"]

    await bench.parts.outbox.sweep()
    assert (await bench.read(bad))["broken"]["tries"] == 1
    await bench.spoil(bad, owner_id=owner)
    bench.clock.advance(31)
    await bench.parts.outbox.sweep()
    assert (await bench.owed(), "broken" in await bench.read(bad)) == ([], False)


async def test_whoever_can_t_be_brought_back_from_a_hold_holds_up_no_other(bench: Bench) -> None:
    await bench.command(bench.message(Hold, scope=HoldScope.SEQUENCE, scope_id=SEQUENCE))
    good, bad = await bench.enrolled("a", "b")
    await bench.parts.due.tick()
    await bench.spoil(bad, stage_index=7)
    bench.clock.advance(60)
    await bench.command(bench.message(Lift, scope=HoldScope.SEQUENCE, scope_id=SEQUENCE))
    assert "parked_by" not in await bench.read(good)
    aside = await bench.read(bad)
    assert (aside["broken"]["work"], "due_at" in aside) == ("unpark", False)

    await bench.parts.holds.sweep()
    assert (await bench.read(bad))["broken"]["tries"] == 1
    await bench.spoil(bad, stage_index=0)
    bench.clock.advance(31)
    await bench.parts.holds.sweep()
    back = await bench.read(bad)
    assert ("parked_by" in back, "broken" in back, "due_at" in back) == (False, False, True)


async def test_a_stop_ends_all_it_can_and_stays_open_until_the_last(bench: Bench) -> None:
    commands = [bench.enroll().model_copy(update={"generation": n}) for n in (1, 2)]
    await bench.command(*commands)
    bad, good = (c.enrollment_id for c in commands)
    await bench.spoil(bad, state="nonsense")
    bench.clock.advance(60)
    stop = bench.message(
        EnrollmentStop,
        event_type=StopReason.REPLIED,
        scope=Scope.PERSON,
        person_id=(await bench.read(good))["person_id"],
    )
    await bench.stop(stop)
    assert (await bench.read(good))["state"] == "stopped"
    stored = await bench.database.collection(names.STOPS).find_one({"_id": stop.event_id})
    assert stored is not None
    assert not stored["applied"]

    await bench.spoil(bad, state="scheduled")
    bench.clock.advance(31)
    await bench.parts.stops.sweep()
    assert (await bench.read(bad))["state"] == "stopped"
    stored = await bench.database.collection(names.STOPS).find_one({"_id": stop.event_id})
    assert stored is not None
    assert stored["applied"]


async def test_an_outcome_moves_on_what_is_put_aside(bench: Bench) -> None:
    (flying,) = await bench.enrolled("a")
    await bench.parts.due.tick()
    await bench.spoil(flying, planned_at=None)
    bench.clock.advance(121)
    await bench.parts.due.tick()
    assert (await bench.read(flying))["broken"]["work"] == "due"
    await bench.outcome(Outcome.SENT, flying)
    e = await bench.read(flying)
    assert (e["stage_id"], "broken" in e) == ("nudge", False)
