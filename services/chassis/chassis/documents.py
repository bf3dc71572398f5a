"""The collections, who writes each, and the narrow read models of what one service reads of another's.

A read model is a frozen dataclass with a `PROJECTION` (what is fetched) and `read` (from the document). The
writers' own models live in their services; tests hold each read model against its writer.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar, Self
from uuid import UUID, uuid5

from chassis.ramp import limit_on

Document = dict[str, Any]

# Written by the api.
SEQUENCES = "sequences"
SEQUENCE_VERSIONS = "sequence_versions"
SEQUENCE_COUNTS = "sequence_counts"
COMPARISONS = "comparisons"
WORKSPACES = "workspaces"
MAILBOXES = "mailboxes"
USERS = "users"
API_KEYS = "api_keys"
SESSIONS = "sessions"
COMMANDS = "commands"
BULK_COMMANDS = "bulk_commands"
PROSPECT_LISTS = "prospect_lists"
PROSPECT_LIST_ROWS = "prospect_list_rows"
IDEMPOTENCY_KEYS = "idempotency_keys"
SIGNING_DOMAINS = "signing_domains"
AUDIT_LOG = "audit_log"
SMS_NUMBERS = "sms_numbers"
RECEIPTS = "receipts"
ENGAGEMENTS = "engagements"
WEBHOOK_TOKENS = "webhook_tokens"
WEBHOOKS = "webhooks"
WEBHOOK_DELIVERIES = "webhook_deliveries"
ATTACHMENTS = "attachments"
DELEGATIONS = "delegations"
# Written by the scheduler.
PEOPLE = "people"
COMPANIES = "companies"
ENROLLMENTS = "enrollments"
STOPS = "stops"
HOLDS = "holds"
SLOTS = "slots"  # the sender marks one as spent
SLOT_BOOKS = "slot_books"
CALENDARS = "calendars"
REPLANS = "replans"
OUTBOX = "outbox"
ERASURES = "erasures"  # each owner of something of a person marks its own part as done, by chassis.erasure
# Written by the sender.
DELIVERIES = "deliveries"
MAILBOX_STATES = "mailbox_states"
PROMPTS = "prompts"
# Written by whoever logs in to a mailbox, the sender and the mailbox watcher, through chassis.oauth only.
MAILBOX_TOKENS = "mailbox_tokens"
# Written by the reply detector; the api and the mailbox watcher insert.
INBOUND = "inbound"
# Written by the mailbox watcher.
MAILBOX_CURSORS = "mailbox_cursors"
# Moved on by every service, through chassis.restored only.
MARKS = "marks"
# Anyone adds, only the api removes.
SUPPRESSIONS = "suppressions"
# Written by whoever owns the command's topic: scheduler or sender.
COMMAND_RESULTS = "command_results"
# Each service's own, written by `chassis.migrations` and `segue-migrate`; of no workspace.
MIGRATIONS = "migrations"


def version_id(sequence_id: UUID, version: int) -> str:
    """The `_id` of a sequence version; versions never change once written."""
    return f"{sequence_id}:{version}"


def slot_id(dispatch_id: str, attempt: int) -> str:
    """The `_id` of the slot for one attempt of a dispatch."""
    return f"{dispatch_id}:{attempt}"


def hold_id(scope: str, scope_id: UUID) -> str:
    """The `_id` of a hold: one for each thing that can be held."""
    return f"{scope}:{scope_id}"


def delegation_id(mailbox_id: UUID, user_id: UUID) -> UUID:
    """The `_id` of a mailbox's user's consent that `user_id` sends from it, given or withdrawn."""
    return uuid5(mailbox_id, f"delegation/{user_id}")


@dataclass(frozen=True, slots=True)
class VersionView:
    """A published version: the sequence document as data, and what publishing resolved."""

    PROJECTION: ClassVar[Document] = {
        "workspace_id": 1,
        "sequence_id": 1,
        "version": 1,
        "document": 1,
        "mailbox_ids": 1,
        "owner_id": 1,
    }
    workspace_id: UUID
    sequence_id: UUID
    version: int
    document: Document
    mailbox_ids: tuple[UUID, ...]
    owner_id: UUID

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["workspace_id"],
            doc["sequence_id"],
            doc["version"],
            doc["document"],
            tuple(doc["mailbox_ids"]),
            doc["owner_id"],
        )


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """Which of a stage's variants everybody gets from now on; None while people are split over them."""

    PROJECTION: ClassVar[Document] = {"decision.variant": 1}
    id: UUID
    winner: str | None

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["_id"], (doc.get("decision") or {}).get("variant"))


