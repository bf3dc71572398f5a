"""A user who leaves, over HTTP: what was theirs is held until somebody has it, and says so."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import delegation_id, hold_id

pytestmark = pytest.mark.stack

SEQUENCE = {
    "name": "Engineers",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hi"}],
}


@dataclass
class House:
    """Bob, with a mailbox and a sequence; the API's own key is an admin's."""

    api: Served
    bob: str
    bobs_key: str
    mailbox: str
    sequence: str

    async def turn(self, what: str, **more: Any) -> Any:
        return await self.api.call("POST", f"/v1/users/{self.bob}/{what}", **more)

    async def transfer(self, to: str, **more: Any) -> Any:
        return await self.api.call("POST", f"/v1/sequences/{self.sequence}/transfer", {"to": to}, **more)

    async def scopes(self, *types: str) -> list[tuple[str, str, str]]:
        return await self.api.commanded(*types)


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


@pytest.fixture
async def house(api: Served) -> House:
    bob, key = await api.teammate("Bob")
    mailbox = await api.mailbox("bob@ourco.example", key)
    sequence = await api.call("POST", "/v1/sequences", SEQUENCE, key=key, status=201)
    return House(api, bob, key, mailbox, sequence["id"])


async def open_task(house: House, assignee: str) -> None:
    await house.api.database.collection(names.DELIVERIES).insert_one(
        {
            "_id": "a:call",
            "workspace_id": house.api.workspace,
            "state": "task_open",
            "task": {"assignee_id": UUID(assignee), "due_at": house.api.clock.now()},
        }
    )


async def test_who_leaves_sends_nothing_more_and_what_they_leave_is_listed(house: House) -> None:
    await open_task(house, house.bob)
    left = await house.turn("deactivate")
    assert left["user"]["left_at"] is not None
    assert [each["id"] for each in left["sequences"]] == [house.sequence]
    assert [each["address"] for each in left["mailboxes"]] == ["bob@ourco.example"]
    assert (left["keys_revoked"], left["consents_ended"], left["open_tasks"]) == (1, 0, 1)
    assert left["tasks_url"].endswith(f"/v1/tasks?assignee={house.bob}&snoozed=true")
    assert set(await house.scopes("hold")) == {
        ("hold", "ownership", house.sequence),
        ("hold", "ownership", house.mailbox),
    }
    await house.api.call("GET", "/v1/me", key=house.bobs_key, status=401)
    (listed,) = [
        each for each in (await house.api.call("GET", "/v1/users"))["items"] if each["id"] == house.bob
    ]
    assert listed["left_at"] == left["user"]["left_at"]


async def test_the_reason_is_shown_with_the_sequence_and_the_mailbox_and_what_cures_it(house: House) -> None:
    for thing in (house.sequence, house.mailbox):
        await house.api.database.collection(names.HOLDS).insert_one(
            {
                "_id": hold_id("ownership", UUID(thing)),
                "workspace_id": house.api.workspace,
                "scope": "ownership",
                "scope_id": UUID(thing),
                "reason": "owner_left",
                "by": "ana",
                "until": None,
                "created_at": house.api.clock.now(),
                "lifted_at": None,
            }
        )
    waits = (await house.api.call("GET", f"/v1/sequences/{house.sequence}"))["waits"]
    cures = [(wait["reason"], wait["what_to_do"].rpartition(" ")[2]) for wait in waits]
    assert cures == [
        ("owner_left", f"/v1/sequences/{house.sequence}/transfer."),
        ("owner_left", f"/v1/mailboxes/{house.mailbox}/transfer."),
    ]
    health = (await house.api.call("GET", f"/v1/mailboxes/{house.mailbox}"))["health"]
    assert (health["state"], health["reasons"][0]["code"]) == ("paused", "owner_left")


async def test_their_consents_end_both_ways(house: House) -> None:
    cleo, cleos_key = await house.api.teammate("Cleo")
    cleos_mailbox = await house.api.mailbox("cleo@ourco.example", cleos_key)
    given = delegation_id(UUID(house.mailbox), UUID(cleo))
    had = delegation_id(UUID(cleos_mailbox), UUID(house.bob))
    for mailbox, to, key in ((house.mailbox, cleo, house.bobs_key), (cleos_mailbox, house.bob, cleos_key)):
        body = {"user_id": to}
        await house.api.call("POST", f"/v1/mailboxes/{mailbox}/delegates", body, key=key, status=201)
    assert (await house.turn("deactivate"))["consents_ended"] == 2
    ended = [target for _, scope, target in await house.scopes("hold") if scope == "delegation"]
    assert set(ended) == {str(given), str(had)}
    assert (await house.api.call("GET", "/v1/me/delegations", key=cleos_key))["items"] == []


async def test_leaving_is_an_admins_to_say_and_never_ones_own(house: House) -> None:
    for what in ("deactivate", "reactivate"):
        await house.turn(what, key=house.bobs_key, status=403)
    me = house.api.made["user_id"]
    problem = await house.api.call("POST", f"/v1/users/{me}/deactivate", status=409)
    assert problem["type"] == "urn:segue:problem:yourself"
    stranger = await house.api.other_workspace()
    await house.turn("deactivate", key=stranger, status=404)
    await house.api.call("GET", f"/v1/users/{house.bob}/belongings", key=house.bobs_key, status=403)


async def test_done_again_it_does_what_was_left_to_do(house: House) -> None:
    first = await house.turn("deactivate")
    again = await house.turn("deactivate")
    assert again["user"] == first["user"]
    assert again["keys_revoked"] == 0
    assert len(await house.scopes("hold")) == 4


async def test_who_has_left_gets_no_key_no_consent_and_no_sequence(house: House) -> None:
    await house.turn("deactivate")
    key = {"name": "late", "user_id": house.bob, "scopes": ["read"]}
    problem = await house.api.call("POST", "/v1/api-keys", key, status=422)
    assert f"/v1/users/{house.bob}/reactivate" in problem["errors"][0]["detail"]
    own = await house.api.mailbox("ana@ourco.example")
    await house.api.call("POST", f"/v1/mailboxes/{own}/delegates", {"user_id": house.bob}, status=422)
    mine = await house.api.call("POST", "/v1/sequences", SEQUENCE, status=201)
    await house.api.call("POST", f"/v1/sequences/{mine['id']}/transfer", {"to": house.bob}, status=422)


async def test_who_comes_back_goes_on_with_what_is_still_theirs(house: House) -> None:
    await house.turn("deactivate")
    ana = house.api.made["user_id"]
    await house.transfer(ana)
    back = await house.turn("reactivate")
    assert back["user"]["left_at"] is None
    assert back["sequences"] == []
    lifted = sorted(target for _, _, target in await house.scopes("lift"))
    assert lifted == sorted([house.sequence, house.mailbox])
    await house.api.call(
        "POST", "/v1/api-keys", {"name": "new", "user_id": house.bob, "scopes": ["write"]}, status=201
    )


async def test_a_transfer_gives_the_people_a_new_owner_and_then_lets_them_go_on(house: House) -> None:
    await house.turn("deactivate")
    ana = house.api.made["user_id"]
    told = await house.transfer(ana)
    assert (told["owner_id"], told["latest_version"]) == (ana, 1)
    assert len(told["commands"]) == 2
    assert set(await house.scopes("transfer", "lift")) == {
        ("transfer", "", house.sequence),
        ("lift", "ownership", house.sequence),
    }
    stored = await house.api.database.collection(names.SEQUENCES).find_one({"_id": UUID(house.sequence)})
    assert stored is not None
    assert [entry["type"] for entry in stored["outbox"]][-1] == "transferred"
    await house.transfer(ana)  # again: nothing but the commands
    audited = await house.api.audited()
    assert audited.count(("user.deactivated", house.bob)) == 1
    assert audited.count(("sequence.transferred", house.sequence)) == 1


async def test_a_sequence_is_given_away_by_its_owner_or_an_admin_and_only_where_it_may_send(
    house: House,
) -> None:
    cleo, cleos_key = await house.api.teammate("Cleo")
    await house.transfer(cleo, key=cleos_key, status=404)
    problem = await house.transfer(cleo, key=house.bobs_key, status=422)
    assert f"POST /v1/mailboxes/{house.mailbox}/delegates" in problem["errors"][0]["detail"]
    body = {"user_id": cleo}
    await house.api.call(
        "POST", f"/v1/mailboxes/{house.mailbox}/delegates", body, key=house.bobs_key, status=201
    )
    assert (await house.transfer(cleo, key=house.bobs_key))["owner_id"] == cleo


async def test_a_mailbox_given_away_ends_what_its_user_had_agreed_to(house: House) -> None:
    cleo, cleos_key = await house.api.teammate("Cleo")
    ana = house.api.made["user_id"]
    delegates = f"/v1/mailboxes/{house.mailbox}/delegates"
    for user in (cleo, ana):
        await house.api.call("POST", delegates, {"user_id": user}, key=house.bobs_key, status=201)
    path = f"/v1/mailboxes/{house.mailbox}/transfer"
    await house.api.call("POST", path, {"to": ana}, key=cleos_key, status=403)
    assert (await house.api.call("POST", path, {"to": ana}))["owner_id"] == ana
    ended = delegation_id(UUID(house.mailbox), UUID(cleo))
    assert await house.scopes("hold") == [("hold", "delegation", str(ended))]
    own = delegation_id(UUID(house.mailbox), UUID(ana))
    assert set(await house.scopes("lift")) == {
        ("lift", "ownership", house.mailbox),
        ("lift", "delegation", str(own)),
    }
    assert (await house.api.call("GET", delegates))["items"] == []
