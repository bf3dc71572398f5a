"""The states of an enrollment and the only ways between them; pure: time and plans are arguments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from chassis.documents import hold_id
from segue_contracts.events import OPTED_OUT, Outcome, StageOutcome
from segue_contracts.events import EnrollmentEventType as Event
from segue_contracts.message import Channel

Document = dict[str, Any]


class State(StrEnum):
    """Where an enrollment is; the comment says who moves it on."""

    SCHEDULED = "scheduled"  # the due loop
    DISPATCHED = "dispatched"  # an outcome; asked again at the redelivery deadline
    AWAITING_TASK = "awaiting_task"  # the person with the task; asked again
    IN_DOUBT = "in_doubt"  # evidence, or a person's or the workspace's decision; asked again
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


class Trigger(StrEnum):
    """What can happen to an enrollment, in the words of the protocol."""

    DUE = "due"
    PLANNED = "planned"
    SENT = "sent"
    TASK_OPENED = "task_opened"
    TASK_DONE = "task_done"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    WITHDRAWN = "withdrawn"
    IN_DOUBT = "in_doubt"
    STOP = "stop"
    FAIL = "fail"


LIVE = frozenset({State.SCHEDULED, State.DISPATCHED, State.AWAITING_TASK, State.IN_DOUBT})
IN_FLIGHT = LIVE - {State.SCHEDULED}
_NEXT = frozenset({State.SCHEDULED, State.FINISHED})
_STAY = frozenset({State.SCHEDULED})
_ENDS = {Trigger.STOP: frozenset({State.STOPPED}), Trigger.FAIL: frozenset({State.FAILED})}
# A completed stage moves any live state on: a late truth is still the truth.
_COMPLETED = {Trigger.SENT: _NEXT, Trigger.TASK_DONE: _NEXT, Trigger.SKIPPED: _NEXT}

TRANSITIONS: Mapping[State, Mapping[Trigger, frozenset[State]]] = {
    State.SCHEDULED: {
        Trigger.DUE: frozenset({State.DISPATCHED}),
        Trigger.PLANNED: _STAY,
        **_COMPLETED,
        **_ENDS,
    },
    State.DISPATCHED: {
        Trigger.DUE: frozenset({State.DISPATCHED}),
        Trigger.TASK_OPENED: frozenset({State.AWAITING_TASK}),
        Trigger.IN_DOUBT: frozenset({State.IN_DOUBT}),
        Trigger.DEFERRED: _STAY,
        Trigger.WITHDRAWN: _STAY,
        **_COMPLETED,
        **_ENDS,
    },
    State.AWAITING_TASK: {**_COMPLETED, **_ENDS},
    State.IN_DOUBT: {Trigger.DEFERRED: _STAY, Trigger.WITHDRAWN: _STAY, **_COMPLETED, **_ENDS},
    State.STOPPED: {},
    State.FINISHED: {},
    State.FAILED: {},
}


class IllegalMove(RuntimeError):
    """A transition that the table does not have: a bug, never an input."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage with its planned time: what an enrollment waits for next.

    `since`: found from this instant on and not counted from the base: a person asked for it, or it was late.
    """

    stage_id: str
    stage_index: int
    channel: Channel
    at: datetime
    send_before: datetime | None
    zone: str
    reasons: tuple[Document, ...]
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One guarded write: fields to set and unset, and the chapters that it adds to the story."""

    to: State
    set: Document = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    chapters: tuple[Document, ...] = ()


def chapter(event: Event, at: datetime, e: Document, **facts: Any) -> Document:
    """One compact entry of the history, without its number: that is given by the write."""
    base = {
        "type": event.value,
        "at": at,
        "version": e.get("sequence_version"),
        "stage_id": e.get("stage_id"),
        "stage_index": e.get("stage_index"),
        "channel": e.get("channel"),
        "attempt": e.get("attempt") or None,
    }
    return {name: value for name, value in {**base, **facts}.items() if value is not None}


def move(e: Document, trigger: Trigger, to: State) -> State:
    """`to`, if the table allows it from the enrollment's state; IllegalMove otherwise."""
    state = State(e["state"])
    if to not in TRANSITIONS[state].get(trigger, frozenset()):
        raise IllegalMove(f"{state} --{trigger}--> {to}")
    return to


# ---- what an outcome means ---------------------------------------------------------------------


