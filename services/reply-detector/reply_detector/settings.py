"""What the reply detector can be told from outside."""

from pydantic import Field

from chassis.secrets import SecretSettings
from chassis.settings import ServiceSettings


class DetectorSettings(ServiceSettings, SecretSettings):
    """The service's own settings; seconds are real ones."""

    auto_reply_hold_days: float = Field(
        default=3.0, gt=0, le=60, description="how long an absence without a return date holds a person"
    )
    inbound_patience_seconds: float = Field(
        default=30.0, gt=0, description="a stored message without a verdict after that is taken without Kafka"
    )
    inbound_sweep_seconds: float = Field(default=1.0, gt=0, description="between two looks at what waits")
    inbound_sweep_batch: int = Field(default=200, ge=1, le=5000, description="messages in one look")
