"""Lists of prospects that are being prepared: each row is a document, so that nothing carries all of them."""

from collections.abc import Collection as Some
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from api.paging import NEWEST_FIRST, Kind, Order, PageQuery, read_page
from chassis import documents as names
from chassis.store import Database, Document, Index, UpdateOne, Workspace

INSERT_AT_ONCE: Final = 1000
BY_PLACE: Final = Order((("place", 1, Kind.TEXT),))

LIST_INDEXES: Final = (
    Index((("next_at", 1),), "open", partial={"next_at": {"$exists": True}}),
    Index((("workspace_id", 1), ("sequence_id", 1), ("created_at", -1), ("_id", -1)), "newest"),
    Index((("expires_at", 1),), "expires", expire_after_seconds=0),
)
ROW_INDEXES: Final = (
    Index((("workspace_id", 1), ("list_id", 1), ("place", 1)), "place"),
    Index((("workspace_id", 1), ("list_id", 1), ("status", 1), ("n", 1), ("first_at", 1)), "status"),
    Index((("workspace_id", 1), ("list_id", 1), ("keys", 1)), "keys"),
    Index((("expires_at", 1),), "expires", expire_after_seconds=0),
)


class ListState(StrEnum):
    """Where a list is: draft (people change it), launching (a sweep carries it on), launched."""

    DRAFT = "draft"
    LAUNCHING = "launching"
    LAUNCHED = "launched"


class RowStatus(StrEnum):
    """Where a row is. People and checks move it among the first four, the launch among the last three;
    what has a problem or was left out stays so.
    """

    UNCHECKED = "unchecked"
    READY = "ready"
    PROBLEM = "problem"
    EXCLUDED = "excluded"
    ACCEPTED = "accepted"
    ENROLLED = "enrolled"
    REFUSED = "refused"


UNREADABLE: Final = "unreadable"
"""The code of what can't be a prospect as it stands."""
INCLUDED: Final = (RowStatus.UNCHECKED, RowStatus.READY, RowStatus.PROBLEM)
CHANGEABLE: Final = (*INCLUDED, RowStatus.EXCLUDED)
TAKEN: Final = (RowStatus.UNCHECKED, RowStatus.READY)
"""Whom a launch enrolls."""
_RANKS: Final[Mapping[RowStatus, int]] = {
    RowStatus.PROBLEM: 0,
    RowStatus.REFUSED: 0,
    RowStatus.EXCLUDED: 3,
}
_WARNED: Final = 1
_OTHERS: Final = 2


def place(n: int, status: RowStatus, *, warned: bool = False) -> str:
    """Where a row stands in its list: problems first, then warnings, who is left out last."""
    rank = _RANKS.get(status, _WARNED if warned else _OTHERS)
    return f"{rank}{n:09d}"


def _moved(rank: int) -> Document:
    """A row's place under another rank, for an update that computes."""
    return {"$concat": [str(rank), {"$substrCP": ["$place", 1, 9]}]}


