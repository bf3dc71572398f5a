"""Plays the demo: publishes the sequence, enrolls the people, lets them live, and judges what was sent."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from chassis.clock import Clock
from stack.client import Client
from stack.demo import cast
from stack.demo.screen import Screen
from stack.demo.summary import Summary, mail_of, summarise
from stack.demo.town import Town
from stack.smtp import SmtpServer
from stack.system import Access

SPEED = 20_000.0
"""A day in 4.3 s; the two weeks in a minute."""
SETTINGS = {
    "SEGUE_POLL_SECONDS": "0.05",
    "SEGUE_SWEEP_SECONDS": "0.2",
    "SEGUE_LOG_LEVEL": "WARNING",
    # 25 messages in the same second of one mailbox would otherwise wait for a free connection.
    "SEGUE_SMTP_PER_MAILBOX": "10",
}
STARTING_SECONDS = 6.0
LOOK_SECONDS = 0.25
MOST_SECONDS = 150.0


class DemoFailed(Exception):
    """The run did not come to its end; the message says who waits for what."""


def monday_morning(now: datetime) -> datetime:
    """The clock's origin with which the week is about to begin once the services are up.

    Business time is origin + (real - origin) x speed, so an origin a little in the past lies days ahead.
    """
    ready = now + timedelta(seconds=STARTING_SECONDS)
    sunday = (now + timedelta(days=7 - now.isoweekday() or 7)).replace(hour=12, minute=0, second=0)
    return ready - (sunday - ready) / (SPEED - 1)


async def play(console: Console, url: str, access: Access, mail: SmtpServer, clock: Clock) -> Summary:
    """One run against running services; raises DemoFailed, Refused, and what the clients raise."""
    people = cast.people()
    async with Client(url, access) as client:
        mailbox = await client.post("/v1/mailboxes", _mailbox(mail))
        document = cast.SEQUENCE.read_text(encoding="utf-8")
        sequence = await client.post_text("/v1/sequences", document, "application/yaml")
        console.print(f"the dashboard: {url}/sequences/{sequence['id']}", markup=False, soft_wrap=True)
        screen = Screen(console, clock, sequence["name"], people)
        town = Town(mail, client, clock, mailbox, sequence["id"], people, screen.tell)
        living = asyncio.create_task(town.live(), name="town")
        try:
            with screen.showing():
                await _enroll(client, sequence["id"])
                await _watch(client, sequence["id"], screen, town, living)
        finally:
            living.cancel()
            with suppress(asyncio.CancelledError):
                await living
        return await _judge(client, sequence["id"], people, mail)


def show_summary(console: Console, summary: Summary, seconds: float) -> None:
    """The counts, then every broken promise."""
    stopped = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.stopped.items()))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("messages sent", str(summary.sent), "accepted by the mail server")
    table.add_row("doubled", str(summary.doubled))
    table.add_row("after a stop", str(summary.after_a_stop))
    table.add_row("tasks opened", str(summary.tasks_opened))
    table.add_row("stopped", str(summary.stopped.total()), stopped)
    console.print(table)
    for promise in summary.broken:
        console.print(f"✗ {promise}", style="red", markup=False)
    verdict = (
        "every promise was kept" if not summary.broken else f"{len(summary.broken)} promises were broken"
    )
    console.print(f"{verdict}, in {seconds:.0f} s", style="bold red" if summary.broken else "bold green")


async def _enroll(client: Client, sequence_id: str) -> None:
    text = cast.PROSPECTS.read_text(encoding="utf-8")
    answer = await client.post_text(f"/v1/sequences/{sequence_id}/enrollments", text, "text/csv")
    if answer["refused"]:
        raise DemoFailed(f"refused: {answer['refused']}")


async def _watch(
    client: Client, sequence_id: str, screen: Screen, town: Town, living: asyncio.Task[None]
) -> None:
    """Show where everybody is until all have ended; raises DemoFailed when that takes too long."""
    began = time.monotonic()
    while True:
        rows = await _rows(client, sequence_id)
        screen.show(rows, town.received, town.did)
        if living.done():
            living.result()
        ended = [row for row in rows.values() if row["ended_at"]]
        if len(ended) == len(town.received) and not await _open_tasks(client):
            return
        if time.monotonic() - began > MOST_SECONDS:
            waiting = [f"{key} is {row['state']}" for key, row in rows.items() if not row["ended_at"]]
            raise DemoFailed(f"not over after {MOST_SECONDS:g} s: {', '.join(waiting)}")
        await asyncio.sleep(LOOK_SECONDS)


async def _rows(client: Client, sequence_id: str) -> dict[str, dict[str, Any]]:
    page = await client.get(f"/v1/sequences/{sequence_id}/enrollments", limit="500")
    return {row["external_id"]: row for row in page["items"]}


async def _open_tasks(client: Client) -> list[dict[str, Any]]:
    page = await client.get("/v1/tasks", state="open")
    return list(page["items"])


async def _judge(
    client: Client, sequence_id: str, people: Sequence[cast.Person], mail: SmtpServer
) -> Summary:
    rows = await _rows(client, sequence_id)
    whole = {key: await client.get(f"/v1/enrollments/{row['id']}") for key, row in rows.items()}
    received = [m for m in mail.messages() if cast.RECRUITER not in m.recipients]
    return summarise(people, whole, [mail_of(m, mail.content(m)) for m in received])


def _mailbox(mail: SmtpServer) -> dict[str, Any]:
    smtp = {"host": mail.host, "port": mail.port, "security": "none"}
    return {"address": cast.RECRUITER, "display_name": "Ana", "zone": "Europe/Berlin", "smtp": smtp}
