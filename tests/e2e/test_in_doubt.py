"""A server that takes a message and dies before it says so: the mailbox's own copy settles it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from email.message import EmailMessage
from typing import Any

import pytest

from stack.brokers import Brokers
from stack.client import Client, Refused, eventually
from stack.dovecot import Dovecot
from stack.mail_script import Cut
from stack.sequences import TWO_MAILS
from stack.smtp import SmtpServer
from stack.system import System, system

pytestmark = [pytest.mark.stack, pytest.mark.slow]

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
ADDRESS = "ana@ourco.example"
USERS = {ADDRESS: "a secret"}
EVERYTHING = "Everything"
SOON = TWO_MAILS.replace("2 days", "30 minutes")


@pytest.fixture(scope="module")
def imap(dovecot_here: None) -> Iterator[Dovecot]:
    with Dovecot(USERS) as server, server.session(ADDRESS) as client:
        client.create_folder(EVERYTHING)
        yield server


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    return {
        "SEGUE_KAFKA_SESSION_SECONDS": "3",
        "SEGUE_IMAP_MAILBOXES_SECONDS": "0.3",
        "SEGUE_IMAP_POLL_SECONDS": "0.5",
    }


@pytest.fixture(scope="module")
def segue(
    tmp_path_factory: pytest.TempPathFactory,
    brokers: Brokers,
    clock_speed: float,
    settings: Mapping[str, str],
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("segue")
    with system(folder, brokers, clock_speed=clock_speed, settings=settings, watcher=True) as running:
        yield running


@pytest.fixture
async def mailbox(client: Client, mail: SmtpServer, imap: Dovecot) -> dict[str, Any]:
    return await client.connect(ADDRESS, mail.host, mail.port, imap=imap.account(ADDRESS))


async def doubt(client: Client, mail: SmtpServer, who: str) -> tuple[str, dict[str, Any]]:
    """An enrollment whose first message was taken, and its delivery, which is in doubt."""
    mail.answer(f"{who}@there.example", Cut(recorded=True), times=1)
    enrollment = await client.enroll(await client.publish(SOON), who)
    await client.reached(enrollment, "in_doubt")
    found = await eventually(lambda: client.get("/v1/deliveries"), until=lambda page: page["items"])
    return enrollment, found["items"][0]


@pytest.mark.parametrize("folder", ["Sent", EVERYTHING])
async def test_the_copy_in_the_mailbox_settles_it_and_the_sequence_goes_on(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer, mails: Mails, imap: Dovecot, folder: str
) -> None:
    who = f"noor-{folder.lower()}"
    enrollment, delivery = await doubt(client, mail, who)
    (hello,) = await mails(f"{who}@there.example", 1)
    imap.append(ADDRESS, hello.as_bytes(), folder)
    nudge = (await mails(f"{who}@there.example", 2))[1]
    assert nudge["In-Reply-To"] == hello["Message-ID"]
    finished = await client.reached(enrollment, "finished")
    assert [each["type"] for each in finished["history"]].count("stage_sent") == 2
    settled = await client.get(f"/v1/deliveries/{delivery['dispatch_id']}")
    assert (settled["state"], settled["evidence"]["kind"]) == ("sent", "sent_copy")
    assert len(await mails(f"{who}@there.example", 2)) == 2


async def test_without_a_copy_a_person_sees_where_was_looked_and_decides(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer, mails: Mails
) -> None:
    enrollment, delivery = await doubt(client, mail, "pat")
    path = f"/v1/deliveries/{delivery['dispatch_id']}"
    shown = await eventually(lambda: client.get(path), until=lambda found: found["doubt"]["looked"])
    [look] = shown["doubt"]["looked"]
    assert (look["what"], look["places"]) == ("sent_copy", ["Sent", EVERYTHING])
    assert shown["doubt"]["age_seconds"] >= 0
    await client.post(f"{path}/decide", {"decision": "resend"})
    await client.reached(enrollment, "finished")
    first, again, nudge = await mails("pat@there.example", 3)
    assert first.as_bytes() == again.as_bytes() != nudge.as_bytes()
    with pytest.raises(Refused) as refused:
        await client.post(f"{path}/decide", {"decision": "resend"})
    assert refused.value.status == 409


async def test_the_workspace_may_rule_that_it_is_sent_again_at_once(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer, mails: Mails
) -> None:
    await client.put("/v1/workspace/in-doubt", {"policy": "resend"})
    mail.answer("kim@there.example", Cut(recorded=True), times=1)
    enrollment = await client.enroll(await client.publish(SOON), "kim")
    await client.reached(enrollment, "finished")
    first, again, _ = await mails("kim@there.example", 3)
    assert first.as_bytes() == again.as_bytes()
