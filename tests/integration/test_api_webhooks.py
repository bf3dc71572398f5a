"""Outgoing webhooks: who hears of what, how it is signed, tried again, and given up."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import standardwebhooks
from aiohttp import web
from aiohttp.test_utils import TestServer

from api.outgoing import DELAYS, EVENT_TYPES, TOPICS, WITHHELD
from api.outgoing_listening import Listener, Listening
from api.outgoing_sending import AT_ONCE, Outgoing
from api.testing import Served, serving
from chassis.errors import Fatal
from chassis.kafka import Received, Record
from chassis.standard_webhooks import fits
from chassis.testing import FrozenClock
from segue_contracts.codec import decode
from segue_contracts.events import (
    AnswerEffect,
    AnswerKind,
    AnswerNotification,
    EnrollmentEvent,
    EnrollmentEventType,
    WebhookNotification,
)
from segue_contracts.message import Message
from segue_contracts.schemas import message_types

pytestmark = pytest.mark.stack

SEQUENCE = {
    "name": "Backend engineers",
    "mailbox": "ana@ourco.example",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hello", "text": "Hi"}],
}


@dataclass
class Receiver:
    """Somebody's server: keeps what came, answers what it was told to, and may be slow."""

    url: str = ""
    status: int = 200
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    held: asyncio.Event | None = None

    async def take(self, request: web.Request) -> web.Response:
        self.came.append((dict(request.headers), await request.read()))
        if self.held is not None:
            await self.held.wait()
        return web.Response(status=self.status, headers={"Location": "http://127.0.0.1/"})

    def types(self) -> list[str]:
        return [decode_body(body)["type"] for _, body in self.came]


def decode_body(body: bytes) -> Any:
    return json.loads(body)


class Kafka:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def publish(self, records: Sequence[Record]) -> None:
        self.messages += [decode(each.topic, each.headers, each.value) for each in records]


@dataclass
class House:
    """A served API with its webhook machinery, driven by hand."""

    served: Served
    listener: Listener
    outgoing: Outgoing
    kafka: Kafka

    async def hear(self, *messages: Message) -> None:
        """The topics say this."""
        records = [Record.of(message) for message in messages]
        batch = [
            Received(each.topic, 0, at, each.key, each.value, each.headers, 0)
            for at, each in enumerate(records)
        ]
        await self.listener.handle(batch)

    async def send(self) -> None:
        """One look at what is due, and until it is done."""
        await self.outgoing.sweep()
        await self.outgoing.idle()

    async def add(self, url: str, *events: str, key: str | None = None) -> Any:
        """A webhook for these events, all unless given."""
        wanted = {"url": url, "events": list(events) or ["*"]}
        return await self.served.call("POST", "/v1/webhooks", wanted, status=201, key=key)

    async def get(self, webhook: Any, more: str = "") -> Any:
        return await self.served.call("GET", f"/v1/webhooks/{webhook['id']}{more}")

    async def sequence(self, key: str | None = None, **fields: Any) -> UUID:
        """A new sequence's id."""
        made = await self.served.call("POST", "/v1/sequences", {**SEQUENCE, **fields}, status=201, key=key)
        return UUID(made["id"])

    def event(
        self, sequence_id: UUID, kind: EnrollmentEventType = EnrollmentEventType.STAGE_SENT
    ) -> EnrollmentEvent:
        now = self.served.clock.real_now()
        return EnrollmentEvent(
            event_id=uuid4(),
            event_type=kind,
            occurred_at=now,
            recorded_at=now,
            workspace_id=self.served.workspace,
            enrollment_id=uuid4(),
            seq=1,
            person_id=uuid4(),
            sequence_id=sequence_id,
        )


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


