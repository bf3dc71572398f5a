"""The audit log, for those who answer for what others do."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.routing import Answer, Call, Route, Shown


class EntryShown(Shown):
    """One thing that somebody did, or was about to do when a crash came between."""

    id: UUID = Field(validation_alias="_id")
    at: datetime
    by: UUID | None = Field(description="Null: somebody whom we write to, by the link in a message")
    key_id: UUID | None
    action: str = Field(examples=["suppression.removed"])
    target: str
    detail: dict[str, Any]


async def list_them(call: Call) -> Answer:
    """Entries, the newest first."""
    found, cursor = await call.api.store.audit.page(call.caller.workspace, call.query)
    items = [EntryShown.model_validate(each) for each in found]
    return Answer(Page[EntryShown](items=items, next_cursor=cursor))


ROUTES = (
    Route(
        "GET",
        "/v1/audit-log",
        list_them,
        "Read the audit log",
        KeyScope.ADMIN,
        answer=Page[EntryShown],
        query=PageQuery,
        tag="Workspace",
    ),
)
