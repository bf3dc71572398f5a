"""Takes the pictures of docs/dashboard.md: every page, light and dark, of a week that is the same each time.

Run: `make screenshots`, which needs Debian's chromium.
"""

import asyncio
import base64
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from stack.local_mongo import LocalMongo
from stack.scene import PAGES, Scene, scene
from stack.system import ALLOWED_NETWORKS

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
DESK: Final[ViewportSize] = {"width": 1120, "height": 760}
QUALITY: Final = 0.62
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
NO_CHROMIUM: Final = "make screenshots needs Chromium: apt-get install -y chromium"
TO_WEBP: Final = """
async ([png, quality]) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  const blob = await canvas.convertToBlob({type: "image/webp", quality});
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (const each of bytes) text += String.fromCharCode(each);
  return btoa(text);
}
"""


async def take(week: Scene, browser: Browser) -> None:
    """Every page in both schemes, as WebP; the browser that shows them writes them too."""
    press = await (await browser.new_context()).new_page()
    for scheme in SCHEMES:
        page = await signed_in(week, browser, scheme)
        for name in PAGES:
            await page.goto(str(week.served.client.make_url(week.path(name))))
            await page.evaluate("document.fonts.ready")
            picture = await written(press, await page.screenshot(animations="disabled", caret="hide"))
            (PICTURES / f"{name}-{scheme}.webp").write_bytes(picture)


async def signed_in(week: Scene, browser: Browser, scheme: Literal["light", "dark"]) -> Page:
    """A page on which Ana is signed in."""
    context = await browser.new_context(viewport=DESK, color_scheme=scheme, locale="en-GB")
    page = await context.new_page()
    await page.goto(str(week.served.client.make_url("/sign-in")))
    await page.click("form.choice button")
    await page.wait_for_selector("nav.rail")
    return page


async def written(press: Page, png: bytes) -> bytes:
    """A picture as WebP, a fifth of its size."""
    told: str = await press.evaluate(TO_WEBP, [base64.b64encode(png).decode(), QUALITY])
    return base64.b64decode(told)


async def main(mongodb_uri: str, folder: Path, chromium: str) -> None:
    """Play the week, and take the pictures."""
    async with scene(mongodb_uri, folder) as week, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--lang=en-GB"]
        )
        await take(week, browser)
        await browser.close()


def run() -> int:
    """The program."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print(NO_CHROMIUM, file=sys.stderr)
        return 1
    os.environ["SEGUE_ALLOWED_PRIVATE_NETWORKS"] = ALLOWED_NETWORKS
    with tempfile.TemporaryDirectory() as folder:
        mongo = LocalMongo(Path(folder) / "mongo")
        mongo.start()
        try:
            asyncio.run(main(mongo.uri, Path(folder), chromium))
        finally:
            mongo.stop()
    sizes = [each.stat().st_size for each in PICTURES.glob("*.webp")]
    print(f"{len(sizes)} pictures, {sum(sizes) // 1024:,} KiB, the largest {max(sizes) // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(run())
