"""Enrolling people, one or many, and what becomes of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from api.bodies import read_json
from api.count_store import summed
from api.keys import KeyScope
from api.model import full_name
from api.paging import Page, PageQuery
from api.problems import FieldError, Problem, conflict, field_errors, invalid, invalid_at, not_found
from api.prospects_csv import rows as csv_rows
from api.reads import ENDED_STATES, LIVE_STATES
from api.routes.delegations import check_still_agreed
from api.routes.sequences import check_right, existing
from api.routes.tokens import columns_of
from api.routing import CSV, MIB, Answer, Call, Closed, Line, Route, Shown, Takes
from api.submitting import Accepted, Wish, submit, wish_of
from api.times import Instant
from api.waiting import active_holds
from chassis.documents import AnswerView, DeliveryStory, EnrollmentStory, PersonView, hold_id
from chassis.secrets import WARNING
from chassis.store import Document
from segue_contracts.commands import Enroll, HoldScope
from segue_contracts.prospect import Prospect, ProspectError, parse_prospect

MAX_PROSPECTS = 5_000
MAX_ROWS = 50_000
MAX_JSON_BYTES = 16 * MIB
MAX_CSV_BYTES = 20 * MIB
AT_ONCE = 500
KINDS_OF_PEOPLE = ("live", "ended", "held", "answered")


class EnrollOptions(Closed):
    """What holds for every prospect of the request."""

    start_at: Instant | None = Field(default=None, description="Not before then; default: as received")
    generation: int = Field(default=1, ge=1, le=1000, description="2 to enroll the same person once more")
    sequence_version: int | None = Field(default=None, ge=1, description="Default: the latest")
    is_test: bool = False


class EnrollRequest(EnrollOptions):
    """One prospect or many."""

    prospect: Prospect | None = None
    prospects: Annotated[list[Prospect], Field(max_length=MAX_PROSPECTS)] | None = None


class EnrollBody(EnrollOptions):
    """As EnrollRequest, with each prospect still as it came, so that a bad one spoils no other."""

    prospect: Any = None
    prospects: list[Any] | None = Field(default=None, max_length=MAX_PROSPECTS)


class AcceptedRow(Accepted):
    """A prospect that will be enrolled; `row` is its number from 1, in a CSV file its line."""

    row: int
    enrollment_id: UUID
    warnings: list[str] = Field(
        default=[], description="What keeps nobody out, and should be known: somebody warns of the company"
    )


class RefusedRow(Shown):
    """A prospect that can't be enrolled as it is, and why."""

    row: int
    errors: list[FieldError]


class EnrollAnswer(Shown):
    """What was accepted and what was not; the accepted are enrolled whatever became of the others."""

    accepted: list[AcceptedRow]
    refused: list[RefusedRow]


class LastEvent(Shown):
    """The newest thing that happened."""

    seq: int
    type: str
    at: datetime
    stage_id: str | None = None
    variant: str | None = None
    reason: str | None = None
    until: datetime | None = None


class Next(Shown):
    """What comes next, when, and why then."""

    stage_id: str
    stage_index: int | None
    channel: str | None
    planned_at: datetime | None
    send_before: datetime | None
    zone: str | None
    reasons: list[dict[str, Any]]
    attempt: int


class Stopped(Shown):
    """Why it ended before its last stage."""

    reason: str
    reason_code: str = ""
    at: datetime | None = None


class EnrollmentRow(Shown):
    """An enrollment in a list; `name` and `company` are the person's, as far as they are known."""

    id: UUID
    name: str | None = None
    company: str | None = None
    state: str
    sequence_id: UUID
    sequence_version: int
    person_id: UUID
    external_id: str
    generation: int
    is_test: bool
    mailbox_id: UUID
    owner_id: UUID
    next: Next | None
    held: bool
    stop: Stopped | None
    failure: str | None
    last_event: LastEvent | None
    created_at: datetime
    ended_at: datetime | None


class Held(Shown):
    """The hold under which an enrollment waits."""

    scope: str
    reason: str = ""
    until: datetime | None = None


class Broken(Shown):
    """It can't be carried on, and is tried again by itself; an operator's page says what to do.

    `work`: what it is in the way of. Real instants.
    """

    work: str
    tries: int
    since: datetime
    again_at: datetime


class LookShown(Shown):
    """Where a delivery in doubt was looked for and not found, which proves nothing."""

    what: str = Field(description="sent_copy: its copy in the mailbox; provider: the provider's own list")
    at: datetime
    times: int
    places: list[str]


