"""Forgets a person: what waits is stopped at once, then what the scheduler keeps of them is erased."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.documents import hold_id
from chassis.erasure import REASON, Erasure, Erasures, Owner, Round, Sought
from chassis.personal import copies_of
from chassis.store import Database
from chassis.telemetry import gauge
from scheduler.model import Document, erased
from scheduler.outbox import Outbox, persist
from scheduler.stops import Cause, Stops
from scheduler.store import SchedulerStore, Write
from segue_contracts.commands import Erase
from segue_contracts.events import EnrollmentEventType as Event
from segue_contracts.ids import person_id

BATCH: Final = 200
OLDEST = gauge(
    "segue_scheduler_oldest_erasure_seconds", "Age of the oldest wish to be forgotten that is not done"
)
WORDS: Final = ["edits", "pending", "warnings", "broken", "company_key"]
"""What an enrollment keeps of the person, or that people wrote for them."""


class WordStore:
    """What the scheduler keeps of one person. Everything may be repeated, and may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._people = database.collection(names.PEOPLE)
        self._companies = database.collection(names.COMPANIES)
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._stops = database.collection(names.STOPS)
        self._holds = database.collection(names.HOLDS)

    async def known(self, erasure: Erasure) -> Sought:
        """By what the person can be found, as far as it is still here."""
        person = await self._people.find_one(_person(erasure))
        found = await self._enrollments.find(
            {"workspace_id": erasure.workspace_id, "person_id": erasure.id, "erased_at": None},
            projection={"company_key": 1},
        )
        of_enrollments = Sought.read({"company_keys": [e.get("company_key") for e in found]})
        return of_enrollments.and_by(Sought.of_person(person)) if person else of_enrollments

    async def copies(self, erasure: Erasure) -> dict[UUID, str]:
        """Tests that were made of the person's facts, with their external ids."""
        found = await self._people.find(
            {"workspace_id": erasure.workspace_id, **copies_of(erasure.id)}, projection={"external_id": 1}
        )
        return {doc["_id"]: doc["external_id"] for doc in found}

    async def forget_person(self, erasure: Erasure, at: datetime) -> int:
        """Leave nothing but the id, which no later word can fill again; 1 if there was more."""
        empty: Document = {
            "workspace_id": erasure.workspace_id,
            "external_id": str(erasure.id),
            "prospect": {"external_id": str(erasure.id)},
            "addresses": [],
            "phones": [],
            "company_key": None,
            "company_id": None,
            "facts_at": at,
            "erased_at": at,
        }
        if await self._people.insert_new([{"_id": erasure.id, **empty}]):
            return 0
        known = {**_person(erasure), "erased_at": None}
        return int(await self._people.replace_one(known, {"_id": erasure.id, **empty}))

    async def with_words(self, erasure: Erasure, limit: int) -> list[UUID]:
        """Enrollments that have ended and are not erased yet."""
        found = await self._enrollments.find(
            {**_theirs(erasure), "ended": True, "erased_at": None}, projection={"_id": 1}, limit=limit
        )
        return [e["_id"] for e in found]

    async def forget_words(self, erasure: Erasure, ids: Sequence[UUID]) -> None:
        """Of these enrollments; the next write to one, made of an older read, finds it changed."""
        told = {"$map": {"input": "$history", "in": _without_words("$$this")}}
        stop = {"$mergeObjects": ["$stop", {"reason_code": ""}]}
        await self._enrollments.update_many(
            {**_theirs(erasure), "_id": {"$in": list(ids)}, "erased_at": None},
            [
                {
                    "$set": {
                        "external_id": str(erasure.id),
                        "reasons": [],
                        "history": told,
                        "stop": {"$cond": [{"$eq": [{"$type": "$stop"}, "object"]}, stop, "$$REMOVE"]},
                        "rev": {"$add": ["$rev", 1]},
                    }
                },
                {"$unset": WORDS},
            ],
        )

    async def forget_reasons(self, erasure: Erasure, enrollments: Sequence[UUID]) -> int:
        """What people wrote when they paused or stopped the person; how many they were."""
        workspace = {"workspace_id": erasure.workspace_id}
        holds = [hold_id("person", erasure.id), *(hold_id("enrollment", each) for each in enrollments)]
        held = await self._holds.update_many(
            {**workspace, "_id": {"$in": holds}, "reason": {"$nin": ["", None]}}, {"$set": {"reason": ""}}
        )
        return held + await self._stops.update_many(
            {**workspace, "scope": "person", "key": erasure.id, "reason_code": {"$ne": ""}},
            {"$set": {"reason_code": ""}},
        )

    async def forget_company(self, erasure: Erasure, key: str) -> int:
        """A company in which there was nobody else is as good as the person's name; 1 if it was forgotten.

        Its stops go with it: each was for those whose enroll was asked for before it. An enroll of somebody
        else there that was asked for before such a stop, and comes only now, is not stopped by it any more.
        """
        company = {"workspace_id": erasure.workspace_id, "company_key": key}
        if await self._enrollments.find_one(company, projection={"_id": 1}) is not None:
            return 0
        stops = {"workspace_id": erasure.workspace_id, "scope": "company", "key": key}
        await self._stops.delete_many(stops)
        return int(await self._companies.delete_one({"workspace_id": erasure.workspace_id, "key": key}))


