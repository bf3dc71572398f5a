"""What providers post becomes raw messages: the original where it is given, else one that reads the same."""

import contextlib
import json
from base64 import b64encode
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote_plus, urlencode

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api import inbound_sms
from api.forms import MAX_FIELDS, URLENCODED, read_form
from api.inbound_providers import MAX_MESSAGES, Item, mailgun, postmark, sendgrid, sparkpost
from api.problems import Problem
from api.rebuilt import WORD_BYTES, Address, Attachment, Pieces, clean, rebuild
from reply_detector import mime
from reply_detector.classify import classify
from reply_detector.verdict import Kind, Severity

RAW = b"From: priya@there.example\r\nTo: ana@ourco.example\r\nSubject: Re: Hello\r\n\r\nYes, gladly \xff!\r\n"

# The example of Postmark's documentation, shortened; its MessageID is Postmark's own name for the message.
POSTMARK: dict[str, Any] = {
    "FromName": "Renée Ünal",
    "MessageStream": "inbound",
    "From": "priya@there.example",
    "FromFull": {"Email": "priya@there.example", "Name": "Renée Ünal, PhD", "MailboxHash": ""},
    "To": '"Ana" <ana+x1@ourco.example>',
    "ToFull": [{"Email": "ana+x1@ourco.example", "Name": "Ana", "MailboxHash": "x1"}],
    "Cc": "",
    "CcFull": [],
    "OriginalRecipient": "451d9b70cf@inbound.provider.example",
    "Subject": "Re: Grüße aus Köln",
    "MessageID": "73e6d360-66eb-11e1-8e72-a8904824019b",
    "ReplyTo": "",
    "Date": "Fri, 1 Aug 2025 16:45:32 -0400",
    "TextBody": "Yes, gladly!\n\nOn Thu, 31 Jul 2025 at 10:00, Ana <ana@ourco.example> wrote:\n> Hi",
    "HtmlBody": "<p>Yes, gladly!</p>",
    "StrippedTextReply": "Yes, gladly!",
    "Headers": [
        {"Name": "Return-Path", "Value": "<priya@there.example>"},
        {"Name": "Message-ID", "Value": "<their-1@there.example>"},
        {"Name": "In-Reply-To", "Value": "<our-1@ourco.example>"},
        {"Name": "References", "Value": "<our-0@ourco.example>\t<our-1@ourco.example>"},
        {"Name": "Content-Type", "Value": 'multipart/alternative; boundary="theirs"'},
    ],
    "Attachments": [
        {
            "Name": "Lebenslauf – Ünal.pdf",
            "Content": b64encode(b"%PDF-1.7").decode(),
            "ContentType": "application/pdf",
            "ContentLength": 8,
        }
    ],
}


def dumped(data: Any) -> bytes:
    return orjson.dumps(data)


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


# ---- Postmark -----------------------------------------------------------------------------------------


def test_a_postmark_message_is_rebuilt_with_all_that_matters() -> None:
    [item] = postmark(dumped(POSTMARK))
    assert item.unreadable == ""
    message = parsed(item.raw)
    assert message["From"].addresses[0].display_name == "Renée Ünal, PhD"
    assert message["From"].addresses[0].addr_spec == "priya@there.example"
    assert str(message["Subject"]) == "Re: Grüße aus Köln"
    assert message["X-Original-To"] == "451d9b70cf@inbound.provider.example"
    assert message["Message-ID"] == "<their-1@there.example>"
    assert message["Return-Path"] == "<priya@there.example>"
    assert message.get_all("Content-Type") == [message["Content-Type"]]
    assert text_of(message, "plain") == POSTMARK["TextBody"]
    assert text_of(message, "html") == POSTMARK["HtmlBody"]
    [attachment] = message.iter_attachments()
    assert attachment.get_filename() == "Lebenslauf – Ünal.pdf"
    assert attachment.get_content() == b"%PDF-1.7"
    assert not message.defects


def test_the_detector_reads_a_rebuilt_message_as_it_would_the_original() -> None:
    [item] = postmark(dumped(POSTMARK))
    verdict = classify(item.raw)
    assert (verdict.kind, verdict.text) == (Kind.REPLY, "Yes, gladly!")
    assert verdict.facts.message_id == "<their-1@there.example>"
    assert set(verdict.facts.references) == {"<our-0@ourco.example>", "<our-1@ourco.example>"}
    assert verdict.facts.from_address == "priya@there.example"
    assert "ana+x1@ourco.example" in verdict.facts.to_addresses


def test_the_same_post_is_the_same_message_again() -> None:
    assert postmark(dumped(POSTMARK)) == postmark(dumped(dict(POSTMARK)))


