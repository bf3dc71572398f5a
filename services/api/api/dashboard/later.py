"""Forms that a page sends after some seconds in which they can be taken back: what their script is told."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from api.dashboard.visit import SECURITY_HEADERS
from api.problems import Problem

FIELD = "later"
"""Set by the script that waited; without it a form was sent by hand, and a page answers."""


def is_later(fields: Mapping[str, Any]) -> bool:
    """Whether nobody looks at the page from which this comes."""
    return bool(fields.get(FIELD))


def done() -> web.Response:
    """It was done: there is nothing to show."""
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=SECURITY_HEADERS)


def not_done(problem: Problem) -> web.Response:
    """Why it was not done, in words that the script shows."""
    details = problem.details
    said = " ".join([details.detail or details.title, *(each.detail for each in details.errors)])
    return web.Response(status=problem.status, text=f"It was not done: {said}", headers=SECURITY_HEADERS)
