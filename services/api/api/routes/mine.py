"""What waits for the caller, what goes out next in their name, and what of theirs is held."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.access import among
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.routes.sequences import visible_ids
from api.routing import Answer, Call, Route, Shown
from api.times import end_of_day
from api.waiting import Wait, waits_among
from chassis.documents import EnrollmentStory, delegation_id
from chassis.prompting import PromptWishes
from segue_contracts.commands import HoldScope

MOST_COUNTED = 100


class WaitingShown(Shown):
    """How much waits for the caller; each is counted up to `most`.

    `tasks`: theirs, due by the end of their day; `overdue` among them. `answers`: to their sequences, that
    nobody has looked at. `doubts`: deliveries, of sequences that they may see, that wait for a decision.
    """

    tasks: int
    overdue: int
    answers: int
    doubts: int
    most: int = MOST_COUNTED


class UpcomingQuery(PageQuery):
    """Whose; `me` is the caller."""

    owner: Literal["me"] = "me"


class UpcomingShown(Shown):
    """Something that goes out, or a task that comes up: to whom, when, and why then."""

    enrollment_id: UUID
    sequence_id: UUID
    sequence: str | None = Field(description="The sequence's name")
    external_id: str
    prospect: dict[str, Any] | None
    stage_id: str | None
    channel: str | None
    planned_at: datetime | None
    zone: str | None
    reasons: list[dict[str, Any]]


class HeldShown(Wait):
    """A hold over what is the caller's; `name`: of the sequence, or the mailbox's address."""

    name: str | None


class HoldsShown(Shown):
    """All of them."""

    items: list[HeldShown]


async def waiting(call: Call) -> Answer:
    """Counts for the caller, cheap enough for every page."""
    workspace, user_id, now = call.caller.workspace, call.caller.user_id, call.api.clock.now()
    reads = call.api.reads
    user = await call.api.store.people.user(workspace, user_id)
    today = end_of_day(now, PromptWishes.read((user or {}).get("prompts")).zone)
    doubtful = among("sequence_id", await visible_ids(call))
    return Answer(
        WaitingShown(
            tasks=await reads.waiting_tasks(workspace, user_id, today, now, MOST_COUNTED),
            overdue=await reads.overdue_tasks(workspace, user_id, now, MOST_COUNTED),
            answers=await reads.open_answers(workspace, user_id, MOST_COUNTED),
            doubts=await reads.count_doubts(workspace, doubtful, MOST_COUNTED),
        )
    )


async def upcoming(call: Call) -> Answer:
    """What goes out next; whoever is held is not among them."""
    workspace, query = call.caller.workspace, call.query
    found, cursor = await call.api.reads.upcoming(workspace, call.caller.user_id, query)
    people = await call.api.reads.people(workspace, {each.person_id for each in found})
    names = await call.api.store.sequences.names(workspace, {each.sequence_id for each in found})
    prospects = {each: person.prospect for each, person in people.items()}
    items = [_upcoming(each, names.get(each.sequence_id), prospects.get(each.person_id)) for each in found]
    return Answer(Page[UpcomingShown](items=items, next_cursor=cursor))


def _upcoming(story: EnrollmentStory, name: str | None, prospect: dict[str, Any] | None) -> UpcomingShown:
    return UpcomingShown(
        enrollment_id=story.id,
        sequence_id=story.sequence_id,
        sequence=name,
        external_id=story.external_id,
        prospect=prospect,
        stage_id=story.stage_id,
        channel=story.channel,
        planned_at=story.planned_at,
        zone=story.zone,
        reasons=list(story.reasons),
    )


async def holds(call: Call) -> Answer:
    """What holds the caller's sequences, their mailboxes, and those that their sequences send from."""
    workspace, user_id, store = call.caller.workspace, call.caller.user_id, call.api.store
    sending = await store.sequences.sending_from(workspace, user_id)
    own = [each["_id"] for each in await store.mailboxes.owned_by(workspace, user_id)]
    mailboxes = list(dict.fromkeys([*own, *(each for ids in sending.values() for each in ids)]))
    waits = await waits_among(call, list(sending), mailboxes, user_id)
    known = await _names(call, waits, mailboxes)
    items = [HeldShown(**dict(each), name=known.get(each.scope_id)) for each in waits]
    return Answer(HoldsShown(items=items))


async def _names(call: Call, waits: list[Wait], mailboxes: list[UUID]) -> dict[UUID, str]:
    """What is held by its name; a consent by the address of the mailbox that it is about."""
    workspace, store = call.caller.workspace, call.api.store
    if not waits:
        return {}
    addresses = {each["_id"]: each["address"] for each in await store.mailboxes.among(workspace, mailboxes)}
    consents = {delegation_id(each, call.caller.user_id): name for each, name in addresses.items()}
    scopes = (HoldScope.SEQUENCE, HoldScope.OWNERSHIP)
    held = [each.scope_id for each in waits if each.scope in scopes]
    return {**await store.sequences.names(workspace, held), **addresses, **consents}


ROUTES = (
    Route(
        "GET",
        "/v1/me/waiting",
        waiting,
        "Count what waits for the caller",
        KeyScope.READ,
        answer=WaitingShown,
        tag="Tasks",
    ),
    Route(
        "GET",
        "/v1/upcoming",
        upcoming,
        "See what goes out next",
        KeyScope.READ,
        answer=Page[UpcomingShown],
        query=UpcomingQuery,
        tag="Enrollments",
    ),
    Route(
        "GET",
        "/v1/me/holds",
        holds,
        "See what of the caller's is held, and why",
        KeyScope.READ,
        answer=HoldsShown,
        tag="Sequences",
    ),
)
