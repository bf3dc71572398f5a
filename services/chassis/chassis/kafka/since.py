"""Reads a topic again from an instant on, outside of any consumer group."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import time
from collections.abc import AsyncIterator
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from chassis.errors import Fatal, Retry
from chassis.kafka.connection import client_options
from chassis.kafka.records import Received, headers_of
from chassis.kafka.topics import partition_count
from chassis.settings import KafkaSettings
from segue_contracts.topics import Topic

POLL_MS = 500
BATCH = 2000
SILENT_SECONDS = 60.0
"""aiokafka asks brokers that are away for ever, and says nothing."""


async def read_since(settings: KafkaSettings, topic: Topic, since: datetime) -> AsyncIterator[Received]:
    """What was written at or after a real instant, up to where the topic ends now; each partition in order.

    Fatal where there is no such topic; Retry while the brokers are away.
    """
    name, count = settings.kafka_topic_prefix + topic.name, await partition_count(settings, topic)
    if not count:
        raise Fatal(f"There is no topic {name}: what was written to it can't be read again.")
    partitions = [TopicPartition(name, number) for number in range(count)]
    consumer = AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False)
    consumer.assign(partitions)
    try:
        await consumer.start()
        ends = await consumer.end_offsets(partitions)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, int(since.timestamp() * 1000)))
        for each in partitions:
            at = found.get(each)
            consumer.seek(each, at.offset if at is not None else ends[each])
        async for received in _until(consumer, ends, topic):
            yield received
    except KafkaError as error:
        raise Retry(f"Kafka at {settings.kafka_bootstrap_servers}: {error!r}") from error
    finally:
        await consumer.stop()


async def _until(
    consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int], topic: Topic
) -> AsyncIterator[Received]:
    heard = time.monotonic()
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
        if fetched:
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENT_SECONDS:
            raise Retry(f"The brokers fell silent in the middle of {topic.name}.")
        for partition, records in fetched.items():
            for record in records:
                if record.offset < ends[partition]:
                    headers = headers_of(record.headers)
                    at = (topic.name, record.partition, record.offset, record.key, record.value)
                    yield Received(*at, headers, record.timestamp)
