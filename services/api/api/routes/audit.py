"""The audit log, for those who answer for what others do."""

from datetime import datetime
from typing import Annotated, Any
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


class AuditQuery(PageQuery):
    """Which entries: all of those that are named have to fit."""

    action: Annotated[str, Field(max_length=100)] | None = None
    by: UUID | None = None
    target: Annotated[str, Field(max_length=200)] | None = None


async def list_them(call: Call) -> Answer:
    """Entries, the newest first."""
    query: AuditQuery = call.query
    which = query.model_dump(include={"action", "by", "target"}, exclude_none=True)
    found, cursor = await call.api.store.audit.page(call.caller.workspace, query, which)
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
        query=AuditQuery,
        tag="Workspace",
    ),
)
