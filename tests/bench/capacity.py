"""What one more enrollment, and one more mail, costs: CPU of every process, bytes in MongoDB and in Kafka.

Run: `python -m tests.bench.capacity [--people 5000]`; needs Debian's postfix for its `smtp-sink`. A whole
Segue takes that many enrollments whose first mail is due in a month, and then as many whose first mail is due
at once. The first are an enrollment's cost; what the second cost more is a mail's. What the processes use
anyway, at rest, is taken off.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from tests.bench import ground

from stack.brokers import Brokers, brokers
from stack.client import Client, eventually
from stack.system import System, system

ADDRESS = "ana@ourco.example"
REST_SECONDS = 20.0
STEP_SECONDS = 1800.0
QUIET_SECONDS = 3.0
"""After the last mail, until outcomes and events are written."""
LEAST_BYTES = 10
SEQUENCE = """
name: {name}
mailbox: ana@ourco.example
stages:
  - {{id: hello, channel: email, after: {first}, subject: "{{{{first_name|Hi}}}}: a job", text: "{words}"}}
  - {{id: nudge, channel: email, after: 30 days, text: "Did you see this?"}}
  - {{id: last, channel: email, after: 7 days, text: "I will not write again."}}
"""
WORDS = (
    "Hi {{first_name|there}}, we build something that you may like, and I would be glad to tell you of it. "
    * 4
)
SETTINGS = {"SEGUE_SMTP_PER_MAILBOX": "20", "SEGUE_SMTP_PER_HOST": "20", "SEGUE_ROOM_SECONDS": "12"}


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds by process, bytes by collection (documents, on disk, indexes), bytes of records."""

    at: float
    cpu: Mapping[str, float]
    stored: Mapping[str, tuple[int, int, int]]
    records: int


