"""What each program may do in Kafka and MongoDB, and nothing more; its users are made from this table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chassis import documents as names
from segue_contracts.topics import (
    DEAD_LETTERS,
    DELIVERY_COMMANDS,
    ENGAGEMENT_EVENTS,
    ENROLLMENT_COMMANDS,
    ENROLLMENT_EVENTS,
    ENROLLMENT_STOPS,
    INBOUND_MESSAGES,
    SEQUENCE_EVENTS,
    SEQUENCE_STATE,
    STAGE_DUE,
    STAGE_OUTCOMES,
    USER_NOTIFICATIONS,
    Topic,
)

Actions = frozenset[str]
"""Of MongoDB. Source: https://www.mongodb.com/docs/manual/reference/privilege-actions/"""

READ: Final[Actions] = frozenset({"find"})
ADD: Final[Actions] = READ | {"insert"}
CHANGE: Final[Actions] = READ | {"update"}
REMOVE: Final[Actions] = READ | {"remove"}
WRITE: Final[Actions] = ADD | CHANGE | REMOVE
INDEX: Final[Actions] = frozenset({"createCollection", "createIndex", "listIndexes", "collMod"})
OWN: Final[Actions] = WRITE | INDEX
"""Of the service that writes a collection: it also makes it with its indexes."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one program. `groups`: the prefix of its consumer groups, or the name of the only one."""

    wiring: str
    groups: str
    hears: frozenset[Topic]
    tells: frozenset[Topic]
    collections: Mapping[str, Actions]
    buckets: Mapping[str, Actions] = field(default_factory=dict)
    looks_back: frozenset[Topic] = frozenset()
    """It subscribes to none of these: it keeps a mark there, and reads them again after a restore."""

    def by_collection(self) -> dict[str, Actions]:
        """With the two collections of every bucket of files."""
        files = {
            f"{bucket}.{part}": does for bucket, does in self.buckets.items() for part in ("files", "chunks")
        }
        return dict(self.collections) | files


def _all(does: Actions, *collections: str) -> dict[str, Actions]:
    return dict.fromkeys(collections, does)


