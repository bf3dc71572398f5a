"""Owns the mailboxes of the partitions that its group gives it: starts, replaces and ends their watches."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from chassis.documents import WatchedMailbox
from chassis.errors import Retry
from chassis.kafka import Received
from chassis.telemetry import fields
from reply_detector import telemetry
from reply_detector.watch import State, Watch
from segue_contracts.ids import murmur2

log = logging.getLogger(__name__)

END_SECONDS = 10.0
"""For what is in work when the process stops; then it is cut, and done again by the next owner."""


class Lists(Protocol):
    """The mailboxes of everybody."""

    async def watched(self) -> list[WatchedMailbox]: ...


@dataclass(frozen=True, slots=True)
class Running:
    """A watch and its task."""

    watch: Watch
    task: "asyncio.Task[None]"


class Watcher:
    """During a rebalance the last share is kept: two watches of a mailbox only cost lost guards."""

    def __init__(
        self,
        store: Lists,
        begin: Callable[[WatchedMailbox], Watch],
        *,
        partitions: int,
        again_seconds: float,
    ) -> None:
        self._store = store
        self._begin = begin
        self._partitions = partitions
        self._again_seconds = again_seconds
        self._mine: frozenset[int] = frozenset()
        self._running: dict[UUID, Running] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._stopping = False

    def assigned(self, places: Iterable[tuple[str, int]]) -> None:
        """The consumer has these partitions now."""
        self._mine = frozenset(partition for _, partition in places)
        self._woken.set()

    async def ignore(self, records: Sequence[Received]) -> None:
        """The group is joined for its partitions; the pointers in them are the detector's."""

    async def run(self) -> None:
        """Watch what is ours until `stop`."""
        try:
            while not self._stopping:
                await self._keep_up()
                await self._pause()
            for each in list(self._running):
                self._end(each)
            if self._ending:
                await asyncio.wait(self._ending, timeout=END_SECONDS)
        finally:
            left = {*self._ending, *(each.task for each in self._running.values())}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    async def stop(self) -> None:
        """End `run`."""
        self._stopping = True
        self._woken.set()

    def trouble(self) -> str | None:
        """How many mailboxes can't be watched; None if all can. For a note beside the readiness."""
        failing = sum(each.watch.state is State.FAILING for each in self._running.values())
        return f"{failing} of {len(self._running)} mailboxes can't be watched" if failing else None

    async def _keep_up(self) -> None:
        """What is ours is watched, as its settings are now, and nothing else."""
        try:
            wanted = {each.id: each for each in await self._store.watched() if self._is_mine(each.id)}
        except Retry as error:
            told = fields("watcher.retry", error=str(error)[:300])
            log.warning("mailboxes can't be listed", extra=told)
            return
        for id, running in list(self._running.items()):
            if running.task.done() or wanted.get(id) != running.watch.mailbox:
                self._end(id)
        for mailbox in wanted.values():
            if mailbox.id not in self._running:
                self._start(mailbox)
        self._tell()

    def _is_mine(self, mailbox_id: UUID) -> bool:
        return partition_of(mailbox_id, self._partitions) in self._mine

    def _start(self, mailbox: WatchedMailbox) -> None:
        watch = self._begin(mailbox)
        self._running[mailbox.id] = Running(watch, asyncio.create_task(watch.run(), name="watch"))

    def _end(self, mailbox_id: UUID) -> None:
        running = self._running.pop(mailbox_id)
        running.watch.stop()
        self._ending.add(running.task)
        running.task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a watch died", exc_info=error, extra=fields("watcher.died"))

    def _tell(self) -> None:
        states = Counter(each.watch.state for each in self._running.values())
        for state in State:
            telemetry.MAILBOXES.labels(state.value).set(states[state])

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._again_seconds):
                await self._woken.wait()
        self._woken.clear()


def partition_of(mailbox_id: UUID, partitions: int) -> int:
    """Whose mailbox it is: the partition that a record with its id as the key would go to."""
    return (murmur2(str(mailbox_id).encode()) & 0x7FFFFFFF) % partitions
