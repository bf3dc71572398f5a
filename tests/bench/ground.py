"""What the burst stands on besides the brokers: Postfix's smtp-sink, a Redis, and who used how much CPU."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from stack.ports import free_port
from stack.processes import Process, tcp

SBIN = "/usr/sbin:/usr/local/sbin"
NEEDED = {"smtp-sink": "postfix", "redis-server": "redis-server"}
BACKLOG = 200
TAIL_BYTES = 200
_COUNTERS = re.compile(r"mesg=(\d+)\s*$")


def missing() -> list[str]:
    """One sentence per program that is not installed."""
    return [
        f"{program} is missing: install the Debian package {package} (apt-get install {package})."
        for program, package in NEEDED.items()
        if which(program) is None
    ]


def which(program: str) -> str | None:
    """Where the program is; Debian keeps servers where ordinary users do not look."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SBIN}")


class Sink:
    """An SMTP server that takes every message, keeps none and counts them."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        configuration = folder / "postfix"
        configuration.mkdir(parents=True)
        (configuration / "main.cf").write_text("compatibility_level = 3.6\n")
        (configuration / "master.cf").write_text("")
        # It refuses to work as root, and then needs an account to work as.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        program = which("smtp-sink")
        assert program is not None, "looked for at the start"
        self.process = Process(
            "smtp-sink",
            [program, *user, "-c", f"127.0.0.1:{self.port}", str(BACKLOG)],
            log_folder=folder / "logs",
            env={"MAIL_CONFIG": str(configuration)},
            ready=tcp(self.port),
        )
        self._log_start = 0

    def restart(self) -> None:
        """Begin to count anew."""
        self.process.restart()
        self._log_start = self.process.log_file.stat().st_size

    def messages(self) -> int:
        """How many messages it has accepted since its last start, to the one."""
        with self.process.log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - TAIL_BYTES))
            found = _COUNTERS.search(file.read().decode())
        return int(found.group(1)) if found else 0


def redis(folder: Path) -> Process:
    """A Redis that keeps nothing on disk, which is the fastest it can be."""
    program = which("redis-server")
    assert program is not None, "looked for at the start"
    port = free_port()
    return Process(
        "redis",
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        log_folder=folder / "logs",
        env={"PEER_REDIS": f"redis://127.0.0.1:{port}/0"},
        ready=tcp(port),
    )


def cpu_seconds(processes: Mapping[str, int]) -> dict[str, float]:
    """CPU time so far of each named process and of all in its group (Linux)."""
    used = dict.fromkeys(processes, 0.0)
    names = {pid: name for name, pid in processes.items()}
    ticks = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if (name := names.get(int(fields[2]))) is not None:
            used[name] += (int(fields[11]) + int(fields[12])) / ticks
    return used


def two_cores() -> None:
    """Keep this process, and everything that it starts from now on, to two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
