"""Watches one mailbox: what arrives or is sent is made durable, then pointed at, then the cursor moves."""

import asyncio
import contextlib
import logging
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Protocol, TypeVar

from chassis import faults, tracing
from chassis.clock import Clock
from chassis.documents import DoubtView, WatchedMailbox
from chassis.errors import Retry
from chassis.hosts import Guard
from chassis.inbound import inbound_document, pointer
from chassis.kafka import Record
from chassis.oauth import Access, AccessLost, NoAccess, Tokens
from chassis.retry import backoff
from chassis.telemetry import fields
from reply_detector import telemetry
from reply_detector.cursors import Cursor, Folder, Standing
from reply_detector.doubted import Doubted
from reply_detector.imap import INBOX, Account, Connection, Fetched, ImapError, Listed, Opened, Trouble
from reply_detector.settings import WatcherSettings
from reply_detector.threads import Threads

log = logging.getLogger(__name__)

Document = dict[str, Any]
T = TypeVar("T")

SLOW_SECONDS = 5.0
"""A server that takes so long for one step waits with its like from then on."""
SLOWEST_BYTES_PER_SECOND = 50_000
LOOK_UP_AT_ONCE = 500
GROUP_MESSAGES = 50
GROUP_BYTES = 1024 * 1024
"""Larger messages come one by one, and few of them at a time."""
CLOCKS_DIFFER = timedelta(minutes=5)
LOOK_BACK = timedelta(days=1)
"""After a folder was numbered anew; what was stored before is found to be there."""
SAY_WELL_SECONDS = 600.0
RETRY_CAP_SECONDS = 300.0
WRONG_PASSWORD_FACTOR = 15
"""Servers lock out who tries too often; a change of the mailbox's settings is tried at once."""
POINTER_SECONDS = 10.0
UNREADABLE_TRIES = 3


class State(StrEnum):
    """How a mailbox is watched at this moment."""

    CONNECTING = "connecting"
    IDLE = "idle"
    POLL = "poll"
    FAILING = "failing"


class Keeps(Protocol):
    """What a watch needs of the database."""

    async def standing(self, mailbox: WatchedMailbox) -> Standing: ...

    async def doubts(self, mailbox: WatchedMailbox, limit: int) -> list[DoubtView]: ...

    async def keep(self, inbound: Document, raw: bytes) -> bool: ...

    async def move(
        self, mailbox: WatchedMailbox, folder: Folder, before: Cursor | None, after: Cursor
    ) -> bool: ...

    async def well(self, mailbox: WatchedMailbox, at: datetime) -> None: ...

    async def failing(self, mailbox: WatchedMailbox, trouble: Trouble, words: str, at: datetime) -> None: ...


class Publishes(Protocol):
    """Returns once every record is durable; raises Retry otherwise."""

    def publish(self, records: Sequence[Record]) -> Awaitable[None]: ...


