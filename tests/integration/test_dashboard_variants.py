"""Variants in the dashboard, as a browser without JavaScript uses them: written, compared, chosen."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from api.testing import Served, serving_pages

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
HELLO = {"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello {{first_name|there}}"}
VARIED = {**HELLO, "variants": [{"id": "plain"}, {"id": "warm", "subject": "Hi {{first_name}}"}]}
EDITED = {
    "name": "Berlin",
    "access": "personal",
    "stages.0.id": "hello",
    "stages.0.origin": "hello",
    "stages.0.channel": "email",
    "stages.0.subject": "Hi",
    "stages.0.text": "Hello {{first_name|there}}",
}


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        yield served


async def a_sequence(served: Served, stage: Any = VARIED, **more: Any) -> str:
    body = {"name": "Berlin", "stages": [stage], **more}
    return str((await served.call("POST", "/v1/sequences", body, status=201))["id"])


async def latest(served: Served, sequence: str) -> Any:
    return (await served.call("GET", f"/v1/sequences/{sequence}"))["latest"]["document"]["stages"][0]


async def test_variants_are_added_filled_in_and_saved(served: Served) -> None:
    async with served.browser() as browser:
        await browser.get("/sequences/new")
        page = await browser.post("/sequences/new", {**EDITED, "do": "vary:0"})
        assert "in one of 2 variants" in page
        for name in ("stages.0.variants.0.subject", "stages.0.variants.1.weight", "stages.0.winner.by"):
            assert f'name="{name}"' in page
        typed = {
            "stages.0.variants.0.id": "plain",
            "stages.0.variants.1.id": "warm",
            "stages.0.variants.1.weight": "3",
            "stages.0.variants.1.subject": "Hi {{first_name}}",
            "stages.0.winner.by": "replied",
            "stages.0.winner.after": "50 people",
        }
        await browser.post("/sequences/new", {**EDITED, **typed, "do": "save"})
        sequence = browser.url.partition("?")[0].rpartition("/")[2]
    assert await latest(served, sequence) == {
        **HELLO,
        "variants": [{"id": "plain"}, {"id": "warm", "weight": 3, "subject": "Hi {{first_name}}"}],
        "winner": {"by": "replied", "after": "50 people"},
    }


async def test_what_is_wrong_stands_beside_the_variants_field(served: Served) -> None:
    typed = {
        "stages.0.variants.0.id": "gone",
        "stages.0.variants.0.removed": "1",
        "stages.0.variants.1.id": "a",
        "stages.0.variants.2.id": "b",
        "stages.0.variants.2.weight": "much",
        "stages.0.variants.2.subject": "{{first_name",
    }
    async with served.browser() as browser:
        page = await browser.post("/sequences/new", {**EDITED, **typed, "do": "save"}, status=422)
        assert 'id="wrong-stages.0.variants.2.weight-1">must be a whole number' in page
        fixed = {**typed, "stages.0.variants.2.weight": ""}
        page = await browser.post("/sequences/new", {**EDITED, **fixed, "do": "save"}, status=422)
        assert 'id="wrong-stages.0.variants.2.subject-1"' in page
        same = {**fixed, "stages.0.variants.2.subject": ""}
        page = await browser.post("/sequences/new", {**EDITED, **same, "do": "save"}, status=422)
        assert "says the same as variants[0]" in page


async def test_a_removed_variant_comes_back_and_without_any_the_stage_is_as_before(served: Served) -> None:
    sequence = await a_sequence(served, {**VARIED, "winner": {"by": "replied"}})
    path = f"/sequences/{sequence}/edit"
    etag = '"v1"'
    typed = {
        **EDITED,
        "base": "1",
        "etag": etag,
        "stages.0.variants.0.id": "plain",
        "stages.0.variants.0.origin": "plain",
        "stages.0.variants.1.id": "warm",
        "stages.0.variants.1.origin": "warm",
        "stages.0.variants.1.subject": "Hi {{first_name}}",
        "stages.0.winner.by": "replied",
    }
    async with served.browser() as browser:
        page = await browser.post(path, {**typed, "do": "unvary:0.1"})
        assert "Removed: warm." in page
        gone = {**typed, "stages.0.variants.1.removed": "1"}
        page = await browser.post(path, {**gone, "do": "revary:0.1"})
        assert "Removed: warm." not in page
        both = {**gone, "stages.0.variants.0.removed": "1", "etag": "*"}
        await browser.post(path, {**both, "do": "save"})
    assert await latest(served, sequence) == HELLO


async def test_the_preview_shows_each_variant(served: Served) -> None:
    typed = {
        **EDITED,
        "stages.0.variants.0.id": "plain",
        "stages.0.variants.1.id": "warm",
        "stages.0.variants.1.subject": "Dear {{first_name}}",
        "preview.values": "first_name: Priya",
    }
    async with served.browser() as browser:
        for chosen, subject in (("0", "Hi"), ("0.0", "Hi"), ("0.1", "Dear Priya"), ("0.7", "Hi")):
            page = await browser.post("/sequences/preview", {**typed, "preview.stage": chosen})
            assert f"<b>{subject}</b>" in page
            assert "Hello Priya" in page


async def test_versions_say_what_changed_in_a_variant(served: Served) -> None:
    sequence = await a_sequence(served)
    changed = {
        **HELLO,
        "variants": [{"id": "plain"}, {"id": "warm", "subject": "Dear"}, {"id": "c", "text": "C"}],
    }
    await served.call("PUT", f"/v1/sequences/{sequence}", {"name": "Berlin", "stages": [changed]})
    async with served.browser() as browser:
        page = await browser.get(f"/sequences/{sequence}/versions")
    for told in (
        "<dt>variants</dt>",
        "plain, warm, c",
        "<dt>variant warm, subject</dt>",
        "<dt>variant c, text</dt>",
    ):
        assert told in page, told


async def test_a_winner_is_chosen_and_undone_from_the_page(served: Served) -> None:
    sequence = await a_sequence(served, {**VARIED, "winner": {"by": "replied"}})
    path = f"/sequences/{sequence}/stages/hello/winner"
    async with served.browser() as browser:
        assert f'href="/sequences/{sequence}/variants"' in await browser.get(f"/sequences/{sequence}")
        page = await browser.get(f"/sequences/{sequence}/variants")
        assert "Once each variant was sent to 100 people" in page
        page = await browser.post(path, {"variant": "warm"})
        assert "Everybody gets warm from now on." in page
        assert "New people get warm" in page
        assert f'action="{path}/undo"' in page
        page = await browser.post(path, {"variant": ""})
        assert "none wins</b>" in page
        page = await browser.post(f"{path}/undo")
        assert "Once each variant was sent to 100 people" in page
        assert "is no variant of hello" in await browser.post(path, {"variant": "cold"}, status=422)
        await browser.post(path, {"variant": "warm"}, status=403, signed=False)
        await browser.get(f"/sequences/{uuid4()}/variants", status=404)
        plain = await a_sequence(served, HELLO)
        assert "No stage has variants" in await browser.get(f"/sequences/{plain}/variants")
