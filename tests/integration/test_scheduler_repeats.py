"""Commands that come again, late: what their first telling did stays as it is."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chassis import documents as names
from scheduler.testing import SEQUENCE, TWO_MAILS, Bench, open_bench
from segue_contracts.commands import Reschedule
from segue_contracts.topics import ENROLLMENT_EVENTS

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, TWO_MAILS) as opened:
        yield opened


async def test_an_enroll_that_was_refused_stays_refused_and_is_told_the_same(bench: Bench) -> None:
    sequences = bench.database.collection(names.SEQUENCES)
    await sequences.update_one({"_id": SEQUENCE}, {"$set": {"archived": True}})
    enroll = bench.enroll()
    await bench.command(enroll)
    await sequences.update_one({"_id": SEQUENCE}, {"$set": {"archived": False}})
    bench.clock.advance(5)
    await bench.command(enroll)
    assert await bench.database.collection(names.ENROLLMENTS).find({}) == []
    first, again = bench.kafka.of(ENROLLMENT_EVENTS)
    assert first.event_type == "refused"
    assert first == again


async def test_a_wish_that_comes_again_does_not_undo_a_newer_one(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    now = bench.clock.now()
    older = bench.message(Reschedule, enrollment_id=enrollment, at=now + timedelta(days=1))
    newer = bench.message(Reschedule, enrollment_id=enrollment, at=now + timedelta(days=2))
    await bench.command(older, newer, older)
    await bench.command(older)
    assert (await bench.read(enrollment))["planned_at"] == now + timedelta(days=2)
