"""What Segue says of opens and clicks: who, which stage and which link; never an address of anything."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from segue_contracts.message import Message, OpenEnum, ShortText, UtcDatetime
from segue_contracts.topics import ENGAGEMENT_EVENTS, Topic


class EngagementEventType(OpenEnum):
    """What was done with a message."""

    OPENED = "opened"
    CLICKED = "clicked"
    UNKNOWN = "unknown"


class EngagementEvent(Message):
    """The pixel of a message was fetched, or one of its links.

    `link` counts the links of the message from 1. `machine`: nobody need have seen the message; `reason` says
    how that is known, or through whose proxy a person came. `first`: of people, or of machines, for this
    message and link; of later ones only a few are told. `variant`: which of the stage's variants it was.
    """

    TOPIC: ClassVar[Topic] = ENGAGEMENT_EVENTS
    FAMILY: ClassVar[str] = "engagement"

    event_type: EngagementEventType
    enrollment_id: UUID
    person_id: UUID
    sequence_id: UUID
    sequence_version: int
    stage_id: str
    stage_index: int
    owner_id: UUID
    mailbox_id: UUID
    is_test: bool = False
    sent_at: UtcDatetime | None = None
    link: int | None = Field(default=None, ge=1)
    machine: bool
    reason: ShortText = ""
    first: bool
    variant: ShortText | None = None
