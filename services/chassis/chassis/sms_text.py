"""What a text costs as an SMS, whether a number can be reached, and when its country sleeps; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType, timezone

from chassis.zones import ZONE_NAMES

MAX_SEGMENTS: Final = 10
"""Twilio takes 1600 characters, ten segments of the GSM alphabet."""

# 3GPP TS 23.038 6.2.1: the default alphabet without its escape, and the table behind the escape.
# https://www.etsi.org/deliver/etsi_ts/123000_123099/123038/17.00.00_60/ts_123038v170000p.pdf
GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION: Final = frozenset("\f^{}\\[~]|€")
PLAIN: Final[Mapping[str, str]] = {
    **dict.fromkeys("‘’‚‛′ʼ`´", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f\t", " "),
    **dict.fromkeys("\u200b\u2060\ufeff\u00ad", ""),
    **dict.fromkeys("•·", "-"),
    "…": "...",
}
"""What word processors put in, and what says the same in the GSM alphabet; it never gets longer for free."""


class Alphabet(StrEnum):
    """How a text travels: `gsm` in septets, `ucs2` in UTF-16 units; one character decides for all."""

    GSM = "gsm"
    UCS2 = "ucs2"


_ROOM: Final = {Alphabet.GSM: (160, 153), Alphabet.UCS2: (70, 67)}
"""Units in a text of one segment, and in each of many: six octets of each go to say which one it is."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a text costs: each segment is paid for. `left` units are free in the last one."""

    alphabet: Alphabet
    units: int
    segments: tuple[str, ...]
    left: int


@dataclass(frozen=True, slots=True)
class Dear:
    """A character outside the GSM alphabet; `plain` says the same inside it, None if nothing does."""

    at: int
    char: str
    plain: str | None


def cost(text: str) -> Cost:
    """Split as phones do: an escape and its character, or the halves of a surrogate pair, stay together."""
    alphabet = Alphabet.GSM if all(map(_in_gsm, text)) else Alphabet.UCS2
    whole, each = _ROOM[alphabet]
    units = sum(_units(char, alphabet) for char in text)
    if units <= whole:
        return Cost(alphabet, units, (text,), whole - units)
    segments = tuple(_segments(text, alphabet, each))
    return Cost(alphabet, units, segments, each - sum(_units(char, alphabet) for char in segments[-1]))


def dear_characters(text: str) -> tuple[Dear, ...]:
    """The characters that make the whole text UCS-2: one smart quote makes 160 characters three segments."""
    return tuple(Dear(at, char, PLAIN.get(char)) for at, char in enumerate(text) if not _in_gsm(char))


def plain(text: str) -> str:
    """The text with what has a plain equal replaced; what has none stays, so the text may stay UCS-2."""
    return "".join(char if _in_gsm(char) else PLAIN.get(char, char) for char in text)


def _in_gsm(char: str) -> bool:
    return char in GSM_BASIC or char in GSM_EXTENSION


def _units(char: str, alphabet: Alphabet) -> int:
    two = char in GSM_EXTENSION if alphabet is Alphabet.GSM else ord(char) > 0xFFFF
    return 1 + two


def _segments(text: str, alphabet: Alphabet, room: int) -> Iterator[str]:
    begin = used = 0
    for at, char in enumerate(text):
        units = _units(char, alphabet)
        if used + units > room:
            yield text[begin:at]
            begin, used = at, 0
        used += units
    yield text[begin:]


# ---- numbers ------------------------------------------------------------------------------------------


