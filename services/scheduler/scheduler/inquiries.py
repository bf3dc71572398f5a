"""Questions about what is to come, answered by the code that will do it; nothing here writes or publishes."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from chassis.clock import Clock
from chassis.desk import TOO_MUCH
from chassis.documents import Footer, delegation_id
from chassis.errors import Reject
from chassis.footing import with_footer
from chassis.inquiries import (
    ActiveHold,
    Collision,
    DayAhead,
    DryRun,
    DryRunAsked,
    Forecast,
    ForecastAsked,
    Migrated,
    Migration,
    MigrationAsked,
    Place,
    Refusal,
    Rehearsed,
    SameAddress,
    Schedule,
    ScheduleAsked,
    StageAhead,
    StageSaid,
)
from chassis.variants import chosen, comparison_id
from chassis.wording import Words, first_subject, reply_subject, words_of
from chassis.zones import find_zone
from scheduler.course import Course, Courses
from scheduler.enroll import Candidate, Enrolling
from scheduler.holds import Holds
from scheduler.local_time import ONE_DAY, day_of, day_start
from scheduler.model import IN_FLIGHT, LIVE, Change, Document, State, Step
from scheduler.plan import Refused
from scheduler.store import SchedulerStore
from scheduler.story import person_of
from scheduler.wishes import Wishes
from segue_contracts.commands import HoldScope, Migrate
from segue_contracts.ids import dispatch_id
from segue_contracts.message import Channel
from segue_contracts.sequence import MANUAL_CHANNELS, Stage, Thread

MAX_SAID_CHARS = 4 * 1024 * 1024
"""Of rendered text in one answer; more is Reject(too_much)."""
AT_ONCE = 2
"""Dry runs beside the due loop in one process; others wait for their turn, or for their time to be over."""
HELD_FIELDS = {
    "enrollment": ("_id",),
    "person": ("person_id",),
    "company": ("company_id",),
    "sequence": ("sequence_id",),
    "mailbox": ("mailbox_id",),
    "workspace": ("workspace_id",),
    "ownership": ("sequence_id", "mailbox_id"),
    "operations": ("workspace_id",),
}
"""What an enrollment names of that which is held; of a consent it names mailbox and owner."""


class Inquiries:
    """Answers about schedules, load, enrolls that might come, and migrations that might."""

    def __init__(
        self,
        store: SchedulerStore,
        courses: Courses,
        holds: Holds,
        enrolling: Enrolling,
        wishes: Wishes,
        clock: Clock,
    ) -> None:
        self._store = store
        self._courses = courses
        self._holds = holds
        self._enrolling = enrolling
        self._wishes = wishes
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)

    # ---- schedule -------------------------------------------------------------------------------

    async def schedule(self, asked: ScheduleAsked) -> Schedule | None:
        """What lies ahead of one enrollment; None if there is none, or only a tombstone."""
        found = await self._store.enrollments([asked.workspace_id], [asked.enrollment_id])
        e = found.get(asked.enrollment_id)
        if e is None or e.get("tombstone"):
            return None
        live = State(e["state"]) in LIVE
        holds = (await self._holds.active([e])).get(e["_id"], []) if live else []
        to_version = (e.get("pending") or {}).get("migrate")
        version = to_version or e["sequence_version"]
        course = (await self._courses.load([e], {e["_id"]: version})).get(e["_id"]) if live else None
        problem = Refusal(code="sequence_unreadable", detail="its version, mailbox or person is not there")
        return Schedule(
            enrollment_id=e["_id"],
            state=e["state"],
            sequence_id=e["sequence_id"],
            sequence_version=e["sequence_version"],
            to_version=to_version,
            as_of=self._clock.now(),
            holds=[_hold(each) for each in holds],
            stages=self._ahead(e, course, holds) if live else [],
            problem=problem if live and course is None else None,
        )

    def _ahead(self, e: Document, course: Course | None, holds: Sequence[Document]) -> list[StageAhead]:
        """The current stage as stored, then the later ones from the assumption that it is done in time."""
        ends = [hold["until"] for hold in holds if hold.get("until")]
        done_at = max([e["planned_at"], self._clock.now(), *ends])
        current = _current(e, done_at, course)
        if course is None:
            return [current]
        completed = [*e["completed"], e["stage_id"]]
        return [current, *stages_ahead(course, e["_id"], completed, done_at)]

    # ---- forecast -------------------------------------------------------------------------------

    async def forecast(self, asked: ForecastAsked) -> Forecast | None:
        """What is planned for a mailbox, by its own local days; None if there is no such mailbox."""
        mailbox = await self._store.mailbox(asked.workspace_id, asked.mailbox_id)
        if mailbox is None:
            return None
        zone, now = find_zone(mailbox.zone) or find_zone("UTC"), self._clock.now()
        assert zone is not None
        today = day_of(zone, now)
        starts = [day_start(zone, today + n * ONE_DAY) for n in range(asked.days + 1)]
        rows = await self._store.ahead_of_mailbox(
            asked.workspace_id, mailbox.id, starts[1:], await self._held(asked.workspace_id, mailbox.id, now)
        )
        return Forecast(
            mailbox_id=mailbox.id,
            zone=zone.key,
            as_of=now,
            days=[
                DayAhead(
                    date=today + timedelta(n),
                    starts_at=starts[n],
                    limit=mailbox.limits.on(today + timedelta(n)),
                    **_load(rows, n),
                )
                for n in range(asked.days)
            ],
            later=sum(count for span, _, _, count in rows if span >= asked.days),
        )

    async def _held(self, workspace: UUID, mailbox: UUID, now: datetime) -> dict[str, list[UUID]]:
        """What is held now, by the field of an enrollment that names it; of consents, the mailbox's."""
        held: dict[str, list[UUID]] = {}
        consents: set[UUID] = set()
        for hold in await self._store.active_holds([workspace], now):
            if hold["scope"] == HoldScope.DELEGATION:
                consents.add(hold["scope_id"])
            for field in HELD_FIELDS.get(hold["scope"], ()):
                held.setdefault(field, []).append(hold["scope_id"])
        if consents:
            owners = await self._store.owners_at(workspace, mailbox)
            held["owner_id"] = [each for each in owners if delegation_id(mailbox, each) in consents]
        return held

    # ---- dry run --------------------------------------------------------------------------------

    async def dry_run(self, asked: DryRunAsked) -> DryRun:
        """What would become of these enrolls, one by one, if they came now."""
        async with self._turns:
            candidates = await self._enrolling.review(asked.commands)
            suppressed = {c.id for c in await self._enrolling.suppressed(candidates)}
            around = await self._around(candidates)
            people: list[Rehearsed] = []
            room = MAX_SAID_CHARS
            for candidate in candidates:
                person = await self._rehearse(
                    candidate, around, candidate.id in suppressed, asked.unsubscribe_url
                )
                room -= sum(len(stage.text or "") for stage in person.stages)
                if room < 0:
                    raise Reject(TOO_MUCH, "more text than fits into one answer")
                people.append(person)
                await asyncio.sleep(0)  # the due loop shares this process
            return DryRun(people=people)

    async def _around(self, candidates: Sequence[Candidate]) -> "_Around":
        workspaces = {c.command.workspace_id for c in candidates}
        addresses = {address for c in candidates if (address := _address(c))}
        others = await self._store.people_at(workspaces, addresses)
        ids = {person_of(c.command) for c in candidates} | {each["_id"] for each in others}
        live = await self._store.live_of_people(workspaces, ids)
        return _Around(others, live, await self._winners(workspaces, candidates))

    async def _winners(
        self, workspaces: Iterable[UUID], candidates: Sequence[Candidate]
    ) -> Mapping[UUID, str]:
        versions = {c.course.version for c in candidates if c.course is not None}
        compared = (comparison_id(v.view.sequence_id, s) for v in versions for s in v.document.stages)
        ids = {each for each in compared if each is not None}
        return await self._store.winners(workspaces, ids) if ids else {}

    async def _rehearse(
        self, c: Candidate, around: "_Around", suppressed: bool, unsubscribe_url: str | None
    ) -> Rehearsed:
        same = around.same_address(c)
        course = c.course
        stages: list[StageSaid] = []
        if course is not None:
            values = await self._enrolling.values(c.command, course)
            ahead = stages_ahead(course, c.id, (), c.starts_at(self._clock.now()))
            workspace = await self._courses.workspace(c.command.workspace_id)
            footer = workspace.footer if workspace else Footer()
            page = unsubscribe_url if footer.link else None
            spoken = said(course, c.id, ahead, values, around.winners)
            stages = [_as_sent(stage, footer, page, values) for stage in spoken]
        return Rehearsed(
            enrollment_id=c.id,
            person_id=person_of(c.command),
            external_id=c.command.prospect.external_id,
            would_enroll=not c.problems,
            problems=_refusals(c.problems),
            warnings=_refusals(c.warnings),
            suppressed=suppressed,
            already_enrolled=c.there is not None and not c.there.get("tombstone"),
            same_address=same,
            collisions=around.collisions(c, same),
            sequence_version=course.version.view.version if course else None,
            mailbox_id=course.mailbox.id if course else None,
            stages=stages,
        )

    # ---- migration ------------------------------------------------------------------------------

    async def migration(self, asked: MigrationAsked) -> Migration:
        """What migrating these enrollments now would change."""
        found = await self._store.enrollments([asked.workspace_id], asked.enrollment_ids)
        here = [found[i] for i in asked.enrollment_ids if i in found]
        return Migration(
            people=[
                await self._migrated(e, asked.to_version)
                for e in here
                if e.get("sequence_id") == asked.sequence_id
            ]
        )

    async def _migrated(self, e: Document, to_version: int) -> Migrated:
        now = self._clock.now()
        wish = Migrate(
            event_id=uuid5(e["_id"], f"dry-run/{to_version}"),
            occurred_at=now,
            recorded_at=self._clock.real_now(),
            workspace_id=e["workspace_id"],
            enrollment_id=e["_id"],
            to_version=to_version,
        )
        decision = await self._wishes.decide(e, wish)
        flying = State(e["state"]) in IN_FLIGHT
        refused = [] if isinstance(decision, Change) else decision
        after = await self._after(e, decision, to_version) if isinstance(decision, Change) else None
        return Migrated(
            enrollment_id=e["_id"],
            external_id=e["external_id"],
            state=e["state"],
            from_version=e["sequence_version"],
            to_version=to_version,
            applies="outcome" if flying else "now",
            before=Place(
                stage_id=e["stage_id"], stage_index=e["stage_index"], planned_at=e.get("planned_at")
            ),
            after=after,
            finishes=not refused and after is None,
            refused=_refusals(refused),
        )

    async def _after(self, e: Document, change: Change, to_version: int) -> Place | None:
        """Where the migration leads; in flight, where the stage after the current one will be."""
        if State(e["state"]) in IN_FLIGHT:
            course = (await self._courses.load([e], {e["_id"]: to_version}))[e["_id"]]
            index = course.next_index([*e["completed"], e["stage_id"]])
            if index is None:
                return None
            return Place(stage_id=course.version.document.stages[index].id, stage_index=index)
        if change.to is State.FINISHED:
            return None
        return Place(
            stage_id=change.set["stage_id"],
            stage_index=change.set["stage_index"],
            planned_at=change.set["planned_at"],
        )


