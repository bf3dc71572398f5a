"""What the sender does about the records it consumes: stages that came due, and commands about deliveries."""

import asyncio
import logging
import secrets as randomness
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

from chassis import faults, tracing
from chassis.clock import Clock
from chassis.documents import PersonView
from chassis.errors import Reject
from chassis.kafka import Received
from chassis.telemetry import fields, timed
from segue_contracts.codec import DecodeError, decode
from segue_contracts.commands import (
    DecideInDoubt,
    Decision,
    DeliveryCommand,
    NoteEvidence,
    NoteProviderId,
    NoteReceipt,
    Recall,
    TaskDone,
    TaskReassign,
    TaskSkip,
    TaskSnooze,
)
from segue_contracts.events import EnrollmentStop, StageDue, StopReason
from segue_contracts.message import Channel, Scope
from segue_contracts.tasks import TaskResult
from sender import metrics, model
from sender.doubts import Doubts
from sender.model import Answer, Claim, Document, Due, Earlier, Existing, Move, State
from sender.steps import Steps
from sender.work import Work

log = logging.getLogger(__name__)

COMMANDS_IN_FLIGHT: Final = 16
SWEEP_BATCH: Final = 200
RECEIPT: Final = "receipt"
"""The evidence that a provider's own word is."""

CLAIMING: Final = {Answer.CLAIM_AGAIN: Move.CLAIM_AGAIN, Answer.TAKE_OVER: Move.TAKE_OVER}


class Claims(Protocol):
    """What stages that came due need of the store."""

    async def claim_new(self, dues: Sequence[Due], batch: str) -> set[str]: ...
    async def existing(self, dues: Sequence[Due]) -> dict[str, Existing]: ...
    async def claim_existing(
        self, wanted: Sequence[tuple[Due, Existing, Move]], batch: str
    ) -> dict[str, Earlier]: ...
    async def doubt_overdue(self, found: Sequence[Existing], at: datetime) -> list[Document]: ...
    async def overdue_transmissions(self, real_now: datetime, limit: int) -> list[Existing]: ...


class Deliveries(Protocol):
    """What commands need of the store."""

    async def delivery(self, workspace: UUID, dispatch_id: str) -> Document | None: ...
    async def change(
        self, workspace: UUID, dispatch_id: str, move: Move, fields: Document
    ) -> Document | None: ...
    async def note_receipt(self, workspace: UUID, dispatch_id: str, receipt: Document) -> Document | None: ...
    async def note_provider_id(self, workspace: UUID, dispatch_id: str, provider_message_id: str) -> bool: ...
    async def overdue_tasks(self, now: datetime, limit: int) -> list[Document]: ...
    async def people(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, PersonView]: ...
    async def answered(self, workspaces: Iterable[UUID], ids: Sequence[UUID]) -> set[UUID]: ...
    async def save_results(self, results: Sequence[Document]) -> None: ...


def decoded(received: Received) -> Any:
    """The message of a record; Reject for poison."""
    try:
        return decode(received.topic, received.headers, received.value)
    except DecodeError as error:
        raise Reject(error.code, error.detail) from error


# ---- stage.due ----


@dataclass(frozen=True, slots=True)
class Asked:
    """What a batch of stages that came due led to."""

    claims: list[Claim]
    say_again: list[Document]
    doubts: list[Existing]


