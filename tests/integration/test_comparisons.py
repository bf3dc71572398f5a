"""Variants side by side: what is counted for each, and who decides that one has won."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import ComparisonView, Document
from chassis.testing import FrozenClock

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
A: Document = {"id": "a"}
B: Document = {"id": "b", "subject": "For you"}
HELLO: Document = {
    "id": "hello",
    "channel": "email",
    "subject": "A job",
    "text": "Hello",
    "variants": [A, B],
    "winner": {"by": "replied", "after": "20 people"},
}
NUDGE: Document = {"id": "nudge", "channel": "email", "text": "Did you see?"}


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    public = "https://segue.example"
    async with serving(mongodb_uri, public, FrozenClock(NOW)) as served:
        await served.call("POST", "/v1/mailboxes", MAILBOX, status=201)
        yield served


def document(*stages: Document, **more: Any) -> Document:
    return {"name": "Engineers", "stages": [*(stages or (HELLO, NUDGE))], **more}


@dataclass
class World:
    """A sequence, and what became of the people in it as the other services would have written it."""

    served: Served
    id: UUID

    @classmethod
    async def of(cls, served: Served, saved: Document) -> "World":
        made = await served.call("POST", "/v1/sequences", saved, status=201)
        return cls(served, UUID(made["id"]))

    async def save(self, changed: Document) -> None:
        await self.served.call("PUT", f"/v1/sequences/{self.id}", changed)

    async def sent(self, variant: str, people: int, *, replied: int = 0, **more: Any) -> None:
        """So many got a variant of the first stage; some of them answered before the second one."""
        later = [self._enrollment(variant, is_answered=False, **more) for _ in range(people - replied)]
        answered = [self._enrollment(variant, is_answered=True, **more) for _ in range(replied)]
        await self.served.database.collection(names.ENROLLMENTS).insert_new([*later, *answered])

    def _enrollment(
        self, variant: str, *, is_answered: bool, version: int = 1, then: bool = False, is_test: bool = False
    ) -> Document:
        went = {"type": "stage_sent", "at": NOW, "stage_id": "hello", "channel": "email"}
        history = [{**went, "variant": variant, "version": version}]
        history += [{**went, "stage_id": "nudge", "version": version}] if then else []
        return {
            "_id": uuid4(),
            "workspace_id": self.served.workspace,
            "sequence_id": self.id,
            "created_at": NOW,
            "is_test": is_test,
            "state": "stopped" if is_answered else "scheduled",
            **({"stop": {"reason": "replied"}} if is_answered else {}),
            "history": history,
        }

    async def opened(self, variant: str, messages: int, opened: int) -> None:
        common = {
            "workspace_id": self.served.workspace,
            "sequence_id": self.id,
            "sequence_version": 1,
            "stage_id": "hello",
            "variant": variant,
            "is_test": False,
            "sent_at": NOW,
        }
        ids = [f"{uuid4()}:hello" for _ in range(messages)]
        base = {**common, "state": "sent", "channel": "email", "attempt": 1, "token": "t"}
        deliveries = [{**base, "_id": each, "enrollment_id": uuid4()} for each in ids]
        await self.served.database.collection(names.DELIVERIES).insert_new(deliveries)
        looks = [
            {**common, "_id": f"{each}:opened", "dispatch_id": each, "kind": "opened", "human": 1}
            for each in ids[:opened]
        ]
        await self.served.database.collection(names.ENGAGEMENTS).insert_new(looks)

    async def look(self) -> None:
        """The sweep, when everything is due."""
        self.served.clock.advance(4000)
        await self.served.api.comparing.sweep()

    async def compared(self) -> Any:
        (stage,) = (await self.served.call("GET", f"/v1/sequences/{self.id}/variants"))["stages"]
        return stage

    async def choose(self, variant: str | None, **more: Any) -> Any:
        path = f"/v1/sequences/{self.id}/stages/hello/winner"
        return await self.served.call("PUT", path, {"variant": variant}, **more)

    async def winner(self) -> str | None:
        """As the sender reads it."""
        found = await self.served.database.collection(names.COMPARISONS).find(
            {"sequence_id": self.id}, projection=ComparisonView.PROJECTION
        )
        (only,) = {ComparisonView.read(doc).winner for doc in found}
        return only


async def test_the_rule_decides_once_the_numbers_are_clear_and_says_on_which(served: Served) -> None:
    world = await World.of(served, document())
    await world.sent("a", 30, replied=3)
    await world.sent("b", 19, replied=12)
    await world.look()
    assert await world.winner() is None
    assert (await world.compared())["clear"] == "b"
    await world.sent("b", 1)
    await world.look()
    assert await world.winner() == "b"
    told = await world.compared()
    assert told["decision"] == {
        "variant": "b",
        "by": "rule",
        "user_id": None,
        "user_name": None,
        "at": told["decision"]["at"],
        "counted": [
            {"variant": "a", "people": 30, "did": 3},
            {"variant": "b", "people": 20, "did": 12},
        ],
    }
    assert [(each["id"], each["share"]) for each in told["variants"]] == [("a", 0.0), ("b", 100.0)]
    assert [each["answered_rate"] for each in told["variants"]] == [10.0, 60.0]


async def test_alike_goes_on_and_is_looked_at_ever_more_rarely_until_something_changes(
    served: Served,
) -> None:
    world = await World.of(served, document())
    await world.sent("a", 30, replied=9)
    await world.sent("b", 30, replied=10)
    comparisons = served.database.collection(names.COMPARISONS)
    waits = []
    for _ in range(4):
        await world.look()
        (doc,) = await comparisons.find({})
        waits.append(doc["wait_seconds"])
    assert waits == [10, 20, 40, 80]
    await world.sent("a", 1)
    await world.look()
    assert [doc["wait_seconds"] for doc in await comparisons.find({})] == [10]
    assert await world.winner() is None


async def test_tests_later_answers_and_other_words_do_not_count(served: Served) -> None:
    world = await World.of(served, document())
    await world.sent("a", 30, replied=3)
    await world.sent("b", 20, replied=2)
    await world.sent("b", 20, replied=20, is_test=True)
    await world.sent("b", 20, replied=20, then=True)  # to what came after it
    await world.save(document({**HELLO, "text": "Hallo"}, NUDGE))
    await world.sent("b", 20, replied=20, version=2)
    await world.save(document())
    await world.sent("b", 20, replied=1, version=3)  # the first version's words again
    told = await world.compared()
    assert [(each["sent"], each["answered"]) for each in told["variants"]] == [(30, 3), (60, 3)]
    await world.look()
    comparisons = await served.database.collection(names.COMPARISONS).find({})
    assert [doc.get("decision") for doc in comparisons] == [None, None]


async def test_a_person_decides_at_once_and_whatever_was_decided_and_takes_it_back(served: Served) -> None:
    world = await World.of(served, document())
    chosen = await world.choose("a")
    assert (chosen["variant"], chosen["by"], chosen["user_name"]) == ("a", "person", "Ana")
    await world.sent("a", 30, replied=3)
    await world.sent("b", 30, replied=20)
    await world.look()
    assert await world.winner() == "a"
    await world.choose(None)
    await world.look()
    assert await world.winner() is None
    assert (await world.compared())["decision"]["by"] == "person"
    await served.call("DELETE", f"/v1/sequences/{world.id}/stages/hello/winner", status=204)
    await world.look()
    assert await world.winner() == "b"
    actions = [each["action"] for each in (await served.call("GET", "/v1/audit-log"))["items"]]
    assert actions.count("sequence.winner_chosen") == 2
    assert actions.count("sequence.winner_taken_back") == 1


async def test_a_rule_that_comes_later_decides_and_without_one_nothing_does(served: Served) -> None:
    bare = {name: value for name, value in HELLO.items() if name != "winner"}
    world = await World.of(served, document(bare, NUDGE))
    await world.sent("a", 30, replied=3)
    await world.sent("b", 30, replied=20)
    await world.look()
    assert await world.winner() is None
    assert (await world.compared())["clear"] == "b"
    comparisons = served.database.collection(names.COMPARISONS)
    assert not await comparisons.find({"look_at": {"$exists": True}})
    await world.save(document())
    await world.look()
    assert await world.winner() == "b"


async def test_opens_decide_where_they_are_tracked(served: Served) -> None:
    rich = {**HELLO, "html": "<p>Hello</p>", "winner": {"by": "opened", "after": "20 people"}}
    world = await World.of(served, document(rich, NUDGE, tracking={"opens": True}))
    await world.opened("a", 30, 25)
    await world.opened("b", 30, 5)
    told = await world.compared()
    assert [(each["opened"], each["opened_rate"], each["clicked"]) for each in told["variants"]] == [
        (25, 83.3, None),
        (5, 16.7, None),
    ]
    await world.look()
    assert await world.winner() == "a"


async def test_a_winner_by_what_nobody_measures_is_refused(served: Served) -> None:
    for changed, tracking, said in (
        ({}, {}, "add tracking: {opens: true}"),
        ({}, {"clicks": True}, "add tracking: {opens: true}"),
        ({"html": None}, {"opens": True}, "hello, variant a, is plain text"),
        ({"variants": [A, {"id": "b", "text": "Hi"}]}, {"opens": True}, "hello, variant b, is plain text"),
    ):
        rich = {**HELLO, "html": "<p>Hello</p>", "winner": {"by": "opened"}, **changed}
        answer = await served.call("POST", "/v1/sequences", document(rich, tracking=tracking), status=422)
        assert said in " ".join(
            each["detail"] for each in answer["errors"] if each["pointer"] == "/stages/0/winner/by"
        )


async def test_what_is_wrong_in_a_variants_template_is_said_at_its_place(served: Served) -> None:
    broken = {**HELLO, "variants": [A, {"id": "b", "subject": "{{first_name", "text": "{{nobody}}"}]}
    answer = await served.call("POST", "/v1/sequences", document(broken), status=422)
    assert [each["pointer"] for each in answer["errors"]] == ["/stages/0/variants/1/subject"]
    unknown = {**HELLO, "variants": [A, {"id": "b", "text": "{{first_nam}}"}]}
    answer = await served.call("POST", "/v1/sequences", document(unknown), status=422)
    (error,) = answer["errors"]
    assert error["pointer"] == "/stages/0/variants/1/text"
    assert "did you mean `first_name`" in error["detail"]


async def test_only_what_is_there_can_win(served: Served) -> None:
    world = await World.of(served, document())
    answer = await world.choose("c", status=422)
    assert answer["errors"][0]["pointer"] == "/variant"
    for stage, status in (("nudge", 409), ("nowhere", 404)):
        path = f"/v1/sequences/{world.id}/stages/{stage}/winner"
        await served.call("PUT", path, {"variant": "a"}, status=status)
        await served.call("DELETE", path, status=status)
    plain = await World.of(served, document(NUDGE | {"subject": "Hi"}))
    assert await served.call("GET", f"/v1/sequences/{plain.id}/variants") == {"stages": []}


async def test_statistics_count_by_variant(served: Served) -> None:
    world = await World.of(served, document())
    await world.sent("a", 4, replied=1)
    await world.sent("b", 2, replied=2)
    until = (NOW + timedelta(days=1)).date()
    path = f"/v1/stats?view=cohort&by=variant&to={until}"
    told = await served.call("GET", path)
    rows = {
        row["name"]: (row["variant"], row["cohort"]["sent"], row["cohort"]["answered"])
        for row in told["rows"]
    }
    assert rows == {"Engineers: hello, a": ("a", 4, 1), "Engineers: hello, b": ("b", 2, 2)}
    assert told["total"]["cohort"]["sent"] == 6
    text = await served.call("GET", path.replace("/stats?", "/stats/export?"))
    assert '"Engineers: hello, a"' in text or "Engineers: hello; a" in text
