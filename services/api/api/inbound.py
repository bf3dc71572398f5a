"""The inbound webhooks of mailboxes: messages are made durable, then answered for, then pointed at."""

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from uuid import UUID, uuid5

from aiohttp import web

from api import telemetry
from api.bodies import unsupported
from api.courier import Letter
from api.forms import read_form
from api.handlers import ApiKey, read_body
from api.inbound_providers import Item, mailgun, postmark, sendgrid, sparkpost
from api.keys import basic_password
from api.problems import Problem, bad_request, unauthorized
from api.routing import JSON, MIB, Api, Shown
from chassis import faults
from chassis.inbound import MAX_MESSAGE_BYTES, inbound_document, pointer
from chassis.store import Document
from chassis.telemetry import fields

log = logging.getLogger(__name__)

MAX_POST_BYTES = 35 * MIB
"""A message of 25 MiB in base64, and what is told beside it."""
THREAD_FROM_BYTES = 256 * 1024
"""Reading a larger post takes long enough to be felt by whoever shares the event loop."""
WINDOW_SECONDS = 300
MAILGUN_WINDOW_SECONDS = 12 * 60 * 60
"""Mailgun tries for 8 hours; within the window it is the token that makes a second message impossible."""
MEDIA_TYPE = "message/rfc822"
TIMESTAMP_HEADER = "Segue-Timestamp"
SIGNATURE_HEADER = "Segue-Signature"
SPARKPOST_HEADER = "X-MessageSystems-Webhook-Token"
SCHEME = "Segue-Signature"
NOBODYS_SECRET = secrets.token_urlsafe(32)
"""What an unknown mailbox is compared with, so that it is refused as a wrong signature is."""
BASIC = 'Basic realm="Segue: any name, the mailbox\'s inbound secret as the password", charset="UTF-8"'
CREDENTIALS_DENIED = (
    "The credentials do not fit this mailbox: set the webhook's URL to "
    "https://segue:<inbound_secret>@<host>/v1/inbound/<mailbox id>/<provider>."
)
SPARKPOST_DENIED = f"{SPARKPOST_HEADER} does not fit: set the relay webhook's auth_token to inbound_secret."
MAILGUN_DENIED = (
    "The signature does not fit timestamp, token and this mailbox's Mailgun key: "
    "PUT the HTTP webhook signing key to /v1/mailboxes/<mailbox id>/mailgun-key."
)
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"v1=([0-9a-f]{64})")


class Received(Shown):
    """The message is stored under this id."""

    inbound_id: UUID


class Kept(Shown):
    """One message of a provider's post; `unreadable` says why it is kept as it came, and not judged."""

    inbound_id: UUID
    unreadable: str | None = None


class AllKept(Shown):
    """Everything in a provider's post is stored."""

    messages: list[Kept]


# ---- the raw message, signed --------------------------------------------------------------------------


async def receive(request: web.Request) -> web.StreamResponse:
    """Take a message; the same one again is the same answer."""
    answer = await _counted(request, "webhook", _receive)
    return _json(Received(inbound_id=answer.messages[0].inbound_id), HTTPStatus.ACCEPTED)


async def _receive(api: Api, request: web.Request) -> AllKept:
    timestamp, signatures = read_headers(request)
    check_window(timestamp, api.clock.real_now())
    if request.content_type != MEDIA_TYPE:
        raise unsupported(request.content_type, (MEDIA_TYPE,))
    mailbox = await mailbox_of(api, request)
    raw = await read_body(request, MAX_MESSAGE_BYTES)
    expected = sign(_secret(api, mailbox, "inbound_secret"), timestamp, raw)
    if mailbox is None or not any(hmac.compare_digest(expected, each) for each in signatures):
        raise denied(f"{SIGNATURE_HEADER} does not fit the body, the timestamp and this mailbox's secret.")
    if not raw.strip():
        raise bad_request("empty-message", "The body is empty; send the raw message.")
    return await keep(api, mailbox, "webhook", [Item(raw)])