def test_postmarks_original_is_taken_as_it_is() -> None:
    raw = RAW.decode("latin-1")
    assert postmark(dumped({**POSTMARK, "RawEmail": raw})) == [Item(raw.encode())]


def test_an_absence_and_a_bounce_survive_being_taken_apart() -> None:
    headers = [*POSTMARK["Headers"], {"Name": "Auto-Submitted", "Value": "auto-replied"}]
    [absence] = postmark(dumped({**POSTMARK, "Headers": headers, "TextBody": "I am out of the office."}))
    assert classify(absence.raw).kind is Kind.AUTO_REPLY

    status = (
        b"Reporting-MTA: dns; mx.there.example\r\n\r\nFinal-Recipient: rfc822; priya@there.example\r\n"
        b"Action: failed\r\nStatus: 5.1.1\r\n"
    )
    kind = "multipart/report; report-type=delivery-status; boundary=x"
    dsn = {
        "From": "MAILER-DAEMON@there.example",
        "Subject": "Undelivered Mail Returned to Sender",
        "TextBody": "This is the mail system. Your message could not be delivered.",
        "Headers": [{"Name": "Content-Type", "Value": kind}, {"Name": "Return-Path", "Value": "<>"}],
        "Attachments": [
            {"ContentType": "message/delivery-status", "Content": b64encode(status).decode()},
            {
                "ContentType": "message/rfc822",
                "Content": b64encode(
                    b"Message-ID: <our-1@ourco.example>\r\nSubject: Hi\r\n\r\nHi\r\n"
                ).decode(),
            },
        ],
    }
    [bounce] = postmark(dumped(dsn))
    verdict = classify(bounce.raw)
    assert verdict.kind is Kind.BOUNCE
    assert [(r.address, r.severity) for r in verdict.recipients] == [("priya@there.example", Severity.HARD)]
    assert verdict.original_message_ids == ("<our-1@ourco.example>",)


def test_no_value_can_add_a_header_or_end_the_head() -> None:
    evil = "Hi\r\nBcc: evil@x.example\r\n\r\nbody\u2028\x85\x00"
    headers = [
        {"Name": "X-A", "Value": evil},
        {"Name": "X-B\r\nBcc", "Value": "x"},
        {"Name": "", "Value": "y"},
    ]
    full = {"Email": "p@there.example>\r\nBcc: <e@x.example", "Name": evil}
    [item] = postmark(dumped({**POSTMARK, "Subject": evil, "Headers": headers, "FromFull": full}))
    message = parsed(item.raw)
    assert "Bcc" not in message
    assert set(message.keys()) == {
        *("X-Original-To", "From", "To", "Subject", "Date", "X-A", "MIME-Version", "Content-Type")
    }


# ---- SparkPost ----------------------------------------------------------------------------------------


def relayed(raw: bytes, *, base64: bool = False) -> dict[str, Any]:
    text = b64encode(raw).decode() if base64 else raw.decode()
    content = {"email_rfc822": text, "email_rfc822_is_base64": base64, "subject": "Re: Hello"}
    return {"msys": {"relay_message": {"content": content, "rcpt_to": "ana@ourco.example"}}}


def test_a_batch_of_sparkpost_is_its_original_messages() -> None:
    plain = RAW.replace(b"\xff", b"")
    batch = [relayed(plain), relayed(RAW, base64=True)]
    assert sparkpost(dumped(batch)) == [Item(plain), Item(RAW)]


def test_what_is_no_message_in_a_batch_is_kept_as_it_came_beside_the_others() -> None:
    broken = {"msys": {"relay_message": {"content": {"email_rfc822": "%%", "email_rfc822_is_base64": True}}}}
    poison: list[Any] = [broken, {"msys": {"message_event": {"type": "open"}}}, None, 7, "x", [[]]]
    items = sparkpost(dumped([relayed(RAW, base64=True), *poison]))
    assert items[0] == Item(RAW)
    assert [json.loads(each.raw) for each in items[1:]] == poison
    assert all(each.unreadable for each in items[1:])


def test_sparkposts_test_of_the_address_is_no_message() -> None:
    assert sparkpost(b'[{"msys": {}}]') == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"msys": {}}', b"[" + b"{}," * MAX_MESSAGES + b"{}]"])
def test_a_body_that_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        sparkpost(body)
    assert refused.value.status == 400


# ---- Mailgun ------------------------------------------------------------------------------------------

BOUNDARY = "d41d8cd9"


