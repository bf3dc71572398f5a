"""Builds the API's clients and puts them together; the only place that does."""

import contextlib
from collections.abc import AsyncIterator

from api.application import application
from api.courier import Courier, Publishes
from api.crowd import Crowd
from api.engagements import Teller
from api.line import Line
from api.reads import Reads
from api.resolver import Dns, Resolver
from api.routing import Api
from api.settings import ApiSettings
from api.store import Store, ensure_indexes
from chassis.clock import Clock
from chassis.desk import Asks
from chassis.health import clock_check
from chassis.hosts import Guard
from chassis.kafka import Publisher, ensure_topics
from chassis.secrets import Secrets
from chassis.service import Service
from chassis.store import Database, connect
from segue_contracts.topics import TOPICS

LETTERS_SECONDS = 5.0
"""Kept for the courier when the last request has been answered."""


@contextlib.asynccontextmanager
async def wiring(settings: ApiSettings, service: Service) -> AsyncIterator[None]:
    """HTTP, the courier, its sweep; Kafka may be away, also at the start, the database may not."""
    async with contextlib.AsyncExitStack() as stack:
        with service.stage("mongodb"):
            database = await stack.enter_async_context(connect(settings))
        # Not entered: it connects when Kafka is there, which nobody who asks over HTTP waits for.
        publisher = Publisher(settings)
        stack.push_async_exit(publisher)
        line = Line(publisher, lambda: ensure_topics(settings, TOPICS))
        api = assemble(settings, settings.clock(), database, line)
        stack.push_async_callback(api.scheduler.close)
        with service.stage("indexes"):
            await ensure_indexes(database)
        service.health.check("clock", clock_check(database, api.clock))
        service.health.note("kafka", line.trouble)
        # Stopped from the last one on: no request after HTTP, and the letters of the last ones go out.
        service.spawn("courier", lambda: api.courier.run(line.connect), stop=api.courier.stop)
        service.periodic("command sweep", settings.command_sweep_seconds, api.courier.sweep)
        crowd = Crowd(api.clock, api.store, api.reads, api.courier)
        service.periodic("crowd sweep", settings.command_sweep_seconds, crowd.sweep)
        teller = Teller(api.clock, api.store.engagements, line)
        service.periodic("engagement sweep", settings.command_sweep_seconds, teller.sweep)
        service.serve(settings, application(api), grace_seconds=grace_seconds(settings))
        yield


def grace_seconds(settings: ApiSettings) -> float:
    """How long requests under way may take when the service stops."""
    return max(settings.draining_seconds - LETTERS_SECONDS, settings.draining_seconds / 2)


def assemble(
    settings: ApiSettings, clock: Clock, database: Database, publisher: Publishes, dns: Dns | None = None
) -> Api:
    """The API over given clients; DNS is this machine's by default."""
    store, secrets = Store(database), Secrets(settings)
    return Api(
        settings=settings,
        clock=clock,
        secrets=secrets,
        store=store,
        reads=Reads(database),
        courier=Courier(settings, clock, store, publisher),
        scheduler=Asks(str(settings.scheduler_url), secrets, seconds=settings.inquiry_seconds),
        dns=dns or Resolver(),
        guard=Guard(settings.allowed_private_networks),
    )
