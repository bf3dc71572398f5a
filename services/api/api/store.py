"""What the API owns, in MongoDB: every query names its workspace, but for keys, webhooks and sweeps."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Collection as Some
from datetime import datetime
from typing import Any
from uuid import UUID

from api import delegations
from api.attachment_store import INDEXES as ATTACHMENT_INDEXES
from api.attachment_store import Attachments
from api.comparison_store import INDEXES as COMPARISON_INDEXES
from api.comparison_store import Comparisons
from api.count_store import Counts
from api.engagement_store import INDEXES as ENGAGEMENT_INDEXES
from api.engagement_store import Engagements
from api.list_store import LIST_INDEXES, ROW_INDEXES, Lists
from api.model import KEEP_SETTLED, CommandState, Settled, outbox_entry, published_fields
from api.outgoing_store import DELIVERY_INDEXES, WEBHOOK_INDEXES, WebhookDeliveries, Webhooks
from api.paging import NEWEST_FIRST, Kind, Order, PageQuery, read_page
from api.sessions import INDEXES as SESSION_INDEXES
from api.sessions import USER_INDEXES, Sessions
from chassis import documents as names
from chassis.documents import WatchingView
from chassis.errors import Duplicate
from chassis.inbound import Inbound
from chassis.store import Database, Document, Index, UpdateOne, Workspace
from segue_contracts.events import SequenceEventType
from segue_contracts.topics import ENROLLMENT_STOPS

DAY_SECONDS = 24 * 60 * 60
KEEP_WEBHOOK_TOKENS_SECONDS = DAY_SECONDS
RECEIPTS_ORDER = Order((("received_at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID)))
KEEP_IDEMPOTENCY_SECONDS = DAY_SECONDS
VERSIONS_ORDER = Order((("version", -1, Kind.NUMBER),))
INSERT_AT_ONCE = 1000
MOST_OWN = 500
MOST_TAGS = 200
SUPPRESSIONS_ORDER = Order((("at", -1, Kind.INSTANT), ("_id", -1, Kind.TEXT)))
WHOSE: Document = {"address": 1, "owner_id": 1}
SEQUENCE_ORDERS: Mapping[str, Order] = {
    "created": NEWEST_FIRST,
    "name": Order((("name", 1, Kind.TEXT), ("_id", 1, Kind.UUID))),
    "changed": Order((("updated_at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID))),
}
AUDIT_ORDER = Order((("at", -1, Kind.INSTANT), ("_id", -1, Kind.UUID)))

_NEWEST = (("workspace_id", 1), ("created_at", -1), ("_id", -1))
INDEXES: dict[str, tuple[Index, ...]] = {
    names.WORKSPACES: (Index((("name", 1),), "name", unique=True),),
    names.USERS: (
        Index((("workspace_id", 1), ("email", 1)), "email", unique=True),
        Index(_NEWEST, "newest"),
        *USER_INDEXES,
    ),
    names.API_KEYS: (Index(_NEWEST, "newest"),),
    names.SEQUENCES: (
        Index(_NEWEST, "newest"),
        Index((("workspace_id", 1), ("owner_id", 1), ("_id", 1)), "owner"),
        Index((("workspace_id", 1), ("owner_id", 1), ("created_at", -1), ("_id", -1)), "owner_newest"),
        Index((("workspace_id", 1), ("name", 1), ("_id", 1)), "name"),
        Index((("workspace_id", 1), ("owner_id", 1), ("name", 1), ("_id", 1)), "owner_name"),
        Index((("workspace_id", 1), ("updated_at", -1), ("_id", -1)), "changed"),
        Index((("workspace_id", 1), ("owner_id", 1), ("updated_at", -1), ("_id", -1)), "owner_changed"),
        Index((("touched_at", 1),), "untold", partial={"outbox.0": {"$exists": True}}),
    ),
    names.SEQUENCE_VERSIONS: (Index((("workspace_id", 1), ("sequence_id", 1), ("version", -1)), "versions"),),
    names.COMPARISONS: COMPARISON_INDEXES,
    names.MAILBOXES: (
        Index((("workspace_id", 1), ("address", 1)), "address", unique=True),
        Index((("workspace_id", 1), ("owner_id", 1), ("created_at", 1)), "owner"),
        Index(_NEWEST, "newest"),
    ),
    names.SESSIONS: SESSION_INDEXES,
    names.COMMANDS: (
        Index((("next_at", 1),), "open", partial={"state": CommandState.ACCEPTED.value}),
        Index((("workspace_id", 1), ("target", 1), ("created_at", -1)), "target"),
        Index((("expires_at", 1),), "expires", expire_after_seconds=0),
    ),
    names.COMMAND_RESULTS: (Index((("at", 1),), "at"),),
    names.BULK_COMMANDS: (
        Index((("next_at", 1),), "open", partial={"state": CommandState.ACCEPTED.value}),
        Index((("expires_at", 1),), "expires", expire_after_seconds=0),
    ),
    names.PROSPECT_LISTS: LIST_INDEXES,
    names.PROSPECT_LIST_ROWS: ROW_INDEXES,
    names.WEBHOOKS: WEBHOOK_INDEXES,
    names.WEBHOOK_DELIVERIES: DELIVERY_INDEXES,
    names.IDEMPOTENCY_KEYS: (
        Index((("started_at", 1),), "expires", expire_after_seconds=KEEP_IDEMPOTENCY_SECONDS),
    ),
    names.SMS_NUMBERS: (
        Index((("workspace_id", 1), ("number", 1)), "number", unique=True),
        Index(_NEWEST, "newest"),
    ),
    names.RECEIPTS: (
        Index((("workspace_id", 1), ("number_id", 1), ("received_at", -1), ("_id", -1)), "newest"),
        Index((("workspace_id", 1), ("provider_id", 1)), "message"),
    ),
    names.ATTACHMENTS: ATTACHMENT_INDEXES,
    names.ENGAGEMENTS: ENGAGEMENT_INDEXES,
    names.WEBHOOK_TOKENS: (Index((("at", 1),), "expires", expire_after_seconds=KEEP_WEBHOOK_TOKENS_SECONDS),),
    names.SUPPRESSIONS: (Index((("workspace_id", 1), ("at", -1), ("_id", -1)), "newest"),),
    names.SIGNING_DOMAINS: (
        Index((("workspace_id", 1), ("domain", 1), ("activated_at", -1)), "domain"),
        Index(_NEWEST, "newest"),
    ),
    names.DELEGATIONS: delegations.INDEXES,
    names.AUDIT_LOG: (Index((("workspace_id", 1), ("at", -1), ("_id", -1)), "newest"),),
}


class Store:
    """The collections that the API writes, by domain."""

    def __init__(self, database: Database) -> None:
        self.people = Members(database)
        self.sequences = Sequences(database)
        self.counts = Counts(database)
        self.comparisons = Comparisons(database)
        self.mailboxes = Mailboxes(database)
        self.commands = Commands(database)
        self.bulks = Bulks(database)
        self.lists = Lists(database)
        self.webhooks = Webhooks(database)
        self.webhook_deliveries = WebhookDeliveries(database)
        self.idempotency = Idempotency(database)
        self.inbound = Inbound(database)
        self.sms_numbers = SmsNumbers(database)
        self.receipts = Receipts(database)
        self.webhook_tokens = WebhookTokens(database)
        self.suppressions = Suppressions(database)
        self.signing = SigningDomains(database)
        self.audit = AuditLog(database)
        self.sessions = Sessions(database)
        self.delegations = delegations.Delegations(database)
        self.engagements = Engagements(database)
        self.attachments = Attachments(database)


class Members:
    """Workspaces, users and their keys."""

    def __init__(self, database: Database) -> None:
        self._workspaces = database.collection(names.WORKSPACES)
        self._users = database.collection(names.USERS)
        self._keys = database.collection(names.API_KEYS)

    async def key(self, key_id: UUID) -> Document | None:
        """A key of any workspace: it says itself which one."""
        return await self._keys.find_one({"_id": key_id})

    async def key_used(self, workspace: Workspace, key_id: UUID, now: datetime) -> None:
        """Remember that a key was used."""
        await self._keys.update_one({"_id": key_id, "workspace_id": workspace}, {"$set": {"last_used": now}})

    async def add_key(self, key: Document) -> bool:
        """Whether its id was free."""
        return bool(await self._keys.insert_new([key]))

    async def keys(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """Keys without their hashes."""
        return await read_page(self._keys, {"workspace_id": workspace}, NEWEST_FIRST, page, dict, {"hash": 0})

    async def revoke_key(self, workspace: Workspace, key_id: UUID, now: datetime) -> bool:
        """Revoke for good; False if there is no such key."""
        found = {"_id": key_id, "workspace_id": workspace}
        if await self._keys.update_one({**found, "revoked_at": None}, {"$set": {"revoked_at": now}}):
            return True
        return await self._keys.find_one(found, projection={"_id": 1}) is not None

    async def revoke_keys_of(self, workspace: Workspace, user_id: UUID, now: datetime) -> int:
        """Revoke all keys of a user for good; how many there were."""
        return await self._keys.update_many(
            {"workspace_id": workspace, "user_id": user_id, "revoked_at": None}, {"$set": {"revoked_at": now}}
        )

    async def workspace(self, workspace: Workspace) -> Document | None:
        """The organisation."""
        return await self._workspaces.find_one({"_id": workspace})

    async def rename_workspace(self, workspace: Workspace, name: str) -> None:
        """Duplicate if the name is taken."""
        await self._workspaces.update_one({"_id": workspace}, {"$set": {"name": name}})

    async def set_footer(self, workspace: Workspace, footer: Document) -> None:
        """Replace what stands below its messages."""
        await self._workspaces.update_one({"_id": workspace}, {"$set": {"footer": footer}})

    async def limit_workspace(self, workspace: Workspace, limits: Document) -> None:
        """Replace its sending limits."""
        await self._workspaces.update_one({"_id": workspace}, {"$set": {"limits": limits}})

    async def set_in_doubt_policy(self, workspace: Workspace, policy: str) -> None:
        """Say who decides about what is in doubt."""
        await self._workspaces.update_one({"_id": workspace}, {"$set": {"in_doubt_policy": policy}})

    async def set_retention(self, workspace: Workspace, retention: Document) -> None:
        """Replace how long words are kept."""
        await self._workspaces.update_one({"_id": workspace}, {"$set": {"retention": retention}})

    async def set_prompt_hook(self, workspace: Workspace, hook: Document | None) -> None:
        """Say where its programs hear of tasks; None: nowhere."""
        change = {"$set": {"prompt_hook": hook}} if hook else {"$unset": {"prompt_hook": ""}}
        await self._workspaces.update_one({"_id": workspace}, change)

    async def set_token(self, workspace: Workspace, name: str, definition: Document) -> None:
        """Define a token: one write for what it is and for the default that templates fall back on."""
        fields = {f"token_definitions.{name}": definition}
        if definition["default"] is None:
            change: Document = {"$set": fields, "$unset": {f"tokens.{name}": ""}}
        else:
            change = {"$set": {**fields, f"tokens.{name}": definition["default"]}}
        await self._workspaces.update_one({"_id": workspace}, change)

    async def rename_token(self, workspace: Workspace, name: str, to: str) -> bool:
        """Whether it was there and the other name was free."""
        found = {
            "_id": workspace,
            f"token_definitions.{name}": {"$exists": True},
            f"token_definitions.{to}": {"$exists": False},
        }
        names = {f"token_definitions.{name}": f"token_definitions.{to}", f"tokens.{name}": f"tokens.{to}"}
        return await self._workspaces.update_one(found, {"$rename": names})

    async def remove_token(self, workspace: Workspace, name: str) -> None:
        """Forget a token with its default."""
        gone = {f"token_definitions.{name}": "", f"tokens.{name}": ""}
        await self._workspaces.update_one({"_id": workspace}, {"$unset": gone})

    async def set_own_tokens(self, workspace: Workspace, user_id: UUID, values: Mapping[str, str]) -> None:
        """Replace a user's own values of tokens."""
        found = {"_id": user_id, "workspace_id": workspace}
        await self._users.update_one(found, {"$set": {"tokens": dict(values)}})

    async def set_prompts(self, workspace: Workspace, user_id: UUID, wishes: Document) -> None:
        """Replace when a user hears of their tasks."""
        await self._users.update_one(
            {"_id": user_id, "workspace_id": workspace}, {"$set": {"prompts": wishes}}
        )

    async def workspace_named(self, name: str) -> Document | None:
        """For bootstrap: the organisation of that name."""
        return await self._workspaces.find_one({"name": {"$eq": name}})

    async def add_workspace(self, workspace: Document) -> None:
        """Duplicate if the name is taken."""
        await self._workspaces.insert_one(workspace)

    async def user(self, workspace: Workspace, user_id: UUID) -> Document | None:
        """A user of the workspace."""
        return await self._users.find_one({"_id": user_id, "workspace_id": workspace})

    async def user_at(self, workspace: Workspace, email: str) -> Document | None:
        """The user with that address (in lower case)."""
        return await self._users.find_one({"workspace_id": workspace, "email": {"$eq": email}})

    async def set_role(self, workspace: Workspace, user_id: UUID, role: str) -> None:
        """Replace a user's role."""
        await self._users.update_one({"_id": user_id, "workspace_id": workspace}, {"$set": {"role": role}})

    async def has_other_admin(self, workspace: Workspace, user_id: UUID) -> bool:
        """Whether somebody else is an admin."""
        found = {"workspace_id": workspace, "role": "admin", "_id": {"$ne": user_id}}
        return await self._users.find_one(found, projection={"_id": 1}) is not None

    async def set_left(
        self, workspace: Workspace, user_id: UUID, left_at: datetime | None
    ) -> Document | None:
        """Say since when a user has left, or that they are back; the user after it."""
        return await self._users.find_one_and_update(
            {"_id": user_id, "workspace_id": workspace}, {"$set": {"left_at": left_at}}
        )

    async def add_user(self, user: Document) -> None:
        """Duplicate if the address is taken."""
        await self._users.insert_one(user)

    async def names(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, str]:
        """What these users are called."""
        found = await self._users.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}}, projection={"name": 1}
        )
        return {doc["_id"]: doc["name"] for doc in found}

    async def users(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """The users of the workspace."""
        return await read_page(self._users, {"workspace_id": workspace}, NEWEST_FIRST, page, dict)


class Sequences:
    """Sequences and their versions."""

    def __init__(self, database: Database) -> None:
        self._sequences = database.collection(names.SEQUENCES)
        self._versions = database.collection(names.SEQUENCE_VERSIONS)

    async def one(self, workspace: Workspace, sequence_id: UUID) -> Document | None:
        """A sequence."""
        return await self._sequences.find_one({"_id": sequence_id, "workspace_id": workspace})

    async def ids(self, workspace: Workspace, which: Document) -> list[UUID]:
        """The ids of the sequences that match."""
        found = await self._sequences.find({"workspace_id": workspace, **which}, projection={"_id": 1})
        return [doc["_id"] for doc in found]

    async def some(self, workspace: Workspace, ids: Some[UUID]) -> list[Document]:
        """These sequences."""
        return await self._sequences.find({"workspace_id": workspace, "_id": {"$in": list(ids)}})

    async def briefs(self, workspace: Workspace, which: Document) -> list[Document]:
        """What the sequences that match are called, whose they are and who may see them."""
        brief = dict.fromkeys(("name", "owner_id", "access"), 1)
        return await self._sequences.find({"workspace_id": workspace, **which}, projection=brief)

    async def grant(self, sequence: Document, user_id: UUID, right: str | None) -> None:
        """Give a user a right, instead of what they had; None takes it back."""
        one = {"_id": sequence["_id"], "workspace_id": sequence["workspace_id"]}
        kept: Document = {
            "$filter": {
                "input": {"$ifNull": ["$grants", []]},
                "cond": {"$ne": ["$$this.user_id", user_id]},
            }
        }
        given = [] if right is None else [{"user_id": user_id, "right": {"$literal": right}}]
        await self._sequences.update_one(one, [{"$set": {"grants": {"$concatArrays": [kept, given]}}}])

    async def page(
        self,
        workspace: Workspace,
        which: Document,
        archived: bool | None,
        tag: str | None,
        order: Order,
        page: PageQuery,
    ) -> tuple[list[Document], str | None]:
        """Those of the sequences that match."""
        found: Document = {"workspace_id": workspace, **which}
        if archived is not None:
            found["archived"] = archived
        if tag is not None:
            found["tags"] = {"$eq": tag}
        return await read_page(self._sequences, found, order, page, dict)

    async def tags(self, workspace: Workspace, which: Document) -> list[tuple[str, int]]:
        """The tags of live sequences that match with how many have each, the most used first."""
        rows = await self._sequences.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": workspace,
                        "archived": False,
                        "tags.0": {"$exists": True},
                        **which,
                    }
                },
                {"$unwind": "$tags"},
                {"$group": {"_id": "$tags", "n": {"$sum": 1}}},
                {"$sort": {"n": -1, "_id": 1}},
                {"$limit": MOST_TAGS},
            ]
        )
        return [(row["_id"], row["n"]) for row in rows]

    async def names(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, str]:
        """What these sequences are called."""
        found = await self._sequences.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}}, projection={"name": 1}
        )
        return {doc["_id"]: doc["name"] for doc in found}

    async def sending_from(self, workspace: Workspace, owner_id: UUID) -> dict[UUID, list[UUID]]:
        """The mailboxes that the latest version of each live sequence of a user sends from."""
        own = await self._sequences.find(
            {"workspace_id": workspace, "owner_id": owner_id, "archived": False},
            projection={"latest_version": 1},
            limit=MOST_OWN,
        )
        latest = [names.version_id(each["_id"], each["latest_version"]) for each in own]
        versions = await self._versions.find(
            {"workspace_id": workspace, "_id": {"$in": latest}},
            projection={"sequence_id": 1, "mailbox_ids": 1},
        )
        return {each["sequence_id"]: each["mailbox_ids"] for each in versions}

    async def owned_by(self, workspace: Workspace, owner_id: UUID) -> list[Document]:
        """All sequences of a user, archived ones too: there may be people in them."""
        return await self._sequences.find(
            {"workspace_id": workspace, "owner_id": owner_id}, projection={"name": 1, "archived": 1}
        )

    async def transfer(self, sequence: Document, event: Document, owner_id: UUID, real_now: datetime) -> bool:
        """Give it another owner; False if it changed since it was read."""
        return await self._sequences.update_one(
            {
                "_id": sequence["_id"],
                "workspace_id": sequence["workspace_id"],
                "owner_id": sequence["owner_id"],
                "latest_version": sequence["latest_version"],
            },
            {"$set": {"owner_id": owner_id, "touched_at": real_now}, "$push": {"outbox": event}},
        )

    async def version(self, workspace: Workspace, sequence_id: UUID, version: int) -> Document | None:
        """One version, published or about to be."""
        return await self._versions.find_one(
            {"_id": names.version_id(sequence_id, version), "workspace_id": workspace}
        )

    async def open_versions(self, workspace: Workspace) -> set[tuple[UUID, int]]:
        """The latest version of each sequence that takes people."""
        found = await self._sequences.find(
            {"workspace_id": workspace, "archived": False}, projection={"latest_version": 1}
        )
        return {(doc["_id"], doc["latest_version"]) for doc in found}

    async def versions(
        self, workspace: Workspace, sequence_id: UUID, latest: int, page: PageQuery
    ) -> tuple[list[Document], str | None]:
        """The versions up to the `latest` published one, the newest first, without their text."""
        found = {"workspace_id": workspace, "sequence_id": sequence_id, "version": {"$lte": latest}}
        shown = dict.fromkeys(("version", "created_by", "created_at"), 1)
        return await read_page(self._versions, found, VERSIONS_ORDER, page, dict, shown)

    async def wordings(self, workspace: Workspace, sequence_id: UUID) -> list[Document]:
        """What every version's stages say, by `version`."""
        return await self._versions.find(
            {"workspace_id": workspace, "sequence_id": sequence_id},
            projection={"version": 1, "document.stages": 1},
        )

    async def add_version(self, version: Document) -> None:
        """Duplicate if that number is taken."""
        await self._versions.insert_one(version)

    async def add(self, sequence: Document) -> bool:
        """Whether it was new."""
        return bool(await self._sequences.insert_new([sequence]))

    async def publish(self, version: Document, real_now: datetime) -> bool:
        """Make a stored version the latest; False if another one is, or the sequence is archived.

        Whoever finds the next number taken calls it for the other's version: a crash between the two
        writes would otherwise leave the sequence without a free number.
        """
        event = outbox_entry(version, SequenceEventType.PUBLISHED, version["created_at"])
        return await self._sequences.update_one(
            {
                "_id": version["sequence_id"],
                "workspace_id": version["workspace_id"],
                "latest_version": version["version"] - 1,
                "archived": False,
            },
            {"$set": published_fields(version, real_now), "$push": {"outbox": event}},
        )

    async def archive(self, sequence: Document, version: Document, now: datetime, real_now: datetime) -> bool:
        """Take no more people; False if it changed since it was read."""
        event = outbox_entry(version, SequenceEventType.ARCHIVED, now)
        return await self._sequences.update_one(
            {
                "_id": sequence["_id"],
                "workspace_id": sequence["workspace_id"],
                "archived": False,
                "latest_version": sequence["latest_version"],
            },
            {
                "$set": {"archived": True, "updated_at": now, "touched_at": real_now},
                "$push": {"outbox": event},
            },
        )

    async def told(
        self, workspace: Workspace, sequence_id: UUID, event_ids: Sequence[UUID]
    ) -> Document | None:
        """The brokers have these events; returns the sequence as it is then."""
        return await self._sequences.find_one_and_update(
            {"_id": sequence_id, "workspace_id": workspace},
            {"$pull": {"outbox": {"event_id": {"$in": list(event_ids)}}}},
        )

    async def untold(self, touched_until: datetime, limit: int) -> list[Document]:
        """Of all workspaces: sequences with events that the brokers have not acknowledged."""
        return await self._sequences.find(
            {"outbox.0": {"$exists": True}, "touched_at": {"$lte": touched_until}},
            sort=[("touched_at", 1)],
            limit=limit,
        )


