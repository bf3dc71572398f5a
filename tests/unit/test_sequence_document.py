"""The sequence document and the prospect: what is accepted, what is refused and how that is said."""

import json
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from segue_contracts.free_mail import is_free_mail
from segue_contracts.message import Channel, Scope
from segue_contracts.prospect import Prospect, ProspectError, parse_prospect
from segue_contracts.sequence import (
    MAX_STAGES,
    MAX_TEMPLATE_BYTES,
    SequenceDocument,
    SequenceError,
    Stage,
    StageTiming,
    Thread,
    Timing,
    parse_part,
    parse_sequence,
)
from segue_contracts.timing import (
    Delay,
    PersonalDate,
    TimeRange,
    Unit,
    parse_date,
    parse_days,
    parse_delay,
    parse_windows,
)
from segue_contracts.zones import zone_of_country

EXAMPLE: dict[str, Any] = {
    "name": "Backend engineers, Berlin",
    "tags": ["backend", "berlin"],
    "access": "personal",
    "mailbox": "ana@ourco.example",
    "on_behalf_of": None,
    "tokens": {"role": "Backend Engineer"},
    "timing": {
        "zone": "prospect",
        "fallback_zone": "Europe/Berlin",
        "windows": {"mon-fri": ["09:00-12:00", "13:00-17:30"]},
        "holidays": {"of": "prospect", "plain_days": "move"},
        "catch_up": "shift",
    },
    "limits": {"new_people_per_day": 50, "already_in_a_sequence": "warn"},
    "stop": {"on_reply": "person", "on_bounce": "enrollment"},
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "after": "0 minutes",
            "subject": "{{first_name|Hi}}: {{role}}, 4 days a week",
            "text": "Hi {{first_name|there}},\n...\n",
        },
        {
            "id": "nudge",
            "channel": "email",
            "thread": "reply",
            "after": "3 business days",
            "at": "09:00-11:00",
            "weekdays": "tue-thu",
            "text": "Hi {{first_name|there}}, ...",
        },
        {
            "id": "ring",
            "channel": "call",
            "after": "5 days",
            "at": "10:00",
            "text": "Ask about ...",
            "overdue": {"after": "2 days", "do": "wait"},
            "when": {"has": "phone"},
        },
    ],
}
EMAIL = {"id": "a", "channel": "email", "subject": "s", "text": "t"}


def problems(data: Any) -> dict[str, str]:
    with pytest.raises(SequenceError) as caught:
        parse_sequence(data)
    return {problem.path: problem.message for problem in caught.value.problems}


def stage_problem(**changes: Any) -> tuple[str, str]:
    """The only problem of a sequence whose one stage has these changes."""
    ((path, message),) = problems({"name": "x", "stages": [{**EMAIL, **changes}]}).items()
    return path, message


def timing_problem(**timing: Any) -> tuple[str, str]:
    ((path, message),) = problems({"name": "x", "timing": timing, "stages": [EMAIL]}).items()
    return path, message


def test_the_example_is_accepted_and_given_back_as_it_was_written() -> None:
    document = parse_sequence(EXAMPLE)
    assert document.dump() == EXAMPLE
    assert parse_sequence(json.loads(json.dumps(document.dump()))) == document
    assert SequenceDocument.model_validate_json(document.model_dump_json(by_alias=True)) == document


def test_the_schema_accepts_what_is_accepted_and_refuses_unknown_keys_and_numbers() -> None:
    schema = SequenceDocument.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check.validate(EXAMPLE)
    for change in (
        {"after": 3},
        {"at": 630},
        {"htlm": "x"},
        {"after": "3"},
        {"windows": {"monday": ["09:00-10:00"]}},
    ):
        assert not check.is_valid({"name": "x", "stages": [{**EMAIL, **change}]}), change
    SequenceDocument.model_json_schema(mode="serialization")
    Prospect.model_json_schema()


def test_defaults_are_known_but_not_written() -> None:
    document = parse_sequence({"name": "x", "stages": [EMAIL, {"id": "b", "channel": "email", "text": "t"}]})
    assert (document.delay_of(0), document.delay_of(1)) == (Delay(0, Unit.MINUTES), Delay(1, Unit.DAYS))
    assert (document.thread_of(0), document.thread_of(1)) == (Thread.NEW, Thread.REPLY)
    assert (document.stop.on_reply, document.stop.on_bounce) == (Scope.PERSON, Scope.ENROLLMENT)
    timing = document.timing_of(1)
    assert timing.holidays is not None
    assert timing.holidays.calendars == ("prospect",)
    assert document.dump()["stages"][1] == {"id": "b", "channel": "email", "text": "t"}
    assert set(document.dump()) == {"name", "stages"}


