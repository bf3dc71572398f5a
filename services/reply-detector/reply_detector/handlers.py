"""Settles one stored message: judge, match, decide, write, publish, and see that it was done."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from chassis import faults
from chassis.clock import Clock
from chassis.documents import EnrollmentView, StoppedView, VersionView, version_id
from chassis.errors import Reject
from chassis.kafka import Record
from chassis.telemetry import fields, timed
from reply_detector import telemetry
from reply_detector.match import By, Match, Reads, find
from reply_detector.model import (
    Arrival,
    Cause,
    Effect,
    State,
    StopScopes,
    again_seconds,
    decide,
    match_document,
    proof,
    suppression,
    verdict_document,
)
from reply_detector.verdict import Verdict

log = logging.getLogger(__name__)

Document = dict[str, Any]
Classify = Callable[[bytes], Verdict]

THREAD_FROM_BYTES = 64 * 1024
"""Judging a larger message takes long enough to be felt by whoever shares the event loop."""
FIRST_LOOK_SECONDS = 30.0
"""When the sweep takes over a message whose judge died before its first publication."""


class Inbox(Reads, Protocol):
    """What settling asks of the database."""

    async def inbound(self, workspace_id: UUID, inbound_id: UUID) -> Document | None: ...

    async def raw(self, workspace_id: UUID, inbound_id: UUID) -> bytes | None: ...

    async def judge(self, inbound: Document, fields: Document, to: State) -> bool: ...

    async def published(self, inbound: Document, again_at: datetime) -> bool: ...

    async def settle(self, inbound: Document, confirmed_at: datetime) -> bool: ...

    async def versions(self, workspace_id: UUID, ids: Collection[str]) -> dict[str, VersionView]: ...

    async def suppress(self, suppressions: Sequence[Document]) -> None: ...

    async def is_done(self, workspace_id: UUID, cause: Cause, since: datetime, now: datetime) -> bool: ...

    async def stopped(
        self, workspace_id: UUID, ids: Collection[UUID], causes: Collection[UUID]
    ) -> list[StoppedView]: ...


class Publishes(Protocol):
    """Returns once every record is durable; raises Retry otherwise."""

    def publish(self, records: Sequence[Record]) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that was found out about a message."""

    verdict: Verdict
    match: Match
    effect: Effect