class Mailboxes:
    """Connected sending identities."""

    def __init__(self, database: Database) -> None:
        self._mailboxes = database.collection(names.MAILBOXES)
        self._cursors = database.collection(names.MAILBOX_CURSORS)

    async def one(self, workspace: Workspace, mailbox_id: UUID) -> Document | None:
        """A mailbox."""
        return await self._mailboxes.find_one({"_id": mailbox_id, "workspace_id": workspace})

    async def for_webhook(self, mailbox_id: UUID) -> Document | None:
        """Of any workspace: a webhook proves itself by the mailbox's own secret."""
        return await self._mailboxes.find_one(
            {"_id": mailbox_id}, projection={"workspace_id": 1, "inbound_secret": 1, "mailgun_key": 1}
        )

    async def page(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """Mailboxes, the newest first."""
        return await read_page(self._mailboxes, {"workspace_id": workspace}, NEWEST_FIRST, page, dict)

    async def watching(self, workspace: Workspace, ids: Some[UUID]) -> dict[UUID, WatchingView]:
        """How watching these goes, as far as somebody watches them."""
        found = await self._cursors.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}}, projection=WatchingView.PROJECTION
        )
        return {doc["_id"]: WatchingView.read(doc) for doc in found}

    async def at(self, workspace: Workspace, addresses: Some[str]) -> dict[str, Document]:
        """The mailboxes with these addresses (in lower case): id, address and owner."""
        found = await self._mailboxes.find(
            {"workspace_id": workspace, "address": {"$in": list(addresses)}}, projection=WHOSE
        )
        return {doc["address"]: doc for doc in found}

    async def among(self, workspace: Workspace, ids: Some[UUID]) -> list[Document]:
        """The mailboxes with these ids: id, address and owner."""
        return await self._mailboxes.find(
            {"workspace_id": workspace, "_id": {"$in": list(ids)}}, projection=WHOSE
        )

    async def owned_by(self, workspace: Workspace, owner_id: UUID) -> list[Document]:
        """A user's mailboxes, the first connected first: id, address and owner."""
        return await self._mailboxes.find(
            {"workspace_id": workspace, "owner_id": owner_id}, projection=WHOSE, sort=[("created_at", 1)]
        )

    async def signing_own(self, workspace: Workspace, domain: str) -> bool:
        """Whether our keys for this domain sign what some mailbox sends."""
        found = {"workspace_id": workspace, "signing_domain": {"$eq": domain}}
        return await self._mailboxes.find_one(found, projection={"_id": 1}) is not None

    async def owner_has(self, workspace: Workspace, owner_id: UUID, tokens: Mapping[str, str]) -> None:
        """Their owner's own values of tokens, where scheduler and sender find them."""
        found = {"workspace_id": workspace, "owner_id": owner_id}
        await self._mailboxes.update_many(found, {"$set": {"owner_tokens": dict(tokens)}})

    async def first_of(self, workspace: Workspace, owner_id: UUID) -> UUID | None:
        """The mailbox that a user connected first."""
        found = await self._mailboxes.find_one(
            {"workspace_id": workspace, "owner_id": owner_id},
            projection={"_id": 1},
            sort=[("created_at", 1)],
        )
        return found["_id"] if found else None

    async def add(self, mailbox: Document) -> None:
        """Duplicate if the address is connected already."""
        await self._mailboxes.insert_one(mailbox)

    async def change(self, mailbox: Document, fields: Document) -> Document | None:
        """Set fields, if nobody did since it was read; the mailbox after it."""
        return await self._mailboxes.find_one_and_update(
            {
                "_id": mailbox["_id"],
                "workspace_id": mailbox["workspace_id"],
                "updated_at": mailbox["updated_at"],
            },
            {"$set": fields},
        )


