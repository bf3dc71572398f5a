"""What providers posted that held no message: kept as it came, judged by nobody, and shown here."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.routing import Answer, Call, Route, Shown


class UnreadableShown(Shown):
    """A post, or one of its parts; `reason` says what is missing. Its provider has been told 200."""

    id: UUID = Field(validation_alias="_id")
    mailbox_id: UUID
    source: str
    received_at: datetime
    size: int
    reason: str = Field(validation_alias="unreadable")


async def list_them(call: Call) -> Answer:
    """What could not be read, the newest first."""
    found, cursor = await call.api.reads.unreadable(call.caller.workspace, call.query)
    items = [UnreadableShown.model_validate(each) for each in found]
    return Answer(Page[UnreadableShown](items=items, next_cursor=cursor))


ROUTES = (
    Route(
        "GET",
        "/v1/inbound/unreadable",
        list_them,
        "List what came in and could not be read",
        KeyScope.READ,
        answer=Page[UnreadableShown],
        query=PageQuery,
        tag="Answers",
    ),
)
