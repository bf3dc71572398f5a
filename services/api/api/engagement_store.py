"""Opens and clicks as they are kept: one document for each message and link, with what is still to be told.

A request is one upsert. Of a flood only the counts grow.
"""

from collections.abc import Collection as Some
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from api.machines import BURST_SECONDS, Verdict
from chassis import documents as names
from chassis.documents import TrackedView
from chassis.errors import Duplicate
from chassis.store import Database, Document, Index, UpdateOne, Workspace
from chassis.tracking import Mark

SETTLE = timedelta(seconds=BURST_SECONDS + 2)
"""Until then an event may still turn out to be a machine's."""
MOST_MORE: Final = 5
"""Events of one message and link beside the first of people and the first of machines."""
MOST_COUNTED: Final = 1_000_000
INDEXES: Final = (
    Index((("workspace_id", 1), ("dispatch_id", 1)), "message"),
    Index((("workspace_id", 1), ("sequence_id", 1)), "sequence"),
    Index((("look_at", 1),), "untold", partial={"look_at": {"$exists": True}}),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A GET for a pixel or a link; `at` is business time."""

    mark: Mark
    message: TrackedView
    at: datetime
    real_now: datetime
    verdict: Verdict


def engagement_id(mark: Mark) -> str:
    """The `_id` of what counts the requests for a pixel or for one link."""
    return f"{mark.dispatch_id}:{mark.kind}" + ("" if mark.link is None else f":{mark.link}")


class Engagements:
    """What was opened and clicked, and what of it is still to be told."""

    def __init__(self, database: Database) -> None:
        self._engagements = database.collection(names.ENGAGEMENTS)

    async def count(self, request: Request) -> None:
        """Count a GET, and put it into the outbox unless enough of its kind were."""
        await self._upsert(request.mark, [{"$set": _counted(request)}])

    async def looked(self, mark: Mark, message: TrackedView, real_now: datetime) -> None:
        """Somebody asked what a GET would say, and did not open or follow anything."""
        zero = {name: {"$ifNull": [f"${name}", 0]} for name in ("human", "machine")}
        await self._upsert(mark, [{"$set": {**_identity(mark, message), **zero, "head_at": real_now}}])

    async def of_message(self, mark: Mark) -> list[Document]:
        """When the pixel, or the links, of a message were asked for last."""
        return await self._engagements.find(
            {"workspace_id": mark.workspace_id, "dispatch_id": mark.dispatch_id, "kind": mark.kind.value},
            projection={"asked_at": 1, "head_at": 1},
        )

    async def were_machines(self, mark: Mark, real_now: datetime, reason: str) -> None:
        """What of this kind is not told yet for this message was no person."""
        unsettled = {"machine": False, "ready_at": {"$gt": real_now}}
        await self._engagements.update_many(
            {
                "workspace_id": mark.workspace_id,
                "dispatch_id": mark.dispatch_id,
                "kind": mark.kind.value,
                "outbox": {"$elemMatch": unsettled},
            },
            [{"$set": _corrected(real_now, reason)}],
        )

    async def untold(self, real_now: datetime, limit: int) -> list[Document]:
        """Of all workspaces: those with events that are ready, the longest waiting first."""
        return await self._engagements.find(
            {"look_at": {"$lte": real_now}}, sort=[("look_at", 1)], limit=limit
        )

    async def told(self, told: Sequence[tuple[Document, Some[int]]]) -> None:
        """The brokers have these events, by their numbers."""
        await self._engagements.bulk(
            [
                UpdateOne(
                    {"_id": {"$eq": doc["_id"]}, "workspace_id": doc["workspace_id"]}, _without(list(numbers))
                )
                for doc, numbers in told
            ]
        )

    async def by_stage(self, workspace: Workspace, sequence_id: UUID) -> dict[str, dict[str, int]]:
        """By stage of a sequence, how many messages were `opened` and `clicked` by people, and how many by
        machines alone (`machine_opened`, `machine_clicked`).
        """
        rows = await self._engagements.aggregate(
            [
                {"$match": {"workspace_id": workspace, "sequence_id": sequence_id}},
                {"$limit": MOST_COUNTED},
                {
                    "$group": {
                        "_id": {"stage": "$stage_id", "kind": "$kind", "message": "$dispatch_id"},
                        "human": {"$sum": "$human"},
                        "machine": {"$sum": "$machine"},
                    }
                },
                {"$match": {"$or": [{"human": {"$gt": 0}}, {"machine": {"$gt": 0}}]}},
                {
                    "$group": {
                        "_id": {
                            "stage": "$_id.stage",
                            "kind": "$_id.kind",
                            "by_people": {"$gt": ["$human", 0]},
                        },
                        "n": {"$sum": 1},
                    }
                },
            ]
        )
        found: dict[str, dict[str, int]] = {}
        for row in rows:
            of = row["_id"]
            name = of["kind"] if of["by_people"] else f"machine_{of['kind']}"
            found.setdefault(of["stage"], {})[name] = row["n"]
        return found

    async def _upsert(self, mark: Mark, update: Sequence[Document]) -> None:
        found = {"_id": {"$eq": engagement_id(mark)}, "workspace_id": mark.workspace_id}
        try:
            await self._engagements.update_one(found, update, upsert=True)
        except Duplicate:  # another request has just made it
            await self._engagements.update_one(found, update)


def _identity(mark: Mark, message: TrackedView) -> Document:
    return {
        "dispatch_id": {"$literal": mark.dispatch_id},
        "kind": mark.kind.value,
        "link": mark.link,
        "enrollment_id": message.enrollment_id,
        "person_id": message.person_id,
        "sequence_id": message.sequence_id,
        "sequence_version": message.sequence_version,
        "stage_id": {"$literal": message.stage_id},
        "stage_index": message.stage_index,
        "owner_id": message.owner_id,
        "mailbox_id": message.mailbox_id,
        "is_test": message.is_test,
        "sent_at": message.sent_at,
        **({"variant": {"$literal": message.variant}} if message.variant is not None else {}),
    }


def _counted(request: Request) -> Document:
    """The fields after one more GET; every expression sees the document as it was before."""
    mine, other = ("machine", "human") if request.verdict.machine else ("human", "machine")
    known = {name: {"$ifNull": [f"${name}", 0]} for name in ("human", "machine", "more_told")}
    is_first = {"$eq": [known[mine], 0]}
    is_told = {"$or": [is_first, {"$lt": [known["more_told"], MOST_MORE]}]}
    outbox = {"$ifNull": ["$outbox", []]}
    ready_at = request.real_now + SETTLE
    entry = {
        "number": {"$add": [known["human"], known["machine"], 1]},
        "at": request.at,
        "recorded_at": request.real_now,
        "ready_at": ready_at,
        "machine": request.verdict.machine,
        "reason": request.verdict.reason,
        "first": is_first,
    }
    more = {"$cond": [{"$and": [is_told, {"$not": [is_first]}]}, 1, 0]}
    return {
        **_identity(request.mark, request.message),
        mine: {"$add": [known[mine], 1]},
        other: known[other],
        "first_at": {"$ifNull": ["$first_at", request.at]},
        "last_at": request.at,
        "asked_at": request.real_now,
        "more_told": {"$add": [known["more_told"], more]},
        "outbox": {"$cond": [is_told, {"$concatArrays": [outbox, [entry]]}, outbox]},
        "look_at": {"$cond": [is_told, {"$ifNull": ["$look_at", ready_at]}, "$look_at"]},
    }


def _corrected(real_now: datetime, reason: str) -> Document:
    """The fields when people that are not told yet turn out to be machines."""

    def is_unsettled(entry: str) -> Document:
        ready_at, machine = f"{entry}.ready_at", f"{entry}.machine"
        return {"$and": [{"$gt": [ready_at, real_now]}, {"$not": [machine]}]}

    turned = {"$size": {"$filter": {"input": "$outbox", "cond": is_unsettled("$$this")}}}
    changed = {
        "machine": True,
        "reason": reason,
        "first": {"$and": ["$$this.first", {"$eq": ["$machine", 0]}]},
    }
    entry = {"$cond": [is_unsettled("$$this"), {"$mergeObjects": ["$$this", changed]}, "$$this"]}
    return {
        "outbox": {"$map": {"input": "$outbox", "as": "this", "in": entry}},
        "human": {"$subtract": ["$human", turned]},
        "machine": {"$add": ["$machine", turned]},
    }


def _without(numbers: list[int]) -> list[Document]:
    left = {"$filter": {"input": "$outbox", "cond": {"$not": [{"$in": ["$$this.number", numbers]}]}}}
    earliest = {"$min": "$outbox.ready_at"}
    return [
        {"$set": {"outbox": left}},
        {"$set": {"look_at": {"$ifNull": [earliest, "$$REMOVE"]}}},
    ]
