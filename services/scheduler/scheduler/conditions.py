"""Whether a stage's `when` is true, as far as that can be known before the stage comes due."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from chassis.tracking import Kind
from scheduler.model import Document
from segue_contracts.prospect import Prospect
from segue_contracts.sequence import Condition

Engaged = AbstractSet[tuple[str, str]]
"""What people did with the messages of one enrollment: (kind, stage id)."""


def holds(condition: Condition, prospect: Document, engaged: Engaged | None) -> bool | None:
    """None: it depends on opens or clicks, and they are not known (`engaged` is None)."""
    if condition.has is not None:
        return _has(prospect, condition.has)
    if condition.not_ is not None:
        return _negated(holds(condition.not_, prospect, engaged))
    if condition.all is not None:
        return _all(holds(each, prospect, engaged) for each in condition.all)
    if condition.any is not None:
        none_of = _all(_negated(holds(each, prospect, engaged)) for each in condition.any)
        return _negated(none_of)
    return None if engaged is None else _is_engaged(condition, engaged)


def stages_asked_about(condition: Condition | None) -> set[str]:
    """The stages whose opens or clicks decide."""
    parts = condition.walk() if condition is not None else ()
    return {stage for part in parts if (stage := part.opened or part.clicked) is not None}


def _has(prospect: Document, name: str) -> bool:
    value = prospect.get(name) if name in Prospect.model_fields else None
    return bool(value or any((prospect.get(kind) or {}).get(name) for kind in ("tokens", "dates")))


def _is_engaged(condition: Condition, engaged: Engaged) -> bool:
    """Who clicked has opened it, also where the images were not loaded."""
    if condition.clicked is not None:
        return (Kind.CLICKED, condition.clicked) in engaged
    return any((kind, condition.opened) in engaged for kind in Kind)


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _all(values: Iterable[bool | None]) -> bool | None:
    """False as soon as one is false, whatever the unknown ones are."""
    found = set(values)
    if False in found:
        return False
    return None if None in found else True
