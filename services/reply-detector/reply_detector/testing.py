"""A detector for tests: its real parts over a real MongoDB, a clock moved by hand, and Kafka as a list."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pydantic import SecretStr

from chassis import documents as names
from chassis.errors import Retry
from chassis.inbound import Inbound, inbound_document
from chassis.kafka import Record
from chassis.migrations import build
from chassis.secrets import Secrets
from chassis.store import Database, Document
from chassis.testing import FrozenClock, fresh_database, fresh_name
from reply_detector.classify import classify
from reply_detector.migrations import SCHEMA
from reply_detector.model import State
from reply_detector.settings import DetectorSettings
from reply_detector.wiring import Parts, assemble
from segue_contracts.codec import decode
from segue_contracts.events import EnrollmentStop
from segue_contracts.message import Message, Scope

OWN, PAT = "ana@ourco.example", "pat@theirs.example"
OUR_ID = "<abc234@ourco.example>"
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)

M = TypeVar("M", bound=Message)


@dataclass
class Capturing:
    """Stands in for Kafka: keeps every message, and fails as often as told."""

    messages: list[Message] = field(default_factory=list)
    failures: int = 0
    calls: int = 0

    async def publish(self, records: Sequence[Record]) -> None:
        """As the producer does: all of them, or Retry."""
        if self.failures:
            self.failures -= 1
            raise Retry("no broker")
        self.calls += 1
        self.messages += [decode(r.topic, r.headers, r.value) for r in records]

    def of(self, kind: type[M]) -> list[M]:
        """The messages of a kind."""
        return [m for m in self.messages if isinstance(m, kind)]

    def stops(self) -> list[EnrollmentStop]:
        """Every stop, the repeated ones too."""
        return self.of(EnrollmentStop)

    def wide(self) -> list[EnrollmentStop]:
        """The stops that reach further than an enrollment."""
        return [stop for stop in self.stops() if stop.scope is not Scope.ENROLLMENT]

    def causes(self) -> set[UUID]:
        """What the stops are, each once."""
        return {stop.event_id for stop in self.stops()}


@dataclass
class World:
    """One workspace with a mailbox, a sequence and a person who was written to, as the others left it."""

    database: Database
    settings: DetectorSettings
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOW))
    kafka: Capturing = field(default_factory=Capturing)
    workspace: UUID = field(default_factory=uuid4)
    mailbox: UUID = field(default_factory=uuid4)
    sequence: UUID = field(default_factory=uuid4)
    owner: UUID = field(default_factory=uuid4)
    person: UUID = field(default_factory=uuid4)
    enrollment: UUID = field(default_factory=uuid4)

    def parts(self, judge: Any = classify) -> Parts:
        """A detector; several are several processes."""
        return assemble(self.settings, self.clock, self.database, self.kafka, judge)

    async def furnish(self) -> None:
        """What the other services have written."""
        await self.insert(names.MAILBOXES, _id=self.mailbox, address=OWN, owner_id=self.owner)
        await self.insert(
            names.SEQUENCE_VERSIONS,
            _id=names.version_id(self.sequence, 1),
            sequence_id=self.sequence,
            version=1,
            document={},
            mailbox_ids=[self.mailbox],
            owner_id=self.owner,
        )
        await self.insert(names.PEOPLE, _id=self.person, addresses=[PAT], phones=["+49301234"])
        await self.enroll(self.enrollment)
        await self.deliver(self.enrollment, "hello", OUR_ID)

    async def says(self, **stop: str) -> None:
        """The sequence's version has these stop rules."""
        await self.database.collection(names.SEQUENCE_VERSIONS).update_one(
            {"_id": names.version_id(self.sequence, 1)}, {"$set": {"document": {"stop": stop}}}
        )

    async def enroll(self, enrollment: UUID, **changed: Any) -> None:
        """A live enrollment of the person."""
        fields = {
            "state": "scheduled",
            "stage_id": "nudge",
            "sequence_id": self.sequence,
            "sequence_version": 1,
            "person_id": self.person,
            "company_key": "theirs.example",
            "mailbox_id": self.mailbox,
            "owner_id": self.owner,
            "ended": False,
            "issued_at": self.clock.now(),
            **changed,
        }
        await self.insert(names.ENROLLMENTS, _id=enrollment, **fields)

    async def deliver(self, enrollment: UUID, stage: str, message_id: str, **changed: Any) -> str:
        """A stage that was sent; its dispatch id."""
        dispatch = f"{enrollment}:{stage}"
        fields = {
            "enrollment_id": enrollment,
            "stage_id": stage,
            "message_id": message_id,
            "mailbox_id": self.mailbox,
            "recipient": PAT,
            "state": "sent",
            "sent_at": self.clock.now(),
            **changed,
        }
        await self.insert(names.DELIVERIES, _id=dispatch, **fields)
        return dispatch

    async def insert(self, collection: str, **document: Any) -> None:
        """A document of the workspace."""
        await self.database.collection(collection).insert_one({"workspace_id": self.workspace, **document})

    async def end(self, enrollment: UUID, *causes: UUID, state: str = "stopped") -> None:
        """As the scheduler does it: stopped by the first of these, or finished without any."""
        now = self.clock.real_now()
        stop = {"reason": "replied", "reason_code": "", "cause_id": causes[0], "at": now} if causes else None
        fields = {"ended": True, "state": state, "updated_at": now, **({"stop": stop} if stop else {})}
        await self.database.collection(names.ENROLLMENTS).update_one({"_id": enrollment}, {"$set": fields})

    async def arrives(self, raw: bytes, **more: Any) -> UUID:
        """As the api and the watcher store it."""
        document = inbound_document(
            self.mailbox, self.workspace, raw, self.clock.now(), source=more.pop("source", "webhook")
        )
        await Inbound(self.database).add({**document, **more}, raw)
        inbound: UUID = document["_id"]
        return inbound

    async def settled(self, raw: bytes, **more: Any) -> Document:
        """A message that has arrived and was carried as far as one step goes; its document."""
        inbound = await self.arrives(raw, **more)
        await self.parts().detector.settle(self.workspace, inbound)
        return await self.inbound(inbound)

    async def pass_on(self, inbound: UUID, *, seconds: float = 61.0) -> State:
        """Later: look whether what it owes is done."""
        self.clock.advance(seconds)
        return await self.parts().detector.settle(self.workspace, inbound)

    async def inbound(self, inbound_id: UUID) -> Document:
        """A message's document."""
        found = await self.database.collection(names.INBOUND).find_one({"_id": inbound_id})
        assert found is not None
        return found

    async def suppressed(self, value: str, kind: str = "address") -> Document | None:
        """The suppression of an address or a phone."""
        key = Secrets(self.settings).suppression_id(self.workspace, kind, value)
        return await self.database.collection(names.SUPPRESSIONS).find_one({"_id": key})