class DoubtShown(Shown):
    """What is known of a delivery of which nobody knows whether it arrived."""

    since: datetime | None
    age_seconds: int
    transmitted_at: datetime | None
    looked: list[LookShown]
    decision: str | None


class EvidenceShown(Shown):
    """By what it is known that it was sent, though its server never said so; `was`: its state until then."""

    kind: str
    at: datetime
    was: str


class DeliveryShown(Shown):
    """One stage's message as it was sent, or its task."""

    dispatch_id: str = Field(validation_alias="id")
    enrollment_id: UUID
    stage_id: str
    stage_index: int | None
    variant: str | None = None
    channel: str | None
    state: str
    attempt: int
    recipient: str | None
    subject: str | None
    text: str | None
    message_id: str | None
    sent_at: datetime | None
    until: datetime | None
    reason: str | None
    code: str | None
    task: dict[str, Any] | None
    decided_by: str | None = None
    doubt: DoubtShown | None = None
    evidence: EvidenceShown | None = None
    erased_at: datetime | None = None
    erased: str | None = Field(default=None, description="Why there are no words any more")


class EnrollmentWhole(EnrollmentRow):
    """An enrollment, past and future."""

    prospect: dict[str, Any] | None
    hold: Held | None
    broken: Broken | None
    warnings: list[dict[str, str]] = Field(description="What enrolling found that did not refuse it")
    edits: dict[str, dict[str, str]]
    history: list[dict[str, Any]]
    deliveries: list[DeliveryShown]


class EnrollmentQuery(PageQuery):
    """Which enrollments: a state; `live` or `ended` for all of that kind; `held` (paused), `answered`."""

    state: str | None = Field(
        default=None, pattern=f"^({'|'.join((*LIVE_STATES, *ENDED_STATES, *KINDS_OF_PEOPLE))})$"
    )
    order: Literal["id", "planned"] = Field(
        default="id",
        description="planned: who goes on, the soonest first (without a `state` only they); who ended, the "
        "last planned first; who answered, the last answer first",
    )
    person: str | None = Field(
        default=None, max_length=320, description="Exactly an `external_id` or an e-mail address; any state"
    )


class StageCount(Shown):
    """Messages of one stage: how many were sent, and of those, where that is tracked, how many were opened
    and clicked by people, and how many by machines alone.
    """

    stage_id: str
    sent: int
    opened: int = 0
    clicked: int = 0
    machine_opened: int = 0
    machine_clicked: int = 0


class Stats(Shown):
    """Counts of a sequence, as of now."""

    states: dict[str, int]
    enrolled: int
    live: int
    replied: int
    stop_reasons: dict[str, int]
    sent: int
    stages: list[StageCount]


# ---- enrolling ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """One prospect of a request: its number, where it stands in the body, and what came."""

    row: int
    pointer: str
    data: Any
    errors: tuple[FieldError, ...] = ()


async def enroll(call: Call) -> Answer:
    """Enroll prospects; each is accepted or refused on its own, and all refused is a 422."""
    sequence = await existing(call)
    candidates, options = await read_request(call)
    check_target(sequence, options)
    await check_still_agreed(call, sequence, options.sequence_version)
    answer = EnrollAnswer(accepted=[], refused=[])
    seen: dict[str, int] = {}
    batch: list[tuple[Candidate, Wish]] = []
    for candidate in candidates:
        outcome = judge(call, sequence, candidate, options, seen)
        if isinstance(outcome, RefusedRow):
            answer.refused.append(outcome)
        else:
            batch.append((candidate, outcome))
        if len(batch) >= AT_ONCE:
            answer.accepted += await accept(call, batch)
            batch = []
            await asyncio.sleep(0)  # thousands of rows must not keep other requests waiting
    if batch:
        answer.accepted += await accept(call, batch)
    if not answer.accepted:
        raise all_refused(answer.refused)
    return Answer(answer, HTTPStatus.ACCEPTED)


async def read_request(
    call: Call, most_rows: int = MAX_ROWS, *, needs_id: bool = True
) -> tuple[Iterator[Candidate], EnrollOptions]:
    """The prospects of a JSON or CSV request, and what holds for all of them.

    `needs_id`: a CSV file has a column of ids.
    """
    if call.body.content_type == CSV:
        rows = csv_rows(call.body.data, most_rows, await columns_of(call), needs_id=needs_id)
        return (Candidate(each.line, "", each.data, each.errors) for each in rows), call.query
    body: EnrollBody = call.body.data
    if (body.prospect is None) == (body.prospects is None):
        raise invalid_at("", "has either `prospect` or `prospects`, a list of them")
    if call.query != EnrollOptions():
        raise invalid_at("", "options stand in the body here; in the query only beside a CSV body")
    if body.prospects is None:
        return iter([Candidate(1, "/prospect", body.prospect)]), body
    if not body.prospects:
        raise invalid_at("/prospects", "is empty")
    many = body.prospects
    return (Candidate(i + 1, f"/prospects/{i}", each) for i, each in enumerate(many)), body


