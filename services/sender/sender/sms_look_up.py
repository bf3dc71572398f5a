"""Asks Twilio whether it has a text message of which nobody knows whether it was accepted."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol
from urllib.parse import urlencode
from uuid import UUID

import aiohttp

from chassis.documents import SmsNumberView
from chassis.errors import Retry
from chassis.hosts import Guard, bounded_body
from sender.doubts import Finding
from sender.model import Document
from sender.sms_provider import TWILIO_URL

PAGE_SIZE: Final = 50
MAX_ANSWER_BYTES: Final = 1024 * 1024
CLOCKS_DIFFER: Final = timedelta(minutes=5)
TOTAL_SECONDS: Final = 15.0


class Numbers(Protocol):
    """What asking needs of the store."""

    async def sms_numbers(self, workspaces: Iterable[UUID]) -> dict[UUID, list[SmsNumberView]]: ...


class TwilioLookUp:
    """Reads the list of messages between the two numbers, the newest first.

    https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources

    Twilio takes no key of ours, so a message is known by its numbers, its words and its time. A webhook can't
    be asked.
    """

    def __init__(
        self, store: Numbers, decrypt: Callable[[str], str], guard: Guard, doubt_seconds: float
    ) -> None:
        self._store = store
        self._decrypt = decrypt
        self._guard = guard
        self._doubt = timedelta(seconds=doubt_seconds)

    async def look_up(self, delivery: Document) -> Finding | None:
        """Whether Twilio has it; None for a number that is gone or another provider's."""
        number = await self._number(delivery)
        if number is None:
            return None
        for message in await self._messages(number, delivery["recipient"]):
            if self._is_it(message, delivery, number):
                return Finding(True, str(message["sid"]))
        return Finding(False)

    async def _number(self, delivery: Document) -> SmsNumberView | None:
        workspace = delivery["workspace_id"]
        numbers = (await self._store.sms_numbers([workspace])).get(workspace, [])
        of = (each for each in numbers if each.id == delivery.get("number_id"))
        return next((each for each in of if each.provider == "twilio"), None)

    async def _messages(self, number: SmsNumberView, to: str) -> list[Mapping[str, Any]]:
        try:
            secret = self._decrypt(number.secret)
        except ValueError as error:
            raise Retry("the number's secret can't be read") from error
        base = (number.url or TWILIO_URL).rstrip("/")
        asked = urlencode({"To": to, "From": number.number, "PageSize": PAGE_SIZE})
        url = f"{base}/2010-04-01/Accounts/{number.account}/Messages.json?{asked}"
        login = b64encode(f"{number.account}:{secret}".encode()).decode()
        try:
            async with self._guard.session(timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS)) as session:
                return await _listed(session, url, {"Authorization": f"Basic {login}"})
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError, OSError) as error:  # noqa: UP041
            raise Retry(f"Twilio: {type(error).__name__}") from error

    def _is_it(self, message: Mapping[str, Any], delivery: Document, number: SmsNumberView) -> bool:
        at = _instant(message.get("date_created"))
        until = delivery["deadline"] + CLOCKS_DIFFER
        return (
            isinstance(message.get("sid"), str)
            and (message.get("to"), message.get("from")) == (delivery["recipient"], number.number)
            and str(message.get("direction", "")).startswith("outbound")
            and _words(message.get("body")) == _words(delivery.get("text"))
            and at is not None
            and until - self._doubt - 2 * CLOCKS_DIFFER <= at <= until
        )


async def _listed(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    """The messages of one page; Retry for anything that is none."""
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        body = await bounded_body(answer, MAX_ANSWER_BYTES)
        if answer.status != 200:
            raise Retry(f"Twilio said {answer.status}")
    try:
        messages = json.loads(body)["messages"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise Retry("Twilio's list can't be read") from error
    return [each for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []


def _instant(text: object) -> datetime | None:
    """Twilio writes RFC 2822."""
    try:
        at = parsedate_to_datetime(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _words(text: object) -> str:
    """Spaces and line breaks may come back otherwise."""
    return " ".join(str(text or "").split())
