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
    "monday montag lundi lunes maandag segunda-feira lunedi segunda",
    "tuesday dienstag mardi martes dinsdag terca-feira martedi tue tues terca",
    "wednesday mittwoch mercredi miercoles woensdag quarta-feira mercoledi wed quarta",
    "thursday donnerstag jeudi jueves donderdag quinta-feira giovedi thu thurs quinta",
    "friday freitag vendredi viernes vrijdag sexta-feira venerdi fri sexta",
    "saturday samstag sonnabend samedi sabado zaterdag sabato",
    "sunday sonntag dimanche domingo zondag domenica",
)
_MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
_DAYS = {name: number for number, names in enumerate(_DAY_NAMES) for name in names.split()}


def _longest_first(names: dict[str, int]) -> str:
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))


_MONTH = _longest_first(_MONTHS)
_YEAR = r"(?:[\s,.]{1,3}(?:de |del |do )?(20\d\d|'\d\d)\b)?"
_ORDINAL = r"(?:st|nd|rd|th|er|e|o|\.|º|ª|°)?"
_ISO = re.compile(r"\b(20\d\d)[-/.](\d{1,2})[-/.](\d{1,2})\b")
_NUMERIC = re.compile(
    r"(?<![\d./+-])(\d{1,2})([./-])\s?(\d{1,2})(?:\2\s?(20\d\d|\d\d)(?![\d./-]\d)"
    r"|\.?(?![\d./-]\d|\d))"
)
_NUMERIC_RANGE = re.compile(
    r"\b\d{1,2}\.?\s?(?:-|bis|t/m|au|al|a|to)\s?(\d{1,2})([./])(\d{1,2})(?:\2(20\d\d|\d\d))?\b"
)
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}}){_ORDINAL}\s{{0,2}}(?:of |de |di )?({_MONTH})\b\.?{_YEAR}")
_MONTH_DAY = re.compile(
    rf"\b({_MONTH})\.?\s{{1,2}}(?:the )?(\d{{1,2}})(?:st|nd|rd"
    rf"|th)?\b(?![:.]\d\d)(?:[\s,.]{{1,3}}(20\d\d)\b)?"
)
_WEEKDAY = re.compile(rf"\b({_longest_first(_DAYS)})\b|(?:back|until|till|on|by|next) (mon)\b")
_TOMORROW = re.compile(
    r"\b(tomorrow|(?<!guten )morgen(?! frueh)|demain|manana|amanha|domani)\b(?! (?:my|the) world)"
)
_AFTER_TOMORROW = re.compile(
    r"\b(day after tomorrow|ubermorgen|apres-demain|pasado manana|overmorgen|depois de amanha|dopodomani)\b"
)
_NEXT_WEEK = re.compile(
    r"\b(next week|(?:nachste(?:n|r)?|kommende(?:n|r)?) woche|semaine prochaine|(?:la |a )?proxima semana"
    r"|la semana que viene|semana que viene|volgende week|semana que vem|settimana prossima"
    r"|prossima settimana)\b"
)
_PERIOD_END = re.compile(
    r"\b(?:the end of (?:the|this)|end of (?:the|this)?|rest of (?:the|this)|(?:zum )?ende (?:der|dieser"
    r"|des|dieses)"
    r"|(?:la )?fin (?:de la|de cette|du|de ce)|(?:el |al )?final(?:es)? (?:de la|de esta|del|de este|de)"
    r"|fin de(?: la)?"
    r"|(?:het )?einde? van (?:de|deze)|(?:o )?(?:fim|final) (?:da|desta|do|deste|de)"
    r"|(?:la )?fine (?:della|di questa"
    r"|del|di questo|di)?|ce(?:tte)? fin de) ?(?:esta |questa |deze |this )?"
    r"(?:mois de |mes de |mese di |month of |monats )?"
    rf"(week|woche|semaine|semana|settimana|month|monats?|mois|mes|maand|mese|year|jahres|{_MONTH})\b"
)
_WEEKS = frozenset(("week", "woche", "semaine", "semana", "settimana"))
_SMALL_NUMBERS = {
    word: number
    for number, words in enumerate(
        (
            "a an one ein eine einen einer einem une un una uno een um uma",
            "two zwei deux dos twee dois duas due",
            "three drei trois tres drie tre",
            "four vier quatre cuatro quatro quattro",
            "five funf cinq cinco vijf cinque",
            "six sechs seis zes sei",
        ),
        start=1,
    )
    for word in words.split()
}
_DURATION = re.compile(
    r"\b(?:for|in|fur|seit|pendant|pour|dans|durante|por|en|dentro de|per|voor|over|gedurende|em|daqui a"
    r"|tra|fra"
    r"|ik ben|the next|de next|los proximos|las proximas|i prossimi|le prossime)"
    r" (?:the (?:next|coming) |die nachsten |les |las |los |le prossime |i prossimi |as proximas "
    r"|os proximos |ca\. )?"
    rf"(\d{{1,2}}|{_longest_first(_SMALL_NUMBERS)}) (?:full |volle |business |working )?"
    r"(days?|tage?n?|jours?|dias?|dagen|dag|giorni|giorno|weeks?|wochen?|semaines?|semanas?|weken"
    r"|settimane?|settimana"
    r"|months?|monate?n?|mois|mes(?:es)?|maanden|maand|mesi|mese)\b"
)
_MONTH_ONLY = re.compile(
    r"\b(?:(early|mid|late|anfang|mitte|ende|debut|mi|fin|principios de|mediados de|finales de|begin|half"
    r"|eind|einde|inicio de"
    r"|meados de|final de|inizio|meta|fine)[ -])?"
    rf"(?:de |d'|di )?({_MONTH})\b(?!\.?\s\d{{1,2}}\b(?!\d))(?:\s(?:de |del )?(20\d\d)\b)?"
)
_TO_A_MONTH = re.compile(
    r"\b(?:in|until|till|by|through|early|im|bis|ab|en|jusqu'en|jusqu'a|des|debut|hasta|a|em|ate|tot"
    r"|vanaf|fino a|ad|da)"
    r" (?:the |le |el )?$"
)
_LATE_IN_MONTH = frozenset(("late", "ende", "fin", "finales de", "eind", "einde", "final de", "fine"))
_MID_MONTH = frozenset(("mid", "mitte", "mi", "mediados de", "half", "meados de", "meta"))
_DAY_ONLY = re.compile(
    r"\b(?:the (\d{1,2})(?:st|nd|rd|th)|(?:am|zum|dem|den) (\d{1,2})\.|(?:jusqu'au|le|au) (\d{1,2})(?:er)?"
    r"|(?:el dia|dia|el|al|hasta el|il giorno|giorno|il|no dia|ate o dia|de) (\d{1,2})(?:e|de)?"
    rf"|(?:{_longest_first(_DAYS)}),? (?:the |den |le |el |dia |il |de )?(\d{{1,2}})(?:st|nd|rd|th|\.|e|de)?)"
    rf"(?![\d/:h%€$-]|\.\d|\s?(?:{_MONTH}|uhr|h\b|am\b|pm\b|horas|heures|de {_MONTH}|of {_MONTH}|%|euro"
    r"|days|tage|jours|dias|dagen|giorni|weeks|to |bis |al |a |au |tot |o'clock))"
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
    r"|in the office (?:on|from|again)|again (?:from|on)|wieder|zuruck|ab(?: dem)?|de retour|retour|reviens"
    r"|reviendrai|reprends|reprendrai"
    r"|regres\w{1,6}|de vuelta|vuel(?:vo|ta)|volver\w{0,3}|reincorpor\w{1,4}|incorpor\w{1,4}"
    r"|a partir d\w{1,3}|terug\w{0,8}|weer|vanaf|volt(?:o|arei|a)|retorn\w{1,5}"
    r"|regressa\w{0,4}|de volta"
    r"|rientr\w{1,4}|ritorn\w{1,4}|torn(?:o|ero)|di nuovo|nuovamente|a partire da\w{0,2}|des le"
    r"|reabr\w{2,6}|reapert\w{1,4}|riapr\w{3,6}|riapertura|reouverture|rouvr\w{2,5}|reopen\w{0,3}"
    r"|regress\w{1,5}"
    r"|not (?:be )?(?:back )?before|(?:nicht )?vor dem|erst|avant le|antes del?|voor|prima del\w{0,3}"
    r"|retomar\w{0,5}"
    r"|volvemos|voltamos|torniamo|joignable|leggero|zuruckmelden|melde|hopefully)\b"
)
# German and Dutch put the word behind the day: `am Montag wieder da`, `maandag 4 mei zijn we er weer`.
_BACK_BEHIND = re.compile(
    r"^(?:(?!\b(?:und|and|et|en|y|e)\b)[^.!?\n]){0,24}?\b(?:wieder|zuruck|weer|terug|di nuovo|de nuevo"
    r"|de novo|de nouveau|back|a nouveau)\b"
)
_AGAIN = re.compile(r"\b(?:de (?:nuevo|novo|nouveau)|a nouveau)\b")
_BACK_REACH_CHARS = 45
_UNTIL = re.compile(
    r"(?:\b(?:until|till?|through|thru|to|bis|jusqu'?\s?(?:au|a)?|au|hasta|al|tot|t/m|ate|ao|a"
    r"|fino|sino|al|and|und|et|y|en|e|ending|ends)\b|'til|-)"
)
_CLEAR_UNTIL = re.compile(
    r"\b(?:until|till?|through|thru|bis|jusqu'?\s?(?:au|a|en)?|hasta|tot|t/m|ate|fino|sino)\b|'til"
)
_FROM = re.compile(
    r"\b(?:from|since|starting|beginning|effective|as of|vom|seit|von|du|depuis"
    r"|a partir d\w{1,3}|desde|del|van|sinds|de|dal|from the|between|zwischen|entre|tussen|tra"
    r"|leaving)\b[\s\w,.]{0,16}$"
)
_NUMBER_BEHIND = re.compile(r",?\s?(?:the |den |le |el |de |il |dem |dia )?\d(?!\d?[:h])")
# Working hours name weekdays too.
_HABIT = re.compile(
    r"\b(?:work(?:ing)?(?! on your)|office hours|every|each|arbeite|teilzeit|arbeitszeiten|burozeiten"
    r"|jeden|travaille"
    r"|temps partiel|chaque|horario|trabajo|cada|werk|werkdagen|iedere|elke|trabalho|lavoro|part-time"
    r"|ogni)\b[^.!?]*$"
)
_OPENING_DAY = _longest_first(_DAYS)
_OPENING = re.compile(
    rf"\b(?:{_OPENING_DAY})s?\s?(?:to|through|-|bis|au|al?|t/m|tot(?: en met)?|ate)\s?(?:{_OPENING_DAY})s?\b"
    r"[^.!?\n]{0,14}?\b\d{1,2}(?::\d\d|h\d{0,2})?\s?(?:am|pm|uhr|h)?\s?(?:to|-|bis|as?|alle|tot|until|et|y|e)\s?\d"
)
# `24.12.2026-06.01.2027`: two days, not one number.
_TIGHT_RANGE = re.compile(r"(?<=\d\d\d\d)-(?=\d{1,2}[./]\d)|(?<=\d\.)-(?=\d{1,2}\.)")
_CALENDAR_WEEK = re.compile(
    r"\b(bis(?: \w{1,14})? |until |tot en met |t/m |jusqu'a la )?(?:der )?(?:kw|kalenderwoche|week"
    r"|semaine) ?(\d{1,2})\b"
)
# Words that begin an absence as well as a return: which of them it is shows behind the day.
_EITHER = re.compile(r"\b(?:ab(?: dem)?|a partir d\w{1,3}|vanaf|a partire da\w{0,2}|des le)\b")
_BEGINS_BEHIND = re.compile(
    r"(?:(?!\b(?:wieder|zuruck|weer|terug|de nuevo|nouveau|novamente|di nuovo|retour)\b)[^!?\n]){0,40}?"
    r"\b(?:nicht|bis|abwesend|jusqu'|hasta|tot|t/m|ate|fino|niet|no estare|nao estarei|non saro)\b"
)
_WEEK_STEMS = ("week", "weken", "woche", "sem", "set")
_SENT_ON = re.compile(
    r"\b(?:hours|zeiten|kantooruren|openingstijden|horaires|horario|orari\w?|sent|wrote|dated|received|gesendet|envoye|enviado|verzonden|inviato)\b[^.]{0,20}$"
)


