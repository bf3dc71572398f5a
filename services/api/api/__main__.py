"""The command line: serve, make the first workspace, renew stored secrets, print the OpenAPI document."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from api import openapi
from api.bootstrap import Wanted, bootstrap
from api.migrations import SCHEMA
from api.settings import ApiSettings, BootstrapSettings, KeySettings
from api.store import Members
from api.wiring import wiring
from chassis import documents as names
from chassis import service
from chassis.errors import Fatal, Retry
from chassis.migrations import prepare
from chassis.rekeying import Holders, renew
from chassis.secrets import Secrets
from chassis.settings import load
from chassis.store import connect

SECRETS: Holders = {
    names.MAILBOXES: ("smtp", "imap", "oauth", "inbound_secret", "mailgun_key"),
    names.SMS_NUMBERS: ("auth_token",),
    names.SIGNING_DOMAINS: ("secret",),
    names.WEBHOOKS: ("secrets",),
    names.WORKSPACES: ("prompt_hook",),
}
"""What the api keeps; answers kept for idempotency end within a day."""
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
    renewing = commands.add_parser("renew-secrets", help="store all secrets under the newest key")
    renewing.set_defaults(run=_renew_secrets)
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
        await prepare(database, SCHEMA)
        return await bootstrap(wanted, Members(database), settings.clock())


def _renew_secrets(options: argparse.Namespace) -> int:
    renewed = asyncio.run(_renewed(load(KeySettings)))
    print(json.dumps(renewed))
    return 0


async def _renewed(settings: KeySettings) -> dict[str, int]:
    async with connect(settings) as database:
        try:
            return await renew(database, Secrets(settings), SECRETS)
        except ValueError as error:
            raise Fatal(f"{error}: put the key back that it was stored with.") from None


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
