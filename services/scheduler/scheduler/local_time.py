"""Turns local times into instants, through gaps and hours that come twice."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

ONE_SECOND: Final = timedelta(seconds=1)
ONE_DAY: Final = timedelta(days=1)
MIDNIGHT: Final = time(0, 0)
MINUTES_PER_DAY: Final = 24 * 60

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Moment(NamedTuple):
    """The instant of a local time, and what the clocks did to it: `gap` (it never was), `twice` or None."""

    at: datetime
    change: Literal["gap", "twice"] | None


def moment(zone: ZoneInfo, local: datetime) -> Moment:
    """The first instant (UTC) at which clocks in `zone` show `local` (naive) or more.

    So a time in a gap is the first valid instant after it, and one that exists twice its first occurrence.
    """
    before = _offset(local.replace(tzinfo=zone, fold=0))
    after = _offset(local.replace(tzinfo=zone, fold=1))
    here = local.replace(tzinfo=UTC)
    if before == after:
        return Moment(here - before, None)
    if before > after:
        return Moment(here - before, "twice")
    return Moment(_end_of_gap(zone, here, here - after, here - before), "gap")


def instant(zone: ZoneInfo, day: date, minute: int) -> datetime:
    """The instant of a minute of a local day; 1440 is the start of the next day."""
    return moment(zone, local_time(day, minute)).at


def local_time(day: date, minute: int) -> datetime:
    """The naive local time of a minute of a day; 1440 is the start of the next day."""
    if minute == MINUTES_PER_DAY:
        return datetime.combine(day + ONE_DAY, MIDNIGHT)
    return datetime.combine(day, time(minute // 60, minute % 60))


@lru_cache(maxsize=10_000)  # a burst plans thousands of people into the same few days
def day_start(zone: ZoneInfo, day: date) -> datetime:
    """The instant at which a local day begins."""
    return moment(zone, datetime.combine(day, MIDNIGHT)).at


def day_of(zone: ZoneInfo, at: datetime) -> date:
    """The local day `[start, next start)` in which an instant lies.

    It differs from the clock's date only where clocks go back over midnight: the hour that is shown again
    belongs to the day that has begun.
    """
    day = at.astimezone(zone).date()
    return day + ONE_DAY if at >= day_start(zone, day + ONE_DAY) else day


def whole_second_up(at: datetime) -> datetime:
    """The instant in UTC, fractions rounded up; raises `ValueError` for a naive datetime."""
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    at = at.astimezone(UTC)
    return at if at.microsecond == 0 else at.replace(microsecond=0) + ONE_SECOND


def say_day(day: date) -> str:
    """`Thu 24 Dec 2026`."""
    return f"{_WEEKDAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]} {day.year}"


def say_time(at: datetime, zone: tzinfo) -> str:
    """`Thu 24 Dec 2026 09:00`, with seconds only where there are some."""
    local = at.astimezone(zone)
    return f"{say_day(local.date())} {local.strftime('%H:%M:%S' if local.second else '%H:%M')}"


def _offset(local: datetime) -> timedelta:
    offset = local.utcoffset()
    assert offset is not None
    return offset


def _end_of_gap(zone: ZoneInfo, local: datetime, low: datetime, high: datetime) -> datetime:
    """The first instant in (low, high] whose clock shows `local` or more; clocks only jump forward there."""
    while high - low > ONE_SECOND:
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if middle + _offset(middle.astimezone(zone)) >= local:
            high = middle
        else:
            low = middle
    return high