class Commands:
    """Commands of people and clients: documents first, then messages, until their owner's result is seen."""

    def __init__(self, database: Database) -> None:
        self._commands = database.collection(names.COMMANDS)
        self._results = database.collection(names.COMMAND_RESULTS)
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._stops = database.collection(names.STOPS)

    async def add(self, commands: Sequence[Document]) -> None:
        """Store all; what is there already stays as it is. After a Retry some may be stored."""
        for start in range(0, len(commands), INSERT_AT_ONCE):
            await self._commands.insert_new(commands[start : start + INSERT_AT_ONCE])

    async def one(self, workspace: Workspace, command_id: UUID) -> Document | None:
        """A command."""
        return await self._commands.find_one({"_id": command_id, "workspace_id": workspace})

    async def latest(self, workspace: Workspace, target: str, kind: str) -> Document | None:
        """The last command of a kind about something."""
        found = {"workspace_id": workspace, "target": {"$eq": target}, "type": kind}
        commands = await self._commands.find(found, sort=[("created_at", -1)], limit=1)
        return commands[0] if commands else None

    async def sequence_of(self, workspace: Workspace, enrollment: str) -> UUID | None:
        """The sequence of an enrollment that was accepted and may not exist yet."""
        found = {"workspace_id": workspace, "target": {"$eq": enrollment}, "type": "enroll"}
        doc = await self._commands.find_one(found, projection={"sequence_id": 1})
        return doc["sequence_id"] if doc else None

    async def lease(self, ids: Sequence[UUID], until: datetime) -> None:
        """Nobody else looks at them until then."""
        await self._commands.update_many(
            {"_id": {"$in": list(ids)}, "state": CommandState.ACCEPTED.value},
            {"$set": {"next_at": until}},
            hint="_id_",
        )

    async def published(self, ids: Sequence[UUID], next_at: datetime, real_now: datetime) -> None:
        """The brokers have them; without a result they are looked at again at `next_at`."""
        await self._commands.update_many(
            {"_id": {"$in": list(ids)}, "state": CommandState.ACCEPTED.value},
            {"$set": {"published_at": real_now, "next_at": next_at}, "$inc": {"publishes": 1}},
            hint="_id_",
        )

    async def open(self, real_now: datetime, limit: int) -> list[Document]:
        """Of all workspaces: accepted commands that are to be looked at again, the longest waiting first."""
        return await self._commands.find(
            {"state": CommandState.ACCEPTED.value, "next_at": {"$lte": real_now}},
            sort=[("next_at", 1)],
            limit=limit,
        )

    async def results(self, commands: Sequence[Document]) -> dict[UUID, Document]:
        """Their owners' results by command id."""
        found = await self._results.find(
            {**_within(commands), "_id": {"$in": [each["_id"] for each in commands]}}
        )
        return {doc["_id"]: doc for doc in found}

    async def enrollments(self, commands: Sequence[Document]) -> dict[str, Document]:
        """For enrolls: the enrollments that they are about, by target."""
        ids = [UUID(each["target"]) for each in commands if each["type"] == "enroll"]
        if not ids:
            return {}
        found = await self._enrollments.find(
            {**_within(commands), "_id": {"$in": ids}}, projection={"tombstone": 1}
        )
        return {str(doc["_id"]): doc for doc in found}

    async def stopped(self, commands: Sequence[Document]) -> set[UUID]:
        """For stops: those that have ended all that they are about."""
        stops = [each for each in commands if each["topic"] == ENROLLMENT_STOPS.name]
        if not stops:
            return set()
        by_scope = await self._stops.find(
            {**_within(stops), "_id": {"$in": [each["_id"] for each in stops]}, "applied": True},
            projection={"_id": 1},
        )
        targets = [UUID(each["target"]) for each in stops]
        ended = await self._enrollments.find(
            {**_within(stops), "_id": {"$in": targets}, "ended": True}, projection={"_id": 1}
        )
        gone = {str(doc["_id"]) for doc in ended}
        return {doc["_id"] for doc in by_scope} | {each["_id"] for each in stops if each["target"] in gone}

    async def forget_results(self, before: datetime, limit: int) -> int:
        """Of all workspaces: delete results that nobody asks for any more; how many there were."""
        found = await self._results.find(
            {"at": {"$lt": before}}, projection={"_id": 1}, sort=[("at", 1)], limit=limit
        )
        if not found:
            return 0
        return await self._results.delete_many({"_id": {"$in": [doc["_id"] for doc in found]}})

    async def settle(self, outcomes: Sequence[tuple[Document, Settled]], real_now: datetime) -> None:
        """Keep what became of them, and no longer what they said: it is personal, and done with."""
        expires = real_now + KEEP_SETTLED
        await self._commands.bulk(
            [
                UpdateOne(
                    {
                        "_id": command["_id"],
                        "workspace_id": command["workspace_id"],
                        "state": CommandState.ACCEPTED.value,
                    },
                    {
                        "$set": {"state": what.state.value, "result": what.result(), "expires_at": expires},
                        "$unset": {"message": "", "next_at": ""},
                    },
                )
                for command, what in outcomes
            ]
        )


