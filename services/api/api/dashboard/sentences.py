"""A stage in one sentence, as a recruiter would say it; of what is half typed too."""

from collections.abc import Iterator, Mapping
from typing import Final

from segue_contracts import timing as grammar
from segue_contracts.message import Channel

ACTS: Final[Mapping[str, str]] = {
    "email": "send an e-mail",
    "sms": "send a text message",
    "inmail": "you write an InMail",
    "linkedin_connect": "you invite them on LinkedIn",
    "call": "you call them",
    "manual_email": "you write an e-mail by hand",
    "manual_sms": "you text them by hand",
    "task": "you do a task",
}
"""What a channel does; a stage that a person does says so."""
_OVERDUE: Final[Mapping[str, str]] = {"skip": "left out", "notify": "and you are told"}


def sentence(
    fields: Mapping[str, str], *, is_first: bool, is_reply: bool, zone: str = "", variants: int = 0
) -> str:
    """`3 business days later, between 09:00 and 11:00 their time, send an e-mail in the same thread.`

    `fields`: the stage's as they stand in the form; `zone`: the sequence's own; `variants`: how many it has.
    """
    own_zone = fields.get("zone") or zone
    parts = [
        _start(fields, is_first=is_first),
        *_at(fields.get("at", ""), "" if own_zone == grammar.PROSPECT else own_zone),
        *_on(fields.get("weekdays", "")),
        _act(fields, is_reply=is_reply),
        *([f"in one of {variants} variants"] if variants else ()),
        *_unless(fields),
        *_overdue(fields),
    ]
    text = ", ".join(parts)
    return text[:1].upper() + text[1:] + "."


def _start(fields: Mapping[str, str], *, is_first: bool) -> str:
    if dated := fields.get("date", "").strip():
        return _date(dated)
    after = fields.get("after", "").strip() or ("0 minutes" if is_first else "1 day")
    try:
        delay = grammar.parse_delay(after)
    except ValueError:
        return f"after “{after}”"
    if delay.amount == 0:
        on_a_workday = delay.unit is grammar.Unit.BUSINESS_DAYS
        return "on the same or the next business day" if on_a_workday else "at once"
    return f"{delay} {'after they are enrolled' if is_first else 'later'}"


def _date(text: str) -> str:
    try:
        rule = grammar.parse_date(text)
    except ValueError:
        return f"on “{text}”"
    if isinstance(rule, grammar.AbsoluteDate):
        return f"on {rule.day:%d %b %Y}".replace(" 0", " ")
    named = rule.field.replace("_", " ")
    if rule.days == 0:
        return f"on their {named}"
    count = abs(rule.days)
    return f"{count} {'day' if count == 1 else 'days'} {'before' if rule.days < 0 else 'after'} their {named}"


def _at(text: str, zone: str) -> Iterator[str]:
    if not text.strip():
        return
    whose = f"{zone} time" if zone else "their time"
    try:
        at = grammar.parse_at(text.strip())
    except ValueError:
        yield f"at “{text.strip()}”"
        return
    if isinstance(at, grammar.TimeOfDay):
        yield f"at {at.at:%H:%M} {whose}"
    else:
        start, end = grammar.clock_text(at.start), grammar.clock_text(at.end)
        yield f"between {start} and {end} {whose}"


def _on(weekdays: str) -> Iterator[str]:
    if weekdays.strip():
        yield f"only {weekdays.strip()}"


def _act(fields: Mapping[str, str], *, is_reply: bool) -> str:
    channel = fields.get("channel", "")
    act = ACTS.get(channel, "do something")
    return f"{act} in the same thread" if is_reply and channel == Channel.EMAIL else act


def _unless(fields: Mapping[str, str]) -> Iterator[str]:
    what = (fields.get("when.what", "").strip() or "…").replace("_", " ")
    words = {
        "has": f"if their {what} is known",
        "lacks": f"if their {what} is not known",
        "opened": f"if they opened {what}",
        "clicked": f"if they clicked in {what}",
        "other": "if its condition holds",
    }
    if told := words.get(fields.get("when.kind", "")):
        yield told


def _overdue(fields: Mapping[str, str]) -> Iterator[str]:
    told = _OVERDUE.get(fields.get("overdue.do", ""))
    if told and (after := fields.get("overdue.after", "").strip()):
        yield f"{told} if it was not done within {after}"
