"""SMTP that always knows how far it came: what a broken transaction may have done hangs on the step."""

import asyncio
import base64
import enum
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, Literal, TypeVar

from chassis.hosts import Guard
from chassis.oauth import AccessLost, AccessTokens, NoAccess, oauthbearer, xoauth2
from sender.smtp_wire import LineLost, NotSmtp, RawReply, Wire

Security = Literal["none", "starttls", "tls"]
_Done = TypeVar("_Done")
BeforeData = Callable[[], Awaitable[bool]]

_MAX_TEXT_CHARS: Final = 500
_AT_ONCE_BYTES: Final = 16 * 1024
"""A message up to here goes out with its final dot in one write: the socket takes it whole or not at all."""
_MAX_LINE_BYTES: Final = 998  # RFC 5321 4.5.3.1.6, without CRLF
_CLOSING: Final = 421  # RFC 5321 3.8: the server closes after it


class Phase(enum.StrEnum):
    """The step a transaction was in, in the order of RFC 5321."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # the command and its 354
    BODY = "body"  # bytes of the message, none of the final dot
    DOT = "dot"  # from the first byte of the final dot to its reply


_BEFORE_MAIL = frozenset({Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH})


class Fault(enum.StrEnum):
    """Whose fault a refusal is."""

    RECIPIENT = "recipient"  # this address can't be written to: a hard bounce
    POLICY = "policy"  # the server will not have us: our mailbox, not the prospect
    ACCESS = "access"  # who gave us access to the mailbox took it back
    CONTENT = "content"  # this message, whoever sends it
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply; `enhanced` is its RFC 3463 code such as `5.1.1`, or empty.

    `text` is its lines joined, made printable and cut to 500 characters. It may hold addresses: not for logs.
    """

    code: int
    enhanced: str
    text: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server took responsibility for the message, but for as many copies as it refused."""

    reply: Reply
    copies_refused: int = 0


@dataclass(frozen=True, slots=True)
class Deferred:
    """The server said: not now. Surely not accepted."""

    code: int
    enhanced: str
    text: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server said: never; or what it offers told us so before a byte was sent. Surely not accepted."""

    code: int
    enhanced: str
    text: str
    phase: Phase
    kind: Fault


@dataclass(frozen=True, slots=True)
class Broken:
    """The conversation ended without the reply that `phase` waits for."""

    phase: Phase
    text: str
    timed_out: bool = False

    @property
    def maybe_accepted(self) -> bool:
        """Say whether the server may have accepted the message (RFC 1047).

        Without its final dot it can't have: the body is flushed to the socket before the dot's first byte is
        written, and only then does the phase become DOT.
        """
        return self.phase is Phase.DOT


@dataclass(frozen=True, slots=True)
class Aborted:
    """`before_data` said no: the transaction was reset before DATA. Surely not accepted."""


Failure = Deferred | Rejected | Broken
Outcome = Accepted | Failure | Aborted


