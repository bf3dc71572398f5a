"""How text messages are handed to a provider over HTTP, and what each of its answers means."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

import aiohttp

from chassis.documents import SmsNumberView
from chassis.hosts import ForbiddenHost, Guard, bounded_body
from chassis.standard_webhooks import signed

TWILIO_URL: Final = "https://api.twilio.com"
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_RETRY_AFTER_SECONDS: Final = 3600.0
MISCONFIGURED_SECONDS: Final = 600.0
"""How long to wait for a person to mend the number's settings."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ID = re.compile(r"[A-Za-z0-9_-]{10,64}")


class Said(StrEnum):
    """What a provider made of a request."""

    ACCEPTED = "accepted"
    NOT_REACHED = "not_reached"  # surely not accepted: no byte of the request was written
    BUSY = "busy"  # surely not accepted: come again
    MISCONFIGURED = "misconfigured"  # surely not accepted: a person of ours has to act
    NO_SUCH_PHONE = "no_such_phone"
    OPTED_OUT = "opted_out"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SmsAnswer:
    """An answer as the delivery keeps it: `code` is the provider's own, `reason` a stable word of ours."""

    said: Said
    code: str = ""
    reason: str = ""
    provider_id: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text message to hand over."""

    dispatch_id: str
    to: str
    text: str
    number: SmsNumberView


@dataclass(frozen=True, slots=True)
class Request:
    """One POST."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Provider(Protocol):
    """A provider's dialect."""

    def is_repeatable(self, number: SmsNumberView) -> bool:
        """Whether the same dispatch, asked for twice, is sent once."""

    def request(self, text: Text, secret: str, at: datetime) -> Request: ...
    def judge(self, status: int, headers: Mapping[str, str], body: bytes) -> SmsAnswer: ...


