"""The folder of one run, and how another command finds what runs in it."""

import contextlib
import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "segue-"
MARK = "launcher.pid"
LOOK_SECONDS = 0.1


class FolderInUse(RuntimeError):
    """Another run keeps, or kept, its data there."""


@contextlib.contextmanager
def run_folder(chosen: Path | None) -> Iterator[Path]:
    """Where one run keeps data and logs: the chosen folder, or a new one among the temporary files.

    It holds the launcher's process id, locked for as long as the launcher lives: however that ends, nobody
    takes a later process with the same number for it. Raises FolderInUse.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)) if chosen is None else chosen.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / MARK).open("a+") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(f"{folder} is in use: choose another one, or run `make down`") from None
        if mark.tell():
            raise FolderInUse(f"{folder} holds an earlier run: choose another one, or remove it")
        mark.truncate(0)
        mark.write(str(os.getpid()))
        mark.flush()
        yield folder


def running(chosen: Path | None) -> dict[Path, int]:
    """The launchers that live, by folder: in the chosen one, or in all of this machine's temporary ones."""
    folders = Path(tempfile.gettempdir()).glob(f"{PREFIX}*") if chosen is None else [chosen.resolve()]
    found = {folder: _launcher(folder / MARK) for folder in folders}
    return {folder: pid for folder, pid in found.items() if pid is not None}


def end(folder: Path, pid: int, seconds: float) -> bool:
    """Ask a launcher to stop all it started and wait for it; False if it was still there after that time."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    while _launcher(folder / MARK) == pid:
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _launcher(mark: Path) -> int | None:
    """The process id in a locked mark; None for one that nobody holds, or that is not ours to read."""
    with contextlib.suppress(OSError), mark.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None
