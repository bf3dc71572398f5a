"""Asks the scheduler, which owns plans, in the name of a caller."""

import logging
from http import HTTPStatus

from api.problems import Problem, unavailable
from api.routing import Call
from chassis.errors import Reject, Retry
from chassis.inquiries import Asked, Question, Told
from chassis.telemetry import fields

log = logging.getLogger(__name__)

AWAY = "The scheduler, which plans, can't be reached at the moment. Nothing is lost: try again."


async def ask(call: Call, question: Question[Asked, Told], asked: Asked) -> Told | None:
    """What it says; Problem 503 while nobody answers, 422 if the answer would be too large."""
    try:
        return await call.api.scheduler.ask(question, asked)
    except Retry as error:
        log.warning("the scheduler is silent", extra=fields("api.no_scheduler", error=str(error)[:300]))
        raise unavailable(AWAY) from None
    except Reject:
        raise too_much() from None


def too_much() -> Problem:
    """422: the answer would be too large."""
    detail = "The answer would be too large: ask about fewer people at once."
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "too-much", detail)
