"""Two senders, a scheduler and everything that may happen between two steps: no order of them sends twice."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.kafka import Received, Record
from chassis.store import Database, connect
from segue_contracts import ids
from segue_contracts.codec import decode
from segue_contracts.commands import DecideInDoubt, Decision, Evidence, NoteEvidence, Recall
from segue_contracts.events import Outcome, StageDue, StageOutcome
from segue_contracts.message import Message
from sender import steps
from sender.settings import SenderSettings
from sender.smtp import Aborted, Accepted, Broken, Deferred, Fault, Phase, Rejected, Reply
from sender.smtp import Outcome as SmtpOutcome
from sender.smtp_pool import Letter
from sender.wiring import Sender, assemble

pytestmark = pytest.mark.stack

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DOCUMENT = {
    "name": "One mail",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hi {{first_name}}"}],
}
CHOICES = (
    *("go 0", "go 1") * 7,
    *("ask 0", "ask 1", "lease", "stall") * 2,
    *("older", "deadline", "schedule", "stop", "hold", "recall", "bug", "resend", "skip", "copy"),
)
ANSWERS = ("accept", "accept_then_cut", "cut", "soft", "broken", "policy", "bounce")
MAX_ROUNDS = 25
MAX_PARKED = 4
LOOK_SECONDS = 0.001
SENDER: ContextVar[int] = ContextVar("sender", default=0)


class StallingClock(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.frozen_for = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.frozen_for


class ABug(RuntimeError):
    pass


@dataclass
class Parked:
    """Somebody between two steps, who goes on when told to; with `bug`, by raising."""

    sender: int
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    bug: bool = False


@dataclass
class Run:
    """One enrollment with one stage, two senders that stop between any two steps, and who drives them."""

    database: Database
    settings: SenderSettings
    answers: list[str]
    workspace: UUID = field(default_factory=uuid4)
    enrollment: UUID = field(default_factory=uuid4)
    thing: UUID = field(default_factory=uuid4)
    outcomes: list[StageOutcome] = field(default_factory=list)
    accepted: list[bytes] = field(default_factory=list)
    begun: list[bytes] = field(default_factory=list)
    resends: int = 0
    copied: bool = False
    stopped_at: list[float] | None = None
    too_late: int = 0
    parking: bool = True
    parked: list[Parked] = field(default_factory=list)
    asking: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.clocks = [StallingClock(), StallingClock()]
        self.senders: list[Sender] = [
            assemble(self.settings, clock, self.database, self, Server(self, index))
            for index, clock in enumerate(self.clocks)
        ]
        for sender in self.senders:
            self.slow_down(sender)

    def slow_down(self, sender: Sender) -> None:
        """Park after each read and before each journal too."""
        reader, enter = sender.steps.reader, sender.email._journal.enter
        read, again = reader.read, reader.again

        async def read_and_park(looks: Any) -> Any:
            found = await read(looks)
            await self.point("after read")
            return found

        async def park_and_enter(draft: Any) -> bool:
            await self.point("before journal")
            return await enter(draft)

        async def read_again_and_park(look: Any) -> Any:
            found = await again(look)
            await self.point("after read")
            return found

        reader.read = read_and_park  # type: ignore[method-assign]
        reader.again = read_again_and_park  # type: ignore[method-assign]
        sender.email._journal.enter = park_and_enter  # type: ignore[method-assign]

    async def still(self) -> None:
        """Wait until everybody is parked or done."""
        while self.at_work() != len(self.parked):  # noqa: ASYNC110 - looks into the sender, which tells nobody
            await asyncio.sleep(LOOK_SECONDS)

    def at_work(self) -> int:
        """How many are on their way, those who are parked included."""
        return len(self.asking) + sum(sender.work.in_flight for sender in self.senders)

    async def point(self, name: str) -> None:
        """Wait here for the driver, as a process that is slow or frozen would."""
        if not self.parking:
            return
        me = Parked(SENDER.get())
        self.parked.append(me)
        await me.gate.wait()
        if me.bug and name != "sender.after_claim":  # there it would be the consumer's ladder
            raise ABug(name)

    # Who drives.

    async def drive(self, choices: Sequence[str]) -> None:
        for choice in choices:
            await self.still()
            await self.choose(choice)
        self.parking = False
        while self.at_work():
            await self.still()
            self.go(0)

    async def choose(self, choice: str) -> None:
        what, _, number = choice.partition(" ")
        if what == "go":
            self.go(int(number))
        elif what == "ask":
            self.ask_aside(int(number))
        elif what == "older":
            self.ask_aside(0, older=True)
        elif what == "stall":
            for clock in self.clocks:
                clock.frozen_for += 60
        elif what == "bug" and self.parked:
            self.parked[0].bug = True
        elif what == "schedule":
            await self.schedule()
        else:
            await self.happen(what)

    def go(self, index: int) -> None:
        """Let one of those who are parked go on to its next stop."""
        if self.parked:
            self.parked.pop(index % len(self.parked)).gate.set()

    def ask_aside(self, sender: int, *, older: bool = False) -> None:
        if len(self.parked) >= MAX_PARKED:
            return
        SENDER.set(sender)
        task = asyncio.create_task(self.ask(sender, older=older, wait=False))
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    # Stands in for Kafka.

    async def publish(self, records: Sequence[Record]) -> None:
        for record in records:
            message = decode(record.topic, record.headers, record.value)
            if isinstance(message, StageOutcome):
                self.outcomes.append(message)

    # What happens between two steps.

    async def happen(self, event: str) -> None:
        if event == "lease":
            await self.delivery_is(lease_until=LONG_AGO)
        elif event == "deadline":
            await self.delivery_is(deadline=LONG_AGO)
        elif event == "stop":
            await self.enrollment_is(state="stopped", ended=True)
            self.stopped_at = [clock.monotonic() for clock in self.clocks]
        elif event == "hold":
            await self.hold()
        elif event == "recall":
            await self.command(Recall)
        elif event == "resend":
            delivery = await self.delivery()
            self.resends += bool(delivery and delivery["state"] == "in_doubt")
            await self.command(DecideInDoubt, decision=Decision.RESEND)
        elif event == "skip":
            await self.command(DecideInDoubt, decision=Decision.SKIP_STAGE)
        elif event == "copy" and self.accepted:
            self.copied = True
            await self.command(NoteEvidence, evidence=Evidence.SENT_COPY)

    async def hold(self) -> None:
        hold = {"_id": names.hold_id("enrollment", self.enrollment), "workspace_id": self.workspace}
        await self.database.collection(names.HOLDS).insert_new([{**hold, "until": None}])

    async def command(self, kind: Any, **more: Any) -> None:
        dispatch = ids.dispatch_id(self.enrollment, "hello")
        await self.senders[0].on_commands([received(self.message(kind, dispatch_id=dispatch, **more))])

    def message(self, kind: Any, **more: Any) -> Any:
        now = self.clocks[0].now()
        common = {"event_id": uuid4(), "occurred_at": now, "recorded_at": now, "workspace_id": self.workspace}
        return kind(**common, **more)

    async def ask(self, index: int, *, older: bool = False, wait: bool = True) -> None:
        enrollment = await self.database.collection(names.ENROLLMENTS).find_one({"_id": self.enrollment})
        assert enrollment is not None
        attempt = enrollment["attempt"] - older
        if attempt < 1:
            return
        due = self.message(
            StageDue,
            enrollment_id=self.enrollment,
            stage_id="hello",
            attempt=attempt,
            due_at=self.clocks[0].now(),
        )
        await self.senders[index].on_stage_due([received(due)])
        if wait:
            await self.senders[index].work.quiet()

    # The scheduler.

    async def schedule(self) -> str:
        """Apply the outcomes so far as the scheduler would; the enrollment's state."""
        outcomes, self.outcomes = self.outcomes, []
        for outcome in outcomes:
            await self.apply(outcome)
        enrollment = await self.database.collection(names.ENROLLMENTS).find_one({"_id": self.enrollment})
        assert enrollment is not None
        return str(enrollment["state"])

    async def apply(self, outcome: StageOutcome) -> None:
        waiting: dict[str, Any] = {"state": {"$in": ["dispatched", "in_doubt"]}}
        live = {"_id": self.enrollment, **waiting}
        enrollments = self.database.collection(names.ENROLLMENTS)
        match outcome.event_type:
            case Outcome.SENT:
                await enrollments.update_one(live, {"$set": {"state": "finished", "ended": True}})
            case Outcome.TASK_SKIPPED:
                await enrollments.update_one(live, {"$set": {"state": "finished", "ended": True}})
            case Outcome.REJECTED:
                await enrollments.update_one(live, {"$set": {"state": "failed", "ended": True}})
            case Outcome.IN_DOUBT:
                live["state"] = "dispatched"
                await enrollments.update_one(live, {"$set": {"state": "in_doubt"}})
            case Outcome.DEFERRED | Outcome.WITHDRAWN:
                live["attempt"] = outcome.attempt
                # Each attempt would write other words, if it wrote any.
                edits = {"hello": {"text": str(uuid4())}}
                change = {"$set": {"state": "dispatched", "edits": edits}, "$inc": {"attempt": 1}}
                await enrollments.update_one(live, change)

    async def play(self, choices: Sequence[str]) -> None:
        await self.furnish()
        await self.drive(choices)
        for round_ in range(MAX_ROUNDS):
            await self.ask(round_ % 2)
            if await self.schedule() in ("finished", "failed", "stopped"):
                break
            await self.database.collection(names.HOLDS).delete_many({})
            await self.delivery_is(lease_until=LONG_AGO, deadline=LONG_AGO)
        await self.ask(0)
        await self.delivery_is(deadline=LONG_AGO)
        await self.command(Recall)  # which a stop owes
        await self.senders[0].on_stage_due.sweep()

    async def furnish(self) -> None:
        thing, workspace = self.thing, self.workspace
        rows: dict[str, dict[str, Any]] = {
            names.MAILBOXES: {
                "_id": thing,
                "address": "ana@ourco.example",
                "owner_id": thing,
                "smtp": {"host": "127.0.0.1", "port": 1, "security": "none"},
            },
            names.SEQUENCE_VERSIONS: {
                "_id": names.version_id(thing, 1),
                "sequence_id": thing,
                "version": 1,
                "document": DOCUMENT,
                "mailbox_ids": [thing],
                "owner_id": thing,
            },
            names.PEOPLE: {"_id": thing, "prospect": {"first_name": "Anna", "email": "anna@there.example"}},
            names.ENROLLMENTS: {
                "_id": self.enrollment,
                "state": "dispatched",
                "stage_id": "hello",
                "attempt": 1,
                "sequence_id": thing,
                "sequence_version": 1,
                "person_id": thing,
                "mailbox_id": thing,
                "owner_id": thing,
                "ended": False,
            },
        }
        for name, row in rows.items():
            await self.database.collection(name).insert_one({**row, "workspace_id": workspace})

    async def delivery(self) -> dict[str, Any] | None:
        dispatch = ids.dispatch_id(self.enrollment, "hello")
        return await self.database.collection(names.DELIVERIES).find_one({"_id": dispatch})

    async def delivery_is(self, **changed: Any) -> None:
        dispatch = ids.dispatch_id(self.enrollment, "hello")
        await self.database.collection(names.DELIVERIES).update_one({"_id": dispatch}, {"$set": changed})

    async def enrollment_is(self, **changed: Any) -> None:
        await self.database.collection(names.ENROLLMENTS).update_one(
            {"_id": self.enrollment}, {"$set": changed}
        )


