"""What an effect makes others hear and keep: the messages and documents of what is owed; pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from reply_detector.model import Amend, Arrival, Document, Effect, ProviderId, Release, Wait
from segue_contracts.commands import Correct, Evidence, Hold, Lift, NoteEvidence, NoteProviderId
from segue_contracts.events import StopReason
from segue_contracts.message import Message

ISSUER = "reply-detector"


def messages(arrival: Arrival, effect: Effect, recorded_at: datetime) -> list[Message]:
    """All that is told at once, the same at each repetition; what a correction takes back comes apart."""
    return [
        *(proof(arrival, dispatch, recorded_at) for dispatch in effect.sent),
        *(note(arrival, each, recorded_at) for each in effect.notes),
        *(hold(arrival, wait, recorded_at) for wait in effect.waits),
        *(cause.message(arrival, recorded_at) for cause in effect.causes),
    ]


def proof(arrival: Arrival, dispatch_id: str, recorded_at: datetime) -> NoteEvidence:
    """What tells the sender that a dispatch was sent, whatever is said of it."""
    return NoteEvidence(
        event_id=uuid5(arrival.id, f"sent/{dispatch_id}"),
        dispatch_id=dispatch_id,
        evidence=Evidence.SENT_COPY if arrival.is_sent else Evidence.ANSWER,
        **_common(arrival, arrival.received_at, recorded_at),
    )


def note(arrival: Arrival, seen: ProviderId, recorded_at: datetime) -> NoteProviderId:
    """What tells the sender under which id a message went out."""
    return NoteProviderId(
        event_id=uuid5(arrival.id, f"provider-id/{seen.dispatch_id}"),
        dispatch_id=seen.dispatch_id,
        provider_message_id=seen.message_id,
        **_common(arrival, arrival.received_at, recorded_at),
    )


def hold(arrival: Arrival, wait: Wait, recorded_at: datetime) -> Hold:
    """A hold that shortens no other one."""
    return Hold(
        event_id=wait.event_id,
        scope=wait.scope,
        scope_id=wait.target,
        until=wait.until,
        reason=wait.reason,
        extends=True,
        **_common(arrival, arrival.received_at, recorded_at),
    )


def lift(arrival: Arrival, release: Release, corrected_at: datetime, recorded_at: datetime) -> Lift:
    """The end of a hold that a wrong verdict had set."""
    return Lift(
        event_id=uuid5(arrival.seed, f"lift/{release.scope}/{release.target}"),
        scope=release.scope,
        scope_id=release.target,
        **_common(arrival, corrected_at, recorded_at),
    )


def correct(
    arrival: Arrival, amend: Amend, enrollment: UUID, corrected_at: datetime, recorded_at: datetime
) -> Correct:
    """What ended an enrollment was something else."""
    return Correct.model_validate(
        {
            "event_id": uuid5(arrival.seed, f"correct/{enrollment}"),
            "enrollment_id": enrollment,
            "cause_id": amend.cause_id,
            "reason": amend.reason,
            "reason_code": amend.reason_code,
            **_common(arrival, corrected_at, recorded_at),
        }
    )


def suppressions(arrival: Arrival, ids: Iterable[tuple[str, str]], effect: Effect) -> list[Document]:
    """The documents that keep addresses and phones from being written to; `ids` with their kinds."""
    # Phones are suppressed for a STOP alone, which need not stop anybody.
    otherwise = StopReason.UNSUBSCRIBED if effect.suppress_phones else StopReason.BOUNCED
    reason = effect.causes[0].reason if effect.causes else otherwise
    return [
        {
            "_id": suppression_id,
            "workspace_id": arrival.workspace_id,
            "kind": kind,
            "reason": reason.value,
            "by": ISSUER,
            "at": arrival.received_at,
        }
        for suppression_id, kind in ids
    ]


def _common(arrival: Arrival, occurred_at: datetime, recorded_at: datetime) -> dict[str, Any]:
    return {
        "occurred_at": occurred_at,
        "recorded_at": recorded_at,
        "workspace_id": arrival.workspace_id,
        "issued_by": ISSUER,
    }
