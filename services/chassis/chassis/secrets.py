"""Secrets at rest and keyed hashes: what the database keeps must be useless without the key."""

import contextlib
import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from uuid import UUID

import idna
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.settings import PREFIX

LEAST_SIGNATURE_BYTES = 16
WARNING = "company_warning"
"""The kind under which a company is hashed whose people may be enrolled, with a warning."""


class SecretSettings(BaseSettings):
    """`secret_keys`: the newest first, separated by commas; older ones still decrypt."""

    # As the other mixins: the last base's configuration wins, and one without the prefix would take it away.
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    secret_keys: SecretStr


class Secrets:
    """Encrypts and signs with the newest key, decrypts and verifies with any of them, hashes with the last
    one, which never goes.
    """

    def __init__(self, settings: SecretSettings) -> None:
        keys = [key.strip() for key in settings.secret_keys.get_secret_value().split(",") if key.strip()]
        if not keys or min(map(len, keys)) < 16:
            raise ValueError("SEGUE_SECRET_KEYS needs at least one key of 16 characters or more")
        each = [Fernet(urlsafe_b64encode(_derive(key, b"encrypt"))) for key in keys]
        self._newest, self._fernet = each[0], MultiFernet(each)
        self._signing_keys = [_derive(key, b"sign") for key in keys]
        self._hash_key = _derive(keys[-1], b"hash")
        self._hash = hmac.new(self._hash_key, digestmod=hashlib.sha256)

    def encrypt(self, text: str) -> str:
        """A token that only `decrypt` reads."""
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        """The text; ValueError if no key fits."""
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except InvalidToken as error:
            raise ValueError("a stored secret does not fit any of SEGUE_SECRET_KEYS") from error

    def renewed(self, token: str) -> str:
        """The same secret under the newest key; the token itself where it is. ValueError if no key fits."""
        with contextlib.suppress(InvalidToken):
            self._newest.decrypt(token.encode())
            return token
        return self.encrypt(self.decrypt(token))

    def sign(self, purpose: str, data: bytes) -> bytes:
        """A signature of 32 bytes, which may be cut; good for one purpose, as long as its key is there."""
        return _signature(self._signing_keys[0], purpose, data)

    def has_signed(self, purpose: str, data: bytes, signature: bytes) -> bool:
        """Whether one of the keys made `signature`, or what it begins with, of at least 16 bytes."""
        if len(signature) < LEAST_SIGNATURE_BYTES:
            return False
        made = (_signature(key, purpose, data)[: len(signature)] for key in self._signing_keys)
        return any(hmac.compare_digest(each, signature) for each in made)

    def keyed(self, purpose: str) -> bytes:
        """A 32-byte key of its own for one purpose, stable over rotations."""
        return _derive(self._hash_key.hex(), purpose.encode())

    def suppression_id(self, workspace_id: UUID, kind: str, value: str) -> str:
        """The keyed hash under which an address, phone or domain is suppressed in one workspace; whoever asks
        for one asks for `suppression_ids`.
        """
        return self._suppression_id(workspace_id, kind, _normal(kind, value))

    def suppression_ids(self, workspace_id: UUID, kind: str, value: str) -> tuple[str, ...]:
        """Every hash under which it may be suppressed: before all spellings of an international domain were
        one, each was kept as it came.
        """
        normal = _normal(kind, value)
        spellings = {normal: None}
        if kind != "phone" and (not value.isascii() or "xn--" in normal):
            spellings |= dict.fromkeys((value.strip().casefold(), _in_unicode(normal).casefold()))
        return tuple(self._suppression_id(workspace_id, kind, each) for each in spellings)

    def _suppression_id(self, workspace_id: UUID, kind: str, normal: str) -> str:
        keyed = self._hash.copy()  # to begin with the key costs ten times as much
        keyed.update(f"{workspace_id}/{kind}/{normal}".encode())
        return keyed.hexdigest()


def plain_phone(value: str) -> str:
    """One spelling for what people write in many: `+49 (0)30 12-34` and `004930 1234` are one phone.

    What has no country stays without one.
    """
    number = re.split(r"x|ext", value.strip().casefold(), maxsplit=1)[0]
    digits = re.sub(r"[^0-9+]", "", number.replace("(0)", "") if number.startswith(("+", "00")) else number)
    return "+" + digits[2:] if digits.startswith("00") else digits


def _normal(kind: str, value: str) -> str:
    if kind == "phone":
        return plain_phone(value)
    text = value.strip()
    if text.isascii():
        return text.lower()
    local, at, domain = text.rpartition("@")
    return f"{local.casefold()}{at}{_in_ascii(domain)}"


def _in_ascii(domain: str) -> str:
    """An international domain as DNS has it (UTS 46, as browsers read it); what is none, in lower case."""
    try:
        return idna.encode(domain, uts46=True).decode().lower()
    except idna.IDNAError:
        return domain.casefold()


def _in_unicode(normal: str) -> str:
    """An address or a domain as people read it."""
    local, at, domain = normal.rpartition("@")
    try:
        return f"{local}{at}{idna.decode(domain)}"
    except idna.IDNAError:
        return normal


def _signature(key: bytes, purpose: str, data: bytes) -> bytes:
    return hmac.new(key, purpose.encode() + b"/" + data, hashlib.sha256).digest()


def _derive(key: str, purpose: bytes) -> bytes:
    return hmac.new(key.encode(), b"segue/" + purpose, hashlib.sha256).digest()
