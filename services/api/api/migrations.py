"""What the API needs of the database; a released migration is never changed, see docs/upgrades.md."""

from api import store
from chassis import documents as names
from chassis.migrations import Schema

SCHEMA = Schema("api", names.WORKSPACES, store.INDEXES)
