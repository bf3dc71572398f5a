"""What everybody who erases by age shares: which workspaces have a rule, and files that no document names."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

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


class Rounds:
    """Goes over all workspaces that have a rule; several processes may do so at once."""

    def __init__(self, database: Database, clock: Clock, stopping: asyncio.Event) -> None:
        self._rules = Rules(database)
        self._clock = clock
        self._stopping = stopping

    async def over(
        self,
        days: Callable[[RetentionView], int | None],
        erase: Callable[[UUID, datetime], Awaitable[int]],
        oldest: Callable[[UUID], Awaitable[datetime | None]],
    ) -> float:
        """One round; how many seconds old the oldest is that a rule has still left.

        `erase`: what came before that instant, in one workspace; what is left then waits for the next round.
        """
        now = left = self._clock.now()
        for rule in await self._rules.every():
            kept_days = days(rule)
            if kept_days is None or self._stopping.is_set():
                continue
            count = await erase(rule.id, now - timedelta(days=kept_days))
            if count:
                told = fields("retention.erased", workspace_id=rule.id, count=count)
                log.info("old words erased", extra=told)
            left = min(left, await oldest(rule.id) or left)
        return (now - left).total_seconds()


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
