"""The consumer's ladder, commits, rebalances and watchdog against a real Kafka."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from chassis.errors import Fatal, Reject, Retry
from chassis.kafka import Consumer, DeadLetters, Publisher, Received, Record, ensure_topics
from chassis.settings import KafkaSettings
from chassis.testing import fresh_name
from segue_contracts.codec import UNKNOWN_TYPE
from segue_contracts.topics import DEAD_LETTERS, Topic

pytestmark = pytest.mark.stack

THINGS = Topic("things", "What these tests consume.", 60_000, partitions=3)
GROUP = "workers"
PATIENCE_SECONDS = 30


def no_jitter() -> float:
    return 0.0


@dataclass
class Seen:
    """A handler that remembers the values it was given, and does what a test says before."""

    before: Callable[[Sequence[Received]], Awaitable[None]] | None = None
    values: list[bytes] = field(default_factory=list)
    batches: list[list[bytes]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, batch: Sequence[Received]) -> None:
        values = [received.value or b"" for received in batch]
        self.batches.append(values)
        self.changed.set()
        if self.before is not None:
            await self.before(batch)
        self.values.extend(values)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Scene:
    settings: KafkaSettings
    publisher: Publisher

    async def publish(self, *values: bytes, partition: int | None = None) -> None:
        await self.publisher.publish([Record("things", value, value, (), partition) for value in values])

    def consumer(self, handle: Any, **options: Any) -> Consumer:
        letters = DeadLetters(self.publisher, ceiling=options.pop("ceiling", 20))
        return Consumer(
            self.settings,
            group=GROUP,
            topics=["things"],
            handle=handle,
            dead_letters=letters,
            **{"jitter": no_jitter, **options},
        )

    @contextlib.asynccontextmanager
    async def running(self, handle: Any, **options: Any) -> AsyncIterator[Consumer]:
        """A consumer that runs for the time of the block and is then stopped in order."""
        consumer = self.consumer(handle, **options)
        task = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            await consumer.stop()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await task

    async def committed(self) -> dict[int, int | None]:
        """The group's offset of each partition."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            group_id=self.settings.kafka_topic_prefix + GROUP,
            enable_auto_commit=False,
        )
        async with consumer:
            topic = self.settings.kafka_topic_prefix + "things"
            return {n: await consumer.committed(TopicPartition(topic, n)) for n in range(3)}

    async def letters(self, count: int) -> list[Any]:
        consumer = AIOKafkaConsumer(
            self.settings.kafka_topic_prefix + DEAD_LETTERS.name,
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
        )
        async with consumer:
            return [await consumer.getone() for _ in range(count)]


@pytest.fixture
async def scene(kafka_bootstrap: str) -> AsyncIterator[Scene]:
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap, kafka_topic_prefix=f"{fresh_name()}.")
    await ensure_topics(settings, [THINGS, DEAD_LETTERS])
    async with Publisher(settings) as publisher:
        yield Scene(settings, publisher)


def numbers(*those: int) -> list[bytes]:
    return [b"%d" % n for n in those]


# The plain way.


async def test_everything_is_handled_once_with_names_free_of_the_prefix(scene: Scene) -> None:
    received: list[Received] = []

    async def keep(batch: Sequence[Received]) -> None:
        received.extend(batch)

    seen = Seen(keep)
    assigned: list[frozenset[tuple[str, int]]] = []
    await scene.publish(*numbers(*range(100)))
    async with scene.running(seen, on_assigned=assigned.append) as consumer:
        await seen.until(lambda: len(seen.values) == 100)
        assert consumer.unready() is None
        assert consumer.assigned == {("things", 0), ("things", 1), ("things", 2)}
    assert sorted(seen.values) == sorted(numbers(*range(100)))
    assert {each.topic for each in received} == {"things"}
    assert assigned == [frozenset({("things", 0), ("things", 1), ("things", 2)})]


async def test_a_batch_is_never_larger_than_asked(scene: Scene) -> None:
    seen = Seen()
    await scene.publish(*numbers(*range(50)))
    async with scene.running(seen, max_batch=7):
        await seen.until(lambda: len(seen.values) == 50)
    assert max(len(batch) for batch in seen.batches) == 7


async def test_a_restart_resumes_at_exactly_the_next_offset(scene: Scene) -> None:
    first, second = Seen(), Seen()
    await scene.publish(*numbers(*range(30)), partition=1)
    async with scene.running(first, max_batch=10):
        await first.until(lambda: len(first.values) == 30)
    assert (await scene.committed())[1] == 30
    await scene.publish(*numbers(*range(30, 40)), partition=1)
    async with scene.running(second):
        await second.until(lambda: len(second.values) == 10)
    assert second.values == numbers(*range(30, 40))


