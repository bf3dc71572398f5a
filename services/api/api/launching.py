"""Launches lists of prospects: their rows become enrolls page by page, by a sweep.

Which rows a page has is noted before their commands are stored, and the commands' ids follow from the list's
and the rows': whoever carries on after a crash, nobody is enrolled twice and nobody is left out.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from api import telemetry
from api.courier import Courier, Letter
from api.list_rows import Checked, Finding, enroll_of
from api.list_store import TAKEN, ListState, RowStatus
from api.model import KEEP_SETTLED, CommandState, Settled, command_document
from api.store import Store
from chassis import faults
from chassis.clock import Clock
from chassis.store import Document

LISTS_AT_ONCE: Final = 20
PAGE: Final = 500
"""Other people's commands do not wait for longer than the scheduler takes for these."""
AGAIN_SECONDS: Final = 1.0
"""Between two looks at whether a page has been carried out."""


class Launcher:
    """Carries launches on, each a page at a time: the next one when all of the last have a result."""

    def __init__(self, clock: Clock, store: Store, courier: Courier) -> None:
        self._clock = clock
        self._store = store
        self._courier = courier

    async def sweep(self) -> None:
        """One step of each launch."""
        now = self._clock.real_now()
        for it in await self._store.lists.open(ListState.LAUNCHING, now, LISTS_AT_ONCE):
            await self._carry(it)

    async def _carry(self, it: Document) -> None:
        waiting = await self._store.lists.first(it, (RowStatus.ACCEPTED,), PAGE)
        if waiting and await self._waits(it, waiting):
            again = self._clock.real_now() + timedelta(seconds=AGAIN_SECONDS)
            await self._store.lists.carried(it, {"next_at": again})
            return
        page = await self._store.lists.first(it, TAKEN, PAGE)
        if not page:
            expires_at = self._clock.real_now() + KEEP_SETTLED
            await self._store.lists.at_rest(it, {"state": ListState.LAUNCHED.value, "expires_at": expires_at})
            return
        noted = await self._store.lists.accept(it, page, self._clock.real_now() + KEEP_SETTLED)
        telemetry.ACCEPTED.labels("enroll").inc(noted)
        await faults.point("api.list_page_noted")
        await self._submit(it, page)

    async def _waits(self, it: Document, rows: Sequence[Document]) -> bool:
        """Keep the results that are there; whether some are not, whose commands are then surely stored."""
        commands = [self._command(it, row) for row in rows]
        known = await self._courier.outcomes(commands)
        settled = [
            (row, known[each["_id"]])
            for row, each in zip(rows, commands, strict=True)
            if each["_id"] in known
        ]
        await self._store.lists.settle([(row, _fields(row, what)) for row, what in settled])
        left = [each for each in commands if each["_id"] not in known]
        if left:
            await self._store.commands.add(left)  # a crash may have come before they were stored
        return bool(left)

    async def _submit(self, it: Document, rows: Sequence[Document]) -> None:
        await self._store.commands.add([self._command(it, row) for row in rows])
        real_now = self._clock.real_now()
        messages = [enroll_of(it, row, it["version"], it["launched_at"], real_now) for row in rows]
        self._courier.take([Letter(each, each.event_id) for each in messages])

    def _command(self, it: Document, row: Document) -> Document:
        real_now = self._clock.real_now()
        message = enroll_of(it, row, it["version"], it["launched_at"], real_now)
        return command_document(message, str(message.enrollment_id), it["launched_at"], real_now)


def _fields(row: Document, what: Settled) -> Document:
    """What became of a row."""
    if what.state is CommandState.DONE:
        kept = Checked(first_at=row["first_at"]).fields(row["n"], RowStatus.ENROLLED)
        return {**kept, "enrollment_id": what.enrollment_id}
    reasons = tuple(Finding(each["code"], each["detail"]) for each in what.reasons)
    return Checked(reasons).fields(row["n"], RowStatus.REFUSED)
