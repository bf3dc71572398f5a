"""What a route is: method, path, scope, what goes in and comes out; the OpenAPI document reads it too."""

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4, uuid5

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from api.access import NEEDED, Right
from api.comparing import Comparing
from api.counting import Counting
from api.courier import Courier
from api.keys import Caller, KeyScope
from api.problems import field_errors, invalid, not_found
from api.reads import Reads
from api.resolver import Dns
from api.settings import ApiSettings
from api.store import Store
from chassis.clock import Clock
from chassis.desk import Asks
from chassis.erasure import Erasures
from chassis.hosts import Guard
from chassis.secrets import Secrets
from segue_contracts.problems import problems_of

JSON = "application/json"
YAML = "application/yaml"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
KIB = 1024
MIB = 1024 * 1024


class Closed(BaseModel):
    """A request's part: unknown names are refused with the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Empty(Closed):
    """An empty object, or no body at all."""


class Shown(BaseModel):
    """An answer's part; made from a document or a read model."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)


@dataclass(frozen=True, slots=True)
class Api:
    """What handlers work with; built in wiring."""

    settings: ApiSettings
    clock: Clock
    secrets: Secrets
    store: Store
    reads: Reads
    courier: Courier
    counting: Counting
    comparing: Comparing
    scheduler: Asks
    dns: Dns
    guard: Guard
    erasures: Erasures

    def url(self, path: str) -> str:
        """A link for clients."""
        return self.settings.base_url + path


class Ids:
    """Ids for what a request makes; under an Idempotency-Key a repetition gets the same ones."""

    def __init__(self, seed: UUID | None) -> None:
        self._seed = seed
        self._count = 0

    def next(self) -> UUID:
        """The next id; random unless the request can be repeated."""
        self._count += 1
        return uuid4() if self._seed is None else uuid5(self._seed, str(self._count))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a stream: its number from 1, its bytes, and the ids for what it makes."""

    number: int
    raw: bytes
    ids: Ids = field(default_factory=lambda: Ids(None))


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it came: `data` is the model's instance, plain data where the route has no model, text, or
    the bytes of a file.
    """

    content_type: str
    data: Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request that may be served: authenticated, in scope, its parts read and checked.

    `if_match`: what a page of ours says instead of the header, which forms can't set.
    """

    api: Api
    caller: Caller
    request: web.Request
    path: Mapping[str, str]
    query: Any
    body: Body
    ids: Ids
    need: Right = Right.READ
    if_match: str | None = None

    def uuid(self, name: str, what: str) -> UUID:
        """A path parameter that is an id; what is none names nothing, hence 404."""
        try:
            return UUID(self.path[name])
        except ValueError:
            raise not_found(what) from None

    def number(self, name: str, what: str) -> int:
        """A path parameter that counts from 1."""
        text = self.path[name]
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise not_found(what)
        return int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler returns; None is an empty body."""

    body: BaseModel | None = None
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    csv: AsyncIterable[bytes] | None = None  # in place of a body, sent while it is read
    json: AsyncIterable[bytes] | None = None  # likewise


Handler = Callable[[Call], Awaitable[Answer]]
LineHandler = Callable[[Call], Awaitable[Callable[[Sequence[Line]], Awaitable[Sequence[BaseModel]]]]]
"""Checks a request whose body is a stream, before its first line; what it returns answers lines, in order,
once they are durable.
"""


@dataclass(frozen=True, slots=True)
class Takes:
    """What a route reads: `model` for JSON and YAML, None for plain data; `schema_of` is documented.

    `files`: the content types of bodies that are handed over as they are, in place of all that.
    """

    model: type[BaseModel] | None = None
    schema_of: type[BaseModel] | None = None
    also: tuple[str, ...] = ()
    limit: int = 256 * KIB
    csv_limit: int = 0
    optional: bool = False
    files: tuple[str, ...] = ()

    @property
    def content_types(self) -> tuple[str, ...]:
        """What is understood."""
        return self.files or (JSON, *self.also)


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the route table; `right` is what it needs of a sequence that it is about;
    `lines` takes a stream in place of the body.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: KeyScope
    answer: type[BaseModel] | None = None
    status: HTTPStatus = HTTPStatus.OK
    query: type[BaseModel] | None = None
    takes: Takes | None = None
    tag: str = ""
    also: tuple[HTTPStatus, ...] = ()
    gives_csv: bool = False
    right: Right | None = None
    lines: LineHandler | None = None

    @property
    def need(self) -> Right:
        """The right to the sequence."""
        return self.right or NEEDED[self.scope]


def made(model: type[BaseModel], data: Any, below: str = "") -> Any:
    """An instance of `model`; Problem 422 with a pointer for everything that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(field_errors(problems_of(error, model), below)) from None
