"""The API over HTTP on a real MongoDB; Kafka is a list that can be told to be down."""

import hashlib
import hmac
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from pydantic import HttpUrl

from api.application import application
from api.bootstrap import Wanted, bootstrap
from api.migrations import SCHEMA
from api.routing import Api
from api.settings import ApiSettings
from api.store import SEQUENCE_ORDERS
from api.wiring import assemble
from chassis import documents as names
from chassis import tracing
from chassis.clock import Clock
from chassis.errors import Fatal, Retry
from chassis.kafka import Record
from chassis.migrations import build
from chassis.settings import TracingSettings
from chassis.store import Database, Document, Workspace, connect
from segue_contracts import codec, ids
from segue_contracts.events import SequenceEventType
from stack.collector import Collector

pytestmark = pytest.mark.stack

SEQUENCE: Document = {
    "name": "Backend engineers, Berlin",
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "subject": "{{first_name|Hi}}",
            "text": "Hi {{first_name|there}}",
        },
        {"id": "nudge", "channel": "email", "after": "3 business days", "text": "Hello again"},
    ],
}
YAML = """\
name: Backend engineers, Berlin
tags: [backend]
stages:
  - id: hello
    channel: email
    at: 10:30
    subject: "Hello"
    text: |
      Hi {{first_name|there}},
      are you NO?
"""
MAILBOX: Document = {
    "address": "Ana@ourco.example",
    "display_name": "Ana",
    "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"},
}


class FakeKafka:
    """Keeps what is published; `down` refuses it as a broker that can't be reached does."""

    def __init__(self) -> None:
        self.down = False
        self.records: list[Record] = []

    async def publish(self, records: Sequence[Record]) -> None:
        if self.down:
            raise Retry("no broker")
        self.records.extend(records)

    def messages(self) -> list[Any]:
        return [codec.decode(record.topic, record.headers, record.value) for record in self.records]

    def types(self) -> list[str]:
        return [str(message.event_type) for message in self.messages()]


