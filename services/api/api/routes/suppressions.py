"""Addresses, domains, phones and companies that must not be written to; only keyed hashes are kept."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from api.auditing import audit
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import FieldError, Problem, invalid, not_found
from api.routing import CSV, MIB, Answer, Call, Closed, Route, Shown, Takes, made
from api.suppressions_csv import export as export_csv
from api.suppressions_csv import read_list
from chassis.secrets import WARNING
from chassis.store import Document
from segue_contracts.message import ShortText
from segue_contracts.problems import found
from segue_contracts.prospect import check_phone
from segue_contracts.text import Email, Line

MAX_ROWS = 50_000
MAX_CSV_BYTES = 16 * MIB
MAX_LISTED = 5_000
AT_ONCE = 500


Mode = Literal["block", "warn"]


class What(Closed):
    """Exactly one of address, domain, phone and company_key.

    A domain stands for the addresses in exactly this domain, a company key for the people who have it.
    """

    address: Email | None = None
    domain: Line | None = Field(default=None, pattern=r"^[^@\s]+\.[^@\s]+$", examples=["ourco.example"])
    phone: Annotated[Line, AfterValidator(check_phone)] | None = None
    company_key: Line | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for _, value in self._values()) != 1:
            raise found(("", "has exactly one of address, domain, phone and company_key"))
        return self

    def _values(self) -> tuple[tuple[str, str | None], ...]:
        return (
            ("address", self.address),
            ("domain", self.domain),
            ("phone", self.phone),
            ("company", self.company_key),
        )

    def what(self) -> tuple[str, str]:
        """The kind and the value."""
        return next((kind, value) for kind, value in self._values() if value is not None)


class NewSuppression(What):
    """What must not be written to, and why; `warn` enrolls a company's people all the same, and says so."""

    reason: ShortText = "requested"
    mode: Mode = "block"

    @model_validator(mode="after")
    def _warns_of_companies(self) -> Self:
        if self.mode == "warn" and self.company_key is None:
            raise found(("mode", "must be block: only a company can be warned of"))
        return self


class SuppressionShown(Shown):
    """A suppression; what it is about can't be read back, only asked for with the same value again."""

    id: str = Field(validation_alias="_id")
    kind: str
    mode: Mode = "block"
    reason: str
    by: str
    at: datetime


class SuppressionList(Closed):
    """Many at once; as a CSV file there may be more."""

    suppressions: list[Any] = Field(min_length=1, max_length=MAX_LISTED)


class ImportQuery(Closed):
    """What holds for rows that say nothing themselves."""

    reason: ShortText = "imported"


class ImportedRow(Shown):
    """What became of one value of a row: `row` is its number from 1, in a CSV file its line."""

    row: int
    id: str
    kind: str
    state: Literal["added", "there"]


class RefusedRow(Shown):
    """A row that can't be kept, and why."""

    row: int
    errors: list[FieldError]


class Imported(Shown):
    """What became of every row; those that were there before keep their reason."""

    added: int
    there: int
    ignored_columns: list[str]
    imported: list[ImportedRow]
    refused: list[RefusedRow]


# ---- one ----------------------------------------------------------------------------------------------


def suppression_of(call: Call, new: NewSuppression, now: datetime) -> Document:
    """A suppression as it is stored: nothing in it tells what it is about."""
    kind, value = new.what()
    warns = new.mode == "warn"
    return {
        # A warning is a document of its own: nothing that blocks ever finds it.
        "_id": call.api.secrets.suppression_id(call.caller.workspace, WARNING if warns else kind, value),
        "workspace_id": call.caller.workspace,
        "kind": kind,
        **({"mode": new.mode} if warns else {}),
        "reason": new.reason,
        "by": str(call.caller.user_id),
        "at": now,
    }


