"""The line to an SMTP server: whole replies in, bytes out, and knowledge of what has left this process."""

import asyncio
import re
import ssl
from typing import Final, cast

from chassis.hosts import SMTP_PORTS, Guard

_MAX_REPLY_BYTES: Final = 64 * 1024
_HAPPY_EYEBALLS_SECONDS: Final = 0.25  # RFC 8305 5
_TLS_SHUTDOWN_SECONDS: Final = 2
_DRAIN_LOOK_SECONDS: Final = 0.02
_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)

RawReply = tuple[int, list[str]]


class LineLost(Exception):
    """The server closed or broke the connection, or it never was open."""


class NotSmtp(Exception):
    """What came is no SMTP reply, or too long for one."""


class Wire(asyncio.Protocol):
    """One connection; every wait ends at a loop time given by the caller with TimeoutError.

    A write goes through to the socket before `drained` returns: no buffer of this process holds any of it.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._socket: asyncio.Transport | None = None  # the TCP connection, also beneath TLS
        self._buffer = bytearray()
        self._lines: list[str] = []  # of a reply that has not ended
        self._code = b""
        self._taken_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._ended = ""  # why nothing more will come; empty while it may

    @property
    def why_ended(self) -> str:
        """Say why nothing more will come; empty while it may."""
        return self._ended

    @property
    def quiet(self) -> bool:
        """Say whether the line is open and nothing is waiting to be read."""
        return self._alive() and not self._buffer and not self._lines

    @property
    def alive(self) -> bool:
        """Say whether the line is open."""
        return self._alive()

    async def open(self, host: str, port: int, guard: Guard | None = None) -> None:
        """Connect, only where the guard allows it; raises OSError."""
        loop = asyncio.get_running_loop()
        if guard is None:
            transport, _ = await loop.create_connection(
                lambda: self, host, port, happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS
            )
        else:
            connected = await guard.connected(host, port, SMTP_PORTS)
            transport, _ = await loop.create_connection(lambda: self, sock=connected)
        transport.set_write_buffer_limits(high=0)
        self._socket = transport

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Put TLS around the open line, checking the certificate for `host`; raises OSError, LineLost."""
        if not self._alive():
            raise LineLost(self._ended)
        transport = await asyncio.get_running_loop().start_tls(
            cast(asyncio.WriteTransport, self._transport),
            self,
            context,
            server_hostname=host,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
        )
        if transport is None:
            raise LineLost("the connection was closed during the TLS handshake")
        self._transport = transport
        # Not 0: the TLS layer then pauses on an empty buffer too, and resumes only at the next write.
        self._transport.set_write_buffer_limits(high=1, low=0)

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; LineLost if surely none of them left."""
        if not self._alive():
            raise LineLost(self._ended)
        assert self._transport is not None
        self._transport.write(data)
        if not self._alive():
            raise LineLost(self._ended or "the connection broke")

    async def drained(self, until: float) -> None:
        """Wait until the socket took everything; raises LineLost if it no longer can, TimeoutError."""
        loop = asyncio.get_running_loop()
        while self._alive() and (self._paused or self._held_back()):
            if loop.time() >= until:
                raise TimeoutError
            # Looked at again and again: the TLS layer tells nobody when the transport below it is done.
            loop.call_later(_DRAIN_LOOK_SECONDS, self._wake)
            await self._wait(until)
        if not self._alive():
            raise LineLost(self._ended or "the connection broke")

    async def reply(self, until: float) -> RawReply:
        """Wait for one whole reply: its code and its lines' text; raises LineLost, NotSmtp, TimeoutError."""
        while True:
            reply = self._take_reply()
            if reply is not None:
                return reply
            if not self._alive():
                raise LineLost(self._ended)
            await self._wait(until)

    def last_words(self) -> RawReply | None:
        """Take a reply that came before the end, if there is a whole one."""
        try:
            return self._take_reply()
        except NotSmtp:
            return None

    def goodbye(self) -> None:
        """Send QUIT and close behind it; its answer says nothing that is not known."""
        if self._alive():
            assert self._transport is not None
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    def abort(self) -> None:
        """Cut the line at once."""
        if self._transport is not None:
            self._transport.abort()
        if self._socket is not None:
            self._socket.abort()

    def _alive(self) -> bool:
        if self._transport is None or self._ended or self._transport.is_closing():
            return False
        return self._socket is None or not self._socket.is_closing()

    def _held_back(self) -> bool:
        return self._socket is not None and self._socket.get_write_buffer_size() > 0

    async def _wait(self, until: float) -> None:
        """Sleep until anything happened on the line, or `until` came.

        One timer serves many waits, because setting one costs more than the rest of a transaction's step:
        when it fires before the time of the present wait, it is set again.
        """
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        self._until = until
        if self._timer is not None and self._timer.when() > until:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(until, self._expire)
        try:
            await waiter
        finally:
            self._waiter = None

    def _expire(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        loop = self._waiter.get_loop()
        if loop.time() < self._until:
            self._timer = loop.call_at(self._until, self._expire)
        else:
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_reply(self) -> RawReply | None:
        """Look at each line once: a server may send them byte by byte."""
        while (end := self._buffer.find(b"\n")) >= 0:
            found = _REPLY_LINE.fullmatch(self._buffer[:end].rstrip(b"\r"))
            if found is None:
                raise NotSmtp("the server's answer is not SMTP")
            code, more, text = found.groups(b"")
            if self._lines and code != self._code:  # RFC 5321 4.2.1; which of them it means nobody knows
                raise NotSmtp("the lines of the server's answer have different codes")
            del self._buffer[: end + 1]  # not before: what is no SMTP stays, and stays none
            self._code = code
            self._lines.append(text.decode("utf-8", "replace"))
            self._taken_bytes += end
            if self._taken_bytes > _MAX_REPLY_BYTES:
                break
            if more != b"-":
                lines, self._lines, self._taken_bytes = self._lines, [], 0
                return int(code), lines
        if self._taken_bytes + len(self._buffer) > _MAX_REPLY_BYTES:
            raise NotSmtp("the server's answer does not end")
        return None

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > 2 * _MAX_REPLY_BYTES:
            self.abort()  # nobody asked for this much, and nobody may be waiting who would stop it
        self._wake()

    def eof_received(self) -> bool:
        self._ended = self._ended or "the server closed the connection"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ended = self._ended or (f"the connection broke: {exc}" if exc else "the connection was closed")
        self._wake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()
