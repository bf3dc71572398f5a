"""Words are erased when their workspace's rule says so, in full and only then; what happened stays."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import AnswerView, DeliveryStory
from chassis.migrations import build
from chassis.retention import STRAY_AGE
from chassis.testing import FrozenClock
from reply_detector import retention as inbound_retention
from reply_detector.migrations import SCHEMA
from reply_detector.retention import Retention as InboundRetention
from reply_detector.testing import OUR_ID, REPLY, a_message, open_world
from reply_detector.testing import World as Inbox
from segue_contracts import ids
from segue_contracts.commands import TaskDone
from sender import retention
from sender.model import State
from sender.retention import Retention
from sender.settings import SenderSettings
from stack.mail_script import Cut
from stack.sending import ANNA, SETTINGS, Sender, World, a_sender, a_world
from stack.smtp import SmtpServer

pytestmark = pytest.mark.stack

LATER = timedelta(days=400)


@pytest.fixture
async def world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    async with a_world(mongodb_uri, smtp_server) as built:
        yield built


@pytest.fixture
async def sender(world: World, mongodb_uri: str) -> AsyncIterator[Sender]:
    async with a_sender(world, SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)) as built:
        yield built


@pytest.fixture
async def inbox(mongodb_uri: str) -> AsyncIterator[Inbox]:
    async with open_world(mongodb_uri) as built:
        await built.insert(names.WORKSPACES, _id=built.workspace)
        yield built


def erasing(world: World, after: timedelta = LATER) -> Retention:
    return Retention(world.database, FrozenClock(Clock().now() + after), asyncio.Event())


async def rule(database: Any, workspace: UUID, **days: int | None) -> None:
    await database.collection(names.WORKSPACES).update_one({"_id": workspace}, {"$set": {"retention": days}})


async def large(world: World) -> None:
    """The words are too many for a document."""
    words = "word " * 13_000
    await world.collection(names.SEQUENCE_VERSIONS).update_one(
        {}, {"$set": {"document.stages.0.text": words}}
    )


async def files(database: Any, bucket: str) -> int:
    """Pieces of files that are there."""
    return len(await database.collection(f"{bucket}.chunks").find({}))


# ---- what was sent ------------------------------------------------------------------------------------


async def test_the_words_of_an_old_message_are_erased_and_what_happened_stays(
    world: World, sender: Sender
) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    before = await world.delivery(enrollment)
    await erasing(world, timedelta(days=364)).sweep()
    assert await world.delivery(enrollment) == before
    await erasing(world).sweep()
    after = await world.delivery(enrollment)
    assert before.keys() - after.keys() == {"body", "text"}
    assert after.keys() - before.keys() == {"erased_at"}
    assert all(before[name] == after[name] for name in before.keys() & after.keys())
    assert DeliveryStory.read(after).text is None


async def test_a_large_message_leaves_no_file_behind(world: World, sender: Sender) -> None:
    await large(world)
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    assert await files(world.database, "bodies") > 0
    await erasing(world).sweep()
    assert await files(world.database, "bodies") == 0
    assert "body_file" not in await world.delivery(enrollment)


async def test_the_text_of_a_done_task_is_erased_and_its_result_stays(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch("ring")
    await sender.due(enrollment, "ring")
    await erasing(world).sweep()
    assert "text" in (await world.delivery(enrollment, "ring"))["task"], "it is still to be done"
    await sender.command(TaskDone, enrollment, "ring", note="called")
    await erasing(world).sweep()
    task = (await world.delivery(enrollment, "ring"))["task"]
    assert ("text" in task, task["note"]) == (False, "called")


@pytest.mark.parametrize(
    "state", [State.CLAIMED, State.TRANSMITTING, State.DEFERRED, State.IN_DOUBT, State.TASK_OPEN]
)
async def test_what_is_not_settled_keeps_its_bytes_however_old_it_is(
    world: World, sender: Sender, state: State
) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await world.delivery_is(enrollment, state=state.value)
    await erasing(world).sweep()
    assert "body" in await world.delivery(enrollment)


async def test_what_was_released_keeps_its_bytes_until_its_enrollment_has_ended(
    world: World, sender: Sender
) -> None:
    """A later attempt sends exactly them."""
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await world.delivery_is(enrollment, state="released")
    await erasing(world).sweep()
    assert "body" in await world.delivery(enrollment)
    await world.enrollment_is(enrollment, state="stopped", ended=True)
    await erasing(world).sweep()
    assert "body" not in await world.delivery(enrollment)


async def test_each_workspace_has_its_own_rule_and_may_have_none(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await rule(world.database, world.workspace, bodies_days=None, inbound_days=30)
    await erasing(world).sweep()
    assert "body" in await world.delivery(enrollment)
    await rule(world.database, world.workspace, bodies_days=30)
    await erasing(world, timedelta(days=31)).sweep()
    assert "body" not in await world.delivery(enrollment)


async def test_many_are_erased_in_one_round_past_those_that_must_stay(
    world: World, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    enrollments = [await world.dispatch() for _ in range(7)]
    for number, enrollment in enumerate(enrollments):
        await sender.due(enrollment)
        if number < 3:
            await world.delivery_is(enrollment, state="released")
    await erasing(world).sweep()
    kept = ["body" in await world.delivery(enrollment) for enrollment in enrollments]
    assert kept == [True] * 3 + [False] * 4


async def test_a_reply_goes_on_in_the_thread_of_an_erased_message(world: World, sender: Sender) -> None:
    enrollment = await world.dispatch()
    await sender.due(enrollment)
    await erasing(world).sweep()
    await world.enrollment_is(enrollment, state="dispatched", stage_id="nudge")
    await sender.due(enrollment, "nudge")
    first, second = world.mails()
    assert second["In-Reply-To"] == first["Message-ID"]


async def test_a_file_that_a_crash_left_without_its_delivery_goes_after_a_day_and_no_other(
    world: World, sender: Sender
) -> None:
    await large(world)
    world.smtp.answer(ANNA, Cut(recorded=True), times=1)
    kept = await world.dispatch()
    await sender.due(kept)
    dispatch = ids.dispatch_id(kept, "hello")
    bucket = world.database.files("bodies")
    await bucket.put(f"crashed:{dispatch}", dispatch, b"x" * 300_000)
    await bucket.put(f"unnamed:{uuid4()}:hello", "gone", b"x" * 300_000)
    await world.collection("bodies.files").delete_one({"filename": "gone"})  # as a crash within an upload
    await erasing(world, STRAY_AGE / 2).sweep()
    assert len(await bucket.page(None, 10)) == 3
    await erasing(world, STRAY_AGE * 2).sweep()
    left = (await world.delivery(kept))["body_file"]
    assert [each.id for each in await bucket.page(None, 10)] == [left]
    assert await bucket.get(left) is not None


async def test_a_sender_killed_between_the_file_and_its_delivery_leaves_nothing_for_ever(
    world: World, sender: Sender, mongodb_uri: str
) -> None:
    await large(world)
    enrollments = [await world.dispatch() for _ in range(3)]
    for enrollment in enrollments:
        await sender.due(enrollment)
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ERASER, mongodb_uri, world.database.name],
        env={
            "SEGUE_ALLOW_FAULTS": "1",
            "SEGUE_FAULTS": '[{"point": "sender.body_deleted", "do": "kill", "nth": 2}]',
        },
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert ["body_file" in await world.delivery(each) for each in enrollments] == [True] * 3
    await erasing(world).sweep()
    assert ["body_file" in await world.delivery(each) for each in enrollments] == [False] * 3
    assert await files(world.database, "bodies") == 0


ERASER = """
import asyncio, sys
from datetime import timedelta
from chassis.clock import Clock
from chassis.settings import MongoSettings
from chassis.store import connect
from chassis.testing import FrozenClock
from sender.retention import Retention

