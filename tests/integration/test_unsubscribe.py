"""From a link in a message to nobody being written to again: headers, footer, one click, the page."""

import email
import email.policy
import re
from collections.abc import AsyncIterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from chassis import documents as names
from chassis.documents import Document
from stack.carried import Carried, carried

pytestmark = pytest.mark.stack
SEQUENCE: Document = {
    "name": "Engineers",
    "stages": [
        {"id": "hello", "channel": "email", "subject": "Hi {{first_name}}", "text": "Hi {{first_name}}"},
        {"id": "nudge", "channel": "email", "after": "1 day", "text": "Did you see this?"},
    ],
}
FOOTER = {"postal_address": "Our Co\n1 Main Street, Berlin"}
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
NOBODY = "/u/" + "a" * 120


@pytest.fixture
async def world(mongodb_uri: str, tmp_path: Path) -> AsyncIterator[Carried]:
    async with carried(mongodb_uri, tmp_path) as opened:
        yield opened


def last(world: Carried) -> EmailMessage:
    return email.message_from_bytes(world.arrived()[-1], policy=email.policy.default)


def uris(message: EmailMessage) -> list[str]:
    return re.findall(r"<([^>]+)>", message["List-Unsubscribe"] or "")


def link(message: EmailMessage) -> str:
    return urlsplit(uris(message)[0]).path


async def opened(world: Carried, path: str, method: str = "GET", **more: Any) -> tuple[int, str]:
    response = await world.api.client.request(method, path, allow_redirects=False, **more)
    return response.status, await response.text()


async def post(world: Carried, path: str, form: Mapping[str, str]) -> int:
    return (await opened(world, path, "POST", data=form))[0]


async def suppressed(world: Carried) -> list[str]:
    found = await world.api.database.collection(names.SUPPRESSIONS).find({})
    return sorted(each["kind"] for each in found)


async def refusal(world: Carried, external_id: str, mailbox: str) -> str | None:
    """Why the same address is not enrolled again, in another sequence of this mailbox."""
    enrollment = await world.enroll({**SEQUENCE, "mailbox": mailbox}, external_id)
    stored = await world.api.database.collection(names.COMMAND_RESULTS).find_one(
        {"enrollment_id": enrollment}
    )
    return stored["reasons"][0]["code"] if stored else None


async def sent(world: Carried) -> UUID:
    """A first message is out."""
    await world.connect()
    enrollment = await world.enroll(SEQUENCE)
    assert await world.carry(enrollment) == "sent"
    return enrollment


# ---- what a message has -----------------------------------------------------------------------------


async def test_every_message_has_both_fields_and_its_own_link(world: Carried) -> None:
    enrollment = await sent(world)
    first = last(world)
    assert await world.carry(enrollment) == "sent"
    second = last(world)
    assert second["In-Reply-To"] == first["Message-ID"]
    for message in (first, second):
        (uri,) = uris(message)
        assert re.fullmatch(r"https://segue\.example/u/[a-z2-7]{100,250}", uri)
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link(first) != link(second)


async def test_a_mailbox_that_is_watched_offers_its_address_too_with_the_messages_id(world: Carried) -> None:
    imap = {"host": "imap.example", "username": "ana", "password": "s3cret"}
    await world.connect(imap=imap)
    assert await world.carry(await world.enroll(SEQUENCE)) == "sent"
    message = last(world)
    own_id = message["Message-ID"].strip("<>")
    _, mailto = uris(message)
    assert mailto == f"mailto:ana@ourco.example?subject=unsubscribe%20%3C{own_id.replace('@', '%40')}%3E"


async def test_without_an_https_address_messages_have_no_link_and_the_check_says_so(
    mongodb_uri: str, tmp_path: Path
) -> None:
    async with carried(mongodb_uri, tmp_path, public_url="http://127.0.0.1:8080") as world:
        await world.api.call("PUT", "/v1/workspace/footer", FOOTER)
        await sent(world)
        message = last(world)
        assert message["List-Unsubscribe"] is None
        assert message["List-Unsubscribe-Post"] is None
        assert "answer with the one word “stop”" in message.get_content()
        assert (await one_click(world))["state"] == "failed"


