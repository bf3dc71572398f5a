"""What the API reads of others: enrollments and people (scheduler), deliveries and tasks (sender), holds."""

from collections import Counter
from collections.abc import Collection as Some
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from api.paging import Kind, Order, PageQuery, read_page
from api.personal import Belongings
from api.statistics import Statistics
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
from segue_contracts.ids import person_id

BY_ID = Order((("_id", 1, Kind.UUID),))
TASKS_BY_DUE = Order((("task.due_at", 1, Kind.INSTANT), ("_id", 1, Kind.TEXT)))
DOUBTS_BY_AGE = Order((("settled_at", 1, Kind.INSTANT), ("_id", 1, Kind.TEXT)))
LATEST_RECALLED = Order((("settled_at", -1, Kind.INSTANT), ("_id", -1, Kind.TEXT)))
LATEST_ARRIVAL = Order((("received_at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID)))
NEXT_PLANNED = Order((("planned_at", 1, Kind.INSTANT), ("_id", 1, Kind.UUID)))
LAST_PLANNED = Order((("planned_at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID)))
LATEST_STOP = Order((("stop.at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID)))
LIVE_STATES = ("scheduled", "dispatched", "awaiting_task", "in_doubt")
ENDED_STATES = ("stopped", "finished", "failed")
MOST_DELIVERIES = 500
MOST_COUNTED = 1_000_000
MOST_PEOPLE = 100
"""With one e-mail address."""


class Reads:
    """Only reads, only within a workspace."""

    def __init__(self, database: Database) -> None:
        self.statistics = Statistics(database)
        self.belongings = Belongings(database)
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

    async def sequence_of(self, workspace: Workspace, enrollment_id: UUID) -> UUID | None:
        """The sequence of an enrollment that exists."""
        found = {"_id": enrollment_id, "workspace_id": workspace, "tombstone": None}
        doc = await self._enrollments.find_one(found, projection={"sequence_id": 1})
        return doc["sequence_id"] if doc else None

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

    async def enrollments_by_plan(
        self, workspace: Workspace, sequence_id: UUID, word: str, page: PageQuery
    ) -> tuple[list[EnrollmentStory], str | None]:
        """A page of those whom a word means (see `whom`), in the order in which one looks for them: who goes
        on, the soonest first; who ended, the last planned first; who answered, the last answer first.
        """
        found = {"workspace_id": workspace, "sequence_id": sequence_id, **whom(word)}
        ends = word == "ended" or word in ENDED_STATES
        order = LATEST_STOP if word == "answered" else LAST_PLANNED if ends else NEXT_PLANNED
        return await read_page(
            self._enrollments, found, order, page, EnrollmentStory.read, EnrollmentStory.LAST_EVENT
        )

    async def enrollments_of(
        self, workspace: Workspace, sequence_id: UUID, person: str, page: PageQuery
    ) -> tuple[list[EnrollmentStory], str | None]:
        """A page of the enrollments of people with exactly this `external_id` or e-mail address."""
        at = await self._people.find(
            {"workspace_id": workspace, "addresses": {"$eq": person.lower()}},
            projection={"_id": 1},
            limit=MOST_PEOPLE,
        )
        people = [person_id(workspace, person), *(doc["_id"] for doc in at)]
        found = {
            "workspace_id": workspace,
            "person_id": {"$in": people},
            "ended": {"$in": [False, True]},
            "sequence_id": sequence_id,
        }
        return await read_page(
            self._enrollments, found, BY_ID, page, EnrollmentStory.read, EnrollmentStory.LAST_EVENT
        )

    async def live_ids(
        self, workspace: Workspace, sequence_id: UUID, which: Document, page: PageQuery
    ) -> tuple[list[UUID], str | None]:
        """A page of the ids of those in a sequence who are live and match."""
        found = {"workspace_id": workspace, "sequence_id": sequence_id, "ended": False, **which}
        return await read_page(self._enrollments, found, BY_ID, page, lambda doc: doc["_id"], {"_id": 1})

    async def some_ids(self, workspace: Workspace, sequence_id: UUID, word: str, limit: int) -> list[UUID]:
        """The ids of up to so many of those whom a word means, from an index alone."""
        found = await self._enrollments.find(
            {"workspace_id": workspace, "sequence_id": sequence_id, **whom(word)},
            projection={"_id": 1},
            limit=limit,
        )
        return [doc["_id"] for doc in found]

    async def upcoming(
        self, workspace: Workspace, owner: UUID, page: PageQuery
    ) -> tuple[list[EnrollmentStory], str | None]:
        """A page of those of an owner's sequences to whom something goes out, the next first."""
        found = {
            "workspace_id": workspace,
            "owner_id": owner,
            "state": "scheduled",
            "due_at": {"$exists": True},
        }
        return await read_page(
            self._enrollments, found, NEXT_PLANNED, page, EnrollmentStory.read, EnrollmentStory.LAST_EVENT
        )

    async def members(self, workspace: Workspace, sequence_id: UUID, ids: Some[UUID]) -> set[UUID]:
        """Which of these enrollments are of the sequence."""
        found = await self._enrollments.find(
            {"workspace_id": workspace, "sequence_id": sequence_id, "_id": {"$in": list(ids)}},
            projection={"_id": 1},
        )
        return {doc["_id"] for doc in found}

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
        self, workspace: Workspace, which: Document, where: Document, page: PageQuery
    ) -> tuple[list[AnswerView], str | None]:
        """A page of the messages that match, the newest first; `where` is about `answer`."""
        named = {f"answer.{field}": {"$eq": value} for field, value in where.items()}
        found = {"workspace_id": workspace, "answer": {"$exists": True}, **which, **named}
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

    async def doubts(
        self, workspace: Workspace, which: Document, page: PageQuery
    ) -> tuple[list[DeliveryStory], str | None]:
        """A page of what matches and is in doubt in sequences that go on, undecided; the oldest first."""
        return await read_page(
            self._deliveries,
            {**_doubtful(workspace), **which},
            DOUBTS_BY_AGE,
            page,
            DeliveryStory.read,
            DeliveryStory.PROJECTION,
        )

    async def waiting_tasks(
        self, workspace: Workspace, assignee: UUID, due_by: datetime, now: datetime, most: int
    ) -> int:
        """How many tasks of a user are due by then and awake, counted up to `most`."""
        found = {
            "workspace_id": workspace,
            "state": "task_open",
            "task.assignee_id": assignee,
            "task.due_at": {"$lte": due_by},
            "task.snoozed_until": {"$not": {"$gt": now}},
        }
        return await self._deliveries.count(found, limit=most)

    async def overdue_tasks(self, workspace: Workspace, assignee: UUID, now: datetime, most: int) -> int:
        """How many tasks of a user are overdue and awake, counted up to `most`."""
        found = {
            "workspace_id": workspace,
            "state": "task_open",
            "task.assignee_id": assignee,
            "task.due_at": {"$lte": now},
            "task.overdue_at": {"$lte": now},
            "task.snoozed_until": {"$not": {"$gt": now}},
        }
        return await self._deliveries.count(found, limit=most)

    async def open_answers(self, workspace: Workspace, owner: UUID, most: int) -> int:
        """How many answers to a user's sequences nobody has looked at, counted up to `most`."""
        found = {
            "workspace_id": workspace,
            "answer": {"$exists": True},
            "answer.owners": owner,
            "answer.open": True,
        }
        return await self._inbound.count(found, limit=most)

    async def count_doubts(self, workspace: Workspace, which: Document, most: int) -> int:
        """How many that match are in doubt and undecided, counted up to `most`."""
        return await self._deliveries.count({**_doubtful(workspace), **which}, limit=most)

    async def open_tasks(self, workspace: Workspace, assignee: UUID) -> int:
        """How many tasks wait for a user."""
        found = {"workspace_id": workspace, "state": "task_open", "task.assignee_id": assignee}
        return await self._deliveries.count(found, limit=MOST_COUNTED)

    async def tasks(
        self,
        workspace: Workspace,
        which: Document,
        assignee: UUID | None,
        awake_at: datetime,
        page: PageQuery,
    ) -> tuple[list[DeliveryStory], str | None]:
        """A page of the open tasks that match, the longest due first; snoozed ones come back in time."""
        found: Document = {
            "workspace_id": workspace,
            **which,
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
        self,
        workspace: Workspace,
        which: Document,
        assignee: UUID | None,
        since: datetime,
        page: PageQuery,
    ) -> tuple[list[DeliveryStory], str | None]:
        """A page of the tasks that match and were taken back since then, the latest first."""
        found: Document = {
            "workspace_id": workspace,
            **which,
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


def whom(word: str) -> Document:
    """What matches the enrollments of a sequence that people mean by a word: a state, or `live`, `ended`,
    `held` (paused, whatever holds them), `answered`.
    """
    if word == "held":
        return {"parked_by": {"$gt": ""}}
    if word == "answered":
        return {"stop.reason": {"$eq": "replied", "$gt": ""}}
    states = {"live": LIVE_STATES, "ended": ENDED_STATES}.get(word, (word,))
    return {"state": {"$in": list(states)}}


def _doubtful(workspace: Workspace) -> Document:
    """What matches the deliveries that wait for somebody to say whether they arrived."""
    return {"workspace_id": workspace, "state": "in_doubt", "decision": None, "recalled_at": None}


def last_event(story: EnrollmentStory) -> dict[str, Any] | None:
    """The newest entry of the history that was read."""
    return dict(story.history[-1]) if story.history else None
