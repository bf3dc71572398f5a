"""What the scheduler says of things to come, against what it then does; and who may ask it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from chassis import documents as names
from chassis import inquiries as questions
from chassis.desk import HEADER, Asks, Desk, token
from chassis.errors import Reject, Retry
from chassis.health import Health, listening
from chassis.inquiries import (
    DryRunAsked,
    Forecast,
    ForecastAsked,
    MigrationAsked,
    Rehearsed,
    Schedule,
    ScheduleAsked,
    StageAhead,
)
from chassis.secrets import Secrets
from chassis.settings import HttpSettings
from chassis.store import Document
from chassis.variants import comparison_id, split
from scheduler import inquiries
from scheduler.testing import MAILBOX, SEQUENCE, TWO_MAILS, WORKSPACE, Bench, open_bench, settings_for
from scheduler.wiring import open_desk
from segue_contracts.commands import Edit, Enroll, Hold, HoldScope, Lift, Migrate, Stop
from segue_contracts.events import Outcome
from segue_contracts.ids import dispatch_id, person_id
from segue_contracts.sequence import parse_sequence

pytestmark = pytest.mark.stack

THREE: Document = {
    "name": "Engineers",
    "timing": {"zone": "Europe/Berlin", "windows": {"mon-fri": ["09:00-17:00"]}},
    "stages": [
        {"id": "hello", "channel": "email", "subject": "A job, {{first_name}}", "text": "Hi {{first_name}}"},
        {"id": "ring", "channel": "call", "after": "2 days", "when": {"has": "phone"}, "text": "Ask"},
        {
            "id": "nudge",
            "channel": "email",
            "after": "3 business days",
            "at": "10:00",
            "text": "Did you see?",
        },
    ],
}
ON_A_DAY: Document = {
    "name": "Start",
    "stages": [
        {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi"},
        {"id": "start", "channel": "email", "date": "start_date", "text": "Your first day"},
        {"id": "after", "channel": "email", "text": "How was it?"},
    ],
}


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as opened:
        yield opened


@pytest.fixture
async def of_three(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, THREE) as opened:
        yield opened


async def schedule(bench: Bench, enrollment: UUID) -> Schedule:
    asked = ScheduleAsked(workspace_id=WORKSPACE, enrollment_id=enrollment)
    told = await bench.parts.inquiries.schedule(asked)
    assert told is not None
    return told


async def rehearse(bench: Bench, *enrolls: Enroll) -> list[Rehearsed]:
    return (await bench.parts.inquiries.dry_run(DryRunAsked(commands=list(enrolls)))).people


async def forecast(bench: Bench, days: int = 5) -> Forecast:
    asked = ForecastAsked(workspace_id=WORKSPACE, mailbox_id=MAILBOX, days=days)
    told = await bench.parts.inquiries.forecast(asked)
    assert told is not None
    return told


async def everything(bench: Bench) -> dict[str, list[Document]]:
    """All documents that an enroll could have written."""
    written = (names.ENROLLMENTS, names.PEOPLE, names.COMPANIES, names.COMMAND_RESULTS, names.STOPS)
    return {name: await bench.database.collection(name).find({}) for name in written}


async def reasons_of(bench: Bench, enroll: Enroll) -> list[Document]:
    result = await bench.database.collection(names.COMMAND_RESULTS).find_one({"_id": enroll.event_id})
    return result["reasons"] if result else []


def times(stages: list[StageAhead]) -> list[tuple[str, datetime | None]]:
    return [(each.stage_id, each.planned_at) for each in stages]


# ---- schedule -----------------------------------------------------------------------------------------


async def test_what_is_told_to_come_comes_when_every_stage_is_done_in_time(of_three: Bench) -> None:
    enroll = of_three.enroll(phone="+49 30 123456")
    await of_three.command(enroll)
    told = await schedule(of_three, enroll.enrollment_id)
    assert [each.stage_id for each in told.stages] == ["hello", "ring", "nudge"]
    assert [each.current for each in told.stages] == [True, False, False]
    for ahead, outcome in zip(told.stages, (Outcome.SENT, Outcome.TASK_DONE, Outcome.SENT), strict=True):
        e = await of_three.read(enroll.enrollment_id)
        stored = (e["stage_id"], e["planned_at"], e["send_before"], e["zone"], e["reasons"])
        assert stored == (
            ahead.stage_id,
            ahead.planned_at,
            ahead.send_before,
            ahead.zone,
            list(ahead.reasons),
        )
        assert ahead.planned_at is not None
        of_three.clock.set(ahead.planned_at)
        await of_three.parts.due.tick()
        await of_three.outcome(outcome, enroll.enrollment_id, stage_id=ahead.stage_id)
    ended = await schedule(of_three, enroll.enrollment_id)
    assert (ended.state, ended.stages) == ("finished", [])


async def test_a_stage_whose_condition_is_false_is_told_to_be_left_out(of_three: Bench) -> None:
    enroll = of_three.enroll()
    await of_three.command(enroll)
    told = await schedule(of_three, enroll.enrollment_id)
    assert [(each.stage_id, each.skipped) for each in told.stages] == [
        ("hello", False),
        ("ring", True),
        ("nudge", False),
    ]


async def test_a_later_stage_that_can_never_be_due_is_data_and_what_follows_is_not_reached(
    mongodb_uri: str,
) -> None:
    async with open_bench(mongodb_uri, ON_A_DAY) as bench:
        past = bench.enroll("past", dates={"start_date": "2026-01-05"})
        none = bench.enroll("none")
        await bench.command(past, none)
        for enroll, code in ((past, "date_past"), (none, "date_missing")):
            hello, start, after = (await schedule(bench, enroll.enrollment_id)).stages
            assert hello.refused is None
            assert (start.planned_at, start.refused and start.refused.code) == (None, code)
            assert (after.planned_at, after.refused and after.refused.code) == (None, "not_reached")


async def test_every_active_hold_is_named_and_one_with_an_end_moves_what_comes_later(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    person, until = person_id(WORKSPACE, "priya"), bench.clock.now() + timedelta(days=4)
    free = await schedule(bench, enrollment)
    await bench.command(
        bench.message(Hold, scope=HoldScope.PERSON, scope_id=person, until=until, reason="out_of_office"),
        bench.message(Hold, scope=HoldScope.SEQUENCE, scope_id=SEQUENCE, issued_by="ana"),
        bench.message(Hold, scope=HoldScope.MAILBOX, scope_id=MAILBOX),
    )
    bench.clock.advance(seconds=1)
    await bench.command(bench.message(Lift, scope=HoldScope.MAILBOX, scope_id=MAILBOX))
    held = await schedule(bench, enrollment)
    assert [(each.scope, each.reason, each.by, each.until) for each in held.holds] == [
        ("person", "out_of_office", "", until),
        ("sequence", "", "ana", None),
    ]
    assert held.stages[0].planned_at == free.stages[0].planned_at
    assert held.stages[0].completed_at == until
    assert times(held.stages)[1] == ("nudge", until + timedelta(days=3))


async def test_what_waits_in_flight_is_assumed_to_be_done_now_and_a_pending_version_is_shown(
    bench: Bench,
) -> None:
    (enrollment,) = await bench.enrolled("priya")
    await bench.parts.due.tick()
    later = {**TWO_MAILS, "stages": [TWO_MAILS["stages"][0], {**TWO_MAILS["stages"][1], "after": "5 days"}]}
    await bench.add_version(2, later)
    await bench.command(bench.message(Migrate, enrollment_id=enrollment, to_version=2))
    now = bench.clock.advance(hours=2)
    told = await schedule(bench, enrollment)
    assert (told.state, told.sequence_version, told.to_version) == ("dispatched", 1, 2)
    assert times(told.stages)[1] == ("nudge", now + timedelta(days=5))


async def test_a_tombstone_and_another_workspaces_enrollment_have_no_schedule(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    unborn = uuid4()
    await bench.command(bench.message(Stop, enrollment_id=unborn))
    ask = bench.parts.inquiries.schedule
    assert await ask(ScheduleAsked(workspace_id=WORKSPACE, enrollment_id=unborn)) is None
    assert await ask(ScheduleAsked(workspace_id=uuid4(), enrollment_id=enrollment)) is None


# ---- forecast -----------------------------------------------------------------------------------------


async def test_the_forecast_counts_by_the_mailboxs_own_days_and_says_what_is_held(bench: Bench) -> None:
    await bench.database.collection(names.MAILBOXES).update_one(
        {"_id": MAILBOX}, {"$set": {"zone": "Pacific/Auckland"}}
    )
    early = bench.clock.now()  # noon on Monday in UTC is past midnight on Tuesday in Auckland
    await bench.enrolled("ann", "ben")
    for days, who in ((1, "cleo"), (1, "dan"), (40, "eve")):
        await bench.command(bench.enroll(who).model_copy(update={"start_at": early + timedelta(days=days)}))
    await bench.command(
        bench.message(Hold, scope=HoldScope.PERSON, scope_id=person_id(WORKSPACE, "dan")),
        bench.message(
            Hold, scope=HoldScope.PERSON, scope_id=person_id(WORKSPACE, "cleo"), until=early + timedelta(1)
        ),
    )
    told = await forecast(bench)
    assert (told.zone, len(told.days), told.later) == ("Pacific/Auckland", 5, 1)
    assert [str(each.date) for each in told.days[:2]] == ["2026-03-03", "2026-03-04"]
    assert [(each.messages, each.held) for each in told.days] == [(2, 0), (2, 2), (0, 0), (0, 0), (0, 0)]
    bench.clock.advance(days=1)
    told = await forecast(bench)
    assert (told.days[0].messages, told.days[0].held) == (4, 1)  # overdue ones are today's


async def test_the_forecast_says_what_each_day_of_a_growing_mailbox_allows(bench: Bench) -> None:
    growing = {"start": 20, "add_per_day": 10, "until": 200, "since": "2026-03-02"}
    await bench.database.collection(names.MAILBOXES).update_one(
        {"_id": MAILBOX}, {"$set": {"limits": {"ramp": growing}}}
    )
    told = await forecast(bench, days=7)
    assert [str(told.days[0].date), *(each.limit for each in told.days)] == [
        *("2026-03-02", 20, 30, 40, 50, 60),
        *(60, 60),  # the weekend
    ]


async def test_a_dry_run_shows_a_mail_with_its_footer_and_no_link_that_works(bench: Bench) -> None:
    await bench.database.collection(names.WORKSPACES).insert_one(
        {"_id": WORKSPACE, "name": "Our Co", "footer": {"postal_address": "1 Main Street, Berlin"}}
    )
    enroll, link = bench.enroll("ann"), "https://segue.example/u/..."
    asked = DryRunAsked(commands=[enroll], unsubscribe_url=link)
    for each, ends in ((asked, f" {link}"), (asked.model_copy(update={"unsubscribe_url": None}), "“stop”.")):
        [person] = (await bench.parts.inquiries.dry_run(each)).people
        for stage in person.stages:
            *_, above, address = (stage.text or "").splitlines()
            assert (above.endswith(ends), address) == (True, "1 Main Street, Berlin")


async def test_tasks_and_ended_people_are_no_messages(of_three: Bench) -> None:
    phone = "+49 30 123456"
    enrolls = [of_three.enroll(who, phone=phone) for who in ("ann", "ben", "cleo")]
    await of_three.command(*enrolls)
    await of_three.parts.due.tick()
    await of_three.outcome(Outcome.SENT, enrolls[0].enrollment_id)
    await of_three.command(of_three.message(Stop, enrollment_id=enrolls[1].enrollment_id))
    told = await forecast(of_three)
    assert [(each.messages, each.tasks) for each in told.days] == [(1, 0), (0, 0), (0, 1), (0, 0), (0, 0)]


# ---- dry run ------------------------------------------------------------------------------------------


async def test_a_dry_run_writes_nothing_and_publishes_nothing(bench: Bench) -> None:
    await bench.enrolled("ann")
    before, said = await everything(bench), list(bench.kafka.messages)
    await rehearse(bench, bench.enroll("ann"), bench.enroll("ben"), bench.enroll("cleo", email=None))
    assert await everything(bench) == before
    assert bench.kafka.messages == said


async def test_a_dry_run_shows_the_messages_and_times_that_the_enroll_then_has(of_three: Bench) -> None:
    enroll = of_three.enroll("priya", first_name="Priya")
    (told,) = await rehearse(of_three, enroll)
    assert (told.would_enroll, told.problems, told.mailbox_id) == (True, [], MAILBOX)
    assert [(each.stage_id, each.subject, each.text) for each in told.stages] == [
        ("hello", "A job, Priya", "Hi Priya"),
        ("ring", None, None),
        ("nudge", "Re: A job, Priya", "Did you see?"),
    ]
    await of_three.command(enroll)
    coming = await schedule(of_three, enroll.enrollment_id)
    assert [(each.stage_id, each.planned_at, each.reasons) for each in coming.stages] == [
        (each.stage_id, each.planned_at, each.reasons) for each in told.stages
    ]


async def test_a_dry_run_shows_the_variant_that_the_person_would_get_and_what_is_wrong_with_any(
    mongodb_uri: str,
) -> None:
    two = [{"id": "a"}, {"id": "b", "subject": "For {{nobody}}"}]
    hello = {"id": "hello", "channel": "email", "subject": "A job", "text": "Hi", "variants": two}
    async with open_bench(mongodb_uri, {"name": "Two", "stages": [hello]}) as bench:
        stage = parse_sequence({"name": "Two", "stages": [hello]}).stages[0]
        enrolls = [bench.enroll(f"p{n}") for n in range(6)]
        for winner in (None, "a", "b"):
            if winner is not None:
                decided = {"workspace_id": WORKSPACE, "decision": {"variant": winner}}
                comparisons = bench.database.collection(names.COMPARISONS)
                found = {"_id": comparison_id(SEQUENCE, stage)}
                await comparisons.update_one(found, {"$set": decided}, upsert=True)
            people = await rehearse(bench, *enrolls)
            expected = [
                winner or split(stage.variants or (), dispatch_id(each.enrollment_id, "hello")).id
                for each in enrolls
            ]
            assert [person.stages[0].variant for person in people] == expected
            said = {"a": "A job", "b": None}
            assert [person.stages[0].subject for person in people] == [said[name] for name in expected]
            assert {each.detail for person in people for each in person.problems} == {
                "stage hello, variant b: {{nobody}} has no value and no fallback"
            }


async def test_a_dry_run_has_the_problems_that_the_enroll_is_then_refused_with(mongodb_uri: str) -> None:
    strict = {**THREE, "limits": {"already_in_a_sequence": "refuse"}}
    async with open_bench(mongodb_uri, strict, ON_A_DAY) as bench:
        await bench.enrolled("busy", "twice")
        await bench.command(bench.message(Stop, enrollment_id=bench.enroll("stopped").enrollment_id))
        suppressed = Secrets(settings_for(mongodb_uri)).suppression_id(
            WORKSPACE, "address", "gone@there.example"
        )
        await bench.database.collection(names.SUPPRESSIONS).insert_one(
            {"_id": suppressed, "workspace_id": WORKSPACE, "kind": "address"}
        )
        enrolls = [
            bench.enroll("twice").model_copy(update={"sequence_version": 1}),
            bench.enroll("stopped"),
            bench.enroll("gone"),
            bench.enroll("nobody", email=None, first_name=None).model_copy(update={"sequence_version": 1}),
            bench.enroll("busy").model_copy(update={"generation": 2, "sequence_version": 1}),
            bench.enroll("when").model_copy(update={"sequence_version": 9}),
            bench.enroll("where").model_copy(update={"sequence_id": uuid4()}),
        ]
        told = await rehearse(bench, *enrolls)
        await bench.command(*enrolls)
        for each, enroll in zip(told, enrolls, strict=True):
            problems = [{"code": p.code, "detail": p.detail} for p in each.problems]
            assert (problems, each.would_enroll) == (await reasons_of(bench, enroll), False)
        assert [each.problems[0].code for each in told] == [
            "already_enrolled",
            "stopped",
            "suppressed",
            "email_missing",
            "already_in_a_sequence",
            "unknown_version",
            "unknown_sequence",
        ]
        assert [each.suppressed for each in told] == [False, False, True, False, False, False, False]
        assert [each.already_enrolled for each in told] == [True, *[False] * 6]


async def test_a_dry_run_names_where_the_person_is_already_under_whatever_id(bench: Bench) -> None:
    (first,) = await bench.enrolled("priya")
    since = bench.clock.now()
    bench.clock.advance(days=1)
    again = bench.enroll("priya").model_copy(update={"generation": 2})
    other = bench.enroll("p-77", email="Priya@There.example")
    told = await rehearse(bench, again, other)
    for each, same in zip(told, ([], ["priya"]), strict=True):
        assert each.would_enroll
        assert [found.external_id for found in each.same_address] == same
        (collision,) = each.collisions
        assert (collision.enrollment_id, collision.sequence_id, collision.since) == (first, SEQUENCE, since)
        assert (collision.external_id, collision.generation) == ("priya", 1)


async def test_a_token_without_a_value_is_a_problem_of_its_stage(bench: Bench) -> None:
    (told,) = await rehearse(bench, bench.enroll("anon", first_name=None))
    assert [(each.code, "first_name" in each.detail) for each in told.problems] == [("token_missing", True)]
    hello, nudge = told.stages
    assert (hello.text, [each.code for each in hello.problems]) == (None, ["token_missing"])
    assert (nudge.text, nudge.subject, nudge.problems) == ("Did you see this?", "Re: A job", [])


async def test_a_value_of_another_type_than_its_tokens_is_told_by_a_dry_run_and_by_the_enroll_alike(
    bench: Bench,
) -> None:
    defined = {"salary": {"type": "number"}, "start": {"type": "date"}}
    await bench.database.collection(names.WORKSPACES).insert_one(
        {"_id": WORKSPACE, "name": "Our Co", "token_definitions": defined}
    )
    enroll = bench.enroll("ann", tokens={"salary": "much", "start": "2027-01-04", "other": "much"})
    (told,) = await rehearse(bench, enroll)
    await bench.command(enroll)
    result = await bench.database.collection(names.COMMAND_RESULTS).find_one({"_id": enroll.event_id})
    assert result is not None
    assert [(each.code, each.detail) for each in told.problems] == [
        (each["code"], each["detail"]) for each in result["reasons"]
    ]
    assert [each.code for each in told.problems] == ["token_invalid"]


async def test_a_reply_to_a_mail_that_is_left_out_has_the_first_subject_of_the_sequence(
    mongodb_uri: str,
) -> None:
    hello, nudge = TWO_MAILS["stages"]
    only_titled = {**TWO_MAILS, "stages": [{**hello, "when": {"has": "title"}}, nudge]}
    async with open_bench(mongodb_uri, only_titled) as bench:
        untitled, titled = await rehearse(bench, bench.enroll("ann"), bench.enroll("ben", title="CTO"))
        assert [(each.skipped, each.subject) for each in untitled.stages] == [(True, None), (False, "A job")]
        assert [(each.skipped, each.subject) for each in titled.stages] == [
            (False, "A job"),
            (False, "Re: A job"),
        ]


async def test_more_text_than_an_answer_holds_is_refused_before_it_is_rendered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiries, "MAX_SAID_CHARS", 30)
    with pytest.raises(Reject):
        await rehearse(bench, bench.enroll("ann"), bench.enroll("ben"))


# ---- migration ----------------------------------------------------------------------------------------


async def test_a_rehearsed_migration_shows_what_the_migration_then_does(bench: Bench) -> None:
    await bench.add_version(2, {**TWO_MAILS, "stages": [{**TWO_MAILS["stages"][0], "id": "hey"}]})
    fresh, further, flying, gone = await bench.enrolled("fresh", "further", "flying", "gone")
    await bench.parts.due.tick()
    await bench.outcome(Outcome.SENT, further)
    await bench.outcome(Outcome.DEFERRED, fresh, until=bench.clock.now() + timedelta(hours=1))
    await bench.command(bench.message(Stop, enrollment_id=gone))
    asked = MigrationAsked(
        workspace_id=WORKSPACE,
        sequence_id=SEQUENCE,
        to_version=2,
        enrollment_ids=[further, gone, fresh, flying, uuid4()],
    )
    before = await everything(bench)
    told = (await bench.parts.inquiries.migration(asked)).people
    assert await everything(bench) == before
    assert [each.enrollment_id for each in told] == [further, gone, fresh, flying]
    shown = {each.external_id: each for each in told}
    assert [r.code for r in shown["gone"].refused] == ["ended"]
    assert (shown["flying"].applies, shown["flying"].after and shown["flying"].after.stage_id) == (
        "outcome",
        "hey",
    )
    for enrollment, who in ((fresh, "fresh"), (further, "further")):
        await bench.command(bench.message(Migrate, enrollment_id=enrollment, to_version=2))
        e, after = await bench.read(enrollment), shown[who].after
        assert after is not None
        assert (e["stage_id"], e["stage_index"], e["planned_at"]) == (
            after.stage_id,
            after.stage_index,
            after.planned_at,
        )
        assert (shown[who].applies, shown[who].before.stage_id != "hey") == ("now", True)


async def test_a_migration_to_a_version_without_a_stage_left_finishes_and_says_so(bench: Bench) -> None:
    await bench.add_version(2, {**TWO_MAILS, "stages": [TWO_MAILS["stages"][0]]})
    (enrollment,) = await bench.enrolled("priya")
    await bench.parts.due.tick()
    await bench.outcome(Outcome.SENT, enrollment)
    asked = MigrationAsked(
        workspace_id=WORKSPACE, sequence_id=SEQUENCE, to_version=2, enrollment_ids=[enrollment]
    )
    (told,) = (await bench.parts.inquiries.migration(asked)).people
    assert (told.before.stage_id, told.after, told.finishes) == ("nudge", None, True)
    (nowhere,) = (await bench.parts.inquiries.migration(asked.model_copy(update={"to_version": 7}))).people
    assert ([r.code for r in nowhere.refused], nowhere.finishes) == (["unknown_version"], False)


# ---- the desk -----------------------------------------------------------------------------------------


@pytest.fixture
async def desk(bench: Bench, mongodb_uri: str) -> AsyncIterator[tuple[Desk, str, Secrets]]:
    secrets = Secrets(settings_for(mongodb_uri))
    waiting = Desk(secrets)
    async with listening(HttpSettings(), Health(), waiting.app) as port:
        yield waiting, f"http://127.0.0.1:{port}", secrets


async def posted(url: str, name: str, body: Any, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession(url) as session,
        session.post(f"/internal/{name}", data=body, headers=headers) as answer,
    ):
        return answer.status


async def test_who_has_no_token_learns_nothing_and_who_asks_nonsense_is_told(
    bench: Bench, desk: tuple[Desk, str, Secrets]
) -> None:
    waiting, url, secrets = desk
    ours = {HEADER: token(secrets)}
    (enrollment,) = await bench.enrolled("priya")
    asked = ScheduleAsked(workspace_id=WORKSPACE, enrollment_id=enrollment).model_dump_json()
    assert await posted(url, "schedule", asked, ours) == 503  # still starting
    open_desk(waiting, bench.parts.inquiries)
    for wrong in ({}, {HEADER: ""}, {HEADER: token(secrets)[:-1]}, {HEADER: "Ä" * 64}):
        assert await posted(url, "schedule", asked, wrong) == 401
        assert await posted(url, "nothing", asked, wrong) == 401
    assert await posted(url, "schedule", asked, ours) == 200
    assert await posted(url, "nothing", asked, ours) == 404
    assert await posted(url, "schedule", b"{}", ours) == 422
    assert await posted(url, "schedule", BytesIO(b"x" * 9_000_000), ours) == 413


async def test_an_answer_comes_through_and_none_is_an_answer_too(
    bench: Bench, desk: tuple[Desk, str, Secrets]
) -> None:
    waiting, url, secrets = desk
    open_desk(waiting, bench.parts.inquiries)
    (enrollment,) = await bench.enrolled("priya")
    async with AsyncExitStack() as stack:
        asks = Asks(f"{url}/", secrets, seconds=5)
        stack.push_async_callback(asks.close)
        asked = ScheduleAsked(workspace_id=WORKSPACE, enrollment_id=enrollment)
        assert await asks.ask(questions.SCHEDULE, asked) == await schedule(bench, enrollment)
        unknown = asked.model_copy(update={"enrollment_id": uuid4()})
        assert await asks.ask(questions.SCHEDULE, unknown) is None


async def test_whoever_asks_a_silent_scheduler_is_told_to_ask_again(
    bench: Bench, desk: tuple[Desk, str, Secrets]
) -> None:
    waiting, url, secrets = desk
    asked = ScheduleAsked(workspace_id=WORKSPACE, enrollment_id=uuid4())

    async def away(_: ScheduleAsked) -> Schedule | None:
        raise Retry("the database is away")

    waiting.take(questions.SCHEDULE, away)
    waiting.open()
    for at in (url, "http://127.0.0.1:1"):
        asks = Asks(at, secrets, seconds=5)
        with pytest.raises(Retry):
            await asks.ask(questions.SCHEDULE, asked)
        await asks.close()


async def test_edits_of_one_person_change_no_plan(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    before = await schedule(bench, enrollment)
    await bench.command(bench.message(Edit, enrollment_id=enrollment, stages={"nudge": {"text": "Still?"}}))
    assert times((await schedule(bench, enrollment)).stages) == times(before.stages)
