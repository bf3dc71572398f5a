"""Migrations are made once, whatever kills or doubles a run; no service starts on what it can't live with."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chassis import documents as names
from chassis import migrations
from chassis.errors import Fatal
from chassis.migrate import installed, migrate, plan
from chassis.migrations import Backfill, DropIndexes, Migration, Phase, Schema, build, made_in, prepare
from chassis.settings import MongoSettings
from chassis.store import Collection, Database, Document, Index
from chassis.testing import fresh_database, fresh_name
from stack.processes import Process, wait_until
from stack.system import run_api

pytestmark = pytest.mark.stack

THINGS = "things"
MANY = 1200
"""Three batches."""
OLD_INDEX = Index((("b", 1),), "old")
UNJOINED: Document = {"full_name": {"$exists": False}}
JOIN = Backfill(THINGS, UNJOINED, [{"$set": {"full_name": {"$concat": ["$first", " ", "$last"]}}}])
BEFORE = Schema("chassis", THINGS, {THINGS: (OLD_INDEX,)})
AFTER = Schema(
    "chassis",
    THINGS,
    {THINGS: (Index((("full_name", 1),), "full_name"),)},
    migrations=(
        Migration(1, "join_names", Phase.BACKFILL, JOIN),
        Migration(2, "drop_old", Phase.CONTRACT, DropIndexes(THINGS, ("old", "never_there"))),
    ),
)
EXPANDING = replace(AFTER, migrations=(Migration(1, "expand", Phase.EXPAND, DropIndexes(THINGS, ("old",))),))
RUN = """
import sys
from chassis import migrate
from chassis.migrations import Backfill, Migration, Phase, Schema
join = Backfill("things", {"full_name": {"$exists": False}}, [{"$set": {"full_name": "$first"}}])
schema = Schema("chassis", "things", {}, migrations=(Migration(1, "join_names", Phase.BACKFILL, join),))
sys.exit(migrate.main(sys.argv[1:], [schema]))
"""


@pytest.fixture
def settings(mongodb_uri: str) -> MongoSettings:
    return MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=fresh_name())


@pytest.fixture
async def database(settings: MongoSettings) -> AsyncIterator[Database]:
    async with fresh_database(settings) as database:
        yield database


@pytest.fixture
async def things(database: Database) -> Collection:
    """As a release before left them."""
    await build(database, BEFORE)
    things = database.collection(THINGS)
    await things.insert_new([{"_id": n, "first": f"f{n}", "last": "l"} for n in range(MANY)])
    return things


async def run(database: Database, schema: Schema, through: Phase = Phase.CONTRACT) -> list[str]:
    """What a run says."""
    said: list[str] = []
    await migrate(database, schema, through, said.append, wait_seconds=0)
    return said


async def planned(database: Database, schema: Schema, through: Phase = Phase.EXPAND) -> list[str]:
    said: list[str] = []
    await plan(database, schema, through, said.append)
    return said


def environment(settings: MongoSettings) -> dict[str, str]:
    return {
        "SEGUE_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
        "SEGUE_MONGODB_DATABASE": settings.mongodb_database,
    }


def a_run(settings: MongoSettings, tmp_path: Path, *arguments: str, **planned: Any) -> Process:
    """`segue-migrate` as a process, with a fault that is planned for it."""
    env = {
        **environment(settings),
        "SEGUE_ALLOW_FAULTS": "1",
        "SEGUE_FAULTS": json.dumps([{"point": "migrations.batch_changed", **planned}] if planned else []),
    }
    arguments = ("--through", "backfill", *arguments)
    return Process("migrate", [sys.executable, "-c", RUN, *arguments], log_folder=tmp_path, env=env)


async def test_a_new_database_is_set_up_as_the_newest_migration_would_leave_it(database: Database) -> None:
    for schema in installed():
        service = schema.service
        assert await planned(database, schema) == [f"{service}: would set up a new database"]
        if service == "sender":  # the others do it at their start
            assert await run(database, schema, Phase.EXPAND) == [f"{service}: a new database is set up"]
        await prepare(database, schema)
        made = await made_in(database, schema.service)
        assert [doc["state"] for doc in made.values()] == ["done"] * len(schema.migrations)
        assert await planned(database, schema) == [f"{schema.service}: no migration is left"]


async def test_processes_that_start_at_once_on_a_new_database_do_not_refuse_each_other(
    database: Database,
) -> None:
    await asyncio.gather(*(prepare(database, EXPANDING) for _ in range(10)))
    await prepare(database, EXPANDING)


async def test_what_another_service_writes_into_the_home_first_makes_the_database_no_old_one(
    database: Database,
) -> None:
    await database.collection(THINGS).insert_one({"_id": 1, "full_name": "f l"})
    await prepare(database, EXPANDING)


async def test_each_phase_waits_for_its_time(database: Database, things: Collection) -> None:
    assert await planned(database, AFTER) == [
        "chassis: would build the index full_name of things (1200 documents)",
        "chassis: backfill 1 (join_names) is left for --through backfill",
        "chassis: contract 2 (drop_old) is left for --through contract",
    ]
    await run(database, AFTER, Phase.EXPAND)
    assert await things.index_names() == {"_id_", "old", "full_name"}
    assert await things.count(UNJOINED, limit=MANY) == MANY
    told = await run(database, AFTER, Phase.BACKFILL)
    assert f"{MANY} documents changed" in told[0]
    assert await things.count(UNJOINED, limit=MANY) == 0
    assert await things.index_names() == {"_id_", "old", "full_name"}
    await run(database, AFTER)
    assert await things.index_names() == {"_id_", "full_name"}
    assert await run(database, AFTER) == ["chassis: done through contract"]


async def test_a_backfill_finds_what_was_written_behind_it(database: Database, things: Collection) -> None:
    """By a service of the release before, which does not know the new form."""

    class Meanwhile(Backfill):
        async def _change(self, collection: Collection, ids: Any) -> int:
            await collection.insert_new([{"_id": -1, "first": "late", "last": "l"}])
            return await super()._change(collection, ids)

    step = Meanwhile(THINGS, UNJOINED, JOIN.update)
    await run(database, replace(AFTER, migrations=(Migration(1, "join_names", Phase.BACKFILL, step),)))
    assert (await things.find_one({"_id": -1}) or {})["full_name"] == "late l"


async def test_killed_after_any_batch_a_run_goes_on_where_it_was(
    database: Database, things: Collection, settings: MongoSettings, tmp_path: Path
) -> None:
    for nth in (1, 2):
        killed = a_run(settings, tmp_path, do="kill", nth=nth)
        await asyncio.to_thread(killed.launch)
        assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL
        await lapse(database)
    assert "begun and at 499" in (await planned(database, AFTER))[1]
    whole = a_run(settings, tmp_path)
    await asyncio.to_thread(whole.launch)
    assert await asyncio.to_thread(whole.wait, 60) == 0
    assert "goes on behind 499" in whole.log_text()
    assert await things.count(UNJOINED, limit=MANY) == 0


async def lapse(database: Database) -> None:
    """As half a minute later."""
    await database.collection(names.MIGRATIONS).update_one({"_id": "chassis:lease"}, {"$unset": {"until": 1}})


async def test_a_second_run_waits_refuses_in_the_end_and_what_was_taken_over_gives_up(
    database: Database, things: Collection, settings: MongoSettings, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    first = a_run(settings, tmp_path, do=f"hang:{held}")
    await asyncio.to_thread(first.launch)
    assert await asyncio.to_thread(wait_until, held.exists, 60)
    with pytest.raises(Fatal, match=r"-\d+ is migrating it: try again later"):
        await run(database, AFTER)
    await lapse(database)
    await run(database, AFTER)
    held.unlink()
    assert await asyncio.to_thread(first.wait, 60) == 1
    assert "another run has taken over" in first.log_text()
    assert await things.count(UNJOINED, limit=MANY) == 0


async def test_a_service_refuses_what_it_can_not_live_with_and_says_what_to_do(
    database: Database, things: Collection
) -> None:
    await prepare(database, AFTER)  # backfills wait until it runs everywhere
    relying = replace(AFTER, relies_on=frozenset({1}))
    with pytest.raises(Fatal, match=r"too old for release .* lacks migration 1 .*Run segue-migrate"):
        await prepare(database, relying)
    await run(database, AFTER, Phase.BACKFILL)
    await prepare(database, relying)
    await prepare(database, BEFORE)  # which may run beside it
    await run(database, AFTER)
    with pytest.raises(Fatal, match=r"too new for release .* migration 2 \(drop_old\) of release .* Deploy"):
        await prepare(database, BEFORE)
    with pytest.raises(Fatal, match="too new"):
        await run(database, BEFORE)


async def test_a_start_builds_no_index_of_a_large_collection(
    database: Database, things: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LARGE", MANY - 1)
    with pytest.raises(Fatal, match="things has 1200 documents and lacks the index full_name"):
        await prepare(database, AFTER)
    await run(database, AFTER, Phase.EXPAND)
    await prepare(database, AFTER)


async def test_indexes_that_no_release_reads_are_dropped(database: Database) -> None:
    for collection, name in (
        (names.ENROLLMENTS, "mailbox"),
        (names.ENROLLMENTS, "untold"),
        (names.DELIVERIES, "task_inbox"),
        (names.INBOUND, "latest"),
    ):
        await database.collection(collection).ensure_indexes([Index(((name, 1),), name)])
    for schema in installed():
        await run(database, schema)
        for collection, indexes in schema.indexes.items():
            assert not await database.collection(collection).index_names() - {
                "_id_",
                *(index.name for each in installed() for index in each.indexes.get(collection, ())),
            }, indexes


async def test_a_process_ends_with_one_line_on_a_database_that_is_too_new(
    database: Database, settings: MongoSettings
) -> None:
    for schema in installed():
        await prepare(database, schema)
    await database.collection(names.MIGRATIONS).insert_one(
        {
            "_id": "api:99",
            "service": "api",
            "number": 99,
            "name": "drop_names",
            "phase": "contract",
            "state": "running",
            "release": "9.0.0",
        }
    )
    env = {**os.environ, **environment(settings)}
    with pytest.raises(RuntimeError) as refused:
        await asyncio.to_thread(run_api, env, "bootstrap", "--workspace", "Our Co", "--email", "a@b.example")
    assert str(refused.value).startswith("api bootstrap failed: api: the database is too new for release")
    assert str(refused.value).endswith("99 (drop_names) of release 9.0.0. Deploy 9.0.0 or a newer one.")
