"""Numbers over many sequences: what became of the people of a period, and what happened in one."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, computed_field

from api.access import visible_to
from api.csv_table import line_of
from api.keys import KeyScope
from api.problems import invalid_at, not_found
from api.routing import Answer, Call, Closed, Route, Shown
from api.statistics import MOST, Asked, Counted, Key, Split, TooMany
from chassis.store import Document
from chassis.zones import find_zone
from segue_contracts.message import Channel
from segue_contracts.sequence import Access

MOST_DAYS: Final = 400
USUAL_DAYS: Final = 30

View = Literal["cohort", "activity"]
By = Literal["sequence", "stage", "variant", "owner", "day", "week"]
SPLITS: Final[Mapping[By, Split]] = {
    "sequence": Split(sequence=True),
    "owner": Split(sequence=True),
    "stage": Split(sequence=True, stage=True),
    "variant": Split(sequence=True, stage=True, variant=True),
    "day": Split(day=True),
    "week": Split(day=True),
}


class StatsQuery(Closed):
    """What is counted; all conditions together."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    view: View = Field(
        default="activity",
        description="cohort: what became of those enrolled in the period; activity: what happened in it",
    )
    whose: Literal["mine", "team"] = Field(default="team", description="mine: of the sequences you own")
    by: By = "sequence"
    sequence: UUID | None = None
    stage: str | None = Field(default=None, min_length=1, max_length=100, description="A stage's id")
    channel: Channel | None = None
    since: date | None = Field(
        default=None, alias="from", description=f"The first day; {USUAL_DAYS} days before the last one"
    )
    until: date | None = Field(default=None, alias="to", description="The last day; today")
    zone: str = Field(default="UTC", max_length=100, description="Whose days", examples=["Europe/Berlin"])


class Cohort(Shown):
    """Of the people enrolled in the period: how many, and where they are now.

    `enrolled` is the sum of all but `sent` and `interested`; rates are percent of `sent`.
    """

    enrolled: int = 0
    sent: int = 0
    answered: int = 0
    interested: int = 0
    bounced: int = 0
    opted_out: int = 0
    stopped: int = 0
    failed: int = 0
    finished: int = 0
    live: int = 0

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
    def bounced_rate(self) -> float | None:
        """Percent of `sent`."""
        return _percent(self.bounced, self.sent)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def opted_out_rate(self) -> float | None:
        """Percent of `sent`."""
        return _percent(self.opted_out, self.sent)


class Activity(Shown):
    """What happened in the period; `opened` and `clicked` are messages that were sent in it."""

    sent: int = 0
    opened: int = 0
    clicked: int = 0
    answers: int = 0
    interested: int = 0
    opted_out: int = 0
    tasks_done: int = 0


class StatsRow(Shown):
    """One group: its name, what it is, and the numbers of the view. `day` is a week's Monday by week."""

    name: str
    sequence_id: UUID | None = None
    stage_id: str | None = None
    variant: str | None = None
    owner_id: UUID | None = None
    day: date | None = None
    cohort: Cohort | None = None
    activity: Activity | None = None


class StatsShown(Shown):
    """The groups, the largest first and days in their order, and `total`: everything, each once."""

    view: View
    by: By
    since: date = Field(serialization_alias="from")
    until: date = Field(serialization_alias="to")
    zone: str
    rows: list[StatsRow]
    total: StatsRow


async def stats(call: Call) -> Answer:
    """Numbers of the sequences that you may see; what is confidential counts for its owner alone."""
    return Answer(await _told(call, call.query))


async def export(call: Call) -> Answer:
    """The same as a CSV file, one line for each group."""
    told = await _told(call, call.query)
    name = f"segue-{told.view}-{told.since}-{told.until}.csv"
    return Answer(csv=_lines(told), headers={"Content-Disposition": f'attachment; filename="{name}"'})


async def _told(call: Call, query: StatsQuery) -> StatsShown:
    sequences = await _counting(call, query)
    asked = _asked(call, query, sequences)
    try:
        counted = await _counted(call, query.view, asked, SPLITS[query.by])
        whole = counted if _adds_up(query) else await _counted(call, query.view, asked, None)
    except TooMany:
        raise invalid_at("?from", f"is about more than {MOST:,} of them: choose a shorter period") from None
    groups = _folded(counted, query.by, sequences)
    since, until = _period(call, query)
    if query.by in ("day", "week"):
        groups = {day: groups.get(day, Counter()) for day in _days(since, until, query.by)}
    owners = await _owners(call, sequences) if query.by == "owner" else {}
    rows = [_row(query, group, counts, sequences, owners) for group, counts in groups.items()]
    return StatsShown(
        view=query.view,
        by=query.by,
        since=since,
        until=until,
        zone=query.zone,
        rows=rows if query.by in ("day", "week") else sorted(rows, key=_size, reverse=True),
        total=_row(query, "Total", sum(whole.values(), Counter()), sequences, owners),
    )


# ---- what is asked ------------------------------------------------------------------------------------


async def _counting(call: Call, query: StatsQuery) -> dict[UUID, Document]:
    """The sequences that count, by id: one that is asked for by name, else all but others' confidential ones;
    Problem 404 for one that the caller may not see.
    """
    one = {"_id": query.sequence} if query.sequence else {}
    seen = [each for each in (visible_to(call.caller), one) if each]
    found = await call.api.store.sequences.briefs(call.caller.workspace, {"$and": seen} if seen else {})
    if query.sequence and not found:
        raise not_found("sequence")
    own = call.caller.user_id
    return {
        each["_id"]: each
        for each in found
        if each["owner_id"] == own
        or (query.whose == "team" and (query.sequence or each["access"] != Access.CONFIDENTIAL.value))
    }


