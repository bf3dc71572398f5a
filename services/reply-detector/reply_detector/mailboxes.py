"""Holds a mailbox whose bounces or complaints are too many, before its provider does worse."""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid5

from chassis.clock import Clock
from chassis.documents import Document, hold_is_active
from chassis.kafka import Record
from chassis.rates import Limits, counted_from
from chassis.telemetry import fields
from reply_detector import telemetry
from reply_detector.outgoing import ISSUER
from segue_contracts.commands import Hold, HoldScope
from segue_contracts.events import MailboxNotification

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Charged:
    """A mailbox that something counts against."""

    workspace_id: UUID
    mailbox_id: UUID


class Counts(Protocol):
    """What this module asks of the database; nothing is kept, everything is counted anew."""

    async def charged(self, since: datetime, least: int) -> list[Charged]: ...

    async def mailbox_hold(self, mailbox: Charged) -> Document | None: ...

    async def charges(self, mailbox: Charged, since: datetime) -> dict[str, int]: ...

    async def sent_since(self, mailbox: Charged, since: datetime) -> int: ...

    async def owner(self, mailbox: Charged) -> UUID | None: ...


class Publishes(Protocol):
    """Returns once every record is durable; raises Retry otherwise."""

    def publish(self, records: Sequence[Record]) -> Awaitable[None]: ...


class Mailboxes:
    """A sweep. Each round tells again what is not done yet, under the same ids."""

    def __init__(self, counts: Counts, publisher: Publishes, clock: Clock, limits: Limits) -> None:
        self._counts = counts
        self._publisher = publisher
        self._clock = clock
        self._limits = limits

    async def sweep(self) -> None:
        """Look at every mailbox that something counts against."""
        since = self._clock.now() - self._limits.window
        least = min(rate.least for rate in self._limits.rates.values())
        for mailbox in await self._counts.charged(since, least):
            await self._look_at(mailbox, since)

    async def _look_at(self, mailbox: Charged, since: datetime) -> None:
        hold = await self._counts.mailbox_hold(mailbox)
        if hold is not None and hold.get("until") is None and hold_is_active(hold, self._clock.now()):
            return
        since = counted_from(hold, since)
        counted = await self._counts.charges(mailbox, since)
        sent = await self._counts.sent_since(mailbox, since)
        kind = self._limits.exceeded(counted, sent)
        if kind is not None:
            await self._pause(mailbox, hold, kind, counted[kind], sent, since)

    async def _pause(
        self, mailbox: Charged, hold: Document | None, kind: str, counted: int, sent: int, since: datetime
    ) -> None:
        reason = f"{kind}_rate"
        owner = await self._counts.owner(mailbox)
        if owner is None:
            return
        # One id until the mailbox's hold has changed.
        seed = uuid5(mailbox.mailbox_id, f"{reason}/{hold['changed_at'].isoformat() if hold else ''}")
        common = {
            "occurred_at": self._clock.now(),
            "recorded_at": self._clock.real_now(),
            "workspace_id": mailbox.workspace_id,
        }
        paused = Hold(
            event_id=seed,
            issued_by=ISSUER,
            scope=HoldScope.MAILBOX,
            scope_id=mailbox.mailbox_id,
            reason=reason,
            extends=True,
            **common,
        )
        told = MailboxNotification(
            event_id=uuid5(seed, "notification"),
            mailbox_id=mailbox.mailbox_id,
            owner_id=owner,
            reason=reason,
            counted=counted,
            sent=sent,
            counted_since=since,
            **common,
        )
        await self._publisher.publish([Record.of(paused), Record.of(told)])
        telemetry.PAUSED.labels(reason).inc()
        log.warning(
            "mailbox paused",
            extra=fields("mailbox.paused", mailbox_id=mailbox.mailbox_id, reason=reason, counted=counted),
        )