RIGHTS: Final[Mapping[str, Rights]] = {
    "segue-scheduler": Rights(
        "scheduler.wiring",
        "segue.scheduler.",
        hears=frozenset({ENROLLMENT_COMMANDS, STAGE_OUTCOMES, ENROLLMENT_STOPS}),
        tells=frozenset({STAGE_DUE, DELIVERY_COMMANDS, ENROLLMENT_EVENTS, DEAD_LETTERS}),
        collections={
            **_all(ADD, names.MIGRATIONS),
            **_all(OWN, names.PEOPLE, names.COMPANIES, names.ENROLLMENTS, names.STOPS, names.HOLDS),
            **_all(OWN, names.SLOTS, names.SLOT_BOOKS, names.CALENDARS, names.REPLANS, names.OUTBOX),
            **_all(OWN, names.ERASURES),
            **_all(WRITE, names.MARKS),
            **_all(ADD, names.COMMAND_RESULTS, names.SUPPRESSIONS),
            **_all(READ, names.SEQUENCES, names.SEQUENCE_VERSIONS, names.MAILBOXES, names.WORKSPACES),
            **_all(READ, names.SMS_NUMBERS, names.DELIVERIES, names.ENGAGEMENTS, names.COMPARISONS),
        },
        looks_back=frozenset({ENROLLMENT_EVENTS, STAGE_DUE}),
    ),
    "segue-sender": Rights(
        "sender.wiring",
        "segue.sender.",
        hears=frozenset({STAGE_DUE, DELIVERY_COMMANDS}),
        tells=frozenset(
            {STAGE_OUTCOMES, ENROLLMENT_STOPS, ENROLLMENT_COMMANDS, USER_NOTIFICATIONS, DEAD_LETTERS}
        ),
        collections={
            **_all(ADD, names.MIGRATIONS),
            **_all(OWN, names.DELIVERIES, names.MAILBOX_STATES, names.PROMPTS),
            **_all(WRITE, names.MAILBOX_TOKENS, names.MARKS),
            **_all(CHANGE, names.SLOTS, names.ERASURES),  # one is spent; its own part of one is done
            **_all(ADD, names.COMMAND_RESULTS, names.SUPPRESSIONS),
            **_all(READ, names.ENROLLMENTS, names.PEOPLE, names.HOLDS, names.SEQUENCE_VERSIONS),
            **_all(READ, names.MAILBOXES, names.WORKSPACES, names.USERS, names.SMS_NUMBERS),
            **_all(READ, names.SIGNING_DOMAINS, names.ATTACHMENTS, names.COMPARISONS),
        },
        buckets={"bodies": OWN},
        looks_back=frozenset({STAGE_OUTCOMES}),
    ),
    "segue-reply-detector": Rights(
        "reply_detector.wiring",
        "segue.reply-detector.inbound",
        hears=frozenset({INBOUND_MESSAGES}),
        tells=frozenset(
            {ENROLLMENT_STOPS, ENROLLMENT_COMMANDS, DELIVERY_COMMANDS, USER_NOTIFICATIONS, DEAD_LETTERS}
        ),
        collections={
            **_all(ADD, names.MIGRATIONS),
            **_all(OWN, names.INBOUND),
            **_all(ADD, names.COMMAND_RESULTS, names.SUPPRESSIONS),
            **_all(READ, names.DELIVERIES, names.ENROLLMENTS, names.PEOPLE, names.SEQUENCE_VERSIONS),
            **_all(READ | INDEX, names.MAILBOXES),
            **_all(CHANGE, names.ERASURES),
            **_all(READ, names.HOLDS, names.WORKSPACES, names.MARKS),
        },
        buckets={"files": OWN},
    ),
    "segue-mailbox-watcher": Rights(
        "reply_detector.watch_wiring",
        "segue.mailbox-watcher",
        hears=frozenset({INBOUND_MESSAGES}),
        tells=frozenset({INBOUND_MESSAGES, DELIVERY_COMMANDS, DEAD_LETTERS}),
        collections={
            **_all(ADD, names.MIGRATIONS),
            **_all(OWN, names.MAILBOX_CURSORS),
            **_all(WRITE, names.MAILBOX_TOKENS),
            **_all(ADD | INDEX, names.INBOUND),
            **_all(READ | INDEX, names.MAILBOXES),
            **_all(READ, names.DELIVERIES, names.MARKS),
        },
        buckets={"files": OWN},
    ),
    "segue-api": Rights(
        "api.wiring",
        "segue.api.",
        hears=frozenset({ENROLLMENT_EVENTS, ENGAGEMENT_EVENTS, USER_NOTIFICATIONS}),
        tells=frozenset(
            {
                ENROLLMENT_COMMANDS,
                DELIVERY_COMMANDS,
                INBOUND_MESSAGES,
                ENROLLMENT_STOPS,
                ENGAGEMENT_EVENTS,
                SEQUENCE_EVENTS,
                SEQUENCE_STATE,
                USER_NOTIFICATIONS,
                DEAD_LETTERS,
            }
        ),
        collections={
            **_all(ADD, names.MIGRATIONS),
            **_all(OWN, names.SEQUENCES, names.SEQUENCE_VERSIONS, names.SEQUENCE_COUNTS, names.WORKSPACES),
            **_all(OWN, names.MAILBOXES, names.USERS, names.API_KEYS, names.SESSIONS, names.COMMANDS),
            **_all(OWN, names.BULK_COMMANDS, names.PROSPECT_LISTS, names.PROSPECT_LIST_ROWS),
            **_all(OWN, names.IDEMPOTENCY_KEYS, names.SIGNING_DOMAINS, names.AUDIT_LOG, names.SMS_NUMBERS),
            **_all(OWN, names.RECEIPTS, names.ENGAGEMENTS, names.WEBHOOK_TOKENS, names.WEBHOOKS),
            **_all(OWN, names.WEBHOOK_DELIVERIES, names.ATTACHMENTS, names.DELEGATIONS, names.SUPPRESSIONS),
            **_all(CHANGE | REMOVE | INDEX, names.COMMAND_RESULTS),  # it clears away what was told
            **_all(OWN, names.COMPARISONS),
            **_all(CHANGE, names.ERASURES),
            **_all(ADD, names.INBOUND),
            **_all(READ, names.ENROLLMENTS, names.PEOPLE, names.HOLDS, names.STOPS, names.CALENDARS),
            **_all(READ, names.DELIVERIES, names.MAILBOX_STATES, names.MAILBOX_CURSORS),
        },
        buckets={"files": OWN, "bodies": READ},
    ),
}
