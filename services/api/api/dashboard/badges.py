"""What stands beside each page, such as the rail's numbers: asked at most once in some seconds for a user."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from aiohttp import web

from api.routes.mine import WaitingShown

FRESH_SECONDS: Final = 5.0
MOST_USERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Beside:
    """What the frame shows beside a page: what waits for the reader, and their workspaces' names by id."""

    waiting: WaitingShown
    workspaces: Mapping[UUID, str]


class Badges:
    """What stands beside the pages of each user, as this process asked it last."""

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[float, Beside]] = {}

    async def of(self, user_id: UUID, now: float, count: Callable[[], Awaitable[Beside]]) -> Beside:
        """What `count` said not long ago; `now` is monotonic seconds."""
        known = self._known.get(user_id)
        if known is not None and now - known[0] < FRESH_SECONDS:
            return known[1]
        said = await count()
        if len(self._known) >= MOST_USERS:
            self._known.clear()
        self._known[user_id] = (now, said)
        return said


BadgesKey: web.AppKey[Badges] = web.AppKey("badges", Badges)