@pytest.fixture
async def house(mongodb_uri: str) -> AsyncIterator[House]:
    clock = FrozenClock(datetime.now(UTC).replace(microsecond=0))
    more = {"allowed_private_networks": "127.0.0.0/8"}
    async with serving(mongodb_uri, clock=clock, **more) as served:
        api, kafka = served.api, Kafka()
        store = api.store
        listener = Listener(clock, store.webhooks, store.webhook_deliveries)
        outgoing = Outgoing(
            *(api.settings, clock, store.webhooks, store.webhook_deliveries, api.secrets, api.guard, kafka),
            jitter=lambda: 0.0,
        )
        await served.mailbox("ana@ourco.example")
        yield House(served, listener, outgoing, kafka)
        await outgoing.stop()
        await outgoing.run()


async def test_an_event_is_sent_once_and_signed_as_standard_webhooks_wants(
    house: House, receiver: Receiver
) -> None:
    webhook = await house.add(receiver.url)
    event = house.event(await house.sequence())

    await house.hear(event, event)
    await house.hear(event)
    await house.send()
    await house.send()

    [(headers, body)] = receiver.came
    assert headers["webhook-id"] == str(event.event_id)
    assert fits(webhook["secret"], headers, body, house.served.clock.real_now())
    sent = decode_body(body)
    assert sent["type"] == "enrollment.stage_sent"
    assert sent["data"]["enrollment_id"] == str(event.enrollment_id)
    [delivery] = (await house.get(webhook, "/deliveries"))["items"]
    assert (delivery["state"], delivery["attempts"], delivery["next_at"]) == ("sent", 1, None)
    assert delivery["payload"] == sent


async def test_the_public_library_verifies_what_is_sent(house: House, receiver: Receiver) -> None:
    webhook = await house.add(receiver.url)
    await house.served.call("POST", f"/v1/webhooks/{webhook['id']}/test", status=202)
    await house.send()
    [(headers, body)] = receiver.came
    standardwebhooks.Webhook(webhook["secret"]).verify(body, headers)


async def test_only_what_the_filters_name_is_sent(house: House, receiver: Receiver) -> None:
    await house.add(receiver.url, "answer.*", "enrollment.finished")
    sequence = await house.sequence()
    await house.hear(house.event(sequence), house.event(sequence, EnrollmentEventType.FINISHED))
    await house.send()
    assert receiver.types() == ["enrollment.finished"]


async def test_an_unknown_filter_a_private_address_and_a_password_in_the_url_are_refused(
    house: House, receiver: Receiver
) -> None:
    async def refused(**fields: Any) -> list[str]:
        wanted = {"url": receiver.url, **fields}
        problem = await house.served.call("POST", "/v1/webhooks", wanted, status=422)
        return [each["pointer"] for each in problem["errors"]]

    assert await refused(events=["enrollment.sent"]) == ["/events/0"]
    assert await refused(url="https://10.0.0.1/hook") == ["/url"]
    assert await refused(url="http://93.184.215.14/hook") == ["/url"]
    assert await refused(url="https://ana:secret@example.com/") == ["/url"]


async def test_events_of_sequences_that_its_owner_may_not_see_are_not_sent(
    house: House, receiver: Receiver
) -> None:
    _, ben = await house.served.teammate("Ben")
    bens = await house.add(receiver.url, key=ben)
    anas_all = await house.add(receiver.url)
    hidden, shared = await house.sequence(access="confidential"), await house.sequence(access="shared")

    await house.hear(house.event(hidden), house.event(shared))
    assert len((await house.get(bens, "/deliveries"))["items"]) == 1
    assert len((await house.get(anas_all, "/deliveries"))["items"]) == 2, "an admin's hears of all"


async def test_nobody_elses_webhook_exists_for_a_member_and_none_in_another_workspace(
    house: House, receiver: Receiver
) -> None:
    _, ben = await house.served.teammate("Ben")
    webhook = await house.add(receiver.url)
    other = await house.served.other_workspace()
    for key in (ben, other):
        await house.served.call("GET", f"/v1/webhooks/{webhook['id']}", status=404, key=key)
        await house.served.call("DELETE", f"/v1/webhooks/{webhook['id']}", status=404, key=key)
        assert (await house.served.call("GET", "/v1/webhooks", key=key))["items"] == []
    await house.served.call("GET", "/v1/webhooks", status=403, key=await house.served.key("read"))


