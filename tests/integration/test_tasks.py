"""Tasks over HTTP: what may come of each channel, who has them, why they vanished; wishes of who is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from api.testing import Served, serving
from chassis import documents as names
from chassis.prompting import PromptedUser, PromptHook, PromptWishes
from segue_contracts import ids
from segue_contracts.commands import TaskDone
from segue_contracts.tasks import RESULTS, TaskResult
from sender.settings import SenderSettings
from stack.sending import SETTINGS, Sender, a_sender, a_world
from stack.smtp import SmtpServer

pytestmark = pytest.mark.stack


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as built:
        yield built


async def a_task(api: Served, channel: str = "call", state: str = "task_open", **task: Any) -> str:
    """A task as the sender writes it."""
    now = api.clock.now()
    enrollment, sequence = uuid4(), uuid4()
    dispatch = ids.dispatch_id(enrollment, "ring")
    delivery = {
        "_id": dispatch,
        "workspace_id": api.workspace,
        "enrollment_id": enrollment,
        "stage_id": "ring",
        "attempt": 1,
        "token": "t",
        "state": state,
        "channel": channel,
        "sequence_id": sequence,
        "person_id": uuid4(),
        "settled_at": now,
        "task": {"assignee_id": me(api), "text": "Call", "due_at": now, "opened_at": now, **task},
    }
    await api.database.collection(names.DELIVERIES).insert_one(delivery)
    return dispatch


def me(api: Served) -> UUID:
    return UUID(api.made["user_id"])


async def wishes(api: Served) -> list[dict[str, Any]]:
    """The commands that were stored, as they will be published."""
    return [doc async for doc in api.database.collection(names.COMMANDS).stream({})]


async def messages(api: Served) -> str:
    return " ".join(doc["message"] for doc in await wishes(api))


async def colleague(api: Served) -> str:
    user = {"email": f"{uuid4().hex[:8]}@ourco.example", "name": "Ben"}
    return str((await api.call("POST", "/v1/users", user, status=201))["id"])


# ---- what came of it ----


@pytest.mark.parametrize("channel", sorted(RESULTS))
async def test_a_task_offers_what_may_come_of_it_and_takes_nothing_else(api: Served, channel: str) -> None:
    dispatch = await a_task(api, channel)
    [shown] = (await api.call("GET", "/v1/tasks"))["items"]
    assert shown["results"] == [each.value for each in RESULTS[channel]]  # type: ignore[index]
    for result in shown["results"]:
        await api.call("POST", f"/v1/tasks/{dispatch}/done", {"result": result}, status=202)
    for result in {each.value for each in TaskResult} - set(shown["results"]) | {"talked to Lena"}:
        problem = await api.call("POST", f"/v1/tasks/{dispatch}/done", {"result": result}, status=422)
        assert problem["errors"][0]["pointer"] == "/result"


async def test_a_result_that_is_an_answer_stops_and_one_that_can_be_none_is_refused_as_one(
    api: Served,
) -> None:
    done = f"/v1/tasks/{await a_task(api)}/done"
    await api.call("POST", done, {"result": "reached", "responded": True}, status=202)
    await api.call("POST", done, {"result": "replied"}, status=202)
    assert (await messages(api)).count('"responded":true') == 2
    await api.call("POST", done, {"result": "voicemail", "responded": True}, status=422)


async def test_a_phone_is_suppressed_only_as_a_wrong_number(api: Served) -> None:
    done = f"/v1/tasks/{await a_task(api)}/done"
    await api.call("POST", done, {"result": "reached", "suppress_phone": True}, status=422)
    await api.call("POST", done, {"result": "wrong_number", "suppress_phone": True}, status=202)
    assert '"suppress_phone":true' in await messages(api)


async def test_done_of_a_done_task_says_that_it_is_done(api: Served) -> None:
    dispatch = await a_task(api, state="done")
    problem = await api.call("POST", f"/v1/tasks/{dispatch}/done", status=409)
    assert "it is done" in problem["detail"]


@asynccontextmanager
async def a_call(mongodb_uri: str, smtp_server: SmtpServer, phone: str) -> AsyncIterator[tuple[Sender, UUID]]:
    """A call to make, opened by the real sender."""
    async with a_world(mongodb_uri, smtp_server) as world:
        person = uuid4()
        await world.add_person(person, first_name="Anna", phone=phone)
        settings = SenderSettings(
            mongodb_uri=SecretStr(mongodb_uri), mongodb_database=world.database.name, **SETTINGS
        )
        async with a_sender(world, settings) as sender:
            enrollment = await world.dispatch("ring", person_id=person)
            await sender.due(enrollment, "ring")
            yield sender, enrollment


async def test_a_wrong_number_is_suppressed_before_the_command_counts_as_done(
    mongodb_uri: str, smtp_server: SmtpServer
) -> None:
    async with a_call(mongodb_uri, smtp_server, "+49 30 123") as (sender, enrollment):
        world = sender.world
        wrong = {"result": "wrong_number", "suppress_phone": True}
        await sender.command(TaskDone, enrollment, "ring", **wrong)
        suppression = world.secrets.suppression_id(world.workspace, "phone", "+4930123")
        found = await world.collection(names.SUPPRESSIONS).find_one({"_id": suppression})
        assert found is not None
        assert found["reason"] == "wrong_number"
        assert sender.published.last().reason == "wrong_number"


async def test_words_of_a_persons_own_never_reach_the_events(
    mongodb_uri: str, smtp_server: SmtpServer
) -> None:
    async with a_call(mongodb_uri, smtp_server, "+49 30 123") as (sender, enrollment):
        await sender.command(TaskDone, enrollment, "ring", result="spoke with Lena's mother", note="moved")
        assert sender.published.last().reason == "unknown"
        assert (await sender.world.delivery(enrollment, "ring"))["task"]["note"] == "moved"


# ---- tasks that vanished ----


@pytest.mark.parametrize(
    ("enrollment", "because"),
    [
        ({"state": "stopped", "ended": True, "stop": {"reason": "replied"}}, "replied"),
        ({"state": "failed", "ended": True}, "failed"),
        ({"state": "scheduled", "ended": False}, "not_current"),
    ],
)
async def test_a_task_that_was_taken_back_says_why_to_its_assignee_for_two_weeks(
    api: Served, enrollment: dict[str, Any], because: str
) -> None:
    dispatch = await a_task(api, state="released")
    await api.database.collection(names.DELIVERIES).update_one(
        {"_id": dispatch}, {"$set": {"reason": "not_current"}}
    )
    there = {"_id": ids.split_dispatch_id(dispatch)[0], "workspace_id": api.workspace}
    await api.database.collection(names.ENROLLMENTS).insert_one({**there, **enrollment})
    [shown] = (await api.call("GET", "/v1/tasks?state=released&assignee=me"))["items"]
    assert (shown["dispatch_id"], shown["recalled_because"]) == (dispatch, because)
    assert datetime.fromisoformat(shown["recalled_at"]) == api.clock.now()
    assert (await api.call("GET", "/v1/tasks"))["items"] == []
    api.clock.advance(days=15)
    assert (await api.call("GET", "/v1/tasks?state=released"))["items"] == []


async def test_a_mail_that_was_taken_back_is_no_task(api: Served) -> None:
    dispatch = await a_task(api, "email", "released")
    await api.database.collection(names.DELIVERIES).update_one({"_id": dispatch}, {"$unset": {"task": ""}})
    assert (await api.call("GET", "/v1/tasks?state=released"))["items"] == []


# ---- who has them ----


async def test_all_tasks_of_who_leaves_go_to_another_and_asking_again_finds_none(api: Served) -> None:
    ben = await colleague(api)
    mine = {await a_task(api), await a_task(api, snoozed_until=api.clock.now() + timedelta(days=1))}
    await a_task(api, assignee_id=uuid4())
    await a_task(api, state="done")
    body = {"assignee_id": str(me(api)), "to_assignee_id": ben}
    answer = await api.call("POST", "/v1/tasks/reassign", body, status=202)
    assert (answer["tasks"], answer["more"], len(answer["commands"])) == (2, False, 2)
    assert {each["target"] for each in await wishes(api)} == mine
    assert ("tasks.reassigned", str(me(api))) in await api.audited()
    # What the sender makes of the commands.
    await api.database.collection(names.DELIVERIES).update_many(
        {"_id": {"$in": list(mine)}}, {"$set": {"task.assignee_id": UUID(ben)}}
    )
    assert (await api.call("POST", "/v1/tasks/reassign", body, status=202))["tasks"] == 0


async def test_the_same_request_again_under_its_key_is_the_same_commands(api: Served) -> None:
    ben = await colleague(api)
    await a_task(api)
    body, headers = {"assignee_id": str(me(api)), "to_assignee_id": ben}, {"Idempotency-Key": "once"}
    first = await api.call("POST", "/v1/tasks/reassign", body, status=202, headers=headers)
    again = await api.call("POST", "/v1/tasks/reassign", body, status=202, headers=headers)
    assert first == again
    assert len(await wishes(api)) == 1


async def test_tasks_go_to_users_of_the_workspace_and_by_admins_alone(api: Served) -> None:
    body = {"assignee_id": str(me(api)), "to_assignee_id": str(uuid4())}
    await api.call("POST", "/v1/tasks/reassign", body, status=422)
    await api.call("POST", "/v1/tasks/reassign", {**body, "to_assignee_id": str(me(api))}, status=422)
    await api.call("POST", "/v1/tasks/reassign", body, status=403, key=await api.key("write"))


async def test_some_tasks_alone_are_reassigned_where_the_wish_says_so(api: Served) -> None:
    ben = await colleague(api)
    call = await a_task(api)
    await a_task(api, "inmail")
    body = {"assignee_id": str(me(api)), "to_assignee_id": ben, "channel": "call"}
    assert (await api.call("POST", "/v1/tasks/reassign", body, status=202))["tasks"] == 1
    assert [each["target"] for each in await wishes(api)] == [call]


# ---- who is told, when and where ----


async def test_preferences_are_as_for_everybody_until_somebody_says_otherwise(api: Served) -> None:
    assert (await api.call("GET", "/v1/me/preferences"))["tasks"] == {
        "digest": True,
        "digest_at": "08:30",
        "when_due": False,
        "zone": None,
        "workdays": ["mon", "tue", "wed", "thu", "fri"],
        "quiet": {"start": "19:00", "end": "07:00"},
    }
    wanted = {"digest_at": "06:15", "zone": "Asia/Tokyo", "workdays": "sun-thu", "quiet": None}
    await api.call("PUT", "/v1/me/preferences", {"tasks": wanted})
    shown = (await api.call("GET", "/v1/me/preferences"))["tasks"]
    assert (shown["digest_at"], shown["workdays"][0], shown["quiet"]) == ("06:15", "mon", None)
    user = await api.database.collection(names.USERS).find_one({"_id": me(api)})
    assert user is not None
    read = PromptedUser.read(user)
    assert (read.email, read.wishes.workdays, read.wishes.zone) == (
        "ana@ourco.example",
        (0, 1, 2, 3, 6),
        "Asia/Tokyo",
    )


async def test_who_has_said_nothing_is_read_as_the_api_shows_it(api: Served) -> None:
    shown = (await api.call("GET", "/v1/me/preferences"))["tasks"]
    await api.call("PUT", "/v1/me/preferences", {"tasks": shown})
    user = await api.database.collection(names.USERS).find_one({"_id": me(api)})
    assert user is not None
    assert PromptedUser.read(user).wishes == PromptWishes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"digest_at": "25:00"},
        {"digest_at": "20:00"},  # in quiet hours
        {"zone": "Berlin"},
        {"workdays": "someday"},
        {"workdays": []},
        {"quiet": {"start": "19:00"}},
        {"often": True},
    ],
)
async def test_preferences_that_could_not_be_kept_are_refused(api: Served, wrong: dict[str, Any]) -> None:
    problem = await api.call("PUT", "/v1/me/preferences", {"tasks": wrong}, status=422)
    assert problem["errors"][0]["pointer"].startswith("/tasks/")


async def test_a_webhooks_secret_is_shown_once_and_kept_so_that_the_sender_signs_with_it(
    api: Served,
) -> None:
    path = "/v1/workspace/task-webhook"
    await api.call("GET", path, status=404)
    made = await api.call("PUT", path, {"url": "https://8.8.8.8/segue"})
    assert made["secret"].startswith("whsec_")
    assert await api.call("GET", path) == {"url": "https://8.8.8.8/segue"}
    doc = await api.database.collection(names.WORKSPACES).find_one({"_id": api.workspace})
    assert doc is not None
    hook = PromptHook.read(doc)
    assert (hook.url, api.api.secrets.decrypt(hook.secret)) == (made["url"], made["secret"])
    for wrong in ("not a url", "http://8.8.8.8/segue", "https://10.0.0.1/segue"):
        await api.call("PUT", path, {"url": wrong}, status=422)
    await api.call("PUT", path, {"url": made["url"]}, status=403, key=await api.key("write"))
    await api.call("DELETE", path, status=204)
    await api.call("GET", path, status=404)
    actions = {action for action, _ in await api.audited() if action.startswith("task_webhook")}
    assert actions == {"task_webhook.set", "task_webhook.removed"}