@dataclass(frozen=True, slots=True)
class SequenceView:
    """What enrolling needs of a sequence: its latest version, and whether it still takes people."""

    PROJECTION: ClassVar[Document] = {"workspace_id": 1, "latest_version": 1, "archived": 1, "owner_id": 1}
    id: UUID
    workspace_id: UUID
    latest_version: int
    archived: bool
    owner_id: UUID

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["latest_version"],
            doc.get("archived", False),
            doc["owner_id"],
        )


@dataclass(frozen=True, slots=True)
class OAuthGrant:
    """What a mailbox's user gave us at its provider; the secrets are encrypted.

    `refresh_token` is the one that was given at `granted_at` (a real instant): a later one that the provider
    gave instead is in `mailbox_tokens`.
    """

    token_endpoint: str
    client_id: str
    client_secret: str | None
    refresh_token: str
    scopes: tuple[str, ...]
    granted_at: datetime

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["token_endpoint"],
            doc["client_id"],
            doc.get("client_secret"),
            doc["refresh_token"],
            tuple(doc.get("scopes") or ()),
            doc["granted_at"],
        )


@dataclass(frozen=True, slots=True)
class SmtpIdentity:
    """How a mailbox sends. `secret` is the encrypted password, or None for a server without AUTH and for
    `oauth2`, where the mailbox's grant is the login.
    """

    host: str
    port: int
    security: str  # none | starttls | tls
    username: str | None
    secret: str | None
    auth: str = "password"  # password | oauth2


@dataclass(frozen=True, slots=True)
class Ramp:
    """How a new mailbox's day grows; the rule is `chassis.ramp`. `since` is an ISO date in its zone."""

    start: int
    add_per_day: int
    until: int
    since: str


@dataclass(frozen=True, slots=True)
class MailboxLimits:
    """Messages in any 24 hours, in any hour, and the least distance between two; None: no limit.

    `ramp`: what a day has while the mailbox is new, and its `until` from then on; the smaller of it and
    `per_day` holds.
    """

    per_day: int | None = None
    per_hour: int | None = None
    gap_seconds: int | None = None
    ramp: Ramp | None = None

    @classmethod
    def read(cls, doc: Document | None) -> Self:
        limits = doc or {}
        ramp = limits.get("ramp")
        return cls(**{**limits, "ramp": Ramp(**ramp) if ramp else None})

    def on(self, day: date) -> int | None:
        """Messages in 24 hours, as of a local day of the mailbox."""
        if self.ramp is None:
            return self.per_day
        return min(limit_on(self.ramp, day), self.per_day or self.ramp.until)


@dataclass(frozen=True, slots=True)
class NumberLimits:
    """A phone number's text messages in any 24 hours and in any hour; None: no limit."""

    per_day: int | None = None
    per_hour: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.per_day or self.per_hour)


@dataclass(frozen=True, slots=True)
class WorkspaceLimits:
    """Messages to one person in any 24 hours, over all sequences; None: no limit.

    `sms_segments`: the most that a text message may take.
    """

    per_person_per_day: int | None = None
    sms_segments: int = 6


