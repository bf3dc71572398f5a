"""Holds: documents that pause everything under them; what they parked comes back when they end."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis.clock import Clock
from chassis.documents import EnrollmentView, hold_id, hold_is_active
from scheduler.course import Course, Courses
from scheduler.isolation import Isolation, Work
from scheduler.model import Change, Document, failed, parked, unparked
from scheduler.outbox import Outbox
from scheduler.plan import Refused
from scheduler.slots import Slots
from scheduler.store import SchedulerStore, Write
from segue_contracts.commands import Hold, Lift

BATCH = 500
FEW = 100
"""So many active holds are read at once without a thought."""


class Holds:
    """Sets and lifts holds, parks what is due under one, and brings it back."""

    def __init__(
        self,
        store: SchedulerStore,
        outbox: Outbox,
        courses: Courses,
        slots: Slots,
        isolation: Isolation,
        clock: Clock,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._courses = courses
        self._slots = slots
        self._isolation = isolation
        self._clock = clock

    async def set(self, command: Hold) -> None:
        """Store a hold; an older wish than the stored one changes nothing."""
        await self._store.save_hold(
            {
                **_identity(command),
                "until": command.until,
                "reason": command.reason,
                "by": command.issued_by,
                "created_at": command.occurred_at,
                "lifted_at": None,
            },
            extends=command.extends,
        )

    async def lift(self, command: Lift) -> None:
        """End a hold and bring back what it parked."""
        at = command.occurred_at
        # Of the two only `last_lifted_at` outlasts the next hold.
        lifted = {**_identity(command), "lifted_at": at, "last_lifted_at": at, "by": command.issued_by}
        if await self._store.save_hold(lifted):
            await self._bring_back(lifted["_id"])

    async def over(self, enrollments: Sequence[Document]) -> dict[UUID, Document]:
        """An active hold over each enrollment, where there is one."""
        return {i: holds[0] for i, holds in (await self.active(enrollments)).items()}

    async def active(self, enrollments: Sequence[Document]) -> dict[UUID, list[Document]]:
        """Every active hold over each enrollment that has one, as of now."""
        workspaces, now = {e["workspace_id"] for e in enrollments}, self._clock.now()
        most = len(enrollments) + FEW
        found = await self._store.active_holds(workspaces, now, most + 1)
        if not found:
            return {}
        wanted = {e["_id"]: EnrollmentView.read(e).hold_ids() for e in enrollments}
        if len(found) <= most:
            holding = {hold["_id"]: hold for hold in found}
        else:  # more than it costs to ask for each
            known = await self._store.holds(workspaces, {each for ids in wanted.values() for each in ids})
            holding = {i: hold for i, hold in known.items() if hold_is_active(hold, now)}
        over = {i: [holding[each] for each in ids if each in holding] for i, ids in wanted.items()}
        return {i: holds for i, holds in over.items() if holds}

    async def park(self, enrollments: Sequence[Document], over: dict[UUID, Document]) -> None:
        """Take what is held out of the due index; then read once more, for a hold may just have ended."""
        now = self._clock.now()
        writes = [Write(e, parked(e, over[e["_id"]], now)) for e in enrollments]
        await self._outbox.commit(writes)
        await self._slots.free(enrollments)
        still = await self.over(enrollments)
        for ended in {over[e["_id"]]["_id"] for e in enrollments if e["_id"] not in still}:
            await self._bring_back(ended)

    async def sweep(self) -> None:
        """Bring back whatever names a lifted or expired hold."""
        now = self._clock.now()
        for hold in await self._store.parked_holds():
            if not hold_is_active(hold, now):
                await self._bring_back(hold["_id"])

    async def _bring_back(self, ended: str) -> None:
        """In batches: each enrollment is planned again from now under its catch-up policy."""
        full = True
        while full:
            found = await self._store.parked_under(ended, self._clock.real_now(), BATCH)
            await self._isolation.carry(Work.UNPARK, found, self._unpark)
            full = len(found) == BATCH

    async def _unpark(self, found: Sequence[Document]) -> None:
        now = self._clock.now()
        courses = await self._courses.load(found)
        await self._outbox.commit([Write(e, _unparked(e, courses.get(e["_id"]), now)) for e in found])


def _unparked(e: Document, course: Course | None, now: datetime) -> Change:
    if course is None:
        return failed(e, now, "sequence_unreadable")
    index, since = e["stage_index"], now if now > e["planned_at"] else None
    step = course.or_wait(course.step(e["_id"], index, e["base"], since), index, now)
    return failed(e, now, step.code) if isinstance(step, Refused) else unparked(e, step, now)


def _identity(command: Hold | Lift) -> Document:
    return {
        "_id": hold_id(command.scope, command.scope_id),
        "workspace_id": command.workspace_id,
        "scope": command.scope.value,
        "scope_id": command.scope_id,
        "changed_at": command.occurred_at,
    }
