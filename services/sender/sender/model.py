"""The states of a delivery and the only ways between them; pure: time, ids and randomness are arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

from chassis.documents import EnrollmentView
from segue_contracts.commands import ReceiptStatus
from segue_contracts.events import OPTED_OUT, Outcome, StageOutcome, StopReason
from sender.sms_provider import Said, SmsAnswer
from sender.smtp import Accepted, Broken, Deferred, Fault, Phase, Rejected

Document = dict[str, Any]

MAX_SOFT_FAILURES: Final = 12
"""4xx replies for one recipient until we give up: about two days with the default backoff."""
SETTLED_BYTES: Final = 1024
MAX_POLICY_REFUSALS: Final = 3
"""A server that refuses this one message as policy that often means this message, not the mailbox."""


class State(StrEnum):
    """Where a delivery is; the comment says who moves it on."""

    CLAIMED = "claimed"  # the sender with the token; past the lease, another one
    TRANSMITTING = "transmitting"  # the sender with the token; past the deadline, whoever is asked
    SENT = "sent"
    DEFERRED = "deferred"  # the next attempt
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"  # evidence, a person or the workspace's policy
    RELEASED = "released"  # the next attempt
    TASK_OPEN = "task_open"  # the person with the task
    DONE = "done"
    SKIPPED = "skipped"


class Move(StrEnum):
    """The steps of the protocol that change a delivery's state."""

    CLAIM_AGAIN = "claim_again"
    TAKE_OVER = "take_over"
    JOURNAL = "journal"
    STEP_BACK = "step_back"
    RECORD_SENT = "record_sent"
    DEFER = "defer"
    REJECT = "reject"
    DOUBT = "doubt"
    RELEASE = "release"
    RECALL = "recall"
    OPEN_TASK = "open_task"
    DO_TASK = "do_task"
    SKIP_TASK = "skip_task"
    KEEP_TASK = "keep_task"
    RESEND = "resend"
    MARK_SENT = "mark_sent"
    SKIP_STAGE = "skip_stage"
    KEEP_DOUBT = "keep_doubt"


@dataclass(frozen=True, slots=True)
class Edge:
    """From which states a move may start, and where it ends; every write's guard is made of it."""

    sources: frozenset[State]
    target: State


def _edge(target: State, *sources: State) -> Edge:
    return Edge(frozenset(sources), target)


TRANSITIONS: Final[Mapping[Move, Edge]] = {
    Move.CLAIM_AGAIN: _edge(State.CLAIMED, State.DEFERRED, State.RELEASED),
    Move.TAKE_OVER: _edge(State.CLAIMED, State.CLAIMED),
    Move.JOURNAL: _edge(State.TRANSMITTING, State.CLAIMED),
    Move.STEP_BACK: _edge(State.CLAIMED, State.TRANSMITTING),
    # A 250 is a fact: it is recorded whatever the delivery has become meanwhile.
    Move.RECORD_SENT: Edge(frozenset(State) - {State.SENT}, State.SENT),
    # From transmitting only by its owner, who knows that nothing was accepted.
    Move.DEFER: _edge(State.DEFERRED, State.CLAIMED, State.TRANSMITTING),
    Move.REJECT: _edge(State.REJECTED, State.CLAIMED, State.TRANSMITTING),
    Move.DOUBT: _edge(State.IN_DOUBT, State.TRANSMITTING),
    Move.RELEASE: _edge(State.RELEASED, State.CLAIMED),
    Move.RECALL: _edge(State.RELEASED, State.CLAIMED, State.DEFERRED, State.TASK_OPEN),
    Move.OPEN_TASK: _edge(State.TASK_OPEN, State.CLAIMED),
    Move.DO_TASK: _edge(State.DONE, State.TASK_OPEN),
    Move.SKIP_TASK: _edge(State.SKIPPED, State.TASK_OPEN),
    Move.KEEP_TASK: _edge(State.TASK_OPEN, State.TASK_OPEN),
    Move.RESEND: _edge(State.DEFERRED, State.IN_DOUBT),
    Move.MARK_SENT: _edge(State.SENT, State.IN_DOUBT),
    Move.SKIP_STAGE: _edge(State.SKIPPED, State.IN_DOUBT),
    Move.KEEP_DOUBT: _edge(State.IN_DOUBT, State.IN_DOUBT),
}


