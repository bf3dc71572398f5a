"""The scheduler's real handlers on a real MongoDB, in any order: what no order of events may break.

Every single write is looked at, not only where a rule ends; each example ends with the proof that everybody
can still be brought to an end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chassis import documents as names
from chassis.errors import Retry
from chassis.migrations import build
from chassis.store import BulkOutcome, Collection, Database, Filter, Operation, Update
from chassis.testing import fresh_database
from scheduler.migrations import SCHEMA
from scheduler.model import IN_FLIGHT, LIVE, TRANSITIONS, Document, State
from scheduler.settings import SchedulerSettings
from scheduler.story import event_of
from scheduler.testing import SEQUENCE, WORKSPACE, Bench, bench_over, received, settings_for
from segue_contracts import codec, ids
from segue_contracts.commands import (
    Correct,
    Edit,
    Enroll,
    Hold,
    HoldScope,
    Lift,
    MarkReplied,
    Migrate,
    Recall,
    Reschedule,
    Stop,
    UpdatePerson,
)
from segue_contracts.events import EnrollmentStop, Outcome, StageDue, StageOutcome, StopReason
from segue_contracts.message import Message, Scope
from segue_contracts.topics import DELIVERY_COMMANDS, ENROLLMENT_EVENTS, STAGE_DUE

pytestmark = pytest.mark.stack

HELLO, EXTRA, RING, NUDGE = (
    {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi {{first_name}}"},
    {"id": "extra", "channel": "email", "after": "1 day", "text": "One more thing"},
    {"id": "ring", "channel": "call", "after": "2 business days", "text": "Ask {{first_name}}"},
    {"id": "nudge", "channel": "email", "when": {"has": "title"}, "text": "Did you see this?"},
)
TIMING = {"zone": "UTC", "windows": {"mon-fri": ["09:00-17:00"]}}
VERSIONS: tuple[Document, ...] = (
    {"name": "Engineers", "timing": TIMING, "stages": [HELLO, RING, NUDGE]},
    {"name": "Engineers", "timing": TIMING, "stages": [HELLO, EXTRA, RING]},
)
ORDER = ("hello", "extra", "ring", "nudge")
EDGES = {(at, to) for at, moves in TRANSITIONS.items() for targets in moves.values() for to in targets}
WALKED_BY_ALL_EXAMPLES = {
    (State.SCHEDULED, State.DISPATCHED),
    *((State.DISPATCHED, to) for to in (*LIVE, State.FINISHED, State.STOPPED)),
}
"""Together; fewer would mean that the rules have come to do nothing."""
PEOPLE = ("priya", "wei")
PHONE = "+49 30 123456"
SCOPES = (HoldScope.ENROLLMENT, HoldScope.PERSON, HoldScope.SEQUENCE)
ENDS_WITHIN_ROUNDS = 60
SETTLES_IN_TICKS = 4
A_LOOK_AT_EVERYTHING_SECONDS = 16
"""Polls begin where the last one ended; what lost its guard is found by the next look at everything."""
THE_SAME_EACH_TIME = settings(
    max_examples=20,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
T = TypeVar("T")
Around = Callable[[], AbstractAsyncContextManager[None]]

people = st.sampled_from(PEOPLE)
generations = st.sampled_from((1, 1, 1, 2))
versions = st.sampled_from((1, 2))
scopes = st.sampled_from(SCOPES)
wishes = st.sampled_from(("enroll", "reschedule", "edit", "migrate", "update_person"))
outcomes = st.sampled_from([kind for kind in Outcome if kind is not Outcome.RECALLED])
picks = st.integers(0, 20)


class WatchedCollection(Collection):
    """Every write happens inside `around`."""

    def __init__(self, raw: Any, around: Around) -> None:
        super().__init__(raw)
        self._around = around

    async def insert_new(self, documents: Sequence[Document]) -> set[Any]:
        async with self._around():
            return await super().insert_new(documents)

    async def bulk(self, operations: Sequence[Operation]) -> BulkOutcome:
        async with self._around():
            return await super().bulk(operations)

    async def update_many(self, filter: Filter, update: Update, **more: Any) -> int:
        async with self._around():
            return await super().update_many(filter, update, **more)


class WatchedDatabase(Database):
    """A database whose enrollments are watched."""

    def __init__(self, database: Database, around: Around) -> None:
        super().__init__(database._raw, database._bucket)
        self._around = around

    def collection(self, name: str) -> Collection:
        if name == names.ENROLLMENTS:
            return WatchedCollection(self._raw[name], self._around)
        return super().collection(name)


@dataclass(frozen=True, slots=True)
class Ground:
    """What all examples share."""

    run: Callable[..., Any]
    database: Database
    settings: SchedulerSettings
    walked: set[tuple[State, State]] = field(default_factory=set)


class SchedulerMachine(RuleBasedStateMachine):
    """Two people, two enrollments each, of one sequence in two versions."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.run = self.ground.run
        self.seen: dict[UUID, Document] = {}
        self.attempts: dict[tuple[UUID, str], int] = {}
        self.delivered: list[Message] = []
        self.undone: list[Message] = []
        self.between: Message | None = None
        self.cause: Message | None = None
        self.stops: list[Any] = []
        self.run(self._begin(self.ground.database))

    async def _begin(self, database: Database) -> None:
        for name in await database._raw.list_collection_names():
            await database.collection(name).delete_many({})
        watched = WatchedDatabase(database, self._around)
        self.bench: Bench = bench_over(watched, self.ground.settings)
        self.clock, self.kafka, self.parts = self.bench.clock, self.bench.kafka, self.bench.parts
        await self.bench.seed(*VERSIONS)
        # Both people are due at the same instant: without room for both, one is put off.
        await database.collection(names.MAILBOXES).update_one({}, {"$set": {"limits": {"gap_seconds": 60}}})

    # ---- what happens ----------------------------------------------------------------------------

    @initialize(version=versions)
    def both_are_enrolled(self, version: int) -> None:
        for who in PEOPLE:
            self.enroll(who, generation=1, version=version, in_hours=0)
        self.tick()

    @rule()
    def the_next_deadline_passes(self) -> None:
        self.advance_to_next_deadline()
        self.tick()

    @rule(seconds=st.sampled_from((1, 12, 121, 901, 3600, 16 * 3600, 3 * 86_400)))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.tick()

    @precondition(lambda self: self.in_flight())
    @rule(pick=picks, kind=outcomes, flag=st.booleans())
    def the_sender_says(self, pick: int, kind: Outcome, flag: bool) -> None:
        """About what is in flight now."""
        self.say(self.pick_of(self.in_flight(), pick), kind, flag)

    @precondition(lambda self: self.in_flight())
    @rule(pick=picks, kind=st.sampled_from((Outcome.TASK_OPENED, Outcome.IN_DOUBT)))
    def the_sender_waits_for_somebody(self, pick: int, kind: Outcome) -> None:
        self.say(self.pick_of(self.in_flight(), pick), kind, flag=False)

    @rule(kind=st.sampled_from((Outcome.SENT, Outcome.TASK_DONE, Outcome.TASK_SKIPPED)))
    def the_sender_is_done_with_all_it_has(self, kind: Outcome) -> None:
        for e in self.in_flight():
            self.say(e, kind, flag=False)
        self.advance_to_next_deadline()
        self.tick()

    @precondition(lambda self: self.in_flight())
    @rule(pick=picks, kind=st.sampled_from((Outcome.DEFERRED, Outcome.WITHDRAWN)))
    def what_came_back_is_told_again_in_the_next_attempt(self, pick: int, kind: Outcome) -> None:
        self.say(self.pick_of(self.in_flight(), pick), kind, flag=True)
        told = self.delivered[-1]
        self.advance_to_next_deadline()
        self.tick()
        self.deliver(told)

    @precondition(lambda self: self.kafka.of(STAGE_DUE))
    @rule(pick=picks, kind=outcomes, flag=st.booleans())
    def the_sender_says_something_old(self, pick: int, kind: Outcome, flag: bool) -> None:
        """About any dispatch that was ever asked for: a stale attempt, a stage long over, a second time."""
        self.say(self.pick_of(self.kafka.of(STAGE_DUE), pick), kind, flag)

    @precondition(lambda self: self.kafka.of(DELIVERY_COMMANDS))
    @rule(pick=picks)
    def the_sender_confirms_a_recall(self, pick: int) -> None:
        self.confirm(self.pick_of(self.kafka.of(DELIVERY_COMMANDS), pick).dispatch_id)

    @precondition(lambda self: self.delivered)
    @rule(pick=picks)
    def a_message_comes_again(self, pick: int) -> None:
        self.deliver(self.pick_of(self.delivered, pick))

    @rule(who=people, generation=generations, what=st.sampled_from(("stop", "reply", "person", "company")))
    def something_stops(self, who: str, generation: int, what: str) -> None:
        """It may not be enrolled yet."""
        match what:
            case "stop":
                self.give(Stop, enrollment_id=self.enrollment_id(who, generation))
            case "reply":
                self.give(MarkReplied, enrollment_id=self.enrollment_id(who, generation))
            case "person":
                replied = StopReason.REPLIED
                person = self.person_id(who)
                self.give(EnrollmentStop, event_type=replied, scope=Scope.PERSON, person_id=person)
            case "company":
                self.give(Stop, scope=Scope.COMPANY, company_key="there.example")

    @precondition(lambda self: any("stop" in e and not e.get("tombstone") for e in self.seen.values()))
    @rule(pick=picks, reason=st.sampled_from(("mistaken", "replied")))
    def somebody_corrects_an_end(self, pick: int, reason: str) -> None:
        ended = [e for _, e in sorted(self.seen.items()) if "stop" in e and not e.get("tombstone")]
        e = self.pick_of(ended, pick)
        self.give(Correct, enrollment_id=e["_id"], cause_id=e["stop"]["cause_id"], reason=reason)

    @rule(what=st.sampled_from(("stop", "person", "migrate", "again")), who=people, pick=picks)
    def somebody_comes_between(self, what: str, who: str, pick: int) -> None:
        """Between what the next handler reads and what it writes: another process was quicker."""
        enrollment = self.enrollment_id(who)
        match what:
            case "stop":
                message = self.bench.message(Stop, enrollment_id=enrollment)
            case "person":
                person = self.person_id(who)
                message = self.bench.message(Stop, scope=Scope.PERSON, person_id=person)
            case "migrate":
                message = self.bench.message(Migrate, enrollment_id=enrollment, to_version=2)
            case "again":
                message = self.pick_of(self.delivered, pick)
        self.between = message
        self.delivered.append(message)

    @rule(scope=scopes, who=people, hours=st.sampled_from((0, 1, 30, None)))
    def something_is_held_or_lifted(self, scope: HoldScope, who: str, hours: int | None) -> None:
        """For so many hours, without an end, or not any more (0)."""
        target = self.target(scope, who)
        if hours == 0:
            self.give(Lift, scope=scope, scope_id=target)
        else:
            until = None if hours is None else self.clock.now() + timedelta(hours=hours)
            self.give(Hold, scope=scope, scope_id=target, until=until)

    @rule(what=wishes, who=people, generation=generations, version=versions, hours=st.sampled_from((0, 100)))
    def somebody_has_a_wish(self, what: str, who: str, generation: int, version: int, hours: int) -> None:
        enrollment = self.enrollment_id(who, generation)
        match what:
            case "enroll":
                self.enroll(who, generation, version, hours)
            case "reschedule":
                at = self.clock.now() + timedelta(hours=hours)
                self.give(Reschedule, enrollment_id=enrollment, at=at)
            case "edit":
                self.give(Edit, enrollment_id=enrollment, stages={"ring": {"text": "Ask for Ana"}})
            case "migrate":
                self.give(Migrate, enrollment_id=enrollment, to_version=version)
            case "update_person":
                email = f"{who}@{'elsewhere' if hours else 'there'}.example"
                self.give(UpdatePerson, prospect=self.bench.prospect(who, email=email, phone=PHONE))

    @rule()
    def the_brokers_go_or_come(self) -> None:
        """While they are away every publication is lost after its write, as in a crash between the two."""
        self.kafka.broken = not self.kafka.broken
        if not self.kafka.broken:
            undone, self.undone = self.undone, []
            for message in undone:
                self.deliver(message)

    @rule()
    def the_sweeps_go_round(self) -> None:
        self.clock.advance(11)
        for sweep in (self.parts.outbox.sweep, self.parts.holds.sweep, self.parts.stops.sweep):
            self.tried(sweep())

    # ---- how it is carried out -------------------------------------------------------------------

    def give(self, kind: type[Message], **values: Any) -> None:
        """A new message, delivered at once."""
        message = self.bench.message(kind, **values)
        self.delivered.append(message)
        self.deliver(message)

    def deliver(self, message: Message) -> None:
        """As a consumer does: what raises Retry stays to be delivered again."""
        carried_out = self.tried(self._handle(message))
        if carried_out and isinstance(message, Stop | EnrollmentStop):
            self.check_stopped(message)

    async def _handle(self, message: Message) -> None:
        handlers = {StageOutcome: self.parts.outcomes.handle, EnrollmentStop: self.parts.stop_records.handle}
        handle = handlers.get(type(message), self.parts.commands.handle)
        outer, self.cause = self.cause, message
        try:
            await handle([received(message)])
        except Retry:
            self.undone.append(message)
            raise
        finally:
            self.cause = outer

    @contextlib.asynccontextmanager
    async def _around(self) -> AsyncIterator[None]:
        """Before a write somebody may come between; after it, it is looked at."""
        message, self.between = self.between, None
        if message is not None:
            with contextlib.suppress(Retry):
                await self._handle(message)
            if isinstance(message, Stop):
                self.stops.append(message)
        yield
        await self._look()

    def tried(self, work: Awaitable[Any]) -> bool:
        """Whether it was carried out; only absent brokers may prevent it."""
        try:
            self.run(work)
        except Retry:
            assert self.kafka.broken
            return False
        return True

    def tick(self) -> None:
        """Until nothing is due any more, which must come soon: nobody may be due again at once for ever."""
        for _ in range(SETTLES_IN_TICKS):
            if not self.tried(self.parts.due.tick()):
                return
            deadline = self.next_deadline()
            if deadline is None or deadline > self.clock.now():
                return
            self.clock.advance(A_LOOK_AT_EVERYTHING_SECONDS)
        raise AssertionError("somebody stays due")

    def say(self, about: Any, kind: Outcome, flag: bool) -> None:
        """`about`: a stage that was due, or an enrollment in flight."""
        until = self.clock.now() + timedelta(minutes=5) if kind is Outcome.DEFERRED else None
        reasons = {Outcome.WITHDRAWN: ("window_over", "not_current"), Outcome.DEFERRED: ("busy", "shutdown")}
        if isinstance(about, StageDue):
            dispatch = about.enrollment_id, about.stage_id, about.attempt
        else:
            dispatch = about["_id"], about["stage_id"], about["attempt"]
        self.give(
            StageOutcome,
            event_type=kind,
            **dict(zip(("enrollment_id", "stage_id", "attempt"), dispatch, strict=True)),
            until=until,
            reason=reasons.get(kind, ("", ""))[flag],
            bounced=flag and kind is Outcome.REJECTED,
            responded=flag and kind is Outcome.TASK_DONE,
        )

    def confirm(self, dispatch_id: str) -> None:
        enrollment, stage = ids.split_dispatch_id(dispatch_id)
        self.give(
            StageOutcome, event_type=Outcome.RECALLED, enrollment_id=enrollment, stage_id=stage, attempt=0
        )

    def enroll(self, who: str, generation: int, version: int, in_hours: int) -> None:
        facts = {"phone": PHONE} | ({"title": "CTO"} if who == "wei" else {})
        self.give(
            Enroll,
            sequence_id=SEQUENCE,
            sequence_version=version,
            prospect=self.bench.prospect(who, **facts),
            generation=generation,
            start_at=self.clock.now() + timedelta(hours=in_hours),
        )

    def in_flight(self) -> list[Document]:
        """What the sender has, or should have."""
        return [e for _, e in sorted(self.seen.items()) if State(e["state"]) in IN_FLIGHT]

    def pick_of(self, things: Sequence[T], pick: int) -> T:
        """One of them, the newest where hypothesis has shrunk."""
        return things[-1 - pick % len(things)]

    def enrollment_id(self, who: str, generation: int = 1) -> UUID:
        return ids.enrollment_id(WORKSPACE, SEQUENCE, who, generation)

    def person_id(self, who: str) -> UUID:
        return ids.person_id(WORKSPACE, who)

    def target(self, scope: HoldScope, who: str) -> UUID:
        return {
            HoldScope.ENROLLMENT: self.enrollment_id(who),
            HoldScope.PERSON: self.person_id(who),
        }.get(scope, SEQUENCE)

    def next_deadline(self) -> datetime | None:
        return min((e["due_at"] for e in self.seen.values() if "due_at" in e), default=None)

    def advance_to_next_deadline(self) -> None:
        ahead = (self.next_deadline() or self.clock.now()) - self.clock.now()
        self.clock.advance(max(0.0, ahead.total_seconds()))

    # ---- what holds after every write ------------------------------------------------------------

    async def _look(self) -> None:
        now = {e["_id"]: e for e in await self.bench.database.collection(names.ENROLLMENTS).find({})}
        assert self.seen.keys() <= now.keys(), "an enrollment has vanished"
        for i, e in now.items():
            self.check_document(e)
            if i in self.seen:
                self.check_write(self.seen[i], e)
        self.seen = now

    def check_document(self, e: Document) -> None:
        state = State(e["state"])
        assert "broken" not in e, e["broken"]["error"]
        assert e["ended"] == (state not in LIVE)
        assert [c["seq"] for c in e["history"]] == list(range(1, e["seq"] + 1))
        parked, owes = "parked_by" in e, "owes_recall" in e
        assert ("due_at" in e) == (owes or (state in LIVE and not parked))
        assert not parked or state is State.SCHEDULED
        assert not owes or state is State.STOPPED
        if not e.get("tombstone"):
            self.check_stages(e, state)

    def check_stages(self, e: Document, state: State) -> None:
        stages = [stage["id"] for stage in VERSIONS[e["sequence_version"] - 1]["stages"]]
        done = [ORDER.index(stage) for stage in e["completed"]]
        assert done == sorted(set(done)), "stages in order, none twice"
        if state in LIVE:
            assert stages[e["stage_index"]] == e["stage_id"]
            assert e["stage_id"] not in e["completed"]
        if state in IN_FLIGHT:
            assert e["attempt"] >= 1
        assert not e.get("pending") or state in IN_FLIGHT

    def check_write(self, before: Document, after: Document) -> None:
        edge = (State(before["state"]), State(after["state"]))
        assert edge[0] is edge[1] or edge in EDGES, edge
        self.ground.walked.add(edge)
        assert before["history"] == after["history"][: len(before["history"])], "the past was changed"
        assert before["rev"] <= after["rev"] <= before["rev"] + 1
        if before["ended"]:
            added = after["history"][len(before["history"]) :]
            assert {c["type"] for c in added} <= {"corrected"}, "after the end nothing but the truth about it"
            assert "due_at" in before or "due_at" not in after
        if "stage_id" in after:
            self.check_attempt(before, after)
            self.check_cause(before, after)

    def check_attempt(self, before: Document, after: Document) -> None:
        """Of each dispatch they count up one by one, also where a migration comes back to a stage."""
        key = (after["_id"], after["stage_id"])
        last = self.attempts.get(key, 0)
        assert last <= after["attempt"] <= last + 1, (key, last, after["attempt"])
        self.attempts[key] = after["attempt"]

    def check_cause(self, before: Document, after: Document) -> None:
        """A stage is completed by a word about itself, or skipped; an attempt comes back by its own word."""
        said = self.cause if isinstance(self.cause, StageOutcome) else None
        done = before["completed"]
        if after["completed"] != done:
            assert after["completed"] == [*done, before["stage_id"]]
            told = after["history"][len(before["history"])]
            skipped = said is None and told["type"] == "stage_skipped"
            assert skipped or (said is not None and said.stage_id == before["stage_id"]), self.cause
        elif State(before["state"]) in IN_FLIGHT and after["state"] == State.SCHEDULED:
            assert said is not None, "only the sender gives a dispatch back"
            assert (said.stage_id, said.attempt) == (before["stage_id"], before["attempt"]), said

    def check_stopped(self, stop: Any) -> None:
        """What was asked for before it has ended."""
        for e in self.seen.values():
            mine = {
                Scope.ENROLLMENT: e["_id"] == stop.enrollment_id,
                Scope.PERSON: e.get("person_id") == stop.person_id,
                Scope.COMPANY: e.get("company_key") == stop.company_key,
            }[stop.scope]
            first_time = stop is self.delivered[-1]
            if mine and (
                stop.scope is Scope.ENROLLMENT or (first_time and e["issued_at"] <= stop.occurred_at)
            ):
                assert e["ended"], stop

    # ---- what holds between two rules ------------------------------------------------------------

    @invariant()
    def every_event_is_told_as_its_document_tells_it(self) -> None:
        for event in self.kafka.of(ENROLLMENT_EVENTS):
            if event.seq:
                e = self.seen[event.enrollment_id]
                again = event_of(e, e["history"][event.seq - 1])
                assert codec.encode(again) == codec.encode(event)

    @invariant()
    def a_stop_that_came_between_has_stopped_all_that_was_asked_for_before_it(self) -> None:
        """Also what was on its way to be enrolled. Until its handler is through, it may still be open."""
        if self.undone:
            return
        for stop in self.stops:
            for e in self.seen.values():
                person = stop.scope is Scope.PERSON and e.get("person_id") == stop.person_id
                if e["_id"] == stop.enrollment_id or (person and e["issued_at"] <= stop.occurred_at):
                    assert e["ended"], stop
        self.stops = []

    # ---- what must still be possible -------------------------------------------------------------

    def teardown(self) -> None:
        """With brokers and without holds everybody comes to an end, everything is told, nothing is owed."""
        if self.kafka.broken:
            self.the_brokers_go_or_come()
        for who in PEOPLE:
            for scope in SCOPES:
                self.clock.advance(1)
                self.something_is_held_or_lifted(scope, who, hours=0)
        rounds = 0
        while self.next_deadline() is not None:
            rounds += 1
            assert rounds < ENDS_WITHIN_ROUNDS, "somebody never ends"
            self.advance_to_next_deadline()
            before = len(self.kafka.messages)
            self.tick()
            for message in self.kafka.messages[before:]:
                if isinstance(message, StageDue):
                    self.say(message, Outcome.SENT, flag=False)
                elif isinstance(message, Recall):
                    self.confirm(message.dispatch_id)
        self.the_sweeps_go_round()
        assert all(e["ended"] for e in self.seen.values())
        told = {(event.enrollment_id, event.seq) for event in self.kafka.of(ENROLLMENT_EVENTS) if event.seq}
        assert told == {(i, c["seq"]) for i, e in self.seen.items() for c in e["history"]}


@contextlib.contextmanager
def ground(mongodb_uri: str) -> Iterator[Ground]:
    """A loop of our own, and a database in it: hypothesis calls its rules without one."""
    settings = settings_for(mongodb_uri)
    with asyncio.Runner() as runner:
        opened = fresh_database(settings)
        database = runner.run(opened.__aenter__())
        try:
            runner.run(build(database, SCHEMA))
            yield Ground(runner.run, database, settings)
        finally:
            runner.run(opened.__aexit__(None, None, None))


def test_no_order_of_events_breaks_an_enrollment(mongodb_uri: str) -> None:
    with ground(mongodb_uri) as prepared:

        class Grounded(SchedulerMachine):
            ground = prepared

        run_state_machine_as_test(Grounded, settings=THE_SAME_EACH_TIME)
        assert prepared.walked >= WALKED_BY_ALL_EXAMPLES
