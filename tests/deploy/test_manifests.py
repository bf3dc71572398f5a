"""What operators deploy is what the services are, and a mistake in it is refused by name."""

import re
from collections.abc import Callable
from copy import deepcopy
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sender.settings import SenderSettings
from stack.manifests import checking, generated, rules, schemas
from stack.manifests.checking import COMPOSE, DOCKERFILE, compose_problems, dockerfile_problems
from stack.manifests.rendering import OVERLAYS, Manifest, RenderFailed, parsed, rendered, text_of

Mistake = Callable[["Objects"], Any]


class Objects(list[Manifest]):
    """The objects of an overlay, to be spoilt."""

    def one(self, kind: str, name: str) -> Any:
        (found,) = (each for each in self if each["kind"] == kind and each["metadata"]["name"] == name)
        return found

    def pod(self, name: str, kind: str = "Deployment") -> Any:
        return self.one(kind, name)["spec"]["template"]["spec"]

    def container(self, name: str) -> Any:
        return self.pod(name)["containers"][0]

    def config(self) -> Any:
        (found,) = (each for each in self if each["metadata"]["name"].startswith("segue-config-"))
        return found["data"]

    def without(self, kind: str, name: str) -> None:
        self.remove(self.one(kind, name))


@pytest.fixture(scope="module")
def production(node_packages: Path) -> list[Manifest]:
    return rendered("production")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_keeps_every_promise(node_packages: Path, overlay: str) -> None:
    assert list(checking.overlay_problems(rendered(overlay), is_pinned=overlay != "dev")) == []


