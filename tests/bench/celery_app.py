"""The peers: outreach as Celery and Redis lead to it, one task a mail, and in its strongest form.

Both keep to what the documentation advises for many short tasks: prefork, no results, no events, JSON, a high
prefetch, early acknowledgement (a crash then loses mails; keeping them would be slower), connections to the
mail server and to MongoDB that live as long as the process. One process a core is the default; each of them
waits for its mail server, so with a real one more may be faster. MongoDB's write concern is the driver's
default, a majority.
"""

import os
import re
import smtplib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from celery import Celery  # type: ignore[import-untyped]
from celery.signals import worker_ready  # type: ignore[import-untyped]
from jinja2 import Environment, Template
from pymongo import MongoClient, UpdateOne
from pymongo.database import Database

Document = dict[str, Any]

SCAN = 1000
CHUNK = 50
NEXT_STAGE = timedelta(days=3)

app = Celery("peer", broker=os.environ["PEER_REDIS"])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@worker_ready.connect  # type: ignore[untyped-decorator]
def tell_ready(**_: object) -> None:
    """Its processes are forked and wait for tasks."""
    Path(os.environ["PEER_READY"]).touch()


# ---- what both share ----------------------------------------------------------------------------


@lru_cache(maxsize=1)
def database() -> Database[Document]:
    """Made after the fork, once per process."""
    client: MongoClient[Document] = MongoClient(
        os.environ["SEGUE_MONGODB_URI"], tz_aware=True, uuidRepresentation="standard"
    )
    return client[os.environ["SEGUE_MONGODB_DATABASE"]]


_connection: list[smtplib.SMTP] = []


def send(message: EmailMessage) -> None:
    """Over the connection of this process; a new one where the server has closed it."""
    if not _connection:
        _connection.append(smtplib.SMTP("127.0.0.1", int(os.environ["PEER_SINK"])))
    try:
        _connection[0].send_message(message)
    except smtplib.SMTPServerDisconnected:
        _connection.clear()
        raise


@lru_cache(maxsize=100)
def mailbox(mailbox_id: UUID) -> Document:
    """Mailboxes hardly change."""
    found = database()["mailboxes"].find_one({"_id": mailbox_id})
    assert found is not None
    return found


@lru_cache(maxsize=100)
def version(sequence_id: UUID, number: int) -> Document:
    """Versions never change."""
    found = database()["sequence_versions"].find_one({"_id": f"{sequence_id}:{number}"})
    assert found is not None
    document: Document = found["document"]
    return document


_jinja = Environment(autoescape=False, keep_trailing_newline=True)


@lru_cache(maxsize=100)
def template(source: str) -> Template:
    """`{{name|fallback}}` is `{{ name or "fallback" }}` to plain Jinja."""
    return _jinja.from_string(re.sub(r"\{\{(\w+)\|([^}]*)\}\}", r'{{ \1 or "\2" }}', source))


def compose(enrollment: Document, person: Document) -> EmailMessage:
    """The mail of the enrollment's current stage."""
    sender = mailbox(enrollment["mailbox_id"])
    sequence = version(enrollment["sequence_id"], enrollment["sequence_version"])
    stage = sequence["stages"][enrollment["stage_index"]]
    prospect = person["prospect"]
    values = {
        **prospect,
        **sequence["tokens"],
        "my_name": sender["display_name"],
        "signature": sender["signature"],
    }
    message = EmailMessage()
    message["From"] = Address(sender["display_name"], addr_spec=sender["address"])
    name = f"{prospect['first_name']} {prospect['last_name']}"
    message["To"] = Address(name, addr_spec=prospect["email"])
    message["Subject"] = template(stage["subject"]).render(values)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain="ourco.example")
    message.set_content(template(stage["text"]).render(values))
    return message


def due(limit: int) -> Iterable[list[UUID]]:
    """Ids of what is due, in batches, each taken out of the next scan's sight."""
    enrollments = database()["enrollments"]
    while True:
        now = datetime.now(UTC)
        query = {"state": "scheduled", "due_at": {"$lte": now}}
        ids = [e["_id"] for e in enrollments.find(query, {"_id": 1}).limit(limit)]
        if not ids:
            return
        enrollments.update_many({"_id": {"$in": ids}, "state": "scheduled"}, {"$set": {"state": "queued"}})
        yield ids


def sent(enrollment: Document, message: EmailMessage) -> tuple[Document, Document]:
    """Guard and change: the stage is done, the next one planned."""
    now = datetime.now(UTC)
    guard = {"_id": enrollment["_id"], "state": "queued", "stage_index": enrollment["stage_index"]}
    change = {
        "state": "scheduled",
        "stage_index": enrollment["stage_index"] + 1,
        "due_at": now + NEXT_STAGE,
        "sent_at": now,
        "message_id": message["Message-ID"],
    }
    return guard, {"$set": change}


# ---- one task a mail ----------------------------------------------------------------------------


@app.task  # type: ignore[untyped-decorator]
def scan_for_each() -> None:
    """What beat calls: one task for each mail that is due."""
    for ids in due(SCAN):
        for each in ids:
            send_one.delay(str(each))


@app.task  # type: ignore[untyped-decorator]
def send_one(enrollment_id: str) -> None:
    """Read, write the mail, send it, mark it as sent."""
    data = database()
    enrollment = data["enrollments"].find_one({"_id": UUID(enrollment_id), "state": "queued"})
    if enrollment is None:  # stopped, or another task was faster
        return
    person = data["people"].find_one({"_id": enrollment["person_id"]})
    assert person is not None
    message = compose(enrollment, person)
    send(message)
    data["enrollments"].update_one(*sent(enrollment, message))


# ---- the strongest form: tasks of fifty mails, batched reads and writes -------------------------


@app.task  # type: ignore[untyped-decorator]
def scan_for_chunks() -> None:
    """What beat calls: one task for each fifty mails that are due."""
    for ids in due(SCAN):
        for start in range(0, len(ids), CHUNK):
            send_chunk.delay([str(each) for each in ids[start : start + CHUNK]])


@app.task  # type: ignore[untyped-decorator]
def send_chunk(ids: Sequence[str]) -> None:
    """Fifty at a time: one read, one read of the people, one batch of guarded writes."""
    data = database()
    query = {"_id": {"$in": [UUID(each) for each in ids]}, "state": "queued"}
    enrollments = list(data["enrollments"].find(query, {"history": 0}))
    wanted = {"_id": {"$in": [e["person_id"] for e in enrollments]}}
    people = {p["_id"]: p for p in data["people"].find(wanted)}
    writes = []
    for enrollment in enrollments:
        message = compose(enrollment, people[enrollment["person_id"]])
        send(message)
        writes.append(UpdateOne(*sent(enrollment, message)))
    if writes:
        data["enrollments"].bulk_write(writes, ordered=False)
