"""Where something of a person is kept: whoever adds a collection says here whether it can name somebody.

Erasing and exporting stand on it; a test holds it against all collections.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final
from uuid import UUID

from chassis import documents as names
from chassis.documents import Document
from chassis.erasure import Sought
from chassis.store import Database

PERSONAL: Final = {
    names.PEOPLE: "facts, addresses, phones",
    names.COMPANIES: "a company's key, which may be one person's domain",
    names.ENROLLMENTS: "edited words, the producer's id, reasons of plans",
    names.HOLDS: "why people paused somebody",
    names.STOPS: "the word for why somebody was stopped",
    names.DELIVERIES: "what was sent, to which address, tasks with their notes",
    names.PROMPTS: "names of people, until a user was told of a task",
    names.INBOUND: "what came from them, or about them",
    names.PROSPECT_LIST_ROWS: "rows of uploaded lists",
    names.COMMANDS: "what was asked about them, until it is done",
    names.COMMAND_RESULTS: "what became of commands about them",
    names.IDEMPOTENCY_KEYS: "answers that named them, encrypted, for a day",
    names.SUPPRESSIONS: "keyed hashes of addresses and phones",
    names.ENGAGEMENTS: "when they opened and clicked",
    names.ERASURES: "whom to look for, while they are being erased",
}
"""What each holds of a person."""
IMPERSONAL: Final = {
    **dict.fromkeys(
        (names.WORKSPACES, names.MAILBOXES, names.USERS, names.API_KEYS, names.SESSIONS, names.DELEGATIONS),
        "of the organisation and its users",
    ),
    **dict.fromkeys(
        (names.SEQUENCES, names.SEQUENCE_VERSIONS, names.ATTACHMENTS), "written for everybody in a sequence"
    ),
    **dict.fromkeys(
        (names.SIGNING_DOMAINS, names.SMS_NUMBERS, names.MAILBOX_TOKENS, names.CALENDARS),
        "of the organisation's domains, numbers and logins",
    ),
    **dict.fromkeys(
        (names.AUDIT_LOG, names.BULK_COMMANDS, names.PROSPECT_LISTS, names.WEBHOOKS),
        "who did what to which id",
    ),
    **dict.fromkeys(
        (names.SLOTS, names.SLOT_BOOKS, names.REPLANS, names.OUTBOX, names.RECEIPTS),
        "ids, times and states",
    ),
    names.WEBHOOK_DELIVERIES: "events: ids, times and codes",
    **dict.fromkeys(
        (
            *(names.SEQUENCE_COUNTS, names.COMPARISONS, names.MAILBOX_STATES, names.MAILBOX_CURSORS),
            *(names.WEBHOOK_TOKENS, names.MIGRATIONS, names.MARKS),
        ),
        "counts, places and hashes of secrets",
    ),
}
"""Why each holds nothing of a person but their random id."""


def messages_of(people: Collection[UUID], enrollments: Collection[UUID], sought: Sought) -> list[Document]:
    """What matches judged messages from, to or about these: each way has an index of its own."""
    return [
        {"match.enrollments": {"$in": list(enrollments)}},
        {"answer.people": {"$in": list(people)}, "answer": {"$exists": True}},
        {"addresses": {"$in": list(sought.reached)}},
    ]


async def without_mailboxes(database: Database, workspace: UUID, sought: Sought) -> Sought:
    """Not by the addresses of the workspace's own mailboxes: each message in one of them names it."""
    own = await database.collection(names.MAILBOXES).find(
        {"workspace_id": workspace, "address": {"$in": list(sought.addresses)}}, projection={"address": 1}
    )
    ours = {doc["address"] for doc in own}
    return replace(sought, addresses=tuple(each for each in sought.addresses if each not in ours))


def copies_of(person: UUID) -> Document:
    """What matches the people who are tests with this person's facts, at a user's own address."""
    begins = copy_id(person, "")
    return {"external_id": {"$gte": begins, "$lt": f"{begins}~"}}


def copy_id(person: UUID, test: str) -> str:
    """The external id of a test with a person's facts; random ids sort before `~`."""
    return f"test-{person.hex}-{test}"
