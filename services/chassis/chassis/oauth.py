"""Logins to mailboxes by OAuth 2.0: access tokens, renewed before they end, shared by all that log in."""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, Protocol
from uuid import UUID

import aiohttp

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import OAuthGrant
from chassis.errors import Duplicate
from chassis.hosts import Guard, bounded_body
from chassis.retry import retrying
from chassis.secrets import Secrets
from chassis.store import Database, Document
from chassis.telemetry import counter, fields

log = logging.getLogger(__name__)

SKEW: Final = timedelta(minutes=5)
"""So long before its end a token is renewed."""
LAST_USE: Final = timedelta(seconds=30)
"""So long before its end a token may still be used where none can be had."""
YOUNG: Final = timedelta(seconds=60)
"""A token that is refused so soon after it was made is not the reason."""
ASK_SECONDS: Final = 20.0
CLOSE_SECONDS: Final = 5.0
LEASE_SECONDS: Final = 120
"""Longer than asking and storing take, so that nobody else asks meanwhile."""
STORE_TRIES: Final = 8
WAIT_SECONDS: Final = 25.0
LOOK_SECONDS: Final = 0.2
AGAIN_SECONDS: Final = 30.0
"""After a token endpoint failed, unless it says when to come again."""
MISCONFIGURED_SECONDS: Final = 300.0
MAX_RETRY_AFTER_SECONDS: Final = 3600.0
MAX_ANSWER_BYTES: Final = 64 * 1024
DEFAULT_LIFE_SECONDS: Final = 3600.0
MAX_LIFE_SECONDS: Final = 366 * 86400.0
ACCESS_LOST: Final = "access was taken back: connect the mailbox again"

_TOKEN = re.compile(r"[\x21-\x7E]{1,16384}")

RENEWALS = counter("segue_oauth_renewals", "What token endpoints said to refresh tokens", ["answer"])


class NoAccess(Exception):
    """There is no token now; there may be one later. The text is for people and quotes no secret."""


class AccessLost(Exception):
    """There will be none until somebody connects the mailbox again."""

    def __init__(self) -> None:
        super().__init__(ACCESS_LOST)


class AccessTokens(Protocol):
    """Where the tokens of one mailbox come from; equal for the same access to the same mailbox."""

    async def token(self, *, refused: str = "") -> str:
        """One that works for now; `refused`: one that did not, and is not given again if a newer can be had.

        Raises AccessLost, NoAccess.
        """


# ---- what is said to mail servers ---------------------------------------------------------------------


def xoauth2(username: str, token: str) -> str:
    """https://developers.google.com/workspace/gmail/imap/xoauth2-protocol; before base64."""
    return f"user={username}\1auth=Bearer {token}\1\1"


def oauthbearer(username: str, host: str, port: int, token: str) -> str:
    """RFC 7628 3.1, before base64."""
    authorized = username.replace("=", "=3D").replace(",", "=2C")  # a saslname, RFC 5801 4
    return f"n,a={authorized},\1host={host}\1port={port}\1auth=Bearer {token}\1\1"


# ---- what is said to token endpoints, and what they answer --------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    """An access token; `refresh_token` is the one to use next, if it is a new one."""

    access_token: str
    seconds: float
    refresh_token: str | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """No token. `lost`: the grant is no longer good; else it may be asked for again after `seconds`."""

    error: str
    seconds: float = AGAIN_SECONDS
    lost: bool = False


_OURS: Final = frozenset(
    {"invalid_client", "unauthorized_client", "invalid_request", "unsupported_grant_type", "invalid_scope"}
)


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Granted | Denied:
    """What an answer to a refresh means (RFC 6749 5.1, 5.2, 6); pure."""
    told = _json(body)
    if status == HTTPStatus.OK:
        return _granted(told)
    error = str(told.get("error", ""))[:100]
    if error == "invalid_grant" and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Denied(error, lost=True)
    if error in _OURS:
        return Denied(error, MISCONFIGURED_SECONDS)
    return Denied(error or f"http_{status}", _retry_after(headers))


def _granted(told: Mapping[str, Any]) -> Granted | Denied:
    token, kind = told.get("access_token"), str(told.get("token_type", "")).lower()
    if kind != "bearer" or not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return Denied("unusable_answer")
    seconds, rotated = told.get("expires_in"), told.get("refresh_token")
    try:
        life = float(seconds) if seconds is not None else DEFAULT_LIFE_SECONDS
    except (TypeError, ValueError):
        life = DEFAULT_LIFE_SECONDS
    life = life if 0 < life < MAX_LIFE_SECONDS else DEFAULT_LIFE_SECONDS
    return Granted(token, life, rotated if isinstance(rotated, str) and rotated else None)


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    seconds = float(text) if text.isascii() and text.isdigit() else AGAIN_SECONDS
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_SECONDS)


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


