"""Runs the API until it is told to stop: HTTP, the courier and its sweep, each supervised."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from api.application import application
from api.courier import Courier
from api.routing import Api
from api.settings import ApiSettings
from api.wiring import wired
from chassis.clock import Clock
from chassis.errors import Reject, Retry
from chassis.kafka import ensure_topics
from chassis.store import Database
from chassis.telemetry import exposition, fields
from segue_contracts.topics import TOPICS

log = logging.getLogger(__name__)

MAX_SKEW_SECONDS = 5.0
TOPICS_AGAIN_SECONDS = 5.0
LAST_LETTERS_SECONDS = 5.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def serve(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; raises what a side task died of. Kafka may be away, also at the start."""
    async with wired(settings) as (api, database):
        async with listening(api, database):
            await _supervised(stop, settings, api)
        await _last_letters(api.courier)


@contextlib.asynccontextmanager
async def listening(api: Api, database: Database) -> AsyncIterator[web.AppRunner]:
    """HTTP for the time of the block; requests under way may end within `shutdown_seconds`."""
    settings = api.settings
    app = application(api)
    add_health(app, database, api.clock)
    runner = web.AppRunner(app, shutdown_timeout=settings.shutdown_seconds / 2, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.http_host, settings.http_port).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", extra=fields("api.listening", host=host, port=port))
        yield runner
    finally:
        await runner.cleanup()


async def _supervised(stop: asyncio.Event, settings: ApiSettings, api: Api) -> None:
    """Until `stop`, or until a task that should never end does; raises what it died of."""
    signal = asyncio.create_task(_until(stop), name="wait for the signal")
    tasks = [
        signal,
        asyncio.create_task(api.courier.run(), name="courier"),
        asyncio.create_task(_every(settings.command_sweep_seconds, api.courier.sweep), name="sweep"),
        asyncio.create_task(_topics(settings), name="ensure topics"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(tasks)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except (Retry, Reject) as error:
            log.warning("sweep put off", extra=fields("api.sweep_put_off", error=str(error)[:300]))
        await asyncio.sleep(seconds)


async def _topics(settings: ApiSettings) -> None:
    while True:
        try:
            await ensure_topics(settings, TOPICS)
        except Retry as error:
            log.warning("no Kafka yet", extra=fields("api.no_kafka", error=str(error)[:300]))
            await asyncio.sleep(TOPICS_AGAIN_SECONDS)
        else:
            await asyncio.Event().wait()  # done; a supervised task that ends stops the service


async def _last_letters(courier: Courier) -> None:
    """What was accepted in the last moments goes out now, or by another instance's sweep."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_LETTERS_SECONDS):
            await courier.deliver()


# ---- health -------------------------------------------------------------------------------------------


def add_health(app: web.Application, database: Database, clock: Clock) -> None:
    """`/health/live`, `/health/ready` and `/metrics`, without a key."""

    async def live(request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def ready(request: web.Request) -> web.Response:
        wrong = await unreadiness(database, clock)
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        return web.Response(status=status, text=f"{wrong or 'ready'}\n")

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": METRICS_TYPE})

    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)


async def unreadiness(database: Database, clock: Clock) -> str | None:
    """Why no requests should come, or None. Without Kafka they may: what is accepted is stored."""
    try:
        skew = abs((await database.server_time() - clock.real_now()).total_seconds())
    except Retry:
        return "the database can't be reached"
    return f"the clock is {skew:.0f} s off the database's" if skew > MAX_SKEW_SECONDS else None