class Bulks:
    """Commands on everybody in a sequence: each becomes one command for every enrollment, page by page."""

    def __init__(self, database: Database) -> None:
        self._bulks = database.collection(names.BULK_COMMANDS)

    async def add(self, bulk: Document) -> None:
        """Store; what is there already stays as it is."""
        await self._bulks.insert_new([bulk])

    async def one(self, workspace: Workspace, bulk_id: UUID) -> Document | None:
        """A bulk command."""
        return await self._bulks.find_one({"_id": bulk_id, "workspace_id": workspace})

    async def open(self, real_now: datetime, limit: int) -> list[Document]:
        """Of all workspaces: those to be carried on now, the longest waiting first."""
        return await self._bulks.find(
            {"state": CommandState.ACCEPTED.value, "next_at": {"$lte": real_now}},
            sort=[("next_at", 1)],
            limit=limit,
        )

    async def carried(
        self, bulk: Document, fields: Document, counted: Mapping[str, int] | None = None
    ) -> bool:
        """A step further; False if another process made it."""
        same = {name: bulk[name] for name in ("state", "round", "cursor", "walked")}
        return await self._bulks.update_one(
            {"_id": bulk["_id"], "workspace_id": bulk["workspace_id"], **same},
            {"$set": fields, **({"$inc": dict(counted)} if counted else {})},
        )


