"""What everybody who erases by age shares: which workspaces have a rule, and files that no document names."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Any

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import RetentionView
from chassis.store import Database, Files, Stored
from chassis.telemetry import fields

log = logging.getLogger(__name__)

STRAY_AGE = timedelta(days=1)
"""A younger file may be one whose document is about to be written."""
STRAYS_AT_ONCE = 500


class Rules:
    """The rules of all workspaces; a sweep's."""

    def __init__(self, database: Database) -> None:
        self._workspaces = database.collection(names.WORKSPACES)

    async def every(self) -> list[RetentionView]:
        """Those of every workspace, in the order of their ids."""
        found = await self._workspaces.find({}, projection=RetentionView.PROJECTION, sort=[("_id", 1)])
        return [RetentionView.read(doc) for doc in found]


class Strays:
    """Deletes files that a crash has left without their document, one page of the bucket in each round.

    `named`: which of these files are named by a document, or may still be.
    """

    def __init__(
        self, files: Files, named: Callable[[Sequence[Stored]], Awaitable[Collection[Any]]], clock: Clock
    ) -> None:
        self._files = files
        self._named = named
        self._clock = clock
        self._after: Any = None

    async def sweep(self) -> int:
        """How many were deleted; after the last page it begins again."""
        page = await self._files.page(self._after, STRAYS_AT_ONCE)
        self._after = page[-1].id if len(page) == STRAYS_AT_ONCE else None
        before = self._clock.real_now() - STRAY_AGE
        old = [each for each in page if each.at < before]
        kept = await self._named(old) if old else ()
        strays = [each for each in old if each.id not in kept]
        for stray in strays:
            await self._files.delete(stray.id)
        if strays:
            log.info("files without a document deleted", extra=fields("retention.strays", count=len(strays)))
        return len(strays)
