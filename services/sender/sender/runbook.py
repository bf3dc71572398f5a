"""The commands that the runbooks use, and what they print: JSON, one object or one a line."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from chassis import documents as names
from chassis.errors import Fatal, Retry
from chassis.rekeying import Holders, renew
from chassis.secrets import Secrets
from chassis.settings import load
from chassis.store import connect
from sender.operations import Standing
from sender.settings import SenderSettings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Work = Callable[[SenderSettings, argparse.Namespace], Awaitable[None]]


def add_commands(commands: "Commands") -> None:
    """The parsers of all of them."""
    commands.add_parser("standing", help="how much waits, and for what; prints JSON")
    doubts = commands.add_parser("in-doubt", help="what waits for a decision, one JSON object a line")
    doubts.add_argument("--ids", action="store_true", help="only the dispatch ids")
    commands.add_parser("renew-secrets", help="store the tokens of mailboxes under the newest key")
    commands.add_parser("restore", help="make the deliveries again that a restored backup lacks")


def run(given: argparse.Namespace) -> int:
    """The exit code; 1 when the database does not answer or the command is refused."""
    try:
        asyncio.run(_run(COMMANDS[given.command], given))
    except (Fatal, Retry) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _run(work: Work, given: argparse.Namespace) -> None:
    await work(load(SenderSettings), given)


async def _standing(settings: SenderSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        print(json.dumps(await Standing(database, settings.clock()).counts()))


async def _in_doubt(settings: SenderSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        async for each in Standing(database, settings.clock()).in_doubt():
            print(each["dispatch_id"] if given.ids else json.dumps(each))


async def _renew_secrets(settings: SenderSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        try:
            print(json.dumps(await renew(database, Secrets(settings), SECRETS)))
        except ValueError as error:
            raise Fatal(f"{error}: put the key back that it was stored with.") from None


async def _restore(settings: SenderSettings, given: argparse.Namespace) -> None:
    from sender import restore  # which needs most of the service

    async with connect(settings) as database:
        print(json.dumps(await restore.rebuild(settings, database)))


SECRETS: Final[Holders] = {names.MAILBOX_TOKENS: ("refresh_token", "access_token")}
COMMANDS: Final[Mapping[str, Work]] = {
    "standing": _standing,
    "in-doubt": _in_doubt,
    "renew-secrets": _renew_secrets,
    "restore": _restore,
}
