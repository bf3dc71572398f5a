"""What e-mail providers post for a message that they received: each format becomes raw messages; pure.

A body that can't be read at all is refused: whoever sent it still has it. Inside one that can be read nothing
is refused: what turns out to be no message is kept as it is, so that it is not lost, and not sent for ever.
Sources: https://postmarkapp.com/developer/webhooks/inbound-webhook,
https://developers.sparkpost.com/api/relay-webhooks/,
https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http,
https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from api.forms import Field, Form
from api.problems import bad_request
from api.rebuilt import Address, Attachment, Header, Pieces, rebuild

MAX_MESSAGES = 1000
"""In one batch."""


@dataclass(frozen=True, slots=True)
class Item:
    """One message; where `unreadable` says why it is none, `raw` is what came in its place."""

    raw: bytes
    unreadable: str = ""


class NoMessage(Exception):
    """What came is no message; says why."""


def postmark(body: bytes) -> list[Item]:
    """Postmark's inbound webhook: one message, its original in `RawEmail` where the server is set so."""
    return [_item(_json(body), _postmark, body)]


def sparkpost(body: bytes) -> list[Item]:
    """SparkPost's relay webhook: a batch of original messages; `{"msys": {}}` is its test of the address."""
    batch = _json(body)
    if not isinstance(batch, list):
        raise bad_request(
            "malformed-batch", "The body is no JSON array: SparkPost posts relay messages in one."
        )
    if len(batch) > MAX_MESSAGES:
        raise bad_request("malformed-batch", f"The batch holds more than {MAX_MESSAGES} messages.")
    return [_item(each, _sparkpost, body) for each in batch if each != {"msys": {}}]


def mailgun(form: Form) -> list[Item]:
    """A Mailgun route's POST: the original where the address ends with `mime`, else its parts."""
    return [_form_item(form, _mailgun)]


def sendgrid(form: Form) -> list[Item]:
    """SendGrid's Inbound Parse, set to post the raw message: the original in `email`."""
    return [_form_item(form, _sendgrid)]


def _form_item(form: Form, read: Callable[[Form], bytes]) -> Item:
    try:
        return Item(read(form))
    except NoMessage as error:
        return Item(form.body, str(error))


def _item(data: Any, read: Callable[[Any], bytes], body: bytes) -> Item:
    try:
        return Item(read(data))
    except NoMessage as error:
        return Item(_as_it_came(data, body), str(error))


def _as_it_came(data: Any, body: bytes) -> bytes:
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:  # nested deeper than it writes, and less deep than it reads
        return body


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request("malformed-json", f"The body is not JSON: {error}.") from None


# ---- Postmark -----------------------------------------------------------------------------------------


def _postmark(data: Any) -> bytes:
    if not isinstance(data, dict):
        raise NoMessage("The body is no JSON object.")
    raw = _str(data.get("RawEmail"))
    if raw.strip():
        return raw.encode()
    headers = tuple(_postmark_headers(data))
    if not any(name.lower() == "from" for name, _ in headers):
        raise NoMessage("It has neither RawEmail nor From: only Postmark's inbound webhook belongs here.")
    attachments = tuple(_postmark_attachment(each) for each in _dicts(data.get("Attachments")))
    return rebuild(Pieces(headers, _str(data.get("TextBody")), _str(data.get("HtmlBody")), attachments))


def _postmark_headers(data: dict[str, Any]) -> Iterator[Header]:
    """`Headers` as they are, before them what Postmark tells apart from them; its `MessageID` is its own."""
    listed = [(_str(each.get("Name")), _str(each.get("Value"))) for each in _dicts(data.get("Headers"))]
    apart: list[Header] = [
        ("X-Original-To", _str(data.get("OriginalRecipient"))),
        ("From", _addresses(data, "From")),
        ("To", _addresses(data, "To")),
        ("Cc", _addresses(data, "Cc")),
        ("Reply-To", _str(data.get("ReplyTo"))),
        ("Subject", _str(data.get("Subject"))),
        ("Date", _str(data.get("Date"))),
    ]
    yield from _added(apart, listed)
    yield from listed


def _addresses(data: dict[str, Any], field: str) -> str | tuple[Address, ...]:
    full = data.get(f"{field}Full")
    found = tuple(
        Address(_str(each.get("Name")), _str(each.get("Email")))
        for each in _dicts([full] if isinstance(full, dict) else full)
        if _str(each.get("Email")).strip()
    )
    return found or _str(data.get(field))


def _postmark_attachment(data: dict[str, Any]) -> Attachment:
    return Attachment(
        _str(data.get("Name")), _str(data.get("ContentType")), _unbase64(_str(data.get("Content"))) or b""
    )


# ---- SparkPost ----------------------------------------------------------------------------------------


def _sparkpost(data: Any) -> bytes:
    content = _dict(_dict(_dict(_dict(data).get("msys")).get("relay_message")).get("content"))
    text = _str(content.get("email_rfc822"))
    if not text.strip():
        raise NoMessage("It has no msys.relay_message.content.email_rfc822: only relay webhooks belong here.")
    if content.get("email_rfc822_is_base64") is not True:
        return text.encode()
    raw = _unbase64(text)
    if not raw:
        raise NoMessage("email_rfc822 is said to be base64, and is not.")
    return raw


# ---- Mailgun ------------------------------------------------------------------------------------------


def _mailgun(form: Form) -> bytes:
    raw = form.content("body-mime")
    if raw.strip():
        return raw
    headers = tuple(_mailgun_headers(form))
    if not any(name.lower() == "from" for name, _ in headers):
        raise NoMessage("It has neither body-mime nor from: only what a route forwards belongs here.")
    attachments = tuple(map(_mailgun_attachment, form.files()))
    return rebuild(Pieces(headers, form.text("body-plain"), form.text("body-html"), attachments))


def _mailgun_headers(form: Form) -> Iterator[Header]:
    listed = list(_pairs(form.text("message-headers")))
    senders = [each.value for each in form.fields if each.name == "sender"]
    apart: list[Header] = [
        ("Return-Path", f"<{form.text('sender')}>" if senders else ""),
        ("X-Original-To", form.text("recipient")),
        ("From", form.text("from")),
        ("To", form.text("To")),
        ("Subject", form.text("subject")),
        ("Date", form.text("Date")),
    ]
    yield from _added(apart, listed)
    yield from listed


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """A JSON list of name and value pairs; what is none is passed over, since the fields tell it again."""
    try:
        listed = orjson.loads(text or "[]")
    except orjson.JSONDecodeError:
        return
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, list) and len(each) == 2:
            yield _str(each[0]), _str(each[1])


def _mailgun_attachment(file: Field) -> Attachment:
    return Attachment(file.file_name, file.content_type, file.value)


# ---- SendGrid -----------------------------------------------------------------------------------------


def _sendgrid(form: Form) -> bytes:
    raw = form.content("email")
    if not raw.strip():
        raise NoMessage("It has no email: in Inbound Parse check `POST the raw, full MIME message`.")
    return raw


# ---- hostile data -------------------------------------------------------------------------------------


def _added(apart: Iterable[Header], listed: Iterable[tuple[str, str]]) -> Iterator[Header]:
    """What is told apart from the listed headers, and not among them."""
    known = {name.lower() for name, _ in listed}
    return ((name, value) for name, value in apart if value and name.lower() not in known)


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _unbase64(text: str) -> bytes | None:
    try:
        return b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
