"""The open time of one plan: the allowed local days and their open hours, for stage, sender and phone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from chassis.secrets import plain_phone
from chassis.sms_text import Awake, NumberError, awake, parse_number, zones_of
from chassis.zones import find_zone
from scheduler.calendars import Calendars
from scheduler.local_time import ONE_DAY, ONE_SECOND, day_of, day_start, instant
from scheduler.trail import Closed
from segue_contracts.timing import ALWAYS_OPEN, Windows

FRIDAY = 4
_DAY_NAMES = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


class Span(NamedTuple):
    """The instants `[start, end)`."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class SenderHours:
    """When the sender's mailbox may send: hours (None: always) and days off, in the sender's own zone."""

    zone: ZoneInfo
    windows: Windows | None
    time_off: frozenset[date]

    def spans(self, within: Span) -> list[Span]:
        """The open parts of `within`, in order; parts that touch are one."""
        if self.windows is None and not self.time_off:
            return [within]
        day, last = day_of(self.zone, within.start), day_of(self.zone, within.end)
        open_parts: list[Span] = []
        while day <= last:
            if day not in self.time_off:
                for span in window_spans(self.zone, day, self.windows or ALWAYS_OPEN):
                    _append(open_parts, cut(span, within))
            day += ONE_DAY
        return open_parts


@dataclass(frozen=True)
class TextHours:
    """When a phone gets text messages: the hours of its country, in each zone where it may be."""

    rule: Awake
    zones: tuple[ZoneInfo, ...]

    def spans(self, within: Span) -> list[Span]:
        """The parts of `within` in which it may be texted, in order."""
        found = [within]
        for zone in self.zones:
            found = [part for span in found for part in self._awake(zone, span)]
        return found

    def _awake(self, zone: ZoneInfo, within: Span) -> list[Span]:
        day, last = day_of(zone, within.start), day_of(zone, within.end)
        parts: list[Span] = []
        while day <= last:
            if (hours := self.rule.days[day.weekday()]) is not None:
                begin, end = (instant(zone, day, 60 * at.hour + at.minute) for at in hours)
                _append(parts, cut(Span(begin, end), within))
            day += ONE_DAY
        return parts


@lru_cache(maxsize=10_000)  # each of a person's stages asks
def text_hours(phone: str, zone_name: str | None) -> TextHours | None:
    """The hours of a phone, in its owner's zone, or where that is unknown in all that the number may be in;
    where no hour suits all of them, in the first. None for what is no number: nothing is sent to it.
    """
    try:
        number = parse_number(plain_phone(phone))
    except NumberError:
        return None
    names = (zone_name,) if find_zone(zone_name) else zones_of(number.e164)
    zones = tuple(zone for name in names if (zone := find_zone(name)) is not None)
    hours = TextHours(awake(number.country), zones)
    week = Span(datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC))
    return hours if hours.spans(week) else TextHours(hours.rule, zones[:1])


@dataclass(frozen=True)
class OpenTime:
    """Weekdays, holidays and windows; `closed` and `spans` answer for one local day of `zone` at a time."""

    zone: ZoneInfo
    weekdays: frozenset[int]
    business_only: bool
    skip_holidays: bool
    calendars: Calendars
    windows: Windows
    sender: SenderHours
    texts: TextHours | None = None  # of a text message

    def closed(self, day: date) -> Closed | None:
        """Why the whole day is excluded by weekdays or holidays, or None."""
        weekday = day.weekday()
        if weekday not in self.weekdays:
            return Closed("weekdays", f"not on {_DAY_NAMES[weekday]}")
        if self.business_only and weekday > FRIDAY:
            return Closed("weekdays", f"{_DAY_NAMES[weekday]} are no business days")
        holiday = self.calendars.on(day) if self.skip_holidays else None
        return Closed("holiday", holiday) if holiday else None

    def spans(self, day: date) -> list[Span]:
        """The open time of a day that is not `closed`, in order; never longer than the local day."""
        own = window_spans(self.zone, day, self.windows)
        spans = [span for window in own for span in self.sender.spans(window)]
        return spans if self.texts is None else [part for span in spans for part in self.texts.spans(span)]

    def why_shut(self, at: datetime) -> Closed:
        """Why an instant on an allowed day is outside the open time."""
        own = window_spans(self.zone, day_of(self.zone, at), self.windows)
        if not any(span.start <= at < span.end for span in own):
            return Closed("window", "outside the sending hours")
        instantly = Span(at, at + ONE_SECOND)
        if self.texts is not None and self.sender.spans(instantly) and not self.texts.spans(instantly):
            return Closed("window", "it is night where the phone is: text messages wait")
        if day_of(self.sender.zone, at) in self.sender.time_off:
            return Closed("window", "the sender is off")
        return Closed("window", "outside the sender's own hours")


def window_spans(zone: ZoneInfo, day: date, windows: Windows) -> list[Span]:
    """The windows of one local day as instants; what a clock change swallowed is left out."""
    if windows is ALWAYS_OPEN:
        spans = [Span(day_start(zone, day), day_start(zone, day + ONE_DAY))]
    else:
        spans = [
            Span(instant(zone, day, piece.start), instant(zone, day, piece.end))
            for piece in windows.days[day.weekday()]
        ]
    return [span for span in spans if span.start < span.end]


def cut(span: Span, within: Span) -> Span:
    """The part of `span` inside `within`; its end is not after its start if there is none."""
    return Span(max(span.start, within.start), min(span.end, within.end))


def _append(spans: list[Span], span: Span) -> None:
    if span.start >= span.end:
        return
    if spans and spans[-1].end == span.start:
        spans[-1] = Span(spans[-1].start, span.end)
    else:
        spans.append(span)
