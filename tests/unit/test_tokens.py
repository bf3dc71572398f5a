"""What a token stands for: whose value wins, and which values a type takes."""

import itertools

import pytest

from chassis.tokens import BUILT_IN, token_values, wrong_values
from segue_contracts.tokens import TokenType, check_token

LAYERS = ("prospect", "prospect_tokens", "sequence", "sender", "workspace")


@pytest.mark.parametrize(
    "given", [c for n in range(6) for c in itertools.combinations(LAYERS, n)], ids="+".join
)
def test_the_nearest_value_wins_the_prospects_own_the_sequences_the_senders_the_workspaces(
    given: tuple[str, ...],
) -> None:
    def of(layer: str) -> dict[str, str]:
        return {"title": layer} if layer in given else {"title": "  "}

    prospect = {**of("prospect"), "tokens": of("prospect_tokens")}
    values = token_values(prospect, of("sequence"), "Ana", "", of("workspace"), of("sender"))
    assert values.get("title") == next((layer for layer in LAYERS if layer in given), None)


def test_a_signature_may_name_the_senders_own_tokens_and_not_the_prospects() -> None:
    signature = "{{my_name}}, {{my_title}}"
    values = token_values({"first_name": "Lena"}, {}, "Ana", signature, {}, {"my_title": "Recruiter"})
    assert values["signature"] == "Ana, Recruiter"
    assert "signature" not in token_values({"first_name": "Lena"}, {}, "Ana", "{{first_name}}", {}, {})


def test_what_the_mailbox_says_of_its_sender_is_nobody_elses_to_say() -> None:
    assert token_values({}, {}, "Ana", "", {}, {"my_name": "Eve"})["my_name"] == "Ana"
    assert {"my_name", "signature", "first_name", "locale", "my_title"} <= BUILT_IN


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (TokenType.TEXT, ("a\nb", ""), ("\x00",)),
        (TokenType.NUMBER, ("42", "-1.5", "55,000.50", "1.000"), ("", "4 2", "1e5", "٣", "4,", "12 EUR")),
        (TokenType.DATE, ("2027-02-28",), ("2027-02-29", "28.2.2027", "")),
        (
            TokenType.URL,
            ("https://a.example", "http://a.example/b?c=d#e"),
            ("a.example", "javascript:1", "https:///x"),
        ),
        (TokenType.BOOL, ("true",), ("false", "True", "1", "")),
    ],
)
def test_a_type_takes_its_values_and_no_others(
    kind: TokenType, good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    for value in good:
        assert check_token(kind, value) == value
    for value in bad:
        with pytest.raises(ValueError):
            check_token(kind, value)


def test_blank_values_and_tokens_that_nobody_defined_are_not_judged() -> None:
    given = {"salary": "much", "start": " ", "anything": "much"}
    assert [name for name, _ in wrong_values(given, {"salary": "number", "start": "date"})] == ["salary"]
