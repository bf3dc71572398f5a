"""What the API can be told from outside."""

from enum import StrEnum
from typing import Self

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator

from chassis.hosts import HostSettings
from chassis.rates import RateSettings
from chassis.secrets import SecretSettings
from chassis.settings import ClockSettings, MongoSettings, ServiceSettings


class SignIn(StrEnum):
    """How people sign in: not at all, through an OpenID provider, or (on one machine) by choosing a user."""

    NONE = "none"
    OIDC = "oidc"
    DEV = "dev"


class BootstrapSettings(MongoSettings, ClockSettings):
    """What making a workspace needs: the database, and no Kafka."""


class KeySettings(MongoSettings, SecretSettings):
    """What storing secrets again needs."""


class ApiSettings(ServiceSettings, SecretSettings, RateSettings, HostSettings):
    """The service's own settings; seconds are real ones."""

    public_url: AnyHttpUrl = Field(
        default=AnyHttpUrl("http://127.0.0.1:8080"), description="where clients reach this API, for links"
    )
    command_sweep_seconds: float = Field(default=1.0, gt=0, description="between two looks at open commands")
    command_patience_seconds: float = Field(
        default=5.0, gt=0, description="a command without a result after that is published again"
    )
    command_batch: int = Field(default=500, ge=1, le=5000, description="commands in one look")
    erasure_sweep_seconds: float = Field(
        default=5.0, gt=0, description="between two looks for people who are to be erased"
    )
    scheduler_url: AnyHttpUrl = Field(
        default=AnyHttpUrl("http://127.0.0.1:8081"), description="where a scheduler's HTTP is, for inquiries"
    )
    inquiry_seconds: float = Field(default=15.0, gt=0, description="how long a scheduler may take to answer")
    dns_seconds: float = Field(default=8.0, gt=0, description="how long DNS may take for one check in all")
    tracking_soon_seconds: float = Field(
        default=10.0, ge=0, description="nobody has read a message so soon after it has gone out"
    )
    intake_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=64 * 1024 * 1024,
        description="bytes of webhooks' posts held at once, each some three times; more get a 503",
    )
    live_page_seconds: float = Field(default=2.0, gt=0, description="between two looks of a live page")
    counts_seconds: float = Field(
        default=10.0, gt=0, description="between two counts of a sequence that somebody looks at"
    )
    live_pages: int = Field(default=200, ge=0, description="open live pages in this process; 0 is none")

    webhook_sweep_seconds: float = Field(default=1.0, gt=0, description="between two looks at what to send")
    webhook_seconds: float = Field(default=15.0, gt=0, description="how long a webhook may take to answer")
    webhook_patience_days: float = Field(
        default=5.0, gt=0, description="a webhook that fails for so long is disabled"
    )
    key_requests_per_second: float = Field(
        default=50.0, gt=0, description="requests with one API key, in each process"
    )
    key_burst: int = Field(default=200, ge=1, description="requests that a key may send at once")
    key_stream_bytes_per_second: float = Field(
        default=4_000_000.0, gt=0, description="of the streams of one API key, in each process"
    )

    sign_in: SignIn = Field(
        default=SignIn.NONE, description="oidc, or dev: anybody is whoever they choose, on one machine only"
    )
    oidc_issuer: AnyHttpUrl | None = Field(default=None, description="the OpenID provider, for sign_in=oidc")
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_audience: str = Field(
        default="", description="of access tokens that are taken in place of a key; empty: of none"
    )
    production: bool = Field(default=False, description="refuse whatever is meant for one machine only")

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        if self.sign_in is SignIn.OIDC and not (
            self.oidc_issuer and self.oidc_client_id and self.oidc_client_secret.get_secret_value()
        ):
            raise ValueError(
                "SEGUE_SIGN_IN=oidc needs SEGUE_OIDC_ISSUER, SEGUE_OIDC_CLIENT_ID "
                "and SEGUE_OIDC_CLIENT_SECRET"
            )
        if self.oidc_audience and (
            self.sign_in is not SignIn.OIDC or self.oidc_audience == self.oidc_client_id
        ):
            raise ValueError(
                "SEGUE_OIDC_AUDIENCE needs SEGUE_SIGN_IN=oidc, and must differ from SEGUE_OIDC_CLIENT_ID: "
                "an ID token of a sign-in must not open the API"
            )
        return self

    @model_validator(mode="after")
    def _dev_is_for_one_machine(self) -> Self:
        if self.sign_in is not SignIn.DEV:
            return self
        if self.production or self.public_url.host not in ("127.0.0.1", "localhost", "[::1]"):
            raise ValueError(
                "SEGUE_SIGN_IN=dev lets anybody be anybody: it is for one machine, without SEGUE_PRODUCTION "
                "and with a SEGUE_PUBLIC_URL of 127.0.0.1 or localhost. Use SEGUE_SIGN_IN=oidc"
            )
        return self

    @property
    def is_public(self) -> bool:
        """Whether somebody has said where people reach this API."""
        return "public_url" in self.model_fields_set

    @property
    def base_url(self) -> str:
        """`public_url` without the slash at its end."""
        return str(self.public_url).rstrip("/")
