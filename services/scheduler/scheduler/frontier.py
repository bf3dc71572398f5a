"""From which due time on a poll has to look.

MongoDB keeps deleted index entries for some minutes, for readers of the past, and a query walks over them:
after a burst of dispatches, or a hold over many people, a look at everything that is due costs seconds
although nothing is. What was due before the last poll has been seen by it, so most polls begin there; only
now and then one looks at everything, for what was written late.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis.clock import Clock

BEHIND_SECONDS = 15.0
"""How long a due time may be written after it has come, and still be found at once; real time."""
WHOLE_SECONDS = 15.0
WHOLE_SHARE = 20
"""A look at everything comes again after so many seconds, and after so many times what the last one took."""


class Frontier:
    """Where the polls of one due loop have come to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shards: tuple[int, ...] | None = None
        self._since: datetime | None = None
        self._began = 0.0
        self._whole_at = 0.0
        self._is_whole = False
        self.there_is_more = False
        self.poll_seconds = 0.0
        """What the last poll took."""

    def since(self, shards: Sequence[int], now: datetime) -> datetime | None:
        """Begin a poll; None: look at everything, also when the shards or the clock have changed."""
        self._began = self._clock.monotonic()
        jumped = self._since is None or self._since > now
        self._is_whole = jumped or tuple(shards) != self._shards or self._began >= self._whole_at
        self._shards = tuple(shards)
        return None if self._is_whole else self._since

    def polled(self, now: datetime, more_from: datetime | None) -> None:
        """A poll of what is due by `now` is over; `more_from`: there is more, and none before that."""
        behind = timedelta(seconds=BEHIND_SECONDS * self._clock.speed)
        self.there_is_more = more_from is not None
        self._since = now - behind if more_from is None else more_from
        ended = self._clock.monotonic()
        self.poll_seconds = ended - self._began
        if self._is_whole:
            self._whole_at = ended + max(WHOLE_SECONDS, WHOLE_SHARE * self.poll_seconds)
