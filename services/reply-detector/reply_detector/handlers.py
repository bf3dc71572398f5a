"""Settles one stored message: judge, match, decide, write, carry out; and lets a person correct it."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from chassis import tracing
from chassis.clock import Clock
from chassis.errors import Reject
from chassis.telemetry import fields
from reply_detector import corrections, telemetry
from reply_detector.answers import answer_of, is_told
from reply_detector.carrying import Carrying
from reply_detector.decision import Found, Policy, decide
from reply_detector.kept import addresses_of, match_document, verdict_document
from reply_detector.looking import Looking, is_soft
from reply_detector.match import By
from reply_detector.model import Arrival, Effect, State
from reply_detector.verdict import Kind
from segue_contracts.events import CorrectAnswer

log = logging.getLogger(__name__)

Document = dict[str, Any]

FIRST_LOOK_SECONDS = 30.0
"""When the sweep takes over a message whose judge died before its first publication."""


class Inbox(Protocol):
    """What settling asks of the database."""

    async def inbound(self, workspace_id: UUID, inbound_id: UUID) -> Document | None: ...

    async def judge(self, inbound: Document, fields: Document, to: State) -> bool: ...

    async def correct(self, inbound: Document, fields: Document, before: Document, to: State) -> bool: ...

    async def save_result(self, result: Document) -> None: ...

    async def of_erased(self, workspace_id: UUID, people: Collection[UUID]) -> bool: ...


class Detector:
    """Carries messages from received to settled; may be called for any of them, at any time, repeatedly."""

    def __init__(
        self, inbox: Inbox, looking: Looking, carrying: Carrying, clock: Clock, policy: Policy
    ) -> None:
        self._inbox = inbox
        self._looking = looking
        self._carrying = carrying
        self._clock = clock
        self._policy = policy
        self._in_turn = asyncio.Lock()

    async def settle(self, workspace_id: UUID, inbound_id: UUID) -> State:
        """Carry one message as far as it goes now; the state that it is in afterwards.

        The one way of the agent and of the sweep. Raises Reject for a message that is not stored, Retry for a
        transient failure; whatever was done before is safe to be done again.
        """
        inbound = await self._stored(workspace_id, inbound_id)
        if inbound["state"] == State.RECEIVED:
            inbound = await self._judge(inbound)
        if inbound["state"] == State.JUDGED:
            return await self._carrying.out(inbound)
        return State(inbound["state"])

    async def _stored(self, workspace_id: UUID, inbound_id: UUID) -> Document:
        inbound = await self._inbox.inbound(workspace_id, inbound_id)
        if inbound is None:
            raise Reject("unknown_inbound", f"no message {inbound_id} is stored in its workspace")
        return inbound

    # From received to judged.

    async def _judge(self, inbound: Document) -> Document:
        """The message as it stands after it was judged, by us or by somebody faster."""
        found = await self._looking.into(inbound)
        if not is_soft(found):
            return await self._write(inbound, found)
        async with self._in_turn:  # each must see the one before it
            return await self._write(inbound, await self._looking.back(found))

    async def _write(self, inbound: Document, found: Found) -> Document:
        effect, answer = decide(found, self._policy), answer_of(found)
        of_erased = await self._inbox.of_erased(inbound["workspace_id"], found.match.everybody)
        owes = effect.is_owed or is_told({"answer": answer})
        to = State.JUDGED if owes else State.SETTLED
        judged = self._judged(found, effect, answer, to)
        if of_erased:
            judged["of_erased"] = True
        if not await self._inbox.judge(inbound, judged, to):
            telemetry.OVERTAKEN.labels("judge").inc()
            return await self._stored(inbound["workspace_id"], inbound["_id"])
        self._tell(found, effect, answer or {}, to)
        return {**inbound, **judged, "state": to.value}

    def _judged(self, found: Found, effect: Effect, answer: Document | None, to: State) -> Document:
        now = self._clock.now()
        judged: Document = {
            "verdict": verdict_document(found.verdict),
            "match": match_document(found.match),
            "addresses": addresses_of(found.verdict),
            "effect": effect.document(),
            "judged_at": now,
            "publishes": 0,
        }
        if answer is not None:
            judged["answer"] = answer
        if to is State.JUDGED:
            judged["again_at"] = self._clock.in_real(FIRST_LOOK_SECONDS)
        else:
            judged["confirmed_at"] = now
        return judged

    def _tell(self, found: Found, effect: Effect, answer: Document, to: State) -> None:
        kind, by = found.verdict.kind.value, found.match.by.value
        telemetry.JUDGED.labels(kind, by).inc()
        telemetry.MAILBOX_MESSAGES.count(found.arrival.mailbox_id, kind)
        if (charge := answer.get("charge")) is not None:
            telemetry.CHARGED.labels(charge).inc()
        if to is State.SETTLED:
            telemetry.SETTLED.labels(kind).inc()
        links, parent = [delivery.traceparent for delivery in found.match.deliveries], tracing.context()
        tracing.moment("message judged", parent=parent, links=links, inbound_id=found.arrival.id, kind=kind)
        told = fields(
            "inbound.judged",
            inbound_id=found.arrival.id,
            kind=kind,
            match=by,
            stops=len(effect.causes),
        )
        log.info("message judged", extra=told)

    # A person knows better.

    async def correct(self, command: CorrectAnswer) -> None:
        """Apply a correction once, or refuse it; raises Retry for a transient failure.

        What the message did before must have been seen done: until then the command is left to come again.
        """
        inbound = await self._inbox.inbound(command.workspace_id, command.inbound_id)
        if inbound is None or (inbound["state"] == State.SETTLED and inbound.get("answer") is None):
            return await self._answer(command, "no_answer", "there is no such answer")
        if not corrections.is_applied(inbound, command):
            if _is_newer(inbound, command):
                return await self._answer(command, "corrected_since", "somebody has corrected it since")
            if inbound["state"] != State.SETTLED or not await self._correct(inbound, command):
                return telemetry.OVERTAKEN.labels("correct").inc()
            telemetry.CORRECTED.labels(command.kind or "").inc()
        await self._answer(command)
        await self.settle(command.workspace_id, command.inbound_id)
        return None

    async def _correct(self, inbound: Document, command: CorrectAnswer) -> bool:
        said = corrections.correction_document(command)
        changed: Document = {
            "correction": said,
            "answer": corrections.reviewed(inbound["answer"], command),
        }
        before = {**said, "was": inbound["answer"]["kind"]}
        if not corrections.changes_kind(inbound, command):
            return await self._inbox.correct(inbound, changed, before, State.SETTLED)
        effect = await self._corrected(inbound, command)
        again_at = self._clock.in_real(FIRST_LOOK_SECONDS)
        changed |= {"effect": effect.document(), "publishes": 0, "again_at": again_at}
        return await self._inbox.correct(inbound, changed, before, State.JUDGED)

    async def _corrected(self, inbound: Document, command: CorrectAnswer) -> Effect:
        kind = Kind(command.kind or "")
        arrival = corrections.seeded(Arrival.read(inbound), command)
        found = await self._looking.again(inbound, arrival, kind)
        nothing = kind is Kind.OTHER or found.match.by is By.MANUAL_MAIL
        effect = Effect() if nothing else decide(found, self._policy)
        amends, releases = corrections.taken_back(Effect.read(inbound["effect"]), kind)
        return replace(effect, amends=amends, releases=releases)

    async def _answer(self, command: CorrectAnswer, code: str = "", detail: str = "") -> None:
        await self._inbox.save_result(
            {
                "_id": command.event_id,
                "workspace_id": command.workspace_id,
                "status": "refused" if code else "done",
                "reasons": [{"code": code, "detail": detail}] if code else [],
                "enrollment_id": None,
                "at": self._clock.now(),
            }
        )


def _is_newer(inbound: Document, command: CorrectAnswer) -> bool:
    at: datetime | None = (inbound.get("correction") or {}).get("at")
    return at is not None and at > command.occurred_at
