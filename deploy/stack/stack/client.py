"""A small client of the HTTP API, as the demo and the end-to-end tests use it."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from stack.system import Access

T = TypeVar("T")
Json = dict[str, Any]
LOOK_SECONDS = 0.1


class Refused(Exception):
    """The API said no; `status` and `problem` are its answer."""

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


class Client:
    """Speaks for one workspace."""

    def __init__(self, url: str, access: Access) -> None:
        self._url = url
        self._key = access.api_key

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(self._url, headers={"Authorization": f"Bearer {self._key}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        """The document at `path`."""
        async with self._session.get(path, params=query) as answer:
            return await _checked(answer)

    async def post(self, path: str, body: Any = None) -> Json:
        """POST JSON."""
        async with self._session.post(path, json={} if body is None else body) as answer:
            return await _checked(answer)

    async def post_text(self, path: str, text: str, content_type: str) -> Json:
        """POST YAML or CSV."""
        headers = {"Content-Type": content_type}
        async with self._session.post(path, data=text.encode(), headers=headers) as answer:
            return await _checked(answer)

    async def receive(self, mailbox: Mapping[str, Any], raw: bytes) -> Json:
        """Hand in a raw message that arrived for a mailbox, signed as its provider would."""
        stamp = str(int(time.time()))
        digest = hmac.new(
            mailbox["inbound_secret"].encode(), stamp.encode() + b"." + raw, hashlib.sha256
        ).hexdigest()
        headers = {
            "Content-Type": "message/rfc822",
            "Segue-Timestamp": stamp,
            "Segue-Signature": f"v1={digest}",
        }
        async with self._session.post(f"/v1/inbound/{mailbox['id']}", data=raw, headers=headers) as answer:
            return await _checked(answer)


async def eventually(
    look: Callable[[], Awaitable[T]], *, until: Callable[[T], bool], seconds: float = 30.0
) -> T:
    """Look again and again until it is so; AssertionError with the last look after `seconds`."""
    ends = time.monotonic() + seconds
    seen = await look()
    while not until(seen):
        assert time.monotonic() < ends, f"after {seconds} s still: {seen}"
        await asyncio.sleep(LOOK_SECONDS)
        seen = await look()
    return seen


async def _checked(answer: aiohttp.ClientResponse) -> Json:
    body: Json = await answer.json(content_type=None) if answer.status != 204 else {}
    if answer.status >= 400:
        raise Refused(answer.status, body)
    return body
