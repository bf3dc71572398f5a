"""Mailboxes that log in by OAuth 2.0: a real token endpoint, a real mail server each way, a real MongoDB."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import MailboxView, OAuthGrant, WatchedMailbox
from chassis.hosts import Guard
from chassis.oauth import SKEW, Access, AccessLost, NoAccess, Tokens, TokenStore
from chassis.secrets import Secrets, SecretSettings
from chassis.settings import MongoSettings
from chassis.store import Database
from chassis.testing import FrozenClock, fresh_database, fresh_name
from segue_contracts.commands import Hold
from segue_contracts.events import MailboxNotification
from sender.settings import SenderSettings
from stack.client import eventually
from stack.ports import free_port
from stack.sending import SETTINGS, Sender, World, a_sender, a_world
from stack.smtp import Options, SmtpServer
from stack.tokens import Fails, TokenServer

pytestmark = pytest.mark.stack

ANA = "ana@ourco.example"
LIFE = timedelta(hours=1)
GRANTED_AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class House:
    """Processes that log in to one mailbox, over one database; their clock is moved by hand."""

    def __init__(self, database: Database, provider: TokenServer, guard: Guard) -> None:
        self.database = database
        self.provider = provider
        self.guard = guard
        self.clock = FrozenClock()
        self.secrets = Secrets(SecretSettings(secret_keys=SecretStr("a secret key for tests only")))
        self.opened: list[Tokens] = []
        self.access = Access(uuid4(), uuid4(), self.grant())

    def grant(self, at: datetime = GRANTED_AT, **changed: Any) -> OAuthGrant:
        """As the mailbox's document has it."""
        return grant_of({**self.provider.granted(ANA), **changed}, self.secrets, at)

    def process(self) -> Tokens:
        """One more that logs in."""
        self.opened.append(Tokens(TokenStore(self.database), self.secrets, self.guard, self.clock))
        return self.opened[-1]

    async def kept(self) -> dict[str, Any]:
        found = await self.database.collection(names.MAILBOX_TOKENS).find_one(
            {"_id": self.access.mailbox_id, "workspace_id": self.access.workspace_id}
        )
        assert found is not None
        return found


def grant_of(given: dict[str, Any], secrets: Secrets, at: datetime) -> OAuthGrant:
    return OAuthGrant.read(
        {
            **given,
            "client_secret": secrets.encrypt(given["client_secret"]),
            "refresh_token": secrets.encrypt(given["refresh_token"]),
            "granted_at": at,
        }
    )


@pytest.fixture
async def provider() -> AsyncIterator[TokenServer]:
    async with TokenServer(rotates=True) as server:
        yield server


@pytest.fixture
async def house(mongodb_uri: str, provider: TokenServer) -> AsyncIterator[House]:
    settings = MongoSettings(mongodb_uri=SecretStr(mongodb_uri), mongodb_database=fresh_name())
    guard = Guard(SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS).allowed_private_networks)
    async with fresh_database(settings) as database:
        built = House(database, provider, guard)
        yield built
        for tokens in built.opened:
            await tokens.close()


# ---- tokens -------------------------------------------------------------------------------------------


async def test_a_token_is_asked_for_once_and_again_shortly_before_its_end(house: House) -> None:
    tokens = house.process().of(house.access)
    first = await tokens.token()
    assert house.provider.is_good(ANA, first)
    house.clock.advance((LIFE - SKEW).total_seconds() - 1)
    assert await tokens.token() == first
    house.clock.advance(1)
    second = await tokens.token()
    assert second != first
    assert len(house.provider.asked) == 2
    assert house.provider.asked[0] | {"refresh_token": "..."} == {
        "grant_type": "refresh_token",
        "client_id": "segue",
        "client_secret": "the client's own secret",
        "refresh_token": "...",
        "scope": "mail",
    }


async def test_of_many_connections_in_two_processes_one_asks(house: House) -> None:
    house.provider.gate.clear()
    callers = [house.process().of(house.access).token() for _ in range(2) for _ in range(5)]
    asking = [asyncio.ensure_future(each) for each in callers]
    await eventually(lambda: _now(house.provider.asked), until=bool)
    house.provider.gate.set()
    assert len(set(await asyncio.gather(*asking))) == 1
    assert len(house.provider.asked) == 1
    assert house.provider.most_at_once == 1


