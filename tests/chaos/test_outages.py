"""Whole parts gone: Kafka lost with all its data, and one of two of everything killed in a crowd."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from invariants import violations
from rig import CALL, PATIENT, broken_in, open_office, rig, sequence
from run import replay_everything, storm
from stack.brokers import Brokers
from stack.local_kafka import LocalKafka
from stack.smtp import SmtpServer

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(300)]

WIPED_CROWD = 100
CROWD = 2000
CROWD_SECONDS = 180.0


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """A node of this test's own, which it may harm."""
    node = LocalKafka(tmp_path / "kafka")
    node.start()
    try:
        yield node
    finally:
        node.stop()


def lose_everything(kafka: LocalKafka) -> None:
    """The cluster dies, and an empty one comes in its place."""
    kafka.kill()
    kafka.wipe()
    kafka.start()


async def test_kafka_lost_with_all_its_data_loses_and_doubles_nothing(
    brokers: Brokers, kafka: LocalKafka, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    own = Brokers(kafka=kafka.address, mongodb=brokers.mongodb, local_kafka=kafka)
    with broken_in(tmp_path / "segue", own) as segue:
        async with rig(segue, smtp_server, await open_office(segue, smtp_server)) as scene:
            mails = await scene.client.publish(sequence("0 minutes", "20 minutes"))
            calls = await scene.client.publish(sequence("0 minutes", before=CALL))
            people = [f"p{n}" for n in range(WIPED_CROWD)]
            caller, stopped = "caller", "stopped"
            await scene.enroll(mails, *people, stopped)
            (call,) = await scene.enroll(calls, caller)
            await scene.client.reached(call, "awaiting_task")
            await asyncio.to_thread(lose_everything, kafka)
            await scene.client.post(f"/v1/tasks/{call}:ring/done", {"result": "reached"})
            late = [f"late{n}" for n in range(5)]
            await scene.enroll(mails, *late)
            await scene.settled(seconds=120)
            assert scene.mails_to(*people, stopped, *late) == [2] * (len(people) + 1 + len(late))
            assert scene.mails_to(caller) == [1]
            told = await asyncio.to_thread(replay_everything, scene)
            world = await scene.judged()
            assert told == sum(e["seq"] for e in world.enrollments.values())


async def test_one_of_two_schedulers_and_senders_killed_in_a_crowd_changes_nothing(
    brokers: Brokers, smtp_server: SmtpServer, tmp_path: Path
) -> None:
    pair = {"scheduler": 2, "sender": 2}
    with broken_in(tmp_path, brokers, settings=PATIENT, instances=pair) as segue:
        async with rig(segue, smtp_server, await open_office(segue, smtp_server)) as scene:
            people = [f"p{n}" for n in range(CROWD)]
            await scene.enroll(await scene.client.publish(sequence("0 minutes")), *people)
            for victim, mails in (("scheduler", CROWD // 8), ("sender-2", CROWD // 4)):
                await asyncio.to_thread(smtp_server.maildir.wait_for, mails, None, CROWD_SECONDS)
                await asyncio.to_thread(segue.processes[victim].kill)
            await scene.settled(CROWD_SECONDS)
            world = await scene.judged()
            doubts = [d for d in world.deliveries.values() if d["state"] == "in_doubt"]
            got = sum(scene.mails_to(*people))
            assert CROWD - len(doubts) <= got <= CROWD


async def test_a_random_storm_breaks_no_promise(brokers: Brokers, kafka: LocalKafka, tmp_path: Path) -> None:
    world = await storm(1, kafka, brokers.mongodb, tmp_path / "storm", people=60, seconds=10.0)
    assert [str(violation) for violation in violations(world)] == []
