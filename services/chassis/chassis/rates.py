"""How many bounces and complaints are too many for a mailbox: the detector pauses by it, the api warns."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.documents import Document
from chassis.settings import PREFIX

BOUNCE, COMPLAINT = "bounce", "complaint"
BY_SENDER = "sender"
"""Who holds a mailbox that its server refuses."""


@dataclass(frozen=True, slots=True)
class Rate:
    """More than this is too many: at least `least` of them, and this share of what was sent."""

    least: int
    share: float

    def is_over(self, counted: int, sent: int) -> bool:
        """Whether the mailbox must rest."""
        return counted >= self.least and counted >= self.share * sent

    def is_near(self, counted: int, sent: int) -> bool:
        """Whether it soon must: twice as many would be too many."""
        return counted > 0 and self.is_over(2 * counted, sent)


@dataclass(frozen=True, slots=True)
class Limits:
    """`window`: the days that are looked at; `least_sent`: below that, a share says nothing about bounces."""

    window: timedelta
    least_sent: int
    rates: Mapping[str, Rate]

    def exceeded(self, counted: Mapping[str, int], sent: int) -> str | None:
        """What there is too much of; complaints first, for they weigh more."""
        for kind in (COMPLAINT, BOUNCE):
            enough = kind == COMPLAINT or sent >= self.least_sent
            if enough and self.rates[kind].is_over(counted.get(kind, 0), sent):
                return kind
        return None

    def near(self, counted: Mapping[str, int], sent: int) -> list[str]:
        """What there soon will be too much of."""
        return [
            kind
            for kind in (COMPLAINT, BOUNCE)
            if (kind == COMPLAINT or sent >= self.least_sent)
            and self.rates[kind].is_near(counted.get(kind, 0), sent)
        ]


class RateSettings(BaseSettings):
    """The same values in the detector and in the api."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    mailbox_window_days: float = Field(
        default=7.0, gt=0, le=90, description="over which a mailbox's bounces and complaints are counted"
    )
    mailbox_least_sent: int = Field(default=20, ge=1, description="below that no bounce rate is looked at")
    mailbox_bounces: int = Field(default=5, ge=1, description="fewer bounces never pause a mailbox")
    mailbox_bounce_rate: float = Field(default=0.05, gt=0, le=1, description="of what was sent, that pauses")
    mailbox_complaints: int = Field(default=2, ge=1, description="fewer complaints never pause a mailbox")
    mailbox_complaint_rate: float = Field(
        default=0.003, gt=0, le=1, description="of what was sent, that pauses"
    )

    @property
    def mailbox_limits(self) -> Limits:
        """What these say."""
        rates = {
            BOUNCE: Rate(self.mailbox_bounces, self.mailbox_bounce_rate),
            COMPLAINT: Rate(self.mailbox_complaints, self.mailbox_complaint_rate),
        }
        return Limits(timedelta(days=self.mailbox_window_days), self.mailbox_least_sent, rates)


def counted_from(hold: Document | None, since: datetime) -> datetime:
    """What was before a person resumed the mailbox is forgiven: otherwise it would rest again at once.

    So is what was before a person's pause had its end; a hold of the sender's forgives nothing.
    """
    if hold is None:
        return since
    lifted: datetime | None = hold.get("last_lifted_at") or hold.get("lifted_at")
    over: datetime | None = None if hold.get("by") == BY_SENDER else hold.get("until")
    return max(each for each in (since, lifted, over) if each is not None)
