"""Writes changes and tells the world: the write keeps the events, the broker's word clears them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar
from uuid import UUID, uuid4

from chassis.clock import Clock
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.telemetry import counter
from scheduler.isolation import Isolation, Work
from scheduler.model import Document
from scheduler.store import SchedulerStore, Write
from scheduler.story import event_of, number

GUARD_TRIES = 8
UNTOLD_SECONDS = 10.0
SWEEP_BATCH = 500
LOST_GUARDS = counter("segue_scheduler_lost_guards", "Writes whose enrollment had changed since it was read")

T = TypeVar("T")


class Publishes(Protocol):
    """What the scheduler needs of Kafka's producer."""

    async def publish(self, records: Sequence[Record]) -> None: ...


class Outbox:
    """Commits changes of enrollments and publishes their events."""

    def __init__(
        self, store: SchedulerStore, publisher: Publishes, isolation: Isolation, clock: Clock
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._isolation = isolation
        self._clock = clock

    async def commit(self, writes: Sequence[Write]) -> set[UUID]:
        """Make the changes whose enrollments are as they were read, publish their events; the ids changed."""
        if not writes:
            return set()
        token, recorded_at = uuid4(), self._clock.real_now()
        applied = await self._store.write(writes, token, recorded_at)
        if len(applied) < len(writes):
            LOST_GUARDS.inc(len(writes) - len(applied))
        made = [w for w in writes if w.enrollment["_id"] in applied and w.change.chapters]
        await self._tell(
            [({**w.enrollment, **w.change.set}, number(w.enrollment, w.change, recorded_at)) for w in made],
            token,
        )
        return applied

    async def begin(self, enrollments: Sequence[Document]) -> set[UUID]:
        """Insert new enrollments and publish how they began; the ids inserted."""
        token = uuid4()
        for e in enrollments:
            e["outbox"] = [{"seq": c["seq"], "by": token} for c in e["history"]]
        inserted = await self._store.insert(enrollments)
        await self._tell([(e, e["history"]) for e in enrollments if e["_id"] in inserted], token)
        return inserted

    async def sweep(self) -> None:
        """Publish what a crash left untold."""
        now = self._clock.real_now()
        left = await self._store.untold(now - timedelta(seconds=UNTOLD_SECONDS), now, SWEEP_BATCH)
        await self._isolation.carry(Work.OUTBOX, left, self._tell_again)

    async def _tell_again(self, left: Sequence[Document]) -> None:
        records: list[Record] = []
        for e in left:
            owed = {entry["seq"] for entry in e["outbox"]}
            records += [Record.of(event_of(e, c)) for c in e["history"] if c["seq"] in owed]
        await self._publisher.publish(records)
        await self._store.told_until([(e, e["seq"]) for e in left])

    async def _tell(self, stories: Sequence[tuple[Document, Sequence[Document]]], token: UUID) -> None:
        if not stories:
            return
        await self._publisher.publish(
            [Record.of(event_of(e, c)) for e, chapters in stories for c in chapters]
        )
        await self._store.told({e["workspace_id"] for e, _ in stories}, [e["_id"] for e, _ in stories], token)


async def persist(
    store: SchedulerStore,
    outbox: Outbox,
    workspaces: Iterable[UUID],
    ids: Iterable[UUID],
    decide: Callable[[Mapping[UUID, Document]], Awaitable[Sequence[Write]]],
) -> None:
    """Read, decide, write; again with a fresh read where another process changed something in between."""
    workspaces, ids = list(workspaces), list(ids)
    for _ in range(GUARD_TRIES):
        writes = await decide(await store.enrollments(workspaces, ids))
        if len(await outbox.commit(writes)) == len(writes):
            return
    raise Retry(f"{len(ids)} enrollments kept changing while they were written")


def rounds(items: Iterable[T], key: Callable[[T], object]) -> Iterable[list[T]]:
    """The items in rounds, so that no round names a key twice and each key's items keep their order."""
    waiting: dict[object, list[T]] = {}
    for item in items:
        waiting.setdefault(key(item), []).append(item)
    queues = list(waiting.values())
    for turn in range(max(map(len, queues), default=0)):
        yield [queue[turn] for queue in queues if turn < len(queue)]
