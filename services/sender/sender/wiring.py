"""Builds the sender's clients and puts them together; the only place that does."""

import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from chassis.clock import Clock
from chassis.erasure import Erasures
from chassis.health import clock_check, listening
from chassis.hosts import Guard
from chassis.kafka import Consumer, DeadLetters, Handler, Publisher, ensure_topics
from chassis.migrations import prepare
from chassis.oauth import Tokens, TokenStore
from chassis.restored import MARK_SECONDS, Watch
from chassis.secrets import Secrets
from chassis.service import Service
from chassis.store import Database, connect
from segue_contracts.message import Channel
from segue_contracts.sequence import MANUAL_CHANNELS
from segue_contracts.topics import DELIVERY_COMMANDS, STAGE_DUE, TOPICS, Topic
from sender.doubts import Doubts, DoubtStore
from sender.email import Email, Posts
from sender.erasure import Forgetting, WordStore
from sender.handlers import DeliveryCommandHandler, StageDueHandler
from sender.mailbox_health import FLUSH_SECONDS, MailboxHealth, MailboxStates
from sender.manual import Manual
from sender.migrations import SCHEMA
from sender.notices import Notices
from sender.prompt_store import PromptStore
from sender.prompter import Prompter
from sender.reading import Reader
from sender.retention import Retention
from sender.settings import SenderSettings
from sender.sms import Sms
from sender.sms_look_up import TwilioLookUp
from sender.sms_provider import Http
from sender.smtp import Timeouts
from sender.smtp_pool import Pool
from sender.steps import Publishes, Steps
from sender.store import Store
from sender.work import Carries, Work

SWEEP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender's parts, without Kafka."""

    store: Store
    steps: Steps
    work: Work
    tokens: Tokens
    email: Email
    sms: Sms
    states: MailboxStates
    health: MailboxHealth
    on_stage_due: StageDueHandler
    on_commands: DeliveryCommandHandler
    doubts: Doubts
    prompter: Prompter


@contextlib.asynccontextmanager
async def wiring(settings: SenderSettings, service: Service) -> AsyncIterator[None]:
    """The consumers, the deliveries that they start, the sweeps and their clients."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(listening(settings, service.health))
        with service.stage("mongodb"):
            database = await stack.enter_async_context(connect(settings))
        with service.stage("kafka"):
            await ensure_topics(settings, TOPICS)
            publisher = await stack.enter_async_context(Publisher(settings))
        clock, pool = settings.clock(), smtp_pool(settings)
        stack.push_async_callback(pool.close)
        sender = assemble(settings, clock, database, publisher, pool)
        stack.push_async_callback(sender.sms.close)
        stack.push_async_callback(sender.tokens.close)
        stack.push_async_callback(sender.prompter.close)
        with service.stage("schema"):
            await prepare(database, SCHEMA)
        watch = Watch(database, settings, "sender")
        with service.stage("mark"):
            await watch.start()
        service.periodic("mark", MARK_SECONDS, watch.move)
        service.health.check("clock", clock_check(database, clock))
        letters = DeadLetters(publisher)

        def consumer(name: str, topic: Topic, handle: Handler) -> None:
            group = f"segue.sender.{name}"
            service.consume(
                name,
                Consumer(settings, group=group, topics=[topic.name], handle=handle, dead_letters=letters),
            )

        # Stopped from the last one on: first nothing more is taken, in the end nothing more is carried.
        service.spawn(
            "work", lambda: sender.work.run(service.stopping, service.seconds_left), stop=sender.work.stop
        )
        service.periodic("transmission sweep", SWEEP_SECONDS, sender.on_stage_due.sweep)
        service.periodic("doubt sweep", SWEEP_SECONDS, sender.doubts.sweep)
        service.periodic("mailbox health", FLUSH_SECONDS, sender.health.flush)
        retention = Retention(database, clock, service.stopping)
        service.periodic("retention sweep", settings.retention_sweep_seconds, retention.sweep)
        erasures = Erasures(database, Secrets(settings), clock)
        forgetting = Forgetting(erasures, WordStore(database), clock)
        service.periodic("erasure sweep", settings.erasure_sweep_seconds, forgetting.sweep)
        service.periodic("task sweep", SWEEP_SECONDS, sender.on_commands.skip_overdue)
        service.periodic("prompts", SWEEP_SECONDS, sender.prompter.sweep)
        # Two groups, so that a person's click never waits behind a batch of stages.
        consumer("delivery-commands", DELIVERY_COMMANDS, sender.on_commands)
        consumer("stage-due", STAGE_DUE, sender.on_stage_due)
        yield


def assemble(
    settings: SenderSettings, clock: Clock, database: Database, publisher: Publishes, pool: Posts
) -> Sender:
    """The sender over given clients."""
    secrets = Secrets(settings)
    doubt_seconds = settings.smtp_total_seconds + settings.doubt_margin_seconds
    store = Store(database, lease_seconds=settings.claim_lease_seconds, doubt_seconds=doubt_seconds)
    reader = Reader(store, clock, secrets)
    steps = Steps(store, publisher, reader, clock, secrets, settings, random.random)
    states = MailboxStates(database)
    health = MailboxHealth(states, publisher, clock)
    guard = Guard(settings.allowed_private_networks)
    tokens = Tokens(TokenStore(database), secrets, guard, clock)
    email = Email(store, pool, steps, health, secrets, tokens, settings)
    sms = Sms(store, Http(settings.smtp_total_seconds, guard), steps, secrets, settings)
    manual = Manual(store, steps)
    channels: Mapping[Channel, Carries] = {
        Channel.EMAIL: email,
        Channel.SMS: sms,
        **dict.fromkeys(MANUAL_CHANNELS, manual),
    }
    work = Work(steps, channels, settings)
    look_ups = {Channel.SMS: TwilioLookUp(store, secrets.decrypt, guard, doubt_seconds)}
    doubts = Doubts(DoubtStore(database), steps, clock, look_ups)
    # Without the guard of the pool over users' servers: this one is the operator's, and may be private.
    notice_pool = Pool(settings.ehlo_hostname, Timeouts(total=settings.smtp_total_seconds))
    notices = Notices(settings, notice_pool, guard, secrets, clock)
    public_url = str(settings.public_url) if settings.public_url else None
    return Sender(
        store=store,
        steps=steps,
        work=work,
        tokens=tokens,
        email=email,
        sms=sms,
        states=states,
        health=health,
        on_stage_due=StageDueHandler(store, steps, work, clock),
        on_commands=DeliveryCommandHandler(store, steps, doubts, clock),
        doubts=doubts,
        prompter=Prompter(PromptStore(database), store, steps, notices, clock, public_url),
    )


def smtp_pool(settings: SenderSettings) -> Pool:
    """The pool; one deadline bounds connecting and sending together."""
    return Pool(
        settings.ehlo_hostname,
        Timeouts(total=settings.smtp_total_seconds),
        per_mailbox=settings.smtp_per_mailbox,
        per_host=settings.smtp_per_host,
        waiting_per_host=settings.max_per_host,
        room_seconds=settings.room_seconds,
        guard=Guard(settings.allowed_private_networks),
    )
