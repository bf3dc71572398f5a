"""From an HTTP request to a route's handler and back; every error becomes problem details."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel

from api import telemetry
from api.bodies import check_string, read_json, read_text, read_yaml, unsupported
from api.idempotency import Answers, repeatable
from api.intake import HeldKey
from api.keys import (
    Caller,
    PresentedKey,
    bearer_from_header,
    caller_by_key,
    caller_signed_in,
    fits,
    parse_key,
    use_is_news,
)
from api.limiter import LimiterKey
from api.oidc import ProviderAway, ProviderKey, SignInFailed
from api.problems import (
    FieldError,
    Problem,
    bad_request,
    forbidden,
    invalid,
    not_found,
    too_large,
    unauthorized,
    unavailable,
)
from api.routing import (
    CSV,
    JSON,
    MIB,
    NDJSON,
    YAML,
    Answer,
    Api,
    Body,
    Call,
    Ids,
    LineHandler,
    Route,
    Takes,
    made,
)
from api.streaming import answer_lines
from chassis import tracing
from chassis.errors import Retry
from chassis.store import Document, Workspace
from chassis.telemetry import fields

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""What begins no trace by itself."""
YAML_TYPES = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml"})
WORKSPACE_HEADER = "Segue-Workspace"
REFUSED = 'Bearer realm="segue", error="invalid_token"'
"""The challenge of RFC 6750, section 3.1."""
ApiKey: web.AppKey[Api] = web.AppKey("api", Api)

AiohttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(app: web.Application, routes: Sequence[Route]) -> None:
    """Serve a route table."""
    for route in routes:
        app.router.add_route(route.method, route.path, serving(route))


def serving(route: Route) -> AiohttpHandler:
    """The aiohttp handler of a route."""

    async def serve(request: web.Request) -> web.StreamResponse:
        api = request.app[ApiKey]
        caller = await authenticate(request)
        if not caller.may(route.scope):
            raise forbidden(f"This API key lacks the scope {route.scope.value!r}.")
        request.app[LimiterKey].admit(request, caller.client)
        if route.lines is not None and request.content_type == NDJSON:
            return await stream(route, route.lines, api, caller, request)
        raw = await read_body(request, _limit(route, request))
        return await once(route, api, caller, request, raw)

    return serve


async def once(
    route: Route, api: Api, caller: Caller, request: web.Request, raw: bytes
) -> web.StreamResponse:
    """Carry the request out, or answer as it was answered before."""
    repeat = repeatable(request, caller, raw)
    if repeat is None:
        return respond(await call(route, api, caller, request, raw, Ids(None)))
    answers = Answers(api.store.idempotency, api.clock, api.secrets)
    begun = await answers.begin(repeat, caller)
    if isinstance(begun, web.Response):
        return begun
    return await _first_time(answers, begun, call(route, api, caller, request, raw, Ids(repeat.seed)))


async def _first_time(answers: Answers, claim: Document, work: Awaitable[Answer]) -> web.Response:
    try:
        response = respond(await work)
    except BaseException:
        await answers.forget(claim)
        raise
    await answers.keep(claim, response)
    return response


async def stream(
    route: Route, lines: LineHandler, api: Api, caller: Caller, request: web.Request
) -> web.StreamResponse:
    """Read and answer a body of any length."""
    repeat = repeatable(request, caller, b"")
    bodyless = _call(route, api, caller, request, Ids(None))
    limiter = request.app[LimiterKey]
    return await answer_lines(
        bodyless,
        lines,
        route.status,
        repeat.seed if repeat else None,
        lambda size: limiter.pause_seconds(caller.client, size),
    )


async def call(route: Route, api: Api, caller: Caller, request: web.Request, raw: bytes, ids: Ids) -> Answer:
    """Read the parts of the request and hand them to the route."""
    bodyless = _call(route, api, caller, request, ids)
    return await route.handler(replace(bodyless, body=read(route.takes, request, raw)))


