"""One enrollment that can't be carried on stops nobody else: it is marked, and left alone longer and longer.

The Kafka consumers have their ladder; this is the one of the due loop and the sweeps. Nothing is failed here:
a bug of ours, or a version that this release can't read, must not end a person's sequence for good.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

from chassis.clock import Clock
from chassis.errors import Fatal, Retry
from chassis.retry import backoff
from chassis.telemetry import counter, fields
from scheduler.model import Document, broken
from scheduler.store import SchedulerStore

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0

BROKEN = counter("segue_scheduler_broken", "Enrollments that could not be carried on, at each try", ["work"])

Carry = Callable[[Sequence[Document]], Awaitable[object]]


class Work(StrEnum):
    """What an enrollment was in the way of."""

    DUE = "due"
    UNPARK = "unpark"
    STOP = "stop"
    OUTBOX = "outbox"
    REPLAN = "replan"


for _work in Work:
    BROKEN.labels(_work)  # at zero from the start: the first one is an increase


class Isolation:
    """Finds who makes a batch fail, and puts it aside until its next try."""

    def __init__(self, store: SchedulerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def carry(self, work: Work, batch: Sequence[Document], carry: Carry) -> None:
        """Carry all; where that raises a bug, both halves, down to the ones that fail alone.

        So `carry` may see an enrollment again, as it was read before: its writes must be guarded by that.
        Retry and Fatal are raised: they are nobody's own.
        """
        if not batch:
            return
        try:
            await carry(batch)
        except (Retry, Fatal):
            raise
        except Exception as error:  # noqa: BLE001 - the ladder: a bug puts one enrollment aside, not the loop
            if len(batch) == 1:
                await self._put_aside(work, batch[0], error)
                return
            half = len(batch) // 2
            await self.carry(work, batch[:half], carry)
            await self.carry(work, batch[half:], carry)

    async def _put_aside(self, work: Work, e: Document, error: Exception) -> None:
        tries = (e.get("broken") or {}).get("tries", 0) + 1
        seconds = backoff(tries, 1.0, base_seconds=FIRST_PAUSE_SECONDS, cap_seconds=LONGEST_PAUSE_SECONDS)
        mark = broken(e, work, tries, _said(error), self._clock.real_now(), seconds)
        await self._store.put_aside(e, mark, self._clock.in_real(seconds) if work is Work.DUE else None)
        BROKEN.labels(work).inc()
        log.error(
            "an enrollment can't be carried on",
            extra=fields(
                "scheduler.broken",
                enrollment_id=str(e["_id"]),
                work=work,
                tries=tries,
                again_in_seconds=seconds,
                error=type(error).__name__,
                # Without the message: it may quote what somebody wrote.
                trace="".join(traceback.format_tb(error.__traceback__))[-4000:],
            ),
        )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
