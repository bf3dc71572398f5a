"""The scheduler on a real MongoDB with a captured publisher: what the end-to-end tests cannot time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from chassis.errors import Retry
from chassis.kafka import Received, Record
from chassis.store import Database
from chassis.testing import FrozenClock, fresh_database, fresh_settings
from scheduler.settings import SchedulerSettings
from scheduler.store import ALL_SHARDS
from scheduler.wiring import Parts, assemble
from segue_contracts import codec
from segue_contracts.commands import Enroll, Hold, HoldScope, Lift, Stop
from segue_contracts.events import EnrollmentStop, Outcome, StageOutcome, StopReason
from segue_contracts.message import Message, Scope
from segue_contracts.prospect import Prospect

pytestmark = pytest.mark.stack

WORKSPACE, SEQUENCE, MAILBOX, OWNER = (UUID(int=n) for n in range(1, 5))
DOCUMENT = {
    "name": "Engineers",
    "stages": [
        {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi {{first_name}}"},
        {"id": "nudge", "channel": "email", "after": "3 days", "text": "Did you see this?"},
    ],
}


@dataclass
class Captured:
    """Keeps what would go to Kafka; `broken` refuses it."""

    messages: list[Any] = field(default_factory=list)
    broken: bool = False

    async def publish(self, records: Sequence[Record]) -> None:
        if self.broken:
            raise Retry("the brokers are away")
        self.messages += [codec.decode(r.topic, r.headers, r.value) for r in records]

    def kinds(self, topic: str) -> list[str]:
        return [str(m.event_type) for m in self.messages if m.TOPIC.name == topic]


@dataclass
class Bench:
    """A scheduler under test."""

    parts: Parts
    database: Database
    clock: FrozenClock
    kafka: Captured

    def message(self, kind: type[Message], **values: Any) -> Any:
        now = self.clock.now()
        base = {"event_id": uuid4(), "occurred_at": now, "recorded_at": now, "workspace_id": WORKSPACE}
        return kind(**(base | values))

    def enroll(self, who: str = "priya", **more: Any) -> Enroll:
        prospect = Prospect(external_id=who, email=f"{who}@there.example", **({"first_name": "P"} | more))
        command: Enroll = self.message(Enroll, sequence_id=SEQUENCE, prospect=prospect)
        return command

    async def command(self, *commands: Message) -> None:
        await self.parts.commands.handle([received(c) for c in commands])

    async def outcome(self, kind: Outcome, enrollment: UUID, **more: Any) -> None:
        values = {"enrollment_id": enrollment, "stage_id": "hello", "attempt": 1} | more
        await self.parts.outcomes.handle([received(self.message(StageOutcome, event_type=kind, **values))])

    async def read(self, enrollment: UUID) -> dict[str, Any]:
        doc = await self.database.collection(names.ENROLLMENTS).find_one({"_id": enrollment})
        assert doc is not None
        return doc


def received(message: Message) -> Received:
    e = codec.encode(message)
    return Received(e.topic, 0, 0, e.key, e.value, e.headers, 0)


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    base = fresh_settings("unused:9092", mongodb_uri)
    settings = SchedulerSettings(
        kafka_bootstrap_servers="unused:9092",
        mongodb_uri=mongodb_uri,
        mongodb_database=base.mongodb_database,
        secret_keys="a key for tests of sixteen or more",
    )
    async with fresh_database(settings) as database:
        clock, kafka = FrozenClock(), Captured()
        parts = assemble(settings, clock, database, kafka, lambda: ALL_SHARDS)
        await parts.store.ensure_indexes()
        await seed(database)
        yield Bench(parts, database, clock, kafka)


async def seed(database: Database) -> None:
    owned = {"workspace_id": WORKSPACE, "owner_id": OWNER}
    await database.collection(names.SEQUENCES).insert_one({"_id": SEQUENCE, **owned, "latest_version": 1})
    await database.collection(names.SEQUENCE_VERSIONS).insert_one(
        {
            "_id": names.version_id(SEQUENCE, 1),
            **owned,
            "sequence_id": SEQUENCE,
            "version": 1,
            "document": DOCUMENT,
            "mailbox_ids": [MAILBOX],
        }
    )
    smtp = {"host": "127.0.0.1", "port": 25, "security": "none"}
    await database.collection(names.MAILBOXES).insert_one(
        {"_id": MAILBOX, **owned, "address": "ana@ourco.example", "smtp": smtp}
    )


async def test_an_enroll_twice_makes_one_enrollment_and_one_story(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(enroll, enroll)
    await bench.command(enroll)
    assert bench.kafka.kinds("segue.enrollment.events.v1") == ["enrolled", "stage_scheduled"]
    e = await bench.read(enroll.enrollment_id)
    assert (e["seq"], e["outbox"]) == (2, [])


async def test_a_dispatch_is_written_before_it_is_published(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(enroll)
    bench.kafka.broken = True
    with pytest.raises(Retry):
        await bench.parts.due.tick()
    e = await bench.read(enroll.enrollment_id)
    assert (e["state"], e["attempt"]) == ("dispatched", 1)
    bench.kafka.broken = False
    assert await bench.parts.due.tick() == 0
    bench.clock.advance(121)
    assert await bench.parts.due.tick() == 1
    (due,) = [m for m in bench.kafka.messages if m.TOPIC.name == "segue.stage.due.v1"]
    assert due.attempt == 1


async def test_a_stop_before_its_enroll_leaves_a_tombstone_and_the_enroll_is_told(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(bench.message(Stop, enrollment_id=enroll.enrollment_id))
    await bench.command(enroll)
    assert (await bench.read(enroll.enrollment_id))["state"] == "stopped"
    result = await bench.database.collection(names.COMMAND_RESULTS).find_one({"_id": enroll.event_id})
    assert result is not None
    assert result["reasons"][0]["code"] == "stopped"
    assert await bench.parts.due.tick() == 0


async def test_a_stop_in_flight_owes_a_recall_until_it_is_confirmed(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(enroll)
    await bench.parts.due.tick()
    await bench.command(bench.message(Stop, enrollment_id=enroll.enrollment_id))
    bench.clock.advance(121)
    await bench.parts.due.tick()
    assert bench.kafka.kinds("segue.delivery.commands.v1") == ["recall", "recall"]
    await bench.outcome(Outcome.RECALLED, enroll.enrollment_id)
    bench.clock.advance(days=1)
    assert await bench.parts.due.tick() == 0


async def test_a_persons_stop_ends_what_was_asked_for_before_it_and_nothing_later(bench: Bench) -> None:
    before = bench.enroll()
    await bench.command(before)
    bench.clock.advance(60)
    e = await bench.read(before.enrollment_id)
    stop = bench.message(
        EnrollmentStop,
        event_type=StopReason.REPLIED,
        scope=Scope.PERSON,
        person_id=e["person_id"],
    )
    await bench.parts.stop_records.handle([received(stop), received(stop)])
    assert (await bench.read(before.enrollment_id))["stop"]["cause_id"] == stop.event_id
    bench.clock.advance(60)
    later = bench.enroll().model_copy(update={"generation": 2})
    await bench.command(later)
    assert (await bench.read(later.enrollment_id))["state"] == "scheduled"


async def test_a_held_enrollment_leaves_the_due_index_and_comes_back_when_lifted(bench: Bench) -> None:
    enroll = bench.enroll()
    await bench.command(bench.message(Hold, scope=HoldScope.SEQUENCE, scope_id=SEQUENCE), enroll)
    await bench.parts.due.tick()
    parked = await bench.read(enroll.enrollment_id)
    assert ("due_at" in parked, parked["parked_by"]) == (False, f"sequence:{SEQUENCE}")
    bench.clock.advance(60)
    await bench.command(bench.message(Lift, scope=HoldScope.SEQUENCE, scope_id=SEQUENCE))
    back = await bench.read(enroll.enrollment_id)
    assert ("parked_by" in back, back["due_at"] >= bench.clock.now()) == (False, True)


async def test_the_next_stage_counts_from_the_outcome_and_an_old_outcome_changes_nothing(
    bench: Bench,
) -> None:
    enroll = bench.enroll()
    await bench.command(enroll)
    await bench.parts.due.tick()
    sent_at = bench.clock.advance(30)
    await bench.outcome(Outcome.SENT, enroll.enrollment_id)
    first = await bench.read(enroll.enrollment_id)
    assert (first["stage_id"], first["base"]) == ("nudge", sent_at)
    assert (first["due_at"] - sent_at).days == 3
    await bench.outcome(Outcome.SENT, enroll.enrollment_id)
    await bench.outcome(Outcome.DEFERRED, enroll.enrollment_id)
    assert (await bench.read(enroll.enrollment_id))["rev"] == first["rev"]


async def test_events_that_the_broker_did_not_take_are_told_by_the_sweep(bench: Bench) -> None:
    enroll = bench.enroll()
    bench.kafka.broken = True
    with pytest.raises(Retry):
        await bench.command(enroll)
    bench.kafka.broken = False
    bench.clock.advance(11)
    await bench.parts.outbox.sweep()
    assert bench.kafka.kinds("segue.enrollment.events.v1") == ["enrolled", "stage_scheduled"]
    assert (await bench.read(enroll.enrollment_id))["outbox"] == []


async def test_a_missing_token_is_refused_and_nothing_is_left_behind(bench: Bench) -> None:
    enroll = bench.enroll(first_name=None)
    await bench.command(enroll)
    assert bench.kafka.kinds("segue.enrollment.events.v1") == ["refused"]
    assert await bench.database.collection(names.ENROLLMENTS).find({}) == []


async def test_the_due_query_walks_the_due_index(bench: Bench) -> None:
    collection = bench.database.collection(names.ENROLLMENTS)
    query = {"shard": {"$in": list(ALL_SHARDS[:60])}, "due_at": {"$lte": bench.clock.now()}}
    plan = str(await collection.explain(query, sort=[("due_at", 1)]))
    assert "SORT_MERGE" in plan
    assert "'indexName': 'due'" in plan
    assert "COLLSCAN" not in plan