def read_headers(request: web.Request) -> tuple[str, list[str]]:
    """The timestamp and the signatures (several while a secret rotates); Problem 401 without them."""
    timestamp = request.headers.get(TIMESTAMP_HEADER, "")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise denied(f"{TIMESTAMP_HEADER} is needed: Unix seconds.")
    given = [each.strip() for each in request.headers.get(SIGNATURE_HEADER, "").split(",")[:5]]
    signatures = [found.group(1) for each in given if (found := _SIGNATURE.fullmatch(each))]
    if not signatures:
        raise denied(
            f"{SIGNATURE_HEADER} is needed: v1= and a hex HMAC-SHA256 of timestamp, full stop, body."
        )
    return timestamp, signatures


def check_window(timestamp: str, real_now: datetime) -> None:
    """Problem 401 for a request that is too old (a replay) or from the future."""
    if abs(real_now.timestamp() - int(timestamp)) > WINDOW_SECONDS:
        raise denied(f"{TIMESTAMP_HEADER} is more than {WINDOW_SECONDS // 60} minutes off: check the clock.")


def sign(secret: str, timestamp: str, raw: bytes) -> str:
    """What the signature must be."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + raw, hashlib.sha256).hexdigest()


# ---- what providers post ------------------------------------------------------------------------------


async def receive_postmark(request: web.Request) -> web.StreamResponse:
    """Take what Postmark received; its credentials stand in the URL that it posts to."""
    return _json(await _counted(request, "postmark", _receive_postmark))


async def receive_sparkpost(request: web.Request) -> web.StreamResponse:
    """Take what SparkPost received; its relay webhook's auth_token is the mailbox's secret."""
    return _json(await _counted(request, "sparkpost", _receive_sparkpost))


async def receive_mailgun(request: web.Request) -> web.StreamResponse:
    """Take what a Mailgun route forwards; signed with the account's key, once for each message."""
    return _json(await _counted(request, "mailgun", _receive_mailgun))


async def receive_sendgrid(request: web.Request) -> web.StreamResponse:
    """Take what SendGrid received; its credentials stand in the URL that it posts to."""
    return _json(await _counted(request, "sendgrid", _receive_sendgrid))


async def _receive_postmark(api: Api, request: web.Request) -> AllKept:
    given = basic_password(request.headers.get("Authorization"))
    mailbox = await _mailbox_by_secret(api, request, given, CREDENTIALS_DENIED)
    return await _keep_json(api, request, mailbox, "postmark", postmark)


async def _receive_sparkpost(api: Api, request: web.Request) -> AllKept:
    given = request.headers.get(SPARKPOST_HEADER, "")
    mailbox = await _mailbox_by_secret(api, request, given, SPARKPOST_DENIED)
    return await _keep_json(api, request, mailbox, "sparkpost", sparkpost)


async def _receive_mailgun(api: Api, request: web.Request) -> AllKept:
    mailbox = await mailbox_of(api, request)
    body = await read_body(request, MAX_POST_BYTES)
    form = read_form(request.headers.get("Content-Type", ""), body)
    timestamp, token = form.word("timestamp"), form.word("token")
    expected = sign_mailgun(_secret(api, mailbox, "mailgun_key"), timestamp, token)
    if mailbox is None or not _same(expected, form.word("signature")):
        raise denied(MAILGUN_DENIED)
    check_mailgun_window(timestamp, api.clock.real_now())
    items = await _read(partial(mailgun, form), len(body))
    await _use_token(api, mailbox, token, items)
    return await keep(api, mailbox, "mailgun", items)


async def _receive_sendgrid(api: Api, request: web.Request) -> AllKept:
    given = basic_password(request.headers.get("Authorization"))
    mailbox = await _mailbox_by_secret(api, request, given, CREDENTIALS_DENIED)
    body = await read_body(request, MAX_POST_BYTES)
    form = read_form(request.headers.get("Content-Type", ""), body)
    return await keep(api, mailbox, "sendgrid", await _read(partial(sendgrid, form), len(body)))


async def _mailbox_by_secret(api: Api, request: web.Request, given: str, refusal: str) -> Document:
    """The mailbox whose secret was given; Problem 401 before anything of the body is read."""
    mailbox = await mailbox_of(api, request)
    if not _same(_secret(api, mailbox, "inbound_secret"), given) or mailbox is None:
        raise unauthorized(refusal, BASIC)
    return mailbox


async def _keep_json(
    api: Api, request: web.Request, mailbox: Document, source: str, read: Callable[[bytes], list[Item]]
) -> AllKept:
    if request.content_type != JSON:
        raise unsupported(request.content_type, (JSON,))
    body = await read_body(request, MAX_POST_BYTES)
    return await keep(api, mailbox, source, await _read(partial(read, body), len(body)))


