"""What the lists ask of MongoDB is answered in the order of an index: read from its own profiler."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.store import Document
from chassis.testing import FrozenClock
from reply_detector.store import INDEXES as DETECTORS_INDEXES
from scheduler.store import INDEXES as SCHEDULERS_INDEXES
from sender.store import INDEXES as SENDERS_INDEXES

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
VISIBLE = 50
HIDDEN = 100
EACH = 12
MOST_EXAMINED = 60
"""Documents for a page of two: some that one may not see are passed over, never all."""
STATES = ("scheduled", "stopped", "finished", "dispatched")
LISTS = {
    names.SEQUENCES: ("/v1/sequences", "/v1/sequences?of=me", "/v1/sequences?of=others"),
    names.ENROLLMENTS: (
        "/v1/sequences/{one}/enrollments",
        "/v1/sequences/{one}/enrollments?state=live",
        "/v1/sequences/{one}/enrollments?state=finished",
        "/v1/sequences/{one}/enrollments?order=planned",
    ),
    names.DELIVERIES: (
        "/v1/tasks",
        "/v1/tasks?assignee=me",
        "/v1/tasks?assignee={ben}",
        "/v1/tasks?state=released",
    ),
    names.INBOUND: (
        "/v1/answers",
        "/v1/answers?state=open",
        "/v1/answers?sequence={one}",
    ),
}


class Office:
    """A workspace in which a member sees some of the sequences, each with people, tasks and answers."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.names: dict[str, str] = {}
        self.key = ""

    async def open(self) -> None:
        """Fill it, and have the database note every question from now on."""
        ben, self.key = await self.served.teammate("Ben")
        sequences = [self._sequence(n, UUID(ben)) for n in range(VISIBLE + HIDDEN)]
        everybody = [self._enrollment(each["_id"], n) for each in sequences for n in range(EACH)]
        tasks = [self._task(e, UUID(ben) if n % 3 else uuid4(), n) for n, e in enumerate(everybody)]
        answers = [self._answer(e, n) for n, e in enumerate(everybody)]
        for name, documents in (
            (names.SEQUENCES, sequences),
            (names.ENROLLMENTS, everybody),
            (names.DELIVERIES, tasks),
            (names.INBOUND, answers),
        ):
            await self.served.database.collection(name).insert_new(documents)
        self.names = {"one": str(sequences[0]["_id"]), "ben": ben}

    def _sequence(self, n: int, ben: UUID) -> Document:
        """A third is Ben's, a third is shared, for the last one Ben has a grant; then what he may not see."""
        seen = n < VISIBLE
        return {
            "_id": uuid4(),
            "workspace_id": self.served.workspace,
            "name": f"Sequence {n}",
            "owner_id": ben if seen and n % 3 == 0 else uuid4(),
            "access": "shared" if seen and n % 3 == 1 else "personal",
            "grants": [{"user_id": ben, "right": "read"}] if seen and n % 3 == 2 else [],
            "tags": [],
            "archived": False,
            "latest_version": 1,
            "created_at": NOW - timedelta(minutes=n),
            "updated_at": NOW,
        }

    def _enrollment(self, sequence: UUID, n: int) -> Document:
        state = STATES[n % len(STATES)]
        return {
            "_id": uuid4(),
            "workspace_id": self.served.workspace,
            "sequence_id": sequence,
            "sequence_version": 1,
            "person_id": uuid4(),
            "external_id": f"p{n}",
            "owner_id": uuid4(),
            "mailbox_id": uuid4(),
            "state": state,
            "ended": state in ("stopped", "finished"),
            "stage_id": "hello",
            "planned_at": NOW + timedelta(minutes=n),
            "history": [],
            "created_at": NOW - timedelta(minutes=n),
        }

    def _task(self, e: Document, assignee: UUID, n: int) -> Document:
        opened = {"opened_at": NOW, "due_at": NOW - timedelta(minutes=n % 40), "assignee_id": assignee}
        return {
            "_id": f"{e['_id']}:hello",
            "workspace_id": self.served.workspace,
            "enrollment_id": e["_id"],
            "sequence_id": e["sequence_id"],
            "person_id": e["person_id"],
            "stage_id": "hello",
            "attempt": 1,
            "token": "t",
            "state": "task_open" if n % 2 else "released",
            "settled_at": NOW - timedelta(minutes=n),
            "task": {**opened, "subject": "", "text": "Ring them"},
        }

    def _answer(self, e: Document, n: int) -> Document:
        answer = {
            "kind": "reply",
            "intent": None,
            "open": n % 2 == 0,
            "people": [e["person_id"]],
            "enrollments": [e["_id"]],
            "sequences": [e["sequence_id"]],
            "owners": [e["owner_id"]],
            "from_address": "pat@x.example",
            "subject": "Re: Hi",
            "text": "Yes",
        }
        return {
            "_id": uuid4(),
            "workspace_id": self.served.workspace,
            "mailbox_id": uuid4(),
            "digest": str(uuid4()),
            "source": "webhook",
            "received_at": NOW - timedelta(minutes=n),
            "state": "settled",
            "verdict": {"kind": "reply", "intent": None},
            "match": {"by": "thread"},
            "effect": {"review": False, "causes": [], "waits": [], "suppress": [], "suppress_phones": []},
            "corrections": [],
            "answer": answer,
        }

    async def profiled(self, path: str, key: str | None) -> tuple[Any, list[Document]]:
        """The answer to a request, and what that asked of the database, as the database saw it."""
        raw = self.served.database._raw
        await raw.command("profile", 0)
        await raw.drop_collection("system.profile")
        await raw.command("profile", 2)
        answer = await self.served.call("GET", path, key=key)
        await raw.command("profile", 0)
        return answer, await raw["system.profile"].find({"op": {"$in": ["query", "command"]}}).to_list(None)


@pytest.fixture
async def office(mongodb_uri: str) -> AsyncIterator[Office]:
    async with serving(mongodb_uri, clock=FrozenClock(NOW)) as served:
        indexes: dict[str, Any] = {
            names.ENROLLMENTS: SCHEDULERS_INDEXES[names.ENROLLMENTS],
            names.DELIVERIES: SENDERS_INDEXES,
            names.INBOUND: DETECTORS_INDEXES,
        }
        for name, wanted in indexes.items():
            await served.database.collection(name).ensure_indexes(wanted)
        office = Office(served)
        await office.open()
        yield office


@pytest.mark.parametrize("who", ["an admin", "a member with fifty sequences"])
async def test_every_list_is_read_in_the_order_of_an_index(office: Office, who: str) -> None:
    key = None if who == "an admin" else office.key
    for collection, paths in LISTS.items():
        for path in paths:
            page = path.format(**office.names) + ("&" if "?" in path else "?") + "limit=2"
            answer, asked = await office.profiled(page, key)
            check(page, [each for each in asked if each["ns"].endswith(f".{collection}")])
            if answer["next_cursor"]:
                page += f"&cursor={answer['next_cursor']}"
                _, asked = await office.profiled(page, key)
                check(page, [each for each in asked if each["ns"].endswith(f".{collection}")])


def check(page: str, asked: list[Document]) -> None:
    assert asked, page
    for each in asked:
        plan = each["planSummary"]
        assert "COLLSCAN" not in plan, page
        assert not each.get("hasSortStage"), (page, plan)
        most = VISIBLE + HIDDEN if "sequences" in each["ns"] else MOST_EXAMINED
        assert each["docsExamined"] <= most, (page, plan, each["docsExamined"])
