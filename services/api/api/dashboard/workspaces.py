"""A person of several workspaces: which one to work in, at sign-in and later."""

from aiohttp import web

from api.dashboard.sign_in import signed_in
from api.dashboard.views import page_html
from api.dashboard.visit import Page, Visit, html_response, memberships, own_path
from api.problems import not_found


async def choice(visit: Visit) -> web.StreamResponse:
    """Which workspace?"""
    users = await memberships(visit.api, visit.user)
    html = page_html(
        "workspaces.html",
        title="Choose a workspace",
        users=users,
        names=await visit.api.store.sessions.workspaces(users),
        here=visit.caller.workspace,
        then=own_path(visit.request.query.get("then")),
        csrf=visit.session.csrf,
    )
    return html_response(html)


async def choose(visit: Visit) -> web.StreamResponse:
    """Work in another workspace of one's own: another session, of the user that one is there."""
    fields = await visit.form()
    wanted = str(fields.get("workspace", ""))
    users = await memberships(visit.api, visit.user)
    user = next((each for each in users if str(each["workspace_id"]) == wanted), None)
    if user is None:
        raise not_found("workspace")
    await visit.api.store.sessions.close(visit.session)
    return await signed_in(visit.api, user, own_path(str(fields.get("then", "/"))))


PAGES = (
    Page("GET", "/workspaces", choice),
    Page("POST", "/workspaces", choose),
)
