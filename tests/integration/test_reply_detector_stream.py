"""The Faust agent against a real Kafka: nothing that goes wrong inside it loses a message."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from chassis.errors import Fatal, Reject, Retry
from chassis.kafka import DeadLetters, Publisher, Record, ensure_topics
from chassis.settings import KafkaSettings
from reply_detector.model import State
from reply_detector.stream import TRANSIENT_TRIES, InboundStream, assignment, build_app
from segue_contracts.events import CorrectAnswer, InboundMessage
from segue_contracts.topics import DEAD_LETTERS, INBOUND_MESSAGES
from stack.client import eventually

pytestmark = [
    pytest.mark.stack,
    # Faust leaves a few loose ends of its own when it stops.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WORKSPACE = UUID("7c1f3f35-28f4-4b7b-a4a3-6a0f6c1b5d11")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def pointer(inbound_id: UUID, partition: int | None = None) -> Record:
    message = InboundMessage(
        event_id=inbound_id,
        occurred_at=NOW,
        recorded_at=NOW,
        workspace_id=WORKSPACE,
        inbound_id=inbound_id,
        mailbox_id=WORKSPACE,
    )
    record = Record.of(message)
    return Record(record.topic, record.key, record.value, record.headers, partition)


class Settling:
    """Stands in for the detector: remembers the ids, raises what it is told to, tells when it saw one."""

    def __init__(self) -> None:
        self.seen: list[UUID] = []
        self.errors: dict[UUID, list[Exception]] = {}
        self._news = asyncio.Condition()

    async def settle(self, workspace_id: UUID, inbound_id: UUID) -> State:
        assert workspace_id == WORKSPACE
        async with self._news:
            self.seen.append(inbound_id)
            self._news.notify_all()
        if waiting := self.errors.get(inbound_id):
            raise waiting.pop(0)
        return State.SETTLED

    async def correct(self, command: CorrectAnswer) -> None:
        raise AssertionError("nobody corrects anything here")

    async def saw(self, *ids: UUID) -> None:
        async with self._news, asyncio.timeout(60):
            await self._news.wait_for(lambda: set(ids) <= set(self.seen))


class Hanging(Settling):
    """Never finishes one id."""

    def __init__(self, endless: UUID) -> None:
        super().__init__()
        self._endless = endless

    async def settle(self, workspace_id: UUID, inbound_id: UUID) -> State:
        state = await super().settle(workspace_id, inbound_id)
        if inbound_id == self._endless:
            await asyncio.Event().wait()
        return state


async def until(holds: Callable[[], bool]) -> None:
    """For what only Faust knows, and tells nobody."""

    async def look() -> bool:
        return holds()

    await eventually(look, until=bool, seconds=60)


@pytest.fixture
async def settings(kafka_bootstrap: str) -> KafkaSettings:
    settings = KafkaSettings(
        kafka_bootstrap_servers=kafka_bootstrap, kafka_topic_prefix=f"t{uuid4().hex[:10]}."
    )
    await ensure_topics(settings, [INBOUND_MESSAGES, DEAD_LETTERS])
    return settings


@pytest.fixture
async def publisher(settings: KafkaSettings) -> AsyncIterator[Publisher]:
    async with Publisher(settings) as publisher:
        yield publisher


@asynccontextmanager
async def running(
    settings: KafkaSettings, detector: Settling, publisher: Publisher
) -> AsyncIterator[InboundStream]:
    stream = InboundStream(settings, detector, DeadLetters(publisher), jitter=lambda: 0.0)
    task = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        await stream.stop()
        await task


async def letters(settings: KafkaSettings, count: int) -> Sequence[dict[str, bytes]]:
    """The headers of the first dead letters of this test."""
    consumer = AIOKafkaConsumer(
        settings.kafka_topic_prefix + DEAD_LETTERS.name,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return [dict((await consumer.getone()).headers) for _ in range(count)]
    finally:
        await consumer.stop()


async def test_pointers_of_every_partition_reach_the_detector(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    detector = Settling()
    ids = [uuid4() for _ in range(INBOUND_MESSAGES.partitions)]
    async with running(settings, detector, publisher):
        await publisher.publish([pointer(each, partition) for partition, each in enumerate(ids)])
        await detector.saw(*ids)


async def test_a_tombstone_and_a_pointer_that_cannot_be_read_are_dead_lettered_and_the_next_ones_handled(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    detector = Settling()
    good = uuid4()
    poison = [
        Record(INBOUND_MESSAGES.name, b"k", b"\xff not json", partition=3),
        Record(INBOUND_MESSAGES.name, b"k", None, partition=3),
        Record(INBOUND_MESSAGES.name, b"k", b'{"event_type": "received"}', partition=3),
    ]
    async with running(settings, detector, publisher):
        await publisher.publish([*poison, pointer(good, 3)])
        await detector.saw(good)
        parked = await letters(settings, 3)
    assert [each["segue_dead_code"] for each in parked] == [b"invalid", b"empty", b"invalid"]
    assert {each["segue_dead_topic"] for each in parked} == {INBOUND_MESSAGES.name.encode()}
    assert {each["segue_dead_partition"] for each in parked} == {b"3"}
    assert detector.seen == [good]


async def test_a_bug_is_tried_again_then_dead_lettered_and_the_next_pointer_is_handled(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    detector = Settling()
    once, always, good = uuid4(), uuid4(), uuid4()
    detector.errors = {once: [ValueError("a bug")], always: [ValueError("a bug") for _ in range(9)]}
    async with running(settings, detector, publisher):
        await publisher.publish([pointer(once, 5), pointer(always, 5), pointer(good, 5)])
        await detector.saw(good)
        (parked,) = await letters(settings, 1)
        await until(lambda: len(detector.seen) == 6)
    assert Counter(detector.seen) == {once: 2, always: 3, good: 1}
    assert parked["segue_dead_code"] == b"ValueError"
    assert b"a bug" in parked["segue_dead_trace"]


async def test_a_transient_failure_is_tried_again_and_then_left_to_the_sweep(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    detector = Settling()
    short, long, good = uuid4(), uuid4(), uuid4()
    detector.errors = {short: [Retry("busy")] * 2, long: [Retry("down")] * 100}
    async with running(settings, detector, publisher):
        await publisher.publish([pointer(short, 1), pointer(long, 1), pointer(good, 1)])
        await detector.saw(good)
        await until(lambda: len(detector.seen) == 3 + TRANSIENT_TRIES + 1)
    assert Counter(detector.seen) == {short: 3, long: TRANSIENT_TRIES, good: 1}


async def test_a_pointer_that_takes_long_holds_up_no_other_and_none_of_them_is_acknowledged_before_it(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    slow, behind = uuid4(), [uuid4() for _ in range(20)]
    first, second = Hanging(slow), Settling()
    async with running(settings, first, publisher):
        await publisher.publish([pointer(each, 4) for each in (slow, *behind)])
        await first.saw(slow, *behind)
    async with running(settings, second, publisher):
        await second.saw(slow, *behind)
    assert Counter(first.seen) == Counter(second.seen) == Counter((slow, *behind))


async def test_a_pointer_in_work_when_the_agent_stops_comes_again_and_a_finished_one_does_not(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    done, cut_off = uuid4(), uuid4()
    first, second = Hanging(cut_off), Settling()
    async with running(settings, first, publisher):
        await publisher.publish([pointer(done, 2), pointer(cut_off, 2)])
        await first.saw(done, cut_off)
    async with running(settings, second, publisher):
        await second.saw(cut_off)
    assert second.seen == [cut_off]


async def test_instances_come_and_go_and_every_pointer_is_handled(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    first, second = Settling(), Settling()
    ids = [[uuid4() for _ in range(INBOUND_MESSAGES.partitions)] for _ in range(3)]

    async def publish(batch: list[UUID]) -> None:
        await publisher.publish([pointer(each, partition) for partition, each in enumerate(batch)])

    async with running(settings, first, publisher):
        await publish(ids[0])
        await first.saw(*ids[0])
        async with running(settings, second, publisher) as joined:
            await until(lambda: 0 < len(joined.assigned) < INBOUND_MESSAGES.partitions)
            await publish(ids[1])
            await until(lambda: set(ids[1]) <= set(first.seen) | set(second.seen))
        await publish(ids[2])
        await until(lambda: set(ids[2]) <= set(first.seen) | set(second.seen))
    assert second.seen, "the second instance did its part"


async def test_too_many_dead_letters_in_a_row_end_the_agent_and_keep_the_pointer(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    ids = [uuid4() for _ in range(4)]
    broken = Settling()
    broken.errors = {each: [Reject("bad_deploy")] * 9 for each in ids}
    stream = InboundStream(settings, broken, DeadLetters(publisher, ceiling=2), jitter=lambda: 0.0)
    await publisher.publish([pointer(each, 7) for each in ids])
    with pytest.raises(Fatal, match="2 pointers in a row"):
        await stream.run()
    assert stream.unready() is not None
    repaired = Settling()
    async with running(settings, repaired, publisher):
        await repaired.saw(*ids[2:])
    assert repaired.seen == ids[2:]


async def test_nothing_is_assigned_before_the_consumer_exists(
    settings: KafkaSettings, tmp_path: Path
) -> None:
    async def agent(_: object) -> None: ...

    assert assignment(build_app(settings, tmp_path, agent)) is None


async def test_the_agent_is_ready_once_it_has_its_partitions(
    settings: KafkaSettings, publisher: Publisher
) -> None:
    idle = InboundStream(settings, Settling(), DeadLetters(publisher))
    assert idle.unready() == "not started"
    async with running(settings, Settling(), publisher) as stream:
        await until(lambda: len(stream.assigned) == INBOUND_MESSAGES.partitions)
        assert stream.unready() is None
