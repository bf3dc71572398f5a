"""Small forms: said once, and shown again with what was typed and what is wrong with it."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from api.dashboard.visit import Note, Visit
from api.keys import KeyScope
from api.problems import FieldError, Problem, ProblemDetails

YES: Final = "yes"
"""What a ticked box says."""
MOST_UNDO_CHARS: Final = 1000
"""The values before a change go into a cookie, which browsers keep up to 4 KiB."""
_KEPT_SECRET: Final = ("password", "file")


@dataclass(frozen=True, slots=True)
class Field:
    """An input; `at` is its JSON pointer in what the API is asked, `/name` unless given.

    `kind` is that of HTML's input, or `textarea`, `select` (of `options`, value to word) or `check`.
    """

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    at: str = ""
    help: str = ""
    options: Mapping[str, str] | None = None
    needed: bool = False
    example: str = ""
    error: str = ""

    def wrong(self, errors: Iterable[FieldError]) -> list[FieldError]:
        """Those of the errors that are about this field."""
        at = self.at or f"/{self.name}"
        return [each for each in errors if each.pointer == at or each.pointer.startswith(at + "/")]


@dataclass(frozen=True, slots=True)
class Form:
    """A form and its button. `needs`: what it takes to send it, if not what its page says; `locked`: who can,
    where the reader can't; `grave`: a red button.
    """

    title: str
    action: str
    fields: tuple[Field, ...]
    button: str
    about: str = ""
    locked: str = ""
    needs: KeyScope | None = None
    grave: bool = False
    trouble: str = ""
    others: tuple[FieldError, ...] = ()

    @property
    def id(self) -> str:
        """A name for it on its page."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.action).strip("-")

    @property
    def has_file(self) -> bool:
        """Whether a file is sent."""
        return any(each.kind == "file" for each in self.fields)

    def values(self) -> dict[str, str]:
        """What stands in it, to be sent again by an undo."""
        return {each.name: each.value for each in self.fields}

    def tried(self, typed: Mapping[str, Any], problem: Problem) -> "Form":
        """With what was typed, secrets and files aside, and each error beside its field."""
        errors = problem.details.errors
        placed = [error for field in self.fields for error in field.wrong(errors)]
        fields = tuple(
            replace(
                each,
                value="" if each.kind in _KEPT_SECRET else str(typed.get(each.name, "")),
                error="; ".join(error.detail for error in each.wrong(errors)),
            )
            for each in self.fields
        )
        others = tuple(each for each in errors if each not in placed)
        trouble = "Nothing was changed: see what is marked." if placed else problem.details.detail
        return replace(self, fields=fields, trouble=trouble, others=others)


@dataclass(frozen=True, slots=True)
class Tried:
    """A form that was sent in vain."""

    action: str
    typed: Mapping[str, Any]
    problem: Problem

    @property
    def status(self) -> HTTPStatus:
        """What the page answers with."""
        return self.problem.status


def with_tried(forms: Sequence[Form], tried: Tried | None) -> list[Form]:
    """The forms of a page; the one that was sent in vain says why."""
    if tried is None:
        return list(forms)
    return [each.tried(tried.typed, tried.problem) if each.action == tried.action else each for each in forms]


def loose(forms: Iterable[Form], tried: Tried | None) -> ProblemDetails | None:
    """What was wrong with a form that is not among those of the page, such as a single button."""
    if tried is None or tried.action in {each.action for each in forms}:
        return None
    return tried.problem.details


def status_of(tried: Tried | None) -> HTTPStatus:
    """What a page with forms answers with."""
    return tried.status if tried else HTTPStatus.OK


Shows = Callable[[Visit, Tried | None], Awaitable[web.Response]]
Asks = Callable[[Mapping[str, Any]], Awaitable[Any]]


async def carry_out(
    visit: Visit, asks: Asks, shows: Shows, note: str | Note, to: str, *, before: Form | None = None
) -> web.Response:
    """Ask what the posted form asks for and go on; shown again with what is wrong otherwise.

    `before`: the form as it stood, which an undo sends again.
    """
    typed = await visit.form()
    try:
        await asks(typed)
    except Problem as problem:
        return await shows(visit, Tried(visit.request.path, typed, problem))
    said = note if isinstance(note, Note) else Note(note)
    return visit.go(to, undoable(said, before) if before else said)


def undoable(note: Note, before: Form) -> Note:
    """The note with an undo that sends the form as it stood, unless that is too much for a cookie."""
    values = before.values()
    if sum(len(text.encode()) for text in values.values()) > MOST_UNDO_CHARS:
        return note
    return replace(note, undo_path=before.action, undo_fields=values)


# ---- reading what was typed ---------------------------------------------------------------------------


def word(typed: Mapping[str, Any], name: str) -> str | None:
    """What was typed, without space around it; None for nothing."""
    return str(typed.get(name, "")).strip() or None


def number(typed: Mapping[str, Any], name: str) -> int | str | None:
    """A number; what is none stays as it is, so that the API says so; None for nothing."""
    text = word(typed, name)
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else text


def ticked(typed: Mapping[str, Any], name: str) -> bool:
    """Whether a box is ticked."""
    return bool(word(typed, name))


def lines(typed: Mapping[str, Any], name: str) -> list[str]:
    """The lines that say something."""
    return [line.strip() for line in str(typed.get(name, "")).splitlines() if line.strip()]


def said(**values: Any) -> dict[str, Any]:
    """The values that are there."""
    return {name: value for name, value in values.items() if value is not None}


def tick(value: bool) -> str:
    """A box's value."""
    return YES if value else ""


def text_of(value: object) -> str:
    """A value as an input holds it."""
    return "" if value is None else str(value)
