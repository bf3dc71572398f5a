"""Alerts, dashboards and their page: each alert fires and stays quiet, and all they ask for is measured."""

import importlib
import json
import pkgutil
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

import api
import chassis
import reply_detector
import scheduler
import sender
from chassis.telemetry import REGISTRY

HOUSE = Path(__file__).parents[2]
MONITORING = HOUSE / "deploy" / "monitoring"
RULES = MONITORING / "rules" / "segue.yaml"
RULES_TESTS = MONITORING / "tests" / "segue.yaml"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
PAGE = HOUSE / "docs" / "observability.md"

ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
OF_EVERY_SCRAPE = {"job", "instance", "le"}
NOT_OURS = {"up": set(), "ALERTS": {"alertname", "alertstate"}}


def measured() -> dict[str, MetricWrapperBase]:
    """Every metric of every service, by name."""
    for package in (chassis, scheduler, sender, reply_detector, api):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith("__main__"):
                importlib.import_module(info.name)
    collectors = list(REGISTRY._collector_to_names)
    ours = [each for each in collectors if isinstance(each, MetricWrapperBase)]
    return {each._name: each for each in ours if not each._name.startswith("segue_test_")}


def sample_names() -> dict[str, set[str]]:
    """The names that a query may use, with their labels."""
    found: dict[str, set[str]] = dict(NOT_OURS)
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    for name, metric in measured().items():
        found |= {name + ending: set(metric._labelnames) for ending in endings[str(metric._type)]}
    of_the_process = {family.name: set[str]() for family in REGISTRY.collect() if "process_" in family.name}
    return found | of_the_process | {"process_cpu_seconds_total": set()}


def expressions() -> Iterator[tuple[str, str]]:
    """Each query of the alerts and the dashboards, by where it stands."""
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{file.stem}: {panel['title']}", target["expr"]


def with_values(expression: str) -> str:
    """A panel's query with something in the place of Grafana's variables."""
    for name in ("$__rate_interval", "$__range"):
        expression = expression.replace(name, "5m")
    return re.sub(r"\$[a-z]+", "some", expression)


@pytest.fixture(scope="module")
def promtool() -> str:
    """Skips where Debian's package is missing."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    return found


@pytest.fixture(scope="module")
def amtool() -> str:
    """Skips where Debian's package is missing."""
    found = shutil.which("amtool")
    if found is None:
        pytest.skip("amtool is missing: apt-get install prometheus-alertmanager")
    return found


def run(*command: str | Path) -> str:
    """What a tool says; fails with it."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- alerts -------------------------------------------------------------------------------------------


def test_every_alert_fires_and_stays_quiet(promtool: str) -> None:
    run(promtool, "check", "rules", RULES)
    run(promtool, "test", "rules", RULES_TESTS)
    tested = [each["name"] for each in yaml.safe_load(RULES_TESTS.read_text())["tests"]]
    assert tested == [f"{a['alert']} {does}" for a in ALERTS for does in ("fires", "stays quiet")]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_the_matter_and_where_it_is_written_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description", "runbook_url"} == alert["annotations"].keys()
    assert (HOUSE / alert["annotations"]["runbook_url"]).is_file()
    assert f"`{alert['alert']}`" in PAGE.read_text()


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "now"), ("warning", "morning")])
def test_what_is_critical_wakes_somebody_and_the_rest_waits(
    amtool: str, severity: str, receiver: str
) -> None:
    config = f"--config.file={MONITORING / 'alertmanager.yaml'}"
    run(amtool, "check-config", MONITORING / "alertmanager.yaml")
    run(amtool, "config", "routes", "test", config, f"--verify.receivers={receiver}", f"severity={severity}")


def test_prometheus_scrapes_every_process_that_an_alert_asks_for(promtool: str) -> None:
    run(promtool, "check", "config", "--syntax-only", MONITORING / "prometheus.yaml")
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    asked = set(re.findall(r'job="([^"]+)"', RULES.read_text()))
    assert asked == {each["job_name"] for each in config["scrape_configs"]}


# ---- queries ------------------------------------------------------------------------------------------


def test_prometheus_understands_every_panel(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "labels": {"panel": where}, "expr": with_values(expression)}
        for number, (where, expression) in enumerate(expressions())
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run(promtool, "check", "rules", file)


def test_what_alerts_and_dashboards_ask_for_some_service_measures() -> None:
    known = sample_names()
    for where, expression in expressions():
        asked = set(re.findall(r"\b(?:segue|process)_[a-z_]+|\bup\b|\bALERTS\b", expression))
        assert asked, where
        assert asked <= known.keys(), where
        for name, selector in re.findall(r"\b([a-zA-Z_]+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"([a-z_]+) *(?:=~|!~|!=|=)", selector))
            assert labels <= known[name] | OF_EVERY_SCRAPE, (where, name)
        having = set.union(OF_EVERY_SCRAPE, *(known[name] for name in asked))
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
            assert set(re.findall(r"[a-z_]+", group)) <= having, where


def test_a_dashboard_has_a_name_of_its_own_and_lets_people_choose_the_data_source() -> None:
    read = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert {each["uid"] for each in read} == {
        "segue-health",
        "segue-mailbox",
        "segue-sequence",
        "segue-capacity",
    }
    for each in read:
        targets = [target for panel in each["panels"] for target in panel.get("targets", ())]
        assert {target["datasource"]["uid"] for target in targets} == {"${datasource}"}


# ---- the page -----------------------------------------------------------------------------------------


def test_the_page_lists_every_metric_as_it_is() -> None:
    """What is missing or wrong is told as the line that belongs there."""
    rows = {
        f"| `{name}` | {metric._type} | {', '.join(metric._labelnames)} | {metric._documentation} |"
        for name, metric in measured().items()
    }
    told = {line for line in PAGE.read_text().splitlines() if line.startswith("| `segue_")}
    assert told == rows
