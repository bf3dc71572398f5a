"""Which phone number a text message goes out from: scheduler (limits) and sender must agree on it."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from chassis.documents import SmsNumberView


def choose_number(
    person_id: UUID, owner_id: UUID, numbers: Sequence[SmsNumberView], used: UUID | None
) -> SmsNumberView | None:
    """Of the numbers that can send: the one of the enrollment's texts before (`used`), else one that stays
    the same for the person, of the owner's numbers, else of the workspace's; None where there is none.
    """
    before = [number for number in numbers if number.id == used]
    if before or not numbers:
        return before[0] if before else None
    own = [number for number in numbers if number.owner_id == owner_id]
    # The highest hash wins: one number more or less moves only those who get it, or had it.
    return max(own or numbers, key=lambda number: hashlib.sha256(person_id.bytes + number.id.bytes).digest())
