"""What an inbound message sets in motion, as values; pure: time and ids are arguments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from chassis.documents import DeliveryView, EnrollmentView
from reply_detector.match import By, Match
from reply_detector.verdict import FailedRecipient, Kind, Severity, Verdict
from segue_contracts.commands import DecideInDoubt, Decision
from segue_contracts.events import EnrollmentStop, StopReason
from segue_contracts.message import Scope

Document = dict[str, Any]

ISSUER = "reply-detector"
LONGEST_ABSENCE = timedelta(days=365)
"""A return date further away is taken for a misread one."""
TEXT_LIMIT_CHARS = 20_000
LIST_LIMIT = 50
A_PERSON_COMPLAINS = frozenset({"abuse", "fraud", "opt-out", "opt-out-list"})
"""Feedback types by which somebody asks not to be written to; the others tell of what machines checked."""
AGAIN_CAP_SECONDS = 60.0
FAILURE_CAP_SECONDS = 600.0


class State(StrEnum):
    """Where an inbound message is; the comment says who moves it on."""

    RECEIVED = "received"  # the agent, or the sweep when it waited too long
    JUDGED = "judged"  # the sweep: its stops are owed until their targets have ended
    SETTLED = "settled"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.JUDGED, State.SETTLED}),
    State.JUDGED: frozenset({State.SETTLED}),
    State.SETTLED: frozenset(),
}


class IllegalMove(RuntimeError):
    """A transition that the table does not have: a bug, never an input."""


def move(state: State, to: State) -> State:
    """`to`, if the table allows it from `state`; IllegalMove otherwise."""
    if to not in TRANSITIONS[state]:
        raise IllegalMove(f"{state} --> {to}")
    return to


@dataclass(frozen=True, slots=True)
class Arrival:
    """A stored message before it is looked into. `received_at` is a business instant."""

    id: UUID
    workspace_id: UUID
    mailbox_id: UUID
    received_at: datetime

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> "Arrival":
        return cls(doc["_id"], doc["workspace_id"], doc["mailbox_id"], doc["received_at"])


@dataclass(frozen=True, slots=True)
class StopScopes:
    """How far the stops of one version of a sequence reach."""

    on_reply: Scope = Scope.PERSON
    on_bounce: Scope = Scope.ENROLLMENT

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "StopScopes":
        """From a sequence document as data; what it does not say is the default."""
        stop = document.get("stop") or {}
        return cls(Scope(stop.get("on_reply", cls().on_reply)), Scope(stop.get("on_bounce", cls().on_bounce)))


@dataclass(frozen=True, slots=True)
class Cause:
    """One stop (or hold) that is owed: an EnrollmentStop without its times. `target` belongs to `scope`."""

    event_id: UUID
    reason: StopReason
    scope: Scope
    target: UUID | str
    until: datetime | None = None
    reason_code: str = ""

    def message(self, arrival: Arrival, recorded_at: datetime) -> EnrollmentStop:
        """The same message at every repetition, but for `recorded_at`; it became true on arrival."""
        field = {
            Scope.ENROLLMENT: "enrollment_id",
            Scope.PERSON: "person_id",
            Scope.COMPANY: "company_key",
        }[self.scope]
        return EnrollmentStop.model_validate(
            {
                "event_id": self.event_id,
                "event_type": self.reason,
                "occurred_at": arrival.received_at,
                "recorded_at": recorded_at,
                "workspace_id": arrival.workspace_id,
                "scope": self.scope,
                "reason_code": self.reason_code,
                "until": self.until,
                field: self.target,
            }
        )

    def document(self) -> Document:
        """As the inbound document keeps it."""
        return {
            "event_id": self.event_id,
            "reason": self.reason.value,
            "scope": self.scope.value,
            "target": self.target,
            "until": self.until,
            "reason_code": self.reason_code,
        }

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> "Cause":
        return cls(
            doc["event_id"],
            StopReason(doc["reason"]),
            Scope(doc["scope"]),
            doc["target"],
            doc.get("until"),
            doc.get("reason_code", ""),
        )


@dataclass(frozen=True, slots=True)
class Effect:
    """What a message does.

    suppress: addresses that must not be written to any more; sent: dispatches in doubt that it proves to have
    been sent; review: matched by address alone, a person should look at it.
    """

    causes: tuple[Cause, ...] = ()
    suppress: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    review: bool = False

    @property
    def is_owed(self) -> bool:
        """Whether there is anything to carry out."""
        return bool(self.causes or self.suppress or self.sent)

    def document(self) -> Document:
        """As the inbound document keeps it."""
        return {
            "causes": [cause.document() for cause in self.causes],
            "suppress": list(self.suppress),
            "sent": list(self.sent),
            "review": self.review,
        }

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> "Effect":
        return cls(
            tuple(map(Cause.read, doc["causes"])), tuple(doc["suppress"]), tuple(doc["sent"]), doc["review"]
        )


# ---- the decision -------------------------------------------------------------------------------------


def decide(
    arrival: Arrival,
    verdict: Verdict,
    found: Match,
    scopes: Mapping[UUID, StopScopes],
    default_hold: timedelta,
) -> Effect:
    """What `verdict` does to what was found; `scopes` by enrollment id, the defaults where one is missing.

    The strength of the match limits it: by one of our Message-IDs, the scope that the sequence says, and
    suppression; by address alone, only the enrollments found, and no suppression; a bounce or complaint acts
    only by id.
    """
    if found.by is By.OWN_COPY:
        return Effect(sent=_proven_sent(found))
    if found.by is By.THREAD:
        return _by_id(arrival, verdict, found, scopes, default_hold)
    if found.by is By.ADDRESS:
        return _by_address(arrival, verdict, found, default_hold)
    return Effect()


def _by_id(
    arrival: Arrival,
    verdict: Verdict,
    found: Match,
    scopes: Mapping[UUID, StopScopes],
    default_hold: timedelta,
) -> Effect:
    sent = _proven_sent(found)
    recipients = tuple(d.recipient for d in found.deliveries if d.recipient)
    match verdict.kind:
        case Kind.REPLY:
            causes = [
                cause
                for e in found.enrollments
                for cause in _scoped(
                    arrival, StopReason.REPLIED, scopes.get(e.id, StopScopes()).on_reply, e, found.people
                )
            ]
            return Effect(_unique(causes), sent=sent)
        case Kind.AUTO_REPLY:
            until = hold_until(verdict.until, arrival.received_at, default_hold)
            holds = (_cause(arrival, StopReason.AUTO_REPLY, Scope.PERSON, p, until) for p in found.people)
            return Effect(_unique(holds), sent=sent)
        case Kind.OPT_OUT:
            stops = (_cause(arrival, StopReason.UNSUBSCRIBED, Scope.PERSON, p) for p in found.people)
            return Effect(_unique(stops), _addresses([*recipients, verdict.facts.from_address]), sent)
        case Kind.COMPLAINT if verdict.feedback_type.lower() in A_PERSON_COMPLAINS:
            stops = (
                _cause(arrival, StopReason.COMPLAINED, Scope.PERSON, p, reason_code=verdict.feedback_type)
                for p in found.people
            )
            return Effect(_unique(stops), _addresses(recipients), sent)
        case Kind.BOUNCE:
            return _bounce(arrival, verdict, found, scopes, sent)
        case _:
            return Effect(sent=sent)


def _bounce(
    arrival: Arrival,
    verdict: Verdict,
    found: Match,
    scopes: Mapping[UUID, StopScopes],
    sent: tuple[str, ...],
) -> Effect:
    """Only what failed for good for somebody we wrote to has an effect beside the proof."""
    causes: list[Cause] = []
    suppress: list[str] = []
    enrollments = {e.id: e for e in found.enrollments}
    for delivery in found.deliveries:
        failed = failure_of(verdict, delivery)
        enrollment = enrollments.get(delivery.enrollment_id)
        if failed is None or failed.severity is not Severity.HARD:
            continue
        if enrollment is not None:
            scope = scopes.get(enrollment.id, StopScopes()).on_bounce
            causes += _scoped(
                arrival, StopReason.BOUNCED, scope, enrollment, found.people, reason_code=failed.status
            )
        if delivery.recipient and _condemns(failed, delivery.recipient):
            suppress.append(delivery.recipient)
    return Effect(_unique(causes), _addresses(suppress), sent)


def failure_of(verdict: Verdict, delivery: DeliveryView) -> FailedRecipient | None:
    """The gravest failure that a bounce tells of this delivery; None if it is about somebody else.

    A person's own mail in the thread names our ids too, so the failed address must be the one that we wrote
    to, unless the returned message itself is ours: then an alias of its only recipient failed.
    """
    recipient = (delivery.recipient or "").lower()
    about = [r for r in verdict.recipients if r.address.lower() == recipient]
    if not about and delivery.message_id in verdict.original_message_ids:
        about = list(verdict.recipients)
    gravity = {Severity.DELAYED: 0, Severity.SOFT: 1, Severity.HARD: 2}
    return max(about, key=lambda r: gravity[r.severity], default=None)


def _condemns(failed: FailedRecipient, recipient: str) -> bool:
    """Whether a hard failure says that `recipient` must not be written to any more.

    Neither a refusal by policy (5.7.x: our reputation) nor the broken target of a forwarder does.
    """
    if failed.status.startswith("5.7."):
        return False
    domain = failed.address.rpartition("@")[2].lower()
    return not domain or domain == recipient.rpartition("@")[2].lower()


def _by_address(arrival: Arrival, verdict: Verdict, found: Match, default_hold: timedelta) -> Effect:
    reason = {
        Kind.REPLY: StopReason.REPLIED,
        Kind.OPT_OUT: StopReason.UNSUBSCRIBED,
        Kind.AUTO_REPLY: StopReason.AUTO_REPLY,
    }.get(verdict.kind)
    if reason is None:
        return Effect()
    until = None
    if reason is StopReason.AUTO_REPLY:
        until = hold_until(verdict.until, arrival.received_at, default_hold)
    causes = _unique(_cause(arrival, reason, Scope.ENROLLMENT, e.id, until) for e in found.enrollments)
    return Effect(causes, review=bool(causes))


def hold_until(returns: date | None, received_at: datetime, default_hold: timedelta) -> datetime:
    """When a person who is away may be written to again: after the named day, in UTC.

    `until Friday` and `back on Friday` name the same day, so it is left to them. Without a day, or with one
    that is past or too far away to be believed: `default_hold` after the arrival.
    """
    if returns is not None:
        over = datetime.combine(returns, time(), UTC) + timedelta(days=1)
        if received_at < over <= received_at + LONGEST_ABSENCE:
            return over
    return received_at + default_hold


def _proven_sent(found: Match) -> tuple[str, ...]:
    """The dispatches that are in doubt and whose Message-ID came back: somebody has received them."""
    doubted = {(e.id, e.stage_id) for e in found.enrollments if e.state == "in_doubt"}
    return tuple(d.id for d in found.deliveries if (d.enrollment_id, d.stage_id) in doubted)


def _scoped(
    arrival: Arrival,
    reason: StopReason,
    scope: Scope,
    enrollment: EnrollmentView,
    people: Iterable[UUID],
    *,
    reason_code: str = "",
) -> list[Cause]:
    """The causes of one enrollment in its scope; without a company, a company's stop reaches the person."""
    if scope is Scope.ENROLLMENT:
        targets: list[UUID | str] = [enrollment.id]
    elif scope is Scope.COMPANY and enrollment.company_key:
        targets = [enrollment.company_key]
    else:
        scope, targets = Scope.PERSON, list(people)
    return [_cause(arrival, reason, scope, target, reason_code=reason_code) for target in targets]


