"""A database that is older than what the brokers remember: no service that sends runs on it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from chassis import documents as names
from chassis.errors import Fatal
from chassis.kafka import ensure_topics
from chassis.kafka.since import read_since
from chassis.restored import DATABASE, Marks, Remembered, Stage, Watch
from chassis.settings import ServiceSettings
from chassis.store import Database
from chassis.testing import fresh_database, fresh_settings
from segue_contracts.topics import STAGE_OUTCOMES

pytestmark = pytest.mark.stack

BACKUP = datetime.now(UTC) - timedelta(hours=3)


@pytest.fixture
def settings(kafka_bootstrap: str, mongodb_uri: str) -> ServiceSettings:
    return fresh_settings(kafka_bootstrap, mongodb_uri)


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Database]:
    await ensure_topics(settings, [STAGE_OUTCOMES])
    async with fresh_database(settings) as opened:
        yield opened


def watch(database: Database, settings: ServiceSettings) -> Watch:
    return Watch(database, settings, "sender")


async def put_back(database: Database) -> None:
    """As a backup does."""
    await database.collection(names.MARKS).update_one({"_id": DATABASE}, {"$set": {"at": BACKUP}})


async def test_a_service_starts_again_and_again_on_the_same_database(
    database: Database, settings: ServiceSettings
) -> None:
    for _ in range(2):
        await watch(database, settings).start()
    marked = (await Marks(database).read()).at
    assert await Remembered(settings, "sender").read() == marked


async def test_on_a_database_that_was_put_back_a_service_neither_starts_nor_goes_on(
    database: Database, settings: ServiceSettings
) -> None:
    running = watch(database, settings)
    await running.start()
    await put_back(database)
    with pytest.raises(Fatal, match="replaced by an older one"):
        await running.move()
    with pytest.raises(Fatal, match=r"backup-and-restore\.md"):
        await watch(database, settings).start()


@pytest.mark.parametrize("stage", Stage)
async def test_a_restore_that_is_under_way_lets_services_start_when_the_deliveries_are_rebuilt(
    database: Database, settings: ServiceSettings, stage: Stage
) -> None:
    await watch(database, settings).start()
    await put_back(database)
    await Marks(database).restore(stage, BACKUP)
    if stage is Stage.DELIVERIES:
        await watch(database, settings).start()
        return
    with pytest.raises(Fatal, match="not rebuilt yet"):
        await watch(database, settings).start()


async def test_a_topic_that_is_not_there_can_not_be_read_again(settings: ServiceSettings) -> None:
    with pytest.raises(Fatal, match="There is no topic"):
        [each async for each in read_since(settings, STAGE_OUTCOMES, BACKUP)]
