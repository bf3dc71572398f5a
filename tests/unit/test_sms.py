"""What an inbound text message is judged to be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.secrets import plain_phone
from reply_detector.sms import STOPS, judge
from reply_detector.verdict import Facts, Kind


@pytest.mark.parametrize("word", sorted(STOPS))
def test_a_stop_word_opts_out_alone_in_any_dress_and_with_words_after_it(word: str) -> None:
    for text in (
        word,
        word.upper(),
        f" {word.title()}! ",
        f"\u200b{word}.",
        f"{word} please",
        f"{word}\ntexting me",
    ):
        verdict = judge(text)
        assert verdict.kind is Kind.OPT_OUT, text
        assert word in verdict.evidence[0]


@pytest.mark.parametrize(
    "text",
    ["Arrêt", "ARRÊTE svp", "Stop all", "opt out", "Please remove me from your list", "Bitte abmelden"],
)
def test_what_asks_to_stop_in_other_words_opts_out(text: str) -> None:
    assert judge(text).kind is Kind.OPT_OUT


@pytest.mark.parametrize(
    "text",
    [
        "Yes",
        "ja gern",
        "👍",
        "End of next week works",
        "Stop by at noon",
        "I can't stop thinking of it",
        "Starting when?",
    ],
)
def test_what_a_person_says_is_a_reply(text: str) -> None:
    verdict = judge(text)
    assert (verdict.kind, verdict.text) == (Kind.REPLY, text)


@pytest.mark.parametrize("text", ["START", "unstop", "Help", "INFO.", "", "  "])
def test_what_speaks_to_the_provider_is_no_reply(text: str) -> None:
    assert judge(text).kind is Kind.OTHER


def test_the_provider_is_believed_when_it_saw_a_stop_word_and_not_when_it_took_a_yes_for_start() -> None:
    assert judge("nee bedankt", keyword="STOP").kind is Kind.OPT_OUT
    assert judge("Yes", keyword="START").kind is Kind.REPLY


def test_a_picture_without_words_is_a_reply() -> None:
    assert judge("", media=1).kind is Kind.REPLY


@settings(deadline=None)
@given(text=st.text(), keyword=st.text(max_size=10), media=st.integers())
def test_any_text_gives_a_verdict_with_its_facts(text: str, keyword: str, media: int) -> None:
    facts = Facts(message_id="SM1", from_address="+4930123456")
    verdict = judge(text, keyword=keyword, media=media, facts=facts)
    assert verdict.evidence
    assert verdict.facts == facts


def test_one_phone_has_one_spelling_however_people_write_it() -> None:
    written = (
        "+49301234",
        "+49 (30) 12-34",
        "0049 30 1234",
        "+49 (0)30 1234",
        "+49 30 1234 ext. 5",
        "+49.30.1234x5",
    )
    assert {plain_phone(each) for each in written} == {"+49301234"}
    assert plain_phone("(030) 12 34") == "0301234"
