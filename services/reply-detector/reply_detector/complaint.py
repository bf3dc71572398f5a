"""Recognises feedback reports: a person pressed the spam button, and their provider tells us."""

import re
from dataclasses import dataclass

from reply_detector import mime
from reply_detector.autoreply import subject_core, written_in_client
from reply_detector.mime import Part

_FIELD = re.compile(r"^([A-Za-z-]{3,40})[ \t]{0,5}:[ \t]{0,10}(.{0,1000})$", re.M)
_LEGACY_SENDER = re.compile(
    r"(?:^|[<\s])(?:scomp@aol\.|staff@(?:hotmail|outlook|live|msn)\.|feedbackloop@|fbl@"
    r"|abuse-?(?:report|feedback)|complaints?@feedback|.{0,40}@reports\.spamcop\.net"
    r"|.{1,40}@abuse\.net)",
    re.I,
)
_LEGACY_SUBJECT = re.compile(
    r"^(?:email feedback report|complaint about message from|client tos notification"
    r"|abuse report|spam (?:complaint|report|feedback)|\[?spamcop|feedback loop"
    r"|customer abuse complaint)",
    re.I,
)
_REDACTED = re.compile(r"redact|undisclosed|hidden|^x{3,}@|anonymi[sz]ed|\*{3}", re.I)
_ORIGINAL_RECIPIENT_FIELDS = (
    "x-hmxmroriginalrecipient",
    "to",  # whom we wrote to; the others tell where it went from there
    "x-original-to",
    "x-apparently-to",
    "delivered-to",
    "x-rcpt-to",
    "envelope-to",
    "x-aol-rcpt",
    "x-envelope-to",
)
_RECEIVED_FOR = re.compile(r"\sfor\s{1,20}<?([^\s<>@]{1,64}@[^\s<>;]{3,253})")
_TEXT_RECIPIENT = re.compile(
    r"(?:original[- ]recipient|original-rcpt-to|removal-recipient|recipient|reported by"
    r"|complain(?:ant|er))[ \t]{0,5}:[ \t]{0,10}<?([^\s<>@]{1,64}@[^\s<>,;]{3,253})",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A complaint; `recipient` is empty when the provider took it out and left nothing to find it by."""

    feedback_type: str
    recipient: str
    message_ids: tuple[str, ...]
    evidence: tuple[str, ...]


def find(message: Part, parts: list[Part]) -> Complaint | None:
    """The complaint in `message`, whose own parts (not those of an attached message) are `parts`.

    None for a person who forwards a report, or answers one.
    """
    if _passed_on(message):
        return None
    report = next((part for part in parts if part.content_type == "message/feedback-report"), None)
    if report is None and _declares_report(message):
        report = next((part for part in parts if _looks_like_report(part)), None)
    if report is not None:
        return _standard(report, parts)
    return _legacy(message, parts)


def _passed_on(message: Part) -> bool:
    if message.content_type == "multipart/report":
        return False
    return written_in_client(message) or subject_core(message.get("subject")[:300])[1]


def _declares_report(message: Part) -> bool:
    return message.parameters.get("report-type", "").lower() == "feedback-report"


def _looks_like_report(part: Part) -> bool:
    return not part.parts and "feedback-type:" in part.text[:4000].lower()


def _standard(report: Part, parts: list[Part]) -> Complaint:
    """RFC 5965. A field may repeat; the first value counts."""
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(report.text[:16_000]):
        fields.setdefault(name.lower(), value.strip())
    original = mime.returned(parts)
    evidence = ["feedback report (RFC 5965)"]
    recipient = _usable(fields.get("original-rcpt-to", "")) or _usable(fields.get("removal-recipient", ""))
    if recipient:
        evidence.append("recipient from Original-Rcpt-To")
    else:
        recipient = _recipient_of(original, evidence)
    kind = fields.get("feedback-type", "abuse").split(";")[0].strip().lower()[:40] or "abuse"
    return Complaint(kind, recipient, _message_ids(original), tuple(evidence))


def _legacy(message: Part, parts: list[Part]) -> Complaint | None:
    """Reports from before RFC 5965, or beside it: an attached original and a known sender or subject."""
    original = mime.returned(parts)
    if message.headers.get("x-xarf") or message.headers.get("x-arf"):
        why = "X-ARF report"
    elif _is_junk_mail_report(message, parts, original):
        why = "junk mail report of Outlook.com (X-HmXmrOriginalRecipient)"
    elif _LEGACY_SENDER.search(message.get("from")[:400]) and (
        original or _LEGACY_SUBJECT.match(message.get("subject")[:200])
    ):
        why = "sender of a feedback loop"
    elif original is not None and _LEGACY_SUBJECT.match(message.get("subject")[:200]):
        why = "subject of a feedback report, with the original"
    else:
        return None
    evidence = [f"complaint without RFC 5965: {why}"]
    recipient = _recipient_of(original, evidence) or _usable(message.get("x-hmxmroriginalrecipient"))
    if not recipient:
        text = next((part.text for part in parts if part.content_type == "text/plain"), "")
        match = _TEXT_RECIPIENT.search(text[:16_000])
        recipient = _usable(match[1]) if match else ""
    return Complaint("abuse", recipient, _message_ids(original), tuple(evidence))


def _is_junk_mail_report(message: Part, parts: list[Part], original: Part | None) -> bool:
    """Outlook.com's report is the original and nothing else, or the original sent on by its staff's address.

    The field alone proves nothing: it stands in all mail that their mailboxes get, so in what people forward.
    """
    if original is not None and original.headers.get("x-hmxmroriginalrecipient"):
        return not any(
            part.text.strip()
            for part in parts
            if not part.parts and part.content_type not in mime.RETURNED_TYPES and part is not message
        )
    return bool(message.headers.get("x-hmxmroriginalrecipient")) and any(
        _LEGACY_SENDER.search(value[:400]) for value in message.headers.get("return-path", ())[:2]
    )


def _message_ids(original: Part | None) -> tuple[str, ...]:
    return tuple(mime.message_ids(original.get("message-id"))) if original is not None else ()


def _recipient_of(original: Part | None, evidence: list[str]) -> str:
    for name in _ORIGINAL_RECIPIENT_FIELDS if original is not None else ():
        recipient = _usable(original.get(name)) if original is not None else ""
        if recipient:
            evidence.append(f"recipient from the original's {name}")
            return recipient
    for value in original.headers.get("received", ())[:20] if original is not None else ():
        match = _RECEIVED_FOR.search(value[:1_000])
        if match and (recipient := _usable(match[1])):
            evidence.append("recipient from the original's Received")
            return recipient
    return ""


def _usable(value: str) -> str:
    found = mime.addresses(value)
    return found[0] if found and not _REDACTED.search(found[0]) else ""
