"""Commands on everybody in a sequence: stored once, then made one command a person, page by page, by a sweep.

A page is noted in the bulk command before its commands are stored, and their ids follow from its own and the
enrollments': whoever carries on after a crash, nobody gets two and nobody is left out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from api import telemetry
from api.courier import Courier, Letter
from api.model import KEEP_SETTLED, CommandState, command_document
from api.paging import PageQuery
from api.reads import Reads, whom
from api.routing import Call
from api.store import Store
from api.submitting import Accepted, accepted
from chassis import faults
from chassis.clock import Clock
from chassis.store import Document
from segue_contracts.commands import Hold, HoldScope, Lift, MarkReplied, Migrate, Stop
from segue_contracts.message import Message, Scope

BULKS_AT_ONCE = 20
PAGE = 200
"""What the scheduler carries out in about a second: other people's commands do not wait for longer."""
AGAIN_SECONDS = 1.0
"""Between two looks at whether a page has been carried out."""

STRAGGLING = timedelta(seconds=10)
"""How long an enroll that was checked before its sequence was archived may take to be inserted."""
ROUND: Document = {"cursor": None, "waiting": [], "walked": False, "found": 0}

KINDS: Mapping[str, type[Message]] = {
    "migrate": Migrate,
    "stop": Stop,
    "hold": Hold,
    "lift": Lift,
    "mark_replied": MarkReplied,
}


async def submit_for_all(
    call: Call, kind: str, sequence_id: UUID, *, among: str = "live", **fields: Any
) -> Accepted:
    """Store a command on everybody who is live in a sequence; `fields` are what each person's says.

    `among`: only on those whom this word means (see `reads.whom`) when their turn comes.
    """
    bulk_id, real_now = call.ids.next(), call.api.clock.real_now()
    await call.api.store.bulks.add(
        {
            "_id": bulk_id,
            "workspace_id": call.caller.workspace,
            "type": kind,
            "sequence_id": sequence_id,
            "among": among,
            "fields": fields,
            "issued_by": str(call.caller.user_id),
            "created_at": call.api.clock.now(),
            "state": CommandState.ACCEPTED.value,
            "accepted_at": real_now,
            "round": 1,
            **ROUND,
            "people": 0,
            "refused": 0,
            "next_at": real_now,
        }
    )
    telemetry.ACCEPTED.labels(f"{kind}_all").inc()
    return accepted(call, bulk_id)


class Crowd:
    """Carries bulk commands on, each a page at a time: the next one when all of the last have a result."""

    def __init__(self, clock: Clock, store: Store, reads: Reads, courier: Courier) -> None:
        self._clock = clock
        self._store = store
        self._reads = reads
        self._courier = courier

    async def sweep(self) -> None:
        """One step of each open bulk command."""
        for bulk in await self._store.bulks.open(self._clock.real_now(), BULKS_AT_ONCE):
            await self._carry(bulk)

    async def _carry(self, bulk: Document) -> None:
        again = {"next_at": self._clock.real_now() + timedelta(seconds=AGAIN_SECONDS)}
        messages = self._messages(bulk, bulk["waiting"])
        commands = [{"_id": each.event_id, "workspace_id": each.workspace_id} for each in messages]
        results = await self._store.commands.results(commands)
        open_ones = [each for each in messages if each.event_id not in results]
        if open_ones:
            await self._keep(open_ones)  # a crash may have come before they were stored
            await self._store.bulks.carried(bulk, again)
            return
        counted = {"refused": sum(each["status"] == "refused" for each in results.values())}
        if bulk["walked"]:
            await self._store.bulks.carried(bulk, again | self._after_round(bulk), counted)
        else:
            await self._next_page(bulk, again, counted)

    async def _next_page(self, bulk: Document, again: Document, counted: Mapping[str, int]) -> None:
        """Note whom the page is about, then make it commands."""
        page = PageQuery(cursor=bulk["cursor"], limit=PAGE)
        ids, cursor = await self._reads.live_ids(
            bulk["workspace_id"], bulk["sequence_id"], _which(bulk), page
        )
        reached = {"found": len(ids), "people": len(ids) if bulk["round"] == 1 else 0}
        noted = {"cursor": cursor, "waiting": ids, "walked": cursor is None}
        if not await self._store.bulks.carried(bulk, again | noted, {**counted, **reached}):
            return
        await faults.point("api.crowd_page_noted")
        messages = self._messages(bulk, ids)
        await self._keep(messages)
        self._courier.take([Letter(each, each.event_id) for each in messages])

    async def _keep(self, messages: Sequence[Message]) -> None:
        now, real_now = self._clock.now(), self._clock.real_now()
        await self._store.commands.add(
            [command_document(each, each.key(), now, real_now) for each in messages]
        )

    def _messages(self, bulk: Document, enrollments: Sequence[UUID]) -> list[Message]:
        return [message_for(bulk, each, self._clock.real_now()) for each in enrollments]

    def _after_round(self, bulk: Document) -> Document:
        """A migration goes round once, a stop until a round finds nobody: an enroll that was under way when
        the sequence was archived may have come in behind the page that it belonged to.
        """
        real_now = self._clock.real_now()
        if bulk["type"] == "stop" and (bulk["found"] or real_now - bulk["accepted_at"] < STRAGGLING):
            return {"round": bulk["round"] + 1, **ROUND}
        return {"state": CommandState.DONE.value, "waiting": [], "expires_at": real_now + KEEP_SETTLED}


def _which(bulk: Document) -> Document:
    """Which of the live ones it is about."""
    if bulk["type"] == "migrate":
        return {"sequence_version": {"$ne": bulk["fields"]["to_version"]}}
    return {} if bulk["among"] == "live" else whom(bulk["among"])


def message_for(bulk: Document, enrollment: UUID, real_now: datetime) -> Message:
    """What a bulk command is for one person."""
    return KINDS[bulk["type"]](
        event_id=uuid5(bulk["_id"], str(enrollment)),
        occurred_at=bulk["created_at"],
        recorded_at=real_now,
        workspace_id=bulk["workspace_id"],
        issued_by=bulk["issued_by"],
        **target_of(bulk["type"], enrollment),
        **bulk["fields"],
    )


def target_of(kind: str, enrollment: UUID) -> dict[str, Any]:
    """The fields by which a command of a kind names one enrollment."""
    if kind in ("hold", "lift"):
        return {"scope": HoldScope.ENROLLMENT, "scope_id": enrollment}
    return {"enrollment_id": enrollment} | ({"scope": Scope.ENROLLMENT} if kind == "stop" else {})
