"""When a stage is due, and why: the pure heart of the scheduler.

A plan is a function of the stage, the sequence's timing, the base, the prospect, the sender, the team's days
and the dispatch id; it asks no clock, no database and not the machine's zone. The rules: docs/sequence.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from chassis.zones import find_zone
from scheduler.calendars import Calendars
from scheduler.local_time import (
    ONE_DAY,
    day_of,
    local_time,
    moment,
    say_day,
    say_time,
    whole_second_up,
)
from scheduler.open_time import FRIDAY, OpenTime, SenderHours, TextHours
from scheduler.search import SEARCH_DAYS, Acceptable, Search, Start, Vacancy
from scheduler.trail import Reason, Rule, Trail, say_some
from segue_contracts.sequence import CatchUp, Holidays, PlainDays, StageTiming, Timing
from segue_contracts.timing import (
    ALWAYS_OPEN,
    PROSPECT,
    AbsoluteDate,
    Delay,
    PersonalDate,
    TimeOfDay,
    Unit,
    Windows,
)
from segue_contracts.zones import zone_of_country

NEVER_OPENS: Final = "window_never_opens"
LATE_AFTER: Final = timedelta(minutes=15)
FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 9000
_UTC: Final = find_zone("UTC")


class Place(Protocol):
    """What planning needs of a prospect; `segue_contracts.prospect.Prospect` has it."""

    @property
    def zone(self) -> str | None: ...
    @property
    def country(self) -> str | None: ...
    @property
    def dates(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Person:
    """A prospect's place and dates, for callers without the whole prospect."""

    zone: str | None = None
    country: str | None = None
    dates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sender:
    """The mailbox's settings: its country, zone, open hours (None: always) and days off in that zone."""

    country: str | None = None
    zone: str | None = None
    windows: Windows | None = None
    time_off: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Planned:
    """Due `at`, not to be sent from `send_before` on; both UTC, whole seconds.

    `send_before` is the end of the open interval of `at`: the window, cut by the sender's hours and days off.
    An interval never reaches over local midnight, so a plan that is always open ends with its local day. The
    reasons are a chain: each starts where the one before ended, the last ends at `at`.
    """

    at: datetime
    send_before: datetime
    zone: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Refused:
    """No due time exists; `detail` is for people.

    Codes: `zone_unknown`, `date_missing`, `date_past`, `out_of_range`, `window_never_opens`,
    `no_slot_within_a_year`.
    """

    code: str
    detail: str


