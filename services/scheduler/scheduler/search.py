"""Finds the acceptable instants of a stage in the order in which they are preferred, day by day."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from scheduler.local_time import (
    ONE_DAY,
    ONE_SECOND,
    Moment,
    day_of,
    day_start,
    local_time,
    moment,
    say_day,
)
from scheduler.open_time import OpenTime, Span, cut
from scheduler.trail import Closed, Trail
from segue_contracts.timing import TimeOfDay, TimeRange, clock_text

SEARCH_DAYS: Final = 400
SINGLE_TIME_SLACK: Final = timedelta(minutes=60)


class Start(NamedTuple):
    """Where a search begins: at `at` without a time of day; with one, on `day`, not before `lower`."""

    at: datetime
    day: date
    lower: datetime


class Acceptable(NamedTuple):
    """Acceptable instants, the best first, and the end of the open interval in which they lie."""

    span: Span
    open_end: datetime


class Vacancy(Protocol):
    """What sending limits leave free."""

    def first(self, span: Span) -> datetime | None:
        """The first free instant (whole seconds, UTC) in a span of acceptable ones; None if there is none."""

    def not_before(self, at: datetime) -> datetime:
        """Where to look on from `at`: nothing acceptable before it is free; `at` if that is not known."""


class _Target(NamedTuple):
    """What `at` means on one day: `[start, end)`, one second for a single time."""

    start: datetime
    end: datetime
    moment: Moment
    local: datetime


@dataclass(frozen=True)
class Search:
    """One search; it writes its steps to `trail`, which tells the way to the span yielded last."""

    zone: ZoneInfo
    open: OpenTime
    trail: Trail
    dispatch_id: str
    vacancy: Vacancy | None = None

    def openings(self, start: Start) -> Iterator[Acceptable]:
        """Without a time of day: the start if it is open, else the opening of the next window, and so on."""
        day = day_of(self.zone, start.at)
        last = day + SEARCH_DAYS * ONE_DAY
        while day < last:
            closed = self.open.closed(day)
            for span in () if closed else self.open.spans(day):
                if span.end > self.trail.here:
                    self._wait_for_opening(span.start)
                    yield Acceptable(Span(self.trail.here, span.end), span.end)
                    self.trail.here = span.end
            day = self._day_after(day)
            next_start = day_start(self.zone, day)
            if next_start > self.trail.here:
                self.trail.move(closed or self.open.why_shut(self.trail.here), next_start)

    def times(self, start: Start, at: TimeOfDay | TimeRange) -> Iterator[Acceptable]:
        """With a time of day: that time, or seconds of that range, on every allowed day from the start on."""
        shut: Closed | None = None
        for target in self._targets(start, at):
            if shut is None:
                self.trail.step("at", target.start, self._say_at(at, start, target))
            else:
                self.trail.move(shut, target.start)
            shut = self._shut(target)
            if shut is None:
                self.remark_clock(target.moment, target.local)
                pieces = self._pieces(target)
                yield from _single(pieces[0]) if isinstance(at, TimeOfDay) else self._spread(pieces)
                shut = Closed("cap", "no free slot on that day")

    def remark_clock(self, found: Moment, local: datetime) -> None:
        """Tells that the clocks changed at a local time that decided something, if they did."""
        if found.change == "gap":
            told = f"{local:%H:%M} does not exist on {say_day(local.date())}: clocks go forward over it"
            self.trail.step("clock_change", self.trail.here, told)
        elif found.change == "twice":
            told = (
                f"{local:%H:%M} exists twice on {say_day(local.date())}: clocks go back, the first one counts"
            )
            self.trail.step("clock_change", self.trail.here, told)

    def _day_after(self, day: date) -> date:
        """The next day, or the first one that is not known to be full."""
        following = day + ONE_DAY
        if self.vacancy is None:
            return following
        start = day_start(self.zone, following)
        return max(following, day_of(self.zone, self.vacancy.not_before(start)))

    def _wait_for_opening(self, opening: datetime) -> None:
        if opening > self.trail.here:
            self.trail.move(self.open.why_shut(self.trail.here), opening)
            before = (opening - ONE_SECOND).astimezone(self.zone).replace(tzinfo=None)
            if opening.astimezone(self.zone).replace(tzinfo=None) - before > ONE_SECOND:
                self.trail.step("clock_change", opening, "clocks go forward at this moment")

    def _targets(self, start: Start, at: TimeOfDay | TimeRange) -> Iterator[_Target]:
        """What is not past of the time or range on the start's day and the days after it."""
        day = start.day
        last = day + SEARCH_DAYS * ONE_DAY
        while day < last:
            target = self._target(day, at)
            if target.end > start.lower:
                yield target._replace(start=max(target.start, start.lower))
            day = self._day_after(day)

    def _target(self, day: date, at: TimeOfDay | TimeRange) -> _Target:
        if isinstance(at, TimeOfDay):
            local = datetime.combine(day, at.at)
            found = moment(self.zone, local)
            return _Target(found.at, found.at + ONE_SECOND, found, local)
        local = local_time(day, at.start)
        found = moment(self.zone, local)
        return _Target(found.at, moment(self.zone, local_time(day, at.end)).at, found, local)

    def _shut(self, target: _Target) -> Closed | None:
        if target.start >= target.end:
            return Closed("clock_change", f"clocks skip these hours on {say_day(target.local.date())}")
        closed = self.open.closed(day_of(self.zone, target.start))
        if closed is None and not self._pieces(target):
            return self.open.why_shut(target.start)
        return closed

    def _pieces(self, target: _Target) -> list[Acceptable]:
        within = Span(target.start, target.end)
        spans = self.open.spans(day_of(self.zone, target.start))
        pieces = [Acceptable(cut(span, within), span.end) for span in spans]
        return [piece for piece in pieces if piece.span.start < piece.span.end]

    def _spread(self, pieces: list[Acceptable]) -> Iterator[Acceptable]:
        """From the dispatch's own second to the end of the range, then what of the range lies before it."""
        number = share(self.dispatch_id, sum(_seconds(piece.span) for piece in pieces))
        index = 0
        while number >= _seconds(pieces[index].span):
            number -= _seconds(pieces[index].span)
            index += 1
        (first, last), open_end = pieces[index]
        own = first + timedelta(seconds=number)
        if own > self.trail.here:
            self.trail.step(
                "at", own, "spread evenly over the range, always the same for this person and stage"
            )
        yield Acceptable(Span(own, last), open_end)
        yield from pieces[index + 1 :]
        yield from pieces[:index]
        if own > first:
            yield Acceptable(Span(first, own), open_end)

    def _say_at(self, at: TimeOfDay | TimeRange, start: Start, target: _Target) -> str:
        said = (
            f"at {at.at:%H:%M}"
            if isinstance(at, TimeOfDay)
            else f"between {clock_text(at.start)} and {clock_text(at.end)}"
        )
        if target.local.date() > start.day:
            return f"{said} on the next day: it has passed on {say_day(start.day)}"
        return f"{said} on {say_day(target.local.date())}"


def share(dispatch_id: str, count: int) -> int:
    """floor(u × count), u in [0, 1) from the dispatch id alone: the same at every re-plan, even over people.

    u = the first 8 bytes of sha256(dispatch id), big-endian, / 2^64.
    """
    digest = hashlib.sha256(dispatch_id.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") * count) >> 64


def _single(piece: Acceptable) -> Iterator[Acceptable]:
    """A single time, and the hour after it in the same open interval for when its slot is taken."""
    at = piece.span.start
    yield Acceptable(Span(at, min(piece.open_end, at + SINGLE_TIME_SLACK + ONE_SECOND)), piece.open_end)


def _seconds(span: Span) -> int:
    return int((span.end - span.start).total_seconds())
