"""What a message does, decided from its verdict and whom it is from; pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid5

from chassis.documents import DeliveryView, EnrollmentView
from reply_detector.match import By, Match, own_ids
from reply_detector.model import Arrival, Cause, Effect, ProviderId, StopRules, Wait
from reply_detector.verdict import FailedRecipient, Kind, Severity, Verdict
from segue_contracts.commands import MESSAGE_ID_PATTERN, HoldScope
from segue_contracts.events import StopReason
from segue_contracts.message import Scope
from segue_contracts.sequence import ManualMail

LONGEST_ABSENCE = timedelta(days=365)
"""A return date further away is taken for a misread one."""
A_PERSON_COMPLAINS = frozenset({"abuse", "fraud", "opt-out", "opt-out-list"})
"""Feedback types by which somebody asks not to be written to; the others tell of what machines checked."""
GRAVITY = {Severity.DELAYED: 0, Severity.SOFT: 1, Severity.HARD: 2}
SOFT_BOUNCE, MANUAL_MAIL = "soft_bounce", "manual_mail"
"""Reasons of holds; the second one also of a stop."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say.

    absence: without a return date; soft: after a soft bounce; soft_limit: that many in a row end it; manual:
    after a mail written by hand.
    """

    absence: timedelta
    soft: timedelta
    soft_limit: int
    manual: timedelta


@dataclass(frozen=True, slots=True)
class Found:
    """All that is known about a message. `rules` by enrollment id, the defaults where one is missing.

    `soft_before`: the dispatches to its people that bounced softly in a row before it.
    """

    arrival: Arrival
    verdict: Verdict
    match: Match
    rules: Mapping[UUID, StopRules]
    soft_before: Collection[str] = ()

    def rules_of(self, enrollment: UUID) -> StopRules:
        """As its version says."""
        return self.rules.get(enrollment, StopRules())


def decide(found: Found, policy: Policy) -> Effect:
    """What the verdict does to what was found.

    The strength of the match limits it: by one of our Message-IDs, the scope that the sequence says, and
    suppression; by a phone, the person; by address alone, only the enrollments found, and no suppression; a
    bounce or complaint acts only by id.
    """
    match found.match.by:
        case By.OWN_COPY:
            return Effect(sent=_copied(found), notes=_provider_ids(found))
        case By.MANUAL_MAIL:
            return _by_hand(found, policy)
        case By.THREAD:
            return _by_id(found, policy)
        case By.PHONE:
            return _by_phone(found)
        case By.ADDRESS:
            return _by_address(found, policy)
        case By.NONE:
            return _by_nobody_known(found)


def _by_id(found: Found, policy: Policy) -> Effect:
    verdict, sent = found.verdict, _proven_sent(found.match)
    recipients = [d.recipient for d in found.match.deliveries if d.recipient]
    if _of_a_copy(found):
        opted_out = [verdict.facts.from_address] if verdict.kind is Kind.OPT_OUT else []
        return Effect(suppress=_addresses(opted_out), sent=sent)
    match verdict.kind:
        case Kind.REPLY:
            return Effect(_replied(found), sent=sent)
        case Kind.AUTO_REPLY:
            until = hold_until(verdict.until, found.arrival.received_at, policy.absence)
            people = found.match.people
            holds = (_cause(found, StopReason.AUTO_REPLY, Scope.PERSON, p, until) for p in people)
            return Effect(_unique(holds), sent=sent)
        case Kind.OPT_OUT:
            stops = _everything_of(found, StopReason.UNSUBSCRIBED)
            return Effect(stops, _addresses([*recipients, verdict.facts.from_address]), sent)
        case Kind.COMPLAINT if is_a_persons(verdict):
            stops = _everything_of(found, StopReason.COMPLAINED, reason_code=verdict.feedback_type)
            return Effect(stops, _addresses(recipients), sent)
        case Kind.BOUNCE:
            return _bounce(found, policy, sent)
        case _:
            return Effect(sent=sent)


def _of_a_copy(found: Found) -> bool:
    """Whether it is from somebody who only got a copy (bcc): whose word it is, it is not the person's."""
    writer = found.verdict.facts.from_address.lower()
    return any(writer == each.lower() for d in found.match.deliveries for each in d.bcc)


def is_a_persons(complaint: Verdict) -> bool:
    """Whether somebody has complained, and not a machine reported."""
    return complaint.feedback_type.lower() in A_PERSON_COMPLAINS


