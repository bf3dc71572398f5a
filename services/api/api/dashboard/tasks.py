"""The queue of tasks: text ready to paste, done with what came of it, put off, left out, given away."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from aiohttp import web

from api.dashboard.later import done as done_later
from api.dashboard.later import is_later, not_done
from api.dashboard.person import instant
from api.dashboard.views import CHANNELS, STOPS
from api.dashboard.visit import Note, Page, Visit
from api.keys import KeyScope
from api.model import full_name
from api.paging import MAX_LIMIT
from api.paging import Page as Rows
from api.problems import Problem
from api.routes.tasks import TaskShown
from api.times import end_of_day
from chassis.zones import find_zone
from segue_contracts.message import Channel
from segue_contracts.tasks import NOBODY_ANSWERED, TaskResult

AT_ONCE: Final = 25
JUST_NOW: Final = timedelta(minutes=15)
"""For so long the queue tells why a task is not there any more."""
MORNING: Final = time(9)
IN_A_WHILE: Final = timedelta(hours=3)
TABS: Final[Mapping[str, str]] = {
    "today": "Today",
    "overdue": "Overdue",
    "later": "Later",
    "taken": "Taken back",
    "everybody": "Everybody's",
}
RESULTS: Final[Mapping[str, str]] = {
    "reached": "Reached",
    "voicemail": "Voicemail",
    "no_answer": "No answer",
    "busy": "Busy",
    "call_back": "Call back later",
    "wrong_number": "Wrong number",
    "sent": "Sent",
    "requested": "Invitation sent",
    "accepted": "Accepted",
    "already_connected": "Connected already",
    "declined": "Declined",
    "not_found": "Not found there",
    "not_sent": "Could not be sent",
    "replied": "They answered",
    "done": "Done",
    "not_possible": "Not possible",
    "other": "Something else",
}
BECAUSE: Final[Mapping[str, str]] = {
    **STOPS,
    "finished": "the sequence is finished",
    "failed": "the sequence could not go on",
    "not_current": "the sequence went on without it",
    "cancelled": "it was called off",
    "held": "it was paused",
}
STATES: Final[Mapping[str, tuple[str, str, str]]] = {
    "task_open": ("waiting", "✎", "waiting"),
    "done": ("done", "✓", "answered"),
    "skipped": ("left out", "↷", "quiet"),
    "released": ("taken back", "↩", "quiet"),
}
DONE: Final[Mapping[str, str]] = {
    "done": "Done.",
    "skip": "Left out; the sequence goes on.",
    "snooze": "Put off.",
    "wake": "It is back in your tasks.",
    "reassign": "Given away.",
}
"""What can be done with a task, by the last part of its path, and what is said then."""
PROFILES: Final = ("linkedin", "linkedin_url", "profile", "profile_url")


@dataclass(frozen=True, slots=True)
class Card:
    """A task for people: who, by what, until when, and what may come of it."""

    task: TaskShown
    id: str
    who: str
    company: str
    channel: str
    icon: str
    phone: str
    call_href: str
    profile: str
    zone: str | None
    results: tuple[tuple[str, str, bool], ...]  # value, words, whether nobody can have answered then
    chosen: str
    may_be_wrong_number: bool
    is_overdue: bool
    is_asleep: bool
    because: str
    state: tuple[str, str, str]

    @property
    def path(self) -> str:
        """Where it is alone on a page."""
        return f"/tasks/{quote(self.task.dispatch_id, safe=':')}"


@dataclass(frozen=True, slots=True)
class Wake:
    """A time at which a task may come back: what a button sends, and what stands on it."""

    value: str
    label: str
    at: datetime


async def queue(visit: Visit) -> web.StreamResponse:
    """One tab of the queue."""
    return visit.page("tasks.html", title="Tasks", **await _queue(visit))


async def queue_part(visit: Visit) -> web.StreamResponse:
    """What changes on it."""
    return visit.part("tasks_list.html", **await _queue(visit))


async def one(visit: Visit) -> web.StreamResponse:
    """One task, open or not."""
    return await _shown(visit, await _asked(visit))


async def act(visit: Visit) -> web.StreamResponse:
    """Done, put off, left out, given away."""
    fields = await visit.form()
    action, dispatch_id = visit.request.match_info["action"], visit.request.match_info["dispatch_id"]
    try:
        data = _request(visit, action, fields)
        verb = "snooze" if action == "wake" else action
        await visit.ask(f"POST /v1/tasks/{{dispatch_id}}/{verb}", data, dispatch_id=dispatch_id)
    except Problem as problem:
        if is_later(fields):
            return not_done(problem)
        return await _shown(visit, await _asked(visit), problem, fields)
    if is_later(fields):
        return done_later()
    gone = {} if action == "wake" else {"done": dispatch_id}
    tab = _tab(visit, str(fields.get("tab", "")))
    return visit.go("/tasks", _note(action, dispatch_id), tab=tab, **gone)


def _note(action: str, dispatch_id: str) -> Note:
    undo = f"/tasks/{dispatch_id}/wake" if action == "snooze" else ""
    return Note(DONE[action], undo_path=undo, undo_fields={})


def _request(visit: Visit, action: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the API's route; what is wrong with it, the API says."""
    if action == "done":
        return _outcome(fields)
    if action == "skip":
        return {"note": str(fields.get("note", ""))}
    if action == "snooze":
        return {"until": _until(visit, fields)}
    if action == "wake":
        return {"until": (visit.api.clock.now() + timedelta(seconds=1)).isoformat()}
    return {"assignee_id": str(fields.get("assignee_id", ""))}


