"""What people see of a message: what lists are made of, and the notification of its owners; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from chassis.documents import EnrollmentView
from reply_detector.decision import Found, failures, is_a_persons
from reply_detector.kept import bounded
from reply_detector.match import By
from reply_detector.model import Arrival, Document, Effect
from reply_detector.verdict import Kind, Severity
from segue_contracts.events import AnswerEffect, AnswerKind, AnswerNotification

TEXT_LIMIT_CHARS = 4000
QUIET = frozenset({AnswerKind.OTHER})
"""Listed, so that a person can say that it is an answer after all, and told to nobody."""


def answer_of(found: Found) -> Document | None:
    """What lists and notifications are made of; None for what is about nobody we write to.

    charge: what counts against the mailbox (`mailboxes.py`); soft: the dispatches that bounced for now.
    """
    kind = kind_of(found)
    if kind is None:
        return None
    verdict, match = found.verdict, found.match
    facts = verdict.facts
    return {
        "kind": kind.value,
        "intent": bounded(verdict.intent or "", 100) or None,
        "open": kind not in QUIET,
        "people": list(match.people or dict.fromkeys(e.person_id for e in match.enrollments)),
        "enrollments": [e.id for e in match.enrollments],
        "sequences": list(dict.fromkeys(e.sequence_id for e in match.enrollments)),
        "owners": list(dict.fromkeys(e.owner_id for e in match.enrollments)),
        "from_address": bounded(facts.from_address, 320),
        "subject": bounded(facts.subject, 1000),
        "text": bounded(verdict.text, TEXT_LIMIT_CHARS),
        "soft": [delivery.id for delivery, _ in _failed(found, Severity.SOFT)],
        "charge": _charge(found),
    }


def kind_of(found: Found) -> AnswerKind | None:
    """What a message is to people; None: nobody's, a copy, or news that changes nothing (a delay)."""
    if found.match.by is By.MANUAL_MAIL:
        return AnswerKind.MANUAL_MAIL
    if found.match.by in (By.OWN_COPY, By.NONE):
        return None
    match found.verdict.kind:
        case Kind.BOUNCE if not (_failed(found, Severity.HARD) or _failed(found, Severity.SOFT)):
            return None
        case Kind.COMPLAINT if not is_a_persons(found.verdict):
            return None
    return AnswerKind(found.verdict.kind.value)


def _charge(found: Found) -> str | None:
    match found.verdict.kind:
        case Kind.BOUNCE if _failed(found, Severity.HARD):
            return "bounce"
        case Kind.COMPLAINT:
            return "complaint"
    return None


def _failed(found: Found, severity: Severity) -> list[Any]:
    return failures(found.verdict, found.match, severity) if found.verdict.kind is Kind.BOUNCE else []


def is_told(inbound: Mapping[str, Any]) -> bool:
    """Whether somebody is to hear of the message, and has not yet."""
    answer = inbound.get("answer")
    return bool(answer and answer["owners"] and answer["kind"] not in QUIET and not inbound.get("told_at"))


def notifications(
    inbound: Mapping[str, Any],
    enrollments: Sequence[EnrollmentView],
    sender: UUID | None,
    recorded_at: datetime,
) -> list[AnswerNotification]:
    """One for each owner of what was answered, and one for whose mailbox it came to, `sender`, where that is
    somebody else; the same at each repetition but for their times.
    """
    answer, effect = inbound["answer"], Effect.read(inbound["effect"])
    by_owner: dict[UUID, list[EnrollmentView]] = {}
    for e in enrollments:
        by_owner.setdefault(e.owner_id, []).append(e)
    authors = frozenset(by_owner)
    if sender is not None and sender not in authors and enrollments:
        by_owner[sender] = list(enrollments)
    what, until = _effect(effect)
    arrival = Arrival.read(inbound)
    return [
        AnswerNotification(
            event_id=uuid5(arrival.id, f"notification/{owner}"),
            event_type=AnswerKind(answer["kind"]),
            occurred_at=arrival.received_at,
            recorded_at=recorded_at,
            workspace_id=arrival.workspace_id,
            inbound_id=arrival.id,
            owner_id=owner,
            mailbox_id=arrival.mailbox_id,
            person_ids=list(dict.fromkeys(e.person_id for e in theirs)),
            enrollment_ids=[e.id for e in theirs],
            sequence_ids=list(dict.fromkeys(e.sequence_id for e in theirs)),
            intent=answer["intent"],
            match=inbound["match"]["by"],
            effect=what,
            until=until,
            review=effect.review,
            as_sender=owner not in authors,
            from_address=answer["from_address"],
            subject=answer["subject"],
            text=answer["text"],
        )
        for owner, theirs in by_owner.items()
    ]


def _effect(effect: Effect) -> tuple[AnswerEffect, datetime | None]:
    if effect.stops:
        return AnswerEffect.STOPPED, None
    ends = [*(c.until for c in effect.causes if c.until), *(wait.until for wait in effect.waits)]
    return (AnswerEffect.HELD, max(ends)) if ends else (AnswerEffect.NONE, None)
