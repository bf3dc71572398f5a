"""Who may send from whose mailbox: its user agrees, and may take it back at any time."""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from api.auditing import audit
from api.delegations import delegation_document
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import FieldError, conflict, forbidden, invalid, invalid_at, not_found
from api.routes.mailboxes import existing
from api.routes.members import active_user
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from api.submitting import Accepted, Wish, submit, wish_of
from api.waiting import CONSENT_WITHDRAWN
from chassis.documents import delegation_id
from chassis.store import Document
from segue_contracts.commands import Hold, HoldScope, Lift
from segue_contracts.sequence import SequenceDocument


class NewDelegate(Closed):
    """Who may send from the mailbox from now on."""

    user_id: UUID


class DelegationShown(Shown):
    """A consent that stands: `user_id` may send from the mailbox."""

    mailbox_id: UUID
    user_id: UUID
    granted_by: UUID
    granted_at: datetime


# ---- what publishing and enrolling ask ----------------------------------------------------------------


async def teammates_mailbox(call: Call, document: SequenceDocument, owner_id: UUID) -> Document:
    """The mailbox that `on_behalf_of` means: of the one with that address and those of the user with it, the
    first that was agreed to; Problem 422 with what cures it.
    """
    if document.mailboxes:
        raise invalid_at("/on_behalf_of", "and `mailbox` both say who sends: leave one of them out")
    own = {
        delegation_id(each["_id"], owner_id): each
        for each in await _mailboxes_at(call, str(document.on_behalf_of).lower())
    }
    standing = await call.api.store.delegations.standing(call.caller.workspace, own)
    agreed = [each for name, each in own.items() if name in standing]
    [mailbox, *_] = agreed or own.values()
    await check_consents(call, [mailbox], owner_id, "/on_behalf_of")
    return mailbox


async def _mailboxes_at(call: Call, address: str) -> list[Document]:
    workspace, mailboxes = call.caller.workspace, call.api.store.mailboxes
    named = list((await mailboxes.at(workspace, [address])).values())
    user = await call.api.store.people.user_at(workspace, address)
    if user is None and not named:
        raise invalid_at(
            "/on_behalf_of", "is neither a user nor a mailbox here: they join first (POST /v1/users)"
        )
    found = [*named, *(await mailboxes.owned_by(workspace, user["_id"]) if user else ())]
    if not found:
        raise invalid_at("/on_behalf_of", "has no mailbox: they connect one first (POST /v1/mailboxes)")
    return found


async def check_consents(call: Call, mailboxes: Sequence[Document], owner_id: UUID, pointer: str) -> None:
    """Problem 422 for each mailbox of somebody else who has not agreed."""
    foreign = {
        delegation_id(each["_id"], owner_id): each for each in mailboxes if each["owner_id"] != owner_id
    }
    standing = await call.api.store.delegations.standing(call.caller.workspace, foreign)
    errors = [
        FieldError(pointer=pointer, detail=_has_to_agree(each))
        for name, each in foreign.items()
        if name not in standing
    ]
    if errors:
        raise invalid(errors)


async def check_still_agreed(call: Call, sequence: Document, number: int | None) -> None:
    """Problem 409 if somebody whose mailbox would send has taken back their consent."""
    workspace = call.caller.workspace
    version = await call.api.store.sequences.version(
        workspace, sequence["_id"], number or sequence["latest_version"]
    )
    named = (
        {delegation_id(each, sequence["owner_id"]): each for each in version["mailbox_ids"]}
        if version
        else {}
    )
    withdrawn = await call.api.store.delegations.withdrawn(workspace, named)
    if withdrawn:
        mailboxes = await call.api.store.mailboxes.among(workspace, [named[each] for each in withdrawn])
        raise conflict("consent-withdrawn", " ".join(map(_has_to_agree, mailboxes)))


def _has_to_agree(mailbox: Document) -> str:
    route = f"POST /v1/mailboxes/{mailbox['_id']}/delegates"
    return f"the user of {mailbox['address']} has to agree: {route}, with a key of theirs"


# ---- routes -------------------------------------------------------------------------------------------


