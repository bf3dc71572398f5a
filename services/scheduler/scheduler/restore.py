"""Brings the enrollments of a restored backup up to what the brokers remember, before any service starts.

What was told of enrollments (`enrollment.events`) is taken over as it was told; enrolls, stops and most
commands that came after the backup are carried out again. The operator's hold stands over everything.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from chassis import documents as names
from chassis.clock import Clock
from chassis.errors import Fatal
from chassis.kafka import Publisher, Received, Record
from chassis.kafka.since import read_since
from chassis.restored import PAGE, Marks, Stage
from chassis.secrets import Secrets
from chassis.store import Database
from scheduler.model import Document, State
from scheduler.operations import ISSUER, Everything
from scheduler.outbox import Publishes
from scheduler.restoring import caught_up
from scheduler.settings import SchedulerSettings
from scheduler.wiring import Parts, assemble
from segue_contracts import codec
from segue_contracts.commands import Enroll, EnrollmentCommand
from segue_contracts.events import EnrollmentEvent, EnrollmentStop, StageDue, StopReason
from segue_contracts.topics import (
    ENROLLMENT_COMMANDS,
    ENROLLMENT_EVENTS,
    ENROLLMENT_STOPS,
    STAGE_DUE,
    Topic,
)

MARGIN: Final = timedelta(minutes=10)
"""Before the backup's mark: what was under way then, and clocks that are not the same."""
MOST: Final = timedelta(days=3)
"""For so long the brokers keep what the sender was asked for; behind that nobody knows what was sent."""
BATCH: Final = 500
REASON: Final = "a backup was restored"
NOT_AGAIN: Final = frozenset({"reschedule", "migrate", "correct", "replan"})
"""They speak of what was current then; what they changed is told."""
FOR_GOOD: Final = frozenset({StopReason.UNSUBSCRIBED, StopReason.COMPLAINED})


@dataclass(slots=True)
class Remembered:
    """What the brokers know since the backup."""

    story: dict[UUID, dict[int, EnrollmentEvent]] = field(default_factory=lambda: defaultdict(dict))
    told: set[UUID] = field(default_factory=set)
    """The ids of all events, those of refusals too."""
    asked: dict[str, int] = field(default_factory=dict)

    def note(self, event: EnrollmentEvent) -> None:
        """An event of the story."""
        self.told.add(event.event_id)
        if event.seq:
            self.story[event.enrollment_id][event.seq] = event

    def ask(self, due: StageDue) -> None:
        """A stage that the sender was asked for."""
        self.asked[due.dispatch_id] = max(due.attempt, self.asked.get(due.dispatch_id, 0))

    def behind(self, e: Document) -> list[EnrollmentEvent]:
        """What was told of it after the backup; up to the first gap, which there should be none of."""
        known = self.story.get(e["_id"], {})
        events: list[EnrollmentEvent] = []
        while (event := known.get(e["seq"] + len(events) + 1)) is not None:
            events.append(event)
        return events


class Quiet:
    """Publishes what was never told; the rest is told already, and under the same ids differently."""

    def __init__(self, publisher: Publishes, told: set[UUID]) -> None:
        self._publisher = publisher
        self._told = told

    async def publish(self, records: Sequence[Record]) -> None:
        await self._publisher.publish([record for record in records if not self._is_told(record)])

    def _is_told(self, record: Record) -> bool:
        return UUID(dict(record.headers)["ce_id"].decode()) in self._told


