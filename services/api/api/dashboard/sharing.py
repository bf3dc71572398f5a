"""Who sees a sequence and may use it: its access, the rights of single people, and its owner."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final
from uuid import UUID

from aiohttp import web

from api.dashboard.colleagues import active, colleagues, names_by_id
from api.dashboard.visit import Fields, Note, Page, Visit
from api.problems import Problem
from api.routes.rights import Grants
from api.routes.sequences import SequenceWhole

ACCESSES: Final = (
    ("personal", "those below"),
    ("shared", "everybody in the team, who may enroll people and act on those enrolled; and those below"),
    ("confidential", "those below; what is in it counts in nobody else's numbers"),
)
RIGHTS: Final[Mapping[str, str]] = {
    "read": "see it and its people",
    "use": "that, and enroll people and act on them",
    "edit": "all that, and change, pause and share it",
}


async def sharing(visit: Visit) -> web.StreamResponse:
    """Who may do what."""
    return await _shown(visit)


async def _shown(
    visit: Visit, problem: Problem | None = None, chosen: Fields | None = None
) -> web.StreamResponse:
    sequence = await _sequence(visit)
    grants: Grants = await visit.ask("GET /v1/sequences/{sequence_id}/grants", sequence_id=sequence.id)
    users = await colleagues(visit)
    may_edit = sequence.right == "edit"
    return visit.page(
        "sharing.html",
        title=f"Sharing of {sequence.name}",
        status=problem.status if problem else HTTPStatus.OK,
        sequence=sequence,
        grants=grants.grants,
        people=names_by_id(users),
        colleagues=active(each for each in users if each.id != sequence.owner_id),
        accesses=ACCESSES,
        rights=RIGHTS,
        may_edit=may_edit,
        may_give_away=may_edit and (visit.caller.is_admin or sequence.owner_id == visit.caller.user_id),
        problem=problem.details if problem else None,
        chosen=chosen or {},
    )


async def _sequence(visit: Visit) -> SequenceWhole:
    whole: SequenceWhole = await visit.ask(
        "GET /v1/sequences/{sequence_id}", sequence_id=visit.uuid("sequence_id", "sequence")
    )
    return whole


# ---- what is done -------------------------------------------------------------------------------------

Action = Callable[[Visit, UUID, Fields], Awaitable[Note]]


async def _access(visit: Visit, sequence_id: UUID, form: Fields) -> Note:
    """The same document with another access is another version: nobody's messages change."""
    sequence = await _sequence(visit)
    document = {**sequence.latest.document, "access": str(form.get("access", ""))}
    await visit.ask("PUT /v1/sequences/{sequence_id}", document, sequence_id=sequence_id)
    undo = {"access": sequence.access}
    return Note("Saved.", undo_path=f"/sequences/{sequence_id}/sharing/access", undo_fields=undo)


async def _give(visit: Visit, sequence_id: UUID, form: Fields) -> Note:
    user = str(form.get("user", ""))
    await visit.ask(
        "PUT /v1/sequences/{sequence_id}/grants/{user_id}",
        {"right": str(form.get("right", ""))},
        sequence_id=sequence_id,
        user_id=user,
    )
    undo = f"/sequences/{sequence_id}/sharing/take-back"
    return Note("Given.", undo_path=undo, undo_fields={"user": user})


async def _take_back(visit: Visit, sequence_id: UUID, form: Fields) -> Note:
    user, named = str(form.get("user", "")), "PUT /v1/sequences/{sequence_id}/grants/{user_id}"
    grants: Grants = await visit.ask("GET /v1/sequences/{sequence_id}/grants", sequence_id=sequence_id)
    had = next((each.right for each in grants.grants if str(each.user_id) == user), None)
    await visit.ask(named.replace("PUT", "DELETE"), sequence_id=sequence_id, user_id=user)
    if had is None:
        return Note("They had no right.")
    undo = f"/sequences/{sequence_id}/sharing/give"
    return Note("Taken back.", undo_path=undo, undo_fields={"user": user, "right": had})


async def _transfer(visit: Visit, sequence_id: UUID, form: Fields) -> Note:
    to = {"to": str(form.get("to", ""))}
    await visit.ask("POST /v1/sequences/{sequence_id}/transfer", to, sequence_id=sequence_id)
    return Note("Given away.")


_ACTIONS: Final[Mapping[str, Action]] = {
    "access": _access,
    "give": _give,
    "take-back": _take_back,
    "transfer": _transfer,
}


async def act(visit: Visit) -> web.StreamResponse:
    """Do it, and show the page again; who gave a sequence away may see only the list."""
    form, action = await visit.form(), visit.request.match_info["action"]
    sequence_id = visit.uuid("sequence_id", "sequence")
    try:
        note = await _ACTIONS[action](visit, sequence_id, form)
    except Problem as problem:
        return await _shown(visit, problem, form)
    return visit.go("/sequences" if action == "transfer" else f"/sequences/{sequence_id}/sharing", note)


PAGES = (
    Page("GET", "/sequences/{sequence_id}/sharing", sharing),
    Page("POST", "/sequences/{sequence_id}/sharing/{action:" + "|".join(_ACTIONS) + "}", act),
)
