"""Variants of a stage: what may be written, who gets which of them, and when one has won."""

import random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.significance import MIN_EXPECTED, Tally, clear_best, is_clear, winner
from chassis.variants import chosen, comparison_id, split
from chassis.wording import first_subject
from scheduler.search import share
from segue_contracts.sequence import SequenceError, Stage, Variant, parse_sequence

SEQUENCE_ID = UUID(int=7)
MAIL: dict[str, Any] = {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi {{first_name}}"}
TWO: list[dict[str, Any]] = [{"id": "plain"}, {"id": "warm", "subject": "A job for you"}]

KNOWN = "aaabaaabbabbaababaaabaababaaaaba"

DISPATCHES = st.builds(lambda number, stage: f"{UUID(int=number)}:{stage}", st.integers(0, 2**64), st.text())
WEIGHTED = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]), st.integers(1, 100), min_size=2, max_size=5
).map(lambda weights: [Variant(id=name, weight=weight) for name, weight in weights.items()])


def stage(**more: Any) -> Stage:
    document = parse_sequence({"name": "x", "stages": [{**MAIL, "variants": TWO, **more}]})
    return document.stages[0]


def problems(**more: Any) -> dict[str, str]:
    with pytest.raises(SequenceError) as refused:
        stage(**more)
    return {each.path.removeprefix("stages[0]."): each.message for each in refused.value.problems}


# ---- what may be written ------------------------------------------------------------------------------


def test_what_a_variant_leaves_out_is_the_stages_own() -> None:
    worded = dict(stage().wordings())
    assert (worded["plain"].subject, worded["plain"].text) == ("A job", "Hi {{first_name}}")
    assert (worded["warm"].subject, worded["warm"].text) == ("A job for you", "Hi {{first_name}}")
    assert all(words.variants is None and words.winner is None for words in worded.values())


def test_a_variant_with_a_body_of_its_own_has_no_part_of_the_stages_body() -> None:
    plain, rich = [{"id": "plain", "text": "Hi"}, {"id": "rich"}]
    worded = dict(stage(html="<p>Hello</p>", variants=[plain, rich]).wordings())
    assert (worded["plain"].text, worded["plain"].html) == ("Hi", None)
    assert (worded["rich"].text, worded["rich"].html) == ("Hi {{first_name}}", "<p>Hello</p>")


def test_a_stage_needs_no_words_of_its_own_where_each_variant_has_them() -> None:
    a, b = {"id": "a", "subject": "A", "text": "a"}, {"id": "b", "subject": "B", "text": "b"}
    document = parse_sequence(
        {"name": "x", "stages": [{"id": "hello", "channel": "email", "variants": [a, b]}]}
    )
    assert first_subject(document) == "A"
    assert [path for path, _ in document.stages[0].templates()] == [
        ("variants", 0, "subject"),
        ("variants", 0, "text"),
        ("variants", 1, "subject"),
        ("variants", 1, "text"),
    ]


@pytest.mark.parametrize(
    ("more", "place", "said"),
    [
        ({"variants": TWO[:1]}, "variants", "must hold 2 to 5"),
        ({"variants": [*TWO, *({"id": f"v{n}", "text": str(n)} for n in range(4))]}, "variants", "2 to 5"),
        ({"variants": [TWO[0], TWO[0] | {"text": "Hello"}]}, "variants[1].id", "make it unique"),
        ({"variants": [TWO[0], {"id": "same", "subject": "A job"}]}, "variants[1]", "says the same as"),
        ({"variants": [TWO[0], {"id": "b", "txt": "Hi"}]}, "variants[1].txt", "did you mean `text`?"),
        ({"variants": [TWO[0], TWO[1] | {"weight": 0}]}, "variants[1].weight", "greater than"),
        ({"variants": [TWO[0], TWO[1] | {"weight": "2"}]}, "variants[1].weight", "whole number"),
        ({"subject": None}, "variants[0].subject", "the stage has none of its own"),
        ({"text": None}, "variants[0].text", "the stage has none of its own"),
        ({"winner": {"by": "answered"}}, "winner.by", "'replied', 'interested', 'clicked' or 'opened'"),
        ({"winner": {"by": "replied", "after": "9 people"}}, "winner.after", "100 people"),
        ({"winner": {"by": "replied", "after": 100}}, "winner.after", "100 people"),
        ({"winner": {"by": "replied", "when": "soon"}}, "winner.when", "unknown key"),
        ({"variants": None, "winner": {"by": "replied"}}, "winner", "add variants"),
    ],
)
def test_what_is_wrong_with_variants_is_said_at_its_place(more: Any, place: str, said: str) -> None:
    assert said in problems(**more)[place]


