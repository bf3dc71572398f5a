"""Forgetting a person for good, and everything that is kept about them: an admin's, and audited."""

from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.auditing import audit
from api.keys import KeyScope
from api.problems import conflict, not_found
from api.routes.commands import checked_path
from api.routing import Answer, Call, Empty, Route, Shown, Takes
from api.submitting import submit, wish_of
from segue_contracts.commands import Erase
from segue_contracts.ids import person_id

State = Literal["known", "asked", "erasing", "erased"]


class ErasureAccepted(Shown):
    """The 202: the wish is stored; `status_url` tells how far it is."""

    command_id: UUID
    status_url: str


class ErasureShown(Shown):
    """How far a person's erasure is: `known` (nobody asked for it), `asked`, `erasing`, `erased`."""

    person_id: UUID
    state: State
    asked_at: datetime | None = None
    by: str | None = Field(default=None, description="The user, or the service, that asked for it")
    done_at: datetime | None = None
    waiting_for: list[str] = Field(default=[], description="The services that still have something to erase")
    erased: dict[str, dict[str, int]] = Field(
        default={}, description="By service: how many documents of each kind were emptied"
    )
    same_address: list[str] = Field(
        default=[], description="External ids with the same address: erase them too if they are the person"
    )


class PersonExport(Shown):
    """Everything that is kept about a person: by collection, the documents as they are stored."""

    workspace_id: UUID
    person_id: UUID
    external_id: str
    at: datetime
    kept: dict[str, list[dict[str, Any]]]


async def erase(call: Call) -> Answer:
    """Erase a person: stop what waits, and forget all that is kept of them but ids, times and counts.

    It can't be taken back, and nobody enrolls this id or writes to these addresses again. Asked for once
    more, it is done once more, for what has come in since.
    """
    external_id = checked_path(call, "external_id")
    person = person_id(call.caller.workspace, external_id)
    if await _person(call) != person:
        detail = "Nothing but this id is left of the person. Ask with the id by which your system calls them."
        raise conflict("erased", detail)
    wish = wish_of(call, Erase, str(person), external_id=external_id)
    await audit(call, "person.erased", person)
    await submit(call, [wish])
    url = call.api.url(f"/v1/people/{person}/erasure")
    answer = ErasureAccepted(command_id=wish.message.event_id, status_url=url)
    return Answer(answer, HTTPStatus.ACCEPTED, {"Location": url})


async def show(call: Call) -> Answer:
    """How far a person's erasure is; the path has their external id, or their `person_id`."""
    workspace = call.caller.workspace
    person = await _person(call)
    erasure = await call.api.erasures.one(workspace, person)
    if erasure is not None:
        return Answer(
            ErasureShown(
                person_id=person,
                state="erasing" if erasure.open else "erased",
                asked_at=erasure.asked_at,
                by=erasure.by,
                done_at=erasure.done_at,
                waiting_for=[owner.value for owner in erasure.open],
                erased={owner: dict(found) for owner, found in erasure.erased.items()},
            )
        )
    asked = await call.api.store.commands.latest(workspace, str(person), "erase")
    if asked is None and not await call.api.reads.belongings.exists(workspace, person):
        raise not_found("person")
    same = await call.api.reads.belongings.same_address(workspace, person)
    at = asked["created_at"] if asked else None
    state: State = "asked" if asked else "known"
    return Answer(ErasureShown(person_id=person, state=state, asked_at=at, same_address=same))


async def export(call: Call) -> Answer:
    """Everything that is kept about a person, as one JSON object, with their messages as they were sent."""
    person = await _person(call)
    erasure = await call.api.erasures.one(call.caller.workspace, person)
    if erasure is None and not await call.api.reads.belongings.exists(call.caller.workspace, person):
        raise not_found("person")
    await audit(call, "person.exported", person)
    api = call.api
    whole = api.reads.belongings.export(
        api.secrets, call.caller.workspace, call.path["external_id"], person, api.clock.now()
    )
    name = f'attachment; filename="person-{person}.json"'
    return Answer(json=whole, headers={"Content-Disposition": name, "Cache-Control": "no-store"})


async def _person(call: Call) -> UUID:
    """By the producer's id; by ours once, or as soon as, that is all that is left of them."""
    named = checked_path(call, "external_id")
    try:
        own = UUID(named)
    except ValueError:
        return person_id(call.caller.workspace, named)
    workspace = call.caller.workspace
    is_own = await call.api.reads.belongings.exists(workspace, own)
    if is_own or await call.api.erasures.one(workspace, own) is not None:
        return own
    asked = await call.api.store.commands.latest(workspace, str(own), "erase")
    return own if asked is not None else person_id(workspace, named)


_PERSON = "/v1/people/{external_id}"
ROUTES = (
    Route(
        "POST",
        _PERSON + "/erasure",
        erase,
        "Erase a person",
        KeyScope.ADMIN,
        answer=ErasureAccepted,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(Empty, optional=True),
        tag="People",
    ),
    Route(
        "GET",
        _PERSON + "/erasure",
        show,
        "See how far a person's erasure is",
        KeyScope.ADMIN,
        answer=ErasureShown,
        tag="People",
    ),
    Route(
        "GET",
        _PERSON + "/export",
        export,
        "Export everything about a person",
        KeyScope.ADMIN,
        answer=PersonExport,
        tag="People",
    ),
)
