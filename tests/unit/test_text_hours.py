"""Text messages are planned into the hours in which their phone may be texted."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.routes.sequences import may_text
from chassis.sms_text import awake, parse_number
from scheduler.open_time import TextHours, text_hours
from scheduler.plan import Person, Planned, Refused, Sender, plan
from segue_contracts.sequence import SequenceDocument, parse_sequence

BERLIN = ZoneInfo("Europe/Berlin")
GERMAN, FLORIDIAN, FRENCH = "+49 151 12345678", "+1 305 555 0123", "+33 6 12 34 56 78"
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def document(**timing: object) -> SequenceDocument:
    stage = {"id": "text", "channel": "sms", "text": "Hi", **timing}
    return parse_sequence({"name": "Engineers", "stages": [stage]})


def planned(
    of: SequenceDocument, base: datetime, texts: TextHours | None, zone: str | None = "Europe/Berlin"
) -> Planned | Refused:
    person = Person(zone=zone)
    return plan(
        of.stages[0],
        of.timing_of(0),
        base=base,
        dispatch_id="x:text",
        person=person,
        sender=Sender(),
        first=True,
        texts=texts,
    )


def test_what_is_due_at_night_goes_in_the_morning_and_says_why() -> None:
    found = planned(document(), MONDAY.replace(hour=21), text_hours(GERMAN, "Europe/Berlin"))
    assert isinstance(found, Planned)
    assert found.at.astimezone(BERLIN) == datetime(2026, 11, 24, 9, tzinfo=BERLIN)
    assert found.send_before.astimezone(BERLIN).hour == 20
    assert any("night" in reason.detail for reason in found.reasons)


def test_a_window_of_quiet_hours_alone_is_refused_with_what_to_change() -> None:
    late = document(windows={"mon-sun": ["20:30-21:00"]})
    refused = planned(late, MONDAY, text_hours(GERMAN, "Europe/Berlin"))
    assert isinstance(refused, Refused)
    assert refused.code == "window_never_opens"
    assert "may be texted" in refused.detail
    assert isinstance(planned(late, MONDAY, None), Planned)


def test_a_sunday_alone_never_reaches_france() -> None:
    sundays = document(weekdays="sun")
    assert isinstance(planned(sundays, MONDAY, text_hours(FRENCH, "Europe/Paris")), Refused)
    assert isinstance(planned(sundays, MONDAY, text_hours(GERMAN, "Europe/Berlin")), Planned)


@given(
    st.integers(0, 730 * 24 * 3600),
    st.sampled_from([GERMAN, FLORIDIAN, FRENCH]),
    st.sampled_from(["Europe/Berlin", "America/New_York", None]),
)
def test_a_text_is_always_planned_into_the_hours_of_its_phone(
    seconds: int, phone: str, zone: str | None
) -> None:
    hours = text_hours(phone, zone)
    assert hours is not None
    found = planned(document(), MONDAY + timedelta(seconds=seconds), hours, zone)
    assert isinstance(found, Planned)
    rule = awake(parse_number(phone).country)
    for at in (found.at, found.send_before - timedelta(seconds=1)):
        assert all(rule.is_open(at.astimezone(each)) for each in hours.zones)


def test_what_is_no_number_has_no_hours() -> None:
    assert text_hours("030 1234", None) is None


@pytest.mark.parametrize(
    ("timing", "may"),
    [
        ({}, True),
        ({"windows": {"mon-fri": ["21:00-23:00"]}}, False),
        ({"windows": {"mon-fri": ["20:30-23:00"]}}, True),
        ({"windows": {"mon-fri": ["21:00-23:00"], "sat": ["10:00-12:00"]}, "weekdays": "mon-fri"}, False),
        ({"at": "22:00"}, False),
        ({"at": "06:00-07:30"}, False),
        ({"at": "07:30-09:00"}, True),
        ({"zone": "Europe/Berlin", "at": "22:00"}, True),
    ],
    ids=str,
)
def test_what_no_country_lets_be_texted_is_told_before_anybody_is_enrolled(
    timing: dict[str, object], may: bool
) -> None:
    assert may_text(document(**timing), 0) is may
