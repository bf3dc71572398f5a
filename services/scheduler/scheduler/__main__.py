"""The command line: without arguments, serve until SIGTERM; `explain` plans, `replay` tells again; the rest
is for whoever runs Segue (docs/runbooks).
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from chassis import service
from chassis.settings import load
from scheduler import runbook
from scheduler.explain import explain_lines, parse_instant
from scheduler.replay import replay
from scheduler.settings import SchedulerSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; 2 is a wrong command line or wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m scheduler", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("explain", help="one JSON object a line in, its planned time with reasons out")
    again = commands.add_parser("replay", help="publish recorded events again")
    again.add_argument("--since", required=True, type=parse_instant, help="2026-12-01T00:00:00Z")
    again.add_argument("--until", required=True, type=parse_instant, help="exclusive")
    runbook.add_commands(commands)
    given = parser.parse_args(arguments)
    if given.command == "explain":
        return explain_lines(sys.stdin, sys.stdout)
    if given.command == "replay":
        told = asyncio.run(replay(load(SchedulerSettings), given.since, given.until))
        print(f"{told} events published again")
        return 0
    if given.command in runbook.COMMANDS:
        return runbook.run(given)
    # What an operator waits for does without the service.
    from scheduler.wiring import wiring

    return service.main("scheduler", SchedulerSettings, wiring)


if __name__ == "__main__":
    sys.exit(main())
