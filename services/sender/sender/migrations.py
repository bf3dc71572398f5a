"""What the sender needs of the database; a released migration is never changed, see docs/upgrades.md."""

from chassis import documents as names
from chassis.migrations import DropIndexes, Migration, Phase, Schema
from sender import mailbox_health, prompt_store, store

SCHEMA = Schema(
    "sender",
    names.DELIVERIES,
    {
        names.DELIVERIES: store.INDEXES,
        names.MAILBOX_STATES: mailbox_health.INDEXES,
        names.PROMPTS: prompt_store.INDEXES,
    },
    validators={names.DELIVERIES: store.VALIDATOR},
    migrations=(
        # It became `tasks_of_assignee`, which ends with the id that pages go on behind.
        Migration(1, "drop_unread_indexes", Phase.CONTRACT, DropIndexes(names.DELIVERIES, ("task_inbox",))),
    ),
)
