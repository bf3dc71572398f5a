"""What whoever runs Segue asks of the deliveries on the command line; reads only."""

from collections import Counter
from collections.abc import AsyncIterator

from chassis import documents as names
from chassis.clock import Clock
from chassis.store import Database
from sender.doubts import INDEX, UNDECIDED
from sender.model import Document, State


class Standing:
    """What waits, of all workspaces."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._deliveries = database.collection(names.DELIVERIES)
        self._holds = database.collection(names.HOLDS)
        self._clock = clock

    async def counts(self) -> Document:
        """How many are in each state that somebody has to move on; the deferred ones by why."""
        waiting = [State.CLAIMED, State.TRANSMITTING, State.DEFERRED, State.IN_DOUBT]
        rows = await self._deliveries.aggregate(
            [
                {"$match": {"state": {"$in": [state.value for state in waiting]}, "recalled_at": None}},
                {"$group": {"_id": {"state": "$state", "reason": "$reason"}, "n": {"$sum": 1}}},
            ]
        )
        states: Counter[str] = Counter({state.value: 0 for state in waiting})
        reasons: Counter[str] = Counter()
        for row in rows:
            states[row["_id"]["state"]] += row["n"]
            if row["_id"]["state"] == State.DEFERRED:
                reasons[row["_id"].get("reason") or ""] += row["n"]
        return {**states, "deferred_by_reason": dict(reasons), "mailboxes_held": await self._held()}

    async def in_doubt(self) -> AsyncIterator[Document]:
        """What waits for somebody's decision."""
        wanted = ("workspace_id", "mailbox_id", "channel", "settled_at", "reason")
        async for each in self._deliveries.stream(UNDECIDED, projection=dict.fromkeys(wanted, 1), hint=INDEX):
            yield {
                "dispatch_id": each["_id"],
                "workspace_id": str(each["workspace_id"]),
                "mailbox_id": str(each.get("mailbox_id", "")),
                "channel": each.get("channel"),
                "since": each["settled_at"].isoformat(),
                "reason": each.get("reason"),
            }

    async def _held(self) -> dict[str, str]:
        """The mailboxes that are held now, and why."""
        now = self._clock.now()
        found = await self._holds.find(
            {"scope": "mailbox", "lifted_at": None}, projection={"scope_id": 1, "reason": 1, "until": 1}
        )
        active = [each for each in found if each.get("until") is None or each["until"] > now]
        return {str(each["scope_id"]): each["reason"] for each in active}
