"""Builds the mailbox watcher's clients and puts them together; a process of its own, and without Faust."""

import contextlib
import resource
import ssl
from collections.abc import AsyncIterator

from chassis.health import clock_check, listening
from chassis.hosts import Guard
from chassis.kafka import Consumer, DeadLetters, Publisher, ensure_topics
from chassis.kafka.topics import partition_count
from chassis.migrations import prepare
from chassis.oauth import Tokens, TokenStore
from chassis.restored import Marks, rebuilt
from chassis.secrets import Secrets
from chassis.service import Service
from chassis.store import connect
from reply_detector.cursors import CursorStore
from reply_detector.migrations import SCHEMA
from reply_detector.settings import WatcherSettings
from reply_detector.threads import Threads
from reply_detector.watch import Lines, Means, Watch
from reply_detector.watcher import Watcher
from segue_contracts.topics import INBOUND_MESSAGES, TOPICS

GROUP = "segue.mailbox-watcher"
"""Its partitions decide who watches which mailbox."""


@contextlib.asynccontextmanager
async def watching(settings: WatcherSettings, service: Service) -> AsyncIterator[None]:
    """The mailbox watcher and its clients; both brokers must answer at the start."""
    _allow_many_connections()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(listening(settings, service.health))
        with service.stage("mongodb"):
            database = await stack.enter_async_context(connect(settings))
        with service.stage("kafka"):
            await ensure_topics(settings, TOPICS)
            partitions = await partition_count(settings, INBOUND_MESSAGES)
            publisher = await stack.enter_async_context(Publisher(settings))
        clock, store = settings.clock(), CursorStore(database)
        with service.stage("schema"):
            await prepare(database, SCHEMA)
            await rebuilt(Marks(database))
        threads = Threads(settings.imap_threads)
        stack.callback(threads.close)
        guard, secrets = Guard(settings.allowed_private_networks), Secrets(settings)
        tokens = Tokens(TokenStore(database), secrets, guard, clock)
        stack.push_async_callback(tokens.close)
        means = Means(
            settings,
            clock,
            store,
            publisher,
            secrets.decrypt,
            ssl.create_default_context(cafile=settings.imap_tls_cafile),
            threads,
            Lines(settings.imap_connections),
            guard,
            tokens,
        )
        watcher = Watcher(
            store,
            lambda mailbox: Watch(mailbox, means),
            partitions=partitions,
            again_seconds=settings.imap_mailboxes_seconds,
        )
        service.health.check("clock", clock_check(database, clock))
        service.health.note("mailboxes", watcher.trouble)
        service.spawn("watcher", watcher.run, stop=watcher.stop)
        # Stopped before the watcher, so that the next owners need not wait for what is in work here.
        service.consume("mailboxes", _consumer(settings, watcher, publisher))
        yield


def _consumer(settings: WatcherSettings, watcher: Watcher, publisher: Publisher) -> Consumer:
    return Consumer(
        settings,
        group=GROUP,
        topics=[INBOUND_MESSAGES.name],
        handle=watcher.ignore,
        dead_letters=DeadLetters(publisher),
        on_assigned=watcher.assigned,
    )


def _allow_many_connections() -> None:
    """As many descriptors as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
