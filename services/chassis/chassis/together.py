"""Group commit: many callers each ask for one step, and one batch carries whoever waits."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from chassis.errors import Retry

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Calls `work` with the items that have come together while the calls before it were running.

    `work` returns one result per item, in order; what it raises, every caller of that batch gets. An item
    whose caller was cancelled is still carried. Unless it may linger, nobody waits for a clock: an item alone
    goes at once. With `then`, which gets the items and what `work` returned, the callers get its results;
    the next batch does not wait for it. With `isolates`, a batch that fails by anything but Retry is taken
    again one by one, so that an item that can't be carried fails nobody else: `work` must bear repetition.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[Any]]],
        *,
        then: Callable[[Sequence[T], Sequence[Any]], Awaitable[Sequence[R]]] | None = None,
        most: int = 500,
        in_flight: int = 1,
        linger_seconds: float = 0.0,
        isolates: bool = False,
    ) -> None:
        self._work = work
        self._then = then
        self._linger_seconds = linger_seconds
        self._isolates = isolates
        self._most = most
        self._in_flight = in_flight
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._active = 0

    async def __call__(self, item: T) -> R:
        """The result for `item`."""
        return await self.join(item)

    def join(self, item: T, future: "asyncio.Future[R] | None" = None) -> "asyncio.Future[R]":
        """The future, by default a new one, that will have the result for `item`."""
        if future is None:
            future = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._active < self._in_flight:
            self._active += 1
            self._spawn(self._run())
        return future

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
        if await self._fails_together(batch):
            for each in batch:
                await self._fails_together([each])

    async def _fails_together(self, batch: "Sequence[tuple[T, asyncio.Future[R]]]") -> bool:
        """Carry these; True if nobody was told of it, for they are to be taken one by one."""
        items, futures = [item for item, _ in batch], [future for _, future in batch]
        job = self._spawn(_awaited(self._work(items)))
        await asyncio.wait({job})
        if self._isolates and len(batch) > 1 and _is_defect(job):
            return True
        if self._then is not None and not job.cancelled() and job.exception() is None:
            job = self._spawn(_awaited(self._then(items, job.result())))
        job.add_done_callback(partial(_hand_out, futures))
        return False

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work, name="group commit")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_defect(job: "asyncio.Task[Any]") -> bool:
    return not job.cancelled() and job.exception() is not None and not isinstance(job.exception(), Retry)


async def _awaited(work: Awaitable[Sequence[R]]) -> Sequence[R]:
    return await work


def _hand_out(futures: "list[asyncio.Future[R]]", job: "asyncio.Task[Sequence[R]]") -> None:
    error = None if job.cancelled() else job.exception()
    results: Sequence[R] = () if error is not None or job.cancelled() else job.result()
    for index, future in enumerate(futures):
        if future.done():  # its caller was cancelled
            continue
        if job.cancelled():
            future.cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(results[index])
