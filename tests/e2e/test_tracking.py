"""Opens and clicks on real services: the pixel and a link of a mail that arrived, asked for by its reader."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer

from segue_contracts import codec
from segue_contracts.engagement import EngagementEvent
from segue_contracts.topics import ENGAGEMENT_EVENTS
from stack.client import Client
from stack.system import System

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
PUBLIC_URL = "https://segue.example"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
APPLE = "Mozilla/5.0"
JOB = "https://jobs.example/42?from=mail&who=them"
SEQUENCE = f"""
name: Backend engineers
mailbox: ana@ourco.example
tracking: {{opens: true, clicks: true}}
stages:
  - id: hello
    channel: email
    subject: "{{{{first_name|Hi}}}}: a job"
    html: |
      <p>Hi, <a href="{JOB.replace("&", "&amp;")}">four days a week</a>.
      <a href="mailto:a@b.example">Me</a></p>
  - id: interested
    channel: email
    after: 2 days
    text: "You had a look."
    when: {{clicked: hello}}
"""


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """A day in five real seconds: two days leave the click the time that it needs on a busy machine."""
    return 17_280.0


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    return {"SEGUE_PUBLIC_URL": PUBLIC_URL, "SEGUE_TRACKING_SOON_SECONDS": "0"}


class Addresses(HTMLParser):
    """What a mail program loads, and where a reader can go."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")
        if tag == "a":
            self.links.append(values["href"] or "")


def addresses(mail: EmailMessage) -> Addresses:
    html = mail.get_body(("html",))
    assert html is not None
    text = mail.get_body(("plain",))
    assert text is not None
    assert "/t/" not in text.get_content()
    return Addresses(html.get_content())


async def ask(segue: System, url: str, agent: str) -> tuple[int, str | None, bytes]:
    """As whoever has the mail does: the status, where it leads, and what came."""
    assert url.startswith(f"{PUBLIC_URL}/t/")
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": agent}) as program,
        program.get(segue.url + urlsplit(url).path, allow_redirects=False) as answer,
    ):
        assert "Set-Cookie" not in answer.headers
        return answer.status, answer.headers.get("Location"), await answer.read()


async def told(segue: System, count: int) -> list[EngagementEvent]:
    """The first so many engagement events."""
    consumer = AIOKafkaConsumer(
        segue.environment["SEGUE_KAFKA_TOPIC_PREFIX"] + ENGAGEMENT_EVENTS.name,
        bootstrap_servers=segue.environment["SEGUE_KAFKA_BOOTSTRAP_SERVERS"],
        auto_offset_reset="earliest",
    )
    await consumer.start()
    events: list[EngagementEvent] = []
    try:
        async with asyncio.timeout(30):
            async for record in consumer:
                message = codec.decode(ENGAGEMENT_EVENTS.name, record.headers, record.value)
                assert isinstance(message, EngagementEvent)
                events.append(message)
                if len(events) == count:
                    break
    finally:
        await consumer.stop()
    return events


async def test_who_clicks_in_a_mail_that_arrived_gets_the_stage_that_waits_for_it_and_who_does_not_does_not(
    segue: System, client: Client, mailbox: dict[str, Any], mails: Mails
) -> None:
    sequence = await client.publish(SEQUENCE)
    noor, apple = await client.enroll(sequence, "noor"), await client.enroll(sequence, "apple")

    (prefetched,) = await mails("apple@there.example", 1)
    (pixel,) = addresses(prefetched).images
    assert (await ask(segue, pixel, APPLE))[0] == 200

    (hello,) = await mails("noor@there.example", 1)
    (pixel,), (link, mailto) = addresses(hello).images, addresses(hello).links
    assert mailto == "mailto:a@b.example"
    status, _, image = await ask(segue, pixel, FIREFOX)
    assert (status, image[:6]) == (200, b"GIF89a")
    assert (await ask(segue, link, FIREFOX))[:2] == (302, JOB)

    await client.reached(noor, "finished")
    await client.reached(apple, "finished")
    _, interested = await mails("noor@there.example", 2)
    assert "/t/" not in interested.as_string()
    assert len(await mails("apple@there.example", 1)) == 1

    events = {(str(event.enrollment_id), event.event_type.value): event for event in await told(segue, 3)}
    assert set(events) == {(apple, "opened"), (noor, "opened"), (noor, "clicked")}
    assert (events[apple, "opened"].machine, events[apple, "opened"].reason) == (True, "apple_privacy")
    assert (events[noor, "opened"].machine, events[noor, "opened"].stage_id) == (False, "hello")
    clicked = events[noor, "clicked"]
    assert (clicked.machine, clicked.link, clicked.first) == (False, 1, True)

    stats = await client.get(f"/v1/sequences/{sequence}/stats")
    assert next(stage for stage in stats["stages"] if stage["stage_id"] == "hello") == {
        "stage_id": "hello",
        "sent": 2,
        "opened": 1,
        "clicked": 1,
        "machine_opened": 1,
        "machine_clicked": 0,
    }
