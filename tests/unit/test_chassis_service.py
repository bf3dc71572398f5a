"""A service's life: parts are supervised, stopped in order and in time, and their deaths are told."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from chassis.errors import Fatal, Retry
from chassis.service import Service, periodic, run_service
from chassis.settings import HttpSettings, ServiceSettings
from stack.client import eventually
from stack.ports import free_port


def settings(**more: object) -> ServiceSettings:
    return ServiceSettings(kafka_bootstrap_servers="nowhere:1", mongodb_uri="mongodb://nowhere", **more)  # type: ignore[arg-type]


class Part:
    """Runs until told to stop, and writes down both."""

    def __init__(self, name: str, diary: list[str], *, deaf: bool = False) -> None:
        self.name, self.diary, self.deaf = name, diary, deaf
        self.running = asyncio.Event()
        self.told = asyncio.Event()

    async def run(self) -> None:
        self.running.set()
        try:
            await self.told.wait()
        finally:
            self.diary.append(self.name)

    async def stop(self) -> None:
        if not self.deaf:
            self.told.set()


async def test_a_stop_ends_the_parts_one_after_the_other_the_last_one_first() -> None:
    diary: list[str] = []
    service, stop = Service("s", draining_seconds=5), asyncio.Event()
    parts = [Part(name, diary) for name in ("first", "second", "third")]
    for part in parts:
        service.spawn(part.name, part.run, stop=part.stop)
    running = asyncio.create_task(service.run(stop))
    for part in parts:
        await part.running.wait()
    stop.set()
    await running
    assert diary == ["third", "second", "first"]


async def test_one_part_that_dies_stops_the_others_and_its_error_comes_out() -> None:
    diary: list[str] = []
    service, other = Service("s", draining_seconds=5), Part("other", diary)

    async def die() -> None:
        await other.running.wait()
        raise ZeroDivisionError

    service.spawn("other", other.run, stop=other.stop)
    service.spawn("dies", die)
    with pytest.raises(ZeroDivisionError):
        await service.run(asyncio.Event())
    assert diary == ["other"]
    assert service.stopping.is_set()


async def test_a_part_that_just_ends_is_fatal() -> None:
    async def nothing() -> None:
        return

    service = Service("s", draining_seconds=5)
    service.spawn("brief", nothing)
    with pytest.raises(Fatal, match="s: brief ended although nobody stopped it"):
        await service.run(asyncio.Event())


async def test_a_part_can_ask_how_much_of_the_one_deadline_is_left() -> None:
    service, stop, left = Service("s", draining_seconds=5), asyncio.Event(), list[float]()

    async def drain() -> None:
        await service.stopping.wait()
        left.append(service.seconds_left())

    service.spawn("drains", drain, stop=Part("unused", []).stop)
    assert service.seconds_left() == 5
    stop.set()
    await service.run(stop)
    assert 4 < left[0] <= 5
    assert service.seconds_left() < left[0]


async def test_a_part_that_does_not_listen_is_cancelled_when_the_time_is_over() -> None:
    diary: list[str] = []
    service, stop, deaf = Service("s", draining_seconds=0.05), asyncio.Event(), Part("deaf", diary, deaf=True)
    service.spawn("deaf", deaf.run, stop=deaf.stop)
    stop.set()
    async with asyncio.timeout(5):
        await service.run(stop)
    assert diary == ["deaf"]


async def test_a_served_request_under_way_ends_before_the_parts_that_were_added_before_it() -> None:
    diary: list[str] = []
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        diary.append("answered")
        return web.Response(text="done")

    app, port = web.Application(), free_port()
    app.router.add_get("/slow", slow)
    service, stop, courier = Service("s", draining_seconds=20), asyncio.Event(), Part("courier", diary)
    service.spawn("courier", courier.run, stop=courier.stop)
    service.serve(HttpSettings(http_port=port), app, grace_seconds=10)
    running = asyncio.create_task(service.run(stop))
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        await eventually(lambda: lives(session), until=bool)
        request = asyncio.create_task(session.get("/slow"))
        await asked.wait()
        stop.set()
        await eventually(lambda: lives(session), until=lambda alive: not alive)
        answer.set()
        assert await (await request).text() == "done"
    await running
    assert diary == ["answered", "courier"]


async def test_a_request_that_never_ends_leaves_the_other_parts_their_time() -> None:
    asked, port = asyncio.Event(), free_port()

    async def endless(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    app, left = web.Application(), list[float]()
    app.router.add_get("/endless", endless)
    service, stop = Service("s", draining_seconds=20), asyncio.Event()
    courier = Part("courier", [])

    async def courier_stops() -> None:
        left.append(service.seconds_left())
        await courier.stop()

    service.spawn("courier", courier.run, stop=courier_stops)
    service.serve(HttpSettings(http_port=port), app, grace_seconds=0.2)
    running = asyncio.create_task(service.run(stop))
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        await eventually(lambda: lives(session), until=bool)
        request = asyncio.create_task(session.get("/endless"))
        await asked.wait()
        stop.set()
        await running
        with pytest.raises(ClientConnectionError):
            await request
    assert left[0] > 10


async def lives(session: ClientSession) -> bool:
    try:
        async with session.get("/health/live") as response:
            return response.status == 200
    except ClientConnectionError:
        return False


def rounds(*outcomes: Exception | None, stopping: asyncio.Event) -> Callable[[], object]:
    left = list(outcomes)

    async def work() -> None:
        outcome = left.pop(0)
        if not left:
            stopping.set()
        if outcome is not None:
            raise outcome

    return work


async def test_periodic_work_goes_on_after_transient_errors_and_single_bugs() -> None:
    stopping = asyncio.Event()
    outcomes = [Retry("away"), Retry("away"), KeyError("bug"), None, KeyError("bug"), Retry("away"), None]
    work = rounds(*outcomes, stopping=stopping)
    await periodic("sweep", 0, work, stopping, bugs_in_a_row=3)  # type: ignore[arg-type]


async def test_several_bugs_in_a_row_end_periodic_work() -> None:
    stopping = asyncio.Event()
    work = rounds(*[KeyError("bug")] * 9, stopping=stopping)
    with pytest.raises(KeyError):
        await periodic("sweep", 0, work, stopping, bugs_in_a_row=3)  # type: ignore[arg-type]
    assert not stopping.is_set()


async def test_a_stop_between_two_rounds_ends_periodic_work_at_once() -> None:
    stopping = asyncio.Event()

    async def work() -> None:
        asyncio.get_running_loop().call_soon(stopping.set)

    async with asyncio.timeout(5):
        await periodic("sweep", 3600, work, stopping)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_service_and_closes_what_was_wired(number: int) -> None:
    diary: list[str] = []

    @asynccontextmanager
    async def wiring(_: ServiceSettings, service: Service) -> AsyncIterator[None]:
        part = Part("part", diary)
        service.spawn("part", part.run, stop=part.stop)
        service.spawn("signal", lambda: _raise_signal(part, number), stop=part.stop)
        try:
            yield
        finally:
            diary.append("closed")

    await run_service("s", settings(), wiring)
    assert diary == ["part", "closed"]


async def _raise_signal(part: Part, number: int) -> None:
    await part.running.wait()
    os.kill(os.getpid(), number)
    await part.told.wait()


async def test_a_signal_during_wiring_ends_it() -> None:
    closed = asyncio.Event()

    @asynccontextmanager
    async def wiring(_: ServiceSettings, service: Service) -> AsyncIterator[None]:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()  # a database that does not answer
        finally:
            closed.set()
        yield

    async with asyncio.timeout(5):
        await run_service("s", settings(), wiring)
    assert closed.is_set()


async def test_what_wiring_raises_comes_out() -> None:
    @asynccontextmanager
    async def wiring(_: ServiceSettings, service: Service) -> AsyncIterator[None]:
        raise Fatal("no topics")
        yield

    with pytest.raises(Fatal, match="no topics"):
        await run_service("s", settings(), wiring)
