"""The one module that talks to MongoDB, on the subset of Motor that PyMongo's own async client shares.

Every write waits for a majority and its journal, every read sees only what a majority has. Errors come out as
`Retry` (transient; a write may have happened), `Duplicate` (a unique index refused), `Fatal` (the set-up is
wrong) or, for a bug, as they are. Reads are tried again here; writes are repeated only where the driver can
prove that it is the same write, or where this module says that a repetition is harmless.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NewType, TypeVar
from uuid import UUID

from bson.timestamp import Timestamp
from gridfs.errors import FileExists, NoFile
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorGridFSBucket
from pymongo import DeleteOne, IndexModel, InsertOne, ReplaceOne, ReturnDocument, UpdateMany, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from chassis.errors import Duplicate, Fatal, Retry
from chassis.retry import retrying
from chassis.settings import MongoSettings

__all__ = [
    "SERVER_STAMP",
    "BulkOutcome",
    "Collection",
    "Database",
    "DeleteOne",
    "Document",
    "Files",
    "Index",
    "InsertOne",
    "ReplaceOne",
    "Stored",
    "UpdateMany",
    "UpdateOne",
    "Workspace",
    "connect",
]


Document = dict[str, Any]
Filter = Mapping[str, Any]
Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Sort = Sequence[tuple[str, int]]
Operation = InsertOne[Document] | UpdateOne | UpdateMany | ReplaceOne[Document] | DeleteOne
Workspace = NewType("Workspace", UUID)
"""The organisation a query is about; nothing crosses it."""

T = TypeVar("T")

SERVER_STAMP = Timestamp(0, 0)
"""As a top-level field of an inserted document: mongod puts its own clock there, in whole seconds.
Source: https://www.mongodb.com/docs/manual/reference/bson-types/#timestamps
"""
CONNECT_SECONDS = 5.0
SELECT_SECONDS = 15.0
"""Long enough for an election."""
BATCH_IDS = 500
IN_FLIGHT = 3
POOL_SIZE = 50
DUPLICATE_KEY = 11000
INDEX_CONFLICTS = (85, 86)
NAMESPACE_EXISTS = 48
NOT_THERE = (26, 27)
"""NamespaceNotFound, IndexNotFound."""
# Codes of a server that is stepping down, starting, overloaded, or in conflict with another write; the driver
# labels most of them, not all. Source: the retryable writes and reads specifications, and error_codes.yml.
TRANSIENT_CODES = frozenset(
    {6, 7, 24, 43, 50, 63, 64, 89, 91, 112, 133, 134, 189, 202, 246, 251, 262, 317, 9001}
    | {10107, 11600, 11602, 13388, 13435, 13436}
)


@dataclass(frozen=True, slots=True)
class Index:
    """An index that must exist: `keys` are (field, 1 or -1) in order."""

    keys: tuple[tuple[str, int], ...]
    name: str
    unique: bool = False
    partial: Document | None = None
    expire_after_seconds: int | None = None

    def model(self) -> IndexModel:
        """As the driver wants it."""
        options: Document = {"name": self.name, "unique": self.unique}
        if self.partial is not None:
            options["partialFilterExpression"] = self.partial
        if self.expire_after_seconds is not None:
            options["expireAfterSeconds"] = self.expire_after_seconds
        return IndexModel(list(self.keys), **options)


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What a bulk write did; `duplicates` and `upserted_ids` are keyed by the operation's position."""

    matched: int = 0
    modified: int = 0
    inserted: int = 0
    deleted: int = 0
    upserted_ids: Mapping[int, Any] = field(default_factory=dict)
    duplicates: frozenset[int] = frozenset()

    @property
    def upserted(self) -> int:
        """How many upserts inserted."""
        return len(self.upserted_ids)