def test_a_stage_replaces_a_default_as_a_whole() -> None:
    data = {
        "name": "x",
        "timing": EXAMPLE["timing"],
        "stages": [{**EMAIL, "holidays": {"of": "none"}, "zone": "UTC"}],
    }
    timing = parse_sequence(data).timing_of(0)
    assert timing.holidays is not None
    assert (timing.zone, timing.holidays.calendars, timing.holidays.plain_days) == ("UTC", (), "move")
    assert timing.windows == {"mon-fri": ("09:00-12:00", "13:00-17:30")}


def test_manual_and_automatic_channels_are_told_apart() -> None:
    manual = {
        channel for channel in Channel if Stage(id="a", channel=channel, subject=None, text="t").is_manual
    }
    assert set(Channel) - manual == {Channel.EMAIL, Channel.SMS}


def test_what_later_versions_bring_is_not_silently_accepted() -> None:
    assert stage_problem(tracking="x")[0] == "stages[0].tracking"


def test_an_unknown_key_is_answered_with_the_nearest_known_name() -> None:
    assert stage_problem(afer="1 day") == ("stages[0].afer", "unknown key: did you mean `after`?")
    assert timing_problem(window={}) == ("timing.window", "unknown key: did you mean `windows`?")
    assert "did you mean `plain_days`?" in timing_problem(holidays={"plain_day": "move"})[1]
    assert (
        "did you mean `on_reply`?"
        in problems({"name": "x", "stages": [EMAIL], "stop": {"onreply": 1}})["stop.onreply"]
    )
    assert "did you mean `clicked`?" in stage_problem(when={"not": {"cliked": "a"}})[1]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        {"nam": "x", "access": "all", "stages": [{**EMAIL, "after": 3}, {"id": "B", "channel": "fax"}]}
    )
    assert set(found) == {"nam", "name", "access", "stages[0].after", "stages[1].id", "stages[1].channel"}


def test_numbers_for_times_are_answered_with_quotes() -> None:
    for key, value in (("at", 630), ("after", 3), ("date", 2027.0), ("weekdays", True)):
        assert "write it in quotes" in stage_problem(**{key: value})[1]
    assert "write it in quotes" in timing_problem(windows={"mon": [540]})[1]


def test_after_and_date_together_are_refused() -> None:
    path, message = stage_problem(after="1 day", date="2027-01-15")
    assert path == "stages[0].date"
    assert "remove one" in message


@pytest.mark.parametrize(
    "after", ["3", "3 weeks", "1.5 hours", "-1 days", "day", "3days", "", "9999 days", "٣ days"]
)
def test_a_delay_that_is_none_is_refused(after: str) -> None:
    assert stage_problem(after=after)[0] == "stages[0].after"


def test_delays_have_a_canonical_form() -> None:
    assert parse_delay("1 business day") == Delay(1, Unit.BUSINESS_DAYS) == parse_delay("1 business days")
    assert str(parse_delay("1 days")) == "1 day"
    assert parse_delay("2 hours").elapsed_minutes == 120
    assert parse_delay("2 days").elapsed_minutes is None


@pytest.mark.parametrize(
    "day", ["2027-02-29", "27-01-15", "start_date - 3 business days", "start_date - 3", "", "2027-1-5"]
)
def test_a_date_that_is_none_is_refused(day: str) -> None:
    assert stage_problem(date=day)[0] == "stages[0].date"


def test_personal_dates_have_a_canonical_form() -> None:
    assert parse_date("start_date - 3 days") == PersonalDate("start_date", -3)
    assert parse_date("start_date + 1 day") == PersonalDate("start_date", 1)
    assert parse_date("start_date") == PersonalDate("start_date", 0)


@pytest.mark.parametrize(
    "at",
    [
        "24:00",
        "9:00",
        "09:60",
        "09:00-09:00",
        "11:00-09:00",
        "09:00-24:01",
        "09:00-",
        "noon",
        "09:00:00",
        "09-10",
    ],
)
def test_a_time_that_is_none_is_refused(at: str) -> None:
    assert stage_problem(at=at)[0] == "stages[0].at"


@pytest.mark.parametrize(
    "weekdays", ["monday", "mon-mon", "mon,mon", ["mon-wed", "wed"], [], "", ["no"], "mon-", {}]
)
def test_days_that_are_none_or_named_twice_are_refused(weekdays: Any) -> None:
    assert stage_problem(weekdays=weekdays)[0] == "stages[0].weekdays"


def test_lists_and_wraps_of_days_are_allowed() -> None:
    assert parse_days(["fri-mon"]) == {4, 5, 6, 0}
    assert parse_days(["mon-tue", "thu, sat"]) == {0, 1, 3, 5}


