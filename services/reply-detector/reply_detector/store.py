"""The detector's documents: what arrived and what became of it, and the few things it reads of others.

Every query names its workspace, but for the sweep's `waiting`, which serves all workspaces at once. What is
asked of every message is asked for many in one query, and written for many in one write (`Together`): each
method is about one message all the same, and gets what is its own.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

from chassis import documents as names
from chassis.documents import DeliveryView, EnrollmentView, SentView, StoppedView, VersionView
from chassis.store import Collection as Documents
from chassis.store import Database, Document, Index, UpdateOne
from chassis.together import Together
from reply_detector.match import By, Match
from reply_detector.model import Amend, Arrival, Cause, State, Wait, move
from reply_detector.outgoing import ISSUER
from segue_contracts.events import AnswerKind, StopReason
from segue_contracts.message import Scope

INDEXES = (
    Index((("mailbox_id", 1), ("digest", 1)), name="mailbox_digest", unique=True),
    Index((("received_at", 1),), name="without_verdict", partial={"state": State.RECEIVED.value}),
    Index((("again_at", 1),), name="owed", partial={"again_at": {"$exists": True}}),
    Index((("workspace_id", 1), ("match.enrollments", 1), ("received_at", 1)), name="of_enrollment"),
    *(
        Index(
            (("workspace_id", 1), *by, ("received_at", -1), ("_id", -1)),
            name=name,
            partial={"answer": {"$exists": True}},
        )
        for name, by in (
            ("answers", ()),
            ("answers_by_state", (("answer.open", 1),)),
            ("answers_of_person", (("answer.people", 1),)),
            ("answers_of_sequence", (("answer.sequences", 1),)),
            ("answers_of_owner", (("answer.owners", 1), ("answer.open", 1))),
        )
    ),
    Index(
        (("workspace_id", 1), ("received_at", -1), ("_id", -1)),
        name="unreadable",
        partial={"unreadable": {"$exists": True}},
    ),
    Index(
        (("answer.charge", 1), ("received_at", 1)),
        name="charges",
        partial={"answer.charge": {"$type": "string"}},
    ),
)
SIGNS_OF_LIFE = [kind.value for kind in (AnswerKind.REPLY, AnswerKind.AUTO_REPLY, AnswerKind.OPT_OUT)]
"""A mailbox that answers is not full any more."""
WITHOUT_RAW: Document = {"raw": 0}
ENDED: Document = {"ended": 1, "tombstone": 1, "revoked": 1, **StoppedView.PROJECTION}
HOLD: Document = {"changed_at": 1, "lifted_at": 1, "until": 1}
DUE: Document = {"workspace_id": 1, "state": 1, "again_at": 1, "tries": 1}
"""What the sweep needs to take a message."""
MOST_ENROLLMENTS = 500
"""Of one message; one person in more live sequences than this is a producer's mistake."""
MOST_TOGETHER = 100
"""Messages in one query or write."""
GATHER_SECONDS = 0.03
"""How long the first of them waits for others: half a dozen operations later it is still a group."""
MOST_FOUND = 5000
"""For all of them; if there may be more, each is asked for alone."""

Key = tuple[UUID, Any]
"""A workspace and the id of a document in it."""
Change = tuple[Document, Document, Document]
"""A message, the state that it must be in, and the update."""
T = TypeVar("T")
R = TypeVar("R")


class TooMany(RuntimeError):
    """Together these have more than can be read at once."""


