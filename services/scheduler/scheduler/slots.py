"""Room for what is due under sending limits: the first free slot, reserved before anything is dispatched."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chassis.caps import DAY, Cap
from chassis.clock import Clock
from chassis.documents import slot_id
from chassis.errors import Retry
from chassis.telemetry import counter
from scheduler.model import Document, Step
from scheduler.open_time import Span
from scheduler.plan import Refused
from scheduler.room import Room
from scheduler.search import Vacancy, share
from scheduler.slot_store import Slot, SlotStore
from segue_contracts.ids import dispatch_id

VALID_SECONDS = 300
VALID_REAL_SECONDS = 5.0
"""A slot that is not spent so soon is void: on a fast clock, in real time."""
SKEW_SECONDS = 10
"""How far the clocks of two services may be apart, at most."""
MOST_OFFSET_SECONDS = 120
ROOMS_KEPT = 20_000
TRIES = 20

PLACED = counter("segue_scheduler_slots", "Slots reserved under sending limits", ["kind"])

Plan = Callable[[Vacancy], Step | Refused]


@dataclass(frozen=True, slots=True)
class Asked:
    """Room wanted now for the next attempt of an enrollment's stage; `plan` finds the time in what is free.

    `hours`: equal for those whose stages may go at the same times.
    """

    enrollment: Document
    caps: tuple[Cap, ...]
    plan: Plan
    hours: Hashable


class Slots:
    """Reserves room, batch by batch, and knows what was reserved."""

    def __init__(self, store: SlotStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._valid = max(VALID_SECONDS, int(VALID_REAL_SECONDS * clock.speed))
        self._books: OrderedDict[UUID, _Book] = OrderedDict()
        self._alone = asyncio.Lock()

    async def valid(self, enrollments: Sequence[Document]) -> set[UUID]:
        """Which of these have a slot for their next attempt that may be spent now."""
        ids = {next_slot_id(e): e["_id"] for e in enrollments}
        found = await self._store.valid({e["workspace_id"] for e in enrollments}, ids, self._clock.now())
        return {ids[each] for each in found}

    async def place(self, asked: Sequence[Asked]) -> dict[UUID, Step | Refused]:
        """The time of each under its caps, in the order of the list: reserved, and free for nobody else."""
        found: dict[UUID, Step | Refused] = {}
        async with self._alone:
            for workspace in dict.fromkeys(a.enrollment["workspace_id"] for a in asked):
                theirs = [a for a in asked if a.enrollment["workspace_id"] == workspace]
                found |= await self._place(workspace, theirs)
        return found

    async def free(self, enrollments: Iterable[Document]) -> None:
        """Give back the room of enrollments that have ended or wait for a hold's end."""
        gone = list(enrollments)
        if gone:
            await self._store.free({e["workspace_id"] for e in gone}, [e["_id"] for e in gone])

    async def sweep(self) -> None:
        """Delete slots that no window reaches any more."""
        await self._store.forget(self._clock.now() - timedelta(seconds=2 * DAY + self._valid))

    async def _place(self, workspace: UUID, asked: Sequence[Asked]) -> dict[UUID, Step | Refused]:
        """Choose and write; from the start if another scheduler wrote to the book meanwhile."""
        for _ in range(TRIES):
            book = await self._book(workspace, [cap for a in asked for cap in a.caps])
            found, slots = self._choose(book, asked)
            # What was chosen is in the book that is kept only if it is written, too.
            del self._books[workspace]
            revision = await self._store.reserve(workspace, book.revision, slots)
            if revision is not None:
                self._books[workspace] = replace(book, revision=revision)
                PLACED.labels("reserved").inc(len(slots))
                return found
            PLACED.labels("again").inc()
        raise Retry("slots are reserved faster than this scheduler can choose")

    async def _book(self, workspace: UUID, caps: Sequence[Cap]) -> "_Book":
        """What is taken, as of the book's revision; kept until somebody else writes."""
        revision = await self._store.revision(workspace)
        book = self._books.get(workspace)
        if book is None or book.revision != revision or len(book.rooms) > ROOMS_KEPT:
            self._books.pop(workspace, None)
            book = self._books[workspace] = _Book(revision)
        while sum(len(each.rooms) for each in self._books.values()) > ROOMS_KEPT and len(self._books) > 1:
            self._books.popitem(last=False)
        missing = {key: some for key, some in _by_key(caps).items() if some not in book.rooms.get(key, {})}
        taken: dict[str, list[int]] = {key: [] for key in missing}
        since = self._clock.now() - timedelta(seconds=DAY + self._valid)
        if missing:
            for keys, at in await self._store.taken(workspace, missing, since):
                for key in missing.keys() & set(keys):
                    taken[key].append(int(at.timestamp()))
        for key, some in missing.items():
            book.rooms.setdefault(key, {})[some] = Room(map(self._safe, some), taken[key])
        return book

    def _safe(self, cap: Cap) -> Cap:
        """A message may go as late as its slot is valid: wider windows keep the true ones under the cap.

        A paced one is kept by the sender as well: it would be much wider otherwise.
        """
        return cap if cap.paced else replace(cap, seconds=cap.seconds + self._valid + SKEW_SECONDS)

    def _choose(self, book: "_Book", asked: Sequence[Asked]) -> tuple[dict[UUID, Step | Refused], list[Slot]]:
        now = int(self._clock.now().timestamp())
        found: dict[UUID, Step | Refused] = {}
        slots: list[Slot] = []
        for each in asked:
            theirs = _by_key(each.caps)
            rooms = [book.rooms[key][some] for key, some in theirs.items()]
            searching = _Searching(rooms, now, each, book.full.get((each.caps, each.hours)))
            step = each.plan(searching)
            found[each.enrollment["_id"]] = step
            if isinstance(step, Step):
                if searching.full_until is not None:
                    book.full[each.caps, each.hours] = searching.full_until
                book.take(theirs, int(step.at.timestamp()))
                slots.append(self._slot(each, step))
        return found, slots

    def _slot(self, asked: Asked, step: Step) -> Slot:
        return Slot(
            id=next_slot_id(asked.enrollment),
            enrollment_id=asked.enrollment["_id"],
            keys=tuple(dict.fromkeys(cap.key for cap in asked.caps)),
            at=step.at,
            until=step.at + timedelta(seconds=self._valid),
        )