class StageDueHandler:
    """Step 1: claims, hands over to `Work`, and answers what is settled already."""

    def __init__(self, store: Claims, steps: Steps, work: Work, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._work = work
        self._clock = clock

    async def __call__(self, batch: Sequence[Received]) -> None:
        """Returns once every dispatch is claimed or settled: from then on MongoDB is the queue."""
        dues = list(model.newest([_due(decoded(received)) for received in batch]).values())
        room = await self._work.room(len(dues))
        with timed(metrics.CLAIM_SECONDS):
            asked = await self.claim(dues)
        await faults.point("sender.after_claim")
        self._work.start(asked.claims[:room])
        self._work.decline(asked.claims[room:])
        await self._say_again([*asked.say_again, *await self._doubt(asked.doubts)])

    async def sweep(self) -> None:
        """Transmissions past their deadline that nobody asks for, because their enrollment has ended."""
        found = await self._store.overdue_transmissions(self._clock.real_now(), SWEEP_BATCH)
        await self._say_again(await self._doubt(found))

    async def _doubt(self, found: Sequence[Existing]) -> list[Document]:
        doubted = await self._store.doubt_overdue(found, self._clock.now())
        metrics.IN_DOUBT.labels("deadline_passed").inc(len(doubted))
        return doubted

    async def claim(self, dues: Sequence[Due]) -> Asked:
        """Insert; what exists already is judged as it was read and, where it may be, taken by CAS."""
        batch = randomness.token_hex(16)
        new = await self._store.claim_new(dues, batch)
        claims = [_claim(due, batch) for due in dues if due.dispatch_id in new]
        metrics.ANSWERS.labels("claim").inc(len(claims))
        others = [due for due in dues if due.dispatch_id not in new]
        existing = await self._store.existing(others)
        wanted: list[tuple[Due, Existing, Move]] = []
        asked = Asked(claims, [], [])
        for due in others:
            found = existing.get(due.dispatch_id)
            answer = _answer(due, found, batch)
            metrics.ANSWERS.labels(answer).inc()
            if found is not None:
                _sort(asked, wanted, due, found, answer, batch)
        mine = await self._store.claim_existing(wanted, batch)
        metrics.NO_MATCH.labels("claim").inc(len(wanted) - len(mine))
        asked.claims.extend(
            _claim(due, batch, mine[due.dispatch_id]) for due, _, _ in wanted if due.dispatch_id in mine
        )
        return asked

    async def _say_again(self, deliveries: Sequence[Document]) -> None:
        """Outcomes once more; a stop that a person decided is repeated until its enrollment has ended."""
        stops = [d for d in deliveries if d["state"] == State.IN_DOUBT and d.get("decision")]
        await self._steps.tell([d for d in deliveries if d not in stops])
        await self._steps.publish([stop_of(d, self._clock) for d in stops])


def _due(message: StageDue) -> Due:
    return Due(
        message.dispatch_id, message.workspace_id, message.enrollment_id, message.stage_id, message.attempt
    )


def _claim(due: Due, batch: str, earlier: Earlier | None = None) -> Claim:
    token = model.claim_token(batch, due.dispatch_id)
    return Claim(due, token, earlier or Earlier(), tracing.context(due.enrollment_id))


def _answer(due: Due, found: Existing | None, batch: str) -> Answer:
    """A delivery that can't be seen is another workspace's: a forged or mixed-up id is left alone."""
    if found is None:
        return Answer.LEAVE
    return model.answer(found, due.attempt, model.claim_token(batch, due.dispatch_id))


def _sort(
    asked: Asked,
    wanted: list[tuple[Due, Existing, Move]],
    due: Due,
    found: Existing,
    answer: Answer,
    batch: str,
) -> None:
    match answer:
        case Answer.MINE:
            asked.claims.append(_claim(due, batch))
        case Answer.CLAIM_AGAIN | Answer.TAKE_OVER:
            wanted.append((due, found, CLAIMING[answer]))
        case Answer.DOUBT:
            asked.doubts.append(found)
        case Answer.PUBLISH_AGAIN:
            asked.say_again.append(found.document)


# ---- delivery.commands ----


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a command was not carried out; `code` is stable, `detail` is for a person."""

    code: str
    detail: str


Changed = tuple[Move, Document]
"""A guarded write that a command asks for."""

_NOT: Final = {
    Move.DO_TASK: Refused("task_not_open", "this task is not open any more"),
    Move.SKIP_TASK: Refused("task_not_open", "this task is not open any more"),
    Move.KEEP_TASK: Refused("task_not_open", "this task is not open any more"),
    Move.RESEND: Refused("not_in_doubt", "this message is not in doubt any more"),
    Move.MARK_SENT: Refused("not_in_doubt", "this message is not in doubt any more"),
    Move.SKIP_STAGE: Refused("not_in_doubt", "this message is not in doubt any more"),
    Move.KEEP_DOUBT: Refused("not_in_doubt", "this message is not in doubt any more"),
}
UNKNOWN: Final = Refused("unknown_dispatch", "there is no such dispatch in this workspace")


class DeliveryCommandHandler:
    """Recalls, tasks, decisions about what is in doubt: each one guarded write, its outcome, its result."""

    def __init__(self, store: Deliveries, steps: Steps, doubts: Doubts, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._doubts = doubts
        self._clock = clock

    async def __call__(self, batch: Sequence[Received]) -> None:
        """Returns once every command's effect and result are durable.

        Commands about one dispatch keep their order.
        """
        commands = [decoded(received) for received in batch]
        answered = await self._store.answered(
            {c.workspace_id for c in commands}, [c.event_id for c in commands]
        )
        rows: dict[str, list[DeliveryCommand]] = {}
        for command in commands:
            # A recall is answered each time: whoever asks again has not seen the answer.
            if command.event_id not in answered or isinstance(command, Recall):
                rows.setdefault(command.dispatch_id, []).append(command)
        slots = asyncio.Semaphore(COMMANDS_IN_FLIGHT)
        ended = await asyncio.gather(
            *(self._row(row, slots) for row in rows.values()), return_exceptions=True
        )
        # Only once all have ended: the ladder may repeat the batch, and nothing of this one may still run.
        for error in ended:
            if error is not None:
                raise error

    async def _row(self, commands: Sequence[DeliveryCommand], slots: asyncio.Semaphore) -> None:
        async with slots:
            for command in commands:
                refused = await self._obey(command)
                status = "refused" if refused else "done"
                metrics.COMMANDS.labels(getattr(command, "event_type", ""), status).inc()
                await self._store.save_results([_result(command, refused, self._clock)])

    async def _obey(self, command: DeliveryCommand) -> Refused | None:
        match command:
            case Recall():
                await self._recall(command)
                return None
            case NoteProviderId(provider_message_id=provider_id):
                known = await self._store.note_provider_id(
                    command.workspace_id, command.dispatch_id, provider_id
                )
                return None if known else UNKNOWN
            case NoteReceipt():
                return await self._note_receipt(command)
            case NoteEvidence():
                noted = await self._doubts.note(command)
                return None if noted else await self._known(command)
            case DecideInDoubt(decision=Decision.STOP):
                return await self._stop(command)
            case TaskSnooze() | TaskReassign():
                return await self._keep_task(command)
        move, changed = _change(command, await self._before(command), self._clock)
        refused, after = await self._write(command, move, changed)
        if after is not None and isinstance(command, TaskDone) and command.suppress_phone:
            await self._suppress_phone(command.workspace_id, after["person_id"])
        if after is not None and model.has_outcome(after):
            await self._steps.tell([after])
        return refused

    async def _recall(self, command: Recall) -> None:
        """claimed, deferred, task_open → released, with a token that nobody has; `recalled` in every case.

        For an unknown dispatch nothing is written: a claim that comes later reads the enrollment, and a
        released delivery of an older attempt would be claimed just the same.
        """
        changed = {
            "token": f"recall:{randomness.token_hex(16)}",
            "settled_at": self._clock.now(),
            "reason": model.Withdrawal.NOT_CURRENT.value,
            "code": "",
        }
        after = await self._change(command, Move.RECALL, changed)
        if after is None:
            await self._doubts.recalled(command.workspace_id, command.dispatch_id)
            after = await self._store.delivery(command.workspace_id, command.dispatch_id) or {}
        attempt = after.get("attempt", 0)
        due = Due(command.dispatch_id, command.workspace_id, command.enrollment_id, command.stage_id, attempt)
        recalled = model.recalled(due, self._clock.now(), self._clock.real_now())
        metrics.OUTCOMES.labels(recalled.event_type, "").inc()
        await self._steps.publish([recalled])

    async def _stop(self, command: DecideInDoubt) -> Refused | None:
        """The delivery stays in doubt, with the decision; the stop is published now and when asked again."""
        changed = {"decision": Decision.STOP.value, "decided_at": self._clock.now()}
        refused, after = await self._write(command, Move.KEEP_DOUBT, changed)
        if after is not None:
            await self._steps.publish([stop_of(after, self._clock)])
        return refused

    async def _note_receipt(self, command: NoteReceipt) -> Refused | None:
        """What the provider told of a text message: that it had it, whatever the delivery has become, and
        where it can't arrive, a stop. Raises Retry until all of it is done.
        """
        receipt = {"status": command.status.value, "code": command.error_code, "at": command.occurred_at}
        after = await self._store.note_receipt(command.workspace_id, command.dispatch_id, receipt)
        if after is None or after.get("channel") != Channel.SMS:
            return UNKNOWN
        # A receipt is as good as the answer that never came.
        more = {"provider_message_id": command.provider_id}
        await self._doubts.prove(command.workspace_id, command.dispatch_id, RECEIPT, **more)
        reason = model.receipt_ends(command.status, command.error_code)
        if reason is not None:
            if recipient := after.get("recipient"):  # an erased person's is suppressed already
                await self._steps.suppress(command.workspace_id, recipient, reason.value)
            await self._steps.insist([stop_by_receipt(command, after["person_id"], reason, self._clock)])
        return None

    async def _known(self, command: NoteEvidence) -> Refused | None:
        """Why there was nothing to write: no such dispatch, or what it says is no news."""
        found = await self._store.delivery(command.workspace_id, command.dispatch_id)
        return UNKNOWN if found is None else None

    async def _suppress_phone(self, workspace: UUID, person_id: UUID) -> None:
        """The person's phone is somebody else's: nobody is to be called or texted there."""
        people = await self._store.people([workspace], [person_id])
        phone = people[person_id].prospect.get("phone") if person_id in people else None
        if phone:
            await self._steps.suppress(workspace, phone, TaskResult.WRONG_NUMBER.value)

    async def _keep_task(self, command: TaskSnooze | TaskReassign) -> Refused | None:
        changed = (
            {"task.snoozed_until": command.until, "task.prompt_at": command.until}
            if isinstance(command, TaskSnooze)
            else {"task.assignee_id": command.assignee_id, "task.prompt_at": self._clock.now()}
        )
        refused, _ = await self._write(command, Move.KEEP_TASK, changed)
        return refused

    async def _before(self, command: DeliveryCommand) -> Document:
        """What marking as sent needs to know: when it was transmitted."""
        if isinstance(command, DecideInDoubt) and command.decision is Decision.MARK_SENT:
            return await self._store.delivery(command.workspace_id, command.dispatch_id) or {}
        return {}

    async def _write(
        self, command: DeliveryCommand, move: Move, changed: Document
    ) -> tuple[Refused | None, Document | None]:
        """Why not, or the delivery after it; a command that comes again finds its trace and succeeds."""
        after = await self._change(command, move, changed)
        if after is not None:
            return None, after
        found = await self._store.delivery(command.workspace_id, command.dispatch_id)
        if found is None:
            return UNKNOWN, None
        if found.get("command_id") == command.event_id:
            return None, found
        return _NOT[move], None

    async def _change(self, command: DeliveryCommand, move: Move, changed: Document) -> Document | None:
        traced = {
            **changed,
            "state": model.TRANSITIONS[move].target.value,
            "command_id": command.event_id,
            "decided_by": command.issued_by,
        }
        return await self._store.change(command.workspace_id, command.dispatch_id, move, traced)

    # ---- tasks that nobody did in time ----

    async def skip_overdue(self) -> None:
        """A sweep: open tasks past their time, where the sequence says `skip`, are skipped."""
        now = self._clock.now()
        for found in await self._store.overdue_tasks(now, SWEEP_BATCH):
            changed = {
                "state": State.SKIPPED.value,
                "settled_at": now,
                "reason": "overdue",
                "code": "",
                "task.completed_at": now,
            }
            after = await self._store.change(found["workspace_id"], found["_id"], Move.SKIP_TASK, changed)
            if after is not None:
                log.info("task skipped", extra=fields("sender.task_overdue", dispatch_id=found["_id"]))
                await self._steps.tell([after])


def _change(command: DeliveryCommand, before: Document, clock: Clock) -> Changed:
    """The write that a command asks for."""
    now = clock.now()
    settled: Document = {"settled_at": now, "code": ""}
    match command:
        case TaskDone():
            done = {
                "task.completed_at": now,
                "task.result": command.result,
                "task.note": command.note,
                "task.responded": command.responded,
            }
            # What the events tell is one of our words: a result in somebody's own may name people.
            reason = TaskResult(command.result).value if command.result else ""
            return Move.DO_TASK, {**settled, "reason": reason, **done}
        case TaskSkip():
            skipped = {"task.completed_at": now, "task.note": command.note}
            return Move.SKIP_TASK, {**settled, "reason": "skipped", **skipped}
        case DecideInDoubt(decision=Decision.RESEND):
            token = f"resend:{randomness.token_hex(16)}"
            again = {"reason": "resend", "until": now, "token": token, "decision": None}
            return Move.RESEND, {**settled, **again}
        case DecideInDoubt(decision=Decision.MARK_SENT):
            # It went out when it was transmitted, and the next stage counts from then.
            sent_at = before.get("transmitted_at") or now
            return Move.MARK_SENT, {**settled, "reason": "mark_sent", "sent_at": sent_at}
        case DecideInDoubt(decision=Decision.SKIP_STAGE):
            return Move.SKIP_STAGE, {**settled, "reason": "skip_stage"}
    raise Reject("unknown_command", type(command).__name__)


def stop_of(delivery: Document, clock: Clock) -> EnrollmentStop:
    """The stop that a person decided on for an enrollment whose delivery is in doubt; one id per dispatch."""
    return EnrollmentStop(
        event_id=uuid5(delivery["enrollment_id"], f"{delivery['stage_id']}/in_doubt/stop"),
        event_type=StopReason.REQUESTED,
        occurred_at=delivery["decided_at"],
        recorded_at=clock.real_now(),
        workspace_id=delivery["workspace_id"],
        scope=Scope.ENROLLMENT,
        enrollment_id=delivery["enrollment_id"],
        reason_code="in_doubt",
    )


def stop_by_receipt(
    command: NoteReceipt, person_id: UUID, reason: StopReason, clock: Clock
) -> EnrollmentStop:
    """The stop that a receipt leads to, one id per dispatch; an opt-out is the person's, everywhere."""
    opted_out = reason is StopReason.UNSUBSCRIBED
    return EnrollmentStop(
        event_id=uuid5(command.enrollment_id, f"{command.stage_id}/receipt/stop"),
        event_type=reason,
        occurred_at=command.occurred_at,
        recorded_at=clock.real_now(),
        workspace_id=command.workspace_id,
        scope=Scope.PERSON if opted_out else Scope.ENROLLMENT,
        enrollment_id=None if opted_out else command.enrollment_id,
        person_id=person_id if opted_out else None,
        reason_code=f"sms_{command.error_code}",
    )


def _result(command: DeliveryCommand, refused: Refused | None, clock: Clock) -> Document:
    return {
        "_id": command.event_id,
        "workspace_id": command.workspace_id,
        "status": "refused" if refused else "done",
        "reasons": [{"code": refused.code, "detail": refused.detail}] if refused else [],
        "enrollment_id": command.enrollment_id,
        "at": clock.now(),
    }
