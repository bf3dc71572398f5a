"""Mailboxes: the identities that messages are sent from, and the secrets that go with them."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, model_validator

from api.auditing import audit
from api.hosts import check_host, check_url
from api.keys import KeyScope
from api.mail_content import reply_errors, signature_errors, signature_text_of, values_of_signer
from api.mailbox_health import MailboxHealth, healths_of
from api.mailbox_logins import OAuth, OAuthShown, check_same_servers, oauth_of
from api.paging import Page, PageQuery
from api.problems import conflict, invalid, invalid_at, not_found
from api.routes.tokens import tokens_of
from api.routing import Answer, Call, Closed, Empty, Route, Shown, Takes
from api.submitting import submit, wish_of
from api.times import check_zone_name
from chassis.documents import MailboxLimits as MailboxLimitsView
from chassis.documents import WatchingView, hold_id, hold_is_active
from chassis.errors import Duplicate
from chassis.hosts import IMAP_PORTS, SMTP_PORTS
from chassis.ramp import MOST_STEPS, step_count
from chassis.store import Document
from chassis.zones import find_zone
from segue_contracts.commands import Replan, ReplanReason, ReplanScope
from segue_contracts.problems import found
from segue_contracts.prospect import DateText, check_date
from segue_contracts.sequence import ReplyTo, WindowsText
from segue_contracts.text import Email, Line, check_text, check_value_size

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
Signature = Annotated[str, AfterValidator(check_text), AfterValidator(check_value_size)]
SignatureHtml = Annotated[str, Field(max_length=8192), AfterValidator(check_text)]


class Smtp(Closed):
    """How to send. `password` is kept encrypted and never shown; leave it out of a PUT to keep it."""

    host: str = Field(pattern=_HOST)
    port: int = Field(ge=1, le=65535, strict=True)
    security: Literal["none", "starttls", "tls"] = "starttls"
    auth: Literal["password", "oauth2"] = Field(
        default="password", description="oauth2: with the access that `oauth` has"
    )
    username: Line | None = Field(default=None, description="With oauth2 the address, if left out")
    password: SecretStr | None = Field(default=None, max_length=1000)

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Self:
        logs_in = self.username is not None or self.auth == "oauth2"
        if self.security == "none" and logs_in and self.host not in _LOOPBACK:
            raise found(("security", "would send the password unencrypted: use starttls or tls"))
        if self.password is not None and self.auth == "oauth2":
            raise found(("password", "has no use with oauth2"))
        if self.password is not None and self.username is None:
            raise found(("username", "is missing: a password needs one"))
        return self


class Imap(Closed):
    """How to read what arrives. `password` is kept encrypted and never shown; leave it out of a PUT to keep
    it. With `xoauth2` it is an access token, which is not renewed; `oauth2` is the access that `oauth` has.
    """

    host: str = Field(pattern=_HOST)
    port: int = Field(default=993, ge=1, le=65535, strict=True)
    security: Literal["none", "starttls", "tls"] = "tls"
    auth: Literal["password", "xoauth2", "oauth2"] = "password"
    username: Line | None = Field(default=None, description="With oauth2 the address, if left out")
    password: SecretStr | None = Field(default=None, min_length=1, max_length=4000)

    @model_validator(mode="after")
    def _nothing_in_the_clear(self) -> Self:
        if self.security == "none" and self.host not in _LOOPBACK:
            raise found(("security", "would send the password unencrypted: use starttls or tls"))
        if self.password is not None and self.auth == "oauth2":
            raise found(("password", "has no use with oauth2"))
        if self.username is None and self.auth != "oauth2":
            raise found(("username", "is missing"))
        return self


Server = TypeVar("Server", Smtp, Imap)


class Ramp(Closed):
    """How a new mailbox's day grows: `start` messages in 24 hours on the first working day, `add_per_day`
    more on each one after it, Monday to Friday, up to `until`, which then stays.
    """

    start: int = Field(ge=1, le=100_000, strict=True, examples=[20])
    add_per_day: int = Field(ge=1, le=100_000, strict=True, examples=[10])
    until: int = Field(ge=1, le=100_000, strict=True, examples=[200])
    since: DateText | None = Field(
        default=None, description="The first day, in the mailbox's zone; today, or as it was, if left out"
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.until < self.start:
            raise found(("until", "must not be below start"))
        if step_count(self.start, self.add_per_day, self.until) > MOST_STEPS:
            raise found(("add_per_day", f"is so little that it takes more than {MOST_STEPS} working days"))
        return self


class MailboxLimits(Closed):
    """How much the mailbox sends at most; what is over a limit waits for the first free time."""

    per_day: int | None = Field(default=None, ge=1, le=100_000, strict=True, description="In any 24 hours")
    per_hour: int | None = Field(default=None, ge=1, le=100_000, strict=True, description="In any 60 minutes")
    gap_seconds: int | None = Field(
        default=None, ge=1, le=86_400, strict=True, description="Between two messages, at least"
    )
    ramp: Ramp | None = Field(
        default=None, description="Of a new mailbox; the smaller one of it and per_day holds"
    )


class MailboxSettings(Closed):
    """What a mailbox is."""

    display_name: Annotated[str, Field(max_length=200)] | None = None
    signature: Signature = Field(default="", description="A template of `my_name` and the workspace's tokens")
    signature_html: SignatureHtml = Field(default="", description="Beside it or alone: then the text follows")
    signature_at_end: bool = Field(
        default=False, strict=True, description="Below every e-mail that does not place {{signature}} itself"
    )
    reply_to: ReplyTo | None = None
    zone: Zone | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] | None = None
    windows: WindowsText | None = Field(default=None, description="When this sender writes, in `zone`")
    time_off: list[TimeOff] = Field(default=[], max_length=366, description="Dates, or from/to")
    limits: MailboxLimits = MailboxLimits()
    smtp: Smtp | None = Field(default=None, description="Of a known `oauth.provider` it can be left out")
    imap: Imap | None = Field(
        default=None,
        description="Without it answers come by webhook only; leaving it out disconnects it, or means the "
        "`oauth.provider`'s",
    )
    oauth: OAuth | None = None

    @model_validator(mode="after")
    def _logins_are_complete(self) -> Self:
        if self.smtp is None and (self.oauth is None or self.oauth.preset is None):
            raise found(("smtp", "is missing"))
        servers = {"smtp": self.smtp, "imap": self.imap}
        wanting = [name for name, server in servers.items() if server is not None and server.auth == "oauth2"]
        if wanting and self.oauth is None:
            raise found(*((f"{name}.auth", "is oauth2, and there is no `oauth`") for name in wanting))
        return self

    def servers(self, address: str) -> tuple[Smtp, Imap | None]:
        """What is set or a provider's preset says, with the name to log in with."""
        smtp, imap = self.smtp, self.imap
        preset = self.oauth.preset if self.oauth is not None else None
        if preset is not None and smtp is None:
            smtp = Smtp(host=preset.smtp_host, port=preset.smtp_port, auth="oauth2")
        if preset is not None and "imap" not in self.model_fields_set:
            imap = Imap(host=preset.imap_host, port=preset.imap_port, auth="oauth2")
        assert smtp is not None, "validated"
        return _named(smtp, address), _named(imap, address) if imap is not None else None


