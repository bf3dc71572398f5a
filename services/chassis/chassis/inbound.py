"""How a message from outside is made durable and pointed at: by webhooks and mailbox watchers alike."""

import hashlib
from datetime import datetime
from uuid import UUID, uuid4, uuid5

from chassis import documents as names
from chassis.store import Database, Document
from segue_contracts.events import InboundMessage

MAX_MESSAGE_BYTES = 25 * 1024 * 1024
"""What is larger is nobody's answer."""
MAX_INLINE_BYTES = 64 * 1024
"""What is larger is a file beside its document."""


def inbound_document(
    mailbox_id: UUID,
    workspace_id: UUID,
    raw: bytes,
    now: datetime,
    *,
    source: str,
    named: bytes | None = None,
) -> Document:
    """A message as it is stored, but for its bytes; `now` is a business instant.

    The same bytes in the same mailbox have the same id, whichever way they come. `named` takes the place of
    the bytes where their sender has a name of its own for a message and may write it differently next time.
    """
    digest = hashlib.sha256(raw if named is None else named).hexdigest()
    return {
        "_id": uuid5(mailbox_id, digest),
        "workspace_id": workspace_id,
        "mailbox_id": mailbox_id,
        "digest": digest,
        "size": len(raw),
        "received_at": now,
        "source": source,
        "verdict": None,
        "state": "received",
    }


def pointer(inbound: Document, real_now: datetime) -> InboundMessage:
    """What tells the detector; if it is lost, the detector's sweep finds the document."""
    return InboundMessage(
        event_id=uuid5(inbound["_id"], "received"),
        occurred_at=inbound["received_at"],
        recorded_at=real_now,
        workspace_id=inbound["workspace_id"],
        inbound_id=inbound["_id"],
        mailbox_id=inbound["mailbox_id"],
    )


class Inbound:
    """Inserts messages; from then on they are the detector's."""

    def __init__(self, database: Database) -> None:
        self._inbound = database.collection(names.INBOUND)
        self._files = database.files()

    async def add(self, inbound: Document, raw: bytes) -> bool:
        """Make a message durable with its bytes, a file first; whether it was new. May be repeated."""
        if len(raw) <= MAX_INLINE_BYTES:
            return bool(await self._inbound.insert_new([{**inbound, "raw": raw}]))
        return await self._add_with_file(inbound, raw)

    async def _add_with_file(self, inbound: Document, raw: bytes) -> bool:
        found = {"_id": inbound["_id"], "workspace_id": inbound["workspace_id"]}
        if await self._inbound.find_one(found, projection={"_id": 1}) is not None:
            return False
        # A fresh id: an upload that broke off may have left chunks under any id tried before.
        file_id = uuid4()
        await self._files.put(file_id, str(inbound["_id"]), raw)
        if await self._inbound.insert_new([{**inbound, "raw_file": file_id}]):
            return True
        stored = await self._inbound.find_one(found, projection={"raw_file": 1})
        if stored is None or stored.get("raw_file") != file_id:  # None: refused for another of its keys
            await self._files.delete(file_id)
        return False
