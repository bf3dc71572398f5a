"""The life of a service: wire it, run its parts under supervision, stop it in order and in time.

    @asynccontextmanager
    async def wiring(settings: Settings, service: Service) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(listening(settings, service.health))
            with service.stage("mongodb"):
                database = await stack.enter_async_context(connect(settings))
            with service.stage("kafka"):
                await ensure_topics(settings, TOPICS)
                publisher = await stack.enter_async_context(Publisher(settings))
            store, clock = Store(database), settings.clock()
            service.health.check("clock", clock_check(database, clock))
            service.consume("outcomes", Consumer(settings, ..., handle=Outcomes(store)))
            service.periodic("outbox sweep", 15.0, store.sweep)
            yield

    if __name__ == "__main__":
        sys.exit(main("scheduler", Settings, wiring))

Parts start when the wiring is complete. A signal, or the end of any part, stops all of them, the last one
first, within `draining_seconds` together; then the wiring's own `finally`s close the clients.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from chassis import tracing
from chassis.errors import Fatal, Retry
from chassis.health import Health, listening
from chassis.kafka import Consumer
from chassis.settings import HttpSettings, ServiceSettings, load
from chassis.telemetry import configure_logging, counter, fields

log = logging.getLogger(__name__)

BUGS_IN_A_ROW = 5
COLLECT_EVERY_OBJECTS = 50_000
"""Some ten megabytes; Python's own 700 cost a busy sender a fifth of its time."""

PERIODIC_FAILURES = counter("segue_periodic_failures", "Failed rounds of periodic work", ["work", "kind"])

S = TypeVar("S", bound=ServiceSettings)
Run = Callable[[], Coroutine[Any, Any, None]]
Stop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Part:
    """A named task that runs until the service stops; without `stop` it is cancelled."""

    name: str
    run: Run
    stop: Stop | None = None


