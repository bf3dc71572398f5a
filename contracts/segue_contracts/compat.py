"""Compares the contract with every released one: `python -m segue_contracts.compat [--release X.Y.Z]`.

A release is a folder of `released/` with the schemas and the topics as they were. Old and new programs run at
the same time, and records are kept and told again: so what was written must still be read, and what is
written now must be read by those who know only the release. What that forbids is `Rule`; all else is allowed.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from segue_contracts.schemas import HOME, READ_BY_SEGUE_ALONE, WRITTEN_BY_OTHERS
from segue_contracts.schemas import main as write_schemas

VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
TOPICS_FILE: Final = "topics"
LOWER: Final = frozenset({"minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties"})
UPPER: Final = frozenset({"maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties"})
FORMS: Final = frozenset({"pattern", "format", "propertyNames", "uniqueItems", "not"})
UNKNOWN: Final = "unknown"
"""A list of words with this one among them is open: readers take what they do not know for it."""
Json = dict[str, Any]


class Rule(StrEnum):
    """What breaks somebody."""

    TOPIC_REMOVED = "topic_removed"
    PARTITIONS_CHANGED = "partitions_changed"
    RETENTION_LOWERED = "retention_lowered"
    COMPACTION_CHANGED = "compaction_changed"
    ACCESS_NARROWED = "access_narrowed"
    KEY_CHANGED = "key_changed"
    MESSAGE_REMOVED = "message_removed"
    SCHEMA_REMOVED = "schema_removed"
    FIELD_REMOVED = "field_removed"
    FIELD_REQUIRED = "field_required"
    FIELD_OPTIONAL = "field_optional"
    TYPE_CHANGED = "type_changed"
    TYPE_WIDENED = "type_widened"
    VALUE_REMOVED = "value_removed"
    VALUE_ADDED = "value_added"
    LIMIT_NARROWED = "limit_narrowed"
    LIMIT_WIDENED = "limit_widened"
    FORM_CHANGED = "form_changed"
    DEFAULT_CHANGED = "default_changed"


class Use(StrEnum):
    """Who else holds on to a schema."""

    WRITTEN = "written by others"
    READ = "read by others"
    INTERNAL = "between Segue's own services"


@dataclass(frozen=True, slots=True)
class Break:
    """One change that a released contract does not allow; `where` is a path: `prospect.v1/email`."""

    rule: Rule
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Contract:
    """The schemas and the topics of one version."""

    schemas: Mapping[str, Json]
    topics: Mapping[str, Json]


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what breaks which release, 1 if anything does; `--release` then keeps today's contract as one."""
    parser = argparse.ArgumentParser(prog="python -m segue_contracts.compat", description=__doc__)
    parser.add_argument("--release", metavar="X.Y.Z", help="keep today's contract under this version")
    parser.add_argument(
        "--home", type=Path, default=HOME, help="the folder that holds schemas/ and released/"
    )
    options = parser.parse_args(arguments)
    today, broken = read(options.home), False
    for version in sorted((options.home / "released").glob("*.*.*")):
        for each in breaks(read_release(version), today):
            print(f"breaks {version.name}: {each.where}: {each.what} ({each.rule})", file=sys.stderr)
            broken = True
    if broken:
        return 1
    return release(options.home, options.release) if options.release else 0


def read(home: Path) -> Contract:
    """The contract that is generated now."""
    schemas = {path.stem: _load(path) for path in (home / "schemas").glob("*.json")}
    return Contract(schemas, _load(home / "topics.json"))


def read_release(folder: Path) -> Contract:
    """A contract that was kept."""
    schemas = {path.stem: _load(path) for path in folder.glob("*.json")}
    topics = schemas.pop(TOPICS_FILE)
    return Contract(schemas, topics)


def release(home: Path, version: str) -> int:
    """Keep today's contract; 1 if there is such a version, or what is generated is out of date."""
    folder = home / "released" / version
    if not VERSION.fullmatch(version) or folder.exists():
        print(f"not released: {version} is no version, or is released already", file=sys.stderr)
        return 1
    if write_schemas(["--check", "--home", str(home)]):
        return 1
    folder.mkdir(parents=True)
    for path in (*(home / "schemas").glob("*.json"), home / "topics.json"):
        shutil.copyfile(path, folder / path.name)
    return 0


