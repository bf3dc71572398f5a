"""Writes changes and tells the world: no event is lost between the write that makes it and the brokers.

The write that changes an enrollment keeps its events, in the history. A document in the outbox names the
enrollments of a batch before they are written, and goes when the brokers have the events: what a crash leaves
there, a sweep tells.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID, uuid4

from chassis.clock import Clock
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.telemetry import Latest, counter
from scheduler.isolation import Isolation, Work
from scheduler.model import Document, is_aside
from scheduler.store import SchedulerStore, Write
from scheduler.story import event_of, number
from segue_contracts.message import to_utc_milliseconds

GUARD_TRIES = 8
UNTOLD_SECONDS = 10.0
UNWRITTEN_SECONDS = 3600.0
"""How long after it was announced a write may still come; the driver gives up within seconds."""
SWEEP_BATCH = 500
LOST_GUARDS = counter("segue_scheduler_lost_guards", "Writes whose enrollment had changed since it was read")
SEQUENCE_EVENTS = Latest(
    "segue_scheduler_sequence_events",
    "Events of enrollments published, by sequence; repetitions included",
    "sequence_id",
    ["event"],
)

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
        token, recorded_at = uuid4(), to_utc_milliseconds(self._clock.real_now())
        stories = [number(w.enrollment, w.change, recorded_at) for w in writes]
        owing = [_owing(w.enrollment, w.enrollment["rev"]) for w in writes if w.change.chapters]
        await self._owe(token, owing, recorded_at)
        applied = await self._store.write(writes, stories, token, recorded_at)
        if len(applied) < len(writes):
            LOST_GUARDS.inc(len(writes) - len(applied))
        made = zip(writes, stories, strict=True)
        await self._publish(
            ({**w.enrollment, **w.change.set}, story) for w, story in made if w.enrollment["_id"] in applied
        )
        await self._told(token, owing)
        return applied

    async def begin(self, enrollments: Sequence[Document], recorded_at: datetime) -> set[UUID]:
        """Insert new enrollments, made at `recorded_at`, and publish how they began; the ids inserted."""
        token, owing = uuid4(), [_owing(e, 0) for e in enrollments]
        await self._owe(token, owing, to_utc_milliseconds(recorded_at))
        inserted = await self._store.insert(enrollments)
        await self._publish((e, e["history"]) for e in enrollments if e["_id"] in inserted)
        await self._told(token, owing)
        return inserted

    async def sweep(self) -> None:
        """Publish what a crash left untold."""
        now = self._clock.real_now()
        for owed in await self._store.untold(now, SWEEP_BATCH):
            await self._tell_owed(owed, now)

    async def _publish(self, stories: Iterable[tuple[Document, Sequence[Document]]]) -> None:
        told = [(e, chapter) for e, story in stories for chapter in story]
        records = [Record.of(event_of(e, chapter)) for e, chapter in told]
        counts = Counter((e["sequence_id"], chapter["type"]) for e, chapter in told)
        for (sequence, event), count in counts.items():
            SEQUENCE_EVENTS.count(sequence, event, by=count)
        await self._publisher.publish(records)

    async def _owe(self, token: UUID, owing: Sequence[Document], recorded_at: datetime) -> None:
        if owing:
            look_at = recorded_at + timedelta(seconds=UNTOLD_SECONDS)
            await self._store.owe(token, owing, recorded_at, look_at)

    async def _told(self, token: UUID, owing: Sequence[Document]) -> None:
        if owing:
            await self._store.told(token)

    async def _tell_owed(self, owed: Document, now: datetime) -> None:
        """Whoever is put aside owes on; and a write that could still come is waited for."""
        recorded_at: datetime = owed["recorded_at"]
        told: dict[UUID, Document] = {}
        found = {e["_id"]: e for e in await self._store.whole([each["_id"] for each in owed["owing"]])}

        async def tell(some: Sequence[Document]) -> None:
            await self._publish((e, _of(e, recorded_at)) for e in some)
            told.update({e["_id"]: e for e in some})

        telling = [e for e in found.values() if _of(e, recorded_at) and not is_aside(e, now)]
        await self._isolation.carry(Work.OUTBOX, telling, tell)
        await self._store.mended(list(told.values()))
        age = (now - recorded_at).total_seconds()
        left = [
            each
            for each in owed["owing"]
            if each["_id"] not in told and _still_owes(each, found.get(each["_id"]), recorded_at, age)
        ]
        if left:
            again = timedelta(seconds=min(max(age, UNTOLD_SECONDS), UNWRITTEN_SECONDS))
            await self._store.told_but(owed["_id"], left, now + again)
        else:
            await self._store.told(owed["_id"])


def _owing(e: Document, rev: int) -> Document:
    return {"_id": e["_id"], "rev": rev}


def _of(e: Document, recorded_at: datetime) -> list[Document]:
    """What the writes of that instant added to the story."""
    return [c for c in e["history"] if c["rec"] == recorded_at]


def _still_owes(owing: Document, e: Document | None, recorded_at: datetime, age: float) -> bool:
    """Written and not told; or not written, though a frozen writer might still do it."""
    if e is not None and (_of(e, recorded_at) or e["rev"] > owing["rev"]):
        return bool(_of(e, recorded_at))
    return age < UNWRITTEN_SECONDS


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
