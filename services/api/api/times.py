"""Instants and time zones as clients may give them."""

from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

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


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """The names that planning knows: those of the pinned `tzdata`, exactly as written."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


def check_zone_name(value: str) -> str:
    """A zone that planning knows, else `ValueError`."""
    if value not in zone_names():
        raise ValueError("is no time zone that is known: write one such as Europe/Berlin")
    return value
