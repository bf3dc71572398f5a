"""Free TCP ports from a range that no operating system hands out by itself."""

import contextlib
import random
import socket
from collections.abc import Iterator

LOWEST = 20_000
HIGHEST = (
    32_000  # Linux hands out ports from 32768 up: one of those may be taken between the check and its use
)
ATTEMPTS = 200

_handed_out: set[int] = set()


def free_port() -> int:
    """A port on loopback that is free now and that this process has not handed out before."""
    for candidate in _candidates():
        if candidate not in _handed_out and _is_free(candidate):
            _handed_out.add(candidate)
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


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A broker that was killed leaves connections in TIME_WAIT, which do not hinder the next listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