@dataclass(frozen=True, slots=True)
class _Mention:
    """A day named in the text. `lasts`: it is the end of a stretch that begins with the note; `vague`: only a
    word that leads to it makes it a day at all.
    """

    span: tuple[int, int]
    day: date
    lasts: bool = False
    vague: bool = False

    @property
    def start(self) -> int:
        return self.span[0]

    @property
    def end(self) -> int:
        return self.span[1]


def find(
    folded: str, written: date | None, *, cue_needed: bool = False, clear_cue: bool = False
) -> date | None:
    """The return date that a folded text names, or None if it names none that lies ahead.

    With `cue_needed`, only a day that a word such as `back` or `until` leads to counts; with `clear_cue`,
    only a word that leads to nothing but days.

    A day after a word such as `back` wins over one after `until`, that over the end of a range, that over any
    other. A day without a year is the first one that comes after `written`. `until Friday` gives that Friday,
    `until the end of the week` its Sunday, `in September` the first of it, `for two weeks` this day then.
    """
    if written is None:
        return None
    text = _TIGHT_RANGE.sub(" - ", folded[:TEXT_LIMIT_CHARS])
    until_word = _CLEAR_UNTIL if clear_cue else _UNTIL
    if (cue_needed or clear_cue) and not any(
        cue.search(text) for cue in (until_word, _BACK, _AGAIN, _DURATION)
    ):
        return None
    best: tuple[int, date] | None = None
    for count, mention in enumerate(_mentions(text, written)):
        if count >= _MENTION_LIMIT:
            break
        rank = _rank(text, mention, until_word)
        if rank and written <= mention.day <= written + _FARTHEST and _better(rank, mention.day, best):
            best = (rank, mention.day)
    return best[1] if best and (best[0] > 1 or not (cue_needed or clear_cue)) else None


