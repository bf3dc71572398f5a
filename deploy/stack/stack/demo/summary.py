"""The judgement of a run: what the mail server accepted against what was promised."""

import email
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stack.demo.cast import Person
from stack.maildir import Accepted

READ_AGE_SECONDS = 2.0
"""The sender's last look at an enrollment is at most this old when a message begins."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that the server accepted for a prospect."""

    message_id: str
    recipient: str
    began: float
    """Unix seconds."""


@dataclass(slots=True)
class Summary:
    """Counts of a run, and every promise that was not kept, by name."""

    sent: int = 0
    doubled: int = 0
    unknown: int = 0
    after_a_stop: int = 0
    tasks_opened: int = 0
    stopped: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def summarise(
    people: Sequence[Person], enrollments: Mapping[str, Mapping[str, Any]], mails: Sequence[Mail]
) -> Summary:
    """Judge a run by its messages and the whole enrollments (as the API shows them, by external id)."""
    summary = Summary(sent=len(mails))
    _judge_messages(summary, enrollments, mails)
    for person in people:
        enrollment = enrollments.get(person.external_id)
        if enrollment is None:
            summary.broken.append(f"{person.name} was never enrolled")
        else:
            _judge_person(summary, person, enrollment, [m for m in mails if m.recipient == person.email])
    return summary


def mail_of(accepted: Accepted, content: bytes) -> Mail:
    """What the judgement needs of an accepted message."""
    (recipient,) = accepted.recipients
    return Mail(email.message_from_bytes(content)["Message-ID"], recipient, accepted.data_began)


def _judge_messages(
    summary: Summary, enrollments: Mapping[str, Mapping[str, Any]], mails: Sequence[Mail]
) -> None:
    known = {d["message_id"]: d for e in enrollments.values() for d in e["deliveries"] if d["message_id"]}
    times = Counter(mail.message_id for mail in mails)
    summary.doubled = sum(count - 1 for count in times.values())
    summary.unknown = sum(count for message_id, count in times.items() if message_id not in known)
    for message_id, delivery in known.items():
        if delivery["state"] == "sent" and message_id not in times:
            summary.broken.append(f"{delivery['dispatch_id']} counts as sent, and nobody received it")
    if summary.doubled:
        summary.broken.append(f"{summary.doubled} messages were sent twice")
    if summary.unknown:
        summary.broken.append(f"{summary.unknown} messages belong to no stage of anybody")


def _judge_person(
    summary: Summary, person: Person, enrollment: Mapping[str, Any], mails: Sequence[Mail]
) -> None:
    opened = sum(chapter["type"] == "task_opened" for chapter in enrollment["history"])
    summary.tasks_opened += opened
    reason = enrollment["stop"]["reason"] if enrollment["stop"] else None
    if reason:
        summary.stopped[reason] += 1
    late = _begun_after_the_stop(enrollment, mails)
    summary.after_a_stop += late
    if late:
        summary.broken.append(f"{person.name} was written to {late} times after the stop")
    ending = person.ending
    if (enrollment["state"], reason) != (ending.state, ending.reason):
        summary.broken.append(
            f"{person.name}, who {person.habit}, is {enrollment['state']} ({reason}), "
            f"not {ending.state} ({ending.reason})"
        )
    if len(mails) not in ending.mails:
        summary.broken.append(f"{person.name}, who {person.habit}, has {len(mails)} messages")
    if opened != ending.tasks:
        summary.broken.append(f"{person.name}, who {person.habit}, led to {opened} calls")


def _begun_after_the_stop(enrollment: Mapping[str, Any], mails: Sequence[Mail]) -> int:
    stops = [chapter["rec"] for chapter in enrollment["history"] if chapter["type"] == "stopped"]
    if not stops:
        return 0
    (stopped_at,) = stops
    last = datetime.fromisoformat(stopped_at).timestamp() + READ_AGE_SECONDS
    return sum(mail.began > last for mail in mails)
