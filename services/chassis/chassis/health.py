"""Says over HTTP whether the process started, lives and makes progress, and why not; and its metrics."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

import orjson
from aiohttp import web

from chassis.clock import Clock
from chassis.errors import Retry
from chassis.settings import HttpSettings
from chassis.telemetry import exposition, fields, gauge

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None] | str | None]
"""None when all is well, or a reason: constant words and numbers, for it is shown without a password."""

MAX_SKEW_SECONDS = 5.0
CHECK_SECONDS = 3.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

FAILING = gauge(
    "segue_check_failing", "1 while this readiness check names a reason; each scrape asks", ["check"]
)
SKEW = gauge("segue_clock_skew_seconds", "Between the unscaled clock and mongod's, at the last answer")
MONGODB = gauge("segue_mongodb_connected", "1 while mongod answers, 0 while it does not")


class TellsTime(Protocol):
    """The database, as the clock check needs it; raises Retry when it does not answer."""

    async def server_time(self) -> datetime: ...


class Health:
    """Named checks. Unready takes the process out of its load balancer; dead has it restarted; a note is
    only told.
    """

    def __init__(self, *, check_seconds: float = CHECK_SECONDS) -> None:
        self._check_seconds = check_seconds
        self._started = False
        self._ready: dict[str, Check] = {}
        self._alive: dict[str, Check] = {}
        self._noted: dict[str, Check] = {}

    def started(self) -> None:
        """Start-up is over."""
        self._started = True

    def check(self, name: str, check: Check) -> None:
        """Readiness: progress, clocks, connections."""
        self._ready[name] = check

    def liveness(self, name: str, check: Check) -> None:
        """Only what a restart cures and what does not end the process by itself."""
        self._alive[name] = check

    def note(self, name: str, check: Check) -> None:
        """What an operator wants to see although the process can do its work without it."""
        self._noted[name] = check

    def unstarted(self) -> dict[str, str]:
        """Reasons by name; empty when start-up is over."""
        return {} if self._started else {"startup": "still starting"}

    async def dead(self) -> dict[str, str]:
        """Reasons by check for a restart; empty when the process lives."""
        return await self._reasons(self._alive)

    async def unready(self) -> dict[str, str]:
        """Reasons by check; empty when ready. A check that takes too long or raises is a reason too."""
        return self.unstarted() or await self._reasons(self._ready)

    async def observe(self) -> None:
        """Put into the metrics what the readiness checks say now."""
        reasons = await self.unready()
        for name in self._ready:
            FAILING.labels(name).set(name in reasons)

    async def notes(self) -> dict[str, str]:
        """What is wrong without making the process unready, by check."""
        return await self._reasons(self._noted)

    async def _reasons(self, checks: Mapping[str, Check]) -> dict[str, str]:
        found = await asyncio.gather(*(self._ask(name, check) for name, check in checks.items()))
        return {name: reason for name, reason in zip(checks, found, strict=True) if reason is not None}

    async def _ask(self, name: str, check: Check) -> str | None:
        try:
            async with asyncio.timeout(self._check_seconds):
                answer = check()
                return await answer if inspect.isawaitable(answer) else answer
        except TimeoutError:
            return f"no answer within {self._check_seconds:g} s"
        except Exception as error:  # noqa: BLE001 - a broken check must say so, not look like a broken server
            log.warning("health check failed", extra=fields("health.failed", check=name, error=repr(error)))
            return f"the check failed: {type(error).__name__}"


def clock_check(database: TellsTime, clock: Clock) -> Check:
    """Not ready while the unscaled clock is more than 5 s off mongod's, which leases are compared with."""

    MONGODB.set(1)  # nobody gets a database that has not answered

    async def check() -> str | None:
        try:
            server_time = await database.server_time()
        except Retry:
            MONGODB.set(0)
            return "the database can't be reached"
        except asyncio.CancelledError:  # a check has less time than the driver, which waits for an election
            MONGODB.set(0)
            raise
        skew = abs((server_time - clock.real_now()).total_seconds())
        MONGODB.set(1)
        SKEW.set(skew)
        return f"the clock is {skew:.0f} s off the database's" if skew > MAX_SKEW_SECONDS else None

    return check


def add_routes(app: web.Application, health: Health) -> None:
    """`/health/startup`, `/health/live`, `/health/ready` and `/metrics`, the same in every service.

    Health is 200 or 503 and `{"ok": ..., "reasons": {check: reason}, "notes": {check: note}}`.
    """

    async def startup(_: web.Request) -> web.Response:
        return _answer(health.unstarted())

    async def live(_: web.Request) -> web.Response:
        return _answer(await health.dead())

    async def ready(_: web.Request) -> web.Response:
        return _answer(await health.unready(), await health.notes())

    async def metrics(_: web.Request) -> web.Response:
        await health.observe()
        return web.Response(body=exposition(), headers={"Content-Type": METRICS_TYPE})

    app.router.add_get("/health/startup", startup)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)


@contextlib.asynccontextmanager
async def listening(
    settings: HttpSettings, health: Health, app: web.Application | None = None, *, grace_seconds: float = 1.0
) -> AsyncIterator[int]:
    """Serve `app` (or nothing but health) for the time of the block; yields the port.

    At the end nothing more is accepted, and requests under way may take `grace_seconds`.
    """
    if app is None:
        app = web.Application()
    add_routes(app, health)
    # aiohttp waits twice: for the answer, and once more after it has cut off the reading of the request.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=grace_seconds / 2)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.http_host, settings.http_port).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", extra=fields("health.listening", host=host, port=port))
        yield int(port)
    finally:
        await runner.cleanup()


def _answer(reasons: Mapping[str, str], notes: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK,
        body=orjson.dumps({"ok": not reasons, "reasons": dict(reasons), "notes": dict(notes or {})}),
        content_type="application/json",
    )
