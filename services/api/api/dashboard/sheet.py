"""The sequence document as a form: every field as simple text, and back without losing a word.

A field whose text nobody changed keeps its value exactly as it was written, and what the form has no field
for stays as it was: both come from `kept`, the version that the form was opened with.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument, Stage, Variant
from segue_contracts.timing import NONE, PROSPECT, SENDER

Data = Mapping[str, Any]

_HOURS = re.compile(r"^(.*?)\s+(\d.*)$")
_STAGE_FIELD = re.compile(r"^stages\.(\d{1,4})\.([a-z_.]+)$")
_VARIANT_FIELD = re.compile(r"^stages\.(\d{1,4})\.variants\.(\d{1,2})\.([a-z_]+)$")
_POINTER_STAGE = re.compile(r"^/stages/(\d{1,4})(?:/|$)")
_POINTER_VARIANT = re.compile(r"^/variants/(\d{1,2})(?:/|$)")
MAX_FORM_STAGES: Final = 200
MAX_FORM_VARIANTS: Final = 20
"""More than a document may have, so that it is the contract that refuses too many."""
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Box:
    """One field: where its value stands, how the value is written as text, and what a text means."""

    path: tuple[str, ...]
    write: Callable[[Any], str] = str
    read: Callable[[str], Any] = str.strip
    blank: str = ""
    """The text of a value that is not there."""

    @property
    def name(self) -> str:
        """The field's name in the form."""
        return ".".join(self.path)

    def text(self, data: Data) -> str:
        """What the field shows of a document, or of a stage."""
        value = _at(data, self.path)
        return self.blank if value is None else self.write(value)


# ---- texts --------------------------------------------------------------------------------------------


