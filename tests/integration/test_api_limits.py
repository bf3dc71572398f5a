"""How much one API key may ask: counted for each key, told in every answer, refused with when to go on."""

from uuid import uuid4

import pytest

from api.limiter import Buckets
from api.testing import serving


class Time:
    """A monotonic clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_takes_a_burst_and_then_fills_at_its_rate() -> None:
    time, key = Time(), uuid4()
    buckets = Buckets(10, 3, time)
    assert [buckets.take(key) for _ in range(4)] == [2, 1, 0, -1]
    assert buckets.take(uuid4()) == 2, "another key has a bucket of its own"
    time.now += 0.1
    assert buckets.take(key) == pytest.approx(0)
    time.now += 1000
    assert buckets.take(key) == 2, "it never holds more than the burst"


def test_what_is_spent_in_advance_is_waited_for() -> None:
    time, key = Time(), uuid4()
    buckets = Buckets(10, 10, time)
    assert [buckets.spend(key, 10), buckets.spend(key, 5)] == [0, 0.5]
    time.now += 0.5
    assert buckets.spend(key, 0) == 0


def test_keys_that_are_not_used_any_more_are_forgotten() -> None:
    time = Time()
    buckets = Buckets(10, 10, time)
    for _ in range(100):
        buckets.take(uuid4())
    time.now += 10
    for _ in range(100):
        buckets.take(uuid4())
    assert len(buckets) <= 101


@pytest.mark.stack
async def test_a_key_that_asks_too_much_is_told_when_to_go_on(mongodb_uri: str) -> None:
    async with serving(mongodb_uri, key_requests_per_second=0.1, key_burst=4) as served:
        other = await served.key("read")
        headers = {"Authorization": f"Bearer {served.made['api_key']}"}
        answers = [await served.client.get("/v1/me", headers=headers) for _ in range(4)]
        assert [each.status for each in answers] == [200, 200, 200, 429]
        assert answers[0].headers["RateLimit-Policy"] == '"key";q=4;w=40'
        assert answers[0].headers["RateLimit"].startswith('"key";r=2;t=')
        assert answers[3].headers["RateLimit"] == '"key";r=0;t=40'
        assert 9 <= int(answers[3].headers["Retry-After"]) <= 10
        problem = await answers[3].json()
        assert problem["type"] == "urn:segue:problem:too-many-requests"
        await served.call("GET", "/v1/me", key=other)
        assert "RateLimit" not in (await served.client.get("/openapi.json")).headers
