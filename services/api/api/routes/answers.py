"""What people and their mail servers answered, what that did, and the word of a person who knows better."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from api.access import among, visible_to
from api.auditing import audit
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import not_found
from api.routes.enrollments import erased_note
from api.routes.sequences import check_right, visible_ids
from api.routing import Answer, Call, Closed, Empty, Route, Shown, Takes
from api.submitting import command_route, submit_one
from chassis.documents import AnswerView
from chassis.store import Document
from segue_contracts.events import CorrectAnswer
from segue_contracts.ids import person_id

AnswerKinds = Literal["reply", "auto_reply", "opt_out", "bounce", "complaint", "manual_mail", "other"]
Intent = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$", examples=["interested", "not_now"])]


class AnswerQuery(PageQuery):
    """Which answers; all conditions together."""

    state: Literal["open", "reviewed"] | None = Field(
        default=None, description="open: nobody has looked at it yet"
    )
    sequence: UUID | None = None
    person: str | None = Field(default=None, max_length=200, description="The person's `external_id`")
    owner: UUID | Literal["me"] | None = Field(default=None, description="Whose sequence it is about")
    kind: AnswerKinds | None = None
    intent: Intent | None = None


class StopShown(Shown):
    """What was stopped: `target` is an enrollment, a person or a company, as `scope` says."""

    reason: str
    reason_code: str
    scope: str
    target: UUID | str


class HoldShown(Shown):
    """What was held, and until when."""

    scope: str
    target: UUID | str
    until: datetime
    reason: str


class CorrectionShown(Shown):
    """What a person said, and when; `was`: what it counted as before."""

    kind: str | None
    intent: str | None
    was: str
    by: str
    at: datetime


class SequenceNamed(Shown):
    """A sequence, and what it is called."""

    id: UUID
    name: str


class AnswerShown(Shown):
    """A message about somebody in a sequence.

    `kind` and `intent` are what it counts as; `judged_kind` and `judged_intent` what the machine said.
    `match`: thread (it names a message of yours), phone, address (of the sender: `review` it), manual_mail
    (you wrote). `settled`: all that it sets in motion is done. `suppressions` can be removed by their ids.
    """

    id: UUID
    mailbox_id: UUID
    source: str
    received_at: datetime
    state: Literal["open", "reviewed"]
    kind: str
    intent: str | None
    judged_kind: str
    judged_intent: str | None
    match: str
    review: bool
    settled: bool
    person_ids: list[UUID]
    enrollment_ids: list[UUID]
    sequence_ids: list[UUID]
    sequences: list[SequenceNamed]
    owner_ids: list[UUID]
    from_address: str
    subject: str
    text: str
    stopped: list[StopShown]
    held: list[HoldShown]
    suppressions: list[str]
    corrections: list[CorrectionShown]
    reviewed_at: datetime | None
    reviewed_by: str | None
    erased_at: datetime | None = None
    erased: str | None = Field(default=None, description="Why there are no words any more")


class CorrectionRequest(Closed):
    """What it is instead: `other` is no answer at all. Leave out what is right."""

    kind: Literal["reply", "auto_reply", "opt_out", "other"] | None = None
    intent: Intent | None = None


# ---- reading ------------------------------------------------------------------------------------------


async def list_them(call: Call) -> Answer:
    """Answers, the newest first."""
    query: AnswerQuery = call.query
    which = among("answer.sequences", await visible_ids(call))
    found, cursor = await call.api.reads.answers(call.caller.workspace, which, _where(call, query), query)
    names = await _names(call, found)
    return Answer(Page[AnswerShown](items=[shown(call, each, names) for each in found], next_cursor=cursor))


async def get(call: Call) -> Answer:
    """One answer."""
    view = await existing(call)
    return Answer(shown(call, view, await _names(call, [view])))


async def _names(call: Call, views: Iterable[AnswerView]) -> dict[UUID, str]:
    """What the sequences of these answers are called, those that the caller may see."""
    ids = {one for view in views for one in view.answer["sequences"]}
    which = {"_id": {"$in": list(ids)}, **visible_to(call.caller)}
    found = await call.api.store.sequences.briefs(call.caller.workspace, which) if ids else []
    return {each["_id"]: each["name"] for each in found}


async def existing(call: Call) -> AnswerView:
    """The answer that the path names; Problem 404, or 403 where the right to what it is about ends."""
    inbound_id = call.uuid("inbound_id", "answer")
    view = await call.api.reads.answer(call.caller.workspace, inbound_id)
    if view is None:
        raise not_found("answer")
    await check_right(call, view.answer["sequences"], "answer")
    return view


def _where(call: Call, query: AnswerQuery) -> Document:
    wanted = {
        "open": None if query.state is None else query.state == "open",
        "sequences": query.sequence,
        "people": person_id(call.caller.workspace, query.person) if query.person else None,
        "owners": call.caller.user_id if query.owner == "me" else query.owner,
        "kind": query.kind,
        "intent": query.intent,
    }
    return {field: value for field, value in wanted.items() if value is not None}


def shown(call: Call, view: AnswerView, names: Mapping[UUID, str]) -> AnswerShown:
    """An answer as people see it; `names` are those of sequences."""
    answer, effect = view.answer, view.effect
    return AnswerShown(
        id=view.id,
        mailbox_id=view.mailbox_id,
        source=view.source,
        received_at=view.received_at,
        state="open" if answer["open"] else "reviewed",
        kind=answer["kind"],
        intent=answer["intent"],
        judged_kind=view.verdict_kind,
        judged_intent=view.verdict_intent,
        match=view.match_by,
        review=effect["review"],
        settled=view.state == "settled",
        person_ids=answer["people"],
        enrollment_ids=answer["enrollments"],
        sequence_ids=answer["sequences"],
        sequences=[SequenceNamed(id=one, name=names[one]) for one in answer["sequences"] if one in names],
        owner_ids=answer["owners"],
        from_address=answer["from_address"],
        subject=answer["subject"],
        text=answer["text"],
        stopped=[StopShown.model_validate(cause) for cause in effect["causes"] if cause["until"] is None],
        held=[HoldShown.model_validate(each) for each in _holds(effect)],
        suppressions=_suppressions(call, effect),
        corrections=[CorrectionShown.model_validate(each) for each in view.corrections],
        reviewed_at=answer.get("reviewed_at"),
        reviewed_by=answer.get("reviewed_by"),
        erased_at=view.erased_at,
        erased=erased_note(view),
    )


def _holds(effect: Document) -> list[Document]:
    absences = [{**c, "reason": "out_of_office"} for c in effect["causes"] if c["until"] is not None]
    return [*absences, *effect["waits"]]


def _suppressions(call: Call, effect: Document) -> list[str]:
    workspace, suppression_id = call.caller.workspace, call.api.secrets.suppression_id
    values = [("address", each) for each in effect["suppress"]]
    values += [("phone", each) for each in effect["suppress_phones"]]
    return [suppression_id(workspace, kind, value) for kind, value in values]


# ---- a person knows better ----------------------------------------------------------------------------


async def correct(call: Call) -> Answer:
    """Say what a message is. What it stopped stays stopped and counts as that; to go on, enroll anew."""
    view, body = await existing(call), call.body.data
    said: dict[str, Any] = body.model_dump(exclude_none=True)
    await audit(call, "answer.corrected", view.id, **said)
    return await submit_one(call, CorrectAnswer, str(view.id), inbound_id=view.id, **said)


async def review(call: Call) -> Answer:
    """You have looked at it, and it is right as it is."""
    view = await existing(call)
    return await submit_one(call, CorrectAnswer, str(view.id), inbound_id=view.id)


_ONE = "/v1/answers/{inbound_id}"


ROUTES = (
    Route(
        "GET",
        "/v1/answers",
        list_them,
        "List answers",
        KeyScope.READ,
        answer=Page[AnswerShown],
        query=AnswerQuery,
        tag="Answers",
    ),
    Route("GET", _ONE, get, "Read an answer", KeyScope.READ, answer=AnswerShown, tag="Answers"),
    command_route(
        "POST", _ONE + "/correction", correct, "Say what an answer is", Takes(CorrectionRequest), "Answers"
    ),
    command_route(
        "POST",
        _ONE + "/review",
        review,
        "An answer is right as it is",
        Takes(Empty, optional=True),
        "Answers",
    ),
)
