"""The shipped tables and queries for analysts, on real topics: their numbers are those of the documents."""

# Neither carries annotations on most of its methods.
# mypy: untyped-calls-exclude="aiokafka,chdb"

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import chdb.session
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from chassis import documents as names
from chassis.kafka import Publisher, Record, ensure_topics
from chassis.kafka.connection import client_options
from chassis.migrations import build
from chassis.testing import NOON, fresh_database, fresh_name
from scheduler.migrations import SCHEMA
from scheduler.replay import replay
from scheduler.settings import SchedulerSettings
from scheduler.story import event_of
from scheduler.testing import TWO_MAILS, Bench, bench_over, settings_for
from segue_contracts import analytics, codec, schemas
from segue_contracts.commands import Correct
from segue_contracts.events import EnrollmentStop, Outcome, StopReason
from segue_contracts.message import Message, Scope
from segue_contracts.topics import ENROLLMENT_EVENTS, ENROLLMENT_STOPS, TOPICS
from stack import flink
from stack.client import eventually

pytestmark = pytest.mark.stack

FOLDER = schemas.HOME / "analytics"
QUERIES = FOLDER / "queries"
ANSWERED_SECONDS = 2
LONG_AGO, LATER = NOON - dt.timedelta(days=1), NOON + dt.timedelta(days=30)
CROWD = 60
FLUSH_MS = 500
POISON = (b"{", b"no JSON at all", b"{}", b'{"event_id": 7}', b"\xff\xfe")


@dataclass
class Run:
    """A scheduler over a real MongoDB whose story is on real topics. `written`: records, by topic."""

    bench: Bench
    settings: SchedulerSettings
    publisher: Publisher
    written: Counter[str] = field(default_factory=Counter)

    async def heard(self, enrollment: UUID, scope: Scope, reason: StopReason = StopReason.REPLIED) -> Message:
        """A stop, on its topic twice and at the scheduler."""
        e = await self.bench.read(enrollment)
        target = {"enrollment_id": enrollment} if scope is Scope.ENROLLMENT else {"person_id": e["person_id"]}
        stop: Message = self.bench.message(EnrollmentStop, event_type=reason, scope=scope, **target)
        await self.publisher.publish([Record.of(stop), Record.of(stop)])
        self.written[ENROLLMENT_STOPS.name] += 2
        self.bench.clock.advance(seconds=ANSWERED_SECONDS)
        await self.bench.stop(stop)
        return stop

    async def tell(self, *values: bytes) -> None:
        """Write these to the topic of events, as they are."""
        records = [Record(ENROLLMENT_EVENTS.name, str(uuid4()).encode(), value, ()) for value in values]
        await self.publisher.publish(records)
        self.written[ENROLLMENT_EVENTS.name] += len(values)

    async def replayed(self) -> int:
        """Tell the whole story (again); how many events it has."""
        told = await replay(self.settings, LONG_AGO, LATER)
        self.written[ENROLLMENT_EVENTS.name] += told
        return told

    async def stored(self) -> Counter[str]:
        """How many records ClickHouse has put away: it commits when they are in its tables."""
        found: Counter[str] = Counter()
        admin = AIOKafkaAdminClient(**client_options(self.settings))
        await admin.start()
        try:
            for table in analytics.tables():
                offsets = await admin.list_consumer_group_offsets(f"{analytics.GROUP}.{table.name}")
                ours = self.settings.kafka_topic_prefix + table.topic.name
                found[table.topic.name] = sum(o.offset for at, o in offsets.items() if at.topic == ours)
        finally:
            await admin.close()
        return +found


@pytest.fixture
async def run(kafka_bootstrap: str, mongodb_uri: str) -> AsyncIterator[Run]:
    changes = {"kafka_bootstrap_servers": kafka_bootstrap, "kafka_topic_prefix": f"{fresh_name()}."}
    settings = settings_for(mongodb_uri).model_copy(update=changes)
    await ensure_topics(settings, TOPICS)
    async with fresh_database(settings) as database, Publisher(settings) as publisher:
        bench = bench_over(database, settings)
        await build(database, SCHEMA)
        await bench.seed(TWO_MAILS)
        yield Run(bench, settings, publisher)


