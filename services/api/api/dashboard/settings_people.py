"""Who works here: roles, leaving and coming back, what is theirs, and the API keys of programs."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from api.dashboard.colleagues import active, colleagues
from api.dashboard.fields import Field, Form, Tried, carry_out, word
from api.dashboard.sections import only_admins, section
from api.dashboard.visit import Note, Page, Visit
from api.keys import Role
from api.paging import Page as Rows
from api.problems import Problem, not_found
from api.routes.members import KeyMade, KeyShown, UserShown
from api.routes.ownership import Belongings

ROLES: Final = {
    "limited": "limited: reads, and does their own tasks",
    "member": "member: writes sequences and runs them",
    "admin": "admin: everything in the workspace",
}
SCOPES: Final = {
    "read": "read",
    "tasks": "read, and do tasks",
    "write": "write: all that a member may",
    "admin": "admin: everything",
}


# ---- users --------------------------------------------------------------------------------------------


async def people(visit: Visit) -> web.StreamResponse:
    """Everybody, with their role."""
    return await _people(visit, None)


async def _people(visit: Visit, tried: Tried | None) -> web.Response:
    users = await colleagues(visit)
    fields = (
        Field(
            "email", "Address, with which they sign in", "", "email", needed=True, example="ben@ourco.example"
        ),
        Field("name", "Name", needed=True, example="Ben"),
        Field("role", "Role", Role.MEMBER.value, "select", options=ROLES),
    )
    return await section(
        visit,
        "People",
        "/settings/people",
        [Form("Add somebody", "/settings/people", fields, "Add them")],
        tried,
        template="settings_people.html",
        users=users,
        rows=sorted(users, key=lambda each: (each.left_at is not None, each.name.lower())),
        roles=ROLES,
    )


async def add(visit: Visit) -> web.StreamResponse:
    """Add a user."""

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {each: word(typed, each) or "" for each in ("email", "name", "role")}
        await visit.ask("POST /v1/users", data)

    return await carry_out(visit, asks, _people, "Added: they sign in with that address.", "/settings/people")


async def person(visit: Visit) -> web.StreamResponse:
    """One user: their role and what is theirs."""
    return await _person(visit, None)


async def _person(visit: Visit, tried: Tried | None) -> web.Response:
    if not visit.caller.is_admin:
        return await only_admins(visit, "People", "/settings/people", tried)
    theirs: Belongings = await visit.ask("GET /v1/users/{user_id}/belongings", user_id=_id(visit))
    users = await colleagues(visit)
    user, others = theirs.user, active(users)
    others.pop(str(user.id), None)
    return await section(
        visit,
        user.name,
        "/settings/people",
        [_role_form(user)],
        tried,
        template="settings_person.html",
        users=users,
        user_shown=user,
        theirs=theirs,
        others=others,
        is_you=user.id == visit.caller.user_id,
    )


def _id(visit: Visit) -> UUID:
    return visit.uuid("user_id", "user")


def _role_form(user: UserShown) -> Form:
    role = Field("role", "Role", user.role.value, "select", options=ROLES)
    about = "It holds at once, for their API keys too."
    return Form("What they may do", f"/settings/people/{user.id}/role", (role,), "Save the role", about)


async def role(visit: Visit) -> web.StreamResponse:
    """Give a role."""
    user = next((each for each in await colleagues(visit) if each.id == _id(visit)), None)
    if user is None:
        raise not_found("user")

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {"role": word(typed, "role")}
        await visit.ask("PUT /v1/users/{user_id}/role", data, user_id=user.id)

    to = f"/settings/people/{user.id}"
    return await carry_out(visit, asks, _person, "Saved.", to, before=_role_form(user))


async def deactivate(visit: Visit) -> web.StreamResponse:
    """Let somebody leave."""
    at = f"/settings/people/{_id(visit)}"

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/users/{user_id}/deactivate", user_id=_id(visit))

    note = Note(
        "They have left: they can't sign in, and what is theirs waits below for somebody to have it.",
        undo_path=f"{at}/reactivate",
    )
    return await carry_out(visit, asks, _person, note, at)


async def reactivate(visit: Visit) -> web.StreamResponse:
    """Let somebody come back."""
    at = f"/settings/people/{_id(visit)}"

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/users/{user_id}/reactivate", user_id=_id(visit))

    note = "They are back and go on with what is still theirs. Keys and consents are given anew."
    return await carry_out(visit, asks, _person, note, at)


async def transfer(visit: Visit) -> web.StreamResponse:
    """Give a sequence or a mailbox of theirs to somebody else."""
    at, thing = f"/settings/people/{_id(visit)}", visit.uuid("thing_id", "thing")
    if (kind := visit.request.match_info["kind"]) not in ("sequences", "mailboxes"):
        raise not_found("thing")

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {"to": word(typed, "to")}
        if kind == "sequences":
            await visit.ask("POST /v1/sequences/{sequence_id}/transfer", data, sequence_id=thing)
        else:
            await visit.ask("POST /v1/mailboxes/{mailbox_id}/transfer", data, mailbox_id=thing)

    return await carry_out(visit, asks, _person, "It is somebody else's now, and goes on.", at)


# ---- API keys -----------------------------------------------------------------------------------------


async def keys(visit: Visit) -> web.StreamResponse:
    """The keys with which programs come in."""
    return await _keys(visit, None)


async def _keys(visit: Visit, tried: Tried | None, made: KeyMade | None = None) -> web.Response:
    if not visit.caller.is_admin:
        return await only_admins(visit, "API keys", "/settings/keys", tried)
    query = {"cursor": visit.request.query["cursor"]} if visit.request.query.get("cursor") else {}
    rows: Rows[KeyShown] = await visit.ask("GET /v1/api-keys", query=query)
    users = await colleagues(visit)
    fields = (
        Field("name", "What it is for", needed=True, example="nightly import"),
        Field("scopes", "What it may do", "read", "select", options=SCOPES),
        Field(
            "user_id",
            "In whose name",
            str(visit.caller.user_id),
            "select",
            options=active(users),
            help="It reaches no further than they do.",
        ),
    )
    return await section(
        visit,
        "API keys",
        "/settings/keys",
        [Form("Make a key", "/settings/keys", fields, "Make a key")],
        tried,
        template="settings_keys.html",
        users=users,
        rows=rows.items,
        cursor=rows.next_cursor,
        made=made,
        scopes=SCOPES,
    )


async def make_key(visit: Visit) -> web.StreamResponse:
    """Make a key; its text is shown this once."""
    typed = await visit.form()
    data = {
        "name": word(typed, "name") or "",
        "scopes": [word(typed, "scopes") or ""],
        "user_id": word(typed, "user_id"),
    }
    try:
        made: KeyMade = await visit.ask("POST /v1/api-keys", data)
    except Problem as problem:
        return await _keys(visit, Tried("/settings/keys", typed, problem))
    return await _keys(visit, None, made)


async def revoke_key(visit: Visit) -> web.StreamResponse:
    """End a key for good."""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("DELETE /v1/api-keys/{key_id}", key_id=visit.uuid("key_id", "API key"))

    return await carry_out(visit, asks, _keys, "Revoked: it opens nothing any more.", "/settings/keys")


_ONE = "/settings/people/{user_id}"
PAGES = (
    Page("GET", "/settings/people", people),
    Page("POST", "/settings/people", add),
    Page("GET", _ONE, person),
    Page("POST", _ONE + "/role", role),
    Page("POST", _ONE + "/deactivate", deactivate),
    Page("POST", _ONE + "/reactivate", reactivate),
    Page("POST", _ONE + "/transfer/{kind}/{thing_id}", transfer),
    Page("GET", "/settings/keys", keys),
    Page("POST", "/settings/keys", make_key),
    Page("POST", "/settings/keys/{key_id}/revoke", revoke_key),
)