class Service:
    """The parts of one process. Register them while wiring; `run` starts and supervises them."""

    def __init__(self, name: str, *, draining_seconds: float) -> None:
        self.name = name
        self.health = Health()
        self.stopping = asyncio.Event()
        self._draining_seconds = draining_seconds
        self._drained_by: float | None = None
        self._parts: list[Part] = []

    def seconds_left(self) -> float:
        """Until all parts must have ended; all of the time while nobody stops the service."""
        if self._drained_by is None:
            return self._draining_seconds
        return max(0.0, self._drained_by - time.monotonic())

    def spawn(self, name: str, run: Run, *, stop: Stop | None = None) -> None:
        """Add a part. `stop` asks `run` to return; it is cancelled if it does not in time, or has no
        `stop`.
        """
        self._parts.append(Part(name, run, stop))

    def consume(self, name: str, consumer: Consumer) -> None:
        """Add a consumer and a readiness check of its progress."""
        self.spawn(name, consumer.run, stop=consumer.stop)
        self.health.check(name, consumer.unready)

    def periodic(self, name: str, every_seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Add work that is done at once and then every so many real seconds; a stop lets a round end."""
        self.spawn(name, lambda: periodic(name, every_seconds, work, self.stopping), stop=_nothing)

    def serve(self, settings: HttpSettings, app: web.Application, *, grace_seconds: float) -> None:
        """Add a web application, with the health pages beside its routes; stopping, it accepts nothing more
        and lets requests under way end within `grace_seconds`.
        """

        async def run() -> None:
            async with listening(settings, self.health, app, grace_seconds=grace_seconds):
                await self.stopping.wait()

        self.spawn("http", run, stop=_nothing)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Log how long a stage of starting or stopping took, also when it raised."""
        began = time.monotonic()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            seconds = round(time.monotonic() - began, 3)
            log.info("stage", extra=fields("service.stage", stage=name, outcome=outcome, seconds=seconds))

    async def run(self, stop: asyncio.Event) -> None:
        """Run all parts until `stop` is set or one ends; raises what it died of, Fatal if it just ended."""
        tasks = {part.name: asyncio.create_task(part.run(), name=part.name) for part in self._parts}
        asked = asyncio.create_task(stop.wait(), name="wait for the stop")
        self.health.started()
        try:
            await asyncio.wait({asked, *tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
            early = [] if stop.is_set() else [name for name, task in tasks.items() if task.done()]
        finally:
            asked.cancel()
            await self._stop(tasks)
        _raise_failure(tasks)
        if early:
            raise Fatal(f"{self.name}: {early[0]} ended although nobody stopped it.")

    async def _stop(self, tasks: dict[str, asyncio.Task[None]]) -> None:
        self._drained_by = time.monotonic() + self._draining_seconds
        self.stopping.set()
        log.info("stopping", extra=fields("service.stopping", seconds=self._draining_seconds))
        for part in reversed(self._parts):
            with self.stage(f"stop {part.name}"):
                await _stop_part(part, tasks[part.name], self.seconds_left())


async def periodic(
    name: str,
    every_seconds: float,
    work: Callable[[], Awaitable[None]],
    stopping: asyncio.Event,
    *,
    bugs_in_a_row: int = BUGS_IN_A_ROW,
) -> None:
    """Do the work now and then every so many real seconds until `stopping`, also between two rounds.

    Retry is logged and waits for the next round; a bug is logged with its traceback and counted, and several
    in a row are raised.
    """
    bugs = 0
    while not stopping.is_set():
        try:
            await work()
        except Retry as error:
            PERIODIC_FAILURES.labels(name, "retry").inc()
            log.warning("round put off", extra=fields("periodic.retry", work=name, error=str(error)[:300]))
        except Fatal:
            raise
        except Exception:
            bugs += 1
            PERIODIC_FAILURES.labels(name, "bug").inc()
            log.exception("round failed", extra=fields("periodic.bug", work=name, in_a_row=bugs))
            if bugs >= bugs_in_a_row:
                raise
        else:
            bugs = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_seconds):
                await stopping.wait()


Wiring = Callable[[S, Service], AbstractAsyncContextManager[None]]


async def run_service(name: str, settings: S, wiring: Wiring[S]) -> None:
    """Wire, run until SIGTERM or SIGINT, stop; raises what a part died of. A signal during wiring ends it."""
    service = Service(name, draining_seconds=settings.draining_seconds)
    stop = asyncio.Event()
    with _signals(stop):
        wired = asyncio.create_task(_wire_and_run(service, settings, wiring, stop), name=name)
        asked = asyncio.create_task(stop.wait(), name="wait for a signal")
        await asyncio.wait({wired, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not wired.done() and service.health.unstarted():
            wired.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await wired


def main(name: str, settings_class: type[S], wiring: Wiring[S]) -> int:
    """The exit code: 0 after an orderly stop, 1 when a part died; wrong settings exit with 2."""
    settings = load(settings_class)
    configure_logging(settings.log_level, name, settings.instance_id)
    _calm_the_collector()
    try:
        with tracing.telling(settings, name, settings.instance_id):
            asyncio.run(run_service(name, settings, wiring))
    except (Fatal, Retry) as error:
        log.error("service ended", extra=fields("service.ended", error=str(error)))
        print(error, file=sys.stderr)
        return 1
    except Exception:
        log.exception("service died of a bug", extra=fields("service.died"))
        return 1
    return 0


def _calm_the_collector() -> None:
    """Collect rarely, and never what the imports made: thousands of deliveries in flight are no garbage."""
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY_OBJECTS, 20, 50)


async def _wire_and_run(service: Service, settings: S, wiring: Wiring[S], stop: asyncio.Event) -> None:
    began = time.monotonic()
    async with wiring(settings, service):
        log.info("started", extra=fields("service.started", seconds=round(time.monotonic() - began, 3)))
        await service.run(stop)
    log.info("stopped", extra=fields("service.stopped", seconds=round(time.monotonic() - began, 3)))


async def _stop_part(part: Part, task: asyncio.Task[None], seconds: float) -> None:
    """Ask, wait, cancel; never raises what the part raises: `_raise_failure` looks at all of them."""
    if part.stop is not None and not task.done():
        await part.stop()
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            log.error("part cancelled", extra=fields("service.cancelled", part=part.name))
    task.cancel()
    await asyncio.wait({task})


def _raise_failure(tasks: dict[str, asyncio.Task[None]]) -> None:
    for task in tasks.values():
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _nothing() -> None:
    """Parts that watch `stopping` need no asking."""
