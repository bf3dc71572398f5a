"""A person's timeline and what can be done there, as a browser without JavaScript sees it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Served, serving_pages
from chassis import documents as names
from chassis.store import Document
from segue_contracts import ids

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        yield served


async def a_person(served: Served, **changes: Any) -> str:
    """Somebody in a sequence, who got the first message; the path of their page."""
    await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    body = {"name": "Berlin", "stages": STAGES}
    sequence_id = UUID((await served.call("POST", "/v1/sequences", body, status=201))["id"])
    at, person_id = served.clock.now(), ids.person_id(served.workspace, "p1")
    enrollment_id = ids.enrollment_id(served.workspace, sequence_id, "p1")
    common: Document = {
        "workspace_id": served.workspace,
        "sequence_id": sequence_id,
        "person_id": person_id,
        "stage_id": "hello",
        "stage_index": 0,
        "channel": "email",
        "attempt": 1,
        "owner_id": UUID(served.made["user_id"]),
        "mailbox_id": uuid4(),
    }
    history = [
        {"seq": 1, "type": "enrolled", "at": at},
        {"seq": 2, "type": "stage_sent", "at": at, "stage_id": "hello"},
    ]
    await served.database.collection(names.ENROLLMENTS).insert_one(
        {
            **common,
            "_id": enrollment_id,
            "state": "scheduled",
            "ended": False,
            "planned_at": at + timedelta(days=1),
            "due_at": at,
            "zone": "Asia/Tokyo",
            "reasons": [],
            "sequence_version": 1,
            "external_id": "p1",
            "generation": 1,
            "is_test": False,
            "history": history,
            "created_at": at,
            **changes,
        }
    )
    await served.database.collection(names.DELIVERIES).insert_one(
        {
            **common,
            "_id": ids.dispatch_id(enrollment_id, "hello"),
            "enrollment_id": enrollment_id,
            "state": "sent",
            "subject": "Hi <Pat>",
            "text": "Hello <b>you</b>",
            "sent_at": at,
        }
    )
    person = {"external_id": "p1", "first_name": "Pat", "last_name": "Li", "email": "pat@x.example"}
    await served.database.collection(names.PEOPLE).insert_one(
        {"_id": person_id, "workspace_id": served.workspace, "prospect": person}
    )
    return f"/enrollments/{enrollment_id}"


async def last_command(served: Served) -> Document | None:
    found = await served.database.collection(names.COMMANDS).find({}, sort=[("created_at", 1)])
    return found[-1] if found else None


async def test_the_timeline_has_what_was_sent_and_what_is_next(served: Served) -> None:
    path = await a_person(served)
    async with served.browser() as browser:
        page = await browser.get(path)
        assert "<h1>Pat Li</h1>" in page
        assert "Hello &lt;b&gt;you" in page
        assert "for them" in page
        assert "can't be looked up at the moment" in page  # no scheduler runs here


@pytest.mark.parametrize(
    ("action", "fields", "said", "kind"),
    [
        ("pause", {}, "Paused.", "hold"),
        ("resume", {}, "Resumed.", "lift"),
        ("stop", {}, "Stopped.", "stop"),
        ("mark-replied", {}, "Marked as answered.", "mark_replied"),
        ("reschedule", {"at": "2031-01-02T09:30"}, "Moved.", "reschedule"),
    ],
)
async def test_what_can_be_done_is_done_and_said(
    served: Served, action: str, fields: dict[str, str], said: str, kind: str
) -> None:
    path = await a_person(served)
    async with served.browser() as browser:
        page = await browser.post(f"{path}/{action}", fields)
        assert said in page
        assert browser.url == path
        assert ("Undo" in page) == (action in ("pause", "resume"))
    command = await last_command(served)
    assert command is not None
    assert command["type"] == kind
    assert ("2031-01-02T09:30:00Z" in command["message"]) == (action == "reschedule")


async def test_a_time_that_is_none_is_said_and_nothing_is_done(served: Served) -> None:
    path = await a_person(served)
    async with served.browser() as browser:
        assert "/at" in await browser.post(f"{path}/reschedule", {"at": "soon"}, status=422)
        await browser.post(f"{path}/pause", signed=False, status=403)
        await browser.get(f"/enrollments/{uuid4()}", status=404)
        await browser.get("/enrollments/nobody", status=404)
    assert await last_command(served) is None


async def test_nothing_can_be_done_about_somebody_who_answered(served: Served) -> None:
    stop = {"reason": "replied", "reason_code": "", "at": served.clock.now()}
    path = await a_person(served, state="stopped", ended=True, ended_at=served.clock.now(), stop=stop)
    async with served.browser() as browser:
        page = await browser.get(path)
        assert "answered" in page
        assert "Mark as answered" not in page
