"""A teammate's mailbox sends for the author of a sequence, on real services, as long as they agree."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest

from chassis.clock import Clock
from stack import prospects
from stack.client import Client, Refused, eventually
from stack.smtp import SmtpServer
from stack.system import Access, System

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
BOB = "bob@ourco.example"
SEQUENCE = f"""
name: For Bob
on_behalf_of: {BOB}
stages:
  - id: hello
    channel: email
    subject: A job
    text: "Hi {{{{first_name|there}}}}, here is {{{{my_name}}}}. {{{{signature}}}}"
  - id: nudge
    channel: email
    after: 1 days
    text: "Did you see this?"
"""


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """A day in twelve real seconds: time enough to take a consent back before the second mail."""
    return 7_200.0


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    return {"SEGUE_SWEEP_SECONDS": "0.5"}


@pytest.fixture
async def bob(client: Client, segue: System) -> AsyncIterator[Client]:
    """Another user of Ana's workspace, with a key that may write."""
    user = await client.post("/v1/users", {"email": BOB, "name": "Bob"})
    key = await client.post("/v1/api-keys", {"name": "Bob", "user_id": user["id"], "scopes": ["write"]})
    workspace = UUID((await client.get("/v1/me"))["workspace"]["id"])
    async with Client(segue.url, Access(workspace, key["key"])) as bob:
        yield bob


@pytest.fixture
async def bobs(bob: Client, mail: SmtpServer) -> dict[str, Any]:
    """Bob's mailbox."""
    return await bob.post(
        "/v1/mailboxes",
        {
            "address": BOB,
            "display_name": "Bob Baker",
            "signature": "Bob Baker, Ourco",
            "smtp": {"host": mail.host, "port": mail.port, "security": "none"},
        },
    )


async def test_bobs_mailbox_sends_for_ana_while_he_agrees_and_an_answer_to_him_stops_it(
    client: Client, bob: Client, bobs: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    with pytest.raises(Refused) as refused:
        await client.publish(SEQUENCE)
    assert [each["pointer"] for each in refused.value.problem["errors"]] == ["/on_behalf_of"]
    ana = (await client.get("/v1/me"))["user"]["id"]
    delegates = f"/v1/mailboxes/{bobs['id']}/delegates"
    await bob.post(delegates, {"user_id": ana})
    sequence = await client.publish(SEQUENCE)
    priya, quinn = await client.enroll(sequence, "priya"), await client.enroll(sequence, "quinn")

    (hello,) = await mails("priya@there.example", 1)
    assert (hello["From"].addresses[0].addr_spec, hello["From"].addresses[0].display_name) == (
        BOB,
        "Bob Baker",
    )
    assert "here is Bob Baker. Bob Baker, Ourco" in hello.get_content().replace("\r\n", " ")
    shown = await client.enrollment(priya)
    assert (shown["owner_id"], shown["mailbox_id"]) == (ana, bobs["id"])
    await client.receive(bobs, prospects.reply(hello, "Yes, let us talk!", at=clock.now()))
    assert (await client.reached(priya, "stopped"))["stop"]["reason"] == "replied"

    await mails("quinn@there.example", 1)
    await bob.delete(f"{delegates}/{ana}")
    waits = await eventually(
        lambda: client.get(f"/v1/sequences/{sequence}"), until=lambda shown: bool(shown["waits"])
    )
    assert waits["waits"][0]["reason"] == "consent_withdrawn"
    held = await eventually(lambda: client.enrollment(quinn), until=lambda e: e["held"])
    assert (held["hold"]["scope"], held["hold"]["reason"]) == ("delegation", "consent_withdrawn")
    with pytest.raises(Refused) as refused:
        await client.enroll(sequence, "rosa")
    assert refused.value.problem["type"] == "urn:segue:problem:consent-withdrawn"

    await bob.post(delegates, {"user_id": ana})
    await mails("quinn@there.example", 2)
    await client.reached(quinn, "finished")


async def test_what_was_bobs_waits_when_he_leaves_and_goes_on_with_its_new_owner(
    client: Client, bob: Client, bobs: dict[str, Any], mails: Mails
) -> None:
    sequence = await bob.publish(SEQUENCE.replace(f"on_behalf_of: {BOB}\n", ""))
    priya = await client.enroll(sequence, "priya2")
    await mails("priya2@there.example", 1)
    user = (await client.enrollment(priya))["owner_id"]
    left = await client.post(f"/v1/users/{user}/deactivate")
    assert [each["id"] for each in left["sequences"]] == [sequence]
    held = await eventually(lambda: client.enrollment(priya), until=lambda e: e["held"])
    assert (held["hold"]["scope"], held["hold"]["reason"]) == ("ownership", "owner_left")
    ana = (await client.get("/v1/me"))["user"]["id"]
    await client.post(f"/v1/sequences/{sequence}/transfer", {"to": ana})
    waits = await eventually(
        lambda: client.get(f"/v1/sequences/{sequence}"), until=lambda shown: len(shown["waits"]) == 1
    )
    assert bobs["id"] in waits["waits"][0]["what_to_do"]
    await client.post(f"/v1/mailboxes/{bobs['id']}/transfer", {"to": ana})
    await mails("priya2@there.example", 2)
    assert (await client.reached(priya, "finished"))["owner_id"] == ana