def multipart(
    values: Mapping[str, bytes], files: Mapping[str, tuple[str, str, bytes]] | None = None
) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in values.items()
    ]
    parts += [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        f"Content-Type: {kind}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, (file, kind, content) in (files or {}).items()
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def test_a_mailgun_original_keeps_every_byte_in_both_kinds_of_form() -> None:
    urlencoded = b"recipient=ana%40ourco.example&body-mime=" + quote_plus(RAW).encode()
    assert mailgun(read_form(URLENCODED, urlencoded)) == [Item(RAW)]
    large = bytes(range(256)) * 1000
    for shift in range(3):
        escaped = b"a" * shift + b"".join(b"%%%02x" % each for each in large)
        assert mailgun(read_form(URLENCODED, b"body-mime=" + escaped)) == [Item(b"a" * shift + large)]
    assert mailgun(read_form(MULTIPART, multipart({"body-mime": RAW, "token": b"t"}))) == [Item(RAW)]


def test_a_sendgrid_original_is_taken_as_it_is_and_parsed_mail_is_kept_with_the_cure() -> None:
    envelope = b'{"to":["ana@ourco.example"],"from":"priya@there.example"}'
    form = read_form(MULTIPART, multipart({"envelope": envelope, "email": RAW}))
    assert sendgrid(form) == [Item(RAW)]
    taken_apart = read_form(MULTIPART, multipart({"envelope": envelope, "text": b"Yes!"}))
    [item] = sendgrid(taken_apart)
    assert item.raw == taken_apart.body
    assert "POST the raw, full MIME message" in item.unreadable


def test_a_mailgun_message_in_parts_is_rebuilt() -> None:
    headers = [
        ["Message-Id", "<their-1@there.example>"],
        ["In-Reply-To", "<our-1@ourco.example>"],
        ["From", "Renée <priya@there.example>"],
        ["Auto-Submitted", "no"],
    ]
    values = {
        "recipient": "ana+x1@ourco.example",
        "sender": "priya@there.example",
        "from": "Renée <priya@there.example>",
        "subject": "Re: Grüße",
        "body-plain": "Ja, gern!",
        "message-headers": json.dumps(headers),
    }
    files = {"attachment-1": ("cv.pdf", "application/pdf", b"\x00\r\n%PDF")}
    form = read_form(MULTIPART, multipart({name: each.encode() for name, each in values.items()}, files))
    [item] = mailgun(form)
    message, verdict = parsed(item.raw), classify(item.raw)
    assert message["From"].addresses[0].display_name == "Renée"
    assert (message["Return-Path"], str(message["Subject"])) == ("<priya@there.example>", "Re: Grüße")
    assert [each.get_content() for each in message.iter_attachments()] == [b"\x00\r\n%PDF"]
    assert (verdict.kind, verdict.text) == (Kind.REPLY, "Ja, gern!")
    assert verdict.facts.references == ("<our-1@ourco.example>",)
    assert "ana+x1@ourco.example" in verdict.facts.to_addresses


def test_a_form_without_a_message_is_kept_as_it_came() -> None:
    body = b"timestamp=1&event=opened"
    [item] = mailgun(read_form(URLENCODED, body))
    assert item.raw == body
    assert item.unreadable


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x--"),
        (MULTIPART, b""),
        (MULTIPART, f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\nbroken off'.encode()),
        (URLENCODED, b"&".join([b"a=1"] * (MAX_FIELDS + 1))),
    ],
)
def test_a_form_that_cant_be_read_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        read_form(kind, body)
    assert refused.value.status == 400


# ---- Twilio -------------------------------------------------------------------------------------------


def test_twilios_signature_is_the_one_of_its_documentation() -> None:
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url, signature = "https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert inbound_sms.sign("12345", url, form.items()) == signature
    for same in (url, url.replace(".com/", ".com:443/"), url.replace(".com/", ".com:8443/")):
        assert inbound_sms.fits("12345", same, form.items(), signature)
    assert not inbound_sms.fits("12345", url, {**form, "Digits": "1235"}.items(), signature)
    assert not inbound_sms.fits("12345", url + "&", form.items(), signature)
    assert not inbound_sms.fits("12346", url, form.items(), signature)
    assert not inbound_sms.fits("12345", url, form.items(), "\udcff")


# ---- properties ---------------------------------------------------------------------------------------

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(max_size=200)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=1500)
ADDRESSES = st.from_regex(r"[a-z0-9.+_-]{1,20}@[a-z0-9-]{1,20}\.example", fullmatch=True)


