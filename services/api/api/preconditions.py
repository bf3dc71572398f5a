"""Entity tags and If-Match (RFC 9110, 13.1.1): of two who edit the same thing, the slower one is told."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from pydantic import BaseModel

from api.problems import Problem
from api.routing import Answer, Call, Handler, Route

WRITES = frozenset({"PUT", "PATCH"})
TAG_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Edited:
    """What stands behind one path: the route that shows it, and those of its fields that are edited there."""

    shows: Route
    fields: frozenset[str]

    def tag(self, body: BaseModel) -> str:
        """The tag of its edited fields: what changes by itself, such as a mailbox's health, is no edit."""
        text = body.model_dump_json(by_alias=True, include=set(self.fields))
        return f'"{hashlib.sha256(text.encode()).hexdigest()[:TAG_DIGITS]}"'


def guarded(routes: Sequence[Route]) -> list[Route]:
    """The same routes; what is edited is shown with its tag, and If-Match is kept.

    The tag is compared right before the write, which is another step: two requests that arrive in the same
    moment may both pass. A sequence's own check is part of its write, which is why it is not among them.
    """
    found = edited(routes)
    return [
        replace(route, handler=_guarded(route, found[route.path])) if _is_of(route, found) else route
        for route in routes
    ]


def edited(routes: Sequence[Route]) -> Mapping[str, Edited]:
    """By path: what is read there, and written there in the same words and at once (not by a command)."""
    shown = {route.path: route for route in routes if route.method == "GET"}
    found = {}
    for route in routes:
        shows = shown.get(route.path)
        is_write = route.method in WRITES and route.status is not HTTPStatus.ACCEPTED
        if is_write and shows is not None and (same := _words(route) & _words(shows)):
            found[route.path] = Edited(shows, same)
    return found


def check_match(given: str | None, current: str, what: str) -> None:
    """Problem 412 if the If-Match that was `given` names another state of `what` than the `current` one."""
    if given is None or given.strip() == "*":
        return
    if current not in [each.strip() for each in given.split(",")]:
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            "changed-meanwhile",
            f"The {what} changed since you read it: it is {current} now. Nothing was saved.",
            headers={"ETag": current},
        )


def _words(route: Route) -> frozenset[str]:
    """The fields that it reads, or of a GET those that it shows."""
    model = route.answer if route.method == "GET" else route.takes and route.takes.model
    return frozenset(model.model_fields if model else ())


def _is_of(route: Route, found: Mapping[str, Edited]) -> bool:
    return route.path in found and (route.method == "GET" or route.method in WRITES)


def _guarded(route: Route, what: Edited) -> Handler:
    async def handle(call: Call) -> Answer:
        given = call.request.headers.get("If-Match")
        if route.method in WRITES and given is not None:
            now = await what.shows.handler(replace(call, need=what.shows.need))
            if now.body is not None:
                check_match(given, what.tag(now.body), "setting")
        answer = await route.handler(call)
        if isinstance(answer.body, what.shows.answer or ()):
            answer = replace(answer, headers={**answer.headers, "ETag": what.tag(answer.body)})
        return answer

    return handle
