"""Who may see, use and change a sequence, and what belongs to it: its people, messages and answers."""

from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import Any
from uuid import UUID

from api.keys import Caller, KeyScope, Role
from api.problems import forbidden, not_found
from chassis.store import Document
from segue_contracts.sequence import Access


class Right(IntEnum):
    """What somebody may do with a sequence; each one includes those before it.

    READ: see it, its people and what they answered. USE: enroll, and act on those enrolled. EDIT: save
    versions, pause it, archive it, share it.
    """

    READ = 1
    USE = 2
    EDIT = 3


NEEDED = {
    KeyScope.READ: Right.READ,
    KeyScope.TASKS: Right.USE,
    KeyScope.WRITE: Right.USE,
    KeyScope.ADMIN: Right.EDIT,
}
"""What a route with a scope needs of a sequence, where the route does not say otherwise."""


def right_to(caller: Caller, sequence: Document) -> Right | None:
    """The caller's right; None if they may not know that the sequence exists.

    Admins may everything; the team may use what is shared; for everything else one is the owner, or was
    granted a right. A role that only reads makes nothing more of a grant.
    """
    if caller.role is Role.ADMIN or sequence["owner_id"] == caller.user_id:
        return Right.READ if caller.role is Role.LIMITED else Right.EDIT
    shared = [Right.USE] if sequence["access"] == Access.SHARED.value else []
    granted = [Right[each["right"].upper()] for each in _grants(sequence, caller.user_id)]
    found = max((*shared, *granted), default=None)
    return Right.READ if found and caller.role is Role.LIMITED else found


def _grants(sequence: Document, user_id: UUID) -> list[dict[str, Any]]:
    return [each for each in sequence.get("grants", ()) if each["user_id"] == user_id]


def best_right(caller: Caller, sequences: Iterable[Document]) -> Right | None:
    """The right to what belongs to any of these sequences; an admin's does not hang on one."""
    if caller.role is Role.ADMIN:
        return Right.EDIT
    rights = (right_to(caller, each) for each in sequences)
    return max((each for each in rights if each is not None), default=None)


def check(right: Right | None, need: Right, what: str = "sequence") -> None:
    """Problem 404 where the caller may not see it, 403 where they may see it and no more."""
    if right is None:
        raise not_found(what)
    if right < need:
        raise forbidden(
            f"You may {right.name.lower()} this sequence; this needs the right to {need.name.lower()} it: "
            "ask its owner."
        )


def visible_to(caller: Caller) -> Document:
    """What matches the sequences that the caller may see."""
    if caller.role is Role.ADMIN:
        return {}
    own = caller.user_id
    return {"$or": [{"owner_id": own}, {"access": Access.SHARED.value}, {"grants.user_id": own}]}


def among(field: str, ids: Collection[UUID] | None) -> Document:
    """What matches documents of these sequences; of all sequences where `ids` is None."""
    return {} if ids is None else {field: {"$in": list(ids)}}
