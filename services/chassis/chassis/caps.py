"""Sending limits as caps: at most so many messages under one key in any so many seconds.

The scheduler reserves a slot for each message that a cap concerns, the sender spends it; both must agree on
which messages those are.
"""

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from chassis import ramp
from chassis.documents import MailboxView, Ramp, SmsNumberView, WorkspaceView
from chassis.zones import find_zone
from segue_contracts.sequence import Limits

HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `count` messages under `key` in any half-open window of `seconds`.

    `paced`: one at a time, and the sender keeps the distance as well, to the second. `until` (Unix seconds):
    only windows whose last message goes before it count, of a limit that is about to grow.
    """

    key: str
    count: int
    seconds: int
    paced: bool = False
    until: int | None = None


def caps_of(
    mailbox: MailboxView,
    workspace: WorkspaceView | None,
    limits: Limits,
    *,
    sequence_id: UUID,
    person_id: UUID,
    is_first: bool,
    number: SmsNumberView | None = None,
) -> tuple[Cap, ...]:
    """The caps over one message; `is_first`: the first of its sequence for this person; `number`: from which
    a text message goes. Empty: it needs no slot.
    """
    caps: list[Cap] = []
    of_mailbox = mailbox.limits
    if of_mailbox.ramp is not None:
        caps += _while_growing(mailbox.id, of_mailbox.ramp, mailbox.zone, of_mailbox.per_day)
    elif of_mailbox.per_day:
        caps.append(_of_mailbox(mailbox.id, of_mailbox.per_day, DAY))
    if of_mailbox.per_hour:
        caps.append(_of_mailbox(mailbox.id, of_mailbox.per_hour, HOUR))
    if of_mailbox.gap_seconds:
        caps.append(_of_mailbox(mailbox.id, 1, of_mailbox.gap_seconds))
    if workspace is not None and workspace.limits.per_person_per_day:
        caps.append(Cap(f"person:{person_id}", workspace.limits.per_person_per_day, DAY))
    if is_first and limits.new_people_per_day:
        caps.append(Cap(f"new:{sequence_id}", limits.new_people_per_day, DAY))
    if number is not None:
        caps += _of_number(number)
    return tuple(caps)


def number_key(number_id: UUID) -> str:
    """Under which the messages of a phone number are counted."""
    return f"number:{number_id}"


def _of_number(number: SmsNumberView) -> list[Cap]:
    limits = number.limits
    counts = ((limits.per_day, DAY), (limits.per_hour, HOUR))
    return [Cap(number_key(number.id), count, seconds) for count, seconds in counts if count]


@lru_cache(maxsize=1024)  # the same for every message of a mailbox
def _while_growing(
    mailbox_id: UUID, growing: Ramp, zone_name: str | None, per_day: int | None
) -> tuple[Cap, ...]:
    """The day's cap at its end, and every smaller one until it grows."""
    zone = find_zone(zone_name) or find_zone("UTC")
    assert zone is not None
    most, key = min(growing.until, per_day or growing.until), f"mailbox:{mailbox_id}"
    smaller = ((count, end) for count, end in ramp.steps(growing, zone) if count < most)
    return (
        *(Cap(key, count, DAY, until=int(end.timestamp())) for count, end in smaller),
        _of_mailbox(mailbox_id, most, DAY),
    )


def _of_mailbox(mailbox_id: UUID, count: int, seconds: int) -> Cap:
    return Cap(f"mailbox:{mailbox_id}", count, seconds, paced=count == 1)
