"""What the detector and the mailbox watcher need of the database; a released migration is never changed."""

from chassis import documents as names
from chassis.migrations import DropIndexes, Migration, Phase, Schema
from reply_detector import cursors, erasure, retention, store

SCHEMA = Schema(
    "reply-detector",
    names.INBOUND,
    {
        names.INBOUND: (*store.INDEXES, *retention.INDEXES, *erasure.INDEXES, *cursors.INBOUND_INDEXES),
        names.MAILBOXES: cursors.MAILBOX_INDEXES,
    },
    migrations=(
        # The lists of answers have indexes of their own.
        Migration(1, "drop_unread_indexes", Phase.CONTRACT, DropIndexes(names.INBOUND, ("latest",))),
    ),
)
