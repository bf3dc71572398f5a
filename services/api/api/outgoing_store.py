"""Webhooks of workspaces, and what is delivered to them, in MongoDB."""

from collections.abc import AsyncIterator, Sequence
from collections.abc import Collection as Some
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api.outgoing import Tried
from api.paging import NEWEST_FIRST, PageQuery, read_page
from chassis import documents as names
from chassis.store import Database, Document, Index, Workspace

KEEP_DELIVERIES_SECONDS: Final = 30 * 24 * 60 * 60
MOST_TRIES_SHOWN: Final = 20
PENDING: Final = "pending"
SENT: Final = "sent"
FAILED: Final = "failed"
_FIRST_ID: Final = UUID(int=0)

WEBHOOK_INDEXES: Final = (
    Index((("workspace_id", 1), ("created_at", -1), ("_id", -1)), "newest"),
    Index((("disabled.told", 1),), "untold", partial={"disabled.told": False}),
)
DELIVERY_INDEXES: Final = (
    Index((("webhook_id", 1), ("next_at", 1)), "pending", partial={"state": PENDING}),
    Index((("workspace_id", 1), ("webhook_id", 1), ("created_at", -1), ("_id", -1)), "newest"),
    Index((("created_at", 1),), "expires", expire_after_seconds=KEEP_DELIVERIES_SECONDS),
)


class Webhooks:
    """Where workspaces want to hear of events."""

    def __init__(self, database: Database) -> None:
        self._webhooks = database.collection(names.WEBHOOKS)
        self._users = database.collection(names.USERS)
        self._sequences = database.collection(names.SEQUENCES)

    async def one(self, workspace: Workspace, webhook_id: UUID) -> Document | None:
        """A webhook."""
        return await self._webhooks.find_one({"_id": webhook_id, "workspace_id": workspace})

    async def count(self, workspace: Workspace, limit: int) -> int:
        """How many the workspace has, counting no further than `limit`."""
        return await self._webhooks.count({"workspace_id": workspace}, limit=limit)

    async def page(
        self, workspace: Workspace, owner_id: UUID | None, page: PageQuery
    ) -> tuple[list[Document], str | None]:
        """The webhooks of a user, or of everybody, the newest first."""
        which = {} if owner_id is None else {"owner_id": owner_id}
        return await read_page(self._webhooks, {"workspace_id": workspace, **which}, NEWEST_FIRST, page, dict)

    async def put(self, webhook: Document) -> None:
        """Add it; one of that id was added by the same request, whose answer nobody has seen."""
        found = {"_id": webhook["_id"], "workspace_id": webhook["workspace_id"]}
        await self._webhooks.replace_one(found, webhook, upsert=True)

    async def change(self, workspace: Workspace, webhook_id: UUID, changes: Document) -> Document | None:
        """The webhook with these fields; None if it is gone."""
        found = {"_id": webhook_id, "workspace_id": workspace}
        return await self._webhooks.find_one_and_update(found, {"$set": changes})

    async def remove(self, workspace: Workspace, webhook_id: UUID) -> bool:
        """Whether it was there."""
        return await self._webhooks.delete_one({"_id": webhook_id, "workspace_id": workspace})

    async def enabled(self, workspaces: Some[Workspace]) -> list[Document]:
        """The webhooks of these workspaces that want to hear of events."""
        return await self._webhooks.find(
            {"workspace_id": {"$in": list(workspaces)}, "enabled": True},
            projection={"workspace_id": 1, "owner_id": 1, "events": 1, "since": 1},
        )

    async def users(self, workspaces: Some[Workspace], ids: Some[UUID]) -> list[Document]:
        """Of these users those who have not left."""
        return await self._users.find(
            {"workspace_id": {"$in": list(workspaces)}, "_id": {"$in": list(ids)}, "left_at": None},
            projection={"workspace_id": 1, "role": 1},
        )

    async def sequences(self, workspaces: Some[Workspace], ids: Some[UUID]) -> list[Document]:
        """What says who may see these sequences."""
        return await self._sequences.find(
            {"workspace_id": {"$in": list(workspaces)}, "_id": {"$in": list(ids)}},
            projection={"owner_id": 1, "access": 1, "grants": 1},
        )

    # ---- how it answers -------------------------------------------------------------------------------

    async def works(self, webhook: Document) -> None:
        """It has answered well."""
        await self._webhooks.update_one(_one(webhook), {"$set": {"failing_since": None}})

    async def fails(self, webhook: Document, since: datetime) -> None:
        """It fails since then, unless it did before."""
        await self._webhooks.update_one(
            {**_one(webhook), "failing_since": None}, {"$set": {"failing_since": since}}
        )

    async def disable(self, webhook: Document, reason: str, now: datetime) -> bool:
        """Send nothing more, and have its owner told; False if it was disabled meanwhile."""
        disabled = {"reason": reason, "at": now, "told": False}
        return await self._webhooks.update_one(
            {**_one(webhook), "enabled": True}, {"$set": {"enabled": False, "disabled": disabled}}
        )

    async def untold(self, limit: int) -> list[Document]:
        """Of all workspaces: disabled webhooks whose owners have not been told."""
        return await self._webhooks.find({"disabled.told": False}, limit=limit)

    async def told(self, webhook: Document) -> None:
        """The brokers have the notification."""
        await self._webhooks.update_one(
            {**_one(webhook), "disabled.at": webhook["disabled"]["at"]}, {"$set": {"disabled.told": True}}
        )