@dataclass(frozen=True, slots=True)
class Ground:
    """What is looked at."""

    segue: System
    nodes: Brokers
    folder: Path
    database: Any

    def spent(self) -> Spent:
        """All of it until now."""
        groups = {name: process.pid for name, process in self.segue.processes.items()}
        local = {"Kafka": self.nodes.local_kafka, "MongoDB": self.nodes.local_mongo}
        groups |= {name: node.process.pid for name, node in local.items() if node is not None}
        return Spent(time.monotonic(), ground.cpu_seconds(groups), stored(self.database), self.records())

    def records(self) -> int:
        """Of this system's topics, as the broker keeps them: compressed."""
        prefix = self.segue.environment["SEGUE_KAFKA_TOPIC_PREFIX"]
        return sum(file.stat().st_size for file in self.folder.glob(f"**/{prefix}segue.*/*.log"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.capacity", description="What one more costs."
    )
    parser.add_argument("--people", type=int, default=5000, help="in each of the two steps")
    given = parser.parse_args(arguments)
    if ground.which("smtp-sink") is None:
        print("smtp-sink is missing: install the Debian package postfix.", file=sys.stderr)
        return 2
    ground.two_cores()
    with tempfile.TemporaryDirectory(prefix="segue-capacity-") as name:
        folder = Path(name)
        sink = ground.Sink(folder / "sink")
        sink.process.start()
        try:
            with (
                brokers(folder / "brokers") as nodes,
                system(folder / "segue", nodes, settings=SETTINGS) as segue,
                MongoClient[Any](nodes.mongodb) as raw,
            ):
                database = raw[segue.environment["SEGUE_MONGODB_DATABASE"]]
                looked = Ground(segue, nodes, folder / "brokers", database)
                spent = asyncio.run(steps(looked, sink, given.people))
        finally:
            sink.process.stop()
    print("\n".join(report(spent, given.people)))
    return 0


async def steps(looked: Ground, sink: ground.Sink, people: int) -> list[Spent]:
    """At the start, after the enrollments, after the enrollments with mails, after a rest."""
    async with Client(looked.segue.url, looked.segue.bootstrap("capacity", ADDRESS)) as client:
        await client.connect(ADDRESS, "127.0.0.1", sink.port)
        spent = [looked.spent()]
        for name, first, mails in (("later", "30 days", 0), ("now", "0 minutes", people)):
            sequence = await client.publish(SEQUENCE.format(name=name, first=first, words=WORDS))
            await enroll(client, sequence, name, people)
            look = is_over(looked.database, sink, people * len(spent), mails)
            await eventually(look, until=lambda over: over, seconds=STEP_SECONDS)
            await asyncio.sleep(QUIET_SECONDS)
            spent.append(looked.spent())
    # Last, for it is warm now, and has something to look after.
    await asyncio.sleep(REST_SECONDS)
    return [*spent, looked.spent()]


async def enroll(client: Client, sequence: str, name: str, people: int) -> None:
    """As a table, a thousand at a time."""
    for first in range(0, people, 1000):
        numbers = range(first, min(first + 1000, people))
        rows = "\n".join(f"{name}{n},{name}{n}@there.example,Person{n}" for n in numbers)
        table = f"external_id,email,first_name\n{rows}\n"
        await client.post_text(f"/v1/sequences/{sequence}/enrollments", table, "text/csv")


def is_over(database: Any, sink: ground.Sink, people: int, mails: int) -> Callable[[], Awaitable[bool]]:
    """Whether everybody is enrolled, and has their mail if one is due: a look that costs MongoDB nothing."""

    async def look() -> bool:
        everybody = database.enrollments.estimated_document_count() >= people
        return bool(everybody and sink.messages() >= mails and not database.outbox.estimated_document_count())

    return look


def stored(database: Any) -> dict[str, tuple[int, int, int]]:
    """Bytes of each collection: its documents, what they take on disk, its indexes."""
    database.client.admin.command({"fsync": 1})
    found = {}
    for name in database.list_collection_names():
        told = database.command("collStats", name)
        found[name] = (int(told["size"]), int(told["storageSize"]), int(told["totalIndexSize"]))
    return found


def report(spent: Sequence[Spent], people: int) -> list[str]:
    """Two tables: CPU and bytes."""
    start, enrolled, sent, rested = spent
    lines = [
        f"{people} enrollments, then {people} with a mail each",
        "",
        "| process | at rest | enrollment | mail |",
    ]
    lines.append("|---|---|---|---|")
    for name in sent.cpu:
        rest = (rested.cpu[name] - sent.cpu[name]) / (rested.at - sent.at)
        one = _cpu(name, start, enrolled, rest) / people
        mail = _cpu(name, enrolled, sent, rest) / people - one
        lines.append(f"| {name} | {rest * 100:.1f} % | {one * 1e6:,.0f} us | {mail * 1e6:,.0f} us |")
    lines += ["", "| collection | enrollment: documents | indexes | with a mail: documents | indexes |"]
    lines.append("|---|---|---|---|---|")
    nothing = (0, 0, 0)
    for name in sorted(sent.stored):
        was, then, now = (step.stored.get(name, nothing) for step in (start, enrolled, sent))
        first, second = _each(then, was, people), _each(now, then, people)
        if first[0] + second[0] > LEAST_BYTES:
            sizes = (first[0], first[2], second[0], second[2])
            lines.append(f"| {name} | {' | '.join(f'{size:,.0f}' for size in sizes)} |")
    disk = [sum(size[1] + size[2] for size in step.stored.values()) for step in (start, enrolled, sent)]
    lines += ["", f"on disk, indexes included: {(disk[1] - disk[0]) / people:,.0f} bytes an enrollment,"]
    lines.append(f"{(disk[2] - disk[1]) / people:,.0f} with a mail")
    records = [step.records for step in (start, enrolled, sent)]
    lines.append(f"records: {(records[1] - records[0]) / people:,.0f} bytes an enrollment,")
    lines.append(f"{(records[2] - records[1]) / people:,.0f} with a mail")
    return lines


def _cpu(name: str, before: Spent, after: Spent, rest: float) -> float:
    return after.cpu[name] - before.cpu[name] - rest * (after.at - before.at)


def _each(now: tuple[int, int, int], before: tuple[int, int, int], people: int) -> tuple[float, float, float]:
    documents, disk, indexes = ((a - b) / people for a, b in zip(now, before, strict=True))
    return documents, disk, indexes


if __name__ == "__main__":
    sys.exit(main())
