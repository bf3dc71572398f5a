"""The AsyncAPI document is held against the parser of those who define the format."""

import shutil
import subprocess
from pathlib import Path

import pytest

from segue_contracts import schemas
from stack import node


def errors(packages: Path, document: Path) -> list[str]:
    """What is wrong with a document."""
    command: list[str | Path] = [node.node(), packages / "asyncapi.js", document]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_the_document_is_valid(node_packages: Path) -> None:
    assert errors(node_packages, schemas.HOME / "asyncapi.yaml") == []


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ('"action": "send"', '"action": "shout"', "operations"),
        ("#/channels/segue.enrollment.events.v1", "#/channels/segue.enrolment.events.v1", "operations"),
        ("./schemas/segue.stage.due.v1.json", "./schemas/segue.stage.dew.v1.json", "components"),
    ],
    ids=["action", "channel", "schema"],
)
def test_a_mistake_is_found(node_packages: Path, tmp_path: Path, right: str, wrong: str, place: str) -> None:
    shutil.copytree(schemas.HOME / "schemas", tmp_path / "schemas")
    document = (schemas.HOME / "asyncapi.yaml").read_text()
    assert right in document
    (tmp_path / "asyncapi.yaml").write_text(document.replace(right, wrong))
    assert any(line.startswith(place) for line in errors(node_packages, tmp_path / "asyncapi.yaml"))
