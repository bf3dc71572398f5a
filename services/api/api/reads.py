"""What the API reads of others: enrollments and people (scheduler), deliveries and tasks (sender), holds."""

from collections import Counter
from collections.abc import Collection as Some
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from api.paging import Kind, Order, PageQuery, read_page
from chassis import documents as names
from chassis.documents import AnswerView, CalendarView, DeliveryStory, EnrollmentStory, PersonView
from chassis.store import Database, Document, Workspace

BY_ID = Order((("_id", 1, Kind.UUID),))
TASKS_BY_DUE = Order((("task.due_at", 1, Kind.INSTANT), ("_id", 1, Kind.TEXT)))
DELIVERIES_BY_ID = Order((("_id", 1, Kind.TEXT),))
LATEST_ARRIVAL = Order((("received_at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID)))
LIVE_STATES = ("scheduled", "dispatched", "awaiting_task", "in_doubt")
ENDED_STATES = ("stopped", "finished", "failed")
MOST_DELIVERIES = 500
MOST_COUNTED = 1_000_000


class Reads:
    """Only reads, only within a workspace."""

    def __init__(self, database: Database) -> None:
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._people = database.collection(names.PEOPLE)
        self._deliveries = database.collection(names.DELIVERIES)
        self._holds = database.collection(names.HOLDS)
        self._calendars = database.collection(names.CALENDARS)
        self._inbound = database.collection(names.INBOUND)

    # ---- enrollments ----------------------------------------------------------------------------------

    async def enrollment(self, workspace: Workspace, enrollment_id: UUID) -> EnrollmentStory | None:
        """An enrollment with its whole history; a tombstone is none."""
        doc = await self._enrollments.find_one(
            {"_id": enrollment_id, "workspace_id": workspace, "tombstone": None},
            projection=EnrollmentStory.PROJECTION,
        )
        return EnrollmentStory.read(doc) if doc else None

    async def has_enrollment(self, workspace: Workspace, enrollment_id: UUID) -> bool:
        """Whether it exists."""
        found = {"_id": enrollment_id, "workspace_id": workspace, "tombstone": None}
        return await self._enrollments.find_one(found, projection={"_id": 1}) is not None

    async def enrollments(
        self, workspace: Workspace, sequence_id: UUID, states: Sequence[str], page: PageQuery
    ) -> tuple[list[EnrollmentStory], str | None]:
        """A page of a sequence's enrollments, each with its last event only; every state if none is given."""
        ended = {state in ENDED_STATES for state in states} or {False, True}
        found: Document = {
            "workspace_id": workspace,
            "sequence_id": sequence_id,
            "ended": {"$in": sorted(ended)},
        }
        if states:
            found["state"] = {"$in": list(states)}
        return await read_page(
            self._enrollments, found, BY_ID, page, EnrollmentStory.read, EnrollmentStory.LAST_EVENT
        )

    async def live_ids(
        self, workspace: Workspace, sequence_id: UUID, other_than: int | None, page: PageQuery
    ) -> tuple[list[UUID], str | None]:
        """A page of the ids of who is live in a sequence; `other_than`: without those in that version."""
        found: Document = {"workspace_id": workspace, "sequence_id": sequence_id, "ended": False}
        if other_than is not None:
            found["sequence_version"] = {"$ne": other_than}
        return await read_page(self._enrollments, found, BY_ID, page, lambda doc: doc["_id"], {"_id": 1})

    async def members(self, workspace: Workspace, sequence_id: UUID, ids: Some[UUID]) -> set[UUID]:
        """Which of these enrollments are of the sequence."""
        found = await self._enrollments.find(
            {"workspace_id": workspace, "sequence_id": sequence_id, "_id": {"$in": list(ids)}},
            projection={"_id": 1},
        )
        return {doc["_id"] for doc in found}

    async def counts(self, workspace: Workspace, sequence_id: UUID) -> dict[str, dict[str, int]]:
        """Counts of a sequence's enrollments by `state`, by `stop` reason, and of the answered ones by state.

        One that had finished when its answer came has a reason too.
        """
        rows = await self._enrollments.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "sequence_id": sequence_id,
                        "ended": {"$in": [False, True]},
                    }
                },
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": {"state": "$state", "reason": "$stop.reason"}, "n": {"$sum": 1}}},
            ]
        )
        states: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        answered: Counter[str] = Counter()
        for row in rows:
            states[row["_id"]["state"]] += row["n"]
            if row["_id"].get("reason"):
                reasons[row["_id"]["reason"]] += row["n"]
            if row["_id"].get("reason") == "replied":
                answered[row["_id"]["state"]] += row["n"]
        return {"state": dict(states), "stop": dict(reasons), "answered": dict(answered)}

    async def sent_by_stage(self, workspace: Workspace, sequence_id: UUID) -> dict[str, int]:
        """How many messages of each stage were sent."""
        rows = await self._deliveries.aggregate(
            [
                {"$match": {"workspace_id": workspace, "sequence_id": sequence_id, "state": "sent"}},
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": "$stage_id", "n": {"$sum": 1}}},
            ]
        )
        return {row["_id"]: row["n"] for row in rows}

    async def sent_since(self, workspace: Workspace, mailbox_id: UUID, since: datetime) -> int:
        """How many messages went out through a mailbox since a business instant."""
        return await self._deliveries.count(
            {
                "workspace_id": workspace,
                "mailbox_id": mailbox_id,
                "state": "sent",
                "sent_at": {"$gte": since},
            },
            limit=MOST_COUNTED,
        )

    async def people(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, PersonView]:
        """People by id."""
        found = await self._people.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}}, projection=PersonView.PROJECTION
        )
        return {doc["_id"]: PersonView.read(doc) for doc in found}

    async def holds(self, workspace: Workspace, ids: Some[str]) -> dict[str, Document]:
        """Hold documents by id."""
        found = await self._holds.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}},
            projection={"until": 1, "reason": 1, "scope": 1, "by": 1, "lifted_at": 1},
        )
        return {doc["_id"]: doc for doc in found}

    async def calendar(self, workspace: Workspace) -> CalendarView | None:
        """The workspace's own days off."""
        doc = await self._calendars.find_one(
            {"_id": workspace, "workspace_id": workspace}, projection=CalendarView.PROJECTION
        )
        return CalendarView.read(doc) if doc else None

    # ---- answers --------------------------------------------------------------------------------------

    async def answer(self, workspace: Workspace, inbound_id: UUID) -> AnswerView | None:
        """One message about somebody in a sequence."""
        doc = await self._inbound.find_one(
            {"_id": inbound_id, "workspace_id": workspace, "answer": {"$exists": True}},
            projection=AnswerView.PROJECTION,
        )
        return AnswerView.read(doc) if doc else None

    async def answers(
        self, workspace: Workspace, where: Document, page: PageQuery
    ) -> tuple[list[AnswerView], str | None]:
        """A page of messages about people in sequences, the newest first; `where` is about `answer`."""
        named = {f"answer.{field}": {"$eq": value} for field, value in where.items()}
        found = {"workspace_id": workspace, "answer": {"$exists": True}, **named}
        return await read_page(
            self._inbound, found, LATEST_ARRIVAL, page, AnswerView.read, AnswerView.PROJECTION
        )

    # ---- deliveries and tasks -------------------------------------------------------------------------

    async def delivery(self, workspace: Workspace, dispatch_id: str) -> DeliveryStory | None:
        """A delivery."""
        doc = await self._deliveries.find_one(
            {"_id": {"$eq": dispatch_id}, "workspace_id": workspace}, projection=DeliveryStory.PROJECTION
        )
        return DeliveryStory.read(doc) if doc else None

    async def deliveries_of(self, workspace: Workspace, enrollment_id: UUID) -> list[DeliveryStory]:
        """An enrollment's deliveries in the order of its stages."""
        found = await self._deliveries.find(
            {"workspace_id": workspace, "enrollment_id": enrollment_id},
            projection=DeliveryStory.PROJECTION,
            limit=MOST_DELIVERIES,
        )
        stories = [DeliveryStory.read(doc) for doc in found]
        return sorted(stories, key=lambda each: (each.stage_index or 0, each.id))

    async def deliveries(
        self, workspace: Workspace, state: str, page: PageQuery
    ) -> tuple[list[DeliveryStory], str | None]:
        """A page of the deliveries in a state."""
        return await read_page(
            self._deliveries,
            {"workspace_id": workspace, "state": state},
            DELIVERIES_BY_ID,
            page,
            DeliveryStory.read,
            DeliveryStory.PROJECTION,
        )

    async def tasks(
        self,
        workspace: Workspace,
        assignee: UUID | None,
        awake_at: datetime,
        page: PageQuery,
    ) -> tuple[list[DeliveryStory], str | None]:
        """A page of open tasks, the longest due first; snoozed ones come back at their time."""
        found: Document = {
            "workspace_id": workspace,
            "state": "task_open",
            "task.snoozed_until": {"$not": {"$gt": awake_at}},
        }
        if assignee is not None:
            found["task.assignee_id"] = assignee
        shown: tuple[list[DeliveryStory], str | None] = await read_page(
            self._deliveries, found, TASKS_BY_DUE, page, DeliveryStory.read, DeliveryStory.PROJECTION
        )
        return shown


def last_event(story: EnrollmentStory) -> dict[str, Any] | None:
    """The newest entry of the history that was read."""
    return dict(story.history[-1]) if story.history else None
