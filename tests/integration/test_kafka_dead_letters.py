"""Dead letters are listed without their contents and replayed once, by mark or by name."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from chassis import dead_letters
from chassis.errors import Fatal, Reject
from chassis.kafka import DeadLetters, Publisher, Received, ensure_topics
from chassis.settings import KafkaSettings
from chassis.testing import fresh_name
from segue_contracts.topics import DEAD_LETTERS, Topic

pytestmark = pytest.mark.stack

APPLES = Topic("apples", "One origin.", 60_000, partitions=2)
PEARS = Topic("pears", "Another.", 60_000, partitions=2)


@dataclass
class Scene:
    settings: KafkaSettings
    letters: DeadLetters

    async def park(self, topic: str, *values: bytes) -> None:
        for offset, value in enumerate(values):
            headers = (("ce_id", value), ("segue_dead_code", b"of an earlier life"))
            received = Received(topic, 1, offset, b"key " + value, value, headers, 0)
            await self.letters.put(received, Reject("invalid", "secret"), group="workers", attempts=1)

    async def arrived(self, topic: str, count: int) -> list[Any]:
        """The first `count` records of a topic, by key."""
        consumer = AIOKafkaConsumer(
            self.settings.kafka_topic_prefix + topic,
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
        )
        async with consumer, asyncio.timeout(20):
            found = [await consumer.getone() for _ in range(count)]
            assert await consumer.getmany(timeout_ms=300) == {}
        return sorted(found, key=lambda record: record.key)


@pytest.fixture
async def scene(kafka_bootstrap: str) -> AsyncIterator[Scene]:
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap, kafka_topic_prefix=f"{fresh_name()}.")
    await ensure_topics(settings, [APPLES, PEARS, DEAD_LETTERS])
    async with Publisher(settings) as publisher:
        yield Scene(settings, DeadLetters(publisher))


async def test_a_list_tells_where_letters_came_from_and_why_but_not_what_they_say(scene: Scene) -> None:
    await scene.park("apples", b"a0", b"a1")
    await scene.park("pears", b"p0")
    found = await dead_letters.letters(scene.settings)
    assert [(each.topic, each.partition, each.offset, each.code) for each in found] == [
        ("apples", "1", "0", "invalid"),
        ("apples", "1", "1", "invalid"),
        ("pears", "1", "0", "invalid"),
    ]
    assert [each.topic for each in await dead_letters.letters(scene.settings, topic="pears")] == ["pears"]
    assert len(await dead_letters.letters(scene.settings, limit=2)) == 2


async def test_a_replay_brings_back_the_original_record_without_labels(scene: Scene) -> None:
    await scene.park("apples", b"a0")
    assert await dead_letters.replay(scene.settings, topic="apples") == 1
    (record,) = await scene.arrived("apples", 1)
    assert (record.key, record.value) == (b"key a0", b"a0")
    assert record.headers == (("ce_id", b"a0"), ("segue_replayed_from", b"0:0"))


async def test_a_letter_is_replayed_once_and_each_topic_has_its_own_mark(scene: Scene) -> None:
    await scene.park("apples", b"a0", b"a1")
    await scene.park("pears", b"p0")
    await scene.park("apples", b"a2")
    replay = dead_letters.replay
    assert await replay(scene.settings, topic="apples", limit=1) == 1
    assert await replay(scene.settings, topic="apples") == 2
    assert await replay(scene.settings, topic="apples") == 0
    assert await replay(scene.settings, topic="pears") == 1
    await scene.park("apples", b"a3")
    assert await replay(scene.settings, topic="apples") == 1
    assert [r.value for r in await scene.arrived("apples", 4)] == [b"a0", b"a1", b"a2", b"a3"]
    assert [r.value for r in await scene.arrived("pears", 1)] == [b"p0"]


async def test_a_chosen_letter_is_replayed_again_and_moves_no_mark(scene: Scene) -> None:
    await scene.park("apples", b"a0", b"a1")
    assert await dead_letters.replay_letter(scene.settings, "0:1")
    assert await dead_letters.replay(scene.settings, topic="apples") == 2
    assert [r.value for r in await scene.arrived("apples", 3)] == [b"a0", b"a1", b"a1"]


async def test_a_letter_that_is_not_there_is_said_to_be_missing(scene: Scene) -> None:
    await scene.park("apples", b"a0")
    assert not await dead_letters.replay_letter(scene.settings, "0:7")
    assert not await dead_letters.replay_letter(scene.settings, "3:0")


async def test_what_is_not_whole_is_listed_and_never_replayed(scene: Scene) -> None:
    await scene.park("apples", bytes(2_000_000), b"a1")
    cut, whole = await dead_letters.letters(scene.settings)
    assert int(cut.cut) > 2_000_000
    assert whole.cut == ""
    assert await dead_letters.replay(scene.settings, topic="apples") == 1
    assert not await dead_letters.replay_letter(scene.settings, "0:0")
    assert [record.value for record in await scene.arrived("apples", 1)] == [b"a1"]


async def test_without_the_topic_the_command_says_so(kafka_bootstrap: str) -> None:
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap, kafka_topic_prefix=fresh_name())
    with pytest.raises(Fatal, match="no topic"):
        await dead_letters.letters(settings)


async def test_the_command_line_lists_as_json_and_replays_every_topic(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await scene.park("apples", b"a0")
    await scene.park("pears", b"p0")
    monkeypatch.setenv("SEGUE_KAFKA_BOOTSTRAP_SERVERS", scene.settings.kafka_bootstrap_servers)
    monkeypatch.setenv("SEGUE_KAFKA_TOPIC_PREFIX", scene.settings.kafka_topic_prefix)
    assert await asyncio.to_thread(dead_letters.main, ["list", "--topic", "pears"]) == 0
    assert orjson.loads(capsys.readouterr().out)["letter"] == "0:1"
    assert await asyncio.to_thread(dead_letters.main, ["replay"]) == 0
    assert capsys.readouterr().out == "apples: 1 replayed\npears: 1 replayed\n"
    assert await asyncio.to_thread(dead_letters.main, ["replay", "--letter", "0:9"]) == 1
