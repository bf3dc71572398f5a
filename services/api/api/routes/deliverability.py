"""What a mailbox's domain lacks for its mail to be accepted, with what to do about each."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.deliverability import Asked, State, judge, provider_of
from api.keys import KeyScope
from api.resolver import facts_of
from api.routes.footer import footer_of
from api.routes.mailboxes import existing
from api.routing import Answer, Call, Route, Shown
from api.signing import ascii_domain
from chassis.store import Document

Selector = Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]


class DeliverabilityQuery(BaseModel):
    """Where to look for the provider's DKIM key, if its selector is not one that we know of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    selector: Selector | None = Field(default=None, description="The s= of a message's DKIM-Signature")


class CheckShown(Shown):
    """One thing that receivers look at; `publish` is a DNS record that would mend it."""

    name: str = Field(examples=["spf", "dkim", "dmarc", "mx", "one_click"])
    state: State
    found: str
    to_do: list[str]
    publish: str | None


class Deliverability(Shown):
    """How the domain stands; `ready` is that nothing failed and everything was answered."""

    domain: str
    provider: str | None
    signs: str
    ready: bool
    checked_at: datetime
    checks: list[CheckShown]


async def check(call: Call) -> Answer:
    """Look up SPF, DKIM, DMARC and MX of a mailbox's domain now, and say what to mend, in that order."""
    mailbox = await existing(call)
    asked = await _asked(call, mailbox)
    facts = await facts_of(call.api.dns, asked, call.api.settings.dns_seconds)
    checks = judge(facts)
    provider = provider_of(asked.smtp_host)
    return Answer(
        Deliverability(
            domain=asked.domain,
            provider=provider.name if provider else None,
            signs="own" if asked.signs_own else "provider",
            ready=all(each.state in (State.OK, State.WARNING) for each in checks),
            checked_at=call.api.clock.real_now(),
            checks=[CheckShown.model_validate(each) for each in checks],
        )
    )


async def _asked(call: Call, mailbox: Document) -> Asked:
    domain = ascii_domain(mailbox["address"].rpartition("@")[2])
    sets = await call.api.store.signing.of(call.caller.workspace, domain)
    signs_own = mailbox.get("signing_domain") is not None
    own = sets[0] if signs_own and sets and sets[0]["activated_at"] is not None else None
    return Asked(
        domain=domain,
        smtp_host=mailbox["smtp"]["host"],
        public_url=call.api.settings.base_url,
        offers_one_click=await _offers_one_click(call),
        signs_own=signs_own,
        own_keys={key["selector"]: key["record"] for key in own["keys"]} if own else {},
        selector=call.query.selector,
    )


async def _offers_one_click(call: Call) -> bool:
    """Whether the sender has a URL to write, as far as its settings are ours, and may write it."""
    footer = await footer_of(call.api.store, call.caller.workspace)
    return call.api.settings.is_public and footer is not None and footer.link


ROUTES = (
    Route(
        "GET",
        "/v1/mailboxes/{mailbox_id}/deliverability",
        check,
        "Check what a mailbox's domain lacks",
        KeyScope.READ,
        answer=Deliverability,
        query=DeliverabilityQuery,
        tag="Mailboxes",
    ),
)
