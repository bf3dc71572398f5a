"""Finds whom a message is from: by one of our Message-IDs, else by the sender's address, else not at all.

Only an id is proof: a Message-ID of ours is a keyed hash that nobody knows who has not received the message.
An address is what the message claims. What the mailbox's own owner wrote is looked at for whom it is to.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from chassis.documents import DeliveryView, EnrollmentView, SentView
from reply_detector.verdict import Kind, Verdict

MOST_IDS = 200
"""A message may name any number of ids; a thread of ours that is longer than this still names the latest."""

ABOUT_A_RETURNED_MESSAGE = frozenset({Kind.BOUNCE, Kind.COMPLAINT})
A_PERSON_WROTE = frozenset({Kind.REPLY, Kind.OPT_OUT})
"""Anything else from the mailbox itself was written by a program: its own absence note, a receipt."""
TWIN_WITHIN = timedelta(minutes=10)
"""Between our sending and the Date of a copy that the provider has written anew."""


class By(StrEnum):
    """How a message was matched, the strongest first."""

    OWN_COPY = "own_copy"
    MANUAL_MAIL = "manual_mail"
    THREAD = "thread"
    PHONE = "phone"
    ADDRESS = "address"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Match:
    """What a message belongs to.

    deliveries: those whose Message-ID it names; enrollments: theirs (also ended ones), or, by address and in
    a mail written by hand, the live ones in its mailbox, or, by phone, all live ones; people: whoever is
    reached at the addresses in question.
    """

    by: By
    deliveries: tuple[DeliveryView, ...] = ()
    enrollments: tuple[EnrollmentView, ...] = ()
    people: tuple[UUID, ...] = ()

    @property
    def everybody(self) -> tuple[UUID, ...]:
        """The people whom it is about, in whatever way it was found."""
        return tuple(dict.fromkeys((*self.people, *(e.person_id for e in self.enrollments))))


class Reads(Protocol):
    """What matching asks of the database; everything within one workspace."""

    async def mailbox_address(self, workspace_id: UUID, mailbox_id: UUID) -> str | None: ...

    async def deliveries(self, workspace_id: UUID, message_ids: Collection[str]) -> list[DeliveryView]: ...

    async def enrollments(self, workspace_id: UUID, ids: Collection[UUID]) -> list[EnrollmentView]: ...

    async def people_at(self, workspace_id: UUID, addresses: Collection[str]) -> list[UUID]: ...

    async def live_in_mailbox(
        self, workspace_id: UUID, people: Collection[UUID], mailbox_id: UUID
    ) -> list[EnrollmentView]: ...

    async def people_with_phone(self, workspace_id: UUID, phone: str) -> list[UUID]: ...

    async def live_of(self, workspace_id: UUID, people: Collection[UUID]) -> list[EnrollmentView]: ...

    async def sent_between(
        self, workspace_id: UUID, enrollments: Collection[UUID], since: datetime, until: datetime
    ) -> list[SentView]: ...


async def find(workspace_id: UUID, mailbox_id: UUID, verdict: Verdict, reads: Reads) -> Match:
    """The strongest match of a message that arrived in this mailbox."""
    about_returned = verdict.kind in ABOUT_A_RETURNED_MESSAGE
    if not about_returned and await _is_ours(workspace_id, mailbox_id, verdict, reads):
        return await _from_ourselves(workspace_id, mailbox_id, verdict, reads)
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


async def find_by_phone(workspace_id: UUID, phone: str, reads: Reads) -> Match:
    """Whose phone it is: everything live of theirs."""
    people = await reads.people_with_phone(workspace_id, phone) if phone else []
    live = await reads.live_of(workspace_id, people) if people else []
    return Match(By.PHONE if people else By.NONE, enrollments=tuple(live), people=tuple(people))


async def _is_ours(workspace_id: UUID, mailbox_id: UUID, verdict: Verdict, reads: Reads) -> bool:
    own = await reads.mailbox_address(workspace_id, mailbox_id)
    return own is not None and own.lower() == verdict.facts.from_address.lower()


async def _from_ourselves(workspace_id: UUID, mailbox_id: UUID, verdict: Verdict, reads: Reads) -> Match:
    """A copy of what Segue sent, else what the mailbox's owner wrote to somebody in a live sequence."""
    ids = own_ids(verdict)
    deliveries = await reads.deliveries(workspace_id, ids) if ids else []
    if deliveries:
        return await _own_copy(workspace_id, deliveries, reads)
    if verdict.kind not in A_PERSON_WROTE:
        return Match(By.OWN_COPY)
    live = await _written_to(workspace_id, mailbox_id, verdict, reads)
    if not live:
        return Match(By.OWN_COPY)
    twins = await _twins(workspace_id, live, verdict, reads)
    if twins:
        return await _own_copy(workspace_id, twins, reads)
    return Match(By.MANUAL_MAIL, enrollments=tuple(live), people=tuple({e.person_id: None for e in live}))


def own_ids(verdict: Verdict) -> list[str]:
    """The ids by which a copy of one of our messages is known: its own, and the one that its mark repeats."""
    facts = verdict.facts
    marked = f"<{facts.dispatch_mark}>" if facts.dispatch_mark else ""
    return [each for each in dict.fromkeys((facts.message_id, marked)) if each]


async def _own_copy(workspace_id: UUID, deliveries: Sequence[DeliveryView], reads: Reads) -> Match:
    """With our id on it, it proves that this was sent."""
    enrollments = await _enrollments_of(workspace_id, deliveries, reads)
    return Match(By.OWN_COPY, tuple(deliveries), tuple(enrollments))


async def _written_to(
    workspace_id: UUID, mailbox_id: UUID, verdict: Verdict, reads: Reads
) -> list[EnrollmentView]:
    """The live enrollments of whom a mail is to: by their address, else by the thread.

    What goes to colleagues alone, such as a forwarded thread, is to nobody whom we write to.
    """
    own, facts = verdict.facts.from_address.lower(), verdict.facts
    to = {address.lower() for address in facts.to_addresses} - {own}
    people = await reads.people_at(workspace_id, to) if to else []
    live = await reads.live_in_mailbox(workspace_id, people, mailbox_id) if people else []
    domain = own.rpartition("@")[2]
    if live or all(address.endswith(f"@{domain}") for address in to):
        return live
    thread = await _thread(workspace_id, verdict, reads)
    return [e for e in thread.enrollments if not e.ended] if thread else []


async def _twins(
    workspace_id: UUID, live: Sequence[EnrollmentView], verdict: Verdict, reads: Reads
) -> list[DeliveryView]:
    """Ours after all, though the provider left neither the id nor the mark: same person, subject and time."""
    facts = verdict.facts
    if facts.date is None or facts.dispatch_mark:
        return []
    since, until = facts.date - TWIN_WITHIN, facts.date + TWIN_WITHIN
    sent = await reads.sent_between(workspace_id, [e.id for e in live], since, until)
    to = {address.lower() for address in facts.to_addresses}
    return [
        each.delivery
        for each in sent
        if " ".join(each.subject.split()) == facts.subject and (each.delivery.recipient or "").lower() in to
    ]


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
