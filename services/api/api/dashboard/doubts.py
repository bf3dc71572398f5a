"""Messages of which nobody knows whether they arrived: where was looked, and what is to become of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from api.dashboard.later import done as done_later
from api.dashboard.later import is_later, not_done
from api.dashboard.views import CHANNELS
from api.dashboard.visit import Note, Page, Visit
from api.keys import KeyScope
from api.paging import Page as Rows
from api.problems import Problem
from api.routes.enrollments import DeliveryShown, LookShown
from segue_contracts.commands import Decision

AT_ONCE: Final = 25
MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody may decide: the word on the button, what it means, and what is said once it is chosen."""

    value: str
    label: str
    means: str
    said: str


CHOICES: Final = (
    Choice(
        Decision.MARK_SENT,
        "It was sent",
        "You know that they have it. The sequence goes on from here.",
        "Counts as sent. The sequence goes on.",
    ),
    Choice(
        Decision.RESEND,
        "Send it again",
        "They may get it twice.",
        "It is sent again.",
    ),
    Choice(
        Decision.SKIP_STAGE,
        "Leave it out",
        "If it did not arrive, they never get it. The next stage comes as planned.",
        "Left out. The sequence goes on.",
    ),
    Choice(
        Decision.STOP,
        "Stop here",
        "Nothing more goes to them in this sequence.",
        "Stopped. Nothing more goes out in this sequence.",
    ),
)


@dataclass(frozen=True, slots=True)
class Doubt:
    """One of them, for people."""

    delivery: DeliveryShown
    id: str
    channel: str
    icon: str
    age: str
    looked: tuple[LookShown, ...]


async def doubts(visit: Visit) -> web.StreamResponse:
    """All that the visitor may see, the longest waiting first."""
    return await _shown(visit)


async def decide(visit: Visit) -> web.StreamResponse:
    """Say what is to become of one."""
    fields = await visit.form()
    dispatch_id, decision = visit.request.match_info["dispatch_id"], str(fields.get("decision", ""))
    try:
        route = "POST /v1/deliveries/{dispatch_id}/decide"
        await visit.ask(route, {"decision": decision}, dispatch_id=dispatch_id)
    except Problem as problem:
        return not_done(problem) if is_later(fields) else await _shown(visit, problem)
    if is_later(fields):
        return done_later()
    said = next(each.said for each in CHOICES if each.value == decision)
    return visit.go("/doubts", Note(said), done=dispatch_id)


async def _shown(visit: Visit, problem: Problem | None = None) -> web.Response:
    words = visit.request.query
    query = {"limit": AT_ONCE, **({"cursor": words["cursor"]} if words.get("cursor") else {})}
    found: Rows[DeliveryShown] = await visit.ask("GET /v1/deliveries", query=query)
    # The sender carries a decision out a moment later; until then what was just decided would still be here.
    rows = [doubt(each) for each in found.items if each.dispatch_id != words.get("done")]
    return visit.page(
        "doubts.html",
        title="Not sure it arrived",
        status=problem.status if problem else HTTPStatus.OK,
        rows=rows,
        cursor=found.next_cursor,
        choices=CHOICES,
        looks=LOOKS,
        may_decide=visit.caller.may(KeyScope.WRITE),
        problem=problem.details if problem else None,
    )


LOOKS: Final[Mapping[str, str]] = {
    "sent_copy": "for its copy in the mailbox",
    "provider": "in the provider's own list",
}
"""Where was looked, by the API's word."""


def doubt(delivery: DeliveryShown) -> Doubt:
    """A delivery in doubt, for people."""
    word, icon = CHANNELS.get(delivery.channel or "", (delivery.channel or "message", "✉"))
    known: Any = delivery.doubt
    return Doubt(
        delivery=delivery,
        id=delivery.dispatch_id.replace(":", "-"),
        channel=word,
        icon=icon,
        age=age(known.age_seconds if known else 0),
        looked=tuple(known.looked) if known else (),
    )


def age(seconds: int) -> str:
    """How long ago, in the largest unit that fits."""
    if seconds < 2 * MINUTE:
        return "just now"
    for size, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"for {number} {name}{'' if number == 1 else 's'}"
    return "just now"


PAGES = (
    Page("GET", "/doubts", doubts),
    Page("POST", "/doubts/{dispatch_id}", decide),
)
