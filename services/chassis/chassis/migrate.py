"""The command `segue-migrate`: brings the database to what the installed services need of it.

It may be killed at any point and run again: it goes on from where it was. One run works on a service at a
time, by a lease; another waits for it.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from typing import Any

from chassis import documents as names
from chassis.errors import Duplicate, Fatal, Retry
from chassis.migrations import (
    PHASES,
    Migration,
    Phase,
    Schema,
    build,
    document,
    is_done,
    is_new,
    made_in,
    missing_indexes,
    refuse_too_new,
    set_up,
)
from chassis.retry import retrying
from chassis.settings import MongoSettings, load
from chassis.store import Database, Document, connect

GROUP = "segue.schemas"
"""The entry points by which a service's distribution names its schema."""
LEASE_SECONDS = 30.0
RENEW_SECONDS = 5.0
WAIT_SECONDS = 120.0
LOOK_SECONDS = 0.5
OPERATION_SECONDS = 24 * 60 * 60.0
"""To build an index may take hours."""

Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None, schemas: Sequence[Schema] | None = None) -> int:
    """Returns the exit code; 2 is a wrong command line or wrong settings. `schemas`: those of the installed
    services by default.
    """
    given = _parser().parse_args(arguments)
    settings = load(MongoSettings).model_copy(update={"mongodb_timeout_seconds": OPERATION_SECONDS})
    try:
        asyncio.run(_run(settings, schemas or installed(), given))
    except (Fatal, Retry, Duplicate) as error:  # a Duplicate: a new unique index over what is there twice
        print(error, file=sys.stderr)
        return 1
    return 0


def installed() -> list[Schema]:
    """What the services that are installed here need; Fatal if none is."""
    found = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    if not found:
        raise Fatal("No service is installed here: run segue-migrate where the services are.")
    return [each.load() for each in found]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="segue-migrate", description=__doc__)
    parser.add_argument("--plan", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--through",
        choices=[phase.value for phase in PHASES],
        default=Phase.EXPAND.value,
        help="expand before a rollout (the default), backfill after it, contract when nobody will go back",
    )
    parser.add_argument(
        "--wait", type=float, default=WAIT_SECONDS, metavar="SECONDS", help="how long to wait for another run"
    )
    return parser


async def _run(settings: MongoSettings, schemas: Sequence[Schema], given: argparse.Namespace) -> None:
    through, say = Phase(given.through), partial(print, flush=True)
    async with connect(settings) as database:
        for schema in schemas:
            if given.plan:
                await plan(database, schema, through, say)
            else:
                await migrate(database, schema, through, say, wait_seconds=given.wait)


async def plan(database: Database, schema: Schema, through: Phase, say: Say) -> None:
    """Say what `migrate` would do, and what it would leave for a later phase."""
    if await is_new(database, schema):
        say(f"{schema.service}: would set up a new database")
        return
    for collection, missing in (await missing_indexes(database, schema)).items():
        size = await database.collection(collection).size()
        for index in missing:
            say(f"{schema.service}: would build the index {index.name} of {collection} ({size} documents)")
    made = await made_in(database, schema.service)
    wanted = _open(schema, made)
    for migration in wanted:
        now = _within(migration, through)
        says = "would run" if now else f"is left for --through {migration.phase}"
        say(f"{_title(schema, migration)} {says}{_begun(made.get(migration.number))}")
    if not wanted:
        say(f"{schema.service}: no migration is left")


async def migrate(
    database: Database, schema: Schema, through: Phase, say: Say, *, wait_seconds: float = WAIT_SECONDS
) -> None:
    """Build the indexes that are missing and run the migrations of these phases that are not done.

    Fatal when another run works on this service for longer than `wait_seconds`, or takes over, and when the
    database is too new for this release.
    """
    async with _Lease(database, schema.service).held(wait_seconds, say) as token:
        if await set_up(database, schema):
            say(f"{schema.service}: a new database is set up")
            return
        made = await made_in(database, schema.service)
        refuse_too_new(schema, made)
        for collection, missing in (await missing_indexes(database, schema)).items():
            say(f"{schema.service}: building {', '.join(i.name for i in missing)} of {collection}")
        await retrying(lambda: build(database, schema))
        for migration in _open(schema, made):
            if _within(migration, through):
                await _make(database, schema, migration, token, say)
        say(f"{schema.service}: done through {through}")


async def _make(database: Database, schema: Schema, migration: Migration, token: str, say: Say) -> None:
    began = time.monotonic()
    progress = await _Progress.begin(database, schema, migration, token)
    if progress.cursor is not None:
        say(f"{_title(schema, migration)} goes on behind {progress.cursor}")
    await migration.step.run(database, progress)
    await progress.end()
    changed = f", {progress.changed_in_all} documents changed" if progress.changed_in_all else ""
    say(f"{_title(schema, migration)} done in {time.monotonic() - began:.1f} s{changed}")


