"""MongoDB loses its primary, and its majority, under a crowd: nothing is lost or doubled, and all recover."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import PATIENT, Rig, broken_in, open_office, rig, sequence
from run import insist
from stack.brokers import Brokers
from stack.replica_set import ReplicaSet
from stack.smtp import SmtpServer

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(300)]

CROWD = 200
WAVE = 25
SETTLED_SECONDS = 120.0


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[ReplicaSet]:
    """Three nodes of this test's own, which it may harm."""
    nodes = ReplicaSet(tmp_path / "mongo")
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.stop()


async def unready(scene: Rig) -> bool:
    """Whether nobody would send requests or work to any of the processes."""
    checks = [process.ready for process in scene.segue.processes.values() if process.ready is not None]
    return not any(await asyncio.gather(*(asyncio.to_thread(check) for check in checks)))


async def ready(scene: Rig) -> bool:
    checks = [process.ready for process in scene.segue.processes.values() if process.ready is not None]
    return all(await asyncio.gather(*(asyncio.to_thread(check) for check in checks)))


async def come(scene: Rig, course: str, people: list[str]) -> None:
    """Enroll them in waves, however often that has to be tried."""
    for first in range(0, len(people), WAVE):
        await insist(lambda some=people[first : first + WAVE]: scene.enroll(course, *some))  # type: ignore[misc]


async def test_a_primary_killed_under_load_and_then_a_lost_majority_lose_and_double_nothing(
    brokers: Brokers, mongo: ReplicaSet, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    own = Brokers(kafka=brokers.kafka, mongodb=mongo.uri, local_kafka=brokers.local_kafka)
    with broken_in(tmp_path / "segue", own, settings=PATIENT) as segue:
        async with rig(segue, smtp_server, await open_office(segue, smtp_server)) as scene:
            course = await scene.client.publish(sequence("0 minutes", "20 minutes"))
            people = [f"p{n}" for n in range(CROWD)]
            async with asyncio.TaskGroup() as crowd:
                crowd.create_task(come(scene, course, people))
                await asyncio.to_thread(smtp_server.maildir.wait_for, CROWD // 4, None, SETTLED_SECONDS)
                dead = await asyncio.to_thread(mongo.kill_primary)
            await asyncio.to_thread(smtp_server.maildir.wait_for, CROWD, None, SETTLED_SECONDS)
            await asyncio.to_thread(mongo.kill_primary)
            await scene.until(lambda: unready(scene))
            for member in mongo.members:
                if not member.process.alive:
                    await asyncio.to_thread(member.start)
            await asyncio.to_thread(mongo.wait_until_whole)
            await scene.until(lambda: ready(scene))
            await scene.settled(SETTLED_SECONDS)
            world = await scene.judged()
            assert dead.process.alive
            assert scene.mails_to(*people) == [2] * CROWD
            assert {d["state"] for d in world.deliveries.values()} == {"sent"}