def test_an_overlay_that_names_what_is_not_there_is_refused(node_packages: Path, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [elsewhere.yaml]\n")
    with pytest.raises(RenderFailed, match=r"elsewhere\.yaml"):
        text_of(tmp_path)


def test_what_is_generated_is_current() -> None:
    assert generated.stale() == []


def _env(container: Any, name: str, value: str) -> None:
    container["env"].append({"name": name, "value": value})


def _drop_secret(objects: Objects, program: str, secret: str) -> None:
    sources = next(v for v in objects.pod(program)["volumes"] if v["name"] == "secrets")["projected"][
        "sources"
    ]
    sources.remove(next(each for each in sources if each["secret"]["name"] == secret))


MISTAKES: dict[str, tuple[Mistake, str]] = {
    "a field that does not exist": (
        lambda o: o.pod("segue-api").update(replicaCount=3),
        r"Deployment segue-api: .*replicaCount",
    ),
    "a field of an operator's kind that does not exist": (
        lambda o: o.one("ScaledObject", "segue-sender")["spec"].update(coolDownPeriod=600),
        r"ScaledObject segue-sender: .*coolDownPeriod",
    ),
    "a number in words": (
        lambda o: o.one("KafkaTopic", "segue.stage.due.v1")["spec"].update(partitions="twelve"),
        r"KafkaTopic segue\.stage\.due\.v1: .*twelve",
    ),
    "a kind that nobody declares": (
        lambda o: o.one("PodMonitor", "segue").update(kind="PodMonitors"),
        r"PodMonitors segue: nobody declares",
    ),
    "no readiness probe": (
        lambda o: o.container("segue-sender").pop("readinessProbe"),
        r"Deployment segue-sender: its readinessProbe does not ask for /health/ready",
    ),
    "liveness asks what readiness should": (
        lambda o: o.container("segue-api")["livenessProbe"]["httpGet"].update(path="/health/ready"),
        r"Deployment segue-api: its livenessProbe does not ask for /health/live",
    ),
    "root": (
        lambda o: o.pod("segue-scheduler")["securityContext"].update(runAsUser=0),
        r"Deployment segue-scheduler: runAsUser is root",
    ),
    "root may be written to": (
        lambda o: o.container("segue-api")["securityContext"].update(readOnlyRootFilesystem=False),
        r"Deployment segue-api: readOnlyRootFilesystem is not true",
    ),
    "the host's network": (
        lambda o: o.pod("segue-mailbox-watcher").update(hostNetwork=True),
        r"Deployment segue-mailbox-watcher: it shares something of its host",
    ),
    "the latest image": (
        lambda o: o.container("segue-api").update(image="registry.example/segue/segue-api:latest"),
        r"Deployment segue-api: the image .*:latest has no digest",
    ),
    "a migration by tag": (
        lambda o: o.pod("segue-migrate", "Job")["containers"][0].update(image="segue-migrate:1"),
        r"Job segue-migrate: the image segue-migrate:1 has no digest",
    ),
    "no limit of memory": (
        lambda o: o.container("segue-sender")["resources"]["limits"].clear(),
        r"Deployment segue-sender: its memory has no limit",
    ),
    "a limit of cpu": (
        lambda o: o.container("segue-sender")["resources"]["limits"].update(cpu="1"),
        r"Deployment segue-sender: its cpu has a limit",
    ),
    "two pods at a time": (
        lambda o: o.one("Deployment", "segue-api")["spec"]["strategy"]["rollingUpdate"].update(maxSurge=2),
        r"Deployment segue-api: a rollout must add one pod before it takes one",
    ),
    "no disruption budget": (
        lambda o: o.without("PodDisruptionBudget", "segue-sender"),
        r"Deployment segue-sender: it has no PodDisruptionBudget",
    ),
    "all in one zone": (
        lambda o: o.pod("segue-sender").pop("topologySpreadConstraints"),
        r"Deployment segue-sender: its pods are not spread over zones",
    ),
    "killed in the middle of DATA": (
        lambda o: o.pod("segue-sender").update(terminationGracePeriodSeconds=60),
        r"Deployment segue-sender: terminationGracePeriodSeconds is too short, stopping takes 105",
    ),
    "requests after the end": (
        lambda o: o.container("segue-api").pop("lifecycle"),
        r"Deployment segue-api: requests still come for a moment after SIGTERM: it needs a preStop sleep",
    ),
    "no time for the sleep": (
        lambda o: o.container("segue-api")["lifecycle"]["preStop"]["sleep"].update(seconds=30),
        r"Deployment segue-api: terminationGracePeriodSeconds is too short, stopping takes 65",
    ),
    "a longer DATA without a longer stop": (
        lambda o: _env(o.container("segue-sender"), "SEGUE_SMTP_TOTAL_SECONDS", "90"),
        r"Deployment segue-sender: .*SEGUE_CLAIM_LEASE_SECONDS must be longer than SEGUE_SMTP_TOTAL_SECONDS",
    ),
    "a setting that is none": (
        lambda o: _env(o.container("segue-sender"), "SEGUE_SMPT_TOTAL_SECONDS", "60"),
        r"Deployment segue-sender: no service reads SEGUE_SMPT_TOTAL_SECONDS",
    ),
    "a setting with a wrong value": (
        lambda o: o.config().update(SEGUE_HTTP_PORT="http"),
        r"Deployment segue-api: SEGUE_HTTP_PORT is wrong",
    ),
    "no secret for MongoDB": (
        lambda o: _drop_secret(o, "segue-scheduler", "segue-scheduler-mongodb"),
        r"Deployment segue-scheduler: SEGUE_MONGODB_URI is not set",
    ),
    "a secret that nobody makes": (
        lambda o: o.without("ExternalSecret", "segue-oidc"),
        r"Deployment segue-api: nobody makes the secret segue-oidc",
    ),
    "a secret as a variable": (
        lambda o: o.container("segue-api")["env"].append(
            {
                "name": "SEGUE_SECRET_KEYS",
                "valueFrom": {"secretKeyRef": {"name": "segue-secret-keys", "key": "SEGUE_SECRET_KEYS"}},
            }
        ),
        r"Deployment segue-api: SEGUE_SECRET_KEYS comes as a variable",
    ),
    "a secret in the manifest": (
        lambda o: o.append(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"a": "b"}}
        ),
        r"Secret mine: a secret is not to be in a manifest",
    ),
    "another program's user": (
        lambda o: _env(o.container("segue-api"), "SEGUE_KAFKA_SASL_USERNAME", "segue-sender"),
        r"Deployment segue-api: its Kafka user must be segue-api",
    ),
    "no topic": (
        lambda o: o.without("KafkaTopic", "segue.stage.due.v1"),
        r"KafkaTopic segue\.stage\.due\.v1: missing",
    ),
    "no user": (
        lambda o: o.without("KafkaUser", "segue-api"),
        r"KafkaUser segue-api: missing",
    ),
    "more instances than partitions": (
        lambda o: o.one("ScaledObject", "segue-sender")["spec"].update(maxReplicaCount=13),
        r"ScaledObject segue-sender: more than 12 instances",
    ),
    "restless scaling": (
        lambda o: o.one("ScaledObject", "segue-scheduler")["spec"].update(cooldownPeriod=30),
        r"ScaledObject segue-scheduler: cooldownPeriod must be at least 300",
    ),
    "scaling by what another reads": (
        lambda o: o.one("ScaledObject", "segue-sender")["spec"]["triggers"][0]["metadata"].update(
            topic="segue.stage.outcomes.v1"
        ),
        r"ScaledObject segue-sender: segue-sender does not read segue\.stage\.outcomes\.v1",
    ),
    "the api grows with Kafka": (
        lambda o: o.one("ScaledObject", "segue-sender")["spec"]["scaleTargetRef"].update(name="segue-api"),
        r"ScaledObject segue-sender: segue-api does not grow with what waits in Kafka",
    ),
    "everything is allowed": (
        lambda o: o.without("NetworkPolicy", "default-deny"),
        r"NetworkPolicy: nothing denies by default",
    ),
    "every port is allowed": (
        lambda o: o.one("NetworkPolicy", "sender")["spec"]["egress"][0].pop("ports"),
        r"NetworkPolicy sender: a rule without ports",
    ),
}


