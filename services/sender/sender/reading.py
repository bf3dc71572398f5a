"""Step 2, the read: the truth about a claim's enrollment, with the age that every later step looks at."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chassis.clock import Clock
from chassis.documents import EnrollmentView, PersonView, VersionView, version_id
from chassis.secrets import Secrets
from chassis.telemetry import fields
from chassis.together import Together
from chassis.unsubscribing import sender_value
from chassis.variants import chosen, comparison_id
from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument, SequenceError, Stage, Variant, parse_sequence
from sender.model import Claim, Document, Withdrawal, judge_read

log = logging.getLogger(__name__)

MAX_VERSIONS_KEPT = 500


class Truths(Protocol):
    """What the read needs of the store."""

    async def enrollments(
        self, workspaces: Iterable[UUID], ids: Iterable[UUID]
    ) -> dict[UUID, EnrollmentView]: ...
    async def people(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, PersonView]: ...
    async def active_holds(
        self, workspaces: Iterable[UUID], ids: Iterable[str], now: datetime
    ) -> set[str]: ...
    async def suppressed(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> set[str]: ...
    async def versions(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> dict[str, VersionView]: ...
    async def winners(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, str]: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What to read for: a claim, and the recipient already written into its message, if there is one."""

    claim: Claim
    recipient: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A version of a sequence, parsed; kept, because versions never change.

    `comparisons`: by the stages that have variants.
    """

    document: SequenceDocument
    comparisons: Mapping[str, UUID]

    @classmethod
    def of(cls, version: VersionView) -> "Plan":
        """Raises SequenceError."""
        document = parse_sequence(version.document)
        ids = {stage.id: comparison_id(version.sequence_id, stage) for stage in document.stages}
        return cls(document, {stage_id: each for stage_id, each in ids.items() if each is not None})

    def stage(self, stage_id: str) -> tuple[int, Stage] | None:
        """The stage and its position, if this version has it."""
        for index, stage in enumerate(self.document.stages):
            if stage.id == stage_id:
                return index, stage
        return None


@dataclass(frozen=True, slots=True)
class Read:
    """What was read for one claim; `at` is the monotonic time just before the reading began.

    `withdrawal` is None for go; then `enrollment` is there. `plan` is None where the version is missing or
    can't be read. `variant`: which words of the stage the person gets, where it has variants.
    """

    at: float
    withdrawal: Withdrawal | None
    enrollment: EnrollmentView | None
    person: PersonView | None
    plan: Plan | None
    variant: Variant | None = None

    def worded(self, stage: Stage) -> Stage:
        """The stage in the person's words."""
        return stage if self.variant is None else stage.worded(self.variant)

    def variant_facts(self, claim: Claim, stage: Stage) -> Document:
        """What the delivery says of the variant: none where somebody wrote other words for this person alone,
        so that they count for no variant.
        """
        if self.variant is None and claim.earlier.variant is None:
            return {}
        is_own = stage.id in self.current.edits
        return {"variant": None if self.variant is None or is_own else self.variant.id}

    @property
    def current(self) -> EnrollmentView:
        """The enrollment of a read that says go."""
        assert self.enrollment is not None, "a read without an enrollment never says go"
        return self.enrollment


