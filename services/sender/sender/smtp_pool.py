"""Kept-open SMTP connections: a bounded number for each mailbox and host, used again, never trusted."""

import asyncio
import ssl
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from chassis.hosts import Guard
from sender.smtp import (
    Broken,
    Connection,
    Deferred,
    Envelope,
    Outcome,
    Phase,
    Target,
    Timeouts,
)

_PER_MAILBOX: Final = 2
_PER_HOST: Final = 10
_WAITING_PER_HOST: Final = 1000
_MAX_IDLE: Final = 100


@dataclass(frozen=True, slots=True)
class Busy:
    """There was no room for this mailbox, or its host, in time; nothing was begun."""


@dataclass(slots=True, eq=False)
class _Idle:
    connection: Connection
    expiry: asyncio.TimerHandle


class Letter(Protocol):
    """One message for the pool."""

    @property
    def target(self) -> Target: ...
    @property
    def envelope(self) -> Envelope: ...
    async def before_data(self) -> bool:
        """As Connection.send asks."""

    async def ended(self, result: Outcome | Busy | Exception) -> None:
        """What became of it; an exception is one of `before_data`, or a bug. Raises nothing."""


@dataclass(slots=True, eq=False)
class _Host:
    """What goes to one server; it is forgotten when it has nothing."""

    lanes: int = 0
    workers: int = 0
    letters: int = 0
    slow_until: float = 0.0
    waiting: "deque[_Lane]" = field(default_factory=deque)  # lanes that could use one more worker

    @property
    def is_wanted(self) -> bool:
        """Say whether a lane waits that has nobody."""
        return any(not lane.workers for lane in self.waiting if lane.letters)


