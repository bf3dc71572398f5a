"""What others ask of Segue: enrollment commands (to the scheduler) and delivery commands (to the sender)."""

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from segue_contracts.ids import enrollment_id, split_dispatch_id
from segue_contracts.message import LongText, Message, Scope, ShortText, UtcDatetime
from segue_contracts.prospect import DateText, ExternalId, Prospect
from segue_contracts.text import check_text
from segue_contracts.topics import DELIVERY_COMMANDS, ENROLLMENT_COMMANDS, Topic

MAX_CALENDAR_DAYS = 1000
MESSAGE_ID = r"^<[!-;=?-~]+@[!-;=?-~]+>$"
"""An identifier that may stand in References (RFC 5322 3.6.4)."""
MESSAGE_ID_PATTERN = re.compile(MESSAGE_ID)


class HoldScope(StrEnum):
    """What a hold pauses; the key is that thing's id.

    `delegation`: a user's consent that another one sends from their mailbox. `ownership`: a sequence, or a
    mailbox, whose owner has left. `operations`: a workspace, by whoever runs Segue.
    """

    ENROLLMENT = "enrollment"
    PERSON = "person"
    COMPANY = "company"
    SEQUENCE = "sequence"
    MAILBOX = "mailbox"
    WORKSPACE = "workspace"
    DELEGATION = "delegation"
    OWNERSHIP = "ownership"
    OPERATIONS = "operations"


class EnrollmentCommand(Message):
    """A wish, and who has it. `event_id` is the command id: the same id again is the same command."""

    TOPIC: ClassVar[Topic] = ENROLLMENT_COMMANDS
    FAMILY: ClassVar[str] = "enrollment"

    issued_by: ShortText = ""


class Enroll(EnrollmentCommand):
    """Send this person through this sequence; `start_at` defaults to when it is received."""

    event_type: Literal["enroll"] = "enroll"
    sequence_id: UUID
    sequence_version: int | None = Field(default=None, ge=1)
    prospect: Prospect
    start_at: UtcDatetime | None = None
    generation: int = Field(default=1, ge=1, le=1000)
    is_test: bool = False

    @property
    def enrollment_id(self) -> UUID:
        """Computed from workspace, sequence, external id and generation: the producer can do the same."""
        return enrollment_id(self.workspace_id, self.sequence_id, self.prospect.external_id, self.generation)


class Hold(EnrollmentCommand):
    """Pause everything under `scope`, until an instant or until lifted.

    `extends`: a standing hold that lasts longer stays as it is; so says who holds without a person's word.
    """

    event_type: Literal["hold"] = "hold"
    scope: HoldScope
    scope_id: UUID
    until: UtcDatetime | None = None
    reason: ShortText = ""
    extends: bool = False

    def key(self) -> str:
        return str(self.scope_id)


class Lift(EnrollmentCommand):
    """End a hold."""

    event_type: Literal["lift"] = "lift"
    scope: HoldScope
    scope_id: UUID

    def key(self) -> str:
        return str(self.scope_id)


class Stop(EnrollmentCommand):
    """End an enrollment, or everything of a person or a company, before its last stage."""

    event_type: Literal["stop"] = "stop"
    scope: Scope = Scope.ENROLLMENT
    enrollment_id: UUID | None = None
    person_id: UUID | None = None
    company_key: ShortText | None = None
    reason_code: ShortText = ""

    @model_validator(mode="after")
    def _names_its_target(self) -> "Stop":
        check_target(self.scope, self.enrollment_id, self.person_id, self.company_key)
        return self

    def key(self) -> str:
        return str(self.enrollment_id or self.person_id or self.company_key)


class MarkReplied(EnrollmentCommand):
    """The person answered on a way that Segue does not see."""

    event_type: Literal["mark_replied"] = "mark_replied"
    enrollment_id: UUID