class Lists:
    """The lists and their rows."""

    def __init__(self, database: Database) -> None:
        self._lists = database.collection(names.PROSPECT_LISTS)
        self._rows = database.collection(names.PROSPECT_LIST_ROWS)

    # ---- lists ----------------------------------------------------------------------------------------

    async def add(self, it: Document) -> None:
        """Keep a list; its rows are there already, so that nobody sees half of it."""
        await self._lists.insert_new([it])

    async def one(self, workspace: Workspace, list_id: UUID) -> Document | None:
        """A list."""
        return await self._lists.find_one({"_id": list_id, "workspace_id": workspace})

    async def page(
        self, workspace: Workspace, sequence_id: UUID, page: PageQuery
    ) -> tuple[list[Document], str | None]:
        """A sequence's lists, the newest first."""
        found = {"workspace_id": workspace, "sequence_id": sequence_id}
        return await read_page(self._lists, found, NEWEST_FIRST, page, dict)

    async def open(self, state: ListState, real_now: datetime, limit: int) -> list[Document]:
        """Of all workspaces: lists in a state that are to be carried on now, the longest waiting first."""
        return await self._lists.find(
            {"next_at": {"$lte": real_now}, "state": state.value}, sort=[("next_at", 1)], limit=limit
        )

    async def carried(self, it: Document, fields: Document) -> bool:
        """Set fields; False if somebody changed the list since it was read."""
        same = {"state": it["state"], "rev": it["rev"]}
        return await self._lists.update_one(
            {"_id": it["_id"], "workspace_id": it["workspace_id"], **same}, {"$set": fields}
        )

    async def at_rest(self, it: Document, fields: Document) -> bool:
        """Nothing is left to do for now; False if somebody changed the list since it was read."""
        same = {"state": it["state"], "rev": it["rev"]}
        return await self._lists.update_one(
            {"_id": it["_id"], "workspace_id": it["workspace_id"], **same},
            {"$set": fields, "$unset": {"next_at": ""}},
        )

    async def touched(self, it: Document, real_now: datetime, fields: Document | None = None) -> None:
        """Something of a draft changed: its checks go on from here."""
        await self._lists.update_one(
            {"_id": it["_id"], "workspace_id": it["workspace_id"], "state": ListState.DRAFT.value},
            {"$set": {"next_at": real_now, **(fields or {})}, "$inc": {"rev": 1}},
        )

    async def launch(self, it: Document, fields: Document) -> bool:
        """From draft to launching, once."""
        return await self._lists.update_one(
            {"_id": it["_id"], "workspace_id": it["workspace_id"], "state": ListState.DRAFT.value},
            {"$set": {"state": ListState.LAUNCHING.value, **fields}, "$inc": {"rev": 1}},
        )

    async def remove(self, it: Document) -> bool:
        """Throw a draft away with its rows; False for one that was launched."""
        draft = {"_id": it["_id"], "workspace_id": it["workspace_id"], "state": ListState.DRAFT.value}
        gone = await self._lists.delete_one(draft)
        if gone:
            await self.remove_rows(it["workspace_id"], it["_id"])
        return gone

    # ---- rows -----------------------------------------------------------------------------------------

    async def add_rows(self, rows: Sequence[Document]) -> None:
        """Keep rows; those that are there already stay as they are."""
        for start in range(0, len(rows), INSERT_AT_ONCE):
            await self._rows.insert_new(rows[start : start + INSERT_AT_ONCE])

    async def remove_rows(self, workspace: Workspace, list_id: UUID) -> None:
        """Forget the rows of a list."""
        await self._rows.delete_many({"workspace_id": workspace, "list_id": list_id})

    async def rows(self, it: Document, which: Document, page: PageQuery) -> tuple[list[Document], str | None]:
        """A page of a list's rows that match, problems first."""
        found = {"workspace_id": it["workspace_id"], "list_id": it["_id"], **which}
        return await read_page(self._rows, found, BY_PLACE, page, dict)

    async def row(self, it: Document, n: int) -> Document | None:
        """One row."""
        return await self._rows.find_one({"_id": row_id(it["_id"], n), "workspace_id": it["workspace_id"]})

    async def first(self, it: Document, statuses: Sequence[RowStatus], limit: int) -> list[Document]:
        """The first rows in some of the statuses, in the order in which they came."""
        return await self._rows.find(
            {
                "workspace_id": it["workspace_id"],
                "list_id": it["_id"],
                "status": {"$in": [each.value for each in statuses]},
            },
            sort=[("n", 1)],
            limit=limit,
        )

    async def with_keys(self, it: Document, keys: Some[str]) -> list[Document]:
        """The included rows that share some of the keys."""
        return await self._rows.find(
            {
                "workspace_id": it["workspace_id"],
                "list_id": it["_id"],
                "keys": {"$in": list(keys)},
                "status": {"$in": [each.value for each in INCLUDED]},
            },
            projection={"n": 1, "keys": 1, "status": 1, "data.external_id": 1},
        )

    async def counts(self, it: Document) -> dict[str, tuple[int, datetime | None]]:
        """By status, how many rows and the earliest first message."""
        found = await self._rows.aggregate(
            [
                {"$match": {"workspace_id": it["workspace_id"], "list_id": it["_id"]}},
                {"$group": {"_id": "$status", "n": {"$sum": 1}, "first_at": {"$min": "$first_at"}}},
            ],
            hint="status",
        )
        return {row["_id"]: (row["n"], row["first_at"]) for row in found}

    async def codes(self, it: Document, statuses: Sequence[RowStatus]) -> dict[str, int]:
        """By code of a problem or warning, how many rows in these statuses have it."""
        found = await self._rows.aggregate(
            [
                {
                    "$match": {
                        "workspace_id": it["workspace_id"],
                        "list_id": it["_id"],
                        "status": {"$in": [each.value for each in statuses]},
                        "codes.0": {"$exists": True},
                    }
                },
                {"$unwind": "$codes"},
                {"$group": {"_id": "$codes", "n": {"$sum": 1}}},
            ]
        )
        return {row["_id"]: row["n"] for row in found}

    async def change_row(self, row: Document, fields: Document) -> Document | None:
        """Set fields of a draft's row; None if it changed since it was read."""
        return await self._rows.find_one_and_update(
            {
                "_id": row["_id"],
                "workspace_id": row["workspace_id"],
                "rev": row["rev"],
                "status": {"$in": [each.value for each in CHANGEABLE]},
            },
            {"$set": fields, "$inc": {"rev": 1}},
        )

    async def checked(self, outcomes: Sequence[tuple[Document, Document]]) -> None:
        """Keep what was found of rows; those that changed meanwhile are checked again by themselves."""
        await self._rows.bulk(
            [
                UpdateOne(
                    {
                        "_id": row["_id"],
                        "workspace_id": row["workspace_id"],
                        "rev": row["rev"],
                        "status": {"$in": [each.value for each in INCLUDED]},
                    },
                    {"$set": fields},
                )
                for row, fields in outcomes
            ]
        )

    async def leave_out(self, it: Document, which: Document) -> int:
        """Exclude the included rows that match; how many."""
        return await self._rows.update_many(
            {
                "workspace_id": it["workspace_id"],
                "list_id": it["_id"],
                **which,
                "status": {"$in": [each.value for each in INCLUDED]},
            },
            [{"$set": {"status": RowStatus.EXCLUDED.value, "place": _moved(3)}}],
        )

    async def again(self, it: Document, which: Document, statuses: Sequence[RowStatus]) -> int:
        """Rows in these statuses that match are included, and to be checked again; how many.

        What can't be read needs no check: it has its problem.
        """
        wrong = {"$in": [UNREADABLE, "$codes"]}
        status = {"$cond": [wrong, RowStatus.PROBLEM.value, RowStatus.UNCHECKED.value]}
        moved = {"$cond": [wrong, _moved(0), _moved(_OTHERS)]}
        return await self._rows.update_many(
            {
                "workspace_id": it["workspace_id"],
                "list_id": it["_id"],
                **which,
                "status": {"$in": [each.value for each in statuses]},
            },
            [{"$set": {"status": status, "place": moved, "rev": {"$add": ["$rev", 1]}}}],
        )

    async def accept(self, it: Document, rows: Sequence[Document], expires_at: datetime) -> int:
        """Note that these are being enrolled; how many were not noted before."""
        return await self._rows.update_many(
            {
                "_id": {"$in": [each["_id"] for each in rows]},
                "workspace_id": it["workspace_id"],
                "status": {"$in": [each.value for each in TAKEN]},
            },
            {"$set": {"status": RowStatus.ACCEPTED.value, "expires_at": expires_at}},
        )

    async def settle(self, outcomes: Sequence[tuple[Document, Document]]) -> None:
        """Keep what became of rows that were accepted."""
        await self._rows.bulk(
            [
                UpdateOne(
                    {
                        "_id": row["_id"],
                        "workspace_id": row["workspace_id"],
                        "status": RowStatus.ACCEPTED.value,
                    },
                    {"$set": fields},
                )
                for row, fields in outcomes
            ]
        )


def row_id(list_id: UUID, n: int) -> str:
    """The `_id` of a row."""
    return f"{list_id}:{n}"


def matching(codes: Sequence[str] = (), rows: Sequence[int] = ()) -> dict[str, Any]:
    """What matches rows with one of these codes, or these numbers."""
    if rows:
        return {"n": {"$in": list(rows)}}
    return {"codes": {"$in": list(codes)}} if codes else {}
