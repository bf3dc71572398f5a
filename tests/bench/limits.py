"""Measures how long it takes to place people on one mailbox with 200 messages a day, 40 an hour.

Run: `python tests/bench/limits.py [PEOPLE]`. Segue reserves on a real MongoDB, in batches as the due loop
does. Its peer looks, for each person, minute by minute for the first one at which no window is over its
limit, counting the messages in it, and writes nothing.
"""

import asyncio
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid5

from chassis.caps import DAY, HOUR, Cap
from chassis.clock import Clock
from chassis.migrations import build
from chassis.store import connect
from chassis.testing import FrozenClock, fresh_settings
from scheduler.migrations import SCHEMA
from scheduler.model import Document, Step
from scheduler.plan import Person, Planned, Refused, Sender, plan
from scheduler.search import Vacancy
from scheduler.slot_store import SlotStore
from scheduler.slots import SKEW_SECONDS, VALID_SECONDS, Asked, Slots
from segue_contracts.message import Channel
from segue_contracts.sequence import parse_sequence
from stack.local_mongo import LocalMongo

PEOPLE = 10_000
PEER_PEOPLE = 1_000
BATCH = 2_000
WORKSPACE = UUID(int=1)
MONDAY = datetime(2026, 11, 23, 8, tzinfo=UTC)
CAPS = (Cap("mailbox:a", 200, DAY), Cap("mailbox:a", 40, HOUR))
WINDOW = (9, 17)
SEQUENCE = parse_sequence(
    {
        "name": "Ten thousand people",
        "timing": {"zone": "UTC", "windows": {"mon-fri": ["09:00-17:00"]}, "holidays": {"of": "none"}},
        "stages": [{"id": "hello", "channel": "email", "subject": "A job", "text": "Four days a week"}],
    }
)


def main(people: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mongo = LocalMongo(Path(folder))
        mongo.start()
        try:
            few = asyncio.run(segue(mongo.uri, PEER_PEOPLE))
            many = asyncio.run(segue(mongo.uri, people))
        finally:
            mongo.stop()
    naive = scan(PEER_PEOPLE)
    print(f"{'':24}{'people':>8}{'seconds':>10}{'ms a person':>13}")
    for name, count, seconds in (
        ("Segue, reserved", people, many),
        ("Segue, reserved", PEER_PEOPLE, few),
        ("scan minute by minute", PEER_PEOPLE, naive),
    ):
        print(f"{name:24}{count:8,}{seconds:10.2f}{1000 * seconds / count:13.3f}")
    print(f"ratio at {PEER_PEOPLE:,} people: {naive / few:.1f}x")


async def segue(uri: str, people: int) -> float:
    """Seconds until everybody has a slot of their own."""
    settings = fresh_settings("unused:9092", uri)
    async with connect(settings) as database:
        clock: Clock = FrozenClock(MONDAY)
        slots = Slots(SlotStore(database), clock)
        await build(database, SCHEMA)
        everybody = [enrollment(number) for number in range(people)]
        began, found = time.perf_counter(), 0
        for first in range(0, people, BATCH):
            placed = await slots.place([asked(e) for e in everybody[first : first + BATCH]])
            found += sum(isinstance(step, Step) for step in placed.values())
        seconds = time.perf_counter() - began
        assert found == people, f"only {found} of {people} have room"
        await database.drop()
    return seconds


def enrollment(number: int) -> Document:
    return {
        "_id": uuid5(WORKSPACE, str(number)),
        "workspace_id": WORKSPACE,
        "stage_id": "hello",
        "attempt": 0,
    }


def asked(e: Document) -> Asked:
    return Asked(e, CAPS, partial(step, e), hours=None)


def step(e: Document, vacancy: Vacancy) -> Step | Refused:
    stage = SEQUENCE.stages[0]
    found = plan(
        stage,
        SEQUENCE.timing_of(0),
        base=MONDAY,
        dispatch_id=f"{e['_id']}:hello",
        person=Person(),
        sender=Sender(),
        first=True,
        vacancy=vacancy,
    )
    if isinstance(found, Planned):
        return Step("hello", 0, Channel.EMAIL, found.at, found.send_before, found.zone, ())
    return found


def scan(people: int) -> float:
    """Seconds until the naive peer has a time for everybody."""
    taken: list[int] = []
    began = time.perf_counter()
    for _ in range(people):
        at = MONDAY
        while not (is_open(at) and has_room(taken, int(at.timestamp()))):
            at += timedelta(minutes=1)
        taken.insert(bisect_right(taken, int(at.timestamp())), int(at.timestamp()))
    return time.perf_counter() - began


def is_open(at: datetime) -> bool:
    return at.isoweekday() <= 5 and WINDOW[0] <= at.hour < WINDOW[1]


def has_room(taken: list[int], at: int) -> bool:
    """Times are found in ascending order here, so the window that ends at `at` is the fullest."""
    for cap in CAPS:
        since = at - cap.seconds - VALID_SECONDS - SKEW_SECONDS
        if bisect_right(taken, at) - bisect_left(taken, since + 1) >= cap.count:
            return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE)
