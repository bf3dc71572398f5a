"""A whole Segue to harm: short deadlines, a supervisor, a mail server whose record judges, and the judge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from chassis import documents as names
from chassis.kafka import Publisher, Record
from chassis.settings import PREFIX
from chassis.store import Database, connect
from invariants import violations
from segue_contracts.message import Message
from stack.brokers import Brokers
from stack.client import Client, Json, eventually
from stack.smtp import SmtpServer
from stack.system import Access, System, system
from world import Document, World, WorldSettings, gather

SPEED = 600.0
"""Ten business minutes in a real second."""
ADDRESS = "ana@ourco.example"
SETTLED_SECONDS = 60.0

# What the services assert: redelivery > lease > SMTP total + batch; batch > room; ask again >= redelivery.
SHORT = {
    "SEGUE_REDELIVERY_SECONDS": "6",
    "SEGUE_ASK_AGAIN_SECONDS": "6",
    "SEGUE_CLAIM_LEASE_SECONDS": "5",
    "SEGUE_SMTP_TOTAL_SECONDS": "3",
    "SEGUE_BATCH_SECONDS": "1.5",
    "SEGUE_ROOM_SECONDS": "1",
    "SEGUE_BUSY_SECONDS": "1",
    "SEGUE_DOUBT_MARGIN_SECONDS": "0.3",
    "SEGUE_BACKOFF_BASE_SECONDS": "0.5",
    "SEGUE_BACKOFF_CAP_SECONDS": "2",
    "SEGUE_SWEEP_SECONDS": "1",
    "SEGUE_COMMAND_PATIENCE_SECONDS": "2",
    "SEGUE_INBOUND_PATIENCE_SECONDS": "3",
    "SEGUE_KAFKA_SESSION_SECONDS": "3",
    "SEGUE_KAFKA_DELIVERY_SECONDS": "3",
    "SEGUE_SMTP_PER_MAILBOX": "10",
}
# A crowd on a busy machine: no deadline may pass for want of a turn.
PATIENT = {
    "SEGUE_REDELIVERY_SECONDS": "20",
    "SEGUE_ASK_AGAIN_SECONDS": "20",
    "SEGUE_CLAIM_LEASE_SECONDS": "19",
    "SEGUE_SMTP_TOTAL_SECONDS": "12",
    "SEGUE_BATCH_SECONDS": "6",
    "SEGUE_ROOM_SECONDS": "5",
}
SESSION_OF_A_FOREIGN_CLUSTER = {"SEGUE_KAFKA_SESSION_SECONDS": "6"}
"""The least that a broker with Kafka's defaults allows."""

STAGE = """
  - id: {id}
    channel: email
    after: {after}
    subject: "{id} {{{{first_name|you}}}}"
    text: "Hi {{{{first_name|there}}}}, this is {id}."
"""
CALL = """
  - id: ring
    channel: call
    text: "Ask {{first_name|them}} about the job"
"""
HEAD = "name: {name}\nmailbox: ana@ourco.example\nstages:{stages}"


def sequence(*after: str, before: str = "") -> str:
    """E-mails `one`, `two` ..., each so long after the one before; `before` is a stage that comes first."""
    numbers = ("one", "two", "three", "four")
    stages = "".join(STAGE.format(id=n, after=a) for n, a in zip(numbers, after, strict=False))
    return HEAD.format(name="Chaos", stages=before + stages)