@dataclass(frozen=True, slots=True)
class MailboxView:
    """A connected sending identity, as the scheduler (zone) and the sender (everything) see it."""

    PROJECTION: ClassVar[Document] = {
        "workspace_id": 1,
        "address": 1,
        "display_name": 1,
        "owner_id": 1,
        "signature": 1,
        "zone": 1,
        "country": 1,
        "windows": 1,
        "time_off": 1,
        "limits": 1,
        "smtp": 1,
        "signing_domain": 1,
        "imap.since": 1,
        "signature_html": 1,
        "signature_at_end": 1,
        "reply_to": 1,
        "oauth": 1,
        "owner_tokens": 1,
    }
    id: UUID
    workspace_id: UUID
    address: str
    display_name: str
    owner_id: UUID
    signature: str
    zone: str | None
    country: str | None
    windows: dict[str, list[str]] | None
    time_off: tuple[str, ...]  # ISO dates, or "from/to"
    smtp: SmtpIdentity
    limits: MailboxLimits = MailboxLimits()
    signing_domain: str | None = None  # whose keys of ours sign what it sends; None: its provider signs
    watched: bool = False  # what is written to it is read
    signature_html: str = ""
    signature_at_end: bool = False  # below every e-mail that does not place it itself
    reply_to: str | None = None
    oauth: OAuthGrant | None = None  # what it logs in with where `smtp.auth` says so
    owner_tokens: Mapping[str, str] = field(default_factory=dict)  # its owner's: my_title ...

    @classmethod
    def read(cls, doc: Document) -> Self:
        smtp, oauth = doc["smtp"], doc.get("oauth")
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["address"],
            doc.get("display_name", ""),
            doc["owner_id"],
            doc.get("signature", ""),
            doc.get("zone"),
            doc.get("country"),
            doc.get("windows"),
            tuple(doc.get("time_off") or ()),
            SmtpIdentity(
                smtp["host"],
                smtp["port"],
                smtp["security"],
                smtp.get("username"),
                smtp.get("secret"),
                smtp.get("auth", "password"),
            ),
            MailboxLimits.read(doc.get("limits")),
            doc.get("signing_domain"),
            bool(doc.get("imap")),
            doc.get("signature_html", ""),
            doc.get("signature_at_end", False),
            doc.get("reply_to"),
            OAuthGrant.read(oauth) if oauth else None,
            doc.get("owner_tokens") or {},
        )


@dataclass(frozen=True, slots=True)
class AttachmentView:
    """A file that mails take along; it never changes once it is uploaded."""

    PROJECTION: ClassVar[Document] = {"workspace_id": 1, "filename": 1, "content_type": 1, "content": 1}
    id: UUID
    workspace_id: UUID
    filename: str
    content_type: str
    content: bytes

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"], doc["workspace_id"], doc["filename"], doc["content_type"], bytes(doc["content"])
        )


@dataclass(frozen=True, slots=True)
class SigningView:
    """The keys that sign for a domain, one of each algorithm; of several sets the last activated signs."""

    PROJECTION: ClassVar[Document] = {
        "workspace_id": 1,
        "domain": 1,
        "keys.selector": 1,
        "keys.secret": 1,
        "activated_at": 1,
    }
    workspace_id: UUID
    domain: str
    keys: tuple[tuple[str, str], ...]  # selector and encrypted private key (PKCS 8 PEM)
    activated_at: datetime | None

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["workspace_id"],
            doc["domain"],
            tuple((key["selector"], key["secret"]) for key in doc["keys"]),
            doc.get("activated_at"),
        )


