"""Counts over many sequences: what became of those enrolled in a period, and what happened in one.

Every number is defined in docs/stats.md. A question is bounded by `MOST` and by the client's own timeout, and
its answer is kept for a minute.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from chassis import documents as names
from chassis.store import Collection, Database, Document, Workspace

MOST: Final = 500_000
"""Enrollments, messages or answers that one question may be about."""
KEPT: Final = timedelta(seconds=60)
MOST_KEPT: Final = 500
OUTCOMES: Final = ("answered", "bounced", "opted_out", "stopped", "finished", "failed")
_OF_STOP: Final[Mapping[str, str]] = {
    "replied": "answered",
    "bounced": "bounced",
    "unsubscribed": "opted_out",
    "complained": "opted_out",
}
"""What a stop counts as if something had gone out before it; any other, and any before that, is `stopped`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: sequences, the instants [since, until), and what narrows it down.

    `versions`: only what went out in the words of one of these.
    """

    workspace: Workspace
    sequences: frozenset[UUID]
    since: datetime
    until: datetime
    zone: str
    stage: str | None = None
    channel: str | None = None
    versions: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """By what counts are grouped; by variant only by stage too."""

    sequence: bool = False
    stage: bool = False
    day: bool = False
    variant: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A group; what the split does not name is None, and all of it is the whole."""

    sequence: UUID | None = None
    stage: str | None = None
    day: date | None = None
    variant: str | None = None


Counted = Mapping[Key, Counter[str]]


class TooMany(Exception):
    """A question is about more than `MOST`: nothing is counted, since a part of it would be wrong."""


