"""The people of a sequence as a crowd, over HTTP on a real MongoDB: lists, counts, commands on many."""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.crowd import Crowd
from api.paging import PageQuery
from api.reads import LAST_PLANNED, LATEST_STOP, NEXT_PLANNED, whom
from api.testing import Served, serving
from chassis import documents as names
from chassis.store import Document, Workspace
from chassis.testing import FrozenClock
from reply_detector.store import INDEXES as INBOUND_INDEXES
from scheduler.store import INDEXES as SCHEDULER_INDEXES
from segue_contracts import ids
from sender.store import INDEXES as DELIVERY_INDEXES

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [
    {"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"},
    {"id": "nudge", "channel": "email", "text": "Again"},
]


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri, clock=FrozenClock(NOW)) as served:
        for name, indexes in (
            *SCHEDULER_INDEXES.items(),
            (names.DELIVERIES, DELIVERY_INDEXES),
            (names.INBOUND, INBOUND_INDEXES),
        ):
            await served.database.collection(name).ensure_indexes(indexes)
        await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        yield served


async def a_sequence(served: Served, name: str = "Berlin", **more: Any) -> UUID:
    body = {"name": name, "stages": STAGES, **more}
    return UUID((await served.call("POST", "/v1/sequences", body, status=201))["id"])


def enrolled(served: Served, sequence: UUID, external_id: str, state: str, **more: Any) -> Document:
    return {
        "_id": ids.enrollment_id(served.workspace, sequence, external_id),
        "workspace_id": served.workspace,
        "state": state,
        "ended": state in ("stopped", "finished", "failed"),
        "stage_id": "nudge",
        "stage_index": 1,
        "channel": "email",
        "attempt": 0,
        "planned_at": NOW + timedelta(days=1),
        "zone": "UTC",
        "reasons": [],
        "sequence_id": sequence,
        "sequence_version": 1,
        "person_id": ids.person_id(served.workspace, external_id),
        "external_id": external_id,
        "owner_id": UUID(served.made["user_id"]),
        "mailbox_id": uuid4(),
        "history": [],
        "created_at": NOW,
        **more,
    }


async def a_crowd(served: Served, sequence: UUID) -> None:
    """Six people: two planned of whom one is paused, one with a task, two who answered, one who bounced."""
    replied: Document = {"reason": "replied", "reason_code": "", "cause_id": uuid4(), "at": NOW}
    people = [
        enrolled(served, sequence, "later", "scheduled", planned_at=NOW + timedelta(days=3)),
        enrolled(served, sequence, "sooner", "scheduled", parked_by=f"enrollment:{uuid4()}"),
        enrolled(served, sequence, "task", "awaiting_task", planned_at=NOW),
        enrolled(served, sequence, "answered", "stopped", stop=replied),
        enrolled(served, sequence, "after-all", "finished", stop={**replied, "at": NOW + timedelta(hours=1)}),
        enrolled(served, sequence, "bounced", "stopped", stop={**replied, "reason": "bounced"}),
    ]
    for each in people:
        await served.database.collection(names.ENROLLMENTS).insert_one(each)
    await served.database.collection(names.PEOPLE).insert_one(
        {
            "_id": people[0]["person_id"],
            "workspace_id": served.workspace,
            "external_id": "later",
            "addresses": ["priya@there.example"],
            "prospect": {"external_id": "later", "first_name": "Priya", "company": "There"},
        }
    )
    for at, stage in ((NOW - timedelta(days=2), "hello"), (NOW, "hello"), (NOW, "nudge")):
        await served.database.collection(names.DELIVERIES).insert_one(
            {
                "_id": str(uuid4()),
                "workspace_id": served.workspace,
                "sequence_id": sequence,
                "enrollment_id": uuid4(),
                "stage_id": stage,
                "state": "sent",
                "sent_at": at,
            }
        )
    await served.database.collection(names.INBOUND).insert_one(
        {
            "_id": uuid4(),
            "workspace_id": served.workspace,
            "mailbox_id": uuid4(),
            "digest": "d",
            "received_at": NOW,
            "answer": {
                "sequences": [sequence],
                "intent": "interested",
                "enrollments": [people[3]["_id"], uuid4()],
            },
        }
    )


