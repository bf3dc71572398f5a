"""Measures plans a second on one core, with holidays, windows, a range and business days.

Run: `python tests/bench/plan.py [SECONDS]`. The peer looks for the first allowed minute, minute by minute,
for one person after another; it knows windows and weekends, no holidays, no clock changes, no reasons.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from scheduler.plan import Person, Planned, Sender, plan
from segue_contracts.sequence import parse_sequence

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "America/Sao_Paulo")
COUNTRIES = ("DE", "US", "IN", "AU", "BR")
FRIDAY_EVENING = datetime(2026, 12, 18, 19, 5, tzinfo=UTC)
SEQUENCE = parse_sequence(
    {
        "name": "Three stages",
        "timing": {"windows": {"mon-fri": ["09:00-12:00", "13:00-17:30"]}},
        "stages": [
            {"id": "hello", "channel": "email", "subject": "A job", "text": "Four days a week"},
            {"id": "nudge", "channel": "email", "after": "3 business days", "at": "09:00-11:00", "text": "?"},
            {"id": "again", "channel": "email", "after": "5 days", "at": "10:00", "text": "?"},
        ],
    }
)


def main(seconds: float) -> None:
    ours = rate(segue, seconds)
    theirs = rate(scan, seconds)
    print(f"Segue, with reasons      {ours:10,.0f} plans/s on one core")
    print(f"scan minute by minute    {theirs:10,.0f} plans/s   ratio {ours / theirs:.1f}x")


def rate(one: Callable[[int], None], seconds: float) -> float:
    """Plans in a second of this process's CPU time."""
    began = time.process_time()
    for number in count():
        one(number)
        if (used := time.process_time() - began) > seconds:
            return (number + 1) / used
    raise AssertionError


def segue(number: int) -> None:
    index = number % 3
    place = number % len(ZONES)
    found = plan(
        SEQUENCE.stages[index],
        SEQUENCE.timing_of(index),
        base=FRIDAY_EVENING + timedelta(seconds=number),
        dispatch_id=f"{number}:{index}",
        person=Person(ZONES[place], COUNTRIES[place]),
        sender=Sender(),
        first=index == 0,
    )
    assert isinstance(found, Planned)


def scan(number: int) -> None:
    zone = ZoneInfo(ZONES[number % len(ZONES)])
    at = FRIDAY_EVENING + timedelta(seconds=number) + timedelta(days=(0, 5, 5)[number % 3])
    opens, closes = ((9, 17), (9, 11), (10, 11))[number % 3]
    while True:
        local = at.astimezone(zone)
        if local.isoweekday() <= 5 and opens <= local.hour < closes:
            return
        at += timedelta(minutes=1)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
