"""What no schema knows of our manifests: the promises of the services and of a quiet rollout."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from api.settings import ApiSettings
from chassis.settings import PREFIX, ServiceSettings
from chassis.settings import problems as sentences
from reply_detector.settings import DetectorSettings, WatcherSettings
from scheduler.settings import SchedulerSettings
from segue_contracts.topics import PARTITIONS, TOPICS
from sender.settings import SenderSettings
from stack.manifests import kafka
from stack.manifests.rendering import Manifest
from stack.manifests.rights import RIGHTS
from stack.manifests.schemas import title

SETTINGS: Final[Mapping[str, type[ServiceSettings]]] = {
    "segue-scheduler": SchedulerSettings,
    "segue-sender": SenderSettings,
    "segue-reply-detector": DetectorSettings,
    "segue-mailbox-watcher": WatcherSettings,
    "segue-api": ApiSettings,
}
OPERATOR: Final = "segue-operator"
SCALED: Final = frozenset({"segue-scheduler", "segue-sender"})
PROBES: Final = {
    "startupProbe": "/health/startup",
    "livenessProbe": "/health/live",
    "readinessProbe": "/health/ready",
}
GRACE_MARGIN_SECONDS: Final = 10
"""For what the kubelet does before and after."""
COOLDOWN_SECONDS: Final = 300
ANY: Final = "a value that is there"


@dataclass(frozen=True, slots=True)
class Overlay:
    """The objects of one overlay. `is_pinned`: its images have digests."""

    manifests: list[Manifest]
    is_pinned: bool

    def of(self, kind: str) -> list[Manifest]:
        """The objects of one kind."""
        return [each for each in self.manifests if each.get("kind") == kind]

    def programs(self) -> list[Manifest]:
        """The Deployments that run; one is only there for Jobs to be made of it."""
        return [each for each in self.of("Deployment") if each["metadata"]["name"] != OPERATOR]

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Each pod's template with the title of what makes it."""
        for each in (*self.of("Deployment"), *self.of("Job")):
            yield title(each), each["spec"]["template"]["spec"]

    def environment(self, pod: Manifest) -> dict[str, str]:
        """The variables and secrets of a pod's only container, secrets with some value."""
        maps = {each["metadata"]["name"]: each.get("data") or {} for each in self.of("ConfigMap")}
        found: dict[str, str] = {}
        for source in pod["containers"][0].get("envFrom", ()):
            found |= maps.get(source.get("configMapRef", {}).get("name"), {})
        for variable in pod["containers"][0].get("env", ()):
            found[variable["name"]] = variable.get("value", ANY)
        return found | {name: ANY for name in _secret_files(pod) if name.startswith(PREFIX)}


Rule = Callable[[Overlay], Iterator[str]]


def problems(manifests: list[Manifest], *, is_pinned: bool) -> Iterator[str]:
    """One line for each broken promise."""
    overlay = Overlay(manifests, is_pinned)
    for rule in RULES:
        yield from rule(overlay)


def _images(overlay: Overlay) -> Iterator[str]:
    for what, pod in overlay.pods():
        image = pod["containers"][0].get("image", "")
        name, _, tag = image.rpartition(":")
        if "@sha256:" in image:
            continue
        if overlay.is_pinned:
            yield f"{what}: the image {image} has no digest"
        elif "/" in tag or not name or tag == "latest":
            yield f"{what}: the image {image} has no tag that stays what it is"


def _least_rights(overlay: Overlay) -> Iterator[str]:
    for what, pod in overlay.pods():
        own, container = pod.get("securityContext", {}), pod["containers"][0].get("securityContext", {})
        promises = {
            "runAsNonRoot is not true": own.get("runAsNonRoot") is True,
            "runAsUser is root, or nobody said who": bool(container.get("runAsUser", own.get("runAsUser"))),
            "seccompProfile is not RuntimeDefault": own.get("seccompProfile") == {"type": "RuntimeDefault"},
            "allowPrivilegeEscalation is not false": container.get("allowPrivilegeEscalation") is False,
            "readOnlyRootFilesystem is not true": container.get("readOnlyRootFilesystem") is True,
            "capabilities are not all dropped": container.get("capabilities") == {"drop": ["ALL"]},
            "it has the token of its service account": pod.get("automountServiceAccountToken") is False,
            "it shares something of its host": not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(),
        }
        yield from (f"{what}: {broken}" for broken, kept in promises.items() if not kept)


