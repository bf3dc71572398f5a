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
    WRITE = "write"
    ADMIN = "admin"


_INCLUDES = {
    KeyScope.READ: frozenset({KeyScope.READ}),
    KeyScope.WRITE: frozenset({KeyScope.READ, KeyScope.WRITE}),
    KeyScope.ADMIN: frozenset(KeyScope),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a key, its user and its workspace."""

    key_id: UUID
    workspace: Workspace
    user_id: UUID
    scopes: frozenset[KeyScope]

    def may(self, scope: KeyScope) -> bool:
        """Whether one of the key's scopes includes `scope`."""
        return any(scope in _INCLUDES[own] for own in self.scopes)


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


def key_from_header(header: str | None, *, basic: bool) -> PresentedKey | None:
    """The key of an Authorization header: Bearer, and where `basic` the password of Basic (RFC 7617)."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return parse_key(value.strip())
    if basic and scheme.lower() == "basic":
        return parse_key(basic_password(header))
    return None


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


def caller_of(stored: Document | None, presented: PresentedKey) -> Caller | None:
    """The caller, if the secret fits and the key is not revoked."""
    expected: Any = stored["hash"] if stored else secret_hash("")
    fits = hmac.compare_digest(expected, secret_hash(presented.secret))
    if stored is None or not fits or stored.get("revoked_at") is not None:
        return None
    scopes = frozenset(KeyScope(each) for each in stored["scopes"])
    return Caller(stored["_id"], Workspace(stored["workspace_id"]), stored["user_id"], scopes)


def use_is_news(stored: Document, now: datetime) -> bool:
    """Whether `last_used` is old enough to be written again."""
    last: datetime | None = stored.get("last_used")
    return last is None or (now - last).total_seconds() >= USED_EVERY_SECONDS
