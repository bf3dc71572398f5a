"""What becomes of a delivery in doubt: evidence, looking it up, a person's word, in any order of them."""

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from chassis import documents as names
from scheduler.testing import received
from segue_contracts.commands import DecideInDoubt, Decision, Evidence, NoteEvidence, NoteReceipt, Recall
from segue_contracts.events import Outcome
from sender import metrics
from sender.doubts import again_seconds
from sender.settings import SenderSettings
from stack.mail_script import Cut
from stack.sending import (
    ANNA,
    PHONE,
    SETTINGS,
    AtPoint,
    Sender,
    Texting,
    World,
    a_sender,
    a_world,
)
from stack.smtp import SmtpServer
from stack.texts import Breaks, TextServer, zone_at

pytestmark = pytest.mark.stack

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    async with a_world(mongodb_uri, smtp_server) as built:
        yield built


@pytest.fixture
async def sender(world: World, mongodb_uri: str) -> AsyncIterator[Sender]:
    async with a_sender(world, SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)) as built:
        yield built


async def in_doubt(world: World, sender: Sender) -> UUID:
    """Accepted by its server, which never said so."""
    world.smtp.answer(ANNA, Cut(recorded=True), times=1)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    assert (await world.delivery(enrollment))["state"] == "in_doubt"
    await world.enrollment_is(enrollment, state="in_doubt")
    return enrollment


async def decide(sender: Sender, enrollment: UUID, decision: Decision) -> DecideInDoubt:
    command: DecideInDoubt = await sender.command(DecideInDoubt, enrollment, "hello", decision=decision)
    return command


async def evidence(sender: Sender, enrollment: UUID, *, found: bool = True) -> NoteEvidence:
    command: NoteEvidence = await sender.command(
        NoteEvidence, enrollment, "hello", evidence=Evidence.SENT_COPY, found=found, places=["Sent"]
    )
    return command


# ---- evidence -----------------------------------------------------------------------------------------


async def test_a_copy_makes_it_sent_when_it_was_transmitted_and_that_is_told_once(
    world: World, sender: Sender
) -> None:
    enrollment = await in_doubt(world, sender)
    before = metrics.RESOLVED.labels("sent_copy")._value.get()
    for _ in range(2):
        await evidence(sender, enrollment)
    delivery, outcome = await world.delivery(enrollment), sender.published.last()
    assert (delivery["state"], delivery["evidence"]["kind"], delivery["evidence"]["was"]) == (
        "sent",
        "sent_copy",
        "in_doubt",
    )
    assert (outcome.event_type, outcome.reason) == (Outcome.SENT, "sent_copy")
    assert outcome.occurred_at == delivery["transmitted_at"] == delivery["sent_at"]
    assert sender.published.kinds() == ["in_doubt", "sent"]
    assert metrics.RESOLVED.labels("sent_copy")._value.get() == before + 1


async def test_that_no_copy_was_found_is_kept_and_changes_nothing(world: World, sender: Sender) -> None:
    enrollment = await in_doubt(world, sender)
    for _ in range(2):
        command = await evidence(sender, enrollment, found=False)
    delivery = await world.delivery(enrollment)
    look = delivery["looks"]["sent_copy"]
    assert (delivery["state"], look["times"], look["places"]) == ("in_doubt", 2, ["Sent"])
    assert abs(look["at"] - command.occurred_at) < timedelta(milliseconds=2)
    assert sender.published.kinds() == ["in_doubt"]


async def test_evidence_of_what_was_never_transmitted_or_is_unknown_does_nothing(
    world: World, sender: Sender
) -> None:
    held = await world.dispatch()
    await world.hold("enrollment", held)
    await sender.due(held)
    await evidence(sender, held)
    assert (await world.delivery(held))["state"] == "released"
    unknown = await evidence(sender, uuid4())
    assert (await world.result(unknown))["reasons"][0]["code"] == "unknown_dispatch"


async def test_evidence_of_another_workspace_does_nothing(world: World, sender: Sender) -> None:
    enrollment = await in_doubt(world, sender)
    foreign = (await evidence(sender, enrollment, found=False)).model_copy(
        update={"event_id": uuid4(), "workspace_id": uuid4(), "found": True}
    )
    await sender.on_commands([received(foreign)])
    assert (await world.delivery(enrollment))["state"] == "in_doubt"