def test_a_text_message_has_variants_of_its_text_alone() -> None:
    sms = {"channel": "sms", "subject": None}
    assert "has no subject" in problems(**sms)["variants[1].subject"]
    rich = [{"id": "a"}, {"id": "b", "html": "<p>Hi</p>"}]
    assert "is for e-mail stages" in problems(**sms, variants=rich)["variants[1].html"]
    two = [{"id": "a"}, {"id": "b", "text": "Hello"}]
    assert "only e-mails are opened" in problems(**sms, variants=two, winner={"by": "opened"})["winner.by"]
    assert [words.text for _, words in stage(**sms, variants=two).wordings()] == [
        "Hi {{first_name}}",
        "Hello",
    ]


def test_a_reply_has_no_variants_of_its_subject() -> None:
    reply = {"id": "nudge", "channel": "email", "text": "Hi", "variants": TWO}
    with pytest.raises(SequenceError) as refused:
        parse_sequence({"name": "x", "stages": [MAIL, reply]})
    assert "a reply keeps the subject of its thread" in str(refused.value)


# ---- who gets which -----------------------------------------------------------------------------------


@given(WEIGHTED, DISPATCHES, st.randoms())
def test_the_split_depends_on_the_dispatch_and_the_weights_alone(
    variants: list[Variant], dispatch: str, chance: random.Random
) -> None:
    shuffled = chance.sample(variants, len(variants))
    assert split(variants, dispatch) == split(shuffled, dispatch)
    tenfold = [each.model_copy(update={"weight": each.weight * 10}) for each in variants]
    assert split(tenfold, dispatch).id == split(variants, dispatch).id


@given(WEIGHTED, DISPATCHES, st.sampled_from("abcdef"), st.sampled_from("abcdef"))
def test_what_somebody_has_outlives_a_winner_and_a_winner_outlives_the_split(
    variants: list[Variant], dispatch: str, winner: str, kept: str
) -> None:
    names = {each.id for each in variants}
    expected = next((name for name in (kept, winner) if name in names), split(variants, dispatch).id)
    assert chosen(variants, dispatch, winner=winner, kept=kept).id == expected


def test_the_split_of_known_dispatches_never_changes() -> None:
    two = [Variant(id="a"), Variant(id="b")]
    assert "".join(split(two, f"{UUID(int=n)}:hello").id for n in range(32)) == KNOWN


def test_people_are_split_as_the_weights_say() -> None:
    three = [Variant(id="a", weight=5), Variant(id="b", weight=3), Variant(id="c", weight=2)]
    got = [split(three, f"{UUID(int=n)}:hello").id for n in range(10_000)]
    for name, share_of in (("a", 0.5), ("b", 0.3), ("c", 0.2)):
        assert abs(got.count(name) / 10_000 - share_of) < 0.02


def test_a_variant_does_not_go_with_a_time_of_the_day_nor_with_the_variant_of_another_stage() -> None:
    two = [Variant(id="a"), Variant(id="b")]
    people = [UUID(int=n) for n in range(4_000)]
    early = [each for each in people if share(f"{each}:hello", 2) == 0]
    got_a = [each for each in people if split(two, f"{each}:hello").id == "a"]
    for among in (early, got_a):
        stage_id = "hello" if among is early else "nudge"
        a = sum(split(two, f"{each}:{stage_id}").id == "a" for each in among)
        assert abs(a / len(among) - 0.5) < 0.04


