"""One connection to one mailbox: blocking, for a thread; any thread may cut it."""

import contextlib
import imaplib
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesHeaderParser
from enum import StrEnum
from typing import Any

from imapclient import IMAPClient
from imapclient.exceptions import (
    CapabilityError,
    IMAPClientAbortError,
    IMAPClientError,
    LoginError,
    ProtocolError,
)
from imapclient.imapclient import ALL, SENT, SocketTimeout

from chassis.hosts import IMAP_PORTS, Guard
from chassis.inbound import MAX_MESSAGE_BYTES
from chassis.oauth import oauthbearer, xoauth2
from chassis.telemetry import fields

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
"""Of silence. How long a whole step may take is its caller's to say, who cuts the connection then."""
HEAD_BYTES = 1024 * 1024
"""What is taken of a message that is too large: the headers, and the text where programs put it, first."""
LITERAL_SLACK_BYTES = 64 * 1024
SIZES_AT_ONCE = 500
BACK_DAYS = timedelta(days=1)
"""SEARCH SINCE knows days only, of a zone that is the server's."""
WORDS_LIMIT_CHARS = 200
INBOX = "INBOX"
MARK_HEADER = "X-Segue-Dispatch"
COPIES_LOOKED_AT = 20
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TEMPORARY = re.compile(
    r"\[(?:UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\]|too many|temporar|try again|rate limit|throttl", re.IGNORECASE
)

logging.getLogger("imapclient").setLevel(logging.WARNING)  # below, it writes out what people wrote


class Trouble(StrEnum):
    """Why a mailbox can't be watched right now; a closed vocabulary, for metrics and people."""

    CREDENTIALS = "credentials"  # the server does not accept them
    UNREACHABLE = "unreachable"  # no connection: name, network, nobody listening
    CERTIFICATE = "certificate"  # TLS did not come about
    DROPPED = "dropped"  # the server ended the connection
    SLOW = "slow"  # an answer took too long
    BUSY = "busy"  # the server says that it is temporary
    REFUSED = "refused"  # the server said no to a command that every server takes
    SETTINGS = "settings"  # what is stored can't be used


class ImapError(Exception):
    """Something is in the way; `words` are the server's or the system's own, cut."""

    def __init__(self, trouble: Trouble, words: str = "") -> None:
        super().__init__(f"{trouble.value}: {words}" if words else trouble.value)
        self.trouble = trouble
        self.words = words[:WORDS_LIMIT_CHARS]


@dataclass(frozen=True, slots=True)
class Account:
    """Where and as whom; with `oauth` the password is an access token.

    ValueError for one whose password would travel in clear beyond loopback.
    """

    host: str
    port: int
    security: str  # tls | starttls | none
    username: str
    password: str = field(repr=False)
    oauth: bool = False

    def __post_init__(self) -> None:
        if self.security not in ("tls", "starttls") and self.host not in LOOPBACK:
            raise ValueError("a password needs TLS")


@dataclass(frozen=True, slots=True)
class Opened:
    """What the server says of a folder; `next_uid` is None where it does not say."""

    uidvalidity: int
    next_uid: int | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A message that is there: its size, and when the server received it, where that can be read."""

    uid: int
    size: int
    arrived_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A message's bytes; `cut`: only the first of them."""

    listed: Listed
    raw: bytes
    cut: bool


