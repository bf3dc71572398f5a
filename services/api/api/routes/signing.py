"""Signing domains: the keys with which we sign, for mailboxes that no provider signs for."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from api.auditing import audit
from api.deliverability import parse_dkim, provider_of
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import FieldError, Problem, conflict, not_found, unavailable
from api.resolver import DnsTrouble, published
from api.routes.mailboxes import existing as existing_mailbox
from api.routing import Answer, Call, Closed, Empty, Route, Shown, Takes
from api.signing import NewKey, ascii_domain, new_keys, place_of, zone_line
from chassis.store import Document
from segue_contracts.text import Line

MAX_SETS = 2
"""One that signs, and one that follows it or went before."""


class NewSigningDomain(Closed):
    """Whose mail to sign."""

    domain: Annotated[Line, AfterValidator(ascii_domain)] = Field(examples=["ourco.example"])


class SigningKeyShown(Shown):
    """A key's public half: the TXT record to publish at `name`, and the same as a line of a zone file."""

    selector: str
    algorithm: Literal["rsa", "ed25519"]
    name: str
    record: str
    zone_line: str


class SigningDomainShown(Shown):
    """A set of keys; of a domain's sets the one that was activated last signs, and none before that."""

    id: UUID = Field(validation_alias="_id")
    domain: str
    keys: list[SigningKeyShown]
    created_at: datetime
    activated_at: datetime | None


class Signs(Closed):
    """Who signs what a mailbox sends: its provider, or we with the keys of its domain."""

    signs: Literal["provider", "own"]


def shown(signing: Document) -> SigningDomainShown:
    """What may be shown of a set."""
    return SigningDomainShown.model_validate(
        {**signing, "keys": [_key_shown(signing["domain"], key) for key in signing["keys"]]}
    )


def _key_shown(domain: str, key: Mapping[str, Any]) -> dict[str, str]:
    name = place_of(key["selector"], domain)
    return {
        "selector": key["selector"],
        "algorithm": key["algorithm"],
        "name": name,
        "record": key["record"],
        "zone_line": zone_line(name, key["record"]),
    }


async def existing(call: Call) -> Document:
    """The set that the path names; Problem 404 otherwise."""
    signing_id = call.uuid("signing_id", "signing domain")
    signing = await call.api.store.signing.one(call.caller.workspace, signing_id)
    if signing is None:
        raise not_found("signing domain")
    return signing


async def add(call: Call) -> Answer:
    """Make keys for a domain; publish their records, then activate them. Again for the next set."""
    domain: str = call.body.data.domain
    if len(await call.api.store.signing.of(call.caller.workspace, domain)) >= MAX_SETS:
        raise conflict("two-sets", f"{domain} has two sets of keys already: delete the one that is not used.")
    signing_id = call.ids.next()
    keys = await asyncio.to_thread(new_keys, f"segue-{signing_id.hex[:8]}")
    signing: Document = {
        "_id": signing_id,
        "workspace_id": call.caller.workspace,
        "domain": domain,
        "keys": [_stored(call, key) for key in keys],
        "created_at": call.api.clock.real_now(),
        "activated_at": None,
    }
    await audit(call, "signing_domain.added", signing_id, domain=domain)
    await call.api.store.signing.add(signing)
    location = call.api.url(f"/v1/signing-domains/{signing_id}")
    return Answer(shown(signing), HTTPStatus.CREATED, {"Location": location})


def _stored(call: Call, key: NewKey) -> Document:
    return {
        "selector": key.selector,
        "algorithm": key.algorithm,
        "record": key.record,
        "secret": call.api.secrets.encrypt(key.pem),
    }


async def list_them(call: Call) -> Answer:
    """Sets of keys, the newest first; private halves are never shown."""
    found, cursor = await call.api.store.signing.page(call.caller.workspace, call.query)
    return Answer(Page[SigningDomainShown](items=[shown(each) for each in found], next_cursor=cursor))


async def get(call: Call) -> Answer:
    """One set of keys."""
    return Answer(shown(await existing(call)))


async def activate(call: Call) -> Answer:
    """Sign with these keys from now on, if their records are published; leave the old ones for some days."""
    signing = await existing(call)
    if missing := await _unpublished(call, signing):
        detail = "Not all records are published as they are shown here, or DNS still keeps what was before."
        raise Problem(HTTPStatus.CONFLICT, "not-published", detail, missing)
    await audit(call, "signing_domain.activated", signing["_id"], domain=signing["domain"])
    now = call.api.clock.real_now()
    changed = await call.api.store.signing.activate(call.caller.workspace, signing["_id"], now)
    if changed is None:
        raise not_found("signing domain")
    return Answer(shown(changed))


