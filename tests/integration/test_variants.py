"""Variants from the sequence to the mail server: who gets which words, for good, and how one wins."""

import email
import random
from collections.abc import AsyncIterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from chassis.documents import Document
from chassis.variants import split
from scheduler.testing import received
from segue_contracts import ids
from segue_contracts.commands import DecideInDoubt, Decision, Edit, Migrate, TaskDone
from segue_contracts.events import EnrollmentEvent, EnrollmentEventType
from segue_contracts.message import Message
from segue_contracts.sequence import Variant
from stack.carried import Carried, carried
from stack.mail_script import Cut, Refuse

pytestmark = pytest.mark.stack

A: Document = {"id": "a", "subject": "A job"}
B: Document = {"id": "b", "subject": "Hi {{first_name}}", "text": "B!"}
HELLO: Document = {"id": "hello", "channel": "email", "text": "Hello", "variants": [A, B]}
NUDGE: Document = {"id": "nudge", "channel": "email", "after": "1 hour", "text": "Did you see?"}
PRIYA = "priya@there.example"
LATER = Refuse(reply="451 4.7.1 Later")
LIVES = 5


@pytest.fixture
async def services(mongodb_uri: str, tmp_path: Path) -> AsyncIterator[Carried]:
    async with carried(mongodb_uri, tmp_path) as made:
        await made.connect()
        yield made


def document(**more: Any) -> Document:
    return {"name": "Engineers", "stages": [{**HELLO, **more}, NUDGE]}


def mails(services: Carried) -> list[EmailMessage]:
    return [email.message_from_bytes(each, policy=policy.default) for each in services.arrived()]


def share_of(enrollment: UUID) -> str:
    """The variant that the split gives."""
    two = [Variant.model_validate(each) for each in (A, B)]
    return split(two, ids.dispatch_id(enrollment, "hello")).id


def other(variant: str) -> str:
    return "b" if variant == "a" else "a"


async def sequence_of(services: Carried, enrollment: UUID) -> UUID:
    found: UUID = (await services.enrollment(enrollment))["sequence_id"]
    return found


async def choose(services: Carried, enrollment: UUID, variant: str | None) -> None:
    path = f"/v1/sequences/{await sequence_of(services, enrollment)}/stages/hello/winner"
    await services.api.call("PUT", path, {"variant": variant})


async def delivery(services: Carried, enrollment: UUID) -> Document:
    deliveries = services.api.database.collection(names.DELIVERIES)
    return await deliveries.find_one({"_id": f"{enrollment}:hello"}) or {}


def told(services: Carried, kind: EnrollmentEventType) -> list[EnrollmentEvent]:
    events = (m for m in services.kafka.messages if isinstance(m, EnrollmentEvent))
    return [each for each in events if each.event_type is kind]


def wish(services: Carried, kind: type[Message], **values: Any) -> Message:
    """A command of now."""
    at, workspace = services.api.clock.now(), services.api.workspace
    base = {"event_id": uuid4(), "occurred_at": at, "recorded_at": at, "workspace_id": workspace}
    return kind(**{**base, **values})


async def ask(services: Carried, kind: type[Message], enrollment: UUID, **values: Any) -> None:
    """A wish that is the scheduler's to carry out."""
    message = wish(services, kind, enrollment_id=enrollment, **values)
    await services.scheduler.commands.handle([received(message)])


async def send_again(services: Carried, enrollment: UUID) -> None:
    about = f"{enrollment}:hello"
    await services.tell_sender(wish(services, DecideInDoubt, dispatch_id=about, decision=Decision.RESEND))


# ---- who gets which words -----------------------------------------------------------------------------


async def test_each_gets_their_share_and_the_reply_goes_on_in_its_thread(services: Carried) -> None:
    people: list[UUID] = []
    for number in range(5):
        people.append(await services.enroll(document(), f"p{number}", first_name=f"P{number}"))
        assert await services.carry(people[-1]) == "sent"
    shares = [share_of(each) for each in people]
    words = [(str(m["Subject"]), str(m.get_content()).strip()) for m in mails(services)]
    assert words == [
        ("A job", "Hello") if share == "a" else (f"Hi P{n}", "B!") for n, share in enumerate(shares)
    ]
    assert [(await delivery(services, each))["variant"] for each in people] == shares
    assert [each.variant for each in told(services, EnrollmentEventType.STAGE_SENT)] == shares
    assert await services.carry(people[0]) == "sent"
    replies = [str(m["Subject"]) for m in mails(services)[len(people) :]]
    assert sorted(replies) == sorted(f"Re: {subject}" for subject, _ in words)
    assert told(services, EnrollmentEventType.STAGE_SENT)[-1].variant is None


async def test_an_enroll_is_refused_where_any_variant_lacks_a_value(services: Carried) -> None:
    await services.api.call("PUT", "/v1/tokens/team", status=201)
    lacking = document(variants=[A, {"id": "b", "subject": "Join {{team}}"}])
    results = services.api.database.collection(names.COMMAND_RESULTS)
    for number in range(4):
        enrollment = await services.enroll(lacking, f"p{number}")
        result = await results.find_one({"enrollment_id": enrollment})
        assert result is not None
        assert [(each["code"], each["detail"]) for each in result["reasons"]] == [
            ("token_missing", "stage hello, variant b: {{team}} has no value and no fallback")
        ]


