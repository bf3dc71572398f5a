"""SMS numbers: whose messages come in and go out, through which provider, and the token that proves both."""

from base64 import b64decode
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, model_validator

from api import hosts
from api.auditing import audit
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import conflict, not_found
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from chassis.documents import SmsNumberView
from chassis.errors import Duplicate
from chassis.secrets import plain_phone
from chassis.store import Document
from segue_contracts.text import Line

KEPT: Final = {"provider", "account_sid", "url", "idempotent", "limits"}
"""What a PUT leaves as it is where it is left out."""


def check_number(value: str) -> str:
    """The number as Twilio writes it: `+` and digits; a short code has digits alone."""
    plain = plain_phone(value)
    if not 3 <= len(plain.removeprefix("+")) <= 15 or plain.count("+") > plain.startswith("+"):
        raise ValueError("must be a number with its country, such as +49 30 123456, or a short code")
    return plain


Number = Annotated[Line, AfterValidator(check_number)]


def check_url(value: AnyHttpUrl) -> AnyHttpUrl:
    """Where the host may be is judged by `api.hosts`: secrets go there."""
    if value.username or value.password or value.query or value.fragment:
        raise ValueError("must be an address alone, without a login, a query or a fragment")
    return value


class NumberLimits(Closed):
    """How much a number sends at most; what is over a limit waits for the first free time."""

    per_day: int | None = Field(default=None, ge=1, le=1_000_000, strict=True, description="In any 24 hours")
    per_hour: int | None = Field(default=None, ge=1, le=100_000, strict=True, description="In any 60 minutes")


class SmsNumberSettings(Closed):
    """What can be changed; what is left out stays as it is. Without what its provider needs to send, a number
    only receives.
    """

    auth_token: SecretStr = Field(
        min_length=8,
        max_length=200,
        description="Twilio's, of the number's account, or the webhook's secret; never shown",
    )
    provider: Literal["twilio", "webhook"] = Field(default="twilio", description="Who takes its messages")
    account_sid: str | None = Field(
        default=None, pattern="^AC[0-9a-fA-F]{32}$", description="Twilio's account; needed to send there"
    )
    url: Annotated[AnyHttpUrl, AfterValidator(check_url)] | None = Field(
        default=None,
        description="Where a webhook takes messages, needed to send there; of Twilio, another API base",
    )
    idempotent: bool = Field(
        default=False,
        strict=True,
        description="Of a webhook: it sends once, however often it is asked with the same webhook-id",
    )
    limits: NumberLimits = NumberLimits()

    @model_validator(mode="after")
    def _secret_fits(self) -> Self:
        secret = self.auth_token.get_secret_value()
        if self.provider == "webhook" and secret.startswith("whsec_"):
            try:
                b64decode(secret.removeprefix("whsec_"), validate=True)
            except ValueError:
                raise ValueError("auth_token must have base64 after whsec_") from None
        return self


class NewSmsNumber(SmsNumberSettings):
    """A number to be; it belongs to the caller."""

    number: Number = Field(examples=["+49 30 123456"])


class SmsNumberShown(Shown):
    """A number, and the addresses to set at Twilio."""

    id: UUID = Field(validation_alias="_id")
    number: str
    owner_id: UUID
    provider: str
    account_sid: str | None
    url: str | None
    idempotent: bool
    limits: NumberLimits
    can_send: bool = Field(description="Whether it has what its provider needs to send")
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
    view = SmsNumberView.read(number)
    return {
        **number,
        "provider": view.provider,
        "account_sid": view.account,
        "url": view.url,
        "idempotent": view.idempotent,
        "limits": number.get("limits") or {},
        "can_send": view.can_send,
        "messages_url": call.api.url(f"/v1/sms-numbers/{view.id}/messages"),
        "receipts_url": receipts_url(call, view.id),
    }


def receipts_url(call: Call, number_id: UUID) -> str:
    """Where status callbacks of its messages go."""
    return call.api.url(f"/v1/sms-numbers/{number_id}/receipts")


def settings_of(call: Call, number_id: UUID, new: SmsNumberSettings) -> Document:
    """What is stored of the settings that were given; the sender reads the callback's address here."""
    given = new.model_dump(mode="json", include=new.model_fields_set & KEPT)
    return {
        **given,
        "auth_token": call.api.secrets.encrypt(new.auth_token.get_secret_value()),
        "receipts_url": receipts_url(call, number_id),
        "updated_at": call.api.clock.real_now(),
    }


async def judge_url(call: Call, new: SmsNumberSettings) -> None:
    """Problem 422 for an address that nothing is sent to: a private one, or one without TLS."""
    if new.url is not None:
        await hosts.check_url(call, "/url", str(new.url))


async def add(call: Call) -> Answer:
    """Connect a number."""
    new: NewSmsNumber = call.body.data
    await judge_url(call, new)
    number_id = call.ids.next()
    number: Document = {
        "_id": number_id,
        "workspace_id": call.caller.workspace,
        "number": new.number,
        "owner_id": call.caller.user_id,
        "created_at": call.api.clock.real_now(),
        **settings_of(call, number_id, new),
    }
    await audit(call, "sms_number.connected", number_id, provider=new.provider)
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
    """Another auth token, the old one ends at once; another provider."""
    new: SmsNumberSettings = call.body.data
    await judge_url(call, new)
    number_id = call.uuid("number_id", "SMS number")
    fields = settings_of(call, number_id, new)
    await audit(
        call, "sms_number.changed", number_id, provider=(await _existing(call)).get("provider", "twilio")
    )
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
        "Change the auth token and the provider of an SMS number",
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
