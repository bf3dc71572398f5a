"""Scheduler, sender and api over one database, with Kafka carried by hand: each step is a test's to take."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from api.model import message_of
from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import Document
from chassis.migrations import build
from scheduler import wiring as scheduler_wiring
from scheduler.migrations import SCHEMA as SCHEDULER_SCHEMA
from scheduler.settings import SchedulerSettings
from scheduler.store import ALL_SHARDS
from scheduler.testing import Captured, received
from segue_contracts.events import StageOutcome
from segue_contracts.message import Message
from segue_contracts.topics import ENROLLMENT_STOPS, STAGE_DUE
from sender import wiring as sender_wiring
from sender.migrations import SCHEMA as SENDER_SCHEMA
from sender.settings import SenderSettings
from stack.smtp import SmtpServer

COMMON = ("kafka_bootstrap_servers", "mongodb_uri", "mongodb_database", "secret_keys", "public_url")


@dataclass
class Carried:
    """The services, and a mail server that takes everything."""

    api: Served
    scheduler: scheduler_wiring.Parts
    sender: sender_wiring.Sender
    kafka: Captured
    smtp: SmtpServer

    async def connect(self, **more: Any) -> str:
        """Ana's mailbox, or another one's; its id."""
        smtp = {"host": self.smtp.host, "port": self.smtp.port, "security": "none"}
        mailbox = {"address": "ana@ourco.example", "display_name": "Ána", "smtp": smtp, **more}
        return str((await self.api.call("POST", "/v1/mailboxes", mailbox, status=201))["id"])

    async def enroll(self, document: Document, external_id: str = "p1", **more: Any) -> UUID:
        """Save a sequence and put Priya into it; the id of the enrollment."""
        sequence = await self.api.call("POST", "/v1/sequences", document, status=201)
        return await self.enroll_in(UUID(sequence["id"]), external_id, **more)

    async def enroll_in(self, sequence_id: UUID, external_id: str, **more: Any) -> UUID:
        """Put Priya, or another one, into a sequence; the id that the enrollment has unless it is refused."""
        prospect = {
            "external_id": external_id,
            "email": "priya@there.example",
            "first_name": "Priya",
            **more,
        }
        path = f"/v1/sequences/{sequence_id}/enrollments"
        answer = await self.api.call("POST", path, {"prospect": prospect}, status=202)
        accepted = answer["accepted"][0]
        stored = await self.command(UUID(accepted["command_id"]))
        await self.scheduler.commands.handle([received(message_of(stored))])
        return UUID(accepted["enrollment_id"])

    async def command(self, command_id: UUID) -> Document:
        """A command as the api has stored it."""
        stored = await self.api.database.collection(names.COMMANDS).find_one({"_id": command_id})
        assert stored is not None
        return stored

    async def enrollment(self, enrollment_id: UUID) -> Document:
        """An enrollment as the scheduler has stored it."""
        stored = await self.api.database.collection(names.ENROLLMENTS).find_one({"_id": enrollment_id})
        assert stored is not None
        return stored

    async def carry(self, enrollment_id: UUID) -> str:
        """What is due next goes to the sender when it is due, what it says of it back; the outcome."""
        before = len(self.kafka.messages)
        due_at = (await self.enrollment(enrollment_id))["due_at"]
        self.api.clock.advance((due_at - self.api.clock.now()).total_seconds())
        await self.scheduler.due.tick()
        due = [m for m in self.kafka.messages[before:] if m.TOPIC is STAGE_DUE]
        await self.sender.on_stage_due([received(m) for m in due])
        await self.sender.work.quiet()
        said = await self.hear(before)
        (about,) = [each for each in said if each.enrollment_id == enrollment_id]
        return f"{about.event_type.value} {about.reason or ''}".strip()

    async def tell_sender(self, command: Message) -> None:
        """A command about a delivery, and what the sender says of it back."""
        before = len(self.kafka.messages)
        await self.sender.on_commands([received(command)])
        await self.hear(before)

    async def hear(self, before: int) -> list[StageOutcome]:
        """The scheduler takes what the sender has said since; `before` is how many messages there were."""
        said = [m for m in self.kafka.messages[before:] if isinstance(m, StageOutcome)]
        await self.scheduler.outcomes.handle([received(each) for each in said])
        return said

    async def owed_stops(self) -> list[Message]:
        """The stops that the api goes on publishing until they are confirmed."""
        commands = self.api.database.collection(names.COMMANDS)
        found = await commands.find({"topic": ENROLLMENT_STOPS.name, "state": "accepted"})
        return [message_of(each) for each in found]

    async def deliver_stops(self) -> None:
        """The api publishes them, the scheduler reads them."""
        stops = await self.owed_stops()
        await self.api.api.courier.deliver()
        await self.scheduler.stop_records.handle([received(each) for each in stops])

    def arrived(self) -> list[bytes]:
        """The messages as the mail server has them, in their order."""
        return [self.smtp.content(message) for message in self.smtp.messages()]


@contextlib.asynccontextmanager
async def carried(mongodb_uri: str, folder: Path, **settings: Any) -> AsyncIterator[Carried]:
    """All of it over a database of its own; `settings` are the api's."""
    async with serving(mongodb_uri, **settings) as served:
        kafka, common = Captured(), {name: getattr(served.api.settings, name) for name in COMMON}
        sender_settings = SenderSettings(**common)
        pool = sender_wiring.smtp_pool(sender_settings)
        sender = sender_wiring.assemble(sender_settings, served.clock, served.database, kafka, pool)
        common.pop("public_url")
        scheduler = scheduler_wiring.assemble(
            SchedulerSettings(**common), served.clock, served.database, kafka, lambda: ALL_SHARDS
        )
        for schema in (SENDER_SCHEMA, SCHEDULER_SCHEMA):
            await build(served.database, schema)
        with SmtpServer(folder / "smtp") as smtp:
            yield Carried(served, scheduler, sender, kafka, smtp)
            await sender.work.quiet()
            await pool.close()
