"""Erasing a person, as the services share it: one document says whom, and who still has something of them.

Every owner erases what it owns, by a sweep, until nothing is left; `rev` says whether what an owner looked
for was still all that there is to look for. The last one takes the names and addresses out of the document.
What stays in it is random ids, times, counts and keyed hashes, for ever: by them nobody erased is enrolled or
written to again, and a backup that still has them is erased anew.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from chassis import documents as names
from chassis.clock import Clock
from chassis.secrets import Secrets, plain_phone
from chassis.store import Database, Document, Index
from chassis.telemetry import fields

log = logging.getLogger(__name__)

BATCH: Final = 50
"""Erasures in one round of a sweep."""
REASON: Final = "erased"
"""Why an enrollment stopped, an enroll was refused, or an address is suppressed."""
INDEXES: Final = (
    Index((("open", 1), ("looked_at", 1)), "open"),
    Index((("done_at", 1), ("asked_at", 1)), "unfinished"),
    Index((("workspace_id", 1), ("copy_of", 1)), "copies", partial={"copy_of": {"$exists": True}}),
)


class Owner(StrEnum):
    """Who owns collections with something of a person in them."""

    SCHEDULER = "scheduler"
    SENDER = "sender"
    REPLY_DETECTOR = "reply_detector"
    API = "api"


@dataclass(frozen=True, slots=True)
class Sought:
    """By what a person is found where their id does not stand; addresses in lower case, phones plain.

    `company_keys`: where they worked, which goes too if nobody else works there.
    """

    external_id: str | None = None
    addresses: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    company_keys: tuple[str, ...] = ()

    @classmethod
    def of_person(cls, person: Mapping[str, object]) -> Self:
        """From a document of `people`; an erased one tells nothing."""
        if person.get("erased_at") is not None:
            return cls()
        return cls._of(
            person["external_id"], person.get("addresses"), person.get("phones"), [person.get("company_key")]
        )

    @classmethod
    def read(cls, doc: Mapping[str, object] | None) -> Self:
        """As an erasure keeps it while somebody still looks."""
        it = doc or {}
        return cls._of(it.get("external_id"), it.get("addresses"), it.get("phones"), it.get("company_keys"))

    @classmethod
    def _of(cls, external_id: object, addresses: object, phones: object, company_keys: object) -> Self:
        return cls(
            str(external_id) if external_id else None, _texts(addresses), _texts(phones), _texts(company_keys)
        )

    def document(self) -> Document:
        """As an erasure keeps it."""
        return {
            "external_id": self.external_id,
            "addresses": list(self.addresses),
            "phones": list(self.phones),
            "company_keys": list(self.company_keys),
        }

    def with_reached(self, places: Iterable[str]) -> Self:
        """Also by these, addresses or phones, at which they were written to."""
        given = [each for each in places if each]
        addresses = [each.strip().lower() for each in given if "@" in each]
        phones = [plain_phone(each) for each in given if "@" not in each]
        return self.and_by(type(self)(None, tuple(addresses), tuple(phones)))

    def and_by(self, other: "Sought") -> Self:
        """By all that either is found by."""
        return type(self)(
            self.external_id or other.external_id,
            _texts([*self.addresses, *other.addresses]),
            _texts([*self.phones, *other.phones]),
            _texts([*self.company_keys, *other.company_keys]),
        )

    @property
    def reached(self) -> tuple[str, ...]:
        """Where they are written to."""
        return (*self.addresses, *self.phones)

    @property
    def words(self) -> tuple[str, ...]:
        """What names them wherever it stands."""
        return tuple(filter(None, (self.external_id, *self.addresses, *self.phones)))


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person who is being erased, or was; `id` is the person's, `asked_at` business time."""

    id: UUID
    workspace_id: UUID
    asked_at: datetime
    by: str
    command_id: UUID | None
    open: tuple[Owner, ...]
    erased: Mapping[str, Mapping[str, int]]
    hashes: Mapping[str, str]  # the suppressions of what they were reached at, with their kinds
    done_at: datetime | None
    rev: int
    sought: Sought
    copy_of: UUID | None  # a test with that person's facts, at the address of a user, who is written to again

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["asked_at"],
            doc["by"],
            doc.get("command_id"),
            tuple(map(Owner, doc["open"])),
            doc["erased"],
            doc["hashes"],
            doc.get("done_at"),
            doc["rev"],
            Sought.read(doc.get("sought")),
            doc.get("copy_of"),
        )


