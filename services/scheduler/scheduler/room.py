"""Where one more message fits under its limits: rolling windows, kept as the instants that are full.

A cap of n messages in w seconds is broken exactly when n + 1 of its instants lie within less than w. So each
n taken instants that lie within less than w, the first at a and the last at b, fill everything between b - w
and a + w. These spans are kept merged: the next free instant is one look-up, however many are taken.

A cap that holds until an instant concerns the windows whose last message goes before it: groups that end
later fill nothing, and no span reaches over it.
"""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from chassis.caps import Cap


class Room:
    """The instants (whole Unix seconds) taken under one key, against the caps that hold for it."""

    def __init__(self, caps: Iterable[Cap], taken: Iterable[int] = ()) -> None:
        self._taken = sorted(taken)
        self._full = [_Full(cap.count, cap.seconds, cap.until) for cap in caps]
        for full in self._full:
            for first in range(len(self._taken) - full.count + 1):
                full.fill(self._taken, first, first)

    def next_free(self, at: int) -> int:
        """The first instant not before `at` at which one more breaks no cap."""
        before = None
        while at != before:
            before = at
            for full in self._full:
                at = full.next_free(at)
        return at

    def take(self, at: int) -> None:
        """One more at that instant."""
        place = bisect_right(self._taken, at)
        self._taken.insert(place, at)
        for full in self._full:
            first = max(0, place - full.count + 1)
            full.fill(self._taken, first, min(place, len(self._taken) - full.count))


class _Full:
    """The spans `[start, end)` that one cap leaves no room in: sorted, and apart from one another."""

    def __init__(self, count: int, seconds: int, until: int | None) -> None:
        self.count = count
        self._seconds = seconds
        self._until = sys.maxsize if until is None else until
        self._starts: list[int] = []
        self._ends: list[int] = []

    def next_free(self, at: int) -> int:
        index = bisect_right(self._starts, at) - 1
        return self._ends[index] if index >= 0 and at < self._ends[index] else at

    def fill(self, taken: Sequence[int], first: int, last: int) -> None:
        """Look at the groups of `count` instants that begin at the indexes `first` to `last`.

        All groups that hold one instant fill the time around it, so what they fill is one span.
        """
        crowded = [
            index
            for index in range(first, last + 1)
            if taken[index + self.count - 1] - taken[index] < self._seconds
            and taken[index + self.count - 1] < self._until
        ]
        if crowded:
            start = taken[crowded[0] + self.count - 1] - self._seconds + 1
            self._add(start, min(taken[crowded[-1]] + self._seconds, self._until))

    def _add(self, start: int, end: int) -> None:
        """Merge a span into the others."""
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]
