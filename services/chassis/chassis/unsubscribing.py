"""What the link to unsubscribe in a message stands for, and in which languages people are told of it."""

import re
from base64 import b32decode, b32encode
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chassis.secrets import Secrets
from segue_contracts.ids import dispatch_id, split_dispatch_id

PATH: Final = "/u/"
FIELD: Final = "List-Unsubscribe"
ONE_CLICK: Final = "One-Click"
"""What a mail program posts under that name (RFC 8058 3.1)."""
LANGUAGES: Final = ("en", "de", "fr", "es", "nl", "pt", "it")
LOCALE_TOKEN: Final = "locale"  # noqa: S105 - a token of a template
"""A person's, sequence's or workspace's token that names their language: `de`, `pt-BR`."""
_PURPOSE: Final = "unsubscribe"
_MAC_BYTES: Final = 16
_IDS_BYTES: Final = 3 * 16
_MAX_CHARS: Final = 400
_TOKEN: Final = re.compile(r"[a-z2-7]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the link of one message stands for; random ids only."""

    workspace_id: UUID
    person_id: UUID
    dispatch_id: str


def written(ticket: Ticket, secrets: Secrets) -> str:
    """The ticket as it stands in a URL: its ids, signed; the same bytes whenever it is written.

    In lower case letters and digits alone: nothing on the way to a person breaks or refolds it.
    """
    enrollment, stage = split_dispatch_id(ticket.dispatch_id)
    ids = ticket.workspace_id.bytes + ticket.person_id.bytes + enrollment.bytes + stage.encode()
    return b32encode(ids + secrets.sign(_PURPOSE, ids)[:_MAC_BYTES]).decode().rstrip("=").lower()


def read(text: str, secrets: Secrets) -> Ticket | None:
    """The ticket, if one of our keys has signed it; asks nobody else."""
    if len(text) > _MAX_CHARS or not _TOKEN.fullmatch(text):
        return None
    try:
        data = b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return None
    ids, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
    if len(ids) <= _IDS_BYTES or not secrets.has_signed(_PURPOSE, ids, mac):
        return None
    workspace, person, enrollment = (UUID(bytes=ids[at : at + 16]) for at in range(0, _IDS_BYTES, 16))
    return Ticket(workspace, person, dispatch_id(enrollment, ids[_IDS_BYTES:].decode()))


def sender_value(mailbox_id: UUID, address: str) -> str:
    """What a suppression of the kind `sender` is of: one mailbox must not write to this address."""
    return f"{mailbox_id}/{address}"


def language_of(locale: str) -> str | None:
    """The language that a locale (`pt-BR`, `de_AT`) is of, if it is one of ours."""
    language = re.split("[-_]", locale.strip().lower(), maxsplit=1)[0]
    return language if language in LANGUAGES else None
