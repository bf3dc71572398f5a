"""Lists and replays dead letters: `python -m chassis.dead_letters list|replay`.

`replay` publishes the original key, value and headers to the topic a letter came from. For each such topic it
remembers in a consumer group of its own how far it came, so that a letter is replayed once; `--letter`
replays a chosen one again and leaves that mark alone. Every handler is idempotent, so a replay too many does
no harm. A record that was too large to be parked whole (`cut`: its size in bytes) is listed, never replayed.
"""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import argparse
import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from chassis.errors import Fatal, Retry
from chassis.kafka.connection import client_options
from chassis.kafka.letters import CUT, PREFIX
from chassis.kafka.publisher import Publisher
from chassis.kafka.records import Headers, Record, headers_of
from chassis.kafka.topics import partition_count
from chassis.settings import KafkaSettings, load
from segue_contracts.topics import DEAD_LETTERS

GROUP = "segue.dead-letters.replay."
REPLAYED = "segue_replayed_from"
POLL_MS = 1000
BATCH = 500


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its content: `letter` is its own partition:offset, the rest are its labels."""

    letter: str
    topic: str
    partition: str
    offset: str
    group: str
    code: str
    error: str
    attempts: str
    at: str
    cut: str

    @classmethod
    def read(cls, record: ConsumerRecord[bytes | None, bytes | None]) -> Self:
        """From a record of the dead-letter topic; a label that is missing reads as empty."""
        labels = {
            name.removeprefix(PREFIX): value.decode("utf-8", "replace")
            for name, value in headers_of(record.headers)
            if name.startswith(PREFIX)
        }
        names = ("topic", "partition", "offset", "group", "code", "error", "attempts", "at", CUT)
        return cls(f"{record.partition}:{record.offset}", *(labels.get(name, "") for name in names))


async def letters(
    settings: KafkaSettings, *, topic: str | None = None, limit: int | None = None
) -> list[Letter]:
    """The dead letters that came from `topic` (from anywhere), the oldest first."""
    found: list[Letter] = []
    async with _reader(settings, group=None) as consumer:
        async for record in _until_the_end(consumer):
            letter = Letter.read(record)
            if topic in (None, letter.topic):
                found.append(letter)
            if len(found) == limit:
                break
    return found


async def replay(settings: KafkaSettings, *, topic: str, limit: int | None = None) -> int:
    """Publish again what came from `topic` and was not replayed yet; how many. The mark moves afterwards."""
    async with Publisher(settings) as publisher, _reader(settings, group=GROUP + topic) as consumer:
        records: list[Record] = []
        marks: dict[TopicPartition, int] = {}
        replayed = 0
        async for record in _until_the_end(consumer):
            found = Letter.read(record)
            if found.topic == topic and not found.cut:
                records.append(original(record))
            marks[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if len(records) == BATCH or replayed + len(records) == limit:
                replayed += await _publish_and_mark(publisher, consumer, records, marks)
            if replayed == limit:
                break
        return replayed + await _publish_and_mark(publisher, consumer, records, marks)


async def replay_letter(settings: KafkaSettings, letter: str) -> bool:
    """Publish one letter, named `partition:offset`, again; False if it is not there, or not whole."""
    partition, offset = (int(part) for part in letter.split(":"))
    if partition >= await partition_count(settings, DEAD_LETTERS):
        return False
    chosen = TopicPartition(settings.kafka_topic_prefix + DEAD_LETTERS.name, partition)
    async with Publisher(settings) as publisher, _reader(settings, group=None) as consumer:
        consumer.seek(chosen, offset)
        async for record in _until_the_end(consumer):
            if (record.partition, record.offset) == (partition, offset) and not Letter.read(record).cut:
                await publisher.publish([original(record)])
                return True
    return False


def original(record: ConsumerRecord[bytes | None, bytes | None]) -> Record:
    """The record that a letter was made of, marked with the letter it comes from."""
    letter = Letter.read(record)
    mark: Headers = ((REPLAYED, letter.letter.encode()),)
    headers = headers_of(record.headers)
    own = tuple(each for each in headers if not each[0].startswith(PREFIX) and each[0] != REPLAYED)
    return Record(letter.topic, record.key, record.value, (*own, *mark))


async def _publish_and_mark(
    publisher: Publisher, consumer: AIOKafkaConsumer, records: list[Record], marks: dict[TopicPartition, int]
) -> int:
    await publisher.publish(records)
    if marks:
        await consumer.commit(marks)
    count = len(records)
    records.clear()
    marks.clear()
    return count


@contextlib.asynccontextmanager
async def _reader(settings: KafkaSettings, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of the whole dead-letter topic, from the group's mark or from the beginning."""
    name = settings.kafka_topic_prefix + DEAD_LETTERS.name
    partitions = await partition_count(settings, DEAD_LETTERS)
    if partitions == 0:
        raise Fatal(f"There is no topic {name}: no service has started on this cluster yet.")
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=None if group is None else settings.kafka_topic_prefix + group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    consumer.assign([TopicPartition(name, partition) for partition in range(partitions)])
    try:
        await consumer.start()
        yield consumer
    except KafkaError as error:
        raise Retry(f"Kafka at {settings.kafka_bootstrap_servers}: {error!r}") from error
    finally:
        await consumer.stop()


async def _until_the_end(
    consumer: AIOKafkaConsumer,
) -> AsyncIterator[ConsumerRecord[bytes | None, bytes | None]]:
    """What is there now; letters that arrive meanwhile wait for the next time."""
    ends = await consumer.end_offsets(consumer.assignment())
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
        for partition, records in fetched.items():
            for record in records:
                if record.offset < ends[partition]:
                    yield record


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; 1 when Kafka does not answer or a chosen letter is gone."""
    options = _parser().parse_args(arguments)
    settings = load(KafkaSettings)
    try:
        return asyncio.run(
            _list(settings, options) if options.command == "list" else _replay(settings, options)
        )
    except (Fatal, Retry) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chassis.dead_letters", description="List or replay dead letters."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("list", "one JSON object per letter, without contents"),
        ("replay", "publish them again"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument(
            "--topic", help="only letters that came from this topic (declared name, no prefix)"
        )
        command.add_argument("--limit", type=_positive, help="at most so many, of each topic")
        if name == "replay":
            command.add_argument("--letter", type=_letter, help="only this one, as listed: partition:offset")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _letter(text: str) -> str:
    if not re.fullmatch(r"\d{1,9}:\d{1,18}", text):
        raise argparse.ArgumentTypeError("a letter is named partition:offset")
    return text


async def _list(settings: KafkaSettings, options: argparse.Namespace) -> int:
    for letter in await letters(settings, topic=options.topic, limit=options.limit):
        print(orjson.dumps(asdict(letter)).decode())
    return 0


async def _replay(settings: KafkaSettings, options: argparse.Namespace) -> int:
    if options.letter is not None:
        found = await replay_letter(settings, options.letter)
        print(f"{options.letter}: {'replayed' if found else 'not there, or not whole'}")
        return 0 if found else 1
    topics = {options.topic} if options.topic else {each.topic for each in await letters(settings)}
    for topic in sorted(topics):
        print(f"{topic}: {await replay(settings, topic=topic, limit=options.limit)} replayed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
