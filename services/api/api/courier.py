"""Carries what is stored to Kafka: at once where it can, and again until its owner's result is seen."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Protocol
from uuid import UUID

from api import telemetry
from api.model import (
    COURIER_HEAD_START,
    GAVE_UP,
    KEEP_RESULTS,
    MOST_PUBLISHES,
    CommandState,
    Settled,
    message_of,
    patience,
    sequence_messages,
    settled,
)
from api.settings import ApiSettings
from api.store import Store
from chassis import faults, tracing
from chassis.clock import Clock
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.store import Document, Workspace
from chassis.telemetry import fields
from segue_contracts.message import Message

log = logging.getLogger(__name__)

MAX_QUEUED = 20_000
BATCH = 1000
KAFKA_AGAIN_SECONDS = 2.0
REST_AFTER_FAILURE_SECONDS = 1.0
LEASE_SECONDS = 10.0
"""What a sweep has to publish a batch before another one, or this one after a failure, tries."""


class Publishes(Protocol):
    """What the courier needs of Kafka; returns when all records are acknowledged, else Retry."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Write all records."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way; the sweep asks about a command again, whoever waits about others."""

    message: Message
    command_id: UUID | None = None
    traceparent: str | None = field(default_factory=tracing.context)


@dataclass(frozen=True, slots=True)
class Changed:
    """A sequence with something in its outbox."""

    workspace: Workspace
    sequence_id: UUID


class Courier:
    """A queue in memory for what was just stored, and sweeps for what the queue lost."""

    def __init__(self, settings: ApiSettings, clock: Clock, store: Store, publisher: Publishes) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._publisher = publisher
        self._letters: deque[Letter] = deque()
        self._changed: deque[Changed] = deque()
        self._waiting = asyncio.Event()
        self._stopping = asyncio.Event()

    def take(self, letters: Sequence[Letter]) -> None:
        """Publish soon; never waits. What does not fit is left to the sweeps."""
        room = max(0, MAX_QUEUED - len(self._letters))
        self._letters.extend(letters[:room])
        telemetry.LEFT_TO_SWEEP.inc(max(0, len(letters) - room))
        self._waiting.set()

    def sequence_changed(self, workspace: Workspace, sequence_id: UUID) -> None:
        """Publish the outbox of a sequence soon; never waits."""
        if len(self._changed) < MAX_QUEUED:
            self._changed.append(Changed(workspace, sequence_id))
        self._waiting.set()

    # ---- at once --------------------------------------------------------------------------------------

    async def run(self, connect: Callable[[], Awaitable[None]]) -> None:
        """Wait for Kafka, then publish what is taken; after `stop`, what still waits."""
        await self._connected(connect)
        while True:
            await self._waiting.wait()
            delivered = await self.deliver()
            if self._stopping.is_set():
                return
            if not delivered:
                await self._rest(REST_AFTER_FAILURE_SECONDS)

    async def stop(self) -> None:
        """End `run` when all that was taken is published, or left to another instance's sweep."""
        self._stopping.set()
        self._waiting.set()

    async def _connected(self, connect: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            try:
                return await connect()
            except Retry as error:
                log.warning("no Kafka yet", extra=fields("courier.no_kafka", error=str(error)[:300]))
                await self._rest(KAFKA_AGAIN_SECONDS)
        return None

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def deliver(self) -> bool:
        """Publish all that waits; after a failure drop it and say False: all of it is stored, and swept."""
        self._waiting.clear()
        try:
            while self._letters or self._changed:
                await self._deliver_letters()
                await self._deliver_changed()
        except Retry as error:
            left = len(self._letters) + len(self._changed)
            self._letters.clear()
            self._changed.clear()
            telemetry.LEFT_TO_SWEEP.inc(left)
            log.warning("left to the sweep", extra=fields("courier.left", left=left, error=str(error)[:300]))
            return False
        return True

    async def _deliver_letters(self) -> None:
        batch = list(islice(self._letters, BATCH))
        if not batch:
            return
        await self._publisher.publish([Record.of(letter.message, letter.traceparent) for letter in batch])
        for _ in batch:
            self._letters.popleft()
        ids = [letter.command_id for letter in batch if letter.command_id is not None]
        if ids:
            real_now = self._clock.real_now()
            again = real_now + patience(1, self._settings.command_patience_seconds)
            await self._store.commands.published(ids, again, real_now)

    async def _deliver_changed(self) -> None:
        while self._changed:
            changed = self._changed[0]
            sequence = await self._store.sequences.one(changed.workspace, changed.sequence_id)
            if sequence is not None:
                await self._tell(sequence)
            self._changed.popleft()

    async def _tell(self, sequence: Document) -> None:
        """Publish events and state; again if it changed meanwhile, so that the newest state is the last."""
        current: Document | None = sequence
        while current is not None and current["outbox"]:
            told = current
            version = await self._store.sequences.version(
                told["workspace_id"], told["_id"], told["latest_version"]
            )
            assert version is not None, "a sequence points at a version that is stored before it"
            messages = sequence_messages(told, version, self._clock.real_now())
            await self._publisher.publish([Record.of(message) for message in messages])
            await faults.point("api.sequence_told")
            ids = [entry["event_id"] for entry in told["outbox"]]
            current = await self._store.sequences.told(told["workspace_id"], told["_id"], ids)

    # ---- the sweeps -----------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """One look at what is open, batch after batch while there is a full one."""
        while await self.sweep_commands() >= self._settings.command_batch:
            pass
        await self.sweep_sequences()
        await self._store.commands.forget_results(self._clock.now() - KEEP_RESULTS, BATCH)

    async def sweep_sequences(self) -> None:
        """Publish what the outboxes of sequences still hold."""
        until = self._clock.real_now() - COURIER_HEAD_START
        for sequence in await self._store.sequences.untold(until, self._settings.command_batch):
            await self._tell(sequence)

    async def sweep_commands(self) -> int:
        """Settle open commands whose result is there, publish the others again; how many were looked at."""
        commands = await self._store.commands.open(self._clock.real_now(), self._settings.command_batch)
        known = await self.outcomes(commands)
        over = (each["_id"] for each in commands if each["publishes"] >= MOST_PUBLISHES)
        known = {**dict.fromkeys(over, Settled(CommandState.REFUSED, (GAVE_UP,))), **known}
        await self._settle([(each, known[each["_id"]]) for each in commands if each["_id"] in known])
        await self._publish_again([each for each in commands if each["_id"] not in known])
        return len(commands)

    async def outcomes(self, commands: Sequence[Document]) -> dict[UUID, Settled]:
        """What is known to have become of these commands, by id."""
        if not commands:
            return {}
        results = await self._store.commands.results(commands)
        enrollments = await self._store.commands.enrollments(commands)
        stopped = await self._store.commands.stopped(commands)
        known: dict[UUID, Settled] = {}
        for each in commands:
            found = settled(
                each, results.get(each["_id"]), enrollments.get(each["target"]), each["_id"] in stopped
            )
            if found is not None:
                known[each["_id"]] = found
        return known

    async def _settle(self, outcomes: Sequence[tuple[Document, Settled]]) -> None:
        if not outcomes:
            return
        await self._store.commands.settle(outcomes, self._clock.real_now())
        for command, what in outcomes:
            telemetry.SETTLED.labels(command["type"], what.state.value).inc()

    async def _publish_again(self, commands: Sequence[Document]) -> None:
        """Leased first: while Kafka refuses a batch, nobody reads it again at once."""
        if not commands:
            return
        real_now = self._clock.real_now()
        lease = real_now + timedelta(seconds=LEASE_SECONDS)
        await self._store.commands.lease([each["_id"] for each in commands], lease)
        records = [Record.of(message_of(each), each.get(tracing.FIELD)) for each in commands]
        await self._publisher.publish(records)
        telemetry.REPUBLISHED.inc(len(commands))
        by_publishes: dict[int, list[UUID]] = {}
        for each in commands:
            by_publishes.setdefault(each["publishes"] + 1, []).append(each["_id"])
        for publishes, ids in by_publishes.items():
            again = real_now + patience(publishes, self._settings.command_patience_seconds)
            await self._store.commands.published(ids, again, real_now)
