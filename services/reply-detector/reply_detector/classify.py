"""Judges what an incoming message is, from its bytes alone: pure, bounded, and without exceptions."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

from reply_detector import autoreply, bounce, complaint, intent, mime, opt_out, ses_notice
from reply_detector.bounce import Bounce
from reply_detector.complaint import Complaint
from reply_detector.fresh_text import FreshText, cut, html_to_text
from reply_detector.mime import Part
from reply_detector.verdict import Facts, Kind, Verdict

log = logging.getLogger(__name__)

REFERENCE_LIMIT = 100
ADDRESS_LIMIT = 50
_TO_FIELDS = ("delivered-to", "x-original-to", "to", "cc", "x-envelope-to", "envelope-to", "resent-to")
_LIST_FIELDS = ("list-post", "x-beenthere", "x-mailman-version", "x-google-group-id", "x-loop")
_CAMPAIGN_FIELDS = (
    "feedback-id",
    "list-unsubscribe-post",
    "x-campaign",
    "x-campaignid",
    "x-mailgun-sid",
    "x-sg-eid",
    "x-mc-user",
    "x-csa-complaints",
)


def classify(raw: bytes) -> Verdict:
    """What the message in `raw` is, why, and the facts that matching needs. Any bytes give a verdict.

    At most `mime.RAW_LIMIT_BYTES` are looked at; the work is linear in that. A defect of the judging itself
    becomes the verdict `other` with the defect in its evidence, because a message without a verdict would be
    judged for ever.
    """
    try:
        return _judge(mime.parse(raw))
    except Exception as defect:  # the promise of this function to a loop that must not die
        log.exception("classification failed", extra={"action": "classify_failed"})
        return Verdict(Kind.OTHER, (f"defect: {type(defect).__name__}",))


def _judge(message: Part) -> Verdict:
    parts = list(message.walk())
    facts = _facts(message, parts)
    weighed: list[str] = []
    announced = ses_notice.find(message, parts, weighed)
    if isinstance(announced, Bounce):
        return _bounced(announced, facts, weighed)
    complained = announced or complaint.find(message, parts)
    if complained is not None:
        return _complained(complained, facts)
    bounced = bounce.find(message, parts, facts.to_addresses, weighed)
    if bounced is not None:
        return _bounced(bounced, facts, weighed)
    return _receipt(parts, facts) or _written(message, parts, facts, tuple(weighed))


def _complained(found: Complaint, facts: Facts) -> Verdict:
    return Verdict(
        Kind.COMPLAINT,
        found.evidence,
        facts,
        original_message_ids=found.message_ids,
        feedback_type=found.feedback_type,
        original_recipient=found.recipient,
    )


def _bounced(found: Bounce, facts: Facts, evidence: list[str]) -> Verdict:
    if found.delivered:
        return Verdict(Kind.OTHER, tuple(evidence), facts, original_message_ids=found.message_ids)
    return Verdict(
        Kind.BOUNCE,
        tuple(evidence),
        facts,
        recipients=found.recipients,
        original_message_ids=found.message_ids,
    )


def _receipt(parts: list[Part], facts: Facts) -> Verdict | None:
    """A read receipt (RFC 8098): no answer, and no reason to wait."""
    if any(part.content_type == "message/disposition-notification" for part in parts):
        return Verdict(Kind.OTHER, ("read receipt (RFC 8098)",), facts)
    return None


def _written(message: Part, parts: list[Part], facts: Facts, before: tuple[str, ...]) -> Verdict:
    """Somebody's or some program's own words."""
    fresh = _fresh(parts)
    asked = opt_out.by_header(message, facts.to_addresses, fresh.text)
    if asked:
        # The address that we offer for it puts our Message-ID into the subject.
        named = (*facts.references, *mime.message_ids(message.get("subject")))
        facts = replace(facts, references=tuple(dict.fromkeys(named)))
        return Verdict(Kind.OPT_OUT, (*before, asked), facts, fresh.text)
    weighed = autoreply.judge(message, fresh, facts.date.date() if facts.date else None)
    evidence = (*before, *weighed.evidence)
    if weighed.automatic:
        return Verdict(
            Kind.AUTO_REPLY, evidence, facts, fresh.text, until=weighed.until, out_of_office=weighed.absence
        )
    asked = opt_out.by_text(fresh.text)
    if asked:
        return Verdict(Kind.OPT_OUT, (*evidence, asked), facts, fresh.text)
    why = _not_an_answer(message, parts, fresh)
    if why:
        return Verdict(Kind.OTHER, (*evidence, why), facts, fresh.text)
    wanted = intent.judge(fresh.text)
    evidence = (*evidence, _why_reply(message, fresh), *wanted.evidence)
    return Verdict(Kind.REPLY, evidence, facts, fresh.text, wanted.intent)


def _why_reply(message: Part, fresh: FreshText) -> str:
    if message.headers.get("in-reply-to") or message.headers.get("references"):
        return "answers a message, and nothing shows a program"
    return "quotes a message, and nothing shows a program" if fresh.quotes else "nothing shows a program"


def _not_an_answer(message: Part, parts: list[Part], fresh: FreshText) -> str:
    """Why a message is neither an answer nor about one: nothing in it, or written to many. `` if it may be
    one.
    """
    if message.headers.get("in-reply-to") or message.headers.get("references") or fresh.quotes:
        return ""
    if not message.headers:
        return "no headers"
    if not fresh.text and len(parts) == 1 and not message.get("subject").strip():
        return "empty"
    if autoreply.subject_core(message.get("subject"))[1]:
        return ""
    return _sent_to_many(message)


def _sent_to_many(message: Part) -> str:
    """A newsletter, not a person who writes through a list: those have an address to post to."""
    if not message.headers.get("list-unsubscribe") or any(message.headers.get(name) for name in _LIST_FIELDS):
        return ""
    if (
        any(message.headers.get(name) for name in _CAMPAIGN_FIELDS)
        or message.get("precedence").lower() == "bulk"
    ):
        return "sent to many (List-Unsubscribe, no thread)"
    return ""


def _fresh(parts: list[Part]) -> FreshText:
    """The fresh text of the first readable part: plain before HTML, unless the plain one is empty."""
    rich: Part | None = None
    for part in parts:
        if part.parts or part.is_attachment:
            continue
        if part.content_type == "text/html" and rich is None:
            rich = part
        elif part.content_type == "text/plain":
            fresh = cut(part.text)
            if fresh.text or fresh.quotes:
                return fresh
    return cut(html_to_text(rich.text)) if rich is not None else FreshText("", False)


def _facts(message: Part, parts: list[Part]) -> Facts:
    references = [
        identifier
        for name in ("in-reply-to", "references")
        for value in message.get_all(name)[:5]
        for identifier in mime.message_ids(value)
    ]
    if len(references) > REFERENCE_LIMIT:
        references = references[: REFERENCE_LIMIT // 2] + references[-REFERENCE_LIMIT // 2 :]
    to = [
        found
        for name in _TO_FIELDS
        for value in message.get_all(name)[:10]
        for found in mime.addresses(value)
    ]
    own = mime.message_ids(message.get("message-id"))
    return Facts(
        message_id=own[0] if own else "",
        references=tuple(dict.fromkeys((*references, *bounce.returned_ids(parts)))),
        from_address=mime.sender(message.get("from")),
        to_addresses=tuple(dict.fromkeys(to))[:ADDRESS_LIMIT],
        subject=" ".join(message.get("subject").split())[:998],
        date=_date(message.get("date")),
        dispatch_mark=message.get("x-segue-dispatch").strip()[:500],
    )


def _date(value: str) -> datetime | None:
    """The Date field with the writer's own offset, so that its day is the writer's day; None if it is
    none.
    """
    try:
        parsed = parsedate_tz(value[:100])
        if parsed is None or not 1970 <= parsed[0] <= 2200:
            return None
        zone = timezone(timedelta(seconds=parsed[9])) if parsed[9] else UTC
        return datetime(*parsed[:6], tzinfo=zone)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