def _named(server: Server, address: str) -> Server:
    is_nameless = server.auth == "oauth2" and server.username is None
    return server.model_copy(update={"username": address}) if is_nameless else server


class NewMailbox(MailboxSettings):
    """A mailbox to be; it belongs to the caller."""

    address: Email


class SmtpShown(Shown):
    """How it sends, without the password."""

    host: str
    port: int
    security: str
    auth: str = "password"
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
    """Why a mailbox rests: its server refuses it (until then), access to it was taken back (`access_lost`:
    connect it again), people paused it, or Segue did, for its `bounce_rate` or `complaint_rate`: find out
    why, then resume it; the count begins anew.
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
    signature_html: str = ""
    signature_at_end: bool = False
    reply_to: str | None = None
    zone: str | None
    country: str | None
    windows: dict[str, list[str]] | None
    time_off: list[str]
    limits: MailboxLimits
    per_day_now: int | None = Field(description="Today's limit of messages in 24 hours, with the ramp's")
    smtp: SmtpShown
    imap: ImapShown | None
    oauth: OAuthShown | None = None
    watching: WatchingShown | None
    inbound_url: str
    signs: Literal["provider", "own"]
    hold: MailboxHold | None = None
    health: MailboxHealth
    created_at: datetime
    updated_at: datetime


class MailboxMade(MailboxShown):
    """A mailbox; `inbound_secret` signs inbound webhooks and is shown this once."""

    inbound_secret: str


# ---- documents ----------------------------------------------------------------------------------------


def settings_of(
    call: Call, new: MailboxSettings, address: str, kept_secret: str | None, before: Document | None
) -> Document:
    """The fields that a POST and a PUT set; `before`: the mailbox as it is."""
    (smtp, imap), now = new.servers(address), call.api.clock.real_now()
    oauth_before = (before or {}).get("oauth")
    secret = kept_secret if smtp.auth == "password" else None
    if smtp.password is not None:
        secret = call.api.secrets.encrypt(smtp.password.get_secret_value())
    return {
        "display_name": new.display_name or "",
        "signature": new.signature or signature_text_of(new.signature_html),
        "signature_html": new.signature_html,
        "signature_at_end": new.signature_at_end,
        "reply_to": new.reply_to,
        "zone": new.zone,
        "country": new.country,
        "windows": {days: list(hours) for days, hours in new.windows.items()} if new.windows else None,
        "time_off": list(new.time_off),
        "limits": limits_of(call, new, before),
        "smtp": {
            "host": smtp.host,
            "port": smtp.port,
            "security": smtp.security,
            "auth": smtp.auth,
            "username": smtp.username,
            "secret": secret,
        },
        "imap": imap_of(call, imap, (before or {}).get("imap"), now) if imap is not None else None,
        "oauth": oauth_of(call, new.oauth, oauth_before, now) if new.oauth is not None else None,
        "updated_at": now,
    }


def limits_of(call: Call, new: MailboxSettings, before: Document | None) -> Document:
    """The limits as they are stored; a ramp keeps its first day while it stays a ramp."""
    limits = new.limits.model_dump()
    if limits["ramp"] is not None and limits["ramp"]["since"] is None:
        earlier = MailboxLimitsView.read((before or {}).get("limits")).ramp
        today = day_in(new.zone, call.api.clock.now())
        limits["ramp"]["since"] = earlier.since if earlier else today.isoformat()
    return limits


def day_in(zone: str | None, now: datetime) -> date:
    """The local day of a mailbox; without a zone, UTC's."""
    return now.astimezone(find_zone(zone) or UTC).date()


