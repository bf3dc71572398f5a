"""A sender for tests: its real parts over a real MongoDB and a real mail server, and Kafka as a list."""

import email
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Protocol
from uuid import UUID, uuid4

from pydantic import SecretStr

from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.migrations import build
from chassis.secrets import Secrets
from chassis.store import Database, connect
from scheduler.testing import received
from segue_contracts import ids
from segue_contracts.codec import decode
from segue_contracts.commands import DeliveryCommand
from segue_contracts.events import StageDue, StageOutcome
from segue_contracts.message import Message
from sender.migrations import SCHEMA
from sender.settings import SenderSettings
from sender.smtp_pool import Pool
from sender.wiring import assemble, smtp_pool
from stack.smtp import SmtpServer
from stack.texts import AUTH_TOKEN, TextServer

ANNA = "anna@prospect.example"
PHONE = "+4915112345678"
SEQUENCE: dict[str, Any] = {
    "name": "Backend engineers",
    "tokens": {"role": "Backend Engineer"},
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "subject": "{{role}} at Ourco",
            "text": "Hi {{first_name|there}},\nabout {{role}}.",
        },
        {"id": "nudge", "channel": "email", "text": "Hi again {{first_name|there}}"},
        {
            "id": "ring",
            "channel": "call",
            "text": "Ask {{first_name|there}} about {{role}}",
            "overdue": {"after": "2 days", "do": "skip"},
        },
        {"id": "text", "channel": "sms", "text": "Hi"},
        {"id": "fresh", "channel": "email", "thread": "new", "subject": "{{custom}}", "text": "Hello"},
    ],
}

SETTINGS: dict[str, Any] = {
    "kafka_bootstrap_servers": "nowhere:9092",
    "secret_keys": SecretStr("0123456789abcdef0123456789abcdef"),
    "redelivery_seconds": 12,
    "claim_lease_seconds": 8,
    "smtp_total_seconds": 5,
    "batch_seconds": 2,
    "room_seconds": 1,
    "doubt_margin_seconds": 0.2,
    "record_seconds": 5,
}


