"""The little language of times in a sequence document: delays, dates, times of day, windows.

Documents keep the strings that the author wrote; each `parse_...` here turns one into a small frozen value
and raises `ValueError` with a sentence that says what to write instead.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum
from functools import lru_cache
from typing import Final

DAY_NAMES: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY: Final = 24 * 60
MAX_DELAY_DAYS: Final = 3660
MAX_WINDOWS_PER_DAY: Final = 24
MAX_CALENDARS: Final = 20
TEAM: Final = "team"
PROSPECT: Final = "prospect"
SENDER: Final = "sender"
NONE: Final = "none"

DELAY_PATTERN: Final = r"^[0-9]{1,7} (minutes?|hours?|days?|business days?)$"
AT_PATTERN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9](-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00))?$"
WINDOW_PATTERN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
DATE_PATTERN: Final = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}|[A-Za-z_][A-Za-z0-9_]{0,63}( [+-] [0-9]{1,4} days?)?)$"
DAYS_PATTERN: Final = (
    r"^(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?"
    r"(, ?(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?)*$"
)
ZONE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$"
CALENDAR_PATTERN: Final = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"

_DELAY = re.compile(r"([0-9]{1,7}) +(minute|hour|day|business +day)s?")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PERSONAL = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})(?: *([+-]) *([0-9]{1,4}) +days?)?")
_ZONE = re.compile(ZONE_PATTERN)
_CALENDAR = re.compile(CALENDAR_PATTERN)


class Unit(StrEnum):
    """What a delay counts."""

    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    BUSINESS_DAYS = "business days"


_MAX_AMOUNT = {
    Unit.MINUTES: MAX_DELAY_DAYS * MINUTES_PER_DAY,
    Unit.HOURS: MAX_DELAY_DAYS * 24,
    Unit.DAYS: MAX_DELAY_DAYS,
    Unit.BUSINESS_DAYS: MAX_DELAY_DAYS * 5 // 7,
}


@dataclass(frozen=True)
class Delay:
    """`3 business days`: minutes and hours are elapsed time, days are dates."""

    amount: int
    unit: Unit

    @property
    def elapsed_minutes(self) -> int | None:
        """The delay as elapsed time, or None for days, whose length depends on the calendar."""
        per_unit = {Unit.MINUTES: 1, Unit.HOURS: 60}.get(self.unit)
        return None if per_unit is None else self.amount * per_unit

    def __str__(self) -> str:
        return f"{self.amount} {self.unit[:-1] if self.amount == 1 else self.unit}"


@dataclass(frozen=True)
class AbsoluteDate:
    """`2027-01-15`."""

    day: date


@dataclass(frozen=True)
class PersonalDate:
    """`start_date - 3 days`: a date of the prospect's and a signed number of calendar days."""

    field: str
    days: int


@dataclass(frozen=True)
class TimeOfDay:
    """`10:30`."""

    at: time


