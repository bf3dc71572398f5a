"""`when` on opens and clicks: looked at as the stage comes due, for a batch at once, of people alone."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from api.engagement_store import Engagements, Request
from api.machines import Verdict
from chassis.documents import Document, TrackedView
from chassis.tracking import Kind, Mark
from scheduler.conditions import holds
from scheduler.store import SchedulerStore
from scheduler.testing import MAILBOX, OWNER, SEQUENCE, WORKSPACE, Bench, open_bench
from segue_contracts.events import Outcome
from segue_contracts.ids import dispatch_id
from segue_contracts.sequence import Condition

stack = pytest.mark.stack
PERSON, MACHINE = Verdict(False), Verdict(True, "apple_privacy")
HELLO: Document = {"id": "hello", "channel": "email", "subject": "A job", "html": "<p>Hi {{first_name}}</p>"}
LAST: Document = {"id": "last", "channel": "email", "after": "1 day", "text": "Good bye"}


def sequence(when: Document, *more: Document) -> Document:
    asked = {"id": "nudge", "channel": "email", "after": "1 day", "text": "Hello?", "when": when}
    return {"name": "Engineers", "tracking": {"opens": True, "clicks": True}, "stages": [HELLO, asked, *more]}


@dataclass
class World:
    """A scheduler after the first message, and what people do with it."""

    bench: Bench
    engagements: Engagements

    async def said_hello(self, *people: str) -> list[UUID]:
        """These have got the first message; the next stage comes due in a day."""
        enrollments = await self.bench.enrolled(*people)
        await self.bench.parts.due.tick()
        for each in enrollments:
            await self.bench.outcome(Outcome.SENT, each)
        return enrollments

    async def asks(
        self, enrollment: UUID, link: int | None = None, by: Verdict = PERSON, **other: Any
    ) -> None:
        """Somebody opens the first message, or follows a link in it."""
        values: dict[str, Any] = {"workspace_id": WORKSPACE, "stage_id": "hello"} | other
        mark = Mark(values["workspace_id"], dispatch_id(enrollment, values["stage_id"]), link)
        now = self.bench.clock.now()
        message = TrackedView(
            id=mark.dispatch_id,
            enrollment_id=enrollment,
            person_id=UUID(int=8),
            sequence_id=SEQUENCE,
            sequence_version=1,
            stage_index=0,
            owner_id=OWNER,
            mailbox_id=MAILBOX,
            is_test=False,
            sent_at=now,
            opens=True,
            links=("https://jobs.example/",),
            **values,
        )
        await self.engagements.count(Request(mark, message, now, self.bench.clock.real_now(), by))

    async def next_day(self) -> list[UUID]:
        """Whose next stage was dispatched then."""
        before = len(self.bench.due())
        self.bench.clock.advance(days=1, minutes=1)
        await self.bench.parts.due.tick()
        return self.bench.due()[before:]

    async def state(self, enrollment: UUID) -> str:
        """Of one enrollment."""
        return str((await self.bench.read(enrollment))["state"])


@pytest.fixture
def when() -> Document:
    return {"clicked": "hello"}


@pytest.fixture
async def world(mongodb_uri: str, when: Document) -> AsyncIterator[World]:
    async with open_bench(mongodb_uri, sequence(when)) as bench:
        yield World(bench, Engagements(bench.database))


@stack
async def test_who_clicked_gets_the_stage_and_who_did_not_is_through(world: World) -> None:
    clicked, opened, nothing = await world.said_hello("clicked", "opened", "nothing")
    await world.asks(clicked, 1)
    await world.asks(opened)
    assert await world.next_day() == [clicked]
    assert [await world.state(each) for each in (clicked, opened, nothing)] == [
        "dispatched",
        "finished",
        "finished",
    ]
    events = [event for event in world.bench.kafka.messages if event.event_type == "stage_skipped"]
    assert {event.reason for event in events} == {"when"}


@stack
@pytest.mark.parametrize("when", [{"opened": "hello"}])
async def test_a_click_is_an_open_also_where_no_image_was_loaded(world: World) -> None:
    clicked, opened, nothing = await world.said_hello("clicked", "opened", "nothing")
    await world.asks(clicked, 1)
    await world.asks(opened)
    assert set(await world.next_day()) == {clicked, opened}
    assert await world.state(nothing) == "finished"


@stack
@pytest.mark.parametrize("when", [{"opened": "hello"}, {"clicked": "hello"}])
async def test_machines_do_not_count(world: World) -> None:
    (scanned,) = await world.said_hello("scanned")
    await world.asks(scanned, by=MACHINE)
    await world.asks(scanned, 1, by=MACHINE)
    assert await world.next_day() == []
    assert await world.state(scanned) == "finished"


@stack
async def test_what_happens_in_another_workspace_or_to_another_stage_does_not_count(world: World) -> None:
    (priya,) = await world.said_hello("priya")
    await world.asks(priya, 1, workspace_id=UUID(int=99))
    await world.asks(priya, 1, stage_id="nudge")
    assert await world.next_day() == []


@stack
@pytest.mark.parametrize("when", [{"not": {"opened": "hello"}}])
async def test_it_is_looked_at_as_the_stage_comes_due_and_no_sooner(world: World) -> None:
    early, late = await world.said_hello("early", "late")
    await world.asks(early)
    assert await world.next_day() == [late]
    await world.asks(late)
    assert await world.state(late) == "dispatched"


@stack
async def test_a_batch_is_one_question_and_one_without_such_a_condition_none(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = SchedulerStore.engagements

    async def counted(store: SchedulerStore, workspaces: Any, dispatch_ids: Any) -> Any:
        asked.append(len(dispatch_ids))
        return await real(store, workspaces, dispatch_ids)

    monkeypatch.setattr(SchedulerStore, "engagements", counted)
    async with open_bench(mongodb_uri, sequence({"opened": "hello"}, LAST)) as bench:
        world = World(bench, Engagements(bench.database))
        people = await world.said_hello("a", "b", "c")
        assert asked == []
        for each in people:
            await world.asks(each)
        assert set(await world.next_day()) == set(people)
        assert asked == [3]
        for each in people:
            await bench.outcome(Outcome.SENT, each, stage_id="nudge")
        assert set(await world.next_day()) == set(people)
        assert asked == [3]


@stack
async def test_a_stage_that_may_come_must_be_sendable_before_anybody_is_enrolled(mongodb_uri: str) -> None:
    unsendable = sequence({"clicked": "hello"})
    unsendable["stages"][1]["text"] = "Hi {{nickname}}"
    async with open_bench(mongodb_uri, unsendable) as bench:
        (refused,) = await bench.enrolled("priya")
        result = await bench.database.collection("command_results").find_one({"enrollment_id": refused})
        assert result is not None
        assert [reason["code"] for reason in result["reasons"]] == ["token_missing"]


OPENED, CLICKED = (Kind.OPENED, "a"), (Kind.CLICKED, "a")
HAS: Document = {"has": "phone"}


@pytest.mark.parametrize(
    ("condition", "engaged", "expected"),
    [
        ({"opened": "a"}, None, None),
        ({"opened": "a"}, [], False),
        ({"opened": "a"}, [OPENED], True),
        ({"clicked": "a"}, [OPENED], False),
        ({"not": {"clicked": "a"}}, None, None),
        ({"not": {"clicked": "a"}}, [CLICKED], False),
        ({"all": [HAS, {"clicked": "a"}]}, None, False),
        ({"all": [{"not": HAS}, {"clicked": "a"}]}, None, None),
        ({"any": [HAS, {"clicked": "a"}]}, None, None),
        ({"any": [{"not": HAS}, {"clicked": "a"}]}, None, True),
        ({"any": [HAS, {"all": [{"opened": "a"}, {"clicked": "a"}]}]}, [CLICKED], True),
    ],
)
def test_what_is_not_known_yet_is_neither_true_nor_false(
    condition: Document, engaged: Sequence[tuple[str, str]] | None, expected: bool | None
) -> None:
    known = None if engaged is None else frozenset(engaged)
    assert holds(Condition.model_validate(condition), {"phone": None}, known) is expected
