"""Signing in through a real OpenID provider that enforces PKCE, and through one that lies."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import RSAKey
from yarl import URL

from api.bootstrap import Wanted, bootstrap
from api.oidc import LOGIN_SECONDS, NOT_FINISHED, NOT_TRUSTED, Provider, SignInFailed
from api.sessions import COOKIE
from api.testing import Served, csrf_of, serving
from chassis import documents as names
from chassis.secrets import Secrets, SecretSettings
from chassis.testing import FrozenClock
from stack.node import node
from stack.ports import free_port
from stack.processes import Process, http_ok

pytestmark = pytest.mark.stack

BACK = "http://127.0.0.1:8080/sign-in/callback"
SECRET = "a secret of the tests"
PEOPLE = {
    "s-ana": {"email": "Ana@ourco.example", "email_verified": True},
    "s-later": {"email": "ana@ourco.example", "email_verified": True},
    "s-unproven": {"email": "ana@ourco.example", "email_verified": False},
    "s-stranger": {"email": "eve@elsewhere.example", "email_verified": True},
}


@pytest.fixture(scope="module")
def issuer(node_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    process = Process(
        "provider",
        [node(), node_packages / "provider.js", str(port), BACK],
        log_folder=tmp_path_factory.mktemp("provider"),
        env={"PEOPLE": json.dumps(PEOPLE)},
        ready=http_ok(f"{issuer}/.well-known/openid-configuration"),
    )
    process.start()
    yield issuer
    process.stop()


def settings_of(issuer: str) -> dict[str, Any]:
    return {
        "sign_in": "oidc",
        "oidc_issuer": issuer,
        "oidc_client_id": "segue",
        "oidc_client_secret": SECRET,
    }


def today() -> FrozenClock:
    return FrozenClock(datetime.now(UTC).replace(microsecond=0))


@dataclass
class Traveller:
    """A browser that goes to the provider and comes back, to the port where the API really is."""

    served: Served
    issuer: str
    session: ClientSession

    async def sign_in_as(self, subject: str, then: str = "/") -> tuple[int, str]:
        """Status and location (else the page) of where the provider sent us back to."""
        await self._get(f"{self.issuer}/be/{subject}")
        return await self.come_back(await self.to_the_way_back(then))

    async def to_the_way_back(self, then: str = "/") -> str:
        where = str(self.served.client.make_url(f"/sign-in/start?then={then}"))
        for _ in range(10):
            status, location, text = await self._get(where)
            assert status in (302, 303), text
            where = str(URL(where).join(URL(location)))
            if where.startswith(BACK):
                return where
        raise AssertionError("the provider never sent the browser back")

    async def come_back(self, where: str) -> tuple[int, str]:
        here = self.served.client.make_url("/sign-in/callback").with_query(URL(where).query)
        status, location, text = await self._get(str(here))
        return status, location or text

    async def _get(self, where: str) -> tuple[int, str, str]:
        async with self.session.get(where, allow_redirects=False) as response:
            return response.status, response.headers.get("Location", ""), await response.text()


@pytest.fixture
async def traveller(mongodb_uri: str, issuer: str) -> AsyncIterator[Traveller]:
    async with serving(mongodb_uri, "http://127.0.0.1:8080", today(), **settings_of(issuer)) as served:
        ours = URL(str(served.client.make_url("/"))).origin()
        jar = CookieJar(unsafe=True, treat_as_secure_origin=ours)
        async with ClientSession(cookie_jar=jar) as session:
            yield Traveller(served, issuer, session)


def signed_in(traveller: Traveller) -> bool:
    return any(cookie.key == COOKIE for cookie in traveller.session.cookie_jar)


async def test_who_the_provider_vouches_for_is_signed_in_and_goes_on(traveller: Traveller) -> None:
    assert await traveller.sign_in_as("s-ana", "/sequences") == (303, "/sequences")
    assert signed_in(traveller)
    [user] = await traveller.served.database.collection(names.USERS).find({})
    assert user["identity"] == {"issuer": traveller.issuer, "subject": "s-ana"}
    assert await traveller.sign_in_as("s-ana") == (303, "/")


async def test_who_belongs_to_several_workspaces_chooses_one_and_can_change(traveller: Traveller) -> None:
    served, session = traveller.served, traveller.session
    people, clock = served.api.store.people, served.clock
    other = await bootstrap(Wanted("Other Co", "ana@ourco.example", "Ana", False), people, clock)
    strangers = await bootstrap(Wanted("Strangers", "eve@other.example", "Eve", False), people, clock)
    status, to = await traveller.sign_in_as("s-ana", "/sequences")
    assert (status, to) == (303, "/workspaces?then=%2Fsequences")

    async def asked(path: str, workspace: str = "") -> tuple[int, str, str]:
        """Status, where it leads, and the page; a choice where there is a workspace."""
        url = served.client.make_url(path)
        if not workspace:
            return await traveller._get(str(url))
        token = csrf_of((await traveller._get(str(url)))[2])
        form = {"csrf": token, "workspace": workspace, "then": "/sequences"}
        async with session.post(
            served.client.make_url("/workspaces"), data=form, allow_redirects=False
        ) as sent:
            return sent.status, sent.headers.get("Location", ""), await sent.text()

    _, _, page = await asked(to)
    assert "Our Co" in page
    assert "Other Co" in page
    assert "Strangers" not in page
    assert (await asked(to, strangers["workspace_id"]))[0] == 404
    assert (await asked(to, "no id"))[0] == 404
    assert (await asked(to, other["workspace_id"]))[:2] == (303, "/sequences")
    _, _, page = await asked("/settings")
    assert '<summary><span class="unseen">Workspace: </span>Other Co</summary>' in page
    assert (await asked("/settings", served.made["workspace_id"]))[0] == 303
    [kept] = await served.database.collection(names.SESSIONS).find({})  # the one before has ended
    assert kept["workspace_id"] == served.workspace


async def test_whoever_gets_an_address_later_is_somebody_else(traveller: Traveller) -> None:
    await traveller.sign_in_as("s-ana")
    traveller.session.cookie_jar.clear()
    status, page = await traveller.sign_in_as("s-later")
    assert (status, signed_in(traveller)) == (200, False)
    assert "ask an admin" in page


@pytest.mark.parametrize(("subject", "said"), [("s-unproven", "verified"), ("s-stranger", "ask an admin")])
async def test_nobody_else_is_signed_in(traveller: Traveller, subject: str, said: str) -> None:
    status, page = await traveller.sign_in_as(subject)
    assert (status, signed_in(traveller)) == (200, False)
    assert said in page


async def test_a_way_back_is_good_once_in_its_browser_and_in_time(traveller: Traveller) -> None:
    await traveller._get(f"{traveller.issuer}/be/s-ana")
    back = await traveller.to_the_way_back()
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as other:
        elsewhere = Traveller(traveller.served, traveller.issuer, other)
        assert NOT_FINISHED.partition("'")[0] in (await elsewhere.come_back(back))[1]
    traveller.served.clock.advance(LOGIN_SECONDS + 1)
    assert "not finished in time" in (await traveller.come_back(back))[1]
    assert not signed_in(traveller)


async def test_another_code_verifier_is_refused_by_the_provider(traveller: Traveller) -> None:
    """The provider really enforces PKCE, so ours is really sent."""
    await traveller._get(f"{traveller.issuer}/be/s-ana")
    back = urlsplit(await traveller.to_the_way_back())
    code = parse_qs(back.query)["code"][0]
    api = traveller.served.api
    provider = Provider(traveller.issuer, "segue", SECRET, BACK, api.secrets, api.clock)
    await provider._read()
    with pytest.raises(SignInFailed):
        await provider._exchange(code, "x" * 43)


async def test_the_person_who_says_no_is_told_so(traveller: Traveller) -> None:
    back = await traveller.to_the_way_back()
    state = parse_qs(urlsplit(back).query)["state"][0]
    refused = f"{BACK}?error=access_denied&error_description=Not+today&state={state}"
    status, page = await traveller.come_back(refused)
    assert (status, signed_in(traveller)) == (200, False)
    assert "Not today" in page


# ---- a provider that lies -----------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], object]
LIES: dict[str, Change] = {
    "another issuer": lambda claims: claims.update(iss="https://evil.example"),
    "another audience": lambda claims: claims.update(aud="somebody else"),
    "many audiences and another party": lambda claims: claims.update(aud=["segue", "x"], azp="x"),
    "another nonce": lambda claims: claims.update(nonce="x"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "expired": lambda claims: claims.update(exp=claims["exp"] - 100_000),
    "no end": lambda claims: claims.pop("exp"),
    "nobody": lambda claims: claims.pop("sub"),
}


class Liar:
    """A provider whose ID tokens a test can bend."""

    def __init__(self, clock: FrozenClock) -> None:
        self.key, self.clock = RSAKey.generate_key(2048, {"kid": "1"}), clock
        self.signed_with, self.algorithm = self.key, "RS256"
        self.bend: Change = lambda _: None
        self.nonce = ""

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self.configuration)
        app.router.add_get("/keys", self.keys)
        app.router.add_post("/token", self.token)
        return app

    async def configuration(self, request: web.Request) -> web.Response:
        own = str(request.url.origin())
        return web.json_response(
            {
                "issuer": own,
                "authorization_endpoint": f"{own}/auth",
                "token_endpoint": f"{own}/token",
                "jwks_uri": f"{own}/keys",
            }
        )

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def token(self, request: web.Request) -> web.Response:
        now = int(self.clock.real_now().timestamp())
        claims = {
            "iss": str(request.url.origin()),
            "aud": "segue",
            "nonce": self.nonce,
            "sub": "s-ana",
            "email": "ana@ourco.example",
            "iat": now,
            "exp": now + 300,
        }
        self.bend(claims)
        header = {"alg": self.algorithm, "kid": "1"}
        return web.json_response({"id_token": jwt.encode(header, claims, self.signed_with)})


@pytest.fixture
async def lied_to() -> AsyncIterator[tuple[Liar, Provider]]:
    clock = today()
    liar = Liar(clock)
    async with TestServer(liar.application()) as server:
        secrets = Secrets(SecretSettings(secret_keys="a key for tests of sixteen or more"))
        yield liar, Provider(str(server.make_url("/")), "segue", SECRET, BACK, secrets, clock)


async def finished(liar: Liar, provider: Provider) -> str:
    where, cookie = await provider.begin("/then")
    asked = parse_qs(urlsplit(where).query)
    liar.nonce = asked["nonce"][0]
    identity, then = await provider.finish({"state": asked["state"][0], "code": "c"}, cookie)
    assert then == "/then"
    return identity.email


async def test_an_honest_token_is_believed_and_a_new_key_is_looked_up(lied_to: tuple[Liar, Provider]) -> None:
    liar, provider = lied_to
    assert await finished(liar, provider) == "ana@ourco.example"
    liar.key = liar.signed_with = RSAKey.generate_key(2048, {"kid": "1"})
    assert await finished(liar, provider) == "ana@ourco.example"


@pytest.mark.parametrize("lie", LIES)
async def test_a_token_that_is_not_for_this_sign_in_is_not_believed(
    lied_to: tuple[Liar, Provider], lie: str
) -> None:
    liar, provider = lied_to
    liar.bend = LIES[lie]
    with pytest.raises(SignInFailed, match=NOT_TRUSTED):
        await finished(liar, provider)


async def test_a_token_with_another_key_is_not_believed(lied_to: tuple[Liar, Provider]) -> None:
    liar, provider = lied_to
    liar.signed_with = RSAKey.generate_key(2048, {"kid": "1"})
    with pytest.raises(SignInFailed, match=NOT_TRUSTED):
        await finished(liar, provider)


# ---- tokens in place of an API key ------------------------------------------------------------------------

AUDIENCE = "https://segue.ourco.example"
BENT: dict[str, Change] = {
    "another issuer": lambda claims: claims.update(iss="https://evil.example"),
    "another audience": lambda claims: claims.update(aud="somebody else"),
    "the audience of sign-ins": lambda claims: claims.update(aud="segue"),
    "expired": lambda claims: claims.update(exp=claims["exp"] - 100_000),
    "not yet": lambda claims: claims.update(nbf=claims["iat"] + 100_000),
    "no end": lambda claims: claims.pop("exp"),
    "nobody": lambda claims: claims.pop("sub"),
}


@dataclass
class Bearer:
    """A program with tokens of the organisation's provider."""

    served: Served
    liar: Liar
    issuer: str

    def token(self, change: Change = lambda _: None) -> str:
        now = int(self.liar.clock.real_now().timestamp())
        claims = {"iss": self.issuer, "aud": AUDIENCE, "sub": "s-ana", "iat": now, "exp": now + 300}
        change(claims)
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.liar.signed_with)

    async def asks(self, token: str, **headers: str) -> tuple[int, str, str]:
        """Status, challenge and text."""
        headers = {"Authorization": f"Bearer {token}", **headers}
        async with self.served.client.get("/v1/me", headers=headers) as response:
            return response.status, response.headers.get("WWW-Authenticate", ""), await response.text()

    async def known(self, user_id: str) -> None:
        """Who is then known as the subject, as after a sign-in."""
        identity = {"issuer": self.issuer, "subject": "s-ana"}
        await self.served.database.collection(names.USERS).update_one(
            {"_id": UUID(user_id)}, {"$set": {"identity": identity}}
        )


