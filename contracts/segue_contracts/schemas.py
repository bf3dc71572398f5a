"""Writes the machine-readable contract: `python -m segue_contracts.schemas [--check]`.

JSON Schemas of every topic's payload, of the sequence document and of the prospect, the topics with the keys
of their records, and an AsyncAPI document over them. Everything is generated; `--check` names the files that
differ from what would be written.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args
from uuid import UUID

from pydantic import TypeAdapter

from segue_contracts.codec import ADAPTERS, CONTENT_TYPE, SPEC_VERSION
from segue_contracts.commands import AnyDeliveryCommand, AnyEnrollmentCommand
from segue_contracts.engagement import EngagementEvent
from segue_contracts.events import (
    AnswerNotification,
    AnyInboundMessage,
    EnrollmentEvent,
    EnrollmentStop,
    MailboxNotification,
    SequenceEvent,
    SequenceState,
    StageDue,
    StageOutcome,
    TaskNotification,
    WebhookNotification,
)
from segue_contracts.message import SCHEMA_VERSION, Message
from segue_contracts.prospect import Prospect
from segue_contracts.sequence import SequenceDocument
from segue_contracts.topics import ENROLLMENT_COMMANDS, ENROLLMENT_STOPS, TOPICS, Topic

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
HOME: Final = Path(__file__).resolve().parents[1]
BINDING_VERSION: Final = "0.5.0"
WRITTEN_BY_OTHERS: Final = frozenset({ENROLLMENT_COMMANDS.name, ENROLLMENT_STOPS.name})
READ_BY_SEGUE_ALONE: Final = frozenset({ENROLLMENT_COMMANDS.name})
Json = dict[str, Any]

# Values of fields out of which a key is made, not taken.
_SPEAKING: Final[Mapping[str, Any]] = {
    "dispatch_id": f"{UUID(int=0)}:stage",
    "prospect": Prospect.model_construct(external_id="prospect.external_id"),
}

# Keys and names that no YAML reader takes for a number, a date or a truth value.
_PLAIN = re.compile(r"\$?[a-z]{2,}(?:[A-Z._-][A-Za-z0-9]+)+|ce_[a-z]+")


def message_types() -> dict[str, tuple[type[Message], ...]]:
    """The messages of each topic that has any, by topic name."""
    kinds: list[type[Message]] = [
        *_members(AnyEnrollmentCommand),
        *_members(AnyDeliveryCommand),
        *_members(AnyInboundMessage),
        *(StageDue, StageOutcome, EnrollmentStop, EnrollmentEvent, EngagementEvent),
        *(SequenceEvent, SequenceState, AnswerNotification, MailboxNotification, TaskNotification),
        WebhookNotification,
    ]
    return {
        topic.name: tuple(kind for kind in kinds if kind.TOPIC is topic)
        for topic in TOPICS
        if topic.name in ADAPTERS
    }


def files() -> dict[str, str]:
    """Every generated file: its path below `contracts/`, and its text."""
    made = {f"schemas/{name}.json": _json(schema) for name, schema in _schemas().items()}
    made["topics.json"] = _json(topics())
    made["asyncapi.yaml"] = "\n".join(_yaml(asyncapi())) + "\n"
    return made


def topics() -> Json:
    """What each topic is, and by CloudEvents type the fields of which the first given one is the key."""
    kinds = message_types()
    return {
        topic.name: {
            "partitions": topic.partitions,
            "retention_ms": topic.retention_ms,
            "compact": topic.compact,
            "public": topic.public,
            "personal_data": topic.personal_data,
            "keys": {name: _key_of(kind) for kind in kinds.get(topic.name, ()) for name in _ce_types(kind)},
        }
        for topic in TOPICS
    }


def asyncapi() -> Json:
    """The AsyncAPI 3.0 document, as seen by Segue: it receives commands and sends events."""
    kinds = message_types()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Segue",
            "version": SCHEMA_VERSION,
            "license": {"name": "Apache-2.0"},
            "description": "Event-driven outreach sequences: what to ask of Segue, and what it tells.",
        },
        "defaultContentType": CONTENT_TYPE.decode(),
        "channels": {topic.name: _channel(topic, kinds.get(topic.name, ())) for topic in TOPICS},
        "operations": {name: operation for topic in TOPICS for name, operation in _operations(topic)},
        "components": {"messages": {kind.__name__: _message(kind) for of in kinds.values() for kind in of}},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` only compare; 1 if any of them has drifted."""
    return generate("segue_contracts.schemas", __doc__, files(), "schemas/*.json", arguments)


