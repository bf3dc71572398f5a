"""The manual channels: a stage that a person does becomes a task, with the text ready to paste."""

import logging
from collections.abc import Iterable
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
from sender.model import Claim
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

    async def carry(self, carried: Carried, read: Read) -> None:
        """Open the task, or reject what can't be rendered."""
        claim = carried.claim
        values = await self._values(read)
        read = await self._steps.fresh(claim, read, None)
        now = self._steps.clock.now()
        if read.withdrawal is not None:
            await self._steps.settle(claim, model.released(now, read.withdrawal))
            return
        assert read.plan is not None, "the channel was found in it"
        found = read.plan.stage(claim.due.stage_id)
        if found is None:  # the enrollment was migrated since the read before
            await self._steps.settle(claim, model.released(now, model.Withdrawal.NOT_CURRENT))
            return
        await self._open(claim, read, found, values, now)

    async def _open(
        self, claim: Claim, read: Read, found: tuple[int, Stage], values: dict[str, str], now: datetime
    ) -> None:
        index, stage = found
        try:
            task = _task(read, stage, values, now)
        except TemplateError as error:
            log.info(
                "not renderable",
                extra=fields("sender.unrenderable", dispatch_id=claim.due.dispatch_id, error=str(error)),
            )
            await self._steps.settle(claim, model.rejected(now, "template", str(error)))
            return
        facts = stage_facts(read, index, stage.channel)
        await self._steps.settle(claim, model.task_opened(now, task, facts))

    async def _values(self, read: Read) -> dict[str, str]:
        workspace = read.current.workspace_id
        mailbox = (await self._store.mailboxes([workspace], [read.current.mailbox_id])).get(
            read.current.mailbox_id
        )
        defaults = (await self._store.workspaces([workspace])).get(workspace)
        assert read.plan is not None, "the channel was found in it"
        return token_values(
            read.person.prospect if read.person else {},
            read.plan.document.tokens,
            mailbox.display_name if mailbox else "",
            mailbox.signature if mailbox else "",
            defaults.tokens if defaults else {},
        )


def _task(read: Read, stage: Stage, values: dict[str, str], now: datetime) -> Document:
    edit = read.current.edits.get(stage.id, {})
    subject = edit.get("subject") or stage.subject or ""
    due_at = overdue_at(now, stage.overdue) if stage.overdue else now
    task = {
        "assignee_id": read.current.owner_id,
        "subject": compile_template(subject, kind="text").render(values),
        "text": compile_template(edit.get("text") or stage.text or "", kind="text").render(values),
        "opened_at": now,
        "due_at": due_at,
    }
    if stage.overdue and stage.overdue.do is WhenOverdue.SKIP:
        task["skip_at"] = due_at
    return task


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
