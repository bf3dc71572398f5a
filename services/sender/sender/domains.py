"""A pace for each recipient domain: providers slow down or refuse those who come in bursts."""

from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 10.0
"""So much of a minute's messages may go at once."""
DOMAINS_KEPT = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Domains:
    """Token buckets of this process, in real time; without a rate nobody waits."""

    def __init__(self, per_minute: int | None, monotonic: Callable[[], float]) -> None:
        self._per_second = (per_minute or 0) / 60
        self._burst = max(1.0, self._per_second * BURST_SECONDS)
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    def take(self, address: str) -> float:
        """Take the turn of an address's domain; the seconds to wait if it has none, else zero."""
        if not self._per_second:
            return 0.0
        bucket = self._filled(address.rpartition("@")[2].lower())
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._per_second
        bucket.tokens -= 1
        return 0.0

    def _filled(self, domain: str) -> _Bucket:
        now = self._monotonic()
        if domain not in self._buckets and len(self._buckets) >= DOMAINS_KEPT:
            self._forget(now)
        bucket = self._buckets.setdefault(domain, _Bucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        return bucket

    def _forget(self, now: float) -> None:
        """Those that are full again know nothing."""
        full_after = self._burst / self._per_second
        self._buckets = {name: each for name, each in self._buckets.items() if now - each.at < full_after}