# ---- pure -------------------------------------------------------------------------------------------


def stages_ahead(
    course: Course, enrollment_id: UUID, completed: Sequence[str], base: datetime
) -> list[StageAhead]:
    """The stages after the completed ones, on the assumption that each is completed at its planned time."""
    stages = course.version.document.stages
    ahead: list[StageAhead] = []
    for index, step in course.ahead(enrollment_id, completed, base):
        ahead.append(_stage(course, index, step))
    if ahead and ahead[-1].refused is not None:
        why = Refusal(code="not_reached", detail=f"{ahead[-1].stage_id} before it can't be planned")
        ahead += [
            StageAhead(
                stage_id=stage.id,
                stage_index=index,
                channel=stage.channel,
                skipped=not course.wanted(index),
                refused=why,
            )
            for index, stage in enumerate(stages)
            if index > ahead[-1].stage_index
        ]
    return ahead


def said(
    course: Course,
    enrollment_id: UUID,
    ahead: Sequence[StageAhead],
    values: Mapping[str, str],
    winners: Mapping[UUID, str],
) -> list[StageSaid]:
    """The stages with their words, of variants those that the person would get now; what will be left out
    says nothing.
    """
    latest: str | None = None
    found: list[StageSaid] = []
    for each in ahead:
        stage = course.version.document.stages[each.stage_index]
        if each.skipped:
            found.append(StageSaid(**dict(each)))
            continue
        variant, stage = _worded(course, enrollment_id, stage, winners)
        words = words_of(stage, values)
        subject = _subject(course, each.stage_index, stage, words, latest, values)
        latest = subject if stage.channel is Channel.EMAIL else latest
        problems = [Refusal(code=code, detail=detail) for code, detail in words.problems]
        found.append(
            StageSaid(**dict(each), subject=subject, text=words.text, problems=problems, variant=variant)
        )
    return found


