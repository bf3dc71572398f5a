"""Sends deliveries to webhooks: each webhook in a lane of its own, so that a slow one delays no other."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid5

import aiohttp

from api import telemetry
from api.outgoing import Tried, live_secrets, next_try
from api.outgoing_store import WebhookDeliveries, Webhooks
from api.settings import ApiSettings
from chassis.clock import Clock
from chassis.hosts import ForbiddenHost, Guard, bounded_body
from chassis.kafka import Record
from chassis.secrets import Secrets
from chassis.service import periodic
from chassis.standard_webhooks import ID_HEADER, SIGNATURE_HEADER, sign, signed
from chassis.store import Document, Workspace
from chassis.telemetry import fields
from segue_contracts.events import WebhookNotification

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Requests to one webhook."""
MOST_ANSWER_BYTES: Final = 16 * 1024
"""Read so that the connection can be used again; nothing of it is kept."""
LEASE_MARGIN: Final = timedelta(seconds=30)
MOST_TOLD: Final = 100
USER_AGENT: Final = "Segue-Webhooks/1"


class Publishes(Protocol):
    """What this module needs of Kafka; returns when all records are acknowledged, else Retry."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Write all records."""


class Outgoing:
    """One for the process; several processes share the work by claiming each delivery."""

    def __init__(
        self,
        settings: ApiSettings,
        clock: Clock,
        webhooks: Webhooks,
        deliveries: WebhookDeliveries,
        secrets: Secrets,
        guard: Guard,
        publisher: Publishes,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._secrets = secrets
        self._guard = guard
        self._publisher = publisher
        self._jitter = jitter
        self._lanes: dict[UUID, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Sweep until `stop`; then let the requests under way end."""
        try:
            await periodic("webhooks", self._settings.webhook_sweep_seconds, self.sweep, self._stopping)
            await self.idle()
        finally:
            if self._session is not None:
                await self._session.close()

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def sweep(self) -> None:
        """Open a lane for every webhook with something due; raises what a lane ended with."""
        ended = [self._lanes.pop(each) for each, lane in list(self._lanes.items()) if lane.done()]
        async for workspace, webhook_id in self._deliveries.waiting(self._clock.real_now()):
            if webhook_id not in self._lanes:
                lane = asyncio.create_task(self._lane(workspace, webhook_id), name=f"webhook {webhook_id}")
                self._lanes[webhook_id] = lane
        for lane in ended:
            lane.result()
        await self._tell()

    async def idle(self) -> None:
        """Returns when no lane is open; raises what one ended with."""
        while self._lanes:
            lanes = list(self._lanes.values())
            self._lanes.clear()
            await asyncio.gather(*lanes)

    # ---- one webhook ----------------------------------------------------------------------------------

    async def _lane(self, workspace: Workspace, webhook_id: UUID) -> None:
        await asyncio.gather(*(self._drain(workspace, webhook_id) for _ in range(AT_ONCE)))

    async def _drain(self, workspace: Workspace, webhook_id: UUID) -> None:
        """One delivery after another, until nothing is due or the webhook says no."""
        while not self._stopping.is_set() and await self._step(workspace, webhook_id):
            pass

    async def _step(self, workspace: Workspace, webhook_id: UUID) -> bool:
        """Whether a delivery was sent. The webhook is read each time: a change of it holds at once."""
        webhook = await self._webhooks.one(workspace, webhook_id)
        if webhook is None or not webhook["enabled"]:
            await self._deliveries.give_up(workspace, webhook_id)
            return False
        now = self._clock.real_now()
        delivery = await self._deliveries.claim(workspace, webhook_id, now, now + self._lease())
        if delivery is None:
            return False
        tried = await self._try(webhook, delivery)
        telemetry.WEBHOOK_TRIES.labels("sent" if tried.is_sent else "failed").inc()
        if tried.is_sent:
            await self._sent(webhook, delivery, tried)
        else:
            await self._failed(webhook, delivery, tried)
        return tried.is_sent

    def _lease(self) -> timedelta:
        return timedelta(seconds=self._settings.webhook_seconds) + LEASE_MARGIN

    async def _sent(self, webhook: Document, delivery: Document, tried: Tried) -> None:
        await self._deliveries.sent(delivery, tried)
        if webhook["failing_since"] is not None:
            await self._webhooks.works(webhook)

    async def _failed(self, webhook: Document, delivery: Document, tried: Tried) -> None:
        again = next_try(delivery["attempts"], tried.at, self._jitter())
        await self._deliveries.failed(delivery, tried, again)
        since: datetime = webhook["failing_since"] or tried.at
        if tried.is_gone:
            await self._disable(webhook, "gone", tried.at)
        elif tried.at - since >= timedelta(days=self._settings.webhook_patience_days):
            await self._disable(webhook, "failing", tried.at)
        if webhook["failing_since"] is None:
            await self._webhooks.fails(webhook, since)

    async def _disable(self, webhook: Document, reason: str, now: datetime) -> None:
        if await self._webhooks.disable(webhook, reason, now):
            log.info(
                "webhook disabled",
                extra=fields("webhooks.disabled", webhook=str(webhook["_id"]), reason=reason),
            )
        await self._deliveries.give_up(webhook["workspace_id"], webhook["_id"])

    # ---- one request ----------------------------------------------------------------------------------

    async def _try(self, webhook: Document, delivery: Document) -> Tried:
        """One POST; whatever goes wrong is an outcome."""
        body = delivery["body"].encode()
        now, began = self._clock.real_now(), time.monotonic()
        status, error = None, None
        try:
            status = await self._post(webhook["url"], self._headers(webhook, delivery, body, now), body)
        except TimeoutError:
            error = f"no answer within {self._settings.webhook_seconds:g} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as raised:
            error = _words(raised)
        return Tried(now, round(time.monotonic() - began, 3), status, error)

    def _headers(self, webhook: Document, delivery: Document, body: bytes, now: datetime) -> dict[str, str]:
        """Signed by every secret that is live: while one is replaced the receiver may know either."""
        keys = [self._secrets.decrypt(each) for each in live_secrets(webhook, now)]
        headers = signed(keys[0], str(delivery["event_id"]), now, body)
        stamp = str(int(now.timestamp()))
        older = [sign(key, headers[ID_HEADER], stamp, body) for key in keys[1:]]
        headers[SIGNATURE_HEADER] = " ".join([headers[SIGNATURE_HEADER], *older])
        return {**headers, "Content-Type": "application/json", "User-Agent": USER_AGENT}

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        async with self._open().post(url, data=body, headers=headers) as answer:
            await bounded_body(answer, MOST_ANSWER_BYTES)
            return answer.status

    def _open(self) -> aiohttp.ClientSession:
        """Without a limit over all hosts: there is one for each webhook."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.webhook_seconds)
            self._session = self._guard.session(timeout=timeout, limit=0)
        return self._session

    # ---- its owner ------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Publish that webhooks were disabled, until the brokers have it."""
        for webhook in await self._webhooks.untold(MOST_TOLD):
            await self._publisher.publish([Record.of(self._notification(webhook))])
            await self._webhooks.told(webhook)

    def _notification(self, webhook: Document) -> WebhookNotification:
        disabled = webhook["disabled"]
        return WebhookNotification(
            event_id=uuid5(webhook["_id"], disabled["at"].isoformat()),
            occurred_at=self._clock.now(),
            recorded_at=disabled["at"],
            workspace_id=webhook["workspace_id"],
            webhook_id=webhook["_id"],
            owner_id=webhook["owner_id"],
            reason=disabled["reason"],
            failing_since=webhook["failing_since"] or disabled["at"],
        )


def _words(error: Exception) -> str:
    """Why there was no answer, for the webhook's owner: nothing that only our network knows."""
    forbidden = (
        error if isinstance(error, ForbiddenHost) else error.__cause__ or getattr(error, "os_error", None)
    )
    if isinstance(forbidden, ForbiddenHost):
        return f"not connected to: {forbidden.reason}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its TLS certificate is not trusted, or TLS failed"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "the connection failed"
    return "the connection broke off"
