"""The SMS channel: steps 3 to 6 for one text message, from the template to what the provider said."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis import faults, tracing
from chassis.documents import MailboxView, SmsNumberView, WorkspaceLimits, WorkspaceView
from chassis.errors import Retry
from chassis.numbers import choose_number
from chassis.secrets import Secrets, plain_phone
from chassis.sms_text import Number, NumberError, awake, cost, parse_number, zones_of
from chassis.telemetry import fields
from chassis.templates import TemplateError, compile_template
from chassis.tokens import token_values
from chassis.zones import ZONE_NAMES
from sender import model
from sender.email import MISSING_SECONDS, Misconfigured, Unrenderable, limited_of, stage_facts
from sender.model import Claim
from sender.reading import Plan, Read
from sender.settings import SenderSettings
from sender.slots import Limited, Slots, Spends
from sender.sms_provider import PROVIDERS, Http, Said, SmsAnswer, Text
from sender.steps import Carried, Steps
from sender.store import Draft
from sender.transmission import Journal, Moves, Transmission

log = logging.getLogger(__name__)

AT_ONCE: Final = 10
"""Requests at a time for one number: a slow provider holds up no other. Twilio queues what is too fast."""
ROUNDS: Final = 16
"""More zones than one number can be in."""


class Texts(Moves, Spends, Protocol):
    """What the channel needs of the store."""

    async def mailboxes(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, MailboxView]: ...
    async def workspaces(self, ids: Iterable[UUID]) -> dict[UUID, WorkspaceView]: ...
    async def sms_numbers(self, workspaces: Iterable[UUID]) -> dict[UUID, list[SmsNumberView]]: ...
    async def numbers_used(
        self, workspaces: Iterable[UUID], enrollments: Iterable[UUID]
    ) -> dict[UUID, UUID]: ...
    async def body(self, claim: Claim) -> bytes | None: ...


class Asleep(Exception):
    """It is night where the person is; `until` is when it is not."""

    def __init__(self, until: datetime) -> None:
        super().__init__("quiet hours")
        self.until = until


@dataclass(frozen=True, slots=True)
class Ready:
    """A text message as it travels, and what its journal keeps of it."""

    text: Text
    draft: Draft
    limited: Limited


@dataclass(frozen=True, slots=True)
class _Material:
    mailbox: MailboxView | None
    workspace: WorkspaceView | None
    numbers: Sequence[SmsNumberView]
    used: UUID | None


class Sms:
    """One for the process."""

    def __init__(
        self, store: Texts, http: Http, steps: Steps, secrets: Secrets, settings: SenderSettings
    ) -> None:
        self._store = store
        self._http = http
        self._steps = steps
        self._secrets = secrets
        self._settings = settings
        self._journal = Journal(store, steps.clock)
        self._slots = Slots(store, steps.clock)
        self._rooms: defaultdict[UUID, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._tasks: set[asyncio.Task[None]] = set()

    async def carry(self, items: Sequence[tuple[Carried, Read]]) -> None:
        """Step 3 for claims whose reads say go; steps 4 to 7 follow, each in a task of its own."""
        materials = await self._materials([read for _, read in items])
        for (carried, read), material in zip(items, materials, strict=True):
            with carried:
                ready = await self._ready_or_settled(carried, read, material)
                if ready is not None and not carried.over:
                    self._start(carried, read, ready)

    async def close(self) -> None:
        """End what is left: whoever stops has settled it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    # ---- 3. render ----

    async def _ready_or_settled(self, carried: Carried, read: Read, material: _Material) -> Ready | None:
        claim = carried.claim
        try:
            ready = await self._ready(claim, read, material)
        except Unrenderable as error:
            log.info(
                "not renderable",
                extra=fields("sender.unrenderable", dispatch_id=claim.due.dispatch_id, error=str(error)),
            )
            self._steps.settle(carried, model.rejected(self._now(), error.reason, str(error)))
        except Misconfigured as error:
            self._steps.settle(carried, self._steps.put_off(str(error), MISSING_SECONDS))
        except Asleep as night:
            self._steps.settle(carried, model.deferred(self._now(), night.until, "quiet_hours"))
        else:
            if ready is None:
                carried.lost("body")
            return ready
        return None

    async def _ready(self, claim: Claim, read: Read, material: _Material) -> Ready | None:
        """The message; None if the claim is gone."""
        if material.mailbox is None:
            raise Misconfigured("mailbox_missing")
        journaled = claim.earlier.journaled
        number = chosen_number(read, material.numbers, material.used, keep=journaled)
        if journaled:
            body, recipient = await self._store.body(claim), claim.earlier.recipient
            if body is None or recipient is None:
                return None
            draft, text = Draft(claim, {}), body.decode()
        else:
            draft = self._draft(claim, read, material, number)
            text, recipient = str(draft.facts["text"]), str(draft.facts["recipient"])
        self._check_awake(read, recipient)
        return Ready(
            Text(claim.due.dispatch_id, recipient, text, number),
            draft,
            limited_of(read, claim, material.mailbox, material.workspace, number),
        )

    def _draft(self, claim: Claim, read: Read, material: _Material, number: SmsNumberView) -> Draft:
        assert read.plan is not None, "the channel was found in it"
        assert material.mailbox is not None, "asked before"
        recipient = recipient_of(read)
        index, text = self._write(claim, read, read.plan, material)
        segments = len(cost(text).segments)
        most = (material.workspace.limits if material.workspace else WorkspaceLimits()).sms_segments
        if segments > most:
            raise Unrenderable("too_long", f"the text takes {segments} segments; at most {most} are sent")
        facts = {
            **stage_facts(read, claim, index, read.plan.document.stages[index]),
            "recipient": recipient.e164,
            "text": text,
            "segments": segments,
            "number_id": number.id,
            "number": number.number,
        }
        return Draft(claim, facts, text.encode())

    def _write(self, claim: Claim, read: Read, plan: Plan, material: _Material) -> tuple[int, str]:
        found = plan.stage(claim.due.stage_id)
        assert found is not None, "the channel was found in it"
        assert material.mailbox is not None, "asked before"
        index, stage = found[0], read.worded(found[1])
        mailbox, workspace = material.mailbox, material.workspace
        values = token_values(
            read.person.prospect if read.person else {},
            plan.document.tokens,
            mailbox.display_name,
            mailbox.signature,
            workspace.tokens if workspace else {},
            mailbox.owner_tokens,
        )
        source = read.current.edits.get(stage.id, {}).get("text") or stage.text or ""
        try:
            text = compile_template(source, kind="text").render(values).strip()
        except TemplateError as error:
            raise Unrenderable("template", str(error)) from error
        if not text:
            raise Unrenderable("template", "the text is empty")
        return index, text

    def _check_awake(self, read: Read, recipient: str) -> None:
        prospect = read.person.prospect if read.person else {}
        zone = prospect.get("zone")
        zones = (zone,) if zone in ZONE_NAMES else zones_of(recipient)
        now = self._now()
        until = next_awake(parse_number(recipient).country, zones, now)
        if until > now:
            raise Asleep(until)

    async def _materials(self, reads: Sequence[Read]) -> list[_Material]:
        current = [read.current for read in reads]
        workspaces = {each.workspace_id for each in current}
        mailboxes = await self._store.mailboxes(workspaces, (each.mailbox_id for each in current))
        defaults = await self._store.workspaces(workspaces)
        numbers = await self._store.sms_numbers(workspaces)
        used = await self._store.numbers_used(workspaces, (each.id for each in current))
        return [
            _Material(
                _within(mailboxes.get(each.mailbox_id), each.workspace_id),
                defaults.get(each.workspace_id),
                numbers.get(each.workspace_id, ()),
                used.get(each.id),
            )
            for each in current
        ]

    # ---- 4. to 6. ----

    def _start(self, carried: Carried, read: Read, ready: Ready) -> None:
        task = asyncio.create_task(self._send(carried, read, ready), name="send a text message")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, carried: Carried, read: Read, ready: Ready) -> None:
        room = self._rooms[ready.text.number.id]
        with carried:
            try:
                async with asyncio.timeout(self._settings.room_seconds):
                    await room.acquire()
            except TimeoutError:
                self._steps.settle(carried, self._steps.busy())
                return
            try:
                await self._transmit(carried, read, ready)
            finally:
                room.release()

    async def _transmit(self, carried: Carried, read: Read, ready: Ready) -> None:
        number, claim = ready.text.number, carried.claim
        provider = PROVIDERS[number.provider]
        try:
            secret = self._secrets.decrypt(number.secret)
            request = provider.request(ready.text, secret, self._steps.clock.real_now())
        except ValueError:
            self._steps.settle(carried, self._steps.put_off("number_unusable", MISSING_SECONDS))
            return
        if not await self._may_begin(carried, read, ready):
            return
        due = claim.due
        with tracing.working(
            tracing.begin("sms", parent=claim.traceparent, dispatch_id=due.dispatch_id)
        ) as span:
            answer = await self._http.post(provider, request)
            span.note(answer=answer.said.value)
        carried.answered = True
        if answer.said is Said.ACCEPTED:
            await faults.point("sender.after_250")
        moment = self._steps.moment(claim)
        again = self._again(answer, moment)
        repeatable = provider.is_repeatable(number)
        settlement = model.after_sms(answer, claim.earlier, moment, again, repeatable=repeatable)
        self._steps.settle(carried, settlement.with_facts(ready.draft.told), ready.text.to)

    async def _may_begin(self, carried: Carried, read: Read, ready: Ready) -> bool:
        """Steps 4 and 5; settled, or somebody else's, where not."""
        transmission = Transmission(
            carried,
            read,
            ready.draft,
            ready.text.to,
            ready.limited,
            self._slots,
            self._journal,
            self._steps,
        )
        try:
            if await transmission.before_data():
                return True
            settlement = transmission.settlement
        except Retry:  # the database failed before the request
            settlement = self._steps.put_off("database", self._settings.busy_seconds)
        if settlement is None:
            carried.lost("journal")
        else:
            self._steps.settle(carried, settlement.with_facts(ready.draft.facts), ready.text.to)
        return False

    def _again(self, answer: SmsAnswer, moment: model.Moment) -> datetime:
        if answer.retry_after is None:
            return moment.after_soft
        return self._steps.clock.in_real(answer.retry_after)

    def _now(self) -> datetime:
        return self._steps.clock.now()


