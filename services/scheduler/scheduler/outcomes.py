"""Outcomes: what the sender says became of a dispatch moves its enrollment on, once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid5

from chassis.clock import Clock
from chassis.telemetry import counter
from scheduler import model
from scheduler.course import Course, Courses
from scheduler.flights import Flights
from scheduler.model import Change, Document, Verdict
from scheduler.outbox import Outbox, persist
from scheduler.plan import Refused
from scheduler.stops import Cause, Stops
from scheduler.store import SchedulerStore, Write
from segue_contracts.events import Outcome, StageOutcome
from segue_contracts.message import Scope

OUTCOMES = counter("segue_scheduler_outcomes", "Outcomes by what they meant", ["outcome", "verdict"])
UNKNOWN = "no_match_unknown"
STOPPING = {
    Verdict.STOP_BOUNCED: "bounced",
    Verdict.STOP_OPTED_OUT: "unsubscribed",
    Verdict.STOP_SUPPRESSED: "suppressed",
    Verdict.STOP_REPLIED: "replied",
}


class Outcomes:
    """Applies a batch of outcomes, at most one for each enrollment."""

    def __init__(
        self,
        store: SchedulerStore,
        outbox: Outbox,
        courses: Courses,
        stops: Stops,
        flights: Flights,
        clock: Clock,
        ask_again_seconds: float,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._courses = courses
        self._stops = stops
        self._flights = flights
        self._clock = clock
        self._ask_again_seconds = ask_again_seconds

    async def apply(self, outcomes: Sequence[StageOutcome]) -> None:
        """One guarded write for each that matches; the others are counted by why they do not."""
        by_id = {o.enrollment_id: o for o in outcomes}
        verdicts: dict[UUID, Verdict] = {}
        reaching: dict[UUID, tuple[Cause, Scope, object]] = {}

        async def decide(found: Mapping[UUID, Document]) -> Sequence[Write]:
            moving: list[tuple[Document, StageOutcome, Verdict]] = []
            for i, e in found.items():
                outcome = by_id[i]
                verdict = model.judge(e, outcome)
                verdicts.setdefault(i, verdict)
                if not verdict.startswith("no_match"):
                    moving.append((e, outcome, verdict))
            courses = await self._courses.load([e for e, _, _ in moving], _versions(moving))
            writes = []
            for e, outcome, verdict in moving:
                course = courses.get(e["_id"])
                writes.append(self._write(e, outcome, verdict, course))
                wide = _reach(e, outcome, verdict, course)
                if wide is not None:
                    reaching[e["_id"]] = wide
            return writes

        workspaces = {o.workspace_id for o in outcomes}
        done = await self._outbox.commit(await decide(self._landed(outcomes)))
        left = by_id.keys() - done
        if left:
            await persist(self._store, self._outbox, workspaces, left, decide)
        for cause, scope, key in reaching.values():
            await self._stops.stop_scope(cause, scope, key)
        for (kind, verdict), count in Counter(
            (outcome.event_type, verdicts.get(i, UNKNOWN)) for i, outcome in by_id.items()
        ).items():
            OUTCOMES.labels(kind, verdict).inc(count)

    def _landed(self, outcomes: Sequence[StageOutcome]) -> Mapping[UUID, Document]:
        """What was sent as it was dispatched here: completing it needs no read, for the write is guarded.

        Anything else is judged by what is true now: a no-match writes nothing that a guard could refuse.
        """
        found = {}
        for outcome in outcomes:
            e = self._flights.landed(outcome.enrollment_id)
            if e is None or outcome.workspace_id != e["workspace_id"] or outcome.attempt != e["attempt"]:
                continue
            if model.judge(e, outcome) is Verdict.COMPLETE:
                found[e["_id"]] = e
        return found

    def _write(self, e: Document, outcome: StageOutcome, verdict: Verdict, course: Course | None) -> Write:
        if verdict in STOPPING:
            write = self._stops.write(e, _cause(e, outcome, verdict), recall=False)
            if verdict is Verdict.STOP_REPLIED:
                return replace(write, change=model.answered(e, outcome, write.change))
            return write
        return Write(e, self._change(e, outcome, verdict, course))

    def _change(self, e: Document, outcome: StageOutcome, verdict: Verdict, course: Course | None) -> Change:
        ask_again_at = self._clock.in_real(self._ask_again_seconds)
        match verdict:
            case Verdict.AWAIT_TASK:
                return model.awaiting_task(e, outcome, ask_again_at)
            case Verdict.NOTE_OVERDUE:
                return model.overdue(e, outcome)
            case Verdict.DOUBT:
                return model.in_doubt(e, outcome, ask_again_at)
            case Verdict.RECALL_CONFIRMED:
                return model.recall_confirmed(e)
            case Verdict.FAIL:
                return model.failed(e, outcome.occurred_at, outcome.reason or "rejected", outcome.code)
            case Verdict.RETRY:
                return with_wishes(e, outcome.occurred_at, self._returned(e, outcome, course), course)
            case Verdict.COMPLETE:
                return with_wishes(e, outcome.occurred_at, _completed(e, outcome, course), course)
        raise AssertionError(verdict)

    def _returned(self, e: Document, outcome: StageOutcome, course: Course | None) -> Change:
        """The same stage again: at `until`, now (withdrawn), when a person asked, or under a new version."""
        now = self._clock.now()
        wishes = e.get("pending") or {}
        due_at = max(outcome.until or now, outcome.occurred_at)
        if "reschedule" in wishes:
            due_at = max(wishes["reschedule"], now)
        if "migrate" not in wishes and outcome.reason != "window_over":
            return model.returned(e, outcome, due_at, None)
        if course is None:
            return model.failed(e, now, "sequence_unreadable")
        index = course.next_index(e["completed"])
        if index is None:  # the new version ends before this stage
            return model.skipped(e, now, "migrated", None)
        step = course.or_wait(course.step(e["_id"], index, e["base"], now), index, now)
        if isinstance(step, Refused):
            return model.failed(e, now, step.code)
        return model.returned(e, outcome, step.at, step)


def _completed(e: Document, outcome: StageOutcome, course: Course | None) -> Change:
    if course is None:
        return model.failed(e, outcome.occurred_at, "sequence_unreadable")
    index = course.next_index([*e["completed"], e["stage_id"]])
    if index is None:
        return model.completed(e, outcome, None)
    at = outcome.occurred_at
    step = course.or_wait(course.step(e["_id"], index, at), index, at)
    if isinstance(step, Refused):
        return model.failed_after(e, outcome, step.code)
    return model.completed(e, outcome, step)


def with_wishes(e: Document, at: datetime, change: Change, course: Course | None) -> Change:
    """What was asked for while the stage was in flight, applied with its outcome."""
    wishes = e.get("pending") or {}
    if "migrate" in wishes and course is not None and change.to in model.LIVE:
        change = model.migrated(change, wishes["migrate"], at)
    if "edit" in wishes:
        change = model.edited(e, change, wishes["edit"])
    return change


def _versions(moving: Iterable[tuple[Document, StageOutcome, Verdict]]) -> dict[UUID, int]:
    return {e["_id"]: e["pending"]["migrate"] for e, _, _ in moving if "migrate" in (e.get("pending") or {})}


def _cause(e: Document, outcome: StageOutcome, verdict: Verdict) -> Cause:
    return Cause(
        uuid5(e["_id"], f"{outcome.stage_id}/{verdict}"),
        e["workspace_id"],
        STOPPING[verdict],
        outcome.code,
        outcome.occurred_at,
    )


def _reach(
    e: Document, outcome: StageOutcome, verdict: Verdict, course: Course | None
) -> tuple[Cause, Scope, object] | None:
    """A stop that reaches further than this enrollment, by the sequence's own rules; whoever has opted out is
    left alone by all of them.
    """
    if verdict is Verdict.STOP_OPTED_OUT:
        return scoped(e, _cause(e, outcome, verdict), Scope.PERSON)
    if course is None or verdict not in (Verdict.STOP_BOUNCED, Verdict.STOP_REPLIED):
        return None
    rules = course.version.document.stop
    scope = rules.on_bounce if outcome.event_type is Outcome.REJECTED else rules.on_reply
    return scoped(e, _cause(e, outcome, verdict), scope)


def scoped(e: Document, cause: Cause, scope: Scope) -> tuple[Cause, Scope, object] | None:
    """The stop of the person or the company of an enrollment; None where the scope is the enrollment."""
    if scope is Scope.ENROLLMENT:
        return None
    if scope is Scope.COMPANY and e.get("company_key"):
        return cause, Scope.COMPANY, e["company_key"]
    return cause, Scope.PERSON, e["person_id"]
