"""The command line: without arguments, serve until SIGTERM; `classify --json FILE...` judges files."""

import sys
from collections.abc import Sequence

from chassis import service
from reply_detector import cli
from reply_detector.settings import DetectorSettings
from reply_detector.wiring import wiring


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; 2 is a wrong command line or wrong settings."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return cli.main(given) if given else service.main("reply-detector", DetectorSettings, wiring)


if __name__ == "__main__":
    sys.exit(main())
