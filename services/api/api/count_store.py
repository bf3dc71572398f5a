"""What a sequence counts to, kept from one count to the next: no request counts a million people.

Every count but that of the interested is read from an index alone: `sequence_state`, `sequence_held` and
`sequence_stop` of the scheduler's enrollments, `sequence_sent` of the sender's deliveries.
"""

from collections import Counter
from collections.abc import Collection as Some
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from chassis import documents as names
from chassis.store import Database, Document, Workspace

LIVE: Final = ("scheduled", "dispatched", "awaiting_task", "in_doubt")
STATES: Final = (*LIVE, "stopped", "finished", "failed")
MOST_COUNTED: Final = 2_000_000
MOST_INTERESTED: Final = 20_000
AT_ONCE: Final = 1000
DAYS_BACK, DAYS_AHEAD = timedelta(days=14), timedelta(days=16)
"""The strip: two weeks of what was sent, today, and two weeks of what is planned."""


class Counts:
    """Counts of sequences as they were at `counted_at` (a real instant), and the counting itself."""

    def __init__(self, database: Database) -> None:
        self._counts = database.collection(names.SEQUENCE_COUNTS)
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._deliveries = database.collection(names.DELIVERIES)
        self._inbound = database.collection(names.INBOUND)

    # ---- what is kept ---------------------------------------------------------------------------------

    async def known(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, Document]:
        """What is known of these sequences; one that was never counted has only a `next_at`."""
        found = await self._counts.find({"workspace_id": workspace, "_id": {"$in": list(ids)}})
        return {doc["_id"]: doc for doc in found}

    async def lease(
        self, workspace: Workspace, sequence_id: UUID, real_now: datetime, until: datetime
    ) -> bool:
        """Whether this process is the one that counts the sequence; nobody else does until then."""
        due = {"_id": sequence_id, "workspace_id": workspace, "next_at": {"$lte": real_now}}
        if await self._counts.update_one(due, {"$set": {"next_at": until}}):
            return True
        first = {"_id": sequence_id, "workspace_id": workspace, "next_at": until}
        return bool(await self._counts.insert_new([first]))

    async def keep(self, workspace: Workspace, sequence_id: UUID, counted: Document) -> None:
        """Replace what is known."""
        await self._counts.update_one({"_id": sequence_id, "workspace_id": workspace}, {"$set": counted})

    # ---- counting -------------------------------------------------------------------------------------

    async def count(
        self, workspace: Workspace, sequence_id: UUID, stages: Sequence[str], zone: str, now: datetime
    ) -> Document:
        """All counts of a sequence at the business instant `now`; days begin at midnight in `zone`.

        `stages`: the ids of its stages in their order. Someone's answer counts for the last stage that they
        had before it.
        """
        states = await self.states(workspace, sequence_id)
        endings = await self.endings(workspace, sequence_id)
        interested = await self._interested(workspace, sequence_id)
        before = dict(zip(stages[1:], stages, strict=False))
        replied = [each for each in endings if each["reason"] == "replied"]
        return {
            "states": states,
            "stops": summed(endings, "reason"),
            "answered_by_state": summed(replied, "state"),
            "held": await self._held(workspace, sequence_id),
            "interested": sum(each["n"] for each in interested),
            "answered_by_stage": _by_stage(replied, before),
            "interested_by_stage": _by_stage(interested, before),
            "sent_by_stage": await self.sent(workspace, sequence_id),
            "days": await self._days(workspace, sequence_id, zone, now),
            "zone": zone,
            "next_out_at": await self._next_out(workspace, sequence_id, now),
            "as_of": now,
        }

    async def states(self, workspace: Workspace, sequence_id: UUID) -> dict[str, int]:
        """How many people are in each state: about a second for a million."""
        rows = await self._enrollments.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "sequence_id": sequence_id,
                        "state": {"$in": list(STATES)},
                    }
                },
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": "$state", "n": {"$sum": 1}}},
            ],
        )
        return {row["_id"]: row["n"] for row in rows}

    async def _held(self, workspace: Workspace, sequence_id: UUID) -> int:
        rows = await self._enrollments.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "sequence_id": sequence_id,
                        "parked_by": {"$gt": ""},
                    }
                },
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": None, "n": {"$sum": 1}}},
            ],
        )
        return rows[0]["n"] if rows else 0

    async def endings(self, workspace: Workspace, sequence_id: UUID) -> list[Document]:
        """How many (`n`) were stopped for each `reason`, by `state` and by the `stage` they waited for or had
        last. One that had finished when its answer came has a reason too.
        """
        rows = await self._enrollments.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "sequence_id": sequence_id,
                        "stop.reason": {"$gt": ""},
                    }
                },
                {"$limit": MOST_COUNTED},
                {
                    "$group": {
                        "_id": {"reason": "$stop.reason", "state": "$state", "stage": "$stage_id"},
                        "n": {"$sum": 1},
                    }
                },
            ],
        )
        return [{**row["_id"], "n": row["n"]} for row in rows]

    async def _interested(self, workspace: Workspace, sequence_id: UUID) -> list[Document]:
        """People of the sequence with an answer that says so, by where they stand."""
        rows = await self._inbound.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "answer": {"$exists": True},
                        "answer.sequences": sequence_id,
                        "answer.intent": "interested",
                    }
                },
                {"$limit": MOST_INTERESTED},
                {"$unwind": "$answer.enrollments"},
                {"$group": {"_id": "$answer.enrollments"}},
            ]
        )
        ids, found = [row["_id"] for row in rows], []
        for start in range(0, len(ids), AT_ONCE):
            found += await self._enrollments.find(
                {
                    "workspace_id": workspace,
                    "sequence_id": sequence_id,
                    "_id": {"$in": ids[start : start + AT_ONCE]},
                },
                projection={"state": 1, "stage_id": 1},
                hint="_id_",
            )
        return [{"state": doc["state"], "stage": doc.get("stage_id"), "n": 1} for doc in found]

    async def sent(self, workspace: Workspace, sequence_id: UUID) -> dict[str, int]:
        """How many messages of each stage were sent."""
        rows = await self._deliveries.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "sequence_id": sequence_id,
                        "state": "sent",
                    }
                },
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": "$stage_id", "n": {"$sum": 1}}},
            ],
        )
        return {row["_id"]: row["n"] for row in rows}

    async def _days(self, workspace: Workspace, sequence_id: UUID, zone: str, now: datetime) -> Document:
        """By ISO date: what was `sent`, and what is `planned`; what is late counts as of today."""
        sent = await self._deliveries.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "sequence_id": sequence_id,
                        "state": "sent",
                        "sent_at": {"$gte": now - DAYS_BACK},
                    }
                },
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": _date("$sent_at", zone), "n": {"$sum": 1}}},
            ],
        )
        planned = await self._enrollments.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "sequence_id": sequence_id,
                        "state": "scheduled",
                        "planned_at": {"$lt": now + DAYS_AHEAD},
                    }
                },
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": _date({"$max": ["$planned_at", now]}, zone), "n": {"$sum": 1}}},
            ],
        )
        days: Document = {}
        for name, rows in (("sent", sent), ("planned", planned)):
            for row in rows:
                days.setdefault(row["_id"], {})[name] = row["n"]
        return days

    async def _next_out(self, workspace: Workspace, sequence_id: UUID, now: datetime) -> datetime | None:
        """When the next message is planned."""
        found = await self._enrollments.find(
            {
                "workspace_id": workspace,
                "sequence_id": sequence_id,
                "state": "scheduled",
                "planned_at": {"$gte": now},
            },
            projection={"_id": 0, "planned_at": 1},
            sort=[("planned_at", 1)],
            limit=1,
        )
        return found[0]["planned_at"] if found else None


def summed(rows: Sequence[Mapping[str, Any]], by: str) -> dict[str, int]:
    """The sums of `n` by another field."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row[by]] += row["n"]
    return dict(sums)


def _by_stage(rows: Sequence[Mapping[str, Any]], before: Mapping[str, str]) -> dict[str, int]:
    """Whoever had not finished waited for a stage: what they answered is the one before it."""
    had = [
        {
            **row,
            "stage": row["stage"] if row["state"] == "finished" else before.get(row["stage"], row["stage"]),
        }
        for row in rows
        if row["stage"]
    ]
    return summed(had, "stage")


def _date(instant: Any, zone: str) -> Document:
    return {"$dateToString": {"date": instant, "format": "%Y-%m-%d", "timezone": zone}}
