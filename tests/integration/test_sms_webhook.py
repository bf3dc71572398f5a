"""A number behind a webhook of one's own: what it sends back, whether it is asked again, its limits."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from api.application import application
from api.testing import Served, serving
from chassis import documents as names
from chassis.kafka import Record
from chassis.standard_webhooks import signed
from reply_detector.settings import DetectorSettings
from reply_detector.wiring import assemble as detector_over
from scheduler.store import SchedulerStore
from scheduler.testing import OWNER, WORKSPACE, Bench, open_bench
from segue_contracts.events import Outcome
from sender.model import Claim, Due, Earlier
from sender.settings import SenderSettings
from sender.store import Store
from stack.sending import SETTINGS, Texting, World, a_sender, a_world
from stack.smtp import SmtpServer
from stack.texts import Breaks, TextServer, zone_at

pytestmark = pytest.mark.stack

SECRET = "whsec_c2VndWUtdGVzdC1zZWNyZXQ="
HERE = "https://bridge.example/texts"
TEXTS = {
    "name": "Engineers",
    "stages": [
        {"id": "hello", "channel": "sms", "text": "A job?"},
        {"id": "again", "channel": "sms", "after": "2 days", "text": "Still?"},
    ],
}


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


async def number_of(served: Served, **more: Any) -> dict[str, Any]:
    body = {"number": "+4930999", "provider": "webhook", "auth_token": SECRET, "url": HERE, **more}
    made: dict[str, Any] = await served.call("POST", "/v1/sms-numbers", body, status=201)
    return made


async def said(
    served: Served,
    path: str,
    body: dict[str, Any],
    *,
    secret: str = SECRET,
    at: datetime | None = None,
) -> int:
    """What a webhook's post is answered."""
    raw = json.dumps(body).encode()
    headers = signed(secret, str(uuid4()), at or served.clock.real_now(), raw)
    async with served.client.post(
        path, data=raw, headers={**headers, "Content-Type": "application/json"}
    ) as answer:
        return answer.status


async def inbound(served: Served) -> list[dict[str, Any]]:
    return await served.database.collection(names.INBOUND).find({})


async def test_a_message_from_a_webhook_is_proven_as_standard_webhooks_say_and_kept_once(
    served: Served,
) -> None:
    path = f"/v1/sms-numbers/{(await number_of(served))['id']}/messages"
    message = {"id": "in-0123456789", "from": "+4930123456", "to": "+4930999", "text": "Ja, gern"}
    old = served.clock.real_now() - timedelta(minutes=6)
    assert await said(served, path, message, secret="another secret") == 401
    assert await said(served, path, message, at=old) == 401
    assert await said(served, path, {**message, "subject": "?"}) == 422
    assert await inbound(served) == []
    for _ in range(2):
        assert await said(served, path, message) == 200
    [kept] = await inbound(served)
    assert (kept["from_phone"], kept["text"], kept["provider_id"]) == (
        message["from"],
        message["text"],
        message["id"],
    )


async def test_a_number_at_twilio_takes_nothing_that_a_webhook_signed(served: Served) -> None:
    number = await number_of(served, provider="twilio", url=None)
    path = f"/v1/sms-numbers/{number['id']}/messages"
    assert await said(served, path, {"id": "in-0123456789", "from": "+4930123456", "text": "Hi"}) == 401


async def test_a_receipt_from_a_webhook_becomes_a_command_to_the_sender(served: Served) -> None:
    number, dispatch = await number_of(served), f"{uuid4()}:hello"
    path = f"/v1/sms-numbers/{number['id']}/receipts?dispatch={dispatch}"
    receipt = {"id": "out-0123456789", "status": "failed", "code": "opted_out"}
    assert await said(served, path, receipt) == 200
    [command] = await served.database.collection(names.COMMANDS).find({"type": "note_receipt"})
    note = json.loads(command["message"])
    assert (note["dispatch_id"], note["status"], note["error_code"]) == (dispatch, "failed", "opted_out")