def _replied(found: Found) -> tuple[Cause, ...]:
    return _unique(
        cause
        for e in found.match.enrollments
        for cause in _reaching(found, StopReason.REPLIED, found.rules_of(e.id).on_reply, e)
    )


def _by_phone(found: Found) -> Effect:
    """A text message: the network says whose phone it is, so it reaches as far as an answer by id."""
    match found.verdict.kind:
        case Kind.REPLY:
            return Effect(_replied(found))
        case Kind.OPT_OUT:
            stops = _everything_of(found, StopReason.UNSUBSCRIBED)
            return Effect(stops, suppress_phones=(found.verdict.facts.from_address,))
        case _:
            return Effect()


def _by_nobody_known(found: Found) -> Effect:
    """A STOP counts from whatever phone: its owner may be enrolled later, or stand here with another one."""
    is_stop = found.arrival.is_text and found.verdict.kind is Kind.OPT_OUT
    phone = found.verdict.facts.from_address
    return Effect(suppress_phones=(phone,)) if is_stop and phone else Effect()


def _by_address(found: Found, policy: Policy) -> Effect:
    reason = {
        Kind.REPLY: StopReason.REPLIED,
        Kind.OPT_OUT: StopReason.UNSUBSCRIBED,
        Kind.AUTO_REPLY: StopReason.AUTO_REPLY,
    }.get(found.verdict.kind)
    if reason is None:
        return Effect()
    until = None
    if reason is StopReason.AUTO_REPLY:
        until = hold_until(found.verdict.until, found.arrival.received_at, policy.absence)
    causes = _unique(_cause(found, reason, Scope.ENROLLMENT, e.id, until) for e in found.match.enrollments)
    return Effect(causes, review=bool(causes))


def _by_hand(found: Found, policy: Policy) -> Effect:
    """The mailbox's owner has written to the person: the sequence must not talk over it."""
    causes: list[Cause] = []
    waits: list[Wait] = []
    until = found.arrival.received_at + policy.manual
    for e in found.match.enrollments:
        match found.rules_of(e.id).on_manual_mail:
            case ManualMail.STOP:
                stop = StopReason.REQUESTED
                causes.append(_cause(found, stop, Scope.ENROLLMENT, e.id, reason_code=MANUAL_MAIL))
            case ManualMail.HOLD:
                waits.append(_wait(found, HoldScope.ENROLLMENT, e.id, until, MANUAL_MAIL))
    return Effect(_unique(causes), waits=tuple(waits))


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


# ---- bounces ------------------------------------------------------------------------------------------


def _bounce(found: Found, policy: Policy, sent: tuple[str, ...]) -> Effect:
    """What failed for good ends it; what failed for now waits, and ends it when that goes on."""
    causes: list[Cause] = []
    suppress: list[str] = []
    enrollments = {e.id: e for e in found.match.enrollments}
    for delivery, failed in failures(found.verdict, found.match, Severity.HARD):
        e = enrollments.get(delivery.enrollment_id)
        if e is not None:
            scope = found.rules_of(e.id).on_bounce
            causes += _reaching(found, StopReason.BOUNCED, scope, e, reason_code=failed.status)
        if delivery.recipient and _condemns(failed, delivery.recipient):
            suppress.append(delivery.recipient)
    softly = _soft_bounce(found, policy, enrollments)
    return Effect(_unique([*causes, *softly.causes]), _addresses(suppress), sent, waits=softly.waits)


def _soft_bounce(found: Found, policy: Policy, enrollments: Mapping[UUID, EnrollmentView]) -> Effect:
    softly = failures(found.verdict, found.match, Severity.SOFT)
    if not softly:
        return Effect()
    in_a_row = {*found.soft_before, *(delivery.id for delivery, _ in softly)}
    if len(in_a_row) < policy.soft_limit:
        until = found.arrival.received_at + policy.soft
        people = found.match.people
        return Effect(waits=tuple(_wait(found, HoldScope.PERSON, p, until, SOFT_BOUNCE) for p in people))
    return Effect(
        _unique(
            cause
            for delivery, failed in softly
            if (e := enrollments.get(delivery.enrollment_id)) is not None
            for cause in _reaching(
                found, StopReason.BOUNCED, found.rules_of(e.id).on_bounce, e, reason_code=failed.status
            )
        )
    )


def failures(
    verdict: Verdict, found: Match, severity: Severity
) -> list[tuple[DeliveryView, FailedRecipient]]:
    """Which of the deliveries found a bounce says this of."""
    told = ((delivery, failure_of(verdict, delivery)) for delivery in found.deliveries)
    return [(d, failed) for d, failed in told if failed is not None and failed.severity is severity]


