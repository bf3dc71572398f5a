"""The brokers that everything else is tested on: found in the right order, and faithful through crashes."""

# mypy: untyped-calls-exclude=aiokafka

import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from stack import brokers as ladder
from stack import containers, jars
from stack.brokers import Brokers
from stack.local_kafka import LocalKafka
from stack.local_mongo import LocalMongo
from stack.ports import free_port
from stack.processes import ProcessFailed

TOPIC = "t"
RECORDS = 500


async def create_topic(address: str, name: str = TOPIC) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def list_topics(address: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def produce(address: str, count: int, topic: str = TOPIC) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True) as producer:
        sends = [await producer.send(topic, str(number).encode(), partition=0) for number in range(count)]
        for sent in sends:
            await sent


async def consume(address: str, count: int, topic: str = TOPIC) -> list[int]:
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=address, enable_auto_commit=False) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return [int((await consumer.getone()).value) for _ in range(count)]


@contextlib.asynccontextmanager
async def things_of(mongo: LocalMongo) -> AsyncIterator[AsyncCollection[dict[str, object]]]:
    async with AsyncMongoClient[dict[str, object]](mongo.uri, w="majority", journal=True) as client:
        yield client["stack"]["things"]


def test_addresses_from_the_environment_win_and_start_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ladder.KAFKA_VARIABLE, "kafka.example:9092")
    monkeypatch.setenv(ladder.MONGODB_VARIABLE, "mongodb://mongo.example")
    with ladder.brokers(tmp_path) as found:
        assert (found.kafka, found.mongodb) == ("kafka.example:9092", "mongodb://mongo.example")
        assert (found.local_kafka, found.local_mongo) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_does_not_answer_is_passed_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")
    containers.engine_host()  # the first call pays for an import
    began = time.monotonic()
    assert containers.engine_host() is None
    assert time.monotonic() - began < 1


@pytest.mark.stack
async def test_the_session_has_a_kafka_that_delivers(kafka_bootstrap: str) -> None:
    topic = f"round-trip-{uuid.uuid4()}"
    await create_topic(kafka_bootstrap, topic)
    await produce(kafka_bootstrap, 3, topic)
    assert await consume(kafka_bootstrap, 3, topic) == [0, 1, 2]


@pytest.mark.stack
async def test_the_session_has_a_mongodb_with_transactions(mongodb_uri: str) -> None:
    async with AsyncMongoClient[dict[str, object]](mongodb_uri) as client:
        collection = client[f"stack-{uuid.uuid4()}"]["things"]
        await collection.insert_one({"_id": 0})
        async with client.start_session() as session, await session.start_transaction():
            await collection.insert_one({"_id": 1}, session=session)
        assert await collection.count_documents({}) == 2


@pytest.mark.stack
def test_children_are_told_the_same_addresses(brokers: Brokers) -> None:
    assert brokers.environment == {"KAFKA_BOOTSTRAP_SERVERS": brokers.kafka, "MONGODB_URI": brokers.mongodb}


@pytest.mark.stack
async def test_kafka_keeps_every_acknowledged_record_through_a_kill_and_comes_back_on_its_port(
    tmp_path: Path,
) -> None:
    kafka = LocalKafka(tmp_path)
    try:
        kafka.start()
        address = kafka.address
        await create_topic(address)
        await produce(address, RECORDS)
        kafka.kill()
        kafka.start()
        assert kafka.address == address
        assert await consume(address, RECORDS) == list(range(RECORDS))
    finally:
        kafka.kill()


@pytest.mark.stack
async def test_a_wiped_kafka_comes_back_empty_on_its_port(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path)
    try:
        kafka.start()
        await create_topic(kafka.address)
        assert TOPIC in await list_topics(kafka.address)
        with pytest.raises(RuntimeError, match="stop or kill it first"):
            kafka.wipe()
        kafka.kill()
        kafka.wipe()
        kafka.start()
        assert await list_topics(kafka.address) == set()
    finally:
        kafka.kill()


@pytest.mark.stack
async def test_mongodb_keeps_acknowledged_writes_through_a_kill_and_loses_them_by_a_wipe(
    tmp_path: Path,
) -> None:
    mongo = LocalMongo(tmp_path)
    try:
        mongo.start()
        async with things_of(mongo) as things:
            await things.insert_many([{"_id": number} for number in range(RECORDS)])
            mongo.kill()
            mongo.start()
            assert await things.count_documents({}) == RECORDS
        mongo.kill()
        mongo.wipe()
        mongo.start()
        async with things_of(mongo) as things:
            assert await things.count_documents({}) == 0
    finally:
        mongo.kill()


def test_a_mongodb_that_cannot_start_fails_with_the_end_of_its_log(tmp_path: Path) -> None:
    mongo = LocalMongo(tmp_path)
    mongo.data.write_text("a file where a folder belongs")
    mongo.process.command += ["--no-such-option"]
    mongo.data.unlink()
    with pytest.raises(ProcessFailed, match="no-such-option"):
        mongo.start()


def test_a_jar_that_is_not_the_one_we_tried_is_refused(tmp_path: Path) -> None:
    names = {line.split()[1] for line in jars.CHECKSUMS.read_text().splitlines()}
    (tmp_path / "kafka-clients-4.3.1.jar").write_bytes(b"something else")
    assert set(jars.mismatches(tmp_path)) == names