@pytest.fixture
async def bearer(mongodb_uri: str) -> AsyncIterator[Bearer]:
    clock = today()
    liar = Liar(clock)
    async with TestServer(liar.application()) as server:
        issuer = str(server.make_url("/")).rstrip("/")
        more = {**settings_of(issuer), "oidc_audience": AUDIENCE}
        async with serving(mongodb_uri, "http://127.0.0.1:8080", clock, **more) as served:
            yield Bearer(served, liar, issuer)


async def test_a_token_of_the_provider_opens_the_api_as_its_user(bearer: Bearer) -> None:
    assert (await bearer.asks(bearer.token()))[0] == 401
    await bearer.known(bearer.served.made["user_id"])
    status, _, text = await bearer.asks(bearer.token())
    assert (status, json.loads(text)["user"]["id"]) == (200, bearer.served.made["user_id"])


@pytest.mark.parametrize("change", BENT)
async def test_a_token_that_is_not_for_the_api_is_refused(bearer: Bearer, change: str) -> None:
    await bearer.known(bearer.served.made["user_id"])
    status, challenge, _ = await bearer.asks(bearer.token(BENT[change]))
    assert (status, 'error="invalid_token"' in challenge) == (401, True)


async def test_a_token_with_a_key_of_nobody_is_refused_and_new_keys_are_looked_up(bearer: Bearer) -> None:
    await bearer.known(bearer.served.made["user_id"])
    assert (await bearer.asks(bearer.token()))[0] == 200
    bearer.liar.signed_with = RSAKey.generate_key(2048, {"kid": "1"})
    assert (await bearer.asks(bearer.token()))[0] == 401
    bearer.liar.key = bearer.liar.signed_with
    assert (await bearer.asks(bearer.token()))[0] == 401, "the keys were looked up less than a minute ago"
    bearer.served.clock.advance(61)
    assert (await bearer.asks(bearer.token()))[0] == 200


