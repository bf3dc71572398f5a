"""Health over HTTP: started, alive, ready, and why not."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest

from chassis.errors import Retry
from chassis.health import Check, Health, clock_check, listening
from chassis.settings import HttpSettings
from chassis.testing import NOON, FrozenClock

FINE = {"ok": True, "reasons": {}, "notes": {}}


class Server:
    """A process's health pages."""

    def __init__(self, health: Health, port: int) -> None:
        self.health = health
        self._base = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(self._base + path) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    health = Health(check_seconds=0.05)
    async with listening(HttpSettings(), health) as port:
        yield Server(health, port)


async def test_a_process_lives_while_it_starts_and_is_ready_afterwards(server: Server) -> None:
    assert (await server.get("/health/startup"))[0] == 503
    assert (await server.get("/health/ready"))[0] == 503
    assert (await server.get("/health/live"))[0] == 200
    server.health.started()
    assert await server.get("/health/startup") == (200, FINE)
    assert await server.get("/health/ready") == (200, FINE)


async def test_reasons_are_told_by_check(server: Server) -> None:
    async def slow() -> str | None:
        await asyncio.Event().wait()
        return None

    def broken() -> str | None:
        raise ZeroDivisionError

    async def fine() -> str | None:
        return None

    checks: dict[str, Check] = {"lag": lambda: "far behind", "slow": slow, "broken": broken, "fine": fine}
    for name, check in checks.items():
        server.health.check(name, check)
    server.health.started()
    status, told = await server.get("/health/ready")
    assert status == 503
    assert told["reasons"] == {
        "lag": "far behind",
        "slow": "no answer within 0.05 s",
        "broken": "the check failed: ZeroDivisionError",
    }
    assert (await server.get("/health/live"))[0] == 200


async def test_only_liveness_checks_ask_for_a_restart(server: Server) -> None:
    server.health.liveness("threads", lambda: "stuck")
    stuck = {"ok": False, "reasons": {"threads": "stuck"}, "notes": {}}
    assert await server.get("/health/live") == (503, stuck)


async def test_a_note_is_told_and_leaves_the_process_ready(server: Server) -> None:
    server.health.note("kafka", lambda: "can't be reached")
    server.health.note("fine", lambda: None)
    server.health.started()
    noted = {"ok": True, "reasons": {}, "notes": {"kafka": "can't be reached"}}
    assert await server.get("/health/ready") == (200, noted)
    server.health.check("lag", lambda: "far behind")
    assert await server.get("/health/ready") == (
        503,
        {**noted, "ok": False, "reasons": {"lag": "far behind"}},
    )
    assert await server.get("/health/live") == (200, FINE)


async def test_metrics_are_served(server: Server) -> None:
    status, told = await server.get("/metrics")
    assert status == 200
    assert "python_info" in told


async def test_a_scrape_asks_the_readiness_checks_again(server: Server) -> None:
    reasons: list[str | None] = ["far behind", None]
    server.health.check("lag", lambda: reasons.pop(0))
    server.health.started()
    assert 'segue_check_failing{check="lag"} 1.0' in (await server.get("/metrics"))[1]
    assert 'segue_check_failing{check="lag"} 0.0' in (await server.get("/metrics"))[1]


async def test_a_scrape_tells_how_far_the_clock_is_off_and_whether_the_database_answers(
    server: Server,
) -> None:
    time = ServerTime(NOON + timedelta(seconds=3))
    server.health.check("clock", clock_check(time, FrozenClock(NOON)))
    server.health.started()
    told = (await server.get("/metrics"))[1]
    assert "segue_clock_skew_seconds 3.0" in told
    assert "segue_mongodb_connected 1.0" in told
    for away in (Retry("away"), None):
        time.answer = away
        assert "segue_mongodb_connected 0.0" in (await server.get("/metrics"))[1]
        time.answer = NOON
        assert "segue_mongodb_connected 1.0" in (await server.get("/metrics"))[1]


class ServerTime:
    """What mongod answers; None: nothing, while the driver waits for a primary."""

    def __init__(self, answer: datetime | Exception | None) -> None:
        self.answer = answer

    async def server_time(self) -> datetime:
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, datetime):
            return self.answer
        assert self.answer is not None
        raise self.answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NOON + timedelta(seconds=5), None),
        (NOON - timedelta(seconds=5), None),
        (NOON + timedelta(seconds=6), "the clock is 6 s off the database's"),
        (NOON - timedelta(seconds=6), "the clock is 6 s off the database's"),
        (Retry("away"), "the database can't be reached"),
    ],
)
async def test_readiness_compares_the_unscaled_clock_with_the_databases(
    answer: datetime | Exception, reason: str | None
) -> None:
    clock = FrozenClock(NOON - timedelta(days=1), speed=86400)
    clock.advance(days=86400)  # one real day
    check = clock_check(ServerTime(answer), clock)
    found = check()
    assert inspect.isawaitable(found)
    assert await found == reason
