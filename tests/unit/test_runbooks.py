"""The runbooks are whole: a page for each alert, the same sections, and names that a cluster has."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from chassis.restored import LONG_AWAY, why_not
from segue_contracts.events import Outcome, StageOutcome
from segue_contracts.topics import TOPICS
from sender.model import State
from sender.restore import Known, standing
from stack.cluster import DEPLOYMENTS, Cluster
from stack.processes import Process
from stack.runbooks import HOUSE, PAGES, SECTIONS, blocks
from stack.system import System

PAGE = sorted(page for page in PAGES.glob("*.md") if page.name != "README.md")
INDEX = (PAGES / "README.md").read_text()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ID = UUID(int=1)


@pytest.mark.parametrize("page", PAGE, ids=lambda page: page.stem)
def test_a_page_says_how_to_look_what_to_do_and_when_it_is_over(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    assert tuple(each for each in headings if each in SECTIONS) == SECTIONS
    assert blocks(page)
    assert f"({page.name})" in INDEX


def test_every_alert_has_a_page() -> None:
    rules = [yaml.safe_load(file.read_text()) for file in (HOUSE / "deploy/monitoring/rules").glob("*.yaml")]
    alerts = {
        rule["alert"]: Path(rule["annotations"]["runbook_url"]).name
        for file in rules
        for group in file["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    rows = dict(re.findall(r"^\| (Segue\w+) \| \[[^\]]+\]\(([^)]+)\) \|$", INDEX, re.MULTILINE))
    assert alerts == rows
    for alert, page in rows.items():
        assert alert in (PAGES / page).read_text()


def deployments() -> Iterator[dict[str, Any]]:
    for file in (HOUSE / "deploy/k8s/base").glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            # `every` is what all of them have in common.
            if document and document["kind"] == "Deployment" and document["metadata"]["name"] != "every":
                yield document


def test_the_stand_in_knows_the_deployments_of_a_cluster_and_no_others() -> None:
    assert {each["metadata"]["name"] for each in deployments()} == set(DEPLOYMENTS)


def test_every_topic_that_a_page_names_is_there() -> None:
    known = {topic.name for topic in TOPICS}
    for page in PAGE:
        assert set(re.findall(r"segue\.[a-z.]+\.v\d", page.read_text())) <= known


# ---- a restored database is noticed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "remembered", "noticed"),
    [
        (None, None, False),  # a new database
        (NOW, NOW, False),
        (NOW, NOW - timedelta(days=1), False),
        (NOW - timedelta(days=1), NOW, True),  # a backup
        (None, NOW, True),  # one from before there were marks, or an empty database
        (NOW - timedelta(minutes=1), None, False),  # the brokers lost everything
        (NOW - LONG_AWAY - timedelta(minutes=1), None, True),  # both, or one of them long ago
    ],
)
def test_a_database_that_ends_before_what_the_brokers_remember_is_noticed(
    at: datetime | None, remembered: datetime | None, noticed: bool
) -> None:
    assert (why_not(at, remembered, NOW) is not None) is noticed


# ---- what a restored delivery is ----------------------------------------------------------------


def said(kind: Outcome, attempt: int) -> StageOutcome:
    when = {"occurred_at": NOW, "recorded_at": NOW}
    return StageOutcome(
        event_type=kind,
        event_id=ID,
        workspace_id=ID,
        enrollment_id=ID,
        stage_id="one",
        attempt=attempt,
        **when,
    )


@pytest.mark.parametrize(
    ("attempt", "outcomes", "state"),
    [
        (1, [], State.IN_DOUBT),  # asked for, and nobody said what became of it
        (1, [(Outcome.SENT, 1)], State.SENT),
        (2, [(Outcome.DEFERRED, 1)], State.IN_DOUBT),
        (2, [(Outcome.DEFERRED, 1), (Outcome.WITHDRAWN, 2)], State.RELEASED),
        (2, [(Outcome.IN_DOUBT, 1), (Outcome.SENT, 2)], State.SENT),
        (1, [(Outcome.IN_DOUBT, 1)], State.IN_DOUBT),
        (1, [(Outcome.RECALLED, 0)], State.IN_DOUBT),  # which is said also when it was too late
        (0, [(Outcome.DEFERRED, 3)], State.DEFERRED),
    ],
)
def test_a_restored_delivery_is_never_sent_again_unless_it_is_known_that_it_was_not(
    attempt: int, outcomes: list[tuple[Outcome, int]], state: State
) -> None:
    known = Known(ID, "one", ID, attempt, [said(*each) for each in outcomes])
    assert standing(known, manual=False).state is state


def test_a_lost_task_is_opened_again() -> None:
    known = Known(ID, "ring", ID, 1, [said(Outcome.TASK_OPENED, 1)])
    found = standing(known, manual=True)
    assert (found.state, found.attempt) == (State.RELEASED, 1)


# ---- the stand-in -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "get deployments",  # without a namespace
        "-n default get deployments",
        "-n segue scale deployment/segue-nobody --replicas=1",
        "-n segue scale segue-sender --replicas=1",
        "-n segue exec deployment/segue-sender python",
        "-n segue apply -f -",
        "-n segue rollout undo deployment/segue-sender",
        "-n segue get pods",
        "-n segue logs job/nobodys",
    ],
)
def test_the_stand_in_refuses_what_a_cluster_would_or_what_it_does_not_know(
    tmp_path: Path, line: str
) -> None:
    sender = Process("sender", ["true"], log_folder=tmp_path)
    told = Cluster(System(tmp_path, "", {}, {"sender": sender})).answer(line.split(), "")
    assert told.code == 1
    assert told.err
