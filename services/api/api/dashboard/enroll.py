"""Review and launch: people come as a list, are looked at row by row, and are enrolled together."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from api.bodies import read_text
from api.dashboard.person import instant
from api.dashboard.views import moment
from api.dashboard.visit import Note, Page, Visit, own_path
from api.list_store import UNREADABLE
from api.model import full_name
from api.problems import Problem, invalid_at
from api.routes.lists import ListShown
from api.routing import CSV, Body
from segue_contracts.prospect import Prospect

ROWS: Final = 50
ALWAYS: Final = ("email", "first_name")
"""What can be mended in place where nothing says which field is at fault."""
PLAIN: Final = tuple(name for name in Prospect.model_fields if name not in ("tokens", "dates"))
ROW_STATES: Final[Mapping[str, tuple[str, str, str]]] = {
    "unchecked": ("not checked yet", "…", "quiet"),
    "ready": ("ready", "✓", "answered"),
    "warned": ("look at it", "▲", "waiting"),
    "problem": ("problem", "!", "problem"),
    "excluded": ("left out", "⊘", "quiet"),
    "accepted": ("being enrolled", "➤", "planned"),
    "enrolled": ("enrolled", "✓", "answered"),
    "refused": ("refused", "!", "problem"),
}
TITLES: Final = {"draft": "Enroll in", "launching": "Enrolling in", "launched": "Enrolled in"}
CODES: Final[Mapping[str, str]] = {
    "unreadable": "can't be read",
    "twice": "twice on this list",
    "same_address": "same address as somebody else",
    "in_a_sequence": "in a sequence already",
    "already_in_a_sequence": "in a sequence already",
    "already_enrolled": "enrolled here already",
    "suppressed": "must not be written to",
    "stopped": "stopped before",
    "token_missing": "a value is missing",
    "email_missing": "no e-mail address",
    "phone_missing": "no phone number",
    "company_warned": "somebody warns of the company",
    "date_missing": "a date is missing",
    "date_past": "a date is past",
    "window_never_opens": "never a time to send",
    "sequence_archived": "the sequence is archived",
    "too_much": "too long to be shown",
}
_NAMED: Final = re.compile(r'"?([^"<>]*?)"?\s*<([^<>]*)>')
NOTHING: Final = "Paste people, or choose a file: both are empty."
BOTH: Final = "Paste people or choose a file, not both."


# ---- people come --------------------------------------------------------------------------------------


async def page(visit: Visit) -> web.StreamResponse:
    """Where people are pasted or uploaded, and the lists that are there already."""
    return await _form(visit)


async def prepare(visit: Visit) -> web.StreamResponse:
    """Keep them as a list, and go on to it."""
    fields = await visit.form()
    sequence_id = visit.uuid("sequence_id", "sequence")
    try:
        start_at = str(fields.get("start_at", ""))
        query = {"start_at": instant(start_at, visit.zone)} if start_at else {}
        made: ListShown = await visit.ask(
            "POST /v1/sequences/{sequence_id}/lists",
            Body(CSV, _text_of(fields)),
            query=query,
            sequence_id=sequence_id,
        )
    except Problem as problem:
        return await _form(visit, fields, problem)
    return visit.go(f"/lists/{made.id}")


async def _form(
    visit: Visit, fields: Mapping[str, Any] | None = None, problem: Problem | None = None
) -> web.Response:
    sequence_id = visit.uuid("sequence_id", "sequence")
    lists = await visit.ask(
        "GET /v1/sequences/{sequence_id}/lists", query={"limit": 20}, sequence_id=sequence_id
    )
    sequence = await visit.ask("GET /v1/sequences/{sequence_id}", sequence_id=sequence_id)
    typed = fields or {}
    return visit.page(
        "enroll.html",
        title="Enroll people",
        status=problem.status if problem else HTTPStatus.OK,
        sequence=sequence,
        lists=lists.items,
        problem=problem.details if problem else None,
        typed={name: str(typed.get(name, "")) for name in ("people", "start_at")},
        chosen=_file_name(typed),
    )


def _file_name(fields: Mapping[str, Any]) -> str:
    found = fields.get("file")
    return found.filename if isinstance(found, web.FileField) else ""


def _text_of(fields: Mapping[str, Any]) -> str:
    """The people of the form as a CSV file; Problem 400 or 422 for none, or for what is no text."""
    pasted = str(fields.get("people", ""))
    if _file_name(fields):
        if pasted.strip():
            raise invalid_at("/file", BOTH)
        return read_text(fields["file"].file.read())
    if not pasted.strip():
        raise invalid_at("/people", NOTHING)
    first = pasted.lstrip().split("\n", 1)[0]
    return csv_of_addresses(pasted) if "@" in first else pasted.lstrip()


def csv_of_addresses(text: str) -> str:
    """Lines such as `Priya Shah <priya@there.example>` as a CSV file; what is no address is kept."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(("email", "first_name", "last_name"))
    for line in text.splitlines():
        if line.strip():
            writer.writerow(_person(line.strip().rstrip(",;")))
    return file.getvalue()


