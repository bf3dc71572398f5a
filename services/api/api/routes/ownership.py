"""Users who leave and come back, and what was theirs: held until somebody has it, never stuck in silence."""

from uuid import UUID

from pydantic import Field

from api.access import Right
from api.auditing import audit
from api.keys import KeyScope
from api.model import transferred_entry
from api.problems import conflict, forbidden, not_found
from api.routes.delegations import check_consents, end_consents, hold_wish, lift_wish
from api.routes.mailboxes import MailboxShown, shown_now
from api.routes.mailboxes import existing as existing_mailbox
from api.routes.members import UserShown, active_user
from api.routes.sequences import PUBLISH_TRIES, SequenceWhole, whole
from api.routes.sequences import existing as existing_sequence
from api.routes.tokens import tokens_of
from api.routing import Answer, Call, Closed, Empty, Route, Shown, Takes
from api.submitting import Accepted, Wish, submit, wish_of
from api.waiting import OWNER_LEFT
from chassis.documents import delegation_id
from chassis.store import Document
from segue_contracts.commands import HoldScope, Transfer


class TransferRequest(Closed):
    """Whose it is from now on."""

    to: UUID


class OwnedSequence(Shown):
    """A sequence of a user."""

    id: UUID = Field(validation_alias="_id")
    name: str
    archived: bool


class OwnedMailbox(Shown):
    """A mailbox of a user."""

    id: UUID = Field(validation_alias="_id")
    address: str


class Belongings(Shown):
    """What a user has, and others must take over when they leave; `tasks_url` lists the open tasks."""

    user: UserShown
    sequences: list[OwnedSequence]
    mailboxes: list[OwnedMailbox]
    open_tasks: int
    tasks_url: str


class Turned(Belongings):
    """A user who has left, or is back; `commands` hold or lift what is theirs."""

    keys_revoked: int
    consents_ended: int
    commands: list[Accepted]


class SequenceTransferred(SequenceWhole):
    """A sequence that is somebody else's; `commands` tell the people in it and let them go on."""

    commands: list[Accepted]


class MailboxTransferred(MailboxShown):
    """A mailbox that is somebody else's; `commands` end the consents for it, and its hold."""

    commands: list[Accepted]


# ---- users --------------------------------------------------------------------------------------------


async def show_belongings(call: Call) -> Answer:
    """What a user has."""
    return Answer(await _belongings(call, await _user(call)))


async def deactivate(call: Call) -> Answer:
    """A user leaves. Their keys and consents end; their sequences and mailboxes are held until somebody has
    them. Safe to be done again, where it broke off.
    """
    user = await _user(call)
    if user["_id"] == call.caller.user_id:
        raise conflict("yourself", "Nobody deactivates themselves: another admin does.")
    workspace, people = call.caller.workspace, call.api.store.people
    now = call.api.clock.real_now()
    await audit(call, "user.deactivated", user["_id"])
    # First nobody acts for them any more: nothing of theirs comes in behind the holds.
    left = await people.set_left(workspace, user["_id"], user.get("left_at") or now)
    keys = await people.revoke_keys_of(workspace, user["_id"], now)
    theirs = await _belongings(call, left or user)
    consents = await call.api.store.delegations.around(
        workspace, [each.id for each in theirs.mailboxes], user["_id"]
    )
    holds = [hold_wish(call, HoldScope.OWNERSHIP, each, OWNER_LEFT) for each in _ids(theirs)]
    commands = await end_consents(call, consents, holds)
    return Answer(Turned(**dict(theirs), keys_revoked=keys, consents_ended=len(consents), commands=commands))


async def reactivate(call: Call) -> Answer:
    """A user is back, and goes on with what is still theirs; keys and consents are given anew."""
    user = await _user(call)
    await audit(call, "user.reactivated", user["_id"])
    back = await call.api.store.people.set_left(call.caller.workspace, user["_id"], None)
    theirs = await _belongings(call, back or user)
    commands = await submit(call, [lift_wish(call, HoldScope.OWNERSHIP, each) for each in _ids(theirs)])
    return Answer(Turned(**dict(theirs), keys_revoked=0, consents_ended=0, commands=commands))


async def _user(call: Call) -> Document:
    user = await call.api.store.people.user(call.caller.workspace, call.uuid("user_id", "user"))
    if user is None:
        raise not_found("user")
    return user


async def _belongings(call: Call, user: Document) -> Belongings:
    workspace, store, user_id = call.caller.workspace, call.api.store, user["_id"]
    sequences = await store.sequences.owned_by(workspace, user_id)
    mailboxes = await store.mailboxes.owned_by(workspace, user_id)
    return Belongings(
        user=UserShown.model_validate(user),
        sequences=[OwnedSequence.model_validate(each) for each in sequences],
        mailboxes=[OwnedMailbox.model_validate(each) for each in mailboxes],
        open_tasks=await call.api.reads.open_tasks(workspace, user_id),
        tasks_url=call.api.url(f"/v1/tasks?assignee={user_id}&snoozed=true"),
    )


def _ids(theirs: Belongings) -> list[UUID]:
    return [*(each.id for each in theirs.sequences), *(each.id for each in theirs.mailboxes)]


# ---- transfers ----------------------------------------------------------------------------------------


