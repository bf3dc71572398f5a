"""A mailbox's limit holds with several schedulers and senders, also while some of them are killed."""

from collections.abc import Iterator
from typing import Any

import pytest

from chassis.clock import Clock
from stack.brokers import Brokers
from stack.client import Client, eventually
from stack.smtp import SmtpServer
from stack.system import System, system

pytestmark = pytest.mark.stack

ADDRESS = "ana@ourco.example"
SPEED = 900.0
PER_HOUR = 20
PEOPLE = 50
SEQUENCE = """
name: Fifty people
mailbox: ana@ourco.example
stages:
  - {id: hello, channel: email, subject: A job, text: Four days a week.}
"""


@pytest.fixture(scope="module")
def clock_speed() -> float:
    return SPEED


@pytest.fixture(scope="module")
def segue(tmp_path_factory: pytest.TempPathFactory, brokers: Brokers) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("segue")
    many = {"scheduler": 2, "sender": 3}
    # A sender that dies with a claim gives it up to the next one after seconds, not minutes.
    soon = {
        "SEGUE_SMTP_TOTAL_SECONDS": "3",
        "SEGUE_BATCH_SECONDS": "2",
        "SEGUE_ROOM_SECONDS": "1",
        "SEGUE_CLAIM_LEASE_SECONDS": "6",
        "SEGUE_REDELIVERY_SECONDS": "7",
    }
    with system(
        folder, brokers, clock_speed=SPEED, settings=soon, instances=many, supervised=True
    ) as running:
        yield running


def settled(stats: dict[str, Any]) -> int:
    """How many people have their message, or one in doubt."""
    return int(stats["states"].get("finished", 0) + stats["states"].get("in_doubt", 0))


async def test_no_hour_has_more_messages_than_the_mailbox_may_send(
    segue: System, client: Client, mail: SmtpServer, clock: Clock
) -> None:
    smtp = {"host": mail.host, "port": mail.port, "security": "none"}
    limits = {"per_hour": PER_HOUR}
    await client.post("/v1/mailboxes", {"address": ADDRESS, "smtp": smtp, "limits": limits})
    sequence = await client.publish(SEQUENCE)
    rows = "".join(f"p{n},p{n}@crowd.example\n" for n in range(PEOPLE))
    await client.post_text(f"/v1/sequences/{sequence}/enrollments", f"external_id,email\n{rows}", "text/csv")
    await mail.arrived(PER_HOUR // 2, seconds=30)
    segue.processes["sender"].kill()
    segue.processes["scheduler-2"].kill()
    ended = await eventually(
        lambda: client.get(f"/v1/sequences/{sequence}/stats"),
        until=lambda stats: settled(stats) == PEOPLE,
        seconds=90,
    )
    messages = mail.messages()
    # What a killed sender was transmitting is in doubt: it may have arrived, and waits for a person.
    doubts = ended["states"].get("in_doubt", 0)
    assert PEOPLE - doubts <= len({m.recipients for m in messages}) == len(messages) <= PEOPLE
    hour = 3600 / clock.speed
    began = [m.data_began for m in messages]
    most = max(sum(start <= each < start + hour for each in began) for start in began)
    assert most <= PER_HOUR
