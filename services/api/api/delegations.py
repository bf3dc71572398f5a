"""Consents: who may send from whose mailbox, given by its user and taken back."""

from collections.abc import Collection as Some
from datetime import datetime
from uuid import UUID

from api.paging import NEWEST_FIRST, PageQuery, read_page
from chassis import documents as names
from chassis.documents import delegation_id
from chassis.store import Database, Document, Index, Workspace

INDEXES = (
    Index((("workspace_id", 1), ("mailbox_id", 1), ("created_at", -1)), "mailbox"),
    Index((("workspace_id", 1), ("user_id", 1), ("created_at", -1)), "user"),
)


def delegation_document(
    workspace: Workspace, mailbox_id: UUID, user_id: UUID, by: UUID, now: datetime
) -> Document:
    """A consent as it is stored; one that is taken back stays, `revoked_at` says since when."""
    return {
        "_id": delegation_id(mailbox_id, user_id),
        "workspace_id": workspace,
        "mailbox_id": mailbox_id,
        "user_id": user_id,
        "granted_by": by,
        "created_at": now,
        "revoked_at": None,
        "revoked_by": None,
    }


class Delegations:
    """Each pair of a mailbox and a user who sends from it has one document, or none before any consent."""

    def __init__(self, database: Database) -> None:
        self._delegations = database.collection(names.DELEGATIONS)

    async def one(self, workspace: Workspace, delegation: UUID) -> Document | None:
        """A consent, taken back or not."""
        return await self._delegations.find_one({"_id": delegation, "workspace_id": workspace})

    async def grant(self, delegation: Document) -> None:
        """Give it, anew where it was taken back; one that stands stays as it is."""
        if await self._delegations.insert_new([delegation]):
            return
        own = {"_id": delegation["_id"], "workspace_id": delegation["workspace_id"]}
        anew = {name: value for name, value in delegation.items() if name != "_id"}
        await self._delegations.update_one({**own, "revoked_at": {"$ne": None}}, {"$set": anew})

    async def revoke(self, workspace: Workspace, ids: Some[UUID], by: UUID, now: datetime) -> int:
        """Take back; how many stood."""
        return await self._delegations.update_many(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}, "revoked_at": None},
            {"$set": {"revoked_at": now, "revoked_by": by}},
        )

    async def forget(self, workspace: Workspace, delegation: UUID) -> None:
        """Nobody needs a consent for their own mailbox."""
        await self._delegations.delete_one({"_id": delegation, "workspace_id": workspace})

    async def standing(self, workspace: Workspace, ids: Some[UUID]) -> set[UUID]:
        """Which of these stand."""
        return await self._which(workspace, ids, None)

    async def withdrawn(self, workspace: Workspace, ids: Some[UUID]) -> set[UUID]:
        """Which of these were taken back."""
        return await self._which(workspace, ids, {"$ne": None})

    async def _which(self, workspace: Workspace, ids: Some[UUID], revoked_at: object) -> set[UUID]:
        found = await self._delegations.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}, "revoked_at": revoked_at},
            projection={"_id": 1},
        )
        return {doc["_id"] for doc in found}

    async def of_mailbox(
        self, workspace: Workspace, mailbox_id: UUID, page: PageQuery
    ) -> tuple[list[Document], str | None]:
        """The consents of a mailbox's user that stand, the newest first."""
        found = {"workspace_id": workspace, "mailbox_id": mailbox_id, "revoked_at": None}
        return await read_page(self._delegations, found, NEWEST_FIRST, page, dict)

    async def to_user(
        self, workspace: Workspace, user_id: UUID, page: PageQuery
    ) -> tuple[list[Document], str | None]:
        """The consents that a user was given and that stand, the newest first."""
        found = {"workspace_id": workspace, "user_id": user_id, "revoked_at": None}
        return await read_page(self._delegations, found, NEWEST_FIRST, page, dict)

    async def around(
        self, workspace: Workspace, mailbox_ids: Some[UUID], user_id: UUID | None = None
    ) -> list[Document]:
        """All consents that stand for these mailboxes, or were given to the user."""
        theirs: list[Document] = [{"mailbox_id": {"$in": list(mailbox_ids)}}]
        if user_id is not None:
            theirs.append({"user_id": user_id})
        return await self._delegations.find(
            {"workspace_id": workspace, "revoked_at": None, "$or": theirs},
        )