async def agree(call: Call) -> Answer:
    """Let a user send from the caller's mailbox; what waited for it goes on."""
    mailbox, user_id = await existing(call), call.body.data.user_id
    if mailbox["owner_id"] != call.caller.user_id:
        raise forbidden("Only the user whose mailbox it is can agree to this.")
    await active_user(call, user_id, "/user_id")
    if user_id == mailbox["owner_id"]:
        raise invalid_at("/user_id", "is whose mailbox it is: they need nobody's consent")
    workspace, store = call.caller.workspace, call.api.store.delegations
    delegation = delegation_document(
        workspace, mailbox["_id"], user_id, call.caller.user_id, call.api.clock.real_now()
    )
    before = await store.one(workspace, delegation["_id"])
    await audit(call, "mailbox.delegated", mailbox["_id"], user_id=str(user_id))
    await store.grant(delegation)
    if before is not None:
        await submit(call, [lift_wish(call, HoldScope.DELEGATION, delegation["_id"])])
    stored = await store.one(workspace, delegation["_id"]) or delegation
    return Answer(shown(stored), HTTPStatus.CREATED)


async def withdraw(call: Call) -> Answer:
    """Take a consent back: what would be sent under it waits. Its user may, its holder, and an admin."""
    mailbox, user_id = await existing(call), call.uuid("user_id", "delegate")
    if call.caller.user_id not in (mailbox["owner_id"], user_id) and not call.caller.may(KeyScope.ADMIN):
        raise forbidden("Only whose mailbox it is, who was given the consent, or an admin can end it.")
    delegation = await call.api.store.delegations.one(
        call.caller.workspace, delegation_id(mailbox["_id"], user_id)
    )
    if delegation is None:
        raise not_found("delegate")
    await audit(call, "mailbox.delegation_ended", mailbox["_id"], user_id=str(user_id))
    [command] = await end_consents(call, [delegation])
    return Answer(command, HTTPStatus.ACCEPTED, {"Location": command.status_url})


async def end_consents(
    call: Call, delegations: Sequence[Document], also: Sequence[Wish] = ()
) -> list[Accepted]:
    """End these, and store other commands with theirs; held first, so that nothing is sent without one."""
    ids = [each["_id"] for each in delegations]
    holds = [hold_wish(call, HoldScope.DELEGATION, each, CONSENT_WITHDRAWN) for each in ids]
    commands = await submit(call, [*also, *holds])
    now = call.api.clock.real_now()
    await call.api.store.delegations.revoke(call.caller.workspace, ids, call.caller.user_id, now)
    return commands


def hold_wish(call: Call, scope: HoldScope, scope_id: UUID, reason: str) -> Wish:
    """The command that holds without an end."""
    return wish_of(call, Hold, str(scope_id), scope=scope, scope_id=scope_id, reason=reason)


def lift_wish(call: Call, scope: HoldScope, scope_id: UUID) -> Wish:
    """The command that lifts."""
    return wish_of(call, Lift, str(scope_id), scope=scope, scope_id=scope_id)


async def list_delegates(call: Call) -> Answer:
    """Who may send from a mailbox, the newest consent first."""
    mailbox = await existing(call)
    found, cursor = await call.api.store.delegations.of_mailbox(
        call.caller.workspace, mailbox["_id"], call.query
    )
    return Answer(Page[DelegationShown](items=[shown(each) for each in found], next_cursor=cursor))


async def list_own(call: Call) -> Answer:
    """The mailboxes of others that the caller may send from."""
    found, cursor = await call.api.store.delegations.to_user(
        call.caller.workspace, call.caller.user_id, call.query
    )
    return Answer(Page[DelegationShown](items=[shown(each) for each in found], next_cursor=cursor))


def shown(delegation: Document) -> DelegationShown:
    """What is shown."""
    return DelegationShown.model_validate({**delegation, "granted_at": delegation["created_at"]})


_DELEGATES = "/v1/mailboxes/{mailbox_id}/delegates"

ROUTES = (
    Route(
        "GET",
        _DELEGATES,
        list_delegates,
        "List who may send from a mailbox",
        KeyScope.READ,
        answer=Page[DelegationShown],
        query=PageQuery,
        tag="Mailboxes",
    ),
    Route(
        "POST",
        _DELEGATES,
        agree,
        "Let a teammate send from your mailbox",
        KeyScope.WRITE,
        answer=DelegationShown,
        status=HTTPStatus.CREATED,
        takes=Takes(NewDelegate),
        tag="Mailboxes",
    ),
    Route(
        "DELETE",
        _DELEGATES + "/{user_id}",
        withdraw,
        "End that a teammate may send from a mailbox",
        KeyScope.WRITE,
        answer=Accepted,
        status=HTTPStatus.ACCEPTED,
        tag="Mailboxes",
    ),
    Route(
        "GET",
        "/v1/me/delegations",
        list_own,
        "List the mailboxes of others that you may send from",
        KeyScope.READ,
        answer=Page[DelegationShown],
        query=PageQuery,
        tag="Mailboxes",
    ),
)
