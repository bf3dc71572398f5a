"""What the scheduler consumes: commands, outcomes and stops; decoded here, inside the guarded step."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from chassis.clock import Clock
from chassis.errors import Reject
from chassis.kafka import Received
from chassis.telemetry import counter
from scheduler.corrections import Corrections
from scheduler.enroll import Enrolling
from scheduler.erasure import Forgetting
from scheduler.holds import Holds
from scheduler.model import Document
from scheduler.outbox import rounds
from scheduler.outcomes import Outcomes
from scheduler.replans import Replans
from scheduler.stops import Cause, Stops
from scheduler.wishes import Reasons, Wishes
from segue_contracts import codec
from segue_contracts.commands import (
    Correct,
    Edit,
    Enroll,
    EnrollmentCommand,
    Erase,
    Hold,
    HoldScope,
    Lift,
    MarkReplied,
    Migrate,
    Replan,
    Reschedule,
    SetCalendar,
    Stop,
    Transfer,
    UpdatePerson,
)
from segue_contracts.events import EnrollmentStop, StageOutcome, StopReason
from segue_contracts.message import Scope

DEFAULT_OUT_OF_OFFICE = timedelta(days=3)
COMMANDS = counter("segue_scheduler_commands", "Commands by what became of them", ["command", "status"])

M = TypeVar("M")


class SavesResults(Protocol):
    """Where the answers to commands go, and what a command changes by one write."""

    async def results(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, Document]: ...
    async def save_results(self, results: Sequence[Document]) -> None: ...
    async def transfer(self, workspace: UUID, sequence_id: UUID, owner_id: UUID) -> None: ...


class Commands:
    """Handles enrollment commands: runs of enrolls as batches, everything else one by one, in order."""

    def __init__(
        self,
        results: SavesResults,
        enrolling: Enrolling,
        holds: Holds,
        stops: Stops,
        wishes: Wishes,
        replans: Replans,
        corrections: Corrections,
        forgetting: Forgetting,
        clock: Clock,
    ) -> None:
        self._results = results
        self._enrolling = enrolling
        self._holds = holds
        self._stops = stops
        self._wishes = wishes
        self._replans = replans
        self._corrections = corrections
        self._forgetting = forgetting
        self._clock = clock

    async def handle(self, batch: Sequence[Received]) -> None:
        """One batch of records; Reject names a record that is no command."""
        commands = await self._unanswered(decoded(batch, EnrollmentCommand))
        enrolls = [c for c in commands if isinstance(c, Enroll)]
        for some in rounds(enrolls, lambda c: c.enrollment_id):
            await self._enrolling.enroll(some)
        for command in commands:
            if not isinstance(command, Enroll):
                await self._answer(command, await self._obey(command))

    async def _unanswered(self, commands: Sequence[EnrollmentCommand]) -> list[EnrollmentCommand]:
        """Each command once, without those that have their result: what came of them is told already.

        One that comes again late must not undo a newer wish, nor enroll whom its 202 calls refused.
        """
        once = {c.event_id: c for c in reversed(commands)}
        results = await self._results.results({c.workspace_id for c in commands}, once)
        await self._enrolling.tell_refusals(
            [(c, results[i]) for i, c in once.items() if i in results and isinstance(c, Enroll)]
        )
        return [c for c in commands if c.event_id not in results and once.pop(c.event_id, None) is not None]

    async def _obey(self, command: EnrollmentCommand) -> Reasons:
        match command:
            case Hold():
                await self._holds.set(command)
            case Lift():
                await self._holds.lift(command)
            case Stop():
                await self._stop(command)
            case Erase():
                await self._forgetting.take(command)
            case SetCalendar():
                await self._replans.set_calendar(command)
            case Replan():
                await self._replans.ask(command)
            case Transfer():
                await self._results.transfer(command.workspace_id, command.sequence_id, command.owner_id)
            case MarkReplied():
                return await self._wishes.mark_replied(command)
            case Correct():
                return await self._corrections.apply(command)
            case UpdatePerson():
                return await self._wishes.update_person(command)
            case Reschedule() | Edit() | Migrate():
                return await self._wishes.apply(command)
        return []

    async def _stop(self, command: Stop) -> None:
        reason = StopReason.REQUESTED.value
        cause = Cause(
            command.event_id, command.workspace_id, reason, command.reason_code, command.occurred_at
        )
        await stop_as_told(
            self._stops, cause, command.scope, command.enrollment_id, command.person_id, command.company_key
        )

    async def _answer(self, command: EnrollmentCommand, reasons: Reasons) -> None:
        status = "refused" if reasons else "done"
        COMMANDS.labels(command.event_type, status).inc()
        result = {
            "_id": command.event_id,
            "workspace_id": command.workspace_id,
            "status": status,
            "reasons": reasons,
            "enrollment_id": getattr(command, "enrollment_id", None),
            "at": self._clock.now(),
        }
        await self._results.save_results([result])


class OutcomeRecords:
    """Handles stage outcomes."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    async def handle(self, batch: Sequence[Received]) -> None:
        """One batch of records; an enrollment's outcomes keep their order."""
        for some in rounds(decoded(batch, StageOutcome), lambda o: o.enrollment_id):
            await self._outcomes.apply(some)


