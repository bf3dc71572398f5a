"""The inbox of answers: what people wrote, what it was taken for and why, and a word that puts it right."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from api.dashboard.visit import Note, Page, Visit
from api.problems import Problem
from api.routes.answers import AnswerShown

KINDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "reply": ("answered", "✓", "answered"),
    "auto_reply": ("out of office", "☾", "waiting"),
    "opt_out": ("asked not to be written to", "⊘", "problem"),
    "bounce": ("could not be delivered", "!", "problem"),
    "complaint": ("complained", "!", "problem"),
    "manual_mail": ("you wrote by hand", "✎", "quiet"),
    "other": ("no answer", "·", "quiet"),
}
"""Kind to a recruiter's word, an icon and a pill."""
CORRECTABLE: Final = ("reply", "auto_reply", "opt_out", "other")
MATCHES: Final[Mapping[str, str]] = {
    "thread": "it names a message that you sent",
    "token": "it came to an address made for this message",
    "phone": "it came from this person's phone",
    "address": "only its sender's address fits: look whether it is about this",
    "own_copy": "it is a copy of what you sent",
    "manual_mail": "you wrote it",
    "none": "nothing connects it",
}
STATES: Final = ("open", "reviewed")


async def inbox(visit: Visit) -> web.StreamResponse:
    """Answers, the newest first; those that nobody has looked at yet by default."""
    words = visit.request.query
    state = words.get("state", "open")
    query = {name: words[name] for name in ("cursor", "kind", "intent", "sequence") if words.get(name)}
    if words.get("whose", "me") == "me":
        query["owner"] = "me"
    shown = {**query, "limit": 50} if state not in STATES else {**query, "state": state, "limit": 50}
    rows = await visit.ask("GET /v1/answers", query=shown)
    return visit.page(
        "answers.html",
        title="Answers",
        rows=rows.items,
        cursor=rows.next_cursor,
        query={**query, "state": state},
        state=state,
        kinds=KINDS,
    )


async def one(visit: Visit) -> web.StreamResponse:
    """One answer, with the evidence, what it stopped, and what can be said about it."""
    return await _shown(visit, await _asked(visit))


async def correct(visit: Visit) -> web.StreamResponse:
    """Say what it is instead."""
    fields = await visit.form()
    inbound_id = visit.uuid("inbound_id", "answer")
    said = {name: str(fields[name]) for name in ("kind", "intent") if fields.get(name)}
    try:
        await visit.ask("POST /v1/answers/{inbound_id}/correction", said, inbound_id=inbound_id)
    except Problem as problem:
        return await _shown(visit, await _asked(visit), problem)
    return visit.go(
        "/answers", Note("Noted. What it stopped stays stopped; it counts as you say from now on.")
    )


async def review(visit: Visit) -> web.StreamResponse:
    """It is right as it is."""
    await visit.form()
    inbound_id = visit.uuid("inbound_id", "answer")
    await visit.ask("POST /v1/answers/{inbound_id}/review", {}, inbound_id=inbound_id)
    return visit.go("/answers", Note("Looked at."))


async def _asked(visit: Visit) -> AnswerShown:
    answer: AnswerShown = await visit.ask(
        "GET /v1/answers/{inbound_id}", inbound_id=visit.uuid("inbound_id", "answer")
    )
    return answer


async def _shown(visit: Visit, answer: AnswerShown, problem: Problem | None = None) -> web.Response:
    return visit.page(
        "answer.html",
        title=answer.subject or "Answer",
        answer=answer,
        kinds=KINDS,
        correctable=CORRECTABLE,
        matched=MATCHES.get(answer.match, answer.match),
        stopped=[_stop(each) for each in answer.stopped],
        held=[(each.reason, each.until) for each in answer.held],
        problem=problem.details if problem else None,
    )


def _stop(stop: Any) -> tuple[str, str]:
    """Why, and what was stopped, in words."""
    what = {"enrollment": "this sequence", "person": "everything of this person", "company": "the company"}
    return stop.reason, what.get(stop.scope, stop.scope)


PAGES = (
    Page("GET", "/answers", inbox),
    Page("GET", "/answers/{inbound_id}", one),
    Page("POST", "/answers/{inbound_id}/correction", correct),
    Page("POST", "/answers/{inbound_id}/review", review),
)