async def test_a_stop_in_the_middle_of_a_batch_lets_it_end_and_commits_it(scene: Scene) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def hold(_: Sequence[Received]) -> None:
        entered.set()
        await release.wait()

    seen = Seen(hold)
    await scene.publish(*numbers(*range(5)), partition=0)
    consumer = scene.consumer(seen)
    task = asyncio.create_task(consumer.run())
    await entered.wait()
    await consumer.stop()
    release.set()
    await task
    assert seen.values == numbers(*range(5))
    assert (await scene.committed())[0] == 5


async def test_a_consumer_with_nothing_to_read_stops_at_once(scene: Scene) -> None:
    loop = asyncio.get_running_loop()
    assigned = asyncio.Event()
    consumer = scene.consumer(Seen(), on_assigned=lambda _: assigned.set())
    task = asyncio.create_task(consumer.run())
    await assigned.wait()
    began = loop.time()
    await consumer.stop()
    await task
    assert loop.time() - began < 1


# Retry.


async def test_retry_repeats_the_same_batch_and_loses_nothing(scene: Scene) -> None:
    tries = 0

    async def twice(_: Sequence[Received]) -> None:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise Retry("the database is away")

    seen = Seen(twice)
    await scene.publish(*numbers(*range(10)), partition=0)
    async with scene.running(seen):
        await seen.until(lambda: len(seen.values) == 10)
    assert seen.batches[0] == seen.batches[1] == seen.batches[2]
    assert seen.values == numbers(*range(10))
    assert (await scene.committed())[0] == 10


async def test_a_consumer_that_is_trying_again_says_so_and_can_be_stopped(scene: Scene) -> None:
    async def away(_: Sequence[Received]) -> None:
        raise Retry("the database is away")

    seen = Seen(away)
    await scene.publish(b"1", partition=0)
    async with scene.running(seen) as consumer:
        await seen.until(lambda: len(seen.batches) >= 2)
        assert "the database is away" in (consumer.unready() or "")
    assert await scene.committed() == {0: None, 1: None, 2: None}


# Poison.


async def test_a_poison_record_is_dead_lettered_and_the_others_are_handled_once(scene: Scene) -> None:
    async def choke(batch: Sequence[Received]) -> None:
        if any(received.value == b"4" for received in batch):
            raise Reject("invalid", "no such field")

    seen = Seen(choke)
    await scene.publish(*numbers(*range(10)), partition=2)
    async with scene.running(seen):
        await seen.until(lambda: len(seen.values) == 9)
    assert seen.values == numbers(0, 1, 2, 3, 5, 6, 7, 8, 9)
    assert (await scene.committed())[2] == 10
    (letter,) = await scene.letters(1)
    assert (letter.key, letter.value) == (b"4", b"4")
    labels = dict(letter.headers)
    assert labels["segue_dead_topic"] == b"things"
    assert labels["segue_dead_partition"] == b"2"
    assert labels["segue_dead_offset"] == b"4"
    assert labels["segue_dead_group"] == GROUP.encode()
    assert labels["segue_dead_code"] == b"invalid"
    assert labels["segue_dead_attempts"] == b"1"
    assert "segue_dead_trace" not in labels


async def test_a_bug_is_tried_a_few_times_and_dead_lettered_with_its_traceback(scene: Scene) -> None:
    async def stumble(batch: Sequence[Received]) -> None:
        if any(received.value == b"1" for received in batch):
            raise ZeroDivisionError("oh")

    seen = Seen(stumble)
    await scene.publish(*numbers(0, 1, 2), partition=0)
    async with scene.running(seen):
        await seen.until(lambda: seen.values == numbers(0, 2))
    assert seen.batches.count([b"1"]) == 3
    (letter,) = await scene.letters(1)
    labels = dict(letter.headers)
    assert labels["segue_dead_code"] == b"ZeroDivisionError"
    assert b"stumble" in labels["segue_dead_trace"]