class Lines:
    """How many connections may be held open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[bool]:
        """For the block: whether there is room for one more."""
        held = self._held < self._limit
        self._held += held
        telemetry.CONNECTIONS.set(self._held)
        try:
            yield held
        finally:
            self._held -= held
            telemetry.CONNECTIONS.set(self._held)


@dataclass(frozen=True, slots=True)
class Means:
    """What all watches of a process share."""

    settings: WatcherSettings
    clock: Clock
    store: Keeps
    publisher: Publishes
    decrypt: Callable[[str], str]
    tls: ssl.SSLContext
    threads: Threads
    lines: Lines
    guard: Guard
    tokens: Tokens
    jitter: Callable[[], float] = random.random


class Overtaken(Exception):
    """Another process moved the cursor: it watches this mailbox too, or did until a moment ago."""


class Watch:
    """One mailbox, for as long as it is ours and its settings stay as they are."""

    def __init__(self, mailbox: WatchedMailbox, means: Means) -> None:
        self.mailbox = mailbox
        self.state = State.CONNECTING
        self._means = means
        self._standing = Standing({})
        self._woken = asyncio.Event()
        self._stopping = False
        self._suspect = False
        self._was_slow = False
        self._failures = 0
        self._is_known_well = False
        self._said_well_at = 0.0
        self._refused: Counter[tuple[Folder, int, int]] = Counter()
        again = means.settings.imap_poll_seconds
        self._doubted = Doubted(mailbox, means.store, means.publisher, means.clock, again)

    def stop(self) -> None:
        """End `run` after the message in work."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Watch until `stop`; raises nothing but its own cancellation."""
        first = True
        while not self._stopping:
            pause = 0.0
            try:
                if first:
                    await self._recall()
                    self._suspect, first = self._standing.failing, False
                await self._session()
            except Overtaken:
                telemetry.OVERTAKEN.labels("cursor").inc()
                first, pause = True, self._backoff(1)
            except ImapError as error:
                pause = await self._fail(error)
            except Retry as error:
                told = fields("watch.retry", mailbox_id=self.mailbox.id, error=str(error)[:300])
                log.warning("watching put off", extra=told)
                first, pause = True, self._backoff(1)
            except Exception:
                telemetry.FAILURES.labels("watch").inc()
                log.exception("watching failed", extra=fields("watch.bug", mailbox_id=self.mailbox.id))
                first, pause = True, self._backoff(1) * WRONG_PASSWORD_FACTOR
            await self._pause(pause)

    # ---- one connection -------------------------------------------------------------------------------

    async def _session(self) -> None:
        """From the connection to its end, or in poll without a line of our own until the next one is due."""
        self._was_slow = False
        account = await self._account()
        with self._means.lines.hold() as held:
            line = await self._opened(account)
            try:
                sent = await self._step(line, "folders", line.sent_folder)
                await self._look_at_all(line, sent)
                if held:
                    await self._stay(line, sent)
                else:
                    await self._step(line, "close", line.close)
            finally:
                line.release()
        if not held:
            await self._poll_pause()

    async def _opened(self, account: Account) -> Connection:
        """Connected and logged in. A token that is refused may have ended early: once, a new one is tried."""
        try:
            return await self._open(account)
        except ImapError as error:
            if error.trouble is not Trouble.CREDENTIALS or self.mailbox.imap.auth != "oauth2":
                raise
            fresh = await self._account(refused=account.password)
            if fresh == account:
                raise
        return await self._open(fresh)

    async def _open(self, account: Account) -> Connection:
        line = Connection(account, self._means.tls, self._means.guard)
        try:
            await self._step(line, "open", line.open)
        except BaseException:
            line.release()
            raise
        return line

    async def _stay(self, line: Connection, sent: str | None) -> None:
        """Look whenever the server says so, and at all folders now and then."""
        monotonic = self._means.clock.monotonic
        can_idle = await self._step(line, "capabilities", lambda: line.can_idle)
        due = monotonic() + self._poll_seconds()
        while not self._stopping:
            if not can_idle:
                await self._poll_pause()
            elif await self._idle(line, due - monotonic()):
                await self._look(line, Folder.INBOX, INBOX)
            if not self._stopping and (not can_idle or monotonic() >= due):
                await self._look_at_all(line, sent)
                due = monotonic() + self._poll_seconds()

    async def _idle(self, line: Connection, seconds: float) -> bool:
        """Wait for the server to speak; whether messages arrived."""
        self.state = State.IDLE
        if not await self._step(line, "idle", line.idle):
            loop, descriptor = asyncio.get_running_loop(), line.descriptor
            loop.add_reader(descriptor, self._woken.set)
            try:
                await self._pause(max(0.0, seconds))
            finally:
                loop.remove_reader(descriptor)
        if self._stopping:
            return False
        # A server may have told before it said that it idles.
        return await self._step(line, "done", line.done) or line.has_changed()

    async def _poll_pause(self) -> None:
        self.state = State.POLL
        await self._pause(self._poll_seconds())

    def _poll_seconds(self) -> float:
        """Not the same for all: they were all connected when the process began."""
        return self._means.settings.imap_poll_seconds * (0.8 + 0.4 * self._means.jitter())

    async def _look_at_all(self, line: Connection, sent: str | None) -> None:
        """Every folder, INBOX last: it is the one that is idled in."""
        if sent is not None and sent != INBOX:
            await self._look_at_sent(line, sent)
        await self._look_for_doubts(line, sent)
        await self._look(line, Folder.INBOX, INBOX)
        await self._succeed()

    async def _look_at_sent(self, line: Connection, name: str) -> None:
        """A Sent folder that can't be opened must not hide the answers."""
        try:
            await self._look(line, Folder.SENT, name)
        except ImapError as error:
            if error.trouble is not Trouble.REFUSED:
                raise
            telemetry.TROUBLES.labels(error.trouble.value).inc()
            log.warning("no sent folder", extra=fields("watch.no_sent", mailbox_id=self.mailbox.id))

    async def _look_for_doubts(self, line: Connection, sent: str | None) -> None:
        """Whether what is in doubt has left its copy. A search that hangs ends one connection, and is not
        made again for a while: it must not hide the answers.
        """
        doubts = await self._doubted.due()
        if not doubts:
            return
        of_all = await self._step(line, "folders", line.folder_of_all)
        places = list(dict.fromkeys(name for name in (sent, of_all) if name is not None))
        for doubt in doubts:
            await self._doubted.tell(doubt, *await self._copy_of(line, places, doubt))

    async def _copy_of(
        self, line: Connection, places: Sequence[str], doubt: DoubtView
    ) -> tuple[str | None, list[str]]:
        """Under which Message-ID there is a copy, and in which folders was looked."""
        looked: list[str] = []
        for place in places:
            try:
                seen = await self._step(line, "copies", partial(line.copy_of, place, doubt.message_id))
            except ImapError as error:
                if error.trouble is not Trouble.REFUSED:
                    raise
                telemetry.TROUBLES.labels(error.trouble.value).inc()
                continue
            looked.append(place)
            if seen is not None:
                return seen, looked
        return None, looked

    # ---- one folder -----------------------------------------------------------------------------------

    async def _look(self, line: Connection, folder: Folder, name: str) -> None:
        """Take everything that is behind the cursor."""
        while not self._stopping:
            opened = await self._step(line, "examine", partial(line.examine, name))
            cursor = await self._cursor(line, folder, name, opened)
            if opened.next_uid is None or opened.next_uid > cursor.uid + 1:
                await self._take(line, folder, cursor)
            if not line.has_changed():
                return

    async def _cursor(self, line: Connection, folder: Folder, name: str, opened: Opened) -> Cursor:
        known, since = self._standing.cursors.get(folder), self.mailbox.imap.since
        same = (name, opened.uidvalidity, since)
        if known is not None and (known.name, known.uidvalidity, known.since) == same:
            return known
        back = self._look_back(known)
        uid = await self._step(line, "begin", partial(line.last_uid_before, opened, back))
        if known is not None and known.since == since:
            telemetry.RENUMBERED.inc()
            told = fields("watch.renumbered", mailbox_id=self.mailbox.id, folder=folder.value)
            log.warning("folder read anew", extra=told)
        return await self._move(folder, known, Cursor(name, opened.uidvalidity, uid, since))

    def _look_back(self, known: Cursor | None) -> datetime:
        """From when on messages count in a folder whose numbers say nothing to us."""
        connected = self.mailbox.imap.since - CLOCKS_DIFFER
        looked_at = self._standing.looked_at
        if known is None or known.since != self.mailbox.imap.since or looked_at is None:
            return connected
        return max(connected, looked_at - LOOK_BACK)

    async def _take(self, line: Connection, folder: Folder, cursor: Cursor) -> None:
        uids = await self._step(line, "search", partial(line.uids_after, cursor.uid))
        for start in range(0, len(uids), LOOK_UP_AT_ONCE):
            batch = uids[start : start + LOOK_UP_AT_ONCE]
            for group in groups(await self._step(line, "sizes", partial(line.listed, batch))):
                cursor = await self._take_group(line, folder, cursor, group)
                if self._stopping:
                    return
            # What was removed between the search and now is passed over.
            cursor = await self._move(folder, cursor, replace(cursor, uid=max(cursor.uid, batch[-1])))

    async def _take_group(
        self, line: Connection, folder: Folder, cursor: Cursor, group: Sequence[Listed]
    ) -> Cursor:
        fetched = await self._fetch(line, folder, cursor, group)
        inbound = [await self._keep(folder, cursor, each) for each in fetched]
        await faults.point("watcher.stored")
        await self._point_at(inbound)
        await faults.point("watcher.pointed")
        moved = await self._move(folder, cursor, replace(cursor, uid=group[-1].uid))
        await faults.point("watcher.moved")
        return moved

    async def _fetch(
        self, line: Connection, folder: Folder, cursor: Cursor, group: Sequence[Listed]
    ) -> list[Fetched]:
        """The messages; one that its server refuses, time and again, must not hide those behind it."""
        size = sum(each.size for each in group)
        more = size / SLOWEST_BYTES_PER_SECOND
        try:
            return await self._step(
                line, "fetch", partial(line.fetch, group), more_seconds=more, large=size > GROUP_BYTES
            )
        except ImapError as error:
            if error.trouble is not Trouble.REFUSED:
                raise
            if len(group) > 1:
                each = [await self._fetch(line, folder, cursor, [one]) for one in group]
                return [fetched for some in each for fetched in some]
            self._pass_over(folder, cursor, group[0], error)
            return []

    def _pass_over(self, folder: Folder, cursor: Cursor, listed: Listed, error: ImapError) -> None:
        """Raises the error again until it has come often enough."""
        place = (folder, cursor.uidvalidity, listed.uid)
        self._refused[place] += 1
        if self._refused[place] < UNREADABLE_TRIES:
            raise error
        telemetry.UNREADABLE.inc()
        told = fields("watch.unreadable", mailbox_id=self.mailbox.id, folder=folder.value, uid=listed.uid)
        log.error("message passed over", extra=told)

    async def _keep(self, folder: Folder, cursor: Cursor, fetched: Fetched) -> Document:
        """Durable, when this returns."""
        inbound = arrival(self.mailbox, folder, cursor, fetched, self._means.clock.now())
        is_new = await self._means.store.keep(inbound, fetched.raw)
        telemetry.MESSAGES.labels(folder.value, "new" if is_new else "again").inc()
        if fetched.cut:
            telemetry.CUT.labels(folder.value).inc()
        arrived_at = fetched.listed.arrived_at
        if is_new and arrived_at is not None:
            lag = (self._means.clock.real_now() - arrived_at).total_seconds()
            telemetry.LAG_SECONDS.observe(max(0.0, lag))
        return inbound

    async def _point_at(self, inbound: Sequence[Document]) -> None:
        """Tell the detector; without Kafka its sweep finds them."""
        if not inbound:
            return
        now = self._means.clock.real_now()
        try:
            async with asyncio.timeout(POINTER_SECONDS):
                await self._means.publisher.publish([_record(each, now) for each in inbound])
        except (Retry, TimeoutError) as error:
            telemetry.POINTERS_LEFT.inc(len(inbound))
            told = fields("watch.pointers_left", count=len(inbound), error=str(error)[:300])
            log.warning("pointers left to the sweep", extra=told)

    async def _move(self, folder: Folder, before: Cursor | None, after: Cursor) -> Cursor:
        if before == after:
            return after
        if not await self._means.store.move(self.mailbox, folder, before, after):
            raise Overtaken
        # When the mailbox was last looked through stays as it is: the other folder may need it.
        self._standing = replace(self._standing, cursors={**self._standing.cursors, folder: after})
        return after

    # ---- how it goes ----------------------------------------------------------------------------------

    async def _recall(self) -> None:
        self._standing = await self._means.store.standing(self.mailbox)
        self._is_known_well = False

    async def _account(self, refused: str = "") -> Account:
        """How to log in now; `refused`: an access token that was not taken."""
        imap = self.mailbox.imap
        is_oauth = imap.auth in ("xoauth2", "oauth2")
        try:
            if imap.auth == "oauth2":
                password = await self._token(refused)
            else:
                password = self._means.decrypt(imap.secret or "")
            return Account(imap.host, imap.port, imap.security, imap.username, password, is_oauth)
        except ValueError as error:
            raise ImapError(Trouble.SETTINGS, str(error)) from error

    async def _token(self, refused: str) -> str:
        mailbox = self.mailbox
        if mailbox.oauth is None:
            raise ImapError(Trouble.SETTINGS, "the mailbox has no access to log in with")
        try:
            access = Access(mailbox.workspace_id, mailbox.id, mailbox.oauth)
            return await self._means.tokens.token(access, refused)
        except AccessLost as error:
            raise ImapError(Trouble.CREDENTIALS, str(error)) from error
        except NoAccess as error:
            raise ImapError(Trouble.BUSY, str(error)) from error

    async def _step(
        self,
        line: Connection,
        name: str,
        work: Callable[[], T],
        *,
        more_seconds: float = 0.0,
        large: bool = False,
    ) -> T:
        """One exchange with the server, in a thread."""
        began = self._means.clock.monotonic()
        seconds = self._means.settings.imap_step_seconds + more_seconds
        try:
            return await self._means.threads.run(
                work, seconds=seconds, cut=line.cut, suspect=large or self._suspect
            )
        except TimeoutError as error:
            raise ImapError(Trouble.SLOW) from error
        finally:
            took = self._means.clock.monotonic() - began
            telemetry.STEP_SECONDS.labels(name).observe(took)
            self._was_slow |= not large and took > SLOW_SECONDS

    async def _succeed(self) -> None:
        """Everything was looked through; said when it is news, and now and then."""
        self._suspect, self._was_slow, self._failures = self._was_slow, False, 0
        now = self._means.clock.monotonic()
        if self._is_known_well and now - self._said_well_at < SAY_WELL_SECONDS:
            return
        at = self._means.clock.real_now()
        await self._means.store.well(self.mailbox, at)
        self._standing = replace(self._standing, looked_at=at, failing=False)
        self._is_known_well, self._said_well_at = True, now

    async def _fail(self, error: ImapError) -> float:
        """Say why; how long to wait."""
        self.state, self._suspect, self._is_known_well = State.FAILING, True, False
        self._failures += 1
        telemetry.TROUBLES.labels(error.trouble.value).inc()
        told = fields(
            "watch.trouble",
            mailbox_id=self.mailbox.id,
            trouble=error.trouble.value,
            failures=self._failures,
        )
        log.warning("mailbox can't be watched", extra=told)
        # The first break of a connection is everyday life.
        if self._failures > 1 or error.trouble is not Trouble.DROPPED:
            with contextlib.suppress(Retry):
                now = self._means.clock.real_now()
                await self._means.store.failing(self.mailbox, error.trouble, error.words, now)
        slower = error.trouble in (Trouble.CREDENTIALS, Trouble.SETTINGS)
        return self._backoff(self._failures) * (WRONG_PASSWORD_FACTOR if slower else 1)

    def _backoff(self, failures: int) -> float:
        return backoff(
            failures,
            self._means.jitter(),
            base_seconds=self._means.settings.imap_retry_seconds,
            cap_seconds=RETRY_CAP_SECONDS,
        )

    async def _pause(self, seconds: float) -> None:
        """Wait, unless something wakes us."""
        if not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            self._woken.clear()


def groups(listed: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Neighbours that are fetched, stored and passed together; what is large goes alone."""
    group: list[Listed] = []
    size = 0
    for each in listed:
        if group and (len(group) >= GROUP_MESSAGES or size + each.size > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(each)
        size += each.size
    if group:
        yield group


def arrival(
    mailbox: WatchedMailbox, folder: Folder, cursor: Cursor, fetched: Fetched, now: datetime
) -> Document:
    """A message as it is stored: what every way in stores, the folder, and its name on its server."""
    inbound = inbound_document(mailbox.id, mailbox.workspace_id, fetched.raw, now, source="imap")
    inbound |= {
        "folder": folder.value,
        "imap": {"uidvalidity": cursor.uidvalidity, "uid": fetched.listed.uid},
    }
    return {**inbound, "cut_from": fetched.listed.size} if fetched.cut else inbound


def _record(inbound: Document, now: datetime) -> Record:
    context = tracing.moment(
        "message read", entry=True, inbound_id=inbound["_id"], mailbox_id=inbound["mailbox_id"]
    )
    return Record.of(pointer(inbound, now), context)
