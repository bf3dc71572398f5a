"""Sending on behalf of a teammate over HTTP: only with their consent, which they may take back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import delegation_id, hold_id

pytestmark = pytest.mark.stack

SEQUENCE = {
    "name": "For Bob",
    "on_behalf_of": "bob@ourco.example",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hi, {{my_name|Bob}}"}],
}
PRIYA = {"prospect": {"external_id": "priya", "email": "priya@there.example"}}


@dataclass
class Team:
    """Cleo writes sequences, Bob has a mailbox; both may write, neither is an admin."""

    api: Served
    bob: str
    bobs_key: str
    bobs_mailbox: str
    cleo: str
    cleos_key: str

    @property
    def delegates(self) -> str:
        return f"/v1/mailboxes/{self.bobs_mailbox}/delegates"

    @property
    def consent(self) -> UUID:
        return delegation_id(UUID(self.bobs_mailbox), UUID(self.cleo))

    async def agree(self, *, status: int = 201, **more: Any) -> Any:
        more = {"key": self.bobs_key} | more
        return await self.api.call("POST", self.delegates, {"user_id": self.cleo}, status=status, **more)

    async def withdraw(self, *, status: int = 202, **more: Any) -> Any:
        more = {"key": self.bobs_key} | more
        return await self.api.call("DELETE", f"{self.delegates}/{self.cleo}", status=status, **more)

    async def publish(self, status: int = 201, **more: Any) -> Any:
        return await self.api.call(
            "POST", "/v1/sequences", {**SEQUENCE, **more}, key=self.cleos_key, status=status
        )


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


@pytest.fixture
async def team(api: Served) -> Team:
    bob, bobs_key = await api.teammate("Bob")
    cleo, cleos_key = await api.teammate("Cleo")
    return Team(api, bob, bobs_key, await api.mailbox("bob@ourco.example", bobs_key), cleo, cleos_key)


async def test_without_consent_it_is_not_published_and_the_answer_names_the_cure(team: Team) -> None:
    problem = await team.publish(422)
    (error,) = problem["errors"]
    assert error["pointer"] == "/on_behalf_of"
    assert f"POST {team.delegates}" in error["detail"]


async def test_with_consent_their_mailbox_sends_and_the_sequence_stays_its_authors(team: Team) -> None:
    agreed = await team.agree()
    assert (agreed["mailbox_id"], agreed["user_id"]) == (team.bobs_mailbox, team.cleo)
    published = await team.publish()
    assert published["latest"]["mailbox_ids"] == [team.bobs_mailbox]
    assert published["owner_id"] == team.cleo
    assert published["waits"] == []


async def test_of_several_mailboxes_the_one_that_was_agreed_to_sends(team: Team) -> None:
    second = await team.api.mailbox("bob.b@ourco.example", team.bobs_key)
    await team.api.call(
        "POST", f"/v1/mailboxes/{second}/delegates", {"user_id": team.cleo}, key=team.bobs_key, status=201
    )
    assert (await team.publish())["latest"]["mailbox_ids"] == [second]
    by_address = await team.publish(on_behalf_of="bob.b@ourco.example")
    assert by_address["latest"]["mailbox_ids"] == [second]


async def test_a_teammates_mailbox_named_as_mailbox_needs_their_consent_too_unless_an_admin_says_so(
    team: Team,
) -> None:
    named = {"on_behalf_of": None, "mailbox": "bob@ourco.example"}
    assert (await team.publish(422, **named))["errors"][0]["pointer"] == "/mailbox"
    await team.api.call("POST", "/v1/sequences", {**SEQUENCE, **named}, status=201)
    await team.agree()
    await team.publish(201, **named)


@pytest.mark.parametrize(
    ("who", "word"),
    [("nobody@ourco.example", "neither a user nor a mailbox"), ("cleo@ourco.example", "no mailbox")],
)
async def test_a_teammate_who_can_not_send_is_refused(team: Team, who: str, word: str) -> None:
    problem = await team.publish(422, on_behalf_of=who)
    assert problem["errors"][0]["pointer"] == "/on_behalf_of"
    assert word in problem["errors"][0]["detail"]


async def test_who_sends_is_said_in_one_place(team: Team) -> None:
    await team.agree()
    problem = await team.publish(422, mailbox="bob@ourco.example")
    assert problem["errors"][0]["pointer"] == "/on_behalf_of"


async def test_only_its_user_agrees_not_the_author_not_an_admin_and_no_key_that_only_reads(
    team: Team,
) -> None:
    await team.agree(key=team.cleos_key, status=403)
    await team.agree(key=None, status=403)
    reads = {"name": "reads", "user_id": team.bob, "scopes": ["read"]}
    key = (await team.api.call("POST", "/v1/api-keys", reads, status=201))["key"]
    await team.agree(key=key, status=403)
    assert (await team.api.call("GET", team.delegates))["items"] == []


async def test_its_user_the_author_and_an_admin_may_end_it_and_nobody_else(team: Team) -> None:
    _, daves_key = await team.api.teammate("Dave")
    for key in (team.bobs_key, team.cleos_key, None):
        await team.agree()
        await team.withdraw(key=daves_key, status=403)
        await team.withdraw(key=key)
        assert (await team.api.call("GET", team.delegates))["items"] == []


async def test_a_consent_taken_back_holds_what_runs_refuses_new_people_and_comes_back_with_the_next_one(
    team: Team,
) -> None:
    await team.agree()
    sequence = (await team.publish())["id"]
    command = await team.withdraw()
    hold = ("hold", "delegation", str(team.consent))
    assert await team.api.commanded("hold", "lift") == [hold]
    assert (await team.api.call("GET", f"/v1/commands/{command['command_id']}"))["state"] == "accepted"
    enroll = f"/v1/sequences/{sequence}/enrollments"
    problem = await team.api.call("POST", enroll, PRIYA, key=team.cleos_key, status=409)
    assert problem["type"] == "urn:segue:problem:consent-withdrawn"
    assert f"POST {team.delegates}" in problem["detail"]
    await team.agree()
    assert await team.api.commanded("hold", "lift") == [hold, ("lift", *hold[1:])]
    await team.api.call("POST", enroll, PRIYA, key=team.cleos_key, status=202)


async def test_the_sequence_says_that_it_waits_for_the_consent_and_what_cures_it(team: Team) -> None:
    await team.agree()
    sequence = await team.publish()
    await team.api.database.collection(names.HOLDS).insert_one(
        {
            "_id": hold_id("delegation", team.consent),
            "workspace_id": team.api.workspace,
            "scope": "delegation",
            "scope_id": team.consent,
            "reason": "consent_withdrawn",
            "by": team.bob,
            "until": None,
            "created_at": team.api.clock.now(),
            "lifted_at": None,
        }
    )
    (wait,) = (await team.api.call("GET", f"/v1/sequences/{sequence['id']}"))["waits"]
    assert (wait["scope"], wait["reason"]) == ("delegation", "consent_withdrawn")
    assert f"POST {team.delegates}" in wait["what_to_do"]


async def test_consents_are_listed_for_both_sides_and_kept_in_the_audit_log(team: Team) -> None:
    await team.agree()
    await team.agree()  # again changes nothing
    for path, key in ((team.delegates, team.bobs_key), ("/v1/me/delegations", team.cleos_key)):
        (item,) = (await team.api.call("GET", path, key=key))["items"]
        assert (item["mailbox_id"], item["user_id"], item["granted_by"]) == (
            team.bobs_mailbox,
            team.cleo,
            team.bob,
        )
    await team.withdraw()
    audited = sorted(each for each in await team.api.audited() if each[0].startswith("mailbox.deleg"))
    assert audited == [
        ("mailbox.delegated", team.bobs_mailbox),
        ("mailbox.delegated", team.bobs_mailbox),
        ("mailbox.delegation_ended", team.bobs_mailbox),
    ]


async def test_nothing_is_agreed_to_across_workspaces_or_with_nobody(team: Team) -> None:
    stranger = await team.api.other_workspace()
    await team.agree(key=stranger, status=404)
    await team.withdraw(status=404)
    body = {"user_id": str(uuid4())}
    await team.api.call("POST", team.delegates, body, key=team.bobs_key, status=422)
    await team.api.call("POST", team.delegates, {"user_id": team.bob}, key=team.bobs_key, status=422)