class DetectorStore:
    """Inbound messages, suppressions, results; reads deliveries, enrollments, people, versions, holds."""

    def __init__(self, database: Database) -> None:
        self._inbound = database.collection(names.INBOUND)
        self._files = database.files()
        self._deliveries = database.collection(names.DELIVERIES)
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._people = database.collection(names.PEOPLE)
        self._versions = database.collection(names.SEQUENCE_VERSIONS)
        self._mailboxes = database.collection(names.MAILBOXES)
        self._holds = database.collection(names.HOLDS)
        self._suppressions = database.collection(names.SUPPRESSIONS)
        self._results = database.collection(names.COMMAND_RESULTS)
        # Who was read together goes on together, from query to query.
        self._read_inbound: Together[Key, Document | None] = _together(
            partial(_by_id, self._inbound, WITHOUT_RAW), linger_seconds=GATHER_SECONDS
        )
        self._read_raw = _together(partial(_by_id, self._inbound, {"raw": 1, "raw_file": 1}))
        self._change = _together(self._change_all)
        self._read_mailbox = _together(partial(_by_id, self._mailboxes, {"address": 1, "owner_id": 1}))
        self._read_deliveries = _together(self._deliveries_named)
        self._read_enrollments = _together(self._enrollments_of)
        self._read_people = _together(self._people_of)
        self._read_live = _together(self._live_in_mailboxes)
        self._suppress = _together(self._suppress_all)
        self._read_ended = _together(partial(_by_id, self._enrollments, ENDED))
        self._are_live = {
            Scope.PERSON: _together(partial(self._live_within, "person_id")),
            Scope.COMPANY: _together(partial(self._live_within, "company_key")),
        }
        self._read_hold = _together(partial(_by_id, self._holds, HOLD))
        self._read_erased = _together(partial(_by_id, database.collection(names.ERASURES), {"_id": 1}))

    # ---- inbound --------------------------------------------------------------------------------------

    async def inbound(self, workspace_id: UUID, inbound_id: UUID) -> Document | None:
        """A message without its bytes."""
        return await self._read_inbound((workspace_id, inbound_id))

    async def raw(self, workspace_id: UUID, inbound_id: UUID) -> bytes | None:
        """The bytes of a message; None if they are nowhere."""
        doc = await self._read_raw((workspace_id, inbound_id))
        if doc is None:
            return None
        if doc.get("raw") is not None:
            return bytes(doc["raw"])
        return await self._files.get(doc["raw_file"]) if doc.get("raw_file") is not None else None

    async def judge(self, inbound: Document, fields: Document, to: State) -> bool:
        """received becomes `to` with its verdict; False if somebody else was faster."""
        move(State.RECEIVED, to)
        unset = {"error": ""} if "again_at" in fields else {"error": "", "again_at": ""}
        change = {"$set": {**fields, "state": to.value}, "$unset": unset}
        return await self._change((inbound, {"state": State.RECEIVED.value}, change))

    async def published(self, inbound: Document, again_at: datetime) -> bool:
        """What is owed was published once more; False if it is settled already."""
        change = {"$set": {"again_at": again_at}, "$inc": {"publishes": 1}}
        return await self._change((inbound, {"state": State.JUDGED.value}, change))

    async def settle(self, inbound: Document, fields: Document) -> bool:
        """judged becomes settled; False if it was."""
        to = move(State.JUDGED, State.SETTLED)
        change = {"$set": {**fields, "state": to.value}, "$unset": {"again_at": ""}}
        return await self._change((inbound, {"state": State.JUDGED.value}, change))

    async def of_erased(self, workspace_id: UUID, people: Collection[UUID]) -> bool:
        """Whether one of these people was erased: then a message's words go as soon as it is settled."""
        found = await asyncio.gather(*(self._read_erased((workspace_id, each)) for each in people))
        return any(doc is not None for doc in found)

    async def _change_all(self, changes: Sequence[Change]) -> list[bool]:
        """Guarded writes, and which of them matched. `write` is the id of a document's last one."""
        writes = [uuid4() for _ in changes]
        operations = [
            UpdateOne({**_key(inbound), **guard}, {**update, "$set": {**update["$set"], "write": write}})
            for write, (inbound, guard, update) in zip(writes, changes, strict=True)
        ]
        if (await self._inbound.bulk(operations)).matched == len(changes):
            return [True] * len(changes)
        found = await self._inbound.find(
            {
                "workspace_id": {"$in": [inbound["workspace_id"] for inbound, _, _ in changes]},
                "_id": {"$in": [inbound["_id"] for inbound, _, _ in changes]},
            },
            projection={"write": 1},
            hint="_id_",
        )
        made = {doc.get("write") for doc in found}
        return [write in made for write in writes]

    async def correct(self, inbound: Document, fields: Document, said: Document, to: State) -> bool:
        """settled becomes `to` with what a person said; False if somebody else was faster."""
        move(State.SETTLED, to)
        before = (inbound.get("correction") or {}).get("command_id")
        query = {**_key(inbound), "state": State.SETTLED.value, "correction.command_id": before}
        change = {"$set": {**fields, "state": to.value}, "$push": {"corrections": said}}
        return await self._inbound.update_one(query, change)

    async def save_result(self, result: Document) -> None:
        """What became of a correction; the first word stays."""
        await self._results.insert_new([result])

    async def failed(self, inbound: Document, error: str, again_at: datetime) -> None:
        """It could not be carried further; the sweep tries again."""
        query = {**_key(inbound), "state": {"$ne": State.SETTLED.value}}
        await self._inbound.update_one(
            query, {"$set": {"error": error, "again_at": again_at}, "$inc": {"tries": 1}}
        )

    async def waiting(self, now: datetime, received_until: datetime, limit: int) -> list[Document]:
        """What owes a stop or failed and is due again, then what nobody judged; the longest waiting first."""
        owed = await self._inbound.find(
            {"again_at": {"$lte": now}}, projection=DUE, sort=[("again_at", 1)], limit=limit
        )
        if len(owed) >= limit:
            return owed
        forgotten = await self._inbound.find(
            {"state": State.RECEIVED.value, "received_at": {"$lte": received_until}, "again_at": None},
            projection=DUE,
            sort=[("received_at", 1)],
            limit=limit - len(owed),
        )
        return [*owed, *forgotten]

    async def claim(self, inbound: Document, until: datetime) -> bool:
        """Whether this sweep may take the message; the next one may at `until`, if it is not done by then."""
        guard = {"state": inbound["state"], "again_at": inbound.get("again_at")}
        return await self._change((inbound, guard, {"$set": {"again_at": until}}))

    # ---- what matching asks ---------------------------------------------------------------------------

    async def mailbox_address(self, workspace_id: UUID, mailbox_id: UUID) -> str | None:
        """The address of a mailbox that is still connected."""
        doc = await self._read_mailbox((workspace_id, mailbox_id))
        return doc["address"] if doc else None

    async def mailbox_owner(self, workspace_id: UUID, mailbox_id: UUID) -> UUID | None:
        """Whose mailbox it is; None for a phone number, and for a mailbox that is not connected any more."""
        doc = await self._read_mailbox((workspace_id, mailbox_id))
        return doc["owner_id"] if doc else None

    async def deliveries(self, workspace_id: UUID, message_ids: Collection[str]) -> list[DeliveryView]:
        """The deliveries that carried these Message-IDs, their own or their provider's."""
        return await self._read_deliveries((workspace_id, message_ids))

    async def _deliveries_named(
        self, asked: Sequence[tuple[UUID, Collection[str]]]
    ) -> list[list[DeliveryView]]:
        workspaces = _workspaces(asked)
        # The type is said because the sender's indexes hold strings only; one query over both uses neither.
        named = {"$in": list({name for _, ids in asked for name in ids}), "$type": "string"}
        ours, providers = await asyncio.gather(
            *(
                self._deliveries.find(
                    {"workspace_id": workspaces, field: named}, projection=DeliveryView.PROJECTION
                )
                for field in ("message_id", "provider_message_id")
            )
        )
        by_name: dict[tuple[UUID, str | None], dict[str, DeliveryView]] = defaultdict(dict)
        for view in map(DeliveryView.read, [*ours, *providers]):
            for name in (view.message_id, view.provider_message_id):
                by_name[view.workspace_id, name][view.id] = view
        return [
            list({k: view for name in ids for k, view in by_name.get((workspace, name), {}).items()}.values())
            for workspace, ids in asked
        ]

    async def sent_between(
        self, workspace_id: UUID, enrollments: Collection[UUID], since: datetime, until: datetime
    ) -> list[SentView]:
        """What was transmitted for these enrollments between two business instants."""
        found = await self._deliveries.find(
            {
                "workspace_id": workspace_id,
                "enrollment_id": {"$in": list(enrollments)},
                "transmitted_at": {"$gte": since, "$lte": until},
            },
            projection=SentView.PROJECTION,
        )
        return [SentView.read(doc) for doc in found]

    async def matched(self, workspace_id: UUID, kept: Mapping[str, Any]) -> Match:
        """The match that a document keeps, with its deliveries and enrollments as they are now."""
        found = await self._deliveries.find(
            {"workspace_id": workspace_id, "_id": {"$in": list(kept["deliveries"])}},
            projection=DeliveryView.PROJECTION,
        )
        enrollments = await self.enrollments(workspace_id, kept["enrollments"])
        deliveries = tuple(DeliveryView.read(doc) for doc in found)
        return Match(By(kept["by"]), deliveries, tuple(enrollments), tuple(kept["people"]))

    async def enrollments(self, workspace_id: UUID, ids: Collection[UUID]) -> list[EnrollmentView]:
        """These enrollments, ended ones too; never a tombstone, which nothing was sent for."""
        return await self._read_enrollments((workspace_id, ids))

    async def _enrollments_of(
        self, asked: Sequence[tuple[UUID, Collection[UUID]]]
    ) -> list[list[EnrollmentView]]:
        keys = list({(workspace, each) for workspace, ids in asked for each in ids})
        projection = {**EnrollmentView.PROJECTION, "tombstone": 1}
        found = await _by_id(self._enrollments, projection, keys)
        views = {
            key: EnrollmentView.read(doc)
            for key, doc in zip(keys, found, strict=True)
            if doc is not None and doc.get("tombstone") is None
        }
        return [
            [views[workspace, each] for each in sorted(set(ids)) if (workspace, each) in views]
            for workspace, ids in asked
        ]

    async def people_at(self, workspace_id: UUID, addresses: Collection[str]) -> list[UUID]:
        """The people who are written to at these addresses (in lower case)."""
        return await self._read_people((workspace_id, addresses))

    async def _people_of(self, asked: Sequence[tuple[UUID, Collection[str]]]) -> list[list[UUID]]:
        found = await self._people.find(
            {
                "workspace_id": _workspaces(asked),
                "addresses": {"$in": list({address for _, some in asked for address in some})},
            },
            projection={"workspace_id": 1, "addresses": 1},
            limit=_limit(asked),
        )
        by_address: dict[tuple[UUID, str], list[UUID]] = defaultdict(list)
        for doc in _all_of(found, asked):
            for address in doc["addresses"]:
                by_address[doc["workspace_id"], address].append(doc["_id"])
        return [
            list(dict.fromkeys(p for address in some for p in by_address.get((workspace, address), ())))
            for workspace, some in asked
        ]

    async def live_in_mailbox(
        self, workspace_id: UUID, people: Collection[UUID], mailbox_id: UUID
    ) -> list[EnrollmentView]:
        """The live enrollments of these people that write from this mailbox."""
        return await self._read_live((workspace_id, mailbox_id, people))

    async def _live_in_mailboxes(
        self, asked: Sequence[tuple[UUID, UUID, Collection[UUID]]]
    ) -> list[list[EnrollmentView]]:
        found = await self._enrollments.find(
            {
                "workspace_id": _workspaces(asked),
                "person_id": {"$in": list({person for _, _, people in asked for person in people})},
                "ended": False,
                "mailbox_id": {"$in": list({mailbox for _, mailbox, _ in asked})},
            },
            projection=EnrollmentView.PROJECTION,
            limit=_limit(asked),
        )
        views = [EnrollmentView.read(doc) for doc in _all_of(found, asked)]
        return [
            [
                v
                for v in views
                if (v.workspace_id, v.mailbox_id) == (workspace, mailbox) and v.person_id in people
            ]
            for workspace, mailbox, people in asked
        ]

    async def people_with_phone(self, workspace_id: UUID, phone: str) -> list[UUID]:
        """The people with this phone, in the one spelling (`plain_phone`)."""
        found = await self._people.find(
            {"workspace_id": workspace_id, "phones": phone}, projection={"_id": 1}, limit=MOST_ENROLLMENTS
        )
        return [doc["_id"] for doc in found]

    async def live_of(self, workspace_id: UUID, people: Collection[UUID]) -> list[EnrollmentView]:
        """The live enrollments of these people."""
        found = await self._enrollments.find(
            {"workspace_id": workspace_id, "person_id": {"$in": list(people)}, "ended": False},
            projection=EnrollmentView.PROJECTION,
            limit=MOST_ENROLLMENTS,
        )
        return [EnrollmentView.read(doc) for doc in found]

    async def soft_bounces(self, arrival: Arrival, people: Collection[UUID], age: timedelta) -> set[str]:
        """The dispatches to these people that bounced for now, since they last gave a sign of life."""
        found = await self._inbound.find(
            {
                "workspace_id": arrival.workspace_id,
                "answer.people": {"$in": list(people)},
                "answer": {"$exists": True},
                "received_at": {"$gte": arrival.received_at - age, "$lte": arrival.received_at},
                "_id": {"$ne": arrival.id},
            },
            projection={"answer.kind": 1, "answer.soft": 1},
            sort=[("received_at", -1)],
            limit=MOST_ENROLLMENTS,
        )
        bounced: set[str] = set()
        for doc in found:
            if doc["answer"]["kind"] in SIGNS_OF_LIFE:
                break
            bounced.update(doc["answer"]["soft"])
        return bounced

    async def versions(self, workspace_id: UUID, ids: Collection[str]) -> dict[str, VersionView]:
        """Sequence versions by id."""
        found = await self._versions.find(
            {"workspace_id": workspace_id, "_id": {"$in": list(ids)}}, projection=VersionView.PROJECTION
        )
        return {doc["_id"]: VersionView.read(doc) for doc in found}

    # ---- effects and their confirmation ---------------------------------------------------------------

    async def suppress(self, suppressions: Sequence[Document]) -> None:
        """Add what is not there yet; whoever was first keeps the reason."""
        if suppressions:
            await self._suppress(suppressions)

    async def _suppress_all(self, some: Sequence[Sequence[Document]]) -> list[None]:
        await self._suppressions.insert_new([each for suppressions in some for each in suppressions])
        return [None] * len(some)

    async def is_done(self, workspace_id: UUID, cause: Cause, since: datetime, now: datetime) -> bool:
        """Whether the scheduler has carried out a cause that arose at `since`."""
        if cause.reason is StopReason.AUTO_REPLY:
            return await self._is_held(workspace_id, cause.scope.value, cause.target, cause.until, since, now)
        if cause.scope is Scope.ENROLLMENT:
            found = await self._read_ended((workspace_id, cause.target))
            return found is None or not _owes(cause, found)
        return not await self._are_live[cause.scope]((workspace_id, cause.target, since))

    async def _live_within(
        self, field: str, asked: Sequence[tuple[UUID, UUID | str, datetime]]
    ) -> list[bool]:
        """Whether anything live is left that was asked for by then: later ones the answer does not stop."""
        found = await self._enrollments.find(
            {
                "workspace_id": _workspaces(asked),
                field: {"$in": list({target for _, target, _ in asked})},
                "ended": False,
                "issued_at": {"$lte": max(since for _, _, since in asked)},
            },
            projection={"workspace_id": 1, field: 1, "issued_at": 1},
            limit=1 if len(asked) == 1 else MOST_FOUND,
        )
        first: dict[Key, datetime] = {}
        for doc in _all_of(found, asked):
            key = doc["workspace_id"], doc[field]
            first[key] = min(doc["issued_at"], first.get(key, doc["issued_at"]))
        return [
            (workspace, target) in first and first[workspace, target] <= since
            for workspace, target, since in asked
        ]

    async def is_held(self, workspace_id: UUID, wait: Wait, since: datetime, now: datetime) -> bool:
        """Whether a hold that arose at `since` is there, or a longer one."""
        return await self._is_held(workspace_id, wait.scope.value, wait.target, wait.until, since, now)

    async def has_noted(self, workspace_id: UUID, dispatch_ids: Collection[str]) -> bool:
        """Whether the sender knows under which ids these went out."""
        found = {
            "workspace_id": workspace_id,
            "_id": {"$in": list(dispatch_ids)},
            "provider_message_id": None,
        }
        return await self._deliveries.find_one(found, projection={"_id": 1}) is None

    async def has_sent(self, workspace_id: UUID, dispatch_ids: Collection[str]) -> bool:
        """Whether the sender counts these as sent, or never transmitted them."""
        found = {
            "workspace_id": workspace_id,
            "_id": {"$in": list(dispatch_ids)},
            "journaled": True,
            "state": {"$ne": "sent"},
        }
        return await self._deliveries.find_one(found, projection={"_id": 1}) is None

    async def ended_by(self, workspace_id: UUID, amend: Amend) -> list[UUID]:
        """The enrollments that still count as ended by what a person has corrected."""
        field = {Scope.ENROLLMENT: "_id", Scope.PERSON: "person_id", Scope.COMPANY: "company_key"}
        found = await self._enrollments.find(
            {
                "workspace_id": workspace_id,
                field[amend.scope]: amend.target,
                "ended": True,
                "tombstone": None,
                "stop.cause_id": amend.cause_id,
            },
            projection={"_id": 1},
            limit=MOST_ENROLLMENTS,
        )
        return [doc["_id"] for doc in found]

    async def still_set(self, workspace_id: UUID, hold_ids: Collection[str], at: datetime) -> set[str]:
        """Those of these holds that are as a message that came at `at` has set them."""
        found = await self._holds.find(
            {
                "workspace_id": workspace_id,
                "_id": {"$in": list(hold_ids)},
                "by": ISSUER,
                "changed_at": at,
                "lifted_at": None,
            },
            projection={"_id": 1},
        )
        return {doc["_id"] for doc in found}

    async def stopped(
        self, workspace_id: UUID, ids: Collection[UUID], causes: Collection[UUID]
    ) -> list[StoppedView]:
        """Those of these enrollments that one of these causes has ended."""
        found = await asyncio.gather(*(self._read_ended((workspace_id, each)) for each in ids))
        ended = [StoppedView.read(doc) for doc in found if doc is not None and doc.get("stop")]
        return [view for view in ended if view.cause_id in causes]

    async def _is_held(
        self,
        workspace_id: UUID,
        scope: str,
        target: UUID | str,
        until: datetime | None,
        since: datetime,
        now: datetime,
    ) -> bool:
        """A hold that is as new or reaches as far, or that nobody needs any more."""
        if until is None or until <= now:
            return True
        assert isinstance(target, UUID), "only enrollments and people are held by a message"
        hold = await self._read_hold((workspace_id, names.hold_id(scope, target)))
        if hold is None:
            return False
        changed_at, ends = hold.get("changed_at"), hold.get("until")
        is_new = changed_at is not None and changed_at >= since
        return is_new or (hold.get("lifted_at") is None and (ends is None or ends >= until))


