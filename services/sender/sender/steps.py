"""Steps 6 and 7, record and publish, and the read kept fresh: what every channel shares."""

import asyncio
import logging
import secrets as randomness
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import UUID, uuid5

from chassis import faults, tracing
from chassis.clock import Clock
from chassis.documents import WorkspaceView
from chassis.errors import Retry
from chassis.kafka import Record
from chassis.rates import BY_SENDER
from chassis.retry import retrying
from chassis.secrets import Secrets
from chassis.telemetry import fields
from chassis.together import Together
from segue_contracts.commands import Hold, HoldScope
from segue_contracts.events import OPTED_OUT
from segue_contracts.message import Message
from sender import metrics, model
from sender.mailbox_health import HOLD_HOURS
from sender.model import Claim, Document, Move, Settlement, State
from sender.reading import Look, Read, Reader
from sender.settings import SenderSettings

log = logging.getLogger(__name__)
T = TypeVar("T")

PUBLISH_TRIES = 4
RETRY_CAP_SECONDS = 1.0
TELL_TOGETHER_SECONDS = 0.03
"""Nobody waits for an outcome that soon, and Kafka, sender and scheduler all do better with many at once."""


class Publishes(Protocol):
    """What this module needs of the publisher."""

    async def publish(self, records: Sequence[Record]) -> None: ...


class Records(Protocol):
    """What this module needs of the store."""

    async def settle(self, settled: Sequence[tuple[Claim, Settlement]]) -> list[bool]: ...
    async def enrollment_states(self, claims: Sequence[Claim]) -> list[str]: ...
    async def suppress(self, suppressions: Sequence[Document]) -> None: ...
    async def workspaces(self, ids: Iterable[UUID]) -> dict[UUID, WorkspaceView]: ...
    async def change(
        self, workspace: UUID, dispatch_id: str, move: Move, fields: Document
    ) -> Document | None: ...


