"""The watcher looks through a real mailbox for the copy of what is in doubt, and tells what it saw."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import DoubtView, WatchedMailbox
from chassis.errors import Retry
from chassis.hosts import Guard
from chassis.kafka import Record
from chassis.migrations import build
from chassis.oauth import Tokens, TokenStore
from chassis.secrets import Secrets
from chassis.store import Database
from chassis.testing import FrozenClock, fresh_database, fresh_name
from reply_detector.cursors import CursorStore
from reply_detector.doubted import Doubted
from reply_detector.imap import Account, Connection
from reply_detector.migrations import SCHEMA
from reply_detector.settings import WatcherSettings
from reply_detector.threads import Threads
from reply_detector.watch import Lines, Means, Watch
from segue_contracts.codec import decode
from segue_contracts.commands import Evidence, NoteEvidence, NoteProviderId
from segue_contracts.message import Message
from stack.client import eventually
from stack.dovecot import Dovecot

pytestmark = pytest.mark.stack

USERS = {f"ana{number}@ourco.example": "a secret" for number in range(10)}
OURS = "<mfrggzdfmztwq2lk@ourco.example>"
EVERYTHING = "Everything"


def mail(message_id: str, *headers: str) -> bytes:
    more = "".join(f"{header}\r\n" for header in headers)
    return (
        "From: Ana <ana@ourco.example>\r\nTo: Pat <pat@there.example>\r\nSubject: A job\r\n"
        f"Message-ID: {message_id}\r\n{more}\r\nHi Pat\r\n"
    ).encode()


@dataclass
class Told:
    """What Kafka was given; it may be away."""

    messages: list[Message] = field(default_factory=list)
    away: bool = False

    async def publish(self, records: Sequence[Record]) -> None:
        if self.away:
            raise Retry("Kafka is away")
        self.messages += [decode(r.topic, r.headers, r.value) for r in records]

    def notes(self) -> list[NoteEvidence]:
        return [each for each in self.messages if isinstance(each, NoteEvidence)]


@pytest.fixture(scope="module")
def server(dovecot_here: None) -> Iterator[Dovecot]:
    with Dovecot(USERS) as running:
        yield running


@pytest.fixture(scope="module")
def users() -> Iterator[str]:
    return iter(USERS)


@pytest.fixture
def user(users: Iterator[str], server: Dovecot) -> str:
    """Nobody else's, with a folder of everything beside Sent."""
    mine = next(users)
    with server.session(mine) as client:
        client.create_folder(EVERYTHING)
    return mine


@pytest.fixture
def line(server: Dovecot, user: str) -> Iterator[Connection]:
    account = Account(server.host, server.port, "none", user, USERS[user])
    opened = Connection(account, ssl.create_default_context(), Guard((ip_network("127.0.0.0/8"),)))
    opened.open()
    yield opened
    opened.close()
    opened.release()


# ---- the search ---------------------------------------------------------------------------------------


def test_the_folder_of_everything_is_known_by_its_use(line: Connection) -> None:
    assert line.folder_of_all() == EVERYTHING


@pytest.mark.parametrize("folder", ["Sent", EVERYTHING])
def test_a_copy_is_found_by_its_id(server: Dovecot, user: str, line: Connection, folder: str) -> None:
    server.append(user, mail("<another@ourco.example>"), folder)
    assert line.copy_of(folder, OURS) is None
    server.append(user, mail(OURS), folder)
    assert line.copy_of(folder, OURS) == OURS


def test_a_copy_that_its_provider_has_renamed_is_found_by_its_mark(
    server: Dovecot, user: str, line: Connection
) -> None:
    theirs = "<0102018f@provider.example>"
    server.append(user, mail(theirs, f"X-Segue-Dispatch: {OURS.strip('<>')}"), "Sent")
    assert line.copy_of("Sent", OURS) == theirs


def test_an_id_that_only_contains_ours_is_none_of_ours(server: Dovecot, user: str, line: Connection) -> None:
    """A search looks for parts."""
    server.append(user, mail(f"<x{OURS.strip('<>')}>", f"X-Segue-Dispatch: x{OURS.strip('<>')}"), "Sent")
    server.append(user, mail("<y@there.example>", f"References: {OURS}"), "Sent")
    assert line.copy_of("Sent", OURS) is None


