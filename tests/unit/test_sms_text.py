"""SMS texts: what they cost, which numbers are numbers, and when a country is awake."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType, example_number_for_type, format_number, geocoder, parse
from phonenumbers.phonenumberutil import SUPPORTED_REGIONS, PhoneNumberFormat

from chassis.sms_text import (
    AREAS,
    AWAKE,
    DEFAULT,
    GSM_BASIC,
    GSM_EXTENSION,
    PLAIN,
    Alphabet,
    Awake,
    NumberError,
    awake,
    cost,
    dear_characters,
    parse_number,
    plain,
)

GSM = st.text(st.sampled_from(sorted(GSM_BASIC | GSM_EXTENSION)), max_size=700)
ANY = st.text(max_size=400)


@pytest.mark.parametrize(
    ("text", "alphabet", "segments", "left"),
    [
        ("", Alphabet.GSM, 1, 160),
        ("a" * 160, Alphabet.GSM, 1, 0),
        ("a" * 161, Alphabet.GSM, 2, 145),
        ("a" * 306, Alphabet.GSM, 2, 0),
        ("a" * 307, Alphabet.GSM, 3, 152),
        ("€" * 80, Alphabet.GSM, 1, 0),
        ("€" * 81, Alphabet.GSM, 2, 143),
        ("я" * 70, Alphabet.UCS2, 1, 0),
        ("я" * 71, Alphabet.UCS2, 2, 63),
        ("я" * 134, Alphabet.UCS2, 2, 0),
        ("😀" * 35, Alphabet.UCS2, 1, 0),
        ("😀" * 36, Alphabet.UCS2, 2, 61),
    ],
)
def test_the_limits_of_both_alphabets(text: str, alphabet: Alphabet, segments: int, left: int) -> None:
    told = cost(text)
    assert (told.alphabet, len(told.segments), told.left) == (alphabet, segments, left)


def test_one_smart_quote_makes_one_segment_three() -> None:
    text = "It’s " + "a" * 155
    assert (cost(text).alphabet, len(cost(text).segments)) == (Alphabet.UCS2, 3)
    assert [(each.at, each.char, each.plain) for each in dear_characters(text)] == [(2, "’", "'")]
    assert (cost(plain(text)).alphabet, len(cost(plain(text)).segments)) == (Alphabet.GSM, 1)


def test_what_has_no_plain_equal_stays() -> None:
    assert plain("“Да” – ok…") == '"Да" - ok...'
    assert [each.plain for each in dear_characters("Да")] == [None, None]


def test_every_plain_equal_is_in_the_alphabet_and_nothing_in_it_has_one() -> None:
    assert set("".join(PLAIN.values())) <= GSM_BASIC
    assert GSM_BASIC.isdisjoint(PLAIN)
    assert GSM_EXTENSION.isdisjoint(PLAIN)


def test_an_escape_and_a_surrogate_pair_are_not_split() -> None:
    assert [len(each) for each in cost("a" * 152 + "€" + "a" * 20).segments] == [152, 21]
    assert [len(each) for each in cost("я" * 66 + "😀" + "я" * 20).segments] == [66, 21]


@given(GSM | ANY)
def test_the_segments_are_the_text_and_each_fits(text: str) -> None:
    told = cost(text)
    assert "".join(told.segments) == text
    units = [
        sum(1 + (char in GSM_EXTENSION) for char in each)
        if told.alphabet is Alphabet.GSM
        else len(each.encode("utf-16-be")) // 2
        for each in told.segments
    ]
    one, many = (160, 153) if told.alphabet is Alphabet.GSM else (70, 67)
    assert max(units) <= (one if len(units) == 1 else many)
    assert sum(units) == told.units
    assert told.left == (one if len(units) == 1 else many) - units[-1]


@given(ANY)
def test_a_text_is_gsm_exactly_if_it_has_no_dear_character(text: str) -> None:
    assert (cost(text).alphabet is Alphabet.GSM) == (not dear_characters(text))


@given(ANY)
def test_plain_is_stable_and_leaves_only_what_has_no_equal(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    assert all(each.plain is None for each in dear_characters(plain(text)))


# ---- numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "country", "e164", "found"),
    [
        ("+49 (0)151 2345-6789", None, "+4915123456789", "DE"),
        ("0151 23456789", "DE", "+4915123456789", "DE"),
        ("0151 23456789", "DE-BY", "+4915123456789", "DE"),
        ("0044 7400 123456", "DE", "+447400123456", "GB"),
        ("(305) 555-0123", "US", "+13055550123", "US-FL"),
        ("+1 206 555 0123", None, "+12065550123", "US-WA"),
        ("+1 415 555 2671", None, "+14155552671", "US"),
        ("+1 416 555 0123", None, "+14165550123", "CA"),
    ],
)
def test_numbers_as_people_write_them(text: str, country: str | None, e164: str, found: str) -> None:
    number = parse_number(text, country)
    assert (number.e164, number.country) == (e164, found)


@pytest.mark.parametrize(
    ("text", "country", "code"),
    [
        ("0151 23456789", None, "no_country"),
        ("+49 1", None, "not_a_number"),
        ("hello", "DE", "not_a_number"),
        ("", "DE", "not_a_number"),
        ("+49 151 2", None, "not_valid"),
        ("+999 123456789", None, "no_country"),
        ("+1 305 555 0123 ext. 5", None, "not_valid"),
    ],
)
def test_what_is_no_number_says_why_and_quotes_nothing(text: str, country: str | None, code: str) -> None:
    with pytest.raises(NumberError) as error:
        parse_number(text, country)
    assert error.value.code == code
    assert not text or text not in str(error.value)


@given(st.sampled_from(sorted(SUPPORTED_REGIONS)))
def test_every_regions_mobile_number_is_read_nationally_and_internationally(region: str) -> None:
    example = example_number_for_type(region, PhoneNumberType.MOBILE)
    if example is None:
        return
    e164 = format_number(example, PhoneNumberFormat.E164)
    national = format_number(example, PhoneNumberFormat.NATIONAL)
    assert parse_number(e164).e164 == parse_number(national, region).e164 == e164
    assert parse_number(e164).may_get_sms


@given(st.text(max_size=40))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        number = parse_number(text, "US")
    except NumberError:
        return
    assert number.e164.startswith("+")


def test_a_landline_gets_no_sms() -> None:
    assert not parse_number("+49 30 123456").may_get_sms


@pytest.mark.parametrize(
    ("state", "name"), [("FL", "Florida"), ("OK", "Oklahoma"), ("WA", "Washington"), ("TX", "Texas")]
)
def test_the_area_codes_are_those_of_the_state(state: str, name: str) -> None:
    for area in AREAS[state].split():
        told = geocoder.description_for_number(parse(f"+1{area}5550123"), "en")
        assert told in ("", "United States") or name in told or told.endswith(f", {state}"), (area, told)


# ---- quiet hours --------------------------------------------------------------------------------------


def test_a_state_has_its_own_hours_else_its_countrys_else_the_default() -> None:
    assert awake("US-FL").days[0] == (time(8), time(20))
    assert awake("US-NY") is awake("us") is AWAKE["US"]
    assert awake("DE") is awake(None) is awake("") is DEFAULT


def test_every_rule_but_the_default_has_a_source() -> None:
    assert all(rule.source.startswith("https://") for rule in AWAKE.values())


@pytest.mark.parametrize(
    ("country", "zone", "at", "then"),
    [
        ("US-FL", "America/New_York", "2026-03-02T20:00", "2026-03-03T08:00"),
        ("US", "America/New_York", "2026-03-02T20:00", "2026-03-02T20:00"),
        ("US-TX", "America/Chicago", "2026-03-01T09:00", "2026-03-01T12:00"),
        ("FR", "Europe/Paris", "2026-03-07T21:00", "2026-03-09T09:00"),
        ("FR", "Europe/Paris", "2026-03-08T12:00", "2026-03-09T09:00"),
        ("DE", "Europe/Berlin", "2026-03-02T03:00", "2026-03-02T09:00"),
        ("DE", "Europe/Berlin", "2026-03-28T22:00", "2026-03-29T09:00"),  # the clocks change in that night
    ],
)
def test_what_is_too_late_waits_for_the_next_opening(country: str, zone: str, at: str, then: str) -> None:
    place = ZoneInfo(zone)
    begin = datetime.fromisoformat(at).replace(tzinfo=place).astimezone(UTC)
    assert awake(country).next_open(begin, place) == datetime.fromisoformat(then).replace(tzinfo=place)


@given(
    st.sampled_from([DEFAULT, *AWAKE.values()]),
    st.integers(0, 2 * 365 * 24 * 60),
    st.sampled_from(["America/New_York", "Europe/Paris", "Asia/Kolkata", "Pacific/Apia"]),
)
def test_the_next_opening_is_open_and_never_earlier(rule: Awake, minute: int, zone: str) -> None:
    place, at = ZoneInfo(zone), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    found = rule.next_open(at, place)
    assert at <= found <= at + timedelta(days=3)
    assert rule.is_open(found.astimezone(place))