def named(rows: Iterable[Any]) -> list[str]:
    return [each["external_id"] for each in rows]


async def test_who_was_paused_is_so_at_once_and_not_only_when_the_next_stage_is_due(served: Served) -> None:
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    later = ids.enrollment_id(served.workspace, sequence, "later")
    hold = {"_id": f"enrollment:{later}", "scope": "enrollment", "scope_id": later, "reason": "on holiday"}
    holds = served.database.collection(names.HOLDS)
    await holds.insert_one({**hold, "workspace_id": served.workspace, "until": None, "lifted_at": None})
    path = f"/v1/sequences/{sequence}/enrollments?state=scheduled"

    async def held() -> list[str]:
        return [each["external_id"] for each in (await served.call("GET", path))["items"] if each["held"]]

    assert sorted(await held()) == ["later", "sooner"]
    assert (await served.call("GET", f"/v1/enrollments/{later}"))["hold"]["reason"] == "on holiday"
    await holds.update_one({"workspace_id": served.workspace}, {"$set": {"lifted_at": NOW}})
    assert await held() == ["sooner"]


async def test_people_are_listed_in_the_order_in_which_one_looks_for_them(served: Served) -> None:
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    path = f"/v1/sequences/{sequence}/enrollments?order=planned"
    for state, expected in {
        "": ["task", "sooner", "later"],
        "&state=scheduled": ["sooner", "later"],
        "&state=held": ["sooner"],
        "&state=answered": ["after-all", "answered"],
        "&state=failed": [],
    }.items():
        assert named((await served.call("GET", path + state))["items"]) == expected, state
    first = await served.call("GET", f"{path}&limit=2")
    rest = await served.call("GET", f"{path}&limit=2&cursor={first['next_cursor']}")
    assert named([*first["items"], *rest["items"]]) == ["task", "sooner", "later"]
    assert (rest["items"][0]["name"], rest["items"][0]["company"]) == ("Priya", "There")


async def test_a_person_is_found_by_id_and_by_address_and_only_exactly(served: Served) -> None:
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    path = f"/v1/sequences/{sequence}/enrollments"
    for asked, expected in {"Priya@There.example": ["later"], "answered": ["answered"], "answ": []}.items():
        assert named((await served.call("GET", path, params={"person": asked}))["items"]) == expected


async def test_counts_are_made_behind_and_are_null_until_then(served: Served) -> None:
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    [row] = (await served.call("GET", "/v1/sequences"))["items"]
    assert row["counts"] is None
    await served.api.counting.sweep()
    [row] = (await served.call("GET", "/v1/sequences"))["items"]
    counts = row["counts"]
    assert (counts["enrolled"], counts["live"], counts["held"]) == (6, 3, 1)
    assert (counts["answered"], counts["interested"], counts["bounced"]) == (2, 1, 1)
    assert counts["next_out_at"] == "2026-11-24T09:00:00Z"
    whole = (await served.call("GET", f"/v1/sequences/{sequence}/counts"))["counts"]
    stages = {
        each["stage_id"]: (each["sent"], each["answered"], each["interested"]) for each in whole["stages"]
    }
    # Who waited for the nudge had read the hello; who had finished, the nudge.
    assert stages == {"hello": (2, 1, 1), "nudge": (1, 1, 0)}
    days = {each["date"]: (each["sent"], each["planned"]) for each in whole["days"]}
    assert days == {
        "2026-11-21": (1, 0),
        "2026-11-23": (2, 0),
        "2026-11-24": (0, 1),
        "2026-11-26": (0, 1),
    }


