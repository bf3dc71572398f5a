"""Judges what an inbound text message is, from its words alone: pure, and without exceptions."""

import re

from reply_detector import intent, opt_out
from reply_detector.fresh_text import fold
from reply_detector.verdict import Facts, Kind, Verdict

TEXT_LIMIT_CHARS = 20_000

# Twilio's, and what 47 CFR 64.1200(a)(10) names. Twilio acts on those that stand alone: only we see to those
# with other words after them. Source: https://www.twilio.com/docs/proxy/opt-out-keywords
STOPS = frozenset(
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "optout", "revoke"}
    | {"arret", "arrete", "arrett"}
)
STARTS = frozenset({"start", "unstop"})
HELPS = frozenset({"help", "info", "aide"})
_NO_STOPS = re.compile(r"end of |stop (?:by|in|over) ")
"""A stop word that begins a sentence about something else: `End of next week works`."""
_WORD = re.compile(r"[^\W_]+")


def judge(text: str, *, keyword: str = "", media: int = 0, facts: Facts | None = None) -> Verdict:
    """What the message is: `opt_out`, `other` (HELP, START, nothing at all), else `reply` with its intent.

    `keyword` is what the provider recognised (`STOP`, `START`, `HELP`), or empty; `media` counts pictures and
    the like. A stop word counts alone, with other words after it, and in the ways that e-mail knows. Of the
    provider's guesses only `STOP` is believed: its `START` may be a person's `Yes`.
    """
    facts, words = facts or Facts(), text[:TEXT_LIMIT_CHARS].strip()
    asked = _stop(words, keyword.strip().lower())
    if asked:
        return Verdict(Kind.OPT_OUT, (asked,), facts, words)
    spoken = _to_the_machine(words)
    if spoken:
        return Verdict(Kind.OTHER, (spoken,), facts, words)
    if not words and not media:
        return Verdict(Kind.OTHER, ("empty",), facts)
    wanted = intent.judge(words)
    evidence = ("a text message" if words else "a picture without words", *wanted.evidence)
    return Verdict(Kind.REPLY, evidence, facts, words, wanted.intent)


def _stop(words: str, keyword: str) -> str:
    if keyword == "stop":
        return "the provider took it for a stop word"
    folded = fold(words)
    first, *others = _WORD.findall(folded[:200]) or [""]
    if first in STOPS and (not others or not _NO_STOPS.match(folded)):
        return f"begins with “{first}”" if others else f"says only: “{first}”"
    return opt_out.by_text(words)


def _to_the_machine(words: str) -> str:
    """START and HELP speak to the provider, which answers them; only a person lifts a suppression."""
    alone = _WORD.findall(fold(words[:200]))
    if len(alone) != 1:
        return ""
    if alone[0] in STARTS:
        return "asks to be written to again"
    return "asks who writes" if alone[0] in HELPS else ""
