"""Lists of prospects that are prepared before they are enrolled: rows to review and mend, and the launch."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, Field

from api.access import Right
from api.auditing import audit
from api.checking import Checker, others_may_differ
from api.keys import KeyScope
from api.list_rows import enroll_of, merged, row_document, row_fields, with_id
from api.list_store import INCLUDED, UNREADABLE, ListState, RowStatus, matching
from api.mailbox_health import healths_of
from api.paging import Page, PageQuery
from api.problems import FieldError, Problem, conflict, invalid_at, not_found
from api.routes.delegations import check_still_agreed
from api.routes.enrollments import (
    MAX_CSV_BYTES,
    MAX_JSON_BYTES,
    EnrollBody,
    EnrollOptions,
    EnrollRequest,
    check_target,
    enroll_wish,
    read_request,
)
from api.routes.footer import launch_warnings
from api.routes.rehearsal import rehearse, with_names
from api.routes.sequences import check_right, existing
from api.routing import CSV, KIB, Answer, Call, Closed, Empty, Route, Shown, Takes
from api.submitting import Accepted, submit
from chassis.documents import hold_id, hold_is_active
from chassis.errors import Retry
from chassis.inquiries import Rehearsed
from chassis.personal import copy_id
from chassis.store import Document
from segue_contracts.ids import person_id
from segue_contracts.message import Channel
from segue_contracts.prospect import Prospect, check_phone, parse_prospect
from segue_contracts.sequence import parse_sequence

KEPT: Final = timedelta(days=14)
SPARE: Final = timedelta(days=1)
"""What rows outlast their list, so that a launch at its last moment has them all."""
AT_ONCE: Final = 500
MOST_NUMBERS: Final = 500
ROWS_A_PAGE: Final = 50
NUMBER_PAGE: Final = "/settings"
MAILBOX_PAGE: Final = "/mailboxes"
PAUSED: Final = "The sequence is paused: who is enrolled waits until it is resumed."
ALL_PAUSED: Final = "Everything is paused: who is enrolled waits until it is resumed."


class FindingShown(Shown):
    """Something about a row: `code` is stable, `pointer` leads to the field at fault."""

    code: str
    detail: str
    pointer: str = ""


class ListRow(Shown):
    """One row: `row` is its number from 1, in a CSV file its line. Problems keep it from being enrolled.

    `rehearsal`: what an enroll would do now, message by message; null for a row that can't be read or is left
    out, and while the scheduler can't be asked.
    """

    row: int
    status: RowStatus
    prospect: dict[str, Any]
    problems: list[FindingShown]
    warnings: list[FindingShown]
    first_at: datetime | None
    enrollment_id: UUID | None
    rehearsal: Rehearsed | None = None


class RowsPage(Page[ListRow]):
    """Rows, problems first; `unrehearsed` says why there is no rehearsal."""

    unrehearsed: str | None = None


class CodeCount(Shown):
    """How many rows have a problem or a warning."""

    code: str
    rows: int


class LaunchProblem(Shown):
    """What has to be mended before the launch, and the page of the dashboard that does it."""

    code: str
    detail: str
    page: str


class ListBrief(Shown):
    """A list; `rows` of all statuses."""

    id: UUID = Field(validation_alias="_id")
    sequence_id: UUID
    state: ListState
    created_by: UUID
    created_at: datetime
    expires_at: datetime
    launched_at: datetime | None
    rows: int


class ListShown(ListBrief):
    """A list, its counts, and what keeps it from being launched.

    `counts` by status of a row. `codes`: problems and warnings of included rows. `first_at`: the earliest
    first message of those who are ready. `launches`: how many a launch would enroll. `unsure`: the scheduler
    can't be asked, so nothing is checked.
    """

    start_at: datetime | None
    generation: int
    sequence_version: int | None
    is_test: bool
    checked_version: int | None
    latest_version: int
    counts: dict[str, int]
    codes: list[CodeCount]
    first_at: datetime | None
    launches: int
    unsure: bool
    problems: list[LaunchProblem]
    warnings: list[str]


class RowsQuery(PageQuery):
    """Which rows."""

    limit: int = Field(default=ROWS_A_PAGE, ge=1, le=ROWS_A_PAGE)
    status: RowStatus | None = None
    problem: str | None = Field(default=None, max_length=100, description="The code of a problem or warning")
    rehearse: bool = Field(default=True, description="Ask the scheduler about the rows of the page")


class Selection(Closed):
    """Rows by their numbers, or all with a problem or warning."""

    rows: list[Annotated[int, Field(ge=1, le=999_999_999)]] | None = Field(
        default=None, max_length=MOST_NUMBERS
    )
    problem: str | None = Field(default=None, min_length=1, max_length=100)


class Changed(Shown):
    """How many rows changed."""

    rows: int


class TestRequest(Closed):
    """Whose words and times to test with; `phone` is yours, where a stage needs one."""

    row: int = Field(ge=1, le=999_999_999)
    phone: Annotated[str, Field(max_length=50), AfterValidator(check_phone)] | None = None


class TestAccepted(Accepted):
    """A test on its way to you."""

    enrollment_id: UUID
    address: str


# ---- making a list ------------------------------------------------------------------------------------


async def create(call: Call) -> Answer:
    """Keep prospects as a list; nobody is enrolled before it is launched."""
    sequence = await existing(call)
    candidates, options = await read_request(call, needs_id=False)
    check_target(sequence, options)
    it = _list_document(call, sequence, options)
    try:
        it["rows"] = await _keep(call, it, candidates)
    except BaseException:
        # What can't be read whole is not kept in part; what a crash leaves expires.
        with suppress(Retry):
            await call.api.store.lists.remove_rows(it["workspace_id"], it["_id"])
        raise
    await call.api.store.lists.add(it)
    headers = {"Location": call.api.url(f"/v1/lists/{it['_id']}")}
    return Answer(await _shown(call, it, sequence), HTTPStatus.CREATED, headers)


def _list_document(call: Call, sequence: Document, options: EnrollOptions) -> Document:
    real_now = call.api.clock.real_now()
    return {
        "_id": call.ids.next(),
        "workspace_id": call.caller.workspace,
        "sequence_id": sequence["_id"],
        "created_by": call.caller.user_id,
        "created_at": call.api.clock.now(),
        "state": ListState.DRAFT.value,
        "options": {name: getattr(options, name) for name in EnrollOptions.model_fields},
        "rows": 0,
        "rev": 1,
        "checked_version": None,
        "silent": False,
        "version": None,
        "launched_at": None,
        "launched_by": None,
        "next_at": real_now,
        "expires_at": real_now + KEPT,
        "rows_expire_at": real_now + KEPT + SPARE,
    }


async def _keep(call: Call, it: Document, candidates: Iterable[Any]) -> int:
    """Store the rows; how many there are."""
    count = 0
    batch: list[Document] = []
    for each in candidates:
        data = with_id(call.api.secrets, call.caller.workspace, each.data)
        batch.append(row_document(it, each.row, data, each.errors))
        count += 1
        if len(batch) >= AT_ONCE:
            await call.api.store.lists.add_rows(batch)
            batch = []
            await asyncio.sleep(0)  # thousands of rows must not keep other requests waiting
    await call.api.store.lists.add_rows(batch)
    return count


# ---- reading ------------------------------------------------------------------------------------------


async def existing_list(call: Call) -> Document:
    """The list that the path names; Problem 404, or 403 where the right to its sequence does not reach."""
    it = await call.api.store.lists.one(call.caller.workspace, call.uuid("list_id", "list"))
    if it is None:
        raise not_found("list")
    await check_right(call, [it["sequence_id"]], "list")
    return it


async def _draft(call: Call) -> Document:
    it = await existing_list(call)
    if it["state"] != ListState.DRAFT.value:
        raise conflict("launched", "This list was launched: it can't be changed any more.")
    return it


async def _row(call: Call, it: Document) -> Document:
    row = await call.api.store.lists.row(it, call.number("row", "row"))
    if row is None:
        raise not_found("row")
    return row


async def list_lists(call: Call) -> Answer:
    """A sequence's lists, the newest first."""
    sequence = await existing(call)
    found, cursor = await call.api.store.lists.page(call.caller.workspace, sequence["_id"], call.query)
    return Answer(Page[ListBrief](items=[ListBrief.model_validate(x) for x in found], next_cursor=cursor))


