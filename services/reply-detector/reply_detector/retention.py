"""Erases the words of old answers, as their workspace's rule says; verdicts, ids and times stay."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.retention import Rounds, Strays
from chassis.store import Database, Document, Index, Stored
from reply_detector import telemetry
from reply_detector.model import State

BATCH = 200
MOST_BATCHES = 100
"""Of one workspace in one round: the others want to have their turn."""
RAW = ("raw", "raw_file")
"""Where the bytes are: in the document, or in a file beside it."""
INDEXES = tuple(
    Index((("workspace_id", 1), ("received_at", 1)), name=f"kept_{place}", partial={place: {"$exists": True}})
    for place in RAW
)


class RawStore:
    """Bounded reads, and writes that may be repeated. Everything may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._inbound = database.collection(names.INBOUND)
        self._files = database.files()

    async def old(self, workspace: UUID, place: str, before: datetime, limit: int) -> list[Document]:
        """Messages that came before then, that are judged and owe nothing, the oldest first."""
        return await self._inbound.find(
            {
                "workspace_id": workspace,
                "received_at": {"$lt": before},
                place: {"$exists": True},
                "state": State.SETTLED.value,
            },
            projection={"raw_file": 1},
            sort=[("received_at", 1)],
            limit=limit,
        )

    async def erase(self, workspace: UUID, found: Sequence[Document], at: datetime) -> int:
        """How many of them were erased. Files first: while the document names one, it is not forgotten."""
        for doc in found:
            if doc.get("raw_file") is not None:
                await self._files.delete(doc["raw_file"])
                await faults.point("reply_detector.raw_deleted")
        guard = {"workspace_id": workspace, "state": State.SETTLED.value, "erased_at": None}
        change: list[Document] = [
            {
                "$set": {
                    "verdict": _without_text("$verdict"),
                    "answer": _without_text("$answer"),
                    "erased_at": at,
                }
            },
            {"$unset": [*RAW, "text"]},
        ]
        return await self._inbound.update_by_ids([doc["_id"] for doc in found], guard, change)

    async def oldest(self, workspace: UUID) -> datetime | None:
        """When the oldest message that still has its bytes came."""
        found = [
            await self._inbound.find_one(
                {"workspace_id": workspace, place: {"$exists": True}},
                projection={"received_at": 1},
                sort=[("received_at", 1)],
            )
            for place in RAW
        ]
        return min((doc["received_at"] for doc in found if doc is not None), default=None)

    async def named(self, files: Sequence[Stored]) -> set[UUID]:
        """Those that a message names, by whose id they are called. All workspaces: a sweep."""
        ids = [UUID(each.name) for each in files if each.name is not None]
        found = await self._inbound.find({"_id": {"$in": ids}}, projection={"raw_file": 1})
        return {doc["raw_file"] for doc in found if doc.get("raw_file") is not None}


class Retention:
    """One for the process; several processes may sweep at once."""

    def __init__(self, database: Database, clock: Clock, stopping: asyncio.Event) -> None:
        self.store = RawStore(database)
        self._rounds = Rounds(database, clock, stopping)
        self._strays = Strays(database.files(), self.store.named, clock)
        self._clock = clock
        self._stopping = stopping

    async def sweep(self) -> None:
        """One round over all workspaces; what is left then waits for the next one."""
        age = await self._rounds.over(lambda rule: rule.inbound_days, self._erase, self.store.oldest)
        telemetry.OLDEST_RAW.set(age)
        telemetry.STRAY_FILES.inc(await self._strays.sweep())

    async def _erase(self, workspace: UUID, before: datetime) -> int:
        return sum([await self._erase_from(workspace, place, before) for place in RAW])

    async def _erase_from(self, workspace: UUID, place: str, before: datetime) -> int:
        erased = 0
        for _ in range(MOST_BATCHES):
            found = await self.store.old(workspace, place, before, BATCH)
            count = await self.store.erase(workspace, found, self._clock.now()) if found else 0
            telemetry.ERASED.inc(count)
            erased += count
            if len(found) < BATCH or self._stopping.is_set():
                break
        return erased


def _without_text(field: str) -> Document:
    """The part of the document with an empty `text`; where it is missing or null it stays so."""
    emptied = {"$mergeObjects": [field, {"text": ""}]}
    return {"$cond": [{"$eq": [{"$type": field}, "object"]}, emptied, field]}