async def _read(read: Callable[[], list[Item]], size: int) -> list[Item]:
    return read() if size < THREAD_FROM_BYTES else await asyncio.to_thread(read)


def sign_mailgun(key: str, timestamp: str, token: str) -> str:
    """What the signature must be.

    Source: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
    """
    return hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()


def check_mailgun_window(timestamp: str, real_now: datetime) -> None:
    """Problem 401 for what is older than Mailgun tries to deliver, or from the future."""
    age = real_now.timestamp() - int(timestamp) if _TIMESTAMP.fullmatch(timestamp) else None
    if age is None or not -WINDOW_SECONDS <= age <= MAILGUN_WINDOW_SECONDS:
        raise denied("The signature's timestamp is too old, or in the future: check the clock.")


async def _use_token(api: Api, mailbox: Document, token: str, items: Sequence[Item]) -> None:
    """Problem 401 if the token has proven another message; the signature does not cover the message."""
    used: Document = {
        "_id": uuid5(mailbox["_id"], token),
        "workspace_id": mailbox["workspace_id"],
        "digest": hashlib.sha256(b"\0".join(each.raw for each in items)).hexdigest(),
        "at": api.clock.real_now(),
    }
    if not await api.store.webhook_tokens.use(used):
        raise denied("This token has signed another message before: Mailgun makes a new one for each.")


# ---- what all of them share ---------------------------------------------------------------------------


async def mailbox_of(api: Api, request: web.Request) -> Document | None:
    """The mailbox that the path names; that there is none must look like a wrong secret."""
    try:
        mailbox_id = UUID(request.match_info["mailbox_id"])
    except ValueError:
        return None
    return await api.store.mailboxes.for_webhook(mailbox_id)


async def keep(api: Api, mailbox: Document, source: str, items: Sequence[Item]) -> AllKept:
    """Make all of them durable, then point at what is to be judged; after a Retry, all may be sent again."""
    kept = []
    for item in items:
        inbound = _document(api, mailbox, source, item)
        is_new = await api.store.inbound.add(inbound, item.raw)
        _tell(inbound, is_new)
        kept.append(inbound)
    await faults.point("api.inbound_stored")
    real_now = api.clock.real_now()
    api.courier.take([Letter(pointer(each, real_now)) for each in kept if "unreadable" not in each])
    return AllKept(
        messages=[Kept(inbound_id=each["_id"], unreadable=each.get("unreadable")) for each in kept]
    )


def _document(api: Api, mailbox: Document, source: str, item: Item) -> Document:
    inbound = inbound_document(
        mailbox["_id"], mailbox["workspace_id"], item.raw, api.clock.now(), source=source
    )
    return {**inbound, "state": "settled", "unreadable": item.unreadable} if item.unreadable else inbound


def _tell(inbound: Document, is_new: bool) -> None:
    result = "unreadable" if "unreadable" in inbound else "new" if is_new else "again"
    telemetry.INBOUND.labels(inbound["source"], result).inc()
    if "unreadable" in inbound:
        log.warning(
            "a post held no message",
            extra=fields(
                "inbound.unreadable",
                inbound_id=inbound["_id"],
                mailbox_id=inbound["mailbox_id"],
                source=inbound["source"],
                reason=inbound["unreadable"],
            ),
        )


async def _counted(
    request: web.Request, source: str, work: Callable[[Api, web.Request], Awaitable[AllKept]]
) -> AllKept:
    try:
        return await work(request.app[ApiKey], request)
    except Problem as problem:
        telemetry.INBOUND.labels(source, str(problem.status.value)).inc()
        raise


def _json(answer: Shown, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Providers take 200 alone for an answer that needs no repetition."""
    return web.Response(
        status=status, body=answer.model_dump_json(exclude_none=True).encode(), content_type=JSON
    )


def _secret(api: Api, mailbox: Document | None, name: str) -> str:
    stored = mailbox.get(name) if mailbox is not None else None
    return api.secrets.decrypt(stored) if stored else NOBODYS_SECRET


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))


def denied(detail: str) -> Problem:
    """401."""
    return unauthorized(detail, f'{SCHEME} realm="segue"')