async def test_a_250_that_comes_after_the_doubt_ends_it_and_is_counted(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await world.dispatch()

    async def doubt() -> None:
        await world.delivery_is(enrollment, deadline=LONG_AGO)
        await sender.on_stage_due.sweep()
        await world.enrollment_is(enrollment, state="in_doubt")

    AtPoint(monkeypatch, "sender.after_250", doubt)
    before = metrics.RESOLVED.labels("late_250")._value.get()
    await sender.due(enrollment)
    assert sender.published.kinds() == ["in_doubt", "sent"]
    assert metrics.RESOLVED.labels("late_250")._value.get() == before + 1


# ---- evidence and a person's word ---------------------------------------------------------------------


async def test_evidence_after_resend_was_decided_keeps_it_from_being_sent_again(
    world: World, sender: Sender
) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.RESEND)
    await evidence(sender, enrollment)
    await world.enrollment_is(enrollment, state="dispatched", attempt=2)
    await sender.due(enrollment, attempt=2)
    assert len(world.mails()) == 1
    assert sender.published.kinds() == ["in_doubt", "deferred", "sent", "sent"]


@pytest.mark.parametrize("point", ["sender.after_claim", "sender.after_journal"])
async def test_evidence_while_it_is_being_sent_again_is_in_time_until_the_journal(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.RESEND)
    await world.enrollment_is(enrollment, state="dispatched", attempt=2)
    AtPoint(monkeypatch, point, lambda: evidence(sender, enrollment))
    await sender.due(enrollment, attempt=2)
    assert len(world.mails()) == (1 if point == "sender.after_claim" else 2)
    assert (await world.delivery(enrollment))["state"] == "sent"
    assert {o.event_type for o in sender.published.outcomes()[2:]} == {Outcome.SENT}


async def test_evidence_after_the_stage_was_skipped_sets_the_record_right(
    world: World, sender: Sender
) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.SKIP_STAGE)
    await evidence(sender, enrollment)
    delivery = await world.delivery(enrollment)
    assert (delivery["state"], delivery["evidence"]["was"]) == ("sent", "skipped")


async def test_after_evidence_every_decision_is_refused(world: World, sender: Sender) -> None:
    enrollment = await in_doubt(world, sender)
    await evidence(sender, enrollment)
    for decision in Decision:
        command = await decide(sender, enrollment, decision)
        assert (await world.result(command))["reasons"][0]["code"] == "not_in_doubt"
    assert sender.published.kinds() == ["in_doubt", "sent"]


WORDS = ("no_copy", "recall", "resend", "mark_sent", "skip_stage", "stop")


async def test_in_whatever_order_words_and_evidence_come_evidence_wins_and_nothing_goes_twice_unasked(
    world: World, sender: Sender
) -> None:
    """Each order of a word, a copy and another attempt, on a delivery of its own."""
    for steps in (order for word in WORDS for order in itertools.permutations((word, "copy", "attempt"))):
        before = len(world.smtp.messages())
        enrollment = await in_doubt(world, sender)
        resends, allowed = 0, 0
        for step in steps:
            state = (await world.delivery(enrollment))["state"]
            if step in ("copy", "no_copy"):
                await evidence(sender, enrollment, found=step == "copy")
            elif step == "recall":
                await sender.command(Recall, enrollment, "hello")
            elif step == "attempt":
                attempt = 2 + resends
                await world.enrollment_is(enrollment, state="dispatched", attempt=attempt)
                await sender.due(enrollment, attempt=attempt)
                allowed += state in ("deferred", "released") and resends > 0
            else:
                resends += step == "resend" and state == "in_doubt"
                await decide(sender, enrollment, Decision(step))
        sent = len(world.smtp.messages()) - before
        delivery = await world.delivery(enrollment)
        assert 1 <= sent <= 1 + allowed, steps
        assert delivery["state"] == "sent", steps
        assert sent == 1 or "attempt" not in steps[steps.index("copy") :], steps


# ---- asking the provider ------------------------------------------------------------------------------


@pytest.fixture
async def texting(world: World) -> AsyncIterator[Texting]:
    person = uuid4()
    zone = zone_at(range(11, 18), datetime.now(UTC))
    await world.add_person(person, first_name="Pat", phone=PHONE, zone=zone)
    async with TextServer() as server:
        yield Texting(world, server, person)


async def text_in_doubt(world: World, sender: Sender, texting: Texting, *, accepted: bool) -> UUID:
    await texting.number()
    texting.server.answers.append(Breaks(accepted=accepted))
    enrollment = await texting.dispatch()
    await sender.due(enrollment, "text")
    assert (await world.delivery(enrollment, "text"))["state"] == "in_doubt"
    return enrollment


async def test_what_twilio_has_is_sent_under_twilios_id(
    world: World, sender: Sender, texting: Texting
) -> None:
    enrollment = await text_in_doubt(world, sender, texting, accepted=True)
    await sender.doubts.sweep()
    delivery = await world.delivery(enrollment, "text")
    assert (delivery["state"], delivery["evidence"]["kind"]) == ("sent", "provider")
    assert delivery["provider_message_id"] == texting.server.arrived[0].sid
    assert sender.published.kinds() == ["in_doubt", "sent"]
    assert texting.server.requests == 1


