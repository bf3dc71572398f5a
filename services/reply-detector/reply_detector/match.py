"""Finds whom a message is from: by one of our Message-IDs, else by the sender's address, else not at all.

Only an id is proof: a Message-ID of ours is a keyed hash that nobody knows who has not received the message.
An address is what the message claims.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from chassis.documents import DeliveryView, EnrollmentView
from reply_detector.verdict import Kind, Verdict

MOST_IDS = 200
"""A message may name any number of ids; a thread of ours that is longer than this still names the latest."""

ABOUT_A_RETURNED_MESSAGE = frozenset({Kind.BOUNCE, Kind.COMPLAINT})


class By(StrEnum):
    """How a message was matched, the strongest first."""

    OWN_COPY = "own_copy"
    THREAD = "thread"
    ADDRESS = "address"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Match:
    """What a message belongs to.

    deliveries: those whose Message-ID it names; enrollments: theirs (also ended ones), or, by address, the
    live ones in the mailbox that it came to; people: whoever is reached at the addresses in question.
    """

    by: By
    deliveries: tuple[DeliveryView, ...] = ()
    enrollments: tuple[EnrollmentView, ...] = ()
    people: tuple[UUID, ...] = ()


class Reads(Protocol):
    """What matching asks of the database; everything within one workspace."""

    async def mailbox_address(self, workspace_id: UUID, mailbox_id: UUID) -> str | None: ...

    async def deliveries(self, workspace_id: UUID, message_ids: Collection[str]) -> list[DeliveryView]: ...

    async def enrollments(self, workspace_id: UUID, ids: Collection[UUID]) -> list[EnrollmentView]: ...

    async def people_at(self, workspace_id: UUID, addresses: Collection[str]) -> list[UUID]: ...

    async def live_in_mailbox(
        self, workspace_id: UUID, people: Collection[UUID], mailbox_id: UUID
    ) -> list[EnrollmentView]: ...


async def find(workspace_id: UUID, mailbox_id: UUID, verdict: Verdict, reads: Reads) -> Match:
    """The strongest match of a message that arrived in this mailbox."""
    about_returned = verdict.kind in ABOUT_A_RETURNED_MESSAGE
    if not about_returned and await _is_ours(workspace_id, mailbox_id, verdict, reads):
        return await _own_copy(workspace_id, verdict, reads)
    by_thread = await _thread(workspace_id, verdict, reads)
    if by_thread is not None:
        return by_thread
    if about_returned:
        return Match(By.NONE)
    return await _address(workspace_id, mailbox_id, verdict, reads)


def named_ids(verdict: Verdict) -> list[str]:
    """The Message-IDs by which a message may be matched, each once.

    Of a returned message only its own id counts where it is known: the References in it also name messages
    that went well.
    """
    ids: Iterable[str] = verdict.facts.references
    if verdict.kind in ABOUT_A_RETURNED_MESSAGE and verdict.original_message_ids:
        ids = verdict.original_message_ids
    distinct = list(dict.fromkeys(ids))
    if len(distinct) <= MOST_IDS:
        return distinct
    half = MOST_IDS // 2
    return [*distinct[:half], *distinct[-half:]]


async def _is_ours(workspace_id: UUID, mailbox_id: UUID, verdict: Verdict, reads: Reads) -> bool:
    own = await reads.mailbox_address(workspace_id, mailbox_id)
    return own is not None and own.lower() == verdict.facts.from_address.lower()


async def _own_copy(workspace_id: UUID, verdict: Verdict, reads: Reads) -> Match:
    """A copy of what the mailbox itself sent; with our id on it, it proves that this was sent."""
    if not verdict.facts.message_id:
        return Match(By.OWN_COPY)
    deliveries = await reads.deliveries(workspace_id, [verdict.facts.message_id])
    enrollments = await _enrollments_of(workspace_id, deliveries, reads)
    return Match(By.OWN_COPY, tuple(deliveries), tuple(enrollments))


async def _thread(workspace_id: UUID, verdict: Verdict, reads: Reads) -> Match | None:
    ids = named_ids(verdict)
    deliveries = await reads.deliveries(workspace_id, ids) if ids else []
    if not deliveries:
        return None
    enrollments = await _enrollments_of(workspace_id, deliveries, reads)
    recipients = {d.recipient.lower() for d in deliveries if d.recipient}
    sharing = await reads.people_at(workspace_id, recipients) if recipients else []
    people = dict.fromkeys([*(e.person_id for e in enrollments), *sharing])
    return Match(By.THREAD, tuple(deliveries), tuple(enrollments), tuple(people))


async def _enrollments_of(
    workspace_id: UUID, deliveries: Sequence[DeliveryView], reads: Reads
) -> list[EnrollmentView]:
    ids = {delivery.enrollment_id for delivery in deliveries}
    return await reads.enrollments(workspace_id, ids) if ids else []


async def _address(workspace_id: UUID, mailbox_id: UUID, verdict: Verdict, reads: Reads) -> Match:
    address = verdict.facts.from_address.lower()
    people = await reads.people_at(workspace_id, [address]) if address else []
    live = await reads.live_in_mailbox(workspace_id, people, mailbox_id) if people else []
    if not live:
        return Match(By.NONE, people=tuple(people))
    return Match(By.ADDRESS, enrollments=tuple(live), people=tuple(people))
