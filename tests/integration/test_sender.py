"""The seven steps on a real MongoDB and a real mail server: what is sent, how often, and what never is."""

import asyncio
import hmac
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from aiohttp import encode_basic_auth
from pydantic import SecretStr

from chassis import documents as names
from scheduler.testing import received
from segue_contracts import ids
from segue_contracts.commands import (
    DecideInDoubt,
    Decision,
    Hold,
    NoteReceipt,
    Recall,
    TaskDone,
    TaskReassign,
    TaskSkip,
    TaskSnooze,
)
from segue_contracts.events import EnrollmentStop, Outcome, StopReason
from sender import metrics
from sender.model import Claim, Due
from sender.settings import SenderSettings
from sender.smtp import Envelope, Target
from sender.smtp import Outcome as SmtpOutcome
from sender.smtp_pool import Busy, Letter
from sender.store import Draft, Store
from stack.mail_script import Cut, Hang, Refuse
from stack.ports import free_port
from stack.sending import (
    ANNA,
    PHONE,
    SEQUENCE,
    SETTINGS,
    AtPoint,
    Sender,
    Texting,
    World,
    a_sender,
    a_world,
)
from stack.smtp import SmtpServer
from stack.texts import ACCOUNT, AUTH_TOKEN, Breaks, IsSilent, Says, TextServer, zone_at

pytestmark = pytest.mark.stack


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


def count(metric: Any, *labels: str) -> float:
    chosen = metric.labels(*labels) if labels else metric
    return float(chosen._value.get())


# ---- the way that all is well ----