async def get_list(call: Call) -> Answer:
    """One list: how far it is, and what keeps it from being launched."""
    it = await existing_list(call)
    return Answer(await _shown(call, it, await _sequence(call, it)))


async def _sequence(call: Call, it: Document) -> Document:
    sequence = await call.api.store.sequences.one(call.caller.workspace, it["sequence_id"])
    assert sequence is not None, "who was checked for a right to it has one"
    return sequence


async def _shown(call: Call, it: Document, sequence: Document) -> ListShown:
    lists, launched = call.api.store.lists, it["state"] != ListState.DRAFT.value
    counts = await lists.counts(it)
    codes = await lists.codes(it, (RowStatus.REFUSED,) if launched else INCLUDED)
    numbers = {status: n for status, (n, _) in counts.items()}
    ready = counts.get(RowStatus.READY.value, (0, None))
    problems, warnings = ([], []) if launched else await _launch_check(call, it, sequence, numbers)
    return ListShown(
        **ListBrief.model_validate(it).model_dump(),
        **it["options"],
        checked_version=it["checked_version"],
        latest_version=sequence["latest_version"],
        counts={each.value: numbers.get(each.value, 0) for each in RowStatus},
        codes=[CodeCount(code=c, rows=n) for c, n in sorted(codes.items(), key=lambda x: (-x[1], x[0]))],
        first_at=ready[1],
        launches=_launches(numbers),
        unsure=it["silent"],
        problems=problems,
        warnings=warnings,
    )


