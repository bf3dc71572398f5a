"""The whole path on real Kafka, MongoDB and SMTP: from an enroll to a mail, from an answer to a stop."""

import asyncio
import email.policy
import re
import sys
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import segue_contracts
from stack.brokers import Brokers
from stack.client import Client, Refused, eventually
from stack.mail_script import Refuse
from stack.smtp import SmtpServer
from stack.system import System, system

pytestmark = pytest.mark.stack

SPEED = 600.0
"""Ten business minutes in a real second."""
ADDRESS = "ana@ourco.example"
NUDGE = """
name: Backend engineers
mailbox: ana@ourco.example
stages:
  - id: hello
    channel: email
    subject: "{{first_name|Hi}}: a job"
    text: "Hi {{first_name|there}}, four days a week."
  - id: nudge
    channel: email
    after: 10 minutes
    text: "Hi {{first_name|there}}, did you see this?"
"""
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
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="module")
def segue(tmp_path_factory: pytest.TempPathFactory, brokers: Brokers) -> Iterator[System]:
    # A crowd through one mailbox would otherwise wait a minute for room, as it should in production.
    room = {"SEGUE_SMTP_PER_MAILBOX": "10", "SEGUE_ROOM_SECONDS": "12"}
    with system(tmp_path_factory.mktemp("segue"), brokers, clock_speed=SPEED, settings=room) as running:
        yield running