def imap_of(call: Call, imap: Imap, before: Document | None, now: datetime) -> Document:
    """What is stored of an IMAP server; Problem 422 without a password that was given for it."""
    same = before is not None and all(
        before[name] == getattr(imap, name) for name in ("host", "port", "username")
    )
    if imap.auth == "oauth2":
        secret = None
    elif imap.password is not None:
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
        "per_day_now": MailboxLimitsView.read(mailbox.get("limits")).on(
            day_in(mailbox.get("zone"), call.api.clock.now())
        ),
        "watching": watching if mailbox.get("imap") else None,
        "inbound_url": call.api.url(f"/v1/inbound/{mailbox['_id']}"),
        "signs": "own" if mailbox.get("signing_domain") else "provider",
    }


async def shown_now(call: Call, mailbox: Document) -> dict[str, Any]:
    """With how watching it goes, its hold and its health."""
    views = await call.api.store.mailboxes.watching(call.caller.workspace, [mailbox["_id"]])
    held = await holds_of(call, [mailbox])
    health = await healths_of(call, [mailbox], views)
    own = {"hold": held.get(mailbox["_id"]), "health": health[mailbox["_id"]]}
    return {**shown(call, mailbox, views.get(mailbox["_id"])), **own}


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
    check_password(new.servers(new.address)[0], None)
    own_tokens = await tokens_of(call, call.caller.user_id)
    await check_writing(call, new, own_tokens)
    inbound_secret = new_inbound_secret()
    settings = settings_of(call, new, new.address.lower(), None, None)
    await check_hosts(call, settings)
    mailbox: Document = {
        "_id": call.ids.next(),
        "workspace_id": call.caller.workspace,
        "address": new.address.lower(),
        "owner_id": call.caller.user_id,
        "owner_tokens": own_tokens,
        "signing_domain": None,
        "inbound_secret": call.api.secrets.encrypt(inbound_secret),
        "created_at": settings["updated_at"],
        **settings,
    }
    await audit(call, "mailbox.connected", mailbox["_id"])
    try:
        await call.api.store.mailboxes.add(mailbox)
    except Duplicate:
        raise conflict("exists", "This address is connected already: change it with PUT.") from None
    made = MailboxMade.model_validate({**await shown_now(call, mailbox), "inbound_secret": inbound_secret})
    return Answer(made, HTTPStatus.CREATED, {"Location": call.api.url(f"/v1/mailboxes/{mailbox['_id']}")})


