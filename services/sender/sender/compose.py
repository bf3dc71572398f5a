"""The bytes of an e-mail, built by hand: the standard library's writer is slow and refolds what must stay."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import idna

from chassis.templates import header_problem

MAX_LINE_BYTES: Final = 998  # RFC 5322 2.1.1, without CRLF
MAX_MESSAGE_ID_OCTETS: Final = 69  # longer ones do not survive folding by some gateways
MAX_REFERENCES_KEPT: Final = 20
_FOLD_AT: Final = 76  # RFC 2047 2 for lines with an encoded word; below RFC 5322's 78 for the others
_MAX_ENCODED_WORD: Final = 75
_MAX_NAME_CHARS: Final = 255
_MAX_SUBJECT_CHARS: Final = 4096
_MAX_URI_BYTES: Final = 900
_MAX_ID_BYTES: Final = 900
_MAX_ADDRESS_OCTETS: Final = 254  # RFC 5321 4.5.3.1.3, without the angle brackets
_MAX_LOCAL_OCTETS: Final = 64
_MAX_FILENAME_BYTES: Final = 200
MAX_MAIL_BYTES: Final = 26 * 1024 * 1024
"""Of a whole message: 18 MiB of attachments in base64, and room for the rest."""


class ComposeError(ValueError):
    """A part that can't be put into a mail; the text says which and why, and quotes no address or value."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: `email` as people write it (any script in the domain), `name` the display name or empty."""

    email: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """What an e-mail is made of; `date` must be aware.

    `html` says the same as `text` (multipart/alternative). `attachments` are entities, written by `attached`.
    `references` are the parent's own references, oldest first; the parent itself is `in_reply_to`.
    `unsubscribe` holds the URIs of List-Unsubscribe, https before mailto; an https one makes it one-click
    (RFC 8058). `text` and `html` may have any line ends.
    """

    sender: Address
    to: Address
    subject: str
    text: str
    date: datetime
    message_id: str
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    reply_to: Address | None = None
    unsubscribe: tuple[str, ...] = ()
    html: str | None = None
    attachments: tuple[bytes, ...] = ()


def compose(mail: Mail, *, smtputf8: bool = False) -> bytes:
    """Write `mail` as RFC 5322 bytes with CRLF line ends, none over 998 octets; equal parts give equal bytes.

    X-Segue-Dispatch repeats the Message-ID, which some providers rewrite: by it a copy in the Sent folder is
    known.
    Pure ASCII, so that no server need offer 8BITMIME, unless `smtputf8` and an address has a non-ASCII local
    part (RFC 6532). Not dot-stuffed. Raises ComposeError.
    """
    entity_headers, body = _entity(mail)
    lines = [
        b"From: ",
        _own_mailbox_field("From", mail.sender, smtputf8),
        b"\r\nTo: ",
        _mailbox_field("To", mail.to, smtputf8),
        b"\r\nSubject: ",
        _subject_field(mail.subject),
        b"\r\nDate: ",
        _date_field(mail.date),
        b"\r\nMessage-ID: ",
        own_id := _own_id_field(mail.message_id),
        b"\r\nX-Segue-Dispatch: ",
        own_id[1:-1],
    ]
    if mail.reply_to is not None:
        lines += b"\r\nReply-To: ", _own_mailbox_field("Reply-To", mail.reply_to, smtputf8)
    if mail.in_reply_to is not None:
        lines += _thread_fields(mail.in_reply_to, mail.references)
    elif mail.references:
        raise ComposeError("References without In-Reply-To")
    if mail.unsubscribe:
        lines += _unsubscribe_fields(mail.unsubscribe)
    lines += b"\r\nMIME-Version: 1.0\r\n", entity_headers, b"\r\n\r\n", body
    if len(body) > MAX_MAIL_BYTES:
        raise ComposeError(f"the mail is larger than {MAX_MAIL_BYTES // 1024**2} MiB")
    return b"".join(lines)


def attached(filename: str, content_type: str, content: bytes) -> bytes:
    """Write a file as a MIME entity: base64, its name in UTF-8 (RFC 2231). Raises ComposeError."""
    _refuse_unfit("filename", filename)
    if not filename or len(filename.encode()) > _MAX_FILENAME_BYTES or re.search(r'["/\\\\]', filename):
        raise ComposeError("filename: empty, too long, or with a quote or slash")
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise ComposeError("Content-Type: not a content type")
    charset = b'; charset="utf-8"' if content_type.startswith("text/") else b""
    named = f'filename="{filename}"' if filename.isascii() else f"filename*=utf-8''{quote(filename, safe='')}"
    head = (
        b"Content-Type: %b%b\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment;\r\n %b\r\n\r\n"
    )
    return head % (content_type.encode(), charset, named.encode()) + _base64_lines(content)


