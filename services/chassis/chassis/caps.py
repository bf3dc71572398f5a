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
    """At most `count` messages under `key` in any half-open window of `seconds`."""

    key: str
    count: int
    seconds: int


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
    of_mailbox, of_workspace = f"mailbox:{mailbox.id}", workspace.limits if workspace else None
    wanted = (
        (of_mailbox, mailbox.limits.per_day, DAY),
        (of_mailbox, mailbox.limits.per_hour, HOUR),
        (of_mailbox, 1 if mailbox.limits.gap_seconds else None, mailbox.limits.gap_seconds or 0),
        (f"person:{person_id}", of_workspace.per_person_per_day if of_workspace else None, DAY),
        (f"new:{sequence_id}", limits.new_people_per_day if is_first else None, DAY),
    )
    return tuple(Cap(key, count, seconds) for key, count, seconds in wanted if count)
