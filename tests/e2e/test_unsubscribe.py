"""One click on real services: the link of a mail that arrived is posted, and nothing more comes."""

from collections.abc import Awaitable, Callable, Mapping
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from stack.client import Client
from stack.sequences import TWO_MAILS
from stack.system import System

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
PUBLIC_URL = "https://segue.example"


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """A day in four real seconds: two days leave the click the time that it needs on a busy machine."""
    return 21_600.0


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    return {"SEGUE_PUBLIC_URL": PUBLIC_URL, "SEGUE_SWEEP_SECONDS": "0.5"}


async def test_the_link_of_a_mail_that_arrived_stops_the_person_at_once_and_for_good(
    segue: System, client: Client, mailbox: dict[str, Any], mails: Mails
) -> None:
    await client.put("/v1/workspace/footer", {"postal_address": "1 Main Street, Berlin"})
    sequence = await client.publish(TWO_MAILS)
    noor, silent = await client.enroll(sequence, "noor"), await client.enroll(sequence, "silent")
    (hello,) = await mails("noor@there.example", 1)
    link = hello["List-Unsubscribe"].strip("<>")
    assert link.startswith(f"{PUBLIC_URL}/u/")
    assert hello["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link in hello.get_content()

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as program:
        url = segue.url + urlsplit(link).path
        async with program.get(url) as page:
            assert page.status == 200
        assert (await client.enrollment(noor))["state"] != "stopped"
        async with program.post(url, data={"List-Unsubscribe": "One-Click"}, allow_redirects=False) as done:
            assert done.status == 200

    stopped = await client.reached(noor, "stopped")
    assert stopped["stop"]["reason"] == "unsubscribed"
    await client.reached(silent, "finished")
    assert len(await mails("noor@there.example", 1)) == 1
    assert len(await mails("silent@there.example", 2)) == 2
