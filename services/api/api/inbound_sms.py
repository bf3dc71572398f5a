"""What Twilio, or a webhook of one's own, posts for a phone number: messages that came in, and receipts for
messages that went out.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha1
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid5

from aiohttp import web
from pydantic import Field

from api import telemetry
from api.bodies import read_json
from api.courier import Letter
from api.forms import Field as FormField
from api.forms import Form, read_form
from api.handlers import ApiKey, read_body
from api.inbound import NOBODYS_SECRET
from api.model import command_document
from api.problems import Problem, invalid_at, unauthorized
from api.routing import JSON, KIB, Api, Closed, made
from chassis import faults, standard_webhooks
from chassis.inbound import inbound_document, pointer
from chassis.store import Document
from segue_contracts.commands import NoteReceipt, ReceiptStatus

MAX_POST_BYTES = 64 * KIB
SIGNATURE_HEADER = "X-Twilio-Signature"
SOURCE = "sms"
NO_ANSWER = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""TwiML that sends nothing."""
STATUSES = frozenset(
    {"accepted", "scheduled", "queued", "sending", "sent", "delivered", "undelivered", "failed"}
    | {"canceled", "read"}
)
"""The documented ones; another is stored all the same."""
DENIED = (
    f"{SIGNATURE_HEADER} does not fit the URL, the form and this number's auth token: "
    "check that SEGUE_PUBLIC_URL is what Twilio calls, and PUT the account's auth token to "
    "/v1/sms-numbers/<number id>."
)
PORTS = {"https": 443, "http": 80}
_SID = re.compile(r"[A-Za-z0-9_-]{10,64}")
_STATUS = re.compile(r"[a-z_-]{1,30}")


JSON_DENIED = (
    "The signature does not fit the body, the time and this number's secret, or it belongs to no webhook: "
    "sign as Standard Webhooks say, with the secret that signs what you receive."
)
FORM_NAMES = {
    "id": "MessageSid",
    "from_": "From",
    "to": "To",
    "text": "Body",
    "media": "NumMedia",
    "status": "MessageStatus",
    "code": "ErrorCode",
}
"""Twilio's names for what a webhook says."""


class WebhookSays(Closed):
    """What a webhook of one's own tells: of a message that came in (`from`, `to`, `text`), or of one that it
    has sent (`status`, `code`). `id` is its own id of the message.
    """

    id: str = Field(max_length=64)
    from_: str = Field(default="", alias="from", max_length=40)
    to: str = Field(default="", max_length=40)
    text: str = Field(default="", max_length=20_000)
    media: int = Field(default=0, ge=0, le=99)
    status: str = Field(default="", max_length=30)
    code: str = Field(default="", max_length=20)


async def receive_message(request: web.Request) -> web.StreamResponse:
    """Take a text message; the same one again is the same answer, and no answer is sent back."""
    return await _counted(request, _receive_message)


async def receive_receipt(request: web.Request) -> web.StreamResponse:
    """Take the news of a message that was sent."""
    return await _counted(request, _receive_receipt)


async def _counted(
    request: web.Request, work: Callable[[Api, web.Request], Awaitable[None]]
) -> web.StreamResponse:
    try:
        await work(request.app[ApiKey], request)
    except Problem as problem:
        telemetry.INBOUND.labels(SOURCE, str(problem.status.value)).inc()
        raise
    return web.Response(status=HTTPStatus.OK, body=NO_ANSWER, content_type="text/xml", charset="utf-8")


async def _receive_message(api: Api, request: web.Request) -> None:
    number, form = await _proven(api, request)
    inbound = message_document(number, form, api)
    is_new = await api.store.inbound.add(inbound, form.body)
    await faults.point("api.inbound_stored")
    telemetry.INBOUND.labels(SOURCE, "new" if is_new else "again").inc()
    api.courier.take([Letter(pointer(inbound, api.clock.real_now()))])


async def _receive_receipt(api: Api, request: web.Request) -> None:
    number, form = await _proven(api, request)
    receipt = receipt_document(number, form, api)
    if (note := note_of(receipt, request.query.get("dispatch", ""), api)) is not None:
        now, real_now = api.clock.now(), api.clock.real_now()
        await api.store.commands.add([command_document(note, note.dispatch_id, now, real_now)])
        api.courier.take([Letter(note, note.event_id)])
    if await api.store.receipts.add(receipt):
        telemetry.RECEIPTS.labels(receipt["status"] if receipt["status"] in STATUSES else "other").inc()


# ---- whose it is --------------------------------------------------------------------------------------


async def _proven(api: Api, request: web.Request) -> tuple[Document, Form]:
    """The number and the form that its auth token signed; Problem 401 otherwise, also for no number."""
    number = await _number_of(api, request)
    body = await read_body(request, MAX_POST_BYTES)
    if request.content_type == JSON:
        return _proven_json(api, request, number, body)
    form = read_form(request.headers.get("Content-Type", ""), body)
    token = api.secrets.decrypt(number["auth_token"]) if number is not None else NOBODYS_SECRET
    url = api.url(request.rel_url.raw_path_qs)
    if not fits(token, url, form.pairs(), request.headers.get(SIGNATURE_HEADER, "")) or number is None:
        raise unauthorized(DENIED, f'{SIGNATURE_HEADER} realm="segue"')
    return number, form


