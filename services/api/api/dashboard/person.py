"""One person in one sequence: a single timeline of what was, now, and what is to come with its reasons."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from api.dashboard.visit import Note, Page, Visit
from api.model import full_name
from api.problems import Problem
from api.routes.enrollments import EnrollmentRow, EnrollmentWhole
from chassis.inquiries import Schedule
from chassis.zones import find_zone

DONE: Final[Mapping[str, str]] = {
    "pause": "Paused.",
    "resume": "Resumed.",
    "stop": "Stopped. Nothing more goes out in this sequence.",
    "mark-replied": "Marked as answered. Everything of this person that waits for an answer stops.",
    "reschedule": "Moved.",
}
"""What can be done here, by the last part of its path, and what is said then."""
UNDO: Final[Mapping[str, str]] = {"pause": "resume", "resume": "pause"}


async def person(visit: Visit) -> web.StreamResponse:
    """The timeline."""
    return await _shown(visit)


async def act(visit: Visit) -> web.StreamResponse:
    """Pause, resume, stop, mark as answered, or move the next stage."""
    fields = await visit.form()
    action, enrollment_id = visit.request.match_info["action"], visit.uuid("enrollment_id", "enrollment")
    try:
        data = _request(action, fields, visit.zone)
        route = f"POST /v1/enrollments/{{enrollment_id}}/{action}"
        await visit.ask(route, data, enrollment_id=enrollment_id)
    except Problem as problem:
        return await _shown(visit, problem)
    undo = UNDO.get(action)
    here = f"/enrollments/{enrollment_id}"
    note = Note(DONE[action], undo_path=f"{here}/{undo}" if undo else "", undo_fields={})
    return visit.go(here, note)


def _request(action: str, fields: Mapping[str, Any], zone: str | None) -> dict[str, Any]:
    if action == "reschedule":
        return {"at": instant(str(fields.get("at", "")), zone)}
    if action == "pause" and fields.get("until"):
        return {"until": instant(str(fields["until"]), zone)}
    return {}


def instant(text: str, zone: str | None) -> str:
    """What a date and time field of the browser holds, in the reader's zone, as the API wants it."""
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        return text  # the API says what is wrong with it
    return local.replace(tzinfo=local.tzinfo or find_zone(zone) or UTC).astimezone(UTC).isoformat()


async def _shown(visit: Visit, problem: Problem | None = None) -> web.Response:
    enrollment_id = visit.uuid("enrollment_id", "enrollment")
    whole: EnrollmentWhole = await visit.ask(
        "GET /v1/enrollments/{enrollment_id}", enrollment_id=enrollment_id
    )
    sequence = await visit.ask("GET /v1/sequences/{sequence_id}", sequence_id=whole.sequence_id)
    return visit.page(
        "person.html",
        title=name_of(whole),
        status=problem.status if problem else HTTPStatus.OK,
        whole=whole,
        sequence=sequence,
        state=state_of(whole),
        deliveries={each.stage_id: each for each in whole.deliveries},
        ahead=await _ahead(visit, whole),
        now=visit.api.clock.now(),
        problem=problem.details if problem else None,
    )


async def _ahead(visit: Visit, whole: EnrollmentWhole) -> Schedule | None:
    """What is to come; None while the scheduler can't be asked, or when it has ended."""
    if whole.ended_at is not None:
        return None
    try:
        ahead: Schedule = await visit.ask(
            "GET /v1/enrollments/{enrollment_id}/schedule", enrollment_id=whole.id
        )
    except Problem:
        return None
    return ahead


def name_of(whole: EnrollmentWhole) -> str:
    """A name, else the producer's id."""
    return full_name(whole.prospect or {}) or whole.external_id


def state_of(whole: EnrollmentRow) -> str:
    """The state in a recruiter's words: paused and answered are states to people."""
    if whole.state == "scheduled" and whole.held:
        return "paused"
    if whole.stop is not None and whole.stop.reason == "replied":
        return "answered"
    return whole.state


_ONE: Final = "/enrollments/{enrollment_id}"
PAGES = (
    Page("GET", _ONE, person),
    Page("POST", _ONE + "/{action:" + "|".join(DONE) + "}", act),
)
