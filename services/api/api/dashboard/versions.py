"""What changed between versions of a sequence, and taking the people in it to the latest one."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from aiohttp import web

from api.dashboard.differences import difference
from api.dashboard.visit import Note, Page, Visit
from api.problems import Problem
from api.routes.migration import MigrationAnswer
from api.routes.sequences import SequenceWhole

ROWS = 50
PEOPLE = 50


async def versions(visit: Visit) -> web.StreamResponse:
    """All versions, and what changed between two of them: by default the latest and the one before."""
    sequence = await _sequence(visit)
    words = visit.request.query
    query: dict[str, Any] = {"limit": ROWS}
    if words.get("cursor"):
        query["cursor"] = words["cursor"]
    rows = await visit.ask("GET /v1/sequences/{sequence_id}/versions", query=query, sequence_id=sequence.id)
    after = words.get("to") or str(sequence.latest_version)
    before = words.get("from") or str(max(1, sequence.latest_version - 1))
    return visit.page(
        "versions.html",
        title=f"Versions of {sequence.name}",
        sequence=sequence,
        rows=rows.items,
        cursor=rows.next_cursor,
        before=before,
        after=after,
        difference=difference(
            await _document(visit, sequence.id, before), await _document(visit, sequence.id, after)
        ),
    )


async def apply(visit: Visit) -> web.StreamResponse:
    """Who would go on with the latest version, and what that changes for each."""
    return await _apply(visit, await _sequence(visit))


async def migrate(visit: Visit) -> web.StreamResponse:
    """Take everybody to the latest version."""
    fields = await visit.form()
    sequence = await _sequence(visit)
    data = {"to_version": _number(str(fields.get("to", ""))), "all": True}
    try:
        await visit.ask("POST /v1/sequences/{sequence_id}/migrate", data, query={}, sequence_id=sequence.id)
    except Problem as problem:
        return await _apply(visit, sequence, problem)
    here = f"/sequences/{sequence.id}"
    return visit.go(here, Note(f"Everybody in it goes on with version {data['to_version']}."))


async def _apply(visit: Visit, sequence: SequenceWhole, problem: Problem | None = None) -> web.Response:
    live = await visit.ask(
        "GET /v1/sequences/{sequence_id}/enrollments",
        query={"state": "live", "limit": PEOPLE},
        sequence_id=sequence.id,
    )
    rehearsed, away = await _rehearsed(visit, sequence)
    return visit.page(
        "apply.html",
        title="Apply to people in flight?",
        status=problem.status if problem else HTTPStatus.OK,
        sequence=sequence,
        live=len(live.items),
        names={each.id: each.name for each in live.items},
        are_more_live=live.next_cursor is not None,
        people=rehearsed.people,
        has_more=rehearsed.next_cursor is not None,
        away=away.details.detail if away else "",
        problem=problem.details if problem else None,
    )


async def _rehearsed(visit: Visit, sequence: SequenceWhole) -> tuple[MigrationAnswer, Problem | None]:
    """What would change for the first of them; with the reason if that can't be told at the moment."""
    asked = {"to_version": sequence.latest_version, "all": True, "dry_run": True}
    try:
        told: MigrationAnswer = await visit.ask(
            "POST /v1/sequences/{sequence_id}/migrate",
            asked,
            query={"limit": PEOPLE},
            sequence_id=sequence.id,
        )
    except Problem as problem:
        if problem.status is not HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return MigrationAnswer(), problem
    return told, None


async def _sequence(visit: Visit) -> SequenceWhole:
    whole: SequenceWhole = await visit.ask(
        "GET /v1/sequences/{sequence_id}", sequence_id=visit.uuid("sequence_id", "sequence")
    )
    return whole


async def _document(visit: Visit, sequence_id: UUID, number: str) -> dict[str, Any]:
    version = await visit.ask(
        "GET /v1/sequences/{sequence_id}/versions/{version}", sequence_id=sequence_id, version=number
    )
    document: dict[str, Any] = version.document
    return document


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


PAGES = (
    Page("GET", "/sequences/{sequence_id}/versions", versions),
    Page("GET", "/sequences/{sequence_id}/apply", apply),
    Page("POST", "/sequences/{sequence_id}/apply", migrate),
)
