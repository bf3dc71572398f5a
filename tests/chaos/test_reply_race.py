"""A reply at every place around the claim: the real scheduler and two real senders on a real MongoDB."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from itertools import product
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from chassis import documents as names
from chassis import faults
from chassis.migrations import build
from chassis.secrets import Secrets
from chassis.testing import fresh_database
from invariants import violations
from scheduler.migrations import SCHEMA as SCHEDULER_SCHEMA
from scheduler.settings import SchedulerSettings
from scheduler.testing import TWO_MAILS, Bench, bench_over, received, settings_for
from segue_contracts.commands import DeliveryCommand
from segue_contracts.events import EnrollmentEvent, EnrollmentStop, StageDue, StageOutcome, StopReason
from segue_contracts.message import Message, Scope
from sender import steps
from sender.migrations import SCHEMA as SENDER_SCHEMA
from sender.settings import SenderSettings
from sender.smtp import Aborted, Accepted, Broken, Deferred, Outcome, Phase, Reply
from sender.smtp_pool import Letter
from sender.wiring import Sender, assemble
from world import Event, Mail, read_documents, world_of

pytestmark = pytest.mark.stack

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PLACES = 12
"""More than a dispatch has steps at which somebody else may come in between."""
ROUNDS = 40
MAX_PARKED = 3
ANSWERS = ("accept", "accept", "accept", "accept_then_cut", "cut", "soft")
LOOK_SECONDS = 0.001
THE_SAME_EACH_TIME = settings(
    max_examples=15,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
T = TypeVar("T")


class Steps:
    """Everybody stops between any two steps and goes on when told to."""

    def __init__(self) -> None:
        self.parked: list[asyncio.Event] = []
        self.parking = True
        self._senders: list[Sender] = []
        self._taking: set[asyncio.Task[None]] = set()

    async def point(self, name: str) -> None:
        """Wait to be told, as a sender that is slow or frozen does."""
        if self.parking and not name.startswith("scheduler."):
            gate = asyncio.Event()
            self.parked.append(gate)
            await gate.wait()

    async def go(self, which: int = 0) -> None:
        """One of those who wait goes on to its next stop."""
        if self.parked:
            self.parked.pop(which % len(self.parked)).set()
        await self._still()

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start something, and wait until it stops for the first time or ends."""
        task = asyncio.create_task(work)
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)
        await self._still()
        if task.done():
            task.result()

    async def _still(self) -> None:
        """Wait until everybody has stopped or is done."""
        while self._at_work() != len(self.parked):  # noqa: ASYNC110 - looks into the sender, which tells nobody
            await asyncio.sleep(LOOK_SECONDS)

    def _at_work(self) -> int:
        return len(self._taking) + sum(sender.work.in_flight for sender in self._senders)

    def slow_down(self, sender: Sender, before_read: Callable[[list[str]], None]) -> None:
        """Stop after each read and before each journal too."""
        reader, enter = sender.steps.reader, sender.email._journal.enter
        read, again = reader.read, reader.again

        async def read_and_stop(looks: Any) -> Any:
            before_read([look.claim.token for look in looks])
            found = await read(looks)
            await self.point("after read")
            return found

        async def stop_and_enter(draft: Any) -> bool:
            await self.point("before journal")
            return await enter(draft)

        async def read_again_and_stop(look: Any) -> Any:
            before_read([look.claim.token])
            found = await again(look)
            await self.point("after read")
            return found

        reader.read = read_and_stop  # type: ignore[method-assign]
        reader.again = read_again_and_stop  # type: ignore[method-assign]
        sender.email._journal.enter = stop_and_enter  # type: ignore[method-assign]
        self._senders.append(sender)


@dataclass
class Server:
    """Keeps what it accepts, answers by the script."""

    race: "Race"

    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def post(self, letter: Letter) -> None:
        task = asyncio.create_task(self.carry(letter))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def carry(self, letter: Letter) -> None:
        await letter.ended(await self.transact(letter))

    async def transact(self, letter: Any) -> Outcome:
        race = self.race
        if not await letter.before_data():
            return Aborted()
        race.note_data(letter.carried.claim.token)
        began, answer = race.bench.clock.real_now(), race.answers.pop() if race.answers else "accept"
        race.in_data += 1
        await race.steps.point("in DATA")
        race.in_data -= 1
        if answer.startswith("accept"):
            envelope, accepted = letter.envelope, race.bench.clock.real_now()
            race.mails.append(mail_of(envelope.data, envelope.rcpt, began, accepted))
        match answer:
            case "accept":
                return Accepted(Reply(250, "2.0.0", "queued"))
            case "soft":
                return Deferred(451, "4.3.0", "later", Phase.DOT)
        return Broken(Phase.DOT, "gone")


def mail_of(data: bytes, rcpt: str, began: datetime, accepted: datetime) -> Mail:
    message_id = str(BytesHeaderParser().parsebytes(data)["Message-ID"])
    return Mail(message_id, (rcpt,), began, accepted, hashlib.sha256(data).hexdigest())


