"""What waits for a person: tasks of manual stages, and deliveries that may or may not have arrived."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.access import among
from api.auditing import audit
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import conflict, invalid_at, not_found
from api.routes.enrollments import DeliveryShown, delivery_shown
from api.routes.sequences import check_right, visible_ids
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from api.submitting import Accepted, command_route, submit, submit_one, wish_of
from api.times import Instant
from chassis.documents import DeliveryStory
from chassis.store import Document
from segue_contracts.commands import DecideInDoubt, Decision, TaskDone, TaskReassign, TaskSkip, TaskSnooze
from segue_contracts.message import Channel, LongText
from segue_contracts.tasks import NOBODY_ANSWERED, RESULTS, TaskResult

MAX_DISPATCH_CHARS = 128
FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)
RECENTLY = timedelta(days=14)
REASSIGN_AT_ONCE = 500


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
    overdue_at: datetime | None = None
    when_overdue: str | None = None
    recalled_at: datetime | None = None
    recalled_because: str | None = None
    results: list[TaskResult] = Field(default=[], description="What may be said of it as `result`")
    sequence: str | None = Field(default=None, description="The sequence's name, for those who may see it")
    prospect: dict[str, Any] | None


class TaskQuery(PageQuery):
    """Which tasks; `assignee` is a user's id, or `me`."""

    state: Literal["open", "released"] = Field(
        default="open", description="released: taken back in the last two weeks, and why"
    )
    assignee: UUID | Literal["me"] | None = None
    snoozed: bool = Field(default=False, description="Snoozed tasks too")
    overdue: bool = Field(default=False, description="Overdue ones alone")
    due_by: Instant | None = Field(default=None, description="Due by then")
    due_after: Instant | None = Field(default=None, description="Due after then, or snoozed")


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    state: Literal["in_doubt"] = "in_doubt"


class DoneRequest(Closed):
    """How it went; `responded` means that the prospect answered, which stops the sequence.

    `result`: one of those that the task offers. `suppress_phone`, with `wrong_number`: nobody is to call or
    text that phone again.
    """

    result: TaskResult | None = None
    note: LongText = ""
    responded: bool = False
    suppress_phone: bool = False


class SkipRequest(Closed):
    """Why not."""

    note: LongText = ""


class SnoozeRequest(Closed):
    """When to show it again."""

    until: Instant


class ReassignRequest(Closed):
    """Who is to do it."""

    assignee_id: UUID


class ReassignAllRequest(Closed):
    """Whose open tasks are to go to whom; of one sequence or channel only, where it is named."""

    assignee_id: UUID
    to_assignee_id: UUID
    sequence_id: UUID | None = None
    channel: Channel | None = None


class ReassignedAll(Shown):
    """One command for each task; `more`: there are others, ask again when these are done."""

    tasks: int
    more: bool
    commands: list[Accepted]


class DecideRequest(Closed):
    """resend (it may arrive twice), mark_sent, skip_stage, or stop."""

    decision: Decision


# ---- reading ------------------------------------------------------------------------------------------


async def list_tasks(call: Call) -> Answer:
    """Tasks, the longest due first; those that were taken back, the latest first."""
    query: TaskQuery = call.query
    workspace, now = call.caller.workspace, call.api.clock.now()
    assignee = call.caller.user_id if query.assignee == "me" else query.assignee
    visible = await visible_ids(call)
    which = _theirs_or(call, visible)
    endings: Mapping[UUID, str] = {}
    if query.state == "released":
        since = now - RECENTLY
        found, cursor = await call.api.reads.recalled_tasks(workspace, which, assignee, since, query)
        endings = await call.api.reads.endings(workspace, {each.enrollment_id for each in found})
    else:
        awake_at = FAR_FUTURE if query.snoozed or query.due_after else now
        due = {"$and": [which, *_due(query, now)]}
        found, cursor = await call.api.reads.tasks(workspace, due, assignee, awake_at, query)
    items = await _tasks_shown(call, found, visible, endings)
    return Answer(Page[TaskShown](items=items, next_cursor=cursor))


