"""DKIM from end to end: keys made over HTTP sign what the mail server gets, for another verifier."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import dkim as independent
import pytest

from api.model import message_of
from api.testing import Served, serving
from chassis import documents as names
from scheduler import wiring as scheduler_wiring
from scheduler.settings import SchedulerSettings
from scheduler.store import ALL_SHARDS
from scheduler.testing import Captured, received
from segue_contracts.topics import STAGE_DUE, STAGE_OUTCOMES
from sender import wiring as sender_wiring
from sender.settings import SenderSettings
from stack.smtp import SmtpServer

pytestmark = pytest.mark.stack
COMMON = ("kafka_bootstrap_servers", "mongodb_uri", "mongodb_database", "secret_keys")
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
    """The services over one database, a mailbox and a person in a sequence; Kafka is carried by hand."""

    api: Served
    scheduler: scheduler_wiring.Parts
    sender: sender_wiring.Sender
    kafka: Captured
    smtp: SmtpServer
    mailbox: str = ""

    async def begin(self) -> None:
        smtp = {"host": self.smtp.host, "port": self.smtp.port, "security": "none"}
        mailbox = {"address": "ana@ourco.example", "display_name": "Ána", "smtp": smtp}
        self.mailbox = (await self.api.call("POST", "/v1/mailboxes", mailbox, status=201))["id"]
        sequence = await self.api.call("POST", "/v1/sequences", SEQUENCE, status=201)
        prospect = {"external_id": "p1", "email": "priya@there.example", "first_name": "Priya"}
        path = f"/v1/sequences/{sequence['id']}/enrollments"
        answer = await self.api.call("POST", path, {"prospect": prospect}, status=202)
        command = UUID(answer["accepted"][0]["command_id"])
        stored = await self.api.database.collection(names.COMMANDS).find_one({"_id": command})
        assert stored is not None
        await self.scheduler.commands.handle([received(message_of(stored))])

    async def keys(self) -> list[str]:
        """Make keys, publish and activate them, and sign with them; the ids of the sets there are."""
        made = await self.api.call("POST", "/v1/signing-domains", {"domain": "ourco.example"}, status=201)
        for key in made["keys"]:
            self.api.zone.text(key["name"], key["record"])
        await self.api.call("POST", f"/v1/signing-domains/{made['id']}/activate")
        await self.api.call("PUT", f"/v1/mailboxes/{self.mailbox}/signs", {"signs": "own"}, status=204)
        return [key["selector"] for key in made["keys"]]

    async def carry(self) -> str:
        """What is due next goes to the sender when it is due, what it says of it back; the outcome."""
        before = len(self.kafka.messages)
        enrollment = await self.api.database.collection(names.ENROLLMENTS).find_one({})
        assert enrollment is not None
        self.api.clock.advance((enrollment["due_at"] - self.api.clock.now()).total_seconds())
        await self.scheduler.due.tick()
        due = [m for m in self.kafka.messages[before:] if m.TOPIC is STAGE_DUE]
        await self.sender.on_stage_due([received(m) for m in due])
        await self.sender.work.quiet()
        (said,) = [m for m in self.kafka.messages[before:] if m.TOPIC is STAGE_OUTCOMES]
        await self.scheduler.outcomes.handle([received(said)])
        return f"{said.event_type.value} {said.reason or ''}".strip()

    def arrived(self) -> list[bytes]:
        """The messages as the mail server has them, in their order."""
        return [self.smtp.content(message) for message in self.smtp.messages()]

    def verdicts(self, message: bytes) -> list[bool]:
        """Whether each signature holds by what is published, each at the place that it names."""

        def dns(name: bytes, timeout: int = 5) -> bytes | None:
            found = self.api.zone.texts.get(name.decode().removesuffix("."))
            return found[0].encode() if found else None

        count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
        return [bool(independent.DKIM(message).verify(idx=at, dnsfunc=dns)) for at in range(count)]


@pytest.fixture
async def world(mongodb_uri: str, tmp_path: Path) -> AsyncIterator[World]:
    async with serving(mongodb_uri) as served:
        kafka, common = Captured(), {name: getattr(served.api.settings, name) for name in COMMON}
        settings = SenderSettings(**common)
        pool = sender_wiring.smtp_pool(settings)
        sender = sender_wiring.assemble(settings, served.clock, served.database, kafka, pool)
        await sender.store.ensure()
        scheduler = scheduler_wiring.assemble(
            SchedulerSettings(**common), served.clock, served.database, kafka, lambda: ALL_SHARDS
        )
        await scheduler.store.ensure_indexes()
        with SmtpServer(tmp_path / "smtp") as smtp:
            built = World(served, scheduler, sender, kafka, smtp)
            await built.begin()
            yield built
            await sender.work.quiet()
            await pool.close()


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