class Verdict(StrEnum):
    """What to do about an outcome; the values after `no_match_` are counted by name."""

    COMPLETE = "complete"
    RETRY = "retry"
    AWAIT_TASK = "await_task"
    NOTE_OVERDUE = "note_overdue"
    DOUBT = "doubt"
    STOP_BOUNCED = "stop_bounced"
    STOP_OPTED_OUT = "stop_opted_out"
    STOP_SUPPRESSED = "stop_suppressed"
    STOP_REPLIED = "stop_replied"
    FAIL = "fail"
    RECALL_CONFIRMED = "recall_confirmed"
    NO_MATCH_ENDED = "no_match_ended"
    NO_MATCH_STAGE = "no_match_stage"
    NO_MATCH_ATTEMPT = "no_match_attempt"
    NO_MATCH_STATE = "no_match_state"


COMPLETING = {
    Outcome.SENT: Trigger.SENT,
    Outcome.TASK_DONE: Trigger.TASK_DONE,
    Outcome.TASK_SKIPPED: Trigger.SKIPPED,
}


def judge(e: Document, outcome: StageOutcome) -> Verdict:
    """What `outcome` means for the enrollment as it is now.

    Facts (sent, task_done, task_skipped, rejected) count in every live state; deferred and withdrawn only for
    the current attempt from dispatched or in_doubt; everything else is a counted no-match.
    """
    state = State(e["state"])
    if outcome.event_type is Outcome.RECALLED:
        owed = e.get("owes_recall") == outcome.dispatch_id
        return Verdict.RECALL_CONFIRMED if owed else Verdict.NO_MATCH_STATE
    if state not in LIVE:
        return Verdict.NO_MATCH_ENDED
    if e.get("stage_id") != outcome.stage_id:
        return Verdict.NO_MATCH_STAGE
    match outcome.event_type:
        case Outcome.TASK_DONE if outcome.responded:
            return Verdict.STOP_REPLIED
        case Outcome.SENT | Outcome.TASK_DONE | Outcome.TASK_SKIPPED:
            return Verdict.COMPLETE
        case Outcome.REJECTED if outcome.reason == OPTED_OUT:
            return Verdict.STOP_OPTED_OUT
        case Outcome.REJECTED:
            return Verdict.STOP_BOUNCED if outcome.bounced else Verdict.FAIL
        case Outcome.DEFERRED | Outcome.WITHDRAWN:
            return _judge_return(state, e, outcome)
        case Outcome.TASK_OPENED:
            return Verdict.AWAIT_TASK if state is State.DISPATCHED else Verdict.NO_MATCH_STATE
        case Outcome.TASK_OVERDUE:
            told = state is not State.AWAITING_TASK or e.get("told_overdue") == outcome.stage_id
            return Verdict.NO_MATCH_STATE if told else Verdict.NOTE_OVERDUE
        case Outcome.IN_DOUBT:
            return Verdict.DOUBT if state is State.DISPATCHED else Verdict.NO_MATCH_STATE
    raise AssertionError(outcome.event_type)


def _judge_return(state: State, e: Document, outcome: StageOutcome) -> Verdict:
    if outcome.attempt != e["attempt"]:
        return Verdict.NO_MATCH_ATTEMPT
    if state not in (State.DISPATCHED, State.IN_DOUBT):
        return Verdict.NO_MATCH_STATE
    suppressed = outcome.event_type is Outcome.WITHDRAWN and outcome.reason == "suppressed"
    return Verdict.STOP_SUPPRESSED if suppressed else Verdict.RETRY


# ---- transitions: named, one guarded write each ------------------------------------------------

_WAITING = ("parked_by", "pending")


def completed(e: Document, outcome: StageOutcome, following: Step | None) -> Change:
    """The current stage is completed; `following` is the next step, None after the last one."""
    told = _told_complete(e, outcome)
    return _onward(e, COMPLETING[outcome.event_type], told, outcome.occurred_at, following)


def answered(e: Document, outcome: StageOutcome, stop: Change) -> Change:
    """`stop`, by the person's answer while the task was done: the task's own event comes first."""
    return replace(stop, chapters=(_told_complete(e, outcome), *stop.chapters))


def _told_complete(e: Document, outcome: StageOutcome) -> Document:
    at = outcome.occurred_at
    told = {
        Outcome.SENT: Event.STAGE_SENT,
        Outcome.TASK_DONE: Event.TASK_DONE,
        Outcome.TASK_SKIPPED: Event.STAGE_SKIPPED,
    }[outcome.event_type]
    facts = {
        "scheduled_for": e.get("planned_at"),
        "reason": outcome.reason or None,
        "variant": outcome.variant,
    }
    if outcome.event_type is not Outcome.TASK_SKIPPED:
        facts["sent_at"] = at
    return chapter(told, at, e, **facts)


