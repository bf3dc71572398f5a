"""The commands that the runbooks use, and what they print: JSON, one object or one a line."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from chassis.erasure import Erasures
from chassis.errors import Fatal, Retry
from chassis.secrets import Secrets
from chassis.settings import load
from chassis.store import connect
from scheduler.erasure_list import ask_again, listed
from scheduler.explain import parse_instant
from scheduler.operations import Everything, Standing
from scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Work = Callable[[SchedulerSettings, argparse.Namespace], Awaitable[None]]


def add_commands(commands: "Commands") -> None:
    """The parsers of all of them."""
    hold = commands.add_parser("hold-everything", help="send nothing new, from no workspace")
    hold.add_argument("--reason", required=True, help="shown to everybody who asks why nothing goes out")
    commands.add_parser("lift-everything", help="let everything go on, planned again from now")
    commands.add_parser("standing", help="how much waits, and for what; prints JSON")
    commands.add_parser("broken", help="the enrollments that can't be carried on, one JSON object a line")
    restoring = commands.add_parser("restore", help="after a backup was put back (docs/runbooks)")
    restoring.add_argument("what", choices=["hold", "rebuild", "release"])
    restoring.add_argument(
        "--since", type=parse_instant, help="of hold: when the backup was made, if it has no mark"
    )
    restoring.add_argument(
        "--whole", action="store_true", help="of release: nothing was restored, and nothing is missing"
    )
    commands.add_parser("erasures", help="who was erased, one JSON object a line; keep it with the backups")
    again = commands.add_parser("erase-again", help="after a restore: erase all on such a list once more")
    again.add_argument(
        "lines", nargs="+", metavar="LINE", help="lines of the list, as `erasures` prints them"
    )


def run(given: argparse.Namespace) -> int:
    """The exit code; 1 when the database does not answer or the command is refused."""
    try:
        asyncio.run(_run(COMMANDS[given.command], given))
    except (Fatal, Retry) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _run(work: Work, given: argparse.Namespace) -> None:
    await work(load(SchedulerSettings), given)


async def _hold_everything(settings: SchedulerSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        held = await Everything(database, settings.clock()).hold(given.reason)
    print(json.dumps({"held_workspaces": held}))


async def _lift_everything(settings: SchedulerSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        lifted = await Everything(database, settings.clock()).lift()
    print(json.dumps({"lifted_workspaces": lifted}))


async def _standing(settings: SchedulerSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        print(json.dumps(await Standing(database, settings.clock()).counts()))


async def _broken(settings: SchedulerSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        async for e in Standing(database, settings.clock()).broken():
            print(json.dumps(e))


async def _erasures(settings: SchedulerSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        async for line in listed(Erasures(database, Secrets(settings), settings.clock())):
            print(line)


async def _erase_again(settings: SchedulerSettings, given: argparse.Namespace) -> None:
    async with connect(settings) as database:
        asked = await ask_again(Erasures(database, Secrets(settings), settings.clock()), given.lines)
    print(json.dumps({"people": asked}))


async def _restore(settings: SchedulerSettings, given: argparse.Namespace) -> None:
    from scheduler import restore  # which needs most of the service

    async with connect(settings) as database:
        clock = settings.clock()
        if given.what == "hold":
            told = await restore.hold(database, clock, given.since)
        elif given.what == "rebuild":
            told = await restore.rebuild(settings, database)
        else:
            told = await restore.release(database, clock, whole=given.whole)
    print(json.dumps(told))


COMMANDS: Final[Mapping[str, Work]] = {
    "hold-everything": _hold_everything,
    "lift-everything": _lift_everything,
    "standing": _standing,
    "broken": _broken,
    "restore": _restore,
    "erasures": _erasures,
    "erase-again": _erase_again,
}