def _worded(
    course: Course, enrollment_id: UUID, stage: Stage, winners: Mapping[UUID, str]
) -> tuple[str | None, Stage]:
    comparison = comparison_id(course.version.view.sequence_id, stage)
    if stage.variants is None or comparison is None:
        return None, stage
    variant = chosen(stage.variants, dispatch_id(enrollment_id, stage.id), winner=winners.get(comparison))
    return variant.id, stage.worded(variant)


def _as_sent(stage: StageSaid, footer: Footer, page: str | None, values: Mapping[str, str]) -> StageSaid:
    """A mail with the footer below its text, as it goes out."""
    if stage.text is None or stage.channel != Channel.EMAIL:
        return stage
    return stage.model_copy(update={"text": with_footer(stage.text, footer, page, values)})


def _subject(
    course: Course, index: int, stage: Stage, words: Words, latest: str | None, values: Mapping[str, str]
) -> str | None:
    """As the sender writes it: a reply has its thread's subject, or, alone, the sequence's first one."""
    document = course.version.document
    if document.thread_of(index) is Thread.REPLY:
        if latest is not None:
            return reply_subject(latest)
        if stage.subject is None:
            first = stage.model_copy(update={"subject": first_subject(document), "text": None})
            return words_of(first, values).subject
    return words.subject