class Correct(EnrollmentCommand):
    """What ended an enrollment was something else. It stays ended; its story and its counts tell the truth.

    Only where `cause_id` is what ended it. `mistaken`: nothing should have ended it.
    """

    event_type: Literal["correct"] = "correct"
    enrollment_id: UUID
    cause_id: UUID
    reason: Literal["replied", "bounced", "unsubscribed", "complained", "requested", "mistaken"]
    reason_code: ShortText = ""


class Reschedule(EnrollmentCommand):
    """Carry out the current stage at this instant instead of the planned one."""

    event_type: Literal["reschedule"] = "reschedule"
    enrollment_id: UUID
    at: UtcDatetime


Words = Annotated[str, AfterValidator(check_text)]


class Edit(EnrollmentCommand):
    """Change the words of remaining stages for this one person: stage id to changed fields."""

    event_type: Literal["edit"] = "edit"
    enrollment_id: UUID
    stages: dict[str, dict[Literal["subject", "text"], Words]] = Field(min_length=1, max_length=100)


class Migrate(EnrollmentCommand):
    """Go on with another version of the sequence; stages already completed stay completed."""

    event_type: Literal["migrate"] = "migrate"
    enrollment_id: UUID
    to_version: int = Field(ge=1)


class UpdatePerson(EnrollmentCommand):
    """New facts about a person (the whole prospect): what is not yet dispatched is planned again."""

    event_type: Literal["update_person"] = "update_person"
    prospect: Prospect

    def key(self) -> str:
        return self.prospect.external_id


class Erase(EnrollmentCommand):
    """Forget a person for good: what waits is stopped and taken back, words and addresses are erased.

    Their id stays, so that nobody enrolls them again. Asked again, it is done again.
    """

    event_type: Literal["erase"] = "erase"
    external_id: ExternalId

    def key(self) -> str:
        return self.external_id


class SetCalendar(EnrollmentCommand):
    """All days of the workspace's own calendar, `team` in a sequence: what is planned is planned again."""

    event_type: Literal["set_calendar"] = "set_calendar"
    days: list[DateText] = Field(max_length=MAX_CALENDAR_DAYS)


class ReplanScope(StrEnum):
    """Whose plans are made again; the key is that thing's id."""

    WORKSPACE = "workspace"
    MAILBOX = "mailbox"


class ReplanReason(StrEnum):
    """What changed under plans; a stage that got another time for it tells so."""

    CALENDAR_CHANGED = "calendar_changed"
    MAILBOX_CHANGED = "mailbox_changed"
    TZDATA_CHANGED = "tzdata_changed"


class Replan(EnrollmentCommand):
    """Segue's own: something that planning stands on has changed; what waits there is planned again."""

    event_type: Literal["replan"] = "replan"
    scope: ReplanScope
    scope_id: UUID
    reason: ReplanReason

    def key(self) -> str:
        return str(self.scope_id)


class Transfer(EnrollmentCommand):
    """Segue's own: a sequence has another owner, whose everybody in it is from now on."""

    event_type: Literal["transfer"] = "transfer"
    sequence_id: UUID
    owner_id: UUID

    def key(self) -> str:
        return str(self.sequence_id)


AnyEnrollmentCommand = Annotated[
    Enroll
    | Hold
    | Lift
    | Stop
    | MarkReplied
    | Correct
    | Reschedule
    | Edit
    | Migrate
    | UpdatePerson
    | Erase
    | SetCalendar
    | Replan
    | Transfer,
    Field(discriminator="event_type"),
]


class DeliveryCommand(Message):
    """A wish about one dispatch; keyed like everything else of its enrollment."""

    TOPIC: ClassVar[Topic] = DELIVERY_COMMANDS
    FAMILY: ClassVar[str] = "delivery"

    dispatch_id: str = Field(max_length=128)
    issued_by: ShortText = ""

    @model_validator(mode="after")
    def _names_a_dispatch(self) -> "DeliveryCommand":
        split_dispatch_id(self.dispatch_id)
        return self

    @property
    def enrollment_id(self) -> UUID:
        """The enrollment inside the dispatch id."""
        return split_dispatch_id(self.dispatch_id)[0]

    @property
    def stage_id(self) -> str:
        """The stage inside the dispatch id."""
        return split_dispatch_id(self.dispatch_id)[1]