@dataclass(frozen=True)
class TimeRange:
    """`[start, end)` in minutes of the local day; `end` may be 1440, the end of the day."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{clock_text(self.start)}-{clock_text(self.end)}"


@dataclass(frozen=True)
class Windows:
    """The open hours of each weekday (0 = Monday): sorted, not touching; none on a closed day."""

    days: tuple[tuple[TimeRange, ...], ...]


ALWAYS_OPEN: Final = Windows(((TimeRange(0, MINUTES_PER_DAY),),) * 7)
EVERY_DAY: Final = frozenset(range(7))


def clock_text(minute: int) -> str:
    """A minute of the day as `HH:MM`; 1440 is `24:00`."""
    return f"{minute // 60:02}:{minute % 60:02}"


@lru_cache(maxsize=4096)
def parse_delay(text: str) -> Delay:
    """`3 days`, `1 business day` ..."""
    match = _DELAY.fullmatch(text)
    if not match:
        raise ValueError(
            'must be a whole number and a unit, such as "3 days": minutes, hours, days or business days'
        )
    unit = Unit(re.sub(" +", " ", match[2]) + "s")
    if int(match[1]) > _MAX_AMOUNT[unit]:
        raise ValueError(f"is too long: at most {_MAX_AMOUNT[unit]} {unit} (ten years)")
    return Delay(int(match[1]), unit)


@lru_cache(maxsize=4096)
def parse_date(text: str) -> AbsoluteDate | PersonalDate:
    """`2027-01-15`, `start_date` or `start_date - 3 days`."""
    if _DATE.fullmatch(text):
        try:
            return AbsoluteDate(date.fromisoformat(text))
        except ValueError:
            raise ValueError(f"{text} is not a day of the calendar") from None
    match = _PERSONAL.fullmatch(text)
    if not match:
        raise ValueError(
            'must be a date such as "2027-01-15", or a date of the prospect\'s such as "start_date - 3 days"'
        )
    days = int(match[3] or 0)
    if days > MAX_DELAY_DAYS:
        raise ValueError(f"is too far: at most {MAX_DELAY_DAYS} days (ten years)")
    return PersonalDate(match[1], -days if match[2] == "-" else days)


def parse_clock(text: str, *, last: bool = False) -> int:
    """`09:30` as a minute of the day; `24:00` only with `last`, as the end of a range."""
    match = _CLOCK.fullmatch(text)
    if match:
        return int(match[1]) * 60 + int(match[2])
    if text == "24:00" and last:
        return MINUTES_PER_DAY
    raise ValueError(
        f'"{text[:20]}" is not a time of day: write hours and minutes with two digits, like "09:30"'
    )


@lru_cache(maxsize=4096)
def parse_range(text: str) -> TimeRange:
    """`09:00-12:00`; the end is exclusive, after the start, and may be `24:00`."""
    start_text, dash, end_text = text.partition("-")
    if not dash:
        raise ValueError(f'"{text[:20]}" is not a range of times: write it like "09:00-12:00"')
    start, end = parse_clock(start_text.strip()), parse_clock(end_text.strip(), last=True)
    if end <= start:
        raise ValueError(
            f"{text[:20]} ends before it begins: the end must be later than the start "
            "(over midnight, write one until 24:00 and, for the next day, one from 00:00)"
        )
    return TimeRange(start, end)


@lru_cache(maxsize=4096)
def parse_at(text: str) -> TimeOfDay | TimeRange:
    """`10:30`, or the range `09:00-11:00`."""
    if "-" in text:
        return parse_range(text)
    minute = parse_clock(text)
    return TimeOfDay(time(minute // 60, minute % 60))


def parse_days(entries: Iterable[str]) -> frozenset[int]:
    """`["mon-wed", "fri"]` as weekday numbers (0 = Monday); ranges may wrap; no day twice, at least one."""
    days: set[int] = set()
    for part in (part.strip() for entry in entries for part in entry.split(",")):
        named = _days_of(part)
        if days & named:
            raise ValueError(f"names {DAY_NAMES[min(days & named)]} twice: name each day once")
        days |= named
    if not days:
        raise ValueError("names no day: leave it out to use every day")
    return frozenset(days)


def parse_windows(windows: Mapping[str, Iterable[str]]) -> Windows:
    """`{"mon-fri": ["09:00-12:00", "13:00-17:30"]}`; a day not named is closed.

    Ranges of a day that touch or overlap become one. A day named by two entries, and an entry (or the whole)
    without any range, raise `ValueError`.
    """
    days: dict[int, tuple[TimeRange, ...]] = {}
    for key, ranges in windows.items():
        merged = _merge(parse_range(text) for text in ranges)
        if not merged:
            raise ValueError(f"{key} has no hours: leave the day out to keep it closed")
        for day in parse_days([key]):
            if day in days:
                raise ValueError(f"two entries name {DAY_NAMES[day]}: put all its hours into one")
            days[day] = merged
    if not days:
        raise ValueError('is empty: name the open hours, like {mon-fri: ["09:00-17:00"]}, or leave it out')
    return Windows(tuple(days.get(day, ()) for day in range(7)))


def check_zone(value: str) -> str:
    """The shape of an IANA zone name; whether it exists is known only where the zone database is."""
    if not _ZONE.fullmatch(value):
        raise ValueError("must be a time zone such as Europe/Berlin")
    return value


def check_calendar(value: str) -> str:
    """`DE`, `US-CA`, `team`, or the calendar of the `prospect` or the `sender`."""
    if value not in (TEAM, PROSPECT, SENDER) and not _CALENDAR.fullmatch(value):
        raise ValueError(
            f'"{value[:20]}" is no calendar: write a country such as DE, a part of one such as US-CA, or team'
        )
    return value


def _days_of(part: str) -> set[int]:
    first, dash, last = (piece.strip() for piece in part.partition("-"))
    if first not in DAY_NAMES or (dash and last not in DAY_NAMES):
        raise ValueError(f'"{part[:20]}" is no day: write {", ".join(DAY_NAMES)}, or a range like tue-thu')
    start = DAY_NAMES.index(first)
    if not dash:
        return {start}
    if first == last:
        raise ValueError(f"{part} is ambiguous: write {first}, or mon-sun for the whole week")
    length = (DAY_NAMES.index(last) - start) % 7 + 1
    return {(start + step) % 7 for step in range(length)}


def _merge(ranges: Iterable[TimeRange]) -> tuple[TimeRange, ...]:
    merged: list[TimeRange] = []
    for piece in sorted(ranges, key=lambda piece: (piece.start, piece.end)):
        if merged and piece.start <= merged[-1].end:
            merged[-1] = TimeRange(merged[-1].start, max(merged[-1].end, piece.end))
        else:
            merged.append(piece)
    return tuple(merged)
