"""Questions between services: JSON over HTTP with a secret that both know, bounded in size and time."""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from chassis.errors import Reject, Retry
from chassis.inquiries import Asked, Question, Told
from chassis.secrets import Secrets
from chassis.telemetry import counter, fields

log = logging.getLogger(__name__)

HEADER = "Segue-Internal"
MAX_QUESTION_BYTES = 8 * 1024 * 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
ANSWER_SECONDS = 10.0
TOO_MUCH = "too_much"

QUESTIONS = counter("segue_internal_questions", "Questions of other services", ["question", "answer"])


def token(secrets: Secrets) -> str:
    """What proves that a question comes from a service of ours; the same over key rotations."""
    return secrets.keyed("internal-http").hex()


@dataclass(frozen=True, slots=True)
class _Entry:
    question: Question[Any, Any]
    answer: Callable[[Any], Awaitable[Any]]


class Desk:
    """Where a service is asked: `app` serves `POST /internal/{question}`, 503 until the desk is open.

    An answer may raise Retry (not now), or Reject(too_much) before it has become too large.
    """

    def __init__(self, secrets: Secrets, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._token = token(secrets).encode()
        self._answer_seconds = answer_seconds
        self._entries: dict[str, _Entry] = {}
        self._open = False
        self.app = web.Application(client_max_size=MAX_QUESTION_BYTES)
        self.app.router.add_post("/internal/{question}", self._serve)

    def take(
        self, question: Question[Asked, Told], answer: Callable[[Asked], Awaitable[Told | None]]
    ) -> None:
        """Answer this kind of question; None is an answer too: there is no such thing."""
        self._entries[question.name] = _Entry(question, answer)

    def open(self) -> None:
        """Everything is wired."""
        self._open = True

    async def _serve(self, request: web.Request) -> web.Response:
        given = request.headers.get(HEADER, "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._token):
            return _no("unknown", HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        if not self._open:
            return _no("unknown", HTTPStatus.SERVICE_UNAVAILABLE, "still starting")
        entry = self._entries.get(request.match_info["question"])
        if entry is None:
            return _no("unknown", HTTPStatus.NOT_FOUND, "this is not answered here")
        return await self._answer(entry, await request.read())

    async def _answer(self, entry: _Entry, raw: bytes) -> web.Response:
        name = entry.question.name
        try:
            asked = entry.question.asked.model_validate_json(raw)
        except ValidationError as error:
            return _no(name, HTTPStatus.UNPROCESSABLE_ENTITY, f"{error.error_count()} parts can't be read")
        try:
            async with asyncio.timeout(self._answer_seconds):
                told = await entry.answer(asked)
        except (Retry, TimeoutError) as error:
            log.warning("not answered", extra=fields("desk.retry", question=name, error=str(error)[:300]))
            return _no(name, HTTPStatus.SERVICE_UNAVAILABLE, "not at the moment")
        except Reject as error:
            return _no(name, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.code)
        body = b"null" if told is None else told.model_dump_json().encode()
        if len(body) > MAX_ANSWER_BYTES:
            return _no(name, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the answer would be too large")
        QUESTIONS.labels(name, HTTPStatus.OK.value).inc()
        return web.Response(body=body, content_type="application/json")


class Asks:
    """Asks another service's desk; connects with the first question."""

    def __init__(self, url: str, secrets: Secrets, *, seconds: float) -> None:
        self._url = url.rstrip("/")
        self._headers = {HEADER: token(secrets), "Content-Type": "application/json"}
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, question: Question[Asked, Told], asked: Asked) -> Told | None:
        """The answer; Reject(too_much) if it would be too large, Retry if there is none now."""
        try:
            status, body = await self._post(f"{self._url}/internal/{question.name}", asked.model_dump_json())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retry(f"{question.name}: {type(error).__name__}") from error
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise Reject(TOO_MUCH)
        if status != HTTPStatus.OK:
            raise Retry(f"{question.name}: answered {status}")
        if body == b"null":
            return None
        try:
            return question.told.model_validate_json(body)
        except ValidationError as error:
            raise Retry(f"{question.name}: {error.error_count()} parts of the answer can't be read") from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: str, body: str) -> tuple[int, bytes]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._seconds)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        async with self._session.post(url, data=BytesIO(body.encode()), allow_redirects=False) as response:
            return response.status, await response.read()


def _no(question: str, status: HTTPStatus, why: str) -> web.Response:
    QUESTIONS.labels(question, status.value).inc()
    return web.Response(status=status, text=why)
