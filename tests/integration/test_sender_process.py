"""The sender as a process with real Kafka, MongoDB and mail server: killed anywhere, it never sends twice."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from chassis import documents as names
from chassis.clock import Clock
from chassis.kafka import Publisher, Record, ensure_topics
from chassis.secrets import Secrets, SecretSettings
from chassis.settings import ServiceSettings
from chassis.store import Database, connect
from segue_contracts import ids
from segue_contracts.events import StageDue
from segue_contracts.topics import TOPICS
from stack.mail_script import Hang
from stack.ports import free_port
from stack.processes import Process, http_ok
from stack.smtp import SmtpServer
from stack.texts import AUTH_TOKEN, TextServer, zone_at

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ANNA = "anna@prospect.example"
SECRET_KEYS = "a secret key for tests only"
SETTLED_SECONDS = 45
SHORT = {
    "SEGUE_REDELIVERY_SECONDS": "5",
    "SEGUE_CLAIM_LEASE_SECONDS": "4",
    "SEGUE_SMTP_TOTAL_SECONDS": "2.5",
    "SEGUE_BATCH_SECONDS": "1",
    "SEGUE_ROOM_SECONDS": "0.5",
    "SEGUE_DOUBT_MARGIN_SECONDS": "0.2",
    "SEGUE_SHUTDOWN_SECONDS": "15",
}


@dataclass
class Scene:
    """One enrollment that is dispatched, a sender process, and what the scheduler would do."""

    database: Database
    publisher: Publisher
    smtp: SmtpServer
    process: Process
    thing: UUID
    enrollment: UUID

    async def furnish(self) -> None:
        thing = self.thing
        document = {
            "name": "One mail",
            "stages": [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hi"}],
        }
        smtp = {"host": self.smtp.host, "port": self.smtp.port, "security": "none"}
        rows: dict[str, dict[str, Any]] = {
            names.MAILBOXES: {"_id": thing, "address": "ana@ourco.example", "owner_id": thing, "smtp": smtp},
            names.SEQUENCE_VERSIONS: {
                "_id": names.version_id(thing, 1),
                "sequence_id": thing,
                "version": 1,
                "document": document,
                "mailbox_ids": [thing],
                "owner_id": thing,
            },
            names.PEOPLE: {"_id": thing, "prospect": {"email": ANNA}},
            names.ENROLLMENTS: {
                "_id": self.enrollment,
                "state": "dispatched",
                "stage_id": "hello",
                "attempt": 1,
                "sequence_id": thing,
                "sequence_version": 1,
                "person_id": thing,
                "mailbox_id": thing,
                "owner_id": thing,
                "ended": False,
            },
        }
        for name, row in rows.items():
            await self.database.collection(name).insert_one({**row, "workspace_id": thing})

    async def texts_through(self, server: TextServer) -> None:
        """The one stage becomes a text message."""
        secrets = Secrets(SecretSettings(secret_keys=SecretStr(SECRET_KEYS)))
        secret = {"auth_token": secrets.encrypt(AUTH_TOKEN)}
        row = {"_id": uuid4(), "workspace_id": self.thing, "owner_id": self.thing, "number": "+4930999"}
        await self.database.collection(names.SMS_NUMBERS).insert_one({**row, **server.settings, **secret})
        stage = {"id": "hello", "channel": "sms", "text": "Hi"}
        await self.database.collection(names.SEQUENCE_VERSIONS).update_one(
            {"workspace_id": self.thing}, {"$set": {"document.stages": [stage]}}
        )
        await self.database.collection(names.PEOPLE).update_one(
            {"_id": self.thing},
            {
                "$set": {
                    "prospect": {"phone": "+4915112345678", "zone": zone_at(range(11, 18), Clock().now())}
                }
            },
        )

    async def due(self) -> None:
        now = Clock().now()
        message = StageDue(
            event_id=uuid4(),
            occurred_at=now,
            recorded_at=now,
            workspace_id=self.thing,
            enrollment_id=self.enrollment,
            stage_id="hello",
            attempt=1,
            due_at=now,
        )
        await self.publisher.publish([Record.of(message)])

    async def start(self, fault: str = "") -> None:
        self.process.env["SEGUE_FAULTS"] = json.dumps({fault: "kill"} if fault else {})
        await asyncio.to_thread(self.process.start)

    async def died(self) -> None:
        assert await asyncio.to_thread(self.process.wait, SETTLED_SECONDS) is not None

    async def settled(self) -> str:
        """Ask again and again, as the scheduler does; the state in which the delivery rests."""
        dispatch = ids.dispatch_id(self.enrollment, "hello")
        async with asyncio.timeout(SETTLED_SECONDS):
            while True:
                await self.due()
                await asyncio.sleep(0.5)
                found = await self.database.collection(names.DELIVERIES).find_one({"_id": dispatch})
                if found and found["state"] not in ("claimed", "transmitting"):
                    return str(found["state"])


@pytest.fixture
async def scene(
    kafka_bootstrap: str, mongodb_uri: str, smtp_server: SmtpServer, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with a_scene(kafka_bootstrap, mongodb_uri, smtp_server, tmp_path) as built:
        yield built


@asynccontextmanager
async def a_scene(
    kafka_bootstrap: str, mongodb_uri: str, smtp_server: SmtpServer, tmp_path: Path
) -> AsyncIterator[Scene]:
    run, port = uuid4().hex[:12], free_port()
    settings = ServiceSettings(
        kafka_bootstrap_servers=kafka_bootstrap,
        kafka_topic_prefix=f"{run}.",
        mongodb_uri=mongodb_uri,
        mongodb_database=f"sender_{run}",
    )
    environment = {
        **SHORT,
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{run}.",
        "SEGUE_MONGODB_URI": mongodb_uri,
        "SEGUE_MONGODB_DATABASE": f"sender_{run}",
        "SEGUE_SECRET_KEYS": SECRET_KEYS,
        "SEGUE_HTTP_PORT": str(port),
        "SEGUE_ALLOW_FAULTS": "1",
    }
    process = Process(
        "sender",
        [sys.executable, "-m", "sender"],
        log_folder=tmp_path,
        env=environment,
        ready=http_ok(f"http://127.0.0.1:{port}/health/ready"),
        start_seconds=60,
    )
    await ensure_topics(settings, TOPICS)
    async with connect(settings) as database, Publisher(settings) as publisher:
        built = Scene(database, publisher, smtp_server, process, uuid4(), uuid4())
        await built.furnish()
        yield built
        await asyncio.to_thread(process.kill)
        await database.drop()


@pytest.mark.parametrize(
    ("point", "state", "mails"),
    [
        ("sender.after_claim", "sent", 1),
        ("sender.after_journal", "in_doubt", 0),
        ("sender.after_250", "in_doubt", 1),
        ("sender.after_record", "sent", 1),
    ],
)
async def test_killed_at_any_step_it_sends_at_most_once_and_says_where_it_stands(
    scene: Scene, point: str, state: str, mails: int
) -> None:
    await scene.start(point)
    await scene.due()
    await scene.died()
    assert scene.process.returncode == -signal.SIGKILL
    await scene.start()
    assert await scene.settled() == state
    assert len(scene.smtp.messages()) == mails


@pytest.mark.parametrize(
    ("point", "state", "texts"),
    [("sender.before_data", "in_doubt", 0), ("sender.after_250", "in_doubt", 1)],
)
async def test_killed_around_the_request_a_text_message_is_in_doubt_and_goes_out_at_most_once(
    scene: Scene, point: str, state: str, texts: int
) -> None:
    async with TextServer() as server:
        await scene.texts_through(server)
        await scene.start(point)
        await scene.due()
        await scene.died()
        await scene.start()
        assert await scene.settled() == state
        assert len(server.arrived) == texts


async def test_on_sigterm_a_message_in_data_ends_as_sent_and_the_process_with_zero(scene: Scene) -> None:
    scene.smtp.answer(ANNA, Hang(at="after_data", seconds=1))
    await scene.start()
    await scene.due()
    await scene.smtp.arrived(1)
    assert await asyncio.to_thread(scene.process.stop) == 0
    dispatch = ids.dispatch_id(scene.enrollment, "hello")
    found = await scene.database.collection(names.DELIVERIES).find_one({"_id": dispatch})
    assert found is not None
    assert found["state"] == "sent"