class RestoreStore:
    """Writes of a restore, when nobody else writes."""

    def __init__(self, database: Database) -> None:
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._people = database.collection(names.PEOPLE)
        self._results = database.collection(names.COMMAND_RESULTS)
        self._suppressions = database.collection(names.SUPPRESSIONS)

    async def whole(self, ids: Sequence[UUID]) -> list[Document]:
        """These enrollments with their history, but for tombstones."""
        return await self._enrollments.find({"_id": {"$in": list(ids)}, "tombstone": {"$ne": True}})

    async def replace(self, before: Document, after: Document) -> bool:
        """Whether it was still as it was read."""
        same = {name: before[name] for name in ("_id", "workspace_id", "rev")}
        return await self._enrollments.replace_one(same, after)

    async def address_of(self, stop: EnrollmentStop) -> str | None:
        """The address of the person that a stop is about."""
        person = stop.person_id
        if person is None and stop.enrollment_id is not None:
            query = {"_id": stop.enrollment_id, "workspace_id": stop.workspace_id}
            found = await self._enrollments.find_one(query, projection={"person_id": 1})
            person = (found or {}).get("person_id")
        wanted = {"_id": person, "workspace_id": stop.workspace_id}
        known = await self._people.find_one(wanted, projection={"addresses": 1})
        return next(iter((known or {}).get("addresses", ())), None)

    async def suppress(self, suppression: Document) -> None:
        """Add it, unless it is there."""
        await self._suppressions.insert_new([suppression])

    async def refuse(self, results: Sequence[Document]) -> None:
        """Commands that are not carried out again; the first word stays."""
        await self._results.insert_new(results)


async def hold(database: Database, clock: Clock, since: datetime | None) -> Document:
    """Begin: hold everything, and keep every service from starting before all is rebuilt."""
    marks = Marks(database)
    mark = await marks.read()
    at = mark.since or since or mark.at
    if at is None:
        raise Fatal("The backup has no mark: say with --since when it was made (an instant before it).")
    if clock.real_now() - at > MOST:
        raise Fatal(
            f"The backup ends {at}: the brokers keep {MOST.days} days, nobody knows what was sent since."
        )
    await marks.restore(Stage.HELD, at)
    held = await Everything(database, clock).hold(REASON)
    return {"held_workspaces": held, "since": at.isoformat()}


async def release(database: Database, clock: Clock, *, whole: bool) -> Document:
    """End: let everything go on. `whole`: somebody says that nothing was restored and nothing is missing."""
    marks = Marks(database)
    mark = await marks.read()
    if mark.stage is not Stage.DELIVERIES and not whole:
        raise Fatal(f"The restore is not done ({mark.stage or 'not begun'}): follow {PAGE}.")
    await marks.move(clock.real_now())
    await marks.restore(None, None)
    return {"lifted_workspaces": await Everything(database, clock).lift()}


async def rebuild(settings: SchedulerSettings, database: Database) -> Document:
    """Catch up with the brokers; how many of what. May be run again after a try that broke off."""
    marks = Marks(database)
    mark = await marks.read()
    if mark.stage is None or mark.since is None:
        raise Fatal(f"Nothing is held: begin with `restore hold` ({PAGE}).")
    since = mark.since - MARGIN
    known = await _remembered(settings, since)
    async with Publisher(settings) as publisher:
        quiet, clock = Quiet(publisher, known.told), settings.clock()
        parts = assemble(settings, clock, database, quiet, tuple)
        rebuilding = Rebuilding(settings, RestoreStore(database), parts, known, clock)
        report = await rebuilding.run(since)
    await marks.restore(Stage.ENROLLMENTS, mark.since)
    return {"since": mark.since.isoformat(), **report}


async def _remembered(settings: SchedulerSettings, since: datetime) -> Remembered:
    known = Remembered()
    async for event in _messages(settings, ENROLLMENT_EVENTS, since):
        known.note(event)
    async for due in _messages(settings, STAGE_DUE, since):
        known.ask(due)
    return known