def _launches(numbers: Mapping[str, int]) -> int:
    return numbers.get(RowStatus.READY.value, 0) + numbers.get(RowStatus.UNCHECKED.value, 0)


async def list_rows(call: Call) -> Answer:
    """A page of rows, problems first, each rehearsed as of now."""
    it = await existing_list(call)
    query: RowsQuery = call.query
    which = matching((query.problem,)) if query.problem else {}
    if query.status is not None:
        which["status"] = query.status.value
    rows, cursor = await call.api.store.lists.rows(it, which, query)
    rehearsals, unrehearsed = await _rehearsals(call, it, rows) if query.rehearse else ({}, None)
    items = [_row_shown(row, rehearsals.get(row["n"])) for row in rows]
    return Answer(RowsPage(items=items, next_cursor=cursor, unrehearsed=unrehearsed))


async def get_row(call: Call) -> Answer:
    """One row, rehearsed as of now."""
    it = await existing_list(call)
    row = await _row(call, it)
    rehearsals, _ = await _rehearsals(call, it, [row])
    return Answer(_row_shown(row, rehearsals.get(row["n"])))


async def _rehearsals(
    call: Call, it: Document, rows: Sequence[Document]
) -> tuple[dict[int, Rehearsed], str | None]:
    """By row, what an enroll would do now; and why there is none while the scheduler can't be asked."""
    if it["state"] != ListState.DRAFT.value:
        return {}, None
    included = {each.value for each in INCLUDED}
    some = [row for row in rows if row["status"] in included and UNREADABLE not in row["codes"]]
    clock, version = call.api.clock, it["options"]["sequence_version"]
    enrolls = [enroll_of(it, row, version, clock.now(), clock.real_now()) for row in some]
    try:
        told = await with_names(call, await rehearse(call, enrolls))
    except Problem as problem:
        return {}, problem.details.detail
    return {row["n"]: each for row, each in zip(some, told, strict=True)}, None


