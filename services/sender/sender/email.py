"""The e-mail channel: steps 3 to 6 for one message, from the template to what the server said."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from chassis import faults, tracing
from chassis.caps import caps_of, number_key
from chassis.documents import Document, Footer, MailboxView, SigningView, SmsNumberView, WorkspaceView
from chassis.errors import Retry
from chassis.oauth import Access, Tokens
from chassis.secrets import Secrets
from chassis.telemetry import fields
from chassis.templates import TemplateError, compile_template
from chassis.tokens import token_values
from chassis.tracking import Mark
from chassis.unsubscribing import Ticket
from chassis.wording import first_subject, reply_subject
from segue_contracts.sequence import Limits, Stage, Thread
from sender import metrics, model
from sender.attachments import Attachments, Uploads
from sender.compose import Address, ComposeError, Mail, compose, message_id, wire_address
from sender.content import Content, Rewrite, Writing, content_of
from sender.dkim import Signer, StoredKey
from sender.domains import Domains
from sender.footer import Links, unsubscribe_uris
from sender.mailbox_health import MailboxHealth
from sender.model import Claim, Settlement
from sender.reading import Plan, Read, suppressions_of
from sender.settings import SenderSettings
from sender.slots import Limited, Slots, Spends
from sender.smtp import Aborted, Accepted, Envelope, Outcome, Security, Target
from sender.smtp_pool import Busy, Letter
from sender.steps import Carried, Steps
from sender.store import INLINE_BYTES, Draft, Parent
from sender.tracking import Tracker
from sender.transmission import Journal, Moves, Transmission

log = logging.getLogger(__name__)

TARGETS_KEPT = 1000
AT_ONCE = 20
"""Messages to write before the mail servers have their turn."""
HEAVY_BYTES = 256 * 1024 * 1024
"""Mails with attachments that are in memory at once, about; who comes on top is busy."""
MISSING_SECONDS = 600.0
"""How long to wait for a mailbox or version that is not there; a person has to act."""


class Bodies(Moves, Spends, Uploads, Protocol):
    """What the channel needs of the store."""

    async def mailboxes(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, MailboxView]: ...
    async def workspaces(self, ids: Iterable[UUID]) -> dict[UUID, WorkspaceView]: ...
    async def signing(
        self, workspaces: Iterable[UUID], domains: Iterable[str]
    ) -> dict[tuple[UUID, str], SigningView]: ...
    async def parents(
        self, workspaces: Iterable[UUID], enrollments: Iterable[UUID]
    ) -> dict[UUID, Parent]: ...
    async def suppressed(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> set[str]: ...
    async def put_file(self, claim: Claim, body: bytes) -> str: ...
    async def body(self, claim: Claim) -> bytes | None: ...


class Posts(Protocol):
    """What the channel needs of the SMTP pool."""

    def post(self, letter: Letter) -> None: ...


class Unrenderable(Exception):
    """The message can't be written for this person; `reason` is a stable word, the text quotes no value."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Misconfigured(Exception):
    """Our side lacks something that a person can give; the text is a stable word."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A message as it travels, and what its journal keeps of it."""

    target: Target
    mailbox: MailboxView
    envelope: Envelope
    recipient: str
    draft: Draft
    limited: Limited


