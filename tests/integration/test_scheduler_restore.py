"""What operators ask of the scheduler: everything held and lifted, enrollments caught up from their story."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from uuid import UUID

import pytest

from chassis import documents as names
from scheduler.model import Document, State
from scheduler.operations import Everything, Standing, operations_hold
from scheduler.restoring import caught_up, chapter_of
from scheduler.story import event_of
from scheduler.testing import WORKSPACE, Bench, open_bench
from segue_contracts.commands import Hold, HoldScope, MarkReplied, Stop
from segue_contracts.events import Outcome
from segue_contracts.message import Scope
from segue_contracts.topics import ENROLLMENT_EVENTS, STAGE_DUE

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as opened:
        await opened.database.collection(names.WORKSPACES).insert_one(
            {"_id": WORKSPACE, "workspace_id": WORKSPACE, "name": "ours"}
        )
        yield opened


def everything(bench: Bench) -> Everything:
    return Everything(bench.database, bench.clock)


async def test_while_everything_is_held_nothing_is_dispatched_and_lifting_it_leaves_peoples_pauses(
    bench: Bench,
) -> None:
    theirs = bench.message(Hold, scope=HoldScope.WORKSPACE, scope_id=WORKSPACE, reason="lunch")
    await bench.command(theirs)
    (e,) = await bench.enrolled("priya")
    assert await everything(bench).hold("looking into it") == 1
    bench.clock.advance(days=1)
    await bench.parts.due.tick()
    assert bench.due() == []
    bench.clock.advance(1)
    assert await everything(bench).lift() == 1
    assert await everything(bench).lift() == 0
    await bench.parts.holds.sweep()
    await bench.parts.due.tick()
    assert (await bench.read(e))["parked_by"] == f"workspace:{WORKSPACE}"


async def test_lifting_everything_brings_back_what_it_parked_planned_from_then(bench: Bench) -> None:
    (e,) = await bench.enrolled("priya")
    await everything(bench).hold("looking into it")
    bench.clock.set((await bench.read(e))["due_at"])
    await bench.parts.due.tick()
    assert (await bench.read(e))["parked_by"] == operations_hold(WORKSPACE)
    assert (await Standing(bench.database, bench.clock).counts())["parked"] == 1
    bench.clock.advance(1)
    await everything(bench).lift()
    await bench.parts.holds.sweep()
    await due(bench, e)
    assert bench.due() == [e]


async def test_a_broken_enrollment_is_listed_with_its_mark(bench: Bench) -> None:
    (e,) = await bench.enrolled("priya")
    await bench.spoil(e, owner_id=None)
    bench.clock.advance(days=1)
    await bench.parts.due.tick()
    [told] = [each async for each in Standing(bench.database, bench.clock).broken()]
    assert (told["enrollment_id"], told["work"], told["tries"]) == (str(e), "due", 1)


# ---- caught up ----------------------------------------------------------------------------------

KEPT = (
    *("state", "ended", "stage_id", "stage_index", "channel", "attempt", "completed", "planned_at"),
    *("seq", "history", "sequence_version", "failure"),
)


def from_backup(bench: Bench, backup: Document) -> Document:
    """The enrollment as it was, caught up from what the brokers were told."""
    events = [m for m in bench.kafka.of(ENROLLMENT_EVENTS) if m.enrollment_id == backup["_id"]]
    dues = [m for m in bench.kafka.of(STAGE_DUE) if m.enrollment_id == backup["_id"]]
    asked: dict[str, int] = {}
    for due in dues:
        asked[due.dispatch_id] = max(due.attempt, asked.get(due.dispatch_id, 0))
    later = sorted((m for m in events if m.seq > backup["seq"]), key=lambda m: m.seq)
    return caught_up(backup, later, asked, bench.clock.real_now(), bench.clock.now())


def same(restored: Document, now: Document) -> None:
    kept = KEPT if now["ended"] else (*KEPT, "base")
    assert {k: restored.get(k) for k in kept} == {k: now.get(k) for k in kept}


async def due(bench: Bench, e: UUID) -> None:
    """Its stage comes due, and is handed over."""
    bench.clock.set(max(bench.clock.now(), (await bench.read(e))["due_at"]))
    await bench.parts.due.tick()
    assert (await bench.read(e))["state"] == State.DISPATCHED


async def sent(bench: Bench, e: UUID, stage: str) -> None:
    await bench.outcome(Outcome.SENT, e, stage_id=stage)


@pytest.mark.parametrize("steps", range(1, 8))
async def test_an_enrollment_of_any_backup_catches_up_with_any_later_state(bench: Bench, steps: int) -> None:
    (e,) = await bench.enrolled("priya")
    backups = [await bench.read(e)]
    story: tuple[Callable[[], Awaitable[None]], ...] = (
        partial(due, bench, e),
        partial(bench.outcome, Outcome.DEFERRED, e, until=bench.clock.now(), reason="soft"),
        partial(due, bench, e),
        partial(bench.outcome, Outcome.IN_DOUBT, e, attempt=2),
        partial(bench.outcome, Outcome.SENT, e, attempt=2),
        partial(due, bench, e),
        partial(sent, bench, e, "nudge"),
    )
    for step in story[:steps]:
        await step()
        backups.append(await bench.read(e))
    now = await bench.read(e)
    for backup in backups:
        same(from_backup(bench, backup), now)


@pytest.mark.parametrize("flying", [True, False])
async def test_a_stop_after_the_backup_holds_and_recalls_what_was_with_the_sender(
    bench: Bench, flying: bool
) -> None:
    (e,) = await bench.enrolled("priya")
    backup = await bench.read(e)
    if flying:
        await due(bench, e)
    await bench.command(bench.message(Stop, scope=Scope.ENROLLMENT, enrollment_id=e, reason_code="hired"))
    now, restored = await bench.read(e), from_backup(bench, backup)
    same(restored, now)
    assert restored["stop"]["reason_code"] == "hired"
    assert restored.get("owes_recall") == now.get("owes_recall")
    assert ("due_at" in restored) == ("due_at" in now) == flying


async def test_a_correction_after_the_backup_is_known(bench: Bench) -> None:
    (e,) = await bench.enrolled("priya")
    await due(bench, e)
    await sent(bench, e, "hello")
    await due(bench, e)
    await sent(bench, e, "nudge")
    backup = await bench.read(e)
    assert State(backup["state"]) is State.FINISHED
    await bench.command(bench.message(MarkReplied, enrollment_id=e))
    now, restored = await bench.read(e), from_backup(bench, backup)
    same(restored, now)
    assert (restored.get("stop") or {}).get("reason") == (now.get("stop") or {}).get("reason")


async def test_a_chapter_and_its_event_are_the_same_in_both_directions(bench: Bench) -> None:
    (e,) = await bench.enrolled("priya")
    await due(bench, e)
    await bench.outcome(Outcome.TASK_OPENED, e)
    await bench.outcome(Outcome.TASK_DONE, e, reason="reached")
    found = await bench.read(e)
    for chapter in found["history"]:
        assert chapter_of(event_of(found, chapter)) == chapter
