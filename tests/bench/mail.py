"""Measures writing mails and handing them to a mail server, against what others would use.

Run: `python -m tests.bench.mail [MAILS] [CONNECTIONS]`; needs Debian's postfix (smtp-sink) and Node with npm.

Written: microseconds of CPU a mail, against the standard library's EmailMessage with the same parts.
Handed over: mails a second to the same smtp-sink over as many connections from one process, each mail written
anew: Segue's pool (its journal answers at once: no database is here), EmailMessage with aiosmtplib, and
nodemailer's pool. The sink counts what it got: a lost or a doubled mail fails the run. Medians of three.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiosmtplib
from tests.bench.ground import Sink, which

from chassis.hosts import Guard
from sender.compose import Address, Mail, compose
from sender.smtp import Accepted, Envelope, Target
from sender.smtp_pool import Pool
from stack.node import NodeMissing, node, packages

ROUNDS = 3
SECONDS = 1.0
HOST = "127.0.0.1"
AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
TEXT = (
    "Hi {n},\n\nwe look for somebody who writes software four days a week.\nWould you like to talk?\n\nAna\n"
    * 3
)
HTML = "<p>Hi {n},</p><p>we look for somebody who <b>writes software</b> four days a week.</p>" * 4
# A literal of a long policy: folding would break ids, so whoever uses the library well sets it.
LONG = SMTP.clone(max_line_length=998)


def ours(number: int, html: bool) -> bytes:
    """As the sender writes it."""
    return compose(
        Mail(
            sender=Address("ana@ourco.example", "Ana Müller"),
            to=Address(f"p{number}@example.com", "Pat Li"),
            subject=f"A job for you, {number}",
            text=TEXT.format(n=number),
            html=HTML.format(n=number) if html else None,
            date=AT,
            message_id=f"<{number}.abcdefghijklmnop@ourco.example>",
            unsubscribe=(f"https://segue.example/u/{number}", "mailto:ana@ourco.example"),
        )
    )


def theirs(number: int, html: bool) -> bytes:
    """The same with the standard library."""
    mail = EmailMessage(policy=LONG)
    mail["From"] = "Ana Müller <ana@ourco.example>"
    mail["To"] = f"Pat Li <p{number}@example.com>"
    mail["Subject"] = f"A job for you, {number}"
    mail["Date"] = format_datetime(AT)
    mail["Message-ID"] = f"<{number}.abcdefghijklmnop@ourco.example>"
    mail["List-Unsubscribe"] = f"<https://segue.example/u/{number}>, <mailto:ana@ourco.example>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(TEXT.format(n=number))
    if html:
        mail.add_alternative(HTML.format(n=number), subtype="html")
    return mail.as_bytes()


def microseconds(write: Callable[[int, bool], bytes], html: bool) -> float:
    """Of this process's CPU, a mail."""
    began, count = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        for _ in range(50):
            write(count, html)
            count += 1
    return (time.process_time() - began) / count * 1e6


class _Letter:
    """A mail that is written when a connection takes it; its journal says yes at once."""

    def __init__(self, target: Target, number: int, done: Callable[[Any], None]) -> None:
        self.target, self._number, self._done = target, number, done
        self._envelope: Envelope | None = None

    @property
    def envelope(self) -> Envelope:
        if self._envelope is None:
            data = ours(self._number, False)
            self._envelope = Envelope("ana@ourco.example", f"p{self._number}@example.com", data)
        return self._envelope

    async def before_data(self) -> bool:
        return True

    async def ended(self, result: object) -> None:
        self._done(result)


async def segue(port: int, mails: int, connections: int) -> None:
    """All mails through the pool."""
    pool = Pool(
        "bench.example",
        per_mailbox=connections,
        per_host=connections,
        waiting_per_host=mails,
        room_seconds=600,
        messages_per_connection=mails,
        guard=Guard([ip_network("127.0.0.0/8")]),
    )
    finished, results = asyncio.Event(), []

    def done(result: object) -> None:
        results.append(result)
        if len(results) == mails:
            finished.set()

    target = Target(HOST, port, "none")
    for number in range(mails):
        pool.post(_Letter(target, number, done))
    await finished.wait()
    await pool.close()
    assert all(isinstance(each, Accepted) for each in results), results[:1]


async def library(port: int, mails: int, connections: int) -> None:
    """The same with EmailMessage and aiosmtplib."""
    numbers = iter(range(mails))

    async def work() -> None:
        async with aiosmtplib.SMTP(hostname=HOST, port=port, start_tls=False, use_tls=False) as client:
            for number in numbers:
                await client.sendmail("ana@ourco.example", [f"p{number}@example.com"], theirs(number, False))

    await asyncio.gather(*(work() for _ in range(connections)))


def nodemailer(port: int, mails: int, connections: int) -> float:
    """Seconds that nodemailer's pool takes in a process of its own, without its start."""
    script = packages() / "nodemailer.js"
    command = [node(), str(script), str(port), str(mails), str(connections), TEXT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["seconds"])


def timed(work: Callable[[int, int, int], Awaitable[None]]) -> Callable[[int, int, int], float]:
    """Seconds of a way that runs in this process."""

    def measure(port: int, mails: int, connections: int) -> float:
        began = time.perf_counter()
        asyncio.run(work(port, mails, connections))  # type: ignore[arg-type]
        return time.perf_counter() - began

    return measure


WAYS: dict[str, Callable[[int, int, int], float]] = {
    "Segue": timed(segue),
    "EmailMessage, aiosmtplib": timed(library),
    "nodemailer's pool": nodemailer,
}


def main(mails: int, connections: int) -> int:
    if which("smtp-sink") is None:
        print("smtp-sink is missing: apt-get install postfix", file=sys.stderr)
        return 2
    try:
        packages()
    except NodeMissing as missing:
        print(missing, file=sys.stderr)
        return 2
    for html in (False, True):
        own, other = microseconds(ours, html), microseconds(theirs, html)
        kind = "text and HTML" if html else "text"
        print(
            f"write {kind:14} Segue {own:8.1f} us   EmailMessage {other:8.1f} us   ratio {other / own:.1f}x"
        )
    with tempfile.TemporaryDirectory() as folder:
        return _hand_over(Sink(Path(folder)), mails, connections)


def _hand_over(sink: Sink, mails: int, connections: int) -> int:
    sink.process.start()
    try:
        rates = {
            name: statistics.median(_rounds(sink, way, mails, connections)) for name, way in WAYS.items()
        }
    finally:
        sink.process.stop()
    own = rates["Segue"]
    print(f"\nhand over {mails:,} mails to smtp-sink, {connections} connections, one process")
    for name, rate in rates.items():
        print(f"{name:28}{rate:10,.0f} mails/s" + (f"   Segue is {own / rate:.1f}x" if rate != own else ""))
    return 0


def _rounds(sink: Sink, way: Callable[[int, int, int], float], mails: int, connections: int) -> list[float]:
    rates = []
    for _ in range(ROUNDS):
        sink.restart()
        rates.append(mails / way(sink.port, mails, connections))
        got = sink.messages()
        assert got == mails, f"the sink has {got} of {mails} mails"
    return rates


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:]]
    sys.exit(main(*(numbers + [10_000, 16][len(numbers) :])))
