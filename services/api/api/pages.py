"""The page of one sequence for people: who is where, what comes next and why; it updates by itself."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from api import telemetry
from api.handlers import ApiKey, authenticate
from api.keys import Caller, KeyScope
from api.paging import PageQuery
from api.problems import Problem, forbidden, not_found, unavailable
from api.reads import ENDED_STATES, LIVE_STATES
from api.routing import Api
from chassis.documents import EnrollmentStory, PersonView
from chassis.errors import Retry
from chassis.store import Document
from chassis.telemetry import fields
from chassis.zones import find_zone

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
ROWS = 100
HEARTBEAT_SECONDS = 15.0
RECONNECT_MS = 3000
STATIC: Mapping[str, str] = {"page.css": "text/css", "live.js": "text/javascript"}
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

# State to what a recruiter calls it, an icon and a pill; every state is colour and icon and word.
WORDS: Mapping[str, tuple[str, str, str]] = {
    "scheduled": ("planned", "◷", "planned"),
    "dispatched": ("going out", "➤", "planned"),
    "awaiting_task": ("waiting for you", "✎", "waiting"),
    "in_doubt": ("not sure it arrived", "?", "problem"),
    "paused": ("paused", "⏸", "quiet"),
    "answered": ("answered", "✓", "answered"),
    "stopped": ("stopped", "■", "quiet"),
    "finished": ("finished", "●", "quiet"),
    "failed": ("could not be sent", "!", "problem"),
}
EVENTS: Mapping[str, str] = {
    "enrolled": "enrolled",
    "stage_scheduled": "planned",
    "stage_sent": "sent",
    "stage_deferred": "put off",
    "stage_skipped": "skipped",
    "stage_in_doubt": "not sure it arrived",
    "task_opened": "task opened",
    "task_done": "task done",
    "held": "paused",
    "lifted": "resumed",
    "stopped": "stopped",
    "finished": "finished",
    "failed": "could not be sent",
    "migrated": "moved to another version",
    "corrected": "known better since",
}
STOP_WORDS: Mapping[str, str] = {
    "replied": "answered",
    "bounced": "the address bounced",
    "unsubscribed": "asked not to be written to",
    "complained": "complained",
    "suppressed": "must not be written to",
    "requested": "stopped by a person",
    "mistaken": "stopped for what was no answer",
}


@dataclass(slots=True)
class LivePages:
    """The open live pages of this process; `stopping` ends them."""

    stopping: asyncio.Event
    open: int = 0


LiveKey: web.AppKey[LivePages] = web.AppKey("live", LivePages)


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant for people: what to read, and exactly in the title."""

    text: str
    exact: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table."""

    id: UUID
    who: str
    word: str
    icon: str
    pill: str
    next_what: str
    next_at: Moment | None
    why: str
    last: str
    last_at: Moment | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many people are in a state."""

    word: str
    icon: str
    pill: str
    number: int


# ---- routes -------------------------------------------------------------------------------------------


def add_pages(app: web.Application) -> None:
    """Serve the pages and what they load."""
    app.router.add_get("/sequences/{sequence_id}", sequence_page)
    app.router.add_get("/sequences/{sequence_id}/live", live)
    for name in STATIC:
        app.router.add_get(f"/static/{name}", static)


async def static(request: web.Request) -> web.StreamResponse:
    """A file of ours, by its name in the table."""
    name = request.path.rpartition("/")[2]
    body = (HERE / "static" / name).read_bytes()
    headers = {**SECURITY_HEADERS, "Cache-Control": "max-age=300"}
    return web.Response(body=body, content_type=STATIC[name], charset="utf-8", headers=headers)


