"""The front door of the stack: `python -m stack brokers` and its sister commands."""

import argparse
import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from chassis.clock import Clock
from stack import jars, launched
from stack.brokers import Brokers, brokers
from stack.demo.cast import RECRUITER
from stack.demo.play import SETTINGS as DEMO_SETTINGS
from stack.demo.play import SPEED, DemoFailed, monday_morning, play, show_summary
from stack.jars import JarsUnavailable, Progress
from stack.launched import FolderInUse, run_folder
from stack.processes import ProcessFailed
from stack.smtp import SmtpServer
from stack.system import Access, System, system
from stack.training import train

DOWN_SECONDS = 150.0
"""The services end within 100 s, the brokers after them."""

console = Console(stderr=True, highlight=False)

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m stack", description="The whole system on one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "brokers", run_brokers, "Kafka and MongoDB in the foreground, until Ctrl-C")
    _command(commands, "up", run_everything, "all of Segue with a mail server, until Ctrl-C")
    _command(commands, "down", stop_everything, "stop what runs in another terminal")
    demo = _command(
        commands, "demo", run_demo, "two weeks of a sequence in about a minute, judged at the end"
    )
    demo.add_argument("--keep", action="store_true", help="keep everything running afterwards, until Ctrl-C")
    demo.add_argument("--check", type=Path, help="a program that judges the run, too: CHECK --maildir FOLDER")
    _command(commands, "prepare", prepare, "fetch Kafka and make its later starts fast, once per user")
    given = parser.parse_args(arguments)
    command: Command = given.command
    try:
        return command(given)
    except (ProcessFailed, JarsUnavailable, DemoFailed, FolderInUse) as error:
        console.print(str(error), style="red", markup=False)
        return 1


def run_brokers(given: argparse.Namespace) -> int:
    """Both brokers until SIGINT or SIGTERM; their data and logs are in a folder that is printed."""
    with (
        run_folder(given.folder) as folder,
        interruptible(),
        progress_shown() as progress,
        brokers(folder, progress) as running,
    ):
        _print_addresses(running, folder)
        _wait_for_ctrl_c()
    return 0


def run_everything(given: argparse.Namespace) -> int:
    """Brokers, mail server and services until SIGINT or SIGTERM, with a workspace to try things in."""
    with run_folder(given.folder) as folder, interruptible(), ExitStack() as running:
        with progress_shown() as progress:
            mail, segue = _start(running, folder, progress, watcher=True)
        access = segue.bootstrap("Our Co", RECRUITER)
        _print_access(segue, access, mail)
        _wait_for_ctrl_c()
    return 0


def run_demo(given: argparse.Namespace) -> int:
    """Play the demo; 0 if every promise was kept, 1 if not."""
    began, exit_code = time.monotonic(), 1
    with run_folder(given.folder) as folder, interruptible(), ExitStack() as running:
        clock = Clock(SPEED, monday_morning(datetime.now(UTC)))
        settings = {**DEMO_SETTINGS, "SEGUE_CLOCK_ORIGIN": clock.origin.isoformat()}
        with progress_shown() as progress:
            mail, segue = _start(running, folder, progress, SPEED, settings)
        access = segue.bootstrap("Our Co", RECRUITER)
        summary = asyncio.run(play(console, segue.url, access, mail, clock))
        show_summary(console, summary, time.monotonic() - began)
        kept = not summary.broken
        if given.check is not None:
            kept &= _passes(given.check, segue.environment, mail.maildir.folder)
        exit_code = 0 if kept else 1
        if given.keep:
            _print_access(segue, access, mail)
            _wait_for_ctrl_c()
    return exit_code


def stop_everything(given: argparse.Namespace) -> int:
    """Stop what other terminals left running; 1 if something would not stop."""
    exit_code = 0
    for folder, pid in launched.running(given.folder).items():
        ended = launched.end(folder, pid, DOWN_SECONDS)
        console.print(f"{folder}: {'stopped' if ended else f'process {pid} does not stop'}", markup=False)
        exit_code |= not ended
    return exit_code


def prepare(_: argparse.Namespace) -> int:
    """What a first start would do besides starting, so that nobody waits for it later."""
    with progress_shown() as progress:
        jars.class_path(progress)
        train(progress)
    console.print(f"Kafka {jars.VERSION} is in {jars.cache_folder()}")
    return 0


@contextmanager
def interruptible() -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the block (KeyboardInterrupt, kept inside); later ones change nothing.

    The context managers within stop what they started, each with its own deadline; an impatient second Ctrl-C
    would only tear that.
    """
    asked = False

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        console.print("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_shown() -> Iterator[Progress]:
    """A line that moves while something takes its time; plain lines where there is no terminal."""
    with console.status("…") as status:

        def show(step: str) -> None:
            status.update(step)
            console.print(f"· {step}", markup=False)

        yield show


def _start(
    running: ExitStack,
    folder: Path,
    progress: Progress,
    clock_speed: float = 1.0,
    settings: Mapping[str, str] | None = None,
    *,
    watcher: bool = False,
) -> tuple[SmtpServer, System]:
    """The brokers, a mail server and the services; `running` stops them."""
    found = running.enter_context(brokers(folder, progress))
    mail = running.enter_context(SmtpServer(folder / "mail"))
    progress("starting the services")
    segue = running.enter_context(
        system(folder, found, clock_speed=clock_speed, settings=settings, watcher=watcher)
    )
    _print_addresses(found, folder)
    return mail, segue


def _print_addresses(running: Brokers, folder: Path) -> None:
    for name, value in running.environment.items():
        print(f"{name}={value}", flush=True)
    console.print(f"data and logs: {folder}", markup=False, soft_wrap=True)


def _print_access(segue: System, access: Access, mail: SmtpServer) -> None:
    console.print(f"pages    {segue.url}/", markup=False, soft_wrap=True)
    console.print(f"API      {segue.url}/v1", markup=False, soft_wrap=True)
    console.print(f"key      {access.api_key}", markup=False, soft_wrap=True)
    console.print(f"topics   begin with {segue.environment['SEGUE_KAFKA_TOPIC_PREFIX']}", markup=False)
    console.print(f"mail     {mail.host}:{mail.port}   kept in {mail.maildir.folder}", soft_wrap=True)


def _wait_for_ctrl_c() -> None:
    console.print("running, Ctrl-C stops")
    threading.Event().wait()


def _passes(check: Path, environment: Mapping[str, str], maildir: Path) -> bool:
    """Whether an independent checker finds nothing wrong; it prints what it finds."""
    command: list[str | Path] = [sys.executable, check, "--maildir", maildir]
    return subprocess.run(command, env=dict(environment), check=False).returncode == 0


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--folder", type=Path, help="where data and logs go (default: a new temporary one)")
    parser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
