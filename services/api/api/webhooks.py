"""The table of webhooks: who posts where, and how each proves itself; the OpenAPI document reads it too."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel

from api import inbound, inbound_sms
from api.forms import MULTIPART, URLENCODED
from api.routing import JSON
from chassis.inbound import MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Webhook:
    """One line of the table; `proof` is the name of a security scheme, None where the body holds it."""

    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    operation: str
    summary: str
    description: str
    takes: tuple[str, ...]
    limit_bytes: int
    proof: str | None
    answer: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    headers: tuple[tuple[str, str, str], ...] = ()


_MAILBOX = "/v1/inbound/{mailbox_id}"
_NUMBER = "/v1/sms-numbers/{number_id}"
_KEPT = "Everything in it is stored. Anything but 200: post it again later."
_OWN = "A webhook of your own posts JSON, signed as Standard Webhooks say, in place of the form."
_MAILGUN = "What a route forwards; `timestamp`, `token` and `signature` in it prove it."

WEBHOOKS = (
    Webhook(
        _MAILBOX,
        inbound.receive,
        "post_inbound_message",
        "Hand over a message that a mailbox received",
        "The raw MIME message. Signed with the mailbox's inbound secret; no API key.",
        (inbound.MEDIA_TYPE,),
        MAX_MESSAGE_BYTES,
        "webhook",
        inbound.Received,
        HTTPStatus.ACCEPTED,
        ((inbound.TIMESTAMP_HEADER, "Unix seconds; at most five minutes off", "^[0-9]{1,12}$"),),
    ),
    Webhook(
        _MAILBOX + "/postmark",
        inbound.receive_postmark,
        "post_inbound_postmark",
        "Take what Postmark received for a mailbox",
        f"Postmark's inbound webhook. {_KEPT}",
        (JSON,),
        inbound.MAX_POST_BYTES,
        "basic",
        inbound.AllKept,
    ),
    Webhook(
        _MAILBOX + "/sparkpost",
        inbound.receive_sparkpost,
        "post_inbound_sparkpost",
        "Take what SparkPost received for a mailbox",
        f"A batch of SparkPost's relay webhook. {_KEPT}",
        (JSON,),
        inbound.MAX_POST_BYTES,
        "sparkpost",
        inbound.AllKept,
    ),
    Webhook(
        _MAILBOX + "/mailgun",
        inbound.receive_mailgun,
        "post_inbound_mailgun",
        "Take what a Mailgun route forwards to a mailbox",
        f"{_MAILGUN} {_KEPT}",
        (URLENCODED, MULTIPART),
        inbound.MAX_POST_BYTES,
        None,
        inbound.AllKept,
    ),
    Webhook(
        _MAILBOX + "/mailgun/mime",
        inbound.receive_mailgun,
        "post_inbound_mailgun_mime",
        "Take the original that a Mailgun route forwards to a mailbox",
        f"Mailgun sends originals to addresses that end with `mime`. {_MAILGUN} {_KEPT}",
        (URLENCODED, MULTIPART),
        inbound.MAX_POST_BYTES,
        None,
        inbound.AllKept,
    ),
    Webhook(
        _MAILBOX + "/sendgrid",
        inbound.receive_sendgrid,
        "post_inbound_sendgrid",
        "Take what SendGrid received for a mailbox",
        f"SendGrid's Inbound Parse, set to post the raw message. {_KEPT}",
        (MULTIPART, URLENCODED),
        inbound.MAX_POST_BYTES,
        "basic",
        inbound.AllKept,
    ),
    Webhook(
        _NUMBER + "/messages",
        inbound_sms.receive_message,
        "post_sms_message",
        "Take a text message that a number received",
        f"Twilio's webhook for incoming messages; the answer is TwiML that sends nothing. {_OWN}",
        (URLENCODED, JSON),
        inbound_sms.MAX_POST_BYTES,
        "twilio",
    ),
    Webhook(
        _NUMBER + "/receipts",
        inbound_sms.receive_receipt,
        "post_sms_receipt",
        "Take the news of a text message that was sent",
        f"Twilio's status callback; the answer is TwiML that sends nothing. {_OWN}",
        (URLENCODED, JSON),
        inbound_sms.MAX_POST_BYTES,
        "twilio",
    ),
)
SCHEMES = {
    "webhook": {
        "type": "apiKey",
        "in": "header",
        "name": inbound.SIGNATURE_HEADER,
        "description": f"v1= and the hex HMAC-SHA256 of {inbound.TIMESTAMP_HEADER}, a full stop, body",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "Any name, and the mailbox's inbound secret as the password",
    },
    "sparkpost": {
        "type": "apiKey",
        "in": "header",
        "name": inbound.SPARKPOST_HEADER,
        "description": "The mailbox's inbound secret, set as the relay webhook's auth_token",
    },
    "twilio": {
        "type": "apiKey",
        "in": "header",
        "name": inbound_sms.SIGNATURE_HEADER,
        "description": "Base64 HMAC-SHA1 of the URL and the sorted form, keyed with the auth token",
    },
}
