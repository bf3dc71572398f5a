"""A system that may be harmed for each file of chaos tests, judged after each of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from rig import Office, Rig, broken_in, open_office, rig
from stack.brokers import Brokers
from stack.smtp import SmtpServer
from stack.system import System


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="module")
def segue(tmp_path_factory: pytest.TempPathFactory, brokers: Brokers) -> Iterator[System]:
    with broken_in(tmp_path_factory.mktemp("segue"), brokers) as running:
        yield running


@pytest.fixture(scope="module")
def office(segue: System, mail: SmtpServer) -> Office:
    return asyncio.run(open_office(segue, mail))


@pytest.fixture
async def scene(segue: System, mail: SmtpServer, office: Office) -> AsyncIterator[Rig]:
    """Judged at the end, whatever the test itself looks at."""
    async with rig(segue, mail, office) as built:
        yield built
        await built.settled()
        await built.judged()
