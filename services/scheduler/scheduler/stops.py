"""Stops: at once from any live state, by document first where they reach further than one enrollment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from chassis.clock import Clock
from chassis.kafka import Record
from chassis.telemetry import counter
from scheduler.corrections import late_truth
from scheduler.isolation import Isolation, Work
from scheduler.model import LIVE, Document, State, is_aside, stopped, tombstone
from scheduler.outbox import Outbox, Publishes, persist
from scheduler.slots import Slots
from scheduler.store import SchedulerStore, Write, not_aside
from segue_contracts.commands import Recall
from segue_contracts.message import Scope

BATCH = 500
STOPS = counter("segue_scheduler_stops", "Stops by what became of them", ["outcome"])


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something stops; `id` makes it idempotent, `at` is business time."""

    id: UUID
    workspace_id: UUID
    reason: str
    reason_code: str
    at: datetime


class Stops:
    """Ends enrollments and sees that what is in flight is recalled."""

    def __init__(
        self,
        store: SchedulerStore,
        outbox: Outbox,
        publisher: Publishes,
        slots: Slots,
        isolation: Isolation,
        clock: Clock,
        redelivery_seconds: float,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._publisher = publisher
        self._slots = slots
        self._isolation = isolation
        self._clock = clock
        self._redelivery_seconds = redelivery_seconds

    async def stop_enrollments(self, causes: Mapping[UUID, Cause]) -> None:
        """Stop each enrollment for its cause; one that does not exist yet becomes a stopped tombstone.

        One that has ended before keeps its end, and learns of an answer (`corrections.late_truth`).
        """
        workspaces = {cause.workspace_id for cause in causes.values()}
        stopping: dict[UUID, Document] = {}
        late: dict[UUID, Write] = {}

        async def decide(found: Mapping[UUID, Document]) -> Sequence[Write]:
            beaten = await self._bury({i: c for i, c in causes.items() if i not in found})
            found = {**found, **(await self._store.enrollments(workspaces, beaten) if beaten else {})}
            live = {i: e for i, e in found.items() if State(e["state"]) in LIVE}
            stopping.update(live)
            ended = [_late(e, causes[i]) for i, e in found.items() if i not in live]
            late.update({w.enrollment["_id"]: w for w in ended if w is not None})
            return [*(self.write(e, causes[i]) for i, e in live.items()), *filter(None, ended)]

        await persist(self._store, self._outbox, workspaces, causes, decide)
        STOPS.labels("stopped").inc(len(stopping))
        STOPS.labels("late").inc(len(late))
        await self._slots.free(stopping.values())
        await self.recall(list(stopping.values()))

    async def stop_scope(self, cause: Cause, scope: Scope, key: object) -> None:
        """Store a stop of a person or company, then end its matches; a sweep carries on after a crash."""
        await self.stop_scopes([(cause, scope, key)])

    async def stop_scopes(self, wide: Sequence[tuple[Cause, Scope, object]]) -> None:
        """Many at once: each person's enrollments end together with all others'; companies one by one."""
        if not wide:
            return
        recorded_at = self._clock.real_now()
        stops = {cause.id: scoped_stop(cause, scope, key, recorded_at) for cause, scope, key in wide}
        stored = [s for s in await self._store.save_stops(list(stops.values())) if not s["applied"]]
        of_people = [s for s in stored if s["scope"] == Scope.PERSON]
        left = await self._end_people(of_people)
        await self._store.stops_applied([s for s in of_people if s["key"] not in left])
        for stop in stored:
            if stop["scope"] != Scope.PERSON or stop["key"] in left:
                await self.apply(stop)

    async def _end_people(self, stops: Sequence[Document]) -> set[UUID]:
        """End whatever these stops reach; the people who are in a sequence still.

        Most have nothing live: their only enrollment was ended just before, by its own stop.
        """
        workspaces, people = {s["workspace_id"] for s in stops}, {s["key"] for s in stops}
        # Read after the stops are stored: who enrolls later reads them.
        live = await self._store.live_of_people(workspaces, people) if stops else []
        if not live:
            return set()
        causes = _first_causes(live, stops)
        now = self._clock.real_now()

        async def end(some: Sequence[Document]) -> None:
            await self.stop_enrollments({e["_id"]: causes[e["_id"]] for e in some})

        reached = [e for e in live if e["_id"] in causes and not is_aside(e, now)]
        await self._isolation.carry(Work.STOP, reached, end)
        return await self._store.people_with_live(workspaces, people)

    async def apply(self, stop: Document) -> None:
        """End every live enrollment that was asked for before the stop, batch by batch.

        It is applied when none is left; one that can't be stopped is tried again by the sweep.
        """
        matching = (stop["workspace_id"], stop["scope"], stop["key"], stop["at"])
        cause = cause_of(stop)

        async def end(some: Sequence[Document]) -> None:
            await self.stop_enrollments({e["_id"]: cause for e in some})

        while found := await self._store.live_of(*matching, BATCH, **not_aside(self._clock.real_now())):
            await self._isolation.carry(Work.STOP, found, end)
        if not await self._store.live_of(*matching, 1):
            await self._store.stops_applied([stop])

    async def sweep(self) -> None:
        """Carry on with scoped stops that a crash left half done."""
        older = self._clock.real_now() - timedelta(seconds=5)
        for stop in await self._store.unapplied_stops(older, BATCH):
            await self.apply(stop)

    def write(self, e: Document, cause: Cause, *, recall: bool = True) -> Write:
        """The guarded write that stops an enrollment; `recall`: unless its dispatch is settled already."""
        again = self._clock.in_real(self._redelivery_seconds) if recall else None
        return Write(e, stopped(e, cause.at, cause.reason, cause.reason_code, cause.id, again))

    async def recall(self, enrollments: Sequence[Document]) -> None:
        """Ask the sender to take back what these had in flight when they were stopped."""
        flying = [e for e in enrollments if State(e["state"]) is not State.SCHEDULED and e.get("stage_id")]
        await self._publisher.publish([self.recall_record(e, f"{e['_id']}:{e['stage_id']}") for e in flying])

    def recall_record(self, e: Document, dispatch_id: str) -> Record:
        """The recall of a dispatch."""
        return Record.of(
            Recall(
                event_id=uuid5(e["_id"], f"recall/{dispatch_id}"),
                occurred_at=self._clock.now(),
                recorded_at=self._clock.real_now(),
                workspace_id=e["workspace_id"],
                dispatch_id=dispatch_id,
                issued_by="scheduler",
            )
        )

    async def _bury(self, unknown: Mapping[UUID, Cause]) -> set[UUID]:
        """Leave tombstones for enrollments that were not found; the ids that an enroll made meanwhile."""
        recorded_at = self._clock.real_now()
        buried = await self._store.insert(
            [
                tombstone(i, c.workspace_id, c.at, c.reason, c.reason_code, c.id, recorded_at)
                for i, c in unknown.items()
            ]
        )
        STOPS.labels("tombstone").inc(len(buried))
        return set(unknown) - buried


def scoped_stop(cause: Cause, scope: Scope, key: object, recorded_at: datetime) -> Document:
    """A stop of a person or a company, as it is stored before anything is ended."""
    return {
        "_id": cause.id,
        "workspace_id": cause.workspace_id,
        "scope": scope.value,
        "key": key,
        "reason": cause.reason,
        "reason_code": cause.reason_code,
        "at": cause.at,
        "recorded_at": recorded_at,
        "applied": False,
    }


def _first_causes(live: Iterable[Document], stops: Iterable[Document]) -> dict[UUID, Cause]:
    """By what each of these ends: the first stop of its person that it was asked for before."""
    by_person: dict[tuple[UUID, UUID], list[Document]] = {}
    for stop in stops:
        by_person.setdefault((stop["workspace_id"], stop["key"]), []).append(stop)
    causes: dict[UUID, Cause] = {}
    for e in live:
        for stop in by_person.get((e["workspace_id"], e["person_id"]), ()):
            if e["issued_at"] <= stop["at"]:
                causes.setdefault(e["_id"], cause_of(stop))
    return causes


def _late(e: Document, cause: Cause) -> Write | None:
    change = late_truth(e, cause.at, cause.reason, cause.reason_code, cause.id)
    return Write(e, change) if change is not None else None


def cause_of(stop: Document) -> Cause:
    """The cause that a stored scoped stop is."""
    return Cause(stop["_id"], stop["workspace_id"], stop["reason"], stop["reason_code"], stop["at"])
