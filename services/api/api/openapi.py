"""The OpenAPI 3.1 document, generated from the route table and the pydantic models."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.idempotency import HEADER
from api.preconditions import WRITES, edited
from api.problems import MEDIA_TYPE as PROBLEM
from api.problems import ProblemDetails
from api.routes import ROUTES
from api.routing import CSV, JSON, NDJSON, Route, Takes
from api.webhooks import SCHEMES, WEBHOOKS, Webhook

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
DESCRIPTION = """\
Outreach sequences that stop the moment a person answers.

What changes something that runs is a command: it is stored, answered with 202 and the address of its
status page, and carried out from there; once you have the 202 it is not lost. Errors are problem details
(RFC 9457) with a JSON pointer for every part to mend. Lists come in pages: follow `next_cursor`. A POST
with an `Idempotency-Key` can be sent again without harm. Times are RFC 3339 in UTC."""
_EDITED = edited(ROUTES)
_UUID: Json = {"type": "string", "format": "uuid"}
_LINES: Json = {"schema": {"type": "string", "description": "A JSON object a line, answered line by line"}}
_WEBHOOK_BODIES: Mapping[str, Json] = {"message/rfc822": {"type": "string"}}
PATH_PARAMETERS: Mapping[str, Json] = {
    "version": {"type": "integer", "minimum": 1},
    "dispatch_id": {"type": "string", "maxLength": 128, "examples": ["<enrollment id>:<stage id>"]},
    "external_id": {"type": "string", "minLength": 1, "maxLength": 200},
    "company_key": {"type": "string", "minLength": 1, "maxLength": 200},
    "suppression_id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}


def document(base_url: str = "/") -> Json:
    """The whole document."""
    refs, definitions = _schemas()
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    for webhook in WEBHOOKS:
        paths.setdefault(webhook.path, {})["post"] = _webhook(webhook, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Segue", "version": version("api"), "description": DESCRIPTION},
        "servers": [{"url": base_url}],
        "security": [{"key": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys([*(route.tag for route in ROUTES), "Inbound"])],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key: sgk_…"},
                **SCHEMES,
            },
        },
    }


def text() -> bytes:
    """The document as it is checked in."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


# ---- schemas ------------------------------------------------------------------------------------------

Refs = Mapping[Any, Json]


def _schemas() -> tuple[Refs, Json]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (ProblemDetails, "serialization"): None,
    }
    for webhook in WEBHOOKS:
        if webhook.answer is not None:
            wanted[webhook.answer, "serialization"] = None
    for route in ROUTES:
        if route.answer is not None:
            wanted[route.answer, "serialization"] = None
        if route.takes is not None and (body := _body_model(route.takes)) is not None:
            wanted[body, "validation"] = None
    refs, found = models_json_schema(list(wanted), ref_template=REF)
    definitions: Json = dict(found.get("$defs", {}))
    for route in ROUTES:
        if route.query is not None:
            definitions |= route.query.model_json_schema(ref_template=REF).get("$defs", {})
    return dict(refs), definitions


def _body_model(takes: Takes) -> type[BaseModel] | None:
    return takes.schema_of or takes.model


# ---- operations ---------------------------------------------------------------------------------------


def _operation(route: Route, refs: Refs) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": f"{(route.handler.__doc__ or '').strip()} Needs the scope `{route.scope.value}`.",
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _responses(route, refs),
    }
    if route.takes is not None:
        operation["requestBody"] = _request_body(route.takes, refs)
    if route.lines is not None:
        operation["requestBody"]["content"][NDJSON] = _LINES
        operation["responses"][str(int(route.status))]["content"][NDJSON] = _LINES
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-zA-Z_]+", route.path.removeprefix("/v1"))
    return "_".join([route.method.lower(), *words]).replace("-", "_")


def _path_parameters(route: Route) -> Iterable[Json]:
    for name in re.findall(r"{(\w+)}", route.path):
        yield {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS.get(name, _UUID)}


def _query_parameters(route: Route) -> Iterable[Json]:
    if route.query is None:
        return
    found = route.query.model_json_schema(ref_template=REF)
    for name, schema in found["properties"].items():
        required = name in found.get("required", ())
        yield {"name": name, "in": "query", "required": required, "schema": schema}


def _header_parameters(route: Route) -> Iterable[Json]:
    if route.method == "POST":
        yield _header(HEADER, "The same key and body again is answered as before, for a day")
    is_sequence = route.tag == "Sequences" and (route.method == "PUT" or route.path.endswith("/archive"))
    if is_sequence or (route.method in WRITES and route.path in _EDITED):
        yield _header("If-Match", "The ETag that you read: 412 if it changed since")


def _header(name: str, description: str) -> Json:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


def _request_body(takes: Takes, refs: Refs) -> Json:
    if takes.files:
        binary = {"schema": {"type": "string", "format": "binary", "maxLength": takes.limit}}
        return {"required": True, "content": dict.fromkeys(takes.files, binary)}
    model = _body_model(takes)
    schema = refs[model, "validation"] if model is not None else {}
    content: Json = {kind: {"schema": schema} for kind in takes.content_types if kind != CSV}
    if CSV in takes.also:
        content[CSV] = {"schema": {"type": "string", "description": "A header row, then one of them a row"}}
    return {"required": not takes.optional, "content": content}


def _responses(route: Route, refs: Refs) -> Json:
    done: Json = {"description": HTTPStatus(route.status).phrase}
    if route.answer is not None:
        done["content"] = {JSON: {"schema": refs[route.answer, "serialization"]}}
    if route.gives_csv:
        done["content"] = {CSV: {"schema": {"type": "string"}}}
    statuses = {str(int(status)): {**done, "description": status.phrase} for status in route.also}
    return {str(int(route.status)): done, **statuses, "default": _problem(refs)}


def _problem(refs: Refs) -> Json:
    schema = refs[ProblemDetails, "serialization"]
    return {"description": "What is wrong", "content": {PROBLEM: {"schema": schema}}}


def _webhook(webhook: Webhook, refs: Refs) -> Json:
    done: Json = {"description": "It is stored"}
    if webhook.answer is not None:
        done["content"] = {JSON: {"schema": refs[webhook.answer, "serialization"]}}
    headers = [
        {**_header(name, description), "required": True, "schema": {"type": "string", "pattern": pattern}}
        for name, description, pattern in webhook.headers
    ]
    names = re.findall(r"{(\w+)}", webhook.path)
    path = [{"name": name, "in": "path", "required": True, "schema": _UUID} for name in names]
    return {
        "operationId": webhook.operation,
        "summary": webhook.summary,
        "description": webhook.description,
        "tags": ["Inbound"],
        "security": [{webhook.proof: []}] if webhook.proof else [],
        "parameters": [*path, *headers],
        "requestBody": {
            "required": True,
            "description": f"At most {webhook.limit_bytes} bytes",
            "content": {kind: {"schema": _WEBHOOK_BODIES.get(kind, {})} for kind in webhook.takes},
        },
        "responses": {str(int(webhook.status)): done, "default": _problem(refs)},
    }