def lines_of(text: str) -> str:
    """With the line ends of documents: browsers send CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_list(value: Any) -> str:
    """`a, b`."""
    return value if isinstance(value, str) else ", ".join(map(str, value))


def read_list(text: str) -> list[str]:
    """The words between commas."""
    return [word for word in map(str.strip, text.split(",")) if word]


def write_lines(value: Any) -> str:
    """One a line."""
    return value if isinstance(value, str) else "\n".join(map(str, value))


def read_one_or_many(text: str) -> str | list[str]:
    """One line is a text, more are a list."""
    words = [word for word in map(str.strip, re.split("[\n,]", text)) if word]
    return words[0] if len(words) == 1 else words


def read_lines(text: str) -> list[str]:
    """The lines that hold something."""
    return [line for line in map(str.strip, text.split("\n")) if line]


def write_windows(value: Mapping[str, Iterable[str]]) -> str:
    """`mon-fri 09:00-12:00, 13:00-17:30`, a line for each entry."""
    return "\n".join(f"{days} {', '.join(hours)}" for days, hours in value.items())


def read_windows(text: str) -> dict[str, list[str]]:
    """Days to hours; days without hours get none, for the contract to say what is missing."""
    windows: dict[str, list[str]] = {}
    for line in read_lines(text):
        found = _HOURS.match(line)
        days, hours = (found[1], read_list(found[2])) if found else (line, [])
        windows.setdefault(days.rstrip(": "), []).extend(hours)
    return windows


def write_tokens(value: Mapping[str, str]) -> str:
    """`name: value`, a line for each; what goes on in the next line begins with two blanks."""
    return "\n".join(f"{name}: " + lines_of(text).replace("\n", "\n  ") for name, text in value.items())


def read_tokens(text: str) -> dict[str, str]:
    """Names to values."""
    tokens: dict[str, str] = {}
    name = ""
    for line in text.split("\n"):
        if line.startswith("  ") and name:
            tokens[name] += "\n" + line[2:]
        elif line.strip():
            name, _, value = line.partition(":")
            name = name.strip()
            tokens[name] = value.removeprefix(" ")
    return tokens


def read_calendars(text: str) -> str | list[str]:
    """`prospect`, `sender`, `none`, or a list of calendars."""
    word = text.strip()
    return word if word in (PROSPECT, SENDER, NONE) else read_list(word)


def read_number(text: str) -> int | str:
    """A whole number; anything else is left for the contract to refuse."""
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 9 else word


def write_tick(value: Any) -> str:
    """A ticked box says so."""
    return "on" if value else ""


def read_tick(text: str) -> bool:
    """Only a ticked box is sent."""
    return bool(text)


# ---- fields -------------------------------------------------------------------------------------------

_TIMING: Final = (
    Box(("zone",)),
    Box(("fallback_zone",)),
    Box(("windows",), write_windows, read_windows),
    Box(("holidays", "of"), write_list, read_calendars),
    Box(("holidays", "plain_days")),
    Box(("catch_up",)),
)
_DOCUMENT: Final = (
    Box(("name",)),
    Box(("tags",), write_list, read_list),
    Box(("access",), blank="personal"),
    Box(("mailbox",), write_lines, read_one_or_many),
    Box(("on_behalf_of",)),
    Box(("tokens",), write_tokens, read_tokens),
    *(Box(("timing", *box.path), box.write, box.read) for box in _TIMING),
    Box(("limits", "new_people_per_day"), read=read_number),
    Box(("limits", "already_in_a_sequence")),
    Box(("stop", "on_reply")),
    Box(("stop", "on_bounce")),
    Box(("stop", "on_manual_mail")),
    Box(("tracking", "opens"), write_tick, read_tick),
    Box(("tracking", "clicks"), write_tick, read_tick),
)
_STAGE: Final = (
    Box(("id",)),
    Box(("channel",)),
    Box(("after",)),
    Box(("date",)),
    Box(("at",)),
    Box(("weekdays",), write_list),
    Box(("thread",)),
    Box(("subject",), read=str),
    Box(("text",), read=str),
    Box(("html",), read=str),
    Box(("attachments",), write_lines, read_lines),
    Box(("bcc",), write_list, read_one_or_many),
    Box(("reply_to",)),
    Box(("overdue", "after")),
    Box(("overdue", "do")),
    Box(("winner", "by")),
    Box(("winner", "after")),
    *_TIMING,
)
_VARIANT: Final = (
    Box(("id",)),
    Box(("weight",), read=read_number),
    Box(("subject",), read=str),
    Box(("text",), read=str),
    Box(("html",), read=str),
)


def _known_to(model: type[BaseModel], boxes: Iterable[Box]) -> tuple[Box, ...]:
    return tuple(box for box in boxes if box.path[0] in model.model_fields)


DOCUMENT_BOXES: Final = _known_to(SequenceDocument, _DOCUMENT)
STAGE_BOXES: Final = _known_to(Stage, _STAGE)
VARIANT_BOXES: Final = _known_to(Variant, _VARIANT)
WHEN_KIND, WHEN_WHAT = "when.kind", "when.what"
OTHER: Final = "other"
WHENS: Final[Mapping[str, str]] = {
    "": "always",
    "has": "only if they have",
    "lacks": "only if they don't have",
    "opened": "only if they opened",
    "clicked": "only if they clicked in",
    OTHER: "as it was written",
}
"""The conditions that the form can build; others stay as they are."""


def when_text(when: Any) -> tuple[str, str]:
    """The kind of a condition and what it is about."""
    if not when:
        return "", ""
    for kind in ("has", "opened", "clicked"):
        if list(when) == [kind]:
            return kind, str(when[kind])
    inner = when.get("not")
    if list(when) == ["not"] and isinstance(inner, Mapping) and list(inner) == ["has"]:
        return "lacks", str(inner["has"])
    return OTHER, ""


def read_when(kind: str, what: str, kept: Any) -> Any:
    """The condition that was chosen; None for none."""
    if kind == OTHER or (kind, what) == when_text(kept):
        return kept
    named = what.strip()
    return {"": None, "lacks": {"not": {"has": named}}}.get(kind, {kind: named})


# ---- the form -----------------------------------------------------------------------------------------


@dataclass
class VariantSheet:
    """One variant's fields. `origin`: its id in the version that the form was opened with."""

    fields: dict[str, str]
    origin: str = ""
    is_removed: bool = False

    @classmethod
    def of(cls, variant: Data) -> "VariantSheet":
        """A variant as text."""
        return cls({box.name: box.text(variant) for box in VARIANT_BOXES}, str(variant.get("id", "")))