async def one_click(world: Carried) -> Document:
    mailbox = (await world.api.call("GET", "/v1/mailboxes"))["items"][0]["id"]
    answer = await world.api.call("GET", f"/v1/mailboxes/{mailbox}/deliverability")
    return next(check for check in answer["checks"] if check["name"] == "one_click")


async def test_a_workspace_may_do_without_the_link_and_the_check_warns_of_it(world: Carried) -> None:
    await world.connect()
    assert (await one_click(world))["state"] == "ok"
    await world.api.call("PUT", "/v1/workspace/footer", {"link": False})
    assert (await one_click(world))["state"] == "warning"
    assert await world.carry(await world.enroll(SEQUENCE)) == "sent"
    assert last(world)["List-Unsubscribe"] is None


async def test_the_footer_stands_below_each_message_once_in_the_persons_language(world: Carried) -> None:
    await world.api.call("PUT", "/v1/workspace/footer", {**FOOTER, "language": "fr"})
    assert await world.api.call("GET", "/v1/workspace/footer") == {
        **FOOTER,
        "reason": "",
        "language": "fr",
        "link": True,
    }
    await world.connect()
    enrollment = await world.enroll(SEQUENCE, tokens={"locale": "de-AT"})
    for text in ("Hi Priya", "Did you see this?"):
        assert await world.carry(enrollment) == "sent"
        message = last(world)
        assert message.get_content().replace("\r\n", "\n") == (
            f"{text}\n\n-- \n"
            "Sie erhalten diese Nachricht, weil Ihr berufliches Profil zu dem passt, was wir suchen.\n"
            f"Keine Nachrichten mehr von uns: {uris(message)[0]}\n"
            "Our Co\n1 Main Street, Berlin\n"
        )


async def test_without_a_postal_address_there_is_no_footer(world: Carried) -> None:
    await sent(world)
    assert last(world).get_content().splitlines() == ["Hi Priya"]


# ---- what a post does -------------------------------------------------------------------------------


async def test_one_click_ends_everything_and_nobody_is_written_to_again(world: Carried) -> None:
    enrollment = await sent(world)
    page = link(last(world))
    assert await post(world, page, ONE_CLICK) == 200
    assert await suppressed(world) == ["address"]
    # Before any stop has arrived: the sender's last look is enough.
    assert await world.carry(enrollment) == "withdrawn suppressed"
    assert len(world.arrived()) == 1
    await world.deliver_stops()
    assert (await world.enrollment(enrollment))["state"] == "stopped"
    assert await refusal(world, "p2", "ana@ourco.example") == "suppressed"


async def test_the_stop_says_unsubscribed_and_reaches_the_persons_other_sequences(world: Carried) -> None:
    enrollment = await sent(world)
    other = await world.enroll({**SEQUENCE, "name": "Others"})
    assert await post(world, link(last(world)), ONE_CLICK) == 200
    await world.deliver_stops()
    for each in (enrollment, other):
        assert (await world.enrollment(each))["stop"]["reason"] == "unsubscribed"


async def test_it_is_published_until_it_is_confirmed(world: Carried) -> None:
    enrollment = await sent(world)
    assert await post(world, link(last(world)), ONE_CLICK) == 200
    courier = world.api.api.courier
    assert len(await world.owed_stops()) == 2
    await courier.deliver()
    world.api.clock.advance(60)
    await courier.sweep_commands()
    assert len(await world.owed_stops()) == 2  # nobody has read them
    await world.deliver_stops()
    assert (await world.enrollment(enrollment))["ended"]
    world.api.clock.advance(60)
    await courier.sweep_commands()
    assert await world.owed_stops() == []


async def test_the_same_post_again_changes_nothing_more(world: Carried) -> None:
    await sent(world)
    page = link(last(world))
    for _ in range(3):
        assert await post(world, page, ONE_CLICK) == 200
    assert len(await world.owed_stops()) == 2
    assert await suppressed(world) == ["address"]
    assert [action for action, _ in await world.api.audited()].count("person.unsubscribed") == 1