async def _tasks_shown(
    call: Call, found: Sequence[DeliveryStory], visible: Collection[UUID] | None, endings: Mapping[UUID, str]
) -> list[TaskShown]:
    """With the people and, of sequences among the `visible` ones (None: all), their names."""
    workspace = call.caller.workspace
    people = await call.api.reads.people(
        workspace, {each.person_id for each in found if each.person_id is not None}
    )
    of = {each.sequence_id for each in found if each.sequence_id is not None}
    names = await call.api.store.sequences.names(
        workspace, of if visible is None else of.intersection(visible)
    )
    items = []
    for each in found:
        person = people.get(each.person_id) if each.person_id is not None else None
        shown = task_shown(each, person.prospect if person else None, endings.get(each.enrollment_id))
        name = names.get(each.sequence_id) if each.sequence_id is not None else None
        items.append(shown.model_copy(update={"sequence": name}))
    return items


def _due(query: TaskQuery, now: datetime) -> Iterator[Document]:
    if query.overdue:
        yield {"task.due_at": {"$lte": now}, "task.overdue_at": {"$lte": now}}
    if query.due_by is not None:
        yield {"task.due_at": {"$lte": query.due_by}}
    if query.due_after is not None:
        yield {"$or": [{"task.due_at": {"$gt": query.due_after}}, {"task.snoozed_until": {"$gt": now}}]}


async def get_task(call: Call) -> Answer:
    """One task, open or not: its assignee's, and whose may see the sequence."""
    story = await delivery_of(call, "task", is_task=True)
    endings = await call.api.reads.endings(call.caller.workspace, [story.enrollment_id])
    [shown] = await _tasks_shown(call, [story], await visible_ids(call), endings)
    return Answer(shown)


def _theirs_or(call: Call, sequences: list[UUID] | None) -> Document:
    """Their own tasks, and those of sequences that they may see."""
    theirs = {"task.assignee_id": call.caller.user_id}
    return {} if sequences is None else {"$or": [theirs, among("sequence_id", sequences)]}


