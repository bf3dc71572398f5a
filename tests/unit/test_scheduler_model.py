"""Every edge and every non-edge of the enrollment's states, and what each outcome means in each of them."""

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.testing import NOON
from scheduler import model
from scheduler.model import IN_FLIGHT, LIVE, TRANSITIONS, IllegalMove, State, Step, Trigger, Verdict
from scheduler.story import event_of, number
from segue_contracts.events import Outcome, StageOutcome
from segue_contracts.ids import event_id
from segue_contracts.message import Channel

STEP = Step("second", 1, Channel.EMAIL, NOON + timedelta(days=1), None, "UTC", ())
ENROLLMENT_ID = UUID(int=7)


def enrollment(state: State = State.DISPATCHED, **more: Any) -> dict[str, Any]:
    identity = {
        "_id": ENROLLMENT_ID,
        "workspace_id": UUID(int=1),
        "sequence_id": UUID(int=2),
        "sequence_version": 1,
        "person_id": UUID(int=3),
        "owner_id": UUID(int=4),
        "mailbox_id": UUID(int=5),
        "start_at": NOON,
    }
    first = Step("first", 0, Channel.EMAIL, NOON, None, "UTC", ())
    e = model.enrolled(identity, first, NOON, NOON)
    return {**e, "state": state.value, "attempt": 2, **more}


def outcome(kind: Outcome, **more: Any) -> StageOutcome:
    values: dict[str, Any] = {
        "event_id": uuid4(),
        "event_type": kind,
        "occurred_at": NOON,
        "recorded_at": NOON,
        "workspace_id": UUID(int=1),
        "enrollment_id": ENROLLMENT_ID,
        "stage_id": "first",
        "attempt": 2,
    }
    return StageOutcome(**(values | more))


EVERY_MOVE = [
    pytest.param(at, trigger, to, id=f"{at}-{trigger}-{to}")
    for at, trigger, to in itertools.product(State, Trigger, State)
]


@pytest.mark.parametrize(("at", "trigger", "to"), EVERY_MOVE)
def test_a_move_is_made_exactly_if_the_table_has_it(at: State, trigger: Trigger, to: State) -> None:
    if to in TRANSITIONS[at].get(trigger, frozenset()):
        assert model.move(enrollment(at), trigger, to) is to
    else:
        with pytest.raises(IllegalMove):
            model.move(enrollment(at), trigger, to)


def test_what_has_ended_never_moves() -> None:
    assert [s for s in State if not TRANSITIONS[s]] == [State.STOPPED, State.FINISHED, State.FAILED]


@pytest.mark.parametrize("kind", [Outcome.SENT, Outcome.TASK_DONE, Outcome.TASK_SKIPPED])
@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_completed_stage_counts_in_every_live_state(state: State, kind: Outcome) -> None:
    e = enrollment(state)
    assert model.judge(e, outcome(kind, attempt=1)) is Verdict.COMPLETE
    assert model.completed(e, outcome(kind), STEP).to is State.SCHEDULED
    assert model.completed(e, outcome(kind), None).to is State.FINISHED


@pytest.mark.parametrize("state", sorted(set(State) - LIVE))
@pytest.mark.parametrize("kind", sorted(set(Outcome) - {Outcome.RECALLED}))
def test_nothing_moves_what_has_ended(state: State, kind: Outcome) -> None:
    assert model.judge(enrollment(state), outcome(kind)) is Verdict.NO_MATCH_ENDED


@pytest.mark.parametrize("kind", [Outcome.DEFERRED, Outcome.WITHDRAWN])
def test_a_return_counts_only_for_the_current_attempt(kind: Outcome) -> None:
    assert model.judge(enrollment(), outcome(kind)) is Verdict.RETRY
    assert model.judge(enrollment(), outcome(kind, attempt=1)) is Verdict.NO_MATCH_ATTEMPT


@pytest.mark.parametrize("state", [State.SCHEDULED, State.AWAITING_TASK])
@pytest.mark.parametrize("kind", [Outcome.DEFERRED, Outcome.WITHDRAWN, Outcome.IN_DOUBT, Outcome.TASK_OPENED])
def test_what_can_only_follow_a_dispatch_is_ignored_elsewhere(state: State, kind: Outcome) -> None:
    assert model.judge(enrollment(state), outcome(kind)) is Verdict.NO_MATCH_STATE


def test_an_outcome_of_another_stage_is_ignored() -> None:
    assert model.judge(enrollment(), outcome(Outcome.SENT, stage_id="zeroth")) is Verdict.NO_MATCH_STAGE


def test_a_rejection_by_the_recipient_stops_and_any_other_fails() -> None:
    assert model.judge(enrollment(), outcome(Outcome.REJECTED, bounced=True)) is Verdict.STOP_BOUNCED
    opted_out = outcome(Outcome.REJECTED, reason="opted_out")
    assert model.judge(enrollment(), opted_out) is Verdict.STOP_OPTED_OUT
    assert model.judge(enrollment(), outcome(Outcome.REJECTED)) is Verdict.FAIL


def test_a_task_in_which_the_person_answered_stops_as_replied() -> None:
    done = outcome(Outcome.TASK_DONE, responded=True)
    assert model.judge(enrollment(State.AWAITING_TASK), done) is Verdict.STOP_REPLIED


def test_the_task_that_brought_the_answer_is_told_before_the_stop_with_what_came_of_it() -> None:
    e, done = enrollment(State.AWAITING_TASK), outcome(Outcome.TASK_DONE, reason="reached", responded=True)
    stop = model.stopped(e, NOON, "replied", "", uuid4(), None)
    told = model.answered(e, done, stop).chapters
    assert [(each["type"], each["reason"]) for each in told] == [
        ("task_done", "reached"),
        ("stopped", "replied"),
    ]


