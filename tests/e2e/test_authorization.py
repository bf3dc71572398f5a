"""With the rights that operators give them and no others, the programs start and do their work."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from chassis import documents
from chassis.clock import Clock
from chassis.kafka import ensure_topics
from chassis.settings import KafkaSettings
from segue_contracts.topics import ENROLLMENT_EVENTS, STAGE_OUTCOMES, TOPICS
from stack import prospects
from stack.brokers import Brokers
from stack.client import Client
from stack.local_kafka import LocalKafka
from stack.local_mongo import REPLICA_SET, LocalMongo
from stack.manifests import kafka as rights
from stack.manifests.generated import DEPLOY
from stack.manifests.mongodb import DATABASE, MIGRATE
from stack.manifests.rights import RIGHTS
from stack.sequences import TWO_MAILS
from stack.system import SECRET_KEY, System, system

pytestmark = [pytest.mark.stack, pytest.mark.slow]

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]

PASSWORD: Final = "hush"
SERVICES: Final = {
    "scheduler": "segue-scheduler",
    "sender": "segue-sender",
    "reply_detector": "segue-reply-detector",
    "watcher": "segue-mailbox-watcher",
    "api": "segue-api",
}
# As Kafka numbers them. Source: org.apache.kafka.common.resource and org.apache.kafka.common.acl
KINDS: Final = {"topic": 2, "group": 3}
OPERATIONS: Final = {"Read": 3, "Write": 4, "Describe": 8}
LITERAL, PREFIXED, ALLOW = 3, 4, 3


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A Kafka that knows our users; nobody has a right yet."""
    passwords = dict.fromkeys(rights.users(), PASSWORD)
    node = LocalKafka(tmp_path_factory.mktemp("kafka"), users=passwords)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        node.wipe()


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMongo]:
    """A MongoDB with our roles, from the file that operators use, and a user for each."""
    folder = tmp_path_factory.mktemp("mongo")
    node = LocalMongo(folder)
    try:
        node.start()
        with MongoClient[dict[str, Any]](node.uri) as client:
            for role in json.loads((DEPLOY / "mongodb" / "roles.json").read_text()):
                client[DATABASE].command(role)
                name = role["createRole"]
                client[DATABASE].command("createUser", name, pwd=PASSWORD, roles=[name])
        node.stop()
        key = folder / "key"
        key.write_text("one key for all members")
        key.chmod(0o600)
        node.process.command = [*node.process.command, "--keyFile", str(key)]
        node.start()
        yield node
    finally:
        node.stop()
        node.wipe()


def uri(mongo: LocalMongo, user: str) -> str:
    place = f"127.0.0.1:{mongo.port}/?replicaSet={REPLICA_SET}&authSource={DATABASE}"
    return f"mongodb://{user}:{PASSWORD}@{place}"


def sasl(kafka: LocalKafka, user: str) -> dict[str, str]:
    return {
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": kafka.guarded_address,
        "SEGUE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "SEGUE_KAFKA_SASL_MECHANISM": "PLAIN",
        "SEGUE_KAFKA_SASL_USERNAME": user,
        "SEGUE_KAFKA_SASL_PASSWORD": PASSWORD,
    }


@pytest.fixture(scope="module")
def granted(kafka: LocalKafka) -> None:
    """The topics, and the rights of every user."""
    asyncio.run(_grant_all(kafka))


async def _grant_all(kafka: LocalKafka) -> None:
    await ensure_topics(KafkaSettings(kafka_bootstrap_servers=kafka.address), TOPICS)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
    await admin.start()
    try:
        for user, acls in rights.users().items():
            for acl in acls:
                for operation in acl.operations:
                    await _grant(admin, user, acl, operation)
    finally:
        await admin.close()


async def _grant(admin: AIOKafkaAdminClient, user: str, acl: rights.Acl, operation: str) -> None:
    pattern = PREFIXED if acl.is_prefix else LITERAL
    request = CreateAclsRequest(
        KINDS[acl.kind], acl.name, pattern, f"User:{user}", "*", OPERATIONS[operation], ALLOW
    )
    answer: Any = await admin._send_request(request)  # it has no method for this
    assert [code for code, _ in answer.creation_responses] == [0]


