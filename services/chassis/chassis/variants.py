"""Which of a stage's variants somebody gets: split by the dispatch, until a winner is chosen; pure."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

from segue_contracts.sequence import Stage, Variant

_SALT: Final = "variant/"
"""So that a variant does not go with a time: a range of times hashes the same dispatch id without it."""


def comparison_id(sequence_id: UUID, stage: Stage) -> UUID | None:
    """What compares a stage's variants; None for a stage without any.

    The same in every version in which they say the same: the shares and the rule for a winner may change on
    the way, but numbers of other words are numbers of something else.
    """
    if stage.variants is None:
        return None
    worded = sorted((name, words.subject, words.text, words.html) for name, words in stage.wordings() if name)
    return uuid5(sequence_id, json.dumps([stage.id, stage.channel.value, worded]))


def chosen(
    variants: Sequence[Variant], dispatch_id: str, *, winner: str | None = None, kept: str | None = None
) -> Variant:
    """The variant of a dispatch: the one it has (`kept`), else the winner, else its share of the split.

    A name that none of the variants has any more counts as none.
    """
    named = {variant.id: variant for variant in variants}
    return named.get(kept or "") or named.get(winner or "") or split(variants, dispatch_id)


def split(variants: Sequence[Variant], dispatch_id: str) -> Variant:
    """By the weights, and by nothing else than the dispatch id; the order of the variants does not matter."""
    digest = sha256(f"{_SALT}{dispatch_id}".encode("utf-8", "surrogatepass")).digest()
    ordered = sorted(variants, key=lambda variant: variant.id)
    point = int.from_bytes(digest[:8]) * sum(variant.weight for variant in ordered) >> 64
    for variant in ordered[:-1]:
        point -= variant.weight
        if point < 0:
            return variant
    return ordered[-1]
