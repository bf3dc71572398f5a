"""The page of numbers, as a browser without JavaScript sees it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.testing import FrozenClock

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC).replace(microsecond=0)
"""Of today: MongoDB deletes sessions by its own clock."""
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri, "http://127.0.0.1:8080", FrozenClock(NOW), sign_in="dev") as served:
        await served.mailbox("ana@ourco.example")
        yield served


async def a_sequence(served: Served, name: str, sent: int) -> str:
    """A sequence with people who got a message yesterday and a quarter of whom answered; its id."""
    made = await served.call("POST", "/v1/sequences", {"name": name, "stages": STAGES}, status=201)
    at = NOW - timedelta(days=1)
    of: dict[str, Any] = {"workspace_id": served.workspace, "sequence_id": UUID(made["id"])}
    went = {"type": "stage_sent", "at": at, "stage_id": "hello", "channel": "email"}
    for n in range(sent):
        e = uuid4()
        end = {"state": "stopped", "stop": {"reason": "replied"}} if n % 4 == 0 else {"state": "finished"}
        await served.database.collection(names.ENROLLMENTS).insert_one(
            {"_id": e, **of, **end, "created_at": at, "history": [went], "attempt": 1}
        )
        await served.database.collection(names.DELIVERIES).insert_one(
            {"_id": f"{e}:hello", **of, "state": "sent", "sent_at": at, **went, "enrollment_id": e}
        )
    return str(made["id"])


async def test_the_page_shows_what_happened_and_the_file_has_the_same(served: Served) -> None:
    berlin = await a_sequence(served, "=Berlin <b>", 8)
    await a_sequence(served, "Lisbon", 4)
    async with served.browser() as browser:
        page = await browser.get("/stats")
        assert f'<a href="/sequences/{berlin}">=Berlin &lt;b&gt;</a></th><td>8</td>' in page
        assert '<th scope="row">Total</th><td>12</td>' in page
        assert f"<title>{NOW - timedelta(days=1):%a %d %b %Y}: 12</title>" in page
        assert 'aria-current="page">Stats' in page
        text = await browser.get("/stats.csv?by=sequence")
        assert text.splitlines()[0].startswith("sequence,sent,opened")
        assert text.splitlines()[1].startswith("'=Berlin <b>,8,")  # no formula to a spreadsheet


async def test_what_became_of_people_is_percent_of_those_something_was_sent_to(served: Served) -> None:
    await a_sequence(served, "Berlin", 8)
    async with served.browser() as browser:
        page = await browser.get("/stats?view=cohort&by=owner")
        assert '<th scope="row">Ana</th><td>8</td><td>8</td><td>2</td><td>25.0</td>' in page


async def test_filters_are_kept_and_a_chosen_sequence_offers_its_stages(served: Served) -> None:
    berlin = await a_sequence(served, "Berlin", 4)
    async with served.browser() as browser:
        page = await browser.get(f"/stats?sequence={berlin}&stage=hello&channel=email&from={NOW.date()}")
        assert f'<option value="{berlin}" selected>Berlin</option>' in page
        assert "<option selected>hello</option>" in page
        assert '<option value="email" selected>e-mail</option>' in page
        assert f'name="from" value="{NOW.date()}"' in page
        assert f"/stats.csv?view=activity&amp;whose=team&amp;by=sequence&amp;sequence={berlin}" in page


async def test_a_period_that_is_none_is_said_and_what_was_chosen_is_kept(served: Served) -> None:
    async with served.browser() as browser:
        page = await browser.get("/stats?from=2026-11-20&to=2026-11-01")
        assert "is after the last day" in page
        assert 'name="from" value="2026-11-20"' in page
        assert 'id="from-wrong"' in await browser.get("/stats?from=soon")
        assert 'role="alert"' in await browser.get("/stats?channel=pigeon")


async def test_where_nothing_happened_the_page_says_what_to_do(served: Served) -> None:
    async with served.browser() as browser:
        assert "Nothing was sent and nobody answered" in await browser.get("/stats")
        assert "Nobody was enrolled" in await browser.get("/stats?view=cohort&by=day")


async def test_mine_are_the_sequences_that_one_owns(served: Served) -> None:
    await a_sequence(served, "Berlin", 4)
    ben, _ = await served.teammate("Ben")
    await served.call("PUT", f"/v1/users/{ben}/role", {"role": "admin"})
    async with served.browser(UUID(ben)) as browser:
        assert "Berlin</a>" in await browser.get("/stats")
        assert "Nothing was sent" in await browser.get("/stats?whose=mine")


async def test_anothers_sequence_is_not_there(served: Served) -> None:
    berlin = await a_sequence(served, "Berlin", 4)
    ben, _ = await served.teammate("Ben")
    async with served.browser(UUID(ben)) as browser:
        await browser.get(f"/stats?sequence={berlin}", status=404)
        await browser.get(f"/stats.csv?sequence={berlin}", status=404)
