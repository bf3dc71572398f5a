"""The first workspace, its first user and a key: what nobody can ask for over HTTP."""

import secrets
from dataclasses import dataclass
from uuid import uuid4

from api.keys import SECRET_BYTES, KeyScope, Role, key_document, key_text
from api.routes.members import user_document
from api.store import Members
from chassis.clock import Clock
from chassis.errors import Duplicate, Fatal
from chassis.store import Document, Workspace
from segue_contracts.text import check_email, check_line


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    workspace: str
    email: str
    name: str
    new_key: bool


async def bootstrap(wanted: Wanted, people: Members, clock: Clock) -> dict[str, str]:
    """Make what is missing and return it as JSON data, the key's text included; Fatal if the name is taken.

    Run again with `new_key` after a try that broke off, or when the key is lost.
    """
    try:
        check_email(wanted.email)
        check_line(wanted.workspace + wanted.name)
    except ValueError as error:
        raise Fatal(f"The address and the names can't be used: {error}.") from None
    workspace = await people.workspace_named(wanted.workspace)
    if workspace is not None and not wanted.new_key:
        raise Fatal(f"A workspace {wanted.workspace!r} exists: --new-key makes another key for it.")
    if workspace is None:
        workspace = await _new_workspace(wanted, people, clock)
    user = await _user(wanted, people, clock, Workspace(workspace["_id"]))
    key_id, secret = uuid4(), secrets.token_bytes(SECRET_BYTES)
    key = key_document(
        key_id, secret, Workspace(workspace["_id"]), user["_id"], "bootstrap", [KeyScope.ADMIN], clock.now()
    )
    await people.add_key(key)
    return {
        "workspace_id": str(workspace["_id"]),
        "user_id": str(user["_id"]),
        "key_id": str(key_id),
        "api_key": key_text(key_id, secret),
    }


async def _new_workspace(wanted: Wanted, people: Members, clock: Clock) -> Document:
    workspace: Document = {
        "_id": uuid4(),
        "name": wanted.workspace,
        "tokens": {},
        "in_doubt_policy": "wait",
        "created_at": clock.now(),
    }
    workspace["workspace_id"] = workspace["_id"]
    try:
        await people.add_workspace(workspace)
    except Duplicate:
        raise Fatal(f"A workspace {wanted.workspace!r} was made at this moment by somebody else.") from None
    return workspace


async def _user(wanted: Wanted, people: Members, clock: Clock, workspace: Workspace) -> Document:
    known = await people.user_at(workspace, wanted.email.lower())
    if known is not None:
        return known
    user = user_document(uuid4(), workspace, wanted.email, wanted.name, Role.ADMIN, clock.now())
    await people.add_user(user)
    return user
