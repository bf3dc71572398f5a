"""When users hear of their tasks, and where a workspace's programs do."""

import secrets
from base64 import b64encode
from datetime import time
from http import HTTPStatus
from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, Field, UrlConstraints

from api.auditing import audit
from api.hosts import check_url
from api.keys import KeyScope
from api.problems import invalid_at, not_found
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from api.times import check_zone_name
from chassis.prompting import PromptWishes, lies_in
from chassis.store import Document
from segue_contracts.sequence import WeekdaysText
from segue_contracts.timing import DAY_NAMES, parse_days

SECRET_BYTES = 24
"""As Standard Webhooks wants it: 24 to 64."""
_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

ClockText = Annotated[str, Field(pattern=_CLOCK, examples=["08:30"])]


class QuietHours(Closed):
    """A time of day from when on, and one until when, nothing is told; it may go over midnight."""

    start: ClockText
    end: ClockText


class TaskPreferences(Closed):
    """When you hear of your tasks by mail, by the clock of your zone (default: your first mailbox's).

    `digest`: one list a workday, at `digest_at`. `when_due`: also each task as it comes up. Nothing comes
    within `quiet`, or on other days than `workdays`.
    """

    digest: bool = True
    digest_at: ClockText = f"{PromptWishes().digest_at:%H:%M}"
    when_due: bool = False
    zone: Annotated[str, AfterValidator(check_zone_name)] | None = None
    workdays: WeekdaysText = "mon-fri"
    quiet: QuietHours | None = QuietHours(start="19:00", end="07:00")


class Preferences(Closed):
    """How you want things."""

    tasks: TaskPreferences = TaskPreferences()


class NewTaskWebhook(Closed):
    """Where the workspace's programs are to hear of tasks."""

    url: Annotated[AnyHttpUrl, UrlConstraints(max_length=1000)]


class TaskWebhookShown(Shown):
    """Where the workspace's programs hear of tasks."""

    url: str


class TaskWebhookMade(TaskWebhookShown):
    """A webhook; `secret` signs as Standard Webhooks, and is shown this once."""

    secret: str


async def preferences(call: Call) -> Answer:
    """How you want things."""
    user = await call.api.store.people.user(call.caller.workspace, call.caller.user_id)
    if user is None:
        raise not_found("user")
    return Answer(Preferences(tasks=as_shown(PromptWishes.read(user.get("prompts")))))


async def set_preferences(call: Call) -> Answer:
    """Say how you want things; what is left out is as for everybody."""
    wanted: Preferences = call.body.data
    wishes = as_kept(wanted.tasks)
    if wishes.quiet and lies_in(wishes.digest_at, *wishes.quiet):
        raise invalid_at("/tasks/digest_at", "lies in your quiet hours: choose another time, or other hours")
    await call.api.store.people.set_prompts(call.caller.workspace, call.caller.user_id, wishes.data())
    return Answer(Preferences(tasks=as_shown(wishes)))


def as_kept(wanted: TaskPreferences) -> PromptWishes:
    """Wishes as the sender reads them."""
    days = [wanted.workdays] if isinstance(wanted.workdays, str) else wanted.workdays
    quiet = wanted.quiet
    return PromptWishes(
        digest=wanted.digest,
        digest_at=time.fromisoformat(wanted.digest_at),
        when_due=wanted.when_due,
        zone=wanted.zone,
        workdays=tuple(sorted(parse_days(days))),
        quiet=(time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)) if quiet else None,
    )


def as_shown(wishes: PromptWishes) -> TaskPreferences:
    """Wishes as people write them."""
    data = wishes.data()
    start, end = data["quiet"] or ("", "")
    return TaskPreferences(
        **{name: data[name] for name in ("digest", "digest_at", "when_due", "zone")},
        workdays=tuple(DAY_NAMES[day] for day in wishes.workdays),
        quiet=QuietHours(start=start, end=end) if wishes.quiet else None,
    )


async def task_webhook(call: Call) -> Answer:
    """Where programs hear of tasks."""
    workspace = await call.api.store.people.workspace(call.caller.workspace) or {}
    hook: Document | None = workspace.get("prompt_hook")
    if hook is None:
        raise not_found("webhook")
    return Answer(TaskWebhookShown.model_validate(hook))


async def set_task_webhook(call: Call) -> Answer:
    """Let programs hear of tasks at this address from now on, under a new secret."""
    url = str(call.body.data.url)
    await check_url(call, "/url", url)
    secret = "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    await audit(call, "task_webhook.set", call.caller.workspace)
    hook = {"url": url, "secret": call.api.secrets.encrypt(secret)}
    await call.api.store.people.set_prompt_hook(call.caller.workspace, hook)
    return Answer(TaskWebhookMade(url=url, secret=secret))


async def remove_task_webhook(call: Call) -> Answer:
    """Tell programs no more."""
    await audit(call, "task_webhook.removed", call.caller.workspace)
    await call.api.store.people.set_prompt_hook(call.caller.workspace, None)
    return Answer(status=HTTPStatus.NO_CONTENT)


_MINE = "/v1/me/preferences"
_WEBHOOK = "/v1/workspace/task-webhook"

ROUTES = (
    Route(
        "GET",
        _MINE,
        preferences,
        "Read how you want things",
        KeyScope.READ,
        answer=Preferences,
        tag="Workspace",
    ),
    Route(
        "PUT",
        _MINE,
        set_preferences,
        "Say how you want things",
        KeyScope.WRITE,
        answer=Preferences,
        takes=Takes(Preferences),
        tag="Workspace",
    ),
    Route(
        "GET",
        _WEBHOOK,
        task_webhook,
        "Read where programs hear of tasks",
        KeyScope.ADMIN,
        answer=TaskWebhookShown,
        tag="Workspace",
    ),
    Route(
        "PUT",
        _WEBHOOK,
        set_task_webhook,
        "Let programs hear of tasks",
        KeyScope.ADMIN,
        answer=TaskWebhookMade,
        takes=Takes(NewTaskWebhook),
        tag="Workspace",
    ),
    Route(
        "DELETE",
        _WEBHOOK,
        remove_task_webhook,
        "Tell programs of tasks no more",
        KeyScope.ADMIN,
        status=HTTPStatus.NO_CONTENT,
        tag="Workspace",
    ),
)
