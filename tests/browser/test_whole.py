"""A recruiter's afternoon in a real Chromium, over all that runs: from an empty editor to a task done."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from chassis.clock import Clock
from stack import prospects
from stack.brokers import Brokers
from stack.client import Client, eventually
from stack.smtp import SmtpServer
from stack.system import System, system

OpenPage = Callable[..., Awaitable[Page]]

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ADDRESS = "ana@ourco.example"
SPEED = 600.0
PRIYA, TOM = "priya@there.example", "tom@there.example"
PEOPLE = f"""\
email,first_name,last_name,phone
{PRIYA},Priya,Shah,+49 30 5550101
{TOM},Tom,Okafor,+49 30 5550102
"""


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="module")
def segue(tmp_path_factory: pytest.TempPathFactory, brokers: Brokers) -> Iterator[System]:
    with system(tmp_path_factory.mktemp("segue"), brokers, clock_speed=SPEED) as running:
        yield running


@pytest.fixture
async def client(segue: System, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with Client(segue.url, segue.bootstrap(request.node.name, ADDRESS)) as client:
        yield client


@pytest.fixture
async def mailbox(client: Client, mail: SmtpServer) -> dict[str, Any]:
    return await client.connect(ADDRESS, mail.host, mail.port)


@pytest.fixture
async def open_page(browser: Browser, segue: System, client: Client) -> AsyncIterator[OpenPage]:
    """A page on which the workspace's first user is signed in; one that throws fails the test."""
    complaints: list[str] = []

    async def opened(**context: Any) -> Page:
        page = await (await browser.new_context(base_url=segue.url, **context)).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto("/sign-in")
        me = (await client.get("/v1/me"))["user"]["id"]
        await (
            page.locator("form.choice", has=page.locator(f'input[value="{me}"]'))
            .get_by_role("button")
            .click()
        )
        await page.wait_for_selector("nav.rail")
        return page

    yield opened
    assert complaints == []


async def write_the_sequence(page: Page) -> None:
    """A mail, and an hour later a call."""
    await page.get_by_role("link", name="Sequences").click()
    await page.get_by_role("link", name="New sequence").click()
    await page.get_by_label("Name", exact=True).fill("Backend engineers, Berlin")
    await page.get_by_label("Subject").fill("{{first_name|Hi}}: a job in Berlin")
    await page.get_by_label("Text", exact=True).fill("Hi {{first_name|there}}, four days a week.")
    await page.get_by_role("group", name="Add a stage").get_by_role("button", name="call").click()
    call = page.locator(".stage").nth(1)
    await call.get_by_label("How long after the one before").fill("1 hours")
    await call.get_by_label("What you have to know").fill("Ask {{first_name|them}} about the job.")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".note")).to_contain_text("Saved.")


async def review_and_launch(page: Page) -> None:
    await page.get_by_role("link", name="Enroll people").click()
    await page.get_by_label("Paste people").fill(PEOPLE)
    await page.get_by_role("button", name="Look at everybody").click()
    await expect(page.get_by_role("row", name="Tom Okafor")).to_contain_text("Tom: a job in Berlin")
    await page.get_by_role("button", name="Launch for 2 people").click()
    await page.get_by_role("link", name="See them in the sequence").click()


async def answer_of(mail: SmtpServer, recipient: str, clock: Clock) -> bytes:
    (arrived,) = await mail.arrived(1, recipient, seconds=30)
    sent = message_from_bytes(mail.content(arrived), policy=policy.default)
    return prospects.reply(sent, "Yes, let us talk on Monday!", at=clock.now())