class Email:
    """One for the process."""

    def __init__(
        self,
        store: Bodies,
        pool: Posts,
        steps: Steps,
        health: MailboxHealth,
        secrets: Secrets,
        tokens: Tokens,
        settings: SenderSettings,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._pool = pool
        self._steps = steps
        self._health = health
        self._secrets = secrets
        self._settings = settings
        self._message_key = secrets.keyed("message-id")
        public_url = str(settings.public_url) if settings.public_url else None
        self._links = Links(secrets, public_url)
        self._tracker = Tracker(secrets, public_url)
        self._signer = Signer(secrets.decrypt)
        self._attachments = Attachments(store)
        self._heavy_bytes = 0  # of mails with attachments, between their writing and their end
        self._journal = Journal(store, steps.clock)
        self._slots = Slots(store, steps.clock)
        self._domains = Domains(settings.per_domain_per_minute, steps.clock.monotonic)
        self._target = lru_cache(maxsize=TARGETS_KEPT)(self._decrypted_target)

    async def carry(self, items: Sequence[tuple[Carried, Read]]) -> None:
        """Step 3 for claims whose reads say go; steps 4 to 7 follow as the mail servers have room."""
        materials = await self._materials([_wanted(carried.claim, read) for carried, read in items])
        for number, ((carried, read), material) in enumerate(zip(items, materials, strict=True)):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            with carried:
                await self._carry(carried, read, material)

    async def _carry(self, carried: Carried, read: Read, material: "_Material") -> None:
        claim = carried.claim
        if self._heavy_bytes >= HEAVY_BYTES and _is_heavy(read, claim):
            self._steps.settle(carried, self._steps.busy())
            return
        try:
            ready = await self._ready(claim, read, material)
        except Unrenderable as error:
            log.info("not renderable", extra=_fields("sender.unrenderable", claim, error=str(error)))
            self._steps.settle(carried, model.rejected(self._now(), error.reason, str(error)))
        except Misconfigured as error:
            self._steps.settle(carried, self._steps.put_off(str(error), MISSING_SECONDS))
        else:
            if ready is None:
                carried.lost("body")
            elif not carried.over:
                self._post(carried, read, ready)

    # ---- 3. render, compose ----

    async def _ready(self, claim: Claim, read: Read, material: "_Material") -> Ready | None:
        """The message; None if the claim is gone."""
        mailbox = material.mailbox
        if mailbox is None:
            raise Misconfigured("mailbox_missing")
        if claim.earlier.journaled:
            draft, recipient, body = Draft(claim, {}), claim.earlier.recipient, await self._store.body(claim)
            if body is None or recipient is None:
                return None
            copies = await self._copies(claim, mailbox, claim.earlier.bcc)
        else:
            files = await self._files(claim, read)
            draft = self._draft(claim, read, material, mailbox, files)
            body, recipient = draft.body, str(draft.facts["recipient"])
            copies = await self._copies(claim, mailbox, draft.facts["bcc"])
            if len(body) > INLINE_BYTES:
                draft = replace(draft, file=await self._store.put_file(claim, body))
        return Ready(
            self._target(mailbox.smtp, access_of(mailbox)),
            mailbox,
            Envelope(_envelope_from(mailbox.address), wire_address(recipient), body, copies),
            recipient,
            draft,
            limited_of(read, claim, mailbox, material.workspace),
        )

    async def _files(self, claim: Claim, read: Read) -> tuple[bytes, ...]:
        """The stage's attachments as MIME entities."""
        assert read.plan is not None, "the channel was found in it"
        ids = _stage(read.plan, claim)[1].attachments
        if not ids:
            return ()
        entities = await self._attachments.entities(claim.due.workspace_id, [UUID(each) for each in ids])
        if entities is None:
            raise Misconfigured("attachment_missing")
        return entities

    async def _copies(self, claim: Claim, mailbox: MailboxView, bcc: Sequence[str]) -> tuple[str, ...]:
        """Who gets a copy, as the envelope names them: of those who should, all but the suppressed ones."""
        if not bcc:
            return ()
        workspace = claim.due.workspace_id
        ids = {each: suppressions_of(self._secrets, workspace, each, (mailbox.id,)) for each in bcc}
        suppressed = await self._store.suppressed([workspace], (i for some in ids.values() for i in some))
        kept = [each for each in bcc if suppressed.isdisjoint(ids[each])]
        metrics.COPIES_LEFT_OUT.labels("suppressed").inc(len(bcc) - len(kept))
        return tuple(map(wire_address, kept))

    def _draft(
        self,
        claim: Claim,
        read: Read,
        material: "_Material",
        mailbox: MailboxView,
        files: tuple[bytes, ...],
    ) -> Draft:
        assert read.plan is not None, "the channel was found in it"
        try:
            return Draft(claim, *self._write(read, read.plan, material, mailbox, claim, files))
        except (TemplateError, ComposeError) as error:
            raise Unrenderable("template", str(error)) from error

    def _write(
        self,
        read: Read,
        plan: Plan,
        material: "_Material",
        mailbox: MailboxView,
        claim: Claim,
        files: tuple[bytes, ...],
    ) -> tuple[Document, bytes]:
        index, planned = _stage(plan, claim)
        stage = read.worded(planned)
        prospect = read.person.prospect if read.person else {}
        recipient = prospect.get("email")
        if not recipient:
            raise Unrenderable("no_address", "the person has no e-mail address")
        values = token_values(
            prospect,
            plan.document.tokens,
            mailbox.display_name,
            mailbox.signature,
            material.tokens,
            mailbox.owner_tokens,
        )
        edit = read.current.edits.get(stage.id, {})
        parent = material.parent
        if parent is not None:
            subject = reply_subject(parent.subject)  # mail programs keep a thread together by it
        else:
            source = edit.get("subject") or stage.subject or first_subject(plan.document)
            subject = compile_template(source, kind="header").render(values)
        domain = mailbox.address.rpartition("@")[2]
        own_id = message_id(self._message_key, claim.due.dispatch_id, domain)
        ticket = Ticket(claim.due.workspace_id, read.current.person_id, claim.due.dispatch_id)
        page = self._links.page(ticket, material.footer)
        tokens = {**material.tokens, **mailbox.owner_tokens}
        writing = Writing(values, mailbox, tokens, material.footer, page)
        pen = self._tracker.pen(Mark(claim.due.workspace_id, claim.due.dispatch_id), plan.document.tracking)
        content = _content(stage, edit, writing, pen)
        reply_to = stage.reply_to or mailbox.reply_to
        mail = Mail(
            sender=Address(mailbox.address, mailbox.display_name),
            to=Address(recipient, _name_of(prospect)),
            subject=subject,
            text=content.text,
            date=self._now(),
            message_id=own_id,
            in_reply_to=parent.message_id if parent else None,
            references=parent.references if parent else (),
            reply_to=Address(reply_to) if reply_to else None,
            unsubscribe=unsubscribe_uris(page, mailbox, own_id),
            html=content.html,
            attachments=files,
        )
        body = self._signed(compose(mail), mailbox, material)
        facts = {**stage_facts(read, claim, index, stage), **_mail_facts(mail)}
        # Never the recipient: what a copy's reader answers is nothing of the person's.
        bcc = [each for each in stage.bcc_addresses if each.lower() != recipient.lower()]
        return {**facts, **pen.facts, "bcc": bcc}, body

    def _signed(self, message: bytes, mailbox: MailboxView, material: "_Material") -> bytes:
        """The message as it will be kept: a repetition sends the same signature."""
        if mailbox.signing_domain is None:
            return message
        if material.signing is None:
            raise Misconfigured("signing_key_missing")
        keys = [StoredKey(mailbox.signing_domain, *key) for key in material.signing.keys]
        try:
            return self._signer.sign(message, keys, self._steps.clock.real_now())
        except ValueError:
            raise Misconfigured("mailbox_unusable") from None

    async def _materials(self, wanted: Sequence["_Wanted"]) -> list["_Material"]:
        workspaces = {each.claim.due.workspace_id for each in wanted}
        mailboxes = await self._store.mailboxes(workspaces, (each.mailbox_id for each in wanted))
        defaults = await self._store.workspaces(workspaces)
        domains = {box.signing_domain for box in mailboxes.values() if box.signing_domain}
        signing = await self._store.signing(workspaces, domains) if domains else {}
        replies = [each.claim.due.enrollment_id for each in wanted if each.replies]
        parents = await self._store.parents(workspaces, replies) if replies else {}
        return [
            _Material(
                _of_workspace(mailboxes.get(each.mailbox_id), each.claim),
                defaults.get(each.claim.due.workspace_id),
                parents.get(each.claim.due.enrollment_id) if each.replies else None,
                _keys_of(mailboxes.get(each.mailbox_id), signing),
            )
            for each in wanted
        ]

    def _decrypted_target(self, smtp: "_Smtp", access: Access | None) -> Target:
        security: Security = smtp.security  # type: ignore[assignment]  # checked by the api when it is stored
        tokens = self._tokens.of(access) if access else None
        try:
            password = self._secrets.decrypt(smtp.secret) if smtp.secret else ""
            return Target(smtp.host, smtp.port, security, smtp.username or "", password, tokens)
        except ValueError:
            raise Misconfigured("mailbox_unusable") from None

    # ---- 4. to 6. ----

    def _post(self, carried: Carried, read: Read, ready: Ready) -> None:
        if wait := self._domains.take(ready.recipient):
            self._steps.settle(carried, self._steps.put_off("busy", wait))
            return
        transmission = Transmission(
            carried,
            read,
            ready.draft,
            ready.recipient,
            ready.limited,
            self._slots,
            self._journal,
            self._steps,
        )
        heavy = _is_heavy(read, carried.claim)
        self._heavy_bytes += heavy * len(ready.envelope.data)
        self._pool.post(_Letter(self, carried, ready, transmission, heavy, _smtp_span(carried.claim, ready)))

    async def ended(
        self,
        carried: Carried,
        ready: Ready,
        transmission: Transmission,
        result: Outcome | Busy | Exception,
    ) -> None:
        """Record what became of the transaction."""
        claim = carried.claim
        if isinstance(result, Retry):  # the database failed before DATA
            settlement: Settlement | None = self._steps.put_off("database", self._settings.busy_seconds)
        elif isinstance(result, Exception):
            raise result
        elif isinstance(result, Busy):
            settlement = self._steps.busy()
        elif isinstance(result, Aborted):
            settlement = transmission.settlement
        else:
            settlement = model.after_smtp(result, claim.earlier, self._steps.moment(claim))
            self._health.saw(ready.mailbox, settlement)
        if settlement is None:
            carried.lost("journal")
            return
        carried.answered = True
        if settlement.move is model.Move.RECORD_SENT:
            await faults.point("sender.after_250")
        if settlement.hold_reason:
            workspace = claim.due.workspace_id
            await self._steps.hold_mailbox(workspace, ready.mailbox.id, settlement.hold_reason)
        # Once DATA began, the journal has the facts.
        facts = ready.draft.told if carried.data_began else ready.draft.facts
        self._steps.settle(carried, settlement.with_facts(facts), ready.recipient)

    def freed(self, size: int) -> None:
        """A mail with attachments has ended."""
        self._heavy_bytes -= size

    def _now(self) -> datetime:
        return self._steps.clock.now()


@dataclass(frozen=True, slots=True, eq=False)
class _Letter:
    email: Email
    carried: Carried
    ready: Ready
    transmission: Transmission
    heavy: bool
    span: tracing.Span
    began: float = field(default_factory=time.perf_counter)

    @property
    def target(self) -> Target:
        return self.ready.target

    @property
    def envelope(self) -> Envelope:
        return self.ready.envelope

    async def before_data(self) -> bool:
        return await self.transmission.before_data()

    async def ended(self, result: Outcome | Busy | Exception) -> None:
        metrics.SMTP_SECONDS.observe(time.perf_counter() - self.began)
        self.span.note(answer=type(result).__name__)
        self.span.end()
        if self.heavy:
            self.email.freed(len(self.envelope.data))
        if isinstance(result, Accepted):
            metrics.COPIES_LEFT_OUT.labels("refused").inc(result.copies_refused)
        with self.carried:
            await self.email.ended(self.carried, self.ready, self.transmission, result)


def _smtp_span(claim: Claim, ready: Ready) -> tracing.Span:
    due, mailbox = claim.due, ready.mailbox.id
    return tracing.begin("smtp", parent=claim.traceparent, dispatch_id=due.dispatch_id, mailbox_id=mailbox)


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
    signing: SigningView | None

    @property
    def tokens(self) -> dict[str, str]:
        return self.workspace.tokens if self.workspace else {}

    @property
    def footer(self) -> Footer:
        return self.workspace.footer if self.workspace else Footer()


def access_of(mailbox: MailboxView) -> Access | None:
    """Whose tokens the mailbox sends with; None: it has a password, or needs none."""
    if mailbox.smtp.auth != "oauth2":
        return None
    if mailbox.oauth is None:
        raise Misconfigured("mailbox_unusable")
    return Access(mailbox.workspace_id, mailbox.id, mailbox.oauth)


@lru_cache(maxsize=TARGETS_KEPT)
def _envelope_from(address: str) -> str:
    try:
        return wire_address(address)
    except ComposeError:
        raise Misconfigured("mailbox_unusable") from None


def limited_of(
    read: Read,
    claim: Claim,
    mailbox: MailboxView,
    workspace: WorkspaceView | None,
    number: SmsNumberView | None = None,
) -> Limited:
    """The caps over a claim's message, as the scheduler has reserved for them; `number`: of a text."""
    found = read.plan.stage(claim.due.stage_id) if read.plan else None
    caps = caps_of(
        mailbox,
        workspace,
        read.plan.document.limits if read.plan else Limits(),
        sequence_id=read.current.sequence_id,
        person_id=read.current.person_id,
        is_first=found is not None and found[0] == 0,
        number=number,
    )
    return Limited(mailbox.id, caps, number_key(number.id) if number and number.limits.any else None)


def stage_facts(read: Read, claim: Claim, index: int, stage: Stage) -> Document:
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
        "channel": stage.channel.value,
        **read.variant_facts(claim, stage),
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


def _wanted(claim: Claim, read: Read) -> _Wanted:
    mailbox_id = read.current.mailbox_id
    if claim.earlier.journaled and claim.earlier.mailbox_id:
        mailbox_id = claim.earlier.mailbox_id  # the bytes name it
    return _Wanted(claim, mailbox_id, _replies(read, claim))


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


def _is_heavy(read: Read, claim: Claim) -> bool:
    """Whether it takes files along."""
    found = read.plan.stage(claim.due.stage_id) if read.plan else None
    return found is not None and bool(found[1].attachments)


def _content(stage: Stage, edit: Mapping[str, str], writing: Writing, rewrite: Rewrite) -> Content:
    """The stage's words; those that a person has written for one prospect are all there is, as a text."""
    if edit.get("text"):
        return content_of(edit["text"], None, writing)
    return content_of(stage.text, stage.html, writing, rewrite)


def _name_of(prospect: Document) -> str:
    return " ".join(part for part in (prospect.get("first_name"), prospect.get("last_name")) if part)


def _keys_of(
    mailbox: MailboxView | None, signing: Mapping[tuple[UUID, str], SigningView]
) -> SigningView | None:
    if mailbox is None or mailbox.signing_domain is None:
        return None
    return signing.get((mailbox.workspace_id, mailbox.signing_domain))


def _of_workspace(mailbox: MailboxView | None, claim: Claim) -> MailboxView | None:
    return mailbox if mailbox is not None and mailbox.workspace_id == claim.due.workspace_id else None


def _fields(action: str, claim: Claim, **more: object) -> dict[str, object]:
    return fields(action, dispatch_id=claim.due.dispatch_id, attempt=claim.due.attempt, **more)
