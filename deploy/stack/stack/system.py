"""All of Segue as processes on this machine: four services over given brokers, one clock, one mail server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from stack.brokers import Brokers
from stack.ports import free_port
from stack.processes import Process, http_ok, stop_all

SERVICES = ("scheduler", "sender", "reply_detector", "api")
START_SECONDS = 60.0
SECRET_KEY = "a key for one machine and one run, not for production"  # noqa: S105 - nothing outlives the run


@dataclass(frozen=True, slots=True)
class Access:
    """A workspace of its own and the key to it."""

    workspace_id: UUID
    api_key: str


@dataclass(slots=True)
class System:
    """The running services by name; `url` is the API."""

    folder: Path
    url: str
    environment: Mapping[str, str]
    processes: dict[str, Process] = field(default_factory=dict)

    def bootstrap(self, workspace: str, email: str) -> Access:
        """Make a workspace with its first user and key."""
        told = run_api(self.environment, "bootstrap", "--workspace", workspace, "--email", email)
        return Access(UUID(told["workspace_id"]), told["api_key"])


@contextmanager
def system(
    folder: Path,
    brokers: Brokers,
    *,
    clock_speed: float = 1.0,
    settings: Mapping[str, str] | None = None,
) -> Iterator[System]:
    """Start the services, wait until each is ready, stop them at the end, the API first.

    `settings` are further environment variables. Database and topics are named anew at every start, so that
    several systems can share brokers.
    """
    name = f"s{uuid4().hex[:10]}"
    api_port = free_port()
    environment = {
        **os.environ,
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": brokers.kafka,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{name}.",
        "SEGUE_MONGODB_URI": brokers.mongodb,
        "SEGUE_MONGODB_DATABASE": name,
        "SEGUE_SECRET_KEYS": SECRET_KEY,
        "SEGUE_CLOCK_SPEED": str(clock_speed),
        "SEGUE_CLOCK_ORIGIN": datetime.now(UTC).isoformat(),
        "SEGUE_PUBLIC_URL": f"http://127.0.0.1:{api_port}",
        **(settings or {}),
    }
    running = System(folder, f"http://127.0.0.1:{api_port}", environment)
    for service in SERVICES:
        port = api_port if service == "api" else free_port()
        running.processes[service] = Process(
            service,
            [sys.executable, "-m", service],
            log_folder=folder / "logs",
            env={**environment, "SEGUE_HTTP_PORT": str(port)},
            ready=http_ok(f"http://127.0.0.1:{port}/health/ready"),
            start_seconds=START_SECONDS,
            stop_seconds=100.0,
        )
    try:
        for process in running.processes.values():
            process.launch()
        for process in running.processes.values():
            process.wait_until_ready()
        yield running
    finally:
        stop_all(list(reversed(running.processes.values())))


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
