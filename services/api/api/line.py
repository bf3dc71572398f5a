"""The line to Kafka, which may be away: it says so at once, in a metric and in a note of the health page."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from api import telemetry
from chassis.errors import Reject, Retry
from chassis.kafka import Record


class Connects(Protocol):
    """What a line needs of the publisher."""

    async def connect(self) -> None: ...
    async def publish(self, records: Sequence[Record]) -> None: ...


class Line:
    """A publisher that is used only once the topics are there, and that never gives a record up for good."""

    def __init__(self, publisher: Connects, ensure_topics: Callable[[], Awaitable[None]]) -> None:
        self._publisher = publisher
        self._ensure_topics = ensure_topics
        self._open = False
        self._trouble: str | None = "not connected yet"

    async def connect(self) -> None:
        """One try. Raises Retry when no broker answers, and Fatal for topics that can't be used."""
        with self._told("can't be reached"):
            await self._ensure_topics()
            await self._publisher.connect()
        self._open = True

    async def publish(self, records: Sequence[Record]) -> None:
        """As the publisher does, but for one word: Retry, at once before `connect` has worked."""
        if not self._open:
            raise Retry("Kafka has not been reached yet")
        with self._told("what was published last is not acknowledged"):
            await self._publisher.publish(records)

    def trouble(self) -> str | None:
        """Why what is accepted now only waits in the database; None when it goes on to Kafka."""
        return self._trouble

    @contextlib.contextmanager
    def _told(self, trouble: str) -> Iterator[None]:
        try:
            yield
        except (Retry, Reject) as error:
            self._trouble = trouble
            telemetry.KAFKA.set(0)
            # Everything is stored and asked for again: what a broker refuses today it may take tomorrow.
            raise Retry(str(error)) from error
        self._trouble = None
        telemetry.KAFKA.set(1)
