"""The way to a due time as a chain of reasons that a recruiter can read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

MAX_DETAILS: Final = 3

Rule = Literal["zone", "after", "date", "at", "weekdays", "holiday", "window", "clock_change", "cap"]


@dataclass(frozen=True)
class Reason:
    """One step: `rule` moved the due time from `start` to `to` (equal: a remark); `detail` is for people."""

    rule: Rule
    start: datetime
    to: datetime
    detail: str

    def as_data(self) -> dict[str, str]:
        """As documents and `explain` show it."""
        return {
            "rule": self.rule,
            "from": utc_text(self.start),
            "to": utc_text(self.to),
            "detail": self.detail,
        }


def utc_text(at: datetime) -> str:
    """RFC 3339 with `Z`, whole seconds, of an instant in UTC."""
    return at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


class Closed(NamedTuple):
    """Why a day, or what is left of it, can't be used."""

    rule: Rule
    detail: str


class Trail:
    """Collects reasons; each starts where the one before ended."""

    def __init__(self, start: datetime) -> None:
        self.here = start
        self._steps: list[tuple[Rule, datetime, datetime, list[str]]] = []
        self._mergeable = False

    def step(self, rule: Rule, to: datetime, detail: str) -> None:
        """A step of its own; `to == here` makes it a remark."""
        self._steps.append((rule, self.here, to, [detail]))
        self.here = to
        self._mergeable = False

    def move(self, why: Closed, to: datetime) -> None:
        """A step over closed time; it continues the step before if that is a move by the same rule."""
        if not (self._mergeable and self._steps[-1][0] == why.rule):
            self._steps.append((why.rule, self.here, to, [why.detail]))
        else:
            _, start, _, details = self._steps[-1]
            if why.detail not in details:
                details.append(why.detail)
            self._steps[-1] = (why.rule, start, to, details)
        self.here = to
        self._mergeable = True

    def reasons(self) -> list[Reason]:
        """The chain up to now."""
        return [Reason(rule, start, to, say_some(details)) for rule, start, to, details in self._steps]


def say_some(details: list[str]) -> str:
    """The first few of a list of details, and how many more there are."""
    more = len(details) - MAX_DETAILS
    return "; ".join(details[:MAX_DETAILS]) + (f"; and {more} more" if more > 0 else "")
