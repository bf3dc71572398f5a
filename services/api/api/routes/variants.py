"""The variants of stages side by side, and which of them people get from now on."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Literal
from uuid import UUID

from pydantic import Field, computed_field

from api import telemetry
from api.access import Right
from api.auditing import audit
from api.comparing import (
    BY_RULE,
    Compared,
    compared_stages,
    comparison_document,
    decision_of,
    tallies_of,
)
from api.keys import KeyScope
from api.problems import conflict, invalid_at, not_found
from api.routes.sequences import existing
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from api.significance import clear_best
from api.statistics import MOST, TooMany
from chassis.store import Document
from segue_contracts.problems import did_you_mean
from segue_contracts.sequence import MEASURED, SequenceDocument, WonBy, parse_sequence


class VariantShown(Shown):
    """One variant: what share of new people gets it, and what became of those who got it.

    `opened` and `clicked` are of `messages`, and null where the sequence does not track them. Rates are
    percent of `sent`, or of `messages`.
    """

    id: str
    weight: int
    share: float = Field(description="Percent of the people who get the stage from now on")
    sent: int
    answered: int
    interested: int
    messages: int
    opened: int | None
    clicked: int | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def answered_rate(self) -> float | None:
        """Percent of `sent`."""
        return _percent(self.answered, self.sent)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def interested_rate(self) -> float | None:
        """Percent of `sent`."""
        return _percent(self.interested, self.sent)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def opened_rate(self) -> float | None:
        """Percent of `messages`."""
        return _percent(self.opened, self.messages)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def clicked_rate(self) -> float | None:
        """Percent of `messages`."""
        return _percent(self.clicked, self.messages)


class TallyShown(Shown):
    """Of the `people` who had got a variant, those who `did` what counts."""

    variant: str
    people: int
    did: int


class DecisionShown(Shown):
    """What new people get: a variant, or (null) their share of the split, whatever the numbers say.

    `by` the sequence's rule, on the numbers in `counted`, or a person: `user_id`.
    """

    variant: str | None
    by: Literal["rule", "person"]
    user_id: UUID | None
    user_name: str | None = None
    at: datetime
    counted: list[TallyShown]


class ComparisonShown(Shown):
    """A stage's variants. `counts`: what decides, by the stage's rule or, without one, `replied`; `after` is
    null without a rule. `clear`: the variant that is better than every other one, where that is no chance.
    """

    stage_id: str
    channel: str
    counts: WonBy
    after: int | None
    clear: str | None
    decision: DecisionShown | None
    variants: list[VariantShown]


class ComparisonsShown(Shown):
    """The stages of the latest version that have variants."""

    stages: list[ComparisonShown]


class WinnerRequest(Closed):
    """Which variant everybody gets from now on; null: people go on being split, and no rule decides."""

    variant: str | None


async def comparisons(call: Call) -> Answer:
    """The variants of the latest version's stages, side by side."""
    sequence, document = await _latest(call)
    found = list(compared_stages(sequence["_id"], document))
    stored = await call.api.store.comparisons.some(call.caller.workspace, [each.id for each in found])
    decisions = {key: doc["decision"] for key, doc in stored.items() if doc.get("decision")}
    users = {UUID(each["by"]) for each in decisions.values() if each["by"] != BY_RULE}
    names = await call.api.store.people.names(call.caller.workspace, users) if users else {}
    stages = [
        await _shown(call, sequence, document, each, _decision(decisions.get(each.id), names))
        for each in found
    ]
    return Answer(ComparisonsShown(stages=stages))


async def choose(call: Call) -> Answer:
    """Say which variant everybody gets from now on; who has theirs already keeps it."""
    sequence, document = await _latest(call)
    compared, variant = _named(call, sequence, document), call.body.data.variant
    ids = {each.id for each in compared.stage.variants or ()}
    if variant is not None and variant not in ids:
        raise invalid_at("/variant", f"is no variant of {compared.stage.id}: {did_you_mean(variant, ids)}")
    workspace, user_id = call.caller.workspace, call.caller.user_id
    decision = decision_of(variant, str(user_id), call.api.clock.now())
    await audit(
        call, "sequence.winner_chosen", sequence["_id"], stage=compared.stage.id, variant=variant or "none"
    )
    new = comparison_document(workspace, sequence["_id"], compared, call.api.clock.real_now())
    await call.api.store.comparisons.overrule(new, decision)
    telemetry.WINNERS.labels("person").inc()
    names = await call.api.store.people.names(workspace, {user_id})
    return Answer(_decision(decision, names))


