"""Measures how long messages have been waiting for a verdict, or for somebody to confirm their stops."""

from datetime import datetime

from chassis import documents as names
from chassis.clock import Clock
from chassis.store import Database, Document
from reply_detector.model import State
from reply_detector.telemetry import UNSETTLED

LOOK_SECONDS = 10.0
MOST_READ = 2000
"""Of what is owed; with more than that, all of it is late."""


class BacklogStore:
    """Reads only, of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._inbound = database.collection(names.INBOUND)

    async def received_since(self) -> datetime | None:
        """When (business time) the oldest message arrived that has no verdict."""
        found = await self._inbound.find(
            {"state": State.RECEIVED.value},
            projection={"received_at": 1},
            sort=[("received_at", 1)],
            limit=1,
        )
        return found[0]["received_at"] if found else None

    async def owing_since(self) -> datetime | None:
        """When the oldest message was judged, or corrected, whose effect nobody has seen done."""
        found = await self._inbound.find(
            {"again_at": {"$exists": True}, "state": State.JUDGED.value},
            projection={"judged_at": 1, "correction.at": 1},
            sort=[("again_at", 1)],
            limit=MOST_READ,
        )
        return min(map(_owing_since, found), default=None)


class Backlog:
    """One in every instance; each looks at everything."""

    def __init__(self, store: BacklogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def look(self) -> None:
        """Put what is found into the metrics; raises Retry."""
        self._tell(State.RECEIVED, await self._store.received_since())
        self._tell(State.JUDGED, await self._store.owing_since())

    def _tell(self, state: State, since: datetime | None) -> None:
        business = (self._clock.now() - since).total_seconds() if since is not None else 0.0
        UNSETTLED.labels(state.value).set(max(0.0, business / self._clock.speed))


def _owing_since(inbound: Document) -> datetime:
    since: datetime = (inbound.get("correction") or {}).get("at") or inbound["judged_at"]
    return since