def _secrets_are_files(overlay: Overlay) -> Iterator[str]:
    for each in overlay.of("Secret"):
        yield f"{title(each)}: a secret is not to be in a manifest"
    for what, pod in overlay.pods():
        container = pod["containers"][0]
        named = [
            each["name"] for each in container.get("env", ()) if "secretKeyRef" in each.get("valueFrom", {})
        ]
        named += [
            str(each["secretRef"]["name"]) for each in container.get("envFrom", ()) if "secretRef" in each
        ]
        yield from (f"{what}: {name} comes as a variable; secrets come as files" for name in named)


def _probes(overlay: Overlay) -> Iterator[str]:
    for each in overlay.programs():
        container = each["spec"]["template"]["spec"]["containers"][0]
        for probe, path in PROBES.items():
            if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                yield f"{title(each)}: its {probe} does not ask for {path}"


def _resources(overlay: Overlay) -> Iterator[str]:
    for what, pod in overlay.pods():
        resources = pod["containers"][0].get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
            yield f"{what}: it does not request cpu and memory"
        if "memory" not in resources.get("limits", {}):
            yield f"{what}: its memory has no limit"
        if "cpu" in resources.get("limits", {}):
            yield f"{what}: its cpu has a limit, which only makes everything late"


def _rollout(overlay: Overlay) -> Iterator[str]:
    guarded = [each["spec"]["selector"]["matchLabels"] for each in overlay.of("PodDisruptionBudget")]
    for each in overlay.programs():
        what, spec = title(each), each["spec"]
        if spec.get("strategy", {}).get("rollingUpdate") != {"maxSurge": 1, "maxUnavailable": 0}:
            yield f"{what}: a rollout must add one pod before it takes one (maxSurge 1, maxUnavailable 0)"
        spread = spec["template"]["spec"].get("topologySpreadConstraints", ())
        if "topology.kubernetes.io/zone" not in {rule["topologyKey"] for rule in spread}:
            yield f"{what}: its pods are not spread over zones"
        if spec["selector"]["matchLabels"] not in guarded:
            yield f"{what}: it has no PodDisruptionBudget"


def _requests_end(overlay: Overlay) -> Iterator[str]:
    """A pod that ends is asked until everybody knows; our programs stop listening at once."""
    asked = [each["spec"]["selector"] for each in overlay.of("Service")]
    for each in overlay.programs():
        pod = each["spec"]["template"]["spec"]
        if each["spec"]["selector"]["matchLabels"] in asked and not _slept(pod):
            yield (f"{title(each)}: requests still come for a moment after SIGTERM: it needs a preStop sleep")


def _slept(pod: Manifest) -> float:
    hook = pod["containers"][0].get("lifecycle", {}).get("preStop", {})
    return float(hook.get("sleep", {}).get("seconds", 0))


def _settings(overlay: Overlay) -> Iterator[str]:
    """Every program starts with what it is given, and stops within the time that it has."""
    for each in overlay.programs():
        name, pod = each["metadata"]["name"], each["spec"]["template"]["spec"]
        if name not in SETTINGS:
            yield f"{title(each)}: nobody knows its settings"
            continue
        try:
            settings = _loaded(SETTINGS[name], overlay.environment(pod))
        except ValidationError as error:
            yield from (f"{title(each)}: {sentence}" for sentence in sentences(error))
            continue
        needed = _slept(pod) + settings.shutdown_seconds + GRACE_MARGIN_SECONDS
        if pod.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{title(each)}: terminationGracePeriodSeconds is too short, stopping takes {needed:g}"


def _known_settings(overlay: Overlay) -> Iterator[str]:
    known = {name for settings in SETTINGS.values() for name in settings.model_fields}
    for what, pod in overlay.pods():
        for variable in overlay.environment(pod):
            if variable.startswith(PREFIX) and variable.removeprefix(PREFIX).lower() not in known:
                yield f"{what}: no service reads {variable}"


