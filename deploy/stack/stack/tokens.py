"""An OAuth 2.0 provider on loopback: refresh tokens for access tokens (RFC 6749 6), and what those are worth.

async with TokenServer(rotates=True) as provider:
    given = provider.granted("ana@ourco.example")
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_urlsafe
from types import TracebackType
from typing import Any, Self

from aiohttp import web

CLIENT_ID = "segue"
CLIENT_SECRET = "the client's own secret"  # noqa: S105 - it guards nothing
SCOPE = "mail"
PIECES_APART = 50
"""Turns of the loop."""


@dataclass(frozen=True, slots=True)
class Fails:
    """An answer in place of the right one."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class TokenServer:
    """Keeps who granted what. `rotates`: each refresh token works once, and its second use ends the grant, as
    RFC 9700 4.14.2 has it. `answers` come first, once each; while `gate` is not set, nobody is answered.
    """

    def __init__(self, *, rotates: bool = False, life_seconds: int | None = 3600) -> None:
        self.rotates = rotates
        self.life_seconds = life_seconds
        self.answers: deque[Fails] = deque()
        self.asked: list[dict[str, str]] = []
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._now_asking = 0
        self._refresh: dict[str, str] = {}  # token to user
        self._spent: dict[str, str] = {}
        self._access: dict[str, str] = {}
        application = web.Application()
        application.router.add_post("/token", self._token)
        application.router.add_post("/introspect", self._introspect)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/token"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        await self._runner.cleanup()

    @property
    def introspection_url(self) -> str:
        """Where a mail server asks what an access token is worth (RFC 7662)."""
        return self.url.removesuffix("/token") + "/introspect"

    def granted(self, user: str) -> dict[str, Any]:
        """What connects a mailbox, as the API takes it, after its user said yes."""
        token = f"refresh-{token_urlsafe(12)}"
        self._refresh[token] = user
        return {
            "token_endpoint": self.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": token,
            "scopes": [SCOPE],
        }

    def is_good(self, user: str, access_token: str) -> bool:
        """Whether an access token opens this user's mailbox."""
        return self._access.get(access_token) == user

    def expire(self) -> None:
        """No access token is worth anything any more; refresh tokens are."""
        self._access.clear()

    def take_back(self, user: str) -> None:
        """The user wants no more of it."""
        for tokens in (self._refresh, self._access):
            for token in [token for token, owner in tokens.items() if owner == user]:
                del tokens[token]

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        self._now_asking += 1
        self.most_at_once = max(self.most_at_once, self._now_asking)
        try:
            await self.gate.wait()
        finally:
            self._now_asking -= 1
        if self.answers:
            fails = self.answers.popleft()
            return web.Response(status=fails.status, text=fails.body, headers=fails.headers)
        return await _in_pieces(request, self._refreshed(form))

    def _refreshed(self, form: Mapping[str, str]) -> web.Response:
        if form.get("grant_type") != "refresh_token":
            return _error("unsupported_grant_type")
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return _error("invalid_client", 401)
        token = form.get("refresh_token", "")
        if token in self._spent:
            self.take_back(self._spent[token])
        user = self._refresh.get(token)
        if user is None:
            return _error("invalid_grant")
        access_token = f"access-{token_urlsafe(12)}"
        self._access[access_token] = user
        told: dict[str, Any] = {"access_token": access_token, "token_type": "Bearer", "scope": SCOPE}
        if self.life_seconds is not None:
            told["expires_in"] = self.life_seconds
        if self.rotates:
            self._spent[token] = self._refresh.pop(token)
            told["refresh_token"] = f"refresh-{token_urlsafe(12)}"
            self._refresh[told["refresh_token"]] = user
        return web.json_response(told, headers={"Cache-Control": "no-store"})

    async def _introspect(self, request: web.Request) -> web.Response:
        user = self._access.get(str((await request.post()).get("token", "")))
        return web.json_response({"active": user is not None, "username": user or ""})


async def _in_pieces(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """As an answer of some length arrives."""
    assert isinstance(whole.body, bytes)
    answer = web.StreamResponse(status=whole.status, headers=whole.headers)
    await answer.prepare(request)
    for piece in (whole.body[:10], whole.body[10:]):
        await answer.write(piece)
        for _ in range(PIECES_APART):
            await asyncio.sleep(0)
    await answer.write_eof()
    return answer


def _error(error: str, status: int = 400) -> web.Response:
    return web.json_response({"error": error, "error_description": "as RFC 6749 5.2 has it"}, status=status)
