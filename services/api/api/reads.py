"""What the API reads of others: enrollments and people (scheduler), deliveries and tasks (sender), holds."""

from collections import Counter
from collections.abc import Collection as Some
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from api.paging import Kind, Order, PageQuery, read_page
from chassis import documents as names
from chassis.documents import (
    AnswerView,
    CalendarView,
    DeliveryStory,
    EnrollmentStory,
    MailboxStateView,
    PersonView,
    TrackedView,
)
from chassis.store import Collection, Database, Document, Workspace

BY_ID = Order((("_id", 1, Kind.UUID),))
TASKS_BY_DUE = Order((("task.due_at", 1, Kind.INSTANT), ("_id", 1, Kind.TEXT)))
DOUBTS_BY_AGE = Order((("settled_at", 1, Kind.INSTANT), ("_id", 1, Kind.TEXT)))
LATEST_RECALLED = Order((("settled_at", -1, Kind.INSTANT), ("_id", -1, Kind.TEXT)))
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
        self._mailbox_states = database.collection(names.MAILBOX_STATES)
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
            projection=dict.fromkeys(
                ("until", "reason", "scope", "scope_id", "by", "lifted_at", "last_lifted_at", "created_at"), 1
            ),
        )
        return {doc["_id"]: doc for doc in found}

    # ---- mailboxes ------------------------------------------------------------------------------------

    async def mailbox_states(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, MailboxStateView]:
        """What the sender has seen of the servers of these mailboxes."""
        found = await self._mailbox_states.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}}, projection=MailboxStateView.PROJECTION
        )
        return {doc["_id"]: MailboxStateView.read(doc) for doc in found}

    async def sent_by_mailbox(self, workspace: Workspace, since: Mapping[UUID, datetime]) -> Counter[UUID]:
        """How many messages went out through each mailbox since its business instant."""
        return await self._by_mailbox(self._deliveries, workspace, {"state": "sent"}, "sent_at", since)

    async def refused_by_mailbox(self, workspace: Workspace, since: Mapping[UUID, datetime]) -> Counter[UUID]:
        """How many messages of each mailbox the recipients' servers refused as bounces."""
        return await self._by_mailbox(self._deliveries, workspace, {"bounced": True}, "settled_at", since)

    async def charged_by_mailbox(
        self, workspace: Workspace, charge: str, since: Mapping[UUID, datetime]
    ) -> Counter[UUID]:
        """How many bounces, or complaints, came into each mailbox."""
        charged = {"answer.charge": {"$eq": charge, "$type": "string"}}
        return await self._by_mailbox(self._inbound, workspace, charged, "received_at", since)

    async def _by_mailbox(
        self,
        collection: Collection,
        workspace: Workspace,
        found: Document,
        field: str,
        since: Mapping[UUID, datetime],
    ) -> Counter[UUID]:
        if not since:
            return Counter()
        each = [{"mailbox_id": mailbox, field: {"$gte": at}} for mailbox, at in since.items()]
        earliest = {field: {"$gte": min(since.values())}}
        rows = await collection.aggregate(
            [
                {"$match": {"workspace_id": workspace, **found, **earliest, "$or": each}},
                {"$limit": MOST_COUNTED},
                {"$group": {"_id": "$mailbox_id", "n": {"$sum": 1}}},
            ]
        )
        return Counter({row["_id"]: row["n"] for row in rows})

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

    async def unreadable(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """What came in and held no message, the newest first."""
        shown = dict.fromkeys(("mailbox_id", "source", "received_at", "size", "unreadable"), 1)
        found = {"workspace_id": workspace, "unreadable": {"$exists": True}}
        return await read_page(self._inbound, found, LATEST_ARRIVAL, page, dict, shown)

    # ---- deliveries and tasks -------------------------------------------------------------------------

    async def delivery(self, workspace: Workspace, dispatch_id: str) -> DeliveryStory | None:
        """A delivery."""
        doc = await self._deliveries.find_one(
            {"_id": {"$eq": dispatch_id}, "workspace_id": workspace}, projection=DeliveryStory.PROJECTION
        )
        return DeliveryStory.read(doc) if doc else None

    async def tracked(self, workspace: Workspace, dispatch_id: str) -> TrackedView | None:
        """A delivery whose opens or clicks are measured."""
        doc = await self._deliveries.find_one(
            {"_id": {"$eq": dispatch_id}, "workspace_id": workspace, "tracking.links": {"$exists": True}},
            projection=TrackedView.PROJECTION,
        )
        return TrackedView.read(doc) if doc else None

    async def deliveries_of(self, workspace: Workspace, enrollment_id: UUID) -> list[DeliveryStory]:
        """An enrollment's deliveries in the order of its stages."""
        found = await self._deliveries.find(
            {"workspace_id": workspace, "enrollment_id": enrollment_id},
            projection=DeliveryStory.PROJECTION,
            limit=MOST_DELIVERIES,
        )
        stories = [DeliveryStory.read(doc) for doc in found]
        return sorted(stories, key=lambda each: (each.stage_index or 0, each.id))

    async def doubts(self, workspace: Workspace, page: PageQuery) -> tuple[list[DeliveryStory], str | None]:
        """A page of what is in doubt in sequences that go on, and undecided; the longest waiting first."""
        return await read_page(
            self._deliveries,
            {"workspace_id": workspace, "state": "in_doubt", "decision": None, "recalled_at": None},
            DOUBTS_BY_AGE,
            page,
            DeliveryStory.read,
            DeliveryStory.PROJECTION,
        )

    async def open_tasks(self, workspace: Workspace, assignee: UUID) -> int:
        """How many tasks wait for a user."""
        found = {"workspace_id": workspace, "state": "task_open", "task.assignee_id": assignee}
        return await self._deliveries.count(found, limit=MOST_COUNTED)

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

    async def recalled_tasks(
        self, workspace: Workspace, assignee: UUID | None, since: datetime, page: PageQuery
    ) -> tuple[list[DeliveryStory], str | None]:
        """A page of tasks that were taken back since then, the latest first."""
        found: Document = {
            "workspace_id": workspace,
            "state": "released",
            "task.opened_at": {"$type": "date"},
            "settled_at": {"$gte": since},
        }
        if assignee is not None:
            found["task.assignee_id"] = assignee
        shown: tuple[list[DeliveryStory], str | None] = await read_page(
            self._deliveries, found, LATEST_RECALLED, page, DeliveryStory.read, DeliveryStory.PROJECTION
        )
        return shown

    async def open_tasks_of(
        self, workspace: Workspace, assignee: UUID, also: Mapping[str, Any], limit: int
    ) -> list[str]:
        """The dispatch ids of open tasks of somebody, asleep or not; `also`: what else must be so."""
        found = await self._deliveries.find(
            {"workspace_id": workspace, "state": "task_open", "task.assignee_id": assignee, **also},
            projection={"_id": 1},
            sort=[("task.due_at", 1)],
            limit=limit,
        )
        return [doc["_id"] for doc in found]

    async def versions_with_people(self, workspace: Workspace) -> set[tuple[UUID, int]]:
        """The versions of sequences that somebody is going through."""
        rows = await self._enrollments.aggregate(
            [
                {"$match": {"workspace_id": workspace, "ended": False}},
                {"$group": {"_id": {"sequence": "$sequence_id", "version": "$sequence_version"}}},
            ]
        )
        return {(row["_id"]["sequence"], row["_id"]["version"]) for row in rows}

    async def endings(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, str]:
        """Why these enrollments ended: the reason of their stop, else their state; none for a live one."""
        found = await self._enrollments.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}, "ended": True},
            projection={"state": 1, "stop.reason": 1},
        )
        return {doc["_id"]: (doc.get("stop") or {}).get("reason") or doc["state"] for doc in found}


def last_event(story: EnrollmentStory) -> dict[str, Any] | None:
    """The newest entry of the history that was read."""
    return dict(story.history[-1]) if story.history else None
