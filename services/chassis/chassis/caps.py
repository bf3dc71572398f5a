"""Sending limits as caps: at most so many messages under one key in any so many seconds.

The scheduler reserves a slot for each message that a cap concerns, the sender spends it; both must agree on
which messages those are.
"""

from dataclasses import dataclass
from uuid import UUID

from chassis.documents import MailboxView, WorkspaceView
from segue_contracts.sequence import Limits

HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `count` messages under `key` in any half-open window of `seconds`.

    `paced`: one at a time, and the sender keeps the distance as well, to the second.
    """

    key: str
    count: int
    seconds: int
    paced: bool = False


def caps_of(
    mailbox: MailboxView,
    workspace: WorkspaceView | None,
    limits: Limits,
    *,
    sequence_id: UUID,
    person_id: UUID,
    is_first: bool,
) -> tuple[Cap, ...]:
    """The caps over one message; `is_first`: the first of its sequence for this person. Empty: it needs no
    slot.
    """
    caps: list[Cap] = []
    of_mailbox = mailbox.limits
    if of_mailbox.per_day:
        caps.append(_of_mailbox(mailbox.id, of_mailbox.per_day, DAY))
    if of_mailbox.per_hour:
        caps.append(_of_mailbox(mailbox.id, of_mailbox.per_hour, HOUR))
    if of_mailbox.gap_seconds:
        caps.append(_of_mailbox(mailbox.id, 1, of_mailbox.gap_seconds))
    if workspace is not None and workspace.limits.per_person_per_day:
        caps.append(Cap(f"person:{person_id}", workspace.limits.per_person_per_day, DAY))
    if is_first and limits.new_people_per_day:
        caps.append(Cap(f"new:{sequence_id}", limits.new_people_per_day, DAY))
    return tuple(caps)


def _of_mailbox(mailbox_id: UUID, count: int, seconds: int) -> Cap:
    return Cap(f"mailbox:{mailbox_id}", count, seconds, paced=count == 1)
