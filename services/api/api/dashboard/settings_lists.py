"""What a workspace has many of: days off, tokens, signing domains, files, and entries of the audit log."""

from collections.abc import Mapping
from datetime import date, timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from api.attachments import TYPES
from api.dashboard.colleagues import colleagues, named
from api.dashboard.fields import Field, Form, Tried, carry_out, lines, text_of, word
from api.dashboard.sections import only_admins, section
from api.dashboard.visit import Note, Page, Visit
from api.keys import KeyScope
from api.model import CommandState
from api.paging import Page as Rows
from api.problems import Problem, conflict, invalid_at, not_found
from api.routes.attachments import AttachmentShown
from api.routes.audit import EntryShown
from api.routes.members import CalendarShown
from api.routes.signing import SigningDomainShown
from api.routes.tokens import TokenShown, TokensShown
from api.routing import KIB, MIB, Body
from api.submitting import Accepted
from segue_contracts.prospect import check_date
from segue_contracts.tokens import TokenScope, TokenType

MOST_DAYS: Final = 366
TYPE_WORDS: Final = {
    TokenType.TEXT.value: "text",
    TokenType.NUMBER.value: "number",
    TokenType.DATE.value: "date",
    TokenType.URL.value: "link",
    TokenType.BOOL.value: "yes or no",
}
WHOSE: Final = {
    TokenScope.PERSON.value: "each prospect",
    TokenScope.SENDER.value: "each sender",
    TokenScope.SEQUENCE.value: "the sequence",
}


def _cursor(visit: Visit) -> dict[str, str]:
    return {"cursor": visit.request.query["cursor"]} if visit.request.query.get("cursor") else {}


# ---- days off -----------------------------------------------------------------------------------------


async def holidays(visit: Visit) -> web.StreamResponse:
    """The team's days off."""
    return await _holidays(visit, None)


async def _holidays(visit: Visit, tried: Tried | None) -> web.Response:
    now: CalendarShown = await visit.ask("GET /v1/workspace/calendar")
    is_pending = await _is_pending(visit)
    today = visit.api.clock.now().date().isoformat()
    fields = (
        Field("first", "Day, or the first of some", "", "date", "/days", needed=True),
        Field("last", "Last of some", "", "date", help="Empty: one day."),
    )
    form = Form("Add days off", "/settings/holidays", fields, "Add to the days off")
    return await section(
        visit,
        "Days off",
        "/settings/holidays",
        [] if is_pending else [form],
        tried,
        template="settings_holidays.html",
        ahead=[each for each in now.days if each >= today],
        past=[each for each in now.days if each < today],
        is_pending=is_pending,
        day_words=day_words,
    )


async def _is_pending(visit: Visit) -> bool:
    """Whether the change that led here is not taken in yet, so that the list is from before it."""
    change = visit.request.query.get("change")
    if not change:
        return False
    try:
        state = (await visit.ask("GET /v1/commands/{command_id}", command_id=change)).state
    except Problem:
        return False
    return bool(state == CommandState.ACCEPTED)


def day_words(day: str) -> str:
    """A day as people write it."""
    return f"{date.fromisoformat(day):%a %d %b %Y}"


def days_between(first: str, last: str | None) -> list[str]:
    """The days from one to another; Problem 422 for what is no span."""
    try:
        start, end = date.fromisoformat(check_date(first)), date.fromisoformat(check_date(last or first))
    except ValueError:
        raise invalid_at("/days", "must be a day such as 2026-12-24") from None
    if not 0 <= (end - start).days < MOST_DAYS:
        raise invalid_at("/last", f"must be the first day or later, and {MOST_DAYS} days at most")
    return [(start + timedelta(days=each)).isoformat() for each in range((end - start).days + 1)]


