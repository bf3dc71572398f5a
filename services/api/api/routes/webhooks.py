"""Webhooks: where programs hear of events as they happen, and what became of each."""

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, AnyHttpUrl, Field, UrlConstraints

from api.auditing import audit
from api.hosts import check_url
from api.keys import KeyScope
from api.outgoing import EVENT_TYPES, EVERYTHING, FILTERS, TEST, body, delivery_of
from api.outgoing_store import FAILED, PENDING
from api.paging import Page, PageQuery
from api.problems import conflict, invalid_at, not_found
from api.routing import Answer, Call, Closed, Empty, Route, Shown, Takes
from api.times import Instant
from chassis.store import Document
from segue_contracts.text import check_line

SECRET_BYTES: Final = 32
"""As Standard Webhooks wants it: 24 to 64."""
MOST_WEBHOOKS: Final = 50
"""Of a workspace: every event is held against each of them."""
OVERLAP: Final = timedelta(hours=24)
"""How long the old secret signs beside a new one."""
MOST_AT_ONCE: Final = 500


def check_filter(value: str) -> str:
    """An event's type, a family of them or everything, else `ValueError`."""
    if value not in EVENT_TYPES and value not in FILTERS:
        raise ValueError(f"is no event: write {', '.join(FILTERS)}, or one such as {EVENT_TYPES[0]}")
    return value


def check_bare(value: AnyHttpUrl) -> AnyHttpUrl:
    """A URL without a user in it, else `ValueError`."""
    if value.username or value.password:
        raise ValueError("must hold no user or password: the signature proves who calls")
    return value


Url = Annotated[AnyHttpUrl, UrlConstraints(max_length=1000), AfterValidator(check_bare)]
Filters = Annotated[
    list[Annotated[str, AfterValidator(check_filter)]],
    Field(
        min_length=1,
        max_length=100,
        description="`*`, families such as `enrollment.*`, or types such as `answer.reply`",
        examples=[["enrollment.stage_sent", "answer.*"]],
    ),
]
Description = Annotated[str, AfterValidator(check_line), Field(max_length=200)]


class NewWebhook(Closed):
    """Where to send which events; only https."""

    url: Url = Field(examples=["https://ats.ourco.example/segue"])
    events: Filters = Field(default=[EVERYTHING])
    description: Description = ""
    enabled: bool = True


class ChangedWebhook(Closed):
    """What is to be different; the rest stays. `enabled: true` starts anew after it was disabled."""

    url: Url | None = None
    events: Filters | None = None
    description: Description | None = None
    enabled: bool | None = None


class Disabled(Shown):
    """Why Segue sends nothing more: `failing` for days, or `gone` (it answered 410)."""

    reason: str
    at: datetime


class WebhookShown(Shown):
    """A webhook; `failing_since` is null while it answers well."""

    id: UUID = Field(validation_alias="_id")
    url: str
    events: list[str]
    description: str
    enabled: bool
    owner_id: UUID
    created_at: datetime
    failing_since: datetime | None
    disabled: Disabled | None


class WebhookMade(WebhookShown):
    """A webhook; `secret` signs what is sent, and is shown this once."""

    secret: str


class Rotated(Shown):
    """The new secret, shown this once; the old one signs beside it until then."""

    secret: str
    old_until: datetime


class TryShown(Shown):
    """One try: the status that was answered, or why there was no answer."""

    at: datetime
    seconds: float
    status: int | None
    error: str | None


class WebhookDeliveryShown(Shown):
    """An event for a webhook: `pending` until `next_at`, `sent`, or `failed` for good."""

    id: UUID = Field(validation_alias="_id")
    event_id: UUID
    type: str
    state: str
    attempts: int
    created_at: datetime
    next_at: datetime | None
    sent_at: datetime | None
    tries: list[TryShown]
    payload: dict[str, Any]


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    state: Literal["pending", "sent", "failed"] | None = None


class Again(Closed):
    """Which deliveries to send once more: these, or all that failed since then."""

    delivery_ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_AT_ONCE)] | None = None
    failed_since: Instant | None = None


class AgainAnswer(Shown):
    """How many are sent once more."""

    deliveries: int


def shown(webhook: Document) -> WebhookShown:
    """What may be shown."""
    return WebhookShown.model_validate(webhook)


