"""The due loop: one index drives everything that the scheduler must do at an instant."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid5

from chassis import faults, tracing
from chassis.caps import DAY
from chassis.clock import Clock
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.telemetry import SECONDS_BUCKETS, counter, fields, histogram
from scheduler.conditions import Engaged
from scheduler.course import Course, Courses
from scheduler.flights import Flights
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
    is_without_time,
    replanned,
    skipped,
    still_without_time,
    was_due,
)
from scheduler.outbox import Outbox, Publishes
from scheduler.plan import LATE_AFTER, Refused, late_policy
from scheduler.search import Vacancy
from scheduler.slots import Asked, Slots
from scheduler.stops import Stops
from scheduler.store import SchedulerStore, Write
from segue_contracts.events import StageDue
from segue_contracts.message import to_utc_milliseconds
from segue_contracts.sequence import CatchUp

log = logging.getLogger(__name__)

BATCH = 2000
REST_SHARE = 4
"""A poll that took long is followed by a longer rest: looking for work never becomes the work."""
NEEDED = frozenset({"person_id", "owner_id", "mailbox_id", "sequence_id", "sequence_version"})
LATE_REAL_SECONDS = 60.0
"""On a clock that runs fast, a delay of ours is measured in real time too, or everything would be late."""

DISPATCHED = counter("segue_scheduler_dispatched", "Stages published as due", ["kind"])
LATENESS = histogram(
    "segue_scheduler_lateness_seconds",
    "Business seconds past due at dispatch",
    buckets=(*SECONDS_BUCKETS, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0),
)
CAP_WAIT = histogram(
    "segue_scheduler_cap_wait_seconds",
    "Business seconds that stages were put off, when they came due, for their sender had reached a limit",
    buckets=(60.0, 600.0, 3600.0, 4 * 3600.0, DAY, 2 * DAY, 3 * DAY, 5 * DAY, 10 * DAY),
)


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
        flights: Flights,
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
        self._flights = flights
        self._isolation = isolation
        self._clock = clock
        self._shards = shards
        self._redelivery_seconds = redelivery_seconds
        self._ask_again_seconds = ask_again_seconds
        self._poll_seconds = poll_seconds
        self._tolerated = max(LATE_AFTER, timedelta(seconds=LATE_REAL_SECONDS * clock.speed))
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
        await self._dispatch(ready)
        await self._ask_again(found[State.DISPATCHED], self._redelivery_seconds, "redelivery")
        asking = [*found[State.AWAITING_TASK], *found[State.IN_DOUBT]]
        await self._ask_again(asking, self._ask_again_seconds, "ask_again")
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
        engaged = await self._courses.engaged(free, courses)
        writes = [
            Write(e, change)
            for e in free
            if (course := courses.get(e["_id"])) is not None
            and (change := self._change(e, course, engaged[e["_id"]], now)) is not None
        ]
        await self._outbox.commit(writes)
        moved = {w.enrollment["_id"] for w in writes}
        return await self._within_limits([e for e in free if e["_id"] not in moved])

    async def _within_limits(self, ready: list[Document]) -> list[Document]:
        """What has no limit, or room under it now; the rest gets the first free time, and room at it."""
        limited = [e for some in _by_kind(ready) if await self._courses.is_limited(some[0]) for e in some]
        if not limited:
            return ready
        caps = await self._courses.caps(limited)
        limited = [e for e in limited if caps[e["_id"]]]
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
        needed: list[Document] = []
        for some in _by_kind(free):
            all_of_them = await self._has_condition(some[0])
            needed += [e for e in some if all_of_them or self._late_policy(None, e, now) or _is_over(e, now)]
        return await self._courses.load(needed)

    async def _has_condition(self, e: Document) -> bool:
        version = await self._courses.version(e["workspace_id"], e["sequence_id"], e["sequence_version"])
        return version is not None and version.document.stages[e["stage_index"]].when is not None

    def _late_policy(self, catch_up: CatchUp | None, e: Document, now: datetime) -> CatchUp | None:
        return late_policy(catch_up, was_due(e), now, late_after=self._tolerated)

    def _change(self, e: Document, course: Course, engaged: Engaged, now: datetime) -> Change | None:
        """What happens instead of a dispatch, None if it goes."""
        index = e["stage_index"]
        if not course.wanted(index, engaged):
            return _skip(e, course, "when", now)
        policy = self._late_policy(course.version.document.timing_of(index).catch_up, e, now)
        if is_without_time(e):
            policy = None  # it is not the time of the stage that has come
        if policy is None and not _is_over(e, now):
            return None
        if policy is CatchUp.SKIP:
            return _skip(e, course, "late", now)
        step = course.or_wait(course.step(e["_id"], index, e["base"], now), index, now)
        if isinstance(step, Refused):
            return failed(e, now, step.code)
        if is_without_time(e) and step.at == step.send_before:
            return still_without_time(e, step)
        return replanned(e, step, now, "window_over" if policy is None else "late")

    async def _dispatch(self, ready: Sequence[Document]) -> None:
        """Write first, then publish for the whole batch, matched or not: the sender reads the truth."""
        if not ready:
            return
        now, recorded_at, records = self._clock.now(), self._clock.real_now(), self._records(ready, 1)
        deadline = self._clock.in_real(self._redelivery_seconds)
        matched = await self._store.dispatch([e["_id"] for e in ready], now, deadline, recorded_at)
        if matched == len(ready):
            self._flights.began(ready)
        await faults.point("scheduler.after_dispatched")
        await self._publisher.publish(records)
        DISPATCHED.labels("due").inc(len(ready))
        for e in ready:
            LATENESS.observe((now - was_due(e)).total_seconds())

    async def _ask_again(self, waiting: Sequence[Document], seconds: float, kind: str) -> None:
        """The same attempt once more: somebody may have missed it, or its answer got lost."""
        if not waiting:
            return
        deadline, states = self._clock.in_real(seconds), {State(e["state"]) for e in waiting}
        ids, records = [e["_id"] for e in waiting], self._records(waiting, 0)
        await self._store.ask_again(ids, self._clock.now(), deadline, sorted(states))
        await self._publisher.publish(records)
        DISPATCHED.labels(kind).inc(len(waiting))

    async def _recall(self, owing: Sequence[Document]) -> None:
        if not owing:
            return
        records = [self._stops.recall_record(e, e["owes_recall"]) for e in owing]
        deadline = self._clock.in_real(self._redelivery_seconds)
        await self._store.ask_again([e["_id"] for e in owing], self._clock.now(), deadline, (State.STOPPED,))
        await self._publisher.publish(records)
        DISPATCHED.labels("recall").inc(len(owing))

    def _records(self, due: Sequence[Document], more: int) -> list[Record]:
        """Each in its attempt, or in one more; made before anything is written, for a bug shows here."""
        now = to_utc_milliseconds(self._clock.now())
        recorded_at = to_utc_milliseconds(self._clock.real_now())
        return [_record(e, e["attempt"] + more, now, recorded_at) for e in due]


def _record(e: Document, attempt: int, now: datetime, recorded_at: datetime) -> Record:
    # The enroll was days ago: this trace is linked to its, and not a part of it.
    context = tracing.moment(
        "stage due",
        links=[e.get(tracing.FIELD)],
        enrollment_id=e["_id"],
        stage_id=e["stage_id"],
        attempt=attempt,
    )
    return Record.of(
        StageDue.known(
            event_id=uuid5(e["_id"], f"due/{e['stage_id']}/{attempt}"),
            occurred_at=now,
            recorded_at=recorded_at,
            workspace_id=e["workspace_id"],
            enrollment_id=e["_id"],
            stage_id=e["stage_id"],
            attempt=attempt,
            due_at=to_utc_milliseconds(e["planned_at"]),
        ),
        context,
    )


def _by_state(due: Sequence[Document]) -> dict[State, list[Document]]:
    """KeyError for one that lacks what its sending needs; IllegalMove for one that is due although it has
    ended and owes no recall: it would be due for ever.
    """
    found: dict[State, list[Document]] = {state: [] for state in State}
    for e in due:
        state = State(e["state"])
        if state not in LIVE and not (state is State.STOPPED and e.get("owes_recall")):
            raise IllegalMove(f"{state} and due, but nothing is left to do")
        if state is State.SCHEDULED and not e.keys() >= NEEDED:
            raise KeyError(*sorted(NEEDED - e.keys()))
        found[state].append(e)
    return found


def _by_kind(waiting: Sequence[Document]) -> Iterable[list[Document]]:
    """Those in one stage of one mailbox: whether it has a condition or limits is the same for all of them."""
    found: dict[Hashable, list[Document]] = {}
    for e in waiting:
        stage = e["sequence_id"], e["sequence_version"], e["stage_index"]
        found.setdefault((e["workspace_id"], *stage, e["mailbox_id"]), []).append(e)
    return found.values()


def _is_over(e: Document, now: datetime) -> bool:
    return e["send_before"] is not None and now >= e["send_before"]


def _step(course: Course, e: Document, vacancy: Vacancy) -> Step | Refused:
    return course.step(e["_id"], e["stage_index"], e["base"], e.get("since"), vacancy)


def _hours(e: Document, course: Course) -> Hashable:
    """What decides when an enrollment's stage may go: who has the same ones finds the same times taken."""
    prospect = course.prospect
    where = prospect.get("zone"), prospect.get("country")
    index = e["stage_index"]
    return e["sequence_id"], e["sequence_version"], index, e["mailbox_id"], where, course.text_hours(index)


def _put_off(e: Document, step: Step | Refused, now: datetime) -> Change | None:
    """None: there is room now."""
    if isinstance(step, Refused):
        return failed(e, now, step.code)
    if step.at <= now:
        return None
    CAP_WAIT.observe((step.at - now).total_seconds())
    return replanned(e, step, now, "cap")


def _skip(e: Document, course: Course, reason: str, now: datetime) -> Change:
    index = course.next_index([*e["completed"], e["stage_id"]])
    if index is None:
        return skipped(e, now, reason, None)
    step = course.or_wait(course.step(e["_id"], index, now), index, now)
    return failed(e, now, step.code) if isinstance(step, Refused) else skipped(e, now, reason, step)