async def test_a_rotated_refresh_token_is_kept_for_every_process(house: House) -> None:
    """Its second use would end the access altogether."""
    first, second = house.process().of(house.access), house.process().of(house.access)
    for tokens in (first, second, second, first):
        assert house.provider.is_good(ANA, await tokens.token())
        house.clock.advance(LIFE.total_seconds())
    used = [form["refresh_token"] for form in house.provider.asked]
    assert len(used) == len(set(used)) == 4


async def test_a_caller_that_gives_up_takes_no_rotated_token_with_it(house: House) -> None:
    tokens = house.process().of(house.access)
    house.provider.gate.clear()
    impatient = asyncio.ensure_future(tokens.token())
    await eventually(lambda: _now(house.provider.asked), until=bool)
    impatient.cancel()
    house.provider.gate.set()
    await house.opened[0].close()
    assert (await house.kept())["version"] == 1
    assert house.provider.is_good(ANA, await house.process().of(house.access).token())


async def test_what_a_dead_process_had_begun_another_ends(house: House) -> None:
    store = TokenStore(house.database)
    assert await store.claim(house.access, await store.read(house.access))
    assert not await store.claim(house.access, await store.read(house.access))
    with pytest.raises(NoAccess, match="being renewed"):
        await house.process().of(house.access).token()
    own = {"_id": house.access.mailbox_id, "workspace_id": house.access.workspace_id}
    await house.database.collection(names.MAILBOX_TOKENS).update_one(
        own, {"$set": {"leased_until": datetime(2020, 1, 1, tzinfo=UTC)}}
    )
    assert house.provider.is_good(ANA, await house.process().of(house.access).token())


async def test_a_token_that_is_refused_is_renewed_unless_it_is_young(house: House) -> None:
    tokens = house.process().of(house.access)
    first = await tokens.token()
    assert await tokens.token(refused=first) == first  # what is wrong is not its age
    house.clock.advance(61)
    second = await tokens.token(refused=first)
    assert second != first
    assert await house.process().of(house.access).token(refused=first) == second
    assert len(house.provider.asked) == 2


async def test_access_that_was_taken_back_is_not_asked_for_again(house: House) -> None:
    house.provider.take_back(ANA)
    with pytest.raises(AccessLost, match="connect the mailbox again"):
        await house.process().of(house.access).token()
    for tokens in (house.opened[0], house.process()):
        house.clock.advance(days=1)
        with pytest.raises(AccessLost):
            await tokens.of(house.access).token()
    assert len(house.provider.asked) == 1


async def test_a_mailbox_that_is_connected_again_has_access_again(house: House) -> None:
    old = house.process().of(house.access)
    await old.token()
    house.provider.take_back(ANA)
    house.clock.advance(LIFE.total_seconds())
    with pytest.raises(AccessLost):
        await old.token()
    again = Access(
        house.access.workspace_id,
        house.access.mailbox_id,
        house.grant(GRANTED_AT + timedelta(days=1)),
    )
    token = await house.opened[0].of(again).token()
    assert house.provider.is_good(ANA, token)
    with pytest.raises(NoAccess):  # a process that has not heard of it takes nothing away
        await house.process().of(house.access).token()
    assert await house.process().of(again).token() == token


async def test_an_endpoint_that_fails_is_asked_again_when_it_says(house: House) -> None:
    tokens = house.process().of(house.access)
    house.provider.answers.append(Fails(429, headers={"Retry-After": "90"}))
    for _ in range(3):
        with pytest.raises(NoAccess, match="http_429"):
            await tokens.token()
    assert len(house.provider.asked) == 1
    house.clock.advance(90)
    assert house.provider.is_good(ANA, await tokens.token())


async def test_a_token_that_is_still_good_is_used_while_none_can_be_had(house: House) -> None:
    tokens = house.process().of(house.access)
    token = await tokens.token()
    house.provider.answers.append(Fails(503))
    house.clock.advance((LIFE - SKEW).total_seconds())
    with pytest.raises(NoAccess):
        await tokens.token()
    assert await tokens.token() == token


