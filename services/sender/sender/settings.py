"""The sender's settings, and the relations between its deadlines that the protocol stands on."""

import re
import socket
from typing import Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator

from chassis.hosts import HostSettings
from chassis.secrets import SecretSettings
from chassis.settings import ServiceSettings

DOUBT_SECONDS = 5.0
"""At the end of the time to stop, for marking in doubt what is still in DATA."""


class SenderSettings(ServiceSettings, SecretSettings, HostSettings):
    """Everything in `_seconds` is real time.

    A claim must outlive its own transmission, and the scheduler must not ask again before a claim can be
    taken over: redelivery > claim lease > SMTP total + batch. Stopping takes as long as DATA may.
    """

    redelivery_seconds: float = Field(
        default=120.0, gt=0, description="the scheduler asks again after this long; the same value there"
    )
    claim_lease_seconds: float = Field(default=100.0, gt=0, description="then another sender may take over")
    smtp_total_seconds: float = Field(default=75.0, gt=0, description="connect to the reply after the dot")
    doubt_margin_seconds: float = Field(
        default=5.0, gt=0, description="after the SMTP total a silent transmission counts as in doubt"
    )
    batch_seconds: float = Field(
        default=15.0, gt=0, description="from the claim to the SMTP connection, waiting for room included"
    )
    read_age_seconds: float = Field(
        default=2.0, gt=0, description="no DATA begins on an older read of the enrollment"
    )
    room_seconds: float = Field(default=5.0, gt=0, description="no room by then is a deferral, reason busy")
    busy_seconds: float = Field(default=60.0, gt=0, description="how long a deferral for want of room lasts")
    max_in_flight: int = Field(
        default=1000,
        ge=1,
        description="claimed deliveries in memory; more than go out in two seconds are read twice",
    )
    max_per_host: int = Field(
        default=500, ge=1, description="of these, waiting for one mail server that is slow: it never has all"
    )
    smtp_per_mailbox: int = Field(default=2, ge=1, description="connections at a time")
    smtp_per_host: int = Field(default=10, ge=1, description="connections at a time")
    per_domain_per_minute: int | None = Field(
        default=None, ge=1, description="messages to one recipient domain, from this process; default: any"
    )
    public_url: AnyHttpUrl | None = Field(
        default=None, description="where people reach the API; unless it is https, mails have no link there"
    )
    ehlo_hostname: str = Field(
        default_factory=lambda: re.sub("[^A-Za-z0-9.-]", "-", socket.gethostname())[:255],
        pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$",
        description="what we call ourselves to mail servers; better a name that resolves to us",
    )
    backoff_base_seconds: float = Field(default=60.0, gt=0, description="after the first soft failure")
    backoff_cap_seconds: float = Field(default=4 * 3600.0, gt=0)
    notify_smtp_host: str | None = Field(
        default=None, description="the server that mails to users (task digests) go through; none: no mails"
    )
    notify_smtp_port: int = Field(default=587, ge=1, le=65535)
    notify_smtp_security: Literal["none", "starttls", "tls"] = "starttls"
    notify_smtp_username: str = ""
    notify_smtp_password: SecretStr = SecretStr("")
    notify_from: str | None = Field(
        default=None, pattern=r"^[^@\s<>]+@[^@\s<>]+$", description="the address that mails to users are from"
    )
    retention_sweep_seconds: float = Field(
        default=600.0, gt=0, description="between two looks for words that are to be erased"
    )
    erasure_sweep_seconds: float = Field(
        default=5.0, gt=0, description="between two looks for people who are to be erased"
    )
    record_seconds: float = Field(
        default=60.0, gt=0, description="how long to go on trying to record what a server said"
    )
    shutdown_seconds: float = Field(
        default=95.0,
        gt=0,
        description="from the signal to the exit; must be enough for DATA in flight to end",
    )

    @model_validator(mode="after")
    def _notices_have_a_mailbox(self) -> Self:
        if (self.notify_smtp_host is None) != (self.notify_from is None):
            raise ValueError("SEGUE_NOTIFY_SMTP_HOST and SEGUE_NOTIFY_FROM belong together")
        return self

    @model_validator(mode="after")
    def _deadlines_nest(self) -> Self:
        if not self.redelivery_seconds > self.claim_lease_seconds:
            raise ValueError("SEGUE_REDELIVERY_SECONDS must be longer than SEGUE_CLAIM_LEASE_SECONDS")
        if not self.claim_lease_seconds > self.smtp_total_seconds + self.batch_seconds:
            raise ValueError(
                "SEGUE_CLAIM_LEASE_SECONDS must be longer than SEGUE_SMTP_TOTAL_SECONDS and "
                "SEGUE_BATCH_SECONDS together"
            )
        if not self.batch_seconds > self.room_seconds:
            raise ValueError("SEGUE_BATCH_SECONDS must be longer than SEGUE_ROOM_SECONDS")
        if not self.draining_seconds >= self.smtp_total_seconds + DOUBT_SECONDS:
            raise ValueError(
                f"SEGUE_SHUTDOWN_SECONDS leaves {self.draining_seconds:g} s for draining; it must be longer: "
                f"SEGUE_SMTP_TOTAL_SECONDS and {DOUBT_SECONDS:g} s have to fit"
            )
        return self
