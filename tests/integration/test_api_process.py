"""The API as a process between a real MongoDB and a real Kafka: what it answers with 202 arrives."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from chassis.kafka import Consumer, DeadLetters, Publisher, Received
from chassis.settings import ServiceSettings
from segue_contracts import codec
from segue_contracts.topics import ENROLLMENT_COMMANDS
from stack.ports import free_port

pytestmark = pytest.mark.stack

START_SECONDS = 60.0
FIRST = ("bootstrap", "--workspace", "W", "--email", "a@b.example")


@pytest.fixture
async def environment(kafka_bootstrap: str, mongodb_uri: str) -> dict[str, str]:
    run = uuid4().hex
    return {
        **os.environ,
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{run}.",
        "SEGUE_MONGODB_URI": mongodb_uri,
        "SEGUE_MONGODB_DATABASE": f"api_{run}",
        "SEGUE_SECRET_KEYS": "a secret key for tests only",
        "SEGUE_HTTP_PORT": str(free_port()),
    }


async def command_line(environment: dict[str, str], *arguments: str) -> tuple[int | None, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out, err


@pytest.fixture
async def served(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(START_SECONDS):
        while b"api.listening" not in (line := await process.stderr.readline()):
            assert line, "it ended before it listened"
    draining = asyncio.create_task(process.stderr.read())
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()
    await draining


async def first_command(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in environment.items():
        if name.startswith("SEGUE_"):
            monkeypatch.setenv(name, value)
    settings, found = ServiceSettings(), asyncio.get_running_loop().create_future()

    async def handle(batch: Sequence[Received]) -> None:
        for received in batch:
            if not found.done():
                found.set_result(codec.decode(received.topic, received.headers, received.value))

    async with Publisher(settings) as publisher:
        letters = DeadLetters(publisher)
        consumer = Consumer(
            settings, group="test", topics=[ENROLLMENT_COMMANDS.name], handle=handle, dead_letters=letters
        )
        running = asyncio.create_task(consumer.run())
        async with asyncio.timeout(START_SECONDS):
            command = await found
        await consumer.stop()
        await running
    return command


async def test_the_process_carries_an_enroll_to_kafka_and_ends_on_sigterm(
    environment: dict[str, str], served: asyncio.subprocess.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = await command_line(
        environment, "bootstrap", "--workspace", "W", "--email", "a@b.example"
    )
    assert code == 0, err
    headers = {"Authorization": f"Bearer {json.loads(out)['api_key']}"}
    base = f"http://127.0.0.1:{environment['SEGUE_HTTP_PORT']}"
    mailbox = {"address": "a@b.example", "smtp": {"host": "127.0.0.1", "port": 25, "security": "none"}}
    sequence = {
        "name": "Hello",
        "stages": [{"id": "hello", "channel": "email", "subject": "Hello", "text": "Hi"}],
    }
    async with aiohttp.ClientSession(base, headers=headers) as session:
        async with session.get("/health/ready") as response:
            assert response.status == 200, await response.text()
        async with session.post("/v1/mailboxes", json=mailbox) as response:
            assert response.status == 201
        async with session.post("/v1/sequences", json=sequence) as response:
            sequence_id = (await response.json())["id"]
        body = {"prospect": {"external_id": "p1"}}
        async with session.post(f"/v1/sequences/{sequence_id}/enrollments", json=body) as response:
            assert response.status == 202
            [accepted] = (await response.json())["accepted"]
        command = await first_command(environment, monkeypatch)
        assert str(command.event_id) == accepted["command_id"]
        assert str(command.enrollment_id) == accepted["enrollment_id"]
        async with session.get("/metrics") as response:
            assert "segue_api_commands_accepted_total" in await response.text()
    served.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(served.wait(), 30) == 0


async def test_a_second_bootstrap_says_that_the_workspace_exists(environment: dict[str, str]) -> None:
    assert (await command_line(environment, *FIRST))[0] == 0
    code, out, err = await command_line(environment, *FIRST)
    assert (code, out) == (1, b"")
    assert b"--new-key" in err
    assert (await command_line(environment, "bootstrap", "--workspace", "X", "--email", "nobody"))[0] == 1