def _period(call: Call, query: StatsQuery) -> tuple[date, date]:
    zone = find_zone(query.zone)
    if zone is None:
        raise invalid_at(
            "?zone", f"{query.zone} is no time zone that is known: write one such as Europe/Berlin"
        )
    until = query.until or call.api.clock.now().astimezone(zone).date()
    if until == date.max:
        raise invalid_at("?to", "is too far away")
    since = query.since or max(until, date.min + timedelta(USUAL_DAYS)) - timedelta(days=USUAL_DAYS - 1)
    if since > until:
        raise invalid_at("?from", "is after the last day")
    if (until - since).days >= MOST_DAYS:
        raise invalid_at("?from", f"makes a period of more than {MOST_DAYS} days")
    return since, until


def _asked(call: Call, query: StatsQuery, sequences: Mapping[UUID, Document]) -> Asked:
    since, until = _period(call, query)
    zone = find_zone(query.zone) or UTC
    return Asked(
        workspace=call.caller.workspace,
        sequences=frozenset(sequences),
        since=datetime.combine(since, time(), zone).astimezone(UTC),
        until=datetime.combine(until + timedelta(days=1), time(), zone).astimezone(UTC),
        zone=query.zone,
        stage=query.stage,
        channel=query.channel.value if query.channel else None,
    )


def _adds_up(query: StatsQuery) -> bool:
    """Whether nothing is in two groups, so that the total is their sum."""
    return query.by in ("day", "week") or (query.view == "cohort" and query.by not in ("stage", "variant"))


async def _counted(call: Call, view: View, asked: Asked, split: Split | None) -> Counted:
    statistics, real_now = call.api.reads.statistics, call.api.clock.real_now()
    count = statistics.cohort if view == "cohort" else statistics.activity
    return await count(asked, split, real_now)


# ---- what is told -------------------------------------------------------------------------------------

Group = UUID | date | tuple[UUID | None, str | None, str | None] | str


def _folded(counted: Counted, by: By, sequences: Mapping[UUID, Document]) -> dict[Group, Counter[str]]:
    groups: dict[Group, Counter[str]] = {}
    for key, counts in counted.items():
        groups.setdefault(_group(key, by, sequences), Counter()).update(counts)
    return groups


def _group(key: Key, by: By, sequences: Mapping[UUID, Document]) -> Group:
    if by in ("day", "week"):
        assert key.day is not None, "it was split by day"
        return key.day if by == "day" else _monday(key.day)
    assert key.sequence is not None, "it was split by sequence"
    if by in ("stage", "variant"):
        return (key.sequence, key.stage, key.variant)
    owner: UUID = sequences[key.sequence]["owner_id"]
    return owner if by == "owner" else key.sequence


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _days(since: date, until: date, by: By) -> Iterable[date]:
    days = (since + timedelta(days=n) for n in range((until - since).days + 1))
    return days if by == "day" else dict.fromkeys(map(_monday, days))


async def _owners(call: Call, sequences: Mapping[UUID, Document]) -> dict[UUID, str]:
    ids = {each["owner_id"] for each in sequences.values()}
    return await call.api.store.people.names(call.caller.workspace, ids)


def _row(
    query: StatsQuery,
    group: Group,
    counts: Mapping[str, int],
    sequences: Mapping[UUID, Document],
    owners: Mapping[UUID, str],
) -> StatsRow:
    numbers: dict[str, Any] = (
        {"cohort": Cohort(**counts)} if query.view == "cohort" else {"activity": Activity(**counts)}
    )
    match group:
        case date():
            return StatsRow(name=group.isoformat(), day=group, **numbers)
        case (UUID() as sequence, stage, variant):
            name = f"{sequences[sequence]['name']}: {stage or 'before the first stage'}"
            name += f", {variant}" if variant else ""
            return StatsRow(name=name, sequence_id=sequence, stage_id=stage, variant=variant, **numbers)
        case UUID() if query.by == "owner":
            return StatsRow(name=owners.get(group, "somebody who left"), owner_id=group, **numbers)
        case UUID():
            return StatsRow(name=sequences[group]["name"], sequence_id=group, **numbers)
    return StatsRow(name=str(group), **numbers)


def _size(row: StatsRow) -> tuple[int, int]:
    if row.cohort:
        return row.cohort.enrolled, row.cohort.answered
    assert row.activity is not None, "a row has the numbers of one view"
    return row.activity.sent + row.activity.tasks_done, row.activity.answers


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


async def _lines(told: StatsShown) -> AsyncIterator[bytes]:
    columns = list((told.total.cohort or told.total.activity or Cohort()).model_dump())
    yield line_of([told.by, *columns])
    for row in (*told.rows, told.total):
        numbers = (row.cohort or row.activity or Cohort()).model_dump()
        yield line_of([row.name, *(numbers[name] for name in columns)])


ROUTES = (
    Route(
        "GET",
        "/v1/stats",
        stats,
        "Count over sequences",
        KeyScope.READ,
        answer=StatsShown,
        query=StatsQuery,
        tag="Stats",
    ),
    Route(
        "GET",
        "/v1/stats/export",
        export,
        "Export the same as CSV",
        KeyScope.READ,
        query=StatsQuery,
        gives_csv=True,
        tag="Stats",
    ),
)
