"""An enrollment of a restored backup as it was told to have gone on: its document, made again from that."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from scheduler.model import LIVE, Document, State
from scheduler.story import COPIED, INSTANTS
from segue_contracts import ids
from segue_contracts.events import EnrollmentEvent
from segue_contracts.events import EnrollmentEventType as Event

COMPLETING = frozenset({Event.STAGE_SENT, Event.TASK_DONE, Event.STAGE_SKIPPED})
_OF_A_STEP = ("due_at", "parked_by", "pending", "owes_recall", "broken")


def chapter_of(event: EnrollmentEvent) -> Document:
    """The chapter that this event was made from: `story.event_of`, backwards."""
    told: dict[str, Any] = {name: getattr(event, name) for name in (*COPIED, *INSTANTS)}
    told |= {
        "type": event.event_type.value,
        "at": event.occurred_at,
        "rec": event.recorded_at,
        "version": event.sequence_version,
        "channel": event.channel.value if event.channel else None,
        "supersedes": _number_of(event),
    }
    return {name: value for name, value in told.items() if value is not None}


def caught_up(
    e: Document,
    events: Sequence[EnrollmentEvent],
    asked: Mapping[str, int],
    real_now: datetime,
    now: datetime,
) -> Document:
    """The enrollment after all that was told of it, and with the attempts that the sender was asked for.

    `events`: those behind the document's own, in order. `asked`: the last attempt by dispatch id. What is
    with the sender is asked for again at once; what waits is due when it was, and has to be planned again.
    """
    told = {**e, "history": [*e["history"]]}
    for event in events:
        _turn(told, chapter_of(event))
    told |= {"rev": e["rev"] + 1, "updated_at": real_now, "seq": max([e["seq"], *(v.seq for v in events)])}
    return _now(told, asked, now)


def _turn(e: Document, c: Document) -> None:
    """Tell one chapter."""
    e["history"].append(c)
    kind, at = Event(c["type"]), c["at"]
    if kind is Event.ENROLLED and e["start_at"] == e["created_at"]:  # it was to start at once
        e |= {"start_at": at, "base": at, "created_at": at}
    elif kind is Event.STAGE_SCHEDULED:
        same = c["stage_id"] == e.get("stage_id")
        step = {name: c[name] for name in ("stage_id", "stage_index", "channel")}
        e |= {**step, "planned_at": c["scheduled_for"], "attempt": e.get("attempt", 0) if same else 0}
        e |= {"state": State.SCHEDULED.value, "due_at": c["scheduled_for"]}
        e |= {"send_before": None, "since": None, "reasons": []}
    elif kind in COMPLETING:
        e |= {"completed": [*e["completed"], c["stage_id"]], "base": at, "state": State.SCHEDULED.value}
    elif kind is Event.STAGE_DEFERRED:
        e |= {"state": State.SCHEDULED.value, "due_at": c.get("until", at), "attempt": c.get("attempt", 0)}
    elif kind is Event.TASK_OPENED:  # the task itself is lost: it is opened again
        e |= {"state": State.SCHEDULED.value, "attempt": c.get("attempt", 0), "due_at": at}
    elif kind is Event.STAGE_IN_DOUBT:
        e |= {"state": State.IN_DOUBT.value, "attempt": c.get("attempt", 0)}
    elif kind is Event.MIGRATED:
        e |= {"sequence_version": c["version"]}
    else:
        _end(e, kind, c)


def _end(e: Document, kind: Event, c: Document) -> None:
    """Tell a chapter about the end; any other one changes nothing that counts now."""
    at, reason = c["at"], c.get("reason", "")
    ended = {"ended": True, "ended_at": at}
    cause = {"reason": reason, "reason_code": c.get("reason_code", ""), "at": at}
    if kind is Event.STOPPED:
        # The cause's own id is not told; that of a correction names what it corrects.
        stop = {**cause, "cause_id": uuid5(e["_id"], f"restored/{c['seq']}")}
        e |= {"state": State.STOPPED.value, "stop": stop, **ended}
    elif kind is Event.FINISHED:
        e |= {"state": State.FINISHED.value, **ended}
    elif kind is Event.FAILED:
        e |= {"state": State.FAILED.value, "failure": reason, **ended}
    elif kind is Event.CORRECTED and reason == "mistaken" and e["state"] != State.STOPPED:
        e.pop("stop", None)
    elif kind is Event.CORRECTED:
        late = {} if e["state"] == State.STOPPED else {"late": True}
        kept = e.get("stop") or {"cause_id": uuid5(e["_id"], f"restored/{c['seq']}")}
        e |= {"stop": {**kept, **cause, **late}}


def _now(told: Document, asked: Mapping[str, int], now: datetime) -> Document:
    """What its state means for the sender, as nobody tells when a stage is handed over."""
    dispatch = ids.dispatch_id(told["_id"], told["stage_id"])
    due_at = told.get("due_at") or told["planned_at"]
    for name in _OF_A_STEP:
        told.pop(name, None)
    if asked.get(dispatch, 0) > told["attempt"]:
        told["attempt"] = asked[dispatch]
        if told["state"] == State.SCHEDULED:  # and nobody told what became of it: the sender knows
            told["state"] = State.DISPATCHED.value
    if told["state"] == State.SCHEDULED:
        told["due_at"] = due_at
    elif State(told["state"]) in LIVE:
        told["due_at"] = now
    elif told["state"] == State.STOPPED and dispatch in asked and told["stage_id"] not in told["completed"]:
        told |= {"owes_recall": dispatch, "due_at": now}
    return told


def _number_of(event: EnrollmentEvent) -> int | None:
    """Which chapter a correction corrects: one before it."""
    wanted: UUID | None = event.supersedes_event_id
    before = range(event.seq - 1, 0, -1) if wanted else ()
    return next((n for n in before if ids.event_id(event.enrollment_id, n) == wanted), None)
