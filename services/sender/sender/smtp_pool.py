"""Kept-open SMTP connections: a bounded number for each mailbox and host, used again, never trusted."""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from sender.smtp import (
    BeforeData,
    Broken,
    Connection,
    Deferred,
    Outcome,
    Phase,
    Target,
    Timeouts,
)

_PER_MAILBOX: Final = 2
_PER_HOST: Final = 10
_MAX_IDLE: Final = 100


@dataclass(frozen=True, slots=True)
class Busy:
    """There was no room for this mailbox, or its host, in time; nothing was begun."""


@dataclass(slots=True, eq=False)
class _Idle:
    connection: Connection
    expiry: asyncio.TimerHandle


@dataclass(slots=True, eq=False)
class _Lane:
    """What one mailbox, or one host, has in use; it is forgotten when it has nothing."""

    room: asyncio.Semaphore
    users: int = 0
    idle: deque[_Idle] = field(default_factory=deque)


class Pool:
    """Sends through connections it keeps; one for a process, within one event loop.

    At most `per_mailbox` transactions at a time for a Target and `per_host` for a host and port; no room
    within `room_seconds` is Busy. An idle connection is closed after `idle_seconds`, any after
    `messages_per_connection`.
    """

    def __init__(
        self,
        ehlo_hostname: str,
        timeouts: Timeouts | None = None,
        *,
        per_mailbox: int = _PER_MAILBOX,
        per_host: int = _PER_HOST,
        room_seconds: float = 5,
        idle_seconds: float = 15,
        messages_per_connection: int = 100,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hostname = ehlo_hostname
        self._timeouts = timeouts or Timeouts()
        self._per_mailbox = per_mailbox
        self._per_host = per_host
        self._room_seconds = room_seconds
        self._idle_seconds = idle_seconds
        self._messages_per_connection = messages_per_connection
        self._tls = tls
        self._mailboxes: dict[Target, _Lane] = {}
        self._hosts: dict[tuple[str, int], _Lane] = {}
        self._idle_count = 0
        self._closed = False

    @property
    def idle_connections(self) -> int:
        """How many connections are kept open and unused."""
        return self._idle_count

    async def send(
        self,
        target: Target,
        envelope_from: str,
        rcpt: str,
        data: bytes,
        before_data: BeforeData | None = None,
    ) -> Outcome | Busy:
        """Carry one message, as Connection.send does, connecting where needed; `total` bounds both together.

        A kept connection that turns out closed before MAIL was answered is replaced once, unseen. Failures to
        connect are outcomes too.
        """
        mailbox = self._mailboxes.setdefault(target, _Lane(asyncio.Semaphore(self._per_mailbox)))
        host_key = (target.host, target.port)
        host = self._hosts.setdefault(host_key, _Lane(asyncio.Semaphore(self._per_host)))
        mailbox.users += 1
        host.users += 1
        try:
            if not await self._enter(mailbox, host):
                return Busy()
            try:
                return await self._carry(mailbox, target, envelope_from, rcpt, data, before_data)
            finally:
                host.room.release()
                mailbox.room.release()
        finally:
            mailbox.users -= 1
            host.users -= 1
            self._forget(target, mailbox)
            if not host.users:
                del self._hosts[host_key]

    async def close(self) -> None:
        """Close what is idle, and each connection in use when its transaction ends."""
        self._closed = True
        for target, lane in list(self._mailboxes.items()):
            while lane.idle:
                self._take(lane).quit()
            self._forget(target, lane)

    async def _enter(self, mailbox: _Lane, host: _Lane) -> bool:
        if not mailbox.room.locked() and not host.room.locked():
            # Neither waits now, and what a deadline costs is felt in a burst.
            return await mailbox.room.acquire() and await host.room.acquire()
        try:
            async with asyncio.timeout(self._room_seconds):
                await mailbox.room.acquire()
                try:
                    await host.room.acquire()
                except BaseException:
                    mailbox.room.release()
                    raise
        except TimeoutError:
            return False
        return True

    async def _carry(
        self,
        lane: _Lane,
        target: Target,
        envelope_from: str,
        rcpt: str,
        data: bytes,
        before_data: BeforeData | None,
    ) -> Outcome:
        deadline = asyncio.get_running_loop().time() + self._timeouts.total
        kept = self._kept(lane)
        if kept is not None:
            outcome = await kept.send(envelope_from, rcpt, data, before_data, deadline)
            self._park(target, lane, kept)
            if not _was_stale(outcome):
                return outcome
        connection = Connection(target, self._hostname, self._timeouts, self._tls)
        failure = await connection.connect(deadline)
        if failure is not None:
            return failure
        outcome = await connection.send(envelope_from, rcpt, data, before_data, deadline)
        self._park(target, lane, connection)
        return outcome

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

    def _park(self, target: Target, lane: _Lane, connection: Connection) -> None:
        if not connection.usable:
            connection.close()
            return
        worn = connection.transactions >= self._messages_per_connection
        if self._closed or worn or self._idle_count >= _MAX_IDLE:
            connection.quit()
            return
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(self._idle_seconds, self._expire, target, lane)
        lane.idle.append(_Idle(connection, expiry))
        self._idle_count += 1

    def _expire(self, target: Target, lane: _Lane) -> None:
        """Close the connection longest idle: timers fire in the order in which they were set."""
        lane.idle.popleft().connection.quit()
        self._idle_count -= 1
        self._forget(target, lane)

    def _forget(self, target: Target, lane: _Lane) -> None:
        if not lane.users and not lane.idle and self._mailboxes.get(target) is lane:
            del self._mailboxes[target]


def _was_stale(outcome: Outcome) -> bool:
    """Say whether the server had given the connection up before MAIL: nothing was begun, a new one may do."""
    if isinstance(outcome, Broken):
        return outcome.phase is Phase.MAIL and not outcome.timed_out
    return isinstance(outcome, Deferred) and outcome.phase is Phase.MAIL and outcome.code == 421
