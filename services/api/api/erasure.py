"""Forgets a person: rows of lists, what was asked about them and what was answered."""

import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from api.idempotency import Answers
from api.list_store import CHANGEABLE, RowStatus, place
from api.model import CommandState
from chassis import documents as names
from chassis import faults
from chassis.clock import Clock
from chassis.erasure import Erasure, Erasures, Owner, Round
from chassis.secrets import Secrets
from chassis.store import Database, Document, UpdateOne
from segue_contracts.ids import enrollment_id, person_id

BATCH: Final = 500
MOST_GENERATIONS: Final = 20
"""Of one sequence: under so many ids the commands of enrolls that were refused are looked for."""


class WordStore:
    """What the API keeps of one person. Everything may be repeated, and may raise Retry."""

    def __init__(self, database: Database) -> None:
        self._rows = database.collection(names.PROSPECT_LIST_ROWS)
        self._commands = database.collection(names.COMMANDS)
        self._results = database.collection(names.COMMAND_RESULTS)
        self._sequences = database.collection(names.SEQUENCES)
        self._deliveries = database.collection(names.DELIVERIES)

    def rows(self, workspace: UUID) -> AsyncIterator[Document]:
        """The rows of all lists, as far as they say whom they are about; none is older than a month."""
        wanted = ("workspace_id", "n", "rev", "status", "data.external_id", "data.email")
        return self._rows.stream({"workspace_id": workspace}, projection=dict.fromkeys(wanted, 1))

    async def forget_rows(self, rows: Sequence[Document], clock: Clock) -> int:
        """Empty them where they are still as they were read; who was not enrolled yet is left out."""
        outcome = await self._rows.bulk([_emptied(row, clock) for row in rows])
        return outcome.matched

    async def targets(self, erasure: Erasure, enrollments: Sequence[UUID]) -> list[str]:
        """What commands about the person name: them, their enrollments, stages of these."""
        workspace = erasure.workspace_id
        found = await self._deliveries.find(
            {"workspace_id": workspace, "enrollment_id": {"$in": list(enrollments)}}, projection={"_id": 1}
        )
        ids = [*enrollments, *await self._possible(erasure)]
        people = [str(erasure.id), *filter(None, [erasure.sought.external_id])]
        return [*people, *map(str, dict.fromkeys(ids)), *(doc["_id"] for doc in found)]

    async def _possible(self, erasure: Erasure) -> list[UUID]:
        """Under which ids enrolls of theirs may have been refused."""
        external_id = erasure.sought.external_id
        if external_id is None:
            return []
        found = await self._sequences.find({"workspace_id": erasure.workspace_id}, projection={"_id": 1})
        return [
            enrollment_id(erasure.workspace_id, doc["_id"], external_id, generation)
            for doc in found
            for generation in range(1, MOST_GENERATIONS + 1)
        ]

    async def has_open(self, workspace: UUID, targets: Sequence[str]) -> bool:
        """Whether a command still says something: its words go as soon as its result is seen."""
        found = {"workspace_id": workspace, "state": CommandState.ACCEPTED.value}
        for some in _portions(targets):
            if await self._commands.find_one({**found, "target": {"$in": some}}, projection={"_id": 1}):
                return True
        return False

    async def forget_commands(self, erasure: Erasure, targets: Sequence[str]) -> int:
        """Why commands about them were refused, in words, and their external id; how many there were."""
        settled = {"workspace_id": erasure.workspace_id, "state": {"$ne": CommandState.ACCEPTED.value}}
        count = 0
        for some in _portions(targets):
            theirs = {**settled, "target": {"$in": some}, **_wordy("result.reasons")}
            ids = [doc["_id"] for doc in await self._commands.find(theirs, projection={"_id": 1})]
            told = {"workspace_id": erasure.workspace_id, "_id": {"$in": ids}, **_wordy("reasons")}
            await self._results.update_many(told, {"$set": {"reasons.$[].detail": ""}})
            blank = {"$set": {"result.reasons.$[].detail": ""}}
            count += await self._commands.update_many({**theirs, "_id": {"$in": ids}}, blank)
        if erasure.sought.external_id is not None:
            named = {**settled, "target": {"$eq": erasure.sought.external_id}}
            count += await self._commands.update_many(named, {"$set": {"target": str(erasure.id)}})
        return count


class Forgetting:
    """Does the API's part of an erasure."""

    def __init__(
        self, erasures: Erasures, words: WordStore, answers: Answers, secrets: Secrets, clock: Clock
    ) -> None:
        self._erasures = erasures
        self._words = words
        self._answers = answers
        self._secrets = secrets
        self._clock = clock

    async def sweep(self) -> None:
        """Go on with everybody of whom something is left here."""
        await self._erasures.sweep(Owner.API, self.erase)

    async def erase(self, erasure: Erasure) -> Round:
        """Not done while a command about them waits for its result."""
        rows = await rows_of(self._words, self._secrets, erasure.workspace_id, erasure.id, erasure.hashes)
        sought = erasure.sought.with_reached(_text(row["data"].get("email")) for row in rows)
        if await self._erasures.widen(erasure, sought):
            return Round({}, is_done=False)
        emptied = await self._words.forget_rows(rows, self._clock)
        await faults.point("api.rows_forgotten")
        targets = await self._words.targets(erasure, await self._erasures.enrollments_of(erasure))
        commands = await self._words.forget_commands(erasure, targets)
        answers = await self._answers.forget_words(erasure.workspace_id, Named(erasure.sought.words))
        left = len(rows) > emptied or await self._words.has_open(erasure.workspace_id, targets)
        return Round({"rows": emptied, "commands": commands, "answers": answers}, is_done=not left)


class Named:
    """Whether JSON names one of these; an id only where it is a whole value."""

    def __init__(self, words: Collection[str]) -> None:
        self._values = [json.dumps(word) for word in words if "@" not in word]
        self._addresses = [word.lower() for word in words if "@" in word]

    def __call__(self, text: str) -> bool:
        lower = text.lower()
        return any(v in text for v in self._values) or any(a in lower for a in self._addresses)


async def rows_of(
    words: WordStore, secrets: Secrets, workspace: UUID, person: UUID, hashes: Collection[str]
) -> list[Document]:
    """The rows of lists about a person: by their id, or by an address whose keyed hash is one of these."""
    known = frozenset(hashes)

    def is_theirs(data: Mapping[str, Any]) -> bool:
        external_id, email = data.get("external_id"), data.get("email")
        if isinstance(external_id, str) and person_id(workspace, external_id) == person:
            return True
        return isinstance(email, str) and secrets.suppression_id(workspace, "address", email) in known

    return [row async for row in words.rows(workspace) if is_theirs(row.get("data") or {})]


def _emptied(row: Document, clock: Clock) -> UpdateOne:
    fields: Document = {
        "data": {},
        "keys": [],
        "problems": [],
        "warnings": [],
        "codes": ["erased"],
        "erased_at": clock.real_now(),
    }
    if row["status"] in {each.value for each in CHANGEABLE}:
        status = RowStatus.EXCLUDED
        fields |= {"status": status.value, "place": place(row["n"], status)}
    same = {"workspace_id": row["workspace_id"], **{name: row[name] for name in ("_id", "rev", "status")}}
    return UpdateOne(same, {"$set": fields, "$inc": {"rev": 1}})


def _wordy(reasons: str) -> Document:
    """What matches where some of these reasons have words."""
    return {reasons: {"$elemMatch": {"detail": {"$nin": ["", None]}}}}


def _portions(targets: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(targets), BATCH):
        yield list(targets[start : start + BATCH])


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
