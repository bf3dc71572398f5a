"""Watching a mailbox on a real Dovecot and a real MongoDB: what arrives is stored once, whatever happens."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from imapclient import IMAPClient
from pydantic import SecretStr

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import WatchedMailbox, WatchingView
from chassis.errors import Retry
from chassis.hosts import Guard
from chassis.inbound import MAX_MESSAGE_BYTES, inbound_document
from chassis.kafka import Record
from chassis.migrations import build
from chassis.oauth import Tokens, TokenStore
from chassis.secrets import Secrets
from chassis.store import Database
from chassis.testing import fresh_database, fresh_name
from reply_detector import imap
from reply_detector.classify import classify
from reply_detector.cursors import CursorStore
from reply_detector.migrations import SCHEMA
from reply_detector.settings import WatcherSettings
from reply_detector.threads import Threads
from reply_detector.watch import Lines, Means, State, Watch
from segue_contracts.codec import decode
from segue_contracts.events import InboundMessage
from segue_contracts.topics import INBOUND_MESSAGES
from stack.client import eventually
from stack.dovecot import Dovecot
from stack.tokens import TokenServer

pytestmark = pytest.mark.stack

ANA = "ana@ourco.example"
BEN = "ben@ourco.example"
USERS = {ANA: "a secret", BEN: "another"}


def mail(number: int = 1, *, body: str = "Yes, let us talk.", subject: str = "Re: a job") -> bytes:
    return (
        f"From: Pat <pat@there.example>\r\nTo: Ana <{ANA}>\r\nSubject: {subject}\r\n"
        f"Message-ID: <{number}@there.example>\r\nIn-Reply-To: <hello@ourco.example>\r\n"
        f"Date: Mon, 23 Nov 2026 09:29:00 +0000\r\n\r\n{body}\r\n"
    ).encode()


class Pointers:
    """What Kafka was given; it may be away."""

    def __init__(self) -> None:
        self.inbound: list[UUID] = []
        self.away = False
        self.breaks = 0

    async def publish(self, records: Sequence[Record]) -> None:
        if self.away:
            raise Retry("Kafka is away")
        if self.breaks:
            self.breaks -= 1
            raise RuntimeError("the process is about to end")
        for record in records:
            message: InboundMessage = decode(INBOUND_MESSAGES.name, record.headers, record.value)
            self.inbound.append(message.inbound_id)


@dataclass
class Scene:
    """A database with connected mailboxes, and watches of them."""

    database: Database
    settings: WatcherSettings
    threads: Threads
    pointers: Pointers = field(default_factory=Pointers)
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    connections: int = 10

    def __post_init__(self) -> None:
        self.secrets = Secrets(self.settings)
        self.guard = Guard(self.settings.allowed_private_networks)
        self.tokens = Tokens(TokenStore(self.database), self.secrets, self.guard, Clock())
        self.store = CursorStore(self.database)

    async def connected(
        self,
        server: Dovecot,
        user: str = ANA,
        *,
        password: str | None = None,
        oauth: dict[str, Any] | None = None,
        **other: Any,
    ) -> WatchedMailbox:
        """As the api stores it; `oauth`: what a provider granted, to log in with."""
        mailbox = uuid4()
        settings = server.account(user, **other)
        settings["secret"] = self.secrets.encrypt(password or settings.pop("password"))
        settings.pop("password", None)
        now = datetime.now(UTC)
        grant: dict[str, Any] = {}
        if oauth is not None:
            settings |= {"auth": "oauth2", "secret": None}
            hidden = {name: self.secrets.encrypt(oauth[name]) for name in ("client_secret", "refresh_token")}
            grant = {"oauth": {**oauth, **hidden, "granted_at": now}}
        imap_document = {"auth": "password", "since": now, **settings}
        await self.database.collection(names.MAILBOXES).insert_one(
            {
                "_id": mailbox,
                "workspace_id": mailbox,
                "address": f"{mailbox}.{user}",
                "imap": imap_document,
                **grant,
            }
        )
        (found,) = (each for each in await self.store.watched() if each.id == mailbox)
        return found

    def watch(self, mailbox: WatchedMailbox, store: Any = None) -> Watch:
        return Watch(
            mailbox,
            Means(
                self.settings,
                Clock(),
                store or self.store,
                self.pointers,
                self.secrets.decrypt,
                self.tls,
                self.threads,
                Lines(self.connections),
                self.guard,
                self.tokens,
            ),
        )

    @contextlib.asynccontextmanager
    async def watching(self, mailbox: WatchedMailbox, store: Any = None) -> AsyncIterator[Watch]:
        """For the block; the mailbox was looked through once."""
        watch = self.watch(mailbox, store)
        task = asyncio.create_task(watch.run())
        try:
            await eventually(lambda: self.how(mailbox), until=lambda how: how is not None)
            yield watch
        finally:
            watch.stop()
            await asyncio.wait_for(task, 15)

    async def how(self, mailbox: WatchedMailbox) -> WatchingView | None:
        doc = await self.database.collection(names.MAILBOX_CURSORS).find_one({"_id": mailbox.id})
        told = None if doc is None else WatchingView.read(doc)
        return told if told is not None and (told.looked_at or told.failing_since) else None

    async def stored(self, mailbox: WatchedMailbox) -> list[dict[str, Any]]:
        return await self.database.collection(names.INBOUND).find(
            {"mailbox_id": mailbox.id}, sort=[("received_at", 1)]
        )

    async def arrived(self, mailbox: WatchedMailbox, count: int) -> list[dict[str, Any]]:
        """What is stored, once it is so much."""
        return await eventually(lambda: self.stored(mailbox), until=lambda found: len(found) >= count)

    async def cursor(self, mailbox: WatchedMailbox, folder: str = "inbox") -> int:
        doc = await self.database.collection(names.MAILBOX_CURSORS).find_one({"_id": mailbox.id})
        return int(doc[folder]["uid"]) if doc and folder in doc else 0

    async def passed(self, mailbox: WatchedMailbox, uid: int, folder: str = "inbox") -> None:
        await eventually(lambda: self.cursor(mailbox, folder), until=lambda found: found >= uid)


@pytest.fixture(scope="module")
def shared_server(dovecot_here: None) -> Iterator[Dovecot]:
    with Dovecot(USERS) as server:
        yield server


@pytest.fixture
def server(dovecot_here: None) -> Iterator[Dovecot]:
    """A server that the test may harm, with empty mailboxes."""
    with Dovecot(USERS) as server:
        yield server


@pytest.fixture
async def scene(mongodb_uri: str) -> AsyncIterator[Scene]:
    settings = WatcherSettings(
        kafka_bootstrap_servers="nobody asks",
        mongodb_uri=SecretStr(mongodb_uri),
        mongodb_database=fresh_name(),
        secret_keys=SecretStr("a secret key for tests only"),
        imap_poll_seconds=30.0,
        imap_retry_seconds=0.2,
    )
    threads = Threads(4)
    async with fresh_database(settings) as database:
        scene = Scene(database, settings, threads)
        await build(database, SCHEMA)
        yield scene
    threads.close()


async def test_what_arrives_is_stored_as_a_webhook_stores_it_and_pointed_at_while_idling(
    scene: Scene, server: Dovecot
) -> None:
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox) as watch:
        await eventually(lambda: asyncio.sleep(0, watch.state), until=lambda state: state is State.IDLE)
        server.append(ANA, mail())
        (found,) = await scene.arrived(mailbox, 1)
    expected = inbound_document(mailbox.id, mailbox.workspace_id, mail(), found["received_at"], source="imap")
    assert {name: found[name] for name in expected} == expected
    assert bytes(found["raw"]) == mail()
    assert (found["folder"], found["imap"]["uid"]) == ("inbox", 1)
    assert scene.pointers.inbound == [found["_id"]]


async def test_the_same_message_by_webhook_and_by_imap_is_one(scene: Scene, server: Dovecot) -> None:
    mailbox = await scene.connected(server)
    by_webhook = inbound_document(
        mailbox.id, mailbox.workspace_id, mail(), datetime.now(UTC), source="webhook"
    )
    assert await scene.store.keep(by_webhook, mail())
    async with scene.watching(mailbox):
        server.append(ANA, mail())
        await scene.passed(mailbox, 1)
    (found,) = await scene.stored(mailbox)
    assert found["source"] == "webhook"


async def test_what_was_there_before_the_mailbox_was_connected_is_not_looked_at(
    scene: Scene, server: Dovecot
) -> None:
    yesterday = datetime.now() - timedelta(days=1)  # noqa: DTZ005 - the library's APPEND wants it so
    for number in (1, 2):
        server.append(ANA, mail(number), at=yesterday)
    mailbox = await scene.connected(server)
    server.append(ANA, mail(3))  # connected, but not watched yet
    async with scene.watching(mailbox):
        (found,) = await scene.arrived(mailbox, 1)
    assert found["imap"]["uid"] == 3


@pytest.mark.parametrize("after", ["select_folder", "search"])
async def test_what_arrives_while_the_first_look_begins_is_not_taken_for_old(
    scene: Scene, server: Dovecot, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    original = getattr(IMAPClient, after)
    arrived: list[int] = []

    def and_then_it_arrives(client: IMAPClient, *given: Any, **named: Any) -> Any:
        told = original(client, *given, **named)
        if not arrived:
            arrived.append(server.append(ANA, mail()))
        return told

    monkeypatch.setattr("reply_detector.imap.Connection.sent_folder", lambda _: None)
    monkeypatch.setattr(IMAPClient, after, and_then_it_arrives)
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        await scene.arrived(mailbox, 1)


async def test_what_arrived_while_nobody_watched_is_found_in_order(scene: Scene, server: Dovecot) -> None:
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        server.append(ANA, mail(1))
        await scene.passed(mailbox, 1)
    for number in (2, 3, 4):
        server.append(ANA, mail(number))
    async with scene.watching(mailbox):
        await scene.passed(mailbox, 4)
    assert [each["imap"]["uid"] for each in await scene.stored(mailbox)] == [1, 2, 3, 4]


async def test_the_copy_in_the_sent_folder_arrives_as_sent(scene: Scene, server: Dovecot) -> None:
    mailbox = await scene.connected(server)
    own = mail(1, subject="a job").replace(b"Pat <pat@there.example>", b"Ana <ana@ourco.example>")
    server.append(ANA, own, "Sent")
    async with scene.watching(mailbox):
        (found,) = await scene.arrived(mailbox, 1)
    assert (found["folder"], bytes(found["raw"])) == ("sent", own)


async def test_a_sent_folder_that_can_not_be_opened_does_not_hide_the_answers(
    scene: Scene, server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reply_detector.imap.Connection.sent_folder", lambda _: "Gone")
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        server.append(ANA, mail())
        await scene.arrived(mailbox, 1)


async def test_a_folder_that_was_numbered_anew_is_read_anew_and_nothing_is_stored_twice(
    scene: Scene, server: Dovecot
) -> None:
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        for number in (1, 2):
            server.append(ANA, mail(number))
        await scene.passed(mailbox, 2)
        await asyncio.to_thread(server.renumber, ANA)
        server.append(ANA, mail(3))
        await scene.arrived(mailbox, 3)
    assert len(await scene.stored(mailbox)) == 3


async def test_a_folder_that_was_numbered_anew_in_a_long_absence_is_read_from_the_last_look_on(
    scene: Scene, server: Dovecot
) -> None:
    def days_ago(days: int) -> datetime:
        return datetime.now() - timedelta(days=days)  # noqa: DTZ005 - the library's APPEND wants it so

    mailbox = await scene.connected(server, since=datetime.now(UTC) - timedelta(days=30))
    async with scene.watching(mailbox):
        pass
    cursors = scene.database.collection(names.MAILBOX_CURSORS)
    looked_at = datetime.now(UTC) - timedelta(days=10)
    await cursors.update_one({"_id": mailbox.id}, {"$set": {"looked_at": looked_at}})
    server.append(ANA, mail(1), at=days_ago(20))
    server.append(ANA, mail(2), at=days_ago(5))
    server.append(ANA, mail(3), "Sent", at=days_ago(5))
    await asyncio.to_thread(server.renumber, ANA)
    async with scene.watching(mailbox):
        await scene.arrived(mailbox, 2)
        await scene.passed(mailbox, 2)
    assert {(each["folder"], each["imap"]["uid"]) for each in await scene.stored(mailbox)} == {
        ("inbox", 2),
        ("sent", 1),
    }


async def test_a_server_that_goes_and_comes_back_is_watched_again(scene: Scene, server: Dovecot) -> None:
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        await asyncio.to_thread(server.kill)

        async def failing() -> bool:
            how = await scene.how(mailbox)
            return how is not None and how.trouble in ("unreachable", "dropped")

        await eventually(failing, until=bool)
        await asyncio.to_thread(server.start)
        server.append(ANA, mail())
        await scene.arrived(mailbox, 1)
        how = await eventually(
            lambda: scene.how(mailbox), until=lambda how: how is not None and not how.trouble
        )
    assert how is not None
    assert how.failing_since is None


async def test_a_wrong_password_is_told_and_is_no_bother_to_others(
    scene: Scene, shared_server: Dovecot
) -> None:
    locked_out = await scene.connected(shared_server, BEN, password="wrong")
    fine = await scene.connected(shared_server)
    async with scene.watching(locked_out), scene.watching(fine):
        how = await eventually(lambda: scene.how(locked_out), until=lambda how: how is not None)
        shared_server.append(ANA, mail(50))
        await scene.arrived(fine, 1)
    assert how is not None
    assert (how.trouble, how.looked_at) == ("credentials", None)
    assert "AUTHENTICATIONFAILED" in how.words


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_tls_is_verified(scene: Scene, server: Dovecot, security: str) -> None:
    port = server.tls_port if security == "tls" else server.port
    mailbox = await scene.connected(server, security=security, port=port)
    async with scene.watching(mailbox):
        how = await scene.how(mailbox)
        assert how is not None
        assert how.trouble == "certificate"
    scene.tls = server.client_context()
    async with scene.watching(mailbox):
        server.append(ANA, mail())
        await scene.arrived(mailbox, 1)


async def test_without_room_for_another_connection_a_mailbox_is_polled(scene: Scene, server: Dovecot) -> None:
    scene.connections = 0
    scene.settings = scene.settings.model_copy(update={"imap_poll_seconds": 0.5})
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox) as watch:
        await eventually(lambda: asyncio.sleep(0, watch.state), until=lambda state: state is State.POLL)
        server.append(ANA, mail())
        await scene.arrived(mailbox, 1)


async def test_of_a_message_that_is_too_large_the_head_is_kept_and_is_still_a_reply(
    scene: Scene, server: Dovecot
) -> None:
    line = "QUJD" * 19 + "\r\n"
    attachment = line * (MAX_MESSAGE_BYTES // len(line) + 1000)
    raw = mail().replace(
        b"\r\n\r\nYes, let us talk.\r\n",
        b'\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
        b"--x\r\nContent-Type: text/plain\r\n\r\nYes, let us talk.\r\n"
        b"--x\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + attachment.encode()
        + b"--x--\r\n",
    )
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        server.append(ANA, raw)
        server.append(ANA, mail(2))
        large, small = await scene.arrived(mailbox, 2)
    assert small["imap"]["uid"] == 2
    assert (large["cut_from"], large["size"]) == (len(raw), imap.HEAD_BYTES)
    kept = await scene.database.files().get(large["raw_file"])
    assert kept == raw[: imap.HEAD_BYTES]
    verdict = classify(kept)
    assert (verdict.kind.value, verdict.text) == ("reply", "Yes, let us talk.")


async def test_a_message_of_some_megabytes_is_kept_whole(scene: Scene, server: Dovecot) -> None:
    raw = mail(body="long\r\n" * 700_000)
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        server.append(ANA, raw)
        (found,) = await scene.arrived(mailbox, 1)
    assert await scene.database.files().get(found["raw_file"]) == raw


async def test_a_message_that_its_server_writes_differently_the_next_time_is_one_and_leaves_no_file(
    scene: Scene, server: Dovecot
) -> None:
    mailbox = await scene.connected(server)
    boundaries = [mail(body=f"--{boundary}\r\n" * 20_000) for boundary in ("one", "two")]
    place = {"folder": "inbox", "imap": {"uidvalidity": 7, "uid": 1}}
    now = datetime.now(UTC)
    kept = [
        await scene.store.keep(
            {**inbound_document(mailbox.id, mailbox.workspace_id, raw, now, source="imap"), **place}, raw
        )
        for raw in boundaries
    ]
    assert kept == [True, False]
    assert await scene.database.collection("files.files").count({}, limit=2) == 1


async def test_messages_that_are_removed_while_they_are_fetched_are_passed_over(
    scene: Scene, server: Dovecot
) -> None:
    mailbox = await scene.connected(server)
    for number in (1, 2, 3):
        server.append(ANA, mail(number))
    removed = asyncio.Event()

    class Meanwhile(imap.Connection):
        def fetch(self, listed: Sequence[imap.Listed]) -> list[imap.Fetched]:
            if not removed.is_set():
                removed.set()
                with server.session(ANA) as client:
                    client.select_folder("INBOX")
                    client.delete_messages([2])
                    client.expunge()
            return super().fetch(listed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reply_detector.watch.Connection", Meanwhile)
        async with scene.watching(mailbox):
            await scene.passed(mailbox, 3)
    assert [each["imap"]["uid"] for each in await scene.stored(mailbox)] == [1, 3]


async def test_a_message_that_its_server_never_hands_out_does_not_hide_those_behind_it(
    scene: Scene, server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(imap.Connection):
        def fetch(self, listed: Sequence[imap.Listed]) -> list[imap.Fetched]:
            if any(each.uid == 2 for each in listed):
                raise imap.ImapError(imap.Trouble.REFUSED, "NO it could not be converted")
            return super().fetch(listed)

    monkeypatch.setattr("reply_detector.watch.Connection", Refusing)
    mailbox = await scene.connected(server)
    for number in (1, 2, 3):
        server.append(ANA, mail(number))
    async with scene.watching(mailbox):
        await scene.passed(mailbox, 3)
    assert [each["imap"]["uid"] for each in await scene.stored(mailbox)] == [1, 3]


async def test_a_server_that_does_not_tell_is_asked(
    scene: Scene, server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reply_detector.imap.Connection.can_idle", False)
    scene.settings = scene.settings.model_copy(update={"imap_poll_seconds": 0.5})
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        for number in (1, 2):
            server.append(ANA, mail(number))
            await scene.arrived(mailbox, number)


async def test_an_access_token_opens_a_mailbox_and_an_old_one_does_not(
    scene: Scene, dovecot_here: None
) -> None:
    async def introspect(request: web.Request) -> web.Response:
        token = (await request.post())["token"]
        return web.json_response({"active": token == "a token", "username": ANA})

    application = web.Application()
    application.router.add_post("/", introspect)
    async with TestServer(application) as authority:
        with Dovecot(USERS, introspection_url=str(authority.make_url("/"))) as server:
            old = await scene.connected(server, auth="xoauth2", password="an old token")
            async with scene.watching(old):
                how = await scene.how(old)
            assert how is not None
            assert how.trouble == "credentials"
            mailbox = await scene.connected(server, auth="xoauth2", password="a token")
            async with scene.watching(mailbox):
                server.append(ANA, mail())
                await scene.arrived(mailbox, 1)


@pytest.mark.parametrize("bearer", ["xoauth2", "oauthbearer"])
async def test_an_access_token_that_has_ended_is_replaced_while_a_mailbox_is_watched(
    scene: Scene, dovecot_here: None, bearer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.oauth.YOUNG", timedelta(0))
    async with TokenServer(rotates=True) as provider:
        with Dovecot(USERS, introspection_url=provider.introspection_url, bearer=bearer) as server:
            mailbox = await scene.connected(server, oauth=provider.granted(ANA))
            async with scene.watching(mailbox):
                server.append(ANA, mail())
                await scene.arrived(mailbox, 1)
                provider.expire()
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                server.append(ANA, mail(2))
                await scene.arrived(mailbox, 2)
            assert len(provider.asked) == 2
            await scene.tokens.close()


async def test_access_that_was_taken_back_is_told(scene: Scene, server: Dovecot) -> None:
    async with TokenServer() as provider:
        mailbox = await scene.connected(server, oauth=provider.granted(ANA))
        provider.take_back(ANA)
        async with scene.watching(mailbox):
            how = await scene.how(mailbox)
        await scene.tokens.close()
    assert how is not None
    assert (how.trouble, how.words) == ("credentials", "access was taken back: connect the mailbox again")


async def test_a_server_where_nothing_connects_is_told(scene: Scene, server: Dovecot) -> None:
    scene.guard = Guard()
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        how = await scene.how(mailbox)
    assert how is not None
    assert how.trouble == "unreachable"
    assert "127.0.0.1 is loopback" in how.words


async def test_without_kafka_messages_are_stored_all_the_same(scene: Scene, server: Dovecot) -> None:
    scene.pointers.away = True
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        server.append(ANA, mail())
        await scene.passed(mailbox, 1)
    assert len(await scene.stored(mailbox)) == 1
    assert scene.pointers.inbound == []


async def test_what_was_stored_and_not_pointed_at_is_pointed_at_the_next_time(
    scene: Scene, server: Dovecot
) -> None:
    scene.pointers.breaks = 1
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox):
        server.append(ANA, mail())
        await scene.passed(mailbox, 1)
    (found,) = await scene.stored(mailbox)
    assert (scene.pointers.breaks, scene.pointers.inbound) == (0, [found["_id"]])


async def test_two_watches_of_one_mailbox_store_each_message_once(scene: Scene, server: Dovecot) -> None:
    mailbox = await scene.connected(server)
    async with scene.watching(mailbox), scene.watching(mailbox):
        for number in range(1, 21):
            server.append(ANA, mail(number))
        await scene.passed(mailbox, 20)
    uids = [each["imap"]["uid"] for each in await scene.stored(mailbox)]
    assert sorted(uids) == list(range(1, 21))


async def test_servers_that_hang_do_not_delay_the_others(scene: Scene, server: Dovecot) -> None:
    """More of them than there are threads; each takes one away until its first deadline, then none."""
    scene.settings = scene.settings.model_copy(update={"imap_step_seconds": 0.3})
    fine = await scene.connected(server)
    with socket.create_server((server.host, 0), backlog=4096) as silent:
        port = silent.getsockname()[1]
        hanging = [await scene.connected(server, BEN, port=port) for _ in range(20)]
        tasks = [asyncio.create_task(scene.watch(each).run()) for each in hanging]
        async with scene.watching(fine):
            for number in (1, 2, 3):
                server.append(ANA, mail(number))
                await scene.arrived(fine, number)
        slow = await asyncio.gather(*(scene.how(each) for each in hanging))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert {how.trouble if how else None for how in slow} == {"slow"}


async def test_a_server_that_drips_is_cut_off_at_the_deadline(scene: Scene, server: Dovecot) -> None:
    """Each byte comes in time, and the answer never."""
    scene.settings = scene.settings.model_copy(update={"imap_step_seconds": 0.3})
    cut_off = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"* ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            cut_off.set()
        finally:
            writer.close()

    dripping = await asyncio.start_server(drip, server.host, 0)
    async with dripping:
        mailbox = await scene.connected(server, port=dripping.sockets[0].getsockname()[1])
        async with scene.watching(mailbox):
            how = await scene.how(mailbox)
            await asyncio.wait_for(cut_off.wait(), 10)
    assert how is not None
    assert how.trouble == "slow"