class WebhookDeliveries:
    """Events on their way to webhooks: stored first, then sent by whichever process claims them."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database.collection(names.WEBHOOK_DELIVERIES)

    async def add(self, deliveries: Sequence[Document]) -> set[Any]:
        """Store what is not there yet; the ids of that."""
        return await self._deliveries.insert_new(deliveries)

    async def page(
        self, workspace: Workspace, webhook_id: UUID, state: str | None, page: PageQuery
    ) -> tuple[list[Document], str | None]:
        """A webhook's deliveries, the newest first."""
        found: Document = {"workspace_id": workspace, "webhook_id": webhook_id}
        if state is not None:
            found["state"] = {"$eq": state}
        return await read_page(self._deliveries, found, NEWEST_FIRST, page, dict)

    async def waiting(self, now: datetime) -> AsyncIterator[tuple[Workspace, UUID]]:
        """Of all workspaces: the webhooks for which a delivery is due, one look at each."""
        last = _FIRST_ID
        while True:
            found = await self._deliveries.find_one(
                {"state": PENDING, "webhook_id": {"$gt": last}},
                projection={"workspace_id": 1, "webhook_id": 1, "next_at": 1},
                sort=[("webhook_id", 1), ("next_at", 1)],
            )
            if found is None:
                return
            last = found["webhook_id"]
            if found["next_at"] <= now:
                yield Workspace(found["workspace_id"]), last

    async def claim(
        self, workspace: Workspace, webhook_id: UUID, now: datetime, until: datetime
    ) -> Document | None:
        """The delivery that is due first, ours until then; its `attempts` counts this one."""
        return await self._deliveries.find_one_and_update(
            {
                "workspace_id": workspace,
                "webhook_id": webhook_id,
                "state": PENDING,
                "next_at": {"$lte": now},
            },
            {"$set": {"next_at": until}, "$inc": {"attempts": 1}},
            sort=[("next_at", 1)],
        )

    async def sent(self, delivery: Document, tried: Tried) -> None:
        """It has arrived."""
        await self._end_try(delivery, tried, {"state": SENT, "sent_at": tried.at})

    async def failed(self, delivery: Document, tried: Tried, again: datetime | None) -> None:
        """It has not; to be tried again then, or never."""
        await self._end_try(delivery, tried, {"next_at": again} if again else {"state": FAILED})

    async def _end_try(self, delivery: Document, tried: Tried, changes: Document) -> None:
        """Nothing where another process took it over meanwhile, or the webhook was disabled."""
        await self._deliveries.update_one(
            {**_one(delivery), "state": PENDING, "attempts": delivery["attempts"]},
            {"$set": changes, "$push": {"tries": {"$each": [tried.data()], "$slice": -MOST_TRIES_SHOWN}}},
        )

    async def give_up(self, workspace: Workspace, webhook_id: UUID) -> int:
        """Nothing more is sent to this webhook; how many waited."""
        return await self._deliveries.update_many(
            {"workspace_id": workspace, "webhook_id": webhook_id, "state": PENDING},
            {"$set": {"state": FAILED}},
        )

    async def again(self, workspace: Workspace, webhook_id: UUID, which: Document, now: datetime) -> int:
        """Send those that match once more, with all tries before them; how many."""
        return await self._deliveries.update_many(
            {"workspace_id": workspace, "webhook_id": webhook_id, **which},
            {"$set": {"state": PENDING, "next_at": now, "attempts": 0}},
        )


def _one(document: Document) -> Document:
    return {"_id": document["_id"], "workspace_id": document["workspace_id"]}
