"""Webhooks in the settings: where programs hear of events, and what became of each."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from api.dashboard.fields import Field, Form, Tried, carry_out, lines, word
from api.dashboard.sections import section
from api.dashboard.visit import Note, Page, Visit
from api.keys import KeyScope
from api.outgoing import EVERYTHING, FILTERS
from api.outgoing_store import KEEP_DELIVERIES_SECONDS
from api.paging import Page as Rows
from api.problems import Problem
from api.routes.webhooks import Rotated, WebhookDeliveryShown, WebhookMade, WebhookShown

HERE: Final = "/settings/webhooks"
ROWS: Final = 20
STATES: Final[Mapping[str, tuple[str, str, str]]] = {
    "pending": ("on its way", "◷", "waiting"),
    "sent": ("taken", "✓", "answered"),
    "failed": ("given up", "!", "problem"),
}
"""What became of a delivery: a word, an icon and a pill."""
DISABLED: Final[Mapping[str, str]] = {
    "failing": "every post failed for days, so Segue gave it up",
    "gone": "it answered 410, that it is gone",
}


# ---- all of them --------------------------------------------------------------------------------------


async def webhooks(visit: Visit) -> web.StreamResponse:
    """One's own webhooks, everybody's for an admin."""
    return await _webhooks(visit, None)


async def _webhooks(visit: Visit, tried: Tried | None) -> web.Response:
    if not visit.caller.may(KeyScope.WRITE):
        return await section(
            visit, "Webhooks", HERE, tried=tried, template="settings_closed.html", needs=KeyScope.WRITE
        )
    cursor = visit.request.query.get("cursor")
    rows: Rows[WebhookShown] = await visit.ask("GET /v1/webhooks", query={"cursor": cursor} if cursor else {})
    about = "A program of yours is told there what happens, signed as Standard Webhooks."
    return await section(
        visit,
        "Webhooks",
        HERE,
        [Form("Add a webhook", HERE, _fields("", [EVERYTHING], ""), "Add it", about)],
        tried,
        template="settings_webhooks.html",
        needs=KeyScope.WRITE,
        rows=rows.items,
        cursor=rows.next_cursor,
        state_of=state_of,
    )


def _fields(url: str, events: list[str], description: str) -> tuple[Field, ...]:
    families = ", ".join(FILTERS[1:])
    return (
        Field("url", "Address", url, "url", needed=True, example="https://ats.ourco.example/segue"),
        Field(
            "events",
            "What it hears of, one a line",
            "\n".join(events),
            "textarea",
            help=f"{EVERYTHING} is everything; {families}; or one such as enrollment.stage_sent.",
        ),
        Field("description", "What it is for", description, example="The ATS"),
    )


def state_of(webhook: WebhookShown) -> tuple[str, str, str]:
    """How a webhook is: a word, an icon and a pill."""
    if not webhook.enabled:
        return (
            "given up" if webhook.disabled else "switched off",
            "■",
            "problem" if webhook.disabled else "quiet",
        )
    return ("failing", "!", "problem") if webhook.failing_since else ("on", "✓", "answered")


async def add(visit: Visit) -> web.StreamResponse:
    """Add a webhook; its secret is shown this once."""
    typed = await visit.form()
    try:
        made: WebhookMade = await visit.ask("POST /v1/webhooks", _wanted(typed))
    except Problem as problem:
        return await _webhooks(visit, Tried(HERE, typed, problem))
    return await _webhook(visit, made.id, None, secret=made.secret)


def _wanted(typed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "url": word(typed, "url") or "",
        "events": lines(typed, "events"),
        "description": word(typed, "description") or "",
    }


# ---- one of them --------------------------------------------------------------------------------------


async def webhook(visit: Visit) -> web.StreamResponse:
    """One webhook, and what was posted to it."""
    return await _one(visit, None)


async def _one(visit: Visit, tried: Tried | None) -> web.Response:
    return await _webhook(visit, _id(visit), tried)


def _id(visit: Visit) -> UUID:
    return visit.uuid("webhook_id", "webhook")


async def _webhook(
    visit: Visit,
    webhook_id: UUID,
    tried: Tried | None,
    secret: str = "",
    rotated: Rotated | None = None,
) -> web.Response:
    now: WebhookShown = await visit.ask("GET /v1/webhooks/{webhook_id}", webhook_id=webhook_id)
    words = visit.request.query
    query = {name: words[name] for name in ("state", "cursor") if words.get(name)}
    found: Rows[WebhookDeliveryShown] = await visit.ask(
        "GET /v1/webhooks/{webhook_id}/deliveries", query={**query, "limit": ROWS}, webhook_id=webhook_id
    )
    return await section(
        visit,
        now.description or "Webhook",
        HERE,
        [_form(now)],
        tried,
        template="settings_webhook_one.html",
        needs=KeyScope.WRITE,
        hook=now,
        state_of=state_of,
        given_up=DISABLED.get(now.disabled.reason, now.disabled.reason) if now.disabled else "",
        here=_path(now.id),
        secret=secret,
        rotated=rotated,
        deliveries=found.items,
        cursor=found.next_cursor,
        states=STATES,
        chosen=query.get("state", ""),
    )


def _path(webhook_id: UUID) -> str:
    return f"{HERE}/{webhook_id}"


def _form(now: WebhookShown) -> Form:
    fields = _fields(now.url, now.events, now.description)
    return Form("Where it is, and what it hears of", _path(now.id), fields, "Save")


async def change(visit: Visit) -> web.StreamResponse:
    """Save its address, what it hears of, what it is for."""
    now: WebhookShown = await visit.ask("GET /v1/webhooks/{webhook_id}", webhook_id=_id(visit))

    async def asks(typed: Mapping[str, Any]) -> None:
        await visit.ask("PATCH /v1/webhooks/{webhook_id}", _wanted(typed), webhook_id=now.id)

    return await carry_out(visit, asks, _one, "Saved.", _path(now.id), before=_form(now))


async def switch(visit: Visit) -> web.StreamResponse:
    """Let it hear of events, or of nothing."""
    webhook_id, is_on = _id(visit), visit.request.match_info["switch"] == "enable"

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("PATCH /v1/webhooks/{webhook_id}", {"enabled": is_on}, webhook_id=webhook_id)

    said = (
        "It is on: it hears of what happens from now."
        if is_on
        else "It is off. What happens meanwhile is not sent later."
    )
    note = Note(said, undo_path=f"{_path(webhook_id)}/{'disable' if is_on else 'enable'}")
    return await carry_out(visit, asks, _one, note, _path(webhook_id))


async def rotate(visit: Visit) -> web.StreamResponse:
    """Make a new secret; it is shown this once."""
    await visit.form()
    made: Rotated = await visit.ask("POST /v1/webhooks/{webhook_id}/rotate-secret", webhook_id=_id(visit))
    return await _webhook(visit, _id(visit), None, made.secret, made)


async def try_it(visit: Visit) -> web.StreamResponse:
    """Send a test event."""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/webhooks/{webhook_id}/test", webhook_id=_id(visit))

    note = "A webhook.test is on its way: load the page again to see what became of it."
    return await carry_out(visit, asks, _one, note, _path(_id(visit)))


async def redeliver(visit: Visit) -> web.StreamResponse:
    """Send one delivery once more, or all that were given up."""

    async def asks(typed: Mapping[str, Any]) -> None:
        delivery = word(typed, "delivery")
        since = visit.api.clock.real_now() - timedelta(seconds=KEEP_DELIVERIES_SECONDS)
        which = {"delivery_ids": [delivery]} if delivery else {"failed_since": since.isoformat()}
        await visit.ask("POST /v1/webhooks/{webhook_id}/redeliver", which, webhook_id=_id(visit))

    return await carry_out(visit, asks, _one, "On its way once more.", _path(_id(visit)))


async def remove(visit: Visit) -> web.StreamResponse:
    """End a webhook for good."""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("DELETE /v1/webhooks/{webhook_id}", webhook_id=_id(visit))

    return await carry_out(visit, asks, _one, "Deleted: nothing is posted there any more.", HERE)


_ONE: Final = HERE + "/{webhook_id}"
PAGES = (
    Page("GET", HERE, webhooks),
    Page("POST", HERE, add),
    Page("GET", _ONE, webhook),
    Page("POST", _ONE, change),
    Page("POST", _ONE + "/{switch:enable|disable}", switch),
    Page("POST", _ONE + "/rotate", rotate),
    Page("POST", _ONE + "/test", try_it),
    Page("POST", _ONE + "/redeliver", redeliver),
    Page("POST", _ONE + "/delete", remove),
)