def failure_of(verdict: Verdict, delivery: DeliveryView) -> FailedRecipient | None:
    """The gravest failure that a bounce tells of this delivery; None if it is about somebody else.

    A person's own mail in the thread names our ids too, so the failed address must be the one that we wrote
    to, unless the returned message itself is ours: then an alias of its only recipient failed, which who got
    a copy is none of.
    """
    recipient = (delivery.recipient or "").lower()
    about = [r for r in verdict.recipients if r.address.lower() == recipient]
    if not about and delivery.is_named(verdict.original_message_ids):
        copied = {each.lower() for each in delivery.bcc}
        about = [r for r in verdict.recipients if r.address.lower() not in copied]
    return max(about, key=lambda r: GRAVITY[r.severity], default=None)


def _condemns(failed: FailedRecipient, recipient: str) -> bool:
    """Whether a hard failure says that `recipient` must not be written to any more.

    Neither a refusal by policy (5.7.x: our reputation) nor the broken target of a forwarder does.
    """
    if failed.status.startswith("5.7."):
        return False
    domain = failed.address.rpartition("@")[2].lower()
    return not domain or domain == recipient.rpartition("@")[2].lower()


# ---- proof --------------------------------------------------------------------------------------------


def _proven_sent(found: Match) -> tuple[str, ...]:
    """The dispatches that don't count as sent although their Message-ID came back: somebody has received it.

    The sender may be in the middle of them, or have been told to skip them or to send them again.
    """
    return tuple(d.id for d in found.deliveries if d.state != "sent")


def _copied(found: Found) -> tuple[str, ...]:
    """What a copy proves; one that was known by its subject only in the folder of what was sent: elsewhere
    anybody could have put it.
    """
    named = own_ids(found.verdict)
    believed = (d for d in found.match.deliveries if found.arrival.is_sent or d.is_named(named))
    return _proven_sent(replace(found.match, deliveries=tuple(believed)))


def _provider_ids(found: Found) -> tuple[ProviderId, ...]:
    """What the Sent folder says under which id they went out; elsewhere anybody could say so."""
    seen = found.verdict.facts.message_id
    if not found.arrival.is_sent or not MESSAGE_ID_PATTERN.match(seen):
        return ()
    return tuple(ProviderId(d.id, seen) for d in found.match.deliveries if not d.is_named([seen]))


# ---- causes -------------------------------------------------------------------------------------------


def _everything_of(found: Found, reason: StopReason, *, reason_code: str = "") -> tuple[Cause, ...]:
    answered = (
        _cause(found, reason, Scope.ENROLLMENT, e.id, reason_code=reason_code)
        for e in found.match.enrollments
    )
    people = (_cause(found, reason, Scope.PERSON, p, reason_code=reason_code) for p in found.match.people)
    return _unique([*answered, *people])


def _reaching(
    found: Found, reason: StopReason, scope: Scope, e: EnrollmentView, *, reason_code: str = ""
) -> list[Cause]:
    """The enrollment itself, which may have ended and is to learn of it, and what else is in the scope.

    Without a company, a company's stop reaches the person.
    """
    targets: list[tuple[Scope, UUID | str]] = [(Scope.ENROLLMENT, e.id)]
    if scope is Scope.COMPANY and e.company_key:
        targets.append((Scope.COMPANY, e.company_key))
    elif scope is not Scope.ENROLLMENT:
        targets += [(Scope.PERSON, person) for person in found.match.people]
    return [_cause(found, reason, reach, target, reason_code=reason_code) for reach, target in targets]


def _cause(
    found: Found,
    reason: StopReason,
    scope: Scope,
    target: UUID | str,
    until: datetime | None = None,
    *,
    reason_code: str = "",
) -> Cause:
    event_id = uuid5(found.arrival.seed, f"{reason.value}/{scope.value}/{target}")
    return Cause(event_id, reason, scope, target, until, reason_code)


def _wait(found: Found, scope: HoldScope, target: UUID, until: datetime, reason: str) -> Wait:
    event_id = uuid5(found.arrival.seed, f"hold/{scope.value}/{target}")
    return Wait(event_id, scope, target, until, reason)


def _unique(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Each once, the narrow ones first: they end what was answered in one write for many."""
    distinct = {cause.event_id: cause for cause in causes}.values()
    return tuple(sorted(distinct, key=lambda cause: cause.scope is not Scope.ENROLLMENT))


def _addresses(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address.lower() for address in found if address))