@dataclass(frozen=True, slots=True)
class _Book:
    """A workspace's rooms as they were at a revision, by key and by the caps that were asked for it (new ones
    after a change of settings); freed room shows when it is read anew.
    """

    revision: int
    rooms: dict[str, dict[tuple[Cap, ...], Room]] = field(default_factory=dict)
    full: dict[tuple[tuple[Cap, ...], Hashable], datetime] = field(default_factory=dict)
    """Until when there is no room within the same hours: room is only taken while the book is kept."""

    def take(self, keys: Iterable[str], at: int) -> None:
        """One more at that instant under each key."""
        for key in keys:
            for room in self.rooms[key].values():
                room.take(at)


@dataclass(slots=True)
class _Searching:
    """The vacancy for one message: the first time, not before now, at which every room is free."""

    rooms: Sequence[Room]
    now: int
    asked: Asked
    full_until: datetime | None
    """Before it nothing is free within the message's hours."""
    _refused: list[Span] = field(default_factory=list)

    def first(self, span: Span) -> datetime | None:
        start, end = max(int(span.start.timestamp()), self.now), int(span.end.timestamp())
        at = self._next_free(start)
        if at > start:
            at = self._offset(at)
        if at >= end:
            self._refused.append(span)
            return None
        found = datetime.fromtimestamp(at, UTC)
        # Of a range, a later part may have been refused first: only what ends before counts.
        ended = [each.end for each in self._refused if each.end <= found]
        self.full_until = max([*ended, *([self.full_until] if self.full_until else [])], default=None)
        return found

    def not_before(self, at: datetime) -> datetime:
        return at if self.full_until is None else max(at, self.full_until)

    def _next_free(self, at: int) -> int:
        before = None
        while at != before:
            before = at
            for room in self.rooms:
                at = room.next_free(at)
        return at

    def _offset(self, at: int) -> int:
        """A little later where there is a gap to keep, so that messages do not go out like a metronome."""
        gap = max((cap.seconds for cap in self.asked.caps if cap.paced), default=0)
        e = self.asked.enrollment
        later = at + share(dispatch_id(e["_id"], e["stage_id"]), min(gap // 2, MOST_OFFSET_SECONDS) + 1)
        return later if self._next_free(later) == later else at


def next_slot_id(e: Document) -> str:
    """The slot of the next attempt of an enrollment's stage."""
    return slot_id(dispatch_id(e["_id"], e["stage_id"]), e["attempt"] + 1)


def _by_key(caps: Iterable[Cap]) -> Mapping[str, tuple[Cap, ...]]:
    found: dict[str, tuple[Cap, ...]] = {}
    for cap in caps:
        if cap not in found.get(cap.key, ()):
            found[cap.key] = (*found.get(cap.key, ()), cap)
    return found
