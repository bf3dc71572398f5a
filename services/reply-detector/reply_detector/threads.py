"""Bounded threads for blocking work, in which those who keep others waiting wait for each other."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chassis.telemetry import fields

log = logging.getLogger(__name__)

T = TypeVar("T")

CUT_SECONDS = 5.0
"""How long work may go on after it was cut; looking up a name is what can't be."""
SUSPECTS_SHARE = 4
"""One thread more for so many, for the work of suspects alone."""


class Threads:
    """Two crews: one for servers that answer, and a small one for those that last time did not, or slowly.

    So a server that hangs costs the others one thread for one deadline, whenever it begins to; from then on
    it waits with its like.
    """

    def __init__(self, count: int) -> None:
        self._crew = ThreadPoolExecutor(count, thread_name_prefix="imap")
        self._suspects = ThreadPoolExecutor(
            max(1, count // SUSPECTS_SHARE), thread_name_prefix="imap-suspect"
        )

    async def run(
        self, work: Callable[[], T], *, seconds: float, cut: Callable[[], None], suspect: bool = False
    ) -> T:
        """What `work` returns or raises; TimeoutError for one that does not even end when it is cut.

        `cut` makes it end: called when it takes longer than `seconds` from its beginning, and when the caller
        is cancelled. Either way this returns when `work` has ended.
        """
        loop = asyncio.get_running_loop()
        began: asyncio.Future[None] = loop.create_future()

        def begin() -> T:
            loop.call_soon_threadsafe(_set, began)
            return work()

        crew = self._suspects if suspect else self._crew
        job = asyncio.wrap_future(crew.submit(begin), loop=loop)
        try:
            either: set[asyncio.Future[Any]] = {job, began}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({job}, timeout=seconds)
        finally:
            if not began.done():
                job.cancel()
            if not job.done():
                cut()
                await asyncio.wait({job}, timeout=CUT_SECONDS)
            _retrieve(job)
        if not job.done():
            raise TimeoutError("a thread does not come back")
        return job.result()

    def close(self) -> None:
        """Take no more work; waits for nothing."""
        self._crew.shutdown(wait=False, cancel_futures=True)
        self._suspects.shutdown(wait=False, cancel_futures=True)


def _retrieve(job: "asyncio.Future[T]") -> None:
    """Nobody may be left to ask, and that must not be complained about."""
    if not job.done():
        log.error("a thread does not come back", extra=fields("threads.stuck"))
        job.add_done_callback(_retrieve_done)
    else:
        _retrieve_done(job)


def _retrieve_done(job: "asyncio.Future[T]") -> None:
    if not job.cancelled():
        job.exception()


def _set(began: "asyncio.Future[None]") -> None:
    if not began.done():
        began.set_result(None)