@contextlib.asynccontextmanager
async def open_world(mongodb_uri: str) -> AsyncIterator[World]:
    """A furnished world; its database is deleted at the end."""
    settings = DetectorSettings(
        kafka_bootstrap_servers="nowhere:9092",
        mongodb_uri=SecretStr(mongodb_uri),
        mongodb_database=fresh_name(),
        secret_keys=SecretStr("a secret key for tests only"),
    )
    async with fresh_database(settings) as database:
        world = World(database, settings)
        await build(database, SCHEMA)
        await world.furnish()
        yield world


def a_message(text: str, *, sender: str = PAT, thread: str | None = OUR_ID, **headers: str) -> bytes:
    """An answer in the thread; header names with underscores for hyphens."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"Pat <{sender}>", OWN, "Re: Backend Engineer"
    message["Date"], message["Message-ID"] = "Mon, 23 Nov 2026 09:29:00 +0000", f"<{uuid4()}@theirs.example>"
    if thread:
        message["In-Reply-To"] = thread
    for name, value in headers.items():
        del message[name.replace("_", "-")]
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message.as_bytes()


REPLY = "Hi Ana, that sounds interesting. Can we talk on Thursday?"


def a_bounce(status: str = "5.1.1", message_id: str = OUR_ID) -> bytes:
    """A delivery report (RFC 3464) about one of our messages."""
    return f"""From: Mail Delivery System <MAILER-DAEMON@theirs.example>
To: {OWN}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

The mail system could not deliver your message.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.theirs.example

Final-Recipient: rfc822; {PAT}
Action: failed
Status: {status}
Diagnostic-Code: smtp; 550 {status} no such user

--b
Content-Type: text/rfc822-headers

From: {OWN}
To: {PAT}
Subject: Backend Engineer
Message-ID: {message_id}

--b--
""".replace("\n", "\r\n").encode()
