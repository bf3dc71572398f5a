"""Who may do what: the roles of users, and rights to a sequence that its owner gives."""

from http import HTTPStatus
from typing import Literal
from uuid import UUID

from api.access import Right
from api.auditing import audit
from api.keys import KeyScope, Role
from api.problems import conflict, invalid_at, not_found
from api.routes.members import UserShown
from api.routes.sequences import existing
from api.routing import Answer, Call, Closed, Route, Shown, Takes

MOST_GRANTS = 200


class RoleRequest(Closed):
    """limited: reads, and does their own tasks; member: writes and runs sequences; admin: everything."""

    role: Role


class GrantRequest(Closed):
    """read: see it and its people; use: enroll, and act on those enrolled; edit: change it, and share it."""

    right: Literal["read", "use", "edit"]


class GrantShown(Shown):
    """A user's right to a sequence."""

    user_id: UUID
    right: str


class Grants(Shown):
    """Who besides its owner has a right to a sequence of their own; `access: shared` stands beside them."""

    owner_id: UUID
    access: str
    grants: list[GrantShown]


async def set_role(call: Call) -> Answer:
    """Give a user a role; it holds for their keys and for where they are signed in, from now on."""
    people, workspace = call.api.store.people, call.caller.workspace
    user = await people.user(workspace, call.uuid("user_id", "user"))
    if user is None:
        raise not_found("user")
    role: Role = call.body.data.role
    if role is not Role.ADMIN and not await people.has_other_admin(workspace, user["_id"]):
        raise conflict("last-admin", "Nobody else is an admin: make somebody one first.")
    await audit(call, "user.role_set", user["_id"], role=role.value)
    await people.set_role(workspace, user["_id"], role.value)
    return Answer(UserShown.model_validate({**user, "role": role.value}))


async def get_grants(call: Call) -> Answer:
    """Who was given a right to a sequence."""
    sequence = await existing(call)
    return Answer(Grants.model_validate({"grants": [], **sequence}))


async def give(call: Call) -> Answer:
    """Give a user a right to a sequence, instead of the one they had."""
    sequence, user_id = await existing(call), call.uuid("user_id", "user")
    right: str = call.body.data.right
    if await call.api.store.people.user(call.caller.workspace, user_id) is None:
        raise not_found("user")
    if len(sequence.get("grants", ())) >= MOST_GRANTS:
        raise invalid_at("", f"{MOST_GRANTS} people have a right to it: share it with the team instead")
    await audit(call, "sequence.granted", sequence["_id"], user=str(user_id), right=right)
    await call.api.store.sequences.grant(sequence, user_id, right)
    return Answer(GrantShown(user_id=user_id, right=right))


async def take_back(call: Call) -> Answer:
    """Take a user's right to a sequence back."""
    sequence, user_id = await existing(call), call.uuid("user_id", "user")
    await audit(call, "sequence.grant_taken_back", sequence["_id"], user=str(user_id))
    await call.api.store.sequences.grant(sequence, user_id, None)
    return Answer(status=HTTPStatus.NO_CONTENT)


_GRANTS = "/v1/sequences/{sequence_id}/grants"

ROUTES = (
    Route(
        "PUT",
        "/v1/users/{user_id}/role",
        set_role,
        "Give a user a role",
        KeyScope.ADMIN,
        answer=UserShown,
        takes=Takes(RoleRequest),
        tag="Workspace",
    ),
    Route(
        "GET",
        _GRANTS,
        get_grants,
        "See who has a right to a sequence",
        KeyScope.READ,
        answer=Grants,
        tag="Sequences",
    ),
    Route(
        "PUT",
        _GRANTS + "/{user_id}",
        give,
        "Give a user a right to a sequence",
        KeyScope.WRITE,
        answer=GrantShown,
        takes=Takes(GrantRequest),
        tag="Sequences",
        right=Right.EDIT,
    ),
    Route(
        "DELETE",
        _GRANTS + "/{user_id}",
        take_back,
        "Take a user's right to a sequence back",
        KeyScope.WRITE,
        status=HTTPStatus.NO_CONTENT,
        tag="Sequences",
        right=Right.EDIT,
    ),
)
