"""The reply detector as a process with real brokers: killed or without its agent, it loses nothing."""

import asyncio
import hashlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr

from chassis import documents as names
from chassis.clock import Clock
from chassis.kafka import Publisher, Record, ensure_topics
from chassis.migrations import build
from chassis.store import Database, connect
from chassis.testing import fresh_name
from reply_detector.migrations import SCHEMA
from reply_detector.settings import DetectorSettings
from reply_detector.wiring import Parts, assemble
from segue_contracts.codec import decode
from segue_contracts.events import EnrollmentStop, InboundMessage, StopReason
from segue_contracts.message import Scope
from segue_contracts.topics import ENROLLMENT_STOPS, TOPICS
from stack.client import eventually
from stack.ports import free_port
from stack.processes import Process, http_ok

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

pytestmark = [pytest.mark.stack, pytest.mark.slow]

WAIT_SECONDS = 45
OUR_ID = "<abc234@ourco.example>"
REPLY = f"""From: Pat <pat@theirs.example>
To: ana@ourco.example
Subject: Re: Backend Engineer
Message-ID: <reply@theirs.example>
In-Reply-To: {OUR_ID}
Date: Mon, 23 Nov 2026 09:29:00 +0000

Hi Ana, that sounds interesting. Can we talk on Thursday?
""".replace("\n", "\r\n").encode()


