"""A provider of text messages on this machine: Twilio's Messages resource, and a webhook, as documented."""

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import aiohttp
from aiohttp import encode_basic_auth, web
from yarl import URL

from api.inbound_sms import SIGNATURE_HEADER, sign
from stack.client import eventually

ACCOUNT = "AC" + "0" * 32
AUTH_TOKEN = "token-of-the-account"  # noqa: S105  # of an account that is not there
FORM = "application/x-www-form-urlencoded"


ZONES = (
    *("Pacific/Honolulu", "America/Los_Angeles", "America/New_York", "Europe/Berlin"),
    *("Asia/Dubai", "Asia/Kolkata", "Asia/Tokyo", "Pacific/Auckland"),
)


def zone_at(hours: range, now: datetime) -> str:
    """A zone where it is one of these hours; of six in a row, one is always somewhere."""
    return next(zone for zone in ZONES if now.astimezone(ZoneInfo(zone)).hour in hours)


@dataclass(frozen=True, slots=True)
class Says:
    """An answer that accepts nothing: Twilio's JSON error, or any other one."""

    status: int
    code: int | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """As Twilio writes it."""
        error = {"code": self.code, "message": "No.", "more_info": "https://twilio.example", "status": 0}
        return json.dumps({**error, "status": self.status}).encode()


@dataclass(frozen=True, slots=True)
class Breaks:
    """The connection is reset when the request has come in; the message was `accepted` or was not."""

    accepted: bool


@dataclass(frozen=True, slots=True)
class IsSilent:
    """The message is accepted, and the answer never comes."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that was accepted: what was asked for, and how."""

    sid: str
    path: str
    headers: Mapping[str, str]
    asked: Mapping[str, str]
    raw: bytes
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def resource(self) -> dict[str, Any]:
        """As Twilio shows it in its list."""
        asked = self.asked
        return {
            "sid": self.sid,
            "to": asked.get("To"),
            "from": asked.get("From"),
            "body": asked.get("Body"),
            "direction": "outbound-api",
            "status": "delivered",
            "date_created": format_datetime(self.at),
        }


class TextServer:
    """Accepts everything with 201 until `answers` says otherwise, once each; of one Idempotency-Key one."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.heard: list[bytes] = []  # what every request said, accepted or not
        self.requests = self.looks = 0
        self.answers: deque[Says | Breaks | IsSilent] = deque()
        self._keys: dict[str, str] = {}
        self._leaving = asyncio.Event()
        application = web.Application()
        application.router.add_post("/{tail:.*}", self._take)
        application.router.add_get("/2010-04-01/Accounts/{account}/Messages.json", self._list)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        await self._runner.cleanup()

    @property
    def settings(self) -> dict[str, str]:
        """What a number has that sends through this Twilio."""
        return {
            "provider": "twilio",
            "account_sid": ACCOUNT,
            "auth_token": AUTH_TOKEN,
            "url": self.url,
        }

    async def texts(self, count: int, seconds: float = 30.0) -> list[Arrived]:
        """What has arrived, once it is at least so many."""

        async def look() -> list[Arrived]:
            return self.arrived

        return await eventually(look, until=lambda found: len(found) >= count, seconds=seconds)

    async def post(self, url: str, **form: str) -> int:
        """Post a form to Segue as Twilio does, signed; the status."""
        signature = sign(AUTH_TOKEN, url, form.items())
        headers = {SIGNATURE_HEADER: signature, "Content-Type": FORM}
        async with (
            aiohttp.ClientSession() as session,
            session.post(URL(url, encoded=True), data=urlencode(form).encode(), headers=headers) as answer,
        ):
            return answer.status

    async def receipt(self, text: Arrived, status: str, code: str = "") -> int:
        """Tell what became of a message, at the address that came with it."""
        error = {"ErrorCode": code} if code else {}
        return await self.post(
            text.asked["StatusCallback"], MessageSid=text.sid, MessageStatus=status, **error
        )

    # ---- its side of the wire ----

    async def _take(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.requests += 1
        self.heard.append(raw)
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, Says):
            return web.Response(
                status=answer.status,
                body=answer.body,
                content_type="application/json",
                headers=answer.headers,
            )
        if isinstance(answer, Breaks) and not answer.accepted:
            return self._reset(request)
        sid = self._accept(request, raw)
        if isinstance(answer, Breaks):
            return self._reset(request)
        if isinstance(answer, IsSilent):
            await self._leaving.wait()
        return web.json_response({"sid": sid, "id": sid, "status": "queued"}, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        """https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources"""
        self.looks += 1
        if request.headers.get("Authorization") != encode_basic_auth(ACCOUNT, AUTH_TOKEN):
            return web.Response(status=401)
        wanted = {name.lower(): request.query[name] for name in ("To", "From") if name in request.query}
        shown = [each.resource for each in reversed(self.arrived)]
        messages = [each for each in shown if wanted.items() <= each.items()]
        size = int(request.query.get("PageSize", "50"))
        return web.json_response({"messages": messages[:size], "page_size": size, "next_page_uri": None})

    def _accept(self, request: web.Request, raw: bytes) -> str:
        key = request.headers.get("Idempotency-Key")
        if key is not None and key in self._keys:
            return self._keys[key]
        sid = "SM" + sha256(f"{self.url}/{len(self.arrived)}".encode()).hexdigest()[:32]
        if key is not None:
            self._keys[key] = sid
        asked = dict(_asked(request.content_type, raw))
        self.arrived.append(Arrived(sid, request.path, dict(request.headers), asked, raw))
        return sid

    @staticmethod
    def _reset(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


def _asked(content_type: str, raw: bytes) -> Iterator[tuple[str, str]]:
    if content_type == FORM:
        yield from parse_qsl(raw.decode())
        return
    data: dict[str, Any] = json.loads(raw)
    yield from data.items()