async def _unpublished(call: Call, signing: Document) -> list[FieldError]:
    records = {key["selector"]: key["record"] for key in signing["keys"]}
    try:
        found = await published(
            call.api.dns, signing["domain"], tuple(records), call.api.settings.dns_seconds
        )
    except DnsTrouble:
        raise unavailable("DNS did not answer in time: try again.") from None
    return [
        FieldError(pointer=f"/keys/{index}", detail=f"{place_of(selector, signing['domain'])} is not it")
        for index, (selector, record) in enumerate(records.items())
        if not _is_published(record, found[selector])
    ]


def _is_published(record: str, texts: tuple[str, ...]) -> bool:
    try:
        return len(texts) == 1 and parse_dkim(texts[0]).public == parse_dkim(record).public
    except ValueError:
        return False


async def remove(call: Call) -> Answer:
    """Forget a set of keys: what they signed verifies as long as their records stay in DNS."""
    signing = await existing(call)
    workspace, domain = call.caller.workspace, signing["domain"]
    first = (await call.api.store.signing.of(workspace, domain))[:1]
    signs = signing["activated_at"] is not None and first[0]["_id"] == signing["_id"]
    if signs and await call.api.store.mailboxes.signing_own(workspace, domain):
        detail = "Mailboxes sign with these keys: activate others first, or let their provider sign."
        raise conflict("in-use", detail)
    await audit(call, "signing_domain.removed", signing["_id"], domain=domain)
    await call.api.store.signing.remove(workspace, signing["_id"])
    return Answer(status=HTTPStatus.NO_CONTENT)


async def set_signs(call: Call) -> Answer:
    """Say who signs what a mailbox sends; `own` only with keys that are activated, and not at a provider."""
    mailbox, wanted = await existing_mailbox(call), call.body.data
    provider = provider_of(mailbox["smtp"]["host"])
    if wanted.signs == "own" and provider is not None:
        detail = f"{provider.name} signs what it sends, and changes what would be signed: turn DKIM on there."
        raise conflict("provider-signs", detail)
    domain = ascii_domain(mailbox["address"].rpartition("@")[2]) if wanted.signs == "own" else None
    if domain is not None:
        sets = await call.api.store.signing.of(call.caller.workspace, domain)
        if not sets or sets[0]["activated_at"] is None:
            raise conflict("no-signing-keys", f"{domain} has no activated keys: see /v1/signing-domains.")
    await audit(call, "mailbox.signs", mailbox["_id"], signs=wanted.signs)
    fields = {"signing_domain": domain, "updated_at": call.api.clock.real_now()}
    if await call.api.store.mailboxes.change(mailbox, fields) is None:
        raise conflict("changed-meanwhile", "Somebody else changed this mailbox at this moment: try again.")
    return Answer(status=HTTPStatus.NO_CONTENT)


_MANY = "/v1/signing-domains"
_ONE = _MANY + "/{signing_id}"
_TAG = "Signing domains"

ROUTES = (
    Route(
        "GET",
        _MANY,
        list_them,
        "List signing domains",
        KeyScope.READ,
        answer=Page[SigningDomainShown],
        query=PageQuery,
        tag=_TAG,
    ),
    Route(
        "POST",
        _MANY,
        add,
        "Make keys that sign for a domain",
        KeyScope.ADMIN,
        answer=SigningDomainShown,
        status=HTTPStatus.CREATED,
        takes=Takes(NewSigningDomain),
        tag=_TAG,
    ),
    Route("GET", _ONE, get, "Read a signing domain", KeyScope.READ, answer=SigningDomainShown, tag=_TAG),
    Route(
        "POST",
        _ONE + "/activate",
        activate,
        "Sign with these keys",
        KeyScope.ADMIN,
        answer=SigningDomainShown,
        takes=Takes(Empty, optional=True),
        tag=_TAG,
    ),
    Route(
        "DELETE",
        _ONE,
        remove,
        "Forget a signing domain",
        KeyScope.ADMIN,
        status=HTTPStatus.NO_CONTENT,
        tag=_TAG,
    ),
    Route(
        "PUT",
        "/v1/mailboxes/{mailbox_id}/signs",
        set_signs,
        "Say who signs what a mailbox sends",
        KeyScope.ADMIN,
        status=HTTPStatus.NO_CONTENT,
        takes=Takes(Signs),
        tag="Mailboxes",
    ),
)
