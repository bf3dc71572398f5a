"""Everything that is kept about one person, whoever owns it, as one JSON object written while it is read."""

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from api.erasure import WordStore, rows_of
from chassis import documents as names
from chassis.documents import Document, hold_id
from chassis.erasure import Erasure, Sought
from chassis.personal import copies_of, messages_of, without_mailboxes
from chassis.secrets import Secrets
from chassis.store import Collection, Database, Files, Workspace

FILES: Final = {names.DELIVERIES: ("body_file", "body"), names.INBOUND: ("raw_file", "raw")}
"""Where bytes are that are too large for their document, and what they are called in it."""
INTERNAL: Final = {
    names.DELIVERIES: ("token", "settled_by", "lease_until", "claimed_at"),
    names.INBOUND: ("write",),
    names.ENROLLMENTS: ("written_by",),
}
"""What processes note for each other."""


class Belongings:
    """Reads all of a person's documents, whole: the law asks for everything, not for a view."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words = WordStore(database)
        self._files = {names.DELIVERIES: database.files("bodies"), names.INBOUND: database.files()}

    async def exists(self, workspace: Workspace, person: UUID) -> bool:
        """Whether somebody with this id was ever enrolled."""
        found = {"_id": person, "workspace_id": workspace}
        return await self._of(names.PEOPLE).find_one(found, projection={"_id": 1}) is not None

    async def same_address(self, workspace: Workspace, person: UUID) -> list[str]:
        """The external ids of others who are written to at the same address."""
        own = await self._of(names.PEOPLE).find_one({"_id": person, "workspace_id": workspace})
        if own is None or not own["addresses"]:
            return []
        others = {"workspace_id": workspace, "addresses": {"$in": own["addresses"]}, "_id": {"$ne": person}}
        found = await self._of(names.PEOPLE).find(others, projection={"external_id": 1}, limit=100)
        return [doc["external_id"] for doc in found]

    async def export(
        self, secrets: Secrets, workspace: Workspace, external_id: str, person: UUID, now: datetime
    ) -> AsyncIterator[bytes]:
        """One JSON object: `kept` has a list of documents for each collection that holds some."""
        head = {"workspace_id": workspace, "external_id": external_id, "person_id": person, "at": now}
        yield _json(head)[:-1] + b',"kept":{'
        separator = b""
        async for name, docs in self._places(secrets, workspace, external_id, person):
            yield separator + _json(name) + b":["
            separator, between = b",", b""
            async for doc in docs:
                yield between + _json(await self._whole(name, doc))
                between = b","
            yield b"]"
        yield b"}}"

    async def _places(
        self, secrets: Secrets, workspace: Workspace, external_id: str, person: UUID
    ) -> AsyncIterator[tuple[str, AsyncIterator[Document]]]:
        people = await self._of(names.PEOPLE).find(
            {"workspace_id": workspace, "$or": [{"_id": person}, copies_of(person)]}
        )
        own = [doc for doc in people if doc["_id"] == person]
        ids = [person, *(doc["_id"] for doc in people if doc["_id"] != person)]
        enrollments = await self._ids(names.ENROLLMENTS, workspace, {"person_id": {"$in": ids}})
        sent = {"enrollment_id": {"$in": enrollments}}
        sought = Sought(external_id=external_id)
        for doc in own:
            sought = sought.and_by(Sought.of_person(doc))
        sought = sought.with_reached(await self._recipients(workspace, person))
        hashes = _hashes(secrets, workspace, sought)
        rows = await rows_of(self._words, secrets, workspace, person, hashes)
        targets = await self._words.targets(_as_asked(workspace, person, sought), enrollments)
        dispatches = await self._ids(names.DELIVERIES, workspace, sent)
        holds = [hold_id("person", each) for each in ids] + [hold_id("enrollment", e) for e in enrollments]

        def found(name: str, which: Document) -> tuple[str, AsyncIterator[Document]]:
            return name, self._of(name).stream({"workspace_id": workspace, **which})

        yield found(names.PEOPLE, {"_id": {"$in": ids}})
        yield found(names.ENROLLMENTS, {"_id": {"$in": enrollments}})
        yield found(names.HOLDS, {"_id": {"$in": holds}})
        yield found(names.STOPS, {"scope": "person", "key": {"$in": ids}})
        yield found(names.DELIVERIES, sent)
        narrowed = await without_mailboxes(self._database, workspace, sought)
        yield names.INBOUND, self._messages(workspace, messages_of(ids, enrollments, narrowed))
        yield found(names.ENGAGEMENTS, {"dispatch_id": {"$in": dispatches}})
        yield found(names.PROSPECT_LIST_ROWS, {"_id": {"$in": [row["_id"] for row in rows]}})
        commands = {"target": {"$in": targets}}
        yield found(names.COMMANDS, commands)
        asked = await self._ids(names.COMMANDS, workspace, commands)
        yield found(names.COMMAND_RESULTS, {"_id": {"$in": asked}})
        yield found(names.SUPPRESSIONS, {"_id": {"$in": hashes}})
        yield found(names.ERASURES, {"_id": person})

    async def _messages(self, workspace: Workspace, ways: Sequence[Document]) -> AsyncIterator[Document]:
        told: set[UUID] = set()
        for way in ways:
            async for doc in self._of(names.INBOUND).stream({"workspace_id": workspace, **way}):
                if doc["_id"] not in told:
                    told.add(doc["_id"])
                    yield doc

    async def _recipients(self, workspace: Workspace, person: UUID) -> list[str]:
        enrollments = await self._ids(names.ENROLLMENTS, workspace, {"person_id": person})
        sent = {"workspace_id": workspace, "enrollment_id": {"$in": enrollments}}
        found = await self._of(names.DELIVERIES).find(sent, projection={"recipient": 1})
        return [doc.get("recipient") or "" for doc in found]

    async def _ids(self, name: str, workspace: Workspace, which: Document) -> list[Any]:
        found = await self._of(name).find({"workspace_id": workspace, **which}, projection={"_id": 1})
        return [doc["_id"] for doc in found]

    async def _whole(self, name: str, doc: Document) -> Document:
        """A document with its bytes, and without what processes note for each other."""
        file, inline = FILES.get(name, ("", ""))
        if doc.get(file) is not None:
            files: Files = self._files[name]
            doc = {**doc, inline: await files.get(doc[file])}
        return {key: value for key, value in doc.items() if key not in (file, *INTERNAL.get(name, ()))}

    def _of(self, name: str) -> Collection:
        return self._database.collection(name)


def _hashes(secrets: Secrets, workspace: UUID, sought: Sought) -> list[str]:
    values = [*(("address", a) for a in sought.addresses), *(("phone", p) for p in sought.phones)]
    return [hash for kind, value in values for hash in secrets.suppression_ids(workspace, kind, value)]


def _as_asked(workspace: UUID, person: UUID, sought: Sought) -> Erasure:
    """What an erasure would look for."""
    never = datetime.min.replace(tzinfo=UTC)
    return Erasure(person, workspace, never, "", None, (), {}, {}, None, 0, sought, None)


def _json(value: object) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _plain(value: object) -> object:
    """Bytes as text where they are text: a mail is, with its parts encoded as its headers say."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": b64encode(value).decode()}
    return str(value)