def generate(
    program: str,
    description: str | None,
    wanted: Mapping[str, str],
    ours: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """What a program that writes `wanted` (text by path) does; a file like `ours` that is not in it goes."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    parser.add_argument("--home", type=Path, default=HOME, help="the folder in which the files are")
    options = parser.parse_args(arguments)
    found = {str(path.relative_to(options.home)) for path in options.home.glob(ours)}
    drifted = sorted(
        {name for name, text in wanted.items() if _read(options.home / name) != text} | found - wanted.keys()
    )
    for name in drifted:
        if options.check:
            print(f"out of date: {name}; run python -m {program}", file=sys.stderr)
        elif name in wanted:
            (options.home / name).parent.mkdir(parents=True, exist_ok=True)
            (options.home / name).write_text(wanted[name], encoding="utf-8", newline="\n")
        else:
            (options.home / name).unlink()
    return 1 if options.check and drifted else 0


def _schemas() -> dict[str, Json]:
    """By file name: what others write as they may write it, all else as Segue writes it."""
    schemas: dict[str, Json] = {
        # Whoever writes reads what they must give; whoever reads, what is always there.
        name: adapter.json_schema(mode="validation" if name in WRITTEN_BY_OTHERS else "serialization")
        for name, adapter in ADAPTERS.items()
    }
    schemas["sequence.v1"] = SequenceDocument.model_json_schema()
    schemas["prospect.v1"] = Prospect.model_json_schema()
    for schema in schemas.values():
        # OpenAPI's word: AsyncAPI means something else by it, and the constant event_type says it already.
        schema.pop("discriminator", None)
        schema["$schema"] = DIALECT
        for part in (schema, *schema.get("$defs", {}).values()):
            if "event_type" in part.get("properties", {}) and "event_type" not in part["required"]:
                part["required"].insert(1, "event_type")  # by which a reader knows what the rest is
    return schemas


def _channel(topic: Topic, kinds: Sequence[type[Message]]) -> Json:
    configuration: Json = {"cleanup.policy": ["compact" if topic.compact else "delete"]}
    if topic.retention_ms is not None:
        configuration["retention.ms"] = topic.retention_ms
    channel: Json = {
        "address": topic.name,
        "description": topic.purpose,
        "tags": [{"name": "public" if topic.public else "internal"}],
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": BINDING_VERSION,
            }
        },
    }
    if topic.personal_data:
        channel["tags"].append({"name": "personal-data"})
    if kinds:
        channel["messages"] = {
            kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds
        }
    return channel


def _operations(topic: Topic) -> Iterator[tuple[str, Json]]:
    if not topic.public:
        return
    channel = {"$ref": f"#/channels/{topic.name}"}
    if topic.name in WRITTEN_BY_OTHERS:
        yield f"receive.{topic.name}", {"action": "receive", "channel": channel}
    if topic.name not in READ_BY_SEGUE_ALONE:
        yield f"send.{topic.name}", {"action": "send", "channel": channel}


def _message(kind: type[Message]) -> Json:
    shared = len(message_types()[kind.TOPIC.name]) > 1
    return {
        "name": kind.__name__,
        "contentType": CONTENT_TYPE.decode(),
        "description": inspect.getdoc(kind),
        "headers": _headers(kind),
        "payload": {"$ref": f"./schemas/{kind.TOPIC.name}.json" + f"#/$defs/{kind.__name__}" * shared},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": BINDING_VERSION}},
    }


def _headers(kind: type[Message]) -> Json:
    properties: Json = {
        "ce_specversion": {"type": "string", "const": SPEC_VERSION},
        "ce_id": {"type": "string", "format": "uuid", "description": "The payload's event_id"},
        "ce_source": {"type": "string", "format": "uri-reference", "description": "Who wrote the record"},
        "ce_type": {"type": "string", "enum": _ce_types(kind)},
        "ce_time": {"type": "string", "format": "date-time", "description": "The payload's occurred_at"},
        "content-type": {"type": "string", "const": CONTENT_TYPE.decode()},
    }
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _ce_types(kind: type[Message]) -> list[str]:
    """Every CloudEvents type that a message of this kind can have."""
    annotation: Any = kind.model_fields["event_type"].annotation
    event_type = TypeAdapter(annotation).json_schema()
    words = event_type.get("enum") or [event_type["const"]]
    return sorted(f"segue.{kind.FAMILY}.{word}.v1" for word in words)


def _key_of(kind: type[Message]) -> list[str]:
    """The fields that may be the key, in their order: a message whose values are its fields' names tells.

    Each is taken out once it was the key, as long as a message can do without it.
    """
    values: dict[str, Any] = {**{name: name for name in kind.model_fields}, **_SPEAKING}
    found: list[str] = []
    while True:
        message: Any = kind.known(**{name: values[name] for name in kind.model_fields})
        key = message.key()
        if key == str(None):
            return found
        found.append("enrollment_id" if key == str(getattr(message, "enrollment_id", None)) else key)
        field = kind.model_fields.get(found[-1])
        if field is None or field.is_required():
            return found
        values[found[-1]] = None


def _members(union: Any) -> tuple[type[Message], ...]:
    """The classes of an annotated union."""
    members: tuple[type[Message], ...] = get_args(get_args(union)[0])
    return members


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _yaml(value: object, indent: str = "") -> Iterator[str]:
    """The lines of a value as YAML 1.2: blocks; scalars and keys quoted as in JSON unless plain."""
    if isinstance(value, Mapping):
        entries = [(f"{_scalar(key)}:", value[key]) for key in sorted(value)]
    elif isinstance(value, list):
        entries = [("-", item) for item in value]
    else:
        raise TypeError(f"not a mapping or a list: {value!r}")
    for head, inner in entries:
        if isinstance(inner, Mapping | list) and inner:
            yield indent + head
            yield from _yaml(inner, indent + "  ")
        else:
            yield f"{indent}{head} {_scalar(inner)}"


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