async def list_them(call: Call) -> Answer:
    """Mailboxes, the newest first."""
    found, cursor = await call.api.store.mailboxes.page(call.caller.workspace, call.query)
    views = await call.api.store.mailboxes.watching(call.caller.workspace, [each["_id"] for each in found])
    held = await holds_of(call, found)
    healths = await healths_of(call, found, views)
    items = [
        MailboxShown.model_validate(
            {
                **shown(call, each, views.get(each["_id"])),
                "hold": held.get(each["_id"]),
                "health": healths[each["_id"]],
            }
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
    smtp, _ = new.servers(mailbox["address"])
    check_password(smtp, mailbox["smtp"])
    await check_writing(call, new, mailbox.get("owner_tokens") or {})
    keeps = smtp.username is not None
    kept = mailbox["smtp"].get("secret") if keeps else None
    settings = settings_of(call, new, mailbox["address"], kept, mailbox)
    check_same_servers(settings, mailbox, new.oauth)
    await check_hosts(call, settings)
    if any(settings[name] != mailbox.get(name) for name in HOURS):
        await _replan(call, mailbox)
    await audit(call, "mailbox.changed", mailbox["_id"], changed=_differences(mailbox, settings))
    changed = await _change(call, mailbox, settings)
    return Answer(MailboxShown.model_validate(await shown_now(call, changed)))


def _differences(mailbox: Document, settings: Document) -> str:
    """The names of the settings that a PUT changes."""
    names = (name for name in settings if name != "updated_at" and settings[name] != mailbox.get(name))
    return ", ".join(names)


async def check_hosts(call: Call, settings: Document) -> None:
    """Problem 422 for a server that nothing connects to."""
    smtp, imap, oauth = settings["smtp"], settings["imap"], settings["oauth"]
    checks = [check_host(call, "/smtp/host", smtp["host"], smtp["port"], SMTP_PORTS)]
    if imap is not None:
        checks.append(check_host(call, "/imap/host", imap["host"], imap["port"], IMAP_PORTS))
    if oauth is not None:
        checks.append(check_url(call, "/oauth/token_endpoint", oauth["token_endpoint"]))
    await asyncio.gather(*checks)


async def check_writing(call: Call, new: MailboxSettings, own_tokens: Mapping[str, str]) -> None:
    """Problem 422 for a signature or an address that no mail could have; `own_tokens`: its owner's."""
    errors = list(reply_errors(new.reply_to))
    values = await values_of_signer(call, new.display_name or "", own_tokens)
    errors += signature_errors(new.signature, new.signature_html, values, at_end=new.signature_at_end)
    if errors:
        raise invalid(errors)


def check_password(smtp: Smtp, before: Document | None) -> None:
    """Problem 422 if the stored password would go to another server or user than it was given for."""
    if smtp.username is None or smtp.password is not None or smtp.auth == "oauth2":
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
    await audit(call, "mailbox.inbound_secret_rotated", mailbox["_id"])
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
