"""DKIM from end to end: keys made over HTTP sign what the mail server gets, for another verifier."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import dkim as independent
import pytest

from api.testing import Served
from chassis import documents as names
from stack.carried import Carried, carried

pytestmark = pytest.mark.stack
SEQUENCE: dict[str, Any] = {
    "name": "Engineers",
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "subject": "Grüße, {{first_name}}",
            "text": "Hi {{first_name}} 👋",
        },
        {"id": "nudge", "channel": "email", "after": "1 day", "text": "Did you see this?  \n\n\n"},
    ],
}


@dataclass
class World:
    """The services, a mailbox and a person in a sequence."""

    services: Carried
    mailbox: str
    enrollment: UUID

    @property
    def api(self) -> Served:
        return self.services.api

    async def keys(self) -> list[str]:
        """Make keys, publish and activate them, and sign with them; the ids of the sets there are."""
        made = await self.api.call("POST", "/v1/signing-domains", {"domain": "ourco.example"}, status=201)
        for key in made["keys"]:
            self.api.zone.text(key["name"], key["record"])
        await self.api.call("POST", f"/v1/signing-domains/{made['id']}/activate")
        await self.api.call("PUT", f"/v1/mailboxes/{self.mailbox}/signs", {"signs": "own"}, status=204)
        return [key["selector"] for key in made["keys"]]

    async def carry(self) -> str:
        """What became of the next stage."""
        return await self.services.carry(self.enrollment)

    def arrived(self) -> list[bytes]:
        return self.services.arrived()

    def verdicts(self, message: bytes) -> list[bool]:
        """Whether each signature holds by what is published, each at the place that it names."""

        def dns(name: bytes, timeout: int = 5) -> bytes | None:
            found = self.api.zone.texts.get(name.decode().removesuffix("."))
            return found[0].encode() if found else None

        count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
        return [bool(independent.DKIM(message).verify(idx=at, dnsfunc=dns)) for at in range(count)]


@pytest.fixture
async def world(mongodb_uri: str, tmp_path: Path) -> AsyncIterator[World]:
    async with carried(mongodb_uri, tmp_path) as services:
        mailbox = await services.connect()
        yield World(services, mailbox, await services.enroll(SEQUENCE))


async def test_what_a_provider_signs_goes_out_without_a_signature_of_ours(world: World) -> None:
    assert await world.carry() == "sent"
    (message,) = world.arrived()
    assert b"DKIM-Signature" not in message


async def test_what_we_sign_is_signed_by_both_keys_as_it_arrives_the_reply_too(world: World) -> None:
    await world.keys()
    assert await world.carry() == "sent"
    assert await world.carry() == "sent"
    first, second = world.arrived()
    assert b"In-Reply-To: " in second
    for message in (first, second):
        assert message.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;")
        assert world.verdicts(message) == [True, True]
        assert world.verdicts(message.replace(b"From: ", b"From: Mallory ")) == [False, False]


async def test_new_keys_sign_from_their_activation_on(world: World) -> None:
    old = await world.keys()
    await world.carry()
    world.api.clock.advance(1)
    new = await world.keys()
    await world.carry()
    first, second = world.arrived()
    for message, selectors in ((first, old), (second, new)):
        assert all(f"s={selector};".encode() in message for selector in selectors)
        assert world.verdicts(message) == [True, True]


async def test_without_keys_the_message_waits_and_never_goes_out_unsigned(world: World) -> None:
    await world.keys()
    signing = world.api.database.collection(names.SIGNING_DOMAINS)
    await signing.update_many({}, {"$set": {"activated_at": None}})
    assert await world.carry() == "deferred signing_key_missing"
    assert world.arrived() == []
    await signing.update_many({}, {"$set": {"activated_at": world.api.clock.real_now()}})
    assert await world.carry() == "sent"
    assert world.verdicts(world.arrived()[0]) == [True, True]


async def test_a_company_that_is_suppressed_meanwhile_is_not_written_to(world: World) -> None:
    await world.api.call("POST", "/v1/suppressions", {"company_key": "There.example"}, status=201)
    assert await world.carry() == "withdrawn suppressed"
    assert world.arrived() == []
