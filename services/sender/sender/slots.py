"""Sending limits at the last moment: a slot is spent once and in time, and a mailbox keeps its gap."""

import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from chassis.caps import Cap
from chassis.clock import Clock
from chassis.retry import retrying
from chassis.together import Together
from sender import model
from sender.model import Claim, Settlement, Withdrawal


class Spends(Protocol):
    """What spending needs of the store."""

    async def spend(
        self, spending: Sequence[tuple[Claim, str | None]], now: datetime, batch: str
    ) -> list[bool]: ...
    async def pace(self, workspace: UUID, mailbox_id: UUID, now: datetime, gap: timedelta) -> bool: ...


@dataclass(frozen=True, slots=True)
class Limited:
    """The caps over a claim's message, and its mailbox; without caps it goes as it is.

    `key`: under which its slot must count, because what it goes out from was chosen after it was reserved.
    """

    mailbox_id: UUID
    caps: tuple[Cap, ...]
    key: str | None = None

    @property
    def gap(self) -> timedelta | None:
        """The least distance between two messages of the mailbox."""
        gaps = [cap.seconds for cap in self.caps if cap.paced]
        return timedelta(seconds=max(gaps)) if gaps else None


class Slots:
    """Spends slots, many in one write; one for the process."""

    def __init__(self, store: Spends, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._spend: Together[tuple[Claim, str | None], bool] = Together(self._spend_all)

    async def spend(self, claim: Claim, limited: Limited) -> Settlement | None:
        """None: it may go, and nobody else on its slot; else why it is given back. For what has caps. Raises
        Retry.
        """
        if not await retrying(lambda: self._spend((claim, limited.key))):
            return model.released(self._clock.now(), Withdrawal.NO_SLOT)
        gap, now = limited.gap, self._clock.now()
        if gap is None or await self._pace(claim, limited.mailbox_id, now, gap):
            return None
        return model.deferred(now, now + gap, "busy")

    async def _pace(self, claim: Claim, mailbox_id: UUID, now: datetime, gap: timedelta) -> bool:
        return await retrying(lambda: self._store.pace(claim.due.workspace_id, mailbox_id, now, gap))

    async def _spend_all(self, spending: Sequence[tuple[Claim, str | None]]) -> list[bool]:
        return await self._store.spend(spending, self._clock.now(), randomness.token_hex(16))
