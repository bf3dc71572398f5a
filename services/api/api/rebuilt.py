"""Writes a message (RFC 5322) again that a provider took apart: the same parts give the same bytes."""

import hashlib
import re
from base64 import b64encode, encodebytes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

MAX_HEADERS = 1000
MAX_VALUE_CHARS = 64 * 1024
"""More of either is nobody's message, and no reader looks at it."""
FOLD_CHARS = 900
"""Below the 998 of RFC 5322, 2.1.1."""
WORD_BYTES = 45
"""What fits into one encoded word of 75 characters (RFC 2047, 2)."""
WRITTEN_ANEW = frozenset({"content-type", "content-transfer-encoding", "mime-version", "content-length"})
_NAME = re.compile(r"[!-9;-~]{1,76}")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NO_ADDRESS = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029<>,]+")
_SPACE = re.compile(r"(?<=\S) (?=\S)")
_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")
_REPORT = re.compile(r'multipart/report\b.{0,200}report-type="?([a-z-]{1,60})', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Somebody in From, To or Cc; the name is decoded, and may be empty."""

    name: str
    address: str


Header = tuple[str, str | tuple[Address, ...]]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part with a name, or a part of a report; `content` may be empty where nobody gave it."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a message was taken apart into; header values are text, decoded."""

    headers: tuple[Header, ...]
    text: str
    html: str = ""
    attachments: tuple[Attachment, ...] = ()


def rebuild(pieces: Pieces) -> bytes:
    """The message, with CRLF; headers keep their order, and those of the body's form are written anew."""
    entity = _entity(pieces)
    headers = pieces.headers[:MAX_HEADERS]
    given = [_line(name, value) for name, value in headers if name.lower() not in WRITTEN_ANEW]
    return b"".join([*given, b"MIME-Version: 1.0\r\n", entity])


# ---- headers ------------------------------------------------------------------------------------------


def _line(name: str, value: str | tuple[Address, ...]) -> bytes:
    """One field; empty for a name that is none. No value can end its line."""
    if not _NAME.fullmatch(name):
        return b""
    if isinstance(value, str):
        written = _encoded(clean(value))
    else:
        written = ",\r\n ".join(map(_address, value[:MAX_HEADERS]))
    return f"{name}: {written}\r\n".encode("utf-8", "replace")


def clean(value: str) -> str:
    """A value as it may stand in a header: what is no text becomes a space."""
    return _CONTROLS.sub(" ", value[:MAX_VALUE_CHARS]).strip()


def _address(whom: Address) -> str:
    name, address = clean(whom.name), _NO_ADDRESS.sub("", whom.address[:MAX_VALUE_CHARS])
    if _is_plain(name):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{address}>' if name else address
    return "\r\n ".join([*_words(name), f"<{address}>"])


def _is_plain(value: str) -> bool:
    return value.isascii() and "=?" not in value


def _encoded(value: str) -> str:
    """Plain where it can be; else from the first to the last word that can't in encoded words (RFC 2047)."""
    if _is_plain(value):
        return _folded(value)
    words = value.split(" ")
    special = [index for index, word in enumerate(words) if not _is_plain(word)]
    first, last = special[0], special[-1] + 1
    coded = "\r\n ".join(_words(" ".join(words[first:last])))
    return _folded(" ".join([*words[:first], coded, *words[last:]]))


def _words(text: str) -> Iterable[str]:
    chunk = b""
    for char in text:
        encoded = char.encode("utf-8", "replace")
        if len(chunk) + len(encoded) > WORD_BYTES:
            yield _word(chunk)
            chunk = b""
        chunk += encoded
    yield _word(chunk)


def _word(chunk: bytes) -> str:
    return f"=?utf-8?b?{b64encode(chunk).decode()}?="


def _folded(value: str) -> str:
    if len(value) <= FOLD_CHARS:
        return value
    lines, line = [], ""
    for part in _SPACE.split(value):
        if line and len(line) + len(part) >= FOLD_CHARS:
            lines.append(line)
            line = part
        else:
            line = f"{line} {part}" if line else part
    return "\r\n ".join([*lines, line])


# ---- bodies -------------------------------------------------------------------------------------------


def _entity(pieces: Pieces) -> bytes:
    """The body with the fields that describe it."""
    readable = _readable(pieces)
    if not pieces.attachments:
        return readable
    kind = "mixed"
    report = next((found for each in pieces.headers if (found := _report_type(each))), "")
    if report:
        kind = f"report; report-type={report}"
    return _multipart(kind, "mix", [readable, *map(_attached, pieces.attachments)])


def _report_type(header: Header) -> str:
    name, value = header
    if name.lower() != "content-type" or not isinstance(value, str):
        return ""
    found = _REPORT.match(value.strip())
    return found[1].lower() if found else ""


def _readable(pieces: Pieces) -> bytes:
    plain = _part('text/plain; charset="utf-8"', pieces.text.encode("utf-8", "replace"))
    if not pieces.html:
        return plain
    rich = _part('text/html; charset="utf-8"', pieces.html.encode("utf-8", "replace"))
    return _multipart("alternative", "alt", [plain, rich]) if pieces.text else rich


def _attached(attachment: Attachment) -> bytes:
    kind = attachment.content_type.strip().lower()
    if not _TYPE.fullmatch(kind) or kind.startswith("multipart/"):
        kind = "application/octet-stream"
    if kind.startswith("message/"):
        # No base64 inside a message (RFC 2046, 5.2.1); what a report says of its message is such a part.
        return f"Content-Type: {kind}\r\n\r\n".encode() + attachment.content
    name = _CONTROLS.sub(" ", attachment.name)
    disposition = f"attachment; filename*=utf-8''{quote(name, safe='')}" if name else "attachment"
    return _part(kind, attachment.content, f"Content-Disposition: {disposition}\r\n")


def _part(kind: str, content: bytes, more: str = "") -> bytes:
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n{more}\r\n"
    return head.encode() + encodebytes(content).replace(b"\n", b"\r\n")


def _multipart(kind: str, mark: str, parts: Sequence[bytes]) -> bytes:
    """A boundary made from the parts stands in none of them."""
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:40]
    boundary = f"=_{mark}_{digest}"
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
    edge = f"--{boundary}".encode()
    return head + b"".join(edge + b"\r\n" + part + b"\r\n" for part in parts) + edge + b"--\r\n"