@pytest.fixture(scope="module")
def segue(
    tmp_path_factory: pytest.TempPathFactory,
    kafka: LocalKafka,
    mongo: LocalMongo,
    granted: None,
    clock_speed: float,
) -> Iterator[System]:
    own = {
        service: {**sasl(kafka, user), "SEGUE_MONGODB_URI": uri(mongo, user)}
        for service, user in SERVICES.items()
    }
    shared = {
        "SEGUE_KAFKA_TOPIC_PREFIX": "",
        "SEGUE_MONGODB_DATABASE": DATABASE,
        "SEGUE_MONGODB_URI": uri(mongo, "segue-api"),  # of the command line that makes a workspace
    }
    brokers = Brokers(kafka.guarded_address, uri(mongo, "nobody"), kafka, mongo)
    folder = tmp_path_factory.mktemp("segue")
    with system(
        folder, brokers, clock_speed=clock_speed, settings=shared, settings_of=own, watcher=True
    ) as running:
        yield running


async def test_a_sequence_goes_out_and_a_reply_stops_it(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    sequence = await client.publish(TWO_MAILS.replace("2 days", "30 days"))
    enrollment = await client.enroll(sequence, "noor")
    (hello,) = await mails("noor@there.example", 1)
    await client.receive(mailbox, prospects.reply(hello, "Yes, gladly!", at=clock.now()))
    stopped = await client.reached(enrollment, "stopped")
    assert stopped["stop"]["reason"] == "replied"


def test_migrations_run_with_a_user_of_their_own(segue: System, mongo: LocalMongo) -> None:
    environment = {**segue.environment, "SEGUE_MONGODB_URI": uri(mongo, MIGRATE)}
    command = [sys.executable, "-m", "chassis.migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_dead_letters_are_listed_and_replayed_by_an_operator(kafka: LocalKafka, granted: None) -> None:
    environment = {**os.environ, **sasl(kafka, "segue-operator")}
    for arguments in (["list"], ["replay", "--topic", STAGE_OUTCOMES.name]):
        command = [sys.executable, "-m", "chassis.dead_letters", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("user", "collection"),
    [
        ("segue-scheduler", documents.MAILBOX_TOKENS),
        ("segue-api", documents.MAILBOX_TOKENS),
        ("segue-sender", documents.SESSIONS),
        ("segue-mailbox-watcher", documents.PEOPLE),
    ],
)
def test_a_program_does_not_see_what_it_does_not_need(mongo: LocalMongo, user: str, collection: str) -> None:
    with (
        MongoClient[dict[str, Any]](uri(mongo, user)) as client,
        pytest.raises(OperationFailure, match="not authorized"),
    ):
        client[DATABASE][collection].find_one({})


def test_whoever_reads_a_collection_may_not_write_it(mongo: LocalMongo) -> None:
    with (
        MongoClient[dict[str, Any]](uri(mongo, "segue-api")) as client,
        pytest.raises(OperationFailure, match="not authorized"),
    ):
        client[DATABASE][documents.ENROLLMENTS].update_one({}, {"$set": {"state": "finished"}})


@asynccontextmanager
async def producer(kafka: LocalKafka, user: str) -> AsyncIterator[AIOKafkaProducer]:
    one = AIOKafkaProducer(
        bootstrap_servers=kafka.guarded_address,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=user,
        sasl_plain_password=PASSWORD,
    )
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def test_nobody_tells_a_story_that_is_not_theirs(kafka: LocalKafka, granted: None) -> None:
    for user in RIGHTS.keys() - {"segue-scheduler"}:
        async with producer(kafka, user) as stranger:
            with pytest.raises(TopicAuthorizationFailedError):
                await stranger.send_and_wait(ENROLLMENT_EVENTS.name, b"{}")


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("SEGUE_MONGODB_URI", "Authentication failed"),
        ("SEGUE_KAFKA_SASL_PASSWORD", "or it does not let segue-scheduler in"),
    ],
)
def test_a_wrong_password_ends_a_program_with_a_line_that_says_so(
    granted: None, kafka: LocalKafka, mongo: LocalMongo, variable: str, told: str
) -> None:
    environment: Mapping[str, str] = {
        **os.environ,
        **sasl(kafka, "segue-scheduler"),
        "SEGUE_SECRET_KEYS": SECRET_KEY,
        "SEGUE_MONGODB_URI": uri(mongo, "segue-scheduler"),
    }
    wrong = environment[variable].replace(PASSWORD, "wrong")
    command = [sys.executable, "-m", "scheduler"]
    done = subprocess.run(
        command,
        env={**environment, variable: wrong},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert told in done.stderr.splitlines()[-1]
