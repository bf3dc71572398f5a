"""What a run left behind, as plain data: accepted mails, documents, recorded events; and how to gather it."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import hashlib
import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.policy import default as modern
from pathlib import Path
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from chassis import documents as names
from chassis.caps import Cap, caps_of
from chassis.clock import Clock
from chassis.documents import MailboxView, WorkspaceView
from chassis.kafka.connection import client_options
from chassis.kafka.topics import partition_count
from chassis.secrets import Secrets, SecretSettings
from chassis.settings import ServiceSettings
from chassis.store import Database, connect
from segue_contracts.ids import dispatch_id
from segue_contracts.sequence import SequenceDocument, parse_sequence
from segue_contracts.topics import ENROLLMENT_EVENTS
from sender.compose import message_id
from stack.maildir import Accepted, Maildir

Document = dict[str, Any]
Documents = dict[str, dict[Any, Document]]

POLL_MS = 200
DETECTOR = "reply-detector"
"""Its suppressions say when the answer arrived, not when they were written."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted message; times are real. `digest` is that of its bytes."""

    message_id: str
    recipients: tuple[str, ...]
    data_began: datetime
    accepted_at: datetime
    digest: str

    def is_answer(self, mailboxes: Collection[str]) -> bool:
        """Whether somebody wrote it to us: only connected mailboxes (addresses in lower case) get it."""
        return all(recipient.lower() in mailboxes for recipient in self.recipients)


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the event topic; `value` is its JSON as it was written."""

    event_id: UUID
    enrollment_id: UUID
    seq: int
    type: str
    value: bytes


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the checker judges. `now` is the real instant just before the documents were read, and
    mails and events were read after them: what is younger than `now` may be ahead of its document.
    """

    now: datetime
    clock: Clock
    mails: tuple[Mail, ...] = ()
    events: tuple[Event, ...] = ()
    enrollments: Mapping[UUID, Document] = field(default_factory=dict)
    deliveries: Mapping[str, Document] = field(default_factory=dict)
    versions: Mapping[str, SequenceDocument] = field(default_factory=dict)
    holds: Mapping[str, Document] = field(default_factory=dict)
    commands: Mapping[UUID, Document] = field(default_factory=dict)
    results: Mapping[UUID, Document] = field(default_factory=dict)
    stops: Mapping[UUID, Document] = field(default_factory=dict)
    inbound: Mapping[UUID, Document] = field(default_factory=dict)
    outbox: Mapping[UUID, Document] = field(default_factory=dict)
    dispatches: Mapping[str, str] = field(default_factory=dict)
    """Which dispatch has this Message-ID: computed from the key, not read from a document."""
    caps: Mapping[str, tuple[Cap, ...]] = field(default_factory=dict)
    """The sending limits over each delivery, where there are any."""
    suppressed_at: Mapping[tuple[UUID, str], datetime] = field(default_factory=dict)
    """Since when (business time) an address must not be written to, by workspace and address."""

    def business(self, real: datetime) -> datetime:
        """The business instant of a real one."""
        return self.clock.at_real(real)

    def real(self, business: datetime) -> datetime:
        """The real instant of a business one."""
        return self.clock.origin + (business - self.clock.origin) / self.clock.speed

    def version_of(self, document: Document) -> SequenceDocument | None:
        """The version of the sequence that an enrollment or a delivery names."""
        if document.get("sequence_id") is None:
            return None
        return self.versions.get(names.version_id(document["sequence_id"], document["sequence_version"]))


class WorldSettings(ServiceSettings, SecretSettings):
    """Where a run keeps its things, by the same variables as its services."""


async def gather(settings: WorldSettings, maildir: Path) -> World:
    """Read everything, the documents first. The run may go on meanwhile."""
    clock = settings.clock()
    async with connect(settings) as database:
        now = clock.real_now()
        documents = await read_documents(database)
    connected = {mailbox["address"] for mailbox in documents[names.MAILBOXES].values()}
    mails = [mail for mail in read_mails(maildir) if not mail.is_answer(connected)]
    events = [event async for event in read_events(settings)]
    return world_of(documents, mails, events, clock=clock, now=now, secrets=Secrets(settings))


def world_of(
    documents: Documents,
    mails: Sequence[Mail],
    events: Sequence[Event],
    *,
    clock: Clock,
    now: datetime,
    secrets: Secrets,
) -> World:
    """The world that these documents, mails and events are, with what follows from them."""
    versions = {
        each["_id"]: parse_sequence(each["document"]) for each in documents[names.SEQUENCE_VERSIONS].values()
    }
    enrollments, mailboxes = documents[names.ENROLLMENTS], documents[names.MAILBOXES]
    workspaces = {e["workspace_id"] for e in enrollments.values()}
    return World(
        now=now,
        clock=clock,
        mails=tuple(mails),
        events=tuple(events),
        enrollments=enrollments,
        deliveries=documents[names.DELIVERIES],
        versions=versions,
        holds=documents[names.HOLDS],
        commands=documents[names.COMMANDS],
        results=documents[names.COMMAND_RESULTS],
        stops=documents[names.STOPS],
        inbound=documents[names.INBOUND],
        outbox=documents[names.OUTBOX],
        dispatches=_dispatches(
            enrollments.values(), documents[names.SEQUENCE_VERSIONS].values(), mailboxes, secrets
        ),
        caps=_caps(documents[names.DELIVERIES].values(), versions, mailboxes, documents[names.WORKSPACES]),
        suppressed_at=_suppressed_at(mails, workspaces, documents[names.SUPPRESSIONS], secrets),
    )


