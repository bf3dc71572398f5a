"""What waits for a person: tasks of manual stages, and deliveries that may or may not have arrived."""

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import conflict, invalid_at, not_found
from api.routes.enrollments import DeliveryShown, delivery_shown
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from api.submitting import command_route, submit_one
from api.times import Instant
from chassis.documents import DeliveryStory
from segue_contracts.commands import DecideInDoubt, Decision, TaskDone, TaskReassign, TaskSkip, TaskSnooze
from segue_contracts.message import LongText, ShortText

FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)


class TaskShown(Shown):
    """A task: what to say, to whom, until when."""

    dispatch_id: str
    enrollment_id: UUID
    sequence_id: UUID | None
    person_id: UUID | None
    channel: str | None
    state: str
    subject: str | None
    text: str | None
    assignee_id: UUID | None
    due_at: datetime | None
    opened_at: datetime | None
    snoozed_until: datetime | None
    completed_at: datetime | None
    result: str | None
    note: str | None
    prospect: dict[str, Any] | None


class TaskQuery(PageQuery):
    """Which tasks; `assignee` is a user's id, or `me`."""

    state: Literal["open"] = "open"
    assignee: UUID | Literal["me"] | None = None
    snoozed: bool = Field(default=False, description="Snoozed tasks too")


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    state: Literal["in_doubt"] = "in_doubt"


class DoneRequest(Closed):
    """How it went; `responded` means that the prospect answered, which stops the sequence."""

    result: ShortText = ""
    note: LongText = ""
    responded: bool = False


class SkipRequest(Closed):
    """Why not."""

    note: LongText = ""


class SnoozeRequest(Closed):
    """When to show it again."""

    until: Instant


class ReassignRequest(Closed):
    """Who is to do it."""

    assignee_id: UUID


class DecideRequest(Closed):
    """resend (it may arrive twice), mark_sent, skip_stage, or stop."""

    decision: Decision


# ---- reading ------------------------------------------------------------------------------------------


async def list_tasks(call: Call) -> Answer:
    """Tasks, the longest due first."""
    query: TaskQuery = call.query
    assignee = call.caller.user_id if query.assignee == "me" else query.assignee
    awake_at = FAR_FUTURE if query.snoozed else call.api.clock.now()
    found, cursor = await call.api.reads.tasks(call.caller.workspace, assignee, awake_at, query)
    people = await call.api.reads.people(
        call.caller.workspace, {each.person_id for each in found if each.person_id is not None}
    )
    items = []
    for each in found:
        person = people.get(each.person_id) if each.person_id is not None else None
        items.append(task_shown(each, person.prospect if person else None))
    return Answer(Page[TaskShown](items=items, next_cursor=cursor))


def task_shown(story: DeliveryStory, prospect: dict[str, Any] | None) -> TaskShown:
    """A task as people see it."""
    task = story.task or {}
    names = ("assignee_id", "due_at", "opened_at", "snoozed_until", "completed_at", "result", "note")
    return TaskShown(
        dispatch_id=story.id,
        enrollment_id=story.enrollment_id,
        sequence_id=story.sequence_id,
        person_id=story.person_id,
        channel=story.channel,
        state=story.state,
        subject=task.get("subject") or story.subject,
        text=task.get("text") or story.text,
        prospect=prospect,
        **{name: task.get(name) for name in names},
    )


async def list_deliveries(call: Call) -> Answer:
    """Deliveries in a state; those in doubt wait for a decision."""
    query: DeliveryQuery = call.query
    found, cursor = await call.api.reads.deliveries(call.caller.workspace, query.state, query)
    shown = [delivery_shown(each) for each in found]
    return Answer(Page[DeliveryShown](items=shown, next_cursor=cursor))


# ---- deciding -----------------------------------------------------------------------------------------


async def delivery_in(call: Call, state: str, what: str) -> DeliveryStory:
    """The delivery that the path names, if it is in that state; Problem 404 or 409 otherwise."""
    dispatch_id = call.path["dispatch_id"]
    story = None
    if len(dispatch_id) <= 128:
        story = await call.api.reads.delivery(call.caller.workspace, dispatch_id)
    if story is None or (state == "task_open" and story.task is None):
        raise not_found(what)
    if story.state != state:
        raise conflict(
            "too-late", f"This {what} is not open any more: it is {story.state.replace('_', ' ')}."
        )
    return story


async def done(call: Call) -> Answer:
    """The task is done."""
    task, body = await delivery_in(call, "task_open", "task"), call.body.data
    return await submit_one(
        call,
        TaskDone,
        task.id,
        dispatch_id=task.id,
        result=body.result,
        note=body.note,
        responded=body.responded,
    )


async def skip(call: Call) -> Answer:
    """The task is left out; the sequence goes on."""
    task = await delivery_in(call, "task_open", "task")
    return await submit_one(call, TaskSkip, task.id, dispatch_id=task.id, note=call.body.data.note)


async def snooze(call: Call) -> Answer:
    """Show the task again later."""
    task = await delivery_in(call, "task_open", "task")
    until: datetime = call.body.data.until
    if until <= call.api.clock.now():
        raise invalid_at("/until", "is past: give an instant to come")
    return await submit_one(call, TaskSnooze, task.id, dispatch_id=task.id, until=until)


async def reassign(call: Call) -> Answer:
    """Give the task to another user."""
    task = await delivery_in(call, "task_open", "task")
    assignee: UUID = call.body.data.assignee_id
    if await call.api.store.people.user(call.caller.workspace, assignee) is None:
        raise invalid_at("/assignee_id", "is no user of this workspace")
    return await submit_one(call, TaskReassign, task.id, dispatch_id=task.id, assignee_id=assignee)


async def decide(call: Call) -> Answer:
    """Decide about a dispatch in doubt."""
    delivery = await delivery_in(call, "in_doubt", "delivery")
    decision: Decision = call.body.data.decision
    return await submit_one(call, DecideInDoubt, delivery.id, dispatch_id=delivery.id, decision=decision)


_TASK = "/v1/tasks/{dispatch_id}"

ROUTES = (
    Route(
        "GET",
        "/v1/tasks",
        list_tasks,
        "List tasks",
        KeyScope.READ,
        answer=Page[TaskShown],
        query=TaskQuery,
        tag="Tasks",
    ),
    command_route(
        "POST", _TASK + "/done", done, "A task is done", Takes(DoneRequest, optional=True), "Tasks"
    ),
    command_route(
        "POST", _TASK + "/skip", skip, "Leave a task out", Takes(SkipRequest, optional=True), "Tasks"
    ),
    command_route(
        "POST", _TASK + "/snooze", snooze, "Show a task again later", Takes(SnoozeRequest), "Tasks"
    ),
    command_route(
        "POST", _TASK + "/reassign", reassign, "Give a task to another user", Takes(ReassignRequest), "Tasks"
    ),
    Route(
        "GET",
        "/v1/deliveries",
        list_deliveries,
        "List deliveries in a state",
        KeyScope.READ,
        answer=Page[DeliveryShown],
        query=DeliveryQuery,
        tag="Deliveries",
    ),
    command_route(
        "POST",
        "/v1/deliveries/{dispatch_id}/decide",
        decide,
        "Decide about a delivery in doubt",
        Takes(DecideRequest),
        "Deliveries",
    ),
)
