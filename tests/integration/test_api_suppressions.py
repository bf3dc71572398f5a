"""Suppressions over HTTP on a real MongoDB: one, many, given back, and every write of them audited."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.testing import Served, serving
from chassis import documents as names

pytestmark = pytest.mark.stack
PATH = "/v1/suppressions"


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


async def find(api: Served, what: dict[str, str], status: int = 200) -> Any:
    return await api.call("POST", f"{PATH}/find", what, status=status)


async def test_each_kind_is_found_by_its_value_however_it_is_written(api: Served) -> None:
    for what, same in (
        ({"address": "Bob@There.example"}, {"address": "bob@there.example"}),
        ({"domain": "There.example"}, {"domain": "there.example"}),
        ({"phone": "+49 (0)30 12-34"}, {"phone": "0049301234"}),
        ({"company_key": "Acme"}, {"company_key": "acme"}),
    ):
        await find(api, same, 404)
        made = await api.call("POST", PATH, what, status=201)
        assert (await find(api, same))["id"] == made["id"]
        assert (await api.call("POST", PATH, same))["id"] == made["id"]
    stored = await api.database.collection(names.SUPPRESSIONS).find({})
    assert {each["kind"] for each in stored} == {"address", "domain", "phone", "company"}
    assert "there" not in str(stored).lower()
    assert "acme" not in str(stored).lower()


async def test_asking_needs_a_key_that_reads_and_stays_in_the_workspace(api: Served) -> None:
    await api.call("POST", PATH, {"domain": "there.example"}, status=201)
    reader, other = await api.key("read"), await api.other_workspace()
    await api.call("POST", f"{PATH}/find", {"domain": "there.example"}, key=reader)
    await api.call("POST", f"{PATH}/find", {"domain": "there.example"}, key=other, status=404)
    await api.call("POST", f"{PATH}/import", {"suppressions": []}, key=reader, status=403)
    await api.call("GET", f"{PATH}/export", key=await api.key("write"), status=403)
    await api.call("POST", f"{PATH}/find", {"domain": "a.example", "phone": "123"}, status=422)


async def test_a_list_is_kept_row_by_row_and_says_what_became_of_each(api: Served) -> None:
    await api.call("POST", PATH, {"address": "old@there.example", "reason": "complained"}, status=201)
    text = (
        "Name;E-Mail;Phone;Domain;Reason\n"
        "Bob;bob@there.example;;;hired\n"
        ";;+49 30 1234;;\n"
        "\n"
        ";no address;;;\n"
        ";OLD@there.example;;;asked\n"
        "Eve;eve@there.example;+49 30 99;;\n"
        ";;;acme.example;\n"
        "nobody;;;;\n"
        ";bob@THERE.example;;;\n"
    )
    answer = await api.csv(f"{PATH}/import?reason=crm", text)
    assert (answer["added"], answer["there"], answer["ignored_columns"]) == (5, 2, ["Name"])
    assert [(each["row"], each["kind"], each["state"]) for each in answer["imported"]] == [
        (2, "address", "added"),
        (3, "phone", "added"),
        (6, "address", "there"),
        (7, "address", "added"),
        (7, "phone", "added"),
        (8, "domain", "added"),
        (10, "address", "there"),
    ]
    assert [(each["row"], each["errors"][0]["pointer"]) for each in answer["refused"]] == [
        (5, "/address"),
        (9, ""),
    ]
    assert (await find(api, {"address": "old@there.example"}))["reason"] == "complained"
    assert (await find(api, {"address": "bob@there.example"}))["reason"] == "hired"
    assert (await find(api, {"phone": "+49301234"}))["reason"] == "crm"


async def test_the_same_list_again_adds_nothing(api: Served) -> None:
    text = "address\na@there.example\nb@there.example\n"
    assert (await api.csv(f"{PATH}/import", text))["added"] == 2
    again = await api.csv(f"{PATH}/import", text)
    assert (again["added"], again["there"]) == (0, 2)


async def test_a_list_as_json(api: Served) -> None:
    many = [{"address": "a@there.example"}, {"adress": "b@there.example"}, "c@there.example"]
    answer = await api.call("POST", f"{PATH}/import", {"suppressions": many})
    assert [each["row"] for each in answer["imported"]] == [1]
    assert [(each["row"], each["errors"][0]["pointer"]) for each in answer["refused"]] == [
        (2, "/suppressions/1/adress"),
        (3, "/suppressions/2"),
    ]


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("", 422, "needs a column"),
        ("name\nBob\n", 422, "needs a column"),
        ("email,mail\na@b.example,\n", 422, "two columns mean address"),
        ("address\n", 422, "no rows"),
        ("address\nnone\nneither\n", 422, "line 3"),
        ('address\n"a@b.example', 400, "not CSV"),
    ],
)
async def test_a_list_that_can_not_be_used_keeps_nothing(
    api: Served, text: str, status: int, told: str
) -> None:
    assert told in str(await api.csv(f"{PATH}/import", text, status=status))
    assert (await api.call("GET", PATH))["items"] == []


async def test_fifty_thousand_rows_are_one_request(api: Served) -> None:
    text = "address\n" + "".join(f"p{n}@there.example\n" for n in range(50_000))
    answer = await api.csv(f"{PATH}/import", text)
    assert (answer["added"], len(answer["imported"]), answer["imported"][-1]["row"]) == (
        50_000,
        50_000,
        50_001,
    )
    await find(api, {"address": "p49999@there.example"})


async def test_one_row_more_keeps_nothing(api: Served) -> None:
    text = "address\n" + "".join(f"p{n}@there.example\n" for n in range(50_001))
    assert "50000 rows" in str(await api.csv(f"{PATH}/import", text, status=422))
    assert (await api.call("GET", PATH))["items"] == []


async def test_an_export_gives_what_is_kept_and_no_value(api: Served) -> None:
    await api.call("POST", PATH, {"address": "bob@there.example", "reason": "=HYPERLINK(1)"}, status=201)
    made = await api.call("POST", PATH, {"phone": "+49 30 1234"}, status=201)
    text = await api.call("GET", f"{PATH}/export")
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows[made["id"]] == {
        "id": made["id"],
        "kind": "phone",
        "mode": "block",
        "reason": "requested",
        "by": api.made["user_id"],
        "at": api.clock.now().isoformat(),
    }
    assert {row["reason"] for row in rows.values()} == {"requested", "'=HYPERLINK(1)"}
    assert "there" not in text


async def test_every_write_leaves_an_entry_and_none_of_them_a_value(api: Served) -> None:
    made = await api.call("POST", PATH, {"address": "bob@there.example"}, status=201)
    await api.call("POST", PATH, {"address": "bob@there.example"})
    await api.csv(f"{PATH}/import", "address\nbob@there.example\n")
    await api.call("GET", f"{PATH}/export")
    await api.call("DELETE", f"{PATH}/{made['id']}", status=204)
    await api.call("DELETE", f"{PATH}/{made['id']}", status=404)
    entries = (await api.call("GET", "/v1/audit-log"))["items"]
    assert sorted((each["action"], each["target"]) for each in entries) == [
        ("suppression.added", made["id"]),
        ("suppression.removed", made["id"]),
        ("suppressions.exported", ""),
        ("suppressions.imported", ""),
    ]
    assert {each["by"] for each in entries} == {api.made["user_id"]}
    assert "there.example" not in str(entries)
    await api.call("GET", "/v1/audit-log", key=await api.key("write"), status=403)
    assert (await api.call("GET", "/v1/audit-log", key=await api.other_workspace()))["items"] == []


async def test_a_company_can_be_warned_of_and_blocked_apart_from_each_other(api: Served) -> None:
    company = {"company_key": "Acme", "reason": "a client of ours"}
    warned = await api.call("POST", PATH, {**company, "mode": "warn"}, status=201)
    assert (warned["kind"], warned["mode"]) == ("company", "warn")
    assert await api.call("POST", f"{PATH}/find", {"company_key": "ACME"}) == warned
    blocked = await api.call("POST", PATH, company, status=201)
    assert (blocked["kind"], blocked["mode"]) == ("company", "block")
    assert (await api.call("POST", f"{PATH}/find", {"company_key": "acme"}))["id"] == blocked["id"]
    await api.call("DELETE", f"{PATH}/{blocked['id']}", status=204)
    assert await api.call("POST", f"{PATH}/find", {"company_key": "acme"}) == warned
    await api.call("POST", PATH, {"address": "bob@there.example", "mode": "warn"}, status=422)


async def test_lists_bring_warnings_and_give_them_back(api: Served) -> None:
    rows = ("company,email,reason,mode", "Acme,,a client,warn", "Other,bob@there.example,,warn")
    alone = ",eve@there.example,,warn"
    brought = await api.csv(f"{PATH}/import", "\n".join((*rows, alone)))
    assert (brought["added"], [row["row"] for row in brought["refused"]]) == (3, [4])
    text = await api.call("GET", f"{PATH}/export")
    kept = {(row["kind"], row["mode"]) for row in csv.DictReader(io.StringIO(text))}
    assert kept == {("company", "warn"), ("address", "block")}


async def test_both_spellings_of_an_international_domain_are_one_suppression(api: Served) -> None:
    made = await api.call("POST", PATH, {"domain": "münchen.example"}, status=201)
    again = await api.call("POST", PATH, {"domain": "XN--MNCHEN-3YA.example"})
    assert again == made
    assert await api.call("POST", f"{PATH}/find", {"domain": "xn--mnchen-3ya.example"}) == made
