"""A real Chromium, signed in to an API of the test's own; what every page must keep is asked in one place."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from api.testing import Served, serving_pages

DESK = {"width": 1280, "height": 800}


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's path; skips where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("There is no Chromium here: apt-get install -y chromium")
    return path


@pytest.fixture(scope="session")
def axe(node_packages: Path) -> str:
    """The source of axe-core, which finds what keeps people with disabilities out."""
    return (node_packages / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    """The API with its dashboard; anybody signs in as whom they choose."""
    async with serving_pages(mongodb_uri) as served:
        yield served


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser without any page."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@dataclass
class Desk:
    """A signed-in person at a browser, and what their pages complained of."""

    served: Served
    browser: Browser
    axe: str
    complaints: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return str(self.served.client.make_url(path))

    async def page(self, **context: Any) -> Page:
        """A page on which the first user is signed in; `context` is Playwright's (`viewport` …)."""
        opened = await self.browser.new_context(**{"viewport": DESK, **context})
        page = await opened.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        await page.goto(self.url("/sign-in"))
        await page.click("form.choice button")
        await page.wait_for_selector("nav.rail")
        return page

    async def serious(self, page: Page, *rules: str) -> list[str]:
        """What axe finds serious or critical on a page, by these of its rules or by all, as `rule: where`."""
        if not await page.evaluate("'axe' in window"):
            await page.evaluate(self.axe)
        found = await page.evaluate("axe.run", {"runOnly": list(rules)} if rules else {})
        return [
            f"{each['id']}: {node['target']}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]


@pytest.fixture
async def desk(served: Served, browser: Browser, axe: str) -> AsyncIterator[Desk]:
    """Somebody at work; a page that throws, or breaks its own security policy, fails the test."""
    desk = Desk(served, browser, axe)
    yield desk
    assert desk.complaints == []