@dataclass
class StageSheet:
    """One stage's fields. `origin`: its id in the version that the form was opened with."""

    fields: dict[str, str]
    origin: str = ""
    is_open: bool = False
    is_removed: bool = False
    variants: list[VariantSheet] = field(default_factory=list)

    @classmethod
    def of(cls, stage: Data) -> "StageSheet":
        """A stage as text."""
        fields = {box.name: box.text(stage) for box in STAGE_BOXES}
        fields[WHEN_KIND], fields[WHEN_WHAT] = when_text(stage.get("when"))
        variants = [VariantSheet.of(each) for each in stage.get("variants") or ()]
        return cls(fields, str(stage.get("id", "")), variants=variants)

    def present(self) -> list[VariantSheet]:
        """The variants that are not removed."""
        return [variant for variant in self.variants if not variant.is_removed]

    def add_variant(self) -> None:
        """One more at the end; the first one brings along the stage's own words as the other one."""
        for _ in range(1 if self.present() else 2):
            taken = {variant.fields["id"] for variant in self.variants}
            name = next(letter for letter in _LETTERS if letter not in taken)
            self.variants.append(VariantSheet(VariantSheet.of({"id": name}).fields))

    def data(self, kept: Data) -> dict[str, Any]:
        """The stage, over what it was."""
        stage = _filled(STAGE_BOXES, self.fields, kept)
        self._put_variants(stage, kept)
        when = read_when(self.fields.get(WHEN_KIND, ""), self.fields.get(WHEN_WHAT, ""), kept.get("when"))
        if when is not None:
            stage["when"] = when
        elif kept.get("when") is not None:
            del stage["when"]
        return stage

    def _put_variants(self, stage: dict[str, Any], kept: Data) -> None:
        was = {variant["id"]: variant for variant in kept.get("variants") or ()}
        present = self.present()
        if present:
            stage["variants"] = [
                _filled(VARIANT_BOXES, each.fields, was.get(each.origin, {})) for each in present
            ]
        elif was:
            del stage["variants"]
        if stage.get("winner") is not None and not (present and self.fields.get("winner.by")):
            del stage["winner"]


@dataclass
class Sheet:
    """The whole form; a removed stage stays in it until it is saved, so that it can be taken back."""

    fields: dict[str, str]
    stages: list[StageSheet] = field(default_factory=list)

    @classmethod
    def of(cls, document: Data) -> "Sheet":
        """A document as text."""
        fields = {box.name: box.text(document) for box in DOCUMENT_BOXES}
        return cls(fields, [StageSheet.of(stage) for stage in document.get("stages", ())])

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]]) -> "Sheet":
        """What was posted; fields of other names are passed over."""
        names = {box.name for box in DOCUMENT_BOXES}
        sheet = cls(dict.fromkeys(names, ""))
        stages: dict[int, dict[str, str]] = {}
        variants: dict[int, dict[int, dict[str, str]]] = {}
        for name, value in pairs:
            text = lines_of(value)
            if found := _STAGE_FIELD.match(name):
                _add(stages.setdefault(int(found[1]), {}), found[2], text)
            elif found := _VARIANT_FIELD.match(name):
                of_stage = variants.setdefault(int(found[1]), {})
                _add(of_stage.setdefault(int(found[2]), {}), found[3], text)
            elif name in names:
                _add(sheet.fields, name, text)
        sheet.stages = [
            _posted(fields, variants.get(place, {}))
            for place, fields in sorted(stages.items())[:MAX_FORM_STAGES]
        ]
        return sheet

    def data(self, kept: Data) -> dict[str, Any]:
        """The document, over the version that the form was opened with."""
        document = _filled(DOCUMENT_BOXES, self.fields, kept)
        was = {stage["id"]: stage for stage in kept.get("stages", ())}
        document["stages"] = [stage.data(was.get(stage.origin, {})) for stage in self.present()]
        return document

    def present(self) -> list[StageSheet]:
        """The stages that are not removed."""
        return [stage for stage in self.stages if not stage.is_removed]

    def place(self, index: int) -> int:
        """Where in the form the document's stage stands."""
        return [place for place, stage in enumerate(self.stages) if not stage.is_removed][index]

    # ---- buttons --------------------------------------------------------------------------------------

    def add(self, channel: str) -> None:
        """A stage at the end."""
        first = not self.present()
        fields = StageSheet.of({"id": self._free_id(channel), "channel": channel}).fields
        fields["after"] = "0 minutes" if first else "3 business days"
        self.stages.append(StageSheet(fields, is_open=True))

    def move(self, place: int, step: int) -> None:
        """A stage up or down, over removed ones too."""
        target = place + step
        while 0 <= target < len(self.stages) and self.stages[target].is_removed:
            target += step
        if 0 <= place < len(self.stages) and 0 <= target < len(self.stages):
            self.stages.insert(target, self.stages.pop(place))

    def duplicate(self, place: int) -> None:
        """A stage once more, behind itself, under an id of its own."""
        if not 0 <= place < len(self.stages):
            return
        stage = self.stages[place]
        fields = {**stage.fields, "id": self._free_id(stage.fields.get("channel", ""))}
        copied = StageSheet(fields, stage.origin, is_open=True, variants=deepcopy(stage.variants))
        self.stages.insert(place + 1, copied)

    def remove(self, place: int, is_removed: bool = True) -> None:
        """Mark a stage as removed, or take that back."""
        if 0 <= place < len(self.stages):
            self.stages[place].is_removed = is_removed

    def _free_id(self, channel: str) -> str:
        word = channel.replace("_", "-") if channel in set(Channel) else "stage"
        taken = {stage.fields.get("id") for stage in self.stages}
        return next(f"{word}-{n}" for n in range(1, len(taken) + 2) if f"{word}-{n}" not in taken)