def _row_shown(row: Document, rehearsal: Rehearsed | None = None) -> ListRow:
    return ListRow(
        row=row["n"],
        status=RowStatus(row["status"]),
        prospect=row["data"],
        problems=[FindingShown(**each) for each in row["problems"]],
        warnings=[FindingShown(**each) for each in row["warnings"]],
        first_at=row["first_at"],
        enrollment_id=row.get("enrollment_id"),
        rehearsal=rehearsal,
    )


# ---- changing -----------------------------------------------------------------------------------------


async def change_row(call: Call) -> Answer:
    """Mend a row, and check it at once: the body is merged into its prospect (RFC 7396: null removes)."""
    it = await _draft(call)
    patch = call.body.data
    if not isinstance(patch, dict):
        raise invalid_at("", "must be a mapping of the fields to change")
    row = await _row(call, it)
    data = with_id(call.api.secrets, call.caller.workspace, merged(row["data"], patch))
    changed = await call.api.store.lists.change_row(row, row_fields(row["n"], data, ()))
    if changed is None:
        raise conflict("changed-meanwhile", "Somebody else changed this row at this moment: load it again.")
    await _checked_now(call, it, changed)
    return await _row_now(call, it)


async def _checked_now(call: Call, it: Document, row: Document) -> None:
    """Look at this row at once, and at those that were compared with it soon."""
    lists = call.api.store.lists
    await others_may_differ(call.api.store, it)
    if row["status"] == RowStatus.UNCHECKED.value:
        checker = Checker(call.api.clock, call.api.store, call.api.scheduler)
        with suppress(Retry):  # the sweep does it when the scheduler is back
            await checker.check(it, await checker.version_of(it), [row])
    await lists.touched(it, call.api.clock.real_now())


async def _row_now(call: Call, it: Document) -> Answer:
    rehearsals, _ = await _rehearsals(call, it, [row := await _row(call, it)])
    return Answer(_row_shown(row, rehearsals.get(row["n"])))


async def exclude(call: Call) -> Answer:
    """Leave rows out of the launch; they stay in the list."""
    it = await _draft(call)
    count = await call.api.store.lists.leave_out(it, _selected(call.body.data))
    await others_may_differ(call.api.store, it)
    await call.api.store.lists.touched(it, call.api.clock.real_now())
    return Answer(Changed(rows=count))


async def include(call: Call) -> Answer:
    """Take rows in again that were left out."""
    it = await _draft(call)
    lists, which = call.api.store.lists, _selected(call.body.data)
    count = await lists.again(it, which, (RowStatus.EXCLUDED,))
    await lists.touched(it, call.api.clock.real_now())
    return Answer(Changed(rows=count))


def _selected(selection: Selection) -> Document:
    if (selection.rows is None) == (selection.problem is None):
        raise invalid_at("", "has either `rows`, numbers of them, or `problem`, a code")
    return matching((selection.problem,) if selection.problem else (), selection.rows or ())


async def check_again(call: Call) -> Answer:
    """Check every included row anew, as after a change of the sequence."""
    it = await _draft(call)
    checker = Checker(call.api.clock, call.api.store, call.api.scheduler)
    await checker.again(it)
    await call.api.store.lists.touched(it, call.api.clock.real_now(), {"checked_version": None})
    return await get_list(call)


async def remove(call: Call) -> Answer:
    """Throw a draft away with all its rows."""
    it = await _draft(call)
    if not await call.api.store.lists.remove(it):
        raise conflict("launched", "This list was launched at this moment: it can't be thrown away any more.")
    return Answer(status=HTTPStatus.NO_CONTENT)


# ---- the launch ---------------------------------------------------------------------------------------


async def launch(call: Call) -> Answer:
    """Enroll everybody who has no problem; again, it changes nothing."""
    it = await existing_list(call)
    sequence = await _sequence(call, it)
    if it["state"] == ListState.DRAFT.value:
        shown = await _shown(call, it, sequence)
        if shown.problems:
            raise _not_ready(shown.problems)
        await audit(call, "list.launched", it["_id"], rows=shown.launches)
        version = it["options"]["sequence_version"] or sequence["latest_version"]
        fields = {
            "version": version,
            "launched_at": call.api.clock.now(),
            "launched_by": call.caller.user_id,
            "next_at": call.api.clock.real_now(),
        }
        await call.api.store.lists.launch(it, fields)
    it = await existing_list(call)
    return Answer(await _shown(call, it, sequence), HTTPStatus.ACCEPTED)


