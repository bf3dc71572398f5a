"""What is written by a program and checked in: topics, users, roles and alerts."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from stack.manifests import kafka, mongodb

DEPLOY: Final = Path(__file__).parents[3]
COMPONENTS: Final = DEPLOY / "k8s" / "components"
MONITORING: Final = DEPLOY / "monitoring"
_DASHBOARDS: Final = MONITORING / "grafana" / "dashboards"
HOW: Final = "python -m stack.manifests --write"
HEADER: Final = f"# Written by `{HOW}`; never by hand.\n"


def files() -> dict[Path, str]:
    """Each generated file with what it should hold."""
    return {
        COMPONENTS / "strimzi" / "topics.yaml": _yaml(kafka.topic_manifests()),
        COMPONENTS / "strimzi" / "users.yaml": _yaml(kafka.user_manifests()),
        COMPONENTS / "monitoring" / "rules.yaml": _yaml([_alerts(sorted(MONITORING.glob("rules/*.yaml")))]),
        COMPONENTS / "monitoring" / "dashboards.yaml": _yaml(
            map(_dashboard, sorted(_DASHBOARDS.glob("*.json")))
        ),
        DEPLOY / "mongodb" / "roles.json": json.dumps(mongodb.roles(), indent=1) + "\n",
    }


def write() -> None:
    """Write all of them."""
    for file, text in files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def stale() -> list[str]:
    """One line for each file that is not as it should be."""
    return [
        f"{file.relative_to(DEPLOY.parent)} is not current: {HOW}"
        for file, text in files().items()
        if not file.exists() or file.read_text() != text
    ]


def _alerts(rules: Iterable[Path]) -> dict[str, Any]:
    """Prometheus' rules as the object that its operator reads."""
    groups = [group for file in rules for group in yaml.safe_load(file.read_text())["groups"]]
    metadata = {"name": "segue", "labels": {"app.kubernetes.io/part-of": "segue"}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": groups},
    }


def _dashboard(file: Path) -> dict[str, Any]:
    """Found by the label, which is the default of the sidecar that comes with Grafana's chart."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"segue-dashboard-{file.stem}", "labels": {"grafana_dashboard": "1"}},
        "data": {file.name: json.dumps(json.loads(file.read_text()), separators=(",", ":"))},
    }


def _yaml(documents: Iterable[dict[str, Any]]) -> str:
    return HEADER + yaml.safe_dump_all(documents, sort_keys=False, width=110, allow_unicode=True)
