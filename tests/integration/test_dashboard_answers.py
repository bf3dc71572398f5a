"""The inbox of answers, as a browser without JavaScript sees it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Served, serving_pages
from chassis import documents as names

pytestmark = pytest.mark.stack


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        yield served


async def an_answer(served: Served, text: str = "Yes, please", **changes: Any) -> str:
    inbound_id = uuid4()
    answer = {
        "open": True,
        "kind": "reply",
        "intent": "interested",
        "people": [uuid4()],
        "enrollments": [uuid4()],
        "sequences": [],
        "owners": [UUID(served.made["user_id"])],
        "from_address": "pat@x.example",
        "subject": "Re: Hi",
        "text": text,
    }
    cause = {"reason": "replied", "reason_code": "", "scope": "person", "target": uuid4(), "until": None}
    await served.database.collection(names.INBOUND).insert_one(
        {
            "_id": inbound_id,
            "workspace_id": served.workspace,
            "mailbox_id": uuid4(),
            "source": "webhook",
            "received_at": served.clock.now(),
            "state": "settled",
            "verdict": {"kind": "reply", "intent": "interested"},
            "match": {"by": "thread"},
            "effect": {
                "review": False,
                "causes": [cause],
                "waits": [],
                "suppress": [],
                "suppress_phones": [],
            },
            "corrections": [],
            "answer": {**answer, **changes},
        }
    )
    return str(inbound_id)


async def commands(served: Served) -> list[str]:
    return [each["type"] for each in await served.database.collection(names.COMMANDS).find({})]


async def test_answers_are_listed_with_what_they_were_taken_for_and_shown_with_why(served: Served) -> None:
    answer = await an_answer(served, "Yes <b>please</b>")
    async with served.browser() as browser:
        page = await browser.get("/answers")
        assert "Yes &lt;b&gt;please" in page
        assert "answered" in page
        assert "interested" in page
        page = await browser.get(f"/answers/{answer}")
        assert "it names a message that you sent" in page
        assert "It stopped everything of this person: answered" in page
        assert "Yes &lt;b&gt;please" in await browser.get("/")  # Today has it too
        assert "Nothing is here yet" in await browser.get("/answers?state=reviewed")


async def test_an_answer_names_the_sequences_that_its_reader_may_see(served: Served) -> None:
    mailbox = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525}}
    await served.call("POST", "/v1/mailboxes", mailbox, status=201)
    stages = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello"}]
    sequences = []
    for name, access in (("Berlin", "shared"), ("Board", "personal")):
        body = {"name": name, "stages": stages, "access": access}
        sequences.append(UUID((await served.call("POST", "/v1/sequences", body, status=201))["id"]))
    bob = (await served.call("POST", "/v1/users", {"email": "b@ourco.example", "name": "Bob"}, status=201))[
        "id"
    ]
    answer = await an_answer(served, sequences=sequences, owners=[UUID(bob)])
    assert [each["name"] for each in (await served.call("GET", f"/v1/answers/{answer}"))["sequences"]] == [
        "Berlin",
        "Board",
    ]
    async with served.browser(UUID(bob)) as browser:
        for path in ("/answers", f"/answers/{answer}"):
            page = await browser.get(path)
            assert f'<a href="/sequences/{sequences[0]}">Berlin</a>' in page
            assert "Board" not in page


async def test_an_answer_is_corrected_or_found_right(served: Served) -> None:
    answer = await an_answer(served)
    async with served.browser() as browser:
        page = await browser.post(f"/answers/{answer}/correction", {"kind": "other", "intent": ""})
        assert "counts as you say" in page
        assert browser.url == "/answers"
        await browser.post(f"/answers/{answer}/review")
        assert await commands(served) == ["correct", "correct"]


async def test_a_wrong_correction_says_what_is_wrong_and_does_nothing(served: Served) -> None:
    answer = await an_answer(served)
    async with served.browser() as browser:
        page = await browser.post(f"/answers/{answer}/correction", {"kind": "bounce"})
        assert "/kind" in page
        assert "Yes, please" in page
        await browser.post(f"/answers/{answer}/correction", {"kind": "other"}, signed=False, status=403)
        await browser.post(f"/answers/{uuid4()}/review", status=404)
        assert await commands(served) == []