class Collection:
    """A collection; `raw` is the driver's own, of Motor or of PyMongo's async client."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @property
    def name(self) -> str:
        return str(self._raw.name)

    # Reads: tried again on transient errors.

    async def find(
        self,
        filter: Filter,
        *,
        projection: Filter | None = None,
        sort: Sort | None = None,
        limit: int = 0,
        skip: int = 0,
        hint: str | Sort | None = None,
        batch_size: int = 0,
    ) -> list[Document]:
        """All matching documents at once: give a limit unless the filter bounds them."""

        async def read() -> list[Document]:
            cursor = self._raw.find(
                filter, projection, sort=sort, limit=limit, skip=skip, hint=hint, batch_size=batch_size
            )
            found: list[Document] = await cursor.to_list(None)
            return found

        return await _read(read)

    async def stream(
        self,
        filter: Filter,
        *,
        projection: Filter | None = None,
        sort: Sort | None = None,
        hint: str | Sort | None = None,
        batch_size: int = 1000,
    ) -> AsyncIterator[Document]:
        """Matching documents one after another, for results too large to hold; Retry may come in the
        middle.
        """
        cursor = self._raw.find(filter, projection, sort=sort, hint=hint, batch_size=batch_size)
        try:
            with translated():
                async for document in cursor:
                    yield document
        finally:
            await cursor.close()

    async def find_one(
        self, filter: Filter, *, projection: Filter | None = None, sort: Sort | None = None
    ) -> Document | None:
        """The first matching document."""

        async def read() -> Document | None:
            found: Document | None = await self._raw.find_one(filter, projection, sort=sort)
            return found

        return await _read(read)

    async def aggregate(
        self, pipeline: Sequence[Filter], *, hint: str | Sort | None = None, batch_size: int = 0
    ) -> list[Document]:
        """All results at once. For reading pipelines only: one with $merge or $out would be run again."""

        async def read() -> list[Document]:
            options: Document = {"batchSize": batch_size} if batch_size else {}
            if hint is not None:
                options["hint"] = hint
            cursor = self._raw.aggregate(list(pipeline), **options)
            if inspect.isawaitable(cursor):  # PyMongo's is a coroutine, Motor's a cursor
                cursor = await cursor
            found: list[Document] = await cursor.to_list(None)
            return found

        return await _read(read)

    async def count(self, filter: Filter, *, limit: int) -> int:
        """How many documents match, counting no further than `limit`."""

        async def read() -> int:
            found: int = await self._raw.count_documents(filter, limit=limit)
            return found

        return await _read(read)

    async def explain(self, filter: Filter, *, sort: Sort | None = None, hint: str | None = None) -> Document:
        """The winning plan of a find, for tests that hold an index to its purpose."""
        command: Document = {"find": self.name, "filter": filter}
        if sort is not None:
            command["sort"] = dict(sort)
        if hint is not None:
            command["hint"] = hint
        with translated():
            plan: Document = await self._raw.database.command(
                {"explain": command, "verbosity": "queryPlanner"}, codec_options=self._raw.codec_options
            )
        winning: Document = plan["queryPlanner"]["winningPlan"]
        return winning

    # Writes: one guarded write changes state; the filter holds the expected state.

    async def insert_one(self, document: Document) -> None:
        """Insert; Duplicate if a unique index refuses."""
        with translated():
            await self._raw.insert_one(document)

    async def insert_new(self, documents: Sequence[Document]) -> set[Any]:
        """Insert what is not there yet; the `_id`s that were inserted by this call.

        A document refused by any unique index counts as there already. After a Retry, call again: what the
        lost call did insert is then reported as there already.
        """
        if not documents:
            return set()
        try:
            with translated():
                result = await self._raw.insert_many(documents, ordered=False)
        except _Refused as refused:
            refused.raise_unless_duplicates()
            return {
                document["_id"] for index, document in enumerate(documents) if index not in refused.indexes
            }
        return set(result.inserted_ids)

    async def update_one(
        self,
        filter: Filter,
        update: Update,
        *,
        upsert: bool = False,
        array_filters: Sequence[Filter] | None = None,
        hint: str | Sort | None = None,
    ) -> bool:
        """Whether one matched (or was upserted). False is an outcome to name and count, not an error."""
        with translated():
            result = await self._raw.update_one(
                filter, update, upsert=upsert, array_filters=array_filters, hint=hint
            )
        return bool(result.matched_count) or result.upserted_id is not None

    async def update_many(
        self,
        filter: Filter,
        update: Update,
        *,
        array_filters: Sequence[Filter] | None = None,
        hint: str | Sort | None = None,
        changed: bool = False,
    ) -> int:
        """How many matched, or were `changed`. Not one write but many: after a Retry some may be done."""
        with translated():
            result = await self._raw.update_many(filter, update, array_filters=array_filters, hint=hint)
        return int(result.modified_count if changed else result.matched_count)

    async def update_by_ids(self, ids: Sequence[Any], guard: Filter, update: Update) -> int:
        """How many of `ids` matched `guard` and were updated, in batches with three in flight.

        `guard` must not match any more once `update` is applied: a batch whose answer was lost is sent
        again, and the count is then that of the second try, too low.
        """
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def one(batch: Sequence[Any]) -> int:
            async with slots:
                # Without the hint the planner may take another index of the guard's fields: six times slower.
                filter = {**guard, "_id": {"$in": list(batch)}}
                return await retrying(lambda: self.update_many(filter, update, hint="_id_"))

        batches = [ids[start : start + BATCH_IDS] for start in range(0, len(ids), BATCH_IDS)]
        return sum(await asyncio.gather(*(one(batch) for batch in batches)))

    async def replace_one(self, filter: Filter, document: Document, *, upsert: bool = False) -> bool:
        """Whether a document matched (or was upserted)."""
        with translated():
            result = await self._raw.replace_one(filter, document, upsert=upsert)
        return bool(result.matched_count) or result.upserted_id is not None

    async def find_one_and_update(
        self,
        filter: Filter,
        update: Update,
        *,
        upsert: bool = False,
        projection: Filter | None = None,
        sort: Sort | None = None,
        after: bool = True,
        array_filters: Sequence[Filter] | None = None,
    ) -> Document | None:
        """The document after the update (or before it); None if none matched."""
        with translated():
            found: Document | None = await self._raw.find_one_and_update(
                filter,
                update,
                projection=projection,
                sort=sort,
                upsert=upsert,
                return_document=ReturnDocument.AFTER if after else ReturnDocument.BEFORE,
                array_filters=array_filters,
            )
        return found

    async def find_one_and_delete(self, filter: Filter) -> Document | None:
        """The document that was deleted; None if none matched."""
        with translated():
            found: Document | None = await self._raw.find_one_and_delete(filter)
        return found

    async def delete_one(self, filter: Filter) -> bool:
        """Whether a document was deleted."""
        with translated():
            result = await self._raw.delete_one(filter)
        return bool(result.deleted_count)

    async def delete_many(self, filter: Filter) -> int:
        """How many were deleted."""
        with translated():
            result = await self._raw.delete_many(filter)
        return int(result.deleted_count)

    async def bulk(self, operations: Sequence[Operation]) -> BulkOutcome:
        """Unordered. An upsert or insert that a unique index refuses is an outcome: see `duplicates`."""
        if not operations:
            return BulkOutcome()
        try:
            with translated():
                result = await self._raw.bulk_write(operations, ordered=False)
        except _Refused as refused:
            refused.raise_unless_duplicates()
            return _bulk_outcome(refused.result, refused.indexes)
        return _bulk_outcome(result.bulk_api_result, frozenset())

    # Set-up.

    async def size(self) -> int:
        """About how many documents there are, without counting them."""

        async def read() -> int:
            found: int = await self._raw.estimated_document_count()
            return found

        return await _read(read)

    async def index_names(self) -> set[str]:
        """The names of the indexes that are there; none without the collection."""

        async def read() -> set[str]:
            return set(await self._raw.index_information())

        return await _read(read)

    async def drop_index(self, name: str) -> None:
        """Drop it if it is there."""
        try:
            with translated():
                await self._raw.drop_index(name)
        except OperationFailure as error:
            if error.code not in NOT_THERE:
                raise

    async def ensure_indexes(self, indexes: Sequence[Index]) -> None:
        """Create what is missing; Fatal if one exists under that name and differs."""
        if not indexes:
            return
        try:
            with translated():
                await self._raw.create_indexes([index.model() for index in indexes])
        except OperationFailure as error:
            if error.code in INDEX_CONFLICTS:
                raise Fatal(
                    f"An index of {self.name} exists and differs from the declared one: {error}."
                ) from error
            raise

    async def ensure_validator(self, schema: Document) -> None:
        """Create the collection or change it so that every write is held to this `$jsonSchema`."""
        database = self._raw.database
        validator = {"$jsonSchema": schema}
        with translated():
            try:
                await database.create_collection(self.name, validator=validator)
            except (OperationFailure, PyMongoError) as error:
                if not _exists(error):
                    raise
                await database.command({"collMod": self.name, "validator": validator})


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is there; `name` is None for the pieces of one that a crash left unfinished."""

    id: Any
    at: datetime
    name: str | None


