"""The list of sequences: yours, those shared with the team, and for admins all; and what is done with one."""

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from api.dashboard.colleagues import colleagues, names_by_id
from api.dashboard.funnel import percent
from api.dashboard.views import moment
from api.dashboard.visit import Note, Page, Visit
from api.paging import Page as Rows
from api.problems import Problem
from api.routes.sequences import SequenceRow, SequenceWhole

ROWS: Final = 50
SORTS: Final = {"created": "newest first", "changed": "changed last", "name": "by name"}
CHOICES: Final = (
    ("finish", "go on to the end"),
    ("hold", "are paused, until somebody resumes the sequence"),
    ("stop", "are stopped: nothing more goes out to them in this sequence"),
)


async def sequences(visit: Visit) -> web.StreamResponse:
    """One row a sequence."""
    words = visit.request.query
    tabs = [("me", "Your"), ("others", "Shared"), *([("all", "All")] if visit.caller.is_admin else [])]
    of = words.get("of", "me") if words.get("of") in dict(tabs) else "me"
    archived = words.get("archived") == "true"
    query = {name: words[name] for name in ("tag", "q") if words.get(name)}
    if words.get("sort") in SORTS:
        query["sort"] = words["sort"]
    rows: Rows[SequenceRow] = await visit.ask(
        "GET /v1/sequences", query=_asked(query, of, archived, words.get("cursor"))
    )
    people = names_by_id(await colleagues(visit))
    return visit.page(
        "sequences.html",
        title="Sequences",
        tabs=tabs,
        of=of,
        rows=[(each, people.get(each.owner_id, ""), _percent(each)) for each in rows.items],
        tags=(await visit.ask("GET /v1/sequence-tags")).tags,
        cursor=rows.next_cursor,
        query={**query, "of": of, **({"archived": "true"} if archived else {})},
        archived=archived,
        sorts=SORTS,
        as_of=_as_of(rows.items, visit.zone),
    )


def _asked(query: dict[str, str], of: str, archived: bool, cursor: str | None) -> dict[str, Any]:
    whose = {"of": of} if of != "all" else {}
    place = {"cursor": cursor} if cursor else {}
    return {**query, **whose, **place, "archived": archived, "limit": ROWS}


def _percent(row: SequenceRow) -> int | None:
    return percent(row.counts.answered, row.counts.enrolled) if row.counts else None


def _as_of(rows: list[SequenceRow], zone: str | None) -> str | None:
    """When the oldest of these numbers were counted."""
    oldest: datetime | None = min((each.counts.counted_at for each in rows if each.counts), default=None)
    told = moment(oldest, None, zone)
    return told.text if told else None


async def copy(visit: Visit) -> web.StreamResponse:
    """A copy of one's own, ready to be changed."""
    await visit.form()
    sequence_id = visit.uuid("sequence_id", "sequence")
    made: SequenceWhole = await visit.ask("POST /v1/sequences/{sequence_id}/copy", sequence_id=sequence_id)
    return visit.go(f"/sequences/{made.id}", Note("Copied. It is yours, and nobody is in it."))


async def question(visit: Visit) -> web.StreamResponse:
    """What archiving means, asked before it is done: there is no way back."""
    return await _question(visit)


async def _question(visit: Visit, problem: Problem | None = None) -> web.StreamResponse:
    sequence = await visit.ask(
        "GET /v1/sequences/{sequence_id}", sequence_id=visit.uuid("sequence_id", "sequence")
    )
    return visit.page(
        "archive.html",
        title=f"Archive {sequence.name}?",
        status=problem.status if problem else HTTPStatus.OK,
        sequence=sequence,
        choices=CHOICES,
        problem=problem.details if problem else None,
    )


async def archive(visit: Visit) -> web.StreamResponse:
    """Take no more people."""
    form, sequence_id = await visit.form(), visit.uuid("sequence_id", "sequence")
    try:
        await visit.ask(
            "POST /v1/sequences/{sequence_id}/archive",
            {"people": str(form.get("people", "finish"))},
            sequence_id=sequence_id,
        )
    except Problem as problem:
        return await _question(visit, problem)
    return visit.go("/sequences", Note("Archived. It is in the list of archived sequences."))


_ONE: Final = "/sequences/{sequence_id}"
PAGES = (
    Page("GET", "/sequences", sequences),
    Page("POST", _ONE + "/copy", copy),
    Page("GET", _ONE + "/archive", question),
    Page("POST", _ONE + "/archive", archive),
)
