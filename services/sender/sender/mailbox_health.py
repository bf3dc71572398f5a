"""What mail servers say about the mailboxes they serve: counted, kept for people, and told when it turns."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid5

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import MailboxView
from chassis.errors import Duplicate, Retry
from chassis.kafka import Record
from chassis.store import Database, Document, Index
from chassis.telemetry import fields
from chassis.zones import find_zone
from segue_contracts.events import MailboxNotification, MailboxTurn
from sender import metrics
from sender.model import Settlement, State

log = logging.getLogger(__name__)

HOLD_HOURS: Final = 1
"""A refused mailbox is tried again after this; each refusal holds it anew."""
IN_FLIGHT: Final = timedelta(minutes=5)
"""Longer than any message can be under way; business time, as what is kept of it."""
FLUSH_SECONDS: Final = 2.0
TOLD_AT_ONCE: Final = 500
REFUSED: Final = "refused"
RATE_LIMIT: Final = "rate_limit"
UNREACHABLE: Final = "unreachable"
SOFT: Final = "soft"
MOST_COUNTED: Final = 1_000_000

INDEXES: Final = (
    Index((("owed.at", 1),), "owing", partial={"owed.at": {"$exists": True}}),
    Index((("refusal.at", 1),), "refused", partial={"refusal.at": {"$exists": True}}),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one mailbox since the last flush; of a refusal and a 250, only what came last."""

    mailbox: MailboxView
    day: str
    deferred: int = 0
    rate_limited: int = 0
    unreachable: int = 0
    refusal: Document | None = None
    accepted_at: datetime | None = None

    def with_(self, settlement: Settlement, kind: str | None) -> "Seen":
        """And this too; `kind` as `kind_of` has it."""
        if settlement.target is State.SENT:
            return replace(self, refusal=None, accepted_at=settlement.fields["sent_at"])
        counted = replace(
            self,
            deferred=self.deferred + (kind is not None),
            rate_limited=self.rate_limited + (kind == RATE_LIMIT),
            unreachable=self.unreachable + (kind == UNREACHABLE),
        )
        return (
            replace(counted, refusal=_refusal(settlement), accepted_at=None) if kind == REFUSED else counted
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """A mailbox that its server began to refuse, or takes again; kept until it is told."""

    workspace_id: UUID
    mailbox_id: UUID
    turn: MailboxTurn
    reason: str
    since: datetime
    at: datetime

    @property
    def document(self) -> Document:
        """As it is owed."""
        return {"turn": self.turn.value, "reason": self.reason, "since": self.since, "at": self.at}


def kind_of(settlement: Settlement) -> str | None:
    """Why a message was put off by its mail server; None: it was not.

    About how much we send are 421, 450 and 4.7.x (RFC 5321, section 4.2.2; RFC 3463, section 3.8).
    """
    if settlement.target is not State.DEFERRED:
        return None
    if settlement.hold_reason:
        return REFUSED
    reason, code = settlement.fields["reason"], settlement.fields["code"]
    if reason.startswith("connection_"):
        return UNREACHABLE
    basic, _, enhanced = code.partition(" ")
    return RATE_LIMIT if basic in ("421", "450") or enhanced.startswith("4.7.") else SOFT


def _refusal(settlement: Settlement) -> Document:
    at = settlement.fields["settled_at"]
    until = at + timedelta(hours=HOLD_HOURS)
    return {"reason": settlement.hold_reason, "code": settlement.fields["code"], "at": at, "until": until}


def local_day(mailbox: MailboxView, now: datetime) -> str:
    """The mailbox's own date."""
    return now.astimezone(find_zone(mailbox.zone) or UTC).date().isoformat()


class Publishes(Protocol):
    """What this module needs of the publisher."""

    async def publish(self, records: Sequence[Record]) -> None: ...


class MailboxStates:
    """The health in `mailbox_states`; who sends keeps other fields of the same documents."""

    def __init__(self, database: Database) -> None:
        self._states = database.collection(names.MAILBOX_STATES)
        self._mailboxes = database.collection(names.MAILBOXES)

    async def tally(self, seen: Seen) -> None:
        """Add to the counts of the mailbox's day; another day begins anew."""
        more = {name: getattr(seen, name) for name in ("deferred", "rate_limited", "unreachable")}
        added = {name: {"$add": [f"$deferrals.{name}", number]} for name, number in more.items()}
        same_day = {"$eq": ["$deferrals.day", seen.day]}
        counted = {"day": seen.day, **{n: {"$cond": [same_day, added[n], more[n]]} for n in more}}
        mailbox = seen.mailbox
        own = {"_id": mailbox.id, "workspace_id": mailbox.workspace_id}
        update = [{"$set": {"deferrals": counted}}]
        try:
            await self._states.update_one(own, update, upsert=True)
        except Duplicate:  # two were first at once
            await self._states.update_one(own, update)

    async def refused(self, seen: Seen, refusal: Document) -> None:
        """Keep that it is refused; the first refusal owes its telling."""
        mailbox, at = seen.mailbox, refusal["at"]
        turn = Turn(mailbox.workspace_id, mailbox.id, MailboxTurn.PAUSED, refusal["reason"], at, at)
        own = {"_id": mailbox.id, "workspace_id": mailbox.workspace_id}
        first = {"$set": {"refusal": {**refusal, "since": at}}, "$push": {"owed": turn.document}}
        try:
            await self._states.update_one({**own, "refusal": None}, first, upsert=True)
        except Duplicate:
            again = {f"refusal.{name}": value for name, value in refusal.items()}
            await self._states.update_one({**own, "refusal.at": {"$lt": at}}, {"$set": again})

    async def accepted(self, seen: Iterable[Seen]) -> None:
        """Who was refused and is accepted now is refused no more; that owes its telling."""
        at = {each.mailbox.id: each.accepted_at for each in seen if each.accepted_at}
        workspaces = {each.mailbox.workspace_id for each in seen}
        found = await self._states.find(
            {"workspace_id": {"$in": list(workspaces)}, "_id": {"$in": list(at)}, "refusal": {"$ne": None}},
            projection={"workspace_id": 1, "refusal": 1},
        )
        for doc in found:
            await self._recover(doc, at[doc["_id"]])

    async def _recover(self, doc: Document, at: datetime | None) -> None:
        refusal = doc["refusal"]
        if at is None or at < refusal["at"] + IN_FLIGHT:
            return  # what was under way beside the refusal says nothing
        reason, since = refusal["reason"], refusal["since"]
        turn = Turn(doc["workspace_id"], doc["_id"], MailboxTurn.RECOVERED, reason, since, at)
        await self._states.update_one(
            {"_id": doc["_id"], "workspace_id": doc["workspace_id"], "refusal.at": refusal["at"]},
            {"$unset": {"refusal": ""}, "$push": {"owed": turn.document}},
        )

    async def owing(self, now: datetime) -> list[Turn]:
        """Turns of all workspaces that nobody was told of."""
        found = await self._states.find(
            {"owed.at": {"$lte": now}},
            projection={"workspace_id": 1, "owed": 1},
            sort=[("owed.at", 1)],
            limit=TOLD_AT_ONCE,
        )
        return [
            Turn(
                doc["workspace_id"],
                doc["_id"],
                MailboxTurn(owed["turn"]),
                owed["reason"],
                owed["since"],
                owed["at"],
            )
            for doc in found
            for owed in doc["owed"]
        ]

    async def told(self, turn: Turn) -> None:
        """It is owed no more."""
        own = {"_id": turn.mailbox_id, "workspace_id": turn.workspace_id}
        await self._states.update_one(own, {"$pull": {"owed": turn.document}})

    async def owners(self, turns: Sequence[Turn]) -> dict[UUID, UUID]:
        """Whose mailboxes these are, by mailbox; without those that are not connected any more."""
        found = await self._mailboxes.find(
            {
                "workspace_id": {"$in": list({each.workspace_id for each in turns})},
                "_id": {"$in": list({each.mailbox_id for each in turns})},
            },
            projection={"owner_id": 1},
        )
        return {doc["_id"]: doc["owner_id"] for doc in found}

    async def refused_count(self, now: datetime) -> int:
        """How many mailboxes of all workspaces their servers refuse now."""
        return await self._states.count({"refusal.at": {"$lte": now}}, limit=MOST_COUNTED)


class MailboxHealth:
    """One for the process: `saw` for every answer of a mail server, `flush` every few seconds.

    A process that dies forgets what it saw in these seconds: counts, and turns that the next answer repeats.
    """

    def __init__(self, states: MailboxStates, publisher: Publishes, clock: Clock) -> None:
        self._states = states
        self._publisher = publisher
        self._clock = clock
        self._seen: dict[UUID, Seen] = {}

    def saw(self, mailbox: MailboxView, settlement: Settlement) -> None:
        """A mail server has answered for this mailbox, or could not be reached."""
        day, kind = local_day(mailbox, self._clock.now()), kind_of(settlement)
        before = self._seen.get(mailbox.id)
        if before is None or before.day != day:
            before = Seen(mailbox, day)
        self._seen[mailbox.id] = before.with_(settlement, kind)
        metrics.MAILBOX_ANSWERS.count(mailbox.id, kind or settlement.target.value)
        if kind is not None:
            metrics.DEFERRED_BY_SERVER.labels(kind).inc()

    async def flush(self) -> None:
        """Keep what was seen, and tell what is owed; raises Retry."""
        if accepted := [each for each in self._seen.values() if each.accepted_at]:
            await self._states.accepted(accepted)
        for mailbox_id in list(self._seen):
            await self._keep(mailbox_id)
        await self._tell()

    async def _keep(self, mailbox_id: UUID) -> None:
        seen = self._seen.pop(mailbox_id)
        try:
            if seen.deferred:
                await self._states.tally(seen)
            if seen.refusal:
                await self._states.refused(seen, seen.refusal)
        except Retry:
            self._seen.setdefault(mailbox_id, seen)
            raise

    async def _tell(self) -> None:
        """Turns are owed until the brokers have them; told twice, they have the same id."""
        now = self._clock.now()
        turns = await self._states.owing(now)
        owners = await self._states.owners(turns) if turns else {}
        for turn in turns:
            if (owner := owners.get(turn.mailbox_id)) is not None:
                await self._publisher.publish([Record.of(self._notification(turn, owner))])
                metrics.MAILBOX_TURNS.labels(turn.turn, turn.reason).inc()
                log.warning(
                    "a mailbox turned",
                    extra=fields(
                        "sender.mailbox_turn",
                        mailbox_id=turn.mailbox_id,
                        turn=turn.turn.value,
                        reason=turn.reason,
                    ),
                )
            await self._states.told(turn)
        metrics.MAILBOXES_REFUSED.set(await self._states.refused_count(now))

    def _notification(self, turn: Turn, owner: UUID) -> MailboxNotification:
        paused = turn.turn is MailboxTurn.PAUSED
        return MailboxNotification(
            event_id=uuid5(turn.mailbox_id, f"{turn.turn}/{turn.since.isoformat()}"),
            event_type=turn.turn,
            occurred_at=turn.at,
            recorded_at=self._clock.real_now(),
            workspace_id=turn.workspace_id,
            mailbox_id=turn.mailbox_id,
            owner_id=owner,
            reason=turn.reason,
            counted=int(paused),
            sent=int(not paused),
            counted_since=turn.since,
        )