def message_id(key: bytes, dispatch_id: str, domain: str) -> str:
    """Derive the Message-ID, brackets included, at most 69 octets, that a dispatch has at every attempt.

    `domain` may be international; ComposeError if it is no domain, or so long that under 80 bits are left.
    """
    host = _ascii_domain("Message-ID", domain).lower()
    keyed = _keyed(key).copy()
    keyed.update(dispatch_id.encode())
    digest = base64.b32encode(keyed.digest()[:20]).decode().lower()  # 32 characters
    chars = min(32, MAX_MESSAGE_ID_OCTETS - len(host) - len("<@>"))
    if chars < 16:
        raise ComposeError("Message-ID: the domain is too long")
    return f"<{digest[:chars]}@{host}>"


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    """To copy: to begin with the key costs ten times as much."""
    return hmac.new(key, digestmod=hashlib.sha256)


def wire_address(email: str, *, smtputf8: bool = False) -> str:
    """Write an address for envelope or header: the domain in A-labels (RFC 5890), the local part as it is.

    Raises ComposeError for what is no address, and for a non-ASCII local part unless `smtputf8`.
    """
    return _wire_address("the address", email, smtputf8)


# --- structured fields


def _wire_address(field: str, email: str, smtputf8: bool) -> str:
    _refuse_unfit(field, email)
    local, _, domain = email.rpartition("@")
    if not local.isascii() and not smtputf8:
        raise ComposeError(f"{field}: not ASCII before the @, which needs a server that offers SMTPUTF8")
    if not (_LOCAL_ASCII if local.isascii() else _LOCAL_UTF8).fullmatch(local):
        raise ComposeError(f"{field}: not an e-mail address")
    host = _ascii_domain(field, domain)
    if len(local.encode()) > _MAX_LOCAL_OCTETS or len(local.encode()) + 1 + len(host) > _MAX_ADDRESS_OCTETS:
        raise ComposeError(f"{field}: the address is too long")
    return f"{local}@{host}"


_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LOCAL_ASCII = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_ATEXT_UTF8 = rf"(?:{_ATEXT}|[^\x00-\x9f\s])"
_LOCAL_UTF8 = re.compile(rf"{_ATEXT_UTF8}+(?:\.{_ATEXT_UTF8}+)*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?!.{{254}}){_LABEL}(?:\.{_LABEL})*")


@lru_cache(maxsize=4096)
def _ascii_domain(field: str, domain: str) -> str:
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            raise ComposeError(f"{field}: not a domain") from None
    if not _DOMAIN.fullmatch(domain):
        raise ComposeError(f"{field}: not a domain")
    return domain


def _mailbox_field(field: str, address: Address, smtputf8: bool) -> bytes:
    email = _wire_address(field, address.email, smtputf8).encode()
    name = address.name.strip()
    if not name:
        return email
    _refuse_unfit(field, name)
    if len(name) > _MAX_NAME_CHARS:
        raise ComposeError(f"{field}: the name is too long")
    phrase = _phrase(name, len(field) + 2)
    last_line = len(phrase) - phrase.rfind(b"\n") - 1 + (len(field) + 2) * (b"\n" not in phrase)
    return phrase + (b" <" if last_line + len(email) + 3 <= _FOLD_AT else b"\r\n <") + email + b">"


_own_mailbox_field = lru_cache(maxsize=1024)(_mailbox_field)  # few senders write to many people


_PLAIN_PHRASE = re.compile(rf"{_ATEXT}+(?: {_ATEXT}+)*")


def _phrase(name: str, indent: int) -> bytes:
    """Write a display name: atoms, a quoted string, or encoded words (RFC 2047 5.3)."""
    if _PLAIN_PHRASE.fullmatch(name):
        return name.encode()
    if name.isascii():
        return b'"' + re.sub(r'([\\"])', r"\\\1", name).encode() + b'"'
    return _encoded_words(name, indent)


