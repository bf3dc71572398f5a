"""Yesterday's backup is put back by the page and nothing else: none is lost, doubled or sent too late."""

import asyncio
import contextlib
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from chassis import documents as names
from rig import SHORT, SPEED, Rig, open_office, rig, sequence
from stack.brokers import Brokers
from stack.client import Refused
from stack.local_mongo import LocalMongo
from stack.prospects import reply
from stack.runbooks import PAGES, Reader, blocks, reader
from stack.smtp import SmtpServer
from stack.system import system

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(420)]

BEFORE = [f"before{n}" for n in range(30)]
AFTER = [f"after{n}" for n in range(20)]
PAGE = "backup-and-restore"


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[LocalMongo]:
    """A node of this test's own, which it destroys."""
    node = LocalMongo(tmp_path / "mongo")
    node.start()
    with MongoClient[dict[str, Any]](node.uri) as client:  # tests of ours keep no history; production does
        client.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=300)
    try:
        yield node
    finally:
        node.stop()


async def answered(scene: Rig, person: str) -> None:
    """This person answers their first mail."""
    first = (await scene.mail.arrived(1, f"{person}@there.example", seconds=60))[0]
    sent = email.message_from_bytes(scene.mail.content(first), policy=email.policy.default)
    assert isinstance(sent, EmailMessage)
    await scene.client.receive(scene.mailbox, reply(sent, "Yes!", at=scene.settings.clock().now()))


def replaced(mongo: LocalMongo) -> None:
    """An empty database comes in the place of one that has died with its disk."""
    mongo.wipe()
    mongo.start()


async def test_backup_and_restore(
    brokers: Brokers, mongo: LocalMongo, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    own = Brokers(kafka=brokers.kafka, mongodb=mongo.uri, local_mongo=mongo)
    with system(tmp_path / "segue", own, clock_speed=SPEED, settings=SHORT, faults=True) as segue:
        office = await open_office(segue, smtp_server)
        with reader(segue, office.access, tmp_path) as me:
            async with rig(segue, smtp_server, office) as scene:
                course = await days_after_the_backup(scene, me, tmp_path / "backup")
                stopped, replied = await after_the_backup(scene, course)
                flying = [*BEFORE, *AFTER]
                await scene.until(lambda: asyncio.sleep(0, min(scene.mails_to(*AFTER[1:])) >= 1))
                await asyncio.to_thread(segue.processes["sender"].kill)
            await asyncio.to_thread(mongo.kill)
            await follow_the_page(me, mongo)
            async with rig(segue, smtp_server, office) as scene:
                await scene.until(lambda: settled(scene), seconds=200)
                await scene.judged()
                gone = {stopped, replied}
                assert scene.mails_to(*(p for p in flying if p not in gone)) == [3] * (len(flying) - 2)
                assert all(count < 3 for count in scene.mails_to(*gone))


async def days_after_the_backup(scene: Rig, me: Reader, backup: Path) -> str:
    """A crowd is on its way, and the backup is made meanwhile."""
    course = await scene.client.publish(sequence("0 minutes", "60 minutes", "200 minutes"))
    await scene.enroll(course, *BEFORE)
    await scene.until(lambda: asyncio.sleep(0, sum(scene.mails_to(*BEFORE)) >= len(BEFORE) // 2))
    await asyncio.to_thread(me.follow, PAGE, "Look", **shell(scene, backup))
    return course


async def after_the_backup(scene: Rig, course: str) -> tuple[str, str]:
    """Life goes on: people are enrolled, one is stopped, one answers. Who."""
    made = await scene.enroll(course, *AFTER)
    await scene.client.post(f"/v1/enrollments/{made[0]}/stop", {"reason_code": "hired"})
    await answered(scene, BEFORE[0])

    async def ended() -> bool:
        return len(await scene.documents(names.ENROLLMENTS, state="stopped")) == 2

    await scene.until(ended)
    return AFTER[0], BEFORE[0]


def shell(scene: Rig, backup: Path) -> dict[str, str]:
    """What the reader has set where the backup is made."""
    kept = {name: value for name, value in scene.segue.environment.items() if "MONGODB" in name}
    return {**kept, "BACKUP": str(backup)}


async def follow_the_page(me: Reader, mongo: LocalMongo) -> None:
    """And nothing else; there is an empty database when all services have stopped."""
    stop, *rest = [block.lines for block in blocks(PAGES / f"{PAGE}.md") if block.section != "Look"]
    await asyncio.to_thread(me.run, stop)
    await asyncio.to_thread(replaced, mongo)
    for lines in rest:
        await asyncio.to_thread(me.run, lines)


async def settled(scene: Rig) -> bool:
    """Whether nothing moves any more; who can see the mailbox says what was sent of what is in doubt."""
    for doubt in await scene.documents(names.DELIVERIES, state="in_doubt", recalled_at=None):
        of = await scene.documents(names.ENROLLMENTS, _id=doubt["enrollment_id"])
        sent = {each.strip() for each in message_ids(scene, of[0]["external_id"])}
        decision = "mark_sent" if doubt["message_id"] in sent else "resend"
        with contextlib.suppress(Refused):  # settled meanwhile
            await scene.client.post(f"/v1/deliveries/{doubt['_id']}/decide", {"decision": decision})
    doubts = await scene.documents(names.ENROLLMENTS, state="in_doubt")
    return not doubts and not await scene.moving()


def message_ids(scene: Rig, person: str) -> list[str]:
    found = [
        email.message_from_bytes(scene.mail.content(each), policy=email.policy.default)
        for each in scene.mail.messages(f"{person}@there.example")
    ]
    return [str(each["Message-ID"]) for each in found]
