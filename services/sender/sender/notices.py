"""Hands a prompt over: as a mail from the installation's own mailbox, or to a workspace's webhook, signed."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import aiohttp

from chassis import faults
from chassis.clock import Clock
from chassis.documents import Document
from chassis.hosts import Guard
from chassis.secrets import Secrets
from chassis.standard_webhooks import signed
from sender import model
from sender.compose import Address, ComposeError, Mail, compose, message_id, wire_address
from sender.prompt_store import PromptStore, Told
from sender.settings import SenderSettings
from sender.smtp import Accepted, Broken, Envelope, Fault, Outcome, Rejected, Target
from sender.smtp_pool import Busy, Pool

MOST_TRIES: Final = 20
HOOK_SECONDS: Final = 15.0
MOST_DOUBTS: Final = 3
"""Each may have reached the user; then it is enough."""
AUTOMATIC: Final = b"Auto-Submitted: auto-generated\r\n"  # RFC 3834 5: no vacation notice answers it


class Post(StrEnum):
    """What became of one try to tell something."""

    SENT = "sent"
    LATER = "later"
    IN_DOUBT = "in_doubt"
    REFUSED = "refused"


@dataclass(slots=True, eq=False)
class _Letter:
    """One prompt for the SMTP pool; `over` says what became of it."""

    target: Target
    envelope: Envelope
    prompt: Document
    notices: "Notices"
    store: PromptStore
    over: "asyncio.Future[Post]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def before_data(self) -> bool:
        """The journal: from here on nobody knows, until the server has said so."""
        mine = await self.store.move(self.prompt, Told.TRANSMITTING, self.notices.deadline())
        await faults.point("sender.prompt_journaled")
        return mine

    async def ended(self, result: Outcome | Busy | Exception) -> None:
        if not self.over.done():
            self.over.set_result(_posted(result))


class Notices:
    """One for the process. Without a notification mailbox no mail is sent."""

    def __init__(
        self, settings: SenderSettings, pool: Pool, guard: Guard, secrets: Secrets, clock: Clock
    ) -> None:
        """`pool`: of its own, because the operator names that mailbox's server, and a user the others."""
        self._settings = settings
        self._pool = pool
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None
        self._secrets = secrets
        self._clock = clock
        self._message_key = secrets.keyed("message-id")
        self.lease_seconds = settings.claim_lease_seconds

    @property
    def mails(self) -> bool:
        """Whether there is a mailbox to send them from."""
        return self._settings.notify_smtp_host is not None

    def deadline(self) -> datetime:
        """The real instant at which a transmission that is silent counts as in doubt."""
        seconds = self._settings.smtp_total_seconds + self._settings.doubt_margin_seconds
        return self._clock.real_now() + timedelta(seconds=seconds)

    def again_seconds(self, prompt: Document) -> float | None:
        """Real seconds until the next try; None: that was the last one."""
        if prompt["tries"] >= MOST_TRIES or prompt["doubts"] >= MOST_DOUBTS:
            return None
        base, cap = self._settings.backoff_base_seconds, self._settings.backoff_cap_seconds
        return model.backoff_seconds(prompt["tries"], 1.0, base=base, cap=cap)

    async def close(self) -> None:
        """End what is left of connections."""
        await self._pool.close()
        if self._session is not None:
            await self._session.close()

    async def tell(self, prompt: Document, store: PromptStore) -> Post:
        """One try; raises Retry where the database is away."""
        if prompt["doubts"] >= MOST_DOUBTS:
            return Post.REFUSED
        if prompt["way"] == "mail":
            return await self._mail(prompt, store)
        return await self._call(prompt, store)

    async def _mail(self, prompt: Document, store: PromptStore) -> Post:
        """The same bytes and Message-ID at each try: a second copy is known as one."""
        settings = self._settings
        if settings.notify_smtp_host is None or settings.notify_from is None:
            return Post.LATER
        domain = settings.notify_from.rpartition("@")[2]
        try:
            mail = Mail(
                sender=Address(settings.notify_from, "Segue"),
                to=Address(prompt["email"], prompt["name"]),
                subject=prompt["subject"],
                text=prompt["text"],
                date=prompt["at"],
                message_id=message_id(self._message_key, prompt["_id"], domain),
            )
            recipient, data = wire_address(prompt["email"]), AUTOMATIC + compose(mail)
        except ComposeError:
            return Post.REFUSED
        envelope = Envelope(settings.notify_from, recipient, data)
        letter = _Letter(self._target(settings.notify_smtp_host), envelope, prompt, self, store)
        self._pool.post(letter)
        return await letter.over

    def _target(self, host: str) -> Target:
        settings = self._settings
        return Target(
            host,
            settings.notify_smtp_port,
            settings.notify_smtp_security,
            settings.notify_smtp_username,
            settings.notify_smtp_password.get_secret_value(),
        )

    async def _call(self, prompt: Document, store: PromptStore) -> Post:
        """`webhook-id` is the same at each try: by it the receiver knows a repetition."""
        hook = (await store.hooks([prompt["workspace_id"]])).get(prompt["workspace_id"])
        if hook is None:
            return Post.REFUSED
        body = prompt["body"].encode()
        headers = signed(self._secrets.decrypt(hook.secret), prompt["_id"], self._clock.real_now(), body)
        headers["Content-Type"] = "application/json"
        try:
            async with self._open().post(hook.url, data=body, headers=headers) as answer:
                return _answered(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Post.LATER

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=HOOK_SECONDS)
            self._session = self._guard.session(timeout=timeout)
        return self._session


def _answered(status: int) -> Post:
    """410: its owner wants no more of this one (as Standard Webhooks says)."""
    if 200 <= status < 300:
        return Post.SENT
    return Post.REFUSED if status == 410 else Post.LATER


def _posted(result: Outcome | Busy | Exception) -> Post:
    match result:
        case Accepted():
            return Post.SENT
        case Broken() if result.maybe_accepted:
            return Post.IN_DOUBT
        case Rejected(kind=Fault.RECIPIENT):
            return Post.REFUSED
    return Post.LATER
