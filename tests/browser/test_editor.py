"""What only a browser can show of the editor: the preview as one types, tokens on {, drafts, undo."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]


async def at_a_new_one(desk: Any) -> Page:
    await desk.served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    page: Page = await desk.page()
    await page.goto(desk.url("/sequences"))
    await page.keyboard.press("c")
    await page.wait_for_selector("#editor")
    return page


async def test_a_sequence_is_written_with_keyboard_and_mouse(desk: Any) -> None:
    page = await at_a_new_one(desk)
    await page.get_by_label("Name", exact=True).fill("Berlin")
    await page.get_by_label("Subject").fill("Hi")
    text = page.get_by_label("Text", exact=True)
    await text.press_sequentially("Dear {fir")
    picker = page.get_by_role("group", name="Tokens: arrow down to choose")
    await expect(picker.get_by_role("button")).to_have_text(["first_name"])
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(text).to_have_value("Dear {{first_name}}")
    await expect(picker).to_have_count(0)
    await text.press_sequentially(" from {{salary}}")
    shown = page.locator("#preview")
    await expect(shown).to_contain_text("Dear Priya from {{salary}}")
    await expect(shown.locator("u.missing")).to_have_text("{{salary}}")
    await text.fill("Dear ")
    await page.locator("#tokens").get_by_role("button", name="company", exact=True).click()
    await expect(text).to_have_value("Dear {{company}}")
    await expect(shown).to_contain_text("Dear Initech")
    await page.get_by_role("group", name="Add a stage").get_by_role("button", name="call").click()
    cards = page.locator(".stage")
    await expect(cards).to_have_count(2)
    await expect(cards.nth(1)).to_have_attribute("open", "")
    await cards.nth(1).get_by_label("What", exact=True).select_option("task")
    await expect(cards.nth(1).locator(".sentence")).to_have_text("3 business days later, you do a task.")
    await page.get_by_role("button", name="Remove stage 1").click()
    await page.get_by_role("button", name="Undo").click()
    await expect(cards.nth(0).locator("textarea").first).to_have_value("Dear {{company}}")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".note")).to_contain_text("Saved.")
    assert (
        await page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('segue-draft')).length")
        == 0
    )


async def test_an_e_mail_of_html_is_shown_as_one(desk: Any) -> None:
    page = await at_a_new_one(desk)
    await page.get_by_text("HTML", exact=True).click()
    await page.get_by_label("HTML, beside the text or alone").fill("<p>Dear <b>{{first_name}}</b></p>")
    await expect(page.frame_locator("#preview iframe").locator("b")).to_have_text("Priya")


async def test_what_is_typed_outlives_a_reload_and_can_be_discarded(desk: Any) -> None:
    page = await at_a_new_one(desk)
    await page.get_by_label("Name", exact=True).fill("Half a name")
    await page.reload()
    await expect(page.locator(".note")).to_contain_text("Restored what you typed at")
    await expect(page.get_by_label("Name", exact=True)).to_have_value("Half a name")
    await page.get_by_role("link", name="Discard").click()
    await expect(page.get_by_label("Name", exact=True)).to_have_value("")
    await page.reload()
    await expect(page.locator(".note")).to_have_count(0)


async def test_what_was_refused_or_timed_out_is_still_a_draft(desk: Any) -> None:
    page = await at_a_new_one(desk)
    await page.get_by_label("Name", exact=True).fill("Berlin")
    await page.get_by_label("How long after the one before").fill("soon")
    desk.complaints.clear()
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".wrong").first).to_be_visible()
    desk.complaints.clear()  # a browser complains of every 422
    await page.goto(page.url)
    await expect(page.get_by_label("How long after the one before")).to_have_value("soon")
    await page.context.clear_cookies()
    await page.get_by_label("Name", exact=True).fill("Berlin, remote")
    await page.get_by_role("button", name="Save").click()
    await page.click("form.choice button")
    await page.wait_for_selector("nav.rail")
    await page.goto(desk.url("/sequences/new"))
    await expect(page.get_by_label("Name", exact=True)).to_have_value("Berlin, remote")


async def test_writing_in_a_variant_shows_that_one(desk: Any) -> None:
    page = await at_a_new_one(desk)
    await page.get_by_label("Subject").fill("Hi")
    await page.get_by_label("Text", exact=True).fill("Hello {{first_name}}")
    await page.locator(".stage summary", has_text="Variants").click()
    await page.get_by_role("button", name="Add a variant").click()
    second = page.get_by_role("group", name="Variant b")
    await second.get_by_label("Its subject").fill("Dear {{first_name}}")
    shown = page.locator("#preview")
    await expect(shown.locator(".subject")).to_have_text("Dear Priya")
    await expect(shown).to_contain_text("Hello Priya")
    await page.get_by_role("group", name="Variant a").get_by_label("Its subject").focus()
    await expect(shown.locator(".subject")).to_have_text("Hi")
    await page.get_by_role("button", name="Remove variant a").click()
    await expect(page.get_by_text("Removed: a.")).to_be_visible()
    await expect(second.get_by_label("Its subject")).to_have_value("Dear {{first_name}}")
