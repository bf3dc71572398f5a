"""The webhooks of e-mail and SMS providers over HTTP on a real MongoDB."""

import asyncio
import hashlib
import hmac
import io
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import orjson
import pytest
from aiohttp import ClientResponse, FormData, encode_basic_auth
from aiohttp.test_utils import TestClient, TestServer

from api import inbound, inbound_sms
from api.application import application
from api.bootstrap import Wanted, bootstrap
from api.migrations import SCHEMA
from api.model import message_of
from api.routing import Api
from api.settings import ApiSettings
from api.wiring import assemble
from chassis import documents as names
from chassis.clock import Clock
from chassis.errors import Retry
from chassis.inbound import MAX_INLINE_BYTES, Inbound, inbound_document
from chassis.kafka import Record
from chassis.migrations import build
from chassis.secrets import plain_phone
from chassis.store import Database, Document
from chassis.testing import fresh_database
from reply_detector.settings import DetectorSettings
from reply_detector.wiring import assemble as detector_over
from segue_contracts import codec
from segue_contracts.commands import NoteReceipt
from segue_contracts.events import EnrollmentStop

pytestmark = pytest.mark.stack

PUBLIC_URL = "https://segue.example"
FORM = "application/x-www-form-urlencoded"
RAW = b"From: priya@there.example\r\nTo: ana@ourco.example\r\nSubject: Re: Hello\r\n\r\nYes \xff!\r\n"
POSTMARK = {"From": "priya@there.example", "To": "ana@ourco.example", "Subject": "Re", "TextBody": "Yes!"}
MAILBOX = {
    "address": "ana@ourco.example",
    "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"},
}
SIGNING_KEY = "key-of-the-account"
AUTH_TOKEN = "token-of-the-account"
SMS = {
    "MessageSid": "SM0123456789abcdef0123456789abcdef",
    "AccountSid": "AC0123456789abcdef0123456789abcdef",
    "From": "+4930123456",
    "To": "+4930999",
    "Body": "Ja, gern & bald + mehr",
    "NumMedia": "0",
}


@dataclass
class Published:
    """A Kafka that is a list."""

    records: list[Record] = field(default_factory=list)

    async def publish(self, records: Sequence[Record]) -> None:
        self.records.extend(records)


class Fails(Inbound):
    """A database that goes away after so many messages."""

    def __init__(self, database: Database, after: int) -> None:
        super().__init__(database)
        self._left = after

    async def add(self, inbound: Document, raw: bytes) -> bool:
        if self._left == 0:
            raise Retry("no primary")
        self._left -= 1
        return await super().add(inbound, raw)


