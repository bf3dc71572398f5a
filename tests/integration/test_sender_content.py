"""What a mail carries, from the sequence to the bytes that the mail server gets."""

import email
import hashlib
from collections.abc import AsyncIterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import dkim as independent
import pytest

from chassis import documents as names
from chassis.documents import AttachmentView, DeliveryView, MailboxView
from stack.carried import Carried, carried
from stack.mail_script import Cut, Refuse

pytestmark = pytest.mark.stack
HTML = """<p>Hi <b>{{first_name|there}}</b>,
see <a href="https://ourco.example/j?p={{first_name}}">the job</a></p>"""
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 300
FOOTER = {"postal_address": "Our Co <GmbH>\nStreet 1\nBerlin", "language": "en"}


@pytest.fixture
async def services(mongodb_uri: str, tmp_path: Path) -> AsyncIterator[Carried]:
    async with carried(mongodb_uri, tmp_path) as made:
        yield made


def sequence(**stage: Any) -> dict[str, Any]:
    return {
        "name": "Engineers",
        "stages": [{"id": "hello", "channel": "email", "subject": "Hi {{first_name}}", **stage}],
    }


async def upload(services: Carried, filename: str, content: bytes, content_type: str) -> str:
    made = await services.api.call(
        "POST",
        "/v1/attachments",
        params={"filename": filename},
        data=content,
        headers={"Content-Type": content_type},
        status=201,
    )
    return str(made["id"])


def last(services: Carried) -> EmailMessage:
    return email.message_from_bytes(services.arrived()[-1], policy=policy.default)


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


async def test_html_alone_is_sent_with_a_text_derived_from_it_and_the_footer_below_both(
    services: Carried,
) -> None:
    await services.api.call("PUT", "/v1/workspace/footer", FOOTER)
    await services.connect()
    enrollment = await services.enroll(sequence(html=HTML), first_name="Anne <&> Bo")
    assert await services.carry(enrollment) == "sent"
    message = last(services)
    assert message.get_content_type() == "multipart/alternative"
    text, html = part(message, "plain"), part(message, "html")
    link = message["List-Unsubscribe"].partition(">")[0].removeprefix("<")
    assert text.startswith("Hi Anne <&> Bo, see the job (https://ourco.example/j?p=Anne <&> Bo)\n\n-- \n")
    assert f"No more messages from us: {link}\nOur Co <GmbH>\n" in text
    assert "<b>Anne &lt;&amp;&gt; Bo</b>" in html
    assert f'<a href="{link}">No more messages from us</a>' in html
    assert "Our Co &lt;GmbH&gt;<br>Street 1<br>Berlin" in html


async def test_text_alone_is_a_plain_mail_as_ever(services: Carried) -> None:
    await services.connect()
    assert await services.carry(await services.enroll(sequence(text="Hi {{first_name}}"))) == "sent"
    message = last(services)
    assert message.get_content_type() == "text/plain"
    assert message.get_content() == "Hi Priya\r\n"
    assert message["Reply-To"] is None


async def test_files_go_along_whole_under_their_names(services: Carried) -> None:
    await services.connect()
    offer = await upload(services, "Angebot für 日本 🎉.pdf", PDF, "application/pdf")
    notes = await upload(services, "notes.txt", "Grüße\n".encode(), "text/plain")
    document = sequence(html=HTML, text="Hi", attachments=[offer, notes])
    assert await services.carry(await services.enroll(document)) == "sent"
    message = last(services)
    assert message.get_content_type() == "multipart/mixed"
    first, second = message.iter_attachments()
    assert (first.get_filename(), first.get_content()) == ("Angebot für 日本 🎉.pdf", PDF)
    assert (second.get_filename(), second.get_content()) == ("notes.txt", "Grüße\n")
    assert part(message, "plain") == "Hi\n"
    stored = await services.api.database.collection(names.ATTACHMENTS).find_one({"_id": UUID(offer)})
    assert stored is not None
    assert AttachmentView.read(stored).content == PDF


async def test_a_resend_sends_the_very_bytes_to_the_very_recipients(services: Carried) -> None:
    await services.connect()
    offer = await upload(services, "Offer.pdf", PDF, "application/pdf")
    services.smtp.answer("priya@there.example", Cut(recorded=True), times=1)
    document = sequence(html=HTML, attachments=[offer], bcc="crm@ourco.example")
    enrollment = await services.enroll(document)
    assert (await services.carry(enrollment)).startswith("in_doubt")
    deliveries = services.api.database.collection(names.DELIVERIES)
    await deliveries.update_many({}, {"$set": {"state": "deferred"}})
    enrollments = services.api.database.collection(names.ENROLLMENTS)
    now = services.api.clock.now()
    await enrollments.update_many({}, {"$set": {"state": "scheduled", "due_at": now}})
    assert await services.carry(enrollment) == "sent"
    first, second = services.smtp.messages()
    assert services.smtp.content(first) == services.smtp.content(second)
    assert first.recipients == second.recipients == ("priya@there.example", "crm@ourco.example")


