"""The release before this one, as upgrade tests run it beside this one: its tree, out of the history."""

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from stack.jars import locked

HOME: Final = Path(__file__).parents[3]
NAMED: Final = HOME / "deploy" / "previous-release"
"""Holds the commit that was released last; a release puts its own there."""
PARTS: Final = ("contracts", "services")


class ReleaseMissing(Exception):
    """The history here does not reach back to the last release; the message says what to do."""


def previous() -> Path:
    """A folder with the contracts and services of the last release, taken once; raises ReleaseMissing."""
    commit = NAMED.read_text().strip()
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(root) / "segue" / f"release-{commit[:12]}"
    with locked("release"):  # test workers come here at once
        if not (kept / "taken").exists():
            _take(commit, kept)
    return kept


def python_path(tree: Path) -> str:
    """A PYTHONPATH by which processes run this tree's code instead of what is installed."""
    services = sorted(path for path in (tree / "services").iterdir() if path.is_dir())
    return os.pathsep.join(map(str, (tree / "contracts", *services)))


def _take(commit: str, folder: Path) -> None:
    command = ["git", "-C", str(HOME), "archive", commit, *PARTS]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise ReleaseMissing(
            f"{NAMED} names {commit}, which is not here: git fetch --unshallow. {done.stderr.decode()[-200:]}"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "taken").touch()
