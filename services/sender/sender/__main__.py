"""The command line: without arguments, serve until SIGTERM; the rest is for whoever runs Segue
(docs/runbooks).
"""

import argparse
import sys
from collections.abc import Sequence

from chassis import service
from sender import runbook
from sender.settings import SenderSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; 2 is a wrong command line or wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m sender", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    runbook.add_commands(commands)
    given = parser.parse_args(arguments)
    if given.command in runbook.COMMANDS:
        return runbook.run(given)
    # What an operator waits for does without the service.
    from sender.wiring import wiring

    return service.main("sender", SenderSettings, wiring)


if __name__ == "__main__":
    sys.exit(main())
