"""Reads one YAML 1.2 document of the core schema as plain JSON data: dates stay text.

Built on the parser's events, so that depth costs no recursion and an alias can't multiply a small file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_DEPTH = 50

# YAML 1.2.2, section 10.3.2.
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL = re.compile(r"0o[0-7]{1,20}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"(?=.*[.eE])[-+]?(\.[0-9]{1,100}|[0-9]{1,100}(\.[0-9]{0,100})?)([eE][-+]?[0-9]{1,3})?")


class YamlProblem(ValueError):
    """Text that is not YAML, or more than the core schema; the sentence names line and column."""

    def __init__(self, what: str, mark: Any = None) -> None:
        super().__init__(f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet; `key` waits for its value."""

    value: dict[Any, Any] | list[Any]
    key: Any = None
    has_key: bool = False


@dataclass(slots=True)
class _Builder:
    root: Any = None
    documents: int = 0
    stack: list[_Open] = field(default_factory=list)

    def take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self._start_document(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent | ScalarEvent | AliasEvent):
            self._take_node(event)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self.stack.pop()

    def _start_document(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            raise YamlProblem("one document is expected, and here begins a second one", event.start_mark)
        if event.version is not None and tuple(event.version) != (1, 2):
            raise YamlProblem("this is YAML 1.2; write no other version", event.start_mark)

    def _take_node(self, event: Any) -> None:
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise YamlProblem("anchors and aliases are not read here: write the value out", event.start_mark)
        if event.tag not in (None, "!"):
            raise YamlProblem(f"the tag {event.tag} is not read here", event.start_mark)
        if isinstance(event, ScalarEvent):
            self._put(_scalar(event), event)
            return
        opened = _Open({} if isinstance(event, MappingStartEvent) else [])
        self._put(opened.value, event)
        self.stack.append(opened)
        if len(self.stack) > MAX_DEPTH:
            raise YamlProblem(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)

    def _put(self, value: Any, event: Event) -> None:
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.has_key:
            top.value[top.key] = value
            top.has_key = False
        else:
            self._put_key(top, top.value, value, event)

    def _put_key(self, top: _Open, mapping: dict[Any, Any], key: Any, event: Event) -> None:
        if not isinstance(key, str):
            raise YamlProblem("a name that is not text: write it in quotes", event.start_mark)
        if key in mapping:
            raise YamlProblem(f"{key!r} is here for the second time", event.start_mark)
        top.key, top.has_key = key, True


def load(text: str) -> Any:
    """The data of the document; YamlProblem says where it is wrong."""
    builder = _Builder()
    for event in _events(text):
        builder.take(event)
    return builder.root


def _events(text: str) -> Iterator[Event]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        what = str(error.problem or error.context or "can't be read").splitlines()[0]
        raise YamlProblem(what, error.problem_mark or error.context_mark) from None
    except YAMLError as error:
        raise YamlProblem(str(error).splitlines()[0]) from None
    except (ValueError, OverflowError) as error:  # the scanner's own, for escapes such as "\UFFFFFFFF"
        raise YamlProblem(f"can't be read ({error})") from None


def _scalar(event: ScalarEvent) -> Any:
    text: str = event.value
    if event.style is not None or event.tag == "!":
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    return _number(text)


def _number(text: str) -> int | float | str:
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
