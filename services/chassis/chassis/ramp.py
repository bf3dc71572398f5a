"""How many messages a new mailbox sends on a day: few at first, more on each working day, up to its goal."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

MOST_STEPS: Final = 90
"""Working days that a ramp may take: who grows more slowly sets a limit, and raises it."""
SATURDAY: Final = 5
ONE_DAY: Final = timedelta(days=1)


class Grows(Protocol):
    """`start` messages on the first working day from `since` (an ISO date) on, `add_per_day` more on each
    working day after it, never more than `until`.
    """

    @property
    def start(self) -> int: ...
    @property
    def add_per_day(self) -> int: ...
    @property
    def until(self) -> int: ...
    @property
    def since(self) -> str: ...


def limit_on(ramp: Grows, day: date) -> int:
    """The limit of a local day.

    Working days count, Monday to Friday: receivers judge by what they saw, and outreach rests at the weekend,
    so a weekend raises nothing. Days on which nothing was sent count too: a plan can't know them.
    """
    first = _working_day_from(date.fromisoformat(ramp.since))
    return min(ramp.until, ramp.start + ramp.add_per_day * _working_days_after(first, day))


def steps(ramp: Grows, zone: ZoneInfo) -> Iterator[tuple[int, datetime]]:
    """Each limit below `until`, and the instant from which on a higher one holds."""
    day, limit = _working_day_from(date.fromisoformat(ramp.since)), ramp.start
    while limit < ramp.until:
        day = _working_day_from(day + ONE_DAY)
        yield limit, datetime.combine(day, time(), zone)
        limit += ramp.add_per_day


def step_count(start: int, add_per_day: int, until: int) -> int:
    """The working days after the first one until the goal is reached."""
    return max(0, -(-(until - start) // add_per_day))


def _working_day_from(day: date) -> date:
    """`day`, or the Monday after it."""
    return day if day.weekday() < SATURDAY else day + (7 - day.weekday()) * ONE_DAY


def _working_days_after(first: date, day: date) -> int:
    """The working days in (first, day]; `first` is one."""
    if day <= first:
        return 0
    weeks, rest = divmod((day - first).days, 7)
    return 5 * weeks + sum((first + n * ONE_DAY).weekday() < SATURDAY for n in range(1, rest + 1))
