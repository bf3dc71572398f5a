"""Measures the lists of the API and of the dashboard over HTTP, with a million people enrolled.

Run: `python -m tests.bench.lists [ENROLLMENTS]`. The peer, on the same data and in the same run, is the bare
`find` of the page that the list shows, by the driver alone: what is left is ours. Asked as a member who sees
a quarter of the sequences, one request after the other.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pymongo

from api.paging import NEWEST_FIRST, Order
from api.reads import BY_ID, LATEST_ARRIVAL, TASKS_BY_DUE
from api.testing import Browser, Served, serving
from chassis import documents as names
from chassis.store import Document
from chassis.testing import FrozenClock
from reply_detector.store import INDEXES as DETECTORS_INDEXES
from scheduler.model import Step, enrolled
from scheduler.store import INDEXES as SCHEDULERS_INDEXES
from segue_contracts import ids
from segue_contracts.message import Channel
from sender.store import INDEXES as SENDERS_INDEXES
from stack.local_mongo import LocalMongo

ENROLLMENTS = 1_000_000
SEQUENCES = 200
VISIBLE = 50
LARGEST = 0.2
"""Of everybody, in the largest sequence."""
SENT, ANSWERED, TASKS = 1.5, 0.08, 0.01
"""Messages, answers and open tasks for each enrollment."""
ROUNDS = 200
WARM = 10
INSERTED_AT_ONCE = 5_000
INDEX_SECONDS = 1800
PAGE = 51
GOAL_MS = 100.0
NOW = datetime.now(UTC).replace(microsecond=0)
"""Of today: a session of another day would be deleted meanwhile."""
TEXT = "Hi Priya,\n\nwould you have half an hour this week or next?\n\nAna\n" * 4
STAGES = [
    {"id": "hello", "channel": "email", "subject": "Hi", "text": TEXT},
    {"id": "ring", "channel": "call", "after": "3 days", "text": "Ring them"},
    {"id": "nudge", "channel": "email", "after": "3 days", "text": TEXT},
]


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of a request: of half of them at most, and of 99 in 100."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Case:
    """A list, and the bare query for the page that it shows."""

    name: str
    ask: Callable[[], Awaitable[object]]
    peer: Callable[[], Awaitable[object]]


def main(enrollments: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mongo = LocalMongo(Path(folder))
        mongo.start()
        try:
            asyncio.run(measure(mongo.uri, enrollments))
        finally:
            mongo.stop()


async def measure(uri: str, enrollments: int) -> None:
    settings = {"sign_in": "dev", "key_requests_per_second": 1e6, "key_burst": 1e6}
    async with serving(uri, "http://127.0.0.1:8080", FrozenClock(NOW), **settings) as served:
        crowd = Crowd(served, enrollments)
        await crowd.make()
        print(
            f"{enrollments:,} enrollments in {SEQUENCES} sequences ({crowd.in_largest:,} in one), "
            f"{crowd.sent:,} messages, {crowd.tasks:,} open tasks, {crowd.answers:,} answers; "
            f"p50 and p99 of {ROUNDS} requests, ms"
        )
        async with served.browser(crowd.member) as browser:
            worst = 0.0
            for case in await cases(crowd, browser):
                ours, theirs = await timed(case)
                show(case.name, ours, theirs)
                worst = max(worst, ours.p99)
        print(
            f"  slowest p99 {worst:.1f} ms, goal {GOAL_MS:.0f} ms: {'met' if worst < GOAL_MS else 'missed'}"
        )
        await statistics_once(crowd)


def show(name: str, ours: Measured, theirs: Measured) -> None:
    print(
        f"  {name:44}{ours.p50:8.1f}{ours.p99:8.1f}   bare find{theirs.p50:7.1f}{theirs.p99:8.1f}"
        f"   ratio {theirs.p50 / ours.p50:.2f}x"
    )


async def timed(case: Case) -> tuple[Measured, Measured]:
    """The list and its peer by turns, so that what else the machine does falls on both."""
    took: tuple[list[float], list[float]] = ([], [])
    for n in range(WARM + ROUNDS):
        for times, ask in zip(took, (case.ask, case.peer), strict=True):
            began = time.perf_counter()
            await ask()
            if n >= WARM:
                times.append(1000 * (time.perf_counter() - began))
    ours, theirs = (
        Measured(statistics.median(times), statistics.quantiles(times, n=100)[98]) for times in took
    )
    return ours, theirs


async def cases(crowd: "Crowd", browser: Browser) -> list[Case]:
    """Every list as the member asks for it."""
    enrollments = f"/v1/sequences/{crowd.largest}/enrollments"
    middle = await crowd.cursor(names.ENROLLMENTS, BY_ID, {"sequence_id": crowd.largest})
    deep = await crowd.cursor(names.INBOUND, LATEST_ARRIVAL, {"answer": {"$exists": True}})
    api, find, sequence = crowd.asking, crowd.finding, {"sequence_id": crowd.largest}
    open_tasks = {"state": "task_open"}
    sequences = find(names.SEQUENCES, {"archived": False}, NEWEST_FIRST)
    people = find(names.ENROLLMENTS, sequence, BY_ID)
    tasks = find(names.DELIVERIES, open_tasks, TASKS_BY_DUE)
    answers = find(names.INBOUND, {"answer": {"$exists": True}}, LATEST_ARRIVAL)
    mine = find(names.DELIVERIES, open_tasks | {"task.assignee_id": crowd.member}, TASKS_BY_DUE)
    after = find(names.ENROLLMENTS, sequence | {"_id": {"$gt": crowd.middle}}, BY_ID)
    finished = find(names.ENROLLMENTS, sequence | {"state": "finished"}, BY_ID)

    def page(path: str) -> Callable[[], Awaitable[object]]:
        async def get() -> None:
            await browser.get(path)
            assert browser.url == path, "still signed in"

        return get

    return [
        Case("GET /v1/sequences", api("/v1/sequences"), sequences),
        Case("GET …/enrollments", api(enrollments), people),
        Case("GET …/enrollments, from the middle", api(f"{enrollments}?cursor={middle}"), after),
        Case("GET …/enrollments?state=finished", api(f"{enrollments}?state=finished"), finished),
        Case("GET …/enrollments?state=live", api(f"{enrollments}?state=live"), people),
        Case("GET …/enrollments?order=planned", api(f"{enrollments}?order=planned"), people),
        Case("GET /v1/tasks", api("/v1/tasks"), tasks),
        Case("GET /v1/tasks?assignee=me", api("/v1/tasks?assignee=me"), mine),
        Case("GET /v1/answers", api("/v1/answers"), answers),
        Case("GET /v1/answers, from the middle", api(f"/v1/answers?cursor={deep}"), answers),
        Case("GET /v1/answers?sequence", api(f"/v1/answers?sequence={crowd.largest}"), answers),
        Case("the dashboard's /", page("/"), mine),
        Case("the dashboard's /sequences", page("/sequences"), sequences),
        Case("the dashboard's /sequences/{id}", page(f"/sequences/{crowd.largest}"), people),
    ]


async def statistics_once(crowd: "Crowd") -> None:
    """The statistics of 30 days, as whoever asks first in a minute waits for them."""
    for view in ("activity", "cohort"):
        for by in ("sequence", "stage", "day"):
            crowd.served.clock.advance(61)
            began = time.perf_counter()
            await crowd.asking(f"/v1/stats?view={view}&by={by}")()
            first = time.perf_counter()
            await crowd.asking(f"/v1/stats?view={view}&by={by}")()
            again = time.perf_counter()
            name = f"GET /v1/stats?view={view}&by={by}"
            print(f"  {name:44}{1000 * (first - began):8.1f}   kept{1000 * (again - first):8.1f}")


class Crowd:
    """A workspace with everybody in it, as the scheduler, the sender and the reply detector write them."""

    def __init__(self, served: Served, enrollments: int) -> None:
        self.served = served
        self.enrollments = enrollments
        self.chance = random.Random(1)
        self.sequences: list[UUID] = []
        self.in_largest = self.sent = self.tasks = self.answers = 0
        self.member = self.middle = UUID(int=0)
        self.key = ""

    @property
    def largest(self) -> UUID:
        return self.sequences[0]

    def asking(self, path: str) -> Callable[[], Awaitable[object]]:
        """The member's request."""
        return lambda: self.served.call("GET", path, key=self.key)

    def finding(self, name: str, found: Document, order: Order) -> Callable[[], Awaitable[object]]:
        """A page by the driver alone."""
        raw = self.served.database._raw[name]
        whole = {"workspace_id": self.served.workspace, **found}
        return lambda: raw.find(whole, sort=order.sort, limit=PAGE).to_list(None)

    async def cursor(self, name: str, order: Order, found: Document) -> str:
        """The cursor of a page in the middle."""
        collection = self.served.database.collection(name)
        whole = {"workspace_id": self.served.workspace, **found}
        half = await collection.count(whole, limit=self.enrollments) // 2
        [document] = await collection.find(whole, sort=order.sort, skip=half, limit=1)
        if name == names.ENROLLMENTS:
            self.middle = document["_id"]
        return order.cursor_after(document)

    async def make(self) -> None:
        """Insert first, index then: what is measured is the reading."""
        member, self.key = await self.served.teammate("Member")
        self.member = UUID(member)
        await self.served.mailbox("member@ourco.example", self.key)
        await self.served.mailbox("ana@ourco.example")
        for n in range(SEQUENCES):
            access = "shared" if n and n < VISIBLE else "personal"
            body = {"name": f"Sequence {n}", "stages": STAGES, "access": access}
            made = await self.served.call("POST", "/v1/sequences", body, status=201, key=self._owner(n))
            self.sequences.append(UUID(made["id"]))
        parts = self._everybody()
        while some := list(islice(parts, INSERTED_AT_ONCE)):
            for name in {each for each, _ in some}:
                documents = [document for of, document in some if of == name]
                await self.served.database._raw[name].insert_many(documents, ordered=False)
        indexes: dict[str, Any] = {
            **SCHEDULERS_INDEXES,
            names.DELIVERIES: SENDERS_INDEXES,
            names.INBOUND: DETECTORS_INDEXES,
        }
        with pymongo.timeout(INDEX_SECONDS):
            for name, wanted in indexes.items():
                await self.served.database.collection(name).ensure_indexes(wanted)

    def _owner(self, n: int) -> str:
        """The member's are the largest and one in ten of those that they see."""
        return self.key if n < VISIBLE and n % 10 == 0 else self.served.made["api_key"]

    def _everybody(self) -> Iterator[tuple[str, Document]]:
        for n in range(self.enrollments):
            in_largest = n < self.enrollments * LARGEST
            sequence = self.largest if in_largest else self.sequences[1 + n % (SEQUENCES - 1)]
            self.in_largest += in_largest
            e = self._enrollment(n, sequence)
            yield names.ENROLLMENTS, e
            if n % 2 == 0:  # half of them are in two sequences
                yield names.PEOPLE, self._person(e)
            for stage in [each for each in e["history"] if each["type"] == "stage_sent"]:
                self.sent += 1
                yield names.DELIVERIES, self._message(e, stage)
            if e["state"] == "awaiting_task":
                self.tasks += 1
                yield names.DELIVERIES, self._task(e)
            if e.get("stop"):
                self.answers += 1
                yield names.INBOUND, self._answer(e)

    def _enrollment(self, n: int, sequence: UUID) -> Document:
        """As it was enrolled, and then a part of the way."""
        person = f"cand-{n // 2}"
        enrollment_id = ids.enrollment_id(self.served.workspace, sequence, f"{person}/{n}")
        at = NOW - timedelta(minutes=self.chance.randrange(60 * 24 * 60))
        identity = {
            "_id": enrollment_id,
            "workspace_id": self.served.workspace,
            "sequence_id": sequence,
            "sequence_version": 1,
            "person_id": ids.person_id(self.served.workspace, person),
            "external_id": person,
            "generation": 1,
            "company_id": None,
            "owner_id": self.member,
            "mailbox_id": UUID(int=n % 40),
            "is_test": False,
            "command_id": uuid4(),
            "issued_at": at,
            "start_at": at,
            "shard": ids.shard(enrollment_id),
        }
        planned = NOW + timedelta(minutes=self.chance.randrange(20 * 24 * 60))
        step = Step("nudge", 2, Channel.EMAIL, planned, None, "Europe/Berlin", ())
        e = enrolled(identity, step, at, at)
        for stage in islice(("hello", "nudge"), 1 + n % 2):
            at += timedelta(days=1)
            e["history"].append(_chapter("stage_sent", at, stage))
        e |= self._fate(at)
        if e["ended"]:
            del e["due_at"]
        return e

    def _fate(self, at: datetime) -> Document:
        fate = self.chance.random()
        ended = {"ended": True, "ended_at": at}
        if fate < ANSWERED:
            stop = {"reason": "replied", "reason_code": "", "cause_id": uuid4(), "at": at}
            return {"state": "stopped", "stop": stop, **ended}
        if fate < ANSWERED + TASKS:
            return {"state": "awaiting_task", "stage_id": "ring", "channel": "call"}
        return {"state": "finished", **ended} if fate < 0.6 else {}

    def _person(self, e: Document) -> Document:
        email = f"{e['external_id']}@crowd{e['mailbox_id'].int}.example"
        name = {"first_name": "Priya", "last_name": "Rao"}
        return {
            "_id": e["person_id"],
            "workspace_id": e["workspace_id"],
            "external_id": e["external_id"],
            "prospect": {"external_id": e["external_id"], "email": email, **name},
            "addresses": [email],
            "phones": [],
        }

    def _message(self, e: Document, stage: Document) -> Document:
        sent = {
            "state": "sent",
            "sent_at": stage["at"],
            "settled_at": stage["at"],
            "subject": "Hi",
            "text": TEXT,
        }
        return _delivery(e, stage["stage_id"], "email") | sent | {"message_id": f"<{uuid4()}@ourco.example>"}

    def _task(self, e: Document) -> Document:
        due = NOW - timedelta(minutes=self.chance.randrange(14 * 24 * 60))
        task = {
            "assignee_id": self.member,
            "subject": "",
            "text": "Ring them",
            "opened_at": due,
            "due_at": due,
        }
        if self.chance.random() < 0.9:
            task["assignee_id"] = uuid4()
        return _delivery(e, "ring", "call") | {"state": "task_open", "settled_at": due, "task": task}

    def _answer(self, e: Document) -> Document:
        at = e["ended_at"]
        answer = {
            "kind": "reply",
            "intent": self.chance.choice(("interested", "not_now", None)),
            "open": self.chance.random() < 0.1,
            "people": [e["person_id"]],
            "enrollments": [e["_id"]],
            "sequences": [e["sequence_id"]],
            "owners": [e["owner_id"]],
            "from_address": f"{e['external_id']}@crowd.example",
            "subject": "Re: Hi",
            "text": TEXT,
            "soft": [],
            "charge": None,
        }
        return {
            "_id": uuid4(),
            "workspace_id": e["workspace_id"],
            "mailbox_id": e["mailbox_id"],
            "digest": str(uuid4()),
            "source": "imap",
            "received_at": at,
            "state": "settled",
            "verdict": {"kind": "reply", "intent": answer["intent"]},
            "match": {"by": "thread", "enrollments": [e["_id"]]},
            "effect": {"review": False, "causes": [], "waits": [], "suppress": [], "suppress_phones": []},
            "corrections": [],
            "answer": answer,
        }


def _chapter(kind: str, at: datetime, stage: str) -> Document:
    return {"type": kind, "at": at, "stage_id": stage, "channel": "email", "sent_at": at, "rec": at, "seq": 3}


def _delivery(e: Document, stage: str, channel: str) -> Document:
    kept = (
        "workspace_id",
        "sequence_id",
        "sequence_version",
        "person_id",
        "owner_id",
        "mailbox_id",
        "is_test",
    )
    return {
        "_id": f"{e['_id']}:{stage}",
        "enrollment_id": e["_id"],
        "stage_id": stage,
        "channel": channel,
        "attempt": 1,
        "token": "t",
        "is_test": False,
        **{name: e[name] for name in kept},
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ENROLLMENTS)