@pytest.mark.parametrize(
    "windows",
    [
        {},
        {"mon": []},
        {"mon-tue": ["09:00-10:00"], "tue": ["11:00-12:00"]},
        {"mon,mon": ["09:00-10:00"]},
        {"mon": ["22:00-02:00"]},
        {"mon": ["09:00-09:00"]},
        {"mon": "09:00-10:00"},
        {"mon": ["24:00-24:00"]},
        ["mon"],
        {1: ["09:00-10:00"]},
        {"mon": ["09:00-10:00"] * 25},
    ],
)
def test_windows_that_make_no_sense_are_refused(windows: Any) -> None:
    assert timing_problem(windows=windows)[0].startswith("timing.windows")


def test_windows_that_touch_or_overlap_are_one() -> None:
    windows = parse_windows({"sat-mon": ["12:00-24:00", "09:00-12:00", "10:00-11:00"]})
    assert windows.days == (
        (TimeRange(540, 1440),),
        (),
        (),
        (),
        (),
        (TimeRange(540, 1440),),
        (TimeRange(540, 1440),),
    )


@pytest.mark.parametrize("of", ["DE", "all", [], ["de"], ["DE", "DE"], ["none"], [5], 5, ["DE-BAYERN"]])
def test_calendars_that_are_none_are_refused(of: Any) -> None:
    assert timing_problem(holidays={"of": of})[0] == "timing.holidays.of"


def test_a_stage_needs_what_its_channel_needs() -> None:
    assert stage_problem(text=None)[0] == "stages[0].text"
    assert stage_problem(subject=None)[0] == "stages[0].subject"
    assert stage_problem(channel="sms")[0] == "stages[0].subject"
    assert stage_problem(channel="task", thread="new")[0] == "stages[0].thread"
    assert stage_problem(overdue={"after": "1 day"})[0] == "stages[0].overdue"
    assert stage_problem(thread="reply")[0] == "stages[0].thread"
    parse_sequence({"name": "x", "stages": [{"id": "a", "channel": "linkedin_connect"}]})


@pytest.mark.parametrize("stage_id", ["", "A", "-a", "a.b", "a" * 65, "ä", "a:b", 5])
def test_a_stage_id_that_does_not_fit_into_a_dispatch_id_is_refused(stage_id: Any) -> None:
    assert stage_problem(id=stage_id)[0] == "stages[0].id"


def test_stages_are_few_and_their_ids_unique() -> None:
    assert "unique" in problems({"name": "x", "stages": [EMAIL, EMAIL]})["stages[1].id"]
    assert "stages" in problems({"name": "x", "stages": []})
    assert "stages" in problems({"name": "x", "stages": [EMAIL] * (MAX_STAGES + 1)})


