"""Creates the declared topics and refuses to run on topics that are narrower than declared."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from chassis.errors import Fatal, Retry
from chassis.kafka.connection import client_options
from chassis.retry import retrying
from chassis.settings import KafkaSettings
from chassis.telemetry import fields
from segue_contracts.topics import Topic

log = logging.getLogger(__name__)

VISIBLE_TRIES = 50
VISIBLE_WAIT_SECONDS = 0.2


async def ensure_topics(settings: KafkaSettings, topics: Sequence[Topic]) -> None:
    """Create what is missing; Fatal if a topic can't be created or has fewer partitions than declared.

    Existing topics are never changed: retention and partitions of a live topic are an operator's decision.
    Raises Retry when no broker answers.
    """
    await retrying(lambda: _ensure(settings, topics))


async def partition_count(settings: KafkaSettings, topic: Topic) -> int:
    """How many partitions a topic has; zero if there is none. Raises Retry when no broker answers."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        return (await _partition_counts(admin, settings, [topic]))[topic.name]
    except (KafkaError, TimeoutError) as error:
        raise _unreached(settings, error) from error
    finally:
        await admin.close()


async def _ensure(settings: KafkaSettings, topics: Sequence[Topic]) -> None:
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        await _create(admin, settings, await _missing(admin, settings, topics))
        await _verify(admin, settings, topics)
    except (KafkaError, TimeoutError) as error:
        raise _unreached(settings, error) from error
    finally:
        await admin.close()


def _unreached(settings: KafkaSettings, error: BaseException) -> Retry:
    """The client tells a wrong password like a broker that is away."""
    user = settings.kafka_sasl_username
    or_refused = f" (or it does not let {user} in: look at the user's password)" if user else ""
    return Retry(f"Kafka at {settings.kafka_bootstrap_servers}{or_refused}: {error!r}")


async def _missing(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, topics: Sequence[Topic]
) -> list[Topic]:
    existing = set(await admin.list_topics())
    return [topic for topic in topics if settings.kafka_topic_prefix + topic.name not in existing]


async def _create(admin: AIOKafkaAdminClient, settings: KafkaSettings, topics: Sequence[Topic]) -> None:
    if not topics:
        return
    response: Any = await admin.create_topics([_new_topic(settings, topic) for topic in topics])
    for name, code, message in response.topic_errors:
        error = for_code(code)
        # Another service that starts at the same moment may have been faster.
        if error not in (NoError, TopicAlreadyExistsError):
            if error.retriable:
                raise error(message)
            raise Fatal(f"Kafka refuses to create the topic {name}: {message or error.__name__}.")
        log.info("topic created", extra=fields("kafka.topic_created", topic=name))


def _new_topic(settings: KafkaSettings, topic: Topic) -> NewTopic:
    configs = {"cleanup.policy": "compact" if topic.compact else "delete"}
    if topic.retention_ms is not None:
        configs["retention.ms"] = str(topic.retention_ms)
    factor = settings.kafka_replication_factor
    return NewTopic(
        settings.kafka_topic_prefix + topic.name,
        topic.partitions,
        factor,
        # The client takes -1 (the broker's default) only beside an assignment, and an empty one is none.
        replica_assignments={} if factor == -1 else None,
        topic_configs=configs,
    )


async def _verify(admin: AIOKafkaAdminClient, settings: KafkaSettings, topics: Sequence[Topic]) -> None:
    """A topic that was just created takes a moment to be visible on every broker."""
    for _ in range(VISIBLE_TRIES):
        counts = await _partition_counts(admin, settings, topics)
        if all(counts.values()):
            break
        await asyncio.sleep(VISIBLE_WAIT_SECONDS)
    for topic in topics:
        found = counts[topic.name]
        if found < topic.partitions:
            raise Fatal(
                f"The topic {settings.kafka_topic_prefix + topic.name} has {found} partitions and "
                f"{topic.partitions} are declared: add the missing ones while no service runs."
            )


async def _partition_counts(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, topics: Sequence[Topic]
) -> dict[str, int]:
    names = [settings.kafka_topic_prefix + topic.name for topic in topics]
    described: list[dict[str, Any]] = await admin.describe_topics(names)
    counts = {each["topic"]: len(each["partitions"]) for each in described if each["error_code"] == 0}
    return {topic.name: counts.get(settings.kafka_topic_prefix + topic.name, 0) for topic in topics}
