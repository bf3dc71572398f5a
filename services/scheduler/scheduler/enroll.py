"""Enrolls: many at once, idempotent, refused with reasons; none slips past a stop or a suppression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from chassis import tracing
from chassis.clock import Clock
from chassis.documents import SequenceView, delegation_id, hold_id, hold_is_active
from chassis.erasure import REASON as ERASED
from chassis.erasure import Erasures
from chassis.kafka import Record
from chassis.secrets import WARNING, Secrets
from chassis.telemetry import counter
from chassis.tokens import token_values, wrong_values
from chassis.unsubscribing import sender_value
from chassis.wording import words_of
from scheduler.course import Course, Courses, Version, sender_of
from scheduler.model import Document, Step, enrolled
from scheduler.outbox import Outbox, Publishes
from scheduler.people import People, Told, company_of
from scheduler.plan import Refused
from scheduler.pools import choose_mailbox
from scheduler.stops import Cause, Stops, cause_of
from scheduler.store import SchedulerStore
from scheduler.story import person_of, refused_event
from segue_contracts.commands import Enroll, HoldScope
from segue_contracts.ids import shard
from segue_contracts.sequence import AlreadyEnrolled

CONSENT_ROUTE = "POST /v1/mailboxes/{id}/delegates"
ENROLLS = counter("segue_scheduler_enrolls", "Enroll commands by what became of them", ["outcome"])


@dataclass(slots=True)
class Candidate:
    """One enroll on its way; the first problem found ends it, a warning does not. `there`: the enrollment
    exists already.
    """

    command: Enroll
    problems: list[Document] = field(default_factory=list)
    warnings: list[Document] = field(default_factory=list)
    sequence: SequenceView | None = None
    course: Course | None = None
    step: Step | None = None
    person: Document | None = None
    there: Document | None = None

    @property
    def id(self) -> UUID:
        return self.command.enrollment_id

    @property
    def told(self) -> Told:
        return Told(self.command.workspace_id, self.command.prospect, self.command.occurred_at)

    @property
    def company_key(self) -> str | None:
        """As the person is stored; before that, as the command has it."""
        if self.person is None:
            return self.command.prospect.effective_company_key
        return company_of(self.person)[0]

    def starts_at(self, now: datetime) -> datetime:
        """The base of the first stage."""
        return max(self.command.start_at or now, now)

    def refuse(self, code: str, detail: str) -> None:
        """Add a reason against it."""
        self.problems.append({"code": code, "detail": detail})


class Enrolling:
    """Carries a batch of enrolls from command to enrollment."""

    def __init__(
        self,
        store: SchedulerStore,
        outbox: Outbox,
        publisher: Publishes,
        courses: Courses,
        stops: Stops,
        people: People,
        erasures: Erasures,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._publisher = publisher
        self._courses = courses
        self._stops = stops
        self._people = people
        self._erasures = erasures
        self._secrets = secrets
        self._clock = clock

    async def enroll(self, commands: Sequence[Enroll]) -> None:
        """Enroll or refuse each; at most one command for an enrollment id in one call."""
        candidates = await self.review(commands)
        accepted = [c for c in candidates if c.there is None and not c.problems]
        await self._save_people(accepted)
        now, recorded_at = self._clock.now(), self._clock.real_now()
        await self._outbox.begin([_enrollment(c, now, recorded_at) for c in accepted], recorded_at)
        await self._refuse([c for c in candidates if c.problems])
        there = [c for c in candidates if not c.problems]
        await self._follow_people(there)
        await self._see_stops(there)
        ENROLLS.labels("enrolled").inc(len(accepted))

    async def review(self, commands: Sequence[Enroll]) -> list[Candidate]:
        """What becomes of each, in their order, by every check that `enroll` makes; writes nothing."""
        candidates = [Candidate(c) for c in commands]
        known = await self._store.enrollments({c.workspace_id for c in commands}, [c.id for c in candidates])
        for candidate in candidates:
            candidate.there = known.get(candidate.id)
        await self._check([c for c in candidates if c.there is None])
        _tell_of_those_there(candidates)
        return candidates

    async def suppressed(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those who must not be written to."""
        ids = {c.id: self._suppression_ids(c) for c in candidates}
        found = await self._store.suppressed(
            {c.command.workspace_id for c in candidates}, [i for some in ids.values() for i in some]
        )
        return [c for c in candidates if found.intersection(ids[c.id])]

    async def values(self, command: Enroll, course: Course) -> Mapping[str, str]:
        """What the tokens stand for, for this person in this course."""
        workspace = await self._courses.workspace(command.workspace_id)
        return token_values(
            command.prospect.model_dump(mode="json"),
            course.version.document.tokens,
            course.mailbox.display_name,
            course.mailbox.signature,
            workspace.tokens if workspace else {},
            course.mailbox.owner_tokens,
        )

    # ---- checks ---------------------------------------------------------------------------------

    async def _check(self, candidates: Sequence[Candidate]) -> None:
        await self._find_sequences(candidates)
        for candidate in await self._erased([c for c in candidates if not c.problems]):
            candidate.refuse(ERASED, "the person was erased, and asked not to be known here any more")
        await self._check_suppressions([c for c in candidates if not c.problems])
        await self._see_warnings(candidates)
        await self._check_stops([c for c in candidates if not c.problems])
        now = self._clock.now()
        for candidate in candidates:
            if not candidate.problems:
                await self._check_stages(candidate, now)
        await self._check_others([c for c in candidates if not c.problems])

    async def _find_sequences(self, candidates: Sequence[Candidate]) -> None:
        sequences = await self._store.sequences(
            {c.command.workspace_id for c in candidates}, {c.command.sequence_id for c in candidates}
        )
        for candidate in candidates:
            command = candidate.command
            sequence = sequences.get(command.sequence_id)
            if sequence is None or sequence.workspace_id != command.workspace_id:
                candidate.refuse("unknown_sequence", "there is no such sequence in this workspace")
            elif sequence.archived:
                candidate.refuse("sequence_archived", "the sequence is archived and takes nobody new")
            else:
                candidate.sequence = sequence
        await self._find_courses([c for c in candidates if not c.problems])
        await self._check_consents([c for c in candidates if not c.problems])

    async def _find_courses(self, candidates: Sequence[Candidate]) -> None:
        versions: dict[UUID, Version] = {}
        for c in candidates:
            assert c.sequence is not None
            number = c.command.sequence_version or c.sequence.latest_version
            version = await self._courses.version(c.command.workspace_id, c.sequence.id, number)
            if version is None:
                c.refuse("unknown_version", f"the sequence has no version {number}")
            else:
                versions[c.id] = version
        pooled = [c for c in candidates if c.id in versions and len(versions[c.id].view.mailbox_ids) > 1]
        earlier, resting = await self._around_pools(pooled, versions)
        for c in candidates:
            if c.id in versions:
                pool, person = versions[c.id].view.mailbox_ids, person_of(c.command)
                chosen = choose_mailbox(pool, person, earlier.get(person, ()), resting)
                await self._find_course(c, versions[c.id], chosen)

    async def _around_pools(
        self, candidates: Sequence[Candidate], versions: Mapping[UUID, Version]
    ) -> tuple[dict[UUID, list[UUID]], set[UUID]]:
        """From which mailboxes these people were written to, and which of their pools' mailboxes rest."""
        if not candidates:
            return {}, set()
        workspaces = {c.command.workspace_id for c in candidates}
        holds = {
            hold_id(HoldScope.MAILBOX, mailbox): mailbox
            for c in candidates
            for mailbox in versions[c.id].view.mailbox_ids
        }
        found, now = await self._store.holds(workspaces, set(holds)), self._clock.now()
        resting = {holds[name] for name, hold in found.items() if hold_is_active(hold, now)}
        people = {person_of(c.command) for c in candidates}
        return await self._store.mailboxes_of(workspaces, people), resting

    async def _find_course(self, candidate: Candidate, version: Version, chosen: UUID | None) -> None:
        command = candidate.command
        mailbox = await self._courses.mailbox(command.workspace_id, chosen) if chosen else None
        if mailbox is None:
            candidate.refuse("mailbox_missing", "the sequence's mailbox is not connected")
            return
        team_holidays = await self._courses.team_holidays(command.workspace_id)
        candidate.course = Course(
            version, mailbox, command.prospect.model_dump(mode="json"), team_holidays, sender_of(mailbox)
        )

    async def _check_consents(self, candidates: Sequence[Candidate]) -> None:
        """Whose mailbox would send has not taken back their consent; a hold says so."""
        asked = {c.id: consent for c in candidates if (consent := _consent_of(c))}
        if not asked:
            return
        found = await self._store.holds({c.command.workspace_id for c in candidates}, set(asked.values()))
        now = self._clock.now()
        for c in candidates:
            hold = found.get(asked.get(c.id, ""))
            if hold is not None and hold_is_active(hold, now):
                assert c.course is not None
                address = c.course.mailbox.address
                c.refuse("consent_withdrawn", f"the user of {address} has to agree: {CONSENT_ROUTE}")

    async def _check_suppressions(self, candidates: Sequence[Candidate]) -> None:
        for candidate in await self.suppressed(candidates):
            candidate.refuse("suppressed", "the address, domain, company or phone must not be written to")

    async def _erased(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those who asked to be forgotten."""
        if not candidates:
            return []
        people = {person_of(c.command) for c in candidates}
        erased = await self._erasures.among({c.command.workspace_id for c in candidates}, people)
        return [c for c in candidates if person_of(c.command) in erased]

    async def _see_warnings(self, candidates: Sequence[Candidate]) -> None:
        """Whose company somebody wants to be warned of."""
        ids = {
            c.id: self._secrets.suppression_ids(c.command.workspace_id, WARNING, key)
            for c in candidates
            if (key := c.command.prospect.effective_company_key)
        }
        if not ids:
            return
        found = await self._store.suppression_reasons(
            {c.command.workspace_id for c in candidates}, [i for some in ids.values() for i in some]
        )
        for c in candidates:
            reason = next((found[i] for i in ids.get(c.id, ()) if i in found), None)
            if reason is not None:
                told = f"a warning of this company: {reason}"
                c.warnings.append({"code": "company_warned", "detail": told})

    async def _check_stops(self, candidates: Sequence[Candidate]) -> None:
        for candidate, stop in await self._stops_over(candidates):
            candidate.refuse("stopped", f"stopped before it was enrolled: {stop['reason']}")

    async def _check_others(self, candidates: Sequence[Candidate]) -> None:
        strict = [c for c in candidates if _refuses_others(c)]
        if not strict:
            return
        others = await self._store.live_of_people(
            {c.command.workspace_id for c in strict}, {person_of(c.command) for c in strict}
        )
        busy = {e["person_id"] for e in others}
        for candidate in candidates:
            person = person_of(candidate.command)
            if _refuses_others(candidate) and person in busy:
                candidate.refuse("already_in_a_sequence", "the person is in another sequence already")
            else:
                busy.add(person)

    async def _check_stages(self, candidate: Candidate, now: datetime) -> None:
        course, command = candidate.course, candidate.command
        assert course is not None
        values = await self.values(command, course)
        workspace = await self._courses.workspace(command.workspace_id)
        for name, wrong in wrong_values(command.prospect.tokens, workspace.token_types if workspace else {}):
            candidate.refuse("token_invalid", f"token {name}: {wrong}")
        for index, stage in enumerate(course.version.document.stages):
            if not course.wanted(index):
                continue
            address = stage.address_field
            if address and not getattr(command.prospect, address):
                candidate.refuse(f"{address}_missing", f"stage {stage.id} needs the prospect's {address}")
            never = course.never_texts(candidate.id, index, now) if index else None
            if never is not None:
                candidate.refuse(never.code, f"stage {stage.id}: {never.detail}")
            # Of every variant, whichever they will get: a winner, or other shares, may change that.
            for variant, worded in stage.wordings():
                here = f"stage {stage.id}" if variant is None else f"stage {stage.id}, variant {variant}"
                for code, detail in words_of(worded, values).problems:
                    candidate.refuse(code, f"{here}: {detail}")
        step = course.step(command.enrollment_id, 0, candidate.starts_at(now))
        if isinstance(step, Refused):
            candidate.refuse(step.code, step.detail)
        else:
            candidate.step = step

    # ---- effects --------------------------------------------------------------------------------

    async def _save_people(self, accepted: Sequence[Candidate]) -> None:
        people = await self._people.save([c.told for c in accepted])
        for c in accepted:
            c.person = people[c.told.person_id]

    async def _follow_people(self, there: Sequence[Candidate]) -> None:
        """Facts that came with these enrolls, or meanwhile, hold for every enrollment of the person."""
        people = await self._people.follow(
            {c.command.workspace_id for c in there}, [c.told.person_id for c in there]
        )
        for c in there:
            c.person = people.get(c.told.person_id)

    async def tell_refusals(self, refused: Sequence[tuple[Enroll, Document]]) -> None:
        """Publish the events of refused commands with their results; the same however often it is told."""
        if not refused:
            return
        await self._publisher.publish(
            [
                Record.of(refused_event(c, r["reasons"][0]["code"], r["at"], r["recorded_at"]))
                for c, r in refused
            ]
        )

    async def _refuse(self, refused: Sequence[Candidate]) -> None:
        if not refused:
            return
        now, recorded_at = self._clock.now(), self._clock.real_now()
        results: list[Document] = [
            {
                "_id": c.command.event_id,
                "workspace_id": c.command.workspace_id,
                "status": "refused",
                "reasons": c.problems,
                "enrollment_id": c.id,
                "at": now,
                "recorded_at": recorded_at,
            }
            for c in refused
        ]
        await self._store.save_results(results)
        await self.tell_refusals([(c.command, r) for c, r in zip(refused, results, strict=True)])
        ENROLLS.labels("refused").inc(len(refused))

    async def _see_stops(self, enrolled_now: Sequence[Candidate]) -> None:
        """Read stops, suppressions, erasures after the insert: whichever came first, one sees the other."""
        causes = {c.id: cause_of(stop) for c, stop in await self._stops_over(enrolled_now)}
        now = self._clock.now()
        for c in await self.suppressed(enrolled_now):
            causes[c.id] = Cause(c.command.event_id, c.command.workspace_id, "suppressed", "", now)
        # One that was there may be this very command's, whose first try broke off before it came here.
        live = [c for c in enrolled_now if c.there is None or not c.there["ended"]]
        for c in await self._erased(live):
            causes[c.id] = Cause(c.command.event_id, c.command.workspace_id, ERASED, "", now)
            await self._erasures.reopen(c.command.workspace_id, person_of(c.command))
        if causes:
            await self._stops.stop_enrollments(causes)

    async def _stops_over(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, Document]]:
        if not candidates:
            return []
        since = min(c.command.occurred_at for c in candidates)
        found = await self._store.stops_since(
            {c.command.workspace_id for c in candidates}, {k for c in candidates for k in _keys(c)}, since
        )
        over: list[tuple[Candidate, Document]] = []
        for c in candidates:
            stop = next((s for s in found if _covers(s, c)), None)
            if stop is not None:
                over.append((c, stop))
        return over

    def _suppression_ids(self, c: Candidate) -> tuple[str, ...]:
        """What would forbid it: the address (for all, or for this mailbox), its domain, the company, the
        phone if a stage needs it.
        """
        prospect = c.command.prospect
        values = {"company": prospect.effective_company_key}
        if prospect.email:
            values |= {"address": prospect.email, "domain": prospect.email.rpartition("@")[2]}
        if c.course is not None and c.course.needs("phone"):
            values["phone"] = prospect.phone
        if c.course is not None and prospect.email:
            values["sender"] = sender_value(c.course.mailbox.id, prospect.email)
        return tuple(
            suppression_id
            for kind, value in values.items()
            if value
            for suppression_id in self._secrets.suppression_ids(c.command.workspace_id, kind, value)
        )


def _enrollment(c: Candidate, now: datetime, recorded_at: datetime) -> Document:
    command, course, step = c.command, c.course, c.step
    assert c.sequence is not None
    assert course is not None
    assert step is not None
    assert c.person is not None
    key, company_id = company_of(c.person)
    identity = {
        "_id": c.id,
        "workspace_id": command.workspace_id,
        "sequence_id": command.sequence_id,
        "sequence_version": course.version.view.version,
        "person_id": person_of(command),
        "external_id": command.prospect.external_id,
        "generation": command.generation,
        "company_id": company_id,
        **({"company_key": key} if key else {}),
        **({"warnings": c.warnings} if c.warnings else {}),
        "owner_id": c.sequence.owner_id,
        "mailbox_id": course.mailbox.id,
        "is_test": command.is_test,
        "command_id": command.event_id,
        "issued_at": command.occurred_at,
        "start_at": c.starts_at(now),
        "shard": shard(c.id),
        **tracing.kept(c.id),
    }
    return enrolled(identity, step, now, recorded_at)


def _tell_of_those_there(candidates: Sequence[Candidate]) -> None:
    """What was there already: this very command again is fine, any other one is told so."""
    for candidate in candidates:
        e = candidate.there
        if e is None or e.get("command_id") == candidate.command.event_id:
            continue
        if e.get("tombstone"):
            candidate.refuse("stopped", f"stopped before it was enrolled: {e['stop']['reason']}")
        else:
            candidate.refuse("already_enrolled", "enroll with a higher generation to enroll again")


def _consent_of(c: Candidate) -> str | None:
    """The hold that would say that the mailbox's user took back their consent; None for one's own mailbox."""
    assert c.course is not None
    assert c.sequence is not None
    mailbox, owner = c.course.mailbox, c.sequence.owner_id
    if mailbox.owner_id == owner:
        return None
    return hold_id(HoldScope.DELEGATION, delegation_id(mailbox.id, owner))


def _refuses_others(c: Candidate) -> bool:
    assert c.course is not None
    return c.course.version.document.limits.already_in_a_sequence is AlreadyEnrolled.REFUSE


def _keys(c: Candidate) -> tuple[object, ...]:
    key = c.company_key
    return (person_of(c.command), key) if key else (person_of(c.command),)


def _covers(stop: Document, c: Candidate) -> bool:
    same = stop["workspace_id"] == c.command.workspace_id and stop["key"] in _keys(c)
    return bool(same and stop["at"] >= c.command.occurred_at)