@dataclass(frozen=True, slots=True)
class Target:
    """A mailbox's submission server and who we are to it; hashable.

    `starttls` and `tls` are strict: without a certificate for `host` nothing is sent. With `tokens` the login
    is an access token of theirs. ValueError for a secret that would travel in clear beyond loopback.
    """

    host: str
    port: int
    security: Security = "starttls"
    username: str = ""
    password: str = field(default="", repr=False)
    tokens: AccessTokens | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.username and self.security == "none" and not _is_loopback(self.host):
            raise ValueError("a password needs TLS")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message to one recipient, as it travels.

    `sender`, `rcpt`: as wire_address gives them; an empty sender is the null path. `data`: CRLF lines of at
    most 998 octets, not dot-stuffed. `also`: who gets a copy; what becomes of it is never the outcome.
    """

    sender: str
    rcpt: str
    data: bytes
    also: tuple[str, ...] = ()


Following = Callable[[], Envelope | None]
"""Asked when a message goes out: the one that certainly follows it on this connection, if there is one."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of real time. Each bounds one whole reply, however it drips; `total` bounds a whole call.

    From DATA on the defaults are RFC 5321's (4.5.3.2); before it, where giving up loses nothing, shorter.
    """

    connect: float = 30
    banner: float = 60
    command: float = 60
    data: float = 120
    body: float = 180
    dot: float = 600
    reset: float = 5
    total: float = 900


class Connection:
    """One connection to one server, good for many transactions, one at a time.

    What leaves the conversation out of step closes it: `usable` says so. All blocking is bounded by the
    timeouts, but for a hook's own.
    """

    def __init__(
        self,
        target: Target,
        ehlo_hostname: str,
        timeouts: Timeouts,
        tls: ssl.SSLContext | None = None,
        guard: Guard | None = None,
    ) -> None:
        """`tls`: the context to verify the server with; default: the system's authorities. `guard`: what
        judges a host that a user named; None: the operator named it.
        """
        if not re.fullmatch(r"[A-Za-z0-9.:\[\]-]{1,255}", ehlo_hostname):
            raise ValueError("the EHLO name is no host name")
        self.transactions = 0
        self._copies_refused = 0
        self._target = target
        self._hostname = ehlo_hostname
        self._timeouts = timeouts
        self._tls = tls
        self._guard = guard
        self._wire = Wire()
        self._extensions: dict[str, str] = {}
        self._phase = Phase.CONNECT
        self._deadline = 0.0
        self._ahead: _Prepared | None = None  # whose MAIL and RCPT are written already

    @property
    def usable(self) -> bool:
        """Say whether a transaction may begin: open, and nothing unasked-for (a 421, an end) has come."""
        return self._wire.quiet

    @property
    def alive(self) -> bool:
        """Say whether the line is open."""
        return self._wire.alive

    async def connect(self, deadline: float | None = None) -> Failure | None:
        """Connect, greet, secure and log in; None is success.

        `deadline`: a loop time; default: `total` from now.
        """
        self._deadline = self._now() + self._timeouts.total if deadline is None else deadline
        return await self._guarded(self._open())

    async def send(
        self,
        envelope: Envelope,
        before_data: BeforeData | None = None,
        deadline: float | None = None,
        following: Following | None = None,
    ) -> Outcome:
        """Carry one message to one recipient, whose the outcome is, and to those who get a copy.

        `before_data` is awaited, unbounded, between the recipient's acceptance and DATA: False resets the
        transaction, an exception closes the connection and passes. `deadline` as for `connect`. Where the
        server offers PIPELINING, MAIL and RCPT of what is `following` go out in one write with the final dot
        (RFC 2920 3.1); it must then be the next that is sent here. ValueError for an envelope that would
        break the protocol. Cancelled, it closes the connection, and from DATA on nobody knows.
        """
        ahead, self._ahead = self._ahead, None
        written = ahead is not None and ahead.envelope is envelope
        prepared = ahead if ahead is not None and written else _prepared(envelope)
        self._deadline = self._now() + self._timeouts.total if deadline is None else deadline
        self._phase = Phase.MAIL
        self.transactions += 1
        self._copies_refused = 0
        if written and not self._wire.alive:
            return Broken(self._phase, self._wire.why_ended)
        if refused := self._beyond_its_limits(prepared):
            return refused
        outcome: Outcome | None = await self._guarded(self._envelope(prepared, written=written))
        if outcome is None and before_data is not None and not await self._ask(before_data):
            outcome = Aborted()
        if outcome is None:
            outcome = await self._guarded(self._message(prepared.stuffed, following))
        if not isinstance(outcome, Accepted) and self._ahead is None:
            await self._reset()
        return outcome

    def quit(self) -> None:
        """Say QUIT and close, without waiting for the answer."""
        self._wire.goodbye()

    def close(self) -> None:
        """Cut the connection."""
        self._wire.abort()

    # --- connecting

    async def _open(self) -> None:
        self._phase = Phase.CONNECT
        async with asyncio.timeout_at(self._until(self._timeouts.connect)):
            await self._wire.open(self._target.host, self._target.port, self._guard)
            if self._target.security == "tls":
                await self._wire.secure(self._tls or _system_tls(), self._target.host)
        self._phase = Phase.BANNER
        await self._reply(self._timeouts.banner)
        await self._greet()
        if self._target.security == "starttls":
            await self._start_tls()
            await self._greet()
        if self._target.username:
            await self._log_in()

    async def _greet(self) -> None:
        self._phase = Phase.EHLO
        _, lines = await self._command(f"EHLO {self._hostname}")
        offers = (line.strip().partition(" ") for line in lines[1:])
        self._extensions = {keyword.upper(): parameters.upper() for keyword, _, parameters in offers}

    async def _start_tls(self) -> None:
        self._phase = Phase.STARTTLS
        if "STARTTLS" not in self._extensions:
            raise _Refused(Broken(self._phase, "the server does not offer STARTTLS"))
        await self._command("STARTTLS")
        if not self._wire.quiet:
            # What came with the 220 came in clear, and would be read as if from inside TLS (CVE-2011-0411).
            raise _Refused(Broken(self._phase, "the server spoke on before TLS began"))
        async with asyncio.timeout_at(self._until(self._timeouts.connect)):
            await self._wire.secure(self._tls or _system_tls(), self._target.host)

    async def _log_in(self) -> None:
        self._phase = Phase.AUTH
        offered = self._extensions.get("AUTH", "").split()
        username, password = self._target.username, self._target.password
        if self._target.tokens is not None and ("XOAUTH2" in offered or "OAUTHBEARER" in offered):
            await self._log_in_with_token(self._target.tokens, "XOAUTH2" in offered)
        elif self._target.tokens is None and "PLAIN" in offered:
            await self._command(f"AUTH PLAIN {_base64(f'{chr(0)}{username}{chr(0)}{password}')}")
        elif self._target.tokens is None and "LOGIN" in offered:
            await self._command("AUTH LOGIN", wanted=3)
            await self._command(_base64(username), wanted=3)
            await self._command(_base64(password))
        else:
            raise _Refused(
                Rejected(504, "5.5.4", "the server offers no way to log in", self._phase, Fault.POLICY)
            )

    async def _log_in_with_token(self, tokens: AccessTokens, is_xoauth2: bool) -> None:
        """A token that is refused may have been ended before its time: once, a new one is tried."""
        token = await self._token(tokens)
        reply = await self._authenticate(token, is_xoauth2)
        if reply[0] // 100 == 5:
            fresh = await self._token(tokens, refused=token)
            if fresh != token:
                reply = await self._authenticate(fresh, is_xoauth2)
        self._require(reply, 2)

    async def _token(self, tokens: AccessTokens, refused: str = "") -> str:
        try:
            async with asyncio.timeout_at(self._until(self._timeouts.command)):
                return await tokens.token(refused=refused)
        except AccessLost as error:
            raise _Refused(Rejected(535, "5.7.8", str(error), self._phase, Fault.ACCESS)) from None
        except NoAccess as error:
            raise _Refused(Broken(self._phase, str(error))) from None

    async def _authenticate(self, token: str, is_xoauth2: bool) -> RawReply:
        target = self._target
        if is_xoauth2:
            first, then = f"XOAUTH2 {_base64(xoauth2(target.username, token))}", ""
        else:
            response = oauthbearer(target.username, target.host, target.port, token)
            first, then = f"OAUTHBEARER {_base64(response)}", _base64("\1")
        reply = await self._exchange(f"AUTH {first}")
        if reply[0] // 100 == 3:
            # The details of a failure; the reply with its code comes after an answer that says nothing.
            reply = await self._exchange(then)
        return reply

    # --- one transaction

    def _beyond_its_limits(self, prepared: "_Prepared") -> Rejected | None:
        """Say what this server can't take, by what it offered: no refusal is worth a round trip."""
        limit = self._extensions.get("SIZE", "")
        if limit.isdecimal() and 0 < int(limit) < len(prepared.stuffed):
            return Rejected(552, "5.3.4", "over the server's size limit", self._phase, Fault.CONTENT)
        if not prepared.addresses.isascii() and "SMTPUTF8" not in self._extensions:
            return Rejected(553, "5.6.7", "the server does not offer SMTPUTF8", self._phase, Fault.OTHER)
        if not prepared.stuffed.isascii() and "8BITMIME" not in self._extensions:
            return Rejected(554, "5.6.3", "the server does not offer 8BITMIME", self._phase, Fault.OTHER)
        return None

    async def _envelope(self, prepared: "_Prepared", *, written: bool) -> None:
        if "PIPELINING" not in self._extensions:
            await self._command(self._mail_command(prepared))
            self._phase = Phase.RCPT
            await self._command(prepared.rcpt_commands[0])
            for command in prepared.rcpt_commands[1:]:
                self._note_copy(await self._exchange(command))
            return
        if not written:
            self._say(self._commands(prepared))
        await self._pipelined_replies(len(prepared.rcpt_commands) - 1)

    def _ahead_of(self, following: Following | None) -> bytes:
        """MAIL and RCPT of the message that follows, if they may go along with a final dot."""
        envelope = following() if following is not None and "PIPELINING" in self._extensions else None
        if envelope is None:
            return b""
        try:
            prepared = _prepared(envelope)
        except ValueError:
            return b""  # which it will be told at its own turn
        if self._beyond_its_limits(prepared):
            return b""
        self._ahead = prepared
        return self._commands(prepared)

    def _commands(self, prepared: "_Prepared") -> bytes:
        lines = (self._mail_command(prepared), *prepared.rcpt_commands, "")
        return "\r\n".join(lines).encode()

    def _mail_command(self, prepared: "_Prepared") -> str:
        return prepared.mail_command + self._mail_parameters(prepared.addresses, prepared.stuffed)

    async def _pipelined_replies(self, copies: int) -> None:
        try:
            await self._reply(self._timeouts.command)
        except _Refused:
            # The replies to RCPT come all the same, and would be taken for later ones'.
            await self._skip_replies(1 + copies)
            raise
        self._phase = Phase.RCPT
        try:
            await self._reply(self._timeouts.command)
        except _Refused:
            await self._skip_replies(copies)
            raise
        for _ in range(copies):
            self._note_copy(await self._wire.reply(self._until(self._timeouts.command)))

    async def _skip_replies(self, count: int) -> None:
        try:
            for _ in range(count):
                await self._wire.reply(min(self._now() + self._timeouts.reset, self._deadline))
        except (TimeoutError, LineLost, NotSmtp):
            self.close()

    def _note_copy(self, raw: RawReply) -> None:
        """Go on without a copy that is refused; a server that closes is one that closes for all."""
        if raw[0] == _CLOSING:
            raise _Refused(classify(_reply_of(raw), self._phase))
        self._copies_refused += raw[0] // 100 != 2

    def _mail_parameters(self, addresses: str, data: bytes) -> str:
        parameters = f" SIZE={len(data)}" if "SIZE" in self._extensions else ""
        if not data.isascii():
            parameters += " BODY=8BITMIME"
        return parameters if addresses.isascii() else f"{parameters} SMTPUTF8"

    async def _ask(self, before_data: BeforeData) -> bool:
        try:
            return await before_data()
        except BaseException:
            self.close()
            raise

    async def _message(self, stuffed: bytes, following: Following | None) -> Accepted:
        self._phase = Phase.DATA
        await self._command("DATA", wanted=3)
        self._phase = Phase.BODY
        if len(stuffed) > _AT_ONCE_BYTES:
            until = self._until(self._timeouts.body)
            self._say(stuffed)
            await self._wire.drained(until)
            stuffed = b""
        until = self._until(self._timeouts.dot)
        self._say(stuffed + b".\r\n" + self._ahead_of(following))
        self._phase = Phase.DOT  # from here to the reply nobody but the server knows
        reply = _reply_of(self._require(await self._wire.reply(until), 2))
        return Accepted(reply, self._copies_refused)

    async def _reset(self) -> None:
        """Leave the connection as after EHLO, or closed."""
        if not self.usable:
            self.close()
            return
        until = min(self._now() + self._timeouts.reset, self._deadline)
        try:
            self._wire.write(b"RSET\r\n")
            code, _ = await self._wire.reply(until)
        except (TimeoutError, LineLost, NotSmtp):
            code = 0
        except BaseException:
            self.close()
            raise
        if code // 100 != 2:
            self.close()

    # --- steps

    async def _command(self, line: str, wanted: int = 2) -> RawReply:
        return self._require(await self._exchange(line), wanted)

    async def _exchange(self, line: str) -> RawReply:
        until = self._until(self._timeouts.data if line == "DATA" else self._timeouts.command)
        self._say(f"{line}\r\n".encode())
        return await self._wire.reply(until)

    def _say(self, data: bytes) -> None:
        """Write when it is our turn: a server that spoke unasked (421 mostly) answered something else."""
        if not self._wire.quiet:
            raise LineLost(self._wire.why_ended or "the server spoke out of turn")
        self._wire.write(data)

    async def _reply(self, seconds: float) -> RawReply:
        return self._require(await self._wire.reply(self._until(seconds)), 2)

    def _require(self, raw: RawReply, wanted: int) -> RawReply:
        if raw[0] // 100 != wanted:
            raise _Refused(classify(_reply_of(raw), self._phase))
        return raw

    def _until(self, seconds: float) -> float:
        """Give the loop time at which a step begun now is over; TimeoutError if it should not begin."""
        now = self._now()
        if self._deadline <= now:
            raise TimeoutError
        return min(now + seconds, self._deadline)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _guarded(self, steps: Awaitable[_Done]) -> _Done | Failure:
        """Carry out `steps` and name how they failed; what leaves the conversation out of step closes it."""
        try:
            return await steps
        except _Refused as refused:
            failure = refused.failure
            if self._phase in _BEFORE_MAIL or not _in_step(failure):
                self.close()
            return failure
        except TimeoutError:
            self.close()
            return Broken(self._phase, "no answer in time", timed_out=True)
        except (LineLost, NotSmtp, OSError) as error:
            last_words = self._wire.last_words()
            self.close()
            if last_words is not None:
                return classify(_reply_of(last_words), self._phase)
            return Broken(self._phase, _printable(str(error) or type(error).__name__))
        except BaseException:
            self.close()
            raise