def _together(
    work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, linger_seconds: float = 0.0
) -> Together[T, R]:
    return Together(work, most=MOST_TOGETHER, linger_seconds=linger_seconds, isolates=True)


async def _by_id(collection: Documents, projection: Document, keys: Sequence[Key]) -> list[Document | None]:
    """These documents, in one query; None for one that is not in its workspace."""
    found = await collection.find(
        {"workspace_id": _workspaces(keys), "_id": {"$in": list({each for _, each in keys})}},
        projection=projection if projection is WITHOUT_RAW else {**projection, "workspace_id": 1},
        # Among indexes that begin with the workspace the planner might choose another one.
        hint="_id_",
    )
    by_key = {(doc["workspace_id"], doc["_id"]): doc for doc in found}
    return [by_key.get(key) for key in keys]


def _workspaces(asked: Iterable[tuple[Any, ...]]) -> Document:
    """The filter on the workspaces of what is asked together; whoever asked gets only what is in its own."""
    return {"$in": list({each[0] for each in asked})}


def _limit(asked: Sequence[object]) -> int:
    return MOST_ENROLLMENTS if len(asked) == 1 else MOST_FOUND


def _all_of(found: list[Document], asked: Sequence[object]) -> list[Document]:
    """`found`, if that is all there is; alone, a message takes what it gets."""
    if len(asked) > 1 and len(found) >= MOST_FOUND:
        raise TooMany(f"{len(asked)} messages have more than {MOST_FOUND} documents")
    return found


def _owes(cause: Cause, enrollment: Document) -> bool:
    """What is left to be done about one enrollment: end it, or record the answer that came after its end."""
    if enrollment.get("tombstone"):
        return False
    if not enrollment["ended"]:
        return True
    known = StopReason(enrollment["stop"]["reason"]) if enrollment.get("stop") else None
    return cause.reason.outranks(known) and cause.event_id not in enrollment.get("revoked", ())


def _key(inbound: Document) -> Document:
    return {"_id": inbound["_id"], "workspace_id": inbound["workspace_id"]}
