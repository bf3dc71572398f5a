"""What a user wants to hear of their tasks and when, as the api writes it and the sender reads it."""

from dataclasses import dataclass
from datetime import time
from typing import ClassVar, Final, Self
from uuid import UUID

from chassis.documents import Document

DIGEST_AT: Final = time(8, 30)
QUIET: Final = (time(19), time(7))
WORKDAYS: Final = (0, 1, 2, 3, 4)


def lies_in(at: time, start: time, end: time) -> bool:
    """Whether a time of day lies in [start, end), which may go over midnight."""
    return start <= at < end if start <= end else at >= start or at < end


@dataclass(frozen=True, slots=True)
class PromptWishes:
    """When a user wants to hear of their tasks, by their own clock; days are numbers, 0 is Monday.

    `digest`: once a workday at `digest_at`. `when_due`: also as each task comes up. `quiet`: not within, it
    may go over midnight. Without a zone: that of their first mailbox, else UTC.
    """

    digest: bool = True
    digest_at: time = DIGEST_AT
    when_due: bool = False
    zone: str | None = None
    workdays: tuple[int, ...] = WORKDAYS
    quiet: tuple[time, time] | None = QUIET

    @classmethod
    def read(cls, doc: Document | None) -> Self:
        """As `data` writes it; what is not there is as for everybody."""
        known = dict(doc or {})
        if "digest_at" in known:
            known["digest_at"] = time.fromisoformat(known["digest_at"])
        if known.get("quiet"):
            start, end = map(time.fromisoformat, known["quiet"])
            known["quiet"] = (start, end)
        if "workdays" in known:
            known["workdays"] = tuple(known["workdays"])
        return cls(**known)

    def data(self) -> Document:
        """As the user's document keeps it."""
        return {
            "digest": self.digest,
            "digest_at": f"{self.digest_at:%H:%M}",
            "when_due": self.when_due,
            "zone": self.zone,
            "workdays": list(self.workdays),
            "quiet": [f"{each:%H:%M}" for each in self.quiet] if self.quiet else None,
        }


@dataclass(frozen=True, slots=True)
class PromptedUser:
    """A user as they are told of their tasks."""

    PROJECTION: ClassVar[Document] = {"workspace_id": 1, "email": 1, "name": 1, "prompts": 1}
    id: UUID
    workspace_id: UUID
    email: str
    name: str
    wishes: PromptWishes

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["email"],
            doc["name"],
            PromptWishes.read(doc.get("prompts")),
        )


@dataclass(frozen=True, slots=True)
class PromptHook:
    """Where a workspace's programs hear of tasks: `secret` is encrypted and signs as Standard Webhooks."""

    PROJECTION: ClassVar[Document] = {"prompt_hook": 1}
    workspace_id: UUID
    url: str
    secret: str

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["_id"], doc["prompt_hook"]["url"], doc["prompt_hook"]["secret"])
