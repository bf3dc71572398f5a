"""What the mailbox watcher keeps: how far it has read each folder, and whether it gets in.

One document for each mailbox, `_id` its id: `inbox` and `sent` hold a cursor each. The watcher serves all
workspaces at once, so `watched` names none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from chassis import documents as names
from chassis.documents import DoubtView, WatchedMailbox
from chassis.errors import Duplicate
from chassis.inbound import Inbound
from chassis.store import Database, Document, Index
from reply_detector.imap import Trouble

INBOUND_INDEXES = (
    # A server that writes a message differently each time it is asked must not make two of it.
    Index(
        (("mailbox_id", 1), ("folder", 1), ("imap.uidvalidity", 1), ("imap.uid", 1)),
        name="uid",
        unique=True,
        partial={"imap.uid": {"$exists": True}},
    ),
)
MAILBOX_INDEXES = (Index((("imap.host", 1),), name="watched", partial={"imap.host": {"$exists": True}}),)


class Folder(StrEnum):
    """What a folder is for, whatever its server calls it; also the field that holds its cursor."""

    INBOX = "inbox"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything in the folder up to `uid` is stored, or was there before the mailbox was connected.

    `since` is the connection that it belongs to: see `ImapIdentity`.
    """

    name: str
    uidvalidity: int
    uid: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a mailbox from before. `looked_at`: it was all looked through then."""

    cursors: dict[Folder, Cursor]
    looked_at: datetime | None = None
    failing: bool = False


class CursorStore:
    """Cursors and health; reads mailboxes and what is in doubt, inserts inbound messages."""

    def __init__(self, database: Database) -> None:
        self._mailboxes = database.collection(names.MAILBOXES)
        self._cursors = database.collection(names.MAILBOX_CURSORS)
        self._deliveries = database.collection(names.DELIVERIES)
        self._inbound = Inbound(database)

    async def watched(self) -> list[WatchedMailbox]:
        """Of all workspaces: the mailboxes that have an IMAP server."""
        found = await self._mailboxes.find(
            {"imap.host": {"$exists": True}}, projection=WatchedMailbox.PROJECTION
        )
        return [WatchedMailbox.read(doc) for doc in found]

    async def standing(self, mailbox: WatchedMailbox) -> Standing:
        """How far it was read, and how it went last."""
        doc = await self._cursors.find_one(_key(mailbox)) or {}
        cursors = {folder: Cursor(**doc[folder]) for folder in Folder if doc.get(folder)}
        return Standing(cursors, doc.get("looked_at"), doc.get("failing_since") is not None)

    async def doubts(self, mailbox: WatchedMailbox, limit: int) -> list[DoubtView]:
        """What was sent from it, or was not, and nobody has decided about; the longest in doubt first."""
        found = await self._deliveries.find(
            {
                "workspace_id": mailbox.workspace_id,
                "mailbox_id": mailbox.id,
                "state": "in_doubt",
                "decision": None,
                "recalled_at": None,
                "message_id": {"$type": "string"},
            },
            projection=DoubtView.PROJECTION,
            sort=[("settled_at", 1)],
            limit=limit,
        )
        return [DoubtView.read(doc) for doc in found]

    async def keep(self, inbound: Document, raw: bytes) -> bool:
        """Make a message durable; whether it was new."""
        return await self._inbound.add(inbound, raw)

    async def move(
        self, mailbox: WatchedMailbox, folder: Folder, before: Cursor | None, after: Cursor
    ) -> bool:
        """From one place to the next; False if somebody else has moved it meanwhile."""
        change = {"$set": {folder.value: asdict(after)}}
        held: dict[str, Any] = {folder.value: None if before is None else asdict(before)}
        try:
            return await self._cursors.update_one({**_key(mailbox), **held}, change, upsert=before is None)
        except Duplicate:
            return False

    async def well(self, mailbox: WatchedMailbox, at: datetime) -> None:
        """All of it was looked through, and nothing is in the way any more."""
        change = {"$set": {"looked_at": at}, "$unset": {"failing_since": "", "trouble": "", "words": ""}}
        await self._cursors.update_one(_key(mailbox), change, upsert=True)

    async def failing(self, mailbox: WatchedMailbox, trouble: Trouble, words: str, at: datetime) -> None:
        """Something is in the way; since when is said once."""
        change: Sequence[Document] = [
            {
                "$set": {
                    "failing_since": {"$ifNull": ["$failing_since", at]},
                    "trouble": trouble.value,
                    "words": {"$literal": words},
                }
            }
        ]
        await self._cursors.update_one(_key(mailbox), change, upsert=True)


def _key(mailbox: WatchedMailbox) -> dict[str, UUID]:
    return {"_id": mailbox.id, "workspace_id": mailbox.workspace_id}