def _not_ready(problems: Sequence[LaunchProblem]) -> Problem:
    errors = [FieldError(pointer=f"/problems/{each.code}", detail=each.detail) for each in problems]
    return Problem(HTTPStatus.CONFLICT, "not-ready", "This list can't be launched yet: see errors.", errors)


async def _launch_check(
    call: Call, it: Document, sequence: Document, numbers: Mapping[str, int]
) -> tuple[list[LaunchProblem], list[str]]:
    """What has to be mended before, and what should be; a version has a stage, the right was asked for."""
    problems: list[LaunchProblem] = []
    if sequence["archived"]:
        detail = "This sequence is archived: it takes no more people."
        problems.append(LaunchProblem(code="archived", detail=detail, page=f"/sequences/{sequence['_id']}"))
    if not _launches(numbers):
        detail = "Nobody on this list can be enrolled: mend somebody, or take them in again."
        problems.append(LaunchProblem(code="nobody", detail=detail, page=f"/lists/{it['_id']}"))
    number = it["options"]["sequence_version"] or sequence["latest_version"]
    version = await call.api.store.sequences.version(call.caller.workspace, sequence["_id"], number)
    assert version is not None, "a version is stored before a sequence points at it"
    document = parse_sequence(version["document"])
    problems += await _consent_problems(call, sequence, number)
    trouble, warnings = await _mailbox_trouble(call, version["mailbox_ids"])
    problems += trouble
    if any(stage.channel is Channel.SMS for stage in document.stages):
        problems += await _number_problems(call)
    paused = await _paused(call, sequence)
    return problems, [*paused, *await launch_warnings(call, document), *warnings]


async def _paused(call: Call, sequence: Document) -> list[str]:
    workspace = call.caller.workspace
    scopes = {hold_id("sequence", sequence["_id"]): PAUSED, hold_id("workspace", workspace): ALL_PAUSED}
    holds, now = await call.api.reads.holds(workspace, list(scopes)), call.api.clock.now()
    return [scopes[name] for name, hold in holds.items() if hold_is_active(hold, now)]


async def _consent_problems(call: Call, sequence: Document, version: int) -> list[LaunchProblem]:
    try:
        await check_still_agreed(call, sequence, version)
    except Problem as problem:
        return [LaunchProblem(code="consent_withdrawn", detail=problem.details.detail, page=MAILBOX_PAGE)]
    return []


async def _mailbox_trouble(call: Call, mailbox_ids: Sequence[UUID]) -> tuple[list[LaunchProblem], list[str]]:
    """What keeps these mailboxes from sending, or from seeing answers; and what somebody should look at."""
    workspace, store = call.caller.workspace, call.api.store.mailboxes
    mailboxes = [each for i in mailbox_ids if (each := await store.one(workspace, i)) is not None]
    healths = await healths_of(call, mailboxes, await store.watching(workspace, mailbox_ids))
    problems: list[LaunchProblem] = []
    warnings: list[str] = []
    for each in mailboxes:
        page, health = f"{MAILBOX_PAGE}/{each['_id']}", healths[each["_id"]]
        for reason in health.reasons:
            said = f"{each['address']}: {reason.detail}"
            if reason.code == "not_watched":
                problems.append(LaunchProblem(code="mailbox_unread", detail=said, page=page))
            elif health.state == "paused":
                problems.append(LaunchProblem(code="mailbox_paused", detail=said, page=page))
            else:
                warnings.append(said)
    if len(mailboxes) < max(1, len(mailbox_ids)):
        detail = "The mailbox that this sequence sends from is not connected any more."
        problems.append(LaunchProblem(code="mailbox_missing", detail=detail, page=MAILBOX_PAGE))
    return problems, warnings


