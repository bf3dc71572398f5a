"""The courier and its line to Kafka, which may be away: nothing is refused, and nothing is forgotten."""

import asyncio
from collections.abc import Sequence
from typing import cast
from uuid import uuid4

import pytest

from api.courier import Courier, Letter
from api.line import Line
from api.settings import ApiSettings
from api.store import Store
from chassis.clock import Clock
from chassis.errors import Fatal, Reject, Retry
from chassis.kafka import Record
from segue_contracts.events import StageDue


class Kafka:
    """Topics and publisher of a cluster that is away until it comes; `wrong` is what it answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.here = asyncio.Event()
        self.wrong: Exception | None = None
        self.records: list[Record] = []
        self.published = asyncio.Event()
        self.line = Line(self, self.ensure_topics)

    async def ensure_topics(self) -> None:
        self.asked.set()
        if self.wrong is not None:
            raise self.wrong
        await self.here.wait()

    async def connect(self) -> None:
        assert self.here.is_set()

    async def publish(self, records: Sequence[Record]) -> None:
        if self.wrong is not None:
            raise self.wrong
        self.records.extend(records)
        self.published.set()


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def courier(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Courier:
    monkeypatch.setenv("SEGUE_KAFKA_BOOTSTRAP_SERVERS", "unused:9092")
    monkeypatch.setenv("SEGUE_MONGODB_URI", "mongodb://unused")
    monkeypatch.setenv("SEGUE_SECRET_KEYS", "a secret key for tests only")
    store = cast(Store, None)  # letters without a command are not looked up
    return Courier(ApiSettings(), Clock(), store, kafka.line)


def letter() -> Letter:
    now = Clock().now()
    message = StageDue(
        event_id=uuid4(),
        occurred_at=now,
        recorded_at=now,
        workspace_id=uuid4(),
        enrollment_id=uuid4(),
        stage_id="hello",
        attempt=1,
        due_at=now,
    )
    return Letter(message)


async def test_what_was_taken_before_kafka_came_goes_out_when_it_comes(
    kafka: Kafka, courier: Courier
) -> None:
    running = asyncio.create_task(courier.run(kafka.line.connect))
    courier.take([letter(), letter()])
    await kafka.asked.wait()
    assert kafka.records == []
    kafka.here.set()
    await kafka.published.wait()
    assert len(kafka.records) == 2
    await courier.stop()
    await running


async def test_a_stop_lets_the_last_letters_go_out(kafka: Kafka, courier: Courier) -> None:
    kafka.here.set()
    running = asyncio.create_task(courier.run(kafka.line.connect))
    await kafka.asked.wait()
    courier.take([letter()])
    await courier.stop()
    await running
    assert len(kafka.records) == 1


async def test_a_stop_while_kafka_is_away_leaves_the_letters_to_the_sweep_and_asks_no_more(
    kafka: Kafka, courier: Courier
) -> None:
    kafka.wrong = Retry("no broker")
    running = asyncio.create_task(courier.run(kafka.line.connect))
    courier.take([letter()])
    await kafka.asked.wait()
    kafka.asked.clear()
    await courier.stop()
    await running
    assert not kafka.asked.is_set()
    assert kafka.records == []


async def test_topics_that_cannot_be_used_end_the_courier(kafka: Kafka, courier: Courier) -> None:
    kafka.wrong = Fatal("too few partitions")
    with pytest.raises(Fatal):
        await courier.run(kafka.line.connect)


async def test_a_line_that_was_never_open_says_so_at_once(kafka: Kafka) -> None:
    kafka.here.set()
    with pytest.raises(Retry):
        await kafka.line.publish([Record.of(letter().message)])
    assert kafka.records == []


async def test_the_line_tells_what_is_wrong_with_kafka_for_as_long_as_it_is(kafka: Kafka) -> None:
    kafka.here.set()
    records = [Record.of(letter().message)]
    assert kafka.line.trouble() == "not connected yet"
    kafka.wrong = Retry("no broker")
    with pytest.raises(Retry):
        await kafka.line.connect()
    assert kafka.line.trouble() == "can't be reached"
    kafka.wrong = None
    await kafka.line.connect()
    assert kafka.line.trouble() is None
    kafka.wrong = Reject("TopicAuthorizationFailedError")
    with pytest.raises(Retry):  # whatever Kafka refuses is stored, and asked for again
        await kafka.line.publish(records)
    assert kafka.line.trouble() == "what was published last is not acknowledged"
    kafka.wrong = None
    await kafka.line.publish(records)
    assert kafka.line.trouble() is None
