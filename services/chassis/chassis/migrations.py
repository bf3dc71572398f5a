"""What a service's part of the database must be like, and the numbered changes by which it comes to be so.

A change that the release before could not live with is made in three phases, each when it harms nobody: see
docs/upgrades.md. `segue-migrate` (`chassis.migrate`) makes them. A service that starts sets up a new
database, builds what is quick to build, and refuses a database that is too old or too new for it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from typing import Any, Protocol, TypeVar

from chassis import documents as names
from chassis import faults
from chassis.errors import Fatal
from chassis.retry import retrying
from chassis.store import Collection, Database, Document, Filter, Index, Update
from chassis.telemetry import fields

log = logging.getLogger(__name__)

LARGE = 100_000
"""Documents of a collection for which a missing index is not built at a start: a second or so of work."""
BATCH = 500
LEAST_PAUSE_SECONDS = 0.01
TRIES = 30
CAP_SECONDS = 5.0
"""Together minutes: an election, and a database that restarts, are waited for."""

T = TypeVar("T")


class Phase(StrEnum):
    """When a migration may run; the comment says which releases live with it."""

    EXPAND = "expand"  # before the rollout: this release needs it, the one before does not notice
    BACKFILL = "backfill"  # after it, when everybody writes the new form: both do
    CONTRACT = "contract"  # when nobody will go back: the release before does not


PHASES = tuple(Phase)


class Progress(Protocol):
    """Where a migration has come to, kept in the database: a run that was killed goes on from there."""

    @property
    def cursor(self) -> Any: ...

    @property
    def changed(self) -> int:
        """What this pass has changed so far."""

    async def advance(self, cursor: Any, changed: int) -> None:
        """Everything up to `cursor` is done, and so many were changed; Fatal if another run has taken
        over.
        """

    async def again(self) -> None:
        """Begin another pass."""


class Step(Protocol):
    """What a migration does; it may be repeated from any point that its progress was at."""

    async def run(self, database: Database, progress: Progress) -> None: ...


@dataclass(frozen=True, slots=True)
class Backfill:
    """Changes each document that `todo` matches, which it must not match any more afterwards.

    It goes through the collection in the order of `_id`, which is of one type, in small batches, and rests as
    long as each took. Services write meanwhile: the filter guards each write, and the passes go on until one
    finds nothing to do.
    """

    collection: str
    todo: Filter
    update: Update
    batch: int = BATCH

    async def run(self, database: Database, progress: Progress) -> None:
        """Returns when nothing is left to do."""
        collection = database.collection(self.collection)
        await self._pass(collection, progress)
        while progress.changed:
            await progress.again()
            await self._pass(collection, progress)

    async def _pass(self, collection: Collection, progress: Progress) -> None:
        while ids := await _patient(lambda: self._next(collection, progress.cursor)):
            began = time.monotonic()
            changed = await self._change(collection, ids)
            await faults.point("migrations.batch_changed")
            await progress.advance(ids[-1], changed)
            await asyncio.sleep(max(LEAST_PAUSE_SECONDS, time.monotonic() - began))

    async def _next(self, collection: Collection, cursor: Any) -> list[Any]:
        behind: Document = {} if cursor is None else {"_id": {"$gt": cursor}}
        found = await collection.find(
            behind, projection={"_id": 1}, sort=[("_id", 1)], limit=self.batch, hint="_id_"
        )
        return [doc["_id"] for doc in found]

    async def _change(self, collection: Collection, ids: Sequence[Any]) -> int:
        return await _patient(lambda: collection.update_by_ids(ids, self.todo, self.update))


@dataclass(frozen=True, slots=True)
class DropIndexes:
    """Drops indexes that no release reads by any more."""

    collection: str
    indexes: Sequence[str]

    async def run(self, database: Database, progress: Progress) -> None:
        """What is not there is dropped already."""
        for index in self.indexes:
            await database.collection(self.collection).drop_index(index)


@dataclass(frozen=True, slots=True)
class Migration:
    """One change. What has been released is never changed, renumbered or removed."""

    number: int
    name: str
    phase: Phase
    step: Step


@dataclass(frozen=True, slots=True)
class Schema:
    """What a service needs of the database; `service` is also the distribution whose version is the release.

    `home`: a collection that has had indexes since the service first started on the database; others may have
    written into it before.
    `indexes` and `validators` are by collection. An index that changes gets a new name; the validator is that
    of whoever started last.
    `relies_on`: numbers of backfills without which this release reads wrongly; `expand` it always needs.
    """

    service: str
    home: str
    indexes: Mapping[str, Sequence[Index]]
    validators: Mapping[str, Document] = field(default_factory=dict)
    migrations: Sequence[Migration] = ()
    relies_on: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        numbers = [migration.number for migration in self.migrations]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"the migrations of {self.service} are not numbered 1, 2, 3 ...: {numbers}")

    @property
    def release(self) -> str:
        """What this release is called."""
        return version(self.service)

    def unmet(self, made: Mapping[int, Document]) -> list[Migration]:
        """What this release needs and the database has not had, or not to its end."""
        return [
            migration
            for migration in self.migrations
            if (migration.phase is Phase.EXPAND or migration.number in self.relies_on)
            and not is_done(made, migration.number)
        ]

    def unknown(self, made: Mapping[int, Document]) -> list[Document]:
        """What this release can't live with: contracts that it does not know, also if they only began."""
        return [
            made[number]
            for number in sorted(made)
            if number > len(self.migrations) and made[number]["phase"] == Phase.CONTRACT
        ]


