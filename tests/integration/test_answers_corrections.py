"""A person calls a message something else: what that changes, once, and what it can't undo."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from chassis.store import Document
from reply_detector.testing import REPLY, World, a_message, open_world
from segue_contracts.commands import Correct, Lift
from segue_contracts.events import AnswerNotification, CorrectAnswer, StopReason
from segue_contracts.message import Scope

pytestmark = pytest.mark.stack

AWAY = a_message("I am out of the office until December 1st, 2026.", Auto_Submitted="auto-replied")


@pytest.fixture
async def world(mongodb_uri: str) -> AsyncIterator[World]:
    async with open_world(mongodb_uri) as opened:
        yield opened


def correction(world: World, inbound: UUID, **said: Any) -> CorrectAnswer:
    now = world.clock.advance(60)
    values = {"event_id": uuid4(), "occurred_at": now, "recorded_at": now, "workspace_id": world.workspace}
    return CorrectAnswer(**values, inbound_id=inbound, issued_by="ana", **said)


async def result(world: World, command: CorrectAnswer) -> Document | None:
    return await world.database.collection(names.COMMAND_RESULTS).find_one({"_id": command.event_id})


async def replied(world: World) -> Document:
    """A reply that has stopped the enrollment, and is settled."""
    stored = await world.settled(a_message(REPLY))
    await world.end(world.enrollment, stored["effect"]["causes"][0]["event_id"])
    assert await world.pass_on(stored["_id"]) == "settled"
    world.kafka.messages.clear()
    return await world.inbound(stored["_id"])


async def held(world: World) -> Document:
    """An absence whose hold is there, and which is settled."""
    stored = await world.settled(AWAY)
    cause = stored["effect"]["causes"][0]
    await world.insert(
        names.HOLDS,
        _id=names.hold_id("person", world.person),
        until=cause["until"],
        changed_at=stored["received_at"],
        lifted_at=None,
        by="reply-detector",
    )
    assert await world.pass_on(stored["_id"]) == "settled"
    world.kafka.messages.clear()
    return await world.inbound(stored["_id"])


async def test_an_absence_that_was_a_reply_stops_as_a_reply_would_and_lifts_its_hold(world: World) -> None:
    stored = await held(world)
    command = correction(world, stored["_id"], kind="reply", intent="interested")
    await world.parts().detector.correct(command)
    assert [s.event_type for s in world.kafka.stops()] == [StopReason.REPLIED, StopReason.REPLIED]
    assert {s.occurred_at for s in world.kafka.stops()} == {stored["received_at"]}, "when they answered"
    (lift,) = world.kafka.of(Lift)
    assert (lift.scope_id, lift.occurred_at) == (world.person, command.occurred_at)
    now = await world.inbound(stored["_id"])
    assert (now["state"], now["answer"]["kind"], now["answer"]["intent"]) == ("judged", "reply", "interested")
    assert (now["answer"]["open"], now["answer"]["reviewed_by"]) == (False, "ana")
    assert now["verdict"]["kind"] == "auto_reply", "the machine's own word stays"
    assert (now["corrections"][0]["was"], now["correction"]["by"]) == ("auto_reply", "ana")
    (done,) = [await result(world, command)]
    assert done is not None
    assert done["status"] == "done"

    await world.end(world.enrollment, world.kafka.stops()[0].event_id)
    lifted = {"$set": {"lifted_at": lift.occurred_at, "changed_at": lift.occurred_at}}
    await world.database.collection(names.HOLDS).update_one({"_id": f"person:{world.person}"}, lifted)
    assert await world.pass_on(stored["_id"]) == "settled"


async def test_the_same_correction_twice_is_one(world: World) -> None:
    stored = await held(world)
    command = correction(world, stored["_id"], kind="reply")
    await world.parts().detector.correct(command)
    await world.parts().detector.correct(command)
    assert len(world.kafka.causes()) == 2
    assert len((await world.inbound(stored["_id"]))["corrections"]) == 1


async def test_a_pause_that_somebody_set_meanwhile_is_not_lifted(world: World) -> None:
    stored = await held(world)
    by_hand = {"$set": {"by": "ana", "changed_at": world.clock.now()}}
    await world.database.collection(names.HOLDS).update_one({"_id": f"person:{world.person}"}, by_hand)
    await world.parts().detector.correct(correction(world, stored["_id"], kind="reply"))
    assert world.kafka.of(Lift) == []


async def test_a_reply_that_was_none_is_told_so_until_the_enrollment_counts_as_mistaken(
    world: World,
) -> None:
    stored = await replied(world)
    cause = stored["effect"]["causes"][0]["event_id"]
    command = correction(world, stored["_id"], kind="other")
    await world.parts().detector.correct(command)
    (told,) = world.kafka.of(Correct)
    assert (told.enrollment_id, told.cause_id) == (world.enrollment, cause)
    assert (told.reason, told.reason_code) == ("mistaken", "other")
    assert world.kafka.stops() == []
    assert await world.pass_on(stored["_id"]) == "judged"
    assert {c.event_id for c in world.kafka.of(Correct)} == {told.event_id}
    corrected = {"$set": {"stop.cause_id": told.event_id, "stop.reason": "mistaken"}}
    await world.database.collection(names.ENROLLMENTS).update_one({"_id": world.enrollment}, corrected)
    assert await world.pass_on(stored["_id"]) == "settled"
    assert world.kafka.of(AnswerNotification) == [], "who corrects has seen it"


async def test_a_reply_that_was_an_opt_out_suppresses_and_is_told_as_one(world: World) -> None:
    stored = await replied(world)
    await world.parts().detector.correct(correction(world, stored["_id"], kind="opt_out"))
    (told,) = world.kafka.of(Correct)
    assert (told.reason, told.reason_code) == ("unsubscribed", "corrected")
    assert {s.event_type for s in world.kafka.stops()} == {StopReason.UNSUBSCRIBED}
    assert await world.suppressed("pat@theirs.example") is not None


async def test_what_was_called_a_reply_again_has_new_causes(world: World) -> None:
    """Those that were taken back once would count as known."""
    stored = await replied(world)
    first = {cause["event_id"] for cause in stored["effect"]["causes"]}
    await world.parts().detector.correct(correction(world, stored["_id"], kind="other"))
    mistaken = {"$set": {"stop.reason": "mistaken", "stop.cause_id": uuid4()}}
    await world.database.collection(names.ENROLLMENTS).update_one({"_id": world.enrollment}, mistaken)
    assert await world.pass_on(stored["_id"]) == "settled"
    await world.parts().detector.correct(correction(world, stored["_id"], kind="reply"))
    assert world.kafka.causes().isdisjoint(first)
    assert {s.scope for s in world.kafka.stops()} == {Scope.ENROLLMENT, Scope.PERSON}


async def test_another_intent_or_none_at_all_changes_nothing_that_runs(world: World) -> None:
    stored = await replied(world)
    await world.parts().detector.correct(correction(world, stored["_id"], intent="not_now"))
    now = await world.inbound(stored["_id"])
    assert (now["state"], now["answer"]["kind"], now["answer"]["intent"]) == ("settled", "reply", "not_now")
    await world.parts().detector.correct(correction(world, stored["_id"]))
    now = await world.inbound(stored["_id"])
    assert (now["answer"]["intent"], now["answer"]["open"]) == ("not_now", False)
    assert world.kafka.messages == []


async def test_a_correction_waits_until_what_the_message_did_before_is_done(world: World) -> None:
    stored = await world.settled(a_message(REPLY))
    command = correction(world, stored["_id"], kind="other")
    await world.parts().detector.correct(command)
    assert await result(world, command) is None, "the api gives it again"
    assert "correction" not in await world.inbound(stored["_id"])
    await world.end(world.enrollment, stored["effect"]["causes"][0]["event_id"])
    await world.pass_on(stored["_id"])
    await world.parts().detector.correct(command)
    assert await result(world, command) is not None


async def test_an_older_correction_that_comes_late_is_refused(world: World) -> None:
    stored = await replied(world)
    older = correction(world, stored["_id"], intent="interested")
    await world.parts().detector.correct(correction(world, stored["_id"], intent="not_now"))
    await world.parts().detector.correct(older)
    refused = await result(world, older)
    assert refused is not None
    assert [reason["code"] for reason in refused["reasons"]] == ["corrected_since"]


async def test_what_is_no_answer_can_not_be_corrected(world: World) -> None:
    stranger = await world.settled(a_message(REPLY, sender="who@x.example", thread=None))
    for inbound in (stranger["_id"], uuid4()):
        command = correction(world, inbound, kind="reply")
        await world.parts().detector.correct(command)
        refused = await result(world, command)
        assert refused is not None
        assert [reason["code"] for reason in refused["reasons"]] == ["no_answer"]