# What tells of an effect is read before what shows it.
_READ = (
    names.COMMANDS,
    names.INBOUND,
    names.STOPS,
    names.DELIVERIES,
    names.ENROLLMENTS,
    names.OUTBOX,
    names.SEQUENCE_VERSIONS,
    names.HOLDS,
    names.COMMAND_RESULTS,
    names.MAILBOXES,
    names.WORKSPACES,
    names.SUPPRESSIONS,
)
_HEAVY = {"body": 0, "raw": 0, "text": 0}


async def read_documents(database: Database) -> Documents:
    """Every document that counts, by collection and id."""
    return {name: await _all(database, name) for name in _READ}


async def _all(database: Database, collection: str) -> dict[Any, Document]:
    stream = database.collection(collection).stream({}, projection=_HEAVY)
    return {document["_id"]: document async for document in stream}


def read_mails(folder: Path) -> tuple[Mail, ...]:
    """What the mail server accepted, in that order."""
    maildir = Maildir(folder)
    return tuple(_mail(accepted, maildir.content(accepted)) for accepted in maildir.messages())


def _mail(accepted: Accepted, content: bytes) -> Mail:
    headers = BytesHeaderParser(policy=modern).parsebytes(content)
    return Mail(
        str(headers["Message-ID"] or ""),
        accepted.recipients,
        datetime.fromtimestamp(accepted.data_began, UTC),
        datetime.fromtimestamp(accepted.accepted_at, UTC),
        hashlib.sha256(content).hexdigest(),
    )


async def read_events(settings: ServiceSettings) -> AsyncIterator[Event]:
    """Every record of the event topic up to where it ends now."""
    topic = settings.kafka_topic_prefix + ENROLLMENT_EVENTS.name
    partitions = [TopicPartition(topic, n) for n in range(await partition_count(settings, ENROLLMENT_EVENTS))]
    if not partitions:
        return
    consumer = AIOKafkaConsumer(
        **client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    consumer.assign(partitions)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(each) < end for each, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    assert record.value is not None, "events are never deleted by a tombstone"
                    yield _event(record.value)
    finally:
        await consumer.stop()


def _event(value: bytes) -> Event:
    told = json.loads(value)
    return Event(UUID(told["event_id"]), UUID(told["enrollment_id"]), told["seq"], told["event_type"], value)


def _dispatches(
    enrollments: Iterable[Document],
    versions: Iterable[Document],
    mailboxes: Mapping[UUID, Document],
    secrets: Secrets,
) -> dict[str, str]:
    """The Message-ID of every dispatch that could be: each stage of any version, for each enrollment."""
    stages: dict[UUID, set[str]] = {}
    for version in versions:
        named = {stage["id"] for stage in version["document"]["stages"]}
        stages.setdefault(version["sequence_id"], set()).update(named)
    key = secrets.keyed("message-id")
    found: dict[str, str] = {}
    for e in enrollments:
        if e.get("tombstone") or e["mailbox_id"] not in mailboxes:
            continue
        domain = mailboxes[e["mailbox_id"]]["address"].rpartition("@")[2]
        for stage in stages.get(e["sequence_id"], ()):
            dispatch = dispatch_id(e["_id"], stage)
            found[message_id(key, dispatch, domain)] = dispatch
    return found


def _caps(
    deliveries: Iterable[Document],
    versions: Mapping[str, SequenceDocument],
    mailboxes: Mapping[UUID, Document],
    workspaces: Mapping[UUID, Document],
) -> dict[str, tuple[Cap, ...]]:
    """The limits as they are now over what each delivery is."""
    found: dict[str, tuple[Cap, ...]] = {}
    for d in deliveries:
        if d.get("sequence_id") is None or d["mailbox_id"] not in mailboxes:
            continue  # claimed and never rendered
        caps = caps_of(
            MailboxView.read(mailboxes[d["mailbox_id"]]),
            WorkspaceView.read(workspace) if (workspace := workspaces.get(d["workspace_id"])) else None,
            versions[names.version_id(d["sequence_id"], d["sequence_version"])].limits,
            sequence_id=d["sequence_id"],
            person_id=d["person_id"],
            is_first=d["stage_index"] == 0,
        )
        if caps:
            found[d["_id"]] = caps
    return found


def _suppressed_at(
    mails: Iterable[Mail], workspaces: Iterable[UUID], suppressions: Mapping[str, Document], secrets: Secrets
) -> dict[tuple[UUID, str], datetime]:
    """Suppressions are keyed hashes: those of the addresses that got mail are looked up."""
    found: dict[tuple[UUID, str], datetime] = {}
    addresses = {recipient.lower() for mail in mails for recipient in mail.recipients}
    for workspace in workspaces if suppressions else ():
        for address in addresses:
            domain = address.rpartition("@")[2]
            ids = (
                secrets.suppression_id(workspace, "address", address),
                secrets.suppression_id(workspace, "domain", domain),
            )
            since = [s["at"] for each in ids if (s := suppressions.get(each)) and s["by"] != DETECTOR]
            if since:
                found[workspace, address] = min(since)
    return found
