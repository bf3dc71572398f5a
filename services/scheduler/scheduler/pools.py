"""Which mailbox of a sequence's pool writes to a person: always the same one, once one has."""

import hashlib
from collections.abc import Collection, Sequence
from uuid import UUID


def choose_mailbox(
    pool: Sequence[UUID], person: UUID, earlier: Sequence[UUID], resting: Collection[UUID]
) -> UUID | None:
    """The first of the `earlier` ones (of the person's enrollments, the oldest first) that is in the pool,
    even if it rests: the person knows it, and waits with it. Else one that does not rest, the same for a
    person whatever the order of the pool; where all of them rest, one of them. None for an empty pool.
    """
    known = next((mailbox for mailbox in earlier if mailbox in pool), None)
    if known is not None:
        return known
    awake = [mailbox for mailbox in pool if mailbox not in resting] or list(pool)
    # The highest hash wins: one mailbox more or less moves only those who get it, or had it.
    return max(awake, key=lambda each: hashlib.sha256(person.bytes + each.bytes).digest(), default=None)