def _own_id_field(value: str) -> bytes:
    field = _id_field("Message-ID", value)
    if len(field) > MAX_MESSAGE_ID_OCTETS:
        raise ComposeError("Message-ID: 70 octets or more")
    return field


_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")


def _id_field(field: str, value: str) -> bytes:
    _refuse_unfit(field, value)
    if not _ID.fullmatch(value) or len(value) > _MAX_ID_BYTES:
        raise ComposeError(f"{field}: not a message id")
    return value.encode()


def _thread_fields(parent: str, ancestors: Sequence[str]) -> tuple[bytes, ...]:
    own = _id_field("In-Reply-To", parent)
    ids = [_id_field("References", ancestor) for ancestor in ancestors if ancestor != parent]
    ids.append(own)
    if len(ids) > MAX_REFERENCES_KEPT + 1:
        ids = [ids[0], *ids[-MAX_REFERENCES_KEPT:]]
    # One id a line: it is how long lists are read, and a line can never grow with the thread.
    return b"\r\nIn-Reply-To: ", own, b"\r\nReferences: ", b"\r\n ".join(ids)


_HTTPS_URI = re.compile(r"https?://[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]+")
_MAILTO_URI = re.compile(r"mailto:[!$%&'*+./0-9:;=?@A-Z_a-z~-]+")


def _unsubscribe_fields(uris: Sequence[str]) -> tuple[bytes, ...]:
    """Write List-Unsubscribe (RFC 2369), with List-Unsubscribe-Post where RFC 8058 allows it: with https."""
    for uri in uris:
        _refuse_unfit("List-Unsubscribe", uri)
        if not (_HTTPS_URI.fullmatch(uri) or _MAILTO_URI.fullmatch(uri)) or len(uri) > _MAX_URI_BYTES:
            raise ComposeError("List-Unsubscribe: not an https or mailto URI")
    value = b",\r\n ".join(b"<%b>" % uri.encode() for uri in uris)
    if any(uri.startswith("https:") for uri in uris):
        value += b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click"
    return b"\r\nList-Unsubscribe: ", value


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _date_field(moment: datetime) -> bytes:
    """Write an aware datetime in UTC, by the names RFC 5322 3.3 gives, whatever the process's locale."""
    if moment.tzinfo is None:
        raise ComposeError("Date: without a time zone")
    return _date(moment.astimezone(UTC).replace(microsecond=0))


@lru_cache(maxsize=16)  # many messages are written in one second
def _date(at: datetime) -> bytes:
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return (
        f"{day}, {at.day:02} {month} {at.year:04} {at.hour:02}:{at.minute:02}:{at.second:02} +0000".encode()
    )


def _refuse_unfit(field: str, value: str) -> None:
    if problem := header_problem(value):
        raise ComposeError(f"{field}: {problem}")


# --- the subject, and encoded words

_PLAIN_SUBJECT = re.compile(r"[!-~]{1,60}(?: [!-~]{1,60})*")


def _subject_field(subject: str) -> bytes:
    subject = subject.strip()
    if not subject:
        raise ComposeError("Subject: empty")
    _refuse_unfit("Subject", subject)
    if len(subject) > _MAX_SUBJECT_CHARS:
        raise ComposeError("Subject: too long")
    indent = len("Subject: ")
    if not _PLAIN_SUBJECT.fullmatch(subject):
        return _encoded_words(subject, indent)
    return subject.encode() if len(subject) <= _FOLD_AT - indent else _folded(subject, indent)


def _folded(text: str, indent: int) -> bytes:
    """Break words parted by single blanks into lines; unfolding (RFC 5322 2.2.3) gives `text` back."""
    lines, room = [], _FOLD_AT - indent
    while len(text) > room:
        cut = text.rfind(" ", 0, room + 1)
        lines.append(text[:cut])
        text, room = text[cut + 1 :], _FOLD_AT - 1
    return "\r\n ".join([*lines, text]).encode()


# What stands for itself in a Q word within a phrase (RFC 2047 5.3, the narrowest rule); blank is "_".
_Q_BYTES: Final = [
    chr(byte) if re.match("[A-Za-z0-9!*+/-]", chr(byte)) else "_" if byte == 0x20 else f"={byte:02X}"
    for byte in range(256)
]


