"""Custom tokens over HTTP: defined once, named by templates, judged at the door, kept while they are used."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import MailboxView, WorkspaceView
from segue_contracts.codec import ADAPTERS
from segue_contracts.topics import ENROLLMENT_COMMANDS

pytestmark = pytest.mark.stack

SMTP = {"host": "127.0.0.1", "port": 25, "security": "none"}


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as built:
        yield built


async def define(api: Served, name: str, *, status: int = 201, **token: Any) -> Any:
    return await api.call("PUT", f"/v1/tokens/{name}", token, status=status)


async def mailbox(api: Served) -> UUID:
    """As the API writes one, for its owner."""
    box, owner = uuid4(), UUID(api.made["user_id"])
    row = {"_id": box, "workspace_id": api.workspace, "owner_id": owner, "smtp": SMTP}
    more = {"address": "ana@ourco.example", "created_at": api.clock.now()}
    await api.database.collection(names.MAILBOXES).insert_one({**row, **more})
    return box


def sequence(text: str, **more: Any) -> dict[str, Any]:
    return {"name": "Backend", "stages": [{"id": "ring", "channel": "call", "text": text}], **more}


async def workspace(api: Served) -> WorkspaceView:
    doc = await api.database.collection(names.WORKSPACES).find_one({"_id": api.workspace})
    assert doc is not None
    return WorkspaceView.read(doc)


async def test_a_token_is_defined_changed_listed_and_read_by_who_renders(api: Served) -> None:
    await define(api, "salary", type="number", default="50,000", columns=["Gehalt"])
    await define(api, "salary", type="number", default="60,000", status=200)
    await define(api, "site", type="url", scope="sequence")
    listed = await api.call("GET", "/v1/tokens")
    assert [(each["name"], each["type"], each["default"]) for each in listed["tokens"]] == [
        ("salary", "number", "60,000"),
        ("site", "url", None),
    ]
    assert {"first_name", "my_title"} <= set(listed["built_in"])
    read = await workspace(api)
    assert (read.tokens, read.token_types) == ({"salary": "60,000"}, {"salary": "number", "site": "url"})
    assert ("token.defined", "salary") in await api.audited()


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("first_name", {}),
        ("my_title", {}),
        ("if", {}),
        ("a.b", {}),
        ("$where", {}),
        ("salary", {"type": "number", "default": "much"}),
        ("salary", {"type": "colour"}),
    ],
)
async def test_what_can_be_no_token_is_refused(api: Served, name: str, token: dict[str, Any]) -> None:
    await define(api, name, status=422, **token)


async def test_a_template_that_names_an_unknown_token_is_not_published_and_the_nearest_is_named(
    api: Served,
) -> None:
    await mailbox(api)
    await define(api, "salary")
    problem = await api.call("POST", "/v1/sequences", sequence("{{salery}} {{first_nam|there}}"), status=422)
    assert [each["pointer"] for each in problem["errors"]] == ["/stages/0/text"] * 2
    assert [each["detail"] for each in problem["errors"]] == [
        "first_nam is no token: did you mean `first_name`?",
        "salery is no token: did you mean `salary`?",
    ]
    known = sequence("{{salary}} {{first_name}} {{my_title|x}} {{role}}", tokens={"role": "Engineer"})
    await api.call("POST", "/v1/sequences", known, status=201)


async def test_a_sequences_own_value_of_another_type_is_not_published(api: Served) -> None:
    await mailbox(api)
    await define(api, "site", type="url", scope="sequence")
    wrong = sequence("{{site}}", tokens={"site": "our site"})
    problem = await api.call("POST", "/v1/sequences", wrong, status=422)
    assert [each["pointer"] for each in problem["errors"]] == ["/tokens/site"]


async def test_a_token_that_is_named_stays_under_its_name_and_keeps_its_default(api: Served) -> None:
    await mailbox(api)
    await define(api, "salary", default="much")
    made = await api.call("POST", "/v1/sequences", sequence("{{salary}}"), status=201)
    for method, path, body in (
        ("DELETE", "/v1/tokens/salary", None),
        ("POST", "/v1/tokens/salary/rename", {"name": "pay"}),
        ("PUT", "/v1/tokens/salary", {}),
    ):
        problem = await api.call(method, path, body, status=409)
        assert "Backend (version 1)" in problem["detail"]
    await api.call("POST", f"/v1/sequences/{made['id']}/archive", {}, status=200)
    person = {"_id": uuid4(), "workspace_id": api.workspace, "sequence_id": UUID(made["id"])}
    enrollments = api.database.collection(names.ENROLLMENTS)
    await enrollments.insert_one({**person, "sequence_version": 1, "ended": False})
    await api.call("DELETE", "/v1/tokens/salary", status=409)  # somebody is still in it
    await enrollments.update_one({"_id": person["_id"]}, {"$set": {"ended": True}})
    assert (await api.call("POST", "/v1/tokens/salary/rename", {"name": "pay"}))["name"] == "pay"
    assert (await workspace(api)).tokens == {"pay": "much"}
    await api.call("DELETE", "/v1/tokens/pay", status=204)
    read = await workspace(api)
    assert (read.tokens, read.token_types) == ({}, {})


async def test_two_tokens_never_become_one(api: Served) -> None:
    await define(api, "salary")
    await define(api, "pay")
    await api.call("POST", "/v1/tokens/salary/rename", {"name": "pay"}, status=409)
    await api.call("POST", "/v1/tokens/nothing/rename", {"name": "x"}, status=404)
    await api.call("DELETE", "/v1/tokens/nothing", status=404)


async def test_a_users_own_values_reach_their_mailboxes_and_nobody_elses(api: Served) -> None:
    box = await mailbox(api)
    await define(api, "calendar", type="url", scope="sender")
    await define(api, "salary")
    values = {"my_title": "Recruiter", "calendar": "https://cal.example/ana"}
    await api.call("PUT", "/v1/me/tokens", {"values": values})
    assert (await api.call("GET", "/v1/me/tokens"))["values"] == values
    found = await api.database.collection(names.MAILBOXES).find_one({"_id": box})
    assert found is not None
    assert MailboxView.read(found).owner_tokens == values
    for wrong in ({"salary": "much"}, {"calender": "https://cal.example"}, {"calendar": "ask me"}):
        problem = await api.call("PUT", "/v1/me/tokens", {"values": wrong}, status=422)
        assert problem["errors"][0]["pointer"].startswith("/values/")


async def test_columns_of_a_csv_file_map_to_tokens_by_name_or_as_the_token_says(api: Served) -> None:
    await mailbox(api)
    await define(api, "Salary", columns=["Gehalt brutto"])
    made = await api.call("POST", "/v1/sequences", sequence("{{Salary}}"), status=201)
    path = f"/v1/sequences/{made['id']}/enrollments"
    for number, header in enumerate(("Gehalt-Brutto", "salary", "tokens.Salary")):
        text = f"external_id,phone,{header}\nc{number},+49301234,50\n"
        await api.csv(path, text, status=202)
    stored = [doc async for doc in api.database.collection(names.COMMANDS).stream({"type": "enroll"})]
    adapter = ADAPTERS[ENROLLMENT_COMMANDS.name]
    tokens = [adapter.validate_json(doc["message"]).prospect.tokens for doc in stored]
    assert tokens == [{"Salary": "50"}] * 3
