"""Finds the day on which the writer of an absence note is back, in seven languages, relative to the note's
date.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

TEXT_LIMIT_CHARS = 3_000
_CUE_REACH_CHARS = 48
_MENTION_LIMIT = 40
_FARTHEST = timedelta(days=400)
_JUST_OVER = timedelta(days=45)

_MONTH_NAMES = (
    "january januar janner janvier enero januari janeiro gennaio jan janv ene gen",
    "february februar feber fevrier febrero februari fevereiro febbraio feb fev fevr",
    "march marz maerz mars marzo maart marco mar mrz mrt",
    "april avril abril aprile apr avr abr",
    "may mai mayo mei maio maggio mag",
    "june juni juin junio junho giugno jun giu",
    "july juli juillet julio julho luglio jul juil lug",
    "august aout agosto augustus aug ago",
    "september septembre septiembre setiembre setembro settembre sep sept set",
    "october oktober octobre octubre outubro ottobre oct okt out ott",
    "november novembre noviembre novembro nov",
    "december dezember decembre diciembre dezembro dicembre dec dez dic",
)
_DAY_NAMES = (
    "monday montag lundi lunes maandag segunda-feira lunedi mon segunda",
    "tuesday dienstag mardi martes dinsdag terca-feira martedi tue tues terca",
    "wednesday mittwoch mercredi miercoles woensdag quarta-feira mercoledi wed quarta",
    "thursday donnerstag jeudi jueves donderdag quinta-feira giovedi thu thurs quinta",
    "friday freitag vendredi viernes vrijdag sexta-feira venerdi fri sexta",
    "saturday samstag sonnabend samedi sabado zaterdag sabato sat",
    "sunday sonntag dimanche domingo zondag domenica sun",
)
_MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
_DAYS = {name: number for number, names in enumerate(_DAY_NAMES) for name in names.split()}


def _longest_first(names: dict[str, int]) -> str:
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))


_MONTH = _longest_first(_MONTHS)
_YEAR = r"(?:[\s,.]{1,3}(?:de |del |do )?(20\d\d|'\d\d)\b)?"
_ORDINAL = r"(?:st|nd|rd|th|er|e|o|\.|º|ª)?"
_ISO = re.compile(r"\b(20\d\d)[-/.](\d{1,2})[-/.](\d{1,2})\b")
_NUMERIC = re.compile(
    r"(?<![\d./+-])(\d{1,2})([./-])\s?(\d{1,2})(?:\2\s?(20\d\d|\d\d)(?![\d./-]\d)"
    r"|\.?(?![\d./-]\d|\d))"
)
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}}){_ORDINAL}\s{{0,2}}(?:of |de |di )?({_MONTH})\b\.?{_YEAR}")
_MONTH_DAY = re.compile(
    rf"\b({_MONTH})\.?\s{{1,2}}(?:the )?(\d{{1,2}})(?:st|nd|rd"
    rf"|th)?\b(?![:.]\d\d)(?:[\s,.]{{1,3}}(20\d\d)\b)?"
)
_WEEKDAY = re.compile(rf"\b({_longest_first(_DAYS)})\b")
_TOMORROW = re.compile(r"\b(tomorrow|morgen|demain|manana|amanha|domani)\b")
_NEXT_WEEK = re.compile(
    r"\b(next week|nachste(?:n|r)? woche|semaine prochaine|la proxima semana"
    r"|la semana que viene|volgende week|proxima semana|semana que vem|prossima settimana)\b"
)
_RANGE_END_DAY = re.compile(
    rf"\b(\d{{1,2}}){_ORDINAL}\s{{0,2}}(?:-|to|bis(?: zum)?|au|al|tot(?: en met)?|t/m|a|ao"
    rf"|through|until)\s{{0,2}}(\d{{1,2}}){_ORDINAL}\s{{0,2}}(?:of |de "
    rf"|di )?({_MONTH})\b{_YEAR}"
)
_MONTH_RANGE = re.compile(
    rf"\b({_MONTH})\.?\s(\d{{1,2}})(?:st|nd|rd|th)?\s{{0,2}}(?:-|to|through"
    rf"|until)\s{{0,2}}(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(20\d\d)\b)?"
)

_BACK = re.compile(
    r"\b(?:back|return(?:ing|s)?|resum(?:e|ing)|available again|available (?:on|from)"
    r"|in the office (?:on|from|again)|wieder|zuruck|ab(?: dem)?|de retour|retour|reviens"
    r"|reviendrai|reprends|reprendrai"
    r"|regres\w{1,6}|de vuelta|vuel(?:vo|ta)|volver\w{0,3}|reincorpor\w{1,4}|incorpor\w{1,4}"
    r"|a partir d\w{1,3}|terug\w{0,8}|weer|vanaf|volt(?:o|arei|a)|retorn\w{1,5}"
    r"|regressa\w{0,4}|de volta"
    r"|rientr\w{1,4}|ritorn\w{1,4}|torn(?:o|ero)|di nuovo|nuovamente|a partire da\w{0,2}|des le)\b"
)
_UNTIL = re.compile(
    r"(?:\b(?:until|till?|through|thru|to|bis|jusqu'?\s?(?:au|a)?|au|hasta|al|tot|t/m|ate|ao|a"
    r"|fino|sino|al|and|und|et|y|en|e|ending|ends)\b|'til|-)"
)
_FROM = re.compile(
    r"\b(?:from|since|starting|beginning|effective|as of|vom|seit|von|du|depuis"
    r"|a partir d\w{1,3}|desde|del|van|sinds|de|dal|from the|between|zwischen|entre|tussen|tra"
    r"|leaving)\b[\s\w,.]{0,16}$"
)
_SENT_ON = re.compile(
    r"\b(?:sent|wrote|dated|received|gesendet|envoye|enviado|verzonden|inviato)\b[^.]{0,20}$"
)


@dataclass(frozen=True, slots=True)
class _Mention:
    """A day named in the text: where, which, whether its year was written, and how exact it is."""

    start: int
    day: date
    dated: bool


def find(folded: str, written: date | None, *, cue_needed: bool = False) -> date | None:
    """The return date that a folded text names, or None if it names none that lies ahead.

    With `cue_needed`, only a day that a word such as `back` or `until` leads to counts.

    A day after a word such as `back` wins over one after `until`, that over the end of a range, that over any
    other. A day without a year is the first one that comes after `written`. `until Friday` gives that Friday.
    """
    if written is None:
        return None
    text = folded[:TEXT_LIMIT_CHARS]
    best: tuple[int, date] | None = None
    for count, mention in enumerate(_mentions(text, written)):
        rank = _rank(text, mention.start)
        if count >= _MENTION_LIMIT:
            break
        if rank and written <= mention.day <= written + _FARTHEST and _better(rank, mention.day, best):
            best = (rank, mention.day)
    return best[1] if best and (best[0] > 1 or not cue_needed) else None


def _better(rank: int, day: date, best: tuple[int, date] | None) -> bool:
    return best is None or rank > best[0] or (rank == best[0] and rank < 3 and day > best[1])


def _rank(text: str, start: int) -> int:
    """How strongly the words before a day say that it is the return: 3 back, 2 until, 1 no word, 0
    another's.
    """
    before = text[max(0, start - _CUE_REACH_CHARS) : start]
    sentence = re.split(r"[.!?;]\s", before)[-1]
    if _SENT_ON.search(sentence):
        return 0
    back, until, begins = _last(_BACK, sentence), _last(_UNTIL, sentence), _last(_FROM, sentence)
    if back >= 0:
        return 3
    if until >= 0 and until >= begins:
        return 2
    return 0 if begins >= 0 else 1


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = -1
    for match in pattern.finditer(text):
        found = match.start()
    return found


def _mentions(text: str, written: date) -> Iterator[_Mention]:
    yield from _ranges(text, written)
    for match in _ISO.finditer(text):
        yield from _mention(match.start(), match[1], match[2], match[3], written)
    for match in _DAY_MONTH.finditer(text):
        yield from _mention(match.start(), match[3] or "", str(_MONTHS[match[2]]), match[1], written)
    for match in _MONTH_DAY.finditer(text):
        yield from _mention(match.start(), match[3] or "", str(_MONTHS[match[1]]), match[2], written)
    for match in _NUMERIC.finditer(text):
        yield from _numeric(match, written)
    yield from _relative(text, written)


def _ranges(text: str, written: date) -> Iterator[_Mention]:
    for match in _RANGE_END_DAY.finditer(text):
        yield from _mention(match.start(2), match[4] or "", str(_MONTHS[match[3]]), match[2], written)
    for match in _MONTH_RANGE.finditer(text):
        yield from _mention(match.start(3), match[4] or "", str(_MONTHS[match[1]]), match[3], written)


def _relative(text: str, written: date) -> Iterator[_Mention]:
    for match in _WEEKDAY.finditer(text):
        if not re.match(r",?\s?(?:the |den |le |el |de |il |dem )?\d", text[match.end() : match.end() + 8]):
            ahead = (_DAYS[match[1]] - written.weekday()) % 7 or 7
            yield _Mention(match.start(), written + timedelta(days=ahead), False)
    for match in _TOMORROW.finditer(text):
        yield _Mention(match.start(), written + timedelta(days=1), False)
    for match in _NEXT_WEEK.finditer(text):
        yield _Mention(match.start(), written + timedelta(days=7 - written.weekday()), False)


def _numeric(match: re.Match[str], written: date) -> Iterator[_Mention]:
    """A day in digits. Dots and day-first are the rule outside the United States; where both readings are
    dates, the one that comes sooner after the note is taken: absences are short.
    """
    first, mark, second, year = match[1], match[2], match[3], match[4] or ""
    if mark == "-" and not year:
        return  # `1-5` is a range of days, opening hours, anything
    readings = list(_mention(match.start(), year, second, first, written))
    if mark == "/" or (mark == "-" and year):
        readings += _mention(match.start(), year, first, second, written)
    ahead = [reading for reading in readings if reading.day >= written]
    if ahead:
        yield min(ahead, key=lambda reading: reading.day)


def _mention(start: int, year: str, month: str, day: str, written: date) -> Iterator[_Mention]:
    try:
        if year:
            digits = year.lstrip("'")
            yield _Mention(
                start, date(int(digits) + (2000 if len(digits) == 2 else 0), int(month), int(day)), True
            )
            return
        this_year = date(written.year, int(month), int(day))
        if this_year >= written:
            yield _Mention(start, this_year, False)
        elif written - this_year > _JUST_OVER:
            yield _Mention(start, date(written.year + 1, int(month), int(day)), False)
    except ValueError:
        return
