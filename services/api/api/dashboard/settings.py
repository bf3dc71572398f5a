"""Settings of the reader and of the workspace: each page a few small forms."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from api.dashboard.colleagues import named
from api.dashboard.fields import Field, Form, Tried, carry_out, number, said, text_of, tick, ticked, word
from api.dashboard.person import instant
from api.dashboard.sections import only_admins, section
from api.dashboard.visit import Note, Page, Visit
from api.keys import KeyScope
from api.problems import Problem
from api.routes.footer import WorkspaceFooter
from api.routes.prompting import Preferences, TaskWebhookMade, TaskWebhookShown
from api.routes.tokens import OwnTokens, TokensShown
from api.routes.workspace import WorkspaceWhole
from api.routes.workspace_rules import InDoubtPolicy, Retention
from chassis.tokens import OWN_TOKENS
from segue_contracts.tokens import TokenScope

LANGUAGES: Final = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "nl": "Dutch",
    "pt": "Portuguese",
    "it": "Italian",
}
POLICIES: Final = {
    "wait": "wait: evidence or a person decides",
    "resend": "send again at once, perhaps a second time",
}
OWN_WORDS: Final = {"my_title": "Your title", "my_phone": "Your phone"}


# ---- the reader ---------------------------------------------------------------------------------------


async def you(visit: Visit) -> web.StreamResponse:
    """How the reader wants things, and their own values in signatures."""
    return await _you(visit, None)


async def _you(visit: Visit, tried: Tried | None) -> web.Response:
    forms = [_preferences_form(await visit.ask("GET /v1/me/preferences"))]
    if tokens := await _own_tokens_form(visit):
        forms.append(tokens)
    return await section(visit, "Your settings", "/settings", forms, tried, needs=KeyScope.WRITE)


def _preferences_form(now: Preferences) -> Form:
    tasks = now.tasks
    days = tasks.workdays if isinstance(tasks.workdays, str) else ", ".join(tasks.workdays)
    quiet = tasks.quiet
    fields = (
        Field(
            "zone",
            "Your time zone",
            text_of(tasks.zone),
            at="/tasks/zone",
            help="Times on these pages are shown in it. Empty: UTC here, in mails your first mailbox's.",
            example="Europe/Berlin",
        ),
        Field("digest", "A list of your tasks each workday, by mail", tick(tasks.digest), "check"),
        Field("digest_at", "At", tasks.digest_at, "time", "/tasks/digest_at"),
        Field("when_due", "Also a mail for each task as it comes up", tick(tasks.when_due), "check"),
        Field("workdays", "Your workdays", days, at="/tasks/workdays", example="mon-fri"),
        Field(
            "start",
            "Quiet hours: from",
            quiet.start if quiet else "",
            "time",
            "/tasks/quiet/start",
            help="No mail about tasks in them. Both empty: none.",
        ),
        Field("end", "Quiet hours: until", quiet.end if quiet else "", "time", "/tasks/quiet/end"),
    )
    return Form("How you want things", "/settings/preferences", fields, "Save how you want things")


async def preferences(visit: Visit) -> web.StreamResponse:
    """Save how the reader wants things."""
    before = _preferences_form(await visit.ask("GET /v1/me/preferences"))

    async def asks(typed: Mapping[str, Any]) -> None:
        quiet = said(start=word(typed, "start"), end=word(typed, "end"))
        days = [each.strip() for each in (word(typed, "workdays") or "").split(",")]
        tasks = {
            "digest": ticked(typed, "digest"),
            "when_due": ticked(typed, "when_due"),
            "zone": word(typed, "zone"),
            "quiet": quiet or None,
            **said(digest_at=word(typed, "digest_at")),
            **({"workdays": days} if any(days) else {}),
        }
        await visit.ask("PUT /v1/me/preferences", {"tasks": tasks})

    return await carry_out(visit, asks, _you, "Saved.", "/settings", before=before)


async def _own_tokens_form(visit: Visit) -> Form | None:
    values: OwnTokens = await visit.ask("GET /v1/me/tokens")
    defined: TokensShown = await visit.ask("GET /v1/tokens")
    custom = [each for each in defined.tokens if each.scope is TokenScope.SENDER]
    names = {name: OWN_WORDS.get(name, name) for name in OWN_TOKENS}
    names |= {each.name: each.description or each.name for each in custom}
    fields = tuple(
        Field(name, said_as, str(values.values.get(name, "")), at=f"/values/{name}", help=f"{{{{{name}}}}}")
        for name, said_as in names.items()
    )
    about = "They stand in your signature and wherever a message of yours names them."
    form = Form("What messages say of you", "/settings/own-tokens", fields, "Save what they say", about)
    return form if fields else None


async def own_tokens(visit: Visit) -> web.StreamResponse:
    """Save the reader's own values."""
    before = await _own_tokens_form(visit)
    names = [each.name for each in before.fields] if before else []

    async def asks(typed: Mapping[str, Any]) -> None:
        values = {name: text for name in names if (text := word(typed, name))}
        await visit.ask("PUT /v1/me/tokens", {"values": values})

    return await carry_out(visit, asks, _you, "Saved.", "/settings", before=before)


