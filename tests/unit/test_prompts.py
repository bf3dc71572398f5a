"""When a user hears of their tasks: once a day, never in quiet hours, in every zone and clock change."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chassis.prompting import PromptWishes, lies_in
from chassis.zones import find_zone
from segue_contracts.message import Channel
from segue_contracts.sequence import Overdue, WhenOverdue
from sender.manual import deadline
from sender.prompts import Hours, Listed, digest_words, due_words, overdue_words, payload

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Kolkata", "Pacific/Apia"),
    *("Australia/Lord_Howe", "Pacific/Kiritimati", "America/St_Johns", "Africa/Casablanca"),
)
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
instants = st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001 - made aware at once


@st.composite
def hours(draw: st.DrawFn) -> Hours:
    wishes = PromptWishes(
        digest_at=draw(times),
        workdays=tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1)))),
        quiet=draw(st.none() | st.tuples(times, times)),
    )
    zone = find_zone(draw(st.sampled_from(ZONES)))
    assert zone is not None
    return Hours(wishes, zone)


def at_quarters(start: datetime, days: int) -> list[datetime]:
    return [start + timedelta(minutes=15 * n) for n in range(days * 96)]


@given(hours(), instants)
def test_what_waits_out_the_quiet_comes_when_it_is_over_and_no_later_than_needed(
    theirs: Hours, at: datetime
) -> None:
    until = theirs.quiet_until(at)
    assert until >= at
    assert not theirs.is_quiet(until)
    assert (until == at) == (not theirs.is_quiet(at))
    assert all(theirs.is_quiet(each) for each in at_quarters(at, 16) if at <= each < until)


@given(hours(), instants)
def test_every_workday_without_quiet_hours_has_a_digest_and_it_is_of_that_day(
    theirs: Hours, start: datetime
) -> None:
    assume(theirs.wishes.quiet is None and theirs.wishes.digest_at < time(22, 30))
    found = {(at, theirs.digest_day(at)) for at in at_quarters(start, 14)}
    assert all(day in (None, at.astimezone(theirs.zone).date()) for at, day in found)
    first, last = (at.astimezone(theirs.zone).date() for at in (start, start + timedelta(days=14)))
    inside = {first + timedelta(days=n) for n in range(1, (last - first).days)}
    days = {day for _, day in found} - {None}
    assert {day for day in inside if day.weekday() in theirs.wishes.workdays} <= days
    assert all(day.weekday() in theirs.wishes.workdays for day in days if day is not None)


@given(hours(), instants)
def test_a_digest_never_comes_in_quiet_hours(theirs: Hours, at: datetime) -> None:
    if theirs.digest_day(at) is not None:
        assert not theirs.is_quiet(at)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-03-27T07:29:59+00:00", None),  # 08:29:59 on the last day of winter time
        ("2026-03-27T07:30:00+00:00", date(2026, 3, 27)),
        ("2026-03-30T06:29:59+00:00", None),  # summer time: an hour earlier
        ("2026-03-30T06:30:00+00:00", date(2026, 3, 30)),
        ("2026-03-28T10:00:00+00:00", None),  # a Saturday
        ("2026-03-27T18:30:00+00:00", None),  # 19:30: quiet
    ],
)
def test_a_digest_comes_at_the_users_own_time_on_workdays(now: str, day: date | None) -> None:
    assert Hours(PromptWishes(), BERLIN).digest_day(datetime.fromisoformat(now)) == day


def test_a_digest_time_that_a_clock_change_leaves_out_comes_that_day_all_the_same() -> None:
    theirs = Hours(PromptWishes(digest_at=time(2, 30), workdays=tuple(range(7)), quiet=None), BERLIN)
    sunday = date(2026, 3, 29)
    days = [theirs.digest_day(at) for at in at_quarters(datetime(2026, 3, 28, 23, tzinfo=UTC), 1)]
    assert (days[0], days.count(sunday) > 0) == (None, True)


def test_who_has_switched_the_digest_off_has_none() -> None:
    noon = datetime(2026, 3, 27, 12, tzinfo=UTC)
    assert Hours(PromptWishes(digest=False), BERLIN).digest_day(noon) is None


@given(times, times, times)
def test_quiet_hours_and_the_rest_of_the_day_are_each_others_opposite(
    at: time, start: time, end: time
) -> None:
    assume(start != end)
    assert lies_in(at, start, end) != lies_in(at, end, start)


@given(hours())
def test_wishes_are_read_as_they_were_kept(theirs: Hours) -> None:
    assert PromptWishes.read(theirs.wishes.data()) == theirs.wishes
    assert PromptWishes.read(None) == PromptWishes()


@pytest.mark.parametrize("do", list(WhenOverdue))
def test_what_a_sweep_does_about_an_overdue_task_is_one_thing(do: WhenOverdue) -> None:
    opened = datetime(2026, 3, 27, 12, tzinfo=UTC)
    kept = deadline(opened, Overdue(after="2 days", do=do))
    swept = "skip_at" if do is WhenOverdue.SKIP else "tell_at"
    assert {"skip_at", "tell_at"} & kept.keys() == {swept}
    assert kept[swept] == kept["due_at"] == kept["overdue_at"] == opened + timedelta(days=2)


CALL = Listed(
    "e:ring",
    Channel.CALL,
    "Lena Fischer (Northwind)",
    "Backend engineers",
    datetime(2026, 3, 27, 9, tzinfo=UTC),
    True,
    "https://segue.example/tasks/e:ring",
)


def test_a_digest_names_what_is_overdue_first_and_counts_what_it_does_not_name() -> None:
    later = Listed("e:note", Channel.TASK, "Ivan", "Backend engineers", CALL.due_at, False, None)
    words = digest_words("Ana", [later, CALL], BERLIN, 12, "https://segue.example/tasks")
    assert words.subject == "12 tasks for you, 1 overdue"
    assert words.text.index("Lena") < words.text.index("Ivan") < words.text.index("And 10 more.")
    assert "overdue since Fri 27 Mar, 10:00" in words.text
    assert CALL.url is not None
    assert CALL.url in words.text


def test_one_task_is_told_in_words_of_its_own() -> None:
    assert due_words("Ana", CALL, BERLIN, None).subject == "New task: Call Lena Fischer (Northwind)"
    assert "last reminder" not in overdue_words("Ana", CALL, BERLIN, 1, None).text
    assert "last reminder" in overdue_words("Ana", CALL, BERLIN, 7, None).text


def test_a_webhook_hears_ids_and_no_names_because_not_everybody_may_read_them() -> None:
    told = payload("tasks.digest", CALL.due_at, UUID(int=1), "ana@ourco.example", [CALL], 1)
    assert "e:ring" in told
    assert not any(word in told for word in ("Lena", "Northwind", "Backend"))