@dataclass
class Server:
    """A mail server that remembers when DATA began and what it accepted, and answers by the script."""

    run: Run
    index: int
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def post(self, letter: Letter) -> None:
        task = asyncio.create_task(self.carry(letter))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def carry(self, letter: Letter) -> None:
        try:
            result: SmtpOutcome | Exception = await self.transact(letter)
        except ABug as error:
            result = error
        await letter.ended(result)

    async def transact(self, letter: Letter) -> SmtpOutcome:
        run, answer = self.run, self.run.answers.pop() if self.run.answers else "accept"
        refusals: dict[str, SmtpOutcome] = {
            "broken": Broken(Phase.CONNECT, "no route"),
            "policy": Rejected(550, "5.7.1", "no", Phase.RCPT, Fault.POLICY),
            "bounce": Rejected(550, "5.1.1", "no", Phase.RCPT, Fault.RECIPIENT),
        }
        if answer in refusals:
            return refusals[answer]
        if not await letter.before_data():
            return Aborted()
        data = letter.envelope.data
        self.data_begins(data)
        await run.point("smtp.data")
        if answer.startswith("accept"):
            run.accepted.append(data)
        if answer == "accept":
            return Accepted(Reply(250, "2.0.0", "queued"))
        if answer == "soft":
            return Deferred(451, "4.3.0", "later", Phase.DOT)
        return Broken(Phase.DOT, "gone")

    def data_begins(self, data: bytes) -> None:
        run = self.run
        run.begun.append(data)
        if run.stopped_at is not None:
            since = run.clocks[self.index].monotonic() - run.stopped_at[self.index]
            run.too_late += since >= run.settings.read_age_seconds


