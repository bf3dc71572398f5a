"""Compares the variants of stages, and decides for one where its sequence's rule and the numbers say so."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from api import telemetry
from api.comparison_store import Comparisons
from api.significance import Tally, winner
from api.statistics import Asked, TooMany
from chassis.clock import Clock
from chassis.store import Document, Workspace
from chassis.telemetry import fields
from chassis.variants import comparison_id
from segue_contracts.sequence import MEASURED, SequenceDocument, SequenceError, Stage, WonBy, parse_sequence

log = logging.getLogger(__name__)

BATCH: Final = 20
LEASE: Final = timedelta(minutes=2)
SHARE: Final = 20
"""A count that took a second is made again after so many at the earliest."""
LONGEST_SECONDS: Final = 3600.0
"""Between two looks at numbers that do not change."""
PATIENCE: Final = timedelta(hours=1)
"""For the version that a comparison was opened for to be published."""
BY_RULE: Final = "rule"
CLOCKS_APART: Final = timedelta(days=1)
"""More than the services' clocks ever differ, a fast one's too."""
COUNTED: Final[Mapping[WonBy, str]] = {
    WonBy.REPLIED: "answered",
    WonBy.INTERESTED: "interested",
    WonBy.CLICKED: "clicked",
    WonBy.OPENED: "opened",
}
"""What the statistics call it."""


class Versions(Protocol):
    """What this module needs of the sequences."""

    async def one(self, workspace: Workspace, sequence_id: UUID) -> Document | None: ...
    async def version(self, workspace: Workspace, sequence_id: UUID, version: int) -> Document | None: ...
    async def wordings(self, workspace: Workspace, sequence_id: UUID) -> list[Document]: ...


class Counts(Protocol):
    """What this module needs of the statistics."""

    async def compared(self, asked: Asked, *, measured: bool) -> Mapping[str, Counter[str]]: ...


@dataclass(frozen=True, slots=True)
class Compared:
    """A stage with variants and what compares them."""

    id: UUID
    stage: Stage


def compared_stages(sequence_id: UUID, document: SequenceDocument) -> Iterator[Compared]:
    """The stages of a version that have variants."""
    for stage in document.stages:
        found = comparison_id(sequence_id, stage)
        if found is not None:
            yield Compared(found, stage)


def comparison_document(
    workspace: Workspace, sequence_id: UUID, compared: Compared, real_now: datetime
) -> Document:
    """A comparison in which nothing is decided."""
    return {
        "_id": compared.id,
        "workspace_id": workspace,
        "sequence_id": sequence_id,
        "stage_id": compared.stage.id,
        "created_at": real_now,
    }


class Comparing:
    """Counts, and decides by a sweep."""

    def __init__(
        self, clock: Clock, versions: Versions, comparisons: Comparisons, counts: Counts, every_seconds: float
    ) -> None:
        self._clock = clock
        self._versions = versions
        self._comparisons = comparisons
        self._counts = counts
        self._every = every_seconds

    async def tallies(
        self, workspace: Workspace, sequence: Document, compared: Compared, *, measured: bool
    ) -> Mapping[str, Counter[str]]:
        """What became of those who got each variant in just these words, in whatever version.

        Raises TooMany.
        """
        asked = Asked(
            workspace=workspace,
            sequences=frozenset({sequence["_id"]}),
            since=sequence["created_at"] - CLOCKS_APART,
            until=self._clock.now() + CLOCKS_APART,
            zone="UTC",
            stage=compared.stage.id,
            versions=await self._with_these_words(workspace, sequence["_id"], compared),
        )
        return await self._counts.compared(asked, measured=measured)

    async def _with_these_words(
        self, workspace: Workspace, sequence_id: UUID, compared: Compared
    ) -> frozenset[int]:
        """The versions in which the stage compares the same."""
        found = await self._versions.wordings(workspace, sequence_id)
        return frozenset(
            doc["version"]
            for doc in found
            for stage in doc["document"]["stages"]
            if stage["id"] == compared.stage.id and stage.get("variants")
            if comparison_id(sequence_id, Stage.model_validate(stage)) == compared.id
        )

    # ---- the sweep ------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Look at what is due; each in its own time."""
        for doc in await self._comparisons.due(self._clock.real_now(), BATCH):
            leased = self._clock.real_now() + LEASE
            if await self._comparisons.put_off(doc, leased):
                await self._look({**doc, "look_at": leased})

    async def _look(self, doc: Document) -> None:
        workspace, began = Workspace(doc["workspace_id"]), self._clock.monotonic()
        found = await self._latest(workspace, doc)
        if found is None:
            await self._rest(doc)
            return
        sequence, compared = found
        assert compared.stage.winner is not None, "it was found by its rule"
        by = compared.stage.winner.by
        try:
            counted = await self.tallies(workspace, sequence, compared, measured=by in MEASURED)
        except TooMany:
            log.warning(
                "too many to compare", extra=fields("comparison.too_many", comparison=str(doc["_id"]))
            )
            await self._comparisons.put_off(doc, self._clock.real_now() + timedelta(seconds=LONGEST_SECONDS))
            return
        tallies = tallies_of(compared.stage, counted, by)
        won = winner(tallies, compared.stage.winner.people)
        if won is None:
            await self._look_again(doc, tallies, self._clock.monotonic() - began)
            return
        decision = decision_of(won, BY_RULE, self._clock.now(), tallies)
        if await self._comparisons.decide(doc, decision):
            telemetry.WINNERS.labels(BY_RULE).inc()
            log.info("a variant won", extra=fields("comparison.won", comparison=str(doc["_id"]), variant=won))

    async def _latest(self, workspace: Workspace, doc: Document) -> tuple[Document, Compared] | None:
        """The sequence and its stage, if the latest version has it in these words and with a rule."""
        sequence = await self._versions.one(workspace, doc["sequence_id"])
        if sequence is None:
            return None
        version = await self._versions.version(workspace, sequence["_id"], sequence["latest_version"])
        try:
            document = parse_sequence((version or {}).get("document") or {})
        except SequenceError:
            return None
        for compared in compared_stages(sequence["_id"], document):
            if compared.id == doc["_id"] and compared.stage.winner is not None:
                return sequence, compared
        return None

    async def _rest(self, doc: Document) -> None:
        """There is nothing to decide: never again, unless its version is still about to be published."""
        real_now = self._clock.real_now()
        is_new = real_now - doc["opened_at"] < PATIENCE
        await self._comparisons.put_off(doc, real_now + timedelta(seconds=self._every) if is_new else None)

    async def _look_again(self, doc: Document, tallies: list[Tally], took: float) -> None:
        numbers = [each.people + each.did for each in tallies]
        wait = 2 * doc["wait_seconds"] if numbers == doc.get("numbers") else 0.0
        wait = min(LONGEST_SECONDS, max(wait, self._every, SHARE * took))
        look_at = self._clock.real_now() + timedelta(seconds=wait)
        await self._comparisons.put_off(doc, look_at, wait_seconds=wait, numbers=numbers)


def tallies_of(stage: Stage, counted: Mapping[str, Counter[str]], by: WonBy) -> list[Tally]:
    """Of each of the stage's variants, the people and those who did what counts."""
    return [
        Tally(each.id, counted[each.id]["sent"], counted[each.id][COUNTED[by]])
        if each.id in counted
        else Tally(each.id, 0, 0)
        for each in stage.variants or ()
    ]


def decision_of(variant: str | None, by: str, at: datetime, tallies: Sequence[Tally] = ()) -> Document:
    """As it is kept; `by`: the rule, or a user's id; `tallies`: on what numbers."""
    counted = [{"variant": each.variant, "people": each.people, "did": each.did} for each in tallies]
    return {"variant": variant, "by": by, "at": at, "counted": counted}