async def add(call: Call) -> Answer:
    """Suppress; the same value again finds the suppression that is there."""
    workspace = call.caller.workspace
    suppression = suppression_of(call, call.body.data, call.api.clock.now())
    suppression_id = suppression["_id"]
    if (there := await call.api.store.suppressions.one(workspace, suppression_id)) is not None:
        return Answer(shown(there))
    await audit(
        call, "suppression.added", suppression_id, kind=suppression["kind"], reason=suppression["reason"]
    )
    is_new = await call.api.store.suppressions.add(suppression)
    stored = await call.api.store.suppressions.one(workspace, suppression_id) or suppression
    return Answer(shown(stored), HTTPStatus.CREATED if is_new else HTTPStatus.OK)


def shown(suppression: Document) -> SuppressionShown:
    """What can be shown."""
    return SuppressionShown.model_validate({**suppression, "by": _text(suppression.get("by"))})


async def find(call: Call) -> Answer:
    """The suppression of this value, one that blocks before a warning; a POST, so that the value stands in no
    log of addresses.
    """
    workspace, (kind, value) = call.caller.workspace, call.body.data.what()
    for each in (kind, WARNING) if kind == "company" else (kind,):
        for suppression_id in call.api.secrets.suppression_ids(workspace, each, value):
            there = await call.api.store.suppressions.one(workspace, suppression_id)
            if there is not None:
                return Answer(shown(there))
    raise not_found("suppression")


async def list_them(call: Call) -> Answer:
    """Suppressions, the newest first."""
    rows, cursor = await call.api.store.suppressions.page(call.caller.workspace, call.query)
    return Answer(Page[SuppressionShown](items=[shown(each) for each in rows], next_cursor=cursor))


async def remove(call: Call) -> Answer:
    """Allow writing again."""
    workspace, suppression_id = call.caller.workspace, call.path["suppression_id"]
    there = await call.api.store.suppressions.one(workspace, suppression_id)
    if there is None:
        raise not_found("suppression")
    detail = {"kind": there["kind"], "reason": there["reason"], "added_by": _text(there.get("by"))}
    await audit(call, "suppression.removed", suppression_id, **detail)
    await call.api.store.suppressions.remove(workspace, suppression_id)
    return Answer(status=HTTPStatus.NO_CONTENT)


def _text(value: str | UUID | None) -> str:
    return "" if value is None else str(value)


# ---- many ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of a request: its values as they came, and where each stands in the body."""

    row: int
    pointer: str
    values: Sequence[Any]
    errors: tuple[FieldError, ...] = ()


async def bring(call: Call) -> Answer:
    """Suppress many; each row is kept or refused on its own, and all refused is a 422."""
    # In a thread: a long file takes long enough to be felt by whoever shares the event loop.
    ignored, candidates = await asyncio.to_thread(read_request, call)
    await audit(call, "suppressions.imported", "", reason=call.query.reason)
    answer = Imported(added=0, there=0, ignored_columns=list(ignored), imported=[], refused=[])
    batch: list[tuple[int, Document]] = []
    seen: set[str] = set()
    for candidate in candidates:
        batch += judge(call, candidate, answer.refused)
        if len(batch) >= AT_ONCE:
            await keep(call, batch, seen, answer)
            batch = []
            await asyncio.sleep(0)  # thousands of rows must not keep other requests waiting
    await keep(call, batch, seen, answer)
    if not answer.imported:
        raise all_refused(answer.refused)
    return Answer(answer)


def read_request(call: Call) -> tuple[tuple[str, ...], Iterator[Candidate]]:
    """The columns that were ignored, and the rows."""
    if call.body.content_type == CSV:
        listed = read_list(call.body.data, MAX_ROWS, call.query.reason)
        # All of it is read before any of it is kept: what is no CSV, or too much, keeps nothing.
        rows = [Candidate(each.line, "", each.found, each.errors) for each in listed.rows]
        return listed.ignored, iter(rows)
    many: list[Any] = call.body.data.suppressions
    return (), (Candidate(i + 1, f"/suppressions/{i}", [each]) for i, each in enumerate(many))


