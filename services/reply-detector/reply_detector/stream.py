"""The Faust agent over the pointers to stored messages: the fast way in; the sweep is the sure one.

Faust acknowledges an event whose handling raised, and after a rebalance also events that were only
prefetched. So nothing ever raises out of the agent, every acknowledgement is our own and comes last, and
losing a pointer is harmless: the message itself is in the database, where the sweep finds it.
"""

import asyncio
import logging
import random
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP, EventT, StreamT

from chassis import tracing
from chassis.errors import Fatal, Reject, Retry
from chassis.kafka import Received, ensure_topics
from chassis.kafka.connection import client_options
from chassis.kafka.consumer import CONNECTED, HANDLED, LAG
from chassis.kafka.letters import is_of_a_newer_release
from chassis.kafka.progress import Look, Progress
from chassis.kafka.records import Place, headers_of
from chassis.retry import backoff, retrying
from chassis.settings import KafkaSettings
from chassis.telemetry import correlated, correlation_of, fields
from reply_detector import telemetry
from reply_detector.model import State
from segue_contracts.codec import DecodeError, decode
from segue_contracts.events import CorrectAnswer, InboundMessage
from segue_contracts.topics import INBOUND_MESSAGES, TOPICS

log = logging.getLogger(__name__)

GROUP = "segue.reply-detector.inbound"
BUG_TRIES = 3
AT_ONCE = 256
"""Pointers in work in one process."""
TRANSIENT_TRIES = 6
TRANSIENT_CAP_SECONDS = 5.0
"""All tries together stay below half a minute: what fails longer is left to the sweep."""
HEARTBEATS_PER_SESSION = 3
COMMIT_SECONDS = 1.0
METADATA_AGE_MS = 10_000
START_SECONDS = 60.0
STOP_SECONDS = 15.0
LOOK_SECONDS = 0.25
TOPICS_AGAIN_SECONDS = 5.0
STALL_SECONDS = 120.0


Lane = deque[tuple[EventT[Any], asyncio.Task[bool]]]
"""The pointers of one partition that are not acknowledged yet, in their order."""


class Settles(Protocol):
    """What the agent and the sweep share, and what only the agent hears of."""

    async def settle(self, workspace_id: UUID, inbound_id: UUID) -> State: ...

    async def correct(self, command: CorrectAnswer) -> None: ...


class Parks(Protocol):
    """The dead-letter topic; raises Retry while a letter is not durable."""

    ceiling: int

    def put(
        self, received: Received, error: BaseException, *, group: str, attempts: int
    ) -> Awaitable[None]: ...


