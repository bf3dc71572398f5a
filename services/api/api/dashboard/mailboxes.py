"""Mailboxes: how each one is and what to do about it, what it will send, and all of its settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from api.dashboard.colleagues import active, colleagues, locked_for, named, names_by_id
from api.dashboard.fields import (
    Field,
    Form,
    Tried,
    carry_out,
    loose,
    said,
    status_of,
    ticked,
    with_tried,
    word,
)
from api.dashboard.mailbox_forms import (
    SIGNS,
    hours_data,
    hours_form,
    kept_settings,
    limits_data,
    limits_form,
    mailgun_form,
    new_form,
    servers_data,
    servers_form,
    signs_form,
    writing_data,
    writing_form,
)
from api.dashboard.person import instant
from api.dashboard.visit import Note, Page, Visit
from api.keys import KeyScope
from api.paging import Page as Rows
from api.problems import Problem, invalid_at
from api.routes.delegations import DelegationShown
from api.routes.deliverability import Deliverability
from api.routes.mailboxes import MailboxMade, MailboxShown
from api.routes.members import UserShown
from chassis.inquiries import DayAhead, Forecast

HEALTH: Final[Mapping[str, tuple[str, str, str]]] = {
    "ok": ("fine", "✓", "answered"),
    "warning": ("look at it", "▲", "waiting"),
    "paused": ("sends nothing now", "‖", "problem"),
}
TO_DO: Final[Mapping[str, str]] = {
    "login_refused": "Give the right user name and password in its settings. It is tried again by itself.",
    "access_lost": "Whose mailbox it is connects it again: a new refresh token in its settings.",
    "server_refused": "Look at host, port and security in its settings, or ask its provider.",
    "policy_refused": "Its provider knows why: ask there. It is tried again by itself.",
    "bounce_rate": "Look at whom it writes to. If it rests, resume it when you know why.",
    "complaint_rate": "Look at whom it writes to. If it rests, resume it when you know why.",
    "paused": "Resume it when it may send again.",
    "owner_left": "An admin gives it to somebody else, or lets its user come back.",
    "rate_limited": "Set lower limits in its settings.",
    "unreachable": "They are tried again. Look at host and port in its settings, or ask its provider.",
}
TROUBLES: Final[Mapping[str, str]] = {
    "credentials": "its server does not accept the user name or the password: change them in its settings",
    "unreachable": "its server can't be reached; tried again by itself",
    "slow": "its server is too slow; tried again by itself",
    "dropped": "its server ended the connection; tried again by itself",
    "busy": "its server is busy; tried again by itself",
    "certificate": "no safe connection came about: look at host, port and security in its settings",
    "refused": "its server says no to a usual question",
    "settings": "what is stored can't be used: give the password again in its settings",
}
CHECKS: Final[Mapping[str, str]] = {
    "spf": "Who may send for the domain (SPF)",
    "dkim": "The signature (DKIM)",
    "dmarc": "What receivers do with the rest (DMARC)",
    "mx": "Where answers arrive (MX)",
    "one_click": "Unsubscribing with one click",
}
CHECK_STATES: Final[Mapping[str, tuple[str, str, str]]] = {
    "ok": ("fine", "✓", "answered"),
    "warning": ("could be better", "▲", "waiting"),
    "failed": ("to be mended", "!", "problem"),
    "unknown": ("no answer", "?", "quiet"),
}
DAYS_AHEAD: Final = 14
CHART: Final = (700, 120)


# ---- the list -----------------------------------------------------------------------------------------


async def mailboxes(visit: Visit) -> web.StreamResponse:
    """One row a mailbox."""
    query = {"cursor": visit.request.query["cursor"]} if visit.request.query.get("cursor") else {}
    rows: Rows[MailboxShown] = await visit.ask("GET /v1/mailboxes", query=query)
    users = await colleagues(visit)
    return visit.page(
        "mailboxes.html",
        title="Mailboxes",
        rows=rows.items,
        cursor=rows.next_cursor,
        names=names_by_id(users),
        locked=locked_for(visit, KeyScope.WRITE, users),
        health=HEALTH,
        to_do=TO_DO,
        watched=watched,
    )


def watched(box: MailboxShown) -> tuple[str, str, str]:
    """Whether answers are read: in words, with an icon and a pill."""
    if box.imap is None:
        return "answers by webhook only", "·", "quiet"
    if box.watching is None:
        return "not looked at yet", "…", "quiet"
    if box.watching.trouble:
        return "answers are not read", "!", "problem"
    return "answers are read", "✓", "answered"


# ---- a new one ----------------------------------------------------------------------------------------


async def new(visit: Visit) -> web.StreamResponse:
    """Where a mailbox is connected."""
    return await _new(visit, None)


async def _new(visit: Visit, tried: Tried | None) -> web.Response:
    locked = locked_for(visit, KeyScope.WRITE, await colleagues(visit))
    return visit.page(
        "forms.html",
        title="Connect a mailbox",
        status=status_of(tried),
        back=("/mailboxes", "Mailboxes"),
        forms=with_tried([new_form("/mailboxes", locked)], tried),
    )


async def connect(visit: Visit) -> web.StreamResponse:
    """Connect it; the secret for webhooks is shown this once."""
    typed = await visit.form()
    data = {
        "address": word(typed, "address") or "",
        "display_name": word(typed, "display_name"),
        **said(zone=word(typed, "zone")),
        **servers_data(typed),
    }
    try:
        made: MailboxMade = await visit.ask("POST /v1/mailboxes", data)
    except Problem as problem:
        return await _new(visit, Tried("/mailboxes", typed, problem))
    return _secret(visit, made, f"{made.address} is connected")


def _secret(visit: Visit, made: MailboxMade, title: str) -> web.Response:
    return visit.page("mailbox_secret.html", title=title, box=made)


# ---- one ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of the forecast as it is drawn: what went out stands below what is planned."""

    x: float
    sent: float
    planned: float
    label: str


