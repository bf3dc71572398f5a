"""MongoDB's roles, one for each program and one for migrations, as the commands that make them."""

from typing import Any, Final

from stack.manifests.rights import RIGHTS, Actions

Command = dict[str, Any]

MIGRATE: Final = "segue-migrate"
DATABASE: Final = "segue"


def roles(database: str = DATABASE) -> list[Command]:
    """`createRole` of every role, to be run against `database`; `updateRole` takes the same fields."""
    programs = [_role(name, database, rights.by_collection()) for name, rights in RIGHTS.items()]
    # Documents and indexes of every collection, and nothing of users and roles.
    whole = [{"role": role, "db": database} for role in ("readWrite", "dbAdmin")]
    return [*programs, {"createRole": MIGRATE, "privileges": [], "roles": whole}]


def _role(name: str, database: str, collections: dict[str, Actions]) -> Command:
    privileges = [
        {"resource": {"db": database, "collection": collection}, "actions": sorted(actions)}
        for collection, actions in sorted(collections.items())
    ]
    # Whoever makes a collection looks first whether it is there.
    names = {"resource": {"db": database, "collection": ""}, "actions": ["listCollections"]}
    return {"createRole": name, "privileges": [names, *privileges], "roles": []}
