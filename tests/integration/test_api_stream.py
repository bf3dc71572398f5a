"""Enrolling a stream of any length: answered line by line, what was answered is stored."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.streaming import LINES_AT_ONCE, MAX_LINE_BYTES
from api.testing import Served, serving
from chassis import documents as names

pytestmark = pytest.mark.stack

SEQUENCE = {
    "name": "Backend engineers",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hello", "text": "Hi"}],
}
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        await served.mailbox("ana@ourco.example")
        yield served


@pytest.fixture
async def path(served: Served) -> str:
    made = await served.call("POST", "/v1/sequences", SEQUENCE, status=201)
    return f"/v1/sequences/{made['id']}/enrollments"


def person(number: int) -> dict[str, Any]:
    return {"external_id": f"cand-{number}", "email": f"cand-{number}@there.example"}


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def send(served: Served, path: str, data: Any, **headers: str) -> list[dict[str, Any]]:
    proof = {"Authorization": f"Bearer {served.made['api_key']}"}
    async with served.client.post(path, data=data, headers={**NDJSON, **proof, **headers}) as response:
        assert (response.status, response.content_type) == (202, "application/x-ndjson")
        return [json.loads(line) async for line in response.content]


async def stored(served: Served) -> list[str]:
    found = await served.database.collection(names.COMMANDS).find(
        {"workspace_id": served.workspace, "type": "enroll"}
    )
    return [str(each["_id"]) for each in found]


async def test_each_line_is_accepted_or_refused_on_its_own_and_the_last_one_says_that_all_were(
    served: Served, path: str
) -> None:
    body = lines(person(1)) + b"\n{oops\n" + lines({"external_id": "x", "emial": "y"}, person(2))
    first, broken, wrong, last, end = await send(served, path, body)
    assert (first["row"], last["row"]) == (1, 5)
    assert "not JSON" in broken["errors"][0]["detail"]
    assert [each["pointer"] for each in wrong["errors"]] == ["/emial"]
    assert end == {"done": True, "lines": 4}
    assert sorted(await stored(served)) == sorted([first["command_id"], last["command_id"]])


async def test_a_line_is_answered_before_the_next_one_is_sent(served: Served, path: str) -> None:
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield lines(person(1))
        await answered.wait()
        yield lines(person(2)).strip()

    headers = {**NDJSON, "Authorization": f"Bearer {served.made['api_key']}"}
    async with served.client.post(path, data=body(), headers=headers) as response:
        first = json.loads(await response.content.readline())
        assert await stored(served) == [first["command_id"]]
        answered.set()
        rest = [json.loads(line) async for line in response.content]
    assert [each.get("row") for each in rest] == [2, None]


async def test_a_connection_that_breaks_loses_nothing_that_was_answered_and_can_be_sent_again(
    served: Served, path: str
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield lines(person(1), person(2))
        await asyncio.Event().wait()

    headers = {**NDJSON, "Authorization": f"Bearer {served.made['api_key']}", "Idempotency-Key": "k1"}
    response = await served.client.post(path, data=broken(), headers=headers)
    before = [json.loads(await response.content.readline())["command_id"] for _ in range(2)]
    response.close()
    assert sorted(await stored(served)) == sorted(before)

    again = await send(served, path, lines(person(1), person(2), person(3)), **{"Idempotency-Key": "k1"})
    assert [each["command_id"] for each in again[:2]] == before
    assert len(await stored(served)) == 3, "nothing is made twice"


async def test_thousands_of_lines_pass_in_their_order(served: Served, path: str) -> None:
    count = 2 * LINES_AT_ONCE + 7
    answers = await send(served, path, lines(*(person(number) for number in range(count))))
    assert [each["row"] for each in answers[:-1]] == list(range(1, count + 1))
    assert answers[-1]["lines"] == count
    assert len(await stored(served)) == count


async def test_a_line_without_an_end_breaks_the_stream_off_after_what_was_answered(
    served: Served, path: str
) -> None:
    first, problem = await send(served, path, lines(person(1)) + b"x" * (3 * MAX_LINE_BYTES))
    assert first["row"] == 1
    assert problem["problem"]["type"] == "urn:segue:problem:line-too-long"


async def test_what_is_wrong_with_the_request_is_an_ordinary_problem(served: Served, path: str) -> None:
    async def refused(where: str, status: int, **more: Any) -> Any:
        return await served.call("POST", where, data=lines(person(1)), headers=NDJSON, status=status, **more)

    assert (await refused(path + "?generation=0", 422))["errors"][0]["pointer"] == "?generation"
    await refused(path, 403, key=await served.key("read"))
    await refused(path, 404, key=await served.other_workspace())
    await refused("/v1/tasks", 405)
    await served.call("POST", path.removesuffix("/enrollments") + "/archive")
    await refused(path, 409)


async def test_a_stream_is_read_no_faster_than_its_key_may(mongodb_uri: str) -> None:
    rows = lines(*(person(number) for number in range(40)))
    async with serving(mongodb_uri, key_stream_bytes_per_second=len(rows) * 2) as served:
        await served.mailbox("ana@ourco.example")
        made = await served.call("POST", "/v1/sequences", SEQUENCE, status=201)
        path = f"/v1/sequences/{made['id']}/enrollments"
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(3):
            await send(served, path, rows)
        assert loop.time() - began > 0.4, "two of three fit into the first second's bytes"