def test_templates_are_bounded_in_bytes_and_subjects_are_one_line() -> None:
    parse_sequence({"name": "x", "stages": [{**EMAIL, "text": "a" * MAX_TEMPLATE_BYTES}]})
    assert stage_problem(text="ä" * (MAX_TEMPLATE_BYTES // 2 + 1))[0] == "stages[0].text"
    for subject in ("a\nb", "a\rb", "a\x00", "a\u2028b", "a\x85b"):
        assert stage_problem(subject=subject)[0] == "stages[0].subject"


def test_conditions_say_one_thing_each_and_look_back_only() -> None:
    later = {"id": "b", "channel": "email", "text": "t"}
    deep: dict[str, Any] = {"has": "phone"}
    for _ in range(8):
        deep = {"not": deep}
    good = {"all": [{"not": {"opened": "a"}}, {"any": [{"has": "phone"}, {"clicked": "a"}]}]}
    document = parse_sequence({"name": "x", "stages": [EMAIL, {**later, "when": good}]})
    assert document.dump()["stages"][1]["when"] == good
    bad: list[dict[str, Any]] = [
        {},
        {"has": "a", "opened": "a"},
        {"opened": "b"},
        {"all": []},
        {"not": {}},
        deep,
    ]
    for when in bad:
        (path,) = problems({"name": "x", "stages": [EMAIL, {**later, "when": when}]})
        assert path.startswith("stages[1].when")


def test_a_bottomless_document_is_refused_without_recursion() -> None:
    bottom: dict[str, Any] = {}
    inner = bottom
    for _ in range(100_000):
        inner["not"] = inner = {}
    assert problems({"name": "x", "stages": [{**EMAIL, "when": bottom}]}) == {"": "is nested too deeply"}


@pytest.mark.parametrize(
    "data", [None, [], "x", 5, {1: 2}, {"name": "x", "stages": [5]}, {"name": "x", "stages": {}}]
)
def test_any_data_is_a_document_or_a_list_of_problems(data: Any) -> None:
    assert problems(data)


def test_mailboxes_are_one_or_a_pool() -> None:
    assert parse_sequence({**EXAMPLE, "mailbox": ["a@b.test", "c@b.test"]}).mailboxes == (
        "a@b.test",
        "c@b.test",
    )
    assert parse_sequence({"name": "x", "stages": [EMAIL]}).mailboxes == ()
    for mailbox in ("ana", [], ["a@b.test", "A@b.test"], 5):
        assert "mailbox" in problems({**EXAMPLE, "mailbox": mailbox})


def test_documents_are_frozen_and_parts_can_be_read_alone() -> None:
    stage = parse_part(StageTiming, {"after": "1 day"})
    with pytest.raises(ValidationError):
        stage.after = "2 days"  # type: ignore[misc]
    with pytest.raises(SequenceError, match="did you mean `windows`"):
        parse_part(Timing, {"window": {}})


# Prospects


def prospect_problems(**fields: Any) -> set[str]:
    with pytest.raises(ProspectError) as caught:
        parse_prospect({"external_id": "7", **fields})
    return {problem.path for problem in caught.value.problems}


def test_an_external_id_is_opaque() -> None:
    assert prospect_problems(external_id="ana@ourco.example") == {"external_id"}
    assert prospect_problems(external_id="") == {"external_id"}
    assert prospect_problems(external_id=7) == {"external_id"}


@pytest.mark.parametrize(
    "email",
    [
        "ana",
        "ana@",
        "@b.example",
        "a@b@c.example",
        "a b@c.example",
        "a@localhost",
        "a@b..example",
        "a@-b.example",
        ".a@b.example",
        "a..b@b.example",
        "a@b.example\nBcc: x@y.example",
        "<a@b.example>",
        "a,b@c.example",
        f"{'a' * 65}@b.example",
        f"a@{'b' * 63}.{'b' * 63}.{'b' * 63}.{'b' * 63}.example",
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    assert prospect_problems(email=email) == {"email"}


@pytest.mark.parametrize(
    "email", ["a@b.example", "o'neil+x=y@b.test", "jürgen@müller.example", "A.B@C-d.co.uk"]
)
def test_addresses_are_kept_as_written(email: str) -> None:
    assert parse_prospect({"external_id": "7", "email": email}).email == email


def test_no_field_can_forge_a_header() -> None:
    for field in (
        "first_name",
        "last_name",
        "company",
        "company_key",
        "title",
        "school",
        "location",
        "zone",
        "country",
    ):
        assert prospect_problems(**{field: "a\r\nBcc: x@y.example"}) == {field}
        assert prospect_problems(**{field: "a" * 201}) == {field}


def test_unknown_zones_and_countries_are_kept() -> None:
    prospect = parse_prospect({"external_id": "7", "zone": "Mars/Olympus", "country": "QQ-1"})
    assert (prospect.zone, prospect.country) == ("Mars/Olympus", "QQ-1")


def test_unknown_fields_are_refused_by_the_reader_and_ignored_in_messages() -> None:
    assert prospect_problems(frist_name="Ana") == {"frist_name"}
    assert Prospect.model_validate({"external_id": "7", "later": 1}) == Prospect(external_id="7")


def test_dates_and_tokens_are_checked() -> None:
    assert prospect_problems(dates={"start_date": "4.1.2027"}) == {"dates.start_date"}
    assert prospect_problems(dates={"start_date": "2027-02-30"}) == {"dates.start_date"}
    assert prospect_problems(tokens={"a b": "x"}) == {"tokens.a b"}
    assert prospect_problems(tokens={"a": 5}) == {"tokens.a"}
    assert prospect_problems(tokens={"a": "x" * 2049}) == {"tokens.a"}


def test_the_company_key_is_the_domain_unless_it_is_a_free_mail_one() -> None:
    def key(**fields: Any) -> str | None:
        return parse_prospect({"external_id": "7", **fields}).effective_company_key

    assert key(email="ana@OurCo.example") == "ourco.example"
    assert key(email="ana@gmail.com") is None
    assert key(email="ana@gmail.com", company_key="acme") == "acme"
    assert key() is None
    assert is_free_mail("GMX.de")


def test_the_zone_table_knows_parts_of_countries_with_several_zones() -> None:
    found = {
        code: zone_of_country(code)
        for code in ("US-CA", "DE-BY", "AU-NSW", "CA-ON", "BR-SP", "ES-CN", "PT-20")
    }
    assert found == {
        "US-CA": "America/Los_Angeles",
        "DE-BY": "Europe/Berlin",
        "AU-NSW": "Australia/Sydney",
        "CA-ON": "America/Toronto",
        "BR-SP": "America/Sao_Paulo",
        "ES-CN": "Atlantic/Canary",
        "PT-20": "Atlantic/Azores",
    }
    assert [zone_of_country(code) for code in ("US", "US-ZZ", "", "??")] == [None] * 4
