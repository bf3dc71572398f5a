"""What other teams live with: webhooks that tell what happens, and the examples that the pages promise."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from aiohttp import web
from aiohttp.test_utils import TestServer

from stack.client import Client, eventually
from stack.system import System

pytestmark = pytest.mark.stack

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("api.md", "webhooks.md", "retention.md")
BLOCK = re.compile(r"^```sh(?P<mark>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = " not-run"
MOST_NOT_RUN = 1
STRICT = 'set -eo pipefail; curl() { command curl --fail-with-body --max-time 30 "$@"; }\n'
FILES = {
    "people.csv": "external_id,email,First Name\ncand-1,a@there.example,Ana\ncand-2,b@there.example,Ben\n",
    "people.ndjson": '{"external_id": "cand-3", "email": "c@there.example"}\n{"external_id": "cand-4"}\n',
    "message.eml": "From: priya@there.example\nTo: ana@ourco.example\nSubject: Re: Hello\n\nYes!\n",
}
ONE_MAIL = """
name: One mail
stages: [{id: hello, channel: email, subject: Hello, text: Hi}]
"""


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """The URL of somebody's server, and what came there."""
    came: list[tuple[dict[str, str], bytes]] = []

    async def take(request: web.Request) -> web.Response:
        came.append((dict(request.headers), await request.read()))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/hook")), came


async def test_a_webhook_hears_the_story_of_an_enrollment(
    client: Client, mailbox: Any, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    url, came = receiver
    webhook = await client.post("/v1/webhooks", {"url": url, "events": ["enrollment.*"]})
    enrollment = await client.enroll(await client.publish(ONE_MAIL), "priya")

    async def told() -> list[str]:
        return [json.loads(body)["type"] for _, body in came]

    wanted = {f"enrollment.{each}" for each in ("enrolled", "stage_scheduled", "stage_sent", "finished")}
    await eventually(told, until=lambda types: wanted <= set(types))
    for headers, body in came:
        event = standardwebhooks.Webhook(webhook["secret"]).verify(body, headers)
        assert event["data"]["enrollment_id"] == enrollment
        assert b"priya" not in body


# ---- the examples of the pages ------------------------------------------------------------------------


def blocks(page: str) -> Iterator[str]:
    """The shell examples of a page that are to run, and no more exceptions than are agreed."""
    found = list(BLOCK.finditer((DOCS / page).read_text()))
    skipped = [each for each in found if each["mark"]]
    assert all(each["mark"] == NOT_RUN for each in skipped)
    assert len(skipped) <= MOST_NOT_RUN, f"too many examples of {page} are not run"
    return (each["text"] for each in found if not each["mark"])


def values(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand one after the other in what was printed."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        yield value


def learned(answer: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a reader would set from this answer."""
    if "inbound_secret" in answer:
        return {"MAILBOX": answer["id"], "INBOUND_SECRET": answer["inbound_secret"]}
    if "latest_version" in answer:
        return {"SEQ": answer["id"]}
    if answer.get("accepted"):
        return {"COMMAND": answer["accepted"][0]["command_id"]}
    if str(answer.get("secret", "")).startswith("whsec_") and "url" in answer:
        return {"WEBHOOK": answer["id"]}
    return {}


async def run(text: str, folder: Path, variables: Mapping[str, str]) -> str:
    """What an example prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", STRICT + text),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, f"{text}\n{said.decode()}\n{wrong.decode()}"
    return said.decode()


async def test_every_example_of_the_pages_works_as_it_stands(segue: System, tmp_path: Path) -> None:
    access = segue.bootstrap("Examples", "ana@ourco.example")
    variables = {"SEGUE": segue.url, "KEY": access.api_key}
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for page in PAGES:
        for text in blocks(page):
            for answer in values(await run(text, tmp_path, variables)):
                variables |= learned(answer)
