"""Consumes topics in a group: one batch at a time, committed last, with a ladder for what goes wrong."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from chassis import tracing
from chassis.errors import Fatal, Reject, Retry
from chassis.kafka.connection import client_options, ends_within
from chassis.kafka.letters import DeadLetters, is_of_a_newer_release
from chassis.kafka.progress import Look, Progress
from chassis.kafka.records import Place, Received, headers_of
from chassis.retry import backoff, retrying
from chassis.settings import KafkaSettings
from chassis.telemetry import counter, fields, gauge, histogram

log = logging.getLogger(__name__)

Handler = Callable[[Sequence[Received]], Awaitable[None]]

MAX_BATCH = 500
GOOD_BATCH_BYTES = 64 * 1024
BUG_TRIES = 3
POLL_MS = 1000
STALL_SECONDS = 120.0
LOOK_SECONDS = 5.0
"""At most, between two looks of the watchdog."""
DRAIN_SECONDS = 20.0
"""How long a revoked partition may hold up its next owner; below the rebalance timeout."""
REBALANCE_TIMEOUT_MS = 45_000
HEARTBEAT_MS = 1_000
"""Also how soon a member hears of a rebalance."""
METADATA_AGE_MS = 10_000
"""How soon a group sees a topic that was made again; until then none of its members has a partition."""
NEVER_MS = 24 * 60 * 60 * 1000
COMMIT_SECONDS = 10.0
LEAVE_SECONDS = 5.0
"""Together well below the time that a service has to stop."""
ANSWER_SECONDS = 10.0
TOPIC_TRIES = 10
TOPIC_WAIT_SECONDS = 0.3
"""A topic that was created a moment ago may not be known to every broker."""

HANDLED = counter(
    "segue_kafka_records", "Consumed records by what became of them", ["group", "topic", "outcome"]
)
RETRIES = counter("segue_kafka_batch_retries", "Batches tried again after a transient error", ["group"])
BATCH_SECONDS = histogram("segue_kafka_batch_seconds", "Handling one batch, its retries included", ["group"])
LAG = gauge(
    "segue_kafka_lag_records", "Records not yet handled, as the watchdog saw them", ["group", "topic"]
)
CONNECTED = gauge(
    "segue_kafka_connected", "1 while the brokers answer the group's watchdog, 0 while not", ["group"]
)
COMMIT_FAILURES = counter(
    "segue_kafka_commit_failures", "Commits refused or lost; work may be repeated", ["group"]
)


class Abandoned(Exception):
    """The batch is left where it is: we are stopping, or its partitions are going to another process."""


class Consumer:
    """A member of a consumer group.

    The ladder for a batch: `Retry` repeats the same batch, for ever, with growing pauses; anything else on
    more than one record takes them one by one; a single `Reject` is dead-lettered, a single bug after a few
    tries. The offsets of what was handled or dead-lettered are committed afterwards, exactly.

    `handle` gets at most `max_batch` records, grouped by partition and in offset order; it decodes inside,
    may see a record again, and is never run twice at a time. `on_assigned` hears the whole new assignment.
    For `gather_seconds` the brokers may collect records, unless they have a good batch before: for what
    nobody waits for, few large batches are cheaper than many small ones.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        group: str,
        topics: Sequence[str],
        handle: Handler,
        dead_letters: DeadLetters,
        on_assigned: Callable[[frozenset[Place]], None] | None = None,
        max_batch: int = MAX_BATCH,
        gather_seconds: float = 0.0,
        stall_seconds: float = STALL_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = tuple(topics)
        self._handle = handle
        self._dead_letters = dead_letters
        self._on_assigned = on_assigned
        self._max_batch = max_batch
        self._gather_seconds = gather_seconds
        self._stall_seconds = stall_seconds
        self._drain_seconds = drain_seconds
        self._jitter = jitter
        self._stopping = asyncio.Event()
        self._interrupted = asyncio.Event()  # stopping, or a rebalance wants our partitions
        self._idle = asyncio.Event()
        self._idle.set()
        self._generation = 0
        self._assigned: frozenset[Place] | None = None
        self._handled: dict[Place, int] = {}
        self._letters_in_a_row = 0
        self._batches = 0
        self._drained = 0
        self._retrying: str | None = "not started"
        self._retried_at = 0.0
        self._broken: Exception | None = None

    async def run(self) -> None:
        """Consume until `stop`; raises Fatal when standing still, or after too many dead letters in a row."""
        consumer = await retrying(self._start)
        loop = asyncio.create_task(self._loop(consumer), name=f"{self._group} loop")
        watchdog = asyncio.create_task(self._watch(consumer), name=f"{self._group} watchdog")
        try:
            await asyncio.wait({loop, watchdog}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._interrupted.set()
            for task in (loop, watchdog):
                task.cancel()
            await asyncio.wait({loop, watchdog})
            self._idle.set()
            await self._leave(consumer)
        for task in (loop, watchdog):
            if not task.cancelled():
                task.result()

    async def _leave(self, consumer: AIOKafkaConsumer) -> None:
        """Leave the group, so that others take over at once; bounded, for the brokers may be away."""
        if not await ends_within(LEAVE_SECONDS, consumer.stop()):
            log.warning("group left in silence", extra=fields("kafka.leave_failed", group=self._group))
            await ends_within(LEAVE_SECONDS, consumer._client.close())

    async def stop(self) -> None:
        """End `run` after the handler's current call and a last commit; may be called at any time."""
        self._stopping.set()
        self._interrupted.set()

    def unready(self) -> str | None:
        """Why this consumer makes no progress; None when all is well. For readiness checks."""
        if self._assigned is None:
            return self._retrying or "no partitions assigned yet"
        return self._retrying

    @property
    def assigned(self) -> frozenset[Place]:
        """The partitions that are ours now."""
        return self._assigned or frozenset()

    # The loop: fetch, carry, commit.

    async def _loop(self, consumer: AIOKafkaConsumer) -> None:
        while not self._stopping.is_set():
            batch = await self._fetch(consumer)
            if batch:
                await self._carry(consumer, batch)
        if self._broken is not None:
            raise self._broken

    async def _fetch(self, consumer: AIOKafkaConsumer) -> list[Received]:
        """The next records, or none if there are none or `stop` was called."""
        poll = asyncio.create_task(self._poll(consumer))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({poll, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if poll.done():
                return poll.result()
            return []
        finally:
            stopping.cancel()
            # Cancelling a poll is safe: it either has not taken records yet, or is done.
            poll.cancel()

    async def _poll(self, consumer: AIOKafkaConsumer) -> list[Received]:
        try:
            fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._max_batch)
        except KafkaError as error:
            if not error.retriable:
                raise Fatal(f"{self._group} can't go on reading: {error!r}.") from error
            log.warning(
                "fetch failed", extra=fields("kafka.fetch_failed", group=self._group, error=repr(error))
            )
            await asyncio.sleep(backoff(1, self._jitter(), base_seconds=1.0))
            return []
        batch = [self._received(record) for records in fetched.values() for record in records]
        if len(batch) < self._max_batch:
            self._drained += 1
        if batch:
            # Without an await since the records were taken, so that no revocation slips in between.
            self._idle.clear()
        for received in batch:
            self._handled.setdefault(received.place, received.offset)
        return batch

    async def _carry(self, consumer: AIOKafkaConsumer, batch: list[Received]) -> None:
        """One batch from the first try to the commit of whatever part of it is settled."""
        generation = self._generation
        settled: dict[Place, int] = {}
        began = time.monotonic()
        try:
            await self._settle(batch, settled)
        except Abandoned:
            log.info(
                "batch abandoned", extra=fields("kafka.abandoned", group=self._group, records=len(batch))
            )
        finally:
            BATCH_SECONDS.labels(self._group).observe(time.monotonic() - began)
            self._retrying = None
            try:
                await self._commit(consumer, settled, generation)
            finally:
                self._batches += 1
                self._idle.set()

    # The ladder.

    async def _settle(self, batch: list[Received], settled: dict[Place, int]) -> None:
        """Handle or dead-letter every record; `settled` grows by what is durable, in offset order."""
        try:
            with tracing.handling(batch):
                await self._with_retries(lambda: self._handle(batch))
        except (Abandoned, Fatal):
            raise
        except Exception as error:  # noqa: BLE001 - the ladder: nothing a handler raises may lose a record
            log.warning(
                "batch failed, taking its records one by one",
                extra=fields(
                    "kafka.isolate", group=self._group, records=len(batch), error=type(error).__name__
                ),
            )
            for received in batch:
                await self._settle_one(received)
                settled[received.place] = received.offset + 1
            return
        self._letters_in_a_row = 0
        for received in batch:
            settled[received.place] = received.offset + 1
            HANDLED.labels(self._group, received.topic, "handled").inc()

    async def _settle_one(self, received: Received) -> None:
        for attempt in range(1, BUG_TRIES + 1):
            if self._interrupted.is_set():
                raise Abandoned
            try:
                with tracing.handling([received]):
                    await self._with_retries(lambda: self._handle([received]))
            except (Abandoned, Fatal):
                raise
            except Reject as error:
                return await self._park(received, error, attempt)
            except Exception as error:  # noqa: BLE001 - the ladder: a bug parks one record, not the partition
                if attempt == BUG_TRIES:
                    return await self._park(received, error, attempt)
                await self._pause(attempt)
            else:
                self._letters_in_a_row = 0
                HANDLED.labels(self._group, received.topic, "handled").inc()
                return None
        return None

    async def _park(self, received: Received, error: Exception, attempts: int) -> None:
        newer = is_of_a_newer_release(error)
        if self._letters_in_a_row >= self._dead_letters.ceiling and not newer:
            raise Fatal(
                f"{self._group}: {self._letters_in_a_row} records in a row failed for good; the next one, "
                f"{received.topic}/{received.partition}@{received.offset}, stays where it is: {error!r}"
            ) from error
        await self._with_retries(
            lambda: self._dead_letters.put(received, error, group=self._group, attempts=attempts)
        )
        self._letters_in_a_row += not newer
        HANDLED.labels(self._group, received.topic, "dead_lettered").inc()

    async def _with_retries(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work until it does not raise Retry; Abandoned when interrupted in between."""
        attempt = 0
        while True:
            try:
                await work()
            except Retry as error:
                attempt += 1
                self._retrying = f"tried {attempt} times: {str(error)[:200]}"
                self._retried_at = time.monotonic()
                RETRIES.labels(self._group).inc()
                log.warning(
                    "batch will be tried again",
                    extra=fields("kafka.retry", group=self._group, attempt=attempt, error=str(error)[:300]),
                )
                await self._pause(attempt)
            else:
                self._retrying = None
                return

    async def _pause(self, attempt: int) -> None:
        """Wait before the next try; Abandoned at once when interrupted. Heartbeats go on meanwhile."""
        try:
            async with asyncio.timeout(backoff(attempt, self._jitter())):
                await self._interrupted.wait()
        except TimeoutError:
            return
        raise Abandoned

    # Offsets and partitions.

    async def _commit(self, consumer: AIOKafkaConsumer, settled: dict[Place, int], generation: int) -> None:
        """Commit next offsets, if the partitions are still ours; a lost commit only means repeated work."""
        if not settled or generation != self._generation:
            return
        offsets = {self._partition(place): offset for place, offset in settled.items()}
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError, TimeoutError) as error:
            COMMIT_FAILURES.labels(self._group).inc()
            log.warning(
                "commit lost", extra=fields("kafka.commit_lost", group=self._group, error=repr(error)[:300])
            )
        except KafkaError as error:
            raise Fatal(f"{self._group} can't commit: {error!r}.") from error
        self._handled.update(settled)

    async def _revoked(self) -> None:
        """Let the handler's current call end and its offsets be committed, bounded. Runs in aiokafka's
        task.
        """
        self._interrupted.set()
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._idle.wait()
        except TimeoutError:
            log.error("drain took too long", extra=fields("kafka.drain_timeout", group=self._group))
        self._generation += 1
        self._assigned = frozenset()

    def _assign(self, places: frozenset[Place]) -> None:
        self._generation += 1
        self._assigned = places
        self._handled = {}
        if not self._stopping.is_set():
            self._interrupted.clear()
        log.info("partitions assigned", extra=fields("kafka.assigned", group=self._group, count=len(places)))
        try:
            if self._on_assigned is not None:
                self._on_assigned(places)
        except Exception as error:  # noqa: BLE001 - aiokafka would log it and go on; our run raises it
            self._broken = error
            self._stopping.set()

    # The watchdog.

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Raises Fatal when an assigned partition with lag does not move, and when the topics are gone.

        Only reports while retrying.
        """
        progress = Progress(self._stall_seconds)
        generation = self._generation
        while not self._stopping.is_set():
            await asyncio.sleep(min(LOOK_SECONDS, self._stall_seconds / 8))
            if generation != self._generation:
                generation = self._generation
                progress.forget()
            look = await self._look(consumer)
            reason = None if look is None else progress.judge(look)
            if self._excused():
                progress.forget()
            elif reason is not None:
                raise Fatal(f"{self._group} stands still: {reason}.")
        await asyncio.Event().wait()  # the loop ends by itself

    def _excused(self) -> bool:
        """Trying again is no stall, as long as the tries themselves come to an end."""
        return self._retrying is not None and time.monotonic() - self._retried_at < self._stall_seconds

    async def _look(self, consumer: AIOKafkaConsumer) -> Look | None:
        """What is to be judged, asked of the brokers anew; None while they don't answer."""
        places = self.assigned
        partitions = [self._partition(place) for place in places]
        try:
            # A cluster that lost its data answers without our topics; then we would wait in silence for ever.
            await self._check_topics(consumer)
            async with asyncio.timeout(ANSWER_SECONDS):
                ends = await consumer.end_offsets(partitions) if partitions else {}
        except (KafkaError, IllegalStateError, TimeoutError):
            CONNECTED.labels(self._group).set(0)
            return None
        CONNECTED.labels(self._group).set(1)
        for place in places - self._handled.keys():
            await self._find_position(consumer, place)
        found = {self._place(partition): end for partition, end in ends.items()}
        self._report_lag(found)
        return Look(time.monotonic(), dict(self._handled), found, self._batches, self._drained)

    async def _find_position(self, consumer: AIOKafkaConsumer, place: Place) -> None:
        """Where a partition begins for us; one that is never found looks like lag, and that is right."""
        generation = self._generation
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                position = await consumer.position(self._partition(place))
        except (KafkaError, IllegalStateError, TimeoutError):
            return
        if generation == self._generation:
            self._handled.setdefault(place, position)

    def _report_lag(self, ends: dict[Place, int]) -> None:
        lag = dict.fromkeys(self._topics, 0)
        for place, end in ends.items():
            lag[place[0]] += max(0, end - self._handled.get(place, end))
        for topic, records in lag.items():
            LAG.labels(self._group, topic).set(records)

    # Names with and without the prefix.

    async def _start(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            group_id=self._settings.kafka_topic_prefix + self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(self._settings.kafka_session_seconds * 1000),
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            metadata_max_age_ms=METADATA_AGE_MS,
            # A batch may be repeated for as long as a database is away; our own watchdog judges progress.
            max_poll_interval_ms=NEVER_MS,
            **self._gathering(),
        )
        try:
            await consumer.start()
            await self._check_topics(consumer)
        except KafkaError as error:
            await self._leave(consumer)
            raise Retry(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error!r}") from error
        except BaseException:
            await self._leave(consumer)
            raise
        CONNECTED.labels(self._group).set(1)
        # Only now: to start with a subscription to an unknown topic would wait for it in silence.
        consumer.subscribe(self._names, listener=_Listener(self))
        self._retrying = None
        return consumer

    def _gathering(self) -> dict[str, int]:
        if not self._gather_seconds:
            return {}
        return {"fetch_min_bytes": GOOD_BATCH_BYTES, "fetch_max_wait_ms": int(self._gather_seconds * 1000)}

    @property
    def _names(self) -> list[str]:
        return [self._settings.kafka_topic_prefix + topic for topic in self._topics]

    async def _check_topics(self, consumer: AIOKafkaConsumer) -> None:
        """Fatal if one of ours is not there, and stays away for a while."""
        for _ in range(TOPIC_TRIES):
            missing = set(self._names) - await consumer.topics()
            if not missing:
                return
            await asyncio.sleep(TOPIC_WAIT_SECONDS)
        raise Fatal(f"{self._group}: there is no topic {', '.join(sorted(missing))}.")

    def _partition(self, place: Place) -> TopicPartition:
        return TopicPartition(self._settings.kafka_topic_prefix + place[0], place[1])

    def _place(self, partition: TopicPartition) -> Place:
        return partition.topic.removeprefix(self._settings.kafka_topic_prefix), partition.partition

    def _received(self, record: ConsumerRecord[bytes | None, bytes | None]) -> Received:
        return Received(
            record.topic.removeprefix(self._settings.kafka_topic_prefix),
            record.partition,
            record.offset,
            record.key,
            record.value,
            headers_of(record.headers),
            record.timestamp,
        )


class _Listener(ConsumerRebalanceListener):
    """aiokafka's view of a consumer; shares no lock with fetching."""

    def __init__(self, owner: Consumer) -> None:
        self._owner = owner

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._owner._revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        places = frozenset(self._owner._place(partition) for partition in assigned)
        self._owner._assign(places)
