"""The counts of a sequence as people see them."""

from datetime import date, datetime
from typing import Any

from pydantic import Field

from api.count_store import LIVE
from api.routing import Shown
from chassis.store import Document


class SequenceCounts(Shown):
    """What a sequence counts to, as of `counted_at` (a real instant): counting a million people takes longer
    than an answer may, so it is done behind, while somebody looks.

    `held`: of the planned ones, those that are paused. `answered` also has those who had finished before.
    """

    counted_at: datetime
    enrolled: int
    live: int
    states: dict[str, int]
    held: int
    answered: int
    answered_by_state: dict[str, int]
    interested: int
    bounced: int
    next_out_at: datetime | None = Field(description="When the next message is planned")


class StageCounts(Shown):
    """A stage of the latest version: messages sent, and people who answered after it, before the next."""

    stage_id: str
    channel: str
    sent: int
    answered: int
    interested: int


class Day(Shown):
    """One day, in the owner's time zone: messages sent, and people whose next stage is planned then."""

    date: date
    sent: int
    planned: int


class SequenceCounted(SequenceCounts):
    """All counts of a sequence."""

    stops: dict[str, int]
    stages: list[StageCounts]
    days: list[Day]
    zone: str


def counts_of(doc: Document | None) -> SequenceCounts | None:
    """The short form; None where nothing is known yet."""
    return SequenceCounts(**_short(doc)) if doc else None


def counted(doc: Document, stages: list[dict[str, Any]]) -> SequenceCounted:
    """All of it, by the stages of the latest version."""
    by_stage = [
        StageCounts(
            stage_id=stage["id"],
            channel=stage["channel"],
            sent=doc["sent_by_stage"].get(stage["id"], 0),
            answered=doc["answered_by_stage"].get(stage["id"], 0),
            interested=doc["interested_by_stage"].get(stage["id"], 0),
        )
        for stage in stages
    ]
    days = [
        Day(date=date.fromisoformat(day), sent=on.get("sent", 0), planned=on.get("planned", 0))
        for day, on in sorted(doc["days"].items())
    ]
    return SequenceCounted(**_short(doc), stops=doc["stops"], stages=by_stage, days=days, zone=doc["zone"])


def _short(doc: Document) -> dict[str, Any]:
    states: dict[str, int] = doc["states"]
    return {
        "counted_at": doc["counted_at"],
        "enrolled": sum(states.values()),
        "live": sum(states.get(each, 0) for each in LIVE),
        "states": states,
        "held": doc["held"],
        "answered": doc["stops"].get("replied", 0),
        "answered_by_state": doc["answered_by_state"],
        "interested": doc["interested"],
        "bounced": doc["stops"].get("bounced", 0),
        "next_out_at": doc["next_out_at"],
    }
