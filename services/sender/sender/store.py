"""The deliveries: every write is guarded by the states that the transitions table lets it start from."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from chassis import documents as names
from chassis import tracing
from chassis.documents import (
    AttachmentView,
    ComparisonView,
    EnrollmentView,
    MailboxView,
    PersonView,
    SigningView,
    SmsNumberView,
    VersionView,
    WorkspaceView,
)
from chassis.errors import Duplicate
from chassis.retry import retrying
from chassis.store import SERVER_STAMP, Database, Index, UpdateOne, its_own
from sender.model import (
    Claim,
    Document,
    Due,
    Earlier,
    Existing,
    Move,
    Settlement,
    State,
    claim_token,
    sources,
)

T = TypeVar("T")

INLINE_BYTES: Final = 64 * 1024
"""Larger bodies go to GridFS."""
COMMAND_BYTES: Final = 6 * 1024 * 1024
"""MongoDB takes an update of 16 MiB."""
FACTS_BYTES: Final = 2048

INDEXES: Final = (
    Index((("message_id", 1),), "message_id", unique=True, partial={"message_id": {"$type": "string"}}),
    Index(
        (("workspace_id", 1), ("provider_message_id", 1)),
        "provider_message_id",
        partial={"provider_message_id": {"$type": "string"}},
    ),
    Index((("workspace_id", 1), ("enrollment_id", 1)), "enrollment"),
    # Somebody's tasks, and everybody's, in the order in which they are due: read page by page, never sorted.
    Index(
        (("workspace_id", 1), ("task.assignee_id", 1), ("task.due_at", 1), ("_id", 1)),
        "tasks_of_assignee",
        partial={"state": State.TASK_OPEN.value},
    ),
    Index(
        (("workspace_id", 1), ("task.due_at", 1), ("_id", 1)),
        "tasks_of_all",
        partial={"state": State.TASK_OPEN.value},
    ),
    Index((("workspace_id", 1), ("settled_at", 1)), "in_doubt", partial={"state": State.IN_DOUBT.value}),
    Index(
        (("workspace_id", 1), ("mailbox_id", 1), ("settled_at", 1)),
        "in_doubt_of_mailbox",
        partial={"state": State.IN_DOUBT.value},
    ),
    Index(
        (("workspace_id", 1), ("mailbox_id", 1), ("sent_at", 1)),
        "sent",
        partial={"state": State.SENT.value},
    ),
    # Not read here: for the api's counts of what a sequence has sent, by stage and by day.
    Index(
        (("workspace_id", 1), ("sequence_id", 1), ("sent_at", 1), ("stage_id", 1)),
        "sequence_sent",
        partial={"state": State.SENT.value},
    ),
    # The same for the api's counts of the tasks that were done.
    Index(
        (("workspace_id", 1), ("sequence_id", 1), ("settled_at", 1)),
        "sequence_done",
        partial={"state": State.DONE.value},
    ),
    Index((("settled_at", 1), ("workspace_id", 1), ("mailbox_id", 1)), "bounced", partial={"bounced": True}),
    # Whose words are still there: one entry at the settlement, gone when they are erased.
    Index(
        (("workspace_id", 1), ("settled_at", 1)),
        "kept_text",
        partial={"text": {"$exists": True}, "settled_at": {"$exists": True}},
    ),
    Index(
        (("workspace_id", 1), ("settled_at", 1)), "kept_task_text", partial={"task.text": {"$exists": True}}
    ),
    Index((("deadline", 1),), "transmitting", partial={"state": State.TRANSMITTING.value}),
    Index((("task.skip_at", 1),), "task_overdue", partial={"state": State.TASK_OPEN.value}),
    Index((("task.tell_at", 1),), "task_tell", partial={"state": State.TASK_OPEN.value}),
    Index((("task.prompt_at", 1),), "task_prompt", partial={"state": State.TASK_OPEN.value}),
    Index(
        (("workspace_id", 1), ("settled_at", -1), ("_id", -1)),
        "task_recalled",
        partial={"state": State.RELEASED.value, "task.opened_at": {"$type": "date"}},
    ),
)
VALIDATOR: Final[Document] = {
    "bsonType": "object",
    "required": ["_id", "workspace_id", "enrollment_id", "stage_id", "attempt", "token", "state"],
    "properties": {
        "_id": {"bsonType": "string"},
        "workspace_id": {"bsonType": "binData"},
        "enrollment_id": {"bsonType": "binData"},
        "stage_id": {"bsonType": "string"},
        "attempt": {"bsonType": ["int", "long"]},
        "token": {"bsonType": "string"},
        "state": {"enum": [state.value for state in State]},
    },
}
WITHOUT_BODY: Final[Document] = {"body": 0, "text": 0, "references": 0, "tracking": 0}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a claim's journal keeps: the message's bytes with their facts, or nothing where that was done."""

    claim: Claim
    facts: Document
    body: bytes = b""
    file: str = ""
    """Where the bytes are, if they are too many for a document."""

    @property
    def size(self) -> int:
        """About how many bytes it takes in a command."""
        links = sum(map(len, self.facts.get("tracking", {}).get("links", ())))
        text = 3 * len(self.facts.get("text", ""))
        return len(self.body) * (not self.file) + text + links + FACTS_BYTES

    @property
    def told(self) -> Document:
        """What its outcome tells of it: the variant, also of the words that an earlier attempt has kept."""
        variant = self.facts.get("variant") if self.facts else self.claim.earlier.variant
        return {"variant": variant} if variant else {}

    @property
    def kept(self) -> Document:
        """What the delivery keeps of it."""
        if self.file:
            return {**self.facts, "body_file": self.file}
        return {**self.facts, "body": self.body} if self.body else self.facts