async def overview(visit: Visit) -> web.StreamResponse:
    """How it is, what it will send, who may send from it."""
    return await _overview(visit, None)


async def _overview(visit: Visit, tried: Tried | None) -> web.Response:
    box = await _box(visit)
    users = await colleagues(visit)
    delegates: Rows[DelegationShown] = await visit.ask(
        "GET /v1/mailboxes/{mailbox_id}/delegates", query={"limit": 100}, mailbox_id=box.id
    )
    ahead = await _forecast(visit, box.id)
    forms = _overview_forms(visit, box, users, delegates.items)
    return visit.page(
        "mailbox.html",
        title=box.address,
        status=status_of(tried),
        box=box,
        tab="",
        names=names_by_id(users),
        forms=with_tried(forms, tried),
        problem=loose(forms, tried),
        delegates=delegates.items,
        may_end=lambda each: _may_end(visit, box, each),
        may_write=visit.caller.may(KeyScope.WRITE),
        ahead=ahead,
        bars=bars(ahead.days) if ahead else [],
        limit_at=limit_at(ahead.days) if ahead else None,
        chart=CHART,
        health=HEALTH,
        to_do=TO_DO,
        troubles=TROUBLES,
        watched=watched,
    )


async def _box(visit: Visit) -> MailboxShown:
    box: MailboxShown = await visit.ask("GET /v1/mailboxes/{mailbox_id}", mailbox_id=_id(visit))
    return box


def _id(visit: Visit) -> UUID:
    return visit.uuid("mailbox_id", "mailbox")


async def _forecast(visit: Visit, mailbox_id: UUID) -> Forecast | None:
    """What is planned; None while it can't be looked up, which must not keep the rest from being seen."""
    try:
        found: Forecast = await visit.ask(
            "GET /v1/mailboxes/{mailbox_id}/forecast", query={"days": DAYS_AHEAD}, mailbox_id=mailbox_id
        )
    except Problem:
        return None
    return found


def bars(days: list[DayAhead]) -> list[Bar]:
    """The days as bars of at most the chart's height."""
    width, height = CHART[0] / max(1, len(days)), CHART[1] - 20
    most = _most(days)
    return [
        Bar(
            round(index * width, 1),
            round(day.sent / most * height, 1),
            round(day.messages / most * height, 1),
            f"{day.date:%d}",
        )
        for index, day in enumerate(days)
    ]


def limit_at(days: list[DayAhead]) -> float | None:
    """How high the limit of the first day stands, where there is one."""
    limit = days[0].limit if days else None
    return round(limit / _most(days) * (CHART[1] - 20), 1) if limit else None


def _most(days: list[DayAhead]) -> int:
    return max([1, *(day.sent + day.messages for day in days), *(day.limit or 0 for day in days[:1])])


def _overview_forms(
    visit: Visit, box: MailboxShown, users: list[UserShown], delegates: list[DelegationShown]
) -> list[Form]:
    at, forms = f"/mailboxes/{box.id}", []
    if box.hold is None and visit.caller.may(KeyScope.WRITE):
        forms.append(_pause_form(visit, at))
    if box.owner_id == visit.caller.user_id and visit.caller.may(KeyScope.WRITE):
        taken = {str(each.user_id) for each in delegates} | {str(box.owner_id)}
        others = {key: name for key, name in active(users).items() if key not in taken}
        if others:
            forms.append(_delegate_form(at, others))
    if visit.caller.is_admin:
        others = {key: name for key, name in active(users).items() if key != str(box.owner_id)}
        if others:
            forms.append(_transfer_form(at, others))
    return forms