async def sequence_page(request: web.Request) -> web.StreamResponse:
    """The whole page."""
    api, caller, sequence = await _opened(request)
    content = await fragment(api, caller, sequence)
    html = _templates.get_template("sequence.html").render(
        sequence=sequence, content=content, live_url=f"/sequences/{sequence['_id']}/live"
    )
    return web.Response(text=html, content_type="text/html", charset="utf-8", headers=SECURITY_HEADERS)


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events: the page's content whenever it changed."""
    api, caller, sequence = await _opened(request)
    room = request.app[LiveKey]
    if room.open >= api.settings.live_pages:
        raise unavailable("Too many live pages are open; this one is right as of its last load.")
    response = web.StreamResponse(
        headers={
            **SECURITY_HEADERS,
            "Content-Type": "text/event-stream; charset=utf-8",
            "X-Accel-Buffering": "no",
        }
    )
    room.open += 1
    telemetry.LIVE_PAGES.set(room.open)
    try:
        await response.prepare(request)
        await response.write(f"retry: {RECONNECT_MS}\n\n".encode())
        await _stream(request, response, api, caller, sequence["_id"])
    except (ConnectionError, Retry, Problem) as error:
        # The browser comes again; once the head is out, nothing else can be answered.
        log.debug("live page ended", extra=fields("page.ended", error=type(error).__name__))
    finally:
        room.open -= 1
        telemetry.LIVE_PAGES.set(room.open)
    return response


async def _stream(
    request: web.Request, response: web.StreamResponse, api: Api, caller: Caller, sequence_id: UUID
) -> None:
    stopping = request.app[LiveKey].stopping
    shown, written_at = "", api.clock.monotonic()
    while not stopping.is_set():
        await authenticate(api, request, basic=True)  # a revoked key ends the stream
        sequence = await api.store.sequences.one(caller.workspace, sequence_id)
        if sequence is None:
            return
        content = await fragment(api, caller, sequence)
        digest = hashlib.sha256(content.encode()).hexdigest()
        if digest != shown:
            await response.write(_event(content))
            shown, written_at = digest, api.clock.monotonic()
        elif api.clock.monotonic() - written_at > HEARTBEAT_SECONDS:
            await response.write(b": still here\n\n")
            written_at = api.clock.monotonic()
        await _wait(stopping, api.settings.live_page_seconds)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


def _event(content: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in content.splitlines())
    return f"event: content\n{lines}\n".encode()


async def _opened(request: web.Request) -> tuple[Api, Caller, Document]:
    api = request.app[ApiKey]
    caller = await authenticate(api, request, basic=True)
    if not caller.may(KeyScope.READ):
        raise forbidden("This API key may not read.")
    try:
        sequence_id = UUID(request.match_info["sequence_id"])
    except ValueError:
        raise not_found("sequence") from None
    sequence = await api.store.sequences.one(caller.workspace, sequence_id)
    if sequence is None:
        raise not_found("sequence")
    return api, caller, sequence


# ---- content ------------------------------------------------------------------------------------------


async def fragment(api: Api, caller: Caller, sequence: Document) -> str:
    """What changes on the page, as HTML."""
    counts = await api.reads.counts(caller.workspace, sequence["_id"])
    first = PageQuery(limit=ROWS)
    going, _ = await api.reads.enrollments(caller.workspace, sequence["_id"], LIVE_STATES, first)
    ended, _ = await api.reads.enrollments(caller.workspace, sequence["_id"], ENDED_STATES, first)
    stories = sorted(going, key=_by_time) + sorted(ended, key=_by_end, reverse=True)
    stories = stories[:ROWS]
    people = await api.reads.people(caller.workspace, {each.person_id for each in stories})
    total = sum(counts["state"].values())
    return _templates.get_template("content.html").render(
        counts=tallies(counts),
        lines=[line(each, people.get(each.person_id)) for each in stories],
        total=total,
        more=total - len(stories),
        archived=sequence["archived"],
        version=sequence["latest_version"],
    )


def _by_time(story: EnrollmentStory) -> tuple[datetime, str]:
    return story.planned_at or story.created_at, str(story.id)


def _by_end(story: EnrollmentStory) -> tuple[datetime, str]:
    return story.ended_at or story.created_at, str(story.id)


