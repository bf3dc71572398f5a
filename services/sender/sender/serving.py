"""Runs the sender until it is told to stop or one of its parts dies; then gives back, drains and ends."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from chassis.errors import Retry
from chassis.telemetry import exposition, fields
from sender.settings import SenderSettings
from sender.wiring import Running, wired

log = logging.getLogger(__name__)

MAX_SKEW_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 15.0
CONSUMERS_SECONDS: Final = 10.0
"""How long the consumers may take for their last batch and commit."""
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def serve(settings: SenderSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; raises what a part died of, after the same orderly end."""
    async with wired(settings) as running, listening(settings, running):
        consuming = [asyncio.create_task(each.run(), name="consumer") for each in running.consumers]
        sender = running.sender
        sweeping = [
            asyncio.create_task(_every(SWEEP_SECONDS, sweep), name="sweep")
            for sweep in (sender.on_stage_due.sweep, sender.on_commands.skip_overdue)
        ]
        signal = asyncio.create_task(_until(stop), name="wait for the signal")
        await asyncio.wait([signal, *consuming, *sweeping], return_when=asyncio.FIRST_COMPLETED)
        await _end(settings, running, consuming, [signal, *sweeping])


async def _end(
    settings: SenderSettings,
    running: Running,
    consuming: list[asyncio.Task[None]],
    others: list[asyncio.Task[None]],
) -> None:
    """Stop taking, give back or let end what is carried, and raise what went wrong, if anything did."""
    loop = asyncio.get_running_loop()
    until = loop.time() + settings.shutdown_seconds
    log.info("stopping", extra=fields("sender.stopping", in_flight=running.sender.work.in_flight))
    await asyncio.gather(*(each.stop() for each in running.consumers))
    await asyncio.wait(consuming, timeout=min(CONSUMERS_SECONDS, settings.shutdown_seconds / 2))
    await running.sender.work.drain(until - loop.time())
    log.info("drained", extra=fields("sender.drained", seconds_left=round(until - loop.time(), 1)))
    for task in (*consuming, *others):
        task.cancel()
    for ended in await asyncio.gather(*consuming, *others, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Retry as error:
            log.warning("sweep put off", extra=fields("sender.sweep_put_off", error=str(error)[:300]))


# ---- health ----


@contextlib.asynccontextmanager
async def listening(settings: SenderSettings, running: Running) -> AsyncIterator[None]:
    """`/health/live`, `/health/ready` and `/metrics` for the time of the block."""
    runner = web.AppRunner(_application(running), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.http_host, settings.http_port).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", extra=fields("sender.listening", host=host, port=port))
        yield
    finally:
        await runner.cleanup()


def _application(running: Running) -> web.Application:
    async def live(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def ready(_: web.Request) -> web.Response:
        wrong = await unreadiness(running)
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        return web.Response(status=status, text=f"{wrong or 'ready'}\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app


async def unreadiness(running: Running) -> str | None:
    """Why the sender makes no progress, or may not be trusted with deadlines; None when all is well."""
    for consumer in running.consumers:
        if (wrong := consumer.unready()) is not None:
            return f"a consumer: {wrong}"
    try:
        server_time = await running.database.server_time()
    except Retry:
        return "the database can't be reached"
    skew = abs((server_time - running.clock.real_now()).total_seconds())
    return f"the clock is {skew:.0f} s off the database's" if skew > MAX_SKEW_SECONDS else None
