"""Settling stored messages on a real MongoDB: what is published, what is kept, and when it counts as done."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chassis import documents as names
from chassis import faults
from chassis.errors import Reject, Retry
from chassis.store import Index
from reply_detector import store, telemetry
from reply_detector.classify import classify
from reply_detector.testing import (
    OUR_ID,
    OWN,
    PAT,
    REPLY,
    World,
    a_bounce,
    a_message,
    open_world,
)
from reply_detector.verdict import Kind, Verdict
from segue_contracts.commands import Evidence, NoteEvidence
from segue_contracts.events import StopReason
from segue_contracts.message import Scope

pytestmark = pytest.mark.stack

HELD_UNTIL = datetime(2026, 12, 2, tzinfo=UTC)


@pytest.fixture
async def world(mongodb_uri: str) -> AsyncIterator[World]:
    async with open_world(mongodb_uri) as opened:
        yield opened


async def test_a_reply_stops_the_person_and_is_settled_once_the_enrollment_has_ended(world: World) -> None:
    parts = world.parts()
    inbound = await world.arrives(a_message(REPLY))
    assert await parts.detector.settle(world.workspace, inbound) == "judged"
    narrow, stop = world.kafka.stops()
    assert (narrow.event_type, narrow.enrollment_id) == (StopReason.REPLIED, world.enrollment)
    assert (stop.event_type, stop.scope, stop.person_id) == (StopReason.REPLIED, Scope.PERSON, world.person)
    assert stop.occurred_at == world.clock.now()
    stored = await world.inbound(inbound)
    assert (stored["verdict"]["kind"], stored["match"]["by"]) == ("reply", "thread")
    assert "Can we talk on Thursday?" in stored["verdict"]["text"]

    world.clock.advance(0.5)
    await world.end(world.enrollment, stop.event_id)
    world.clock.advance(0.5)
    before = telemetry.STOP_SECONDS._sum.get()
    assert await parts.sweep.once() == 1
    stored = await world.inbound(inbound)
    assert (stored["state"], stored["confirmed_at"]) == ("settled", world.clock.now())
    assert "again_at" not in stored
    assert len(world.kafka.wide()) == 1
    assert telemetry.STOP_SECONDS._sum.get() - before == pytest.approx(0.5)
    world.clock.advance(3600)
    assert await parts.sweep.once() == 0


async def test_a_stop_is_published_again_under_the_same_id_until_it_was_carried_out(world: World) -> None:
    parts = world.parts()
    inbound = await world.arrives(a_message(REPLY))
    await parts.detector.settle(world.workspace, inbound)
    for pause in (1, 2, 4):
        assert await parts.sweep.once() == 0, "not before its time"
        world.clock.advance(pause)
        assert await parts.sweep.once() == 1
    assert len(world.kafka.wide()) == 4
    assert len(world.kafka.causes()) == 2
    assert (await world.inbound(inbound))["state"] == "judged"


async def test_many_at_once_are_carried_together_and_one_that_cannot_be_judged_keeps_none_of_them(
    world: World,
) -> None:
    def defective(raw: bytes) -> Verdict:
        if b"cursed" in raw:
            raise ValueError("a defect")
        return classify(raw)

    parts = world.parts(defective)
    texts = [f"{'cursed' if n == 5 else n}. {REPLY}" for n in range(30)]
    ids = [await world.arrives(a_message(text)) for text in texts]
    # What its version says is known from then on.
    await parts.detector.settle(world.workspace, await world.arrives(a_message(REPLY)))
    carried = [parts.detector.settle(world.workspace, inbound) for inbound in ids]
    outcomes = await asyncio.gather(*carried, return_exceptions=True)
    assert isinstance(outcomes.pop(5), ValueError)
    assert set(outcomes) == {"judged"}
    assert len(world.kafka.causes()) == 2 + 2 * 29
    assert world.kafka.calls == 2


async def test_whoever_is_asked_for_together_stays_within_their_own_workspace(world: World) -> None:
    """Two organisations, and one Message-ID, address and id of a message in both."""
    other = replace(world, workspace=uuid4(), kafka=world.kafka, mailbox=uuid4(), sequence=uuid4())
    other.person, other.enrollment = uuid4(), uuid4()
    await other.furnish()
    parts = world.parts()
    here, there = await world.arrives(a_message(REPLY)), await other.arrives(a_message(REPLY))
    stray = await other.arrives(a_message(REPLY, thread="<unknown@ourco.example>", sender=OWN))
    await asyncio.gather(
        parts.detector.settle(world.workspace, here),
        parts.detector.settle(other.workspace, there),
        parts.detector.settle(other.workspace, stray),
    )
    told = {(stop.workspace_id, stop.enrollment_id or stop.person_id) for stop in world.kafka.stops()}
    mine = {(world.workspace, world.enrollment), (world.workspace, world.person)}
    assert told == mine | {(other.workspace, other.enrollment), (other.workspace, other.person)}


async def test_what_is_too_much_to_be_read_together_is_read_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_FOUND", 2)
    for _ in range(3):
        await world.enroll(uuid4(), sequence_id=uuid4())
    parts = world.parts()
    ids = [await world.arrives(a_message(REPLY, thread=None)) for _ in range(3)]
    await asyncio.gather(*(parts.detector.settle(world.workspace, inbound) for inbound in ids))
    assert len(world.kafka.causes()) == 3 * 4


async def test_of_two_that_judge_at_once_one_is_overtaken_and_goes_on_with_what_the_other_wrote(
    world: World,
) -> None:
    inbound = await world.arrives(a_message(REPLY))
    overtaken = telemetry.OVERTAKEN.labels("judge")
    before, judged = overtaken._value.get(), telemetry.JUDGED.labels("reply", "thread")
    counted = judged._value.get()
    detectors = [world.parts().detector for _ in range(2)]
    await asyncio.gather(*(each.settle(world.workspace, inbound) for each in detectors))
    assert (overtaken._value.get() - before, judged._value.get() - counted) == (1, 1)
    assert len(world.kafka.causes()) == 2


async def test_soft_bounces_that_come_at_once_are_counted_one_after_another(world: World) -> None:
    parts = world.parts()
    ids = []
    for number in range(3):
        message_id = f"<n{number}@ourco.example>"
        await world.deliver(world.enrollment, f"stage{number}", message_id)
        ids.append(await world.arrives(a_bounce("4.2.2", message_id)))
    await asyncio.gather(*(parts.detector.settle(world.workspace, inbound) for inbound in ids))
    (stop,) = world.kafka.stops()
    assert stop.event_type is StopReason.BOUNCED


async def test_duplicate_pointers_at_the_same_moment_have_one_effect(world: World) -> None:
    parts = world.parts()
    inbound = await world.arrives(a_message("Please unsubscribe me."))
    await asyncio.gather(*(parts.detector.settle(world.workspace, inbound) for _ in range(8)))
    assert len(world.kafka.causes()) == 2
    assert (await world.inbound(inbound))["verdict"]["kind"] == "opt_out"
    assert await world.database.collection(names.SUPPRESSIONS).count({}, limit=9) == 1


async def test_the_scope_is_that_of_the_pinned_version(world: World) -> None:
    await world.says(on_reply="company")
    inbound = await world.arrives(a_message(REPLY))
    await world.parts().detector.settle(world.workspace, inbound)
    (stop,) = world.kafka.wide()
    assert (stop.scope, stop.company_key) == (Scope.COMPANY, "theirs.example")


async def test_a_person_scope_is_done_when_all_that_was_issued_before_the_answer_has_ended(
    world: World,
) -> None:
    parts, other, later = world.parts(), uuid4(), uuid4()
    await world.enroll(other, sequence_id=uuid4())
    inbound = await world.arrives(a_message(REPLY))
    await parts.detector.settle(world.workspace, inbound)
    (cause,) = [stop.event_id for stop in world.kafka.wide()]
    await world.enroll(later, issued_at=world.clock.now() + timedelta(minutes=1))
    await world.end(world.enrollment, cause)
    world.clock.advance(1)
    await parts.sweep.once()
    assert (await world.inbound(inbound))["state"] == "judged"
    await world.end(other, cause)
    world.clock.advance(2)
    await parts.sweep.once()
    assert (await world.inbound(inbound))["state"] == "settled"


async def test_an_absence_holds_until_the_hold_is_seen(world: World) -> None:
    parts = world.parts()
    text = "I am out of the office until December 1st, 2026 with limited access to my mail."
    inbound = await world.arrives(a_message(text, Auto_Submitted="auto-replied", X_Autoreply="yes"))
    await parts.detector.settle(world.workspace, inbound)
    (stop,) = world.kafka.stops()
    assert (stop.event_type, stop.scope, stop.until) == (StopReason.AUTO_REPLY, Scope.PERSON, HELD_UNTIL)
    world.clock.advance(1)
    await parts.sweep.once()
    assert (await world.inbound(inbound))["state"] == "judged"
    hold = names.hold_id("person", world.person)
    await world.insert(names.HOLDS, _id=hold, until=HELD_UNTIL, changed_at=stop.occurred_at, lifted_at=None)
    world.clock.advance(2)
    await parts.sweep.once()
    assert (await world.inbound(inbound))["state"] == "settled"


async def test_an_absence_that_is_over_is_not_published_for_ever(world: World) -> None:
    parts = world.parts()
    inbound = await world.arrives(a_message("I am out of the office.", Auto_Submitted="auto-replied"))
    await parts.detector.settle(world.workspace, inbound)
    (stop,) = world.kafka.stops()
    assert stop.until == stop.occurred_at + timedelta(days=3)
    world.clock.advance(3 * 86_400)
    await parts.sweep.once()
    assert (await world.inbound(inbound))["state"] == "settled"


async def test_a_hard_bounce_with_our_id_stops_and_suppresses(world: World) -> None:
    inbound = await world.arrives(a_bounce())
    await world.parts().detector.settle(world.workspace, inbound)
    (stop,) = world.kafka.stops()
    assert (stop.event_type, stop.enrollment_id) == (StopReason.BOUNCED, world.enrollment)
    assert stop.reason_code == "5.1.1"
    suppression = await world.suppressed("PAT@theirs.example")
    assert suppression is not None
    assert (suppression["reason"], suppression["by"], suppression["kind"]) == (
        "bounced",
        "reply-detector",
        "address",
    )


async def test_backscatter_is_settled_without_effect(world: World) -> None:
    inbound = await world.arrives(a_bounce(message_id="<backscatter@x.example>"))
    assert await world.parts().detector.settle(world.workspace, inbound) == "settled"
    assert (await world.inbound(inbound))["verdict"]["kind"] == "bounce"
    assert world.kafka.messages == []
    assert await world.suppressed(PAT) is None


async def test_an_answer_by_address_alone_stops_that_enrollment_only_and_is_marked_for_review(
    world: World,
) -> None:
    await world.enroll(uuid4(), mailbox_id=uuid4())
    inbound = await world.arrives(a_message("Please unsubscribe me.", thread=None))
    await world.parts().detector.settle(world.workspace, inbound)
    (stop,) = world.kafka.stops()
    assert (stop.scope, stop.enrollment_id) == (Scope.ENROLLMENT, world.enrollment)
    assert (await world.inbound(inbound))["effect"]["review"] is True
    assert await world.suppressed(PAT) is None


async def test_a_copy_of_our_own_message_has_no_effect(world: World) -> None:
    inbound = await world.arrives(a_message(REPLY, sender=OWN))
    assert await world.parts().detector.settle(world.workspace, inbound) == "settled"
    assert (await world.inbound(inbound))["match"]["by"] == "own_copy"
    assert world.kafka.messages == []


async def test_an_answer_to_a_dispatch_in_doubt_tells_the_sender_that_it_was_sent(world: World) -> None:
    dispatch = f"{world.enrollment}:hello"
    deliveries = world.database.collection(names.DELIVERIES)
    await deliveries.update_one({"_id": dispatch}, {"$set": {"state": "in_doubt", "journaled": True}})
    inbound = await world.arrives(a_message(REPLY))
    await world.parts().detector.settle(world.workspace, inbound)
    first = world.kafka.messages[0]
    assert isinstance(first, NoteEvidence)
    assert (first.evidence, first.found, first.dispatch_id) == (Evidence.ANSWER, True, dispatch)
    assert len(world.kafka.wide()) == 1
    await world.end(world.enrollment, *world.kafka.causes())
    assert await world.pass_on(inbound) == "judged", "the sender may not have heard of it"
    await deliveries.update_one({"_id": dispatch}, {"$set": {"state": "sent"}})
    assert await world.pass_on(inbound) == "settled"
    assert len({note.event_id for note in world.kafka.of(NoteEvidence)}) == 1


@pytest.mark.parametrize("state", ["transmitting", "deferred", "claimed", "skipped", "released"])
async def test_a_copy_of_a_message_that_does_not_count_as_sent_proves_that_it_was(
    world: World, state: str
) -> None:
    """A copy is often there before anybody doubts, and after somebody has decided."""
    await world.database.collection(names.DELIVERIES).update_one(
        {"_id": f"{world.enrollment}:hello"}, {"$set": {"state": state, "journaled": True}}
    )
    copy = a_message("Hi Pat", sender=OWN, thread=None, Message_ID=OUR_ID)
    await world.settled(copy, source="imap", folder="sent")
    [note] = world.kafka.of(NoteEvidence)
    assert (note.evidence, note.dispatch_id) == (Evidence.SENT_COPY, f"{world.enrollment}:hello")


async def test_a_message_in_a_file_is_read_from_there(world: World) -> None:
    raw = a_message(REPLY + "\n" + "word " * 30_000)
    inbound = await world.arrives(raw)
    assert "raw" not in await world.inbound(inbound)
    await world.parts().detector.settle(world.workspace, inbound)
    assert len(world.kafka.wide()) == 1


async def test_the_sweep_judges_what_nobody_told_us_of_and_only_after_a_while(world: World) -> None:
    parts = world.parts()
    inbound = await world.arrives(a_message(REPLY))
    world.clock.advance(29)
    assert await parts.sweep.once() == 0
    world.clock.advance(2)
    assert await parts.sweep.once() == 1
    assert (await world.inbound(inbound))["state"] == "judged"
    assert len(world.kafka.wide()) == 1


async def test_two_sweeps_take_a_message_once(world: World) -> None:
    first, second = world.parts(), world.parts()
    await world.arrives(a_message(REPLY))
    world.clock.advance(31)
    await asyncio.gather(first.sweep.once(), second.sweep.once())
    assert len(world.kafka.wide()) == 1


async def test_a_message_that_cannot_be_judged_does_not_keep_the_others_and_is_tried_again(
    world: World,
) -> None:
    defects = 2

    def defective(raw: bytes) -> Verdict:
        nonlocal defects
        if b"cursed" in raw and defects:
            defects -= 1
            raise ValueError("a defect")
        return classify(raw)

    parts = world.parts(defective)
    cursed = await world.arrives(a_message(f"cursed. {REPLY}"))
    good = await world.arrives(a_message(REPLY))
    with pytest.raises(ValueError, match="a defect"):
        await parts.detector.settle(world.workspace, cursed)
    world.clock.advance(31)
    await parts.sweep.once()
    stored = await world.inbound(cursed)
    assert (stored["state"], stored["tries"], stored["error"]) == ("received", 1, "ValueError('a defect')")
    assert (await world.inbound(good))["state"] == "judged"
    world.clock.advance(2)
    await parts.sweep.once()
    stored = await world.inbound(cursed)
    assert stored["state"] == "judged"
    assert "error" not in stored


async def test_a_stop_that_kafka_did_not_take_is_owed_and_published_by_the_sweep(world: World) -> None:
    parts = world.parts()
    world.kafka.failures = 1
    inbound = await world.arrives(a_message("Please unsubscribe me."))
    with pytest.raises(Retry):
        await parts.detector.settle(world.workspace, inbound)
    assert (await world.inbound(inbound))["state"] == "judged"
    world.clock.advance(31)
    await parts.sweep.once()
    assert len(world.kafka.wide()) == 1
    assert await world.suppressed(PAT) is not None


async def test_a_crash_after_publishing_repeats_the_same_stop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = world.parts()
    crash = faults.Faults({"reply_detector.after_stop_publish": faults.Fault("error")})
    monkeypatch.setattr(faults, "point", crash.point)
    inbound = await world.arrives(a_message(REPLY))
    with pytest.raises(RuntimeError):
        await parts.detector.settle(world.workspace, inbound)
    world.clock.advance(31)
    await parts.sweep.once()
    assert len(world.kafka.wide()) == 2
    assert len(world.kafka.causes()) == 2
    assert (await world.inbound(inbound))["publishes"] == 1


async def test_a_pointer_to_nothing_or_to_another_workspace_is_refused(world: World) -> None:
    inbound = await world.arrives(a_message(REPLY))
    for workspace, wanted in ((world.workspace, uuid4()), (uuid4(), inbound)):
        with pytest.raises(Reject, match="unknown_inbound"):
            await world.parts().detector.settle(workspace, wanted)


@pytest.mark.parametrize("kind", list(Kind))
async def test_any_verdict_can_be_kept_whatever_text_it_holds(world: World, kind: Kind) -> None:
    verdict = Verdict(kind, ("\udcff",), text="\ud800\0 lone", feedback_type="abuse")
    inbound = await world.arrives(b"x")
    assert await world.parts(lambda _: verdict).detector.settle(world.workspace, inbound) == "settled"
    assert (await world.inbound(inbound))["verdict"]["kind"] == kind


async def test_the_queries_use_their_indexes(world: World) -> None:
    """The sender's index holds strings only; the sweep's hold only what waits."""
    deliveries = world.database.collection(names.DELIVERIES)
    by_id = Index((("message_id", 1),), "message_id", True, {"message_id": {"$type": "string"}})
    await deliveries.ensure_indexes([by_id])
    inbound, now = world.database.collection(names.INBOUND), world.clock.now()
    plans = {
        "message_id": await deliveries.explain(
            {"workspace_id": world.workspace, "message_id": {"$in": [OUR_ID], "$type": "string"}}
        ),
        "owed": await inbound.explain({"again_at": {"$lte": now}}, sort=[("again_at", 1)]),
        "without_verdict": await inbound.explain(
            {"state": "received", "received_at": {"$lte": now}, "again_at": None}, sort=[("received_at", 1)]
        ),
    }
    for name, plan in plans.items():
        assert name in str(plan), plan
        assert "COLLSCAN" not in str(plan)
