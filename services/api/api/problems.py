"""What the API says when it says no: problem details (RFC 9457), with a pointer to each thing to mend."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, Field

from segue_contracts.problems import DocumentError
from segue_contracts.problems import Problem as DocumentProblem

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100

_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+|\[)\.?")


class FieldError(BaseModel):
    """One thing to mend: a JSON pointer (RFC 6901) into the body, or `?name` for a query parameter."""

    pointer: str
    detail: str


class ProblemDetails(BaseModel):
    """RFC 9457. `type` is stable; `errors` is there when parts of the request are at fault."""

    type: str = Field(examples=["urn:segue:problem:not-found"])
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class Problem(Exception):
    """Ends a request with problem details; `code` becomes the stable type."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status.value} {code}: {detail}")
        self.status = status
        self.details = ProblemDetails(
            type=f"urn:segue:problem:{code}",
            title=status.phrase,
            status=status.value,
            detail=detail,
            errors=list(errors)[:MOST_ERRORS],
        )
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """The HTTP response."""
        body = self.details.model_dump_json().encode("utf-8", "replace")
        return web.Response(status=self.status, body=body, content_type=MEDIA_TYPE, headers=self.headers)


def bad_request(code: str, detail: str, errors: Iterable[FieldError] = ()) -> Problem:
    """400: it could not be read."""
    return Problem(HTTPStatus.BAD_REQUEST, code, detail, errors)


def invalid(errors: Sequence[FieldError], detail: str | None = None) -> Problem:
    """422: it was read and can't be accepted; `errors` says where and why."""
    count = "1 thing" if len(errors) == 1 else f"{len(errors)} things"
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail or f"{count} to mend, listed in errors.", errors
    )


def invalid_at(pointer: str, detail: str) -> Problem:
    """422 with one error."""
    return invalid([FieldError(pointer=pointer, detail=detail)])


def unauthorized(detail: str, challenge: str = 'Bearer realm="segue"') -> Problem:
    """401 with the challenge that RFC 9110 asks for."""
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers={"WWW-Authenticate": challenge})


def forbidden(detail: str) -> Problem:
    """403: known, but this key may not."""
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)


def not_found(what: str) -> Problem:
    """404, for what does not exist and for what belongs to another workspace alike."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"There is no such {what}.")


def conflict(code: str, detail: str) -> Problem:
    """409: the request contradicts the state of things."""
    return Problem(HTTPStatus.CONFLICT, code, detail)


def too_large(limit_bytes: int) -> Problem:
    """413; the connection is closed, since the rest of the body is not read."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        f"The body is larger than {limit_bytes} bytes, the most that is read here.",
        headers={"Connection": "close"},
    )


def unavailable(
    detail: str = "The database can't be reached at the moment. Nothing is lost: try again.",
) -> Problem:
    """503 with Retry-After."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers={"Retry-After": "2"})


def field_errors(problems: Iterable[DocumentProblem], below: str = "") -> list[FieldError]:
    """The contract's problems as JSON pointers; `below` is where the document stands in the body."""
    return [FieldError(pointer=below + pointer(each.path), detail=each.message) for each in problems]


def refused(error: DocumentError, below: str = "") -> Problem:
    """422 for a document that the contract refuses."""
    return invalid(field_errors(error.problems, below))


def pointer(path: str) -> str:
    """The JSON pointer of a contract path: `stages[1].after` is `/stages/1/after`."""
    parts = (index or name for index, name in _PART.findall(path))
    return "".join("/" + escape(part) for part in parts)


def escape(part: str) -> str:
    """One reference token of a JSON pointer (RFC 6901, section 3)."""
    return part.replace("~", "~0").replace("/", "~1")
