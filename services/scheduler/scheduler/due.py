"""The due loop: one index drives everything that the scheduler must do at an instant."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid5

from chassis import faults
from chassis.clock import Clock
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.telemetry import counter, fields, histogram
from scheduler.course import Course, Courses
from scheduler.frontier import Frontier
from scheduler.holds import Holds
from scheduler.isolation import Isolation, Work
from scheduler.model import (
    LIVE,
    Change,
    Document,
    IllegalMove,
    State,
    Step,
    failed,
    replanned,
    skipped,
    was_due,
)
from scheduler.outbox import Outbox, Publishes
from scheduler.plan import LATE_AFTER, Refused, late_policy
from scheduler.search import Vacancy
from scheduler.slots import Asked, Slots
from scheduler.stops import Stops
from scheduler.store import SchedulerStore, Write
from segue_contracts.events import StageDue
from segue_contracts.sequence import CatchUp

log = logging.getLogger(__name__)

BATCH = 2000
REST_SHARE = 4
"""A poll that took long is followed by a longer rest: looking for work never becomes the work."""
LATE_REAL_SECONDS = 60.0
"""On a clock that runs fast, a delay of ours is measured in real time too, or everything would be late."""

DISPATCHED = counter("segue_scheduler_dispatched", "Stages published as due", ["kind"])
LATENESS = histogram("segue_scheduler_lateness_seconds", "Business seconds past due at dispatch")


class DueLoop:
    """Reads what is due in the shards it owns; parks, plans again, or dispatches."""

    def __init__(
        self,
        store: SchedulerStore,
        outbox: Outbox,
        publisher: Publishes,
        courses: Courses,
        holds: Holds,
        stops: Stops,
        slots: Slots,
        isolation: Isolation,
        clock: Clock,
        *,
        shards: Callable[[], Sequence[int]],
        redelivery_seconds: float,
        ask_again_seconds: float,
        poll_seconds: float,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._publisher = publisher
        self._courses = courses
        self._holds = holds
        self._stops = stops
        self._slots = slots
        self._isolation = isolation
        self._clock = clock
        self._shards = shards
        self._redelivery_seconds = redelivery_seconds
        self._ask_again_seconds = ask_again_seconds
        self._poll_seconds = poll_seconds
        self._stopping = asyncio.Event()
        self._frontier = Frontier(clock)

    async def run(self) -> None:
        """Until `stop`; a transient error is logged and tried again."""
        while not self._stopping.is_set():
            try:
                await self.tick()
                there_is_more = self._frontier.there_is_more
            except Retry as error:
                log.warning("due loop waits", extra=fields("due.retry", error=str(error)[:300]))
                there_is_more = False
            if not there_is_more:
                rest = max(self._poll_seconds, REST_SHARE * self._frontier.poll_seconds)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest):
                        await self._stopping.wait()

    async def stop(self) -> None:
        """Let the current round end."""
        self._stopping.set()

    async def tick(self) -> int:
        """One round; how many enrollments were due. One that can't be carried on is put aside alone."""
        shards, now = self._shards(), self._clock.now()
        due, more_from = await self._store.due(shards, now, BATCH, self._frontier.since(shards, now))
        self._frontier.polled(now, more_from)
        await self._isolation.carry(Work.DUE, due, self._carry)
        return len(due)

    async def _carry(self, due: Sequence[Document]) -> None:
        found = _by_state(due)
        waiting = found[State.SCHEDULED]
        ready = await self._sort_out(waiting) if waiting else []
        await self._dispatch([*ready, *found[State.DISPATCHED]])
        await self._ask_again([*found[State.AWAITING_TASK], *found[State.IN_DOUBT]])
        await self._recall(found[State.STOPPED])

    async def _sort_out(self, waiting: Sequence[Document]) -> list[Document]:
        """Park what is held, plan again what is late or out of its window; the rest is ready to go."""
        over = await self._holds.over(waiting)
        held = [e for e in waiting if e["_id"] in over]
        if held:
            await self._holds.park(held, over)
        free = [e for e in waiting if e["_id"] not in over]
        now = self._clock.now()
        courses = await self._courses_where_needed(free, now)
        writes = [
            Write(e, change)
            for e in free
            if e["_id"] in courses and (change := self._change(e, courses[e["_id"]], now)) is not None
        ]
        await self._outbox.commit(writes)
        moved = {w.enrollment["_id"] for w in writes}
        return await self._within_limits([e for e in free if e["_id"] not in moved])

    async def _within_limits(self, ready: list[Document]) -> list[Document]:
        """What has no limit, or room under it now; the rest gets the first free time, and room at it."""
        caps = {e["_id"]: over for e in ready if (over := await self._courses.caps(e))}
        if not caps:
            return ready
        limited = [e for e in ready if e["_id"] in caps]
        valid = await self._slots.valid(limited)
        wanted = [e for e in limited if e["_id"] not in valid]
        courses = await self._courses.load(wanted)
        asked = [
            Asked(e, caps[e["_id"]], partial(_step, courses[e["_id"]], e), _hours(e, courses[e["_id"]]))
            for e in wanted
            if e["_id"] in courses
        ]
        found, now = await self._slots.place(asked), self._clock.now()
        writes = [
            Write(a.enrollment, change)
            for a in asked
            if (change := _put_off(a.enrollment, found[a.enrollment["_id"]], now)) is not None
        ]
        await self._outbox.commit(writes)
        moved = {w.enrollment["_id"] for w in writes}
        return [e for e in ready if e["_id"] not in moved]

    async def _courses_where_needed(self, free: Sequence[Document], now: datetime) -> dict[UUID, Course]:
        """Only what may not simply go needs its stages read."""
        needed = [
            e
            for e in free
            if self._late_policy(None, e, now) or _is_over(e, now) or await self._has_condition(e)
        ]
        return await self._courses.load(needed)

    async def _has_condition(self, e: Document) -> bool:
        version = await self._courses.version(e["workspace_id"], e["sequence_id"], e["sequence_version"])
        return version is not None and version.document.stages[e["stage_index"]].when is not None

    def _late_policy(self, catch_up: CatchUp | None, e: Document, now: datetime) -> CatchUp | None:
        tolerated = max(LATE_AFTER, timedelta(seconds=LATE_REAL_SECONDS * self._clock.speed))
        return late_policy(catch_up, was_due(e), now, late_after=tolerated)

    def _change(self, e: Document, course: Course, now: datetime) -> Change | None:
        """What happens instead of a dispatch, None if it goes."""
        index = e["stage_index"]
        if not course.wanted(index):
            return _skip(e, course, "when", now)
        policy = self._late_policy(course.version.document.timing_of(index).catch_up, e, now)
        if policy is None and not _is_over(e, now):
            return None
        if policy is CatchUp.SKIP:
            return _skip(e, course, "late", now)
        step = course.step(e["_id"], index, e["base"], now)
        if isinstance(step, Refused):
            return failed(e, now, step.code)
        return replanned(e, step, now, "window_over" if policy is None else "late")

    async def _dispatch(self, ready: Sequence[Document]) -> None:
        """Write first, then publish for the whole batch, matched or not: the sender reads the truth."""
        if not ready:
            return
        now, records = self._clock.now(), [self._due_record(e) for e in ready]
        deadline = self._clock.in_real(self._redelivery_seconds)
        await self._store.dispatch([e["_id"] for e in ready], now, deadline, self._clock.real_now())
        await faults.point("scheduler.after_dispatched")
        await self._publisher.publish(records)
        for e in ready:
            fresh = State(e["state"]) is State.SCHEDULED
            DISPATCHED.labels("due" if fresh else "redelivery").inc()
            if fresh:
                LATENESS.observe((now - was_due(e)).total_seconds())

    async def _ask_again(self, waiting: Sequence[Document]) -> None:
        if not waiting:
            return
        records = [self._due_record(e) for e in waiting]
        deadline = self._clock.in_real(self._ask_again_seconds)
        states = (State.AWAITING_TASK, State.IN_DOUBT)
        await self._store.ask_again([e["_id"] for e in waiting], self._clock.now(), deadline, states)
        await self._publisher.publish(records)
        DISPATCHED.labels("ask_again").inc(len(waiting))

    async def _recall(self, owing: Sequence[Document]) -> None:
        if not owing:
            return
        records = [self._stops.recall_record(e, e["owes_recall"]) for e in owing]
        deadline = self._clock.in_real(self._redelivery_seconds)
        await self._store.ask_again([e["_id"] for e in owing], self._clock.now(), deadline, (State.STOPPED,))
        await self._publisher.publish(records)
        DISPATCHED.labels("recall").inc(len(owing))

    def _due_record(self, e: Document) -> Record:
        attempt = e["attempt"] + (State(e["state"]) is State.SCHEDULED)
        return Record.of(
            StageDue(
                event_id=uuid5(e["_id"], f"due/{e['stage_id']}/{attempt}"),
                occurred_at=self._clock.now(),
                recorded_at=self._clock.real_now(),
                workspace_id=e["workspace_id"],
                enrollment_id=e["_id"],
                stage_id=e["stage_id"],
                attempt=attempt,
                due_at=e["planned_at"],
            )
        )


