"""What follows an answer beyond the stop, on real services: late ones, corrections, mails by hand."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import email.utils
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer

from chassis.clock import Clock
from chassis.inbound import Inbound, inbound_document
from chassis.settings import ServiceSettings
from chassis.store import Database, connect
from segue_contracts.codec import decode
from segue_contracts.events import AnswerNotification
from segue_contracts.topics import USER_NOTIFICATIONS
from stack import prospects
from stack.client import Client, eventually
from stack.sequences import TWO_MAILS
from stack.system import System

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
ONE_STAGE = """
name: One mail
mailbox: ana@ourco.example
stages:
  - id: hello
    channel: email
    subject: "{{first_name|Hi}}: a job"
    text: "Hi {{first_name|there}}, four days a week."
"""
TWO_STAGES = TWO_MAILS.replace("2 days", "3 days")
TALK = "Yes, let us talk on Monday!"


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """A day in four real seconds: three days leave a copy the time that it needs on a busy machine."""
    return 21_600.0


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    return {
        "SEGUE_SWEEP_SECONDS": "0.5",
        "SEGUE_MANUAL_MAIL_HOLD_DAYS": "5",
        "SEGUE_COMMAND_PATIENCE_SECONDS": "1",
        "SEGUE_INBOUND_PATIENCE_SECONDS": "0.5",
    }


@pytest.fixture
async def database(segue: System) -> AsyncIterator[Database]:
    told = {name.removeprefix("SEGUE_").lower(): value for name, value in segue.environment.items()}
    names = ("kafka_bootstrap_servers", "mongodb_uri", "mongodb_database")
    async with connect(ServiceSettings(**{name: told[name] for name in names})) as database:  # type: ignore[arg-type]
        yield database


async def answer_about(client: Client, enrollment: str, **where: str) -> dict[str, Any]:
    """The newest answer about an enrollment, once all that it sets in motion is done."""

    async def look() -> dict[str, Any]:
        items = (await client.get("/v1/answers", **where))["items"]
        about = [each for each in items if enrollment in each["enrollment_ids"]]
        return about[0] if about else {"settled": False}

    return await eventually(look, until=lambda each: bool(each["settled"]))


async def correct(client: Client, answer: Mapping[str, Any], **said: str) -> None:
    told = await client.post(f"/v1/answers/{answer['id']}/correction", said)
    path = f"/v1/commands/{told['command_id']}"
    await eventually(lambda: client.get(path), until=lambda command: command["state"] == "done")


async def notifications(segue: System, enrollment: str, count: int) -> list[AnswerNotification]:
    """What owners were told of an enrollment, once it is so much."""
    environment = segue.environment
    consumer = AIOKafkaConsumer(
        environment["SEGUE_KAFKA_TOPIC_PREFIX"] + USER_NOTIFICATIONS.name,
        bootstrap_servers=environment["SEGUE_KAFKA_BOOTSTRAP_SERVERS"],
        auto_offset_reset="earliest",
    )
    await consumer.start()
    found: list[AnswerNotification] = []
    try:
        while len(found) < count:
            record = await consumer.getone()
            message = decode(USER_NOTIFICATIONS.name, record.headers, record.value)
            if UUID(enrollment) in getattr(message, "enrollment_ids", ()):
                found.append(message)
    finally:
        await consumer.stop()
    return found


async def test_a_reply_to_the_last_mail_counts_as_replied_until_somebody_says_that_it_was_none(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock, segue: System
) -> None:
    sequence = await client.publish(ONE_STAGE)
    nora = await client.enroll(sequence, "nora")
    (hello,) = await mails("nora@there.example", 1)
    await client.reached(nora, "finished")
    await client.receive(mailbox, prospects.reply(hello, TALK, at=clock.now()))
    answer = await answer_about(client, nora, state="open", kind="reply", person="nora")
    assert (answer["match"], TALK in answer["text"]) == ("thread", True)
    late = await client.enrollment(nora)
    assert (late["state"], late["stop"]["reason"]) == ("finished", "replied")
    assert [chapter["type"] for chapter in late["history"]][-2:] == ["finished", "corrected"]
    assert (await client.get(f"/v1/sequences/{sequence}/stats"))["replied"] == 1
    (told,) = await notifications(segue, nora, 1)
    assert (told.event_type, str(told.inbound_id)) == ("reply", answer["id"])

    await correct(client, answer, kind="other")
    back = await eventually(lambda: client.enrollment(nora), until=lambda e: e["stop"] is None)
    assert back["state"] == "finished"
    assert (await client.get(f"/v1/sequences/{sequence}/stats"))["replied"] == 0
    reviewed = await client.get(f"/v1/answers/{answer['id']}")
    assert (reviewed["state"], reviewed["kind"], reviewed["judged_kind"]) == ("reviewed", "other", "reply")
    assert (await client.get("/v1/answers", state="open", person="nora"))["items"] == []


async def test_an_absence_that_was_a_reply_stops_and_a_reply_that_was_an_absence_can_be_enrolled_anew(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    sequence = await client.publish(TWO_STAGES)
    theo = await client.enroll(sequence, "theo")
    (hello,) = await mails("theo@there.example", 1)
    note = prospects.out_of_office(hello, (clock.now() + timedelta(days=60)).date(), at=clock.now())
    await client.receive(mailbox, note)
    absence = await answer_about(client, theo, kind="auto_reply")
    assert absence["held"]
    await correct(client, absence, kind="reply", intent="not_now")
    stopped = await client.reached(theo, "stopped")
    assert stopped["stop"]["reason"] == "replied"
    again = await answer_about(client, theo, intent="not_now")

    await correct(client, again, kind="auto_reply")
    mistaken = await eventually(
        lambda: client.enrollment(theo), until=lambda e: e["stop"]["reason"] != "replied"
    )
    assert (mistaken["state"], mistaken["stop"]["reason"]) == ("stopped", "mistaken")
    stats = await client.get(f"/v1/sequences/{sequence}/stats")
    assert (stats["replied"], stats["stop_reasons"]) == (0, {"mistaken": 1})
    prospect = {"external_id": "theo", "email": "theo@there.example", "first_name": "Theo"}
    anew = await client.post(f"/v1/sequences/{sequence}/enrollments", {"prospect": prospect, "generation": 2})
    await client.reached(anew["accepted"][0]["enrollment_id"], "scheduled", "dispatched")


async def test_a_mail_that_the_recruiter_writes_by_hand_holds_the_sequence(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    hugo = await client.enroll(await client.publish(TWO_STAGES), "hugo")
    await mails("hugo@there.example", 1)
    by_hand = EmailMessage()
    by_hand["From"], by_hand["To"], by_hand["Subject"] = mailbox["address"], "hugo@there.example", "Lunch?"
    by_hand["Date"], by_hand["Message-ID"] = (
        email.utils.format_datetime(clock.now()),
        email.utils.make_msgid(),
    )
    by_hand.set_content("Hi Hugo, shall we have lunch instead?")
    await client.receive(mailbox, by_hand.as_bytes())
    answer = await answer_about(client, hugo, kind="manual_mail")
    assert (answer["match"], answer["held"][0]["reason"]) == ("manual_mail", "manual_mail")
    _, nudge = await mails("hugo@there.example", 2)
    assert email.utils.parsedate_to_datetime(nudge["Date"]).isoformat() >= answer["held"][0]["until"][:19]
    told = [(c["type"], c.get("reason")) for c in (await client.enrollment(hugo))["history"]]
    assert ("held", "manual_mail") in told


async def test_the_next_mail_answers_the_one_that_the_provider_sent_under_its_own_id(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock, database: Database
) -> None:
    iris = await client.enroll(await client.publish(TWO_STAGES), "iris")
    (hello,) = await mails("iris@there.example", 1)
    copy, provider_id = hello.as_bytes(), "<rewritten.by@provider.example>"
    copy = copy.replace(b"Message-ID: " + hello["Message-ID"].encode(), f"Message-ID: {provider_id}".encode())
    assert provider_id.encode() in copy
    workspace = await database.collection("mailboxes").find_one({"_id": UUID(mailbox["id"])})
    assert workspace is not None
    stored = inbound_document(
        UUID(mailbox["id"]), workspace["workspace_id"], copy, clock.now(), source="imap"
    )
    await Inbound(database).add({**stored, "folder": "sent"}, copy)
    _, nudge = await mails("iris@there.example", 2)
    assert nudge["In-Reply-To"] == provider_id
    answer = prospects.reply(hello, TALK, at=clock.now())
    to_provider_id = answer.replace(hello["Message-ID"].encode(), provider_id.encode())
    await client.receive(mailbox, to_provider_id)
    replied = await eventually(lambda: client.enrollment(iris), until=lambda e: e["stop"] is not None)
    assert replied["stop"]["reason"] == "replied"
