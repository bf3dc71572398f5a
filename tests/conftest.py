"""The real brokers and the mail server that tests share; nothing is started before a test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.brokers import Brokers
from stack.brokers import brokers as climb_the_ladder
from stack.smtp import SmtpServer


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """One Kafka and one MongoDB for the whole session, found or started by the ladder; their data goes with
    it.

    A test that harms a broker starts one of its own (LocalKafka, LocalMongo).
    """
    folder = tmp_path_factory.mktemp("brokers")
    with climb_the_ladder(folder, lambda step: print(f"brokers: {step}"), train_first=True) as running:
        yield running
    for node in (running.local_kafka, running.local_mongo):
        if node is not None:
            node.wipe()  # pytest keeps the folder; the logs in it are worth that, the data is not


@pytest.fixture(scope="session")
def kafka_bootstrap(brokers: Brokers) -> str:
    """Bootstrap servers. Topics and groups are shared by the session: give yours names of their own."""
    return brokers.kafka


@pytest.fixture(scope="session")
def mongodb_uri(brokers: Brokers) -> str:
    """The URI of a replica set. Databases are shared by the session: give yours a name of its own."""
    return brokers.mongodb


@pytest.fixture
def smtp_server(tmp_path: Path) -> Iterator[SmtpServer]:
    """A mail server of this test's own, which accepts everything until `answer` says otherwise."""
    with SmtpServer(tmp_path / "smtp") as server:
        yield server
