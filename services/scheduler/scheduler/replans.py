"""Planning again what waits, when something that planning stands on changes: days off, hours, zones, facts.

A change is asked for once, as a document, and carried out by a sweep, batch by batch: the place in the order
moves on when a batch is written, so a crash repeats a batch, and what is planned already does not move again.
What is in flight, and what the sender gave back and tries again, is not touched; what is held is planned when
it comes back.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from chassis import faults
from chassis.clock import Clock
from chassis.telemetry import counter
from chassis.zones import TZDATA_VERSION
from scheduler.course import Course, Courses
from scheduler.isolation import Isolation, Work
from scheduler.model import Change, Document, State, Step, failed, is_without_time, reopened, replanned
from scheduler.open_time import Span
from scheduler.outbox import Outbox, persist
from scheduler.plan import Refused
from scheduler.search import SEARCH_DAYS
from scheduler.slots import Slots
from scheduler.store import SchedulerStore, Write
from segue_contracts.commands import Replan, ReplanReason, ReplanScope, SetCalendar

BATCH = 500
ROUND_SECONDS = 5.0
AT_ONCE = 20
BEGINS_AFTER_SECONDS = 15.0
"""By then every scheduler plans with the new settings (kept for five seconds), though clocks differ."""
TZDATA_AFTER_SECONDS = 600.0
"""By then a rollout has replaced the schedulers that plan with the old time zones."""

REPLANNED = counter(
    "segue_scheduler_replanned", "Stages that got another time, by what had changed", ["reason"]
)


class Replans:
    """Takes requests to plan again, and carries them out."""

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

    # ---- requests -------------------------------------------------------------------------------

    async def set_calendar(self, command: SetCalendar) -> None:
        """Store the workspace's days off; an older wish than the stored one changes nothing."""
        calendar = {
            "_id": command.workspace_id,
            "workspace_id": command.workspace_id,
            "days": sorted(set(command.days)),
            "changed_at": command.occurred_at,
        }
        if await self._store.save_calendar(calendar):
            reason = ReplanReason.CALENDAR_CHANGED
            await self._ask(
                command.workspace_id, "workspace", command.workspace_id, reason, str(command.event_id)
            )

    async def ask(self, command: Replan) -> None:
        """Plan again soon; the same command again is the same request."""
        whole = command.scope is ReplanScope.WORKSPACE
        scope_id = command.workspace_id if whole else command.scope_id
        await self._ask(
            command.workspace_id, command.scope.value, scope_id, command.reason, str(command.event_id)
        )

    async def look_at_zones(self, version: str = TZDATA_VERSION) -> None:
        """At start: a version of the time zone database that is not the last one plans everybody again.

        It has requests of its own, so that none of an older scheduler takes their place during a rollout.
        """
        before = await self._store.tzdata()
        if before == version:
            return
        for workspace in await self._store.workspaces() if before else ():
            reason = ReplanReason.TZDATA_CHANGED
            await self._ask(workspace, "tzdata", workspace, reason, f"tzdata {version}", version)
        await self._store.save_tzdata(version)

    async def _ask(
        self,
        workspace: UUID,
        scope: str,
        scope_id: UUID,
        reason: ReplanReason,
        asked_by: str,
        tzdata: str | None = None,
    ) -> None:
        """A newer request begins at the first enrollment; with `tzdata` only such a scheduler goes on."""
        after = BEGINS_AFTER_SECONDS if tzdata is None else TZDATA_AFTER_SECONDS
        await self._store.ask_replan(
            {
                "_id": f"{scope}:{scope_id}",
                "workspace_id": workspace,
                "scope": scope,
                "scope_id": scope_id,
                "reason": reason.value,
                "asked_at": self._clock.now(),
                "asked_by": asked_by,
                "begins_at": self._clock.real_now() + timedelta(seconds=after),
                "tzdata": tzdata,
                "cursor": _beginning(scope_id if scope == ReplanScope.MAILBOX else UUID(int=0)),
                "applied": False,
            }
        )

    # ---- carrying out ---------------------------------------------------------------------------

    async def sweep(self, version: str = TZDATA_VERSION) -> None:
        """For some seconds: a batch of each open request in turn."""
        began = self._clock.monotonic()
        open_ones = deque(await self._store.open_replans(self._clock.real_now(), version, AT_ONCE))
        while open_ones and self._clock.monotonic() - began < ROUND_SECONDS:
            further = await self._carry(open_ones.popleft())
            if further is not None:
                open_ones.append(further)

    async def _carry(self, replan: Document) -> Document | None:
        """One batch; the request as it is then, None if it is carried out or somebody else carries it."""
        batch = await self._store.to_replan(replan, self._clock.now(), BATCH)
        again = partial(self.plan_again, replan["workspace_id"], replan["reason"])
        await self._isolation.carry(Work.REPLAN, batch, again)
        await faults.point("scheduler.after_replanned")
        if len(batch) < BATCH:
            await self._store.replan_applied(replan)
            return None
        return await self._store.replan_went(replan, _place(batch[-1]))

    async def plan_again(self, workspace: UUID, reason: str, enrollments: Collection[Document]) -> None:
        """Find the time of what waits, as it was read, anew; where that moves, its unspent room is free.

        What somebody else changed meanwhile is read once more.
        """

        async def decide(found: Mapping[UUID, Document]) -> Sequence[Write]:
            writes = await self._decide(found.values(), reason)
            await self._slots.free(w.enrollment for w in writes if w.change.chapters)
            return writes

        as_read = {e["_id"]: e for e in enrollments}
        writes = await decide(as_read)
        if len(await self._outbox.commit(writes)) < len(writes):
            await persist(self._store, self._outbox, [workspace], as_read, decide)
        REPLANNED.labels(reason).inc(sum("planned_at" in w.change.set for w in writes))

    async def _decide(self, found: Collection[Document], reason: str) -> Sequence[Write]:
        now = self._clock.now()
        waiting = [e for e in found if _waits(e) and await self._stands_on(reason, e)]
        courses = await self._courses.load(waiting)
        writes = []
        for e in waiting:
            course = courses.get(e["_id"])
            change = _change(e, course, now, reason) if course is not None else None
            if change is not None:
                writes.append(Write(e, change))
            await asyncio.sleep(0)  # the due loop and the consumers share this process
        return writes

    async def _stands_on(self, reason: str, e: Document) -> bool:
        """Whether a stage's time can depend on what has changed: few sequences name the team's days."""
        if reason != ReplanReason.CALENDAR_CHANGED:
            return True
        version = await self._courses.version(e["workspace_id"], e["sequence_id"], e["sequence_version"])
        return version is not None and version.names_team(e["stage_index"])


