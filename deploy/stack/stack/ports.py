"""Free TCP ports from a range that no operating system hands out by itself."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOWEST = 20_000
HIGHEST = (
    32_000  # Linux hands out ports from 32768 up: one of those may be taken between the check and its use
)
ATTEMPTS = 200

_handed_out: dict[int, int] = {}
"""Ports with the descriptors of their locks, which live as long as this process."""


def free_port() -> int:
    """A port on loopback that is free now, and that no living process of this user was handed out before."""
    for candidate in _candidates():
        if candidate not in _handed_out and _is_free(candidate) and _lock(candidate):
            return candidate
    raise OSError(f"no free port between {LOWEST} and {HIGHEST}")


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _candidates() -> Iterator[int]:
    chance = random.SystemRandom()  # two launchers seeded alike would collide
    return (chance.randint(LOWEST, HIGHEST) for _ in range(ATTEMPTS))


def _lock(port: int) -> bool:
    """Between the check and the use, others may look for a port too: tests run side by side."""
    folder = Path(tempfile.gettempdir()) / f"segue-ports.{os.getuid()}"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _handed_out[port] = descriptor
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A broker that was killed leaves connections in TIME_WAIT, which do not hinder the next listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
