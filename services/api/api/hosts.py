"""Hosts that users name are judged when they are set, so that nobody learns of it from a failed send."""

import asyncio
import contextlib
from collections.abc import Awaitable, Collection

from api.problems import invalid_at
from api.routing import Call
from chassis.hosts import ForbiddenHost


async def check_host(
    call: Call, pointer: str, host: str, port: int, ports: Collection[int] | None = None
) -> None:
    """Problem 422 for a host that is not connected to; one that does not resolve now is judged later."""
    await _judged(call, pointer, call.api.guard.check(host, port, ports))


async def check_url(call: Call, pointer: str, url: str) -> None:
    """As `check_host`, and only https, but in the networks that the operator allows."""
    await _judged(call, pointer, call.api.guard.check_url(url))


async def _judged(call: Call, pointer: str, check: Awaitable[object]) -> None:
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(call.api.settings.dns_seconds):
                await check
    except ForbiddenHost as error:
        raise invalid_at(pointer, f"is not connected to: {error.reason}") from None
    except OSError:
        return
