"""The claimed deliveries of this process: carried in batches, bounded, drained at the end."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from chassis.errors import Retry
from chassis.telemetry import fields
from segue_contracts.message import Channel
from sender import metrics, model
from sender.model import Claim, Settlement, State
from sender.reading import Look, Read, channel_of
from sender.settings import DOUBT_SECONDS, SenderSettings
from sender.steps import Carried, Steps

log = logging.getLogger(__name__)

UNREADABLE_SECONDS = 600.0


class Carries(Protocol):
    """A channel: steps 3 to 7 for claims whose reads say go; it may return before they have ended."""

    async def carry(self, items: Sequence[tuple[Carried, Read]]) -> None: ...


class Work:
    """Carries claims side by side; nobody waits for another's mail server."""

    def __init__(self, steps: Steps, channels: Mapping[Channel, Carries], settings: SenderSettings) -> None:
        self._steps = steps
        self._channels = channels
        self._settings = settings
        self._running: set[Carried] = set()
        self._giving_back: set[asyncio.Future[bool]] = set()
        self._batches: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._stopping = False
        self._complete = asyncio.Event()  # nothing more will be started
        metrics.IN_FLIGHT.set_function(lambda: self.in_flight)

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
        """Carry these claims, in a task of its own; while stopping, give them back."""
        if self._stopping:
            return self.decline(claims, "shutdown")
        if claims:
            batch = [self._supervised(claim) for claim in claims]
            task = asyncio.create_task(self._carry(batch), name="carry a batch")
            self._batches.add(task)
            task.add_done_callback(partial(self._batch_ended, batch))
        return None

    def decline(self, claims: Sequence[Claim], reason: str = "busy") -> None:
        """Give back claims."""
        for claim in claims:
            self._give_back(claim, reason)

    async def quiet(self) -> None:
        """Wait until nothing is carried."""
        while self.in_flight:
            await asyncio.wait([*(carried.job for carried in self._running), *self._giving_back])

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
        for carried in self._running:
            if not carried.must_finish:
                carried.job.cancel()

    async def _cut_off(self) -> None:
        """DATA that has not ended is in doubt; an answer that is being recorded is none, and gets the rest of
        the time.
        """
        for carried in self._running:
            if not carried.answered:
                carried.job.cancel()
        if self.in_flight:
            log.warning("deliveries cut off", extra=fields("sender.cut_off", count=self.in_flight))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DOUBT_SECONDS):
                    await self.quiet()

    # ---- one claim ----

    def _supervised(self, claim: Claim) -> Carried:
        carried = Carried(claim, asyncio.get_running_loop().create_future())
        self._running.add(carried)
        began = time.perf_counter()
        carried.job.add_done_callback(lambda _: self._ended(carried, time.perf_counter() - began))
        return carried

    def _ended(self, carried: Carried, seconds: float) -> None:
        """Whatever ended the job, its claim is not forgotten: a bug delays one delivery, not the service."""
        metrics.CARRY_SECONDS.observe(seconds)
        self._running.discard(carried)
        job = carried.job
        error = None if job.cancelled() else job.exception()
        if error is not None:
            _log_failure(carried, error)
        if job.cancelled() or error is not None:
            self._after_failure(carried, error)
        self._freed.set()

    def _after_failure(self, carried: Carried, error: BaseException | None) -> None:
        """What becomes of a claim whose steps raised `error`, or that was cancelled (None)."""
        if not carried.data_began:
            self._give_back(carried.claim, "error" if error is not None else "shutdown")
        elif error is None:
            self._keep(self._steps.end(carried.claim, model.doubted(self._steps.clock.now())))
        # A failure after DATA began stays transmitting: past its deadline it is in doubt.

    def _give_back(self, claim: Claim, reason: str) -> None:
        """claimed (or transmitting, before DATA) → deferred, so that it is asked for again."""
        self._keep(self._steps.end(claim, self._deferral(claim, reason)))

    def _keep(self, giving_back: "asyncio.Future[bool]") -> None:
        self._giving_back.add(giving_back)
        giving_back.add_done_callback(self._given_back)

    def _given_back(self, ended: "asyncio.Future[bool]") -> None:
        self._giving_back.discard(ended)
        self._freed.set()
        if not ended.cancelled() and (error := ended.exception()) is not None:
            # Claimed or transmitting it stays, until its lease or deadline has passed and it is asked for.
            log.warning("claim not given back", extra=fields("sender.left", error=repr(error)[:300]))

    # ---- a batch of claims ----

    async def _carry(self, batch: Sequence[Carried]) -> None:
        """Step 2, and on to the channels."""
        reads = await self._steps.reader.read([Look(each.claim, _written_to(each.claim)) for each in batch])
        chosen: dict[Channel, list[tuple[Carried, Read]]] = {}
        for carried, read in zip(batch, reads, strict=True):
            channel = channel_of(read, carried.claim.due.stage_id)
            settlement = self._judged(read, channel)
            if carried.over:
                continue
            if settlement is not None:
                self._steps.settle(carried, settlement)
            elif channel is not None:
                chosen.setdefault(channel, []).append((carried, read))
        for channel, items in chosen.items():
            await self._channels[channel].carry(items)

    def _judged(self, read: Read, channel: Channel | None) -> Settlement | None:
        """None: go on."""
        if read.withdrawal is not None:
            return model.released(self._steps.clock.now(), read.withdrawal)
        if read.plan is None:
            return self._steps.put_off("version_missing", UNREADABLE_SECONDS)
        return model.rejected(self._steps.clock.now(), "stage_missing") if channel is None else None

    def _batch_ended(self, batch: Sequence[Carried], task: "asyncio.Task[None]") -> None:
        """A failed step of the batch is a failure of each that was not handed on to its end."""
        self._batches.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            for carried in batch:
                carried.failed(error)

    def _deferral(self, claim: Claim, reason: str) -> Settlement:
        if reason == "shutdown":
            return self._steps.put_off(reason, 0)  # the next instance takes it at once
        if reason == "busy":
            return self._steps.busy()
        moment = self._steps.moment(claim)
        return model.deferred(moment.now, moment.after_soft, reason, counts=("failures",))


def _written_to(claim: Claim) -> str | None:
    """The recipient in the stored bytes, which are sent as they are from the first journal on."""
    return claim.earlier.recipient if claim.earlier.journaled else None


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
