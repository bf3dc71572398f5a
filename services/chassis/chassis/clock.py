"""Two times: business time, which a demo may speed up, and technical time, which is always real."""

import asyncio
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Business time runs `speed` times as fast as real time since `origin`, where both were equal.

    All services of a run share `origin`; without one, the clock's creation is taken. Every datetime is aware
    and in UTC.
    """

    def __init__(self, speed: float = 1.0, origin: datetime | None = None) -> None:
        if speed <= 0:
            raise ValueError("a clock's speed is above zero")
        if origin is not None and origin.tzinfo is None:
            raise ValueError("a clock's origin names its time zone")
        self._speed = speed
        self._origin = (origin or datetime.now(UTC)).astimezone(UTC)

    @property
    def speed(self) -> float:
        """Business seconds per real second."""
        return self._speed

    @property
    def origin(self) -> datetime:
        """The real instant at which business time was equal to it."""
        return self._origin

    def now(self) -> datetime:
        """The business instant."""
        return self.at_real(self.real_now())

    def real_now(self) -> datetime:
        """The real instant, unscaled."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Real seconds for ages and deadlines inside one process."""
        return time.monotonic()

    def at_real(self, real: datetime) -> datetime:
        """The business instant of a real one."""
        if self._speed == 1.0:
            return real.astimezone(UTC)
        return self._origin + (real - self._origin) * self._speed

    def in_real(self, seconds: float) -> datetime:
        """The business instant at which `seconds` real seconds from now will have passed."""
        return self.now() + timedelta(seconds=seconds * self._speed)

    def real_seconds_until(self, business: datetime) -> float:
        """Real seconds until a business instant; negative when it has passed."""
        return (business - self.now()).total_seconds() / self._speed

    async def sleep_real(self, seconds: float) -> None:
        """Wait real seconds; returns at once for zero and less."""
        await asyncio.sleep(max(0.0, seconds))
