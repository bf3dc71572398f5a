"""What an answer does at each stage of a sequence, on real services: the stop that people rely on."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from chassis.clock import Clock
from stack import prospects
from stack.client import Client, eventually
from stack.mail_script import Hang
from stack.sequences import TWO_MAILS
from stack.smtp import SmtpServer

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
THREE_STAGES = (
    TWO_MAILS
    + """  - id: ring
    channel: call
    after: 2 days
    text: "Ask {{first_name|them}} about the job"
"""
)
AT_ONCE = THREE_STAGES.replace("2 days", "10 minutes")
TALK = "Yes, let us talk on Monday!"


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """A day in four real seconds: two days leave an answer the time that it needs on a busy machine."""
    return 21_600.0


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    # One connection, and patience enough for a mail to wait its turn there.
    return {"SEGUE_SWEEP_SECONDS": "0.5", "SEGUE_SMTP_PER_MAILBOX": "1", "SEGUE_ROOM_SECONDS": "14"}


async def open_tasks(client: Client) -> list[str]:
    tasks = (await client.get("/v1/tasks", state="open"))["items"]
    return [task["enrollment_id"] for task in tasks]


async def test_after_a_reply_to_the_first_mail_nothing_more_comes_while_a_silent_person_gets_the_next(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    sequence = await client.publish(THREE_STAGES)
    noor, silent = await client.enroll(sequence, "noor"), await client.enroll(sequence, "silent1")
    (hello,) = await mails("noor@there.example", 1)
    await client.receive(mailbox, prospects.reply(hello, TALK, at=clock.now()))
    stopped = await client.reached(noor, "stopped")
    assert stopped["stop"]["reason"] == "replied"
    await mails("silent1@there.example", 2)
    assert len(await mails("noor@there.example", 1)) == 1
    assert (await client.enrollment(silent))["state"] != "stopped"


async def test_after_a_reply_to_the_follow_up_no_task_opens_while_a_silent_person_gets_one(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    sequence = await client.publish(THREE_STAGES.replace("2 days", "10 minutes", 1))
    omar, silent = await client.enroll(sequence, "omar"), await client.enroll(sequence, "silent2")
    hello, nudge = await mails("omar@there.example", 2)
    assert nudge["In-Reply-To"] == hello["Message-ID"]
    await client.receive(mailbox, prospects.reply(nudge, TALK, at=clock.now()))
    stopped = await client.reached(omar, "stopped")
    assert stopped["stop"]["reason"] == "replied"
    await client.reached(silent, "awaiting_task")
    assert await open_tasks(client) == [silent]


async def test_a_reply_while_the_task_is_open_takes_the_task_away(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    lena = await client.enroll(await client.publish(AT_ONCE), "lena")
    await client.reached(lena, "awaiting_task")
    assert await eventually(lambda: open_tasks(client), until=bool) == [lena]
    _, nudge = await mails("lena@there.example", 2)
    await client.receive(mailbox, prospects.reply(nudge, TALK, at=clock.now()))
    stopped = await client.reached(lena, "stopped")
    assert stopped["stop"]["reason"] == "replied"
    await eventually(lambda: open_tasks(client), until=lambda tasks: not tasks)


async def test_a_late_reply_to_the_first_mail_from_another_address_stops_whatever_stage_was_reached(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    ivan = await client.enroll(await client.publish(AT_ONCE), "ivan")
    await client.reached(ivan, "awaiting_task")
    hello, _ = await mails("ivan@there.example", 2)
    answer = prospects.reply(hello, TALK, at=clock.now())
    assistant = answer.replace(b"<ivan@there.example>", b"<assistant@elsewhere.example>", 1)
    assert assistant != answer
    await client.receive(mailbox, assistant)
    stopped = await client.reached(ivan, "stopped")
    assert stopped["stop"]["reason"] == "replied"
    await eventually(lambda: open_tasks(client), until=lambda tasks: not tasks)


async def test_an_answer_while_the_next_mail_waits_for_its_turn_at_the_server_prevents_it(
    client: Client, mailbox: dict[str, Any], mails: Mails, mail: SmtpServer, clock: Clock
) -> None:
    mail.answer("slow@there.example", Hang(at="before_data", seconds=10), times=1)
    sequence = await client.publish(THREE_STAGES.replace("2 days", "1 days"))
    ruth = await client.enroll(sequence, "ruth")
    (hello,) = await mails("ruth@there.example", 1)
    await client.enroll(sequence, "slow")

    async def nudge() -> str:
        deliveries = (await client.enrollment(ruth))["deliveries"]
        return next((d["state"] for d in deliveries if d["stage_id"] == "nudge"), "none yet")

    await eventually(nudge, until=lambda state: state == "claimed")
    await client.receive(mailbox, prospects.reply(hello, TALK, at=clock.now()))
    await client.reached(ruth, "stopped")
    await eventually(nudge, until=lambda state: state == "released")
    await client.enroll(sequence, "next")
    await mails("next@there.example", 1)  # through the only connection, so ruth's turn has passed
    assert len(await mails("slow@there.example", 1)) == 1
    assert len(await mails("ruth@there.example", 1)) == 1


async def test_an_out_of_office_holds_the_sequence_until_the_person_is_back(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    tara = await client.enroll(await client.publish(THREE_STAGES), "tara")
    (hello,) = await mails("tara@there.example", 1)
    back = (clock.now() + timedelta(days=3)).date()
    await client.receive(mailbox, prospects.out_of_office(hello, back, at=clock.now()))
    held = await eventually(lambda: client.enrollment(tara), until=lambda e: e["held"])
    assert held["hold"]["scope"] == "person"
    over = datetime.fromisoformat(held["hold"]["until"])
    assert over.date() == back + timedelta(days=1)
    _, nudge = await mails("tara@there.example", 2)
    assert parsedate_to_datetime(nudge["Date"]) >= over
    chapters = [chapter["type"] for chapter in (await client.enrollment(tara))["history"]]
    assert chapters.index("held") < chapters.index("lifted") < len(chapters)
    assert "stopped" not in chapters


async def test_a_bounce_that_comes_later_stops_as_bounced_and_suppresses_the_address(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    sequence = await client.publish(THREE_STAGES)
    gone = await client.enroll(sequence, "gone")
    (hello,) = await mails("gone@there.example", 1)
    await client.receive(mailbox, prospects.bounce(hello, at=clock.now()))
    stopped = await client.reached(gone, "stopped")
    assert (stopped["stop"]["reason"], stopped["stop"]["reason_code"]) == ("bounced", "5.1.1")
    reasons = await client.refusal(sequence, "other-id", email="gone@there.example")
    assert [reason["code"] for reason in reasons] == ["suppressed"]


async def test_an_opt_out_stops_as_unsubscribed_and_the_address_is_never_enrolled_again(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    sequence = await client.publish(THREE_STAGES)
    paul = await client.enroll(sequence, "paul")
    (hello,) = await mails("paul@there.example", 1)
    await client.receive(mailbox, prospects.opt_out(hello, at=clock.now()))
    stopped = await client.reached(paul, "stopped")
    assert stopped["stop"]["reason"] == "unsubscribed"
    reasons = await client.refusal(sequence, "paul-again", email="Paul@there.example")
    assert [reason["code"] for reason in reasons] == ["suppressed"]
