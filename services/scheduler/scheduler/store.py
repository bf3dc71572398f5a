"""The scheduler's documents: every write is one guarded update, every read names its workspace.

Named exceptions to the workspace rule, because they serve all workspaces at once: the due loop (`due`,
`dispatch`, `ask_again`), the replay (`written_since`), the outbox (`told`, `told_but`, `untold`, `whole`),
the sweeps (`parked_holds`, `parked_under`, `unapplied_stops`, `open_replans`) and the look at the time zones
(`tzdata`, `save_tzdata`, `workspaces`).
"""

from collections.abc import AsyncIterator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis import documents as names
from chassis.documents import (
    CalendarView,
    ComparisonView,
    EngagementView,
    MailboxView,
    SequenceView,
    SmsNumberView,
    TextedView,
    VersionView,
    WorkspaceView,
)
from chassis.retry import retrying
from chassis.store import Database, Index, UpdateOne, its_own
from scheduler.model import Change, Document, State
from segue_contracts.ids import SHARDS

SHARDS_PER_QUERY = 60
"""Over 200 scans in one query MongoDB sorts the whole backlog instead of merging them."""
WITHOUT_HISTORY: Document = {"history": 0}
AS_DUE: Document = dict.fromkeys(
    (
        *("workspace_id", "state", "ended", "sequence_id", "sequence_version", "person_id", "company_id"),
        *("owner_id", "mailbox_id", "is_test", "completed", "base", "rev", "seq", "stage_id", "stage_index"),
        *("channel", "attempt", "tried", "due_at", "planned_at", "send_before", "since", "owes_recall"),
        *("broken", "traceparent"),
    ),
    1,
)
"""What the due loop, and an outcome of what it dispatched, need of an enrollment."""
WORDS = frozenset({"edits", "pending"})
MERGED_AT_ONCE = 200
"""Each finds its own part of a statement by looking through all."""
LIVE_BY_MAILBOX = "live_by_mailbox"
TZDATA = "tzdata"

INDEXES: dict[str, Sequence[Index]] = {
    names.ENROLLMENTS: (
        Index((("shard", 1), ("due_at", 1)), "due", partial={"due_at": {"$exists": True}}),
        Index((("workspace_id", 1), ("sequence_id", 1), ("ended", 1), ("_id", 1)), "sequence"),
        # Not read here: for the api, whose lists and counts of a sequence's people read nothing else.
        Index(
            (("workspace_id", 1), ("sequence_id", 1), ("state", 1), ("planned_at", 1), ("_id", 1)),
            "sequence_state",
        ),
        Index(
            (("workspace_id", 1), ("sequence_id", 1), ("planned_at", 1), ("_id", 1), ("parked_by", 1)),
            "sequence_held",
            partial={"parked_by": {"$gt": ""}},
        ),
        Index(
            (
                *(("workspace_id", 1), ("sequence_id", 1), ("stop.reason", 1), ("stop.at", 1), ("_id", 1)),
                *(("state", 1), ("stage_id", 1)),
            ),
            "sequence_stop",
            partial={"stop.reason": {"$gt": ""}},
        ),
        # What goes out next of all that a user owns.
        Index(
            (("workspace_id", 1), ("owner_id", 1), ("planned_at", 1), ("_id", 1)),
            "next_of_owner",
            partial={"state": "scheduled", "due_at": {"$exists": True}},
        ),
        # Whom the statistics of a period are about: written once, its fields never change.
        Index((("workspace_id", 1), ("sequence_id", 1), ("created_at", 1)), "cohort"),
        Index((("workspace_id", 1), ("person_id", 1), ("ended", 1)), "person"),
        Index(
            (("workspace_id", 1), ("company_key", 1), ("ended", 1)),
            "company",
            partial={"company_key": {"$exists": True}},
        ),
        Index(
            (("workspace_id", 1), ("mailbox_id", 1), ("_id", 1)), LIVE_BY_MAILBOX, partial={"ended": False}
        ),
        Index((("parked_by", 1), ("_id", 1)), "parked", partial={"parked_by": {"$exists": True}}),
    ),
    names.PEOPLE: (
        Index((("workspace_id", 1), ("external_id", 1)), "external_id", unique=True),
        Index((("workspace_id", 1), ("addresses", 1)), "addresses"),
        Index((("workspace_id", 1), ("phones", 1)), "phones"),
    ),
    names.COMPANIES: (Index((("workspace_id", 1), ("key", 1)), "key", unique=True),),
    names.HOLDS: (Index((("workspace_id", 1), ("lifted_at", 1), ("until", 1)), "active"),),
    names.STOPS: (
        Index((("workspace_id", 1), ("key", 1), ("at", 1)), "key"),
        Index((("recorded_at", 1),), "unapplied", partial={"applied": False}),
    ),
    names.REPLANS: (Index((("begins_at", 1),), "open", partial={"applied": False}),),
    names.OUTBOX: (Index((("look_at", 1),), "look_at"),),
}