async def test_who_has_several_workspaces_says_which(bearer: Bearer) -> None:
    await bearer.known(bearer.served.made["user_id"])
    elsewhere = Wanted("Elsewhere", "ana@elsewhere.example", "Ana", False)
    made = await bootstrap(elsewhere, bearer.served.api.store.people, bearer.served.clock)
    await bearer.known(made["user_id"])
    status, _, text = await bearer.asks(bearer.token())
    assert (status, made["workspace_id"] in text) == (400, True)
    status, _, text = await bearer.asks(bearer.token(), **{"Segue-Workspace": made["workspace_id"]})
    assert (status, json.loads(text)["user"]["id"]) == (200, made["user_id"])


async def test_without_an_audience_no_token_is_taken(traveller: Traveller) -> None:
    headers = {"Authorization": "Bearer a.b.c"}
    async with traveller.served.client.get("/v1/me", headers=headers) as response:
        assert response.status == 401


@pytest.mark.parametrize("audience", ["segue", AUDIENCE])
async def test_an_audience_that_sign_ins_have_is_refused_at_the_start(
    mongodb_uri: str, audience: str
) -> None:
    settings = {**settings_of("http://127.0.0.1:1"), "oidc_audience": audience}
    if audience == AUDIENCE:
        settings["sign_in"] = "none"
    with pytest.raises(ValueError, match="SEGUE_OIDC_AUDIENCE"):
        async with serving(mongodb_uri, **settings):
            pass


async def test_a_provider_that_is_away_is_said_to_be(mongodb_uri: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    async with serving(mongodb_uri, "http://127.0.0.1:8080", today(), **settings_of(away)) as served:
        response = await served.client.get("/sign-in/start")
        assert "be reached at the moment" in await response.text()


@pytest.mark.parametrize("missing", ["oidc_issuer", "oidc_client_id", "oidc_client_secret"])
async def test_half_a_provider_is_refused_at_the_start(mongodb_uri: str, missing: str) -> None:
    settings = settings_of("http://127.0.0.1:1")
    del settings[missing]
    with pytest.raises(ValueError, match="SEGUE_OIDC_ISSUER"):
        async with serving(mongodb_uri, **settings):
            pass
