"""Which shards this instance polls: its share of the 240, by the partitions that its group gave it."""

from collections.abc import Iterable

from segue_contracts.ids import SHARDS
from segue_contracts.topics import STAGE_OUTCOMES


class Shards:
    """During a rebalance the last share is kept: a zombie only costs lost guards."""

    def __init__(self, partitions: int = STAGE_OUTCOMES.partitions) -> None:
        self._partitions = partitions
        self._owned: tuple[int, ...] = ()

    def assigned(self, places: Iterable[tuple[str, int]]) -> None:
        """The consumer of the outcomes has these partitions now."""
        mine = {partition for _, partition in places}
        self._owned = tuple(s for s in range(SHARDS) if s % self._partitions in mine)

    def owned(self) -> tuple[int, ...]:
        """The shards to poll."""
        return self._owned