class Statistics:
    """Reads only; `split` None counts everything as one group. What they raise: `TooMany`."""

    def __init__(self, database: Database) -> None:
        self._kept: dict[object, tuple[datetime, Counted]] = {}
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._deliveries = database.collection(names.DELIVERIES)
        self._inbound = database.collection(names.INBOUND)
        self._engagements = database.collection(names.ENGAGEMENTS)

    async def cohort(self, asked: Asked, split: Split | None, real_now: datetime) -> Counted:
        """Of those enrolled in the period: `enrolled`, `sent`, `interested`, `live`, and each outcome."""
        return await self._remembered(self._cohort, asked, split, real_now)

    async def compared(self, asked: Asked, *, measured: bool) -> Mapping[str, Counter[str]]:
        """Of one stage, by variant, as it is now: the cohort's counts, or what is `measured`: `sent`,
        `opened` and `clicked`.
        """
        split = Split(stage=True, variant=True)
        if not measured:
            counted = await self._cohort(asked, split)
        else:
            sent = await self._delivered(asked, split, "sent", "sent_at", "sent")
            counted = _together(sent, await self._engaged(asked, split))
        return {key.variant: counts for key, counts in counted.items() if key.variant is not None}

    async def activity(self, asked: Asked, split: Split | None, real_now: datetime) -> Counted:
        """What happened in the period: `sent`, `tasks_done`, `opened` and `clicked` (of what was sent then),
        `answers`, `interested`, `opted_out`.
        """
        return await self._remembered(self._activity, asked, split, real_now)

    async def _remembered(
        self,
        count: Callable[[Asked, Split | None], Awaitable[Counted]],
        asked: Asked,
        split: Split | None,
        real_now: datetime,
    ) -> Counted:
        question = (count.__name__, asked, split)
        self._kept = {key: kept for key, kept in self._kept.items() if real_now - kept[0] < KEPT}
        if question not in self._kept:
            counted = await count(asked, split)
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[question] = (real_now, counted)
        return self._kept[question][1]

    async def _cohort(self, asked: Asked, split: Split | None) -> Counted:
        indexed = {**_within(asked), "created_at": _during(asked)}
        await _check_size(self._enrollments, indexed)
        found = {**indexed, "is_test": {"$ne": True}}
        reached: list[Document] = [{"$project": _course("$created_at", asked.zone)}, *_narrowed(asked, split)]
        key = _group_of(split)
        everybody: Document = {"$match": found}
        people = await _grouped(self._enrollments, [everybody, {"$limit": MOST}, *reached, _summed(key)])
        wanted = {"answer.kind": "reply", "answer.intent": "interested"}
        said_yes: list[Document] = [
            {"$match": _answers(asked, wanted, until=None)},
            {"$unwind": "$answer.enrollments"},
            {"$group": {"_id": "$answer.enrollments"}},
            _looked_up("_id", found, reached),
            {"$unwind": "$of"},
            {"$replaceRoot": {"newRoot": "$of"}},
            {"$match": {"outcome": "answered", "is_last": True}},
            {"$group": {"_id": key, "interested": {"$sum": 1}}},
        ]
        return _together(people, await _grouped(self._inbound, said_yes))

    async def _activity(self, asked: Asked, split: Split | None) -> Counted:
        return _together(
            await self._delivered(asked, split, "sent", "sent_at", "sent"),
            await self._delivered(asked, split, "done", "settled_at", "tasks_done"),
            await self._answered(asked, split),
            await self._engaged(asked, split),
        )

    async def _delivered(
        self, asked: Asked, split: Split | None, state: str, field: str, called: str
    ) -> Counted:
        indexed = {**_within(asked), "state": state, field: _during(asked)}
        await _check_size(self._deliveries, indexed)
        pipeline: list[Document] = [
            {"$match": {**indexed, **_of_stage(asked)}},
            {"$limit": MOST},
            {"$set": {"stage": "$stage_id", "day": _day(f"${field}", asked.zone)}},
            {"$group": {"_id": _group_of(split), called: {"$sum": 1}}},
        ]
        return await _grouped(self._deliveries, pipeline)

    async def _answered(self, asked: Asked, split: Split | None) -> Counted:
        """An answer belongs to the last stage that had gone out to its person when it came."""
        answers = _answers(asked, {"answer.kind": {"$in": ["reply", "opt_out"]}}, until=asked.until)
        await _check_size(self._inbound, answers)
        enrolled = {**_within(asked), "is_test": {"$ne": True}}
        one_each = {"of": _group_of(split), "message": "$_id"}
        pipeline: list[Document] = [
            {"$match": answers},
            {"$limit": MOST},
            {"$unwind": "$answer.enrollments"},
            _looked_up("answer.enrollments", enrolled, [{"$project": _LAST_BEFORE}], at="$received_at"),
            {"$unwind": "$of"},
            {"$project": _answer_of(asked.zone)},
            {"$match": _given({"stage": asked.stage, "channel": asked.channel})},
            {"$group": {"_id": one_each, **{word: {"$first": f"${word}"} for word in _ANSWERS}}},
            {"$group": {"_id": "$_id.of", **{word: _count_if(f"${word}") for word in _ANSWERS}}},
        ]
        return await _grouped(self._inbound, pipeline)

    async def _engaged(self, asked: Asked, split: Split | None) -> Counted:
        """Messages, not requests: one that was opened ten times is one."""
        if asked.channel not in (None, "email"):  # nothing else is measured
            return {}
        found = {
            **_within(asked),
            **_given({"stage_id": asked.stage}),
            "is_test": {"$ne": True},
            "sent_at": _during(asked),
            "human": {"$gt": 0},
            **_in_versions(asked),
        }
        pipeline: list[Document] = [
            {"$match": found},
            {"$limit": MOST},
            {"$set": {"stage": "$stage_id", "day": _day("$sent_at", asked.zone)}},
            {"$group": {"_id": {"of": _group_of(split), "message": "$dispatch_id", "kind": "$kind"}}},
            {
                "$group": {
                    "_id": "$_id.of",
                    "opened": _count_if({"$eq": ["$_id.kind", "opened"]}),
                    "clicked": _count_if({"$eq": ["$_id.kind", "clicked"]}),
                }
            },
        ]
        return await _grouped(self._engagements, pipeline)


