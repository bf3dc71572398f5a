"""A CSV file as a header and numbered rows; what its columns mean is for those who know."""

import csv
import io
from collections.abc import Iterable, Iterator

from api.problems import bad_request, invalid_at

DELIMITERS = (",", ";", "\t")


def read_table(text: str, most: int) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header's cells, and below it each row that is not empty with the line on which it begins.

    Commas, semicolons or tabs, as the header shows; cells may hold line breaks in quotes (RFC 4180). Problem
    400 for text that is no CSV, 422 for no row or more than `most`, both also while the rows are read.
    """
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    names = next(_read(lines), [])
    return names, _rows(lines, most)


def line_of(cells: Iterable[object]) -> bytes:
    """A line of a file that we write; None is an empty cell, and nothing is a formula to a spreadsheet."""
    text = io.StringIO()
    csv.writer(text).writerow(["" if cell is None else _inert(str(cell)) for cell in cells])
    return text.getvalue().encode()


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _rows(lines: Iterator[list[str]], most: int) -> Iterator[tuple[int, list[str]]]:
    found = 0
    before = _line(lines)
    for cells in _read(lines):
        line, before = before + 1, _line(lines)
        if not any(cell.strip() for cell in cells):
            continue
        found += 1
        if found > most:
            raise invalid_at("", f"has more than {most} rows: split the file")
        yield line, cells
    if not found:
        raise invalid_at("", "has a header and no rows")


def _read(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from lines
    except csv.Error as error:
        raise bad_request("malformed-csv", f"The body is not CSV: line {_line(lines)}: {error}.") from None


def _line(lines: Iterator[list[str]]) -> int:
    return int(getattr(lines, "line_num", 0))


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(DELIMITERS, key=first.count)
