"""What every message on every topic has in common."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from segue_contracts.topics import Topic

SCHEMA_VERSION = "1.0"
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)


def to_utc_milliseconds(value: datetime) -> datetime:
    """UTC, cut to milliseconds: what the database keeps, so an event reads the same at every replay.

    ValueError outside the years 1900 to 8999: near its ends the calendar overflows when a zone is applied.
    """
    if not EARLIEST <= value < LATEST:
        raise ValueError(f"must be between the years {EARLIEST.year} and {LATEST.year}")
    value = value.astimezone(UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


UtcDatetime = Annotated[AwareDatetime, AfterValidator(to_utc_milliseconds)]
ShortText = Annotated[str, Field(max_length=200)]
LongText = Annotated[str, Field(max_length=4000)]


class OpenEnum(StrEnum):
    """An enum that grows within a major version: a reader maps a value it does not know to `unknown`."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls.__members__.get("UNKNOWN")


class Channel(StrEnum):
    """How a stage reaches the person; the first two are sent by Segue, the others by a person with a task."""

    EMAIL = "email"
    SMS = "sms"
    INMAIL = "inmail"
    LINKEDIN_CONNECT = "linkedin_connect"
    CALL = "call"
    MANUAL_EMAIL = "manual_email"
    MANUAL_SMS = "manual_sms"
    TASK = "task"


class ToldChannel(OpenEnum):
    """A `Channel` in what Segue tells: there may be more of them, and readers take those for `unknown`."""

    EMAIL = "email"
    SMS = "sms"
    INMAIL = "inmail"
    LINKEDIN_CONNECT = "linkedin_connect"
    CALL = "call"
    MANUAL_EMAIL = "manual_email"
    MANUAL_SMS = "manual_sms"
    TASK = "task"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """How far a stop reaches."""

    ENROLLMENT = "enrollment"
    PERSON = "person"
    COMPANY = "company"


class Message(BaseModel):
    """One record's value. `TOPIC` says where it goes; `event_id` is its CloudEvents id."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_enum_values=False, json_schema_serialization_defaults_required=True
    )
    TOPIC: ClassVar[Topic]
    FAMILY: ClassVar[str]

    event_id: UUID
    event_type: str
    schema_version: str = SCHEMA_VERSION
    occurred_at: UtcDatetime
    recorded_at: UtcDatetime
    workspace_id: UUID

    @classmethod
    def known(cls, **fields: Any) -> Self:
        """A message of fields that are as validation would leave them; nothing is checked or copied.

        Against `model_construct` it saves most of the time: no field is looked at one by one.
        """
        message = cls.__new__(cls)
        object.__setattr__(message, "__dict__", {**_defaults(cls), **fields})
        object.__setattr__(message, "__pydantic_fields_set__", set(fields))
        object.__setattr__(message, "__pydantic_extra__", None)
        object.__setattr__(message, "__pydantic_private__", None)
        return message

    def key(self) -> str:
        """The record key: the enrollment id wherever there is one."""
        enrollment: Any = getattr(self, "enrollment_id", None)
        return str(enrollment or self.workspace_id)

    def ce_type(self) -> str:
        """The CloudEvents type, e.g. `segue.enrollment.stage_sent.v1`."""
        return f"segue.{self.FAMILY}.{self.event_type}.v1"


@cache
def _defaults(kind: type[Message]) -> Mapping[str, Any]:
    """Every field in its order, which is that of the JSON; what has no default must be given."""
    return {name: field.default for name, field in kind.model_fields.items()}