class Files:
    """Documents too large for a document (GridFS), by an id of ours."""

    def __init__(self, bucket: Any, files: Collection, chunks: Collection) -> None:
        self._bucket = bucket
        self._files = files
        self._chunks = chunks

    async def put(self, file_id: Any, name: str, content: bytes, metadata: Document | None = None) -> None:
        """Store; Duplicate if the id is taken. One writer per id at a time.

        Pieces that a crash left under the id are invisible to readers, but would make the driver finish a
        corrupt file: they are removed first.
        """
        if await self._files.find_one({"_id": file_id}, projection={"_id": 1}) is not None:
            raise Duplicate(f"the file {file_id} is there already", ("_id",))
        await self.delete(file_id)
        try:
            with translated():
                await self._bucket.upload_from_stream_with_id(file_id, name, content, metadata=metadata)
        except FileExists as error:
            raise Duplicate(f"the file {file_id} has another writer", ("_id",)) from error

    async def get(self, file_id: Any) -> bytes | None:
        """The content; None if there is no such file."""

        async def read() -> bytes | None:
            try:
                stream = await self._bucket.open_download_stream(file_id)
                content: bytes = await stream.read()
            except NoFile:
                return None
            return content

        return await _read(read)

    async def page(self, after: Any, limit: int) -> list[Stored]:
        """What is stored behind the id `after` (None: from the first on), in the order of the ids."""
        behind = {} if after is None else {"files_id": {"$gt": after}}
        chunks = await self._chunks.find(
            {**behind, "n": 0},
            projection={"files_id": 1},
            sort=[("files_id", 1), ("n", 1)],
            limit=limit,
        )
        found = await self._files.find(
            {"_id": {"$in": [chunk["files_id"] for chunk in chunks]}}, projection={"filename": 1}
        )
        named = {doc["_id"]: str(doc["filename"]) for doc in found}
        return [
            Stored(chunk["files_id"], chunk["_id"].generation_time, named.get(chunk["files_id"]))
            for chunk in chunks
        ]

    async def delete(self, file_id: Any) -> bool:
        """Whether there was such a file; pieces without one are deleted too."""
        try:
            with translated():
                await self._bucket.delete(file_id)
        except NoFile:
            return False
        return True