# ---- the workspace ------------------------------------------------------------------------------------


async def workspace(visit: Visit) -> web.StreamResponse:
    """Its name, its limits, and whether it rests."""
    return await _workspace(visit, None)


async def _workspace(visit: Visit, tried: Tried | None) -> web.Response:
    now: WorkspaceWhole = await visit.ask("GET /v1/workspace")
    return await section(
        visit,
        "Workspace",
        "/settings/workspace",
        [*([] if now.hold else [_pause_form(visit)]), _name_form(now), _limits_form(now)],
        tried,
        template="settings_workspace.html",
        hold=now.hold,
        named=named,
        may_write=visit.caller.may(KeyScope.WRITE),
    )


def _pause_form(visit: Visit) -> Form:
    fields = (
        Field("until", f"Until ({visit.zone or 'UTC'}); empty: until resumed", kind="datetime-local"),
        Field("reason", "Why, for your colleagues"),
    )
    return Form(
        "Everything at once",
        "/settings/workspace/pause",
        fields,
        "Pause everything: nothing goes out any more",
        "Every sequence of the workspace. Nothing is lost: what is planned waits, and answers are read.",
        needs=KeyScope.WRITE,
        grave=True,
    )


def _name_form(now: WorkspaceWhole) -> Form:
    name = Field("name", "What it is called", now.name, needed=True)
    about = "People read it where they unsubscribe."
    return Form("Name", "/settings/workspace/name", (name,), "Save the name", about)


def _limits_form(now: WorkspaceWhole) -> Form:
    fields = (
        Field(
            "per_person_per_day",
            "Messages to one person in any 24 hours",
            text_of(now.limits.per_person_per_day),
            "number",
            help="Over all sequences. What is over it waits. Empty: no limit.",
        ),
        Field(
            "sms_segments",
            "Segments that a text message takes at most",
            text_of(now.limits.sms_segments),
            "number",
            help="A segment is 160 characters, or 70 with a smart quote or an emoji in it.",
        ),
    )
    return Form("Limits", "/settings/workspace/limits", fields, "Save the limits")


async def name(visit: Visit) -> web.StreamResponse:
    """Call the workspace something else."""
    before = _name_form(await visit.ask("GET /v1/workspace"))

    async def asks(typed: Mapping[str, Any]) -> None:
        await visit.ask("PUT /v1/workspace", {"name": word(typed, "name") or ""})

    return await carry_out(visit, asks, _workspace, "Saved.", "/settings/workspace", before=before)


async def limits(visit: Visit) -> web.StreamResponse:
    """Limit what one person receives."""
    before = _limits_form(await visit.ask("GET /v1/workspace"))

    async def asks(typed: Mapping[str, Any]) -> None:
        segments = said(sms_segments=number(typed, "sms_segments"))
        data = {"per_person_per_day": number(typed, "per_person_per_day"), **segments}
        await visit.ask("PUT /v1/workspace/limits", data)

    return await carry_out(visit, asks, _workspace, "Saved.", "/settings/workspace", before=before)


