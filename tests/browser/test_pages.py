"""What holds on every page, in a real Chromium, with a week's work on them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.testing import Served
from stack.scene import PAGES, Scene, scene

pytestmark = [pytest.mark.stack, pytest.mark.slow]

MAX_PAGE_BYTES = 100 * 1024
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
WEIGHT = """
[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((sum, each) => sum + each.encodedBodySize, 0)
"""


@pytest.fixture
async def week(mongodb_uri: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(mongodb_uri, tmp_path) as week:
        yield week


@pytest.fixture
def served(week: Scene) -> Served:
    """The desk is that of the week."""
    return week.served


@pytest.mark.timeout(600)
async def test_every_page_is_light_keeps_nobody_out_and_fits_a_phone(desk: Any, week: Scene) -> None:
    page, wrong = await desk.page(), {}
    for name in PAGES:
        await page.set_viewport_size(DESK)
        answer = await page.goto(desk.url(week.path(name)))
        weight = await page.evaluate(WEIGHT)
        found = [] if answer.ok and 0 < weight <= MAX_PAGE_BYTES else [f"{answer.status}, {weight} bytes"]
        await page.emulate_media(color_scheme="light")
        found += await desk.serious(page)
        await page.emulate_media(color_scheme="dark")
        found += [f"dark: {each}" for each in await desk.serious(page, "color-contrast")]
        await page.set_viewport_size(PHONE)
        width = await page.evaluate("document.documentElement.scrollWidth")
        found += [f"{width} px wide"] if width > PHONE["width"] else []
        if found:
            wrong[name] = found
    assert wrong == {}
