"""Numbers over many sequences: as a straightforward count has them, and only of what one may see."""

import csv
import io
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.store import Document
from chassis.testing import FrozenClock
from scheduler.store import INDEXES as SCHEDULERS_INDEXES
from sender.store import INDEXES as SENDERS_INDEXES

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [
    {"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"},
    {"id": "ring", "channel": "call", "after": "1 day", "text": "Ring them"},
    {"id": "nudge", "channel": "email", "after": "1 day", "text": "Hello again"},
]
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ZONE = "America/New_York"
CHANCE_SEED = 7
PEOPLE = 240
KINDS = ("reply", "reply", "reply", "opt_out", "auto_reply", "bounce")


@dataclass
class World:
    """What happened in a small workspace, as documents and to be counted again in Python."""

    served: Served
    sequences: dict[str, UUID] = field(default_factory=dict)
    enrollments: list[Document] = field(default_factory=list)
    deliveries: list[Document] = field(default_factory=list)
    inbound: list[Document] = field(default_factory=list)
    engagements: list[Document] = field(default_factory=list)

    async def sequence(self, name: str, access: str = "shared", key: str | None = None) -> None:
        document = {"name": name, "access": access, "stages": STAGES, "mailbox": MAILBOX["address"]}
        made = await self.served.call("POST", "/v1/sequences", document, status=201, key=key)
        self.sequences[name] = UUID(made["id"])

    async def store(self) -> None:
        for name, documents in (
            (names.ENROLLMENTS, self.enrollments),
            (names.DELIVERIES, self.deliveries),
            (names.INBOUND, self.inbound),
            (names.ENGAGEMENTS, self.engagements),
        ):
            await self.served.database.collection(name).insert_new(documents)

    async def told(self, key: str | None = None, **query: str) -> Any:
        path = "/v1/stats?" + "&".join(f"{name.rstrip('_')}={value}" for name, value in query.items())
        return await self.served.call("GET", path, key=key)

    def enroll(self, chance: random.Random, sequence: UUID) -> None:
        """Somebody, how far they came, and what they said."""
        at = NOW - timedelta(minutes=chance.randrange(40 * 24 * 60))
        e: Document = {
            "_id": uuid4(),
            "workspace_id": self.served.workspace,
            "sequence_id": sequence,
            "created_at": at,
            "is_test": chance.random() < 0.1,
            "ended": True,
            "state": "finished",
            "attempt": 0,
            "stage_id": "hello",
            "channel": "email",
            "history": [{"type": "enrolled", "at": at}],
        }
        for stage in STAGES[: chance.randrange(4)]:
            at += timedelta(hours=chance.randrange(1, 60))
            self._sent(e, stage, at, chance)
        end = chance.choice(("replied", "bounced", "unsubscribed", "requested", "mistaken", *[None] * 5))
        if end:
            e |= {"state": chance.choice(("stopped", "finished")), "stop": {"reason": end}}
            e["attempt"] = chance.randrange(2)
        else:
            e["state"] = chance.choice(("finished", "failed", "scheduled"))
        if chance.random() < 0.5:
            self._answered(e, at + timedelta(hours=chance.randrange(1, 90)), chance)
        self.enrollments.append(e)

    def _sent(self, e: Document, stage: dict[str, str], at: datetime, chance: random.Random) -> None:
        is_task = stage["channel"] == "call"
        told = "task_done" if is_task else "stage_sent"
        e["history"].append({"type": told, "at": at, "stage_id": stage["id"], "channel": stage["channel"]})
        d = {
            "_id": f"{e['_id']}:{stage['id']}",
            "workspace_id": e["workspace_id"],
            "enrollment_id": e["_id"],
            "sequence_id": e["sequence_id"],
            "stage_id": stage["id"],
            "channel": stage["channel"],
            "mailbox_id": UUID(int=len(self.deliveries) % 20),
            "is_test": e["is_test"],
            "attempt": 1,
            "token": "t",
            "state": "done" if is_task else "sent",
            "settled_at": at,
        }
        self.deliveries.append(d if is_task else {**d, "sent_at": at})
        for kind in ("opened", "clicked"):
            if not is_task and chance.random() < 0.4:
                seen = {name: d[name] for name in ("workspace_id", "sequence_id", "stage_id", "is_test")}
                human = {"dispatch_id": d["_id"], "kind": kind, "human": chance.randrange(3), "sent_at": at}
                self.engagements.append({"_id": f"{d['_id']}:{kind}", **seen, **human})

    def _answered(self, e: Document, at: datetime, chance: random.Random) -> None:
        other = chance.choice(self.enrollments) if self.enrollments and chance.random() < 0.2 else e
        about = list({each["_id"]: each for each in (e, other)}.values())
        answer = {
            "kind": chance.choice(KINDS),
            "intent": chance.choice(("interested", "not_now", None)),
            "enrollments": [each["_id"] for each in about],
            "sequences": list(dict.fromkeys(each["sequence_id"] for each in about)),
        }
        self.inbound.append(
            {
                "_id": uuid4(),
                "mailbox_id": uuid4(),
                "digest": str(uuid4()),
                "workspace_id": e["workspace_id"],
                "received_at": at,
                "answer": answer,
            }
        )


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri, "http://127.0.0.1:8080", FrozenClock(NOW), sign_in="dev") as served:
        await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        for name in (names.ENROLLMENTS,):
            await served.database.collection(name).ensure_indexes(SCHEDULERS_INDEXES[name])
        await served.database.collection(names.DELIVERIES).ensure_indexes(SENDERS_INDEXES)
        yield served


