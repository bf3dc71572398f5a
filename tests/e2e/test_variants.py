"""Two variants of a first mail on real services, from the split to the winner that everybody else gets."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from email.message import EmailMessage
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from chassis.clock import Clock
from chassis.variants import split
from segue_contracts import ids
from segue_contracts.sequence import Variant
from stack import prospects
from stack.client import Client, eventually

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
SUBJECTS = {"plain": "A job", "warm": "{}, 4 days a week"}
SEQUENCE = """
name: Backend engineers
mailbox: ana@ourco.example
stages:
  - id: hello
    channel: email
    subject: A job
    text: "Hi {{first_name}}"
    variants:
      - id: plain
      - {id: warm, subject: "{{first_name}}, 4 days a week"}
    winner: {by: replied, after: 10 people}
  - {id: nudge, channel: email, after: 300 days, text: "Did you see?"}
"""
EACH, ANSWERS, LATER = 13, 11, 14


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    return {"SEGUE_COUNTS_SECONDS": "0.5"}


def names_by_share(workspace: UUID, sequence: UUID) -> Iterator[tuple[str, str]]:
    """People who don't exist yet, each with the variant that the split will give them."""
    variants = [Variant(id=name) for name in SUBJECTS]
    for number in count():
        name = f"p{number}"
        enrollment = ids.enrollment_id(workspace, sequence, name)
        yield name, split(variants, ids.dispatch_id(enrollment, "hello")).id


async def test_forty_people_get_two_variants_and_the_better_one_wins_on_the_way(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    sequence = await client.publish(SEQUENCE)
    workspace = UUID((await client.get("/v1/workspace"))["id"])
    people: dict[str, list[str]] = {"plain": [], "warm": []}
    coming = names_by_share(workspace, UUID(sequence))
    while min(map(len, people.values())) < EACH:
        name, share = next(coming)
        if len(people[share]) < EACH:
            people[share].append(name)
            await client.enroll(sequence, name)
    for share, names in people.items():
        for name in names:
            (hello,) = await mails(f"{name}@there.example", 1)
            assert hello["Subject"] == SUBJECTS[share].format(name.title())
            if share == "warm" and names.index(name) < ANSWERS:
                await client.receive(mailbox, prospects.reply(hello, "Yes, let us talk!", at=clock.now()))

    async def compared() -> dict[str, Any]:
        (stage,) = (await client.get(f"/v1/sequences/{sequence}/variants"))["stages"]
        return dict(stage)

    stage = await eventually(compared, until=lambda stage: stage["decision"] is not None)
    assert (stage["decision"]["variant"], stage["decision"]["by"]) == ("warm", "rule")
    later = [next(coming) for _ in range(LATER)]
    assert {share for _, share in later} == set(SUBJECTS)
    enrolled = [await client.enroll(sequence, name) for name, _ in later]
    for name, _ in later:
        (hello,) = await mails(f"{name}@there.example", 1)
        assert hello["Subject"] == SUBJECTS["warm"].format(name.title())
    story = await eventually(
        lambda: client.enrollment(enrolled[0]),
        until=lambda e: any(each["type"] == "stage_sent" for each in e["history"]),
    )
    (sent,) = [each for each in story["history"] if each["type"] == "stage_sent"]
    assert sent["variant"] == "warm"
    rows = await eventually(
        compared, until=lambda stage: sum(each["sent"] for each in stage["variants"]) == 2 * EACH + LATER
    )
    assert [(each["id"], each["sent"], each["answered"]) for each in rows["variants"]] == [
        ("plain", EACH, 0),
        ("warm", EACH + LATER, ANSWERS),
    ]
