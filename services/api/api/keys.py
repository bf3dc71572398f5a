"""API keys: what a client shows, what the database keeps, and who is then calling."""

import binascii
import hashlib
import hmac
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from chassis.store import Document, Workspace

PREFIX = "sgk"
SECRET_BYTES = 32
MAX_KEY_CHARS = 200
USED_EVERY_SECONDS = 60.0


class KeyScope(StrEnum):
    """What a key may do; each one includes those before it."""

    READ = "read"
    TASKS = "tasks"
    WRITE = "write"
    ADMIN = "admin"


_INCLUDES = {
    KeyScope.READ: frozenset({KeyScope.READ}),
    KeyScope.TASKS: frozenset({KeyScope.READ, KeyScope.TASKS}),
    KeyScope.WRITE: frozenset({KeyScope.READ, KeyScope.TASKS, KeyScope.WRITE}),
    KeyScope.ADMIN: frozenset(KeyScope),
}


class Role(StrEnum):
    """What a user may do at most, whatever a key of theirs says."""

    LIMITED = "limited"
    MEMBER = "member"
    ADMIN = "admin"

    @property
    def scope(self) -> KeyScope:
        """The widest scope of a user with this role: limited ones read, and do their own tasks."""
        return _ROLE_SCOPES[self]


_ROLE_SCOPES = {Role.LIMITED: KeyScope.TASKS, Role.MEMBER: KeyScope.WRITE, Role.ADMIN: KeyScope.ADMIN}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a user of a workspace, by a key of theirs or (`key_id` None) as themselves: signed in,
    or by a token of the organisation's provider.
    """

    key_id: UUID | None
    workspace: Workspace
    user_id: UUID
    scopes: frozenset[KeyScope]
    role: Role

    def may(self, scope: KeyScope) -> bool:
        """Whether the user's role and one of the key's scopes include `scope`."""
        return scope in _INCLUDES[self.role.scope] and any(scope in _INCLUDES[own] for own in self.scopes)

    @property
    def client(self) -> UUID:
        """What is told apart from other clients of the API."""
        return self.key_id or self.user_id

    @property
    def is_admin(self) -> bool:
        """Whether everything of the workspace is theirs to see."""
        return self.may(KeyScope.ADMIN)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as it came in; its secret is compared, never stored."""

    id: UUID
    secret: str


def key_text(key_id: UUID, secret: bytes) -> str:
    """`sgk_<id>_<secret>`: what the client keeps, shown once."""
    return f"{PREFIX}_{key_id.hex}_{urlsafe_b64encode(secret).decode().rstrip('=')}"


def parse_key(text: str) -> PresentedKey | None:
    """The parts of a key; None for anything else."""
    if len(text) > MAX_KEY_CHARS or not text.isascii():
        return None
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != PREFIX or len(key_id) != 32 or not secret:
        return None
    try:
        return PresentedKey(UUID(key_id), secret)
    except ValueError:
        return None


def bearer_from_header(header: str | None) -> str | None:
    """What an Authorization header bears (RFC 6750)."""
    scheme, _, value = (header or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def basic_password(header: str | None) -> str:
    """The password of Basic credentials (RFC 7617), whatever the name; empty for any other header."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        text = b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
    return text.partition(":")[2]


def secret_hash(secret: str) -> str:
    """What is stored: a plain SHA-256, since the secret is 256 random bits and no word to be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_document(
    key_id: UUID,
    secret: bytes,
    workspace: Workspace,
    user_id: UUID,
    name: str,
    scopes: Iterable[KeyScope],
    now: datetime,
) -> Document:
    """The stored key."""
    text = key_text(key_id, secret)
    parsed = parse_key(text)
    assert parsed is not None
    return {
        "_id": key_id,
        "workspace_id": workspace,
        "user_id": user_id,
        "name": name,
        "scopes": sorted(scope.value for scope in scopes),
        "hash": secret_hash(parsed.secret),
        "created_at": now,
        "last_used": None,
        "revoked_at": None,
    }


def fits(stored: Document | None, presented: PresentedKey) -> bool:
    """Whether the secret is the key's, and the key is not revoked."""
    expected: Any = stored["hash"] if stored else secret_hash("")
    same = hmac.compare_digest(expected, secret_hash(presented.secret))
    return stored is not None and same and stored.get("revoked_at") is None


def caller_by_key(stored: Document, user: Document) -> Caller:
    """Who calls with a key that fits."""
    scopes = frozenset(KeyScope(each) for each in stored["scopes"])
    workspace = Workspace(stored["workspace_id"])
    return Caller(stored["_id"], workspace, user["_id"], scopes, role_of(user))


def caller_signed_in(user: Document) -> Caller:
    """Who calls as themselves: all that their role allows."""
    role = role_of(user)
    return Caller(None, Workspace(user["workspace_id"]), user["_id"], frozenset({role.scope}), role)


def role_of(user: Document) -> Role:
    """The user's role."""
    return Role(user["role"])


def use_is_news(stored: Document, now: datetime) -> bool:
    """Whether `last_used` is old enough to be written again."""
    last: datetime | None = stored.get("last_used")
    return last is None or (now - last).total_seconds() >= USED_EVERY_SECONDS
