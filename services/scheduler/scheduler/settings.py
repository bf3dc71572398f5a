"""The scheduler's settings."""

from typing import Self

from pydantic import Field, model_validator

from chassis.secrets import SecretSettings
from chassis.settings import ServiceSettings


class SchedulerSettings(ServiceSettings, SecretSettings):
    """Everything in `_seconds` is real time."""

    redelivery_seconds: float = Field(
        default=120.0, gt=0, description="a dispatch without an outcome is asked again; the sender's value"
    )
    ask_again_seconds: float = Field(
        default=900.0, gt=0, description="open tasks and dispatches in doubt are asked again"
    )
    poll_seconds: float = Field(default=0.2, gt=0, description="between two looks at what is due")
    sweep_seconds: float = Field(default=5.0, gt=0, description="between two rounds of the sweeps")

    @model_validator(mode="after")
    def _asks_again_later_than_redelivery(self) -> Self:
        if self.ask_again_seconds < self.redelivery_seconds:
            raise ValueError("SEGUE_ASK_AGAIN_SECONDS must be at least SEGUE_REDELIVERY_SECONDS")
        return self
