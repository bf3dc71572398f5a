"""The API as a process between a real MongoDB and a real Kafka: what it answers with 202 arrives."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from chassis.kafka import Consumer, DeadLetters, Publisher, Received
from chassis.settings import ServiceSettings
from chassis.store import connect
from chassis.testing import fresh_settings
from segue_contracts import codec
from segue_contracts.topics import ENROLLMENT_COMMANDS
from stack.client import Client, eventually
from stack.local_kafka import LocalKafka
from stack.ports import free_port
from stack.processes import Process, http_ok
from stack.system import Access

pytestmark = pytest.mark.stack

START_SECONDS = 60.0
FIRST = ("bootstrap", "--workspace", "W", "--email", "a@b.example")
MAILBOX = {"address": "a@b.example", "smtp": {"host": "127.0.0.1", "port": 25, "security": "none"}}
SEQUENCE = {
    "name": "Hello",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hello", "text": "Hi"}],
}


class Served:
    """An API process with a database and topics of its own, and what can be asked of it."""

    def __init__(self, settings: ServiceSettings, folder: Path) -> None:
        port = free_port()
        self.settings = settings
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "SEGUE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "SEGUE_KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
            "SEGUE_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
            "SEGUE_MONGODB_DATABASE": settings.mongodb_database,
            "SEGUE_SECRET_KEYS": "a secret key for tests only",
            "SEGUE_HTTP_PORT": str(port),
        }
        self.process = Process(
            "api",
            [sys.executable, "-m", "api"],
            log_folder=folder,
            env=self.environment,
            ready=http_ok(f"{self.url}/health/ready"),
            start_seconds=START_SECONDS,
            stop_seconds=40.0,
        )

    async def start(self) -> None:
        await asyncio.to_thread(self.process.start)

    async def stop(self) -> int | None:
        return await asyncio.to_thread(self.process.stop)

    async def command_line(self, *arguments: str) -> tuple[int | None, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api", *arguments),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out, err

    async def access(self) -> Access:
        code, out, err = await self.command_line(*FIRST)
        assert code == 0, err
        told = json.loads(out)
        return Access(UUID(told["workspace_id"]), told["api_key"])

    async def health(self) -> Any:
        """The readiness page, or None while nobody listens."""
        try:
            async with aiohttp.ClientSession(self.url) as session, session.get("/health/ready") as answer:
                return {"status": answer.status, **await answer.json()}
        except aiohttp.ClientConnectionError:
            return None

    async def connected(self) -> None:
        """Wait until the API has reached Kafka and ensured its topics."""
        await eventually(self.health, until=lambda told: told["notes"] == {}, seconds=START_SECONDS)

    async def published(self, count: int) -> dict[str, Any]:
        """The first commands on Kafka by id; their topic must be there."""
        found: dict[str, Any] = {}
        complete = asyncio.Event()

        async def handle(batch: Sequence[Received]) -> None:
            for received in batch:
                command = codec.decode(received.topic, received.headers, received.value)
                found[str(command.event_id)] = command
            if len(found) >= count:
                complete.set()

        async with Publisher(self.settings) as publisher:
            consumer = Consumer(
                self.settings,
                group="test",
                topics=[ENROLLMENT_COMMANDS.name],
                handle=handle,
                dead_letters=DeadLetters(publisher),
            )
            running = asyncio.create_task(consumer.run())
            async with asyncio.timeout(START_SECONDS):
                await complete.wait()
            await consumer.stop()
            await running
        return found


@asynccontextmanager
async def an_api(kafka: str, mongodb_uri: str, folder: Path) -> AsyncIterator[Served]:
    built = Served(fresh_settings(kafka, mongodb_uri), folder)
    yield built
    await asyncio.to_thread(built.process.kill)
    async with connect(built.settings) as database:
        await database.drop()


@pytest.fixture
async def served(kafka_bootstrap: str, mongodb_uri: str, tmp_path: Path) -> AsyncIterator[Served]:
    """Not started yet."""
    async with an_api(kafka_bootstrap, mongodb_uri, tmp_path) as built:
        yield built


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[LocalKafka]:
    """A broker of this test's own, not started yet."""
    broker = LocalKafka(tmp_path / "kafka")
    yield broker
    await asyncio.to_thread(broker.kill)
    broker.wipe()