class Idempotency:
    """What was answered to requests with an Idempotency-Key, for a day."""

    def __init__(self, database: Database) -> None:
        self._keys = database.collection(names.IDEMPOTENCY_KEYS)

    async def claim(self, claim: Document) -> Document | None:
        """None if the claim is ours, else what is stored under the key."""
        try:
            await self._keys.insert_one(claim)
        except Duplicate:
            return await self._keys.find_one({"_id": claim["_id"], "workspace_id": claim["workspace_id"]})
        return None

    async def take_over(self, stored: Document, claim: Document) -> bool:
        """Take a claim whose holder is gone."""
        return await self._keys.update_one(
            {
                "_id": stored["_id"],
                "workspace_id": stored["workspace_id"],
                "answer": None,
                "started_at": stored["started_at"],
            },
            {"$set": {"started_at": claim["started_at"], "token": claim["token"]}},
        )

    async def answered(self, claim: Document, answer: Document) -> None:
        """Keep the answer, if the claim is still ours."""
        await self._keys.update_one(_own(claim), {"$set": {"answer": answer}})

    def answers(self, workspace: UUID) -> AsyncIterator[Document]:
        """The keys of a workspace that have an answer."""
        return self._keys.stream({"workspace_id": workspace, "answer.body": {"$exists": True}})

    async def release(self, claim: Document) -> None:
        """Forget a claim that led to no answer worth keeping."""
        await self._keys.delete_one({**_own(claim), "answer": None})


