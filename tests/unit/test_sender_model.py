"""The sender's states and decisions, held against the protocol: one test per edge, one per non-edge."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from chassis.documents import EnrollmentView
from segue_contracts.events import Outcome
from segue_contracts.sequence import Overdue
from sender import model
from sender.manual import overdue_at
from sender.model import Answer, Due, Earlier, Existing, Moment, Move, State, Withdrawal
from sender.settings import DOUBT_SECONDS, SenderSettings
from sender.smtp import Accepted, Broken, Deferred, Fault, Phase, Rejected, Reply

WORKSPACE = UUID("7c1f3f35-28f4-4b7b-a4a3-6a0f6c1b5d11")
ENROLLMENT = UUID("0b8e2b52-6d0c-4c6e-8f0a-d2c4d9a6f001")
PERSON = UUID("0b8e2b52-6d0c-4c6e-8f0a-d2c4d9a6f002")
DISPATCH = f"{ENROLLMENT}:hello"
DUE = Due(DISPATCH, WORKSPACE, ENROLLMENT, "hello", 3)
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
MOMENT = Moment(NOW, LATER)

# What the protocol's model allows; written out here, so that a change of the table is a change of two places.
EDGES = {
    State.CLAIMED: {
        State.CLAIMED,
        State.TRANSMITTING,
        State.SENT,
        State.RELEASED,
        State.DEFERRED,
        State.REJECTED,
        State.TASK_OPEN,
    },
    State.TRANSMITTING: {State.SENT, State.DEFERRED, State.REJECTED, State.IN_DOUBT, State.CLAIMED},
    State.SENT: set(),
    State.DEFERRED: {State.CLAIMED, State.RELEASED, State.SENT},
    State.REJECTED: {State.SENT},
    State.IN_DOUBT: {State.SENT, State.DEFERRED, State.SKIPPED, State.IN_DOUBT},
    State.RELEASED: {State.CLAIMED, State.SENT},
    State.TASK_OPEN: {State.DONE, State.SKIPPED, State.RELEASED, State.TASK_OPEN, State.SENT},
    State.DONE: {State.SENT},
    State.SKIPPED: {State.SENT},
}


@pytest.mark.parametrize(("source", "target"), [(s, t) for s in State for t in State])
def test_the_table_has_exactly_the_edges_of_the_protocol(source: State, target: State) -> None:
    moves = [m for m, edge in model.TRANSITIONS.items() if source in edge.sources and edge.target is target]
    assert bool(moves) == (target in EDGES[source]), moves


def test_nothing_but_a_250_leaves_a_final_state() -> None:
    for final in (State.SENT, State.REJECTED, State.DONE, State.SKIPPED):
        leaving = {move for move, edge in model.TRANSITIONS.items() if final in edge.sources}
        assert leaving <= {Move.RECORD_SENT}


# ---- what exists already ----


def existing(state: State, attempt: int, *, overdue: bool = False, token: str = "other") -> Existing:
    return Existing(state, attempt, token, overdue, {})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (existing(State.CLAIMED, 3, token="mine"), Answer.MINE),
        (existing(State.CLAIMED, 3), Answer.LEAVE),
        (existing(State.CLAIMED, 3, overdue=True), Answer.TAKE_OVER),
        (existing(State.CLAIMED, 2, overdue=True), Answer.TAKE_OVER),
        (existing(State.CLAIMED, 4, overdue=True), Answer.LEAVE),
        (existing(State.TRANSMITTING, 3), Answer.LEAVE),
        (existing(State.TRANSMITTING, 3, token="mine"), Answer.LEAVE),
        (existing(State.TRANSMITTING, 3, overdue=True), Answer.DOUBT),
        (existing(State.TRANSMITTING, 4, overdue=True), Answer.DOUBT),
        (existing(State.DEFERRED, 2), Answer.CLAIM_AGAIN),
        (existing(State.DEFERRED, 3), Answer.PUBLISH_AGAIN),
        (existing(State.DEFERRED, 4), Answer.PUBLISH_AGAIN),
        (existing(State.RELEASED, 2), Answer.CLAIM_AGAIN),
        (existing(State.RELEASED, 3), Answer.PUBLISH_AGAIN),
        (existing(State.RELEASED, 4), Answer.PUBLISH_AGAIN),
        *(
            (existing(state, attempt), Answer.PUBLISH_AGAIN)
            for state in (
                State.SENT,
                State.REJECTED,
                State.IN_DOUBT,
                State.TASK_OPEN,
                State.DONE,
                State.SKIPPED,
            )
            for attempt in (2, 3, 4)
        ),
    ],
)
def test_what_is_done_about_an_existing_delivery(found: Existing, expected: Answer) -> None:
    assert model.answer(found, 3, "mine") is expected


def test_of_several_attempts_in_one_batch_only_the_newest_is_looked_at() -> None:
    older = Due(DISPATCH, WORKSPACE, ENROLLMENT, "hello", 2)
    assert model.newest([older, DUE, older]) == {DISPATCH: DUE}


# ---- the read ----


def enrollment(**changed: Any) -> EnrollmentView:
    document = {
        "_id": ENROLLMENT,
        "workspace_id": WORKSPACE,
        "state": "dispatched",
        "stage_id": "hello",
        "attempt": 3,
        "sequence_id": PERSON,
        "sequence_version": 1,
        "person_id": PERSON,
        "mailbox_id": PERSON,
        "owner_id": PERSON,
        "ended": False,
    }
    return EnrollmentView.read({**document, **changed})


@pytest.mark.parametrize(
    ("view", "held", "suppressed", "expected"),
    [
        (enrollment(), False, False, None),
        (enrollment(send_before=NOW), False, False, None),
        (None, False, False, Withdrawal.NOT_CURRENT),
        *(
            (enrollment(state=state), False, False, Withdrawal.NOT_CURRENT)
            for state in ("scheduled", "awaiting_task", "in_doubt", "stopped", "finished", "failed")
        ),
        (enrollment(ended=True), False, False, Withdrawal.NOT_CURRENT),
        (enrollment(stage_id="nudge"), False, False, Withdrawal.NOT_CURRENT),
        (enrollment(attempt=2), False, False, Withdrawal.NOT_CURRENT),
        (enrollment(attempt=4), False, False, Withdrawal.NOT_CURRENT),
        (enrollment(), True, False, Withdrawal.HELD),
        (enrollment(), True, True, Withdrawal.SUPPRESSED),
        (enrollment(state="stopped"), True, True, Withdrawal.NOT_CURRENT),
        (
            enrollment(send_before=NOW - timedelta(milliseconds=1)),
            False,
            False,
            Withdrawal.WINDOW_OVER,
        ),
    ],
)
def test_only_a_current_dispatched_unheld_unsuppressed_enrollment_in_its_window_goes(
    view: EnrollmentView | None, held: bool, suppressed: bool, expected: Withdrawal | None
) -> None:
    assert model.judge_read(DUE, view, held=held, suppressed=suppressed, now=NOW) is expected


# ---- what the server said ----

PHASES_BEFORE_THE_DOT = [phase for phase in Phase if phase is not Phase.DOT]


def test_a_250_is_sent() -> None:
    settlement = model.after_smtp(Accepted(Reply(250, "2.0.0", "queued")), Earlier(), MOMENT)
    assert (settlement.target, settlement.fields["sent_at"], settlement.fields["code"]) == (
        State.SENT,
        NOW,
        "250 2.0.0",
    )


@pytest.mark.parametrize("phase", PHASES_BEFORE_THE_DOT)
def test_a_connection_broken_before_the_dot_is_deferred(phase: Phase) -> None:
    settlement = model.after_smtp(Broken(phase, "gone"), Earlier(failures=400), MOMENT)
    assert (settlement.target, settlement.fields["until"]) == (State.DEFERRED, LATER)
    assert settlement.counts == ("failures",)


def test_a_connection_broken_after_the_dot_is_in_doubt() -> None:
    assert model.after_smtp(Broken(Phase.DOT, "gone"), Earlier(), MOMENT).target is State.IN_DOUBT


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT])
def test_a_4xx_is_deferred_and_counted_until_we_give_up(phase: Phase) -> None:
    said = Deferred(450, "4.2.0", "later", phase)
    settlement = model.after_smtp(said, Earlier(), MOMENT)
    assert (settlement.target, settlement.fields["until"], settlement.fields["code"]) == (
        State.DEFERRED,
        LATER,
        "450 4.2.0",
    )
    assert "soft_failures" in settlement.counts
    last = model.after_smtp(said, Earlier(soft_failures=model.MAX_SOFT_FAILURES - 1), MOMENT)
    assert (last.target, last.fields["reason"], last.fields["bounced"]) == (State.REJECTED, "gave_up", False)


def test_a_server_that_is_busy_before_mail_is_never_given_up() -> None:
    said = Deferred(421, "", "busy", Phase.BANNER)
    assert model.after_smtp(said, Earlier(soft_failures=99), MOMENT).target is State.DEFERRED


def test_a_refused_recipient_bounces_and_is_suppressed() -> None:
    said = Rejected(550, "5.1.1", "no such user", Phase.RCPT, Fault.RECIPIENT)
    settlement = model.after_smtp(said, Earlier(), MOMENT)
    assert (settlement.target, settlement.fields["bounced"], settlement.suppress) == (
        State.REJECTED,
        True,
        True,
    )


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.AUTH, Phase.RCPT, Phase.DOT])
def test_a_policy_refusal_is_our_fault_and_holds_the_mailbox(phase: Phase) -> None:
    said = Rejected(550, "5.7.1", "not you", phase, Fault.POLICY)
    settlement = model.after_smtp(said, Earlier(), MOMENT)
    assert settlement.target is State.DEFERRED
    assert settlement.hold_reason
    assert not settlement.suppress


def test_a_message_refused_as_policy_again_and_again_fails_without_a_bounce() -> None:
    said = Rejected(550, "5.7.1", "not you", Phase.RCPT, Fault.POLICY)
    settlement = model.after_smtp(said, Earlier(policy_refusals=model.MAX_POLICY_REFUSALS - 1), MOMENT)
    assert (settlement.target, settlement.fields["reason"], settlement.suppress, settlement.hold_reason) == (
        State.REJECTED,
        "policy_refused",
        False,
        "",
    )


def test_a_refused_login_is_deferred_for_ever() -> None:
    said = Rejected(535, "5.7.8", "who are you", Phase.AUTH, Fault.POLICY)
    settlement = model.after_smtp(said, Earlier(failures=99, policy_refusals=99), MOMENT)
    assert (settlement.target, settlement.hold_reason) == (State.DEFERRED, "login_refused")


@pytest.mark.parametrize("fault", [Fault.CONTENT, Fault.OTHER])
def test_a_refused_message_is_rejected_without_a_bounce(fault: Fault) -> None:
    settlement = model.after_smtp(Rejected(554, "5.6.0", "no", Phase.DOT, fault), Earlier(), MOMENT)
    assert (settlement.target, settlement.fields["bounced"], settlement.suppress) == (
        State.REJECTED,
        False,
        False,
    )


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_the_backoff_doubles_up_to_its_cap_and_never_falls_below_half(failures: int, jitter: float) -> None:
    seconds = model.backoff_seconds(failures, jitter, base=60, cap=3600)
    ceiling = min(3600, 60 * 2 ** (failures - 1))
    assert ceiling / 2 <= seconds <= ceiling


# ---- outcomes ----

SETTLED = {"_id": DISPATCH, "workspace_id": WORKSPACE, "enrollment_id": ENROLLMENT, "stage_id": "hello"}


def delivery(settlement: model.Settlement) -> dict[str, Any]:
    return {**SETTLED, "attempt": 3, **settlement.document}


@pytest.mark.parametrize(
    ("settlement", "kind"),
    [
        (model.sent(NOW, "250"), Outcome.SENT),
        (model.deferred(NOW, LATER, "soft_failure", "450"), Outcome.DEFERRED),
        (model.rejected(NOW, "recipient_refused", "550", bounced=True), Outcome.REJECTED),
        (model.doubted(NOW), Outcome.IN_DOUBT),
        (model.released(NOW, Withdrawal.HELD), Outcome.WITHDRAWN),
        (model.task_opened(NOW, {}, {}), Outcome.TASK_OPENED),
    ],
)
def test_an_outcome_is_the_same_however_often_it_is_told(settlement: model.Settlement, kind: Outcome) -> None:
    first = model.outcome_of(delivery(settlement), NOW)
    again = model.outcome_of(delivery(settlement), LATER)
    assert first.event_type is kind
    assert first.model_copy(update={"recorded_at": LATER}) == again
    assert (first.until == LATER) == (kind is Outcome.DEFERRED)
    assert first.bounced == (kind is Outcome.REJECTED)


def test_unsettled_deliveries_have_no_outcome() -> None:
    without = {s for s in State if not model.has_outcome({"state": s.value})}
    assert without == {State.CLAIMED, State.TRANSMITTING}


# ---- tasks, settings, group commit ----


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("30 minutes", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
        ("2 days", datetime(2026, 11, 22, 9, tzinfo=UTC)),
        ("2 business days", datetime(2026, 11, 24, 9, tzinfo=UTC)),
    ],
)
def test_a_task_is_overdue_after_its_delay(after: str, expected: datetime) -> None:
    friday = datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert overdue_at(friday, Overdue(after=after)) == expected


REQUIRED: dict[str, Any] = {
    "kafka_bootstrap_servers": "localhost:9092",
    "mongodb_uri": SecretStr("mongodb://localhost"),
    "secret_keys": SecretStr("0123456789abcdef"),
}


def test_the_default_deadlines_nest() -> None:
    settings = SenderSettings(**REQUIRED)
    assert settings.redelivery_seconds > settings.claim_lease_seconds
    assert settings.claim_lease_seconds > settings.smtp_total_seconds + settings.batch_seconds
    assert settings.draining_seconds >= settings.smtp_total_seconds + DOUBT_SECONDS


@pytest.mark.parametrize(
    "wrong",
    [
        {"redelivery_seconds": 100, "claim_lease_seconds": 100},
        {"claim_lease_seconds": 90, "smtp_total_seconds": 75, "batch_seconds": 15},
        {"batch_seconds": 5, "room_seconds": 5},
        {"shutdown_seconds": 89, "smtp_total_seconds": 75},
    ],
)
def test_deadlines_that_do_not_nest_are_refused_at_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must be longer"):
        SenderSettings(**REQUIRED, **wrong)
