"""The API's own documents and decisions; pure: time, ids and secrets are arguments."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from chassis import tracing
from chassis.documents import version_id
from chassis.store import Document, Workspace
from segue_contracts.codec import ADAPTERS
from segue_contracts.events import SequenceEvent, SequenceEventType, SequenceState
from segue_contracts.message import Message
from segue_contracts.sequence import SequenceDocument

MAX_PATIENCE_SECONDS = 600.0
KEEP_SETTLED = timedelta(days=30)
KEEP_RESULTS = timedelta(days=60)
"""Longer than any copy of a command can come again: Kafka keeps them for seven days."""
MOST_PUBLISHES = 4400
"""About thirty days of them. Nobody answers any more, and what a command says is personal."""
GAVE_UP = {"code": "no_result", "detail": "nobody has answered in thirty days, so it was given up"}
COURIER_HEAD_START = timedelta(seconds=3)
"""What the process that took a command has to publish it itself, before any sweep does."""


class CommandState(StrEnum):
    """Where a command is: accepted (the sweep moves it on), or settled."""

    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a command."""

    state: CommandState
    reasons: tuple[Document, ...] = ()
    enrollment_id: UUID | None = None

    def result(self) -> Document:
        """As it is stored in the command."""
        return {"reasons": list(self.reasons), "enrollment_id": self.enrollment_id}


def full_name(prospect: Mapping[str, Any]) -> str:
    """What a prospect is called; empty if nobody said. The values may be of a row that is not checked yet."""
    return " ".join(str(prospect[each]) for each in ("first_name", "last_name") if prospect.get(each))


def command_document(message: Message, target: str, now: datetime, real_now: datetime) -> Document:
    """A command as it is stored before it is answered with 202."""
    context = tracing.context()
    return {
        "_id": message.event_id,
        "workspace_id": message.workspace_id,
        "topic": message.TOPIC.name,
        "type": message.event_type,
        "target": target,
        "message": message.model_dump_json(),
        # Kept when the message goes: who may see the command, and what it was about.
        "issued_by": getattr(message, "issued_by", ""),
        "sequence_id": getattr(message, "sequence_id", None),
        "state": CommandState.ACCEPTED.value,
        "result": None,
        "created_at": now,
        "published_at": None,
        "publishes": 0,
        "next_at": real_now + COURIER_HEAD_START,
        **({tracing.FIELD: context} if context is not None else {}),
    }


def message_of(command: Document) -> Message:
    """The message inside a stored command."""
    message: Message = ADAPTERS[command["topic"]].validate_json(command["message"])
    return message


def settled(
    command: Document, result: Document | None, enrollment: Document | None, has_ended: bool = False
) -> Settled | None:
    """What became of a command, by its owner's result or, for an enroll, the enrollment; None: unknown.

    A stop has no result: it is done when all that it is about `has_ended`, once the brokers have it, since
    who had ended before is to learn of it too.

    A refusal of exactly this command is told even where an earlier one made the enrollment.
    """
    if result is not None:
        state = CommandState.DONE if result["status"] == "done" else CommandState.REFUSED
        return Settled(state, tuple(result.get("reasons") or ()), result.get("enrollment_id"))
    if has_ended and command["publishes"]:
        return Settled(CommandState.DONE)
    if command["type"] == "enroll" and enrollment is not None and not enrollment.get("tombstone"):
        return Settled(CommandState.DONE, (), enrollment["_id"])
    return None


def patience(publishes: int, base_seconds: float) -> timedelta:
    """How long to wait for a result after the `publishes`-th publication: doubling, capped."""
    return timedelta(seconds=min(MAX_PATIENCE_SECONDS, base_seconds * 2.0 ** min(publishes - 1, 20)))


# ---- sequences ----------------------------------------------------------------------------------------


