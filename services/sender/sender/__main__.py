"""The command line: `python -m sender` serves until SIGTERM."""

import sys

from chassis import service
from sender.settings import SenderSettings
from sender.wiring import wiring


def main() -> int:
    """Returns the exit code; 2 is wrong settings."""
    return service.main("sender", SenderSettings, wiring)


if __name__ == "__main__":
    sys.exit(main())