class Database:
    """A database of one client; collections are made where they are used."""

    def __init__(self, raw: Any, bucket: Callable[..., Any]) -> None:
        self._raw = raw
        self._bucket = bucket

    @property
    def name(self) -> str:
        return str(self._raw.name)

    def collection(self, name: str) -> Collection:
        return Collection(self._raw[name])

    def files(self, bucket: str = "files") -> Files:
        return Files(
            self._bucket(self._raw, bucket_name=bucket),
            self.collection(f"{bucket}.files"),
            self.collection(f"{bucket}.chunks"),
        )

    async def server_time(self) -> datetime:
        """mongod's clock, in UTC: what `$$NOW` would say."""

        async def read() -> datetime:
            hello = await self._raw.client.admin.command("hello")
            now: datetime = hello["localTime"]
            return now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)

        return await _read(read)

    async def drop(self) -> None:
        """Delete everything; for tests."""
        with translated():
            await self._raw.client.drop_database(self.name)


@contextlib.asynccontextmanager
async def connect(
    settings: MongoSettings,
    *,
    client: Callable[..., Any] = AsyncIOMotorClient,
    bucket: Callable[..., Any] = AsyncIOMotorGridFSBucket,
) -> AsyncIterator[Database]:
    """A database whose server has answered; Retry if none does, Fatal if it has no majority to write to.

    `client` and `bucket` are Motor's, or PyMongo's `AsyncMongoClient` and `AsyncGridFSBucket`.
    """
    raw = client(settings.mongodb_uri.get_secret_value(), **_options(settings))
    try:
        with translated():
            hello = await raw.admin.command("hello")
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise Fatal("MongoDB runs without a replica set: start it with --replSet and initiate it once.")
        yield Database(raw[settings.mongodb_database], bucket)
    finally:
        closing = raw.close()
        if inspect.isawaitable(closing):
            await closing


