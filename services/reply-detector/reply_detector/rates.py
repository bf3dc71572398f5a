"""What counts for and against a mailbox, by query over messages that came and deliveries that went.

`charged` serves all workspaces at once, as a sweep does.
"""

from datetime import datetime
from uuid import UUID

from chassis import documents as names
from chassis.rates import BOUNCE
from chassis.store import Database, Document
from reply_detector.mailboxes import Charged

MOST_MAILBOXES = 1000
MOST_COUNTED = 1_000_000


class Rates:
    """Reads only: inbound, deliveries, holds, mailboxes."""

    def __init__(self, database: Database) -> None:
        self._inbound = database.collection(names.INBOUND)
        self._deliveries = database.collection(names.DELIVERIES)
        self._holds = database.collection(names.HOLDS)
        self._mailboxes = database.collection(names.MAILBOXES)

    async def charged(self, since: datetime, least: int) -> list[Charged]:
        """The mailboxes with at least so many bounces and complaints since then, the most charged first."""
        told = [
            {"$match": {"answer.charge": {"$type": "string"}, "received_at": {"$gte": since}}},
            *_by_mailbox(),
        ]
        refused = [{"$match": {"bounced": True, "settled_at": {"$gte": since}}}, *_by_mailbox()]
        counted: dict[Charged, int] = {}
        for row in [*await self._inbound.aggregate(told), *await self._deliveries.aggregate(refused)]:
            mailbox = Charged(row["_id"]["workspace"], row["_id"]["mailbox"])
            counted[mailbox] = counted.get(mailbox, 0) + row["n"]
        many = [mailbox for mailbox, number in counted.items() if number >= least]
        return sorted(many, key=lambda mailbox: -counted[mailbox])[:MOST_MAILBOXES]

    async def mailbox_hold(self, mailbox: Charged) -> Document | None:
        """The mailbox's hold, ended or not."""
        return await self._holds.find_one(
            {"_id": names.hold_id("mailbox", mailbox.mailbox_id), "workspace_id": mailbox.workspace_id}
        )

    async def charges(self, mailbox: Charged, since: datetime) -> dict[str, int]:
        """How many bounces (told by mail or refused at the server) and complaints, by kind."""
        rows = await self._inbound.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": mailbox.workspace_id,
                        "mailbox_id": mailbox.mailbox_id,
                        "answer.charge": {"$type": "string"},
                        "received_at": {"$gte": since},
                    }
                },
                {"$group": {"_id": "$answer.charge", "n": {"$sum": 1}}},
            ]
        )
        counted = {row["_id"]: row["n"] for row in rows}
        refused = {"bounced": True, "settled_at": {"$gte": since}, **_of(mailbox)}
        counted[BOUNCE] = counted.get(BOUNCE, 0) + await self._deliveries.count(refused, limit=MOST_COUNTED)
        return counted

    async def sent_since(self, mailbox: Charged, since: datetime) -> int:
        """How many messages the mailbox has tried to send: accepted by a server, or refused as bounces."""
        accepted = {"state": "sent", "sent_at": {"$gte": since}, **_of(mailbox)}
        refused = {"bounced": True, "settled_at": {"$gte": since}, **_of(mailbox)}
        return await self._deliveries.count(accepted, limit=MOST_COUNTED) + await self._deliveries.count(
            refused, limit=MOST_COUNTED
        )

    async def owner(self, mailbox: Charged) -> UUID | None:
        """Whose mailbox it is; None if it is not connected any more."""
        doc = await self._mailboxes.find_one(
            {"_id": mailbox.mailbox_id, "workspace_id": mailbox.workspace_id}, projection={"owner_id": 1}
        )
        return doc["owner_id"] if doc else None


def _of(mailbox: Charged) -> Document:
    return {"workspace_id": mailbox.workspace_id, "mailbox_id": mailbox.mailbox_id}


def _by_mailbox() -> list[Document]:
    key = {"workspace": "$workspace_id", "mailbox": "$mailbox_id"}
    return [{"$group": {"_id": key, "n": {"$sum": 1}}}]