async def test_only_this_sender_leaves_other_mailboxes_and_stops_all_of_this_one(world: Carried) -> None:
    enrollment = await sent(world)
    await world.connect(address="ben@ourco.example", display_name="Ben")
    page = link(last(world))
    again = await world.enroll({**SEQUENCE, "name": "Again"})
    bens = await world.enroll({**SEQUENCE, "name": "Ben's", "mailbox": "ben@ourco.example"})
    assert await post(world, page, {"reach": "sender"}) == 200
    await world.deliver_stops()
    assert (await world.enrollment(enrollment))["stop"]["reason"] == "unsubscribed"
    assert await suppressed(world) == ["sender"]
    assert await world.carry(again) == "withdrawn suppressed"
    assert await world.carry(bens) == "sent"
    assert await refusal(world, "p2", "ana@ourco.example") == "suppressed"
    assert await refusal(world, "p3", "ben@ourco.example") is None


# ---- the page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
async def test_scanners_change_nothing(world: Carried, method: str) -> None:
    await sent(world)
    await opened(world, link(last(world)), method)
    assert await world.owed_stops() == []
    assert await suppressed(world) == []


@pytest.mark.parametrize(
    ("accepts", "title"),
    [
        ("", "Unsubscribe"),
        ("de-AT,en;q=0.5", "Abmelden"),
        ("ja, fr;q=0.3, es;q=0.8", "Darse de baja"),
        ("nl;q=0, it-IT", "Annulla l’iscrizione"),
        ("it;q=nan, pt;q=much", "Unsubscribe"),
        ("xx," * 2000, "Unsubscribe"),
    ],
)
async def test_the_page_names_the_sender_in_the_readers_language_and_nobody_else(
    world: Carried, accepts: str, title: str
) -> None:
    await sent(world)
    status, page = await opened(world, link(last(world)), headers={"Accept-Language": accepts})
    assert status == 200
    assert f"<h1>{title}</h1>" in page
    assert "Ána" in page
    assert "Our Co" in page
    assert "priya" not in page.lower()
    assert page.count("<form") == 2
    assert "<script" not in page


async def test_the_page_is_kept_by_nobody_and_loads_nothing_from_elsewhere(world: Carried) -> None:
    response = await world.api.client.get(NOBODY)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    assert "Set-Cookie" not in response.headers


async def test_a_broken_link_says_the_same_whatever_is_wrong_with_it(world: Carried) -> None:
    await sent(world)
    good = link(last(world))
    broken = [NOBODY, good[:-1], good + "a", good.replace("/u/", "/u/a"), good.upper().replace("/U/", "/u/")]
    answers = {await opened(world, each) for each in broken}
    posted = {await opened(world, each, "POST", data=ONE_CLICK) for each in broken}
    assert len(answers) == 1
    assert answers == posted
    assert {status for status, _ in answers} == {404}
    assert await world.owed_stops() == []


async def test_an_answer_is_shown_after_each_choice(world: Carried) -> None:
    await sent(world)
    page = link(last(world))
    _, narrow = await opened(world, page, "POST", data={"reach": "sender"})
    assert "Done. Ána will not write to you again." in narrow
    assert narrow.count("<form") == 1
    _, wide = await opened(world, page, "POST", data={"reach": "everything"})
    assert "Done. Nobody at Our Co will write to you again." in wide
    assert "<form" not in wide


# ---- the footer's own route -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"postal_address": "x" * 501},
        {"postal_address": "\n".join("abcdefghij")},
        {"postal_address": "a\x00b"},
        {"reason": "two\nlines"},
        {"language": "xx"},
        {"link": "yes"},
        {"adress": "a"},
    ],
)
async def test_a_footer_that_can_not_be_kept_is_refused(world: Carried, wrong: Document) -> None:
    await world.api.call("PUT", "/v1/workspace/footer", wrong, status=422)


async def test_only_an_admin_sets_the_footer(world: Carried) -> None:
    key = await world.api.key("read", "write")
    await world.api.call("PUT", "/v1/workspace/footer", FOOTER, key=key, status=403)
    await world.api.call("GET", "/v1/workspace/footer", key=key)