def _better(rank: int, day: date, best: tuple[int, date] | None) -> bool:
    return best is None or rank > best[0] or (rank == best[0] and rank < 3 and day > best[1])


def _rank(text: str, mention: _Mention, until_word: re.Pattern[str]) -> int:
    """How strongly the words around a day say that it is the return: 3 back, 2 until, 1 no word, 0
    another's.
    """
    before = text[max(0, mention.start - _CUE_REACH_CHARS) : mention.start]
    sentence = re.split(r"[.!?;\n]\s", before)[-1]
    if _SENT_ON.search(sentence):
        return 0
    if mention.lasts:
        return 2
    back, until, begins = _last(_BACK, sentence), _last(until_word, sentence), _last(_FROM, sentence)
    if 0 <= back == _last(_EITHER, sentence) and _BEGINS_BEHIND.match(text, mention.end):
        return 0
    if back >= 0 or (begins < 0 and _back_behind(text, mention.end)):
        return 3
    if until >= 0 and until >= begins:
        return 2
    return 0 if begins >= 0 or mention.vague else 1


def _back_behind(text: str, end: int) -> bool:
    end -= text[end - 1] == "."
    return bool(_BACK_BEHIND.match(text[end : end + _BACK_REACH_CHARS]))


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = -1
    for match in pattern.finditer(text):
        found = match.start()
    return found