def delivery_shown(delivery: Document) -> WebhookDeliveryShown:
    """A delivery as programs see it."""
    waits = delivery["state"] == PENDING
    changes = {"payload": json.loads(delivery["body"]), "next_at": delivery["next_at"] if waits else None}
    return WebhookDeliveryShown.model_validate({**delivery, **changes})


async def existing(call: Call) -> Document:
    """The webhook that the path names: one's own, or anybody's for an admin; Problem 404 otherwise."""
    webhook = await call.api.store.webhooks.one(call.caller.workspace, call.uuid("webhook_id", "webhook"))
    if webhook is None or not (call.caller.is_admin or webhook["owner_id"] == call.caller.user_id):
        raise not_found("webhook")
    return webhook


def new_secret() -> str:
    """A secret as Standard Webhooks writes it."""
    return "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def add(call: Call) -> Answer:
    """Send events there from now on: those that you may read yourself, an admin's all."""
    new: NewWebhook = call.body.data
    await check_url(call, "/url", str(new.url))
    if await call.api.store.webhooks.count(call.caller.workspace, MOST_WEBHOOKS) >= MOST_WEBHOOKS:
        raise conflict("too-many-webhooks", f"There are {MOST_WEBHOOKS} webhooks already: delete one.")
    secret, now = new_secret(), call.api.clock.real_now()
    webhook: Document = {
        "_id": call.ids.next(),
        "workspace_id": call.caller.workspace,
        "owner_id": call.caller.user_id,
        **new.model_dump(mode="json"),
        "secrets": [{"secret": call.api.secrets.encrypt(secret), "until": None}],
        "created_at": now,
        "since": now,
        "failing_since": None,
        "disabled": None,
    }
    await audit(call, "webhook.added", webhook["_id"])
    await call.api.store.webhooks.put(webhook)
    location = call.api.url(f"/v1/webhooks/{webhook['_id']}")
    made = WebhookMade.model_validate({**webhook, "secret": secret})
    return Answer(made, HTTPStatus.CREATED, {"Location": location})


async def list_them(call: Call) -> Answer:
    """Your webhooks, everybody's for an admin; the newest first."""
    owner_id = None if call.caller.is_admin else call.caller.user_id
    found, cursor = await call.api.store.webhooks.page(call.caller.workspace, owner_id, call.query)
    return Answer(Page[WebhookShown](items=[shown(each) for each in found], next_cursor=cursor))


async def get(call: Call) -> Answer:
    """One webhook; its secret is not shown."""
    return Answer(shown(await existing(call)))


async def change(call: Call) -> Answer:
    """Change what is given. Disabled, it hears nothing: what happens meanwhile is not sent later."""
    webhook, wanted = await existing(call), call.body.data
    if wanted.url is not None:
        await check_url(call, "/url", str(wanted.url))
    changes: dict[str, Any] = wanted.model_dump(mode="json", exclude_none=True)
    if wanted.enabled and not webhook["enabled"]:
        changes |= {"since": call.api.clock.real_now(), "failing_since": None, "disabled": None}
    await audit(call, "webhook.changed", webhook["_id"], **_said(changes))
    changed = await _changed(call, webhook, changes) if changes else webhook
    if wanted.enabled is False:
        await call.api.store.webhook_deliveries.give_up(call.caller.workspace, webhook["_id"])
    return Answer(shown(changed))


def _said(changes: Mapping[str, Any]) -> dict[str, str]:
    """What the audit log says of a change: an address may hold a secret, so that only that it changed."""
    return {"fields": ", ".join(sorted(changes))}


async def _changed(call: Call, webhook: Document, changes: Document) -> Document:
    changed = await call.api.store.webhooks.change(call.caller.workspace, webhook["_id"], changes)
    if changed is None:
        raise not_found("webhook")
    return changed


async def remove(call: Call) -> Answer:
    """Send nothing there any more; what was on its way is not sent."""
    webhook = await existing(call)
    await audit(call, "webhook.removed", webhook["_id"])
    await call.api.store.webhooks.remove(call.caller.workspace, webhook["_id"])
    await call.api.store.webhook_deliveries.give_up(call.caller.workspace, webhook["_id"])
    return Answer(status=HTTPStatus.NO_CONTENT)