def _cause(
    arrival: Arrival,
    reason: StopReason,
    scope: Scope,
    target: UUID | str,
    until: datetime | None = None,
    *,
    reason_code: str = "",
) -> Cause:
    event_id = uuid5(arrival.id, f"{reason.value}/{scope.value}/{target}")
    return Cause(event_id, reason, scope, target, until, reason_code)


def _unique(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    return tuple({cause.event_id: cause for cause in causes}.values())


def _addresses(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address.lower() for address in found if address))


# ---- what follows from an effect ----------------------------------------------------------------------


def proof(arrival: Arrival, dispatch_id: str, recorded_at: datetime) -> DecideInDoubt:
    """What tells the sender that a dispatch in doubt was sent after all."""
    return DecideInDoubt(
        event_id=uuid5(arrival.id, f"sent/{dispatch_id}"),
        occurred_at=arrival.received_at,
        recorded_at=recorded_at,
        workspace_id=arrival.workspace_id,
        dispatch_id=dispatch_id,
        issued_by=ISSUER,
        decision=Decision.MARK_SENT,
    )


def suppression(arrival: Arrival, suppression_id: str, effect: Effect) -> Document:
    """The document that keeps an address from being written to."""
    reason = effect.causes[0].reason if effect.causes else StopReason.BOUNCED
    return {
        "_id": suppression_id,
        "workspace_id": arrival.workspace_id,
        "kind": "address",
        "reason": reason.value,
        "by": ISSUER,
        "at": arrival.received_at,
    }


