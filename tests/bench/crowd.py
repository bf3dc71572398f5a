"""The people, the words and the documents of the burst: made once, by the API's and the scheduler's code."""

import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from pymongo import MongoClient

from chassis.kafka import Received, Record
from chassis.migrations import build
from chassis.store import connect
from scheduler.migrations import SCHEMA
from scheduler.settings import SchedulerSettings
from scheduler.wiring import assemble
from segue_contracts.codec import encode
from segue_contracts.commands import Enroll
from segue_contracts.prospect import Prospect
from stack.brokers import Brokers
from stack.client import Client
from stack.ports import free_port
from stack.processes import Process, http_ok
from stack.system import ALLOWED_NETWORKS, Access, run_api

MAILBOXES = 40
FIRST_STAGE = "hello"
BATCH = 500
ADMIN = "rita@ourco.example"
SUBJECT = "{{first_name|Hi}}: {{role}}, four days a week"
TEXT = """\
Hi {{first_name|there}},

I came across your work as {{title|an engineer}} at {{company|your company}}, and I think that you would like
what we build: a platform that a few hundred recruiters open every morning and that has to be up when they do.

We look for a {{role}} for our team of nine. Four days a week at full pay, no on-call in the first six months,
and you can work from {{location|wherever you are}} as long as the hours overlap. The stack is Python, Kafka
and MongoDB; what we care about more is that you have kept something alive in production and can tell what
broke.

Would you have half an hour this week or next? If it is not for you, a one-word answer is enough, and I will
not write again.

{{signature}}
"""
LATER = "Hi {{first_name|there}}, did you see this? I would still like to talk. {{my_name}}\n"
COLLECTIONS = (
    "workspaces",
    "mailboxes",
    "sequences",
    "sequence_versions",
    "people",
    "companies",
    "enrollments",
)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The seeded database: of its `everybody` enrollments `due_count` are due at `due_at`, others later."""

    database: str
    due_at: datetime
    due_count: int
    everybody: int


class NoBroker:
    """Nobody listens to the seeding: its events count as told."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Forget them."""


