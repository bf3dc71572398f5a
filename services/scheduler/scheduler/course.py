"""What lies before an enrollment: its version's stages, planned for this person and this sender."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Generic, TypeVar
from uuid import UUID

from chassis.caps import Cap, caps_of
from chassis.clock import Clock
from chassis.documents import MailboxView, SmsNumberView, VersionView, WorkspaceView
from chassis.numbers import choose_number
from chassis.telemetry import counter
from scheduler.conditions import Engaged, holds, stages_asked_about
from scheduler.local_time import whole_second_up
from scheduler.model import Document, Step
from scheduler.open_time import TextHours, text_hours
from scheduler.plan import NEVER_OPENS, Person, Place, Refused, Sender, plan
from scheduler.search import Vacancy
from scheduler.store import SchedulerStore
from scheduler.trail import Reason
from segue_contracts.ids import dispatch_id, split_dispatch_id
from segue_contracts.message import Channel
from segue_contracts.sequence import MANUAL_CHANNELS, SequenceDocument, Stage, parse_sequence
from segue_contracts.timing import TEAM, TimeRange, parse_windows

VERSIONS_KEPT = 1000
SETTINGS_SECONDS = 5.0
LOOK_AGAIN = timedelta(days=1)
WITHOUT_TIME = counter(
    "segue_scheduler_without_time", "Looks at enrollments for whose stage no allowed time comes"
)
LONGEST_TIME_OFF_DAYS = 400

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A published version with its document read; the same one is one object, and equal to no other."""

    view: VersionView
    document: SequenceDocument

    def names_team(self, index: int) -> bool:
        """Whether the stage at `index` looks at the team's own days off."""
        holidays = self.document.timing_of(index).holidays
        return holidays is not None and TEAM in holidays.calendars


@dataclass(frozen=True, slots=True)
class Course:
    """One version, one sender, one person, and the days off of their team.

    `prospect`: the contract's Prospect as data, as the document keeps it.
    """

    version: Version
    mailbox: MailboxView
    prospect: Document
    team_holidays: frozenset[date]
    sender: Sender

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
        stage = self.version.document.stages[index]
        if now is None and vacancy is None and _is_shared(stage):
            place = self.prospect.get("zone"), self.prospect.get("country")
            return _shared_step(
                self.version, index, whole_second_up(base), place, self.sender, self.team_holidays
            )
        return _step(
            self.version,
            index,
            base,
            dispatch_id(enrollment_id, stage.id),
            Person(self.prospect.get("zone"), self.prospect.get("country"), self.prospect.get("dates") or {}),
            self.sender,
            self.team_holidays,
            now,
            vacancy,
            self.text_hours(index),
        )

    def text_hours(self, index: int) -> TextHours | None:
        """When the stage may reach the person's phone, of a text message."""
        phone = self.prospect.get("phone")
        if self.version.document.stages[index].channel is not Channel.SMS or not phone:
            return None
        return text_hours(phone, self.prospect.get("zone"))

    def never_texts(self, enrollment_id: UUID, index: int, now: datetime) -> Refused | None:
        """Why the stage at `index` can never be sent: it is a text message, and all its hours are quiet ones
        of this phone.
        """
        if self.text_hours(index) is None:
            return None
        step = self.step(enrollment_id, index, now, now)
        return step if isinstance(step, Refused) and step.code == NEVER_OPENS else None

    def or_wait(self, step: Step | Refused, index: int, now: datetime) -> Step | Refused:
        """Where no allowed time comes, a step that waits for a setting to change; `step` otherwise.

        Nothing is inside its window (`model.is_without_time`): when it is due, it is planned again.
        """
        if isinstance(step, Step) or step.code != NEVER_OPENS:
            return step
        WITHOUT_TIME.inc()
        from_, at = whole_second_up(now), whole_second_up(now) + LOOK_AGAIN
        told = f"{step.detail}: it waits for a setting to change, and is planned again then and every day"
        reason = Reason("window", from_, at, told).as_data()
        stage = self.version.document.stages[index]
        zone = self.sender.zone or "UTC"
        return Step(stage.id, index, Channel(stage.channel), at, at, zone, (reason,))

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

    def needs(self, address: str) -> bool:
        """Whether a stage that this person would get uses the prospect's `email` or `phone`."""
        stages = enumerate(self.version.document.stages)
        return any(stage.address_field == address and self.wanted(index) for index, stage in stages)

    def wanted(self, index: int, engaged: Engaged | None = None) -> bool:
        """Whether the stage's `when` holds for this person now, or may hold, where opens and clicks decide
        and are not known.
        """
        condition = self.version.document.stages[index].when
        return condition is None or holds(condition, self.prospect, engaged) is not False


def sender_of(mailbox: MailboxView) -> Sender:
    """The mailbox's own hours and days off, as planning wants them."""
    windows = parse_windows(mailbox.windows) if mailbox.windows else None
    return Sender(mailbox.country, mailbox.zone, windows, _days(mailbox.time_off))


@lru_cache(maxsize=10_000)  # a burst goes the same way within a second, but for the people in it
def _shared_step(
    version: Version,
    index: int,
    base: datetime,
    place: tuple[str | None, str | None],
    sender: Sender,
    team_holidays: frozenset[date],
) -> Step | Refused:
    """The step of everybody of one place: of a stage that neither names a date of theirs nor spreads them."""
    return _step(version, index, base, "", Person(*place), sender, team_holidays)