@dataclass(frozen=True, slots=True)
class SmsNumberView:
    """A phone number as the sender sees it; `provider` and `url` say how it sends, `secret` is encrypted.

    `account` is Twilio's account sid. A number without what its provider needs only receives.
    """

    PROJECTION: ClassVar[Document] = {
        "workspace_id": 1,
        "number": 1,
        "owner_id": 1,
        "provider": 1,
        "account_sid": 1,
        "url": 1,
        "receipts_url": 1,
        "auth_token": 1,
        "idempotent": 1,
        "limits": 1,
    }
    id: UUID
    workspace_id: UUID
    number: str
    owner_id: UUID
    provider: str  # twilio | webhook
    account: str | None
    url: str | None
    receipts_url: str | None
    secret: str
    idempotent: bool = False  # a webhook that sends a message once, however often it is asked
    limits: NumberLimits = NumberLimits()

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["number"],
            doc["owner_id"],
            doc.get("provider", "twilio"),
            doc.get("account_sid"),
            doc.get("url"),
            doc.get("receipts_url"),
            doc["auth_token"],
            doc.get("idempotent", False),
            NumberLimits(**(doc.get("limits") or {})),
        )

    @property
    def can_send(self) -> bool:
        """Whether it has what its provider needs to send."""
        return bool(self.account if self.provider == "twilio" else self.url)


@dataclass(frozen=True, slots=True)
class ImapIdentity:
    """How a mailbox is read. `secret` is encrypted: the password, or for `xoauth2` an access token; None for
    `oauth2`, where the mailbox's grant is the login.

    `since` is the real instant at which it was connected; what is older is nobody's answer.
    """

    host: str
    port: int
    security: str  # tls | starttls | none
    auth: str  # password | xoauth2 | oauth2
    username: str
    secret: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class WatchedMailbox:
    """A mailbox with an IMAP server, as its watcher sees it."""

    PROJECTION: ClassVar[Document] = {"workspace_id": 1, "imap": 1, "oauth": 1}
    id: UUID
    workspace_id: UUID
    imap: ImapIdentity
    oauth: OAuthGrant | None = None

    @classmethod
    def read(cls, doc: Document) -> Self:
        oauth = doc.get("oauth")
        return cls(
            doc["_id"],
            doc["workspace_id"],
            ImapIdentity(**doc["imap"]),
            OAuthGrant.read(oauth) if oauth else None,
        )


@dataclass(frozen=True, slots=True)
class WatchingView:
    """How watching a mailbox goes, as people see it: `trouble` is a word of the watcher's; real instants."""

    PROJECTION: ClassVar[Document] = {
        "workspace_id": 1,
        "looked_at": 1,
        "failing_since": 1,
        "trouble": 1,
        "words": 1,
    }
    id: UUID
    looked_at: datetime | None
    failing_since: datetime | None
    trouble: str | None
    words: str

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc.get("looked_at"),
            doc.get("failing_since"),
            doc.get("trouble"),
            doc.get("words", ""),
        )


@dataclass(frozen=True, slots=True)
class MailboxStateView:
    """What the sender has seen of a mailbox's server, as people see it; business instants.

    `refusal`: what the server refuses, `reason`, `code`, since when, when last (`at`), and until when nothing
    is tried (`until`); None: it takes mail. `day`: the mailbox's own, to which the counts belong.
    """

    PROJECTION: ClassVar[Document] = {"workspace_id": 1, "refusal": 1, "deferrals": 1}
    id: UUID
    refusal: Document | None
    day: str
    deferred: int
    rate_limited: int
    unreachable: int

    @classmethod
    def read(cls, doc: Document) -> Self:
        deferrals = doc.get("deferrals") or {}
        return cls(
            doc["_id"],
            doc.get("refusal"),
            deferrals.get("day", ""),
            deferrals.get("deferred", 0),
            deferrals.get("rate_limited", 0),
            deferrals.get("unreachable", 0),
        )


@dataclass(frozen=True, slots=True)
class Footer:
    """What the law asks for at the end of a message. Empty `postal_address`: none is set up.

    `reason`: why people are written to, in the workspace's own words; empty: in ours, in their language.
    `language`: of people whose own is not known. `link`: whether messages offer a link to unsubscribe.
    """

    postal_address: str = ""
    reason: str = ""
    language: str = "en"
    link: bool = True