class NumberError(ValueError):
    """No number that can be written to; `code` is a stable word, and neither quotes the number."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Number:
    """A valid number: `e164` such as +4915112345678, `country` as ISO 3166, `US-FL` where AREAS knows it."""

    e164: str
    country: str
    may_get_sms: bool


_NO_SMS: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
        PhoneNumberType.VOICEMAIL,
        PhoneNumberType.PAGER,
    }
)


def parse_number(text: str, country: str | None = None) -> Number:
    """A number as people write it; `country` (ISO 3166, a subdivision is ignored) reads national ones.

    Raises NumberError: `not_a_number`, `no_country` (national, and no country is known), `not_valid` (no
    such number exists in its country's plan).
    """
    region = country.partition("-")[0].upper() if country else None
    try:
        found = phonenumbers.parse(text, region)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise NumberError("no_country", "the number does not say its country: begin with +") from None
        raise NumberError("not_a_number", "this is not a phone number") from None
    if found.extension or not phonenumbers.is_valid_number(found):
        raise NumberError("not_valid", "there is no such number in its country")
    e164 = phonenumbers.format_number(found, PhoneNumberFormat.E164)
    return Number(e164, _country_of(found), phonenumbers.number_type(found) not in _NO_SMS)


def zones_of(e164: str) -> tuple[str, ...]:
    """The time zones in which a number may be; UTC where nobody knows."""
    found = timezone.time_zones_for_number(phonenumbers.parse(e164, None))
    return tuple(zone for zone in found if zone in ZONE_NAMES) or ("UTC",)


def _country_of(number: PhoneNumber) -> str:
    country = phonenumbers.region_code_for_number(number) or ""
    if country != "US":
        return country
    state = _STATE_OF_AREA.get(str(number.national_number)[:3])
    return f"US-{state}" if state else "US"


# The area codes of the states whose hours differ; an area code makes its state probable, as Florida's law
# itself presumes (501.059(8)(d)). North American Numbering Plan: https://www.nationalnanpa.com
AREAS: Final = {
    "FL": "239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904 941 954",
    "OK": "405 539 572 580 918",
    "WA": "206 253 360 425 509 564",
    "TX": (
        "210 214 254 281 325 346 361 409 430 432 469 512 682 713 726 737 806 817 830 832 903 915 936 940 945"
        " 956 972 979"
    ),
    "CT": "203 475 860 959",
}
_STATE_OF_AREA: Final = {area: state for state, areas in AREAS.items() for area in areas.split()}


# ---- quiet hours --------------------------------------------------------------------------------------

Hours = tuple[time, time]


@dataclass(frozen=True, slots=True)
class Awake:
    """When people of a country may be texted, in their own time: `days` from Monday, None: not on that day.

    `holidays`: whether public holidays are days like others. `source` is where the rule stands, empty for
    our own default. These are rules for unasked commercial messages, kept here for all.
    """

    days: tuple[Hours | None, ...]
    holidays: bool = True
    source: str = ""

    def is_open(self, local: datetime) -> bool:
        """Whether a local time lies within; the end does not."""
        hours = self.days[local.weekday()]
        return hours is not None and hours[0] <= local.time() < hours[1]

    def next_open(self, at: datetime, zone: tzinfo) -> datetime:
        """`at` if it is open in `zone`, else the next instant that is; public holidays are the caller's."""
        local = at.astimezone(zone)
        if self.is_open(local):
            return at
        for ahead in range(8):
            day = local.date() + timedelta(days=ahead)
            hours = self.days[day.weekday()]
            if hours is not None and (ahead or local.time() < hours[0]):
                return datetime.combine(day, hours[0], zone).astimezone(at.tzinfo)
        raise ValueError("closed on every day")


def _daily(begin: int, end: int, **more: str) -> Awake:
    return Awake(((time(begin), time(end)),) * 7, source=more.get("source", ""))


DEFAULT: Final = _daily(9, 20)
AWAKE: Final[Mapping[str, Awake]] = {
    "US": _daily(8, 21, source="https://www.law.cornell.edu/cfr/text/47/64.1200"),  # (c)(1)
    "US-CT": _daily(9, 20, source="https://www.cga.ct.gov/current/pub/chap_743m.htm#sec_42-288a"),
    "US-FL": _daily(
        8, 20, source="https://www.flsenate.gov/Laws/Statutes/2024/501.616"
    ),  # (6)(a); texts: 501.059(1)
    "US-OK": _daily(8, 20, source="https://law.justia.com/codes/oklahoma/title-15/section-15-775c-4/"),
    "US-TX": Awake(  # Monday to Saturday, and Sunday from noon; texts since Senate Bill 140 of 2025
        (*((time(9), time(21)),) * 6, (time(12), time(21))),
        source="https://statutes.capitol.texas.gov/Docs/BC/htm/BC.301.htm",
    ),
    "US-WA": _daily(8, 20, source="https://app.leg.wa.gov/RCW/default.aspx?cite=19.158.040"),
    # Providers hand marketing texts over from Monday to Saturday, 8 to 22, and on no public holiday; the
    # hours are our default's, which lie within.
    "FR": Awake(
        (*((time(9), time(20)),) * 6, None),
        holidays=False,
        source="https://help.brevo.com/hc/en-us/articles/11884482521234",
    ),
}


_RULES: Final = [hours for rule in (DEFAULT, *AWAKE.values()) for hours in rule.days if hours is not None]
AWAKE_MINUTES: Final = (
    min(60 * begin.hour + begin.minute for begin, _ in _RULES),
    max(60 * end.hour + end.minute for _, end in _RULES),
)
"""The minutes of a local day outside which no country may be texted."""


def awake(country: str | None) -> Awake:
    """The hours of a country or subdivision (`US-FL`), else of its country, else the default, 9 to 20."""
    name = (country or "").upper()
    return AWAKE.get(name) or AWAKE.get(name.partition("-")[0]) or DEFAULT
