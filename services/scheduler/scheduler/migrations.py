"""What the scheduler needs of the database; a released migration is never changed, see docs/upgrades.md."""

from chassis import documents as names
from chassis.erasure import INDEXES as ERASURE_INDEXES
from chassis.migrations import DropIndexes, Migration, Phase, Schema
from scheduler import slot_store, store

SCHEMA = Schema(
    "scheduler",
    names.ENROLLMENTS,
    {**store.INDEXES, **slot_store.INDEXES, names.ERASURES: ERASURE_INDEXES},
    migrations=(
        # `mailbox` became `live_by_mailbox`; what is owed to the brokers went from `untold` to a collection.
        Migration(
            1, "drop_unread_indexes", Phase.CONTRACT, DropIndexes(names.ENROLLMENTS, ("mailbox", "untold"))
        ),
    ),
)