def _is_shared(stage: Stage) -> bool:
    """Whether it is due at the same time for everybody of one place who has the same base."""
    if stage.channel is Channel.SMS:  # each phone has its own hours
        return False
    return stage.date is None and (stage.at is None or not isinstance(stage.at_time, TimeRange))


def _step(
    version: Version,
    index: int,
    base: datetime,
    dispatch_id: str,
    person: Place,
    sender: Sender,
    team_holidays: frozenset[date],
    now: datetime | None = None,
    vacancy: Vacancy | None = None,
    texts: TextHours | None = None,
) -> Step | Refused:
    stage = version.document.stages[index]
    planned = plan(
        stage,
        version.document.timing_of(index),
        base=base,
        dispatch_id=dispatch_id,
        person=person,
        sender=sender,
        team_holidays=team_holidays,
        first=index == 0,
        now=now,
        vacancy=vacancy,
        texts=texts,
    )
    if isinstance(planned, Refused):
        return planned
    reasons = tuple(reason.as_data() for reason in planned.reasons)
    channel = Channel(stage.channel)
    return Step(stage.id, index, channel, planned.at, planned.send_before, planned.zone, reasons, now)


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
        self._numbers = _Recent(clock, store.sms_numbers)
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

    async def is_limited(self, e: Document) -> bool:
        """Whether a sending limit may concern an enrollment's current stage, whoever the person is."""
        if await self._caps(e):
            return True
        return Channel(e["channel"]) is Channel.SMS and bool(await self._limited_numbers(e["workspace_id"]))

    async def caps(self, enrollments: Sequence[Document]) -> dict[UUID, tuple[Cap, ...]]:
        """The sending limits over each enrollment's current stage; none over a task of a person."""
        numbers = await self._numbers_of(enrollments)
        return {e["_id"]: await self._caps(e, numbers.get(e["_id"])) for e in enrollments}

    async def _limited_numbers(self, workspace: UUID) -> list[SmsNumberView]:
        return [number for number in await self._numbers.get(workspace) if number.limits.any]

    async def _numbers_of(self, enrollments: Sequence[Document]) -> dict[UUID, SmsNumberView]:
        """The number that each one's text message goes from, where numbers of its workspace have limits."""
        texts = [
            e
            for e in enrollments
            if Channel(e["channel"]) is Channel.SMS and await self._limited_numbers(e["workspace_id"])
        ]
        if not texts:
            return {}
        used = await self._store.numbers_used({e["workspace_id"] for e in texts}, [e["_id"] for e in texts])
        chosen: dict[UUID, SmsNumberView] = {}
        for e in texts:
            numbers = await self._numbers.get(e["workspace_id"])
            number = choose_number(e["person_id"], e["owner_id"], numbers, used.get(e["_id"]))
            if number is not None:
                chosen[e["_id"]] = number
        return chosen

    async def _caps(self, e: Document, number: SmsNumberView | None = None) -> tuple[Cap, ...]:
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
            number=number,
        )

    async def engaged(
        self, due: Sequence[Document], courses: Mapping[UUID, Course]
    ) -> dict[UUID, set[tuple[str, str]]]:
        """What people did with the messages that decide whether the current stages are wanted."""
        asked: set[str] = set()
        for e in due:
            if (course := courses.get(e["_id"])) is not None:
                condition = course.version.document.stages[e["stage_index"]].when
                asked |= {dispatch_id(e["_id"], stage) for stage in stages_asked_about(condition)}
        found: dict[UUID, set[tuple[str, str]]] = {each: set() for each in courses}
        if asked:
            for each in await self._store.engagements({e["workspace_id"] for e in due}, asked):
                enrollment, stage = split_dispatch_id(each.dispatch_id)
                found[enrollment].add((each.kind, stage))
        return found

    async def load(
        self, enrollments: Sequence[Document], versions: dict[UUID, int] | None = None
    ) -> dict[UUID, Course]:
        """The course of each enrollment, under its own version or the one that `versions` names.

        An enrollment whose version, mailbox or person is gone has none.
        """
        if not enrollments:
            return {}
        people = await self._store.prospects(
            {e["workspace_id"] for e in enrollments}, {e["person_id"] for e in enrollments}
        )
        around: dict[Hashable, tuple[Version, MailboxView, frozenset[date], Sender] | None] = {}
        courses: dict[UUID, Course] = {}
        for e in enrollments:
            number = (versions or {}).get(e["_id"]) or int(e["sequence_version"])
            where = e["workspace_id"], e["sequence_id"], number, e["mailbox_id"]
            if where not in around:
                around[where] = await self._around(*where)
            person, known = people.get(e["person_id"]), around[where]
            if person and known:
                version, mailbox, team, sender = known
                courses[e["_id"]] = Course(version, mailbox, person, team, sender)
        return courses

    async def _around(
        self, workspace: UUID, sequence_id: UUID, number: int, mailbox_id: UUID
    ) -> tuple[Version, MailboxView, frozenset[date], Sender] | None:
        """What is the same for many people; None where the version or the mailbox is gone."""
        version = await self.version(workspace, sequence_id, number)
        mailbox = await self.mailbox(workspace, mailbox_id)
        if version is None or mailbox is None:
            return None
        return version, mailbox, await self.team_holidays(workspace), sender_of(mailbox)