async def test_a_bug_that_passes_parks_nothing(scene: Scene) -> None:
    tries = 0

    async def once(_: Sequence[Received]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError("race")

    seen = Seen(once)
    await scene.publish(b"1", partition=0)
    async with scene.running(seen):
        await seen.until(lambda: seen.values == [b"1"])
    assert (await scene.committed())[0] == 1


async def test_too_many_dead_letters_in_a_row_stop_the_consumer_before_the_next(scene: Scene) -> None:
    async def choke(_: Sequence[Received]) -> None:
        raise Reject("bad_deploy")

    await scene.publish(*numbers(*range(10)), partition=0)
    with pytest.raises(Fatal, match=r"3 records in a row .*things/0@3"):
        await scene.consumer(Seen(choke), ceiling=3).run()
    assert (await scene.committed())[0] == 3
    assert [letter.value for letter in await scene.letters(3)] == numbers(0, 1, 2)


async def test_types_of_a_newer_release_are_parked_without_an_end(scene: Scene) -> None:
    async def choke(_: Sequence[Received]) -> None:
        raise Reject(UNKNOWN_TYPE)

    await scene.publish(*numbers(*range(5)), partition=0)
    async with scene.running(Seen(choke), ceiling=2):
        assert [letter.value for letter in await scene.letters(5)] == numbers(*range(5))


async def test_a_good_record_in_between_resets_the_ceiling(scene: Scene) -> None:
    async def choke(batch: Sequence[Received]) -> None:
        if any(int(received.value or b"0") % 2 for received in batch):
            raise Reject("odd")

    seen = Seen(choke)
    await scene.publish(*numbers(*range(12)), partition=0)
    async with scene.running(seen, ceiling=2):
        await seen.until(lambda: len(seen.values) == 6)
    assert (await scene.committed())[0] == 12


# Rebalances.


async def test_a_revocation_waits_for_the_batch_and_its_commit(scene: Scene) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def hold(_: Sequence[Received]) -> None:
        entered.set()
        await release.wait()

    first, second = Seen(hold), Seen()
    for partition in range(3):
        await scene.publish(*numbers(*range(partition * 10, partition * 10 + 10)), partition=partition)
    async with scene.running(first):
        await entered.wait()
        async with scene.running(second):
            # The second one waits for the first, which holds its batch.
            release.set()
            await first.until(lambda: bool(first.values))
            await scene.publish(*numbers(*range(30, 60)))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(first.values) + len(second.values) < 60:
                    await asyncio.wait(
                        {
                            asyncio.ensure_future(each)
                            for each in (first.changed.wait(), second.changed.wait())
                        },
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    first.changed.clear()
                    second.changed.clear()
    assert sorted(first.values + second.values) == sorted(numbers(*range(60)))


async def test_members_that_come_and_go_lose_nothing_and_repeat_nothing(scene: Scene) -> None:
    handled: list[bytes] = []

    async def keep(batch: Sequence[Received]) -> None:
        await asyncio.sleep(0)
        handled.extend(received.value or b"" for received in batch)

    expected = numbers(*range(6000))
    seen = Seen(keep)
    async with scene.running(seen, max_batch=20):
        for chunk in range(3):
            async with scene.running(seen, max_batch=20), scene.running(seen, max_batch=20):
                await scene.publish(*expected[chunk * 2000 : chunk * 2000 + 2000])
                await seen.until(lambda wanted=chunk * 2000 + 500: len(handled) >= wanted)  # type: ignore[misc]
        await seen.until(lambda: len(handled) >= 6000)
    assert sorted(handled) == sorted(expected)


async def test_a_batch_that_is_being_retried_is_handed_over_whole(scene: Scene) -> None:
    async def away(_: Sequence[Received]) -> None:
        raise Retry("only I can't reach the database")

    stuck, healthy = Seen(away), Seen()
    for partition in range(3):
        await scene.publish(*numbers(partition * 2, partition * 2 + 1), partition=partition)
    consumer = scene.consumer(stuck)
    task = asyncio.create_task(consumer.run())
    await stuck.until(lambda: bool(stuck.batches))
    async with scene.running(healthy):
        await healthy.until(lambda: len(healthy.values) >= 2)
        await consumer.stop()
        await task
        await healthy.until(lambda: len(healthy.values) == 6)
    assert sorted(healthy.values) == numbers(*range(6))


async def test_a_handler_that_outlives_the_drain_does_not_commit(scene: Scene) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def hold(_: Sequence[Received]) -> None:
        entered.set()
        await release.wait()

    slow, other = Seen(hold), Seen()
    for partition in range(3):
        await scene.publish(*numbers(partition), partition=partition)
    async with scene.running(slow, drain_seconds=0.1):
        await entered.wait()
        async with scene.running(other):
            await other.until(lambda: bool(other.values))
            release.set()
            await slow.until(lambda: len(slow.values) + len(other.values) >= 4)
    assert {*slow.values, *other.values} == set(numbers(0, 1, 2))


async def test_a_bug_in_on_assigned_ends_the_consumer(scene: Scene) -> None:
    def stumble(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await scene.consumer(Seen(), on_assigned=stumble).run()


# The watchdog.


async def test_a_handler_that_hangs_ends_the_consumer(scene: Scene) -> None:
    async def hang(_: Sequence[Received]) -> None:
        await asyncio.Event().wait()

    await scene.publish(b"1", partition=0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(Fatal, match=r"stands still: things/0 stands at 0 of 1"):
            await scene.consumer(Seen(hang), stall_seconds=1.0).run()


async def test_trying_again_is_reported_and_is_no_stall(scene: Scene) -> None:
    async def away(_: Sequence[Received]) -> None:
        raise Retry("away")

    seen = Seen(away)
    await scene.publish(b"1", partition=0)
    async with scene.running(seen, stall_seconds=0.5, jitter=no_jitter):
        await seen.until(lambda: len(seen.batches) >= 6)  # 1.5 s of pauses


async def test_an_unknown_topic_ends_the_consumer(scene: Scene) -> None:
    nothing = Consumer(
        scene.settings,
        group=GROUP,
        topics=["nothing"],
        handle=Seen(),
        dead_letters=DeadLetters(scene.publisher),
    )
    with pytest.raises(Fatal, match=r"there is no topic .*nothing"):
        await nothing.run()