def is_done(made: Mapping[int, Document], number: int) -> bool:
    """Whether the migration has been run to its end."""
    return made.get(number, {}).get("state") == "done"


async def prepare(database: Database, schema: Schema) -> None:
    """Make the service at home before it starts; Fatal, with what to do, if that is not for a start to do.

    A new database is made as the newest migration would leave it. In any other, what is missing is built if
    that takes no longer than a start may.
    """
    if await set_up(database, schema):
        return
    made = await made_in(database, schema.service)
    refuse_too_new(schema, made)
    _refuse_too_old(schema, made)
    for collection, missing in (await missing_indexes(database, schema)).items():
        size = await database.collection(collection).size()
        if size > LARGE:
            raise Fatal(
                f"{schema.service}: {collection} has {size} documents and lacks the index "
                f"{', '.join(index.name for index in missing)}, which would take too long to build now. "
                "Run segue-migrate, then start this release again."
            )
    await build(database, schema)


async def set_up(database: Database, schema: Schema) -> bool:
    """Whether the database is new to the service and was made as the newest migration would leave it.

    Of several processes that start at once, one that finds it begun finds all migrations counted as made.
    """
    if not await is_new(database, schema):
        return False
    await database.collection(names.MIGRATIONS).insert_new(
        [{**document(schema, each), "state": "done", "new_database": True} for each in schema.migrations]
    )
    await build(database, schema)
    log.info("database set up", extra=fields("migrations.set_up", service=schema.service))
    return True


async def is_new(database: Database, schema: Schema) -> bool:
    """Whether the service has never started here."""
    return not await database.collection(schema.home).index_names() - {"_id_"}


async def build(database: Database, schema: Schema) -> None:
    """Set the validators and build every index that is missing, however long that takes."""
    for name, validator in schema.validators.items():
        await database.collection(name).ensure_validator(validator)
    for name, indexes in schema.indexes.items():
        await database.collection(name).ensure_indexes(indexes)


async def missing_indexes(database: Database, schema: Schema) -> dict[str, list[Index]]:
    """The declared indexes that are not there, by collection; only collections that lack some."""
    missing = {}
    for name, indexes in schema.indexes.items():
        there = await database.collection(name).index_names()
        if lacking := [index for index in indexes if index.name not in there]:
            missing[name] = lacking
    return missing


async def made_in(database: Database, service: str) -> dict[int, Document]:
    """What has been made of this service's migrations, or begun, by number."""
    found = await database.collection(names.MIGRATIONS).find({"service": service})
    return {doc["number"]: doc for doc in found}


def refuse_too_new(schema: Schema, made: Mapping[int, Document]) -> None:
    """Fatal, with what to deploy, if the database has had what this release can't live with."""
    for newest in reversed(schema.unknown(made)):
        raise Fatal(
            f"{schema.service}: the database is too new for release {schema.release}: it has had migration "
            f"{newest['number']} ({newest['name']}) of release {newest['release']}. "
            f"Deploy {newest['release']} or a newer one."
        )


def document(schema: Schema, migration: Migration) -> Document:
    """What is told of a migration, before its progress."""
    return {
        "_id": f"{schema.service}:{migration.number}",
        "service": schema.service,
        "number": migration.number,
        "name": migration.name,
        "phase": migration.phase.value,
        "release": schema.release,
    }


def _refuse_too_old(schema: Schema, made: Mapping[int, Document]) -> None:
    for first in schema.unmet(made):
        through = "" if first.phase is Phase.EXPAND else f" --through {first.phase}"
        raise Fatal(
            f"{schema.service}: the database is too old for release {schema.release}: it lacks migration "
            f"{first.number} ({first.name}). Run segue-migrate{through}, then start this release again."
        )


async def _patient(work: Callable[[], Awaitable[T]]) -> T:
    return await retrying(work, tries=TRIES, cap_seconds=CAP_SECONDS)
