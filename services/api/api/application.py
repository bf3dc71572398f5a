"""The web application: routes, pages, and what surrounds every request."""

import asyncio
import time

from aiohttp import web

from api import openapi
from api.dashboard.sequence import LiveKey, LivePages
from api.dashboard.serving import add_dashboard
from api.handlers import ApiKey, add_routes, problems
from api.intake import Intake, bounded
from api.limiter import Limiter, LimiterKey
from api.preconditions import guarded
from api.routes import ROUTES
from api.routing import MIB, Api
from api.tracking import add_tracking
from api.unsubscribe import add_unsubscribe
from api.webhooks import WEBHOOKS

MOST_FORM_BYTES = 16 * MIB
"""A posted form, a list of people included."""


def application(api: Api) -> web.Application:
    """All that is served, but for health and metrics; ends its live pages on shutdown."""
    app = web.Application(middlewares=[problems], client_max_size=MOST_FORM_BYTES)
    app[ApiKey] = api
    app[LimiterKey] = Limiter(api.settings, time.monotonic)
    app.on_response_prepare.append(app[LimiterKey].tell)
    app[LiveKey] = LivePages(asyncio.Event())
    app.on_shutdown.append(_end_live_pages)
    add_routes(app, guarded(ROUTES))
    add_dashboard(app, api)
    add_unsubscribe(app)
    add_tracking(app)
    intake = Intake(api.settings.intake_bytes)
    for webhook in WEBHOOKS:
        app.router.add_post(webhook.path, bounded(intake, webhook.handler))
    app.router.add_get("/openapi.json", _openapi)
    return app


async def _openapi(request: web.Request) -> web.StreamResponse:
    body = openapi.text()
    return web.Response(body=body, content_type="application/json", charset="utf-8")


async def _end_live_pages(app: web.Application) -> None:
    app[LiveKey].stopping.set()
