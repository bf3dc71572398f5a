"""Suppressions as CSV: a list that somebody brings, and what can be given back of those that are kept."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.csv_table import line_of, read_table
from api.problems import FieldError, invalid_at

KINDS = ("address", "domain", "phone", "company_key")
ABOUT = ("reason", "mode")
"""Columns that say something of a row's values; `mode` (block or warn) of its company."""
EXPORTED = ("id", "kind", "mode", "reason", "by", "at")
_ALIASES = {
    **dict.fromkeys(("email", "e_mail", "mail", "email_address"), "address"),
    **dict.fromkeys(("phone_number", "mobile", "mobile_phone", "telephone"), "phone"),
    "company": "company_key",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its line, and one suppression as data for each value in it, or what is wrong."""

    line: int
    found: tuple[dict[str, str], ...]
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A list that was brought; `ignored` are the columns that say nothing here."""

    ignored: tuple[str, ...]
    rows: Iterator[Row]


def read_list(text: str, most: int, reason: str) -> Listed:
    """A file with at least one of the columns address, domain, phone and company_key; `reason` if a row has
    none. Problem 400 or 422 for what can't be read at all.
    """
    names, cells = read_table(text, most)
    columns = [_column(name) for name in names]
    if not set(columns) & set(KINDS):
        raise invalid_at("", f"needs a column of {', '.join(KINDS)}")
    for name in (*KINDS, *ABOUT):
        if columns.count(name) > 1:
            raise invalid_at("", f"two columns mean {name}")
    ignored = tuple(name for name, column in zip(names, columns, strict=True) if not _says(column))
    return Listed(ignored, (_row(line, columns, found, reason) for line, found in cells))


def _column(name: str) -> str:
    plain = re.sub(r"[\s-]+", "_", name.strip()).lower()
    return _ALIASES.get(plain, plain)


def _says(column: str) -> bool:
    return column in KINDS or column in ABOUT


def _row(line: int, columns: Sequence[str], cells: Sequence[str], reason: str) -> Row:
    if len(cells) > len(columns):
        detail = f"has {len(cells)} cells, and the header has {len(columns)}: quote what holds the separator"
        return Row(line, (), (FieldError(pointer="", detail=detail),))
    data = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
    about = {"reason": data.get("reason", reason)}
    mode = {"mode": data["mode"].lower()} if "mode" in data else {}
    kinds = [kind for kind in KINDS if kind in data]
    # A row of a company with an address blocks the address, and warns of the company.
    found = tuple(
        {kind: data[kind], **about, **(mode if kind == "company_key" or len(kinds) == 1 else {})}
        for kind in kinds
    )
    if not found:
        return Row(line, (), (FieldError(pointer="", detail=f"has none of {', '.join(KINDS)}"),))
    return Row(line, found)


async def export(suppressions: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    """A line for each suppression; the values themselves are not kept, so they can't be in it."""
    yield line_of(EXPORTED)
    async for each in suppressions:
        by = each.get("by")
        mode = each.get("mode", "block")
        yield line_of((each["_id"], each["kind"], mode, each["reason"], by or "", each["at"].isoformat()))