def _pause_form(visit: Visit, at: str) -> Form:
    until = Field(
        "until", f"Until ({visit.zone or 'UTC'})", kind="datetime-local", help="Empty: until resumed."
    )
    return Form(
        "Pause it",
        f"{at}/pause",
        (until, Field("reason", "Why, for your colleagues")),
        "Pause what it sends",
        "Nothing is lost: what is planned waits.",
    )


def _delegate_form(at: str, others: Mapping[str, str]) -> Form:
    who = Field("user_id", "Who", kind="select", options=others)
    about = "Their sequences may then send from this mailbox, in your name. You can end it at any time."
    return Form("Let a teammate send from it", f"{at}/delegates", (who,), "Let them send", about)


def _transfer_form(at: str, others: Mapping[str, str]) -> Form:
    to = Field("to", "To", kind="select", options=others)
    about = (
        "What its user had agreed to ends: the new one agrees anew. Giving it back does not bring it back."
    )
    return Form(
        "Give it to somebody else", f"{at}/transfer", (to,), "Give it away and end all consents", about
    )


def _may_end(visit: Visit, box: MailboxShown, each: DelegationShown) -> bool:
    mine = visit.caller.user_id in (box.owner_id, each.user_id) or visit.caller.is_admin
    return mine and visit.caller.may(KeyScope.WRITE)


async def pause(visit: Visit) -> web.StreamResponse:
    """Let it rest."""
    at = f"/mailboxes/{_id(visit)}"

    async def asks(typed: Mapping[str, Any]) -> None:
        until = word(typed, "until")
        data = said(until=instant(until, visit.zone) if until else None, reason=word(typed, "reason"))
        await visit.ask("POST /v1/mailboxes/{mailbox_id}/pause", data, mailbox_id=_id(visit))

    note = Note("It is being paused; what it would send waits.", undo_path=f"{at}/resume")
    return await carry_out(visit, asks, _overview, note, at)


async def resume(visit: Visit) -> web.StreamResponse:
    """Let it send again."""
    at = f"/mailboxes/{_id(visit)}"

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/mailboxes/{mailbox_id}/resume", mailbox_id=_id(visit))

    note = Note("It is being resumed; what waited is planned again.", undo_path=f"{at}/pause")
    return await carry_out(visit, asks, _overview, note, at)


async def agree(visit: Visit) -> web.StreamResponse:
    """Let a teammate send from it."""
    at = f"/mailboxes/{_id(visit)}"

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {"user_id": word(typed, "user_id")}
        await visit.ask("POST /v1/mailboxes/{mailbox_id}/delegates", data, mailbox_id=_id(visit))

    return await carry_out(visit, asks, _overview, "They may send from it now.", at)


async def end(visit: Visit) -> web.StreamResponse:
    """End that somebody may send from it; the mailbox's user can agree again."""
    at, user_id = f"/mailboxes/{_id(visit)}", visit.uuid("user_id", "delegate")
    box = await _box(visit)

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask(
            "DELETE /v1/mailboxes/{mailbox_id}/delegates/{user_id}", mailbox_id=box.id, user_id=user_id
        )

    note = Note("They may not send from it any more; what they had planned from it waits.")
    if box.owner_id == visit.caller.user_id:
        note = Note(note.text, undo_path=f"{at}/delegates", undo_fields={"user_id": str(user_id)})
    return await carry_out(visit, asks, _overview, note, at)


async def transfer(visit: Visit) -> web.StreamResponse:
    """Give it to another user."""
    names = names_by_id(await colleagues(visit))
    to = named(names, word(await visit.form(), "to"))

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {"to": word(typed, "to")}
        await visit.ask("POST /v1/mailboxes/{mailbox_id}/transfer", data, mailbox_id=_id(visit))

    return await carry_out(visit, asks, _overview, f"It is {to}'s now.", f"/mailboxes/{_id(visit)}")


# ---- its settings -------------------------------------------------------------------------------------


async def settings(visit: Visit) -> web.StreamResponse:
    """All that can be set."""
    return await _settings(visit, None)


async def _settings(visit: Visit, tried: Tried | None) -> web.Response:
    box = await _box(visit)
    forms = settings_forms(visit, box, await colleagues(visit))
    return visit.page(
        "mailbox_settings.html",
        title=box.address,
        status=status_of(tried),
        box=box,
        tab="/settings",
        may_write=visit.caller.may(KeyScope.WRITE),
        forms=with_tried(forms, tried),
    )


def settings_forms(visit: Visit, box: MailboxShown, users: list[UserShown]) -> list[Form]:
    """The forms of its settings."""
    at = f"/mailboxes/{box.id}"
    locked = locked_for(visit, KeyScope.WRITE, users)
    return [
        writing_form(at, box, locked),
        hours_form(at, box, locked),
        limits_form(at, box, locked),
        servers_form(at, box, locked),
        signs_form(at, box, locked_for(visit, KeyScope.ADMIN, users)),
        mailgun_form(at, locked),
    ]