@dataclass(slots=True, eq=False)
class _Lane:
    """What goes from one mailbox; it is forgotten when it has nothing."""

    target: Target
    host: _Host
    workers: int = 0
    letters: deque[tuple[float, Letter]] = field(default_factory=deque)
    """With the loop time at which each came."""
    expiry: asyncio.TimerHandle | None = None
    idle: deque[_Idle] = field(default_factory=deque)

    def next(self) -> Letter | None:
        """Take the letter that has waited longest."""
        if not self.letters:
            return None
        self.host.letters -= 1
        return self.letters.popleft()[1]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A letter that a worker carries; its time runs from when it was taken."""

    letter: Letter
    deadline: float


@dataclass(slots=True, eq=False)
class _Worker:
    """Who carries the letters of a lane over one connection; `following`: what must be next on it."""

    lane: _Lane
    connection: Connection | None = None
    following: _Taken | None = None


class Pool:
    """Sends through connections it keeps; one for a process, within one event loop.

    At most `per_mailbox` connections at a time for a Target and `per_host` for a host and port. Busy: no
    connection was free within `room_seconds`; where some have waited half as long, also what comes when more
    than `waiting_per_host` wait, so that a slow server does not fill the memory. An idle connection is closed
    after `idle_seconds`, any after `messages_per_connection`. `tls`, `guard`: as for a Connection.
    """

    def __init__(
        self,
        ehlo_hostname: str,
        timeouts: Timeouts | None = None,
        *,
        per_mailbox: int = _PER_MAILBOX,
        per_host: int = _PER_HOST,
        waiting_per_host: int = _WAITING_PER_HOST,
        room_seconds: float = 5,
        idle_seconds: float = 15,
        messages_per_connection: int = 100,
        tls: ssl.SSLContext | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._hostname = ehlo_hostname
        self._timeouts = timeouts or Timeouts()
        self._per_mailbox = per_mailbox
        self._per_host = per_host
        self._waiting_per_host = waiting_per_host
        self._room_seconds = room_seconds
        self._idle_seconds = idle_seconds
        self._messages_per_connection = messages_per_connection
        self._tls = tls
        self._guard = guard
        self._mailboxes: dict[Target, _Lane] = {}
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle_count = 0
        self._closed = False

    @property
    def idle_connections(self) -> int:
        """How many connections are kept open and unused."""
        return self._idle_count

    def post(self, letter: Letter) -> None:
        """Carry one message, as Connection.send does, connecting where needed; `total` bounds both together.

        A kept connection that turns out closed before MAIL was answered is replaced once, unseen. Failures to
        connect are outcomes too.
        """
        lane = self._lane(letter.target)
        now = asyncio.get_running_loop().time()
        if lane.host.letters >= self._waiting_per_host and self._is_slow(lane, now):
            self._spawn(letter.ended(Busy()))
            return
        lane.letters.append((now, letter))
        lane.host.letters += 1
        if lane.expiry is None:
            self._watch(lane)
        self._staff(lane)

    async def close(self) -> None:
        """Cut what is in use, close what is idle."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for lane in list(self._mailboxes.values()):
            while lane.idle:
                self._take(lane).quit()
            self._forget(lane)

    # --- who waits

    def _lane(self, target: Target) -> _Lane:
        if target not in self._mailboxes:
            host = self._hosts.setdefault((target.host, target.port), _Host())
            host.lanes += 1
            self._mailboxes[target] = _Lane(target, host)
        return self._mailboxes[target]

    def _is_slow(self, lane: _Lane, now: float) -> bool:
        heads = [each.letters[0][0] for each in (lane, *list(lane.host.waiting)[:1]) if each.letters]
        return now < lane.host.slow_until or (bool(heads) and now - min(heads) > self._room_seconds / 2)

    def _watch(self, lane: _Lane) -> None:
        """One timer for a lane, because one for a letter is felt in a burst."""
        when = lane.letters[0][0] + self._room_seconds
        lane.expiry = asyncio.get_running_loop().call_at(when, self._expire_letters, lane)

    def _expire_letters(self, lane: _Lane) -> None:
        lane.expiry = None
        now = asyncio.get_running_loop().time()
        came_before = now - self._room_seconds
        while lane.letters and lane.letters[0][0] <= came_before:
            letter = lane.next()
            assert letter is not None, "there is one"
            lane.host.slow_until = now + self._room_seconds
            self._spawn(letter.ended(Busy()))
        if lane.letters:
            self._watch(lane)
        self._forget(lane)

    # --- who works

    def _staff(self, lane: _Lane) -> None:
        """Give the lane a worker if it needs one and may have one; else it waits for the host's next."""
        if not lane.letters or lane.workers >= self._per_mailbox or self._closed:
            return
        if lane.host.workers >= self._per_host:
            if lane not in lane.host.waiting:
                lane.host.waiting.append(lane)
            return
        lane.workers += 1
        lane.host.workers += 1
        self._spawn(self._work(lane))

    def _dismiss(self, lane: _Lane) -> None:
        """A worker of the lane has ended: whoever waits longest for the host gets the next."""
        host = lane.host
        lane.workers -= 1
        host.workers -= 1
        while host.waiting and host.workers < self._per_host:
            self._staff(host.waiting.popleft())
        self._staff(lane)
        self._forget(lane)

    async def _work(self, lane: _Lane) -> None:
        """Carry what waits in the lane over one connection, until nothing does or others have none."""
        worker = _Worker(lane)
        try:
            taken = self._next(lane)
            while taken is not None:
                await self._carry(worker, taken)
                taken, worker.following = worker.following, None
                if taken is None and not lane.host.is_wanted:
                    taken = self._next(lane)
            if worker.connection is not None:
                self._park(lane, worker.connection)
        except BaseException:
            if worker.connection is not None:
                worker.connection.close()
            raise
        finally:
            self._dismiss(lane)

    def _next(self, lane: _Lane) -> _Taken | None:
        letter = lane.next()
        if letter is None:
            return None
        return _Taken(letter, asyncio.get_running_loop().time() + self._timeouts.total)

    async def _carry(self, worker: _Worker, taken: _Taken) -> None:
        """One letter; afterwards the worker has the one that must be next, if any, and its connection."""
        result: Outcome | Exception
        try:
            result = await self._transact(worker, taken.letter, taken.deadline)
        except Exception as error:  # noqa: BLE001 - of its own steps; the others of the lane must not suffer
            result = error
        await taken.letter.ended(result)
        connection = worker.connection
        if connection is not None and not (worker.following and connection.alive):
            self._look_after(worker, connection)

    async def _transact(self, worker: _Worker, letter: Letter, deadline: float) -> Outcome:
        following = partial(self._following, worker)
        worker.connection = worker.connection or self._kept(worker.lane)
        if worker.connection is not None:
            outcome = await worker.connection.send(letter.envelope, letter.before_data, deadline, following)
            if not _was_stale(outcome):
                return outcome
        target = worker.lane.target
        worker.connection = Connection(target, self._hostname, self._timeouts, self._tls, self._guard)
        failure = await worker.connection.connect(deadline)
        if failure is not None:
            return failure
        return await worker.connection.send(letter.envelope, letter.before_data, deadline, following)

    def _following(self, worker: _Worker) -> Envelope | None:
        """What goes next over the worker's connection, if that is certain by now."""
        lane, connection = worker.lane, worker.connection
        if connection is not None and not self._is_worn(connection) and not lane.host.is_wanted:
            worker.following = self._next(lane)
        return worker.following.letter.envelope if worker.following else None

    def _look_after(self, worker: _Worker, connection: Connection) -> None:
        """Keep the connection only if another letter may go over it."""
        if not connection.usable:
            connection.close()
        elif self._is_worn(connection):
            connection.quit()
        else:
            return
        worker.connection = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="smtp")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- kept connections

    def _is_worn(self, connection: Connection) -> bool:
        return connection.transactions >= self._messages_per_connection

    def _kept(self, lane: _Lane) -> Connection | None:
        while lane.idle:
            connection = self._take(lane)
            if connection.usable:
                return connection
            connection.close()
        return None

    def _take(self, lane: _Lane) -> Connection:
        """Take the connection last used: it is the likeliest to be alive, and lets the others expire."""
        idle = lane.idle.pop()
        idle.expiry.cancel()
        self._idle_count -= 1
        return idle.connection

    def _park(self, lane: _Lane, connection: Connection) -> None:
        if self._closed or self._idle_count >= _MAX_IDLE:
            connection.quit()
            return
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(self._idle_seconds, self._expire, lane)
        lane.idle.append(_Idle(connection, expiry))
        self._idle_count += 1

    def _expire(self, lane: _Lane) -> None:
        """Close the connection longest idle: timers fire in the order in which they were set."""
        lane.idle.popleft().connection.quit()
        self._idle_count -= 1
        self._forget(lane)

    def _forget(self, lane: _Lane) -> None:
        if lane.workers or lane.letters or lane.idle:
            return
        if lane.expiry is not None:
            lane.expiry.cancel()
            lane.expiry = None
        if self._mailboxes.get(lane.target) is not lane:
            return
        del self._mailboxes[lane.target]
        lane.host.lanes -= 1
        if not lane.host.lanes:
            del self._hosts[lane.target.host, lane.target.port]


def _was_stale(outcome: Outcome) -> bool:
    """Say whether the server had given the connection up before MAIL: nothing was begun, a new one may do."""
    if isinstance(outcome, Broken):
        return outcome.phase is Phase.MAIL and not outcome.timed_out
    return isinstance(outcome, Deferred) and outcome.phase is Phase.MAIL and outcome.code == 421
