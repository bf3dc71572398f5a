"""What Segue says: stages due, outcomes, inbound pointers, stops, and the public story of an enrollment."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field, model_validator

from segue_contracts.commands import check_target
from segue_contracts.ids import dispatch_id as make_dispatch_id
from segue_contracts.message import LongText, Message, OpenEnum, Scope, ShortText, ToldChannel, UtcDatetime
from segue_contracts.topics import (
    ENROLLMENT_EVENTS,
    ENROLLMENT_STOPS,
    INBOUND_MESSAGES,
    SEQUENCE_EVENTS,
    SEQUENCE_STATE,
    STAGE_DUE,
    STAGE_OUTCOMES,
    USER_NOTIFICATIONS,
    Topic,
)


class StageDue(Message):
    """This attempt of this stage is due; the sender reads the truth before it acts."""

    TOPIC: ClassVar[Topic] = STAGE_DUE
    FAMILY: ClassVar[str] = "stage"

    event_type: Literal["due"] = "due"
    enrollment_id: UUID
    stage_id: str
    attempt: int = Field(ge=1)
    due_at: UtcDatetime

    @property
    def dispatch_id(self) -> str:
        """The dispatch that is due."""
        return make_dispatch_id(self.enrollment_id, self.stage_id)


class Outcome(StrEnum):
    """What became of a dispatch, in the words of the protocol."""

    SENT = "sent"
    TASK_OPENED = "task_opened"
    TASK_DONE = "task_done"
    TASK_SKIPPED = "task_skipped"
    TASK_OVERDUE = "task_overdue"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    RECALLED = "recalled"
    IN_DOUBT = "in_doubt"


OPTED_OUT: Final = "opted_out"


class StageOutcome(Message):
    """One outcome. `occurred_at` is when it became true: the next stage counts from it.

    `until`: not before then (deferred). `reason`: suppressed, held, window_over, no_slot, not_current
    (withdrawn); busy, a kind of failure (deferred); mark_sent, skip_stage (a person's decision); a
    `TaskResult` (task_done); skipped, overdue (task_skipped). `code`: SMTP reply and enhanced code.
    `bounced`: a rejection by the recipient's server for this recipient; `OPTED_OUT` as the reason of one:
    the person has told the provider to be left alone, so it ends as unsubscribed. `responded`: they answered
    while the task was done. task_overdue ends nothing: it is told once for each task. `variant`: which of the
    stage's variants it was (sent, task_opened, task_done, task_skipped).
    """

    TOPIC: ClassVar[Topic] = STAGE_OUTCOMES
    FAMILY: ClassVar[str] = "stage"

    event_type: Outcome
    enrollment_id: UUID
    stage_id: str
    attempt: int = Field(ge=0)
    until: UtcDatetime | None = None
    reason: ShortText = ""
    code: ShortText = ""
    bounced: bool = False
    responded: bool = False
    variant: ShortText | None = None

    @property
    def dispatch_id(self) -> str:
        """The dispatch that this is about."""
        return make_dispatch_id(self.enrollment_id, self.stage_id)


class InboundMessage(Message):
    """A raw message is stored under this id (claim check)."""

    TOPIC: ClassVar[Topic] = INBOUND_MESSAGES
    FAMILY: ClassVar[str] = "inbound"

    event_type: Literal["received"] = "received"
    inbound_id: UUID
    mailbox_id: UUID

    def key(self) -> str:
        return str(self.inbound_id)


class AnswerKind(OpenEnum):
    """What somebody's message is; `manual_mail`: the owner of the mailbox wrote to the person by hand."""

    REPLY = "reply"
    AUTO_REPLY = "auto_reply"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    OPT_OUT = "opt_out"
    MANUAL_MAIL = "manual_mail"
    OTHER = "other"
    UNKNOWN = "unknown"


class CorrectAnswer(Message):
    """A person's word on what a stored message is; without `kind` and `intent`: they have read it.

    `event_id` is the command id. What the message did already is corrected, as far as that can be.
    """

    TOPIC: ClassVar[Topic] = INBOUND_MESSAGES
    FAMILY: ClassVar[str] = "inbound"

    event_type: Literal["correct"] = "correct"
    inbound_id: UUID
    kind: Literal["reply", "auto_reply", "opt_out", "other"] | None = None
    intent: ShortText | None = None
    issued_by: ShortText = ""

    def key(self) -> str:
        return str(self.inbound_id)


AnyInboundMessage = Annotated[InboundMessage | CorrectAnswer, Field(discriminator="event_type")]


class StopReason(OpenEnum):
    """Why an enrollment should stop; `auto_reply` only holds it.

    `mistaken`: a person said that what stopped it was nothing of the kind. `erased`: the person asked to be
    forgotten; the scheduler's own, for nobody else may ask for it by a stop.
    """

    REPLIED = "replied"
    AUTO_REPLY = "auto_reply"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    SUPPRESSED = "suppressed"
    REQUESTED = "requested"
    MISTAKEN = "mistaken"
    ERASED = "erased"
    UNKNOWN = "unknown"

    def outranks(self, known: "StopReason | None") -> bool:
        """Whether this, heard of after the end, is the truth about an enrollment that ended by `known`.

        None: it had finished or failed. The person's first answer is the truth, whatever else ended it.
        """
        if self in ANSWERED:
            return known not in ANSWERED
        return self is StopReason.BOUNCED and known is None


ANSWERED = frozenset({StopReason.REPLIED, StopReason.UNSUBSCRIBED, StopReason.COMPLAINED})
"""What a person did."""


class EnrollmentStop(Message):
    """A cause to stop (or, for `auto_reply`, to hold until `until`).

    `event_id` is the cause's id: published again until every match has ended. `reason_code` is the
    sender's own word for it, such as `hired`. An enrollment that has ended already stays as it is, but
    that an answer to it is told as `corrected`.
    """

    TOPIC: ClassVar[Topic] = ENROLLMENT_STOPS
    FAMILY: ClassVar[str] = "stop"

    event_type: StopReason
    scope: Scope
    enrollment_id: UUID | None = None
    person_id: UUID | None = None
    company_key: ShortText | None = None
    reason_code: ShortText = ""
    until: UtcDatetime | None = None

    @model_validator(mode="after")
    def _names_its_target(self) -> "EnrollmentStop":
        check_target(self.scope, self.enrollment_id, self.person_id, self.company_key)
        return self

    def key(self) -> str:
        return str(self.enrollment_id or self.person_id or self.company_key)


class EnrollmentEventType(OpenEnum):
    """The chapters of an enrollment's story."""

    ENROLLED = "enrolled"
    REFUSED = "refused"
    STAGE_SCHEDULED = "stage_scheduled"
    STAGE_SENT = "stage_sent"
    STAGE_DEFERRED = "stage_deferred"
    STAGE_SKIPPED = "stage_skipped"
    STAGE_IN_DOUBT = "stage_in_doubt"
    TASK_OPENED = "task_opened"
    TASK_DONE = "task_done"
    TASK_OVERDUE = "task_overdue"
    HELD = "held"
    LIFTED = "lifted"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    MIGRATED = "migrated"
    CORRECTED = "corrected"
    ERASED = "erased"
    UNKNOWN = "unknown"


class EnrollmentEvent(Message):
    """One transition of an enrollment, flat. `seq` counts them without gaps from 1 (0 for `refused`).

    `stage_id` is the stage it is about; `scheduled_for` when that stage was (or is now) planned; `sent_at`
    when it was accepted; `reason` and `reason_code` why: of task_done a `TaskResult`, of a task's
    stage_skipped `skipped` or `overdue`. `variant`: which of the stage's variants they got, of stage_sent,
    task_opened, task_done and a task's stage_skipped. Consumers drop doubles by `event_id`.
    `corrected`: what `supersedes_event_id` told of the end was not the whole truth, `reason` is (`mistaken`:
    no answer at all).
    `erased`: the person asked to be forgotten; who keeps anything of them beside `person_id` forgets it too.
    """

    TOPIC: ClassVar[Topic] = ENROLLMENT_EVENTS
    FAMILY: ClassVar[str] = "enrollment"

    event_type: EnrollmentEventType
    enrollment_id: UUID
    seq: int = Field(ge=0)
    person_id: UUID
    company_id: UUID | None = None
    sequence_id: UUID
    sequence_version: int | None = None
    stage_id: str | None = None
    stage_index: int | None = None
    attempt: int | None = None
    channel: ToldChannel | None = None
    owner_id: UUID | None = None
    mailbox_id: UUID | None = None
    is_test: bool = False
    scheduled_for: UtcDatetime | None = None
    sent_at: UtcDatetime | None = None
    until: UtcDatetime | None = None
    reason: ShortText | None = None
    reason_code: ShortText | None = None
    variant: ShortText | None = None
    supersedes_event_id: UUID | None = None


class SequenceEventType(OpenEnum):
    """What can happen to a sequence itself."""

    CREATED = "created"
    PUBLISHED = "published"
    ARCHIVED = "archived"
    TRANSFERRED = "transferred"
    UNKNOWN = "unknown"


class SequenceEvent(Message):
    """A sequence was created, published in a new version, archived, or given another owner."""

    TOPIC: ClassVar[Topic] = SEQUENCE_EVENTS
    FAMILY: ClassVar[str] = "sequence"

    event_type: SequenceEventType
    sequence_id: UUID
    sequence_version: int
    owner_id: UUID

    def key(self) -> str:
        return str(self.sequence_id)


class SequenceState(Message):
    """The latest version of a sequence, for joins: one record per sequence is kept."""

    TOPIC: ClassVar[Topic] = SEQUENCE_STATE
    FAMILY: ClassVar[str] = "sequence"

    event_type: Literal["state"] = "state"
    sequence_id: UUID
    sequence_version: int
    owner_id: UUID
    name: ShortText
    archived: bool = False
    stage_ids: list[str]
    stage_channels: list[ToldChannel]

    def key(self) -> str:
        return str(self.sequence_id)


class AnswerEffect(OpenEnum):
    """What a message did to the enrollments that it is about."""

    STOPPED = "stopped"
    HELD = "held"
    NONE = "none"
    UNKNOWN = "unknown"


class AnswerNotification(Message):
    """The owner of a sequence should hear of a message: once, when all that it sets in motion is done.

    `match` is how it was found: thread, address, phone, manual_mail. `text` is what was written now, cut.
    `review`: found by the sender's address alone. One for each owner; `event_id` is the same each time.
    `as_sender`: told to the user whose mailbox sent, for the sequence is somebody else's.
    """

    TOPIC: ClassVar[Topic] = USER_NOTIFICATIONS
    FAMILY: ClassVar[str] = "answer"

    event_type: AnswerKind
    inbound_id: UUID
    owner_id: UUID
    mailbox_id: UUID | None = None
    person_ids: list[UUID]
    enrollment_ids: list[UUID]
    sequence_ids: list[UUID]
    intent: ShortText | None = None
    match: ShortText
    effect: AnswerEffect
    until: UtcDatetime | None = None
    review: bool = False
    as_sender: bool = False
    from_address: Annotated[str, Field(max_length=320)] = ""
    subject: Annotated[str, Field(max_length=1000)] = ""
    text: LongText = ""

    def key(self) -> str:
        return str(self.owner_id)


class MailboxTurn(OpenEnum):
    """Which turn a mailbox has taken."""

    PAUSED = "paused"
    RECOVERED = "recovered"
    UNKNOWN = "unknown"


class MailboxNotification(Message):
    """The owner of a mailbox should hear that Segue has paused it, or that its server takes mail again.

    `reason`: bounce_rate, complaint_rate: `counted` of `sent` messages since `counted_since`. Or what its
    server refuses since then: login_refused, access_lost, server_refused, policy_refused; `recovered` only
    follows these, for a person resumes the others.
    """

    TOPIC: ClassVar[Topic] = USER_NOTIFICATIONS
    FAMILY: ClassVar[str] = "mailbox"

    event_type: MailboxTurn = MailboxTurn.PAUSED
    mailbox_id: UUID
    owner_id: UUID
    reason: ShortText
    counted: int = Field(ge=0)
    sent: int = Field(ge=0)
    counted_since: UtcDatetime

    def key(self) -> str:
        return str(self.owner_id)


class TaskNotification(Message):
    """The assignee of a task should hear that it is overdue: `times` counts from 1.

    `event_id` is the same each time it is told again.
    """

    TOPIC: ClassVar[Topic] = USER_NOTIFICATIONS
    FAMILY: ClassVar[str] = "user"

    event_type: Literal["task_overdue"] = "task_overdue"
    dispatch_id: str
    enrollment_id: UUID
    assignee_id: UUID
    sequence_id: UUID
    person_id: UUID
    channel: ToldChannel
    overdue_since: UtcDatetime
    times: int = Field(ge=1)

    def key(self) -> str:
        return str(self.assignee_id)


class WebhookNotification(Message):
    """The owner of a webhook should hear that Segue sends it nothing more, because of how it answers.

    `reason`: failing (since `failing_since`), or gone (it answered 410).
    """

    TOPIC: ClassVar[Topic] = USER_NOTIFICATIONS
    FAMILY: ClassVar[str] = "webhook"

    event_type: Literal["disabled"] = "disabled"
    webhook_id: UUID
    owner_id: UUID
    reason: ShortText
    failing_since: UtcDatetime

    def key(self) -> str:
        return str(self.owner_id)


AnyUserNotification = AnswerNotification | MailboxNotification | TaskNotification | WebhookNotification
