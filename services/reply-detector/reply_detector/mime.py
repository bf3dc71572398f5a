"""Reads a raw message in bounded, linear time and never raises, because what arrives was written by
anyone.

The standard library's parser is neither: it costs a millisecond, is quadratic on hostile headers, and some of
its accessors raise. What is needed here is small: headers, a flat tree of parts, text when somebody asks.
"""

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

RAW_LIMIT_BYTES = 4 * 1024 * 1024
HEADER_LIMIT_BYTES = 128 * 1024
HEADER_LIMIT_COUNT = 1_000
VALUE_LIMIT_CHARS = 16 * 1024
TEXT_LIMIT_BYTES = 256 * 1024
PART_LIMIT = 60
DEPTH_LIMIT = 6

# What reports return a message, or its headers, as.
RETURNED_TYPES = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/rfc822-headers",
    "message/global",
    "message/global-headers",
    "message/partial",
)

_FIELD = re.compile(rb"^([!-9;-~]{1,80})[ \t]*:[ \t]*(.*)$", re.DOTALL)
_FOLD = re.compile(rb"\n[ \t]")
_ENCODED_WORD = re.compile(r"=\?([\w.:+-]{1,40})(?:\*[\w-]{1,20})?\?([bBqQ])\?([^?\n]{0,4096})\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\n]{1,20}(=\?)")
_PARAMETER = re.compile(r';\s{0,20}([\w*-]{1,40})\s{0,5}=\s{0,5}("(?:[^"\\]|\\.){0,998}"|[^;\s]{1,998})')
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
# Bounded on both sides of the at sign: the unbounded form is quadratic on a megabyte without an at sign.
# VERP makes local parts longer than the 64 characters that are allowed; the tail of one is not an address.
ADDRESS = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{1,200}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
)
_QUOTED_LOCAL = re.compile(r'"[^"@\n]{1,64}"@[\w.-]{1,253}')
_MESSAGE_ID = re.compile(r"<([^<>\s]{3,500})>")
_QUOTED_PARAMETER = re.compile(rb"^content-type:[^\n]{1,200}=3d", re.I | re.M)
_BOUNDARY_GUESS = re.compile(rb"^--([^\s-][^\n]{0,199})\n(?:content-[a-z-]{1,40}[ \t]{0,5}:)", re.I | re.M)

# Codecs that are no charset of mail, or that are quadratic (punycode, idna), stay out by not being named
# here.
_CHARSET = re.compile(
    r"(?:utf-?(?:8|7|16(?:le|be)?)|us-ascii|ascii|(?:iso[-_]?8859|windows|cp|koi8|iso-2022|euc"
    r"|big5|gb|mac|shift|sjis"
    r"|latin|hz|ks_c|tis)[\w-]{0,20})$"
)
_SHIFTING = ("iso-2022", "utf-7", "utf7", "utf-16", "utf16", "hz")
_MULTIBYTE = (
    "gb",
    "big5",
    "shift",
    "sjis",
    "euc",
    "ks_c",
    "iso-2022",
    "utf-16",
    "utf16",
    "cp932",
    "cp936",
    "cp949",
    "cp950",
)


@dataclass(frozen=True)
class Part:
    """One entity: its headers (unfolded, names in lower case, values as received) and its body, still
    encoded.
    """

    headers: dict[str, list[str]]
    body: bytes
    parts: tuple["Part", ...] = ()
    depth: int = 0

    def get(self, name: str) -> str:
        values = self.headers.get(name)
        return decode_words(values[0]) if values else ""

    def get_all(self, name: str) -> list[str]:
        return [decode_words(value) for value in self.headers.get(name, ())]

    @cached_property
    def content_type(self) -> str:
        value = self.headers.get("content-type", [""])[0].split(";", 1)[0].strip().lower()[:100]
        return value if "/" in value else "text/plain"

    @cached_property
    def parameters(self) -> dict[str, str]:
        return _parameters(self.headers.get("content-type", [""])[0])

    @cached_property
    def is_attachment(self) -> bool:
        return self.headers.get("content-disposition", [""])[0].strip().lower().startswith("attachment")

    @cached_property
    def content(self) -> bytes:
        """The body with its transfer encoding undone, cut at the text limit."""
        encoding = self.headers.get("content-transfer-encoding", [""])[0].strip().lower()
        return _decode_transfer(self.body, encoding)[:TEXT_LIMIT_BYTES]

    @cached_property
    def text(self) -> str:
        return decode_text(self.content, self.parameters.get("charset", ""))

    def walk(self) -> Iterator["Part"]:
        yield self
        for part in self.parts:
            yield from part.walk()

    @cached_property
    def enclosed(self) -> "Part":
        """This part's content read as a message of its own: what `message/rfc822` and returned headers
        hold.
        """
        return _entity(_normal(self.content), self.depth + 1, _Budget(PART_LIMIT))


