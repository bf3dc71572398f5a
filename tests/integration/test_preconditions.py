"""Two who edit the same thing at once: If-Match tells the slower one, for everything that is edited."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.preconditions import WRITES, edited
from api.routes import ROUTES
from api.testing import Served, serving

pytestmark = pytest.mark.stack

SMTP = {"host": "mx.ourco.example", "port": 587}
BODIES: dict[str, tuple[Any, Any]] = {
    "/v1/me/preferences": ({"tasks": {"digest": False}}, {"tasks": {}}),
    "/v1/workspace/task-webhook": (
        {"url": "https://hooks.ourco.example/a"},
        {"url": "https://hooks.ourco.example/b"},
    ),
    "/v1/me/tokens": ({"values": {}}, {"values": {"greeting": "Hello"}}),
    "/v1/workspace/footer": ({"postal_address": "Elm Street 1"}, {"postal_address": "Elm Street 2"}),
    "/v1/workspace": ({"name": "Our Co"}, {"name": "Our Other Co"}),
    "/v1/workspace/in-doubt": ({"policy": "wait"}, {"policy": "resend"}),
    "/v1/workspace/retention": ({"bodies_days": 90}, {"bodies_days": 120}),
    "/v1/mailboxes/{mailbox_id}": ({"smtp": SMTP}, {"smtp": SMTP, "display_name": "Ana"}),
    "/v1/sms-numbers/{number_id}": (
        {"auth_token": "a token of theirs", "limits": {"per_day": 20}},
        {"auth_token": "a token of theirs", "limits": {"per_day": 10}},
    ),
    "/v1/webhooks/{webhook_id}": ({"description": "ours"}, {"description": "theirs"}),
}
"""What two people write there, one after the other."""
WRITERS = {route.path: route.method for route in ROUTES if route.method in WRITES}


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as api:
        token = {"scope": "sender", "type": "text", "default": "Hello"}
        await api.call("PUT", "/v1/tokens/greeting", token, status=201)
        yield api


async def path_of(served: Served, template: str) -> str:
    """The path of something that is there."""
    if "mailbox_id" in template:
        return f"/v1/mailboxes/{await served.mailbox('ana@ourco.example')}"
    if "number_id" in template:
        new = {"number": "+49 30 123456", "auth_token": "a token of theirs"}
        return f"/v1/sms-numbers/{(await served.call('POST', '/v1/sms-numbers', new, status=201))['id']}"
    if "webhook_id" in template:
        hook = {"url": "https://hooks.ourco.example/", "events": ["enrollment.stopped"]}
        return f"/v1/webhooks/{(await served.call('POST', '/v1/webhooks', hook, status=201))['id']}"
    return template


async def answered(
    served: Served, method: str, path: str, body: Any = None, match: str = ""
) -> tuple[int, str | None, str]:
    """Status, entity tag and text."""
    headers = {"Authorization": f"Bearer {served.made['api_key']}"}
    if match:
        headers["If-Match"] = match
    async with served.client.request(method, path, json=body, headers=headers) as response:
        return response.status, response.headers.get("ETag"), await response.text()


def test_everything_that_is_edited_is_tried_here() -> None:
    assert set(edited(ROUTES)) == set(BODIES)


@pytest.mark.parametrize("template", BODIES)
async def test_whoever_read_before_another_wrote_is_refused_and_nothing_is_saved(
    served: Served, template: str
) -> None:
    path, method = await path_of(served, template), WRITERS[template]
    mine, theirs = BODIES[template]
    assert (await answered(served, method, path, mine))[0] < 300
    _, read, _ = await answered(served, "GET", path)
    assert read is not None
    status, _, text = await answered(served, method, path, theirs, match=read)
    assert status < 300, text
    _, now, shown = await answered(served, "GET", path)
    assert now != read
    status, told, problem = await answered(served, method, path, mine, match=read)
    assert (status, told) == (412, now)
    assert "changed-meanwhile" in problem
    assert (await answered(served, "GET", path))[2] == shown
    assert (await answered(served, method, path, mine, match="*"))[0] < 300
    assert (await answered(served, "GET", path))[1] == read
