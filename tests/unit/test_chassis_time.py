"""Clocks and pauses."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.clock import Clock
from chassis.errors import Reject, Retry
from chassis.retry import backoff, retrying
from chassis.testing import NOON, FrozenClock


def test_business_time_is_real_time_at_speed_one() -> None:
    clock = Clock()
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 1


def test_business_time_runs_fast_from_the_shared_origin() -> None:
    clock = FrozenClock(NOON, speed=3600)
    clock.advance(hours=3)
    assert clock.now() == NOON + timedelta(hours=3)
    assert clock.real_now() == NOON + timedelta(seconds=3)


def test_clocks_that_share_an_origin_agree_wherever_they_were_made() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert Clock(60, NOON).at_real(NOON + timedelta(seconds=2)) == NOON + timedelta(minutes=2)
    assert Clock(60, elsewhere).at_real(NOON + timedelta(seconds=2)) == NOON + timedelta(minutes=2)


@given(speed=st.floats(0.1, 1e5), seconds=st.floats(0, 1e4))
def test_a_technical_instant_is_as_far_away_in_real_seconds_as_it_was_asked(
    speed: float, seconds: float
) -> None:
    clock = FrozenClock(speed=speed)
    assert clock.real_seconds_until(clock.in_real(seconds)) == pytest.approx(seconds, abs=1e-4)


async def test_waiting_on_a_frozen_clock_takes_no_time_and_moves_it() -> None:
    clock = FrozenClock(speed=10)
    await clock.sleep_real(60)
    assert clock.monotonic() == 60
    assert clock.now() == NOON + timedelta(minutes=10)


def test_a_clock_that_is_set_jumps_without_ageing_anything() -> None:
    clock = FrozenClock(speed=2)
    clock.set(NOON + timedelta(days=1))
    assert clock.now() == NOON + timedelta(days=1)
    assert clock.monotonic() == 0


@pytest.mark.parametrize(("speed", "origin"), [(0, None), (-1, None), (1, datetime(2026, 1, 1))])  # noqa: DTZ001
def test_a_clock_without_sense_is_refused(speed: float, origin: datetime | None) -> None:
    with pytest.raises(ValueError):
        Clock(speed, origin)


@given(attempt=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_positive_and_capped(attempt: int, jitter: float) -> None:
    assert 0 < backoff(attempt, jitter) <= 30


def test_pauses_grow_and_jitter_spreads_them() -> None:
    ceilings = [backoff(attempt, 1.0, base_seconds=1, cap_seconds=30) for attempt in range(1, 8)]
    assert ceilings == [1, 2, 4, 8, 16, 30, 30]
    assert backoff(3, 0.5, base_seconds=1) == pytest.approx(4 * 0.55)


async def test_retrying_repeats_only_retry_and_at_most_so_often() -> None:
    clock, tries = FrozenClock(), 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        raise Retry("away")

    with pytest.raises(Retry):
        await retrying(fail, tries=3, sleep=clock.sleep_real)
    assert tries == 3
    assert clock.monotonic() > 0


async def test_retrying_returns_the_first_success_and_lets_other_errors_out() -> None:
    answers: list[Exception | int] = [Retry("away"), 7, Reject("never")]

    async def answer() -> int:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    sleep = FrozenClock().sleep_real
    assert await retrying(answer, sleep=sleep) == 7
    with pytest.raises(Reject):
        await retrying(answer, sleep=sleep)
    assert answers == []
