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

    async def put(self, path: str, body: Any) -> Json:
        """PUT JSON."""
        async with self._session.put(path, json=body) as answer:
            return await _checked(answer)

    async def delete(self, path: str) -> Json:
        """DELETE."""
        async with self._session.delete(path) as answer:
            return await _checked(answer)

    async def post_text(self, path: str, text: str, content_type: str) -> Json:
        """POST YAML or CSV."""
        headers = {"Content-Type": content_type}
        async with self._session.post(path, data=text.encode(), headers=headers) as answer:
            return await _checked(answer)

    async def receive(self, mailbox: Mapping[str, Any], raw: bytes, *, at: float | None = None) -> Json:
        """Hand in a raw message that arrived for a mailbox, signed as its provider would.

        `at` is when it was signed, in Unix seconds; default: now.
        """
        stamp = str(int(time.time() if at is None else at))
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

    async def connect(self, address: str, host: str, port: int, *, imap: Json | None = None) -> Json:
        """Connect a mailbox that sends through a mail server on this machine; with its `inbound_secret`.

        `imap` is where answers are looked for.
        """
        smtp = {"host": host, "port": port, "security": "none"}
        return await self.post("/v1/mailboxes", {"address": address, "smtp": smtp, "imap": imap})

    async def publish(self, document: str) -> str:
        """Save a sequence written in YAML; its id."""
        sequence = await self.post_text("/v1/sequences", document, "application/yaml")
        return str(sequence["id"])

    async def enroll(self, sequence: str, who: str, **fields: Any) -> str:
        """Enroll one person, by default `<who>@there.example` with a phone; the enrollment's id."""
        return str((await self._enroll(sequence, who, fields))["enrollment_id"])

    async def refusal(self, sequence: str, who: str, **fields: Any) -> list[Json]:
        """Enroll as `enroll` does; the reasons for which the scheduler refused it."""
        command = (await self._enroll(sequence, who, fields))["command_id"]
        refused = await eventually(
            lambda: self.get(f"/v1/commands/{command}"), until=lambda c: c["state"] == "refused"
        )
        reasons: list[Json] = refused["reasons"]
        return reasons

    async def _enroll(self, sequence: str, who: str, fields: Json) -> Json:
        person = {"external_id": who, "email": f"{who}@there.example", "first_name": who.title()}
        prospect = {**person, "phone": "+49 30 123456", **fields}
        answer = await self.post(f"/v1/sequences/{sequence}/enrollments", {"prospect": prospect})
        accepted: Json = answer["accepted"][0]
        return accepted

    async def enrollment(self, enrollment_id: str) -> Json:
        """The enrollment; one that is not there yet has the state `unknown`."""
        try:
            return await self.get(f"/v1/enrollments/{enrollment_id}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return {"state": "unknown"}

    async def reached(self, enrollment_id: str, *states: str, seconds: float = 30.0) -> Json:
        """The enrollment, once it is in one of these states."""
        return await eventually(
            lambda: self.enrollment(enrollment_id), until=lambda e: e["state"] in states, seconds=seconds
        )


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