def _mentions(text: str, written: date) -> Iterator[_Mention]:
    yield from _ranges(text, written)
    for match in _ISO.finditer(text):
        yield from _mention(match.span(), match[1], match[2], match[3], written)
    for match in _DAY_MONTH.finditer(text):
        yield from _mention(match.span(), match[3] or "", str(_MONTHS[match[2]]), match[1], written)
    for match in _MONTH_DAY.finditer(text):
        yield from _mention(match.span(), match[3] or "", str(_MONTHS[match[1]]), match[2], written)
    for match in _NUMERIC.finditer(text):
        yield from _numeric(match, written)
    yield from _relative(text, written)
    yield from _vague(text, written)


def _ranges(text: str, written: date) -> Iterator[_Mention]:
    for match in _RANGE_END_DAY.finditer(text):
        yield from _mention(match.span(2), match[4] or "", str(_MONTHS[match[3]]), match[2], written)
    for match in _MONTH_RANGE.finditer(text):
        yield from _mention(match.span(3), match[4] or "", str(_MONTHS[match[1]]), match[3], written)
    for match in _NUMERIC_RANGE.finditer(text):
        yield from _mention(match.span(1), match[4] or "", match[3], match[1], written)


def _relative(text: str, written: date) -> Iterator[_Mention]:
    opening = _OPENING.search(text)
    for match in _WEEKDAY.finditer(text):
        if opening and opening.start() <= match.start() < opening.end():
            continue
        told = text[max(0, match.start() - _CUE_REACH_CHARS) : match.start()]
        if not _NUMBER_BEHIND.match(text[match.end() : match.end() + 12]) and not _HABIT.search(told):
            ahead = (_DAYS[match[1] or "monday"] - written.weekday()) % 7 or 7
            yield _Mention(match.span(), written + timedelta(days=ahead))
    for match in _AFTER_TOMORROW.finditer(text):
        yield _Mention(match.span(), written + timedelta(days=2))
    for match in _TOMORROW.finditer(text):
        yield _Mention(match.span(), written + timedelta(days=1))
    for match in _NEXT_WEEK.finditer(text):
        yield _Mention(match.span(), written + timedelta(days=7 - written.weekday()))
    for match in _DURATION.finditer(text):
        yield from _duration(match, written)


