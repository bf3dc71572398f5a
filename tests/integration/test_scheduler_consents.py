"""Consents taken back, owners who leave, sequences that change hands: as the scheduler carries them out."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from chassis import documents as names
from chassis.documents import delegation_id, hold_id
from chassis.inquiries import ForecastAsked, ScheduleAsked
from scheduler.testing import MAILBOX, OWNER, SEQUENCE, WORKSPACE, Bench, open_bench
from segue_contracts.commands import Hold, HoldScope, Lift, Transfer
from segue_contracts.events import Outcome

pytestmark = pytest.mark.stack

BOB, DAVE = UUID(int=40), UUID(int=41)
CONSENT = delegation_id(MAILBOX, OWNER)


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as opened:
        yield opened


async def lend(bench: Bench) -> None:
    """The mailbox is Bob's; the sequence stays its author's."""
    mailboxes = bench.database.collection(names.MAILBOXES)
    await mailboxes.update_one({"_id": MAILBOX}, {"$set": {"owner_id": BOB, "display_name": "Bob"}})


async def hold(bench: Bench, scope: HoldScope, scope_id: UUID, reason: str = "why") -> None:
    bench.clock.advance(1)
    await bench.command(bench.message(Hold, scope=scope, scope_id=scope_id, reason=reason))


async def lift(bench: Bench, scope: HoldScope, scope_id: UUID) -> None:
    bench.clock.advance(1)
    await bench.command(bench.message(Lift, scope=scope, scope_id=scope_id))


async def refusals(bench: Bench) -> list[str]:
    found = await bench.database.collection(names.COMMAND_RESULTS).find({"status": "refused"})
    return [reason["code"] for result in found for reason in result["reasons"]]


async def test_an_enrollment_that_a_teammate_sends_for_is_its_authors(bench: Bench) -> None:
    await lend(bench)
    (priya,) = await bench.enrolled("priya")
    e = await bench.read(priya)
    assert (e["owner_id"], e["mailbox_id"]) == (OWNER, MAILBOX)


async def test_a_consent_taken_back_holds_who_runs_refuses_who_is_new_and_lets_go_when_it_is_back(
    bench: Bench,
) -> None:
    await lend(bench)
    (priya,) = await bench.enrolled("priya")
    await hold(bench, HoldScope.DELEGATION, CONSENT, "consent_withdrawn")
    await bench.parts.due.tick()
    assert bench.due() == []
    assert (await bench.read(priya))["parked_by"] == hold_id("delegation", CONSENT)
    await bench.enrolled("quinn")
    assert await refusals(bench) == ["consent_withdrawn"]
    await lift(bench, HoldScope.DELEGATION, CONSENT)
    await bench.parts.due.tick()
    assert bench.due() == [priya]
    await bench.enrolled("rosa")
    assert await refusals(bench) == ["consent_withdrawn"]


async def test_a_hold_for_a_consent_is_nothing_to_the_mailboxs_own_user(bench: Bench) -> None:
    await hold(bench, HoldScope.DELEGATION, delegation_id(MAILBOX, DAVE))
    (priya,) = await bench.enrolled("priya")
    await bench.parts.due.tick()
    assert bench.due() == [priya]


@pytest.mark.parametrize("thing", [SEQUENCE, MAILBOX], ids=["sequence", "mailbox"])
async def test_when_its_owner_leaves_all_waits_and_a_persons_pause_outlasts_the_transfer(
    bench: Bench, thing: UUID
) -> None:
    (priya,) = await bench.enrolled("priya")
    await hold(bench, HoldScope.SEQUENCE, SEQUENCE, "we pause")
    await hold(bench, HoldScope.OWNERSHIP, thing, "owner_left")
    await lift(bench, HoldScope.OWNERSHIP, thing)
    await bench.parts.due.tick()
    assert bench.due() == []
    await hold(bench, HoldScope.OWNERSHIP, thing, "owner_left")
    await lift(bench, HoldScope.SEQUENCE, SEQUENCE)
    await bench.parts.due.tick()
    assert (await bench.read(priya))["parked_by"] == hold_id("ownership", thing)
    await lift(bench, HoldScope.OWNERSHIP, thing)
    await bench.parts.due.tick()
    assert bench.due() == [priya]


async def test_a_transfer_makes_everybody_in_the_sequence_the_new_owners_and_later_people_too(
    bench: Bench,
) -> None:
    live, ended = await bench.enrolled("priya", "quinn")
    await bench.parts.due.tick()
    for stage in ("hello", "nudge"):
        await bench.outcome(Outcome.SENT, ended, stage_id=stage)
        bench.clock.advance(days=4)
        await bench.parts.due.tick()
    assert (await bench.read(ended))["state"] == "finished"
    await bench.database.collection(names.SEQUENCES).update_one(
        {"_id": SEQUENCE, "workspace_id": WORKSPACE}, {"$set": {"owner_id": DAVE}}
    )
    await bench.command(bench.message(Transfer, sequence_id=SEQUENCE, owner_id=DAVE))
    (new,) = await bench.enrolled("rosa")
    assert [(await bench.read(each))["owner_id"] for each in (live, ended, new)] == [DAVE] * 3


@pytest.mark.parametrize(
    ("scope", "thing"),
    [
        (HoldScope.DELEGATION, CONSENT),
        (HoldScope.OWNERSHIP, SEQUENCE),
        (HoldScope.OWNERSHIP, MAILBOX),
    ],
)
async def test_the_forecast_and_the_schedule_say_what_is_held(
    bench: Bench, scope: HoldScope, thing: UUID
) -> None:
    (priya,) = await bench.enrolled("priya")
    await hold(bench, scope, thing)
    await hold(bench, HoldScope.DELEGATION, delegation_id(MAILBOX, DAVE))
    inquiries = bench.parts.inquiries
    forecast = await inquiries.forecast(ForecastAsked(workspace_id=WORKSPACE, mailbox_id=MAILBOX, days=2))
    assert forecast is not None
    assert [(each.messages, each.held) for each in forecast.days] == [(1, 1), (0, 0)]
    schedule = await inquiries.schedule(ScheduleAsked(workspace_id=WORKSPACE, enrollment_id=priya))
    assert schedule is not None
    assert [(each.scope, each.scope_id) for each in schedule.holds] == [(scope, thing)]


async def test_a_transfer_loses_nothing_of_what_is_in_flight(bench: Bench) -> None:
    (priya,) = await bench.enrolled("priya")
    await bench.parts.due.tick()
    await bench.command(bench.message(Transfer, sequence_id=SEQUENCE, owner_id=DAVE))
    await bench.outcome(Outcome.SENT, priya)
    e = await bench.read(priya)
    assert (e["state"], e["stage_id"], e["owner_id"]) == ("scheduled", "nudge", DAVE)
    assert e["planned_at"] - bench.clock.now() > timedelta(days=2)
