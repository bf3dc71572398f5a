"""Turns what the event topics say into deliveries for the webhooks that want to hear it, each stored once."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID

from api import telemetry
from api.keys import Caller, caller_signed_in
from api.outgoing import body_of, delivery_of, is_wanted, may_hear, sequences_of, type_of
from api.outgoing_store import WebhookDeliveries, Webhooks
from chassis.clock import Clock
from chassis.errors import Fatal, Reject, Retry
from chassis.kafka import Received
from chassis.store import Document, Workspace
from chassis.telemetry import fields
from segue_contracts.codec import DecodeError, decode
from segue_contracts.message import Message

log = logging.getLogger(__name__)

GROUP: Final = "segue.api.webhooks"
GATHER_SECONDS: Final = 0.2
REST_SECONDS: Final = 5.0


class Listener:
    """Stores a delivery for every event and webhook that belong together."""

    def __init__(self, clock: Clock, webhooks: Webhooks, deliveries: WebhookDeliveries) -> None:
        self._clock = clock
        self._webhooks = webhooks
        self._deliveries = deliveries

    async def handle(self, batch: Sequence[Received]) -> None:
        """A batch of any of the topics; what was stored before is not stored again."""
        messages = [_decoded(received) for received in batch]
        webhooks = await self._webhooks.enabled({Workspace(each.workspace_id) for each in messages})
        pairs = [(each, hook) for each in messages for hook in webhooks if _fits(each, hook)]
        if not pairs:
            return
        now = self._clock.real_now()
        made = [
            delivery_of(hook, message.event_id, type_of(message), body_of(message), now)
            for message, hook in await self._allowed(pairs)
        ]
        telemetry.WEBHOOK_EVENTS.inc(len(await self._deliveries.add(made)))

    async def _allowed(self, pairs: list[tuple[Message, Document]]) -> list[tuple[Message, Document]]:
        """The pairs whose webhook's owner may hear of the event as things are now."""
        workspaces = {Workspace(hook["workspace_id"]) for _, hook in pairs}
        users = await self._webhooks.users(workspaces, {hook["owner_id"] for _, hook in pairs})
        owners: dict[UUID, Caller] = {user["_id"]: caller_signed_in(user) for user in users}
        concerned = {each for message, _ in pairs for each in sequences_of(message)}
        found = await self._webhooks.sequences(workspaces, concerned)
        sequences = {each["_id"]: each for each in found}
        return [
            (message, hook)
            for message, hook in pairs
            if hook["owner_id"] in owners and may_hear(owners[hook["owner_id"]], message, sequences)
        ]


def _fits(message: Message, webhook: Document) -> bool:
    """Whether it is of its workspace, younger than the webhook, and asked for."""
    return (
        message.workspace_id == webhook["workspace_id"]
        and message.recorded_at >= webhook["since"]
        and is_wanted(type_of(message), webhook["events"])
    )


def _decoded(received: Received) -> Message:
    try:
        message: Message = decode(received.topic, received.headers, received.value)
    except DecodeError as error:
        raise Reject(error.code, error.detail) from error
    return message


# ---- carrying on --------------------------------------------------------------------------------------


class Consumes(Protocol):
    """What this module needs of a consumer."""

    async def run(self) -> None: ...
    async def stop(self) -> None: ...
    def unready(self) -> str | None: ...


class Listening:
    """A consumer that is started anew when it ends: whoever asks over HTTP needs no Kafka for it."""

    def __init__(self, make: Callable[[], Consumes], *, rest_seconds: float = REST_SECONDS) -> None:
        self._make = make
        self._rest_seconds = rest_seconds
        self._consumer: Consumes | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Consume until `stop`."""
        while not self._stopping.is_set():
            self._consumer = self._make()
            try:
                await self._consumer.run()
            except (Retry, Fatal) as error:
                log.warning("no events for webhooks", extra=fields("webhooks.deaf", error=str(error)[:300]))
                await self._rest()

    async def stop(self) -> None:
        """End `run` after the batch that is being handled."""
        self._stopping.set()
        if self._consumer is not None:
            await self._consumer.stop()

    def trouble(self) -> str | None:
        """Why events wait in Kafka; None when they come in."""
        return self._consumer.unready() if self._consumer is not None else "not started"

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rest_seconds):
                await self._stopping.wait()
