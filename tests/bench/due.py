"""Measures one poll of the due loop: all 240 shards owned, a million overdue, then a million under one hold.

Run: `python tests/bench/due.py [ENROLLMENTS]`. The peers, on the same data: the same query over all shards
at once, which MongoDB sorts instead of merging; and a due index that holds keep full, so that each poll has
to look past everybody who is held.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

from chassis import documents as names
from chassis.migrations import build
from chassis.store import Collection, connect
from chassis.testing import FrozenClock, fresh_settings
from scheduler.due import BATCH
from scheduler.frontier import WHOLE_SHARE, Frontier
from scheduler.migrations import SCHEMA
from scheduler.model import Document
from scheduler.store import ALL_SHARDS, SchedulerStore
from stack.local_mongo import LocalMongo

ENROLLMENTS = 1_000_000
ROUNDS = 5
LATER = 24_000
"""Others, due in a month."""
INSERTED_AT_ONCE = 10_000
WORKSPACE = UUID(int=1)
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOLD = f"workspace:{WORKSPACE}"


def main(enrollments: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mongo = LocalMongo(Path(folder))
        mongo.start()
        try:
            asyncio.run(measure(mongo.uri, enrollments))
        finally:
            mongo.stop()


async def measure(uri: str, enrollments: int) -> None:
    async with connect(fresh_settings("unused:9092", uri)) as database:
        store, collection = SchedulerStore(database), database.collection(names.ENROLLMENTS)
        await build(database, SCHEMA)
        await fill(collection, scheduled(enrollments, NOW))
        await fill(collection, scheduled(LATER, NOW + timedelta(days=30)))

        async def segue() -> int:
            return len((await store.due(ALL_SHARDS, NOW, BATCH))[0])

        async def at_once() -> int:
            query = {"shard": {"$in": list(ALL_SHARDS)}, "due_at": {"$lte": NOW}}
            return len(await collection.find(query, sort=[("due_at", 1)], limit=BATCH))

        ours, theirs = await median(segue), await median(at_once)
        print(f"{enrollments:,} overdue, {BATCH:,} read a poll (medians of {ROUNDS})")
        show("Segue, 60 shards a query", ours, "all shards in one query", theirs)

        async def past_the_held() -> int:
            query = {"due_at": {"$lte": NOW}, "shard": {"$in": list(ALL_SHARDS)}, "held": False}
            return len(await collection.find(query, sort=[("due_at", 1)], limit=BATCH))

        theirs = await median(past_the_held)
        await collection.update_many(
            {"due_at": {"$lte": NOW}}, {"$set": {"parked_by": HOLD}, "$unset": {"due_at": ""}}
        )
        whole = await median(segue)
        frontier = Frontier(FrozenClock(NOW))
        frontier.since(ALL_SHARDS, NOW)
        frontier.polled(NOW, None)

        async def from_the_frontier() -> int:
            return len((await store.due(ALL_SHARDS, NOW, BATCH, frontier.since(ALL_SHARDS, NOW)))[0])

        ours = await median(from_the_frontier)
        print(f"{enrollments:,} people under one hold, nobody else due")
        show("Segue, parked", ours, "due index full of the held", theirs)
        print(f"  {'a look at everything':28}{1000 * whole:10.1f} ms   once in {WHOLE_SHARE} times that")
        await database.drop()


async def median(poll: Callable[[], Awaitable[int]]) -> float:
    """Seconds of a poll; once before, to warm the cache."""
    await poll()
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await poll()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def show(our_name: str, ours: float, their_name: str, theirs: float) -> None:
    print(f"  {our_name:28}{1000 * ours:10.1f} ms")
    print(f"  {their_name:28}{1000 * theirs:10.1f} ms   ratio {theirs / ours:.1f}x")


def scheduled(count: int, until: datetime) -> Iterator[Document]:
    """So many, due within the last day before `until`."""
    for number in range(count):
        yield {
            "_id": uuid4(),
            "workspace_id": WORKSPACE,
            "sequence_id": WORKSPACE,
            "person_id": WORKSPACE,
            "state": "scheduled",
            "shard": number % len(ALL_SHARDS),
            "due_at": until - timedelta(seconds=number % 86_400),
            "ended": False,
            "held": True,
            "rev": 1,
        }


async def fill(collection: Collection, documents: Iterable[Document]) -> None:
    remaining = iter(documents)
    while some := list(islice(remaining, INSERTED_AT_ONCE)):
        await collection.insert_new(some)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ENROLLMENTS)