@dataclass(frozen=True, slots=True)
class WorkspaceView:
    """The organisation's defaults. `in_doubt_policy`: wait (a person decides) or resend."""

    PROJECTION: ClassVar[Document] = dict.fromkeys(
        ("tokens", "token_definitions", "in_doubt_policy", "name", "limits", "footer"), 1
    )
    id: UUID
    name: str
    tokens: dict[str, str]
    in_doubt_policy: str
    limits: WorkspaceLimits = WorkspaceLimits()
    footer: Footer = Footer()
    token_types: Mapping[str, str] = field(default_factory=dict)  # of the custom tokens that are defined

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc.get("name", ""),
            doc.get("tokens") or {},
            doc.get("in_doubt_policy", "wait"),
            WorkspaceLimits(**(doc.get("limits") or {})),
            Footer(**(doc.get("footer") or {})),
            {name: each["type"] for name, each in (doc.get("token_definitions") or {}).items()},
        )


@dataclass(frozen=True, slots=True)
class RetentionView:
    """How many days a workspace keeps the words that it sent, and those that it received; None: for ever."""

    PROJECTION: ClassVar[Document] = {"retention": 1}
    DAYS: ClassVar[int] = 365
    """Of a workspace that has not said anything."""
    id: UUID
    bodies_days: int | None = DAYS
    inbound_days: int | None = DAYS

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["_id"], **(doc.get("retention") or {}))


@dataclass(frozen=True, slots=True)
class CalendarView:
    """A workspace's own days off, `team` in a sequence, and since when (business time) they are these."""

    PROJECTION: ClassVar[Document] = {"days": 1, "changed_at": 1}
    id: UUID
    days: tuple[str, ...]  # ISO dates
    changed_at: datetime

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["_id"], tuple(doc["days"]), doc["changed_at"])


@dataclass(frozen=True, slots=True)
class PersonView:
    """Whom we write to; `prospect` is the contract's Prospect as data."""

    PROJECTION: ClassVar[Document] = {"workspace_id": 1, "prospect": 1, "company_key": 1}
    id: UUID
    workspace_id: UUID
    prospect: Document
    company_key: str | None

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["_id"], doc["workspace_id"], doc["prospect"], doc.get("company_key"))


@dataclass(frozen=True, slots=True)
class EnrollmentView:
    """The truth about an enrollment as the sender reads it before it acts."""

    PROJECTION: ClassVar[Document] = {
        "workspace_id": 1,
        "state": 1,
        "stage_id": 1,
        "stage_index": 1,
        "attempt": 1,
        "send_before": 1,
        "sequence_id": 1,
        "sequence_version": 1,
        "person_id": 1,
        "company_id": 1,
        "company_key": 1,
        "mailbox_id": 1,
        "owner_id": 1,
        "is_test": 1,
        "ended": 1,
        "edits": 1,
    }
    id: UUID
    workspace_id: UUID
    state: str
    stage_id: str | None
    stage_index: int
    attempt: int
    send_before: datetime | None
    sequence_id: UUID
    sequence_version: int
    person_id: UUID
    company_id: UUID | None
    company_key: str | None
    mailbox_id: UUID
    owner_id: UUID
    is_test: bool
    ended: bool
    edits: dict[str, dict[str, str]]  # stage id to changed subject and text, for this person only

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["state"],
            doc.get("stage_id"),
            doc.get("stage_index", 0),
            doc.get("attempt", 0),
            doc.get("send_before"),
            doc["sequence_id"],
            doc["sequence_version"],
            doc["person_id"],
            doc.get("company_id"),
            doc.get("company_key"),
            doc["mailbox_id"],
            doc["owner_id"],
            doc.get("is_test", False),
            doc["ended"],
            doc.get("edits") or {},
        )

    def hold_ids(self) -> tuple[str, ...]:
        """The ids of every hold that could be over this enrollment."""
        scopes = (
            ("enrollment", self.id),
            ("person", self.person_id),
            ("company", self.company_id),
            ("sequence", self.sequence_id),
            ("mailbox", self.mailbox_id),
            ("workspace", self.workspace_id),
            ("ownership", self.sequence_id),
            ("ownership", self.mailbox_id),
            ("delegation", delegation_id(self.mailbox_id, self.owner_id)),
            ("operations", self.workspace_id),
        )
        return tuple(hold_id(scope, key) for scope, key in scopes if key is not None)


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """What the reply detector needs of a delivery: which enrollment a Message-ID belongs to.

    `provider_message_id`: under which the provider sent it, where that is another one.
    """

    PROJECTION: ClassVar[Document] = {
        "workspace_id": 1,
        "enrollment_id": 1,
        "stage_id": 1,
        "message_id": 1,
        "provider_message_id": 1,
        "mailbox_id": 1,
        "recipient": 1,
        "state": 1,
        "bcc": 1,
        "traceparent": 1,
    }
    id: str
    workspace_id: UUID
    enrollment_id: UUID
    stage_id: str
    message_id: str | None
    mailbox_id: UUID
    recipient: str | None
    provider_message_id: str | None = None
    state: str = "sent"
    bcc: tuple[str, ...] = ()  # who got a copy
    traceparent: str | None = None

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["enrollment_id"],
            doc["stage_id"],
            doc.get("message_id"),
            doc["mailbox_id"],
            doc.get("recipient"),
            doc.get("provider_message_id"),
            doc["state"],
            tuple(doc.get("bcc") or ()),
            doc.get("traceparent"),
        )

    def is_named(self, message_ids: Collection[str]) -> bool:
        """Whether one of these is the id of this message."""
        return self.message_id in message_ids or self.provider_message_id in message_ids


