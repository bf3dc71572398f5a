"""What every channel promises, held by each adapter against the real thing, or what comes nearest to it.

A new adapter is one more driver below and its line in ADAPTERS; what it can't promise stands there with why.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from chassis import documents as names
from segue_contracts.commands import DecideInDoubt, Decision, Recall
from segue_contracts.events import Outcome
from sender.settings import SenderSettings
from stack.mail_script import Cut, Refuse
from stack.sending import ANNA, PHONE, SETTINGS, AtPoint, Sender, Texting, World, a_sender, a_world
from stack.smtp import SmtpServer
from stack.texts import Breaks, Says, TextServer, zone_at

pytestmark = pytest.mark.stack

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Promise(StrEnum):
    """What a channel promises that not every one can; the others all do."""

    DEFERS = "told to come again, it defers, and the next attempt goes out"
    BOUNCES = "told that the recipient can't be written to, it rejects, and suppresses"
    DOUBTS = "an acceptance that nobody heard of is in doubt, and never repeated unasked"
    REPEATS = "what is asked for again is the same bytes"
    READS_AGAIN = "a stall before the first byte ends in a new read"
    LATE = "an acceptance heard of too late is recorded all the same"


class Channel(Protocol):
    """What the suite needs of an adapter: its stage, and somebody at the other end who does as told."""

    stage: str
    suppressed: tuple[str, str]
    """Kind and value of a suppression that forbids the stage."""
    done: Outcome
    """What it is called when it has gone out."""
    unheard: Outcome
    """What it is called when the other end accepted and nobody heard of it."""

    async def furnish(self) -> None: ...
    async def dispatch(self, **changed: Any) -> UUID: ...
    async def arrived(self) -> int:
        """How many have reached the other end, each counted once."""

    def heard(self) -> list[bytes]:
        """What was said to it each time that it accepted, or may have."""

    def says_later(self) -> None:
        """The next one is told to come again; so for the others."""

    def says_never(self) -> None: ...
    def goes_dumb(self) -> None:
        """The next one is accepted, and the connection breaks."""


@dataclass
class Mails:
    """E-mail over SMTP."""

    world: World
    stage: str = "hello"
    suppressed: tuple[str, str] = ("address", ANNA)
    done: Outcome = Outcome.SENT
    unheard: Outcome = Outcome.IN_DOUBT

    async def furnish(self) -> None:
        """The world has a mailbox."""

    async def dispatch(self, **changed: Any) -> UUID:
        return await self.world.dispatch(self.stage, **changed)

    async def arrived(self) -> int:
        return len(self.world.smtp.messages())

    def heard(self) -> list[bytes]:
        return self.world.raw_mails()

    def says_later(self) -> None:
        self.world.smtp.answer(ANNA, Refuse(reply="451 4.7.1 Greylisted"), times=1)

    def says_never(self) -> None:
        self.world.smtp.answer(ANNA, Refuse(reply="550 5.1.1 No such user"), times=1)

    def goes_dumb(self) -> None:
        self.world.smtp.answer(ANNA, Cut(recorded=True), times=1)


@dataclass
class Texts:
    """Text messages over HTTP; `number`: what its number is set to."""

    texting: Texting
    number: Mapping[str, Any]
    refusal: Says
    unheard: Outcome = Outcome.IN_DOUBT
    stage: str = "text"
    suppressed: tuple[str, str] = ("phone", PHONE)
    done: Outcome = Outcome.SENT

    async def furnish(self) -> None:
        zone = zone_at(range(11, 18), datetime.now(UTC))
        await self.texting.world.add_person(self.texting.person, first_name="Anna", phone=PHONE, zone=zone)
        await self.texting.number(**self.number)

    async def dispatch(self, **changed: Any) -> UUID:
        return await self.texting.dispatch(**changed)

    async def arrived(self) -> int:
        return len(self.texting.server.arrived)

    def heard(self) -> list[bytes]:
        return self.texting.server.heard

    def says_later(self) -> None:
        self.texting.server.answers.append(Says(429))

    def says_never(self) -> None:
        self.texting.server.answers.append(self.refusal)

    def goes_dumb(self) -> None:
        self.texting.server.answers.append(Breaks(accepted=True))


OWN = "a task is a document of ours: it is opened by the write that settles the claim, with nobody to answer"


@dataclass
class Tasks:
    """What a person does: the other end is the inbox."""

    world: World
    stage: str = "ring"
    suppressed: tuple[str, str] = ("phone", PHONE)
    done: Outcome = Outcome.TASK_OPENED
    unheard: Outcome = Outcome.TASK_OPENED

    async def furnish(self) -> None:
        person = {"_id": self.world.person}
        await self.world.collection(names.PEOPLE).update_one(person, {"$set": {"prospect.phone": PHONE}})

    async def dispatch(self, **changed: Any) -> UUID:
        return await self.world.dispatch(self.stage, **changed)

    async def arrived(self) -> int:
        open_now = {"workspace_id": self.world.workspace, "task.opened_at": {"$exists": True}}
        return len(await self.world.collection(names.DELIVERIES).find(open_now))

    def heard(self) -> list[bytes]:
        return []

    def says_later(self) -> None:
        raise AssertionError(OWN)

    says_never = goes_dumb = says_later


@dataclass(frozen=True)
class Adapter:
    """How it is driven, and which promises it can't give, each with why."""

    drive: Callable[[World, TextServer], Channel]
    lacks: Mapping[Promise, str] = field(default_factory=dict)


