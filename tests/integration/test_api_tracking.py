"""The pixel and the links over HTTP: what they answer, what is counted, and what is told of it, and when."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.engagement_store import MOST_MORE, SETTLE
from api.engagements import BATCH, Teller
from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import Document
from chassis.errors import Retry
from chassis.store import Workspace
from chassis.tracking import Mark, written
from scheduler.testing import Captured
from segue_contracts.engagement import EngagementEvent
from segue_contracts.topics import ENGAGEMENT_EVENTS
from sender.retention import ERASED

pytestmark = pytest.mark.stack

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)
APPLE = "Mozilla/5.0"
LINKS = [f"https://jobs.example/{number}?for=priya" for number in (1, 2, 3, 4)]
GIF = b"GIF89a"


@dataclass
class World:
    """An API, the messages that a sender has sent, and what went to Kafka."""

    api: Served
    kafka: Captured
    teller: Teller

    async def sent(self, links: list[str] | None = None, **more: Any) -> Mark:
        """A message whose opens and clicks are measured, sent an hour ago."""
        enrollment, now = uuid4(), self.api.clock.now()
        mark = Mark(self.api.workspace, f"{enrollment}:hello")
        delivery = {
            "_id": mark.dispatch_id,
            "workspace_id": mark.workspace_id,
            "enrollment_id": enrollment,
            "stage_id": "hello",
            "attempt": 1,
            "token": str(uuid4()),
            "state": "sent",
            "stage_index": 0,
            "sequence_id": UUID(int=5),
            "sequence_version": 3,
            "person_id": uuid4(),
            "owner_id": UUID(int=6),
            "mailbox_id": UUID(int=7),
            "is_test": False,
            "sent_at": now - timedelta(hours=1),
            "tracking": {"opens": True, "links": LINKS[:1] if links is None else links},
            **more,
        }
        await self.deliveries.insert_one(delivery)
        return mark

    @property
    def deliveries(self) -> Any:
        return self.api.database.collection(names.DELIVERIES)

    async def ask(
        self, mark: Mark, link: int | None = None, *, agent: str = CHROME, method: str = "GET", **more: str
    ) -> tuple[int, Any]:
        """Ask for the pixel, or for a link; the status and the headers."""
        asked = dataclasses.replace(mark, link=link)
        text = written(asked, self.api.api.secrets) + (".gif" if link is None else "")
        return await self.get(asked.path + text, agent=agent, method=method, **more)

    async def get(
        self, path: str, *, agent: str = CHROME, method: str = "GET", **more: str
    ) -> tuple[int, Any]:
        headers = {"User-Agent": agent, **more}
        answer = await self.api.client.request(method, path, headers=headers, allow_redirects=False)
        self.body = await answer.read()
        return answer.status, answer.headers

    async def counts(self, mark: Mark) -> dict[str, tuple[int, int]]:
        """By what was asked for: how often by people and by machines."""
        found = await self.api.database.collection(names.ENGAGEMENTS).find({"dispatch_id": mark.dispatch_id})
        return {
            "pixel" if each["link"] is None else f"link {each['link']}": (each["human"], each["machine"])
            for each in found
        }

    async def settle(self) -> list[EngagementEvent]:
        """What is told once nothing can change it any more."""
        self.api.clock.advance(SETTLE.total_seconds())
        before = len(self.kafka.messages)
        await self.teller.sweep()
        return list(self.kafka.of(ENGAGEMENT_EVENTS)[before:])


@pytest.fixture
async def world(mongodb_uri: str) -> AsyncIterator[World]:
    async with serving(mongodb_uri) as api:
        kafka = Captured()
        yield World(api, kafka, Teller(api.clock, api.api.store.engagements, kafka))


# ---- what is answered -------------------------------------------------------------------------------


async def test_the_pixel_is_a_gif_that_nobody_keeps(world: World) -> None:
    status, headers = await world.ask(await world.sent())
    assert (status, headers["Content-Type"], world.body[:6]) == (200, "image/gif", GIF)
    assert "no-store" in headers["Cache-Control"]
    assert "Set-Cookie" not in headers


async def test_a_link_leads_where_its_message_says(world: World) -> None:
    mark = await world.sent(LINKS)
    for number, target in enumerate(LINKS, 1):
        status, headers = await world.ask(mark, number)
        assert (status, headers["Location"]) == (302, target)
    assert "no-store" in headers["Cache-Control"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in headers


async def test_a_pixel_that_we_did_not_sign_or_whose_message_is_gone_looks_the_same(world: World) -> None:
    mark = await world.sent()
    right, answer = await world.ask(mark), world.body
    gone = dataclasses.replace(mark, dispatch_id=f"{uuid4()}:hello")
    untracked = await world.sent(tracking={"opens": False, "links": LINKS})
    for status, headers in (
        await world.get("/t/o/aaaa.gif"),
        await world.get("/t/o/aaaa"),
        await world.ask(gone),
        await world.ask(untracked),
    ):
        assert (status, world.body) == (200, answer)
        assert headers.keys() - {"Date"} == right[1].keys() - {"Date"}
    assert await world.counts(gone) == await world.counts(untracked) == {}


async def test_a_link_that_we_did_not_sign_leads_nowhere_whatever_it_says(world: World) -> None:
    mark = await world.sent()
    pixel = written(mark, world.api.api.secrets)
    no_such = dataclasses.replace(mark, link=2)
    for path in (
        "/t/c/aaaa",
        f"/t/c/{pixel}",
        f"/t/c/{written(no_such, world.api.api.secrets)}",
        "/t/c/aaaa?url=https://evil.example",
    ):
        status, headers = await world.get(path, **{"Accept-Language": "de"})
        assert (status, headers.get("Location")) == (404, None)
        assert headers["Content-Language"] == "de"
        assert "Er führt ins Leere." in world.body.decode()


async def test_an_id_is_good_in_its_own_workspace_alone(world: World) -> None:
    mark = await world.sent()
    elsewhere = dataclasses.replace(mark, workspace_id=uuid4())
    assert (await world.ask(elsewhere, 1))[0] == 404


async def test_a_link_of_a_message_that_is_gone_or_was_erased_says_so_in_words(world: World) -> None:
    gone, erased = await world.sent(), await world.sent()
    await world.deliveries.delete_one({"_id": gone.dispatch_id, "workspace_id": gone.workspace_id})
    assert await world.deliveries.update_one({"_id": erased.dispatch_id}, {"$unset": ERASED})
    for mark in (gone, erased):
        status, headers = await world.ask(mark, 1)
        assert (status, headers.get("Location")) == (404, None)
        assert "answer the message" in world.body.decode()
        assert (await world.ask(mark))[0] == 200
        assert await world.counts(mark) == {}


async def test_who_measures_is_not_in_the_way_when_nothing_can_be_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = await world.sent()

    async def away(*_: object) -> None:
        raise Retry("no primary")

    monkeypatch.setattr(world.api.api.store.engagements, "count", away)
    assert (await world.ask(mark, 1))[1]["Location"] == LINKS[0]
    assert (await world.ask(mark))[0] == 200
    monkeypatch.setattr(type(world.api.api.reads), "tracked", away)
    assert (await world.ask(mark))[0] == 200
    assert (await world.ask(mark, 1))[0] == 503


# ---- what is counted --------------------------------------------------------------------------------


async def test_people_and_machines_are_counted_apart(world: World) -> None:
    mark = await world.sent()
    for agent in (CHROME, APPLE, CHROME, APPLE, APPLE):
        await world.ask(mark, agent=agent)
    await world.ask(mark, 1)
    assert await world.counts(mark) == {"pixel": (2, 3), "link 1": (1, 0)}


async def test_what_is_asked_for_as_soon_as_it_is_sent_is_asked_by_a_machine(world: World) -> None:
    mark = await world.sent(sent_at=world.api.clock.now())
    await world.ask(mark, 1)
    world.api.clock.advance(10)
    await world.ask(mark, 1)
    assert await world.counts(mark) == {"link 1": (1, 1)}


async def test_a_look_at_the_head_counts_nothing_and_the_get_behind_it_is_a_machines(world: World) -> None:
    mark = await world.sent()
    assert (await world.ask(mark, 1, method="HEAD"))[0] == 302
    assert (await world.ask(mark, method="HEAD"))[0] == 200
    assert await world.counts(mark) == {"link 1": (0, 0), "pixel": (0, 0)}
    await world.ask(mark, 1)
    assert (await world.counts(mark))["link 1"] == (0, 1)
    world.api.clock.advance(60)
    await world.ask(mark, 1)
    assert (await world.counts(mark))["link 1"] == (1, 1)


async def test_whoever_follows_many_links_at_once_is_a_machine_also_the_first_time(world: World) -> None:
    mark = await world.sent(LINKS)
    for number in (1, 2, 3, 4):
        await world.ask(mark, number)
    assert await world.counts(mark) == {f"link {number}": (0, 1) for number in (1, 2, 3, 4)}
    events = await world.settle()
    assert [(each.machine, each.reason, each.first) for each in events] == [(True, "many_links", True)] * 4


async def test_links_followed_at_the_same_moment_are_seen_together(world: World) -> None:
    mark = await world.sent(LINKS[:3])
    await asyncio.gather(*(world.ask(mark, number) for number in (1, 2, 3)))
    assert await world.counts(mark) == {f"link {number}": (0, 1) for number in (1, 2, 3)}


async def test_the_same_link_asked_for_at_the_same_moment_counts_each_time(world: World) -> None:
    mark = await world.sent()
    await asyncio.gather(*(world.ask(mark, 1) for _ in range(10)))
    assert await world.counts(mark) == {"link 1": (10, 0)}
    assert len({event.event_id for event in await world.settle()}) == 1 + MOST_MORE


async def test_a_person_who_reads_on_between_two_links_stays_one(world: World) -> None:
    mark = await world.sent(LINKS[:2])
    await world.ask(mark, 1)
    world.api.clock.advance(20)
    await world.ask(mark, 2)
    assert await world.counts(mark) == {"link 1": (1, 0), "link 2": (1, 0)}


# ---- what is told -----------------------------------------------------------------------------------


async def test_an_open_and_a_click_are_told_once_they_are_certain(world: World) -> None:
    mark = await world.sent()
    at = world.api.clock.now()
    await world.ask(mark, agent=f"{CHROME} GoogleImageProxy")
    await world.ask(mark, 1)
    await world.teller.sweep()
    assert world.kafka.messages == []
    opened, clicked = sorted(await world.settle(), key=lambda event: event.event_type, reverse=True)
    assert (opened.event_type, opened.link, opened.machine, opened.reason) == (
        "opened",
        None,
        False,
        "gmail_proxy",
    )
    assert (clicked.event_type, clicked.link, clicked.machine, clicked.reason) == ("clicked", 1, False, "")
    assert (opened.first, clicked.first, clicked.occurred_at) == (True, True, at)
    assert (clicked.stage_id, clicked.sequence_version, clicked.owner_id) == ("hello", 3, UUID(int=6))
    assert clicked.key() == str(clicked.enrollment_id) == mark.dispatch_id.partition(":")[0]
    assert await world.settle() == []


async def test_no_event_and_no_count_holds_an_address_of_anything(world: World) -> None:
    mark = await world.sent()
    await world.ask(mark, 1, **{"X-Forwarded-For": "203.0.113.7"})
    (stored,) = await world.api.database.collection(names.ENGAGEMENTS).find({})
    (event,) = await world.settle()
    for text in (str(stored), event.model_dump_json()):
        for what in ("jobs.example", "203.0.113.7", "127.0.0.1", "Chrome"):
            assert what not in text


async def test_of_a_flood_only_the_counts_grow(world: World) -> None:
    mark = await world.sent()
    for _ in range(MOST_MORE + 5):
        await world.ask(mark, 1)
        await world.ask(mark, 1, agent=APPLE)
    events = await world.settle()
    assert len(events) == 2 + MOST_MORE
    assert [event.machine for event in events if event.first] == [False, True]
    assert len({event.event_id for event in events}) == len(events)
    assert await world.counts(mark) == {"link 1": (MOST_MORE + 5, MOST_MORE + 5)}
    await world.ask(mark, 1)
    assert await world.settle() == []


async def test_what_the_brokers_did_not_take_is_told_later(world: World) -> None:
    await world.ask(await world.sent(), 1)
    world.kafka.broken = True
    with pytest.raises(Retry):
        await world.settle()
    world.kafka.broken = False
    assert len(await world.settle()) == 1


async def test_what_is_told_again_after_a_crash_has_the_same_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask(await world.sent(), 1)

    async def crash(*_: object) -> None:
        raise Retry("killed before it was noted")

    with monkeypatch.context() as patched:
        patched.setattr(world.api.api.store.engagements, "told", crash)
        with pytest.raises(Retry):
            await world.settle()
    (first,) = world.kafka.messages
    assert await world.settle() == [first]
    assert await world.settle() == []


async def test_a_sweep_tells_all_that_is_ready_however_much_it_is(world: World) -> None:
    engagements = world.api.api.store.engagements
    for _ in range(BATCH + 1):
        await world.ask(await world.sent())
    assert len(await world.settle()) == BATCH + 1
    assert await engagements.untold(world.api.clock.real_now() + timedelta(days=1), 1) == []


async def test_the_sweep_reads_an_index(world: World) -> None:
    await world.ask(await world.sent())
    collection = world.api.database.collection(names.ENGAGEMENTS)
    plan = await collection.explain({"look_at": {"$lte": world.api.clock.real_now()}}, sort=[("look_at", 1)])
    assert "untold" in str(plan)


# ---- stats ------------------------------------------------------------------------------------------


async def test_each_message_counts_once_by_stage_and_machines_apart(world: World) -> None:
    by_person, by_machine = await world.sent(LINKS), await world.sent()
    for _ in range(2):
        await world.ask(by_person)
        await world.ask(by_person, agent=APPLE)
        await world.ask(by_person, 1)
        world.api.clock.advance(20)
        await world.ask(by_person, 2)
    await world.ask(by_machine, agent=APPLE)
    await world.ask(by_machine, 1, method="HEAD")
    found = await world.api.api.store.engagements.by_stage(Workspace(world.api.workspace), UUID(int=5))
    assert found == {"hello": {"opened": 1, "clicked": 1, "machine_opened": 1}}


# ---- what may be published --------------------------------------------------------------------------

MAIL: Document = {"id": "hello", "channel": "email", "subject": "Hi", "html": "<p>Hi</p>"}
NEXT: Document = {"id": "next", "channel": "email", "text": "Hello?"}


def sequence(when: Document, tracking: Document, **mail: Any) -> Document:
    first = {key: value for key, value in {**MAIL, **mail}.items() if value is not None}
    return {"name": "Engineers", "tracking": tracking, "stages": [first, {**NEXT, "when": when}]}


@pytest.mark.parametrize(
    ("when", "tracking", "mail", "words"),
    [
        ({"opened": "hello"}, {}, {}, "asks about opens, which are not tracked"),
        ({"opened": "hello"}, {"clicks": True}, {}, "add tracking: {opens: true}"),
        ({"clicked": "hello"}, {"opens": True}, {}, "asks about clicks, which are not tracked"),
        ({"not": {"clicked": "hello"}}, {}, {}, "asks about clicks, which are not tracked"),
        ({"opened": "hello"}, {"opens": True}, {"html": None, "text": "Hi"}, "hello is plain text"),
        ({"opened": "next"}, {"opens": True}, {}, "not an e-mail stage before this one"),
    ],
)
async def test_a_condition_on_what_nobody_measures_is_refused_with_its_place(
    world: World, when: Document, tracking: Document, mail: Document, words: str
) -> None:
    problem = await world.api.call("POST", "/v1/sequences", sequence(when, tracking, **mail), status=422)
    (error,) = problem["errors"]
    assert error["pointer"] == "/stages/1/when"
    assert words in error["detail"]


async def test_a_condition_on_what_is_measured_is_published(world: World) -> None:
    smtp = {"host": "mail.example", "port": 587}
    await world.api.call("POST", "/v1/mailboxes", {"address": "ana@ourco.example", "smtp": smtp}, status=201)
    when = {"any": [{"clicked": "hello"}, {"all": [{"has": "phone"}, {"not": {"opened": "hello"}}]}]}
    asked = sequence(when, {"opens": True, "clicks": True})
    assert (await world.api.call("POST", "/v1/sequences", asked, status=201))["latest"]["document"] == asked


async def test_nothing_can_be_tracked_without_an_https_address(mongodb_uri: str) -> None:
    async with serving(mongodb_uri, public_url="http://127.0.0.1:8080") as api:
        asked = {"name": "Engineers", "tracking": {"opens": True}, "stages": [MAIL]}
        problem = await api.call("POST", "/v1/sequences", asked, status=422)
        assert [error["pointer"] for error in problem["errors"]] == ["/tracking"]
        assert "SEGUE_PUBLIC_URL" in problem["errors"][0]["detail"]
