"""Whom nobody writes to: ask for one, add, remove, bring a list. Only fingerprints are kept."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from api.bodies import read_text
from api.dashboard.colleagues import colleagues, locked_for, named, names_by_id
from api.dashboard.fields import Field, Form, Tried, loose, said, status_of, with_tried, word
from api.dashboard.sections import SECTIONS
from api.dashboard.visit import SECURITY_HEADERS, Note, Page, Visit
from api.keys import KeyScope
from api.paging import Page as Rows
from api.problems import Problem, invalid_at
from api.routes.suppressions import Imported, SuppressionShown
from api.routing import CSV, Body

KINDS: Final = {
    "address": "e-mail address",
    "domain": "domain",
    "phone": "phone",
    "company": "company",
    "sender": "one mailbox to one address",
}
FIELDS: Final = {
    "address": "e-mail address",
    "domain": "domain",
    "phone": "phone",
    "company_key": "company (its key, or its domain)",
}
MODES: Final[Mapping[str, tuple[str, str, str]]] = {
    "block": ("not written to", "⊘", "problem"),
    "warn": ("warned of", "▲", "waiting"),
}
REASONS: Final = {
    "requested": "somebody here asked for it",
    "imported": "it was on a list",
    "unsubscribed": "they unsubscribed",
    "opt_out": "they asked not to be written to",
    "bounced": "the address bounced",
    "bounce": "the address bounced",
    "complained": "they complained",
    "complaint": "they complained",
}
WHOLE_WORDS: Final = {"block": "do not write to it", "warn": "enroll, and warn (companies only)"}
MOST_REFUSED: Final = 100


async def page(visit: Visit) -> web.StreamResponse:
    """The list and its forms."""
    return await _page(visit, None)


async def _page(visit: Visit, tried: Tried | None, **more: Any) -> web.Response:
    query = {"cursor": visit.request.query["cursor"]} if visit.request.query.get("cursor") else {}
    rows: Rows[SuppressionShown] = await visit.ask("GET /v1/suppressions", query=query)
    users = await colleagues(visit)
    forms = _forms(locked_for(visit, KeyScope.WRITE, users))
    values = {"asked": None, "found": None, "imported": None, **more}
    return visit.page(
        "suppressions.html",
        title="Not to be written to",
        status=status_of(tried),
        rows=rows.items,
        cursor=rows.next_cursor,
        names=names_by_id(users),
        named=named,
        sections=SECTIONS,
        tab="/suppressions",
        forms=with_tried(forms, tried),
        problem=loose(forms, tried),
        locked_admin=locked_for(visit, KeyScope.ADMIN, users),
        kinds=KINDS,
        modes=MODES,
        reasons=REASONS,
        most_refused=MOST_REFUSED,
        **values,
    )


def _forms(locked: str) -> list[Form]:
    kind = Field("kind", "What", "address", "select", options=FIELDS)
    value = Field("value", "Which one", needed=True, example="pat@there.example")
    mode = Field("mode", "What follows", "block", "select", options=WHOLE_WORDS)
    reason = Field("reason", "Why", example="our client")
    file = Field(
        "file",
        "CSV file",
        kind="file",
        at="",
        help="Columns: address, domain, phone, company_key, reason, mode. Up to 50,000 rows.",
    )
    why = Field("reason", "Why, for rows that do not say", at="?reason")
    return [
        Form("Ask whether one is on it", "/suppressions/find", (kind, value), "Ask"),
        Form("Add one", "/suppressions", (kind, value, mode, reason), "Do not write to it", locked=locked),
        Form("Bring a list", "/suppressions/import", (file, why), "Add all that are on it", locked=locked),
    ]


def _what(typed: Mapping[str, Any]) -> dict[str, str]:
    """The value under the name that the API has for its kind; Problem 422 for a kind that there is not."""
    kind, value = word(typed, "kind") or "", word(typed, "value")
    if kind not in FIELDS:
        raise invalid_at("/kind", "choose one of the list")
    if value is None:
        raise invalid_at("/value", "is missing")
    return {kind: value}


def _at_value(problem: Problem) -> Problem:
    """The same, where what is wrong with the value stands beside the form's one field for it."""
    for each in problem.details.errors:
        if each.pointer.removeprefix("/") in FIELDS:
            each.pointer = "/value"
    return problem


