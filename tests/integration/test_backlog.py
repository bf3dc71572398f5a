"""What the alerts ask for: how long the oldest of what waits has been waiting, and what is counted."""

from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest

from chassis import documents as names
from chassis.caps import DAY
from chassis.telemetry import REGISTRY
from reply_detector import backlog as unsettled
from reply_detector.testing import a_bounce, a_message, open_world
from scheduler import backlog as overdue
from scheduler.store import ALL_SHARDS
from scheduler.testing import SEQUENCE, TWO_MAILS, Bench, open_bench
from segue_contracts.events import Outcome

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, TWO_MAILS) as opened:
        yield opened


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def of_the_scheduler(bench: Bench) -> overdue.Backlog:
    store = overdue.BacklogStore(bench.database)
    return overdue.Backlog(store, bench.clock, shards=lambda: ALL_SHARDS, redelivery_seconds=120)


async def test_what_is_due_and_what_nobody_answers_is_measured_until_it_moves_on(bench: Bench) -> None:
    look = of_the_scheduler(bench).look
    await look()
    assert value("segue_scheduler_overdue_seconds") == value("segue_scheduler_unanswered_seconds") == 0
    _, enrollment = await bench.enrolled("a", "b")
    bench.clock.advance(seconds=40)
    await look()
    assert value("segue_scheduler_overdue_seconds") == 40
    await bench.parts.due.tick()
    bench.clock.advance(seconds=150)
    await bench.parts.due.tick()  # asked again: the dispatch is as old as it was
    await look()
    assert value("segue_scheduler_overdue_seconds") == 0
    assert value("segue_scheduler_unanswered_seconds") == 150
    for each in bench.due()[:2]:
        await bench.outcome(Outcome.SENT, each)
    await look()
    assert (await bench.read(enrollment))["state"] == "scheduled"
    assert value("segue_scheduler_unanswered_seconds") == 0


async def test_a_stop_is_measured_until_it_has_ended_all(bench: Bench) -> None:
    stops = bench.database.collection(names.STOPS)
    stop = {"_id": uuid4(), "workspace_id": uuid4(), "applied": False, "recorded_at": bench.clock.real_now()}
    await stops.insert_one({**stop, "scope": "person", "key": uuid4(), "at": bench.clock.now()})
    bench.clock.advance(seconds=70)
    await of_the_scheduler(bench).look()
    assert value("segue_scheduler_stops_unapplied_seconds") == 70
    await stops.update_one({"_id": stop["_id"]}, {"$set": {"applied": True}})
    await of_the_scheduler(bench).look()
    assert value("segue_scheduler_stops_unapplied_seconds") == 0


async def test_a_message_is_measured_until_it_is_judged_and_until_its_stop_is_seen_done(
    mongodb_uri: str,
) -> None:
    async with open_world(mongodb_uri) as world:
        look = unsettled.Backlog(unsettled.BacklogStore(world.database), world.clock).look
        inbound = await world.arrives(a_message("Yes, gladly."))
        world.clock.advance(seconds=35)
        await look()
        assert value("segue_inbound_unsettled_seconds", state="received") == 35
        await world.parts().detector.settle(world.workspace, inbound)
        world.clock.advance(seconds=20)
        await look()
        assert value("segue_inbound_unsettled_seconds", state="received") == 0
        assert value("segue_inbound_unsettled_seconds", state="judged") == 20


def growth(name: str, **labels: str) -> Callable[[], float]:
    """By how much it has grown since: the registry is everybody's."""
    before = value(name, **labels) or 0.0
    return lambda: (value(name, **labels) or 0.0) - before


async def test_what_finds_its_senders_limit_reached_is_measured_by_how_long_it_waits(
    mongodb_uri: str,
) -> None:
    waits, seconds = (growth(f"segue_scheduler_cap_wait_seconds_{of}") for of in ("count", "sum"))
    async with open_bench(mongodb_uri, {**TWO_MAILS, "limits": {"new_people_per_day": 2}}) as bench:
        await bench.enrolled("a", "b", "c")
        await bench.parts.due.tick()
        assert len(bench.due()) == 2
    assert waits() == 1
    assert DAY <= seconds() < 2 * DAY


async def test_a_hard_bounce_is_charged_to_its_mailbox(mongodb_uri: str) -> None:
    charged = growth("segue_inbound_charged_total", kind="bounce")
    async with open_world(mongodb_uri) as world:
        of_mailbox = growth(
            "segue_inbound_mailbox_messages_total", mailbox_id=str(world.mailbox), kind="bounce"
        )
        await world.parts().detector.settle(world.workspace, await world.arrives(a_bounce("5.1.1")))
        await world.parts().detector.settle(world.workspace, await world.arrives(a_bounce("4.2.2")))
        assert of_mailbox() == 2
    assert charged() == 1


async def test_the_events_of_a_sequence_are_counted(bench: Bench) -> None:
    counted = growth("segue_scheduler_sequence_events_total", sequence_id=str(SEQUENCE), event="enrolled")
    await bench.enrolled("a", "b")
    assert counted() == 2
