"""What is planned is planned again when days off, hours or time zones change; on a real MongoDB."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest

from chassis import documents as names
from chassis import faults
from chassis.errors import Retry
from chassis.testing import NOON
from scheduler.course import LOOK_AGAIN
from scheduler.replans import BATCH, BEGINS_AFTER_SECONDS, TZDATA_AFTER_SECONDS
from scheduler.testing import MAILBOX, WORKSPACE, Bench, bench_over, open_bench, settings_for
from segue_contracts.commands import (
    Hold,
    HoldScope,
    Lift,
    Replan,
    ReplanReason,
    ReplanScope,
    Reschedule,
    SetCalendar,
    UpdatePerson,
)
from segue_contracts.events import Outcome

pytestmark = pytest.mark.stack

AFTER_A_DAY: dict[str, Any] = {
    "name": "Engineers",
    "timing": {"zone": "UTC", "windows": {"mon-sun": ["09:00-17:00"]}, "holidays": {"of": ["team"]}},
    "stages": [
        {"id": "hello", "channel": "email", "after": "1 day", "subject": "A job", "text": "Hi"},
        {"id": "nudge", "channel": "email", "after": "3 days", "text": "Did you see this?"},
    ],
}
ONE_DAY = timedelta(days=1)
TUESDAY = NOON + ONE_DAY
OPENING = timedelta(hours=3)
"""From noon back to the opening of the window."""
OTHER_MAILBOX = UUID(int=9)
FROM_TUESDAY = [str((TUESDAY + n * ONE_DAY).date()) for n in range(7)]


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, AFTER_A_DAY) as opened:
        yield opened


async def set_calendar(bench: Bench, *days: str) -> SetCalendar:
    """As told by the api, a second after what was there before."""
    bench.clock.advance(1)
    command: SetCalendar = bench.message(SetCalendar, days=list(days))
    await bench.command(command)
    return command


async def sweep(bench: Bench) -> None:
    """When what was asked for begins."""
    bench.clock.advance(BEGINS_AFTER_SECONDS + 1)
    await bench.parts.replans.sweep()


async def change_mailbox(bench: Bench, mailbox: UUID = MAILBOX, **settings: Any) -> None:
    """What the api does for a PUT."""
    scope = ReplanScope.MAILBOX
    reason = ReplanReason.MAILBOX_CHANGED
    await bench.command(bench.message(Replan, scope=scope, scope_id=mailbox, reason=reason))
    found = await bench.database.collection(names.MAILBOXES).update_one({"_id": mailbox}, {"$set": settings})
    assert found


async def planned(bench: Bench, *enrollments: UUID) -> list[datetime]:
    return [(await bench.read(each))["planned_at"] for each in enrollments]


async def moves(bench: Bench, enrollment: UUID) -> list[tuple[str, datetime]]:
    """Why and to when its stage was moved, in the order of its story."""
    told = (await bench.read(enrollment))["history"]
    return [
        (c["reason"], c["scheduled_for"]) for c in told if c["type"] == "stage_scheduled" and "reason" in c
    ]


async def requests(bench: Bench) -> dict[str, dict[str, Any]]:
    found = await bench.database.collection(names.REPLANS).find({"workspace_id": WORKSPACE})
    return {doc["_id"]: doc for doc in found}


async def revisions(bench: Bench, enrollments: Sequence[UUID]) -> list[int]:
    return [(await bench.read(each))["rev"] for each in enrollments]


# ---- the calendar -------------------------------------------------------------------------------------


async def test_a_day_off_of_the_team_moves_what_is_planned_on_it_and_back_when_it_is_none(
    bench: Bench,
) -> None:
    (enrollment,) = await bench.enrolled("a")
    await set_calendar(bench, FROM_TUESDAY[0])
    await sweep(bench)
    e = await bench.read(enrollment)
    opening = TUESDAY + ONE_DAY - OPENING
    assert (e["planned_at"], e["due_at"]) == (opening, opening)
    assert "a holiday of the team" in str(e["reasons"])
    await set_calendar(bench)
    await sweep(bench)
    assert await moves(bench, enrollment) == [("calendar_changed", opening), ("calendar_changed", TUESDAY)]
    assert bench.kafka.kinds() == ["enrolled"] + ["stage_scheduled"] * 3


async def test_an_older_calendar_than_the_stored_one_changes_nothing(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("a")
    older = bench.message(SetCalendar, days=[])
    await set_calendar(bench, FROM_TUESDAY[0])
    await bench.command(older)
    view = await bench.parts.store.calendar(WORKSPACE)
    assert view is not None
    assert view.days == (FROM_TUESDAY[0],)
    await sweep(bench)
    assert await planned(bench, enrollment) == [TUESDAY + ONE_DAY - OPENING]


async def test_the_same_calendar_again_is_the_same_request_and_moves_nobody_twice(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("a")
    told = await set_calendar(bench, FROM_TUESDAY[0])
    await sweep(bench)
    done = await requests(bench)
    assert [each["applied"] for each in done.values()] == [True]
    await bench.parts.replans.set_calendar(told)  # as after a crash before its result was stored
    await sweep(bench)
    assert await requests(bench) == done
    assert len(await moves(bench, enrollment)) == 1


async def test_who_is_enrolled_afterwards_is_planned_with_the_teams_days(bench: Bench) -> None:
    await bench.enrolled("before")  # so that the scheduler has looked at the calendar
    await set_calendar(bench, FROM_TUESDAY[0])
    bench.clock.advance(BEGINS_AFTER_SECONDS)
    (enrollment,) = await bench.enrolled("after")
    assert await planned(bench, enrollment) == [TUESDAY + ONE_DAY - OPENING]
    assert await moves(bench, enrollment) == []


async def test_a_sequence_that_does_not_name_the_team_keeps_its_times(mongodb_uri: str) -> None:
    public = {**AFTER_A_DAY, "timing": {"zone": "UTC", "holidays": {"of": ["DE"]}}}
    async with open_bench(mongodb_uri, public) as bench:
        (enrollment,) = await bench.enrolled("a")
        before = await bench.read(enrollment)
        await set_calendar(bench, FROM_TUESDAY[0])
        await sweep(bench)
        assert await bench.read(enrollment) == before


async def test_nothing_is_planned_again_before_every_scheduler_knows_of_the_change(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("a")
    await set_calendar(bench, FROM_TUESDAY[0])
    bench.clock.advance(BEGINS_AFTER_SECONDS - 1)
    await bench.parts.replans.sweep()
    assert await planned(bench, enrollment) == [TUESDAY]


async def test_a_day_that_is_open_again_but_past_is_not_planned_for(mongodb_uri: str) -> None:
    """It would be late at once, and a sequence may skip what is late."""
    skips = {**AFTER_A_DAY, "timing": {**AFTER_A_DAY["timing"], "catch_up": "skip"}}
    async with open_bench(mongodb_uri, skips) as bench:
        await set_calendar(bench, FROM_TUESDAY[0])
        bench.clock.advance(BEGINS_AFTER_SECONDS)
        (enrollment,) = await bench.enrolled("a")
        bench.clock.advance(hours=27)
        await set_calendar(bench)
        await sweep(bench)
        assert await planned(bench, enrollment) == [bench.clock.now()]
        await bench.parts.due.tick()
        assert bench.due() == [enrollment]


async def test_who_can_never_be_sent_to_any_more_waits_for_a_setting_and_is_never_sent_to(
    bench: Bench,
) -> None:
    (enrollment,) = await bench.enrolled("a")
    away = f"{TUESDAY.date()}/{(TUESDAY + timedelta(days=399)).date()}"
    await change_mailbox(bench, zone="UTC", time_off=[away, "2027-04-06/2027-05-06"])
    await sweep(bench)
    e = await bench.read(enrollment)
    assert (e["state"], e["due_at"]) == ("scheduled", e["send_before"])
    assert "no allowed time within 400 days" in e["reasons"][0]["detail"]
    told = len(bench.kafka.messages)

    bench.clock.set(e["due_at"])  # it looks again by itself, and tells nobody that nothing has changed
    await bench.parts.due.tick()
    later = await bench.read(enrollment)
    assert (later["state"], later["due_at"], later["attempt"]) == ("scheduled", e["due_at"] + LOOK_AGAIN, 0)
    assert (bench.due(), len(bench.kafka.messages)) == ([], told)

    await change_mailbox(bench, zone="UTC", time_off=[])
    await sweep(bench)
    (at,) = await planned(bench, enrollment)
    assert bench.clock.now() <= at < bench.clock.now() + LOOK_AGAIN
    bench.clock.set(at)
    await bench.parts.due.tick()
    assert bench.due() == [enrollment]


# ---- a mailbox ----------------------------------------------------------------------------------------


async def test_a_mailboxs_day_off_moves_its_own_people_and_nobody_elses(bench: Bench) -> None:
    ours, theirs = await bench.enrolled("a", "b")
    other: dict[str, Any] = {"_id": OTHER_MAILBOX, "workspace_id": WORKSPACE, "owner_id": WORKSPACE}
    other |= {"address": "ben@ourco.example", "smtp": {"host": "x", "port": 25, "security": "none"}}
    await bench.database.collection(names.MAILBOXES).insert_one(other)
    elsewhen = TUESDAY + timedelta(hours=1)  # whoever looked at it would move it
    await bench.spoil(theirs, mailbox_id=OTHER_MAILBOX, planned_at=elsewhen, due_at=elsewhen)
    untouched = await bench.read(theirs)
    await change_mailbox(bench, zone="UTC", time_off=[FROM_TUESDAY[0]])
    await sweep(bench)
    assert await moves(bench, ours) == [("mailbox_changed", TUESDAY + ONE_DAY - OPENING)]
    assert await bench.read(theirs) == untouched


async def test_hours_that_end_earlier_are_kept_without_a_word_where_the_time_stays(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("a")
    before = await bench.read(enrollment)
    assert before["send_before"] == TUESDAY + timedelta(hours=5)
    await change_mailbox(bench, zone="UTC", windows={"mon-sun": ["09:00-13:00"]})
    await sweep(bench)
    after = await bench.read(enrollment)
    assert after["send_before"] == TUESDAY + timedelta(hours=1)
    assert (after["planned_at"], after["seq"]) == (before["planned_at"], before["seq"])


# ---- what is not touched ------------------------------------------------------------------------------


async def test_what_is_in_flight_is_not_touched_and_goes_on_under_the_new_days(bench: Bench) -> None:
    flying, back = await bench.enrolled("flying", "back")
    bench.clock.set(TUESDAY)
    await bench.parts.due.tick()
    assert sorted(bench.due()) == sorted([flying, back])
    until = bench.clock.now() + timedelta(minutes=30)
    await bench.outcome(Outcome.DEFERRED, back, until=until)
    before = await revisions(bench, [flying, back])
    await set_calendar(bench, *FROM_TUESDAY[:4])
    await sweep(bench)
    assert await revisions(bench, [flying, back]) == before
    await bench.outcome(Outcome.SENT, flying)
    assert await planned(bench, flying) == [TUESDAY + 4 * ONE_DAY - OPENING]


async def test_what_is_held_is_planned_when_it_comes_back(bench: Bench) -> None:
    (held,) = await bench.enrolled("a")
    target = {"scope": HoldScope.ENROLLMENT, "scope_id": held}
    await bench.command(bench.message(Hold, **target))
    bench.clock.set(TUESDAY)
    await bench.parts.due.tick()
    parked = await bench.read(held)
    assert parked["parked_by"]
    await set_calendar(bench, FROM_TUESDAY[0])
    await sweep(bench)
    assert await bench.read(held) == parked
    await bench.command(bench.message(Lift, **target))
    assert await planned(bench, held) == [TUESDAY + ONE_DAY - OPENING]


async def test_a_time_that_a_person_asked_for_is_never_moved_before_it(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("a")
    friday = TUESDAY + 3 * ONE_DAY
    await bench.command(bench.message(Reschedule, enrollment_id=enrollment, at=friday))
    await set_calendar(bench, FROM_TUESDAY[0])
    await sweep(bench)
    assert await planned(bench, enrollment) == [friday]
    await set_calendar(bench, FROM_TUESDAY[3])
    await sweep(bench)
    assert await planned(bench, enrollment) == [friday + ONE_DAY - OPENING]
    await set_calendar(bench)
    await sweep(bench)
    assert await planned(bench, enrollment) == [friday]
    bench.clock.advance(1)
    news = bench.message(UpdatePerson, prospect=bench.prospect("a", title="Engineer"))
    await bench.command(news)
    assert await planned(bench, enrollment) == [friday]
    assert [reason for reason, _ in await moves(bench, enrollment)] == [
        "rescheduled",
        "calendar_changed",
        "calendar_changed",
    ]


async def test_a_time_that_a_person_asked_for_may_be_earlier_than_the_sequence_says(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("a")
    soon = NOON + timedelta(hours=2)
    await bench.command(bench.message(Reschedule, enrollment_id=enrollment, at=soon))
    await set_calendar(bench, FROM_TUESDAY[0])
    await sweep(bench)
    assert await planned(bench, enrollment) == [soon]
    await bench.database.collection(names.MAILBOXES).update_one(
        {"_id": MAILBOX}, {"$set": {"limits": {"per_day": 5}}}
    )
    bench.clock.advance((soon - bench.clock.now()).total_seconds())
    await bench.parts.due.tick()
    assert bench.due() == [enrollment]


# ---- sending limits -----------------------------------------------------------------------------------


async def test_room_under_limits_is_kept_while_its_day_is_open_and_given_back_when_it_is_not(
    mongodb_uri: str,
) -> None:
    at_nine = {**AFTER_A_DAY["stages"][0], "at": "09:00"}
    async with open_bench(mongodb_uri, {**AFTER_A_DAY, "stages": [at_nine]}) as bench:
        await bench.database.collection(names.MAILBOXES).update_one(
            {"_id": MAILBOX}, {"$set": {"limits": {"per_day": 1}}}
        )
        people = await bench.enrolled("a", "b")
        bench.clock.set(NOON + timedelta(hours=21))
        await bench.parts.due.tick()
        (waiting,) = set(people) - set(bench.due())
        before = await bench.read(waiting)
        room = before["planned_at"]
        assert before["reasons"][-1]["rule"] == "cap"
        slots = bench.database.collection(names.SLOTS)
        assert await slots.count({"enrollment_id": waiting}, limit=9) == 1

        await set_calendar(bench, str((room - ONE_DAY).date()))
        await sweep(bench)
        assert await bench.read(waiting) == before
        assert await slots.count({"enrollment_id": waiting}, limit=9) == 1

        await set_calendar(bench, str(room.date()))
        await sweep(bench)
        assert (await planned(bench, waiting)) == [room.replace(hour=9, minute=0, second=0) + ONE_DAY]
        assert await slots.count({"enrollment_id": waiting}, limit=9) == 0


# ---- time zones ---------------------------------------------------------------------------------------


async def test_another_version_of_the_time_zones_asks_once_for_each_workspace(bench: Bench) -> None:
    replans = bench.parts.replans
    await bench.database.collection(names.WORKSPACES).insert_one({"_id": WORKSPACE, "name": "Our Co"})
    await replans.look_at_zones("2026a")
    assert await requests(bench) == {}, "nobody was planned before"
    await replans.look_at_zones("2026b")
    asked = await requests(bench)
    assert list(asked) == [f"tzdata:{WORKSPACE}"]
    bench.clock.advance(60)
    await replans.look_at_zones("2026b")
    assert await requests(bench) == asked


async def test_time_zones_that_changed_are_carried_out_by_a_scheduler_that_has_them_and_after_a_rollout(
    bench: Bench,
) -> None:
    replans = bench.parts.replans
    await bench.database.collection(names.WORKSPACES).insert_one({"_id": WORKSPACE, "name": "Our Co"})
    (enrollment,) = await bench.enrolled("a")
    other_rules = TUESDAY + timedelta(hours=1)
    await bench.spoil(enrollment, planned_at=other_rules, due_at=other_rules)
    await replans.look_at_zones("2026a")
    await replans.look_at_zones("2026b")
    bench.clock.advance(TZDATA_AFTER_SECONDS - 1)
    await replans.sweep("2026b")
    assert await planned(bench, enrollment) == [other_rules]
    bench.clock.advance(2)
    await replans.sweep("2026a")
    assert await planned(bench, enrollment) == [other_rules]
    await replans.sweep("2026b")
    assert await moves(bench, enrollment) == [("tzdata_changed", TUESDAY)]


async def test_a_start_that_crashed_half_way_asks_again_without_beginning_anew(bench: Bench) -> None:
    replans = bench.parts.replans
    await bench.database.collection(names.WORKSPACES).insert_one({"_id": WORKSPACE, "name": "Our Co"})
    await replans.look_at_zones("2026a")
    await replans.look_at_zones("2026b")
    await bench.parts.store.save_tzdata("2026a")  # as if it had not been written yet
    asked = await requests(bench)
    await replans.look_at_zones("2026b")
    assert await requests(bench) == asked
    assert await bench.parts.store.tzdata() == "2026b"


# ---- crashes, others, bad ones ------------------------------------------------------------------------


async def crowd(bench: Bench, count: int) -> list[UUID]:
    """Many who wait like one who was enrolled, without the work of enrolling them."""
    (first,) = await bench.enrolled("first")
    like = await bench.read(first)
    others = [{**like, "_id": uuid5(first, str(n))} for n in range(count - 1)]
    await bench.database.collection(names.ENROLLMENTS).insert_new(others)
    return [first, *(each["_id"] for each in others)]


async def test_a_crash_in_the_middle_is_carried_on_and_nobody_moves_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = await crowd(bench, 2 * BATCH + 1)
    await set_calendar(bench, FROM_TUESDAY[0])
    crash = faults.Faults({"scheduler.after_replanned": faults.Fault("error", nth=2)})
    with monkeypatch.context() as patched:
        patched.setattr(faults, "point", crash.point)
        with pytest.raises(RuntimeError, match="fault"):
            await sweep(bench)
    (request,) = (await requests(bench)).values()
    assert (request["applied"], request["cursor"]["_id"]) == (False, sorted(everybody, key=str)[BATCH - 1])
    await bench.parts.replans.sweep()
    (request,) = (await requests(bench)).values()
    assert request["applied"]
    assert set(await planned(bench, *everybody)) == {TUESDAY + ONE_DAY - OPENING}
    assert set(await revisions(bench, everybody)) == {2}


async def test_a_newer_change_in_the_middle_begins_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = await crowd(bench, BATCH + 1)
    await set_calendar(bench, FROM_TUESDAY[0])

    async def meanwhile(point: str) -> None:
        monkeypatch.undo()
        await set_calendar(bench, *FROM_TUESDAY[:2])

    monkeypatch.setattr(faults, "point", meanwhile)
    await sweep(bench)
    (request,) = (await requests(bench)).values()
    assert (request["applied"], request["cursor"]["_id"]) == (False, UUID(int=0))
    await sweep(bench)
    assert set(await planned(bench, *everybody)) == {TUESDAY + 2 * ONE_DAY - OPENING}


async def test_without_brokers_what_was_written_is_told_later_and_the_rest_goes_on(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("a")
    await set_calendar(bench, FROM_TUESDAY[0])
    bench.kafka.broken = True
    with pytest.raises(Retry):
        await sweep(bench)
    bench.kafka.broken = False
    bench.clock.advance(11)
    await bench.parts.replans.sweep()
    await bench.parts.outbox.sweep()
    assert bench.kafka.kinds() == ["enrolled", "stage_scheduled", "stage_scheduled"]
    assert len(await moves(bench, enrollment)) == 1


async def test_two_schedulers_at_once_move_everybody_once(bench: Bench, mongodb_uri: str) -> None:
    everybody = await crowd(bench, BATCH + 1)
    await set_calendar(bench, FROM_TUESDAY[0])
    bench.clock.advance(BEGINS_AFTER_SECONDS + 1)
    other = bench_over(bench.database, settings_for(mongodb_uri))
    other.clock.set(bench.clock.now())
    both = (bench.parts.replans, other.parts.replans)
    await asyncio.gather(*(each.sweep() for each in both))
    for each in both:
        await each.sweep()
    (request,) = (await requests(bench)).values()
    assert request["applied"]
    assert set(await revisions(bench, everybody)) == {2}


@pytest.mark.parametrize(
    "wrong", [{"person_id": None}, {"stage_index": 7}, {"planned_at": None}, {"base": "yesterday"}], ids=str
)
async def test_whoever_can_t_be_planned_again_is_marked_and_the_rest_moves(
    bench: Bench, wrong: dict[str, Any]
) -> None:
    first, bad, last = await bench.enrolled("a", "b", "c")
    await bench.spoil(bad, **wrong)
    await set_calendar(bench, FROM_TUESDAY[0])
    await sweep(bench)
    opening = TUESDAY + ONE_DAY - OPENING
    assert await planned(bench, first, last) == [opening, opening]
    marked = await bench.read(bad)
    assert (marked["broken"]["work"], marked["due_at"]) == ("replan", TUESDAY)
    (request,) = (await requests(bench)).values()
    assert request["applied"]
