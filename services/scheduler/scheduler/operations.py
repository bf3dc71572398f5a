"""What whoever runs Segue asks for on the command line: stop and resume everything, see what stands still."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from uuid import UUID

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import hold_id
from chassis.store import Database
from scheduler.model import Document, State
from scheduler.store import SchedulerStore
from segue_contracts.commands import HoldScope

ISSUER = "operations"
LATE_AFTER = timedelta(minutes=1)
COUNTED_UP_TO = 100_000


class Everything:
    """All workspaces at once, through documents alone: it works while Kafka and the services are away."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._store = SchedulerStore(database)
        self._clock = clock

    async def hold(self, reason: str) -> int:
        """Nothing new is sent from now on, from no workspace; how many there are.

        What is in DATA at this moment ends; the hold stands beside every pause that people have set.
        """
        workspaces = await self._store.workspaces()
        for workspace in workspaces:
            held = {"until": None, "reason": reason, "created_at": self._clock.now(), "lifted_at": None}
            await self._store.save_hold({**self._identity(workspace), **held})
        return len(workspaces)

    async def lift(self) -> int:
        """End the holds. The schedulers bring back what was parked, planned again from then."""
        workspaces = await self._store.workspaces()
        held = await self._store.holds(workspaces, map(operations_hold, workspaces))
        lifted = [each for each in held.values() if each["lifted_at"] is None]
        for hold in lifted:
            now = self._clock.now()
            await self._store.save_hold(
                {**self._identity(hold["workspace_id"]), "lifted_at": now, "last_lifted_at": now}
            )
        return len(lifted)

    def _identity(self, workspace: UUID) -> Document:
        return {
            "_id": operations_hold(workspace),
            "workspace_id": workspace,
            "scope": HoldScope.OPERATIONS.value,
            "scope_id": workspace,
            "by": ISSUER,
            "changed_at": self._clock.now(),
        }


def operations_hold(workspace: UUID) -> str:
    """The id of the operator's hold over a workspace."""
    return hold_id(HoldScope.OPERATIONS, workspace)


class Standing:
    """What does not move, of all workspaces; reads only."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def counts(self) -> dict[str, int]:
        """How many there are of each, counted no further than 100,000.

        `held_workspaces` by the operator; `overdue` for over a minute, of what is due; `unanswered`: asked
        again and again, because nobody says what became of it; the others in the words of the states.
        """
        now, real_now = self._clock.now(), self._clock.real_now()
        late = {"due_at": {"$lte": now - LATE_AFTER * self._clock.speed}}
        asked: dict[str, tuple[str, Document]] = {
            "held_workspaces": (names.HOLDS, {"scope": HoldScope.OPERATIONS.value, "lifted_at": None}),
            "overdue": (names.ENROLLMENTS, {"state": State.SCHEDULED.value, **late}),
            "unanswered": (names.ENROLLMENTS, {"state": State.DISPATCHED.value, **late}),
            "parked": (names.ENROLLMENTS, {"parked_by": {"$exists": True}}),
            "in_doubt": (names.ENROLLMENTS, {"state": State.IN_DOUBT.value, "ended": False}),
            "broken": (names.ENROLLMENTS, {"broken": {"$exists": True}}),
            "recalls_owed": (names.ENROLLMENTS, {"owes_recall": {"$exists": True}}),
            "stops_unapplied": (names.STOPS, {"applied": False}),
            "events_owed": (names.OUTBOX, {"look_at": {"$lte": real_now}}),
        }
        return {what: await self._count(collection, query) for what, (collection, query) in asked.items()}

    async def broken(self) -> AsyncIterator[Document]:
        """Each enrollment that can't be carried on, with its mark."""
        found = self._database.collection(names.ENROLLMENTS).stream(
            {"broken": {"$exists": True}},
            projection={"workspace_id": 1, "state": 1, "stage_id": 1, "broken": 1},
        )
        async for e in found:
            yield as_told(e)

    async def _count(self, collection: str, query: Document) -> int:
        return await self._database.collection(collection).count(query, limit=COUNTED_UP_TO)


def as_told(e: Document) -> Document:
    """A broken enrollment as one line of JSON data."""
    mark = e["broken"]
    told: Iterable[tuple[str, object]] = (
        ("enrollment_id", e["_id"]),
        ("workspace_id", e.get("workspace_id")),
        ("state", e.get("state")),
        ("stage_id", e.get("stage_id")),
        *((name, mark.get(name)) for name in ("work", "error", "tries", "since", "again_at")),
    )
    return {name: _plain(value) for name, value in told}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, int) else str(value)
