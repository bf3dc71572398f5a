"""The scheduler's documents: every write is one guarded update, every read names its workspace.

Named exceptions to the workspace rule, because they serve all workspaces at once: the due loop (`due`,
`dispatch`, `ask_again`), the replay (`written_since`), the sweeps (`untold`, `parked_holds`, `parked_under`,
`unapplied_stops`, `open_replans`) and the look at the time zones (`tzdata`, `save_tzdata`, `workspaces`).
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis import documents as names
from chassis.documents import CalendarView, MailboxView, SequenceView, VersionView, WorkspaceView
from chassis.store import Database, Index, UpdateOne
from scheduler.model import Change, Document, State
from scheduler.story import number
from segue_contracts.ids import SHARDS

SHARDS_PER_QUERY = 60
"""Over 200 scans in one query MongoDB sorts the whole backlog instead of merging them."""
WITHOUT_HISTORY: Document = {"history": 0}
LIVE_BY_MAILBOX = "live_by_mailbox"
TZDATA = "tzdata"

INDEXES: dict[str, Sequence[Index]] = {
    names.ENROLLMENTS: (
        Index((("shard", 1), ("due_at", 1)), "due", partial={"due_at": {"$exists": True}}),
        Index((("workspace_id", 1), ("sequence_id", 1), ("ended", 1), ("_id", 1)), "sequence"),
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
        Index((("updated_at", 1),), "untold", partial={"outbox.0": {"$exists": True}}),
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
        self._mailboxes = database.collection(names.MAILBOXES)
        self._workspaces = database.collection(names.WORKSPACES)
        self._calendars = database.collection(names.CALENDARS)
        self._replans = database.collection(names.REPLANS)

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

    async def write(self, writes: Sequence[Write], token: UUID, recorded_at: datetime) -> set[UUID]:
        """Make each change if its enrollment is still as it was read; returns the ids where it was.

        Its chapters join the history and, marked with `token`, the outbox.
        """
        if not writes:
            return set()
        outcome = await self._enrollments.bulk([_update(w, token, recorded_at) for w in writes])
        ids = {w.enrollment["_id"] for w in writes}
        if outcome.matched == len(writes):
            return ids
        workspaces = {w.enrollment["workspace_id"] for w in writes}
        kept = await self._enrollments.find(
            _within(workspaces, {"_id": {"$in": list(ids)}, "written_by": token}), projection={"_id": 1}
        )
        return {doc["_id"] for doc in kept}

    async def ensure_indexes(self) -> None:
        """Create what is missing of the indexes of the collections that the scheduler writes."""
        for name, indexes in INDEXES.items():
            await self._database.collection(name).ensure_indexes(indexes)

    async def told(self, workspaces: Iterable[UUID], ids: Iterable[UUID], token: UUID) -> None:
        """The broker has the events that the write `token` put into the outbox."""
        await self._enrollments.update_many(
            _within(workspaces, {"_id": {"$in": list(ids)}}), {"$pull": {"outbox": {"by": token}}}
        )

    async def untold(self, older_than: datetime, real_now: datetime, limit: int) -> list[Document]:
        """Enrollments with events that the broker has not acknowledged (whole documents)."""
        return await self._enrollments.find(
            {"outbox.0": {"$exists": True}, "updated_at": {"$lt": older_than}, **not_aside(real_now)},
            sort=[("updated_at", 1)],
            limit=limit,
        )

    def written_since(self, since: datetime) -> AsyncIterator[Document]:
        """Enrollments of all workspaces that changed at or after `since` (whole documents)."""
        return self._enrollments.stream({"updated_at": {"$gte": since}, "seq": {"$gt": 0}})

    async def told_until(self, told: Iterable[tuple[Document, int]]) -> None:
        """The broker has each enrollment's events up to that number."""
        await self._enrollments.bulk(
            [
                UpdateOne(
                    {"_id": e["_id"], "workspace_id": e["workspace_id"]},
                    {"$pull": {"outbox": {"seq": {"$lte": seq}}}, "$unset": {"broken": ""}},
                )
                for e, seq in told
            ]
        )

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
                projection=WITHOUT_HISTORY,
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
        """scheduled becomes dispatched, one attempt more; dispatched gets a new deadline; if still due."""
        fresh = {"$eq": ["$state", State.SCHEDULED.value]}
        change = {
            "attempt": {"$cond": [fresh, {"$add": ["$attempt", 1]}, "$attempt"]},
            "state": State.DISPATCHED.value,
            "due_at": deadline,
            "rev": {"$add": ["$rev", 1]},
            "updated_at": recorded_at,
        }
        guard = {
            "state": {"$in": [State.SCHEDULED.value, State.DISPATCHED.value]},
            "due_at": {"$lte": now},
        }
        return await self._enrollments.update_by_ids(ids, guard, [{"$set": change}, {"$unset": "broken"}])

    async def ask_again(
        self, ids: Sequence[UUID], now: datetime, deadline: datetime, states: Sequence[State]
    ) -> int:
        """A new deadline for what waits for somebody else, if it is still due."""
        guard = {"state": {"$in": [s.value for s in states]}, "due_at": {"$lte": now}}
        change = {"due_at": deadline, "rev": {"$add": ["$rev", 1]}}
        return await self._enrollments.update_by_ids(ids, guard, [{"$set": change}, {"$unset": "broken"}])

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

    async def save_hold(self, hold: Document) -> bool:
        """Set or lift a hold, unless a newer wish (`changed_at`) is stored already."""
        older = {
            "_id": hold["_id"],
            "workspace_id": hold["workspace_id"],
            "changed_at": {"$lt": hold["changed_at"]},
        }
        if await self._holds.insert_new([hold]):
            return True
        return await self._holds.update_one(older, {"$set": {k: v for k, v in hold.items() if k != "_id"}})

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

    async def active_holds(self, workspace: UUID, now: datetime) -> list[Document]:
        """The holds of a workspace that hold at this business instant."""
        return await self._holds.find(
            {"workspace_id": workspace, "lifted_at": None, "until": {"$not": {"$lte": now}}},
            projection={"scope": 1, "scope_id": 1},
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

    async def save_stop(self, stop: Document) -> Document:
        """Store a scoped stop once; returns what is stored."""
        await self._stops.insert_new([stop])
        stored = await self._stops.find_one({"_id": stop["_id"], "workspace_id": stop["workspace_id"]})
        assert stored is not None
        return stored

    async def stops_since(
        self, workspaces: Iterable[UUID], keys: Iterable[Any], since: datetime
    ) -> list[Document]:
        """Scoped stops of these people and companies at or after `since`."""
        query = {"scope": {"$in": ["person", "company"]}, "key": {"$in": list(keys)}, "at": {"$gte": since}}
        return await self._stops.find(_within(workspaces, query))

    async def stop_applied(self, stop: Document) -> None:
        """Every match has ended."""
        await self._stops.update_one(
            {"_id": stop["_id"], "workspace_id": stop["workspace_id"]}, {"$set": {"applied": True}}
        )

    async def unapplied_stops(self, older_than: datetime, limit: int) -> list[Document]:
        """Scoped stops whose matches may not all have ended."""
        return await self._stops.find({"applied": False, "recorded_at": {"$lt": older_than}}, limit=limit)

    async def suppressed(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> set[str]:
        """Which of these suppression ids exist."""
        found = await self._suppressions.find(
            _within(workspaces, {"_id": {"$in": list(ids)}}), projection={"_id": 1}
        )
        return {doc["_id"] for doc in found}

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

    async def mailbox(self, workspace: UUID, mailbox_id: UUID) -> MailboxView | None:
        """A sending identity."""
        doc = await self._mailboxes.find_one(
            {"_id": mailbox_id, "workspace_id": workspace}, projection=MailboxView.PROJECTION
        )
        return MailboxView.read(doc) if doc else None

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


def _update(write: Write, token: UUID, recorded_at: datetime) -> UpdateOne:
    e, change = write.enrollment, write.change
    chapters = number(e, change, recorded_at)
    fields = {**change.set, "state": change.to.value, "written_by": token, "updated_at": recorded_at}
    update: Document = {"$set": fields, "$inc": {"rev": 1}}
    if chapters:
        fields["seq"] = chapters[-1]["seq"]
        outbox = [{"seq": c["seq"], "by": token} for c in chapters]
        update["$push"] = {"history": {"$each": chapters}, "outbox": {"$each": outbox}}
    update["$unset"] = dict.fromkeys((*change.unset, "broken"), "")
    return UpdateOne({"_id": e["_id"], "workspace_id": e["workspace_id"], "rev": e["rev"]}, update)


def _newer_facts(person: Document) -> UpdateOne:
    older = {
        "_id": person["_id"],
        "workspace_id": person["workspace_id"],
        "facts_at": {"$lt": person["facts_at"]},
    }
    return UpdateOne(older, {"$set": {k: v for k, v in person.items() if k != "_id"}})
