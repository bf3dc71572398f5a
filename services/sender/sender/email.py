"""The e-mail channel: steps 3 to 6 for one message, from the template to what the server said."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from chassis import faults
from chassis.caps import caps_of
from chassis.documents import Document, MailboxView, WorkspaceView
from chassis.errors import Retry
from chassis.secrets import Secrets
from chassis.telemetry import fields, timed
from chassis.templates import TemplateError, compile_template
from chassis.tokens import token_values
from chassis.wording import first_subject, reply_subject
from segue_contracts.message import Channel
from segue_contracts.sequence import Limits, Stage, Thread
from sender import metrics, model
from sender.compose import Address, ComposeError, Mail, compose, message_id, wire_address
from sender.domains import Domains
from sender.model import Claim, Settlement
from sender.reading import Plan, Read
from sender.settings import SenderSettings
from sender.slots import Limited, Slots, Spends
from sender.smtp import Aborted, BeforeData, Outcome, Security, Target
from sender.smtp_pool import Busy
from sender.steps import Carried, Steps
from sender.store import Draft, Parent
from sender.together import Together
from sender.transmission import Journal, Moves, Transmission

log = logging.getLogger(__name__)

TARGETS_KEPT = 1000
MISSING_SECONDS = 600.0
"""How long to wait for a mailbox or version that is not there; a person has to act."""


class Bodies(Moves, Spends, Protocol):
    """What the channel needs of the store."""

    async def mailboxes(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, MailboxView]: ...
    async def workspaces(self, ids: Iterable[UUID]) -> dict[UUID, WorkspaceView]: ...
    async def parents(
        self, workspaces: Iterable[UUID], enrollments: Iterable[UUID]
    ) -> dict[UUID, Parent]: ...
    async def keep_bodies(self, drafts: Sequence[Draft]) -> list[bool]: ...
    async def body(self, claim: Claim) -> bytes | None: ...


class Sends(Protocol):
    """What the channel needs of the SMTP pool."""

    async def send(
        self,
        target: Target,
        envelope_from: str,
        rcpt: str,
        data: bytes,
        before_data: BeforeData | None = None,
    ) -> Outcome | Busy: ...


class Unrenderable(Exception):
    """The message can't be written for this person; `reason` is a stable word, the text quotes no value."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Misconfigured(Exception):
    """Our side lacks something that a person can give; the text is a stable word."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A message whose bytes are stored, and how it travels."""

    target: Target
    mailbox_id: UUID
    envelope_from: str
    recipient: str
    body: bytes
    limited: Limited