def check_target(sequence: Document, options: EnrollOptions) -> None:
    """Problem unless the sequence takes people, in that version."""
    if sequence["archived"]:
        raise conflict("archived", "This sequence is archived: it takes no more people.")
    if options.sequence_version is not None and options.sequence_version > sequence["latest_version"]:
        raise invalid_at("/sequence_version", f"the latest version is {sequence['latest_version']}")


def judge(
    call: Call, sequence: Document, candidate: Candidate, options: EnrollOptions, seen: dict[str, int]
) -> Wish | RefusedRow:
    """The command for one prospect, or what is wrong with it."""
    if candidate.errors:
        return RefusedRow(row=candidate.row, errors=list(candidate.errors))
    try:
        prospect = parse_prospect(candidate.data)
    except ProspectError as error:
        return RefusedRow(row=candidate.row, errors=field_errors(error.problems, candidate.pointer))
    before = seen.setdefault(prospect.external_id, candidate.row)
    if before != candidate.row:
        detail = f"is in this request twice: row {before} has it too"
        return refuse(candidate, "/external_id", detail)
    try:
        return enroll_wish(call, sequence, prospect, options)
    except Problem as problem:
        return RefusedRow(row=candidate.row, errors=problem.details.errors)


def refuse(candidate: Candidate, below: str, detail: str) -> RefusedRow:
    """A refusal with one error."""
    return RefusedRow(
        row=candidate.row, errors=[FieldError(pointer=candidate.pointer + below, detail=detail)]
    )


def enroll_wish(call: Call, sequence: Document, prospect: Prospect, options: EnrollOptions) -> Wish:
    """The enroll command of one prospect."""
    wish = wish_of(
        call,
        Enroll,
        "",
        sequence_id=sequence["_id"],
        sequence_version=options.sequence_version,
        prospect=prospect,
        start_at=options.start_at,
        generation=options.generation,
        is_test=options.is_test,
    )
    message = wish.message
    assert isinstance(message, Enroll)
    return Wish(message, str(message.enrollment_id))


async def accept(call: Call, batch: list[tuple[Candidate, Wish]]) -> list[AcceptedRow]:
    """Store these commands; only then are they accepted."""
    answers = await submit(call, [wish for _, wish in batch])
    warnings = await warnings_of(call, [wish for _, wish in batch])
    return [
        AcceptedRow(
            row=candidate.row,
            warnings=warnings.get(wish.target, []),
            enrollment_id=UUID(wish.target),
            command_id=answer.command_id,
            status_url=answer.status_url,
        )
        for (candidate, wish), answer in zip(batch, answers, strict=True)
    ]


async def warnings_of(call: Call, wishes: Sequence[Wish]) -> dict[str, list[str]]:
    """By enrollment id, what somebody warns of in the prospect's company."""
    workspace = call.caller.workspace
    targets: dict[str, list[str]] = {}
    for wish in wishes:
        assert isinstance(wish.message, Enroll)
        key = wish.message.prospect.effective_company_key
        for suppression_id in call.api.secrets.suppression_ids(workspace, WARNING, key) if key else ():
            targets.setdefault(suppression_id, []).append(wish.target)
    found: dict[str, list[str]] = {}
    for suppression_id, reason in (await call.api.store.suppressions.reasons(workspace, targets)).items():
        for target in targets[suppression_id]:
            found.setdefault(target, []).append(f"company_warned: a warning of this company: {reason}")
    return found


async def enroll_lines(
    call: Call,
) -> Callable[[Sequence[Line]], Awaitable[Sequence[AcceptedRow | RefusedRow]]]:
    """Enroll a stream of prospects, one in each line; the options stand in the query."""
    sequence, options = await existing(call), call.query
    check_target(sequence, options)
    await check_still_agreed(call, sequence, options.sequence_version)

    async def work(lines: Sequence[Line]) -> Sequence[AcceptedRow | RefusedRow]:
        outcomes = [judge_line(call, sequence, line, options) for line in lines]
        wishes = [each for each in outcomes if not isinstance(each, RefusedRow)]
        accepted = iter(await accept(call, wishes) if wishes else ())
        return [each if isinstance(each, RefusedRow) else next(accepted) for each in outcomes]

    return work