@dataclass
class Race:
    """One person in a sequence of two mails; Kafka is a list that keeps, repeats and loses."""

    bench: Bench
    own: SchedulerSettings
    steps: Steps = field(default_factory=Steps)
    senders: list[Sender] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    pending: list[Message] = field(default_factory=list)
    consumed: list[Message] = field(default_factory=list)
    in_data: int = 0
    reply: EnrollmentStop | None = None
    stopped: bool = False
    stopped_before_read: dict[str, bool] = field(default_factory=dict)
    unseen: int = 0
    """How often DATA began although the stop was committed before the last read."""
    enrollment: UUID = field(default_factory=lambda: UUID(int=0))

    async def begin(self) -> None:
        """Somebody is enrolled and due."""
        await build(self.bench.database, SCHEDULER_SCHEMA)
        await build(self.bench.database, SENDER_SCHEMA)
        await self.bench.seed(TWO_MAILS)
        (self.enrollment,) = await self.bench.enrolled("priya")
        for _ in range(2):
            sender = assemble(
                SenderSettings(
                    kafka_bootstrap_servers="unused:9092",
                    mongodb_uri=self.own.mongodb_uri,
                    mongodb_database=self.own.mongodb_database,
                    secret_keys=SecretStr(self.own.secret_keys.get_secret_value()),
                ),
                self.bench.clock,
                self.bench.database,
                self.bench.kafka,
                Server(self),
            )
            self.steps.slow_down(sender, self.note_read)
            self.senders.append(sender)

    # ---- the steps, named as the model names them ----

    async def scheduler_reads_the_due_enrollment(self) -> None:
        await self.bench.parts.due.tick()
        self.collect()

    async def a_reply_arrives(self) -> None:
        self.reply = self.bench.message(
            EnrollmentStop,
            event_type=StopReason.REPLIED,
            scope=Scope.ENROLLMENT,
            enrollment_id=self.enrollment,
        )
        self.pending.append(self.reply)

    async def scheduler_consumes_stop(self) -> None:
        """The reply, its stop and its commit, without anything in between."""
        await self.a_reply_arrives()
        await self.deliver(len(self.pending) - 1)

    async def deliver(self, which: int, sender: int = 0) -> None:
        """Somebody takes a message."""
        if not self.pending or len(self.steps.parked) >= MAX_PARKED:
            return
        message = self.pending.pop(which % len(self.pending))
        self.consumed.append(message)
        parts, me = self.bench.parts, self.senders[sender]
        match message:
            case StageDue():
                await self.steps.run(me.on_stage_due([received(message)]))
            case DeliveryCommand():
                await self.steps.run(me.on_commands([received(message)]))
            case StageOutcome():
                await parts.outcomes.handle([received(message)])
            case EnrollmentStop():
                await parts.stop_records.handle([received(message)])
                self.stopped = True
        self.collect()

    def deliver_again(self, which: int) -> None:
        if self.consumed:
            self.pending.append(self.consumed[which % len(self.consumed)])

    def lose(self, which: int) -> None:
        if self.pending:
            self.pending.pop(which % len(self.pending))

    async def step(self, which: int) -> None:
        """A sender goes on to its next step."""
        await self.steps.go(which)
        self.collect()

    def stall(self) -> None:
        """Everything that was read grows old; what is due later comes nearer."""
        self.bench.clock.advance(seconds=60)

    async def deadlines_pass(self) -> None:
        """Leases and the SMTP deadline; a sender is out of DATA by then."""
        deliveries = self.bench.database.collection(names.DELIVERIES)
        change = {"lease_until": LONG_AGO, **({} if self.in_data else {"deadline": LONG_AGO})}
        await deliveries.update_many({"state": {"$in": ["claimed", "transmitting"]}}, {"$set": change})

    def note_read(self, claims: list[str]) -> None:
        """A sender reads for claims: what it finds must include a stop that is there already."""
        self.stopped_before_read |= dict.fromkeys(claims, self.stopped)

    def note_data(self, claim: str) -> None:
        """A sender begins DATA for a claim."""
        self.unseen += self.stopped_before_read[claim]

    def collect(self) -> None:
        """What was published since the last look is on its way; the public events are kept."""
        fresh = [m for m in self.bench.kafka.messages if not isinstance(m, EnrollmentEvent)]
        self.bench.kafka.messages = self.bench.kafka.of(EnrollmentEvent.TOPIC)
        self.pending += fresh

    # ---- the end ----

    async def end(self) -> None:
        """Without further faults everything comes to its end; then the judge looks at it."""
        self.steps.parking = False
        for _ in range(ROUNDS):
            while self.steps.parked:
                await self.step(0)
            while self.pending:
                await self.deliver(0)
            if await self.is_over():
                break
            await self.until_it_is_due()
            await self.deadlines_pass()
            if self.reply is not None:
                self.pending.append(self.reply)  # its sweep
            await self.scheduler_reads_the_due_enrollment()
        assert await self.is_over(), (await self.bench.read(self.enrollment))["state"]
        await self.judge()

    async def until_it_is_due(self) -> None:
        """To the deadline and not beyond: what is late is planned again."""
        clock, due_at = self.bench.clock, (await self.bench.read(self.enrollment)).get("due_at")
        if due_at is not None:
            clock.advance(max(0.0, (due_at - clock.now()).total_seconds()))

    async def is_over(self) -> bool:
        e = await self.bench.read(self.enrollment)
        deliveries = await self.bench.database.collection(names.DELIVERIES).find({})
        busy = any(d["state"] in ("claimed", "transmitting") for d in deliveries)
        return (e["ended"] or e["state"] == "in_doubt") and not e.get("owes_recall") and not busy

    async def judge(self) -> None:
        told = [
            Event(m.event_id, m.enrollment_id, m.seq, m.event_type.value, m.model_dump_json().encode())
            for m in self.bench.kafka.of(EnrollmentEvent.TOPIC)
        ]
        clock = self.bench.clock
        documents = await read_documents(self.bench.database)
        world = world_of(
            documents, self.mails, told, clock=clock, now=clock.real_now(), secrets=Secrets(self.own)
        )
        found = violations(world)
        assert not found, "\n".join(str(violation) for violation in found)
        assert not self.unseen, "DATA began although the stop was committed before the last read"