class _Refused(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def _in_step(failure: Failure) -> bool:
    if isinstance(failure, Broken) or failure.phase is Phase.BODY:
        return False
    return failure.code != _CLOSING


# --- what a refusal means


def classify(reply: Reply, phase: Phase) -> Failure:
    """Judge a reply that is not the one wanted, by phase, enhanced code (RFC 3463) and code, in this order.

    4xx, a full mailbox (5.2.2) and a bare 552 are deferrals. A reply out of place is Broken.
    """
    if reply.code // 100 == 4:
        return Deferred(reply.code, reply.enhanced, reply.text, phase)
    if reply.code // 100 != 5:
        return Broken(phase, f"a reply out of place: {reply.code} {reply.text}")
    fault = _fault(reply, phase)
    if fault is None:
        return Deferred(reply.code, reply.enhanced, reply.text, phase)
    return Rejected(reply.code, reply.enhanced, reply.text, phase, fault)


_SENDER_CODES = frozenset({"5.1.7", "5.1.8"})
_CONTENT_CODES = frozenset({"5.2.3", "5.3.4"})
_RECIPIENT_SUBJECTS = frozenset({"1", "2", "4"})  # addressing, mailbox, routing
_LOGIN_CODES = frozenset({530, 534, 535, 538})  # RFC 4954 6
_UNUSABLE_ADDRESS = frozenset({521, 550, 551, 553, 554, 556})  # RFC 5321 4.2.2, RFC 7504


def _fault(reply: Reply, phase: Phase) -> Fault | None:
    """Say whose fault a 5xx is; None: nobody's for long."""
    subject = reply.enhanced[2:].partition(".")[0]
    if phase in _BEFORE_MAIL or subject == "7" or reply.enhanced in _SENDER_CODES:
        return Fault.POLICY
    if reply.code in _LOGIN_CODES:
        return Fault.POLICY
    if reply.enhanced in _CONTENT_CODES or subject == "6":
        return Fault.CONTENT
    if reply.enhanced == "5.2.2" or reply.code == 552:
        return None
    if phase is Phase.MAIL:
        # Nobody but we has been named yet; below 550 it is our grammar.
        return Fault.POLICY if reply.code >= 550 else Fault.OTHER
    if subject in _RECIPIENT_SUBJECTS or (phase is Phase.RCPT and reply.code in _UNUSABLE_ADDRESS):
        return Fault.RECIPIENT
    return Fault.CONTENT if phase in (Phase.BODY, Phase.DOT) else Fault.OTHER


_ENHANCED = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9.])")