def judge_line(
    call: Call, sequence: Document, line: Line, options: EnrollOptions
) -> tuple[Candidate, Wish] | RefusedRow:
    """The command for a line; whoever is in the stream twice is found by the scheduler."""
    try:
        candidate = Candidate(line.number, "", read_json(line.raw))
    except Problem as problem:
        errors = problem.details.errors or [FieldError(pointer="", detail=problem.details.detail)]
        return RefusedRow(row=line.number, errors=errors)
    outcome = judge(replace(call, ids=line.ids), sequence, candidate, options, {})
    return outcome if isinstance(outcome, RefusedRow) else (candidate, outcome)


def all_refused(refused: list[RefusedRow]) -> Problem:
    """422 with the errors of all rows; those of a CSV say their line."""
    errors = [
        FieldError(
            pointer=error.pointer,
            detail=error.detail
            if error.pointer.startswith("/prospect")
            else f"line {row.row}: {error.detail}",
        )
        for row in refused
        for error in row.errors
    ]
    return invalid(errors, "Nobody can be enrolled as they are; nothing was stored.")


# ---- reading ------------------------------------------------------------------------------------------


async def list_enrollments(call: Call) -> Answer:
    """A sequence's enrollments."""
    sequence = await existing(call)
    query: EnrollmentQuery = call.query
    found, cursor = await _page(call, sequence["_id"], query)
    people = await call.api.reads.people(call.caller.workspace, {each.person_id for each in found})
    holds = await _holding(call, found)
    rows = [shown(each, people.get(each.person_id), each.id in holds) for each in found]
    return Answer(Page[EnrollmentRow](items=rows, next_cursor=cursor))


async def _holding(call: Call, stories: Sequence[EnrollmentStory]) -> dict[UUID, Document]:
    """For each that is paused by itself, or with its person, the hold; from when it was set, though the
    scheduler takes notice only when the next stage is due.
    """
    scopes = {
        each.id: (hold_id(HoldScope.ENROLLMENT, each.id), hold_id(HoldScope.PERSON, each.person_id))
        for each in stories
        if each.state == "scheduled"
    }
    holds = await active_holds(call, [name for names in scopes.values() for name in names])
    return {i: holds[name] for i, names in scopes.items() for name in names if name in holds}


async def _page(
    call: Call, sequence_id: UUID, query: EnrollmentQuery
) -> tuple[list[EnrollmentStory], str | None]:
    reads, workspace, word = call.api.reads, call.caller.workspace, query.state
    if query.person is not None:
        return await reads.enrollments_of(workspace, sequence_id, query.person, query)
    if query.order == "planned" or word in ("held", "answered"):
        return await reads.enrollments_by_plan(workspace, sequence_id, word or "live", query)
    kinds = {"live": LIVE_STATES, "ended": ENDED_STATES}
    states = kinds.get(word, (word,)) if word else ()
    return await reads.enrollments(workspace, sequence_id, states, query)


async def get_enrollment(call: Call) -> Answer:
    """One enrollment: what happened, what was sent, what comes next and why then."""
    enrollment_id = call.uuid("enrollment_id", "enrollment")
    workspace, reads = call.caller.workspace, call.api.reads
    story = await reads.enrollment(workspace, enrollment_id)
    if story is None:
        raise not_found("enrollment")
    await check_right(call, [story.sequence_id], "enrollment")
    people = await reads.people(workspace, [story.person_id])
    parked = await reads.holds(workspace, [story.parked_by] if story.parked_by else [])
    hold = next(iter([*parked.values(), *(await _holding(call, [story])).values()]), None)
    deliveries = await reads.deliveries_of(workspace, enrollment_id)
    person = people.get(story.person_id)
    return Answer(
        EnrollmentWhole(
            **dict(shown(story, person, hold is not None)),
            prospect=person.prospect if person else None,
            hold=Held.model_validate(hold) if hold else None,
            broken=Broken.model_validate(story.broken) if story.broken else None,
            warnings=list(story.warnings),
            edits=story.edits,
            history=list(story.history),
            deliveries=[delivery_shown(each, call.api.clock.now()) for each in deliveries],
        )
    )


