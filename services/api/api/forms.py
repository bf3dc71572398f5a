"""Form posts, read from bytes field by field: what nobody asks for is never decoded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from api.bodies import unsupported
from api.problems import bad_request

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MAX_FIELDS = 1000
MAX_NAME_BYTES = 200
MAX_WORD_BYTES = 1000
PIECE_BYTES = 64 * 1024

_BOUNDARY = re.compile(r';\s{0,20}boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb';[ \t]{0,20}name="([^"\r\n]{0,200})"', re.IGNORECASE)
_FILE_NAME = re.compile(rb';[ \t]{0,20}filename="([^"\r\n]{0,1000})"', re.IGNORECASE)
_TYPE = re.compile(rb"^content-type:[ \t]{0,20}([^;\r\n]{1,200})", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `encoded` is its value as it came."""

    name: str
    encoded: bytes
    is_urlencoded: bool = False
    file_name: str = ""
    content_type: str = ""

    @property
    def value(self) -> bytes:
        """The value's own bytes."""
        return _unquoted(self.encoded) if self.is_urlencoded else self.encoded


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form in their order, and the body that held them."""

    fields: tuple[Field, ...]
    body: bytes

    def content(self, name: str) -> bytes:
        """The first value under that name, empty if there is none."""
        return next((each.value for each in self.fields if each.name == name), b"")

    def text(self, name: str) -> str:
        """As `content`; what is no UTF-8 is replaced."""
        return _text(self.content(name))

    def word(self, name: str) -> str:
        """As `text`, for what is short or wrong: empty if it is long, so that a stranger's costs nothing."""
        first = next((each for each in self.fields if each.name == name), None)
        return _text(first.value) if first is not None and len(first.encoded) <= MAX_WORD_BYTES else ""

    def pairs(self) -> list[tuple[str, str]]:
        """Every name and value as text."""
        return [(each.name, _text(each.value)) for each in self.fields]

    def files(self) -> list[Field]:
        """The fields that are files."""
        return [each for each in self.fields if each.file_name]


def read_form(content_type: str, body: bytes) -> Form:
    """The form in a body; Problem 415 for another content type, 400 for one that can't be read."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == URLENCODED:
        fields = tuple(_urlencoded(body))
    elif kind == MULTIPART:
        fields = tuple(_multipart(content_type, body))
    else:
        raise unsupported(kind, (URLENCODED, MULTIPART))
    if len(fields) > MAX_FIELDS:
        raise bad_request("malformed-form", f"The form has more than {MAX_FIELDS} fields.")
    return Form(fields, body)


def _urlencoded(body: bytes) -> Iterator[Field]:
    for piece in body.split(b"&", MAX_FIELDS):
        name, _, value = piece.partition(b"=")
        if piece and len(name) <= MAX_NAME_BYTES:
            yield Field(_text(_unquoted(name)), value, is_urlencoded=True)


def _multipart(content_type: str, body: bytes) -> Iterator[Field]:
    """RFC 7578, as senders write it: names in quotes, no transfer encodings."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise bad_request("malformed-form", "The Content-Type names no boundary.")
    boundary = (found[1] or found[2]).encode("utf-8", "replace")
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_FIELDS + 2)
    if not pieces or not pieces[-1].startswith(b"--"):
        raise bad_request("malformed-form", "The form breaks off before its last boundary.")
    for piece in pieces[:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is not None:
            yield Field(_text(name[1]), content, False, _found(_FILE_NAME, head), _found(_TYPE, head))


def _found(pattern: re.Pattern[bytes], head: bytes) -> str:
    match = pattern.search(head)
    return _text(match[1]).strip() if match else ""


def _unquoted(value: bytes) -> bytes:
    """Piece by piece: each escape of a piece takes some 200 bytes while it is read."""
    plain = value.replace(b"+", b" ")
    return b"".join(map(unquote_to_bytes, _pieces(plain)))


def _pieces(plain: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(plain):
        end = start + PIECE_BYTES
        escape = plain.rfind(b"%", end - 2, end)
        end = escape if escape > start else end
        yield plain[start:end]
        start = end


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
