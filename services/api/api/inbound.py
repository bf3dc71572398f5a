"""The inbound webhook: a raw message is made durable, then answered with 202, then pointed at."""

import hashlib
import hmac
import re
from datetime import datetime
from http import HTTPStatus
from uuid import UUID, uuid4, uuid5

from aiohttp import web

from api import telemetry
from api.bodies import unsupported
from api.courier import Letter
from api.handlers import ApiKey, read_body
from api.problems import Problem, bad_request, unauthorized
from api.routing import MIB, Api, Shown
from chassis import faults
from chassis.store import Document
from segue_contracts.events import InboundMessage

MAX_MESSAGE_BYTES = 25 * MIB
WINDOW_SECONDS = 300
MEDIA_TYPE = "message/rfc822"
TIMESTAMP_HEADER = "Segue-Timestamp"
SIGNATURE_HEADER = "Segue-Signature"
SCHEME = "Segue-Signature"
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"v1=([0-9a-f]{64})")


class Received(Shown):
    """The message is stored under this id."""

    inbound_id: UUID


async def receive(request: web.Request) -> web.StreamResponse:
    """Take a message; the same one again is the same answer."""
    api = request.app[ApiKey]
    try:
        answer = await _receive(api, request)
    except Problem as problem:
        telemetry.INBOUND.labels(str(problem.status.value)).inc()
        raise
    return web.Response(
        status=HTTPStatus.ACCEPTED, body=answer.model_dump_json().encode(), content_type="application/json"
    )


async def _receive(api: Api, request: web.Request) -> Received:
    timestamp, signatures = read_headers(request)
    check_window(timestamp, api.clock.real_now())
    if request.content_type != MEDIA_TYPE:
        raise unsupported(request.content_type, (MEDIA_TYPE,))
    mailbox = await mailbox_of(api, request)
    raw = await read_body(request, MAX_MESSAGE_BYTES)
    secret = api.secrets.decrypt(mailbox["inbound_secret"])
    if not any(hmac.compare_digest(sign(secret, timestamp, raw), each) for each in signatures):
        raise denied("The signature does not fit the body, the timestamp and this mailbox's secret.")
    if not raw.strip():
        raise bad_request("empty-message", "The body is empty; send the raw message.")
    return await _keep(api, mailbox, raw)


async def _keep(api: Api, mailbox: Document, raw: bytes) -> Received:
    inbound = inbound_document(mailbox["_id"], mailbox["workspace_id"], raw, api.clock.now())
    is_new = await api.store.inbound.add(inbound, raw, uuid4())
    await faults.point("api.inbound_stored")
    telemetry.INBOUND.labels("new" if is_new else "again").inc()
    api.courier.take([Letter(pointer(inbound, api.clock.real_now()))])
    return Received(inbound_id=inbound["_id"])


async def mailbox_of(api: Api, request: web.Request) -> Document:
    """The mailbox that the path names; who has no secret learns nothing about which ones exist."""
    try:
        mailbox_id = UUID(request.match_info["mailbox_id"])
    except ValueError:
        raise denied("This mailbox and signature do not fit.") from None
    mailbox = await api.store.mailboxes.for_webhook(mailbox_id)
    if mailbox is None:
        raise denied("This mailbox and signature do not fit.")
    return mailbox


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


def inbound_document(mailbox_id: UUID, workspace_id: UUID, raw: bytes, now: datetime) -> Document:
    """A message as it is stored, without its bytes; the same bytes in the same mailbox have the same id."""
    digest = hashlib.sha256(raw).hexdigest()
    return {
        "_id": uuid5(mailbox_id, digest),
        "workspace_id": workspace_id,
        "mailbox_id": mailbox_id,
        "digest": digest,
        "size": len(raw),
        "received_at": now,
        "source": "webhook",
        "verdict": None,
        "state": "received",
    }


def pointer(inbound: Document, real_now: datetime) -> InboundMessage:
    """What tells the detector; if it is lost, the detector's sweep finds the document."""
    return InboundMessage(
        event_id=uuid5(inbound["_id"], "received"),
        occurred_at=inbound["received_at"],
        recorded_at=real_now,
        workspace_id=inbound["workspace_id"],
        inbound_id=inbound["_id"],
        mailbox_id=inbound["mailbox_id"],
    )


def denied(detail: str) -> Problem:
    """401."""
    return unauthorized(detail, f'{SCHEME} realm="segue"')
