"""Commands on what runs already, each answered with 202, and their status page."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from api.access import Right
from api.keys import KeyScope, Role
from api.model import CommandState, Settled
from api.problems import FieldError, conflict, invalid, invalid_at, not_found, refused
from api.routes.mailboxes import existing as existing_mailbox
from api.routes.sequences import check_right, existing, template_error
from api.routing import KIB, Answer, Call, Closed, Empty, Route, Shown, Takes
from api.submitting import command_route, submit_one
from api.times import Instant
from chassis.documents import hold_id, hold_is_active
from chassis.rates import BY_SENDER
from chassis.store import Document
from segue_contracts.commands import (
    Edit,
    Hold,
    HoldScope,
    Lift,
    MarkReplied,
    Migrate,
    Reschedule,
    Stop,
    UpdatePerson,
)
from segue_contracts.ids import person_id
from segue_contracts.message import Scope as StopScope
from segue_contracts.message import ShortText
from segue_contracts.prospect import Prospect, ProspectError, parse_prospect
from segue_contracts.sequence import MAX_STAGES, StageId, SubjectText, TemplateText


class PauseRequest(Closed):
    """Until an instant, or until resumed."""

    until: Instant | None = None
    reason: ShortText = ""


class StopRequest(Closed):
    """Why, in your own word, such as `hired`; analysts find it as `reason_code`."""

    reason_code: ShortText = ""


class RescheduleRequest(Closed):
    """Carry out the current stage then."""

    at: Instant


class MigrateRequest(Closed):
    """Go on with that version of the sequence."""

    to_version: int = Field(ge=1)


class Words(Closed):
    """What a stage says, for one person."""

    subject: SubjectText | None = None
    text: TemplateText | None = None


class EditRequest(Closed):
    """New words for remaining stages, by stage id."""

    stages: Annotated[dict[StageId, Words], Field(min_length=1, max_length=MAX_STAGES)]


class PersonFacts(Prospect):
    """A prospect; `external_id` may be left out, since the path has it."""

    external_id: str | None = None  # type: ignore[assignment]


class Reason(Shown):
    """Why a command was refused."""

    code: str
    detail: str = ""


class CommandStatus(Shown):
    """What became of a command: accepted (not yet known), done, or refused with reasons."""

    id: UUID
    type: str
    target: str
    state: CommandState
    reasons: list[Reason]
    enrollment_id: UUID | None
    created_at: datetime
    people: int | None = Field(
        default=None, description="Of a command on everybody in a sequence: how many it reached so far"
    )
    refused: int | None = Field(default=None, description="Of those, for how many it was refused")


# ---- the status page ----------------------------------------------------------------------------------


async def get_command(call: Call) -> Answer:
    """What became of a command."""
    command_id = call.uuid("command_id", "command")
    command = await call.api.store.commands.one(call.caller.workspace, command_id)
    if command is None:
        return Answer(await _bulk_status(call, command_id))
    _check_issuer(call, command)
    if command["state"] == CommandState.ACCEPTED:
        known = await call.api.courier.outcomes([command])
        return Answer(status_of(command, known.get(command_id)))
    result = command["result"]
    what = Settled(CommandState(command["state"]), tuple(result["reasons"]), result["enrollment_id"])
    return Answer(status_of(command, what))


def _check_issuer(call: Call, command: Document) -> None:
    """Problem 404 for a command of somebody else, which may be about what the caller may not see."""
    if call.caller.role is not Role.ADMIN and command["issued_by"] != str(call.caller.user_id):
        raise not_found("command")


async def _bulk_status(call: Call, command_id: UUID) -> CommandStatus:
    """Done when everybody's own command has a result; for a stop, when nobody is left."""
    bulk = await call.api.store.bulks.one(call.caller.workspace, command_id)
    if bulk is None:
        raise not_found("command")
    _check_issuer(call, bulk)
    return CommandStatus(
        id=bulk["_id"],
        type=bulk["type"],
        target=str(bulk["sequence_id"]),
        state=CommandState(bulk["state"]),
        reasons=[],
        enrollment_id=None,
        created_at=bulk["created_at"],
        people=bulk["people"],
        refused=bulk["refused"],
    )


def status_of(command: Document, what: Settled | None) -> CommandStatus:
    """The status page; `what` is None while nothing is known."""
    enrollment = what.enrollment_id if what else None
    if enrollment is None and command["type"] == "enroll":
        enrollment = UUID(command["target"])
    return CommandStatus(
        id=command["_id"],
        type=command["type"],
        target=command["target"],
        state=what.state if what else CommandState.ACCEPTED,
        reasons=[Reason.model_validate(each) for each in (what.reasons if what else ())],
        enrollment_id=enrollment,
        created_at=command["created_at"],
    )


# ---- on an enrollment ---------------------------------------------------------------------------------


