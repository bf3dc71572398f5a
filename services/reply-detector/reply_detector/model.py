"""What an inbound message sets in motion, as values; pure: time and ids are arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from segue_contracts.commands import HoldScope
from segue_contracts.events import EnrollmentStop, StopReason
from segue_contracts.message import Scope
from segue_contracts.sequence import ManualMail

Document = dict[str, Any]

AGAIN_CAP_SECONDS = 60.0
FAILURE_CAP_SECONDS = 600.0
TARGETS = {
    Scope.ENROLLMENT: "enrollment_id",
    Scope.PERSON: "person_id",
    Scope.COMPANY: "company_key",
}


class State(StrEnum):
    """Where an inbound message is; the comment says who moves it on."""

    RECEIVED = "received"  # the agent, or the sweep when it waited too long
    JUDGED = "judged"  # the sweep: its stops are owed until their targets have ended
    SETTLED = "settled"  # a person, who corrects it


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.JUDGED, State.SETTLED}),
    State.JUDGED: frozenset({State.SETTLED}),
    State.SETTLED: frozenset({State.JUDGED, State.SETTLED}),
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
    """A stored message before it is looked into. `received_at` is a business instant.

    `seed`: what the ids of its effects are made of; a correction's are new ones. `is_sent`: from the folder
    of what the mailbox sent, where only its owner can put something. `is_text`: a text message.
    """

    id: UUID
    workspace_id: UUID
    mailbox_id: UUID
    received_at: datetime
    seed: UUID
    is_sent: bool = False
    is_text: bool = False

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> "Arrival":
        seed = (doc.get("correction") or {}).get("command_id") or doc["_id"]
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["mailbox_id"],
            doc["received_at"],
            seed,
            doc.get("folder") == "sent",
            doc.get("source") == "sms",
        )


@dataclass(frozen=True, slots=True)
class StopRules:
    """How far the stops of one version of a sequence reach, and what a mail written by hand does."""

    on_reply: Scope = Scope.PERSON
    on_bounce: Scope = Scope.ENROLLMENT
    on_manual_mail: ManualMail = ManualMail.HOLD

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "StopRules":
        """From a sequence document as data; what it does not say is the default."""
        said, usual = document.get("stop") or {}, cls()
        return cls(
            Scope(said.get("on_reply", usual.on_reply)),
            Scope(said.get("on_bounce", usual.on_bounce)),
            ManualMail(said.get("on_manual_mail", usual.on_manual_mail)),
        )


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
        field = TARGETS[self.scope]
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
class Wait:
    """A hold that is owed; `until` is a business instant."""

    event_id: UUID
    scope: HoldScope
    target: UUID
    until: datetime
    reason: str

    def document(self) -> Document:
        """As the inbound document keeps it."""
        kept = {"event_id": self.event_id, "scope": self.scope.value, "target": self.target}
        return {**kept, "until": self.until, "reason": self.reason}

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> "Wait":
        return cls(doc["event_id"], HoldScope(doc["scope"]), doc["target"], doc["until"], doc["reason"])


@dataclass(frozen=True, slots=True)
class ProviderId:
    """Under which id a provider sent a dispatch."""

    dispatch_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Amend:
    """What `cause_id` has ended, within a scope, is to be told as ended by `reason`."""

    cause_id: UUID
    scope: Scope
    target: UUID | str
    reason: str
    reason_code: str

    def document(self) -> Document:
        """As the inbound document keeps it."""
        kept = {"cause_id": self.cause_id, "scope": self.scope.value, "target": self.target}
        return {**kept, "reason": self.reason, "reason_code": self.reason_code}

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> "Amend":
        return cls(doc["cause_id"], Scope(doc["scope"]), doc["target"], doc["reason"], doc["reason_code"])


@dataclass(frozen=True, slots=True)
class Release:
    """A hold of ours that is to end, if nobody has changed it since."""

    scope: HoldScope
    target: UUID


@dataclass(frozen=True, slots=True)
class Effect:
    """What a message does.

    suppress, suppress_phones: what must not be written to any more; sent: dispatches in doubt that it proves
    to have been sent; review: matched by address alone, a person should look at it; amends, releases: what a
    correction takes back.
    """

    causes: tuple[Cause, ...] = ()
    suppress: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    review: bool = False
    waits: tuple[Wait, ...] = ()
    notes: tuple[ProviderId, ...] = ()
    suppress_phones: tuple[str, ...] = ()
    amends: tuple[Amend, ...] = ()
    releases: tuple[Release, ...] = ()

    @property
    def is_owed(self) -> bool:
        """Whether there is anything to carry out."""
        suppressed = self.suppress or self.suppress_phones
        return any((self.causes, suppressed, self.sent, self.waits, self.notes, self.amends, self.releases))

    @property
    def stops(self) -> tuple[Cause, ...]:
        """The causes that end something."""
        return tuple(cause for cause in self.causes if cause.reason is not StopReason.AUTO_REPLY)

    def document(self) -> Document:
        """As the inbound document keeps it."""
        return {
            "causes": [cause.document() for cause in self.causes],
            "suppress": list(self.suppress),
            "sent": list(self.sent),
            "review": self.review,
            "waits": [wait.document() for wait in self.waits],
            "notes": [{"dispatch_id": n.dispatch_id, "message_id": n.message_id} for n in self.notes],
            "suppress_phones": list(self.suppress_phones),
            "amends": [amend.document() for amend in self.amends],
            "releases": [{"scope": r.scope.value, "target": r.target} for r in self.releases],
        }

    @classmethod
    def read(cls, doc: Mapping[str, Any]) -> "Effect":
        return cls(
            tuple(map(Cause.read, doc["causes"])),
            tuple(doc["suppress"]),
            tuple(doc["sent"]),
            doc["review"],
            tuple(map(Wait.read, doc.get("waits", ()))),
            tuple(ProviderId(n["dispatch_id"], n["message_id"]) for n in doc.get("notes", ())),
            tuple(doc.get("suppress_phones", ())),
            tuple(map(Amend.read, doc.get("amends", ()))),
            tuple(Release(HoldScope(r["scope"]), r["target"]) for r in doc.get("releases", ())),
        )


def again_seconds(publishes: int) -> float:
    """Real seconds until a stop is looked at again after its `publishes`-th publication (from 1)."""
    return float(min(AGAIN_CAP_SECONDS, 2.0 ** min(publishes - 1, 10)))


def failure_seconds(tries: int) -> float:
    """Real seconds until a message that could not be judged is tried again after `tries` failures."""
    return float(min(FAILURE_CAP_SECONDS, 2.0 ** min(tries, 10)))