def task_shown(
    story: DeliveryStory, prospect: dict[str, Any] | None, recalled_because: str | None = None
) -> TaskShown:
    """A task as people see it."""
    task = story.task or {}
    recalled = story.state == "released"
    names = (
        *("assignee_id", "due_at", "opened_at", "snoozed_until", "completed_at", "result", "note"),
        *("overdue_at", "when_overdue"),
    )
    return TaskShown(
        recalled_at=story.settled_at if recalled else None,
        recalled_because=recalled_because or story.reason if recalled else None,
        results=list(RESULTS.get(Channel(story.channel), ())) if story.channel else [],
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


async def get_delivery(call: Call) -> Answer:
    """One delivery, or task."""
    story = await delivery_of(call, "delivery")
    return Answer(delivery_shown(story, call.api.clock.now()))


async def list_deliveries(call: Call) -> Answer:
    """Deliveries that are in doubt and wait for a decision, the longest waiting first."""
    query: DeliveryQuery = call.query
    which = among("sequence_id", await visible_ids(call))
    found, cursor = await call.api.reads.doubts(call.caller.workspace, which, query)
    shown = [delivery_shown(each, call.api.clock.now()) for each in found]
    return Answer(Page[DeliveryShown](items=shown, next_cursor=cursor))


# ---- deciding -----------------------------------------------------------------------------------------


async def delivery_of(call: Call, what: str, *, is_task: bool = False) -> DeliveryStory:
    """The delivery that the path names; Problem 403 or 404.

    Whoever has a task may do it, whatever their right to its sequence is.
    """
    dispatch_id = call.path["dispatch_id"]
    story = None
    if len(dispatch_id) <= MAX_DISPATCH_CHARS:
        story = await call.api.reads.delivery(call.caller.workspace, dispatch_id)
    if story is None or (is_task and story.task is None):
        raise not_found(what)
    if (story.task or {}).get("assignee_id") != call.caller.user_id:
        await check_right(call, [story.sequence_id], what)
    return story


async def delivery_in(call: Call, state: str, what: str) -> DeliveryStory:
    """The same, if it is in that state; Problem 409 otherwise."""
    story = await delivery_of(call, what, is_task=state == "task_open")
    if story.state != state:
        raise conflict(
            "too-late", f"This {what} is not open any more: it is {story.state.replace('_', ' ')}."
        )
    return story


async def done(call: Call) -> Answer:
    """The task is done."""
    task = await delivery_in(call, "task_open", "task")
    body: DoneRequest = call.body.data
    check_result(body, Channel(task.channel or Channel.TASK))
    return await submit_one(
        call,
        TaskDone,
        task.id,
        dispatch_id=task.id,
        result=body.result or "",
        note=body.note,
        responded=body.responded or body.result is TaskResult.REPLIED,
        suppress_phone=body.suppress_phone,
    )


def check_result(body: DoneRequest, channel: Channel) -> None:
    """Problem 422 for what can't have come of such a task."""
    fitting = RESULTS.get(channel, ())
    if body.result is not None and body.result not in fitting:
        raise invalid_at("/result", f"is nothing that comes of {channel}: {', '.join(fitting)}")
    if body.responded and body.result in NOBODY_ANSWERED:
        raise invalid_at("/responded", f"can't be true with {body.result}: nobody was reached")
    if body.suppress_phone and body.result is not TaskResult.WRONG_NUMBER:
        raise invalid_at("/suppress_phone", f"goes with the result {TaskResult.WRONG_NUMBER}")


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
    await check_user(call, assignee, "/assignee_id")
    return await submit_one(call, TaskReassign, task.id, dispatch_id=task.id, assignee_id=assignee)


async def check_user(call: Call, user_id: UUID, pointer: str) -> None:
    """Problem 422 for somebody who is no user of the workspace."""
    if await call.api.store.people.user(call.caller.workspace, user_id) is None:
        raise invalid_at(pointer, "is no user of this workspace")


async def reassign_all(call: Call) -> Answer:
    """Give all open tasks of a user to another one; who asks again finds those that are left."""
    body: ReassignAllRequest = call.body.data
    await check_user(call, body.to_assignee_id, "/to_assignee_id")
    if body.assignee_id == body.to_assignee_id:
        raise invalid_at("/to_assignee_id", "has these tasks already")
    also = {
        **({"sequence_id": body.sequence_id} if body.sequence_id else {}),
        **({"channel": body.channel.value} if body.channel else {}),
    }
    found = await call.api.reads.open_tasks_of(
        call.caller.workspace, body.assignee_id, also, REASSIGN_AT_ONCE + 1
    )
    tasks = found[:REASSIGN_AT_ONCE]
    to = str(body.to_assignee_id)
    await audit(call, "tasks.reassigned", body.assignee_id, to_assignee_id=to, tasks=len(tasks))
    wishes = [
        wish_of(call, TaskReassign, each, dispatch_id=each, assignee_id=body.to_assignee_id) for each in tasks
    ]
    commands = await submit(call, wishes) if wishes else []
    answer = ReassignedAll(tasks=len(tasks), more=len(found) > len(tasks), commands=commands)
    return Answer(answer, HTTPStatus.ACCEPTED)


async def decide(call: Call) -> Answer:
    """Decide about a dispatch in doubt."""
    delivery = await delivery_in(call, "in_doubt", "delivery")
    decision: Decision = call.body.data.decision
    return await submit_one(call, DecideInDoubt, delivery.id, dispatch_id=delivery.id, decision=decision)


_TASK = "/v1/tasks/{dispatch_id}"


def _doing(path: str, handler: Any, summary: str, takes: Takes) -> Route:
    return command_route("POST", _TASK + path, handler, summary, takes, "Tasks", scope=KeyScope.TASKS)


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
    Route("GET", _TASK, get_task, "Read a task", KeyScope.READ, answer=TaskShown, tag="Tasks"),
    _doing("/done", done, "A task is done", Takes(DoneRequest, optional=True)),
    _doing("/skip", skip, "Leave a task out", Takes(SkipRequest, optional=True)),
    _doing("/snooze", snooze, "Show a task again later", Takes(SnoozeRequest)),
    command_route(
        "POST", _TASK + "/reassign", reassign, "Give a task to another user", Takes(ReassignRequest), "Tasks"
    ),
    Route(
        "POST",
        "/v1/tasks/reassign",
        reassign_all,
        "Give all open tasks of a user to another one",
        KeyScope.ADMIN,
        answer=ReassignedAll,
        status=HTTPStatus.ACCEPTED,
        takes=Takes(ReassignAllRequest),
        tag="Tasks",
    ),
    Route(
        "GET",
        "/v1/deliveries",
        list_deliveries,
        "List deliveries in doubt",
        KeyScope.READ,
        answer=Page[DeliveryShown],
        query=DeliveryQuery,
        tag="Deliveries",
    ),
    Route(
        "GET",
        "/v1/deliveries/{dispatch_id}",
        get_delivery,
        "Read a delivery",
        KeyScope.READ,
        answer=DeliveryShown,
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
