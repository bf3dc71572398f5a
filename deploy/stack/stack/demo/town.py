"""Everybody outside Segue: prospects read their mail and answer by mail, the recruiter makes the calls."""

import asyncio
import email
import email.policy
import smtplib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

from chassis.clock import Clock
from stack import prospects
from stack.client import Client
from stack.demo.cast import NUDGE, RECRUITER, Habit, Person
from stack.maildir import Accepted
from stack.smtp import SmtpServer

LOOK_SECONDS = 0.05
PAGE = 1_000
SMTP_SECONDS = 10.0
THINKING_SECONDS = 0.8
CALL_SECONDS = 1.2
TOO_LATE_SECONDS = 0.2
"""So long before the next message is due does the worst moment's answer set out."""
DAYS_AWAY = 7


class Town:
    """Watches the mail server: what arrives for the recruiter is handed to the webhook, what arrives for a
    prospect is read and, if that is their habit, answered through the same server.
    """

    def __init__(
        self,
        mail: SmtpServer,
        client: Client,
        clock: Clock,
        mailbox: Mapping[str, Any],
        sequence_id: str,
        people: list[Person],
        tell: Callable[[str], None],
    ) -> None:
        self.received: dict[str, list[datetime]] = {person.email: [] for person in people}
        self.did: dict[str, str] = {}
        self._mail = mail
        self._client = client
        self._clock = clock
        self._mailbox = mailbox
        self._sequence_id = sequence_id
        self._people = {person.email: person for person in people}
        self._by_id = {person.external_id: person for person in people}
        self._last: dict[str, EmailMessage] = {}
        self._tell = tell

    async def live(self) -> None:
        """Until cancelled; raises what anybody's doing raised."""
        async with asyncio.TaskGroup() as doing:
            doing.create_task(self._carry_mail(doing))
            doing.create_task(self._make_calls(doing))

    # ---- mail -------------------------------------------------------------------------------------------

    async def _carry_mail(self, doing: asyncio.TaskGroup) -> None:
        seen = 0
        while True:
            arrived = self._mail.maildir.after(seen, PAGE)
            seen += len(arrived)
            for message in arrived:
                doing.create_task(self._arrived(message))
            await asyncio.sleep(LOOK_SECONDS)

    async def _arrived(self, message: Accepted) -> None:
        raw = await asyncio.to_thread(self._mail.content, message)
        (recipient,) = message.recipients
        if recipient == RECRUITER:
            await self._client.receive(self._mailbox, raw)
        else:
            await self._read(self._people[recipient], _parsed(raw))

    async def _read(self, person: Person, sent: EmailMessage) -> None:
        self.received[person.email].append(self._clock.now())
        self._last[person.email] = sent
        number = len(self.received[person.email])
        self._tell(f"message {number} for {person.name}")
        match person.habit, number:
            case (Habit.ANSWERS_HELLO, 1) | (Habit.ANSWERS_NUDGE, 2):
                await asyncio.sleep(THINKING_SECONDS)
                await self._answer(person, "answered")
            case Habit.OPTS_OUT, 1:
                await asyncio.sleep(THINKING_SECONDS)
                await self._send(person, prospects.opt_out(sent, at=self._clock.now()), "opted out")
            case Habit.OUT_OF_OFFICE, 1:
                back = (self._clock.now() + timedelta(days=DAYS_AWAY)).date()
                note = prospects.out_of_office(sent, back, at=self._clock.now())
                await self._send(person, note, f"is away until {back:%d %b}")
            case Habit.BOUNCES, 1:
                await self._send(person, prospects.bounce(sent, at=self._clock.now()), "bounced")
            case Habit.ANSWERS_AT_THE_WORST_MOMENT, 1:
                await self._wait_for_the_worst_moment(person)
                await self._answer(person, "answered at the worst moment")

    async def _wait_for_the_worst_moment(self, person: Person) -> None:
        """Just before the second message is due: its dispatch and the answer are under way together."""
        due = None
        while due is None:
            await asyncio.sleep(LOOK_SECONDS)
            due = await self._due(person, NUDGE)
        await asyncio.sleep(max(0.0, self._clock.real_seconds_until(due) - TOO_LATE_SECONDS))

    async def _due(self, person: Person, stage: str) -> datetime | None:
        page = await self._client.get(f"/v1/sequences/{self._sequence_id}/enrollments", limit="500")
        (row,) = [each for each in page["items"] if each["external_id"] == person.external_id]
        coming = row["next"]
        if coming is None or coming["stage_id"] != stage or coming["planned_at"] is None:
            return None
        return datetime.fromisoformat(coming["planned_at"])

    async def _answer(self, person: Person, did: str) -> None:
        text = "Hi Ana, that sounds good. Shall we talk on Thursday?"
        answer = prospects.reply(self._last[person.email], text, at=self._clock.now())
        await self._send(person, answer, did)

    async def _send(self, person: Person, raw: bytes, did: str) -> None:
        await asyncio.to_thread(_deliver, self._mail.host, self._mail.port, raw)
        self.did[person.email] = did
        self._tell(f"{person.name} {did}")

    # ---- calls ------------------------------------------------------------------------------------------

    async def _make_calls(self, doing: asyncio.TaskGroup) -> None:
        begun: set[str] = set()
        while True:
            for task in (await self._client.get("/v1/tasks", state="open", limit="500"))["items"]:
                if task["dispatch_id"] not in begun:
                    begun.add(task["dispatch_id"])
                    doing.create_task(self._call(task))
            await asyncio.sleep(LOOK_SECONDS * 4)

    async def _call(self, task: Mapping[str, Any]) -> None:
        person = self._by_id[task["prospect"]["external_id"]]
        self._tell(f"call task for {person.name}")
        if person.habit is Habit.ANSWERS_WHEN_CALLED:
            await self._answer(person, "answered before the call")
            return
        await asyncio.sleep(CALL_SECONDS)
        await self._client.post(f"/v1/tasks/{task['dispatch_id']}/done", {"result": "reached"})
        self.did[person.email] = "was called"
        self._tell(f"{person.name} was called")


def _parsed(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def _deliver(host: str, port: int, raw: bytes) -> None:
    """Hand a message to the mail server, from and to whom it names."""
    message = _parsed(raw)
    with smtplib.SMTP(host, port, timeout=SMTP_SECONDS) as connection:
        connection.sendmail(parseaddr(message["From"])[1], [parseaddr(message["To"])[1]], raw)
