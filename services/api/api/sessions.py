"""Who is signed in: a random token in a cookie, and its hash in the database."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis import documents as names
from chassis.store import Database, Document, Index, Workspace

COOKIE: Final = "__Host-segue"
"""Secure, without a domain, on every path: no other host of the domain can set or read it."""
TOKEN_BYTES: Final = 32
IDLE: Final = timedelta(hours=12)
LONGEST: Final = timedelta(days=14)
SEEN_EVERY: Final = timedelta(minutes=1)
MOST_SHOWN: Final = 50

INDEXES: Final = (
    Index((("expires_at", 1),), "expires", expire_after_seconds=0),
    Index((("workspace_id", 1), ("user_id", 1)), "user"),
)
USER_INDEXES: Final = (
    Index((("email", 1),), "sign_in"),
    Index((("identity", 1),), "identity", partial={"identity": {"$exists": True}}),
)


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in; `csrf` stands in every form that it is shown."""

    id: str
    workspace: Workspace
    user: Document
    csrf: str


def token_hash(token: str) -> str:
    """What is stored of a token: a plain SHA-256, since it is 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_form_of(session: Session, csrf: str) -> bool:
    """Whether a form that carries `csrf` was made for the session."""
    return hmac.compare_digest(session.csrf.encode(), csrf.encode("utf-8", "replace"))


def ends_at(created_at: datetime, seen_at: datetime) -> datetime:
    """When a session ends, unless it is used again."""
    return min(seen_at + IDLE, created_at + LONGEST)


class Sessions:
    """The collection; instants are real ones."""

    def __init__(self, database: Database) -> None:
        self._sessions = database.collection(names.SESSIONS)
        self._users = database.collection(names.USERS)
        self._workspaces = database.collection(names.WORKSPACES)

    async def open(self, user: Document, real_now: datetime) -> str:
        """Sign a user in; returns the token for the cookie."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        await self._sessions.insert_one(
            {
                "_id": token_hash(token),
                "workspace_id": user["workspace_id"],
                "user_id": user["_id"],
                "csrf": secrets.token_urlsafe(TOKEN_BYTES),
                "created_at": real_now,
                "seen_at": real_now,
                "expires_at": ends_at(real_now, real_now),
            }
        )
        return token

    async def find(self, token: str, real_now: datetime) -> Session | None:
        """The session of a cookie, of any workspace: it says itself which one; None once it has ended."""
        found = await self._sessions.find_one({"_id": token_hash(token), "expires_at": {"$gt": real_now}})
        if found is None:
            return None
        user = await self._users.find_one({"_id": found["user_id"], "workspace_id": found["workspace_id"]})
        if user is None or user.get("left_at") is not None:
            return None
        if real_now - found["seen_at"] >= SEEN_EVERY:
            await self._seen(found, real_now)
        return Session(found["_id"], Workspace(found["workspace_id"]), user, found["csrf"])

    async def _seen(self, session: Document, real_now: datetime) -> None:
        ends = ends_at(session["created_at"], real_now)
        await self._sessions.update_one(
            {"_id": session["_id"], "workspace_id": session["workspace_id"]},
            {"$set": {"seen_at": real_now, "expires_at": ends}},
        )

    async def everybody(self) -> list[Document]:
        """For the demo's sign-in page: the users of all workspaces."""
        return await self._users.find({"left_at": None}, sort=[("created_at", 1)], limit=MOST_SHOWN)

    async def known_as(self, identity: Document, email: str) -> list[Document]:
        """The users, of all workspaces, who are this identity of a provider.

        One who signs in for the first time is found by the address, and is that identity from then on:
        whoever gets the address later is somebody else.
        """
        await self._users.update_many(
            {"email": {"$eq": email}, "identity": None, "left_at": None}, {"$set": {"identity": identity}}
        )
        return await self.of_identity(identity)

    async def of_identity(self, identity: Document) -> list[Document]:
        """The users, of all workspaces, who have signed in as this identity of a provider."""
        return await self._users.find(
            {"identity": identity, "left_at": None}, sort=[("created_at", 1)], limit=MOST_SHOWN
        )

    async def same_person(self, user: Document, *, by_address: bool) -> list[Document]:
        """The users, of all workspaces, who are the same person as this one, the oldest first.

        By the provider's identity or, `by_address` where anybody may be anybody, by their address.
        """
        if user.get("identity") is not None:
            which = {"identity": user["identity"]}
        elif by_address:
            which = {"email": {"$eq": user["email"]}}
        else:
            return [user]
        found = {**which, "left_at": None}
        return await self._users.find(found, sort=[("created_at", 1)], limit=MOST_SHOWN)

    async def workspaces(self, users: Iterable[Document]) -> dict[UUID, str]:
        """What the workspaces of these users are called, in their order."""
        ids = list(dict.fromkeys(user["workspace_id"] for user in users))
        found = await self._workspaces.find({"_id": {"$in": ids}}, projection={"name": 1})
        names_of = {each["_id"]: each["name"] for each in found}
        return {each: names_of[each] for each in ids if each in names_of}

    async def close(self, session: Session) -> None:
        """Sign out."""
        await self._sessions.delete_one({"_id": session.id, "workspace_id": session.workspace})
