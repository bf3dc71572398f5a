"""Puts the pages together: what stands on which path, and the files that pages load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from api.dashboard import (
    answers,
    doubts,
    editor,
    enroll,
    erasure,
    mailboxes,
    numbers,
    person,
    reference,
    sequence,
    sequences,
    settings,
    settings_lists,
    settings_people,
    sharing,
    sign_in,
    stats,
    suppressions,
    tasks,
    today,
    variants,
    versions,
    webhooks,
    workspaces,
)
from api.dashboard.badges import Badges, BadgesKey
from api.dashboard.visit import SECURITY_HEADERS, add_pages
from api.oidc import ProviderKey
from api.routing import Api

STATIC: Final[Mapping[str, str]] = {
    "segue.css": "text/css",
    "segue.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "hx-sse.min.js": "text/javascript",
}
PAGES: Final = (
    *today.PAGES,
    *tasks.PAGES,
    *doubts.PAGES,
    *sequences.PAGES,
    *editor.PAGES,
    *versions.PAGES,
    *variants.PAGES,
    *sharing.PAGES,
    *sequence.PAGES,
    *answers.PAGES,
    *person.PAGES,
    *erasure.PAGES,
    *stats.PAGES,
    *mailboxes.PAGES,
    *numbers.PAGES,
    *suppressions.PAGES,
    *settings.PAGES,
    *settings_lists.PAGES,
    *settings_people.PAGES,
    *webhooks.PAGES,
    *workspaces.PAGES,
    *enroll.PAGES,
)
_FILES: Final = Path(__file__).parents[1] / "static"


def add_dashboard(app: web.Application, api: Api) -> None:
    """Serve the dashboard."""
    provider = sign_in.provider(api)
    if provider is not None:
        app[ProviderKey] = provider
    app[BadgesKey] = Badges()
    add_pages(app, PAGES)
    sign_in.add_sign_in(app)
    reference.add_reference(app)
    for name in STATIC:
        app.router.add_get(f"/static/{name}", static)


async def static(request: web.Request) -> web.StreamResponse:
    """A file of ours, by its name in the table."""
    name = request.path.rpartition("/")[2]
    body = (_FILES / name).read_bytes()
    headers = {**SECURITY_HEADERS, "Cache-Control": "max-age=300"}
    response = web.Response(body=body, content_type=STATIC[name], charset="utf-8", headers=headers)
    response.enable_compression()  # pages are not: they hold what must not be guessed by its size
    return response
