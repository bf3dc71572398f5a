"""Starts, watches and stops child processes so that whatever ends the launcher leaves nothing behind."""

import contextlib
import http.client
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from stack import ports

log = logging.getLogger(__name__)

LEASH = Path(__file__).with_name("leash.py")
POLL_SECONDS = 0.05
PROBE_SECONDS = 2.0
TAIL_LINES = 25
TAIL_BYTES = 64 * 1024

Ready = Callable[[], bool]


class ProcessFailed(RuntimeError):
    """A child process ended or did not become ready; the message quotes the end of its log."""


def tcp(port: int, host: str = "127.0.0.1") -> Ready:
    """Ready once something accepts connections on the port."""
    return lambda: ports.is_open(port, host)


def http_ok(url: str) -> Ready:
    """Ready once a GET of the URL is answered with a 2xx status."""
    parts = urllib.parse.urlsplit(url)
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))

    def answered() -> bool:
        connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=PROBE_SECONDS
        )
        try:
            connection.request("GET", target)
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return answered


def wait_until(ready: Ready, seconds: float) -> bool:
    """Ask again and again; False when the deadline passed first."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Process:
    """One child process in a group of its own, its output in `<log_folder>/<name>.log`; may be started again
    and again.

    `env` is added to the launcher's environment; it, `command` and `ready` may be changed between two starts.
    Every method blocks for as long as its deadline says; none may be called from two threads at once.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_folder: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Ready | None = None,
        start_seconds: float = 30.0,
        stop_seconds: float = 15.0,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.env = dict(env or {})
        self.cwd = cwd
        self.log_file = log_folder / f"{name}.log"
        self.starts = 0
        self.ready = ready
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Launch it and wait until it is ready; raises ProcessFailed, with the process gone, when it does not
        get there.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it without waiting, so that several may start at once."""
        if self.alive:
            raise RuntimeError(f"{self.name} runs already")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self._log_start = output.tell()
            self._child = _spawn(self.command, output, {**os.environ, **self.env}, self.cwd)
        self.starts += 1

    def wait_until_ready(self, seconds: float | None = None) -> None:
        """Wait for the readiness check; raises ProcessFailed when the process ends first or the deadline
        passes.
        """
        limit = self._start_seconds if seconds is None else seconds
        deadline = time.monotonic() + limit
        while self.ready is not None:
            if not self.alive:
                raise self._failure(f"ended with {self.returncode} before it was ready")
            if self.ready():
                return
            if time.monotonic() > deadline:
                self.kill()
                raise self._failure(f"was not ready after {limit:g} s")
            self.wait(POLL_SECONDS)

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL once the deadline has passed; returns the exit code. Harmless when it does
        not run.
        """
        self.terminate()
        return self.wait_or_kill()

    def terminate(self) -> None:
        """Ask it to end, without waiting; a paused one is resumed, because it could not hear the request."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def wait_or_kill(self, seconds: float | None = None) -> int | None:
        """Wait for the end of a process that was asked to end; kill it once the deadline has passed."""
        if self.wait(self._stop_seconds if seconds is None else seconds) is None and self.alive:
            log.warning("process killed, it did not stop in time", extra={"child": self.name})
            self.kill()
        return self.returncode

    def kill(self) -> None:
        """SIGKILL to the whole group, and wait until it is gone: the power cut of the chaos tests."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it if it runs, then start it and wait until it is ready."""
        self.stop()
        self.start()

    def wait(self, seconds: float) -> int | None:
        """The exit code, or None when it still runs (or never ran) after that time."""
        if self._child is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout=seconds)
        return None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group; raises RuntimeError before the first start."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs or before it ever ran; the negative signal number when a signal ended it."""
        return None if self._child is None else self._child.poll()

    def log_text(self) -> str:
        """What it wrote since its last start, at most the last 64 KiB."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - TAIL_BYTES))
            return file.read().decode(errors="replace")

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines it wrote since its last start."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def _failure(self, what: str) -> ProcessFailed:
        return ProcessFailed(f"{self.name} {what}; the end of {self.log_file}:\n{self.log_tail()}")


def stop_all(processes: Iterable[Process]) -> None:
    """Ask all of them to end at once, then wait for each within its own deadline."""
    asked = list(processes)
    for process in asked:
        process.terminate()
    for process in asked:
        process.wait_or_kill()


def supervise(
    processes: Sequence[Process],
    stop: threading.Event,
    *,
    restart_after_seconds: float = 1.0,
    on_exit: Callable[[Process], None] = lambda _: None,
) -> None:
    """Until `stop` is set: launch again, after a pause, every process that has ended; `on_exit` hears of each
    end.

    It does what Kubernetes does for the services, which end themselves rather than limp.
    """
    down_since: dict[str, float] = {}
    while not stop.wait(POLL_SECONDS):
        for process in processes:
            if process.alive:
                continue
            if process.name not in down_since:
                on_exit(process)
            if (
                time.monotonic() - down_since.setdefault(process.name, time.monotonic())
                >= restart_after_seconds
            ):
                del down_since[process.name]
                process.launch()


def _spawn(
    command: Sequence[str], output: IO[bytes], env: Mapping[str, str], cwd: Path | None
) -> subprocess.Popen[bytes]:
    leashed = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *command]

    def popen() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            leashed,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,  # Ctrl-C is for the launcher, which stops its children in stages
        )

    return _Spawner.shared().run(popen)


class _Spawner:
    """The one thread that starts children.

    The kernel sends the parent-death signal when the *thread* that started the child ends, so a child started
    from an executor or a test's thread would die with it; this one lives as long as the program.
    """

    _lock = threading.Lock()
    _instance: "_Spawner | None" = None

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._jobs: queue.SimpleQueue[
            tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]
        ]
        self._jobs = queue.SimpleQueue()
        threading.Thread(target=self._work, name="stack-spawner", daemon=True).start()

    @classmethod
    def shared(cls) -> "_Spawner":
        with cls._lock:
            if (
                cls._instance is None or cls._instance._owner != os.getpid()
            ):  # a fork has no copy of the thread
                cls._instance = cls()
            return cls._instance

    def run(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        result: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((job, result))
        return result.result()

    def _work(self) -> None:
        while True:
            job, result = self._jobs.get()
            try:
                result.set_result(job())
            except Exception as error:  # noqa: BLE001  (carried to the caller, who raises it)
                result.set_exception(error)
