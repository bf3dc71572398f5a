"""Uploaded files, in MongoDB: each is one document, so that there is never half of one."""

from collections.abc import Collection as Some
from typing import Final
from uuid import UUID

from api.paging import NEWEST_FIRST, PageQuery, read_page
from chassis import documents as names
from chassis.errors import Duplicate
from chassis.store import Database, Document, Index, Workspace

INDEXES: Final = (
    Index((("workspace_id", 1), ("sha256", 1), ("filename", 1), ("content_type", 1)), "same", unique=True),
    Index((("workspace_id", 1), ("created_at", -1), ("_id", -1)), "newest"),
)
_WITHOUT_CONTENT: Final[Document] = {"content": 0}


class Attachments:
    """Uploaded files; they never change, and one that a published version names is never deleted."""

    def __init__(self, database: Database) -> None:
        self._attachments = database.collection(names.ATTACHMENTS)

    async def add(self, attachment: Document) -> tuple[Document, bool]:
        """The file without its content, and whether it was new: the same again is the one that is there."""
        try:
            await self._attachments.insert_one(attachment)
        except Duplicate:
            same = {
                "workspace_id": attachment["workspace_id"],
                "sha256": attachment["sha256"],
                "filename": attachment["filename"],
                "content_type": attachment["content_type"],
            }
            found = await self._attachments.find_one(same, projection=_WITHOUT_CONTENT)
            if found is None:
                raise
            return found, False
        return {name: value for name, value in attachment.items() if name != "content"}, True

    async def one(self, workspace: Workspace, attachment_id: UUID) -> Document | None:
        """A file without its content."""
        found = {"_id": attachment_id, "workspace_id": workspace}
        return await self._attachments.find_one(found, projection=_WITHOUT_CONTENT)

    async def page(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """Files without their content, the newest first."""
        query = {"workspace_id": workspace}
        return await read_page(self._attachments, query, NEWEST_FIRST, page, dict, _WITHOUT_CONTENT)

    async def sizes(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, int]:
        """The bytes of those that are there."""
        found = await self._attachments.find(_named(workspace, ids), projection={"size": 1})
        return {doc["_id"]: doc["size"] for doc in found}

    async def use(self, workspace: Workspace, ids: Some[UUID]) -> bool:
        """Keep these for good: a version is about to name them. False if one was deleted meanwhile."""
        await self._attachments.update_many(_named(workspace, ids), {"$set": {"used": True}})
        kept = await self._attachments.find({**_named(workspace, ids), "used": True}, projection={"_id": 1})
        return len(kept) == len(set(ids))

    async def remove(self, workspace: Workspace, attachment_id: UUID) -> bool:
        """Whether it was there and no version names it."""
        return await self._attachments.delete_one(
            {"_id": attachment_id, "workspace_id": workspace, "used": False}
        )


def _named(workspace: Workspace, ids: Some[UUID]) -> Document:
    return {"_id": {"$in": list(ids)}, "workspace_id": workspace}