# ---- what is kept -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Access:
    """Whose access: the mailbox, and what its user gave us; hashable."""

    workspace_id: UUID
    mailbox_id: UUID
    grant: OAuthGrant


@dataclass(frozen=True, slots=True)
class Kept:
    """A mailbox's tokens as all processes know them; the tokens are encrypted, instants are real.

    `version`: how often a token was stored since the grant. `refresh_token`: the one to use next.
    """

    version: int
    refresh_token: str
    access_token: str | None = None
    made_at: datetime | None = None
    expires_at: datetime | None = None
    again_at: datetime | None = None
    error: str | None = None
    lost: bool = False


class TokenStore:
    """`mailbox_tokens`, one document for each mailbox that logs in by OAuth.

    Written by every process that logs in, the sender and the mailbox watcher, and only by this module: a
    provider that rotates refresh tokens ends the whole grant if one is used twice (RFC 9700 4.14.2), so who
    asks holds a lease, and what is stored names the version that it follows. A rotation is lost only if its
    answer is, on the way or with the process that was about to store it.
    """

    def __init__(self, database: Database) -> None:
        self._tokens = database.collection(names.MAILBOX_TOKENS)

    async def read(self, access: Access) -> Kept:
        """What is kept of this grant; what is kept of an earlier one counts for nothing."""
        doc = await self._tokens.find_one({**_own(access), "granted_at": access.grant.granted_at})
        if doc is None:
            return Kept(0, access.grant.refresh_token)
        return Kept(**{name: doc[name] for name in Kept.__slots__ if name in doc})

    async def claim(self, access: Access, kept: Kept) -> bool:
        """Whether we may ask, for LEASE_SECONDS."""
        if kept.version == 0:
            await self._begin(access)
        free = {"$or": [{"leased_until": None}, {"$expr": {"$lt": ["$leased_until", "$$NOW"]}}]}
        lease = [{"$set": {"leased_until": {"$add": ["$$NOW", LEASE_SECONDS * 1000]}}}]
        return await self._tokens.update_one({**_at(access, kept), **free}, lease)

    async def keep(self, access: Access, before: Kept, after: Kept) -> bool:
        """Store what follows `before`, and end the lease; False if somebody else did so first."""
        values = {name: getattr(after, name) for name in Kept.__slots__}
        return await self._tokens.update_one(
            _at(access, before), {"$set": values, "$unset": {"leased_until": ""}}
        )

    async def _begin(self, access: Access) -> None:
        grant = access.grant
        fresh: Document = {
            "granted_at": grant.granted_at,
            "version": 0,
            "refresh_token": grant.refresh_token,
            "leased_until": None,
            **dict.fromkeys(("access_token", "made_at", "expires_at", "again_at", "error")),
            "lost": False,
        }
        # An older grant gives way; a newer one does not, and then this is a second document: refused.
        older = {**_own(access), "granted_at": {"$lt": grant.granted_at}}
        try:
            await self._tokens.update_one(older, {"$set": fresh}, upsert=True)
        except Duplicate:
            return


def _own(access: Access) -> Document:
    return {"_id": access.mailbox_id, "workspace_id": access.workspace_id}


def _at(access: Access, kept: Kept) -> Document:
    return {**_own(access), "granted_at": access.grant.granted_at, "version": kept.version}


# ---- who asks -----------------------------------------------------------------------------------------