# ---- what is compared ---------------------------------------------------------------------------------


def test_a_comparison_is_of_words_whatever_the_shares_the_order_and_the_rule() -> None:
    one = comparison_id(SEQUENCE_ID, stage())
    assert one is not None
    assert one == comparison_id(
        SEQUENCE_ID, stage(variants=TWO[::-1], winner={"by": "replied"}, after="1 day")
    )
    assert one == comparison_id(SEQUENCE_ID, stage(variants=[TWO[0] | {"weight": 9}, TWO[1]]))
    written_out = [{"id": "plain", "subject": "A job"}, TWO[1] | {"text": MAIL["text"]}]
    assert one == comparison_id(SEQUENCE_ID, stage(variants=written_out))


def test_other_words_another_stage_or_another_sequence_is_another_comparison() -> None:
    others = [
        comparison_id(SEQUENCE_ID, stage(text="Hello")),
        comparison_id(SEQUENCE_ID, stage(id="hallo")),
        comparison_id(SEQUENCE_ID, stage(variants=[TWO[0], {"id": "warm", "subject": "A job, dear"}])),
        comparison_id(SEQUENCE_ID, stage(variants=[TWO[0], TWO[1] | {"id": "b"}])),
        comparison_id(UUID(int=8), stage()),
        comparison_id(SEQUENCE_ID, stage()),
    ]
    assert len(set(others)) == len(others)
    assert comparison_id(SEQUENCE_ID, stage(variants=None)) is None


# ---- when one has won ---------------------------------------------------------------------------------


def test_a_clear_difference_wins_and_chance_does_not() -> None:
    assert clear_best([Tally("a", 100, 10), Tally("b", 100, 30)]) == "b"  # z = 3.5
    assert clear_best([Tally("a", 100, 10), Tally("b", 100, 20)]) is None  # z = 2.0
    assert clear_best([Tally("a", 1000, 100), Tally("b", 1000, 150)]) == "b"
    assert not is_clear(Tally("a", 100, 10), Tally("b", 100, 30))


def test_the_best_must_be_clear_of_every_other_one() -> None:
    tied = [Tally("a", 400, 20), Tally("b", 400, 90), Tally("c", 400, 88)]
    assert clear_best(tied) is None
    assert clear_best([*tied[:2], Tally("c", 400, 30)]) == "b"


def test_few_answers_say_nothing_however_different_the_shares_are() -> None:
    assert clear_best([Tally("a", 12, 0), Tally("b", 12, MIN_EXPECTED)]) is None
    assert clear_best([Tally("a", 1000, 0), Tally("b", 1000, MIN_EXPECTED)]) is None
    assert clear_best([Tally("a", 50, 50), Tally("b", 50, 46)]) is None
    assert clear_best([Tally("a", 0, 0), Tally("b", 40, 20)]) is None
    assert clear_best([]) is None


def test_nobody_wins_before_each_variant_had_its_people() -> None:
    tallies = [Tally("a", 99, 10), Tally("b", 200, 80)]
    assert winner(tallies, after=100) is None
    assert winner(tallies, after=99) == "b"


def test_equals_are_told_apart_in_less_than_one_of_twenty_comparisons_however_often_they_are_looked_at() -> (
    None
):
    chance, runs, wrong = random.Random(5), 400, 0
    for _ in range(runs):
        did = [0, 0]
        for people in range(1, 1501):
            did = [each + (chance.random() < 0.15) for each in did]
            looked = people >= 50 and people % max(1, people // 20) == 0
            if looked and winner([Tally("a", people, did[0]), Tally("b", people, did[1])], after=50):
                wrong += 1
                break
    assert wrong / runs < 0.05
