"""Measures how soon an answer stops its sequence, at a steady rate of arrivals that waits for nobody.

Run: `python -m tests.bench.answers [--rate 1000] [--seconds 10]`. Each answer is stored as a webhook stores
it and pointed at on Kafka; its latency counts from the instant at which it was due to arrive, so that a
system that falls behind is not measured by its own pace. The stop is timed when a reader of writes that a
majority has is told of it. Every hundredth arrival is poison: bytes that are no mail, or a pointer that is no
pointer. Exit 1: something is not accounted for.
"""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.bench.ground import cpu_seconds

from chassis import documents as names
from chassis.clock import Clock
from chassis.inbound import inbound_document, pointer
from chassis.kafka import Publisher, Record
from chassis.kafka.connection import client_options
from chassis.settings import ServiceSettings
from chassis.store import Database, Document, connect
from segue_contracts.codec import encode
from segue_contracts.topics import DEAD_LETTERS
from stack.brokers import brokers
from stack.system import system

WORKSPACE = UUID(int=1)
TICK_SECONDS = 0.01
INSERTED_AT_ONCE = 5_000
POISON_EACH = 100
GRACE_SECONDS = 120.0
QUIET_SECONDS = 5.0
LAST_LOOK_SECONDS = 0.5
OWN = "ana@ourco.example"