def version_document(
    sequence_id: UUID,
    workspace: Workspace,
    version: int,
    document: SequenceDocument,
    mailbox_ids: Sequence[UUID],
    owner_id: UUID,
    by: UUID,
    now: datetime,
) -> Document:
    """One version; it never changes once written."""
    return {
        "_id": version_id(sequence_id, version),
        "workspace_id": workspace,
        "sequence_id": sequence_id,
        "version": version,
        "document": document.dump(),
        "mailbox_ids": list(mailbox_ids),
        "owner_id": owner_id,
        "created_by": by,
        "created_at": now,
    }


def sequence_document(version: Document, events: Iterable[SequenceEventType], real_now: datetime) -> Document:
    """A new sequence of which `version` is the first."""
    return {
        "_id": version["sequence_id"],
        "workspace_id": version["workspace_id"],
        "owner_id": version["owner_id"],
        "archived": False,
        "created_at": version["created_at"],
        "outbox": [outbox_entry(version, event, version["created_at"]) for event in events],
        **published_fields(version, real_now),
    }


def published_fields(version: Document, real_now: datetime) -> Document:
    """What the sequence's own document repeats of its latest version; the same whoever writes it."""
    written = version["document"]
    return {
        "name": written["name"],
        "tags": list(written.get("tags", ())),
        "access": written.get("access", "personal"),
        "latest_version": version["version"],
        "updated_at": version["created_at"],
        "touched_at": real_now,
    }


def outbox_entry(version: Document, event: SequenceEventType, now: datetime) -> Document:
    """An event that the brokers have not acknowledged; its id is the same at every repetition."""
    return {
        "event_id": uuid5(version["sequence_id"], f"{event.value}/{version['version']}"),
        "type": event.value,
        "version": version["version"],
        "at": now,
    }


def transferred_entry(sequence: Document, owner_id: UUID, now: datetime) -> Document:
    """The event of another owner; a sequence may change hands more than once in one version."""
    seed = f"{SequenceEventType.TRANSFERRED}/{owner_id}/{now.isoformat()}"
    return {
        "event_id": uuid5(sequence["_id"], seed),
        "type": SequenceEventType.TRANSFERRED.value,
        "version": sequence["latest_version"],
        "at": now,
    }


def sequence_messages(sequence: Document, version: Document, real_now: datetime) -> list[Message]:
    """The events in a sequence's outbox, and its state as of now."""
    common = {"workspace_id": sequence["workspace_id"], "sequence_id": sequence["_id"]}
    events: list[Message] = [
        SequenceEvent(
            event_id=entry["event_id"],
            event_type=SequenceEventType(entry["type"]),
            occurred_at=entry["at"],
            recorded_at=real_now,
            sequence_version=entry["version"],
            owner_id=sequence["owner_id"],
            **common,
        )
        for entry in sequence["outbox"]
    ]
    return [*events, sequence_state(sequence, version, real_now, common)]


def sequence_state(
    sequence: Document, version: Document, real_now: datetime, common: Mapping[str, Any]
) -> SequenceState:
    """The compacted record of a sequence."""
    stages = version["document"]["stages"]
    archived = "archived" if sequence["archived"] else "live"
    changed_hands = "" if sequence["owner_id"] == version["owner_id"] else f"/{sequence['owner_id']}"
    return SequenceState(
        event_id=uuid5(sequence["_id"], f"state/{archived}/{version['version']}{changed_hands}"),
        occurred_at=sequence["updated_at"],
        recorded_at=real_now,
        sequence_version=version["version"],
        owner_id=sequence["owner_id"],
        name=sequence["name"],
        archived=sequence["archived"],
        stage_ids=[stage["id"] for stage in stages],
        stage_channels=[stage["channel"] for stage in stages],
        **common,
    )


def sequence_etag(sequence: Document) -> str:
    """The entity tag of a sequence: its latest version, and whether it is archived."""
    return f'"{sequence["latest_version"]}{"-archived" if sequence["archived"] else ""}"'
