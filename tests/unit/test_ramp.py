"""How a new mailbox's day grows, and that no window ever holds more than its day allows."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.caps import DAY, Cap, caps_of
from chassis.documents import MailboxLimits, MailboxView, Ramp, SmtpIdentity
from chassis.ramp import limit_on, step_count, steps
from chassis.zones import find_zone
from scheduler.room import Room
from segue_contracts.sequence import Limits

MONDAY = date(2026, 11, 23)
BERLIN = find_zone("Europe/Berlin")
MAILBOX = UUID(int=7)


def ramp(**more: Any) -> Ramp:
    return Ramp(**{"start": 20, "add_per_day": 10, "until": 200, "since": MONDAY.isoformat(), **more})


ramps = st.builds(
    lambda start, add, steps, since: Ramp(start, add, start + add * steps, since.isoformat()),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 8),
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
)


def caps(limits: MailboxLimits, zone: str | None = "Europe/Berlin") -> tuple[Cap, ...]:
    smtp = SmtpIdentity("127.0.0.1", 25, "none", None, None)
    mailbox = MailboxView(
        MAILBOX, UUID(int=1), "a@b.example", "", UUID(int=2), "", zone, None, None, (), smtp, limits
    )
    sequence, person = UUID(int=3), UUID(int=4)
    return caps_of(mailbox, None, Limits(), sequence_id=sequence, person_id=person, is_first=True)


def test_it_grows_on_working_days_and_rests_at_the_weekend() -> None:
    days = [limit_on(ramp(), MONDAY + timedelta(n)) for n in range(9)]
    assert days == [20, 30, 40, 50, 60, 60, 60, 70, 80]


def test_it_starts_with_its_first_working_day_and_stays_at_its_goal() -> None:
    saturday = ramp(since="2026-11-21")
    assert [limit_on(saturday, date(2026, 11, day)) for day in (1, 21, 22, 23, 24)] == [20, 20, 20, 20, 30]
    assert limit_on(ramp(), date(2027, 6, 1)) == 200


@given(ramps, st.dates(date(2025, 12, 1), date(2027, 6, 1)))
def test_a_day_never_has_less_than_the_day_before_nor_more_than_the_goal(growing: Ramp, day: date) -> None:
    before, now = limit_on(growing, day - timedelta(1)), limit_on(growing, day)
    assert growing.start <= before <= now <= growing.until
    assert now - before in {0, growing.add_per_day}


@given(ramps)
def test_its_steps_say_the_same_as_its_days(growing: Ramp) -> None:
    assert BERLIN is not None
    found = list(steps(growing, BERLIN))
    assert len(found) == step_count(growing.start, growing.add_per_day, growing.until)
    for count, end in found:
        assert limit_on(growing, end.date() - timedelta(1)) == count
        assert limit_on(growing, end.date()) > count
    assert all(earlier < later for (_, earlier), (_, later) in pairwise(found))


def test_the_smaller_of_a_ramp_and_a_days_limit_holds() -> None:
    limits = MailboxLimits(per_day=45, ramp=ramp())
    assert [limits.on(MONDAY + timedelta(n)) for n in range(4)] == [20, 30, 40, 45]
    assert [cap.count for cap in caps(limits)] == [20, 30, 40, 45]
    assert MailboxLimits(per_day=45).on(MONDAY) == 45
    assert MailboxLimits().on(MONDAY) is None


def test_a_ramp_that_starts_with_one_is_no_gap_of_a_day() -> None:
    first, *_ = caps(MailboxLimits(ramp=ramp(start=1)))
    assert (first.count, first.paced) == (1, False)


@settings(max_examples=60, deadline=None)
@given(ramps, st.lists(st.integers(0, 12 * DAY), max_size=120), st.sampled_from([None, "America/New_York"]))
def test_no_24_hours_hold_more_than_the_limit_of_the_day_on_which_they_end(
    growing: Ramp, wanted: list[int], zone: str | None
) -> None:
    local = find_zone(zone or "UTC")
    begin = int(datetime.fromisoformat(growing.since).replace(tzinfo=UTC).timestamp())
    room, taken = Room(caps(MailboxLimits(ramp=growing), zone)), list[int]()
    for offset in wanted:
        at = room.next_free(begin + offset)
        room.take(at)
        taken.append(at)
    for last in taken:
        within = sum(last - DAY < at <= last for at in taken)
        assert within <= limit_on(growing, datetime.fromtimestamp(last, local).date())
