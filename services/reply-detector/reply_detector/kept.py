"""What an inbound document keeps of its verdict and its match, and the way back from there."""

from collections.abc import Mapping
from datetime import UTC, date
from typing import Any

from reply_detector.match import Match
from reply_detector.verdict import Facts, FailedRecipient, Kind, Severity, Verdict

Document = dict[str, Any]

TEXT_LIMIT_CHARS = 20_000
LIST_LIMIT = 50


def verdict_document(verdict: Verdict) -> Document:
    """The verdict as the inbound document keeps it: bounded, and without what a database can't hold."""
    facts = verdict.facts
    return {
        "kind": verdict.kind.value,
        "evidence": [bounded(each, 200) for each in verdict.evidence[:LIST_LIMIT]],
        "intent": bounded(verdict.intent or "", 100) or None,
        "text": bounded(verdict.text, TEXT_LIMIT_CHARS),
        "until": verdict.until.isoformat() if verdict.until else None,
        "out_of_office": verdict.out_of_office,
        "recipients": [
            {
                "address": bounded(r.address, 320),
                "severity": r.severity.value,
                "status": bounded(r.status, 20),
                "reason": bounded(r.reason, 500),
            }
            for r in verdict.recipients[:LIST_LIMIT]
        ],
        "original_message_ids": [bounded(each, 500) for each in verdict.original_message_ids[:LIST_LIMIT]],
        "feedback_type": bounded(verdict.feedback_type, 100),
        "original_recipient": bounded(verdict.original_recipient, 320),
        "message_id": bounded(facts.message_id, 500),
        "references": [bounded(each, 500) for each in facts.references[:LIST_LIMIT]],
        "dispatch_mark": bounded(facts.dispatch_mark, 500),
        "from_address": bounded(facts.from_address, 320),
        "to_addresses": [bounded(each, 320) for each in facts.to_addresses[:LIST_LIMIT]],
        "subject": bounded(facts.subject, 1000),
        "date": facts.date.astimezone(UTC) if facts.date and facts.date.tzinfo else None,
    }


def verdict_of(kept: Mapping[str, Any], kind: Kind) -> Verdict:
    """A stored verdict again, as of `kind`: a person knows better. Its evidence stays where it is."""
    facts = Facts(
        message_id=kept["message_id"],
        references=tuple(kept["references"]),
        from_address=kept["from_address"],
        to_addresses=tuple(kept["to_addresses"]),
        subject=kept["subject"],
        date=kept["date"],
        dispatch_mark=kept.get("dispatch_mark", ""),
    )
    return Verdict(
        kind,
        (),
        facts,
        text=kept["text"],
        until=date.fromisoformat(kept["until"]) if kept["until"] else None,
        out_of_office=kept["out_of_office"],
        recipients=tuple(
            FailedRecipient(r["address"], Severity(r["severity"]), r["status"], r["reason"])
            for r in kept["recipients"]
        ),
        original_message_ids=tuple(kept["original_message_ids"]),
        feedback_type=kept["feedback_type"],
        original_recipient=kept["original_recipient"],
    )


def match_document(found: Match) -> Document:
    """The match as the inbound document keeps it: ids only."""
    return {
        "by": found.by.value,
        "deliveries": [delivery.id for delivery in found.deliveries],
        "enrollments": [enrollment.id for enrollment in found.enrollments],
        "people": list(found.people),
    }


def addresses_of(verdict: Verdict) -> list[str]:
    """Whom the message is from, to and about, in lower case: by these is found what names somebody."""
    facts = verdict.facts
    about = (verdict.original_recipient, *(r.address for r in verdict.recipients))
    named = dict.fromkeys(each.lower() for each in (facts.from_address, *facts.to_addresses, *about) if each)
    return [bounded(each, 320) for each in named][:LIST_LIMIT]


def bounded(value: str, limit: int) -> str:
    """Cut, and without lone surrogates: they can't be written as UTF-8."""
    return value[:limit].encode("utf-8", "replace").decode("utf-8")
