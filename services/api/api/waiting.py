"""Why something waits, in words, and what lets it go on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from api.routing import Call, Shown
from chassis.documents import delegation_id, hold_id, hold_is_active
from chassis.store import Document
from segue_contracts.commands import HoldScope

OWNER_LEFT = "owner_left"
CONSENT_WITHDRAWN = "consent_withdrawn"


class Wait(Shown):
    """A hold, and what ends it."""

    scope: str
    scope_id: UUID
    reason: str
    by: str
    since: datetime | None
    until: datetime | None
    what_to_do: str


async def active_holds(call: Call, ids: Iterable[str]) -> dict[str, Document]:
    """Those of these holds that hold now."""
    found = await call.api.reads.holds(call.caller.workspace, list(ids))
    now = call.api.clock.now()
    return {name: hold for name, hold in found.items() if hold_is_active(hold, now)}


async def waits_of(call: Call, sequence: Document, version: Document) -> list[Wait]:
    """What holds a sequence as a whole, or what a version of it sends from."""
    return await waits_among(call, [sequence["_id"]], version["mailbox_ids"], sequence["owner_id"])


async def waits_among(
    call: Call, sequences: Sequence[UUID], mailboxes: Sequence[UUID], owner_id: UUID
) -> list[Wait]:
    """What holds sequences of an owner, or the mailboxes that they send from."""
    ids = [
        *(hold_id(HoldScope.SEQUENCE, each) for each in sequences),
        *(hold_id(HoldScope.OWNERSHIP, each) for each in sequences),
        hold_id(HoldScope.WORKSPACE, call.caller.workspace),
        hold_id(HoldScope.OPERATIONS, call.caller.workspace),
        *(hold_id(HoldScope.MAILBOX, each) for each in mailboxes),
        *(hold_id(HoldScope.OWNERSHIP, each) for each in mailboxes),
        *(hold_id(HoldScope.DELEGATION, delegation_id(each, owner_id)) for each in mailboxes),
    ]
    places = {delegation_id(each, owner_id): each for each in mailboxes}
    holds = await active_holds(call, ids)
    return [_wait(holds[each], sequences, places) for each in dict.fromkeys(ids) if each in holds]


def _wait(hold: Mapping[str, Any], sequences: Sequence[UUID], mailboxes: Mapping[UUID, UUID]) -> Wait:
    return Wait(
        scope=hold["scope"],
        scope_id=hold["scope_id"],
        reason=hold["reason"],
        by=hold["by"],
        since=hold.get("created_at"),
        until=hold.get("until"),
        what_to_do=_what_to_do(hold, sequences, mailboxes),
    )


def _what_to_do(hold: Mapping[str, Any], sequences: Sequence[UUID], mailboxes: Mapping[UUID, UUID]) -> str:
    what = hold["scope_id"]
    match HoldScope(hold["scope"]):
        case HoldScope.OWNERSHIP if what in sequences:
            return f"Give it to somebody: POST /v1/sequences/{what}/transfer."
        case HoldScope.OWNERSHIP:
            return f"Give the mailbox to somebody: POST /v1/mailboxes/{what}/transfer."
        case HoldScope.DELEGATION:
            return f"Its user has to agree: POST /v1/mailboxes/{mailboxes[what]}/delegates."
        case HoldScope.MAILBOX:
            return f"See `health` in GET /v1/mailboxes/{what}."
        case HoldScope.WORKSPACE:
            return "POST /v1/workspace/resume."
        case HoldScope.OPERATIONS:
            return "Whoever runs Segue has stopped everything, and lets it go on."
    return f"POST /v1/sequences/{what}/resume."
