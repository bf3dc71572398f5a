"""Most polls begin where the last one ended; what was written late is found all the same."""

from datetime import timedelta

import pytest

from chassis.testing import FrozenClock
from scheduler.frontier import BEHIND_SECONDS, WHOLE_SECONDS, WHOLE_SHARE, Frontier

SHARDS = range(240)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def polled(frontier: Frontier, clock: FrozenClock, seconds: float = 0.0) -> bool:
    """Whether a poll that takes so long and finds nothing looks at everything."""
    now = clock.now()
    whole = frontier.since(SHARDS, now) is None
    clock.advance(seconds)
    frontier.polled(now, None)
    return whole


def test_the_first_poll_looks_at_everything_and_the_next_ones_begin_behind_it(clock: FrozenClock) -> None:
    frontier = Frontier(clock)
    assert polled(frontier, clock)
    began = clock.now()
    clock.advance(1)
    assert frontier.since(SHARDS, clock.now()) == began - timedelta(seconds=BEHIND_SECONDS)


def test_everything_is_looked_at_again_after_a_while(clock: FrozenClock) -> None:
    frontier = Frontier(clock)
    polled(frontier, clock)
    clock.advance(WHOLE_SECONDS - 1)
    assert not polled(frontier, clock)
    clock.advance(1)
    assert polled(frontier, clock)


def test_a_slow_look_at_everything_comes_again_later(clock: FrozenClock) -> None:
    frontier = Frontier(clock)
    polled(frontier, clock, seconds=3)
    clock.advance(3 * WHOLE_SHARE - 1)
    assert not polled(frontier, clock)
    clock.advance(1)
    assert polled(frontier, clock)


def test_where_there_is_more_the_next_poll_goes_on_from_there(clock: FrozenClock) -> None:
    frontier, now = Frontier(clock), clock.now()
    frontier.since(SHARDS, now)
    assert not frontier.there_is_more
    frontier.polled(now, now - timedelta(hours=1))
    assert frontier.there_is_more
    assert frontier.since(SHARDS, now) == now - timedelta(hours=1)


def test_other_shards_or_a_clock_set_back_look_at_everything(clock: FrozenClock) -> None:
    frontier = Frontier(clock)
    polled(frontier, clock)
    assert frontier.since(range(120), clock.now()) is None
    polled(frontier, clock)
    clock.set(clock.now() - timedelta(hours=1))
    assert frontier.since(SHARDS, clock.now()) is None


def test_on_a_fast_clock_the_margin_is_real_time() -> None:
    clock = FrozenClock(speed=1000)
    frontier, now = Frontier(clock), clock.now()
    frontier.since(SHARDS, now)
    frontier.polled(now, None)
    assert frontier.since(SHARDS, now) == now - timedelta(seconds=BEHIND_SECONDS * 1000)