class InboundStream:
    """A member of the group that hears of stored messages as they arrive.

    Pointers are carried side by side, so that what each needs of the database and of Kafka is asked for many
    at once. Each partition has an actor of its own, whose acknowledgements come in order all the same:
    Faust's commit does not always see a gap before the first of them.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        detector: Settles,
        dead_letters: Parks,
        *,
        stall_seconds: float = STALL_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._dead_letters = dead_letters
        self._stall_seconds = stall_seconds
        self._jitter = jitter
        self._app: faust.App | None = None
        self._stopping = asyncio.Event()
        self._broken: str | None = None
        self._letters_in_a_row = 0
        self._parking = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._in_work: set[asyncio.Task[bool]] = set()
        self._handled: dict[Place, int] = {}
        self._finished = 0

    async def run(self) -> None:
        """Consume until `stop`; raises Fatal when Faust crashed, stands still, or nothing can be handled."""
        if not await self._topics_exist():
            return
        with tempfile.TemporaryDirectory(prefix="segue-faust-") as folder:
            app = self._app = build_app(self._settings, Path(folder), self._consume)
            try:
                await self._start(app)
                await self._watch(app)
            finally:
                self._app = None
                for task in self._in_work:
                    task.cancel()
                await _stop(app)

    async def stop(self) -> None:
        """End `run`; a pointer in work is left unacknowledged and comes again."""
        self._stopping.set()

    def unready(self) -> str | None:
        """Why this agent makes no progress; None when all is well. For readiness checks."""
        if self._broken is not None:
            return self._broken
        app = self._app
        if app is None or not app.started:
            return "not started"
        if app.crashed:
            return "crashed"
        if app.rebalancing:
            return "rebalancing"
        return "not started" if assignment(app) is None else None

    @property
    def assigned(self) -> frozenset[Place]:
        """The partitions that are ours now."""
        app = self._app
        if app is None or not app.started or app.rebalancing:
            return frozenset()
        return frozenset(self._place(tp) for tp in assignment(app) or ())

    # The agent.

    async def _consume(self, stream: StreamT[bytes]) -> None:
        """One partition, for as long as it is ours; what is in work then is finished and acknowledged."""
        lane: Lane = deque()
        async for event in _events(stream):
            await self._slots.acquire()
            task = asyncio.create_task(self._handle(self._received(event)))
            self._in_work.add(task)
            lane.append((event, task))
            task.add_done_callback(partial(self._leave, lane))

    def _leave(self, lane: Lane, task: asyncio.Task[bool]) -> None:
        """Acknowledge what is done from the front of a lane on, up to what is not.

        What can neither be handled nor parked stays there for ever: acknowledging a later one would
        acknowledge it too, and `run` is about to end the process.
        """
        self._slots.release()
        self._in_work.discard(task)
        self._finished += 1
        while lane and (first := lane[0][1]).done() and not first.cancelled() and first.result():
            event, _ = lane.popleft()
            received = self._received(event)
            self._handled[received.place] = received.offset + 1
            event.ack()

    async def _handle(self, received: Received) -> bool:
        """Whether the record may be acknowledged. Raises nothing but its own cancellation."""
        try:
            with correlated(correlation_of(received.headers)), tracing.handling([received]):
                outcome = await self._settle_or_park(received)
        except Exception as error:
            log.exception("the guard itself failed", extra=fields("stream.broken", offset=received.offset))
            self._broken = f"A pointer can neither be handled nor parked: {error!r}."
            return False
        if outcome is None:
            return False
        HANDLED.labels(GROUP, received.topic, outcome).inc()
        return True

    async def _settle_or_park(self, received: Received) -> str | None:
        """The ladder: transient errors are tried again, bugs a few times, what is left is dead-lettered.

        What became of it; None if it can't even be parked.
        """
        for attempt in range(1, BUG_TRIES + 1):
            try:
                await self._with_retries(lambda: self._settle(received))
            except Retry as error:
                return self._leave_to_the_sweep(received, error)
            except Reject as error:
                return await self._park(received, error, attempt)
            except Exception as error:  # noqa: BLE001 - the ladder: a bug parks one pointer, not the partition
                telemetry.FAILURES.labels("agent").inc()
                if attempt == BUG_TRIES:
                    return await self._park(received, error, attempt)
                await asyncio.sleep(backoff(attempt, self._jitter()))
            else:
                self._letters_in_a_row = 0
                return "handled"
        raise AssertionError("the last attempt returns")

    async def _settle(self, received: Received) -> None:
        try:
            message: InboundMessage | CorrectAnswer = decode(received.topic, received.headers, received.value)
        except DecodeError as error:
            raise Reject(error.code, error.detail) from error
        if isinstance(message, CorrectAnswer):
            await self._detector.correct(message)
        else:
            await self._detector.settle(message.workspace_id, message.inbound_id)

    def _leave_to_the_sweep(self, received: Received, error: Retry) -> str:
        telemetry.LEFT.inc()
        log.warning(
            "pointer left to the sweep",
            extra=fields("stream.left", offset=received.offset, error=str(error)[:300]),
        )
        return "left_to_sweep"

    async def _park(self, received: Received, error: Exception, attempts: int) -> str | None:
        async with self._parking:  # one after another, so that the ceiling holds
            return await self._park_next(received, error, attempts)

    async def _park_next(self, received: Received, error: Exception, attempts: int) -> str | None:
        newer = is_of_a_newer_release(error)
        if self._letters_in_a_row >= self._dead_letters.ceiling and not newer:
            self._broken = (
                f"{GROUP}: {self._letters_in_a_row} pointers in a row could not be handled; the next one, "
                f"{received.topic}/{received.partition}@{received.offset}, stays where it is: {error!r}"
            )
            return None
        await self._with_retries(
            lambda: self._dead_letters.put(received, error, group=GROUP, attempts=attempts)
        )
        self._letters_in_a_row += not newer
        return "dead_lettered"

    async def _with_retries(self, work: Callable[[], Awaitable[None]]) -> None:
        await retrying(work, tries=TRANSIENT_TRIES, cap_seconds=TRANSIENT_CAP_SECONDS, jitter=self._jitter)

    # Supervision.

    async def _topics_exist(self) -> bool:
        """Wait for Kafka and for the topics, which Faust would not create; False if `stop` came first."""
        while not self._stopping.is_set():
            try:
                await ensure_topics(self._settings, TOPICS)
            except Retry as error:
                log.warning("no Kafka yet", extra=fields("stream.no_kafka", error=str(error)[:300]))
                await self._pause(TOPICS_AGAIN_SECONDS)
            else:
                return True
        return False

    async def _start(self, app: faust.App) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await app.start()
        except TimeoutError as error:
            raise Fatal(f"Faust did not start within {START_SECONDS:.0f} s.") from error

    async def _watch(self, app: faust.App) -> None:
        """Returns on `stop`; raises Fatal for what only a new process cures."""
        progress, looked_at = Progress(self._stall_seconds), time.monotonic()
        while not self._stopping.is_set():
            if self._broken is not None:
                raise Fatal(self._broken)
            if app.crashed:
                raise Fatal(f"Faust crashed: {app.crash_reason!r}.")
            if time.monotonic() - looked_at >= self._stall_seconds / 8:
                looked_at = time.monotonic()
                await self._judge_progress(app, progress)
            await self._pause(LOOK_SECONDS)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _judge_progress(self, app: faust.App, progress: Progress) -> None:
        """Fatal when an assigned partition with something to read does not move."""
        if app.rebalancing:
            return progress.forget()
        try:
            async with asyncio.timeout(self._stall_seconds):
                look = await self._look(app)
        except TimeoutError:
            CONNECTED.labels(GROUP).set(0)
            return None  # the brokers don't answer: nothing to read either
        CONNECTED.labels(GROUP).set(1)
        reason = progress.judge(look)
        if reason is not None:
            raise Fatal(f"{GROUP} stands still: {reason}.")
        return None

    async def _look(self, app: faust.App) -> Look:
        partitions = assignment(app) or frozenset()
        ends = await app.consumer.highwaters(*partitions) if partitions else {}
        for tp in partitions:
            if self._place(tp) not in self._handled:
                self._handled[self._place(tp)] = await app.consumer.position(tp) or 0
        handled = {self._place(tp): self._handled[self._place(tp)] for tp in partitions}
        found = {self._place(tp): end for tp, end in ends.items()}
        lag = sum(max(0, end - handled[place]) for place, end in found.items())
        LAG.labels(GROUP, INBOUND_MESSAGES.name).set(lag)
        return Look(time.monotonic(), handled, found, self._finished, 0)

    # Names with and without the prefix.

    def _place(self, tp: TP) -> Place:
        return tp.topic.removeprefix(self._settings.kafka_topic_prefix), tp.partition

    def _received(self, event: EventT[Any]) -> Received:
        message: Any = event.message
        headers = message.headers.items() if isinstance(message.headers, dict) else message.headers
        return Received(
            message.topic.removeprefix(self._settings.kafka_topic_prefix),
            message.partition,
            message.offset,
            message.key,
            message.value,
            headers_of(headers or ()),
            int((message.timestamp or 0) * 1000),
        )


def build_app(
    settings: KafkaSettings, folder: Path, consume: Callable[[StreamT[bytes]], Awaitable[None]]
) -> faust.App:
    """A Faust app with one agent, to be started inside a running event loop; `folder` is for its own files.

    It has no tables: all that is counted lives in the metrics, all that matters in the database.
    """
    app = faust.App(
        settings.kafka_topic_prefix + GROUP,
        broker=[f"kafka://{server.strip()}" for server in settings.kafka_bootstrap_servers.split(",")],
        broker_credentials=credentials(settings),
        broker_session_timeout=settings.kafka_session_seconds,
        broker_heartbeat_interval=settings.kafka_session_seconds / HEARTBEATS_PER_SESSION,
        broker_commit_interval=COMMIT_SECONDS,
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=INBOUND_MESSAGES.partitions,
        # A rebalance need not wait for the pointer in work: what it does may be repeated.
        stream_wait_empty=False,
        store="memory://",
        web_enabled=False,
        datadir=str(folder),
    )
    topic = app.topic(settings.kafka_topic_prefix + INBOUND_MESSAGES.name, value_type=bytes, key_type=bytes)
    app.agent(topic, name="inbound", isolated_partitions=True)(consume)
    return app


def credentials(settings: KafkaSettings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """How Faust proves who it is, from the settings of every other client."""
    options = client_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


async def _events(stream: Any) -> AsyncIterator[EventT[bytes]]:
    """The events of a stream, none of them acknowledged by Faust."""
    async for event in stream.noack().events():
        yield event


def assignment(app: faust.App) -> frozenset[TP] | None:
    """The assigned partitions; None before the consumer exists, which is after Faust says that it started."""
    try:
        return frozenset(app.consumer.assignment())
    except ConsumerNotStarted:
        return None


async def _stop(app: faust.App) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await app.stop()
    except TimeoutError:
        log.warning("Faust did not stop in time", extra=fields("stream.abandoned"))