async def reopen(call: Call) -> Answer:
    """Take back what was decided: people are split again, and the stage's rule may decide."""
    sequence, document = await _latest(call)
    compared = _named(call, sequence, document)
    await audit(call, "sequence.winner_taken_back", sequence["_id"], stage=compared.stage.id)
    await call.api.store.comparisons.reopen(call.caller.workspace, compared.id, call.api.clock.real_now())
    return Answer(status=HTTPStatus.NO_CONTENT)


async def _latest(call: Call) -> tuple[Document, SequenceDocument]:
    sequence = await existing(call)
    version = await call.api.store.sequences.version(
        call.caller.workspace, sequence["_id"], sequence["latest_version"]
    )
    assert version is not None, "a version is stored before the sequence points at it"
    return sequence, parse_sequence(version["document"])


def _named(call: Call, sequence: Document, document: SequenceDocument) -> Compared:
    """The stage that the path names; Problem 404, or 409 where it has no variants."""
    stage_id = call.path["stage_id"]
    for each in compared_stages(sequence["_id"], document):
        if each.stage.id == stage_id:
            return each
    if any(stage.id == stage_id for stage in document.stages):
        raise conflict("no-variants", f"The stage {stage_id} has no variants to choose from.")
    raise not_found("stage")


async def _shown(
    call: Call,
    sequence: Document,
    document: SequenceDocument,
    compared: Compared,
    decision: DecisionShown | None,
) -> ComparisonShown:
    stage, tracking = compared.stage, document.tracking
    people = await _counted(call, sequence, compared, measured=False)
    measured = await _counted(call, sequence, compared, measured=True)
    by = stage.winner.by if stage.winner else WonBy.REPLIED
    whole = sum(each.weight for each in stage.variants or ())
    winner = decision.variant if decision else None
    return ComparisonShown(
        stage_id=stage.id,
        channel=stage.channel.value,
        counts=by,
        after=stage.winner.people if stage.winner else None,
        clear=clear_best(tallies_of(stage, measured if by in MEASURED else people, by)),
        decision=decision,
        variants=[
            VariantShown(
                id=each.id,
                weight=each.weight,
                share=round(100 * each.weight / whole, 1) if winner is None else 100.0 * (each.id == winner),
                sent=_number(people, each.id, "sent"),
                answered=_number(people, each.id, "answered"),
                interested=_number(people, each.id, "interested"),
                messages=_number(measured, each.id, "sent"),
                opened=_number(measured, each.id, "opened") if tracking.opens else None,
                clicked=_number(measured, each.id, "clicked") if tracking.clicks else None,
            )
            for each in stage.variants or ()
        ],
    )


async def _counted(
    call: Call, sequence: Document, compared: Compared, *, measured: bool
) -> Mapping[str, Counter[str]]:
    try:
        return await call.api.comparing.tallies(call.caller.workspace, sequence, compared, measured=measured)
    except TooMany:
        raise invalid_at("", f"is about more than {MOST:,} people, which are too many to count") from None


def _number(counted: Mapping[str, Counter[str]], variant: str, name: str) -> int:
    return counted.get(variant, Counter())[name]


def _decision(decision: Document | None, names: Mapping[UUID, str]) -> DecisionShown | None:
    if decision is None:
        return None
    is_rule = decision["by"] == BY_RULE
    user_id = None if is_rule else UUID(decision["by"])
    return DecisionShown(
        variant=decision["variant"],
        by="rule" if is_rule else "person",
        user_id=user_id,
        user_name=names.get(user_id) if user_id else None,
        at=decision["at"],
        counted=[TallyShown(**each) for each in decision["counted"]],
    )


def _percent(part: int | None, whole: int) -> float | None:
    return round(100 * part / whole, 1) if part is not None and whole else None


_WINNER = "/v1/sequences/{sequence_id}/stages/{stage_id}/winner"

ROUTES = (
    Route(
        "GET",
        "/v1/sequences/{sequence_id}/variants",
        comparisons,
        "Compare the variants of a sequence's stages",
        KeyScope.READ,
        answer=ComparisonsShown,
        tag="Sequences",
    ),
    Route(
        "PUT",
        _WINNER,
        choose,
        "Choose the variant that everybody gets from now on",
        KeyScope.WRITE,
        right=Right.EDIT,
        answer=DecisionShown,
        takes=Takes(WinnerRequest),
        tag="Sequences",
    ),
    Route(
        "DELETE",
        _WINNER,
        reopen,
        "Let people be split over the variants again",
        KeyScope.WRITE,
        right=Right.EDIT,
        status=HTTPStatus.NO_CONTENT,
        tag="Sequences",
    ),
)
