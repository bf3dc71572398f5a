"""Text messages on the whole stack: handed to a provider, answered, and told of when they can't arrive."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chassis.clock import Clock
from stack.client import Client, eventually
from stack.texts import TextServer, zone_at

pytestmark = pytest.mark.stack

PHONE = "+4915112345678"
TEXTS = """
name: Texts
mailbox: ana@ourco.example
stages:
  - id: hello
    channel: sms
    text: "Hi {{first_name|there}}, a job? Answer STOP to hear no more."
  - id: nudge
    channel: sms
    after: 30 days
    text: "Hi again"
"""


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """A minute in a second: the day does not end before the tests do."""
    return 60.0


@pytest.fixture
async def provider() -> AsyncIterator[TextServer]:
    async with TextServer() as server:
        yield server


@pytest.fixture
async def number(client: Client, mailbox: dict[str, Any], provider: TextServer) -> Any:
    return await client.post("/v1/sms-numbers", {"number": "+49 30 999", **provider.settings})


@pytest.fixture
def zone(clock: Clock) -> str:
    """Where it is noon or so, and people may be texted."""
    return zone_at(range(11, 18), clock.now())


async def test_a_text_goes_out_and_stop_in_an_answer_ends_and_suppresses(
    client: Client, number: dict[str, Any], provider: TextServer, zone: str
) -> None:
    sequence = await client.publish(TEXTS)
    enrollment = await client.enroll(sequence, "priya", phone=PHONE, zone=zone)
    [text] = await provider.texts(1)
    assert text.asked["Body"] == "Hi Priya, a job? Answer STOP to hear no more."
    assert await provider.receipt(text, "sent") == 200
    assert await provider.receipt(text, "delivered") == 200
    stop = {"MessageSid": "SM" + "1" * 32, "From": PHONE, "To": "+4930999", "Body": "STOP"}
    assert await provider.post(number["messages_url"], **stop) == 200
    stopped = await client.reached(enrollment, "stopped")
    assert stopped["stop"]["reason"] == "unsubscribed"
    reasons = await client.refusal(sequence, "priya-again", email="other@there.example", phone=PHONE)
    assert [reason["code"] for reason in reasons] == ["suppressed"]
    assert len(provider.arrived) == 1


async def test_a_receipt_for_a_phone_that_is_none_stops_as_bounced(
    client: Client, number: dict[str, Any], provider: TextServer, zone: str
) -> None:
    enrollment = await client.enroll(await client.publish(TEXTS), "landline", phone=PHONE, zone=zone)
    [text] = await provider.texts(1)

    async def stages() -> Any:
        return [each["type"] for each in (await client.enrollment(enrollment))["history"]]

    await eventually(stages, until=lambda told: "stage_sent" in told)
    assert await provider.receipt(text, "undelivered", "30006") == 200
    stopped = await client.reached(enrollment, "stopped")
    assert stopped["stop"]["reason"] == "bounced"


async def test_without_a_phone_nobody_is_enrolled_for_a_text(
    client: Client, number: dict[str, Any], provider: TextServer
) -> None:
    reasons = await client.refusal(await client.publish(TEXTS), "nophone", phone=None)
    assert {reason["code"] for reason in reasons} == {"phone_missing"}
