"""A visit: one request from a signed-in browser, and what a page may do with it.

Pages neither read nor write by themselves: they ask the API's routes, so that the dashboard can do what the
API can, and nobody sees in one what the other hides.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import orjson
from aiohttp import web
from multidict import MultiDictProxy

from api.dashboard.badges import BadgesKey, Beside
from api.dashboard.views import page_html
from api.handlers import ApiKey
from api.keys import Caller, caller_signed_in
from api.problems import Problem, forbidden, not_found
from api.routes import ROUTES
from api.routing import JSON, Answer, Api, Body, Call, Ids, Route, made
from api.sessions import COOKIE, Session, is_form_of
from api.settings import SignIn
from chassis.prompting import PromptWishes
from chassis.store import Document

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NOTE_COOKIE: Final = "__Host-segue-note"
BESIDE: Final = web.RequestKey("beside", Beside)
CSRF_FIELD: Final = "csrf"
STALE_FORM: Final = (
    "This form is from before you signed in: nothing was done. Load the page again, and send it then."
)
_BY_NAME: Final = {(route.method, route.path): route for route in ROUTES}

Fields = MultiDictProxy[Any]


@dataclass(frozen=True, slots=True)
class Note:
    """What was just done, shown once on the next page; `undo` is a form that takes it back."""

    text: str
    kind: str = "done"  # or "problem"
    undo_path: str = ""
    undo_fields: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a signed-in user."""

    api: Api
    request: web.Request
    session: Session
    caller: Caller

    @property
    def user(self) -> Mapping[str, Any]:
        """Who is signed in, as stored."""
        return self.session.user

    @property
    def zone(self) -> str | None:
        """The reader's time zone, as their preferences name it; without one they read UTC."""
        return PromptWishes.read(self.user.get("prompts")).zone

    def uuid(self, name: str, what: str) -> UUID:
        """A path parameter that is an id; Problem 404 otherwise."""
        try:
            return UUID(self.request.match_info[name])
        except ValueError:
            raise not_found(what) from None

    async def ask(
        self,
        route: str,
        /,
        data: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        if_match: str | None = None,
        **path: object,
    ) -> Any:
        """What a route of the API (`"GET /v1/sequences/{sequence_id}"`) answers to this user: its body.

        Raises the Problem that the route raises, and 403 where the user's role does not reach.
        """
        return (await self.answer(route, data, query=query, if_match=if_match, **path)).body

    async def answer(
        self,
        route: str,
        /,
        data: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        if_match: str | None = None,
        **path: object,
    ) -> Answer:
        """The same, with status and headers."""
        return await asked(self.api, self.caller, self.request, _named(route), data, query, path, if_match)

    async def form(self) -> Fields:
        """The fields of a posted form; Problem 403 for one that the session was not shown."""
        fields: Fields = await self.request.post()
        given = fields.get(CSRF_FIELD) or self.request.headers.get("X-CSRF-Token", "")
        if not isinstance(given, str) or not is_form_of(self.session, given):
            raise forbidden(STALE_FORM)
        return fields

    def page(
        self, template: str, /, *, title: str, status: HTTPStatus = HTTPStatus.OK, **values: Any
    ) -> web.Response:
        """A whole page in the frame; takes the note of the request before."""
        note, beside = _read_note(self.request), self.request.get(BESIDE)
        html = page_html(
            template,
            title=title,
            user=self.user,
            zone=self.zone,
            role=self.caller.role,
            is_admin=self.caller.is_admin,
            csrf=self.session.csrf,
            path=self.request.path,
            waiting=beside.waiting if beside else None,
            workspaces=beside.workspaces if beside else {},
            note=note,
            **values,
        )
        response = html_response(html, status)
        if NOTE_COOKIE in self.request.cookies:
            response.del_cookie(NOTE_COOKIE, secure=True)
        return response

    def part(self, template: str, /, **values: Any) -> web.Response:
        """A fragment, for htmx."""
        html = page_html(template, csrf=self.session.csrf, user=self.user, zone=self.zone, **values)
        return html_response(html)

    def go(self, path: str, note: Note | None = None, **query: str) -> web.Response:
        """On to another page of ours, with what was done."""
        location = f"{path}?{urlencode(query)}" if query else path
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})
        if note is not None:
            _write_note(response, note)
        return response


Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Page:
    """One line of the table of pages."""

    method: str
    path: str
    handler: Handler