def _person(line: str) -> tuple[str, str, str]:
    named = _NAMED.fullmatch(line)
    if named is None:
        return line, "", ""
    name, address = named.groups()
    if "," in name:
        last, _, first = (part.strip() for part in name.partition(","))
        return address, first, last
    first, _, last = name.partition(" ")
    return address, first, last.strip()


# ---- the list -----------------------------------------------------------------------------------------


async def review(visit: Visit) -> web.StreamResponse:
    """The list: problems first, what each would be sent and when, and the launch."""
    return await _review(visit)


async def _review(visit: Visit, problem: Problem | None = None) -> web.Response:
    it = await _list(visit)
    words = visit.request.query
    query = {name: words[name] for name in ("status", "problem", "cursor") if words.get(name)}
    rows = await visit.ask("GET /v1/lists/{list_id}/rows", query={**query, "limit": ROWS}, list_id=it.id)
    sequence = await visit.ask("GET /v1/sequences/{sequence_id}", sequence_id=it.sequence_id)
    return visit.page(
        "enroll_list.html",
        title=f"{TITLES[it.state]} {sequence.name}",
        status=problem.status if problem else HTTPStatus.OK,
        it=it,
        sequence=sequence,
        rows=rows.items,
        cursor=rows.next_cursor,
        unrehearsed=rows.unrehearsed,
        query={name: value for name, value in query.items() if name != "cursor"},
        first_message=first_message(it, visit),
        here=visit.request.path_qs if visit.request.method == "GET" else f"/lists/{it.id}",
        mendable=mendable,
        value_of=value_of,
        progress=progress_of(it),
        ROW_STATES=ROW_STATES,
        CODES=CODES,
        problem=problem.details if problem else None,
    )


async def _list(visit: Visit) -> ListShown:
    it: ListShown = await visit.ask("GET /v1/lists/{list_id}", list_id=visit.uuid("list_id", "list"))
    return it


def progress_of(it: ListShown) -> tuple[int, int]:
    """How many are done, of how many: checked in a draft, else enrolled or refused."""
    counts = it.counts
    if it.state == "draft":
        checked = counts["ready"] + counts["problem"]
        return checked, checked + counts["unchecked"]
    done = counts["enrolled"] + counts["refused"]
    return done, done + counts["accepted"] + counts["ready"] + counts["unchecked"]


def first_message(it: ListShown, visit: Visit) -> str:
    """When the first message goes out after a launch now, as far as that is known."""
    if it.first_at is None:
        return ""
    if it.first_at <= visit.api.clock.now():
        return ", first message at once"
    told = moment(it.first_at, None, visit.zone)
    return f", first message {told.text}" if told else ""


async def progress(visit: Visit) -> web.StreamResponse:
    """The bar alone, for htmx."""
    it = await _list(visit)
    return visit.part("enroll_progress.html", it=it, progress=progress_of(it))


def mendable(row: Any) -> list[str]:
    """The pointers of the fields that are worth a place beside a row's problems."""
    unnamed = any(each.code == UNREADABLE and not each.pointer for each in row.problems)
    at_fault = [each.pointer for each in row.problems] + [f"/{name}" for name in ALWAYS if unnamed]
    known = [each for each in at_fault if each[1:] in PLAIN or each.startswith(("/tokens/", "/dates/"))]
    return list(dict.fromkeys(known))


def value_of(row: Any, pointer: str) -> str:
    """What stands at a pointer into a row's prospect."""
    value: Any = row.prospect
    for part in pointer[1:].split("/"):
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)


# ---- rows ---------------------------------------------------------------------------------------------


async def row(visit: Visit) -> web.StreamResponse:
    """One row with every field, and all that it would be sent."""
    return await _row(visit)


async def _row(
    visit: Visit, problem: Problem | None = None, typed: Mapping[str, Any] | None = None
) -> web.Response:
    it = await _list(visit)
    number = visit.request.match_info["row"]
    shown = await visit.ask("GET /v1/lists/{list_id}/rows/{row}", list_id=it.id, row=number)
    return visit.page(
        "enroll_row.html",
        title=name_of(shown.prospect) or f"Row {number}",
        status=problem.status if problem else HTTPStatus.OK,
        it=it,
        row=shown,
        values={each: str((typed or {}).get(each, value_of(shown, each))) for each in _every_pointer(shown)},
        ROW_STATES=ROW_STATES,
        problem=problem.details if problem else None,
    )


def _every_pointer(shown: Any) -> list[str]:
    grouped = [
        f"/{group}/{name}"
        for group in ("tokens", "dates")
        if isinstance(shown.prospect.get(group), Mapping)
        for name in shown.prospect[group]
    ]
    return list(dict.fromkeys([*(f"/{name}" for name in PLAIN), *grouped, *mendable(shown)]))


def name_of(prospect: Mapping[str, Any]) -> str:
    """A name, else an address, else nothing."""
    return full_name(prospect) or str(prospect.get("email") or "")


