"""The command line: without arguments, judge what arrives until SIGTERM; `watch` watches mailboxes until
then; `classify --json FILE...` judges files.
"""

import sys
from collections.abc import Sequence

from chassis import service
from reply_detector import cli
from reply_detector.settings import DetectorSettings, WatcherSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; 2 is a wrong command line or wrong settings."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    # Each process loads what it needs: the watcher does without Faust.
    if given == ["watch"]:
        from reply_detector.watch_wiring import watching

        return service.main("mailbox-watcher", WatcherSettings, watching)
    if given:
        return cli.main(given)
    from reply_detector.wiring import wiring

    return service.main("reply-detector", DetectorSettings, wiring)


if __name__ == "__main__":
    sys.exit(main())
