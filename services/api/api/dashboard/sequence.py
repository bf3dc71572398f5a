"""The page of one sequence: who is where, what comes next and why; it updates by itself."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import web

from api import telemetry
from api.dashboard.funnel import Chart, chart_of
from api.dashboard.person import instant, state_of
from api.dashboard.views import STATES, STOPS, Moment, moment, page_html, told
from api.dashboard.visit import SECURITY_HEADERS, Fields, Note, Page, Visit, visit_of
from api.problems import Problem, unavailable
from api.reads import ENDED_STATES
from api.routes.enrollments import EnrollmentRow
from api.routes.sequence_people import PeopleAnswer
from api.routes.sequences import SequenceWhole
from chassis.errors import Retry
from chassis.telemetry import fields

log = logging.getLogger(__name__)

ROWS = 50
HEARTBEAT_SECONDS = 15.0
RECONNECT_MS = 3000
MOST_KEPT = 500
WORDS: Final[Mapping[str, str]] = {
    "live": "going on",
    **{state: STATES[state][0] for state in ("scheduled", "dispatched", "awaiting_task", "in_doubt")},
    "held": "paused",
    "answered": "answered",
    **{state: STATES[state][0] for state in ENDED_STATES},
}
"""What the table can show, in a recruiter's words."""
ACTIONABLE: Final = ("live", "scheduled", "dispatched", "awaiting_task", "in_doubt", "held")
"""Of these, all can be acted on at once."""
DONE: Final[Mapping[str, str]] = {
    "pause": "Paused",
    "resume": "Resumed",
    "stop": "Stopped",
    "mark_replied": "Marked as answered",
}
WAITS: Final[Mapping[str, str]] = {
    "owner_left": "Its owner has left: nothing goes out until somebody takes it over.",
    "consent_withdrawn": "The mailbox it is sent from belongs to somebody who does not agree any more.",
}
"""Why a sequence waits as a whole; for anything else the hold's own reason is told."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a page shows of a sequence, and for whom: equal looks show the same to whoever may see it."""

    state: str = ""
    person: str = ""
    cursor: str = ""
    zone: str | None = None
    right: str | None = None

    @property
    def query(self) -> dict[str, str]:
        """As in the page's address."""
        words = {"state": self.state, "person": self.person, "cursor": self.cursor}
        return {name: value for name, value in words.items() if value}


@dataclass(slots=True)
class LivePages:
    """The open live pages of this process; `stopping` ends them.

    What they show is made once for all that look at the same, however many they are.
    """

    stopping: asyncio.Event
    open: int = 0
    made: dict[Hashable, tuple[float, asyncio.Future[str]]] = field(default_factory=dict)

    async def shared(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[str]]) -> str:
        """What `make` makes, or made less than so many seconds ago."""
        now = asyncio.get_running_loop().time()
        at, future = self.made.get(key, (0.0, None))
        if future is None or now - at >= seconds:
            self.made = {k: kept for k, kept in self.made.items() if now - kept[0] < 10 * seconds}
            future = asyncio.ensure_future(make())
            if len(self.made) < MOST_KEPT:
                self.made[key] = (now, future)
        return await asyncio.shield(future)


LiveKey: web.AppKey[LivePages] = web.AppKey("live", LivePages)


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


async def page(visit: Visit) -> web.StreamResponse:
    """Who is where, what comes next and why; it updates by itself."""
    return await _shown(visit)


async def _shown(
    visit: Visit, problem: Problem | None = None, chosen: Fields | None = None
) -> web.StreamResponse:
    sequence = await _sequence(visit)
    look = _look(visit, sequence)
    path = f"/sequences/{sequence.id}"
    asked = f"?{urlencode(look.query)}" if look.query else ""
    return visit.page(
        "sequence.html",
        title=sequence.name,
        status=problem.status if problem else HTTPStatus.OK,
        sequence=sequence,
        waits=[(WAITS.get(each.reason, each.reason), each) for each in sequence.waits],
        is_paused=any(each.scope == "sequence" for each in sequence.waits),
        has_variants=any(stage.get("variants") for stage in sequence.latest.document["stages"]),
        look=look,
        content=await fragment(visit, sequence, look),
        here=path + asked,
        live_url=f"{path}/live{asked}",
        problem=problem.details if problem else None,
        chosen=chosen or {},
    )