async def test_stats_count_exactly_and_now(served: Served) -> None:
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    stats = await served.call("GET", f"/v1/sequences/{sequence}/stats")
    assert (stats["enrolled"], stats["live"], stats["replied"], stats["sent"]) == (6, 3, 2, 3)
    assert stats["stop_reasons"] == {"replied": 2, "bounced": 1}


async def test_a_sequence_is_counted_by_one_process_and_again_only_when_old(served: Served) -> None:
    sequence = await a_sequence(served)
    counts, clock = served.api.store.counts, served.clock
    until = clock.real_now() + timedelta(minutes=2)
    assert await counts.lease(Workspace(served.workspace), sequence, clock.real_now(), until)
    assert not await counts.lease(Workspace(served.workspace), sequence, clock.real_now(), until)
    clock.advance(121)
    await served.call("GET", "/v1/sequences")
    await served.api.counting.sweep()
    first = (await served.call("GET", f"/v1/sequences/{sequence}/counts"))["counts"]["counted_at"]
    await served.api.counting.sweep()  # nothing old was shown
    again = (await served.call("GET", f"/v1/sequences/{sequence}/counts"))["counts"]["counted_at"]
    assert again == first
    clock.advance(served.api.settings.counts_seconds + 1)
    await served.call("GET", f"/v1/sequences/{sequence}/counts")
    await served.api.counting.sweep()
    later = (await served.call("GET", f"/v1/sequences/{sequence}/counts"))["counts"]["counted_at"]
    assert later > first


async def test_what_counts_and_lists_read_stands_in_the_order_of_an_index(served: Served) -> None:
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    of = {"workspace_id": served.workspace, "sequence_id": sequence}
    enrollments = served.database.collection(names.ENROLLMENTS)
    deliveries = served.database.collection(names.DELIVERIES)
    plans = {
        "sequence_state": await enrollments.explain(of | whom("live"), sort=NEXT_PLANNED.sort),
        "sequence_held": await enrollments.explain(of | whom("held"), sort=NEXT_PLANNED.sort),
        "sequence_stop": await enrollments.explain(of | whom("answered"), sort=LATEST_STOP.sort),
        "sequence_sent": await deliveries.explain(of | {"state": "sent", "sent_at": {"$gte": NOW}}),
    }
    for index, plan in plans.items():
        assert f"'indexName': '{index}'" in str(plan)
        assert "'stage': 'SORT'" not in str(plan)
    ended = await enrollments.explain(of | whom("ended"), sort=LAST_PLANNED.sort)
    assert "'stage': 'SORT'" not in str(ended)
    after = NEXT_PLANNED.filter_after(NEXT_PLANNED.cursor_after({"planned_at": NOW, "_id": uuid4()}))
    deep = await enrollments.explain({"$and": [of | whom("scheduled"), after]}, sort=NEXT_PLANNED.sort)
    assert "'stage': 'SORT'" not in str(deep)
    assert "new Date(1795424400000), new Date(9223372036854775807)" in str(deep)  # it begins at the cursor


async def test_many_are_acted_on_at_once_each_by_a_command(served: Served) -> None:
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    path = f"/v1/sequences/{sequence}/people"
    found = await served.call("GET", f"/v1/sequences/{sequence}/enrollments?state=live")
    some, stranger = [each["id"] for each in found["items"]], str(uuid4())
    answer = await served.call("POST", path, {"do": "pause", "enrollment_ids": [*some, stranger]}, status=202)
    assert (answer["accepted"], answer["unknown"], answer["command"]) == (3, [stranger], None)
    answer = await served.call("POST", path, {"do": "stop", "state": "awaiting_task"}, status=202)
    assert answer["accepted"] == 1
    commands = await served.database.collection(names.COMMANDS).find({"workspace_id": served.workspace})
    told = sorted((each["type"], each["target"]) for each in commands)
    task = str(ids.enrollment_id(served.workspace, sequence, "task"))
    assert told == sorted([("stop", task), *(("hold", each) for each in some)])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"do": "pause"}, ""),
        ({"do": "pause", "state": "live", "enrollment_ids": [str(uuid4())]}, ""),
        ({"do": "pause", "state": "finished"}, "/state"),
        ({"do": "stop", "state": "live", "until": "2030-01-01T00:00:00Z"}, "/until"),
        ({"do": "pause", "state": "live", "until": "2020-01-01T00:00:00Z"}, "/until"),
        ({"do": "resume", "state": "live", "reason_code": "x"}, "/reason_code"),
        ({"do": "pause", "enrollment_ids": [str(uuid4())]}, "/enrollment_ids"),
        ({"do": "erase", "state": "live"}, "/do"),
    ],
)
async def test_what_can_not_be_done_with_many_is_refused_and_named(
    served: Served, body: Any, pointer: str
) -> None:
    path = f"/v1/sequences/{await a_sequence(served)}/people"
    problem = await served.call("POST", path, body, status=422)
    assert [each["pointer"] for each in problem["errors"]] == [pointer]


