"""What users are told of their tasks, as documents: one for each way to tell it, taken and settled."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from chassis import documents as names
from chassis.prompting import PromptedUser, PromptHook
from chassis.store import Database, Document, Index
from sender.model import State

KEEP_SECONDS: Final = 30 * 24 * 3600
INDEXES: Final = (
    Index((("next_at", 1),), "open", partial={"next_at": {"$type": "date"}}),
    Index((("created_at", 1),), "expires", expire_after_seconds=KEEP_SECONDS),
)
WORDS: Final = dict.fromkeys(("subject", "text", "body"), "")
TASK: Final[Document] = dict.fromkeys(
    (
        *("workspace_id", "enrollment_id", "stage_id", "attempt", "sequence_id", "sequence_version"),
        *("person_id", "channel", "task"),
    ),
    1,
)


class Told(StrEnum):
    """Where telling one prompt in one way is; the comment says who moves it on."""

    OPEN = "open"  # whoever takes it, from `next_at` on
    TRANSMITTING = "transmitting"  # who took it; past `next_at` it is in doubt, and sent again
    SENT = "sent"
    FAILED = "failed"
    NOTHING = "nothing"  # a day's digest that had nothing to tell, or is made


class PromptStore:
    """Prompts, and the tasks, users and hooks that they are about. Everything may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._prompts = database.collection(names.PROMPTS)
        self._deliveries = database.collection(names.DELIVERIES)
        self._users = database.collection(names.USERS)
        self._mailboxes = database.collection(names.MAILBOXES)
        self._workspaces = database.collection(names.WORKSPACES)

    # ---- whom, where ----

    async def users_with_digest(self) -> list[PromptedUser]:
        """Everybody who is here and has not switched the digest off. A sweep: all workspaces."""
        wanted = {"prompts.digest": {"$ne": False}, "left_at": None}
        found = await self._users.find(wanted, projection=PromptedUser.PROJECTION)
        return [PromptedUser.read(doc) for doc in found]

    async def users(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, PromptedUser]:
        """Users by id who are here: who has left hears no more."""
        query = _within(workspaces, {"_id": {"$in": list(set(ids))}, "left_at": None})
        found = await self._users.find(query, projection=PromptedUser.PROJECTION)
        return {doc["_id"]: PromptedUser.read(doc) for doc in found}

    async def zones(self, workspaces: Iterable[UUID], owners: Iterable[UUID]) -> dict[UUID, str]:
        """The zone of the first mailbox of each of these users that has one."""
        query = _within(workspaces, {"owner_id": {"$in": list(set(owners))}, "zone": {"$type": "string"}})
        found = await self._mailboxes.find(
            query, projection={"owner_id": 1, "zone": 1}, sort=[("created_at", -1)]
        )
        return {doc["owner_id"]: doc["zone"] for doc in found}

    async def hooks(self, workspaces: Iterable[UUID]) -> dict[UUID, PromptHook]:
        """Where these workspaces' programs hear of tasks."""
        query = {"_id": {"$in": list(set(workspaces))}, "prompt_hook": {"$type": "object"}}
        found = await self._workspaces.find(query, projection=PromptHook.PROJECTION)
        return {doc["_id"]: PromptHook.read(doc) for doc in found}

    # ---- of what ----

    async def tasks_to_tell(self, now: datetime, limit: int) -> list[Document]:
        """Open tasks that are overdue, or still are a day later. A sweep: all workspaces."""
        query = {"state": State.TASK_OPEN.value, "task.tell_at": {"$lte": now}}
        return await self._deliveries.find(query, projection=TASK, limit=limit)

    async def tasks_to_prompt(self, now: datetime, limit: int) -> list[Document]:
        """Open tasks that have come up since. A sweep: all workspaces."""
        query = {"state": State.TASK_OPEN.value, "task.prompt_at": {"$lte": now}}
        return await self._deliveries.find(query, projection=TASK, limit=limit)

    async def open_tasks(
        self, workspace: UUID, assignee: UUID, now: datetime, limit: int
    ) -> tuple[list[Document], int]:
        """The tasks that wait for somebody now, the longest due first, and how many there are."""
        query = {
            "workspace_id": workspace,
            "state": State.TASK_OPEN.value,
            "task.assignee_id": assignee,
            "task.snoozed_until": {"$not": {"$gt": now}},
        }
        found = await self._deliveries.find(
            query, projection=TASK, sort=[("task.due_at", 1)], limit=limit + 1
        )
        if len(found) <= limit:
            return found, len(found)
        return found[:limit], await self._deliveries.count(query, limit=10_000)

    async def task_is(self, delivery: Document, field: str, **changed: Any) -> None:
        """Note what was done about a task at `field` (`tell_at`, `prompt_at`), if nobody did meanwhile.

        None takes a field away.
        """
        guard = {
            "_id": delivery["_id"],
            "workspace_id": delivery["workspace_id"],
            "state": State.TASK_OPEN.value,
            f"task.{field}": delivery["task"][field],
        }
        kept = {f"task.{name}": value for name, value in changed.items() if value is not None}
        gone = {f"task.{name}": "" for name, value in changed.items() if value is None}
        update = {**({"$set": kept} if kept else {}), **({"$unset": gone} if gone else {})}
        await self._deliveries.update_one(guard, update)

    # ---- telling ----

    async def add(self, prompts: Sequence[Document]) -> None:
        """Store what is to be told; what is there already stays."""
        await self._prompts.insert_new(prompts)

    async def known(self, workspaces: Iterable[UUID], ids: Sequence[str]) -> set[str]:
        """Which of these exist."""
        query = _within(workspaces, {"_id": {"$in": list(ids)}})
        return {doc["_id"] for doc in await self._prompts.find(query, projection={"_id": 1})}

    async def take(self, real_now: datetime, token: str, lease_until: datetime) -> Document | None:
        """Take what is to be told next. A sweep: all workspaces.

        Whoever takes it has it until `lease_until`; then it is free again. `doubts` counts how often nobody
        knew whether it went out.
        """
        return await self._prompts.find_one_and_update(
            {"next_at": {"$lte": real_now}},
            [
                {
                    "$set": {
                        "token": token,
                        "next_at": lease_until,
                        "tries": {"$add": ["$tries", 1]},
                        "doubts": {
                            "$add": [
                                "$doubts",
                                {"$cond": [{"$eq": ["$state", Told.TRANSMITTING.value]}, 1, 0]},
                            ]
                        },
                        "state": Told.OPEN.value,
                    }
                }
            ],
            sort=[("next_at", 1)],
        )

    async def move(self, prompt: Document, state: Told, next_at: datetime | None) -> bool:
        """One guarded write by who took it; False where somebody else has taken it meanwhile."""
        guard = {
            "_id": prompt["_id"],
            "workspace_id": prompt["workspace_id"],
            "token": prompt["token"],
            "state": {"$in": [Told.OPEN.value, Told.TRANSMITTING.value]},
        }
        if next_at is None:
            # Told, or never to be: what it says has names in it that nobody needs any more.
            update: Document = {"$set": {"state": state.value}, "$unset": {"next_at": "", **WORDS}}
        else:
            update = {"$set": {"state": state.value, "next_at": next_at}}
        return await self._prompts.update_one(guard, update)


def _within(workspaces: Iterable[UUID], query: Document) -> Document:
    return {"workspace_id": {"$in": list(set(workspaces))}, **query}