@dataclass(frozen=True, slots=True)
class Write:
    """An enrollment as it was read, and the change to make to exactly that."""

    enrollment: Document
    change: Change


class SchedulerStore:
    """People, companies, enrollments, holds, scoped stops, calendars and requests to plan again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._people = database.collection(names.PEOPLE)
        self._companies = database.collection(names.COMPANIES)
        self._stops = database.collection(names.STOPS)
        self._holds = database.collection(names.HOLDS)
        self._results = database.collection(names.COMMAND_RESULTS)
        self._suppressions = database.collection(names.SUPPRESSIONS)
        self._sequences = database.collection(names.SEQUENCES)
        self._versions = database.collection(names.SEQUENCE_VERSIONS)
        self._comparisons = database.collection(names.COMPARISONS)
        self._mailboxes = database.collection(names.MAILBOXES)
        self._workspaces = database.collection(names.WORKSPACES)
        self._sms_numbers = database.collection(names.SMS_NUMBERS)
        self._deliveries = database.collection(names.DELIVERIES)
        self._calendars = database.collection(names.CALENDARS)
        self._replans = database.collection(names.REPLANS)
        self._outbox = database.collection(names.OUTBOX)
        self._engagements = database.collection(names.ENGAGEMENTS)

    # ---- enrollments ----------------------------------------------------------------------------

    async def enrollments(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, Document]:
        """The enrollments of these workspaces with these ids, without their history."""
        return _by_id(
            await self._enrollments.find(
                _within(workspaces, {"_id": {"$in": list(ids)}}), projection=WITHOUT_HISTORY
            )
        )

    async def insert(self, enrollments: Sequence[Document]) -> set[UUID]:
        """Insert what is new; returns the ids that were."""
        return await self._enrollments.insert_new(enrollments) if enrollments else set()

    async def live_of(
        self, workspace: UUID, scope: str, key: Any, issued_until: datetime, limit: int, **more: Any
    ) -> list[Document]:
        """Live enrollments of one person or company (`scope`) that were asked for by `issued_until`."""
        field = {"person": "person_id", "company": "company_key"}[scope]
        found = {field: key, "ended": False, "issued_at": {"$lte": issued_until}, **more}
        return await self._enrollments.find(
            {"workspace_id": workspace, **found}, projection=WITHOUT_HISTORY, limit=limit
        )

    async def live_of_people(self, workspaces: Iterable[UUID], people: Iterable[UUID]) -> list[Document]:
        """Live enrollments of these people."""
        found = {"person_id": {"$in": list(people)}, "ended": False}
        return await self._enrollments.find(_within(workspaces, found), projection=WITHOUT_HISTORY)

    async def mailboxes_of(
        self, workspaces: Iterable[UUID], people: Iterable[UUID]
    ) -> dict[UUID, list[UUID]]:
        """The mailboxes of each person's enrollments, ended ones too, the oldest first."""
        found = await self._enrollments.find(
            _within(workspaces, {"person_id": {"$in": list(people)}}),
            projection={"person_id": 1, "mailbox_id": 1},
            sort=[("created_at", 1), ("_id", 1)],
        )
        mailboxes: dict[UUID, list[UUID]] = {}
        for e in found:
            mailboxes.setdefault(e["person_id"], []).append(e["mailbox_id"])
        return mailboxes

    async def ahead_of_mailbox(
        self, workspace: UUID, mailbox: UUID, edges: Sequence[datetime], held: Mapping[str, Sequence[UUID]]
    ) -> list[tuple[int, str, bool, int]]:
        """How many live enrollments wait for their current stage, by span, channel and whether they are held.

        Span n ends at `edges[n]`; the last one is what comes after all of them. `held` names what is held, by
        field. What waits for a person or for a decision is none of it.
        """
        span = {"$size": {"$filter": {"input": list(edges), "cond": {"$lte": ["$$this", "$planned_at"]}}}}
        under = [{"$in": [f"${field}", list(ids)]} for field, ids in held.items()]
        group = {
            "span": span,
            "channel": "$channel",
            "held": {"$or": [{"$gt": ["$parked_by", None]}, *under]},
        }
        rows = await self._enrollments.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "mailbox_id": mailbox,
                        "ended": False,
                        "state": {"$in": [State.SCHEDULED.value, State.DISPATCHED.value]},
                    }
                },
                {"$group": {"_id": group, "n": {"$sum": 1}}},
            ],
            hint=LIVE_BY_MAILBOX,
        )
        return [(r["_id"]["span"], r["_id"]["channel"], r["_id"]["held"], r["n"]) for r in rows]

    async def write(
        self,
        writes: Sequence[Write],
        stories: Sequence[Sequence[Document]],
        token: UUID,
        recorded_at: datetime,
    ) -> set[UUID]:
        """Make each change, and add its story (numbered chapters) to the history, if its enrollment is still
        as it was read; returns the ids where it was.
        """
        if not writes:
            return set()
        merges: dict[Hashable, list[_Merge]] = {}
        for write, story in zip(writes, stories, strict=True):
            merge = _Merge.of(write, story, token, recorded_at)
            merges.setdefault(merge.kind, []).append(merge)
        statements = [
            some[at : at + MERGED_AT_ONCE]
            for some in merges.values()
            for at in range(0, len(some), MERGED_AT_ONCE)
        ]
        workspaces = {w.enrollment["workspace_id"] for w in writes}
        changed = sum([await self._merge(workspaces, some) for some in statements])
        ids = {w.enrollment["_id"] for w in writes}
        if changed == len(writes):
            return ids
        kept = await self._enrollments.find(
            _within(workspaces, {"_id": {"$in": list(ids)}, "written_by": token}), projection={"_id": 1}
        )
        return {doc["_id"] for doc in kept}

    async def _merge(self, workspaces: Iterable[UUID], some: Sequence["_Merge"]) -> int:
        """One statement for many: mongod plans it once. How many were as read, too few if it was repeated."""
        filter = _within(workspaces, {"_id": {"$in": [merge.id for merge in some]}})
        update = _merging(some)
        return await retrying(
            lambda: self._enrollments.update_many(filter, update, hint="_id_", changed=True)
        )

    # ---- events that the broker may not have ----------------------------------------------------

    async def owe(
        self, token: UUID, owing: Sequence[Document], recorded_at: datetime, look_at: datetime
    ) -> None:
        """Before they are written: these (`_id`, and `rev` as read) will have chapters of `recorded_at` that
        the broker does not have yet; if they are still owed at `look_at`, a sweep looks.
        """
        owed = {"owing": owing, "recorded_at": recorded_at, "look_at": look_at}
        await self._outbox.insert_one({"_id": token, **owed})

    async def told(self, token: UUID) -> None:
        """The broker has the events that were owed under this token."""
        await self._outbox.delete_one({"_id": token})

    async def told_but(self, token: UUID, owing: Sequence[Document], look_at: datetime) -> None:
        """Only these still owe theirs."""
        await self._outbox.update_one({"_id": token}, {"$set": {"owing": owing, "look_at": look_at}})

    async def untold(self, real_now: datetime, limit: int) -> list[Document]:
        """What has been owed for too long."""
        return await self._outbox.find({"look_at": {"$lte": real_now}}, sort=[("look_at", 1)], limit=limit)

    async def whole(self, ids: Sequence[UUID]) -> list[Document]:
        """These enrollments with their history."""
        return await self._enrollments.find({"_id": {"$in": list(ids)}})

    async def mended(self, enrollments: Sequence[Document]) -> None:
        """These could be told: they are not broken any more."""
        marked = [e for e in enrollments if "broken" in e]
        workspaces, ids = {e["workspace_id"] for e in marked}, [e["_id"] for e in marked]
        if marked:
            await self._enrollments.update_many(
                _within(workspaces, {"_id": {"$in": ids}}), {"$unset": {"broken": ""}}
            )

    def written_since(self, since: datetime) -> AsyncIterator[Document]:
        """Enrollments of all workspaces that changed at or after `since` (whole documents)."""
        return self._enrollments.stream({"updated_at": {"$gte": since}, "seq": {"$gt": 0}})

    # ---- the due loop ---------------------------------------------------------------------------

    async def due(
        self, shards: Sequence[int], now: datetime, limit: int, since: datetime | None = None
    ) -> tuple[list[Document], datetime | None]:
        """What is due in these shards (from `since` on), the longest overdue first, and from where on there
        may be more; None: that was all. At most 60 shards in one query, and for each its share of `limit`.
        """
        groups = [shards[at : at + SHARDS_PER_QUERY] for at in range(0, len(shards), SHARDS_PER_QUERY)]
        share = max(1, limit // max(1, len(groups)))
        span = {"$lte": now} if since is None else {"$gte": since, "$lte": now}
        found: list[Document] = []
        more: list[datetime] = []
        for some in groups:
            part = await self._enrollments.find(
                {"shard": {"$in": list(some)}, "due_at": span},
                projection=AS_DUE,
                sort=[("due_at", 1)],
                limit=share,
            )
            if len(part) == share:
                more.append(part[-1]["due_at"])
            found += part
        found.sort(key=lambda e: e["due_at"])
        return found, min(more, default=None)

    async def dispatch(
        self, ids: Sequence[UUID], now: datetime, deadline: datetime, recorded_at: datetime
    ) -> int:
        """What is scheduled and still due becomes dispatched, one attempt more; how many were."""
        guard = {"state": State.SCHEDULED.value, "due_at": {"$lte": now}}
        fields = {"state": State.DISPATCHED.value, "due_at": deadline, "updated_at": recorded_at}
        change = {"$set": fields, "$inc": {"attempt": 1, "rev": 1}, "$unset": {"broken": ""}}
        return await self._enrollments.update_by_ids(ids, guard, change)

    async def ask_again(
        self, ids: Sequence[UUID], now: datetime, deadline: datetime, states: Sequence[State]
    ) -> int:
        """A new deadline for what waits for somebody else, if it is still due."""
        guard = {"state": {"$in": [s.value for s in states]}, "due_at": {"$lte": now}}
        change = {"$set": {"due_at": deadline}, "$inc": {"rev": 1}, "$unset": {"broken": ""}}
        return await self._enrollments.update_by_ids(ids, guard, change)

    async def put_aside(self, e: Document, mark: Document, due_at: datetime | None) -> None:
        """Mark what could not be carried on, if its deadline is still as it was read.

        With `due_at` that deadline moves too. `rev` stays: the document may be the very thing that is wrong.
        """
        deadline = {} if due_at is None else {"due_at": due_at}
        await self._enrollments.update_one(
            {"_id": e["_id"], "workspace_id": e.get("workspace_id"), "due_at": e.get("due_at")},
            {"$set": {"broken": mark, **deadline}},
        )

    # ---- people ---------------------------------------------------------------------------------

    async def people(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, Document]:
        """People by id."""
        return _by_id(await self._people.find(_within(workspaces, {"_id": {"$in": list(ids)}})))

    async def prospects(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, Document]:
        """What was told of these people, by id."""
        found = await self._people.find(
            _within(workspaces, {"_id": {"$in": list(ids)}}), projection={"prospect": 1}
        )
        return {doc["_id"]: doc["prospect"] for doc in found}

    async def people_at(self, workspaces: Iterable[UUID], addresses: Iterable[str]) -> list[Document]:
        """The people with one of these addresses (in lower case), whatever their id."""
        return await self._people.find(
            _within(workspaces, {"addresses": {"$in": list(addresses)}}),
            projection={"workspace_id": 1, "external_id": 1, "addresses": 1},
        )

    async def save_people(self, people: Sequence[Document]) -> set[UUID]:
        """Insert, or overwrite facts that are older than these (`facts_at`); the ids that were new."""
        new = await self._people.insert_new(people)
        await self._people.bulk([_newer_facts(p) for p in people if p["_id"] not in new])
        return new

    async def companies(self, companies: Sequence[Document]) -> dict[tuple[UUID, str], UUID]:
        """The ids of these companies by (workspace, key), made where they are new."""
        if not companies:
            return {}
        await self._companies.insert_new(companies)
        query = _within(
            {c["workspace_id"] for c in companies}, {"key": {"$in": [c["key"] for c in companies]}}
        )
        found = await self._companies.find(query)
        return {(c["workspace_id"], c["key"]): c["_id"] for c in found}

    # ---- holds ----------------------------------------------------------------------------------

    async def holds(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> dict[str, Document]:
        """Hold documents by id, lifted and expired ones too."""
        return _by_id(await self._holds.find(_within(workspaces, {"_id": {"$in": list(ids)}})))

    async def active_holds(self, workspaces: Iterable[UUID], now: datetime, limit: int = 0) -> list[Document]:
        """The holds of these workspaces that hold at this business instant."""
        lasting = {"lifted_at": None, "until": {"$not": {"$lte": now}}}
        return await self._holds.find(_within(workspaces, lasting), limit=limit)

    async def save_hold(self, hold: Document, *, extends: bool = False) -> bool:
        """Set or lift a hold, unless a newer wish (`changed_at`) is stored already.

        `extends`: nor where one stands that lasts as long.
        """
        older: Document = {
            "_id": hold["_id"],
            "workspace_id": hold["workspace_id"],
            "changed_at": {"$lt": hold["changed_at"]},
        }
        if extends:
            shorter = {"$ne": None} if hold["until"] is None else {"$lt": hold["until"]}
            older["$or"] = [{"lifted_at": {"$ne": None}}, {"until": shorter}]
        if await self._holds.insert_new([hold]):
            return True
        return await self._holds.update_one(older, {"$set": {k: v for k, v in hold.items() if k != "_id"}})

    async def owners_at(self, workspace: UUID, mailbox_id: UUID) -> list[UUID]:
        """Whose enrollments write from the mailbox."""
        rows = await self._enrollments.aggregate(
            [
                {"$match": {"workspace_id": workspace, "mailbox_id": mailbox_id, "ended": False}},
                {"$group": {"_id": "$owner_id"}},
            ]
        )
        return [row["_id"] for row in rows]

    async def transfer(self, workspace: UUID, sequence_id: UUID, owner_id: UUID) -> None:
        """All in the sequence are the new owner's, who is told of late answers too; no other write sets one.

        Broken off, a repetition goes on with the rest.
        """
        others = {"$ne": owner_id}
        await self._enrollments.update_many(
            {"workspace_id": workspace, "sequence_id": sequence_id, "owner_id": others},
            {"$set": {"owner_id": owner_id}},
        )

    async def parked_holds(self) -> list[Document]:
        """Every hold that some enrollment is parked under."""
        ids = await self._enrollments.aggregate(
            [
                {"$match": {"parked_by": {"$exists": True}}},
                {"$group": {"_id": "$parked_by"}},
            ]
        )
        return await self._holds.find({"_id": {"$in": [doc["_id"] for doc in ids]}})

    async def parked_under(self, hold_id: str, real_now: datetime, limit: int) -> list[Document]:
        """Enrollments that are parked under a hold, without those that are put aside for now."""
        return await self._enrollments.find(
            {"parked_by": hold_id, **not_aside(real_now)}, projection=WITHOUT_HISTORY, limit=limit
        )

    # ---- calendars, planning again --------------------------------------------------------------

    async def calendar(self, workspace: UUID) -> CalendarView | None:
        """The workspace's own days off; None before any were set."""
        doc = await self._calendars.find_one(
            {"_id": workspace, "workspace_id": workspace}, projection=CalendarView.PROJECTION
        )
        return CalendarView.read(doc) if doc else None

    async def save_calendar(self, calendar: Document) -> bool:
        """Store the days unless newer ones (`changed_at`) are there; whether these are stored then."""
        if await self._calendars.insert_new([calendar]):
            return True
        not_newer = {
            "_id": calendar["_id"],
            "workspace_id": calendar["workspace_id"],
            "changed_at": {"$lte": calendar["changed_at"]},
        }
        return await self._calendars.replace_one(not_newer, calendar)

    async def ask_replan(self, replan: Document) -> None:
        """Store a request in place of an earlier one of its scope, unless that is the same (`asked_by`)."""
        if not await self._replans.insert_new([replan]):
            another = {
                "_id": replan["_id"],
                "workspace_id": replan["workspace_id"],
                "asked_by": {"$ne": replan["asked_by"]},
            }
            await self._replans.replace_one(another, replan)

    async def open_replans(self, real_now: datetime, tzdata: str, limit: int) -> list[Document]:
        """Requests that have begun and that a scheduler with these time zones may carry out."""
        return await self._replans.find(
            {"applied": False, "begins_at": {"$lte": real_now}, "tzdata": {"$in": [None, tzdata]}},
            sort=[("begins_at", 1)],
            limit=limit,
        )

    async def to_replan(self, replan: Document, now: datetime, limit: int) -> list[Document]:
        """What waits behind the request's cursor and is not due yet: by mailbox, then by id."""
        waiting = {
            "workspace_id": replan["workspace_id"],
            "ended": False,
            "state": State.SCHEDULED.value,
            "due_at": {"$gt": now},
        }
        at = replan["cursor"]
        found = await self._enrollments.find(
            {**waiting, "mailbox_id": at["mailbox_id"], "_id": {"$gt": at["_id"]}},
            projection=WITHOUT_HISTORY,
            sort=[("_id", 1)],
            limit=limit,
            hint=LIVE_BY_MAILBOX,
        )
        if len(found) < limit and replan["scope"] != "mailbox":
            found += await self._enrollments.find(
                {**waiting, "mailbox_id": {"$gt": at["mailbox_id"]}},
                projection=WITHOUT_HISTORY,
                sort=[("mailbox_id", 1), ("_id", 1)],
                limit=limit - len(found),
                hint=LIVE_BY_MAILBOX,
            )
        return found

    async def replan_went(self, replan: Document, cursor: Document) -> Document | None:
        """Planned again up to there; the request then, None if another process or a newer one was faster."""
        return await self._replans.find_one_and_update(_as_read(replan), {"$set": {"cursor": cursor}})

    async def replan_applied(self, replan: Document) -> None:
        """Nobody is left."""
        await self._replans.update_one(_as_read(replan), {"$set": {"applied": True}})

    async def tzdata(self) -> str | None:
        """The version of the time zone database at the last start of a scheduler."""
        doc = await self._replans.find_one({"_id": TZDATA})
        return doc["version"] if doc else None

    async def save_tzdata(self, version: str) -> None:
        """Everybody who was planned by another version was asked to be planned again."""
        await self._replans.update_one({"_id": TZDATA}, {"$set": {"version": version}}, upsert=True)

    # ---- scoped stops, suppressions, results ----------------------------------------------------

    async def save_stops(self, stops: Sequence[Document]) -> list[Document]:
        """Store scoped stops, each once; returns them as they are stored."""
        new = await self._stops.insert_new(stops)
        there = [stop for stop in stops if stop["_id"] not in new]
        query = _within({s["workspace_id"] for s in there}, {"_id": {"$in": [s["_id"] for s in there]}})
        return [s for s in stops if s["_id"] in new] + (await self._stops.find(query) if there else [])

    async def people_with_live(self, workspaces: Iterable[UUID], people: Iterable[UUID]) -> set[UUID]:
        """Which of these people are in a sequence now."""
        query = _within(workspaces, {"person_id": {"$in": list(people)}, "ended": False})
        found = await self._enrollments.find(query, projection={"person_id": 1})
        return {doc["person_id"] for doc in found}

    async def stops_since(
        self, workspaces: Iterable[UUID], keys: Iterable[Any], since: datetime
    ) -> list[Document]:
        """Scoped stops of these people and companies at or after `since`."""
        query = {"scope": {"$in": ["person", "company"]}, "key": {"$in": list(keys)}, "at": {"$gte": since}}
        return await self._stops.find(_within(workspaces, query))

    async def stops_applied(self, stops: Sequence[Document]) -> None:
        """Every match of these has ended."""
        query = _within({s["workspace_id"] for s in stops}, {"_id": {"$in": [s["_id"] for s in stops]}})
        await self._stops.update_many(query, {"$set": {"applied": True}})

    async def unapplied_stops(self, older_than: datetime, limit: int) -> list[Document]:
        """Scoped stops whose matches may not all have ended."""
        return await self._stops.find({"applied": False, "recorded_at": {"$lt": older_than}}, limit=limit)

    async def suppressed(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> set[str]:
        """Which of these suppression ids exist."""
        found = await self._suppressions.find(
            _within(workspaces, {"_id": {"$in": list(ids)}}), projection={"_id": 1}
        )
        return {doc["_id"] for doc in found}

    async def suppression_reasons(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> dict[str, str]:
        """Why each of these exists, of those that do."""
        query = _within(workspaces, {"_id": {"$in": list(ids)}})
        found = await self._suppressions.find(query, projection={"reason": 1})
        return {doc["_id"]: doc["reason"] for doc in found}

    async def results(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, Document]:
        """What became of these commands, where that is known."""
        return _by_id(await self._results.find(_within(workspaces, {"_id": {"$in": list(ids)}})))

    async def save_results(self, results: Sequence[Document]) -> None:
        """What became of commands; the first word stays."""
        if results:
            await self._results.insert_new(results)

    # ---- what others own ------------------------------------------------------------------------

    async def sequences(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, SequenceView]:
        """Sequences by id."""
        query = _within(workspaces, {"_id": {"$in": list(ids)}})
        found = await self._sequences.find(query, projection=SequenceView.PROJECTION)
        return {doc["_id"]: SequenceView.read(doc) for doc in found}

    async def version(self, workspace: UUID, sequence_id: UUID, version: int) -> VersionView | None:
        """A published version."""
        query = {"_id": names.version_id(sequence_id, version), "workspace_id": workspace}
        doc = await self._versions.find_one(query, projection=VersionView.PROJECTION)
        return VersionView.read(doc) if doc else None

    async def winners(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, str]:
        """Which variant has won, by comparison; those that go on are left out."""
        query = _within(workspaces, {"_id": {"$in": list(ids)}})
        found = await self._comparisons.find(query, projection=ComparisonView.PROJECTION)
        return {each.id: each.winner for each in map(ComparisonView.read, found) if each.winner}

    async def engagements(
        self, workspaces: Iterable[UUID], dispatch_ids: Iterable[str]
    ) -> list[EngagementView]:
        """What people, as far as can be told, did with these messages."""
        query = _within(workspaces, {"dispatch_id": {"$in": list(dispatch_ids)}, "human": {"$gt": 0}})
        found = await self._engagements.find(query, projection=EngagementView.PROJECTION)
        return [EngagementView.read(doc) for doc in found]

    async def mailbox(self, workspace: UUID, mailbox_id: UUID) -> MailboxView | None:
        """A sending identity."""
        doc = await self._mailboxes.find_one(
            {"_id": mailbox_id, "workspace_id": workspace}, projection=MailboxView.PROJECTION
        )
        return MailboxView.read(doc) if doc else None

    async def sms_numbers(self, workspace: UUID) -> tuple[SmsNumberView, ...]:
        """The phone numbers that can send."""
        found = await self._sms_numbers.find({"workspace_id": workspace}, projection=SmsNumberView.PROJECTION)
        return tuple(number for number in map(SmsNumberView.read, found) if number.can_send)

    async def numbers_used(self, workspaces: Iterable[UUID], enrollments: Iterable[UUID]) -> dict[UUID, UUID]:
        """From which number each enrollment's latest text message went, or was about to."""
        wanted = {"enrollment_id": {"$in": list(enrollments)}, "number_id": {"$exists": True}}
        found = await self._deliveries.find(
            _within(workspaces, wanted), projection=TextedView.PROJECTION, sort=[("transmitted_at", 1)]
        )
        return {texted.enrollment_id: texted.number_id for texted in map(TextedView.read, found)}

    async def workspace(self, workspace: UUID) -> WorkspaceView | None:
        """The organisation."""
        doc = await self._workspaces.find_one({"_id": workspace}, projection=WorkspaceView.PROJECTION)
        return WorkspaceView.read(doc) if doc else None

    async def workspaces(self) -> list[UUID]:
        """Every workspace there is."""
        return [doc["_id"] for doc in await self._workspaces.find({}, projection={"_id": 1})]


ALL_SHARDS = tuple(range(SHARDS))


def not_aside(real_now: datetime) -> Document:
    """The part of a filter that leaves out what is broken until its next try."""
    return {"broken.again_at": {"$not": {"$gt": real_now}}}


def _within(workspaces: Iterable[UUID], query: Document) -> Document:
    return {"workspace_id": {"$in": list(set(workspaces))}, **query}


def _as_read(replan: Document) -> Document:
    same = {name: replan[name] for name in ("_id", "asked_by", "cursor")}
    return {"workspace_id": replan["workspace_id"], **same}


def _by_id(found: Iterable[Document]) -> dict[Any, Document]:
    return {doc["_id"]: doc for doc in found}


@dataclass(frozen=True, slots=True)
class _Merge:
    """A guarded write as mongod gets it; those of one `kind` fit into one statement."""

    id: UUID
    rev: int
    set: Document
    story: Sequence[Document]
    unset: tuple[str, ...]

    @classmethod
    def of(cls, write: Write, story: Sequence[Document], token: UUID, recorded_at: datetime) -> "_Merge":
        e, change = write.enrollment, write.change
        fields = {**change.set, "state": change.to.value, "written_by": token, "updated_at": recorded_at}
        fields["rev"] = e["rev"] + 1
        if story:
            fields["seq"] = story[-1]["seq"]
        # The guard says that what it lacked as read it still lacks; only `broken` comes without a new `rev`.
        unset = tuple(name for name in change.unset if name in e)
        return cls(e["_id"], e["rev"], fields, story, (*unset, "broken"))

    @property
    def kind(self) -> Hashable:
        """What carries somebody's words may be large and goes alone."""
        return (self.unset, self.id if self.set.keys() & WORDS else None)


def _merging(some: Sequence[_Merge]) -> list[Document]:
    """An update that gives each its own; the guard is in it, so one that is not as read stays as it is."""
    changes: list[Document] = [{"rev": m.rev, "set": m.set, "story": m.story} for m in some]
    mine = its_own("_id", [m.id for m in some], changes)
    history = {"$concatArrays": ["$history", "$$mine.story"]}
    merged: Document = {"$mergeObjects": ["$$ROOT", "$$mine.set", {"history": history}]}
    for name in some[0].unset:
        merged = {"$unsetField": {"field": name, "input": merged}}
    guarded = {"$cond": [{"$eq": ["$rev", "$$mine.rev"]}, merged, "$$ROOT"]}
    return [{"$replaceWith": {"$let": {"vars": {"mine": mine}, "in": guarded}}}]


def _newer_facts(person: Document) -> UpdateOne:
    older = {
        "_id": person["_id"],
        "workspace_id": person["workspace_id"],
        "facts_at": {"$lt": person["facts_at"]},
        "erased_at": None,
    }
    return UpdateOne(older, {"$set": {k: v for k, v in person.items() if k != "_id"}})
