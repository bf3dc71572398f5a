"""Everything that is held against what we deploy without a cluster, in a few seconds."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml
from jsonschema import Draft202012Validator

from stack.manifests import generated, rules, schemas
from stack.manifests.generated import DEPLOY
from stack.manifests.rendering import OVERLAYS, Manifest, rendered

DOCKERFILE: Final = DEPLOY / "docker" / "Dockerfile"
COMPOSE: Final = DEPLOY / "compose.yaml"
COMPOSE_SPECIFICATION: Final = Path(__file__).with_name("compose-spec.json")
"""Source: https://github.com/compose-spec/compose-spec, schema/compose-spec.json, Apache-2.0."""
UNPINNED: Final = frozenset({"dev"})
TOOL_SECONDS: Final = 60


def problems() -> Iterator[str]:
    """One line for whatever is wrong; raises RenderFailed, NodeMissing."""
    yield from generated.stale()
    yield from dockerfile_problems(DOCKERFILE)
    yield from compose_problems(COMPOSE)
    for overlay in OVERLAYS:
        found = overlay_problems(rendered(overlay), is_pinned=overlay not in UNPINNED)
        yield from (f"{overlay}: {problem}" for problem in found)


def overlay_problems(manifests: list[Manifest], *, is_pinned: bool) -> Iterator[str]:
    """One line for each object that is refused; promises are looked at only where all have their shape."""
    misshapen = list(schemas.problems(manifests))
    yield from misshapen or rules.problems(manifests, is_pinned=is_pinned)


def dockerfile_problems(file: Path) -> Iterator[str]:
    """What hadolint says."""
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), file],
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        yield from (line for line in (done.stdout + done.stderr).splitlines() if line.strip())


def compose_problems(file: Path) -> Iterator[str]:
    """What the schema of compose files says."""
    schema = Draft202012Validator(json.loads(COMPOSE_SPECIFICATION.read_text()))
    for error in schema.iter_errors(yaml.safe_load(file.read_text())):
        yield f"{file.name}: {error.json_path.removeprefix('$.')}: {error.message[:300]}"