def _outcome(fields: Mapping[str, Any]) -> dict[str, Any]:
    result = str(fields.get("result", ""))
    said: dict[str, Any] = {"note": str(fields.get("note", "")), "responded": "responded" in fields}
    if result:
        said["result"] = result
    # The box says "if the number is wrong": with any other result it says nothing.
    said["suppress_phone"] = "suppress_phone" in fields and result == TaskResult.WRONG_NUMBER
    return said


def _until(visit: Visit, fields: Mapping[str, Any]) -> str:
    offered = {each.value: each.at for each in wakes(visit.api.clock.now(), visit.zone)}
    chosen = str(fields.get("until", ""))
    if chosen in offered:
        return offered[chosen].isoformat()
    return instant(str(fields.get("at", "")), visit.zone)


def wakes(now: datetime, zone: str | None) -> list[Wake]:
    """When a task may come back: later today while there is much left of it, tomorrow, and on Monday."""
    midnight = end_of_day(now, zone)
    here = find_zone(zone) or midnight.tzinfo
    tomorrow = midnight.astimezone(here).date()
    monday = tomorrow + timedelta(days=-tomorrow.weekday() % 7)
    found = []
    later = (now + IN_A_WHILE).replace(second=0, microsecond=0)
    if later < midnight - IN_A_WHILE:
        found.append(Wake("later", f"Later today, {later.astimezone(here):%H:%M}", later))
    found.append(Wake("tomorrow", f"Tomorrow {MORNING:%H:%M}", datetime.combine(tomorrow, MORNING, here)))
    if monday != tomorrow:
        found.append(Wake("monday", f"Monday {MORNING:%H:%M}", datetime.combine(monday, MORNING, here)))
    return found


# ---- reading ------------------------------------------------------------------------------------------


async def _queue(visit: Visit) -> dict[str, Any]:
    words = visit.request.query
    tab, just_done = _tab(visit, words.get("tab", "")), words.get("done", "")
    query = {"limit": AT_ONCE, **({"cursor": words["cursor"]} if words.get("cursor") else {})}
    found: Rows[TaskShown] = await visit.ask("GET /v1/tasks", query={**query, **_which(visit, tab)})
    # The sender carries a command out a moment later; until then what was just done would still be here.
    cards = [card(each, visit.api.clock.now()) for each in found.items if each.dispatch_id != just_done]
    users = await _users(visit)
    return {
        "cards": cards,
        "cursor": found.next_cursor,
        "tab": tab,
        "tabs": _tabs(visit),
        "just_done": just_done,
        "at": words.get("cursor", ""),
        "gone": await _just_gone(visit) if tab in ("today", "overdue") else [],
        **_around(visit, users),
    }


def _around(visit: Visit, users: Mapping[UUID, str]) -> dict[str, Any]:
    """What every card needs beside its task."""
    return {
        "users": users,
        "wakes": wakes(visit.api.clock.now(), visit.zone),
        "may_give": visit.caller.may(KeyScope.WRITE),
        "me": visit.caller.user_id,
        "typed": {},
        "reader": visit.zone,
    }


def _tabs(visit: Visit) -> dict[str, str]:
    """Those that this user has: who only does their own tasks has no others' to look at."""
    own = {name: label for name, label in TABS.items() if name != "everybody"}
    return dict(TABS) if visit.caller.may(KeyScope.WRITE) else own


