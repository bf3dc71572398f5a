"""Instants and time zones as clients may give them."""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

from chassis.zones import ZONE_NAMES, find_zone
from segue_contracts.message import to_utc_milliseconds

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Far from the ends of the calendar, where adding a delay or another zone's offset overflows."""


def check_instant(value: datetime) -> datetime:
    """UTC, cut to milliseconds, in a year that plans can reach; else `ValueError`."""
    if not EARLIEST.year <= value.year < LATEST.year:
        raise ValueError(f"must lie between {EARLIEST.year} and {LATEST.year}")
    return to_utc_milliseconds(value)


Instant = Annotated[AwareDatetime, AfterValidator(check_instant)]


def check_zone_name(value: str) -> str:
    """A zone that planning knows, else `ValueError`."""
    if value not in ZONE_NAMES:
        raise ValueError("is no time zone that is known: write one such as Europe/Berlin")
    return value


def end_of_day(now: datetime, zone: str | None) -> datetime:
    """The next midnight in a zone; in UTC where none is known."""
    here = find_zone(zone) or UTC
    tomorrow = now.astimezone(here).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), here).astimezone(UTC)