class SmsNumbers:
    """Connected phone numbers."""

    def __init__(self, database: Database) -> None:
        self._numbers = database.collection(names.SMS_NUMBERS)

    async def one(self, workspace: Workspace, number_id: UUID) -> Document | None:
        """A number."""
        return await self._numbers.find_one({"_id": number_id, "workspace_id": workspace})

    async def for_webhook(self, number_id: UUID) -> Document | None:
        """Of any workspace: a webhook proves itself by the number's own auth token."""
        return await self._numbers.find_one(
            {"_id": number_id}, projection={"workspace_id": 1, "auth_token": 1, "provider": 1}
        )

    async def page(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """Numbers, the newest first."""
        return await read_page(self._numbers, {"workspace_id": workspace}, NEWEST_FIRST, page, dict)

    async def any_sends(self, workspace: Workspace) -> bool:
        """Whether text messages can be sent at all."""
        numbers = await self._numbers.find(
            {"workspace_id": workspace}, projection=names.SmsNumberView.PROJECTION
        )
        return any(names.SmsNumberView.read(each).can_send for each in numbers)

    async def add(self, number: Document) -> None:
        """Duplicate if the number is connected already."""
        await self._numbers.insert_one(number)

    async def change(self, workspace: Workspace, number_id: UUID, fields: Document) -> Document | None:
        """Set fields; the number after it, None if there is no such number."""
        return await self._numbers.find_one_and_update(
            {"_id": number_id, "workspace_id": workspace}, {"$set": fields}
        )


class Receipts:
    """What the provider tells of messages sent from a number."""

    def __init__(self, database: Database) -> None:
        self._receipts = database.collection(names.RECEIPTS)

    async def add(self, receipt: Document) -> bool:
        """Whether it was new."""
        return bool(await self._receipts.insert_new([receipt]))

    async def page(
        self, workspace: Workspace, number_id: UUID, provider_id: str | None, page: PageQuery
    ) -> tuple[list[Document], str | None]:
        """The receipts of a number, or those of one message, the newest first."""
        found: Document = {"workspace_id": workspace, "number_id": number_id}
        if provider_id is not None:
            found["provider_id"] = {"$eq": provider_id}
        return await read_page(self._receipts, found, RECEIPTS_ORDER, page, dict)


class WebhookTokens:
    """The signed tokens that were used, so that none proves a second message."""

    def __init__(self, database: Database) -> None:
        self._tokens = database.collection(names.WEBHOOK_TOKENS)

    async def use(self, token: Document) -> bool:
        """Whether the token is free, or was used for the same message."""
        if await self._tokens.insert_new([token]):
            return True
        used = await self._tokens.find_one(
            {"_id": token["_id"], "workspace_id": token["workspace_id"]}, projection={"digest": 1}
        )
        return used is not None and used["digest"] == token["digest"]


class Suppressions:
    """Addresses, domains and phones that must not be written to, as keyed hashes."""

    def __init__(self, database: Database) -> None:
        self._suppressions = database.collection(names.SUPPRESSIONS)

    async def add(self, suppression: Document) -> bool:
        """Whether it was new; who was first keeps the reason."""
        return bool(await self.add_all([suppression]))

    async def add_all(self, suppressions: Sequence[Document]) -> set[str]:
        """The ids of those that were new."""
        return await self._suppressions.insert_new(suppressions)

    def every(self, workspace: Workspace) -> AsyncIterator[Document]:
        """All of them, the newest first."""
        return self._suppressions.stream({"workspace_id": workspace}, sort=SUPPRESSIONS_ORDER.sort)

    async def one(self, workspace: Workspace, suppression_id: str) -> Document | None:
        """A suppression."""
        return await self._suppressions.find_one({"_id": {"$eq": suppression_id}, "workspace_id": workspace})

    async def reasons(self, workspace: Workspace, ids: Iterable[str]) -> dict[str, str]:
        """Why each of these exists, of those that do."""
        query = {"_id": {"$in": list(ids)}, "workspace_id": workspace}
        found = await self._suppressions.find(query, projection={"reason": 1})
        return {doc["_id"]: doc["reason"] for doc in found}

    async def page(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """Suppressions, the newest first."""
        return await read_page(
            self._suppressions, {"workspace_id": workspace}, SUPPRESSIONS_ORDER, page, dict
        )

    async def remove(self, workspace: Workspace, suppression_id: str) -> bool:
        """Whether there was one."""
        return await self._suppressions.delete_one(
            {"_id": {"$eq": suppression_id}, "workspace_id": workspace}
        )


class SigningDomains:
    """Keys that sign for domains: each document is one set of them, with selectors of its own."""

    def __init__(self, database: Database) -> None:
        self._domains = database.collection(names.SIGNING_DOMAINS)

    async def add(self, signing: Document) -> None:
        """Keep a new set."""
        await self._domains.insert_one(signing)

    async def one(self, workspace: Workspace, signing_id: UUID) -> Document | None:
        """One set."""
        return await self._domains.find_one({"_id": signing_id, "workspace_id": workspace})

    async def page(self, workspace: Workspace, page: PageQuery) -> tuple[list[Document], str | None]:
        """Sets, the newest first, without the private keys."""
        hidden = {"keys.secret": 0}
        return await read_page(self._domains, {"workspace_id": workspace}, NEWEST_FIRST, page, dict, hidden)

    async def of(self, workspace: Workspace, domain: str) -> list[Document]:
        """The sets of a domain without the private keys; the one that signs first, if one is activated."""
        return await self._domains.find(
            {"workspace_id": workspace, "domain": {"$eq": domain}},
            projection={"keys.secret": 0},
            sort=[("activated_at", -1), ("created_at", -1)],
        )

    async def activate(self, workspace: Workspace, signing_id: UUID, now: datetime) -> Document | None:
        """Let it sign from now on, in place of any other of its domain; the set after it."""
        return await self._domains.find_one_and_update(
            {"_id": signing_id, "workspace_id": workspace}, {"$set": {"activated_at": now}}
        )

    async def remove(self, workspace: Workspace, signing_id: UUID) -> bool:
        """Whether there was one."""
        return await self._domains.delete_one({"_id": signing_id, "workspace_id": workspace})


class AuditLog:
    """Who did what; entries are never changed."""

    def __init__(self, database: Database) -> None:
        self._entries = database.collection(names.AUDIT_LOG)

    async def add(self, entry: Document) -> None:
        """Keep an entry; a repetition of the same request finds its own."""
        await self._entries.insert_new([entry])

    async def page(
        self, workspace: Workspace, page: PageQuery, which: Document
    ) -> tuple[list[Document], str | None]:
        """Entries, the newest first; `which`: the values that their fields have."""
        found = {"workspace_id": workspace, **{name: {"$eq": value} for name, value in which.items()}}
        return await read_page(self._entries, found, AUDIT_ORDER, page, dict)


def _within(documents: Sequence[Document]) -> dict[str, Any]:
    return {"workspace_id": {"$in": list({each["workspace_id"] for each in documents})}}


def _own(claim: Document) -> Document:
    return {"_id": claim["_id"], "workspace_id": claim["workspace_id"], "token": claim["token"]}
