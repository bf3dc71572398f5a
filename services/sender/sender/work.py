"""The claimed deliveries of this process: each carried by a supervised task, bounded, drained at the end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from chassis.errors import Retry
from chassis.telemetry import fields, timed
from segue_contracts.message import Channel
from sender import metrics, model
from sender.model import Claim, Settlement, State
from sender.reading import Look, Read, channel_of
from sender.settings import DOUBT_SECONDS, SenderSettings
from sender.steps import Carried, Steps

log = logging.getLogger(__name__)

UNREADABLE_SECONDS = 600.0


class Carries(Protocol):
    """A channel: steps 3 to 7 for a claim whose read says go."""

    async def carry(self, carried: Carried, read: Read) -> None: ...


class Work:
    """Carries claims side by side; nobody waits for another's mail server."""

    def __init__(self, steps: Steps, channels: Mapping[Channel, Carries], settings: SenderSettings) -> None:
        self._steps = steps
        self._channels = channels
        self._settings = settings
        self._running: dict[Carried, asyncio.Task[None]] = {}
        self._giving_back: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._stopping = False
        self._complete = asyncio.Event()  # nothing more will be started

    @property
    def in_flight(self) -> int:
        """How many claims are being carried or given back."""
        return len(self._running) + len(self._giving_back)

    async def room(self, wanted: int) -> int:
        """How many of `wanted` claims there is room for; waits a while for all of them."""
        try:
            async with asyncio.timeout(self._settings.room_seconds):
                while self._free() < min(wanted, self._settings.max_in_flight):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            log.warning("no room", extra=fields("sender.no_room", wanted=wanted, in_flight=self.in_flight))
        return min(wanted, max(0, self._free()))

    def _free(self) -> int:
        return self._settings.max_in_flight - self.in_flight

    def start(self, claims: Sequence[Claim]) -> None:
        """Carry these claims, in tasks of their own; while stopping, give them back."""
        if self._stopping:
            return self.decline(claims, "shutdown")
        for claim in claims:
            self._supervise(Carried(claim))
        return None

    def decline(self, claims: Sequence[Claim], reason: str = "busy") -> None:
        """Give back claims, in tasks of their own."""
        for claim in claims:
            self._keep(self._give_back(claim, reason))

    async def quiet(self) -> None:
        """Wait until nothing is carried."""
        while self.in_flight:
            await asyncio.wait([*self._running.values(), *self._giving_back])

    # ---- stopping ----

    async def run(self, stopping: asyncio.Event, seconds_left: Callable[[], float]) -> None:
        """From `stopping` on, drain: until `stop` and until nothing is carried, or until the time is over.

        It does not wait for `stop` to begin: what is still started meanwhile is given back.
        """
        await stopping.wait()
        await self.drain(seconds_left())

    async def stop(self) -> None:
        """Nothing more will be started."""
        self._complete.set()

    async def drain(self, seconds: float) -> None:
        """Give back what has not begun DATA, let DATA end, mark in doubt what is left near the end of
        `seconds`.
        """
        log.info("draining", extra=fields("sender.draining", in_flight=self.in_flight))
        self._give_back_what_has_not_begun()
        try:
            async with asyncio.timeout(seconds - DOUBT_SECONDS):
                await self._complete.wait()
                await self.quiet()
        except TimeoutError:
            await self._cut_off()

    def _give_back_what_has_not_begun(self) -> None:
        self._stopping = True
        for carried, job in self._running.items():
            if not carried.must_finish:
                job.cancel()

    async def _cut_off(self) -> None:
        """DATA that has not ended is in doubt; an answer that is being recorded is none, and gets the rest of
        the time.
        """
        for carried, job in self._running.items():
            if not carried.answered:
                job.cancel()
        if self.in_flight:
            log.warning("deliveries cut off", extra=fields("sender.cut_off", count=self.in_flight))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DOUBT_SECONDS):
                    await self.quiet()

    # ---- one claim ----

    def _supervise(self, carried: Carried) -> None:
        job = asyncio.create_task(self._carry(carried), name=f"carry {carried.claim.due.dispatch_id}")
        self._running[carried] = job
        # Not a second task that waits for the first: in a burst that is felt.
        job.add_done_callback(lambda job: self._ended(carried, job))
        metrics.IN_FLIGHT.set(self.in_flight)

    def _ended(self, carried: Carried, job: asyncio.Task[None]) -> None:
        """Whatever ended the job, its claim is not forgotten: a bug delays one delivery, not the service."""
        del self._running[carried]
        error = None if job.cancelled() else job.exception()
        if error is not None:
            _log_failure(carried, error)
        if job.cancelled() or error is not None:
            self._keep(self._after_failure(carried, error))
        metrics.IN_FLIGHT.set(self.in_flight)
        self._freed.set()

    def _keep(self, giving_back: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(giving_back, name="give back a claim")
        self._giving_back.add(task)
        task.add_done_callback(self._given_back)
        metrics.IN_FLIGHT.set(self.in_flight)

    def _given_back(self, task: asyncio.Task[None]) -> None:
        self._giving_back.discard(task)
        metrics.IN_FLIGHT.set(self.in_flight)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Claimed or transmitting it stays, until its lease or deadline has passed and it is asked for.
            log.warning("claim not given back", extra=fields("sender.left", error=repr(error)[:300]))

    async def _carry(self, carried: Carried) -> None:
        """Steps 2 to 7."""
        claim = carried.claim
        with timed(metrics.CARRY_SECONDS):
            recipient = claim.earlier.recipient if claim.earlier.journaled else None
            read = await self._steps.reader.read(Look(claim, recipient))
            if read.withdrawal is not None:
                await self._steps.settle(claim, model.released(self._steps.clock.now(), read.withdrawal))
                return
            if read.plan is None:
                await self._steps.settle(claim, self._steps.put_off("version_missing", UNREADABLE_SECONDS))
                return
            channel = channel_of(read, claim.due.stage_id)
            if channel is None:
                await self._steps.settle(claim, model.rejected(self._steps.clock.now(), "stage_missing"))
                return
            await self._channels[channel].carry(carried, read)

    async def _after_failure(self, carried: Carried, error: BaseException | None) -> None:
        """What becomes of a claim whose job raised `error`, or was cancelled (None)."""
        if not carried.data_began:
            await self._give_back(carried.claim, "error" if error is not None else "shutdown")
        elif error is None:
            await self._steps.settle(carried.claim, model.doubted(self._steps.clock.now()))
        # A failure after DATA began stays transmitting: past its deadline it is in doubt.

    async def _give_back(self, claim: Claim, reason: str) -> None:
        """claimed (or transmitting, before DATA) → deferred, so that it is asked for again."""
        await self._steps.settle(claim, self._deferral(claim, reason))

    def _deferral(self, claim: Claim, reason: str) -> Settlement:
        if reason == "shutdown":
            return self._steps.put_off(reason, 0)  # the next instance takes it at once
        if reason == "busy":
            return self._steps.busy()
        moment = self._steps.moment(claim)
        return model.deferred(moment.now, moment.after_soft, reason, counts=("failures",))


def _log_failure(carried: Carried, error: BaseException) -> None:
    transient = isinstance(error, Retry)
    metrics.CARRY_FAILURES.labels("transient" if transient else "bug").inc()
    log.log(
        logging.WARNING if transient else logging.ERROR,
        "delivery failed",
        exc_info=None if transient else error,
        extra=fields(
            "sender.carry_failed",
            dispatch_id=carried.claim.due.dispatch_id,
            state=State.TRANSMITTING if carried.data_began else State.CLAIMED,
            error=repr(error)[:300],
        ),
    )
