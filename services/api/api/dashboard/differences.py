"""What changed between two versions of a sequence: field by field, stage by stage; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any, Final, Literal

from api.dashboard.sheet import DOCUMENT_BOXES, STAGE_BOXES, VARIANT_BOXES, Box, when_text

Data = Mapping[str, Any]
What = Literal["same", "removed", "added"]
LONG: Final = ("text", "html", "subject", "tokens", "windows", "timing.windows")
"""Fields that are compared line by line."""
NAMES: Final[Mapping[str, str]] = {
    "when": "condition",
    "id": "name of the stage",
    "on_behalf_of": "on behalf of",
    "bcc": "copies to",
}
_CONTEXT_LINES: Final = 1


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a text, and whether it is in both, only before, or only now."""

    what: What
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """A field that changed; `lines` for a text, else `before` and `after`, empty for what was not there."""

    field: str
    before: str = ""
    after: str = ""
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class StageChange:
    """What became of one stage. `place`: its number now, before for one that was removed."""

    stage_id: str
    what: Literal["added", "removed", "moved", "changed"]
    place: int
    channel: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that changed."""

    changes: tuple[Change, ...]
    stages: tuple[StageChange, ...]

    def __bool__(self) -> bool:
        return bool(self.changes or self.stages)


def difference(before: Data, after: Data) -> Difference:
    """What makes `after` of `before`; the same in other words (a list of one, a default) is no change."""
    return Difference(
        tuple(_changes(DOCUMENT_BOXES, before, after)),
        tuple(_stages(before.get("stages", ()), after.get("stages", ()))),
    )


def _changes(boxes: Sequence[Box], before: Data, after: Data) -> Iterator[Change]:
    for box in boxes:
        was, now = box.text(before), box.text(after)
        if was == now:
            continue
        name = NAMES.get(box.name, box.name.replace(".", ", ").replace("_", " "))
        yield Change(name, lines=lines(was, now)) if box.name in LONG else Change(name, was, now)


def _stages(before: Sequence[Data], after: Sequence[Data]) -> Iterator[StageChange]:
    was = {stage["id"]: stage for stage in before}
    ids_now = [stage["id"] for stage in after]
    moved = _moved([each for each in was if each in ids_now], [each for each in ids_now if each in was])
    for place, stage in enumerate(after, 1):
        stage_id, channel = stage["id"], stage["channel"]
        if stage_id not in was:
            bare = {"id": stage_id, "channel": channel}
            changes = (*_changes(STAGE_BOXES, bare, stage), *_variants(bare, stage))
            yield StageChange(stage_id, "added", place, channel, changes)
            continue
        before_it = was[stage_id]
        changes = (
            *_changes(STAGE_BOXES, before_it, stage),
            *_variants(before_it, stage),
            *_condition(before_it, stage),
        )
        if changes or stage_id in moved:
            what: Literal["moved", "changed"] = "moved" if stage_id in moved else "changed"
            yield StageChange(stage_id, what, place, channel, changes)
    for place, stage in enumerate(before, 1):
        if stage["id"] not in ids_now:
            yield StageChange(stage["id"], "removed", place, stage["channel"])


def _variants(before: Data, after: Data) -> Iterator[Change]:
    was, now = ({each["id"]: each for each in stage.get("variants") or ()} for stage in (before, after))
    names = ", ".join(was), ", ".join(now)
    if set(was) != set(now):
        yield Change("variants", *names)
    for name in dict.fromkeys([*was, *now]):
        same_name = {"id": name}  # what came or went as a whole is told above
        for change in _changes(VARIANT_BOXES, was.get(name, same_name), now.get(name, same_name)):
            yield replace(change, field=f"variant {name}, {change.field}")


def _moved(before: Sequence[str], after: Sequence[str]) -> set[str]:
    """The fewest stages whose moving makes the one order of the other."""
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    stayed = {after[block.b + step] for block in blocks for step in range(block.size)}
    return set(after) - stayed


def _condition(before: Data, after: Data) -> Iterator[Change]:
    was, now = before.get("when"), after.get("when")
    if was != now:
        yield Change(NAMES["when"], condition_text(was), condition_text(now))


def condition_text(when: Any) -> str:
    """A condition in words: `has phone and not (opened hello)`."""
    if not when:
        return ""
    kind, what = when_text(when)
    if what:
        return f"{'has no' if kind == 'lacks' else kind} {what}"
    for name, word in (("all", " and "), ("any", " or ")):
        if name in when:
            return word.join(f"({condition_text(each)})" for each in when[name])
    return f"not ({condition_text(when['not'])})" if "not" in when else str(when)


def lines(before: str, after: str) -> tuple[Line, ...]:
    """The lines that changed, each with the line before and after it."""
    was, now = before.split("\n") if before else [], after.split("\n") if after else []
    found: list[Line] = []
    for group in SequenceMatcher(None, was, now, autojunk=False).get_grouped_opcodes(_CONTEXT_LINES):
        if found:
            found.append(Line("same", "…"))
        for code, i1, i2, j1, j2 in group:
            if code == "equal":
                found += [Line("same", line) for line in was[i1:i2]]
                continue
            found += [Line("removed", line) for line in was[i1:i2]]
            found += [Line("added", line) for line in now[j1:j2]]
    return tuple(found)
