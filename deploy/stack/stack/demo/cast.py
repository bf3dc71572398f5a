"""Who the simulated prospects are, how each of them behaves, and how their enrollment must then end."""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SEQUENCE = Path(__file__).with_name("sequence.yaml")
PROSPECTS = Path(__file__).with_name("prospects.csv")
RECRUITER = "ana@ourco.example"
NUDGE = "nudge"


class Habit(StrEnum):
    """What a prospect does."""

    SILENT = "never answers"
    NO_PHONE = "never answers, has no phone"
    ANSWERS_HELLO = "answers the first message"
    ANSWERS_NUDGE = "answers the second message"
    ANSWERS_WHEN_CALLED = "answers by mail while the call is due"
    ANSWERS_AT_THE_WORST_MOMENT = "answers just as the second message is due"
    OUT_OF_OFFICE = "is out of office"
    BOUNCES = "does not exist any more"
    OPTS_OUT = "asks to be left alone"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an enrollment must end: its state, why it was stopped, messages received, tasks opened."""

    state: str
    reason: str | None
    mails: Collection[int]
    tasks: int


ENDINGS = {
    Habit.SILENT: Ending("finished", None, (2,), 1),
    Habit.NO_PHONE: Ending("finished", None, (2,), 0),
    Habit.ANSWERS_HELLO: Ending("stopped", "replied", (1,), 0),
    Habit.ANSWERS_NUDGE: Ending("stopped", "replied", (2,), 0),
    Habit.ANSWERS_WHEN_CALLED: Ending("stopped", "replied", (2,), 1),
    # The answer races the second message; which one wins is open, that nothing follows the stop is not.
    Habit.ANSWERS_AT_THE_WORST_MOMENT: Ending("stopped", "replied", (1, 2), 0),
    Habit.OUT_OF_OFFICE: Ending("finished", None, (2,), 1),
    Habit.BOUNCES: Ending("stopped", "bounced", (1,), 0),
    Habit.OPTS_OUT: Ending("stopped", "unsubscribed", (1,), 0),
}

HABITS = {
    "cand-02": Habit.ANSWERS_HELLO,
    "cand-05": Habit.ANSWERS_HELLO,
    "cand-12": Habit.ANSWERS_HELLO,
    "cand-18": Habit.ANSWERS_HELLO,
    "cand-03": Habit.ANSWERS_NUDGE,
    "cand-10": Habit.ANSWERS_NUDGE,
    "cand-21": Habit.ANSWERS_NUDGE,
    "cand-04": Habit.OUT_OF_OFFICE,
    "cand-08": Habit.BOUNCES,
    "cand-13": Habit.OPTS_OUT,
    "cand-15": Habit.NO_PHONE,
    "cand-20": Habit.ANSWERS_AT_THE_WORST_MOMENT,
    "cand-24": Habit.ANSWERS_WHEN_CALLED,
}


@dataclass(frozen=True, slots=True)
class Person:
    """One simulated prospect."""

    external_id: str
    email: str
    name: str
    zone: str
    """An IANA name, or empty."""
    country: str
    habit: Habit

    @property
    def place(self) -> str:
        """The zone's city, or else the country."""
        return self.zone.rpartition("/")[2].replace("_", " ") or self.country

    @property
    def ending(self) -> Ending:
        return ENDINGS[self.habit]


def people() -> list[Person]:
    """Everybody in the CSV file, in its order."""
    with PROSPECTS.open(newline="", encoding="utf-8") as file:
        return [_person(row) for row in csv.DictReader(file)]


def _person(row: dict[str, str]) -> Person:
    return Person(
        external_id=row["external_id"],
        email=row["email"],
        name=f"{row['first_name']} {row['last_name']}",
        zone=row["zone"],
        country=row["country"],
        habit=HABITS.get(row["external_id"], Habit.SILENT),
    )