async def test_copies_are_in_the_envelope_and_in_no_header(services: Carried) -> None:
    await services.connect()
    document = sequence(text="Hi", bcc=["crm@ourco.example", "boss@bücher.example", "priya@there.example"])
    assert await services.carry(await services.enroll(document)) == "sent"
    (message,) = services.smtp.messages()
    assert message.recipients == ("priya@there.example", "crm@ourco.example", "boss@xn--bcher-kva.example")
    content = services.smtp.content(message)
    assert b"crm@" not in content
    assert b"boss@" not in content
    assert b"\r\nbcc:" not in content.lower()


async def test_a_copy_that_is_refused_or_suppressed_does_not_touch_the_person(services: Carried) -> None:
    await services.connect()
    services.smtp.answer("gone@ourco.example", Refuse())
    await services.api.call("POST", "/v1/suppressions", {"address": "quiet@ourco.example"}, status=201)
    document = sequence(text="Hi", bcc=["gone@ourco.example", "quiet@ourco.example", "crm@ourco.example"])
    assert await services.carry(await services.enroll(document)) == "sent"
    (message,) = services.smtp.messages()
    assert message.recipients == ("priya@there.example", "crm@ourco.example")
    suppressions = await services.api.call("GET", "/v1/suppressions")
    assert len(suppressions["items"]) == 1


async def test_a_person_who_is_refused_is_not_sent_because_a_copy_was_taken(services: Carried) -> None:
    await services.connect()
    services.smtp.answer("priya@there.example", Refuse())
    document = sequence(text="Hi", bcc="crm@ourco.example")
    assert (await services.carry(await services.enroll(document))).startswith("rejected")
    assert services.arrived() == []


@pytest.mark.parametrize(
    ("mailbox", "stage", "expected"),
    [
        ({"reply_to": "team@ourco.example"}, {}, "team@ourco.example"),
        ({"reply_to": "team@ourco.example"}, {"reply_to": "jobs@büro.example"}, "jobs@xn--bro-hoa.example"),
    ],
)
async def test_answers_go_where_the_stage_says_else_the_mailbox(
    services: Carried, mailbox: dict[str, str], stage: dict[str, str], expected: str
) -> None:
    await services.connect(**mailbox)
    assert await services.carry(await services.enroll(sequence(text="Hi", **stage))) == "sent"
    assert last(services)["Reply-To"] == expected


async def test_a_signature_stands_where_it_is_placed_as_text_and_as_html(services: Carried) -> None:
    await services.connect(
        signature="Best,\n{{my_name}}",
        signature_html="<p>Best,<br><b>{{my_name}}</b></p>",
        signature_at_end=True,
    )
    document = sequence(text="{{signature}}\nPS: hi", html="<div>{{signature}}</div><p>PS: hi</p>")
    assert await services.carry(await services.enroll(document)) == "sent"
    message = last(services)
    assert part(message, "plain") == "Best,\nÁna\nPS: hi\n"
    assert "<div><p>Best,<br><b>Ána</b></p></div><p>PS: hi</p>" in part(message, "html")


async def test_a_signature_goes_below_what_does_not_place_it_if_the_mailbox_says_so(
    services: Carried,
) -> None:
    await services.connect(signature_html="<p>Best, <b>{{my_name}}</b></p>", signature_at_end=True)
    document = sequence(text="Hi", html="<p>Hi</p>")
    document["stages"].append({"id": "two", "channel": "email", "html": "<p>Again</p>"})
    enrollment = await services.enroll(document)
    assert await services.carry(enrollment) == "sent"
    message = last(services)
    assert part(message, "plain") == "Hi\n\nBest, Ána\n"
    assert "<p>Hi</p><div><br><p>Best, <b>Ána</b></p></div>" in part(message, "html")
    assert await services.carry(enrollment) == "sent"
    message = last(services)
    assert part(message, "plain") == "Again\n\nBest, Ána\n"
    assert message["Subject"] == "Re: Hi Priya"


