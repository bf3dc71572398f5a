"""A backup of the database as it was at one instant: `python -m chassis.backup save|load FILE`.

All collections are read at the same cluster time (a snapshot session), so the copy is consistent while
everything runs. mongod keeps that instant for five minutes unless it is told otherwise
(`minSnapshotHistoryWindowInSeconds`): a larger database is backed up by snapshots of its disks.
"""

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from chassis.errors import Fatal
from chassis.settings import MongoSettings, load

HEAD = "segue-backup-1"
BATCH = 1000
LENGTH_BYTES = 4
"""A BSON document begins with its own length."""

Document = dict[str, Any]
# The driver that blocks: one reader, no deadlines of a service, and documents that are never decoded.
Raw = Database[RawBSONDocument]
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


def save(settings: MongoSettings, file: Path) -> Counter[str]:
    """Write everything into a new file; how many documents, by collection. Fatal if the file is there."""
    if file.exists():
        raise Fatal(f"{file} is there already: a backup is never written over another.")
    unfinished, counts = file.with_name(file.name + ".unfinished"), Counter[str]()
    with _Connected(settings) as database, gzip.open(unfinished, "wb", compresslevel=1) as out:
        shapes = _shapes(database)
        out.write(bson.encode({"head": HEAD, "collections": shapes}))
        with database.client.start_session(snapshot=True) as session:
            for name in shapes:
                for document in database[name].find({}, session=session):
                    out.write(bson.encode({"in": name, "is": document}))
                    counts[name] += 1
        out.write(bson.encode({"end": dict(counts)}))
    unfinished.rename(file)
    return counts


def restore(settings: MongoSettings, file: Path) -> Counter[str]:
    """Put a backup into an empty database; how many documents, by collection.

    Fatal if the database is not empty, or the file is not whole: it is read to its end before anything is
    written.
    """
    expected = _checked(file)
    counts = Counter[str]()
    with _Connected(settings) as database:
        if database.list_collection_names():
            raise Fatal(f"The database {database.name} is not empty: a backup is put into an empty one.")
        for name, shape in _head(file)["collections"].items():
            database.create_collection(name, **shape["options"])
            for index in shape["indexes"]:
                spec = {k: v for k, v in index.items() if k not in ("key", "v", "ns")}
                database[name].create_index(list(index["key"].items()), **spec)
        for name, documents in _batches(file):
            database[name].insert_many(documents, ordered=False)
            counts[name] += len(documents)
    assert counts == expected
    return counts


class _Connected:
    """The database of these settings, for the time of a block; PyMongoError comes out as Fatal."""

    def __init__(self, settings: MongoSettings) -> None:
        options: Document = {"appname": "segue-backup", "w": "majority", "document_class": RawBSONDocument}
        if settings.mongodb_tls_cafile is not None:
            options["tlsCAFile"] = str(settings.mongodb_tls_cafile)
        self._client: MongoClient[RawBSONDocument] = MongoClient(
            settings.mongodb_uri.get_secret_value(), **options
        )
        self._name = settings.mongodb_database

    def __enter__(self) -> Raw:
        return self._client[self._name]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._client.close()
        if isinstance(error, PyMongoError):
            raise Fatal(f"MongoDB: {error}") from error


def _shapes(database: Raw) -> Document:
    """The collections with their options and their indexes, but for the one on `_id`."""
    found: Document = {}
    for each in database.list_collections(filter={"type": "collection"}):
        name = str(each["name"])
        if not name.startswith("system."):
            indexes = [_plain(index) for index in database[name].list_indexes() if index["name"] != "_id_"]
            found[name] = {"options": _plain(each["options"]), "indexes": indexes}
    return found


def _plain(document: Any) -> Document:
    plain: Document = bson.decode(bson.encode(document))
    return plain


def _head(file: Path) -> Document:
    with gzip.open(file, "rb") as source:
        head = _plain(next(_read(source), {}))
    if head.get("head") != HEAD:
        raise Fatal(f"{file} is no backup of Segue.")
    return head


def _checked(file: Path) -> Counter[str]:
    """How many documents of each collection a whole backup holds."""
    _head(file)
    counts, end = Counter[str](), None
    try:
        with gzip.open(file, "rb") as source:
            for each in _read(source):
                if "in" in each:
                    counts[each["in"]] += 1
                end = each.get("end")
    except EOFError:
        end = None
    if end is None or counts != Counter(_plain(end)):
        raise Fatal(f"{file} ends in the middle: it was not finished, or it is damaged.")
    return counts


def _batches(file: Path) -> Iterator[tuple[str, list[RawBSONDocument]]]:
    name = ""
    batch: list[RawBSONDocument] = []
    with gzip.open(file, "rb") as source:
        for each in _read(source):
            here = each.get("in", "")
            if batch and (here != name or len(batch) == BATCH):
                yield name, batch
                batch = []
            if here:
                name = here
                batch.append(each["is"])
    if batch:
        yield name, batch


def _read(source: gzip.GzipFile) -> Iterator[RawBSONDocument]:
    while length := source.read(LENGTH_BYTES):
        rest = source.read(int.from_bytes(length, "little") - LENGTH_BYTES)
        yield bson.decode(length + rest, codec_options=_RAW)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; prints how many documents, as JSON by collection."""
    parser = argparse.ArgumentParser(prog="python -m chassis.backup", description=__doc__)
    parser.add_argument("what", choices=["save", "load"])
    parser.add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    settings = load(MongoSettings)
    try:
        counts = (save if given.what == "save" else restore)(settings, given.file)
    except (Fatal, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