def _call(route: Route, api: Api, caller: Caller, request: web.Request, ids: Ids) -> Call:
    """The call without its body."""
    for name, value in request.match_info.items():
        check_string(value, f"/{name}")
    query = read_query(route.query, request)
    return Call(api, caller, request, request.match_info, query, Body("", None), ids, route.need)


def respond(answer: Answer) -> web.Response:
    """The HTTP response of an answer."""
    if answer.csv is not None:
        return web.Response(
            status=answer.status, body=answer.csv, content_type=CSV, charset="utf-8", headers=answer.headers
        )
    if answer.json is not None:
        return web.Response(
            status=answer.status, body=answer.json, content_type=JSON, charset="utf-8", headers=answer.headers
        )
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    text = answer.body.model_dump_json(by_alias=True)
    return web.Response(
        status=answer.status, body=text.encode(), content_type=JSON, charset="utf-8", headers=answer.headers
    )


# ---- who calls ----------------------------------------------------------------------------------------


async def authenticate(request: web.Request) -> Caller:
    """The caller; Problem 401 without a key that is known and not revoked, or a token that counts here."""
    borne = bearer_from_header(request.headers.get("Authorization"))
    if borne is None:
        raise unauthorized("An API key is needed: Authorization: Bearer sgk_…")
    presented = parse_key(borne)
    return await (by_token(request, borne) if presented is None else _by_key(request.app[ApiKey], presented))


async def _by_key(api: Api, presented: PresentedKey) -> Caller:
    stored = await api.store.people.key(presented.id)
    if not fits(stored, presented) or stored is None:
        raise unauthorized("This API key is not known, or it was revoked.")
    user = await api.store.people.user(Workspace(stored["workspace_id"]), stored["user_id"])
    if user is None or user.get("left_at") is not None:
        raise unauthorized("The user of this API key has left.")
    real_now = api.clock.real_now()
    if use_is_news(stored, real_now):
        await api.store.people.key_used(Workspace(stored["workspace_id"]), stored["_id"], real_now)
    return caller_by_key(stored, user)


async def by_token(request: web.Request, token: str) -> Caller:
    """Who is called by an access token of the organisation's provider; Problem 401, 400 or 503."""
    api = request.app[ApiKey]
    if ProviderKey not in request.app or not api.settings.oidc_audience:
        raise unauthorized("This is no API key: they begin with sgk_.")
    try:
        who = await request.app[ProviderKey].bearer(token, api.settings.oidc_audience)
    except ProviderAway as away:
        raise unavailable(str(away)) from None
    except SignInFailed:
        raise unauthorized("This token is not valid here, or no more.", REFUSED) from None
    users = await api.store.sessions.of_identity(asdict(who))
    if not users:
        raise unauthorized("Whose token this is has never signed in here: sign in to the dashboard once.")
    wanted = request.headers.get(WORKSPACE_HEADER)
    found = [each for each in users if wanted is None or str(each["workspace_id"]) == wanted.lower()]
    if len(found) != 1:
        known = ", ".join(str(each["workspace_id"]) for each in users)
        raise bad_request("which-workspace", f"Say with {WORKSPACE_HEADER} which workspace: {known}.")
    return caller_signed_in(found[0])


# ---- what came in -------------------------------------------------------------------------------------


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """The body; Problem 413 as soon as it is known to be larger than the limit, 503 where a webhook's finds
    no room.
    """
    if (request.content_length or 0) > limit_bytes:
        raise too_large(limit_bytes)
    chunks: list[bytes] = []
    size, held = 0, request.get(HeldKey)
    try:
        async for chunk in request.content.iter_chunked(CHUNK_BYTES):
            size += len(chunk)
            if size > limit_bytes:
                raise too_large(limit_bytes)
            if held is not None:
                held.add(len(chunk))
            chunks.append(chunk)
    except (web.RequestPayloadError, ConnectionError):
        # Not what its Content-Encoding or its length promised; where the client is gone, nobody reads it.
        raise bad_request(
            "broken-body", "The body breaks off, or is not encoded as its header says."
        ) from None
    return b"".join(chunks)