@quick
@given(value=WORDS | st.from_regex(r"( ?=\?utf-8\?[bq]\?[a-z=0-9]{0,8}\?=){1,3}", fullmatch=True))
def test_a_rebuilt_header_reads_as_it_was(value: str) -> None:
    part = mime.parse(rebuild(Pieces((("Subject", value), ("X-After", "here")), "")))
    assert part.get("subject").split() == clean(value).replace("\x00", "").split()
    assert part.get("x-after") == "here"
    assert " ".join(str(parsed(rebuild(Pieces((("Subject", value),), "")))["Subject"]).split()) == " ".join(
        clean(value).split()
    )


@quick
@given(name=WORDS, address=ADDRESSES)
def test_a_rebuilt_address_reads_as_it_was(name: str, address: str) -> None:
    raw = rebuild(Pieces((("From", (Address(name, address), Address("B", "b@x.example"))),), ""))
    first, second = parsed(raw)["From"].addresses
    assert (first.addr_spec, second.addr_spec) == (address, "b@x.example")
    shown = mime.parse(raw).get("from")
    assert address in mime.addresses(shown)
    if (
        len(name.encode()) <= WORD_BYTES
    ):  # what needs several words, Python 3.11 reads with spaces between them
        assert first.display_name.split() == clean(name).split()
    elif not name.isascii():
        assert " ".join(shown.split()).startswith(" ".join(clean(name).split()))


@quick
@given(text=TEXT, html=TEXT, name=TEXT, content=st.binary(max_size=300))
def test_rebuilt_bodies_and_attachments_read_as_they_were(
    text: str, html: str, name: str, content: bytes
) -> None:
    files = (Attachment(name, "application/pdf", content),)
    message = parsed(rebuild(Pieces((("From", "a@x.example"),), text, html, files)))
    readable, attached = list(message.iter_parts())
    assert attached.get_payload(decode=True) == content
    bodies = {
        part.get_content_type(): part.get_payload(decode=True)
        for part in readable.walk()
        if not part.is_multipart()
    }
    expected = {"text/plain": text.encode(), "text/html": html.encode()}
    assert bodies == {kind: each for kind, each in expected.items() if each or (not html and "plain" in kind)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
    max_leaves=20,
)
OF_POSTMARK = st.sampled_from([*POSTMARK, "RawEmail"])
OF_SPARKPOST = st.sampled_from(
    ["msys", "relay_message", "content", "email_rfc822", "email_rfc822_is_base64", "Name", "Value"]
)
SHAPED = st.recursive(
    JSON,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(OF_SPARKPOST | OF_POSTMARK, children, max_size=4)
    ),
    max_leaves=20,
)


@quick
@given(changes=st.dictionaries(OF_POSTMARK, SHAPED, max_size=8), whole=SHAPED, as_whole=st.booleans())
def test_no_json_breaks_the_postmark_reader(changes: Any, whole: Any, as_whole: bool) -> None:
    [item] = postmark(dumped(whole if as_whole else {**POSTMARK, **changes}))
    assert item.raw
    classify(item.raw)


@quick
@given(batch=st.lists(SHAPED, max_size=5))
def test_no_json_breaks_the_sparkpost_reader(batch: list[Any]) -> None:
    items = sparkpost(dumped(batch))
    assert len(items) == len([each for each in batch if each != {"msys": {}}])


@pytest.mark.parametrize("read", [postmark, sparkpost])
def test_deeply_nested_json_is_kept_or_refused(read: Any) -> None:
    with contextlib.suppress(Problem):
        for depth in (200, 300, 1000, 5000):
            [item] = read(b"[" * depth + b"]" * depth)
            assert item.unreadable


@quick
@given(pairs=st.lists(st.tuples(TEXT.filter(bool).map(lambda name: name[:20]), TEXT), max_size=10))
def test_a_form_reads_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    assert read_form(URLENCODED, urlencode(pairs).encode()).pairs() == pairs


@quick
@given(body=st.binary(max_size=500), kind=st.sampled_from([URLENCODED, MULTIPART, f"{MULTIPART}; x"]))
def test_no_bytes_break_the_form_reader(body: bytes, kind: str) -> None:
    for each in (
        body,
        body.replace(b"\x00", f"\r\n--{BOUNDARY}\r\n".encode()) + f"\r\n--{BOUNDARY}--".encode(),
    ):
        with contextlib.suppress(Problem):
            assert mailgun(read_form(kind, each))


@quick
@given(content=st.binary(max_size=300))
def test_a_file_in_a_form_keeps_its_bytes(content: bytes) -> None:
    body = multipart({"a": b"1"}, {"f": ("x", "y/z", content)})
    if f"\r\n--{BOUNDARY}".encode() not in content:
        assert read_form(MULTIPART, body).files()[0].value == content