async def main():
    async with connect(MongoSettings(mongodb_uri=sys.argv[1], mongodb_database=sys.argv[2])) as database:
        clock = FrozenClock(Clock().now() + timedelta(days=400))
        await Retention(database, clock, asyncio.Event()).sweep()

asyncio.run(main())
"""


# ---- what came ----------------------------------------------------------------------------------------


def forgetting(inbox: Inbox) -> InboundRetention:
    return InboundRetention(inbox.database, inbox.clock, asyncio.Event())


async def settled(inbox: Inbox, raw: bytes, **more: Any) -> UUID:
    """An answer whose stop was seen done."""
    inbound = (await inbox.settled(raw, **more))["_id"]
    await inbox.end(inbox.enrollment, *inbox.kafka.causes())
    assert await inbox.pass_on(inbound) == "settled"
    return UUID(str(inbound))


async def test_the_words_of_an_old_answer_are_erased_and_its_verdict_stays(inbox: Inbox) -> None:
    inbound = await settled(inbox, a_message(REPLY))
    before = await inbox.inbound(inbound)
    await forgetting(inbox).sweep()
    assert await inbox.inbound(inbound) == before
    inbox.clock.advance(days=366)
    await forgetting(inbox).sweep()
    after = await inbox.inbound(inbound)
    assert "raw" not in after
    assert (after["verdict"], after["answer"]) == (
        {**before["verdict"], "text": ""},
        {**before["answer"], "text": ""},
    )
    kept = before.keys() - {"raw", "verdict", "answer"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert AnswerView.read(after).erased_at == inbox.clock.now()


async def test_a_large_answer_leaves_no_file_behind(inbox: Inbox) -> None:
    inbound = await settled(inbox, a_message(REPLY + "\n" + "word " * 30_000))
    inbox.clock.advance(days=366)
    await forgetting(inbox).sweep()
    assert await files(inbox.database, "fs") == await files(inbox.database, "files") == 0
    assert "raw_file" not in await inbox.inbound(inbound)


async def test_a_message_that_nobody_judged_or_that_owes_a_stop_keeps_its_bytes(inbox: Inbox) -> None:
    waiting = await inbox.arrives(a_message("Later"))
    owing = (await inbox.settled(a_message(REPLY)))["_id"]
    inbox.clock.advance(days=366)
    await forgetting(inbox).sweep()
    for inbound, state in ((waiting, "received"), (owing, "judged")):
        found = await inbox.inbound(inbound)
        assert (found["state"], "raw" in found) == (state, True)


async def test_what_can_not_be_read_is_erased_too(inbox: Inbox) -> None:
    inbound = await inbox.arrives(b"no message", state="settled", unreadable="no JSON")
    inbox.clock.advance(days=366)
    await forgetting(inbox).sweep()
    after = await inbox.inbound(inbound)
    assert ("raw" in after, after["verdict"], "answer" in after) == (False, None, False)


async def test_an_answer_to_an_erased_message_is_found_by_its_id(inbox: Inbox) -> None:
    await inbox.database.collection(names.DELIVERIES).update_one(
        {"message_id": OUR_ID}, {"$set": {"settled_at": inbox.clock.now(), "text": "Hi", "body": b"Hi"}}
    )
    inbox.clock.advance(days=366)
    await Retention(inbox.database, inbox.clock, asyncio.Event()).sweep()
    delivery = await inbox.database.collection(names.DELIVERIES).find_one({"message_id": OUR_ID})
    assert delivery is not None
    assert "text" not in delivery
    assert (await inbox.settled(a_message(REPLY)))["match"]["by"] == "thread"


async def test_the_same_message_that_comes_again_after_it_was_erased_is_no_new_one(inbox: Inbox) -> None:
    raw = a_message(REPLY)
    inbound = await settled(inbox, raw)
    inbox.clock.advance(days=366)
    await forgetting(inbox).sweep()
    assert await inbox.arrives(raw) == inbound
    assert "raw" not in await inbox.inbound(inbound)


async def test_a_file_that_no_message_names_goes_after_a_day_and_no_other(inbox: Inbox) -> None:
    inbox.clock.set(Clock().now())
    kept = await inbox.arrives(a_message(REPLY + "\n" + "word " * 30_000))
    bucket = inbox.database.files()
    await bucket.put(uuid4(), str(uuid4()), b"x" * 300_000)
    inbox.clock.advance(hours=12)
    await forgetting(inbox).sweep()
    assert len(await bucket.page(None, 10)) == 2
    inbox.clock.advance(hours=13)
    await forgetting(inbox).sweep()
    named = (await inbox.inbound(kept))["raw_file"]
    assert [each.id for each in await bucket.page(None, 10)] == [named]


# ---- how it is found ----------------------------------------------------------------------------------


async def test_what_is_to_be_erased_is_found_in_the_order_of_an_index_that_holds_nothing_else(
    world: World, inbox: Inbox
) -> None:
    await build(inbox.database, SCHEMA)
    now = inbox.clock.now()
    deliveries, inbound = world.collection(names.DELIVERIES), inbox.database.collection(names.INBOUND)
    states = {"$in": retention.ERASABLE}
    plans = [
        await deliveries.explain(
            {
                "workspace_id": world.workspace,
                "settled_at": {"$lt": now},
                words: {"$exists": True},
                "state": states,
            },
            sort=[("settled_at", 1)],
        )
        for words in retention.WORDS
    ]
    plans += [
        await inbound.explain(
            {"workspace_id": world.workspace, "received_at": {"$lt": now}, place: {"$exists": True}},
            sort=[("received_at", 1)],
        )
        for place in inbound_retention.RAW
    ]
    for name, plan in zip(("kept_text", "kept_task_text", "kept_raw", "kept_raw_file"), plans, strict=True):
        assert f"'{name}'" in str(plan), plan
        assert "SORT" not in str(plan)


async def test_the_way_of_a_message_does_not_meet_the_indexes_of_retention(world: World) -> None:
    """Its writes name `_id`, and what looks for its id or thread has indexes of its own."""
    deliveries = world.collection(names.DELIVERIES)
    filters = [
        {"workspace_id": world.workspace, "message_id": {"$in": ["<a@b>"], "$type": "string"}},
        {"workspace_id": world.workspace, "enrollment_id": {"$in": [uuid4()]}, "state": "sent"},
        {"state": "transmitting", "deadline": {"$lt": Clock().now()}},
    ]
    for found in filters:
        plan = str(await deliveries.explain(found))
        assert "kept_" not in plan
        assert "COLLSCAN" not in plan
