"""The start page: what waits for you, who answered, what goes out next, and what is held and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from api.dashboard.tasks import card, who
from api.dashboard.visit import Page, Visit
from api.mailbox_health import RATES, REFUSALS
from api.routes.mine import HeldShown, UpcomingShown
from api.times import end_of_day
from segue_contracts.commands import HoldScope

TASKS: Final = 7
ANSWERS: Final = 7
NEXT: Final = 10
SINCE: Final = timedelta(days=1)
REASONS: Final[Mapping[str, str]] = {
    **{reason: words for reason, (words, _) in REFUSALS.items()},
    **{reason: words for reason, (words, _) in RATES.items()},
    "owner_left": "Whose it was has left.",
    "consent_withdrawn": "Its user took back that you may send from it.",
    "archived": "The sequence was archived.",
}
"""Why something is held, for people; a reason that somebody wrote stands for itself."""


@dataclass(frozen=True, slots=True)
class Held:
    """Something that is held: what, where one can look, why, until when."""

    what: str
    href: str
    why: str
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Next:
    """Something that goes out: to whom, and why then."""

    row: UpcomingShown
    who: str
    why: tuple[str, ...]


async def today(visit: Visit) -> web.StreamResponse:
    """What a recruiter wants to know first."""
    now = visit.api.clock.now()
    due = {"assignee": "me", "due_by": end_of_day(now, visit.zone), "limit": TASKS}
    tasks = await visit.ask("GET /v1/tasks", query=due)
    answers = await visit.ask("GET /v1/answers", query={"owner": "me", "limit": ANSWERS})
    upcoming = await visit.ask("GET /v1/upcoming", query={"limit": NEXT})
    held = await visit.ask("GET /v1/me/holds")
    return visit.page(
        "today.html",
        title="Today",
        tasks=[card(each, now) for each in tasks.items],
        more_tasks=tasks.next_cursor is not None,
        answers=[each for each in answers.items if each.received_at >= now - SINCE],
        upcoming=[_next(each) for each in upcoming.items],
        held=[_held(each) for each in held.items],
        me=visit.caller.user_id,
    )


def _next(row: UpcomingShown) -> Next:
    why = (str(each.get("detail") or each.get("rule") or "") for each in row.reasons)
    return Next(row, who(row.prospect or {"external_id": row.external_id}), tuple(filter(None, why)))


def _held(hold: HeldShown) -> Held:
    what, href = _place(hold)
    why = REASONS.get(hold.reason, hold.reason.replace("_", " ")) or "Somebody paused it."
    return Held(what=what, href=href, why=why, since=hold.since, until=hold.until)


def _place(hold: HeldShown) -> tuple[str, str]:
    """What is held, and the page on which one can do something about it."""
    name: Any = hold.name
    match HoldScope(hold.scope):
        case HoldScope.WORKSPACE | HoldScope.OPERATIONS:
            return "Everything", "/settings"
        case HoldScope.SEQUENCE:
            return name or "A sequence", f"/sequences/{hold.scope_id}"
        case HoldScope.OWNERSHIP if name and "@" not in name:
            return name, f"/sequences/{hold.scope_id}"
    return name or "A mailbox", "/mailboxes"


PAGES = (Page("GET", "/", today),)
