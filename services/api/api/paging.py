"""Cursor pages: a cursor names the last row seen, so a page costs the same wherever it is."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field

from api.problems import Problem, bad_request
from chassis.store import Collection, Document

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_CURSOR_CHARS = 500
MAX_DIGITS = 15

T = TypeVar("T")


class PageQuery(BaseModel):
    """Which page of a list; an unknown parameter is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cursor: str | None = Field(
        default=None, max_length=MAX_CURSOR_CHARS, description="`next_cursor` of the page before"
    )
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)


class Page(BaseModel, Generic[T]):
    """A page; `next_cursor` is null on the last one."""

    items: list[T]
    next_cursor: str | None = None


class Kind(Enum):
    """What a sort key holds, so that a cursor can't smuggle in anything else."""

    INSTANT = "instant"
    UUID = "uuid"
    TEXT = "text"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted: `(field, direction, kind)`; the last field is unique."""

    keys: tuple[tuple[str, int, Kind], ...]

    @property
    def sort(self) -> list[tuple[str, int]]:
        """As the database wants it."""
        return [(field, direction) for field, direction, _ in self.keys]

    def cursor_after(self, document: Document) -> str:
        """The cursor that continues after this document."""
        values = [_write(_value(document, field), kind) for field, _, kind in self.keys]
        return urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")

    def filter_after(self, cursor: str | None) -> Document:
        """What matches the rows after a cursor; Problem 400 for a cursor that is not of this list."""
        if cursor is None:
            return {}
        values = self._read(cursor)
        branches: list[Document] = []
        for index, (field, direction, _) in enumerate(self.keys):
            same = {self.keys[i][0]: {"$eq": values[i]} for i in range(index)}
            branches.append({**same, field: {"$gt" if direction > 0 else "$lt": values[index]}})
        if len(branches) == 1:
            return branches[0]
        # Alternatives bound no index of MongoDB: without the first condition it would read all pages before.
        field, direction, _ = self.keys[0]
        return {field: {"$gte" if direction > 0 else "$lte": values[0]}, "$or": branches}

    def _read(self, cursor: str) -> list[Any]:
        try:
            values = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if not isinstance(values, list) or len(values) != len(self.keys):
                raise ValueError("another list's cursor")
            return [_parse(value, kind) for value, (_, _, kind) in zip(values, self.keys, strict=True)]
        except (binascii.Error, ValueError, TypeError, OverflowError):
            raise bad_cursor() from None


NEWEST_FIRST = Order((("created_at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID)))


async def read_page(
    collection: Collection,
    found: Document,
    order: Order,
    page: PageQuery,
    show: Callable[[Document], T],
    projection: Document | None = None,
) -> tuple[list[T], str | None]:
    """The rows of one page and the next cursor; `found` must be bound to a workspace."""
    conditions = [each for each in (found, order.filter_after(page.cursor)) if each]
    rows = await collection.find(
        {"$and": conditions}, projection=projection, sort=order.sort, limit=page.limit + 1
    )
    following = order.cursor_after(rows[page.limit - 1]) if len(rows) > page.limit else None
    return [show(row) for row in rows[: page.limit]], following


def bad_cursor() -> Problem:
    """400: the cursor is not one of this list."""
    return bad_request("bad-cursor", "This cursor is not one that this list gave out: start without one.")


def _value(document: Document, field: str) -> Any:
    value: Any = document
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _write(value: Any, kind: Kind) -> str | None:
    if value is None:
        return None
    return value.isoformat() if kind is Kind.INSTANT else str(value)


def _parse(value: Any, kind: Kind) -> Any:
    if not isinstance(value, str):
        raise ValueError("not text")
    if kind is Kind.UUID:
        return UUID(value)
    if kind is Kind.TEXT:
        value.encode()
        return value
    if kind is Kind.NUMBER:
        return int(value[:MAX_DIGITS])
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError("no zone")
    return instant.astimezone(UTC)