async def add_days(visit: Visit) -> web.StreamResponse:
    """Add to the days off."""
    typed = await visit.form()
    first, last = word(typed, "first") or "", word(typed, "last")
    try:
        days = days_between(first, last)
        change = await _set_days(visit, lambda now: {*now, *days})
    except Problem as problem:
        return await _holidays(visit, Tried("/settings/holidays", typed, problem))
    undo = {"first": first, "last": last or first}
    note = Note(
        "Added: what is planned for these days is planned again.",
        undo_path="/settings/holidays/remove",
        undo_fields=undo,
    )
    return visit.go("/settings/holidays", note, change=change)


async def remove_days(visit: Visit) -> web.StreamResponse:
    """Take days out."""
    typed = await visit.form()
    first, last = word(typed, "first") or "", word(typed, "last")
    days = days_between(first, last)
    change = await _set_days(visit, lambda now: now - {*days})
    undo = {"first": first, "last": last or first}
    note = Note("Removed: messages may go out then.", undo_path="/settings/holidays", undo_fields=undo)
    return visit.go("/settings/holidays", note, change=change)


async def _set_days(visit: Visit, changed: Any) -> str:
    now: CalendarShown = await visit.ask("GET /v1/workspace/calendar")
    days = sorted(changed(set(now.days)))
    accepted: Accepted = await visit.ask("PUT /v1/workspace/calendar", {"days": days})
    return str(accepted.command_id)


# ---- tokens -------------------------------------------------------------------------------------------


async def tokens(visit: Visit) -> web.StreamResponse:
    """What templates may name beside what everybody has."""
    return await _tokens(visit, None)


async def _tokens(visit: Visit, tried: Tried | None) -> web.Response:
    defined: TokensShown = await visit.ask("GET /v1/tokens")
    first = Field("name", "Name", at="", needed=True, example="notice_period", help="Letters, digits and _.")
    form = Form("Define a token", "/settings/tokens", (first, *_token_fields(None)), "Define it")
    return await section(
        visit,
        "Tokens",
        "/settings/tokens",
        [form],
        tried,
        template="settings_tokens.html",
        needs=KeyScope.WRITE,
        rows=defined.tokens,
        built_in=defined.built_in,
        types=TYPE_WORDS,
        whose=WHOSE,
    )


def _token_fields(now: TokenShown | None) -> tuple[Field, ...]:
    return (
        Field("type", "What its values are", now.type.value if now else "text", "select", options=TYPE_WORDS),
        Field("scope", "Who has a value", now.scope.value if now else "person", "select", options=WHOSE),
        Field("default", "What stands where nobody has one", text_of(now.default if now else None)),
        Field("description", "What it means", now.description if now else ""),
        Field(
            "columns",
            "Columns of CSV files that mean it, one a line",
            "\n".join(now.columns) if now else "",
            "textarea",
            example="Notice period",
        ),
    )


def _token_data(typed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": word(typed, "type"),
        "scope": word(typed, "scope"),
        "default": word(typed, "default"),
        "description": word(typed, "description") or "",
        "columns": lines(typed, "columns"),
    }


async def define(visit: Visit) -> web.StreamResponse:
    """Define a token that is not there yet."""

    async def asks(typed: Mapping[str, Any]) -> None:
        name = word(typed, "name") or ""
        if await _token(visit, name) is not None:
            raise conflict("exists", f"There is a token {name} already: change that one.")
        await visit.ask("PUT /v1/tokens/{name}", _token_data(typed), name=name)

    note = "Defined: templates may name it."
    return await carry_out(visit, asks, _tokens, note, "/settings/tokens")


async def _token(visit: Visit, name: str) -> TokenShown | None:
    defined: TokensShown = await visit.ask("GET /v1/tokens")
    return next((each for each in defined.tokens if each.name == name), None)


async def token(visit: Visit) -> web.StreamResponse:
    """One token."""
    return await _one_token(visit, None)


async def _one_token(visit: Visit, tried: Tried | None) -> web.Response:
    now = await _named_token(visit)
    at = f"/settings/tokens/{now.name}"
    rename = Field("name", "Name", now.name, needed=True)
    forms = [
        Form("What it is", at, _token_fields(now), "Save what it is"),
        Form("Its name", f"{at}/rename", (rename,), "Rename it", "As long as no sequence names it."),
        Form("Remove it", f"{at}/remove", (), "Remove it", "As long as no sequence names it."),
    ]
    return await section(visit, now.name, "/settings/tokens", forms, tried, needs=KeyScope.WRITE)


