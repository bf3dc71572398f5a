"""Tasks, Today and what is in doubt, as a browser without JavaScript sees them, and the routes beneath."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.dashboard.doubts import CHOICES, age
from api.dashboard.tasks import wakes
from api.keys import Role
from api.testing import Served, serving
from chassis import documents as names
from chassis.store import Document
from chassis.testing import FrozenClock
from reply_detector.store import INDEXES as INBOUND_INDEXES
from scheduler.store import INDEXES as SCHEDULER_INDEXES
from segue_contracts import ids
from sender.store import INDEXES as DELIVERY_INDEXES

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]
PAT: Document = {
    "external_id": "p1",
    "first_name": "Pat",
    "last_name": "<Li>",
    "company": "Acme",
    "phone": "+49 (30) 123",
    "zone": "Asia/Tokyo",
}


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    clock = FrozenClock(datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0))
    async with serving(mongodb_uri, "http://127.0.0.1:8080", clock, sign_in="dev") as served:
        yield served


def me(served: Served) -> UUID:
    return UUID(served.made["user_id"])


async def a_sequence(served: Served) -> UUID:
    await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    made = await served.call("POST", "/v1/sequences", {"name": "Berlin", "stages": STAGES}, status=201)
    return UUID(made["id"])


async def a_delivery(served: Served, state: str, sequence_id: UUID | None = None, **fields: Any) -> str:
    """A delivery as the sender writes it, to Pat, in a sequence (else one that is nobody's)."""
    enrollment_id, person_id, now = uuid4(), uuid4(), served.clock.now()
    dispatch_id = ids.dispatch_id(enrollment_id, "ring")
    delivery: Document = {
        "_id": dispatch_id,
        "workspace_id": served.workspace,
        "enrollment_id": enrollment_id,
        "stage_id": "ring",
        "attempt": 1,
        "token": "t",
        "state": state,
        "channel": "call",
        "sequence_id": sequence_id or uuid4(),
        "person_id": person_id,
        "settled_at": now,
        **fields,
    }
    await served.database.collection(names.DELIVERIES).insert_one(delivery)
    person = {"_id": person_id, "workspace_id": served.workspace, "prospect": PAT}
    await served.database.collection(names.PEOPLE).insert_one(person)
    return dispatch_id


async def a_task(
    served: Served, state: str = "task_open", sequence_id: UUID | None = None, **task: Any
) -> str:
    """A call to make, due now, of the first user's."""
    now = served.clock.now()
    told = {"assignee_id": me(served), "text": "Ask for <Pat>", "due_at": now, "opened_at": now, **task}
    return await a_delivery(served, state, sequence_id, task=told)


async def a_doubt(served: Served, sequence_id: UUID) -> str:
    now = served.clock.now()
    looks = {"sent_copy": {"at": now, "times": 2, "places": ["Sent", "Everything"]}}
    facts = {"recipient": "pat@x.example", "subject": "Hi <Pat>", "text": "Hello", "looks": looks}
    return await a_delivery(served, "in_doubt", sequence_id, channel="email", transmitted_at=now, **facts)


async def a_planned(served: Served, sequence_id: UUID, name: str, hours: int, **fields: Any) -> None:
    """Somebody of the first user's to whom something goes out in so many hours."""
    now = served.clock.now()
    document: Document = {
        "_id": uuid4(),
        "workspace_id": served.workspace,
        "sequence_id": sequence_id,
        "sequence_version": 1,
        "person_id": uuid4(),
        "external_id": name,
        "owner_id": me(served),
        "mailbox_id": uuid4(),
        "state": "scheduled",
        "ended": False,
        "stage_id": "hello",
        "channel": "email",
        "planned_at": now + timedelta(hours=hours),
        "due_at": now + timedelta(hours=hours),
        "zone": "Asia/Tokyo",
        "reasons": [{"rule": "window", "detail": f"the first free time for {name}"}],
        "created_at": now,
        **fields,
    }
    await served.database.collection(names.ENROLLMENTS).insert_one(document)


async def commands(served: Served) -> list[dict[str, Any]]:
    """What was asked of the sender, in order."""
    found = await served.database.collection(names.COMMANDS).find({}, sort=[("next_at", 1)])
    return [json.loads(each["message"]) for each in found]


async def a_limited_user(served: Served) -> UUID:
    new = {"email": "lou@ourco.example", "name": "Lou", "role": Role.LIMITED.value}
    return UUID((await served.call("POST", "/v1/users", new, status=201))["id"])


# ---- the queue ----------------------------------------------------------------------------------------


async def test_the_queue_has_what_one_needs_to_do_a_task_and_escapes_it(served: Served) -> None:
    dispatch_id = await a_task(served)
    async with served.browser() as browser:
        page = await browser.get("/tasks")
        for part in (
            "Pat &lt;Li&gt;",
            "Acme",
            "tel:+4930123",
            "Ask for &lt;Pat&gt;",
            "No answer",
            "for them",
        ):
            assert part in page
        assert f"/tasks/{dispatch_id}" in page
        assert '<span class="badge">1<' in page
        assert "Ask for &lt;Pat&gt;" in await browser.get(f"/tasks/{dispatch_id}")
        assert "Pat &lt;Li&gt;" in await browser.get("/")


async def test_each_tab_has_its_tasks_and_no_others(served: Served) -> None:
    now = served.clock.now()
    tasks = {
        "today": await a_task(served),
        "overdue": await a_task(served, due_at=now - timedelta(hours=1), overdue_at=now - timedelta(hours=1)),
        "asleep": await a_task(served, snoozed_until=now + timedelta(hours=1)),
        "tomorrow": await a_task(served, due_at=now + timedelta(days=1)),
        "theirs": await a_task(served, assignee_id=uuid4()),
        "gone": await a_task(served, state="released"),
    }
    shown = {
        "today": {"today", "overdue"},
        "overdue": {"overdue"},
        "later": {"asleep", "tomorrow"},
        "taken": {"gone"},
        "everybody": {"today", "overdue", "asleep", "tomorrow", "theirs"},
    }
    async with served.browser() as browser:
        for tab, expected in shown.items():
            page = await browser.get(f"/tasks?tab={tab}")
            cards = {name for name, each in tasks.items() if f'id="t-{each.replace(":", "-")}"' in page}
            assert cards == expected, tab
    waiting = await served.call("GET", "/v1/me/waiting")
    assert (waiting["tasks"], waiting["overdue"]) == (2, 1)


async def test_what_can_be_done_with_a_task_is_done_and_said(served: Served) -> None:
    ben, _ = await served.teammate("Ben")
    fields: dict[str, dict[str, str]] = {
        "done": {"result": "wrong_number", "note": "a bakery", "suppress_phone": "yes"},
        "skip": {},
        "snooze": {"until": "tomorrow"},
        "wake": {},
        "reassign": {"assignee_id": ben},
    }
    told = {"done": "suppress_phone", "snooze": "until", "wake": "until", "reassign": "assignee_id"}
    async with served.browser() as browser:
        for action in fields:
            dispatch_id = await a_task(served)
            page = await browser.post(f"/tasks/{dispatch_id}/{action}", fields[action])
            assert browser.url.startswith("/tasks?tab=today")
            # Though the sender has not done it yet; what is to come back is there.
            assert (f'id="t-{dispatch_id.replace(":", "-")}"' in page) == (action == "wake")
            assert ("Undo" in page) == (action == "snooze")
            [command] = [each for each in await commands(served) if each["dispatch_id"] == dispatch_id]
            assert bool(command[told.get(action, "dispatch_id")])


async def test_what_was_typed_stays_where_it_is_refused(served: Served) -> None:
    dispatch_id = await a_task(served)
    path = f"/tasks/{dispatch_id}"
    async with served.browser() as browser:
        both = {"result": "voicemail", "note": "left <word>", "responded": "yes"}
        page = await browser.post(f"{path}/done", both, status=422)
        assert "nobody was reached" in page
        assert 'value="left &lt;word&gt;"' in page
        assert '<option value="voicemail" selected' in page
        page = await browser.post(f"{path}/snooze", {"at": "2020-01-01T09:00"}, status=422)
        assert 'value="2020-01-01T09:00"' in page
        await browser.post(f"{path}/snooze", {"at": "soon"}, status=422)
        await browser.post(f"{path}/reassign", {"assignee_id": str(uuid4())}, status=422)
        await browser.post(f"{path}/done", {"result": "reached"}, status=403, signed=False)
        await browser.post("/tasks/nothing:here/done", status=404)
        await browser.get("/tasks/nothing:here", status=404)
    assert await commands(served) == []


async def test_a_form_that_waited_hears_in_a_word_whether_it_was_done(served: Served) -> None:
    dispatch_id, gone = await a_task(served), await a_task(served, state="done", result="reached")
    async with served.browser() as browser:
        done = {"later": "yes", "result": "reached"}
        assert await browser.post(f"/tasks/{dispatch_id}/done", done, status=204) == ""
        said = await browser.post(f"/tasks/{gone}/done", done, status=409)
        assert said.startswith("It was not done: This task is not open any more: it is done.")
        assert "It is done: reached." in (await browser.get(f"/tasks/{gone}")).replace("\n", "")


async def test_a_task_that_is_taken_back_says_why_where_it_was(served: Served) -> None:
    dispatch_id = await a_task(served)
    async with served.browser() as browser:
        assert "taken back" not in await browser.get("/tasks/list")
        await served.database.collection(names.DELIVERIES).update_one(
            {"_id": dispatch_id}, {"$set": {"state": "released"}}
        )
        stop = {"reason": "replied", "at": served.clock.now()}
        ended = {"state": "stopped", "ended": True, "stop": stop, "workspace_id": served.workspace}
        enrollment_id, _ = ids.split_dispatch_id(dispatch_id)
        await served.database.collection(names.ENROLLMENTS).insert_one({"_id": enrollment_id, **ended})
        part = await browser.get("/tasks/list")
        assert "<html" not in part
        assert "was taken back" in part
        assert "answered" in part
        assert "answered" in await browser.get(f"/tasks/{dispatch_id}")
        served.clock.advance(hours=1)
        assert "taken back" not in await browser.get("/tasks/list")


async def test_who_only_does_their_own_tasks_sees_and_does_no_others(served: Served) -> None:
    lou = await a_limited_user(served)
    sequence_id = await a_sequence(served)
    theirs, own = await a_task(served, sequence_id=sequence_id), await a_task(served, assignee_id=lou)
    async with served.browser(lou) as browser:
        for path in ("/tasks", "/tasks?tab=everybody", "/tasks/list?tab=everybody"):
            page = await browser.get(path)
            assert own in page
            assert theirs not in page
            assert "Everybody" not in page
            assert "Give away" not in page
        await browser.get(f"/tasks/{theirs}", status=404)
        await browser.post(f"/tasks/{theirs}/done", {"result": "reached"}, status=404)
        await browser.post(f"/tasks/{own}/reassign", {"assignee_id": str(me(served))}, status=403)
        await browser.post(f"/tasks/{own}/done", {"result": "reached"})
    assert [each["dispatch_id"] for each in await commands(served)] == [own]


async def test_another_workspace_sees_nothing_of_it(served: Served) -> None:
    sequence_id = await a_sequence(served)
    task, doubt = await a_task(served), await a_doubt(served, sequence_id)
    await a_planned(served, sequence_id, "p1", 1)
    key = await served.other_workspace()
    [eve] = await served.database.collection(names.USERS).find({"email": "eve@other.example"})
    for path in (f"/v1/tasks/{task}", f"/v1/deliveries/{task}", f"/v1/deliveries/{doubt}"):
        await served.call("GET", path, key=key, status=404)
    assert (await served.call("GET", "/v1/upcoming", key=key))["items"] == []
    assert (await served.call("GET", "/v1/me/waiting", key=key))["doubts"] == 0
    async with served.browser(eve["_id"]) as browser:
        await browser.get(f"/tasks/{task}", status=404)
        await browser.post(f"/tasks/{task}/done", {"result": "reached"}, status=404)
        await browser.post(f"/doubts/{doubt}", {"decision": "resend"}, status=404)
        assert "Nothing is in doubt" in await browser.get("/doubts")


def test_a_task_comes_back_in_the_readers_morning_across_a_clock_change() -> None:
    friday = datetime(2026, 10, 23, 7, tzinfo=UTC)  # Berlin leaves summer time on Sunday
    found = {each.value: each.at.astimezone(UTC) for each in wakes(friday, "Europe/Berlin")}
    assert found == {
        "later": datetime(2026, 10, 23, 10, tzinfo=UTC),
        "tomorrow": datetime(2026, 10, 24, 7, tzinfo=UTC),
        "monday": datetime(2026, 10, 26, 8, tzinfo=UTC),
    }
    sunday_evening = datetime(2026, 10, 25, 20, tzinfo=UTC)
    assert [each.value for each in wakes(sunday_evening, "Europe/Berlin")] == ["tomorrow"]


# ---- today --------------------------------------------------------------------------------------------


async def test_today_tells_what_goes_out_next_and_why_then(served: Served) -> None:
    sequence_id = await a_sequence(served)
    await a_planned(served, sequence_id, "second", 2)
    await a_planned(served, sequence_id, "first", 1)
    await a_planned(served, sequence_id, "ended", 1, state="finished", ended=True)
    await a_planned(served, sequence_id, "theirs", 1, owner_id=uuid4())
    await served.database.collection(names.ENROLLMENTS).update_one(
        {"external_id": "ended"}, {"$unset": {"due_at": ""}}
    )
    shown = (await served.call("GET", "/v1/upcoming"))["items"]
    assert [each["external_id"] for each in shown] == ["first", "second"]
    assert {each["sequence"] for each in shown} == {"Berlin"}
    async with served.browser() as browser:
        page = await browser.get("/")
        assert page.index("the first free time for first") < page.index("the first free time for second")
        assert "for theirs" not in page


async def test_today_tells_what_is_held_and_why(served: Served) -> None:
    sequence_id = await a_sequence(served)
    [mailbox] = (await served.call("GET", "/v1/mailboxes"))["items"]
    now = served.clock.now()
    for scope, scope_id, reason in (
        ("sequence", sequence_id, ""),
        ("mailbox", UUID(mailbox["id"]), "bounce_rate"),
        ("sequence", uuid4(), "of nobody here"),
    ):
        hold = {"scope": scope, "scope_id": scope_id, "reason": reason, "by": "x", "created_at": now}
        own = {
            "_id": f"{scope}:{scope_id}",
            "workspace_id": served.workspace,
            "lifted_at": None,
            "until": None,
        }
        await served.database.collection(names.HOLDS).insert_one({**own, **hold})
    held = (await served.call("GET", "/v1/me/holds"))["items"]
    assert [(each["scope"], each["name"]) for each in held] == [
        ("sequence", "Berlin"),
        ("mailbox", "ana@ourco.example"),
    ]
    async with served.browser() as browser:
        page = await browser.get("/")
        assert "Too many of its messages came back." in page
        assert f'href="/sequences/{sequence_id}"' in page
        assert "of nobody here" not in page


async def test_the_numbers_in_the_rail_are_not_counted_for_every_page(served: Served) -> None:
    async with served.browser() as browser:
        assert 'class="badge"' not in await browser.get("/")
        await a_task(served)
        assert 'class="badge"' not in await browser.get("/sequences")
        served.clock.advance(seconds=6)
        assert '<span class="badge">1<' in await browser.get("/sequences")


async def test_what_stands_on_every_page_is_read_from_an_index(served: Served) -> None:
    now, workspace, user = served.clock.now(), served.workspace, me(served)
    deliveries = served.database.collection(names.DELIVERIES)
    enrollments = served.database.collection(names.ENROLLMENTS)
    inbound = served.database.collection(names.INBOUND)
    await deliveries.ensure_indexes(DELIVERY_INDEXES)
    await enrollments.ensure_indexes(SCHEDULER_INDEXES[names.ENROLLMENTS])
    await inbound.ensure_indexes(INBOUND_INDEXES)
    sequence_id = uuid4()
    for number in range(20):
        await a_task(served, assignee_id=uuid4())
        await a_planned(served, sequence_id, f"theirs {number}", 1, owner_id=uuid4())
        answer = {"answer": {"owners": [uuid4()], "open": True}, "received_at": now}
        ours = {"_id": uuid4(), "workspace_id": workspace, "mailbox_id": uuid4(), "digest": str(number)}
        await inbound.insert_one({**ours, **answer})
    tasks = {"workspace_id": workspace, "state": "task_open", "task.assignee_id": user}
    answers = {"workspace_id": workspace, "answer": {"$exists": True}, "answer.owners": user}
    upcoming = {"workspace_id": workspace, "owner_id": user, "state": "scheduled"}
    plans = {
        "tasks_of_assignee": await deliveries.explain({**tasks, "task.due_at": {"$lte": now}}),
        "in_doubt": await deliveries.explain({"workspace_id": workspace, "state": "in_doubt"}),
        "answers_of_owner": await inbound.explain({**answers, "answer.open": True}),
        "next_of_owner": await enrollments.explain(
            {**upcoming, "due_at": {"$exists": True}}, sort=[("planned_at", 1), ("_id", 1)]
        ),
    }
    for index, plan in plans.items():
        assert f"'indexName': '{index}'" in str(plan)
        assert "'SORT'" not in str(plan)


# ---- in doubt -----------------------------------------------------------------------------------------


async def test_a_doubt_shows_where_was_looked_and_is_decided(served: Served) -> None:
    dispatch_id = await a_doubt(served, await a_sequence(served))
    served.clock.advance(hours=3)
    async with served.browser() as browser:
        assert "1 message: not sure it arrived" in await browser.get("/")
        page = await browser.get("/doubts")
        for part in ("for 3 hours", "Sent, Everything", "2 times", "Hi &lt;Pat&gt;", "They may get it twice"):
            assert part in page
        for choice in CHOICES:
            page = await browser.post(f"/doubts/{dispatch_id}", {"decision": choice.value})
            assert choice.said in page
            assert "Nothing is in doubt" in page
    decided = [(each["dispatch_id"], each["decision"]) for each in await commands(served)]
    assert sorted(decided) == sorted((dispatch_id, choice.value) for choice in CHOICES)


async def test_a_decision_that_is_none_or_not_ones_own_decides_nothing(served: Served) -> None:
    dispatch_id = await a_doubt(served, await a_sequence(served))
    path, lou = f"/doubts/{dispatch_id}", await a_limited_user(served)
    async with served.browser() as browser:
        await browser.post(path, {"decision": "burn"}, status=422)
        await browser.post(path, status=422)
        await browser.post(path, {"decision": "resend"}, signed=False, status=403)
        said = await browser.post(path, {"decision": "burn", "later": "yes"}, status=422)
        assert said.startswith("It was not done")
    async with served.browser(lou) as browser:
        assert dispatch_id not in await browser.get("/doubts")
        await browser.post(path, {"decision": "resend"}, status=403)
    assert await commands(served) == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "just now"), (300, "for 5 minutes"), (3600, "for 1 hour"), (200_000, "for 2 days")],
)
def test_an_age_is_said_in_its_largest_unit(seconds: int, said: str) -> None:
    assert age(seconds) == said