KEYED = "it knows each message by its key: what nobody heard of is asked for again, unasked, and sent once"
NO_SUCH_PHONE = Says(400, "invalid_number")
ADAPTERS = {
    "e-mail": Adapter(lambda world, _: Mails(world)),
    "twilio": Adapter(lambda world, server: Texts(Texting(world, server, uuid4()), {}, Says(400, 21211))),
    "webhook": Adapter(
        lambda world, server: Texts(Texting(world, server, uuid4()), {"provider": "webhook"}, NO_SUCH_PHONE)
    ),
    "webhook with keys": Adapter(
        lambda world, server: Texts(
            Texting(world, server, uuid4()),
            {"provider": "webhook", "idempotent": True},
            NO_SUCH_PHONE,
            Outcome.DEFERRED,
        ),
        {Promise.DOUBTS: KEYED},
    ),
    "task": Adapter(lambda world, _: Tasks(world), dict.fromkeys(Promise, OWN)),
}


def those_with(promise: Promise) -> pytest.MarkDecorator:
    """The adapters that give this promise."""
    return pytest.mark.parametrize(
        "adapter", [n for n, each in ADAPTERS.items() if promise not in each.lacks]
    )


all_of_them = pytest.mark.parametrize("adapter", ADAPTERS)


@pytest.fixture
async def world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    async with a_world(mongodb_uri, smtp_server) as built:
        yield built


@pytest.fixture
def settings(mongodb_uri: str) -> SenderSettings:
    return SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)


@pytest.fixture
async def sender(world: World, settings: SenderSettings) -> AsyncIterator[Sender]:
    async with a_sender(world, settings) as built:
        yield built


@pytest.fixture
async def channel(world: World, adapter: str) -> AsyncIterator[Channel]:
    async with TextServer() as server:
        driven = ADAPTERS[adapter].drive(world, server)
        await driven.furnish()
        yield driven


def told(sender: Sender) -> list[tuple[str, str]]:
    return [(outcome.event_type.value, outcome.reason) for outcome in sender.published.outcomes()]


def test_what_an_adapter_lacks_is_said_with_why() -> None:
    assert all(why for adapter in ADAPTERS.values() for why in adapter.lacks.values())


# ---- what every channel promises ----


@all_of_them
async def test_two_senders_that_race_for_it_carry_it_out_once(
    world: World, settings: SenderSettings, channel: Channel
) -> None:
    enrollments = [await channel.dispatch() for _ in range(5)]
    settings = settings.model_copy(update={"room_seconds": 60})  # a busy machine is no part of this
    async with a_sender(world, settings) as one, a_sender(world, settings) as two:
        await asyncio.gather(*(s.take(e, channel.stage) for e in enrollments for s in (one, two)))
        await one.work.quiet()
        await two.work.quiet()
    outcomes = [outcome for s in (one, two) for outcome in s.published.outcomes()]
    assert {(o.enrollment_id, o.event_type) for o in outcomes} == {(e, channel.done) for e in enrollments}
    assert await channel.arrived() == len(enrollments)


@all_of_them
async def test_what_has_gone_out_is_told_again_and_not_done_again(sender: Sender, channel: Channel) -> None:
    enrollment = await channel.dispatch()
    for _ in range(3):
        await sender.due(enrollment, channel.stage)
    assert told(sender) == [(channel.done, "")] * 3
    assert len({outcome.event_id for outcome in sender.published.outcomes()}) == 1
    assert await channel.arrived() == 1