async def test_without_html_of_its_own_a_signature_is_its_lines_in_html(services: Carried) -> None:
    mailbox = await services.connect(signature="Best <wishes>,\n{{my_name}}")
    stored = await services.api.database.collection(names.MAILBOXES).find_one({"_id": UUID(mailbox)})
    assert stored is not None
    assert MailboxView.read(stored).signature_html == ""
    assert await services.carry(await services.enroll(sequence(html="<p>Hi</p>{{signature}}"))) == "sent"
    message = last(services)
    assert "<p>Hi</p>Best &lt;wishes&gt;,<br>Ána" in part(message, "html")
    assert part(message, "plain") == "Hi\n\nBest <wishes>,\nÁna\n"


async def test_a_link_that_a_value_spoils_is_refused_as_the_person_is_enrolled(services: Carried) -> None:
    await services.connect()
    document = sequence(html='<p><a href="{{title}}">here</a></p>')
    enrollment = await services.enroll(document, title="javascript:alert(1)")
    results = await services.api.database.collection(names.COMMAND_RESULTS).find({})
    assert [each["code"] for each in results[0]["reasons"]] == ["template"]
    assert await services.api.database.collection(names.ENROLLMENTS).find_one({"_id": enrollment}) is None


async def test_what_is_signed_by_us_holds_with_html_and_files(services: Carried) -> None:
    mailbox = await services.connect()
    api = services.api
    made = await api.call("POST", "/v1/signing-domains", {"domain": "ourco.example"}, status=201)
    for key in made["keys"]:
        api.zone.text(key["name"], key["record"])
    await api.call("POST", f"/v1/signing-domains/{made['id']}/activate")
    await api.call("PUT", f"/v1/mailboxes/{mailbox}/signs", {"signs": "own"}, status=204)
    offer = await upload(services, "Offer.pdf", PDF, "application/pdf")
    document = sequence(html=HTML, attachments=[offer], reply_to="ana@ourco.example")
    assert await services.carry(await services.enroll(document)) == "sent"
    (message,) = services.arrived()

    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        found = api.zone.texts.get(name.decode().removesuffix("."))
        return found[0].encode() if found else None

    assert [independent.DKIM(message).verify(idx=at, dnsfunc=dns) for at in range(2)] == [True, True]
    assert hashlib.sha256(PDF).digest() == hashlib.sha256(_attached(message)).digest()


def _attached(raw: bytes) -> bytes:
    message: EmailMessage = email.message_from_bytes(raw, policy=policy.default)
    (found,) = message.iter_attachments()
    return bytes(found.get_content())


async def test_a_file_that_is_not_there_waits_for_a_person(services: Carried) -> None:
    await services.connect()
    offer = await upload(services, "Offer.pdf", PDF, "application/pdf")
    enrollment = await services.enroll(sequence(text="Hi", attachments=[offer]))
    await services.api.database.collection(names.ATTACHMENTS).delete_one({"_id": UUID(offer)})
    assert await services.carry(enrollment) == "deferred attachment_missing"
    assert services.arrived() == []


async def test_mails_with_files_wait_while_too_many_are_under_way_and_then_go(
    services: Carried, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.connect()
    offer = await upload(services, "Offer.pdf", PDF, "application/pdf")
    document = sequence(text="Hi", attachments=[offer])
    document["stages"].append({"id": "two", "channel": "email", "text": "Again", "attachments": [offer]})
    enrollment = await services.enroll(document)
    monkeypatch.setattr("sender.email.HEAVY_BYTES", 0)
    assert await services.carry(enrollment) == "deferred busy"
    monkeypatch.setattr("sender.email.HEAVY_BYTES", 1)
    assert await services.carry(enrollment) == "sent"
    assert await services.carry(enrollment) == "sent"  # what has ended takes no room


async def test_words_written_for_one_person_are_all_that_this_person_gets(services: Carried) -> None:
    await services.connect()
    enrollment = await services.enroll(sequence(html=HTML))
    edit = {"edits": {"hello": {"text": "Only for you, {{first_name}}"}}}
    await services.api.database.collection(names.ENROLLMENTS).update_many({}, {"$set": edit})
    assert await services.carry(enrollment) == "sent"
    message = last(services)
    assert (message.get_content_type(), message.get_content()) == (
        "text/plain",
        "Only for you, Priya\r\n",
    )


async def test_what_bounced_is_a_copy_or_the_person_by_what_the_delivery_keeps(services: Carried) -> None:
    await services.connect()
    document = sequence(text="Hi", bcc=["crm@ourco.example", "PRIYA@there.example"])
    assert await services.carry(await services.enroll(document)) == "sent"
    stored = await services.api.database.collection(names.DELIVERIES).find_one({})
    assert stored is not None
    assert DeliveryView.read(stored).bcc == ("crm@ourco.example",)