async def test_what_twilio_does_not_have_is_asked_for_ever_more_rarely_and_stays_in_doubt(
    world: World, sender: Sender, texting: Texting
) -> None:
    enrollment = await text_in_doubt(world, sender, texting, accepted=False)
    for _ in range(2):
        await sender.doubts.sweep()
    delivery = await world.delivery(enrollment, "text")
    assert (delivery["state"], delivery["looks"]["provider"]["times"]) == ("in_doubt", 1)
    assert texting.server.looks == 1
    assert [again_seconds(times) for times in (0, 1, 2, 50)] == [60, 120, 240, 6 * 3600]


async def test_the_same_words_sent_to_the_same_phone_before_prove_nothing(
    world: World, sender: Sender, texting: Texting
) -> None:
    """Neither those of another time nor those that another delivery has."""
    await texting.number()
    first = await texting.dispatch()
    await sender.due(first, "text")
    texting.server.answers.append(Breaks(accepted=False))
    second = await texting.dispatch()
    await sender.due(second, "text")
    await sender.doubts.sweep()
    assert (await world.delivery(second, "text"))["state"] == "in_doubt"
    await world.delivery_is(first, "text", provider_message_id=None)
    old = texting.server.arrived[0]
    texting.server.arrived[0] = type(old)(
        old.sid, old.path, old.headers, old.asked, old.raw, old.at - timedelta(hours=1)
    )
    await world.delivery_is(second, "text", looks={})
    await sender.doubts.sweep()
    assert (await world.delivery(second, "text"))["state"] == "in_doubt"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://169.254.169.254"])
async def test_a_provider_that_fails_or_must_not_be_reached_is_asked_later(
    world: World, sender: Sender, texting: Texting, url: str
) -> None:
    broken = await text_in_doubt(world, sender, texting, accepted=True)
    await world.collection(names.SMS_NUMBERS).update_one({}, {"$set": {"url": url}})
    await sender.doubts.sweep()
    delivery = await world.delivery(broken, "text")
    assert (delivery["state"], delivery["looks"]["provider"].get("times", 0)) == ("in_doubt", 0)


async def test_a_receipt_after_the_look_up_is_no_second_sending(
    world: World, sender: Sender, texting: Texting
) -> None:
    enrollment = await text_in_doubt(world, sender, texting, accepted=True)
    await sender.doubts.sweep()
    sid = texting.server.arrived[0].sid
    await sender.command(NoteReceipt, enrollment, "text", provider_id=sid, status="delivered")
    assert sender.published.kinds() == ["in_doubt", "sent"]
    assert (await world.delivery(enrollment, "text"))["receipt"]["status"] == "delivered"


# ---- counting -----------------------------------------------------------------------------------------


async def test_what_waits_for_a_decision_is_counted_with_its_age(world: World, sender: Sender) -> None:
    waiting, decided = await in_doubt(world, sender), await in_doubt(world, sender)
    await world.delivery_is(waiting, settled_at=sender.clock.now() - timedelta(hours=2))
    await decide(sender, decided, Decision.STOP)
    await sender.doubts.sweep()
    assert metrics.IN_DOUBT_NOW.labels("email")._value.get() == 1
    assert 7200 <= metrics.IN_DOUBT_OLDEST.labels("email")._value.get() < 7300
    await evidence(sender, waiting)
    await sender.doubts.sweep()
    assert metrics.IN_DOUBT_NOW.labels("email")._value.get() == 0
    assert metrics.IN_DOUBT_OLDEST.labels("email")._value.get() == 0


async def test_what_is_in_doubt_in_a_sequence_that_has_ended_waits_for_nobody_and_evidence_still_counts(
    world: World, sender: Sender
) -> None:
    enrollment = await in_doubt(world, sender)
    await sender.command(Recall, enrollment, "hello")
    await sender.doubts.sweep()
    assert metrics.IN_DOUBT_NOW.labels("email")._value.get() == 0
    assert (await world.delivery(enrollment))["state"] == "in_doubt"
    await evidence(sender, enrollment)
    assert (await world.delivery(enrollment))["state"] == "sent"


async def test_the_sweeps_walk_nothing_but_what_is_in_doubt(world: World) -> None:
    deliveries = world.collection(names.DELIVERIES)
    by_mailbox = {"workspace_id": world.workspace, "mailbox_id": world.mailbox, "state": "in_doubt"}
    plan = str(await deliveries.explain({"state": "in_doubt", "decision": None}, hint="in_doubt"))
    assert "COLLSCAN" not in plan
    plan = str(await deliveries.explain(by_mailbox, sort=[("settled_at", 1)]))
    assert "in_doubt" in plan
    assert "COLLSCAN" not in plan
    assert "SORT" not in plan
