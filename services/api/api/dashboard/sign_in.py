"""Signing in and out: through the organisation's own provider or, on one machine only, by choosing a user."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import web

from api.dashboard.views import page_html
from api.dashboard.visit import Page, Visit, add_pages, html_response, own_path, visit_of
from api.handlers import ApiKey
from api.oidc import LOGIN_COOKIE, LOGIN_SECONDS, Provider, ProviderKey, SignInFailed
from api.problems import forbidden, not_found
from api.routing import Api
from api.sessions import COOKIE, LONGEST
from api.settings import SignIn
from chassis.store import Document

STRANGER = "Nobody here has the address {email}: ask an admin of your workspace to add you."
BACK = "/sign-in/callback"
FOREIGN = "This form was sent from another site: nothing was done."


def provider(api: Api) -> Provider | None:
    """The organisation's provider, where people sign in through one."""
    settings = api.settings
    if settings.sign_in is not SignIn.OIDC:
        return None
    assert settings.oidc_issuer is not None
    secret = settings.oidc_client_secret.get_secret_value()
    issuer, back = str(settings.oidc_issuer), api.url(BACK)
    return Provider(issuer, settings.oidc_client_id, secret, back, api.secrets, api.clock)


def add_sign_in(app: web.Application) -> None:
    """Serve the pages that need nobody signed in."""
    app.router.add_get("/sign-in", sign_in_page)
    app.router.add_post("/sign-in", sign_in_as)
    app.router.add_get("/sign-in/start", start)
    app.router.add_get(BACK, come_back)
    add_pages(app, (Page("POST", "/sign-out", sign_out),))


async def sign_in_page(request: web.Request) -> web.StreamResponse:
    """Who are you?"""
    then = own_path(request.query.get("then"))
    if await visit_of(request) is not None:
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": then})
    return await _page(request.app[ApiKey], then)


async def sign_in_as(request: web.Request) -> web.StreamResponse:
    """On one machine: the chosen user, without a password."""
    api = request.app[ApiKey]
    # No session yet, hence no token in the form; browsers say where it came from.
    if api.settings.sign_in is not SignIn.DEV or request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise forbidden(FOREIGN)
    fields = await request.post()
    then = own_path(str(fields.get("then", "/")))
    user = await _user(api, str(fields.get("user", "")))
    if user is None:
        return await _page(api, then, "That user is gone: choose another.")
    return await signed_in(api, user, then)


async def start(request: web.Request) -> web.StreamResponse:
    """To the organisation's provider."""
    then = own_path(request.query.get("then"))
    if ProviderKey not in request.app:
        raise not_found("resource")
    try:
        where, cookie = await request.app[ProviderKey].begin(then)
    except SignInFailed as failed:
        return await _page(request.app[ApiKey], then, str(failed))
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": where})
    response.set_cookie(
        LOGIN_COOKIE, cookie, max_age=LOGIN_SECONDS, path="/", secure=True, httponly=True, samesite="Lax"
    )
    return response


async def come_back(request: web.Request) -> web.StreamResponse:
    """From the provider, with who it is."""
    api = request.app[ApiKey]
    if ProviderKey not in request.app:
        raise not_found("resource")
    try:
        identity, then = await request.app[ProviderKey].finish(
            request.query, request.cookies.get(LOGIN_COOKIE, "")
        )
        users = await api.store.sessions.known_as(
            {"issuer": identity.issuer, "subject": identity.subject}, identity.email
        )
        if not users:
            raise SignInFailed(STRANGER.format(email=identity.email))
    except SignInFailed as failed:
        response = await _page(api, "/", str(failed))
    else:
        query = urlencode({"then": then})
        response = await signed_in(api, users[0], f"/workspaces?{query}" if len(users) > 1 else then)
    response.del_cookie(LOGIN_COOKIE, path="/", secure=True)
    return response


async def signed_in(api: Api, user: Document, then: str) -> web.Response:
    """Open a session and go on."""
    token = await api.store.sessions.open(user, api.clock.real_now())
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": then})
    age = int(LONGEST.total_seconds())
    response.set_cookie(COOKIE, token, max_age=age, path="/", secure=True, httponly=True, samesite="Lax")
    return response


async def sign_out(visit: Visit) -> web.StreamResponse:
    """End the session."""
    await visit.form()
    await visit.api.store.sessions.close(visit.session)
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/sign-in"})
    response.del_cookie(COOKIE, path="/", secure=True)
    return response


async def _page(api: Api, then: str, trouble: str = "") -> web.Response:
    way = api.settings.sign_in
    users: list[Any] = await api.store.sessions.everybody() if way is SignIn.DEV else []
    workspaces = await api.store.sessions.workspaces(users)
    values = {"users": users, "workspaces": workspaces, "then": then, "trouble": trouble}
    return html_response(page_html("sign_in.html", title="Sign in", way=way.value, **values))


async def _user(api: Api, text: str) -> Document | None:
    try:
        user_id = UUID(text)
    except ValueError:
        return None
    return next((each for each in await api.store.sessions.everybody() if each["_id"] == user_id), None)