async def find(visit: Visit) -> web.StreamResponse:
    """Ask for one; a post, so that the value stands in no log of addresses."""
    typed = await visit.form()
    try:
        what = _what(typed)
        found = await _found(visit, what)
    except Problem as problem:
        return await _page(visit, Tried("/suppressions/find", typed, _at_value(problem)))
    [asked] = what.items()
    return await _page(visit, None, asked=asked, found=found)


async def _found(visit: Visit, what: Mapping[str, str]) -> SuppressionShown | None:
    try:
        found: SuppressionShown = await visit.ask("POST /v1/suppressions/find", dict(what))
    except Problem as problem:
        if problem.status != web.HTTPNotFound.status_code:
            raise
        return None
    return found


async def add(visit: Visit) -> web.StreamResponse:
    """Add one; an admin can take it back."""
    typed = await visit.form()
    try:
        data = {**_what(typed), **said(mode=word(typed, "mode"), reason=word(typed, "reason"))}
        answer = await visit.answer("POST /v1/suppressions", data)
    except Problem as problem:
        return await _page(visit, Tried("/suppressions", typed, _at_value(problem)))
    if answer.status == web.HTTPOk.status_code:
        return visit.go("/suppressions", Note("It was there already, and keeps its reason."))
    note = Note(
        "Nobody writes to it any more." if data.get("mode") != "warn" else "Whoever enrolls it is warned."
    )
    added = answer.body
    if visit.caller.is_admin and isinstance(added, SuppressionShown):
        note = Note(note.text, undo_path="/suppressions/remove", undo_fields={"id": added.id})
    return visit.go("/suppressions", note)


async def remove(visit: Visit) -> web.StreamResponse:
    """Allow writing again. Where the form says what it was, it can be put back."""
    typed = await visit.form()
    suppression_id = word(typed, "id") or ""
    try:
        await visit.ask("DELETE /v1/suppressions/{suppression_id}", suppression_id=suppression_id)
    except Problem as problem:
        return await _page(visit, Tried("/suppressions/remove", typed, problem))
    before = {name: word(typed, name) or "" for name in ("kind", "value", "mode", "reason")}
    if not before["value"]:
        return visit.go("/suppressions", Note("It is removed."))
    text = f"{before['value']} may be written to again."
    return visit.go("/suppressions", Note(text, undo_path="/suppressions", undo_fields=before))


async def bring(visit: Visit) -> web.StreamResponse:
    """A CSV file of many."""
    typed = await visit.form()
    file = typed.get("file")
    try:
        if not isinstance(file, web.FileField) or not file.filename:
            raise invalid_at("/file", "choose a file")
        body = Body(CSV, read_text(file.file.read()))
        query = said(reason=word(typed, "reason"))
        imported: Imported = await visit.ask("POST /v1/suppressions/import", body, query=query)
    except Problem as problem:
        return await _page(visit, Tried("/suppressions/import", typed, problem))
    return await _page(visit, None, imported=imported)


async def export(visit: Visit) -> web.StreamResponse:
    """The list as CSV, without what it is about."""
    answer = await visit.answer("GET /v1/suppressions/export")
    assert answer.csv is not None, "the route's answer"
    headers = {**SECURITY_HEADERS, "Content-Disposition": 'attachment; filename="suppressions.csv"'}
    response = web.StreamResponse(headers=headers)
    response.content_type = CSV
    await response.prepare(visit.request)
    async for part in answer.csv:
        await response.write(part)
    await response.write_eof()
    return response


PAGES = (
    Page("GET", "/suppressions", page),
    Page("POST", "/suppressions", add),
    Page("POST", "/suppressions/find", find),
    Page("POST", "/suppressions/remove", remove),
    Page("POST", "/suppressions/import", bring),
    Page("GET", "/suppressions/export", export),
)