@pytest.mark.parametrize(("spoil", "named"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_refused_by_name(production: list[Manifest], spoil: Mistake, named: str) -> None:
    objects = Objects(deepcopy(production))
    spoil(objects)
    spoilt = [each for each in objects if each not in production]
    told = [*schemas.problems(spoilt)] or [*rules.problems(objects, is_pinned=True)]
    assert any(re.match(named, line) for line in told), told


def test_a_pod_of_the_sender_is_given_more_time_than_a_transmission_takes(production: list[Manifest]) -> None:
    grace = Objects(production).pod("segue-sender")["terminationGracePeriodSeconds"]
    assert grace > SenderSettings.model_fields["smtp_total_seconds"].default


def test_the_sender_may_reach_mail_servers_and_the_watcher_mailboxes(production: list[Manifest]) -> None:
    def ports(policy: str) -> set[int]:
        egress = Objects(production).one("NetworkPolicy", policy)["spec"]["egress"]
        return {port["port"] for rule in egress for port in rule["ports"]}

    assert {25, 465, 587, 443} <= ports("sender")
    assert {993, 443} <= ports("mailbox-watcher")
    assert ports("sender") & ports("mailbox-watcher") == {443}


# ---- images and compose -------------------------------------------------------------------------------


def test_the_dockerfile_and_the_compose_file_are_sound() -> None:
    assert [*dockerfile_problems(DOCKERFILE), *compose_problems(COMPOSE)] == []


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("FROM ${BASE} AS build", "FROM python:latest AS build", r"DL3007"),
        ("USER 10001:10001", "USER root", r"DL3002"),
        ('ENTRYPOINT ["segue"]', "ENTRYPOINT segue", r"DL3025"),
        ("WORKDIR /build", "WORKDIR build", r"DL3000"),
    ],
)
def test_a_mistake_in_the_dockerfile_is_refused(tmp_path: Path, right: str, wrong: str, named: str) -> None:
    text = DOCKERFILE.read_text()
    assert right in text
    (tmp_path / "Dockerfile").write_text(text.replace(right, wrong))
    assert any(re.search(named, line) for line in dockerfile_problems(tmp_path / "Dockerfile"))


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("    image: mongo:8.0", "    imagine: mongo:8.0", r"services\.mongodb: .*imagine"),
        ("    profiles: [monitoring]", "    profiles: monitoring", r"services\.prometheus.*profiles"),
        ("condition: service_healthy", "condition: service_happy", r"service_happy"),
    ],
)
def test_a_mistake_in_the_compose_file_is_refused(tmp_path: Path, right: str, wrong: str, named: str) -> None:
    text = COMPOSE.read_text()
    assert right in text
    (tmp_path / "compose.yaml").write_text(text.replace(right, wrong, 1))
    assert any(re.search(named, line) for line in compose_problems(tmp_path / "compose.yaml"))


def test_compose_starts_the_brokers_alone_unless_asked_for_more() -> None:
    services = parsed(COMPOSE.read_text())[0]["services"]
    assert {name for name, each in services.items() if "profiles" not in each} == {"kafka", "mongodb"}


LOCKED = re.compile(r"^([a-z0-9._-]+)==([^ ;]+)( ;)?", re.MULTILINE)


@pytest.mark.parametrize("image", ["scheduler", "sender", "reply-detector", "api", "image"])
def test_an_image_has_what_the_tests_run_with(image: str) -> None:
    locked = LOCKED.findall((DOCKERFILE.parent / f"{image}.lock").read_text())
    assert locked
    here = {re.sub(r"[-_.]+", "-", each.name).lower(): each.version for each in metadata.distributions()}
    others = {name: version for name, version, _ in locked if here.get(name) != version}
    # What is only for another Python need not be here.
    assert others.keys() <= {name for name, _, marked in locked if marked and name not in here}
