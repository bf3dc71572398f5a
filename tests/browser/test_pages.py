"""What holds on every page, in a real Chromium."""

from typing import Any

import pytest

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]
PAGES = (
    "/",
    "/tasks",
    "/tasks?tab=everybody",
    "/doubts",
    "/sequences",
    "/sequences/{sequence}",
    "/sequences/{sequence}/sharing",
    "/sequences/{sequence}/archive",
    "/sequences/{sequence}/enroll",
    "/sequences/new",
    "/sequences/{sequence}/edit",
    "/sequences/{sequence}/versions",
    "/sequences/{sequence}/apply",
    "/stats",
    "/mailboxes",
    "/mailboxes/new",
    "/suppressions",
    "/settings",
    "/settings/workspace",
    "/settings/keys",
    "/reference",
    "/reference/webhooks",
)
MAX_PAGE_BYTES = 100 * 1024
PHONE = {"width": 390, "height": 844}


async def a_sequence(desk: Any) -> str:
    await desk.served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    body = {"name": "Backend engineers, Berlin", "tags": ["berlin"], "stages": STAGES}
    return str((await desk.served.call("POST", "/v1/sequences", body, status=201))["id"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_on_any_page(desk: Any, scheme: str) -> None:
    sequence = await a_sequence(desk)
    page = await desk.page(color_scheme=scheme)
    for path in PAGES:
        await page.goto(desk.url(path.format(sequence=sequence)))
        assert await desk.serious(page) == [], path


async def test_no_page_is_wider_than_a_phone(desk: Any) -> None:
    sequence = await a_sequence(desk)
    page = await desk.page(viewport=PHONE)
    for path in PAGES:
        await page.goto(desk.url(path.format(sequence=sequence)))
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


WEIGHT = """
[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((sum, each) => sum + each.encodedBodySize, 0)
"""


async def test_a_first_load_of_any_page_is_under_100_kb(desk: Any) -> None:
    sequence = await a_sequence(desk)
    page = await desk.page()
    for path in PAGES:
        await page.goto(desk.url(path.format(sequence=sequence)))
        assert 0 < await page.evaluate(WEIGHT) <= MAX_PAGE_BYTES, path


async def test_keys_lead_through_the_pages(desk: Any) -> None:
    sequence = await a_sequence(desk)
    page = await desk.page()
    await page.keyboard.press("g")
    await page.keyboard.press("s")
    await page.wait_for_selector("table.rows")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/sequences/{sequence}")
