"""A few bytes that travel in a link to a stranger and come back as they were: signed, and plain to copy."""

import re
from base64 import b32decode, b32encode
from typing import Final

from chassis.secrets import Secrets

_MAC_BYTES: Final = 16
_MAX_CHARS: Final = 400
_TEXT: Final = re.compile(r"[a-z2-7]+", re.ASCII)


def written(secrets: Secrets, purpose: str, data: bytes) -> str:
    """The bytes as they stand in a URL, signed for one purpose; the same text whenever it is written.

    In lower case letters and digits alone: nothing on the way to a person breaks or refolds it.
    """
    return b32encode(data + secrets.sign(purpose, data)[:_MAC_BYTES]).decode().rstrip("=").lower()


def read(secrets: Secrets, purpose: str, text: str) -> bytes | None:
    """The bytes, if one of our keys has signed them for this purpose; asks nobody else."""
    if len(text) > _MAX_CHARS or not _TEXT.fullmatch(text):
        return None
    try:
        signed = b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return None
    data, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
    return data if secrets.has_signed(purpose, data, mac) else None
