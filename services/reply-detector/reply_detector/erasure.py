"""Forgets a person: of messages from, to or about them, what they were taken for and what they did stays."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.erasure import Erasure, Erasures, Owner, Round
from chassis.personal import messages_of, without_mailboxes
from chassis.store import Database, Document, Index
from reply_detector.model import State

BATCH: Final = 200
MOST_UNJUDGED: Final = 1000
INDEXES: Final = (
    Index(
        (("workspace_id", 1), ("addresses", 1)), name="addresses", partial={"addresses": {"$exists": True}}
    ),
    Index((("of_erased", 1),), name="of_erased", partial={"of_erased": True}),
)
WORDS: Final = ["raw", "raw_file", "text", "from_phone", "to_phone", "addresses", "error", "of_erased"]
BLANKS: Final[dict[str, Document]] = {
    "verdict": {
        **dict.fromkeys(("text", "original_recipient", "message_id", "from_address", "subject"), ""),
        **{name: [] for name in ("evidence", "recipients", "references", "to_addresses")},
    },
    "answer": dict.fromkeys(("from_address", "subject", "text"), ""),
    "effect": {"suppress": [], "suppress_phones": []},
}
"""What is left in these parts of a message instead of words and addresses; each can still be read."""


class WordStore:
    """The messages of one person. Everything may be repeated, and may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._inbound = database.collection(names.INBOUND)
        self._files = database.files()

    async def narrowed(self, erasure: Erasure) -> Erasure:
        """The same without what would find messages of others."""
        sought = await without_mailboxes(self._database, erasure.workspace_id, erasure.sought)
        return replace(erasure, sought=sought)

    async def theirs(
        self, erasure: Erasure, enrollments: Collection[UUID], states: Collection[State], limit: int
    ) -> list[Document]:
        """Judged messages in these states that are not erased yet: by whom they were matched to, or by an
        address in them.
        """
        rest = {
            "workspace_id": erasure.workspace_id,
            "state": {"$in": [state.value for state in states]},
            "person_erased_at": None,
        }
        found: dict[UUID, Document] = {}
        for way in messages_of([erasure.id], enrollments, erasure.sought):
            docs = await self._inbound.find({**rest, **way}, projection={"raw_file": 1}, limit=limit)
            found |= {doc["_id"]: doc for doc in docs}
        return list(found.values())

    async def has_unjudged(self, erasure: Erasure) -> bool:
        """Whether a message that nobody has judged yet may be theirs: the next rounds find out."""
        waiting = await self._inbound.find(
            {"workspace_id": erasure.workspace_id, "state": State.RECEIVED.value},
            projection={"raw": 1, "raw_file": 1},
            sort=[("received_at", 1)],
            limit=MOST_UNJUDGED,
        )
        if any([await self._names(doc, erasure) for doc in waiting]):
            return True
        return len(waiting) == MOST_UNJUDGED

    async def unreadable(self, erasure: Erasure) -> list[Document]:
        """What came from a provider in a form that nobody could judge, and names one of their addresses."""
        docs = self._inbound.stream(
            {"workspace_id": erasure.workspace_id, "unreadable": {"$exists": True}, "person_erased_at": None},
            projection={"raw": 1, "raw_file": 1},
        )
        return [
            {"_id": doc["_id"], "raw_file": doc.get("raw_file")}
            async for doc in docs
            if await self._names(doc, erasure)
        ]

    async def _names(self, doc: Document, erasure: Erasure) -> bool:
        raw = doc.get("raw") or (await self._files.get(doc["raw_file"]) if doc.get("raw_file") else b"")
        text = bytes(raw or b"").lower()
        return any(word.lower().encode() in text for word in erasure.sought.reached)

    async def late(self, limit: int) -> list[Document]:
        """Messages of people who had been erased before they came. A sweep: all workspaces."""
        return await self._inbound.find(
            {"of_erased": True, "state": State.SETTLED.value},
            projection={"workspace_id": 1, "raw_file": 1},
            limit=limit,
        )

    async def forget(self, workspace: UUID, found: Sequence[Document], clock: Clock) -> int:
        """How many of these were erased. Files first: while the document names one, it is not forgotten."""
        for doc in found:
            if doc.get("raw_file") is not None:
                await self._files.delete(doc["raw_file"])
                await faults.point("reply_detector.person_raw_deleted")
        guard = {
            "workspace_id": workspace,
            "state": State.SETTLED.value,
            "person_erased_at": None,
        }
        now = clock.now()
        blanked = {name: _blanked(f"${name}", blanks) for name, blanks in BLANKS.items()}
        change: list[Document] = [
            {"$set": {**blanked, "erased_at": now, "person_erased_at": now}},
            {"$set": {"effect": _without_companies("$effect")}},
            {"$unset": WORDS},
        ]
        return await self._inbound.update_by_ids([doc["_id"] for doc in found], guard, change)


class Forgetting:
    """Does the reply detector's part of an erasure."""

    def __init__(self, erasures: Erasures, words: WordStore, clock: Clock) -> None:
        self._erasures = erasures
        self._words = words
        self._clock = clock

    async def sweep(self) -> None:
        """Go on with everybody of whom something is left here."""
        await self._erasures.sweep(Owner.REPLY_DETECTOR, self.erase)
        for doc in await self._words.late(BATCH):
            await self._words.forget(doc["workspace_id"], [doc], self._clock)

    async def erase(self, erasure: Erasure) -> Round:
        """Not done while a message of theirs owes a stop, or is not judged: then its words are needed."""
        erasure = await self._words.narrowed(erasure)
        unjudged = await self._words.has_unjudged(erasure)
        enrollments = await self._erasures.enrollments_of(erasure)
        count = 0
        while found := await self._words.theirs(erasure, enrollments, [State.SETTLED], BATCH):
            count += await self._words.forget(erasure.workspace_id, found, self._clock)
        unreadable = await self._words.unreadable(erasure)
        count += await self._words.forget(erasure.workspace_id, unreadable, self._clock)
        owing = await self._words.theirs(erasure, enrollments, [State.JUDGED], 1)
        return Round({"messages": count}, is_done=not (unjudged or owing))


def _blanked(field: str, blanks: Document) -> Document:
    """The part with these blanks; where it is missing or null it stays so."""
    return {"$cond": [{"$eq": [{"$type": field}, "object"]}, {"$mergeObjects": [field, blanks]}, field]}


def _without_companies(field: str) -> Document:
    """An effect whose stops and corrections name a company by its place alone: it may be one person's."""
    unnamed: Document = {
        name: {
            "$map": {
                "input": {"$ifNull": [f"{field}.{name}", []]},
                "in": {
                    "$cond": [
                        {"$eq": ["$$this.scope", "company"]},
                        {"$mergeObjects": ["$$this", {"target": ""}]},
                        "$$this",
                    ]
                },
            }
        }
        for name in ("causes", "amends")
    }
    emptied = {"$mergeObjects": [field, unnamed]}
    return {"$cond": [{"$eq": [{"$type": field}, "object"]}, emptied, field]}