def tallies(counts: Mapping[str, Mapping[str, int]]) -> list[Count]:
    """People by state, answered ones apart from others that have ended; empty states are left out."""
    numbers = {state: number - counts["answered"].get(state, 0) for state, number in counts["state"].items()}
    numbers["answered"] = sum(counts["answered"].values())
    return [Count(*WORDS[state], number=numbers[state]) for state in WORDS if numbers.get(state, 0) > 0]


def line(story: EnrollmentStory, person: PersonView | None) -> Line:
    """One person's row."""
    word, icon, pill = WORDS.get(state_of(story), (story.state, "·", "quiet"))
    event = story.history[-1] if story.history else None
    return Line(
        id=story.id,
        who=who(story, person),
        word=word,
        icon=icon,
        pill=pill,
        next_what=""
        if story.ended
        else f"{story.stage_id or ''} · {(story.channel or '').replace('_', ' ')}",
        next_at=None if story.ended else moment(story.planned_at, story.zone),
        why=why(story),
        last=told(event) if event else "",
        last_at=moment(event["at"], None) if event else None,
    )


def state_of(story: EnrollmentStory) -> str:
    """The state in a recruiter's words: paused and answered are states to people."""
    if story.state == "scheduled" and story.parked_by is not None:
        return "paused"
    if story.ended and (story.stop or {}).get("reason") == "replied":
        return "answered"
    return story.state


def who(story: EnrollmentStory, person: PersonView | None) -> str:
    """A name, else the producer's id."""
    prospect: Mapping[str, Any] = person.prospect if person else {}
    name = " ".join(filter(None, (prospect.get("first_name"), prospect.get("last_name"))))
    company = prospect.get("company")
    return f"{name or story.external_id}{f', {company}' if company else ''}"


def why(story: EnrollmentStory) -> str:
    """Why it ended, or the reasons for the planned time."""
    if story.stop:
        reason = str(story.stop.get("reason", ""))
        return ", ".join(filter(None, (STOP_WORDS.get(reason, reason), story.stop.get("reason_code"))))
    if story.failure:
        return story.failure.replace("_", " ")
    return "; ".join(str(each.get("detail") or each.get("rule")) for each in story.reasons)


def told(event: Document) -> str:
    """An event in words."""
    what = EVENTS.get(event["type"], str(event["type"]).replace("_", " "))
    stage = event.get("stage_id")
    return f"{what}: {stage}" if stage else what


def moment(at: datetime | None, zone: str | None) -> Moment | None:
    """An instant in UTC, and beside it in the person's zone where that differs."""
    if at is None:
        return None
    at = at.astimezone(UTC)
    exact = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    text = at.strftime("%a %d %b %H:%M")
    local = _local(at, zone)
    if local is None or local.utcoffset() == at.utcoffset():
        return Moment(f"{text} UTC", exact)
    day = "" if local.date() == at.date() else local.strftime("%a ")
    return Moment(f"{text} UTC · {day}{local.strftime('%H:%M')} for them", f"{exact}, {zone}")


def _local(at: datetime, zone: str | None) -> datetime | None:
    found = find_zone(zone)
    return at.astimezone(found) if found else None


def problem_page(problem: Problem) -> web.Response:
    """A problem for people."""
    html = _templates.get_template("problem.html").render(
        title=HTTPStatus(problem.details.status).phrase, detail=problem.details.detail
    )
    headers = {**SECURITY_HEADERS, **problem.headers}
    return web.Response(
        status=problem.status, text=html, content_type="text/html", charset="utf-8", headers=headers
    )


@web.middleware
async def html_problems(request: web.Request, handler: Any) -> web.StreamResponse:
    """On pages, problems are pages too."""
    try:
        response: web.StreamResponse = await handler(request)
    except Problem as problem:
        wants_html = "text/html" in request.headers.get("Accept", "")
        if not request.path.startswith("/sequences/") or not wants_html:
            raise
        return problem_page(problem)
    return response