@dataclass
class World:
    """A running API with a mailbox, and a key with every scope."""

    api: Api
    database: Database
    client: TestClient[Any, Any]
    made: dict[str, str]
    published: Published
    box: dict[str, Any] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, *, status: int = 200, key: str = ""
    ) -> Any:
        headers = {"Authorization": f"Bearer {key or self.made['api_key']}"}
        response = await self.client.request(method, path, json=body, headers=headers)
        text = await response.text()
        assert response.status == status, text
        return orjson.loads(text) if text else None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> ClientResponse:
        return await self.client.post(path, data=body, headers=headers)

    async def stored(self) -> list[Document]:
        return await self.database.collection(names.INBOUND).find({}, sort=[("_id", 1)])

    async def pointed_at(self) -> set[UUID]:
        await self.api.courier.deliver()
        records = self.published.records
        return {codec.decode(each.topic, each.headers, each.value).inbound_id for each in records}

    # As the providers post.

    async def postmark(self, data: Any, *, secret: str = "", box: Any = None) -> ClientResponse:
        headers = {
            "Authorization": encode_basic_auth("segue", secret or self.box["inbound_secret"]),
            "Content-Type": "application/json; charset=utf-8",
        }
        return await self.post(f"/v1/inbound/{box or self.box['id']}/postmark", orjson.dumps(data), headers)

    async def sparkpost(self, data: Any, *, secret: str = "", box: Any = None) -> ClientResponse:
        headers = {
            "X-MessageSystems-Webhook-Token": secret or self.box["inbound_secret"],
            "Content-Type": "application/json",
        }
        return await self.post(f"/v1/inbound/{box or self.box['id']}/sparkpost", orjson.dumps(data), headers)

    async def mailgun(
        self, raw: bytes = RAW, *, token: str = "t", at: float = 0, key: str = SIGNING_KEY, box: Any = None
    ) -> ClientResponse:
        timestamp = str(int(time.time() + at))
        signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
        proof = {"timestamp": timestamp, "token": token, "signature": signature}
        body = urlencode([*proof.items(), ("body-mime", raw)]).encode()
        path = f"/v1/inbound/{box or self.box['id']}/mailgun/mime"
        return await self.post(path, body, {"Content-Type": FORM})

    async def twilio(
        self, path: str, form: Mapping[str, str], *, token: str = AUTH_TOKEN, url: str = PUBLIC_URL
    ) -> ClientResponse:
        signature = inbound_sms.sign(token, url + path, form.items())
        headers = {"Content-Type": FORM, "X-Twilio-Signature": signature}
        return await self.post(path, urlencode(form).encode(), headers)

    async def number(self, number: str = "+49 (0)30 999") -> Any:
        return await self.call(
            "POST", "/v1/sms-numbers", {"number": number, "auth_token": AUTH_TOKEN}, status=201
        )

    async def set_mailgun_key(self) -> None:
        path = f"/v1/mailboxes/{self.box['id']}/mailgun-key"
        await self.call("PUT", path, {"signing_key": SIGNING_KEY}, status=204)


