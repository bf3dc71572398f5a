"""Which days are public holidays (of the `holidays` library) or the team's; a missing calendar has none."""

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

import holidays
from holidays.constants import PUBLIC

from segue_contracts.timing import PROSPECT, SENDER, TEAM

TEAM_HOLIDAY: Final = "a holiday of the team"
# Given, because the library would otherwise ask the process's environment.
_LANGUAGE: Final = "en_US"
_CODE = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?")
_SUBDIVISIONS: Final = holidays.list_supported_countries(include_aliases=False)


class Calendar(NamedTuple):
    """A calendar of the library; `subdivision` is None for a whole country."""

    country: str
    subdivision: str | None

    def __str__(self) -> str:
        return f"{self.country}-{self.subdivision}" if self.subdivision else self.country


class Calendars:
    """The calendars that count for one plan; `notes` says, in order, which had nothing to give and why."""

    def __init__(
        self, names: Iterable[str], prospect: str | None, sender: str | None, team: frozenset[date]
    ) -> None:
        """`names` as in `holidays.of`; `prospect`, `sender`: their countries; `team`: the team's days."""
        self.notes: dict[str, None] = {}
        self._team: frozenset[date] = frozenset()
        self._public: list[Calendar] = []
        for name in names:
            if name == TEAM:
                self._team = team
            elif name == PROSPECT:
                self._add(prospect, "the prospect's country")
            elif name == SENDER:
                self._add(sender, "the sender's country")
            else:
                self._add(name, "the country of the calendar")

    def on(self, day: date) -> str | None:
        """The name of the day's holiday in the first calendar that has one, or None."""
        for calendar in self._public:
            days = _holidays_of(calendar, day.year)
            if days is None:
                self.notes[f"there is no holiday calendar of {calendar} for {day.year}: no holidays then"] = (
                    None
                )
            elif day in days:
                return f"{days[day]} ({calendar})"
        return TEAM_HOLIDAY if day in self._team else None

    def _add(self, code: str | None, whose: str) -> None:
        if not code:
            self.notes[f"{whose} is not known: no public holidays"] = None
            return
        calendar = find_calendar(code)
        if calendar is None:
            self.notes[f"there is no holiday calendar of {code[:20]}: no public holidays"] = None
            return
        if "-" in code and calendar.subdivision is None:
            self.notes[f"there is no holiday calendar of {code[:20]}: the one of {calendar} is used"] = None
        if calendar not in self._public:
            self._public.append(calendar)


def find_calendar(code: str) -> Calendar | None:
    """The calendar of an ISO 3166 code (any case), or None; a subdivision without one has its country's."""
    match = _CODE.fullmatch(code.strip().upper())
    if not match or match[1] not in _SUBDIVISIONS:
        return None
    return Calendar(match[1], match[2] if match[2] in _SUBDIVISIONS[match[1]] else None)


@lru_cache(maxsize=4096)
def _holidays_of(calendar: Calendar, year: int) -> dict[date, str] | None:
    """The year's public holidays with observed days, or None where the library does not know the year."""
    found = holidays.country_holidays(
        calendar.country,
        subdiv=calendar.subdivision,
        years=year,
        expand=False,
        observed=True,
        language=_LANGUAGE,
        categories=PUBLIC,
    )
    if not found.start_year <= year <= found.end_year:
        return None
    return dict(found)