def breaks(old: Contract, new: Contract) -> Iterator[Break]:
    """Everything in `new` that somebody who knows only `old` does not survive."""
    for name, topic in old.topics.items():
        yield from _topic_breaks(name, topic, new.topics.get(name))
    for name, schema in old.schemas.items():
        if name in new.topics or name not in old.topics:
            yield from _file_breaks(name, schema, new.schemas.get(name), use_of(name, new.topics))


def use_of(name: str, topics: Mapping[str, Json]) -> Use:
    """Who else holds on to this schema; a document (a sequence, a prospect) is written by others.

    What others both write and read is held to the stricter rules, those of readers.
    """
    if name not in topics or name in WRITTEN_BY_OTHERS & READ_BY_SEGUE_ALONE:
        return Use.WRITTEN
    return Use.READ if topics[name]["public"] else Use.INTERNAL


def _topic_breaks(name: str, old: Json, new: Json | None) -> Iterator[Break]:
    if new is None:
        yield Break(Rule.TOPIC_REMOVED, name, "the topic is gone")
        return
    if new["partitions"] != old["partitions"]:
        told = f"{new['partitions']} partitions, not {old['partitions']}: keys move"
        yield Break(Rule.PARTITIONS_CHANGED, name, told)
    if new["compact"] != old["compact"]:
        yield Break(Rule.COMPACTION_CHANGED, name, "records are kept by another rule")
    elif (new["retention_ms"] or 0) < (old["retention_ms"] or 0):
        yield Break(Rule.RETENTION_LOWERED, name, f"kept {new['retention_ms']} ms, not {old['retention_ms']}")
    if (old["public"] and not new["public"]) or (new["personal_data"] and not old["personal_data"]):
        yield Break(Rule.ACCESS_NARROWED, name, "who could read it may not any more")
    for kind, key in old["keys"].items():
        if kind not in new["keys"]:
            yield Break(Rule.MESSAGE_REMOVED, f"{name}/{kind}", "the message is gone")
        elif new["keys"][kind] != key:
            yield Break(Rule.KEY_CHANGED, f"{name}/{kind}", f"keyed by {new['keys'][kind]}, not by {key}")


def _file_breaks(name: str, old: Json, new: Json | None, use: Use) -> Iterator[Break]:
    if new is None:
        yield Break(Rule.SCHEMA_REMOVED, name, "the schema is gone")
        return
    both = _Comparison(old, new, use)
    kinds = _by_kind(variants(new, new))
    for kind, schema in _by_kind(variants(old, old)).items():
        if kind in kinds:  # a message that is gone is told of its topic
            yield from both.part(f"{name}/{kind}" if kind else name, schema, kinds[kind])


def _by_kind(messages: Sequence[Json]) -> dict[str, Json]:
    """By each event type, but for `unknown`, which many have; what is no message has the empty one."""
    found: dict[str, Json] = {}
    for message in messages:
        found |= dict.fromkeys(sorted(_kinds(message)), message)
    return found


def _kinds(message: Json) -> set[str]:
    event_type = message.get("properties", {}).get("event_type", {})
    return set(_words(event_type) or [""]) - {UNKNOWN}


