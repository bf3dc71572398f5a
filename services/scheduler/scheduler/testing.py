"""A scheduler for tests: its real parts over a real MongoDB, a clock moved by hand, and Kafka as a list."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from chassis import documents as names
from chassis.errors import Retry
from chassis.kafka import Received, Record
from chassis.migrations import build
from chassis.store import Database
from chassis.testing import FrozenClock, fresh_database, fresh_name
from scheduler.migrations import SCHEMA
from scheduler.model import Document
from scheduler.settings import SchedulerSettings
from scheduler.store import ALL_SHARDS
from scheduler.wiring import Parts, assemble
from segue_contracts import codec
from segue_contracts.commands import Enroll
from segue_contracts.events import Outcome, StageOutcome
from segue_contracts.message import Message
from segue_contracts.prospect import Prospect
from segue_contracts.topics import ENROLLMENT_EVENTS, STAGE_DUE, Topic

WORKSPACE, SEQUENCE, MAILBOX, OWNER = (UUID(int=n) for n in range(1, 5))
TWO_MAILS: Document = {
    "name": "Engineers",
    "stages": [
        {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi {{first_name}}"},
        {"id": "nudge", "channel": "email", "after": "3 days", "text": "Did you see this?"},
    ],
}


@dataclass
class Captured:
    """Keeps what would go to Kafka; `broken` refuses it."""

    messages: list[Any] = field(default_factory=list)
    broken: bool = False

    async def publish(self, records: Sequence[Record]) -> None:
        """As the producer does: all of them, or Retry."""
        if self.broken:
            raise Retry("the brokers are away")
        self.messages += [codec.decode(r.topic, r.headers, r.value) for r in records]

    def of(self, topic: Topic) -> list[Any]:
        """The messages on a topic."""
        return [m for m in self.messages if m.TOPIC is topic]

    def kinds(self, topic: Topic = ENROLLMENT_EVENTS) -> list[str]:
        """Their types."""
        return [str(m.event_type) for m in self.of(topic)]


@dataclass
class Bench:
    """A scheduler under test. Nothing in it is random, so that a property test can repeat itself."""

    parts: Parts
    database: Database
    clock: FrozenClock
    kafka: Captured
    said: int = 0

    def message(self, kind: type[Message], **values: Any) -> Any:
        """A message of now, of our workspace."""
        now = self.clock.now()
        self.said += 1
        event_id = uuid5(WORKSPACE, str(self.said))
        base = {"event_id": event_id, "occurred_at": now, "recorded_at": now, "workspace_id": WORKSPACE}
        return kind(**(base | values))

    def prospect(self, who: str = "priya", **more: Any) -> Prospect:
        """A person with an address of their own."""
        return Prospect(**({"external_id": who, "email": f"{who}@there.example", "first_name": "P"} | more))

    def enroll(self, who: str = "priya", **more: Any) -> Enroll:
        """An enroll of `prospect(who, **more)`."""
        command: Enroll = self.message(Enroll, sequence_id=SEQUENCE, prospect=self.prospect(who, **more))
        return command

    async def enrolled(self, *people: str) -> list[UUID]:
        """Enroll these; the ids of their enrollments."""
        commands = [self.enroll(who) for who in people]
        await self.command(*commands)
        return [c.enrollment_id for c in commands]

    async def command(self, *commands: Message) -> None:
        """Hand commands to their handler, as one batch."""
        await self.parts.commands.handle([received(c) for c in commands])

    async def stop(self, *stops: Message) -> None:
        """Hand stops to their handler, as one batch."""
        await self.parts.stop_records.handle([received(s) for s in stops])

    async def outcome(self, kind: Outcome, enrollment: UUID, **more: Any) -> None:
        """Hand over an outcome of the first attempt of the first stage, or of what `more` says."""
        values = {"enrollment_id": enrollment, "stage_id": "hello", "attempt": 1} | more
        await self.parts.outcomes.handle([received(self.message(StageOutcome, event_type=kind, **values))])

    async def read(self, enrollment: UUID) -> Document:
        """The enrollment's document."""
        doc = await self.database.collection(names.ENROLLMENTS).find_one({"_id": enrollment})
        assert doc is not None
        return doc

    async def owed(self) -> list[Document]:
        """The batches whose events the broker may not have."""
        return await self.database.collection(names.OUTBOX).find({})

    async def spoil(self, enrollment: UUID, **fields: Any) -> None:
        """Write fields that no scheduler would write; None removes one."""
        change: Document = {"$set": {k: v for k, v in fields.items() if v is not None}}
        gone = {k: "" for k, v in fields.items() if v is None}
        update = {k: v for k, v in (change | {"$unset": gone}).items() if v}
        assert await self.database.collection(names.ENROLLMENTS).update_one({"_id": enrollment}, update)

    def due(self) -> list[UUID]:
        """The enrollments that were dispatched, in order."""
        return [m.enrollment_id for m in self.kafka.of(STAGE_DUE)]

    async def seed(self, *documents: Document) -> None:
        """Our sequence, its versions, and the mailbox that sends."""
        owned: Document = {"workspace_id": WORKSPACE, "owner_id": OWNER}
        sequence = {"_id": SEQUENCE, **owned, "latest_version": 1}
        await self.database.collection(names.SEQUENCES).insert_one(sequence)
        for number, document in enumerate(documents, 1):
            await self.add_version(number, document)
        smtp = {"host": "127.0.0.1", "port": 25, "security": "none"}
        await self.database.collection(names.MAILBOXES).insert_one(
            {"_id": MAILBOX, **owned, "address": "ana@ourco.example", "smtp": smtp}
        )

    async def add_version(self, number: int, document: Document) -> None:
        """A version of our sequence."""
        await self.database.collection(names.SEQUENCE_VERSIONS).insert_one(
            {
                "_id": names.version_id(SEQUENCE, number),
                "workspace_id": WORKSPACE,
                "owner_id": OWNER,
                "sequence_id": SEQUENCE,
                "version": number,
                "document": document,
                "mailbox_ids": [MAILBOX],
            }
        )


def received(message: Message) -> Received:
    """A message as a consumer gets it."""
    e = codec.encode(message)
    return Received(e.topic, 0, 0, e.key, e.value, e.headers, 0)


def settings_for(mongodb_uri: str) -> SchedulerSettings:
    """Settings with a database of their own."""
    return SchedulerSettings(
        kafka_bootstrap_servers="unused:9092",
        mongodb_uri=mongodb_uri,
        mongodb_database=fresh_name(),
        secret_keys="a key for tests of sixteen or more",  # noqa: S106 - it guards nothing
    )


def bench_over(database: Database, settings: SchedulerSettings) -> Bench:
    """A scheduler over a database."""
    clock, kafka = FrozenClock(), Captured()
    return Bench(assemble(settings, clock, database, kafka, lambda: ALL_SHARDS), database, clock, kafka)


@contextlib.asynccontextmanager
async def open_bench(mongodb_uri: str, *documents: Document) -> AsyncIterator[Bench]:
    """A scheduler with a sequence, by default of two e-mails; its database is deleted at the end."""
    settings = settings_for(mongodb_uri)
    async with fresh_database(settings) as database:
        bench = bench_over(database, settings)
        await build(database, SCHEMA)
        await bench.seed(*(documents or (TWO_MAILS,)))
        yield bench
