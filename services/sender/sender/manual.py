"""The manual channels: a stage that a person does becomes a task, with the text ready to paste."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from chassis.documents import Document, MailboxView, WorkspaceView
from chassis.telemetry import fields
from chassis.templates import TemplateError, compile_template
from chassis.tokens import token_values
from segue_contracts.sequence import Overdue, Stage, WhenOverdue
from segue_contracts.timing import Unit
from sender import model
from sender.email import stage_facts
from sender.model import Claim, Settlement
from sender.reading import Read
from sender.steps import Carried, Steps

log = logging.getLogger(__name__)

SATURDAY: Final = 5


class Senders(Protocol):
    """What the channel needs of the store."""

    async def mailboxes(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, MailboxView]: ...
    async def workspaces(self, ids: Iterable[UUID]) -> dict[UUID, WorkspaceView]: ...


class Manual:
    """One for the process; serves every manual channel."""

    def __init__(self, store: Senders, steps: Steps) -> None:
        self._store = store
        self._steps = steps

    async def carry(self, items: Sequence[tuple[Carried, Read]]) -> None:
        """Open the tasks, or reject what can't be rendered."""
        reads = [read.current for _, read in items]
        workspaces = {each.workspace_id for each in reads}
        mailboxes = await self._store.mailboxes(workspaces, (each.mailbox_id for each in reads))
        defaults = await self._store.workspaces(workspaces)
        for carried, read in items:
            with carried:
                values = _values(read, mailboxes.get(read.current.mailbox_id), defaults)
                fresh = await self._steps.fresh(carried.claim, read, None)
                if not carried.over:
                    self._steps.settle(carried, self._settlement(carried.claim, fresh, values))

    def _settlement(self, claim: Claim, read: Read, values: dict[str, str]) -> Settlement:
        now = self._steps.clock.now()
        if read.withdrawal is not None:
            return model.released(now, read.withdrawal)
        assert read.plan is not None, "the channel was found in it"
        found = read.plan.stage(claim.due.stage_id)
        if found is None:  # the enrollment was migrated since the read before
            return model.released(now, model.Withdrawal.NOT_CURRENT)
        index, stage = found[0], read.worded(found[1])
        try:
            task = _task(read, stage, values, now)
        except TemplateError as error:
            log.info(
                "not renderable",
                extra=fields("sender.unrenderable", dispatch_id=claim.due.dispatch_id, error=str(error)),
            )
            return model.rejected(now, "template", str(error))
        return model.task_opened(now, task, stage_facts(read, claim, index, stage))


def _values(
    read: Read, mailbox: MailboxView | None, defaults: Mapping[UUID, WorkspaceView]
) -> dict[str, str]:
    assert read.plan is not None, "the channel was found in it"
    workspace = defaults.get(read.current.workspace_id)
    if mailbox is not None and mailbox.workspace_id != read.current.workspace_id:
        mailbox = None
    return token_values(
        read.person.prospect if read.person else {},
        read.plan.document.tokens,
        mailbox.display_name if mailbox else "",
        mailbox.signature if mailbox else "",
        workspace.tokens if workspace else {},
        mailbox.owner_tokens if mailbox else {},
    )


def _task(read: Read, stage: Stage, values: dict[str, str], now: datetime) -> Document:
    edit = read.current.edits.get(stage.id, {})
    subject = edit.get("subject") or stage.subject or ""
    return {
        "assignee_id": read.current.owner_id,
        "subject": compile_template(subject, kind="text").render(values),
        "text": compile_template(edit.get("text") or stage.text or "", kind="text").render(values),
        "opened_at": now,
        "due_at": now,
        "prompt_at": now,
        **(deadline(now, stage.overdue) if stage.overdue else {}),
    }


def deadline(opened: datetime, overdue: Overdue) -> Document:
    """What a task has that is overdue one day: until when it is due, and what a sweep does then.

    `skip_at`: it is skipped. `tell_at`: it is told, and with `notify` its assignee is prompted.
    """
    at = overdue_at(opened, overdue)
    sweep = "skip_at" if overdue.do is WhenOverdue.SKIP else "tell_at"
    return {"due_at": at, "overdue_at": at, "when_overdue": overdue.do.value, sweep: at}


def overdue_at(opened: datetime, overdue: Overdue) -> datetime:
    """When a task opened at `opened` is overdue. A day is 24 hours; business days leave out weekends only."""
    delay = overdue.delay
    if delay.elapsed_minutes is not None:
        return opened + timedelta(minutes=delay.elapsed_minutes)
    if delay.unit is not Unit.BUSINESS_DAYS:
        return opened + timedelta(days=delay.amount)
    at, left = opened, delay.amount
    while left > 0:
        at += timedelta(days=1)
        left -= at.weekday() < SATURDAY
    return at