def _by_state(due: Sequence[Document]) -> dict[State, list[Document]]:
    """IllegalMove for one that is due although it has ended and owes no recall: it would be due for ever."""
    found: dict[State, list[Document]] = {state: [] for state in State}
    for e in due:
        state = State(e["state"])
        if state not in LIVE and not (state is State.STOPPED and e.get("owes_recall")):
            raise IllegalMove(f"{state} and due, but nothing is left to do")
        found[state].append(e)
    return found


def _is_over(e: Document, now: datetime) -> bool:
    return e["send_before"] is not None and now >= e["send_before"]


def _step(course: Course, e: Document, vacancy: Vacancy) -> Step | Refused:
    return course.step(e["_id"], e["stage_index"], e["base"], e.get("since"), vacancy)


def _hours(e: Document, course: Course) -> Hashable:
    """What decides when an enrollment's stage may go: who has the same ones finds the same times taken."""
    prospect = course.prospect
    where = prospect.zone, prospect.country
    return e["sequence_id"], e["sequence_version"], e["stage_index"], e["mailbox_id"], where


def _put_off(e: Document, step: Step | Refused, now: datetime) -> Change | None:
    """None: there is room now."""
    if isinstance(step, Refused):
        return failed(e, now, step.code)
    return replanned(e, step, now, "cap") if step.at > now else None


def _skip(e: Document, course: Course, reason: str, now: datetime) -> Change:
    index = course.next_index([*e["completed"], e["stage_id"]])
    if index is None:
        return skipped(e, now, reason, None)
    step = course.step(e["_id"], index, now)
    return failed(e, now, step.code) if isinstance(step, Refused) else skipped(e, now, reason, step)
