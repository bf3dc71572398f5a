"""Kafka and MongoDB in containers, the middle rung of the ladder, used where an engine answers at once."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stack import local_kafka, local_mongo
from stack.local_kafka import answers_with_a_broker
from stack.ports import free_port
from stack.processes import ProcessFailed, Ready, wait_until

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

KAFKA_IMAGE = "apache/kafka:4.3.1"
MONGO_IMAGE = "mongo:8.0"
PING_SECONDS = 1
READY_SECONDS = (
    120.0  # the images may have to be pulled before this clock starts; a cold JVM on a busy machine after
)
SOCKETS = (
    "/var/run/docker.sock",
    "~/.docker/run/docker.sock",
    "~/.docker/desktop/docker.sock",
    "~/.colima/docker.sock",
)


class ContainersUnavailable(RuntimeError):
    """An engine answers but did not start a container: no image to be had, mostly."""


def engine_host() -> str | None:
    """Where containers' ports appear, or None when no engine answers within about a second."""
    if not _may_have_an_engine():
        return None
    # Imported late: half a second that whoever has no engine need not spend.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from docker.errors import DockerException  # type: ignore[import-untyped]
        from testcontainers.core.docker_client import DockerClient

    logging.getLogger("testcontainers").setLevel(logging.WARNING)
    try:
        engine = DockerClient(timeout=PING_SECONDS)
        with contextlib.closing(engine.client):
            engine.client.ping()
            # The member of a replica set must have one name for both families of addresses.
            return "127.0.0.1" if engine.host() == "localhost" else str(engine.host())
    except (DockerException, OSError):
        return None


@contextlib.contextmanager
def kafka(host: str) -> Iterator[str]:
    """A Kafka container for the time of the block; gives its bootstrap address."""
    from testcontainers.core.container import DockerContainer

    port = free_port()
    settings = {
        **local_kafka.server_properties(port, 9093, Path("/tmp/kafka-data")),  # noqa: S108  (inside the container)
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
    }
    container = _published(DockerContainer(KAFKA_IMAGE), host, port)
    for key, value in settings.items():
        # The image turns KAFKA_A_B into a.b; an empty value would be refused.
        if value:
            container.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
    with _started(container, answers_with_a_broker(host, port)):
        yield f"{host}:{port}"


@contextlib.contextmanager
def mongo(host: str) -> Iterator[str]:
    """A MongoDB container, its replica set initiated, for the time of the block; gives its URI."""
    from testcontainers.core.container import DockerContainer

    port = free_port()  # the same inside and outside, so that the set's member has one name for both
    command = (
        f"mongod --port {port} --bind_ip_all --replSet {local_mongo.REPLICA_SET} --wiredTigerCacheSizeGB 1"
    )
    container = _published(DockerContainer(MONGO_IMAGE).with_command(command), host, port)
    with _started(container, lambda: local_mongo.takes_writes(host, port)):
        yield local_mongo.uri(host, port)


def _may_have_an_engine() -> bool:
    sockets = (Path(socket).expanduser() for socket in SOCKETS)
    named = any(
        os.environ.get(name) for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "TESTCONTAINERS_HOST_OVERRIDE")
    )
    return (
        named
        or Path("~/.docker/config.json").expanduser().exists()
        or any(socket.exists() for socket in sockets)
    )


def _published(container: "DockerContainer", host: str, port: int) -> "DockerContainer":
    container.with_bind_ports(port, port)
    if host == "127.0.0.1":
        # Docker's client takes an address too, which testcontainers does not know of; without it the port is
        # open to the whole network.
        container.ports[str(port)] = (host, port)  # type: ignore[assignment]
    return container


@contextlib.contextmanager
def _started(container: "DockerContainer", ready: Ready) -> Iterator[None]:
    from docker.errors import DockerException

    try:
        container.start()
    except (DockerException, OSError) as error:
        raise ContainersUnavailable(f"{container.image}: {error}") from error
    try:
        if not wait_until(ready, READY_SECONDS):
            output, errors = container.get_logs()
            raise ProcessFailed(
                f"{container.image} was not ready; its log ends:\n{(output + errors)[-3000:].decode()}"
            )
        yield
    finally:
        container.stop()
