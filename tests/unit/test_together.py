"""Group commit: whoever waits is carried together, and nobody gets another one's result or failure."""

import asyncio
from collections.abc import Sequence

from chassis.errors import Retry
from chassis.together import Together


async def test_a_group_commit_gives_everybody_their_own_result_and_leaves_nobody_behind() -> None:
    batches: list[int] = []

    async def double(items: Sequence[int]) -> list[int]:
        batches.append(len(items))
        await asyncio.sleep(0)
        return [2 * item for item in items]

    together: Together[int, int] = Together(double, most=10, in_flight=2)
    for _ in range(3):
        assert await asyncio.gather(*(together(n) for n in range(100))) == [2 * n for n in range(100)]
    assert len(batches) < 100


async def test_a_failed_batch_fails_everybody_in_it_and_nobody_after_it() -> None:
    async def fragile(items: Sequence[int]) -> list[int]:
        if 0 in items:
            raise ValueError("zero")
        return list(items)

    together: Together[int, int] = Together(fragile, most=1)
    results = await asyncio.gather(together(0), together(1), return_exceptions=True)
    assert isinstance(results[0], ValueError)
    assert results[1] == 1


async def test_a_cancelled_caller_does_not_spoil_its_batch() -> None:
    gate = asyncio.Event()

    async def slow(items: Sequence[int]) -> list[int]:
        await gate.wait()
        return list(items)

    together: Together[int, int] = Together(slow, in_flight=1)
    first, second = asyncio.ensure_future(together(1)), asyncio.ensure_future(together(2))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == 2


async def test_one_that_cannot_be_carried_fails_alone() -> None:
    async def fragile(items: Sequence[int]) -> list[int]:
        if 7 in items:
            raise ValueError("seven")
        return [2 * item for item in items]

    together: Together[int, int] = Together(fragile, isolates=True)
    results = await asyncio.gather(*(together(n) for n in range(10)), return_exceptions=True)
    assert isinstance(results.pop(7), ValueError)
    assert results == [2 * n for n in range(10) if n != 7]


async def test_what_is_nobodys_own_failure_is_everybodys_and_not_tried_one_by_one() -> None:
    batches: list[int] = []

    async def down(items: Sequence[int]) -> list[int]:
        batches.append(len(items))
        raise Retry("no database")

    together: Together[int, int] = Together(down, isolates=True)
    results = await asyncio.gather(*(together(n) for n in range(10)), return_exceptions=True)
    assert all(isinstance(result, Retry) for result in results)
    assert batches == [10]
