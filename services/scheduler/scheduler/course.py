"""What lies before an enrollment: its version's stages, planned for this person and this sender."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

from chassis.caps import Cap, caps_of
from chassis.clock import Clock
from chassis.documents import MailboxView, VersionView, WorkspaceView
from scheduler.model import Document, Step
from scheduler.plan import Refused, Sender, plan
from scheduler.search import Vacancy
from scheduler.store import SchedulerStore
from segue_contracts.ids import dispatch_id
from segue_contracts.message import Channel
from segue_contracts.prospect import Prospect
from segue_contracts.sequence import MANUAL_CHANNELS, Condition, SequenceDocument, parse_sequence
from segue_contracts.timing import TEAM, parse_windows

VERSIONS_KEPT = 1000
SETTINGS_SECONDS = 5.0
LONGEST_TIME_OFF_DAYS = 400

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Version:
    """A published version with its document read."""

    view: VersionView
    document: SequenceDocument

    def names_team(self, index: int) -> bool:
        """Whether the stage at `index` looks at the team's own days off."""
        holidays = self.document.timing_of(index).holidays
        return holidays is not None and TEAM in holidays.calendars


@dataclass(frozen=True, slots=True)
class Course:
    """One version, one sender, one person, and the days off of their team."""

    version: Version
    mailbox: MailboxView
    prospect: Prospect
    team_holidays: frozenset[date]

    def next_index(self, completed: Sequence[str]) -> int | None:
        """The first stage after the last completed one that this version has; None at the end.

        Nobody gets a stage twice: a stage put in before what is already done is left out.
        """
        stages = self.version.document.stages
        done = set(completed)
        after = max((i for i, stage in enumerate(stages) if stage.id in done), default=-1) + 1
        return after if after < len(stages) else None

    def step(
        self,
        enrollment_id: UUID,
        index: int,
        base: datetime,
        now: datetime | None = None,
        vacancy: Vacancy | None = None,
    ) -> Step | Refused:
        """The stage at `index` with its time, counted from `base`; with `now`, planned again from then; with
        `vacancy`, at the first free time.
        """
        document = self.version.document
        stage = document.stages[index]
        planned = plan(
            stage,
            document.timing_of(index),
            base=base,
            dispatch_id=dispatch_id(enrollment_id, stage.id),
            person=self.prospect,
            sender=sender_of(self.mailbox),
            team_holidays=self.team_holidays,
            first=index == 0,
            now=now,
            vacancy=vacancy,
        )
        if isinstance(planned, Refused):
            return planned
        reasons = tuple(reason.as_data() for reason in planned.reasons)
        channel = Channel(stage.channel)
        return Step(stage.id, index, channel, planned.at, planned.send_before, planned.zone, reasons, now)

    def ahead(
        self, enrollment_id: UUID, completed: Sequence[str], base: datetime
    ) -> Iterator[tuple[int, Step | Refused]]:
        """The stages after the completed ones, by position, each counted from the time of the one before.

        Nothing comes after one that is refused.
        """
        done = list(completed)
        while (index := self.next_index(done)) is not None:
            step = self.step(enrollment_id, index, base)
            yield index, step
            if isinstance(step, Refused):
                return
            base = step.at
            done.append(step.stage_id)

    def wanted(self, index: int) -> bool:
        """Whether the stage's `when` holds for this person now."""
        condition = self.version.document.stages[index].when
        return condition is None or holds(condition, self.prospect)


def holds(condition: Condition, prospect: Prospect) -> bool:
    """Whether a `when` is true. Opens and clicks are not tracked: the api refuses what asks for them."""
    if condition.has is not None:
        name = condition.has
        value = getattr(prospect, name, None) if name in Prospect.model_fields else None
        return bool(value or prospect.tokens.get(name) or prospect.dates.get(name))
    if condition.not_ is not None:
        return not holds(condition.not_, prospect)
    if condition.all is not None:
        return all(holds(each, prospect) for each in condition.all)
    if condition.any is not None:
        return any(holds(each, prospect) for each in condition.any)
    return False


def sender_of(mailbox: MailboxView) -> Sender:
    """The mailbox's own hours and days off, as planning wants them."""
    windows = parse_windows(mailbox.windows) if mailbox.windows else None
    return Sender(mailbox.country, mailbox.zone, windows, _days(mailbox.time_off))


