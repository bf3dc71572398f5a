"""The command line: `python -m sender` serves until SIGTERM."""

import asyncio
import signal
import sys

from chassis.errors import Fatal, Retry
from chassis.settings import load
from chassis.telemetry import configure_logging
from sender.serving import serve
from sender.settings import SenderSettings


def main() -> int:
    """Returns the exit code; 2 is wrong settings."""
    settings = load(SenderSettings)
    configure_logging(settings.log_level, "sender", settings.instance_id)
    try:
        asyncio.run(_serve_until_signal(settings))
    except (Fatal, Retry) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _serve_until_signal(settings: SenderSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
