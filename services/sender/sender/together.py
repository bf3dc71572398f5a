"""Group commit: many coroutines each ask for one step, and one batch carries whoever waits."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Calls `work` with the items that have come together while the calls before it were running.

    `work` returns one result per item, in order; what it raises, every caller of that batch gets. An item
    whose caller was cancelled is still carried. Unless it may linger, nobody waits for a clock: an item alone
    goes at once.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        most: int = 500,
        in_flight: int = 1,
        linger_seconds: float = 0.0,
    ) -> None:
        self._work = work
        self._linger_seconds = linger_seconds
        self._most = most
        self._in_flight = in_flight
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._active = 0

    async def __call__(self, item: T) -> R:
        """The result for `item`."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._active < self._in_flight:
            self._active += 1
            runner = asyncio.create_task(self._run(), name="group commit")
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)
        return await future

    async def _run(self) -> None:
        while self._waiting:
            if self._linger_seconds and len(self._waiting) < self._most:
                await asyncio.sleep(self._linger_seconds)
            await self._one_batch()
        # Not the number of tasks: one that has found nothing waiting is still a task for a moment.
        self._active -= 1

    async def _one_batch(self) -> None:
        count = min(self._most, len(self._waiting))
        batch = [self._waiting.popleft() for _ in range(count)]
        jobs = {asyncio.create_task(self._carry([item for item, _ in batch]), name="one batch")}
        await asyncio.wait(jobs)
        _hand_out(jobs.pop(), [future for _, future in batch])

    async def _carry(self, items: Sequence[T]) -> Sequence[R]:
        return await self._work(items)


def _hand_out(job: "asyncio.Task[Sequence[R]]", futures: list["asyncio.Future[R]"]) -> None:
    if job.cancelled():
        for future in futures:
            future.cancel()
        return
    error = job.exception()
    results: Sequence[R] = () if error is not None else job.result()
    for index, future in enumerate(futures):
        if future.done():  # its caller was cancelled
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(results[index])
