"""The organisation itself: what it is called, and whether all of it rests."""

from datetime import datetime

from pydantic import Field

from api.auditing import audit
from api.keys import KeyScope
from api.problems import invalid_at
from api.routes.members import WorkspaceShown
from api.routes.workspace_rules import workspace_of
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from chassis.documents import hold_id, hold_is_active
from chassis.errors import Duplicate
from chassis.store import Document
from segue_contracts.commands import HoldScope
from segue_contracts.text import Line


class WorkspaceHold(Shown):
    """Since when, by whom and why nothing goes out, and until when: null is until somebody resumes it."""

    reason: str
    by: str
    since: datetime = Field(validation_alias="created_at")
    until: datetime | None


class WorkspaceWhole(WorkspaceShown):
    """The organisation; `hold` is null while messages go out."""

    hold: WorkspaceHold | None


class WorkspaceName(Closed):
    """What it is to be called; people see it where they unsubscribe."""

    name: Line


async def get(call: Call) -> Answer:
    """The organisation, its limits, and whether everything is paused."""
    return Answer(await _whole(call, await workspace_of(call)))


async def rename(call: Call) -> Answer:
    """Call it something else."""
    name: str = call.body.data.name
    workspace = await workspace_of(call)
    await audit(call, "workspace.renamed", call.caller.workspace)
    try:
        await call.api.store.people.rename_workspace(call.caller.workspace, name)
    except Duplicate:
        raise invalid_at("/name", "is what another workspace here is called: choose another name") from None
    return Answer(await _whole(call, {**workspace, "name": name}))


async def _whole(call: Call, workspace: Document) -> WorkspaceWhole:
    held = await call.api.reads.holds(
        call.caller.workspace, [hold_id(HoldScope.WORKSPACE, call.caller.workspace)]
    )
    active = [each for each in held.values() if hold_is_active(each, call.api.clock.now())]
    return WorkspaceWhole.model_validate({**workspace, "hold": active[0] if active else None})


ROUTES = (
    Route(
        "GET",
        "/v1/workspace",
        get,
        "Read the workspace",
        KeyScope.READ,
        answer=WorkspaceWhole,
        tag="Workspace",
    ),
    Route(
        "PUT",
        "/v1/workspace",
        rename,
        "Rename the workspace",
        KeyScope.ADMIN,
        answer=WorkspaceWhole,
        takes=Takes(WorkspaceName),
        tag="Workspace",
    ),
)
