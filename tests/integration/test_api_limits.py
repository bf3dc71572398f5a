"""Limits over HTTP: a new mailbox's ramp, a workspace's longest text, hours in which nobody may be texted."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from api.testing import Served, serving

pytestmark = pytest.mark.stack

RAMP = {"start": 20, "add_per_day": 10, "until": 200}
SMTP = {"host": "127.0.0.1", "port": 2525, "security": "none"}
MONDAY = "2026-11-23"


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


async def connected(api: Served, **limits: Any) -> dict[str, Any]:
    body = {"address": "ana@ourco.example", "smtp": SMTP, "zone": "Europe/Berlin", "limits": limits}
    made: dict[str, Any] = await api.call("POST", "/v1/mailboxes", body, status=201)
    return made


async def test_a_ramp_is_shown_with_the_limit_of_the_day_and_keeps_its_first_day(api: Served) -> None:
    made = await connected(api, per_day=45, ramp=RAMP)
    since = api.clock.now().date().isoformat()
    assert (made["limits"]["ramp"], made["per_day_now"]) == ({**RAMP, "since": since}, 20)
    one = f"/v1/mailboxes/{made['id']}"
    api.clock.advance((timedelta(days=14)).total_seconds())
    assert (await api.call("GET", one))["per_day_now"] == 45
    steeper = {"smtp": SMTP, "zone": "Europe/Berlin", "limits": {"ramp": {**RAMP, "until": 300}}}
    changed = await api.call("PUT", one, steeper)
    assert (changed["limits"]["ramp"]["since"], changed["per_day_now"]) == (since, 120)
    started_anew = {**steeper, "limits": {"ramp": {**RAMP, "since": api.clock.now().date().isoformat()}}}
    assert (await api.call("PUT", one, started_anew))["per_day_now"] == 20
    plain = await api.call("PUT", one, {**steeper, "limits": {"per_day": 200}})
    assert (plain["limits"]["ramp"], plain["per_day_now"]) == (None, 200)


@pytest.mark.parametrize(
    "wrong",
    [{"until": 10}, {"add_per_day": 1}, {"start": 0}, {"since": "yesterday"}, {"steps": 3}],
    ids=str,
)
async def test_a_ramp_that_never_arrives_is_refused(api: Served, wrong: dict[str, Any]) -> None:
    body = {"address": "ana@ourco.example", "smtp": SMTP, "limits": {"ramp": {**RAMP, **wrong}}}
    await api.call("POST", "/v1/mailboxes", body, status=422)


async def test_a_changed_mailbox_is_in_the_audit_log_with_what_changed(api: Served) -> None:
    made = await connected(api)
    changed = {"smtp": SMTP, "zone": "Europe/Berlin", "limits": {"per_day": 9}, "signature": "Ana"}
    await api.call("PUT", f"/v1/mailboxes/{made['id']}", changed)
    entries = (await api.call("GET", "/v1/audit-log"))["items"]
    [entry] = [each for each in entries if each["action"] == "mailbox.changed"]
    assert entry["target"] == made["id"]
    assert set(entry["detail"]["changed"].split(", ")) == {"signature", "limits"}


async def texts(api: Served, status: int, **stage: Any) -> Any:
    number = {"number": "+4930999", "provider": "webhook", "auth_token": "x" * 8}
    if not (await api.call("GET", "/v1/sms-numbers"))["items"]:
        await api.call("POST", "/v1/sms-numbers", {**number, "url": "https://x.example"}, status=201)
    document = {"name": "Texts", "stages": [{"id": "text", "channel": "sms", "text": "Hi", **stage}]}
    return await api.call("POST", "/v1/sequences", document, status=status)


async def test_how_long_a_text_may_be_is_the_workspaces_own_word(api: Served) -> None:
    await connected(api)
    long = "x" * 160 * 2
    await texts(api, 201, text=long)
    await api.call("PUT", "/v1/workspace/limits", {"sms_segments": 2})
    refused = await texts(api, 422, text=long)
    assert [each["pointer"] for each in refused["errors"]] == ["/stages/0/text"]


async def test_a_text_that_could_only_go_in_quiet_hours_is_not_published(api: Served) -> None:
    await connected(api)
    refused = await texts(api, 422, windows={"mon-sun": ["21:30-23:30"]})
    [error] = refused["errors"]
    assert "between 8:00 and 21:00" in error["detail"]
    made = await texts(api, 201, windows={"mon-sun": ["20:30-23:30"]})
    assert ("sequence.published", made["id"]) in await api.audited()