@dataclass(frozen=True, slots=True)
class TextedView:
    """From which phone number a text message of an enrollment went, or was about to."""

    PROJECTION: ClassVar[Document] = {"enrollment_id": 1, "number_id": 1}
    enrollment_id: UUID
    number_id: UUID

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["enrollment_id"], doc["number_id"])


@dataclass(frozen=True, slots=True)
class DoubtView:
    """A delivery in doubt that the mailbox's own copy may prove to have been sent."""

    PROJECTION: ClassVar[Document] = {"message_id": 1}
    id: str
    message_id: str

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["_id"], doc["message_id"])


@dataclass(frozen=True, slots=True)
class SentView:
    """A delivery that was sent, with the subject that it has."""

    PROJECTION: ClassVar[Document] = {**DeliveryView.PROJECTION, "subject": 1}
    delivery: DeliveryView
    subject: str

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(DeliveryView.read(doc), doc.get("subject") or "")


@dataclass(frozen=True, slots=True)
class TrackedView:
    """What the api needs of a delivery whose opens or clicks are measured; times are business instants.

    `links`: where each of its links leads, the first one under number 1.
    """

    PROJECTION: ClassVar[Document] = dict.fromkeys(
        (
            *("workspace_id", "enrollment_id", "person_id", "sequence_id", "sequence_version", "stage_id"),
            *("stage_index", "owner_id", "mailbox_id", "is_test", "sent_at", "transmitted_at", "tracking"),
            "variant",
        ),
        1,
    )
    id: str
    workspace_id: UUID
    enrollment_id: UUID
    person_id: UUID
    sequence_id: UUID
    sequence_version: int
    stage_id: str
    stage_index: int
    owner_id: UUID
    mailbox_id: UUID
    is_test: bool
    sent_at: datetime | None
    opens: bool
    links: tuple[str, ...]
    variant: str | None = None

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            doc["_id"],
            doc["workspace_id"],
            doc["enrollment_id"],
            doc["person_id"],
            doc["sequence_id"],
            doc["sequence_version"],
            doc["stage_id"],
            doc["stage_index"],
            doc["owner_id"],
            doc["mailbox_id"],
            doc["is_test"],
            doc.get("sent_at") or doc.get("transmitted_at"),
            doc["tracking"]["opens"],
            tuple(doc["tracking"]["links"]),
            doc.get("variant"),
        )


