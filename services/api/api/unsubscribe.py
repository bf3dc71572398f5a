"""The page behind the link to unsubscribe, and the one click of mail programs (RFC 8058); no login.

Only a POST changes anything: scanners fetch every link in a message.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from uuid import UUID, uuid5

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from api import telemetry
from api.courier import Letter
from api.forms import read_form
from api.handlers import ApiKey, read_body
from api.model import command_document
from api.problems import Problem
from api.routing import KIB, Api
from api.unsubscribe_words import WORDS, language_for
from chassis.errors import Retry
from chassis.store import Document, Workspace
from chassis.telemetry import fields
from chassis.unsubscribing import FIELD, ONE_CLICK, PATH, Ticket, read, sender_value
from segue_contracts.events import EnrollmentStop, StopReason
from segue_contracts.ids import split_dispatch_id
from segue_contracts.message import Scope

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * KIB
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept-Language",
}
_template = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
).get_template("unsubscribe.html")


class Reach(StrEnum):
    """Whose messages end: those of one mailbox, or of the whole workspace."""

    SENDER = "sender"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Message:
    """What is known of the message that held the link; it may be long gone."""

    mailbox_id: UUID | None
    recipient: str | None
    sender: str
    workspace: str


def add_unsubscribe(app: web.Application) -> None:
    """Serve the page; HEAD as GET."""
    app.router.add_get(PATH + "{ticket}", show)
    app.router.add_post(PATH + "{ticket}", unsubscribe)


async def show(request: web.Request) -> web.StreamResponse:
    """The page with the two choices; changes nothing."""
    api = request.app[ApiKey]
    try:
        ticket = read(request.match_info["ticket"], api.secrets)
        if ticket is None:
            return _page(request, "unknown", status=HTTPStatus.NOT_FOUND)
        return _page(request, "question", await message_of(api, ticket))
    except Retry:
        return _page(request, "later", status=HTTPStatus.SERVICE_UNAVAILABLE)


async def unsubscribe(request: web.Request) -> web.StreamResponse:
    """Unsubscribe at once; the same post again changes nothing more."""
    api = request.app[ApiKey]
    ticket = read(request.match_info["ticket"], api.secrets)
    raw = await read_body(request, MAX_BODY_BYTES)
    if ticket is None:
        return _page(request, "unknown", status=HTTPStatus.NOT_FOUND)
    reach, is_one_click = _wish(request.headers.get("Content-Type", ""), raw)
    try:
        message = await message_of(api, ticket)
        await carry_out(api, ticket, message, reach, is_one_click=is_one_click)
    except Retry as error:
        log.warning("not unsubscribed", extra=fields("unsubscribe.failed", error=str(error)[:300]))
        return _page(request, "later", status=HTTPStatus.SERVICE_UNAVAILABLE)
    return _page(request, f"{reach}_done", message)


def _wish(content_type: str, raw: bytes) -> tuple[Reach, bool]:
    """How far it reaches, and whether a mail program asked; what is not the narrower wish is the wider."""
    try:
        form = read_form(content_type, raw)
    except Problem:
        return Reach.EVERYTHING, False
    is_one_click = form.word(FIELD) == ONE_CLICK
    is_narrow = form.word("reach") == Reach.SENDER and not is_one_click
    return (Reach.SENDER if is_narrow else Reach.EVERYTHING), is_one_click


async def message_of(api: Api, ticket: Ticket) -> Message:
    """What the ticket's message says of itself: whom it was to is never shown."""
    workspace = Workspace(ticket.workspace_id)
    delivery = await api.reads.delivery(workspace, ticket.dispatch_id)
    mailbox_id = delivery.mailbox_id if delivery else None
    mailbox = await api.store.mailboxes.one(workspace, mailbox_id) if mailbox_id else None
    organisation = await api.store.people.workspace(workspace)
    recipient = delivery.recipient if delivery else None
    if recipient is None:
        person = (await api.reads.people(workspace, {ticket.person_id})).get(ticket.person_id)
        recipient = person.prospect.get("email") if person else None
    name = organisation["name"] if organisation else "…"
    sender = (mailbox.get("display_name") or mailbox["address"]) if mailbox else name
    return Message(mailbox_id, recipient, sender, name)


# ---- what it does -------------------------------------------------------------------------------------


