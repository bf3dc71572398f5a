"""What a request for a pixel or a link means, and when it is told.

Its event waits in the document's outbox for a few seconds, in which other requests for the same message may
tell that it was a machine; then a sweep publishes it, again until the brokers have acknowledged it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, Protocol
from uuid import uuid5

from api import telemetry
from api.engagement_store import Engagements, Request
from api.machines import BURST_LINKS, BURST_SECONDS, HEAD_SECONDS
from chassis.clock import Clock
from chassis.kafka import Record
from chassis.store import Document
from chassis.tracking import Kind
from segue_contracts.engagement import EngagementEvent

BATCH: Final = 200


async def note(engagements: Engagements, request: Request) -> None:
    """Count a GET; then look whether this one and those just before it were a machine's."""
    await engagements.count(request)
    telemetry.ENGAGEMENTS.labels(request.mark.kind.value, request.verdict.reason or "browser").inc()
    if request.verdict.machine:
        return
    found = await engagements.of_message(request.mark)
    reason = second_thought(found, request.real_now, len(request.message.links))
    if reason is not None:
        await engagements.were_machines(request.mark, request.real_now, reason)


def second_thought(found: Sequence[Document], real_now: datetime, links: int) -> str | None:
    """Why requests that each looked like a person's were a machine's: all of one kind, for one message."""

    def recent(field: str, seconds: float) -> int:
        since = real_now - timedelta(seconds=seconds)
        return sum(1 for doc in found if doc.get(field) is not None and doc[field] >= since)

    if recent("head_at", HEAD_SECONDS):
        return "head_first"
    if links > 1 and recent("asked_at", BURST_SECONDS) >= min(links, BURST_LINKS):
        return "many_links"
    return None


# ---- the events ---------------------------------------------------------------------------------------


class Publishes(Protocol):
    """What this module needs of Kafka; returns when all records are acknowledged, else Retry."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Write all records."""


class Teller:
    """Publishes what the outboxes hold, by a sweep alone: nobody waits for it."""

    def __init__(self, clock: Clock, engagements: Engagements, publisher: Publishes) -> None:
        self._clock = clock
        self._engagements = engagements
        self._publisher = publisher

    async def sweep(self) -> None:
        """All that is ready, batch after batch while there is a full one."""
        while await self._tell() >= BATCH:
            pass

    async def _tell(self) -> int:
        real_now = self._clock.real_now()
        found = await self._engagements.untold(real_now, BATCH)
        events = [(doc, list(ready_events(doc, real_now))) for doc in found]
        await self._publisher.publish(
            [Record.of(event) for event, _ in chain.from_iterable(each for _, each in events)]
        )
        await self._engagements.told([(doc, [number for _, number in each]) for doc, each in events])
        return len(found)


def ready_events(doc: Document, real_now: datetime) -> Iterator[tuple[EngagementEvent, int]]:
    """The events whose time has come, with their numbers; the same however often they are told."""
    same: dict[str, Any] = {
        name: doc[name]
        for name in (
            *("workspace_id", "enrollment_id", "person_id", "sequence_id", "sequence_version", "stage_id"),
            *("stage_index", "owner_id", "mailbox_id", "is_test", "sent_at", "link"),
        )
    }
    for entry in doc["outbox"]:
        if entry["ready_at"] <= real_now:
            event = EngagementEvent(
                event_id=uuid5(doc["enrollment_id"], f"{doc['_id']}/{entry['number']}"),
                event_type=Kind(doc["kind"]).value,
                occurred_at=entry["at"],
                recorded_at=entry["recorded_at"],
                variant=doc.get("variant"),
                machine=entry["machine"],
                reason=entry["reason"],
                first=entry["first"],
                **same,
            )
            yield event, entry["number"]