def judge(call: Call, candidate: Candidate, refused: list[RefusedRow]) -> list[tuple[int, Document]]:
    """The suppressions of a row; what is wrong goes to `refused`, and then none of its values is kept."""
    now = call.api.clock.now()
    errors = list(candidate.errors)
    kept: list[tuple[int, Document]] = []
    for value in candidate.values:
        try:
            new = made(NewSuppression, value, candidate.pointer)
            kept.append((candidate.row, suppression_of(call, new, now)))
        except Problem as problem:
            errors += problem.details.errors
    if errors:
        refused.append(RefusedRow(row=candidate.row, errors=errors))
        return []
    return kept


async def keep(call: Call, batch: Sequence[tuple[int, Document]], seen: set[str], answer: Imported) -> None:
    """Store a batch and tell of each; a value that the request has twice is added once."""
    fresh: dict[str, Document] = {}
    for _, doc in batch:
        if doc["_id"] not in seen:
            fresh.setdefault(doc["_id"], doc)  # the first of them has the reason that is kept
    new = await call.api.store.suppressions.add_all(list(fresh.values()))
    for row, doc in batch:
        state: Literal["added", "there"] = "added" if doc["_id"] in new - seen else "there"
        seen.add(doc["_id"])
        answer.imported.append(ImportedRow(row=row, id=doc["_id"], kind=doc["kind"], state=state))
        answer.added += state == "added"
        answer.there += state == "there"


def all_refused(refused: Iterable[RefusedRow]) -> Problem:
    """422 with the errors of all rows; those of a CSV say their line."""
    errors = [
        error if error.pointer.startswith("/suppressions") else _of_line(row.row, error)
        for row in refused
        for error in row.errors
    ]
    return invalid(errors)


def _of_line(line: int, error: FieldError) -> FieldError:
    return FieldError(pointer=error.pointer, detail=f"line {line}: {error.detail}")


async def export(call: Call) -> Answer:
    """All suppressions as CSV: id, kind, reason, by whom and when; the values are kept by nobody."""
    await audit(call, "suppressions.exported", "")
    return Answer(csv=export_csv(call.api.store.suppressions.every(call.caller.workspace)))


_MANY = "/v1/suppressions"
_TAG = "Suppressions"

ROUTES = (
    Route(
        "GET",
        _MANY,
        list_them,
        "List suppressions",
        KeyScope.READ,
        answer=Page[SuppressionShown],
        query=PageQuery,
        tag=_TAG,
    ),
    Route(
        "POST",
        _MANY,
        add,
        "Suppress an address, a domain, a phone or a company",
        KeyScope.WRITE,
        answer=SuppressionShown,
        status=HTTPStatus.CREATED,
        takes=Takes(NewSuppression),
        also=(HTTPStatus.OK,),
        tag=_TAG,
    ),
    Route(
        "POST",
        _MANY + "/find",
        find,
        "Ask whether something is suppressed",
        KeyScope.READ,
        answer=SuppressionShown,
        takes=Takes(What),
        tag=_TAG,
    ),
    Route(
        "POST",
        _MANY + "/import",
        bring,
        "Suppress many at once",
        KeyScope.WRITE,
        answer=Imported,
        query=ImportQuery,
        takes=Takes(SuppressionList, also=(CSV,), limit=MIB, csv_limit=MAX_CSV_BYTES),
        tag=_TAG,
    ),
    Route(
        "GET",
        _MANY + "/export",
        export,
        "Export suppressions",
        KeyScope.ADMIN,
        gives_csv=True,
        tag=_TAG,
    ),
    Route(
        "DELETE",
        _MANY + "/{suppression_id}",
        remove,
        "Remove a suppression",
        KeyScope.ADMIN,
        status=HTTPStatus.NO_CONTENT,
        tag=_TAG,
    ),
)