def _open(schema: Schema, made: Mapping[int, Document]) -> list[Migration]:
    return [migration for migration in schema.migrations if not is_done(made, migration.number)]


def _within(migration: Migration, through: Phase) -> bool:
    return PHASES.index(migration.phase) <= PHASES.index(through)


def _title(schema: Schema, migration: Migration) -> str:
    return f"{schema.service}: {migration.phase} {migration.number} ({migration.name})"


def _begun(made: Document | None) -> str:
    return "" if made is None else f", begun and at {made.get('cursor')}"


class _Progress:
    """Of one migration, in its document; each write must find the token of this run."""

    def __init__(self, database: Database, known: Document, token: str) -> None:
        self._documents = database.collection(names.MIGRATIONS)
        self._mine = {"_id": known["_id"], "token": token}
        self._name = known["name"]
        self.cursor: Any = known.get("cursor")
        self.changed: int = known.get("changed", 0)
        self.changed_in_all: int = known.get("changed_in_all", 0)

    @classmethod
    async def begin(cls, database: Database, schema: Schema, migration: Migration, token: str) -> "_Progress":
        """As it was left, or from the start."""
        about = document(schema, migration)
        key = {"_id": about.pop("_id")}
        taken: list[Document] = [
            {
                "$set": {
                    **{name: {"$ifNull": [f"${name}", {"$literal": value}]} for name, value in about.items()},
                    "started_at": {"$ifNull": ["$started_at", "$$NOW"]},
                    "state": "running",
                    "token": token,
                    "by": _who(),
                }
            }
        ]
        documents = database.collection(names.MIGRATIONS)
        known = await retrying(lambda: documents.find_one_and_update(key, taken, upsert=True))
        assert known is not None, "just upserted"
        return cls(database, known, token)

    async def advance(self, cursor: Any, changed: int) -> None:
        self.cursor = cursor
        self.changed += changed
        self.changed_in_all += changed
        await self._save({"cursor": cursor, "changed": self.changed, "changed_in_all": self.changed_in_all})

    async def again(self) -> None:
        self.cursor, self.changed = None, 0
        await self._save({"cursor": None, "changed": 0})

    async def end(self) -> None:
        """It is done, and its progress forgotten."""
        await self._save({"state": "done", "cursor": None, "changed": 0}, finished=True)

    async def _save(self, fields: Document, *, finished: bool = False) -> None:
        now: Document = {"$currentDate": {"finished_at" if finished else "advanced_at": True}}
        update = {"$set": fields, **now}
        if not await retrying(lambda: self._documents.update_one(self._mine, update)):
            raise Fatal(f"{self._mine['_id']} ({self._name}): another run has taken over.")


class _Lease:
    """Who works on a service's migrations: one document, judged by the database's clock."""

    def __init__(self, database: Database, service: str) -> None:
        self._documents = database.collection(names.MIGRATIONS)
        self._id = f"{service}:lease"
        self._service = service
        self._token = secrets.token_hex(16)
        self._mine = {"_id": self._id, "token": self._token}

    @contextlib.asynccontextmanager
    async def held(self, wait_seconds: float, say: Say) -> AsyncIterator[str]:
        """The token of this run, whose lease is renewed until the block ends."""
        await self._take(wait_seconds, say)
        renewing = asyncio.create_task(self._renew(), name="renew the lease")
        try:
            yield self._token
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
            with contextlib.suppress(Retry):  # it ends by itself
                await self._documents.update_one(self._mine, {"$unset": {"until": 1}})

    async def _take(self, wait_seconds: float, say: Say) -> None:
        ends, told = time.monotonic() + wait_seconds, False
        while not await self._is_taken():
            holder = await self._documents.find_one({"_id": self._id}) or {}
            if time.monotonic() > ends:
                raise Fatal(f"{self._service}: {holder.get('by')} is migrating it: try again later.")
            if not told:
                say(f"{self._service}: waiting for {holder.get('by')}, which is migrating it")
            told = True
            await asyncio.sleep(LOOK_SECONDS)

    async def _is_taken(self) -> bool:
        """Whether it is ours now."""
        await self._documents.insert_new([{"_id": self._id}])
        free = {"_id": self._id, "$expr": {"$lt": ["$until", "$$NOW"]}}
        return await self._documents.update_one(
            free, [{"$set": {"token": self._token, "by": _who(), "until": _LEASED}}]
        )

    async def _renew(self) -> None:
        """A lease that lapsed may be lost: the next write of progress finds out."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(Retry):
                await self._documents.update_one(self._mine, [{"$set": {"until": _LEASED}}])


_LEASED = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}


def _who() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


if __name__ == "__main__":
    sys.exit(main())