async def rotate(call: Call) -> Answer:
    """Make a new secret; for a day everything is signed with both, then with the new one alone."""
    webhook, secret = await existing(call), new_secret()
    until = call.api.clock.real_now() + OVERLAP
    newest = webhook["secrets"][0]
    kept = [
        {"secret": call.api.secrets.encrypt(secret), "until": None},
        {"secret": newest["secret"], "until": until},
    ]
    await audit(call, "webhook.secret_rotated", webhook["_id"])
    await _changed(call, webhook, {"secrets": kept})
    return Answer(Rotated(secret=secret, old_until=until))


async def deliveries(call: Call) -> Answer:
    """What was sent and what is on its way, for 30 days, the newest first."""
    webhook, query = await existing(call), call.query
    found, cursor = await call.api.store.webhook_deliveries.page(
        call.caller.workspace, webhook["_id"], query.state, query
    )
    page = Page[WebhookDeliveryShown](items=[delivery_shown(each) for each in found], next_cursor=cursor)
    return Answer(page)


async def redeliver(call: Call) -> Answer:
    """Send deliveries once more, under the `webhook-id` that they had, with all tries before them."""
    webhook, wanted = await existing(call), call.body.data
    if (wanted.delivery_ids is None) == (wanted.failed_since is None):
        raise invalid_at("", "has either `delivery_ids` or `failed_since`")
    _check_enabled(webhook)
    which: Document = (
        {"_id": {"$in": wanted.delivery_ids}}
        if wanted.delivery_ids is not None
        else {"state": FAILED, "created_at": {"$gte": wanted.failed_since}}
    )
    now = call.api.clock.real_now()
    count = await call.api.store.webhook_deliveries.again(call.caller.workspace, webhook["_id"], which, now)
    return Answer(AgainAnswer(deliveries=count), HTTPStatus.ACCEPTED)


async def test(call: Call) -> Answer:
    """Send a `webhook.test`, whatever the filters say; the deliveries tell what became of it."""
    webhook = await existing(call)
    _check_enabled(webhook)
    event_id, now = call.ids.next(), call.api.clock.real_now()
    data = {"event_id": str(event_id), "workspace_id": str(call.caller.workspace)}
    text = body(TEST, call.api.clock.now(), {**data, "webhook_id": str(webhook["_id"])})
    delivery = delivery_of(webhook, event_id, TEST, text, now)
    await call.api.store.webhook_deliveries.add([delivery])
    return Answer(delivery_shown(delivery), HTTPStatus.ACCEPTED)


def _check_enabled(webhook: Document) -> None:
    if not webhook["enabled"]:
        raise conflict("disabled", "This webhook is disabled, nothing is sent to it: enable it first.")


_ALL = "/v1/webhooks"
_ONE = "/v1/webhooks/{webhook_id}"


def _route(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
    return Route(method, path, handler, summary, KeyScope.WRITE, tag="Webhooks", **more)


ROUTES = (
    _route(
        "POST",
        _ALL,
        add,
        "Add a webhook",
        answer=WebhookMade,
        status=HTTPStatus.CREATED,
        takes=Takes(NewWebhook),
    ),
    _route("GET", _ALL, list_them, "List webhooks", answer=Page[WebhookShown], query=PageQuery),
    _route("GET", _ONE, get, "Read a webhook", answer=WebhookShown),
    _route("PATCH", _ONE, change, "Change a webhook", answer=WebhookShown, takes=Takes(ChangedWebhook)),
    _route("DELETE", _ONE, remove, "Delete a webhook", status=HTTPStatus.NO_CONTENT),
    _route(
        "POST",
        _ONE + "/rotate-secret",
        rotate,
        "Replace a webhook's secret",
        answer=Rotated,
        takes=Takes(Empty, optional=True),
    ),
    _route(
        "GET",
        _ONE + "/deliveries",
        deliveries,
        "List what was sent to a webhook",
        answer=Page[WebhookDeliveryShown],
        query=DeliveryQuery,
    ),
    _route(
        "POST",
        _ONE + "/redeliver",
        redeliver,
        "Send deliveries once more",
        answer=AgainAnswer,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(Again),
    ),
    _route(
        "POST",
        _ONE + "/test",
        test,
        "Send a test event",
        answer=WebhookDeliveryShown,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(Empty, optional=True),
    ),
)
