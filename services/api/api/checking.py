"""Checks lists of prospects before they are launched: rehearses their rows, page by page."""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from api.list_rows import SHARED, Checked, Finding, enroll_of, judged
from api.list_store import ListState, RowStatus, matching
from api.store import Store
from chassis.clock import Clock
from chassis.desk import Asks
from chassis.errors import Reject, Retry
from chassis.inquiries import DRY_RUN, MAX_AT_ONCE, DryRunAsked, Rehearsed
from chassis.store import Document
from chassis.telemetry import fields
from segue_contracts.commands import Enroll

log = logging.getLogger(__name__)

LISTS_AT_ONCE: Final = 5
QUESTIONS_AT_ONCE: Final = 20
"""Of one list before the next one gets its turn."""
SILENT_SECONDS: Final = 5.0
"""Between two tries while the scheduler is silent."""
TOO_MUCH: Final = Finding("too_much", "what this person would be sent is too long to be shown")


class Checker:
    """Rehearses the rows of drafts that nobody has checked since they changed."""

    def __init__(self, clock: Clock, store: Store, scheduler: Asks) -> None:
        self._clock = clock
        self._store = store
        self._scheduler = scheduler

    async def sweep(self) -> None:
        """Carry each draft on that has something unchecked."""
        now = self._clock.real_now()
        for it in await self._store.lists.open(ListState.DRAFT, now, LISTS_AT_ONCE):
            await self._carry(it)

    async def _carry(self, it: Document) -> None:
        try:
            version = await self.version_of(it)
            for _ in range(QUESTIONS_AT_ONCE):
                rows = await self._store.lists.first(it, (RowStatus.UNCHECKED,), MAX_AT_ONCE)
                if not rows:
                    await self._store.lists.at_rest(it, {"checked_version": version, "silent": False})
                    return
                await self.check(it, version, rows)
        except Retry as error:
            log.info("a list waits for the scheduler", extra=fields("list.waits", error=str(error)[:300]))
            later = self._clock.real_now() + timedelta(seconds=SILENT_SECONDS)
            await self._store.lists.carried(it, {"next_at": later, "silent": True})
            return
        noted = {"next_at": self._clock.real_now(), "checked_version": version, "silent": False}
        await self._store.lists.carried(it, noted)

    async def version_of(self, it: Document) -> int | None:
        """The version to rehearse. After a newer one was published, everything is to be checked again."""
        if it["options"]["sequence_version"] is not None:
            return int(it["options"]["sequence_version"])
        sequence = await self._store.sequences.one(it["workspace_id"], it["sequence_id"])
        latest = sequence["latest_version"] if sequence else None
        if it["checked_version"] not in (None, latest):
            await self.again(it)
        return latest

    async def again(self, it: Document) -> None:
        """Forget what was found."""
        await self._store.lists.again(it, {}, (RowStatus.READY, RowStatus.PROBLEM))

    async def check(self, it: Document, version: int | None, rows: Sequence[Document]) -> None:
        """Rehearse these rows and keep what was found; Retry while the scheduler is silent."""
        now, real_now = self._clock.now(), self._clock.real_now()
        enrolls = {row["n"]: enroll_of(it, row, version, now, real_now) for row in rows}
        told = await self._ask(enrolls)
        keys = {key for row in rows for key in row["keys"]}
        shared: dict[str, list[Document]] = {}
        for other in await self._store.lists.with_keys(it, keys):
            for key in other["keys"]:
                shared.setdefault(key, []).append(other)
        outcomes: list[tuple[Document, Document]] = []
        for row in rows:
            alike = {other["n"]: other for key in row["keys"] for other in shared.get(key, ())}
            said = told[row["n"]]
            found = judged(said, row, list(alike.values())) if said else Checked((TOO_MUCH,))
            outcomes.append((row, found.fields(row["n"])))
        await self._store.lists.checked(outcomes)

    async def _ask(self, enrolls: Mapping[int, Enroll]) -> dict[int, Rehearsed | None]:
        """What the scheduler says of each; None for one of which it has too much to say."""
        try:
            told = await self._scheduler.ask(DRY_RUN, DryRunAsked(commands=list(enrolls.values())))
        except Reject:
            if len(enrolls) == 1:
                return dict.fromkeys(enrolls)
            parts = list(enrolls.items())
            half = len(parts) // 2
            return {**await self._ask(dict(parts[:half])), **await self._ask(dict(parts[half:]))}
        assert told is not None, "every enroll has an answer"
        return dict(zip(enrolls, told.people, strict=True))


async def others_may_differ(store: Store, it: Document) -> None:
    """A row changed: what was found by comparing with it is to be found again."""
    await store.lists.again(it, matching(SHARED), (RowStatus.READY, RowStatus.PROBLEM))