class Email:
    """One for the process."""

    def __init__(
        self, store: Bodies, pool: Sends, steps: Steps, secrets: Secrets, settings: SenderSettings
    ) -> None:
        self._store = store
        self._pool = pool
        self._steps = steps
        self._secrets = secrets
        self._settings = settings
        self._message_key = secrets.keyed("message-id")
        self._journal = Journal(store, steps.clock)
        self._slots = Slots(store, steps.clock)
        self._domains = Domains(settings.per_domain_per_minute, steps.clock.monotonic)
        self._keep = Together(store.keep_bodies)
        self._material = Together(self._materials)
        self._on_host: Counter[tuple[str, int]] = Counter()
        self._target = lru_cache(maxsize=TARGETS_KEPT)(self._decrypted_target)

    async def carry(self, carried: Carried, read: Read) -> None:
        """Steps 3 to 7 for a claim whose read says go."""
        claim = carried.claim
        try:
            ready = await self._prepare(claim, read)
        except Unrenderable as error:
            log.info("not renderable", extra=_fields("sender.unrenderable", claim, error=str(error)))
            await self._steps.settle(claim, model.rejected(self._now(), error.reason, str(error)))
        except Misconfigured as error:
            await self._steps.settle(claim, self._steps.put_off(str(error), MISSING_SECONDS))
        else:
            if ready is not None:
                await self._transmit(carried, read, ready)
            else:
                metrics.NO_MATCH.labels("keep_body").inc()

    # ---- 3. render, compose, store the bytes ----

    async def _prepare(self, claim: Claim, read: Read) -> Ready | None:
        """The message with its bytes stored; None if the claim is gone."""
        mailbox_id = read.current.mailbox_id
        if claim.earlier.journaled and claim.earlier.mailbox_id:
            mailbox_id = claim.earlier.mailbox_id  # the bytes name it
        material = await self._material(_Wanted(claim, mailbox_id, _replies(read, claim)))
        if material.mailbox is None:
            raise Misconfigured("mailbox_missing")
        target, envelope_from = self._target(material.mailbox.smtp), _envelope_from(material.mailbox)
        if claim.earlier.journaled:
            body, recipient = await self._store.body(claim), claim.earlier.recipient
            if body is None or recipient is None:
                return None
        else:
            draft = self._draft(claim, read, material, material.mailbox)
            body, recipient = draft.body, str(draft.facts["recipient"])
            if not await self._keep(draft):
                return None
        limited = _limited(read, claim, material.mailbox, material.workspace)
        return Ready(target, mailbox_id, envelope_from, recipient, body, limited)

    def _draft(self, claim: Claim, read: Read, material: "_Material", mailbox: MailboxView) -> Draft:
        assert read.plan is not None, "the channel was found in it"
        try:
            return Draft(claim, *self._write(read, read.plan, material, mailbox, claim))
        except (TemplateError, ComposeError) as error:
            raise Unrenderable("template", str(error)) from error

    def _write(
        self, read: Read, plan: Plan, material: "_Material", mailbox: MailboxView, claim: Claim
    ) -> tuple[Document, bytes]:
        index, stage = _stage(plan, claim)
        prospect = read.person.prospect if read.person else {}
        recipient = prospect.get("email")
        if not recipient:
            raise Unrenderable("no_address", "the person has no e-mail address")
        values = token_values(
            prospect, plan.document.tokens, mailbox.display_name, mailbox.signature, material.tokens
        )
        edit = read.current.edits.get(stage.id, {})
        text = compile_template(edit.get("text") or stage.text or "", kind="text").render(values)
        parent = material.parent
        if parent is not None:
            subject = reply_subject(parent.subject)  # mail programs keep a thread together by it
        else:
            source = edit.get("subject") or stage.subject or first_subject(plan.document)
            subject = compile_template(source, kind="header").render(values)
        domain = mailbox.address.rpartition("@")[2]
        mail = Mail(
            sender=Address(mailbox.address, mailbox.display_name),
            to=Address(recipient, _name_of(prospect)),
            subject=subject,
            text=text,
            date=self._now(),
            message_id=message_id(self._message_key, claim.due.dispatch_id, domain),
            in_reply_to=parent.message_id if parent else None,
            references=parent.references if parent else (),
        )
        body = compose(mail)
        wire_address(recipient)
        return {**stage_facts(read, index, Channel.EMAIL), **_mail_facts(mail)}, body

    async def _materials(self, wanted: Sequence["_Wanted"]) -> list["_Material"]:
        workspaces = {each.claim.due.workspace_id for each in wanted}
        mailboxes = await self._store.mailboxes(workspaces, (each.mailbox_id for each in wanted))
        defaults = await self._store.workspaces(workspaces)
        replies = [each.claim.due.enrollment_id for each in wanted if each.replies]
        parents = await self._store.parents(workspaces, replies) if replies else {}
        return [
            _Material(
                _of_workspace(mailboxes.get(each.mailbox_id), each.claim),
                defaults.get(each.claim.due.workspace_id),
                parents.get(each.claim.due.enrollment_id) if each.replies else None,
            )
            for each in wanted
        ]

    def _decrypted_target(self, smtp: "_Smtp") -> Target:
        security: Security = smtp.security  # type: ignore[assignment]  # checked by the api when it is stored
        try:
            password = self._secrets.decrypt(smtp.secret) if smtp.secret else ""
            return Target(smtp.host, smtp.port, security, smtp.username or "", password)
        except ValueError:
            raise Misconfigured("mailbox_unusable") from None

    # ---- 4. to 6. ----

    async def _transmit(self, carried: Carried, read: Read, ready: Ready) -> None:
        claim = carried.claim
        if wait := self._domains.take(ready.recipient):
            await self._steps.settle(claim, self._steps.put_off("busy", wait))
            return
        host = ready.target.host, ready.target.port
        if self._on_host[host] >= self._settings.max_per_host:
            await self._steps.settle(claim, self._steps.busy())
            return
        self._on_host[host] += 1
        transmission = Transmission(
            carried, read, ready.recipient, ready.limited, self._slots, self._journal, self._steps
        )
        try:
            result = await self._send(ready, transmission)
        finally:
            self._on_host[host] -= 1
            if not self._on_host[host]:
                del self._on_host[host]
        carried.answered = True
        await self._record(carried, ready, transmission, result)

    async def _send(self, ready: Ready, transmission: Transmission) -> Outcome | Busy | None:
        """What became of the transaction; None: the database failed before DATA."""
        rcpt = wire_address(ready.recipient)
        try:
            with timed(metrics.SMTP_SECONDS):
                return await self._pool.send(
                    ready.target, ready.envelope_from, rcpt, ready.body, transmission.before_data
                )
        except Retry:
            return None

    async def _record(
        self, carried: Carried, ready: Ready, transmission: Transmission, result: Outcome | Busy | None
    ) -> None:
        claim = carried.claim
        if result is None:
            settlement: Settlement | None = self._steps.put_off("database", self._settings.busy_seconds)
        elif isinstance(result, Busy):
            settlement = self._steps.busy()
        elif isinstance(result, Aborted):
            settlement = transmission.settlement
        else:
            settlement = model.after_smtp(result, claim.earlier, self._steps.moment(claim))
        if settlement is None:
            metrics.NO_MATCH.labels("journal").inc()
            return
        if settlement.move is model.Move.RECORD_SENT:
            await faults.point("sender.after_250")
        if settlement.hold_reason:
            workspace = claim.due.workspace_id
            await self._steps.hold_mailbox(workspace, ready.mailbox_id, settlement.hold_reason)
        recorded = await self._steps.settle(claim, settlement, ready.recipient)
        if recorded and settlement.move is model.Move.RECORD_SENT:
            await self._steps.count_crossed_stop(claim)

    def _now(self) -> datetime:
        return self._steps.clock.now()