class _Refusal(Exception):
    """Leaves a plan from any depth; never leaves this module."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.refused = Refused(code, detail)


def plan(
    stage: StageTiming,
    timing: Timing,
    *,
    base: datetime,
    dispatch_id: str,
    person: Place,
    sender: Sender,
    team_holidays: frozenset[date] = frozenset(),
    first: bool = False,
    now: datetime | None = None,
    vacancy: Vacancy | None = None,
    texts: TextHours | None = None,
) -> Planned | Refused:
    """When the stage is due, or why never. Only a naive `base` or `now` raises (`ValueError`).

    `first` chooses the default of `after`. `now` plans a late stage again: from now through time of day,
    days, windows and caps, without counting its delay or its date once more. `vacancy` is asked for the
    first free instant of acceptable spans, in the order of preference; without it the first one is taken.
    `texts`: of a text message, the hours of the phone that it goes to.
    """
    base = whole_second_up(base)
    now = None if now is None else max(base, whole_second_up(now))
    try:
        _check_years(base, now)
        planning = _Planning(stage, timing, base, now, person, sender, team_holidays, first, texts)
        return planning.find(dispatch_id, vacancy)
    except _Refusal as refusal:
        return refusal.refused


def late_policy(
    catch_up: CatchUp | None, due: datetime, now: datetime, *, late_after: timedelta = LATE_AFTER
) -> CatchUp | None:
    """What to do at `now` with an unsent stage that was due at `due`; None while it counts as on time.

    `shift`: `plan(now=now)`. `spread`: that, one after another under the caps. `skip`: complete it unsent.
    """
    return (catch_up or CatchUp.SHIFT) if now - due > late_after else None


def _check_years(*instants: datetime | None) -> None:
    for at in instants:
        if at is not None and not FIRST_YEAR <= at.year <= LAST_YEAR:
            raise _Refusal("out_of_range", f"the year {at.year} is too far away")


class _Planning:
    """One planning, rule by rule in the order of the page."""

    def __init__(
        self,
        stage: StageTiming,
        timing: Timing,
        base: datetime,
        now: datetime | None,
        person: Place,
        sender: Sender,
        team_holidays: frozenset[date],
        first: bool,
        texts: TextHours | None,
    ) -> None:
        self.texts = texts
        self.stage, self.timing, self.base, self.now = stage, timing, base, now
        self.person, self.sender = person, sender
        self.at, self.on_date = stage.at_time, stage.on_date
        self.delay = None if self.on_date else stage.delay(first=first)
        self.holidays = stage.holidays or timing.holidays or Holidays()
        self.calendars = Calendars(self.holidays.calendars, person.country, sender.country, team_holidays)
        self.trail = Trail(base)
        self.zone = self._find_zone()

    def find(self, dispatch_id: str, vacancy: Vacancy | None) -> Planned:
        """The whole plan; raises `_Refusal`."""
        self.search = Search(self.zone, self._open_time(), self.trail, dispatch_id, vacancy)
        start = self._start()
        found = self.search.openings(start) if self.at is None else self.search.times(start, self.at)
        best = next(found, None)
        if best is None:
            told = f"no allowed time within {SEARCH_DAYS} days of {self._say(start.at)}"
            if self.texts is not None:
                told += ": leave some of the hours in which the phone may be texted"
            raise _Refusal(NEVER_OPENS, told)
        reasons, at, send_before = self.trail.reasons(), best.span.start, best.open_end
        if vacancy is not None:
            at, send_before = self._free_slot(best, found, vacancy)
            if at != best.span.start:
                told = "the first free slot within the sending limits"
                reasons.append(Reason("cap", best.span.start, at, told))
        return Planned(at, send_before, self.zone.key, (*reasons, *self._remarks(at)))

    # The zone

    def _find_zone(self) -> ZoneInfo:
        literal = self.stage.zone or self.timing.zone
        if literal is not None and literal != PROSPECT:
            zone, why = find_zone(literal), "set in the sequence"
            if zone is None:
                raise _Refusal("zone_unknown", f"the sequence's time zone {literal} does not exist")
        else:
            zone, why = self._prospect_zone()
            if zone is None:
                zone, how = self._fallback_zone()
                why = f"{why}; {how}"
        self.trail.step("zone", self.base, f"{zone.key}: {why}")
        return zone

    def _prospect_zone(self) -> tuple[ZoneInfo | None, str]:
        name, country = self.person.zone, self.person.country
        if zone := find_zone(name):
            return zone, "the prospect's own time zone"
        why = (
            f"the prospect's time zone {name[:64]} does not exist"
            if name
            else "no time zone is known of the prospect"
        )
        if not country:
            return None, f"{why}, and no country"
        if zone := find_zone(zone_of_country(country)):
            return zone, f"{why}; this is the one of {country[:20]}"
        return None, f"{why}, and no single one serves {country[:20]}"

    def _fallback_zone(self) -> tuple[ZoneInfo, str]:
        name = self.stage.fallback_zone or self.timing.fallback_zone
        if zone := find_zone(name):
            return zone, "this is the sequence's fallback"
        missing = f"the fallback {name} does not exist, so " if name else ""
        if zone := find_zone(self.sender.zone):
            return zone, f"{missing}this is the sender's"
        assert _UTC is not None
        return _UTC, f"{missing}the sender's is not known either: UTC (warning: set a fallback zone)"

    # After, or date

    def _start(self) -> Start:
        if self.now is not None:
            self.trail.step("after", self.now, "late: planned again from now")
            return Start(self.now, day_of(self.zone, self.now), self.now)
        if self.on_date is not None:
            return self._start_on_date(self.on_date)
        assert self.delay is not None
        minutes = self.delay.elapsed_minutes
        if minutes is None:
            return self._start_after_days(self.delay)
        at = self.base + timedelta(minutes=minutes)
        self.trail.step("after", at, self._say_delay(self.delay))
        return Start(at, day_of(self.zone, at), at)

    def _start_after_days(self, delay: Delay) -> Start:
        local = self.base.astimezone(self.zone).replace(tzinfo=None, fold=0)
        passed = ""
        if delay.unit is Unit.DAYS:
            day = local.date() + delay.amount * ONE_DAY
        else:
            day, passed = self._count_business_days(local.date(), delay.amount)
        return self._start_at(datetime.combine(day, local.time()), "after", self._say_delay(delay) + passed)

    def _count_business_days(self, day: date, amount: int) -> tuple[date, str]:
        """The n-th business day after `day` (0: `day` or the next one), and the holidays not counted."""
        passed: list[str] = []
        idle, left = 0, amount
        if amount == 0:
            day, left = day - ONE_DAY, 1
        while left:
            day += ONE_DAY
            holiday = self.calendars.on(day) if day.weekday() <= FRIDAY else "a weekend"
            if holiday is None:
                left, idle = left - 1, 0
                continue
            idle += 1
            if idle > SEARCH_DAYS:
                raise _Refusal(NEVER_OPENS, f"{SEARCH_DAYS} days without a business day up to {say_day(day)}")
            if day.weekday() <= FRIDAY:
                passed.append(f"{say_day(day)} is {holiday}")
        return day, f" (not counted: {say_some(passed)})" if passed else ""

    def _start_on_date(self, rule: AbsoluteDate | PersonalDate) -> Start:
        day, said = self._find_date(rule)
        today = self.base.astimezone(self.zone).date()
        if day < today:
            raise _Refusal("date_past", f"{say_day(day)} ({said}) is before {say_day(today)}")
        if day.year > LAST_YEAR:
            raise _Refusal("out_of_range", f"the date {day} is too far away")
        if self._is_over(day):
            raise _Refusal(
                "date_past", f"{self.stage.at} on {say_day(day)} ({said}) is before {self._say(self.base)}"
            )
        return self._start_at(local_time(day, 0), "date", f"{say_day(day)}: {said}")

    def _find_date(self, rule: AbsoluteDate | PersonalDate) -> tuple[date, str]:
        if isinstance(rule, AbsoluteDate):
            return rule.day, "the date of the stage"
        day = parse_day(self.person.dates.get(rule.field))
        if day is None:
            raise _Refusal("date_missing", f"the prospect has no date {rule.field}")
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise _Refusal("out_of_range", f"the prospect's {rule.field}, {day}, is too far away")
        return day + rule.days * ONE_DAY, f"{self.stage.date}, where {rule.field} is {day}"

    def _is_over(self, day: date) -> bool:
        """Whether the stage's time, or the whole of its range, is past on that day."""
        if self.at is None:
            return False
        if isinstance(self.at, TimeOfDay):
            return moment(self.zone, datetime.combine(day, self.at.at)).at < self.base
        return moment(self.zone, local_time(day, self.at.end)).at <= self.base

    def _start_at(self, local: datetime, rule: Rule, told: str) -> Start:
        found = moment(self.zone, local)
        at = max(found.at, self.base)
        self.trail.step(rule, at, told)
        if self.at is None and at == found.at:
            self.search.remark_clock(found, local)
        return Start(at, local.date(), self.base)

    # Weekdays, holidays, windows

    def _open_time(self) -> OpenTime:
        hours = self.stage if self.stage.windows is not None else self.timing
        business = self.delay is not None and self.delay.unit is Unit.BUSINESS_DAYS
        return OpenTime(
            zone=self.zone,
            weekdays=self.stage.allowed_weekdays,
            business_only=business,
            skip_holidays=business or self.holidays.plain_days is PlainDays.MOVE,
            calendars=self.calendars,
            windows=ALWAYS_OPEN if hours.windows is None else hours.open_windows,
            sender=self._sender_hours(),
            texts=self.texts,
        )

    def _sender_hours(self) -> SenderHours:
        zone = find_zone(self.sender.zone)
        if zone is None and (self.sender.windows or self.sender.time_off):
            self.trail.step(
                "zone",
                self.base,
                "warning: the sender's time zone is not known, so its hours are taken as UTC",
            )
        zone = zone or _UTC
        assert zone is not None
        return SenderHours(zone, self.sender.windows, self.sender.time_off)

    def _remarks(self, at: datetime) -> Iterator[Reason]:
        """The holiday that does not matter, and the calendars that had nothing to give."""
        if not self.search.open.skip_holidays and (holiday := self.calendars.on(day_of(self.zone, at))):
            yield Reason("holiday", at, at, f"warning: {holiday}; sent all the same, as the sequence says")
        for note in self.calendars.notes:
            yield Reason("holiday", at, at, note)

    # Caps

    def _free_slot(
        self, best: Acceptable, rest: Iterator[Acceptable], vacancy: Vacancy
    ) -> tuple[datetime, datetime]:
        found: Acceptable | None = best
        while found is not None:
            at = vacancy.first(found.span)
            if at is not None:
                return at, found.open_end
            found = next(rest, None)
        told = f"every allowed time within {SEARCH_DAYS} days of {self._say(best.span.start)} is taken"
        raise _Refusal("no_slot_within_a_year", told)

    # Words

    def _say(self, at: datetime) -> str:
        return say_time(at, self.zone)

    def _say_delay(self, delay: Delay) -> str:
        return f"{delay} after {self._say(self.base)}"


def parse_day(text: object) -> date | None:
    """`2026-12-24` as a day; None for anything else."""
    try:
        return date.fromisoformat(text) if isinstance(text, str) and len(text) == len("2026-12-24") else None
    except ValueError:
        return None