def _tab(visit: Visit, word: str) -> str:
    return word if word in _tabs(visit) else "today"


def _which(visit: Visit, tab: str) -> dict[str, Any]:
    today = end_of_day(visit.api.clock.now(), visit.zone)
    mine = {"assignee": "me"}
    tabs: dict[str, dict[str, Any]] = {
        "today": {**mine, "due_by": today},
        "overdue": {**mine, "overdue": True},
        "later": {**mine, "due_after": today},
        "taken": {**mine, "state": "released"},
        "everybody": {"snoozed": True},
    }
    return tabs[tab]


async def _just_gone(visit: Visit) -> list[Card]:
    """What was taken back while somebody may have looked at it."""
    now = visit.api.clock.now()
    query = {"assignee": "me", "state": "released", "limit": 5}
    found: Rows[TaskShown] = await visit.ask("GET /v1/tasks", query=query)
    return [card(each, now) for each in found.items if each.recalled_at and each.recalled_at > now - JUST_NOW]


async def _users(visit: Visit) -> dict[UUID, str]:
    """Who works here, by name."""
    found = await visit.ask("GET /v1/users", query={"limit": MAX_LIMIT})
    here = (each for each in found.items if each.left_at is None)
    return {each.id: each.name for each in sorted(here, key=lambda each: each.name.casefold())}


async def _asked(visit: Visit) -> TaskShown:
    dispatch_id = visit.request.match_info["dispatch_id"]
    task: TaskShown = await visit.ask("GET /v1/tasks/{dispatch_id}", dispatch_id=dispatch_id)
    return task


async def _shown(
    visit: Visit, task: TaskShown, problem: Problem | None = None, typed: Mapping[str, Any] | None = None
) -> web.Response:
    shown = card(task, visit.api.clock.now())
    values = _around(visit, await _users(visit)) | {"typed": typed or {}}
    return visit.page(
        "task.html",
        title=f"{shown.channel.capitalize()}: {shown.who}",
        status=problem.status if problem else HTTPStatus.OK,
        card=shown,
        words_of=RESULTS,
        tab="today",
        tabs=_tabs(visit),
        problem=problem.details if problem else None,
        **values,
    )


def card(task: TaskShown, now: datetime) -> Card:
    """A task for people, as of now."""
    prospect = task.prospect or {}
    word, icon = CHANNELS.get(task.channel or "", (task.channel or "task", "✎"))
    phone = str(prospect.get("phone") or "")
    results = tuple((each.value, RESULTS.get(each, each), each in NOBODY_ANSWERED) for each in task.results)
    return Card(
        task=task,
        id=re.sub(r"[^\w-]", "-", task.dispatch_id),
        who=who(prospect),
        company=str(prospect.get("company") or ""),
        channel=word,
        icon=icon,
        phone=phone,
        call_href=_call_href(phone),
        profile=_profile(prospect),
        zone=prospect.get("zone"),
        results=results,
        # What came of a call can't be guessed; whoever sends something by hand mostly sent it.
        chosen="" if task.channel == Channel.CALL or not results else results[0][0],
        may_be_wrong_number=TaskResult.WRONG_NUMBER in task.results,
        is_overdue=bool(task.overdue_at and task.overdue_at <= now),
        is_asleep=bool(task.snoozed_until and task.snoozed_until > now),
        because=_because(task),
        state=STATES.get(task.state, (task.state.replace("_", " "), "·", "quiet")),
    )


def who(prospect: Mapping[str, Any]) -> str:
    """A name, else the producer's id."""
    return full_name(prospect) or str(prospect.get("external_id") or "somebody")


def _call_href(phone: str) -> str:
    digits = re.sub(r"[^0-9+]", "", phone)
    return f"tel:{digits}" if digits else ""


def _profile(prospect: Mapping[str, Any]) -> str:
    """A link to their profile, where a token has one; anything but a web address is none."""
    tokens = prospect.get("tokens") or {}
    found: Iterable[str] = (str(tokens.get(name) or "") for name in PROFILES)
    return next((each for each in found if each.startswith(("https://", "http://"))), "")


def _because(task: TaskShown) -> str:
    reason = task.recalled_because or ""
    return BECAUSE.get(reason, reason.replace("_", " "))


_ONE: Final = "/tasks/{dispatch_id}"
PAGES = (
    Page("GET", "/tasks", queue),
    Page("GET", "/tasks/list", queue_part),
    Page("GET", _ONE, one),
    Page("POST", _ONE + "/{action:" + "|".join(DONE) + "}", act),
)