class Reader:
    """Reads for many claims at once; `read(look)` joins the next batch."""

    def __init__(self, store: Truths, clock: Clock, secrets: Secrets) -> None:
        self._store = store
        self._clock = clock
        self._secrets = secrets
        self._plans: dict[str, Plan] = {}
        self._again: Together[Look, Read] = Together(self.read)

    def age(self, read: Read) -> float:
        """Seconds since just before it was read."""
        return self._clock.monotonic() - read.at

    async def again(self, look: Look) -> Read:
        """A new read for one claim, in the next batch of such."""
        return await self._again(look)

    async def read(self, looks: Sequence[Look]) -> list[Read]:
        """A read for each."""
        at = self._clock.monotonic()
        dues = [look.claim.due for look in looks]
        workspaces = {due.workspace_id for due in dues}
        enrollments = await self._store.enrollments(workspaces, (due.enrollment_id for due in dues))
        people = await self._store.people(workspaces, (e.person_id for e in enrollments.values()))
        plans = await self._plans_of(workspaces, enrollments.values())
        found = [self._gather(look, enrollments, people, plans) for look in looks]
        compared = {each.comparison for each in found if each.comparison is not None}
        winners = await self._store.winners(workspaces, compared) if compared else {}
        holds = await self._store.active_holds(
            workspaces, (hold for f in found for hold in f.hold_ids), self._clock.now()
        )
        suppressed = await self._store.suppressed(
            workspaces, (each for f in found for each in f.suppression_ids)
        )
        return [self._judged(at, each, holds, suppressed, winners) for each in found]

    def _gather(
        self,
        look: Look,
        enrollments: dict[UUID, EnrollmentView],
        people: dict[UUID, PersonView],
        plans: dict[str, Plan],
    ) -> "_Found":
        enrollment = enrollments.get(look.claim.due.enrollment_id)
        if enrollment is None or enrollment.workspace_id != look.claim.due.workspace_id:
            return _Found(look, None, None, None, (), ())
        person = people.get(enrollment.person_id)
        plan = plans.get(version_id(enrollment.sequence_id, enrollment.sequence_version))
        suppressions = self._suppression_ids(look, enrollment, person, plan)
        return _Found(look, enrollment, person, plan, enrollment.hold_ids(), suppressions)

    def _suppression_ids(
        self, look: Look, enrollment: EnrollmentView, person: PersonView | None, plan: Plan | None
    ) -> tuple[str, ...]:
        """What would forbid this stage: the address that its channel uses, its domain, and the company."""
        workspace = look.claim.due.workspace_id
        found = plan.stage(look.claim.due.stage_id) if plan else None
        prospect = person.prospect if person else {}
        field = found[1].address_field if found else "email"
        ids: list[str] = []
        if person and person.company_key:
            ids.extend(self._secrets.suppression_ids(workspace, "company", person.company_key))
        if field == "phone":
            phones = {look.recipient, prospect.get("phone")} - {None, ""}
            ids.extend(self._secrets.suppression_id(workspace, "phone", str(phone)) for phone in phones)
        if field == "email":
            mailboxes = {look.claim.earlier.mailbox_id or enrollment.mailbox_id, enrollment.mailbox_id}
            for address in {look.recipient, prospect.get("email")} - {None, ""}:
                ids.extend(suppressions_of(self._secrets, workspace, str(address), mailboxes))
        return tuple(ids)

    async def _plans_of(
        self, workspaces: set[UUID], enrollments: Iterable[EnrollmentView]
    ) -> dict[str, Plan]:
        wanted = {version_id(e.sequence_id, e.sequence_version) for e in enrollments}
        missing = wanted - self._plans.keys()
        if missing:
            for name, view in (await self._store.versions(workspaces, missing)).items():
                # One version that can't be read must not stop the others of the batch: its own are put off.
                try:
                    self._plans[name] = Plan.of(view)
                except SequenceError:
                    log.exception("a version can't be read", extra=fields("sender.bad_version", version=name))
        plans = {name: self._plans[name] for name in wanted if name in self._plans}
        while len(self._plans) > MAX_VERSIONS_KEPT:
            del self._plans[next(iter(self._plans))]
        return plans

    def _judged(
        self,
        at: float,
        found: "_Found",
        holds: set[str],
        suppressed: set[str],
        winners: Mapping[UUID, str],
    ) -> Read:
        withdrawal = judge_read(
            found.look.claim.due,
            found.enrollment,
            held=not holds.isdisjoint(found.hold_ids),
            suppressed=not suppressed.isdisjoint(found.suppression_ids),
            now=self._clock.now(),
        )
        return Read(at, withdrawal, found.enrollment, found.person, found.plan, found.variant(winners))


def suppressions_of(
    secrets: Secrets, workspace: UUID, address: str, mailboxes: Iterable[UUID]
) -> tuple[str, ...]:
    """What would forbid a mail to an address: itself, its domain, and its word to these mailboxes."""
    return (
        *secrets.suppression_ids(workspace, "address", address),
        *secrets.suppression_ids(workspace, "domain", address.rpartition("@")[2]),
        *(
            suppression_id
            for mailbox in mailboxes
            for suppression_id in secrets.suppression_ids(workspace, "sender", sender_value(mailbox, address))
        ),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    look: Look
    enrollment: EnrollmentView | None
    person: PersonView | None
    plan: Plan | None
    hold_ids: tuple[str, ...]
    suppression_ids: tuple[str, ...]

    @property
    def comparison(self) -> UUID | None:
        """What says whether one of the stage's variants has won."""
        return self.plan.comparisons.get(self.look.claim.due.stage_id) if self.plan else None

    def variant(self, winners: Mapping[UUID, str]) -> Variant | None:
        """The variant of the claim's stage."""
        claim = self.look.claim
        stage = self.plan.stage(claim.due.stage_id) if self.plan else None
        if stage is None or self.comparison is None or stage[1].variants is None:
            return None
        winner = winners.get(self.comparison)
        return chosen(stage[1].variants, claim.due.dispatch_id, winner=winner, kept=claim.earlier.variant)


def channel_of(read: Read, stage_id: str) -> Channel | None:
    """The channel that the stage has in the enrollment's version; None if that has no such stage."""
    found = read.plan.stage(stage_id) if read.plan else None
    return found[1].channel if found else None
