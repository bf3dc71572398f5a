"""The whole way of an answer through a real mailbox: from the IMAP server to the sequence that stops."""

import asyncio
import email
import email.policy
import smtplib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any

import pytest

from stack.brokers import Brokers
from stack.client import Client, Refused, eventually
from stack.dovecot import Dovecot
from stack.ports import free_port
from stack.sequences import TWO_MAILS
from stack.smtp import SmtpServer
from stack.system import WATCHER, System, system

pytestmark = [pytest.mark.stack, pytest.mark.slow]

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
ADDRESS = "ana@ourco.example"
USERS = {f"ana{number}@ourco.example": "a secret" for number in range(10)}


@pytest.fixture(scope="module")
def imap(dovecot_here: None) -> Iterator[Dovecot]:
    with Dovecot(USERS) as server:
        yield server


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    return {
        "SEGUE_KAFKA_SESSION_SECONDS": "3",
        "SEGUE_IMAP_MAILBOXES_SECONDS": "0.3",
        "SEGUE_IMAP_RETRY_SECONDS": "0.2",
        "SEGUE_INBOUND_PATIENCE_SECONDS": "3",
    }


@pytest.fixture(scope="module")
def segue(
    tmp_path_factory: pytest.TempPathFactory,
    brokers: Brokers,
    clock_speed: float,
    settings: Mapping[str, str],
) -> Iterator[System]:
    """With a watcher; what ends is started again."""
    folder = tmp_path_factory.mktemp("segue")
    with system(
        folder,
        brokers,
        clock_speed=clock_speed,
        settings=settings,
        supervised=True,
        faults=True,
        watcher=True,
    ) as running:
        yield running


@pytest.fixture
def user(imap: Dovecot, used: list[str]) -> str:
    """A mailbox on the server that no other test has."""
    free = next(each for each in USERS if each not in used)
    used.append(free)
    return free


@pytest.fixture(scope="module")
def used() -> list[str]:
    return []


@pytest.fixture
async def mailbox(client: Client, mail: SmtpServer, imap: Dovecot, user: str) -> dict[str, Any]:
    made = await client.connect(ADDRESS, mail.host, mail.port, imap=imap.account(user))
    return await watched(client, made)


async def watched(client: Client, mailbox: dict[str, Any]) -> dict[str, Any]:
    """The mailbox, once it was looked through."""
    return await eventually(
        lambda: client.get(f"/v1/mailboxes/{mailbox['id']}"),
        until=lambda found: (found["watching"] or {}).get("looked_at") is not None,
    )


def answer_to(sent: EmailMessage) -> bytes:
    """As a mail program writes it."""
    answer = EmailMessage()
    answer["From"], answer["To"] = sent["To"], sent["From"]
    answer["Subject"] = f"Re: {sent['Subject']}"
    answer["Message-ID"] = make_msgid(domain="there.example")
    answer["In-Reply-To"] = answer["References"] = str(sent["Message-ID"])
    answer.set_content("Yes, that sounds good. Shall we talk on Thursday?")
    return answer.as_bytes(policy=email.policy.SMTP)


async def test_an_answer_in_the_mailbox_stops_the_sequence(
    client: Client, mailbox: dict[str, Any], mails: Mails, imap: Dovecot, user: str
) -> None:
    assert mailbox["watching"]["trouble"] is None
    assert "password" not in mailbox["imap"]
    noor = await client.enroll(await client.publish(TWO_MAILS), "noor")
    (hello,) = await mails("noor@there.example", 1)
    imap.append(user, hello.as_bytes(), "Sent")  # as the server that sent it does
    with smtplib.LMTP(imap.host, imap.lmtp_port) as lmtp:
        lmtp.sendmail("noor@there.example", [user], answer_to(hello))
    stopped = await client.reached(noor, "stopped")
    assert stopped["stop"]["reason"] == "replied"


@pytest.mark.parametrize(
    ("process", "point"),
    [
        (WATCHER, "watcher.stored"),
        (WATCHER, "watcher.pointed"),
        (WATCHER, "watcher.moved"),
        ("reply_detector", "reply_detector.after_stop_publish"),
    ],
)
async def test_an_answer_survives_a_kill_at_each_step(
    segue: System,
    client: Client,
    mailbox: dict[str, Any],
    mails: Mails,
    imap: Dovecot,
    user: str,
    process: str,
    point: str,
) -> None:
    who = point.replace(".", "-").replace("_", "-")
    enrollment = await client.enroll(await client.publish(TWO_MAILS), who)
    (hello,) = await mails(f"{who}@there.example", 1)
    starts = segue.processes[process].starts
    segue.plan_fault(process, point)
    imap.append(user, answer_to(hello))
    stopped = await client.reached(enrollment, "stopped", seconds=60)
    assert stopped["stop"]["reason"] == "replied"
    await eventually(
        lambda: asyncio.sleep(0, segue.processes[process].starts), until=lambda n: n == starts + 1
    )
    await asyncio.to_thread(segue.processes[process].wait_until_ready)


async def test_a_password_stays_with_the_server_that_it_was_given_for(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer, imap: Dovecot, user: str
) -> None:
    path = f"/v1/mailboxes/{mailbox['id']}"
    settings = {"smtp": {"host": mail.host, "port": mail.port, "security": "none"}}
    account = imap.account(user)
    del account["password"]
    kept = await client.put(path, {**settings, "imap": account})
    assert kept["imap"] == mailbox["imap"]
    with pytest.raises(Refused) as refused:
        await client.put(path, {**settings, "imap": {**account, "port": imap.lmtp_port}})
    assert refused.value.problem["errors"][0]["pointer"] == "/imap/password"
    gone = await client.put(path, settings)
    assert (gone["imap"], gone["watching"]) == (None, None)


async def test_a_mailbox_that_is_down_delays_no_other_and_says_so(
    client: Client, mailbox: dict[str, Any], mails: Mails, mail: SmtpServer, imap: Dovecot, user: str
) -> None:
    dead = imap.account(user, port=free_port())
    down = await client.connect("eva@ourco.example", mail.host, mail.port, imap=dead)
    told = await eventually(
        lambda: client.get(f"/v1/mailboxes/{down['id']}"), until=lambda found: found["watching"] is not None
    )
    assert told["watching"]["trouble"] == "unreachable"
    ivan = await client.enroll(await client.publish(TWO_MAILS), "ivan")
    (hello,) = await mails("ivan@there.example", 1)
    imap.append(user, answer_to(hello))
    await client.reached(ivan, "stopped")