class _Comparison:
    """Two whole schemas whose parts are compared; definitions once, for they may hold themselves."""

    def __init__(self, old: Json, new: Json, use: Use) -> None:
        self._old, self._new, self._use = old, new, use
        self._seen: set[tuple[str, str]] = set()

    def part(self, where: str, old: Json, new: Json) -> Iterator[Break]:
        """What breaks in this part and below it."""
        if _resolved(old, self._old).get("default") != _resolved(new, self._new).get("default"):
            yield Break(Rule.DEFAULT_CHANGED, where, "who leaves it out says something else now")
        left, gone = variants(new, self._new), False
        for each in variants(old, self._old):
            best = max(left, key=lambda one: _likeness(each, one), default=None)
            if best is None or _name(best) != _name(each):
                gone = True
                yield Break(Rule.TYPE_CHANGED, where, f"cannot be {_name(each)} any more")
            else:
                left.remove(best)
                yield from self._one(where, each, best)
        if left and not gone and self._use is not Use.WRITTEN:
            yield Break(Rule.TYPE_WIDENED, where, f"can be {' or '.join(map(_name, left))} now")

    def _one(self, where: str, old: Json, new: Json) -> Iterator[Break]:
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair) and pair in self._seen:
            return
        self._seen.add(pair)
        yield from self._values(where, old, new)
        yield from self._limits(where, old, new)
        yield from self._forms(where, old, new)
        yield from self._fields(where, old, new)
        for inner in ("items", "additionalProperties"):
            if isinstance(old.get(inner), dict) and isinstance(new.get(inner), dict):
                yield from self.part(f"{where}/*", old[inner], new[inner])

    def _values(self, where: str, old: Json, new: Json) -> Iterator[Break]:
        before, now = _words(old), _words(new)
        if before is None and now is None:
            return
        if before is None or now is None:
            if before is None:
                yield Break(Rule.TYPE_CHANGED, where, "takes only the words of a list now")
            elif self._use is not Use.WRITTEN:
                yield Break(Rule.TYPE_WIDENED, where, "can be any word now")
            return
        if gone := sorted(set(before) - set(now)):
            yield Break(Rule.VALUE_REMOVED, where, f"{', '.join(gone)} is gone")
        more = sorted(set(now) - set(before))
        if more and self._use is Use.READ and UNKNOWN not in before:
            yield Break(Rule.VALUE_ADDED, where, f"{', '.join(more)} is new in a list that is not open")

    def _limits(self, where: str, old: Json, new: Json) -> Iterator[Break]:
        for name in sorted((LOWER | UPPER) & (old.keys() | new.keys())):
            sign, none = (1, float("inf")) if name in UPPER else (-1, -float("inf"))
            before, now = sign * old.get(name, none), sign * new.get(name, none)
            if now < before:
                yield Break(Rule.LIMIT_NARROWED, where, f"{name} {new[name]}, was {old.get(name, 'none')}")
            elif now > before and self._use is not Use.WRITTEN:
                yield Break(Rule.LIMIT_WIDENED, where, f"{name} {new.get(name, 'none')}, was {old[name]}")

    def _forms(self, where: str, old: Json, new: Json) -> Iterator[Break]:
        for name in sorted(FORMS & (old.keys() | new.keys())):
            dropped = name not in new and self._use is Use.WRITTEN
            if old.get(name) != new.get(name) and not dropped:
                yield Break(Rule.FORM_CHANGED, where, f"{name} {new.get(name)}, was {old.get(name)}")

    def _fields(self, where: str, old: Json, new: Json) -> Iterator[Break]:
        before, now = old.get("properties", {}), new.get("properties", {})
        needed, needs = self._required(old, self._old), self._required(new, self._new)
        for name in before.keys() - now.keys():
            yield Break(Rule.FIELD_REMOVED, f"{where}/{name}", "the field is gone")
        for name in needs - needed:
            yield Break(Rule.FIELD_REQUIRED, f"{where}/{name}", "must be given now")
        if self._use is not Use.WRITTEN:
            for name in needed - needs & now.keys():
                yield Break(Rule.FIELD_OPTIONAL, f"{where}/{name}", "was always there")
        if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
            yield Break(Rule.FIELD_REMOVED, where, "other fields are refused now")
        for name in before.keys() & now.keys():
            yield from self.part(f"{where}/{name}", before[name], now[name])

    @staticmethod
    def _required(schema: Json, whole: Json) -> set[str]:
        """Fields without which there is no record. One with a default is none of them, though Segue always
        writes it: older records and other writers leave it out.
        """
        fields = schema.get("properties", {})
        return {
            name for name in schema.get("required", ()) if "default" not in _resolved(fields[name], whole)
        }


def variants(schema: Json, whole: Json) -> list[Json]:
    """The alternatives of a schema, resolved, none with alternatives of its own."""
    schema = _resolved(schema, whole)
    inner = schema.get("anyOf") or schema.get("oneOf")
    return [each for one in inner for each in variants(one, whole)] if inner else [schema]


def _likeness(one: Json, other: Json) -> tuple[bool, int]:
    """The alternative to compare with is the one of the same type that shares most words and fields."""
    shared = (one.get("properties", {}).keys() & other.get("properties", {}).keys(), _same_words(one, other))
    return _name(one) == _name(other), sum(map(len, shared))


def _same_words(one: Json, other: Json) -> set[Any]:
    return set(_words(one) or ()) & set(_words(other) or ())


def _resolved(schema: Json, whole: Json) -> Json:
    """What a reference points to, with what stands beside it."""
    if "$ref" not in schema:
        return schema
    target: Json = whole["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return {**_resolved(target, whole), **schema}


def _words(schema: Json) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    words: list[Any] | None = schema.get("enum")
    return words


def _name(schema: Json) -> str:
    return str(schema.get("type", "anything"))


def _load(path: Path) -> Json:
    loaded: Json = json.loads(path.read_text(encoding="utf-8"))
    return loaded


if __name__ == "__main__":
    sys.exit(main())