@pytest.fixture
async def world(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("SEGUE_KAFKA_BOOTSTRAP_SERVERS", "unused:9092")
    monkeypatch.setenv("SEGUE_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("SEGUE_MONGODB_DATABASE", f"inbound_{uuid4().hex}")
    monkeypatch.setenv("SEGUE_SECRET_KEYS", "a secret key for tests only")
    monkeypatch.setenv("SEGUE_PUBLIC_URL", PUBLIC_URL)
    settings, published, clock = ApiSettings(), Published(), Clock()
    async with fresh_database(settings) as database:
        await build(database, SCHEMA)
        api = assemble(settings, clock, database, published)
        made = await bootstrap(Wanted("Our Co", "ana@ourco.example", "Ana", False), api.store.people, clock)
        async with TestClient(TestServer(application(api))) as client:
            world = World(api, database, client, made, published)
            world.box = await world.call("POST", "/v1/mailboxes", MAILBOX, status=201)
            yield world
        await api.scheduler.close()


def relayed(raw: bytes) -> dict[str, Any]:
    content = {"email_rfc822": b64encode(raw).decode(), "email_rfc822_is_base64": True}
    return {"msys": {"relay_message": {"content": content}}}


# ---- e-mail -------------------------------------------------------------------------------------------


async def test_what_postmark_received_is_durable_before_the_200_and_pointed_at(world: World) -> None:
    answers = [await world.postmark(POSTMARK) for _ in range(2)]
    assert [each.status for each in answers] == [200, 200]
    first, again = [await each.json() for each in answers]
    assert first == again
    [stored] = await world.stored()
    assert first == {"messages": [{"inbound_id": str(stored["_id"])}]}
    assert (stored["source"], stored["state"], stored["verdict"]) == ("postmark", "received", None)
    assert b"From: priya@there.example\r\n" in stored["raw"]
    assert await world.pointed_at() == {stored["_id"]}


async def test_a_large_message_that_comes_several_times_at_once_is_one_document_with_one_file(
    world: World,
) -> None:
    raw = RAW + b"x" * MAX_INLINE_BYTES
    document = inbound_document(uuid4(), uuid4(), raw, world.api.clock.now(), source="webhook")
    added = await asyncio.gather(*(world.api.store.inbound.add(dict(document), raw) for _ in range(5)))
    assert sorted(added) == [False] * 4 + [True]
    [stored] = await world.stored()
    assert await world.database.files().get(stored["raw_file"]) == raw
    assert await world.database.collection("files.files").count({}, limit=9) == 1


async def test_a_batch_is_stored_whole_with_what_is_no_message_kept_aside(world: World) -> None:
    big = RAW + b"x" * 100_000
    response = await world.sparkpost([relayed(RAW), {"msys": {"message_event": {}}}, relayed(big)])
    assert response.status == 200
    first, poison, second = (await response.json())["messages"]
    stored = {str(each["_id"]): each for each in await world.stored()}
    assert stored[first["inbound_id"]]["raw"] == RAW
    assert await world.database.files().get(stored[second["inbound_id"]]["raw_file"]) == big
    kept = stored[poison["inbound_id"]]
    assert (kept["state"], kept["raw"]) == ("settled", b'{"msys":{"message_event":{}}}')
    assert kept["unreadable"] == poison["unreadable"]
    [listed] = (await world.call("GET", "/v1/inbound/unreadable"))["items"]
    told = (listed["id"], listed["mailbox_id"], listed["source"], listed["size"], listed["reason"])
    assert told == (str(kept["_id"]), world.box["id"], "sparkpost", kept["size"], kept["unreadable"])
    assert await world.pointed_at() == {UUID(first["inbound_id"]), UUID(second["inbound_id"])}


async def test_a_batch_that_could_not_be_stored_whole_is_asked_for_again(world: World) -> None:
    batch = [relayed(RAW), relayed(RAW + b"2"), relayed(RAW + b"3")]
    whole = world.api.store.inbound
    world.api.store.inbound = Fails(world.database, after=1)
    response = await world.sparkpost(batch)
    assert (response.status, response.headers["Retry-After"]) == (503, "2")
    assert await world.pointed_at() == set()
    world.api.store.inbound = whole
    response = await world.sparkpost(batch)
    assert response.status == 200
    stored = {each["_id"] for each in await world.stored()}
    assert len(stored) == 3
    assert await world.pointed_at() == stored


async def test_a_mailgun_message_needs_the_accounts_signature_and_a_token_of_its_own(world: World) -> None:
    assert (await world.mailgun()).status == 401
    await world.set_mailgun_key()
    [mailbox] = await world.database.collection(names.MAILBOXES).find({})
    assert SIGNING_KEY not in str(mailbox)
    assert [(await world.mailgun()).status for _ in range(2)] == [200, 200]
    [stored] = await world.stored()
    assert (stored["raw"], stored["source"]) == (RAW, "mailgun")
    assert (await world.mailgun(RAW + b"another")).status == 401
    assert (await world.mailgun(RAW + b"another", token="u")).status == 200
    assert (await world.mailgun(token="v", key="another key")).status == 401
    assert (await world.mailgun(token="w", at=-9 * 3600)).status == 200
    assert (await world.mailgun(token="x", at=-13 * 3600)).status == 401
    assert (await world.mailgun(token="y", at=+400)).status == 401
    path = f"/v1/mailboxes/{world.box['id']}/mailgun-key"
    await world.call("PUT", path, {"signing_key": None}, status=204)
    assert (await world.mailgun(token="z")).status == 401
    other = await bootstrap(
        Wanted("Other", "eve@other.example", "Eve", False), world.api.store.people, Clock()
    )
    await world.call("PUT", path, {"signing_key": SIGNING_KEY}, status=404, key=other["api_key"])


async def test_what_sendgrid_received_is_stored_as_it_came(world: World) -> None:
    path = f"/v1/inbound/{world.box['id']}/sendgrid"
    secret = {"Authorization": encode_basic_auth("x", world.box["inbound_secret"])}
    for proof, status in (
        ({}, 401),
        ({"Authorization": encode_basic_auth("x", "wrong")}, 401),
        (secret, 200),
    ):
        form = FormData({"to": "ana@ourco.example"}, default_to_multipart=True)
        form.add_field("email", io.BytesIO(RAW))
        assert (await world.client.post(path, data=form, headers=proof)).status == status
    [stored] = await world.stored()
    assert (stored["raw"], stored["source"]) == (RAW, "sendgrid")


async def test_a_mailgun_message_that_could_not_be_stored_is_taken_when_it_comes_again(world: World) -> None:
    await world.set_mailgun_key()
    whole = world.api.store.inbound
    world.api.store.inbound = Fails(world.database, after=0)
    assert (await world.mailgun()).status == 503
    world.api.store.inbound = whole
    assert (await world.mailgun()).status == 200
    assert [each["raw"] for each in await world.stored()] == [RAW]


async def test_an_unknown_mailbox_or_number_looks_like_a_wrong_secret(world: World) -> None:
    number = await world.number()
    await world.set_mailgun_key()
    stamp, mime = str(int(time.time())), "message/rfc822"
    signed = {"Segue-Timestamp": stamp, "Segue-Signature": "v1=" + "0" * 64, "Content-Type": mime}
    for unknown in (uuid4(), "nonsense"):
        pairs = [
            [await world.postmark(POSTMARK, secret="wrong", box=each) for each in (None, unknown)],
            [await world.sparkpost([relayed(RAW)], secret="wrong", box=each) for each in (None, unknown)],
            [await world.mailgun(key="wrong", box=each) for each in (None, unknown)],
            [await world.post(f"/v1/inbound/{each}", RAW, signed) for each in (world.box["id"], unknown)],
            [
                await world.twilio(f"/v1/sms-numbers/{each}/messages", SMS, token="wrong")
                for each in (number["id"], unknown)
            ],
        ]
        for wrong, nobody in pairs:
            assert (wrong.status, nobody.status) == (401, 401)
            assert wrong.content_type == "application/problem+json"
            assert await wrong.read() == await nobody.read()
            assert wrong.headers["WWW-Authenticate"] == nobody.headers["WWW-Authenticate"]
    assert await world.stored() == []


async def test_what_is_too_large_or_of_another_kind_is_refused_by_name(world: World) -> None:
    number = await world.number()
    path = f"/v1/inbound/{world.box['id']}"
    secret = {
        "Authorization": encode_basic_auth("x", world.box["inbound_secret"]),
        "X-MessageSystems-Webhook-Token": world.box["inbound_secret"],
    }
    for provider in ("postmark", "sparkpost", "mailgun"):
        headers = {**secret, "Content-Type": FORM if provider == "mailgun" else "application/json"}
        body = io.BytesIO(b"x" * (inbound.MAX_POST_BYTES + 1))
        response = await world.client.post(f"{path}/{provider}", data=body, headers=headers)
        assert (response.status, (await response.json())["type"]) == (413, "urn:segue:problem:too-large")
    response = await world.twilio(f"/v1/sms-numbers/{number['id']}/messages", {**SMS, "Body": "x" * 65_600})
    assert response.status == 413
    other = [
        await world.post(f"{path}/postmark", b"a=1", {**secret, "Content-Type": FORM}),
        await world.post(f"{path}/mailgun", b"{}", {"Content-Type": "application/json"}),
        await world.post(f"/v1/sms-numbers/{number['id']}/messages", b"{}", {"Content-Type": "text/plain"}),
    ]
    for response in other:
        problem = await response.json()
        assert (response.status, problem["type"]) == (415, "urn:segue:problem:unsupported-media-type")


async def test_no_post_that_is_proven_ends_in_a_fault(world: World) -> None:
    await world.set_mailgun_key()
    number = await world.number()
    hostile: list[Any] = [None, 0, "x", [], {}, [None], [[]], [{}], {"From": None}, {"From": "\x00"}]
    for data in hostile:
        for response in (await world.postmark(data), await world.sparkpost(data)):
            assert response.status in (200, 400)
    headers = {
        "Authorization": encode_basic_auth("x", world.box["inbound_secret"]),
        "X-MessageSystems-Webhook-Token": world.box["inbound_secret"],
        "Content-Type": "application/json",
    }
    for body in (b"", b"\xff", b'"\\ud800"', b"[" * 500 + b"]" * 500, b"[" * 100_000, b"nul", b"1e999"):
        for provider in ("postmark", "sparkpost"):
            response = await world.post(f"/v1/inbound/{world.box['id']}/{provider}", body, headers)
            assert response.status in (200, 400)
    assert (await world.mailgun(b"", token="empty")).status == 200
    for path in ("messages", "receipts"):
        for form in ({}, {"MessageSid": ""}, {"MessageSid": "x" * 10, "MessageStatus": "\x00"}, {"": "\x00"}):
            response = await world.twilio(f"/v1/sms-numbers/{number['id']}/{path}", form)
            assert response.status == 422


# ---- SMS ----------------------------------------------------------------------------------------------


async def test_a_number_is_connected_once_and_its_token_is_never_shown(world: World) -> None:
    made = await world.number()
    assert made["number"] == "+4930999"
    assert made["messages_url"] == f"{PUBLIC_URL}/v1/sms-numbers/{made['id']}/messages"
    body = {"number": "+4930 999", "auth_token": AUTH_TOKEN}
    await world.call("POST", "/v1/sms-numbers", body, status=409)
    await world.call("POST", "/v1/sms-numbers", {**body, "number": "12+3"}, status=422)
    [stored] = await world.database.collection(names.SMS_NUMBERS).find({})
    assert AUTH_TOKEN not in str(stored)
    [listed] = (await world.call("GET", "/v1/sms-numbers"))["items"]
    assert listed.keys() == made.keys()
    assert await world.call("GET", f"/v1/sms-numbers/{made['id']}") == listed
    other = await bootstrap(
        Wanted("Other", "eve@other.example", "Eve", False), world.api.store.people, Clock()
    )
    one = f"/v1/sms-numbers/{made['id']}"
    for method, path in (("GET", one), ("PUT", one), ("GET", f"{one}/receipts")):
        token = {"auth_token": AUTH_TOKEN} if method == "PUT" else None
        await world.call(method, path, token, status=404, key=other["api_key"])


async def test_a_text_message_is_stored_once_whatever_comes_with_it_again(world: World) -> None:
    number = await world.number()
    path = f"/v1/sms-numbers/{number['id']}/messages"
    for form in (SMS, SMS, {**SMS, "FromCity": "Köln"}):
        response = await world.twilio(path, form)
        assert (response.status, response.content_type) == (200, "text/xml")
        assert (await response.read()).endswith(b"<Response/>")
    [stored] = await world.stored()
    told = ("source", "provider_id", "from_phone", "to_phone", "text", "keyword", "media", "state")
    assert [stored[name] for name in told] == [
        "sms", SMS["MessageSid"], SMS["From"], SMS["To"], SMS["Body"], "", 0, "received",
    ]  # fmt: skip
    assert stored["mailbox_id"] == UUID(number["id"])
    assert stored["raw"] == urlencode(SMS).encode()
    assert await world.pointed_at() == {stored["_id"]}


async def test_a_text_message_is_proven_by_the_public_url_the_form_and_the_token(world: World) -> None:
    number = await world.number()
    path = f"/v1/sms-numbers/{number['id']}/messages"
    assert (await world.twilio(path, SMS, url="http://127.0.0.1:8080")).status == 401
    assert (await world.twilio(path, SMS, token="another token")).status == 401
    assert (await world.twilio(path + "?a=%20b", SMS, url="https://segue.example:443")).status == 200
    await world.call("PUT", f"/v1/sms-numbers/{number['id']}", {"auth_token": "a newer token"})
    assert (await world.twilio(path, SMS)).status == 401
    assert (await world.twilio(path, SMS, token="a newer token")).status == 200


async def test_the_end_of_a_message_of_ours_becomes_a_command_to_the_sender_once(world: World) -> None:
    number, dispatch = await world.number(), f"{uuid4()}:text"
    path = f"/v1/sms-numbers/{number['id']}/receipts?dispatch="
    sid = {"MessageSid": SMS["MessageSid"]}
    failed = {**sid, "MessageStatus": "undelivered", "ErrorCode": "30006"}
    posts = [
        *((path + dispatch, form) for form in (failed, failed, {**sid, "MessageStatus": "sent"})),
        (path.partition("?")[0], failed),
        (path + "no-dispatch", failed),
    ]
    for target, form in posts:
        assert (await world.twilio(target, form)).status == 200
    [command] = await world.database.collection(names.COMMANDS).find({"type": "note_receipt"})
    assert command["workspace_id"] == UUID(world.made["workspace_id"])
    note = message_of(command)
    assert isinstance(note, NoteReceipt)
    told = (note.dispatch_id, note.provider_id, note.status, note.error_code)
    assert told == (dispatch, SMS["MessageSid"], "undelivered", "30006")


async def test_a_stop_by_text_message_reaches_the_person_who_has_the_phone(world: World) -> None:
    number, person, workspace = await world.number(), uuid4(), UUID(world.made["workspace_id"])
    owned = {"workspace_id": workspace, "owner_id": UUID(world.made["user_id"])}
    await world.database.collection(names.PEOPLE).insert_one(
        {"_id": person, **owned, "addresses": [], "phones": [plain_phone("0049 (0)30 12 34 56")]}
    )
    await world.database.collection(names.ENROLLMENTS).insert_one(
        {
            **owned,
            "_id": uuid4(),
            "person_id": person,
            "state": "scheduled",
            "stage_id": "hello",
            "sequence_id": uuid4(),
            "sequence_version": 1,
            "mailbox_id": UUID(world.box["id"]),
            "ended": False,
            "issued_at": world.api.clock.now(),
        }
    )
    await world.twilio(f"/v1/sms-numbers/{number['id']}/messages", {**SMS, "Body": "Stop, please"})
    [stored] = await world.stored()
    published = Published()
    settings = DetectorSettings()
    detector = detector_over(settings, world.api.clock, world.database, published).detector
    await detector.settle(workspace, stored["_id"])
    messages = [codec.decode(each.topic, each.headers, each.value) for each in published.records]
    stops = [each for each in messages if isinstance(each, EnrollmentStop)]
    assert {each.event_type for each in stops} == {"unsubscribed"}
    assert person in {each.person_id for each in stops}
    suppressed = world.api.secrets.suppression_id(workspace, "phone", SMS["From"])
    suppressions = await world.database.collection(names.SUPPRESSIONS).find({})
    assert [(each["_id"], each["kind"]) for each in suppressions] == [(suppressed, "phone")]


async def test_receipts_are_kept_once_each_in_any_order_and_shown(world: World) -> None:
    number = await world.number()
    path = f"/v1/sms-numbers/{number['id']}/receipts"
    sid = SMS["MessageSid"]
    failed = {"MessageSid": sid, "MessageStatus": "undelivered", "ErrorCode": "30003"}
    for form in (failed, {"MessageSid": sid, "MessageStatus": "sent"}, failed):
        assert (await world.twilio(path, form)).status == 200
    assert (
        await world.twilio(path, {"MessageSid": "SM" + "f" * 32, "MessageStatus": "delivered"})
    ).status == 200
    shown = (await world.call("GET", f"{path}?provider_id={sid}"))["items"]
    assert {(each["status"], each["error_code"]) for each in shown} == {
        ("undelivered", "30003"),
        ("sent", None),
    }
    page = await world.call("GET", f"{path}?limit=2")
    rest = await world.call("GET", f"{path}?limit=2&cursor={page['next_cursor']}")
    assert (len(page["items"]), len(rest["items"])) == (2, 1)
    assert (await world.twilio(path, SMS)).status == 422
    messages = f"/v1/sms-numbers/{number['id']}/messages"
    assert (await world.twilio(messages, failed)).status == 422
    assert await world.stored() == []
