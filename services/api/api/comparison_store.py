"""The comparisons of variants: one document for the same words of one stage, with what was decided."""

from collections.abc import Collection as Some
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis import documents as names
from chassis.store import Database, Document, Index, Workspace

INDEXES: Final = (Index((("look_at", 1),), "look", partial={"look_at": {"$exists": True}}),)


class Comparisons:
    """`decision`: which variant won (None: people are split for good), by whom, when and on what numbers.

    `look_at` (a real instant): when the sweep looks whether the numbers decide; absent where it need not.
    """

    def __init__(self, database: Database) -> None:
        self._comparisons = database.collection(names.COMPARISONS)

    async def open(self, comparisons: Sequence[Document], real_now: datetime) -> None:
        """Have these looked at from now on, whether they are there or not; what was decided stays."""
        if not comparisons:
            return
        await self._comparisons.insert_new(comparisons)
        again = {"look_at": real_now, "opened_at": real_now, "wait_seconds": 0.0}
        await self._comparisons.update_many(
            {
                "_id": {"$in": [each["_id"] for each in comparisons]},
                "workspace_id": comparisons[0]["workspace_id"],
                "decision": None,
            },
            {"$set": again},
        )

    async def some(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, Document]:
        """Those of them that are there."""
        found = await self._comparisons.find({"_id": {"$in": list(ids)}, "workspace_id": workspace})
        return {doc["_id"]: doc for doc in found}

    async def due(self, real_now: datetime, limit: int) -> list[Document]:
        """Of all workspaces: those to be looked at, the longest waiting first."""
        return await self._comparisons.find(
            {"look_at": {"$lte": real_now}}, sort=[("look_at", 1)], limit=limit
        )

    async def put_off(self, doc: Document, look_at: datetime | None, **changed: object) -> bool:
        """Look again then, or (None) never; False if somebody else has said meanwhile when."""
        found = {"_id": doc["_id"], "workspace_id": doc["workspace_id"], "look_at": doc["look_at"]}
        if look_at is None:
            return await self._comparisons.update_one(found, {"$unset": {"look_at": ""}})
        return await self._comparisons.update_one(found, {"$set": {**changed, "look_at": look_at}})

    async def decide(self, doc: Document, decision: Document) -> bool:
        """The numbers have decided, unless somebody was faster."""
        found = {"_id": doc["_id"], "workspace_id": doc["workspace_id"], "decision": None}
        return await self._comparisons.update_one(found, _decided(decision))

    async def overrule(self, comparison: Document, decision: Document) -> None:
        """A person has decided, whatever was decided before."""
        await self._comparisons.insert_new([comparison])
        found = {"_id": comparison["_id"], "workspace_id": comparison["workspace_id"]}
        await self._comparisons.update_one(found, _decided(decision))

    async def reopen(self, workspace: Workspace, comparison_id: UUID, real_now: datetime) -> None:
        """Nothing is decided any more: the numbers may."""
        again = {"look_at": real_now, "opened_at": real_now, "wait_seconds": 0.0}
        await self._comparisons.update_one(
            {"_id": comparison_id, "workspace_id": workspace}, {"$set": again, "$unset": {"decision": ""}}
        )


def _decided(decision: Document) -> Document:
    return {"$set": {"decision": decision}, "$unset": {"look_at": ""}}