async def test_a_winner_is_for_those_who_have_nothing_yet(services: Carried) -> None:
    first = await services.enroll(document(), "p0")
    services.smtp.answer(PRIYA, Cut(recorded=True), times=1)
    assert (await services.carry(first)).startswith("in_doubt")
    won = other(share_of(first))
    await choose(services, first, won)
    await send_again(services, first)
    assert await services.carry(first) == "sent"
    lost, again = services.arrived()
    assert lost == again
    assert told(services, EnrollmentEventType.STAGE_SENT)[-1].variant == share_of(first)
    sequence = await sequence_of(services, first)
    workspace = services.api.workspace
    later = next(
        name for name in map(str, range(50)) if share_of(ids.enrollment_id(workspace, sequence, name)) != won
    )
    second = await services.enroll_in(sequence, later)
    assert await services.carry(second) == "sent"
    assert told(services, EnrollmentEventType.STAGE_SENT)[-1].variant == won
    await choose(services, first, None)
    third = await services.enroll_in(sequence, f"{later}-again")
    assert await services.carry(third) == "sent"
    assert (await delivery(services, third))["variant"] == share_of(third)


async def test_words_for_one_person_alone_count_for_no_variant(services: Carried) -> None:
    enrollment = await services.enroll(document())
    services.smtp.answer(PRIYA, LATER, times=1)
    assert await services.carry(enrollment) == "deferred soft_failure"
    assert (await delivery(services, enrollment))["variant"] == share_of(enrollment)
    await ask(services, Edit, enrollment, stages={"hello": {"text": "For you alone"}})
    assert await services.carry(enrollment) == "sent"
    assert mails(services)[-1].get_content() == "For you alone\r\n"
    assert (await delivery(services, enrollment))["variant"] is None
    assert told(services, EnrollmentEventType.STAGE_SENT)[-1].variant is None


async def test_a_task_says_which_words_it_opened_with(services: Carried) -> None:
    ring = {
        "id": "hello",
        "channel": "call",
        "variants": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}],
    }
    enrollment = await services.enroll({"name": "Calls", "stages": [ring]}, phone="+49 30 901820")
    assert await services.carry(enrollment) == "task_opened"
    share = share_of(enrollment)
    assert (await delivery(services, enrollment))["task"]["text"] == share.upper()
    await services.tell_sender(wish(services, TaskDone, dispatch_id=f"{enrollment}:hello"))
    for kind in (EnrollmentEventType.TASK_OPENED, EnrollmentEventType.TASK_DONE):
        assert [each.variant for each in told(services, kind)] == [share]


class Life:
    """One person's first message while everything else happens around it, in any order."""

    def __init__(self, services: Carried, seed: int) -> None:
        self.services, self.chance = services, random.Random(seed)
        self.enrollment = UUID(int=0)
        self.versions = 1
        self.seen: list[str] = []

    async def live(self) -> None:
        self.enrollment = await self.services.enroll(document(), f"p{self.chance.random()}")
        moves = (self.decide, self.reopen, self.fail, self.doubt, self.republish)
        for _ in range(12):
            await self.chance.choice(moves)()
            variant = (await delivery(self.services, self.enrollment)).get("variant")
            self.seen += [variant] if variant else []
        if (await self.services.enrollment(self.enrollment))["state"] == "in_doubt":
            await send_again(self.services, self.enrollment)
        assert await self.services.carry(self.enrollment) == "sent"
        self.seen.append((await delivery(self.services, self.enrollment))["variant"])

    async def decide(self) -> None:
        await choose(self.services, self.enrollment, self.chance.choice(["a", "b", None]))

    async def reopen(self) -> None:
        path = f"/v1/sequences/{await sequence_of(self.services, self.enrollment)}/stages/hello/winner"
        await self.services.api.call("DELETE", path, status=204)

    async def fail(self) -> None:
        await self._attempt(LATER)

    async def doubt(self) -> None:
        await self._attempt(Cut(recorded=True))

    async def _attempt(self, answer: Refuse | Cut) -> None:
        if (await self.services.enrollment(self.enrollment))["state"] == "in_doubt":
            await send_again(self.services, self.enrollment)
        self.services.smtp.answer(PRIYA, answer, times=1)
        assert (await self.services.carry(self.enrollment)) != "sent"

    async def republish(self) -> None:
        """Other shares, in another order, for this person too."""
        self.versions += 1
        variants = [
            {**each, "weight": self.chance.randrange(1, 100)} for each in self.chance.sample([A, B], 2)
        ]
        sequence = await sequence_of(self.services, self.enrollment)
        await self.services.api.call("PUT", f"/v1/sequences/{sequence}", document(variants=variants))
        await ask(self.services, Migrate, self.enrollment, to_version=self.versions)


async def test_no_order_of_events_changes_the_words_that_somebody_has(services: Carried) -> None:
    for seed in range(LIVES):
        life, before = Life(services, seed), len(services.arrived())
        await life.live()
        assert len(set(life.seen)) == 1, seed
        arrived = mails(services)[before:]
        assert len({bytes(each) for each in arrived}) == 1, seed
        assert arrived[-1]["Subject"] == ("A job" if life.seen[0] == "a" else "Hi Priya"), seed
        assert told(services, EnrollmentEventType.STAGE_SENT)[-1].variant == life.seen[0], seed