def sources(move: Move) -> list[str]:
    """The states a move may start from, as the guard of its write."""
    return sorted(state.value for state in TRANSITIONS[move].sources)


# ---- claims ----


@dataclass(frozen=True, slots=True)
class Due:
    """An attempt that somebody asks for."""

    dispatch_id: str
    workspace_id: UUID
    enrollment_id: UUID
    stage_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts left in the delivery.

    `journaled`: DATA may have begun once, so every later attempt sends exactly the stored bytes to the stored
    recipient, and copies of them to `bcc`. `failures` counts all of them, and the backoff grows with it; the
    other two only their kind. `variant`: in which of the stage's variants it
    was written; it stays that one.
    """

    journaled: bool = False
    recipient: str | None = None
    mailbox_id: UUID | None = None
    failures: int = 0
    soft_failures: int = 0
    policy_refusals: int = 0
    bcc: tuple[str, ...] = ()
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry one attempt of a dispatch: `token` is this claim's own and nobody else's."""

    due: Due
    token: str
    earlier: Earlier = field(default_factory=Earlier)
    traceparent: str | None = None


def claim_token(batch: str, dispatch_id: str) -> str:
    """The token of one claim: unique, because `batch` is random and a batch claims a dispatch once."""
    return f"{batch}:{dispatch_id}"


class Answer(StrEnum):
    """What to do about a delivery that exists already when its stage comes due."""

    MINE = "mine"
    CLAIM_AGAIN = "claim_again"
    TAKE_OVER = "take_over"
    DOUBT = "doubt"
    PUBLISH_AGAIN = "publish_again"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Existing:
    """A delivery as it was read; `overdue`: its lease (claimed) or deadline (transmitting) has passed."""

    state: State
    attempt: int
    token: str
    overdue: bool
    document: Document

    @classmethod
    def read(cls, doc: Document) -> "Existing":
        return cls(State(doc["state"]), doc["attempt"], doc["token"], bool(doc.get("overdue")), doc)


def answer(existing: Existing, attempt: int, token: str) -> Answer:
    """What a sender that asks with `attempt`, and would claim with `token`, does about what it finds.

    A deferral or release is final for its own attempt and open to a later one; what is settled is said again.
    """
    match existing.state:
        case State.CLAIMED if existing.token == token:
            return Answer.MINE
        case State.CLAIMED if existing.overdue and existing.attempt <= attempt:
            return Answer.TAKE_OVER
        case State.TRANSMITTING if existing.overdue:
            return Answer.DOUBT
        case State.CLAIMED | State.TRANSMITTING:
            return Answer.LEAVE
        case State.DEFERRED | State.RELEASED if existing.attempt < attempt:
            return Answer.CLAIM_AGAIN
    return Answer.PUBLISH_AGAIN


def newest(dues: list[Due]) -> dict[str, Due]:
    """One wish per dispatch, the one with the highest attempt: an older one could only be answered by it."""
    best: dict[str, Due] = {}
    for due in dues:
        if due.dispatch_id not in best or best[due.dispatch_id].attempt < due.attempt:
            best[due.dispatch_id] = due
    return best


# ---- the read ----


class Withdrawal(StrEnum):
    """Why a claim is given back unsent."""

    NOT_CURRENT = "not_current"
    SUPPRESSED = "suppressed"
    HELD = "held"
    WINDOW_OVER = "window_over"
    NO_SLOT = "no_slot"


