"""Time zones by the pinned `tzdata` package, so that all services agree whatever the machine knows."""

from functools import lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]  # without py.typed

_DATA = files("tzdata")
TZDATA_VERSION: Final = tzdata.IANA_VERSION
"""Of the time zone database, such as 2026b."""
ZONE_NAMES: Final = frozenset(_DATA.joinpath("zones").read_text(encoding="ascii").split())


def find_zone(name: str | None) -> ZoneInfo | None:
    """The zone of that exact name in `tzdata`, or None. Reads a packaged file once per zone."""
    return _load(name) if name in ZONE_NAMES else None


@lru_cache(maxsize=1024)
def _load(name: str) -> ZoneInfo:
    with _DATA.joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
