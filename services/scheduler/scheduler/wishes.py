"""Wishes about enrollments that exist: reschedule, edit, migrate, mark replied, and new facts about a person.

What is in flight is not touched: the wish becomes `pending` and the outcome applies it.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from chassis.clock import Clock
from chassis.erasure import REASON as ERASED
from chassis.erasure import Erasures
from chassis.templates import TemplateError, compile_template
from scheduler import model
from scheduler.course import Course, Courses
from scheduler.model import IN_FLIGHT, LIVE, Change, Document, State
from scheduler.outbox import Outbox, persist
from scheduler.outcomes import scoped
from scheduler.people import People, Told
from scheduler.plan import Refused
from scheduler.replans import Replans
from scheduler.stops import Cause, Stops
from scheduler.store import SchedulerStore, Write
from segue_contracts.commands import Edit, MarkReplied, Migrate, Reschedule, UpdatePerson
from segue_contracts.message import Scope

Wish = Reschedule | Edit | Migrate
Reasons = list[Document]


class Wishes:
    """Applies wishes one by one: people make few of them, and each wants an answer of its own."""

    def __init__(
        self,
        store: SchedulerStore,
        outbox: Outbox,
        courses: Courses,
        stops: Stops,
        people: People,
        erasures: Erasures,
        replans: Replans,
        clock: Clock,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._courses = courses
        self._stops = stops
        self._people = people
        self._erasures = erasures
        self._replans = replans
        self._clock = clock

    async def apply(self, wish: Wish) -> Reasons:
        """Apply or refuse; the reasons against it are empty when it is done."""
        refused: Reasons = []

        async def decide(found: Mapping[UUID, Document]) -> Sequence[Write]:
            e = found.get(wish.enrollment_id)
            decision = await self.decide(e, wish)
            refused[:] = [] if isinstance(decision, Change) else decision
            return [Write(e, decision)] if e is not None and isinstance(decision, Change) else []

        await persist(self._store, self._outbox, [wish.workspace_id], [wish.enrollment_id], decide)
        return refused

    async def decide(self, e: Document | None, wish: Wish) -> Change | Reasons:
        """What the wish changes in the enrollment as read, or the reasons against it; writes nothing."""
        if e is None:
            return [_reason("unknown_enrollment", "there is no such enrollment")]
        if State(e["state"]) not in LIVE:
            return [_reason("ended", f"the enrollment is {e['state']}")]
        target = wish.to_version if isinstance(wish, Migrate) else e["sequence_version"]
        course = (await self._courses.load([e], {e["_id"]: target})).get(e["_id"])
        if course is None:
            return [_reason("unknown_version", f"the sequence has no readable version {target}")]
        if isinstance(wish, Edit) and (problems := _edit_problems(wish, course)):
            return problems
        if State(e["state"]) in IN_FLIGHT:
            return model.pending(e, _as_pending(wish))
        match wish:
            case Edit():
                return model.edited(e, Change(State(e["state"])), wish.stages)
            case Reschedule():
                return self._reschedule(e, wish, course)
            case Migrate():
                return self._migrate(e, wish, course)

    def _reschedule(self, e: Document, wish: Reschedule, course: Course) -> Change | Reasons:
        """At the instant asked for, or the first allowed one after it."""
        if e.get("parked_by"):
            return [_reason("held", "it is paused; resume it first")]
        at = max(wish.at, self._clock.now())
        step = course.step(e["_id"], e["stage_index"], e["base"], at)
        if isinstance(step, Refused):
            return [_reason(step.code, step.detail)]
        return model.replanned(e, step, self._clock.now(), "rescheduled")

    def _migrate(self, e: Document, wish: Migrate, course: Course) -> Change | Reasons:
        now = self._clock.now()
        index = course.next_index(e["completed"])
        if index is None:
            return model.migrated(model.skipped(e, now, "migrated", None), wish.to_version, now)
        step = course.step(e["_id"], index, e["base"], now if now > e["planned_at"] else None)
        if isinstance(step, Refused):
            return [_reason(step.code, step.detail)]
        change = model.migrated(model.replanned(e, step, now, "migrated"), wish.to_version, now)
        return model.still_parked(change) if e.get("parked_by") else change

    async def mark_replied(self, command: MarkReplied) -> Reasons:
        """The person answered elsewhere: stop as far as the sequence says."""
        found = await self._store.enrollments([command.workspace_id], [command.enrollment_id])
        e = found.get(command.enrollment_id)
        cause = Cause(command.event_id, command.workspace_id, "replied", "marked", command.occurred_at)
        if e is None or State(e["state"]) not in LIVE:
            await self._stops.stop_enrollments({command.enrollment_id: cause})
            return []
        course = (await self._courses.load([e])).get(e["_id"])
        scope = course.version.document.stop.on_reply if course else Scope.PERSON
        await self._stops.stop_enrollments({command.enrollment_id: cause})
        wide = scoped(e, cause, scope)
        if wide is not None:
            await self._stops.stop_scope(*wide)
        return []

    async def update_person(self, command: UpdatePerson) -> Reasons:
        """New facts about a person; what waits is planned again, what is in flight by its outcome."""
        told = Told(command.workspace_id, command.prospect, command.occurred_at)
        workspaces = {command.workspace_id}
        people = {told.person_id}
        if await self._erasures.among(workspaces, people):
            return [_reason(ERASED, "the person was erased, and asked not to be known here any more")]
        if not await self._store.people(workspaces, people):
            return [_reason("unknown_person", "nobody with this external_id was ever enrolled")]
        await self._people.save([told])
        await self._people.follow(workspaces, people)
        live = await self._store.live_of_people(workspaces, people)
        await self._replans.plan_again(command.workspace_id, "person_updated", live)
        return []


def _as_pending(wish: Wish) -> Document:
    match wish:
        case Reschedule():
            return {"reschedule": wish.at}
        case Edit():
            return {"edit": wish.stages}
        case Migrate():
            return {"migrate": wish.to_version}


def _edit_problems(wish: Edit, course: Course) -> Reasons:
    known = {stage.id for stage in course.version.document.stages}
    problems: Reasons = []
    for stage_id, fields in wish.stages.items():
        if stage_id not in known:
            problems.append(_reason("unknown_stage", f"the sequence has no stage {stage_id}"))
        for name, source in fields.items():
            try:
                compile_template(source, kind="header" if name == "subject" else "text")
            except TemplateError as error:
                problems.append(_reason("template", f"{stage_id}.{name}: {error}"))
    return problems


def _reason(code: str, detail: str) -> Document:
    return {"code": code, "detail": detail}
