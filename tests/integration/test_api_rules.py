"""What a workspace rules about doubt and retention, how that is shown, and what the API itself forgets."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.model import KEEP_RESULTS, MOST_PUBLISHES
from api.testing import Served, serving
from chassis import documents as names
from chassis.store import Document

pytestmark = pytest.mark.stack

IN_DOUBT, RETENTION = "/v1/workspace/in-doubt", "/v1/workspace/retention"


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


async def delivery(api: Served, **changed: Any) -> str:
    dispatch = f"{uuid4()}:hello"
    stored: Document = {
        "_id": dispatch,
        "workspace_id": api.workspace,
        "enrollment_id": UUID(dispatch.partition(":")[0]),
        "stage_id": "hello",
        "channel": "email",
        "attempt": 1,
        "token": "t",
        "state": "in_doubt",
        "settled_at": api.clock.now(),
    }
    await api.database.collection(names.DELIVERIES).insert_one({**stored, **changed})
    return dispatch


# ---- the rules ----------------------------------------------------------------------------------------


async def test_an_admin_rules_what_becomes_of_a_doubt_and_the_audit_log_says_so(api: Served) -> None:
    assert await api.call("GET", IN_DOUBT) == {"policy": "wait"}
    await api.call("PUT", IN_DOUBT, {"policy": "resend"})
    assert await api.call("GET", IN_DOUBT) == {"policy": "resend"}
    assert ("in_doubt.set", str(api.workspace)) in await api.audited()


async def test_an_admin_rules_how_long_words_are_kept_and_the_audit_log_says_so(api: Served) -> None:
    assert await api.call("GET", RETENTION) == {"bodies_days": 365, "inbound_days": 365}
    rule = {"bodies_days": None, "inbound_days": 90}
    await api.call("PUT", RETENTION, rule)
    assert await api.call("GET", RETENTION) == rule
    assert ("retention.set", str(api.workspace)) in await api.audited()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RETENTION, {"bodies_days": 29}),
        (RETENTION, {"inbound_days": 0}),
        (RETENTION, {"bodies_days": "90"}),
        (RETENTION, {"bodies": 90}),
        (IN_DOUBT, {"policy": "drop"}),
        (IN_DOUBT, {}),
    ],
)
async def test_a_rule_that_would_do_harm_or_makes_no_sense_is_refused(
    api: Served, path: str, body: Document
) -> None:
    before = await api.call("GET", path)
    await api.call("PUT", path, body, status=422)
    assert await api.call("GET", path) == before


async def test_only_an_admin_sets_the_rules(api: Served) -> None:
    key = await api.key("read", "write")
    for path, body in ((IN_DOUBT, {"policy": "resend"}), (RETENTION, {"bodies_days": 30})):
        await api.call("GET", path, key=key)
        await api.call("PUT", path, body, key=key, status=403)


async def test_the_rules_of_another_workspace_are_its_own(api: Served) -> None:
    other = await api.other_workspace()
    await api.call("PUT", RETENTION, {"bodies_days": 30, "inbound_days": 30}, key=other)
    assert (await api.call("GET", RETENTION))["bodies_days"] == 365


# ---- what is shown ------------------------------------------------------------------------------------


async def test_what_is_in_doubt_is_listed_with_its_age_and_where_was_looked(api: Served) -> None:
    now = api.clock.now()
    look = {"sent_copy": {"at": now, "times": 3, "places": ["Sent", "All"]}, "provider": {"again_at": now}}
    young = await delivery(api)
    old = await delivery(api, settled_at=now - timedelta(hours=2), transmitted_at=now, looks=look)
    await delivery(api, decision="stop")
    await delivery(api, recalled_at=now)
    shown = (await api.call("GET", "/v1/deliveries?state=in_doubt"))["items"]
    assert [each["dispatch_id"] for each in shown] == [old, young]
    doubt = shown[0]["doubt"]
    assert doubt["age_seconds"] == 7200
    [looked] = doubt["looked"]
    assert (looked["what"], looked["times"], looked["places"]) == ("sent_copy", 3, ["Sent", "All"])


async def test_one_delivery_shows_its_evidence_and_is_nobody_elses(api: Served) -> None:
    evidence = {"kind": "answer", "at": api.clock.now(), "was": "skipped"}
    dispatch = await delivery(api, state="sent", evidence=evidence, decided_by="ana")
    shown = await api.call("GET", f"/v1/deliveries/{dispatch}")
    assert (shown["evidence"]["kind"], shown["evidence"]["was"]) == ("answer", "skipped")
    assert (shown["decided_by"], shown["doubt"], shown["erased"]) == ("ana", None, None)
    await api.call("GET", f"/v1/deliveries/{dispatch}", key=await api.other_workspace(), status=404)
    await api.call("GET", f"/v1/deliveries/{'x' * 200}", status=404)


async def test_what_was_erased_says_since_when_and_why(api: Served) -> None:
    dispatch = await delivery(api, state="sent", erased_at=api.clock.now())
    shown = await api.call("GET", f"/v1/deliveries/{dispatch}")
    day = f"{api.clock.now():%Y-%m-%d}"
    assert shown["text"] is None
    assert shown["erased"] == f"erased on {day} by the workspace's retention rule"


# ---- what the API forgets -----------------------------------------------------------------------------


async def accepted(api: Served, **changed: Any) -> UUID:
    dispatch = await delivery(api)
    answer = await api.call("POST", f"/v1/deliveries/{dispatch}/decide", {"decision": "resend"}, status=202)
    command = UUID(answer["command_id"])
    changed |= {"next_at": api.clock.real_now()}
    await api.database.collection(names.COMMANDS).update_one({"_id": command}, {"$set": changed})
    return command


async def test_a_command_that_nobody_answers_for_a_month_is_given_up_and_its_words_go(api: Served) -> None:
    waiting = await accepted(api, publishes=MOST_PUBLISHES - 1)
    over = await accepted(api, publishes=MOST_PUBLISHES)
    await api.api.courier.sweep_commands()
    assert (await api.call("GET", f"/v1/commands/{waiting}"))["state"] == "accepted"
    shown = await api.call("GET", f"/v1/commands/{over}")
    assert (shown["state"], shown["reasons"][0]["code"]) == ("refused", "no_result")
    stored = await api.database.collection(names.COMMANDS).find_one({"_id": over})
    assert stored is not None
    assert "message" not in stored


async def test_results_that_nobody_asks_for_any_more_are_deleted_by_an_index(api: Served) -> None:
    results = api.database.collection(names.COMMAND_RESULTS)
    now = api.clock.now()
    old, young = ({"_id": uuid4(), "workspace_id": api.workspace, "status": "done"} for _ in range(2))
    await results.insert_one({**old, "at": now - KEEP_RESULTS - timedelta(seconds=1)})
    await results.insert_one({**young, "at": now - KEEP_RESULTS + timedelta(seconds=1)})
    await api.api.courier.sweep()
    assert [each["_id"] for each in await results.find({})] == [young["_id"]]
    plan = str(await results.explain({"at": {"$lt": now}}, sort=[("at", 1)]))
    assert "COLLSCAN" not in plan
    assert "SORT" not in plan