async def test_events_of_before_it_and_of_while_it_was_disabled_are_not_sent(
    house: House, receiver: Receiver
) -> None:
    sequence = await house.sequence()
    before = house.event(sequence)
    house.served.clock.advance(1)
    webhook = await house.add(receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"
    await house.served.call("PATCH", path, {"enabled": False})
    meanwhile = house.event(sequence)
    house.served.clock.advance(1)
    await house.served.call("PATCH", path, {"enabled": True})
    after = house.event(sequence)

    await house.hear(before, meanwhile, after)
    await house.send()
    assert [headers["webhook-id"] for headers, _ in receiver.came] == [str(after.event_id)]


async def test_an_answer_is_told_without_a_word_of_it(house: House, receiver: Receiver) -> None:
    await house.add(receiver.url)
    now = house.served.clock.real_now()
    answer = AnswerNotification(
        event_id=uuid4(),
        event_type=AnswerKind.REPLY,
        occurred_at=now,
        recorded_at=now,
        workspace_id=house.served.workspace,
        inbound_id=uuid4(),
        owner_id=UUID(house.served.made["user_id"]),
        person_ids=[uuid4()],
        enrollment_ids=[uuid4()],
        sequence_ids=[uuid4()],
        match="thread",
        effect=AnswerEffect.STOPPED,
        from_address="priya@there.example",
        subject="Re: Hello",
        text="Call me on 030 1234",
    )
    await house.hear(answer)
    await house.send()
    [(_, body)] = receiver.came
    assert decode_body(body)["data"]["inbound_id"] == str(answer.inbound_id)
    assert not [word for word in (b"priya", b"Hello", b"1234") if word in body]


def test_no_field_that_may_hold_words_of_a_person_is_sent() -> None:
    harmless = {
        *("event_type", "schema_version", "stage_id", "dispatch_id"),
        *("reason", "reason_code", "match", "intent", "variant"),
    }
    kinds = [kind for topic in TOPICS for kind in message_types()[topic]]
    texts = {
        name
        for kind in kinds
        for name, info in kind.model_fields.items()
        if "str" in str(info.annotation) and name not in WITHHELD
    }
    assert texts <= harmless, "decide for every new text whether a webhook may carry it"
    assert {f"{kind.FAMILY}" for kind in kinds} == {each.partition(".")[0] for each in EVENT_TYPES}


async def test_a_failure_is_tried_again_on_the_standard_schedule_and_then_given_up(
    house: House, receiver: Receiver
) -> None:
    webhook = await house.add(receiver.url)
    receiver.status = 500
    await house.hear(house.event(await house.sequence()))
    await house.send()
    for delay in DELAYS:
        house.served.clock.advance(delay.total_seconds() - 1)
        before = len(receiver.came)
        await house.send()
        assert len(receiver.came) == before, "not a second too early"
        house.served.clock.advance(1)
        await house.send()
        assert len(receiver.came) == before + 1
    [delivery] = (await house.get(webhook, "/deliveries?state=failed"))["items"]
    assert delivery["attempts"] == len(DELAYS) + 1 == len(receiver.came)
    assert {each["status"] for each in delivery["tries"]} == {500}
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1

    receiver.status = 200
    again = await house.served.call(
        "POST",
        f"/v1/webhooks/{webhook['id']}/redeliver",
        {"failed_since": delivery["created_at"]},
        status=202,
    )
    assert again == {"deliveries": 1}
    await house.send()
    assert (await house.get(webhook))["failing_since"] is None
    assert len((await house.get(webhook, "/deliveries?state=sent"))["items"]) == 1


async def test_a_webhook_that_fails_for_days_is_disabled_and_its_owner_told(
    house: House, receiver: Receiver
) -> None:
    webhook = await house.add(receiver.url)
    sequence = await house.sequence()
    receiver.status = 503
    await house.hear(house.event(sequence))
    await house.send()
    assert (await house.get(webhook))["failing_since"] is not None
    house.served.clock.advance(days=5)
    await house.hear(house.event(sequence))
    await house.send()
    await house.send()

    now = await house.get(webhook)
    assert (now["enabled"], now["disabled"]["reason"]) == (False, "failing")
    [told] = house.kafka.messages
    assert isinstance(told, WebhookNotification)
    assert (str(told.webhook_id), str(told.owner_id)) == (webhook["id"], house.served.made["user_id"])
    assert (await house.get(webhook, "/deliveries?state=pending"))["items"] == []
    await house.served.call("POST", f"/v1/webhooks/{webhook['id']}/test", status=409)

    changed = await house.served.call("PATCH", f"/v1/webhooks/{webhook['id']}", {"enabled": True})
    assert (changed["enabled"], changed["disabled"], changed["failing_since"]) == (True, None, None)


async def test_gone_disables_at_once_and_a_redirect_is_a_failure(house: House, receiver: Receiver) -> None:
    webhook = await house.add(receiver.url)
    sequence = await house.sequence()
    receiver.status = 302
    await house.hear(house.event(sequence))
    await house.send()
    [delivery] = (await house.get(webhook, "/deliveries"))["items"]
    assert "redirect" in delivery["tries"][0]["error"]
    receiver.status = 410
    await house.hear(house.event(sequence))
    await house.send()
    assert (await house.get(webhook))["disabled"]["reason"] == "gone"


async def test_while_a_secret_is_replaced_both_sign_and_then_the_new_one_alone(
    house: House, receiver: Receiver
) -> None:
    webhook = await house.add(receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"
    rotated = await house.served.call("POST", path + "/rotate-secret")
    await house.served.call("POST", path + "/test", status=202)
    await house.send()
    house.served.clock.advance(days=1)
    await house.served.call("POST", path + "/test", status=202)
    await house.send()

    secrets, now = (webhook["secret"], rotated["secret"]), house.served.clock.real_now()
    during, after = receiver.came
    then = datetime.fromtimestamp(int(during[0]["webhook-timestamp"]), UTC)
    assert [fits(each, *during, then) for each in secrets] == [True, True]
    assert [fits(each, *after, now) for each in secrets] == [False, True]
    assert receiver.types() == ["webhook.test", "webhook.test"]


async def test_a_slow_webhook_delays_no_other_and_has_few_requests_at_once(
    house: House, receiver: Receiver
) -> None:
    slow, sequence = Receiver(held=asyncio.Event()), await house.sequence()
    app = web.Application()
    app.router.add_post("/hook", slow.take)
    async with TestServer(app) as server:
        await house.add(str(server.make_url("/hook")))
        webhook = await house.add(receiver.url)
        await house.hear(*(house.event(sequence) for _ in range(3 * AT_ONCE)))
        await house.outgoing.sweep()
        async with asyncio.timeout(10):
            while len((await house.get(webhook, "/deliveries?state=sent"))["items"]) < 3 * AT_ONCE:
                pass
        assert len(slow.came) == AT_ONCE
        assert slow.held is not None
        slow.held.set()
        await house.outgoing.idle()
        assert len(slow.came) == 3 * AT_ONCE


async def test_a_deleted_webhook_hears_nothing_more(house: House, receiver: Receiver) -> None:
    webhook = await house.add(receiver.url)
    await house.hear(house.event(await house.sequence()))
    await house.served.call("DELETE", f"/v1/webhooks/{webhook['id']}", status=204)
    await house.send()
    assert receiver.came == []
    audited = [action for action, _ in await house.served.audited()]
    assert {"webhook.added", "webhook.removed"} <= set(audited)


async def test_listening_outlives_a_consumer_that_ends() -> None:
    class Dying:
        made = 0

        def __init__(self) -> None:
            Dying.made += 1

        async def run(self) -> None:
            if Dying.made < 3:
                raise Fatal("no topics")
            await listening.stop()

        async def stop(self) -> None:
            return

        def unready(self) -> str | None:
            return "not started"

    listening = Listening(Dying, rest_seconds=0.001)
    await listening.run()
    assert (Dying.made, listening.trouble()) == (3, "not started")