def _look(visit: Visit, sequence: SequenceWhole) -> Look:
    words = visit.request.query
    state = words.get("state", "")
    return Look(
        state=state if state in WORDS else "",
        person=words.get("person", "").strip(),
        cursor=words.get("cursor", ""),
        zone=visit.zone,
        right=sequence.right,
    )


async def live(visit: Visit) -> web.StreamResponse:
    """Server-sent events: the page's content whenever it changed."""
    sequence = await _sequence(visit)
    room = visit.request.app[LiveKey]
    if room.open >= visit.api.settings.live_pages:
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
        await response.prepare(visit.request)
        await response.write(f"retry: {RECONNECT_MS}\n\n".encode())
        await _stream(response, visit, sequence)
    except (ConnectionError, Retry, Problem) as error:
        # The browser comes again; once the head is out, nothing else can be answered.
        log.debug("live page ended", extra=fields("page.ended", error=type(error).__name__))
    finally:
        room.open -= 1
        telemetry.LIVE_PAGES.set(room.open)
    return response


async def _stream(response: web.StreamResponse, visit: Visit, sequence: SequenceWhole) -> None:
    room, clock = visit.request.app[LiveKey], visit.api.clock
    shown, written_at = "", clock.monotonic()
    while not room.stopping.is_set():
        # Whoever is signed out, or may not see it any more, sees nothing more.
        now = await visit_of(visit.request)
        if now is None:
            return
        content = await _shared(room, now, await _sequence(now))
        digest = hashlib.sha256(content.encode()).hexdigest()
        if digest != shown:
            await response.write(_event(content))
            shown, written_at = digest, clock.monotonic()
        elif clock.monotonic() - written_at > HEARTBEAT_SECONDS:
            await response.write(b": still here\n\n")
            written_at = clock.monotonic()
        await _wait(room.stopping, visit.api.settings.live_page_seconds)


async def _shared(room: LivePages, visit: Visit, sequence: SequenceWhole) -> str:
    look, seconds = _look(visit, sequence), visit.api.settings.live_page_seconds
    key = (visit.caller.workspace, sequence.id, look)
    return await room.shared(key, seconds, lambda: fragment(visit, sequence, look))


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


def _event(content: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in content.splitlines())
    return f"{lines}\n".encode()


async def _sequence(visit: Visit) -> SequenceWhole:
    sequence_id = visit.uuid("sequence_id", "sequence")
    whole: SequenceWhole = await visit.ask("GET /v1/sequences/{sequence_id}", sequence_id=sequence_id)
    return whole


# ---- content ------------------------------------------------------------------------------------------


async def fragment(visit: Visit, sequence: SequenceWhole, look: Look) -> str:
    """What changes on the page, as HTML: the same for everybody with this look."""
    answer = await visit.ask("GET /v1/sequences/{sequence_id}/counts", sequence_id=sequence.id)
    rows, cursor = await _rows(visit, sequence.id, look)
    chart = chart_of(answer.counts, visit.api.clock) if answer.counts else None
    return page_html(
        "content.html",
        sequence=sequence,
        look=look,
        chart=chart,
        filters=_filters(chart, look.state),
        words=WORDS,
        bulk=look.state or "live",
        lines=[line(each, look.zone) for each in rows],
        cursor=cursor,
        may_act=look.right in ("use", "edit"),
        may_act_on_all=(look.state or "live") in ACTIONABLE and not look.person,
        zone=look.zone,
    )


async def _rows(visit: Visit, sequence_id: UUID, look: Look) -> tuple[list[EnrollmentRow], str | None]:
    """A page of the table. Without a filter, those who go on, and where they fill no page, who has ended."""
    first = await _asked(visit, sequence_id, {**look.query, "limit": ROWS})
    rows, cursor = first.items, first.next_cursor
    if look.query or cursor or len(rows) >= ROWS:
        return rows, cursor
    ended = await _asked(visit, sequence_id, {"state": "ended", "limit": ROWS - len(rows)})
    return rows + ended.items, None


async def _asked(visit: Visit, sequence_id: UUID, query: Mapping[str, Any]) -> Any:
    route = "GET /v1/sequences/{sequence_id}/enrollments"
    return await visit.ask(route, query={"order": "planned", **query}, sequence_id=sequence_id)


def _filters(chart: Chart | None, state: str) -> list[tuple[str, str, int | None]]:
    """The states to choose from: word of the address, word, and how many; those without anybody are left
    out.
    """
    if chart is None:
        return [(word, said, None) for word, said in WORDS.items()]
    numbers = chart.numbers
    return [(word, said, numbers[word]) for word, said in WORDS.items() if numbers[word] or word == state]


