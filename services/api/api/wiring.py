"""Builds the API's clients and puts them together; the only place that does."""

import contextlib
from collections.abc import AsyncIterator

from api.courier import Courier, Publishes
from api.reads import Reads
from api.routing import Api
from api.settings import ApiSettings
from api.store import Store, ensure_indexes
from chassis.clock import Clock
from chassis.kafka import Publisher
from chassis.secrets import Secrets
from chassis.store import Database, connect


@contextlib.asynccontextmanager
async def wired(settings: ApiSettings) -> AsyncIterator[tuple[Api, Database]]:
    """The API with its clients, indexes ensured; Kafka may be away, the database not."""
    async with connect(settings) as database, contextlib.AsyncExitStack() as stack:
        await ensure_indexes(database)
        # Not entered: it connects at its first record, so that Kafka may be away when the API starts.
        publisher = Publisher(settings)
        stack.push_async_exit(publisher)
        yield assemble(settings, settings.clock(), database, publisher), database


def assemble(settings: ApiSettings, clock: Clock, database: Database, publisher: Publishes) -> Api:
    """The API over given clients."""
    store = Store(database)
    return Api(
        settings=settings,
        clock=clock,
        secrets=Secrets(settings),
        store=store,
        reads=Reads(database),
        courier=Courier(settings, clock, store, publisher),
    )
