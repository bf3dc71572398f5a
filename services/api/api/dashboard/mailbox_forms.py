"""The forms of a mailbox's settings, and what the API is asked for what they hold."""

from collections.abc import Mapping
from typing import Any, Final

from api.dashboard.fields import Field, Form, lines, number, said, text_of, tick, ticked, word
from api.routes.mailboxes import MailboxShown

SIGNS: Final = {"provider": "its provider", "own": "Segue, with the keys of its domain"}
SECURITY: Final = {
    "starttls": "STARTTLS (usual with port 587)",
    "tls": "TLS from the start (usual with 465 and 993)",
    "none": "none: only for a server on this machine",
}
LOGINS: Final = {"password": "user name and password", "oauth2": "access by OAuth 2.0, as below"}
IMAP_LOGINS: Final = {**LOGINS, "xoauth2": "an access token that is not renewed"}
PROVIDERS: Final = {"": "another one, or none", "google": "Google", "microsoft": "Microsoft 365"}
KEEP: Final = "Kept encrypted and never shown. Leave it empty to keep the one that is stored."
WINDOWS_EXAMPLE: Final = "mon-fri: 09:00-12:00, 13:00-17:00"


def kept_settings(box: MailboxShown, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Its settings as a PUT that changes nothing has them; secrets that are left out stay."""
    kept: dict[str, Any] = box.model_dump(
        mode="json",
        include={
            *("display_name", "signature", "signature_html", "signature_at_end", "reply_to"),
            *("zone", "country", "windows", "time_off", "limits"),
        },
    )
    kept["smtp"] = box.smtp.model_dump(exclude={"has_password"})
    kept["imap"] = box.imap.model_dump(exclude={"since"}) if box.imap else None
    kept["oauth"] = box.oauth.model_dump(exclude={"granted_at"}) if box.oauth else None
    return {name: value for name, value in kept.items() if name not in without}


# ---- what it writes -----------------------------------------------------------------------------------


def writing_form(at: str, box: MailboxShown, locked: str) -> Form:
    """Name, signature, where answers go."""
    fields = (
        Field("display_name", "Name of the sender, as people see it", box.display_name),
        Field(
            "signature",
            "Signature as text",
            box.signature,
            "textarea",
            help="{{my_name}}, {{my_title}} and other tokens of the sender can stand in it.",
        ),
        Field(
            "signature_html",
            "Signature as HTML",
            box.signature_html,
            "textarea",
            help="For HTML mails. Alone, the text follows from it.",
        ),
        Field(
            "signature_at_end",
            "Put the signature below every e-mail that does not place it itself",
            tick(box.signature_at_end),
            "check",
        ),
        Field(
            "reply_to",
            "Answers go to another address",
            text_of(box.reply_to),
            "email",
            help="Segue does not see answers there: sequences do not stop by themselves.",
        ),
    )
    return Form("What it writes", f"{at}/writing", fields, "Save what it writes", locked=locked)


def writing_data(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What a PUT has of it."""
    return {
        "display_name": word(typed, "display_name"),
        "signature": "\n".join(str(typed.get("signature", "")).splitlines()),
        "signature_html": str(typed.get("signature_html", "")).strip(),
        "signature_at_end": ticked(typed, "signature_at_end"),
        "reply_to": word(typed, "reply_to"),
    }


# ---- when ---------------------------------------------------------------------------------------------


def hours_form(at: str, box: MailboxShown, locked: str) -> Form:
    """Zone, hours, days off."""
    fields = (
        Field("zone", "Time zone", text_of(box.zone), example="Europe/Berlin"),
        Field("country", "Country, whose holidays are its own", text_of(box.country), example="DE-BE"),
        Field(
            "windows",
            "When it writes, one line for some days",
            windows_text(box.windows),
            "textarea",
            help=f"Such as {WINDOWS_EXAMPLE}. Other days are closed. Empty: whenever the sequence wants.",
            example=WINDOWS_EXAMPLE,
        ),
        Field(
            "time_off",
            "Time off, one line each",
            "\n".join(box.time_off),
            "textarea",
            help="A day such as 2026-12-24, or from and to: 2026-12-24/2027-01-01.",
        ),
    )
    return Form("When it writes", f"{at}/hours", fields, "Save when it writes", locked=locked)


def hours_data(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What a PUT has of it."""
    return {
        "zone": word(typed, "zone"),
        "country": word(typed, "country"),
        "windows": windows_of(lines(typed, "windows")),
        "time_off": lines(typed, "time_off"),
    }


def windows_text(windows: Mapping[str, list[str]] | None) -> str:
    """Open hours as people write them."""
    return "\n".join(f"{days}: {', '.join(hours)}" for days, hours in (windows or {}).items())


def windows_of(written: list[str]) -> dict[str, list[str]] | None:
    """Open hours as the API wants them; None where none are given."""
    parted = [line.partition(":") for line in written]
    return {
        days.strip(): [each.strip() for each in hours.split(",") if each.strip()] for days, _, hours in parted
    } or None


# ---- how much -----------------------------------------------------------------------------------------


def limits_form(at: str, box: MailboxShown, locked: str) -> Form:
    """Limits and the ramp of a new mailbox."""
    limits = box.limits
    ramp = limits.ramp.model_dump() if limits.ramp else {}
    fields = (
        Field("per_day", "Messages in any 24 hours", text_of(limits.per_day), "number", "/limits/per_day"),
        Field("per_hour", "Messages in any hour", text_of(limits.per_hour), "number", "/limits/per_hour"),
        Field(
            "gap_seconds",
            "Seconds between two messages, at least",
            text_of(limits.gap_seconds),
            "number",
            "/limits/gap_seconds",
        ),
        Field(
            "start",
            "Growing slowly: messages on the first working day",
            text_of(ramp.get("start")),
            "number",
            "/limits/ramp/start",
            help="For a new mailbox. Empty: it does not grow, the limit above holds at once.",
        ),
        Field(
            "add_per_day",
            "More on each working day after it",
            text_of(ramp.get("add_per_day")),
            "number",
            "/limits/ramp/add_per_day",
        ),
        Field("until", "Up to", text_of(ramp.get("until")), "number", "/limits/ramp/until"),
        Field(
            "since",
            "First day",
            text_of(ramp.get("since")),
            "date",
            "/limits/ramp/since",
            help="Empty: today, or as it was.",
        ),
    )
    return Form("How much it sends", f"{at}/limits", fields, "Save how much it sends", locked=locked)


def limits_data(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What a PUT has of it."""
    ramp = said(
        start=number(typed, "start"),
        add_per_day=number(typed, "add_per_day"),
        until=number(typed, "until"),
        since=word(typed, "since"),
    )
    limits = {name: number(typed, name) for name in ("per_day", "per_hour", "gap_seconds")}
    return {"limits": {**limits, "ramp": ramp or None}}


# ---- its servers --------------------------------------------------------------------------------------


def new_form(action: str, locked: str) -> Form:
    """A mailbox to be."""
    first = (
        Field("address", "Address", "", "email", needed=True, example="ana@ourco.example"),
        Field("display_name", "Name of the sender, as people see it", example="Ana Maria"),
        Field("zone", "Time zone", example="Europe/Berlin"),
    )
    about = (
        "The mailbox is yours. At Google and Microsoft 365 choose the provider and leave the servers empty; "
        "everywhere else give the two servers and their passwords."
    )
    return Form("The mailbox", action, (*first, *_server_fields(None)), "Connect it", about, locked)


def servers_form(at: str, box: MailboxShown, locked: str) -> Form:
    """How it sends and is read."""
    about = "Empty passwords and tokens stay as they are, as long as server and user name do."
    return Form("Its servers", f"{at}/servers", _server_fields(box), "Save its servers", about, locked)


def _server_fields(box: MailboxShown | None) -> tuple[Field, ...]:
    smtp = box.smtp.model_dump() if box else {}
    imap = box.imap.model_dump() if box and box.imap else {}
    oauth = box.oauth.model_dump() if box and box.oauth else {}
    return (
        Field(
            "provider", "Provider", text_of(oauth.get("provider")), "select", "/oauth/provider", "", PROVIDERS
        ),
        *_login_fields("smtp", "Sending", smtp, LOGINS, "587"),
        *_login_fields("imap", "Reading answers", imap, IMAP_LOGINS, "993"),
        Field(
            "unread",
            "Do not read its answers over IMAP: they come by webhook",
            tick(box is not None and box.imap is None),
            "check",
            "/imap/host/unread",
        ),
        Field("client_id", "OAuth client", text_of(oauth.get("client_id")), at="/oauth/client_id"),
        Field("client_secret", "OAuth client secret", "", "password", "/oauth/client_secret", KEEP),
        Field("refresh_token", "OAuth refresh token", "", "password", "/oauth/refresh_token", KEEP),
        Field(
            "token_endpoint",
            "OAuth token endpoint",
            text_of(oauth.get("token_endpoint")),
            at="/oauth/token_endpoint",
            help="A known provider's can be left empty.",
        ),
        Field(
            "scopes",
            "OAuth scopes, one a line",
            "\n".join(oauth.get("scopes", ())),
            "textarea",
            "/oauth/scopes",
        ),
    )


def _login_fields(
    name: str, what: str, now: Mapping[str, Any], logins: Mapping[str, str], port: str
) -> tuple[Field, ...]:
    security = text_of(now.get("security")) or ("starttls" if name == "smtp" else "tls")
    return (
        Field(f"{name}_host", f"{what}: server", text_of(now.get("host")), at=f"/{name}/host"),
        Field(f"{name}_port", f"{what}: port", text_of(now.get("port")) or port, "number", f"/{name}/port"),
        Field(f"{name}_security", f"{what}: security", security, "select", f"/{name}/security", "", SECURITY),
        Field(
            f"{name}_auth",
            f"{what}: login by",
            text_of(now.get("auth")) or "password",
            "select",
            f"/{name}/auth",
            "",
            logins,
        ),
        Field(f"{name}_username", f"{what}: user name", text_of(now.get("username")), at=f"/{name}/username"),
        Field(f"{name}_password", f"{what}: password", "", "password", f"/{name}/password", KEEP),
    )


def servers_data(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What a POST or a PUT has of it; a server that is not named is the provider's."""
    access = said(
        provider=word(typed, "provider"),
        client_id=word(typed, "client_id"),
        client_secret=word(typed, "client_secret"),
        refresh_token=word(typed, "refresh_token"),
        token_endpoint=word(typed, "token_endpoint"),
        scopes=lines(typed, "scopes") or None,
    )
    servers: dict[str, Any] = said(smtp=_login_data(typed, "smtp"), imap=_login_data(typed, "imap"))
    unread = {"imap": None} if ticked(typed, "unread") else {}
    return {**servers, **unread, "oauth": access or None}


def _login_data(typed: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    if word(typed, f"{name}_host") is None:
        return None
    return said(
        host=word(typed, f"{name}_host"),
        port=number(typed, f"{name}_port"),
        security=word(typed, f"{name}_security"),
        auth=word(typed, f"{name}_auth"),
        username=word(typed, f"{name}_username"),
        password=str(typed.get(f"{name}_password", "")) or None,
    )


# ---- beside it ----------------------------------------------------------------------------------------


def signs_form(at: str, box: MailboxShown, locked: str) -> Form:
    """Who signs what it sends."""
    who = Field("signs", "Signed by", box.signs, "select", options=SIGNS)
    about = "A provider signs by itself. For a mail server of your own, Segue can: see the signing domains."
    return Form("Who signs what it sends", f"{at}/signs", (who,), "Save who signs", about, locked)


def mailgun_form(at: str, locked: str) -> Form:
    """The key of a Mailgun account that forwards to it."""
    fields = (
        Field("signing_key", "HTTP webhook signing key", "", "password", help="It is never shown."),
        Field("away", "Take the key away", "", "check"),
    )
    about = "Only if a Mailgun account hands answers over to Segue."
    return Form("Mailgun", f"{at}/mailgun", fields, "Save the key", about, locked)