def skipped(e: Document, at: datetime, reason: str, following: Step | None) -> Change:
    """The current stage is left out (its `when` is false, or it came too late), the sequence goes on."""
    told = chapter(Event.STAGE_SKIPPED, at, e, scheduled_for=e.get("planned_at"), reason=reason)
    return _onward(e, Trigger.SKIPPED, told, at, following)


def _onward(e: Document, trigger: Trigger, told: Document, at: datetime, following: Step | None) -> Change:
    done = [*e.get("completed", ()), e["stage_id"]]
    if following is None:
        to = move(e, trigger, State.FINISHED)
        finished = chapter(Event.FINISHED, at, {"sequence_version": e.get("sequence_version")})
        return Change(to, {"completed": done, **_end(at)}, ("due_at", *_WAITING), (told, finished))
    to = move(e, trigger, State.SCHEDULED)
    planned = _planned(e, following, at)
    return Change(
        to,
        {"completed": done, "base": at, **_step(following, _attempt(e, following))},
        _WAITING,
        (told, planned),
    )


def replanned(e: Document, step: Step, at: datetime, reason: str = "") -> Change:
    """The current stage (or, after a migration, another one) has a new time."""
    to = move(e, Trigger.PLANNED, State.SCHEDULED)
    return Change(
        to, _step(step, _attempt(e, step)) | _left(e, step), _WAITING, (_planned(e, step, at, reason),)
    )


def is_without_time(e: Document) -> bool:
    """Whether no allowed time comes as things are: its window is empty, so it is over whenever it is due."""
    return e["send_before"] is not None and e["send_before"] <= e["planned_at"]


def still_without_time(e: Document, step: Step) -> Change:
    """Looked at, and nothing has changed: no news, it is looked at again later."""
    return Change(State(e["state"]), _step(step, _attempt(e, step)))


def reopened(e: Document, step: Step) -> Change:
    """Planned again for the time that it had: only until when it may be sent, or its zone, is new."""
    return Change(
        State(e["state"]), {k: v for k, v in _step(step, _attempt(e, step)).items() if k != "due_at"}
    )


def returned(e: Document, outcome: StageOutcome, due_at: datetime, step: Step | None) -> Change:
    """The sender gave the dispatch back: deferred until `due_at`, or withdrawn. `step`: planned anew."""
    deferred = outcome.event_type is Outcome.DEFERRED
    to = move(e, Trigger.DEFERRED if deferred else Trigger.WITHDRAWN, State.SCHEDULED)
    facts = {"reason": outcome.reason or None, "reason_code": outcome.code or None}
    told = chapter(Event.STAGE_DEFERRED, outcome.occurred_at, e, until=due_at, **facts)
    if step is None:
        return Change(to, {"due_at": due_at}, _WAITING, (told,))
    planned = _planned(e, step, outcome.occurred_at)
    return Change(to, _step(step, _attempt(e, step)) | _left(e, step), _WAITING, (told, planned))


def awaiting_task(e: Document, outcome: StageOutcome, ask_again_at: datetime) -> Change:
    """A task is open; the scheduler asks again at `ask_again_at`."""
    to = move(e, Trigger.TASK_OPENED, State.AWAITING_TASK)
    facts = {"scheduled_for": e.get("planned_at"), "variant": outcome.variant}
    told = chapter(Event.TASK_OPENED, outcome.occurred_at, e, **facts)
    return Change(to, {"due_at": ask_again_at}, (), (told,))


def overdue(e: Document, outcome: StageOutcome) -> Change:
    """The open task is overdue: no transition, told once for each task."""
    told = chapter(Event.TASK_OVERDUE, outcome.occurred_at, e, scheduled_for=e.get("planned_at"))
    return Change(State(e["state"]), {"told_overdue": e["stage_id"]}, (), (told,))


def in_doubt(e: Document, outcome: StageOutcome, ask_again_at: datetime) -> Change:
    """Nobody knows whether the server accepted it; evidence or a person decides."""
    to = move(e, Trigger.IN_DOUBT, State.IN_DOUBT)
    told = chapter(Event.STAGE_IN_DOUBT, outcome.occurred_at, e, reason=outcome.reason or None)
    return Change(to, {"due_at": ask_again_at}, (), (told,))


