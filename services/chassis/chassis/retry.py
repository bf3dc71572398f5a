"""How long to wait before trying again, and how often."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chassis.errors import Retry

log = logging.getLogger(__name__)

BASE_SECONDS = 0.1
CAP_SECONDS = 30.0

T = TypeVar("T")


def backoff(
    attempt: int, jitter: float, *, base_seconds: float = BASE_SECONDS, cap_seconds: float = CAP_SECONDS
) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): capped exponential growth, full jitter.

    `jitter` is a random number in [0, 1). The wait is never below a tenth of its ceiling, so that an unlucky
    row of small numbers cannot hammer a server that is down.
    Source of full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(cap_seconds, base_seconds * 2.0 ** min(attempt - 1, 32))
    return ceiling * (0.1 + 0.9 * jitter)


async def retrying(
    work: Callable[[], Awaitable[T]],
    *,
    tries: int = 4,
    base_seconds: float = BASE_SECONDS,
    cap_seconds: float = 2.0,
    jitter: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Await `work()` until it does not raise Retry, at most `tries` times; the last Retry is raised.

    Only for work that may be repeated without harm.
    """
    for attempt in range(1, tries):
        try:
            return await work()
        except Retry as error:
            seconds = backoff(attempt, jitter(), base_seconds=base_seconds, cap_seconds=cap_seconds)
            log.info(
                "trying again",
                extra={"action": "retry.wait", "fields": {"attempt": attempt, "error": str(error)[:200]}},
            )
            await sleep(seconds)
    return await work()
