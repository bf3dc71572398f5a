"""Reservations on a real MongoDB: no cap is exceeded, whoever reserves at the same time or dies half-way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from chassis.caps import DAY, HOUR, Cap
from chassis.store import Database
from chassis.testing import FrozenClock, fresh_database, fresh_settings
from scheduler.model import Step
from scheduler.open_time import Span
from scheduler.plan import Refused
from scheduler.search import Vacancy
from scheduler.slot_store import INDEXES, SlotStore
from scheduler.slots import SKEW_SECONDS, VALID_SECONDS, Asked, Slots, next_slot_id
from segue_contracts.message import Channel

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
WORKSPACE = uuid4()
ALWAYS = Span(NOW - timedelta(days=400), NOW + timedelta(days=40_000))


@pytest.fixture
async def database(mongodb_uri: str) -> AsyncIterator[Database]:
    settings = fresh_settings("127.0.0.1:1", mongodb_uri)
    async with fresh_database(settings) as database:
        for collection, indexes in INDEXES.items():
            await database.collection(collection).ensure_indexes(indexes)
        yield database


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


def enrollment(attempt: int = 0) -> dict[str, Any]:
    return {"_id": uuid4(), "workspace_id": WORKSPACE, "stage_id": "hello", "attempt": attempt}


def asked(caps: Sequence[Cap], e: dict[str, Any] | None = None, spans: Sequence[Span] = (ALWAYS,)) -> Asked:
    def plan(vacancy: Vacancy) -> Step | Refused:
        for span in spans:
            if (at := vacancy.first(span)) is not None:
                return Step("hello", 0, Channel.EMAIL, at, None, "UTC", ())
        return Refused("no_slot_within_a_year", "all taken")

    return Asked(e or enrollment(), tuple(caps), plan, hours=None)


async def times(database: Database) -> list[datetime]:
    return sorted(doc["at"] for doc in await database.collection(names.SLOTS).find({}))


def most_within(found: Sequence[datetime], seconds: int) -> int:
    width = timedelta(seconds=seconds)
    return max(sum(start <= at < start + width for at in found) for start in found)


async def test_the_first_n_go_now_and_the_rest_when_the_window_has_passed(
    database: Database, clock: FrozenClock
) -> None:
    slots = Slots(SlotStore(database), clock)
    found = await slots.place([asked([Cap("mailbox:a", 3, HOUR)]) for _ in range(7)])
    planned = [step.at for step in found.values() if isinstance(step, Step)]
    later = NOW + timedelta(seconds=HOUR + VALID_SECONDS + SKEW_SECONDS)
    assert planned == [NOW] * 3 + [later] * 3 + [later + (later - NOW)]
    assert await times(database) == planned


async def test_a_cap_holds_although_several_schedulers_reserve_at_once(
    database: Database, clock: FrozenClock
) -> None:
    caps = [Cap("mailbox:a", 40, DAY), Cap("mailbox:a", 10, HOUR), Cap("mailbox:a", 1, 60, paced=True)]
    schedulers = [Slots(SlotStore(database), clock) for _ in range(3)]
    await asyncio.gather(*(each.place([asked(caps) for _ in range(20)]) for each in schedulers * 2))
    found = await times(database)
    assert len(found) == 120
    assert most_within(found, DAY) <= 40
    assert most_within(found, HOUR) <= 10
    assert most_within(found, 60) == 1


async def test_late_sends_within_their_slots_keep_the_cap(database: Database, clock: FrozenClock) -> None:
    await Slots(SlotStore(database), clock).place([asked([Cap("mailbox:a", 3, HOUR)]) for _ in range(9)])
    docs = await database.collection(names.SLOTS).find({})
    as_late_as_can_be = {d["_id"]: d["until"] - timedelta(seconds=1) for d in docs}
    firsts = sorted(d["_id"] for d in docs if d["at"] == NOW)
    sent = [as_late_as_can_be[d["_id"]] if d["_id"] in firsts else d["at"] for d in docs]
    assert most_within(sent, HOUR) <= 3


async def test_what_a_dead_scheduler_reserved_is_carried_out_by_the_next(
    database: Database, clock: FrozenClock
) -> None:
    pending = {
        "_id": next_slot_id(e := enrollment()),
        "workspace_id": WORKSPACE,
        "enrollment_id": e["_id"],
        "keys": ["mailbox:a"],
        "at": NOW,
        "until": NOW + timedelta(seconds=VALID_SECONDS),
        "spent_at": None,
        "n": 1,
    }
    await database.collection(names.SLOT_BOOKS).insert_one(
        {"_id": WORKSPACE, "workspace_id": WORKSPACE, "rev": 1, "pending": [pending]}
    )
    slots = Slots(SlotStore(database), clock)
    found = await slots.place([asked([Cap("mailbox:a", 1, HOUR)])])
    (step,) = found.values()
    assert isinstance(step, Step)
    assert step.at >= NOW + timedelta(seconds=HOUR)
    assert await slots.valid([e]) == {e["_id"]}


async def test_a_late_carrier_does_not_undo_a_newer_reservation(
    database: Database, clock: FrozenClock
) -> None:
    store, e = SlotStore(database), enrollment()
    slots = Slots(store, clock)
    await slots.place([asked([Cap("mailbox:a", 1, HOUR)], e)])
    old = await database.collection(names.SLOTS).find_one({"_id": next_slot_id(e)})
    assert old is not None
    await Slots(store, clock).place([asked([Cap("mailbox:a", 1, HOUR)], e)])
    (moved,) = await times(database)
    assert moved >= NOW + timedelta(seconds=HOUR)
    await store._carry_out({"_id": WORKSPACE, "workspace_id": WORKSPACE, "rev": 1, "pending": [old]})
    assert await times(database) == [moved]


async def test_freed_room_is_given_to_the_next(database: Database, clock: FrozenClock) -> None:
    store, e = SlotStore(database), enrollment()
    caps = [Cap("mailbox:a", 1, DAY)]
    slots = Slots(store, clock)
    await slots.place([asked(caps, e)])
    await slots.free([e])
    (step,) = (await Slots(store, clock).place([asked(caps)])).values()
    assert isinstance(step, Step)
    assert step.at == NOW


async def test_a_spent_slot_is_not_given_back(database: Database, clock: FrozenClock) -> None:
    slots, e = Slots(SlotStore(database), clock), enrollment()
    await slots.place([asked([Cap("mailbox:a", 1, DAY)], e)])
    await database.collection(names.SLOTS).update_one({"_id": next_slot_id(e)}, {"$set": {"spent_at": NOW}})
    await slots.free([e])
    assert await times(database) == [NOW]
    assert await slots.valid([e]) == set()


async def test_a_slot_is_valid_for_a_while_and_only_for_its_attempt(
    database: Database, clock: FrozenClock
) -> None:
    slots, e = Slots(SlotStore(database), clock), enrollment()
    await slots.place([asked([Cap("mailbox:a", 1, HOUR)], e)])
    assert await slots.valid([e]) == {e["_id"]}
    assert await slots.valid([{**e, "attempt": 1}]) == set()
    clock.advance(VALID_SECONDS)
    assert await slots.valid([e]) == set()


async def test_nobody_is_placed_outside_the_open_time(database: Database, clock: FrozenClock) -> None:
    morning = [Span(NOW + timedelta(days=day), NOW + timedelta(days=day, minutes=30)) for day in range(300)]
    caps = [Cap("mailbox:a", 5, DAY), Cap("mailbox:a", 1, 300, paced=True)]
    found = await Slots(SlotStore(database), clock).place([asked(caps, spans=morning) for _ in range(40)])
    for step in found.values():
        assert isinstance(step, Step)
        assert any(span.start <= step.at < span.end for span in morning)
    assert most_within(await times(database), DAY) <= 5


async def test_who_finds_no_room_is_refused_and_reserves_nothing(
    database: Database, clock: FrozenClock
) -> None:
    today = [Span(NOW, NOW + timedelta(hours=1))]
    found = await Slots(SlotStore(database), clock).place(
        [asked([Cap("mailbox:a", 1, DAY)], spans=today) for _ in range(2)]
    )
    assert [type(step) for step in found.values()] == [Step, Refused]
    assert len(await times(database)) == 1


async def test_caps_of_different_keys_hold_together(database: Database, clock: FrozenClock) -> None:
    people: list[UUID] = [uuid4(), uuid4()]
    wanted = [
        asked([Cap("mailbox:a", 2, HOUR), Cap(f"person:{person}", 1, DAY)])
        for person in people
        for _ in range(3)
    ]
    found = list((await Slots(SlotStore(database), clock).place(wanted)).values())
    for theirs in (found[:3], found[3:]):
        at = [step.at for step in theirs if isinstance(step, Step)]
        assert most_within(at, DAY) == 1
    assert most_within(await times(database), HOUR) <= 2


async def test_what_no_window_reaches_any_more_is_deleted(database: Database, clock: FrozenClock) -> None:
    slots = Slots(SlotStore(database), clock)
    await slots.place([asked([Cap("mailbox:a", 1, HOUR)])])
    clock.advance(DAY)
    await slots.sweep()
    assert len(await times(database)) == 1
    clock.advance(2 * DAY)
    await slots.sweep()
    assert await times(database) == []


@pytest.mark.parametrize("seed", range(4))
async def test_no_window_is_too_full_whatever_the_clock_does(
    database: Database, clock: FrozenClock, seed: int
) -> None:
    """Three schedulers, sends that are late within their slots, restarts, and a clock that jumps."""
    random = Random(seed)
    caps = [Cap("mailbox:a", 8, DAY), Cap("mailbox:a", 3, HOUR)]
    schedulers = [Slots(SlotStore(database), clock) for _ in range(3)]
    waiting = [enrollment() for _ in range(12)]
    sent: list[datetime] = []
    for _ in range(40):
        jump = random.choice([0, 0, 0, HOUR, -HOUR, 400 * DAY])
        coming = [at for at in await times(database) if at > clock.now()]
        if coming and not jump:
            clock.set(coming[0])
        clock.set(clock.now() + timedelta(seconds=jump + random.randrange(0, 200)))
        if random.random() < 0.2:
            schedulers[random.randrange(3)] = Slots(SlotStore(database), clock)
        slots = random.choice(schedulers)
        valid = await slots.valid(waiting)
        await slots.place(
            [asked(caps, e) for e in waiting if e["_id"] not in valid and random.random() < 0.5]
        )
        for e in [e for e in waiting if e["_id"] in await slots.valid(waiting)]:
            clock.set(clock.now() + timedelta(seconds=random.randrange(0, 20)))
            if await database.collection(names.SLOTS).update_one(
                {"_id": next_slot_id(e), "until": {"$gt": clock.now()}, "spent_at": None},
                {"$set": {"spent_at": clock.now()}},
            ):
                sent.append(clock.now())
                waiting.remove(e)
                waiting.append(enrollment())
    assert len(sent) > 20
    assert most_within(sorted(sent), DAY) <= 8
    assert most_within(sorted(sent), HOUR) <= 3
