"""One Apache Kafka node, which chaos tests may kill, freeze, wipe and start again on its port."""

import base64
import contextlib
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack import jars
from stack.jars import Progress
from stack.ports import free_port
from stack.processes import Process, ProcessFailed, Ready

NODE_ID = 1
START_SECONDS = 60.0
STOP_SECONDS = 20.0
PROBE_SECONDS = 2.0
FORMAT_SECONDS = 60.0

JVM_FLAGS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    # Two warnings of Java 25 about what Kafka's own jars do; nothing here could cure them.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    *(
        "-Xlog:disable",
        "-Xlog:all=error:stderr",
    ),  # an archive that does not fit is no error, only a slower start
    f"-Dlog4j2.configurationFile={jars.FILES / 'log4j2.properties'}",
)


class LocalKafka:
    """A broker and controller in one JVM (PLAINTEXT, loopback only); everything it keeps is under `folder`.

    After `kill` (SIGKILL) a `start` comes back on the same address with the same data; after `wipe` it comes
    back as a new, empty cluster. `process` allows the rest (`pause`, `resume`, `pid`, `log_tail`).
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        log_folder: Path | None = None,
        jvm_flags: Sequence[str] = (),
        stop_seconds: float = STOP_SECONDS,
        progress: Progress = lambda _: None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        """`users`: names and passwords (SASL, PLAIN) of those who come to `guarded_address`, and may do there
        what ACLs say; whoever comes to `address` may do everything.
        """
        self.folder = folder
        self._users = users
        self._guarded_port = free_port() if users else 0
        self.port = port or free_port()
        self._controller_port = free_port()
        self._jvm_flags = jvm_flags
        self._progress = progress
        self.process = Process(
            "kafka",
            [],
            log_folder=log_folder or folder,
            ready=answers_with_a_broker("127.0.0.1", self.port),
            start_seconds=START_SECONDS,
            stop_seconds=stop_seconds,
        )

    @property
    def address(self) -> str:
        """What clients take as bootstrap servers."""
        return f"127.0.0.1:{self.port}"

    @property
    def guarded_address(self) -> str:
        """Where the `users` come in."""
        return f"127.0.0.1:{self._guarded_port}"

    @property
    def data(self) -> Path:
        return self.folder / "kafka-data"

    def start(self) -> None:
        """Format the data folder if it is empty, start, and wait until clients are served."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start without waiting; fetches the jars on the first use by this user."""
        class_path = jars.class_path(self._progress)
        self._write_properties()
        self._format(class_path)
        flags = self._jvm_flags or ([f"-XX:AOTCache={jars.archive()}"] if jars.archive().exists() else [])
        self.process.command = [*java_command(class_path, *flags), "kafka.Kafka", str(self._properties)]
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
        """Lose everything: topics, offsets, the cluster's id. The node must not run."""
        if self.process.alive:
            raise RuntimeError("a running broker's data is not to be wiped: stop or kill it first")
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def _properties(self) -> Path:
        return self.folder / "kafka.properties"

    def _write_properties(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = server_properties(self.port, self._controller_port, self.data)
        if self._users is not None:
            properties |= guards(properties, self._guarded_port, self._users)
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))

    def _format(self, class_path: str) -> None:
        if (self.data / "meta.properties").exists():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        shutil.copy(_features(class_path, self._properties), self.data / "bootstrap.checkpoint")
        ids = {
            "version": "1",
            "node.id": str(NODE_ID),
            "cluster.id": _random_id(),
            "directory.id": _random_id(),
        }
        (self.data / "meta.properties").write_text("".join(f"{key}={value}\n" for key, value in ids.items()))


def java_command(class_path: str, *flags: str) -> list[str]:
    return [str(jars.java()), *JVM_FLAGS, *flags, "-cp", class_path]


def server_properties(port: int, controller_port: int, data: Path) -> dict[str, str]:
    """The settings of one node that is broker and controller."""
    return {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        "controller.quorum.voters": f"{NODE_ID}@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",  # tests that kill members do not want to wait for ten seconds
        **_internal_topics_of_one_node(),
        # A killed broker comes back only once its old session has ended.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # Small and quick: this node serves one machine.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "2",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "metric.reporters": "",
    }


def guards(properties: Mapping[str, str], port: int, users: Mapping[str, str]) -> dict[str, str]:
    """What differs in the settings of a node that has a listener with passwords besides its open one."""
    passwords = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    protocols = properties["listener.security.protocol.map"]
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "listeners": f"{properties['listeners']},GUARDED://127.0.0.1:{port}",
        "advertised.listeners": f"{properties['advertised.listeners']},GUARDED://127.0.0.1:{port}",
        "listener.security.protocol.map": f"{protocols},GUARDED:SASL_PLAINTEXT",
        "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.guarded.plain.sasl.jaas.config": f"{module} required {passwords};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def _internal_topics_of_one_node() -> dict[str, str]:
    return {
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
    }


def answers_with_a_broker(host: str, port: int) -> Ready:
    """Ready once a metadata request names a broker: an open port alone may belong to a node that still fences
    itself.

    Spoken by hand (Metadata, version 1: request without topics; the response begins with the array of
    brokers) because this must work without an event loop, from any thread.
    """
    client = b"stack"
    body = struct.pack(f">hhih{len(client)}si", 3, 1, 7, len(client), client, 0)

    def answered() -> bool:
        with (
            contextlib.suppress(OSError, struct.error),
            socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection,
        ):
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as response:
                _size, _correlation, brokers = struct.unpack(">iii", response.read(12))
                return bool(brokers > 0)
        return False

    return answered


def _features(class_path: str, properties: Path) -> Path:
    """What `format` writes besides ids: the feature levels of this version, alike for every cluster, made
    once per user.
    """
    kept = jars.cache_folder() / "bootstrap.checkpoint"
    with jars.locked("format"):
        if not kept.exists():
            _run_format(class_path, properties)
            data = next(line for line in properties.read_text().splitlines() if line.startswith("log.dirs="))
            shutil.copy(Path(data.partition("=")[2]) / "bootstrap.checkpoint", kept)
    return kept


def _run_format(class_path: str, properties: Path) -> None:
    tool = [
        *java_command(class_path),
        "kafka.tools.StorageTool",
        "format",
        "-t",
        _random_id(),
        "-c",
        str(properties),
    ]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
    if done.returncode != 0:
        raise ProcessFailed(f"formatting Kafka's data folder failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _random_id() -> str:
    """An id as Kafka writes them: 16 random bytes, URL-safe base64; never beginning with a dash, which reads
    as an option.
    """
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text
