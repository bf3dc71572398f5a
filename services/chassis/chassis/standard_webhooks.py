"""Signatures of Standard Webhooks, for what goes to a workspace's own webhook and for what it sends back.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
WINDOW_SECONDS: Final = 300
MOST_SIGNATURES: Final = 5
"""Several while a secret changes."""


def sign(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    """`v1,` and a base64 HMAC; a secret that begins with `whsec_` is base64 behind it. ValueError if not."""
    key = b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{message_id}.{stamp}.".encode("utf-8", "surrogateescape") + body
    return "v1," + b64encode(hmac.new(key, signed, sha256).digest()).decode()


def signed(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a message that is signed at the real instant `at`."""
    stamp = str(int(at.timestamp()))
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: stamp,
        SIGNATURE_HEADER: sign(secret, message_id, stamp, body),
    }


def fits(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Whether one of the signatures is of this secret, and no more than five minutes off the real `now`."""
    stamp = headers.get(TIMESTAMP_HEADER, "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return False
    if abs(now.timestamp() - int(stamp)) > WINDOW_SECONDS:
        return False
    expected = sign(secret, headers.get(ID_HEADER, ""), stamp, body).encode()
    given = headers.get(SIGNATURE_HEADER, "").split(" ")[:MOST_SIGNATURES]
    return any(hmac.compare_digest(expected, each.encode("utf-8", "surrogateescape")) for each in given)
