"""The API's reference, for people: pages made from the OpenAPI document, open to anybody."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from markupsafe import Markup, escape

from api import openapi
from api.dashboard.views import page_html
from api.dashboard.visit import SECURITY_HEADERS
from api.problems import not_found
from api.routing import JSON

PATH: Final = "/reference"
CACHE_SECONDS: Final = 300
MOST_DEPTH: Final = 3
"""How far the fields of fields are listed."""
MOST_FIELDS: Final = 60
MOST_EXAMPLE_DEPTH: Final = 4
PROBLEMS: Final[Mapping[int, str]] = {
    400: "The body, a cursor or a header could not be read.",
    401: "No API key, or none that is known.",
    403: "The key's scope, or the user's right to this sequence, does not reach.",
    404: "There is no such thing, or you may not know of it.",
    409: "It contradicts how things are now.",
    412: "It changed since you read it (If-Match).",
    413: "The body is larger than what is read here.",
    415: "Another Content-Type is wanted.",
    422: "It was read and can't be accepted; errors has a pointer for each thing to mend.",
    429: "The key sends too many requests; Retry-After says when to go on.",
    500: "A fault of ours; nothing tells whether the request was done.",
    503: "Something that is needed is away; nothing is lost, try again after Retry-After.",
}
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter or a part of a body; parts of parts have names such as `stages[].channel`."""

    name: str
    type: str
    required: bool
    about: Markup


@dataclass(frozen=True, slots=True)
class Shape:
    """What a body holds, and as which content types it comes."""

    types: str
    fields: Sequence[Field]
    more: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer that is no problem."""

    status: int
    phrase: str
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    summary: str
    about: Markup
    parameters: Sequence[Field]
    body: Shape | None
    replies: Sequence[Reply]
    problems: Sequence[int]
    curl: str


@dataclass(frozen=True, slots=True)
class Group:
    """The operations of one tag."""

    name: str
    slug: str
    operations: Sequence[Operation]


# ---- pages --------------------------------------------------------------------------------------------


def add_reference(app: web.Application) -> None:
    """Serve the pages: no sign-in, for the same words are in the repository."""
    app.router.add_get(PATH, _index)
    app.router.add_get(PATH + "/{group}", _group)


async def _index(request: web.Request) -> web.StreamResponse:
    return _page(request, "")


async def _group(request: web.Request) -> web.StreamResponse:
    return _page(request, request.match_info["group"])


def _page(request: web.Request, slug: str) -> web.StreamResponse:
    body = pages().get(slug)
    if body is None:
        raise not_found("part of the reference")
    tag = f'"{sha256(body).hexdigest()[:16]}"'
    headers = {**SECURITY_HEADERS, "Cache-Control": f"public, max-age={CACHE_SECONDS}", "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


@cache
def pages() -> Mapping[str, bytes]:
    """Every page by its slug, the first one by none; the document is the same as long as the process."""
    document = openapi.document()
    found = groups(document)
    common = {"groups": found, "info": document["info"], "about": words(document["info"]["description"])}
    made = {"": page_html("reference.html", group=None, problems=_known_problems(), **common)}
    made |= {each.slug: page_html("reference.html", group=each, problems=(), **common) for each in found}
    return {slug: html.encode() for slug, html in made.items()}


def _known_problems() -> Sequence[tuple[int, str, str]]:
    return [(status, HTTPStatus(status).phrase, about) for status, about in PROBLEMS.items()]


# ---- the document, read -------------------------------------------------------------------------------


def groups(document: Json) -> list[Group]:
    """The operations by tag, in the document's order."""
    read = _Reader(document)
    by_tag: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append(read.operation(method.upper(), path, operation))
    return [Group(tag, slug_of(tag), found) for tag, found in by_tag.items()]


def slug_of(tag: str) -> str:
    """A tag as a part of a URL."""
    return re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")


