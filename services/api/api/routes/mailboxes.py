"""Mailboxes: the identities that messages are sent from, and the secrets that go with them."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, model_validator

from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import conflict, invalid_at, not_found
from api.routing import Answer, Call, Closed, Empty, Route, Shown, Takes
from api.submitting import submit, wish_of
from api.times import check_zone_name
from chassis.documents import WatchingView, hold_id, hold_is_active
from chassis.errors import Duplicate
from chassis.store import Document
from segue_contracts.commands import Replan, ReplanReason, ReplanScope
from segue_contracts.problems import found
from segue_contracts.prospect import check_date
from segue_contracts.sequence import WindowsText
from segue_contracts.text import Email, Line, check_text

INBOUND_SECRET_BYTES = 32
_HOST = r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$"
HOURS = ("zone", "country", "windows", "time_off")
"""What planning stands on."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_days(value: str) -> str:
    """A date, or `from/to`, else `ValueError`."""
    first, slash, last = value.partition("/")
    check_date(first)
    if slash and check_date(last) < first:
        raise ValueError("ends before it begins")
    return value


TimeOff = Annotated[str, AfterValidator(check_days)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(check_zone_name)]
Signature = Annotated[str, Field(max_length=4000), AfterValidator(check_text)]


class Smtp(Closed):
    """How to send. `password` is kept encrypted and never shown; leave it out of a PUT to keep it."""

    host: str = Field(pattern=_HOST)
    port: int = Field(ge=1, le=65535, strict=True)
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: Line | None = None
    password: SecretStr | None = Field(default=None, max_length=1000)

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        if self.security == "none" and self.username is not None and self.host not in _LOOPBACK:
            raise found(("security", "would send the password unencrypted: use starttls or tls"))
        if self.password is not None and self.username is None:
            raise found(("username", "is missing: a password needs one"))
        return self


class Imap(Closed):
    """How to read what arrives. `password` is kept encrypted and never shown; leave it out of a PUT to keep
    it. With `xoauth2` it is an access token.
    """

    host: str = Field(pattern=_HOST)
    port: int = Field(default=993, ge=1, le=65535, strict=True)
    security: Literal["none", "starttls", "tls"] = "tls"
    auth: Literal["password", "xoauth2"] = "password"
    username: Line
    password: SecretStr | None = Field(default=None, min_length=1, max_length=4000)

    @model_validator(mode="after")
    def _nothing_in_the_clear(self) -> Self:
        if self.security == "none" and self.host not in _LOOPBACK:
            raise found(("security", "would send the password unencrypted: use starttls or tls"))
        return self


class MailboxLimits(Closed):
    """How much the mailbox sends at most; what is over a limit waits for the first free time."""

    per_day: int | None = Field(default=None, ge=1, le=100_000, strict=True, description="In any 24 hours")
    per_hour: int | None = Field(default=None, ge=1, le=100_000, strict=True, description="In any 60 minutes")
    gap_seconds: int | None = Field(
        default=None, ge=1, le=86_400, strict=True, description="Between two messages, at least"
    )


class MailboxSettings(Closed):
    """What a mailbox is."""

    display_name: Annotated[str, Field(max_length=200)] | None = None
    signature: Signature = ""
    zone: Zone | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] | None = None
    windows: WindowsText | None = Field(default=None, description="When this sender writes, in `zone`")
    time_off: list[TimeOff] = Field(default=[], max_length=366, description="Dates, or from/to")
    limits: MailboxLimits = MailboxLimits()
    smtp: Smtp
    imap: Imap | None = Field(
        default=None, description="Without it answers come by webhook only; leaving it out disconnects it"
    )


class NewMailbox(MailboxSettings):
    """A mailbox to be; it belongs to the caller."""

    address: Email


class SmtpShown(Shown):
    """How it sends, without the password."""

    host: str
    port: int
    security: str
    username: str | None
    has_password: bool


class ImapShown(Shown):
    """How it is read, without the password; `since`: older messages are not looked at."""

    host: str
    port: int
    security: str
    auth: str
    username: str
    since: datetime


class WatchingShown(Shown):
    """How watching it goes: `trouble` is credentials, unreachable, certificate, dropped, slow, busy, refused
    or settings; `words` are the server's own.
    """

    looked_at: datetime | None
    failing_since: datetime | None
    trouble: str | None
    words: str


class MailboxHold(Shown):
    """Why a mailbox rests: its server refuses it (until then), people paused it, or Segue did, for its
    `bounce_rate` or `complaint_rate`: find out why, then resume it; the count begins anew.
    """

    reason: str
    by: str
    until: datetime | None


