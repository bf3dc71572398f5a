"""What one API key may use of this process: token buckets for its requests and for the bytes of its streams.

In memory and for this process alone: N processes let a key do N times as much, and a restart forgets.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from uuid import UUID

from aiohttp import web

from api import telemetry
from api.problems import Problem
from api.settings import ApiSettings

POLICY: Final = "key"
FORGET_AT_ONCE: Final = 2
"""Full buckets that are dropped with every use: more than can come, so that none stays for ever."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """A bucket for each key, which holds `burst` tokens and gains `rate` of them a second."""

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float]) -> None:
        self.rate = rate
        self.burst = burst
        self._monotonic = monotonic
        self._buckets: OrderedDict[UUID, _Bucket] = OrderedDict()

    def take(self, key: UUID) -> float:
        """One token if there is one; what is left, below 0 if there was none."""
        bucket = self._filled(key)
        if bucket.tokens < 1:
            return bucket.tokens - 1
        bucket.tokens -= 1
        return bucket.tokens

    def spend(self, key: UUID, tokens: float) -> float:
        """Take them in any case; the seconds until the debt is paid."""
        bucket = self._filled(key)
        bucket.tokens -= tokens
        return max(0.0, -bucket.tokens / self.rate)

    def __len__(self) -> int:
        return len(self._buckets)

    def _filled(self, key: UUID) -> _Bucket:
        now = self._monotonic()
        self._forget(now)
        bucket = self._buckets.pop(key, None) or _Bucket(self.burst, now)
        bucket.tokens, bucket.at = self._at(bucket, now), now
        self._buckets[key] = bucket
        return bucket

    def _forget(self, now: float) -> None:
        """The one that was used longest ago is the first: full ones say nothing."""
        for _ in range(FORGET_AT_ONCE):
            oldest = next(iter(self._buckets.values()), None)
            if oldest is None or self._at(oldest, now) < self.burst:
                return
            self._buckets.popitem(last=False)

    def _at(self, bucket: _Bucket, now: float) -> float:
        return min(self.burst, bucket.tokens + (now - bucket.at) * self.rate)


class Limiter:
    """One for the process."""

    def __init__(self, settings: ApiSettings, monotonic: Callable[[], float]) -> None:
        self._requests = Buckets(settings.key_requests_per_second, settings.key_burst, monotonic)
        rate = settings.key_stream_bytes_per_second
        self._bytes = Buckets(rate, rate, monotonic)

    def admit(self, request: web.Request, key_id: UUID) -> None:
        """Count a request, and say in its answer what is left; Problem 429 where nothing is."""
        left = self._requests.take(key_id)
        request[LeftKey] = left
        if left < 0:
            telemetry.LIMITED.inc()
            raise too_many(math.ceil(-left / self._requests.rate))

    def pause_seconds(self, key_id: UUID, size: int) -> float:
        """How long a stream is to wait after having read that many bytes."""
        return self._bytes.spend(key_id, size)

    async def tell(self, request: web.Request, response: web.StreamResponse) -> None:
        """The headers of draft-ietf-httpapi-ratelimit-headers, where a key was counted."""
        left = request.get(LeftKey)
        if left is None:
            return
        burst, rate = self._requests.burst, self._requests.rate
        until_full = math.ceil((burst - max(0.0, left)) / rate)
        response.headers["RateLimit-Policy"] = f'"{POLICY}";q={burst:.0f};w={math.ceil(burst / rate)}'
        response.headers["RateLimit"] = f'"{POLICY}";r={max(0, math.floor(left))};t={until_full}'


LeftKey: Final = web.RequestKey("left", float)
LimiterKey: Final = web.AppKey("limiter", Limiter)


def too_many(seconds: int) -> Problem:
    """429 with Retry-After."""
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-requests",
        "This API key sends more requests than it may: wait, then go on. Nothing was done.",
        headers={"Retry-After": str(max(1, seconds))},
    )
