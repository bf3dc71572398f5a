"""Named points at which a crash test may kill, freeze or hang the process; inert everywhere else.

Only honoured when SEGUE_ALLOW_FAULTS=1 is set beside SEGUE_FAULTS, which holds JSON: either
`{"sender.after_claim": "kill"}` or a list of `{"point": "sender.after_claim", "do": "kill", "nth": 3}`,
or `@PATH`, a file with such JSON that may come, change and go while the process runs.
`do` is one of: `kill` (SIGKILL), `stop` (SIGSTOP: frozen until someone sends SIGCONT), `hang:PATH` (creates
PATH, goes on when it has been removed; the event loop lives), `error` (raises RuntimeError). With `nth`,
only that hit acts; without it, the first one does.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Fault:
    """What to do at a point, on its nth hit."""

    do: str
    nth: int = 1


class Plans(Protocol):
    """What is planned at a point."""

    def get(self, point: str, /) -> Fault | None: ...


class FaultsFile:
    """Plans that a test writes while the process runs: read at each point."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, point: str, /) -> Fault | None:
        """What the file says now."""
        with contextlib.suppress(FileNotFoundError):
            return _read(self._path.read_text()).get(point)
        return None


def parse(environment: Mapping[str, str]) -> dict[str, Fault] | FaultsFile:
    """The planned faults by point; empty unless both variables are set."""
    if environment.get("SEGUE_ALLOW_FAULTS") != "1":
        return {}
    planned = environment.get("SEGUE_FAULTS") or "{}"
    return FaultsFile(Path(planned[1:])) if planned.startswith("@") else _read(planned)


def _read(text: str) -> dict[str, Fault]:
    planned = json.loads(text)
    if isinstance(planned, dict):
        return {point: Fault(do) for point, do in planned.items()}
    return {each["point"]: Fault(each["do"], each.get("nth", 1)) for each in planned}


class Faults:
    """The planned faults of one process and how often each point was hit under each."""

    def __init__(self, planned: Plans) -> None:
        self._planned = planned
        self._hits: Counter[tuple[str, Fault]] = Counter()

    async def point(self, name: str) -> None:
        """Act if a fault is planned here; one dictionary look-up otherwise."""
        fault = self._planned.get(name)
        if fault is None:
            return
        self._hits[name, fault] += 1
        if self._hits[name, fault] == fault.nth:
            await _act(fault.do, name)


async def _act(do: str, name: str) -> None:
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif do == "error":
        raise RuntimeError(f"fault at {name}")
    elif do.startswith("hang:"):
        await _hang(Path(do.removeprefix("hang:")))
    else:
        raise ValueError(f"unknown fault {do!r} at {name}")


async def _hang(path: Path) -> None:
    path.touch()  # noqa: ASYNC240 - tells the test that the point is reached
    while path.exists():  # noqa: ASYNC110, ASYNC240 - the test speaks through the file system
        await asyncio.sleep(POLL_SECONDS)


_process = Faults(parse(os.environ))
point = _process.point
