"""What tests of every service need: a clock moved by hand, and names of their own on shared brokers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from chassis.clock import Clock
from chassis.settings import MongoSettings, ServiceSettings
from chassis.store import Database, connect

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""A Monday."""


class FrozenClock(Clock):
    """Stands still until it is moved. Waiting moves it, so that tests never sleep."""

    def __init__(self, now: datetime = NOON, speed: float = 1.0) -> None:
        super().__init__(speed, now)
        self._real = now
        self._monotonic = 0.0

    def real_now(self) -> datetime:
        return self._real

    def monotonic(self) -> float:
        return self._monotonic

    def set(self, now: datetime) -> None:
        """Jump to a business instant, like a clock that is set: the monotonic clock stays."""
        self._real = self.origin + (now - self.origin) / self.speed

    def advance(self, seconds: float = 0.0, **units: float) -> datetime:
        """Let business time pass (`days=1, hours=2`), real time in proportion; the new business instant."""
        passed = (timedelta(seconds=seconds) + timedelta(**units)) / self.speed
        self._pass(passed)
        return self.now()

    async def sleep_real(self, seconds: float) -> None:
        """Real time passes at once; other tasks get their turn."""
        self._pass(timedelta(seconds=max(0.0, seconds)))
        await asyncio.sleep(0)

    def _pass(self, real: timedelta) -> None:
        self._real += real
        self._monotonic += real.total_seconds()


def fresh_name() -> str:
    """A name nobody else has: for a database, a topic prefix, a group."""
    return f"t{uuid4().hex[:12]}"


def fresh_settings(kafka_bootstrap: str, mongodb_uri: str, **more: Any) -> ServiceSettings:
    """Settings with a database and a topic prefix of their own."""
    values: dict[str, Any] = {
        "kafka_bootstrap_servers": kafka_bootstrap,
        "kafka_topic_prefix": f"{fresh_name()}.",
        "mongodb_uri": mongodb_uri,
        "mongodb_database": fresh_name(),
    }
    return ServiceSettings(**(values | more))


@contextlib.asynccontextmanager
async def fresh_database(settings: MongoSettings) -> AsyncIterator[Database]:
    """The settings' database, deleted at the end."""
    async with connect(settings) as database:
        try:
            yield database
        finally:
            await database.drop()