async def test_a_due_stage_is_sent_once_recorded_and_told(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    (mail,) = world.mails()
    delivery = await world.delivery(enrollment)
    assert mail["Subject"] == "Backend Engineer at Ourco"
    assert "Hi Anna,\r\nabout Backend Engineer." in mail.get_content()
    assert mail["Message-ID"] == delivery["message_id"]
    assert (delivery["state"], delivery["recipient"], delivery["channel"]) == ("sent", ANNA, "email")
    assert delivery["body"] == world.raw_mails()[0]
    assert delivery["person_id"] == world.person
    (outcome,) = sender.published.outcomes()
    assert (outcome.event_type, outcome.attempt) == (Outcome.SENT, 1)
    assert outcome.occurred_at == delivery["sent_at"]


async def test_a_repeated_stage_due_is_answered_and_never_sends_again(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch()
    for _ in range(3):
        await sender.due(enrollment)
    assert len(world.mails()) == 1
    first, *again = sender.published.outcomes()
    assert first.event_type is Outcome.SENT
    assert [a.event_id for a in again] == [first.event_id] * 2


async def test_two_senders_racing_for_one_dispatch_send_one_mail(
    world: World, settings: SenderSettings
) -> None:
    enrollments = [await world.dispatch() for _ in range(20)]
    settings = settings.model_copy(update={"room_seconds": 60})  # a busy machine is no part of this
    async with a_sender(world, settings) as one, a_sender(world, settings) as two:
        await asyncio.gather(*(s.take(e) for e in enrollments for s in (one, two)))
        await one.work.quiet()
        await two.work.quiet()
    assert len(world.mails()) == len(enrollments)
    sent = [o for s in (one, two) for o in s.published.outcomes() if o.event_type is Outcome.SENT]
    assert {o.enrollment_id for o in sent} == set(enrollments)


async def test_a_batch_with_the_same_dispatch_twice_sends_one_mail(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch(attempt=2)
    await asyncio.gather(*(sender.take(enrollment, attempt=n) for n in (1, 2, 2)))
    await sender.work.quiet()
    assert len(world.mails()) <= 1
    await sender.due(enrollment, attempt=2)
    assert len(world.mails()) == 1


async def test_a_large_message_is_kept_in_files_and_sent_whole(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch(edits={"hello": {"text": "grüße " * 8_000}})
    await sender.due(enrollment)
    delivery = await world.delivery(enrollment)
    assert "body" not in delivery
    kept = await world.database.files("bodies").get(delivery["body_file"])
    assert [kept] == world.raw_mails()


async def test_a_reply_goes_on_in_the_thread_of_the_latest_mail_sent(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await world.enrollment_is(enrollment, stage_id="nudge")
    await sender.due(enrollment, "nudge")
    first, second = world.mails()
    assert second["Subject"] == "Re: Backend Engineer at Ourco"
    assert second["In-Reply-To"] == first["Message-ID"] == second["References"]
    assert (await world.delivery(enrollment, "nudge"))["references"] == [first["Message-ID"]]


async def test_a_reply_without_a_parent_opens_a_thread_with_the_first_subject(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch("nudge")
    await sender.due(enrollment, "nudge")
    (mail,) = world.mails()
    assert mail["Subject"] == "Backend Engineer at Ourco"
    assert mail["In-Reply-To"] is None


async def test_words_changed_for_one_person_are_sent_to_that_person(world: World, sender: Sender) -> None:
    edits = {"hello": {"subject": "Just you, {{first_name}}", "text": "Only for you"}}
    await sender.due(await world.dispatch(edits=edits))
    await sender.due(await world.dispatch())
    assert [m["Subject"] for m in world.mails()] == ["Just you, Anna", "Backend Engineer at Ourco"]


# ---- 1. claim ----


async def test_a_claim_past_its_lease_is_taken_over_and_the_old_owner_sends_nothing(
    world: World, settings: SenderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await world.dispatch()
    async with a_sender(world, settings) as slow, a_sender(world, settings) as quick:

        async def overtaken() -> None:
            await world.delivery_is(enrollment, lease_until=datetime(2020, 1, 1, tzinfo=UTC))
            await quick.due(enrollment)

        before = count(metrics.NO_MATCH, "journal")
        AtPoint(monkeypatch, "sender.after_claim", overtaken)
        await slow.due(enrollment)
    assert len(world.mails()) == 1
    assert quick.published.kinds() == ["sent"]
    assert slow.published.kinds() == []
    assert count(metrics.NO_MATCH, "journal") == before + 1


async def test_a_claim_within_its_lease_is_left_alone(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch()
    await sender.store.claim_new([due_of(world, enrollment)], "elsewhere")
    await sender.due(enrollment)
    assert world.mails() == []
    assert sender.published.outcomes() == []


@pytest.mark.parametrize(("lease_seconds", "overdue"), [(60, False), (-1, True)])
async def test_a_new_claims_lease_counts_from_its_insert_by_mongods_clock(
    world: World, lease_seconds: int, overdue: bool
) -> None:
    enrollment = await world.dispatch()
    store = Store(world.database, lease_seconds=lease_seconds, doubt_seconds=1)
    due = due_of(world, enrollment)
    assert await store.claim_new([due], "mine") == {due.dispatch_id}
    (found,) = (await store.existing([due])).values()
    assert found.overdue is overdue


async def test_a_claim_of_a_later_attempt_is_not_taken_over_by_an_older_message(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch(attempt=2)
    await sender.store.claim_new([due_of(world, enrollment, attempt=2)], "elsewhere")
    await world.delivery_is(enrollment, lease_until=datetime(2020, 1, 1, tzinfo=UTC))
    await sender.due(enrollment, attempt=1)
    assert (await world.delivery(enrollment))["token"].startswith("elsewhere")


def due_of(world: World, enrollment: UUID, stage: str = "hello", attempt: int = 1) -> Due:
    return Due(ids.dispatch_id(enrollment, stage), world.workspace, enrollment, stage, attempt)


async def test_a_dispatch_of_another_workspace_can_not_be_touched(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    before = await world.delivery(enrollment)
    world.workspace = uuid4()
    await sender.due(enrollment)
    command = await sender.command(Recall, enrollment, "hello")
    assert await world.delivery(enrollment) == before
    assert (await world.result(command))["status"] == "done"
    assert len(world.mails()) == 1


# ---- 2. read ----


async def test_a_stop_committed_before_the_read_prevents_the_send(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await world.dispatch()
    stop = lambda: world.enrollment_is(enrollment, state="stopped", ended=True)  # noqa: E731
    AtPoint(monkeypatch, "sender.after_claim", stop)
    await sender.due(enrollment)
    assert world.mails() == []
    assert (await world.delivery(enrollment))["state"] == "released"
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.WITHDRAWN,
        "not_current",
    )


async def test_what_was_withdrawn_is_final_for_its_attempt_and_open_to_the_next(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch(state="scheduled")
    await sender.due(enrollment)
    await world.enrollment_is(enrollment, state="dispatched")
    await sender.due(enrollment)
    assert world.mails() == []
    assert sender.published.kinds() == ["withdrawn", "withdrawn"]
    await world.enrollment_is(enrollment, attempt=2)
    await sender.due(enrollment, attempt=2)
    assert sender.published.kinds()[-1] == "sent"
    assert len(world.mails()) == 1


@pytest.mark.parametrize("scope", ["enrollment", "person", "sequence", "mailbox", "workspace"])
async def test_a_hold_of_any_scope_is_respected(world: World, sender: Sender, scope: str) -> None:
    enrollment = await world.dispatch()
    await world.hold(scope, enrollment if scope == "enrollment" else getattr(world, scope))
    await sender.due(enrollment)
    assert world.mails() == []
    assert sender.published.last().reason == "held"


async def test_a_hold_that_is_lifted_or_over_holds_nothing(world: World, sender: Sender) -> None:
    now = sender.clock.now()
    await world.hold("person", world.person, until=now - timedelta(seconds=1))
    await world.hold("mailbox", world.mailbox, lifted_at=now)
    await sender.due(await world.dispatch())
    assert len(world.mails()) == 1


@pytest.mark.parametrize(("kind", "value"), [("address", ANNA.upper()), ("domain", "prospect.example")])
async def test_a_suppressed_address_or_domain_is_never_written_to(
    world: World, sender: Sender, kind: str, value: str
) -> None:
    await world.suppress(kind, value)
    await sender.due(await world.dispatch())
    assert world.mails() == []
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.WITHDRAWN,
        "suppressed",
    )


async def test_past_its_window_nothing_is_sent(world: World, sender: Sender) -> None:
    await sender.due(await world.dispatch(send_before=sender.clock.now() - timedelta(seconds=1)))
    assert world.mails() == []
    assert sender.published.last().reason == "window_over"


# ---- 3. render ----


@pytest.mark.parametrize(
    "prospect",
    [
        {"email": ANNA},
        {"email": ANNA, "tokens": {"custom": "Hello\r\nBcc: evil@x.example"}},
        {"email": ANNA, "tokens": {"custom": "=?utf-8?q?hi=0ABcc:_evil@x?="}},
        {"email": ANNA, "tokens": {"custom": "Hi"}, "first_name": "Anna\nBcc: evil@x.example"},
    ],
    ids=["missing token", "line break", "encoded word", "display name"],
)
async def test_what_can_not_be_written_safely_is_rejected_and_not_sent(
    world: World, sender: Sender, prospect: dict[str, Any]
) -> None:
    person = uuid4()
    await world.add_person(person, **prospect)
    await sender.due(await world.dispatch("fresh", person_id=person), "fresh")
    assert world.mails() == []
    outcome = sender.published.last()
    assert (outcome.event_type, outcome.reason, outcome.bounced) == (Outcome.REJECTED, "template", False)
    assert "evil" not in outcome.model_dump_json()


async def test_a_person_without_an_address_is_rejected(world: World, sender: Sender) -> None:
    person = uuid4()
    await world.add_person(person, first_name="Bob")
    await sender.due(await world.dispatch(person_id=person))
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.REJECTED,
        "no_address",
    )


# ---- text messages ----


@pytest.fixture
async def texting(world: World) -> AsyncIterator[Texting]:
    person = uuid4()
    await world.add_person(
        person, first_name="Anna", phone="+49 151 12345678", zone=zone_at(range(11, 18), datetime.now(UTC))
    )
    async with TextServer() as server:
        yield Texting(world, server, person)


async def test_a_text_message_is_handed_over_once_with_the_id_that_its_provider_gave_it(
    world: World, sender: Sender, texting: Texting
) -> None:
    number = await texting.number()
    enrollment = await texting.dispatch()
    await sender.due(enrollment, "text")
    await sender.due(enrollment, "text")
    [text] = texting.server.arrived
    assert text.path == f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert text.headers["Authorization"] == encode_basic_auth(ACCOUNT, AUTH_TOKEN)
    assert (text.asked["To"], text.asked["From"], text.asked["Body"]) == (PHONE, "+4930999", "Hi")
    assert text.asked["StatusCallback"].endswith(f"/receipts?dispatch={enrollment}:text")
    delivery = await world.delivery(enrollment, "text")
    kept = ("state", "provider_message_id", "number_id", "recipient", "text", "segments", "channel")
    assert [delivery[name] for name in kept] == ["sent", text.sid, number, PHONE, "Hi", 1, "sms"]
    assert sender.published.kinds() == ["sent", "sent"]


async def test_without_a_number_that_can_send_a_text_message_waits(
    world: World, sender: Sender, texting: Texting
) -> None:
    await texting.number(account_sid=None)
    await sender.due(await texting.dispatch(), "text")
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.DEFERRED,
        "number_missing",
    )


@pytest.mark.parametrize("phone", [None, "030 123456", "+49 (0)0 0000", "+1 800 555 0199", "+44 0800 123"])
async def test_a_phone_that_gets_no_text_messages_is_rejected(
    world: World, sender: Sender, texting: Texting, phone: str | None
) -> None:
    await texting.number()
    person = uuid4()
    await world.add_person(person, phone=phone)
    await sender.due(await texting.dispatch(person_id=person), "text")
    outcome = sender.published.last()
    assert (outcome.event_type, outcome.reason, outcome.bounced) == (Outcome.REJECTED, "no_phone", False)


async def test_a_text_message_of_too_many_segments_is_rejected(
    world: World, sender: Sender, texting: Texting
) -> None:
    await texting.number()
    edits = {"text": {"text": "ü€" + "x" * 153 * 6}}
    await sender.due(await texting.dispatch(edits=edits), "text")
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.REJECTED,
        "too_long",
    )
    assert texting.server.requests == 0


async def test_nobody_is_texted_at_night(world: World, sender: Sender, texting: Texting) -> None:
    await texting.number()
    person, zone = uuid4(), zone_at(range(6), datetime.now(UTC))
    await world.add_person(person, phone=PHONE, zone=zone)
    await sender.due(await texting.dispatch(person_id=person), "text")
    outcome = sender.published.last()
    assert (outcome.event_type, outcome.reason) == (Outcome.DEFERRED, "quiet_hours")
    assert outcome.until is not None
    assert outcome.until.astimezone(ZoneInfo(zone)).hour == 9
    assert texting.server.requests == 0


async def test_a_suppressed_phone_is_not_texted_however_it_is_written(
    world: World, sender: Sender, texting: Texting
) -> None:
    await texting.number()
    await world.suppress("phone", PHONE)
    await sender.due(await texting.dispatch(), "text")
    assert sender.published.last().reason == "suppressed"
    assert texting.server.requests == 0


async def test_a_person_keeps_one_number_and_an_enrollment_even_when_numbers_come(
    world: World, sender: Sender, texting: Texting
) -> None:
    for last in range(3):
        await texting.number(number=f"+493099{last}")
    await texting.number(number="+49304711", owner_id=uuid4())
    first, second = await texting.dispatch(), await texting.dispatch()
    await sender.due(first, "text")
    await sender.due(second, "text")
    chosen = {text.asked["From"] for text in texting.server.arrived}
    assert len(chosen) == 1
    assert chosen != {"+49304711"}
    await world.collection(names.SMS_NUMBERS).update_many({}, {"$set": {"owner_id": uuid4()}})
    await texting.number(number="+49304712")
    await world.enrollment_is(first, stage_id="again")
    version = {"_id": names.version_id(world.sequence, 1)}
    stages = [*SEQUENCE["stages"], {"id": "again", "channel": "sms", "text": "Hi again"}]
    await world.collection(names.SEQUENCE_VERSIONS).update_one(version, {"$set": {"document.stages": stages}})
    await sender.due(first, "again")
    assert {text.asked["From"] for text in texting.server.arrived} == chosen


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "bounced"),
    [
        (Says(400, 21211), Outcome.REJECTED, "recipient_refused", True),
        (Says(400, 21614), Outcome.REJECTED, "recipient_refused", True),
        (Says(400, 21610), Outcome.REJECTED, "opted_out", False),
        (Says(400, 21617), Outcome.REJECTED, "other_refused", False),
        (Says(401, 20003), Outcome.DEFERRED, "login_refused", False),
        (Says(400, 21606), Outcome.DEFERRED, "number_refused", False),
        (Says(302, headers={"Location": "https://x.example"}), Outcome.DEFERRED, "number_refused", False),
        (Says(429, 20429), Outcome.DEFERRED, "provider_busy", False),
        (Says(503, 20503), Outcome.DEFERRED, "provider_busy", False),
        (Says(500, 20500), Outcome.IN_DOUBT, "no_reply", False),
        (Says(504), Outcome.IN_DOUBT, "no_reply", False),
        (Breaks(accepted=False), Outcome.IN_DOUBT, "no_reply", False),
        (Breaks(accepted=True), Outcome.IN_DOUBT, "no_reply", False),
        (IsSilent(), Outcome.IN_DOUBT, "no_reply", False),
    ],
    ids=str,
)  # fmt: skip
async def test_what_twilio_answers(
    world: World,
    settings: SenderSettings,
    texting: Texting,
    answer: Says | Breaks | IsSilent,
    kind: Outcome,
    reason: str,
    bounced: bool,
) -> None:
    await texting.number()
    texting.server.answers.append(answer)
    async with a_sender(world, settings, smtp_total_seconds=1) as sender:
        await sender.due(enrollment := await texting.dispatch(), "text")
        outcome = sender.published.last()
        assert (outcome.event_type, outcome.reason, outcome.bounced) == (kind, reason, bounced)
        await sender.due(await texting.dispatch(), "text")
    assert (sender.published.last().reason == "suppressed") == (bounced or reason == "opted_out")
    delivery = await world.delivery(enrollment, "text")
    assert (delivery["recipient"], delivery["text"]) == (PHONE, "Hi")


async def test_twilio_is_asked_again_when_it_said_so(world: World, sender: Sender, texting: Texting) -> None:
    await texting.number()
    texting.server.answers.append(Says(429, 20429, {"Retry-After": "1234"}))
    before = sender.clock.now()
    await sender.due(await texting.dispatch(), "text")
    until = sender.published.last().until
    assert until is not None
    assert timedelta(seconds=1234) <= until - before < timedelta(seconds=1300)


async def test_a_provider_that_is_not_there_surely_has_nothing(
    world: World, sender: Sender, texting: Texting
) -> None:
    await texting.number(url=f"http://127.0.0.1:{free_port()}")
    await sender.due(await texting.dispatch(), "text")
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.DEFERRED,
        "connection_connect",
    )


async def test_a_webhook_is_asked_again_under_its_key_and_sends_once(
    world: World, sender: Sender, texting: Texting
) -> None:
    await texting.number(provider="webhook", idempotent=True)
    texting.server.answers.append(Breaks(accepted=True))
    enrollment = await texting.dispatch()
    await sender.due(enrollment, "text")
    assert sender.published.kinds() == ["deferred"]
    await world.enrollment_is(enrollment, attempt=2, edits={"text": {"text": "Other words"}})
    await sender.due(enrollment, "text", 2)
    assert sender.published.kinds() == ["deferred", "sent"]
    assert texting.server.requests == 2
    [text] = texting.server.arrived
    assert (text.asked["to"], text.asked["text"], text.asked["id"]) == (PHONE, "Hi", f"{enrollment}:text")
    stamp, given = text.headers["webhook-timestamp"], text.headers["webhook-signature"]
    signed = f"{enrollment}:text.{stamp}.".encode() + text.raw
    assert given == "v1," + b64encode(hmac.digest(AUTH_TOKEN.encode(), signed, "sha256")).decode()
    assert (await world.delivery(enrollment, "text"))["provider_message_id"] == text.sid


async def test_a_stop_committed_while_texts_wait_prevents_them(
    world: World, sender: Sender, texting: Texting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await texting.number()
    enrollment = await texting.dispatch()

    async def stall() -> None:
        sender.clock.frozen_for += 10
        await world.enrollment_is(enrollment, state="stopped", ended=True)

    AtPoint(monkeypatch, "sender.before_data", stall)
    await sender.due(enrollment, "text")
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.WITHDRAWN,
        "not_current",
    )
    assert texting.server.requests == 0


async def noted(sender: Sender, enrollment: UUID, status: str, code: str = "") -> None:
    await sender.command(
        NoteReceipt, enrollment, "text", provider_id="SM0123456789", status=status, error_code=code
    )


@pytest.mark.parametrize(
    ("status", "code", "reasons"),
    [
        ("delivered", "", []),
        ("undelivered", "30003", []),
        ("undelivered", "30006", [StopReason.BOUNCED]),
        ("failed", "30005", [StopReason.BOUNCED]),
        ("failed", "21610", [StopReason.UNSUBSCRIBED]),
    ],
)
async def test_a_receipt_is_kept_and_stops_what_can_not_arrive(
    world: World, sender: Sender, texting: Texting, status: str, code: str, reasons: list[StopReason]
) -> None:
    await texting.number()
    enrollment = await texting.dispatch()
    await sender.due(enrollment, "text")
    for _ in range(2):
        await noted(sender, enrollment, status, code)
    receipt = (await world.delivery(enrollment, "text"))["receipt"]
    assert (receipt["status"], receipt["code"]) == (status, code)
    stops = [m for m in sender.published.messages if isinstance(m, EnrollmentStop)]
    assert list(dict.fromkeys(stop.event_type for stop in stops)) == reasons
    assert len({stop.event_id for stop in stops}) == len(reasons)
    await sender.due(await texting.dispatch(), "text")
    assert (sender.published.last().reason == "suppressed") == bool(reasons)


async def test_a_receipt_settles_what_was_in_doubt(world: World, sender: Sender, texting: Texting) -> None:
    await texting.number()
    texting.server.answers.append(Breaks(accepted=True))
    enrollment = await texting.dispatch()
    await sender.due(enrollment, "text")
    await noted(sender, enrollment, "delivered")
    assert sender.published.kinds() == ["in_doubt", "sent"]
    delivery = await world.delivery(enrollment, "text")
    assert (delivery["state"], delivery["provider_message_id"]) == ("sent", "SM0123456789")


async def test_a_receipt_of_an_unknown_dispatch_is_refused(world: World, sender: Sender) -> None:
    await sender.due(mailed := await world.dispatch())
    for enrollment, stage in ((uuid4(), "text"), (mailed, "hello")):
        command = await sender.command(
            NoteReceipt, enrollment, stage, provider_id="SM0123456789", status="failed", error_code="30006"
        )
        assert (await world.result(command))["status"] == "refused"
    assert not [m for m in sender.published.messages if isinstance(m, EnrollmentStop)]


# ---- what is missing ----


async def test_a_missing_mailbox_or_version_is_put_off_not_failed(world: World, sender: Sender) -> None:
    await sender.due(await world.dispatch(mailbox_id=uuid4()))
    await sender.due(await world.dispatch(sequence_version=2))
    assert [(o.event_type, o.reason) for o in sender.published.outcomes()] == [
        (Outcome.DEFERRED, "mailbox_missing"),
        (Outcome.DEFERRED, "version_missing"),
    ]


# ---- 4., 5. journal, age ----


async def test_a_stall_between_journal_and_data_reads_again_and_sees_the_stop(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await world.dispatch()
    seen: list[str] = []

    async def stall() -> None:
        seen.append((await world.delivery(enrollment))["state"])
        sender.clock.frozen_for += 60
        await world.enrollment_is(enrollment, state="stopped", ended=True)

    AtPoint(monkeypatch, "sender.after_journal", stall)
    before = count(metrics.STEP_BACKS)
    await sender.due(enrollment)
    assert seen == ["transmitting"]
    assert world.mails() == []
    assert (await world.delivery(enrollment))["state"] == "released"
    assert sender.published.kinds() == ["withdrawn"]
    assert count(metrics.STEP_BACKS) == before + 1


async def test_a_stall_without_a_stop_sends_once_on_a_new_read(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await world.dispatch()

    async def stall() -> None:
        sender.clock.frozen_for += 60

    AtPoint(monkeypatch, "sender.before_data", stall, times=2)
    await sender.due(enrollment)
    assert len(world.mails()) == 1
    assert (await world.delivery(enrollment))["state"] == "sent"


async def test_a_process_that_stalls_every_time_gives_the_claim_back(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stall() -> None:
        sender.clock.frozen_for += 60

    AtPoint(monkeypatch, "sender.before_data", stall, times=99)
    await sender.due(await world.dispatch())
    assert world.mails() == []
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.DEFERRED,
        "busy",
    )


async def test_a_read_that_aged_before_the_journal_is_made_again(
    world: World, settings: SenderSettings
) -> None:
    enrollment = await world.dispatch()
    async with a_sender(world, settings) as sender:
        pool = SlowEnvelope(sender, lambda: world.enrollment_is(enrollment, state="stopped", ended=True))
        sender.email._pool = pool
        await sender.due(enrollment)
    assert world.mails() == []
    assert sender.published.kinds() == ["withdrawn"]
    assert "journaled" not in await world.delivery(enrollment)


class SlowEnvelope:
    """A server that takes a minute from MAIL to RCPT, in which something happens."""

    def __init__(self, sender: Sender, meanwhile: Any) -> None:
        self._pool = sender.pool
        self._clock = sender.clock
        self._meanwhile = meanwhile

    def post(self, letter: Letter) -> None:
        self._pool.post(SlowLetter(letter, self.slowly))

    async def slowly(self) -> None:
        self._clock.frozen_for += 60
        await self._meanwhile()


@dataclass(eq=False)
class SlowLetter:
    letter: Letter
    meanwhile: Any

    @property
    def target(self) -> Target:
        return self.letter.target

    @property
    def envelope(self) -> Envelope:
        return self.letter.envelope

    async def before_data(self) -> bool:
        await self.meanwhile()
        return await self.letter.before_data()

    async def ended(self, result: SmtpOutcome | Busy | Exception) -> None:
        await self.letter.ended(result)


async def test_a_recall_between_claim_and_journal_takes_the_claim(
    world: World, sender: Sender, settings: SenderSettings
) -> None:
    enrollment = await world.dispatch()

    async def recall() -> None:
        await sender.command(Recall, enrollment, "hello")

    sender.email._pool = SlowEnvelope(sender, recall)
    await sender.due(enrollment)
    assert world.mails() == []
    assert sender.published.kinds() == ["recalled"]
    assert (await world.delivery(enrollment))["state"] == "released"


# ---- 6., 7. record, publish ----


async def test_a_4xx_is_deferred_and_the_next_attempt_has_the_same_message_id(
    world: World, sender: Sender
) -> None:
    world.smtp.answer(ANNA, Refuse(reply="451 4.7.1 Greylisted"), times=1)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    outcome = sender.published.last()
    assert (outcome.event_type, outcome.code) == (Outcome.DEFERRED, "451 4.7.1")
    assert outcome.until is not None
    assert outcome.until > sender.clock.now()
    message_id = (await world.delivery(enrollment))["message_id"]
    await world.enrollment_is(enrollment, attempt=2)
    await sender.due(enrollment, attempt=2)
    (mail,) = world.mails()
    assert mail["Message-ID"] == message_id
    assert (sender.published.last().event_type, sender.published.last().attempt) == (Outcome.SENT, 2)


async def test_an_older_message_after_a_deferral_is_answered_not_acted_on(
    world: World, sender: Sender
) -> None:
    world.smtp.answer(ANNA, Refuse(reply="451 4.7.1 Greylisted"), times=1)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await sender.due(enrollment)
    assert world.mails() == []
    first, again = sender.published.outcomes()
    assert again.model_copy(update={"recorded_at": first.recorded_at}) == first


async def test_before_its_first_journal_a_message_is_written_anew_and_after_it_never(
    world: World, sender: Sender
) -> None:
    world.smtp.answer(ANNA, Refuse(at="rcpt", reply="450 4.2.0 Later"), times=1)
    world.smtp.answer(ANNA, Refuse(at="data", reply="450 4.2.0 Later"), times=1)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    for attempt, text in ((2, "Second words"), (3, "Third words")):
        await world.enrollment_is(enrollment, attempt=attempt, edits={"hello": {"text": text}})
        await sender.due(enrollment, attempt=attempt)
    assert sender.published.kinds() == ["deferred", "deferred", "sent"]
    (mail,) = world.mails()
    assert mail.get_content().strip() == "Second words"


async def test_a_refused_recipient_bounces_and_is_suppressed_from_then_on(
    world: World, sender: Sender
) -> None:
    world.smtp.answer(ANNA, Refuse(reply="550 5.1.1 No such user"))
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    outcome = sender.published.last()
    assert (outcome.event_type, outcome.bounced, outcome.code) == (Outcome.REJECTED, True, "550 5.1.1")
    await sender.due(await world.dispatch())
    assert sender.published.last().reason == "suppressed"
    suppressions = await world.collection(names.SUPPRESSIONS).find({})
    assert [s["reason"] for s in suppressions] == ["bounced"]
    assert ANNA not in str(suppressions)


async def test_a_bounce_whose_suppression_was_lost_is_suppressed_when_it_is_told_again(
    world: World, sender: Sender
) -> None:
    world.smtp.answer(ANNA, Refuse(reply="550 5.1.1 No such user"))
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await world.collection(names.SUPPRESSIONS).delete_many({})
    await sender.due(enrollment)
    assert len(await world.collection(names.SUPPRESSIONS).find({})) == 1


async def test_a_policy_refusal_defers_and_asks_to_hold_the_mailbox(world: World, sender: Sender) -> None:
    world.smtp.answer(ANNA, Refuse(reply="550 5.7.1 Blocked"))
    await sender.due(await world.dispatch())
    await sender.due(await world.dispatch())
    assert sender.published.kinds() == ["deferred", "deferred"]
    holds = [m for m in sender.published.messages if isinstance(m, Hold)]
    assert {(h.scope.value, h.scope_id) for h in holds} == {("mailbox", world.mailbox)}
    assert len({h.event_id for h in holds}) == 1
    assert await world.collection(names.SUPPRESSIONS).find({}) == []


async def test_a_server_that_is_down_is_a_deferral(world: World, sender: Sender) -> None:
    world.smtp.stop()
    await sender.due(await world.dispatch())
    outcome = sender.published.last()
    assert (outcome.event_type, outcome.reason) == (Outcome.DEFERRED, "connection_connect")


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_connection_cut_after_the_dot_is_in_doubt_and_never_silently_resent(
    world: World, sender: Sender, recorded: bool
) -> None:
    world.smtp.answer(ANNA, Cut(recorded=recorded), times=1)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    assert (await world.delivery(enrollment))["state"] == "in_doubt"
    await world.enrollment_is(enrollment, state="in_doubt")
    await sender.due(enrollment)
    assert sender.published.kinds() == ["in_doubt", "in_doubt"]
    assert len(world.mails()) == int(recorded)


async def test_a_transmission_past_its_deadline_is_found_in_doubt_and_a_late_250_is_recorded(
    world: World, settings: SenderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await world.dispatch()
    async with a_sender(world, settings) as slow, a_sender(world, settings) as other:

        async def asked_again() -> None:
            await other.due(enrollment)
            await world.delivery_is(enrollment, deadline=datetime(2020, 1, 1, tzinfo=UTC))
            await other.due(enrollment)

        AtPoint(monkeypatch, "sender.after_250", asked_again)
        await slow.due(enrollment)
        assert other.published.kinds() == ["in_doubt"]
        assert slow.published.kinds() == ["sent"]
        await other.due(enrollment)
    assert other.published.kinds()[-1] == "sent"
    assert (await world.delivery(enrollment))["state"] == "sent"
    assert len(world.mails()) == 1


async def test_a_transmission_that_nobody_asks_for_is_swept_into_doubt(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug() -> None:
        raise RuntimeError("a bug")

    AtPoint(monkeypatch, "sender.after_250", bug)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await sender.on_stage_due.sweep()
    assert (await world.delivery(enrollment))["state"] == "transmitting"
    await world.delivery_is(enrollment, deadline=datetime(2020, 1, 1, tzinfo=UTC))
    await sender.on_stage_due.sweep()
    assert (await world.delivery(enrollment))["state"] == "in_doubt"
    assert sender.published.kinds() == ["in_doubt"]


async def test_the_policy_resend_sends_identical_bytes_in_a_new_attempt(world: World, sender: Sender) -> None:
    await world.policy("resend")
    world.smtp.answer(ANNA, Cut(recorded=True), times=1)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    outcome = sender.published.last()
    assert (outcome.event_type, outcome.reason) == (Outcome.DEFERRED, "resend_policy")
    await world.enrollment_is(enrollment, attempt=2, edits={"hello": {"text": "other words"}})
    await sender.due(enrollment, attempt=2)
    first, second = world.raw_mails()
    assert first == second


async def test_an_outcome_that_was_not_published_is_told_when_asked_again(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch()
    sender.published.failures = 99
    await sender.due(enrollment)
    assert (await world.delivery(enrollment))["state"] == "sent"
    sender.published.failures = 0
    await sender.due(enrollment)
    assert sender.published.kinds() == ["sent"]
    assert len(world.mails()) == 1


async def test_a_stop_that_crosses_the_transmission_is_counted(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = await world.dispatch()
    stop = lambda: world.enrollment_is(enrollment, state="stopped", ended=True)  # noqa: E731
    AtPoint(monkeypatch, "sender.after_250", stop)
    before = count(metrics.STOP_CROSSED)
    await sender.due(enrollment)
    assert count(metrics.STOP_CROSSED) == before + 1


async def test_a_bug_before_data_gives_the_claim_back_and_after_it_leaves_it_to_the_deadline(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug() -> None:
        raise RuntimeError("a bug")

    AtPoint(monkeypatch, "sender.after_journal", bug)
    first = await world.dispatch()
    await sender.due(first)
    assert ((await world.delivery(first))["state"], sender.published.last().reason) == ("deferred", "error")
    AtPoint(monkeypatch, "sender.after_250", bug)
    second = await world.dispatch()
    await sender.due(second)
    assert (await world.delivery(second))["state"] == "transmitting"
    assert len(world.mails()) == 1


# ---- room ----


async def test_no_connection_in_time_is_a_deferral_and_ends_nobody_elses(
    world: World, sender: Sender
) -> None:
    world.smtp.answer(ANNA, Hang(at="before_data", seconds=3), times=2)
    slow = [await world.dispatch() for _ in range(2)]
    for enrollment in slow:
        await sender.take(enrollment)
    await sender.take(late := await world.dispatch())
    await sender.work.quiet()
    told = {outcome.enrollment_id: outcome for outcome in sender.published.outcomes()}
    assert (told[late].event_type, told[late].reason) == (Outcome.DEFERRED, "busy")
    assert told[late].until is not None
    assert [told[each].event_type for each in slow] == [Outcome.SENT] * 2


async def test_no_room_in_memory_is_a_deferral(world: World, settings: SenderSettings) -> None:
    world.smtp.answer(ANNA, Hang(at="before_data", seconds=3), times=1)
    async with a_sender(world, settings, max_in_flight=1, room_seconds=0.1) as sender:
        await sender.take(await world.dispatch())
        await sender.take(late := await world.dispatch())
        await sender.work.quiet()
    busy = [o for o in sender.published.outcomes() if o.reason == "busy"]
    assert [o.enrollment_id for o in busy] == [late]


async def test_too_fast_for_a_domain_is_a_deferral(world: World, settings: SenderSettings) -> None:
    async with a_sender(world, settings, per_domain_per_minute=1) as sender:
        await sender.due(await world.dispatch())
        await sender.due(await world.dispatch())
    assert [o.reason for o in sender.published.outcomes()][1:] == ["busy"]
    assert sender.published.kinds() == ["sent", "deferred"]


# ---- sending limits ----


async def slot(world: World, enrollment: UUID, seconds: float = 60, attempt: int = 1) -> str:
    """Room for an attempt that is valid for so long; its id."""
    slot_id = names.slot_id(ids.dispatch_id(enrollment, "hello"), attempt)
    now = datetime.now(UTC)
    await world.database.collection(names.SLOTS).insert_one(
        {
            "_id": slot_id,
            "workspace_id": world.workspace,
            "at": now,
            "until": now + timedelta(seconds=seconds),
            "spent_at": None,
        }
    )
    return slot_id


async def limit(world: World, **limits: int) -> None:
    await world.database.collection(names.MAILBOXES).update_one(
        {"_id": world.mailbox}, {"$set": {"limits": limits}}
    )


async def test_no_slot_no_data(world: World, sender: Sender) -> None:
    await limit(world, per_day=10)
    await sender.due(await world.dispatch())
    await slot(world, late := await world.dispatch(), seconds=-1)
    await sender.due(late)
    assert [(o.event_type, o.reason) for o in sender.published.outcomes()] == [("withdrawn", "no_slot")] * 2
    assert world.mails() == []


async def test_a_slot_is_spent_once(world: World, sender: Sender) -> None:
    await limit(world, per_day=10)
    slot_id = await slot(world, enrollment := await world.dispatch())
    await sender.due(enrollment)
    assert sender.published.kinds() == ["sent"]
    spent = await world.database.collection(names.SLOTS).find_one({"_id": slot_id})
    assert spent is not None
    assert spent["spent_at"] is not None


async def test_a_mailbox_keeps_its_gap_whatever_the_slots_say(world: World, sender: Sender) -> None:
    await limit(world, gap_seconds=600)
    first, second = await world.dispatch(), await world.dispatch()
    for each in (first, second):
        await slot(world, each)
        await sender.due(each)
    assert sender.published.kinds() == ["sent", "deferred"]
    assert len(world.mails()) == 1


async def test_a_turn_taken_by_a_clock_that_was_ahead_holds_nobody_up(world: World, sender: Sender) -> None:
    await limit(world, gap_seconds=600)
    ahead = {"_id": world.mailbox, "workspace_id": world.workspace}
    later = datetime.now(UTC) + timedelta(days=400)
    await world.database.collection(names.MAILBOX_STATES).insert_one({**ahead, "last_at": later})
    await slot(world, enrollment := await world.dispatch())
    await sender.due(enrollment)
    assert sender.published.kinds() == ["sent"]


async def until(true: Any) -> None:
    """Wait for what another task does, without a signal of its own."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - the other task has no reason to tell
            await asyncio.sleep(0.01)


# ---- stopping ----


async def test_stopping_gives_back_what_has_not_begun_and_lets_data_end(
    world: World, settings: SenderSettings
) -> None:
    world.smtp.answer(ANNA, Hang(at="after_data", seconds=1), times=2)
    async with a_sender(world, settings, room_seconds=4) as sender:
        begun = [await world.dispatch() for _ in range(2)]
        for enrollment in begun:
            await sender.take(enrollment)
        await until(lambda: sum(c.data_began for c in sender.work._running) == 2)
        waiting = await world.dispatch()
        await sender.take(waiting)
        await sender.drain(10)
        assert sender.work.in_flight == 0
    told = {o.enrollment_id: (o.event_type, o.reason) for o in sender.published.outcomes()}
    assert told[waiting] == (Outcome.DEFERRED, "shutdown")
    assert [told[e] for e in begun] == [(Outcome.SENT, "")] * 2
    assert len(world.mails()) == 2


async def test_what_is_still_in_data_at_the_end_is_marked_in_doubt(
    world: World, settings: SenderSettings
) -> None:
    world.smtp.answer(ANNA, Hang(at="after_data", seconds=4), times=1)
    async with a_sender(world, settings) as sender:
        await sender.take(enrollment := await world.dispatch())
        await until(lambda: any(c.data_began for c in sender.work._running))
        await sender.drain(0)
    assert sender.published.kinds() == ["in_doubt"]
    assert (await world.delivery(enrollment))["state"] == "in_doubt"


async def test_an_answer_that_is_being_recorded_when_the_time_is_over_is_recorded(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answered, recorded = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        answered.set()
        await recorded.wait()

    AtPoint(monkeypatch, "sender.after_250", slowly)
    await sender.take(enrollment := await world.dispatch())
    await answered.wait()
    draining = asyncio.create_task(sender.drain(0))
    await until(lambda: "deliveries cut off" in caplog.messages)
    recorded.set()
    await draining
    assert sender.published.kinds() == ["sent"]
    assert (await world.delivery(enrollment))["state"] == "sent"


async def test_what_is_claimed_while_the_sender_stops_is_given_back_unsent(
    world: World, sender: Sender
) -> None:
    stopping = asyncio.Event()
    running = asyncio.create_task(sender.work.run(stopping, lambda: 10.0))
    stopping.set()
    await sender.take(enrollment := await world.dispatch())
    await sender.work.quiet()
    assert not running.done()
    await sender.work.stop()
    await running
    assert [(o.enrollment_id, o.reason) for o in sender.published.outcomes()] == [(enrollment, "shutdown")]
    assert world.mails() == []


# ---- tasks ----


async def test_a_manual_stage_opens_a_task_ready_to_paste(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch("ring")
    await sender.due(enrollment, "ring")
    delivery = await world.delivery(enrollment, "ring")
    assert (delivery["state"], delivery["channel"], delivery["person_id"]) == (
        "task_open",
        "call",
        world.person,
    )
    task = delivery["task"]
    assert (task["text"], task["assignee_id"]) == ("Ask Anna about Backend Engineer", world.owner)
    assert task["due_at"] == task["skip_at"] == task["opened_at"] + timedelta(days=2)
    await sender.due(enrollment, "ring")
    assert sender.published.kinds() == ["task_opened", "task_opened"]


async def test_a_task_done_is_told_with_its_answer_and_only_once_done(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch("ring")
    await sender.due(enrollment, "ring")
    done = await sender.command(TaskDone, enrollment, "ring", result="talked", responded=True)
    assert (sender.published.last().event_type, sender.published.last().responded) == (
        Outcome.TASK_DONE,
        True,
    )
    assert (await world.result(done))["status"] == "done"
    late = await sender.command(TaskSkip, enrollment, "ring")
    assert (await world.result(late))["reasons"][0]["code"] == "task_not_open"
    assert (await world.delivery(enrollment, "ring"))["state"] == "done"


async def test_a_command_that_comes_again_is_the_same_command(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch("ring")
    await sender.due(enrollment, "ring")
    done = await sender.command(TaskDone, enrollment, "ring")
    await sender.on_commands([received(done)])
    await world.collection(names.COMMAND_RESULTS).delete_many({})
    await sender.on_commands([received(done)])
    assert (await world.result(done))["status"] == "done"
    ended = [o for o in sender.published.outcomes() if o.event_type is Outcome.TASK_DONE]
    assert len({o.event_id for o in ended}) == 1


async def test_a_task_is_skipped_snoozed_and_reassigned(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch("ring")
    await sender.due(enrollment, "ring")
    until_then, colleague = sender.clock.now() + timedelta(days=1), uuid4()
    await sender.command(TaskSnooze, enrollment, "ring", until=until_then)
    await sender.command(TaskReassign, enrollment, "ring", assignee_id=colleague)
    task = (await world.delivery(enrollment, "ring"))["task"]
    assert task["assignee_id"] == colleague
    assert abs(task["snoozed_until"] - until_then) < timedelta(milliseconds=2)
    await sender.command(TaskSkip, enrollment, "ring", note="moved")
    assert sender.published.last().event_type is Outcome.TASK_SKIPPED


async def test_a_task_that_nobody_did_in_time_is_skipped_where_the_sequence_says_so(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch("ring")
    await sender.due(enrollment, "ring")
    await sender.on_commands.skip_overdue()
    assert (await world.delivery(enrollment, "ring"))["state"] == "task_open"
    past = sender.clock.now() - timedelta(seconds=1)
    await world.collection(names.DELIVERIES).update_one(
        {"_id": ids.dispatch_id(enrollment, "ring")}, {"$set": {"task.skip_at": past}}
    )
    await sender.on_commands.skip_overdue()
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.TASK_SKIPPED,
        "overdue",
    )


async def test_an_open_task_vanishes_when_it_is_recalled(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch("ring")
    await sender.due(enrollment, "ring")
    for _ in range(2):
        await sender.command(Recall, enrollment, "ring")
    assert (await world.delivery(enrollment, "ring"))["state"] == "released"
    assert sender.published.kinds() == ["task_opened", "recalled", "recalled"]


@pytest.mark.parametrize("sent", [True, False])
async def test_a_recall_is_answered_when_too_late_and_when_unknown(
    world: World, sender: Sender, sent: bool
) -> None:
    enrollment = await world.dispatch()
    if sent:
        await sender.due(enrollment)
    await sender.command(Recall, enrollment, "hello")
    assert sender.published.last().event_type is Outcome.RECALLED
    if sent:
        assert (await world.delivery(enrollment))["state"] == "sent"


async def test_a_message_that_comes_after_the_recall_of_an_unknown_dispatch_sends_nothing(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch(state="stopped", ended=True)
    await sender.command(Recall, enrollment, "hello")
    await sender.due(enrollment)
    assert world.mails() == []
    assert sender.published.kinds() == ["recalled", "withdrawn"]


# ---- decisions ----


async def in_doubt(world: World, sender: Sender) -> UUID:
    world.smtp.answer(ANNA, Cut(recorded=True), times=1)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    assert (await world.delivery(enrollment))["state"] == "in_doubt"
    await world.enrollment_is(enrollment, state="in_doubt")
    return enrollment


async def decide(sender: Sender, enrollment: UUID, decision: Decision) -> Any:
    return await sender.command(DecideInDoubt, enrollment, "hello", decision=decision)


async def test_a_person_decides_to_resend_and_identical_bytes_go_out(world: World, sender: Sender) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.RESEND)
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.DEFERRED,
        "resend",
    )
    await world.enrollment_is(enrollment, state="dispatched", attempt=2)
    await sender.due(enrollment, attempt=2)
    first, second = world.raw_mails()
    assert first == second
    assert sender.published.last().event_type is Outcome.SENT


async def test_a_resend_is_not_sent_if_a_stop_came_first(world: World, sender: Sender) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.RESEND)
    await world.enrollment_is(enrollment, state="stopped", ended=True, attempt=2)
    await sender.due(enrollment, attempt=2)
    assert len(world.mails()) == 1
    assert sender.published.last().event_type is Outcome.WITHDRAWN


async def test_a_resend_is_withheld_from_the_suppressed_recipient_in_its_bytes(
    world: World, sender: Sender
) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.RESEND)
    await world.collection(names.PEOPLE).update_one(
        {"_id": world.person}, {"$set": {"prospect.email": "new@elsewhere.example"}}
    )
    await world.suppress("address", ANNA)
    await world.enrollment_is(enrollment, state="dispatched", attempt=2)
    await sender.due(enrollment, attempt=2)
    assert len(world.mails()) == 1
    assert sender.published.last().reason == "suppressed"


async def test_marked_as_sent_counts_from_the_transmission(world: World, sender: Sender) -> None:
    enrollment = await in_doubt(world, sender)
    command = await decide(sender, enrollment, Decision.MARK_SENT)
    delivery, outcome = await world.delivery(enrollment), sender.published.last()
    assert (outcome.event_type, outcome.reason) == (Outcome.SENT, "mark_sent")
    assert outcome.occurred_at == delivery["transmitted_at"] < delivery["settled_at"]
    assert (await world.result(command))["status"] == "done"


async def test_skipping_the_stage_in_doubt_goes_on_without_it(world: World, sender: Sender) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.SKIP_STAGE)
    assert (sender.published.last().event_type, sender.published.last().reason) == (
        Outcome.TASK_SKIPPED,
        "skip_stage",
    )


async def test_a_stop_decided_in_doubt_is_published_until_nobody_asks_any_more(
    world: World, sender: Sender
) -> None:
    enrollment = await in_doubt(world, sender)
    await decide(sender, enrollment, Decision.STOP)
    await sender.due(enrollment)
    stops = [m for m in sender.published.messages if isinstance(m, EnrollmentStop)]
    assert len(stops) == 2
    assert {(s.event_type.value, s.enrollment_id) for s in stops} == {("requested", enrollment)}
    assert len({s.event_id for s in stops}) == 1


@pytest.mark.parametrize("decision", list(Decision))
async def test_a_decision_about_what_is_not_in_doubt_is_refused(
    world: World, sender: Sender, decision: Decision
) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    command = await decide(sender, enrollment, decision)
    assert (await world.result(command))["reasons"][0]["code"] == "not_in_doubt"
    unknown = await decide(sender, uuid4(), decision)
    assert (await world.result(unknown))["reasons"][0]["code"] == "unknown_dispatch"
    assert sender.published.kinds() == ["sent"]


# ---- the store's guards ----


async def test_every_write_of_a_claim_that_was_taken_over_finds_no_match(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch()
    due = due_of(world, enrollment)
    (mine,) = [Claim(due, f"one:{dispatch}") for dispatch in await sender.store.claim_new([due], "one")]
    await world.delivery_is(enrollment, token="two")
    now = sender.clock.now()
    assert await sender.store.journal([Draft(mine, {})], now) == [False]
    assert await sender.store.step_back([mine]) == [False]
    assert await sender.store.body(mine) is None
    assert await sender.store.settle([(mine, sender.steps.busy())]) == [False]


async def test_a_batch_tells_exactly_who_journaled(world: World, sender: Sender) -> None:
    dues = [due_of(world, await world.dispatch()) for _ in range(6)]
    await sender.store.claim_new(dues, "batch")
    claims = [Claim(due, f"batch:{due.dispatch_id}") for due in dues]
    lost = {claims[1].due.dispatch_id, claims[4].due.dispatch_id}
    await world.collection(names.DELIVERIES).update_many(
        {"_id": {"$in": list(lost)}}, {"$set": {"token": "x"}}
    )
    drafts = [Draft(c, {"recipient": c.token}, body=c.token.encode()) for c in claims]
    won = await sender.store.journal(drafts, sender.clock.now())
    assert won == [c.due.dispatch_id not in lost for c in claims]
    assert await sender.store.journal(drafts, sender.clock.now()) == won
    found = await world.collection(names.DELIVERIES).find({"state": "transmitting"})
    assert all(d["recipient"] == d["token"] == d["body"].decode() for d in found)
    assert len(found) == len(claims) - len(lost)
