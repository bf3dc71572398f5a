"""CloudEvents 1.0, Kafka binary mode: attributes in `ce_` headers, the value one JSON object.

Source: CloudEvents Kafka Protocol Binding 1.0.2, section 3.2.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from segue_contracts.commands import AnyDeliveryCommand, AnyEnrollmentCommand
from segue_contracts.engagement import EngagementEvent
from segue_contracts.events import (
    AnyInboundMessage,
    AnyUserNotification,
    EnrollmentEvent,
    EnrollmentStop,
    SequenceEvent,
    SequenceState,
    StageDue,
    StageOutcome,
)
from segue_contracts.message import Message
from segue_contracts.topics import (
    DELIVERY_COMMANDS,
    ENGAGEMENT_EVENTS,
    ENROLLMENT_COMMANDS,
    ENROLLMENT_EVENTS,
    ENROLLMENT_STOPS,
    INBOUND_MESSAGES,
    SEQUENCE_EVENTS,
    SEQUENCE_STATE,
    STAGE_DUE,
    STAGE_OUTCOMES,
    USER_NOTIFICATIONS,
)

SPEC_VERSION = "1.0"
CONTENT_TYPE = b"application/json"
MAX_VALUE_BYTES = 512 * 1024
UNKNOWN_TYPE = "unknown_type"
"""The code of a record that a newer minor version may know: nothing is wrong with it but its type."""
Headers = tuple[tuple[str, bytes], ...]


class DecodeError(ValueError):
    """A record that is not what its topic promises; `code` is stable, the text says what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message as Kafka carries it."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


ADAPTERS: Mapping[str, TypeAdapter[Any]] = {
    ENROLLMENT_COMMANDS.name: TypeAdapter(AnyEnrollmentCommand),
    DELIVERY_COMMANDS.name: TypeAdapter(AnyDeliveryCommand),
    STAGE_DUE.name: TypeAdapter(StageDue),
    STAGE_OUTCOMES.name: TypeAdapter(StageOutcome),
    INBOUND_MESSAGES.name: TypeAdapter(AnyInboundMessage),
    ENROLLMENT_STOPS.name: TypeAdapter(EnrollmentStop),
    ENROLLMENT_EVENTS.name: TypeAdapter(EnrollmentEvent),
    ENGAGEMENT_EVENTS.name: TypeAdapter(EngagementEvent),
    SEQUENCE_EVENTS.name: TypeAdapter(SequenceEvent),
    SEQUENCE_STATE.name: TypeAdapter(SequenceState),
    USER_NOTIFICATIONS.name: TypeAdapter(AnyUserNotification),
}


def encode(message: Message, *, source: str = "/segue") -> Encoded:
    """The record of a message; its headers repeat what the CloudEvents attributes need."""
    headers: Headers = (
        ("ce_specversion", SPEC_VERSION.encode()),
        ("ce_id", str(message.event_id).encode()),
        ("ce_source", source.encode()),
        ("ce_type", message.ce_type().encode()),
        ("ce_time", message.occurred_at.isoformat().replace("+00:00", "Z").encode()),
        ("content-type", CONTENT_TYPE),
    )
    return Encoded(message.TOPIC.name, message.key().encode(), message.model_dump_json().encode(), headers)


def decode(topic: str, headers: Iterable[tuple[str, bytes]], value: bytes | None) -> Any:
    """The message inside a record of `topic` (without any prefix); DecodeError says what is wrong with it."""
    adapter = ADAPTERS.get(topic)
    if adapter is None:
        raise DecodeError("unknown_topic", f"no messages are declared for {topic}")
    if value is None:
        raise DecodeError("empty", "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise DecodeError("too_large", f"{len(value)} bytes; at most {MAX_VALUE_BYTES} are read")
    check_versions(dict(headers))
    try:
        message: Message = adapter.validate_json(value)
    except ValidationError as error:
        code = UNKNOWN_TYPE if _is_of_unknown_type(error) else "invalid"
        raise DecodeError(code, describe(error)) from error
    if message.schema_version.split(".")[0] != "1":
        raise DecodeError(
            "unknown_version", f"schema_version {message.schema_version}; this reader knows 1.x"
        )
    return message


def _is_of_unknown_type(error: ValidationError) -> bool:
    problems = [(p["loc"], p["type"]) for p in error.errors(include_input=False, include_url=False)]
    unknown = {((), "union_tag_invalid"), (("event_type",), "enum"), (("event_type",), "literal_error")}
    return any(problem in unknown for problem in problems)


def check_versions(headers: Mapping[str, bytes]) -> None:
    """DecodeError for a CloudEvents version, a content type or a major version that this reader cannot know.

    A record without any CloudEvents header is taken by its value alone.
    """
    spec = headers.get("ce_specversion", SPEC_VERSION.encode())
    if spec != SPEC_VERSION.encode():
        raise DecodeError("unknown_version", f"ce_specversion {spec!r}; this reader knows {SPEC_VERSION}")
    kind = headers.get("content-type", CONTENT_TYPE)
    if not kind.startswith(CONTENT_TYPE):
        raise DecodeError("unknown_content_type", f"{kind!r}; send application/json")
    ce_type = headers.get("ce_type", b".v1")
    if not ce_type.endswith(b".v1"):
        raise DecodeError("unknown_version", f"ce_type {ce_type!r}; this topic carries .v1")


def describe(error: ValidationError, most: int = 5) -> str:
    """The first problems as `path: what`, without the refused values: they may be personal."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    told = [f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['msg']}" for p in problems[:most]]
    if len(problems) > most:
        told.append(f"and {len(problems) - most} more")
    return "; ".join(told)
