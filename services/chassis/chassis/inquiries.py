"""What the api asks the scheduler, and what it is told: plans are the scheduler's, people ask over the api.

Nothing of it is published, so it is no part of the contract; both services are deployed together, and an
answer that can't be read counts as none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from segue_contracts.commands import Enroll

MAX_AT_ONCE: Final = 25
"""Prospects or enrollments in one question: each costs a plan and a rendering for every stage."""
MAX_FORECAST_DAYS: Final = 92


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


Asked = TypeVar("Asked", bound=_Part)
Told = TypeVar("Told", bound=_Part)


@dataclass(frozen=True, slots=True)
class Question(Generic[Asked, Told]):
    """A kind of question: its name in the path, what is asked and what is told."""

    name: str
    asked: type[Asked]
    told: type[Told]


class Refusal(_Part):
    """Why something can't be; `code` is stable."""

    code: str
    detail: str = ""


class StageAhead(_Part):
    """A stage that lies ahead: when it is due and why then, or why it never is.

    `skipped`: its `when` is false as things are now, so it will be left out at its time. `completed_at`: the
    assumption on which the stages after it are planned.
    """

    stage_id: str
    stage_index: int
    channel: str
    current: bool = False
    skipped: bool = False
    planned_at: datetime | None = None
    send_before: datetime | None = None
    zone: str | None = None
    reasons: list[Mapping[str, Any]] = []
    refused: Refusal | None = None
    completed_at: datetime | None = None


# ---- schedule -----------------------------------------------------------------------------------------


class ScheduleAsked(_Part):
    """Which enrollment."""

    workspace_id: UUID
    enrollment_id: UUID


class ActiveHold(_Part):
    """A hold that keeps it from being sent; without `until` it holds until it is lifted."""

    scope: str
    scope_id: UUID
    reason: str = ""
    by: str = ""
    until: datetime | None = None


class Schedule(_Part):
    """What lies ahead of an enrollment; no stages once it has ended.

    The current stage stands as it is stored; those after it are planned on the assumption that each one is
    completed at its planned time. `to_version`: a migration that the current stage's outcome will apply; the
    later stages are that version's. `problem`: why nothing can be planned.
    """

    enrollment_id: UUID
    state: str
    sequence_id: UUID
    sequence_version: int
    to_version: int | None = None
    as_of: datetime
    holds: list[ActiveHold]
    stages: list[StageAhead]
    problem: Refusal | None = None


# ---- forecast -----------------------------------------------------------------------------------------


class ForecastAsked(_Part):
    """Which mailbox, and for how many local days from today on."""

    workspace_id: UUID
    mailbox_id: UUID
    days: int = Field(ge=1, le=MAX_FORECAST_DAYS)


class DayAhead(_Part):
    """A local day: messages and tasks that are planned for it; `held` are those of either under a hold.

    `sent`: what went out on it already, which the api adds. `limit`: of messages in 24 hours on that day.
    """

    date: date
    starts_at: datetime
    messages: int = 0
    tasks: int = 0
    held: int = 0
    sent: int = 0
    limit: int | None = None


class Forecast(_Part):
    """What is planned for a mailbox: the current stage of each live enrollment, by local day.

    Today has what is overdue too; `later` is what is planned after the last day.
    """

    mailbox_id: UUID
    zone: str
    as_of: datetime
    days: list[DayAhead]
    later: int


# ---- dry run ------------------------------------------------------------------------------------------


class DryRunAsked(_Part):
    """Enrolls, as they would be published. `unsubscribe_url`: what stands for the link in a mail; None: they
    have none.
    """

    commands: list[Enroll] = Field(max_length=MAX_AT_ONCE)
    unsubscribe_url: str | None = None


class StageSaid(StageAhead):
    """A stage ahead with its words for this person; a reply has the subject of its thread. `variant`: whose
    words they would get now, of a stage with variants.
    """

    subject: str | None = None
    text: str | None = None
    variant: str | None = None
    problems: list[Refusal] = []


class SameAddress(_Part):
    """Another `external_id` with the same address: maybe the same person. `row`: in this very request."""

    external_id: str
    person_id: UUID
    row: int | None = None


class Collision(_Part):
    """A live enrollment of the same person, or of the same address, in whatever sequence; `since` when.

    The names are the api's to add.
    """

    enrollment_id: UUID
    sequence_id: UUID
    sequence_name: str | None = None
    generation: int
    external_id: str
    owner_id: UUID
    owner_name: str | None = None
    state: str
    stage_id: str | None
    since: datetime


class Rehearsed(_Part):
    """What would become of one enroll; `problems` are the reasons for which it would be refused, `warnings`
    what should be looked at before.
    """

    enrollment_id: UUID
    person_id: UUID
    external_id: str
    would_enroll: bool
    problems: list[Refusal]
    warnings: list[Refusal] = []
    suppressed: bool
    already_enrolled: bool
    same_address: list[SameAddress]
    collisions: list[Collision]
    sequence_version: int | None = None
    mailbox_id: UUID | None = None
    stages: list[StageSaid] = []


class DryRun(_Part):
    """In the order in which they were asked about."""

    people: list[Rehearsed]


# ---- migration ----------------------------------------------------------------------------------------


class MigrationAsked(_Part):
    """Which enrollments of a sequence, to which version."""

    workspace_id: UUID
    sequence_id: UUID
    to_version: int
    enrollment_ids: list[UUID] = Field(max_length=MAX_AT_ONCE)


class Place(_Part):
    """Where an enrollment stands."""

    stage_id: str
    stage_index: int
    planned_at: datetime | None = None


class Migrated(_Part):
    """What a migration would change for one person.

    `applies`: `now`, or with the `outcome` of the stage in flight, hence without a time. `after` is None
    where the version has no stage left for them, which finishes the enrollment, and where it is refused.
    """

    enrollment_id: UUID
    external_id: str
    state: str
    from_version: int
    to_version: int
    applies: Literal["now", "outcome"]
    before: Place
    after: Place | None = None
    finishes: bool = False
    refused: list[Refusal] = []


class Migration(_Part):
    """Those that exist in the sequence, in the order in which they were asked about."""

    people: list[Migrated]


SCHEDULE: Final = Question("schedule", ScheduleAsked, Schedule)
FORECAST: Final = Question("forecast", ForecastAsked, Forecast)
DRY_RUN: Final = Question("dry-run", DryRunAsked, DryRun)
MIGRATION: Final = Question("migration", MigrationAsked, Migration)