def _add(fields: dict[str, str], name: str, text: str) -> None:
    """Ticked boxes of one name come one by one."""
    fields[name] = f"{fields[name]}\n{text}" if fields.get(name) else text


def _posted(fields: dict[str, str], variants: Mapping[int, dict[str, str]]) -> StageSheet:
    known = {*(box.name for box in STAGE_BOXES), WHEN_KIND, WHEN_WHAT}
    return StageSheet(
        {name: fields.get(name, "") for name in known},
        fields.get("origin", ""),
        bool(fields.get("open")),
        bool(fields.get("removed")),
        [_posted_variant(each) for _, each in sorted(variants.items())[:MAX_FORM_VARIANTS]],
    )


def _posted_variant(fields: dict[str, str]) -> VariantSheet:
    shown = {box.name: fields.get(box.name, "") for box in VARIANT_BOXES}
    return VariantSheet(shown, fields.get("origin", ""), bool(fields.get("removed")))


def _filled(boxes: Sequence[Box], texts: Mapping[str, str], kept: Data) -> dict[str, Any]:
    """What was kept, with the fields whose text changed."""
    data: dict[str, Any] = deepcopy(dict(kept))
    for box in boxes:
        text = texts.get(box.name, "")
        if text == lines_of(box.text(kept)):
            continue
        if text.strip():
            _set(data, box.path, box.read(text))
        else:
            _remove(data, box.path)
    return data


def _at(data: Data, path: Sequence[str]) -> Any:
    value: Any = data
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _set(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        inner = data.get(name)
        data[name] = inner if isinstance(inner, dict) else {}
        data = data[name]
    data[path[-1]] = value


def _remove(data: dict[str, Any], path: Sequence[str]) -> None:
    if len(path) == 1:
        data.pop(path[0], None)
        return
    if isinstance(inner := data.get(path[0]), dict):
        _remove(inner, path[1:])
    if not inner:
        data.pop(path[0], None)


# ---- what is wrong with it ----------------------------------------------------------------------------


def field_of(pointer: str, sheet: Sheet) -> str:
    """The field that a JSON pointer into the document is about; empty where the form has none."""
    found = _POINTER_STAGE.match(pointer)
    if found is None:
        return _nearest(pointer, {box.name for box in DOCUMENT_BOXES})
    if int(found[1]) >= len(sheet.present()):
        return ""
    here = f"stages.{sheet.place(int(found[1]))}"
    below = pointer[found.end(1) :]
    if below.startswith("/when"):
        return f"{here}.{WHEN_KIND}"
    if below.startswith("/variants"):
        return f"{here}.{_variant_field(below, sheet.stages[sheet.place(int(found[1]))])}"
    name = _nearest(below, {box.name for box in STAGE_BOXES})
    return f"{here}.{name}" if name else here


def _variant_field(below: str, stage: StageSheet) -> str:
    found = _POINTER_VARIANT.match(below)
    places = [place for place, variant in enumerate(stage.variants) if not variant.is_removed]
    if found is None or int(found[1]) >= len(places):
        return "variants"
    name = _nearest(below[found.end(1) :], {box.name for box in VARIANT_BOXES})
    return f"variants.{places[int(found[1])]}.{name or 'id'}"


def _nearest(pointer: str, names: Iterable[str]) -> str:
    dotted = pointer.lstrip("/").replace("/", ".")
    fitting = [name for name in names if dotted == name or dotted.startswith(name + ".")]
    inside = sorted(name for name in names if dotted and name.startswith(dotted + "."))
    return max(fitting, key=len, default=inside[0] if inside else "")
