"""A rollout under load, beside the release before, and a way back: nothing lost, doubled or left in doubt."""

import asyncio
import email.policy
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import pytest

from chassis.migrate import installed
from chassis.migrations import made_in
from rig import PATIENT, Rig, broken_in, open_office, rig, sequence
from run import insist
from stack import releases
from stack.brokers import Brokers
from stack.prospects import reply
from stack.smtp import SmtpServer

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(300)]

PAIRS = {"scheduler": 2, "sender": 2}
ORDER = ("reply_detector", "sender-2", "sender", "scheduler-2", "scheduler", "api")
"""Who reads a topic before who writes it, as far as that goes."""
GOES_BACK = "sender-2"
WAVE = 3
WAVE_SECONDS = 0.5
SETTLED_SECONDS = 120.0


class Crowd:
    """Comes in waves for as long as the rollout takes; one of each wave answers the first mail."""

    def __init__(self, scene: Rig, course: str) -> None:
        self._scene = scene
        self._course = course
        self.silent: list[str] = []
        self.answering: list[str] = []

    async def come(self, enough: asyncio.Event) -> None:
        """Enroll, and answer what the wave before got, until it is `enough`."""
        waiting: list[str] = []
        while not enough.is_set() or waiting:
            waiting = [person for person in waiting if not await self._answered(person)]
            if not enough.is_set():
                waiting.append(await self._wave())
            await asyncio.sleep(WAVE_SECONDS)

    async def _wave(self) -> str:
        """Who of the wave will answer."""
        people = [f"p-{uuid4().hex[:10]}" for _ in range(WAVE)]
        await insist(lambda: self._scene.enroll(self._course, *people))
        self.answering.append(people[0])
        self.silent += people[1:]
        return people[0]

    async def _answered(self, person: str) -> bool:
        mails = self._scene.mail.messages(f"{person}@there.example")
        if not mails:
            return False
        content = self._scene.mail.maildir.content(mails[0])
        sent = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(sent, EmailMessage)
        raw = reply(sent, "Yes, let us talk!", at=self._scene.settings.clock().now())
        await insist(lambda: self._scene.client.receive(self._scene.mailbox, raw))
        return True


@asynccontextmanager
async def crowd(scene: Rig) -> AsyncIterator[Crowd]:
    """Who comes while the block lasts."""
    people = Crowd(scene, await scene.client.publish(sequence("0 minutes", "20 minutes")))
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as coming:
        coming.create_task(people.come(enough))
        yield people
        enough.set()


async def roll_out(scene: Rig, name: str, python_path: str = "") -> None:
    """A process is asked to end, and this release (or another) starts in its place."""
    process = scene.segue.processes[name]
    before = process.starts
    process.env["PYTHONPATH"] = python_path
    process.terminate()
    await scene.restarted(name, before)


async def runs(scene: Rig, *arguments: str, **changed: str) -> str:
    """What Python says with the settings of the system."""
    env = {**scene.segue.environment, **changed}
    command = [sys.executable, *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, env=env, capture_output=True, text=True, check=True
    )
    return str(done.stdout).strip()


async def migrate(scene: Rig, *arguments: str) -> None:
    """`segue-migrate` of this release."""
    await runs(scene, "-m", "chassis.migrate", *arguments, PYTHONPATH="")


async def test_a_rollout_under_load_loses_and_doubles_nothing_and_leaves_nothing_in_doubt(
    brokers: Brokers, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    tree = releases.previous()
    before = releases.python_path(tree)
    settings = {**PATIENT, "PYTHONPATH": before}
    with broken_in(tmp_path, brokers, settings=settings, instances=PAIRS) as segue:
        async with rig(segue, smtp_server, await open_office(segue, smtp_server)) as scene:
            found = await runs(scene, "-c", "import api; print(api.__file__)")
            assert found == f"{tree}/services/api/api/__init__.py"
            async with crowd(scene) as people:
                await scene.until(lambda: asyncio.to_thread(lambda: bool(smtp_server.maildir.messages())))
                await migrate(scene)
                for name in ORDER:
                    await roll_out(scene, name)
                await roll_out(scene, GOES_BACK, before)
                await roll_out(scene, GOES_BACK)
                await migrate(scene, "--through", "contract")
            await scene.settled(SETTLED_SECONDS)
            world = await scene.judged()
            assert scene.mails_to(*people.silent) == [2] * len(people.silent)
            assert {1, 2} >= set(scene.mails_to(*people.answering))
            told = {c["type"] for e in world.enrollments.values() for c in e["history"]}
            assert "stage_in_doubt" not in told
            starts = {name: process.starts for name, process in segue.processes.items()}
            assert starts == {**dict.fromkeys(ORDER, 2), GOES_BACK: 4}
            for schema in installed():
                assert len(await made_in(scene.database, schema.service)) == len(schema.migrations)