async def _named_token(visit: Visit) -> TokenShown:
    found = await _token(visit, visit.request.match_info["name"])
    if found is None:
        raise not_found("token")
    return found


async def change_token(visit: Visit) -> web.StreamResponse:
    """Change what it is."""
    now = await _named_token(visit)
    at = f"/settings/tokens/{now.name}"

    async def asks(typed: Mapping[str, Any]) -> None:
        await visit.ask("PUT /v1/tokens/{name}", _token_data(typed), name=now.name)

    before = Form("", at, _token_fields(now), "")
    return await carry_out(visit, asks, _one_token, "Saved.", at, before=before)


async def rename_token(visit: Visit) -> web.StreamResponse:
    """Call it something else."""
    now = await _named_token(visit)
    to = word(await visit.form(), "name") or ""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/tokens/{name}/rename", {"name": to}, name=now.name)

    undo = Note("Renamed.", undo_path=f"/settings/tokens/{to}/rename", undo_fields={"name": now.name})
    return await carry_out(visit, asks, _one_token, undo, f"/settings/tokens/{to}")


async def remove_token(visit: Visit) -> web.StreamResponse:
    """Remove it; an undo defines it again."""
    now = await _named_token(visit)

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("DELETE /v1/tokens/{name}", name=now.name)

    before = Form("", "/settings/tokens", (Field("name", "", now.name), *_token_fields(now)), "")
    return await carry_out(visit, asks, _one_token, "Removed.", "/settings/tokens", before=before)


# ---- signing domains ----------------------------------------------------------------------------------


async def signing(visit: Visit) -> web.StreamResponse:
    """The keys with which Segue signs."""
    return await _signing(visit, None)


async def _signing(visit: Visit, tried: Tried | None) -> web.Response:
    rows: Rows[SigningDomainShown] = await visit.ask("GET /v1/signing-domains", query=_cursor(visit))
    domain = Field("domain", "Domain", needed=True, example="ourco.example")
    about = "Only if you run the mail server yourself. At a provider, turn signing on there."
    return await section(
        visit,
        "Signing domains",
        "/settings/signing",
        [Form("Make keys for a domain", "/settings/signing", (domain,), "Make keys", about)],
        tried,
        template="settings_signing.html",
        rows=rows.items,
        cursor=rows.next_cursor,
    )