SETTINGS: Final = {
    "writing": (writing_data, "Saved: it holds for what is written from now on."),
    "hours": (hours_data, "Saved. What is planned is planned again with these hours."),
    "limits": (limits_data, "Saved. What is over a limit waits for the first free time."),
    "servers": (servers_data, "Saved. Changed servers are tried at once."),
}


async def change(visit: Visit) -> web.StreamResponse:
    """One group of its settings; the others stay as they are, secrets too."""
    part = visit.request.path.rpartition("/")[2]
    data_of, note = SETTINGS[part]
    box = await _box(visit)
    at = f"/mailboxes/{box.id}"
    forms = settings_forms(visit, box, await colleagues(visit))
    before = next(each for each in forms if each.action == f"{at}/{part}")

    async def asks(typed: Mapping[str, Any]) -> None:
        kept = kept_settings(box, without=("smtp", "imap", "oauth") if part == "servers" else ())
        data = {**kept, **data_of(typed)}
        await visit.ask("PUT /v1/mailboxes/{mailbox_id}", data, mailbox_id=box.id)

    undo = None if part == "servers" else before  # an undo could not send the secrets that were there
    return await carry_out(visit, asks, _settings, note, f"{at}/settings", before=undo)


async def signs(visit: Visit) -> web.StreamResponse:
    """Who signs what it sends."""
    box = await _box(visit)
    at = f"/mailboxes/{box.id}"

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {"signs": word(typed, "signs")}
        await visit.ask("PUT /v1/mailboxes/{mailbox_id}/signs", data, mailbox_id=box.id)

    before = signs_form(at, box, "")
    return await carry_out(visit, asks, _settings, "Saved.", f"{at}/settings", before=before)


async def mailgun(visit: Visit) -> web.StreamResponse:
    """The key with which Mailgun signs."""
    at = f"/mailboxes/{_id(visit)}/settings"

    async def asks(typed: Mapping[str, Any]) -> None:
        key = word(typed, "signing_key")
        if key is None and not ticked(typed, "away"):
            raise invalid_at("/signing_key", "is missing; to take it away, tick the box")
        data = {"signing_key": None if ticked(typed, "away") else key}
        await visit.ask("PUT /v1/mailboxes/{mailbox_id}/mailgun-key", data, mailbox_id=_id(visit))

    return await carry_out(visit, asks, _settings, "Saved: the key before does not count any more.", at)


async def secret(visit: Visit) -> web.StreamResponse:
    """A new secret for webhooks, shown this once."""
    await visit.form()
    made: MailboxMade = await visit.ask(
        "POST /v1/mailboxes/{mailbox_id}/rotate-inbound-secret", mailbox_id=_id(visit)
    )
    return _secret(visit, made, "The new secret")


# ---- its domain ---------------------------------------------------------------------------------------


async def check(visit: Visit) -> web.StreamResponse:
    """What its domain lacks, asked of DNS now."""
    box = await _box(visit)
    selector = visit.request.query.get("selector", "").strip()
    problem = found = None
    try:
        found = await _deliverability(visit, box.id, selector)
    except Problem as caught:
        problem = caught
    return visit.page(
        "mailbox_check.html",
        title=box.address,
        box=box,
        tab="/check",
        **({"status": problem.status} if problem else {}),
        problem=problem.details if problem else None,
        found=found,
        selector=selector,
        checks=CHECKS,
        states=CHECK_STATES,
        signs=SIGNS,
    )


async def _deliverability(visit: Visit, mailbox_id: UUID, selector: str) -> Deliverability:
    found: Deliverability = await visit.ask(
        "GET /v1/mailboxes/{mailbox_id}/deliverability",
        query={"selector": selector} if selector else {},
        mailbox_id=mailbox_id,
    )
    return found


_ONE = "/mailboxes/{mailbox_id}"
PAGES = (
    Page("GET", "/mailboxes", mailboxes),
    Page("POST", "/mailboxes", connect),
    Page("GET", "/mailboxes/new", new),
    Page("GET", _ONE, overview),
    Page("POST", _ONE + "/pause", pause),
    Page("POST", _ONE + "/resume", resume),
    Page("POST", _ONE + "/delegates", agree),
    Page("POST", _ONE + "/delegates/{user_id}/end", end),
    Page("POST", _ONE + "/transfer", transfer),
    Page("GET", _ONE + "/settings", settings),
    *(Page("POST", f"{_ONE}/{part}", change) for part in SETTINGS),
    Page("POST", _ONE + "/signs", signs),
    Page("POST", _ONE + "/mailgun", mailgun),
    Page("POST", _ONE + "/secret", secret),
    Page("GET", _ONE + "/check", check),
)