def _reply_of(raw: RawReply) -> Reply:
    code, lines = raw
    found = _ENHANCED.match(lines[0])
    enhanced = found.group() if found and int(found.group(1)) == code // 100 else ""
    return Reply(code, enhanced, _printable(" ".join(line.strip() for line in lines[:20])))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_TEXT_CHARS])


# --- what is written


def dot_stuffed(data: bytes) -> bytes:
    """Double the dots that begin lines (RFC 5321 4.5.2) and end the last line; the final dot comes after it.

    ValueError for a bare CR or LF, where servers disagree on what ends a message (CVE-2023-51764), and for
    lines over 998 octets.
    """
    ends = data.count(b"\r\n")
    if data.count(b"\n") != ends or data.count(b"\r") != ends:
        raise ValueError("the message has a bare CR or LF")
    if len(data) > _MAX_LINE_BYTES and max(map(len, data.split(b"\r\n"))) > _MAX_LINE_BYTES:
        raise ValueError(f"the message has a line over {_MAX_LINE_BYTES} octets")
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed if stuffed.endswith(b"\r\n") or not stuffed else stuffed + b"\r\n"


_PATH = re.compile(r"[^\x00-\x20\x7f-\x9f<>\u2028\u2029\ud800-\udfff]{1,320}")


@dataclass(frozen=True, slots=True)
class _Prepared:
    envelope: Envelope
    mail_command: str
    rcpt_commands: tuple[str, ...]
    addresses: str
    stuffed: bytes


def _prepared(envelope: Envelope) -> _Prepared:
    sender, recipients = envelope.sender, (envelope.rcpt, *envelope.also)
    if not all(map(_PATH.fullmatch, recipients)) or (sender and not _PATH.fullmatch(sender)):
        raise ValueError("not an address for an envelope")
    return _Prepared(
        envelope,
        f"MAIL FROM:<{sender}>",
        tuple(f"RCPT TO:<{each}>" for each in recipients),
        "".join((sender, *recipients)),
        dot_stuffed(envelope.data),
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=1)
def _system_tls() -> ssl.SSLContext:
    return ssl.create_default_context()
