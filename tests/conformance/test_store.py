"""The store's contract, held by Motor and by PyMongo's own async client over a real mongod."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from gridfs.asynchronous import AsyncGridFSBucket
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorGridFSBucket
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from chassis.errors import Duplicate, Fatal, Retry
from chassis.settings import MongoSettings
from chassis.store import (
    Collection,
    Database,
    DeleteOne,
    Document,
    Index,
    InsertOne,
    UpdateMany,
    UpdateOne,
    connect,
)
from chassis.testing import fresh_name

pytestmark = pytest.mark.stack

Factory = Callable[..., Any]
CLIENTS: dict[str, tuple[Factory, Factory]] = {
    "motor": (AsyncIOMotorClient, AsyncIOMotorGridFSBucket),
    "pymongo": (AsyncMongoClient, AsyncGridFSBucket),
}


@pytest.fixture(params=CLIENTS)
async def database(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Database]:
    client, bucket = CLIENTS[request.param]
    settings = MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=fresh_name())
    async with connect(settings, client=client, bucket=bucket) as connected:
        yield connected
        await connected.drop()


@pytest.fixture
def things(database: Database) -> Collection:
    return database.collection("things")


async def fail_next(database: Database, **data: Any) -> None:
    """The next command(s) named in `failCommands` fail, or lose their connection, as told."""
    await database._raw.client.admin.command(
        {"configureFailPoint": "failCommand", "mode": {"times": data.pop("times", 1)}, "data": data}
    )


@pytest.fixture
async def breakable(database: Database) -> AsyncIterator[Database]:
    """A database whose server can be told to fail; skipped where the server does not offer that."""
    admin = database._raw.client.admin
    try:
        await admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    except OperationFailure:
        pytest.skip("mongod runs without enableTestCommands")
    yield database
    await admin.command({"configureFailPoint": "failCommand", "mode": "off"})


# Values.


async def test_ids_are_uuids_and_times_are_utc_milliseconds(things: Collection) -> None:
    document = {"_id": uuid4(), "at": datetime(2026, 3, 2, 12, 0, 0, 123000, tzinfo=UTC)}
    await things.insert_one(document)
    found = await things.find_one({"_id": document["_id"]})
    assert found == document
    assert isinstance(found["_id"], UUID)
    assert found["at"].utcoffset() == timedelta(0)


async def test_server_time_is_aware_and_close(database: Database) -> None:
    skew = await database.server_time() - datetime.now(UTC)
    assert abs(skew.total_seconds()) < 5


# Reads.


async def test_find_projects_sorts_skips_and_limits(things: Collection) -> None:
    await things.insert_new([{"_id": n, "n": n, "x": "y"} for n in range(10)])
    found = await things.find(
        {"n": {"$gte": 2}}, projection={"n": 1, "_id": 0}, sort=[("n", -1)], skip=1, limit=3, hint="_id_"
    )
    assert found == [{"n": 8}, {"n": 7}, {"n": 6}]


async def test_find_returns_everything_across_cursor_batches(things: Collection) -> None:
    await things.insert_new([{"_id": n} for n in range(1000)])
    assert len(await things.find({}, batch_size=64)) == 1000
    assert [doc["_id"] async for doc in things.stream({}, sort=[("_id", 1)], batch_size=64)] == list(
        range(1000)
    )


async def test_find_one_of_nothing_is_none(things: Collection) -> None:
    assert await things.find_one({"_id": 1}) is None


async def test_aggregate_returns_all_results(things: Collection) -> None:
    await things.insert_new([{"_id": n, "odd": bool(n % 2)} for n in range(9)])
    counted = await things.aggregate(
        [{"$group": {"_id": "$odd", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}], batch_size=1
    )
    assert counted == [{"_id": False, "n": 5}, {"_id": True, "n": 4}]


async def test_count_stops_at_its_limit(things: Collection) -> None:
    await things.insert_new([{"_id": n} for n in range(9)])
    assert await things.count({}, limit=5) == 5
    assert await things.count({"_id": {"$lt": 3}}, limit=5) == 3


# Writes.


async def test_insert_one_refuses_a_taken_id_and_names_the_index(things: Collection) -> None:
    await things.insert_one({"_id": 1})
    with pytest.raises(Duplicate) as refused:
        await things.insert_one({"_id": 1})
    assert refused.value.key == ("_id",)


async def test_insert_new_says_which_documents_were_new(things: Collection) -> None:
    await things.ensure_indexes([Index((("mail", 1),), "mail", unique=True)])
    assert await things.insert_new([{"_id": 1, "mail": "a"}, {"_id": 2, "mail": "b"}]) == {1, 2}
    again: list[Document] = [
        {"_id": 2, "mail": "c"},  # the id is taken
        {"_id": 3, "mail": "a"},  # the unique field is taken
        {"_id": 4, "mail": "d"},
    ]
    assert await things.insert_new(again) == {4}
    assert await things.insert_new([]) == set()


async def test_insert_new_raises_what_is_no_duplicate(things: Collection) -> None:
    await things.ensure_validator({"required": ["kind"]})
    await things.insert_one({"_id": 1, "kind": "a"})
    with pytest.raises(Exception, match="Document failed validation"):
        await things.insert_new([{"_id": 1, "kind": "a"}, {"_id": 2}])


async def test_update_one_reports_whether_the_guard_matched(things: Collection) -> None:
    await things.insert_one({"_id": 1, "state": "open"})
    assert await things.update_one({"_id": 1, "state": "open"}, {"$set": {"state": "done"}})
    assert not await things.update_one({"_id": 1, "state": "open"}, {"$set": {"state": "lost"}})
    assert await things.find_one({"_id": 1}) == {"_id": 1, "state": "done"}


async def test_update_one_reports_a_match_that_changed_nothing(things: Collection) -> None:
    await things.insert_one({"_id": 1, "state": "done"})
    assert await things.update_one({"_id": 1}, {"$set": {"state": "done"}})


async def test_a_guarded_upsert_on_an_existing_id_is_a_duplicate(things: Collection) -> None:
    guard = {"_id": 1, "state": "open"}
    assert await things.update_one(guard, {"$set": {"n": 1}}, upsert=True)
    await things.update_one({"_id": 1}, {"$set": {"state": "done"}})
    with pytest.raises(Duplicate):
        await things.update_one(guard, {"$set": {"n": 2}}, upsert=True)


async def test_update_one_takes_array_filters_and_pipelines(things: Collection) -> None:
    await things.insert_one({"_id": 1, "list": [{"k": 1, "v": 0}, {"k": 2, "v": 0}]})
    await things.update_one({"_id": 1}, {"$set": {"list.$[e].v": 9}}, array_filters=[{"e.k": 2}])
    await things.update_one({"_id": 1}, [{"$set": {"n": {"$size": "$list"}}}])
    assert await things.find_one({"_id": 1}) == {
        "_id": 1,
        "list": [{"k": 1, "v": 0}, {"k": 2, "v": 9}],
        "n": 2,
    }


async def test_update_many_counts_matches(things: Collection) -> None:
    await things.insert_new([{"_id": n, "n": n} for n in range(5)])
    assert await things.update_many({"n": {"$gte": 3}}, {"$set": {"big": True}}, hint="_id_") == 2


async def test_update_by_ids_applies_a_guarded_pipeline_in_batches(things: Collection) -> None:
    await things.insert_new(
        [{"_id": n, "state": "open" if n % 3 else "held", "attempt": n} for n in range(1500)]
    )
    pipeline = [{"$set": {"state": "claimed", "attempt": {"$add": ["$attempt", 1]}, "at": "$$NOW"}}]
    assert await things.update_by_ids(list(range(1500)), {"state": "open"}, pipeline) == 1000
    assert await things.update_by_ids(list(range(1500)), {"state": "open"}, pipeline) == 0
    assert await things.count({"state": "claimed"}, limit=2000) == 1000
    one = await things.find_one({"_id": 1})
    assert one is not None
    assert one["attempt"] == 2
    assert await things.update_by_ids([], {"state": "open"}, pipeline) == 0


async def test_find_one_and_update_returns_the_document_after_or_before(things: Collection) -> None:
    await things.insert_one({"_id": 1, "n": 1})
    assert await things.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}}) == {"_id": 1, "n": 2}
    assert await things.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}}, after=False) == {
        "_id": 1,
        "n": 2,
    }
    assert await things.find_one_and_update({"_id": 2}, {"$inc": {"n": 1}}) is None
    assert await things.find_one_and_update({"_id": 2}, {"$inc": {"n": 1}}, upsert=True) == {"_id": 2, "n": 1}


async def test_only_one_of_many_claims_wins(things: Collection) -> None:
    await things.insert_one({"_id": 1, "owner": None})
    claims = [
        things.find_one_and_update({"_id": 1, "owner": None}, {"$set": {"owner": n}}) for n in range(20)
    ]
    assert len([won for won in await asyncio.gather(*claims) if won is not None]) == 1


async def test_replace_and_delete_report_what_they_did(things: Collection) -> None:
    assert not await things.replace_one({"_id": 1}, {"a": 1})
    assert await things.replace_one({"_id": 1}, {"a": 1}, upsert=True)
    assert await things.find_one_and_delete({"_id": 1}) == {"_id": 1, "a": 1}
    assert await things.find_one_and_delete({"_id": 1}) is None
    await things.insert_new([{"_id": n} for n in range(5)])
    assert await things.delete_one({"_id": 0})
    assert not await things.delete_one({"_id": 0})
    assert await things.delete_many({}) == 4


async def test_bulk_reports_each_kind_and_lists_duplicates(things: Collection) -> None:
    await things.insert_new([{"_id": 1, "state": "open"}, {"_id": 2, "state": "done"}, {"_id": 3}])
    outcome = await things.bulk(
        [
            UpdateOne({"_id": 1, "state": "open"}, {"$set": {"state": "done"}}),
            UpdateOne({"_id": 2, "state": "open"}, {"$set": {"n": 1}}, upsert=True),  # guarded: refused
            UpdateOne({"_id": 9}, {"$set": {"n": 1}}, upsert=True),
            InsertOne({"_id": 3}),  # refused
            InsertOne({"_id": 4}),
            DeleteOne({"_id": 3}),
        ]
    )
    assert (outcome.matched, outcome.modified, outcome.inserted, outcome.deleted) == (1, 1, 1, 1)
    assert outcome.duplicates == {1, 3}
    assert dict(outcome.upserted_ids) == {2: 9}
    assert outcome.upserted == 1
    assert (await things.bulk([])).matched == 0


async def test_bulk_without_refusals_reports_the_same_way(things: Collection) -> None:
    outcome = await things.bulk(
        [InsertOne({"_id": 1}), UpdateOne({"_id": 7}, {"$set": {"n": 1}}, upsert=True)]
    )
    assert (outcome.inserted, outcome.upserted, outcome.duplicates) == (1, 1, frozenset())
    assert (await things.bulk([UpdateMany({}, {"$set": {"n": 2}})])).matched == 2


# Set-up.


async def test_ensure_indexes_is_repeatable_and_refuses_a_different_one(things: Collection) -> None:
    index = Index((("shard", 1), ("due_at", 1)), "due", partial={"due_at": {"$exists": True}})
    await things.ensure_indexes([index])
    await things.ensure_indexes([index, Index((("n", 1),), "n", expire_after_seconds=60)])
    with pytest.raises(Fatal, match="differs"):
        await things.ensure_indexes([Index((("shard", 1),), "due")])
    await things.ensure_indexes([])


async def test_what_is_there_is_told_and_dropping_what_is_not_is_no_error(things: Collection) -> None:
    assert (await things.size(), await things.index_names()) == (0, set())
    await things.drop_index("n")
    await things.insert_new([{"_id": n} for n in range(3)])
    await things.ensure_indexes([Index((("n", 1),), "n")])
    assert (await things.size(), await things.index_names()) == (3, {"_id_", "n"})
    for _ in range(2):
        await things.drop_index("n")
    assert await things.index_names() == {"_id_"}


async def test_ensure_validator_holds_writes_to_the_schema_and_can_change(things: Collection) -> None:
    await things.ensure_validator({"required": ["a"]})
    with pytest.raises(OperationFailure):
        await things.insert_one({"_id": 1})
    await things.ensure_validator({"required": ["b"]})
    await things.insert_one({"_id": 1, "b": 1})
    with pytest.raises(OperationFailure):
        await things.update_one({"_id": 1}, {"$unset": {"b": 1}})


async def test_explain_shows_the_index_that_serves_a_query(things: Collection) -> None:
    await things.ensure_indexes([Index((("n", 1),), "n")])
    assert "'indexName': 'n'" in str(await things.explain({"n": 1}))
    assert "'indexName': '_id_'" in str(await things.explain({"n": 1, "_id": {"$in": [1]}}, hint="_id_"))


# Files.


async def test_files_come_back_whole_and_are_stored_once(database: Database) -> None:
    files, content = database.files("raw"), bytes(range(256)) * 4000
    file_id = uuid4()
    await files.put(file_id, "mail.eml", content, {"workspace_id": uuid4()})
    assert await files.get(file_id) == content
    with pytest.raises(Duplicate):
        await files.put(file_id, "mail.eml", b"other")
    assert await files.get(file_id) == content
    assert await files.delete(file_id)
    assert not await files.delete(file_id)
    assert await files.get(file_id) is None


async def test_pieces_that_a_crash_left_do_not_keep_the_id(database: Database) -> None:
    files, file_id = database.files("raw"), uuid4()
    await database.collection("raw.chunks").insert_one({"files_id": file_id, "n": 0, "data": b"half"})
    await files.put(file_id, "mail.eml", b"whole")
    assert await files.get(file_id) == b"whole"


# Failures.


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the drivers leave the socket that never connected
@pytest.mark.parametrize("name", CLIENTS)
async def test_an_unreachable_server_is_a_retry_and_soon(name: str, unused_tcp_port: int) -> None:
    client, bucket = CLIENTS[name]
    uri = f"mongodb://127.0.0.1:{unused_tcp_port}/?replicaSet=rs0"
    settings = MongoSettings(mongodb_uri=uri, mongodb_timeout_seconds=0.5)
    with pytest.raises(Retry):
        async with connect(settings, client=client, bucket=bucket):
            pass
    gc.collect()


async def test_a_lost_connection_in_a_write_is_repaired_by_the_driver_exactly_once(
    breakable: Database,
) -> None:
    things = breakable.collection("things")
    await things.insert_one({"_id": 1, "n": 0})
    await fail_next(breakable, failCommands=["update"], closeConnection=True, times=2)
    assert await things.update_one({"_id": 1}, {"$inc": {"n": 1}})
    assert await things.find_one({"_id": 1}) == {"_id": 1, "n": 1}


async def test_a_lost_connection_in_a_read_is_not_seen(breakable: Database) -> None:
    things = breakable.collection("things")
    await fail_next(breakable, failCommands=["find", "aggregate"], closeConnection=True, times=3)
    assert await things.find({}) == []
    assert await things.count({}, limit=1) == 0


async def test_a_lost_connection_in_an_update_of_many_is_a_retry(breakable: Database) -> None:
    await fail_next(breakable, failCommands=["update"], closeConnection=True)
    with pytest.raises(Retry):
        await breakable.collection("things").update_many({}, {"$set": {"n": 1}})


async def test_update_by_ids_repeats_a_batch_whose_answer_was_lost(breakable: Database) -> None:
    things = breakable.collection("things")
    await things.insert_new([{"_id": n, "state": "open"} for n in range(3)])
    await fail_next(breakable, failCommands=["update"], closeConnection=True)
    await things.update_by_ids([0, 1, 2], {"state": "open"}, {"$set": {"state": "claimed"}})
    assert await things.count({"state": "claimed"}, limit=10) == 3


@pytest.mark.parametrize("code", [262, 10107, 189, 50, 112])
async def test_a_server_in_trouble_is_a_retry(breakable: Database, code: int) -> None:
    await fail_next(breakable, failCommands=["delete"], errorCode=code)
    with pytest.raises(Retry):
        await breakable.collection("things").delete_many({})


async def test_a_write_without_its_majority_is_a_retry(breakable: Database) -> None:
    things = breakable.collection("things")
    refusal = {"code": 64, "errmsg": "waiting for replication timed out"}
    for command, write in (
        ("update", lambda: things.update_many({}, {"$set": {"n": 1}})),
        ("insert", lambda: things.insert_new([{"_id": 1}])),
        ("insert", lambda: things.bulk([InsertOne({"_id": 2})])),
    ):
        await fail_next(breakable, failCommands=[command], writeConcernError=refusal)
        with pytest.raises(Retry):
            await write()


async def test_a_wrong_query_is_a_bug_and_stays_as_it_is(things: Collection) -> None:
    with pytest.raises(OperationFailure):
        await things.find({"$nonsense": 1})
