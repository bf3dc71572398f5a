"""Builds the scheduler's clients and puts them together; the only place that does."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from chassis import inquiries as questions
from chassis.clock import Clock
from chassis.desk import Desk
from chassis.erasure import Erasures
from chassis.health import clock_check, listening
from chassis.kafka import Consumer, DeadLetters, Handler, Publisher, ensure_topics
from chassis.kafka.topics import partition_count
from chassis.migrations import prepare
from chassis.restored import MARK_SECONDS, Watch
from chassis.secrets import Secrets
from chassis.service import Service
from chassis.store import Database, connect
from scheduler.backlog import LOOK_SECONDS, Backlog, BacklogStore
from scheduler.corrections import Corrections
from scheduler.course import Courses
from scheduler.due import DueLoop
from scheduler.enroll import Enrolling
from scheduler.erasure import Forgetting, WordStore
from scheduler.flights import Flights
from scheduler.handlers import Commands, OutcomeRecords, StopRecords
from scheduler.holds import Holds
from scheduler.inquiries import Inquiries
from scheduler.isolation import Isolation
from scheduler.migrations import SCHEMA
from scheduler.outbox import Outbox, Publishes
from scheduler.outcomes import Outcomes
from scheduler.people import People
from scheduler.replans import Replans
from scheduler.settings import SchedulerSettings
from scheduler.shards import Shards
from scheduler.slot_store import SlotStore
from scheduler.slots import Slots
from scheduler.stops import Stops
from scheduler.store import SchedulerStore
from scheduler.wishes import Wishes
from segue_contracts.topics import ENROLLMENT_COMMANDS, ENROLLMENT_STOPS, STAGE_OUTCOMES, TOPICS, Topic

SLOT_SWEEP_SECONDS = 600.0
GATHER_SECONDS = 0.1
"""How long the brokers may collect outcomes for one batch."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The scheduler without its Kafka consumers."""

    store: SchedulerStore
    outbox: Outbox
    holds: Holds
    stops: Stops
    slots: Slots
    replans: Replans
    due: DueLoop
    commands: Commands
    outcomes: OutcomeRecords
    stop_records: StopRecords
    inquiries: Inquiries
    forgetting: Forgetting


@contextlib.asynccontextmanager
async def wiring(settings: SchedulerSettings, service: Service) -> AsyncIterator[None]:
    """The consumers, the due loop, the sweeps and their clients."""
    async with contextlib.AsyncExitStack() as stack:
        desk = Desk(Secrets(settings))
        await stack.enter_async_context(listening(settings, service.health, desk.app))
        with service.stage("mongodb"):
            database = await stack.enter_async_context(connect(settings))
        with service.stage("kafka"):
            await ensure_topics(settings, TOPICS)
            publisher = await stack.enter_async_context(Publisher(settings))
        clock, shards = settings.clock(), Shards(await partition_count(settings, STAGE_OUTCOMES))
        parts = assemble(settings, clock, database, publisher, shards.owned)
        with service.stage("schema"):
            await prepare(database, SCHEMA)
        watch = Watch(database, settings, "scheduler")
        with service.stage("mark"):
            await watch.start()
        service.periodic("mark", MARK_SECONDS, watch.move)
        with service.stage("time zones"):
            await parts.replans.look_at_zones()
        service.health.check("clock", clock_check(database, clock))
        open_desk(desk, parts.inquiries)
        letters = DeadLetters(publisher)

        def consumer(name: str, topic: Topic, handle: Handler) -> None:
            # Its partitions decide the shards; and no person waits for an outcome as for a command or a stop.
            assigned = shards.assigned if topic is STAGE_OUTCOMES else None
            gather = GATHER_SECONDS if topic is STAGE_OUTCOMES else 0.0
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
                    gather_seconds=gather,
                ),
            )

        consumer("commands", ENROLLMENT_COMMANDS, parts.commands.handle)
        consumer("outcomes", STAGE_OUTCOMES, parts.outcomes.handle)
        consumer("stops", ENROLLMENT_STOPS, parts.stop_records.handle)
        service.spawn("due loop", parts.due.run, stop=parts.due.stop)
        service.periodic("hold sweep", settings.sweep_seconds, parts.holds.sweep)
        service.periodic("stop sweep", settings.sweep_seconds, parts.stops.sweep)
        service.periodic("erasure sweep", settings.sweep_seconds, parts.forgetting.sweep)
        service.periodic("replan sweep", settings.sweep_seconds, parts.replans.sweep)
        service.periodic("slot sweep", SLOT_SWEEP_SECONDS, parts.slots.sweep)
        service.periodic("outbox sweep", settings.sweep_seconds, parts.outbox.sweep)
        backlog = Backlog(
            BacklogStore(database),
            clock,
            shards=shards.owned,
            redelivery_seconds=settings.redelivery_seconds,
        )
        service.periodic("backlog", LOOK_SECONDS, backlog.look)
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
    isolation = Isolation(store, clock)
    outbox = Outbox(store, publisher, isolation, clock)
    courses = Courses(store, clock)
    slots = Slots(SlotStore(database), clock)
    stops = Stops(store, outbox, publisher, slots, isolation, clock, settings.redelivery_seconds)
    holds = Holds(store, outbox, courses, slots, isolation, clock)
    people = People(store, outbox, stops)
    replans = Replans(store, outbox, courses, slots, isolation, clock)
    secrets = Secrets(settings)
    erasures = Erasures(database, secrets, clock)
    forgetting = Forgetting(erasures, WordStore(database), store, outbox, stops, clock)
    wishes = Wishes(store, outbox, courses, stops, people, erasures, replans, clock)
    enrolling = Enrolling(store, outbox, publisher, courses, stops, people, erasures, secrets, clock)
    flights = Flights(clock)
    outcomes = Outcomes(store, outbox, courses, stops, flights, clock, settings.ask_again_seconds)
    due = DueLoop(
        store,
        outbox,
        publisher,
        courses,
        holds,
        stops,
        slots,
        flights,
        isolation,
        clock,
        shards=shards,
        redelivery_seconds=settings.redelivery_seconds,
        ask_again_seconds=settings.ask_again_seconds,
        poll_seconds=settings.poll_seconds,
    )
    corrections = Corrections(store, outbox)
    commands = Commands(store, enrolling, holds, stops, wishes, replans, corrections, forgetting, clock)
    inquiries = Inquiries(store, courses, holds, enrolling, wishes, clock)
    return Parts(
        store,
        outbox,
        holds,
        stops,
        slots,
        replans,
        due,
        commands,
        OutcomeRecords(outcomes),
        StopRecords(stops, holds),
        inquiries,
        forgetting,
    )


def open_desk(desk: Desk, inquiries: Inquiries) -> None:
    """Answer what other services ask."""
    desk.take(questions.SCHEDULE, inquiries.schedule)
    desk.take(questions.FORECAST, inquiries.forecast)
    desk.take(questions.DRY_RUN, inquiries.dry_run)
    desk.take(questions.MIGRATION, inquiries.migration)
    desk.open()
