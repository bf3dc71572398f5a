"""Builds the detector's clients and puts them together; the only place that does."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from chassis.clock import Clock
from chassis.erasure import Erasures
from chassis.health import clock_check, listening
from chassis.kafka import DeadLetters, Publisher
from chassis.migrations import prepare
from chassis.restored import Marks, rebuilt
from chassis.secrets import Secrets
from chassis.service import Service
from chassis.store import Database, connect
from reply_detector.backlog import LOOK_SECONDS, Backlog, BacklogStore
from reply_detector.carrying import Carrying, Publishes
from reply_detector.classify import classify
from reply_detector.decision import Policy
from reply_detector.erasure import Forgetting, WordStore
from reply_detector.handlers import Detector
from reply_detector.looking import Classify, Looking
from reply_detector.mailboxes import Mailboxes
from reply_detector.migrations import SCHEMA
from reply_detector.rates import Rates
from reply_detector.retention import Retention
from reply_detector.settings import DetectorSettings
from reply_detector.store import DetectorStore
from reply_detector.stream import InboundStream
from reply_detector.sweep import Sweep


@dataclass(frozen=True, slots=True)
class Parts:
    """The detector without Kafka."""

    store: DetectorStore
    detector: Detector
    sweep: Sweep
    mailboxes: Mailboxes


@contextlib.asynccontextmanager
async def wiring(settings: DetectorSettings, service: Service) -> AsyncIterator[None]:
    """The agent, the sweep and their clients; Kafka may be away, also at the start, the database not."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(listening(settings, service.health))
        with service.stage("mongodb"):
            database = await stack.enter_async_context(connect(settings))
        # Not entered: it connects at its first record, so that the sweep judges while Kafka is away.
        publisher = Publisher(settings)
        stack.push_async_exit(publisher)
        clock = settings.clock()
        parts = assemble(settings, clock, database, publisher)
        with service.stage("schema"):
            await prepare(database, SCHEMA)
            await rebuilt(Marks(database))
        retention = Retention(database, clock, service.stopping)
        forgetting = Forgetting(Erasures(database, Secrets(settings), clock), WordStore(database), clock)
        stream = InboundStream(settings, parts.detector, DeadLetters(publisher))
        service.health.check("clock", clock_check(database, clock))
        service.health.check("agent", stream.unready)
        service.spawn("agent", stream.run, stop=stream.stop)
        service.periodic("inbound sweep", settings.inbound_sweep_seconds, parts.sweep.run)
        service.periodic("backlog", LOOK_SECONDS, Backlog(BacklogStore(database), clock).look)
        service.periodic("retention sweep", settings.retention_sweep_seconds, retention.sweep)
        service.periodic("erasure sweep", settings.erasure_sweep_seconds, forgetting.sweep)
        service.periodic("mailbox sweep", settings.mailbox_sweep_seconds, parts.mailboxes.sweep)
        yield


def assemble(
    settings: DetectorSettings,
    clock: Clock,
    database: Database,
    publisher: Publishes,
    judge: Classify = classify,
) -> Parts:
    """The detector over given clients."""
    store = DetectorStore(database)
    carrying = Carrying(store, publisher, Secrets(settings).suppression_id, clock)
    detector = Detector(store, Looking(store, judge), carrying, clock, policy_of(settings))
    sweep = Sweep(
        store,
        detector,
        clock,
        patience_seconds=settings.inbound_patience_seconds,
        batch=settings.inbound_sweep_batch,
    )
    mailboxes = Mailboxes(Rates(database), publisher, clock, settings.mailbox_limits)
    return Parts(store, detector, sweep, mailboxes)


def policy_of(settings: DetectorSettings) -> Policy:
    """What the settings say about messages."""
    return Policy(
        absence=timedelta(days=settings.auto_reply_hold_days),
        soft=timedelta(days=settings.soft_bounce_hold_days),
        soft_limit=settings.soft_bounce_limit,
        manual=timedelta(days=settings.manual_mail_hold_days),
    )
