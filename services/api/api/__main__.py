"""The command line: serve, make the first workspace, print the OpenAPI document."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from api import openapi
from api.bootstrap import Wanted, bootstrap
from api.settings import ApiSettings, BootstrapSettings
from api.store import Members, ensure_indexes
from api.wiring import wiring
from chassis import service
from chassis.errors import Fatal, Retry
from chassis.settings import load
from chassis.store import connect

CHECKED_IN = Path(__file__).parents[1] / "openapi.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code; 2 is a wrong command line or wrong settings."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (Fatal, Retry) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands (none: serve)")
    first = commands.add_parser("bootstrap", help="make a workspace, its first user and a key; prints JSON")
    first.add_argument("--workspace", required=True, help="the organisation's name")
    first.add_argument("--email", required=True, help="the first user's address")
    first.add_argument("--name", default="", help="the first user's name")
    first.add_argument("--new-key", action="store_true", help="the workspace exists: make another key")
    first.set_defaults(run=_bootstrap)
    document = commands.add_parser("openapi", help="print the OpenAPI document")
    document.add_argument("--check", action="store_true", help="only compare it with the checked-in one")
    document.set_defaults(run=_openapi)
    return parser


def _serve(options: argparse.Namespace) -> int:
    return service.main("api", ApiSettings, wiring)


def _bootstrap(options: argparse.Namespace) -> int:
    settings = load(BootstrapSettings)
    wanted = Wanted(options.workspace, options.email, options.name or options.email, options.new_key)
    print(json.dumps(asyncio.run(_bootstrapped(settings, wanted)), indent=2))
    return 0


async def _bootstrapped(settings: BootstrapSettings, wanted: Wanted) -> dict[str, str]:
    async with connect(settings) as database:
        await ensure_indexes(database)
        return await bootstrap(wanted, Members(database), settings.clock())


def _openapi(options: argparse.Namespace) -> int:
    current = openapi.text()
    if not options.check:
        sys.stdout.buffer.write(current)
        return 0
    if CHECKED_IN.exists() and CHECKED_IN.read_bytes() == current:
        return 0
    print(f"{CHECKED_IN} is not current: python -m api openapi > {CHECKED_IN}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
