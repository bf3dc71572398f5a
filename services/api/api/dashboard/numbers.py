"""Text numbers: what text messages are sent from, and where their answers come in."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from api.dashboard.colleagues import colleagues, locked_for, names_by_id
from api.dashboard.fields import (
    Field,
    Form,
    Tried,
    carry_out,
    number,
    said,
    status_of,
    text_of,
    tick,
    ticked,
    with_tried,
    word,
)
from api.dashboard.visit import Page, Visit
from api.keys import KeyScope
from api.paging import Page as Rows
from api.routes.sms_numbers import ReceiptShown, SmsNumberShown

PROVIDERS: Final = {"twilio": "Twilio", "webhook": "a webhook of your own"}
RECEIPTS: Final = 20


async def numbers(visit: Visit) -> web.StreamResponse:
    """All numbers, and where one is connected."""
    return await _numbers(visit, None)


async def _numbers(visit: Visit, tried: Tried | None) -> web.Response:
    query = {"cursor": visit.request.query["cursor"]} if visit.request.query.get("cursor") else {}
    rows: Rows[SmsNumberShown] = await visit.ask("GET /v1/sms-numbers", query=query)
    users = await colleagues(visit)
    new = Field("number", "Number, with its country", needed=True, example="+49 30 123456")
    locked = locked_for(visit, KeyScope.WRITE, users)
    form = Form("Connect a number", "/numbers", (new, *_fields(None)), "Connect it", locked=locked)
    return visit.page(
        "numbers.html",
        title="Text numbers",
        status=status_of(tried),
        rows=rows.items,
        cursor=rows.next_cursor,
        names=names_by_id(users),
        providers=PROVIDERS,
        forms=with_tried([form], tried),
    )


def _fields(now: SmsNumberShown | None) -> tuple[Field, ...]:
    limits = now.limits.model_dump() if now else {}
    return (
        Field("provider", "Provider", now.provider if now else "twilio", "select", options=PROVIDERS),
        Field(
            "auth_token",
            "Auth token, or the webhook's secret",
            "",
            "password",
            help="Kept encrypted and never shown; it is asked for with every change.",
            needed=True,
        ),
        Field(
            "account_sid",
            "Account SID at Twilio",
            text_of(now.account_sid if now else None),
            help="Needed to send there; it begins with AC.",
        ),
        Field(
            "url",
            "Address of the webhook",
            text_of(now.url if now else None),
            "url",
            help="Where a webhook of your own takes messages.",
        ),
        Field(
            "idempotent",
            "The webhook sends once, however often it is asked",
            tick(bool(now and now.idempotent)),
            "check",
        ),
        Field(
            "per_day", "Messages in any 24 hours", text_of(limits.get("per_day")), "number", "/limits/per_day"
        ),
        Field(
            "per_hour", "Messages in any hour", text_of(limits.get("per_hour")), "number", "/limits/per_hour"
        ),
    )


def _data(typed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **said(number=word(typed, "number")),
        "provider": word(typed, "provider"),
        "auth_token": word(typed, "auth_token") or "",
        "account_sid": word(typed, "account_sid"),
        "url": word(typed, "url"),
        "idempotent": ticked(typed, "idempotent"),
        "limits": {name: number(typed, name) for name in ("per_day", "per_hour")},
    }


async def connect(visit: Visit) -> web.StreamResponse:
    """Connect a number."""

    async def asks(typed: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/sms-numbers", _data(typed))

    note = "It is connected. Open it: what comes in needs an address to be set at the provider."
    return await carry_out(visit, asks, _numbers, note, "/numbers")


async def one(visit: Visit) -> web.StreamResponse:
    """A number, its settings and its last receipts."""
    return await _one(visit, None)


async def _one(visit: Visit, tried: Tried | None) -> web.Response:
    it: SmsNumberShown = await visit.ask("GET /v1/sms-numbers/{number_id}", number_id=_id(visit))
    receipts: Rows[ReceiptShown] = await visit.ask(
        "GET /v1/sms-numbers/{number_id}/receipts", query={"limit": RECEIPTS}, number_id=it.id
    )
    users = await colleagues(visit)
    locked = locked_for(visit, KeyScope.WRITE, users)
    form = Form("Its settings", f"/numbers/{it.id}", _fields(it), "Save its settings", locked=locked)
    return visit.page(
        "number.html",
        title=it.number,
        status=status_of(tried),
        number=it,
        receipts=receipts.items,
        names=names_by_id(users),
        forms=with_tried([form], tried),
    )


def _id(visit: Visit) -> UUID:
    return visit.uuid("number_id", "number")


async def change(visit: Visit) -> web.StreamResponse:
    """Other settings, another token."""

    async def asks(typed: Mapping[str, Any]) -> None:
        await visit.ask("PUT /v1/sms-numbers/{number_id}", _data(typed), number_id=_id(visit))

    return await carry_out(
        visit, asks, _one, "Saved: the token before ended at once.", f"/numbers/{_id(visit)}"
    )


PAGES = (
    Page("GET", "/numbers", numbers),
    Page("POST", "/numbers", connect),
    Page("GET", "/numbers/{number_id}", one),
    Page("POST", "/numbers/{number_id}", change),
)
