"""What the reply detector can be told from outside."""

from pathlib import Path

from pydantic import Field

from chassis.hosts import HostSettings
from chassis.rates import RateSettings
from chassis.secrets import SecretSettings
from chassis.settings import ServiceSettings


class DetectorSettings(ServiceSettings, SecretSettings, RateSettings):
    """The service's own settings; seconds are real ones."""

    auto_reply_hold_days: float = Field(
        default=3.0, gt=0, le=60, description="how long an absence without a return date holds a person"
    )
    soft_bounce_hold_days: float = Field(
        default=3.0, gt=0, le=60, description="how long a bounce for now holds a person"
    )
    soft_bounce_limit: int = Field(
        default=3, ge=1, le=20, description="so many in a row count as a bounce for good"
    )
    manual_mail_hold_days: float = Field(
        default=3.0, gt=0, le=60, description="how long a mail written by hand holds the sequence"
    )
    inbound_patience_seconds: float = Field(
        default=30.0, gt=0, description="a stored message without a verdict after that is taken without Kafka"
    )
    inbound_sweep_seconds: float = Field(default=1.0, gt=0, description="between two looks at what waits")
    inbound_sweep_batch: int = Field(default=200, ge=1, le=5000, description="messages in one look")
    mailbox_sweep_seconds: float = Field(default=30.0, gt=0, description="between two looks at the rates")
    retention_sweep_seconds: float = Field(
        default=600.0, gt=0, description="between two looks for words that are to be erased"
    )
    erasure_sweep_seconds: float = Field(
        default=5.0, gt=0, description="between two looks for people who are to be erased"
    )


class WatcherSettings(ServiceSettings, SecretSettings, HostSettings):
    """The mailbox watcher's settings; seconds are real ones."""

    imap_threads: int = Field(
        default=32, ge=1, le=500, description="mailboxes that are spoken with at the same moment"
    )
    imap_connections: int = Field(
        default=2000, ge=0, description="held open, to be told at once; further mailboxes are polled"
    )
    imap_poll_seconds: float = Field(
        default=60.0, gt=0, description="between two looks at the Sent folder, and at what does not tell"
    )
    imap_retry_seconds: float = Field(
        default=2.0, gt=0, description="before the second try at a server that failed; then it doubles"
    )
    imap_step_seconds: float = Field(
        default=45.0, gt=0, description="one exchange with a server; for large messages more, by their size"
    )
    imap_mailboxes_seconds: float = Field(
        default=5.0, gt=0, description="how soon a mailbox that was connected or changed is noticed"
    )
    imap_tls_cafile: Path | None = Field(
        default=None, description="certificates to trust instead of the system's"
    )
