"""What a Kafka that is killed and comes back does to publishers and consumers: nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from chassis.errors import Fatal, Retry
from chassis.kafka import Consumer, DeadLetters, Publisher, Received, Record, ensure_topics
from chassis.retry import retrying
from chassis.settings import KafkaSettings
from segue_contracts.topics import DEAD_LETTERS, Topic
from stack.local_kafka import LocalKafka

pytestmark = [pytest.mark.stack, pytest.mark.slow]

THINGS = Topic("things", "What these tests publish.", 60_000, partitions=3)


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[LocalKafka]:
    """A broker of this test's own."""
    broker = LocalKafka(tmp_path)
    await asyncio.to_thread(broker.start)
    try:
        yield broker
    finally:
        await asyncio.to_thread(broker.kill)
        broker.wipe()


@pytest.fixture
async def settings(kafka: LocalKafka) -> KafkaSettings:
    settings = KafkaSettings(kafka_bootstrap_servers=kafka.address, kafka_delivery_seconds=2.0)
    await ensure_topics(settings, [THINGS, DEAD_LETTERS])
    return settings


def records(*numbers: int) -> list[Record]:
    return [Record("things", b"%d" % n, b"%d" % n) for n in numbers]


async def test_nothing_is_lost_over_an_outage(kafka: LocalKafka, settings: KafkaSettings) -> None:
    handled: set[bytes] = set()
    changed = asyncio.Event()

    async def handle(batch: Sequence[Received]) -> None:
        handled.update(received.value or b"" for received in batch)
        changed.set()

    async def until(count: int) -> None:
        async with asyncio.timeout(60):
            while len(handled) < count:
                changed.clear()
                await changed.wait()

    async with Publisher(settings) as publisher:
        consumer = Consumer(
            settings, group="workers", topics=["things"], handle=handle, dead_letters=DeadLetters(publisher)
        )
        task = asyncio.create_task(consumer.run())
        await publisher.publish(records(*range(10)))
        await until(10)
        await asyncio.to_thread(kafka.kill)
        # Both ways of publishing say that the records may not have been written, in bounded time.
        for count in (1, 100):
            with pytest.raises(Retry):
                await publisher.publish(records(*range(count)))
        await asyncio.to_thread(kafka.start)
        await retrying(lambda: publisher.publish(records(*range(10, 200))), tries=20)
        await until(200)
        await consumer.stop()
        await task
    assert handled == {b"%d" % n for n in range(200)}


async def test_a_publisher_ends_in_bounded_time_while_the_broker_is_away(
    kafka: LocalKafka, settings: KafkaSettings
) -> None:
    async with asyncio.timeout(30):
        async with Publisher(settings) as publisher:
            await publisher.publish(records(1))
            await asyncio.to_thread(kafka.kill)
            with pytest.raises(Retry):
                await publisher.publish(records(2))


async def test_a_consumer_ends_in_bounded_time_while_the_broker_is_away(
    kafka: LocalKafka, settings: KafkaSettings
) -> None:
    handled = asyncio.Event()

    async def handle(_: Sequence[Received]) -> None:
        handled.set()

    async with Publisher(settings) as publisher:
        consumer = Consumer(
            settings, group="workers", topics=["things"], handle=handle, dead_letters=DeadLetters(publisher)
        )
        task = asyncio.create_task(consumer.run())
        await publisher.publish(records(1))
        await handled.wait()
        await asyncio.to_thread(kafka.kill)
        async with asyncio.timeout(30):
            await consumer.stop()
            await task


async def test_a_consumer_whose_cluster_lost_its_data_ends_so_that_a_restart_makes_the_topics_again(
    kafka: LocalKafka, settings: KafkaSettings
) -> None:
    handled = asyncio.Event()

    async def handle(_: Sequence[Received]) -> None:
        handled.set()

    async with Publisher(settings) as publisher:
        consumer = Consumer(
            settings, group="workers", topics=["things"], handle=handle, dead_letters=DeadLetters(publisher)
        )
        task = asyncio.create_task(consumer.run())
        await publisher.publish(records(1))
        await handled.wait()
        await asyncio.to_thread(kafka.kill)
        kafka.wipe()
        await asyncio.to_thread(kafka.start)
        async with asyncio.timeout(60):
            with pytest.raises(Fatal, match="there is no topic things"):
                await task