async def test_a_crowd_too_large_to_name_is_reached_page_by_page(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.sequence_people.MAX_NAMED", 1)
    sequence = await a_sequence(served)
    await a_crowd(served, sequence)
    path = f"/v1/sequences/{sequence}/people"
    answer = await served.call("POST", path, {"do": "pause", "state": "scheduled"}, status=202)
    api = served.api
    await Crowd(api.clock, api.store, api.reads, api.courier).sweep()
    commands = await served.database.collection(names.COMMANDS).find({"workspace_id": served.workspace})
    reached = {ids.enrollment_id(served.workspace, sequence, each) for each in ("sooner", "later")}
    assert {UUID(each["target"]) for each in commands} == reached
    assert {each["type"] for each in commands} == {"hold"}
    status = await served.call("GET", f"/v1/commands/{answer['command']['command_id']}")
    assert status["people"] == 2
    ended, _ = await api.reads.live_ids(Workspace(served.workspace), sequence, whom("finished"), PageQuery())
    assert ended == []


async def test_sequences_are_searched_by_a_part_of_their_name_taken_literally(served: Served) -> None:
    for name in ("Backend, Berlin", "Frontend (Bonn)", "Sales"):
        await a_sequence(served, name, tags=["eu"] if "," in name or "(" in name else [])
    for part, expected in {
        "END": {"Backend, Berlin", "Frontend (Bonn)"},
        "(b": {"Frontend (Bonn)"},
        ".*": set(),
    }.items():
        found = await served.call("GET", "/v1/sequences", params={"q": part})
        assert {each["name"] for each in found["items"]} == expected
    assert (await served.call("GET", "/v1/sequence-tags"))["tags"] == [{"tag": "eu", "sequences": 2}]


async def test_a_copy_is_the_callers_own_and_sends_from_their_mailbox(served: Served) -> None:
    sequence = await a_sequence(served, access="shared", mailbox="ana@ourco.example", tags=["eu"])
    bob = await served.call(
        "POST", "/v1/users", {"email": "bob@ourco.example", "name": "Bob", "role": "member"}, status=201
    )
    key = (
        await served.call(
            "POST", "/v1/api-keys", {"name": "b", "scopes": ["admin"], "user_id": bob["id"]}, status=201
        )
    )["key"]
    path = f"/v1/sequences/{sequence}/copy"
    problem = await served.call("POST", path, status=422, key=key)
    assert problem["errors"][0]["pointer"] == "/mailbox"
    await served.call(
        "POST", "/v1/mailboxes", {**MAILBOX, "address": "bob@ourco.example"}, status=201, key=key
    )
    made = await served.call("POST", path, status=201, key=key)
    assert (made["name"], made["owner_id"], made["access"]) == ("Copy of Berlin", bob["id"], "personal")
    assert (made["tags"], made["right"]) == (["eu"], "edit")
    named_copy = await served.call("POST", path, {"name": "Bonn"}, status=201)
    assert named_copy["name"] == "Bonn"
