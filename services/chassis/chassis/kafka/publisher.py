"""Publishes records and returns only when the brokers have every one of them."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    TopicAuthorizationFailedError,
)

from chassis import tracing
from chassis.errors import Reject, Retry
from chassis.kafka.connection import client_options, ends_within
from chassis.kafka.records import Headers, Record
from chassis.retry import retrying
from chassis.settings import KafkaSettings
from chassis.telemetry import CORRELATION_HEADER, correlation_id, counter, fields, histogram
from segue_contracts.ids import murmur2

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 950_000
"""A little under the brokers' default limit of 1 MiB for a batch."""
BATCH_BYTES = 256 * 1024
LINGER_MS = 2
BULK_RECORDS = 64
"""From here on we fill the batches ourselves: four times the records per second, no lingering."""
CLOSE_SECONDS = 3.0

PUBLISHED = counter("segue_kafka_published", "Records acknowledged by the brokers", ["topic"])
UNACKNOWLEDGED = counter("segue_kafka_unacknowledged", "Records given up as maybe written", ["topic"])
PUBLISH_SECONDS = histogram("segue_kafka_publish_seconds", "One publish call, all records acknowledged")


class Publisher:
    """An idempotent producer with acks=all, replaced by a new one after a failure.

    After a failure the old producer may hold batches that it would send for ever and sequence numbers with a
    gap; so it is closed, and a record that was given up cannot appear hours later.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)
        if self._closing:
            await asyncio.wait(self._closing)

    async def connect(self) -> None:
        """Connect now, and not at the first record; raises Retry when no broker answers."""
        await retrying(self._current)

    async def publish(self, records: Sequence[Record]) -> None:
        """Write all records; returns when every one is acknowledged by all in-sync replicas.

        Records with one key keep their order. Raises Retry when any is not acknowledged in time (maybe
        written, by then or twice after a repetition) and Reject for a record that no broker would ever take.
        """
        if not records:
            return
        began = time.perf_counter()
        for record in records:
            _check_size(record)
        producer = await self._current()
        try:
            async with asyncio.timeout(self._settings.kafka_delivery_seconds):
                await self._deliver(producer, records)
        except (KafkaError, TimeoutError) as error:
            self._replace(producer)
            raise _failure(records, error) from error
        for topic, count in Counter(record.topic for record in records).items():
            PUBLISHED.labels(topic).inc(count)
        PUBLISH_SECONDS.observe(time.perf_counter() - began)

    async def _deliver(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
        common = _common_headers()
        if len(records) < BULK_RECORDS:
            pending = await self._send_each(producer, records, common)
        else:
            pending = await self._send_batches(producer, records, common)
        await asyncio.gather(*pending)

    async def _send_each(
        self, producer: AIOKafkaProducer, records: Sequence[Record], common: Headers
    ) -> list[Awaitable[Any]]:
        return [
            await producer.send(
                self._settings.kafka_topic_prefix + record.topic,
                record.value,
                record.key,
                record.partition,
                headers=_headers(record, common),
            )
            for record in records
        ]

    async def _send_batches(
        self, producer: AIOKafkaProducer, records: Sequence[Record], common: Headers
    ) -> list[Awaitable[Any]]:
        pending: list[Awaitable[Any]] = []
        for (topic, partition), chosen in (await self._by_partition(producer, records)).items():
            batch = producer.create_batch()
            for record in chosen:
                entry: dict[str, Any] = {
                    "timestamp": None,
                    "key": record.key,
                    "value": record.value,
                    "headers": _headers(record, common),
                }
                if batch.append(**entry) is None:
                    pending.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(**entry)
            batch.close()  # a batch left open would linger
            pending.append(await producer.send_batch(batch, topic, partition=partition))
        return pending

    async def _by_partition(
        self, producer: AIOKafkaProducer, records: Sequence[Record]
    ) -> dict[tuple[str, int], list[Record]]:
        partitions: dict[str, list[int]] = {}
        chosen: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            topic = self._settings.kafka_topic_prefix + record.topic
            if topic not in partitions:
                partitions[topic] = sorted(await producer.partitions_for(topic))
            partition = record.partition
            if partition is None:
                partition = _partition_of(record.key, partitions[topic])
            chosen.setdefault((topic, partition), []).append(record)
        return chosen

    async def _current(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._start()
            return self._producer

    async def _start(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=int(min(self._settings.kafka_delivery_seconds, 30.0) * 1000),
        )
        try:
            async with asyncio.timeout(self._settings.kafka_delivery_seconds):
                await producer.start()
        except (KafkaError, TimeoutError) as error:
            await _close(producer)
            raise Retry(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error!r}") from error
        except BaseException:
            await _close(producer)
            raise
        return producer

    def _replace(self, producer: AIOKafkaProducer) -> None:
        """Forget a producer that failed and close it on the side; others that wait on it fail too."""
        if self._producer is producer:
            self._producer = None
            task = asyncio.create_task(_close(producer), name="close a failed producer")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(producer: AIOKafkaProducer) -> None:
    """Flush and close, bounded: with the brokers gone an idempotent producer would flush for ever."""
    if await ends_within(CLOSE_SECONDS, producer.stop()):
        return
    log.warning("producer abandoned", extra=fields("kafka.producer_abandoned"))
    producer._message_accumulator.fail_all(ProducerClosed())
    await ends_within(CLOSE_SECONDS, producer._sender.close())
    await ends_within(CLOSE_SECONDS, producer.client.close())


def _partition_of(key: bytes | None, partitions: list[int]) -> int:
    """As Java's default partitioner says; without a key any."""
    return random.choice(partitions) if key is None else partitions[_positive_hash(key) % len(partitions)]  # noqa: S311


@lru_cache(maxsize=50_000)  # an enrollment's records come in twos and threes, some seconds apart
def _positive_hash(key: bytes) -> int:
    return murmur2(key) & 0x7FFFFFFF


def _common_headers() -> Headers:
    correlation = correlation_id()
    return () if correlation is None else ((CORRELATION_HEADER, correlation.encode()),)


def _headers(record: Record, common: Headers) -> list[tuple[str, bytes]]:
    return [*record.headers, *common, *tracing.headers(record.key, record.headers)]


def _check_size(record: Record) -> None:
    size = len(record.key or b"") + len(record.value or b"")
    size += sum(len(name) + len(value) for name, value in record.headers)
    if size > MAX_RECORD_BYTES:
        raise Reject("record_too_large", f"{size} bytes for {record.topic}")


def _failure(records: Sequence[Record], error: Exception) -> Exception:
    for record in records:
        UNACKNOWLEDGED.labels(record.topic).inc()
    if isinstance(error, MessageSizeTooLargeError | InvalidTopicError | TopicAuthorizationFailedError):
        return Reject(type(error).__name__, records[0].topic)
    return Retry(f"{len(records)} records may not have been written: {error!r}")
