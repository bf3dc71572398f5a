"""DKIM signatures (RFC 6376, RFC 8463) for mailboxes that we sign for; all others are their provider's."""

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

KEYS_KEPT: Final = 1000
# Each is named once more than it is there (RFC 6376 5.4.2): one that is added later breaks the signature.
OVERSIGNED: Final = (
    *("From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "In-Reply-To", "References"),
    *("List-Unsubscribe", "List-Unsubscribe-Post"),  # RFC 8058 4 wants both signed
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
)
_FOLD_AT: Final = 76
_BLANKS = re.compile(rb"[ \t]+")
_FIELD_END = re.compile(rb"\r\n(?![ \t])")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the api keeps it: `secret` is the encrypted PKCS 8 PEM."""

    domain: str
    selector: str
    secret: str


@dataclass(frozen=True, slots=True)
class Key:
    """A parsed private key; the record at `<selector>._domainkey.<domain>` has its public half."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """As in the tag `a=`."""
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    def sign(self, data: bytes) -> bytes:
        """The signature of canonical header fields."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(data, PKCS1v15(), hashes.SHA256())
        return self.private.sign(hashlib.sha256(data).digest())  # RFC 8463 3: PureEdDSA over the hash


class Signer:
    """Signs with stored keys; what it parsed once it keeps, parsing costs ten times what signing does."""

    def __init__(self, decrypt: Callable[[str], str]) -> None:
        self._key = lru_cache(maxsize=KEYS_KEPT)(lambda stored: read_key(stored, decrypt(stored.secret)))

    def sign(self, message: bytes, keys: Iterable[StoredKey], at: datetime) -> bytes:
        """`message` with one signature for each key; ValueError for a key that can't be read."""
        return sign(message, [self._key(each) for each in keys], at)


def read_key(stored: StoredKey, pem: str) -> Key:
    """Parse a private key; ValueError for what is none, or of no kind that DKIM knows."""
    private = load_pem_private_key(pem.encode(), None)
    if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
        raise ValueError("a signing key is RSA or Ed25519")
    return Key(stored.domain, stored.selector, private)


def sign(message: bytes, keys: Sequence[Key], at: datetime) -> bytes:
    """Put a DKIM-Signature for each key before the message, of which no byte is changed.

    `message` has CRLF line ends, as composed; `at` is real time. The signatures do not cover each other, so
    a verifier may know only one of the algorithms.
    """
    head, _, body = message.partition(b"\r\n\r\n")
    fields = _canonical_fields(head)
    body_hash = base64.b64encode(hashlib.sha256(canonical_body(body)).digest()).decode()
    return b"".join([*(_signature(key, fields, body_hash, at) for key in keys), message])


def canonical_body(body: bytes) -> bytes:
    """The body in relaxed form (RFC 6376 3.4.4)."""
    lines = _BLANKS.sub(b" ", body).replace(b" \r\n", b"\r\n").removesuffix(b" ")
    text = lines.rstrip(b"\r\n")
    return text + b"\r\n" if text else b""


def canonical_field(name: bytes, value: bytes) -> bytes:
    """A header field in relaxed form (RFC 6376 3.4.2), without its end."""
    unfolded = _BLANKS.sub(b" ", value.replace(b"\r\n", b""))
    return name.strip().lower() + b":" + unfolded.strip(b" ")


def _canonical_fields(head: bytes) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = defaultdict(list)
    for line in _FIELD_END.split(head):
        name, _, value = line.partition(b":")
        fields[name.strip().lower()].append(canonical_field(name, value))
    return fields


def _signature(key: Key, fields: dict[bytes, list[bytes]], body_hash: str, at: datetime) -> bytes:
    present = {name: fields.get(name.lower().encode(), []) for name in OVERSIGNED}
    names = [name for name, found in present.items() for _ in range(len(found) + 1)]
    unsigned = _unsigned_field(key, names, body_hash, int(at.timestamp()))
    # The lowest of several fields of one name comes first (RFC 6376 5.4.2).
    signed = [each for found in present.values() for each in reversed(found)]
    data = b"\r\n".join([*signed, canonical_field(b"DKIM-Signature", unsigned)])
    value = base64.b64encode(key.sign(data))
    folded = b"\r\n ".join(value[start : start + 72] for start in range(0, len(value), 72))
    return b"DKIM-Signature:" + unsigned + folded + b"\r\n"


def _unsigned_field(key: Key, names: Sequence[str], body_hash: str, at: int) -> bytes:
    """The signature's value up to its own `b=`, folded where the RFC allows it."""
    tags = (
        f" v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};",
        f" s={key.selector}; t={at};",
        f" bh={body_hash};",
        *_folded_names(names),
        " b=",
    )
    return "\r\n".join(tags).encode()


def _folded_names(names: Sequence[str]) -> Iterator[str]:
    line = f" h={names[0]}"
    for name in names[1:]:
        if len(line) + len(name) + 2 > _FOLD_AT:
            yield line + ":"
            line = f"  {name}"
        else:
            line += f":{name}"
    yield line + ";"