def _stage(course: Course, index: int, step: Step | Refused) -> StageAhead:
    stage = course.version.document.stages[index]
    here = {"stage_id": stage.id, "stage_index": index, "channel": stage.channel.value}
    skipped = not course.wanted(index)
    if isinstance(step, Refused):
        refused = Refusal(code=step.code, detail=step.detail)
        return StageAhead(**here, skipped=skipped, refused=refused)
    return StageAhead(
        **here,
        skipped=skipped,
        planned_at=step.at,
        send_before=step.send_before,
        zone=step.zone,
        reasons=list(step.reasons),
        completed_at=step.at,
    )


def _current(e: Document, completed_at: datetime, course: Course | None) -> StageAhead:
    waits = State(e["state"]) is State.SCHEDULED
    return StageAhead(
        stage_id=e["stage_id"],
        stage_index=e["stage_index"],
        channel=e["channel"],
        current=True,
        skipped=waits and course is not None and not course.wanted(e["stage_index"]),
        planned_at=e["planned_at"],
        send_before=e.get("send_before"),
        zone=e.get("zone"),
        reasons=list(e.get("reasons") or ()),
        completed_at=completed_at,
    )


def _hold(hold: Document) -> ActiveHold:
    return ActiveHold(
        scope=hold["scope"],
        scope_id=hold["scope_id"],
        reason=hold.get("reason") or "",
        by=hold.get("by") or "",
        until=hold.get("until"),
    )


def _load(rows: Iterable[tuple[int, str, bool, int]], day: int) -> dict[str, int]:
    here = [(Channel(channel) in MANUAL_CHANNELS, held, n) for span, channel, held, n in rows if span == day]
    return {
        "messages": sum(n for manual, _, n in here if not manual),
        "tasks": sum(n for manual, _, n in here if manual),
        "held": sum(n for _, held, n in here if held),
    }


def _refusals(reasons: Iterable[Document]) -> list[Refusal]:
    return [Refusal(code=each["code"], detail=each["detail"]) for each in reasons]


def _address(c: Candidate) -> str | None:
    return c.command.prospect.email.lower() if c.command.prospect.email else None


@dataclass(frozen=True, slots=True)
class _Around:
    """Who else has the candidates' addresses, everything live of all of them, and which variants have won."""

    people: Sequence[Document]
    live: Sequence[Document]
    winners: Mapping[UUID, str]

    def same_address(self, c: Candidate) -> list[SameAddress]:
        """Others of the workspace with this candidate's address."""
        address, me, workspace = _address(c), person_of(c.command), c.command.workspace_id
        return [
            SameAddress(external_id=each["external_id"], person_id=each["_id"])
            for each in self.people
            if each["workspace_id"] == workspace and each["_id"] != me and address in each["addresses"]
        ]

    def collisions(self, c: Candidate, same: Sequence[SameAddress]) -> list[Collision]:
        """What is live of the candidate already, under any id, but for the very enrollment asked about."""
        theirs = {person_of(c.command), *(each.person_id for each in same)}
        return [
            Collision(
                enrollment_id=e["_id"],
                sequence_id=e["sequence_id"],
                generation=e["generation"],
                external_id=e["external_id"],
                owner_id=e["owner_id"],
                state=e["state"],
                stage_id=e.get("stage_id"),
                since=e["created_at"],
            )
            for e in self.live
            if e["person_id"] in theirs and e["_id"] != c.id
        ]