def judge_read(
    due: Due, enrollment: EnrollmentView | None, *, held: bool, suppressed: bool, now: datetime
) -> Withdrawal | None:
    """None means go; `now` is business time."""
    if enrollment is None or enrollment.state != "dispatched" or enrollment.ended:
        return Withdrawal.NOT_CURRENT
    if enrollment.stage_id != due.stage_id or enrollment.attempt != due.attempt:
        return Withdrawal.NOT_CURRENT
    if suppressed:
        return Withdrawal.SUPPRESSED
    if held:
        return Withdrawal.HELD
    if enrollment.send_before is not None and now > enrollment.send_before:
        return Withdrawal.WINDOW_OVER
    return None


# ---- settlements: named, one guarded write each ----


@dataclass(frozen=True, slots=True)
class Settlement:
    """One guarded write: the move, the fields it sets and counts. `fields` say all that the outcome will."""

    move: Move
    fields: Document
    counts: tuple[str, ...] = ()
    hold_reason: str = ""
    """Not empty: the mailbox must be held, this is our fault."""
    suppress: bool = False
    """The recipient's address can't be written to."""

    @property
    def target(self) -> State:
        """The state after it."""
        return TRANSITIONS[self.move].target

    @property
    def document(self) -> Document:
        """What the write sets."""
        return {"state": self.target.value, **self.fields}

    def with_facts(self, facts: Document) -> "Settlement":
        """The same, with what else the delivery says."""
        return replace(self, fields={**facts, **self.fields}) if facts else self

    @property
    def size(self) -> int:
        """About how many bytes it takes in a command."""
        texts = self.fields.get("text", ""), (self.fields.get("task") or {}).get("text", "")
        return SETTLED_BYTES + 3 * sum(map(len, texts))


def _settled(at: datetime, reason: str = "", code: str = "", **more: Any) -> Document:
    return {"settled_at": at, "reason": reason, "code": code[:200], **more}


def sent(at: datetime, code: str) -> Settlement:
    """The server has accepted it at the business instant `at`."""
    return Settlement(Move.RECORD_SENT, _settled(at, code=code, sent_at=at))


def deferred(at: datetime, until: datetime, reason: str, code: str = "", **more: Any) -> Settlement:
    """Surely not accepted; try again at the business instant `until`."""
    return Settlement(Move.DEFER, _settled(at, reason, code, until=until), **more)


def rejected(at: datetime, reason: str, code: str = "", *, bounced: bool = False) -> Settlement:
    """It can never be sent; `bounced`: because of this recipient, whose address is then suppressed, as it is
    for `OPTED_OUT`.
    """
    suppress = bounced or reason == OPTED_OUT
    return Settlement(Move.REJECT, _settled(at, reason, code, bounced=bounced), suppress=suppress)


def doubted(at: datetime) -> Settlement:
    """Nobody knows whether it was accepted."""
    return Settlement(Move.DOUBT, _settled(at, "no_reply"))


def released(at: datetime, reason: Withdrawal) -> Settlement:
    """The claim is given back: it should not be sent now."""
    return Settlement(Move.RELEASE, _settled(at, reason.value))


def task_opened(at: datetime, task: Document, facts: Document) -> Settlement:
    """A person has to do it; `facts` are what the delivery says of the stage."""
    return Settlement(Move.OPEN_TASK, {**_settled(at), **facts, "task": task})


# ---- what a server's answer means ----


@dataclass(frozen=True, slots=True)
class Moment:
    """When a server's answer came, and the business instants of the waits that it may lead to."""

    now: datetime
    after_soft: datetime
    """What backoff and jitter say for the failures so far."""


_BEFORE_MAIL: Final = frozenset({Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH})


def after_smtp(
    result: Accepted | Deferred | Rejected | Broken, earlier: Earlier, moment: Moment
) -> Settlement:
    """What one SMTP transaction makes of a delivery.

    Soft failures are counted only where this recipient or message caused them; a server that is down, or that
    refuses the mailbox, may come back after any time.
    """
    match result:
        case Accepted(reply):
            return sent(moment.now, _code(reply.code, reply.enhanced))
        case Broken() if result.maybe_accepted:
            return doubted(moment.now)
        case Broken():
            return deferred(moment.now, moment.after_soft, f"connection_{result.phase}", counts=("failures",))
        case Deferred():
            return _after_soft(result, earlier, moment)
        case Rejected():
            return _after_refusal(result, earlier, moment)