class SteppedClock(Clock):
    """A clock whose real time the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = timedelta()

    def real_now(self) -> datetime:
        now = super().real_now() + self.ahead
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    async def sleep_real(self, seconds: float) -> None:
        return


@dataclass
class World:
    """A running API, a key with every scope, and the things around it."""

    api: Api
    clock: SteppedClock
    kafka: FakeKafka
    database: Database
    client: TestClient[Any, Any]
    made: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        return Workspace(UUID(self.made["workspace_id"]))

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> ClientResponse:
        headers = {
            "Authorization": f"Bearer {more.pop('key', self.made['api_key'])}",
            **more.pop("headers", {}),
        }
        if body is not None:
            more["json"] = body
        return await self.client.request(method, path, headers=headers, **more)

    async def json(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        response = await self.call(method, path, body, **more)
        text = await response.text()
        assert response.status == status, text
        if status >= 400:
            assert response.content_type == "application/problem+json"
            assert json.loads(text)["status"] == status
        return json.loads(text) if text else None

    async def mailbox(self, **changes: Any) -> Any:
        return await self.json("POST", "/v1/mailboxes", {**MAILBOX, **changes}, status=201)

    async def sequence(self, **changes: Any) -> Any:
        if (await self.json("GET", "/v1/mailboxes"))["items"] == []:
            await self.mailbox()
        return await self.json("POST", "/v1/sequences", {**SEQUENCE, **changes}, status=201)

    async def enroll(self, sequence: Any, external_id: str = "p1") -> Any:
        path = f"/v1/sequences/{sequence['id']}/enrollments"
        answer = await self.json("POST", path, {"prospect": {"external_id": external_id}}, status=202)
        return answer["accepted"][0]

    async def other_workspace(self) -> dict[str, str]:
        return await bootstrap(
            Wanted(f"Other {uuid4()}", "eve@other.example", "Eve", False), self.api.store.people, self.clock
        )

    async def insert(self, collection: str, document: Document) -> None:
        await self.database.collection(collection).insert_one(document)

    def enrollment(self, sequence: Any, external_id: str = "p1", **changes: Any) -> Document:
        workspace, sequence_id = self.workspace, UUID(sequence["id"])
        at = datetime(2026, 11, 23, 9, tzinfo=UTC)
        base: Document = {
            "_id": ids.enrollment_id(workspace, sequence_id, external_id),
            "workspace_id": workspace,
            "state": "scheduled",
            "stage_id": "hello",
            "stage_index": 0,
            "channel": "email",
            "attempt": 0,
            "planned_at": at,
            "due_at": at,
            "send_before": None,
            "zone": "Europe/Berlin",
            "reasons": [{"rule": "zone", "detail": "Europe/Berlin: the prospect's"}],
            "sequence_id": sequence_id,
            "sequence_version": 1,
            "person_id": ids.person_id(workspace, external_id),
            "external_id": external_id,
            "generation": 1,
            "owner_id": UUID(self.made["user_id"]),
            "mailbox_id": uuid4(),
            "is_test": False,
            "history": [
                {"seq": 1, "type": "enrolled", "at": at},
                {"seq": 2, "type": "stage_scheduled", "at": at},
            ],
            "created_at": at,
            "ended": False,
        }
        return {**base, **changes}

    def delivery(self, enrollment: Document, state: str, stage: str = "hello", **changes: Any) -> Document:
        return {
            "_id": ids.dispatch_id(enrollment["_id"], stage),
            "workspace_id": self.workspace,
            "enrollment_id": enrollment["_id"],
            "stage_id": stage,
            "stage_index": 0,
            "sequence_id": enrollment["sequence_id"],
            "person_id": enrollment["person_id"],
            "owner_id": enrollment["owner_id"],
            "channel": "email",
            "attempt": 1,
            "state": state,
            **changes,
        }


Worlds = Callable[[], Awaitable[World]]


@pytest.fixture
async def world(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("SEGUE_KAFKA_BOOTSTRAP_SERVERS", "unused:9092")
    monkeypatch.setenv("SEGUE_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("SEGUE_MONGODB_DATABASE", f"api_{uuid4().hex}")
    monkeypatch.setenv("SEGUE_SECRET_KEYS", "a secret key for tests only")
    monkeypatch.setenv("SEGUE_PUBLIC_URL", "https://segue.example")
    settings = ApiSettings(live_page_seconds=0.05)
    kafka, clock = FakeKafka(), SteppedClock()
    async with connect(settings) as database:
        await build(database, SCHEMA)
        api = assemble(settings, clock, database, kafka)
        made = await bootstrap(Wanted("Our Co", "ana@ourco.example", "Ana", False), api.store.people, clock)
        async with TestClient(TestServer(application(api))) as client:
            yield World(api, clock, kafka, database, client, made)
        await database.drop()


def pointers(problem: Any) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


# ---- keys, workspaces ---------------------------------------------------------------------------------


async def test_a_key_says_whom_it_belongs_to_and_when_it_was_used(world: World) -> None:
    me = await world.json("GET", "/v1/me")
    assert me["workspace"]["name"] == "Our Co"
    assert me["user"]["email"] == "ana@ourco.example"
    [key] = (await world.json("GET", "/v1/api-keys"))["items"]
    assert key["last_used"] is not None
    assert "hash" not in key


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer nonsense",
        "Bearer sgk_00000000000000000000000000000000_wrong",
        "Basic c2drOng=",
        "Bearer sgk_ünïcode",
    ],
)
async def test_without_a_known_key_nothing_is_answered(world: World, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = await world.client.get("/v1/me", headers=headers)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.content_type == "application/problem+json"


async def test_the_right_id_with_a_wrong_secret_is_refused(world: World) -> None:
    wrong = world.made["api_key"][:-3] + "AAA"
    await world.json("GET", "/v1/me", key=wrong, status=401)


async def test_a_revoked_key_ends_at_once(world: World) -> None:
    made = await world.json("POST", "/v1/api-keys", {"name": "ci", "scopes": ["read"]}, status=201)
    await world.json("GET", "/v1/me", key=made["key"])
    await world.json("DELETE", f"/v1/api-keys/{made['id']}", status=204)
    await world.json("GET", "/v1/me", key=made["key"], status=401)


async def test_a_key_that_may_only_read_can_not_write(world: World) -> None:
    made = await world.json("POST", "/v1/api-keys", {"name": "bi", "scopes": ["read"]}, status=201)
    await world.json("GET", "/v1/sequences", key=made["key"])
    await world.json("POST", "/v1/sequences", SEQUENCE, key=made["key"], status=403)
    await world.json("GET", "/v1/api-keys", key=made["key"], status=403)


async def test_bootstrap_refuses_a_taken_name_and_makes_another_key_when_asked(world: World) -> None:
    people = world.api.store.people
    with pytest.raises(Fatal, match="exists"):
        await bootstrap(Wanted("Our Co", "ana@ourco.example", "Ana", False), people, world.clock)
    again = await bootstrap(Wanted("Our Co", "Ana@ourco.example", "Ana", True), people, world.clock)
    assert again["workspace_id"] == world.made["workspace_id"]
    assert again["user_id"] == world.made["user_id"]
    await world.json("GET", "/v1/me", key=again["api_key"])


# ---- what is not understood ---------------------------------------------------------------------------


async def test_unknown_paths_and_methods_are_problems_too(world: World) -> None:
    await world.json("GET", "/v1/nothing", status=404)
    problem = await world.json("DELETE", "/v1/sequences", status=405)
    assert "GET" in problem["detail"]
    await world.json("GET", "/v1/sequences/not-an-id", status=404)
    await world.json("GET", "/v1/enrollments/%00", status=422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b'{"name": "\\ud800"}', 400),
        (b"[1]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b'{"name": "a\\u0000b", "stages": []}', 422),
        (b"[" * 3000, 400),
        (b"[" * 30 + b"]" * 30, 422),
        (b'{"name": 3, "stages": {}}', 422),
        (b'{"name": "x", "stages": [{"id": "a", "channel": "call", "text": 18446744073709551616}]}', 422),
    ],
)
async def test_a_malformed_sequence_is_refused_and_never_a_500(
    world: World, body: bytes, status: int
) -> None:
    for kind in ("application/json", "application/yaml"):
        response = await world.call("POST", "/v1/sequences", data=body, headers={"Content-Type": kind})
        assert response.status in (status, 400, 422), await response.text()
        assert response.content_type == "application/problem+json"


async def test_a_body_of_another_kind_or_size_is_refused(world: World) -> None:
    await world.json("POST", "/v1/sequences", data=b"<x/>", headers={"Content-Type": "text/xml"}, status=415)
    big = b'{"name": "' + b"x" * 600_000 + b'"}'
    await world.json(
        "POST", "/v1/sequences", data=big, headers={"Content-Type": "application/json"}, status=413
    )

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65536

    response = await world.call(
        "POST", "/v1/sequences", data=endless(), headers={"Content-Type": "application/json"}
    )
    assert response.status == 413
    await world.json("GET", "/v1/me", data=b"x", status=400)


async def test_a_body_that_is_not_encoded_as_it_says_is_refused(world: World) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = io.BytesIO(b"not gzip at all")
    problem = await world.json("POST", "/v1/sequences", data=body, headers=headers, status=400)
    assert problem["type"] == "urn:segue:problem:broken-body"


async def test_yaml_errors_name_their_line(world: World) -> None:
    headers = {"Content-Type": "application/yaml"}
    problem = await world.json(
        "POST", "/v1/sequences", data="name: x\nstages: [", headers=headers, status=400
    )
    assert "line 2" in problem["detail"]
    doubled = await world.json("POST", "/v1/sequences", data="name: x\nname: y", headers=headers, status=400)
    assert "line 2" in doubled["detail"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("cursor=nonsense", 400),
        ("cursor=bnVsbA", 400),
        ("cursor=WyJhIiwiYiJd", 400),
        ("cursor=%F0%9F%92%A9", 400),
        ("limit=0", 422),
        ("limit=100000", 422),
        ("limit=ten", 422),
        ("limt=3", 422),
        ("limit=3&limit=4", 422),
        ("tag=%00", 422),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(world: World, query: str, status: int) -> None:
    problem = await world.json("GET", f"/v1/sequences?{query}", status=status)
    assert all(error["pointer"].startswith("?") for error in problem["errors"])


async def test_an_unknown_parameter_names_the_nearest_known_one(world: World) -> None:
    problem = await world.json("GET", "/v1/sequences?limt=3", status=422)
    assert "limit" in problem["errors"][0]["detail"]


# ---- sequences ----------------------------------------------------------------------------------------


async def test_a_sequence_is_saved_read_and_told(world: World) -> None:
    mailbox = await world.mailbox()
    sequence = await world.json("POST", "/v1/sequences", SEQUENCE, status=201)
    assert sequence["latest_version"] == 1
    assert sequence["latest"]["document"] == SEQUENCE
    assert sequence["latest"]["mailbox_ids"] == [mailbox["id"]]
    response = await world.call("GET", f"/v1/sequences/{sequence['id']}")
    assert response.headers["ETag"] == '"1"'
    await world.api.courier.deliver()
    assert world.kafka.types() == ["created", "published", "state"]
    stored = await world.api.store.sequences.one(world.workspace, UUID(sequence["id"]))
    assert stored is not None
    assert stored["outbox"] == []


async def test_yaml_is_read_as_yaml_1_2(world: World) -> None:
    await world.mailbox()
    headers = {"Content-Type": "application/yaml"}
    sequence = await world.json("POST", "/v1/sequences", data=YAML, headers=headers, status=201)
    [stage] = sequence["latest"]["document"]["stages"]
    assert stage["at"] == "10:30"
    assert "are you NO?" in stage["text"]


async def test_an_unknown_key_names_the_nearest_one(world: World) -> None:
    wrong = {**SEQUENCE, "stages": [{**SEQUENCE["stages"][0], "subjct": "x"}]}
    problem = await world.json("POST", "/v1/sequences", wrong, status=422)
    assert pointers(problem) == ["/stages/0/subjct"]
    assert "subject" in problem["errors"][0]["detail"]


async def test_a_bad_template_is_found_where_it_stands(world: World) -> None:
    stages = [{"id": "hello", "channel": "email", "subject": "{{ x.y }}", "text": "{% for a in b %}"}]
    problem = await world.json("POST", "/v1/sequences", {**SEQUENCE, "stages": stages}, status=422)
    assert pointers(problem) == ["/stages/0/subject", "/stages/0/text"]


async def test_a_zone_that_planning_does_not_know_is_refused(world: World) -> None:
    stages = [{**SEQUENCE["stages"][0], "zone": "Europe/Berln"}]
    body = {**SEQUENCE, "timing": {"zone": "prospect", "fallback_zone": "Mars/Olympus"}, "stages": stages}
    problem = await world.json("POST", "/v1/sequences", body, status=422)
    assert pointers(problem) == ["/timing/fallback_zone", "/stages/0/zone"]


async def test_a_mailbox_that_is_not_connected_is_named(world: World) -> None:
    problem = await world.json("POST", "/v1/sequences", SEQUENCE, status=422)
    assert pointers(problem) == ["/mailbox"]
    named = {**SEQUENCE, "mailbox": ["bob@ourco.example"]}
    problem = await world.json("POST", "/v1/sequences", named, status=422)
    assert "bob@ourco.example" in problem["errors"][0]["detail"]


async def test_a_text_message_needs_a_number_that_can_send_and_a_bearable_length(world: World) -> None:
    await world.mailbox()
    stages = [{"id": "text", "channel": "sms", "text": "{{first_name|there}} " + "x" * 1000}]
    body = {**SEQUENCE, "stages": stages}
    problem = await world.json("POST", "/v1/sequences", body, status=422)
    assert pointers(problem) == ["/stages/0/channel", "/stages/0/text"]
    assert "7 segments" in problem["errors"][1]["detail"]
    receives = {"number": "+4930999", "auth_token": "a token of theirs"}
    number = await world.json("POST", "/v1/sms-numbers", receives, status=201)
    stages[0]["text"] = "Hi {{first_name|there}}"
    problem = await world.json("POST", "/v1/sequences", body, status=422)
    assert (number["can_send"], pointers(problem)) == (False, ["/stages/0/channel"])
    path, account = f"/v1/sms-numbers/{number['id']}", "AC" + "0" * 32
    sends = {"auth_token": "another token", "account_sid": account}
    assert (await world.json("PUT", path, sends))["can_send"]
    kept = await world.json("PUT", path, {"auth_token": "yet another token"})
    assert (kept["can_send"], kept["account_sid"]) == (True, account)
    await world.json("POST", "/v1/sequences", body, status=201)


@pytest.mark.parametrize(
    "settings",
    [
        {"account_sid": "AC1"},
        {"provider": "webhook", "url": "http://bridge.example/"},
        {"provider": "webhook", "url": "https://user:secret@bridge.example/"},
        {"provider": "webhook", "url": "https://bridge.example/", "auth_token": "whsec_no base64!"},
        {"provider": "carrier pigeon"},
    ],
)
async def test_a_provider_that_could_not_be_used_safely_is_refused(
    world: World, settings: dict[str, str]
) -> None:
    body = {"number": "+4930999", "auth_token": "a token of theirs", **settings}
    assert (await world.json("POST", "/v1/sms-numbers", body, status=422))["errors"]


async def test_a_put_makes_the_next_version_and_the_old_one_stays(world: World) -> None:
    sequence = await world.sequence()
    path = f"/v1/sequences/{sequence['id']}"
    changed = {**SEQUENCE, "name": "Another name"}
    second = await world.json("PUT", path, changed, headers={"If-Match": '"1"'})
    assert (second["latest_version"], second["name"]) == (2, "Another name")
    assert (await world.json("GET", f"{path}/versions/1"))["document"] == SEQUENCE
    await world.json("GET", f"{path}/versions/3", status=404)
    await world.json("GET", f"{path}/versions/x", status=404)
    await world.json("PUT", path, changed, headers={"If-Match": '"1"'}, status=412)
    same = await world.json("PUT", path, changed)
    assert same["latest_version"] == 2
    await world.api.courier.deliver()
    assert world.kafka.messages()[-1].sequence_version == 2


async def test_a_version_that_a_crash_left_behind_is_published_by_the_next_one(world: World) -> None:
    sequence = await world.sequence()
    store = world.api.store.sequences
    first = await store.version(world.workspace, UUID(sequence["id"]), 1)
    assert first is not None
    orphan = {**first, "_id": f"{sequence['id']}:2", "version": 2}
    orphan["document"] = {**SEQUENCE, "name": "Orphan"}
    await store.add_version(orphan)
    await world.json("GET", f"/v1/sequences/{sequence['id']}/versions/2", status=404)
    third = await world.json("PUT", f"/v1/sequences/{sequence['id']}", {**SEQUENCE, "name": "Third"})
    assert third["latest_version"] == 3
    second = await world.json("GET", f"/v1/sequences/{sequence['id']}/versions/2")
    assert second["document"]["name"] == "Orphan"


async def test_an_archived_sequence_takes_no_people_and_no_versions(world: World) -> None:
    sequence = await world.sequence()
    path = f"/v1/sequences/{sequence['id']}"
    await world.json("POST", f"{path}/archive", headers={"If-Match": '"7"'}, status=412)
    assert (await world.json("POST", f"{path}/archive"))["archived"]
    assert (await world.json("POST", f"{path}/archive", {}))["archived"]
    await world.json("POST", f"{path}/enrollments", {"prospect": {"external_id": "p1"}}, status=409)
    await world.json("PUT", path, {**SEQUENCE, "name": "x"}, status=409)
    assert (await world.json("GET", "/v1/sequences"))["items"] == []
    assert len((await world.json("GET", "/v1/sequences?archived=true"))["items"]) == 1
    await world.api.courier.deliver()
    assert SequenceEventType.ARCHIVED in world.kafka.types()
    assert world.kafka.messages()[-1].archived


async def test_what_another_workspace_owns_does_not_exist(world: World) -> None:
    sequence = await world.sequence()
    accepted = await world.enroll(sequence)
    other = (await world.other_workspace())["api_key"]
    paths = [
        ("GET", f"/v1/sequences/{sequence['id']}", None),
        ("PUT", f"/v1/sequences/{sequence['id']}", SEQUENCE),
        ("GET", f"/v1/sequences/{sequence['id']}/stats", None),
        ("GET", f"/v1/sequences/{sequence['id']}/enrollments", None),
        ("POST", f"/v1/sequences/{sequence['id']}/pause", {}),
        ("GET", f"/v1/commands/{accepted['command_id']}", None),
        ("POST", f"/v1/enrollments/{accepted['enrollment_id']}/stop", {}),
        ("GET", f"/v1/mailboxes/{sequence['latest']['mailbox_ids'][0]}", None),
        ("DELETE", f"/v1/api-keys/{world.made['key_id']}", None),
    ]
    for method, path, body in paths:
        await world.json(method, path, body, key=other, status=404)
    assert (await world.json("GET", "/v1/sequences", key=other))["items"] == []


async def test_pages_follow_one_another_without_gap_or_repetition(world: World) -> None:
    made = [(await world.sequence(name=f"Sequence {n}"))["id"] for n in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = await world.json("GET", f"/v1/sequences?limit=2{cursor}")
        seen += [each["id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(made)


# ---- enrolling ----------------------------------------------------------------------------------------


async def test_an_accepted_enroll_is_published_and_done_when_the_enrollment_is_there(
    world: World,
) -> None:
    sequence = await world.sequence()
    accepted = await world.enroll(sequence)
    assert accepted["status_url"] == f"https://segue.example/v1/commands/{accepted['command_id']}"
    expected = ids.enrollment_id(world.workspace, UUID(sequence["id"]), "p1")
    assert accepted["enrollment_id"] == str(expected)
    path = f"/v1/commands/{accepted['command_id']}"
    assert (await world.json("GET", path))["state"] == "accepted"
    await world.api.courier.deliver()
    [command] = [m for m in world.kafka.messages() if m.event_type == "enroll"]
    assert (str(command.event_id), command.enrollment_id) == (accepted["command_id"], expected)
    await world.insert(names.ENROLLMENTS, world.enrollment(sequence))
    assert (await world.json("GET", path))["state"] == "done"
    world.clock.ahead += timedelta(seconds=10)
    await world.api.courier.sweep()
    stored = await world.api.store.commands.one(world.workspace, UUID(accepted["command_id"]))
    assert stored is not None
    assert (stored["state"], "message" in stored) == ("done", False)
    status = await world.json("GET", path)
    assert (status["state"], status["enrollment_id"]) == ("done", str(expected))


async def test_a_refused_enroll_tells_the_reasons(world: World) -> None:
    accepted = await world.enroll(await world.sequence())
    result = {
        "_id": UUID(accepted["command_id"]),
        "workspace_id": world.workspace,
        "status": "refused",
        "reasons": [{"code": "suppressed", "detail": "must not be written to"}],
        "at": datetime.now(UTC),
    }
    await world.insert(names.COMMAND_RESULTS, result)
    for _ in range(2):
        status = await world.json("GET", f"/v1/commands/{accepted['command_id']}")
        assert (status["state"], status["reasons"][0]["code"]) == ("refused", "suppressed")
        world.clock.ahead += timedelta(seconds=10)
        await world.api.courier.sweep()
    # The words of the command are gone by now, and what it was about is still known.
    await world.json("POST", f"/v1/enrollments/{accepted['enrollment_id']}/pause", {}, status=202)


async def test_what_was_answered_with_202_survives_kafka_being_down(world: World) -> None:
    sequence = await world.sequence()
    world.kafka.down = True
    accepted = await world.enroll(sequence)
    await world.api.courier.deliver()
    world.clock.ahead += timedelta(seconds=10)
    with pytest.raises(Retry):
        await world.api.courier.sweep()
    assert world.kafka.records == []
    world.kafka.down = False
    world.clock.ahead += timedelta(seconds=15)
    await world.api.courier.sweep()
    assert sorted(world.kafka.types()) == ["created", "enroll", "published", "state"]
    enroll = next(m for m in world.kafka.messages() if m.event_type == "enroll")
    assert str(enroll.event_id) == accepted["command_id"]


async def test_a_requests_trace_goes_along_with_its_command_also_when_it_is_published_again(
    world: World,
) -> None:
    sequence = await world.sequence()
    path, person = f"/v1/sequences/{sequence['id']}/enrollments", {"prospect": {"external_id": "p1"}}
    given = f"00-{'a1' * 16}-{'b2' * 8}-01"
    with Collector() as collector:
        settings = TracingSettings(otlp_endpoint=HttpUrl(collector.url))
        with tracing.telling(settings, "api", "here"):
            await world.json("POST", path, person, status=202, headers={tracing.HEADER: given})
        (request,) = collector.spans()
    assert (request.name, request.parent) == ("POST /v1/sequences/{sequence_id}/enrollments", "b2" * 8)
    await world.api.courier.deliver()
    world.clock.ahead += timedelta(seconds=10)
    await world.api.courier.sweep()
    contexts = [dict(each.headers).get(tracing.HEADER) for each in world.kafka.records]
    assert [each for each in contexts if each] == [f"00-{'a1' * 16}-{request.id}-01".encode()] * 2


async def test_a_command_without_a_result_is_published_again_ever_more_rarely(world: World) -> None:
    await world.enroll(await world.sequence())
    await world.api.courier.deliver()
    waits = []
    for _ in range(4):
        before, waited = world.kafka.types().count("enroll"), 0
        while world.kafka.types().count("enroll") == before:
            world.clock.ahead += timedelta(seconds=1)
            waited += 1
            await world.api.courier.sweep()
        waits.append(waited)
    assert waits == sorted(waits)
    assert waits[-1] > 2 * waits[0]


async def test_bulk_takes_the_good_and_names_the_bad(world: World) -> None:
    sequence = await world.sequence()
    prospects = [
        {"external_id": "a", "email": "a@there.example"},
        {"external_id": "b@there.example"},
        {"external_id": "c", "emial": "c@there.example"},
        {"external_id": "a"},
        "nobody",
        {"external_id": "d", "tokens": {"role": "Chef"}},
    ]
    path = f"/v1/sequences/{sequence['id']}/enrollments"
    answer = await world.json("POST", path, {"prospects": prospects}, status=202)
    assert [each["row"] for each in answer["accepted"]] == [1, 6]
    assert [each["row"] for each in answer["refused"]] == [2, 3, 4, 5]
    assert answer["refused"][1]["errors"][0]["pointer"] == "/prospects/2/emial"
    assert "email" in answer["refused"][1]["errors"][0]["detail"]


async def test_if_nobody_can_be_enrolled_nothing_is_accepted(world: World) -> None:
    sequence = await world.sequence()
    path = f"/v1/sequences/{sequence['id']}/enrollments"
    problem = await world.json("POST", path, {"prospect": {"email": "nobody"}}, status=422)
    assert set(pointers(problem)) == {"/prospect/external_id", "/prospect/email"}
    wrong: list[Any] = [{}, {"prospect": None}, {"prospects": []}, {"prospect": {}, "prospects": []}]
    for each in (*wrong, {"prospects": 3}):
        await world.json("POST", path, each, status=422)
    await world.json("POST", path, {"prospects": [{}] * 5001}, status=422)
    body = {"prospect": {"external_id": "p1"}, "sequence_version": 2}
    await world.json("POST", path, body, status=422)


async def test_a_csv_with_a_byte_order_mark_and_line_breaks_enrolls_row_by_row(world: World) -> None:
    sequence = await world.sequence()
    text = (
        "\ufeffexternal_id,E-Mail,First Name,Fun fact,dates.start_date\r\n"
        'p1,p1@there.example,"Ann","two\nlines",2027-01-04\r\n'
        "p2@x.example,p2@there.example,Ben,,\r\n"
        "\r\n"
        "p3,broken,Cleo,,\r\n"
        "p4,,Dan,,,,surplus\r\n"
        "p1,,Ann,,\r\n"
        "p5,p5@there.example,Eve,,\r\n"
    )
    path = f"/v1/sequences/{sequence['id']}/enrollments"
    headers = {"Content-Type": "text/csv"}
    answer = await world.json("POST", path + "?generation=2", data=text.encode(), headers=headers, status=202)
    assert [each["row"] for each in answer["accepted"]] == [2, 9]
    assert [each["row"] for each in answer["refused"]] == [4, 6, 7, 8]
    await world.api.courier.deliver()
    first = next(m for m in world.kafka.messages() if m.event_type == "enroll")
    assert first.generation == 2
    assert first.prospect.tokens == {"fun_fact": "two\nlines"}
    assert (first.prospect.first_name, first.prospect.dates) == ("Ann", {"start_date": "2027-01-04"})


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"", 422),
        (b"external_id", 422),
        (b"email\na@b.example", 422),
        (b"external_id,external_id\na,b", 422),
        (b"external_id,\na,b", 422),
        (b'external_id\n"a', 400),
        (b"external_id\n\xff", 400),
        (b"external_id\na\x00b", 422),
        (b'external_id\n"' + b"x" * 140_000 + b'"', 400),
    ],
)
async def test_a_csv_that_can_not_be_used_says_why(world: World, text: bytes, status: int) -> None:
    sequence = await world.sequence()
    path = f"/v1/sequences/{sequence['id']}/enrollments"
    await world.json("POST", path, data=text, headers={"Content-Type": "text/csv"}, status=status)


async def test_five_thousand_prospects_are_stored_before_the_answer(world: World) -> None:
    sequence = await world.sequence()
    path = f"/v1/sequences/{sequence['id']}/enrollments"
    prospects = [{"external_id": f"p{n}", "email": f"p{n}@there.example"} for n in range(5000)]
    answer = await world.json("POST", path, {"prospects": prospects}, status=202)
    assert len(answer["accepted"]) == 5000
    stored = await world.database.collection(names.COMMANDS).count({"state": "accepted"}, limit=10_000)
    assert stored == 5000


# ---- idempotency --------------------------------------------------------------------------------------


async def test_the_same_key_and_body_is_answered_as_before(world: World) -> None:
    await world.mailbox()
    headers = {"Idempotency-Key": "one"}
    first = await world.json("POST", "/v1/sequences", SEQUENCE, headers=headers, status=201)
    response = await world.call("POST", "/v1/sequences", SEQUENCE, headers=headers)
    assert (response.status, await response.json()) == (201, first)
    assert response.headers["Idempotent-Replayed"] == "true"
    assert response.headers["ETag"] == '"1"'
    other = {**SEQUENCE, "name": "Another"}
    await world.json("POST", "/v1/sequences", other, headers=headers, status=409)
    assert len((await world.json("GET", "/v1/sequences"))["items"]) == 1


async def test_a_crash_between_the_command_and_the_answer_makes_nothing_twice(world: World) -> None:
    sequence = await world.sequence()
    path = f"/v1/sequences/{sequence['id']}/enrollments"
    headers = {"Idempotency-Key": "two"}
    body = {"prospect": {"external_id": "p1"}}
    first = await world.json("POST", path, body, headers=headers, status=202)
    keys = world.database.collection(names.IDEMPOTENCY_KEYS)
    await keys.update_many({}, {"$set": {"answer": None}})
    await world.json("POST", path, body, headers=headers, status=409)
    world.clock.ahead += timedelta(minutes=3)
    again = await world.json("POST", path, body, headers=headers, status=202)
    assert again == first
    assert await world.database.collection(names.COMMANDS).count({}, limit=10) == 1


async def test_a_request_that_failed_leaves_its_key_free(world: World) -> None:
    headers = {"Idempotency-Key": "three"}
    await world.json("POST", "/v1/sequences", SEQUENCE, headers=headers, status=422)
    await world.mailbox()
    await world.json("POST", "/v1/sequences", SEQUENCE, headers=headers, status=201)
    await world.json("POST", "/v1/sequences", SEQUENCE, headers={"Idempotency-Key": "a b"}, status=400)


async def test_a_replayed_secret_is_the_first_one(world: World) -> None:
    headers = {"Idempotency-Key": "four"}
    first = await world.json("POST", "/v1/mailboxes", MAILBOX, headers=headers, status=201)
    again = await world.json("POST", "/v1/mailboxes", MAILBOX, headers=headers, status=201)
    assert first["inbound_secret"] == again["inbound_secret"]
    [stored] = await world.database.collection(names.IDEMPOTENCY_KEYS).find({})
    assert first["inbound_secret"] not in str(stored)


# ---- commands -----------------------------------------------------------------------------------------


async def test_every_command_on_what_runs_is_stored_and_published(world: World) -> None:
    sequence = await world.sequence()
    enrollment = await world.enroll(sequence)
    of = f"/v1/enrollments/{enrollment['enrollment_id']}"
    soon = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    mailbox = (await world.json("GET", "/v1/mailboxes"))["items"][0]["id"]
    calls: list[tuple[str, str, Any, str]] = [
        ("POST", f"{of}/pause", {"until": soon, "reason": "holiday"}, "hold"),
        ("POST", f"{of}/resume", None, "lift"),
        ("POST", f"{of}/stop", {"reason_code": "hired"}, "stop"),
        ("POST", f"{of}/mark-replied", None, "mark_replied"),
        ("POST", f"{of}/reschedule", {"at": soon}, "reschedule"),
        ("POST", f"{of}/migrate", {"to_version": 2}, "migrate"),
        ("POST", f"{of}/edit", {"stages": {"nudge": {"text": "Hi {{first_name|you}}"}}}, "edit"),
        ("POST", f"/v1/sequences/{sequence['id']}/pause", {}, "hold"),
        ("POST", f"/v1/sequences/{sequence['id']}/resume", {}, "lift"),
        ("POST", "/v1/workspace/pause", None, "hold"),
        ("POST", "/v1/workspace/resume", None, "lift"),
        ("POST", "/v1/people/p1/pause", {"until": soon}, "hold"),
        ("POST", "/v1/people/p1/resume", None, "lift"),
        ("POST", f"/v1/mailboxes/{mailbox}/pause", None, "hold"),
        ("POST", f"/v1/mailboxes/{mailbox}/resume", None, "lift"),
        ("PUT", "/v1/workspace/calendar", {"days": ["2026-12-24"]}, "set_calendar"),
        ("PUT", "/v1/people/p%2F1", {"first_name": "Ann"}, "update_person"),
        ("POST", "/v1/people/p1/stop", {"reason_code": "hired"}, "stop"),
        ("POST", "/v1/companies/there.example/stop", {}, "stop"),
    ]
    for method, path, body, _ in calls:
        answer = await world.json(method, path, body, status=202)
        status = await world.json("GET", f"/v1/commands/{answer['command_id']}")
        assert status["state"] == "accepted"
    await world.api.courier.deliver()
    told = world.kafka.types()
    assert told[-len(calls) - 3 : -3] == [kind for *_, kind in calls]
    person = next(m for m in world.kafka.messages() if m.event_type == "update_person")
    assert person.prospect.external_id == "p/1"


async def test_a_mailbox_that_its_server_refuses_is_not_resumed_by_hand(world: World) -> None:
    mailbox = UUID((await world.mailbox())["id"])
    hold = {"scope": "mailbox", "until": datetime.now(UTC) + timedelta(hours=1), "reason": "5.7.1"}
    await world.database.collection(names.HOLDS).insert_one(
        {"_id": names.hold_id("mailbox", mailbox), "workspace_id": world.workspace, "by": "sender", **hold}
    )
    problem = await world.json("POST", f"/v1/mailboxes/{mailbox}/resume", status=409)
    assert "mend its settings" in problem["detail"]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("edit", {"stages": {"nudge": {"text": "{{ a.b }}"}}}, "/stages/nudge/text"),
        ("edit", {"stages": {"nudge": {"txt": "x"}}}, "/stages/nudge/txt"),
        ("edit", {"stages": {"nudge": {}}}, "/stages/nudge"),
        ("edit", {"stages": {}}, "/stages"),
        ("edit", {"stages": {"NOT A STAGE": {"text": "x"}}}, "/stages/NOT A STAGE"),
        ("edit", {}, "/stages"),
        ("reschedule", {"at": "tomorrow"}, "/at"),
        ("reschedule", {"at": "2026-11-23T09:00:00"}, "/at"),
        ("reschedule", {"at": "0001-01-01T00:00:00+14:00"}, "/at"),
        ("migrate", {"to_version": 0}, "/to_version"),
        ("pause", {"until": "2020-01-01T00:00:00Z"}, "/until"),
        ("stop", {"reason_code": "x" * 201}, "/reason_code"),
        ("stop", {"reason_cod": "x"}, "/reason_cod"),
        ("stop", {"reason_code": {"$ne": 1}}, "/reason_code"),
    ],
)
async def test_a_command_that_makes_no_sense_is_refused_where_it_is_wrong(
    world: World, path: str, body: Any, pointer: str
) -> None:
    enrollment = await world.enroll(await world.sequence())
    problem = await world.json(
        "POST", f"/v1/enrollments/{enrollment['enrollment_id']}/{path}", body, status=422
    )
    assert pointers(problem) == [pointer]


async def test_a_command_on_an_enrollment_that_nobody_asked_for_is_a_404(world: World) -> None:
    await world.json("POST", f"/v1/enrollments/{uuid4()}/stop", status=404)


async def test_a_sequence_may_name_the_teams_days_and_they_are_sent_sorted_and_once(world: World) -> None:
    await world.sequence(timing={"holidays": {"of": ["DE", "team"]}})
    assert await world.json("GET", "/v1/workspace/calendar") == {"days": [], "changed_at": None}
    days = {"days": ["2026-12-31", "2026-12-24", "2026-12-31"]}
    accepted = await world.json("PUT", "/v1/workspace/calendar", days, status=202)
    status = await world.json("GET", f"/v1/commands/{accepted['command_id']}")
    assert (status["type"], status["target"]) == ("set_calendar", str(world.workspace))
    await world.api.courier.deliver()
    [told] = [m for m in world.kafka.messages() if m.event_type == "set_calendar"]
    assert told.days == ["2026-12-24", "2026-12-31"]


async def test_the_teams_days_are_shown_as_the_scheduler_keeps_them(world: World) -> None:
    changed_at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    _id = world.workspace
    kept = {"_id": _id, "workspace_id": _id, "days": ["2026-12-24"], "changed_at": changed_at}
    await world.insert(names.CALENDARS, kept)
    shown = await world.json("GET", "/v1/workspace/calendar")
    assert shown == {"days": ["2026-12-24"], "changed_at": "2026-11-23T09:00:00Z"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"days": ["2026-02-30"]}, "/days/0"),
        ({"days": ["2026-12-24", "tomorrow"]}, "/days/1"),
        ({"days": ["2026-12-24"] * 1001}, "/days"),
        ({"day": []}, "/days"),
        ({}, "/days"),
    ],
)
async def test_a_calendar_that_is_none_is_refused(world: World, body: Any, pointer: str) -> None:
    problem = await world.json("PUT", "/v1/workspace/calendar", body, status=422)
    assert pointer in pointers(problem)


async def test_other_hours_of_a_mailbox_ask_to_plan_again_and_other_settings_do_not(world: World) -> None:
    mailbox = await world.mailbox()
    path, settings = f"/v1/mailboxes/{mailbox['id']}", {"smtp": MAILBOX["smtp"]}

    async def replans() -> list[Any]:
        await world.api.courier.deliver()
        return [m for m in world.kafka.messages() if m.event_type == "replan"]

    await world.json("PUT", path, {**settings, "signature": "Ana", "limits": {"per_day": 9}})
    assert await replans() == []
    for changed in (
        {"zone": "Europe/Berlin"},
        {"zone": "Europe/Berlin", "country": "DE"},
        {"windows": {"mon-fri": ["09:00-17:00"]}},
        {"time_off": ["2026-12-24/2027-01-01"]},
    ):
        before = len(await replans())
        await world.json("PUT", path, {**settings, **changed})
        await world.json("PUT", path, {**settings, **changed, "signature": "Ana"})
        [asked] = (await replans())[before:]
        assert (asked.scope, asked.reason) == ("mailbox", "mailbox_changed")
        assert (str(asked.scope_id), asked.workspace_id) == (mailbox["id"], world.workspace)


async def test_facts_about_a_person_must_be_about_that_person(world: World) -> None:
    await world.json("PUT", "/v1/people/p1", {"external_id": "p2"}, status=409)
    await world.json("PUT", "/v1/people/p1", {"emial": "x"}, status=422)
    await world.json("PUT", "/v1/people/p1", [1], status=422)
    await world.json("PUT", "/v1/people/p%00", {}, status=422)
    await world.json("POST", f"/v1/people/{'x' * 201}/stop", status=422)


# ---- reading ------------------------------------------------------------------------------------------


async def test_an_enrollment_shows_past_and_future(world: World) -> None:
    sequence = await world.sequence()
    hold_id = f"enrollment:{uuid4()}"
    at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    broken = {"work": "unpark", "tries": 2, "since": at, "again_at": at, "error": "KeyError: 'Priya'"}
    enrollment = world.enrollment(sequence, parked_by=hold_id, broken=broken)
    hold = {"_id": hold_id, "workspace_id": world.workspace, "scope": "enrollment", "reason": "out of office"}
    person = {
        "_id": enrollment["person_id"],
        "workspace_id": world.workspace,
        "external_id": "p1",
        "prospect": {"external_id": "p1", "first_name": "Priya"},
    }
    await world.insert(names.ENROLLMENTS, enrollment)
    await world.insert(names.HOLDS, hold)
    await world.insert(names.PEOPLE, person)
    await world.insert(
        names.DELIVERIES,
        world.delivery(enrollment, "sent", subject="Hello", text="Hi Priya", message_id="<x@y>"),
    )
    shown = await world.json("GET", f"/v1/enrollments/{enrollment['_id']}")
    assert shown["next"]["planned_at"] == "2026-11-23T09:00:00Z"
    assert shown["next"]["reasons"][0]["rule"] == "zone"
    assert (shown["held"], shown["hold"]["reason"]) == (True, "out of office")
    assert (shown["broken"]["work"], shown["broken"]["tries"]) == ("unpark", 2)
    assert "error" not in shown["broken"]  # it may quote what somebody wrote
    assert [each["type"] for each in shown["history"]] == ["enrolled", "stage_scheduled"]
    assert shown["deliveries"][0]["text"] == "Hi Priya"
    assert shown["prospect"]["first_name"] == "Priya"


async def test_enrollments_are_listed_by_state_and_counted(world: World) -> None:
    sequence = await world.sequence()
    for n in range(3):
        await world.insert(names.ENROLLMENTS, world.enrollment(sequence, f"live{n}"))
    stop = {"reason": "replied", "reason_code": "", "cause_id": uuid4(), "at": datetime.now(UTC)}
    ended = world.enrollment(sequence, "ended", state="stopped", ended=True, stop=stop)
    await world.insert(names.ENROLLMENTS, ended)
    await world.insert(names.DELIVERIES, world.delivery(ended, "sent"))
    await world.insert(
        names.ENROLLMENTS,
        {
            "_id": uuid4(),
            "workspace_id": world.workspace,
            "state": "stopped",
            "ended": True,
            "tombstone": True,
        },
    )
    path = f"/v1/sequences/{sequence['id']}/enrollments"
    assert len((await world.json("GET", path))["items"]) == 4
    live = await world.json("GET", f"{path}?state=live&limit=2")
    rest = await world.json("GET", f"{path}?state=live&limit=2&cursor={live['next_cursor']}")
    assert len(live["items"]) + len(rest["items"]) == 3
    assert live["items"][0]["last_event"]["type"] == "stage_scheduled"
    [stopped] = (await world.json("GET", f"{path}?state=stopped"))["items"]
    assert (stopped["stop"]["reason"], stopped["next"]) == ("replied", None)
    await world.json("GET", f"{path}?state=nonsense", status=422)
    stats = await world.json("GET", f"/v1/sequences/{sequence['id']}/stats")
    assert (stats["enrolled"], stats["live"], stats["replied"], stats["sent"]) == (4, 3, 1, 1)
    untracked = dict.fromkeys(("opened", "clicked", "machine_opened", "machine_clicked"), 0)
    assert stats["stages"] == [{"stage_id": "hello", "sent": 1, **untracked}]


# ---- tasks and doubt ----------------------------------------------------------------------------------


async def test_tasks_are_listed_and_commanded(world: World) -> None:
    sequence = await world.sequence()
    me = world.made["user_id"]
    enrollment = world.enrollment(sequence, state="awaiting_task")
    now = datetime.now(UTC)
    task = {"assignee_id": UUID(me), "text": "Call Ann", "due_at": now, "opened_at": now}
    await world.insert(
        names.DELIVERIES, world.delivery(enrollment, "task_open", "ring", channel="call", task=task)
    )
    later = {**task, "snoozed_until": now + timedelta(days=1), "assignee_id": uuid4()}
    await world.insert(names.DELIVERIES, world.delivery(enrollment, "task_open", "later", task=later))
    [shown] = (await world.json("GET", "/v1/tasks?assignee=me"))["items"]
    assert (shown["text"], shown["channel"], shown["assignee_id"]) == ("Call Ann", "call", me)
    assert len((await world.json("GET", "/v1/tasks?snoozed=true"))["items"]) == 2
    of = f"/v1/tasks/{shown['dispatch_id']}"
    soon = (now + timedelta(days=1)).isoformat()
    await world.json("POST", f"{of}/done", {"result": "reached", "responded": True}, status=202)
    await world.json("POST", f"{of}/skip", status=202)
    await world.json("POST", f"{of}/snooze", {"until": soon}, status=202)
    await world.json("POST", f"{of}/reassign", {"assignee_id": me}, status=202)
    await world.json("POST", f"{of}/reassign", {"assignee_id": str(uuid4())}, status=422)
    await world.json("POST", f"{of}/snooze", {"until": "2020-01-01T00:00:00Z"}, status=422)
    await world.json("POST", "/v1/tasks/nothing/done", status=404)
    other = (await world.other_workspace())["api_key"]
    await world.json("POST", f"{of}/done", key=other, status=404)
    await world.api.courier.deliver()
    assert world.kafka.types()[-7:-3] == ["task_done", "task_skip", "task_snooze", "task_reassign"]


async def test_a_delivery_in_doubt_is_listed_and_decided_once(world: World) -> None:
    enrollment = world.enrollment(await world.sequence(), state="in_doubt")
    await world.insert(names.DELIVERIES, world.delivery(enrollment, "in_doubt"))
    [shown] = (await world.json("GET", "/v1/deliveries"))["items"]
    path = f"/v1/deliveries/{shown['dispatch_id']}/decide"
    await world.json("POST", path, {"decision": "maybe"}, status=422)
    await world.json("POST", path, {"decision": "mark_sent"}, status=202)
    await world.database.collection(names.DELIVERIES).update_many({}, {"$set": {"state": "sent"}})
    await world.json("POST", path, {"decision": "resend"}, status=409)


# ---- suppressions, mailboxes --------------------------------------------------------------------------


async def test_a_suppression_keeps_no_address(world: World) -> None:
    body = {"address": "Nobody@There.example", "reason": "asked by phone"}
    first = await world.json("POST", "/v1/suppressions", body, status=201)
    again = await world.json("POST", "/v1/suppressions", {"address": "nobody@there.example"})
    assert (again["id"], again["reason"]) == (first["id"], "asked by phone")
    stored = await world.database.collection(names.SUPPRESSIONS).find({})
    assert "there" not in str(stored).lower()
    assert len((await world.json("GET", "/v1/suppressions"))["items"]) == 1
    other = (await world.other_workspace())["api_key"]
    await world.json("DELETE", f"/v1/suppressions/{first['id']}", key=other, status=404)
    await world.json("DELETE", f"/v1/suppressions/{first['id']}", status=204)
    await world.json("DELETE", f"/v1/suppressions/{first['id']}", status=404)
    spelled = [
        (await world.json("POST", "/v1/suppressions", {"phone": phone}, status=status))["id"]
        for phone, status in (("+49 (30) 12-34", 201), ("0049 30 1234", 200), ("+49301234 ext. 5", 200))
    ]
    assert len(set(spelled)) == 1
    for wrong in ({}, {"address": "x@y.example", "phone": "1"}, {"domain": "no domain"}, {"adress": "x"}):
        await world.json("POST", "/v1/suppressions", wrong, status=422)


async def test_a_password_is_kept_encrypted_and_goes_to_no_other_server(world: World) -> None:
    smtp = {"host": "smtp.ourco.example", "port": 587, "username": "ana", "password": "hunter2hunter2"}
    made = await world.mailbox(smtp=smtp)
    path = f"/v1/mailboxes/{made['id']}"
    assert made["smtp"]["has_password"]
    assert "hunter2" not in json.dumps(made)
    stored = await world.api.store.mailboxes.one(world.workspace, UUID(made["id"]))
    assert stored is not None
    assert "hunter2" not in str(stored)
    assert world.api.secrets.decrypt(stored["smtp"]["secret"]) == "hunter2hunter2"
    without = {key: smtp[key] for key in ("host", "port", "username")}
    kept = await world.json("PUT", path, {"signature": "Ana\nOur Co", "smtp": without})
    assert (kept["smtp"]["has_password"], kept["signature"]) == (True, "Ana\nOur Co")
    elsewhere = {**without, "host": "evil.example"}
    problem = await world.json("PUT", path, {"smtp": elsewhere}, status=422)
    assert pointers(problem) == ["/smtp/password"]
    bare = await world.json("PUT", path, {"smtp": {"host": "smtp.ourco.example", "port": 25}})
    assert not bare["smtp"]["has_password"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"address": "nobody"}, "/address"),
        ({"zone": "Mars/Olympus"}, "/zone"),
        ({"country": "Germany"}, "/country"),
        ({"windows": {"mon-fry": ["09:00-12:00"]}}, "/windows"),
        ({"time_off": ["2026-12-24/2026-12-01"]}, "/time_off/0"),
        ({"smtp": {"host": "a b", "port": 25}}, "/smtp/host"),
        ({"smtp": {"host": "x.example", "port": "25"}}, "/smtp/port"),
        ({"smtp": {"host": "x.example", "port": 25, "security": "none", "username": "a"}}, "/smtp/security"),
        ({"smtp": {"host": "x.example", "port": 25, "username": "a"}}, "/smtp/password"),
        ({"display_nam": "x"}, "/display_nam"),
    ],
)
async def test_a_mailbox_that_can_not_work_is_refused(world: World, change: Document, pointer: str) -> None:
    problem = await world.json("POST", "/v1/mailboxes", {**MAILBOX, **change}, status=422)
    assert pointers(problem) == [pointer]


async def test_an_address_is_connected_once(world: World) -> None:
    await world.mailbox()
    await world.json("POST", "/v1/mailboxes", {**MAILBOX, "address": "ana@OURCO.example"}, status=409)


# ---- inbound ------------------------------------------------------------------------------------------

RAW = b"From: priya@there.example\r\nTo: ana@ourco.example\r\nSubject: Re: Hello\r\n\r\nYes!\r\n"


def signed(secret: str, raw: bytes, at: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + raw, hashlib.sha256).hexdigest()
    return {"Segue-Timestamp": timestamp, "Segue-Signature": f"v1={digest}", "Content-Type": "message/rfc822"}


async def test_an_inbound_message_is_durable_before_its_202_and_pointed_at(world: World) -> None:
    mailbox = await world.mailbox()
    path = f"/v1/inbound/{mailbox['id']}"
    answers = []
    for _ in range(2):
        response = await world.client.post(path, data=RAW, headers=signed(mailbox["inbound_secret"], RAW))
        assert response.status == 202
        answers.append(await response.json())
    assert answers[0] == answers[1]
    [stored] = await world.database.collection(names.INBOUND).find({})
    assert (stored["raw"], stored["state"], stored["verdict"]) == (RAW, "received", None)
    assert stored["digest"] == hashlib.sha256(RAW).hexdigest()
    await world.api.courier.deliver()
    [pointer] = {m.event_id: m for m in world.kafka.messages()}.values()
    assert (pointer.inbound_id, str(pointer.mailbox_id)) == (stored["_id"], mailbox["id"])


async def test_a_large_inbound_message_is_a_file(world: World) -> None:
    mailbox = await world.mailbox()
    raw = RAW + b"x" * 200_000
    for _ in range(2):
        response = await world.client.post(
            f"/v1/inbound/{mailbox['id']}", data=raw, headers=signed(mailbox["inbound_secret"], raw)
        )
        assert response.status == 202
    [stored] = await world.database.collection(names.INBOUND).find({})
    assert "raw" not in stored
    assert await world.database.files().get(stored["raw_file"]) == raw


async def test_an_inbound_message_that_is_not_signed_right_is_refused(world: World) -> None:
    mailbox = await world.mailbox()
    secret, now = mailbox["inbound_secret"], time.time()
    good = signed(secret, RAW)
    wrong: list[tuple[dict[str, str], bytes]] = [
        ({"Content-Type": "message/rfc822"}, RAW),
        ({**good, "Segue-Signature": "v1=" + "0" * 64}, RAW),
        ({**good, "Segue-Signature": "v1=ünfug"}, RAW),
        ({**good, "Segue-Timestamp": "yesterday"}, RAW),
        (good, RAW + b"!"),
        (signed(secret, RAW, now - 301), RAW),
        (signed(secret, RAW, now + 310), RAW),
        (signed("another secret", RAW), RAW),
    ]
    for headers, raw in wrong:
        response = await world.client.post(f"/v1/inbound/{mailbox['id']}", data=raw, headers=headers)
        assert response.status == 401, headers
    for nobody in (uuid4(), "nonsense"):
        response = await world.client.post(f"/v1/inbound/{nobody}", data=RAW, headers=good)
        assert response.status == 401
    rotated = await world.json("POST", f"/v1/mailboxes/{mailbox['id']}/rotate-inbound-secret")
    response = await world.client.post(f"/v1/inbound/{mailbox['id']}", data=RAW, headers=signed(secret, RAW))
    assert response.status == 401
    fresh = signed(rotated["inbound_secret"], RAW)
    assert (await world.client.post(f"/v1/inbound/{mailbox['id']}", data=RAW, headers=fresh)).status == 202


async def test_an_inbound_message_over_the_cap_is_refused_by_its_length(world: World) -> None:
    mailbox = await world.mailbox()
    raw = b"x" * (25 * 1024 * 1024 + 1)
    headers = signed(mailbox["inbound_secret"], raw)
    response = await world.client.post(f"/v1/inbound/{mailbox['id']}", data=io.BytesIO(raw), headers=headers)
    assert response.status == 413


# ---- the document -------------------------------------------------------------------------------------


async def test_the_openapi_document_is_served(world: World) -> None:
    response = await world.client.get("/openapi.json")
    assert (await response.json())["openapi"] == "3.1.0"


# ---- indexes ------------------------------------------------------------------------------------------


def index_of(plan: Document) -> str | None:
    if "indexName" in plan:
        return str(plan["indexName"])
    return index_of(plan["inputStage"]) if "inputStage" in plan else None


@pytest.mark.parametrize("sort", SEQUENCE_ORDERS)
async def test_every_order_of_the_sequences_is_that_of_an_index(world: World, sort: str) -> None:
    workspace, own, order = world.workspace, uuid4(), SEQUENCE_ORDERS[sort]
    at = datetime(2026, 11, 23, tzinfo=UTC)
    for number in range(40):
        owner = own if number < 4 else uuid4()
        fields = {
            "owner_id": owner,
            "name": f"{number}",
            "archived": False,
            "created_at": at,
            "updated_at": at,
        }
        await world.insert(names.SEQUENCES, {"_id": uuid4(), "workspace_id": workspace, **fields})
    sequences = world.database.collection(names.SEQUENCES)
    prefix = {"created": "newest"}.get(sort, sort)
    for whose, index in (({}, prefix), ({"owner_id": own}, f"owner_{prefix}")):
        found = {"workspace_id": workspace, "archived": False, **whose}
        plan = await sequences.explain({"$and": [found]}, sort=order.sort)
        assert (index_of(plan), plan["stage"] == "SORT") == (index, False)


async def test_sweeps_and_pages_walk_an_index_in_its_order(world: World) -> None:
    now, workspace = datetime.now(UTC), world.workspace
    newest = [("created_at", -1), ("_id", -1)]
    plans: list[tuple[str, Document, list[tuple[str, int]], str]] = [
        (names.COMMANDS, {"state": "accepted", "next_at": {"$lte": now}}, [("next_at", 1)], "open"),
        (
            names.SEQUENCES,
            {"outbox.0": {"$exists": True}, "touched_at": {"$lte": now}},
            [("touched_at", 1)],
            "untold",
        ),
        (names.MAILBOXES, {"$and": [{"workspace_id": workspace}]}, newest, "newest"),
        (
            names.SUPPRESSIONS,
            {"$and": [{"workspace_id": workspace}]},
            [("at", -1), ("_id", -1)],
            "newest",
        ),
    ]
    for collection, found, sort, index in plans:
        plan = await world.database.collection(collection).explain(found, sort=sort)
        assert (index_of(plan), plan["stage"] == "SORT") == (index, False), collection
