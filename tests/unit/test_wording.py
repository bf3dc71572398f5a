"""What a stage says to one person, and what is missing for it."""

import pytest

from chassis.wording import first_subject, reply_subject, words_of
from segue_contracts.message import Channel
from segue_contracts.sequence import Stage, parse_sequence


@pytest.mark.parametrize(
    ("thread", "reply"),
    [
        ("Hello", "Re: Hello"),
        ("Re: Hello", "Re: Hello"),
        ("RE : Hello", "RE : Hello"),
        ("Review", "Re: Review"),
    ],
)
def test_reply_subject(thread: str, reply: str) -> None:
    assert reply_subject(thread) == reply


def test_words_that_can_not_be_written_are_named_and_spoil_no_others() -> None:
    stage = Stage(
        id="hello", channel=Channel.EMAIL, subject="{{role}}, {{first_name}}", text="Hi {{first_name|there}}"
    )
    words = words_of(stage, {"role": "Engineer"})
    assert (words.subject, words.text) == (None, "Hi there")
    assert [code for code, _ in words.problems] == ["token_missing"]
    assert "first_name" in words.problems[0][1]
    broken = words_of(stage, {"role": "Engineer\r\nBcc: x@y.example", "first_name": "P"})
    assert (broken.subject, [code for code, _ in broken.problems]) == (None, ["template"])


def test_a_stage_without_words_says_nothing_and_lacks_nothing() -> None:
    words = words_of(Stage(id="ring", channel=Channel.CALL), {})
    assert (words.subject, words.text, words.problems) == (None, None, ())


def test_the_first_subject_is_that_of_an_email() -> None:
    stages = [
        {"id": "t", "channel": "task", "subject": "Look them up"},
        {"id": "a", "channel": "email", "subject": "A job", "text": "Hi"},
        {"id": "b", "channel": "email", "subject": "Another", "text": "Hi", "thread": "new"},
    ]
    assert first_subject(parse_sequence({"name": "N", "stages": stages})) == "A job"
    assert first_subject(parse_sequence({"name": "N", "stages": stages[:1]})) == ""
