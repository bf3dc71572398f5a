"""Whether one variant is clearly better than the others, or it may be chance; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

CLEAR: Final = 3.0
"""How many standard errors two shares must lie apart. At a single look 1.96 leaves chance 5 %; but the
numbers are looked at as they come, which would make it every third comparison of equals. At 3, all looks
together stay below 5 %, until thirty times the people of the first one (Siegmund, Sequential Analysis, 1985).
"""
MIN_EXPECTED: Final = 5
"""Below so many people of either kind, if both were alike, the normal distribution says nothing (Cochran)."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Of the people who got a variant, those who did what counts."""

    variant: str
    people: int
    did: int

    @property
    def share(self) -> float:
        """Of 1; 0 of nobody."""
        return self.did / self.people if self.people else 0.0


def is_clear(better: Tally, other: Tally) -> bool:
    """Whether a two-proportion z test with a pooled share tells them apart, `better` above."""
    if not (better.people and other.people):
        return False
    pooled = (better.did + other.did) / (better.people + other.people)
    expected = min(better.people, other.people) * min(pooled, 1 - pooled)
    if expected < MIN_EXPECTED:
        return False
    error = sqrt(pooled * (1 - pooled) * (1 / better.people + 1 / other.people))
    return (better.share - other.share) / error >= CLEAR


def clear_best(tallies: Sequence[Tally]) -> str | None:
    """The variant that is clearly better than every other one."""
    best = max(tallies, key=lambda each: each.share, default=None)
    if best is None or not all(is_clear(best, each) for each in tallies if each is not best):
        return None
    return best.variant if len(tallies) > 1 else None


def winner(tallies: Sequence[Tally], after: int) -> str | None:
    """The clear best once each was sent to `after` people; those that are alike go on."""
    return clear_best(tallies) if all(each.people >= after for each in tallies) else None