async def stats(call: Call) -> Answer:
    """Counts by state, by reason, by stage."""
    sequence = await existing(call)
    counts, workspace = call.api.store.counts, call.caller.workspace
    states = await counts.states(workspace, sequence["_id"])
    stops = summed(await counts.endings(workspace, sequence["_id"]), "reason")
    sent = await counts.sent(workspace, sequence["_id"])
    engaged = await call.api.store.engagements.by_stage(workspace, sequence["_id"])
    return Answer(
        Stats(
            states=states,
            enrolled=sum(states.values()),
            live=sum(states.get(each, 0) for each in LIVE_STATES),
            replied=stops.get("replied", 0),
            stop_reasons=stops,
            sent=sum(sent.values()),
            stages=[
                StageCount(stage_id=stage, sent=count, **engaged.get(stage, {}))
                for stage, count in sorted(sent.items())
            ],
        )
    )


def shown(story: EnrollmentStory, person: PersonView | None, is_held: bool) -> EnrollmentRow:
    """An enrollment as a row; `is_held`: by a hold that has not parked it yet."""
    prospect = person.prospect if person else {}
    return EnrollmentRow(
        id=story.id,
        name=full_name(prospect) or None,
        company=prospect.get("company"),
        state=story.state,
        sequence_id=story.sequence_id,
        sequence_version=story.sequence_version,
        person_id=story.person_id,
        external_id=story.external_id,
        generation=story.generation,
        is_test=story.is_test,
        mailbox_id=story.mailbox_id,
        owner_id=story.owner_id,
        next=next_of(story),
        held=is_held or story.parked_by is not None,
        stop=Stopped.model_validate(story.stop) if story.stop else None,
        failure=story.failure,
        last_event=LastEvent.model_validate(story.history[-1]) if story.history else None,
        created_at=story.created_at,
        ended_at=story.ended_at,
    )


def next_of(story: EnrollmentStory) -> Next | None:
    """What comes next; nothing after the end."""
    if story.ended or story.stage_id is None:
        return None
    return Next(
        stage_id=story.stage_id,
        stage_index=story.stage_index,
        channel=story.channel,
        planned_at=story.planned_at,
        send_before=story.send_before,
        zone=story.zone,
        reasons=list(story.reasons),
        attempt=story.attempt,
    )


def delivery_shown(story: DeliveryStory, now: datetime) -> DeliveryShown:
    """A delivery as people see it at the business instant `now`."""
    doubt = _doubt(story, now) if story.state == "in_doubt" else None
    shown = DeliveryShown.model_validate(story)
    return shown.model_copy(update={"doubt": doubt, "erased": erased_note(story)})


def erased_note(story: DeliveryStory | AnswerView) -> str | None:
    """What stands in the place of words that were erased."""
    if story.person_erased_at is not None:
        return f"erased on {story.person_erased_at:%Y-%m-%d}, with all that was kept of the person"
    at = story.erased_at
    return None if at is None else f"erased on {at:%Y-%m-%d} by the workspace's retention rule"


def _doubt(story: DeliveryStory, now: datetime) -> DoubtShown:
    looks = (story.looks or {}).items()
    since = story.settled_at
    return DoubtShown(
        since=since,
        age_seconds=int(max(0.0, (now - since).total_seconds())) if since else 0,
        transmitted_at=story.transmitted_at,
        looked=[
            LookShown(what=what, at=look["at"], times=look["times"], places=look["places"])
            for what, look in looks
            if look.get("times")
        ],
        decision=story.decision,
    )


_OF_SEQUENCE = "/v1/sequences/{sequence_id}"

ROUTES = (
    Route(
        "POST",
        _OF_SEQUENCE + "/enrollments",
        enroll,
        "Enroll prospects",
        KeyScope.WRITE,
        answer=EnrollAnswer,
        status=HTTPStatus.ACCEPTED,
        query=EnrollOptions,
        takes=Takes(EnrollBody, EnrollRequest, also=(CSV,), limit=MAX_JSON_BYTES, csv_limit=MAX_CSV_BYTES),
        tag="Enrollments",
        lines=enroll_lines,
    ),
    Route(
        "GET",
        _OF_SEQUENCE + "/enrollments",
        list_enrollments,
        "List a sequence's enrollments",
        KeyScope.READ,
        answer=Page[EnrollmentRow],
        query=EnrollmentQuery,
        tag="Enrollments",
    ),
    Route(
        "GET",
        _OF_SEQUENCE + "/stats",
        stats,
        "Count a sequence",
        KeyScope.READ,
        answer=Stats,
        tag="Sequences",
    ),
    Route(
        "GET",
        "/v1/enrollments/{enrollment_id}",
        get_enrollment,
        "Read an enrollment",
        KeyScope.READ,
        answer=EnrollmentWhole,
        tag="Enrollments",
    ),
)
