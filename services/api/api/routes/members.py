"""Who is calling, the workspace's users, and API keys."""

import secrets
from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from api.auditing import audit
from api.keys import SECRET_BYTES, KeyScope, Role, key_document, key_text
from api.paging import Page, PageQuery
from api.problems import Problem, conflict, forbidden, invalid_at, not_found
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from api.submitting import Accepted, submit_one
from chassis.documents import WorkspaceLimits as WorkspaceLimitsView
from chassis.errors import Duplicate
from chassis.sms_text import MAX_SEGMENTS
from chassis.store import Document, Workspace
from segue_contracts.commands import MAX_CALENDAR_DAYS, SetCalendar
from segue_contracts.prospect import DateText
from segue_contracts.text import Email, Line


class WorkspaceLimits(Closed):
    """What holds over all sequences of the workspace."""

    per_person_per_day: int | None = Field(
        default=None, ge=1, le=100, strict=True, description="Messages to one person in any 24 hours"
    )
    sms_segments: int = Field(
        default=WorkspaceLimitsView().sms_segments,
        ge=1,
        le=MAX_SEGMENTS,
        strict=True,
        description="Segments that a text message takes at most",
    )


class CalendarRequest(Closed):
    """All days off of the team, `team` in a sequence's `holidays.of`."""

    days: list[DateText] = Field(max_length=MAX_CALENDAR_DAYS)


class CalendarShown(Shown):
    """The days off of the team, as plans are made with them; `changed_at` is null before any were set."""

    days: list[str]
    changed_at: datetime | None


class WorkspaceShown(Shown):
    """The organisation."""

    id: UUID = Field(validation_alias="_id")
    name: str
    limits: WorkspaceLimits = WorkspaceLimits()


class UserShown(Shown):
    """Somebody who works with Segue; `left_at` is null until they leave."""

    id: UUID = Field(validation_alias="_id")
    email: str
    name: str
    role: Role
    created_at: datetime
    left_at: datetime | None = None


class Me(Shown):
    """Whom the API key belongs to, and what it may do."""

    workspace: WorkspaceShown
    user: UserShown
    key_id: UUID | None
    scopes: list[KeyScope]


class NewUser(Closed):
    """A user to be; they sign in with that address, and an API key can be theirs at once."""

    email: Email
    name: Line
    role: Role = Role.MEMBER


class NewKey(Closed):
    """An API key to be; `user_id` is the caller unless given."""

    name: Line
    scopes: Annotated[
        list[KeyScope], Field(min_length=1, max_length=4), AfterValidator(lambda each: sorted(set(each)))
    ]
    user_id: UUID | None = None


class KeyShown(Shown):
    """An API key without its secret."""

    id: UUID = Field(validation_alias="_id")
    name: str
    user_id: UUID
    scopes: list[KeyScope]
    created_at: datetime
    last_used: datetime | None
    revoked_at: datetime | None


class KeyMade(KeyShown):
    """An API key; `key` is shown this once."""

    key: str


async def limit_workspace(call: Call) -> Answer:
    """Set the limits; what is over one waits for the first free time."""
    limits: WorkspaceLimits = call.body.data
    await audit(call, "limits.set", call.caller.workspace, **limits.model_dump(exclude_none=True))
    await call.api.store.people.limit_workspace(call.caller.workspace, limits.model_dump())
    return Answer(limits)


async def set_calendar(call: Call) -> Answer:
    """Set all days off of the team; what is planned and not yet due is planned again."""
    workspace = call.caller.workspace
    await audit(call, "calendar.set", workspace, days=len(call.body.data.days))
    return await submit_one(call, SetCalendar, str(workspace), days=sorted(set(call.body.data.days)))


async def get_calendar(call: Call) -> Answer:
    """The days off of the team."""
    calendar = await call.api.reads.calendar(call.caller.workspace)
    days, changed_at = (list(calendar.days), calendar.changed_at) if calendar else ([], None)
    return Answer(CalendarShown(days=days, changed_at=changed_at))


async def me(call: Call) -> Answer:
    """Whom the key belongs to."""
    workspace = await call.api.store.people.workspace(call.caller.workspace)
    user = await call.api.store.people.user(call.caller.workspace, call.caller.user_id)
    if workspace is None or user is None:
        raise not_found("user")
    return Answer(
        Me(
            workspace=WorkspaceShown.model_validate(workspace),
            user=UserShown.model_validate(user),
            key_id=call.caller.key_id,
            scopes=sorted(call.caller.scopes),
        )
    )


def user_document(
    user_id: UUID, workspace: Workspace, email: str, name: str, role: Role, now: datetime
) -> Document:
    """A user as it is stored; the address in lower case."""
    return {
        "_id": user_id,
        "workspace_id": workspace,
        "email": email.lower(),
        "name": name,
        "role": role.value,
        "created_at": now,
    }