def again_seconds(publishes: int) -> float:
    """Real seconds until a stop is looked at again after its `publishes`-th publication (from 1)."""
    return float(min(AGAIN_CAP_SECONDS, 2.0 ** min(publishes - 1, 10)))


def failure_seconds(tries: int) -> float:
    """Real seconds until a message that could not be judged is tried again after `tries` failures."""
    return float(min(FAILURE_CAP_SECONDS, 2.0 ** min(tries, 10)))


def verdict_document(verdict: Verdict) -> Document:
    """The verdict as the inbound document keeps it: bounded, and without what a database can't hold."""
    facts = verdict.facts
    return {
        "kind": verdict.kind.value,
        "evidence": [_text(each, 200) for each in verdict.evidence[:LIST_LIMIT]],
        "text": _text(verdict.text, TEXT_LIMIT_CHARS),
        "until": verdict.until.isoformat() if verdict.until else None,
        "out_of_office": verdict.out_of_office,
        "recipients": [
            {
                "address": _text(r.address, 320),
                "severity": r.severity.value,
                "status": _text(r.status, 20),
                "reason": _text(r.reason, 500),
            }
            for r in verdict.recipients[:LIST_LIMIT]
        ],
        "original_message_ids": [_text(each, 500) for each in verdict.original_message_ids[:LIST_LIMIT]],
        "feedback_type": _text(verdict.feedback_type, 100),
        "original_recipient": _text(verdict.original_recipient, 320),
        "message_id": _text(facts.message_id, 500),
        "references": [_text(each, 500) for each in facts.references[:LIST_LIMIT]],
        "from_address": _text(facts.from_address, 320),
        "to_addresses": [_text(each, 320) for each in facts.to_addresses[:LIST_LIMIT]],
        "subject": _text(facts.subject, 1000),
        "date": facts.date.astimezone(UTC) if facts.date and facts.date.tzinfo else None,
    }


def match_document(found: Match) -> Document:
    """The match as the inbound document keeps it: ids only."""
    return {
        "by": found.by.value,
        "deliveries": [delivery.id for delivery in found.deliveries],
        "enrollments": [enrollment.id for enrollment in found.enrollments],
        "people": list(found.people),
    }


def _text(value: str, limit: int) -> str:
    """Cut, and without lone surrogates: they can't be written as UTF-8."""
    return value[:limit].encode("utf-8", "replace").decode("utf-8")
