"""Measures how fast everybody who waits is planned again after a day off was put into the team's calendar.

Run: `python tests/bench/replan.py [ENROLLMENTS]`. Segue carries out the request as its sweep does, on one
core beside a real MongoDB: it reads, plans, writes each move with its event, and tells a broker that takes
everything at once. Its peer goes from one to the next with a find, a plan and an update for each; the person,
the mailbox and the sequence it knows already, it keeps no story and tells nobody.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID, uuid5

from chassis import documents as names
from chassis.kafka import Record
from chassis.migrations import build
from chassis.store import Collection
from chassis.testing import NOON, FrozenClock, fresh_database
from scheduler.course import Course, Courses
from scheduler.migrations import SCHEMA
from scheduler.model import Document, Step
from scheduler.replans import BEGINS_AFTER_SECONDS
from scheduler.store import ALL_SHARDS
from scheduler.testing import WORKSPACE, Bench, Captured, settings_for
from scheduler.wiring import assemble
from segue_contracts.commands import SetCalendar
from stack.local_mongo import LocalMongo

ENROLLMENTS = 100_000
PEER_ENROLLMENTS = 2_000
INSERTED_AT_ONCE = 5_000
ELSEWHERE = UUID(int=77)
"""The peer's workspace."""
DAY_OFF = (NOON + timedelta(days=3)).date()
ANOTHER_DAY = DAY_OFF + timedelta(days=90)
ONE_MAIL: Document = {
    "name": "A hundred thousand people",
    "timing": {"windows": {"mon-fri": ["09:00-17:00"]}, "holidays": {"of": ["prospect", "team"]}},
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "after": "3 days",
            "at": "10:00",
            "subject": "A job",
            "text": "Hi",
        }
    ],
}


class Heard(Captured):
    """A broker that takes everything at once and keeps nothing."""

    async def publish(self, records: Sequence[Record]) -> None:
        """All acknowledged."""


def main(enrollments: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mongo = LocalMongo(Path(folder))
        mongo.start()
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
        try:
            asyncio.run(measure(mongo.uri, enrollments))
        finally:
            mongo.stop()


async def measure(uri: str, enrollments: int) -> None:
    settings = settings_for(uri)
    async with fresh_database(settings) as database:
        clock, kafka = FrozenClock(), Heard()
        bench = Bench(assemble(settings, clock, database, kafka, lambda: ALL_SHARDS), database, clock, kafka)
        await build(database, SCHEMA)
        await bench.seed(ONE_MAIL)
        enroll = bench.enroll(country="DE")
        await bench.command(enroll)
        first = await bench.read(enroll.enrollment_id)
        await fill(bench, first, WORKSPACE, enrollments - 1)
        theirs = await fill(bench, first, ELSEWHERE, PEER_ENROLLMENTS)

        peer = await one_by_one(bench, first, theirs)
        unmoved = await segue(bench, ANOTHER_DAY, moved=0)
        moved = await segue(bench, DAY_OFF, moved=enrollments)

    print(f"{'':32}{'enrollments':>12}{'seconds':>10}{'a second':>10}")
    for name, count, seconds in (
        ("Segue, everybody moves", enrollments, moved),
        ("Segue, nobody has to move", enrollments, unmoved),
        ("one by one, everybody moves", PEER_ENROLLMENTS, peer),
    ):
        print(f"{name:32}{count:12,}{seconds:10.2f}{count / seconds:10,.0f}")
    print(f"ratio where everybody moves: {peer / PEER_ENROLLMENTS * enrollments / moved:.1f}x")


async def fill(bench: Bench, first: Document, workspace: UUID, count: int) -> list[UUID]:
    """Many who wait like the first one, each a person of their own."""
    (person,) = (await bench.parts.store.people([WORKSPACE], [first["person_id"]])).values()
    made: list[UUID] = []
    for start in range(0, count, INSERTED_AT_ONCE):
        some = [str(n) for n in range(start, min(count, start + INSERTED_AT_ONCE))]
        people = [
            {**person, "_id": uuid5(workspace, n), "workspace_id": workspace, "external_id": n} for n in some
        ]
        waiting = [
            {**first, "_id": uuid5(p["_id"], "1"), "workspace_id": workspace, "person_id": p["_id"]}
            for p in people
        ]
        await bench.database.collection(names.PEOPLE).insert_new(people)
        await bench.database.collection(names.ENROLLMENTS).insert_new(waiting)
        made += [e["_id"] for e in waiting]
    return made


async def segue(bench: Bench, day: date, *, moved: int) -> float:
    """Seconds until a calendar with that day is carried out."""
    bench.clock.advance(1)
    await bench.command(bench.message(SetCalendar, days=[day.isoformat()]))
    bench.clock.advance(BEGINS_AFTER_SECONDS + 1)
    began = time.perf_counter()
    await bench.parts.replans.sweep()  # one round is all of it: its clock stands still
    seconds = time.perf_counter() - began
    stored, replans = (bench.database.collection(name) for name in (names.ENROLLMENTS, names.REPLANS))
    assert await replans.count({"applied": False}, limit=1) == 0
    count = await stored.count({"workspace_id": WORKSPACE, "rev": 2}, limit=moved + 1)
    assert count == moved, f"{count} moved, not {moved}"
    return seconds


async def one_by_one(bench: Bench, first: Document, ids: Sequence[UUID]) -> float:
    """Seconds of the naive peer."""
    known = (await Courses(bench.parts.store, bench.clock).load([first]))[first["_id"]]
    course: Course = replace(known, team_holidays=frozenset([DAY_OFF]))
    stored: Collection = bench.database.collection(names.ENROLLMENTS)
    began = time.perf_counter()
    for each in ids:
        e = await stored.find_one({"_id": each})
        assert e is not None
        step = course.step(e["_id"], e["stage_index"], e["base"])
        assert isinstance(step, Step)
        assert step.at != e["planned_at"]
        time_of = {"planned_at": step.at, "due_at": step.at, "send_before": step.send_before}
        change = {**time_of, "reasons": list(step.reasons)}
        await stored.update_one({"_id": e["_id"], "rev": e["rev"]}, {"$set": change, "$inc": {"rev": 1}})
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ENROLLMENTS)
