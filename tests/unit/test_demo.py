"""The demo's judgement is no rubber stamp, and its cast is the one in its files."""

import csv
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.clock import Clock
from segue_contracts.prospect import parse_prospect
from stack.demo import cast
from stack.demo.cast import HABITS, Ending, Habit, Person, people
from stack.demo.play import SPEED, STARTING_SECONDS, monday_morning
from stack.demo.summary import READ_AGE_SECONDS, Mail, Summary, summarise

STOPPED_AT = datetime(2026, 12, 1, 9, tzinfo=UTC)
PRIYA = Person("cand-1", "priya@lumen.example", "Priya Rao", "Asia/Kolkata", "IN", Habit.ANSWERS_HELLO)
MAIL = Mail("<hello@ourco.example>", PRIYA.email, STOPPED_AT.timestamp() - 60)


def enrollment(**changed: Any) -> dict[str, Any]:
    """Priya's, as the API shows it after her answer."""
    return {
        "state": "stopped",
        "stop": {"reason": "replied"},
        "history": [{"type": "stopped", "rec": STOPPED_AT.isoformat()}],
        "deliveries": [{"message_id": MAIL.message_id, "state": "sent", "dispatch_id": "e:hello"}],
        **changed,
    }


def judged(*mails: Mail, **changed: Any) -> Summary:
    return summarise([PRIYA], {PRIYA.external_id: enrollment(**changed)}, mails)


def test_a_run_that_kept_its_promises_has_no_broken_one() -> None:
    summary = judged(MAIL)
    assert (summary.sent, summary.doubled, summary.after_a_stop, summary.broken) == (1, 0, 0, [])
    assert summary.stopped == {"replied": 1}


def test_a_message_that_was_accepted_twice_is_doubled() -> None:
    assert judged(MAIL, MAIL).doubled == 1


def test_a_message_begun_after_the_stop_is_counted() -> None:
    late = Mail("<nudge@ourco.example>", PRIYA.email, STOPPED_AT.timestamp() + READ_AGE_SECONDS + 0.1)
    assert judged(MAIL, late).after_a_stop == 1


@pytest.mark.parametrize(
    ("mails", "changed", "said"),
    [
        ((MAIL, MAIL), {}, "sent twice"),
        ((MAIL, Mail("<foreign@x.example>", "x@x.example", 0.0)), {}, "no stage of anybody"),
        ((), {}, "nobody received it"),
        ((MAIL,), {"state": "finished", "stop": None, "history": []}, "is finished (None), not stopped"),
        ((MAIL,), {"history": [{"type": "task_opened"}]}, "led to 1 calls"),
    ],
)
def test_a_broken_promise_is_named(mails: tuple[Mail, ...], changed: dict[str, Any], said: str) -> None:
    assert any(said in promise for promise in judged(*mails, **changed).broken)


def test_who_was_never_enrolled_is_named() -> None:
    assert summarise([PRIYA], {}, []).broken == ["Priya Rao was never enrolled"]


def test_the_csv_holds_25_people_in_several_zones_and_everybody_with_a_habit() -> None:
    found = people()
    assert len({person.external_id for person in found}) == len({p.email for p in found}) == 25
    assert len({person.zone for person in found}) > 15
    assert set(HABITS) <= {person.external_id for person in found}
    assert {person.habit for person in found} == set(Habit)
    assert all(isinstance(person.ending, Ending) for person in found)


def test_every_prospect_of_the_csv_is_a_valid_one() -> None:
    with cast.PROSPECTS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            parse_prospect({name: value for name, value in row.items() if value})


@pytest.mark.parametrize("day", range(7))
def test_the_demo_begins_on_a_weekend_before_a_monday(day: int) -> None:
    now = datetime(2026, 11, 23, 15, 30, tzinfo=UTC) + timedelta(days=day)
    clock = Clock(SPEED, monday_morning(now))
    ready = clock.at_real(now + timedelta(seconds=STARTING_SECONDS))
    assert ready.isoweekday() == 7
    assert now < ready < now + timedelta(days=8)
