"""The people of a sequence as a crowd: how many are where, and a command on some of them at once."""

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from api.access import Right
from api.counted import SequenceCounted, counted
from api.crowd import KINDS, submit_for_all, target_of
from api.keys import KeyScope
from api.problems import invalid_at
from api.reads import LIVE_STATES
from api.routes.sequences import existing
from api.routing import MIB, Answer, Call, Closed, Route, Shown, Takes
from api.submitting import Accepted, submit, wish_of
from api.times import Instant
from segue_contracts.message import ShortText

MAX_NAMED = 5_000
AT_ONCE = 500
ACTIONS = {"pause": "hold", "resume": "lift", "stop": "stop", "mark_replied": "mark_replied"}


class PeopleRequest(Closed):
    """What to do, and with whom: `enrollment_ids`, or all who are in a `state` now."""

    do: Literal["pause", "resume", "stop", "mark_replied"]
    enrollment_ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_NAMED)] | None = None
    state: str | None = Field(default=None, pattern=f"^({'|'.join((*LIVE_STATES, 'live', 'held'))})$")
    until: Instant | None = Field(default=None, description="Of a pause")
    reason: ShortText = Field(default="", description="Of a pause")
    reason_code: ShortText = Field(default="", description="Of a stop")


class PeopleAnswer(Shown):
    """How many commands were accepted, one a person; `command` is the one for a crowd, which goes on by
    itself. `unknown`: not in this sequence.
    """

    accepted: int = 0
    command: Accepted | None = None
    unknown: list[UUID] = Field(default_factory=list)


class CountsAnswer(Shown):
    """Null until somebody has looked at the sequence for a moment."""

    counts: SequenceCounted | None


async def get_counts(call: Call) -> Answer:
    """The counts of a sequence as last made."""
    sequence, workspace = await existing(call), call.caller.workspace
    known = await call.api.counting.known(workspace, [sequence["_id"]])
    doc = known.get(sequence["_id"])
    if doc is None:
        return Answer(CountsAnswer(counts=None))
    version = await call.api.store.sequences.version(workspace, sequence["_id"], sequence["latest_version"])
    assert version is not None, "a version is stored before the sequence points at it"
    return Answer(CountsAnswer(counts=counted(doc, version["document"]["stages"])))


async def act(call: Call) -> Answer:
    """One command for each of some people, or for all in a state."""
    sequence, body = await existing(call), call.body.data
    check_request(call, body)
    kind, fields = ACTIONS[body.do], _fields(body)
    if body.enrollment_ids is not None:
        ids = list(dict.fromkeys(body.enrollment_ids))
        return await _named(call, sequence["_id"], kind, ids, fields)
    found = await call.api.reads.some_ids(call.caller.workspace, sequence["_id"], body.state, MAX_NAMED + 1)
    if len(found) <= MAX_NAMED:  # exactly those who are in it at this moment
        return await _named(call, sequence["_id"], kind, found, fields)
    command = await submit_for_all(call, kind, sequence["_id"], among=body.state, **fields)
    headers = {"Location": command.status_url}
    return Answer(PeopleAnswer(command=command), HTTPStatus.ACCEPTED, headers)


def check_request(call: Call, body: PeopleRequest) -> None:
    """Problem 422 unless it says whom, and nothing that the action has no use for."""
    if (body.enrollment_ids is None) == (body.state is None):
        raise invalid_at("", "has either `enrollment_ids` or a `state`")
    if body.do != "pause" and (body.until is not None or body.reason):
        raise invalid_at("/until" if body.until else "/reason", "is for `pause` alone")
    if body.do != "stop" and body.reason_code:
        raise invalid_at("/reason_code", "is for `stop` alone")
    if body.until is not None and body.until <= call.api.clock.now():
        raise invalid_at("/until", "is past: give an instant to come, or none")


def _fields(body: PeopleRequest) -> dict[str, Any]:
    if body.do == "pause":
        return {"until": body.until, "reason": body.reason}
    return {"reason_code": body.reason_code} if body.do == "stop" else {}


async def _named(call: Call, sequence_id: UUID, kind: str, ids: list[UUID], fields: dict[str, Any]) -> Answer:
    answer = PeopleAnswer()
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        known = await call.api.reads.members(call.caller.workspace, sequence_id, some)
        answer.unknown += [each for each in some if each not in known]
        wishes = [
            wish_of(call, KINDS[kind], str(each), **target_of(kind, each), **fields)
            for each in some
            if each in known
        ]
        answer.accepted += len(await submit(call, wishes))
    if answer.unknown and not answer.accepted:
        raise invalid_at("/enrollment_ids", "nobody of these is in this sequence")
    return Answer(answer, HTTPStatus.ACCEPTED)


_ONE = "/v1/sequences/{sequence_id}"

ROUTES = (
    Route(
        "GET",
        _ONE + "/counts",
        get_counts,
        "See what a sequence counts to",
        KeyScope.READ,
        answer=CountsAnswer,
        tag="Sequences",
    ),
    Route(
        "POST",
        _ONE + "/people",
        act,
        "Pause, resume, stop or mark as answered many people",
        KeyScope.WRITE,
        answer=PeopleAnswer,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(PeopleRequest, limit=MIB),
        right=Right.USE,
        tag="Sequences",
    ),
)