def _days(time_off: Sequence[str]) -> frozenset[date]:
    days: set[date] = set()
    for entry in time_off:
        first, _, last = entry.partition("/")
        start, end = date.fromisoformat(first), date.fromisoformat(last or first)
        days.update(start + timedelta(n) for n in range(min((end - start).days + 1, LONGEST_TIME_OFF_DAYS)))
    return frozenset(days)


class _Recent(Generic[K, V]):
    """What `read` says of a key, as it was at most a few seconds ago."""

    def __init__(self, clock: Clock, read: Callable[[K], Awaitable[V]]) -> None:
        self._clock = clock
        self._read = read
        self._known: dict[K, tuple[float, V]] = {}

    async def get(self, key: K) -> V:
        now = self._clock.monotonic()
        known = self._known.get(key)
        if known is None or now - known[0] > SETTINGS_SECONDS:
            known = self._known[key] = (now, await self._read(key))
        return known[1]


class Courses:
    """Loads courses; versions never change and are kept, settings are read anew every few seconds."""

    def __init__(self, store: SchedulerStore, clock: Clock) -> None:
        self._store = store
        self._versions: OrderedDict[tuple[UUID, UUID, int], Version] = OrderedDict()
        self._mailboxes = _Recent(clock, self._read_mailbox)
        self._workspaces = _Recent(clock, store.workspace)
        self._team_holidays = _Recent(clock, self._read_team_holidays)

    async def version(self, workspace: UUID, sequence_id: UUID, version: int) -> Version | None:
        """A published version, None if there is none."""
        key = (workspace, sequence_id, version)
        if key in self._versions:
            self._versions.move_to_end(key)
            return self._versions[key]
        view = await self._store.version(workspace, sequence_id, version)
        if view is None:
            return None
        self._versions[key] = Version(view, parse_sequence(view.document))
        if len(self._versions) > VERSIONS_KEPT:
            self._versions.popitem(last=False)
        return self._versions[key]

    async def mailbox(self, workspace: UUID, mailbox_id: UUID) -> MailboxView | None:
        """A mailbox as it was at most a few seconds ago."""
        return await self._mailboxes.get((workspace, mailbox_id))

    async def workspace(self, workspace: UUID) -> WorkspaceView | None:
        """A workspace's settings as they were at most a few seconds ago."""
        return await self._workspaces.get(workspace)

    async def team_holidays(self, workspace: UUID) -> frozenset[date]:
        """The workspace's own days off as they were at most a few seconds ago."""
        return await self._team_holidays.get(workspace)

    async def _read_mailbox(self, key: tuple[UUID, UUID]) -> MailboxView | None:
        return await self._store.mailbox(*key)

    async def _read_team_holidays(self, workspace: UUID) -> frozenset[date]:
        calendar = await self._store.calendar(workspace)
        return frozenset(map(date.fromisoformat, calendar.days if calendar else ()))

    async def caps(self, e: Document) -> tuple[Cap, ...]:
        """The sending limits over an enrollment's current stage; none over a task of a person."""
        if Channel(e["channel"]) in MANUAL_CHANNELS:
            return ()
        version = await self.version(e["workspace_id"], e["sequence_id"], e["sequence_version"])
        mailbox = await self.mailbox(e["workspace_id"], e["mailbox_id"])
        if version is None or mailbox is None:
            return ()
        return caps_of(
            mailbox,
            await self.workspace(e["workspace_id"]),
            version.document.limits,
            sequence_id=e["sequence_id"],
            person_id=e["person_id"],
            is_first=e["stage_index"] == 0,
        )

    async def load(
        self, enrollments: Sequence[Document], versions: dict[UUID, int] | None = None
    ) -> dict[UUID, Course]:
        """The course of each enrollment, under its own version or the one that `versions` names.

        An enrollment whose version, mailbox or person is gone has none.
        """
        if not enrollments:
            return {}
        people = await self._store.people(
            {e["workspace_id"] for e in enrollments}, {e["person_id"] for e in enrollments}
        )
        courses: dict[UUID, Course] = {}
        for e in enrollments:
            number = (versions or {}).get(e["_id"]) or int(e["sequence_version"])
            version = await self.version(e["workspace_id"], e["sequence_id"], number)
            mailbox = await self.mailbox(e["workspace_id"], e["mailbox_id"])
            person = people.get(e["person_id"])
            if version and mailbox and person:
                prospect = Prospect.model_validate(person["prospect"])
                team = await self.team_holidays(e["workspace_id"])
                courses[e["_id"]] = Course(version, mailbox, prospect, team)
        return courses