def _within(mailbox: MailboxView | None, workspace: UUID) -> MailboxView | None:
    return mailbox if mailbox is not None and mailbox.workspace_id == workspace else None


def chosen_number(
    read: Read, numbers: Sequence[SmsNumberView], used: UUID | None, *, keep: bool
) -> SmsNumberView:
    """The number that this enrollment's texts go out from.

    `keep`: no other than the one before will do, because the provider may have the message already.
    """
    number = choose_number(read.current.person_id, read.current.owner_id, numbers, used)
    if number is None or (keep and number.id != used):
        raise Misconfigured("number_missing")
    return number


def recipient_of(read: Read) -> Number:
    """The person's phone; it must be written so that an answer from it finds the person."""
    phone = (read.person.prospect if read.person else {}).get("phone")
    if not phone:
        raise Unrenderable("no_phone", "the person has no phone number")
    try:
        number = parse_number(plain_phone(phone))
    except NumberError as error:
        raise Unrenderable("no_phone", str(error)) from None
    if number.e164 != plain_phone(phone):
        raise Unrenderable("no_phone", "the number is not written as its country writes it abroad")
    if not number.may_get_sms:
        raise Unrenderable("no_phone", "numbers of this kind get no text messages")
    return number


def next_awake(country: str, zones: Sequence[str], now: datetime) -> datetime:
    """The next instant at which the country may be texted in each of the zones; `now` if it may.

    Where no hour suits all of them, the first one counts.
    """
    rule, at = awake(country), now
    for _ in range(ROUNDS):
        later = max(rule.next_open(at, ZoneInfo(zone)) for zone in zones)
        if later == at:
            return at
        at = later
    return rule.next_open(now, ZoneInfo(zones[0]))