async def carry_out(
    api: Api, ticket: Ticket, message: Message, reach: Reach, *, is_one_click: bool = False
) -> None:
    """Audit, suppress, then stop, each durably: whoever is cut off between them can post again.

    The suppression alone keeps the sender from sending; the stops end what waits, and tell why.
    """
    workspace = Workspace(ticket.workspace_id)
    stops = stops_of(api, ticket, reach)
    if await api.store.commands.one(workspace, stops[0][0].event_id) is None:
        await api.store.audit.add(_audit_entry(api, ticket, reach, is_one_click))
    suppression = _suppression(api, ticket, message, reach)
    if suppression is not None:
        await api.store.suppressions.add(suppression)
    now, real_now = api.clock.now(), api.clock.real_now()
    await api.store.commands.add([command_document(stop, target, now, real_now) for stop, target in stops])
    api.courier.take([Letter(stop, stop.event_id) for stop, _ in stops])
    telemetry.UNSUBSCRIBED.labels(reach.value, "one_click" if is_one_click else "page").inc()


def stops_of(api: Api, ticket: Ticket, reach: Reach) -> list[tuple[EnrollmentStop, str]]:
    """The stops with their targets: of the enrollment, and of the person where all of it ends."""
    enrollment, _ = split_dispatch_id(ticket.dispatch_id)
    common = {
        "event_type": StopReason.UNSUBSCRIBED,
        "occurred_at": api.clock.now(),
        "recorded_at": api.clock.real_now(),
        "workspace_id": ticket.workspace_id,
        "reason_code": f"link_{reach}",
    }

    def cause(scope: Scope) -> UUID:
        return uuid5(enrollment, f"unsubscribed/{ticket.dispatch_id}/{reach}/{scope.value}")

    narrow = EnrollmentStop(
        event_id=cause(Scope.ENROLLMENT), scope=Scope.ENROLLMENT, enrollment_id=enrollment, **common
    )
    if reach is Reach.SENDER:
        return [(narrow, str(enrollment))]
    wide = EnrollmentStop(
        event_id=cause(Scope.PERSON), scope=Scope.PERSON, person_id=ticket.person_id, **common
    )
    return [(narrow, str(enrollment)), (wide, str(ticket.person_id))]


def _suppression(api: Api, ticket: Ticket, message: Message, reach: Reach) -> Document | None:
    if message.recipient is None:
        return None
    kind, value = "address", message.recipient
    if reach is Reach.SENDER:
        if message.mailbox_id is None:
            return None
        kind, value = "sender", sender_value(message.mailbox_id, message.recipient)
    return {
        "_id": api.secrets.suppression_id(ticket.workspace_id, kind, value),
        "workspace_id": ticket.workspace_id,
        "kind": kind,
        "reason": StopReason.UNSUBSCRIBED.value,
        "by": "unsubscribe link",
        "at": api.clock.now(),
    }


def _audit_entry(api: Api, ticket: Ticket, reach: Reach, is_one_click: bool) -> Document:
    return {
        "_id": uuid5(ticket.person_id, f"unsubscribed/{ticket.dispatch_id}/{reach}/{api.clock.real_now()}"),
        "workspace_id": ticket.workspace_id,
        "at": api.clock.real_now(),
        "by": None,
        "key_id": None,
        "action": "person.unsubscribed",
        "target": ticket.dispatch_id,
        "detail": {"reach": reach.value, "by": "one_click" if is_one_click else "page"},
    }


# ---- what it shows ------------------------------------------------------------------------------------

_OFFERED: Mapping[str, Sequence[Reach]] = {
    "question": (Reach.SENDER, Reach.EVERYTHING),
    "sender_done": (Reach.EVERYTHING,),
}


def _page(
    request: web.Request, state: str, message: Message | None = None, *, status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    language = language_for(request.headers.get("Accept-Language", ""))
    words = WORDS[language]
    named = {"sender": message.sender, "workspace": message.workspace} if message else {}

    def say(template: str) -> str:
        return template.format(**named)

    choices = [
        {
            "reach": reach.value,
            "label": say(getattr(words, reach)),
            "note": say(getattr(words, f"{reach}_note")),
        }
        for reach in _OFFERED.get(state, ())
    ]
    return public_page(language, words.title, say(getattr(words, state)), choices, status=status)


def public_page(
    language: str,
    title: str,
    said: str,
    choices: Sequence[Mapping[str, str]] = (),
    *,
    status: HTTPStatus = HTTPStatus.OK,
) -> web.Response:
    """A page for whoever follows a link in a message: it needs no login, and nothing is loaded or kept."""
    html = _template.render(language=language, title=title, said=said, choices=choices)
    headers = {**HEADERS, "Content-Language": language}
    return web.Response(status=status, text=html, content_type="text/html", charset="utf-8", headers=headers)
