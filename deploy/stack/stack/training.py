"""Makes the JVM's start-up archive once per user, which more than halves every later start of Kafka."""

import contextlib
import signal
import tempfile
from pathlib import Path

from stack import jars
from stack.jars import Progress
from stack.local_kafka import LocalKafka
from stack.processes import ProcessFailed

ARCHIVE_SECONDS = 120.0  # at its end the JVM writes the archive: ten seconds on two idle cores


def train(progress: Progress = lambda _: None) -> None:
    """Start and stop one node so that the JVM records what it loads; does nothing when that was done before.

    Takes ten seconds, so it pays where Kafka starts often (tests), not before a first demo. Without the
    archive everything works, only more slowly; hence a failure here is reported and forgotten.
    """
    with jars.locked("training"):
        if jars.archive().exists():
            return
        progress("recording how Kafka starts, to make every later start faster (once)")
        with tempfile.TemporaryDirectory(dir=jars.cache_folder(), prefix="training-") as folder:
            try:
                _record(Path(folder), progress)
            except (ProcessFailed, OSError) as error:
                progress(f"no start-up archive: {error}")


def _record(folder: Path, progress: Progress) -> None:
    recorded = folder / "start.aot"
    kafka = LocalKafka(
        folder, jvm_flags=[f"-XX:AOTCacheOutput={recorded}"], stop_seconds=ARCHIVE_SECONDS, progress=progress
    )
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(kafka.kill)
        kafka.start()
        kafka.stop()
    if kafka.process.returncode == -signal.SIGKILL:
        raise ProcessFailed("the JVM did not finish its archive in time")
    recorded.rename(jars.archive())