class Recall(DeliveryCommand):
    """Take the dispatch back if that is still possible; answered by `recalled`, also when too late."""

    event_type: Literal["recall"] = "recall"


class TaskDone(DeliveryCommand):
    """A person did the task; `responded` means the prospect answered while it was done.

    `result`: a `TaskResult`. `suppress_phone`: the person's phone is somebody else's, nobody is to call it.
    """

    event_type: Literal["task_done"] = "task_done"
    result: ShortText = ""
    note: LongText = ""
    responded: bool = False
    suppress_phone: bool = False


class TaskSkip(DeliveryCommand):
    """A person decided not to do the task; the sequence goes on."""

    event_type: Literal["task_skip"] = "task_skip"
    note: LongText = ""


class TaskSnooze(DeliveryCommand):
    """Show the task again at `until`."""

    event_type: Literal["task_snooze"] = "task_snooze"
    until: UtcDatetime


class TaskReassign(DeliveryCommand):
    """Give the task to another user."""

    event_type: Literal["task_reassign"] = "task_reassign"
    assignee_id: UUID


class Decision(StrEnum):
    """What a person may decide about a dispatch in doubt."""

    RESEND = "resend"
    MARK_SENT = "mark_sent"
    SKIP_STAGE = "skip_stage"
    STOP = "stop"


class DecideInDoubt(DeliveryCommand):
    """Resolve a dispatch of which nobody knows whether the server accepted it."""

    event_type: Literal["decide_in_doubt"] = "decide_in_doubt"
    decision: Decision


class NoteProviderId(DeliveryCommand):
    """The provider sent the message under a Message-ID of its own: answers name that one."""

    event_type: Literal["note_provider_id"] = "note_provider_id"
    provider_message_id: str = Field(max_length=900, pattern=MESSAGE_ID)


class ReceiptStatus(StrEnum):
    """What became of a text message in the end: `undelivered` says the carrier, `failed` the provider."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    FAILED = "failed"


class NoteReceipt(DeliveryCommand):
    """The provider told what became of a text message; some of its error codes end the enrollment."""

    event_type: Literal["note_receipt"] = "note_receipt"
    provider_id: str = Field(max_length=64)
    status: ReceiptStatus
    error_code: str = Field(default="", max_length=20)


class Evidence(StrEnum):
    """By what it is known that a message was sent: its copy in the mailbox; an answer or report naming it."""

    SENT_COPY = "sent_copy"
    ANSWER = "answer"


class NoteEvidence(DeliveryCommand):
    """Somebody has looked whether a message was sent. What was `found` makes it sent, whatever was decided
    meanwhile; that nothing was found proves nothing, and is kept for whoever decides.
    """

    event_type: Literal["note_evidence"] = "note_evidence"
    evidence: Evidence
    found: bool = True
    places: list[ShortText] = Field(default_factory=list, max_length=10)


AnyDeliveryCommand = Annotated[
    Recall
    | TaskDone
    | TaskSkip
    | TaskSnooze
    | TaskReassign
    | DecideInDoubt
    | NoteProviderId
    | NoteReceipt
    | NoteEvidence,
    Field(discriminator="event_type"),
]


def check_target(
    scope: Scope, enrollment_id: UUID | None, person_id: UUID | None, company_key: str | None
) -> None:
    """ValueError unless the id that `scope` needs is there."""
    needed: dict[Scope, tuple[str, Any]] = {
        Scope.ENROLLMENT: ("enrollment_id", enrollment_id),
        Scope.PERSON: ("person_id", person_id),
        Scope.COMPANY: ("company_key", company_key),
    }
    name, value = needed[scope]
    if not value:
        raise ValueError(f"scope {scope} needs {name}")