async def test_a_wrong_client_is_no_lost_access(house: House) -> None:
    wrong = house.grant(client_secret="another")
    with pytest.raises(NoAccess, match="invalid_client"):
        await house.process().of(Access(uuid4(), uuid4(), wrong)).token()


async def test_an_endpoint_where_nothing_connects_is_not_asked(house: House) -> None:
    house.guard = Guard()
    with pytest.raises(NoAccess):
        await house.process().of(house.access).token()
    assert house.provider.asked == []


async def test_no_token_is_kept_in_the_clear(house: House) -> None:
    token = await house.process().of(house.access).token()
    kept = repr(await house.kept())
    assert token not in kept
    assert "refresh-" not in kept


async def _now(value: Any) -> Any:
    return value


# ---- sending ------------------------------------------------------------------------------------------


class Office:
    """A world whose mailbox sends with tokens of a provider."""

    def __init__(self, world: World, sender: Sender, smtp: SmtpServer, provider: TokenServer) -> None:
        self.world, self.sender, self.smtp, self.provider = world, sender, smtp, provider

    async def send(self) -> Any:
        """One message; what became of it."""
        await self.sender.due(await self.world.dispatch())
        return self.sender.published.last()

    def holds(self) -> list[str]:
        return [each.reason for each in self.sender.published.messages if isinstance(each, Hold)]


@contextlib.asynccontextmanager
async def office(
    mongodb_uri: str, folder: Path, provider: TokenServer, **options: Any
) -> AsyncIterator[Office]:
    smtp = SmtpServer(folder, Options(port=free_port(), tokens=provider.is_good, **options))
    settings = SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)
    with smtp:
        async with a_world(mongodb_uri, smtp) as world, a_sender(world, settings) as sender:
            given = provider.granted(ANA)
            secrets = {
                name: world.secrets.encrypt(given[name]) for name in ("client_secret", "refresh_token")
            }
            await world.collection(names.MAILBOXES).update_one(
                {"_id": world.mailbox},
                {
                    "$set": {
                        "smtp.auth": "oauth2",
                        "smtp.username": ANA,
                        "oauth": {**given, **secrets, "granted_at": datetime.now(UTC)},
                    }
                },
            )
            yield Office(world, sender, smtp, provider)


