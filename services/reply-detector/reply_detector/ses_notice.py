"""Reads the bounces and complaints that Amazon SES announces by e-mail through SNS: JSON, nothing returned.

Shapes: docs.aws.amazon.com/ses/latest/dg/notification-contents.html
"""

import json
import re
from typing import Any

from reply_detector import mime, severity
from reply_detector.bounce import Bounce
from reply_detector.complaint import Complaint
from reply_detector.delivery_report import REASON_LIMIT_CHARS, RECIPIENT_LIMIT
from reply_detector.mime import Part
from reply_detector.verdict import FailedRecipient, Severity

_SENDER = re.compile(r"@(?:[a-z0-9-]{1,20}\.)?sns\.amazonaws\.com", re.I)
_BROKEN_LINE = re.compile(r"!\n ?")  # what a relay does to a line of more than 998 characters


def find(message: Part, parts: list[Part], evidence: list[str]) -> Bounce | Complaint | None:
    """The bounce or complaint that `message` announces; None if it announces neither."""
    if not message.headers.get("x-amz-sns-message-id") and not _SENDER.search(message.get("from")[:400]):
        return None
    text = next((part.text for part in parts if part.content_type == "text/plain"), "")
    document = _document(_BROKEN_LINE.sub("", text))
    kind = document.get("notificationType", document.get("eventType"))
    if kind == "Bounce":
        evidence.append("bounce announced by Amazon SES")
        return Bounce(_failed(_object(document, "bounce")), _message_ids(document))
    if kind == "Complaint":
        return _complaint(_object(document, "complaint"), _message_ids(document))
    return None


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text[text.find("{") : text.rfind("}") + 1])
        if isinstance(document, dict) and isinstance(document.get("Message"), str):
            document = json.loads(document["Message"])  # the topic delivers as email-json
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _failed(bounce: dict[str, Any]) -> tuple[FailedRecipient, ...]:
    failed = []
    for recipient in _objects(bounce, "bouncedRecipients"):
        address = _address(recipient)
        if address:
            failed.append(_graded(address, recipient, permanent=bounce.get("bounceType") == "Permanent"))
    return tuple(failed)


def _graded(address: str, recipient: dict[str, Any], *, permanent: bool) -> FailedRecipient:
    status, reason = str(recipient.get("status", ""))[:20], str(recipient.get("diagnosticCode", ""))
    graded, code = severity.grade(str(recipient.get("action", "failed")).lower(), status, reason)
    if graded is None or (graded is Severity.HARD and not permanent):
        graded = Severity.SOFT
    return FailedRecipient(address, graded, code, " ".join(reason.split())[:REASON_LIMIT_CHARS])


def _complaint(complaint: dict[str, Any], message_ids: tuple[str, ...]) -> Complaint:
    recipients = [_address(recipient) for recipient in _objects(complaint, "complainedRecipients")]
    kind = str(complaint.get("complaintFeedbackType") or "abuse").lower()[:40]
    return Complaint(
        kind, next(filter(None, recipients), ""), message_ids, ("complaint announced by Amazon SES",)
    )


def _message_ids(document: dict[str, Any]) -> tuple[str, ...]:
    headers = _object(_object(document, "mail"), "commonHeaders")
    return tuple(mime.message_ids(str(headers.get("messageId", ""))))


def _address(recipient: dict[str, Any]) -> str:
    return next(iter(mime.addresses(str(recipient.get("emailAddress", "")))), "")


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _objects(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = document.get(name)
    return (
        [each for each in value[:RECIPIENT_LIMIT] if isinstance(each, dict)]
        if isinstance(value, list)
        else []
    )