class Detector:
    """Carries messages from received to settled; may be called for any of them, at any time, repeatedly."""

    def __init__(
        self,
        inbox: Inbox,
        publisher: Publishes,
        classify: Classify,
        suppression_id: Callable[[UUID, str, str], str],
        clock: Clock,
        *,
        default_hold: timedelta,
    ) -> None:
        self._inbox = inbox
        self._publisher = publisher
        self._classify = classify
        self._suppression_id = suppression_id
        self._clock = clock
        self._default_hold = default_hold

    async def settle(self, workspace_id: UUID, inbound_id: UUID) -> State:
        """Carry one message as far as it goes now; the state that it is in afterwards.

        The one way of the agent and of the sweep. Raises Reject for a message that is not stored, Retry for a
        transient failure; whatever was done before is safe to be done again.
        """
        inbound = await self._stored(workspace_id, inbound_id)
        if inbound["state"] == State.RECEIVED:
            inbound = await self._judge(inbound)
        if inbound["state"] == State.JUDGED:
            return await self._carry_out(inbound)
        return State(inbound["state"])

    async def _stored(self, workspace_id: UUID, inbound_id: UUID) -> Document:
        inbound = await self._inbox.inbound(workspace_id, inbound_id)
        if inbound is None:
            raise Reject("unknown_inbound", f"no message {inbound_id} is stored in its workspace")
        return inbound

    # From received to judged.

    async def _judge(self, inbound: Document) -> Document:
        """The message as it stands after it was judged, by us or by somebody faster."""
        judgement = await self._look_into(Arrival.read(inbound))
        to = State.JUDGED if judgement.effect.is_owed else State.SETTLED
        judged = self._judged(judgement, to)
        if not await self._inbox.judge(inbound, judged, to):
            telemetry.OVERTAKEN.labels("judge").inc()
            return await self._stored(inbound["workspace_id"], inbound["_id"])
        self._tell(inbound, judgement, to)
        return {**inbound, **judged, "state": to.value}

    async def _look_into(self, arrival: Arrival) -> Judgement:
        raw = await self._inbox.raw(arrival.workspace_id, arrival.id)
        if raw is None:
            raise Reject("raw_missing", f"the bytes of message {arrival.id} are not stored")
        with timed(telemetry.CLASSIFY_SECONDS):
            verdict = await self._verdict(raw)
        found = await find(arrival.workspace_id, arrival.mailbox_id, verdict, self._inbox)
        scopes = await self._scopes(arrival.workspace_id, found.enrollments)
        return Judgement(verdict, found, decide(arrival, verdict, found, scopes, self._default_hold))

    async def _verdict(self, raw: bytes) -> Verdict:
        if len(raw) < THREAD_FROM_BYTES:
            return self._classify(raw)
        return await asyncio.to_thread(self._classify, raw)

    async def _scopes(
        self, workspace_id: UUID, enrollments: Sequence[EnrollmentView]
    ) -> dict[UUID, StopScopes]:
        """How far the stops of each enrollment reach, as the version that it pins says."""
        pinned = {e.id: version_id(e.sequence_id, e.sequence_version) for e in enrollments}
        versions = await self._inbox.versions(workspace_id, set(pinned.values())) if pinned else {}
        return {
            enrollment: StopScopes.read(versions[version].document)
            for enrollment, version in pinned.items()
            if version in versions
        }

    def _judged(self, judgement: Judgement, to: State) -> Document:
        now = self._clock.now()
        judged: Document = {
            "verdict": verdict_document(judgement.verdict),
            "match": match_document(judgement.match),
            "effect": judgement.effect.document(),
            "judged_at": now,
            "publishes": 0,
        }
        if to is State.JUDGED:
            judged["again_at"] = self._clock.in_real(FIRST_LOOK_SECONDS)
        else:
            judged["confirmed_at"] = now
        return judged

    def _tell(self, inbound: Document, judgement: Judgement, to: State) -> None:
        kind, by = judgement.verdict.kind.value, judgement.match.by.value
        telemetry.JUDGED.labels(kind, by).inc()
        if to is State.SETTLED:
            telemetry.SETTLED.labels(kind).inc()
        told = fields(
            "inbound.judged",
            inbound_id=inbound["_id"],
            kind=kind,
            match=by,
            stops=len(judgement.effect.causes),
        )
        log.info("message judged", extra=told)

    # From judged to settled.

    async def _carry_out(self, inbound: Document) -> State:
        """Settled once everything was seen done; until then what is owed is published, again and again."""
        effect = Effect.read(inbound["effect"])
        if inbound.get("publishes") and await self._is_done(inbound, effect):
            return await self._confirm(inbound, effect)
        if not inbound.get("publishes"):
            await self._suppress(inbound, effect)
        await self._publish(inbound, effect)
        await faults.point("reply_detector.after_stop_publish")
        again_at = self._clock.in_real(again_seconds(inbound.get("publishes", 0) + 1))
        if not await self._inbox.published(inbound, again_at):
            telemetry.OVERTAKEN.labels("published").inc()
        return State.JUDGED

    async def _suppress(self, inbound: Document, effect: Effect) -> None:
        """Before the stops are published: once they are seen done, nobody comes back for this."""
        arrival = Arrival.read(inbound)
        await self._inbox.suppress(
            [
                suppression(arrival, self._suppression_id(arrival.workspace_id, "address", address), effect)
                for address in effect.suppress
            ]
        )

    async def _publish(self, inbound: Document, effect: Effect) -> None:
        arrival, now = Arrival.read(inbound), self._clock.real_now()
        stops = [Record.of(cause.message(arrival, now)) for cause in effect.causes]
        proofs = [Record.of(proof(arrival, dispatch, now)) for dispatch in effect.sent]
        await self._publisher.publish([*proofs, *stops])
        for cause in effect.causes:
            telemetry.STOPS.labels(cause.reason.value).inc()

    async def _is_done(self, inbound: Document, effect: Effect) -> bool:
        now = self._clock.now()
        for cause in effect.causes:
            if not await self._inbox.is_done(inbound["workspace_id"], cause, inbound["received_at"], now):
                return False
        return True

    async def _confirm(self, inbound: Document, effect: Effect) -> State:
        if await self._inbox.settle(inbound, self._clock.now()):
            telemetry.SETTLED.labels(inbound["verdict"]["kind"]).inc()
            await self._measure(inbound, effect)
        else:
            telemetry.OVERTAKEN.labels("settle").inc()
        return State.SETTLED

    async def _measure(self, inbound: Document, effect: Effect) -> None:
        """How long the person who answered could still have been written to."""
        if inbound["match"]["by"] not in (By.THREAD, By.ADDRESS) or not effect.causes:
            return
        ended = await self._inbox.stopped(
            inbound["workspace_id"],
            inbound["match"]["enrollments"],
            {cause.event_id for cause in effect.causes},
        )
        if ended:
            last = self._clock.at_real(max(view.written_at for view in ended))
            business = (last - inbound["received_at"]).total_seconds()
            telemetry.STOP_SECONDS.observe(max(0.0, business / self._clock.speed))
