"""Reads from a person's words whether they want to go on: rules with evidence, so that a verdict can be
argued with.
"""

import re
from dataclasses import dataclass

from reply_detector import intent_vocabulary as words
from reply_detector.fresh_text import fold
from reply_detector.verdict import Intent
from reply_detector.vocabulary import Phrases, words_in

TEXT_LIMIT_CHARS = 2_000
_GAP_WORDS = 4  # what `…` in a phrase stands for at most
_TOKEN = re.compile(r"[\w'-]{1,60}|[.,!?]")
_MARKS = frozenset(".!?")
_NEGATION = frozenset(
    [
        "no",
        "not",
        "never",
        "without",
        "don't",
        "doesn't",
        "didn't",
        "can't",
        "cannot",
        "won't",
        "wouldn't",
        "isn't",
        "aren't",
        "nicht",
        "nie",
        "kein",
        "keine",
        "keinen",
        "keinerlei",
        "ohne",
        "pas",
        "jamais",
        "sans",
        "sin",
        "ni",
        "nunca",
        "niet",
        "geen",
        "nooit",
        "zonder",
        "nao",
        "nunca",
        "sem",
        "non",
        "senza",
        "nessun",
        "hardly",
        "barely",
        "kaum",
    ]
)
_BUT = frozenset(
    [
        "but",
        "though",
        "however",
        "although",
        "still",
        "aber",
        "trotzdem",
        "allerdings",
        "jedoch",
        "dennoch",
        "mais",
        "cependant",
        "toutefois",
        "pero",
        "aunque",
        "maar",
        "echter",
        "mas",
        "porem",
        "contudo",
        "embora",
        "ma",
        "pero",
        "tuttavia",
        "comunque",
    ]
)
_ALTHOUGH = frozenset(["though", "although", "aunque", "obwohl", "bien", "hoewel", "embora", "anche"])
_CLAUSE_ENDS = _MARKS | _BUT | {","}
_OK = (
    " ok ",
    " okay ",
    " oke ",
    " prima ",
    " passt ",
    " vale ",
    " perfect ",
    " perfecto ",
    " parfait ",
    " perfetto ",
)
_CLOCK = re.compile(
    r" (?:\d{1,2} ?(?:am|pm|uhr|h|u|hrs|o'clock)|\d{1,2}h\d{0,2}|(?:at|um|a las|om|as|alle"
    r"|a) \d{1,2}(?: \. \d\d)?) "
)
_THANKS = re.compile(
    r" (?:thank(?:s| you)|appreciated?|flattered|kind of you|danke|dank|ehrt|geehrt|schmeichelt|merci"
    r"|remercie|flatteur|flattee?"
    r"|gracias|agradezco|halaga|halagad[oa]|bedankt|vereerd|obrigad[oa]|agradeco|lisonjead[oa]|grazie"
    r"|ringrazio"
    r"|lusingat[oa]) [^.?!]{0,80}?(?:but|aber|jedoch|allerdings|leider|mais|pero|maar|mas|porem|ma) "
)
_DISOWNED = re.compile(
    rf"intent {Intent.WRONG_PERSON}: “(?!.*\b(?:mehr|longer|plus|mas|ya|meer|mais|ja|piu)\b)"
    r".*\b(?:not|isn't|wrong|nicht|falsch\w*|pas|mauvais\w*|no|equivocad\w|incorrecta|niet|verkeerde?|nao|errad\w"
    r"|enganad\w|non|sbagliat\w)\b"
)
_SHORT_WORDS = 14
_WEEKDAY = re.compile(
    r" (?:monday|tuesday|wednesday|thursday|friday|montag|dienstag|mittwoch|donnerstag|freitag|lundi"
    r"|mardi|mercredi"
    r"|jeudi|vendredi|lunes|martes|miercoles|jueves|viernes|maandag|dinsdag|woensdag|donderdag|vrijdag"
    r"|segunda|segunda-feira|terca|terca-feira|quarta|quarta-feira|quinta|quinta-feira|sexta|sexta-feira"
    r"|lunedi|martedi|mercoledi|giovedi|venerdi|tomorrow|morgen|demain|manana|amanha|domani) "
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reply wants, with every signal that was weighed."""

    intent: Intent
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A phrase as it is searched for: its first part, and what follows a gap, both with their edges."""

    first: str
    rest: str
    shown: str


def _phrases(source: tuple[str, ...]) -> tuple[_Phrase, ...]:
    made = []
    for phrase in sorted(dict.fromkeys(source), key=len, reverse=True):
        first, _, rest = phrase.partition("…")
        made.append(_Phrase(_edged(first), _edged(rest) if rest else "", phrase.rstrip("*")))
    return tuple(made)


def _edged(part: str) -> str:
    part = part.strip()
    return f" {part.rstrip('*')}" if part.endswith("*") else f" {part} "


_GROUPS = tuple(
    (
        name,
        made,
        Phrases(f"{phrase.first.strip()}{'' if phrase.first.endswith(' ') else '*'}" for phrase in made),
    )
    for name, made in (
        ("neither", _phrases(words.NEITHER)),
        ("after all", _phrases(words.AFTER_ALL)),
        (Intent.WRONG_PERSON, _phrases(words.WRONG_PERSON)),
        (Intent.NOT_NOW, _phrases(words.NOT_NOW)),
        (Intent.NOT_INTERESTED, _phrases(words.NOT_INTERESTED)),
        (Intent.INTERESTED, _phrases(words.INTERESTED)),
        ("away", _phrases(words.AWAY)),
    )
)


@dataclass(slots=True)
class _Signals:
    """Where each group was found: positions in the text, and the evidence for them."""

    text: str
    found: dict[str, list[int]]
    evidence: list[str]

    def add(self, group: str, at: int, why: str) -> None:
        self.found.setdefault(group, []).append(at)
        self.evidence.append(f"intent {group}: “{why.strip()}”")


def judge(text: str) -> Judgement:
    """The intent of a reply, from its fresh text."""
    signals = _weigh(text)
    intent = _decide(signals)
    return Judgement(intent, tuple(signals.evidence) or ("intent: no word for or against it",))


def side_taken(sentence: str) -> Intent | None:
    """Whether a sentence accepts, refuses, puts off or disowns an offer: a standing note takes no side.

    A note sends its readers to somebody else, too; only who says that it is not for them disowns it.
    """
    signals = _weigh(sentence)
    sides = [side for side in (Intent.NOT_INTERESTED, Intent.INTERESTED) if side in signals.found]
    if sides:
        return sides[0]
    if any(_DISOWNED.match(why) for why in signals.evidence):
        return Intent.WRONG_PERSON
    return Intent.NOT_NOW if Intent.NOT_NOW in signals.found else None


def _weigh(text: str) -> _Signals:
    signals = _Signals(_plain(text), {}, [])
    said = words_in(signals.text)
    for group, made, index in _GROUPS:
        for place in index.likely(said):
            if made[place].first in signals.text:
                _count(made[place], group, signals)
    if not {Intent.WRONG_PERSON, Intent.NOT_NOW, Intent.NOT_INTERESTED, Intent.INTERESTED} & set(
        signals.found
    ):
        _weigh_thanks(signals)
    _weigh_time(signals)
    return signals


def _plain(text: str) -> str:
    """Folded words with single spaces between and around them, punctuation as words of its own."""
    folded = fold(text[:TEXT_LIMIT_CHARS]).replace(";", ".").replace(":", ".").replace("(", ",")
    return f" {' '.join(_TOKEN.findall(folded))} . "


def _count(phrase: _Phrase, group: str, signals: _Signals) -> None:
    span = _span(phrase, signals.text)
    if span is None:
        return
    start, end = span
    if group == Intent.INTERESTED and _negated(signals.text, start):
        signals.add(Intent.NOT_INTERESTED, start, f"not … {phrase.shown}")
    else:
        signals.add(group, start, phrase.shown)
    hidden = signals.text[start:end]
    signals.text = f"{signals.text[:start]} {'#' * (len(hidden) - 2)} {signals.text[end:]}"


def _span(phrase: _Phrase, text: str) -> tuple[int, int] | None:
    start = text.find(phrase.first)
    if start < 0:
        return None
    end = start + len(phrase.first)
    if not phrase.rest:
        return start, _word_end(text, end) if not phrase.first.endswith(" ") else end
    at = text.find(phrase.rest, end - 1, end + 80)
    between = text[end:at].split() if at >= 0 else []
    if at < 0 or len(between) > _GAP_WORDS or _MARKS.intersection(between):
        return None
    end = at + len(phrase.rest)
    return start, _word_end(text, end) if not phrase.rest.endswith(" ") else end


def _word_end(text: str, at: int) -> int:
    return text.find(" ", at) + 1


def _negated(text: str, start: int) -> bool:
    """Whether one of the three words before, in the same clause, denies what follows."""
    before = text[max(0, start - 40) : start + 1].split()[-3:]
    return any(
        word in _NEGATION and _CLAUSE_ENDS.isdisjoint(before[index:]) for index, word in enumerate(before)
    )


def _weigh_thanks(signals: _Signals) -> None:
    """`Thank you, but ...`: a polite refusal, whatever the reason."""
    thanked = _THANKS.search(signals.text)
    if thanked:
        signals.add(Intent.NOT_INTERESTED, thanked.start(), thanked[0])


def _weigh_time(signals: _Signals) -> None:
    """A short answer that names a day or an hour proposes it."""
    clock, day = _CLOCK.search(signals.text), _WEEKDAY.search(signals.text)
    if (clock and day) or ((clock or day) and len(signals.text.split()) <= _SHORT_WORDS):
        at = clock or day
        assert at is not None
        signals.add(Intent.INTERESTED if signals.text.startswith(_OK) else "a time", at.start(), at[0])


def _decide(signals: _Signals) -> Intent:
    found = signals.found
    against = [
        at
        for name in (Intent.WRONG_PERSON, Intent.NOT_NOW, Intent.NOT_INTERESTED)
        for at in found.get(name, ())
    ]
    pro = found.get(Intent.INTERESTED, []) + found.get("after all", [])
    if (
        against
        and pro
        and (_turned(signals.text, max(against), pro) or _conceded(signals.text, against, pro))
    ):
        return Intent.INTERESTED
    for intent in (Intent.WRONG_PERSON, Intent.NOT_NOW, Intent.NOT_INTERESTED):
        if intent in found:
            return intent
    if pro or ("a time" in found and "away" not in found):
        return Intent.INTERESTED
    return Intent.NOT_NOW if "away" in found else Intent.UNSURE


def _turned(text: str, last_against: int, pro: list[int]) -> bool:
    """Whether something speaks for it behind a `but` that stands behind everything against it."""
    behind = [at for at in pro if at > last_against]
    return bool(behind) and not _BUT.isdisjoint(text[last_against : max(behind)].split())


def _conceded(text: str, against: list[int], pro: list[int]) -> bool:
    """Whether everything against it stands behind an `although` that something for it stands before."""
    return min(pro) < min(against) and not _ALTHOUGH.isdisjoint(text[min(pro) : min(against)].split())
