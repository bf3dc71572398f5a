"""Forgetting a person, for admins: what will happen and what stays, the name typed as the answer; and all
that is kept of them, to take along.
"""

from http import HTTPStatus

from aiohttp import web

from api.dashboard.person import name_of
from api.dashboard.visit import SECURITY_HEADERS, Note, Page, Visit
from api.problems import Problem, invalid_at
from api.routes.enrollments import EnrollmentWhole
from api.routing import JSON


async def question(visit: Visit) -> web.StreamResponse:
    """What erasing does, before it is done; how far it is, afterwards."""
    return await _shown(visit, await _whole(visit))


async def erase(visit: Visit) -> web.StreamResponse:
    """Erase the person whose name was typed."""
    fields, whole = await visit.form(), await _whole(visit)
    try:
        if _plain(str(fields.get("name", ""))) != _plain(name_of(whole)):
            raise invalid_at("/name", f"type “{name_of(whole)}”, and they are erased")
        await visit.ask("POST /v1/people/{external_id}/erasure", external_id=whole.external_id)
    except Problem as problem:
        return await _shown(visit, whole, problem)
    return visit.go(f"/enrollments/{whole.id}", Note("The person is being erased."))


async def everything(visit: Visit) -> web.StreamResponse:
    """All that is kept of the person, as a file."""
    whole = await _whole(visit)
    answer = await visit.answer("GET /v1/people/{external_id}/export", external_id=whole.external_id)
    assert answer.json is not None, "the route's answer"
    response = web.StreamResponse(headers={**SECURITY_HEADERS, **answer.headers})
    response.content_type = JSON
    await response.prepare(visit.request)
    async for part in answer.json:
        await response.write(part)
    await response.write_eof()
    return response


async def _whole(visit: Visit) -> EnrollmentWhole:
    enrollment_id = visit.uuid("enrollment_id", "enrollment")
    whole: EnrollmentWhole = await visit.ask(
        "GET /v1/enrollments/{enrollment_id}", enrollment_id=enrollment_id
    )
    return whole


async def _shown(visit: Visit, whole: EnrollmentWhole, problem: Problem | None = None) -> web.Response:
    erasure = await visit.ask("GET /v1/people/{external_id}/erasure", external_id=whole.external_id)
    return visit.page(
        "person_erase.html",
        title=f"Erase {name_of(whole)}" if erasure.state == "known" else "Erased",
        status=problem.status if problem else HTTPStatus.OK,
        whole=whole,
        name=name_of(whole),
        erasure=erasure,
        problem=problem.details if problem else None,
    )


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


_ONE = "/enrollments/{enrollment_id}"
PAGES = (
    Page("GET", _ONE + "/erase", question),
    Page("POST", _ONE + "/erase", erase),
    Page("GET", _ONE + "/everything", everything),
)
