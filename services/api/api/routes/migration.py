"""Taking people to another version of their sequence: some, all, or only to see what it does."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.access import Right
from api.asking import ask
from api.crowd import submit_for_all
from api.keys import KeyScope
from api.paging import PageQuery
from api.problems import FieldError, invalid, invalid_at
from api.routes.sequences import existing
from api.routing import MIB, Answer, Call, Closed, Route, Shown, Takes
from api.submitting import Accepted, submit, wish_of
from chassis.inquiries import MAX_AT_ONCE, MIGRATION, Migrated, MigrationAsked
from chassis.store import Document
from segue_contracts.commands import Migrate

MAX_ENROLLMENTS = 5_000
MAX_REHEARSED = 500
AT_ONCE = 500


class MigratePeople(Closed):
    """Whom to take to that version: `all` who are live in the sequence, or those named."""

    to_version: int = Field(ge=1)
    all: bool = False
    enrollment_ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_ENROLLMENTS)] | None = None
    dry_run: bool = False


class AcceptedMigration(Accepted):
    """The command for one person."""

    enrollment_id: UUID


class MigrationAnswer(Shown):
    """With 202 the commands: one for `all`, else one a person in `accepted`. With 200, after a dry run, what
    would change for each in `people`; `next_cursor` leads to more of them.

    `unknown` are those named that are not in this sequence.
    """

    command: Accepted | None = None
    accepted: list[AcceptedMigration] = Field(default=[])
    people: list[Migrated] = Field(default=[])
    next_cursor: str | None = None
    unknown: list[UUID] = Field(default=[])


async def migrate_people(call: Call) -> Answer:
    """Migrate people, or show what that would change."""
    sequence, body = await existing(call), call.body.data
    check_target(sequence, body)
    if body.dry_run:
        return await _rehearsed(call, sequence, body)
    if call.query != PageQuery():
        raise invalid_at("?cursor", "pages are for dry runs: commands are for all at once")
    if body.all:
        command = await submit_for_all(call, "migrate", sequence["_id"], to_version=body.to_version)
        headers = {"Location": command.status_url}
        return Answer(MigrationAnswer(command=command), HTTPStatus.ACCEPTED, headers)
    return await _submitted(call, sequence, body)


def check_target(sequence: Document, body: MigratePeople) -> None:
    """Problem 422 unless it says whom, and to a version that there is."""
    if body.all == (body.enrollment_ids is not None):
        raise invalid_at("", "has either `all: true` or `enrollment_ids`, a list of them")
    if body.to_version > sequence["latest_version"]:
        raise invalid_at("/to_version", f"the latest version is {sequence['latest_version']}")


async def _rehearsed(call: Call, sequence: Document, body: MigratePeople) -> Answer:
    query: PageQuery = call.query
    workspace, cursor = call.caller.workspace, None
    ids = list(dict.fromkeys(body.enrollment_ids or ()))
    if body.all:
        which = {"sequence_version": {"$ne": body.to_version}}
        ids, cursor = await call.api.reads.live_ids(workspace, sequence["_id"], which, query)
    elif len(ids) > MAX_REHEARSED:
        raise invalid_at("/enrollment_ids", f"has more than {MAX_REHEARSED}: rehearse some of them")
    people: list[Migrated] = []
    for start in range(0, len(ids), MAX_AT_ONCE):
        asked = MigrationAsked(
            workspace_id=workspace,
            sequence_id=sequence["_id"],
            to_version=body.to_version,
            enrollment_ids=ids[start : start + MAX_AT_ONCE],
        )
        told = await ask(call, MIGRATION, asked)
        assert told is not None, "every list has an answer"
        people += told.people
    known = {each.enrollment_id for each in people}
    unknown = [each for each in ids if each not in known]
    return Answer(MigrationAnswer(people=people, next_cursor=cursor, unknown=unknown))


async def _submitted(call: Call, sequence: Document, body: MigratePeople) -> Answer:
    """One command for each; who is not in this sequence is named and spoils nobody else."""
    answer = MigrationAnswer()
    ids = list(dict.fromkeys(body.enrollment_ids or ()))
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        known = await call.api.reads.members(call.caller.workspace, sequence["_id"], some)
        answer.unknown += [each for each in some if each not in known]
        answer.accepted += await _submit(call, [each for each in some if each in known], body.to_version)
    if not answer.accepted:
        raise invalid([FieldError(pointer="/enrollment_ids", detail="nobody of these is in this sequence")])
    return Answer(answer, HTTPStatus.ACCEPTED)


async def _submit(call: Call, ids: list[UUID], to_version: int) -> list[AcceptedMigration]:
    wishes = [wish_of(call, Migrate, str(each), enrollment_id=each, to_version=to_version) for each in ids]
    answers = await submit(call, wishes)
    return [
        AcceptedMigration(**dict(answer), enrollment_id=each)
        for each, answer in zip(ids, answers, strict=True)
    ]


ROUTES = (
    Route(
        "POST",
        "/v1/sequences/{sequence_id}/migrate",
        migrate_people,
        "Take people to another version, or see what that changes",
        KeyScope.WRITE,
        answer=MigrationAnswer,
        status=HTTPStatus.ACCEPTED,
        also=(HTTPStatus.OK,),
        query=PageQuery,
        takes=Takes(MigratePeople, limit=MIB),
        right=Right.EDIT,
        tag="Sequences",
    ),
)