class Tokens:
    """The tokens of all mailboxes, one for the process; for each mailbox one process asks at a time."""

    def __init__(self, store: TokenStore, secrets: Secrets, guard: Guard, clock: Clock) -> None:
        self._store = store
        self._secrets = secrets
        self._guard = guard
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._known: dict[UUID, tuple[Access, Kept]] = {}
        self._renewals: dict[tuple[Access, str], asyncio.Task[str]] = {}

    def of(self, access: Access) -> "MailboxTokens":
        """Those of one mailbox."""
        return MailboxTokens(self, access)

    async def token(self, access: Access, refused: str) -> str:
        """As AccessTokens. Raises Retry when MongoDB fails."""
        known, kept = self._known.get(access.mailbox_id, (None, None))
        if known == access and kept is not None and self._is_fresh(kept):
            token = self._secrets.decrypt(kept.access_token or "")
            if token != refused:
                return token
        wanted = access, refused
        renewal = self._renewals.get(wanted)
        if renewal is None:
            # A task of its own: a caller that gives up must not take a rotated token with it.
            renewal = asyncio.create_task(self._renew(access, refused), name="oauth")
            self._renewals[wanted] = renewal
            renewal.add_done_callback(lambda _: self._renewals.pop(wanted, None))
        return await asyncio.shield(renewal)

    async def close(self) -> None:
        """Let what was asked be stored, and let go of the connections."""
        if self._renewals:
            await asyncio.wait(list(self._renewals.values()), timeout=CLOSE_SECONDS)
        if self._session is not None:
            await self._session.close()

    async def _renew(self, access: Access, refused: str) -> str:
        until = self._clock.monotonic() + WAIT_SECONDS
        while True:
            kept = await self._store.read(access)
            token = self._usable(kept, refused)
            if token is not None:
                self._known[access.mailbox_id] = access, kept
                return token
            if await self._store.claim(access, kept):
                return await self._ask(access, kept)
            if self._clock.monotonic() >= until:
                raise NoAccess("the access token is being renewed")
            await self._clock.sleep_real(LOOK_SECONDS)

    def _usable(self, kept: Kept, refused: str) -> str | None:
        """The token that is kept, if it will do; None: ask."""
        if kept.lost:
            raise AccessLost
        now = self._clock.real_now()
        token = self._secrets.decrypt(kept.access_token) if kept.access_token else None
        if token is not None and self._is_fresh(kept):
            is_young = kept.made_at is not None and now < kept.made_at + YOUNG
            if token != refused or is_young:
                return token
        if kept.again_at is None or kept.again_at <= now:
            return None
        if token is not None and token != refused and kept.expires_at and now < kept.expires_at - LAST_USE:
            return token
        raise NoAccess(f"the token endpoint gives no access token: {kept.error}")

    def _is_fresh(self, kept: Kept) -> bool:
        if kept.made_at is None or kept.expires_at is None:
            return False
        skew = min(SKEW, (kept.expires_at - kept.made_at) / 10)
        return self._clock.real_now() < kept.expires_at - skew

    async def _ask(self, access: Access, kept: Kept) -> str:
        answer = await self._answer(access, kept)
        after = self._after(kept, answer)
        error = answer.error if isinstance(answer, Denied) else "none"
        RENEWALS.labels(_label(answer)).inc()
        told = fields("oauth.renewed", mailbox_id=access.mailbox_id, error=error)
        log.log(
            logging.WARNING if isinstance(answer, Denied) else logging.INFO, "token asked for", extra=told
        )
        if not await retrying(lambda: self._store.keep(access, kept, after), tries=STORE_TRIES):
            log.warning(
                "another process was faster", extra=fields("oauth.overtaken", mailbox_id=access.mailbox_id)
            )
        if isinstance(answer, Granted):
            self._known[access.mailbox_id] = access, after
            return answer.access_token
        if answer.lost:
            raise AccessLost
        raise NoAccess(f"the token endpoint gives no access token: {answer.error}")

    def _after(self, kept: Kept, answer: Granted | Denied) -> Kept:
        now = self._clock.real_now()
        if isinstance(answer, Denied):
            again_at = now + timedelta(seconds=answer.seconds)
            return replace(
                kept, version=kept.version + 1, again_at=again_at, error=answer.error, lost=answer.lost
            )
        rotated = answer.refresh_token
        return Kept(
            kept.version + 1,
            self._secrets.encrypt(rotated) if rotated else kept.refresh_token,
            self._secrets.encrypt(answer.access_token),
            now,
            now + timedelta(seconds=answer.seconds),
        )

    async def _answer(self, access: Access, kept: Kept) -> Granted | Denied:
        try:
            form = self._form(access.grant, kept)
        except ValueError:
            return Denied("unreadable_secret", MISCONFIGURED_SECONDS)
        try:
            async with self._open().post(
                access.grant.token_endpoint,
                data=form,
                headers={"Accept": "application/json"},
                allow_redirects=False,
            ) as response:
                body = await bounded_body(response, MAX_ANSWER_BYTES)
                return judge(response.status, response.headers, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Denied(type(error).__name__)

    def _form(self, grant: OAuthGrant, kept: Kept) -> dict[str, str]:
        """RFC 6749 6; the client's secret in the body, as Google and Microsoft document it (2.3.1)."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._secrets.decrypt(kept.refresh_token),
            "client_id": grant.client_id,
        }
        if grant.client_secret is not None:
            form["client_secret"] = self._secrets.decrypt(grant.client_secret)
        if grant.scopes:
            form["scope"] = " ".join(grant.scopes)
        return form

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = self._guard.session(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS))
        return self._session


def _label(answer: Granted | Denied) -> str:
    if isinstance(answer, Granted):
        return "granted"
    return "lost" if answer.lost else "denied"


@dataclass(frozen=True, slots=True)
class MailboxTokens:
    """AccessTokens of one mailbox, over what the process knows of all."""

    tokens: Tokens
    access: Access

    async def token(self, *, refused: str = "") -> str:
        """As AccessTokens; raises Retry when MongoDB fails."""
        return await self.tokens.token(self.access, refused)