@pytest.mark.parametrize("bearer", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_mailbox_sends_with_access_tokens(
    mongodb_uri: str, tmp_path: Path, provider: TokenServer, bearer: str
) -> None:
    async with office(mongodb_uri, tmp_path, provider, bearer=bearer) as at:
        assert (await at.send()).event_type == "sent"
        assert (await at.send()).event_type == "sent"
        assert len(at.smtp.messages()) == 2
        assert len(provider.asked) == 1


async def test_a_token_that_the_server_ends_early_is_replaced_in_the_same_conversation(
    mongodb_uri: str, tmp_path: Path, provider: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.oauth.YOUNG", timedelta(0))
    async with office(mongodb_uri, tmp_path, provider) as at:
        await at.sender.tokens.of(await access_of(at.world)).token()
        provider.expire()
        assert (await at.send()).event_type == "sent"
        assert len(provider.asked) == 2
        assert at.holds() == []


async def test_a_login_that_a_new_token_does_not_open_holds_the_mailbox(
    mongodb_uri: str, tmp_path: Path, provider: TokenServer
) -> None:
    async with office(mongodb_uri, tmp_path, provider) as at:
        await at.world.collection(names.MAILBOXES).update_one(
            {"_id": at.world.mailbox}, {"$set": {"smtp.username": "somebody@else.example"}}
        )
        outcome = await at.send()
        assert (outcome.event_type, outcome.reason) == ("deferred", "login_refused")
        assert at.holds() == ["login_refused"]


async def test_access_that_was_taken_back_holds_the_mailbox_and_fails_nobody(
    mongodb_uri: str, tmp_path: Path, provider: TokenServer
) -> None:
    async with office(mongodb_uri, tmp_path, provider) as at:
        provider.take_back(ANA)
        outcome = await at.send()
        assert (outcome.event_type, outcome.reason) == ("deferred", "access_lost")
        assert at.holds() == ["access_lost"]
        await at.sender.health.flush()
        told = [each for each in at.sender.published.messages if isinstance(each, MailboxNotification)]
        assert [(each.mailbox_id, each.reason) for each in told] == [(at.world.mailbox, "access_lost")]


async def test_a_token_endpoint_that_is_down_puts_off_and_holds_nothing(
    mongodb_uri: str, tmp_path: Path, provider: TokenServer
) -> None:
    async with office(mongodb_uri, tmp_path, provider) as at:
        provider.answers.append(Fails(503))
        outcome = await at.send()
        assert (outcome.event_type, outcome.reason) == ("deferred", "connection_auth")
        assert at.holds() == []
        assert at.smtp.messages() == []


async def test_a_mail_server_where_nothing_connects_puts_off(
    mongodb_uri: str, tmp_path: Path, smtp_server: SmtpServer
) -> None:
    settings = SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS, allowed_private_networks=())
    async with a_world(mongodb_uri, smtp_server) as world, a_sender(world, settings) as sender:
        await sender.due(await world.dispatch())
        outcome = sender.published.last()
        assert (outcome.event_type, outcome.reason) == ("deferred", "connection_connect")


async def access_of(world: World) -> Access:
    found = await world.collection(names.MAILBOXES).find_one({"_id": world.mailbox})
    return Access(world.workspace, world.mailbox, OAuthGrant.read(found["oauth"]))


# ---- connecting ---------------------------------------------------------------------------------------


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


GOOGLE = {"provider": "google", "client_id": "c", "client_secret": "a secret", "refresh_token": "a token"}


async def stored(
    api: Served, mailbox: dict[str, Any], projection: dict[str, Any] | None = None
) -> dict[str, Any]:
    found = await api.database.collection(names.MAILBOXES).find_one(
        {"_id": UUID(mailbox["id"])}, projection=projection
    )
    assert found is not None
    return found


async def pointers(api: Served, method: str, path: str, body: dict[str, Any]) -> list[str]:
    problem = await api.call(method, path, body, status=422)
    return [each["pointer"] for each in problem["errors"]]


@pytest.mark.parametrize(
    ("provider_name", "smtp", "imap"),
    [
        ("google", "smtp.gmail.com", "imap.gmail.com"),
        ("microsoft", "smtp.office365.com", "outlook.office365.com"),
    ],
)
async def test_of_a_known_provider_only_its_tokens_are_needed(
    api: Served, provider_name: str, smtp: str, imap: str
) -> None:
    new = {"address": "Ana@ourco.example", "oauth": {**GOOGLE, "provider": provider_name}}
    made = await api.call("POST", "/v1/mailboxes", new, status=201)
    assert (made["smtp"]["host"], made["smtp"]["port"], made["smtp"]["security"]) == (smtp, 587, "starttls")
    assert (made["imap"]["host"], made["imap"]["port"], made["imap"]["security"]) == (imap, 993, "tls")
    assert {made[name]["username"] for name in ("smtp", "imap")} == {ANA}
    assert {made[name]["auth"] for name in ("smtp", "imap")} == {"oauth2"}
    assert made["oauth"]["scopes"]
    view = MailboxView.read(await stored(api, made, MailboxView.PROJECTION))
    watched = WatchedMailbox.read(await stored(api, made, WatchedMailbox.PROJECTION))
    assert view.smtp.auth == watched.imap.auth == "oauth2"
    assert view.oauth == watched.oauth is not None
    assert api.api.secrets.decrypt(watched.oauth.refresh_token) == "a token"
    assert api.api.secrets.decrypt(watched.oauth.client_secret or "") == "a secret"


async def test_what_was_given_is_never_shown_and_stays_until_it_is_given_anew(api: Served) -> None:
    made = await api.call("POST", "/v1/mailboxes", {"address": ANA, "oauth": GOOGLE}, status=201)
    path, kept = f"/v1/mailboxes/{made['id']}", {"provider": "google", "client_id": "c"}
    before = (await stored(api, made))["oauth"]
    shown = await api.call("PUT", path, {"oauth": kept, "display_name": "Ana"})
    assert "a token" not in repr(shown)
    assert "a secret" not in repr(shown)
    assert (await stored(api, made))["oauth"] == before
    await api.call("PUT", path, {"oauth": {**kept, "refresh_token": "another"}})
    after = (await stored(api, made))["oauth"]
    assert api.api.secrets.decrypt(after["refresh_token"]) == "another"
    assert after["client_secret"] == before["client_secret"]


async def test_secrets_go_nowhere_but_where_they_were_given_for(api: Served) -> None:
    made = await api.call("POST", "/v1/mailboxes", {"address": ANA, "oauth": GOOGLE}, status=201)
    path, kept = f"/v1/mailboxes/{made['id']}", {"provider": "google", "client_id": "c"}
    elsewhere = {"host": "mail.evil.example", "port": 587, "auth": "oauth2"}
    for changed in (
        {"oauth": {**kept, "token_endpoint": "https://evil.example/token"}},
        {"oauth": {**kept, "client_id": "d"}},
        {"oauth": {**kept, "provider": "microsoft"}},
        {"oauth": kept, "smtp": elsewhere},
        {"oauth": kept, "imap": elsewhere},
    ):
        assert await pointers(api, "PUT", path, changed) == ["/oauth/refresh_token"]


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({}, "/smtp"),
        ({"oauth": {**GOOGLE, "provider": None}}, "/oauth/token_endpoint"),
        ({"oauth": {**GOOGLE, "refresh_token": None}}, "/oauth/refresh_token"),
        ({"oauth": {**GOOGLE, "scopes": ["a b"]}}, "/oauth/scopes/0"),
        ({"smtp": {"host": "x.example", "port": 587, "auth": "oauth2"}}, "/smtp/auth"),
        (
            {"oauth": GOOGLE, "smtp": {"host": "x.example", "port": 587, "auth": "oauth2", "password": "p"}},
            "/smtp/password",
        ),
        (
            {
                "oauth": GOOGLE,
                "smtp": {"host": "x.example", "port": 25, "security": "none", "auth": "oauth2"},
            },
            "/smtp/security",
        ),
    ],
)
async def test_what_can_not_log_in_is_refused(api: Served, wrong: dict[str, Any], at: str) -> None:
    assert await pointers(api, "POST", "/v1/mailboxes", {"address": ANA, **wrong}) == [at]


