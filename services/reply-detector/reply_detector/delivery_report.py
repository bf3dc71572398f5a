"""Reads delivery reports (RFC 3464, RFC 6533) field by field, also the many that lack what these ask for."""

import re
from collections.abc import Iterable, Iterator

from reply_detector import mime, severity
from reply_detector.mime import Part
from reply_detector.verdict import FailedRecipient

RECIPIENT_LIMIT = 200
REASON_LIMIT_CHARS = 400
_LINE_LIMIT = 4_000
_VALUE_LIMIT_CHARS = 2_000
_TYPES = ("message/delivery-status", "message/global-delivery-status")

_FIELD = re.compile(r"^([A-Za-z][A-Za-z-]{2,40})[ \t]{0,5}:[ \t]{0,20}(.*)$")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_COMMENT = re.compile(r"\([^()]{0,200}\)")
_ANYTHING_LIKE_AN_ADDRESS = re.compile(r"[^\s<>\"@;,]{1,128}@[^\s<>\"@;,]{1,253}")
_RECIPIENT_FIELDS = ("original-recipient", "final-recipient", "x-actual-recipient")
_ONCE = ("original-recipient", "final-recipient")
_GOT_IT = ("deliv", "relay", "expan")


def find(message: Part, parts: list[Part], *, trusted: bool) -> Part | None:
    """The part that holds the report.

    A part that only reads like one counts if the message is declared a report or its sender is `trusted`,
    for people paste reports, too.
    """
    for part in parts:
        if part.content_type in _TYPES:
            return part
    for part in parts if trusted or declares(message) else ():
        if not part.parts and not part.content_type.startswith("message/"):
            lowered = part.text[:16_000].lower()
            if "final-recipient:" in lowered and ("\nstatus:" in lowered or "\naction:" in lowered):
                return part
    return None


def declares(message: Part) -> bool:
    return message.parameters.get("report-type", "").lower() == "delivery-status"


def groups(report: Part) -> list[dict[str, str]]:
    """The per-recipient groups, field names in lower case.

    Blank lines ought to be between them; some are within them, and some are missing.
    """
    found: list[dict[str, str]] = []
    for block in _blocks(report.text):
        if any(name in block for name in _RECIPIENT_FIELDS):
            found.append(block)
        elif found and not block.keys() & found[-1].keys():
            found[-1] |= block
    return found


def all_got_it(reported: Iterable[dict[str, str]]) -> bool:
    return all(group.get("action", "").lower().startswith(_GOT_IT) for group in reported)


def failures(reported: Iterable[dict[str, str]], notice: str) -> list[FailedRecipient]:
    """Those who did not get the message (yet).

    `notice`, what was written for people, helps where the fields are general. The reason is empty where the
    report gives none.
    """
    found: dict[str, FailedRecipient] = {}
    for group in reported:
        address = _address(group)
        if address and len(found) < RECIPIENT_LIMIT:
            failure = _failure(address, group, notice)
            if failure is not None:
                found.setdefault(address.lower(), failure)
    return list(found.values())


def _blocks(text: str) -> Iterator[dict[str, str]]:
    group: dict[str, str] = {}
    last = ""
    for line in text.split("\n", _LINE_LIMIT)[:_LINE_LIMIT]:
        if line[:1] in (" ", "\t") and last and line.strip():
            group[last] = f"{group[last]} {line.strip()}"[:_VALUE_LIMIT_CHARS]
            continue
        match = _FIELD.match(line[:_VALUE_LIMIT_CHARS])
        name = match[1].lower() if match else ""
        if not line.strip() or (name in _ONCE and name in group):
            yield group
            group, last = {}, ""
        if match:
            group.setdefault(name, match[2].strip())
            last = name
    yield group


def _failure(address: str, group: dict[str, str], notice: str) -> FailedRecipient | None:
    diagnostic = group.get("diagnostic-code", "")
    field = group.get("status", "")
    found = _STATUS.search(field)
    status = found[0] if found else ""
    action = group.get("action", "").lower()
    told = " ".join(filter(None, (diagnostic, field.partition("(")[2])))
    text = told if diagnostic or (status and not severity.is_generic(status)) else f"{told}\n{notice[:4_000]}"
    if not action and (group.get("will-retry-until") or severity.tells_of_delay(notice)):
        action = "delayed"
    graded, code = severity.grade(action, status, text)
    if graded is None:
        return None
    reason = (diagnostic.partition(";")[2] or diagnostic).strip()
    return FailedRecipient(address, graded, code, " ".join(reason.split())[:REASON_LIMIT_CHARS])


def _address(group: dict[str, str]) -> str:
    """Whom we wrote to, so Original-Recipient before the address that it was forwarded to."""
    for name in _RECIPIENT_FIELDS:
        kind, semicolon, value = group.get(name, "").partition(";")
        if not semicolon:
            kind, value = "", kind
        if "x400" not in kind.lower() and (address := _readable(kind.strip().lower(), value)):
            return address
    return ""


def _readable(kind: str, value: str) -> str:
    """One address, whatever its writer made of it. The domain may be no domain: that may be why it failed."""
    if kind == "utf-8":
        value = _UNITEXT.sub(_from_unitext, value)
    elif kind and "+" in value and "@" not in value:
        value = _XTEXT.sub(lambda match: chr(int(match[1], 16)), value)
    found = mime.addresses(value)
    if found:
        return found[0]
    match = _ANYTHING_LIKE_AN_ADDRESS.search(_COMMENT.sub("", value))
    return mime.normal_address(match[0]) if match else ""


def _from_unitext(match: re.Match[str]) -> str:
    """RFC 6533, section 3: `\\x{F6}` stands for a character; what is none stays as it is."""
    code = int(match[1], 16)
    return chr(code) if 0x20 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else match[0]
