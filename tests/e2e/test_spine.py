"""The whole path on real Kafka, MongoDB and SMTP: from an enroll to a mail, from an answer to a stop."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import segue_contracts
from chassis.clock import Clock
from stack import prospects
from stack.client import Client, eventually
from stack.mail_script import Refuse
from stack.sequences import TWO_MAILS
from stack.smtp import SmtpServer
from stack.system import System

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]

NUDGE = TWO_MAILS.replace("2 days", "10 minutes")
CALL = """
name: Call first
mailbox: ana@ourco.example
stages:
  - id: ring
    channel: call
    text: "Ask {{first_name|them}} about the job"
  - id: thanks
    channel: email
    after: 1 minutes
    subject: Thanks
    text: "Good to talk to you."
"""
LATER = NUDGE.replace("after: 10 minutes", "after: 30 days")


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    # A crowd through one mailbox would otherwise wait a minute for room, as it should in production.
    return {"SEGUE_SMTP_PER_MAILBOX": "10", "SEGUE_ROOM_SECONDS": "12"}


async def test_two_mails_go_out_in_one_thread_and_the_sequence_finishes(
    client: Client, mailbox: dict[str, Any], mails: Mails
) -> None:
    enrollment = await client.enroll(await client.publish(NUDGE), "priya")
    await client.reached(enrollment, "finished")
    hello, nudge = await mails("priya@there.example", 2)
    assert hello["Subject"] == "Priya: a job"
    assert nudge["Subject"] == "Re: Priya: a job"
    assert nudge["In-Reply-To"] == hello["Message-ID"]


async def test_a_reply_stops_the_sequence_before_the_next_stage(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    enrollment = await client.enroll(await client.publish(LATER), "noor")
    (hello,) = await mails("noor@there.example", 1)
    answer = prospects.reply(hello, "Yes, let us talk on Monday!", at=clock.now())
    await client.receive(mailbox, answer)
    stopped = await client.reached(enrollment, "stopped")
    assert stopped["stop"]["reason"] == "replied"


async def test_a_bounce_at_the_server_stops_and_suppresses(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    mail.answer("gone@there.example", Refuse(at="rcpt", reply="550 5.1.1 no such user"))
    sequence = await client.publish(NUDGE)
    stopped = await client.reached(await client.enroll(sequence, "gone"), "stopped")
    assert stopped["stop"]["reason"] == "bounced"
    reasons = await client.refusal(sequence, "other-id", email="gone@there.example")
    assert [reason["code"] for reason in reasons] == ["suppressed"]


async def test_a_task_opens_and_the_sequence_goes_on_when_it_is_done(
    client: Client, mailbox: dict[str, Any], mails: Mails
) -> None:
    enrollment = await client.enroll(await client.publish(CALL), "tom")
    await client.reached(enrollment, "awaiting_task")
    (task,) = (await client.get("/v1/tasks", state="open"))["items"]
    await client.post(f"/v1/tasks/{task['dispatch_id']}/done", {"result": "reached"})
    await client.reached(enrollment, "finished")
    assert len(await mails("tom@there.example", 1)) == 1


async def test_a_stop_takes_the_open_task_away(client: Client, mailbox: dict[str, Any]) -> None:
    enrollment = await client.enroll(await client.publish(CALL), "uma")
    await client.reached(enrollment, "awaiting_task")
    await client.post(f"/v1/enrollments/{enrollment}/stop")
    await client.reached(enrollment, "stopped")
    await eventually(lambda: client.get("/v1/tasks", state="open"), until=lambda t: not t["items"])


async def test_a_paused_sequence_sends_nothing_until_it_is_resumed(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer, mails: Mails
) -> None:
    sequence = await client.publish(NUDGE)
    paused = await client.post(f"/v1/sequences/{sequence}/pause")
    await eventually(lambda: client.get(paused["status_url"]), until=lambda c: c["state"] == "done")
    enrollment = await client.enroll(sequence, "lena")

    async def look() -> dict[str, Any]:
        return await client.get(f"/v1/enrollments/{enrollment}")

    await client.reached(enrollment, "scheduled")
    await eventually(look, until=lambda e: "held" in [h["type"] for h in e["history"]])
    assert mail.messages("lena@there.example") == []
    await client.post(f"/v1/sequences/{sequence}/resume")
    await client.reached(enrollment, "finished")
    assert len(await mails("lena@there.example", 2)) == 2


async def test_a_missing_token_refuses_the_enroll_and_names_it(
    client: Client, mailbox: dict[str, Any]
) -> None:
    sequence = await client.publish(NUDGE.replace("{{first_name|there}}", "{{first_name}}"))
    reasons = await client.refusal(sequence, "anon", first_name=None)
    assert {reason["code"] for reason in reasons} == {"token_missing"}
    assert "first_name" in reasons[0]["detail"]


async def test_the_producer_in_the_contracts_readme_enrolls(
    client: Client, segue: System, mailbox: dict[str, Any]
) -> None:
    sequence = await client.publish(LATER)
    readme = (Path(segue_contracts.__file__).parents[1] / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    environment = {
        **segue.environment,
        "KAFKA": segue.environment["SEGUE_KAFKA_BOOTSTRAP_SERVERS"],
        "PREFIX": segue.environment["SEGUE_KAFKA_TOPIC_PREFIX"],
        "WORKSPACE": str((await client.get("/v1/me"))["workspace"]["id"]),
        "SEQUENCE": sequence,
    }
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await done.communicate()
    assert done.returncode == 0
    enrollment = await client.reached(told.decode().strip(), "scheduled", "dispatched")
    assert enrollment["external_id"] == "cand-81"


async def test_a_thousand_people_get_one_mail_each(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    sequence = await client.publish(LATER)
    rows = "\n".join(f"bulk{n},bulk{n}@crowd.example,P{n}" for n in range(1000))
    answer = await client.post_text(
        f"/v1/sequences/{sequence}/enrollments", f"external_id,email,first_name\n{rows}\n", "text/csv"
    )
    assert len(answer["accepted"]) == 1000

    async def sent() -> list[str]:
        return [r for m in mail.messages() for r in m.recipients if r.endswith("@crowd.example")]

    recipients = await eventually(sent, until=lambda found: len(found) >= 1000, seconds=90)
    assert len(recipients) == len(set(recipients)) == 1000
