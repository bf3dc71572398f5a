"""What lies ahead: the schedule of an enrollment with its reasons, the load of a mailbox day by day."""

from uuid import UUID

from pydantic import Field

from api.asking import ask
from api.keys import KeyScope
from api.problems import not_found
from api.routes.mailboxes import existing
from api.routes.sequences import check_right
from api.routing import Answer, Call, Closed, Route
from chassis.inquiries import (
    FORECAST,
    MAX_FORECAST_DAYS,
    SCHEDULE,
    Forecast,
    ForecastAsked,
    Schedule,
    ScheduleAsked,
)


class ForecastQuery(Closed):
    """How far to look."""

    days: int = Field(default=14, ge=1, le=MAX_FORECAST_DAYS, description="Local days, from today on")


async def schedule(call: Call) -> Answer:
    """The stages that an enrollment has before it: when, and why then."""
    enrollment_id = call.uuid("enrollment_id", "enrollment")
    sequence_id = await call.api.reads.sequence_of(call.caller.workspace, enrollment_id)
    if sequence_id is None:
        raise not_found("enrollment")
    await check_right(call, [sequence_id], "enrollment")
    asked = ScheduleAsked(workspace_id=call.caller.workspace, enrollment_id=enrollment_id)
    told = await ask(call, SCHEDULE, asked)
    if told is None:
        raise not_found("enrollment")
    return Answer(told)


async def forecast(call: Call) -> Answer:
    """What a mailbox will send, day by day, and what it has sent today."""
    mailbox_id: UUID = (await existing(call))["_id"]
    query: ForecastQuery = call.query
    asked = ForecastAsked(workspace_id=call.caller.workspace, mailbox_id=mailbox_id, days=query.days)
    told = await ask(call, FORECAST, asked)
    if told is None:
        raise not_found("mailbox")
    today, *others = told.days
    sent = await call.api.reads.sent_since(call.caller.workspace, mailbox_id, today.starts_at)
    days = [today.model_copy(update={"sent": sent}), *others]
    return Answer(told.model_copy(update={"days": days}))


ROUTES = (
    Route(
        "GET",
        "/v1/enrollments/{enrollment_id}/schedule",
        schedule,
        "See what lies ahead of an enrollment, and why then",
        KeyScope.READ,
        answer=Schedule,
        tag="Enrollments",
    ),
    Route(
        "GET",
        "/v1/mailboxes/{mailbox_id}/forecast",
        forecast,
        "See a mailbox's load day by day",
        KeyScope.READ,
        answer=Forecast,
        query=ForecastQuery,
        tag="Mailboxes",
    ),
)