@pytest.fixture
async def world(served: Served) -> World:
    world, chance = World(served), random.Random(CHANCE_SEED)
    for name in ("Berlin", "Lisbon"):
        await world.sequence(name)
    for _ in range(PEOPLE):
        world.enroll(chance, chance.choice(list(world.sequences.values())))
    await world.store()
    return world


# ---- the same in Python -------------------------------------------------------------------------------


def went(e: Document, until: datetime | None = None) -> list[tuple[str, str]]:
    """The stages that went out to somebody, with their channels."""
    out = [
        (each["stage_id"], each["channel"])
        for each in e["history"]
        if each["type"] in ("stage_sent", "task_done") and (until is None or each["at"] <= until)
    ]
    came_back = until is None and e.get("stop", {}).get("reason") == "bounced" and e["attempt"]
    return out or ([(e["stage_id"], e["channel"])] if came_back else [])


def outcome(e: Document) -> str:
    ends = {"replied": "answered", "bounced": "bounced", "unsubscribed": "opted_out"}
    reason = e.get("stop", {}).get("reason")
    if went(e) and reason in ends:
        return ends[reason]
    return str(e["state"]) if e["state"] in ("finished", "failed", "stopped") else "live"


def cohort(world: World, since: date, until: date, stage: str = "", channel: str = "") -> Counter[str]:
    """Everybody of a period, one after the other."""
    said_yes = {
        each
        for i in world.inbound
        if (i["answer"]["kind"], i["answer"]["intent"]) == ("reply", "interested")
        for each in i["answer"]["enrollments"]
    }
    counts: Counter[str] = Counter()
    for e in world.enrollments:
        if e["is_test"] or not since <= day(e["created_at"]) <= until:
            continue
        here = [each for each in went(e) if stage in ("", each[0]) and channel in ("", each[1])]
        if (stage or channel) and not here:
            continue
        counts.update({"enrolled": 1, "sent": bool(here)})
        if not (stage or channel) or went(e)[-1] in here:
            counts[outcome(e)] += 1
            counts["interested"] += outcome(e) == "answered" and e["_id"] in said_yes
    return +counts