# ---- what matches -------------------------------------------------------------------------------------


def _during(asked: Asked) -> Document:
    return {"$gte": asked.since, "$lt": asked.until}


def _within(asked: Asked) -> Document:
    return {"workspace_id": asked.workspace, "sequence_id": {"$in": list(asked.sequences)}}


def _of_stage(asked: Asked) -> Document:
    given = _given({"stage_id": asked.stage, "channel": asked.channel})
    return {"is_test": {"$ne": True}, **given, **_in_versions(asked)}


def _in_versions(asked: Asked) -> Document:
    return {} if asked.versions is None else {"sequence_version": {"$in": sorted(asked.versions)}}


def _given(wanted: Mapping[str, str | None]) -> Document:
    return {name: {"$eq": value} for name, value in wanted.items() if value is not None}


def _answers(asked: Asked, wanted: Document, until: datetime | None) -> Document:
    period: Document = {"$gte": asked.since} | ({"$lt": until} if until else {})
    return {
        "workspace_id": asked.workspace,
        "answer.sequences": {"$in": list(asked.sequences)},
        "answer": {"$exists": True},
        "received_at": period,
        **wanted,
    }


def _looked_up(field: str, found: Document, after: Sequence[Document], at: str | None = None) -> Document:
    """The enrollment that a field names, if it matches, as `of`."""
    return {
        "$lookup": {
            "from": names.ENROLLMENTS,
            "localField": field,
            "foreignField": "_id",
            **({"let": {"at": at}} if at else {}),
            "pipeline": [{"$match": found}, *after],
            "as": "of",
        }
    }


# ---- an enrollment's course ---------------------------------------------------------------------------

_WENT: Final[Document] = {
    "$filter": {
        "input": {"$ifNull": ["$history", []]},
        "cond": {"$in": ["$$this.type", ["stage_sent", "task_done"]]},
    }
}
_STAGE_AND_CHANNEL: Final[Document] = {
    "stage": "$$this.stage_id",
    "channel": "$$this.channel",
    "variant": "$$this.variant",
    "version": "$$this.version",
}


_LAST_BEFORE: Final[Document] = {
    "sequence_id": 1,
    "last": {
        "$last": {
            "$map": {
                "input": {"$filter": {"input": _WENT, "cond": {"$lte": ["$$this.at", "$$at"]}}},
                "in": _STAGE_AND_CHANNEL,
            }
        }
    },
}
"""The stage that an answer at `$$at` is about."""
_IS_REPLY: Final[Document] = {"$eq": ["$answer.kind", "reply"]}
_ANSWERS: Final[Mapping[str, Document]] = {
    "answers": _IS_REPLY,
    "interested": {"$and": [_IS_REPLY, {"$eq": ["$answer.intent", "interested"]}]},
    "opted_out": {"$eq": ["$answer.kind", "opt_out"]},
}


def _answer_of(zone: str) -> Document:
    """An answer and, in `of`, the enrollment that it is about, as one row."""
    return {
        **_ANSWERS,
        "sequence_id": "$of.sequence_id",
        "stage": "$of.last.stage",
        "channel": "$of.last.channel",
        "variant": "$of.last.variant",
        "day": _day("$received_at", zone),
    }


def _course(at: str, zone: str) -> Document:
    """`went`: the stages that went out, in order; `outcome`: a word of `OUTCOMES`, or `live`."""
    went = {"$map": {"input": _WENT, "in": _STAGE_AND_CHANNEL}}
    # Refused by the recipient's server while it was sent: it went out, and came back at once.
    refused = {"$and": [{"$eq": ["$stop.reason", "bounced"]}, {"$gt": ["$attempt", 0]}]}
    at_once = {"$cond": [refused, [{"stage": "$stage_id", "channel": "$channel"}], []]}
    went_or_back = {"$cond": [{"$gt": [{"$size": went}, 0]}, went, at_once]}
    return {
        "sequence_id": 1,
        "day": _day(at, zone),
        "went": went_or_back,
        "outcome": {
            "$let": {
                "vars": {"reached": {"$gt": [{"$size": went_or_back}, 0]}},
                "in": {"$switch": {"branches": _outcomes(), "default": "live"}},
            }
        },
    }


