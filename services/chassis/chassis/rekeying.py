"""Writes stored secrets again under the newest of SEGUE_SECRET_KEYS, so that an older one can go."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chassis.secrets import Secrets
from chassis.store import Database, Document

Holders = Mapping[str, tuple[str, ...]]
"""Where secrets are kept: collections, and of each the fields in or below which they are."""
TOKEN: Final = "gAAAA"  # noqa: S105 - how each of Fernet's tokens begins: its version, and no date before 2106


async def renew(database: Database, secrets: Secrets, holders: Holders) -> dict[str, int]:
    """How many secrets were written again, by collection; ValueError if there is one that no key fits.

    Each write is guarded by the secret as it was read: one that somebody changes meanwhile is new anyway.
    """
    return {name: await _renew(database, name, fields, secrets) for name, fields in holders.items()}


async def _renew(database: Database, name: str, fields: tuple[str, ...], secrets: Secrets) -> int:
    collection, renewed = database.collection(name), 0
    async for document in collection.stream({}, projection=dict.fromkeys(fields, 1)):
        for path, token in tokens(document):
            if (again := secrets.renewed(token)) != token:
                same = {"_id": document["_id"], path: token}
                renewed += await collection.update_one(same, {"$set": {path: again}})
    return renewed


def tokens(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each encrypted secret in a document, by its dotted path."""
    match value:
        case str() if value.startswith(TOKEN):
            yield path, value
        case dict() | list():
            inside: Document = value if isinstance(value, dict) else dict(enumerate(value))  # type: ignore[arg-type]
            for key, each in inside.items():
                yield from tokens(each, f"{path}.{key}" if path else str(key))
