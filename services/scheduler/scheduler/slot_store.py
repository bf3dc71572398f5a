"""The documents of the slots: one for each reserved message, and for each workspace a book that orders them.

A reservation is one guarded write to the book: its `rev` must still be the one that was read before the taken
instants were, so two schedulers never give away the same room. What was reserved stands in `pending` until it
is copied to documents of its own, by whoever comes next if the writer dies. `forget` serves all workspaces.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis import documents as names
from chassis.errors import Retry
from chassis.store import Database, Index, ReplaceOne
from scheduler.model import Document

INDEXES: dict[str, Sequence[Index]] = {
    names.SLOTS: (
        Index((("workspace_id", 1), ("keys", 1), ("at", 1)), "keys"),
        Index((("workspace_id", 1), ("enrollment_id", 1)), "enrollment"),
        Index((("until", 1),), "until"),
    ),
}
TRIES = 50


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for one attempt of a dispatch, in `[at, until)`: business time, whole seconds."""

    id: str
    enrollment_id: UUID
    keys: tuple[str, ...]
    at: datetime
    until: datetime


class SlotStore:
    """Slots and books."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._slots = database.collection(names.SLOTS)
        self._books = database.collection(names.SLOT_BOOKS)

    async def revision(self, workspace: UUID) -> int:
        """The book's revision, with nothing pending; what was is carried out first."""
        for _ in range(TRIES):
            book = await self._book(workspace)
            if not book["pending"]:
                return int(book["rev"])
            await self._carry_out(book)
        raise Retry("a book of slots is written faster than it can be carried out")

    async def taken(
        self, workspace: UUID, keys: Iterable[str], since: datetime
    ) -> list[tuple[tuple[str, ...], datetime]]:
        """The keys and instants of the slots from `since` on that have one of these keys."""
        found = await self._slots.find(
            {"workspace_id": workspace, "keys": {"$in": list(keys)}, "at": {"$gte": since}},
            projection={"keys": 1, "at": 1},
        )
        return [(tuple(doc["keys"]), doc["at"]) for doc in found]

    async def reserve(self, workspace: UUID, revision: int, slots: Sequence[Slot]) -> int | None:
        """Write the slots if the book still is at that revision; returns the new one, else None.

        A slot with the same id is moved: the room it had is free.
        """
        if not slots:
            return revision
        pending = [_document(workspace, slot, revision + 1) for slot in slots]
        book = {"_id": workspace, "workspace_id": workspace, "rev": revision + 1, "pending": pending}
        if not await self._books.replace_one({**_of(workspace), "rev": revision}, book):
            return None
        await self._carry_out(book)
        return revision + 2

    async def valid(self, workspaces: Iterable[UUID], ids: Iterable[str], now: datetime) -> set[str]:
        """Which of these slots may be spent now."""
        found = await self._slots.find(
            {
                "_id": {"$in": list(ids)},
                "workspace_id": {"$in": list(workspaces)},
                "spent_at": None,
                "at": {"$lte": now},
                "until": {"$gt": now},
            },
            projection={"_id": 1},
        )
        return {doc["_id"] for doc in found}

    async def free(self, workspaces: Iterable[UUID], enrollments: Iterable[UUID]) -> None:
        """Give back the unspent slots of these enrollments; the books move on: everybody looks anew."""
        within = {"$in": list(workspaces)}
        unspent = {"workspace_id": within, "enrollment_id": {"$in": list(enrollments)}, "spent_at": None}
        if await self._slots.delete_many(unspent):
            await self._books.update_many({"_id": within, "workspace_id": within}, {"$inc": {"rev": 1}})

    async def forget(self, until: datetime) -> int:
        """Delete what no window reaches any more, spent or not, in all workspaces."""
        return await self._slots.delete_many({"until": {"$lt": until}})

    async def _book(self, workspace: UUID) -> Document:
        book = await self._books.find_one(_of(workspace))
        if book is None:
            await self._books.insert_new(
                [{"_id": workspace, "workspace_id": workspace, "rev": 0, "pending": []}]
            )
            book = await self._books.find_one(_of(workspace))
        assert book is not None, "just inserted"
        return book

    async def _carry_out(self, book: Document) -> None:
        """Copy what is pending, then clear it; each step may be done twice."""
        older: list[Any] = [
            ReplaceOne(
                {"_id": slot["_id"], "workspace_id": slot["workspace_id"], "n": {"$lt": slot["n"]}},
                slot,
                upsert=True,
            )
            for slot in book["pending"]
        ]
        if older:
            await self._slots.bulk(older)
        cleared = {**book, "rev": book["rev"] + 1, "pending": []}
        await self._books.replace_one({**_of(book["_id"]), "rev": book["rev"]}, cleared)


def _of(workspace: UUID) -> Document:
    """The book of a workspace."""
    return {"_id": workspace, "workspace_id": workspace}


def _document(workspace: UUID, slot: Slot, revision: int) -> Document:
    return {
        "_id": slot.id,
        "workspace_id": workspace,
        "enrollment_id": slot.enrollment_id,
        "keys": list(slot.keys),
        "at": slot.at,
        "until": slot.until,
        "spent_at": None,
        "n": revision,
    }