@contextlib.asynccontextmanager
async def a_race(mongodb_uri: str) -> AsyncIterator[Race]:
    own = settings_for(mongodb_uri)
    async with fresh_database(own) as database:
        race = Race(bench_over(database, own), own)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(steps, "TELL_TOGETHER_SECONDS", 0.0)  # thousands of outcomes, one after another
            patched.setattr(faults, "point", race.steps.point)
            await race.begin()
            yield race


@pytest.mark.parametrize(("place", "stalled"), list(product(range(PLACES), (False, True))))
async def test_a_reply_at_this_place_of_a_dispatch_is_seen_if_it_can_be(
    mongodb_uri: str, place: int, stalled: bool
) -> None:
    async with a_race(mongodb_uri) as race:
        begun: list[bool] = []
        await race.scheduler_reads_the_due_enrollment()
        for here in range(PLACES):
            if here == place:
                begun.append(bool(race.in_data or race.mails))
                await race.scheduler_consumes_stop()
                if stalled:
                    race.stall()
            if here == 0:
                await race.deliver(0)
            await race.step(0)
        await race.end()
        if stalled and not begun[0]:
            assert race.mails == []
        assert len(race.mails) <= 1
        assert (await race.bench.read(race.enrollment))["stop"]["reason"] == "replied"


class Machine(RuleBasedStateMachine):
    """The same steps in any order, with a Kafka that repeats and loses."""

    mongodb_uri: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.context = a_race(self.mongodb_uri)
        self.race: Race = self.wait(self.context.__aenter__())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(answers=st.lists(st.sampled_from(ANSWERS), max_size=4))
    def the_server_has_a_script(self, answers: list[str]) -> None:
        self.race.answers = answers

    @rule()
    def scheduler_reads_the_due_enrollment(self) -> None:
        self.wait(self.race.scheduler_reads_the_due_enrollment())

    @precondition(lambda self: self.race.reply is None)
    @rule()
    def a_reply_arrives(self) -> None:
        self.wait(self.race.a_reply_arrives())

    @precondition(lambda self: self.race.pending)
    @rule(which=st.integers(0, 5), sender=st.integers(0, 1))
    def somebody_takes_a_message(self, which: int, sender: int) -> None:
        self.wait(self.race.deliver(which, sender))

    @precondition(lambda self: self.race.steps.parked)
    @rule(which=st.integers(0, MAX_PARKED - 1))
    def a_sender_goes_on(self, which: int) -> None:
        self.wait(self.race.step(which))

    @precondition(lambda self: self.race.steps.parked)
    @rule(which=st.integers(0, MAX_PARKED - 1))
    def a_sender_goes_on_again(self, which: int) -> None:
        self.wait(self.race.step(which))

    @precondition(lambda self: self.race.consumed)
    @rule(which=st.integers(0, 9))
    def kafka_delivers_again(self, which: int) -> None:
        self.race.deliver_again(which)

    @precondition(lambda self: self.race.pending)
    @rule(which=st.integers(0, 5))
    def kafka_loses(self, which: int) -> None:
        self.race.lose(which)

    @rule()
    def a_sender_stalls(self) -> None:
        self.race.stall()

    @rule()
    def deadlines_pass(self) -> None:
        self.wait(self.race.deadlines_pass())

    @rule(days=st.integers(1, 4))
    def time_passes(self, days: int) -> None:
        self.race.bench.clock.advance(days=days)

    def teardown(self) -> None:
        try:
            self.wait(self.race.end())
        finally:
            self.wait(self.context.__aexit__(None, None, None))
            self.loop.close()


@pytest.fixture
def machine(mongodb_uri: str) -> type[Machine]:
    Machine.mongodb_uri = mongodb_uri
    return Machine


@pytest.mark.slow
def test_no_order_of_steps_sends_twice_or_after_the_reply_that_it_could_have_seen(
    machine: type[Machine],
) -> None:
    run_state_machine_as_test(machine, settings=THE_SAME_EACH_TIME)
