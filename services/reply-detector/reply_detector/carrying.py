"""Carries out what a message owes, from judged to settled: publish, look if it is done, publish again."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chassis import faults, tracing
from chassis.clock import Clock
from chassis.documents import EnrollmentView, StoppedView, hold_id
from chassis.kafka import Record
from chassis.telemetry import CORRELATION_HEADER, correlated, correlation_id
from chassis.together import Together
from reply_detector import outgoing, telemetry
from reply_detector.answers import is_told, notifications
from reply_detector.corrections import corrected_at
from reply_detector.match import By
from reply_detector.model import Amend, Arrival, Cause, Document, Effect, Release, State, Wait, again_seconds
from segue_contracts.message import Message

MEASURED = frozenset({By.THREAD, By.PHONE, By.ADDRESS})


class Outbox(Protocol):
    """What carrying out asks of the database."""

    async def published(self, inbound: Document, again_at: datetime) -> bool: ...

    async def settle(self, inbound: Document, fields: Document) -> bool: ...

    async def suppress(self, suppressions: Sequence[Document]) -> None: ...

    async def enrollments(self, workspace_id: UUID, ids: Collection[UUID]) -> list[EnrollmentView]: ...

    async def mailbox_owner(self, workspace_id: UUID, mailbox_id: UUID) -> UUID | None: ...

    async def is_done(self, workspace_id: UUID, cause: Cause, since: datetime, now: datetime) -> bool: ...

    async def is_held(self, workspace_id: UUID, wait: Wait, since: datetime, now: datetime) -> bool: ...

    async def has_noted(self, workspace_id: UUID, dispatch_ids: Collection[str]) -> bool: ...

    async def has_sent(self, workspace_id: UUID, dispatch_ids: Collection[str]) -> bool: ...

    async def ended_by(self, workspace_id: UUID, amend: Amend) -> list[UUID]: ...

    async def still_set(self, workspace_id: UUID, hold_ids: Collection[str], at: datetime) -> set[str]: ...

    async def stopped(
        self, workspace_id: UUID, ids: Collection[UUID], causes: Collection[UUID]
    ) -> list[StoppedView]: ...


class Publishes(Protocol):
    """Returns once every record is durable; raises Retry otherwise."""

    def publish(self, records: Sequence[Record]) -> Awaitable[None]: ...


class Carrying:
    """Safe to be done again at any point: everything it tells has the same id each time."""

    def __init__(
        self,
        outbox: Outbox,
        publisher: Publishes,
        suppression_id: Callable[[UUID, str, str], str],
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._publish: Together[Sequence[Record], None] = Together(self._publish_all, isolates=True)
        self._suppression_id = suppression_id
        self._clock = clock

    async def out(self, inbound: Document) -> State:
        """Settled once everything was seen done; until then what is owed is published, again and again."""
        effect = Effect.read(inbound["effect"])
        if inbound.get("publishes") and await self._is_done(inbound, effect):
            return await self._confirm(inbound, effect)
        if not inbound.get("publishes"):
            await self._suppress(inbound, effect)
        await self._tell(inbound, effect)
        await faults.point("reply_detector.after_stop_publish")
        again_at = self._clock.in_real(again_seconds(inbound.get("publishes", 0) + 1))
        if not await self._outbox.published(inbound, again_at):
            telemetry.OVERTAKEN.labels("published").inc()
        return State.JUDGED

    async def _suppress(self, inbound: Document, effect: Effect) -> None:
        """Before the stops are published: once they are seen done, nobody comes back for this."""
        arrival = Arrival.read(inbound)
        values = [*(("address", a) for a in effect.suppress), *(("phone", p) for p in effect.suppress_phones)]
        ids = [(self._suppression_id(arrival.workspace_id, kind, value), kind) for kind, value in values]
        await self._outbox.suppress(outgoing.suppressions(arrival, ids, effect))

    async def _tell(self, inbound: Document, effect: Effect) -> None:
        arrival, now = Arrival.read(inbound), self._clock.real_now()
        told = outgoing.messages(arrival, effect, now)
        if effect.amends or effect.releases:
            told += await self._taken_back(inbound, effect)
        await self._publish(records_of(told))
        for cause in effect.causes:
            telemetry.STOPS.labels(cause.reason.value).inc()

    async def _publish_all(self, some: Sequence[Sequence[Record]]) -> list[None]:
        """What many messages tell, at once."""
        with correlated(None):  # each record has its own
            await self._publisher.publish([record for records in some for record in records])
        return [None] * len(some)

    async def _taken_back(self, inbound: Document, effect: Effect) -> list[Message]:
        """What a correction tells about whatever still stands as it was misread."""
        arrival, at, now = Arrival.read(inbound), corrected_at(inbound), self._clock.real_now()
        told: list[Message] = []
        for amend in effect.amends:
            ended = await self._outbox.ended_by(arrival.workspace_id, amend)
            told += [outgoing.correct(arrival, amend, enrollment, at, now) for enrollment in ended]
        standing = await self._still_set(arrival, effect)
        told += [outgoing.lift(arrival, r, at, now) for r in effect.releases if _hold(r) in standing]
        return told

    async def _is_done(self, inbound: Document, effect: Effect) -> bool:
        workspace, since, now = inbound["workspace_id"], inbound["received_at"], self._clock.now()
        asked = [
            *(self._outbox.is_done(workspace, cause, since, now) for cause in effect.causes),
            *(self._outbox.is_held(workspace, wait, since, now) for wait in effect.waits),
        ]
        if effect.notes:
            asked.append(self._outbox.has_noted(workspace, [note.dispatch_id for note in effect.notes]))
        if effect.sent:
            asked.append(self._outbox.has_sent(workspace, effect.sent))
        if not all(await asyncio.gather(*asked)):
            return False
        for amend in effect.amends:
            if await self._outbox.ended_by(workspace, amend):
                return False
        return not (effect.releases and await self._still_set(Arrival.read(inbound), effect))

    async def _still_set(self, arrival: Arrival, effect: Effect) -> set[str]:
        """The holds that the misread message has set and nobody has touched since."""
        ids = [_hold(release) for release in effect.releases]
        return await self._outbox.still_set(arrival.workspace_id, ids, arrival.received_at) if ids else set()

    async def _confirm(self, inbound: Document, effect: Effect) -> State:
        fields: Document = {"confirmed_at": self._clock.now()}
        if is_told(inbound):
            await self._notify(inbound)
            fields["told_at"] = fields["confirmed_at"]
        if await self._outbox.settle(inbound, fields):
            telemetry.SETTLED.labels(inbound["verdict"]["kind"]).inc()
            await self._measure(inbound, effect)
        else:
            telemetry.OVERTAKEN.labels("settle").inc()
        return State.SETTLED

    async def _notify(self, inbound: Document) -> None:
        """Durable before it counts as settled; a crash in between tells it once more under the same id."""
        theirs = await self._outbox.enrollments(inbound["workspace_id"], inbound["answer"]["enrollments"])
        sender = await self._outbox.mailbox_owner(inbound["workspace_id"], inbound["mailbox_id"])
        told = notifications(inbound, theirs, sender, self._clock.real_now())
        await self._publish(records_of(told))
        telemetry.NOTIFICATIONS.labels(inbound["answer"]["kind"]).inc(len(told))

    async def _measure(self, inbound: Document, effect: Effect) -> None:
        """How long the person who answered could still have been written to."""
        if inbound["match"]["by"] not in MEASURED or not effect.causes or inbound.get("correction"):
            return
        ended = await self._outbox.stopped(
            inbound["workspace_id"],
            inbound["match"]["enrollments"],
            {cause.event_id for cause in effect.causes},
        )
        if ended:
            last = self._clock.at_real(max(view.written_at for view in ended))
            business = (last - inbound["received_at"]).total_seconds()
            telemetry.STOP_SECONDS.observe(max(0.0, business / self._clock.speed))


def records_of(messages: Sequence[Message]) -> list[Record]:
    """The records of messages, with the correlation id and the trace of whose piece of work they are."""
    correlation = correlation_id()
    common = () if correlation is None else ((CORRELATION_HEADER, correlation.encode()),)
    context = tracing.context()
    records = [Record.of(message, context) for message in messages]
    return [replace(record, headers=(*record.headers, *common)) for record in records]


def _hold(release: Release) -> str:
    return hold_id(release.scope.value, release.target)
