"""What a workspace rules: who decides about deliveries in doubt, and how long words are kept."""

from typing import Annotated, Literal

from pydantic import Field

from api.auditing import audit
from api.keys import KeyScope
from api.problems import not_found
from api.routing import Answer, Call, Closed, Route, Takes
from chassis.documents import RetentionView, WorkspaceView
from chassis.store import Document

LEAST_DAYS = 30
"""Bounces in a row are counted over so many days, and people come back to what they read last month."""
MOST_DAYS = 3650

Days = Annotated[int, Field(ge=LEAST_DAYS, le=MOST_DAYS, strict=True)]


class InDoubtPolicy(Closed):
    """What becomes of a delivery of which nobody knows whether it arrived."""

    policy: Literal["wait", "resend"] = Field(
        description="wait: evidence or a person decides; resend: sent again at once, perhaps a second time"
    )


class Retention(Closed):
    """For how many days words are kept; null: for ever. What happened, and when, is kept in any case."""

    bodies_days: Days | None = Field(
        default=RetentionView.DAYS, description="The words of messages and tasks, from when they were settled"
    )
    inbound_days: Days | None = Field(
        default=RetentionView.DAYS, description="The words of answers, from when they came"
    )


async def workspace_of(call: Call) -> Document:
    """The caller's workspace."""
    found = await call.api.store.people.workspace(call.caller.workspace)
    if found is None:
        raise not_found("workspace")
    return found


async def get_in_doubt(call: Call) -> Answer:
    """Who decides."""
    return Answer(
        InDoubtPolicy.model_validate({"policy": WorkspaceView.read(await workspace_of(call)).in_doubt_policy})
    )


async def set_in_doubt(call: Call) -> Answer:
    """Set it; what is in doubt already goes by it too, the next time that the scheduler asks."""
    rule: InDoubtPolicy = call.body.data
    await audit(call, "in_doubt.set", call.caller.workspace, policy=rule.policy)
    await call.api.store.people.set_in_doubt_policy(call.caller.workspace, rule.policy)
    return Answer(rule)


async def get_retention(call: Call) -> Answer:
    """How long words are kept."""
    rule = RetentionView.read(await workspace_of(call))
    return Answer(Retention(bodies_days=rule.bodies_days, inbound_days=rule.inbound_days))


async def set_retention(call: Call) -> Answer:
    """Set it; what is older is erased within minutes, and can't be brought back."""
    rule: Retention = call.body.data
    said = {name: "for ever" if days is None else days for name, days in rule.model_dump().items()}
    await audit(call, "retention.set", call.caller.workspace, **said)
    await call.api.store.people.set_retention(call.caller.workspace, rule.model_dump())
    return Answer(rule)


_IN_DOUBT, _RETENTION = "/v1/workspace/in-doubt", "/v1/workspace/retention"
ROUTES = (
    Route(
        "GET",
        _IN_DOUBT,
        get_in_doubt,
        "Read who decides about what is in doubt",
        KeyScope.READ,
        answer=InDoubtPolicy,
        tag="Workspace",
    ),
    Route(
        "PUT",
        _IN_DOUBT,
        set_in_doubt,
        "Set who decides about what is in doubt",
        KeyScope.ADMIN,
        answer=InDoubtPolicy,
        takes=Takes(InDoubtPolicy),
        tag="Workspace",
    ),
    Route(
        "GET",
        _RETENTION,
        get_retention,
        "Read how long words are kept",
        KeyScope.READ,
        answer=Retention,
        tag="Workspace",
    ),
    Route(
        "PUT",
        _RETENTION,
        set_retention,
        "Set how long words are kept",
        KeyScope.ADMIN,
        answer=Retention,
        takes=Takes(Retention),
        tag="Workspace",
    ),
)