@dataclass(frozen=True, slots=True)
class EngagementView:
    """What the scheduler needs to know of a message's opens, or of the clicks on one of its links."""

    PROJECTION: ClassVar[Document] = {"dispatch_id": 1, "kind": 1, "human": 1}
    dispatch_id: str
    kind: str  # opened | clicked
    human: int  # how often by people, as far as can be told

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["dispatch_id"], doc["kind"], doc["human"])


@dataclass(frozen=True, slots=True)
class StoppedView:
    """What the reply detector measures: which cause ended an enrollment, and when (a real instant)."""

    PROJECTION: ClassVar[Document] = {"stop": 1, "updated_at": 1}
    id: UUID
    cause_id: UUID
    written_at: datetime

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(doc["_id"], doc["stop"]["cause_id"], doc["updated_at"])


@dataclass(frozen=True, slots=True)
class EnrollmentStory:
    """An enrollment as people see it: where it stands, what is planned and why, what happened.

    A tombstone (a stop that came before its enroll) has none of the other fields.
    """

    PROJECTION: ClassVar[Document] = dict.fromkeys(
        (
            *("workspace_id", "state", "sequence_id", "sequence_version", "person_id", "external_id"),
            *("generation", "company_key", "owner_id", "mailbox_id", "is_test", "stage_id", "stage_index"),
            *("channel", "attempt", "planned_at", "send_before", "zone", "reasons", "parked_by", "stop"),
            *("failure", "edits", "history", "created_at", "ended", "ended_at", "tombstone", "broken"),
            "warnings",
        ),
        1,
    )
    LAST_EVENT: ClassVar[Document] = {**PROJECTION, "history": {"$slice": -1}}
    id: UUID
    state: str
    sequence_id: UUID
    sequence_version: int
    person_id: UUID
    external_id: str
    generation: int
    company_key: str | None
    owner_id: UUID
    mailbox_id: UUID
    is_test: bool
    stage_id: str | None
    stage_index: int | None
    channel: str | None
    attempt: int
    planned_at: datetime | None
    send_before: datetime | None
    zone: str | None
    reasons: tuple[Document, ...]
    parked_by: str | None
    stop: Document | None
    failure: str | None
    edits: dict[str, dict[str, str]]
    history: tuple[Document, ...]
    created_at: datetime
    ended: bool
    ended_at: datetime | None
    broken: Document | None  # it can't be carried on for now: work, tries, since, again_at, error
    warnings: tuple[Document, ...]  # what enrolling said that did not refuse it: code, detail

    @classmethod
    def read(cls, doc: Document) -> Self:
        given = (
            *("channel", "planned_at", "send_before", "zone", "parked_by", "stop", "failure", "ended_at"),
            "broken",
        )
        required = (
            *("state", "sequence_id", "sequence_version", "person_id", "external_id", "owner_id"),
            *("mailbox_id", "created_at", "ended"),
        )
        return cls(
            id=doc["_id"],
            generation=doc.get("generation", 1),
            company_key=doc.get("company_key"),
            is_test=doc.get("is_test", False),
            stage_id=doc.get("stage_id"),
            stage_index=doc.get("stage_index"),
            attempt=doc.get("attempt", 0),
            reasons=tuple(doc.get("reasons") or ()),
            warnings=tuple(doc.get("warnings") or ()),
            edits=doc.get("edits") or {},
            history=tuple(doc.get("history") or ()),
            **dict[str, Any]({name: doc.get(name) for name in given}),
            **dict[str, Any]({name: doc[name] for name in required}),
        )


