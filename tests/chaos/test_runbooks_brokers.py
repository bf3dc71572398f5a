"""The pages about Kafka and MongoDB: a broker is harmed and comes back, and the page's lines do the rest."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig import SHORT, SPEED, Rig, open_office, rig, sequence
from run import insist
from stack.brokers import Brokers
from stack.local_kafka import LocalKafka
from stack.replica_set import ReplicaSet
from stack.runbooks import reader
from stack.smtp import SmtpServer
from stack.system import system

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(300)]

PEOPLE = [f"p{n}" for n in range(20)]
LATE = [f"late{n}" for n in range(3)]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """A node of this test's own, which it may harm."""
    node = LocalKafka(tmp_path / "kafka")
    node.start()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def replica_set(tmp_path: Path) -> Iterator[ReplicaSet]:
    nodes = ReplicaSet(tmp_path / "mongo")
    nodes.start()
    try:
        yield nodes
    finally:
        nodes.stop()


async def harmed(
    own: Brokers,
    mail: SmtpServer,
    folder: Path,
    harm: Callable[[], None],
    *pages: tuple[str, Callable[[], None]],
) -> None:
    """A crowd on its way; after the harm each page is followed, the repair between "Look" and "Do"."""
    with system(folder / "segue", own, clock_speed=SPEED, settings=SHORT, faults=True) as segue:
        office = await open_office(segue, mail)
        with reader(segue, office.access, folder) as me:
            async with rig(segue, mail, office) as scene:
                course = await scene.client.publish(sequence("0 minutes", "120 minutes"))
                await scene.enroll(course, *PEOPLE)
                await scene.until(lambda: asyncio.sleep(0, sum(scene.mails_to(*PEOPLE)) >= 5))
                await asyncio.to_thread(harm)
                for page, repair in pages:
                    await asyncio.to_thread(repair)
                    await asyncio.to_thread(me.follow, page)
                await insist(lambda: scene.enroll(course, *LATE))
                await all_sent(scene)


async def all_sent(scene: Rig) -> None:
    await scene.settled(seconds=120)
    await scene.judged()
    assert scene.mails_to(*PEOPLE, *LATE) == [2] * (len(PEOPLE) + len(LATE))


async def test_kafka_lost(
    brokers: Brokers, kafka: LocalKafka, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    own = Brokers(kafka=kafka.address, mongodb=brokers.mongodb, local_kafka=kafka)

    def back() -> None:
        kafka.wipe()
        kafka.start()

    await harmed(own, smtp_server, tmp_path, kafka.kill, ("kafka-lost", back))


async def test_mongodb_primary_lost_and_then_the_majority(
    brokers: Brokers, replica_set: ReplicaSet, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    own = Brokers(kafka=brokers.kafka, mongodb=replica_set.uri)
    first = replica_set.wait_for_primary()

    def back() -> None:
        """The first one comes back, then two of three are lost, and come back too."""
        first.start()
        replica_set.wait_until_whole()
        lost = [replica_set.kill_primary(), replica_set.kill_primary()]
        for node in lost:
            node.start()
        replica_set.wait_until_whole()

    def elected() -> None:
        replica_set.wait_for_primary()

    pages = (("mongodb-primary-lost", elected), ("mongodb-majority-lost", back))
    await harmed(own, smtp_server, tmp_path, first.kill, *pages)
