"""The dashboard over HTTP as a browser without JavaScript sees it, on a real MongoDB."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

import api
from api.sessions import COOKIE, IDLE
from api.settings import ApiSettings
from api.testing import LOCAL, Served, csrf_of, serving, serving_pages
from chassis import documents as names
from chassis.testing import fresh_name
from segue_contracts import ids

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        yield served


async def a_sequence(served: Served, name: str = "Berlin") -> Any:
    await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    return await served.call("POST", "/v1/sequences", {"name": name, "stages": STAGES}, status=201)


def enrollment(served: Served, sequence: Any, external_id: str) -> dict[str, Any]:
    at, sequence_id = datetime(2026, 11, 23, 9, tzinfo=UTC), UUID(sequence["id"])
    return {
        "_id": ids.enrollment_id(served.workspace, sequence_id, external_id),
        "workspace_id": served.workspace,
        "state": "scheduled",
        "ended": False,
        "stage_id": "hello",
        "stage_index": 0,
        "channel": "email",
        "attempt": 0,
        "planned_at": at,
        "due_at": at,
        "zone": "Europe/Berlin",
        "reasons": [],
        "sequence_id": sequence_id,
        "sequence_version": 1,
        "person_id": uuid4(),
        "external_id": external_id,
        "generation": 1,
        "owner_id": UUID(served.made["user_id"]),
        "mailbox_id": uuid4(),
        "is_test": False,
        "history": [],
        "created_at": at,
    }


async def test_a_page_asks_to_sign_in_and_then_leads_where_one_wanted_to_go(served: Served) -> None:
    response = await served.client.get("/sequences?tag=x", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/sign-in?then=%2Fsequences%3Ftag%3Dx")
    async with served.browser() as browser:
        assert "Nothing waits for you" in await browser.get("/")
        assert browser.url == "/"
        assert 'aria-current="page">Today' in await browser.get("/sign-in")  # who is signed in goes on


@pytest.mark.parametrize(
    "then", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"]
)
async def test_signing_in_never_leads_to_another_site(served: Served, then: str) -> None:
    form = {"user": served.made["user_id"], "then": then}
    response = await served.client.post("/sign-in", data=form, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/")


async def test_the_cookie_is_of_this_host_alone_and_the_database_has_only_its_hash(served: Served) -> None:
    form = {"user": served.made["user_id"]}
    response = await served.client.post("/sign-in", data=form, allow_redirects=False)
    cookie = response.cookies[COOKIE]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (
        True,
        True,
        "Lax",
        "/",
    )
    assert cookie["domain"] == ""
    [stored] = await served.database.collection(names.SESSIONS).find({})
    assert stored["_id"] == hashlib.sha256(cookie.value.encode()).hexdigest()


async def test_a_session_ends_by_signing_out_and_by_itself(served: Served) -> None:
    async with served.browser() as browser:
        assert "Sign in" in await browser.post("/sign-out")
        await browser.get("/")
        assert browser.url.startswith("/sign-in")
    async with served.browser() as browser:
        served.clock.advance(IDLE.total_seconds() + 1)
        await browser.get("/")
        assert browser.url.startswith("/sign-in")


async def test_a_form_without_this_sessions_token_does_nothing(served: Served) -> None:
    async with served.browser() as browser, served.browser() as other:
        assert "nothing was done" in await browser.post("/sign-out", signed=False, status=403)
        foreign = {"csrf": csrf_of(await other.get("/"))}
        assert "nothing was done" in await browser.post("/sign-out", foreign, signed=False, status=403)
        await browser.get("/")
        assert browser.url == "/"


async def test_choosing_a_user_is_refused_where_it_is_not_meant(mongodb_uri: str) -> None:
    async with serving(mongodb_uri) as served:
        form = {"user": served.made["user_id"]}
        assert (await served.client.post("/sign-in", data=form)).status == 403
        assert "not set up" in await (await served.client.get("/sign-in")).text()


@pytest.mark.parametrize("wrong", [{"public_url": "https://segue.example"}, {"production": True}])
def test_choosing_a_user_cannot_be_set_up_for_more_than_one_machine(wrong: dict[str, Any]) -> None:
    settings: dict[str, Any] = {
        "kafka_bootstrap_servers": "unused:9092",
        "mongodb_uri": "mongodb://127.0.0.1",
        "mongodb_database": fresh_name(),
        "secret_keys": "a key for tests of sixteen or more",
        "public_url": LOCAL,
        "sign_in": "dev",
    }
    assert ApiSettings(**settings)
    with pytest.raises(ValueError, match="anybody be anybody"):
        ApiSettings(**{**settings, **wrong})


async def test_the_page_of_a_sequence_shows_people_and_escapes_them(served: Served) -> None:
    sequence = await a_sequence(served, "<b>Berlin</b>")
    document = enrollment(served, sequence, "p1")
    person = {
        "_id": document["person_id"],
        "workspace_id": served.workspace,
        "prospect": {"external_id": "p1", "first_name": "<script>alert(1)</script>"},
    }
    await served.database.collection(names.ENROLLMENTS).insert_one(document)
    await served.database.collection(names.PEOPLE).insert_one(person)
    async with served.browser() as browser:
        html = await browser.get(f"/sequences/{sequence['id']}")
        assert "<script>alert" not in html
        assert "&lt;b&gt;Berlin" in html
        assert "planned" in html
        assert "10:00 for them" in html
        assert "&lt;b&gt;Berlin" in await browser.get("/sequences")


async def test_pages_hide_other_workspaces(served: Served) -> None:
    sequence = await a_sequence(served)
    await served.other_workspace()
    [eve] = await served.database.collection(names.USERS).find({"email": "eve@other.example"})
    async with served.browser(eve["_id"]) as browser:
        assert "no such sequence" in await browser.get(f"/sequences/{sequence['id']}", status=404)


async def test_the_live_page_tells_a_change(served: Served) -> None:
    sequence = await a_sequence(served)
    async with served.browser() as browser, browser.session.get(f"/sequences/{sequence['id']}/live") as live:
        assert b"retry" in await live.content.readuntil(b"\n\n")
        assert b"Nobody is enrolled yet" in await live.content.readuntil(b"\n\n")
        newcomer = enrollment(served, sequence, "newcomer")
        await served.database.collection(names.ENROLLMENTS).insert_one(newcomer)
        assert b"newcomer" in await live.content.readuntil(b"\n\n")


VENDORED = {
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_files_are_htmx_4_0_1_to_the_byte(name: str) -> None:
    body = (Path(api.__file__).parent / "static" / name).read_bytes()
    assert hashlib.sha256(body).hexdigest() == VENDORED[name]