@dataclass(frozen=True, slots=True)
class DeliveryStory:
    """A delivery as people see it: the message as it was sent, or the task and what became of it."""

    PROJECTION: ClassVar[Document] = dict.fromkeys(
        (
            *("workspace_id", "enrollment_id", "stage_id", "stage_index", "sequence_id", "person_id"),
            *("mailbox_id", "owner_id", "channel", "attempt", "state", "recipient", "subject", "text"),
            *("message_id", "until", "reason", "code", "sent_at", "settled_at", "task"),
            *("transmitted_at", "looks", "evidence", "decision", "decided_by", "erased_at"),
            *("person_erased_at", "variant"),
        ),
        1,
    )
    id: str
    enrollment_id: UUID
    stage_id: str
    stage_index: int | None
    sequence_id: UUID | None
    person_id: UUID | None
    mailbox_id: UUID | None
    owner_id: UUID | None
    channel: str | None
    attempt: int
    state: str
    recipient: str | None
    subject: str | None
    text: str | None
    message_id: str | None
    until: datetime | None
    reason: str | None
    code: str | None
    sent_at: datetime | None
    settled_at: datetime | None
    task: Document | None
    transmitted_at: datetime | None  # the last time that a byte of it may have left
    looks: Document | None  # where it was looked for in vain: {what: {at, times, places}}
    evidence: Document | None  # by what it is known to have been sent: kind, at, was
    decision: str | None
    decided_by: str | None
    erased_at: datetime | None  # its words were erased by the workspace's rule, or with the person
    person_erased_at: datetime | None
    variant: str | None  # in which of the stage's variants it was written

    @classmethod
    def read(cls, doc: Document) -> Self:
        given = (
            *("stage_index", "sequence_id", "person_id", "mailbox_id", "owner_id", "channel", "recipient"),
            *("subject", "text", "message_id", "until", "reason", "code", "sent_at", "settled_at", "task"),
            *("transmitted_at", "looks", "evidence", "decision", "decided_by", "erased_at"),
            *("person_erased_at", "variant"),
        )
        return cls(
            id=doc["_id"],
            enrollment_id=doc["enrollment_id"],
            stage_id=doc["stage_id"],
            attempt=doc.get("attempt", 0),
            state=doc["state"],
            **dict[str, Any]({name: doc.get(name) for name in given}),
        )


@dataclass(frozen=True, slots=True)
class AnswerView:
    """A message about somebody in a sequence, as people see it.

    `answer`: what it counts as, whom it is from and what it says; `effect`: what it did; `match_by`: how it
    was found; `verdict_kind`, `verdict_intent`: the machine's own words.
    """

    PROJECTION: ClassVar[Document] = {
        "mailbox_id": 1,
        "received_at": 1,
        "source": 1,
        "state": 1,
        "answer": 1,
        "match.by": 1,
        "effect": 1,
        "verdict.kind": 1,
        "verdict.intent": 1,
        "corrections": 1,
        "confirmed_at": 1,
        "erased_at": 1,
        "person_erased_at": 1,
    }
    id: UUID
    mailbox_id: UUID
    received_at: datetime
    source: str
    state: str
    answer: Document
    effect: Document
    match_by: str
    verdict_kind: str
    verdict_intent: str | None
    corrections: tuple[Document, ...]
    confirmed_at: datetime | None
    erased_at: datetime | None  # its words were erased by the workspace's rule, or with the person
    person_erased_at: datetime | None

    @classmethod
    def read(cls, doc: Document) -> Self:
        return cls(
            id=doc["_id"],
            mailbox_id=doc["mailbox_id"],
            received_at=doc["received_at"],
            source=doc["source"],
            state=doc["state"],
            answer=doc["answer"],
            effect=doc["effect"],
            match_by=doc["match"]["by"],
            verdict_kind=doc["verdict"]["kind"],
            verdict_intent=doc["verdict"].get("intent"),
            corrections=tuple(doc.get("corrections") or ()),
            confirmed_at=doc.get("confirmed_at"),
            erased_at=doc.get("erased_at"),
            person_erased_at=doc.get("person_erased_at"),
        )


def hold_is_active(doc: Document, now: datetime) -> bool:
    """Whether a hold document holds at the business instant `now`: not lifted, not past its end."""
    until = doc.get("until")
    return doc.get("lifted_at") is None and (until is None or until > now)
