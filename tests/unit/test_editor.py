"""The editor's pure parts: documents as forms, stages as sentences, what differs between two versions."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dashboard.differences import difference, lines
from api.dashboard.editor import marked
from api.dashboard.sentences import sentence
from api.dashboard.sheet import (
    Sheet,
    field_of,
    read_tokens,
    read_windows,
    write_tokens,
    write_windows,
)
from api.routes.preview import rendered
from segue_contracts.sequence import parse_sequence

HELLO: dict[str, Any] = {"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}
NUDGE = {"id": "nudge", "channel": "email", "after": "3 days", "text": "Did you see this?"}
RING: dict[str, Any] = {
    "id": "ring",
    "channel": "call",
    "overdue": {"after": "2 days", "do": "skip"},
    "when": {"has": "phone"},
}
DOCUMENT: dict[str, Any] = {"name": "Berlin", "stages": [HELLO, NUDGE, RING]}


# ---- there and back -----------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
LINE = TEXT.filter(lambda text: "\u2028" not in text and "\u2029" not in text)
BODY = st.lists(TEXT, min_size=1, max_size=3).map("\n".join)
DELAY = st.builds("{} {}".format, st.integers(0, 99), st.sampled_from(["minutes", "days", "business days"]))
WINDOWS = st.sampled_from(
    [{"mon-fri": ["09:00-12:00", "13:00-17:30"]}, {"sat": ["10:00-11:00"], "mon, wed": ["00:00-24:00"]}]
)
HOLIDAYS = st.fixed_dictionaries(
    {},
    optional={
        "of": st.sampled_from(["none", "sender", ["DE"], ["prospect", "team"]]),
        "plain_days": st.sampled_from(["move", "send"]),
    },
)
TIMING = {
    "zone": st.sampled_from(["prospect", "Europe/Berlin"]),
    "fallback_zone": st.just("Asia/Tokyo"),
    "windows": WINDOWS,
    "holidays": st.none() | HOLIDAYS,
    "catch_up": st.sampled_from(["shift", "spread", "skip"]),
}
HAS = st.fixed_dictionaries({"has": st.sampled_from(["phone", "start_date"])})
WHEN = st.recursive(
    HAS,
    lambda inner: (
        st.builds(lambda one: {"not": one}, inner)
        | st.builds(lambda some: {"any": some}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=4,
)
DATED = {"date": "start_date - 3 days"}
START: st.SearchStrategy[dict[str, Any]] = (
    st.fixed_dictionaries({"after": DELAY}) | st.just(DATED) | st.just({})
)
FREE = {
    "at": st.sampled_from(["10:30", "09:00-11:00"]),
    "weekdays": st.sampled_from(["tue-thu", ["mon", "wed"]]),
    "when": st.none() | WHEN,
    **TIMING,
}
VARIANTS = st.builds(
    lambda body: [{"id": "a", "text": f"{body}a"}, {"id": "b", "weight": 2, "html": "<p>B</p>"}], BODY
)
VARIED: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"variants": None, "winner": None}]
) | st.builds(
    lambda variants, more: {"variants": variants, **more},
    VARIANTS,
    st.fixed_dictionaries({}, optional={"winner": st.just({"by": "replied", "after": "50 people"})}),
)
MAIL = st.builds(
    lambda start, varied, more: {"channel": "email", **start, **varied, **more},
    START,
    VARIED,
    st.fixed_dictionaries(
        {"subject": LINE, "text": BODY},
        optional={
            "html": st.just("<p>Hi</p>"),
            "bcc": st.sampled_from(["crm@ourco.example", ["crm@ourco.example"]]),
            "reply_to": st.just("jobs@ourco.example"),
            "attachments": st.just(["0b6ea3f4-2a40-4f0c-9d54-0f3f3ad2a0b1"]),
            "thread": st.none() | st.just("new"),
            **FREE,
        },
    ),
)
CALL = st.builds(
    lambda start, more: {"channel": "call", **start, **more},
    START,
    st.fixed_dictionaries(
        {},
        optional={
            "text": BODY,
            "overdue": st.just({"after": "2 days"}) | st.just({"after": "1 day", "do": "notify"}),
            **FREE,
        },
    ),
)


def numbered(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": f"s{number}", **stage} for number, stage in enumerate(stages)]


DOCUMENTS = st.fixed_dictionaries(
    {"name": LINE, "stages": st.lists(MAIL | CALL, min_size=1, max_size=3).map(numbered)},
    optional={
        "tags": st.lists(LINE, max_size=3),
        "access": st.sampled_from(["personal", "shared", "confidential"]),
        "mailbox": st.sampled_from(["a@ourco.example", ["b@ourco.example", "a@ourco.example"]]),
        "on_behalf_of": st.none() | st.just("ben@ourco.example"),
        "tokens": st.dictionaries(st.sampled_from(["role", "team"]), BODY, max_size=2),
        "timing": st.fixed_dictionaries({}, optional=TIMING),
        "limits": st.fixed_dictionaries({}, optional={"new_people_per_day": st.integers(1, 99)}),
        "stop": st.fixed_dictionaries({}, optional={"on_reply": st.just("company")}),
        "tracking": st.fixed_dictionaries({}, optional={"opens": st.booleans(), "clicks": st.booleans()}),
    },
).map(lambda data: parse_sequence(data).dump())


def posted(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """What a browser sends of the form: line ends as CRLF."""
    for name, value in sheet.fields.items():
        yield name, value.replace("\n", "\r\n")
    for place, stage in enumerate(sheet.stages):
        yield f"stages.{place}.origin", stage.origin
        for name, value in stage.fields.items():
            yield f"stages.{place}.{name}", value.replace("\n", "\r\n")
        for number, variant in enumerate(stage.variants):
            here = f"stages.{place}.variants.{number}"
            yield f"{here}.origin", variant.origin
            for name, value in variant.fields.items():
                yield f"{here}.{name}", value.replace("\n", "\r\n")


@settings(max_examples=60)
@given(DOCUMENTS)
def test_a_document_that_nobody_touched_comes_back_from_its_form_as_it_was(document: dict[str, Any]) -> None:
    assert Sheet.read(posted(Sheet.of(document))).data(document) == document


WRITTEN = {
    "name": "Backend engineers, Berlin",
    "tags": ["backend", "berlin"],
    "access": "shared",
    "mailbox": ["ana@ourco.example", "ben@ourco.example"],
    "tokens": {"role": "Backend Engineer"},
    "timing": {
        "zone": "prospect",
        "fallback_zone": "Europe/Berlin",
        "windows": {"mon-fri": ["09:00-12:00", "13:00-17:30"]},
        "holidays": {"of": ["DE", "team"], "plain_days": "move"},
        "catch_up": "shift",
    },
    "limits": {"new_people_per_day": 50, "already_in_a_sequence": "refuse"},
    "stop": {"on_reply": "person", "on_bounce": "enrollment", "on_manual_mail": "hold"},
    "tracking": {"opens": True},
    "stages": [
        {**HELLO, "after": "0 minutes", "html": "<p>Hello</p>", "bcc": "crm@ourco.example"},
        {**NUDGE, "thread": "reply", "at": "09:00-11:00", "weekdays": "tue-thu", "when": {"opened": "hello"}},
        {**RING, "date": "start_date - 3 days", "text": "Ask about\n\ntheir week", "when": {"has": "phone"}},
    ],
}


def test_typed_into_an_empty_form_a_document_is_the_same_one() -> None:
    assert Sheet.read(posted(Sheet.of(WRITTEN))).data({}) == parse_sequence(WRITTEN).dump() == WRITTEN


@settings(max_examples=30)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), BODY, max_size=3))
def test_tokens_of_several_lines_come_back(tokens: dict[str, str]) -> None:
    assert read_tokens(write_tokens(tokens)) == tokens


def test_windows_are_lines_and_a_day_without_hours_is_left_to_the_contract() -> None:
    windows = {"mon, wed": ["09:00-12:00", "13:00-17:30"], "fri": ["10:00-11:00"]}
    assert write_windows(windows) == "mon, wed 09:00-12:00, 13:00-17:30\nfri 10:00-11:00"
    assert read_windows(write_windows(windows)) == windows
    assert read_windows("fri: 10:00-11:00\nfri 12:00-13:00\nsat") == {
        "fri": ["10:00-11:00", "12:00-13:00"],
        "sat": [],
    }


def test_what_the_form_has_no_field_for_stays_when_a_field_beside_it_changes() -> None:
    kept = {**DOCUMENT, "stages": [{**HELLO, "when": {"all": [{"has": "phone"}]}, "unheard_of": 1}]}
    sheet = Sheet.of(kept)
    sheet.stages[0].fields["text"] = "Hello you"
    assert sheet.data(kept)["stages"] == [{**kept["stages"][0], "text": "Hello you"}]


def test_an_emptied_field_is_gone_and_with_the_last_of_its_group_the_group() -> None:
    sheet = Sheet.of(DOCUMENT)
    sheet.stages[2].fields |= {"overdue.after": "", "overdue.do": "", "when.kind": "", "when.what": ""}
    assert sheet.data(DOCUMENT)["stages"][2] == {"id": "ring", "channel": "call"}


def test_a_condition_can_be_chosen_and_turned_round() -> None:
    sheet = Sheet.of(DOCUMENT)
    sheet.stages[1].fields |= {"when.kind": "opened", "when.what": " hello "}
    sheet.stages[2].fields["when.kind"] = "lacks"
    assert [stage.get("when") for stage in sheet.data(DOCUMENT)["stages"]] == [
        None,
        {"opened": "hello"},
        {"not": {"has": "phone"}},
    ]


# ---- buttons ------------------------------------------------------------------------------------------


def ids(sheet: Sheet) -> list[str]:
    return [stage.fields["id"] for stage in sheet.present()]


def test_stages_are_added_moved_doubled_removed_and_taken_back() -> None:
    sheet = Sheet.of(DOCUMENT)
    sheet.add("manual_sms")
    sheet.add("call")
    assert ids(sheet) == ["hello", "nudge", "ring", "manual-sms-1", "call-1"]
    sheet.remove(1)
    sheet.move(2, -1)  # over the removed one
    assert ids(sheet) == ["ring", "hello", "manual-sms-1", "call-1"]
    assert sheet.place(1) == 1
    sheet.duplicate(0)
    assert ids(sheet)[:2] == ["ring", "call-2"]
    assert sheet.data(DOCUMENT)["stages"][1] == {**RING, "id": "call-2"}
    sheet.remove(3, is_removed=False)
    assert "nudge" in ids(sheet)


@pytest.mark.parametrize("press", ["move", "duplicate", "remove"])
def test_a_button_of_a_stage_that_is_not_there_does_nothing(press: str) -> None:
    sheet = Sheet.of(DOCUMENT)
    getattr(sheet, press)(*((99, 1) if press == "move" else (99,)))
    sheet.move(0, -1)
    assert ids(sheet) == ["hello", "nudge", "ring"]


@pytest.mark.parametrize(
    ("pointer", "field"),
    [
        ("/name", "name"),
        ("/timing/windows/mon", "timing.windows"),
        ("/tokens/role", "tokens"),
        ("/stages/0/after", "stages.1.after"),
        ("/stages/1/when/all/0/has", "stages.2.when.kind"),
        ("/stages/1/overdue/do", "stages.2.overdue.do"),
        ("/stages/1/overdue", "stages.2.overdue.after"),
        ("/stages/0", "stages.1"),
        ("/stages/7/after", ""),
        ("/tracking", "tracking.clicks"),
        ("", ""),
    ],
)
def test_a_pointer_leads_to_its_field_past_removed_stages(pointer: str, field: str) -> None:
    sheet = Sheet.of(DOCUMENT)
    sheet.remove(0)
    assert field_of(pointer, sheet) == field


# ---- sentences ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (
            {"channel": "email", "after": "3 business days", "at": "09:00-11:00"},
            "3 business days later, between 09:00 and 11:00 their time, send an e-mail in the same thread.",
        ),
        ({"channel": "sms", "after": "0 minutes"}, "At once, send a text message."),
        ({"channel": "call"}, "1 day later, you call them."),
        ({"channel": "task", "date": "2027-01-05"}, "On 5 Jan 2027, you do a task."),
        (
            {"channel": "call", "date": "start_date - 1 day", "at": "10:30", "zone": "Europe/Berlin"},
            "1 day before their start date, at 10:30 Europe/Berlin time, you call them.",
        ),
        (
            {
                "channel": "call",
                "after": "soon",
                "at": "noon",
                "weekdays": "mon",
                "when.kind": "lacks",
                "when.what": "email",
            },
            "After “soon”, at “noon”, only mon, you call them, if their email is not known.",
        ),
        (
            {"channel": "call", "overdue.after": "2 days", "overdue.do": "skip"},
            "1 day later, you call them, left out if it was not done within 2 days.",
        ),
    ],
)
def test_a_stage_reads_as_a_sentence(stage: dict[str, str], said: str) -> None:
    assert sentence(stage, is_first=False, is_reply=True) == said


def test_the_first_stage_counts_from_the_enrolling() -> None:
    assert sentence({"channel": "email"}, is_first=True, is_reply=False) == "At once, send an e-mail."
    later = {"channel": "email", "after": "2 hours"}
    assert (
        sentence(later, is_first=True, is_reply=False) == "2 hours after they are enrolled, send an e-mail."
    )


# ---- what differs -------------------------------------------------------------------------------------


def test_nothing_differs_between_a_document_and_its_other_spelling() -> None:
    spelled = {**DOCUMENT, "access": "personal", "tags": [], "stages": [HELLO, NUDGE, RING]}
    assert not difference(DOCUMENT, spelled)


def test_what_changed_is_told_field_by_field_and_stage_by_stage() -> None:
    after = {
        "name": "Berlin, remote",
        "timing": {"zone": "Europe/Berlin"},
        "stages": [
            {**RING, "when": {"any": [{"has": "phone"}, {"not": {"has": "email"}}]}},
            {**HELLO, "text": "Hello\nyou"},
            {"id": "task-1", "channel": "task", "text": "Look"},
        ],
    }
    found = difference(DOCUMENT, after)
    assert [(each.field, each.before, each.after) for each in found.changes] == [
        ("name", "Berlin", "Berlin, remote"),
        ("timing, zone", "", "Europe/Berlin"),
    ]
    assert [(each.stage_id, each.what, each.place) for each in found.stages] == [
        ("ring", "moved", 1),
        ("hello", "changed", 2),
        ("task-1", "added", 3),
        ("nudge", "removed", 2),
    ]
    [condition] = found.stages[0].changes
    assert (condition.before, condition.after) == ("has phone", "(has phone) or (has no email)")
    [text] = found.stages[1].changes
    assert [(line.what, line.text) for line in text.lines] == [("same", "Hello"), ("added", "you")]


def test_lines_far_from_a_change_are_left_out() -> None:
    before = [str(number) for number in range(20)]
    after = [*before[:3], "three", *before[4:18], "last", "19"]
    shown = lines("\n".join(before), "\n".join(after))
    assert [(line.what[0], line.text) for line in shown] == [
        *(("s", "2"), ("r", "3"), ("a", "three"), ("s", "4")),
        ("s", "…"),
        *(("s", "17"), ("r", "18"), ("a", "last"), ("s", "19")),
    ]


# ---- previews -----------------------------------------------------------------------------------------


def test_a_preview_names_what_is_missing_and_leaves_it_standing() -> None:
    sources = {"subject": "Hi {{first_name|there}}", "text": "{{company}} and {{role}}, {{company}}"}
    found = rendered(sources, {"role": "Engineer"})
    assert (found.subject, found.text) == ("Hi there", "{{company}} and Engineer, {{company}}")
    assert (found.missing, found.problems) == (["company"], [])
    assert marked(found.text or "", found.missing) == (
        ("{{company}}", True),
        (" and Engineer, ", False),
        ("{{company}}", True),
    )


def test_a_preview_warns_of_a_fallback_that_looks_like_a_filter_and_tells_of_errors() -> None:
    [caution] = rendered({"text": "Hi\n{{first_name|uper}}"}, {"first_name": "Priya"}).cautions
    assert (caution.field, caution.line) == ("text", 2)
    assert "the filter is written upper" in caution.detail
    wrong = rendered({"subject": "Hi", "text": "{{ first name }}"}, {})
    assert (wrong.subject, wrong.text, wrong.problems[0].field, wrong.problems[0].line) == (
        "Hi",
        None,
        "text",
        1,
    )