async def pause(visit: Visit) -> web.StreamResponse:
    """Nothing goes out any more."""

    async def asks(typed: Mapping[str, Any]) -> None:
        until = word(typed, "until")
        data = said(until=instant(until, visit.zone) if until else None, reason=word(typed, "reason"))
        await visit.ask("POST /v1/workspace/pause", data)

    note = Note("Everything is being paused.", undo_path="/settings/workspace/resume")
    return await carry_out(visit, asks, _workspace, note, "/settings/workspace")


async def resume(visit: Visit) -> web.StreamResponse:
    """Messages go out again."""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("POST /v1/workspace/resume")

    note = Note("Everything is being resumed.", undo_path="/settings/workspace/pause")
    return await carry_out(visit, asks, _workspace, note, "/settings/workspace")


# ---- the footer ---------------------------------------------------------------------------------------


async def footer(visit: Visit) -> web.StreamResponse:
    """What stands below each e-mail."""
    return await _footer(visit, None)


async def _footer(visit: Visit, tried: Tried | None) -> web.Response:
    form = _footer_form(await visit.ask("GET /v1/workspace/footer"))
    return await section(visit, "Footer and unsubscribing", "/settings/footer", [form], tried)


def _footer_form(now: WorkspaceFooter) -> Form:
    fields = (
        Field(
            "postal_address",
            "Who you are, and your postal address",
            now.postal_address,
            "textarea",
            help="Many countries' law asks for it. Without it, messages have no footer.",
            example="Our Co GmbH\n1 Main Street, Berlin",
        ),
        Field("reason", "Why people get this", now.reason, help="Empty: our words, in their language."),
        Field(
            "language",
            "Language, for people whose own is not known",
            now.language,
            "select",
            "",
            "",
            LANGUAGES,
        ),
        Field(
            "link",
            "Offer a link to unsubscribe",
            tick(now.link),
            "check",
            help="Without it the footer says to answer with “stop”.",
        ),
    )
    about = "It stands below every e-mail that goes out from now on."
    return Form("Below each e-mail", "/settings/footer", fields, "Save the footer", about)


async def set_footer(visit: Visit) -> web.StreamResponse:
    """Save the footer."""
    before = _footer_form(await visit.ask("GET /v1/workspace/footer"))

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {
            "postal_address": "\n".join(str(typed.get("postal_address", "")).splitlines()),
            "reason": word(typed, "reason") or "",
            "language": word(typed, "language"),
            "link": ticked(typed, "link"),
        }
        await visit.ask("PUT /v1/workspace/footer", data)

    return await carry_out(visit, asks, _footer, "Saved.", "/settings/footer", before=before)


# ---- rules --------------------------------------------------------------------------------------------


async def rules(visit: Visit) -> web.StreamResponse:
    """Who decides about what is in doubt, and how long words are kept."""
    return await _rules(visit, None)


async def _rules(visit: Visit, tried: Tried | None) -> web.Response:
    forms = [
        _in_doubt_form(await visit.ask("GET /v1/workspace/in-doubt")),
        _retention_form(await visit.ask("GET /v1/workspace/retention")),
    ]
    return await section(visit, "In doubt, and how long words are kept", "/settings/rules", forms, tried)


def _in_doubt_form(now: InDoubtPolicy) -> Form:
    about = (
        "A server took a message and the connection broke before it said so: nobody knows whether it arrived."
    )
    policy = Field("policy", "Then", now.policy, "select", options=POLICIES)
    return Form("Not sure it arrived", "/settings/rules/in-doubt", (policy,), "Save what happens then", about)


async def in_doubt(visit: Visit) -> web.StreamResponse:
    """Save who decides."""
    before = _in_doubt_form(await visit.ask("GET /v1/workspace/in-doubt"))

    async def asks(typed: Mapping[str, Any]) -> None:
        await visit.ask("PUT /v1/workspace/in-doubt", {"policy": word(typed, "policy")})

    return await carry_out(visit, asks, _rules, "Saved.", "/settings/rules", before=before)


