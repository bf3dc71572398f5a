"""Node and the packages that tests run on it, as tests/node/package-lock.json pins them."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parents[3] / "tests" / "node"
PACKAGES: Final = ("nodejs", "npm")
INSTALL_SECONDS: Final = 300


class NodeMissing(Exception):
    """There is no Node here, or its packages could not be fetched; the message says what to do."""


def node() -> str:
    """The runtime's path."""
    return _command("node")


def packages() -> Path:
    """A folder with tests/node and its `node_modules`, fetched once a version; raises NodeMissing."""
    npm, lock = _command("npm"), SOURCES / "package-lock.json"
    version = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(root) / "segue" / f"node-{version}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # test workers come here at once
        for file in SOURCES.iterdir():
            if file.is_file():
                shutil.copy(file, kept / file.name)
        if not (kept / "installed").exists():
            _install(npm, kept)
    return kept


def _install(npm: str, folder: Path) -> None:
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if done.returncode != 0:
        raise NodeMissing(f"npm ci failed in {folder}: {done.stderr[-400:]}")
    (folder / "installed").touch()


def _command(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NodeMissing(f"There is no {name} here: apt-get install -y {' '.join(PACKAGES)}")
    return path