def activity(world: World, since: date, until: date, stage: str = "", channel: str = "") -> Counter[str]:
    """What happened, one after the other."""
    counts: Counter[str] = Counter()
    engaged = {each["_id"]: each["human"] for each in world.engagements}
    by_id = {e["_id"]: e for e in world.enrollments if not e["is_test"]}
    for d in world.deliveries:
        on = day(d["settled_at"])
        if d["is_test"] or not since <= on <= until or stage not in ("", d["stage_id"]):
            continue
        if channel not in ("", d["channel"]):
            continue
        counts["sent" if d["state"] == "sent" else "tasks_done"] += 1
        counts.update(kind for kind in ("opened", "clicked") if engaged.get(f"{d['_id']}:{kind}"))
    for i in world.inbound:
        kind, intent = i["answer"]["kind"], i["answer"]["intent"]
        lasts = [
            (went(by_id[each], i["received_at"]) or [("", "")])[-1]
            for each in i["answer"]["enrollments"]
            if each in by_id
        ]
        about = [each for each in lasts if stage in ("", each[0]) and channel in ("", each[1])]
        if not about or not since <= day(i["received_at"]) <= until:
            continue
        counts["answers"] += kind == "reply"
        counts["interested"] += (kind, intent) == ("reply", "interested")
        counts["opted_out"] += kind == "opt_out"
    return +counts


def day(at: datetime) -> date:
    return at.astimezone(ZoneInfo(ZONE)).date()


def numbers(row: Any) -> Counter[str]:
    """The counts of a row that are not zero, without its rates."""
    found = row["cohort"] or row["activity"]
    return Counter({name: n for name, n in found.items() if n and not name.endswith("_rate")})


# ---- the claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("view", "count"), [("cohort", cohort), ("activity", activity)])
async def test_the_numbers_are_those_of_a_straightforward_count(
    world: World, view: str, count: Callable[..., Counter[str]]
) -> None:
    since, until = date(2026, 10, 24), date(2026, 11, 20)  # the clocks change in between
    for narrow in ({}, {"stage": "nudge"}, {"channel": "email"}, {"channel": "call"}):
        period = {"from_": str(since), "to": str(until), "zone": ZONE, "view": view, **narrow}
        expected = count(world, since, until, **narrow)
        assert expected["answered" if view == "cohort" else "answers"] > 0
        for by in ("sequence", "stage", "owner", "week"):
            assert numbers((await world.told(**period, by=by))["total"]) == expected, (narrow, by)
        days = (await world.told(**period, by="day"))["rows"]
        assert [row["day"] for row in days] == [str(since + timedelta(n)) for n in range(28)]
        assert sum(map(numbers, days), Counter()) == expected
        for on in (date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 9)):
            [row] = [row for row in days if row["day"] == str(on)]
            assert numbers(row) == count(world, on, on, **narrow), (narrow, on)


async def test_by_stage_each_has_those_whom_it_reached_and_what_came_of_it(world: World) -> None:
    period = {"from_": "2026-10-01", "to": "2026-11-30", "zone": ZONE}
    for view, count in (("cohort", cohort), ("activity", activity)):
        told = await world.told(**period, view=view, by="stage")
        for stage in ("hello", "ring", "nudge"):
            rows = [numbers(row) for row in told["rows"] if row["stage_id"] == stage]
            expected = count(world, date(2026, 10, 1), date(2026, 11, 30), stage)
            if view == "cohort":
                assert sum(rows, Counter()) == expected
            else:  # an answer about two sequences is in both
                assert all(sum(rows, Counter())[name] >= n for name, n in expected.items())


