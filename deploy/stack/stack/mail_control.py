"""How the mail server is told what to answer, asked what it accepted, and tells others: HTTP on loopback."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from stack.mail_script import Script, ScriptFull, ScriptLine
from stack.maildir import Accepted, Maildir

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
NOTICES = 10_000
NOTICE_TRIES = 3
NOTICE_SECONDS = 5.0
PAGE = 1_000


@contextlib.asynccontextmanager
async def control(port: int, maildir: Maildir, script: Script) -> AsyncIterator[None]:
    runner = web.AppRunner(control_app(maildir, script), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield
    finally:
        await runner.cleanup()


def control_app(maildir: Maildir, script: Script) -> web.Application:
    """`POST /script` (a ScriptLine), `DELETE /script`, `GET /messages?after=0&limit=1000`, `GET
    /messages/{id}`.
    """

    async def add_line(request: web.Request) -> web.Response:
        if request.content_type != "application/json":  # a web page can't send this one without asking first
            raise web.HTTPUnsupportedMediaType
        try:
            script.add(ScriptLine.model_validate_json(await request.read()))
        except (ValidationError, ScriptFull) as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error
        return web.Response(status=204)

    async def clear(_: web.Request) -> web.Response:
        script.clear()
        return web.Response(status=204)

    async def messages(request: web.Request) -> web.Response:
        try:
            after = max(0, int(request.query.get("after", "0")))
            limit = min(PAGE, max(1, int(request.query.get("limit", str(PAGE)))))
        except ValueError as error:
            raise web.HTTPBadRequest(text="after and limit are numbers") from error
        page = maildir.after(after, limit)
        return web.json_response({"messages": [m.as_json() for m in page], "next": after + len(page)})

    async def message(request: web.Request) -> web.StreamResponse:
        wanted = request.match_info["id"]
        found = next((m for m in maildir.messages() if m.id == wanted), None)
        if found is None:
            raise web.HTTPNotFound
        content = await asyncio.to_thread(maildir.content, found)
        return web.Response(body=content, content_type="message/rfc822")

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/script", add_line)
    app.router.add_delete("/script", clear)
    app.router.add_get("/messages", messages)
    app.router.add_get("/messages/{id}", message)
    app.router.add_get("/health/ready", ready)
    return app


@contextlib.asynccontextmanager
async def notices(url: str | None) -> AsyncIterator[Callable[[Accepted], None]]:
    """Announces accepted messages; neither a slow nor a missing listener ever delays the mail."""
    if url is None:
        yield lambda _: None
        return
    queue: asyncio.Queue[Accepted] = asyncio.Queue(NOTICES)

    def announce(message: Accepted) -> None:
        try:
            queue.put_nowait(message)
        except asyncio.QueueFull:
            log.warning("notice dropped, the listener is too slow", extra={"mail": message.id})

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=NOTICE_SECONDS)) as session:
        worker = asyncio.create_task(_deliver_notices(session, url, queue), name="smtp-notices")
        try:
            yield announce
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker


async def _deliver_notices(session: aiohttp.ClientSession, url: str, queue: asyncio.Queue[Accepted]) -> None:
    while True:
        message = await queue.get()
        for attempt in range(1, NOTICE_TRIES + 1):
            if await _post(session, url, message):
                break
            await asyncio.sleep(0.1 * attempt)
        else:
            log.warning("notice dropped, nobody took it", extra={"mail": message.id})


async def _post(session: aiohttp.ClientSession, url: str, message: Accepted) -> bool:
    try:
        async with session.post(url, json=message.as_json()) as response:
            return response.status < 300
    except (aiohttp.ClientError, TimeoutError):
        return False