def stopped(
    e: Document, at: datetime, reason: str, reason_code: str, cause_id: UUID, recall_again_at: datetime | None
) -> Change:
    """Ended before its last stage. In flight, a recall is owed until the sender confirms it.

    `recall_again_at` is None where the dispatch is settled already.
    """
    to = move(e, Trigger.STOP, State.STOPPED)
    stop = {"reason": reason, "reason_code": reason_code, "cause_id": cause_id, "at": at}
    told = chapter(Event.STOPPED, at, e, reason=reason, reason_code=reason_code or None)
    fields: Document = {"stop": stop, **_end(at)}
    if recall_again_at is None or State(e["state"]) not in IN_FLIGHT:
        return Change(to, fields, ("due_at", *_WAITING), (told,))
    owed = {"owes_recall": f"{e['_id']}:{e['stage_id']}", "due_at": recall_again_at}
    return Change(to, {**fields, **owed}, _WAITING, (told,))


def erased(e: Document, at: datetime) -> Change:
    """The person asked to be forgotten, and nothing of them is left in it: no transition, told once."""
    told = chapter(Event.ERASED, at, {"sequence_version": e.get("sequence_version")})
    return Change(State(e["state"]), {"erased_at": at}, (), (told,))


def failed(e: Document, at: datetime, reason: str, reason_code: str = "") -> Change:
    """It had started and cannot go on."""
    to = move(e, Trigger.FAIL, State.FAILED)
    told = chapter(Event.FAILED, at, e, reason=reason, reason_code=reason_code or None)
    return Change(to, {"failure": reason, **_end(at)}, ("due_at", *_WAITING), (told,))


def failed_after(e: Document, outcome: StageOutcome, reason: str) -> Change:
    """The current stage is completed, but the next one can never be due."""
    finished = completed(e, outcome, None)
    gone = failed(e, outcome.occurred_at, reason)
    return replace(gone, set={**finished.set, **gone.set}, chapters=(finished.chapters[0], *gone.chapters))


def recall_confirmed(e: Document) -> Change:
    """The sender has taken the dispatch back, or it was too late: nothing is owed any more."""
    return Change(State(e["state"]), {}, ("owes_recall", "due_at"))


def parked(e: Document, hold: Document, at: datetime) -> Change:
    """Held: no deadline until the hold ends; the hold's sweep brings it back."""
    to = move(e, Trigger.PLANNED, State.SCHEDULED)
    told = chapter(Event.HELD, at, e, until=hold.get("until"), reason=hold.get("reason") or hold["scope"])
    return Change(to, {"parked_by": hold["_id"]}, ("due_at",), (told,))


def unparked(e: Document, step: Step, at: datetime) -> Change:
    """The hold is over: planned again from now."""
    to = move(e, Trigger.PLANNED, State.SCHEDULED)
    told = (chapter(Event.LIFTED, at, e), _planned(e, step, at))
    return Change(to, _step(step, _attempt(e, step)), ("parked_by",), told)


def migrated(change: Change, to_version: int, at: datetime) -> Change:
    """`change`, made under another version of the sequence."""
    told = chapter(Event.MIGRATED, at, {"sequence_version": to_version})
    chapters = tuple(
        {**c, "version": to_version} if c["type"] == Event.STAGE_SCHEDULED else c for c in change.chapters
    )
    return replace(
        change,
        set={**change.set, "sequence_version": to_version},
        chapters=(*chapters[:-1], told, *chapters[-1:]),
    )


def still_parked(change: Change) -> Change:
    """`change` of a parked enrollment: it keeps waiting for its hold to end."""
    kept = {name: value for name, value in change.set.items() if name != "due_at"}
    unset = tuple(name for name in change.unset if name != "parked_by")
    return replace(change, set=kept, unset=(*unset, "due_at"))


def edited(e: Document, change: Change, edits: Mapping[str, Mapping[Any, str]]) -> Change:
    """`change`, with new words for remaining stages of this one person."""
    merged = {**(e.get("edits") or {})}
    for stage_id, fields in edits.items():
        merged[stage_id] = {**merged.get(stage_id, {}), **fields}
    return replace(change, set={**change.set, "edits": merged})


def moved(e: Document, company_key: str | None, company_id: UUID | None, at: datetime) -> Change:
    """The person is at another company since `at`, or at none: no transition.

    What the old company's hold has parked comes back to the due loop, which looks at the new one's.
    """
    company: Document = {"company_id": company_id, **({"company_key": company_key} if company_key else {})}
    gone = () if company_key else ("company_key",)
    old = e.get("company_id")
    if old is None or e.get("parked_by") != hold_id("company", old):
        return Change(State(e["state"]), company, gone)
    to = move(e, Trigger.PLANNED, State.SCHEDULED)
    told = chapter(Event.LIFTED, at, e)
    return Change(to, {**company, "due_at": e["planned_at"]}, ("parked_by", *gone), (told,))


