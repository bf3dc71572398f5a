"""Erases the words of old deliveries, as their workspace's rule says; what happened, and when, stays."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.retention import Rounds, Strays
from chassis.store import Database, Stored
from sender import metrics
from sender.model import Document, State

BATCH: Final = 200
MOST_BATCHES: Final = 100
"""Of one workspace in one round: the others want to have their turn."""
FINAL: Final = (State.SENT, State.REJECTED, State.DONE, State.SKIPPED)
"""Nothing is ever sent again from here."""
ERASABLE: Final = [state.value for state in (*FINAL, State.RELEASED)]
"""What was released is erased once its enrollment has ended: until then an attempt may need its bytes."""
WORDS: Final = ("text", "task.text")
"""Where a delivery's words are, in plain; each has an index of those that still have them."""
ERASED: Final = {"body": "", "body_file": "", "text": "", "task.text": "", "tracking": ""}


class BodyStore:
    """Bounded reads, and writes that may be repeated. Everything may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database.collection(names.DELIVERIES)
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._files = database.files("bodies")

    async def old(
        self, workspace: UUID, words: str, since: datetime | None, before: datetime, limit: int
    ) -> list[Document]:
        """Deliveries with words that were settled before then, the oldest first; `since`: later than that."""
        settled: Document = {"$lt": before} if since is None else {"$lt": before, "$gt": since}
        return await self._deliveries.find(
            {
                "workspace_id": workspace,
                "settled_at": settled,
                words: {"$exists": True},
                "state": {"$in": ERASABLE},
            },
            projection={"state": 1, "enrollment_id": 1, "body_file": 1, "settled_at": 1},
            sort=[("settled_at", 1)],
            limit=limit,
        )

    async def ended(self, workspace: UUID, ids: Sequence[UUID]) -> set[UUID]:
        """Which of these enrollments have ended; one that is gone has."""
        if not ids:
            return set()
        live = await self._enrollments.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}, "ended": False}, projection={"_id": 1}
        )
        return set(ids) - {doc["_id"] for doc in live}

    async def erase(self, workspace: UUID, found: Sequence[Document], at: datetime) -> int:
        """How many of them were erased. Files first: while the document names one, it is not forgotten."""
        for doc in found:
            if doc.get("body_file"):
                await self._files.delete(doc["body_file"])
                await faults.point("sender.body_deleted")
        guard = {"workspace_id": workspace, "state": {"$in": ERASABLE}, "erased_at": None}
        erased = {"$unset": ERASED, "$set": {"erased_at": at}}
        return await self._deliveries.update_by_ids([doc["_id"] for doc in found], guard, erased)

    async def oldest(self, workspace: UUID) -> datetime | None:
        """When the oldest delivery that still has its words was settled."""
        found = await self._deliveries.find_one(
            {"workspace_id": workspace, "settled_at": {"$exists": True}, "text": {"$exists": True}},
            projection={"settled_at": 1},
            sort=[("settled_at", 1)],
        )
        return found["settled_at"] if found else None

    async def named(self, files: Sequence[Stored]) -> set[str]:
        """Those that a delivery names, or that a claim of now has just written. All workspaces: a sweep.

        A file's id is the token of its claim, which ends with the dispatch id.
        """
        dispatches = [str(each.id).partition(":")[2] for each in files]
        found = await self._deliveries.find(
            {"_id": {"$in": dispatches}}, projection={"body_file": 1, "token": 1}
        )
        return {name for doc in found for name in (doc.get("body_file"), doc["token"]) if name}


class Retention:
    """One for the process; several processes may sweep at once."""

    def __init__(self, database: Database, clock: Clock, stopping: asyncio.Event) -> None:
        self._store = BodyStore(database)
        self._rounds = Rounds(database, clock, stopping)
        self._strays = Strays(database.files("bodies"), self._store.named, clock)
        self._clock = clock
        self._stopping = stopping

    async def sweep(self) -> None:
        """One round over all workspaces; what is left then waits for the next one."""
        age = await self._rounds.over(lambda rule: rule.bodies_days, self._erase, self._store.oldest)
        metrics.OLDEST_BODY.set(age)
        metrics.STRAY_BODIES.inc(await self._strays.sweep())

    async def _erase(self, workspace: UUID, before: datetime) -> int:
        return sum([await self._erase_words(workspace, words, before) for words in WORDS])

    async def _erase_words(self, workspace: UUID, words: str, before: datetime) -> int:
        """Batch after batch, past those that must stay."""
        erased, since = 0, None
        for _ in range(MOST_BATCHES):
            found = await self._store.old(workspace, words, since, before, BATCH)
            erased += await self._erase_batch(workspace, found)
            if len(found) < BATCH or self._stopping.is_set():
                break
            since = found[-1]["settled_at"]
        return erased

    async def _erase_batch(self, workspace: UUID, found: Sequence[Document]) -> int:
        open_ = [doc["enrollment_id"] for doc in found if doc["state"] == State.RELEASED]
        ended = await self._store.ended(workspace, open_)
        over = [doc for doc in found if doc["state"] != State.RELEASED or doc["enrollment_id"] in ended]
        count = await self._store.erase(workspace, over, self._clock.now()) if over else 0
        metrics.ERASED.inc(count)
        return count
