"""Builds the API's clients and puts them together; the only place that does."""

import contextlib
from collections.abc import AsyncIterator

from api.application import application
from api.checking import Checker
from api.comparing import Comparing
from api.counting import Counting
from api.courier import Courier, Publishes
from api.crowd import Crowd
from api.engagements import Teller
from api.erasure import Forgetting, WordStore
from api.idempotency import Answers
from api.launching import Launcher
from api.line import Line
from api.migrations import SCHEMA
from api.outgoing import TOPICS as EVENT_TOPICS
from api.outgoing_listening import GATHER_SECONDS, GROUP, Listener, Listening
from api.outgoing_sending import Outgoing
from api.reads import Reads
from api.resolver import Dns, Resolver
from api.routing import Api
from api.settings import ApiSettings
from api.store import Store
from chassis.clock import Clock
from chassis.desk import Asks
from chassis.erasure import Erasures
from chassis.health import clock_check
from chassis.hosts import Guard
from chassis.kafka import Consumer, DeadLetters, Publisher, ensure_topics
from chassis.migrations import prepare
from chassis.secrets import Secrets
from chassis.service import Service
from chassis.store import Database, connect
from segue_contracts.topics import TOPICS

LETTERS_SECONDS = 5.0
"""Kept for the courier when the last request has been answered."""
COUNT_SWEEP_SECONDS = 0.5
"""Whoever looks at a sequence that was never counted waits for it."""


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
        with service.stage("schema"):
            await prepare(database, SCHEMA)
        service.health.check("clock", clock_check(database, api.clock))
        service.health.note("kafka", line.trouble)
        # Stopped from the last one on: no request after HTTP, and the letters of the last ones go out.
        service.spawn("courier", lambda: api.courier.run(line.connect), stop=api.courier.stop)
        service.periodic("command sweep", settings.command_sweep_seconds, api.courier.sweep)
        crowd = Crowd(api.clock, api.store, api.reads, api.courier)
        service.periodic("crowd sweep", settings.command_sweep_seconds, crowd.sweep)
        service.periodic("count sweep", COUNT_SWEEP_SECONDS, api.counting.sweep)
        checker = Checker(api.clock, api.store, api.scheduler)
        service.periodic("list check sweep", settings.command_sweep_seconds, checker.sweep)
        launcher = Launcher(api.clock, api.store, api.courier)
        service.periodic("list launch sweep", settings.command_sweep_seconds, launcher.sweep)
        service.periodic("comparison sweep", settings.command_sweep_seconds, api.comparing.sweep)
        teller = Teller(api.clock, api.store.engagements, line)
        service.periodic("engagement sweep", settings.command_sweep_seconds, teller.sweep)
        answers = Answers(api.store.idempotency, api.clock, api.secrets)
        forgetting = Forgetting(api.erasures, WordStore(database), answers, api.secrets, api.clock)
        service.periodic("erasure sweep", settings.erasure_sweep_seconds, forgetting.sweep)
        _send_to_webhooks(settings, service, api, line, DeadLetters(publisher))
        service.serve(settings, application(api), grace_seconds=grace_seconds(settings))
        yield


def _send_to_webhooks(
    settings: ApiSettings, service: Service, api: Api, line: Line, letters: DeadLetters
) -> None:
    """What the topics say becomes deliveries, and these are sent."""
    listener = Listener(api.clock, api.store.webhooks, api.store.webhook_deliveries)
    listening = Listening(
        lambda: Consumer(
            settings,
            group=GROUP,
            topics=EVENT_TOPICS,
            handle=listener.handle,
            dead_letters=letters,
            gather_seconds=GATHER_SECONDS,
        )
    )
    outgoing = Outgoing(
        settings, api.clock, api.store.webhooks, api.store.webhook_deliveries, api.secrets, api.guard, line
    )
    service.health.note("webhooks", listening.trouble)
    service.spawn("webhook events", listening.run, stop=listening.stop)
    service.spawn("webhooks", outgoing.run, stop=outgoing.stop)


def grace_seconds(settings: ApiSettings) -> float:
    """How long requests under way may take when the service stops."""
    return max(settings.draining_seconds - LETTERS_SECONDS, settings.draining_seconds / 2)


def assemble(
    settings: ApiSettings, clock: Clock, database: Database, publisher: Publishes, dns: Dns | None = None
) -> Api:
    """The API over given clients; DNS is this machine's by default."""
    store, reads, secrets = Store(database), Reads(database), Secrets(settings)
    return Api(
        settings=settings,
        clock=clock,
        secrets=secrets,
        store=store,
        reads=reads,
        courier=Courier(settings, clock, store, publisher),
        counting=Counting(clock, store, settings.counts_seconds),
        comparing=Comparing(
            clock, store.sequences, store.comparisons, reads.statistics, settings.counts_seconds
        ),
        scheduler=Asks(str(settings.scheduler_url), secrets, seconds=settings.inquiry_seconds),
        dns=dns or Resolver(),
        guard=Guard(settings.allowed_private_networks),
        erasures=Erasures(database, secrets, clock),
    )