SERVER = {"host": "mail.example", "port": 587}


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"smtp": {"host": "10.0.0.1", "port": 587}}, "/smtp/host"),
        ({"smtp": {"host": "169.254.169.254", "port": 25}}, "/smtp/host"),
        ({"smtp": {"host": "mail.example", "port": 6379}}, "/smtp/host"),
        ({"smtp": {"host": "0xa000001", "port": 25}}, "/smtp/host"),
        (
            {"smtp": SERVER, "imap": {"host": "192.168.1.1", "username": "a", "password": "p"}},
            "/imap/host",
        ),
        (
            {"smtp": SERVER, "imap": {"host": "mail.example", "port": 80, "username": "a", "password": "p"}},
            "/imap/host",
        ),
        ({"oauth": {**GOOGLE, "token_endpoint": "https://10.0.0.1/token"}}, "/oauth/token_endpoint"),
        ({"oauth": {**GOOGLE, "token_endpoint": "http://tokens.example/"}}, "/oauth/token_endpoint"),
    ],
)
async def test_a_host_that_is_not_connected_to_is_refused_when_it_is_set(
    api: Served, wrong: dict[str, Any], at: str
) -> None:
    assert await pointers(api, "POST", "/v1/mailboxes", {"address": ANA, **wrong}) == [at]


async def test_a_host_in_a_network_that_the_operator_allows_can_be_set(api: Served) -> None:
    new = {"address": ANA, "smtp": {"host": "127.0.0.1", "port": 40_000, "security": "none"}}
    await api.call("POST", "/v1/mailboxes", new, status=201)
