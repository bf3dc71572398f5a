"""Keys that sign a domain's mail, and the DNS records by which others verify it."""

import base64
from dataclasses import dataclass
from typing import Final, Literal

import idna
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from api.deliverability import GOOD_RSA_BITS

Algorithm = Literal["rsa", "ed25519"]
PUBLIC_EXPONENT: Final = 65537
MAX_TEXT_OCTETS: Final = 255  # of one character-string in a TXT record (RFC 1035 3.3.14)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A private key as PKCS 8 PEM, and the TXT record that its selector must have."""

    selector: str
    algorithm: Algorithm
    record: str
    pem: str


def new_keys(label: str) -> tuple[NewKey, NewKey]:
    """A key of each algorithm: RSA, which everybody verifies, and Ed25519 (RFC 8463). Takes a while."""
    rsa = generate_private_key(PUBLIC_EXPONENT, GOOD_RSA_BITS)
    return _key(f"{label}-rsa", "rsa", rsa), _key(f"{label}-ed25519", "ed25519", Ed25519PrivateKey.generate())


def _key(selector: str, algorithm: Algorithm, private: RSAPrivateKey | Ed25519PrivateKey) -> NewKey:
    if isinstance(private, RSAPrivateKey):
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)  # RFC 8463 4.2
    record = f"v=DKIM1; k={algorithm}; p={base64.b64encode(public).decode()}"
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return NewKey(selector, algorithm, record, pem)


def place_of(selector: str, domain: str) -> str:
    """The name of a key's record."""
    return f"{selector}._domainkey.{domain}"


def zone_line(name: str, text: str) -> str:
    """A TXT record as a line of a zone file, in strings that are not too long."""
    parts = [text[start : start + MAX_TEXT_OCTETS] for start in range(0, len(text), MAX_TEXT_OCTETS)]
    return f"{name}. 3600 IN TXT " + " ".join(f'"{part}"' for part in parts)


def ascii_domain(domain: str) -> str:
    """A domain as DNS knows it: lower case, in A-labels; ValueError if it is none."""
    try:
        found = idna.encode(domain.strip().rstrip("."), uts46=True).decode().lower()
    except idna.IDNAError:
        raise ValueError("must be a domain such as ourco.example") from None
    if "." not in found:
        raise ValueError("must be a domain such as ourco.example")
    return found