def _options(settings: MongoSettings) -> Document:
    options: Document = {
        "appname": "segue",
        "w": "majority",
        "journal": True,
        "readConcernLevel": "majority",
        "readPreference": "primary",
        "retryWrites": True,
        "retryReads": True,
        "uuidRepresentation": "standard",
        "tz_aware": True,
        "connectTimeoutMS": int(CONNECT_SECONDS * 1000),
        "serverSelectionTimeoutMS": int(SELECT_SECONDS * 1000),
        # Within it the driver repeats a retryable operation, always with the same transaction number.
        "timeoutMS": int(settings.mongodb_timeout_seconds * 1000),
        "maxPoolSize": POOL_SIZE,
    }
    if settings.mongodb_tls_cafile is not None:
        options |= {"tls": True, "tlsCAFile": str(settings.mongodb_tls_cafile)}
    return options


class _Refused(Exception):
    """Some operations of a bulk write were refused; all others are done."""

    def __init__(self, error: BulkWriteError) -> None:
        super().__init__(str(error))
        self.error = error
        self.result: Document = dict(error.details or {})
        self.errors: list[Document] = self.result.get("writeErrors", [])
        self.indexes = frozenset(each["index"] for each in self.errors)

    def raise_unless_duplicates(self) -> None:
        """Retry for a lost majority or transient refusals; the driver's error for all but duplicates."""
        if self.result.get("writeConcernErrors"):
            raise Retry(f"bulk write without a majority: {self.error}") from self.error
        codes: set[int] = {each["code"] for each in self.errors} - {DUPLICATE_KEY}
        if codes and codes <= TRANSIENT_CODES:
            raise Retry(f"bulk write refused: {sorted(codes)}") from self.error
        if codes:
            raise self.error


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Within the block, the driver's errors become our failure words."""
    try:
        yield
    except DuplicateKeyError as error:
        key = tuple((error.details or {}).get("keyPattern", {}))
        raise Duplicate(f"unique index on {', '.join(key) or 'unknown fields'}", key) from error
    except BulkWriteError as error:
        raise _Refused(error) from error
    except PyMongoError as error:
        if _transient(error):
            raise Retry(f"MongoDB: {type(error).__name__}: {str(error)[:300]}") from error
        raise


def its_own(field: str, keys: Sequence[Any], values: Sequence[Document]) -> Document:
    """An expression for an update of many: the one of `values` that stands where `keys` has this document's
    `field`.

    One update for many documents costs mongod half of what many updates cost.
    """
    place = {"$indexOfArray": [{"$literal": list(keys)}, f"${field}"]}
    return {"$arrayElemAt": [{"$literal": list(values)}, place]}


def _transient(error: PyMongoError) -> bool:
    if isinstance(error, ConnectionFailure | ExecutionTimeout | WriteConcernError) or error.timeout:
        return True
    if error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError"):
        return True
    return isinstance(error, OperationFailure) and error.code in TRANSIENT_CODES


def _exists(error: Exception) -> bool:
    """CollectionInvalid is what the driver raises itself, with a text; the code is the server's."""
    return getattr(error, "code", None) == NAMESPACE_EXISTS or "already exists" in str(error)


def _bulk_outcome(result: Filter, duplicates: frozenset[int]) -> BulkOutcome:
    return BulkOutcome(
        matched=result["nMatched"],
        modified=result["nModified"],
        inserted=result["nInserted"],
        deleted=result["nRemoved"],
        upserted_ids={each["index"]: each["_id"] for each in result["upserted"]},
        duplicates=duplicates,
    )


async def _read(work: Callable[[], Awaitable[T]]) -> T:
    async def once() -> T:
        with translated():
            return await work()

    return await retrying(once)
