"""Claims about what a reply wants, on written replies in seven languages."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from reply_detector import intent
from reply_detector.classify import classify
from reply_detector.fresh_text import cut
from reply_detector.verdict import Intent, Kind

DATA = Path(__file__).parents[1] / "data" / "answers"


def _replies() -> list[tuple[Intent, str]]:
    found = []
    for file in sorted(DATA.glob("*.txt")):
        for chunk in ("\n" + file.read_text("utf-8")).split("\n=== ")[1:]:
            first, _, message = chunk.partition("\n")
            expected = json.loads(first)
            if expected["kind"] == Kind.REPLY:
                body = ("\n" + message).partition("\n\n")[2]
                found.append((Intent(expected["intent"]), cut(body).text))
    return found


PAIRS = Counter((expected, intent.judge(text).intent) for expected, text in _replies())


@pytest.mark.parametrize("wanted", list(Intent))
def test_precision_and_recall_of_an_intent_stay_above_nine_of_ten(wanted: Intent) -> None:
    right = PAIRS[wanted, wanted]
    assert right / sum(n for (_, judged), n in PAIRS.items() if judged is wanted) >= 0.9
    assert right / sum(n for (expected, _), n in PAIRS.items() if expected is wanted) >= 0.9


def test_a_refusal_is_never_called_interest() -> None:
    assert not PAIRS[Intent.NOT_INTERESTED, Intent.INTERESTED]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("I am very interested.", Intent.INTERESTED),
        ("I am not interested.", Intent.NOT_INTERESTED),
        ("I am not at all interested.", Intent.NOT_INTERESTED),
        ("Not now, maybe in autumn.", Intent.NOT_NOW),
        ("I wouldn't say no.", Intent.INTERESTED),
        ("No es que no me interese; podemos verlo en una llamada.", Intent.INTERESTED),
        ("We already have a provider, but we could have a call.", Intent.INTERESTED),
        ("Sure, happy to chat, though we already have a provider.", Intent.INTERESTED),
        ("It sounds interesting, but it is not for me.", Intent.NOT_INTERESTED),
        ("Je ne suis pas intéressé.", Intent.NOT_INTERESTED),
        ("Das interessiert mich nicht.", Intent.NOT_INTERESTED),
        ("Wrong person. Procurement handles this.", Intent.WRONG_PERSON),
        ("Thursday 3pm?", Intent.INTERESTED),
        ("El martes a las 12.", Intent.INTERESTED),
        ("I'm on holiday until Monday.", Intent.NOT_NOW),
        ("Where did you get my address?", Intent.UNSURE),
        ("Thanks!", Intent.UNSURE),
        ("", Intent.UNSURE),
    ],
)
def test_negations_and_turns_are_understood(text: str, wanted: Intent) -> None:
    assert intent.judge(text).intent is wanted


def test_the_rule_that_decided_is_in_the_evidence() -> None:
    assert intent.judge("Not right now, try me next year.").evidence[0].startswith("intent not_now: “")
    assert intent.judge("hm").evidence == ("intent: no word for or against it",)


def test_only_what_was_written_now_counts() -> None:
    raw = (
        b"Subject: Re: x\nIn-Reply-To: <s1@segue.example>\n\nNo, thank you.\n\n"
        b"On Tue, Apr 28, 2026 at 9:12 AM Rita <rita@segue.example> wrote:\n> Interested? Let us talk.\n"
    )
    assert classify(raw).intent is Intent.NOT_INTERESTED


def test_other_kinds_have_no_intent() -> None:
    assert classify(b"Subject: Automatic reply: x\n\nI am interested.").intent is None


@pytest.mark.parametrize(
    "piece", ["not interested but ", "how did you … ", "thanks ", "? ", "ende der ", "#"]
)
def test_hostile_text_is_judged_in_bounded_time(piece: str) -> None:
    before = time.process_time()
    intent.judge(piece * 100_000)
    assert time.process_time() - before < 0.5
