"""Where the pixel and the links of a tracked message lead; no login, no cookie, no address kept.

A link leads only where its message says: the address is in the delivery, not in the request. Who measures
must not be in the way: the pixel always comes, and a link leads on though nothing could be counted.
"""

import logging
from base64 import b64decode
from http import HTTPStatus

from aiohttp import hdrs, web

from api import telemetry
from api.engagement_store import Request
from api.engagements import note
from api.handlers import ApiKey
from api.machines import judged
from api.routing import Api
from api.tracking_words import WORDS
from api.unsubscribe import public_page
from api.unsubscribe_words import language_for
from chassis.documents import TrackedView
from chassis.errors import Retry
from chassis.store import Workspace
from chassis.telemetry import fields
from chassis.tracking import LINK_PATH, PIXEL_ENDING, PIXEL_PATH, Kind, Mark, read

log = logging.getLogger(__name__)

PIXEL = b64decode("R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""A transparent GIF of one by one."""
NOT_KEPT = {
    "Cache-Control": "no-store, no-cache, must-revalidate, max-age=0",
    "Pragma": "no-cache",
    "Expires": "0",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def add_tracking(app: web.Application) -> None:
    """Serve the pixels and the links; HEAD as GET, but that it counts nothing."""
    app.router.add_get(PIXEL_PATH + "{mark}", pixel)
    app.router.add_get(LINK_PATH + "{mark}", follow)


async def pixel(request: web.Request) -> web.StreamResponse:
    """The GIF, whatever was asked for: nobody learns here which messages there are."""
    api = request.app[ApiKey]
    mark = read(Kind.OPENED, request.match_info["mark"].removesuffix(PIXEL_ENDING), api.secrets)
    if mark is not None:
        await _note_open(api, request, mark)
    return web.Response(body=PIXEL, content_type="image/gif", headers=NOT_KEPT)


async def follow(request: web.Request) -> web.StreamResponse:
    """On to where the message says; a page with words if that is not known, the same whatever is wrong."""
    api = request.app[ApiKey]
    mark = read(Kind.CLICKED, request.match_info["mark"], api.secrets)
    try:
        message = await _message(api, mark) if mark is not None else None
    except Retry:
        return _page(request, HTTPStatus.SERVICE_UNAVAILABLE)
    target = _target(message, mark)
    if mark is None or message is None or target is None:
        return _page(request, HTTPStatus.NOT_FOUND)
    await _note(api, request, mark, message)
    return web.Response(status=HTTPStatus.FOUND, headers={**NOT_KEPT, "Location": target})


def _target(message: TrackedView | None, mark: Mark | None) -> str | None:
    if message is None or mark is None or mark.link is None or mark.link > len(message.links):
        return None
    return message.links[mark.link - 1]


async def _message(api: Api, mark: Mark) -> TrackedView | None:
    return await api.reads.tracked(Workspace(mark.workspace_id), mark.dispatch_id)


async def _note_open(api: Api, request: web.Request, mark: Mark) -> None:
    try:
        message = await _message(api, mark)
    except Retry:
        telemetry.ENGAGEMENTS_LOST.labels(mark.kind.value).inc()
        return
    if message is not None and message.opens:
        await _note(api, request, mark, message)


async def _note(api: Api, request: web.Request, mark: Mark, message: TrackedView) -> None:
    """Count it, if that can be done now."""
    engagements, real_now = api.store.engagements, api.clock.real_now()
    try:
        if request.method == hdrs.METH_HEAD:
            await engagements.looked(mark, message, real_now)
            return
        sent = message.sent_at
        since = None if sent is None else -api.clock.real_seconds_until(sent)
        verdict = judged(mark.kind, request.headers, since, api.settings.tracking_soon_seconds)
        await note(engagements, Request(mark, message, api.clock.now(), real_now, verdict))
    except Retry as error:
        telemetry.ENGAGEMENTS_LOST.labels(mark.kind.value).inc()
        log.warning("not counted", extra=fields("tracking.lost", error=str(error)[:300]))


def _page(request: web.Request, status: HTTPStatus) -> web.Response:
    language = language_for(request.headers.get("Accept-Language", ""))
    words = WORDS[language]
    said = words.gone if status is HTTPStatus.NOT_FOUND else words.later
    return public_page(language, words.title, said, status=status)
