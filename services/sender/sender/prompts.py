"""When a user hears of their tasks, and in which words: a digest a day, prompts outside quiet hours."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.documents import Document
from chassis.prompting import PromptWishes, lies_in
from segue_contracts.message import Channel

REMIND_EVERY: Final = timedelta(days=1)
MOST_REMINDERS: Final = 7
"""Of one overdue task: whoever has not reacted in a week has the digest."""
MOST_LISTED: Final = 50
_MIDNIGHT: Final = time(0)
_QUIET_DAYS: Final = 15
"""Two weeks: where a clock change leaves out the one minute of a week that is not quiet, the next has it."""
_WORDS: Final = {
    Channel.CALL: "Call",
    Channel.INMAIL: "InMail to",
    Channel.LINKEDIN_CONNECT: "Connect on LinkedIn with",
    Channel.MANUAL_EMAIL: "E-mail to",
    Channel.MANUAL_SMS: "Text message to",
    Channel.TASK: "Task for",
}


@dataclass(frozen=True, slots=True)
class Hours:
    """A user's wishes with their zone; `prompts` are read as the wall clock there shows."""

    wishes: PromptWishes
    zone: ZoneInfo

    def digest_day(self, now: datetime) -> date | None:
        """The local day whose digest is to be sent now, if it was not before; late ones wait out the quiet.

        One local date has one digest, so that nobody has two a day, also when they move to another zone.
        """
        day = now.astimezone(self.zone).date()
        wishes = self.wishes
        if not wishes.digest or day.weekday() not in wishes.workdays or self.is_quiet(now):
            return None
        return day if now >= self._instant(day, wishes.digest_at) else None

    def is_quiet(self, at: datetime) -> bool:
        """Whether nothing is to reach the user at that instant."""
        local = at.astimezone(self.zone)
        if local.weekday() not in self.wishes.workdays:
            return True
        if self.wishes.quiet is None:
            return False
        return lies_in(local.time(), *self.wishes.quiet)

    def quiet_until(self, at: datetime) -> datetime:
        """When the quiet that lies over `at` is over; `at` itself where there is none."""
        if not self.is_quiet(at):
            return at
        day = at.astimezone(self.zone).date()
        ends = (_MIDNIGHT, self.wishes.quiet[1]) if self.wishes.quiet else (_MIDNIGHT,)
        days = (day + timedelta(days=n) for n in range(_QUIET_DAYS + 1))
        instants = sorted(self._instant(each, end) for each in days for end in ends)
        return next(each for each in instants if each > at and not self.is_quiet(each))

    def _instant(self, day: date, at: time) -> datetime:
        """When the clock there shows that time: the first of two, and an hour later in a gap."""
        return datetime.combine(day, at, self.zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Listed:
    """An open task as its assignee is told of it. The words are for the assignee alone."""

    dispatch_id: str
    channel: Channel
    who: str
    sequence: str
    due_at: datetime
    overdue: bool
    url: str | None

    def line(self, zone: ZoneInfo) -> str:
        """One line of a mail."""
        at = f"{self.due_at.astimezone(zone):%a %d %b, %H:%M}"
        when = f"overdue since {at}" if self.overdue else f"due {at}"
        return f"- {_WORDS[self.channel]} {self.who} ({self.sequence}), {when}" + (
            f"\n  {self.url}" if self.url else ""
        )

    def data(self) -> Document:
        """What a webhook hears: no names and no words, because not everybody may read them."""
        return {
            "dispatch_id": self.dispatch_id,
            "channel": self.channel.value,
            "due_at": _as_text(self.due_at),
            "overdue": self.overdue,
            "url": self.url,
        }


@dataclass(frozen=True, slots=True)
class Words:
    """A prompt as a mail says it."""

    subject: str
    text: str


def digest_words(name: str, tasks: Sequence[Listed], zone: ZoneInfo, total: int, inbox: str | None) -> Words:
    """The daily mail; `tasks` are the first of `total`."""
    late = [each for each in tasks if each.overdue]
    rest = [each for each in tasks if not each.overdue]
    subject = f"{_tasks(total)} for you" + (f", {len(late)} overdue" if late else "")
    parts = [f"Hello {name},", f"{_tasks(total)} {'waits' if total == 1 else 'wait'} for you."]
    if late:
        parts.append(_lines("Overdue:", late, zone))
    if rest:
        parts.append(_lines("To do:", rest, zone))
    if total > len(tasks):
        parts.append(f"And {total - len(tasks)} more.")
    return Words(subject, _joined(parts, zone, inbox))


def due_words(name: str, task: Listed, zone: ZoneInfo, inbox: str | None) -> Words:
    """A task is to be done."""
    subject = f"New task: {_WORDS[task.channel]} {task.who}"
    return Words(subject, _joined([f"Hello {name},", task.line(zone)], zone, inbox))


def overdue_words(name: str, task: Listed, zone: ZoneInfo, times: int, inbox: str | None) -> Words:
    """A task is overdue, told for the first time or again."""
    subject = f"Overdue: {_WORDS[task.channel]} {task.who}"
    parts = [f"Hello {name},", task.line(zone)]
    if times == MOST_REMINDERS:
        parts.append("This is the last reminder of this task; the daily list goes on naming it.")
    return Words(subject, _joined(parts, zone, inbox))


def payload(kind: str, at: datetime, user_id: UUID, email: str, tasks: Iterable[Listed], total: int) -> str:
    """What the workspace's webhook gets, as JSON."""
    data = {
        "user_id": str(user_id),
        "email": email,
        "total": total,
        "tasks": [task.data() for task in tasks],
    }
    return json.dumps({"type": kind, "timestamp": _as_text(at), "data": data}, ensure_ascii=False)


def _lines(heading: str, tasks: Sequence[Listed], zone: ZoneInfo) -> str:
    return "\n".join([heading, *(task.line(zone) for task in tasks)])


def _joined(parts: Sequence[str], zone: ZoneInfo, inbox: str | None) -> str:
    ends = [f"All your tasks: {inbox}"] if inbox else []
    return "\n\n".join([*parts, *ends, f"Times are those of {zone.key}."]) + "\n"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _as_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
