"""How things are said and shown to people: words, instants, pills, and the templates that use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from chassis.zones import find_zone

TEMPLATES: Final = Path(__file__).parents[1] / "templates"

# State to what a recruiter calls it, an icon and a pill; every state is colour and icon and word.
STATES: Final[Mapping[str, tuple[str, str, str]]] = {
    "scheduled": ("planned", "◷", "planned"),
    "dispatched": ("going out", "➤", "planned"),
    "awaiting_task": ("waiting for you", "✎", "waiting"),
    "in_doubt": ("not sure it arrived", "?", "problem"),
    "paused": ("paused", "‖", "quiet"),
    "answered": ("answered", "✓", "answered"),
    "stopped": ("stopped", "■", "quiet"),
    "finished": ("finished", "●", "quiet"),
    "failed": ("could not be sent", "!", "problem"),
}
EVENTS: Final[Mapping[str, str]] = {
    "enrolled": "enrolled",
    "stage_scheduled": "planned",
    "stage_sent": "sent",
    "stage_deferred": "put off",
    "stage_skipped": "skipped",
    "stage_in_doubt": "not sure it arrived",
    "task_opened": "task opened",
    "task_done": "task done",
    "held": "paused",
    "lifted": "resumed",
    "stopped": "stopped",
    "finished": "finished",
    "failed": "could not be sent",
    "migrated": "moved to another version",
    "corrected": "known better since",
    "erased": "erased",
}
STOPS: Final[Mapping[str, str]] = {
    "replied": "answered",
    "bounced": "the address bounced",
    "unsubscribed": "asked not to be written to",
    "complained": "complained",
    "suppressed": "must not be written to",
    "requested": "stopped by a person",
    "mistaken": "stopped for what was no answer",
    "erased": "the person was erased",
}
CHANNELS: Final[Mapping[str, tuple[str, str]]] = {
    "email": ("e-mail", "✉"),
    "sms": ("text message", "💬"),
    "inmail": ("InMail", "in"),
    "linkedin_connect": ("LinkedIn invitation", "in"),
    "call": ("call", "☏"),
    "manual_email": ("e-mail by hand", "✉"),
    "manual_sms": ("text by hand", "💬"),
    "task": ("task", "✎"),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant for people: what to read, and exactly in the title."""

    text: str
    exact: str


def moment(at: datetime | None, zone: str | None = None, reader: str | None = None) -> Moment | None:
    """An instant in the reader's zone (UTC without one), and beside it in the person's where that differs."""
    if at is None:
        return None
    here = _local(at, reader) or at.astimezone(UTC)
    exact = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = here.strftime("%a %d %b %H:%M") + ("" if _local(at, reader) else " UTC")
    there = _local(at, zone)
    if there is None or there.utcoffset() == here.utcoffset():
        return Moment(text, exact)
    day = "" if there.date() == here.date() else there.strftime("%a ")
    return Moment(f"{text} · {day}{there.strftime('%H:%M')} for them", f"{exact}, {zone}")


def _local(at: datetime, zone: str | None) -> datetime | None:
    found = find_zone(zone)
    return at.astimezone(found) if found else None


def told(event: Mapping[str, Any]) -> str:
    """An event of a history in words."""
    what = EVENTS.get(event["type"], str(event["type"]).replace("_", " "))
    which = ", ".join(filter(None, (event.get("stage_id"), event.get("variant"))))
    return f"{what}: {which}" if which else what


def page_html(template: str, **values: Any) -> str:
    """A template of ours, rendered; every value is escaped."""
    return _templates.get_template(template).render(values)


_templates = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(STATES=STATES, STOPS=STOPS, CHANNELS=CHANNELS, moment=moment, told=told)