async def _number_problems(call: Call) -> list[LaunchProblem]:
    if await call.api.store.sms_numbers.any_sends(call.caller.workspace):
        return []
    detail = "This sequence sends text messages, and no number that can send them is connected."
    return [LaunchProblem(code="number_missing", detail=detail, page=NUMBER_PAGE)]


async def send_test(call: Call) -> Answer:
    """Send a test to yourself: a real enrollment of you, with the words and times of this row.

    It is marked as a test and is about a person of its own, so that it touches nobody on the list: with your
    address, and without the prospect's phone and company key. It goes on as the sequence does.
    """
    request: TestRequest = call.body.data
    it = await existing_list(call)
    row = await call.api.store.lists.row(it, request.row)
    user = await call.api.store.people.user(call.caller.workspace, call.caller.user_id)
    if row is None or user is None:
        raise not_found("row")
    if UNREADABLE in row["codes"]:
        raise invalid_at("/row", "has problems of its own: mend it first")
    external_id = row["data"]["external_id"]
    own = {
        "external_id": copy_id(person_id(call.caller.workspace, external_id), call.ids.next().hex),
        "email": user["email"],
        "phone": request.phone,
        "company_key": None,
    }
    prospect = parse_prospect(merged(row["data"], own))
    options = EnrollOptions(sequence_version=it["options"]["sequence_version"], is_test=True)
    sequence = await _sequence(call, it)
    check_target(sequence, options)
    wish = enroll_wish(call, sequence, prospect, options)
    [accepted] = await submit(call, [wish])
    answer = TestAccepted(**accepted.model_dump(), enrollment_id=UUID(wish.target), address=user["email"])
    return Answer(answer, HTTPStatus.ACCEPTED, {"Location": accepted.status_url})


_OF_SEQUENCE = "/v1/sequences/{sequence_id}/lists"
_ONE = "/v1/lists/{list_id}"
_ROW = _ONE + "/rows/{row}"
_PATCH = Takes(schema_of=Prospect, limit=64 * KIB)


def _route(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
    """A list is for those who may enroll: also to see it."""
    scope = KeyScope.READ if method == "GET" else KeyScope.WRITE
    return Route(method, path, handler, summary, scope, tag="Lists", right=Right.USE, **more)


ROUTES = (
    _route(
        "POST",
        _OF_SEQUENCE,
        create,
        "Prepare a list of prospects",
        answer=ListShown,
        status=HTTPStatus.CREATED,
        query=EnrollOptions,
        takes=Takes(EnrollBody, EnrollRequest, also=(CSV,), limit=MAX_JSON_BYTES, csv_limit=MAX_CSV_BYTES),
    ),
    _route(
        "GET", _OF_SEQUENCE, list_lists, "List a sequence's lists", answer=Page[ListBrief], query=PageQuery
    ),
    _route("GET", _ONE, get_list, "Read a list", answer=ListShown),
    _route("DELETE", _ONE, remove, "Throw a list away", status=HTTPStatus.NO_CONTENT),
    _route("GET", _ONE + "/rows", list_rows, "Read rows of a list", answer=RowsPage, query=RowsQuery),
    _route("GET", _ROW, get_row, "Read a row", answer=ListRow),
    _route("PATCH", _ROW, change_row, "Mend a row", answer=ListRow, takes=_PATCH),
    _route("POST", _ONE + "/exclude", exclude, "Leave rows out", answer=Changed, takes=Takes(Selection)),
    _route("POST", _ONE + "/include", include, "Take rows in again", answer=Changed, takes=Takes(Selection)),
    _route(
        "POST",
        _ONE + "/check",
        check_again,
        "Check a list again",
        answer=ListShown,
        takes=Takes(Empty, optional=True),
    ),
    _route(
        "POST",
        _ONE + "/launch",
        launch,
        "Enroll everybody on a list",
        answer=ListShown,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(Empty, optional=True),
        also=(HTTPStatus.CONFLICT,),
    ),
    _route(
        "POST",
        _ONE + "/test",
        send_test,
        "Send a test to yourself",
        answer=TestAccepted,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(TestRequest),
    ),
)
