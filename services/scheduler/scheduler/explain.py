"""Plans from JSON lines, without database or broker: to see why a stage is due when it is."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from io import TextIOWrapper
from typing import Any, Final, TextIO, TypeVar

from scheduler.plan import Person, Planned, Refused, Sender, parse_day, plan
from scheduler.trail import utc_text
from segue_contracts.problems import did_you_mean
from segue_contracts.sequence import SequenceError, Stage, StageTiming, Timing, parse_part
from segue_contracts.timing import TimeRange, Windows

BAD_INPUT: Final = "bad_input"
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))", re.ASCII
)
T = TypeVar("T")
_SENDER_KEYS = ("country", "zone", "windows", "time_off")


def explain_lines(stdin: TextIO, stdout: TextIO) -> int:
    """Reads one JSON object a line and writes one a line, in order; blank lines are skipped. Returns 0.

    In: `{"id", "stage", "timing", "base", "dispatch_id", "prospect", "sender", "team_holidays"}`; only the
    stage's timing is needed. Without `after` and `date` it counts as a first one unless `"first": false`;
    `now` plans it again as a late one.
    Out: `{"id", "at", "send_before", "zone", "reasons"}` or `{"id", "refused": {"code", "detail"}}`.
    """
    if isinstance(stdin, TextIOWrapper):
        stdin.reconfigure(encoding="utf-8", errors="replace")  # one bad byte must not end the run
    for line in stdin:
        if line.strip():
            stdout.write(json.dumps(explain_line(line)) + "\n")
            stdout.flush()
    return 0


def explain_line(line: str) -> dict[str, Any]:
    """One line's answer; a line that can't be read is answered with `bad_input`."""
    case: object = None
    try:
        case = json.loads(line)
        if not isinstance(case, dict):
            raise ValueError("a line must be a JSON object")
        answer = _answer(_plan_of(case))
    except (ValueError, RecursionError) as error:
        answer = {"refused": {"code": BAD_INPUT, "detail": str(error) or "nested too deeply"}}
    return {"id": case.get("id") if isinstance(case, dict) else None, **answer}


def parse_instant(text: object) -> datetime:
    """RFC 3339 with `Z` or an offset as UTC, fractions rounded up to whole seconds; raises `ValueError`."""
    match = _INSTANT.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise ValueError("must be an instant such as 2026-12-23T14:05:00Z")
    day, clock, fraction, _, sign, hours, minutes = match.groups()
    at = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    rounded_up = timedelta(seconds=1 if fraction and fraction.strip("0") else 0)
    try:
        return at + rounded_up + (offset if sign == "-" else -offset)
    except OverflowError:
        raise ValueError("must be an instant in the years 1 to 9999") from None


def _plan_of(case: dict[str, Any]) -> Planned | Refused:
    stage = _stage(_mapping(case, "stage"))
    return plan(
        stage,
        _part("timing", Timing, _mapping(case, "timing")),
        base=_at("base", parse_instant, case.get("base")),
        dispatch_id=_dispatch_id(case, stage),
        person=_person(_mapping(case, "prospect")),
        sender=_sender(_mapping(case, "sender")),
        team_holidays=_at("team_holidays", _days, case.get("team_holidays")),
        first=case.get("first", True) is not False,
        now=None if case.get("now") is None else _at("now", parse_instant, case["now"]),
    )


def _answer(result: Planned | Refused) -> dict[str, Any]:
    if isinstance(result, Refused):
        return {"refused": {"code": result.code, "detail": result.detail}}
    return {
        "at": utc_text(result.at),
        "send_before": utc_text(result.send_before),
        "zone": result.zone,
        "reasons": [reason.as_data() for reason in result.reasons],
    }


def _stage(data: Mapping[str, Any]) -> StageTiming:
    """The timing of a whole or partial stage; what it says and to whom does not matter here."""
    known = [field.alias or name for name, field in Stage.model_fields.items()]
    for key in data:
        if key not in known:
            raise ValueError(f"stage.{key}: unknown key: {did_you_mean(key, known)}")
    timing = {key: value for key, value in data.items() if key in StageTiming.model_fields}
    return _part("stage", StageTiming, timing)


def _part(name: str, part: type[T], data: Mapping[str, Any]) -> T:
    try:
        return parse_part(part, data)
    except SequenceError as error:
        raise ValueError("; ".join(f"{name}.{problem}" for problem in error.problems)) from None


def _person(data: Mapping[str, Any]) -> Person:
    dates = _mapping(data, "dates")
    return Person(_text(data, "prospect", "zone"), _text(data, "prospect", "country"), dates)


def _sender(data: Mapping[str, Any]) -> Sender:
    for key in data:
        if key not in _SENDER_KEYS:
            raise ValueError(f"sender.{key}: unknown key: {did_you_mean(key, _SENDER_KEYS)}")
    return Sender(
        _text(data, "sender", "country"),
        _text(data, "sender", "zone"),
        None if data.get("windows") is None else _windows(data["windows"]),
        _at("sender.time_off", _days, data.get("time_off")),
    )


def _windows(data: object) -> Windows:
    return _part("sender", Timing, {"windows": data}).open_windows


def _days(value: object) -> frozenset[date]:
    if value is None:
        return frozenset()
    days = [parse_day(item) for item in value] if isinstance(value, list) else [None]
    if None in days:
        raise ValueError("must be a list of dates such as 2026-12-24")
    return frozenset(day for day in days if day is not None)


def _dispatch_id(case: Mapping[str, Any], stage: StageTiming) -> str:
    """Only a range of times needs it."""
    dispatch_id = case.get("dispatch_id")
    if not isinstance(dispatch_id, str):
        if dispatch_id is not None or isinstance(stage.at_time, TimeRange):
            raise ValueError("dispatch_id: must be text: the place in a range of times depends on it")
        return ""
    return dispatch_id


def _mapping(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{name}: must be an object")
    return value or {}


def _text(data: Mapping[str, Any], where: str, name: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where}.{name}: must be text")
    return value


def _at(path: str, parse: Callable[[object], T], value: object) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


if __name__ == "__main__":
    sys.exit(explain_lines(sys.stdin, sys.stdout))