def received(message: Message) -> Received:
    record = Record.of(message)
    return Received(record.topic, 0, 0, record.key, record.value, record.headers, 0)


@pytest.mark.slow
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(  # two claims side by side before the journal: the token decides
    choices=["ask 0", "go 0", "go 0", "lease", "ask 1", "go 1", "go 1", "go 0", "go 0"], answers=[]
)
@example(  # sent, in doubt, decided to be sent again, and then its copy is found
    choices=["ask 0", *["go 0"] * 9, "schedule", "resend", "schedule", "ask 0", "go 0", "copy"],
    answers=["accept_then_cut"],
)
@example(choices=["ask 0", "go 0", "go 0", "go 0", "stop", "stall"], answers=[])  # frozen after the journal
@given(
    choices=st.lists(st.sampled_from(CHOICES), min_size=20, max_size=60),
    answers=st.lists(st.sampled_from(ANSWERS), max_size=4),
)
def test_no_order_of_events_sends_twice_or_long_after_a_stop_or_forgets_the_dispatch(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, choices: list[str], answers: list[str]
) -> None:
    asyncio.run(judge(mongodb_uri, monkeypatch, choices, answers))


async def judge(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, choices: list[str], answers: list[str]
) -> None:
    own = SenderSettings(
        kafka_bootstrap_servers="nowhere:1",
        mongodb_uri=SecretStr(mongodb_uri),
        mongodb_database="sender_interleavings",
        secret_keys=SecretStr("0123456789abcdef0123456789abcdef"),
    )
    with monkeypatch.context() as patched:
        patched.setattr(steps, "TELL_TOGETHER_SECONDS", 0.0)  # thousands of outcomes, one after another
        async with connect(own) as database:
            run = Run(database, own, list(answers))
            patched.setattr(faults, "point", run.point)
            await run.play(choices)
            state = await run.schedule()
            delivery = await run.delivery()
    assert delivery is not None
    assert len(run.accepted) <= 1 + run.resends
    assert len(set(run.begun)) <= 1, "once DATA may have begun, the bytes never change"
    assert not run.too_late, "DATA began although a stop was committed long before"
    assert delivery["state"] not in ("claimed", "transmitting"), "nobody answers for it"
    assert state in ("finished", "failed", "stopped", "in_doubt"), "nobody ends it"
    assert (delivery["state"] == "sent") <= bool(run.accepted)
    assert run.copied <= (delivery["state"] == "sent"), "evidence wins over whatever was decided"
