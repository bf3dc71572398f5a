"""What a sequence counts to, as pictures: a bar of states, a funnel by stage, a strip of days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from api.counted import SequenceCounted, StageCounts
from api.dashboard.views import CHANNELS, STATES
from chassis.clock import Clock
from chassis.zones import find_zone

BAR_WIDTH: Final = 1000
STRIP_HEIGHT: Final = 48
DAY_WIDTH: Final = 20
DAYS_BEFORE, DAYS_AFTER = 14, 15
FRESH_SECONDS, MINUTE_SECONDS = 20, 90


@dataclass(frozen=True, slots=True)
class Share:
    """One state's part of the bar; `x` and `width` of 1000."""

    word: str
    icon: str
    pill: str
    number: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the funnel; widths of 1000, as parts of the stage that sent most."""

    stage_id: str
    channel: str
    sent: int
    answered: int
    interested: int
    width: float
    answered_width: float
    percent: int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of the strip."""

    x: int
    title: str
    sent_y: float
    sent: float
    planned_y: float
    planned: float


@dataclass(frozen=True, slots=True)
class Chart:
    """What the page draws; `numbers` of people by the words that the table can be filtered by."""

    counts: SequenceCounted
    age: str
    numbers: Mapping[str, int]
    shares: list[Share]
    steps: list[Step]
    bars: list[Bar]
    first: date
    last: date
    percent: int | None


def chart_of(counts: SequenceCounted, clock: Clock) -> Chart:
    """The pictures of these counts."""
    zone = find_zone(counts.zone)
    today = clock.now().astimezone(zone).date()
    return Chart(
        counts=counts,
        age=age((clock.real_now() - counts.counted_at).total_seconds()),
        numbers=_numbers(counts),
        shares=_shares(counts),
        steps=_steps(counts.stages),
        bars=_bars(counts, today),
        first=today - timedelta(days=DAYS_BEFORE),
        last=today + timedelta(days=DAYS_AFTER),
        percent=percent(counts.answered, counts.enrolled),
    )


def age(seconds: float) -> str:
    """How old counts are, in steps: the page changes when the counts do, not with every second."""
    if seconds < FRESH_SECONDS:
        return "just now"
    if seconds < MINUTE_SECONDS:
        return "a minute ago"
    minutes = round(seconds / 60)
    return f"{minutes} minutes ago" if minutes < MINUTE_SECONDS else f"{round(minutes / 60)} hours ago"


def percent(part: int, whole: int) -> int | None:
    """Of a hundred; None of nobody."""
    return round(100 * part / whole) if whole else None


def _numbers(counts: SequenceCounted) -> dict[str, int]:
    return {
        **dict.fromkeys(STATES, 0),
        **counts.states,
        "live": counts.live,
        "held": counts.held,
        "answered": counts.answered,
    }


def _shares(counts: SequenceCounted) -> list[Share]:
    """People by state, paused and answered ones apart; states without anybody are left out."""
    numbers = {
        state: number - counts.answered_by_state.get(state, 0) for state, number in counts.states.items()
    }
    numbers["scheduled"] = max(0, numbers.get("scheduled", 0) - counts.held)
    numbers |= {"paused": counts.held, "answered": counts.answered}
    whole, x, shares = sum(numbers.values()) or 1, 0.0, []
    for state, (word, icon, pill) in STATES.items():
        if number := numbers.get(state, 0):
            width = BAR_WIDTH * number / whole
            shares.append(Share(word, icon, pill, number, round(x, 1), round(width, 1)))
            x += width
    return shares


def _steps(stages: list[StageCounts]) -> list[Step]:
    most = max((each.sent for each in stages), default=0) or 1
    return [
        Step(
            stage_id=each.stage_id,
            channel=CHANNELS.get(each.channel, (each.channel, ""))[0],
            sent=each.sent,
            answered=each.answered,
            interested=each.interested,
            width=round(BAR_WIDTH * each.sent / most, 1),
            answered_width=round(BAR_WIDTH * min(each.answered, each.sent) / most, 1),
            percent=percent(each.answered, each.sent),
        )
        for each in stages
    ]


def _bars(counts: SequenceCounted, today: date) -> list[Bar]:
    by_date = {each.date: each for each in counts.days}
    most = max((each.sent + each.planned for each in counts.days), default=0) or 1
    bars = []
    for index in range(DAYS_BEFORE + DAYS_AFTER + 1):
        on = today + timedelta(days=index - DAYS_BEFORE)
        day = by_date.get(on)
        sent, planned = (day.sent, day.planned) if day else (0, 0)
        tall, above = STRIP_HEIGHT * sent / most, STRIP_HEIGHT * planned / most
        said = [f"{sent:,} sent"] if sent or on <= today else []
        said += [f"{planned:,} planned"] if planned or on >= today else []
        bars.append(
            Bar(
                x=index * DAY_WIDTH,
                title=f"{on:%a %d %b}: {', '.join(said)}",
                sent_y=round(STRIP_HEIGHT - tall, 1),
                sent=round(tall, 1),
                planned_y=round(STRIP_HEIGHT - tall - above, 1),
                planned=round(above, 1),
            )
        )
    return bars