async def a_crowd(run: Run) -> None:
    """People who go every way: answers before, between and after the mails, bounces, mistakes, tests."""
    bench = run.bench
    people = await bench.enrolled(*(f"p{n}" for n in range(CROWD)))
    await bench.command(bench.enroll("tester", email="t@there.example").model_copy(update={"is_test": True}))
    for n, enrollment in enumerate(people):
        bench.clock.advance(minutes=1)
        await one_way(run, n % 8, enrollment)


async def one_way(run: Run, way: int, enrollment: UUID) -> None:
    """What becomes of one person."""
    bench = run.bench
    if way == 0:
        await run.heard(enrollment, Scope.ENROLLMENT)
        return
    await bench.outcome(Outcome.SENT, enrollment)
    if way == 1:
        await run.heard(enrollment, Scope.PERSON)
    elif way == 2:
        await run.heard(enrollment, Scope.ENROLLMENT, StopReason.UNSUBSCRIBED)
    elif way == 3:
        mistake = await run.heard(enrollment, Scope.ENROLLMENT)
        told = {"enrollment_id": enrollment, "cause_id": mistake.event_id, "reason": "mistaken"}
        await bench.command(bench.message(Correct, **told))
    elif way < 7:
        await bench.outcome(Outcome.SENT, enrollment, stage_id="nudge")
        if way == 6:
            await run.heard(enrollment, Scope.ENROLLMENT)


@dataclass
class ClickHouse:
    """ClickHouse in this process."""

    session: Any

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query finds."""
        answer = self.session.query(query, "JSONEachRow")
        return [json.loads(line) for line in str(answer).splitlines() if line]

    def value(self, query: str) -> Any:
        """The one value of the one row that a query finds."""
        ((value,),) = (row.values() for row in self.rows(query))
        return value

    def create(self, statement: str) -> None:
        """Run a statement; a table over Kafka is there although that says no (a fault of chdb 4.4)."""
        try:
            self.session.query(statement)
        except Exception as error:
            name = statement.split("CREATE TABLE ")[-1].split()[0]
            known = "Shutdown was called" in str(error) and "ENGINE = Kafka" in statement
            if not known or not int(self.value(f"EXISTS TABLE {name}")):
                raise


@pytest.fixture
def clickhouse(run: Run, kafka_bootstrap: str, tmp_path: Path) -> Iterator[ClickHouse]:
    """With the tables as they are shipped, but that they are of this test, and filled without delay."""
    statements = as_shipped(
        "clickhouse",
        {
            f"'{analytics.BROKERS}'": f"'{kafka_bootstrap}', kafka_flush_interval_ms = {FLUSH_MS}",
            "topic_list = 'segue.": f"topic_list = '{run.settings.kafka_topic_prefix}segue.",
        },
    )
    session = chdb.session.Session(str(tmp_path / "clickhouse"))
    made = ClickHouse(session)
    session.query("CREATE DATABASE segue")
    session.query("USE segue")
    for statement in statements:
        made.create(statement)
    yield made
    session.query("DROP DATABASE segue SYNC")
    session.close()


async def documents_say(run: Run) -> dict[str, Any]:
    """The numbers of the documents themselves."""
    enrollments = await run.bench.database.collection(names.ENROLLMENTS).find({"is_test": {"$ne": True}})
    sent = [[c["stage_id"] for c in e["history"] if c["type"] == "stage_sent"] for e in enrollments]
    ended = [e.get("stop", {}).get("reason") for e in enrollments]
    answered = [
        c for e in enrollments for c in e["history"] if c["type"] == "stopped" and c["reason"] == "replied"
    ]
    return {
        "enrolled": len(enrollments),
        "reached": sum(map(bool, sent)),
        "replied": ended.count("replied"),
        "opted_out": ended.count("unsubscribed"),
        "people": Counter(stage for each in sent for stage in each),
        "replies": Counter(s[-1] for s, end in zip(sent, ended, strict=True) if s and end == "replied"),
        "stops": len(answered),
    }


Rows = list[dict[str, Any]]


def queries(dialect: str) -> list[str]:
    """The queries that stand in the folder."""
    files = ("cohorts.sql", "replies_per_stage.sql", f"stop_latency.{dialect}.sql")
    return [(QUERIES / name).read_text().rstrip().rstrip(";") for name in files]


def numbers(cohorts: Rows, stages: Rows, latencies: Rows) -> dict[str, Any]:
    """What those queries found, as `documents_say` says it."""
    (latency,) = latencies
    assert latency["longest"] == ANSWERED_SECONDS
    totals = ("enrolled", "reached", "replied", "opted_out")
    return {name: sum(int(cohort[name]) for cohort in cohorts) for name in totals} | {
        "people": Counter({row["stage_id"]: int(row["people"]) for row in stages}),
        "replies": Counter({row["stage_id"]: int(row["replies"]) for row in stages}),
        "stops": int(latency["stops"]),
    }


def as_shipped(dialect: str, changes: Mapping[str, str]) -> list[str]:
    """The statements that make the tables, with what is this test's own in the place of what is there."""
    text = (FOLDER / f"{dialect}.sql").read_text()
    for shipped, ours in changes.items():
        assert shipped in text
        text = text.replace(shipped, ours)
    return [statement for statement in text.split(";\n") if "CREATE" in statement]


