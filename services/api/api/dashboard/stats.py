"""The numbers of a team and one's own: what happened in a period, and what became of those enrolled in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from aiohttp import web

from api.dashboard.views import CHANNELS
from api.dashboard.visit import SECURITY_HEADERS, Page, Visit
from api.handlers import respond
from api.problems import Problem
from api.routes.stats import StatsRow, StatsShown

ASKED: Final = ("view", "whose", "by", "sequence", "stage", "channel", "from", "to")
GROUPS: Final[Mapping[str, str]] = {
    "sequence": "Sequence",
    "stage": "Stage",
    "variant": "Variant",
    "owner": "Owner",
    "day": "Day",
    "week": "Week from",
}
ACTIVITY: Final[Mapping[str, str]] = {
    "sent": "Messages sent",
    "opened": "Opened",
    "clicked": "Clicked",
    "answers": "Answers",
    "interested": "Interested",
    "opted_out": "Opted out",
    "tasks_done": "Tasks done",
}
COHORT: Final[Mapping[str, str]] = {
    "enrolled": "Enrolled",
    "sent": "Sent to",
    "answered": "Answered",
    "answered_rate": "Answered %",
    "interested": "Interested",
    "interested_rate": "Interested %",
    "bounced": "Bounced",
    "bounced_rate": "Bounced %",
    "opted_out": "Opted out",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Not sent",
    "live": "Going on",
}
DRAWN: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "activity": (("sent", "planned"), ("answers", "answered")),
    "cohort": (("enrolled", "planned"), ("answered", "answered")),
}
"""Which numbers are drawn, and in which colour."""
PERIODS: Final = (7, 30, 90, 365)
MOST_BARS: Final = 92
MOST_SEQUENCES: Final = 500
WIDTH: Final = 480
HEIGHT: Final = 96
USUAL: Final[Mapping[str, str]] = {"view": "activity", "whose": "team", "by": "sequence"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart, in the units of its drawing."""

    x: float
    y: float
    width: float
    height: float
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A number over the days, or weeks, of a period."""

    title: str
    colour: str
    most: int
    bars: Sequence[Bar]


async def stats(visit: Visit) -> web.StreamResponse:
    """Filters, two drawings and the table."""
    query = _query(visit)
    told: StatsShown | None = None
    charts: list[Chart] = []
    problem: Problem | None = None
    try:
        told = await visit.ask("GET /v1/stats", query=query)
        assert told is not None, "it answers or raises"
        charts = await _charts(visit, query, told)
    except Problem as wrong:
        if wrong.details.status != web.HTTPUnprocessableEntity.status_code:
            raise
        problem = wrong
    words = {**USUAL, **query}
    return visit.page(
        "stats.html",
        title="Stats",
        words=words,
        told=told,
        columns=ACTIVITY if words["view"] == "activity" else COHORT,
        groups=GROUPS,
        group=_words_of_group(told),
        charts=charts,
        size=(WIDTH, HEIGHT),
        sequences=await _sequences(visit),
        stages=await _stages(visit, query),
        channels={name: said for name, (said, _) in CHANNELS.items()},
        periods=_periods(visit, words),
        link=lambda **changes: _link(words, changes),
        numbers=numbers,
        problem=problem.details if problem else None,
        wrong=_wrong(problem),
    )


async def export(visit: Visit) -> web.StreamResponse:
    """The same as a file."""
    response = respond(await visit.answer("GET /v1/stats/export", query=_query(visit)))
    response.headers.update(SECURITY_HEADERS)
    return response


def _query(visit: Visit) -> dict[str, str]:
    asked = {name: visit.request.query[name] for name in ASKED if visit.request.query.get(name)}
    if "sequence" not in asked:
        asked.pop("stage", None)  # a stage is one of a sequence here
    return {**asked, "zone": visit.zone or "UTC"}


def _wrong(problem: Problem | None) -> dict[str, str]:
    """By field of the form that has a place for it, what is wrong there."""
    errors = problem.details.errors if problem else []
    named = {each.pointer.lstrip("?/"): each.detail for each in errors}
    return {name: named[name] for name in ("from", "to") if name in named}


def _link(words: Mapping[str, str], changes: Mapping[str, Any]) -> str:
    path = changes.get("path", "/stats")
    asked = {name: value for name, value in {**words, **changes}.items() if name in ASKED and value}
    return f"{path}?{urlencode(asked)}"


def _words_of_group(told: StatsShown | None) -> str:
    return GROUPS[told.by] if told else ""


def _periods(visit: Visit, words: Mapping[str, str]) -> list[tuple[str, str]]:
    today = visit.api.clock.now().date()
    return [
        (f"{days} days", _link(words, {"from": today - timedelta(days=days - 1), "to": today}))
        for days in PERIODS
    ]


async def _sequences(visit: Visit) -> dict[UUID, str]:
    rows = await visit.ask("GET /v1/sequences", query={"limit": MOST_SEQUENCES})
    return {each.id: each.name for each in rows.items}


async def _stages(visit: Visit, query: Mapping[str, str]) -> list[str]:
    """The stages of the chosen sequence, if it is one of the visitor's."""
    try:
        chosen = UUID(query.get("sequence", ""))
        one = await visit.ask("GET /v1/sequences/{sequence_id}", sequence_id=chosen)
    except (ValueError, Problem):
        return []
    return [each["id"] for each in one.latest.document["stages"]]


# ---- drawings -----------------------------------------------------------------------------------------


async def _charts(visit: Visit, query: Mapping[str, str], told: StatsShown) -> list[Chart]:
    by = "day" if (told.until - told.since).days < MOST_BARS else "week"
    daily: StatsShown = await visit.ask("GET /v1/stats", query={**query, "by": by})
    names = ACTIVITY if told.view == "activity" else COHORT
    return [_chart(names[name], by, colour, daily.rows, name) for name, colour in DRAWN[told.view]]


def _chart(title: str, by: str, colour: str, rows: Sequence[StatsRow], name: str) -> Chart:
    values = [(row.day or date.min, int(numbers(row)[name])) for row in rows]
    most = max((value for _, value in values), default=0)
    step = WIDTH / max(len(values), 1)
    bars = [
        Bar(
            x=round(place * step, 2),
            y=round(HEIGHT - HEIGHT * value / most, 2),
            width=round(step * 0.8, 2),
            height=round(HEIGHT * value / most, 2),
            said=f"{day:%a %d %b %Y}: {value}",
        )
        for place, (day, value) in enumerate(values)
        if value
    ]
    return Chart(f"{title} by {by}", colour, most, bars)


def numbers(row: StatsRow) -> dict[str, Any]:
    """The numbers of a row by name."""
    found = row.cohort or row.activity
    return found.model_dump() if found else {}


PAGES = (Page("GET", "/stats", stats), Page("GET", "/stats.csv", export))