def line(row: EnrollmentRow, zone: str | None) -> Line:
    """One person's row, for a reader in `zone`."""
    word, icon, pill = STATES.get(state_of(row), (row.state, "·", "quiet"))
    event, coming = row.last_event, row.next
    return Line(
        id=row.id,
        who=f"{row.name or row.external_id}{f', {row.company}' if row.company else ''}",
        word=word,
        icon=icon,
        pill=pill,
        next_what=f"{coming.stage_id} · {(coming.channel or '').replace('_', ' ')}" if coming else "",
        next_at=moment(coming.planned_at, coming.zone, zone) if coming else None,
        why=why(row),
        last=told(event.model_dump()) if event else "",
        last_at=moment(event.at, None, zone) if event else None,
    )


def why(row: EnrollmentRow) -> str:
    """Why it ended, or the reasons for the planned time."""
    if row.stop:
        return ", ".join(filter(None, (STOPS.get(row.stop.reason, row.stop.reason), row.stop.reason_code)))
    if row.failure:
        return row.failure.replace("_", " ")
    reasons = row.next.reasons if row.next else []
    return "; ".join(str(each.get("detail") or each.get("rule")) for each in reasons)


# ---- actions ------------------------------------------------------------------------------------------


async def act_on_people(visit: Visit) -> web.StreamResponse:
    """Pause, resume, stop or mark as answered those ticked, or all in a state."""
    form = await visit.form()
    do, state = str(form.get("do", "")), str(form.get("all", ""))
    ids = [*map(str, form.getall("id", [])), *str(form.get("ids", "")).split()]
    whom = {"state": state} if state else {"enrollment_ids": ids}
    sequence_id = visit.uuid("sequence_id", "sequence")
    try:
        answer: PeopleAnswer = await visit.ask(
            "POST /v1/sequences/{sequence_id}/people", {"do": do, **whom}, sequence_id=sequence_id
        )
    except Problem as problem:
        return await _shown(visit, problem, form)
    return visit.go(f"/sequences/{sequence_id}", _note(do, state, ids, answer, sequence_id), **_back(visit))


def _note(do: str, state: str, ids: list[str], answer: PeopleAnswer, sequence_id: UUID) -> Note:
    """What was done, and how it is taken back where that is exactly what was done."""
    if answer.command is not None:
        return Note(f"{DONE[do]}: everybody who is {WORDS[state]}. It goes on by itself, page by page.")
    people = "1 person" if answer.accepted == 1 else f"{answer.accepted:,} people"
    undo = {"pause": "resume", "resume": "pause"}.get(do)
    if undo is None or state or len(ids) > ROWS:
        return Note(f"{DONE[do]}: {people}.")
    taken_back = {"do": undo, "ids": " ".join(UUID(each).hex for each in ids)}
    path = f"/sequences/{sequence_id}/people"
    return Note(f"{DONE[do]}: {people}.", undo_path=path, undo_fields=taken_back)


def _back(visit: Visit) -> dict[str, str]:
    return {name: visit.request.query[name] for name in ("state", "person") if visit.request.query.get(name)}


async def act(visit: Visit) -> web.StreamResponse:
    """Pause the sequence or let it go on."""
    form, action = await visit.form(), visit.request.match_info["action"]
    sequence_id = visit.uuid("sequence_id", "sequence")
    data: dict[str, Any] = {}
    if action == "pause" and form.get("until"):
        data["until"] = instant(str(form["until"]), visit.zone)
    if action == "pause" and form.get("reason"):
        data["reason"] = str(form["reason"])
    try:
        await visit.ask(f"POST /v1/sequences/{{sequence_id}}/{action}", data, sequence_id=sequence_id)
    except Problem as problem:
        return await _shown(visit, problem, form)
    undo = "resume" if action == "pause" else "pause"
    said = "Nothing of this sequence goes out until it is resumed." if action == "pause" else "It goes on."
    path = f"/sequences/{sequence_id}"
    return visit.go(path, Note(said, undo_path=f"{path}/{undo}", undo_fields={}))


PAGES = (
    Page("GET", "/sequences/{sequence_id}", page),
    Page("GET", "/sequences/{sequence_id}/live", live),
    Page("POST", "/sequences/{sequence_id}/people", act_on_people),
    Page("POST", "/sequences/{sequence_id}/{action:pause|resume}", act),
)
