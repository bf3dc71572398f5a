"""Keeps the counts of sequences fresh while somebody looks at them, and no longer.

What is shown is what is known, at once, with its age; whoever shows something old asks for a count, and some
process makes it behind. A lease sees to it that it is one process, and that counting never takes more than a
twentieth of the time, however many people a sequence has.
"""

import logging
from collections.abc import Collection as Some
from datetime import timedelta
from typing import Final
from uuid import UUID

from api.store import Store
from chassis.clock import Clock
from chassis.prompting import PromptWishes
from chassis.store import Document, Workspace
from chassis.telemetry import fields
from chassis.zones import find_zone

log = logging.getLogger(__name__)

LEASE: Final = timedelta(minutes=2)
"""Whoever counts for longer is taken for dead, and another one begins."""
SHARE: Final = 20
"""A count that took a second is made again after so many at the earliest."""
MOST_WANTED: Final = 500
AT_ONCE: Final = 20


class Counting:
    """The counts of sequences that were asked for in this process."""

    def __init__(self, clock: Clock, store: Store, every_seconds: float) -> None:
        self._clock = clock
        self._store = store
        self._every = every_seconds
        self._wanted: dict[UUID, Workspace] = {}

    async def known(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, Document]:
        """What is known of these sequences, of any age; those never counted are missing. Old ones, and those,
        are counted soon.
        """
        found = await self._store.counts.known(workspace, ids)
        real_now = self._clock.real_now()
        for sequence_id in ids:
            doc = found.get(sequence_id)
            if (doc is None or doc["next_at"] <= real_now) and len(self._wanted) < MOST_WANTED:
                self._wanted[sequence_id] = workspace
        return {sequence_id: doc for sequence_id, doc in found.items() if "counted_at" in doc}

    async def sweep(self) -> None:
        """Count what was asked for, the first first; after so many others have their turn."""
        for _ in range(min(len(self._wanted), AT_ONCE)):
            sequence_id = next(iter(self._wanted))
            await self._count(self._wanted.pop(sequence_id), sequence_id)

    async def _count(self, workspace: Workspace, sequence_id: UUID) -> None:
        counts, real_now = self._store.counts, self._clock.real_now()
        if not await counts.lease(workspace, sequence_id, real_now, real_now + LEASE):
            return
        sequence = await self._store.sequences.one(workspace, sequence_id)
        if sequence is None:
            return
        began = self._clock.monotonic()
        zone = await self._zone(workspace, sequence["owner_id"])
        stages = await self._stages(workspace, sequence)
        counted = await counts.count(workspace, sequence_id, stages, zone, self._clock.now())
        took = self._clock.monotonic() - began
        done_at = self._clock.real_now()
        wait = timedelta(seconds=max(self._every, SHARE * took))
        await counts.keep(
            workspace, sequence_id, {**counted, "counted_at": done_at, "next_at": done_at + wait}
        )
        log.debug("counted", extra=fields("counts.kept", seconds=round(took, 3)))

    async def _zone(self, workspace: Workspace, owner_id: UUID) -> str:
        owner = await self._store.people.user(workspace, owner_id)
        found = find_zone(PromptWishes.read((owner or {}).get("prompts")).zone)
        return found.key if found else "UTC"

    async def _stages(self, workspace: Workspace, sequence: Document) -> list[str]:
        version = await self._store.sequences.version(workspace, sequence["_id"], sequence["latest_version"])
        return [stage["id"] for stage in version["document"]["stages"]] if version else []