@all_of_them
async def test_a_claim_that_was_taken_over_carries_nothing_out(
    world: World,
    settings: SenderSettings,
    channel: Channel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrollment = await channel.dispatch()
    async with a_sender(world, settings) as slow, a_sender(world, settings) as quick:

        async def overtaken() -> None:
            await world.delivery_is(enrollment, channel.stage, lease_until=LONG_AGO)
            await quick.due(enrollment, channel.stage)

        AtPoint(monkeypatch, "sender.after_claim", overtaken)
        await slow.due(enrollment, channel.stage)
    assert (told(quick), told(slow)) == ([(channel.done, "")], [])
    assert await channel.arrived() == 1


@all_of_them
async def test_what_can_not_be_written_is_rejected_and_does_not_go_out(
    sender: Sender, channel: Channel
) -> None:
    edits = {channel.stage: {"text": "About {{custom}}"}}
    await sender.due(await channel.dispatch(edits=edits), channel.stage)
    assert told(sender) == [("rejected", "template")]
    assert not sender.published.last().bounced
    assert await channel.arrived() == 0


@all_of_them
async def test_a_stop_that_came_before_the_read_is_obeyed(
    world: World, sender: Sender, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await channel.dispatch()
    stop = lambda: world.enrollment_is(enrollment, state="stopped", ended=True)  # noqa: E731
    AtPoint(monkeypatch, "sender.after_claim", stop)
    await sender.due(enrollment, channel.stage)
    assert told(sender) == [("withdrawn", "not_current")]
    assert await channel.arrived() == 0


@all_of_them
async def test_a_hold_is_obeyed(world: World, sender: Sender, channel: Channel) -> None:
    enrollment = await channel.dispatch()
    await world.hold("enrollment", enrollment)
    await sender.due(enrollment, channel.stage)
    assert told(sender) == [("withdrawn", "held")]
    assert await channel.arrived() == 0


@all_of_them
async def test_the_suppressed_are_left_alone(world: World, sender: Sender, channel: Channel) -> None:
    await world.suppress(*channel.suppressed)
    await sender.due(await channel.dispatch(), channel.stage)
    assert told(sender) == [("withdrawn", "suppressed")]
    assert await channel.arrived() == 0


@all_of_them
async def test_a_recall_takes_the_claim(
    world: World, sender: Sender, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await channel.dispatch()
    AtPoint(monkeypatch, "sender.after_claim", lambda: sender.command(Recall, enrollment, channel.stage))
    await sender.due(enrollment, channel.stage)
    assert told(sender) == [("recalled", "")]
    assert (await world.delivery(enrollment, channel.stage))["state"] == "released"
    assert await channel.arrived() == 0


@all_of_them
async def test_a_recall_is_answered_before_and_after_and_however_often(
    sender: Sender, channel: Channel
) -> None:
    enrollment = await channel.dispatch()
    await sender.command(Recall, enrollment, channel.stage)
    await sender.due(enrollment, channel.stage)
    for _ in range(2):
        await sender.command(Recall, enrollment, channel.stage)
    assert [kind for kind, _ in told(sender)] == ["recalled", channel.done, "recalled", "recalled"]
    assert await channel.arrived() == 1


# ---- what those promise whose other end answers ----


@those_with(Promise.DEFERS)
async def test_told_to_come_again_it_comes_again(world: World, sender: Sender, channel: Channel) -> None:
    channel.says_later()
    enrollment = await channel.dispatch()
    await sender.due(enrollment, channel.stage)
    outcome = sender.published.last()
    assert outcome.event_type is Outcome.DEFERRED
    assert outcome.until is not None
    assert outcome.until > outcome.occurred_at
    assert await channel.arrived() == 0
    await world.enrollment_is(enrollment, attempt=2)
    await sender.due(enrollment, channel.stage, attempt=2)
    assert sender.published.last().event_type is channel.done
    assert await channel.arrived() == 1


@those_with(Promise.DEFERS)
async def test_a_recall_ends_what_waits_for_its_next_attempt(
    world: World, sender: Sender, channel: Channel
) -> None:
    channel.says_later()
    enrollment = await channel.dispatch()
    await sender.due(enrollment, channel.stage)
    await sender.command(Recall, enrollment, channel.stage)
    assert (await world.delivery(enrollment, channel.stage))["state"] == "released"
    await world.enrollment_is(enrollment, state="stopped", ended=True, attempt=2)
    await sender.due(enrollment, channel.stage, attempt=2)
    assert [kind for kind, _ in told(sender)] == ["deferred", "recalled", "withdrawn"]
    assert await channel.arrived() == 0


@those_with(Promise.BOUNCES)
async def test_a_recipient_that_is_refused_bounces_and_is_suppressed(
    sender: Sender, channel: Channel
) -> None:
    channel.says_never()
    await sender.due(await channel.dispatch(), channel.stage)
    assert sender.published.last().bounced
    await sender.due(await channel.dispatch(), channel.stage)
    assert told(sender) == [("rejected", "recipient_refused"), ("withdrawn", "suppressed")]
    assert await channel.arrived() == 0


@those_with(Promise.DOUBTS)
async def test_what_nobody_heard_of_is_in_doubt_and_never_repeated_unasked(
    world: World, sender: Sender, channel: Channel
) -> None:
    channel.goes_dumb()
    enrollment = await channel.dispatch()
    await sender.due(enrollment, channel.stage)
    await world.enrollment_is(enrollment, state="in_doubt")
    for _ in range(2):
        await sender.due(enrollment, channel.stage)
    assert told(sender) == [("in_doubt", "no_reply")] * 3
    assert await channel.arrived() == 1


@those_with(Promise.DOUBTS)
@pytest.mark.parametrize(
    ("decision", "then"),
    [(Decision.MARK_SENT, ("sent", "mark_sent")), (Decision.SKIP_STAGE, ("task_skipped", "skip_stage"))],
)
async def test_a_person_ends_the_doubt(
    world: World, sender: Sender, channel: Channel, decision: Decision, then: tuple[str, str]
) -> None:
    channel.goes_dumb()
    enrollment = await channel.dispatch()
    await sender.due(enrollment, channel.stage)
    await world.enrollment_is(enrollment, state="in_doubt")
    await sender.command(DecideInDoubt, enrollment, channel.stage, decision=decision)
    assert told(sender)[-1] == then
    assert await channel.arrived() == 1


@those_with(Promise.REPEATS)
async def test_what_is_asked_for_again_is_the_same_bytes_whatever_was_edited(
    world: World, sender: Sender, channel: Channel
) -> None:
    channel.goes_dumb()
    enrollment = await channel.dispatch()
    await sender.due(enrollment, channel.stage)
    assert sender.published.last().event_type is channel.unheard
    if channel.unheard is Outcome.IN_DOUBT:
        await world.enrollment_is(enrollment, state="in_doubt")
        await sender.command(DecideInDoubt, enrollment, channel.stage, decision=Decision.RESEND)
    edits = {channel.stage: {"text": "Other words"}}
    await world.enrollment_is(enrollment, state="dispatched", attempt=2, edits=edits)
    await sender.due(enrollment, channel.stage, attempt=2)
    assert sender.published.last().event_type is channel.done
    first, second = channel.heard()
    assert first == second


@those_with(Promise.REPEATS)
async def test_a_stop_is_obeyed_by_what_is_to_be_repeated(
    world: World, sender: Sender, channel: Channel
) -> None:
    channel.goes_dumb()
    enrollment = await channel.dispatch()
    await sender.due(enrollment, channel.stage)
    if channel.unheard is Outcome.IN_DOUBT:
        await world.enrollment_is(enrollment, state="in_doubt")
        await sender.command(DecideInDoubt, enrollment, channel.stage, decision=Decision.RESEND)
    await world.enrollment_is(enrollment, state="stopped", ended=True, attempt=2)
    await sender.due(enrollment, channel.stage, attempt=2)
    assert told(sender)[-1] == ("withdrawn", "not_current")
    assert len(channel.heard()) == 1


@those_with(Promise.READS_AGAIN)
async def test_a_stop_during_a_stall_before_the_first_byte_is_obeyed(
    world: World, sender: Sender, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await channel.dispatch()

    async def stall() -> None:
        sender.clock.frozen_for += 60
        await world.enrollment_is(enrollment, state="stopped", ended=True)

    AtPoint(monkeypatch, "sender.before_data", stall)
    await sender.due(enrollment, channel.stage)
    assert told(sender) == [("withdrawn", "not_current")]
    assert channel.heard() == []


@those_with(Promise.LATE)
async def test_an_acceptance_that_comes_too_late_is_recorded_all_the_same(
    world: World, settings: SenderSettings, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await channel.dispatch()
    async with a_sender(world, settings) as slow, a_sender(world, settings) as other:

        async def asked_again() -> None:
            await world.delivery_is(enrollment, channel.stage, deadline=LONG_AGO)
            await other.due(enrollment, channel.stage)

        AtPoint(monkeypatch, "sender.after_250", asked_again)
        await slow.due(enrollment, channel.stage)
        assert (told(other), told(slow)) == ([("in_doubt", "deadline_passed")], [(channel.done, "")])
        await other.due(enrollment, channel.stage)
    assert told(other)[-1] == (channel.done, "")
    assert await channel.arrived() == 1