def read_query(model: type[BaseModel] | None, request: web.Request) -> BaseModel | None:
    """The query as the route's model; Problem 422 for what it does not know."""
    values: dict[str, str] = {}
    for name, value in request.query.items():
        check_string(name + value, f"?{name}")
        if name in values:
            raise invalid([FieldError(pointer=f"?{name}", detail="is given twice")])
        values[name] = value
    if model is None:
        if values:
            errors = [
                FieldError(pointer=f"?{name}", detail="no parameters are known here") for name in values
            ]
            raise invalid(errors)
        return None
    return _checked_query(model, values)


def _checked_query(model: type[BaseModel], values: dict[str, str]) -> BaseModel:
    try:
        query: BaseModel = made(model, values)
    except Problem as problem:
        for error in problem.details.errors:
            error.pointer = "?" + error.pointer.removeprefix("/")
        raise
    return query


def read(takes: Takes | None, request: web.Request, raw: bytes) -> Body:
    """The body as the route takes it; Problem 400, 415 or 422."""
    if takes is None:
        if raw:
            raise bad_request("unexpected-body", "No body is read here.")
        return Body("", None)
    if takes.optional and not raw:
        return Body(JSON, made(takes.model, {}) if takes.model else {})
    kind = request.content_type
    if takes.files and kind in takes.files:
        return Body(kind, raw)
    if kind == CSV and CSV in takes.also:
        return Body(CSV, read_text(raw))
    if kind in YAML_TYPES and YAML in takes.also:
        return Body(YAML, _modelled(takes, read_yaml(raw)))
    if kind == JSON and not takes.files:
        return Body(JSON, _modelled(takes, read_json(raw)))
    raise unsupported(kind, takes.content_types)


def _modelled(takes: Takes, data: object) -> object:
    return data if takes.model is None else made(takes.model, data)


def _limit(route: Route, request: web.Request) -> int:
    takes = route.takes
    if takes is None:
        return MIB  # read and refused by name, rather than left in the socket
    return takes.csv_limit if request.content_type == CSV and takes.csv_limit else takes.limit


# ---- what goes wrong ----------------------------------------------------------------------------------


@web.middleware
async def problems(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
    """Every error as problem details, every request counted."""
    began, route = time.perf_counter(), route_of(request)
    given, changes = request.headers.get(tracing.HEADER), route != "unknown" and request.method not in READING
    with tracing.working(tracing.begin(f"{request.method} {route}", parent=given, entry=changes)) as span:
        response = await _guarded(request, handler)
        span.note(status=response.status)
    telemetry.REQUESTS.labels(request.method if route != "unknown" else "any", route, response.status).inc()
    telemetry.REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)
    return response


def route_of(request: web.Request) -> str:
    """The path as the route table has it: a label with few values, and no ids in it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


async def _guarded(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        return _of_aiohttp(error)
    except Retry as error:
        log.warning("answered 503", extra=fields("api.unavailable", error=str(error)[:300]))
        return unavailable().response()
    except Exception:
        # HTTP's ladder, beside the consumer's: whatever a bug raises, the client gets problem details.
        log.exception("answered 500", extra=fields("api.bug", route=route_of(request)))
        detail = "This is a fault of ours, and it is in our log. Nothing tells whether the request was done."
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail).response()


def _of_aiohttp(error: web.HTTPException) -> web.StreamResponse:
    if error.status == HTTPStatus.NOT_FOUND:
        return not_found("resource").response()
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{error.method} is not done here; allowed: {allowed}."
        headers = {"Allow": allowed}
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", detail, headers=headers
        ).response()
    if error.status < HTTPStatus.BAD_REQUEST:
        return error
    return Problem(HTTPStatus(error.status), "http", error.reason).response()
