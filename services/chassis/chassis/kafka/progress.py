"""Decides whether a consumer stands still although there is something to read.

Clients are known to stall silently, so that "the process lives" proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.kafka.records import Place


@dataclass(frozen=True, slots=True)
class Look:
    """What the watchdog saw: real seconds, handled and end offsets of every assigned partition, and two
    counters.

    `batches` counts finished batches, `drained` the polls that left nothing buffered: after one of those,
    every partition with something to read has had its chance.
    """

    at: float
    handled: Mapping[Place, int]
    ends: Mapping[Place, int]
    batches: int
    drained: int


@dataclass(frozen=True, slots=True)
class Still:
    """Since when a partition with lag has not moved."""

    offset: int
    since: float
    batches: int
    drained: int


class Progress:
    """Remembers since when each partition has been standing still."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._still: dict[Place, Still] = {}

    def judge(self, look: Look) -> str | None:
        """A reason if a partition stalled: it has lag, did not move for `stall_seconds`, and had its chance.

        A partition that waits its turn behind a busy one is not stalled: either no batch at all was finished
        in that time, or a poll emptied the buffers and brought nothing of it.
        """
        still: dict[Place, Still] = {}
        reason = None
        for place, end in look.ends.items():
            offset = look.handled.get(place, -1)
            if offset >= end:
                continue
            before = self._still.get(place)
            if before is None or before.offset != offset:
                before = Still(offset, look.at, look.batches, look.drained)
            still[place] = before
            if self._stalled(before, look):
                reason = (
                    f"{place[0]}/{place[1]} stands at {offset} of {end} for {look.at - before.since:.0f} s"
                )
        self._still = still
        return reason

    def forget(self) -> None:
        """After a rebalance every partition starts anew."""
        self._still = {}

    def _stalled(self, before: Still, look: Look) -> bool:
        idle = look.batches == before.batches
        chances = look.drained - before.drained
        return look.at - before.since >= self._stall_seconds and (idle or chances >= 2)