# Twilio's error codes of deliveries that will fail again: an unknown or a landline phone, no mobile at all;
# and the words of a webhook. 30003 is a phone that is off, for now.
# https://www.twilio.com/docs/api/errors/30005, /30006, /30003, /21635
_GONE_FOR_GOOD: Final = frozenset({"21211", "21217", "21614", "21635", "30005", "30006", "invalid_number"})
_HAS_OPTED_OUT: Final = frozenset({"21610", "opted_out"})  # https://www.twilio.com/docs/api/errors/21610


def receipt_ends(status: ReceiptStatus, error_code: str) -> StopReason | None:
    """Why what a receipt says ends the enrollment, if it does: nothing else is known to be for good."""
    if status is ReceiptStatus.DELIVERED:
        return None
    if error_code in _HAS_OPTED_OUT:
        return StopReason.UNSUBSCRIBED
    return StopReason.BOUNCED if error_code in _GONE_FOR_GOOD else None


def after_sms(
    answer: SmsAnswer, earlier: Earlier, moment: Moment, again: datetime, *, repeatable: bool
) -> Settlement:
    """What a provider's answer to one request makes of a delivery; `again`: when it may be asked again.

    Where a provider is `repeatable`, an answer that never came is asked for again, under the same key.
    """
    match answer.said:
        case Said.ACCEPTED:
            settlement = sent(moment.now, answer.code)
            noted = {"provider_message_id": answer.provider_id} if answer.provider_id else {}
            return replace(settlement, fields={**settlement.fields, **noted})
        case Said.NOT_REACHED | Said.MISCONFIGURED:
            return deferred(moment.now, again, answer.reason, answer.code, counts=("failures",))
        case Said.BUSY:
            return deferred(moment.now, again, "provider_busy", answer.code, counts=("failures",))
        case Said.OPTED_OUT:
            return rejected(moment.now, OPTED_OUT, answer.code)
        case Said.NO_SUCH_PHONE:
            return rejected(moment.now, "recipient_refused", answer.code, bounced=True)
        case Said.REFUSED:
            return rejected(moment.now, "other_refused", answer.code)
    if repeatable and earlier.soft_failures + 1 < MAX_SOFT_FAILURES:
        counts = ("failures", "soft_failures")
        return deferred(moment.now, again, "no_reply", answer.code, counts=counts)
    return doubted(moment.now)


def _after_soft(result: Deferred, earlier: Earlier, moment: Moment) -> Settlement:
    code = _code(result.code, result.enhanced)
    if result.phase in _BEFORE_MAIL:
        return deferred(moment.now, moment.after_soft, "server_busy", code, counts=("failures",))
    if earlier.soft_failures + 1 >= MAX_SOFT_FAILURES:
        return rejected(moment.now, "gave_up", code)
    counts = ("failures", "soft_failures")
    return deferred(moment.now, moment.after_soft, "soft_failure", code, counts=counts)


def _after_refusal(result: Rejected, earlier: Earlier, moment: Moment) -> Settlement:
    code = _code(result.code, result.enhanced)
    match result.kind:
        case Fault.RECIPIENT:
            return rejected(moment.now, "recipient_refused", code, bounced=True)
        case Fault.ACCESS:
            reason, counts = "access_lost", ("failures",)
            return deferred(moment.now, moment.after_soft, reason, code, counts=counts, hold_reason=reason)
        case Fault.POLICY if result.phase in _BEFORE_MAIL:
            reason = "login_refused" if result.phase is Phase.AUTH else "server_refused"
            counts = ("failures",)
            return deferred(moment.now, moment.after_soft, reason, code, counts=counts, hold_reason=reason)
        case Fault.POLICY if earlier.policy_refusals + 1 < MAX_POLICY_REFUSALS:
            return deferred(
                moment.now,
                moment.after_soft,
                "policy_refused",
                code,
                counts=("failures", "policy_refusals"),
                hold_reason="policy_refused",
            )
    return rejected(moment.now, f"{result.kind}_refused", code)