class Connection:
    """A session, read-only: nothing that it does marks a message as seen. Every method raises ImapError."""

    def __init__(self, account: Account, tls: ssl.SSLContext, guard: Guard) -> None:
        self._account = account
        self._tls = tls
        self._guard = guard
        self._client: Any = None
        self._opening: socket.socket | None = None
        self._is_cut = False
        self._exists = 0

    def open(self) -> None:
        """Connect and log in."""
        with self._told():
            self._client = _Client(self._account, self._tls, self._guard, self._began)
            if self._account.security == "starttls":
                self._client.starttls(self._tls)
            self._log_in()
        if self._opening is not None:
            self._opening.close()
            self._opening = None

    def sent_folder(self) -> str | None:
        """The folder that holds what was sent: by special use, else by a usual name. None where there is
        none, or where the list of folders can't be read: answers don't depend on it.
        """
        return self._special(SENT)

    def folder_of_all(self) -> str | None:
        """The folder that holds every message of the mailbox, where the server has one (RFC 6154)."""
        return self._special(ALL)

    def copy_of(self, folder: str, message_id: str) -> str | None:
        """The Message-ID of a message in the folder that is ours by its id, or by the mark that repeats it
        where a provider wrote another one; None if there is none. Goes to the folder.
        """
        mark = message_id.strip("<>")
        with self._told():
            self._client.select_folder(folder, readonly=True)
            found = self._client.search(
                ["OR", "HEADER", "Message-ID", message_id, "HEADER", MARK_HEADER, mark]
            )
            # A search looks for parts of a header.
            for names in self._names(sorted(found)[:COPIES_LOOKED_AT]):
                if message_id == names.get("Message-ID") or mark == names.get(MARK_HEADER):
                    return names.get("Message-ID") or message_id
        return None

    def examine(self, folder: str) -> Opened:
        """Go to a folder."""
        with self._told():
            told = self._client.select_folder(folder, readonly=True)
        self._exists = told.get(b"EXISTS", 0)
        return Opened(int(told.get(b"UIDVALIDITY", 0)), told.get(b"UIDNEXT"))

    def uids_after(self, uid: int) -> list[int]:
        """What the folder holds above a UID, in order."""
        with self._told():
            # `n:*` names the last message even where its UID is below n (RFC 3501 6.4.8).
            return sorted(found for found in self._client.search(["UID", f"{uid + 1}:*"]) if found > uid)

    def last_uid_before(self, opened: Opened, since: datetime) -> int:
        """The UID after which everything that arrived since then is found; nothing older is behind it but
        what was put into the folder out of turn.
        """
        with self._told():
            # The end comes first: what arrives after it is found by the search or lies behind the end.
            end = opened.next_uid - 1 if opened.next_uid is not None else self._last_uid()
            recent = sorted(self._client.search(["SINCE", (since - BACK_DAYS).date()]))
            for listed in self._list(recent):
                if listed.arrived_at is None or listed.arrived_at >= since:
                    return min(listed.uid - 1, end)
            return end

    def listed(self, uids: Sequence[int]) -> list[Listed]:
        """Those of them that are still there, in order."""
        with self._told():
            return self._list(uids)

    def fetch(self, listed: Sequence[Listed]) -> list[Fetched]:
        """The messages, in order, without those that were removed meanwhile.

        One that is too large, or that the server can't hand out whole, comes cut; one that it can't hand out
        at all is ImapError REFUSED.
        """
        with self._told():
            return [fetched for each in listed if (fetched := self._fetch(each)) is not None]

    def idle(self) -> bool:
        """Ask to be told; whether there is something to hear already, else `descriptor` becomes readable."""
        with self._told():
            imap = self._client._imap
            self._client._idle_tag = imap._command("IDLE")
            told = False
            while imap._get_response() is not None:
                told = True  # a server may report before it says that it idles
            return told or self._has_buffered()

    def done(self) -> bool:
        """End idling; whether messages arrived."""
        with self._told():
            _, told = self._client.idle_done()
        return any(len(each) > 1 and each[1] in (b"EXISTS", b"RECENT") for each in told)

    def has_changed(self) -> bool:
        """Whether the server has mentioned another number of messages since the folder was opened, or since
        this was asked: it does so in the answer to any command, and then not again when idling begins.
        """
        counts = self._client._imap.untagged_responses.pop("EXISTS", [])
        return any(int(count) != self._exists for count in counts)

    @property
    def can_idle(self) -> bool:
        """Whether the server tells of new messages by itself; may ask it."""
        with self._told():
            return bool(self._client.has_capability("IDLE"))

    @property
    def descriptor(self) -> int:
        """For a selector, while idling."""
        return int(self._client.socket().fileno())

    def close(self) -> None:
        """End the session as one should; never raises."""
        with contextlib.suppress(Exception):
            if self._client is not None and not self._is_cut:
                self._client.logout()
        self.cut()

    def cut(self) -> None:
        """End the connection from any thread, also while it is being opened: who reads it fails at once."""
        self._is_cut = True
        opening, self._opening = self._opening, None
        if opening is not None:
            with contextlib.suppress(OSError):
                opening.shutdown(socket.SHUT_RDWR)
            opening.close()
        if self._client is not None:
            with contextlib.suppress(OSError, ValueError):
                # Not the TLS socket's own method: that would take its state from under the reader.
                socket.socket.shutdown(self._client.socket(), socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the descriptors back, once no thread uses them any more."""
        self.cut()
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.shutdown()

    # ---- steps ----------------------------------------------------------------------------------------

    def _began(self, opening: socket.socket) -> None:
        self._opening = opening
        if self._is_cut:
            self.cut()

    def _log_in(self) -> None:
        account = self._account
        offers = self._client.capabilities()
        if account.oauth and b"AUTH=OAUTHBEARER" in offers and b"AUTH=XOAUTH2" not in offers:
            response = oauthbearer(account.username, account.host, account.port, account.password)
            self._client.sasl_login("OAUTHBEARER", _saying(response, then="\1"))
        elif account.oauth:
            self._client.sasl_login("XOAUTH2", _saying(xoauth2(account.username, account.password), then=""))
        else:
            self._client.login(account.username, account.password)
        self._client.normalise_times = False

    def _last_uid(self) -> int:
        everything: list[int] = self._client.search("ALL")
        return max(everything, default=0)

    def _list(self, uids: Sequence[int]) -> list[Listed]:
        found: list[Listed] = []
        for start in range(0, len(uids), SIZES_AT_ONCE):
            batch = uids[start : start + SIZES_AT_ONCE]
            told = self._sizes(batch)
            found += [
                Listed(uid, told[uid][b"RFC822.SIZE"], _aware(told[uid].get(b"INTERNALDATE")))
                for uid in batch
                if b"RFC822.SIZE" in told.get(uid, {})
            ]
        return found

    def _special(self, use: bytes) -> str | None:
        with self._told():
            try:
                name: str | None = self._client.find_special_folder(use)
            except IMAPClientAbortError:
                raise
            except (IMAPClientError, ValueError, LookupError):
                log.warning("folders can't be listed", extra=fields("imap.no_list"))
                return None
            return name

    def _names(self, uids: Sequence[int]) -> Iterator[dict[str, str]]:
        """Under which names these messages go: their Message-ID and our mark, each where it is there."""
        told = self._client.fetch(uids, [f"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID {MARK_HEADER.upper()})]"])
        for uid in uids:
            raw = next((value for key, value in told.get(uid, {}).items() if key.startswith(b"BODY[")), None)
            headers = BytesHeaderParser().parsebytes(raw or b"")
            yield {name: str(headers[name]).strip() for name in ("Message-ID", MARK_HEADER) if headers[name]}

    def _sizes(self, uids: Sequence[int]) -> Any:
        try:
            return self._client.fetch(uids, ["RFC822.SIZE", "INTERNALDATE"])
        except ValueError:  # a date that is none must not hide the mailbox
            return self._client.fetch(uids, ["RFC822.SIZE"])

    def _fetch(self, listed: Listed) -> Fetched | None:
        if listed.size > MAX_MESSAGE_BYTES:
            return self._first_part(listed)
        try:
            raw = self._part(listed.uid, "BODY.PEEK[]", b"BODY[]")
        except IMAPClientAbortError:
            raise
        except IMAPClientError as refused:
            log.warning("a message can't be had whole", extra=fields("imap.refused_body"))
            return self._headers(listed, refused)
        if raw is not None:
            return Fetched(listed, raw, cut=False)
        if self._client.fetch([listed.uid], ["UID"]).get(listed.uid):
            raise ImapError(Trouble.REFUSED, "a message is there and has no content")
        return None

    def _first_part(self, listed: Listed) -> Fetched | None:
        raw = self._part(listed.uid, f"BODY.PEEK[]<0.{HEAD_BYTES}>", b"BODY[]<0>")
        return Fetched(listed, raw, cut=True) if raw is not None else None

    def _headers(self, listed: Listed, refused: IMAPClientError) -> Fetched | None:
        raw = self._part(listed.uid, "BODY.PEEK[HEADER]", b"BODY[HEADER]")
        if raw is None:
            raise refused
        return Fetched(listed, raw, cut=True)

    def _part(self, uid: int, what: str, key: bytes) -> bytes | None:
        told = self._client.fetch([uid], [what])
        raw = told.get(uid, {}).get(key)
        return bytes(raw) if raw is not None else None

    def _has_buffered(self) -> bool:
        """Whether something that was received waits in this process, where no selector sees it."""
        sock = self._client.socket()
        sock.settimeout(0)
        try:
            return bool(self._client._imap.file.peek(1))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            sock.settimeout(READ_SECONDS)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Within the block, what goes wrong gets its name."""
        try:
            yield
        except ImapError:
            raise
        except Exception as error:
            if self._is_cut:
                raise ImapError(Trouble.SLOW) from error
            trouble = trouble_of(error)
            if trouble is None:
                raise
            raise ImapError(trouble, _words(error)) from error


def trouble_of(error: Exception) -> Trouble | None:
    """The name of what went wrong; None for a bug of ours."""
    if isinstance(error, IMAPClientError):
        return _protocol_trouble(error)
    if isinstance(error, ssl.SSLError):
        return Trouble.CERTIFICATE
    if isinstance(error, TimeoutError):
        return Trouble.SLOW
    if isinstance(error, ConnectionResetError | BrokenPipeError | EOFError):
        return Trouble.DROPPED
    if isinstance(error, OSError | UnicodeError):  # a host name that can't be one raises the latter
        return Trouble.UNREACHABLE
    return None


def _protocol_trouble(error: IMAPClientError) -> Trouble:
    if isinstance(error, IMAPClientAbortError):
        return Trouble.DROPPED
    if isinstance(error, LoginError) and isinstance(error.__context__, IMAPClientAbortError):
        return Trouble.DROPPED
    if isinstance(error, LoginError):
        return Trouble.BUSY if _TEMPORARY.search(str(error)) else Trouble.CREDENTIALS
    if isinstance(error, CapabilityError | ProtocolError):
        return Trouble.REFUSED
    return Trouble.BUSY if _TEMPORARY.search(str(error)) else Trouble.REFUSED


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:WORDS_LIMIT_CHARS]