async def test_what_is_confidential_counts_for_its_owner_alone(served: Served) -> None:
    world, chance = World(served), random.Random(CHANCE_SEED)
    _, bens = await served.teammate("Ben")
    await served.mailbox("ben@ourco.example", bens)
    await world.sequence("Shared")
    confidential = {"name": "Secret", "access": "confidential", "stages": STAGES}
    secret = await served.call("POST", "/v1/sequences", confidential, status=201, key=bens)
    personal = await served.call(
        "POST", "/v1/sequences", {**confidential, "name": "Own", "access": "personal"}, status=201, key=bens
    )
    world.sequences |= {"Secret": UUID(secret["id"]), "Own": UUID(personal["id"])}
    for sequence in world.sequences.values():
        for _ in range(20):
            world.enroll(chance, sequence)
    await world.store()
    period = {"view": "cohort", "from_": "2026-10-01"}

    async def seen(key: str | None = None, **query: str) -> set[str]:
        return {row["name"] for row in (await world.told(key, **period, **query))["rows"]}

    assert await seen() == {"Shared", "Own"}  # an admin
    assert await seen(bens) == {"Shared", "Secret", "Own"}
    assert await seen(bens, whose="mine") == {"Secret", "Own"}
    assert await seen(whose="mine") == {"Shared"}
    cara, caras = await served.teammate("Cara")
    assert await seen(caras) == {"Shared"}
    await served.call("PUT", f"/v1/sequences/{secret['id']}/grants/{cara}", {"right": "read"}, key=bens)
    assert await seen(caras) == {"Shared"}
    assert await seen(caras, sequence=secret["id"]) == {"Secret"}
    await served.call("GET", f"/v1/stats?sequence={personal['id']}", key=caras, status=404)
    await served.call(
        "GET", f"/v1/stats?sequence={secret['id']}", key=await served.other_workspace(), status=404
    )


async def test_an_answer_is_kept_for_a_minute(world: World) -> None:
    before = (await world.told())["total"]["activity"]["sent"]
    assert before
    await world.served.database.collection(names.DELIVERIES).delete_many({})
    assert (await world.told())["total"]["activity"]["sent"] == before
    world.served.clock.advance(60)
    assert (await world.told())["total"]["activity"]["sent"] == 0


REFUSED = {
    "from=2026-11-02&to=2026-11-01": "?from",
    "from=2025-10-01&to=2026-11-10": "?from",
    "to=9999-12-31": "?to",
    "zone=Berlin": "?zone",
    "by=moon": "?by",
    "view=later": "?view",
    "channel=pigeon": "?channel",
    "from=yesterday": "?from",
}


async def test_what_can_not_be_counted_is_refused_where_it_is_wrong(served: Served) -> None:
    for query, at in REFUSED.items():
        found = await served.call("GET", f"/v1/stats?{query}", status=422)
        assert [each["pointer"] for each in found["errors"]] == [at], query


async def test_the_first_days_of_time_are_a_period_too(served: Served) -> None:
    assert (await served.call("GET", "/v1/stats?to=0001-01-02&by=day&zone=Asia/Tokyo"))["rows"]


async def test_the_export_is_the_same_as_lines(world: World) -> None:
    told = await world.told(view="cohort", by="owner")
    text = await world.served.call("GET", "/v1/stats/export?view=cohort&by=owner")
    [head, row, total] = csv.reader(io.StringIO(text))
    assert head[:4] == ["owner", "enrolled", "sent", "answered"]
    assert (row[0], total[0]) == ("Ana", "Total")
    assert dict(zip(head[1:], row[1:], strict=True)) == {
        name: str(n) for name, n in told["rows"][0]["cohort"].items()
    }


async def test_what_is_counted_is_found_by_an_index_of_its_own(world: World) -> None:
    of: Document = {
        "workspace_id": world.served.workspace,
        "sequence_id": {"$in": [world.sequences["Berlin"], uuid4()]},
    }
    period = {"$gte": NOW - timedelta(days=3), "$lt": NOW}
    for collection, found, index in (
        (names.ENROLLMENTS, {"created_at": period}, "cohort"),
        (names.DELIVERIES, {"state": "sent", "sent_at": period}, "sequence_sent"),
        (names.DELIVERIES, {"state": "done", "settled_at": period}, "sequence_done"),
    ):
        plan = await world.served.database.collection(collection).explain(of | found)
        assert f"'indexName': '{index}'" in str(plan), plan
