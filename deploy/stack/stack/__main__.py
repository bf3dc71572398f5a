"""The front door of the stack: `python -m stack brokers` and its sister commands."""

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from stack import jars
from stack.brokers import Brokers, brokers
from stack.jars import JarsUnavailable, Progress
from stack.processes import ProcessFailed
from stack.smtp import SmtpServer
from stack.system import system
from stack.training import train

console = Console(stderr=True, highlight=False)

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m stack", description="The whole system on one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "brokers", run_brokers, "Kafka and MongoDB in the foreground, until Ctrl-C")
    _command(commands, "up", run_everything, "all of Segue with a mail server, until Ctrl-C")
    _command(commands, "prepare", prepare, "fetch Kafka and make its later starts fast, once per user")
    given = parser.parse_args(arguments)
    command: Command = given.command
    try:
        return command(given)
    except (ProcessFailed, JarsUnavailable) as error:
        console.print(str(error), style="red", markup=False)
        return 1


def run_brokers(given: argparse.Namespace) -> int:
    """Both brokers until SIGINT or SIGTERM; their data and logs are in a folder that is printed."""
    folder = run_folder(given.folder)
    with interruptible(), progress_shown() as progress, brokers(folder, progress) as running:
        _print_addresses(running, folder)
        progress("running, Ctrl-C stops")
        threading.Event().wait()
    return 0


def run_everything(given: argparse.Namespace) -> int:
    """Brokers, mail server and services until SIGINT or SIGTERM, with a workspace to try things in."""
    folder = run_folder(given.folder)
    with (
        interruptible(),
        progress_shown() as progress,
        brokers(folder, progress) as running,
        SmtpServer(folder / "mail") as mail,
    ):
        progress("starting the services")
        with system(folder, running) as segue:
            access = segue.bootstrap("Our Co", "ana@ourco.example")
            _print_addresses(running, folder)
            console.print(f"API      {segue.url}", markup=False)
            console.print(f"key      {access.api_key}", markup=False, soft_wrap=True)
            console.print(f"mail     {mail.host}:{mail.port}   kept in {folder / 'mail'}", markup=False)
            progress("running, Ctrl-C stops")
            threading.Event().wait()
    return 0


def prepare(_: argparse.Namespace) -> int:
    """What a first start would do besides starting, so that nobody waits for it later."""
    with progress_shown() as progress:
        jars.class_path(progress)
        train(progress)
    console.print(f"Kafka {jars.VERSION} is in {jars.cache_folder()}")
    return 0


def run_folder(chosen: Path | None) -> Path:
    """Where one run keeps data and logs: the chosen folder, or a new one among the temporary files."""
    if chosen is None:
        return Path(tempfile.mkdtemp(prefix="segue-"))
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen.resolve()


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


def _print_addresses(running: Brokers, folder: Path) -> None:
    for name, value in running.environment.items():
        print(f"{name}={value}", flush=True)
    console.print(f"data and logs: {folder}")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--folder", type=Path, help="where data and logs go (default: a new one in /tmp)")
    parser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