async def test_a_sequence_is_written_launched_watched_answered_and_its_task_done(
    open_page: OpenPage, segue: System, client: Client, mailbox: dict[str, Any], mail: SmtpServer
) -> None:
    page = await open_page()
    await write_the_sequence(page)
    await review_and_launch(page)

    priya = page.get_by_role("row", name="Priya Shah")
    tom = page.get_by_role("row", name="Tom Okafor")
    await expect(priya).to_be_visible(timeout=30_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    clock = Clock(SPEED, datetime.fromisoformat(segue.environment["SEGUE_CLOCK_ORIGIN"]))
    await client.receive(mailbox, await answer_of(mail, PRIYA, clock))
    await expect(priya.locator(".pill")).to_contain_text("answered", timeout=30_000)
    await expect(tom.locator(".pill")).to_contain_text("waiting for you", timeout=30_000)
    assert [each for each in asked if not each.endswith("/live")] == []  # nothing was loaded again

    await page.get_by_role("link", name="Tasks").click()
    card = page.locator("[data-card]")
    await expect(card).to_have_count(1)
    await expect(card).to_contain_text("Ask Tom about the job.")
    await card.get_by_label("What came of it").select_option(label="Reached")
    await card.get_by_role("button", name="Done").click()
    await expect(card).to_be_hidden()
    await page.get_by_role("link", name="Sequences").click()  # what could be undone until now is sent
    await page.get_by_role("link", name="Backend engineers, Berlin", exact=True).click()
    await expect(tom.locator(".pill")).to_contain_text("finished", timeout=30_000)


async def press(page: Page, name: str) -> None:
    """Send a form, and be where it leads: who loads the page again before that takes it back."""
    async with page.expect_navigation():
        await page.get_by_role("button", name=name).click()


async def until(page: Page, selector: str, text: str) -> None:
    """Load the page again and again until it says so: without JavaScript it does not by itself."""

    async def look() -> str:
        await page.reload()
        return await page.inner_text(selector)

    await eventually(look, until=lambda said: text in said)


async def test_a_sequence_is_written_launched_paused_and_its_task_done_without_javascript(
    open_page: OpenPage, mailbox: dict[str, Any]
) -> None:
    page = await open_page(java_script_enabled=False)
    await page.goto("/sequences/new")
    await page.get_by_label("Name", exact=True).fill("Call first")
    await page.get_by_role("group", name="Add a stage").get_by_role("button", name="call").click()
    await page.get_by_role("button", name="Move stage 2 up").click()
    call, letter = page.locator(".stage").nth(0), page.locator(".stage").nth(1)
    await call.get_by_label("How long after the one before").fill("")
    await call.get_by_label("What you have to know").fill("Ask {{first_name|them}} about the job.")
    await letter.get_by_label("How long after the one before").fill("30 days")
    await letter.get_by_label("Subject").fill("A job in Berlin")
    await letter.get_by_label("Text", exact=True).fill("Hi {{first_name|there}}, four days a week.")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".note")).to_contain_text("Saved.")
    sequence = page.url

    await page.get_by_role("link", name="Enroll people").click()
    await page.get_by_label("Paste people").fill(PEOPLE)
    await page.get_by_role("button", name="Look at everybody").click()
    await press(page, "Launch for 2 people")
    await until(page, "main", "2 people are enrolled")
    await page.goto(sequence)
    await until(page, "tr:has-text('Tom Okafor')", "waiting for you")

    await page.get_by_role("link", name="Tasks").click()
    card = page.locator("[data-card]", has_text="Ask Tom about the job.")
    await card.get_by_label("What came of it").select_option(label="Reached")
    await card.get_by_role("button", name="Done").click()
    await expect(page.locator(".note")).to_contain_text("Done")
    await page.goto(sequence)
    await until(page, "tr:has-text('Tom Okafor')", "planned")
    await page.get_by_role("checkbox", name="Tom Okafor").check()
    await page.locator("form.bulk").get_by_role("button", name="Pause").click()
    await expect(page.locator(".note")).to_contain_text("Paused: 1 person.")
    await until(page, "tr:has-text('Tom Okafor')", "paused")
    await page.get_by_text("More: pause it").click()
    await page.get_by_label("Why").fill("the role is on hold")
    await press(page, "Pause the sequence")
    await until(page, "main", "This sequence is paused. the role is on hold")
