"""Idempotency-Key on POST: the same request again gets the same answer and makes nothing twice.

Source: the IETF draft idempotency-key-header, section 2.
"""

import hashlib
import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID, uuid4, uuid5

from aiohttp import web

from api.keys import Caller
from api.problems import MEDIA_TYPE as PROBLEM
from api.problems import Problem, bad_request, conflict
from api.store import Idempotency
from chassis.clock import Clock
from chassis.secrets import Secrets
from chassis.store import Document
from segue_contracts.ids import NAMESPACE

HEADER = "Idempotency-Key"
HOLDER_IS_GONE_AFTER = timedelta(seconds=120)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that says that it may come again; `body_hash` tells another request under the same key."""

    id: str
    body_hash: str
    seed: UUID


def repeatable(request: web.Request, caller: Caller, raw: bytes) -> Repeatable | None:
    """None without the header; Problem 400 for a key that can't be one."""
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return None
    if not _KEY.fullmatch(key):
        raise bad_request("bad-idempotency-key", f"{HEADER} is 1 to 200 visible ASCII characters.")
    place = f"{caller.client}\n{request.method} {request.rel_url.raw_path_qs}\n{key}"
    body_hash = hashlib.sha256(request.content_type.encode() + b"\n" + raw).hexdigest()
    # The body is part of the seed: a key that is forgotten after a day must not make ids that are taken.
    return Repeatable(
        hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest(),
        body_hash,
        uuid5(NAMESPACE, f"idempotency/{place}/{body_hash}"),
    )


class Answers:
    """The answers given so far, encrypted, since some hold a secret that is told once."""

    def __init__(self, store: Idempotency, clock: Clock, secrets: Secrets) -> None:
        self._store = store
        self._clock = clock
        self._secrets = secrets

    async def begin(self, what: Repeatable, caller: Caller) -> Document | web.Response:
        """A claim to carry the request out, or the answer that was given already; Problem 409 otherwise."""
        claim: Document = {
            "_id": what.id,
            "workspace_id": caller.workspace,
            "body_hash": what.body_hash,
            "token": uuid4(),
            "started_at": self._clock.real_now(),
            "answer": None,
        }
        stored = await self._store.claim(claim)
        if stored is None:
            return claim
        if stored["body_hash"] != what.body_hash:
            raise conflict("idempotency-key-reused", f"This {HEADER} came with another body before.")
        if stored["answer"] is not None:
            return self._replay(stored["answer"])
        is_gone = claim["started_at"] - stored["started_at"] > HOLDER_IS_GONE_AFTER
        if is_gone and await self._store.take_over(stored, claim):
            return claim
        raise in_progress()

    async def keep(self, claim: Document, response: web.Response) -> None:
        """Remember a success."""
        body = response.body if isinstance(response.body, bytes) else b""
        packed = b64encode(zlib.compress(body, 1)).decode()
        answer = {
            "status": response.status,
            "content_type": response.content_type,
            "headers": {
                name: response.headers[name] for name in ("Location", "ETag") if name in response.headers
            },
            "body": self._secrets.encrypt(packed),
        }
        await self._store.answered(claim, answer)

    async def forget(self, claim: Document) -> None:
        """The request failed: the next one with this key is a first one."""
        await self._store.release(claim)

    async def forget_words(self, workspace: UUID, named: Callable[[str], bool]) -> int:
        """Whoever asks again gets 410 instead of an answer that names somebody; how many answers did."""
        count = 0
        async for claim in self._store.answers(workspace):
            if named(self._text(claim["answer"])):
                await self._store.answered(claim, self._gone())
                count += 1
        return count

    def _gone(self) -> Document:
        detail = "What was answered to this request named a person who was erased since."
        body = Problem(HTTPStatus.GONE, "erased", detail).details.model_dump_json().encode()
        return {
            "status": HTTPStatus.GONE.value,
            "content_type": PROBLEM,
            "headers": {},
            "body": self._secrets.encrypt(b64encode(zlib.compress(body, 1)).decode()),
        }

    def _text(self, answer: Document) -> str:
        """Empty for an answer whose key is gone: nobody reads it any more."""
        try:
            return self._body(answer).decode("utf-8", "replace")
        except ValueError:
            return ""

    def _body(self, answer: Document) -> bytes:
        return zlib.decompress(b64decode(self._secrets.decrypt(answer["body"])))

    def _replay(self, answer: Document) -> web.Response:
        body = self._body(answer)
        return web.Response(
            status=answer["status"],
            body=body,
            content_type=answer["content_type"],
            headers={**answer["headers"], "Idempotent-Replayed": "true"},
        )


def in_progress() -> Problem:
    """409 while the first request with the key is being carried out."""
    problem = conflict("in-progress", f"A request with this {HEADER} is being carried out: ask again.")
    return Problem(HTTPStatus.CONFLICT, "in-progress", problem.details.detail, headers={"Retry-After": "2"})
