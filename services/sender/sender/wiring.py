"""Builds the sender's clients and puts them together; the only place that does."""

import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from chassis.clock import Clock
from chassis.kafka import Consumer, DeadLetters, Publisher, ensure_topics
from chassis.secrets import Secrets
from chassis.store import Database, connect
from segue_contracts.message import Channel
from segue_contracts.sequence import MANUAL_CHANNELS
from segue_contracts.topics import DELIVERY_COMMANDS, STAGE_DUE, TOPICS
from sender.email import Email, Sends
from sender.handlers import DeliveryCommandHandler, StageDueHandler
from sender.manual import Manual
from sender.reading import Reader
from sender.settings import SenderSettings
from sender.sms import Sms
from sender.smtp import Timeouts
from sender.smtp_pool import Pool
from sender.steps import Publishes, Steps
from sender.store import Store
from sender.work import Carries, Work

STAGE_DUE_GROUP: Final = "segue.sender.stage-due"
COMMANDS_GROUP: Final = "segue.sender.delivery-commands"
"""Groups of their own, so that a person's click never waits behind a batch of stages."""


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender's parts, without Kafka."""

    store: Store
    steps: Steps
    work: Work
    email: Email
    on_stage_due: StageDueHandler
    on_commands: DeliveryCommandHandler


@dataclass(frozen=True, slots=True)
class Running:
    """Everything that the service runs and, in this order, stops: consumers, work, connections."""

    sender: Sender
    consumers: tuple[Consumer, ...]
    database: Database
    clock: Clock


@contextlib.asynccontextmanager
async def wired(settings: SenderSettings) -> AsyncIterator[Running]:
    """The sender with its clients; topics, validator and indexes are ensured."""
    async with connect(settings) as database, Publisher(settings) as publisher:
        await ensure_topics(settings, TOPICS)
        clock = settings.clock()
        pool = smtp_pool(settings)
        sender = assemble(settings, clock, database, publisher, pool)
        await sender.store.ensure()
        letters = DeadLetters(publisher)
        try:
            yield Running(sender, _consumers(settings, sender, letters), database, clock)
        finally:
            await pool.close()


def assemble(
    settings: SenderSettings, clock: Clock, database: Database, publisher: Publishes, pool: Sends
) -> Sender:
    """The sender over given clients."""
    secrets = Secrets(settings)
    doubt_seconds = settings.smtp_total_seconds + settings.doubt_margin_seconds
    store = Store(database, lease_seconds=settings.claim_lease_seconds, doubt_seconds=doubt_seconds)
    reader = Reader(store, clock, secrets)
    steps = Steps(store, publisher, reader, clock, secrets, settings, random.random)
    email = Email(store, pool, steps, secrets, settings)
    manual = Manual(store, steps)
    channels: Mapping[Channel, Carries] = {
        Channel.EMAIL: email,
        Channel.SMS: Sms(steps),
        **dict.fromkeys(MANUAL_CHANNELS, manual),
    }
    work = Work(steps, channels, settings)
    return Sender(
        store=store,
        steps=steps,
        work=work,
        email=email,
        on_stage_due=StageDueHandler(store, steps, work, clock),
        on_commands=DeliveryCommandHandler(store, steps, clock),
    )


def smtp_pool(settings: SenderSettings) -> Pool:
    """The pool; one deadline bounds connecting and sending together."""
    return Pool(
        settings.ehlo_hostname,
        Timeouts(total=settings.smtp_total_seconds),
        per_mailbox=settings.smtp_per_mailbox,
        per_host=settings.smtp_per_host,
        room_seconds=settings.room_seconds,
    )


def _consumers(settings: SenderSettings, sender: Sender, letters: DeadLetters) -> tuple[Consumer, ...]:
    return (
        Consumer(
            settings,
            group=STAGE_DUE_GROUP,
            topics=[STAGE_DUE.name],
            handle=sender.on_stage_due,
            dead_letters=letters,
        ),
        Consumer(
            settings,
            group=COMMANDS_GROUP,
            topics=[DELIVERY_COMMANDS.name],
            handle=sender.on_commands,
            dead_letters=letters,
        ),
    )
