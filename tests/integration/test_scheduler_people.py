"""A person who changes company: their enrollments follow, and so do the stops and holds of companies."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from chassis import documents as names
from scheduler.story import event_of
from scheduler.testing import Bench, open_bench
from segue_contracts.commands import Hold, HoldScope, Stop, UpdatePerson
from segue_contracts.events import Outcome
from segue_contracts.message import Message, Scope

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as opened:
        yield opened


def news(bench: Bench, **facts: Any) -> Any:
    return bench.message(UpdatePerson, prospect=bench.prospect(**facts))


def company_stop(bench: Bench, key: str) -> Message:
    stop: Message = bench.message(Stop, scope=Scope.COMPANY, company_key=key)
    return stop


async def company_id(bench: Bench, key: str) -> UUID:
    found = await bench.database.collection(names.COMPANIES).find_one({"key": key})
    assert found is not None
    company: UUID = found["_id"]
    return company


async def state(bench: Bench, enrollment: UUID) -> str:
    return str((await bench.read(enrollment))["state"])


async def test_a_stop_reaches_people_at_the_company_that_they_are_at_now(bench: Bench) -> None:
    (moved,) = await bench.enrolled("priya")
    bench.clock.advance(60)
    await bench.command(news(bench, email="priya@elsewhere.example"))
    bench.clock.advance(60)
    await bench.command(company_stop(bench, "there.example"))
    assert await state(bench, moved) == "scheduled"
    await bench.command(company_stop(bench, "elsewhere.example"))
    e = await bench.read(moved)
    assert (e["state"], e["company_key"]) == ("stopped", "elsewhere.example")
    assert e["company_id"] == await company_id(bench, "elsewhere.example")


async def test_a_company_that_the_producer_names_wins_over_the_address(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    bench.clock.advance(60)
    await bench.command(news(bench, email="priya@elsewhere.example", company_key="acme"))
    assert (await bench.read(enrollment))["company_key"] == "acme"
    bench.clock.advance(60)
    await bench.command(news(bench, email="priya@gmail.com"))
    e = await bench.read(enrollment)
    assert ("company_key" in e, e["company_id"]) == (False, None)


async def test_older_news_change_nothing(bench: Bench) -> None:
    old = news(bench, email="priya@old.example")
    bench.clock.advance(60)
    (enrollment,) = await bench.enrolled("priya")
    await bench.command(old)
    e = await bench.read(enrollment)
    assert e["company_key"] == "there.example"


async def test_an_enroll_with_newer_facts_moves_the_persons_other_enrollments(bench: Bench) -> None:
    (first,) = await bench.enrolled("priya")
    bench.clock.advance(60)
    again = bench.enroll("priya", email="priya@elsewhere.example").model_copy(update={"generation": 2})
    await bench.command(again)
    companies = [(await bench.read(each))["company_key"] for each in (first, again.enrollment_id)]
    assert companies == ["elsewhere.example"] * 2


async def test_an_enroll_that_comes_late_gets_the_company_of_the_newest_facts(bench: Bench) -> None:
    late = bench.enroll("priya").model_copy(update={"generation": 2})
    bench.clock.advance(60)
    await bench.command(bench.enroll("priya", email="priya@elsewhere.example"))
    await bench.command(late)
    assert (await bench.read(late.enrollment_id))["company_key"] == "elsewhere.example"


async def test_a_stop_of_the_new_company_that_came_before_the_news_were_known_reaches_too(
    bench: Bench,
) -> None:
    (moved,) = await bench.enrolled("priya")
    bench.clock.advance(60)
    late_news = news(bench, email="priya@elsewhere.example")
    bench.clock.advance(60)
    await bench.command(company_stop(bench, "elsewhere.example"))
    assert await state(bench, moved) == "scheduled"
    await bench.command(late_news)
    assert await state(bench, moved) == "stopped"


async def test_a_stop_from_before_the_person_came_to_the_company_does_not_reach_them(bench: Bench) -> None:
    (moved,) = await bench.enrolled("priya")
    bench.clock.advance(60)
    await bench.command(company_stop(bench, "elsewhere.example"))
    bench.clock.advance(60)
    await bench.command(news(bench, email="priya@elsewhere.example"))
    assert await state(bench, moved) == "scheduled"


async def test_what_is_in_flight_moves_too_and_takes_its_outcome(bench: Bench) -> None:
    (flying,) = await bench.enrolled("priya")
    await bench.parts.due.tick()
    bench.clock.advance(60)
    await bench.command(news(bench, email="priya@elsewhere.example"))
    e = await bench.read(flying)
    assert (e["state"], e["attempt"], e["company_key"]) == ("dispatched", 1, "elsewhere.example")
    await bench.outcome(Outcome.SENT, flying)
    assert (await bench.read(flying))["stage_id"] == "nudge"


async def test_whoever_leaves_a_held_company_goes_on(bench: Bench) -> None:
    (held,) = await bench.enrolled("priya")
    old = await company_id(bench, "there.example")
    await bench.command(bench.message(Hold, scope=HoldScope.COMPANY, scope_id=old))
    await bench.parts.due.tick()
    assert (await bench.read(held))["parked_by"] == f"company:{old}"
    bench.clock.advance(60)
    await bench.command(news(bench, email="priya@elsewhere.example"))
    await bench.parts.due.tick()
    assert bench.due() == [held]
    assert bench.kafka.kinds() == ["enrolled", "stage_scheduled", "held", "lifted"]


async def test_whoever_comes_to_a_held_company_waits_with_it(bench: Bench) -> None:
    await bench.enrolled("other")
    there = await company_id(bench, "there.example")
    await bench.command(bench.message(Hold, scope=HoldScope.COMPANY, scope_id=there))
    free = bench.enroll("priya", email="priya@elsewhere.example")
    await bench.command(free)
    bench.clock.advance(60)
    await bench.command(news(bench))
    await bench.parts.due.tick()
    assert (await bench.read(free.enrollment_id))["parked_by"] == f"company:{there}"


async def test_events_keep_the_company_that_they_were_told_with(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    old = await company_id(bench, "there.example")
    bench.clock.advance(60)
    await bench.command(news(bench, email="priya@elsewhere.example"))
    await bench.command(bench.message(Stop, enrollment_id=enrollment))
    e = await bench.read(enrollment)
    new = await company_id(bench, "elsewhere.example")
    told = [m.company_id for m in bench.kafka.messages if m.event_type in ("enrolled", "stopped")]
    assert told == [old, new]
    assert [event_of(e, c).company_id for c in e["history"]] == [old, old, new]


@pytest.mark.parametrize(("phone", "kept"), [("0049 (0)30 12-34 x7", ["+49301234"]), (None, [])])
async def test_a_persons_phone_is_kept_in_the_one_spelling_that_answers_are_matched_by(
    bench: Bench, phone: str | None, kept: list[str]
) -> None:
    await bench.command(bench.enroll("priya", phone=phone))
    person = await bench.database.collection(names.PEOPLE).find_one({"external_id": "priya"})
    assert person is not None
    assert person["phones"] == kept