@dataclass
class Scene:
    """One person who was written to, a detector process, and what is said about it on enrollment.stops."""

    settings: DetectorSettings
    database: Database
    publisher: Publisher
    process: Process
    stops: AIOKafkaConsumer
    thing: UUID = field(default_factory=uuid4)

    async def furnish(self) -> None:
        thing = self.thing
        rows: dict[str, dict[str, Any]] = {
            names.MAILBOXES: {"address": "ana@ourco.example", "owner_id": thing},
            names.ENROLLMENTS: {
                "state": "scheduled",
                "sequence_id": thing,
                "sequence_version": 1,
                "person_id": thing,
                "mailbox_id": thing,
                "owner_id": thing,
                "ended": False,
                "issued_at": Clock().now(),
            },
            names.DELIVERIES: {
                "enrollment_id": thing,
                "stage_id": "hello",
                "message_id": OUR_ID,
                "mailbox_id": thing,
                "recipient": "pat@theirs.example",
                "state": "sent",
            },
        }
        for name, row in rows.items():
            await self.database.collection(name).insert_one({"_id": thing, "workspace_id": thing, **row})

    async def arrives(self, raw: bytes = REPLY, *, pointers: int = 1) -> UUID:
        """As the api does it: durable first, then as many pointers as it takes."""
        now, digest = Clock().now(), hashlib.sha256(raw).hexdigest()
        inbound = uuid5(self.thing, digest)
        document = {
            "_id": inbound,
            "workspace_id": self.thing,
            "mailbox_id": self.thing,
            "digest": digest,
            "raw": raw,
            "size": len(raw),
            "received_at": now,
            "source": "webhook",
            "verdict": None,
            "state": "received",
        }
        await self.database.collection(names.INBOUND).insert_one(document)
        message = InboundMessage(
            event_id=uuid5(inbound, "received"),
            occurred_at=now,
            recorded_at=now,
            workspace_id=self.thing,
            inbound_id=inbound,
            mailbox_id=self.thing,
        )
        await self.publisher.publish([Record.of(message)] * pointers)
        return inbound

    async def next_stop(self) -> EnrollmentStop:
        """The next stop of the person; that of the enrollment comes beside it, on a partition of its own."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                record = await self.stops.getone()
                stop: EnrollmentStop = decode(ENROLLMENT_STOPS.name, record.headers, record.value)
                if stop.scope is Scope.PERSON:
                    return stop

    async def end(self, cause: UUID) -> None:
        """As the scheduler does it."""
        now = Clock().now()
        stop = {"reason": "replied", "cause_id": cause, "at": now}
        stopped = {"ended": True, "stop": stop, "updated_at": now}
        await self.database.collection(names.ENROLLMENTS).update_one({"_id": self.thing}, {"$set": stopped})

    async def state(self, inbound: UUID, wanted: str) -> dict[str, Any]:
        """The document once it is in the wanted state."""

        async def look() -> dict[str, Any]:
            return await self.database.collection(names.INBOUND).find_one({"_id": inbound}) or {}

        return await eventually(look, until=lambda found: found.get("state") == wanted, seconds=WAIT_SECONDS)

    async def start(self, fault: str = "") -> None:
        self.process.env["SEGUE_FAULTS"] = json.dumps({fault: "kill"} if fault else {})
        await asyncio.to_thread(self.process.start)

    async def died(self) -> None:
        assert await asyncio.to_thread(self.process.wait, WAIT_SECONDS) is not None


@pytest.fixture
async def scene(kafka_bootstrap: str, mongodb_uri: str, tmp_path: Path) -> AsyncIterator[Scene]:
    name, port = fresh_name(), free_port()
    settings = DetectorSettings(
        kafka_bootstrap_servers=kafka_bootstrap,
        kafka_topic_prefix=f"{name}.",
        mongodb_uri=SecretStr(mongodb_uri),
        mongodb_database=name,
        secret_keys=SecretStr("a secret key for tests only"),
        inbound_patience_seconds=0.5,
    )
    environment = {
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{name}.",
        "SEGUE_MONGODB_URI": mongodb_uri,
        "SEGUE_MONGODB_DATABASE": name,
        "SEGUE_SECRET_KEYS": "a secret key for tests only",
        "SEGUE_HTTP_PORT": str(port),
        "SEGUE_INBOUND_SWEEP_SECONDS": "0.3",
        "SEGUE_ALLOW_FAULTS": "1",
    }
    process = Process(
        "reply-detector",
        [sys.executable, "-m", "reply_detector"],
        log_folder=tmp_path,
        env=environment,
        ready=http_ok(f"http://127.0.0.1:{port}/health/ready"),
        start_seconds=60,
    )
    await ensure_topics(settings, TOPICS)
    stops = AIOKafkaConsumer(
        f"{name}.{ENROLLMENT_STOPS.name}",
        bootstrap_servers=kafka_bootstrap,
        auto_offset_reset="earliest",
    )
    await stops.start()
    async with connect(settings) as database, Publisher(settings) as publisher:
        scene = Scene(settings, database, publisher, process, stops)
        await scene.furnish()
        try:
            yield scene
        finally:
            await asyncio.to_thread(process.kill)
            await stops.stop()
            await database.drop()


async def test_a_reply_is_heard_of_at_once_and_settled_when_the_enrollment_has_ended(scene: Scene) -> None:
    await scene.start()
    inbound = await scene.arrives(pointers=3)
    stop = await scene.next_stop()
    assert (stop.event_type, stop.person_id) == (StopReason.REPLIED, scene.thing)
    await scene.end(stop.event_id)
    found = await scene.state(inbound, "settled")
    assert found["verdict"]["kind"] == "reply"
    # By then all three pointers were published; what they did was the same thing.
    assert found["publishes"] <= 3
    assert await asyncio.to_thread(scene.process.stop) == 0


async def test_killed_after_publishing_a_stop_it_publishes_the_same_one_again(scene: Scene) -> None:
    await scene.start("reply_detector.after_stop_publish")
    inbound = await scene.arrives()
    first = await scene.next_stop()
    await scene.died()
    assert scene.process.returncode == -signal.SIGKILL
    await scene.start()
    again = await scene.next_stop()
    assert again.event_id == first.event_id
    await scene.end(again.event_id)
    await scene.state(inbound, "settled")


async def swept(parts: Parts) -> None:
    """Until the sweep found something due."""
    await eventually(parts.sweep.once, until=bool, seconds=WAIT_SECONDS)


async def test_without_the_agent_the_sweep_does_it_all(scene: Scene) -> None:
    parts = assemble(scene.settings, Clock(), scene.database, scene.publisher)
    await build(scene.database, SCHEMA)
    inbound = await scene.arrives(pointers=0)
    await swept(parts)
    stop = await scene.next_stop()
    await scene.end(stop.event_id)
    await swept(parts)
    await scene.state(inbound, "settled")


async def test_what_is_half_done_when_the_agent_is_gone_is_finished_by_the_next_one(scene: Scene) -> None:
    inbound = await scene.arrives()
    await scene.start()
    stop = await scene.next_stop()
    assert await asyncio.to_thread(scene.process.stop) == 0
    await scene.end(stop.event_id)
    await scene.start()
    await scene.state(inbound, "settled")
