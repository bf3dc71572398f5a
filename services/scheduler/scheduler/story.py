"""The public events of an enrollment, made from its document: the same at every replay."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from scheduler.model import Change, Document, numbered
from segue_contracts import ids
from segue_contracts.commands import Enroll
from segue_contracts.events import EnrollmentEvent, EnrollmentEventType
from segue_contracts.message import ToldChannel, to_utc_milliseconds


def number(e: Document, change: Change, recorded_at: datetime) -> list[Document]:
    """The change's chapters with their numbers, as they go into the history."""
    company_id = change.set.get("company_id", e.get("company_id"))
    return numbered(change.chapters, e.get("seq", 0) + 1, recorded_at, company_id)


def event_of(e: Document, chapter: Document) -> EnrollmentEvent:
    """The event that a chapter of an enrollment's history is, with the enrollment's unchanging facts."""
    told: dict[str, Any] = {name: chapter[name] for name in COPIED if name in chapter}
    for name in INSTANTS:
        if name in chapter:
            told[name] = _as_kept(chapter[name])
    if "channel" in chapter:
        told["channel"] = ToldChannel(chapter["channel"])
    if "supersedes" in chapter:
        told["supersedes_event_id"] = ids.event_id(e["_id"], chapter["supersedes"])
    return EnrollmentEvent.known(
        event_id=ids.event_id(e["_id"], chapter["seq"]),
        event_type=EnrollmentEventType(chapter["type"]),
        occurred_at=_as_kept(chapter["at"]),
        recorded_at=_as_kept(chapter["rec"]),
        workspace_id=e["workspace_id"],
        enrollment_id=e["_id"],
        person_id=e["person_id"],
        sequence_id=e["sequence_id"],
        sequence_version=chapter.get("version"),
        owner_id=e["owner_id"],
        mailbox_id=e["mailbox_id"],
        is_test=e.get("is_test", False),
        **told,
    )


def _as_kept(at: datetime) -> datetime:
    """An instant as the document keeps it, so that the first telling and a replay are the same."""
    return at if at.tzinfo is UTC and not at.microsecond % 1000 else to_utc_milliseconds(at)


def refused_event(command: Enroll, code: str, at: datetime, recorded_at: datetime) -> EnrollmentEvent:
    """An enroll that made no enrollment; one id per command."""
    return EnrollmentEvent(
        event_id=uuid5(command.event_id, "refused"),
        event_type=EnrollmentEventType.REFUSED,
        occurred_at=at,
        recorded_at=recorded_at,
        workspace_id=command.workspace_id,
        enrollment_id=command.enrollment_id,
        seq=0,
        person_id=person_of(command),
        sequence_id=command.sequence_id,
        sequence_version=command.sequence_version,
        is_test=command.is_test,
        reason=code,
    )


def person_of(command: Enroll) -> UUID:
    """The id of the person whom an enroll names."""
    return ids.person_id(command.workspace_id, command.prospect.external_id)


COPIED = ("seq", "company_id", "stage_id", "stage_index", "attempt", "reason", "reason_code", "variant")
INSTANTS = ("scheduled_for", "sent_at", "until")
