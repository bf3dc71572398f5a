"""When a mailbox is searched for the copy of what is in doubt, and what is told of it."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid5

from chassis.clock import Clock
from chassis.documents import DoubtView, WatchedMailbox
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.telemetry import fields
from reply_detector import telemetry
from reply_detector.outgoing import ISSUER
from segue_contracts.commands import MESSAGE_ID_PATTERN, Evidence, NoteEvidence, NoteProviderId
from segue_contracts.message import Message

log = logging.getLogger(__name__)

MOST_AT_ONCE = 20
AGAIN_CAP_SECONDS = 6 * 3600.0
TELL_SECONDS = 10.0


class Keeps(Protocol):
    """What is asked of the database."""

    async def doubts(self, mailbox: WatchedMailbox, limit: int) -> list[DoubtView]: ...


class Publishes(Protocol):
    """Returns once every record is durable; raises Retry otherwise."""

    def publish(self, records: Sequence[Record]) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Looked:
    """How often one was looked for, and the monotonic instant from which on it may be again."""

    times: int = 0
    again_at: float = float("-inf")


class Doubted:
    """What is in doubt in one mailbox; a process that takes the mailbox over begins to look anew.

    What was not found is looked for again after `first_again_seconds` (real), then twice as long each time.
    """

    def __init__(
        self,
        mailbox: WatchedMailbox,
        store: Keeps,
        publisher: Publishes,
        clock: Clock,
        first_again_seconds: float,
    ) -> None:
        self._mailbox = mailbox
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._first_again_seconds = first_again_seconds
        self._looked: dict[str, Looked] = {}

    async def due(self) -> list[DoubtView]:
        """What is to be looked for now; it counts as looked for from then on. Raises Retry."""
        doubts = await self._store.doubts(self._mailbox, MOST_AT_ONCE)
        now = self._clock.monotonic()
        self._looked = {each.id: self._looked.get(each.id, Looked()) for each in doubts}
        due = [each for each in doubts if self._looked[each.id].again_at <= now]
        for each in due:
            times = self._looked[each.id].times + 1
            self._looked[each.id] = Looked(times, now + self._again_seconds(times))
        return due

    async def tell(self, doubt: DoubtView, seen: str | None, places: Sequence[str]) -> None:
        """Tell the sender of the copy that was `seen`, or where none was; if Kafka is away, later again."""
        if not places:
            return
        telemetry.DOUBTS.labels("not_found" if seen is None else "found").inc()
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await self._publisher.publish(list(map(Record.of, self._messages(doubt, seen, places))))
        except (Retry, TimeoutError) as error:
            self._looked.pop(doubt.id, None)
            told = fields("watch.evidence_left", mailbox_id=self._mailbox.id, error=str(error)[:300])
            log.warning("evidence is looked for again", extra=told)

    def _again_seconds(self, times: int) -> float:
        return float(min(AGAIN_CAP_SECONDS, self._first_again_seconds * 2.0 ** min(times - 1, 20)))

    def _messages(self, doubt: DoubtView, seen: str | None, places: Sequence[str]) -> list[Message]:
        now = self._clock.now()
        common: dict[str, Any] = {
            "dispatch_id": doubt.id,
            "occurred_at": now,
            "recorded_at": self._clock.real_now(),
            "workspace_id": self._mailbox.workspace_id,
            "issued_by": ISSUER,
        }
        # The same proof has the same id; that nothing was found is news each time.
        name = f"sent-copy/{doubt.id}" if seen else f"no-copy/{doubt.id}/{now.isoformat()}"
        told: list[Message] = [
            NoteEvidence(
                event_id=uuid5(self._mailbox.id, name),
                evidence=Evidence.SENT_COPY,
                found=seen is not None,
                places=[place[:200] for place in places],
                **common,
            )
        ]
        if seen is not None and seen != doubt.message_id and MESSAGE_ID_PATTERN.match(seen):
            event_id = uuid5(self._mailbox.id, f"provider-id/{doubt.id}")
            told.append(NoteProviderId(event_id=event_id, provider_message_id=seen, **common))
        return told