class Rebuilding:
    """One run over what came after the backup."""

    def __init__(
        self,
        settings: SchedulerSettings,
        store: RestoreStore,
        parts: Parts,
        known: Remembered,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._parts = parts
        self._known = known
        self._clock = clock
        self._secrets = Secrets(settings)
        self._report: Counter[str] = Counter()

    async def run(self, since: datetime) -> dict[str, int]:
        """Enrolls first, then what was told, then what else was asked for."""
        enrolls, others = await self._commands(since)
        await self._handle(enrolls, self._parts.commands.handle, "enrolls")
        await self._catch_up()
        await self._handle(others, self._parts.commands.handle, "commands_again")
        stops = [r async for r in read_since(self._settings, ENROLLMENT_STOPS, since)]
        for stop in map(_decoded, stops):
            await self._suppress(stop)
        await self._handle(stops, self._parts.stop_records.handle, "stops")
        return dict(self._report)

    async def _commands(self, since: datetime) -> tuple[list[Received], list[Received]]:
        """Enrolls that were not refused, and what else is carried out again; the rest gets its result."""
        enrolls, others, left = [], [], []
        async for received in read_since(self._settings, ENROLLMENT_COMMANDS, since):
            command = _decoded(received)
            if isinstance(command, Enroll):
                if uuid5(command.event_id, "refused") not in self._known.told:
                    enrolls.append(received)
            elif command.event_type in NOT_AGAIN:
                left.append(command)
            else:
                others.append(received)
        await self._store.refuse([_not_again(command, self._clock.now()) for command in left])
        self._report["commands_not_again"] += len(left)
        return enrolls, others

    async def _handle(self, records: Sequence[Received], handle: Any, what: str) -> None:
        for at in range(0, len(records), BATCH):
            await handle(records[at : at + BATCH])
        self._report[what] += len(records)

    async def _catch_up(self) -> None:
        """Take over what was told, and park what waits: its time is found again when the hold is lifted."""
        ids = {UUID(dispatch.partition(":")[0]) for dispatch in self._known.asked} | set(self._known.story)
        found: set[UUID] = set()
        for some in _portions(sorted(ids)):
            whole = await self._store.whole(some)
            found.update(e["_id"] for e in whole)
            await self._park([after for e in whole if (after := await self._take_over(e)) is not None])
        self._report["unknown_enrollments"] += len(ids - found)

    async def _take_over(self, e: Document) -> Document | None:
        """The enrollment as it was told, written; None where nothing is new, or it waits for nothing."""
        if e["_id"] in self._known.story and e["history"] and _is_new(e, self._known):
            e = {**e, "seq": 0, "history": [], "completed": []}
        events = self._known.behind(e)
        after = caught_up(e, events, self._known.asked, self._clock.real_now(), self._clock.now())
        if not await self._store.replace(e, after):
            raise Fatal("Something else writes: stop all services first.")
        self._report["enrollments_caught_up"] += 1
        return after if after["state"] == State.SCHEDULED else None

    async def _park(self, waiting: Sequence[Document]) -> None:
        over = await self._parts.holds.over(waiting)
        held = [e for e in waiting if e["_id"] in over]
        await self._parts.holds.park(held, over)

    async def _suppress(self, stop: EnrollmentStop) -> None:
        """Who said for good that they want nothing more is suppressed again."""
        if stop.event_type not in FOR_GOOD:
            return
        address = await self._store.address_of(stop)
        if address is None:
            return
        await self._store.suppress(
            {
                "_id": self._secrets.suppression_id(stop.workspace_id, "address", address),
                "workspace_id": stop.workspace_id,
                "kind": "address",
                "reason": stop.event_type.value,
                "by": ISSUER,
                "at": stop.occurred_at,
            }
        )
        self._report["suppressed"] += 1


def _is_new(e: Document, known: Remembered) -> bool:
    """Whether this restore made it: its beginning was told otherwise than its document has it."""
    first = known.story[e["_id"]].get(1)
    return first is not None and e["history"][0]["rec"] != first.recorded_at


def _not_again(command: EnrollmentCommand, now: datetime) -> Document:
    reason = {
        "code": "restored",
        "detail": "a backup was restored: look whether it took effect, or ask again",
    }
    return {
        "_id": command.event_id,
        "workspace_id": command.workspace_id,
        "status": "refused",
        "reasons": [reason],
        "enrollment_id": getattr(command, "enrollment_id", None),
        "at": now,
    }


async def _messages(settings: SchedulerSettings, topic: Topic, since: datetime) -> AsyncIterator[Any]:
    async for received in read_since(settings, topic, since):
        yield _decoded(received)


def _decoded(received: Received) -> Any:
    return codec.decode(received.topic, received.headers, received.value)


def _portions(ids: Iterable[UUID]) -> Iterable[list[UUID]]:
    listed = list(ids)
    return (listed[at : at + BATCH] for at in range(0, len(listed), BATCH))