def pending(e: Document, wish: Document) -> Change:
    """In flight: the outcome applies the wish; a later one of the same kind replaces it."""
    if State(e["state"]) not in IN_FLIGHT:
        raise IllegalMove(f"{e['state']} has nothing in flight to wait for")
    return Change(State(e["state"]), {"pending": {**(e.get("pending") or {}), **wish}})


def broken(e: Document, work: str, tries: int, error: str, recorded_at: datetime, seconds: float) -> Document:
    """The mark of an enrollment that could not be carried on: no transition, the next write removes it.

    `due_at` keeps the deadline that it had, because lateness counts from there; `again_at` is real time.
    """
    before = e.get("broken") or {}
    return {
        "work": work,
        "error": error,
        "tries": tries,
        "since": before.get("since", recorded_at),
        "again_at": recorded_at + timedelta(seconds=seconds),
        "due_at": before.get("due_at") or e.get("due_at"),
    }


def is_aside(e: Document, real_now: datetime) -> bool:
    """Whether it is broken and its next try has not come; `not_aside` is the same in a filter."""
    again_at: datetime | None = (e.get("broken") or {}).get("again_at")
    return again_at is not None and again_at > real_now


def was_due(e: Document) -> datetime:
    """When what is due was due, before it was put aside as broken."""
    due_at: datetime = (e.get("broken") or {}).get("due_at") or e["due_at"]
    return due_at


def _attempt(e: Document, step: Step) -> int:
    """A dispatch never counts from the beginning again: an attempt is one try, for the sender too."""
    return int(e["attempt"] if step.stage_id == e["stage_id"] else e.get("tried", {}).get(step.stage_id, 0))


def _left(e: Document, step: Step) -> Document:
    """What is kept of a stage that is left before it was completed: a migration may come back to it."""
    if step.stage_id == e["stage_id"] or not e["attempt"]:
        return {}
    return {"tried": {**e.get("tried", {}), e["stage_id"]: e["attempt"]}}


def _step(step: Step, attempt: int) -> Document:
    return {
        "stage_id": step.stage_id,
        "stage_index": step.stage_index,
        "channel": step.channel.value,
        "attempt": attempt,
        "due_at": step.at,
        "planned_at": step.at,
        "send_before": step.send_before,
        "zone": step.zone,
        "reasons": list(step.reasons),
        "since": step.since,
    }


def _planned(e: Document, step: Step, at: datetime, reason: str = "") -> Document:
    here = {
        "sequence_version": e.get("sequence_version"),
        "stage_id": step.stage_id,
        "stage_index": step.stage_index,
        "channel": step.channel.value,
    }
    return chapter(Event.STAGE_SCHEDULED, at, here, scheduled_for=step.at, reason=reason or None)


def _end(at: datetime) -> Document:
    return {"ended": True, "ended_at": at}


# ---- beginnings --------------------------------------------------------------------------------


def enrolled(identity: Document, step: Step, at: datetime, recorded_at: datetime) -> Document:
    """A new enrollment waiting for its first stage; `identity` holds the ids and what never changes."""
    e: Document = {
        **identity,
        "state": State.SCHEDULED.value,
        "ended": False,
        "completed": [],
        "base": identity["start_at"],
        "created_at": at,
        "updated_at": recorded_at,
        "rev": 1,
        **_step(step, attempt=0),
    }
    start = chapter(Event.ENROLLED, at, {"sequence_version": e["sequence_version"]})
    chapters = (start, _planned(e, step, at))
    e["history"] = numbered(chapters, 1, recorded_at, e.get("company_id"))
    e["seq"] = len(chapters)
    return e


def numbered(
    chapters: Iterable[Document], first: int, recorded_at: datetime, company_id: UUID | None
) -> list[Document]:
    """Chapters as they go into the history, with what may change later and its events must keep."""
    kept: Document = {"rec": recorded_at} | ({"company_id": company_id} if company_id else {})
    return [{**c, "seq": n, **kept} for n, c in enumerate(chapters, first)]


def tombstone(
    enrollment_id: UUID,
    workspace_id: UUID,
    at: datetime,
    reason: str,
    reason_code: str,
    cause_id: UUID,
    recorded_at: datetime,
) -> Document:
    """A stop that came before its enroll: the enroll finds it and does nothing."""
    return {
        "_id": enrollment_id,
        "workspace_id": workspace_id,
        "state": State.STOPPED.value,
        "ended": True,
        "ended_at": at,
        "tombstone": True,
        "stop": {"reason": reason, "reason_code": reason_code, "cause_id": cause_id, "at": at},
        "seq": 0,
        "history": [],
        "rev": 1,
        "created_at": at,
        "updated_at": recorded_at,
    }
