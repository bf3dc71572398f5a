"""Topics and publishing against a real Kafka."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from chassis.errors import Fatal, Reject, Retry
from chassis.kafka import Publisher, Record, ensure_topics
from chassis.kafka.publisher import MAX_RECORD_BYTES
from chassis.kafka.topics import partition_count
from chassis.settings import KafkaSettings
from chassis.telemetry import CORRELATION_HEADER, correlated
from chassis.testing import fresh_name
from segue_contracts.topics import Topic

pytestmark = pytest.mark.stack

THINGS = Topic("things", "What these tests publish.", 60_000, partitions=3)


@pytest.fixture
def settings(kafka_bootstrap: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap, kafka_topic_prefix=f"{fresh_name()}.")


@pytest.fixture
async def publisher(settings: KafkaSettings) -> AsyncIterator[Publisher]:
    await ensure_topics(settings, [THINGS])
    async with Publisher(settings) as publisher:
        yield publisher


async def read(settings: KafkaSettings, topic: Topic, count: int) -> list[Any]:
    """The first `count` records of a topic, as the client returns them."""
    consumer = AIOKafkaConsumer(
        settings.kafka_topic_prefix + topic.name,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
    )
    async with consumer:
        return [await consumer.getone() for _ in range(count)]


async def test_ensured_topics_exist_as_declared_and_ensuring_again_changes_nothing(
    settings: KafkaSettings,
) -> None:
    compacted = Topic("states", "Compacted.", None, partitions=2, compact=True)
    for _ in range(2):
        await ensure_topics(settings, [THINGS, compacted])
    assert await partition_count(settings, THINGS) == 3
    assert await partition_count(settings, compacted) == 2


async def test_services_that_start_together_do_not_disturb_each_other(settings: KafkaSettings) -> None:
    await asyncio.gather(*(ensure_topics(settings, [THINGS]) for _ in range(4)))


async def test_a_topic_with_too_few_partitions_is_refused_with_a_sentence(settings: KafkaSettings) -> None:
    await ensure_topics(settings, [THINGS])
    with pytest.raises(Fatal, match=r"things has 3 partitions and 4 are declared: .*\.$"):
        await ensure_topics(settings, [replace(THINGS, partitions=4)])
    await ensure_topics(settings, [replace(THINGS, partitions=2)])


async def test_a_topic_that_the_broker_refuses_is_fatal(settings: KafkaSettings) -> None:
    with pytest.raises(Fatal, match="refuses to create"):
        await ensure_topics(settings, [Topic("a" * 240, "Too long a name.", None)])


async def test_ensure_topics_without_a_broker_is_a_retry(unused_tcp_port: int) -> None:
    away = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Retry):
        await ensure_topics(away, [THINGS])


@pytest.mark.parametrize("count", [1, 10, 500])
async def test_published_records_arrive_unchanged_and_in_order_per_key(
    settings: KafkaSettings, publisher: Publisher, count: int
) -> None:
    records = [
        Record("things", b"key%d" % (n % 5), b"value%d" % n, (("ce_id", b"%d" % n),)) for n in range(count)
    ]
    await publisher.publish(records)
    found = await read(settings, THINGS, count)
    for key in {record.key for record in records}:
        assert [(r.value, r.headers) for r in found if r.key == key] == [
            (r.value, r.headers) for r in records if r.key == key
        ]


async def test_few_and_many_records_of_one_key_go_to_one_partition(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    await publisher.publish([Record("things", b"k%d" % n, b"few") for n in range(20)])
    await publisher.publish([Record("things", b"k%d" % (n % 20), b"many") for n in range(200)])
    found = await read(settings, THINGS, 220)
    assert len({(record.key, record.partition) for record in found}) == 20


async def test_a_chosen_partition_is_kept(settings: KafkaSettings, publisher: Publisher) -> None:
    await publisher.publish([Record("things", None, b"x", (), partition=2)])
    await publisher.publish([Record("things", None, b"x", (), partition=1)] * 100)
    found = Counter(record.partition for record in await read(settings, THINGS, 101))
    assert found == {2: 1, 1: 100}


async def test_a_batch_larger_than_one_request_arrives_whole(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    body = bytes(20_000)
    await publisher.publish([Record("things", b"k", body) for _ in range(100)])
    assert len(await read(settings, THINGS, 100)) == 100


async def test_the_correlation_id_travels_with_the_record(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    with correlated("c-1"):
        await publisher.publish([Record("things", b"k", b"v", (("a", b"b"),))])
    (found,) = await read(settings, THINGS, 1)
    assert found.headers == (("a", b"b"), (CORRELATION_HEADER, b"c-1"))


async def test_a_record_no_broker_would_take_is_rejected_before_anything_is_sent(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    small, large = Record("things", b"a", b"v"), Record("things", b"b", bytes(MAX_RECORD_BYTES))
    with pytest.raises(Reject, match="record_too_large"):
        await publisher.publish([small, large])
    await publisher.publish([Record("things", b"c", b"v")])
    assert [record.key for record in await read(settings, THINGS, 1)] == [b"c"]


async def test_many_publish_calls_at_once_all_arrive(settings: KafkaSettings, publisher: Publisher) -> None:
    await asyncio.gather(
        *(
            publisher.publish([Record("things", b"%d" % n, b"%d" % n)] * (100 if n % 10 == 0 else 1))
            for n in range(50)
        )
    )
    assert len(await read(settings, THINGS, 545)) == 545


async def test_publishing_to_an_unknown_topic_is_a_retry(kafka_bootstrap: str) -> None:
    brief = KafkaSettings(
        kafka_bootstrap_servers=kafka_bootstrap, kafka_topic_prefix=fresh_name(), kafka_delivery_seconds=1.0
    )
    async with Publisher(brief) as publisher:
        for count in (1, 100):
            with pytest.raises(Retry):
                await publisher.publish([Record("nothing", b"k", b"v")] * count)


async def test_a_publisher_without_a_broker_is_a_retry(unused_tcp_port: int) -> None:
    away = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{unused_tcp_port}", kafka_delivery_seconds=1.0)
    publisher = Publisher(away)
    with pytest.raises(Retry):
        await publisher.publish([Record("things", b"k", b"v")])
    await publisher.__aexit__(None, None, None)