class _Smtp(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def security(self) -> str: ...
    @property
    def username(self) -> str | None: ...
    @property
    def secret(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    claim: Claim
    mailbox_id: UUID
    replies: bool


@dataclass(frozen=True, slots=True)
class _Material:
    mailbox: MailboxView | None
    workspace: WorkspaceView | None
    parent: Parent | None

    @property
    def tokens(self) -> dict[str, str]:
        return self.workspace.tokens if self.workspace else {}


def _envelope_from(mailbox: MailboxView) -> str:
    try:
        return wire_address(mailbox.address)
    except ComposeError:
        raise Misconfigured("mailbox_unusable") from None


def _limited(read: Read, claim: Claim, mailbox: MailboxView, workspace: WorkspaceView | None) -> Limited:
    found = read.plan.stage(claim.due.stage_id) if read.plan else None
    caps = caps_of(
        mailbox,
        workspace,
        read.plan.document.limits if read.plan else Limits(),
        sequence_id=read.current.sequence_id,
        person_id=read.current.person_id,
        is_first=found is not None and found[0] == 0,
    )
    return Limited(mailbox.id, caps)


def stage_facts(read: Read, index: int, channel: Channel) -> Document:
    """What a delivery says of its stage and enrollment, for those who read it without them."""
    enrollment = read.current
    return {
        "stage_index": index,
        "sequence_id": enrollment.sequence_id,
        "sequence_version": enrollment.sequence_version,
        "person_id": enrollment.person_id,
        "owner_id": enrollment.owner_id,
        "mailbox_id": enrollment.mailbox_id,
        "is_test": enrollment.is_test,
        "channel": channel.value,
    }


def _mail_facts(mail: Mail) -> Document:
    ancestors = [*mail.references, mail.in_reply_to] if mail.in_reply_to else []
    return {
        "message_id": mail.message_id,
        "references": ancestors,
        "recipient": mail.to.email,
        "subject": mail.subject,
        "text": mail.text,
    }


def _replies(read: Read, claim: Claim) -> bool:
    """Whether the message is still to be written, and as a reply."""
    if claim.earlier.journaled or read.plan is None:
        return False
    index, _ = _stage(read.plan, claim)
    return read.plan.document.thread_of(index) is Thread.REPLY


def _stage(plan: Plan, claim: Claim) -> tuple[int, Stage]:
    found = plan.stage(claim.due.stage_id)
    assert found is not None, "the channel was found in it"
    return found


def _name_of(prospect: Document) -> str:
    return " ".join(part for part in (prospect.get("first_name"), prospect.get("last_name")) if part)


def _of_workspace(mailbox: MailboxView | None, claim: Claim) -> MailboxView | None:
    return mailbox if mailbox is not None and mailbox.workspace_id == claim.due.workspace_id else None


def _fields(action: str, claim: Claim, **more: object) -> dict[str, object]:
    return fields(action, dispatch_id=claim.due.dispatch_id, attempt=claim.due.attempt, **more)
