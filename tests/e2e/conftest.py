"""A running Segue for each file of end-to-end tests, and a workspace of its own for each test."""

import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from email.message import EmailMessage
from typing import Any

import pytest

from chassis.clock import Clock
from stack.brokers import Brokers
from stack.client import Client
from stack.smtp import SmtpServer
from stack.system import System, system

ADDRESS = "ana@ourco.example"


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """Ten business minutes in a real second; a file of tests may want another one."""
    return 600.0


@pytest.fixture(scope="module")
def settings() -> Mapping[str, str]:
    """Environment variables of the services."""
    return {}


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="module")
def segue(
    tmp_path_factory: pytest.TempPathFactory,
    brokers: Brokers,
    clock_speed: float,
    settings: Mapping[str, str],
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("segue")
    with system(folder, brokers, clock_speed=clock_speed, settings=settings) as running:
        yield running


@pytest.fixture
def clock(segue: System, clock_speed: float) -> Clock:
    """The business clock that the services share."""
    return Clock(clock_speed, datetime.fromisoformat(segue.environment["SEGUE_CLOCK_ORIGIN"]))


@pytest.fixture
async def client(segue: System, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with Client(segue.url, segue.bootstrap(request.node.name, ADDRESS)) as client:
        yield client


@pytest.fixture
async def mailbox(client: Client, mail: SmtpServer) -> dict[str, Any]:
    return await client.connect(ADDRESS, mail.host, mail.port)


@pytest.fixture
def mails(mail: SmtpServer) -> Callable[[str, int], Awaitable[list[EmailMessage]]]:
    """What an address has received, once it is at least so many."""

    async def received(recipient: str, count: int) -> list[EmailMessage]:
        arrived = await mail.arrived(count, recipient, seconds=30)
        return [
            email.message_from_bytes(mail.content(message), policy=email.policy.default)
            for message in arrived
        ]

    return received
