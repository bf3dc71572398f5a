"""Dry runs: what would become of prospects, and what they would receive, before anything is stored."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from api.asking import ask, too_much
from api.keys import KeyScope
from api.problems import invalid_at
from api.routes.enrollments import (
    EnrollBody,
    EnrollOptions,
    EnrollRequest,
    RefusedRow,
    check_target,
    judge,
    read_request,
)
from api.routes.footer import launch_warnings
from api.routes.sequences import existing
from api.routing import CSV, MIB, Answer, Call, Route, Shown, Takes
from chassis.inquiries import DRY_RUN, MAX_AT_ONCE, Collision, DryRunAsked, Rehearsed, SameAddress
from chassis.unsubscribing import PATH
from segue_contracts.commands import Enroll
from segue_contracts.ids import person_id
from segue_contracts.sequence import parse_sequence

MAX_PROSPECTS = 500
MAX_BODY_BYTES = 4 * MIB
MAX_ANSWER_CHARS = 16 * MIB


class RehearsedRow(Rehearsed):
    """A prospect that can be read; `row` is its number from 1, in a CSV file its line."""

    row: int


class DryRunAnswer(Shown):
    """What an enroll of the same body would do now; nothing was stored, and nobody is written to.

    `refused` are rows that would not even be accepted. `would_enroll` counts those without a problem.
    `warnings`: what keeps nobody from being enrolled, and should be mended before.
    """

    would_enroll: int
    prospects: list[RehearsedRow]
    refused: list[RefusedRow]
    warnings: list[str]


async def dry_run(call: Call) -> Answer:
    """Rehearse an enroll."""
    enrolls, refused = await read(call)
    told = await with_names(call, await rehearse(call, list(enrolls.values())))
    doubles = same_address_rows(enrolls)
    shown = [
        RehearsedRow(**dict(with_doubles(each, doubles.get(row, ()))), row=row)
        for row, each in zip(enrolls, told, strict=True)
    ]
    would_enroll = sum(each.would_enroll for each in shown)
    warnings = await warnings_of(call, list(enrolls.values()))
    answer = DryRunAnswer(would_enroll=would_enroll, prospects=shown, refused=refused, warnings=warnings)
    return Answer(answer)


async def warnings_of(call: Call, enrolls: Sequence[Enroll]) -> list[str]:
    """What the version that all of them ask for, or the latest, should not go out with."""
    sequence = await existing(call)
    asked = next((each.sequence_version for each in enrolls), None)
    version = await call.api.store.sequences.version(
        call.caller.workspace, sequence["_id"], asked or sequence["latest_version"]
    )
    return await launch_warnings(call, parse_sequence(version["document"])) if version else []


async def read(call: Call) -> tuple[dict[int, Enroll], list[RefusedRow]]:
    """The enrolls of the request by row, and the rows that are none, by what reads a real enroll."""
    sequence = await existing(call)
    candidates, options = await read_request(call, MAX_PROSPECTS)
    check_target(sequence, options)
    seen: dict[str, int] = {}
    enrolls: dict[int, Enroll] = {}
    refused: list[RefusedRow] = []
    for candidate in candidates:
        outcome = judge(call, sequence, candidate, options, seen)
        if isinstance(outcome, RefusedRow):
            refused.append(outcome)
        else:
            assert isinstance(outcome.message, Enroll)
            enrolls[candidate.row] = outcome.message
        if len(enrolls) + len(refused) > MAX_PROSPECTS:
            raise invalid_at("/prospects", f"has more than {MAX_PROSPECTS}: rehearse some of them")
    return enrolls, refused


async def rehearse(call: Call, enrolls: Sequence[Enroll]) -> list[Rehearsed]:
    """What the scheduler says of each, asked in portions; Problem 422 where that becomes too large."""
    people: list[Rehearsed] = []
    room = MAX_ANSWER_CHARS
    for start in range(0, len(enrolls), MAX_AT_ONCE):
        commands = list(enrolls[start : start + MAX_AT_ONCE])
        asked = DryRunAsked(commands=commands, unsubscribe_url=sample_link(call))
        told = await ask(call, DRY_RUN, asked)
        assert told is not None, "every enroll has an answer"
        people += told.people
        room -= len(told.model_dump_json())
        if room < 0:
            raise too_much()
    return people


def sample_link(call: Call) -> str | None:
    """What stands for a message's own link: a real one would unsubscribe somebody."""
    url = call.api.settings.base_url
    return f"{url}{PATH}..." if url.startswith("https://") else None


def same_address_rows(enrolls: Mapping[int, Enroll]) -> dict[int, list[SameAddress]]:
    """By row, the other rows of the request that have its address under another external_id."""
    by_address: dict[str, dict[int, Enroll]] = {}
    for row, enroll in enrolls.items():
        if enroll.prospect.email:
            by_address.setdefault(enroll.prospect.email.lower(), {})[row] = enroll
    return {
        row: [_same_address(other, enroll) for other, enroll in some.items() if other != row]
        for some in by_address.values()
        for row in some
    }


def with_doubles(each: Rehearsed, doubles: Sequence[SameAddress]) -> Rehearsed:
    """With those of the same request who have the same address; who is known already is named once."""
    same = {other.person_id: other for other in (*each.same_address, *doubles)}
    return each.model_copy(update={"same_address": list(same.values())})


async def with_names(call: Call, people: Sequence[Rehearsed]) -> list[Rehearsed]:
    """The same people, their collisions with the names of sequences and owners."""
    collisions = [each for person in people for each in person.collisions]
    workspace, store = call.caller.workspace, call.api.store
    sequences = await store.sequences.names(workspace, {each.sequence_id for each in collisions})
    owners = await store.people.names(workspace, {each.owner_id for each in collisions})
    return [
        person.model_copy(
            update={"collisions": [_named(each, sequences, owners) for each in person.collisions]}
        )
        for person in people
    ]


def _same_address(row: int, enroll: Enroll) -> SameAddress:
    external_id = enroll.prospect.external_id
    return SameAddress(
        external_id=external_id, person_id=person_id(enroll.workspace_id, external_id), row=row
    )


def _named(each: Collision, sequences: Mapping[UUID, str], owners: Mapping[UUID, str]) -> Collision:
    names = {
        "sequence_name": sequences.get(each.sequence_id),
        "owner_name": owners.get(each.owner_id),
    }
    return each.model_copy(update=names)


ROUTES = (
    Route(
        "POST",
        "/v1/sequences/{sequence_id}/dry-run",
        dry_run,
        "Rehearse an enroll: messages, times, problems",
        KeyScope.WRITE,
        answer=DryRunAnswer,
        query=EnrollOptions,
        takes=Takes(EnrollBody, EnrollRequest, also=(CSV,), limit=MAX_BODY_BYTES, csv_limit=MAX_BODY_BYTES),
        tag="Enrollments",
    ),
)
