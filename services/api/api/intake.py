"""How many bytes of webhooks' posts are held at once: more wait outside, where they cost nothing."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from aiohttp import web

from api.problems import unavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Held:
    """The bytes of one post."""

    def __init__(self, intake: "Intake") -> None:
        self._intake = intake
        self.size = 0

    def add(self, size: int) -> None:
        """Count what was read; Problem 503 where all posts together are too much."""
        self._intake.take(size)
        self.size += size


class Intake:
    """Counts what is read, not what is announced: a slow post holds no room that it does not fill."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self.size = 0

    @contextlib.contextmanager
    def holding(self) -> Iterator[Held]:
        """One post, until it is answered."""
        held = Held(self)
        try:
            yield held
        finally:
            self.size -= held.size

    def take(self, size: int) -> None:
        """Problem 503 where there is no room: providers come again."""
        if self.size + size > self._most:
            raise unavailable("Too much is coming in at this moment: send it again.")
        self.size += size


HeldKey: Final = web.RequestKey("held", Held)


def bounded(intake: Intake, handler: Handler) -> Handler:
    """The handler, its post counted while it is answered."""

    async def counted(request: web.Request) -> web.StreamResponse:
        with intake.holding() as held:
            request[HeldKey] = held
            return await handler(request)

    return counted