def words(text: str) -> Markup:
    """Text of the document, with what stands in backticks as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )


class _Reader:
    """Reads operations of one document."""

    def __init__(self, document: Json) -> None:
        self._schemas: Json = document["components"]["schemas"]

    def operation(self, method: str, path: str, found: Json) -> Operation:
        body = found.get("requestBody")
        is_ours = "security" not in found
        return Operation(
            id=found["operationId"],
            method=method,
            path=path,
            summary=found["summary"],
            about=words(found["description"]),
            parameters=[
                self._field(each["name"], each["schema"], each["required"], each.get("description", ""))
                for each in found["parameters"]
            ],
            body=self._shape(body["content"]) if body else None,
            replies=[
                Reply(int(status), reply["description"], self._shape(reply.get("content", {})))
                for status, reply in found["responses"].items()
                if status != "default"
            ],
            problems=_problems(method, path, found) if is_ours else (),
            curl=self._curl(method, path, body) if is_ours else "",
        )

    def _shape(self, content: Json) -> Shape | None:
        if not content:
            return None
        schema = content.get(JSON, {}).get("schema", {})
        fields = list(self._fields(schema, "", 0))
        return Shape(", ".join(content), fields[:MOST_FIELDS], len(fields) > MOST_FIELDS)

    def _fields(self, schema: Json, before: str, depth: int) -> Iterator[Field]:
        """The fields of an object, each followed by its own; of a list those of its items."""
        whole = self._resolved(schema)
        if depth >= MOST_DEPTH:
            return
        if "items" in whole:
            yield from self._fields(whole["items"], before + "[]", depth)
        for branch in whole.get("anyOf", whole.get("oneOf", ())):
            yield from self._fields(branch, before, depth)
        for name, each in whole.get("properties", {}).items():
            full = f"{before}.{name}".removeprefix(".")
            yield self._field(full, each, name in whole.get("required", ()), each.get("description", ""))
            yield from self._fields(each, full, depth + 1)

    def _field(self, name: str, schema: Json, required: bool, about: str) -> Field:
        return Field(name, self._type(schema), required, words(about or schema.get("description", "")))

    def _type(self, schema: Json) -> str:
        """A type in a few words."""
        whole = self._resolved(schema)
        if "const" in whole or "enum" in whole:
            return " · ".join(map(str, whole.get("enum", [whole.get("const")])))
        if branches := whole.get("anyOf", whole.get("oneOf")):
            return " or ".join(dict.fromkeys(self._type(each) for each in branches))
        kind = whole.get("type", "anything")
        if kind == "array":
            return f"list of {self._type(whole.get('items', {}))}"
        limits = _limits(whole)
        return f"{whole.get('format', kind)}{limits}"

    def _resolved(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    # ---- an example -----------------------------------------------------------------------------------

    def _curl(self, method: str, path: str, body: Json | None) -> str:
        """A request as one would type it; ids are variables of the shell."""
        place = re.sub(r"{(\w+)}", lambda name: f"${name[1].upper()}", path)
        parts = [f'curl -s "$SEGUE{place}"', '-H "Authorization: Bearer $KEY"']
        if method != "GET":
            parts[0] = parts[0].replace("curl -s", f"curl -s -X {method}")
        if body is not None and JSON in body["content"]:
            example = self._example(body["content"][JSON]["schema"], 0)
            parts += [f"-H 'Content-Type: {JSON}'", f"-d {_quoted(example)}"]
        elif body is not None and body["required"]:
            kind = next(iter(body["content"]))
            parts += [f"-H 'Content-Type: {kind}'", "--data-binary @file"]
        return " \\\n  ".join(parts)

    def _example(self, schema: Json, depth: int) -> Any:
        """A value of that shape: what is required, or else the first thing that may be given."""
        for given in (schema, self._resolved(schema)):
            if found := given.get("examples"):
                return found[0]
            if given.get("default") not in (None, "", []):
                return given["default"]
        whole = self._resolved(schema)
        if "const" in whole or "enum" in whole:
            return whole.get("const", whole.get("enum", [None])[0])
        if branches := whole.get("anyOf", whole.get("oneOf")):
            return self._example(branches[0], depth)
        if whole.get("type") == "object":
            return self._example_object(whole, depth)
        if whole.get("type") == "array":
            return [self._example(whole.get("items", {}), depth + 1)] if depth < MOST_EXAMPLE_DEPTH else []
        return _example_of_value(whole)

    def _example_object(self, whole: Json, depth: int) -> Any:
        properties: Json = whole.get("properties", {})
        if depth >= MOST_EXAMPLE_DEPTH:
            return {}
        names = whole.get("required") or list(properties)[:1]
        return {name: self._example(properties[name], depth + 1) for name in names if name in properties}


_EXAMPLES: Final[Mapping[str, Any]] = {
    "uuid": "00000000-0000-4000-8000-000000000000",
    "date-time": "2027-01-04T09:00:00Z",
    "date": "2027-01-04",
    "uri": "https://ourco.example/",
    "email": "ana@ourco.example",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "string": "...",
    "null": None,
}


def _example_of_value(schema: Json) -> Any:
    kind = str(schema.get("format", schema.get("type", "string")))
    found = _EXAMPLES.get(kind, _EXAMPLES.get(str(schema.get("type")), "..."))
    return max(found, schema.get("minimum", found)) if kind in ("integer", "number") else found


def _quoted(example: Any) -> str:
    text = json.dumps(example, ensure_ascii=False)
    return "'" + text.replace("'", "'\\''") + "'"


def _limits(schema: Json) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least} to {most}"
    if least is not None:
        return f", {least} or more"
    if (length := schema.get("maxLength")) is not None:
        return f", at most {length} characters"
    return f", at most {most}" if most is not None else ""


def _problems(method: str, path: str, operation: Json) -> Sequence[int]:
    """The statuses with which what surrounds every route may answer; 409 and others are the route's own."""
    has_body = "requestBody" in operation
    has_match = any(each["name"] == "If-Match" for each in operation["parameters"])
    known = {
        400: has_body or method == "GET",
        404: "{" in path,
        409: method != "GET",
        412: has_match,
        413: has_body,
        415: has_body,
        422: bool(operation["parameters"]) or has_body,
    }
    return [status for status in PROBLEMS if known.get(status, True)]
