"""The numbers beside the rail's names: counted at most once in some seconds for each user, never per page."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

from aiohttp import web

FRESH_SECONDS: Final = 5.0
MOST_USERS: Final = 2000


class Badges:
    """What waits for each user, as this process counted it last."""

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[float, Any]] = {}

    async def of(self, user_id: UUID, now: float, count: Callable[[], Awaitable[Any]]) -> Any:
        """What `count` said not long ago; `now` is monotonic seconds."""
        counted_at, said = self._known.get(user_id, (now - FRESH_SECONDS, None))
        if now - counted_at < FRESH_SECONDS:
            return said
        said = await count()
        if len(self._known) >= MOST_USERS:
            self._known.clear()
        self._known[user_id] = (now, said)
        return said


BadgesKey: web.AppKey[Badges] = web.AppKey("badges", Badges)