async def transfer_sequence(call: Call) -> Answer:
    """Give a sequence to another user; its owner may, and an admin. Safe to be done again."""
    sequence = await existing_sequence(call)
    to = (await active_user(call, call.body.data.to, "/to"))["_id"]
    sequence = await _transferred(call, sequence, to)
    told = wish_of(call, Transfer, str(sequence["_id"]), sequence_id=sequence["_id"], owner_id=to)
    # In this order: who waited goes on as the new owner's.
    commands = await submit(call, [told, lift_wish(call, HoldScope.OWNERSHIP, sequence["_id"])])
    answer = await whole(call, sequence)
    assert isinstance(answer.body, SequenceWhole)
    return Answer(SequenceTransferred(**dict(answer.body), commands=commands), headers=answer.headers)


async def _transferred(call: Call, sequence: Document, to: UUID) -> Document:
    if call.caller.user_id != sequence["owner_id"] and not call.caller.may(KeyScope.ADMIN):
        raise forbidden("Only the owner of a sequence, or an admin, gives it away.")
    for _ in range(PUBLISH_TRIES):
        if sequence["owner_id"] == to:
            return sequence
        await _check_mailboxes(call, sequence, to)
        await audit(call, "sequence.transferred", sequence["_id"], to=str(to))
        event = transferred_entry(sequence, to, call.api.clock.now())
        await call.api.store.sequences.transfer(sequence, event, to, call.api.clock.real_now())
        call.api.courier.sequence_changed(call.caller.workspace, sequence["_id"])
        # Whoever gave it away may not see it any more.
        changed = await call.api.store.sequences.one(call.caller.workspace, sequence["_id"])
        assert changed is not None
        sequence = changed
    raise conflict("busy", "Others are changing this sequence at this moment: try again.")


async def _check_mailboxes(call: Call, sequence: Document, to: UUID) -> None:
    """Problem 422 where a user who is here has not agreed that the new owner sends from their mailbox.

    What was never asked of the old owner is not asked of the new one: an admin had named that mailbox.
    """
    workspace, owner = call.caller.workspace, sequence["owner_id"]
    version = await call.api.store.sequences.version(workspace, sequence["_id"], sequence["latest_version"])
    found = await call.api.store.mailboxes.among(workspace, version["mailbox_ids"] if version else [])
    asked = await call.api.store.delegations.standing(
        workspace, [delegation_id(each["_id"], owner) for each in found]
    )
    left = await call.api.store.people.user(workspace, owner)
    is_here = left is not None and left.get("left_at") is None
    needed = [
        each
        for each in found
        if delegation_id(each["_id"], owner) in asked or (each["owner_id"] == owner and is_here)
    ]
    await check_consents(call, needed, to, "/to")


async def transfer_mailbox(call: Call) -> Answer:
    """Give a mailbox to another user. What its user had agreed to ends: the new one agrees anew."""
    to = (await active_user(call, call.body.data.to, "/to"))["_id"]
    mailbox, workspace = await existing_mailbox(call), call.caller.workspace
    own = delegation_id(mailbox["_id"], to)
    consents = await call.api.store.delegations.around(workspace, [mailbox["_id"]])
    await audit(call, "mailbox.transferred", mailbox["_id"], to=str(to))
    if mailbox["owner_id"] != to:
        tokens = await tokens_of(call, to)
        fields = {"owner_id": to, "owner_tokens": tokens, "updated_at": call.api.clock.real_now()}
        changed = await call.api.store.mailboxes.change(mailbox, fields)
        if changed is None:
            raise conflict(
                "changed-meanwhile", "Somebody else changed this mailbox at this moment: try again."
            )
        mailbox = changed
    await call.api.store.delegations.forget(workspace, own)
    lifts: list[Wish] = [
        lift_wish(call, HoldScope.OWNERSHIP, mailbox["_id"]),
        lift_wish(call, HoldScope.DELEGATION, own),
    ]
    commands = await end_consents(call, [each for each in consents if each["_id"] != own], lifts)
    told = await shown_now(call, mailbox)
    return Answer(MailboxTransferred.model_validate({**told, "commands": commands}))


_USER = "/v1/users/{user_id}"

ROUTES = (
    Route(
        "GET",
        _USER + "/belongings",
        show_belongings,
        "See what a user has",
        KeyScope.ADMIN,
        answer=Belongings,
        tag="Workspace",
    ),
    Route(
        "POST",
        _USER + "/deactivate",
        deactivate,
        "Let a user leave",
        KeyScope.ADMIN,
        answer=Turned,
        takes=Takes(Empty, optional=True),
        tag="Workspace",
    ),
    Route(
        "POST",
        _USER + "/reactivate",
        reactivate,
        "Let a user come back",
        KeyScope.ADMIN,
        answer=Turned,
        takes=Takes(Empty, optional=True),
        tag="Workspace",
    ),
    Route(
        "POST",
        "/v1/sequences/{sequence_id}/transfer",
        transfer_sequence,
        "Give a sequence to another user",
        KeyScope.WRITE,
        answer=SequenceTransferred,
        takes=Takes(TransferRequest),
        tag="Sequences",
        right=Right.EDIT,
    ),
    Route(
        "POST",
        "/v1/mailboxes/{mailbox_id}/transfer",
        transfer_mailbox,
        "Give a mailbox to another user",
        KeyScope.ADMIN,
        answer=MailboxTransferred,
        takes=Takes(TransferRequest),
        tag="Mailboxes",
    ),
)
