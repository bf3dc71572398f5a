"""Deliveries in doubt: evidence as it comes, asking the provider where that is possible, how many wait."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from chassis import documents as names
from chassis.clock import Clock
from chassis.errors import Retry
from chassis.store import Database
from chassis.telemetry import fields
from segue_contracts.commands import NoteEvidence
from segue_contracts.message import Channel
from sender import metrics, model
from sender.model import Document, Move, State
from sender.steps import Steps
from sender.store import WITHOUT_BODY

log = logging.getLogger(__name__)

PROVIDER: Final = "provider"
"""The evidence that a look-up gives."""
FIRST_AGAIN_SECONDS: Final = 60.0
AGAIN_CAP_SECONDS: Final = 6 * 3600.0
MOST_LOOKS: Final = 60
"""About two weeks of them; from then on nothing new is to be expected."""
LOOKS_AT_ONCE: Final = 20
COUNTED: Final = (Channel.EMAIL, Channel.SMS)
"""The channels whose messages can be in doubt."""
UNDECIDED: Final[Document] = {"state": State.IN_DOUBT.value, "decision": None, "recalled_at": None}
"""In doubt, its enrollment goes on, and nobody has decided."""
INDEX: Final = "in_doubt"
"""Holds nothing but what is in doubt; it is named where the workspace is not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look-up saw; `provider_id`: under which id the provider has it."""

    found: bool
    provider_id: str | None = None


class LookUp(Protocol):
    """How a channel asks whoever took its messages whether one of them arrived there.

    The e-mail channel has none: its mailbox is looked through by the reply detector's watcher, which reads it
    anyway, and which tells what it saw by `note_evidence`.
    """

    async def look_up(self, delivery: Document) -> Finding | None:
        """What was seen; None where nobody can be asked. Raises Retry."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many deliveries of a channel are in doubt, and since when (business time) the first of them is."""

    channel: str
    count: int
    since: datetime


class DoubtStore:
    """Guarded writes about what is in doubt. Everything may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database.collection(names.DELIVERIES)

    async def prove(
        self, workspace: UUID, dispatch_id: str, evidence: str, at: datetime, more: Document
    ) -> Document | None:
        """Make it sent, whatever it has become; the delivery after it. None: it was sent already, or nothing
        was ever transmitted. It went out when it was transmitted, and the next stage counts from then.
        """
        guard = {
            "_id": dispatch_id,
            "workspace_id": workspace,
            "$or": [{"journaled": True}, {"restored": True}],
            "state": {"$in": model.sources(Move.RECORD_SENT)},
        }
        said: Document = {"reason": evidence, "code": "", "settled_at": at, **more}
        proven: Document = {
            **{name: {"$literal": value} for name, value in said.items()},
            "state": State.SENT.value,
            "sent_at": {"$ifNull": ["$transmitted_at", at]},
            "evidence": {"kind": {"$literal": evidence}, "at": at, "was": "$state"},
        }
        return await self._deliveries.find_one_and_update(guard, [{"$set": proven}], projection=WITHOUT_BODY)

    async def note_look(
        self, workspace: UUID, dispatch_id: str, where: str, at: datetime, places: Sequence[str]
    ) -> bool:
        """Keep that nothing was found; False if it is not in doubt."""
        guard = {"_id": dispatch_id, "workspace_id": workspace, "state": State.IN_DOUBT.value}
        looked = {f"looks.{where}.at": at, f"looks.{where}.places": list(places)}
        return await self._deliveries.update_one(guard, {"$set": looked, "$inc": {f"looks.{where}.times": 1}})

    async def recalled(self, workspace: UUID, dispatch_id: str, at: datetime) -> None:
        """Its enrollment has ended: if it is in doubt, or will be, it waits for nobody's decision."""
        doubtful = [State.IN_DOUBT.value, State.TRANSMITTING.value]
        guard = {"_id": dispatch_id, "workspace_id": workspace, "state": {"$in": doubtful}}
        await self._deliveries.update_one(guard, {"$set": {"recalled_at": at}})

    async def to_look_up(self, channel: Channel, real_now: datetime, limit: int) -> list[Document]:
        """What may be asked for again, the longest in doubt first. A sweep: all workspaces."""
        query = {
            **UNDECIDED,
            "channel": channel.value,
            f"looks.{PROVIDER}.again_at": {"$not": {"$gt": real_now}},
            f"looks.{PROVIDER}.times": {"$not": {"$gte": MOST_LOOKS}},
        }
        return await self._deliveries.find(
            query, projection={"body": 0, "references": 0}, limit=limit, hint=INDEX
        )

    async def take_look(self, delivery: Document, again_at: datetime) -> bool:
        """Whether this sweep may ask for it; another one may at `again_at`, a real instant."""
        field = f"looks.{PROVIDER}.again_at"
        guard = {
            "_id": delivery["_id"],
            "workspace_id": delivery["workspace_id"],
            "state": State.IN_DOUBT.value,
            field: look_of(delivery).get("again_at"),
        }
        return await self._deliveries.update_one(guard, {"$set": {field: again_at}})

    async def another_has(self, workspace: UUID, provider_id: str, dispatch_id: str) -> bool:
        """Whether the provider's message is another delivery's."""
        found = {
            "workspace_id": workspace,
            "provider_message_id": {"$eq": provider_id, "$type": "string"},
            "_id": {"$ne": dispatch_id},
        }
        return await self._deliveries.find_one(found, projection={"_id": 1}) is not None

    async def waiting(self) -> list[Waiting]:
        """What nobody has decided yet, by channel. A sweep: all workspaces."""
        rows = await self._deliveries.aggregate(
            [
                {"$match": UNDECIDED},
                {"$group": {"_id": "$channel", "count": {"$sum": 1}, "since": {"$min": "$settled_at"}}},
            ],
            hint=INDEX,
        )
        return [Waiting(row["_id"], row["count"], row["since"]) for row in rows]