@dataclass(frozen=True, slots=True)
class Round:
    """What an owner erased in one round, by name, and whether nothing is left."""

    erased: Mapping[str, int]
    is_done: bool


class Erasures:
    """The erasures: the scheduler makes one, each owner says when it has done its part."""

    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._erasures = database.collection(names.ERASURES)
        self._suppressions = database.collection(names.SUPPRESSIONS)
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._secrets = secrets
        self._clock = clock

    async def ask(
        self,
        workspace: UUID,
        person: UUID,
        sought: Sought,
        at: datetime,
        by: str,
        command_id: UUID | None = None,
        hashes: Mapping[str, str] | None = None,
    ) -> None:
        """From now on nobody enrolls or writes to them, and every owner has its part to do, once more where
        it was done before; the same `command_id` again changes nothing.

        `hashes`: suppressions of what is known by nothing else any more, with their kinds.
        """
        kept = {**(hashes or {}), **self._hashes(workspace, sought)}
        await self._suppress(workspace, kept)
        new: Document = {
            **_document(person, workspace, at, by),
            "command_id": command_id,
            "hashes": kept,
            "sought": sought.document(),
            "looked_at": self._clock.real_now(),
        }
        if await self._erasures.insert_new([new]):
            return
        await self._again(workspace, person, sought, kept, command_id)

    async def ask_copy(self, erasure: Erasure, copy: UUID, external_id: str) -> None:
        """The same for a test that was made of the person's facts; its address is not theirs."""
        new = _document(copy, erasure.workspace_id, erasure.asked_at, erasure.by)
        sought = Sought(external_id=external_id).document()
        await self._erasures.insert_new(
            [{**new, "sought": sought, "looked_at": self._clock.real_now(), "copy_of": erasure.id}]
        )

    async def has_copies(self, erasure: Erasure) -> bool:
        """Whether tests with the person's facts are still being erased."""
        copies = {"workspace_id": erasure.workspace_id, "copy_of": erasure.id, "done_at": None}
        return await self._erasures.find_one(copies, projection={"_id": 1}) is not None

    async def reopen(self, workspace: UUID, person: UUID) -> None:
        """Something of theirs came in behind an owner that was done."""
        await self._again(workspace, person, Sought(), {}, None)

    async def widen(self, erasure: Erasure, sought: Sought) -> bool:
        """They are found by more than was known: everybody looks again. False if all of it was known."""
        if erasure.copy_of is not None or sought == erasure.sought:
            return False
        kept = self._hashes(erasure.workspace_id, sought)
        await self._suppress(erasure.workspace_id, kept)
        await self._again(erasure.workspace_id, erasure.id, sought, kept, None)
        return True

    async def _again(
        self,
        workspace: UUID,
        person: UUID,
        sought: Sought,
        hashes: Mapping[str, str],
        command_id: UUID | None,
    ) -> None:
        found: Document = {"_id": person, "workspace_id": workspace}
        if command_id is not None:
            found["command_id"] = {"$ne": command_id}
        before = await self._erasures.find_one(found)
        if before is None:
            return
        known = Sought.read(before.get("sought"))
        fields = {
            "open": [owner.value for owner in Owner],
            "sought": sought.and_by(known).document(),
            "hashes": {**before["hashes"], **hashes},
            "done_at": None,
            **({"command_id": command_id} if command_id else {}),
        }
        same = {**found, "rev": before["rev"]}
        if not await self._erasures.update_one(same, {"$set": fields, "$inc": {"rev": 1}}):
            await self._again(workspace, person, sought, hashes, command_id)

    def _hashes(self, workspace: UUID, sought: Sought) -> dict[str, str]:
        """Address and phone are hashed for one purpose: that nobody writes to them again."""
        values = [*(("address", a) for a in sought.addresses), *(("phone", p) for p in sought.phones)]
        return {self._secrets.suppression_id(workspace, kind, value): kind for kind, value in values}

    async def _suppress(self, workspace: UUID, hashes: Mapping[str, str]) -> None:
        now = self._clock.now()
        await self._suppressions.insert_new(
            [suppression(i, workspace, kind, now) for i, kind in hashes.items()]
        )

    def every(self) -> AsyncIterator[Document]:
        """The erasures of all workspaces, for a list that is kept with the backups; without tests' copies."""
        wanted = ("workspace_id", "asked_at", "by", "hashes")
        return self._erasures.stream({"copy_of": None}, projection=dict.fromkeys(wanted, 1))

    async def oldest(self) -> datetime | None:
        """When the oldest erasure was asked for that is not done. All workspaces."""
        found = await self._erasures.find_one(
            {"done_at": None}, projection={"asked_at": 1}, sort=[("asked_at", 1)]
        )
        return found["asked_at"] if found else None

    async def one(self, workspace: UUID, person: UUID) -> Erasure | None:
        """What is known of a person's erasure."""
        doc = await self._erasures.find_one({"_id": person, "workspace_id": workspace})
        return Erasure.read(doc) if doc else None

    async def among(self, workspaces: Iterable[UUID], people: Iterable[UUID]) -> set[UUID]:
        """Which of these people are erased, or are being."""
        found = await self._erasures.find(
            {"workspace_id": {"$in": list(set(workspaces))}, "_id": {"$in": list(set(people))}},
            projection={"_id": 1},
            hint="_id_",
        )
        return {doc["_id"] for doc in found}

    async def enrollments_of(self, erasure: Erasure) -> list[UUID]:
        """The person's enrollments: what they went through stays, under these ids."""
        found = await self._enrollments.find(
            {"workspace_id": erasure.workspace_id, "person_id": erasure.id}, projection={"_id": 1}
        )
        return [doc["_id"] for doc in found]

    async def has_live(self, erasure: Erasure) -> bool:
        """Whether something of theirs has not ended, or may still be on its way out."""
        waiting = [{"ended": False}, {"owes_recall": {"$exists": True}}]
        found = {"workspace_id": erasure.workspace_id, "person_id": erasure.id, "$or": waiting}
        return await self._enrollments.find_one(found, projection={"_id": 1}) is not None

    async def sweep(self, owner: Owner, erase: Callable[[Erasure], Awaitable[Round]]) -> None:
        """One round over what this owner has to do. All workspaces; several processes may do so at once.

        Whoever could not be erased, and raises, waits behind the others for the next round.
        """
        for doc in await self._erasures.find({"open": owner.value}, sort=[("looked_at", 1)], limit=BATCH):
            await self._erasures.update_one(
                {"_id": doc["_id"], "workspace_id": doc["workspace_id"]},
                {"$set": {"looked_at": self._clock.real_now()}},
            )
            erasure = Erasure.read(doc)
            await self._note(erasure, owner, await erase(erasure))

    async def _note(self, erasure: Erasure, owner: Owner, found: Round) -> None:
        """Add what was erased; done, if nobody has found out meanwhile that there is more to look for."""
        one: Document = {"_id": erasure.id, "workspace_id": erasure.workspace_id}
        counts = {f"erased.{owner.value}.{name}": n for name, n in found.erased.items() if n}
        if counts:
            await self._erasures.update_one(one, {"$inc": counts})
        if not found.is_done:
            return
        told = fields("erasure.part_done", person_id=erasure.id, owner=owner.value)
        log.info("an erasure's part is done", extra=told)
        rest: Document = {"$setDifference": ["$open", [owner.value]]}
        last: Document = {"$eq": ["$open", []]}
        await self._erasures.update_one(
            {**one, "rev": erasure.rev},
            [
                {"$set": {"open": rest}},
                {
                    "$set": {
                        "done_at": {"$cond": [last, self._clock.now(), None]},
                        "sought": {"$cond": [last, None, "$sought"]},
                    }
                },
            ],
        )


def _document(person: UUID, workspace: UUID, at: datetime, by: str) -> Document:
    return {
        "_id": person,
        "workspace_id": workspace,
        "asked_at": at,
        "by": by,
        "command_id": None,
        "open": [owner.value for owner in Owner],
        "erased": {},
        "hashes": {},
        "done_at": None,
        "rev": 1,
    }


def suppression(suppression_id: str, workspace: UUID, kind: str, at: datetime) -> Document:
    """The suppression of what an erased person was reached at."""
    return {
        "_id": suppression_id,
        "workspace_id": workspace,
        "kind": kind,
        "reason": REASON,
        "by": "erasure",
        "at": at,
    }


def _texts(values: object) -> tuple[str, ...]:
    given = values if isinstance(values, list | tuple) else ()
    return tuple(sorted({str(each) for each in given if each}))