def test_an_open_task_is_told_as_overdue_once_and_goes_on_waiting() -> None:
    e, late = enrollment(State.AWAITING_TASK), outcome(Outcome.TASK_OVERDUE)
    assert model.judge(e, late) is Verdict.NOTE_OVERDUE
    change = model.overdue(e, late)
    assert (change.to, [each["type"] for each in change.chapters]) == (State.AWAITING_TASK, ["task_overdue"])
    assert model.judge({**e, **change.set}, late) is Verdict.NO_MATCH_STATE
    assert model.judge(enrollment(State.SCHEDULED), late) is Verdict.NO_MATCH_STATE


def test_a_recall_is_confirmed_once_and_only_for_what_is_owed() -> None:
    owing = enrollment(State.STOPPED, owes_recall=f"{ENROLLMENT_ID}:first")
    assert model.judge(owing, outcome(Outcome.RECALLED)) is Verdict.RECALL_CONFIRMED
    assert "owes_recall" in model.recall_confirmed(owing).unset
    assert model.judge(enrollment(State.STOPPED), outcome(Outcome.RECALLED)) is Verdict.NO_MATCH_STATE


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_stop_owes_a_recall_exactly_if_something_is_in_flight(state: State) -> None:
    change = model.stopped(enrollment(state), NOON, "replied", "", uuid4(), NOON)
    assert change.to is State.STOPPED
    assert ("owes_recall" in change.set) == (state in IN_FLIGHT)
    assert ("due_at" in change.set) == (state in IN_FLIGHT)


def test_every_live_state_that_a_change_leads_to_keeps_a_deadline_or_a_hold() -> None:
    waiting, flying = enrollment(State.SCHEDULED), enrollment()
    hold = {"_id": "sequence:x", "scope": "sequence", "reason": "", "until": None}
    changes = [
        model.completed(flying, outcome(Outcome.SENT), STEP),
        model.returned(flying, outcome(Outcome.DEFERRED), NOON, None),
        model.awaiting_task(flying, outcome(Outcome.TASK_OPENED), NOON),
        model.in_doubt(flying, outcome(Outcome.IN_DOUBT), NOON),
        model.replanned(waiting, STEP, NOON),
        model.parked(waiting, hold, NOON),
        model.unparked(waiting, STEP, NOON),
    ]
    for change in changes:
        assert change.to in LIVE
        assert ("due_at" in change.set and "due_at" not in change.unset) or "parked_by" in change.set


def test_only_what_is_in_flight_keeps_a_wish_pending() -> None:
    with pytest.raises(IllegalMove):
        model.pending(enrollment(State.SCHEDULED), {"migrate": 2})
    assert model.pending(enrollment(), {"migrate": 2}).set == {"pending": {"migrate": 2}}


@pytest.mark.parametrize("state", sorted(LIVE))
def test_whoever_changes_company_stays_where_they_are(state: State) -> None:
    e = enrollment(state, company_key="old", company_id=UUID(int=8))
    change = model.moved(e, "new", UUID(int=9), NOON)
    assert (change.to, change.unset, change.chapters) == (state, (), ())
    assert change.set == {"company_key": "new", "company_id": UUID(int=9)}
    assert model.moved(e, None, None, NOON).unset == ("company_key",)


def test_only_the_old_companys_hold_lets_go_of_whoever_changes_company() -> None:
    held = enrollment(State.SCHEDULED, company_key="old", company_id=UUID(int=8))
    by_company = model.moved({**held, "parked_by": f"company:{UUID(int=8)}"}, "new", UUID(int=9), NOON)
    assert (by_company.set["due_at"], "parked_by" in by_company.unset) == (NOON, True)
    by_person = model.moved({**held, "parked_by": f"person:{UUID(int=3)}"}, "new", UUID(int=9), NOON)
    assert ("due_at" in by_person.set, "parked_by" in by_person.unset) == (False, False)


def test_the_mark_of_what_is_broken_remembers_when_it_began_and_was_due() -> None:
    e = enrollment(State.SCHEDULED)
    e["broken"] = model.broken(e, "due", 1, "KeyError: 'zone'", NOON, 30)
    e["due_at"] = NOON + timedelta(seconds=30)
    again = model.broken(e, "due", 2, "KeyError: 'zone'", NOON + timedelta(seconds=30), 60)
    assert (again["since"], again["due_at"]) == (NOON, NOON)
    assert again["again_at"] == NOON + timedelta(seconds=90)
    assert model.was_due(e) == NOON


def test_chapters_are_numbered_without_gaps_and_make_stable_events() -> None:
    e = enrollment()
    chapters = number(e, model.completed(e, outcome(Outcome.SENT), None), NOON)
    assert [c["seq"] for c in chapters] == [3, 4]
    events = [event_of(e, c) for c in chapters]
    assert [ev.event_id for ev in events] == [event_id(ENROLLMENT_ID, 3), event_id(ENROLLMENT_ID, 4)]
    assert [ev.event_type.value for ev in events] == ["stage_sent", "finished"]
    assert [c["type"] for c in e["history"]] == ["enrolled", "stage_scheduled"]


def test_a_tombstone_has_ended() -> None:
    grave = model.tombstone(ENROLLMENT_ID, UUID(int=1), NOON, "replied", "", uuid4(), NOON)
    assert grave["ended"]
    assert State(grave["state"]) not in LIVE
