"""Prints what the service in this container says of itself: `python -m chassis.look health|metrics [PREFIX]`.

It asks the service's own port (SEGUE_HTTP_PORT), so that nothing but Python is needed beside it.
"""

import argparse
import http.client
import sys
from collections.abc import Sequence
from http import HTTPStatus

from chassis.settings import HttpSettings, load

SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0: ready, or the metrics; 1: not ready, or nobody answers."""
    parser = argparse.ArgumentParser(prog="python -m chassis.look", description=__doc__)
    parser.add_argument("what", choices=["health", "metrics"])
    parser.add_argument("prefix", nargs="?", default="segue_", help="of the metrics to print")
    given = parser.parse_args(arguments)
    settings = load(HttpSettings)
    try:
        if given.what == "health":
            return _health(settings)
        return _metrics(settings, given.prefix)
    except (OSError, http.client.HTTPException) as error:
        print(f"nobody answers on {settings.http_host}:{settings.http_port}: {error}", file=sys.stderr)
        return 1


def _health(settings: HttpSettings) -> int:
    status, text = _get(settings, "/health/ready")
    print(text)
    return 0 if status == HTTPStatus.OK else 1


def _metrics(settings: HttpSettings, prefix: str) -> int:
    status, text = _get(settings, "/metrics")
    for line in text.splitlines():
        if line.startswith(prefix):
            print(line)
    return 0 if status == HTTPStatus.OK else 1


def _get(settings: HttpSettings, path: str) -> tuple[int, str]:
    host = "127.0.0.1" if settings.http_host in ("0.0.0.0", "::") else settings.http_host  # noqa: S104
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
