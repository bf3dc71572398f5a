"""Finishes what nobody finished, without Kafka's help: what waits for a verdict, and what owes a stop."""

import asyncio
import logging
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from chassis.clock import Clock
from chassis.errors import Retry
from chassis.telemetry import fields
from reply_detector import telemetry
from reply_detector.model import State, failure_seconds

log = logging.getLogger(__name__)

Document = dict[str, Any]

CLAIM_SECONDS = 30.0
"""How long a message is left to the sweep that took it."""
ERROR_LIMIT_CHARS = 500
MOST_LOOKS = 10
"""In one round."""


class Settles(Protocol):
    """The agent's own function."""

    async def settle(self, workspace_id: UUID, inbound_id: UUID) -> State: ...


class Waiting(Protocol):
    """What the sweep asks of the database."""

    async def waiting(self, now: datetime, received_until: datetime, limit: int) -> list[Document]: ...

    async def claim(self, inbound: Document, until: datetime) -> bool: ...

    async def failed(self, inbound: Document, error: str, again_at: datetime) -> None: ...


class Sweep:
    """One of these runs in every instance; a message is taken by one of them at a time."""

    def __init__(
        self, inbox: Waiting, detector: Settles, clock: Clock, *, patience_seconds: float, batch: int
    ) -> None:
        self._inbox = inbox
        self._detector = detector
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._batch = batch

    async def run(self) -> None:
        """One round: look until less is due than a look takes, but not for ever, for a stop waits for it."""
        for _ in range(MOST_LOOKS):
            if await self.once() < self._batch:
                return

    async def once(self) -> int:
        """Carry on with everything that is due, up to a batch; how many messages that were."""
        waiting = await self._inbox.waiting(
            self._clock.now(), self._clock.in_real(-self._patience_seconds), self._batch
        )
        telemetry.WAITING.set(len(waiting))
        await asyncio.gather(*map(self._take, waiting))
        return len(waiting)

    async def _take(self, inbound: Document) -> None:
        try:
            await self._carry_on(inbound)
        except Retry as error:
            told = fields("sweep.retry", inbound_id=inbound["_id"], error=str(error)[:ERROR_LIMIT_CHARS])
            log.warning("message left for later", extra=told)
        except Exception as error:  # noqa: BLE001 - one that can't be judged must not keep others waiting
            await self._put_off(inbound, error)

    async def _carry_on(self, inbound: Document) -> None:
        if not await self._inbox.claim(inbound, self._clock.in_real(CLAIM_SECONDS)):
            telemetry.OVERTAKEN.labels("claim").inc()
            return
        telemetry.SWEPT.labels(inbound["state"]).inc()
        await self._detector.settle(inbound["workspace_id"], inbound["_id"])

    async def _put_off(self, inbound: Document, error: Exception) -> None:
        telemetry.FAILURES.labels("sweep").inc()
        tries = inbound.get("tries", 0) + 1
        log.error(
            "message could not be carried further",
            exc_info=error,
            extra=fields("sweep.failed", inbound_id=inbound["_id"], tries=tries),
        )
        again_at = self._clock.in_real(failure_seconds(tries))
        await self._inbox.failed(inbound, repr(error)[:ERROR_LIMIT_CHARS], again_at)
