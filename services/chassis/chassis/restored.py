"""Notices that a database is older than what the brokers remember, and keeps the services from sending.

A mark in the database moves on every few seconds; each service leaves the mark that it saw with the brokers,
in the metadata of a consumer group's offset. Whoever restores a backup brings an older mark back: what was
sent after it would be sent again. So no service starts before docs/runbooks/backup-and-restore.md is
followed.
"""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from chassis import documents as names
from chassis.errors import Fatal, Retry
from chassis.kafka.connection import client_options
from chassis.retry import retrying
from chassis.settings import KafkaSettings
from chassis.store import Database, Document
from segue_contracts.message import to_utc_milliseconds
from segue_contracts.topics import STAGE_OUTCOMES

log = logging.getLogger(__name__)

MARK_SECONDS = 15.0
TRIES = 20
"""Within half a minute young brokers have a coordinator for each group."""
LONG_AWAY = timedelta(minutes=15)
"""A database that nobody has used for so long, beside brokers that know nothing, may be a restored one."""
DATABASE = "database"
PAGE = "docs/runbooks/backup-and-restore.md"


class Stage(StrEnum):
    """How far a restore has come; the services start when it is over, or when all deliveries are rebuilt."""

    HELD = "held"
    ENROLLMENTS = "enrollments"
    DELIVERIES = "deliveries"


@dataclass(frozen=True, slots=True)
class Mark:
    """`at`: until when (real time) this database is known to have been used. `stage`: of a restore that is
    under way; `since` when what was sent may be missing.
    """

    at: datetime | None = None
    stage: Stage | None = None
    since: datetime | None = None

    @classmethod
    def read(cls, doc: Document | None) -> Self:
        if doc is None:
            return cls()
        stage = doc.get("restore")
        return cls(doc.get("at"), Stage(stage) if stage else None, doc.get("since"))


class Marks:
    """The mark in the database. Everything may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._marks = database.collection(names.MARKS)

    async def read(self) -> Mark:
        """As it is now."""
        return Mark.read(await self._marks.find_one({"_id": DATABASE}))

    async def move(self, real_now: datetime) -> datetime:
        """The mark after it was moved on."""
        change = {"$max": {"at": to_utc_milliseconds(real_now)}}
        after = await self._marks.find_one_and_update({"_id": DATABASE}, change, upsert=True)
        assert after is not None
        at: datetime = after["at"]
        return at

    async def restore(self, stage: Stage | None, since: datetime | None) -> None:
        """Keep how far a restore has come; None: it is over."""
        change = {"$set": {"restore": stage.value if stage else None, "since": since}}
        await self._marks.update_one({"_id": DATABASE}, change, upsert=True)


class Remembered:
    """The mark as the brokers remember it; each service leaves its own."""

    def __init__(self, settings: KafkaSettings, service: str) -> None:
        self._settings = settings
        self._group = f"{settings.kafka_topic_prefix}segue.{service}.mark"
        self._place = TopicPartition(settings.kafka_topic_prefix + STAGE_OUTCOMES.name, 0)

    async def read(self) -> datetime | None:
        """None: they remember nothing."""
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        try:
            await admin.start()
            found: dict[Any, Any] = await admin.list_consumer_group_offsets(self._group)
        except KafkaError as error:
            raise Retry(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error!r}") from error
        finally:
            await admin.close()
        kept = found.get(self._place)
        return datetime.fromisoformat(kept.metadata) if kept is not None and kept.metadata else None

    async def write(self, at: datetime) -> None:
        """Leave the mark with them."""
        consumer = AIOKafkaConsumer(
            **client_options(self._settings), group_id=self._group, enable_auto_commit=False
        )
        consumer.assign([self._place])
        try:
            await consumer.start()
            await consumer.commit({self._place: OffsetAndMetadata(0, at.isoformat())})
        except KafkaError as error:
            raise Retry(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error!r}") from error
        finally:
            await consumer.stop()


class Watch:
    """One for each service that sends, plans or reads answers."""

    def __init__(self, database: Database, settings: KafkaSettings, service: str) -> None:
        self._marks = Marks(database)
        self._remembered = Remembered(settings, service)
        self._seen: datetime | None = None

    async def start(self) -> None:
        """Fatal where this database may lack what was sent."""
        # In this order: others move both on meanwhile, the database's first.
        remembered = await retrying(self._remembered.read, tries=TRIES)
        mark = await rebuilt(self._marks)
        wrong = None if mark.stage else why_not(mark.at, remembered, datetime.now(UTC))
        if wrong is not None:
            raise Fatal(f"{wrong} Nothing is sent before {PAGE} was followed.")
        await retrying(self.move, tries=TRIES)

    async def move(self) -> None:
        """Move the mark on; Fatal where it has gone back: the database was replaced under our feet."""
        mark = await self._marks.read()
        if self._seen is not None and (mark.at is None or mark.at < self._seen):
            raise Fatal(f"The database was replaced by an older one: follow {PAGE}.")
        self._seen = await self._marks.move(datetime.now(UTC))
        await self._remembered.write(self._seen)


async def rebuilt(marks: Marks) -> Mark:
    """The mark of a database that is whole, as far as it says itself; Fatal while a restore is under way."""
    mark = await marks.read()
    if mark.stage is not None and mark.stage is not Stage.DELIVERIES:
        raise Fatal(f"The database is being restored, and is not rebuilt yet: go on with {PAGE}.")
    return mark


def why_not(at: datetime | None, remembered: datetime | None, real_now: datetime) -> str | None:
    """Why a database with this mark may be an older one; None: it is not."""
    if remembered is not None and (at is None or at < remembered):
        return f"The database ends {at or 'nowhere'}, and the brokers remember one of {remembered}."
    if remembered is None and at is not None and real_now - at > LONG_AWAY:
        return f"The database was last used {at}, and the brokers remember none."
    return None