class MailboxShown(Shown):
    """A mailbox; `watching` is null until its IMAP server was tried for the first time."""

    id: UUID = Field(validation_alias="_id")
    address: str
    display_name: str
    owner_id: UUID
    signature: str
    zone: str | None
    country: str | None
    windows: dict[str, list[str]] | None
    time_off: list[str]
    limits: MailboxLimits
    smtp: SmtpShown
    imap: ImapShown | None
    watching: WatchingShown | None
    inbound_url: str
    signs: Literal["provider", "own"]
    hold: MailboxHold | None = None
    created_at: datetime
    updated_at: datetime


class MailboxMade(MailboxShown):
    """A mailbox; `inbound_secret` signs inbound webhooks and is shown this once."""

    inbound_secret: str


# ---- documents ----------------------------------------------------------------------------------------


def settings_of(
    call: Call, new: MailboxSettings, kept_secret: str | None, imap_before: Document | None
) -> Document:
    """The fields that a POST and a PUT set."""
    smtp, now = new.smtp, call.api.clock.real_now()
    secret = kept_secret
    if smtp.password is not None:
        secret = call.api.secrets.encrypt(smtp.password.get_secret_value())
    return {
        "display_name": new.display_name or "",
        "signature": new.signature,
        "zone": new.zone,
        "country": new.country,
        "windows": {days: list(hours) for days, hours in new.windows.items()} if new.windows else None,
        "time_off": list(new.time_off),
        "limits": new.limits.model_dump(),
        "smtp": {
            "host": smtp.host,
            "port": smtp.port,
            "security": smtp.security,
            "username": smtp.username,
            "secret": secret,
        },
        "imap": imap_of(call, new.imap, imap_before, now) if new.imap is not None else None,
        "updated_at": now,
    }


def imap_of(call: Call, imap: Imap, before: Document | None, now: datetime) -> Document:
    """What is stored of an IMAP server; Problem 422 without a password that was given for it."""
    same = before is not None and all(
        before[name] == getattr(imap, name) for name in ("host", "port", "username")
    )
    if imap.password is not None:
        secret = call.api.secrets.encrypt(imap.password.get_secret_value())
    elif before is not None and same and (before["security"], before["auth"]) == (imap.security, imap.auth):
        secret = before["secret"]
    else:
        raise invalid_at("/imap/password", "is missing: give it for this server, user, security and auth")
    return {
        **imap.model_dump(exclude={"password"}),
        "secret": secret,
        # Another account begins anew; another password for the same one goes on where it was.
        "since": before["since"] if before is not None and same else now,
    }


def shown(call: Call, mailbox: Document, watching: WatchingView | None) -> dict[str, Any]:
    """What may be shown of a mailbox."""
    smtp = {**mailbox["smtp"], "has_password": mailbox["smtp"].get("secret") is not None}
    return {
        **mailbox,
        "smtp": smtp,
        "imap": mailbox.get("imap"),
        "watching": watching if mailbox.get("imap") else None,
        "inbound_url": call.api.url(f"/v1/inbound/{mailbox['_id']}"),
        "signs": "own" if mailbox.get("signing_domain") else "provider",
    }


async def shown_now(call: Call, mailbox: Document) -> dict[str, Any]:
    """With how watching it goes, and its hold."""
    views = await call.api.store.mailboxes.watching(call.caller.workspace, [mailbox["_id"]])
    held = await holds_of(call, [mailbox])
    return {**shown(call, mailbox, views.get(mailbox["_id"])), "hold": held.get(mailbox["_id"])}


async def holds_of(call: Call, mailboxes: Sequence[Document]) -> dict[UUID, Document]:
    """The active holds of mailboxes, by mailbox."""
    ids = {hold_id("mailbox", each["_id"]): each["_id"] for each in mailboxes}
    found = await call.api.reads.holds(call.caller.workspace, list(ids))
    now = call.api.clock.now()
    return {ids[name]: hold for name, hold in found.items() if hold_is_active(hold, now)}


def new_inbound_secret() -> str:
    """What a webhook signs with."""
    return secrets.token_urlsafe(INBOUND_SECRET_BYTES)


async def existing(call: Call) -> Document:
    """The mailbox that the path names; Problem 404 otherwise."""
    mailbox_id = call.uuid("mailbox_id", "mailbox")
    mailbox = await call.api.store.mailboxes.one(call.caller.workspace, mailbox_id)
    if mailbox is None:
        raise not_found("mailbox")
    return mailbox


# ---- routes -------------------------------------------------------------------------------------------


async def add(call: Call) -> Answer:
    """Connect a mailbox."""
    new: NewMailbox = call.body.data
    check_password(new.smtp, None)
    inbound_secret = new_inbound_secret()
    settings = settings_of(call, new, None, None)
    mailbox: Document = {
        "_id": call.ids.next(),
        "workspace_id": call.caller.workspace,
        "address": new.address.lower(),
        "owner_id": call.caller.user_id,
        "signing_domain": None,
        "inbound_secret": call.api.secrets.encrypt(inbound_secret),
        "created_at": settings["updated_at"],
        **settings,
    }
    try:
        await call.api.store.mailboxes.add(mailbox)
    except Duplicate:
        raise conflict("exists", "This address is connected already: change it with PUT.") from None
    made = MailboxMade.model_validate({**shown(call, mailbox, None), "inbound_secret": inbound_secret})
    return Answer(made, HTTPStatus.CREATED, {"Location": call.api.url(f"/v1/mailboxes/{mailbox['_id']}")})


