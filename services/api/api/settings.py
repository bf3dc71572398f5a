"""What the API can be told from outside."""

from pydantic import AnyHttpUrl, Field

from chassis.hosts import HostSettings
from chassis.rates import RateSettings
from chassis.secrets import SecretSettings
from chassis.settings import ClockSettings, MongoSettings, ServiceSettings


class BootstrapSettings(MongoSettings, ClockSettings):
    """What making a workspace needs: the database, and no Kafka."""


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
    live_pages: int = Field(default=200, ge=0, description="open live pages in this process; 0 is none")

    @property
    def is_public(self) -> bool:
        """Whether somebody has said where people reach this API."""
        return "public_url" in self.model_fields_set

    @property
    def base_url(self) -> str:
        """`public_url` without the slash at its end."""
        return str(self.public_url).rstrip("/")
