"""Commands on everybody in a sequence: stored once, then made one command a person, page by page, by a sweep.

The id of each person's command follows from the bulk command's and the enrollment's, and a page counts only
when all its commands are stored: whoever carries on after a crash, nobody gets two and nobody is left out.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from api import telemetry
from api.courier import Courier, Letter
from api.model import KEEP_SETTLED, CommandState, command_document, patience
from api.paging import MAX_LIMIT, PageQuery
from api.reads import Reads
from api.routing import Call
from api.store import Store
from api.submitting import Accepted, accepted
from chassis import faults
from chassis.clock import Clock
from chassis.store import Document
from segue_contracts.commands import Migrate, Stop
from segue_contracts.message import Message, Scope

BULKS_AT_ONCE = 20
PAGES_A_ROUND = 20
AGAIN_SECONDS = 5.0
"""Until the stops of the round before should have ended everybody."""
TURN = timedelta(seconds=10)
"""What a process has for its next page before another one tries it too."""

KINDS: Mapping[str, type[Message]] = {"migrate": Migrate, "stop": Stop}


async def submit_for_all(call: Call, kind: str, sequence_id: UUID, **fields: Any) -> Accepted:
    """Store a command on everybody who is live in a sequence; `fields` are what each person's says."""
    bulk_id = call.ids.next()
    await call.api.store.bulks.add(
        {
            "_id": bulk_id,
            "workspace_id": call.caller.workspace,
            "type": kind,
            "sequence_id": sequence_id,
            "fields": fields,
            "issued_by": str(call.caller.user_id),
            "created_at": call.api.clock.now(),
            "state": CommandState.ACCEPTED.value,
            "round": 1,
            "cursor": None,
            "people": 0,
            "next_at": call.api.clock.real_now(),
        }
    )
    telemetry.ACCEPTED.labels(f"{kind}_all").inc()
    return accepted(call, bulk_id)


class Crowd:
    """Carries bulk commands on."""

    def __init__(self, clock: Clock, store: Store, reads: Reads, courier: Courier) -> None:
        self._clock = clock
        self._store = store
        self._reads = reads
        self._courier = courier

    async def sweep(self) -> None:
        """Some pages of each open bulk command."""
        for bulk in await self._store.bulks.open(self._clock.real_now(), BULKS_AT_ONCE):
            await self._carry(bulk)

    async def _carry(self, bulk: Document) -> None:
        current: Document | None = bulk
        for _ in range(PAGES_A_ROUND):
            if current is None or current["state"] != CommandState.ACCEPTED.value:
                return
            if current["round"] != bulk["round"]:
                return  # not before its `next_at`
            current = await self._page(current)

    async def _page(self, bulk: Document) -> Document | None:
        """The next page, made commands; None if somebody else carries it."""
        other_than = bulk["fields"].get("to_version")
        page = PageQuery(cursor=bulk["cursor"], limit=MAX_LIMIT)
        ids, cursor = await self._reads.live_ids(bulk["workspace_id"], bulk["sequence_id"], other_than, page)
        now, real_now = self._clock.now(), self._clock.real_now()
        messages = {each: self._message(bulk, each, real_now) for each in ids}
        await self._store.commands.add(
            [command_document(message, str(each), now, real_now) for each, message in messages.items()]
        )
        await faults.point("api.crowd_page_stored")
        self._courier.take([Letter(message, message.event_id) for message in messages.values()])
        people = len(ids) if bulk["round"] == 1 else 0
        return await self._store.bulks.carried(bulk, following(bulk, ids, cursor, real_now), people)

    def _message(self, bulk: Document, enrollment: UUID, real_now: datetime) -> Message:
        more = {"scope": Scope.ENROLLMENT} if bulk["type"] == "stop" else {}
        return KINDS[bulk["type"]](
            event_id=uuid5(bulk["_id"], str(enrollment)),
            occurred_at=bulk["created_at"],
            recorded_at=real_now,
            workspace_id=bulk["workspace_id"],
            issued_by=bulk["issued_by"],
            enrollment_id=enrollment,
            **more,
            **bulk["fields"],
        )


def following(bulk: Document, ids: list[UUID], cursor: str | None, real_now: datetime) -> Document:
    """Where a bulk command stands after a page.

    A migration is done with its last page. A stop goes round again until nobody is left: an enroll that was
    under way when the sequence was archived may have come in behind the page that it belonged to.
    """
    if cursor is not None:
        return {"cursor": cursor, "next_at": real_now + TURN}
    if bulk["type"] == "stop" and (ids or bulk["cursor"] is not None):
        again = real_now + patience(bulk["round"], AGAIN_SECONDS)
        return {"cursor": None, "round": bulk["round"] + 1, "next_at": again}
    return {"state": CommandState.DONE.value, "cursor": None, "expires_at": real_now + KEEP_SETTLED}