@dataclass
class _Budget:
    parts: int


def parse(raw: bytes) -> Part:
    """The message in `raw`. Any bytes give a Part; what is past the limits is not looked at."""
    return _entity(_normal(raw[:RAW_LIMIT_BYTES]), 0, _Budget(PART_LIMIT))


def _normal(raw: bytes) -> bytes:
    if b"\r" in raw:
        raw = raw.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    raw = raw.removeprefix(codecs.BOM_UTF8).lstrip(b"\n")
    if raw.startswith((b"From ", b">From ")):
        raw = raw.partition(b"\n")[2]
    return raw


def _entity(raw: bytes, depth: int, budget: _Budget) -> Part:
    budget.parts -= 1
    if raw.startswith(b"\n"):
        head, body = b"", raw[1:]
    else:
        head, _, body = raw.partition(b"\n\n")
    headers = _headers(head)
    if head and not headers:
        body = raw
    part = Part(headers, body, depth=depth)
    if part.content_type.startswith("multipart/") and depth < DEPTH_LIMIT:
        return Part(headers, body, _children(part, depth, budget), depth)
    return part


def _headers(head: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines = _FOLD.sub(b" ", head[:HEADER_LIMIT_BYTES]).split(b"\n", HEADER_LIMIT_COUNT)[:HEADER_LIMIT_COUNT]
    for line in lines:
        match = _FIELD.match(line)
        if match:
            name = match[1].decode("ascii").lower()
            found.setdefault(name, []).append(_eight_bit(match[2])[:VALUE_LIMIT_CHARS])
    return found


def _eight_bit(raw: bytes) -> str:
    raw = raw.replace(b"\0", b"")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _children(part: Part, depth: int, budget: _Budget) -> tuple[Part, ...]:
    body = part.body
    boundary = part.parameters.get("boundary", "").encode("utf-8", "replace").strip()
    chunks = _split(body, boundary, budget.parts)
    encoding = part.headers.get("content-transfer-encoding", [""])[0].strip().lower()
    quoted = encoding.startswith("quoted-printable") and _QUOTED_PARAMETER.search(body, 0, TEXT_LIMIT_BYTES)
    if encoding and (quoted or not chunks):
        body = _normal(part.content)  # forbidden for a multipart, and seen: a gateway encoded the whole body
        chunks = _split(body, boundary, budget.parts)
    if not chunks:
        guess = _BOUNDARY_GUESS.search(body, 0, TEXT_LIMIT_BYTES)
        chunks = _split(body, guess[1].strip(), budget.parts) if guess else []
    if not chunks:
        return (Part({}, body, depth=depth + 1),)
    return tuple(_entity(chunk, depth + 1, budget) for chunk in chunks if budget.parts > 0)


def _split(body: bytes, boundary: bytes, limit: int) -> list[bytes]:
    if not boundary:
        return []
    pieces = (b"\n" + body).split(b"\n--" + boundary, limit + 1)[1:]
    chunks = []
    for piece in pieces:
        if piece.startswith(b"--"):
            break
        rest_of_line, _, chunk = piece.partition(b"\n")
        if not rest_of_line.strip():
            chunks.append(chunk)
        elif chunks:
            chunks[-1] += b"\n--" + boundary + piece  # a longer boundary that begins alike: a nested one's
        if len(chunks) > limit:
            break
    return chunks


def _parameters(value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, raw in _PARAMETER.findall(value[:4096]):
        key = name.lower().rstrip("*").removesuffix("*0")
        found.setdefault(key, raw.strip('"').replace('\\"', '"'))
    return found


def _decode_transfer(body: bytes, encoding: str) -> bytes:
    if encoding.startswith("base64"):
        return _base64(body[: TEXT_LIMIT_BYTES * 3 // 2])
    if encoding.startswith("quoted-printable"):
        return quopri.decodestring(body[: TEXT_LIMIT_BYTES * 3])
    return body[:TEXT_LIMIT_BYTES]


def _base64(body: bytes) -> bytes:
    clean = _NOT_BASE64.sub(b"", body)
    clean = clean[: len(clean) - (1 if len(clean) % 4 == 1 else 0)]
    try:
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    except (binascii.Error, ValueError):
        return body


@lru_cache(maxsize=256)
def _known(charset: str) -> str:
    """A charset that may be tried, or an empty string."""
    if not _CHARSET.match(charset):
        return ""
    try:
        codecs.lookup(charset)
    except (LookupError, ValueError):
        return ""
    return charset


def decode_text(raw: bytes, charset: str) -> str:
    """Text whatever the label says: ASCII and valid UTF-8 are believed before a label, which is often
    wrong.
    """
    name = _known(charset.strip().strip("'\"").lower()[:40])
    if name.startswith(("utf-16", "utf16")) and b"\0" not in raw:
        name = ""
    raw = raw if name.startswith(("utf-16", "utf16")) else raw.replace(b"\0", b"")
    if not name.startswith(_SHIFTING) and raw.isascii():
        return raw.decode("ascii")
    for candidate in (name, "utf-8") if name.startswith(_MULTIBYTE) else ("utf-8", name):
        if candidate:
            try:
                return _chopped(raw, candidate)
            except (UnicodeError, LookupError):
                continue
    return raw.decode(name if name and not name.startswith(("utf", "us-")) else "cp1252", "replace")


def _chopped(raw: bytes, charset: str) -> str:
    """Decodes strictly, but forgives a last character that the size limit cut through."""
    return codecs.getincrementaldecoder(charset)("strict").decode(raw, final=False)


def decode_words(value: str) -> str:
    """RFC 2047 encoded words, decoded; anything that is none stays as it is."""
    if "=?" not in value:
        return value
    joined = _BETWEEN_WORDS.sub(r"\1\2", value)
    out, end = [], 0
    pending: tuple[str, bytes] | None = None
    for word in _ENCODED_WORD.finditer(joined):
        charset, content = word[1].lower(), _word_bytes(word[2], word[3])
        if pending and pending[0] == charset and word.start() == end:
            pending = (charset, pending[1] + content)  # some writers cut a character in two words
        else:
            if pending:
                out.append(decode_text(pending[1], pending[0]))
            out.append(joined[end : word.start()])
            pending = (charset, content)
        end = word.end()
    if pending:
        out.append(decode_text(pending[1], pending[0]))
    return ("".join(out) + joined[end:]).replace("\n", " ").replace("\r", " ")


def _word_bytes(encoding: str, content: str) -> bytes:
    raw = content.encode("utf-8", "replace")
    if encoding in "bB":
        return _base64(raw)
    return quopri.decodestring(raw.replace(b"_", b" "))


def addresses(value: str) -> list[str]:
    """Every address in a header value, in order, domain in lower case."""
    found = ADDRESS.findall(value[:VALUE_LIMIT_CHARS])
    if not found and '"@' in value:
        found = _QUOTED_LOCAL.findall(value[:VALUE_LIMIT_CHARS])
    return list(dict.fromkeys(normal_address(address) for address in found))


def normal_address(address: str) -> str:
    local, _, domain = address.strip().strip("<>").rpartition("@")
    return f"{local}@{domain.lower().rstrip('.')}"


def sender(value: str) -> str:
    """The one address of a From value: the one in angle brackets, or the last one."""
    angle = value[:VALUE_LIMIT_CHARS].rfind("<")
    found = addresses(value[angle:]) if angle >= 0 else []
    found = found or addresses(value)
    return found[-1] if found else ""


def message_ids(value: str) -> list[str]:
    """Message-IDs with their angle brackets; one without brackets is taken when it stands alone."""
    found = [f"<{identifier}>" for identifier in _MESSAGE_ID.findall(value[:VALUE_LIMIT_CHARS])]
    bare = value.strip()
    if not found and 3 <= len(bare) <= 500 and "@" in bare and " " not in bare:
        found = [f"<{bare.strip('<>')}>"]
    return found


def returned(parts: list[Part]) -> Part | None:
    """The message that a report returns, or what is left of it."""
    return next((part.enclosed for part in parts if part.content_type in RETURNED_TYPES), None)
