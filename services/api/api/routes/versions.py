"""The versions of a sequence: who saved each of them, and when."""

from datetime import datetime
from uuid import UUID

from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.routes.sequences import existing
from api.routing import Answer, Call, Route, Shown


class VersionRow(Shown):
    """A version without its text; `created_by_name` is null for somebody who is gone."""

    version: int
    created_by: UUID
    created_by_name: str | None = None
    created_at: datetime


async def list_versions(call: Call) -> Answer:
    """A sequence's versions, the newest first."""
    sequence, workspace = await existing(call), call.caller.workspace
    found, cursor = await call.api.store.sequences.versions(
        workspace, sequence["_id"], sequence["latest_version"], call.query
    )
    names = await call.api.store.people.names(workspace, {each["created_by"] for each in found})
    rows = [VersionRow(**each, created_by_name=names.get(each["created_by"])) for each in found]
    return Answer(Page[VersionRow](items=rows, next_cursor=cursor))


ROUTES = (
    Route(
        "GET",
        "/v1/sequences/{sequence_id}/versions",
        list_versions,
        "List the versions of a sequence",
        KeyScope.READ,
        answer=Page[VersionRow],
        query=PageQuery,
        tag="Sequences",
    ),
)