class Twilio:
    """Twilio's Messages resource; it has no idempotency key, so what is unknown stays unknown.

    https://www.twilio.com/docs/messaging/api/message-resource and https://www.twilio.com/docs/api/errors
    """

    OPTED_OUT: Final = 21610  # https://www.twilio.com/docs/api/errors/21610
    # Not valid; not valid either (of the older API); no mobile phone; a landline, where none gets texts.
    # https://www.twilio.com/docs/api/errors/21211 (21217, 21614, 21635 alike)
    NO_SUCH_PHONE: Final = frozenset({21211, 21217, 21614, 21635})
    # The login, the account, a region that is not allowed, a number that is not the account's, a trial.
    OURS: Final = frozenset(
        {20003, 20005, 20404, 21212, 21219, 21408, 21603, 21606, 21608, 21609, 21659, 21660}
    )

    def is_repeatable(self, number: SmsNumberView) -> bool:
        """Never."""
        return False

    def request(self, text: Text, secret: str, at: datetime) -> Request:
        """The form, with basic authentication."""
        number = text.number
        base = (number.url or TWILIO_URL).rstrip("/")
        form = {"To": text.to, "From": number.number, "Body": text.text}
        if callback := callback_url(text, base):
            form["StatusCallback"] = callback
        login = b64encode(f"{number.account}:{secret}".encode()).decode()
        headers = {
            "Authorization": f"Basic {login}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        url = f"{base}/2010-04-01/Accounts/{number.account}/Messages.json"
        return Request(url, headers, urlencode(form).encode())

    def judge(self, status: int, headers: Mapping[str, str], body: bytes) -> SmsAnswer:
        """By Twilio's own error code where it gave one, else by the status."""
        data = _json(body)
        if 200 <= status < 300:
            return _accepted(data.get("sid"), SmsAnswer(Said.UNKNOWN, str(status)))
        code = data.get("code") if isinstance(data.get("code"), int) else None
        said = f"{status} {code}" if code else str(status)
        if code == self.OPTED_OUT:
            return SmsAnswer(Said.OPTED_OUT, said)
        if code in self.NO_SUCH_PHONE:
            return SmsAnswer(Said.NO_SUCH_PHONE, said)
        if code in self.OURS:
            return _misconfigured(status, said)
        return _by_status(status, headers, said)


class Webhook:
    """A bridge of your own: JSON signed as Standard Webhooks, the dispatch id as the idempotency key."""

    def is_repeatable(self, number: SmsNumberView) -> bool:
        """Where its owner has said so: what it does with the key is not to be seen from here."""
        return number.idempotent

    def request(self, text: Text, secret: str, at: datetime) -> Request:
        """The signed JSON."""
        url = text.number.url or ""
        wish = {"id": text.dispatch_id, "from": text.number.number, "to": text.to, "text": text.text}
        if callback := callback_url(text, url):
            wish["receipts_url"] = callback
        body = json.dumps(wish, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": text.dispatch_id,
            **signed(secret, text.dispatch_id, at, body),
        }
        return Request(url, headers, body)

    def judge(self, status: int, headers: Mapping[str, str], body: bytes) -> SmsAnswer:
        """By the status; a refusal may say `{"code": "opted_out"}` or `{"code": "invalid_number"}`."""
        data = _json(body)
        if 200 <= status < 300:
            return _accepted(data.get("id"), SmsAnswer(Said.ACCEPTED, str(status)))
        if status == 409:  # it is at work on this key
            return SmsAnswer(Said.BUSY, str(status), retry_after=_retry_after(headers))
        if 400 <= status < 500 and data.get("code") == "opted_out":
            return SmsAnswer(Said.OPTED_OUT, str(status))
        if 400 <= status < 500 and data.get("code") == "invalid_number":
            return SmsAnswer(Said.NO_SUCH_PHONE, str(status))
        return _by_status(status, headers, str(status))


PROVIDERS: Final[Mapping[str, Provider]] = {"twilio": Twilio(), "webhook": Webhook()}


def callback_url(text: Text, provider_url: str) -> str | None:
    """Where the provider tells what became of it; it names the dispatch, and the provider signs that too.

    None where the provider can't reach it: it would refuse the message for it.
    """
    url = text.number.receipts_url
    if url is None or (_is_local(url) and not _is_local(provider_url)):
        return None
    return f"{url}?dispatch={text.dispatch_id}"


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def _accepted(provider_id: object, otherwise: SmsAnswer) -> SmsAnswer:
    if isinstance(provider_id, str) and _ID.fullmatch(provider_id):
        return SmsAnswer(Said.ACCEPTED, provider_id=provider_id)
    return otherwise


def _by_status(status: int, headers: Mapping[str, str], code: str) -> SmsAnswer:
    """RFC 9110 15: 408, 429 (RFC 6585) and 503 have not handled the request; other 5xx say nothing of it."""
    if status in (408, 429, 503):
        return SmsAnswer(Said.BUSY, code, retry_after=_retry_after(headers))
    if 300 <= status < 400 or status in (401, 402, 403, 404, 405, 407):
        return _misconfigured(status, code)
    return SmsAnswer(Said.REFUSED if 400 <= status < 500 else Said.UNKNOWN, code)


def _misconfigured(status: int, code: str) -> SmsAnswer:
    reason = "login_refused" if status in (401, 403) else "number_refused"
    return SmsAnswer(Said.MISCONFIGURED, code, reason, retry_after=MISCONFIGURED_SECONDS)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdigit() else None


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


class Http:
    """Posts requests, each on a connection of its own: a kept one may be closed by the provider just as it
    is used, and nobody could tell whether the request was taken.
    """

    def __init__(self, total_seconds: float, guard: Guard) -> None:
        self._timeout = aiohttp.ClientTimeout(total=total_seconds)
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def post(self, provider: Provider, request: Request) -> SmsAnswer:
        """The provider's answer; NOT_REACHED or UNKNOWN where none came, by whether a byte was written."""
        written = SimpleNamespace(began=False)
        try:
            async with self._open().post(
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                trace_request_ctx=written,
            ) as answer:
                body = await bounded_body(answer, MAX_ANSWER_BYTES)
                return provider.judge(answer.status, answer.headers, body)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:  # noqa: UP041
            if written.began:
                return SmsAnswer(Said.UNKNOWN)
            return _not_reached(error)

    async def close(self) -> None:
        """End what is left."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            traces = aiohttp.TraceConfig()
            traces.on_request_headers_sent.append(_begins)  # awaited before the first byte is written
            self._session = self._guard.session(
                timeout=self._timeout, traces=[traces], limit=0, force_close=True
            )
        return self._session


def _not_reached(error: BaseException) -> SmsAnswer:
    """A person has to act where the guard forbids the address; else it is tried again."""
    if isinstance(getattr(error, "os_error", error), ForbiddenHost):
        return SmsAnswer(Said.MISCONFIGURED, reason="url_forbidden", retry_after=MISCONFIGURED_SECONDS)
    return SmsAnswer(Said.NOT_REACHED, reason="connection_connect")


async def _begins(_session: aiohttp.ClientSession, context: SimpleNamespace, _headers: object) -> None:
    context.trace_request_ctx.began = True