class Forgetting:
    """Takes the wish, and does the scheduler's part of it."""

    def __init__(
        self,
        erasures: Erasures,
        words: WordStore,
        store: SchedulerStore,
        outbox: Outbox,
        stops: Stops,
        clock: Clock,
    ) -> None:
        self._erasures = erasures
        self._words = words
        self._store = store
        self._outbox = outbox
        self._stops = stops
        self._clock = clock

    async def take(self, command: Erase) -> None:
        """From now on nobody enrolls the person, and nothing goes out that was not on its way."""
        person = person_id(command.workspace_id, command.external_id)
        people = await self._store.people([command.workspace_id], [person])
        sought = Sought(external_id=command.external_id)
        if person in people:
            sought = sought.and_by(Sought.of_person(people[person]))
        await self._erasures.ask(
            command.workspace_id, person, sought, command.occurred_at, command.issued_by, command.event_id
        )
        await faults.point("scheduler.erasure_stored")
        await self._stop(command.workspace_id, person)

    async def sweep(self) -> None:
        """Go on with everybody of whom something is left here."""
        await self._erasures.sweep(Owner.SCHEDULER, self.erase)
        oldest = await self._erasures.oldest()
        OLDEST.set((self._clock.now() - oldest).total_seconds() if oldest else 0.0)

    async def erase(self, erasure: Erasure) -> Round:
        """Stop, then erase; not done while something of theirs may be on its way."""
        await self._stop(erasure.workspace_id, erasure.id)
        if await self._erasures.widen(erasure, erasure.sought.and_by(await self._words.known(erasure))):
            return Round({}, is_done=False)
        for copy, external_id in (await self._words.copies(erasure)).items():
            await self._erasures.ask_copy(erasure, copy, external_id)
        # Read before: what ends from here on is forgotten in the next round.
        left = await self._erasures.has_live(erasure) or await self._erasures.has_copies(erasure)
        people = await self._words.forget_person(erasure, self._clock.now())
        await faults.point("scheduler.person_forgotten")
        enrollments = await self._forget_enrollments(erasure)
        ids = await self._erasures.enrollments_of(erasure)
        reasons = await self._words.forget_reasons(erasure, ids)
        companies = sum([await self._words.forget_company(erasure, k) for k in erasure.sought.company_keys])
        erased = {"people": people, "enrollments": enrollments, "reasons": reasons, "companies": companies}
        return Round(erased, is_done=not left)

    async def _stop(self, workspace: UUID, person: UUID) -> None:
        now = self._clock.now()
        cause = Cause(uuid5(person, REASON), workspace, REASON, "", now)
        if live := await self._store.live_of_people([workspace], [person]):
            await self._stops.stop_enrollments({e["_id"]: cause for e in live})

    async def _forget_enrollments(self, erasure: Erasure) -> int:
        """Words first, then the chapter that says so: what has it has no words."""
        count = 0
        while ids := await self._words.with_words(erasure, BATCH):
            await self._words.forget_words(erasure, ids)
            await faults.point("scheduler.enrollments_forgotten")
            await persist(self._store, self._outbox, [erasure.workspace_id], ids, self._tell)
            count += len(ids)
        return count

    async def _tell(self, found: Mapping[UUID, Document]) -> Sequence[Write]:
        now = self._clock.now()
        return [Write(e, erased(e, now)) for e in found.values() if e.get("erased_at") is None]


def _person(erasure: Erasure) -> Document:
    return {"_id": erasure.id, "workspace_id": erasure.workspace_id}


def _theirs(erasure: Erasure) -> Document:
    return {"workspace_id": erasure.workspace_id, "person_id": erasure.id}


def _without_words(chapter: str) -> Document:
    """A chapter without what a person may have written: why they paused, and their own word for a stop."""
    wordy = {
        Event.HELD.value: "reason",
        Event.STOPPED.value: "reason_code",
        Event.CORRECTED.value: "reason_code",
    }
    branches = [
        {
            "case": {"$eq": [f"{chapter}.type", kind]},
            "then": {"$unsetField": {"field": field, "input": chapter}},
        }
        for kind, field in wordy.items()
    ]
    return {"$switch": {"branches": branches, "default": chapter}}
