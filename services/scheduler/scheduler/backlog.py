"""Measures how long what is due, dispatched, or to be stopped has been waiting."""

from collections.abc import Callable, Sequence
from datetime import datetime

from chassis import documents as names
from chassis.clock import Clock
from chassis.store import Database, Document
from chassis.telemetry import gauge
from scheduler.model import State
from scheduler.store import SHARDS_PER_QUERY

LOOK_SECONDS = 10.0
MOST_READ = 2000
"""Of what waits for an answer in a group of shards; with more than that, all of them are late."""

OVERDUE = gauge("segue_scheduler_overdue_seconds", "Business seconds past due of what waits longest")
UNANSWERED = gauge(
    "segue_scheduler_unanswered_seconds", "Real seconds since the oldest dispatch without an outcome"
)
UNAPPLIED = gauge(
    "segue_scheduler_stops_unapplied_seconds", "Real seconds since the oldest stop that has not ended all yet"
)


class BacklogStore:
    """Reads only, of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._stops = database.collection(names.STOPS)

    async def due_since(self, shards: Sequence[int], now: datetime) -> datetime | None:
        """Since when the stage that waits longest is due."""
        found = await self._first(shards, now, State.SCHEDULED, 1)
        return min((e["due_at"] for e in found), default=None)

    async def dispatched_since(self, shards: Sequence[int], until: datetime) -> datetime | None:
        """When (real time) the oldest dispatch went out that nobody has answered."""
        found = await self._first(shards, until, State.DISPATCHED, MOST_READ)
        return min((e["updated_at"] for e in found), default=None)

    async def stopping_since(self) -> datetime | None:
        """When (real time) the oldest stop was stored that has not ended everybody it reaches."""
        found = await self._stops.find(
            {"applied": False}, projection={"recorded_at": 1}, sort=[("recorded_at", 1)], limit=1
        )
        return found[0]["recorded_at"] if found else None

    async def _first(
        self, shards: Sequence[int], until: datetime, state: State, limit: int
    ) -> list[Document]:
        found: list[Document] = []
        for at in range(0, len(shards), SHARDS_PER_QUERY):
            some = list(shards[at : at + SHARDS_PER_QUERY])
            found += await self._enrollments.find(
                {"shard": {"$in": some}, "due_at": {"$lte": until}, "state": state.value},
                projection={"due_at": 1, "updated_at": 1},
                sort=[("due_at", 1)],
                limit=limit,
            )
        return found


class Backlog:
    """Each instance looks at its own shards, and at the stops, which are everybody's."""

    def __init__(
        self,
        store: BacklogStore,
        clock: Clock,
        *,
        shards: Callable[[], Sequence[int]],
        redelivery_seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._shards = shards
        self._redelivery_seconds = redelivery_seconds

    async def look(self) -> None:
        """Put what is found into the metrics; raises Retry."""
        shards, now, real_now = self._shards(), self._clock.now(), self._clock.real_now()
        # What was dispatched is due again at the latest by then.
        until = self._clock.in_real(self._redelivery_seconds)
        OVERDUE.set(_age(await self._store.due_since(shards, now), now))
        UNANSWERED.set(_age(await self._store.dispatched_since(shards, until), real_now))
        UNAPPLIED.set(_age(await self._store.stopping_since(), real_now))


def _age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0
