"""One folder a run, and how `down` finds the launcher and no other process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.launched import FolderInUse, end, run_folder, running

LAUNCHER = """
import sys, time
from pathlib import Path
from stack.launched import run_folder
with run_folder(Path(sys.argv[1])):
    print("on", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", LAUNCHER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        yield process
        process.kill()


def test_a_running_launcher_is_found_and_ended(launcher: subprocess.Popen[str], tmp_path: Path) -> None:
    assert running(tmp_path) == {tmp_path: launcher.pid}
    assert end(tmp_path, launcher.pid, seconds=10)
    assert running(tmp_path) == {}
    assert launcher.wait(10) != 0


def test_a_killed_launcher_leaves_a_mark_that_names_nobody(
    launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    launcher.kill()
    launcher.wait(10)
    assert (tmp_path / "launcher.pid").read_text() == str(launcher.pid)
    assert running(tmp_path) == {}


def test_two_runs_never_share_a_folder(launcher: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(FolderInUse, match="in use"), run_folder(tmp_path):
        pass


def test_a_run_does_not_begin_on_the_data_of_an_earlier_one(tmp_path: Path) -> None:
    with run_folder(tmp_path) as folder:
        assert running(folder) == {folder: os.getpid()}
    with pytest.raises(FolderInUse, match="earlier run"), run_folder(tmp_path):
        pass


def test_without_a_choice_each_run_has_a_folder_of_its_own() -> None:
    with run_folder(None) as first, run_folder(None) as second:
        assert first != second
        assert {first, second} <= set(running(None))