def _aware(told: datetime | None) -> datetime | None:
    if told is None:
        return None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def _saying(response: str, then: str) -> Callable[[bytes], str]:
    """Say the response, and to the details of a failure what lets the server say no (RFC 7628 3.2.3)."""
    left = iter((response,))
    return lambda _challenge: next(left, then)


class _Client(IMAPClient):  # type: ignore[misc]  # the library has no annotations
    """IMAPClient over a connection that tells of itself as soon as there is one to cut."""

    def __init__(
        self,
        account: Account,
        tls: ssl.SSLContext,
        guard: Guard,
        began: Callable[[socket.socket], None],
    ) -> None:
        self._tls, self._guard, self._began = tls, guard, began
        timeout = SocketTimeout(CONNECT_SECONDS, READ_SECONDS)
        implicit = account.security == "tls"
        super().__init__(account.host, account.port, ssl=implicit, ssl_context=tls, timeout=timeout)

    def _create_IMAP4(self) -> "_Wire":
        return _Wire(self.host, self.port, self._tls if self.ssl else None, self._guard, self._began)


class _Wire(imaplib.IMAP4):
    """The connection itself."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        guard: Guard,
        began: Callable[[socket.socket], None],
    ) -> None:
        self._tls, self._guard, self._began = tls, guard, began
        super().__init__(host, port, CONNECT_SECONDS)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        sock = self._guard.connected_blocking(self.host, self.port, IMAP_PORTS, seconds=CONNECT_SECONDS)
        self._began(sock.dup())  # another descriptor of it, that outlives the handshake's change of hands
        sock.settimeout(READ_SECONDS)
        if self._tls is None:
            return sock
        try:
            return self._tls.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise

    def read(self, size: int) -> bytes:
        """A literal; the server must not choose how much memory we use."""
        if size > MAX_MESSAGE_BYTES + LITERAL_SLACK_BYTES:
            raise self.abort(f"a literal of {size} bytes")
        return super().read(size)