@dataclass(slots=True, eq=False)
class Carried:
    """One claim on its way through the steps; what a shutdown has to know about it.

    `job` is done when nothing is left to do: recorded and told, or somebody else's. It may be cancelled; then
    whoever carries it may not begin DATA. `data_began`: the server may have it. `answered`: it has said what
    became of it, which is to be recorded. What is raised within `with carried:` ends this job and no other.
    """

    claim: Claim
    job: asyncio.Future[bool]
    data_began: bool = False
    answered: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done for it here."""
        return self.job.done()

    @property
    def must_finish(self) -> bool:
        """Not to be interrupted while there is time."""
        return self.data_began or self.answered

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.failed(error)
        return True

    def lost(self, step: str) -> None:
        """A guarded write found that the claim is somebody else's by now."""
        if not self.job.done():
            metrics.NO_MATCH.labels(step).inc()
            self.job.set_result(False)

    def failed(self, error: BaseException) -> None:
        """Its steps raised."""
        if not self.job.done():
            self.job.set_exception(error)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a claim ends here; `recipient`: whom to suppress, if the settlement says so."""

    claim: Claim
    settlement: Settlement
    recipient: str | None = None

    @property
    def delivery(self) -> Document:
        """The settled delivery as far as its outcome goes."""
        due = self.claim.due
        return {
            "_id": due.dispatch_id,
            "workspace_id": due.workspace_id,
            "enrollment_id": due.enrollment_id,
            "stage_id": due.stage_id,
            "attempt": due.attempt,
            tracing.FIELD: self.claim.traceparent,
            "recipient": self.recipient,
            **self.settlement.document,
        }


class Steps:
    """One for the process."""

    def __init__(
        self,
        store: Records,
        publisher: Publishes,
        reader: Reader,
        clock: Clock,
        secrets: Secrets,
        settings: SenderSettings,
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._secrets = secrets
        self._settings = settings
        self._jitter = jitter
        self._end: Together[Ending, bool] = Together(self._record_all, then=self._tell_all)
        self._look_again: Together[Sequence[Claim], None] = Together(self._count_crossed_stops)
        self._send: Together[list[Record], None] = Together(
            self._publish_all, linger_seconds=TELL_TOGETHER_SECONDS
        )
        self.reader = reader
        self.clock = clock

    # ---- the read ----

    def is_fresh(self, read: Read) -> bool:
        """Whether DATA may begin on this read."""
        return self.reader.age(read) < self._settings.read_age_seconds

    async def fresh(self, claim: Claim, read: Read, recipient: str | None) -> Read:
        """The read if it is young enough, else a new one, which may say otherwise."""
        return read if self.is_fresh(read) else await self.reader.again(Look(claim, recipient))

    # ---- 6. record, 7. publish ----

    def settle(self, carried: Carried, settlement: Settlement, recipient: str | None = None) -> None:
        """Record and publish, in the next batch; the job is done then."""
        self._end.join(Ending(carried.claim, settlement, recipient), carried.job)

    def end(self, claim: Claim, settlement: Settlement) -> "asyncio.Future[bool]":
        """Record and publish; False if the delivery is somebody else's by now, which is counted."""
        return self._end.join(Ending(claim, settlement))

    async def _record_all(self, endings: Sequence[Ending]) -> list[bool]:
        """Goes on trying while MongoDB is away."""
        recorded = await self.persist(
            lambda: self._store.settle([(ending.claim, ending.settlement) for ending in endings])
        )
        for ending, ok in zip(endings, recorded, strict=True):
            if not ok:
                metrics.NO_MATCH.labels(ending.settlement.move.value).inc()
            elif ending.settlement.move is Move.DOUBT:
                metrics.IN_DOUBT.labels(ending.settlement.fields["reason"]).inc()
        return recorded

    async def _tell_all(self, endings: Sequence[Ending], recorded: Sequence[bool]) -> Sequence[bool]:
        """An outcome that can't be published is left to the scheduler, who asks again."""
        mine = [ending for ending, ok in zip(endings, recorded, strict=True) if ok]
        for ending in mine:
            released = ending.settlement.move is Move.RELEASE
            await faults.point("sender.after_release" if released else "sender.after_record")
        await self.tell([ending.delivery for ending in mine])
        if sent := [ending.claim for ending in mine if ending.settlement.move is Move.RECORD_SENT]:
            await self._look_again(sent)
        return recorded

    async def persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await `work()` again while it raises Retry, for as long as the settings say."""
        tries = max(2, int(self._settings.record_seconds / RETRY_CAP_SECONDS))
        return await retrying(work, tries=tries, cap_seconds=RETRY_CAP_SECONDS)

    async def tell(self, deliveries: Sequence[Document]) -> None:
        """Publish the outcomes that these settled deliveries' documents tell; in doubt, policy may resend."""
        told = [
            await self._after_policy(delivery) if delivery["state"] == State.IN_DOUBT else delivery
            for delivery in deliveries
        ]
        for delivery in told:
            if delivery["state"] == State.REJECTED:
                metrics.BOUNCED.inc(bool(delivery.get("bounced")))
                await self._suppress_if_refused(delivery)
        now = self._clock.real_now()
        outcomes = [model.outcome_of(delivery, now) for delivery in told]
        for (kind, reason), count in Counter((each.event_type, each.reason) for each in outcomes).items():
            metrics.OUTCOMES.labels(kind, reason).inc(count)
        traces = [delivery.get(tracing.FIELD) for delivery in told]
        await self.publish([Record.of(*each) for each in zip(outcomes, traces, strict=True)])

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        """Publish; a failure is logged and left to whoever asks again."""
        if not messages:
            return
        try:
            await self.insist(messages)
        except Retry as error:
            log.warning(
                "outcome not published, it will be asked for again",
                extra=fields("sender.unpublished", messages=len(messages), error=str(error)[:200]),
            )

    async def insist(self, messages: Sequence[Message | Record]) -> None:
        """Publish what nobody asks for again; raises Retry."""
        records = [each if isinstance(each, Record) else Record.of(each) for each in messages]
        await retrying(lambda: self._send(records), tries=PUBLISH_TRIES)

    async def _publish_all(self, lists: Sequence[list[Record]]) -> list[None]:
        await self._publisher.publish([record for each in lists for record in each])
        return [None] * len(lists)

    # ---- in doubt ----

    async def _after_policy(self, delivery: Document) -> Document:
        """The delivery, sent again if it is in doubt and its workspace wants that."""
        if delivery.get("decision"):
            return delivery
        found = await self.persist(lambda: self._store.workspaces([delivery["workspace_id"]]))
        workspace = found.get(delivery["workspace_id"])
        if workspace is None or workspace.in_doubt_policy != "resend":
            return delivery
        again = await self._resend(delivery["workspace_id"], delivery["_id"])
        if again is not None:
            metrics.RESOLVED.labels("policy").inc()
        return again or delivery

    async def _resend(self, workspace: UUID, dispatch_id: str) -> Document | None:
        """in doubt → deferred to now: a new attempt, hence a new read; the same bytes. None: not in doubt."""
        now = self._clock.now()
        changed: Document = {
            "state": State.DEFERRED.value,
            "token": f"resend:{randomness.token_hex(16)}",
            "settled_at": now,
            "until": now,
            "reason": "resend_policy",
            "code": "",
        }
        return await self._store.change(workspace, dispatch_id, Move.RESEND, changed)

    # ---- what else an outcome brings ----

    async def _suppress_if_refused(self, delivery: Document) -> None:
        """Never write again to an address that bounced, or to a phone that opted out; done with each telling:
        a crash may have come before it.
        """
        recipient, opted_out = delivery.get("recipient"), delivery.get("reason") == OPTED_OUT
        if recipient and (opted_out or delivery.get("bounced")):
            await self.suppress(
                delivery["workspace_id"], recipient, "unsubscribed" if opted_out else "bounced"
            )

    async def suppress(self, workspace: UUID, recipient: str, reason: str) -> None:
        """Never write to this address, or this phone, again."""
        kind = "address" if "@" in recipient else "phone"
        suppression = {
            "_id": self._secrets.suppression_id(workspace, kind, recipient),
            "workspace_id": workspace,
            "kind": kind,
            "reason": reason,
            "by": "sender",
            "at": self._clock.now(),
        }
        await self.persist(lambda: self._store.suppress([suppression]))

    async def hold_mailbox(self, workspace: UUID, mailbox_id: UUID, reason: str) -> None:
        """Ask the scheduler to hold a mailbox that its server refuses: our fault, not the prospect's."""
        now = self._clock.now()
        metrics.HOLDS.labels(reason).inc()
        hold = Hold(
            # The same wish within an hour has the same id.
            event_id=uuid5(mailbox_id, f"hold/{reason}/{now:%Y-%m-%dT%H}"),
            occurred_at=now,
            recorded_at=self._clock.real_now(),
            workspace_id=workspace,
            issued_by=BY_SENDER,
            scope=HoldScope.MAILBOX,
            scope_id=mailbox_id,
            until=now + timedelta(hours=HOLD_HOURS),
            reason=reason,
            extends=True,
        )
        await self.publish([hold])

    async def _count_crossed_stops(self, groups: Sequence[Sequence[Claim]]) -> list[None]:
        """Count stops that were committed between the last read and the record: what no design closes."""
        claims = [claim for group in groups for claim in group]
        try:
            states = await self._store.enrollment_states(claims)
        except Retry:
            return [None] * len(groups)  # a count, not worth a second try
        for claim, state in zip(claims, states, strict=True):
            if state == "in_doubt":
                metrics.RESOLVED.labels("late_250").inc()
            if state == "stopped":
                metrics.STOP_CROSSED.inc()
                log.warning(
                    "a stop crossed a transmission",
                    extra=fields("sender.stop_crossed", dispatch_id=claim.due.dispatch_id),
                )
        return [None] * len(groups)

    # ---- deferrals ----

    def busy(self) -> Settlement:
        """No room: again in a minute of real time."""
        return self.put_off("busy", self._settings.busy_seconds)

    def put_off(self, reason: str, seconds: float) -> Settlement:
        """Surely not sent; again after so many real seconds."""
        return model.deferred(self._clock.now(), self._clock.in_real(seconds), reason)

    def moment(self, claim: Claim) -> model.Moment:
        """Now, and when to try again after one more failure."""
        seconds = model.backoff_seconds(
            claim.earlier.failures + 1,
            self._jitter(),
            base=self._settings.backoff_base_seconds,
            cap=self._settings.backoff_cap_seconds,
        )
        return model.Moment(self._clock.now(), self._clock.in_real(seconds))
