"""What is heard after the end: the state stays, the story and the counts come to tell the truth."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from chassis.telemetry import counter
from scheduler.model import LIVE, Change, Document, State, chapter
from scheduler.outbox import Outbox, persist
from scheduler.store import SchedulerStore, Write
from segue_contracts.commands import Correct
from segue_contracts.events import EnrollmentEventType as Event
from segue_contracts.events import StopReason

CORRECTIONS = counter("segue_scheduler_corrections", "Ends that people have corrected", ["reason"])
Reasons = list[Document]


class Corrections:
    """Carries out what people say about ends that were misread."""

    def __init__(self, store: SchedulerStore, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox

    async def apply(self, command: Correct) -> Reasons:
        """Correct, or the reasons against it; done already is done."""
        refused: Reasons = []

        async def decide(found: Mapping[UUID, Document]) -> Sequence[Write]:
            e = found.get(command.enrollment_id)
            refused[:] = _against(e, command)
            if e is None or refused or _is_done(e, command):
                return []
            return [Write(e, corrected(e, command))]

        await persist(self._store, self._outbox, [command.workspace_id], [command.enrollment_id], decide)
        if not refused:
            CORRECTIONS.labels(command.reason).inc()
        return refused


def late_truth(e: Document, at: datetime, reason: str, reason_code: str, cause_id: UUID) -> Change | None:
    """What an answer changes in an enrollment that has ended already; None where it is no news.

    Everything that follows a last mail is such an answer: the enrollment finished when that was sent.
    """
    if State(e["state"]) in LIVE or e.get("tombstone") or cause_id in e.get("revoked", ()):
        return None
    known = e.get("stop")
    if not StopReason(reason).outranks(StopReason(known["reason"]) if known else None):
        return None
    stop = {"reason": reason, "reason_code": reason_code, "cause_id": cause_id, "at": at, "late": True}
    return Change(State(e["state"]), {"stop": stop}, (), (_told(e, at, reason, reason_code),))


def corrected(e: Document, command: Correct) -> Change:
    """What ended it was something else; what only seemed to be an answer to a finished one is taken back."""
    told = _told(e, command.occurred_at, command.reason, command.reason_code)
    fields: Document = {
        "revoked": [*e.get("revoked", ()), command.cause_id],
        "corrected_by": command.event_id,
    }
    if command.reason == "mistaken" and State(e["state"]) is not State.STOPPED:
        return Change(State(e["state"]), fields, ("stop",), (told,))
    said = {"reason": command.reason, "reason_code": command.reason_code, "cause_id": command.event_id}
    return Change(State(e["state"]), {**fields, "stop": {**e["stop"], **said}}, (), (told,))


def _told(e: Document, at: datetime, reason: str, reason_code: str) -> Document:
    """Its last word was about the end: after that nothing is told but corrections."""
    facts = {"reason": reason, "reason_code": reason_code or None, "supersedes": e["seq"]}
    return chapter(Event.CORRECTED, at, {"sequence_version": e.get("sequence_version")}, **facts)


def _against(e: Document | None, command: Correct) -> Reasons:
    if e is None or e.get("tombstone"):
        return [{"code": "unknown_enrollment", "detail": "there is no such enrollment"}]
    if State(e["state"]) in LIVE:
        return [{"code": "live", "detail": "it has not ended"}]
    if _is_done(e, command) or (e.get("stop") or {}).get("cause_id") == command.cause_id:
        return []
    return [{"code": "other_cause", "detail": "something else has ended it"}]


def _is_done(e: Document, command: Correct) -> bool:
    return bool(e.get("corrected_by") == command.event_id)