async def test_more_than_there_is_room_for_is_told_to_come_again(served: Served) -> None:
    path = f"/v1/sms-numbers/{(await number_of(served))['id']}/messages"
    small = served.api.settings.model_copy(update={"intake_bytes": 200})
    async with TestClient(TestServer(application(replace(served.api, settings=small)))) as client:
        tight = replace(served, client=client)
        message = {"id": "in-0123456789", "from": "+4930123456", "to": "+4930999", "text": "x" * 300}
        assert await said(tight, path, message) == 503
        assert await said(tight, path, {**message, "text": "x"}) == 200


class _Nowhere:
    async def publish(self, records: Sequence[Record]) -> None:
        return


async def test_a_stop_from_a_phone_that_nobody_has_keeps_it_from_being_texted(
    served: Served, mongodb_uri: str
) -> None:
    path = f"/v1/sms-numbers/{(await number_of(served))['id']}/messages"
    for name, text in (("first", "Who is this?"), ("second", "STOP")):
        message = {"id": f"in-{name}-012345", "from": "+4930123456", "to": "+4930999", "text": text}
        assert await said(served, path, message) == 200
    settings = DetectorSettings(
        kafka_bootstrap_servers="unused:9092",
        mongodb_uri=SecretStr(mongodb_uri),
        secret_keys=served.api.settings.secret_keys,
    )
    detector = detector_over(settings, served.clock, served.database, _Nowhere()).detector
    for each in await inbound(served):
        for _ in range(2):
            await detector.settle(served.workspace, each["_id"])
    assert {each["state"] for each in await inbound(served)} == {"settled"}
    phone = served.api.secrets.suppression_id(served.workspace, "phone", "+49 30 123456")
    kept = await served.database.collection(names.SUPPRESSIONS).find({})
    assert [(each["_id"], each["kind"], each["reason"]) for each in kept] == [
        (phone, "phone", "unsubscribed")
    ]


async def test_what_a_webhook_declares_and_a_numbers_limits_are_kept_and_shown(served: Served) -> None:
    made = await number_of(served, idempotent=True, limits={"per_day": 500, "per_hour": 60})
    assert (made["idempotent"], made["limits"]) == (True, {"per_day": 500, "per_hour": 60})
    one = f"/v1/sms-numbers/{made['id']}"
    changed = await served.call("PUT", one, {"auth_token": SECRET, "provider": "webhook"})
    assert (changed["idempotent"], changed["limits"]) == (made["idempotent"], made["limits"])
    done = {("sms_number.connected", made["id"]), ("sms_number.changed", made["id"])}
    assert set(await served.audited()) == done


# ---- sending ------------------------------------------------------------------------------------------


@pytest.fixture
async def world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    async with a_world(mongodb_uri, smtp_server) as world:
        yield world


@pytest.fixture
def settings(mongodb_uri: str) -> SenderSettings:
    return SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)


@pytest.mark.parametrize(
    ("idempotent", "kind"), [(True, Outcome.DEFERRED), (False, Outcome.IN_DOUBT)], ids=["declared", "not"]
)
async def test_only_a_webhook_that_declares_it_is_asked_again_after_no_answer(
    world: World, settings: SenderSettings, idempotent: bool, kind: Outcome
) -> None:
    person = uuid4()
    zone = zone_at(range(11, 18), datetime.now(UTC))
    await world.add_person(person, first_name="Anna", phone="+49 151 12345678", zone=zone)
    async with TextServer() as server, a_sender(world, settings) as sender:
        texting = Texting(world, server, person)
        await texting.number(provider="webhook", idempotent=idempotent)
        server.answers.append(Breaks(accepted=True))
        await sender.due(await texting.dispatch(), "text")
        assert sender.published.last().event_type is kind
        assert server.requests == 1


async def test_nothing_is_sent_to_an_address_that_only_we_can_reach(
    world: World, settings: SenderSettings
) -> None:
    person = uuid4()
    zone = zone_at(range(11, 18), datetime.now(UTC))
    await world.add_person(person, first_name="Anna", phone="+49 151 12345678", zone=zone)
    async with TextServer() as server, a_sender(world, settings, allowed_private_networks=()) as sender:
        texting = Texting(world, server, person)
        await texting.number(provider="webhook")
        await sender.due(await texting.dispatch(), "text")
        said = sender.published.last()
        assert (said.event_type, said.reason, server.requests) == (Outcome.DEFERRED, "url_forbidden", 0)


