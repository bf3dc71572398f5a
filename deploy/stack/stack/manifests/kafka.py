"""The topics and users of Kafka as Strimzi's operator takes them; a user may do what its program does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from segue_contracts.topics import DEAD_LETTERS, TOPICS, Topic
from stack.manifests.rights import RIGHTS

Manifest = dict[str, Any]

API_VERSION: Final = "kafka.strimzi.io/v1"
CLUSTER: Final = "segue"
REPLICAS: Final = 3
DEAD_LETTERS_GROUPS: Final = "segue.dead-letters.replay."
"""Of chassis.dead_letters."""


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """`kind` is topic or group; `is_prefix`: of whatever begins so."""

    kind: str
    name: str
    operations: tuple[str, ...]
    is_prefix: bool = False


def users() -> dict[str, list[Acl]]:
    """Every user with its rights: the programs, an operator who replays dead letters, and KEDA."""
    programs = {user: list(_acls(user)) for user in RIGHTS}
    return programs | {"segue-operator": list(_operator()), "segue-keda": list(_keda())}


def topic_manifests() -> list[Manifest]:
    """A KafkaTopic for each declared topic."""
    return [_topic(topic) for topic in TOPICS]


def user_manifests() -> list[Manifest]:
    """A KafkaUser for each user; Strimzi puts its password into a Secret of the same name."""
    return [_user(name, acls) for name, acls in users().items()]


def _acls(user: str) -> Iterator[Acl]:
    rights = RIGHTS[user]
    for topic in TOPICS:
        # Every service looks at the start whether all topics are there and wide enough.
        operations = ["Describe"]
        operations += ["Read"] if topic in rights.hears | rights.looks_back else []
        operations += ["Write"] if topic in rights.tells else []
        yield Acl("topic", topic.name, tuple(operations))
    yield Acl("group", rights.groups, ("Read",), is_prefix=rights.groups.endswith("."))


def _operator() -> Iterator[Acl]:
    heard = {topic for rights in RIGHTS.values() for topic in rights.hears}
    for topic in TOPICS:
        if topic in heard:
            yield Acl("topic", topic.name, ("Describe", "Write"))
    yield Acl("topic", DEAD_LETTERS.name, ("Describe", "Read", "Write"))
    yield Acl("group", DEAD_LETTERS_GROUPS, ("Read",), is_prefix=True)


def _keda() -> Iterator[Acl]:
    """It compares where the groups are with where the topics end."""
    scaled = {"segue-scheduler", "segue-sender"}
    heard = {topic.name for user in scaled for topic in RIGHTS[user].hears}
    yield from (Acl("topic", name, ("Describe",)) for name in sorted(heard))
    yield from (Acl("group", RIGHTS[user].groups, ("Describe",), is_prefix=True) for user in sorted(scaled))


def _topic(topic: Topic) -> Manifest:
    config: dict[str, Any] = {"cleanup.policy": "compact" if topic.compact else "delete"}
    if topic.retention_ms is not None:
        config["retention.ms"] = topic.retention_ms
    spec = {"partitions": topic.partitions, "replicas": REPLICAS, "config": config}
    return _manifest("KafkaTopic", topic.name, {"topicName": topic.name, **spec})


def _user(name: str, acls: list[Acl]) -> Manifest:
    return _manifest(
        "KafkaUser",
        name,
        {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {"type": "simple", "acls": [_rule(acl) for acl in acls]},
        },
    )


def _rule(acl: Acl) -> Manifest:
    pattern = "prefix" if acl.is_prefix else "literal"
    resource = {"type": acl.kind, "name": acl.name, "patternType": pattern}
    return {"resource": resource, "operations": list(acl.operations)}


def _manifest(kind: str, name: str, spec: Manifest) -> Manifest:
    metadata = {"name": name, "labels": {"strimzi.io/cluster": CLUSTER}}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