async def add_user(call: Call) -> Answer:
    """Add a user."""
    new: NewUser = call.body.data
    user = user_document(
        call.ids.next(), call.caller.workspace, new.email, new.name, new.role, call.api.clock.now()
    )
    await audit(call, "user.added", user["_id"])
    try:
        await call.api.store.people.add_user(user)
    except Duplicate:
        stored = await call.api.store.people.user_at(call.caller.workspace, user["email"])
        if stored is None or stored["_id"] != user["_id"]:
            raise conflict("exists", "A user with this address is there already.") from None
        user = stored
    return Answer(UserShown.model_validate(user), HTTPStatus.CREATED)


async def list_users(call: Call) -> Answer:
    """Users, the newest first."""
    found, cursor = await call.api.store.people.users(call.caller.workspace, call.query)
    return Answer(
        Page[UserShown](items=[UserShown.model_validate(each) for each in found], next_cursor=cursor)
    )


async def active_user(call: Call, user_id: UUID, pointer: str) -> Document:
    """A user who has not left; Problem 422 otherwise."""
    user = await call.api.store.people.user(call.caller.workspace, user_id)
    if user is None:
        raise invalid_at(pointer, "is no user of this workspace")
    if user.get("left_at") is not None:
        raise invalid_at(pointer, f"has left: POST /v1/users/{user_id}/reactivate")
    return user


async def add_key(call: Call) -> Answer:
    """Make an API key; its text is in this answer and nowhere else."""
    new: NewKey = call.body.data
    for scope in new.scopes:
        if not call.caller.may(scope):
            raise forbidden(f"This API key can't give the scope {scope.value!r}, which it lacks.")
    user_id = new.user_id or call.caller.user_id
    await active_user(call, user_id, "/user_id")
    key_id, secret = call.ids.next(), secrets.token_bytes(SECRET_BYTES)
    now = call.api.clock.now()
    key = key_document(key_id, secret, call.caller.workspace, user_id, new.name, new.scopes, now)
    await audit(call, "api_key.made", key_id, scopes=" ".join(new.scopes), user_id=str(user_id))
    if not await call.api.store.people.add_key(key):
        # An earlier try with this Idempotency-Key stored it: say so rather than show a wrong text.
        raise conflict(
            "exists", "An earlier try made this key and its text is lost: revoke it, make another."
        )
    try:
        await active_user(call, user_id, "/user_id")  # whose keys were revoked just before it was stored
    except Problem:
        await call.api.store.people.revoke_key(call.caller.workspace, key_id, call.api.clock.real_now())
        raise
    return Answer(KeyMade.model_validate({**key, "key": key_text(key_id, secret)}), HTTPStatus.CREATED)


async def list_keys(call: Call) -> Answer:
    """API keys, the newest first, without their secrets."""
    found, cursor = await call.api.store.people.keys(call.caller.workspace, call.query)
    return Answer(Page[KeyShown](items=[KeyShown.model_validate(each) for each in found], next_cursor=cursor))


async def revoke_key(call: Call) -> Answer:
    """Revoke an API key, from this moment on and for good."""
    key_id = call.uuid("key_id", "API key")
    await audit(call, "api_key.revoked", key_id)
    if not await call.api.store.people.revoke_key(call.caller.workspace, key_id, call.api.clock.real_now()):
        raise not_found("API key")
    return Answer(status=HTTPStatus.NO_CONTENT)


ROUTES = (
    Route(
        "PUT",
        "/v1/workspace/limits",
        limit_workspace,
        "Limit what one person receives",
        KeyScope.ADMIN,
        answer=WorkspaceLimits,
        takes=Takes(WorkspaceLimits),
        tag="Workspace",
    ),
    Route(
        "GET",
        "/v1/workspace/calendar",
        get_calendar,
        "Read the team's days off",
        KeyScope.READ,
        answer=CalendarShown,
        tag="Workspace",
    ),
    Route(
        "PUT",
        "/v1/workspace/calendar",
        set_calendar,
        "Set the team's days off",
        KeyScope.ADMIN,
        answer=Accepted,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(CalendarRequest),
        tag="Workspace",
    ),
    Route("GET", "/v1/me", me, "Whom the API key belongs to", KeyScope.READ, answer=Me, tag="Workspace"),
    Route(
        "GET",
        "/v1/users",
        list_users,
        "List users",
        KeyScope.READ,
        answer=Page[UserShown],
        query=PageQuery,
        tag="Workspace",
    ),
    Route(
        "POST",
        "/v1/users",
        add_user,
        "Add a user",
        KeyScope.ADMIN,
        answer=UserShown,
        status=HTTPStatus.CREATED,
        takes=Takes(NewUser),
        tag="Workspace",
    ),
    Route(
        "GET",
        "/v1/api-keys",
        list_keys,
        "List API keys",
        KeyScope.ADMIN,
        answer=Page[KeyShown],
        query=PageQuery,
        tag="Workspace",
    ),
    Route(
        "POST",
        "/v1/api-keys",
        add_key,
        "Make an API key",
        KeyScope.ADMIN,
        answer=KeyMade,
        status=HTTPStatus.CREATED,
        takes=Takes(NewKey),
        tag="Workspace",
    ),
    Route(
        "DELETE",
        "/v1/api-keys/{key_id}",
        revoke_key,
        "Revoke an API key",
        KeyScope.ADMIN,
        status=HTTPStatus.NO_CONTENT,
        tag="Workspace",
    ),
)