class StopRecords:
    """Handles stops of the reply detector and of other services."""

    def __init__(self, stops: Stops, holds: Holds) -> None:
        self._stops = stops
        self._holds = holds

    async def handle(self, batch: Sequence[Received]) -> None:
        """One batch of records; stops of single enrollments are written together."""
        stops = decoded(batch, EnrollmentStop)
        narrow = [
            s for s in stops if s.scope is Scope.ENROLLMENT and s.event_type is not StopReason.AUTO_REPLY
        ]
        for some in rounds(narrow, lambda s: s.enrollment_id):
            await self._stops.stop_enrollments({cast(UUID, s.enrollment_id): _cause(s) for s in some})
        wide = [
            (_cause(s), s.scope, s.person_id if s.scope is Scope.PERSON else s.company_key)
            for s in stops
            if s.scope is not Scope.ENROLLMENT and s.event_type is not StopReason.AUTO_REPLY
        ]
        await self._stops.stop_scopes(wide)
        for stop in stops:
            if stop.event_type is StopReason.AUTO_REPLY:
                await self._hold(stop)

    async def _hold(self, stop: EnrollmentStop) -> None:
        """Out of office is a hold until a date; nobody's company is held for one person's holiday."""
        whole_person = stop.scope is not Scope.ENROLLMENT and stop.person_id is not None
        await self._holds.set(
            Hold(
                event_id=stop.event_id,
                occurred_at=stop.occurred_at,
                recorded_at=stop.recorded_at,
                workspace_id=stop.workspace_id,
                issued_by="reply-detector",
                scope=HoldScope.PERSON if whole_person else HoldScope.ENROLLMENT,
                scope_id=cast(UUID, stop.person_id if whole_person else stop.enrollment_id),
                until=stop.until or stop.occurred_at + DEFAULT_OUT_OF_OFFICE,
                reason="out_of_office",
                extends=True,
            )
        )


async def stop_as_told(
    stops: Stops,
    cause: Cause,
    scope: Scope,
    enrollment_id: UUID | None,
    person_id: UUID | None,
    company_key: str | None,
) -> None:
    """Stop one enrollment, a person or a company."""
    if scope is Scope.ENROLLMENT:
        await stops.stop_enrollments({cast(UUID, enrollment_id): cause})
    else:
        await stops.stop_scope(cause, scope, person_id if scope is Scope.PERSON else company_key)


def decoded(batch: Sequence[Received], kind: type[M]) -> list[M]:
    """The messages of a batch; Reject for a record that is none, which isolates it."""
    return [_decode(received, kind) for received in batch]


def _decode(received: Received, kind: type[M]) -> M:
    try:
        message: Any = codec.decode(received.topic, received.headers, received.value)
    except codec.DecodeError as error:
        raise Reject(error.code, error.detail) from error
    assert isinstance(message, kind)
    return message


def _cause(stop: EnrollmentStop) -> Cause:
    return Cause(stop.event_id, stop.workspace_id, stop.event_type.value, stop.reason_code, stop.occurred_at)
