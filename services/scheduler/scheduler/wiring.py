"""Builds the scheduler's clients and puts them together; the only place that does."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.health import clock_check, listening
from chassis.kafka import Consumer, DeadLetters, Handler, Publisher, ensure_topics
from chassis.kafka.topics import partition_count
from chassis.secrets import Secrets
from chassis.service import Service
from chassis.store import Database, connect
from scheduler.course import Courses
from scheduler.due import DueLoop
from scheduler.enroll import Enrolling
from scheduler.handlers import Commands, OutcomeRecords, StopRecords
from scheduler.holds import Holds
from scheduler.outbox import Outbox, Publishes
from scheduler.outcomes import Outcomes
from scheduler.settings import SchedulerSettings
from scheduler.shards import Shards
from scheduler.stops import Stops
from scheduler.store import SchedulerStore
from scheduler.wishes import Wishes
from segue_contracts.topics import ENROLLMENT_COMMANDS, ENROLLMENT_STOPS, STAGE_OUTCOMES, TOPICS, Topic


@dataclass(frozen=True, slots=True)
class Parts:
    """The scheduler without its Kafka consumers."""

    store: SchedulerStore
    outbox: Outbox
    holds: Holds
    stops: Stops
    due: DueLoop
    commands: Commands
    outcomes: OutcomeRecords
    stop_records: StopRecords


@contextlib.asynccontextmanager
async def wiring(settings: SchedulerSettings, service: Service) -> AsyncIterator[None]:
    """The consumers, the due loop, the sweeps and their clients."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(listening(settings, service.health))
        with service.stage("mongodb"):
            database = await stack.enter_async_context(connect(settings))
        with service.stage("kafka"):
            await ensure_topics(settings, TOPICS)
            publisher = await stack.enter_async_context(Publisher(settings))
        clock, shards = settings.clock(), Shards(await partition_count(settings, STAGE_OUTCOMES))
        parts = assemble(settings, clock, database, publisher, shards.owned)
        with service.stage("indexes"):
            await parts.store.ensure_indexes()
        service.health.check("clock", clock_check(database, clock))
        letters = DeadLetters(publisher)

        def consumer(name: str, topic: Topic, handle: Handler) -> None:
            assigned = shards.assigned if topic is STAGE_OUTCOMES else None
            group = f"segue.scheduler.{name}"
            service.consume(
                name,
                Consumer(
                    settings,
                    group=group,
                    topics=[topic.name],
                    handle=handle,
                    dead_letters=letters,
                    on_assigned=assigned,
                ),
            )

        consumer("commands", ENROLLMENT_COMMANDS, parts.commands.handle)
        consumer("outcomes", STAGE_OUTCOMES, parts.outcomes.handle)
        consumer("stops", ENROLLMENT_STOPS, parts.stop_records.handle)
        service.spawn("due loop", parts.due.run, stop=parts.due.stop)
        service.periodic("hold sweep", settings.sweep_seconds, parts.holds.sweep)
        service.periodic("stop sweep", settings.sweep_seconds, parts.stops.sweep)
        service.periodic("outbox sweep", settings.sweep_seconds, parts.outbox.sweep)
        yield


def assemble(
    settings: SchedulerSettings,
    clock: Clock,
    database: Database,
    publisher: Publishes,
    shards: Callable[[], Sequence[int]],
) -> Parts:
    """The scheduler over given clients."""
    store = SchedulerStore(database)
    outbox = Outbox(store, publisher, clock)
    courses = Courses(store, clock)
    stops = Stops(store, outbox, publisher, clock, settings.redelivery_seconds)
    holds = Holds(store, outbox, courses, clock)
    wishes = Wishes(store, outbox, courses, stops, clock)
    enrolling = Enrolling(store, outbox, publisher, courses, stops, Secrets(settings), clock)
    outcomes = Outcomes(store, outbox, courses, stops, clock, settings.ask_again_seconds)
    due = DueLoop(
        store,
        outbox,
        publisher,
        courses,
        holds,
        stops,
        clock,
        shards=shards,
        redelivery_seconds=settings.redelivery_seconds,
        ask_again_seconds=settings.ask_again_seconds,
        poll_seconds=settings.poll_seconds,
    )
    commands = Commands(store, enrolling, holds, stops, wishes, clock)
    return Parts(
        store, outbox, holds, stops, due, commands, OutcomeRecords(outcomes), StopRecords(stops, holds)
    )