class Doubts:
    """One for the process."""

    def __init__(
        self, store: DoubtStore, steps: Steps, clock: Clock, look_ups: Mapping[Channel, LookUp]
    ) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock
        self._look_ups = look_ups

    async def note(self, command: NoteEvidence) -> bool:
        """Take what somebody saw, or did not see; False for what is no such dispatch's business."""
        workspace, dispatch, evidence = command.workspace_id, command.dispatch_id, command.evidence.value
        if command.found:
            return await self.prove(workspace, dispatch, evidence)
        return await self._store.note_look(workspace, dispatch, evidence, command.occurred_at, command.places)

    async def recalled(self, workspace: UUID, dispatch_id: str) -> None:
        """Nobody needs to decide any more; evidence still counts."""
        await self._store.recalled(workspace, dispatch_id, self._clock.now())

    async def prove(self, workspace: UUID, dispatch_id: str, evidence: str, **more: Any) -> bool:
        """Record that it was sent and tell it; False if that is known, or nothing was ever transmitted."""
        after = await self._store.prove(workspace, dispatch_id, evidence, self._clock.now(), more)
        if after is None:
            return False
        if after["evidence"]["was"] == State.IN_DOUBT:
            metrics.RESOLVED.labels(evidence).inc()
        log.info("proven sent", extra=fields("sender.proven", dispatch_id=dispatch_id, evidence=evidence))
        await self._steps.tell([after])
        return True

    async def sweep(self) -> None:
        """Count what is in doubt, and ask the providers that can be asked."""
        await self._count()
        for channel, look_up in self._look_ups.items():
            due = await self._store.to_look_up(channel, self._clock.real_now(), LOOKS_AT_ONCE)
            await asyncio.gather(*(self._look(look_up, delivery) for delivery in due))

    async def _count(self) -> None:
        waiting = {each.channel: each for each in await self._store.waiting()}
        now = self._clock.now()
        for channel in COUNTED:
            found = waiting.get(channel.value)
            age = (now - found.since).total_seconds() if found else 0.0
            metrics.IN_DOUBT_NOW.labels(channel.value).set(found.count if found else 0)
            metrics.IN_DOUBT_OLDEST.labels(channel.value).set(max(0.0, age))

    async def _look(self, look_up: LookUp, delivery: Document) -> None:
        """One that can't be asked for must not keep the others waiting."""
        again = again_seconds(look_of(delivery).get("times", 0))
        if not await self._store.take_look(delivery, self._clock.real_now() + timedelta(seconds=again)):
            return
        workspace, dispatch = delivery["workspace_id"], delivery["_id"]
        try:
            finding = await look_up.look_up(delivery)
        except Retry as error:
            metrics.LOOK_UPS.labels("failed").inc()
            told = fields("sender.look_up_failed", dispatch_id=dispatch, error=str(error)[:200])
            log.warning("provider can't be asked", extra=told)
            return
        if finding is None:
            return
        if finding.found and not await self._is_anothers(workspace, dispatch, finding.provider_id):
            metrics.LOOK_UPS.labels("found").inc()
            await self.prove(workspace, dispatch, PROVIDER, provider_message_id=finding.provider_id)
        else:
            metrics.LOOK_UPS.labels("not_found").inc()
            await self._store.note_look(workspace, dispatch, PROVIDER, self._clock.now(), [])

    async def _is_anothers(self, workspace: UUID, dispatch_id: str, provider_id: str | None) -> bool:
        return provider_id is not None and await self._store.another_has(workspace, provider_id, dispatch_id)


def look_of(delivery: Document) -> Document:
    """What the delivery keeps of asking its provider."""
    found: Document = (delivery.get("looks") or {}).get(PROVIDER) or {}
    return found


def again_seconds(times: int) -> float:
    """Real seconds until a provider that did not have it is asked again."""
    return float(min(AGAIN_CAP_SECONDS, FIRST_AGAIN_SECONDS * 2.0 ** min(times, 20)))
