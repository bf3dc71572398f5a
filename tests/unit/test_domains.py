"""The pace of recipient domains."""

from hypothesis import given
from hypothesis import strategies as st

from chassis.testing import FrozenClock
from sender.domains import BURST_SECONDS, DOMAINS_KEPT, Domains


def test_without_a_rate_nobody_waits() -> None:
    domains = Domains(None, lambda: 0.0)
    assert [domains.take("a@there.example") for _ in range(1000)] == [0.0] * 1000


def test_a_burst_goes_and_then_one_after_another() -> None:
    clock = FrozenClock()
    domains = Domains(60, clock.monotonic)
    burst = [domains.take("a@there.example") for _ in range(11)]
    assert burst == [0.0] * int(BURST_SECONDS) + [1.0]
    clock.advance(0.5)
    assert domains.take("b@There.example") == 0.5
    clock.advance(0.5)
    assert domains.take("b@there.example") == 0.0


def test_one_domain_does_not_slow_another() -> None:
    domains = Domains(1, lambda: 0.0)
    assert domains.take("a@there.example") == 0.0
    assert domains.take("a@there.example") > 0
    assert domains.take("a@elsewhere.example") == 0.0


def test_domains_that_are_full_again_are_forgotten() -> None:
    clock = FrozenClock()
    domains = Domains(60, clock.monotonic)
    for number in range(DOMAINS_KEPT):
        domains.take(f"a@d{number}.example")
    clock.advance(BURST_SECONDS)
    domains.take("a@new.example")
    assert len(domains._buckets) == 1


@given(st.integers(1, 600), st.lists(st.floats(0, 20), max_size=200))
def test_no_minute_has_more_than_its_messages_and_a_burst(per_minute: int, pauses: list[float]) -> None:
    clock = FrozenClock()
    domains = Domains(per_minute, clock.monotonic)
    went: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        if domains.take("a@there.example") == 0.0:
            went.append(clock.monotonic())
    burst = max(1.0, per_minute * BURST_SECONDS / 60)
    for start in went:
        assert sum(start <= each < start + 60 for each in went) <= per_minute + burst + 1e-6
