"""The examples for other teams, each in its language, against a running Segue: same ids, same partitions."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from segue_contracts import ids, schemas
from segue_contracts.topics import PARTITIONS
from stack import jars, node
from stack.client import Client
from stack.sequences import TWO_MAILS
from stack.system import System

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(400)]

EXAMPLES = schemas.HOME / "examples"
KEYS = [f"key-{n}" for n in range(40)]
READ_SECONDS = 90
Command = list[str]


@pytest.fixture(scope="module", params=["python", "java", "go", "typescript"])
def programs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Command, Command]:
    """A language, and how its producer and its consumer are started; skips where the language is not."""
    folder: Path = shutil.copytree(EXAMPLES / request.param, tmp_path_factory.mktemp("examples") / "copy")
    return request.param, *BUILD[request.param](folder, request)


def python(folder: Path, _: pytest.FixtureRequest) -> tuple[Command, Command]:
    return [sys.executable, str(folder / "produce.py")], [sys.executable, str(folder / "consume.py")]


def java(folder: Path, _: pytest.FixtureRequest) -> tuple[Command, Command]:
    compiler, runtime = (found(name, "default-jdk-headless") for name in ("javac", "java"))
    libraries = jars.class_path(print)
    sources = [str(source) for source in folder.glob("*.java")]
    subprocess.run([compiler, "-cp", libraries, "-d", str(folder), *sources], check=True, timeout=120)
    run = [runtime, "-XX:TieredStopAtLevel=1", "-cp", f"{folder}{os.pathsep}{libraries}"]
    return [*run, "Produce"], [*run, "Consume"]


def go(folder: Path, _: pytest.FixtureRequest) -> tuple[Command, Command]:
    build = [found("go", "golang-go (1.26)", "/usr/local/go/bin"), "build", "-o", "built/", "./..."]
    subprocess.run(build, cwd=folder, check=True, timeout=300)
    return [str(folder / "built" / "produce")], [str(folder / "built" / "consume")]


def typescript(folder: Path, request: pytest.FixtureRequest) -> tuple[Command, Command]:
    packages: Path = request.getfixturevalue("node_packages")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    subprocess.run([folder / "node_modules" / ".bin" / "tsc"], cwd=folder, check=True, timeout=120)
    run = [node.node(), str(folder / "built")]
    return [run[0], f"{run[1]}/produce.js"], [run[0], f"{run[1]}/consume.js"]


BUILD = {"python": python, "java": java, "go": go, "typescript": typescript}


def found(name: str, package: str, *places: str) -> str:
    """The path of a program; skips where there is none."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *places]))
    if path is None:
        pytest.skip(f"There is no {name} here: apt-get install -y {package}")
    return path


@contextlib.asynccontextmanager
async def consuming(command: Command, environment: Mapping[str, str]) -> AsyncIterator[asyncio.StreamReader]:
    """What a consumer prints, while it runs."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.communicate()


async def produced(
    command: Command, wishes: Sequence[str], environment: Mapping[str, str]
) -> list[list[str]]:
    """The words of each line that a producer prints."""
    process = await asyncio.create_subprocess_exec(
        *command, *wishes, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    return [line.split() for line in said.decode().splitlines()]


async def until_told(lines: asyncio.StreamReader, event_type: str, enrollment: str) -> None:
    """Read on until this happens."""
    said = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            async for line in lines:
                said.append(line.decode())
                if said[-1].split()[:2] == [event_type, enrollment]:
                    return
    raise AssertionError(f"no {event_type} of {enrollment}; the consumer said {said}")


async def test_the_examples_enroll_stop_and_hear_of_it(
    programs: tuple[str, Command, Command], client: Client, mailbox: Any, segue: System
) -> None:
    language, producer, consumer = programs
    sequence = await client.publish(TWO_MAILS)
    workspace = (await client.get("/v1/me"))["workspace"]["id"]
    environment = {
        **os.environ,
        "KAFKA": segue.environment["SEGUE_KAFKA_BOOTSTRAP_SERVERS"],
        "PREFIX": segue.environment["SEGUE_KAFKA_TOPIC_PREFIX"],
        "WORKSPACE": workspace,
        "SEQUENCE": sequence,
        "GROUP": f"example-{uuid4()}",
    }
    wishes = [f"enroll:{language}", *(f"stop:{key}" for key in KEYS)]
    told = await produced(producer, wishes, environment)
    expected = [ids.enrollment_id(UUID(workspace), UUID(sequence), each) for each in (language, *KEYS)]
    assert [enrollment for _, enrollment, _ in told] == list(map(str, expected))
    # Where Kafka's own hash of the key puts it: so the same key has the same partition in every language.
    hashes = [ids.murmur2(str(each).encode()) & 0x7FFFFFFF for each in expected]
    assert [int(partition) for *_, partition in told] == [each % PARTITIONS for each in hashes]
    enrollment = told[0][1]
    assert (await client.reached(enrollment, "scheduled", "dispatched"))["external_id"] == language
    async with consuming(consumer, environment) as lines:
        await until_told(lines, "enrolled", enrollment)
        await produced(producer, [f"stop:{language}"], environment)
        stopped = await client.reached(enrollment, "stopped")
        assert (stopped["stop"]["reason"], stopped["stop"]["reason_code"]) == ("requested", "hired")
        await until_told(lines, "stopped", enrollment)