async def enrollments_of_a_new_sequence(client: Client) -> str:
    """The path to enroll at."""
    await client.post("/v1/mailboxes", MAILBOX)
    return f"/v1/sequences/{(await client.post('/v1/sequences', SEQUENCE))['id']}/enrollments"


async def enroll(client: Client, path: str, who: str = "p1") -> Any:
    [accepted] = (await client.post(path, {"prospect": {"external_id": who}}))["accepted"]
    return accepted


async def test_the_process_carries_an_enroll_to_kafka_and_ends_on_sigterm(served: Served) -> None:
    await served.start()
    await served.connected()
    async with Client(served.url, await served.access()) as client:
        accepted = await enroll(client, await enrollments_of_a_new_sequence(client))
    command = (await served.published(1))[accepted["command_id"]]
    assert str(command.enrollment_id) == accepted["enrollment_id"]
    async with aiohttp.ClientSession(served.url) as session, session.get("/metrics") as response:
        told = await response.text()
    assert "segue_api_commands_accepted_total" in told
    assert "segue_api_kafka_connected 1.0" in told
    assert await served.stop() == 0


async def test_a_request_under_way_at_sigterm_is_answered_and_its_command_published_before_the_end(
    served: Served, tmp_path: Path
) -> None:
    stored = tmp_path / "stored"
    faults = {"api.command_stored": f"hang:{stored}"}
    served.process.env |= {"SEGUE_ALLOW_FAULTS": "1", "SEGUE_FAULTS": json.dumps(faults)}
    await served.start()
    await served.connected()
    async with Client(served.url, await served.access()) as client:
        path = await enrollments_of_a_new_sequence(client)
        request = asyncio.create_task(enroll(client, path))
        await eventually(lambda: asyncio.to_thread(stored.exists), until=bool)
        served.process.terminate()
        await eventually(served.health, until=lambda told: told is None)
        assert not request.done()
        stored.unlink()
        accepted = await request
    assert await asyncio.to_thread(served.process.wait_or_kill) == 0
    assert list(await served.published(1)) == [accepted["command_id"]]


@pytest.mark.slow
async def test_with_kafka_away_commands_are_taken_kept_over_a_restart_and_published_when_kafka_comes(
    kafka: LocalKafka, mongodb_uri: str, tmp_path: Path
) -> None:
    async with an_api(kafka.address, mongodb_uri, tmp_path) as served:
        await served.start()
        access = await served.access()
        async with Client(served.url, access) as client:
            path = await enrollments_of_a_new_sequence(client)
            before = await enroll(client, path, "before")
        assert await served.stop() == 0
        await served.start()
        async with Client(served.url, access) as client:
            after = await enroll(client, path, "after")
            assert (await client.get(f"/v1/commands/{before['command_id']}"))["state"] == "accepted"
        told = await eventually(served.health, until=lambda told: "can't" in told["notes"]["kafka"])
        assert (told["status"], told["ok"], told["reasons"]) == (200, True, {})
        await asyncio.to_thread(kafka.start)
        await served.connected()
        assert set(await served.published(2)) == {before["command_id"], after["command_id"]}
        assert await served.stop() == 0


async def test_a_second_bootstrap_says_that_the_workspace_exists(served: Served) -> None:
    assert (await served.command_line(*FIRST))[0] == 0
    code, out, err = await served.command_line(*FIRST)
    assert (code, out) == (1, b"")
    assert b"--new-key" in err
    nobody = ("bootstrap", "--workspace", "X", "--email", "nobody")
    assert (await served.command_line(*nobody))[0] == 1
