"""Forgets a person: of what was sent to them, and of tasks about them, what happened and when stays."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.erasure import Erasure, Erasures, Owner, Round
from chassis.store import Database
from sender.model import Document, State
from sender.prompt_store import WORDS as PROMPT_WORDS
from sender.prompt_store import Told
from sender.retention import ERASED as WORDS

BATCH: Final = 200
IN_MOTION: Final = [State.CLAIMED.value, State.TRANSMITTING.value]
"""A process holds these and may write into them; they leave these states by themselves."""
PERSONAL: Final = {
    **WORDS,
    **dict.fromkeys(("recipient", "bcc", "task.subject", "task.note"), ""),
}


class WordStore:
    """What the sender keeps of one person. Everything may be repeated, and may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database.collection(names.DELIVERIES)
        self._prompts = database.collection(names.PROMPTS)
        self._files = database.files("bodies")

    async def with_words(self, erasure: Erasure, enrollments: Sequence[UUID], limit: int) -> list[Document]:
        """Deliveries that rest and are not erased yet, or have words again: of another attempt, or a note."""
        worded = [{"person_erased_at": None}, *({name: {"$exists": True}} for name in PERSONAL)]
        found = {**_theirs(erasure, enrollments), "state": {"$nin": IN_MOTION}, "$or": worded}
        return await self._deliveries.find(
            found, projection={"recipient": 1, "body_file": 1, "state": 1, "token": 1}, limit=limit
        )

    async def in_motion(self, erasure: Erasure, enrollments: Sequence[UUID]) -> bool:
        """Whether a process may still write into one of them."""
        found = {**_theirs(erasure, enrollments), "state": {"$in": IN_MOTION}}
        return await self._deliveries.find_one(found, projection={"_id": 1}) is not None

    async def forget(self, erasure: Erasure, delivery: Document, clock: Clock) -> bool:
        """Erase one that is still as it was read. The file first: while the document names one, it is not
        forgotten.
        """
        if delivery.get("body_file"):
            await self._files.delete(delivery["body_file"])
            await faults.point("sender.person_body_deleted")
        same = {name: delivery[name] for name in ("_id", "state", "token")}
        now = clock.now()
        marks: Document = {"person_erased_at": now, "erased_at": now}
        subject = {"$cond": [{"$eq": [{"$type": "$subject"}, "missing"]}, "$$REMOVE", ""]}
        return await self._deliveries.update_one(
            {**same, "workspace_id": erasure.workspace_id},
            [{"$set": {**marks, "subject": subject}}, {"$unset": list(PERSONAL)}],
        )

    async def dispatches(self, erasure: Erasure, enrollments: Sequence[UUID]) -> list[str]:
        """The ids of all that was, or was to be, sent to them."""
        found = await self._deliveries.find(_theirs(erasure, enrollments), projection={"_id": 1})
        return [doc["_id"] for doc in found]

    async def forget_prompts(self, erasure: Erasure, dispatches: Sequence[str]) -> int:
        """What a user is just being told of their tasks is not told, where the person is among them."""
        found = {
            "workspace_id": erasure.workspace_id,
            "next_at": {"$type": "date"},
            "dispatches": {"$in": list(dispatches)},
        }
        gone = {"$set": {"state": Told.FAILED.value}, "$unset": {"next_at": "", **PROMPT_WORDS}}
        return await self._prompts.update_many(found, gone)


class Forgetting:
    """Does the sender's part of an erasure."""

    def __init__(self, erasures: Erasures, words: WordStore, clock: Clock) -> None:
        self._erasures = erasures
        self._words = words
        self._clock = clock

    async def sweep(self) -> None:
        """Go on with everybody of whom something is left here."""
        await self._erasures.sweep(Owner.SENDER, self.erase)

    async def erase(self, erasure: Erasure) -> Round:
        """Not done while something of theirs may be on its way: its bytes are needed, and come again."""
        has_live = await self._erasures.has_live(erasure)
        enrollments = await self._erasures.enrollments_of(erasure)
        count = 0
        while found := await self._words.with_words(erasure, enrollments, BATCH):
            sought = erasure.sought.with_reached(each.get("recipient") or "" for each in found)
            if await self._erasures.widen(erasure, sought):
                return Round({"deliveries": count}, is_done=False)
            for each in found:
                count += await self._words.forget(erasure, each, self._clock)
                await faults.point("sender.delivery_forgotten")
        dispatches = await self._words.dispatches(erasure, enrollments)
        prompts = await self._words.forget_prompts(erasure, dispatches)
        left = has_live or await self._words.in_motion(erasure, enrollments)
        return Round({"deliveries": count, "prompts": prompts}, is_done=not left)


def _theirs(erasure: Erasure, enrollments: Sequence[UUID]) -> Document:
    return {"workspace_id": erasure.workspace_id, "enrollment_id": {"$in": list(enrollments)}}