async def asked(
    api: Api,
    caller: Caller,
    request: web.Request,
    route: Route,
    data: Any,
    query: Mapping[str, Any] | None,
    path: Mapping[str, object],
    if_match: str | None = None,
) -> Answer:
    """Have a route answer within this process, with the checks that it makes over HTTP."""
    if not caller.may(route.scope):
        raise forbidden("Your role does not allow this: ask an admin of the workspace.")
    words = {name: str(value) for name, value in path.items()}
    asked_for = made(route.query, dict(query or {})) if route.query else None
    body = _body(route, data)
    call = Call(api, caller, request, words, asked_for, body, Ids(None), route.need, if_match)
    return await route.handler(call)


def _body(route: Route, data: Any) -> Body:
    if isinstance(data, Body):
        return data
    takes = route.takes
    if takes is None:
        return Body("", None)
    if data is None and takes.optional:
        data = {}
    return Body(JSON, made(takes.model, data) if takes.model else data)


def _named(route: str) -> Route:
    method, _, path = route.partition(" ")
    return _BY_NAME[method, path]


# ---- around every page --------------------------------------------------------------------------------


def add_pages(app: web.Application, pages: tuple[Page, ...]) -> None:
    """Serve a table of pages."""
    for page in pages:
        app.router.add_route(page.method, page.path, _serving(page))


def _serving(page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    @functools.wraps(page.handler)
    async def serve(request: web.Request) -> web.StreamResponse:
        visit = await visit_of(request)
        if visit is None:
            return sign_in_first(request)
        try:
            if page.method == "GET":
                request[BESIDE] = await beside(visit)
            return await page.handler(visit)
        except Problem as problem:
            return problem_page(visit, problem)

    return serve


async def beside(visit: Visit) -> Beside:
    """What stands beside each page of whoever visits, as of some seconds ago."""
    badges, now = visit.request.app[BadgesKey], visit.api.clock.monotonic()
    return await badges.of(visit.caller.user_id, now, lambda: _beside(visit))


async def _beside(visit: Visit) -> Beside:
    users = await memberships(visit.api, visit.user)
    return Beside(await visit.ask("GET /v1/me/waiting"), await visit.api.store.sessions.workspaces(users))


async def memberships(api: Api, user: Mapping[str, Any]) -> list[Document]:
    """Whom a signed-in user is in all workspaces: themselves, and who is the same person."""
    by_address = api.settings.sign_in is SignIn.DEV
    return await api.store.sessions.same_person(dict(user), by_address=by_address)


async def visit_of(request: web.Request) -> Visit | None:
    """The visit, if somebody is signed in."""
    api = request.app[ApiKey]
    token = request.cookies.get(COOKIE)
    session = await api.store.sessions.find(token, api.clock.real_now()) if token else None
    return Visit(api, request, session, caller_signed_in(session.user)) if session else None


def sign_in_first(request: web.Request) -> web.Response:
    """To the sign-in page, and back to where the visitor wanted to go (after a post: to the start page)."""
    after = request.path_qs if request.method == "GET" else "/"
    if "HX-Request" in request.headers:
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": "/sign-in"})
    query = urlencode({"then": after})
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": f"/sign-in?{query}"})


def own_path(given: str | None) -> str:
    """A path on this site to go on to; the start page for anything else, so that no link leads elsewhere."""
    ours = given and given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if given and ours else "/"


def problem_page(visit: Visit, problem: Problem) -> web.Response:
    """A problem for people."""
    status = HTTPStatus(problem.details.status)
    return visit.page("problem.html", title=status.phrase, status=status, problem=problem.details)


def html_response(html: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """HTML, with the headers that each page has."""
    return web.Response(
        status=status, text=html, content_type="text/html", charset="utf-8", headers=SECURITY_HEADERS
    )


def _write_note(response: web.Response, note: Note) -> None:
    data = orjson.dumps([note.text, note.kind, note.undo_path, note.undo_fields])
    response.set_cookie(
        NOTE_COOKIE, data.hex(), max_age=60, path="/", secure=True, httponly=True, samesite="Lax"
    )


def _read_note(request: web.Request) -> Note | None:
    try:
        return Note(*orjson.loads(bytes.fromhex(request.cookies.get(NOTE_COOKIE, ""))))
    except (ValueError, TypeError):
        return None