# ---- the watch ----------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A mailbox with a delivery in doubt, and who watches it."""

    database: Database
    settings: WatcherSettings
    threads: Threads
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self.secrets = Secrets(self.settings)
        self.guard = Guard(self.settings.allowed_private_networks)
        self.tokens = Tokens(TokenStore(self.database), self.secrets, self.guard, Clock())
        self.store = CursorStore(self.database)

    async def connected(self, server: Dovecot, user: str) -> WatchedMailbox:
        mailbox = uuid4()
        account = server.account(user)
        account |= {"secret": self.secrets.encrypt(account.pop("password")), "auth": "password"}
        account["since"] = datetime.now(UTC)
        await self.database.collection(names.MAILBOXES).insert_one(
            {"_id": mailbox, "workspace_id": mailbox, "address": user, "imap": account}
        )
        (found,) = await self.store.watched()
        return found

    async def doubt(self, mailbox: WatchedMailbox, **changed: Any) -> str:
        dispatch = f"{uuid4()}:hello"
        delivery = {
            "_id": dispatch,
            "workspace_id": mailbox.workspace_id,
            "mailbox_id": mailbox.id,
            "state": "in_doubt",
            "message_id": OURS,
            "settled_at": datetime.now(UTC),
        }
        await self.database.collection(names.DELIVERIES).insert_one({**delivery, **changed})
        return dispatch

    @contextlib.asynccontextmanager
    async def watching(self, mailbox: WatchedMailbox) -> AsyncIterator[Watch]:
        watch = Watch(
            mailbox,
            Means(
                self.settings,
                Clock(),
                self.store,
                self.told,
                self.secrets.decrypt,
                ssl.create_default_context(),
                self.threads,
                Lines(10),
                self.guard,
                self.tokens,
            ),
        )
        task = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            watch.stop()
            await asyncio.wait_for(task, 15)

    async def noted(self, *, found: bool) -> list[NoteEvidence]:
        """What the sender is told, once it is told that."""

        async def notes() -> list[NoteEvidence]:
            return [each for each in self.told.notes() if each.found is found]

        return await eventually(notes, until=bool)


@pytest.fixture
async def scene(mongodb_uri: str) -> AsyncIterator[Scene]:
    settings = WatcherSettings(
        kafka_bootstrap_servers="nowhere:9092",
        mongodb_uri=SecretStr(mongodb_uri),
        mongodb_database=fresh_name(),
        secret_keys=SecretStr("a secret key for tests only"),
        imap_retry_seconds=0.05,
    )
    threads = Threads(4)
    async with fresh_database(settings) as database:
        await build(database, SCHEMA)
        yield Scene(database, settings, threads)
    threads.close()


async def test_a_copy_in_the_folder_of_everything_is_told_to_the_sender(
    scene: Scene, server: Dovecot, user: str
) -> None:
    server.append(user, mail("<0102@provider.example>", f"X-Segue-Dispatch: {OURS.strip('<>')}"), EVERYTHING)
    mailbox = await scene.connected(server, user)
    dispatch = await scene.doubt(mailbox)
    async with scene.watching(mailbox):
        [note] = await scene.noted(found=True)
    assert (note.dispatch_id, note.evidence) == (dispatch, Evidence.SENT_COPY)
    renamed = next(each for each in scene.told.messages if isinstance(each, NoteProviderId))
    assert (renamed.dispatch_id, renamed.provider_message_id) == (dispatch, "<0102@provider.example>")


async def test_without_a_copy_the_sender_is_told_where_was_looked_and_not_at_every_connection(
    scene: Scene, server: Dovecot, user: str
) -> None:
    mailbox = await scene.connected(server, user)
    await scene.doubt(mailbox)
    async with scene.watching(mailbox):
        [note] = await scene.noted(found=False)
        assert note.places == ["Sent", EVERYTHING]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        server.append(user, mail("<1@there.example>"))
        await eventually(lambda: scene.database.collection(names.INBOUND).find({}), until=bool)
    assert len(scene.told.notes()) == 1


async def test_what_somebody_has_decided_and_other_mailboxes_doubts_are_not_looked_for(
    scene: Scene, server: Dovecot, user: str
) -> None:
    mailbox = await scene.connected(server, user)
    await scene.doubt(mailbox, decision="stop", message_id="<1@ourco.example>")
    await scene.doubt(mailbox, mailbox_id=uuid4(), message_id="<2@ourco.example>")
    await scene.doubt(mailbox, workspace_id=uuid4(), message_id="<3@ourco.example>")
    await scene.doubt(mailbox, state="sent", message_id="<4@ourco.example>")
    assert await scene.store.doubts(mailbox, 10) == []


# ---- when ---------------------------------------------------------------------------------------------


@dataclass
class OneDoubt:
    """A database in which one delivery is in doubt."""

    doubt: DoubtView

    async def doubts(self, mailbox: WatchedMailbox, limit: int) -> list[DoubtView]:
        return [self.doubt]


async def test_it_is_looked_for_ever_more_rarely_and_again_at_once_where_kafka_was_away() -> None:
    clock, told, doubt = FrozenClock(), Told(), DoubtView("a:hello", OURS)
    mailbox: Any = type("Mailbox", (), {"id": UUID(int=1), "workspace_id": UUID(int=2)})
    doubt = DoubtView(f"{uuid4()}:hello", OURS)
    doubted = Doubted(mailbox, OneDoubt(doubt), told, clock, first_again_seconds=60.0)
    looks = 0
    for _ in range(60):
        looks += len(await doubted.due())
        clock.advance(60)
    assert looks == 6
    clock.advance(7200)
    told.away = True
    [due] = await doubted.due()
    await doubted.tell(due, OURS, ["Sent"])
    told.away = False
    [due] = await doubted.due()
    await doubted.tell(due, OURS, ["Sent"])
    assert [note.found for note in told.notes()] == [True]
