"""A body of any length, read as lines and answered line by line; what was answered is durable.

Nothing is read while answers wait to be taken, so that neither side can fill the other's memory.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from itertools import takewhile
from typing import Final
from uuid import UUID, uuid5

from aiohttp import web
from pydantic import BaseModel

from api.problems import Problem, ProblemDetails, bad_request, unavailable
from api.routing import KIB, NDJSON, Call, Ids, Line, LineHandler
from chassis.errors import Retry
from chassis.telemetry import fields

log = logging.getLogger(__name__)

MAX_LINE_BYTES: Final = 64 * KIB
LINES_AT_ONCE: Final = 500
STALL_SECONDS: Final = 120.0
"""A client that neither sends nor takes anything for so long is gone."""


class StreamEnd(BaseModel):
    """The last line of an answer whose request was read to its end; without it, something is missing."""

    done: bool = True
    lines: int


class StreamBroken(BaseModel):
    """The last line of an answer that ends too early: what was answered holds, send the rest again."""

    problem: ProblemDetails


Pause = Callable[[int], float]
"""Seconds to wait after having read so many bytes."""


async def answer_lines(
    call: Call, handler: LineHandler, status: HTTPStatus, seed: UUID | None, pause: Pause
) -> web.StreamResponse:
    """Answer as the handler does; what is wrong with the request itself is a Problem as always.

    `seed`: of an Idempotency-Key. A line's ids are made of it and the line, so that the file, or the rest
    of it, can be sent again.
    """
    work = await handler(call)
    response = web.StreamResponse(status=status, headers={"Content-Type": NDJSON})
    await response.prepare(call.request)
    count = 0
    try:
        async for batch in batches(call.request, pause):
            count += len(batch)
            await _write(response, await work([replace(each, ids=_ids(seed, each)) for each in batch]))
        await _write(response, [StreamEnd(lines=count)])
    except (Problem, Retry) as error:
        problem = error if isinstance(error, Problem) else unavailable()
        await _write(response, [StreamBroken(problem=problem.details)])
    except (ConnectionError, TimeoutError, web.RequestPayloadError) as error:
        log.info("stream broke off", extra=fields("api.stream_broken", lines=count, error=repr(error)[:200]))
        if call.request.transport is not None:
            call.request.transport.abort()
    return response


async def batches(request: web.Request, pause: Pause) -> AsyncIterator[list[Line]]:
    """Lines that are not empty, as many as there are at a time; Problem 400 for one that is too long."""
    rest, number = b"", 0
    async for chunk in _chunks(request):
        *whole, rest = (rest + chunk).split(b"\n")
        numbered = [Line(at, raw) for at, raw in enumerate([*whole, rest], number + 1)]
        number += len(whole)
        good = list(takewhile(lambda line: len(line.raw) <= MAX_LINE_BYTES, numbered))
        told = [each for each in good[: len(whole)] if each.raw.strip()]
        for start in range(0, len(told), LINES_AT_ONCE):
            yield told[start : start + LINES_AT_ONCE]
        if len(good) < len(numbered):
            raise too_long(numbered[len(good)].number)
        await asyncio.sleep(pause(len(chunk)))
    if rest.strip():
        yield [Line(number + 1, rest)]


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    """What has come in, however little it is: whoever waits for an answer to one line gets it."""
    while True:
        async with asyncio.timeout(STALL_SECONDS):
            chunk = await request.content.readany()
        if not chunk:
            return
        yield chunk


async def _write(response: web.StreamResponse, rows: Sequence[BaseModel]) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await response.write("".join(row.model_dump_json(by_alias=True) + "\n" for row in rows).encode())


def _ids(seed: UUID | None, line: Line) -> Ids:
    return Ids(None if seed is None else uuid5(seed, sha256(line.raw.strip()).hexdigest()))


def too_long(number: int) -> Problem:
    """400: without its end a line can't be answered."""
    return bad_request("line-too-long", f"Line {number} is longer than {MAX_LINE_BYTES} bytes.")