def _code(code: int, enhanced: str) -> str:
    return f"{code} {enhanced}".strip()


def backoff_seconds(failures: int, jitter: float, *, base: float, cap: float) -> float:
    """Real seconds to wait after `failures` failures (from 1): doubling, the last half of it at random."""
    return float(min(cap, base * 2.0 ** min(failures - 1, 32)) * (0.5 + 0.5 * jitter))


# ---- outcomes ----

_OUTCOMES: Final[Mapping[State, Outcome]] = {
    State.SENT: Outcome.SENT,
    State.DEFERRED: Outcome.DEFERRED,
    State.REJECTED: Outcome.REJECTED,
    State.IN_DOUBT: Outcome.IN_DOUBT,
    State.RELEASED: Outcome.WITHDRAWN,
    State.TASK_OPEN: Outcome.TASK_OPENED,
    State.DONE: Outcome.TASK_DONE,
    State.SKIPPED: Outcome.TASK_SKIPPED,
}


_WENT_OUT: Final = frozenset({Outcome.SENT, Outcome.TASK_OPENED, Outcome.TASK_DONE, Outcome.TASK_SKIPPED})
"""The outcomes that tell in which words."""


def has_outcome(delivery: Document) -> bool:
    """Whether a delivery is settled, for now or for good."""
    return State(delivery["state"]) in _OUTCOMES


def outcome_of(delivery: Document, recorded_at: datetime) -> StageOutcome:
    """The outcome that a settled delivery's document tells, the same however often it is told."""
    kind = _OUTCOMES[State(delivery["state"])]
    until = delivery.get("until") if kind is Outcome.DEFERRED else None
    return StageOutcome(
        event_id=outcome_id(delivery["_id"], delivery["attempt"], kind),
        event_type=kind,
        occurred_at=delivery["sent_at"] if kind is Outcome.SENT else delivery["settled_at"],
        recorded_at=recorded_at,
        workspace_id=delivery["workspace_id"],
        enrollment_id=delivery["enrollment_id"],
        stage_id=delivery["stage_id"],
        attempt=delivery["attempt"],
        until=until,
        reason=delivery.get("reason") or "",
        code=delivery.get("code") or "",
        bounced=kind is Outcome.REJECTED and bool(delivery.get("bounced")),
        responded=kind is Outcome.TASK_DONE and bool((delivery.get("task") or {}).get("responded")),
        variant=delivery.get("variant") if kind in _WENT_OUT else None,
    )


def overdue(delivery: Document, recorded_at: datetime) -> StageOutcome:
    """The open task of a delivery is overdue; the same however often it is told."""
    return StageOutcome(
        event_id=outcome_id(delivery["_id"], delivery["attempt"], Outcome.TASK_OVERDUE),
        event_type=Outcome.TASK_OVERDUE,
        occurred_at=delivery["task"]["overdue_at"],
        recorded_at=recorded_at,
        workspace_id=delivery["workspace_id"],
        enrollment_id=delivery["enrollment_id"],
        stage_id=delivery["stage_id"],
        attempt=delivery["attempt"],
    )


def recalled(due: Due, at: datetime, recorded_at: datetime) -> StageOutcome:
    """Nothing will be sent any more for this dispatch, or it was too late; told for unknown ones too."""
    return StageOutcome(
        event_id=outcome_id(due.dispatch_id, due.attempt, Outcome.RECALLED),
        event_type=Outcome.RECALLED,
        occurred_at=at,
        recorded_at=recorded_at,
        workspace_id=due.workspace_id,
        enrollment_id=due.enrollment_id,
        stage_id=due.stage_id,
        attempt=due.attempt,
    )


def outcome_id(dispatch_id: str, attempt: int, kind: Outcome) -> UUID:
    """The id of one outcome of one attempt."""
    enrollment, _, stage = dispatch_id.partition(":")
    return uuid5(UUID(enrollment), f"{stage}/{attempt}/{kind}")