async def enrollment_of(call: Call) -> UUID:
    """The enrollment that the path names: there, or accepted and on its way; Problem 404 otherwise."""
    enrollment_id = call.uuid("enrollment_id", "enrollment")
    workspace = call.caller.workspace
    sequence_id = await call.api.reads.sequence_of(workspace, enrollment_id)
    if sequence_id is None:
        sequence_id = await call.api.store.commands.sequence_of(workspace, str(enrollment_id))
    if sequence_id is None:
        raise not_found("enrollment")
    await check_right(call, [sequence_id], "enrollment")
    return enrollment_id


async def pause_enrollment(call: Call) -> Answer:
    """Hold an enrollment."""
    return await hold(call, HoldScope.ENROLLMENT, await enrollment_of(call))


async def resume_enrollment(call: Call) -> Answer:
    """Lift the hold of an enrollment."""
    return await lift(call, HoldScope.ENROLLMENT, await enrollment_of(call))


async def stop_enrollment(call: Call) -> Answer:
    """End an enrollment before its last stage."""
    enrollment, body = await enrollment_of(call), call.body.data
    return await submit_one(
        call,
        Stop,
        str(enrollment),
        scope=StopScope.ENROLLMENT,
        enrollment_id=enrollment,
        reason_code=body.reason_code,
    )


async def mark_replied(call: Call) -> Answer:
    """The person answered on a way that Segue does not see."""
    enrollment = await enrollment_of(call)
    return await submit_one(call, MarkReplied, str(enrollment), enrollment_id=enrollment)


async def reschedule(call: Call) -> Answer:
    """Another time for the current stage."""
    enrollment = await enrollment_of(call)
    return await submit_one(call, Reschedule, str(enrollment), enrollment_id=enrollment, at=call.body.data.at)


async def migrate(call: Call) -> Answer:
    """Another version of the sequence for this person."""
    enrollment = await enrollment_of(call)
    to_version = call.body.data.to_version
    return await submit_one(call, Migrate, str(enrollment), enrollment_id=enrollment, to_version=to_version)


async def edit(call: Call) -> Answer:
    """Other words for this person, in stages that are still to come."""
    enrollment = await enrollment_of(call)
    body: EditRequest = call.body.data
    errors = [error for stage, words in body.stages.items() for error in words_errors(stage, words)]
    if errors:
        raise invalid(errors)
    stages = {stage: words.model_dump(exclude_none=True) for stage, words in body.stages.items()}
    return await submit_one(call, Edit, str(enrollment), enrollment_id=enrollment, stages=stages)


def words_errors(stage: str, words: Words) -> Iterator[FieldError]:
    """What is wrong with the words of one stage."""
    if words.subject is None and words.text is None:
        yield FieldError(pointer=f"/stages/{stage}", detail="has neither a subject nor a text")
    yield from template_error(f"/stages/{stage}/subject", words.subject, "header")
    yield from template_error(f"/stages/{stage}/text", words.text, "text")


# ---- on everything of a sequence, of the workspace, of a person, of a company -------------------------


async def pause_sequence(call: Call) -> Answer:
    """Hold everything in a sequence."""
    return await hold(call, HoldScope.SEQUENCE, (await existing(call))["_id"])


async def resume_sequence(call: Call) -> Answer:
    """Lift the hold of a sequence."""
    return await lift(call, HoldScope.SEQUENCE, (await existing(call))["_id"])


async def pause_workspace(call: Call) -> Answer:
    """Hold everything in the workspace."""
    return await hold(call, HoldScope.WORKSPACE, call.caller.workspace)


async def resume_workspace(call: Call) -> Answer:
    """Lift the hold of the workspace."""
    return await lift(call, HoldScope.WORKSPACE, call.caller.workspace)


async def pause_person(call: Call) -> Answer:
    """Hold everything of a person."""
    return await hold(call, HoldScope.PERSON, person_of(call))


async def resume_person(call: Call) -> Answer:
    """Lift the hold of a person, that of an out-of-office note too."""
    return await lift(call, HoldScope.PERSON, person_of(call))


def person_of(call: Call) -> UUID:
    """The person whom the path names, known or not."""
    return person_id(call.caller.workspace, checked_path(call, "external_id"))


async def pause_mailbox(call: Call) -> Answer:
    """Hold everything that a mailbox sends."""
    return await hold(call, HoldScope.MAILBOX, (await existing_mailbox(call))["_id"])


async def resume_mailbox(call: Call) -> Answer:
    """Lift the hold of a mailbox; one that is held because its server refuses it waits for its time."""
    mailbox = (await existing_mailbox(call))["_id"]
    found = await call.api.reads.holds(call.caller.workspace, [hold_id(HoldScope.MAILBOX, mailbox)])
    if any(hold["by"] == BY_SENDER and hold_is_active(hold, call.api.clock.now()) for hold in found.values()):
        detail = "Its server refuses this mailbox: mend its settings; it is tried again by itself."
        raise conflict("held-by-its-server", detail)
    return await lift(call, HoldScope.MAILBOX, mailbox)


async def hold(call: Call, scope: HoldScope, scope_id: UUID) -> Answer:
    """The command that pauses."""
    body: PauseRequest = call.body.data
    if body.until is not None and body.until <= call.api.clock.now():
        raise invalid_at("/until", "is past: give an instant to come, or none")
    return await submit_one(
        call, Hold, str(scope_id), scope=scope, scope_id=scope_id, until=body.until, reason=body.reason
    )