async def add_domain(visit: Visit) -> web.StreamResponse:
    """Make keys."""

    async def asks(typed: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/signing-domains", {"domain": word(typed, "domain") or ""})

    note = "The keys are made. Publish their records in DNS, then sign with them."
    return await carry_out(visit, asks, _signing, note, "/settings/signing")


async def activate(visit: Visit) -> web.StreamResponse:
    """Sign with a set of keys from now on."""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/signing-domains/{signing_id}/activate", signing_id=_signing_id(visit))

    note = "These keys sign from now on, for the mailboxes that say so in their settings."
    return await carry_out(visit, asks, _signing, note, "/settings/signing")


async def forget(visit: Visit) -> web.StreamResponse:
    """Forget a set of keys."""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("DELETE /v1/signing-domains/{signing_id}", signing_id=_signing_id(visit))

    return await carry_out(visit, asks, _signing, "The keys are gone.", "/settings/signing")


def _signing_id(visit: Visit) -> UUID:
    return visit.uuid("signing_id", "signing domain")


# ---- attachments --------------------------------------------------------------------------------------


async def attachments(visit: Visit) -> web.StreamResponse:
    """The files that e-mails can take along."""
    return await _attachments(visit, None)


async def _attachments(visit: Visit, tried: Tried | None) -> web.Response:
    rows: Rows[AttachmentShown] = await visit.ask("GET /v1/attachments", query=_cursor(visit))
    endings = sorted(ending for each in TYPES.values() for ending in each.endings)
    file = Field("file", "File", kind="file", at="", help=f"At most 10 MiB: {', '.join(endings)}.")
    return await section(
        visit,
        "Attachments",
        "/settings/attachments",
        [Form("Upload a file", "/settings/attachments", (file,), "Upload it")],
        tried,
        template="settings_attachments.html",
        needs=KeyScope.WRITE,
        rows=rows.items,
        cursor=rows.next_cursor,
        size_words=size_words,
    )


def size_words(size: int) -> str:
    """So many bytes, in words."""
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{max(1, round(size / KIB))} KiB"


async def upload(visit: Visit) -> web.StreamResponse:
    """Keep a file."""
    at, typed = "/settings/attachments", await visit.form()
    file = typed.get("file")
    try:
        if not isinstance(file, web.FileField) or not file.filename:
            raise invalid_at("/file", "choose a file")
        kept = await visit.answer("POST /v1/attachments", _file_body(file), query={"filename": file.filename})
    except Problem as problem:
        return await _attachments(visit, Tried(at, typed, problem))
    is_new = kept.status is HTTPStatus.CREATED
    return visit.go(at, Note("Uploaded: stages can name it." if is_new else "It was there already."))


def _file_body(file: web.FileField) -> Body:
    """The file under the type that its name says, since browsers do not agree about some of them; Problem 422
    for a type that mail servers do not let through.
    """
    ending = file.filename.rpartition(".")[2].lower()
    known = [name for name, each in TYPES.items() if ending in each.endings]
    if not known:
        raise invalid_at("/file", "is of a type that mail servers do not let through")
    return Body(known[0], file.file.read())


async def delete(visit: Visit) -> web.StreamResponse:
    """Delete a file that no published version names."""

    async def asks(_: Mapping[str, Any]) -> None:
        attachment_id = visit.uuid("attachment_id", "attachment")
        await visit.ask("DELETE /v1/attachments/{attachment_id}", attachment_id=attachment_id)

    return await carry_out(visit, asks, _attachments, "Deleted.", "/settings/attachments")


# ---- the audit log ------------------------------------------------------------------------------------


async def audit(visit: Visit) -> web.StreamResponse:
    """Who did what."""
    if not visit.caller.is_admin:
        return await only_admins(visit, "Audit log", "/settings/audit")
    words = visit.request.query
    query = {each: words[each].strip() for each in ("action", "by", "target") if words.get(each, "").strip()}
    rows: Rows[EntryShown] = await visit.ask("GET /v1/audit-log", query={**query, **_cursor(visit)})
    return await section(
        visit,
        "Audit log",
        "/settings/audit",
        template="settings_audit.html",
        users=(users := await colleagues(visit)),
        rows=rows.items,
        cursor=rows.next_cursor,
        query=query,
        people={str(each.id): each.name for each in users},
        named=named,
    )


PAGES = (
    Page("GET", "/settings/holidays", holidays),
    Page("POST", "/settings/holidays", add_days),
    Page("POST", "/settings/holidays/remove", remove_days),
    Page("GET", "/settings/tokens", tokens),
    Page("POST", "/settings/tokens", define),
    Page("GET", "/settings/tokens/{name}", token),
    Page("POST", "/settings/tokens/{name}", change_token),
    Page("POST", "/settings/tokens/{name}/rename", rename_token),
    Page("POST", "/settings/tokens/{name}/remove", remove_token),
    Page("GET", "/settings/signing", signing),
    Page("POST", "/settings/signing", add_domain),
    Page("POST", "/settings/signing/{signing_id}/activate", activate),
    Page("POST", "/settings/signing/{signing_id}/forget", forget),
    Page("GET", "/settings/attachments", attachments),
    Page("POST", "/settings/attachments", upload),
    Page("POST", "/settings/attachments/{attachment_id}/delete", delete),
    Page("GET", "/settings/audit", audit),
)