@pytest.fixture
async def client(segue: System, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    access = segue.bootstrap(request.node.name, ADDRESS)
    async with Client(segue.url, access) as client:
        yield client


@pytest.fixture
async def mailbox(client: Client, mail: SmtpServer) -> dict[str, Any]:
    smtp = {"host": mail.host, "port": mail.port, "security": "none"}
    return await client.post("/v1/mailboxes", {"address": ADDRESS, "display_name": "Ana", "smtp": smtp})


async def publish(client: Client, document: str) -> str:
    sequence = await client.post_text("/v1/sequences", document, "application/yaml")
    return str(sequence["id"])


async def enroll(client: Client, sequence: str, who: str, **more: Any) -> str:
    prospect = {"external_id": who, "email": f"{who}@there.example", "first_name": who.title(), **more}
    answer = await client.post(f"/v1/sequences/{sequence}/enrollments", {"prospect": prospect})
    return str(answer["accepted"][0]["enrollment_id"])


async def state_is(client: Client, enrollment: str, *states: str) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        try:
            return await client.get(f"/v1/enrollments/{enrollment}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return {"state": "not there yet"}

    return await eventually(look, until=lambda e: e["state"] in states)


async def mails(mail: SmtpServer, who: str, count: int) -> list[EmailMessage]:
    recipient = f"{who}@there.example"
    await mail.arrived(count, recipient, seconds=30)
    return [
        email.message_from_bytes(mail.content(m), policy=email.policy.default)
        for m in mail.messages(recipient)
    ]


def reply_to(sent: EmailMessage, who: str, text: str) -> bytes:
    answer = EmailMessage(policy=email.policy.SMTP.clone(max_line_length=998))
    answer["From"] = f"{who}@there.example"
    answer["To"] = ADDRESS
    answer["Subject"] = f"Re: {sent['Subject']}"
    answer["Message-ID"] = f"<{who}-answer@there.example>"
    answer["In-Reply-To"] = sent["Message-ID"]
    answer["Date"] = sent["Date"]
    answer.set_content(text)
    return answer.as_bytes()


async def test_two_mails_go_out_in_one_thread_and_the_sequence_finishes(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    enrollment = await enroll(client, await publish(client, NUDGE), "priya")
    await state_is(client, enrollment, "finished")
    hello, nudge = await mails(mail, "priya", 2)
    assert hello["Subject"] == "Priya: a job"
    assert nudge["Subject"] == "Re: Priya: a job"
    assert nudge["In-Reply-To"] == hello["Message-ID"]


async def test_a_reply_stops_the_sequence_before_the_next_stage(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    enrollment = await enroll(client, await publish(client, LATER), "noor")
    (hello,) = await mails(mail, "noor", 1)
    await client.receive(mailbox, reply_to(hello, "noor", "Yes, let us talk on Monday!"))
    stopped = await state_is(client, enrollment, "stopped")
    assert stopped["stop"]["reason"] == "replied"


async def test_a_bounce_at_the_server_stops_and_suppresses(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    mail.answer("gone@there.example", Refuse(at="rcpt", reply="550 5.1.1 no such user"))
    sequence = await publish(client, NUDGE)
    stopped = await state_is(client, await enroll(client, sequence, "gone"), "stopped")
    assert stopped["stop"]["reason"] == "bounced"
    answer = await client.post(
        f"/v1/sequences/{sequence}/enrollments",
        {"prospect": {"external_id": "other-id", "email": "gone@there.example"}},
    )
    status = await eventually(
        lambda: client.get(f"/v1/commands/{answer['accepted'][0]['command_id']}"),
        until=lambda c: c["state"] == "refused",
    )
    assert [r["code"] for r in status["reasons"]] == ["suppressed"]


async def test_a_task_opens_and_the_sequence_goes_on_when_it_is_done(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    enrollment = await enroll(client, await publish(client, CALL), "tom", phone="+49 30 123456")
    await state_is(client, enrollment, "awaiting_task")
    (task,) = (await client.get("/v1/tasks", state="open"))["items"]
    await client.post(f"/v1/tasks/{task['dispatch_id']}/done", {"result": "reached"})
    await state_is(client, enrollment, "finished")
    assert len(await mails(mail, "tom", 1)) == 1


async def test_a_stop_takes_the_open_task_away(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    enrollment = await enroll(client, await publish(client, CALL), "uma", phone="+49 30 123456")
    await state_is(client, enrollment, "awaiting_task")
    await client.post(f"/v1/enrollments/{enrollment}/stop")
    await state_is(client, enrollment, "stopped")
    await eventually(lambda: client.get("/v1/tasks", state="open"), until=lambda t: not t["items"])


async def test_a_paused_sequence_sends_nothing_until_it_is_resumed(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    sequence = await publish(client, NUDGE)
    paused = await client.post(f"/v1/sequences/{sequence}/pause")
    await eventually(lambda: client.get(paused["status_url"]), until=lambda c: c["state"] == "done")
    enrollment = await enroll(client, sequence, "lena")

    async def look() -> dict[str, Any]:
        return await client.get(f"/v1/enrollments/{enrollment}")

    await state_is(client, enrollment, "scheduled")
    await eventually(look, until=lambda e: "held" in [h["type"] for h in e["history"]])
    assert mail.messages("lena@there.example") == []
    await client.post(f"/v1/sequences/{sequence}/resume")
    await state_is(client, enrollment, "finished")
    assert len(await mails(mail, "lena", 2)) == 2


async def test_a_missing_token_refuses_the_enroll_and_names_it(
    client: Client, mailbox: dict[str, Any]
) -> None:
    sequence = await publish(client, NUDGE.replace("{{first_name|there}}", "{{first_name}}"))
    answer = await client.post(
        f"/v1/sequences/{sequence}/enrollments",
        {"prospect": {"external_id": "anon", "email": "anon@there.example"}},
    )
    status = await eventually(
        lambda: client.get(f"/v1/commands/{answer['accepted'][0]['command_id']}"),
        until=lambda c: c["state"] == "refused",
    )
    assert "first_name" in status["reasons"][0]["detail"]


async def test_the_producer_in_the_contracts_readme_enrolls(
    client: Client, segue: System, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    sequence = await publish(client, LATER)
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
    enrollment = await state_is(client, told.decode().strip(), "scheduled", "dispatched")
    assert enrollment["external_id"] == "cand-81"


async def test_a_thousand_people_get_one_mail_each(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    sequence = await publish(client, LATER)
    rows = "\n".join(f"bulk{n},bulk{n}@crowd.example,P{n}" for n in range(1000))
    answer = await client.post_text(
        f"/v1/sequences/{sequence}/enrollments", f"external_id,email,first_name\n{rows}\n", "text/csv"
    )
    assert len(answer["accepted"]) == 1000

    async def sent() -> list[str]:
        return [r for m in mail.messages() for r in m.recipients if r.endswith("@crowd.example")]

    recipients = await eventually(sent, until=lambda found: len(found) >= 1000, seconds=90)
    assert len(recipients) == len(set(recipients)) == 1000