def _retention_form(now: Retention) -> Form:
    forever = "Empty: for ever."
    fields = (
        Field(
            "bodies_days",
            "Days that the words of messages and tasks are kept",
            text_of(now.bodies_days),
            "number",
            help=forever,
        ),
        Field(
            "inbound_days",
            "Days that the words of answers are kept",
            text_of(now.inbound_days),
            "number",
            help=forever,
        ),
    )
    about = (
        "30 to 3650 days. What is older is erased within minutes and can't be brought back; what happened, "
        "and when, stays."
    )
    return Form("How long words are kept", "/settings/rules/retention", fields, "Erase what is older", about)


async def retention(visit: Visit) -> web.StreamResponse:
    """Save how long words are kept: no undo, since what is erased stays so."""

    async def asks(typed: Mapping[str, Any]) -> None:
        data = {each: number(typed, each) for each in ("bodies_days", "inbound_days")}
        await visit.ask("PUT /v1/workspace/retention", data)

    return await carry_out(visit, asks, _rules, "Saved. What is older is being erased.", "/settings/rules")


# ---- the webhook of tasks -----------------------------------------------------------------------------


async def webhook(visit: Visit) -> web.StreamResponse:
    """Where programs hear of tasks."""
    return await _webhook(visit, None)


async def _webhook(visit: Visit, tried: Tried | None, secret: str = "") -> web.Response:
    if not visit.caller.is_admin:
        return await only_admins(visit, "Task webhook", "/settings/webhook", tried)
    now = await _hook(visit)
    url = Field("url", "Address", now, "url", needed=True, example="https://tools.ourco.example/tasks")
    about = "A program of yours is told there when tasks are due, signed as Standard Webhooks."
    button = "Change it: a new secret" if now else "Tell it there"
    form = Form("Where programs hear of tasks", "/settings/webhook", (url,), button, about)
    return await section(
        visit,
        "Task webhook",
        "/settings/webhook",
        [form],
        tried,
        template="settings_webhook.html",
        hook=now,
        secret=secret,
    )


async def _hook(visit: Visit) -> str:
    try:
        found: TaskWebhookShown = await visit.ask("GET /v1/workspace/task-webhook")
    except Problem as problem:
        if problem.status != web.HTTPNotFound.status_code:
            raise
        return ""
    return found.url


async def set_webhook(visit: Visit) -> web.StreamResponse:
    """Let programs hear there; the secret is shown this once."""
    typed = await visit.form()
    try:
        data = {"url": word(typed, "url") or ""}
        made: TaskWebhookMade = await visit.ask("PUT /v1/workspace/task-webhook", data)
    except Problem as problem:
        return await _webhook(visit, Tried("/settings/webhook", typed, problem))
    return await _webhook(visit, None, made.secret)


async def remove_webhook(visit: Visit) -> web.StreamResponse:
    """Tell programs no more."""

    async def asks(_: Mapping[str, Any]) -> None:
        await visit.ask("DELETE /v1/workspace/task-webhook")

    return await carry_out(visit, asks, _webhook, "Programs hear of tasks no more.", "/settings/webhook")


PAGES = (
    Page("GET", "/settings", you),
    Page("POST", "/settings/preferences", preferences),
    Page("POST", "/settings/own-tokens", own_tokens),
    Page("GET", "/settings/workspace", workspace),
    Page("POST", "/settings/workspace/name", name),
    Page("POST", "/settings/workspace/limits", limits),
    Page("POST", "/settings/workspace/pause", pause),
    Page("POST", "/settings/workspace/resume", resume),
    Page("GET", "/settings/footer", footer),
    Page("POST", "/settings/footer", set_footer),
    Page("GET", "/settings/rules", rules),
    Page("POST", "/settings/rules/in-doubt", in_doubt),
    Page("POST", "/settings/rules/retention", retention),
    Page("GET", "/settings/webhook", webhook),
    Page("POST", "/settings/webhook", set_webhook),
    Page("POST", "/settings/webhook/remove", remove_webhook),
)