@dataclass(slots=True)
class Rig:
    """One workspace in one system."""

    segue: System
    mail: SmtpServer
    client: Client
    mailbox: Json
    database: Database
    publisher: Publisher
    settings: WorldSettings
    workspace: UUID

    async def enroll(self, sequence: str, *people: str) -> list[str]:
        """The enrollments of so many people, which the API has accepted."""
        prospects = [
            {"external_id": p, "email": f"{p}@there.example", "first_name": p, "phone": "+49 30 1234"}
            for p in people
        ]
        answer = await self.client.post(f"/v1/sequences/{sequence}/enrollments", {"prospects": prospects})
        assert not answer["refused"], answer["refused"]
        return [str(row["enrollment_id"]) for row in answer["accepted"]]

    async def done(self, accepted: Json) -> None:
        """Wait until a command that was answered with 202 is done."""
        path = accepted["status_url"]
        await eventually(
            lambda: self.client.get(path), until=lambda c: c["state"] == "done", seconds=SETTLED_SECONDS
        )

    async def publish(self, *messages: Message) -> None:
        """What another service would put on Kafka itself."""
        await self.publisher.publish([Record.of(message) for message in messages])

    async def documents(self, collection: str, **fields: Any) -> list[Document]:
        """Documents with these fields, as they are now."""
        return await self.database.collection(collection).find(fields)

    async def delivery(self, enrollment: str, stage: str = "one") -> Document:
        """The delivery of a dispatch; an empty one before its claim."""
        found = await self.documents(names.DELIVERIES, _id=f"{enrollment}:{stage}")
        return found[0] if found else {"state": "none"}

    async def until(self, look: Callable[[], Awaitable[Any]], seconds: float = SETTLED_SECONDS) -> None:
        """Wait until it is so."""
        await eventually(look, until=bool, seconds=seconds)

    async def restarted(self, name: str, before: int) -> None:
        """Wait until a process that was killed after its `before`-th start is ready again."""
        process = self.segue.processes[name]

        async def again() -> bool:
            if process.starts <= before or process.ready is None:
                return False
            return await asyncio.to_thread(process.ready)

        await self.until(again)

    async def settled(self, seconds: float = SETTLED_SECONDS) -> None:
        """Wait until nothing moves any more: everything has ended, waits for a person, or for a later day."""

        await eventually(self.moving, until=lambda found: not found, seconds=seconds)

    async def moving(self) -> list[str]:
        """What still moves, and how much of it."""
        soon = self.settings.clock().in_real(SETTLED_SECONDS)
        checks: dict[str, tuple[str, Document]] = {
            "commands open": (names.COMMANDS, {"state": "accepted"}),
            "dispatched": (names.ENROLLMENTS, {"state": "dispatched"}),
            "planned": (names.ENROLLMENTS, {"state": "scheduled", "due_at": {"$lt": soon}}),
            "recalls owed": (names.ENROLLMENTS, {"owes_recall": {"$exists": True}}),
            "events owed": (names.OUTBOX, {"look_at": {"$lt": soon}}),
            "in flight": (names.DELIVERIES, {"state": {"$in": ["claimed", "transmitting"]}}),
            "answers open": (names.INBOUND, {"state": {"$ne": "settled"}}),
        }
        found = {
            what: await self.database.collection(collection).count(query, limit=100_000)
            for what, (collection, query) in checks.items()
        }
        return [f"{what}: {count}" for what, count in found.items() if count]

    async def judged(self) -> World:
        """The world as it is, in which nothing may be wrong."""
        world = await gather(self.settings, self.mail.maildir.folder)
        found = violations(world)
        assert not found, "\n".join(str(violation) for violation in found)
        return world

    def mails_to(self, *people: str) -> list[int]:
        """How many mails each of these people has got."""
        return [len(self.mail.messages(f"{person}@there.example")) for person in people]


@contextlib.contextmanager
def broken_in(
    folder: Path,
    brokers: Brokers,
    *,
    settings: Mapping[str, str] | None = None,
    instances: Mapping[str, int] | None = None,
) -> Iterator[System]:
    """A system with short deadlines whose processes may be killed: they are started again."""
    foreign = {} if brokers.local_kafka else SESSION_OF_A_FOREIGN_CLUSTER
    with system(
        folder,
        brokers,
        clock_speed=SPEED,
        settings={**SHORT, **foreign, **(settings or {})},
        instances=instances,
        supervised=True,
        faults=True,
    ) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Office:
    """A workspace with a mailbox."""

    access: Access
    mailbox: Json


async def open_office(segue: System, mail: SmtpServer) -> Office:
    """Make a workspace that sends through this mail server."""
    access = await asyncio.to_thread(segue.bootstrap, "Our Co", ADDRESS)
    async with Client(segue.url, access) as client:
        return Office(access, await client.connect(ADDRESS, mail.host, mail.port))


@contextlib.asynccontextmanager
async def rig(segue: System, mail: SmtpServer, office: Office) -> AsyncIterator[Rig]:
    """What a test needs of a running system."""
    settings = world_settings(segue.environment)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(segue.url, office.access))
        database = await stack.enter_async_context(connect(settings))
        publisher = await stack.enter_async_context(Publisher(settings))
        yield Rig(
            segue, mail, client, office.mailbox, database, publisher, settings, office.access.workspace_id
        )


def world_settings(environment: Mapping[str, str]) -> WorldSettings:
    """The addresses of a system, as the judge wants them."""
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    return WorldSettings.model_validate(given)