def of_a_newer_minor(told: bytes) -> bytes:
    """An event with fields and a type that nobody knows yet."""
    event = json.loads(told)
    more = {"event_type": "teleported", "schema_version": "1.7", "mood": "glad", "place": {"x": [1, None]}}
    return json.dumps({**event, **more, "event_id": str(uuid4()), "seq": 99}).encode()


async def an_event(run: Run) -> bytes:
    """One of the story."""
    e = await run.bench.database.collection(names.ENROLLMENTS).find_one({})
    assert e is not None
    return codec.encode(event_of(e, e["history"][0])).value


async def test_clickhouse_counts_what_mongodb_counts_whatever_else_is_on_the_topics(
    run: Run, clickhouse: ClickHouse
) -> None:
    await a_crowd(run)
    told = await run.replayed()
    await run.tell(*POISON, of_a_newer_minor(await an_event(run)))
    await eventually(run.stored, until=lambda stored: stored == run.written, seconds=60)
    truth = await documents_say(run)
    assert min(truth["stops"], *truth["people"].values(), *truth["replies"].values()) > 0
    assert numbers(*map(clickhouse.rows, queries("clickhouse"))) == truth
    assert clickhouse.value("SELECT count() FROM enrollment_events_unreadable") == len(POISON)
    assert clickhouse.value("SELECT count() FROM enrollment_events WHERE event_type = 'teleported'") == 1
    assert await run.replayed() == told
    await eventually(run.stored, until=lambda stored: stored == run.written, seconds=60)
    assert clickhouse.value("SELECT count() FROM enrollment_events") == told + 1
    assert numbers(*map(clickhouse.rows, queries("clickhouse"))) == truth


@pytest.mark.analytics
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_flink_counts_what_mongodb_counts_whatever_else_is_on_the_topics(
    run: Run, kafka_bootstrap: str
) -> None:
    await a_crowd(run)
    await run.replayed()
    await run.tell(*POISON, of_a_newer_minor(await an_event(run)))
    await run.replayed()
    changes = {
        analytics.BROKERS: kafka_bootstrap,
        "'topic' = 'segue.": f"'topic' = '{run.settings.kafka_topic_prefix}segue.",
        "'format' = 'json'": "'format' = 'json', 'scan.bounded.mode' = 'latest-offset'",
    }
    found = await asyncio.to_thread(flink.ask, as_shipped("flink", changes), queries("flink"))
    assert numbers(*found) == await documents_say(run)