def _proven_json(
    api: Api, request: web.Request, number: Document | None, body: bytes
) -> tuple[Document, Form]:
    """The same of a webhook of the workspace's own, signed as what it gets."""
    secret = api.secrets.decrypt(number["auth_token"]) if number is not None else NOBODYS_SECRET
    may = standard_webhooks.fits(secret, request.headers, body, api.clock.real_now())
    if not may or number is None or number.get("provider") != "webhook":
        raise unauthorized(JSON_DENIED, f'{standard_webhooks.SIGNATURE_HEADER} realm="segue"')
    said = made(WebhookSays, read_json(body))
    fields = tuple(
        FormField(FORM_NAMES[name], str(value).encode()) for name, value in said.model_dump().items() if value
    )
    return number, Form(fields, body)


async def _number_of(api: Api, request: web.Request) -> Document | None:
    try:
        number_id = UUID(request.match_info["number_id"])
    except ValueError:
        return None
    return await api.store.sms_numbers.for_webhook(number_id)


def fits(token: str, url: str, pairs: Iterable[tuple[str, str]], signature: str) -> bool:
    """Whether Twilio signed this; it writes the URL with or without its port.

    Source: https://www.twilio.com/docs/usage/security
    """
    listed, given = list(pairs), signature.encode("utf-8", "surrogateescape")
    expected = (sign(token, each, listed).encode() for each in with_and_without_port(url))
    return any(hmac.compare_digest(each, given) for each in expected)


def sign(token: str, url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """The URL, then every name with its value in the order of the names; a pair twice counts once."""
    text = url + "".join(name + value for name, value in sorted(set(pairs)))
    return b64encode(hmac.new(token.encode(), text.encode(), sha1).digest()).decode()


def with_and_without_port(url: str) -> list[str]:
    """The URL as it is, without its port, and with the port of its scheme."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    standard = f"{host}:{parts.port or PORTS[parts.scheme]}"
    netlocs = dict.fromkeys((parts.netloc, host, standard))
    return [urlunsplit(parts._replace(netloc=netloc)) for netloc in netlocs]


# ---- what it says -------------------------------------------------------------------------------------


def message_document(number: Document, form: Form, api: Api) -> Document:
    """A message as the detector reads it; Problem 422 for another of Twilio's webhooks."""
    sid = _sid(form)
    if form.text("MessageStatus"):
        raise invalid_at("/MessageStatus", "tells of a message that was sent: its callback is …/receipts")
    if not form.text("From").strip():
        raise invalid_at("/From", "is missing: only the webhook for incoming messages belongs here")
    inbound = inbound_document(
        number["_id"],
        number["workspace_id"],
        form.body,
        api.clock.now(),
        source=SOURCE,
        named=f"{number.get('provider', 'twilio')}/{sid}".encode(),
    )
    return {
        **inbound,
        "provider_id": sid,
        "from_phone": form.text("From"),
        "to_phone": form.text("To"),
        "text": form.text("Body"),
        "keyword": form.text("OptOutType"),
        "media": _count(form.text("NumMedia")),
    }


def receipt_document(number: Document, form: Form, api: Api) -> Document:
    """One status of one message: there is one document of each, in whatever order they come."""
    sid, status = _sid(form), form.text("MessageStatus").lower()
    if not _STATUS.fullmatch(status):
        raise invalid_at("/MessageStatus", "is missing: only status callbacks of messages belong here")
    return {
        "_id": uuid5(number["_id"], f"{sid}/{status}"),
        "workspace_id": number["workspace_id"],
        "number_id": number["_id"],
        "provider_id": sid,
        "status": status,
        "error_code": form.text("ErrorCode")[:20] or None,
        "received_at": api.clock.now(),
    }


def note_of(receipt: Document, dispatch_id: str, api: Api) -> NoteReceipt | None:
    """What the sender should know: the end of a message of ours, whose dispatch the callback's URL names."""
    if receipt["status"] not in set(ReceiptStatus):
        return None
    try:
        return NoteReceipt(
            event_id=uuid5(receipt["_id"], "note"),
            occurred_at=receipt["received_at"],
            recorded_at=api.clock.real_now(),
            workspace_id=receipt["workspace_id"],
            dispatch_id=dispatch_id,
            issued_by=SOURCE,
            provider_id=receipt["provider_id"],
            status=receipt["status"],
            error_code=receipt["error_code"] or "",
        )
    except ValueError:
        return None


def _sid(form: Form) -> str:
    sid = form.text("MessageSid") or form.text("SmsSid")
    if not _SID.fullmatch(sid):
        raise invalid_at("/MessageSid", "is missing: only the webhooks of messages belong here")
    return sid


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0