async def list_them(call: Call) -> Answer:
    """Mailboxes, the newest first."""
    found, cursor = await call.api.store.mailboxes.page(call.caller.workspace, call.query)
    views = await call.api.store.mailboxes.watching(call.caller.workspace, [each["_id"] for each in found])
    held = await holds_of(call, found)
    items = [
        MailboxShown.model_validate(
            {**shown(call, each, views.get(each["_id"])), "hold": held.get(each["_id"])}
        )
        for each in found
    ]
    return Answer(Page[MailboxShown](items=items, next_cursor=cursor))


async def get(call: Call) -> Answer:
    """One mailbox."""
    return Answer(MailboxShown.model_validate(await shown_now(call, await existing(call))))


async def replace(call: Call) -> Answer:
    """All settings of a mailbox; its address stays, and its passwords too where none are given."""
    mailbox = await existing(call)
    new: MailboxSettings = call.body.data
    check_password(new.smtp, mailbox["smtp"])
    keeps = new.smtp.username is not None
    kept = mailbox["smtp"].get("secret") if keeps else None
    settings = settings_of(call, new, kept, mailbox.get("imap"))
    if any(settings[name] != mailbox.get(name) for name in HOURS):
        await _replan(call, mailbox)
    changed = await _change(call, mailbox, settings)
    return Answer(MailboxShown.model_validate(await shown_now(call, changed)))


def check_password(smtp: Smtp, before: Document | None) -> None:
    """Problem 422 if the stored password would go to another server or user than it was given for."""
    if smtp.username is None or smtp.password is not None:
        return
    if before is None or before.get("secret") is None:
        raise invalid_at("/smtp/password", "is missing: a username needs one")
    if any(before[name] != getattr(smtp, name) for name in ("host", "port", "username", "security")):
        raise invalid_at("/smtp/password", "is missing: give it again for another server, user or security")


async def _replan(call: Call, mailbox: Document) -> None:
    """Stored before the change: nobody would ask after a crash. The scheduler begins some seconds later."""
    scope_id = mailbox["_id"]
    reason, scope = ReplanReason.MAILBOX_CHANGED, ReplanScope.MAILBOX
    wish = wish_of(call, Replan, str(scope_id), scope=scope, scope_id=scope_id, reason=reason)
    await submit(call, [wish])


async def rotate(call: Call) -> Answer:
    """A new secret for inbound webhooks; the old one ends at once."""
    mailbox = await existing(call)
    inbound_secret = new_inbound_secret()
    fields = {
        "inbound_secret": call.api.secrets.encrypt(inbound_secret),
        "updated_at": call.api.clock.real_now(),
    }
    changed = await _change(call, mailbox, fields)
    told = await shown_now(call, changed)
    return Answer(MailboxMade.model_validate({**told, "inbound_secret": inbound_secret}))


async def _change(call: Call, mailbox: Document, fields: Document) -> Document:
    changed = await call.api.store.mailboxes.change(mailbox, fields)
    if changed is None:
        raise conflict("changed-meanwhile", "Somebody else changed this mailbox at this moment: try again.")
    return changed


_ONE = "/v1/mailboxes/{mailbox_id}"

ROUTES = (
    Route(
        "GET",
        "/v1/mailboxes",
        list_them,
        "List mailboxes",
        KeyScope.READ,
        answer=Page[MailboxShown],
        query=PageQuery,
        tag="Mailboxes",
    ),
    Route(
        "POST",
        "/v1/mailboxes",
        add,
        "Connect a mailbox",
        KeyScope.WRITE,
        answer=MailboxMade,
        status=HTTPStatus.CREATED,
        takes=Takes(NewMailbox),
        tag="Mailboxes",
    ),
    Route("GET", _ONE, get, "Read a mailbox", KeyScope.READ, answer=MailboxShown, tag="Mailboxes"),
    Route(
        "PUT",
        _ONE,
        replace,
        "Change a mailbox",
        KeyScope.WRITE,
        answer=MailboxShown,
        takes=Takes(MailboxSettings),
        tag="Mailboxes",
    ),
    Route(
        "POST",
        _ONE + "/rotate-inbound-secret",
        rotate,
        "Make a new secret for inbound webhooks",
        KeyScope.WRITE,
        answer=MailboxMade,
        takes=Takes(Empty, optional=True),
        tag="Mailboxes",
    ),
)
