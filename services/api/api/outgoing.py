"""What a webhook is told: which events there are, what is said of one, to whom, and when it is said again."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID, uuid5

from api.access import right_to
from api.keys import Caller
from chassis.store import Document
from segue_contracts.engagement import EngagementEvent, EngagementEventType
from segue_contracts.events import (
    AnswerKind,
    AnswerNotification,
    EnrollmentEvent,
    EnrollmentEventType,
    MailboxNotification,
    MailboxTurn,
    TaskNotification,
    WebhookNotification,
)
from segue_contracts.message import Message, OpenEnum
from segue_contracts.topics import ENGAGEMENT_EVENTS, ENROLLMENT_EVENTS, USER_NOTIFICATIONS

TOPICS: Final = (ENROLLMENT_EVENTS.name, ENGAGEMENT_EVENTS.name, USER_NOTIFICATIONS.name)
TEST: Final = "webhook.test"
EVERYTHING: Final = "*"
UNKNOWN: Final = "unknown"

WITHHELD: Final = frozenset({"from_address", "subject", "text"})
"""What a notification holds of a person and their words: they are read through the API, by who may."""
_OF_THE_ENVELOPE: Final = frozenset({"event_type", "occurred_at"})

DELAYS: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between two tries, as Standard Webhooks proposes; over three days in all."""
MOST_JITTER: Final = 0.1


def _types(family: str, kinds: type[OpenEnum]) -> tuple[str, ...]:
    return tuple(f"{family}.{kind.value}" for kind in kinds if kind.value != UNKNOWN)


EVENT_TYPES: Final = (
    *_types(EnrollmentEvent.FAMILY, EnrollmentEventType),
    *_types(EngagementEvent.FAMILY, EngagementEventType),
    *_types(AnswerNotification.FAMILY, AnswerKind),
    *_types(MailboxNotification.FAMILY, MailboxTurn),
    f"{TaskNotification.FAMILY}.task_overdue",
    f"{WebhookNotification.FAMILY}.disabled",
)
"""Every event that a webhook can ask for."""
FILTERS: Final = (EVERYTHING, *dict.fromkeys(f"{each.partition('.')[0]}.*" for each in EVENT_TYPES))


def type_of(message: Message) -> str:
    """`enrollment.stage_sent`: what filters name."""
    return f"{message.FAMILY}.{message.event_type}"


def is_wanted(kind: str, filters: Collection[str]) -> bool:
    """Whether an event of this type passes one of the filters; what this version can't name passes none."""
    if kind.endswith(f".{UNKNOWN}"):
        return False
    return bool({EVERYTHING, kind, f"{kind.partition('.')[0]}.*"} & set(filters))


def body_of(message: Message) -> str:
    """What is sent, as Standard Webhooks lays it out: ids, instants and codes, nothing personal."""
    data = message.model_dump(mode="json", exclude=set(WITHHELD | _OF_THE_ENVELOPE))
    return body(type_of(message), message.occurred_at, data)


def body(kind: str, at: datetime, data: Mapping[str, Any]) -> str:
    """The JSON of one event."""
    stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": stamp, "data": data}, ensure_ascii=False)


# ---- who may hear it ----------------------------------------------------------------------------------


def sequences_of(message: Message) -> frozenset[UUID]:
    """The sequences that an event tells of; none for what is about a mailbox or a webhook."""
    if isinstance(message, AnswerNotification):
        return frozenset(message.sequence_ids)
    if isinstance(message, EnrollmentEvent | EngagementEvent | TaskNotification):
        return frozenset({message.sequence_id})
    return frozenset()


def may_hear(owner: Caller, message: Message, sequences: Mapping[UUID, Document]) -> bool:
    """Whether a webhook of this user is told: they could read of it now, or they are who should hear it.

    Admins hear everything of their workspace.
    """
    if owner.is_admin or _is_told(message) == owner.user_id:
        return True
    concerned = sequences_of(message)
    return bool(concerned) and all(_may_see(owner, sequences.get(each)) for each in concerned)


def _may_see(owner: Caller, sequence: Document | None) -> bool:
    return sequence is not None and right_to(owner, sequence) is not None


def _is_told(message: Message) -> UUID | None:
    if isinstance(message, AnswerNotification | MailboxNotification | WebhookNotification):
        return message.owner_id
    return message.assignee_id if isinstance(message, TaskNotification) else None


# ---- deliveries ---------------------------------------------------------------------------------------


def delivery_of(webhook: Document, event_id: UUID, kind: str, text: str, now: datetime) -> Document:
    """One event for one webhook: its id is made of both, so that it is stored once."""
    return {
        "_id": uuid5(webhook["_id"], str(event_id)),
        "workspace_id": webhook["workspace_id"],
        "webhook_id": webhook["_id"],
        "event_id": event_id,
        "type": kind,
        "body": text,
        "state": "pending",
        "attempts": 0,
        "next_at": now,
        "created_at": now,
        "sent_at": None,
        "tries": [],
    }


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one try: the status that was answered, or a word for why there was none."""

    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None

    @property
    def is_sent(self) -> bool:
        """Only a 2xx is a yes; a redirect is not followed."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Its owner wants nothing more (Standard Webhooks)."""
        return self.status == HTTPStatus.GONE

    def data(self) -> Document:
        """As it is stored and shown."""
        return {"at": self.at, "seconds": self.seconds, "status": self.status, "error": self.error}


def next_try(attempts: int, now: datetime, jitter: float) -> datetime | None:
    """When to try again after that many failures; None after the last. `jitter` in [0, 1) spreads them."""
    if attempts > len(DELAYS):
        return None
    return now + DELAYS[attempts - 1] * (1 + MOST_JITTER * jitter)


def live_secrets(webhook: Document, now: datetime) -> Sequence[str]:
    """The encrypted secrets that sign now, the newest first."""
    return [each["secret"] for each in webhook["secrets"] if each["until"] is None or each["until"] > now]
