"""What this process dispatched, as it is in the database since then.

An instance gets the outcomes of the shards that it polls, so most outcomes find here what a read would find,
and the guard of their write says whether it still is so.
"""

from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from chassis.clock import Clock
from scheduler.model import Document, State

MOST = 20_000
KEPT_SECONDS = 60.0


class Flights:
    """Dispatched enrollments without an outcome yet, for a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flying: OrderedDict[UUID, tuple[float, Document]] = OrderedDict()

    def began(self, dispatched: Iterable[Document]) -> None:
        """These were scheduled as read, and every one of them was dispatched."""
        now = self._clock.monotonic()
        while self._flying and now - next(iter(self._flying.values()))[0] > KEPT_SECONDS:
            self._flying.popitem(last=False)
        for e in dispatched:
            if len(self._flying) < MOST:
                flying = {"state": State.DISPATCHED.value, "attempt": e["attempt"] + 1, "rev": e["rev"] + 1}
                self._flying[e["_id"]] = now, {**e, **flying}

    def landed(self, enrollment_id: UUID) -> Document | None:
        """As it was dispatched, once; nothing where it is not known."""
        known = self._flying.pop(enrollment_id, None)
        return known[1] if known else None
