"""What a judgement says, as values: one verdict per message, with its evidence and the facts that matching
needs."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum


class Kind(StrEnum):
    """What a message is, judged from the message alone."""

    REPLY = "reply"
    AUTO_REPLY = "auto_reply"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    OPT_OUT = "opt_out"
    OTHER = "other"


class Intent(StrEnum):
    """What a person who replied wants, as far as rules can tell."""

    INTERESTED = "interested"
    NOT_INTERESTED = "not_interested"
    NOT_NOW = "not_now"
    WRONG_PERSON = "wrong_person"
    UNSURE = "unsure"


class Severity(StrEnum):
    """How final a failure is; only `hard` may stop a sequence."""

    HARD = "hard"
    SOFT = "soft"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True)
class FailedRecipient:
    """One recipient of a bounce. `status` is an RFC 3463 code such as `5.1.1`, or empty."""

    address: str
    severity: Severity
    status: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the matching step reads: all of it as the message claims it, none of it proven.

    `references` holds In-Reply-To and References first, then ids found in a returned or attached original.
    `to_addresses` keeps plus tags and includes Delivered-To and X-Original-To. `dispatch_mark` is what
    X-Segue-Dispatch says: our Message-ID without brackets, on a copy of what we sent.
    """

    message_id: str = ""
    references: tuple[str, ...] = ()
    from_address: str = ""
    to_addresses: tuple[str, ...] = ()
    subject: str = ""
    date: datetime | None = None
    dispatch_mark: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged message. Fields that belong to another kind are empty.

    until: the return date that an auto_reply names; out_of_office: it tells of an absence and not only of
    receipt.
    original_message_ids: ids of the messages that a bounce or complaint returns.
    text: the fresh text of a reply, opt_out or auto_reply, without quotes and signature.
    intent: what a reply wants; None for every other kind.
    """

    kind: Kind
    evidence: tuple[str, ...]
    facts: Facts = field(default_factory=Facts)
    text: str = ""
    intent: Intent | None = None
    until: date | None = None
    out_of_office: bool = False
    recipients: tuple[FailedRecipient, ...] = ()
    original_message_ids: tuple[str, ...] = ()
    feedback_type: str = ""
    original_recipient: str = ""
