"""What a person says about a message that was misread, and what of its effects that takes back; pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from reply_detector.model import Amend, Arrival, Cause, Document, Effect, Release
from reply_detector.verdict import Kind
from segue_contracts.commands import HoldScope
from segue_contracts.events import CorrectAnswer, StopReason
from segue_contracts.message import Scope

TOLD_AS = {Kind.REPLY: StopReason.REPLIED, Kind.OPT_OUT: StopReason.UNSUBSCRIBED}
"""By what a sequence counts as ended when a stop of another kind is corrected to these."""


def correction_document(command: CorrectAnswer) -> Document:
    """Who said what, and when, as the inbound document keeps it."""
    return {
        "command_id": command.event_id,
        "kind": command.kind,
        "intent": command.intent,
        "by": command.issued_by,
        "at": command.occurred_at,
    }


def is_applied(inbound: Mapping[str, Any], command: CorrectAnswer) -> bool:
    """Whether this very correction is in the document."""
    return any(each["command_id"] == command.event_id for each in inbound.get("corrections", ()))


def changes_kind(inbound: Mapping[str, Any], command: CorrectAnswer) -> bool:
    """Whether the person calls it something else than what it counts as."""
    return command.kind is not None and command.kind != inbound["answer"]["kind"]


def reviewed(answer: Mapping[str, Any], command: CorrectAnswer) -> Document:
    """What lists show after a person has looked at it."""
    said = {"kind": command.kind or answer["kind"], "open": False}
    seen = {"reviewed_at": command.occurred_at, "reviewed_by": command.issued_by}
    if command.kind not in (None, Kind.REPLY):
        seen["intent"] = None
    if command.intent is not None:
        seen["intent"] = command.intent or None
    return {**answer, **said, **seen}


def taken_back(before: Effect, kind: Kind) -> tuple[tuple[Amend, ...], tuple[Release, ...]]:
    """What of an earlier effect has to be told otherwise, and which of its holds end.

    An enrollment that was stopped stays stopped: whom to go on with is for a person to say, by a new enroll.
    """
    reason = TOLD_AS.get(kind, StopReason.MISTAKEN)
    code = kind.value if reason is StopReason.MISTAKEN else "corrected"
    amends = tuple(
        Amend(cause.event_id, cause.scope, cause.target, reason.value, code)
        for cause in before.stops
        if cause.reason is not reason
    )
    releases = [_release(cause) for cause in before.causes if cause.reason is StopReason.AUTO_REPLY]
    releases += [Release(wait.scope, wait.target) for wait in before.waits]
    return amends, tuple(releases) if kind is not Kind.AUTO_REPLY else ()


def _release(cause: Cause) -> Release:
    scope = HoldScope.ENROLLMENT if cause.scope is Scope.ENROLLMENT else HoldScope.PERSON
    assert not isinstance(cause.target, str), "nobody's company is held for one person's absence"
    return Release(scope, cause.target)


def seeded(arrival: Arrival, command: CorrectAnswer) -> Arrival:
    """The arrival with new ids for its effects: what was taken back once must not be taken for them."""
    return replace(arrival, seed=command.event_id)


def corrected_at(inbound: Mapping[str, Any]) -> datetime:
    """When a person corrected it."""
    at: datetime = inbound["correction"]["at"]
    return at
