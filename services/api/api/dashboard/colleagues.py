"""Who works here: names for ids, and who can do what the reader can't."""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from api.dashboard.visit import Visit
from api.keys import KeyScope, Role
from api.paging import MAX_LIMIT
from api.paging import Page as Rows
from api.routes.members import UserShown

MOST_NAMED: Final = 5


async def colleagues(visit: Visit) -> list[UserShown]:
    """The workspace's users, those who have left too; of very many the newest."""
    found: Rows[UserShown] = await visit.ask("GET /v1/users", query={"limit": MAX_LIMIT})
    return found.items


def names_by_id(users: Iterable[UserShown]) -> dict[UUID, str]:
    """What they are called."""
    return {each.id: each.name for each in users}


def active(users: Iterable[UserShown]) -> dict[str, str]:
    """Those who have not left, by id, as a select wants them."""
    return {str(each.id): each.name for each in users if each.left_at is None}


def locked_for(visit: Visit, scope: KeyScope, users: Iterable[UserShown]) -> str:
    """Who can change something that asks for `scope`; empty where the reader can."""
    if visit.caller.may(scope):
        return ""
    what = "This is for admins" if scope is KeyScope.ADMIN else "Your role only reads"
    return f"{what}: ask {_named(users)}."


def _named(users: Iterable[UserShown]) -> str:
    admins = [each.name for each in users if each.role is Role.ADMIN and each.left_at is None]
    return " or ".join(admins[:MOST_NAMED]) or "an admin"


def named(names: Mapping[UUID, str], user_id: UUID | str | None) -> str:
    """A user's name; the programs and the people that are no user stay what they are called."""
    try:
        return names.get(UUID(str(user_id)), "somebody who is not here any more")
    except ValueError:
        return str(user_id or "")