@dataclass
class Flood:
    """Who answers, when that was due, and when the stop was seen (monotonic seconds)."""

    rate: float
    count: int
    due: dict[UUID, float] = field(default_factory=dict)
    stopped: dict[UUID, float] = field(default_factory=dict)
    stored: int = 0
    broken_pointers: int = 0
    behind: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="From an answer's arrival to its stop.")
    parser.add_argument("--rate", type=float, default=1000.0, help="arrivals a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="for so long")
    given = parser.parse_args(arguments)
    flood = Flood(given.rate, int(given.rate * given.seconds))
    with tempfile.TemporaryDirectory(prefix="segue-answers-") as folder:
        root = Path(folder)
        with brokers(root / "brokers") as nodes, system(root / "segue", nodes) as segue:
            groups = {name: process.pid for name, process in segue.processes.items()}
            local = {"Kafka": nodes.local_kafka, "MongoDB": nodes.local_mongo}
            groups |= {name: node.process.pid for name, node in local.items() if node is not None}
            missing = asyncio.run(pour(flood, settings_of(segue.environment), groups))
    print("\n".join(report(flood)))
    for line in missing:
        print(line, file=sys.stderr)
    return 1 if missing else 0


def settings_of(environment: Any) -> ServiceSettings:
    """The brokers that the services use."""
    wanted = ("kafka_bootstrap_servers", "kafka_topic_prefix", "mongodb_uri", "mongodb_database")
    return ServiceSettings(**{name: environment[f"SEGUE_{name.upper()}"] for name in wanted})


async def pour(flood: Flood, settings: ServiceSettings, groups: Mapping[str, int]) -> list[str]:
    """Let them arrive, wait for all that follows; what is missing in the end."""
    async with connect(settings) as database, Publisher(settings) as publisher:
        await furnish(database, flood.count)
        watching = asyncio.create_task(watch(database, flood))
        await asyncio.sleep(QUIET_SECONDS)
        before = cpu_seconds(groups)
        await arrive(database, publisher, flood)
        missing = [*await settled(database, flood), *await parked(settings, flood)]
        flood.cpu = {name: used - before[name] for name, used in cpu_seconds(groups).items()}
        watching.cancel()
        return missing


async def arrive(database: Database, publisher: Publisher, flood: Flood) -> None:
    """Each at its own instant, whatever became of those before."""
    began = time.monotonic() + 1.0
    for number in range(flood.count):
        flood.due[thing("enrollment", number)] = began + number / flood.rate
    number, pending = 0, set[asyncio.Task[None]]()
    while number < flood.count:
        now = time.monotonic()
        until = min(flood.count, int((now - began) * flood.rate) + 1) if now >= began else 0
        if until > number:
            some = asyncio.create_task(hand_in(database, publisher, flood, range(number, until)))
            pending.add(some)
            some.add_done_callback(pending.discard)
            number = until
        await asyncio.sleep(TICK_SECONDS)
    await asyncio.gather(*pending)
    flood.behind = time.monotonic() - (began + flood.count / flood.rate)


async def hand_in(database: Database, publisher: Publisher, flood: Flood, numbers: range) -> None:
    clock = Clock()
    documents: list[Document] = []
    records: list[Record] = []
    for number in numbers:
        raw = b"\xff\xfe\x00 no mail" + bytes([number % 251]) if is_garbage(number) else an_answer(number)
        raw += b"\r\n%d" % number
        document = inbound_document(thing("mailbox"), WORKSPACE, raw, clock.now(), source="webhook")
        documents.append({**document, "raw": raw})
        records.append(Record.of(pointer(document, clock.real_now())))
        if is_broken_pointer(number):
            encoded = encode(pointer(document, clock.real_now()))
            records.append(Record(encoded.topic, encoded.key, b'{"no": "pointer"}', encoded.headers))
            flood.broken_pointers += 1
    await database.collection(names.INBOUND).insert_new(documents)
    await publisher.publish(records)
    flood.stored += len(documents)


def is_garbage(number: int) -> bool:
    """Bytes that are no mail: they settle as nothing."""
    return number % (2 * POISON_EACH) == POISON_EACH


def is_broken_pointer(number: int) -> bool:
    """Beside a good pointer comes one that can't be read: it is parked."""
    return number % (2 * POISON_EACH) == POISON_EACH // 2


async def watch(database: Database, flood: Flood) -> None:
    """Note when each enrollment was seen to have ended."""
    ended = [{"$match": {"operationType": "update", "updateDescription.updatedFields.ended": True}}]
    async with database._raw[names.ENROLLMENTS].watch(ended) as changes:
        async for change in changes:
            flood.stopped.setdefault(change["documentKey"]["_id"], time.monotonic())


async def settled(database: Database, flood: Flood) -> list[str]:
    """Wait until nothing is open; what still is after a while."""
    inbound, enrollments = database.collection(names.INBOUND), database.collection(names.ENROLLMENTS)
    garbage = sum(map(is_garbage, range(flood.count)))
    ends = time.monotonic() + GRACE_SECONDS
    # Counting costs: not before the last stop was seen.
    while len(flood.stopped) < flood.count - garbage and time.monotonic() < ends:  # noqa: ASYNC110
        await asyncio.sleep(LAST_LOOK_SECONDS)
    while True:
        open_messages = await inbound.count(
            {"workspace_id": WORKSPACE, "state": {"$ne": "settled"}}, limit=flood.count
        )
        live = await enrollments.count({"workspace_id": WORKSPACE, "ended": False}, limit=flood.count)
        if (open_messages, live) == (0, garbage) or time.monotonic() > ends:
            break
        await asyncio.sleep(LAST_LOOK_SECONDS)
    await asyncio.sleep(LAST_LOOK_SECONDS)
    missing = [f"{open_messages} messages are not settled"] if open_messages else []
    if live != garbage:
        missing.append(f"{live} enrollments are live, not {garbage}")
    if len(flood.stopped) != flood.count - garbage:
        missing.append(f"{len(flood.stopped)} stops were seen, not {flood.count - garbage}")
    return missing


async def parked(settings: ServiceSettings, flood: Flood) -> list[str]:
    """Each broken pointer lies among the dead letters, once."""
    place = TopicPartition(settings.kafka_topic_prefix + DEAD_LETTERS.name, 0)
    consumer = AIOKafkaConsumer(**client_options(settings))
    await consumer.start()
    try:
        letters = (await consumer.end_offsets([place]))[place]
    finally:
        await consumer.stop()
    return [] if letters == flood.broken_pointers else [f"{letters} letters, not {flood.broken_pointers}"]


def report(flood: Flood) -> list[str]:
    """What it took."""
    if not flood.stopped:
        return ["no stop was seen"]
    took = sorted(at - flood.due[enrollment] for enrollment, at in flood.stopped.items())
    lasted = max(flood.stopped.values()) - min(flood.due.values())
    marks = {name: took[min(len(took) - 1, int(share * len(took)))] for name, share in PERCENTILES.items()}
    return [
        f"{flood.stored:,} answers at {flood.rate:,.0f}/s, one in {POISON_EACH} poison: "
        f"{len(flood.stopped):,} stops, {flood.broken_pointers} broken pointers",
        f"  last stop after {lasted:.1f} s: {len(flood.stopped) / lasted:,.0f} stops/s; "
        f"the last arrival was {1000 * max(0.0, flood.behind):,.0f} ms late",
        "  CPU an answer: "
        + ", ".join(f"{n} {1000 * s / flood.stored:.1f} ms" for n, s in flood.cpu.items() if s),
        "  arrival to stop committed: " + "  ".join(f"{n} {1000 * s:,.0f} ms" for n, s in marks.items()),
    ]


PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


# ---- what others have written ---------------------------------------------------------------------------


def thing(what: str, number: int = 0) -> UUID:
    """An id of ours."""
    return uuid5(WORKSPACE, f"{what}/{number}")


def an_answer(number: int) -> bytes:
    """Somebody's reply in the thread."""
    return (
        f"From: Pat <p{number}@theirs.example>\r\nTo: {OWN}\r\nSubject: Re: Backend Engineer\r\n"
        f"Message-ID: <r{number}@theirs.example>\r\nIn-Reply-To: <m{number}@ourco.example>\r\n"
        "Date: Mon, 23 Nov 2026 09:29:00 +0000\r\n\r\n"
        "Hi Ana, that sounds interesting. Can we talk on Thursday?\r\n"
    ).encode()


async def furnish(database: Database, count: int) -> None:
    """A mailbox, a sequence, and so many people who were written to and wait for the next stage."""
    owned: Document = {"workspace_id": WORKSPACE, "owner_id": thing("owner")}
    mailbox = {"_id": thing("mailbox"), "address": OWN, **owned}
    version = {
        "_id": names.version_id(thing("sequence"), 1),
        "sequence_id": thing("sequence"),
        "version": 1,
        "document": {"name": "Engineers", "stages": []},
        "mailbox_ids": [thing("mailbox")],
        **owned,
    }
    await database.collection(names.MAILBOXES).insert_one(mailbox)
    await database.collection(names.SEQUENCE_VERSIONS).insert_one(version)
    for first in range(0, count, INSERTED_AT_ONCE):
        numbers = range(first, min(count, first + INSERTED_AT_ONCE))
        for collection, made in (
            (names.PEOPLE, a_person),
            (names.ENROLLMENTS, an_enrollment),
            (names.DELIVERIES, a_delivery),
        ):
            await database.collection(collection).insert_new([made(number) for number in numbers])


def a_person(number: int) -> Document:
    return {
        "_id": thing("person", number),
        "workspace_id": WORKSPACE,
        "external_id": f"p{number}",
        "addresses": [f"p{number}@theirs.example"],
        "phones": [],
    }


def an_enrollment(number: int) -> Document:
    now = Clock().now()
    return {
        "_id": thing("enrollment", number),
        "workspace_id": WORKSPACE,
        "state": "scheduled",
        "stage_id": "nudge",
        "stage_index": 1,
        "attempt": 0,
        "sequence_id": thing("sequence"),
        "sequence_version": 1,
        "person_id": thing("person", number),
        "mailbox_id": thing("mailbox"),
        "owner_id": thing("owner"),
        "ended": False,
        "completed": ["hello"],
        "issued_at": now,
        "updated_at": now,
        "rev": 1,
        "seq": 0,
        "history": [],
        "outbox": [],
    }


def a_delivery(number: int) -> Document:
    enrollment = thing("enrollment", number)
    return {
        "_id": f"{enrollment}:hello",
        "workspace_id": WORKSPACE,
        "enrollment_id": enrollment,
        "stage_id": "hello",
        "attempt": 1,
        "token": "sent",
        "state": "sent",
        "message_id": f"<m{number}@ourco.example>",
        "mailbox_id": thing("mailbox"),
        "recipient": f"p{number}@theirs.example",
        "sent_at": Clock().now(),
    }


if __name__ == "__main__":
    sys.exit(main())