def _duration(match: re.Match[str], written: date) -> Iterator[_Mention]:
    number = int(match[1]) if match[1].isdigit() else _SMALL_NUMBERS[match[1]]
    unit = match[2]
    days = 30 if unit.startswith(("mo", "mes", "maand")) else 7 if unit.startswith(_WEEK_STEMS) else 1
    if number * days <= _FARTHEST.days:
        yield _Mention(match.span(), written + timedelta(days=number * days), lasts=True)


def _vague(text: str, written: date) -> Iterator[_Mention]:
    """Days that are not named by day and month: the end of a period, a month, a day of the month."""
    for match in _PERIOD_END.finditer(text):
        yield from _period_end(match, written)
    for match in _MONTH_ONLY.finditer(text):
        if match[1] or _TO_A_MONTH.search(text[max(0, match.start() - 16) : match.start()]):
            yield from _month_only(match, written)
    for match in _DAY_ONLY.finditer(text):
        yield from _day_only(match, written)
    for match in _CALENDAR_WEEK.finditer(text):
        yield from _calendar_week(match, written)


def _period_end(match: re.Match[str], written: date) -> Iterator[_Mention]:
    period = match[1]
    if period in _WEEKS:
        day = written + timedelta(days=6 - written.weekday())
    elif period in _MONTHS:
        day = _month_end(_next_month(_MONTHS[period], written))
    elif period.startswith(("y", "j")):
        day = date(written.year, 12, 31)
    else:
        day = _month_end(written)
    yield _Mention(match.span(), day)


def _month_only(match: re.Match[str], written: date) -> Iterator[_Mention]:
    """`until August`, `back mid-August`: the first, the fifteenth, or the last of it."""
    month = _MONTHS[match[2]]
    first = date(int(match[3]), month, 1) if match[3] else _next_month(month, written)
    when = match[1] or ""
    if when in _LATE_IN_MONTH:
        first = _month_end(first)
    elif when in _MID_MONTH:
        first = first.replace(day=15)
    yield _Mention(match.span(), first, vague=True)


def _day_only(match: re.Match[str], written: date) -> Iterator[_Mention]:
    """`until the 20th`: of this month, or of the next one when it has passed."""
    at = match.lastindex or 0
    day = int(match[at])
    for months_ahead in (0, 1):
        month0 = written.month - 1 + months_ahead
        try:
            found = date(written.year + month0 // 12, month0 % 12 + 1, day)
        except ValueError:
            continue
        if found >= written:
            yield _Mention(match.span(at), found, vague=True)
            return


def _calendar_week(match: re.Match[str], written: date) -> Iterator[_Mention]:
    """`back in week 38`: its Monday; `until week 37`: its Sunday."""
    year, week, _ = written.isocalendar()
    number = int(match[2])
    if 1 <= number <= 52:
        day = date.fromisocalendar(year + (number < week), number, 7 if match[1] else 1)
        yield _Mention(match.span(2), day, vague=True)


def _next_month(month: int, written: date) -> date:
    return date(written.year + (month < written.month), month, 1)


def _month_end(day: date) -> date:
    following = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return following - timedelta(days=1)


def _numeric(match: re.Match[str], written: date) -> Iterator[_Mention]:
    """A day in digits. Dots and day-first are the rule outside the United States; where both readings are
    dates, the one that comes sooner after the note is taken: absences are short.
    """
    first, mark, second, year = match[1], match[2], match[3], match[4] or ""
    if mark == "-" and not year and len(first + second) < 4:
        return  # `1-5` is a range of days, opening hours, anything
    readings = list(_mention(match.span(), year, second, first, written))
    if mark == "/" or (mark == "-" and year):
        readings += _mention(match.span(), year, first, second, written)
    ahead = [reading for reading in readings if reading.day >= written]
    if ahead:
        yield min(ahead, key=lambda reading: reading.day)


def _mention(span: tuple[int, int], year: str, month: str, day: str, written: date) -> Iterator[_Mention]:
    try:
        if year:
            digits = year.lstrip("'")
            yield _Mention(span, date(int(digits) + (2000 if len(digits) == 2 else 0), int(month), int(day)))
            return
        this_year = date(written.year, int(month), int(day))
        if this_year >= written:
            yield _Mention(span, this_year)
        elif written - this_year > _JUST_OVER:
            yield _Mention(span, date(written.year + 1, int(month), int(day)))
    except ValueError:
        return