@dataclass(frozen=True, slots=True)
class Parent:
    """The e-mail that a reply goes on from; `message_id` is the one that its recipient has seen."""

    message_id: str
    references: tuple[str, ...]
    subject: str


class Store:
    """Deliveries, and narrow reads of what others own. Everything may raise Retry.

    A method that takes several claims is one batch; what it returns is in the order of its arguments. All of
    them may be repeated after a Retry: what an earlier try did is recognised by the claim's token.
    """

    def __init__(self, database: Database, *, lease_seconds: float, doubt_seconds: float) -> None:
        self._database = database
        self._deliveries = database.collection(names.DELIVERIES)
        self._slots = database.collection(names.SLOTS)
        self._mailbox_states = database.collection(names.MAILBOX_STATES)
        self._enrollments = database.collection(names.ENROLLMENTS)
        self._people = database.collection(names.PEOPLE)
        self._holds = database.collection(names.HOLDS)
        self._suppressions = database.collection(names.SUPPRESSIONS)
        self._versions = database.collection(names.SEQUENCE_VERSIONS)
        self._comparisons = database.collection(names.COMPARISONS)
        self._mailboxes = database.collection(names.MAILBOXES)
        self._workspaces = database.collection(names.WORKSPACES)
        self._sms_numbers = database.collection(names.SMS_NUMBERS)
        self._signing_domains = database.collection(names.SIGNING_DOMAINS)
        self._attachments = database.collection(names.ATTACHMENTS)
        self._results = database.collection(names.COMMAND_RESULTS)
        self._files = database.files("bodies")
        self._lease_until = _now_plus(lease_seconds)
        self._overdue = _overdue(lease_seconds)
        self._deadline = _now_plus(doubt_seconds)

    # ---- 1. claim ----

    async def claim_new(self, dues: Sequence[Due], batch: str) -> set[str]:
        """Insert what nobody has claimed yet; the dispatch ids that this batch has now."""
        claims = [_new_claim(due, batch) for due in dues]
        return await retrying(lambda: self._deliveries.insert_new(claims))

    async def existing(self, dues: Sequence[Due]) -> dict[str, Existing]:
        """What these dispatches' deliveries are now, by id; mongod's clock judges leases and deadlines."""
        if not dues:
            return {}
        query = {"_id": {"$in": [d.dispatch_id for d in dues]}, "workspace_id": {"$in": _workspaces(dues)}}
        found = await self._deliveries.aggregate(
            [{"$match": query}, {"$unset": list(WITHOUT_BODY)}, {"$set": {"overdue": self._overdue}}]
        )
        return {doc["_id"]: Existing.read(doc) for doc in found}

    async def claim_existing(
        self, wanted: Sequence[tuple[Due, Existing, Move]], batch: str
    ) -> dict[str, Earlier]:
        """Claim again or take over what is still as it was read; what became ours, with what it held."""
        if not wanted:
            return {}
        writes = [self._claim_write(due, existing, move, batch) for due, existing, move in wanted]
        outcome = await retrying(lambda: self._deliveries.bulk(writes))
        mine = {due.dispatch_id: _earlier(existing.document) for due, existing, _ in wanted}
        if outcome.matched == len(writes):
            return mine
        tokens = [claim_token(batch, dispatch_id) for dispatch_id in mine]
        kept = await self._holding([due for due, _, _ in wanted], tokens, [State.CLAIMED.value])
        return {dispatch_id: earlier for dispatch_id, earlier in mine.items() if dispatch_id in kept}

    def _claim_write(self, due: Due, existing: Existing, move: Move, batch: str) -> UpdateOne:
        guard = {
            "_id": due.dispatch_id,
            "workspace_id": due.workspace_id,
            "token": existing.token,
            "attempt": existing.attempt,
            "state": {"$in": sources(move)},
        }
        fields = {
            "state": State.CLAIMED.value,
            "attempt": due.attempt,
            "token": {"$literal": claim_token(batch, due.dispatch_id)},
            "lease_until": self._lease_until,
            **tracing.kept(due.enrollment_id),
        }
        return UpdateOne(guard, [{"$set": fields}], hint="_id_")

    async def doubt_overdue(self, found: Sequence[Existing], at: datetime) -> list[Document]:
        """Transmissions past their deadline become in doubt; the documents that are in doubt now.

        `at` is business time; the deadline is real and judged by mongod.
        """
        if not found:
            return []
        ids = [existing.document["_id"] for existing in found]
        workspaces = list({existing.document["workspace_id"] for existing in found})
        guard = {
            "_id": {"$in": ids},
            "workspace_id": {"$in": workspaces},
            "token": {"$in": [existing.token for existing in found]},
            "state": {"$in": sources(Move.DOUBT)},
            "$expr": {"$lt": ["$deadline", "$$NOW"]},
        }
        fields = {"state": State.IN_DOUBT.value, "settled_at": at, "reason": "deadline_passed", "code": ""}
        await retrying(lambda: self._deliveries.update_many(guard, {"$set": fields}, hint="_id_"))
        query = {"_id": {"$in": ids}, "workspace_id": {"$in": workspaces}, "state": State.IN_DOUBT.value}
        return await self._deliveries.find(query, projection=WITHOUT_BODY)

    async def overdue_transmissions(self, real_now: datetime, limit: int) -> list[Existing]:
        """Transmissions that seem past their deadline; `doubt_overdue` judges. A sweep: all workspaces."""
        query = {"state": State.TRANSMITTING.value, "deadline": {"$lt": real_now}}
        found = await self._deliveries.find(query, projection=WITHOUT_BODY, limit=limit)
        return [Existing.read(doc) for doc in found]

    # ---- 2. read ----

    async def enrollments(
        self, workspaces: Iterable[UUID], ids: Iterable[UUID]
    ) -> dict[UUID, EnrollmentView]:
        """The truth about these enrollments; tombstones are not among them."""
        query = _within(workspaces, {"_id": {"$in": list(set(ids))}, "tombstone": {"$ne": True}})
        found = await self._enrollments.find(query, projection=EnrollmentView.PROJECTION)
        return {doc["_id"]: EnrollmentView.read(doc) for doc in found}

    async def people(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, PersonView]:
        """People by id."""
        query = _within(workspaces, {"_id": {"$in": list(set(ids))}})
        found = await self._people.find(query, projection=PersonView.PROJECTION)
        return {doc["_id"]: PersonView.read(doc) for doc in found}

    async def active_holds(self, workspaces: Iterable[UUID], ids: Iterable[str], now: datetime) -> set[str]:
        """Which of these holds hold at the business instant `now`."""
        found = await self._holds.find(_within(workspaces, {"_id": {"$in": list(set(ids))}}))
        return {doc["_id"] for doc in found if names.hold_is_active(doc, now)}

    async def suppressed(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> set[str]:
        """Which of these suppressions exist."""
        query = _within(workspaces, {"_id": {"$in": list(set(ids))}})
        return {doc["_id"] for doc in await self._suppressions.find(query, projection={"_id": 1})}

    async def versions(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> dict[str, VersionView]:
        """Published versions by id; they never change."""
        query = _within(workspaces, {"_id": {"$in": list(set(ids))}})
        found = await self._versions.find(query, projection=VersionView.PROJECTION)
        return {doc["_id"]: VersionView.read(doc) for doc in found}

    async def winners(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, str]:
        """Which variant has won, by comparison; those that go on are left out."""
        query = _within(workspaces, {"_id": {"$in": list(set(ids))}})
        found = await self._comparisons.find(query, projection=ComparisonView.PROJECTION)
        return {each.id: each.winner for each in map(ComparisonView.read, found) if each.winner}

    async def mailboxes(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, MailboxView]:
        """Sending identities by id."""
        query = _within(workspaces, {"_id": {"$in": list(set(ids))}})
        found = await self._mailboxes.find(query, projection=MailboxView.PROJECTION)
        return {doc["_id"]: MailboxView.read(doc) for doc in found}

    async def workspaces(self, ids: Iterable[UUID]) -> dict[UUID, WorkspaceView]:
        """Organisations by id."""
        query = {"_id": {"$in": list(set(ids))}}
        found = await self._workspaces.find(query, projection=WorkspaceView.PROJECTION)
        return {doc["_id"]: WorkspaceView.read(doc) for doc in found}

    async def signing(
        self, workspaces: Iterable[UUID], domains: Iterable[str]
    ) -> dict[tuple[UUID, str], SigningView]:
        """The keys that sign, by workspace and domain: of several sets the one that was activated last."""
        wanted = {"domain": {"$in": list(set(domains))}, "activated_at": {"$ne": None}}
        found = await self._signing_domains.find(
            _within(workspaces, wanted), projection=SigningView.PROJECTION, sort=[("activated_at", 1)]
        )
        return {(doc["workspace_id"], doc["domain"]): SigningView.read(doc) for doc in found}

    async def parents(self, workspaces: Iterable[UUID], enrollments: Iterable[UUID]) -> dict[UUID, Parent]:
        """The latest sent e-mail of each enrollment that has one."""
        query = _within(
            workspaces,
            {
                "enrollment_id": {"$in": list(set(enrollments))},
                "state": State.SENT.value,
                "message_id": {"$type": "string"},
            },
        )
        wanted = ("enrollment_id", "message_id", "provider_message_id", "references", "subject", "sent_at")
        found = await self._deliveries.find(query, projection=dict.fromkeys(wanted, 1), sort=[("sent_at", 1)])
        return {
            doc["enrollment_id"]: Parent(
                doc.get("provider_message_id") or doc["message_id"],
                tuple(doc.get("references") or ()),
                doc["subject"],
            )
            for doc in found
        }

    async def sms_numbers(self, workspaces: Iterable[UUID]) -> dict[UUID, list[SmsNumberView]]:
        """The numbers that can send, by workspace."""
        found = await self._sms_numbers.find(_within(workspaces, {}), projection=SmsNumberView.PROJECTION)
        numbers: dict[UUID, list[SmsNumberView]] = {}
        for number in map(SmsNumberView.read, found):
            if number.can_send:
                numbers.setdefault(number.workspace_id, []).append(number)
        return numbers

    async def numbers_used(self, workspaces: Iterable[UUID], enrollments: Iterable[UUID]) -> dict[UUID, UUID]:
        """From which number each enrollment's latest text message went, or was about to."""
        wanted = {"enrollment_id": {"$in": list(set(enrollments))}, "number_id": {"$exists": True}}
        found = await self._deliveries.find(
            _within(workspaces, wanted),
            projection={"enrollment_id": 1, "number_id": 1},
            sort=[("transmitted_at", 1)],
        )
        return {doc["enrollment_id"]: doc["number_id"] for doc in found}

    # ---- 3. the bytes ----

    async def attachment(self, workspace: UUID, attachment_id: UUID) -> AttachmentView | None:
        """A file with its content."""
        doc = await self._attachments.find_one(
            {"_id": attachment_id, "workspace_id": workspace}, projection=AttachmentView.PROJECTION
        )
        return AttachmentView.read(doc) if doc is not None else None

    async def put_file(self, claim: Claim, body: bytes) -> str:
        """Keep bytes that are too many for a document; the file's id.

        One file per claim; a claim is rendered once, so a file that is there already is this one.
        """
        with contextlib.suppress(Duplicate):
            await self._files.put(claim.token, claim.due.dispatch_id, body)
        return claim.token

    async def body(self, claim: Claim) -> bytes | None:
        """The stored bytes; None if the claim is gone."""
        query = _guard(claim, [State.CLAIMED.value])
        doc = await self._deliveries.find_one(query, projection={"body": 1, "body_file": 1})
        if doc is None:
            return None
        if doc.get("body_file"):
            return await self._files.get(doc["body_file"])
        return bytes(doc["body"]) if doc.get("body") else None

    # ---- 4., 5. journal, step back ----

    async def journal(self, drafts: Sequence[Draft], at: datetime) -> list[bool]:
        """claimed → transmitting with its bytes, where the claim still holds: the write that makes the
        transmitter unique.

        `at` is business time, kept for whoever has to decide what became of it; the deadline is mongod's.
        """
        fields = {
            "state": State.TRANSMITTING.value,
            "deadline": self._deadline,
            "transmitted_at": at,
            "journaled": True,
        }
        return [
            moved
            for some in _portions(drafts, [draft.size for draft in drafts])
            for moved in await self._move(
                [draft.claim for draft in some], Move.JOURNAL, fields, [draft.kept for draft in some]
            )
        ]

    async def step_back(self, claims: Sequence[Claim]) -> list[bool]:
        """transmitting → claimed, by the owner, before a byte of DATA."""
        fields = {"state": State.CLAIMED.value, "lease_until": self._lease_until}
        return await self._move(claims, Move.STEP_BACK, fields, [{}] * len(claims))

    async def _move(
        self, claims: Sequence[Claim], move: Move, fields: Document, own: Sequence[Document]
    ) -> list[bool]:
        guard = _guard_all(claims, move)
        update = _each_its_own(guard, "token", own, fields)
        matched = await self._deliveries.update_many(guard, update, hint="_id_")
        return await self._who(claims, matched, [fields["state"]])

    # ---- sending limits ----

    async def spend(
        self, spending: Sequence[tuple[Claim, str | None]], now: datetime, batch: str
    ) -> list[bool]:
        """Which claims have their attempt's slot, unspent until now and still valid; with a key, one that
        counts under it.
        """
        ids = [names.slot_id(claim.due.dispatch_id, claim.due.attempt) for claim, _ in spending]
        workspaces = _workspaces(claim.due for claim, _ in spending)
        unspent: Document = {
            "_id": {"$in": ids},
            "workspace_id": {"$in": workspaces},
            "spent_at": None,
            "until": {"$gt": now},
        }
        keyed = {i: key for i, (_, key) in zip(ids, spending, strict=True) if key is not None}
        if keyed:
            others = [i for i in ids if i not in keyed]
            named = ({"_id": i, "keys": key} for i, key in keyed.items())
            unspent["$or"] = [{"_id": {"$in": others}}, *named]
        spent = {"$set": {"spent_at": now, "spent_by": batch}}
        if await self._slots.update_many(unspent, spent, hint="_id_") == len(ids):
            return [True] * len(ids)
        found = await self._slots.find(
            {"_id": {"$in": ids}, "workspace_id": {"$in": workspaces}, "spent_by": batch},
            projection={"_id": 1},
        )
        mine = {doc["_id"] for doc in found}
        return [each in mine for each in ids]

    async def pace(self, workspace: UUID, mailbox_id: UUID, now: datetime, gap: timedelta) -> bool:
        """Take the mailbox's turn; False if its last one is less than the gap ago.

        One far ahead is of a clock that was wrong, and holds nobody up.
        """
        free = [{"last_at": {"$lte": now - gap}}, {"last_at": {"$gt": now + gap}}]
        query = {"_id": mailbox_id, "workspace_id": workspace, "$or": free}
        try:
            return await self._mailbox_states.update_one(query, {"$set": {"last_at": now}}, upsert=True)
        except Duplicate:
            return False

    # ---- 6. record ----

    async def settle(self, settled: Sequence[tuple[Claim, Settlement]]) -> list[bool]:
        """Each settlement, where the claim still holds; a 250 whatever the delivery has become but sent.

        False: no match, somebody else has settled it. For a 250: it was recorded before.
        """
        alike: dict[tuple[Move, tuple[str, ...]], list[tuple[Claim, Settlement]]] = {}
        for claim, settlement in settled:
            alike.setdefault((settlement.move, settlement.counts), []).append((claim, settlement))
        matched = 0
        for (move, counts), group in alike.items():
            for some in _portions(group, [settlement.size for _, settlement in group]):
                matched += await self._settle_alike(move, counts, some)
        return [True] * len(settled) if matched == len(settled) else await self._settled_by(settled)

    async def _settle_alike(
        self, move: Move, counts: Sequence[str], settled: Sequence[tuple[Claim, Settlement]]
    ) -> int:
        guard = _guard_all([claim for claim, _ in settled], move)
        own = [{**settlement.document, "settled_by": claim.token} for claim, settlement in settled]
        more = {name: {"$add": [{"$ifNull": [f"${name}", 0]}, 1]} for name in counts}
        key = "token"
        if move is Move.RECORD_SENT:
            key = "_id"
            del guard["token"]  # a 250 is a fact, whoever holds the claim by now
        update = _each_its_own(guard, key, own, more)
        return await self._deliveries.update_many(guard, update, hint="_id_")

    async def _settled_by(self, settled: Sequence[tuple[Claim, Settlement]]) -> list[bool]:
        dues = [claim.due for claim, _ in settled]
        query = _within(_workspaces(dues), {"_id": {"$in": [due.dispatch_id for due in dues]}})
        found = await self._deliveries.find(query, projection={"state": 1, "settled_by": 1})
        by = {doc["_id"]: (doc["state"], doc.get("settled_by")) for doc in found}
        return [
            by.get(claim.due.dispatch_id) == (settlement.target.value, claim.token)
            for claim, settlement in settled
        ]

    async def enrollment_states(self, claims: Sequence[Claim]) -> list[str]:
        """The enrollments' states now, empty for an unknown one."""
        dues = [claim.due for claim in claims]
        query = _within(_workspaces(dues), {"_id": {"$in": [due.enrollment_id for due in dues]}})
        found = await self._enrollments.find(query, projection={"state": 1})
        states = {doc["_id"]: str(doc["state"]) for doc in found}
        return [states.get(due.enrollment_id, "") for due in dues]

    async def suppress(self, suppressions: Sequence[Document]) -> None:
        """Add suppressions; one that is there stays as it is."""
        await self._suppressions.insert_new(suppressions)

    # ---- commands ----

    async def delivery(self, workspace: UUID, dispatch_id: str) -> Document | None:
        """A delivery without its body."""
        return await self._deliveries.find_one(
            {"_id": dispatch_id, "workspace_id": workspace}, projection=WITHOUT_BODY
        )

    async def change(
        self, workspace: UUID, dispatch_id: str, move: Move, fields: Document
    ) -> Document | None:
        """One guarded write of a command; the delivery after it, None where the move can't start."""
        guard = {"_id": dispatch_id, "workspace_id": workspace, "state": {"$in": sources(move)}}
        return await self._deliveries.find_one_and_update(guard, {"$set": fields}, projection=WITHOUT_BODY)

    async def note_provider_id(self, workspace: UUID, dispatch_id: str, provider_message_id: str) -> bool:
        """Keep under which id the provider sent it; False for an unknown dispatch. The first one stays."""
        found = {"_id": dispatch_id, "workspace_id": workspace}
        noted = {"$ifNull": ["$provider_message_id", provider_message_id]}
        return await self._deliveries.update_one(found, [{"$set": {"provider_message_id": noted}}])

    async def note_receipt(self, workspace: UUID, dispatch_id: str, receipt: Document) -> Document | None:
        """Keep what the provider said in the end; the delivery after it, None for an unknown dispatch."""
        return await self._deliveries.find_one_and_update(
            {"_id": dispatch_id, "workspace_id": workspace},
            {"$set": {"receipt": receipt}},
            projection=WITHOUT_BODY,
        )

    async def overdue_tasks(self, now: datetime, limit: int) -> list[Document]:
        """Open tasks that nobody did in time and that should be skipped then. A sweep: all workspaces."""
        query = {"state": State.TASK_OPEN.value, "task.skip_at": {"$lte": now}}
        return await self._deliveries.find(query, projection={"workspace_id": 1}, limit=limit)

    async def answered(self, workspaces: Iterable[UUID], ids: Sequence[UUID]) -> set[UUID]:
        """Which of these commands have their result."""
        query = _within(workspaces, {"_id": {"$in": list(ids)}})
        return {doc["_id"] for doc in await self._results.find(query, projection={"_id": 1})}

    async def save_results(self, results: Sequence[Document]) -> None:
        """What became of commands; the first word stays."""
        await self._results.insert_new(results)

    # ---- shared ----

    async def _who(self, claims: Sequence[Claim], matched: int, states: Sequence[str]) -> list[bool]:
        """For whom a batch of guarded writes matched; asked only where not all did."""
        if matched == len(claims):
            return [True] * len(claims)
        kept = await self._holding([c.due for c in claims], [c.token for c in claims], states)
        return [kept.get(claim.due.dispatch_id) == claim.token for claim in claims]

    async def _holding(
        self, dues: Sequence[Due], tokens: Sequence[str], states: Sequence[str]
    ) -> Mapping[str, str]:
        query = {
            "_id": {"$in": [due.dispatch_id for due in dues]},
            "workspace_id": {"$in": _workspaces(dues)},
            "token": {"$in": list(tokens)},
            "state": {"$in": list(states)},
        }
        found = await self._deliveries.find(query, projection={"token": 1})
        return {doc["_id"]: doc["token"] for doc in found}


def _new_claim(due: Due, batch: str) -> Document:
    return {
        "_id": due.dispatch_id,
        "workspace_id": due.workspace_id,
        "enrollment_id": due.enrollment_id,
        "stage_id": due.stage_id,
        "attempt": due.attempt,
        "token": claim_token(batch, due.dispatch_id),
        "state": State.CLAIMED.value,
        "claimed_at": SERVER_STAMP,  # an insert can't say `$$NOW`
        **tracing.kept(due.enrollment_id),
    }


def _overdue(lease_seconds: float) -> Document:
    """Whether the lease or the deadline has passed; the lease of a new claim counts from its insert."""
    first_lease = {"$add": [{"$toDate": "$claimed_at"}, int(lease_seconds * 1000)]}
    lease = {"$ifNull": ["$lease_until", first_lease]}
    of = {"$cond": [{"$eq": ["$state", State.TRANSMITTING.value]}, "$deadline", lease]}
    return {"$lt": [of, "$$NOW"]}


def _earlier(doc: Document) -> Earlier:
    return Earlier(
        bool(doc.get("journaled")),
        doc.get("recipient"),
        doc.get("mailbox_id"),
        doc.get("failures", 0),
        doc.get("soft_failures", 0),
        doc.get("policy_refusals", 0),
        tuple(doc.get("bcc") or ()),
        doc.get("variant"),
    )


def _guard(claim: Claim, states: Sequence[str]) -> Document:
    return {
        "_id": claim.due.dispatch_id,
        "workspace_id": claim.due.workspace_id,
        "token": claim.token,
        "state": {"$in": list(states)},
    }


def _guard_all(claims: Sequence[Claim], move: Move) -> Document:
    # Tokens are unique to one claim of one dispatch, so the two lists can't match crosswise.
    return {
        "_id": {"$in": [claim.due.dispatch_id for claim in claims]},
        "workspace_id": {"$in": _workspaces(claim.due for claim in claims)},
        "token": {"$in": [claim.token for claim in claims]},
        "state": {"$in": sources(move)},
    }


def _each_its_own(guard: Document, key: str, own: Sequence[Document], fields: Document) -> list[Document]:
    """An update for all that match `guard`: each gets `fields`, which are expressions, and one of `own`,
    which are values: the document that stands where the guard's list of `key` has its own.
    """
    mine = its_own(key, guard[key]["$in"], own)
    return [{"$replaceWith": {"$mergeObjects": ["$$ROOT", mine, fields]}}]


def _portions(items: Sequence[T], sizes: Sequence[int]) -> Iterator[Sequence[T]]:
    """The items in rows that one command can carry."""
    start = total = 0
    for index, size in enumerate(sizes):
        if total + size > COMMAND_BYTES and index > start:
            yield items[start:index]
            start, total = index, 0
        total += size
    if start < len(items):
        yield items[start:]


def _now_plus(seconds: float) -> Document:
    return {"$add": ["$$NOW", int(seconds * 1000)]}


def _workspaces(dues: Iterable[Due]) -> list[UUID]:
    return list({due.workspace_id for due in dues})


def _within(workspaces: Iterable[UUID], query: Document) -> dict[str, Any]:
    return {"workspace_id": {"$in": list(set(workspaces))}, **query}
