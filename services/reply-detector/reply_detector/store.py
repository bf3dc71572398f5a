"""The detector's documents: what arrived and what became of it, and the few things it reads of others.

Every query names its workspace, but for the sweep's `waiting`, which serves all workspaces at once.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chassis import documents as names
from chassis.documents import DeliveryView, EnrollmentView, SentView, StoppedView, VersionView
from chassis.store import Database, Document, Index
from reply_detector.match import By, Match
from reply_detector.model import Amend, Arrival, Cause, State, Wait, move
from reply_detector.outgoing import ISSUER
from segue_contracts.events import ANSWERED, AnswerKind, StopReason
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
        )
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
MOST_ENROLLMENTS = 500
"""Of one message; one person in more live sequences than this is a producer's mistake."""


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

    async def ensure_indexes(self) -> None:
        """Create what is missing."""
        await self._inbound.ensure_indexes(INDEXES)

    # ---- inbound --------------------------------------------------------------------------------------

    async def inbound(self, workspace_id: UUID, inbound_id: UUID) -> Document | None:
        """A message without its bytes."""
        return await self._inbound.find_one(
            {"_id": inbound_id, "workspace_id": workspace_id}, projection=WITHOUT_RAW
        )

    async def raw(self, workspace_id: UUID, inbound_id: UUID) -> bytes | None:
        """The bytes of a message; None if they are nowhere."""
        doc = await self._inbound.find_one(
            {"_id": inbound_id, "workspace_id": workspace_id}, projection={"raw": 1, "raw_file": 1}
        )
        if doc is None:
            return None
        if doc.get("raw") is not None:
            return bytes(doc["raw"])
        return await self._files.get(doc["raw_file"]) if doc.get("raw_file") is not None else None

    async def judge(self, inbound: Document, fields: Document, to: State) -> bool:
        """received becomes `to` with its verdict; False if somebody else was faster."""
        move(State.RECEIVED, to)
        query = {**_key(inbound), "state": State.RECEIVED.value}
        unset = {"error": ""} if "again_at" in fields else {"error": "", "again_at": ""}
        return await self._inbound.update_one(query, {"$set": {**fields, "state": to.value}, "$unset": unset})

    async def published(self, inbound: Document, again_at: datetime) -> bool:
        """What is owed was published once more; False if it is settled already."""
        query = {**_key(inbound), "state": State.JUDGED.value}
        return await self._inbound.update_one(
            query, {"$set": {"again_at": again_at}, "$inc": {"publishes": 1}}
        )

    async def settle(self, inbound: Document, fields: Document) -> bool:
        """judged becomes settled; False if it was."""
        to = move(State.JUDGED, State.SETTLED)
        query = {**_key(inbound), "state": State.JUDGED.value}
        change = {"$set": {**fields, "state": to.value}, "$unset": {"again_at": ""}}
        return await self._inbound.update_one(query, change)

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
            {"again_at": {"$lte": now}}, projection=WITHOUT_RAW, sort=[("again_at", 1)], limit=limit
        )
        if len(owed) >= limit:
            return owed
        forgotten = await self._inbound.find(
            {"state": State.RECEIVED.value, "received_at": {"$lte": received_until}, "again_at": None},
            projection=WITHOUT_RAW,
            sort=[("received_at", 1)],
            limit=limit - len(owed),
        )
        return [*owed, *forgotten]

    async def claim(self, inbound: Document, until: datetime) -> bool:
        """Whether this sweep may take the message; the next one may at `until`, if it is not done by then."""
        query = {**_key(inbound), "state": inbound["state"], "again_at": inbound.get("again_at")}
        return await self._inbound.update_one(query, {"$set": {"again_at": until}})

    # ---- what matching asks ---------------------------------------------------------------------------

    async def mailbox_address(self, workspace_id: UUID, mailbox_id: UUID) -> str | None:
        """The address of a mailbox that is still connected."""
        doc = await self._mailboxes.find_one(
            {"_id": mailbox_id, "workspace_id": workspace_id}, projection={"address": 1}
        )
        return doc["address"] if doc else None

    async def deliveries(self, workspace_id: UUID, message_ids: Collection[str]) -> list[DeliveryView]:
        """The deliveries that carried these Message-IDs, their own or their provider's."""
        # The type is said because the sender's indexes hold strings only; one query over both uses neither.
        named = {"$in": list(message_ids), "$type": "string"}
        ours, providers = await asyncio.gather(
            *(
                self._deliveries.find(
                    {"workspace_id": workspace_id, field: named}, projection=DeliveryView.PROJECTION
                )
                for field in ("message_id", "provider_message_id")
            )
        )
        found = {doc["_id"]: DeliveryView.read(doc) for doc in [*ours, *providers]}
        return list(found.values())

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
        found = await self._enrollments.find(
            {"workspace_id": workspace_id, "_id": {"$in": list(ids)}, "tombstone": None},
            projection=EnrollmentView.PROJECTION,
        )
        return [EnrollmentView.read(doc) for doc in found]

    async def people_at(self, workspace_id: UUID, addresses: Collection[str]) -> list[UUID]:
        """The people who are written to at these addresses (in lower case)."""
        found = await self._people.find(
            {"workspace_id": workspace_id, "addresses": {"$in": list(addresses)}},
            projection={"_id": 1},
            limit=MOST_ENROLLMENTS,
        )
        return [doc["_id"] for doc in found]

    async def live_in_mailbox(
        self, workspace_id: UUID, people: Collection[UUID], mailbox_id: UUID
    ) -> list[EnrollmentView]:
        """The live enrollments of these people that write from this mailbox."""
        found = await self._enrollments.find(
            {
                "workspace_id": workspace_id,
                "person_id": {"$in": list(people)},
                "ended": False,
                "mailbox_id": mailbox_id,
            },
            projection=EnrollmentView.PROJECTION,
            limit=MOST_ENROLLMENTS,
        )
        return [EnrollmentView.read(doc) for doc in found]

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
        await self._suppressions.insert_new(list(suppressions))

    async def is_done(self, workspace_id: UUID, cause: Cause, since: datetime, now: datetime) -> bool:
        """Whether the scheduler has carried out a cause that arose at `since`."""
        if cause.reason is StopReason.AUTO_REPLY:
            return await self._is_held(workspace_id, cause.scope.value, cause.target, cause.until, since, now)
        query: Document = {"workspace_id": workspace_id, "ended": False}
        if cause.scope is Scope.ENROLLMENT:
            query = {"workspace_id": workspace_id, "_id": cause.target, "tombstone": None, **_owes(cause)}
        else:
            field = "person_id" if cause.scope is Scope.PERSON else "company_key"
            # Whoever is enrolled again after the answer is not stopped by it.
            query |= {field: cause.target, "issued_at": {"$lte": since}}
        return await self._enrollments.find_one(query, projection={"_id": 1}) is None

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
        found = await self._enrollments.find(
            {"workspace_id": workspace_id, "_id": {"$in": list(ids)}, "stop.cause_id": {"$in": list(causes)}},
            projection=StoppedView.PROJECTION,
        )
        return [StoppedView.read(doc) for doc in found]

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
        found = await self._holds.find_one(
            {
                "_id": names.hold_id(scope, target),
                "workspace_id": workspace_id,
                "$or": [
                    {"changed_at": {"$gte": since}},
                    {"lifted_at": None, "until": None},
                    {"lifted_at": None, "until": {"$gte": until}},
                ],
            },
            projection={"_id": 1},
        )
        return found is not None


def _owes(cause: Cause) -> Document:
    """What is left to be done about one enrollment: end it, or record the answer that came after its end."""
    if cause.reason in ANSWERED:
        known: Document = {"stop.reason": {"$nin": [reason.value for reason in ANSWERED]}}
    elif cause.reason is StopReason.BOUNCED:
        known = {"stop": None}
    else:
        return {"ended": False}
    return {"$or": [{"ended": False}, {**known, "revoked": {"$ne": cause.event_id}}]}


def _key(inbound: Document) -> Document:
    return {"_id": inbound["_id"], "workspace_id": inbound["workspace_id"]}
