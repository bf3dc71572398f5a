"""One ladder to a Kafka and a MongoDB: addresses from the environment, containers, local binaries."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stack import containers
from stack.jars import Progress
from stack.local_kafka import LocalKafka
from stack.local_mongo import LocalMongo
from stack.training import train

KAFKA_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
MONGODB_VARIABLE = "MONGODB_URI"


@dataclass(frozen=True)
class Brokers:
    """Addresses of what runs, and, for local binaries, the nodes themselves."""

    kafka: str
    mongodb: str
    local_kafka: LocalKafka | None = None
    local_mongo: LocalMongo | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a child process finds the same brokers."""
        return {KAFKA_VARIABLE: self.kafka, MONGODB_VARIABLE: self.mongodb}


@contextlib.contextmanager
def brokers(
    folder: Path, progress: Progress = lambda _: None, *, train_first: bool = False
) -> Iterator[Brokers]:
    """Both brokers for the time of the block; each climbs the ladder by itself; what is local is under
    `folder`.

    Blocks (call it outside an event loop, or in a thread). `train_first` is for those who start Kafka often,
    see `training`. Raises ProcessFailed with the last log lines when a node does not start, JarsUnavailable
    when Kafka cannot be fetched.
    """
    kafka, mongodb = os.environ.get(KAFKA_VARIABLE, ""), os.environ.get(MONGODB_VARIABLE, "")
    with contextlib.ExitStack() as running:
        host = None if kafka and mongodb else containers.engine_host()
        if host is not None:
            progress("starting Kafka and MongoDB in containers")
            try:
                kafka = kafka or running.enter_context(containers.kafka(host))
                mongodb = mongodb or running.enter_context(containers.mongo(host))
            except containers.ContainersUnavailable as error:
                progress(f"not in containers, then: {error}")
        if train_first and not kafka:
            train(progress)
        local_kafka = None if kafka else LocalKafka(folder, progress=progress)
        local_mongo = None if mongodb else LocalMongo(folder, progress=progress)
        running.enter_context(_started(local_kafka, local_mongo, progress))
        yield Brokers(
            kafka=local_kafka.address if local_kafka else kafka,
            mongodb=local_mongo.uri if local_mongo else mongodb,
            local_kafka=local_kafka,
            local_mongo=local_mongo,
        )


@contextlib.contextmanager
def _started(kafka: LocalKafka | None, mongo: LocalMongo | None, progress: Progress) -> Iterator[None]:
    """Both start side by side, and stop when the block ends, also when one of them never got ready."""
    nodes: list[LocalKafka | LocalMongo] = [node for node in (mongo, kafka) if node is not None]
    with contextlib.ExitStack() as running:
        for node in nodes:
            progress(f"starting {node.process.name} on port {node.port}, log {node.process.log_file}")
            running.callback(node.stop)
            node.launch()
        for node in nodes:
            node.wait_until_ready()
        yield