async def test_an_address_that_only_we_can_reach_is_refused_when_it_is_set(served: Served) -> None:
    body = {"number": "+4930999", "provider": "webhook", "auth_token": SECRET}
    for url in ("https://10.0.0.7/texts", "http://93.184.215.14/texts", "https://169.254.169.254/"):
        refused = await served.call("POST", "/v1/sms-numbers", {**body, "url": url}, status=422)
        assert [each["pointer"] for each in refused["errors"]] == ["/url"]


# ---- limits -------------------------------------------------------------------------------------------


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, TEXTS) as bench:
        yield bench


async def add_number(bench: Bench, number: int, **limits: int) -> UUID:
    number_id = UUID(int=1000 + number)
    owned = {"workspace_id": WORKSPACE, "owner_id": OWNER, "auth_token": "x", "provider": "webhook"}
    await bench.database.collection(names.SMS_NUMBERS).insert_one(
        {"_id": number_id, **owned, "number": f"+493099{number}", "url": HERE, "limits": limits}
    )
    return number_id


async def enrolled(bench: Bench, count: int) -> list[UUID]:
    commands = [
        bench.enroll(f"p{n}", phone=f"+49 151 1234567{n}", zone="Europe/Berlin") for n in range(count)
    ]
    await bench.command(*commands)
    return [each.enrollment_id for each in commands]


async def test_a_numbers_limit_moves_what_is_too_much_to_the_first_free_time(bench: Bench) -> None:
    number = await add_number(bench, 1, per_day=2)
    people = await enrolled(bench, 5)
    await bench.parts.due.tick()
    assert len(bench.due()) == 2
    found = [await bench.read(each) for each in people]
    waiting = [e for e in found if e["planned_at"] > bench.clock.now()]
    assert len(waiting) == 3
    assert all("cap" in [reason["rule"] for reason in e["reasons"]] for e in waiting)
    slots = await bench.database.collection(names.SLOTS).find({})
    assert {key for slot in slots for key in slot["keys"]} == {f"number:{number}"}


async def test_the_scheduler_sees_from_which_number_the_sender_has_texted(
    world: World, settings: SenderSettings
) -> None:
    person = uuid4()
    zone = zone_at(range(11, 18), datetime.now(UTC))
    await world.add_person(person, first_name="Anna", phone="+49 151 12345678", zone=zone)
    async with TextServer() as server, a_sender(world, settings) as sender:
        texting = Texting(world, server, person)
        number = await texting.number()
        await sender.due(enrollment := await texting.dispatch(), "text")
    used = await SchedulerStore(world.database).numbers_used([world.workspace], [enrollment, uuid4()])
    assert used == {enrollment: number}


async def test_each_number_of_a_pool_has_its_own_limit_and_each_person_one_number(bench: Bench) -> None:
    numbers = [await add_number(bench, n, per_day=1) for n in range(3)]
    await enrolled(bench, 9)
    await bench.parts.due.tick()
    slots = await bench.database.collection(names.SLOTS).find({"at": bench.clock.now()})
    used = {key for slot in slots for key in slot["keys"]}
    assert len(slots) == len(used) == len(bench.due())
    assert used <= {f"number:{number}" for number in numbers}


async def test_a_slot_of_another_number_is_not_spent(world: World) -> None:
    now, enrollment = datetime.now(UTC), uuid4()
    claim = Claim(Due(f"{enrollment}:text", world.workspace, enrollment, "text", 1), "token", Earlier())
    await world.collection(names.SLOTS).insert_one(
        {
            "_id": names.slot_id(claim.due.dispatch_id, 1),
            "workspace_id": world.workspace,
            "enrollment_id": enrollment,
            "keys": ["number:a"],
            "at": now,
            "until": now + timedelta(minutes=5),
            "spent_at": None,
        }
    )
    store = Store(world.database, lease_seconds=1, doubt_seconds=1)
    assert await store.spend([(claim, "number:b")], now, "first") == [False]
    assert await store.spend([(claim, "number:a")], now, "second") == [True]