async def lift(call: Call, scope: HoldScope, scope_id: UUID) -> Answer:
    """The command that resumes."""
    return await submit_one(call, Lift, str(scope_id), scope=scope, scope_id=scope_id)


async def update_person(call: Call) -> Answer:
    """All facts about a person; what is not yet dispatched is planned again with them."""
    data: Any = call.body.data
    external_id = call.path["external_id"]
    try:
        prospect = parse_prospect({"external_id": external_id, **data} if isinstance(data, dict) else data)
    except ProspectError as error:
        raise refused(error) from None
    if prospect.external_id != external_id:
        raise conflict("other-person", "The external_id of the body is not the one of the path.")
    return await submit_one(call, UpdatePerson, external_id, prospect=prospect)


async def stop_person(call: Call) -> Answer:
    """End everything of a person."""
    person, reason_code = person_of(call), call.body.data.reason_code
    return await submit_one(
        call,
        Stop,
        call.path["external_id"],
        scope=StopScope.PERSON,
        person_id=person,
        reason_code=reason_code,
    )


async def stop_company(call: Call) -> Answer:
    """End everything of a company's people."""
    key = checked_path(call, "company_key")
    reason_code = call.body.data.reason_code
    return await submit_one(
        call, Stop, key, scope=StopScope.COMPANY, company_key=key, reason_code=reason_code
    )


def checked_path(call: Call, name: str) -> str:
    """A name in the path, as long as a name may be; Problem 422 otherwise."""
    value = call.path[name]
    if len(value) > 200:
        raise invalid_at(f"/{name}", "is longer than 200 characters")
    return value


_PAUSE = Takes(PauseRequest, optional=True)
_STOP = Takes(StopRequest, optional=True)
_EMPTY = Takes(Empty, optional=True)
_ENROLLMENT = "/v1/enrollments/{enrollment_id}"
_SEQUENCE = "/v1/sequences/{sequence_id}"
_PERSON = "/v1/people/{external_id}"
_MAILBOX = "/v1/mailboxes/{mailbox_id}"
_E, _S, _W, _P, _M = "Enrollments", "Sequences", "Workspace", "People", "Mailboxes"

ROUTES = (
    Route(
        "GET",
        "/v1/commands/{command_id}",
        get_command,
        "See what became of a command",
        KeyScope.READ,
        answer=CommandStatus,
        tag="Commands",
    ),
    command_route("POST", _ENROLLMENT + "/pause", pause_enrollment, "Pause an enrollment", _PAUSE, _E),
    command_route("POST", _ENROLLMENT + "/resume", resume_enrollment, "Resume an enrollment", _EMPTY, _E),
    command_route("POST", _ENROLLMENT + "/stop", stop_enrollment, "Stop an enrollment", _STOP, _E),
    command_route("POST", _ENROLLMENT + "/mark-replied", mark_replied, "Mark as answered", _EMPTY, _E),
    command_route(
        "POST",
        _ENROLLMENT + "/reschedule",
        reschedule,
        "Move the current stage",
        Takes(RescheduleRequest),
        _E,
    ),
    command_route(
        "POST", _ENROLLMENT + "/migrate", migrate, "Go on with another version", Takes(MigrateRequest), _E
    ),
    command_route(
        "POST",
        _ENROLLMENT + "/edit",
        edit,
        "Change the words for one person",
        Takes(EditRequest, limit=400 * KIB),
        _E,
    ),
    command_route(
        "POST", _SEQUENCE + "/pause", pause_sequence, "Pause a sequence", _PAUSE, _S, right=Right.EDIT
    ),
    command_route(
        "POST", _SEQUENCE + "/resume", resume_sequence, "Resume a sequence", _EMPTY, _S, right=Right.EDIT
    ),
    command_route("POST", "/v1/workspace/pause", pause_workspace, "Pause everything", _PAUSE, _W),
    command_route("POST", "/v1/workspace/resume", resume_workspace, "Resume everything", _EMPTY, _W),
    command_route(
        "PUT", _PERSON, update_person, "Tell all facts about a person", Takes(schema_of=PersonFacts), _P
    ),
    command_route("POST", _PERSON + "/pause", pause_person, "Pause everything of a person", _PAUSE, _P),
    command_route("POST", _PERSON + "/resume", resume_person, "Resume everything of a person", _EMPTY, _P),
    command_route("POST", _PERSON + "/stop", stop_person, "Stop everything of a person", _STOP, _P),
    command_route("POST", _MAILBOX + "/pause", pause_mailbox, "Pause what a mailbox sends", _PAUSE, _M),
    command_route("POST", _MAILBOX + "/resume", resume_mailbox, "Resume what a mailbox sends", _EMPTY, _M),
    command_route(
        "POST", "/v1/companies/{company_key}/stop", stop_company, "Stop everything of a company", _STOP, _P
    ),
)