def _encoded_words(text: str, indent: int) -> bytes:
    """Write `text` as UTF-8 encoded words, one a line, each of whole characters (RFC 2047 5).

    `indent`: the columns already taken on the first line.
    """
    data = text.encode()
    quoted_length = sum(len(_Q_BYTES[byte]) for byte in data)
    shorter_in_b = quoted_length > (len(data) + 2) // 3 * 4
    return "\r\n ".join(_b_words(data, indent) if shorter_in_b else _q_words(text, indent)).encode()


def _b_words(data: bytes, indent: int) -> list[str]:
    words, at = [], 0
    room = _word_room(indent)
    while at < len(data):
        end = min(at + room // 4 * 3, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(data[at:end], newline=False).decode()}?=")
        at, room = end, _word_room(1)
    return words


def _q_words(text: str, indent: int) -> list[str]:
    words, word = [], ""
    room = _word_room(indent)
    for char in text:
        quoted = "".join(_Q_BYTES[byte] for byte in char.encode())
        if len(word) + len(quoted) > room:
            words.append(f"=?utf-8?q?{word}?=")
            word, room = "", _word_room(1)
        word += quoted
    return [*words, f"=?utf-8?q?{word}?="]


def _word_room(indent: int) -> int:
    return min(_MAX_ENCODED_WORD, _FOLD_AT - indent) - len("=?utf-8?q??=")


# --- the body

_CONTENT_TYPE = re.compile(r"[a-z0-9]{1,30}/[a-z0-9.+-]{1,80}")


def _entity(mail: Mail) -> tuple[bytes, bytes]:
    """Write what the mail says as one MIME entity, its fields and its body apart."""
    text = _text_entity(mail.text)
    if mail.html is None and not mail.attachments:
        return text
    digest = hashlib.blake2b(mail.message_id.encode(), digest_size=12).hexdigest().encode()
    readable = [text] if mail.html is None else [text, _text_entity(mail.html, "html")]
    while any(digest in body for _, body in readable):  # base64 has no "_", so the files can't have it
        digest += b"x"
    entity = text
    if mail.html is not None:
        entity = _multipart(b"alternative", b"=_a_" + digest, map(_joined, readable))
    if mail.attachments:
        entity = _multipart(b"mixed", b"=_m_" + digest, (_joined(entity), *mail.attachments))
    return entity


def _joined(entity: tuple[bytes, bytes]) -> bytes:
    return b"\r\n\r\n".join(entity)


def _multipart(kind: bytes, boundary: bytes, parts: Iterable[bytes]) -> tuple[bytes, bytes]:
    fields = b'Content-Type: multipart/%b;\r\n boundary="%b"' % (kind, boundary)
    # The line end before a boundary belongs to it (RFC 2046 5.1.1): each part keeps the one it ends with.
    pieces = [piece for part in parts for piece in (b"--%b\r\n" % boundary, part, b"\r\n")]
    return fields, b"".join((*pieces, b"--%b--\r\n" % boundary))


def _base64_lines(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


_LINE_END = re.compile(r"\r\n|\r|\n")


def _text_entity(text: str, subtype: str = "plain") -> tuple[bytes, bytes]:
    """Write a text as a MIME entity, its fields and its body apart, so that a multipart can hold it too.

    The body is 7bit where it can be, else quoted-printable, else base64 where a third of it is not ASCII.
    """
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    if not text.endswith("\n"):
        text += "\n"
    fields = b'Content-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: %b'
    if _is_7bit(text) and (len(text) <= MAX_LINE_BYTES or max(map(len, text.split("\n"))) <= MAX_LINE_BYTES):
        return fields % (subtype.encode(), b"7bit"), text.replace("\n", "\r\n").encode()
    try:
        data = text.replace("\n", "\r\n").encode()
    except UnicodeEncodeError:
        raise ComposeError("the text contains a broken character") from None
    encoding, body = _encoded_body(data)
    return fields % (subtype.encode(), encoding), body


def _is_7bit(text: str) -> bool:
    """Whether there is nothing but printable ASCII, tabs and line ends."""
    return text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()


def _encoded_body(data: bytes) -> tuple[bytes, bytes]:
    escaped = len(data) - len(data.decode().encode("ascii", "ignore"))
    # A reader of the source, and many a spam filter, prefers quoted-printable long after base64 is shorter.
    if escaped * 3 <= len(data):
        # It takes its own line ends from the first it finds in `data`, which always ends with CRLF.
        return b"quoted-printable", binascii.b2a_qp(data, istext=True)
    return b"base64", _base64_lines(data)
