"""The real brokers and the mail server that tests share; nothing is started before a test asks for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack import node
from stack.brokers import Brokers
from stack.brokers import brokers as climb_the_ladder
from stack.dovecot import DovecotMissing
from stack.dovecot import binary as dovecot_binary
from stack.node import NodeMissing
from stack.smtp import SmtpServer
from stack.system import ALLOWED_NETWORKS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What could not be tested is said aloud, with its cure."""
    reasons = {str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ())}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"NOT TESTED: {reason}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def loopback_is_allowed() -> Iterator[None]:
    """The servers of users are on this machine, and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGUE_ALLOWED_PRIVATE_NETWORKS", ALLOWED_NETWORKS)
        yield


@pytest.fixture(scope="session")
def dovecot_here() -> None:
    """Skips what needs a real IMAP server where there is none."""
    try:
        dovecot_binary()
    except DovecotMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """A folder with tests/node and its packages; skips where there is no Node."""
    try:
        node.node()
        return node.packages()
    except NodeMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """One Kafka and one MongoDB for the whole session, found or started by the ladder; their data goes with
    it.

    A test that harms a broker starts one of its own (LocalKafka, LocalMongo).
    """
    folder = tmp_path_factory.mktemp("brokers")
    with climb_the_ladder(folder, lambda step: print(f"brokers: {step}"), train_first=True) as running:
        yield running
    for broker in (running.local_kafka, running.local_mongo):
        if broker is not None:
            broker.wipe()  # pytest keeps the folder; the logs in it are worth that, the data is not


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
