"""All of Segue as processes on this machine: four services over given brokers, one clock, one mail server."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from stack.brokers import Brokers
from stack.ports import free_port
from stack.processes import Process, http_ok, stop_all, supervise

SERVICES = ("scheduler", "sender", "reply_detector", "api")
WATCHER = "watcher"
COMMANDS = {WATCHER: ("reply_detector", "watch")}
"""What is not a service of its own: a second process of one."""
ALLOWED_NETWORKS = "127.0.0.0/8"
START_SECONDS = 60.0
RESTART_SECONDS = 0.5
SECRET_KEY = "a key for one machine and one run, not for production"  # noqa: S105 - nothing outlives the run


@dataclass(frozen=True, slots=True)
class Access:
    """A workspace of its own and the key to it."""

    workspace_id: UUID
    api_key: str


@dataclass(slots=True)
class System:
    """The running services by name (`sender`, and `sender-2` for a second one); `url` is the first API."""

    folder: Path
    url: str
    environment: Mapping[str, str]
    processes: dict[str, Process] = field(default_factory=dict)

    def bootstrap(self, workspace: str, email: str) -> Access:
        """Make a workspace with its first user and key."""
        told = run_api(self.environment, "bootstrap", "--workspace", workspace, "--email", email)
        return Access(UUID(told["workspace_id"]), told["api_key"])

    def plan_fault(self, name: str, point: str, do: str = "kill", nth: int = 1) -> None:
        """The next (or nth) time that this process passes the point, it does that: see `chassis.faults`.

        Only in a system started with `faults`. A process that ends is started again without.
        """
        unfinished = self._faults(name).with_suffix(".new")
        unfinished.write_text(json.dumps([{"point": point, "do": do, "nth": nth}]))
        unfinished.rename(self._faults(name))

    def forget_faults(self, name: str) -> None:
        """Whatever was planned for this process is not."""
        self._faults(name).unlink(missing_ok=True)

    def _faults(self, name: str) -> Path:
        return self.folder / f"{name}.faults.json"


@contextmanager
def system(
    folder: Path,
    brokers: Brokers,
    *,
    clock_speed: float = 1.0,
    settings: Mapping[str, str] | None = None,
    instances: Mapping[str, int] | None = None,
    supervised: bool = False,
    faults: bool = False,
    watcher: bool = False,
    settings_of: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[System]:
    """Start the services, wait until each is ready, stop them at the end, the API first.

    `settings` are further environment variables, `settings_of` those of one service, `instances` how many of
    it (one, if not named).
    `supervised`: a process that ends is started again, as Kubernetes does. `faults`: it may be told to kill
    itself. `watcher`: with the mailbox watcher, for mailboxes that have an IMAP server. Database and topics
    are named anew at every start, so that several systems can share brokers.
    """
    name = f"s{uuid4().hex[:10]}"
    api_port, scheduler_port = free_port(), free_port()
    environment = {
        **os.environ,
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": brokers.kafka,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{name}.",
        "SEGUE_MONGODB_URI": brokers.mongodb,
        "SEGUE_MONGODB_DATABASE": name,
        "SEGUE_SECRET_KEYS": SECRET_KEY,
        "SEGUE_ALLOWED_PRIVATE_NETWORKS": ALLOWED_NETWORKS,  # where all the servers of users are
        "SEGUE_CLOCK_SPEED": str(clock_speed),
        "SEGUE_CLOCK_ORIGIN": datetime.now(UTC).isoformat(),
        "SEGUE_PUBLIC_URL": f"http://127.0.0.1:{api_port}",
        # To be anybody is for one machine: not where a public address is played.
        "SEGUE_SIGN_IN": "none" if "SEGUE_PUBLIC_URL" in (settings or {}) else "dev",
        # One key does here what a whole organisation does elsewhere.
        "SEGUE_KEY_REQUESTS_PER_SECOND": "2000",
        "SEGUE_KEY_BURST": "20000",
        "SEGUE_SCHEDULER_URL": f"http://127.0.0.1:{scheduler_port}",
        **(settings or {}),
    }
    running = System(folder, f"http://127.0.0.1:{api_port}", environment)
    for service in (*SERVICES, WATCHER) if watcher else SERVICES:
        for number in range(1, (instances or {}).get(service, 1) + 1):
            each = service if number == 1 else f"{service}-{number}"
            port = {"api": api_port, "scheduler": scheduler_port}.get(each) or free_port()
            env = {**environment, **(settings_of or {}).get(service, {}), "SEGUE_HTTP_PORT": str(port)}
            if faults:
                env |= {"SEGUE_ALLOW_FAULTS": "1", "SEGUE_FAULTS": f"@{running._faults(each)}"}
            running.processes[each] = _process(each, service, folder, env, port)
    with ExitStack() as stopping:
        stopping.callback(lambda: stop_all(list(reversed(running.processes.values()))))
        for process in running.processes.values():
            process.launch()
        for process in running.processes.values():
            process.wait_until_ready()
        if supervised:
            stopping.enter_context(_supervised(running))
        yield running


def _process(name: str, service: str, folder: Path, env: Mapping[str, str], port: int) -> Process:
    return Process(
        name,
        [sys.executable, "-m", *COMMANDS.get(service, (service,))],
        log_folder=folder / "logs",
        env=env,
        ready=http_ok(f"http://127.0.0.1:{port}/health/ready"),
        start_seconds=START_SECONDS,
        stop_seconds=100.0,
    )


@contextmanager
def _supervised(running: System) -> Iterator[None]:
    """Whatever ends is started again, with nothing planned for it any more."""
    stop = threading.Event()
    thread = threading.Thread(
        target=lambda: supervise(
            list(running.processes.values()),
            stop,
            restart_after_seconds=RESTART_SECONDS,
            on_exit=lambda process: running.forget_faults(process.name),
        ),
        name="supervisor",
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run_api(environment: Mapping[str, str], *arguments: str) -> dict[str, str]:
    """What a command of the API's command line prints, as JSON; RuntimeError with its words if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"api {arguments[0]} failed: {done.stderr.strip()}")
    told: dict[str, str] = json.loads(done.stdout)
    return told