def _secrets_arrive(overlay: Overlay) -> Iterator[str]:
    """Where an operator makes the secrets, it makes all that are mounted."""
    made = {each["spec"]["target"]["name"] for each in overlay.of("ExternalSecret")}
    if not made:
        return
    made |= {each["metadata"]["name"] for each in overlay.of("KafkaUser")}
    made |= {f"{each['metadata']['name']}-cluster-ca-cert" for each in overlay.of("Kafka")}
    for what, pod in overlay.pods():
        for source in _secret_sources(pod):
            if source["name"] not in made and not source.get("optional"):
                yield f"{what}: nobody makes the secret {source['name']}"


def _users(overlay: Overlay) -> Iterator[str]:
    for each in overlay.of("Deployment"):
        environment = overlay.environment(each["spec"]["template"]["spec"])
        name = each["metadata"]["name"]
        if environment.get(f"{PREFIX}KAFKA_SASL_USERNAME") != name:
            yield f"{title(each)}: its Kafka user must be {name}, whose rights are this program's"


def _topics(overlay: Overlay) -> Iterator[str]:
    if not overlay.of("KafkaTopic"):
        return
    there = {each["spec"]["topicName"]: each["spec"]["partitions"] for each in overlay.of("KafkaTopic")}
    for topic in TOPICS:
        if there.get(topic.name, 0) < topic.partitions:
            yield f"KafkaTopic {topic.name}: missing, or fewer than {topic.partitions} partitions"
    users = {each["metadata"]["name"] for each in overlay.of("KafkaUser")}
    for name in kafka.users().keys() - users:
        yield f"KafkaUser {name}: missing"


def _scaling(overlay: Overlay) -> Iterator[str]:
    for each in overlay.of("ScaledObject"):
        what, spec, target = title(each), each["spec"], each["spec"]["scaleTargetRef"]["name"]
        if target not in SCALED:
            yield f"{what}: {target} does not grow with what waits in Kafka"
            continue
        if spec.get("maxReplicaCount", 100) > PARTITIONS:
            yield f"{what}: more than {PARTITIONS} instances would have no partition"
        if spec.get("cooldownPeriod", 0) < COOLDOWN_SECONDS:
            yield f"{what}: cooldownPeriod must be at least {COOLDOWN_SECONDS}: each step moves partitions"
        yield from _triggers(what, RIGHTS[target].groups, target, spec["triggers"])


def _triggers(what: str, groups: str, target: str, triggers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    heard = {topic.name for topic in RIGHTS[target].hears}
    for trigger in triggers:
        topic, group = trigger["metadata"]["topic"], trigger["metadata"]["consumerGroup"]
        if topic not in heard:
            yield f"{what}: {target} does not read {topic}"
        if not group.startswith(groups):
            yield f"{what}: {group} is no group of {target}"


def _network(overlay: Overlay) -> Iterator[str]:
    policies = overlay.of("NetworkPolicy")
    denied = [each for each in policies if each["spec"]["podSelector"] == {} and not _rules_of(each)]
    if not any({"Ingress", "Egress"} <= set(each["spec"]["policyTypes"]) for each in denied):
        yield "NetworkPolicy: nothing denies by default"
    for each in policies:
        own_kafka = each["metadata"]["name"] == "kafka-itself"
        if any("ports" not in rule for rule in _rules_of(each)) and not own_kafka:
            yield f"{title(each)}: a rule without ports allows all of them"


def _rules_of(policy: Manifest) -> list[Manifest]:
    return [*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())]


def _secret_sources(pod: Manifest) -> Iterator[Manifest]:
    for volume in pod.get("volumes", ()):
        for source in volume.get("projected", {}).get("sources", ()):
            if "secret" in source:
                yield source["secret"]


def _secret_files(pod: Manifest) -> Iterator[str]:
    """Names of the files that are there for certain."""
    for source in _secret_sources(pod):
        if not source.get("optional"):
            yield from (item["path"] for item in source.get("items", ()))


def _loaded(settings: type[ServiceSettings], environment: Mapping[str, str]) -> ServiceSettings:
    """As a process with nothing but this environment reads them; raises ValidationError."""
    given: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    return settings(_env_prefix="NOT_OF_THIS_PROCESS_", **given)


RULES: Final[tuple[Rule, ...]] = (
    _images,
    _least_rights,
    _secrets_are_files,
    _probes,
    _resources,
    _rollout,
    _requests_end,
    _settings,
    _known_settings,
    _secrets_arrive,
    _users,
    _topics,
    _scaling,
    _network,
)
