"""What the link to unsubscribe in a message stands for, and in which languages people are told of it."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chassis import signed
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
_IDS_BYTES: Final = 3 * 16


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the link of one message stands for; random ids only."""

    workspace_id: UUID
    person_id: UUID
    dispatch_id: str


def written(ticket: Ticket, secrets: Secrets) -> str:
    """The ticket as it stands in a URL: its ids, signed; the same text whenever it is written."""
    enrollment, stage = split_dispatch_id(ticket.dispatch_id)
    ids = ticket.workspace_id.bytes + ticket.person_id.bytes + enrollment.bytes + stage.encode()
    return signed.written(secrets, _PURPOSE, ids)


def read(text: str, secrets: Secrets) -> Ticket | None:
    """The ticket, if one of our keys has signed it; asks nobody else."""
    ids = signed.read(secrets, _PURPOSE, text)
    if ids is None or len(ids) <= _IDS_BYTES:
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