def seed(folder: Path, brokers: Brokers, sink_port: int, everybody: int, due: int) -> Crowd:
    """Make mailboxes and sequence over the API, and enroll `everybody`; blocks for a minute or so."""
    name = f"crowd{uuid4().hex[:8]}"
    settings = environment(brokers, name)
    port = free_port()
    api = Process(
        "api",
        [sys.executable, "-m", "api"],
        log_folder=folder / "logs",
        env={**settings, "SEGUE_HTTP_PORT": str(port), "SEGUE_PUBLIC_URL": f"http://127.0.0.1:{port}"},
        ready=http_ok(f"http://127.0.0.1:{port}/health/ready"),
    )
    # A day ahead, so that nothing is late while it is planned; each round moves it to its own beginning.
    due_at = (datetime.now(UTC) + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
    try:
        api.start()
        told = run_api(
            {**api.env, "PATH": "/usr/bin"}, "bootstrap", "--workspace", "Our Co", "--email", ADMIN
        )
        access = Access(UUID(told["workspace_id"]), told["api_key"])
        sequence = asyncio.run(_publish(f"http://127.0.0.1:{port}", access, sink_port))
    finally:
        api.stop()
    commands = _commands(access.workspace_id, sequence, due_at, everybody, due)
    asyncio.run(_enroll(brokers, name, commands))
    _check(brokers, name, due_at, everybody, due)
    return Crowd(name, due_at, due, everybody)


def environment(brokers: Brokers, database: str) -> dict[str, str]:
    """What every Segue process of the burst is told."""
    return {
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": brokers.kafka,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{database}.",
        "SEGUE_MONGODB_URI": brokers.mongodb,
        "SEGUE_MONGODB_DATABASE": database,
        "SEGUE_SECRET_KEYS": "a key for one machine and one run, not for production",
        "SEGUE_ALLOWED_PRIVATE_NETWORKS": ALLOWED_NETWORKS,
    }


async def _publish(url: str, access: Access, sink_port: int) -> UUID:
    async with Client(url, access) as client:
        names = [f"recruiter{n}@ourco.example" for n in range(MAILBOXES)]
        for n, address in enumerate(names):
            await client.post("/v1/mailboxes", _mailbox(n, address, sink_port))
        sequence = await client.post("/v1/sequences", _document(names))
    return UUID(sequence["id"])


def _mailbox(n: int, address: str, sink_port: int) -> dict[str, Any]:
    return {
        "address": address,
        "display_name": f"Rita Recruiter {n}",
        "signature": f"Rita Recruiter {n}\nOur Co, Talent",
        "zone": "UTC",
        # A login of its own makes it a mailbox of its own to the sender's connection pool.
        "smtp": {
            "host": "127.0.0.1",
            "port": sink_port,
            "security": "none",
            "username": address,
            "password": "sesame",
        },
    }


def _document(mailboxes: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "Backend engineers",
        "mailbox": list(mailboxes),
        "tokens": {"role": "Backend Engineer"},
        "timing": {"holidays": {"of": "none"}},
        "stages": [
            {"id": FIRST_STAGE, "channel": "email", "subject": SUBJECT, "text": TEXT},
            {"id": "nudge", "channel": "email", "after": "3 days", "text": LATER},
            {"id": "bye", "channel": "email", "after": "5 days", "text": LATER},
        ],
    }


def _commands(
    workspace: UUID, sequence: UUID, due_at: datetime, everybody: int, due: int
) -> Iterator[Enroll]:
    chance = random.Random(1)
    now = datetime.now(UTC)
    for n in range(everybody):
        # Mixed, as they would be: every `everybody / due`-th is due now, the others within a month.
        is_due = n * due // everybody != (n + 1) * due // everybody
        start = due_at if is_due else due_at + timedelta(hours=chance.randint(24, 24 * 30))
        yield Enroll(
            event_id=uuid4(),
            occurred_at=now,
            recorded_at=now,
            workspace_id=workspace,
            sequence_id=sequence,
            prospect=_prospect(n, chance),
            start_at=start,
        )


def _prospect(n: int, chance: random.Random) -> Prospect:
    return Prospect(
        external_id=f"cand-{n}",
        email=f"person{n}@crowd{n % 5000}.example",
        first_name=chance.choice(("Priya", "Noor", "Tom", "Lena", "Uma", "Jonas", "Zoë", "Ana")),
        last_name=f"Lastname{n}",
        company=f"Company {n % 5000}",
        title=chance.choice(("Backend Engineer", "Staff Engineer", "SRE", "Data Engineer")),
        location=chance.choice(("Berlin", "Lisbon", "Zürich", "Leeds")),
    )


async def _enroll(brokers: Brokers, database: str, commands: Iterator[Enroll]) -> None:
    """Through the scheduler's own handler, as if the commands had come over Kafka."""
    settings = SchedulerSettings(
        kafka_bootstrap_servers=brokers.kafka,
        mongodb_uri=SecretStr(brokers.mongodb),
        mongodb_database=database,
        secret_keys=SecretStr(environment(brokers, database)["SEGUE_SECRET_KEYS"]),
    )
    async with connect(settings) as store:
        parts = assemble(settings, settings.clock(), store, NoBroker(), lambda: ())
        await build(store, SCHEMA)
        batch: list[Received] = []
        for command in commands:
            batch.append(_received(command))
            if len(batch) == BATCH:
                await parts.commands.handle(batch)
                batch = []
        await parts.commands.handle(batch)


def _received(command: Enroll) -> Received:
    encoded = encode(command)
    return Received(encoded.topic, 0, 0, encoded.key, encoded.value, encoded.headers, 0)


def _check(brokers: Brokers, database: str, due_at: datetime, everybody: int, due: int) -> None:
    with client(brokers) as mongo:
        enrollments = mongo[database]["enrollments"]
        found = enrollments.count_documents({}), enrollments.count_documents({"due_at": due_at})
    if found != (everybody, due):
        raise RuntimeError(f"seeded {found} enrollments and due ones, wanted {(everybody, due)}")


def client(brokers: Brokers) -> MongoClient[dict[str, Any]]:
    """A client for the benchmark itself, outside of what is measured."""
    return MongoClient(brokers.mongodb, tz_aware=True, uuidRepresentation="standard")


def copy(brokers: Brokers, crowd: Crowd) -> str:
    """A database of its own for one round; its name."""
    name = f"round{uuid4().hex[:8]}"
    with client(brokers) as mongo:
        for collection in COLLECTIONS:
            mongo[crowd.database][collection].aggregate([{"$out": {"db": name, "coll": collection}}])
    return name


def make_due(brokers: Brokers, crowd: Crowd, database: str, due_at: datetime) -> None:
    """Move the burst to `due_at`, and have mongod write out what it holds, so that no round pays for another.

    Done when all processes are ready and wait, so that nothing of their start is in the measurement.
    """
    earlier = int((crowd.due_at - due_at).total_seconds() * 1000)
    moved = {
        field: {"$subtract": [f"${field}", earlier]}
        for field in ("due_at", "planned_at", "send_before", "base", "start_at")
    }
    with client(brokers) as mongo:
        mongo[database]["enrollments"].update_many({"due_at": crowd.due_at}, [{"$set": moved}])
        mongo.admin.command("fsync")
    if datetime.now(UTC) >= due_at:
        raise RuntimeError("the documents were not ready before the burst")


def drop(brokers: Brokers, database: str) -> None:
    """Delete a round's database."""
    with client(brokers) as mongo:
        mongo.drop_database(database)
