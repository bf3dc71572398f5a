"""The mailbox watcher as a process with real brokers: killed at any step, it loses and doubles nothing."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from chassis import documents as names
from chassis.secrets import Secrets
from chassis.store import Database
from chassis.testing import fresh_database, fresh_name
from reply_detector.settings import WatcherSettings
from stack.client import eventually
from stack.dovecot import Dovecot
from stack.ports import free_port
from stack.processes import Process, http_ok

pytestmark = [pytest.mark.stack, pytest.mark.slow]

USERS = {f"user{number}@ourco.example": "a secret" for number in range(6)}
ANA = "user0@ourco.example"
SECRET_KEYS = "a secret key for tests only"


def mail(number: int) -> bytes:
    return f"From: Pat <pat@there.example>\r\nMessage-ID: <{number}@there.example>\r\n\r\nYes\r\n".encode()


@dataclass
class Scene:
    """Mailboxes, and what was stored and pointed at by the watchers that run."""

    database: Database
    secrets: Secrets
    server: Dovecot
    environment: dict[str, str]
    folder: Path
    processes: list[Process] = field(default_factory=list)

    async def connected(self, user: str = ANA) -> UUID:
        mailbox = uuid4()
        account = self.server.account(user)
        secret = self.secrets.encrypt(account.pop("password"))
        imap = {**account, "auth": "password", "secret": secret, "since": datetime.now(UTC)}
        await self.database.collection(names.MAILBOXES).insert_one(
            {"_id": mailbox, "workspace_id": mailbox, "address": user, "imap": imap}
        )
        return mailbox

    async def start(self, fault: str = "") -> Process:
        """One more watcher, ready; it kills itself at the fault."""
        name, port = f"watcher-{len(self.processes)}", free_port()
        process = Process(
            name,
            [sys.executable, "-m", "reply_detector", "watch"],
            log_folder=self.folder,
            env={
                **self.environment,
                "SEGUE_HTTP_PORT": str(port),
                "SEGUE_FAULTS": json.dumps({fault: "kill"} if fault else {}),
            },
            ready=http_ok(f"http://127.0.0.1:{port}/health/ready"),
            start_seconds=60,
        )
        self.processes.append(process)
        await asyncio.to_thread(process.start)
        return process

    async def metrics(self, process: Process) -> dict[str, float]:
        url = f"http://127.0.0.1:{process.env['SEGUE_HTTP_PORT']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            lines = [line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if line[0] != "#"]
        return {name: float(value) for name, value in lines}

    async def watched_by(self, process: Process) -> int:
        told = await self.metrics(process)
        return int(sum(value for name, value in told.items() if name.startswith("segue_watch_mailboxes{")))

    async def stored(self) -> list[dict[str, Any]]:
        return await self.database.collection(names.INBOUND).find({}, projection={"raw": 0})

    async def arrived(self, count: int) -> list[dict[str, Any]]:
        return await eventually(self.stored, until=lambda found: len(found) >= count, seconds=40)

    async def uid(self, mailbox: UUID) -> int:
        """How far the INBOX was read."""
        cursor = await self.database.collection(names.MAILBOX_CURSORS).find_one({"_id": mailbox})
        return int(cursor["inbox"]["uid"]) if cursor and "inbox" in cursor else -1


@pytest.fixture
def dovecot(dovecot_here: None) -> Iterator[Dovecot]:
    with Dovecot(USERS) as server:
        yield server


@pytest.fixture
async def scene(
    kafka_bootstrap: str, mongodb_uri: str, dovecot: Dovecot, tmp_path: Path
) -> AsyncIterator[Scene]:
    environment = {
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{fresh_name()}.",
        "SEGUE_KAFKA_SESSION_SECONDS": "3",
        "SEGUE_MONGODB_URI": mongodb_uri,
        "SEGUE_MONGODB_DATABASE": fresh_name(),
        "SEGUE_SECRET_KEYS": SECRET_KEYS,
        "SEGUE_IMAP_MAILBOXES_SECONDS": "0.3",
        "SEGUE_ALLOW_FAULTS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = WatcherSettings()  # from the environment
    async with fresh_database(settings) as database:
        scene = Scene(database, Secrets(settings), dovecot, environment, tmp_path)
        try:
            yield scene
        finally:
            for process in scene.processes:
                await asyncio.to_thread(process.kill)


@pytest.mark.parametrize("point", ["watcher.stored", "watcher.pointed", "watcher.moved"])
async def test_killed_after_a_message_was_stored_it_loses_and_doubles_nothing(
    scene: Scene, point: str
) -> None:
    mailbox = await scene.connected()
    first = await scene.start(point)
    scene.server.append(ANA, mail(1))
    assert await asyncio.to_thread(first.wait, 30) == -signal.SIGKILL
    scene.server.append(ANA, mail(2))
    await scene.start()
    await eventually(lambda: scene.uid(mailbox), until=lambda uid: uid == 2, seconds=40)
    found = await scene.stored()
    assert sorted(each["imap"]["uid"] for each in found) == [1, 2]


async def test_two_watchers_share_the_mailboxes_and_the_one_that_is_left_takes_over(scene: Scene) -> None:
    for user in USERS:
        await scene.connected(user)
    first, second = await scene.start(), await scene.start()

    async def shares() -> list[int]:
        return [await scene.watched_by(each) for each in (first, second)]

    await eventually(shares, until=lambda told: sum(told) == len(USERS) and min(told) > 0)
    first.kill()
    await eventually(lambda: scene.watched_by(second), until=lambda told: told == len(USERS))
    for number, user in enumerate(USERS):
        scene.server.append(user, mail(100 + number))
    await scene.arrived(len(USERS))


async def test_a_stop_is_prompt_and_what_is_in_work_is_finished(scene: Scene) -> None:
    await scene.connected()
    process = await scene.start()
    await eventually(lambda: scene.watched_by(process), until=lambda told: told == 1)
    for number in range(200, 230):
        scene.server.append(ANA, mail(number))
    began = asyncio.get_running_loop().time()
    assert await asyncio.to_thread(process.stop) == 0
    assert asyncio.get_running_loop().time() - began < 15
    assert "service died" not in process.log_text()


async def test_a_mailbox_whose_settings_change_is_watched_with_the_new_ones(scene: Scene) -> None:
    mailbox = await scene.connected()
    rows = scene.database.collection(names.MAILBOXES)
    right = await rows.find_one({"_id": mailbox})
    assert right is not None
    wrong = scene.secrets.encrypt("wrong")
    await rows.update_one({"_id": mailbox}, {"$set": {"imap.secret": wrong}})
    process = await scene.start()

    async def notes() -> str:
        url = f"http://127.0.0.1:{process.env['SEGUE_HTTP_PORT']}/health/ready"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return str((await answer.json())["notes"].get("mailboxes", ""))

    assert await eventually(notes, until=bool) == "1 of 1 mailboxes can't be watched"
    await rows.update_one({"_id": mailbox}, {"$set": {"imap.secret": right["imap"]["secret"]}})
    await eventually(notes, until=lambda told: not told)
    await rows.update_one({"_id": mailbox}, {"$set": {"imap": None}})
    await eventually(lambda: scene.watched_by(process), until=lambda told: told == 0)