class StallingClock(Clock):
    """A clock whose monotonic time a test can push on, as a frozen process would see it."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen_for = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.frozen_for


@dataclass
class Capturing:
    """Stands in for Kafka: keeps every message, and fails as often as told."""

    messages: list[Message] = field(default_factory=list)
    failures: int = 0

    async def publish(self, records: Sequence[Record]) -> None:
        """All of them, or Retry."""
        if self.failures:
            self.failures -= 1
            raise Retry("no broker")
        self.messages += [decode(r.topic, r.headers, r.value) for r in records]

    def outcomes(self) -> list[StageOutcome]:
        return [m for m in self.messages if isinstance(m, StageOutcome)]

    def kinds(self) -> list[str]:
        return [o.event_type.value for o in self.outcomes()]

    def last(self) -> StageOutcome:
        return self.outcomes()[-1]


@dataclass
class World:
    """One workspace with a mailbox, a sequence and a person, as the other services would have written it."""

    database: Database
    secrets: Secrets
    smtp: SmtpServer
    workspace: UUID = field(default_factory=uuid4)
    mailbox: UUID = field(default_factory=uuid4)
    sequence: UUID = field(default_factory=uuid4)
    person: UUID = field(default_factory=uuid4)
    owner: UUID = field(default_factory=uuid4)

    async def furnish(self) -> None:
        await self._insert(
            names.WORKSPACES,
            {"_id": self.workspace, "name": "Ourco", "tokens": {}, "in_doubt_policy": "wait"},
        )
        await self._insert(
            names.MAILBOXES,
            {
                "_id": self.mailbox,
                "workspace_id": self.workspace,
                "address": "ana@ourco.example",
                "display_name": "Ana",
                "owner_id": self.owner,
                "smtp": {"host": self.smtp.host, "port": self.smtp.port, "security": "none"},
            },
        )
        await self._insert(
            names.SEQUENCE_VERSIONS,
            {
                "_id": names.version_id(self.sequence, 1),
                "workspace_id": self.workspace,
                "sequence_id": self.sequence,
                "version": 1,
                "document": SEQUENCE,
                "mailbox_ids": [self.mailbox],
                "owner_id": self.owner,
            },
        )
        await self.add_person(self.person, first_name="Anna", email=ANNA)

    async def add_person(self, person: UUID, **prospect: Any) -> None:
        await self._insert(
            names.PEOPLE,
            {
                "_id": person,
                "workspace_id": self.workspace,
                "external_id": "p",
                "prospect": {"external_id": "p", **prospect},
            },
        )

    async def dispatch(self, stage: str = "hello", attempt: int = 1, **changed: Any) -> UUID:
        """A new enrollment that is dispatched at this stage."""
        enrollment = uuid4()
        document = {
            "_id": enrollment,
            "workspace_id": self.workspace,
            "state": "dispatched",
            "stage_id": stage,
            "stage_index": 0,
            "attempt": attempt,
            "sequence_id": self.sequence,
            "sequence_version": 1,
            "person_id": self.person,
            "mailbox_id": self.mailbox,
            "owner_id": self.owner,
            "ended": False,
        }
        await self._insert(names.ENROLLMENTS, {**document, **changed})
        return enrollment

    async def enrollment_is(self, enrollment: UUID, **changed: Any) -> None:
        await self.collection(names.ENROLLMENTS).update_one({"_id": enrollment}, {"$set": changed})

    async def policy(self, policy: str) -> None:
        await self.collection(names.WORKSPACES).update_one(
            {"_id": self.workspace}, {"$set": {"in_doubt_policy": policy}}
        )

    async def delivery(self, enrollment: UUID, stage: str = "hello") -> dict[str, Any]:
        found: dict[str, Any] | None = await self.collection(names.DELIVERIES).find_one(
            {"_id": ids.dispatch_id(enrollment, stage)}
        )
        assert found is not None
        return found

    async def delivery_is(self, enrollment: UUID, stage: str = "hello", **changed: Any) -> None:
        await self.collection(names.DELIVERIES).update_one(
            {"_id": ids.dispatch_id(enrollment, stage)}, {"$set": changed}
        )

    async def result(self, command: DeliveryCommand) -> dict[str, Any]:
        found: dict[str, Any] | None = await self.collection(names.COMMAND_RESULTS).find_one(
            {"_id": command.event_id}
        )
        assert found is not None
        return found

    async def suppress(self, kind: str, value: str) -> None:
        suppression = self.secrets.suppression_id(self.workspace, kind, value)
        await self._insert(names.SUPPRESSIONS, {"_id": suppression, "workspace_id": self.workspace})

    async def hold(self, scope: str, key: UUID, **changed: Any) -> None:
        hold = {"_id": names.hold_id(scope, key), "workspace_id": self.workspace, "until": None}
        await self._insert(names.HOLDS, {**hold, **changed})

    def mails(self) -> list[EmailMessage]:
        policy = email.policy.default
        contents = [self.smtp.content(m) for m in self.smtp.messages()]
        return [email.message_from_bytes(content, policy=policy) for content in contents]

    def raw_mails(self) -> list[bytes]:
        return [self.smtp.content(m) for m in self.smtp.messages()]

    def collection(self, name: str) -> Any:
        return self.database.collection(name)

    async def _insert(self, name: str, document: dict[str, Any]) -> None:
        await self.database.collection(name).insert_one(document)


class Sender:
    """One sender process without Kafka: what wiring builds, with a publisher that remembers."""

    def __init__(
        self, world: World, settings: SenderSettings, pool: Pool | None = None, **changed: Any
    ) -> None:
        self.world = world
        self.settings = settings.model_copy(update=changed)
        self.clock = StallingClock()
        self.published = Capturing()
        self.pool = pool or smtp_pool(self.settings)
        built = assemble(self.settings, self.clock, world.database, self.published, self.pool)
        self.store, self.steps, self.work, self.email = built.store, built.steps, built.work, built.email
        self.sms, self.health, self.tokens = built.sms, built.health, built.tokens
        self.on_stage_due, self.on_commands = built.on_stage_due, built.on_commands
        self.doubts = built.doubts

    async def due(self, enrollment: UUID, stage: str = "hello", attempt: int = 1) -> None:
        """Hand over one stage.due and wait until nothing is carried."""
        await self.take(enrollment, stage, attempt)
        await self.work.quiet()

    async def drain(self, seconds: float) -> None:
        """Stop, as nothing more comes from Kafka."""
        await self.work.stop()
        await self.work.drain(seconds)

    async def take(self, enrollment: UUID, stage: str = "hello", attempt: int = 1) -> None:
        now = self.clock.now()
        await self.on_stage_due(
            [
                received(
                    StageDue(
                        event_id=uuid4(),
                        occurred_at=now,
                        recorded_at=now,
                        workspace_id=self.world.workspace,
                        enrollment_id=enrollment,
                        stage_id=stage,
                        attempt=attempt,
                        due_at=now,
                    )
                )
            ]
        )

    async def command(self, kind: type[DeliveryCommand], enrollment: UUID, stage: str, **more: Any) -> Any:
        now = self.clock.now()
        command = kind(
            event_id=uuid4(),
            occurred_at=now,
            recorded_at=now,
            workspace_id=self.world.workspace,
            dispatch_id=ids.dispatch_id(enrollment, stage),
            **more,
        )
        await self.on_commands([received(command)])
        return command


@asynccontextmanager
async def a_world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    """A furnished world in a database of its own, dropped at the end."""
    name = f"sender_{uuid4().hex[:12]}"
    settings = SenderSettings(mongodb_uri=SecretStr(mongodb_uri), mongodb_database=name, **SETTINGS)
    async with connect(settings) as database:
        built = World(database, Secrets(settings), smtp_server)
        await build(database, SCHEMA)
        await built.furnish()
        yield built
        await database.drop()


@asynccontextmanager
async def a_sender(
    world: World, settings: SenderSettings, pool: Pool | None = None, **changed: Any
) -> AsyncIterator[Sender]:
    """A sender that is closed when nothing is carried any more; `changed` of its settings."""
    built = Sender(world, settings, pool, **changed)
    try:
        yield built
        await built.work.quiet()
    finally:
        await built.sms.close()
        await built.tokens.close()
        await built.pool.close()


class Patches(Protocol):
    """As pytest's monkeypatch."""

    def setattr(self, target: object, name: str, value: object, /) -> None: ...


class AtPoint:
    """Runs something at a named point, as a fault would; `times` bounds how often."""

    def __init__(
        self, patches: Patches, name: str, act: Callable[[], Awaitable[Any]], times: int = 1
    ) -> None:
        self.hits = 0

        async def point(reached: str) -> None:
            if reached == name and self.hits < times:
                self.hits += 1
                await act()

        patches.setattr(faults, "point", point)


@dataclass
class Texting:
    """A provider, a number that sends through it, and somebody who is awake."""

    world: World
    server: TextServer
    person: UUID

    async def number(self, **changed: Any) -> UUID:
        number = uuid4()
        secret = {"auth_token": self.world.secrets.encrypt(AUTH_TOKEN)}
        given = {**self.server.settings, **secret, "receipts_url": "http://127.0.0.1:1/receipts", **changed}
        row = {"_id": number, "workspace_id": self.world.workspace, "owner_id": self.world.owner}
        await self.world.collection(names.SMS_NUMBERS).insert_one({"number": "+4930999", **row, **given})
        return number

    async def dispatch(self, **changed: Any) -> UUID:
        return await self.world.dispatch("text", **{"person_id": self.person, **changed})
