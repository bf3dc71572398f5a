"""What is heard after the end: late answers and people's corrections, in document, counts and story."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from scheduler.model import Document
from scheduler.story import event_of
from scheduler.testing import Bench, open_bench
from segue_contracts import codec, ids
from segue_contracts.commands import Correct, Hold, HoldScope, MarkReplied, Stop
from segue_contracts.events import EnrollmentStop, Outcome, StopReason
from segue_contracts.message import Scope
from segue_contracts.topics import ENROLLMENT_EVENTS

pytestmark = pytest.mark.stack

ONE_MAIL: Document = {
    "name": "Engineers",
    "stages": [{"id": "hello", "channel": "email", "subject": "A job", "text": "Hi {{first_name}}"}],
}


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, ONE_MAIL) as opened:
        yield opened


async def finished(bench: Bench, who: str = "priya") -> UUID:
    """Somebody who had the only mail."""
    (enrollment,) = await bench.enrolled(who)
    await bench.parts.due.tick()
    await bench.outcome(Outcome.SENT, enrollment)
    return enrollment


def answer(bench: Bench, enrollment: UUID, reason: StopReason = StopReason.REPLIED, **more: Any) -> Any:
    values = {"event_type": reason, "scope": Scope.ENROLLMENT, "enrollment_id": enrollment} | more
    return bench.message(EnrollmentStop, **values)


async def refusal(bench: Bench, command: Any) -> list[str]:
    result = await bench.database.collection(names.COMMAND_RESULTS).find_one({"_id": command.event_id})
    assert result is not None
    return [reason["code"] for reason in result["reasons"]]


async def test_a_reply_to_a_finished_enrollment_is_recorded_as_replied_once(bench: Bench) -> None:
    enrollment = await finished(bench)
    reply = answer(bench, enrollment)
    await bench.stop(reply, reply)
    await bench.stop(reply)
    e = await bench.read(enrollment)
    assert (e["state"], e["stop"]["reason"], e["stop"]["late"]) == ("finished", "replied", True)
    assert bench.kafka.kinds()[-2:] == ["finished", "corrected"]
    told = bench.kafka.of(ENROLLMENT_EVENTS)[-1]
    assert (told.reason, told.supersedes_event_id) == ("replied", ids.event_id(enrollment, e["seq"] - 1))
    assert told.occurred_at == reply.occurred_at
    assert codec.encode(event_of(e, e["history"][-1])) == codec.encode(told)


async def test_a_bounce_of_the_last_mail_is_recorded_and_a_reply_after_it_is_the_better_truth(
    bench: Bench,
) -> None:
    enrollment = await finished(bench)
    await bench.stop(answer(bench, enrollment, StopReason.BOUNCED, reason_code="5.1.1"))
    bounced = await bench.read(enrollment)
    assert (bounced["stop"]["reason"], bounced["stop"]["reason_code"]) == ("bounced", "5.1.1")
    await bench.stop(answer(bench, enrollment))
    assert (await bench.read(enrollment))["stop"]["reason"] == "replied"
    first, second = bench.kafka.of(ENROLLMENT_EVENTS)[-2:]
    assert second.supersedes_event_id == first.event_id


@pytest.mark.parametrize("second", [StopReason.UNSUBSCRIBED, StopReason.BOUNCED, StopReason.REQUESTED])
async def test_after_the_first_answer_nothing_that_comes_later_changes_what_is_known(
    bench: Bench, second: StopReason
) -> None:
    enrollment = await finished(bench)
    await bench.stop(answer(bench, enrollment))
    known = await bench.read(enrollment)
    await bench.stop(answer(bench, enrollment, second))
    assert await bench.read(enrollment) == known


async def test_a_reply_after_a_stop_by_a_colleague_is_recorded_as_replied(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    await bench.command(bench.message(Stop, enrollment_id=enrollment, reason_code="hired"))
    await bench.command(bench.message(MarkReplied, enrollment_id=enrollment))
    e = await bench.read(enrollment)
    assert (e["state"], e["stop"]["reason"]) == ("stopped", "replied")
    assert [c.get("reason_code") for c in e["history"][-2:]] == ["hired", "marked"]


async def test_a_tombstone_learns_nothing(bench: Bench) -> None:
    unknown = uuid4()
    await bench.command(bench.message(Stop, enrollment_id=unknown))
    before = await bench.read(unknown)
    await bench.stop(answer(bench, unknown))
    assert await bench.read(unknown) == before


async def test_a_stop_that_was_no_answer_stays_a_stop_but_not_a_reply(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    reply = answer(bench, enrollment)
    await bench.stop(reply)
    correct = bench.message(
        Correct,
        enrollment_id=enrollment,
        cause_id=reply.event_id,
        reason="mistaken",
        reason_code="auto_reply",
    )
    await bench.command(correct)
    await bench.command(correct)
    e = await bench.read(enrollment)
    assert (e["state"], e["stop"]["reason"], e["stop"]["reason_code"]) == (
        "stopped",
        "mistaken",
        "auto_reply",
    )
    stopped, told = bench.kafka.of(ENROLLMENT_EVENTS)[-2:]
    assert (told.event_type, told.supersedes_event_id) == ("corrected", stopped.event_id)
    await bench.stop(reply)
    assert await bench.read(enrollment) == e, "the same reply again is not news"
    anew = bench.enroll().model_copy(update={"generation": 2})
    await bench.command(anew)
    assert (await bench.read(anew.enrollment_id))["state"] == "scheduled"


async def test_a_late_answer_that_was_none_leaves_a_finished_enrollment_finished(bench: Bench) -> None:
    enrollment = await finished(bench)
    reply = answer(bench, enrollment)
    await bench.stop(reply)
    correct = bench.message(
        Correct, enrollment_id=enrollment, cause_id=reply.event_id, reason="mistaken", reason_code="other"
    )
    await bench.command(correct)
    e = await bench.read(enrollment)
    assert (e["state"], "stop" in e) == ("finished", False)
    await bench.stop(answer(bench, enrollment))
    assert (await bench.read(enrollment))["stop"]["reason"] == "replied", "a true one still counts"


async def test_a_correction_touches_only_what_its_cause_has_ended(bench: Bench) -> None:
    live, stopped = await bench.enrolled("priya", "wei")
    await bench.command(bench.message(Stop, enrollment_id=stopped, reason_code="hired"))
    before = await bench.read(stopped)
    for enrollment, code in ((live, "live"), (stopped, "other_cause"), (uuid4(), "unknown_enrollment")):
        correct = bench.message(Correct, enrollment_id=enrollment, cause_id=uuid4(), reason="mistaken")
        await bench.command(correct)
        assert await refusal(bench, correct) == [code]
    assert await bench.read(stopped) == before


async def test_an_absence_never_shortens_a_pause(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    scope = {"scope": HoldScope.ENROLLMENT, "scope_id": enrollment}
    holds = bench.database.collection(names.HOLDS)
    await bench.command(bench.message(Hold, **scope))
    bench.clock.advance(60)
    away = {"until": bench.clock.now().replace(year=bench.clock.now().year + 1)}
    await bench.stop(answer(bench, enrollment, StopReason.AUTO_REPLY, **away))
    paused = await holds.find_one({"scope_id": enrollment})
    assert paused is not None
    assert paused["until"] is None
    bench.clock.advance(60)
    await bench.command(bench.message(Hold, **scope, until=bench.clock.now().replace(microsecond=0)))
    await bench.stop(answer(bench, enrollment, StopReason.AUTO_REPLY, **away))
    longer = await holds.find_one({"scope_id": enrollment})
    assert longer is not None
    assert longer["reason"] != "out_of_office", "not newer than the pause"
    bench.clock.advance(60)
    await bench.stop(answer(bench, enrollment, StopReason.AUTO_REPLY, **away))
    longer = await holds.find_one({"scope_id": enrollment})
    assert longer is not None
    assert (longer["until"], longer["reason"]) == (away["until"], "out_of_office")