def _outcomes() -> list[Document]:
    """The branches of a switch; the first that holds."""
    stops = [
        {"case": {"$and": ["$$reached", {"$eq": ["$stop.reason", reason]}]}, "then": word}
        for reason, word in _OF_STOP.items()
    ]
    ends = [
        {"case": {"$eq": ["$state", "finished"]}, "then": "finished"},
        {"case": {"$eq": ["$state", "failed"]}, "then": "failed"},
        {"case": {"$eq": ["$state", "stopped"]}, "then": "stopped"},
    ]
    return [*stops, *ends]


def _narrowed(asked: Asked, split: Split | None) -> list[Document]:
    """One row for each person, or (by stage) for each stage that went out to them; `is_last`: to this the
    outcome belongs.
    """
    by_stage = split is not None and split.stage
    wanted = _given({"stage": asked.stage, "channel": asked.channel})
    one_of: list[Document] = [
        {"$eq": [f"$$this.{name}", {"$literal": wanted[name]["$eq"]}]} for name in wanted
    ]
    if asked.versions is not None:
        one_of.append({"$in": ["$$this.version", sorted(asked.versions)]})
    last = {"$last": "$went"}
    rows: list[Document] = [{"$set": {"last": last}}]
    if one_of:
        rows += [
            {"$set": {"went": {"$filter": {"input": "$went", "cond": {"$and": one_of}}}}},
            {"$match": {"went.0": {"$exists": True}}},
        ]
    if by_stage:
        # Nobody gets a stage twice, so each stage of the story is one row.
        rows += [
            {"$unwind": "$went"},
            {"$set": {"stage": "$went.stage", "variant": "$went.variant", "is_sent": True}},
            {"$set": {"is_last": {"$eq": ["$stage", "$last.stage"]}}},
        ]
    else:
        is_last = {"$in": ["$last", "$went"]} if one_of else {"$literal": True}
        rows += [{"$set": {"is_last": is_last, "is_sent": {"$gt": [{"$size": "$went"}, 0]}}}]
    return rows


def _summed(key: Document | None) -> Document:
    of_last = {
        word: _count_if({"$and": ["$is_last", {"$eq": ["$outcome", word]}]}) for word in (*OUTCOMES, "live")
    }
    return {"$group": {"_id": key, "enrolled": {"$sum": 1}, "sent": _count_if("$is_sent"), **of_last}}


# ---- groups -------------------------------------------------------------------------------------------


def _count_if(condition: Document | str) -> Document:
    return {"$sum": {"$cond": [condition, 1, 0]}}


def _day(field: str, zone: str) -> Document:
    return {"$dateToString": {"date": field, "format": "%Y-%m-%d", "timezone": {"$literal": zone}}}


def _group_of(split: Split | None) -> Document | None:
    if split is None:
        return None
    fields = {"sequence": "$sequence_id", "stage": "$stage", "day": "$day", "variant": "$variant"}
    return {name: field for name, field in fields.items() if getattr(split, name)}


async def _check_size(collection: Collection, found: Document) -> None:
    if await collection.count(found, limit=MOST + 1) > MOST:
        raise TooMany


async def _grouped(collection: Collection, pipeline: Sequence[Document]) -> Counted:
    groups: dict[Key, Counter[str]] = {}
    for row in await collection.aggregate(pipeline):
        of = row.pop("_id") or {}
        day = date.fromisoformat(of["day"]) if of.get("day") else None
        groups[Key(of.get("sequence"), of.get("stage"), day, of.get("variant"))] = Counter(row)
    return groups


def _together(*parts: Counted) -> Counted:
    groups: dict[Key, Counter[str]] = {}
    for part in parts:
        for group, counts in part.items():
            groups.setdefault(group, Counter()).update(counts)
    return groups
