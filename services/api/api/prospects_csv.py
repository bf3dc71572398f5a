"""Prospects from a CSV file: the header names fields, other columns are tokens, a bad row says why."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.csv_table import read_table
from api.problems import FieldError, invalid_at
from segue_contracts.prospect import Prospect

MAX_COLUMNS = 250
FIELDS = frozenset(Prospect.model_fields) - {"tokens", "dates"}
_ALIASES = {
    "e_mail": "email",
    "mail": "email",
    "id": "external_id",
    "firstname": "first_name",
    "lastname": "last_name",
}
_DATE_PREFIXES = ("dates.", "date:", "date.")
_TOKEN_PREFIXES = ("tokens.", "token:", "token.")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the line on which it begins (the header's is 1), its prospect as data, and what is wrong."""

    line: int
    data: dict[str, Any]
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """Where a column's values go: `group` is tokens, dates, or empty for a field of the prospect itself."""

    group: str
    name: str


def rows(text: str, most: int, tokens: Mapping[str, str], *, needs_id: bool = True) -> Iterator[Row]:
    """The rows below the header; Problem 400 for text that is no CSV, 422 for a header that can't be used.

    `tokens`: the defined token that a column means, by its plain header. `needs_id`: the header has
    external_id.
    """
    names, found = read_table(text, most)
    columns = header(names, tokens, needs_id=needs_id)
    for line, cells in found:
        yield row(line, columns, cells)


def header(names: Sequence[str], tokens: Mapping[str, str], *, needs_id: bool = True) -> list[Column]:
    """What each column means; Problem 422 for an empty, doubled or missing one."""
    if not any(name.strip() for name in names):
        raise invalid_at("", "must begin with a header row that names the columns")
    if len(names) > MAX_COLUMNS:
        raise invalid_at("", f"has more than {MAX_COLUMNS} columns")
    columns = [column(name, tokens) for name in names]
    for index, each in enumerate(columns):
        if not each.name:
            raise invalid_at("", f"column {index + 1} has no name")
        if each in columns[:index]:
            raise invalid_at("", f"two columns mean {each.name}")
    if needs_id and Column("", "external_id") not in columns:
        raise invalid_at("", "needs a column external_id: your own id of the person, without @")
    return columns


def column(name: str, tokens: Mapping[str, str]) -> Column:
    """What a column means: `First Name` is first_name, `dates.start_date` a date, others are tokens."""
    spelled, lower = _joined(name), plain(name)
    for prefixes, group in ((_DATE_PREFIXES, "dates"), (_TOKEN_PREFIXES, "tokens")):
        for prefix in prefixes:
            if lower.startswith(prefix):
                return Column(group, spelled[len(prefix) :])
    if lower in tokens:
        return Column("tokens", tokens[lower])
    known = _ALIASES.get(lower, lower)
    return Column("", known) if known in FIELDS else Column("tokens", lower)


def plain(name: str) -> str:
    """A header in the one spelling in which headers are compared: `Start-Date` is start_date."""
    return _joined(name).lower()


def _joined(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip())


def row(line: int, columns: Sequence[Column], cells: Sequence[str]) -> Row:
    """One row; empty cells are absent values."""
    data: dict[str, Any] = {}
    for where, cell in zip(columns, cells, strict=False):
        value = cell.strip()
        if value:
            group = data.setdefault(where.group, {}) if where.group else data
            group[where.name] = value
    if len(cells) <= len(columns):
        return Row(line, data)
    detail = f"has {len(cells)} cells, and the header has {len(columns)}: quote cells that hold the separator"
    return Row(line, data, (FieldError(pointer="", detail=detail),))