# ---- pure -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kept:
    """Only the time that it has: the vacancy that tells whether it may keep that."""

    at: datetime

    def first(self, span: Span) -> datetime | None:
        return self.at if span.start <= self.at < span.end else None

    def not_before(self, at: datetime) -> datetime:
        return self.at if at <= self.at else at + timedelta(days=SEARCH_DAYS)


def time_of(e: Document, course: Course, now: datetime) -> Step | Refused:
    """When a waiting stage is due by what is known now; never before `now` unless it was so already.

    What a person asked for, and what was late, counts from then on, not from the base. Room that was found
    under sending limits is kept while its time is allowed; otherwise it is the first allowed one after it.
    """
    here, planned_at = (e["_id"], e["stage_index"], e["base"]), e["planned_at"]
    step = course.step(*here, e.get("since"))
    if isinstance(step, Refused) or step.at == planned_at:
        return step
    if step.at < planned_at and any(reason["rule"] == "cap" for reason in e["reasons"]):
        kept = course.step(*here, e.get("since"), _Kept(planned_at))
        return kept if isinstance(kept, Step) else course.step(*here, planned_at)
    return step if step.at >= now else course.step(*here, now)


def _change(e: Document, course: Course, now: datetime, reason: str) -> Change | None:
    """What planning again changes; None: nothing."""
    step = course.or_wait(time_of(e, course, now), e["stage_index"], now)
    if isinstance(step, Refused):
        return failed(e, now, step.code)
    if is_without_time(e) and step.at == step.send_before:
        return None
    if step.at != e["planned_at"]:
        return replanned(e, step, now, reason)
    same = (step.send_before, step.zone) == (e["send_before"], e["zone"])
    return None if same else reopened(e, step)


def _waits(e: Document) -> bool:
    """Scheduled, not held, and for its planned time: what was deferred waits for the sender's."""
    here = State(e["state"]) is State.SCHEDULED and not e.get("parked_by")
    return bool(here and e["due_at"] == e["planned_at"])


def _beginning(mailbox: UUID) -> Document:
    """Before the first enrollment of a mailbox, in the order in which they are planned again."""
    return {"mailbox_id": mailbox, "_id": UUID(int=0)}


def _place(e: Document) -> Document:
    return {"mailbox_id": e["mailbox_id"], "_id": e["_id"]}