async def mend(visit: Visit) -> web.StreamResponse:
    """Change fields of a row: those of the form; an empty one is taken away."""
    fields = await visit.form()
    list_id = visit.uuid("list_id", "list")
    number = visit.request.match_info["row"]
    try:
        mended = await visit.ask(
            "PATCH /v1/lists/{list_id}/rows/{row}", _patch(fields), list_id=list_id, row=number
        )
    except Problem as problem:
        return await _row(visit, problem, fields)
    back = own_path(str(fields.get("back") or f"/lists/{list_id}"))
    who = name_of(mended.prospect) or f"Row {number}"
    if mended.problems:
        return visit.go(back, Note(f"{who}: {mended.problems[0].detail}", "problem"))
    return visit.go(back, Note(f"Changed: {who}."))


def _patch(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of a form whose fields are named by pointers."""
    patch: dict[str, Any] = {}
    for pointer, value in fields.items():
        if pointer.startswith("/"):
            *groups, name = pointer[1:].split("/", 1)
            holder = patch.setdefault(groups[0], {}) if groups else patch
            holder[name] = str(value).strip() or None
    return patch


async def exclude(visit: Visit) -> web.StreamResponse:
    """Leave one row, or all with a problem, out of the launch."""
    return await _select(visit, "exclude", "include", "Left out")


async def include(visit: Visit) -> web.StreamResponse:
    """Take them in again."""
    return await _select(visit, "include", "exclude", "Taken in again")


async def _select(visit: Visit, action: str, opposite: str, done: str) -> web.StreamResponse:
    fields = await visit.form()
    list_id = visit.uuid("list_id", "list")
    chosen = {name: str(fields[name]) for name in ("row", "problem") if fields.get(name)}
    try:
        changed = await visit.ask(f"POST /v1/lists/{{list_id}}/{action}", _selection(chosen), list_id=list_id)
    except Problem as problem:
        return await _review(visit, problem)
    who = "1 person" if changed.rows == 1 else f"{changed.rows} people"
    undo = f"/lists/{list_id}/{opposite}"
    return visit.go(_back(fields, list_id), Note(f"{done}: {who}.", undo_path=undo, undo_fields=chosen))


def _selection(chosen: Mapping[str, str]) -> dict[str, Any]:
    return {"rows": [chosen["row"]]} if "row" in chosen else {"problem": chosen.get("problem")}


def _back(fields: Mapping[str, Any], list_id: UUID) -> str:
    return own_path(str(fields["back"])) if fields.get("back") else f"/lists/{list_id}"


# ---- the whole list -----------------------------------------------------------------------------------


async def launch(visit: Visit) -> web.StreamResponse:
    """Enroll everybody without a problem."""
    await visit.form()
    list_id = visit.uuid("list_id", "list")
    try:
        await visit.ask("POST /v1/lists/{list_id}/launch", {}, list_id=list_id)
    except Problem as problem:
        return await _review(visit, problem)
    return visit.go(f"/lists/{list_id}")


async def check(visit: Visit) -> web.StreamResponse:
    """Check everybody again."""
    await visit.form()
    list_id = visit.uuid("list_id", "list")
    await visit.ask("POST /v1/lists/{list_id}/check", {}, list_id=list_id)
    return visit.go(f"/lists/{list_id}", Note("Everybody is checked again."))


async def throw_away(visit: Visit) -> web.StreamResponse:
    """Throw a draft away."""
    await visit.form()
    it = await _list(visit)
    await visit.ask("DELETE /v1/lists/{list_id}", list_id=it.id)
    return visit.go(f"/sequences/{it.sequence_id}/enroll", Note("The list was thrown away."))


async def send_test(visit: Visit) -> web.StreamResponse:
    """Send a test of one row to whoever is signed in."""
    fields = await visit.form()
    list_id = visit.uuid("list_id", "list")
    asked = {"row": str(fields.get("row", "")), "phone": str(fields.get("phone", "")) or None}
    try:
        sent = await visit.ask("POST /v1/lists/{list_id}/test", asked, list_id=list_id)
    except Problem as problem:
        return await _review(visit, problem)
    said = f"A test is on its way to {sent.address}: the first message comes at its own time."
    return visit.go(_back(fields, list_id), Note(said))


def _posts() -> Iterator[Page]:
    for name, handler in (
        ("exclude", exclude),
        ("include", include),
        ("launch", launch),
        ("check", check),
        ("throw-away", throw_away),
        ("test", send_test),
    ):
        yield Page("POST", f"{_ONE}/{name}", handler)


_ONE: Final = "/lists/{list_id}"
PAGES: Final = (
    Page("GET", "/sequences/{sequence_id}/enroll", page),
    Page("POST", "/sequences/{sequence_id}/enroll", prepare),
    Page("GET", _ONE, review),
    Page("GET", _ONE + "/progress", progress),
    Page("GET", _ONE + "/rows/{row}", row),
    Page("POST", _ONE + "/rows/{row}", mend),
    *_posts(),
)
