"""SMS numbers: phone numbers whose messages come in, and the token that proves them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr

from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import conflict, not_found
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from chassis.errors import Duplicate
from chassis.secrets import plain_phone
from chassis.store import Document
from segue_contracts.text import Line


def check_number(value: str) -> str:
    """The number as Twilio writes it: `+` and digits; a short code has digits alone."""
    plain = plain_phone(value)
    if not 3 <= len(plain.removeprefix("+")) <= 15 or plain.count("+") > plain.startswith("+"):
        raise ValueError("must be a number with its country, such as +49 30 123456, or a short code")
    return plain


Number = Annotated[Line, AfterValidator(check_number)]


class SmsNumberSettings(Closed):
    """What can be changed."""

    auth_token: SecretStr = Field(
        min_length=8, max_length=200, description="Twilio's, of the number's account; never shown"
    )


class NewSmsNumber(SmsNumberSettings):
    """A number to be; it belongs to the caller."""

    number: Number = Field(examples=["+49 30 123456"])


class SmsNumberShown(Shown):
    """A number, and the addresses to set at Twilio."""

    id: UUID = Field(validation_alias="_id")
    number: str
    owner_id: UUID
    messages_url: str = Field(description="For `A message comes in`")
    receipts_url: str = Field(description="For status callbacks")
    created_at: datetime
    updated_at: datetime


class ReceiptShown(Shown):
    """What became of a message that was sent, as the provider told it."""

    provider_id: str
    status: str
    error_code: str | None
    received_at: datetime


class ReceiptsQuery(PageQuery):
    """Which receipts."""

    provider_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Those of one message"
    )


def shown(call: Call, number: Document) -> dict[str, Any]:
    """What may be shown of a number."""
    one = f"/v1/sms-numbers/{number['_id']}"
    urls = {"messages_url": call.api.url(f"{one}/messages"), "receipts_url": call.api.url(f"{one}/receipts")}
    return {**number, **urls}


async def add(call: Call) -> Answer:
    """Connect a number."""
    new: NewSmsNumber = call.body.data
    now = call.api.clock.real_now()
    number: Document = {
        "_id": call.ids.next(),
        "workspace_id": call.caller.workspace,
        "number": new.number,
        "owner_id": call.caller.user_id,
        "auth_token": call.api.secrets.encrypt(new.auth_token.get_secret_value()),
        "created_at": now,
        "updated_at": now,
    }
    try:
        await call.api.store.sms_numbers.add(number)
    except Duplicate:
        raise conflict("exists", "This number is connected already: change its token with PUT.") from None
    made = SmsNumberShown.model_validate(shown(call, number))
    return Answer(made, HTTPStatus.CREATED, {"Location": call.api.url(f"/v1/sms-numbers/{number['_id']}")})


async def list_them(call: Call) -> Answer:
    """Numbers, the newest first."""
    found, cursor = await call.api.store.sms_numbers.page(call.caller.workspace, call.query)
    items = [SmsNumberShown.model_validate(shown(call, each)) for each in found]
    return Answer(Page[SmsNumberShown](items=items, next_cursor=cursor))


async def get(call: Call) -> Answer:
    """One number."""
    return Answer(SmsNumberShown.model_validate(shown(call, await _existing(call))))


async def replace(call: Call) -> Answer:
    """Another auth token; the old one ends at once."""
    new: SmsNumberSettings = call.body.data
    fields = {
        "auth_token": call.api.secrets.encrypt(new.auth_token.get_secret_value()),
        "updated_at": call.api.clock.real_now(),
    }
    number_id = call.uuid("number_id", "SMS number")
    changed = await call.api.store.sms_numbers.change(call.caller.workspace, number_id, fields)
    if changed is None:
        raise not_found("SMS number")
    return Answer(SmsNumberShown.model_validate(shown(call, changed)))


async def list_receipts(call: Call) -> Answer:
    """What the provider told of messages sent from a number, the newest first."""
    number, query = await _existing(call), call.query
    found, cursor = await call.api.store.receipts.page(
        call.caller.workspace, number["_id"], query.provider_id, query
    )
    items = [ReceiptShown.model_validate(each) for each in found]
    return Answer(Page[ReceiptShown](items=items, next_cursor=cursor))


async def _existing(call: Call) -> Document:
    number_id = call.uuid("number_id", "SMS number")
    number = await call.api.store.sms_numbers.one(call.caller.workspace, number_id)
    if number is None:
        raise not_found("SMS number")
    return number


_TAG = "SMS numbers"
_ONE = "/v1/sms-numbers/{number_id}"

ROUTES = (
    Route(
        "GET",
        "/v1/sms-numbers",
        list_them,
        "List SMS numbers",
        KeyScope.READ,
        answer=Page[SmsNumberShown],
        query=PageQuery,
        tag=_TAG,
    ),
    Route(
        "POST",
        "/v1/sms-numbers",
        add,
        "Connect an SMS number",
        KeyScope.WRITE,
        answer=SmsNumberShown,
        status=HTTPStatus.CREATED,
        takes=Takes(NewSmsNumber),
        tag=_TAG,
    ),
    Route("GET", _ONE, get, "Read an SMS number", KeyScope.READ, answer=SmsNumberShown, tag=_TAG),
    Route(
        "PUT",
        _ONE,
        replace,
        "Change the auth token of an SMS number",
        KeyScope.WRITE,
        answer=SmsNumberShown,
        takes=Takes(SmsNumberSettings),
        tag=_TAG,
    ),
    Route(
        "GET",
        _ONE + "/receipts",
        list_receipts,
        "List the receipts of an SMS number",
        KeyScope.READ,
        answer=Page[ReceiptShown],
        query=ReceiptsQuery,
        tag=_TAG,
    ),
)
